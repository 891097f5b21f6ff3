//! The limit on guessing: a wrapper around an authenticator, tested from outside.

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_trait::async_trait;
use grantor::client::ClientBuilder;
use grantor::error::AuthenticatorError;
use grantor::testing::{TestClient, TestServer, TestUsers};
use grantor::{
    Authenticator, Client, ClientAttempt, ClientCredential, ClientId, ClientSecret, ClientSecrets, ClientStore, Clock,
    Limiter, Request, ResourceOwnerAttempt, Response, Subject, SubjectStatus, Verdict,
};
use time::Duration;
use tokio::sync::Semaphore;

#[path = "common/mod.rs"]
mod common;
use common::{basic, error_of, form, json, text};

const CB: &str = "https://app.example/cb";

/// An authenticator that counts its calls, answers only while the door is open, and fails, throttles or rejects on
/// request, for every caller or for users only.
#[derive(Clone)]
struct Guarded {
    users: TestUsers,
    asked: Arc<AtomicUsize>,
    door: Arc<Semaphore>,
    mood: Arc<AtomicUsize>,
    mood_about_users: Arc<AtomicUsize>,
    status_fails: Arc<AtomicBool>,
}

const FAILING: usize = 1;
const THROTTLING: usize = 2;
const REJECTING: usize = 3;

impl Guarded {
    fn new(users: &TestUsers) -> Self {
        let door = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        let (mood, mood_about_users, status_fails) = Default::default();
        Self { users: users.clone(), asked: Arc::default(), door, mood, mood_about_users, status_fails }
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    async fn mood<T>(&self) -> Option<Result<Verdict<T>, AuthenticatorError>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        drop(self.door.acquire().await.unwrap());
        answer_in(&self.mood)
    }
}

fn answer_in<T>(mood: &AtomicUsize) -> Option<Result<Verdict<T>, AuthenticatorError>> {
    match mood.load(Ordering::SeqCst) {
        FAILING => Some(Err(AuthenticatorError::new("the directory is down"))),
        THROTTLING => Some(Ok(Verdict::Throttled { retry_after: Duration::seconds(7) })),
        REJECTING => Some(Ok(Verdict::Rejected)),
        _ => None,
    }
}

#[async_trait]
impl Authenticator for Guarded {
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        match self.mood().await {
            Some(answer) => answer,
            None => ClientSecrets.authenticate_client(attempt).await,
        }
    }

    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        match self.mood().await.or_else(|| answer_in(&self.mood_about_users)) {
            Some(answer) => answer,
            None => self.users.authenticate_resource_owner(attempt).await,
        }
    }

    async fn subject_status(&self, subject: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        if self.status_fails.load(Ordering::SeqCst) {
            return Err(AuthenticatorError::new("the directory is down"));
        }
        self.users.subject_status(subject).await
    }
}

/// A server whose authenticator is limited, and the wrapped authenticator.
fn limited(limit: impl FnOnce(Limiter<Guarded>) -> Limiter<Guarded>) -> (TestServer, Guarded) {
    let users = TestUsers::default();
    users.add("alice", "correct horse");
    users.add("bob", "battery staple");
    let inner = Guarded::new(&users);
    let of_server = limit(Limiter::new(inner.clone()));
    let mut policy = grantor::Policy::default();
    policy.dangerous().allow_password_grant = true;
    let t = TestServer::with(|builder| builder.policy(policy).authenticator(of_server));
    (t, inner)
}

async fn client(t: &TestServer) -> TestClient {
    register(t, &[ClientCredential::secret(&secret())]).await
}

/// A secret chosen by the host.
fn secret() -> ClientSecret {
    ClientSecret::new("a secret of the host's own")
}

/// Registers a client with these credentials.
async fn register(t: &TestServer, credentials: &[ClientCredential]) -> TestClient {
    let (first, others) = credentials.split_first().unwrap();
    let client = Client::confidential(ClientId::generate(&t.entropy).unwrap(), first.clone())
        .authorization_code([CB])
        .refresh_token()
        .client_credentials()
        .password()
        .scope("user:read");
    let client = others.iter().cloned().fold(client, ClientBuilder::credential);
    t.register(client.build(), Some(secret())).await
}

