//! What lasts, seen from outside: the example server as processes on a database, killed in the middle of a storm, or many at
//! once. Each test has a small form, which always runs, and a long one, with `GRANTOR_LONG=1`. Both say on the standard error
//! what they did. The seed that they print, given as `GRANTOR_SEED`, makes the same choices again, though not the same race.

mod audit;
mod caller;
mod database_killed;
mod many_nodes;
mod place;
mod seeds;
mod server_killed;
mod storm;

use std::io::Write;
use std::time::{Duration, SystemTime};

/// After so long something hangs. Far more than anything takes, even where many tests share a slow machine.
const HANG: Duration = Duration::from_mins(5);

/// The number for the small or for the long form.
fn sized(small: usize, long: usize) -> usize {
    if std::env::var_os("GRANTOR_LONG").is_some_and(|value| value == "1") { long } else { small }
}

/// What all choices of a run follow from.
fn seed() -> u64 {
    let given = std::env::var("GRANTOR_SEED").ok().map(|seed| seed.parse().expect("GRANTOR_SEED is a number"));
    given.unwrap_or_else(|| {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        u64::from(since.subsec_nanos()) ^ since.as_secs()
    })
}

/// Says something where libtest does not swallow it.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Waits, but not for ever.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, work).await.unwrap_or_else(|_| panic!("hangs: {what}"))
}
