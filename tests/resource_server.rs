//! The bearer check of an API in another process. The introspection endpoint is called without a network.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::customizer::{Inspection, TokenCustomizer};
use grantor::error::{BoxError, IntrospectionError};
use grantor::resource_server::{Introspector, OutgoingRequest, ReceivedResponse, ResourceServerBuilder};
use grantor::storage::GrantSelector;
use grantor::testing::{Fault, ISSUER, RecordingObserver, TestClient, TestServer};
use grantor::{
    Access, AccessToken, AuthorizationServer, BearerError, BearerRequest, BuildError, Client, ClientCredential,
    ClientSecret, Error, ErrorCode, ProtectedResource, Request, ResourceServer, Subject, TokenRequest, TokenResponse,
};
use serde_json::{Map, Value, json};
use time::Duration;
use tokio::sync::Semaphore;

#[path = "common/mod.rs"]
mod common;
use common::{CB, basic};

/// The start time of a test server's clock, in seconds.
const START: i64 = 1_767_225_600;

/// A secret with characters that a Basic header has to encode.
const SECRET: &str = "s3:cr+t %";

/// The introspection endpoint, as an API in another process reaches it.
#[derive(Clone)]
struct Endpoint(Arc<State>);

struct State {
    server: AuthorizationServer,
    /// A response to send instead of the server's: status, content type and body.
    instead: Mutex<Option<(u16, String, Vec<u8>)>>,
    is_down: Mutex<bool>,
    calls: AtomicUsize,
    /// Each call takes one permit.
    permits: Semaphore,
}

impl Endpoint {
    fn new(t: &TestServer) -> Self {
        let permits = Semaphore::new(Semaphore::MAX_PERMITS);
        let (instead, is_down, calls) = (Mutex::default(), Mutex::default(), AtomicUsize::new(0));
        Self(Arc::new(State { server: t.server.clone(), instead, is_down, calls, permits }))
    }

    fn calls(&self) -> usize {
        self.0.calls.load(Ordering::SeqCst)
    }

    fn answer(&self, status: u16, content_type: &str, body: impl Into<Vec<u8>>) {
        *self.0.instead.lock().unwrap() = Some((status, content_type.to_owned(), body.into()));
    }

    fn answer_json(&self, body: &Value) {
        self.answer(200, "application/json", body.to_string());
    }

    /// Makes all calls wait from now on; `release` lets some of them continue.
    fn hold(&self) {
        self.0.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    fn release(&self, calls: usize) {
        self.0.permits.add_permits(calls);
    }
}

#[async_trait]
impl Introspector for Endpoint {
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
        let state = &*self.0;
        state.calls.fetch_add(1, Ordering::SeqCst);
        state.permits.acquire().await?.forget();
        if *state.is_down.lock().unwrap() {
            return Err("connection refused".into());
        }
        let instead = state.instead.lock().unwrap().clone();
        let (status, content_type, body) = if let Some(instead) = instead {
            instead
        } else {
            let path = request.url().strip_prefix(ISSUER).expect("a path below the issuer");
            let own = Request::new("POST", path).with_headers(request.headers()).with_body(request.body());
            let response = state.server.introspect(&own).await;
            let content_type = response.header("content-type").unwrap_or_default().to_owned();
            (response.status(), content_type, response.body().to_vec())
        };
        let mut response = ReceivedResponse::new(status, content_type);
        response.push(&body, request)?;
        Ok(response)
    }
}

/// An authorization server, a client that gets tokens there, and an API in another process.
struct Setup {
    t: TestServer,
    app: TestClient,
    endpoint: Endpoint,
    events: RecordingObserver,
    api: ResourceServer,
}

impl Setup {
    async fn new() -> Self {
        Self::with(TestServer::new(), |builder| builder).await
    }

    async fn with(t: TestServer, change: impl FnOnce(ResourceServerBuilder) -> ResourceServerBuilder) -> Self {
        let secret = ClientSecret::new(SECRET);
        let client = Client::confidential("notes api", ClientCredential::secret(&secret)).resource_server();
        t.register(client.build(), Some(ClientSecret::new(SECRET))).await;
        let app = t.public_client(CB).await;
        let (endpoint, events) = (Endpoint::new(&t), RecordingObserver::default());
        let builder = ResourceServer::builder(ISSUER, "notes api", &secret, endpoint.clone());
        let builder = builder.clock(t.clock.clone()).observer(events.clone());
        let api = change(builder).build().unwrap();
        Self { t, app, endpoint, events, api }
    }

    async fn tokens(&self) -> TokenResponse {
        self.t.authorize(&self.app).scope("user:read").approve_as("alice").await.redeem().await.unwrap()
    }

    async fn check(&self, token: &AccessToken) -> Result<Access, BearerError> {
        check(&self.api, token).await
    }