fn peer(address: &str) -> IpAddr {
    address.parse().unwrap()
}

/// A form of a client for an endpoint, from a peer.
fn post(target: &str, pairs: &[(&str, &str)], id: &str, secret: &str, from: &str) -> Request {
    Request::post_form(target, form(pairs)).with_header("authorization", basic(id, secret)).with_peer(peer(from))
}

const MACHINE: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "user:read")];
const HOME: &str = "192.0.2.7";

fn secret_of(client: &TestClient) -> &str {
    client.secret.as_ref().unwrap().expose()
}

fn right(client: &TestClient, from: &str) -> Request {
    post("/token", &MACHINE, &client.id, secret_of(client), from)
}

fn wrong(client: &TestClient, from: &str) -> Request {
    post("/token", &MACHINE, &client.id, "a-wrong-guess", from)
}

fn login(client: &TestClient, username: &str, password: &str, from: &str) -> Request {
    let pairs = [("grant_type", "password"), ("username", username), ("password", password), ("scope", "user:read")];
    post("/token", &pairs, &client.id, secret_of(client), from)
}

async fn status(t: &TestServer, request: &Request) -> u16 {
    t.server.token(request).await.status()
}

/// Asserts the response to a throttled caller, with this wait.
fn assert_throttled(response: &Response, seconds: &str) {
    assert_eq!(response.status(), 429, "{}", text(response));
    assert_eq!(response.header("retry-after"), Some(seconds));
    assert_eq!(response.header("content-type"), Some("application/json"));
    assert_eq!((response.header("cache-control"), response.header("pragma")), (Some("no-store"), Some("no-cache")));
    assert_eq!(error_of(response), "temporarily_unavailable");
    assert_eq!(json(response)["error_description"], "too many attempts, try again later");
    assert_eq!(json(response).as_object().unwrap().len(), 2);
    assert_eq!(response.header("www-authenticate"), None);
}

// covers: CA-08 (RFC 6749 §2.3.1), RV-18 (RFC 7009 §5)
#[tokio::test]
async fn throttle_counts_guesses_across_all_endpoints() {
    let (t, inner) = limited(|limiter| limiter.allow(4, Duration::minutes(10)));
    let app = client(&t).await;
    let token = t.token_as(&app, grantor::TokenRequest::client_credentials().scope("user:read")).await.unwrap();
    let token = ("token", token.access_token.expose());
    let guess = |target: &str| match target {
        "/token" => wrong(&app, HOME),
        _ => post(target, &[token], &app.id, "a-wrong-guess", HOME),
    };
    assert_eq!(t.server.token(&guess("/token")).await.status(), 401);
    assert_eq!(t.server.revoke(&guess("/revoke")).await.status(), 401);
    assert_eq!(t.server.introspect(&guess("/introspect")).await.status(), 401);
    let at_the_host = |secret: &str| post("/notes", &[], &app.id, secret, HOME);
    assert!(t.server.authenticate_client(&at_the_host("a-wrong-guess")).await.is_err());
    let (asked, calls) = (inner.asked(), t.faults.calls());

    // Now even the right secret is refused. Otherwise the response would tell a guesser that the secret is right.
    assert_throttled(&t.server.token(&right(&app, HOME)).await, "600");
    assert_throttled(&t.server.revoke(&post("/revoke", &[token], &app.id, secret_of(&app), HOME)).await, "600");
    assert_throttled(&t.server.introspect(&post("/introspect", &[token], &app.id, secret_of(&app), HOME)).await, "600");
    assert_throttled(&t.server.token(&wrong(&app, HOME)).await, "600");
    let waits = t.server.authenticate_client(&at_the_host(secret_of(&app))).await.unwrap_err();
    assert_throttled(&t.server.refuse(&waits), "600");
    assert_eq!(inner.asked(), asked, "the secret was not compared");
    assert_eq!(t.faults.calls() - calls, 5, "only the client was looked up");
    assert!(t.bearer(&grantor::AccessToken::new(token.1)).await.is_ok());
    for name in ["token_refused", "revocation_refused", "introspection_refused"] {
        let last = t.events.events().into_iter().rfind(|event| event.name == name).unwrap();
        assert!(last.text.contains("Throttled"), "{}", last.text);
    }
}

