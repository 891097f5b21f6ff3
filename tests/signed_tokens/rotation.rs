//! Signing keys that nodes share in a store, and that rotate automatically.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use grantor::jose::{
    Algorithm, KeyError, KeyRing, KeySchedule, Keys, KeysContext, PublicKey, Signer, SigningKey, WrappingKey,
};
use grantor::storage::{KeyStore, StoredKeys};
use grantor::testing::{ISSUER, TestClock, TestServer};
use grantor::{
    AccessToken, AuthorizationServer, BearerRequest, Client, ClientCredential, ClientRegistry, ClientSecret, Clock,
    MemoryStorage, ProtectedResource, Request, RevocationRequest, RotatingKeys, SigningKeys, StorageError,
    TokenRequest,
};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::sync::Notify;

const SECRET: [u8; 32] = [7; 32];

/// A store that fails or delays an answer on request.
#[derive(Clone, Default)]
struct Store {
    inner: MemoryStorage,
    fails: Arc<AtomicBool>,
    /// Whether the connection is lost after each write.
    loses_answers: Arc<AtomicBool>,
    reads: Arc<AtomicUsize>,
    writes: Arc<AtomicUsize>,
    /// Delays the next answer until it is released.
    holds_next: Arc<AtomicBool>,
    release: Arc<Notify>,
}

impl Store {
    fn check(&self) -> Result<(), StorageError> {
        let fails = self.fails.load(Ordering::SeqCst);
        if fails { Err(StorageError::unavailable("no connection")) } else { Ok(()) }
    }
}

#[async_trait]
impl KeyStore for Store {
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError> {
        self.check()?;
        self.reads.fetch_add(1, Ordering::SeqCst);
        let stored = self.inner.load_keys().await;
        if self.holds_next.swap(false, Ordering::SeqCst) {
            self.release.notified().await;
        }
        tokio::task::yield_now().await;
        stored
    }

    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError> {
        self.check()?;
        self.writes.fetch_add(1, Ordering::SeqCst);
        let result = self.inner.replace_keys(expected, value).await;
        if self.loses_answers.load(Ordering::SeqCst) {
            return Err(StorageError::unavailable("the connection was lost"));
        }
        result
    }
}

fn node(store: &Store, clock: &TestClock) -> RotatingKeys {
    with(store, clock, [Algorithm::Es256])
}

fn with<const N: usize>(store: &Store, clock: &TestClock, algorithms: [Algorithm; N]) -> RotatingKeys {
    let wrapping = WrappingKey::new(&SECRET, &[]).unwrap();
    connected(RotatingKeys::new(store.clone(), wrapping, algorithms), clock)
}

/// Connects keys as a server with this clock does.
fn connected(keys: RotatingKeys, clock: &TestClock) -> RotatingKeys {
    struct Server(TestClock);
    impl KeysContext for Server {
        fn now(&self) -> OffsetDateTime {
            self.0.now()
        }

        fn keys_unavailable(&self, error: KeyError) {
            assert!(matches!(error, KeyError::Unavailable(_)));
        }
    }
    keys.connect(Arc::new(Server(clock.clone())));
    keys
}

async fn signs(node: &RotatingKeys) -> String {
    node.signer(Algorithm::Es256).await.unwrap().key().id().unwrap().to_owned()
}

async fn published(node: &RotatingKeys) -> Vec<String> {
    let keys = node.published().await.unwrap();
    keys.iter().map(|key: &PublicKey| key.id().unwrap().to_owned()).collect()
}

