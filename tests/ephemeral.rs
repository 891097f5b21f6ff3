//! Ephemeral entries of a server: what it purges, and how it handles failures. (`shipped_storages.rs` and
//! `storage.rs` test the contract of each store.)

use std::sync::Arc;

use grantor::storage::MemoryEphemeralStore;
use grantor::storage::ephemeral::{EphemeralKey, EphemeralStore, Inserted, Namespace, Version};
use grantor::testing::{Fault, Faults, ISSUER, Intercepted, TestServer};
use grantor::{AuthorizationServer, Clock, MemoryStorage, Storage};
use time::Duration;

const CB: &str = "https://app.example/cb";

fn key(number: u8) -> EphemeralKey {
    EphemeralKey::from_bytes(Namespace::new("test").unwrap(), [number; 32])
}

/// Stores entries that expire after a minute.
async fn store(t: &TestServer, store: &impl EphemeralStore, numbers: std::ops::Range<u8>) {
    let now = t.clock.now();
    for number in numbers {
        let inserted = store.insert(&key(number), b"value", now + Duration::MINUTE, now).await.unwrap();
        assert!(matches!(inserted, Inserted::New(_)), "{number}");
    }
}

/// How many entries there are, expired ones included.
async fn count(t: &TestServer, store: &impl EphemeralStore) -> usize {
    let at = t.clock.now() + Duration::days(9_999);
    store.due(Namespace::new("test").unwrap(), at, usize::MAX).await.unwrap().len()
}

/// Four rows of an ended grant: the grant, its code and two tokens.
async fn ended_grant(t: &TestServer) {
    let app = t.public_client(CB).await;
    let tokens = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    let found = t.storage.find(&tokens.access_token.hash()).await.unwrap().unwrap();
    let which = grantor::storage::GrantSelector::Id(found.grant.id);
    assert_eq!(t.revoke_grants(&which).await.unwrap(), 1);
}

#[tokio::test]
async fn purge_limit_holds_for_rows_and_for_entries() {
    let t = TestServer::new();
    ended_grant(&t).await;
    store(&t, &t.storage, 0..5).await;
    assert_eq!(t.purge(100).await.unwrap(), 4, "the grant has ended, the entries live");
    assert_eq!(count(&t, &t.storage).await, 5);

    ended_grant(&t).await;
    t.clock.advance(Duration::MINUTE);
    store(&t, &t.storage, 5..7).await;
    // Two rows and two entries at a time: the greater number is returned, so a caller continues until both are done.
    let mut left = Vec::new();
    for expected in [2, 2, 1] {
        assert_eq!(t.purge(2).await.unwrap(), expected);
        left.push(count(&t, &t.storage).await);
    }
    assert_eq!(left, [5, 3, 2], "live records are left");
    assert_eq!(t.purge(2).await.unwrap(), 0);
    assert!(t.storage.get(&key(5), t.clock.now()).await.unwrap().is_some());
}

#[tokio::test]
async fn failed_purge_of_one_store_purges_the_other() {
    let t = TestServer::new();
    for (call, fault, status) in [(1, Fault::Failed, 500), (2, Fault::Unavailable, 503)] {
        ended_grant(&t).await;
        store(&t, &t.storage, 0..3).await;
        t.clock.advance(Duration::MINUTE);
        t.faults.fail(call, fault);
        assert_eq!(t.purge(100).await.unwrap_err().status(), status);
        let (entries, rows) = if call == 1 { (0, 4) } else { (3, 0) };
        assert_eq!(count(&t, &t.storage).await, entries);
        assert_eq!(t.purge(100).await.unwrap(), rows.max(entries), "the remaining records");
    }
}

#[tokio::test]
async fn entries_may_be_kept_apart_from_grants() {
    let t = TestServer::new();
    let (storage, entries) = (Arc::new(MemoryStorage::new()), Arc::new(MemoryEphemeralStore::new()));
    let builder = AuthorizationServer::builder(ISSUER).storage_and_clients(storage.clone(), storage, entries.clone());
    let server = builder.scope("user:read", "Read").clock(t.clock.clone()).build().await.unwrap();
    store(&t, &*entries, 0..3).await;
    assert_eq!(server.purge(100).await.unwrap(), 0);
    t.clock.advance(Duration::MINUTE);
    assert_eq!(server.purge(100).await.unwrap(), 3);
    assert_eq!(count(&t, &*entries).await, 0);
}

#[tokio::test]
async fn faults_reach_each_call_of_an_ephemeral_store() {
    let (t, faults) = (TestServer::new(), Faults::default());
    let entries = Intercepted::new(MemoryEphemeralStore::new(), faults.clone());
    let (now, namespace) = (t.clock.now(), Namespace::new("test").unwrap());
    let end = now + Duration::MINUTE;
    faults.fail(1, Fault::Failed);
    assert!(entries.insert(&key(1), b"1", end, now).await.is_err());
    assert_eq!(entries.get(&key(1), now).await.unwrap(), None, "the call stored nothing");
    faults.fail(1, Fault::LostAnswer);
    assert!(entries.insert(&key(1), b"1", end, now).await.unwrap_err().is_unavailable());
    assert_eq!(entries.insert(&key(1), b"2", end, now).await.unwrap(), Inserted::Taken, "the call stored the entry");
    let calls = faults.calls();
    for _ in 0..5 {
        faults.fail(1, Fault::Unavailable);
        let version = Version::from_u64(1);
        let failed = match faults.calls() - calls {
            0 => entries.get(&key(1), now).await.is_err(),
            1 => entries.replace(&key(1), version, b"2", end, now).await.is_err(),
            2 => entries.take(&key(1), now).await.is_err(),
            3 => entries.due(namespace, end, 9).await.is_err(),
            _ => entries.purge_ephemeral(end, 9).await.is_err(),
        };
        assert!(failed, "call {}", faults.calls() - calls);
    }
    assert_eq!(faults.calls(), calls + 5);
    let due = entries.due(namespace, end, 9).await.unwrap();
    assert_eq!((due.len(), due[0].key, due[0].entry.value.as_slice()), (1, key(1), b"1".as_slice()));
}