    /// Asserts that the token is refused with this status and challenge, and with an event.
    async fn assert_refused(&self, token: &AccessToken, status: u16, code: &str, what: &str) -> BearerError {
        let told = self.events.count("bearer_refused");
        let error = self.check(token).await.expect_err(what);
        assert_eq!((error.status(), error.code().unwrap().as_str()), (status, code), "{what}: {error}");
        let response = error.to_response();
        let challenge = response.header("www-authenticate").unwrap_or_else(|| panic!("{what}: no challenge"));
        assert!(challenge.starts_with(&format!("Bearer realm=\"{ISSUER}\", error=\"{code}\"")), "{what}: {challenge}");
        assert_eq!(self.events.count("bearer_refused"), told + 1, "{what}");
        error
    }

    /// Asserts 503 without any detail, and an event with the reason.
    async fn assert_failed(&self, token: &AccessToken, reason: &str) -> BearerError {
        let error = self.check(token).await.expect_err(reason);
        assert_eq!((error.status(), error.code().unwrap().as_str()), (503, "temporarily_unavailable"), "{reason}");
        let response = error.to_response();
        let headers: Vec<_> = response.headers().collect();
        assert_eq!(headers, [("cache-control", "no-store"), ("pragma", "no-cache"), ("retry-after", "5")]);
        assert!(response.body().is_empty(), "{reason}");
        assert!(matches!(error.failure(), Some(Error::Introspection(_))), "{reason}: {error:?}");
        assert!(error.to_string().contains(reason), "{error} is not {reason}");
        let event = self.events.events().pop().unwrap();
        assert!(event.name == "bearer_refused" && event.text.contains("Introspection"), "{}", event.text);
        error
    }
}

async fn check(api: &ResourceServer, token: &AccessToken) -> Result<Access, BearerError> {
    let request = Request::get("/notes").with_header("authorization", format!("Bearer {}", token.expose()));
    api.bearer(&request).await?.require("user:read")
}

/// The response of a server about a good token.
fn good() -> Value {
    json!({
        "active": true, "scope": "user:read", "client_id": "app", "sub": "alice", "token_type": "Bearer",
        "iss": ISSUER, "iat": START, "exp": START + 3600,
    })
}

/// The response about a good token with changed members. A null removes a member.
fn good_but(changes: &Value) -> Value {
    let mut members = good();
    let own = members.as_object_mut().unwrap();
    for (name, value) in changes.as_object().unwrap() {
        if value.is_null() {
            own.remove(name);
        } else {
            own.insert(name.clone(), value.clone());
        }
    }
    members
}

struct Username;

#[async_trait]
impl TokenCustomizer for Username {
    async fn introspection(&self, _: &Inspection<'_>) -> Result<Option<Map<String, Value>>, Error> {
        Ok(Some(Map::from_iter([("username".to_owned(), json!("Alice A."))])))
    }
}

// covers: BR-01 (RFC 6750 §2.1)
#[tokio::test]
async fn live_token_gives_the_introspected_access() {
    let setup = Setup::with(TestServer::with(|builder| builder.token_customizer(Username)), |builder| builder).await;
    let tokens = setup.tokens().await;
    let access = setup.check(&tokens.access_token).await.unwrap();
    let own = setup.t.bearer(&tokens.access_token).await.unwrap().require("user:read").unwrap();
    assert_eq!((access.user().unwrap(), access.client_id()), (own.user().unwrap(), own.client_id()));
    assert_eq!((access.scope(), access.expires_at()), (own.scope(), own.expires_at()));
    assert_eq!((access.grant_id(), access.host_data()), (None, None));
    assert_eq!(access.introspection().unwrap()["username"], "Alice A.");
    assert_eq!(own.introspection(), None);
    assert_eq!(setup.t.events.count("token_introspected"), 1);
    assert_eq!(setup.events.names(), [""; 0]);

    let typed = setup.api.bearer_request(&BearerRequest::of(&tokens.access_token)).await.unwrap();
    let error = typed.require("user:write").unwrap_err();
    assert_eq!((error.status(), error.code().unwrap().as_str()), (403, "insufficient_scope"));
    let challenge = error.to_response().header("www-authenticate").unwrap().to_owned();
    assert!(challenge.ends_with(", scope=\"user:write\""), "{challenge}");
    let typed = setup.api.bearer_request(&BearerRequest::of(&tokens.access_token)).await.unwrap();
    assert_eq!(
        typed.require("user:read\t").unwrap_err().status(),
        500,
        "a malformed scope is a mistake of the host app"
    );
}