// covers: KM-11, KM-12 (OpenID Connect Core §10.1.1), KM-13
#[tokio::test]
async fn key_that_signs_is_known_to_all_nodes_and_caches() {
    let (store, clock) = (Store::default(), TestClock::default());
    let nodes = [node(&store, &clock), node(&store, &clock), node(&store, &clock)];
    // A cache of another service, as old as `longest_cache` allows.
    let (mut cache, mut cached_at) = (published(&nodes[2]).await, clock.now());
    let mut used: Vec<(String, OffsetDateTime)> = Vec::new();
    for step in 0..9_000_usize {
        // Requests go to the nodes in turn, so the nodes know states of different ages.
        let (signing, other) = (&nodes[step % 3], &nodes[(step / 7 + 1) % 3]);
        let id = signs(signing).await;
        if clock.now() - cached_at >= Duration::hours(12) {
            (cache, cached_at) = (published(other).await, clock.now());
        }
        assert!(cache.contains(&id), "step {step}");
        assert!(published(other).await.contains(&id), "step {step}");
        match used.last_mut() {
            Some((last, at)) if *last == id => *at = clock.now(),
            _ => used.push((id, clock.now())),
        }
        // A token lives for a day.
        for (id, last) in &used {
            if clock.now() - *last < Duration::DAY {
                assert!(published(signing).await.contains(id), "step {step}");
            }
        }
        clock.advance(Duration::minutes(37));
    }
    let distinct: BTreeSet<&String> = used.iter().map(|(id, _)| id).collect();
    // The test takes 231 days. Keys begin to sign on the days 0, 90 and 180, and none signs again later.
    assert_eq!((used.len(), distinct.len()), (3, 3));
    assert!(published(&nodes[0]).await.len() <= 2);
}

// A node whose store fails may fill a cache with the keys of its last read. The cache must still know each key that
// signs.
// covers: KM-11, KM-13
#[tokio::test]
async fn cache_filled_while_the_store_fails_knows_the_key_that_signs() {
    let (store, clock) = (Store::default(), TestClock::default());
    let (node, cut_off) = (node(&store, &clock), node(&store, &clock));
    published(&node).await;
    clock.advance(Duration::days(89) - Duration::SECOND);
    published(&cut_off).await;
    clock.advance(Duration::SECOND);
    assert_eq!(published(&node).await.len(), 2);
    clock.advance(Duration::hours(12) - Duration::seconds(2));
    store.fails.store(true, Ordering::SeqCst);
    let cache = published(&cut_off).await;
    assert_eq!(cache.len(), 1);
    store.fails.store(false, Ordering::SeqCst);
    // A server lets others cache keys of this schedule for twelve hours.
    let end = clock.now() + Duration::hours(12);
    while clock.now() <= end {
        assert!(cache.contains(&signs(&node).await));
        clock.advance(Duration::SECOND);
    }
    clock.advance(Duration::SECOND);
    assert!(!cache.contains(&signs(&node).await));
}

// A stored key with a time at the end of the year 9999 must not cause an overflow.
#[tokio::test]
async fn key_with_an_absurd_time_does_not_overflow() {
    let (store, clock) = (Store::default(), TestClock::default());
    let node = node(&store, &clock);
    let id = signs(&node).await;
    let other = Store::default();
    published(&self::node(&other, &clock)).await;
    let (stored, other) = (store.load_keys().await.unwrap().unwrap(), other.load_keys().await.unwrap().unwrap());
    let read = |stored: &StoredKeys| serde_json::from_slice::<Value>(&stored.value).unwrap();
    let (mut value, mut other) = (read(&stored), read(&other)["keys"][0].take());
    other["signs_from"] = OffsetDateTime::new_utc(time::Date::MAX, time::Time::MIDNIGHT).unix_timestamp().into();
    value["keys"].as_array_mut().unwrap().push(other);
    assert!(store.replace_keys(Some(stored.version), value.to_string().as_bytes()).await.unwrap());
    clock.advance(Duration::minutes(5));
    assert_eq!((published(&node).await.len(), signs(&node).await), (2, id));
}

#[tokio::test]
async fn nodes_that_start_together_share_one_key() {
    let (store, clock) = (Store::default(), TestClock::default());
    let nodes: Vec<_> = (0..8).map(|_| Arc::new(node(&store, &clock))).collect();
    let tasks: Vec<_> = nodes.iter().cloned().map(|node| tokio::spawn(async move { signs(&node).await })).collect();
    let mut ids = BTreeSet::new();
    for task in tasks {
        ids.insert(task.await.unwrap());
    }
    assert_eq!(ids.len(), 1);
    assert_eq!(published(&nodes[0]).await.len(), 1);
}

