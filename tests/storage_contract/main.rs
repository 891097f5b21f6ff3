//! The contract of a storage as a suite: storages that keep it pass, and for each clause there are storages with one bug
//! that only this clause finds.

mod model;
mod remote;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use async_trait::async_trait;
use grantor::testing::{
    BrokenContract, Call, Clause, ContractReport, Intercepted, Interceptor, Next, Reply, StorageContract, Task,
    storage_contract_worker,
};
use grantor::{MemoryStorage, StorageError};
use tokio::runtime::Runtime;

use self::model::{Bug, Model};
use self::remote::{Hub, Remote};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs the suite against a model with a bug.
fn judged(bug: Bug, rounds: u32) -> Result<ContractReport, BrokenContract> {
    let (runtime, model) = (runtime(), Model::new(bug));
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect).client_registry().rounds(rounds).run()
}

#[test]
fn an_honest_storage_that_waits_keeps_the_contract() {
    judged(Bug::None, 1).unwrap();
}

/// Passes every call on as it is.
struct PassOn;

#[async_trait]
impl Interceptor for PassOn {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        next.run(call).await
    }
}

#[test]
fn an_intercepted_storage_keeps_the_contract() {
    let (runtime, storage) = (runtime(), Intercepted::new(MemoryStorage::new(), PassOn));
    let connect = || async { Ok::<_, Infallible>(storage.clone()) };
    StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect).client_registry().run().unwrap();
}

/// Each bug, the clause that it breaks, and a case that finds it, by a part of its name.
const BUGS: &[(Bug, Clause, &str)] = &[
    (Bug::CachesFinds, Clause::Linearizable, "what one node has written"),
    (Bug::RemembersAbsence, Clause::Linearizable, "looked for in vain"),
    (Bug::ShowsLosersAnOldSnapshot, Clause::Linearizable, "whoever lost a race"),
    (Bug::ChecksThenActs, Clause::Atomic, "race for one token exactly one is done"),
    (Bug::OpensWithoutATransaction, Clause::Atomic, "if one of its tokens is taken"),
    (Bug::OverwritesAGrant, Clause::Atomic, "if its identifier is taken"),
    (Bug::SpentBeforeRevoked, Clause::Atomic, "decides in the order"),
    (Bug::MovesTheGrantWhenItIsLate, Clause::Atomic, "writes nothing unless it is done"),
    (Bug::KeepsSeeds, Clause::Atomic, "erases its parent's seed"),
    (Bug::ConsumesAlways, Clause::Atomic, "not to be consumed"),
    (Bug::MovesBack, Clause::Atomic, "never moved back"),
    (Bug::OverwritesTokens, Clause::Atomic, "successor's hash is taken"),
    (Bug::LosesAUse, Clause::Atomic, "many that use a token without consuming it"),
    (Bug::ForgetsAttempts, Clause::AmbiguousCommits, "finds its own work"),
    (Bug::LooksForTheAttemptFirst, Clause::AmbiguousCommits, "many times at once"),
    (Bug::SpendsThenStores, Clause::Crashes, "an exchange that is given up"),
    (Bug::OpensInTwoSteps, Clause::Crashes, "an open_grant that is given up"),
    (Bug::PurgesSpent, Clause::Evidence, "leaves all evidence"),
    (Bug::PurgesUnusedRefreshTokens, Clause::Evidence, "leaves all evidence"),
    (Bug::PurgesInPartAndForgets, Clause::Evidence, "whose purge has begun"),
    (Bug::PurgesSeedsNever, Clause::Evidence, "erases seeds"),
    (Bug::PurgesMoreThanItMay, Clause::Evidence, "no more rows than it may"),
    (Bug::PurgesTheRevokedNever, Clause::Evidence, "ended and revoked families whole"),
    (Bug::PurgesOnlyWhatEndedBefore, Clause::Evidence, "ended and revoked families whole"),
    (Bug::ExchangesByItsClock, Clause::NoClock, "judges by the time it is given"),
    (Bug::SpendsByItsClock, Clause::NoClock, "bears the time"),
    (Bug::ListsByItsClock, Clause::NoClock, "list of live grants"),
    (Bug::ForgetsByItsClock, Clause::NoClock, "found whatever the time is"),
    (Bug::IgnoresTheSubject, Clause::RevocationIsFinal, "each selector revokes"),
    (Bug::TakesClientsForSubjects, Clause::RevocationIsFinal, "each selector revokes"),
    (Bug::FoldsCase, Clause::RevocationIsFinal, "byte by byte"),
    (Bug::RevokesAnyToken, Clause::RevocationIsFinal, "only an access token"),
    (Bug::RevokesAgain, Clause::RevocationIsFinal, "the first time counts"),
    (Bug::RevokesOnlyWhatLives, Clause::RevocationIsFinal, "has ended by the time of its revocation"),
    (Bug::RevokesByAnOldList, Clause::RevocationIsFinal, "of many that revoke the same grants"),
    (Bug::RevokesByWholeRows, Clause::RevocationIsFinal, "meets exchanges leaves what they moved"),
    (Bug::WritesTheGrantBack, Clause::RevocationIsFinal, "revoked while its tokens are exchanged"),
    (Bug::RevokesWithAnOldIndex, Clause::RevocationIsFinal, "whose opening returned before"),
    (Bug::ListsOldestFirst, Clause::RevocationIsFinal, "newest first"),
    (Bug::SkipsEqualTimes, Clause::RevocationIsFinal, "newest first"),
    (Bug::FiltersAfterTheLimit, Clause::RevocationIsFinal, "does not shorten a page"),
    (Bug::DropsDetails, Clause::OpaqueRecords, "every member of a token"),
    (Bug::DropsParents, Clause::OpaqueRecords, "every member of a token"),
    (Bug::DropsTheTokenType, Clause::OpaqueRecords, "every member of a grant"),
    (Bug::RoundsNumbers, Clause::OpaqueRecords, "as the same JSON"),
    (Bug::RoundsTimes, Clause::OpaqueRecords, "to the microsecond"),
    (Bug::RegistersTwice, Clause::Clients, "a client is registered once"),
    (Bug::RotatesWithoutALock, Clause::Clients, "of many rotations at once"),
    (Bug::KeepsGrantsOfRemovedClients, Clause::Clients, "revokes all its grants"),
];

