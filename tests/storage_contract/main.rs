//! The contract of a storage as a suite: storages that keep it pass, and for each clause there are storages with one bug
//! that only this clause finds.

mod model;

use std::collections::BTreeSet;
use std::convert::Infallible;

use grantor::MemoryStorage;
use grantor::testing::{BrokenContract, Clause, ContractReport, StorageContract, Task};
use tokio::runtime::Runtime;

use self::model::{Bug, Model};

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
fn memory_storage_keeps_the_contract() {
    let runtime = runtime();
    let storage = MemoryStorage::new();
    let connect = || async { Ok::<_, Infallible>(storage.clone()) };
    let report = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect).client_registry().run();
    println!("{}", report.unwrap());
}

#[test]
fn an_honest_storage_that_waits_keeps_the_contract() {
    judged(Bug::None, 1).unwrap();
}

/// Each bug, the clause that it breaks, and a case that finds it, by a part of its name.
const BUGS: &[(Bug, Clause, &str)] = &[
    (Bug::CachesFinds, Clause::Linearizable, "what one node has written"),
    (Bug::RemembersAbsence, Clause::Linearizable, "looked for in vain"),
    (Bug::AnswersBeforeItWrites, Clause::Linearizable, "whoever lost a race"),
    (Bug::ChecksThenActs, Clause::Atomic, "race for one token exactly one is done"),
    (Bug::OpensWithoutATransaction, Clause::Atomic, "if one of its tokens is taken"),
    (Bug::OverwritesAGrant, Clause::Atomic, "if its identifier is taken"),
    (Bug::SpentBeforeRevoked, Clause::Atomic, "decides in the order"),
    (Bug::WritesWhenItIsLate, Clause::Atomic, "writes nothing unless it is done"),
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
    (Bug::ExchangesByItsClock, Clause::NoClock, "judges by the time it is given"),
    (Bug::SpendsByItsClock, Clause::NoClock, "bears the time"),
    (Bug::ListsByItsClock, Clause::NoClock, "list of live grants"),
    (Bug::ForgetsByItsClock, Clause::NoClock, "found whatever the time is"),
    (Bug::IgnoresTheSubject, Clause::RevocationIsFinal, "each selector revokes"),
    (Bug::TakesClientsForSubjects, Clause::RevocationIsFinal, "each selector revokes"),
    (Bug::FoldsCase, Clause::RevocationIsFinal, "byte by byte"),
    (Bug::RevokesAnyToken, Clause::RevocationIsFinal, "only an access token"),
    (Bug::RevokesAgain, Clause::RevocationIsFinal, "the first time counts"),
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
    (Bug::SortsScopes, Clause::OpaqueRecords, "every member of a grant"),
    (Bug::RegistersTwice, Clause::Clients, "a client is registered once"),
    (Bug::RotatesWithoutALock, Clause::Clients, "of many rotations at once"),
    (Bug::KeepsGrantsOfRemovedClients, Clause::Clients, "revokes all its grants"),
];

#[test]
fn each_bug_is_found_by_the_clause_that_it_breaks_and_by_no_other() {
    let mut wrong = Vec::new();
    for (bug, clause, case) in BUGS {
        let broken = match judged(*bug, 1) {
            Err(broken) => broken,
            Ok(_) => {
                wrong.push(format!("{bug:?} is not found"));
                continue;
            }
        };
        let is_named = broken.cases().iter().any(|name| name.contains(case));
        if broken.clauses() != BTreeSet::from([*clause]) || !is_named {
            wrong.push(format!("{bug:?} is found by {:?}: {broken}", broken.clauses()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}
