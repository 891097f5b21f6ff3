//! The contract suite on every shipped storage that keeps records outside the process, and on the example of a custom
//! storage. (`MemoryStorage`: `storage.rs`. The suite itself is tested in `storage_contract/`.)

#[path = "common/postgres.rs"]
mod postgres;

#[allow(dead_code, unreachable_pub, reason = "the example is a separate program")]
#[path = "../examples/custom_storage.rs"]
mod custom_storage;

use std::convert::Infallible;
use std::path::PathBuf;
use std::process::Command;

use grantor::storage::{PostgresStorage, SqliteStorage};
use grantor::testing::{ContractReport, StorageContract, Task, storage_contract_worker};
use tokio::runtime::Runtime;

use crate::custom_storage::Documents;
use crate::postgres::Postgres;

/// The variable that tells a worker where the storage is.
const PLACE: &str = "GRANTOR_TEST_STORAGE";

fn runtime() -> Runtime {
    Runtime::new().unwrap()
}

/// A process that races with other processes on the storage at this place.
fn worker(place: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "contract_suite_worker"]).env(PLACE, place);
    command
}

/// Races of processes for ephemeral entries: see `tests/sql_storage/ephemeral_processes.rs`.
const OF_ENTRIES: &str = "`EphemeralContract::workers`";

/// Does nothing unless the suite has started it.
#[test]
fn contract_suite_worker() {
    let Ok(place) = std::env::var(PLACE) else { return };
    let runtime = runtime();
    let block_on = |task: Task<'_>| runtime.block_on(task);
    if place.starts_with("postgres:") {
        storage_contract_worker(block_on, || PostgresStorage::connect(&place)).unwrap();
    } else {
        storage_contract_worker(block_on, || SqliteStorage::open(&place)).unwrap();
    }
}

/// A folder, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("grantor-contract-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// The options that could not be used for a storage.
fn skipped(report: &ContractReport) -> Vec<&str> {
    let mut options: Vec<_> = report.skipped.iter().map(|(.., option)| *option).collect();
    options.dedup();
    options
}

#[test]
fn sqlite_keeps_the_contract_across_processes() {
    let (runtime, folder) = (runtime(), Folder::new());
    let file = folder.0.join("contract.db").into_os_string().into_string().unwrap();
    let report = StorageContract::new(|task: Task<'_>| runtime.block_on(task), || SqliteStorage::open(&file))
        .client_registry()
        .ephemeral_store()
        .workers(|| worker(&file))
        .run()
        .unwrap();
    let options = ["`ephemeral_store` and `interrupted_by`", "`interrupted_by`", OF_ENTRIES];
    assert_eq!(skipped(&report), options, "a file has no connection that could break");
}

#[test]
fn postgresql_keeps_the_contract_when_interrupted() {
    let Some(server) = Postgres::get() else { return };
    let runtime = runtime();
    let url = runtime.block_on(server.database());
    let administrator = runtime.block_on(sqlx::PgPool::connect(&url)).unwrap();
    let terminate = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                     WHERE datname = current_database() AND pid <> pg_backend_pid()";
    let report = StorageContract::new(|task: Task<'_>| runtime.block_on(task), || PostgresStorage::connect(&url))
        .client_registry()
        .ephemeral_store()
        .interrupted_by(|| {
            runtime.block_on(sqlx::query(terminate).execute(&administrator)).unwrap();
        })
        .workers(|| worker(&url))
        .run()
        .unwrap();
    assert_eq!(skipped(&report), [OF_ENTRIES], "{report}");
}

#[test]
fn custom_storage_example_keeps_the_contract() {
    let (runtime, documents) = (runtime(), Documents::default());
    let connect = || async { Ok::<_, Infallible>(documents.clone()) };
    let suite = StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect);
    let report = suite.ephemeral_store().run().unwrap();
    let options =
        ["`client_registry`", "`ephemeral_store` and `interrupted_by`", "`interrupted_by`", "`workers`", OF_ENTRIES];
    assert_eq!(skipped(&report), options);
}
