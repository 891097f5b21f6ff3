//! The test suite of the storage contract: see [`StorageContract`].
//!
//! There is one file for each group of cases. All cases use the same storage one after the other, with different
//! identifiers and times.

mod attempts;
mod clause;
mod clients;
mod consents;
mod differences;
mod ephemeral;
mod evidence;
mod families;
mod given_time;
mod given_up;
mod issuer;
mod listing;
mod newer;
mod node;
mod one_time_keys;
mod opaque;
mod opening;
mod races;
mod records;
mod redeem;
mod report;
mod revocation;
mod revocation_races;
mod storm;
mod trial;
mod visible;
mod worker;

use std::fmt;
use std::process::Command;

pub use self::clause::Clause;
pub use self::ephemeral::{EphemeralContract, ephemeral_contract_worker};
pub use self::node::Task;
use self::node::{BlockOn, Node, chain, run};
pub use self::report::{BrokenContract, ContractReport, Violation};
use self::trial::{Case, NODES, Named, Needs, Setup, Trial};
use self::worker::Worker;
pub use self::worker::storage_contract_worker;
use crate::storage::{ClientRegistry, EphemeralStore, Storage};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Returns the command that starts a worker.
type CommandOf<'a> = dyn Fn() -> Command + Sync + 'a;

/// A group of cases of one clause.
struct Group {
    clause: Clause,
    needs: Needs,
    cases: &'static [Named],
}

/// All cases, in the order in which they run. In cases with `Needs::Workers` and `Needs::EphemeralWorkers`, each node
/// is a process.
const GROUPS: &[Group] = &[
    Group { clause: Clause::Linearizable, needs: Needs::Nothing, cases: visible::CASES },
    Group { clause: Clause::OpaqueRecords, needs: Needs::Nothing, cases: opaque::CASES },
    Group { clause: Clause::Atomic, needs: Needs::Nothing, cases: opening::CASES },
    Group { clause: Clause::Atomic, needs: Needs::Nothing, cases: redeem::CASES },
    Group { clause: Clause::Atomic, needs: Needs::Nothing, cases: races::CASES },
    Group { clause: Clause::AmbiguousCommits, needs: Needs::Nothing, cases: attempts::CASES },
    Group { clause: Clause::Crashes, needs: Needs::Nothing, cases: given_up::CASES },
    Group { clause: Clause::Evidence, needs: Needs::Nothing, cases: evidence::CASES },
    Group { clause: Clause::NoClock, needs: Needs::Nothing, cases: given_time::CASES },
    Group { clause: Clause::RevocationIsFinal, needs: Needs::Nothing, cases: revocation::CASES },
    Group { clause: Clause::RevocationIsFinal, needs: Needs::Nothing, cases: revocation_races::CASES },
    Group { clause: Clause::RevocationIsFinal, needs: Needs::Nothing, cases: listing::CASES },
    Group { clause: Clause::Atomic, needs: Needs::Nothing, cases: families::ATOMIC },
    Group { clause: Clause::Evidence, needs: Needs::Nothing, cases: families::EVIDENCE },
    Group { clause: Clause::RevocationIsFinal, needs: Needs::Nothing, cases: families::REVOCATION },
    Group { clause: Clause::Atomic, needs: Needs::Nothing, cases: consents::ATOMIC },
    Group { clause: Clause::RevocationIsFinal, needs: Needs::Nothing, cases: consents::REVOCATION },
    Group { clause: Clause::Atomic, needs: Needs::Nothing, cases: one_time_keys::ATOMIC },
    Group { clause: Clause::Evidence, needs: Needs::Nothing, cases: one_time_keys::EVIDENCE },
    Group { clause: Clause::OpaqueRecords, needs: Needs::Nothing, cases: newer::OPAQUE },
    Group { clause: Clause::Clients, needs: Needs::Registry, cases: newer::CLIENTS },
    Group { clause: Clause::Issuer, needs: Needs::Nothing, cases: issuer::CASES },
    Group { clause: Clause::Clients, needs: Needs::Registry, cases: clients::CASES },
    Group { clause: Clause::Ephemeral, needs: Needs::Ephemeral, cases: ephemeral::sequence::CASES },
    Group { clause: Clause::Ephemeral, needs: Needs::Ephemeral, cases: ephemeral::races::CASES },
    Group { clause: Clause::Ephemeral, needs: Needs::Ephemeral, cases: ephemeral::given_up::CASES },
    Group { clause: Clause::Ephemeral, needs: Needs::EphemeralInterruption, cases: ephemeral::interrupted::CASES },
    Group { clause: Clause::Crashes, needs: Needs::Interruption, cases: storm::CRASHES },
    Group { clause: Clause::AmbiguousCommits, needs: Needs::Interruption, cases: storm::REPEATED_ATTEMPTS },
    Group { clause: Clause::Linearizable, needs: Needs::Workers, cases: visible::CASES_OF_PROCESSES },
    Group { clause: Clause::Atomic, needs: Needs::Workers, cases: races::CASES_OF_PROCESSES },
    Group { clause: Clause::RevocationIsFinal, needs: Needs::Workers, cases: revocation_races::CASES_OF_PROCESSES },
    Group { clause: Clause::Ephemeral, needs: Needs::EphemeralWorkers, cases: ephemeral::races::CASES_OF_PROCESSES },
];

