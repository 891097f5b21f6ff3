//! Requests and keys when another node changes the stored keys, or when they can't be read.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::jose::{Algorithm, KeyError, KeySchedule, Keys, PublicKey, Signer, WrappingKey};
use grantor::storage::{AnyStorage, KeyStore, StoredKeys};
use grantor::testing::{ISSUER, RecordingObserver, TestClock, TestServer};
use grantor::{
    AccessToken, AuthorizationServer, BearerRequest, BuildError, Builder, Client, ClientCredential, ClientRegistry,
    ClientSecret, Clock, Error, IntrospectionRequest, MemoryStorage, Policy, ProtectedResource, Request,
    RevocationRequest, RotatingKeys, SigningKeys, StorageError, TokenRequest,
};
use serde_json::{Map, Value, json};
use time::Duration;
use tokio::sync::Notify;

const SECRET: [u8; 32] = [7; 32];

/// A store that counts its reads and can be made to fail.
#[derive(Clone)]
struct Store {
    inner: MemoryStorage,
    fails: Arc<AtomicBool>,
    /// The number of reads that succeed before all fail.
    fails_after: Arc<AtomicUsize>,
    reads: Arc<AtomicUsize>,
    /// The next read waits until it is released.
    holds_next: Arc<AtomicBool>,
    release: Arc<Notify>,
}

impl Default for Store {
    fn default() -> Self {
        Self {
            inner: MemoryStorage::new(),
            fails: Arc::default(),
            fails_after: Arc::new(AtomicUsize::new(usize::MAX)),
            reads: Arc::default(),
            holds_next: Arc::default(),
            release: Arc::default(),
        }
    }
}