#[tokio::test]
async fn introspection_request_has_credentials_and_token() {
    #[derive(Clone, Default)]
    struct Recorder(Arc<Mutex<String>>);

    #[async_trait]
    impl Introspector for Recorder {
        async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
            let (headers, body) = (request.headers(), std::str::from_utf8(request.body())?);
            *self.0.lock().unwrap() = format!("{} {headers:?} {body}", request.url());
            Err("it is only recorded".into())
        }
    }
    let recorder = Recorder::default();
    let secret = ClientSecret::new(SECRET);
    for (issuer, endpoint, url) in [
        ("https://id.example", None, "https://id.example/introspect"),
        ("https://id.example/", None, "https://id.example/introspect"),
        ("https://id.example/a", None, "https://id.example/a/introspect"),
        ("https://id.example", Some("http://127.0.0.1:8080/x?y=z"), "http://127.0.0.1:8080/x?y=z"),
    ] {
        let builder = ResourceServer::builder(issuer, "notes api", &secret, recorder.clone());
        let builder = match endpoint {
            Some(endpoint) => builder.endpoint(endpoint),
            None => builder,
        };
        check(&builder.build().unwrap(), &AccessToken::new("a+/b~==")).await.unwrap_err();
        let expected = format!(
            "{url} {:?} token_type_hint=access_token&token=a%2B%2Fb%7E%3D%3D",
            [
                ("authorization", &*basic("notes api", SECRET)),
                ("content-type", "application/x-www-form-urlencoded"),
                ("accept", "application/json"),
            ]
        );
        assert_eq!(*recorder.0.lock().unwrap(), expected);
    }
}

// covers: BR-03 (OAuth 2.1 §5.1), BR-06 (RFC 6750 §3), BR-07 (RFC 6750 §3.1), BR-18 (RFC 6750 §3.1), BR-19 (RFC 9728 §5.1)
#[tokio::test]
async fn missing_token_is_refused_without_introspection() {
    let metadata = "https://notes.example/.well-known/oauth-protected-resource";
    let setup = Setup::with(TestServer::new(), |builder| builder.resource_metadata(metadata)).await;
    let with = |values: &[&str]| {
        let request = Request::get("/notes?access_token=mF_9.B5f-4.1JqM");
        values.iter().fold(request, |request, value| request.with_header("authorization", *value))
    };
    let form = Request::post_form("/notes", "access_token=mF_9.B5f-4.1JqM");
    for (request, status, code) in [
        (with(&[]), 401, None),
        (form, 401, None),
        (with(&["Basic YTpi"]), 401, None),
        (with(&["Bearer"]), 401, Some("invalid_token")),
        (with(&["Bearer a b"]), 401, Some("invalid_token")),
        (with(&["Bearer a", "Bearer a"]), 400, Some("invalid_request")),
    ] {
        let error = setup.api.bearer(&request).await.unwrap_err();
        assert_eq!((error.status(), error.code().map(ErrorCode::as_str)), (status, code), "{request:?}");
        let challenge = error.to_response().header("www-authenticate").unwrap().to_owned();
        let told = code.map(|code| format!(", error=\"{code}\"")).unwrap_or_default();
        assert!(challenge.starts_with(&format!("Bearer realm=\"{ISSUER}\"{told}")), "{challenge}");
        assert!(challenge.ends_with(&format!(", resource_metadata=\"{metadata}\"")), "{challenge}");
    }
    assert_eq!(setup.endpoint.calls(), 0);
    assert_eq!(setup.events.count("bearer_refused"), 6);
}

#[tokio::test]
async fn empty_or_oversized_token_is_refused_without_introspection() {
    let api = Setup::new().await;
    for text in [String::new(), "a".repeat(8 * 1024 + 1), "+".repeat(22_000)] {
        let error = api.assert_refused(&AccessToken::new(text.as_str()), 401, "invalid_token", "its size").await;
        assert!(error.to_response().header("retry-after").is_none());
    }
    assert_eq!(api.endpoint.calls(), 0);
    api.assert_refused(&AccessToken::new("a".repeat(8 * 1024).as_str()), 401, "invalid_token", "unknown").await;
    assert_eq!(api.endpoint.calls(), 1);
}

#[tokio::test]
async fn active_token_is_introspected_once_per_cache_time() {
    let setup = Setup::new().await;
    let tokens = setup.tokens().await;
    for (seconds, calls) in [(0, 1), (0, 1), (29, 1), (1, 2), (29, 2), (1, 3)] {
        setup.t.clock.advance(Duration::seconds(seconds));
        assert_eq!(setup.check(&tokens.access_token).await.unwrap().user().unwrap().as_str(), "alice");
        assert_eq!(setup.endpoint.calls(), calls);
    }
    let copy = setup.api.clone();
    check(&copy, &tokens.access_token).await.unwrap();
    assert_eq!(setup.endpoint.calls(), 3, "a copy of the API shares the cache");
    setup.t.clock.advance(Duration::seconds(-10));
    setup.check(&tokens.access_token).await.unwrap();
    assert_eq!(setup.endpoint.calls(), 4, "a clock that is set back does not extend an entry");
}

