//! Ephemeral entries that several processes race for, and stores that are correct only within one process.

use std::process::Command;

use async_trait::async_trait;
use grantor::StorageError;
use grantor::storage::ephemeral::{Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned};
use grantor::storage::{PostgresStorage, SqliteStorage};
use grantor::testing::{BrokenContract, ContractReport, EphemeralContract, Task, ephemeral_contract_worker};
use time::OffsetDateTime;
use tokio::runtime::Runtime;
use tokio::sync::Mutex;

use crate::postgres::Postgres;
use crate::records::Folder;

/// The variables that tell a worker where the store is, and which bug it has.
const PLACE: &str = "GRANTOR_TEST_EPHEMERAL_STORE";
const BUG: &str = "GRANTOR_TEST_EPHEMERAL_BUG";

/// Reads and writes in two steps, under a lock that other processes do not share.
struct LockedInProcess<S> {
    inner: S,
    /// The method with the bug.
    bug: String,
    lock: Mutex<()>,
}

impl<S: EphemeralStore> LockedInProcess<S> {
    /// Returns the entry of the key if the method has the bug. Further reads give other processes time to read as well.
    async fn look(
        &self,
        method: &str,
        key: &EphemeralKey,
        now: OffsetDateTime,
    ) -> Result<Option<Option<Versioned>>, StorageError> {
        if self.bug != method {
            return Ok(None);
        }
        let seen = self.inner.get(key, now).await?;
        for _ in 0..30 {
            self.inner.get(key, now).await?;
        }
        Ok(Some(seen))
    }
}

#[async_trait]
impl<S: EphemeralStore> EphemeralStore for LockedInProcess<S> {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        let _alone = self.lock.lock().await;
        match self.look("insert", key, now).await? {
            Some(Some(_)) => return Ok(Inserted::Taken),
            Some(None) => drop(self.inner.take(key, now).await?),
            None => {}
        }
        self.inner.insert(key, value, expires_at, now).await
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        self.inner.get(key, now).await
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        let _alone = self.lock.lock().await;
        let seen = self.look("take", key, now).await?;
        let taken = self.inner.take(key, now).await?;
        Ok(seen.map_or(taken, |seen| seen.map(|entry| entry.value)))
    }

    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        let _alone = self.lock.lock().await;
        let mut expected = expected;
        if let Some(seen) = self.look("replace", key, now).await? {
            if seen.is_none_or(|entry| entry.version != expected) {
                return Ok(None);
            }
            // The bug replaces an entry of any version.
            expected = self.inner.get(key, now).await?.map_or(expected, |entry| entry.version);
        }
        self.inner.replace(key, expected, value, expires_at, now).await
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        self.inner.due(namespace, at, limit).await
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.inner.purge_ephemeral(before, limit).await
    }
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn worker(place: &str, bug: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "ephemeral_processes::contract_suite_worker"]).env(PLACE, place).env(BUG, bug);
    command
}

/// Does nothing unless the suite has started it.
#[test]
fn contract_suite_worker() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let runtime = runtime();
    let block_on = |task: Task<'_>| runtime.block_on(task);
    if place.starts_with("postgres:") {
        return ephemeral_contract_worker(block_on, || PostgresStorage::connect(&place)).unwrap();
    }
    let connect = || async {
        let (inner, bug) = (SqliteStorage::open(&place).await?, std::env::var(BUG).unwrap_or_default());
        Ok::<_, StorageError>(LockedInProcess { inner, bug, lock: Mutex::default() })
    };
    ephemeral_contract_worker(block_on, connect).unwrap();
}

/// Runs the suite on a separate file. The workers have the bug; this process does not.
fn judged(folder: &Folder, bug: &str, rounds: u32) -> Result<ContractReport, BrokenContract> {
    let runtime = runtime();
    let place = folder.0.join(format!("{bug}-{rounds}.db")).into_os_string().into_string().unwrap();
    EphemeralContract::new(|task: Task<'_>| runtime.block_on(task), || SqliteStorage::open(&place))
        .workers(|| worker(&place, bug))
        .rounds(rounds)
        .run()
}

/// How many cases with processes have passed.
fn of_processes(report: &ContractReport) -> usize {
    report.passed.iter().filter(|(_, name)| name.contains("processes")).count()
}

#[test]
fn entry_contract_holds_across_processes_on_sqlite() {
    let folder = Folder::new();
    let report = judged(&folder, "none", 1).unwrap();
    assert_eq!(of_processes(&report), 3, "{report}");
}

#[test]
fn entry_contract_holds_across_processes_on_postgresql() {
    let Some(server) = Postgres::get() else { return };
    let runtime = runtime();
    let url = runtime.block_on(server.database());
    let suite = EphemeralContract::new(|task: Task<'_>| runtime.block_on(task), || PostgresStorage::connect(&url));
    let report = suite.workers(|| worker(&url, "none")).run().unwrap();
    assert_eq!(of_processes(&report), 3, "{report}");
}

#[test]
fn process_local_lock_is_found_only_across_processes() {
    let folder = Folder::new();
    for (bug, case) in [
        ("insert", "many processes insert one key"),
        ("take", "many processes take one entry"),
        ("replace", "many processes replace one version"),
    ] {
        let broken = judged(&folder, bug, 1).and_then(|_| judged(&folder, bug, 20));
        let broken = broken.err().unwrap_or_else(|| panic!("the suite does not find the bug {bug}"));
        let cases: Vec<_> = broken.cases().into_iter().collect();
        assert!(cases.len() == 1 && cases[0].starts_with(case), "{bug}: {broken}");
        assert!(broken.violations().iter().all(|violation| violation.error.is_none()), "{bug}: {broken}");
    }
}
