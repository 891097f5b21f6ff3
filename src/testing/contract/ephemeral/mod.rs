//! Clause 10: the contract of an ephemeral store.

pub(super) mod given_up;
pub(super) mod interrupted;
pub(super) mod races;
pub(super) mod sequence;
mod store;
mod worker;

use std::fmt;
use std::iter;
use std::process::Command;

pub use self::worker::ephemeral_contract_worker;
use super::node::{Node, Task};
use super::report::{BrokenContract, ContractReport};
use super::trial::{NODES, Needs, Setup};
use super::worker::Worker;
use super::{BoxError, CommandOf, connect_all, judge};
use crate::storage::{EphemeralStore, MemoryStorage};

/// A test suite of [the contract of an ephemeral store](crate::storage::ephemeral), for an [`EphemeralStore`] that is
/// not a [`Storage`](crate::Storage). For a type that is both, use
/// [`StorageContract::ephemeral_store`](super::StorageContract::ephemeral_store), which runs the same cases.
///
/// See [`StorageContract`](super::StorageContract) for `block_on` and `connect`.
/// ```
/// use std::convert::Infallible;
///
/// use grantor::storage::MemoryEphemeralStore;
/// use grantor::testing::{EphemeralContract, Task};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let runtime = tokio::runtime::Runtime::new()?;
/// let store = MemoryEphemeralStore::new();
/// let connect = || async { Ok::<_, Infallible>(store.clone()) };
/// let report = EphemeralContract::new(|task: Task<'_>| runtime.block_on(task), connect).run()?;
/// println!("{report}");
/// # Ok(())
/// # }
/// ```
pub struct EphemeralContract<'a, B, C> {
    block_on: B,
    connect: C,
    interrupt: Option<Box<dyn Fn() + Sync + 'a>>,
    worker: Option<Box<CommandOf<'a>>>,
    rounds: u32,
}

impl<B, C> fmt::Debug for EphemeralContract<'_, B, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EphemeralContract").field("rounds", &self.rounds).finish_non_exhaustive()
    }
}

impl<'a, S, B, C, E, F> EphemeralContract<'a, B, C>
where
    S: EphemeralStore,
    B: for<'t> Fn(Task<'t>) + Sync,
    C: Fn() -> F,
    E: Into<BoxError>,
    F: Future<Output = Result<S, E>>,
{
    /// Returns the suite for the store to which `connect` opens handles.
    pub fn new(block_on: B, connect: C) -> Self {
        Self { block_on, connect, interrupt: None, worker: None, rounds: 1 }
    }

    /// Adds cases in which running calls are interrupted: see
    /// [`StorageContract::interrupted_by`](super::StorageContract::interrupted_by).
    #[must_use]
    pub fn interrupted_by(mut self, interrupt: impl Fn() + Sync + 'a) -> Self {
        self.interrupt = Some(Box::new(interrupt));
        self
    }

    /// Adds cases in which several processes race. `command` starts a process that calls [`ephemeral_contract_worker`]
    /// for the same store: see [`StorageContract::workers`](super::StorageContract::workers).
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
    /// The store violates its contract, or could not be tested.
    pub fn run(self) -> Result<ContractReport, BrokenContract> {
        let stores: Vec<S> = connect_all(&self.block_on, &self.connect)?;
        let stores: Vec<_> = stores.iter().map(|store| store as &dyn EphemeralStore).collect();
        let processes = Worker::start_all(self.worker.as_deref())?;
        let processes: Vec<_> = processes.iter().map(|worker| worker as &dyn EphemeralStore).collect();
        // The cases of this clause use no storage. The nodes only provide the runtime.
        let unused = MemoryStorage::new();
        let nodes: Vec<_> = iter::repeat_n(Node { storage: &unused, block_on: &self.block_on }, NODES).collect();
        let host = Setup {
            nodes: &nodes,
            processes: &[],
            registries: &[],
            ephemeral: &stores,
            ephemeral_processes: &processes,
            interrupt: self.interrupt.as_deref(),
            rounds: self.rounds,
        };
        judge(host, |case| {
            matches!(case.needs, Needs::Ephemeral | Needs::EphemeralInterruption | Needs::EphemeralWorkers)
        })
    }
}