/// Runs the test suite of [the contract](crate::storage) against a storage, in a few seconds. This is
/// [`StorageContract`] without options: see there for `block_on`, `connect` and an example.
///
/// # Errors
/// The storage violates its contract, or could not be tested. The error prints all violations.
pub fn storage_contract<S, E, F>(
    block_on: impl for<'t> Fn(Task<'t>) + Sync,
    connect: impl Fn() -> F,
) -> Result<ContractReport, BrokenContract>
where
    S: Storage,
    E: Into<BoxError>,
    F: Future<Output = Result<S, E>>,
{
    StorageContract::new(block_on, connect).run()
}

/// A test suite of [the contract](crate::storage) for any [`Storage`](crate::Storage). Run it from an ordinary
/// `#[test]`.
///
/// Its cases test the decisions and writes of each step, races, cancelled calls, and purges. The result is a
/// [`ContractReport`] or a [`BrokenContract`]. The latter prints for each violation the clause, the expected and the
/// observed behaviour, the consequences, and what to do.
///
/// * `block_on` runs a task to completion on the runtime that the storage needs. It is called from many threads at
///   once, so use a runtime that allows this. The suite itself needs no runtime.
/// * `connect` opens another handle to the *same* storage with new connections, as another node would. It is called
///   four times, and once in each [worker](Self::workers). The storage must be empty and used only by the suite. Throw
///   it away afterwards.
///
/// This is a complete example for tokio with memory storage. For a database, `connect` would be
/// `|| MyStorage::connect(&url)`.
/// ```
/// use std::convert::Infallible;
/// use std::process::Command;
///
/// use grantor::MemoryStorage;
/// use grantor::testing::{StorageContract, Task};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // In a test: #[test] fn my_storage_keeps_the_contract() {
/// let runtime = tokio::runtime::Runtime::new()?;
/// let storage = MemoryStorage::new();
/// let connect = || async { Ok::<_, Infallible>(storage.clone()) };
///
/// let suite = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect);
/// let report = suite
///     .client_registry() // if it implements ClientRegistry
///     .ephemeral_store() // if it implements EphemeralStore
///     // .interrupted_by(|| terminate_all_connections(&url))
///     // .workers(|| {
///     //     let mut command = Command::new(std::env::current_exe().unwrap());
///     //     command.args(["--exact", "contract_suite_worker"]).env("MY_URL", &url);
///     //     command
///     // })
///     .run()?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
/// # Limits
/// The suite finds races only by running them; more [`rounds`](Self::rounds) find more. It can't test whether results
/// survive a power failure: [`interrupted_by`](Self::interrupted_by) can restart the database instead. If the storage
/// deadlocks, a case waits forever.
pub struct StorageContract<'a, S, B, C> {
    block_on: B,
    connect: C,
    registry: Option<fn(&S) -> &dyn ClientRegistry>,
    ephemeral: Option<fn(&S) -> &dyn EphemeralStore>,
    interrupt: Option<Box<dyn Fn() + Sync + 'a>>,
    worker: Option<Box<CommandOf<'a>>>,
    rounds: u32,
}