/// Guessing does not lock out a client whose secret is generated.
// covers: CA-08 (RFC 6749 §2.3.1)
#[tokio::test]
async fn generated_secret_passes_while_its_client_is_throttled() {
    let (t, inner) = limited(|limiter| limiter.allow(3, Duration::MINUTE));
    let generate = || ClientSecret::generate(&t.entropy).unwrap();
    let (own, expired, copied) = (generate(), generate(), ClientSecret::new(generate().expose()));
    let soon = t.clock.now() + Duration::seconds(30);
    let credentials = [
        ClientCredential::secret(&own),
        ClientCredential::secret(&secret()),
        ClientCredential::secret(&copied), // made from a text, so its origin is unknown
        ClientCredential::from_digest(grantor::secret::SecretDigest::of(&generate())),
        ClientCredential::secret(&expired).expiring(soon),
    ];
    let app = register(&t, &credentials).await;
    // The stored client records that the secret is generated.
    let stored = t.storage.find_client(&app.id).await.unwrap().unwrap();
    let read: Client = serde_json::from_str(&serde_json::to_string(&*stored).unwrap()).unwrap();
    let is_marked = |credential: &ClientCredential| match credential {
        ClientCredential::Secret { generated, .. } => *generated,
        _ => panic!("a digest"),
    };
    for client in [&*stored, &read] {
        assert_eq!(client.credentials().iter().map(is_marked).collect::<Vec<_>>(), [true, false, false, false, true]);
    }

    let at_each = |secret: &str| {
        ["/token", "/revoke", "/introspect"].map(|target| {
            let pairs = [MACHINE[0], MACHINE[1], ("token", "unknown")];
            (target, post(target, &pairs, &app.id, secret, HOME))
        })
    };
    let send = async |target, request: &Request| match target {
        "/token" => t.server.token(request).await,
        "/revoke" => t.server.revoke(request).await,
        _ => t.server.introspect(request).await,
    };
    for _ in 0..3 {
        assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
    }
    for _ in 0..10 {
        for (target, request) in at_each(own.expose()) {
            assert_eq!(send(target, &request).await.status(), 200, "{target}");
        }
        // A success of the generated secret does not help other secrets, right or wrong.
        for secret in [secret().expose(), copied.expose(), "a-wrong-guess", &own.expose()[1..]] {
            for (target, request) in at_each(secret) {
                assert_throttled(&send(target, &request).await, "60");
            }
        }
    }
    assert_eq!(status(&t, &post("/token", &MACHINE, "nobody-we-know", own.expose(), HOME)).await, 401);

    assert_eq!(status(&t, &post("/token", &MACHINE, &app.id, expired.expose(), HOME)).await, 200);
    t.clock.advance(Duration::seconds(30));
    assert_throttled(&t.server.token(&post("/token", &MACHINE, &app.id, expired.expose(), HOME)).await, "30");
    // The wrapped authenticator may reject a right secret for another reason.
    inner.mood.store(REJECTING, Ordering::SeqCst);
    assert_throttled(&t.server.token(&post("/token", &MACHINE, &app.id, own.expose(), HOME)).await, "30");
    t.clock.advance(Duration::seconds(30));
    for expected in [401, 401, 401, 429] {
        assert_eq!(status(&t, &post("/token", &MACHINE, &app.id, own.expose(), HOME)).await, expected);
    }
}

