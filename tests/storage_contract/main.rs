//! The contract suite of a storage: correct storages pass, and for each clause there are storages with one bug
//! that only this clause finds.

mod bugs;
mod ephemeral;
mod model;
mod remote;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Wake, Waker};
use std::thread::{self, Thread};

use async_trait::async_trait;
use grantor::testing::{
    BrokenContract, Call, Clause, ContractReport, Intercepted, Interceptor, Next, Reply, StorageContract, Task,
    storage_contract_worker,
};
use grantor::{ClientStore, MemoryStorage, StorageError};
use tokio::runtime::Runtime;

use self::bugs::{BUGS, BUGS_WHEN_CUT, Bug};
use self::model::Model;
use self::remote::{Hub, Remote};

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Runs the suite against a model with a bug.
fn judged(bug: Bug, rounds: u32) -> Result<ContractReport, BrokenContract> {
    let model = Model::new(bug);
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    StorageContract::new(block_on, connect).client_registry().rounds(rounds).run()
}

/// Returns the report of the suite for a bug. The suite runs once for each bug, because several tests need the report.
fn broken_by(bug: Bug) -> &'static BrokenContract {
    static FOUND: [OnceLock<BrokenContract>; 96] = [const { OnceLock::new() }; 96];
    FOUND[bug as usize].get_or_init(|| {
        // A race that did not show the bug in a few rounds is run again with more rounds, as a host may do.
        let judged = judged(bug, 1).and_then(|_| judged(bug, 20));
        judged.err().unwrap_or_else(|| panic!("{bug:?} is not found"))
    })
}

#[test]
fn honest_storage_that_waits_keeps_the_contract() {
    judged(Bug::None, 1).unwrap();
}

/// Forwards every call.
struct PassOn;

#[async_trait]
impl Interceptor for PassOn {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        next.run(call).await
    }
}

#[test]
fn intercepted_storage_keeps_the_contract() {
    let (runtime, storage) = (runtime(), Intercepted::new(MemoryStorage::new(), PassOn));
    let connect = || async { Ok::<_, Infallible>(storage.clone()) };
    let suite = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect);
    suite.client_registry().ephemeral_store().run().unwrap();
}

/// Answers every call with the reply of a purge.
struct PurgesOnly;

#[async_trait]
impl Interceptor for PurgesOnly {
    async fn intercept(&self, _: Call<'_>, _: Next<'_>) -> Result<Reply, StorageError> {
        Ok(Reply::Purged(0))
    }
}

#[tokio::test]
#[should_panic(expected = "the interceptor returned a reply of another method: Purged(0)")]
async fn reply_of_another_method_panics() {
    drop(Intercepted::new(MemoryStorage::new(), PurgesOnly).find_client("app").await);
}

/// Asserts that only this clause is broken, and that the case made for the bug found it.
fn assert_found(broken: &BrokenContract, bug: &str, clause: Clause, case: &str) {
    let mut clauses: BTreeSet<Clause> = broken.clauses();
    if bug == "CachesFinds" {
        // Two rows from a cache may show a state that never was. Whether a case sees one depends on its timing.
        clauses.remove(&Clause::Atomic);
    }
    assert_eq!(clauses, BTreeSet::from([clause]), "{bug}: {broken}");
    let cases = broken.cases();
    assert!(cases.iter().any(|name| name.contains(case)), "{bug} is not found by the case {case:?}: {broken}");
    // The report contains the cost of a failure and the remedy.
    let text = broken.to_string();
    for violation in broken.violations() {
        for part in [violation.case, violation.cost, violation.remedy] {
            assert!(!part.is_empty() && text.contains(part), "{bug}: {part:?} is missing in: {text}");
        }
    }
    assert!(text.contains(&clause.to_string()), "{bug}: {broken}");
    assert_eq!(format!("{broken:?}").trim(), text, "what `unwrap` prints");
}

fn each_bug_is_found_by_this_clause_alone(clause: Clause) {
    let bugs: Vec<_> = BUGS.iter().filter(|(_, of, _)| *of == clause).collect();
    assert!(!bugs.is_empty());
    for (bug, _, case) in bugs {
        assert_found(broken_by(*bug), &format!("{bug:?}"), clause, case);
    }
}