impl<S, B, C> fmt::Debug for StorageContract<'_, S, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StorageContract").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

impl<'a, S, B, C, E, F> StorageContract<'a, S, B, C>
where
    S: Storage,
    B: for<'t> Fn(Task<'t>) + Sync,
    C: Fn() -> F,
    E: Into<BoxError>,
    F: Future<Output = Result<S, E>>,
{
    /// Returns the suite for the storage to which `connect` opens handles.
    pub fn new(block_on: B, connect: C) -> Self {
        Self { block_on, connect, registry: None, ephemeral: None, interrupt: None, worker: None, rounds: 1 }
    }

    /// Adds the cases for a [`ClientRegistry`].
    #[must_use]
    pub fn client_registry(mut self) -> Self
    where
        S: ClientRegistry,
    {
        self.registry = Some(|storage| storage);
        self
    }

    /// Adds the cases for an [`EphemeralStore`]. For a store that is not a [`Storage`], and for races between
    /// processes, use [`EphemeralContract`].
    #[must_use]
    pub fn ephemeral_store(mut self) -> Self
    where
        S: EphemeralStore,
    {
        self.ephemeral = Some(|storage| storage);
        self
    }

    /// Adds cases in which running calls are interrupted. `interrupt` should terminate connections, or restart the
    /// database. The suite calls it from a separate thread while many threads use the storage, about twenty times in
    /// each case (more with [`rounds`](Self::rounds)). Calls may fail then, but each step must happen completely or not
    /// at all.
    #[must_use]
    pub fn interrupted_by(mut self, interrupt: impl Fn() + Sync + 'a) -> Self {
        self.interrupt = Some(Box::new(interrupt));
        self
    }

    /// Adds cases in which several processes race. `command` starts a process that calls [`storage_contract_worker`]
    /// for the same storage. The simplest way is to run the test executable itself with the name of another test, and
    /// to pass the address of the storage in an environment variable:
    /// ```
    /// # use std::convert::Infallible;
    /// # use grantor::MemoryStorage;
    /// # use grantor::testing::{Task, storage_contract_worker};
    /// // #[test] It does nothing unless the suite has started it.
    /// fn contract_suite_worker() {
    ///     let runtime = tokio::runtime::Runtime::new().unwrap();
    ///     let connect = || async { Ok::<_, Infallible>(MemoryStorage::new()) }; // MyStorage::connect(&env::var("MY_URL")?)
    ///     storage_contract_worker(|task: Task<'_>| runtime.block_on(task), connect).unwrap();
    /// }
    /// # contract_suite_worker();
    /// ```
    /// The output of a worker is shown only if the worker fails.
    #[must_use]
    pub fn workers(mut self, command: impl Fn() -> Command + Sync + 'a) -> Self {
        self.worker = Some(Box::new(command));
        self
    }

    /// Multiplies the number of rounds of each race. Default: 1, which takes some seconds.
    #[must_use]
    pub const fn rounds(mut self, times: u32) -> Self {
        self.rounds = times;
        self
    }

    /// Runs all cases that the options allow, one after the other.
    ///
    /// # Errors
    /// The storage violates its contract, or could not be tested.
    pub fn run(self) -> Result<ContractReport, BrokenContract> {
        let storages: Vec<S> = connect_all(&self.block_on, &self.connect)?;
        let nodes: Vec<_> = storages.iter().map(|storage| Node { storage, block_on: &self.block_on }).collect();
        let registries: Vec<_> =
            self.registry.iter().flat_map(|as_registry| storages.iter().map(as_registry)).collect();
        let ephemeral: Vec<_> = self.ephemeral.iter().flat_map(|as_store| storages.iter().map(as_store)).collect();
        let processes = Worker::start_all(self.worker.as_deref())?;
        let processes: Vec<_> = processes.iter().map(|storage| Node { storage, block_on: &self.block_on }).collect();
        let setup = Setup {
            nodes: &nodes,
            processes: &processes,
            registries: &registries,
            ephemeral: &ephemeral,
            ephemeral_processes: &[],
            interrupt: self.interrupt.as_deref(),
            rounds: self.rounds,
        };
        judge(setup, |_| true)
    }
}

