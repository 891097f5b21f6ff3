//! The storages in SQL databases against the contract suite.

#[path = "common/postgres.rs"]
mod postgres;

use grantor::storage::{PostgresStorage, SqliteStorage};
use grantor::testing::StorageContract;

use crate::postgres::Postgres;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Runtime::new().unwrap()
}

#[test]
fn sqlite_keeps_the_contract() {
    let runtime = runtime();
    let folder = std::env::temp_dir().join(format!("grantor-contract-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let file = folder.join("contract.db");
    let result =
        StorageContract::new(|task| runtime.block_on(task), || SqliteStorage::open(&file)).client_registry().run();
    std::fs::remove_dir_all(&folder).unwrap();
    println!("{:?}", result.unwrap());
}

#[test]
fn postgresql_keeps_the_contract() {
    let Some(server) = Postgres::get() else { return };
    let runtime = runtime();
    let url = runtime.block_on(server.database());
    let contract =
        StorageContract::new(|task| runtime.block_on(task), || PostgresStorage::connect(&url)).client_registry();
    println!("{:?}", contract.run().unwrap());
}

#[allow(dead_code, unreachable_pub)]
#[path = "../examples/custom_storage.rs"]
mod custom_storage;

#[test]
fn the_example_of_a_custom_storage_keeps_the_contract() {
    let runtime = runtime();
    let documents = custom_storage::Documents::default();
    let connect = || async { Ok::<_, grantor::StorageError>(documents.clone()) };
    println!("{:?}", StorageContract::new(|task| runtime.block_on(task), connect).run().unwrap());
}