#[async_trait]
impl KeyStore for Store {
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError> {
        self.reads.fetch_add(1, Ordering::SeqCst);
        tokio::task::yield_now().await;
        let left = self.fails_after.load(Ordering::SeqCst);
        if left < usize::MAX {
            self.fails_after.store(left.saturating_sub(1), Ordering::SeqCst);
        }
        if left == 0 || self.fails.load(Ordering::SeqCst) {
            return Err(StorageError::unavailable("no connection"));
        }
        if self.holds_next.swap(false, Ordering::SeqCst) {
            self.release.notified().await;
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

// Regression: the keys did not use the clock of their server.
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
        matches!(&error, BuildError::Capability { name: "signing_keys", problem } if problem.contains("wrapping secret"))
    );
    store.fails.store(true, Ordering::SeqCst);
    assert!(matches!(build(SECRET).await, Err(BuildError::Capability { name: "signing_keys", .. })));
}

// Regression: a failing key store caused no event.
#[tokio::test]
async fn failing_key_store_causes_one_event_per_read() {
    let (store, clock, events) = (Store::default(), TestClock::default(), RecordingObserver::default());
    let keys = keys(store.clone(), &SECRET, Algorithm::Es256);
    let server = builder(store.inner.clone(), keys, &clock).observer(events.clone()).build().await.unwrap();
    let jwks = async || server.handle(&Request::get("/jwks")).await;
    store.fails.store(true, Ordering::SeqCst);
    store.reads.store(0, Ordering::SeqCst);
    // The known keys still work.
    for (advance, tried) in [(Duration::minutes(4), 0), (Duration::minutes(1), 1), (Duration::SECOND, 2)] {
        clock.advance(advance);
        for _ in 0..10 {
            assert_eq!(jwks().await.status(), 200);
        }
        assert_eq!(store.reads.load(Ordering::SeqCst), tried);
        assert_eq!(events.names(), vec!["keys_unavailable"; tried]);
    }
    // The known keys no longer work.
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
async fn host_keys_that_fail_at_jwks_cause_an_event() {
    let t = TestServer::with(|builder| builder.signing_keys(SigningKeys::new(Unreachable(AtomicBool::new(false)))));
    let answer = t.server.handle(&Request::get("/jwks")).await;
    assert_eq!(answer.status(), 503);
    let told = t.events.events();
    assert_eq!(t.events.names(), ["keys_unavailable"]);
    // The response has no cause; the event has it.
    assert!(!String::from_utf8_lossy(answer.body()).contains("no connection"));
    assert!(told[0].text.contains("no connection"), "{}", told[0].text);
}

/// Two nodes of one server whose tokens are signed, and a client.
struct Nodes {
    store: Store,
    clock: TestClock,
    events: RecordingObserver,
    secret: ClientSecret,
    /// The first node. It reads its keys through the store, and its events are recorded.
    one: AuthorizationServer,
    other: AuthorizationServer,
}

impl Nodes {
    /// The second node uses another algorithm, and made its first key after the first node had read the keys.
    async fn start() -> Self {
        let (store, clock, events) = (Store::default(), TestClock::default(), RecordingObserver::default());
        let secret = ClientSecret::new("a secret of 256 random bits, of course");
        let app = Client::confidential("app", ClientCredential::secret(&secret)).client_credentials();
        store.inner.register(app.scope("user:read").build().unwrap()).await.unwrap();
        let keys_of_one = keys(store.clone(), &SECRET, Algorithm::EdDsa);
        let one = Self::node(&store, keys_of_one, &clock).observer(events.clone()).build().await.unwrap();
        clock.advance(Duration::SECOND);
        let keys_of_other = keys(store.inner.clone(), &SECRET, Algorithm::Es256);
        let other = Self::node(&store, keys_of_other, &clock).build().await.unwrap();
        store.reads.store(0, Ordering::SeqCst);
        Self { store, clock, events, secret, one, other }
    }

    fn node(store: &Store, keys: RotatingKeys, clock: &TestClock) -> Builder {
        let builder = AuthorizationServer::builder(ISSUER).storage(store.inner.clone()).scope("user:read", "Read");
        let builder = builder.protected_resource(ProtectedResource::new("https://api.example")).clock(clock.clone());
        builder.signing_keys(SigningKeys::new(keys).sign_access_tokens())
    }

    async fn token(&self, of: &AuthorizationServer) -> AccessToken {
        let request = TokenRequest::client_credentials().client_secret_basic("app", &self.secret).scope("user:read");
        of.token_request(&request).await.unwrap().access_token
    }

    /// Status of the bearer check at the first node.
    async fn bearer(&self, token: &AccessToken) -> u16 {
        match self.one.bearer_request(&BearerRequest::of(token)).await {
            Ok(_) => 200,
            Err(error) => error.status(),
        }
    }

    async fn is_active(&self, token: &AccessToken) -> Result<bool, Error> {
        let request = IntrospectionRequest::of(token.expose()).client_secret_basic("app", &self.secret);
        Ok(self.one.introspection_request(&request).await?.active().is_some())
    }

    async fn revoke(&self, token: &AccessToken) -> Result<(), Error> {
        self.one
            .revocation_request(&RevocationRequest::access_token(token).client_secret_basic("app", &self.secret))
            .await
    }

    fn reads(&self) -> usize {
        self.store.reads.swap(0, Ordering::SeqCst)
    }
}

/// A token with changed header and claims. Its signature is wrong.
fn forged(token: &AccessToken, change: impl FnOnce(&mut Map<String, Value>, &mut Map<String, Value>)) -> AccessToken {
    let (mut header, mut claims) = crate::parts(token);
    change(&mut header, &mut claims);
    let encode = |part: &Map<String, Value>| URL_SAFE_NO_PAD.encode(json!(part).to_string());
    let signature = token.expose().rsplit('.').next().unwrap();
    AccessToken::new(format!("{}.{}.{signature}", encode(&header), encode(&claims)))
}

// Regression: a token that was signed by a new key of another node was refused for five minutes.
#[tokio::test]
async fn token_of_a_key_from_another_node_is_accepted_at_once() {
    for door in ["bearer", "introspection", "revocation"] {
        let nodes = Nodes::start().await;
        let (known, new) = (nodes.token(&nodes.one).await, nodes.token(&nodes.other).await);
        match door {
            "bearer" => assert_eq!(nodes.bearer(&new).await, 200),
            "introspection" => assert!(nodes.is_active(&new).await.unwrap()),
            _ => {
                nodes.revoke(&new).await.unwrap();
                let check = nodes.other.bearer_request(&BearerRequest::of(&new)).await;
                assert_eq!(check.unwrap_err().status(), 401);
            }
        }
        // The key stays known.
        assert_eq!((nodes.bearer(&known).await, nodes.reads()), (200, 1), "{door}");
        nodes.bearer(&new).await;
        assert_eq!(nodes.reads(), 0, "{door}");
    }
}

#[tokio::test]
async fn token_of_a_replacement_key_is_accepted_at_once() {
    let nodes = Nodes::start().await;
    let removed = nodes.token(&nodes.other).await;
    assert_eq!(nodes.bearer(&removed).await, 200);
    nodes.clock.advance(Duration::SECOND);
    let keys = Arc::new(keys(nodes.store.inner.clone(), &SECRET, Algorithm::Es256));
    let third = AuthorizationServer::builder(ISSUER).storage(nodes.store.inner.clone()).scope("user:read", "Read");
    let third = third.protected_resource(ProtectedResource::new("https://api.example")).clock(nodes.clock.clone());
    let third = third.signing_keys(SigningKeys::new(Arc::clone(&keys)).sign_access_tokens()).build().await.unwrap();
    let id = crate::parts(&removed).0["kid"].as_str().unwrap().to_owned();
    assert!(keys.remove(&id).await.unwrap());
    let new = nodes.token(&third).await;
    assert_ne!(crate::parts(&new).0["kid"], id);
    assert_eq!(nodes.bearer(&new).await, 200);
    // The keys that were read do not include the removed key.
    assert_eq!(nodes.bearer(&removed).await, 401);
}

// Regression: each token that named an invented key made a node read the store.
#[tokio::test]
async fn flood_of_invented_keys_reads_the_store_once_a_second() {
    let nodes = Nodes::start().await;
    let token = nodes.token(&nodes.one).await;
    let invented = |kid: usize| forged(&token, |header, _| drop(header.insert("kid".into(), kid.to_string().into())));
    for reads in [1, 0] {
        let checks = (0..200).map(|kid| {
            let (server, token) = (nodes.one.clone(), invented(kid));
            tokio::spawn(async move { server.bearer_request(&BearerRequest::of(&token)).await.unwrap_err().status() })
        });
        for check in checks.collect::<Vec<_>>() {
            assert_eq!(check.await.unwrap(), 401);
        }
        assert_eq!(nodes.reads(), reads);
    }
    for _ in 0..3 {
        nodes.clock.advance(Duration::SECOND);
        assert!(!nodes.is_active(&invented(0)).await.unwrap());
        nodes.revoke(&invented(1)).await.unwrap();
        assert_eq!((nodes.bearer(&invented(2)).await, nodes.reads()), (401, 1));
    }
    // After the clock is set back, unknown keys still cause a read.
    nodes.clock.advance(-Duration::hours(1));
    assert_eq!((nodes.bearer(&invented(3)).await, nodes.reads()), (401, 1));
    nodes.clock.advance(Duration::SECOND);
    for other in [
        forged(&token, |header, claims| {
            header.insert("kid".into(), "new".into());
            claims.insert("iss".into(), "https://elsewhere.example".into());
        }),
        forged(&token, |header, _| {
            header.insert("kid".into(), "new".into());
            header.insert("typ".into(), "JWT".into());
        }),
        forged(&token, |header, _| drop(header.remove("kid"))),
        // The token names a known key and another algorithm.
        forged(&token, |header, _| drop(header.insert("alg".into(), "ES256".into()))),
        AccessToken::new("a.b.c"),
    ] {
        assert_eq!((nodes.bearer(&other).await, nodes.reads()), (401, 0), "{}", other.expose());
    }
}

#[tokio::test]
async fn token_of_a_new_key_waits_for_the_read_in_progress() {
    let nodes = Nodes::start().await;
    let new = nodes.token(&nodes.other).await;
    let invented = forged(&new, |header, _| drop(header.insert("kid".into(), "new".into())));
    nodes.store.holds_next.store(true, Ordering::SeqCst);
    let released = async {
        tokio::task::yield_now().await;
        nodes.store.release.notify_one();
    };
    let (first, second, third, ()) =
        tokio::join!(nodes.bearer(&invented), nodes.bearer(&new), nodes.is_active(&new), released);
    assert_eq!((first, second, third.unwrap(), nodes.reads()), (401, 200, true, 1));
    // If the request that reads the keys is cancelled, a waiting request reads them.
    nodes.clock.advance(Duration::SECOND);
    nodes.store.holds_next.store(true, Ordering::SeqCst);
    let given_up = tokio::time::timeout(std::time::Duration::from_millis(1), nodes.bearer(&invented));
    let (given_up, waiting) = tokio::join!(given_up, nodes.bearer(&invented));
    assert!(given_up.is_err());
    assert_eq!((waiting, nodes.reads()), (401, 2));
}

#[tokio::test]
async fn unknown_key_gives_503_while_the_store_fails() {
    let nodes = Nodes::start().await;
    let (known, new) = (nodes.token(&nodes.one).await, nodes.token(&nodes.other).await);
    nodes.store.fails.store(true, Ordering::SeqCst);
    let told = nodes.events.names().len();
    for _ in 0..2 {
        // A revocation that failed is not reported as success.
        assert_eq!(nodes.revoke(&new).await.unwrap_err().status(), 503);
        assert_eq!(nodes.is_active(&new).await.unwrap_err().status(), 503);
        assert_eq!((nodes.bearer(&new).await, nodes.bearer(&known).await), (503, 200));
    }
    let refused = ["revocation_refused", "introspection_refused", "bearer_refused"];
    let expected = [&["keys_unavailable"][..], &refused, &refused].concat();
    assert_eq!((nodes.reads(), nodes.events.names()[told..].to_vec()), (1, expected));
    nodes.store.fails.store(false, Ordering::SeqCst);
    nodes.clock.advance(Duration::SECOND);
    assert_eq!(nodes.bearer(&new).await, 200);
}

// Regression: a key could be removed only with the secrets of all keys.
#[tokio::test]
async fn key_is_removed_beside_keys_that_cannot_be_decrypted() {
    let (store, clock) = (Store::default(), TestClock::default());
    let secrets = [SECRET, [8; 32]];
    let kid = |server: &AuthorizationServer| {
        let server = server.clone();
        async move {
            let set: Value = serde_json::from_slice(server.handle(&Request::get("/jwks")).await.body()).unwrap();
            set["keys"][0]["kid"].as_str().unwrap().to_owned()
        }
    };
    // Two keys, each under a different secret.
    let first = builder(store.inner.clone(), keys(store.clone(), &SECRET, Algorithm::Es256), &clock);
    let first = kid(&first.build().await.unwrap()).await;
    let wrapping = WrappingKey::new(&secrets[1], &[&secrets[0]]).unwrap();
    let both = Arc::new(RotatingKeys::new(store.clone(), wrapping, [Algorithm::EdDsa, Algorithm::Es256]));
    let server = AuthorizationServer::builder(ISSUER).storage(store.inner.clone()).scope("user:read", "Read");
    let server = server.clock(clock.clone()).signing_keys(SigningKeys::new(Arc::clone(&both))).build().await.unwrap();
    let of = |stored: &StoredKeys| {
        let value: Value = serde_json::from_slice(&stored.value).unwrap();
        value["keys"].as_array().unwrap().clone()
    };
    let before = of(&store.load_keys().await.unwrap().unwrap());
    let second =
        before.iter().filter_map(|key| key["public"]["kid"].as_str()).find(|id| *id != first).unwrap().to_owned();
    // The error of a node with only the first secret names the key that it can't decrypt.
    let start = || builder(store.inner.clone(), keys(store.clone(), &SECRET, Algorithm::Es256), &clock).build();
    assert!(start().await.unwrap_err().to_string().contains(&second));
    // The node removes the key that it can decrypt, and leaves the other key unchanged.
    let lone = keys(store.clone(), &SECRET, Algorithm::Es256);
    assert!(lone.remove(&first).await.unwrap());
    assert!(!lone.remove(&first).await.unwrap());
    let left = of(&store.load_keys().await.unwrap().unwrap());
    assert_eq!(left, before.into_iter().filter(|key| key["public"]["kid"] == *second).collect::<Vec<_>>());
    // The server with both secrets continues, and generates the missing key.
    clock.advance(Duration::minutes(5));
    assert_eq!(kid(&server).await, second);
    assert_eq!(both.published().await.unwrap().len(), 2);
    // A node without any of the secrets removes a key that no node can decrypt.
    assert!(keys(store.clone(), &[9; 32], Algorithm::Es256).remove(&second).await.unwrap());
    store.fails.store(true, Ordering::SeqCst);
    assert!(matches!(lone.remove(&second).await, Err(KeyError::Unavailable(_))));
}

#[tokio::test]
async fn key_is_removed_even_if_next_key_cannot_be_stored() {
    let (store, clock, events) = (Store::default(), TestClock::default(), RecordingObserver::default());
    let keys = Arc::new(keys(store.clone(), &SECRET, Algorithm::Es256));
    let server = AuthorizationServer::builder(ISSUER).storage(store.inner.clone()).scope("user:read", "Read");
    let server = server.clock(clock.clone()).observer(events.clone()).signing_keys(SigningKeys::new(Arc::clone(&keys)));
    let server = server.build().await.unwrap();
    let id = keys.published().await.unwrap()[0].id().unwrap().to_owned();
    store.fails_after.store(1, Ordering::SeqCst);
    assert!(keys.remove(&id).await.unwrap());
    assert_eq!(events.names(), ["keys_unavailable"]);
    assert_eq!(server.handle(&Request::get("/jwks")).await.body(), br#"{"keys":[]}"#);
    assert!(matches!(keys.signer(Algorithm::Es256).await, Err(KeyError::Unavailable(_))));
    store.fails_after.store(usize::MAX, Ordering::SeqCst);
    clock.advance(Duration::SECOND);
    assert_ne!(keys.signer(Algorithm::Es256).await.unwrap().key().id(), Some(&*id));
}

fn schedule(rotate_every: Duration, publish_ahead: Duration, keep: Duration) -> KeySchedule {
    let mut schedule = KeySchedule::default();
    (schedule.rotate_every, schedule.publish_ahead, schedule.keep) = (rotate_every, publish_ahead, keep);
    schedule
}

/// A server with this schedule and this number of algorithms.
async fn scheduled(schedule: KeySchedule, algorithms: usize, clock: &TestClock) -> Result<AuthorizationServer, String> {
    let algorithms = [Algorithm::Es256, Algorithm::EdDsa].into_iter().cycle().take(algorithms);
    let keys = RotatingKeys::new(MemoryStorage::new(), WrappingKey::new(&SECRET, &[]).unwrap(), algorithms);
    let server = builder(MemoryStorage::new(), keys.with_schedule(schedule), clock).build().await;
    server.map_err(|error| error.to_string())
}

// Regression: a schedule could publish hundreds of keys.
#[tokio::test]
async fn schedule_that_publishes_too_many_keys_does_not_build() {
    let clock = TestClock::default();
    let (hour, day) = (Duration::HOUR, Duration::DAY);
    let default = KeySchedule::default();
    for (schedule, algorithms) in [
        (default, 1),
        (default, 2),
        (schedule(day, 12 * hour, 7 * day), 1),
        (schedule(2 * day, day, 29 * day), 1),
        (schedule(3_650 * day, hour, 3_650 * day), 1),
    ] {
        assert_eq!(scheduled(schedule, algorithms, &clock).await.err(), None, "{schedule:?}");
    }
    let too_many = |many: u32, rotate: &str, keep: &str, ahead: &str| {
        format!(
            "{many} keys would be published at the same time, but at most 16 are allowed: make rotate_every of the \
             schedule ({rotate}) longer, or keep ({keep}) and publish_ahead ({ahead}) shorter, or give fewer algorithms"
        )
    };
    let time = |name: &str, time: Duration| {
        format!("{name} of the schedule is {time}: give a positive time of at most ten years")
    };
    for (schedule, algorithms, problem) in [
        (schedule(2 * hour, hour, 30 * day), 1, too_many(362, "2h", "30d", "1h")),
        (schedule(2 * day, day, 29 * day + hour), 1, too_many(17, "2d", "29d1h", "1d")),
        (schedule(2 * day, day, 29 * day), 2, too_many(32, "2d", "29d", "1d")),
        (schedule(Duration::ZERO, day, day), 1, time("rotate_every", Duration::ZERO)),
        (schedule(Duration::MAX, day, day), 1, time("rotate_every", Duration::MAX)),
        (schedule(day, -hour, day), 1, time("publish_ahead", -hour)),
        (schedule(day, hour, 3_651 * day), 1, time("keep", 3_651 * day)),
        (schedule(day, hour, -day), 1, time("keep", -day)),
        (
            schedule(hour, Duration::SECOND, day),
            1,
            "publish_ahead of the schedule is 1s: give at least a minute".to_owned(),
        ),
        (
            schedule(day, day, day),
            1,
            "a key is replaced before it signs: rotate_every of the schedule (1d) must be longer than publish_ahead (1d)"
                .to_owned(),
        ),
    ] {
        let error = scheduled(schedule, algorithms, &clock).await.unwrap_err();
        assert_eq!(error, format!("the capability signing_keys: {problem}"));
    }
}

// covers: KM-12 (OpenID Connect Core §10.1.1)
#[tokio::test]
async fn tokens_that_outlive_their_key_do_not_build() {
    let clock = TestClock::default();
    let build = |lifetime, signs: bool| {
        let keys = SigningKeys::new(keys(MemoryStorage::new(), &SECRET, Algorithm::Es256));
        let keys = if signs { keys.sign_access_tokens() } else { keys };
        let mut policy = Policy::default();
        policy.access_token_lifetime = lifetime;
        let builder = AuthorizationServer::builder(ISSUER).storage(MemoryStorage::new()).clock(clock.clone());
        let builder = builder.policy(policy).scope("user:read", "Read");
        builder.protected_resource(ProtectedResource::new("https://api.example")).signing_keys(keys).build()
    };
    let keep = KeySchedule::default().keep;
    build(keep, true).await.unwrap();
    build(keep + Duration::SECOND, false).await.unwrap();
    let error = build(keep + Duration::SECOND, true).await.unwrap_err().to_string();
    assert!(error.contains("access_token_lifetime is longer than keep of the schedule"), "{error}");
}

#[tokio::test]
async fn cache_time_over_half_of_publish_ahead_is_refused() {
    let clock = TestClock::default();
    for (publish_ahead, cached_for) in
        [(Duration::DAY, Duration::hours(12)), (Duration::minutes(20), Duration::minutes(10))]
    {
        let build = |cached_for| {
            let keys = keys(MemoryStorage::new(), &SECRET, Algorithm::Es256);
            let keys = keys.with_schedule(schedule(90 * Duration::DAY, publish_ahead, 2 * Duration::DAY));
            let keys = SigningKeys::new(keys).cached_for(cached_for);
            let builder = AuthorizationServer::builder(ISSUER).storage(MemoryStorage::new()).clock(clock.clone());
            builder.scope("user:read", "Read").signing_keys(keys).build()
        };
        build(cached_for).await.unwrap();
        let error = build(cached_for + Duration::SECOND).await.unwrap_err().to_string();
        assert!(error.contains("cached_for is longer than half of publish_ahead"), "{error}");
    }
}

#[tokio::test]
async fn schedule_limit_publishes_at_most_sixteen_keys() {
    let (clock, day) = (TestClock::default(), Duration::DAY);
    let server = scheduled(schedule(2 * day, day, 29 * day), 1, &clock).await.unwrap();
    let mut most = 0;
    for _ in 0..400 {
        clock.advance(Duration::hours(6));
        let set: Value = serde_json::from_slice(server.handle(&Request::get("/jwks")).await.body()).unwrap();
        most = most.max(set["keys"].as_array().unwrap().len());
    }
    assert_eq!(most, 16);
}
