//! What becomes of requests and keys when the stored keys change elsewhere, or can't be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use grantor::jose::{Algorithm, KeyError, Keys, PublicKey, Signer, WrappingKey};
use grantor::storage::{AnyStorage, KeyStore, StoredKeys};
use grantor::testing::{ISSUER, RecordingObserver, TestClock, TestServer};
use grantor::{
    AuthorizationServer, BuildError, Builder, Clock, MemoryStorage, Request, RotatingKeys, SigningKeys, StorageError,
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

// From the attack on signing keys, 2: keys failed in silence.
#[tokio::test]
async fn failing_key_store_is_told_as_often_as_it_is_tried() {
    let (store, clock, events) = (Store::default(), TestClock::default(), RecordingObserver::default());
    let keys = keys(store.clone(), &SECRET, Algorithm::Es256);
    let server = builder(store.inner.clone(), keys, &clock).observer(events.clone()).build().await.unwrap();
    let jwks = async || server.handle(&Request::get("/jwks")).await;
    store.fails.store(true, Ordering::SeqCst);
    store.reads.store(0, Ordering::SeqCst);
    // The keys that are known still count.
    for (advance, tried) in [(Duration::minutes(4), 0), (Duration::minutes(1), 1), (Duration::SECOND, 2)] {
        clock.advance(advance);
        for _ in 0..10 {
            assert_eq!(jwks().await.status(), 200);
        }
        assert_eq!(store.reads.load(Ordering::SeqCst), tried);
        assert_eq!(events.names(), vec!["keys_unavailable"; tried]);
    }
    // They count no more.
    clock.advance(Duration::hours(12));
    for _ in 0..3 {
        let answer = jwks().await;
        assert_eq!(answer.status(), 503);
        assert!(answer.header("retry-after").is_some());
    }
    assert_eq!((store.reads.load(Ordering::SeqCst), events.names()), (5, vec!["keys_unavailable"; 5]));
    // The next try succeeds.
    store.fails.store(false, Ordering::SeqCst);
    assert_eq!(jwks().await.status(), 200);
    assert_eq!(events.names().len(), 5);
}

/// A host's keys that can't be reached after the server was built.
struct Unreachable(AtomicBool);

#[async_trait]
impl Keys for Unreachable {
    fn algorithms(&self) -> &[Algorithm] {
        &[Algorithm::Es256]
    }

    async fn signer(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, KeyError> {
        Err(KeyError::NoKey(algorithm))
    }

    async fn published(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        let fails = self.0.swap(true, Ordering::SeqCst);
        if fails { Err(KeyError::Unavailable("no connection".into())) } else { Ok(Arc::new([])) }
    }
}

#[tokio::test]
async fn keys_of_a_host_that_fail_at_jwks_are_told() {
    let t = TestServer::with(|builder| builder.signing_keys(SigningKeys::new(Unreachable(AtomicBool::new(false)))));
    let answer = t.server.handle(&Request::get("/jwks")).await;
    assert_eq!(answer.status(), 503);
    let told = t.events.events();
    assert_eq!(t.events.names(), ["keys_unavailable"]);
    // The answer has no cause, the observer has it.
    assert!(!String::from_utf8_lossy(answer.body()).contains("no connection"));
    assert!(told[0].text.contains("no connection"), "{}", told[0].text);
}