// covers: KM-15
#[tokio::test]
async fn private_keys_are_stored_encrypted() {
    let (store, clock) = (Store::default(), TestClock::default());
    let algorithms = [Algorithm::Es256, Algorithm::EdDsa];
    with(&store, &clock, algorithms).published().await.unwrap();
    let stored = store.load_keys().await.unwrap().unwrap();
    let value: Value = serde_json::from_slice(&stored.value).unwrap();
    let keys = value["keys"].as_array().unwrap();
    assert_eq!(keys.len(), 2);
    for key in keys {
        let names: Vec<&String> = key["public"].as_object().unwrap().keys().collect();
        assert!(!names.iter().any(|name| *name == "d"), "{names:?}");
        let wrapped = key["wrapped"].as_str().unwrap();
        assert!(!wrapped.starts_with("MI"), "a key in PKCS#8 begins with a sequence");
    }
    let other = RotatingKeys::new(store.clone(), WrappingKey::new(&[8; 32], &[]).unwrap(), algorithms);
    let error = connected(other, &clock).published().await.unwrap_err();
    assert!(
        matches!(&error, KeyError::Unavailable(source) if source.to_string().contains("wrapping secret")),
        "{error}"
    );
    assert_eq!(store.load_keys().await.unwrap().unwrap(), stored);
    // A node with a new secret reads the keys with the previous secret.
    let replaced = RotatingKeys::new(store, WrappingKey::new(&[8; 32], &[&SECRET]).unwrap(), algorithms);
    connected(replaced, &clock).published().await.unwrap();
}

#[tokio::test]
async fn wrapped_key_in_the_place_of_another_key_is_refused() {
    let (store, clock) = (Store::default(), TestClock::default());
    with(&store, &clock, [Algorithm::Es256, Algorithm::EdDsa]).published().await.unwrap();
    let stored = store.load_keys().await.unwrap().unwrap();
    let mut value: Value = serde_json::from_slice(&stored.value).unwrap();
    value["keys"][0]["wrapped"] = value["keys"][1]["wrapped"].clone();
    assert!(store.replace_keys(Some(stored.version), value.to_string().as_bytes()).await.unwrap());
    let node = with(&store, &clock, [Algorithm::Es256, Algorithm::EdDsa]);
    assert!(matches!(node.published().await, Err(KeyError::Unavailable(_))));
    for bad in ["", "{}", "[]", r#"{"format":2,"keys":[]}"#, r#"{"format":1,"keys":[{}]}"#] {
        let version = store.load_keys().await.unwrap().unwrap().version;
        assert!(store.replace_keys(Some(version), bad.as_bytes()).await.unwrap());
        assert!(matches!(node.published().await, Err(KeyError::Unavailable(_))), "{bad}");
    }
}

// covers: KM-14
#[tokio::test]
async fn removed_key_is_gone_at_once_and_a_new_key_signs() {
    let (store, clock) = (Store::default(), TestClock::default());
    let (one, two) = (node(&store, &clock), node(&store, &clock));
    let leaked = signs(&one).await;
    assert_eq!(signs(&two).await, leaked);
    assert!(one.remove(&leaked).await.unwrap());
    assert!(!one.remove(&leaked).await.unwrap());
    assert_ne!(signs(&one).await, leaked);
    assert!(!published(&one).await.contains(&leaked));
    // The other node reads the store every five minutes.
    clock.advance(Duration::minutes(5));
    assert_eq!(signs(&two).await, signs(&one).await);
    assert_eq!(published(&two).await, published(&one).await);
}

#[tokio::test]
async fn removed_key_is_gone_even_if_the_store_response_is_lost() {
    let (store, clock) = (Store::default(), TestClock::default());
    let node = node(&store, &clock);
    let leaked = signs(&node).await;
    store.loses_answers.store(true, Ordering::SeqCst);
    assert!(matches!(node.remove(&leaked).await, Err(KeyError::Unavailable(_))));
    store.loses_answers.store(false, Ordering::SeqCst);
    assert!(!published(&node).await.contains(&leaked));
    clock.advance(Duration::SECOND);
    assert_ne!(signs(&node).await, leaked);
}