// covers: RV-02 (RFC 7009 §2)
#[tokio::test]
async fn revoked_token_is_refused_after_the_cache_time() {
    for (cache_time, works_for) in [(Duration::seconds(30), 29), (Duration::ZERO, -1)] {
        let setup = Setup::with(TestServer::new(), |builder| builder.cache_time(cache_time)).await;
        let tokens = setup.tokens().await;
        setup.check(&tokens.access_token).await.unwrap();
        let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
        setup.t.server.revoke_grants(&alice).await.unwrap();
        if works_for >= 0 {
            setup.t.clock.advance(Duration::seconds(works_for));
            setup.check(&tokens.access_token).await.unwrap();
            setup.t.clock.advance(Duration::SECOND);
        }
        setup.assert_refused(&tokens.access_token, 401, "invalid_token", "the token is revoked").await;
    }
}

// covers: IN-17 (RFC 7662 §4), BR-14 (RFC 6749 §7)
#[tokio::test]
async fn cached_token_is_refused_when_it_expires() {
    let setup = Setup::with(TestServer::new(), |builder| builder.cache_time(Duration::DAY)).await;
    let tokens = setup.tokens().await;
    setup.check(&tokens.access_token).await.unwrap();
    setup.t.clock.advance(Duration::HOUR - Duration::MILLISECOND);
    setup.check(&tokens.access_token).await.unwrap();
    assert_eq!(setup.endpoint.calls(), 1);
    // The server can no longer be reached, so only the cache could accept the token.
    *setup.endpoint.0.is_down.lock().unwrap() = true;
    setup.t.clock.advance(Duration::milliseconds(1));
    setup.assert_refused(&tokens.access_token, 401, "invalid_token", "the token has expired").await;
    assert_eq!(setup.endpoint.calls(), 1);
}

#[tokio::test]
async fn token_that_expires_during_the_call_is_refused() {
    let setup = Setup::new().await;
    let tokens = setup.tokens().await;
    setup.endpoint.answer_json(&good());
    setup.endpoint.hold();
    let (checked, ()) = tokio::join!(setup.check(&tokens.access_token), async {
        setup.t.clock.advance(Duration::HOUR);
        setup.endpoint.release(1);
    });
    assert_eq!(checked.unwrap_err().status(), 401);
    assert_eq!(setup.endpoint.calls(), 1);
}

// covers: BR-09 (RFC 6750 §3.1), BR-14 (RFC 6749 §7)
#[tokio::test]
async fn unsuitable_token_is_refused() {
    let setup = Setup::new().await;
    let foreign = ("Some(Foreign)", "not meant for this API");
    let (not_live, bound) = (("Some(NotLive)", "unknown, expired or revoked"), ("Some(Bound)", "bound to a key"));
    let not_bearer = ("Some(NotBearer)", "not of the type Bearer");
    for (answer, (reason, text)) in [
        (json!({ "active": false }), not_live),
        (good_but(&json!({ "active": false })), not_live),
        (good_but(&json!({ "exp": START })), not_live),
        (good_but(&json!({ "exp": START - 1 })), not_live),
        (good_but(&json!({ "nbf": START + 61 })), not_live),
        (good_but(&json!({ "iat": START + 61 })), not_live),
        (good_but(&json!({ "iss": "https://other.example" })), foreign),
        (good_but(&json!({ "iss": "" })), foreign),
        (good_but(&json!({ "token_type": null })), not_bearer),
        (good_but(&json!({ "token_type": "DPoP" })), not_bearer),
        (good_but(&json!({ "cnf": { "x5t#S256": "bwcK0esc3ACC3DB2Y5_lESsXE8o9ltc05O89jdN-dg2" } })), bound),
        (good_but(&json!({ "cnf": {} })), bound),
    ] {
        setup.endpoint.answer_json(&answer);
        let error = setup.assert_refused(&AccessToken::new("a"), 401, "invalid_token", &answer.to_string()).await;
        assert!(error.to_string().contains(text), "{answer}: {error}");
        let event = setup.events.events().pop().unwrap().text;
        assert!(event.contains(&format!("reason: {reason}")), "{answer}: {event}");
    }
    for scope in [json!(null), json!(""), json!("  ")] {
        setup.endpoint.answer_json(&good_but(&json!({ "scope": scope })));
        setup.assert_refused(&AccessToken::new("a"), 403, "insufficient_scope", "no scope").await;
        assert!(setup.events.events().pop().unwrap().text.contains("reason: Some(NoScope)"));
    }
    for (answer, scope) in [
        (good(), "user:read"),
        (good_but(&json!({ "iss": null, "iat": null, "username": 7 })), "user:read"),
        (good_but(&json!({ "nbf": START + 60, "iat": START + 60, "token_type": "bearer" })), "user:read"),
        (good_but(&json!({ "scope": " user:write  user:read ", "aud": ["x"] })), "user:read user:write"),
    ] {
        setup.endpoint.answer_json(&answer);
        let token = AccessToken::new(format!("good{}", setup.endpoint.calls()));
        assert_eq!(setup.check(&token).await.unwrap().scope().as_str(), scope, "{answer}");
    }
}