fn cases() -> impl Iterator<Item = Case> {
    GROUPS.iter().flat_map(|Group { clause, needs, cases }| {
        cases.iter().map(|(name, run)| Case { clause: *clause, name, needs: *needs, run: *run })
    })
}

/// Opens a handle to the storage for each node.
fn connect_all<S, E: Into<BoxError>, F: Future<Output = Result<S, E>>>(
    block_on: BlockOn<'_>,
    connect: impl Fn() -> F,
) -> Result<Vec<S>, BrokenContract> {
    run(block_on, async {
        let mut storages = Vec::new();
        for _ in 0..NODES {
            storages.push(connect().await.map_err(Into::into)?);
        }
        Ok(storages)
    })
    .map_err(|error: BoxError| BrokenContract::unable(format!("`connect` failed: {}", chain(&*error))))
}

/// Runs the selected cases that the options allow.
fn judge(mut setup: Setup<'_>, is_asked: fn(&Case) -> bool) -> Result<ContractReport, BrokenContract> {
    let (mut report, mut violations) = (ContractReport::default(), Vec::new());
    for (number, case) in (1..).zip(cases().filter(is_asked)) {
        if !setup.has(case.needs) {
            report.skipped.push((case.clause, case.name, case.needs.option()));
            continue;
        }
        let nodes = if case.needs == Needs::Workers { setup.processes } else { setup.nodes };
        let of_workers = case.needs == Needs::EphemeralWorkers;
        let ephemeral = if of_workers { setup.ephemeral_processes } else { setup.ephemeral };
        let found = Trial::judge(Setup { nodes, ephemeral, ..setup }, case, number);
        if found.is_empty() {
            report.passed.push((case.clause, case.name));
        }
        // Nodes that don't see each other's writes fail all cases, so the remaining cases use only one node.
        if case.clause == Clause::Linearizable && !found.is_empty() {
            setup.nodes = &setup.nodes[..1];
            setup.processes = setup.processes.get(..1).unwrap_or_default();
        }
        violations.extend(found);
    }
    if violations.is_empty() {
        return Ok(report);
    }
    Err(BrokenContract { violations, passed: report, unable: None })
}

impl Setup<'_> {
    fn has(&self, needs: Needs) -> bool {
        match needs {
            Needs::Nothing => true,
            Needs::Registry => !self.registries.is_empty(),
            Needs::Ephemeral => !self.ephemeral.is_empty(),
            Needs::EphemeralInterruption => !self.ephemeral.is_empty() && self.interrupt.is_some(),
            Needs::Interruption => self.interrupt.is_some(),
            Needs::Workers => !self.processes.is_empty(),
            Needs::EphemeralWorkers => !self.ephemeral_processes.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_case_has_one_row_in_the_table() {
        let rows =
            include_str!("cases.md").lines().filter(|line| line.starts_with("| ") && !line.starts_with("| case |"));
        for case in cases() {
            let (cost, remedy) = case.advice();
            assert!(!cost.is_empty() && !remedy.is_empty(), "{}", case.name);
        }
        assert_eq!(rows.count(), cases().count());
    }
}