/// Bugs that show only when what is under way is broken.
const BUGS_WHEN_CUT: &[(Bug, Clause, &str)] = &[
    (Bug::LeavesHalfWhenCut, Clause::Crashes, "each exchange is whole or absent"),
    (Bug::LosesWhatItAnswered, Clause::Crashes, "what was answered stays"),
    (Bug::ForgetsAttemptsWhenCut, Clause::AmbiguousCommits, "repeated after an interruption"),
];

/// Asserts that this clause and no other is broken, and that one of the cases is the one that was made for the bug.
fn assert_found(result: Result<ContractReport, BrokenContract>, bug: &str, clause: Clause, case: &str) {
    let Err(broken) = result else { panic!("{bug} is not found") };
    assert_eq!(broken.clauses(), BTreeSet::from([clause]), "{bug}: {broken}");
    let cases = broken.cases();
    assert!(cases.iter().any(|name| name.contains(case)), "{bug} is not found by the case {case:?}: {broken}");
    // Whoever reads it learns what it costs and what to do.
    for violation in broken.violations() {
        let text = broken.to_string();
        for part in [violation.case, violation.cost, violation.remedy] {
            assert!(!part.is_empty() && text.contains(part), "{bug}: {part:?} is missing in: {text}");
        }
    }
    assert!(broken.to_string().contains(&clause.to_string()), "{bug}: {broken}");
    assert_eq!(format!("{broken:?}").trim(), broken.to_string(), "what `unwrap` prints");
}

fn each_bug_is_found_by_this_clause_alone(clause: Clause) {
    let bugs: Vec<_> = BUGS.iter().filter(|(_, of, _)| *of == clause).collect();
    assert!(!bugs.is_empty());
    for (bug, _, case) in bugs {
        // A race that nobody lost in a few rounds is run again, for longer, as a host may do.
        let result = judged(*bug, 1).and_then(|_| judged(*bug, 20));
        assert_found(result, &format!("{bug:?}"), clause, case);
    }
}

#[test]
fn a_storage_whose_nodes_do_not_see_each_others_work_breaks_clause_1() {
    each_bug_is_found_by_this_clause_alone(Clause::Linearizable);
}

#[test]
fn a_storage_whose_steps_are_not_atomic_breaks_clause_2() {
    each_bug_is_found_by_this_clause_alone(Clause::Atomic);
}

#[test]
fn a_storage_that_does_not_know_its_own_attempt_breaks_clause_3() {
    each_bug_is_found_by_this_clause_alone(Clause::AmbiguousCommits);
}

#[test]
fn a_storage_that_stops_half_way_breaks_clause_4() {
    each_bug_is_found_by_this_clause_alone(Clause::Crashes);
}

#[test]
fn a_storage_that_purges_too_much_or_too_little_breaks_clause_5() {
    each_bug_is_found_by_this_clause_alone(Clause::Evidence);
}

#[test]
fn a_storage_that_reads_a_clock_breaks_clause_6() {
    each_bug_is_found_by_this_clause_alone(Clause::NoClock);
}

