//! The signing keys of a server: every storage keeps one value, and of parallel replacements one wins.

use std::sync::Arc;

use grantor::MemoryStorage;
use grantor::storage::{KeyStore, PostgresStorage, SqliteStorage, StoredKeys};

use crate::postgres::Postgres;
use crate::records::Folder;

const CALLERS: usize = 16;
const ROUNDS: usize = 20;

/// Each caller reads the present value and replaces it at once. The stores are handles to the same value.
async fn race(stores: Vec<Arc<dyn KeyStore>>) {
    assert_eq!(stores[0].load_keys().await.unwrap(), None);
    assert!(!stores[0].replace_keys(Some(1), b"too early").await.unwrap());
    let callers = (0..CALLERS).map(|caller| {
        let store = Arc::clone(&stores[caller % stores.len()]);
        tokio::spawn(async move {
            let mut written = Vec::new();
            for round in 0..ROUNDS {
                let expected = store.load_keys().await.unwrap().map(|stored| stored.version);
                let value = format!("{caller} {round}").into_bytes();
                if store.replace_keys(expected, &value).await.unwrap() {
                    written.push((expected, value));
                }
            }
            written
        })
    });
    let mut written = Vec::new();
    for caller in callers.collect::<Vec<_>>() {
        written.extend(caller.await.unwrap());
    }
    // Each version was replaced once, and none was skipped.
    written.sort();
    let expected: Vec<Option<i64>> = written.iter().map(|(expected, _)| *expected).collect();
    let last = i64::try_from(written.len()).unwrap();
    assert_eq!(expected, (0..last).map(|version| (version > 0).then_some(version)).collect::<Vec<_>>());
    let expected = StoredKeys { version: last, value: written.pop().unwrap().1 };
    for store in &stores {
        assert_eq!(store.load_keys().await.unwrap().as_ref(), Some(&expected));
        assert!(!store.replace_keys(None, b"again").await.unwrap());
        assert!(!store.replace_keys(Some(last - 1), b"late").await.unwrap());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_key_replacements_in_memory_let_one_win() {
    let storage = MemoryStorage::new();
    race(vec![Arc::new(storage.clone()), Arc::new(storage)]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_key_replacements_in_sqlite_let_one_win() {
    let folder = Folder::new();
    let open = || async { Arc::new(SqliteStorage::open(folder.file()).await.unwrap()) };
    race(vec![open().await, open().await]).await;
    let stored = open().await.load_keys().await.unwrap();
    assert!(stored.is_some(), "the value is kept after the process has ended");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_key_replacements_in_postgresql_let_one_win() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let connect = || async { Arc::new(PostgresStorage::connect(&url).await.unwrap()) };
    race(vec![connect().await, connect().await]).await;
    assert!(connect().await.load_keys().await.unwrap().is_some());
}