// covers: BR-15 (RFC 9700 §2.3)
#[tokio::test]
async fn token_for_another_audience_is_refused() {
    let setup = Setup::with(TestServer::new(), |builder| builder.audience("https://notes.example")).await;
    for aud in [
        json!(null),
        json!("https://mail.example"),
        json!("https://notes.example/"),
        json!([]),
        json!(["https://mail.example"]),
    ] {
        setup.endpoint.answer_json(&good_but(&json!({ "aud": aud })));
        let error = setup.assert_refused(&AccessToken::new("a"), 401, "invalid_token", &aud.to_string()).await;
        assert!(error.to_string().contains("not meant for this API"), "{aud}");
    }
    for aud in [json!("https://notes.example"), json!(["https://mail.example", "https://notes.example"])] {
        setup.endpoint.answer_json(&good_but(&json!({ "aud": aud })));
        setup.check(&AccessToken::new(format!("good{}", setup.endpoint.calls()))).await.unwrap();
    }
}

// covers: MC-09 (MCP Token Audience Binding), RM-05 (RFC 9728 §7.4)
#[tokio::test]
async fn token_for_another_resource_is_refused() {
    const NOTES: &str = "https://notes.example";
    // The server tells the API about the tokens of both resources, so the API itself must compare the audience. With
    // `named` false, the server tells it about its own resource only.
    for named in [true, false] {
        let t = TestServer::with(|builder| {
            let mail = ProtectedResource::new("https://mail.example");
            let mail = if named { mail.introspected_by("notes api") } else { mail };
            builder.resource(ProtectedResource::new(NOTES).introspected_by("notes api")).resource(mail)
        });
        let setup = Setup::with(t, |builder| builder.audience(NOTES)).await;
        let token_for = async |resource: &str| {
            let flow = setup.t.authorize(&setup.app).parameter("resource", resource).approve_as("alice").await;
            flow.redeem().await.unwrap().access_token
        };
        setup.check(&token_for(NOTES).await).await.unwrap();
        let error = setup.assert_refused(&token_for("https://mail.example").await, 401, "invalid_token", NOTES).await;
        assert_eq!(error.to_string().contains("not meant for this API"), named, "{error}");
    }
}

#[tokio::test]
async fn unusable_answer_is_503_and_never_a_success() {
    let setup = Setup::with(TestServer::new(), |builder| builder.max_response(400)).await;
    let token = AccessToken::new("a");
    let json = "application/json";
    for status in [201, 204, 302, 400, 401, 403, 429, 500, 503] {
        setup.endpoint.answer(status, json, good().to_string());
        setup.assert_failed(&token, &format!("responded with the status {status}")).await;
    }
    for content_type in ["", "text/html", "application/token-introspection+jwt", "application/jsonp", "json"] {
        setup.endpoint.answer(200, content_type, good().to_string());
        setup.assert_failed(&token, "its content type is not application/json").await;
    }
    for body in ["", "[true]", "true", "\"active\"", "[true,\"user:read\",\"app\",\"Bearer\",\"alice\",null,null,1]"] {
        setup.endpoint.answer(200, json, body);
        setup.assert_failed(&token, "it is not a JSON object").await;
    }
    let twice = good().to_string().replacen('{', "{\"active\":true,", 1);
    // A member that is not checked must be readable too, because the host app can read it.
    let unreadable = good().to_string().replacen('{', "{\"x\":1e999,", 1);
    for body in ["{", "{}", "{\"scope\":\"user:read\"}", "{\"active\":true} {}", &twice, &unreadable] {
        setup.endpoint.answer(200, json, body);
        setup.assert_failed(&token, "it is not JSON with members of the types of RFC 7662").await;
    }
    for changes in [
        json!({ "active": "true" }),
        json!({ "active": 1 }),
        json!({ "exp": "1" }),
        json!({ "exp": 1e300 }),
        json!({ "exp": START + 1, "nbf": 0.5 }),
        json!({ "scope": ["user:read"] }),
        json!({ "client_id": 7 }),
        json!({ "sub": 7 }),
        json!({ "aud": 7 }),
    ] {
        setup.endpoint.answer_json(&good_but(&changes));
        setup.assert_failed(&token, "it is not JSON with members of the types of RFC 7662").await;
    }
    for (changes, reason) in [
        (json!({ "exp": null }), "it has no exp"),
        (json!({ "exp": i64::MAX }), "a time in it is out of range"),
        (json!({ "nbf": i64::MIN, "iat": null }), "a time in it is out of range"),
        (json!({ "client_id": null }), "it has no client_id"),
        (json!({ "client_id": "" }), "its client_id is malformed"),
        (json!({ "sub": "" }), "its sub is malformed"),
        (json!({ "sub": "a\n" }), "its sub is malformed"),
        (json!({ "scope": "a\"b" }), "its scope is malformed"),
    ] {
        setup.endpoint.answer_json(&good_but(&changes));
        setup.assert_failed(&token, reason).await;
    }
    setup.endpoint.answer_json(&good_but(&json!({ "more": "x".repeat(400) })));
    setup.assert_failed(&token, "no response arrived from the introspection endpoint").await;

    setup.endpoint.answer(200, "Application/JSON; charset=utf-8", format!("\r\n {}", good()));
    setup.check(&token).await.unwrap();
}

