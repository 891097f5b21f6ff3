use grantor::storage::StorageError;

async fn connect() -> Result<grantor::MemoryStorage, StorageError> {
    Ok(grantor::MemoryStorage::new())
}

#[ignore = "other tests run the suite"]
#[test]
fn storage_keeps_the_contract() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    grantor::testing::storage_contract(|task| runtime.block_on(task), connect).unwrap();
}