/// Successes of the generated secret do not reset the count of guesses of another secret.
#[tokio::test]
async fn generated_secret_resets_no_failures_of_other_secrets() {
    let (t, _) = limited(|limiter| limiter.allow(3, Duration::MINUTE));
    let own = ClientSecret::generate(&t.entropy).unwrap();
    let app = register(&t, &[ClientCredential::secret(&own), ClientCredential::secret(&secret())]).await;
    for expected in [401, 401, 401, 429, 429] {
        assert_eq!(status(&t, &wrong(&app, HOME)).await, expected);
        assert_eq!(status(&t, &post("/token", &MACHINE, &app.id, own.expose(), HOME)).await, 200);
    }
}

/// The password grant and a login page share one count of guesses.
// covers: CU-14 (RFC 6749 §10.10)
#[tokio::test]
async fn login_page_and_password_grant_share_a_guess_count() {
    let users = TestUsers::default();
    users.add("alice", "correct horse");
    let limiter = Arc::new(Limiter::new(users.clone()).allow(4, Duration::MINUTE));
    let mut policy = grantor::Policy::default();
    policy.dangerous().allow_password_grant = true;
    let t = TestServer::with(|builder| builder.policy(policy).authenticator(Arc::clone(&limiter)));
    let app = client(&t).await;
    let at_the_page = async |name: &str, verdict: Result<Verdict<Subject>, AuthenticatorError>| {
        let ran = AtomicBool::new(false);
        let check = async {
            ran.store(true, Ordering::SeqCst);
            verdict
        };
        let verdict = limiter.limit_login(name, Some(peer(HOME)), t.clock.now(), check).await;
        assert_ne!(
            ran.into_inner(),
            matches!(verdict, Ok(Verdict::Throttled { .. })),
            "a throttled check does not run"
        );
        verdict
    };
    let alice = || Ok(Verdict::Accepted(Subject::new("alice").unwrap()));

    for _ in 0..2 {
        assert_eq!(at_the_page(" Alice", Ok(Verdict::Rejected)).await.unwrap(), Verdict::Rejected);
        assert!(at_the_page("alice", Err(AuthenticatorError::new("the directory is down"))).await.is_err());
        assert_eq!(status(&t, &login(&app, "alice", "wrong", HOME)).await, 400);
    }
    let throttled = Verdict::Throttled { retry_after: Duration::MINUTE };
    assert_eq!(at_the_page("ALICE", alice()).await.unwrap(), throttled);
    assert_throttled(&t.server.token(&login(&app, "alice", "correct horse", HOME)).await, "60");
    assert_eq!(at_the_page("bob", Ok(Verdict::Rejected)).await.unwrap(), Verdict::Rejected);
    assert_eq!(status(&t, &login(&app, "alice", "correct horse", "192.0.2.8")).await, 200);

    // A success at either place resets the shared count.
    t.clock.advance(Duration::MINUTE);
    for _ in 0..3 {
        for _ in 0..3 {
            assert_eq!(status(&t, &login(&app, "alice", "wrong", HOME)).await, 400);
        }
        assert_eq!(at_the_page("alice", alice()).await.unwrap(), alice().unwrap());
    }
    users.set_status("alice", SubjectStatus::Suspended);
    for _ in 0..4 {
        assert_eq!(
            at_the_page("alice", alice()).await.unwrap(),
            alice().unwrap(),
            "the verdict is passed on, but counts as a failure"
        );
    }
    assert_eq!(at_the_page("alice", alice()).await.unwrap(), throttled);
}

// covers: CA-08 (RFC 6749 §2.3.1)
#[tokio::test]
async fn each_client_and_each_peer_is_counted_by_itself() {
    let (t, _) = limited(|limiter| limiter.allow(2, Duration::MINUTE));
    let (app, other) = (client(&t).await, client(&t).await);
    for _ in 0..2 {
        assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
        let unknown = post("/token", &MACHINE, "nobody-we-know", "a-wrong-guess", HOME);
        assert_eq!(status(&t, &unknown).await, 401);
    }
    assert_eq!(status(&t, &right(&app, HOME)).await, 429);
    let unknown = post("/token", &MACHINE, "nobody-we-know", "a-wrong-guess", HOME);
    assert_eq!(status(&t, &unknown).await, 429, "an unknown client gets the same response");
    assert_eq!(status(&t, &right(&app, "192.0.2.8")).await, 200, "the client is not locked out at a different peer");
    assert_eq!(status(&t, &right(&other, HOME)).await, 200, "other clients are not locked out either");
    // Requests without a peer share one count.
    let anonymous = |secret: &str| {
        Request::post_form("/token", form(&MACHINE)).with_header("authorization", basic(&app.id, secret))
    };
    for expected in [401, 401, 429] {
        assert_eq!(status(&t, &anonymous("a-wrong-guess")).await, expected);
    }
    assert_eq!(status(&t, &right(&app, "192.0.2.8")).await, 200);
}