#[tokio::test]
async fn failures_and_inactive_tokens_are_not_cached() {
    let setup = Setup::new().await;
    let tokens = setup.tokens().await;
    *setup.endpoint.0.is_down.lock().unwrap() = true;
    let error = setup.assert_failed(&tokens.access_token, "no response arrived from the introspection endpoint").await;
    let Some(Error::Introspection(failure)) = error.failure() else { panic!("{error:?}") };
    assert!(matches!(**failure, IntrospectionError::NoAnswer(_)), "{failure:?}");
    assert_eq!(std::error::Error::source(&**failure).unwrap().to_string(), "connection refused");
    *setup.endpoint.0.is_down.lock().unwrap() = false;
    setup.t.faults.fail(1, Fault::Unavailable);
    setup.assert_failed(&tokens.access_token, "responded with the status 503").await;
    setup.check(&tokens.access_token).await.unwrap();

    let unknown = AccessToken::new("unknown");
    for calls in [4, 5] {
        setup.assert_refused(&unknown, 401, "invalid_token", "unknown").await;
        assert_eq!(setup.endpoint.calls(), calls);
    }
}

#[tokio::test]
async fn invented_tokens_evict_nothing() {
    let setup = Setup::with(TestServer::new(), |builder| builder.cache_entries(2)).await;
    let [first, second, third] = [setup.tokens().await, setup.tokens().await, setup.tokens().await];
    setup.check(&first.access_token).await.unwrap();
    setup.check(&second.access_token).await.unwrap();
    for number in 0..10 {
        setup.assert_refused(&AccessToken::new(format!("a{number}")), 401, "invalid_token", "invented").await;
    }
    let calls = setup.endpoint.calls();
    setup.check(&first.access_token).await.unwrap();
    setup.check(&second.access_token).await.unwrap();
    assert_eq!(setup.endpoint.calls(), calls);
    setup.check(&third.access_token).await.unwrap();
    setup.check(&second.access_token).await.unwrap();
    assert_eq!(setup.endpoint.calls(), calls + 1);
    setup.check(&first.access_token).await.unwrap();
    assert_eq!(setup.endpoint.calls(), calls + 2, "the oldest entry was removed from the cache");
}

/// Waits until the endpoint was called this number of times.
async fn until_called(endpoint: &Endpoint, calls: usize) {
    while endpoint.calls() < calls {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn requests_with_one_token_share_a_call() {
    let setup = Setup::new().await;
    let tokens = setup.tokens().await;
    setup.endpoint.hold();
    let text = tokens.access_token.expose().to_owned();
    let spawn = || {
        let (api, token) = (setup.api.clone(), AccessToken::new(text.clone()));
        tokio::spawn(async move { check(&api, &token).await.map(|access| access.scope().to_string()) })
    };
    let first = spawn();
    until_called(&setup.endpoint, 1).await;
    let others: Vec<_> = (0..20).map(|_| spawn()).collect();
    tokio::task::yield_now().await;
    // The first request is cancelled. The others still get the answer.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    setup.endpoint.release(1);
    for other in others {
        assert_eq!(other.await.unwrap().unwrap(), "user:read");
    }
    assert_eq!(setup.endpoint.calls(), 1);

    // All waiting requests get the same failure.
    setup.t.clock.advance(Duration::MINUTE);
    let waiting: Vec<_> = (0..3).map(|_| spawn()).collect();
    until_called(&setup.endpoint, 2).await;
    tokio::task::yield_now().await;
    *setup.endpoint.0.is_down.lock().unwrap() = true;
    setup.endpoint.release(1);
    for waiting in waiting {
        assert_eq!(waiting.await.unwrap().unwrap_err().status(), 503);
    }
    assert_eq!(setup.endpoint.calls(), 2);
}

/// A lost wake-up would leave a request waiting forever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn hang_ups_on_many_threads_leave_no_request_waiting() {
    struct Slow(AtomicUsize);

    #[async_trait]
    impl Introspector for Slow {
        async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
            let call = self.0.fetch_add(1, Ordering::Relaxed);
            for _ in 0..call % 5 {
                tokio::task::yield_now().await;
            }
            let mut response = ReceivedResponse::new(200, "application/json");
            response.push(good_but(&json!({ "exp": 4_102_444_800_i64 })).to_string().as_bytes(), request)?;
            Ok(response)
        }
    }
    let api = ResourceServer::builder(ISSUER, "api", &ClientSecret::new("s"), Slow(AtomicUsize::new(0)));
    let api = api.cache_time(Duration::ZERO).max_calls(20).build().unwrap();
    for round in 0..500 {
        let waiting: Vec<_> = (0..8)
            .map(|number| {
                let (api, token) = (api.clone(), AccessToken::new(format!("t{}", number % 2)));
                tokio::spawn(async move { check(&api, &token).await.map(|_| ()) })
            })
            .collect();
        for (number, waiting) in waiting.iter().enumerate() {
            if (number + round) % 3 == 0 {
                waiting.abort();
            }
        }
        for waiting in waiting {
            let ended = tokio::time::timeout(std::time::Duration::from_secs(60), waiting).await;
            match ended.expect("the request is not left waiting") {
                Ok(checked) => checked.unwrap(),
                Err(error) => assert!(error.is_cancelled()),
            }
        }
    }
}

