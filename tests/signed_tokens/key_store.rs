//! What becomes of requests and keys when the stored keys change elsewhere, or can't be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use grantor::jose::{Algorithm, WrappingKey};
use grantor::storage::{AnyStorage, KeyStore, StoredKeys};
use grantor::testing::{ISSUER, TestClock};
use grantor::{
    AuthorizationServer, BuildError, Builder, Clock, MemoryStorage, RotatingKeys, SigningKeys, StorageError,
};
use serde_json::Value;
use time::Duration;

const SECRET: [u8; 32] = [7; 32];

/// A store that counts its reads and can be made to fail.
#[derive(Clone, Default)]
struct Store {
    inner: MemoryStorage,
    fails: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
}

#[async_trait]
impl KeyStore for Store {
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        if self.fails.load(Ordering::SeqCst) {
            return Err(StorageError::unavailable("no connection"));
        }
        self.inner.load_keys().await
    }

    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError> {
        self.inner.replace_keys(expected, value).await
    }
}

fn keys(store: impl KeyStore + 'static, secret: &[u8], algorithm: Algorithm) -> RotatingKeys {
    RotatingKeys::new(store, WrappingKey::new(secret, &[]).unwrap(), [algorithm])
}

fn builder(storage: impl AnyStorage + 'static, keys: RotatingKeys, clock: &TestClock) -> Builder {
    let builder = AuthorizationServer::builder(ISSUER).storage(storage).scope("user:read", "Read");
    builder.clock(clock.clone()).signing_keys(SigningKeys::new(keys))
}

// From the attack on signing keys, 7: the keys had a clock of their own.
#[tokio::test]
async fn keys_take_the_clock_of_their_server_and_any_storage() {
    let (store, clock) = (MemoryStorage::new(), TestClock::default());
    clock.advance(Duration::days(1_000));
    let storage: Arc<dyn AnyStorage> = Arc::new(store.clone());
    let keys = keys(Arc::clone(&storage), &SECRET, Algorithm::Es256);
    builder(storage, keys, &clock).build().await.unwrap();
    // The key was made when the server was built.
    let stored: Value = serde_json::from_slice(&store.load_keys().await.unwrap().unwrap().value).unwrap();
    assert_eq!(stored["keys"][0]["signs_from"], clock.now().unix_timestamp());
    assert_eq!(stored["keys"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn server_whose_keys_cannot_be_read_does_not_build() {
    let (store, clock) = (Store::default(), TestClock::default());
    let build =
        |secret: [u8; 32]| builder(store.inner.clone(), keys(store.clone(), &secret, Algorithm::Es256), &clock).build();
    build(SECRET).await.unwrap();
    let error = build([8; 32]).await.unwrap_err();
    assert!(
        matches!(&error, BuildError::Capability { name: "signing_keys", problem } if problem.contains("wrapping key"))
    );
    store.fails.store(true, Ordering::SeqCst);
    assert!(matches!(build(SECRET).await, Err(BuildError::Capability { name: "signing_keys", .. })));
}
