//! Compares the real server with a small model of grants and tokens. Random histories of approvals, redemptions,
//! refreshes, revocations, changes, waits and failures run on both, and both must agree after each step.
//!
//! `GRANTOR_LONG=1` runs many more steps, up to a million, with new histories. A history
//! that fails is printed in its shortest form, with a seed for `GRANTOR_SEED` that repeats it.

#[path = "../common/postgres.rs"]
mod postgres;

mod model;
mod observed;
mod operation;
mod planted;
mod run;
mod search;
mod server;
mod state;
mod storages;

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Instant, SystemTime};

use grantor::testing::Fault;
use grantor::{ClientRegistry, Storage};
use tokio::runtime::Runtime;

use self::operation::{By, History, Operation, Scopes, Setup, Span, Step};
use self::planted::Bug;
use self::postgres::Postgres;
use self::run::{Care, Tally};
use self::search::{Found, Search};
use self::storages::{InMemory, InPostgres, InSqlite, Place, WithBug};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn is_long() -> bool {
    std::env::var_os("GRANTOR_LONG").is_some_and(|value| value == "1")
}

/// The first seed: the given seed, or a constant, or a random number in the long run.
fn seed() -> u64 {
    let given = std::env::var("GRANTOR_SEED").ok().map(|seed| seed.parse().expect("GRANTOR_SEED is a number"));
    given.unwrap_or_else(|| if is_long() { SystemTime::UNIX_EPOCH.elapsed().unwrap().as_secs() } else { 1 })
}

/// Searches on one storage. Prints the counts to standard error, where libtest does not capture them.
fn search<P>(name: &str, place: P, runtime: &Runtime, all_every: usize, steps: usize) -> Tally
where
    P: Place<Storage: Storage + ClientRegistry + grantor::EphemeralStore + Clone + 'static>,
{
    let (seed, begun) = (seed(), Instant::now());
    let tally = Search { runtime, place, bug: None, care: Care { all_every }, longest: 100 }.run(seed, steps);
    let tally = tally.unwrap_or_else(|found| panic!("{found}"));
    let mut report = format!("{name}: {} steps from seed {seed}", tally.values().sum::<usize>());
    write!(report, " in {:.1} s: {tally:?}", begun.elapsed().as_secs_f64()).unwrap();
    let _ = writeln!(std::io::stderr(), "{report}");
    tally
}

const fn sized(small: usize, long: usize, is_long: bool) -> usize {
    if is_long { long } else { small }
}

/// Asserts that every event has occurred often enough.
fn must_be_rich(tally: &Tally) {
    for what in [
        "approved",
        "redeemed",
        "redemption refused",
        "refreshed",
        "refresh repeated",
        "refresh refused",
        "client credentials",
        "token revoked",
        "grants revoked",
        "client changed",
        "time passed",
        "purge",
        "an answer was lost",
        "the storage failed",
    ] {
        let share = 1_000 * tally.get(what).copied().unwrap_or_default() / tally.values().sum::<usize>();
        assert!(share >= 5, "{what}: only {share} of 1000");
    }
}

#[test]
fn memory_storage_agrees_with_the_model() {
    must_be_rich(&search("memory", InMemory, &runtime(), 1, sized(15_000, 1_000_000, is_long())));
}

#[test]
fn sqlite_agrees_with_the_model() {
    let runtime = runtime();
    let place = runtime.block_on(InSqlite::new());
    must_be_rich(&search("SQLite", place, &runtime, 25, sized(1_500, 200_000, is_long())));
}

#[test]
fn postgresql_agrees_with_the_model() {
    let Some(server) = Postgres::get() else { return };
    let runtime = runtime();
    let place = runtime.block_on(InPostgres::new(server));
    must_be_rich(&search("PostgreSQL", place, &runtime, 25, sized(1_500, 200_000, is_long())));
}

/// Each planted bug can be shown with at most this number of steps.
const HANDFUL: usize = 5;

/// All planted bugs.
const BUGS: &[Bug] = &[
    Bug::ForgetsTheSubject,
    Bug::FindsRevokedTokensLive,
    Bug::FindsRevokedGrantsLive,
    Bug::DoesNotSpend,
    Bug::PanicsAtARefresh,
    Bug::ConsumesAlways,
    Bug::LosesTheRefreshToken,
    Bug::WidensTheAccessToken,
    Bug::NarrowsTheGrant,
    Bug::KeepsNoSeed,
    Bug::KeepsTheSeedOfAParent,
    Bug::DoesNotMoveTheEnd,
    Bug::RevokesTheGrantWithTheToken,
    Bug::RevokesNothingBySubjectAndClient,
    Bug::RevokesForAnySubject,
    Bug::ListsWhatHasEnded,
    Bug::ListsOnePageOnly,
    Bug::PurgesNothing,
    Bug::PurgesAMinuteEarly,
    Bug::PurgesEvidence,
    Bug::PurgesSeedsAtOnce,
    Bug::OldSecretsLastForEver,
    Bug::RemovesOnlyTheClient,
    Bug::HidesThatARevocationFailed,
    Bug::EndsTheGrantOfAFailedRedemption,
];

/// Searches for the effect of a bug, starting with a seed.
fn find(bug: Bug, seed: u64) -> Found {
    let search = Search {
        runtime: &runtime(),
        place: WithBug(bug),
        bug: Some(bug).filter(|bug| bug.is_about_failures()),
        care: Care { all_every: 1 },
        longest: 40,
    };
    *search.run(seed, 20_000).expect_err("a bug that is not found")
}

#[test]
fn each_planted_bug_is_found_by_a_short_history() {
    for bug in BUGS {
        let found = find(*bug, 1);
        assert!(found.history.steps.len() <= HANDFUL, "{bug:?} can be shown in {HANDFUL} steps:\n{found}");
    }
}

#[test]
fn seed_that_is_printed_finds_the_same_history_again() {
    let found = find(Bug::ConsumesAlways, 1);
    assert!(found.seed > 1, "there were histories before this one");
    let again = find(Bug::ConsumesAlways, found.seed);
    assert_eq!(again.to_string(), found.to_string());
    assert!(again.to_string().contains(&format!("GRANTOR_SEED={}", found.seed)));
}

#[test]
fn history_is_printed_with_one_step_a_line() {
    let refresh = Operation::Refresh { token: 0, again: false, by: By::Owner, asks: Some(Scopes::OFFLINE) };
    let steps = vec![
        Step { operation: Operation::Wait(Span(-90_500_000)), fault: None },
        Step { operation: refresh, fault: Some((2, Fault::LostAnswer)) },
    ];
    let (confidential_keep, offline_only, brief, tolerant, few_refreshes) = (true, false, false, false, true);
    let setup = Setup { confidential_keep, offline_only, brief, tolerant, few_refreshes };
    let history = History { setup, steps };
    let lines = [
        "Setup { confidential_keep: true, offline_only: false, brief: false, tolerant: false, few_refreshes: true }",
        "   0 Wait(-1m30s500ms)",
        "   1 Refresh { token: 0, again: false, by: Owner, asks: Some(\"offline_access\") } while call 2 of the storage is \
         LostAnswer",
    ];
    assert_eq!(format!("{history:?}").lines().collect::<Vec<_>>(), lines);
}
