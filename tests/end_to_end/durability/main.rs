//! Durability from outside: the example server as processes on a database, killed under load, or many servers at once.
//! Each test has a short form, which always runs, and a long one (`GRANTOR_LONG=1`). Both print a summary to standard
//! error. The printed seed, passed as `GRANTOR_SEED`, repeats the same choices, though not the same race.

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

/// The time limit for each wait. It is far above the usual time, even where many tests share a slow machine.
const HANG: Duration = Duration::from_mins(5);

/// The number for the short or the long form.
fn sized(small: usize, long: usize) -> usize {
    if std::env::var_os("GRANTOR_LONG").is_some_and(|value| value == "1") { long } else { small }
}

/// The seed of all choices of a run.
fn seed() -> u64 {
    let given = std::env::var("GRANTOR_SEED").ok().map(|seed| seed.parse().expect("GRANTOR_SEED is a number"));
    given.unwrap_or_else(|| {
        let since = SystemTime::UNIX_EPOCH.elapsed().unwrap();
        u64::from(since.subsec_nanos()) ^ since.as_secs()
    })
}

/// Prints where libtest does not capture the output.
fn say(what: &str) {
    let _ = writeln!(std::io::stderr(), "{what}");
}

/// Waits for a future, with a time limit.
async fn soon<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(HANG, work).await.unwrap_or_else(|_| panic!("hangs: {what}"))
}