#[tokio::test]
async fn calls_above_the_limit_are_refused_at_once() {
    let setup = Setup::with(TestServer::new(), |builder| builder.max_calls(2)).await;
    let known = setup.tokens().await;
    setup.check(&known.access_token).await.unwrap();
    setup.endpoint.hold();
    let spawn = |text: &str| {
        let (api, token) = (setup.api.clone(), AccessToken::new(text));
        tokio::spawn(async move { check(&api, &token).await.map(|_| ()) })
    };
    let (first, second) = (spawn("a"), spawn("b"));
    until_called(&setup.endpoint, 3).await;
    setup.assert_failed(&AccessToken::new("c"), "too many access tokens are being introspected at once").await;
    setup.check(&known.access_token).await.expect("a token that is kept needs no call");
    assert_eq!(setup.endpoint.calls(), 3);

    // A call that no request waits for is ended, and makes room.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    let third = spawn("c");
    until_called(&setup.endpoint, 4).await;
    setup.endpoint.release(2);
    for refused in [second, third] {
        assert_eq!(refused.await.unwrap().unwrap_err().status(), 401);
    }
    setup.endpoint.release(3);
    for token in ["d", "e", "f"] {
        setup.assert_refused(&AccessToken::new(token), 401, "invalid_token", "a call is possible again").await;
    }
}

#[tokio::test]
async fn introspector_panic_refuses_all_waiting_requests() {
    struct Panics(Arc<Semaphore>);

    #[async_trait]
    impl Introspector for Panics {
        async fn send(&self, _: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
            self.0.acquire().await?.forget();
            panic!("a bug in the HTTP client")
        }
    }
    let permits = Arc::new(Semaphore::new(0));
    let introspector = Panics(Arc::clone(&permits));
    let api = ResourceServer::builder(ISSUER, "api", &ClientSecret::new("s"), introspector).max_calls(1);
    let api = api.build().unwrap();
    let waiting: Vec<_> = (0..4)
        .map(|_| {
            let api = api.clone();
            tokio::spawn(async move { check(&api, &AccessToken::new("a")).await.map(|_| ()) })
        })
        .collect();
    tokio::task::yield_now().await;
    permits.add_permits(9);
    let mut panicked = 0;
    for waiting in waiting {
        match waiting.await {
            Ok(checked) => assert_eq!(checked.unwrap_err().status(), 503),
            Err(error) => {
                assert!(error.is_panic());
                panicked += 1;
            }
        }
    }
    assert_eq!(panicked, 1);
    let again = tokio::spawn(async move { check(&api, &AccessToken::new("a")).await.map(|_| ()) });
    assert!(again.await.unwrap_err().is_panic(), "a call is possible again after the panic");
}

// covers: BC-02 (RFC 9700 §4.15.1)
#[tokio::test]
async fn machine_named_by_its_client_id_is_no_user() {
    let setup = Setup::new().await;
    let machine = setup.t.confidential_client(CB).await;
    let request = TokenRequest::client_credentials().scope("user:read");
    let token = setup.t.token_as(&machine, request).await.unwrap().access_token;
    let access = setup.check(&token).await.unwrap();
    assert_eq!((access.subject(), access.client_id().as_str()), (None, &*machine.id));

    setup.endpoint.answer_json(&good_but(&json!({ "sub": "app" })));
    let access = setup.check(&AccessToken::new("a")).await.unwrap();
    assert_eq!(access.subject(), None, "a server that names the client as the subject");
    let error = access.user().unwrap_err();
    assert_eq!((error.status(), error.code().unwrap().as_str()), (403, "insufficient_scope"));
    assert_eq!(setup.events.names(), ["bearer_refused"]);
}