// covers: CA-08 (RFC 6749 §2.3.1)
#[tokio::test]
async fn retry_after_is_whole_seconds_and_follows_the_clock() {
    let (t, inner) = limited(|limiter| limiter.allow(2, Duration::MINUTE));
    let app = client(&t).await;
    assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
    t.clock.advance(Duration::milliseconds(20_500));
    assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
    assert_throttled(&t.server.token(&right(&app, HOME)).await, "40");
    t.clock.advance(Duration::milliseconds(39_499));
    assert_throttled(&t.server.token(&right(&app, HOME)).await, "1");
    let asked = inner.asked();
    t.clock.advance(Duration::milliseconds(1));
    assert_eq!(status(&t, &right(&app, HOME)).await, 200, "a minute after the first failure");
    assert_eq!(inner.asked(), asked + 1);
    // After the minute, the count begins again.
    for expected in [401, 401, 429] {
        assert_eq!(status(&t, &wrong(&app, HOME)).await, expected);
    }
    t.clock.advance(Duration::MINUTE);
    for expected in [401, 401, 429] {
        assert_eq!(status(&t, &wrong(&app, HOME)).await, expected);
    }
}

#[tokio::test]
async fn zero_limit_allows_one_failure_and_waits_a_second() {
    let (t, _) = limited(|limiter| limiter.allow(0, Duration::ZERO));
    let app = client(&t).await;
    assert_eq!(status(&t, &right(&app, HOME)).await, 200);
    assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
    assert_throttled(&t.server.token(&right(&app, HOME)).await, "1");
    t.clock.advance(Duration::SECOND);
    assert_eq!(status(&t, &right(&app, HOME)).await, 200);
}

#[tokio::test]
async fn default_limit_is_ten_failures_a_minute() {
    let (t, _) = limited(|limiter| limiter);
    let app = client(&t).await;
    for _ in 0..10 {
        assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
    }
    assert_throttled(&t.server.token(&right(&app, HOME)).await, "60");
    t.clock.advance(Duration::MINUTE);
    assert_eq!(status(&t, &right(&app, HOME)).await, 200);
}

#[tokio::test]
async fn client_without_failures_is_never_throttled() {
    let (t, inner) = limited(|limiter| limiter.allow(1, Duration::MINUTE));
    let app = client(&t).await;
    for _ in 0..50 {
        assert_eq!(status(&t, &right(&app, HOME)).await, 200);
    }
    inner.door.forget_permits(Semaphore::MAX_PERMITS);
    let before = inner.asked();
    let (t, app) = (Arc::new(t), Arc::new(app));
    let requests: Vec<_> = (0..200)
        .map(|_| {
            let (t, app) = (Arc::clone(&t), Arc::clone(&app));
            tokio::spawn(async move { status(&t, &right(&app, HOME)).await })
        })
        .collect();
    while inner.asked() < before + 200 {
        tokio::task::yield_now().await;
    }
    inner.door.add_permits(1);
    for request in requests {
        assert_eq!(request.await.unwrap(), 200);
    }
}

#[tokio::test]
async fn success_resets_earlier_failures() {
    let (t, _) = limited(|limiter| limiter.allow(3, Duration::MINUTE));
    let app = client(&t).await;
    for _ in 0..5 {
        for _ in 0..2 {
            assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
            assert_eq!(status(&t, &login(&app, "alice", "wrong", "192.0.2.9")).await, 400);
        }
        assert_eq!(status(&t, &right(&app, HOME)).await, 200);
        assert_eq!(status(&t, &login(&app, "alice", "correct horse", "192.0.2.9")).await, 200);
    }
}