/// A test for each clause.
macro_rules! each_bug_is_found {
    ($($test:ident: $clause:ident,)*) => {
        $(#[test]
        fn $test() {
            each_bug_is_found_by_this_clause_alone(Clause::$clause);
        })*
    };
}

each_bug_is_found! {
    linearizability_bugs_break_clause_1: Linearizable,
    atomicity_bugs_break_clause_2: Atomic,
    attempt_bugs_break_clause_3: AmbiguousCommits,
    crash_bugs_break_clause_4: Crashes,
    evidence_and_purge_bugs_break_clause_5: Evidence,
    clock_bugs_break_clause_6: NoClock,
    revocation_and_list_bugs_break_clause_7: RevocationIsFinal,
    record_bugs_break_clause_8: OpaqueRecords,
    registry_bugs_break_clause_9: Clients,
    issuer_bugs_break_clause_11: Issuer,
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
fn cut_connections_may_fail_calls_but_not_lose_steps() {
    let (result, hit) = judged_when_cut(Bug::None, 1);
    let report = result.unwrap();
    assert!(hit > 10, "the cuts hit only {hit} calls");
    assert!(report.skipped.iter().all(|(_, _, option)| *option != "`interrupted_by`"), "{report}");
    for (bug, clause, case) in BUGS_WHEN_CUT {
        judged(*bug, 1).unwrap();
        let broken = judged_when_cut(*bug, 1).0.and_then(|_| judged_when_cut(*bug, 10).0).unwrap_err();
        assert_found(&broken, &format!("{bug:?}"), *clause, case);
    }
}

#[test]
fn calls_with_the_same_error_share_a_heading() {
    for (bug, error, call) in [
        (Bug::CanNotPurge, "the storage failed: a row has no end", "purge_expired succeeds"),
        (Bug::PanicsInAPurge, "a panic: a row that is not there", "no call panics"),
    ] {
        let broken = judged(bug, 1).unwrap_err();
        let text = broken.to_string();
        assert!(broken.cases().len() > 5, "{text}");
        for violation in broken.violations() {
            assert_eq!(violation.error.as_deref(), Some(error), "{violation:?}");
            assert!(violation.remedy.contains("find out first why"), "{violation:?}");
            assert_eq!(text.matches(violation.case).count(), 1, "{text}");
        }
        let heading = format!("\n\ncalls failed in {} cases: {error}\n", broken.cases().len());
        let once = [error, &heading, "find out first why", "\n\n"];
        assert_eq!(once.map(|part| text.matches(part).count()), [1; 4], "{text}");
        assert_eq!(text.matches(&format!("    expected  {call}\n")).count(), broken.cases().len(), "{text}");
        let remedies = ["erase the seed", "check the end of the grant", "its tokens go with it"];
        assert!(!remedies.iter().any(|remedy| text.contains(remedy)), "a remedy of a case that asked nothing: {text}");
    }
}

#[test]
fn purge_that_loses_evidence_is_reported_with_the_loss() {
    let text = broken_by(Bug::PurgesSpent).to_string();
    assert!(text.contains("a spent token is kept while the grant lives\n  observed  it is gone"), "{text}");
}

#[test]
fn report_shows_only_what_differs() {
    let broken = broken_by(Bug::ListsOldestFirst).to_string();
    let part = "a list in pages of 4: 10 in all, at position 1: GrantId(";
    assert!(broken.contains(part), "{part:?} is missing in: {broken}");
    let lines = broken.lines().filter(|line| line.contains("GrantId("));
    assert!(lines.clone().all(|line| line.matches("GrantId(").count() == 1), "{broken}");
    assert!(lines.count() > 2, "{broken}");
    let broken = broken_by(Bug::FiltersAfterTheLimit).to_string();
    assert!(broken.contains(" in all, at position 2: nothing\n"), "{broken}");
    let broken = broken_by(Bug::RoundsTimes).to_string();
    assert!(broken.contains(": `issued_at` is "), "{broken}");
    assert!(!broken.contains("expires_at"), "{broken}");
    let broken = broken_by(Bug::DropsDetails).to_string();
    assert!(broken.contains(": `details.code` is ") && broken.contains("\n  observed  it is absent"), "{broken}");
}

#[test]
fn one_failed_case_is_reported_in_singular() {
    let broken = broken_by(Bug::KeepsSeeds);
    assert_eq!(broken.cases().len(), 1, "{broken}");
    let text = broken.to_string();
    assert!(text.starts_with("the storage violates its contract: 1 case failed, "), "{text}");
}

#[test]
fn report_names_every_case_and_every_skipped_one() {
    let (runtime, model) = (runtime(), Model::new(Bug::None));
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    let report = grantor::testing::storage_contract(|task: Task<'_>| runtime.block_on(task), connect).unwrap();
    let clauses: BTreeSet<u8> = report.passed.iter().map(|(clause, _)| clause.number()).collect();
    assert_eq!(clauses, (1..=8).chain([11]).collect());
    let options: BTreeSet<&str> = report.skipped.iter().map(|(_, _, option)| *option).collect();
    let with_both = "`ephemeral_store` and `interrupted_by`";
    let of_entries = "`EphemeralContract::workers`";
    let expected = [of_entries, "`client_registry`", "`ephemeral_store`", with_both, "`interrupted_by`", "`workers`"];
    assert_eq!(options, expected.into());
    let text = report.to_string();
    let names = report.passed.iter().map(|(_, name)| name).chain(report.skipped.iter().map(|(_, name, _)| name));
    assert!(names.into_iter().all(|name| text.contains(name)), "{text}");
}

/// The minimum that a storage without a runtime needs.
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
fn suite_needs_no_runtime() {
    let model = Model::new(Bug::None);
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    StorageContract::new(block_on, connect).client_registry().interrupted_by(|| model.cut()).run().unwrap();
}

#[test]
fn suite_runs_on_a_runtime_of_one_thread() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let model = Model::new(Bug::None);
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    let suite = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect);
    suite.client_registry().interrupted_by(|| model.cut()).run().unwrap();
}

