use grantor::MemoryStorage;
use grantor::testing::{StorageContract, Task};
use std::convert::Infallible;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

#[test]
fn memory_storage_keeps_the_contract() {
    let runtime = runtime();
    let storage = MemoryStorage::new();
    let connect = || {
        let storage = storage.clone();
        async { Ok::<_, Infallible>(storage) }
    };
    let report =
        StorageContract::new(|task: Task<'_>| runtime.block_on(task), connect).client_registry().run().unwrap();
    println!("{report}");
}