// covers: CU-14 (RFC 6749 §10.10), GI-02 (RFC 6749 §4.3.2)
#[tokio::test]
async fn password_guessing_is_throttled_by_user_and_peer() {
    let (t, inner) = limited(|limiter| limiter.allow(3, Duration::minutes(5)));
    let (app, other) = (client(&t).await, client(&t).await);
    for guess in ["one", "two", "three"] {
        for name in ["alice", "nobody"] {
            let response = t.server.token(&login(&app, name, guess, HOME)).await;
            assert_eq!((response.status(), error_of(&response).as_str()), (400, "invalid_grant"));
        }
    }
    let asked = inner.asked();
    assert_throttled(&t.server.token(&login(&app, "alice", "correct horse", HOME)).await, "300");
    assert_throttled(&t.server.token(&login(&app, "nobody", "four", HOME)).await, "300");
    assert_throttled(&t.server.token(&login(&other, "alice", "correct horse", HOME)).await, "300");
    assert_eq!(inner.asked() - asked, 3, "only the clients' secrets were compared");
    assert_eq!(status(&t, &login(&app, "alice", "correct horse", "192.0.2.8")).await, 200, "alice logs in from home");
    assert_eq!(status(&t, &login(&app, "bob", "battery staple", HOME)).await, 200);
    assert_eq!(status(&t, &right(&app, HOME)).await, 200, "a user is not a client");
    t.clock.advance(Duration::minutes(5));
    assert_eq!(status(&t, &login(&app, "alice", "correct horse", HOME)).await, 200);
}

// covers: CU-14 (RFC 6749 §10.10), GI-02 (RFC 6749 §4.3.2)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_guesses_are_counted_like_sequential_ones() {
    let (t, inner) = limited(|limiter| limiter.allow(3, Duration::minutes(5)));
    let app = client(&t).await;
    let (t, app) = (Arc::new(t), Arc::new(app));
    let guesses: Vec<_> = (0..60)
        .map(|n| {
            let (t, app) = (Arc::clone(&t), Arc::clone(&app));
            tokio::spawn(async move { status(&t, &login(&app, "alice", &format!("guess {n}"), HOME)).await })
        })
        .collect();
    let mut answers = Vec::new();
    for guess in guesses {
        answers.push(guess.await.unwrap());
    }
    answers.sort_unstable();
    assert_eq!(answers, [vec![400; 3], vec![429; 57]].concat());
    assert_eq!(inner.asked(), 60 + 3, "each client's secret, and three passwords");
}

#[tokio::test]
async fn authenticator_failure_or_wait_counts_as_no_guess() {
    let (t, inner) = limited(|limiter| limiter.allow(2, Duration::MINUTE));
    let app = client(&t).await;
    for (mood, expected) in [(FAILING, 500), (THROTTLING, 429)] {
        for _ in 0..5 {
            inner.mood.store(mood, Ordering::SeqCst);
            let response = t.server.token(&right(&app, HOME)).await;
            assert_eq!(response.status(), expected);
            assert_eq!(response.header("retry-after"), (expected == 429).then_some("7"), "the host's limiter decides");
            assert!(!text(&response).contains("directory"));
        }
        inner.mood.store(0, Ordering::SeqCst);
        assert_eq!(status(&t, &right(&app, HOME)).await, 200);
        assert_eq!(status(&t, &login(&app, "alice", "correct horse", HOME)).await, 200);
    }
}

