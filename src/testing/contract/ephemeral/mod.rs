//! Clause 10: the contract of an ephemeral store, for storages that are one and for stores that stand alone.

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

/// [The contract of an ephemeral store](crate::storage::ephemeral) as a suite, for an [`EphemeralStore`] that is no
/// [`Storage`](crate::Storage). For one that is both, [`StorageContract::ephemeral_store`](super::StorageContract::ephemeral_store)
/// adds the same cases.
///
/// `block_on` and `connect` are those of [`StorageContract`](super::StorageContract).
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
    /// The suite for the store that `connect` opens handles on.
    pub fn new(block_on: B, connect: C) -> Self {
        Self { block_on, connect, interrupt: None, worker: None, rounds: 1 }
    }

    /// Adds cases in which what is under way is broken; see
    /// [`StorageContract::interrupted_by`](super::StorageContract::interrupted_by).
    #[must_use]
    pub fn interrupted_by(mut self, interrupt: impl Fn() + Sync + 'a) -> Self {
        self.interrupt = Some(Box::new(interrupt));
        self
    }

    /// Adds cases in which several processes race. `command` is to start a process that calls [`ephemeral_contract_worker`] for the
    /// same store; see [`StorageContract::workers`](super::StorageContract::workers).
    #[must_use]
    pub fn workers(mut self, command: impl Fn() -> Command + Sync + 'a) -> Self {
        self.worker = Some(Box::new(command));
        self
    }

    /// Sets how many times more rounds a race has than it has by default: 1 is a matter of seconds.
    #[must_use]
    pub const fn rounds(mut self, times: u32) -> Self {
        self.rounds = times;
        self
    }

    /// Runs every case that the options allow, one after the other.
    ///
    /// # Errors
    /// The store breaks its contract, or could not be reached.
    pub fn run(self) -> Result<ContractReport, BrokenContract> {
        let stores: Vec<S> = connect_all(&self.block_on, &self.connect)?;
        let stores: Vec<_> = stores.iter().map(|store| store as &dyn EphemeralStore).collect();
        let processes = Worker::start_all(self.worker.as_deref())?;
        let processes: Vec<_> = processes.iter().map(|worker| worker as &dyn EphemeralStore).collect();
        // No case of this clause uses a storage; the nodes bring the runtime.
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