// A node must not continue with a leaked key because it can't decrypt the next key.
// covers: KM-14
#[tokio::test]
async fn node_that_cannot_decrypt_the_next_key_drops_a_removed_key() {
    let (store, clock) = (Store::default(), TestClock::default());
    let wrapping = WrappingKey::new(&[8; 32], &[&SECRET]).unwrap();
    let one = connected(RotatingKeys::new(store.clone(), wrapping, [Algorithm::Es256]), &clock);
    let other = node(&store, &clock);
    let leaked = signs(&other).await;
    assert_eq!(signs(&one).await, leaked);
    assert!(one.remove(&leaked).await.unwrap());
    clock.advance(Duration::minutes(5));
    assert!(!published(&other).await.contains(&leaked));
    assert!(matches!(other.signer(Algorithm::Es256).await, Err(KeyError::Unavailable(_))));
    clock.advance(Duration::SECOND);
    assert!(matches!(other.signer(Algorithm::Es256).await, Err(KeyError::Unavailable(_))));
}

#[tokio::test]
async fn read_before_a_removal_does_not_restore_the_key() {
    let (store, clock) = (Store::default(), TestClock::default());
    let node = node(&store, &clock);
    let leaked = signs(&node).await;
    clock.advance(Duration::minutes(5));
    store.holds_next.store(true, Ordering::SeqCst);
    let removal = async {
        assert!(node.remove(&leaked).await.unwrap());
        store.release.notify_one();
    };
    tokio::join!(published(&node), removal);
    assert!(!published(&node).await.contains(&leaked));
    assert_ne!(signs(&node).await, leaked);
}

#[tokio::test]
async fn one_of_many_requests_reads_and_replaces_the_key() {
    let (store, clock) = (Store::default(), TestClock::default());
    let node = Arc::new(node(&store, &clock));
    let id = signs(&node).await;
    for (advance, writes) in [(Duration::minutes(5), 0), (Duration::days(89), 1)] {
        // The node last reads the store six minutes before the requests.
        clock.advance(advance - Duration::minutes(6));
        published(&node).await;
        clock.advance(Duration::minutes(6));
        store.reads.store(0, Ordering::SeqCst);
        store.writes.store(0, Ordering::SeqCst);
        let request = |_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { signs(&node).await })
        };
        for task in (0..64).map(request).collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), id);
        }
        assert_eq!(store.writes.load(Ordering::SeqCst), writes);
        assert_eq!(store.reads.load(Ordering::SeqCst), 1);
    }
    // A cancelled request leaves the work to the next request.
    clock.advance(Duration::minutes(5));
    store.holds_next.store(true, Ordering::SeqCst);
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(1), node.published()).await;
    assert!(given_up.is_err());
    published(&node).await;
    assert_eq!(store.reads.load(Ordering::SeqCst), 3);
}

// Clients that send requests and hang up must not keep a node from learning that a key was removed.
#[tokio::test]
async fn cancelled_requests_do_not_stop_reads_of_the_store() {
    let (store, clock) = (Store::default(), TestClock::default());
    let (node, other) = (node(&store, &clock), node(&store, &clock));
    let leaked = signs(&node).await;
    assert_eq!(signs(&other).await, leaked);
    assert!(other.remove(&leaked).await.unwrap());
    for advance in [Duration::minutes(5), Duration::SECOND] {
        clock.advance(advance);
        for _ in 0..10 {
            tokio::select! {
                biased;
                _ = node.published() => panic!("the read is pending"),
                () = std::future::ready(()) => {}
            }
        }
    }
    assert!(!published(&node).await.contains(&leaked));
}

/// A store of which each read takes two seconds.
#[derive(Clone)]
struct SlowStore(Store, TestClock);

#[async_trait]
impl KeyStore for SlowStore {
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError> {
        tokio::task::yield_now().await;
        self.1.advance(Duration::seconds(2));
        self.0.load_keys().await
    }

    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError> {
        self.0.replace_keys(expected, value).await
    }
}