#[tokio::test]
async fn unjudged_attempt_takes_back_only_its_own_count() {
    for (mood, answer) in [(FAILING, 500), (THROTTLING, 429)] {
        let (t, inner) = limited(|limiter| limiter.allow(2, Duration::MINUTE));
        let app = client(&t).await;
        for (mood, expected) in [(0, 400), (mood, answer), (mood, answer), (0, 400), (0, 429)] {
            inner.mood_about_users.store(mood, Ordering::SeqCst);
            assert_eq!(status(&t, &login(&app, "alice", "wrong", HOME)).await, expected);
        }
        assert_throttled(&t.server.token(&login(&app, "alice", "correct horse", HOME)).await, "60");

        for (mood, expected) in [(0, 401), (mood, answer), (mood, answer), (0, 401), (0, 429)] {
            inner.mood.store(mood, Ordering::SeqCst);
            assert_eq!(status(&t, &wrong(&app, "192.0.2.8")).await, expected);
        }
        assert_throttled(&t.server.token(&right(&app, "192.0.2.8")).await, "60");
    }
}

/// The right password of an inactive user gets the same response as a wrong one, with the same wait after the same
/// number of attempts.
// covers: GI-02 (RFC 6749 §4.3.2)
#[tokio::test]
async fn right_password_of_inactive_user_counts_as_failure() {
    for subject_status in [SubjectStatus::Suspended, SubjectStatus::Gone] {
        let (t, inner) = limited(|limiter| limiter.allow(3, Duration::MINUTE));
        let app = client(&t).await;
        inner.users.set_status("alice", subject_status);
        for password in ["wrong", "correct horse"] {
            for expected in [400, 400, 400, 429] {
                assert_eq!(status(&t, &login(&app, "alice", password, HOME)).await, expected, "{subject_status:?}");
            }
            t.clock.advance(Duration::MINUTE);
        }
        inner.users.set_status("alice", SubjectStatus::Active);
        assert_eq!(status(&t, &login(&app, "alice", "correct horse", HOME)).await, 200);
    }
}

#[tokio::test]
async fn login_of_unknown_subject_status_does_not_count() {
    let (t, inner) = limited(|limiter| limiter.allow(2, Duration::MINUTE));
    let app = client(&t).await;
    for (fails, password, expected) in [
        (false, "wrong", 400),
        (true, "correct horse", 503),
        (true, "correct horse", 503),
        (false, "wrong", 400),
        (false, "correct horse", 429),
    ] {
        inner.status_fails.store(fails, Ordering::SeqCst);
        assert_eq!(status(&t, &login(&app, "alice", password, HOME)).await, expected);
    }
}

// covers: CA-08 (RFC 6749 §2.3.1), GI-02 (RFC 6749 §4.3.2)
#[tokio::test]
async fn user_named_like_a_client_has_a_separate_count() {
    let (t, _) = limited(|limiter| limiter.allow(2, Duration::MINUTE));
    let (app, other) = (client(&t).await, client(&t).await);
    for expected in [400, 400, 429] {
        assert_eq!(status(&t, &login(&other, &app.id, "wrong", HOME)).await, expected);
    }
    assert_eq!(status(&t, &right(&app, HOME)).await, 200);
    t.clock.advance(Duration::MINUTE);
    for expected in [401, 401, 429] {
        assert_eq!(status(&t, &wrong(&app, HOME)).await, expected);
    }
    assert_eq!(status(&t, &login(&other, &app.id, "wrong", HOME)).await, 400);
}

// covers: CU-14 (RFC 6749 §10.10), GI-02 (RFC 6749 §4.3.2)
#[tokio::test]
async fn user_name_spelling_allows_no_further_guesses() {
    let (t, inner) = limited(|limiter| limiter.allow(3, Duration::MINUTE));
    let app = client(&t).await;
    for name in ["alice", "ALICE", " aLice\t"] {
        assert_eq!(status(&t, &login(&app, name, "wrong", HOME)).await, 400, "{name:?}");
    }
    let asked = inner.asked();
    for name in ["alice", "Alice", "alice ", "\u{a0}alicE\n"] {
        assert_throttled(&t.server.token(&login(&app, name, "correct horse", HOME)).await, "60");
    }
    assert_eq!(inner.asked() - asked, 4, "only the client's secret was compared");
    for name in ["al ice", "alice2", "bob"] {
        assert_eq!(status(&t, &login(&app, name, "wrong", HOME)).await, 400, "{name:?}");
    }
}