#[test]
fn unreachable_storage_is_reported_as_untested() {
    let runtime = runtime();
    let connect = || async { Err::<MemoryStorage, _>("connection refused") };
    let broken = grantor::testing::storage_contract(|task: Task<'_>| runtime.block_on(task), connect).unwrap_err();
    assert!(broken.violations().is_empty());
    assert_eq!(broken.to_string(), "the storage could not be tested: `connect` failed: connection refused");
}

/// Runs the suite against a model that this process and workers share.
fn judged_with_workers(bug: Bug, is_cached: bool, rounds: u32) -> Result<ContractReport, BrokenContract> {
    let model = Model::new(bug);
    let hub = Hub::new(model.node());
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    let worker = || {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "contract_suite_worker"]).env(HUB, hub.address()).env(CACHED, is_cached.to_string());
        command
    };
    StorageContract::new(block_on, connect).workers(worker).rounds(rounds).run()
}

const HUB: &str = "GRANTOR_TEST_HUB";
const CACHED: &str = "GRANTOR_TEST_CACHED";

/// Does nothing unless the suite has started it.
#[test]
fn contract_suite_worker() {
    let is_cached = std::env::var(CACHED).is_ok_and(|value| value == "true");
    let connect = || async {
        let remote = Remote::connect(&std::env::var(HUB).unwrap(), is_cached)?;
        // No call reaches the wrapped storage.
        Ok::<_, std::io::Error>(Intercepted::new(MemoryStorage::new(), remote))
    };
    storage_contract_worker(block_on, connect).unwrap();
}

#[test]
fn process_races_find_bugs_across_processes() {
    let report = judged_with_workers(Bug::None, false, 1).unwrap();
    let of_workers = report.passed.iter().filter(|(_, name)| name.contains("process")).count();
    assert_eq!(of_workers, 3, "{report}");

    let broken = judged_with_workers(Bug::None, true, 1).unwrap_err();
    assert_found(&broken, "a cache in each process", Clause::Linearizable, "a write of one process");
    let broken = judged_with_workers(Bug::ChecksThenActs, false, 1).unwrap_err();
    assert_found(&broken, "check, then act", Clause::Atomic, "many processes race for one token");
    let broken = judged_with_workers(Bug::WritesTheGrantBack, false, 1);
    let broken = broken.and_then(|_| judged_with_workers(Bug::WritesTheGrantBack, false, 10)).unwrap_err();
    assert_found(&broken, "writes the grant back", Clause::RevocationIsFinal, "a grant revoked by one process");
}