#[test]
fn a_storage_that_revokes_or_lists_too_much_or_too_little_breaks_clause_7() {
    each_bug_is_found_by_this_clause_alone(Clause::RevocationIsFinal);
}

#[test]
fn a_storage_that_changes_records_breaks_clause_8() {
    each_bug_is_found_by_this_clause_alone(Clause::OpaqueRecords);
}

#[test]
fn a_registry_that_does_not_keep_its_word_breaks_clause_9() {
    each_bug_is_found_by_this_clause_alone(Clause::Clients);
}

/// Runs the suite against a model whose connections are cut.
fn judged_when_cut(bug: Bug, rounds: u32) -> (Result<ContractReport, BrokenContract>, u64) {
    let (runtime, model) = (runtime(), Model::new(bug));
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    let suite = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect);
    let result = suite.interrupted_by(|| model.cut()).rounds(rounds).run();
    (result, model.hit.load(Ordering::SeqCst))
}

#[test]
fn a_storage_may_fail_when_its_connections_are_cut_but_not_forget_or_stop_half_way() {
    let (result, hit) = judged_when_cut(Bug::None, 1);
    let report = result.unwrap();
    assert!(hit > 10, "the cuts hit only {hit} calls");
    assert!(report.skipped.iter().all(|(_, _, option)| *option != "`interrupted_by`"), "{report}");
    for (bug, clause, case) in BUGS_WHEN_CUT {
        judged(*bug, 1).unwrap();
        let result = judged_when_cut(*bug, 1).0.and_then(|_| judged_when_cut(*bug, 10).0);
        assert_found(result, &format!("{bug:?}"), *clause, case);
    }
}

#[test]
fn calls_that_fail_with_one_error_stand_under_one_heading_and_not_among_what_the_cases_ask() {
    for (bug, error, call) in [
        (Bug::CanNotPurge, "the storage failed: a row has no end", "purge_expired succeeds"),
        (Bug::PanicsInAPurge, "a panic: a row that is not there", "no call panics"),
    ] {
        let broken = judged(bug, 1).unwrap_err();
        let text = broken.to_string();
        assert!(broken.cases().len() > 5, "{text}");
        for violation in broken.violations() {
            assert_eq!(violation.error.as_deref(), Some(error), "{violation:?}");
            assert!(violation.remedy.contains("find out why first"), "{violation:?}");
            assert_eq!(text.matches(violation.case).count(), 1, "{text}");
        }
        let heading = format!("\n\ncalls failed in {} cases: {error}\n", broken.cases().len());
        let once = [error, &heading, "find out why first", "\n\n"];
        assert_eq!(once.map(|part| text.matches(part).count()), [1; 4], "{text}");
        assert_eq!(text.matches(&format!("    expected  {call}\n")).count(), broken.cases().len(), "{text}");
        let remedies = ["erase the seed", "look at the grant's end", "its tokens go with it"];
        assert!(!remedies.iter().any(|remedy| text.contains(remedy)), "a remedy of a case that asked nothing: {text}");
    }
}

#[test]
fn a_purge_that_leaves_what_ends_at_its_very_time_is_told_of_the_boundary_and_one_that_leaves_more_is_not() {
    let boundary = "what is due at `before` itself goes, too";
    let broken = judged(Bug::PurgesOnlyWhatEndedBefore, 1).unwrap_err();
    assert!(broken.violations().iter().all(|violation| violation.remedy.contains(boundary)), "{broken}");
    let broken = judged(Bug::PurgesTheRevokedNever, 1).unwrap_err();
    assert!(!broken.to_string().contains(boundary), "{broken}");
    let broken = judged(Bug::PurgesSpent, 1).unwrap_err();
    assert!(!broken.to_string().contains(boundary), "{broken}");
    assert!(
        broken.to_string().contains("a spent token is kept while the grant lives\n  observed  it is gone"),
        "{broken}"
    );
}

#[test]
fn what_differs_is_told_and_not_all_that_was_compared() {
    let broken = judged(Bug::ListsOldestFirst, 1).unwrap_err().to_string();
    let part = "a list in pages of 4: 10 in all, at position 1: GrantId(";
    assert!(broken.contains(part), "{part:?} is missing in: {broken}");
    let lines = broken.lines().filter(|line| line.contains("GrantId("));
    assert!(lines.clone().all(|line| line.matches("GrantId(").count() == 1), "{broken}");
    assert!(lines.count() > 2, "{broken}");
    let broken = judged(Bug::FiltersAfterTheLimit, 1).unwrap_err().to_string();
    assert!(broken.contains(" in all, at position 2: nothing\n"), "{broken}");
    let broken = judged(Bug::RoundsTimes, 1).unwrap_err().to_string();
    assert!(broken.contains(": `issued_at` is "), "{broken}");
    assert!(!broken.contains("expires_at"), "{broken}");
    let broken = judged(Bug::DropsDetails, 1).unwrap_err().to_string();
    assert!(broken.contains(": `details.code` is ") && broken.contains("\n  observed  it is absent"), "{broken}");
}