// If a read takes longer than a second, waiting requests must not read the store one after the other.
#[tokio::test]
async fn waiting_requests_share_a_slow_read() {
    let (store, clock) = (Store::default(), TestClock::default());
    let wrapping = WrappingKey::new(&SECRET, &[]).unwrap();
    let node = RotatingKeys::new(SlowStore(store.clone(), clock.clone()), wrapping, [Algorithm::Es256]);
    let node = Arc::new(connected(node, &clock));
    published(&node).await;
    for fails in [false, true] {
        clock.advance(Duration::SECOND);
        store.fails.store(fails, Ordering::SeqCst);
        let begin = clock.now();
        let request = |_| {
            let node = Arc::clone(&node);
            tokio::spawn(async move { node.reload().await.is_ok() })
        };
        for task in (0..64).map(request).collect::<Vec<_>>() {
            assert_eq!(task.await.unwrap(), !fails);
        }
        // There are two reads: the read that was under way, and a read that began after the requests had come.
        assert_eq!(clock.now() - begin, Duration::seconds(4));
    }
}

// Parallel requests after an idle time must not generate a key each.
#[tokio::test]
async fn parallel_requests_after_idle_time_generate_one_key() {
    let (store, clock) = (Store::default(), TestClock::default());
    let node = Arc::new(node(&store, &clock));
    published(&node).await;
    clock.advance(Duration::days(100));
    store.writes.store(0, Ordering::SeqCst);
    let request = |_| {
        let node = Arc::clone(&node);
        tokio::spawn(async move { published(&node).await.len() })
    };
    for task in (0..64).map(request).collect::<Vec<_>>() {
        assert_eq!(task.await.unwrap(), 2);
    }
    assert_eq!(store.writes.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn failing_key_store_matters_only_if_keys_may_change() {
    let (store, clock) = (Store::default(), TestClock::default());
    let node = node(&store, &clock);
    store.fails.store(true, Ordering::SeqCst);
    assert!(matches!(node.published().await, Err(KeyError::Unavailable(_))));
    store.fails.store(false, Ordering::SeqCst);
    let id = signs(&node).await;
    store.fails.store(true, Ordering::SeqCst);
    clock.advance(Duration::hours(12) - Duration::SECOND);
    assert_eq!(signs(&node).await, id);
    clock.advance(Duration::SECOND);
    assert!(matches!(node.signer(Algorithm::Es256).await, Err(KeyError::Unavailable(_))));
    assert!(matches!(node.published().await, Err(KeyError::Unavailable(_))));
    store.fails.store(false, Ordering::SeqCst);
    assert_eq!(signs(&node).await, id);
}

#[tokio::test]
async fn key_from_a_future_clock_does_not_stop_rotation() {
    for starts_wrong in [false, true] {
        let (store, clock) = (Store::default(), TestClock::default());
        let ahead = TestClock::default();
        ahead.advance(Duration::days(3_650));
        let (node, wrong) = (node(&store, &clock), node(&store, &ahead));
        if starts_wrong {
            wrong.published().await.unwrap();
        }
        let first = signs(&node).await;
        wrong.published().await.unwrap();
        let mut used = BTreeSet::from([first]);
        for _ in 0..300 {
            used.insert(signs(&node).await);
            clock.advance(Duration::DAY);
        }
        assert!(used.len() >= 4, "{}", used.len());
        assert!(published(&node).await.len() <= 4);
    }
}

#[tokio::test]
async fn removed_algorithm_stays_published_for_a_while() {
    let (store, clock) = (Store::default(), TestClock::default());
    let before = with(&store, &clock, [Algorithm::EdDsa]);
    before.published().await.unwrap();
    let old = published(&before).await;
    let after = node(&store, &clock);
    let (kept, new) = (published(&after).await, signs(&after).await);
    assert_eq!(kept, [&old[..], std::slice::from_ref(&new)].concat());
    assert!(matches!(after.signer(Algorithm::EdDsa).await, Err(KeyError::NoKey(Algorithm::EdDsa))));
    clock.advance(Duration::days(2) - Duration::SECOND);
    assert_eq!(published(&after).await.len(), 2);
    clock.advance(Duration::SECOND);
    assert_eq!(published(&after).await, [new]);
}

/// A server with keys in this store, with signed or opaque access tokens.
async fn server(
    store: &MemoryStorage,
    clock: &TestClock,
    algorithms: &[Algorithm],
    signs: bool,
) -> AuthorizationServer {
    let wrapping = WrappingKey::new(&SECRET, &[]).unwrap();
    let keys = RotatingKeys::new(store.clone(), wrapping, algorithms.iter().copied());
    let keys = SigningKeys::new(keys);
    let keys = if signs { keys.sign_access_tokens() } else { keys };
    let builder =
        AuthorizationServer::builder(ISSUER).storage(store.clone()).scope("user:read", "Read").clock(clock.clone());
    let builder = builder.protected_resource(ProtectedResource::new("https://api.example")).signing_keys(keys);
    builder.build().await.unwrap()
}

/// Registers a machine and returns its secret.
async fn machine(store: &MemoryStorage, lifetime: Option<Duration>) -> ClientSecret {
    let secret = ClientSecret::new("a secret of 256 random bits, of course");
    let app = Client::confidential("app", ClientCredential::secret(&secret)).client_credentials().scope("user:read");
    let app = app.lifetimes(|lifetimes| lifetimes.access_token = lifetime);
    store.register(app.build().unwrap()).await.unwrap();
    secret
}

fn request(secret: &ClientSecret) -> TokenRequest<'_> {
    TokenRequest::client_credentials().scope("user:read").client_secret_basic("app", secret)
}

async fn is_good(server: &AuthorizationServer, token: &AccessToken) -> bool {
    server.bearer_request(&BearerRequest::of(token)).await.is_ok()
}

#[tokio::test]
async fn token_outlives_its_signing_algorithm() {
    let (store, clock) = (MemoryStorage::new(), TestClock::default());
    let secret = machine(&store, None).await;
    let before = server(&store, &clock, &[Algorithm::Rs256], true).await;
    let issued = before.token_request(&request(&secret)).await.unwrap();
    let after = server(&store, &clock, &[Algorithm::Es256], true).await;
    for server in [&after, &before] {
        assert!(is_good(server, &issued.access_token).await);
    }
}

/// As the manual says: the new algorithm is added before it becomes the default.
#[tokio::test]
async fn algorithm_change_in_two_steps_keeps_every_token_valid() {
    use Algorithm::{EdDsa, Es256};
    let (store, clock) = (MemoryStorage::new(), TestClock::default());
    let secret = machine(&store, None).await;
    server(&store, &clock, &[EdDsa], true).await.token_request(&request(&secret)).await.unwrap();
    clock.advance(Duration::hours(1));
    let first = server(&store, &clock, &[EdDsa, Es256], true).await;
    let cache = first.handle(&Request::get("/jwks")).await;
    clock.advance(Duration::minutes(10));
    let second = server(&store, &clock, &[Es256, EdDsa], true).await;
    let token = second.token_request(&request(&secret)).await.unwrap().access_token;
    let header = crate::parts(&token).0;
    assert_eq!(header["alg"], "ES256");
    assert!(std::str::from_utf8(cache.body()).unwrap().contains(header["kid"].as_str().unwrap()));
    assert!(is_good(&first, &token).await && is_good(&second, &token).await);
    let of_first = first.token_request(&request(&secret)).await.unwrap().access_token;
    assert_eq!(crate::parts(&of_first).0["alg"], "EdDSA");
    assert!(is_good(&second, &of_first).await);
}

#[tokio::test]
async fn signed_token_stays_valid_when_new_tokens_are_opaque() {
    let (store, clock) = (MemoryStorage::new(), TestClock::default());
    let secret = machine(&store, None).await;
    let signing = server(&store, &clock, &[Algorithm::Es256], true).await;
    let opaque = server(&store, &clock, &[Algorithm::Es256], false).await;
    let token = signing.token_request(&request(&secret)).await.unwrap().access_token;
    let of_opaque = opaque.token_request(&request(&secret)).await.unwrap().access_token;
    assert!(!of_opaque.expose().contains('.'));
    for server in [&signing, &opaque] {
        assert!(is_good(server, &token).await && is_good(server, &of_opaque).await);
    }
    let revocation = RevocationRequest::access_token(&token).client_secret_basic("app", &secret);
    opaque.revocation_request(&revocation).await.unwrap();
    assert!(!is_good(&opaque, &token).await && !is_good(&signing, &token).await);
}

#[tokio::test]
async fn refresh_repeats_in_the_format_of_its_token() {
    for (first, then) in [(true, false), (false, true)] {
        let key = SigningKey::generate(Algorithm::Es256).unwrap();
        let ring = Arc::new(KeyRing::new().sign_with(key).build().unwrap());
        let server = |signs: bool| {
            let keys = SigningKeys::new(Arc::clone(&ring));
            if signs { keys.sign_access_tokens() } else { keys }
        };
        let resource = || ProtectedResource::new("https://api.example");
        let t = TestServer::with(|builder| builder.protected_resource(resource()).signing_keys(server(first)));
        let app = t.confidential_client("https://app.example/cb").await;
        let refresh = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap().refresh_token.unwrap();
        let issued = t.refresh(&app, &refresh).await.unwrap().access_token;
        assert_eq!(issued.expose().contains('.'), first);
        let mut other = AuthorizationServer::builder(ISSUER).storage(t.storage.clone()).clock(t.clock.clone());
        for scope in ["user:read", "user:write", "offline_access"] {
            other = other.scope(scope, "A scope");
        }
        let other = other.protected_resource(resource()).signing_keys(server(then)).build().await.unwrap();
        let repeat = TokenRequest::refresh_token(&refresh).client_secret_basic(&app.id, app.secret.as_ref().unwrap());
        let repeated = other.token_request(&repeat).await.unwrap();
        assert_eq!(repeated.access_token.expose().contains('.'), first);
        assert!(is_good(&other, &repeated.access_token).await && is_good(&t.server, &repeated.access_token).await);
        let next = repeated.refresh_token.unwrap();
        let refresh = TokenRequest::refresh_token(&next).client_secret_basic(&app.id, app.secret.as_ref().unwrap());
        assert_eq!(other.token_request(&refresh).await.unwrap().access_token.expose().contains('.'), then);
    }
}

#[tokio::test]
async fn longer_client_lifetime_does_not_outlive_the_key() {
    let (store, clock) = (MemoryStorage::new(), TestClock::default());
    let secret = machine(&store, Some(Duration::days(10))).await;
    let signing = server(&store, &clock, &[Algorithm::Es256], true).await;
    signing.token_request(&request(&secret)).await.unwrap();
    // The next key is published, and signs in an hour.
    clock.advance(Duration::days(89));
    signing.token_request(&request(&secret)).await.unwrap();
    clock.advance(Duration::hours(23));
    let issued = signing.token_request(&request(&secret)).await.unwrap();
    assert_eq!(issued.expires_in, KeySchedule::default().keep);
    clock.advance(issued.expires_in - Duration::SECOND);
    assert!(is_good(&signing, &issued.access_token).await);
    // An opaque token needs no key.
    let opaque = server(&store, &clock, &[Algorithm::Es256], false).await;
    assert_eq!(opaque.token_request(&request(&secret)).await.unwrap().expires_in, Duration::days(10));
}

#[tokio::test]
async fn private_key_is_dropped_when_it_stops_signing() {
    let (store, clock) = (Store::default(), TestClock::default());
    let mut schedule = KeySchedule::default();
    (schedule.rotate_every, schedule.publish_ahead, schedule.keep) =
        (Duration::days(10), Duration::hours(2), Duration::days(5));
    let node = node(&store, &clock).with_schedule(schedule);
    let wrapped = |stored: StoredKeys| {
        let value: Value = serde_json::from_slice(&stored.value).unwrap();
        let keys = value["keys"].as_array().unwrap().clone();
        keys.iter().map(|key| key.get("wrapped").is_some()).collect::<Vec<_>>()
    };
    let mut seen = Vec::new();
    for _ in 0..(16 * 24) {
        published(&node).await;
        let now = wrapped(store.load_keys().await.unwrap().unwrap());
        if seen.last() != Some(&now) {
            seen.push(now);
        }
        clock.advance(Duration::hours(1));
    }
    assert_eq!(seen, [vec![true], vec![true, true], vec![false, true], vec![true]]);
}