#[tokio::test]
async fn clock_set_back_neither_locks_out_nor_resets() {
    let (t, _) = limited(|limiter| limiter.allow(2, Duration::MINUTE));
    let app = client(&t).await;
    for by in [Duration::hours(-3), Duration::minutes(-1)] {
        for (of_client, of_user) in [(401, 400), (401, 400), (429, 429)] {
            assert_eq!(status(&t, &wrong(&app, HOME)).await, of_client);
            assert_eq!(status(&t, &login(&app, "alice", "wrong", "192.0.2.8")).await, of_user);
        }
        t.clock.advance(by);
        assert_eq!(status(&t, &right(&app, HOME)).await, 200, "{by}");
        assert_eq!(status(&t, &login(&app, "alice", "correct horse", "192.0.2.8")).await, 200, "{by}");
    }
    // Requests read the clock before they are counted, so a failure may be counted after a slightly later failure.
    // This must not restart the count.
    assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
    t.clock.advance(Duration::milliseconds(-1));
    assert_eq!(status(&t, &wrong(&app, HOME)).await, 401);
    t.clock.advance(Duration::milliseconds(-1));
    assert_eq!(status(&t, &wrong(&app, HOME)).await, 429);
    assert_eq!(status(&t, &right(&app, HOME)).await, 429);
}

/// Checks clients as usual. For users, it fails five times, throttles five times, and then checks passwords.
struct Down(TestUsers, AtomicUsize);
#[async_trait]
impl Authenticator for Down {
    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        match self.1.fetch_add(1, Ordering::SeqCst) {
            0..=4 => Err(AuthenticatorError::new("the directory is down")),
            5..=9 => Ok(Verdict::Throttled { retry_after: Duration::SECOND }),
            _ => self.0.authenticate_resource_owner(attempt).await,
        }
    }
}

#[tokio::test]
async fn login_that_could_not_be_judged_does_not_count() {
    let users = TestUsers::default();
    users.add("alice", "correct horse");
    let limiter = Limiter::new(Down(users, AtomicUsize::new(0))).allow(2, Duration::MINUTE);
    let mut policy = grantor::Policy::default();
    policy.dangerous().allow_password_grant = true;
    let t = TestServer::with(|builder| builder.policy(policy).authenticator(limiter));
    let app = client(&t).await;
    let mut answers = Vec::new();
    for _ in 0..10 {
        answers.push(status(&t, &login(&app, "alice", "correct horse", HOME)).await);
    }
    assert_eq!(answers, [vec![500; 5], vec![429; 5]].concat());
    for expected in [400, 400, 429] {
        assert_eq!(status(&t, &login(&app, "alice", "wrong", HOME)).await, expected);
    }
}

// covers: CA-08 (RFC 6749 §2.3.1)
#[tokio::test]
async fn ipv6_network_and_any_ipv4_spelling_are_one_peer() {
    let (t, _) = limited(|limiter| limiter.allow(2, Duration::MINUTE));
    let app = client(&t).await;
    for from in ["2001:db8:1:2::1", "2001:db8:1:2:ffff:ffff:ffff:ffff"] {
        assert_eq!(status(&t, &wrong(&app, from)).await, 401);
    }
    assert_eq!(status(&t, &right(&app, "2001:db8:1:2:3:4:5:6")).await, 429);
    for from in ["2001:db8:1:3::1", "2001:db8:0:2::1", "32.1.13.184"] {
        assert_eq!(status(&t, &right(&app, from)).await, 200, "{from}");
    }
    // A dual-stack socket shows IPv4 peers like this.
    for from in ["::ffff:198.51.100.1", "198.51.100.1"] {
        assert_eq!(status(&t, &wrong(&app, from)).await, 401);
    }
    assert_eq!(status(&t, &right(&app, "::ffff:198.51.100.1")).await, 429);
    for from in ["::ffff:198.51.100.2", "198.51.100.2", "::1"] {
        assert_eq!(status(&t, &right(&app, from)).await, 200, "{from}");
    }
}