#[test]
fn one_case_that_failed_is_not_called_many() {
    let broken = judged(Bug::KeepsSeeds, 1).unwrap_err();
    assert_eq!(broken.cases().len(), 1, "{broken}");
    let text = broken.to_string();
    assert!(text.starts_with("the storage breaks its contract: 1 case failed, "), "{text}");
}

#[test]
fn the_report_names_every_case_and_what_was_skipped_for_want_of_an_option() {
    let (runtime, model) = (runtime(), Model::new(Bug::None));
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    let report = grantor::testing::storage_contract(|task: Task<'_>| runtime.block_on(task), connect).unwrap();
    let clauses: BTreeSet<u8> = report.passed.iter().map(|(clause, _)| clause.number()).collect();
    assert_eq!(clauses, (1..=8).collect());
    let options: BTreeSet<&str> = report.skipped.iter().map(|(_, _, option)| *option).collect();
    assert_eq!(options, ["`client_registry`", "`interrupted_by`", "`workers`"].into());
    let text = report.to_string();
    let names = report.passed.iter().map(|(_, name)| name).chain(report.skipped.iter().map(|(_, name, _)| name));
    assert!(names.into_iter().all(|name| text.contains(name)), "{text}");
}

/// All that a storage without a runtime needs.
fn block_on(mut task: Task<'_>) {
    struct Unpark(Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    while task.as_mut().poll(&mut Context::from_waker(&waker)).is_pending() {
        thread::park();
    }
}

#[test]
fn the_suite_needs_no_runtime_of_its_own() {
    let model = Model::new(Bug::None);
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    StorageContract::new(block_on, connect).client_registry().interrupted_by(|| model.cut()).run().unwrap();
}

#[test]
fn the_suite_runs_on_a_runtime_of_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let model = Model::new(Bug::None);
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    let suite = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect);
    suite.client_registry().interrupted_by(|| model.cut()).run().unwrap();
}

#[test]
fn a_storage_that_can_not_be_reached_is_not_judged() {
    let runtime = runtime();
    let connect = || async { Err::<MemoryStorage, _>("connection refused") };
    let broken = grantor::testing::storage_contract(|task: Task<'_>| runtime.block_on(task), connect).unwrap_err();
    assert!(broken.violations().is_empty());
    assert_eq!(broken.to_string(), "the storage could not be judged: `connect` failed: connection refused");
}

/// Runs the suite against a model that this process and workers share.
fn judged_with_workers(bug: Bug, is_cached: bool, rounds: u32) -> Result<ContractReport, BrokenContract> {
    let (runtime, model) = (runtime(), Model::new(bug));
    let hub = Hub::new(model.node());
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    let worker = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "a_worker_of_the_suite"]).env(HUB, hub.address()).env(CACHED, is_cached.to_string());
        command
    };
    StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect).workers(worker).rounds(rounds).run()
}

const HUB: &str = "GRANTOR_TEST_HUB";
const CACHED: &str = "GRANTOR_TEST_CACHED";

/// Does nothing unless the suite has started it.
#[test]
fn a_worker_of_the_suite() {
    let runtime = runtime();
    let is_cached = std::env::var(CACHED).is_ok_and(|value| value == "true");
    let connect = || async { Remote::connect(&std::env::var(HUB).unwrap(), is_cached) };
    storage_contract_worker(|task: Task<'_>| runtime.block_on(task), connect).unwrap();
}

#[test]
fn many_processes_race_on_a_storage_and_find_what_one_process_can_not() {
    let report = judged_with_workers(Bug::None, false, 1).unwrap();
    let of_workers = report.passed.iter().filter(|(_, name)| name.contains("process")).count();
    assert_eq!(of_workers, 3, "{report}");

    let broken = judged_with_workers(Bug::None, true, 1);
    assert_found(broken, "a cache in each process", Clause::Linearizable, "what one process has written");
    let broken = judged_with_workers(Bug::ChecksThenActs, false, 1);
    assert_found(broken, "check, then act", Clause::Atomic, "of many processes that race for one token");
    let broken = judged_with_workers(Bug::WritesTheGrantBack, false, 2);
    assert_found(broken, "writes the grant back", Clause::RevocationIsFinal, "a grant that one process revokes");
}