#[tokio::test]
async fn event_names_the_client_whose_token_lacks_something() {
    let setup = Setup::new().await;
    let last = || setup.events.events().pop().unwrap().text;
    setup.endpoint.answer_json(&good_but(&json!({ "sub": null })));
    let access = setup.check(&AccessToken::new("a")).await.unwrap();
    assert_eq!(access.user().unwrap_err().status(), 403);
    let client = format!("client_id: Some({:?})", access.client_id());
    assert!(last().contains(&client) && last().contains("reason: Some(NoResourceOwner)"), "{}", last());
    let request = Request::get("/notes").with_header("authorization", "Bearer a");
    let refused = setup.api.bearer(&request).await.unwrap().require("user:write").unwrap_err();
    assert_eq!(refused.status(), 403);
    assert!(last().contains(&client) && last().contains("reason: Some(InsufficientScope)"), "{}", last());
}

#[test]
fn invalid_setting_does_not_build() {
    struct Nowhere;
    #[async_trait]
    impl Introspector for Nowhere {
        async fn send(&self, _: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
            Err("there is no endpoint".into())
        }
    }
    let build = |issuer: &str, id: &str, change: fn(ResourceServerBuilder) -> ResourceServerBuilder| {
        change(ResourceServer::builder(issuer, id, &ClientSecret::new("s"), Nowhere)).build().map(|_| ())
    };
    assert!(build("http://localhost:8080", "api", |builder| builder).is_ok());
    assert!(build("https://id.example", "api", |builder| builder.cache_entries(0).cache_time(Duration::ZERO)).is_ok());
    for issuer in ["", "http://id.example", "https://id.example?a", "https://id.example#a", "https://id\".example"] {
        assert!(matches!(build(issuer, "api", |builder| builder), Err(BuildError::Issuer(_))), "{issuer}");
    }
    for change in [
        (|builder| builder.endpoint("http://id.example/introspect")) as fn(ResourceServerBuilder) -> _,
        |builder| builder.endpoint("/introspect"),
        |builder| builder.resource_metadata("http://notes.example/"),
        |builder| builder.resource_metadata("https://notes.example/\"a"),
    ] {
        assert!(matches!(build("https://id.example", "api", change), Err(BuildError::Endpoint(_))));
    }
    for change in [
        (|builder| builder.cache_time(Duration::seconds(-1))) as fn(ResourceServerBuilder) -> _,
        |builder| builder.max_calls(0),
        |builder| builder.max_response(0),
    ] {
        assert!(matches!(build("https://id.example", "api", change), Err(BuildError::ResourceServer(_))));
    }
    for id in ["", "a\n", "\u{e9}"] {
        assert!(matches!(build("https://id.example", id, |builder| builder), Err(BuildError::ResourceServer(_))));
    }
    let empty = ResourceServer::builder("https://id.example", "api", &ClientSecret::new(""), Nowhere).build();
    assert!(matches!(empty, Err(BuildError::ResourceServer(text)) if text.contains("empty secret")), "{empty:?}");
}

// covers: B34, BR-17 (RFC 9700 §4.9.3)
#[tokio::test]
async fn debug_output_of_an_api_holds_no_secret() {
    struct Shown(Arc<Mutex<String>>);

    #[async_trait]
    impl Introspector for Shown {
        async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
            let mut response = ReceivedResponse::new(200, "application/json");
            response.push(good_but(&json!({ "username": "s3cr3t" })).to_string().as_bytes(), request)?;
            *self.0.lock().unwrap() = format!("{request:?} {response:?}");
            Ok(response)
        }
    }
    let shown = Arc::new(Mutex::new(String::new()));
    let t = TestServer::new();
    let secret = ClientSecret::new("s3cr3t");
    let builder = ResourceServer::builder(ISSUER, "api", &secret, Shown(Arc::clone(&shown))).clock(t.clock.clone());
    let shown_builder = format!("{builder:?}");
    let api = builder.build().unwrap();
    let access = check(&api, &AccessToken::new("s3cr3t")).await.unwrap();
    let shown = format!("{shown_builder} {} {api:?} {access:?}", shown.lock().unwrap());
    assert!(!shown.contains("s3cr3t") && !shown.contains("Basic"), "{shown}");
    assert!(shown.contains("/introspect") && shown.contains("bytes redacted") && shown.contains("alice"), "{shown}");
}
