//! The fields that the feature `tracing` logs, and the data that it never logs.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Debug, Write as _};
use std::io;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantor::capability::{BuildView, Capability, Endpoint, ServerView};
use grantor::client::ClientBuilder;
use grantor::error::{AuthenticatorError, EntropyError};
use grantor::grant_type::{Decision, GrantContext, GrantHandler};
use grantor::storage::GrantSelector;
use grantor::testing::{Fault, RecordingObserver, TestClient, TestServer, TestUsers};
use grantor::tracing::TracingObserver;
use grantor::{
    AccessToken, Approval, Authenticator, AuthorizationOutcome, AuthorizationRequest, BearerRequest, ClientAttempt,
    ClientSecret, ClientSecrets, Entropy, GrantType, Interaction, IntrospectionRequest, PendingAuthorization, Policy,
    ProtectedResource, RefreshToken, Refusal, Request, ResourceOwnerAttempt, Response, RevocationRequest, ServedBy,
    Subject, TokenRequest, TokenResponse, Verdict,
};
use serde_json::json;
use time::Duration;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::DefaultGuard;
use tracing::{Level, Subscriber};
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::registry::{LookupSpan, Scope};
use tracing_subscriber::{Layer, Registry};

#[path = "common/mod.rs"]
mod common;
use common::{basic, form};

const CB: &str = "https://app.example/cb";
const VERIFIER: &str = "a-verifier-of-forty-three-characters-at-least";
const PASSWORD: &str = "correct horse battery+staple/\u{e9}";
const HOST_DATA: &str = "host data that is nobody's business";
const STATE: &str = "a-state-that-is-the-clients-own-business";
const CAUSE: &str = "password=hunter2-of-the-directory";
const SERVER_KEY: &[u8; 32] = b"the key from which others derive";
const EXTENSION: &str = "urn:example:broken";

/// The names and values of a span or an event.
type Fields = BTreeMap<String, String>;

#[derive(Debug, Clone, PartialEq)]
struct Logged {
    level: Level,
    target: String,
    fields: Fields,
    /// The surrounding spans, outermost first, each with its fields.
    spans: Vec<(String, Fields)>,
}

/// Records all spans and events, as data and as the text of a usual log.
#[derive(Clone, Default)]
struct Log {
    events: Arc<Mutex<Vec<Logged>>>,
    spans: Arc<Mutex<Vec<(Level, String, Fields)>>>,
    text: Arc<Mutex<Vec<u8>>>,
}

impl Log {
    /// Records from now on, on this thread, until the guard is dropped.
    fn start() -> (Self, DefaultGuard) {
        let log = Self::default();
        let writer = log.clone();
        let lines = tracing_subscriber::fmt::layer()
            .with_ansi(false)
            .with_span_events(FmtSpan::FULL)
            .with_writer(move || writer.clone());
        let guard = tracing::subscriber::set_default(Registry::default().with(lines).with(log.clone()));
        (log, guard)
    }

    fn events(&self) -> Vec<Logged> {
        self.events.lock().unwrap().clone()
    }

    /// The one event since the last call.
    fn take_one(&self) -> Logged {
        let mut events = self.events.lock().unwrap();
        assert_eq!(events.len(), 1, "{events:?}");
        events.remove(0)
    }

    fn clear(&self) {
        self.events.lock().unwrap().clear();
        self.spans.lock().unwrap().clear();
    }

    /// The whole log, as data and as text.
    fn everything(&self) -> String {
        let lines = String::from_utf8(self.text.lock().unwrap().clone()).unwrap();
        format!("{lines}\n{:?}\n{:?}", self.events.lock().unwrap(), self.spans.lock().unwrap())
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.text.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Log {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Reader::default();
        attributes.record(&mut fields);
        let (metadata, fields) = (attributes.metadata(), fields.0);
        self.spans.lock().unwrap().push((*metadata.level(), metadata.name().to_owned(), fields.clone()));
        context.span(id).unwrap().extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let span = context.span(id).unwrap();
        let mut extensions = span.extensions_mut();
        let mut fields = Reader(extensions.remove().unwrap_or_default());
        values.record(&mut fields);
        extensions.insert(fields.0);
    }

    fn on_event(&self, event: &tracing::Event<'_>, context: Context<'_, S>) {
        let mut fields = Reader::default();
        event.record(&mut fields);
        let spans = context.event_scope(event).into_iter().flat_map(Scope::from_root);
        let spans = spans.map(|span| (span.name().to_owned(), span.extensions().get().cloned().unwrap_or_default()));
        let logged = Logged {
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            fields: fields.0,
            spans: spans.collect(),
        };
        self.events.lock().unwrap().push(logged);
    }
}

#[derive(Default)]
struct Reader(Fields);

impl Visit for Reader {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }
}

/// Knows clients and users, fails with a secret cause for the user `broken`, and throttles
/// the user `hasty`.
struct Directory(TestUsers);

#[async_trait]
impl Authenticator for Directory {
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        ClientSecrets.authenticate_client(attempt).await
    }

    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        match attempt.username {
            "broken" => Err(AuthenticatorError::new(CAUSE)),
            "hasty" => Ok(Verdict::Throttled { retry_after: Duration::MINUTE }),
            _ => self.0.authenticate_resource_owner(attempt).await,
        }
    }
}

/// An extension grant that fails because randomness is missing.
struct Broken(GrantType);

#[async_trait]
impl GrantHandler for Broken {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    async fn decide(&self, _: &GrantContext<'_>) -> Result<Decision, grantor::Error> {
        Err(EntropyError::new(CAUSE).into())
    }
}

fn post(target: &str, pairs: &[(&str, &str)], by: &TestClient) -> Request {
    let header = basic(&by.id, by.secret.as_ref().unwrap().expose());
    Request::post_form(target, form(pairs)).with_header("authorization", header)
}

struct Stage {
    t: TestServer,
    log: Log,
    events: RecordingObserver,
    app: TestClient,
    api: TestClient,
    _guard: DefaultGuard,
}

impl Stage {
    /// A server that logs, and a log that begins when its clients are registered.
    async fn new() -> Self {
        let (log, guard) = Log::start();
        let (events, users) = (RecordingObserver::default(), TestUsers::default());
        users.add("alice", PASSWORD);
        let mut policy = Policy::default();
        policy.dangerous().allow_password_grant = true;
        policy.dangerous().allow_implicit_grant = true;
        let observer = (events.clone(), TracingObserver);
        let t = TestServer::with(|builder| {
            let builder = builder.policy(policy).authenticator(Directory(users)).observer(observer);
            builder.server_key(SERVER_KEY, &[]).extension_grant(Broken(GrantType::new(EXTENSION).unwrap()))
        });
        let app = t.confidential_client_with(|client| {
            let client = client.authorization_code([CB]).implicit([CB]).refresh_token().client_credentials();
            client.password().extension_grant(EXTENSION).scope("user:read user:write")
        });
        let app = app.await;
        let api = t.confidential_client_with(ClientBuilder::resource_server).await;
        Self { t, log, events, app, api, _guard: guard }
    }

    async fn pending(&self) -> PendingAuthorization {
        self.t.authorize(&self.app).state(STATE).pending().await
    }

    async fn tokens(&self) -> TokenResponse {
        self.t.authorize(&self.app).approve_as("alice").await.redeem().await.unwrap()
    }

    async fn login(&self, username: &str, password: &str) -> Response {
        let owner =
            [("grant_type", "password"), ("username", username), ("password", password), ("scope", "user:read")];
        self.t.server.token(&post("/token", &owner, &self.app)).await
    }

    /// The one event since the last call: its level, the endpoint whose span it is in, and its fields without the
    /// grant's identifier, which must be there if and only if the event is about a grant.
    fn told(&self, about_a_grant: bool) -> (Level, Option<String>, Fields) {
        let Logged { level, target, mut fields, spans } = self.log.take_one();
        assert_eq!(target, "grantor");
        assert_eq!(fields.remove("grant_id").map(|id| id.len()), about_a_grant.then_some(22), "{fields:?}");
        let endpoint = match &spans[..] {
            [] => None,
            [(name, fields)] => {
                assert_eq!((name.as_str(), fields.len()), ("grantor", 1));
                Some(fields["endpoint"].clone())
            }
            more => panic!("too many spans: {more:?}"),
        };
        (level, endpoint, fields)
    }
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn refresh_of(tokens: &TokenResponse) -> &RefreshToken {
    tokens.refresh_token.as_ref().expect("a refresh token")
}

/// Approves a request while the storage fails, and not before that.
async fn approve_failing(t: &TestServer, pending: PendingAuthorization, approval: Approval, fault: Fault) {
    let next = pending.interaction(Some(&Subject::new("alice").unwrap().into())).await;
    t.faults.fail(1, fault);
    let response = match next {
        Interaction::Consent(consent) => consent.approve(approval).await,
        Interaction::Proceed(proceed) => proceed.approve_with(|_| approval).await,
        other => panic!("alice can approve: {other:?}"),
    };
    assert!(response.error().is_some());
}

#[tokio::test]
async fn authorization_is_logged_from_request_to_tokens() {
    let stage = Stage::new().await;
    let (t, app) = (&stage.t, stage.app.id.as_str());
    let grant = [("client_id", app), ("subject", "alice"), ("scope", "user:read")];
    let told = |level, endpoint: &str, pairs: &[(&str, &str)]| (level, Some(endpoint.to_owned()), fields(pairs));

    let refused = t.authorize(&stage.app).scope("admin").send().await;
    assert_eq!(refused.unwrap_err().error().refusal(), Some(&Refusal::UnknownScope));
    let expected =
        [("event", "authorization_refused"), ("client_id", app), ("code", "invalid_scope"), ("reason", "UnknownScope")];
    assert_eq!(stage.told(false), told(Level::INFO, "authorize", &expected));

    let _denied = stage.pending().await.deny();
    let expected = [("event", "authorization_denied"), ("client_id", app)];
    assert_eq!(stage.told(false), told(Level::INFO, "authorize", &expected));

    let approved = t.authorize(&stage.app).approve_as("alice").await;
    let expected =
        [&[("event", "authorization_approved"), ("what", "approved"), ("consent", "given")], &grant[..]].concat();
    assert_eq!(stage.told(true), told(Level::INFO, "authorize", &expected));

    let tokens = approved.redeem().await.unwrap();
    let issued = [("event", "tokens_issued"), ("grant_type", "authorization_code"), ("refresh_token", "true")];
    assert_eq!(stage.told(true), told(Level::INFO, "token", &[&issued, &grant[..]].concat()));

    t.refresh(&stage.app, refresh_of(&tokens)).await.unwrap();
    let issued = [("event", "tokens_issued"), ("grant_type", "refresh_token"), ("refresh_token", "true")];
    assert_eq!(stage.told(true), told(Level::INFO, "token", &[&issued, &grant[..]].concat()));

    t.refresh(&stage.app, refresh_of(&tokens)).await.unwrap();
    let expected = [&[("event", "refresh_repeated"), ("count", "1"), ("from", "unknown")], &grant[..]].concat();
    assert_eq!(stage.told(true), told(Level::INFO, "token", &expected));

    t.token_as(&stage.app, TokenRequest::client_credentials().scope("user:read")).await.unwrap();
    let expected = [
        ("event", "tokens_issued"),
        ("client_id", app),
        ("grant_type", "client_credentials"),
        ("scope", "user:read"),
        ("refresh_token", "false"),
    ];
    assert_eq!(stage.told(true), told(Level::INFO, "token", &expected));
}

#[tokio::test]
async fn replay_warns_and_its_refusal_is_info() {
    let stage = Stage::new().await;
    let (t, app) = (&stage.t, stage.app.id.as_str());
    let approved = t.authorize(&stage.app).approve_as("alice").await;
    approved.redeem().await.unwrap();
    let rotated = stage.tokens().await;
    t.refresh(&stage.app, refresh_of(&rotated)).await.unwrap();
    t.clock.advance(Duration::minutes(1) - Duration::SECOND);
    stage.log.clear();

    approved.redeem().await.unwrap_err();
    t.refresh(&stage.app, refresh_of(&rotated)).await.unwrap_err();
    let told: Vec<_> = stage.log.events().into_iter().map(|event| (event.level, event.fields)).collect();
    let expected = |event: &str, grant_id: &str| {
        let message = ("message", "grant revoked");
        fields(&[("event", event), ("grant_id", grant_id), ("client_id", app), ("subject", "alice"), message])
    };
    let refused = |grant_type: &str, reason: &str| {
        let event = ("event", "token_refused");
        let code = ("code", "invalid_grant");
        fields(&[event, ("client_id", app), ("grant_type", grant_type), code, ("reason", reason)])
    };
    assert_eq!(told.len(), 4, "{told:?}");
    assert_eq!(told[0], (Level::WARN, expected("code_replayed", &told[0].1["grant_id"])));
    assert_eq!(told[1], (Level::INFO, refused("authorization_code", "CodeReplayed")));
    assert_eq!(told[2], (Level::WARN, expected("refresh_token_reused", &told[2].1["grant_id"])));
    assert_eq!(told[3], (Level::INFO, refused("refresh_token", "RefreshTokenReused")));
}

#[tokio::test]
async fn repeat_from_another_peer_and_unoffered_scope_warn() {
    let stage = Stage::new().await;
    let t = &stage.t;
    let tokens = stage.tokens().await;
    let refresh = async |peer: [u8; 4]| {
        let secret = stage.app.secret.as_ref().unwrap().expose();
        let body = form(&[("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose())]);
        let request = Request::post_form("/token", body).with_header("authorization", basic(&stage.app.id, secret));
        assert_eq!(t.server.token(&request.with_peer(peer.into())).await.status(), 200);
    };
    refresh([192, 0, 2, 1]).await;
    stage.log.clear();
    refresh([192, 0, 2, 1]).await;
    refresh([192, 0, 2, 2]).await;
    let mut told = stage.log.events().into_iter().map(|event| {
        let [name, count, from] = ["event", "count", "from"].map(|name| event.fields[name].clone());
        (event.level, name, count, from)
    });
    let repeated = |level, count: &str, from: &str| (level, "refresh_repeated".into(), count.into(), from.into());
    assert_eq!(told.next().unwrap(), repeated(Level::INFO, "1", "same_peer"));
    assert_eq!(told.next().unwrap(), repeated(Level::WARN, "2", "other_peer"));

    let other = t.confidential_client_with(|client| client.client_credentials().scope("user:read mail:read")).await;
    stage.log.clear();
    t.token_as(&other, TokenRequest::client_credentials().scope("user:read")).await.unwrap();
    let first = stage.log.events().remove(0);
    let expected = [("event", "scope_not_offered"), ("client_id", &*other.id), ("scope", "mail:read")];
    assert_eq!((first.level, first.fields), (Level::WARN, fields(&expected)));
}

#[tokio::test]
async fn refused_client_is_logged_with_its_presented_id() {
    let stage = Stage::new().await;
    let (t, app) = (&stage.t, stage.app.id.as_str());
    let guess = Request::post_form("/token", "grant_type=client_credentials");
    let refused = |more: &[(&str, &str)]| {
        let code = [("event", "token_refused"), ("code", "invalid_client")];
        (Level::INFO, Some("token".to_owned()), fields(&[&code[..], more].concat()))
    };
    stage.log.clear();
    assert_eq!(t.server.token(&guess.with_header("authorization", basic(app, "not-the-secret"))).await.status(), 401);
    let reason = ("reason", "ClientAuthenticationFailed");
    assert_eq!(stage.told(false), refused(&[("presented_client_id", app), reason]));
    let guess = Request::post_form("/token", "grant_type=client_credentials");
    assert_eq!(t.server.token(&guess.with_header("authorization", basic("nobody", "x"))).await.status(), 401);
    assert_eq!(stage.told(false), refused(&[("reason", "UnknownClient")]));
}

#[tokio::test]
async fn later_token_events_name_their_endpoint() {
    let stage = Stage::new().await;
    let (t, app, api) = (&stage.t, stage.app.id.as_str(), stage.api.id.as_str());
    let tokens = stage.tokens().await;
    let token = [("token", tokens.access_token.expose())];
    stage.log.clear();
    let told = |level, endpoint: &str, pairs: &[(&str, &str)]| (level, Some(endpoint.to_owned()), fields(pairs));

    // Events of a resource server's own requests are at debug level, whatever the answer.
    assert_eq!(t.server.introspect(&post("/introspect", &token, &stage.api)).await.status(), 200);
    let introspected = [("event", "token_introspected"), ("client_id", api)];
    let expected = [&introspected[..], &[("active", "true")]].concat();
    assert_eq!(stage.told(true), told(Level::DEBUG, "introspect", &expected));
    let unknown = [("token", "unknown")];
    assert_eq!(t.server.introspect(&post("/introspect", &unknown, &stage.api)).await.status(), 200);
    let expected = [&introspected[..], &[("active", "false")]].concat();
    assert_eq!(stage.told(false), told(Level::DEBUG, "introspect", &expected));

    assert_eq!(t.server.revoke(&post("/revoke", &token, &stage.api)).await.status(), 400);
    let foreign = ("reason", "NotYourToken");
    let expected = [("event", "revocation_refused"), ("client_id", api), ("code", "unauthorized_client"), foreign];
    assert_eq!(stage.told(false), told(Level::INFO, "revoke", &expected));

    assert_eq!(t.server.revoke(&post("/revoke", &token, &stage.app)).await.status(), 200);
    let expected = [("event", "token_revoked"), ("client_id", app), ("subject", "alice"), ("kind", "AccessToken")];
    assert_eq!(stage.told(true), told(Level::INFO, "revoke", &expected));

    assert!(t.bearer(&tokens.access_token).await.is_err());
    let not_live = ("reason", "NotLive");
    let expected = [("event", "bearer_refused"), ("client_id", app), ("code", "invalid_token"), not_live];
    assert_eq!(stage.told(true), told(Level::INFO, "bearer", &expected));
    assert!(t.server.bearer(&Request::get("/me")).await.is_err());
    assert_eq!(stage.told(false), told(Level::INFO, "bearer", &[("event", "bearer_refused"), ("reason", "NoToken")]));

    assert_eq!(t.server.introspect(&Request::post_form("/introspect", form(&token))).await.status(), 401);
    let missing = ("reason", "MissingClientAuthentication");
    let expected = [("event", "introspection_refused"), ("code", "invalid_client"), missing];
    assert_eq!(stage.told(false), told(Level::INFO, "introspect", &expected));

    t.revoke_grants(&GrantSelector::Subject(Subject::new("alice").unwrap())).await.unwrap();
    let which = ("which", "Subject(Subject(\"alice\"))");
    let expected = (Level::INFO, None, fields(&[("event", "grants_revoked"), which, ("count", "1")]));
    assert_eq!(stage.told(false), expected);
}

#[tokio::test]
async fn endpoint_span_names_the_endpoint_and_nothing_else() {
    let stage = Stage::new().await;
    let t = &stage.t;
    let session = "the-session-of-alice";
    let pending = stage.pending().await;
    let alice = Subject::new("alice").unwrap();
    let form_token = grantor::testing::ask(pending, alice).await.form_token(session);
    stage.log.clear();
    let request = Request::get("/nothing");
    let _ = t.server.authorize(&request).await;
    let _ = t.resume(&form_token, session).await.unwrap().approve(Approval::by(Subject::new("alice").unwrap())).await;
    let _ = t.server.token(&request).await;
    let _ = t.server.revoke(&request).await;
    let _ = t.server.introspect(&request).await;
    let _ = t.server.metadata(&request);
    let _ = t.server.resource_metadata(&request);
    let _ = t.server.bearer(&request).await;
    let of_http = ["authorize", "resume", "authorize", "token", "revoke", "introspect"].into_iter();
    let of_http = of_http.chain(["metadata", "resource_metadata", "bearer"]);

    let unknown = AccessToken::new("unknown");
    let _ = t.authorization_request(&AuthorizationRequest::code("nobody")).await;
    let _ = t.resume_form(&request, session).await.unwrap_err();
    let _ = t.token_request(&TokenRequest::client_credentials()).await.unwrap_err();
    let _ = t.revocation_request(&RevocationRequest::access_token(&unknown)).await.unwrap_err();
    let _ = t.introspection_request(&IntrospectionRequest::of("unknown")).await.unwrap_err();
    let _ = t.bearer_request(&BearerRequest::of(&unknown)).await.unwrap_err();
    let expected = of_http.chain(["authorize", "resume", "token", "revoke", "introspect", "bearer"]);
    let expected = expected.map(|endpoint| (Level::INFO, "grantor".to_owned(), fields(&[("endpoint", endpoint)])));
    assert_eq!(*stage.log.spans.lock().unwrap(), expected.collect::<Vec<_>>());
}

/// A capability with one endpoint, which returns an empty response.
struct Silence;

#[async_trait]
impl Capability for Silence {
    fn name(&self) -> &'static str {
        "silence"
    }

    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
        vec![Endpoint::new("silent", build.url("/silence"))]
    }

    async fn respond(&self, _: &str, _: &Request, _: ServerView<'_>) -> Response {
        tracing::info!("said within");
        Response::new(204)
    }
}

#[tokio::test]
async fn span_of_a_handled_request_is_named_as_its_route() {
    let (log, _guard) = Log::start();
    let resource = ProtectedResource::new("https://id.example/api");
    let t = TestServer::with(|builder| builder.protected_resource(resource).capability(Silence));
    let mut names = Vec::new();
    for route in t.server.routes().iter().filter(|route| route.served_by() == ServedBy::Library) {
        let _ = t.server.handle(&Request::get(route.path())).await;
        names.push(route.endpoint());
    }
    assert_eq!(names, ["token", "revoke", "introspect", "metadata", "resource_metadata", "silent"]);
    let expected = names.iter().map(|name| (Level::INFO, "grantor".to_owned(), fields(&[("endpoint", name)])));
    assert_eq!(*log.spans.lock().unwrap(), expected.collect::<Vec<_>>());
    let within = vec![("grantor".to_owned(), fields(&[("endpoint", "silent")]))];
    assert_eq!(log.events().last().map(|event| event.spans.clone()), Some(within));
}

#[tokio::test]
async fn host_failure_logs_an_error_without_its_cause() {
    let stage = Stage::new().await;
    let (t, app) = (&stage.t, stage.app.id.as_str());
    let tokens = stage.tokens().await;
    let token = [("token", tokens.access_token.expose())];
    stage.log.clear();
    let error = |endpoint: &str, pairs: &[(&str, &str)]| (Level::ERROR, Some(endpoint.to_owned()), fields(pairs));
    let (failed, away) = (("error", "the storage failed"), ("error", "the storage is temporarily unavailable"));
    let (server_error, unavailable) = (("code", "server_error"), ("code", "temporarily_unavailable"));

    t.faults.fail(1, Fault::Failed);
    let _ = t.authorize(&stage.app).send().await;
    assert_eq!(stage.told(false), error("authorize", &[("event", "authorization_refused"), server_error, failed]));
    let pending = stage.pending().await;
    approve_failing(t, pending, Approval::by(Subject::new("alice").unwrap()), Fault::Unavailable).await;
    let refused = [("event", "authorization_refused"), ("client_id", app), unavailable, away];
    assert_eq!(stage.told(false), error("authorize", &refused));

    t.faults.fail(3, Fault::Unavailable);
    assert_eq!(t.server.revoke(&post("/revoke", &token, &stage.app)).await.status(), 503);
    let refused = [("event", "revocation_refused"), ("client_id", app), unavailable, away];
    assert_eq!(stage.told(false), error("revoke", &refused));
    t.faults.fail(2, Fault::Failed);
    assert_eq!(t.server.introspect(&post("/introspect", &token, &stage.app)).await.status(), 500);
    let refused = [("event", "introspection_refused"), ("client_id", app), server_error, failed];
    assert_eq!(stage.told(false), error("introspect", &refused));
    t.faults.fail(1, Fault::Failed);
    assert!(t.bearer(&tokens.access_token).await.is_err());
    assert_eq!(stage.told(false), error("bearer", &[("event", "bearer_refused"), server_error, failed]));
    assert!(t.bearer(&tokens.access_token).await.unwrap().require("never:offered").is_err());
    let mistake =
        "an extension of the host app broke its contract: a resource requires a scope that the server does not offer";
    let refused = fields(&[("event", "bearer_refused"), ("client_id", app), server_error, ("error", mistake)]);
    assert_eq!(stage.told(true), (Level::ERROR, None, refused), "the event is about the grant of the token");
    let which = GrantSelector::Subject(Subject::new("alice").unwrap());
    t.faults.fail(1, Fault::Unavailable);
    assert!(t.revoke_grants(&which).await.is_err());
    let event = ("event", "grants_revocation_failed");
    let refused = fields(&[event, ("which", "Subject(Subject(\"alice\"))"), unavailable, away]);
    assert_eq!(stage.told(false), (Level::ERROR, None, refused));

    let of_password = [("event", "token_refused"), ("client_id", app), ("grant_type", "password")];
    assert_eq!(stage.login("broken", PASSWORD).await.status(), 500);
    let cause = [server_error, ("error", "the authenticator failed")];
    assert_eq!(stage.told(false), error("token", &[&of_password[..], &cause].concat()));
    let extension = [("event", "token_refused"), ("client_id", app), ("grant_type", EXTENSION), server_error];
    let request = post("/token", &[("grant_type", EXTENSION)], &stage.app);
    assert_eq!(t.server.token(&request).await.status(), 500);
    let cause = [("error", "the source of randomness failed")];
    assert_eq!(stage.told(false), error("token", &[&extension[..], &cause].concat()));

    assert_eq!(stage.login("hasty", PASSWORD).await.status(), 429);
    let wait = fields(&[&of_password[..], &[unavailable, ("reason", "throttled")]].concat());
    assert_eq!(stage.told(false), (Level::INFO, Some("token".to_owned()), wait));
    assert!(!stage.log.everything().contains("a test made") && !stage.log.everything().contains(CAUSE));
}

/// A text that must not appear anywhere, in each spelling in which it is sent.
fn spellings(secret: &str) -> Vec<String> {
    let escaped: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
    vec![secret.to_owned(), escaped, secret.escape_debug().to_string(), STANDARD.encode(secret)]
}

// covers: B34
#[tokio::test]
#[expect(clippy::too_many_lines, reason = "one run from end to end, so that one search covers it all")]
async fn full_run_logs_every_observed_event_and_no_secret() {
    let stage = Stage::new().await;
    let t = &stage.t;
    let mut secrets: Vec<(&str, String)> = vec![
        ("password", PASSWORD.to_owned()),
        ("verifier", VERIFIER.to_owned()),
        ("host data", HOST_DATA.to_owned()),
        ("state", STATE.to_owned()),
        ("cause of a failure", CAUSE.to_owned()),
        ("cause of a storage's failure", "a test made this call".to_owned()),
        ("server key", String::from_utf8(SERVER_KEY.to_vec()).unwrap()),
    ];
    for client in [&stage.app, &stage.api] {
        let secret = client.secret.as_ref().unwrap().expose();
        secrets.push(("client secret", secret.to_owned()));
        secrets.push(("basic header", basic(&client.id, secret)["Basic ".len()..].to_owned()));
    }
    let mut keep = |what: &'static str, tokens: &TokenResponse| {
        secrets.push((what, tokens.access_token.expose().to_owned()));
        if let Some(token) = &tokens.refresh_token {
            secrets.push((what, token.expose().to_owned()));
        }
    };

    // Each grant type, with and without a fault, a repetition and a replay.
    let session = "the-session-of-alice";
    let alice = Subject::new("alice").unwrap();
    let form_token = grantor::testing::ask(stage.pending().await, alice).await.form_token(session);
    let approval = || Approval::by(Subject::new("alice").unwrap()).host_data(json!({ "note": HOST_DATA }));
    let resumed = t.resume(&form_token, session).await.unwrap().approve(approval()).await;
    let code = resumed.code().unwrap().expose().to_owned();
    assert!(t.resume(&form_token, "another-session").await.is_err());
    let approved = t.authorize(&stage.app).approve(approval()).await;
    let approved_code = approved.code().expose().to_owned();
    let first = approved.redeem().await.unwrap();
    keep("code grant", &first);
    let second = t.refresh(&stage.app, refresh_of(&first)).await.unwrap();
    keep("refreshed", &second);
    t.refresh(&stage.app, refresh_of(&first)).await.unwrap();
    for fault in [Fault::Failed, Fault::Unavailable, Fault::LostAnswer] {
        t.faults.fail(3, fault);
        t.refresh(&stage.app, refresh_of(&second)).await.unwrap_err();
    }
    approved.redeem().await.unwrap_err();
    let reused = stage.tokens().await;
    keep("reused", &reused);
    keep("its successor", &t.refresh(&stage.app, refresh_of(&reused)).await.unwrap());
    t.clock.advance(Duration::minutes(1));
    t.refresh(&stage.app, refresh_of(&reused)).await.unwrap_err();
    keep("machine", &t.token_as(&stage.app, TokenRequest::client_credentials().scope("user:read")).await.unwrap());
    let answer = stage.login("alice", PASSWORD).await;
    let of_password = common::json(&answer)["access_token"].as_str().unwrap().to_owned();
    assert_eq!(stage.login("alice", "another-guess-at-it").await.status(), 400);
    for (username, status) in [("broken", 500), ("hasty", 429)] {
        assert_eq!(stage.login(username, PASSWORD).await.status(), status);
    }
    let implicit = form(&[
        ("response_type", "token"),
        ("client_id", &stage.app.id),
        ("redirect_uri", CB),
        ("scope", "user:read"),
        ("state", STATE),
    ]);
    let AuthorizationOutcome::Pending(pending) =
        t.server.authorize(&Request::get(format!("/authorize?{implicit}"))).await
    else {
        panic!("the request is valid");
    };
    let in_fragment = grantor::testing::approve(pending, approval()).await;
    let in_fragment = in_fragment.access_token().unwrap().expose().to_owned();
    let _ = stage.pending().await.deny();
    let pending = stage.pending().await;
    approve_failing(t, pending, approval(), Fault::Failed).await;

    // Requests with every kind of fault, full of values that must not be echoed.
    let live = stage.tokens().await;
    keep("live", &live);
    let junk = "a-secret-in-the-wrong-place";
    for target in ["/authorize", "/token", "/revoke", "/introspect"] {
        for request in [
            Request::get(format!("{target}?client_secret={junk}&token={junk}&state={junk}&client_id={junk}")),
            Request::post_form(format!("{target}?password={junk}"), format!("{junk}={junk}&token={junk}&code={junk}")),
            Request::post_form(target, form(&[("grant_type", junk), ("token", junk), ("client_id", junk)])),
            Request::post_form(target, format!("token={junk}&token={junk}&grant_type={junk}&scope={junk}%")),
            post(target, &[("grant_type", junk), ("token", live.access_token.expose())], &stage.app),
            post(target, &[("token", refresh_of(&live).expose())], &stage.api),
            Request::post_form(target, "token=x&grant_type=password")
                .with_header("authorization", basic(&stage.app.id, junk)),
            Request::post_form(target, "token=x").with_header("authorization", format!("Bearer {junk}")),
        ] {
            match target {
                "/authorize" => drop(t.server.authorize(&request).await),
                "/token" => drop(t.server.token(&request).await),
                "/revoke" => drop(t.server.revoke(&request).await),
                _ => drop(t.server.introspect(&request).await),
            }
        }
    }
    for endpoint in ["/revoke", "/introspect"] {
        for step in 1..=3 {
            let tokens = stage.tokens().await;
            keep("lost", &tokens);
            let request = post(endpoint, &[("token", refresh_of(&tokens).expose())], &stage.app);
            t.faults.fail(step, Fault::Failed);
            let _ = if endpoint == "/revoke" {
                t.server.revoke(&request).await
            } else {
                t.server.introspect(&request).await
            };
            let _ = t.server.revoke(&request).await;
        }
    }
    assert!(t.bearer(&AccessToken::new(junk)).await.is_err());
    let of_header =
        Request::get(format!("/me?access_token={junk}")).with_header("authorization", format!("Bearer {junk}"));
    assert!(t.server.bearer(&of_header).await.is_err());
    let _ = t.server.metadata(&Request::get(format!("{}?token={junk}", t.metadata_path())));
    let of_alice = GrantSelector::Subject(Subject::new("alice").unwrap());
    t.faults.fail(1, Fault::Failed);
    t.revoke_grants(&of_alice).await.unwrap_err();
    t.revoke_grants(&of_alice).await.unwrap();
    while t.purge(100).await.unwrap() == 100 {}
    let unused = ClientSecret::generate(&t.entropy as &dyn Entropy).unwrap();

    let log = stage.log.everything();
    secrets.extend([
        ("code", code),
        ("redeemed code", approved_code),
        ("token of the password grant", of_password),
        ("token in a fragment", in_fragment),
        ("form token", form_token),
        ("session", session.to_owned()),
        ("wrong guess", "another-guess-at-it".to_owned()),
        ("junk", junk.to_owned()),
    ]);
    assert!(secrets.len() > 40, "{}", secrets.len());
    for (what, secret) in &secrets {
        assert!(secret.len() >= 12, "too short to be looked for: {what}");
        for spelling in spellings(secret) {
            assert!(!log.contains(&spelling), "the log holds the {what} {spelling}");
        }
    }
    // The search finds present values.
    let mut seeded = log.clone();
    write!(seeded, "{}", unused.expose()).unwrap();
    assert!(spellings(unused.expose()).iter().any(|spelling| seeded.contains(spelling)));

    // All observed events were logged in the same order, and these kinds occurred.
    let logged: Vec<String> = stage.log.events().iter().map(|event| event.fields["event"].clone()).collect();
    assert_eq!(logged, stage.events.names());
    let expected: BTreeSet<&str> = [
        "authorization_refused",
        "authorization_stale",
        "authorization_approved",
        "authorization_denied",
        "tokens_issued",
        "refresh_repeated",
        "token_refused",
        "code_replayed",
        "refresh_token_reused",
        "token_revoked",
        "revocation_refused",
        "token_introspected",
        "introspection_refused",
        "grants_revoked",
        "grants_revocation_failed",
        "bearer_refused",
    ]
    .into();
    assert_eq!(logged.iter().map(String::as_str).collect::<BTreeSet<_>>(), expected);
}

// Regression: failures of signing keys were not logged.
#[cfg(feature = "jwt")]
#[tokio::test]
async fn failing_keys_are_logged_as_error_without_the_cause() {
    use grantor::jose::{Algorithm, KeyError, Keys, PublicKey, Signer};

    /// Keys that can be read only once, when the server is built.
    #[derive(Default)]
    struct Broken(std::sync::atomic::AtomicBool);

    #[async_trait]
    impl Keys for Broken {
        fn algorithms(&self) -> &[Algorithm] {
            &[Algorithm::Es256]
        }

        async fn signer(&self, _: Algorithm) -> Result<Arc<dyn Signer>, KeyError> {
            Err(KeyError::Unavailable(CAUSE.into()))
        }

        async fn published(&self) -> Result<Arc<[PublicKey]>, KeyError> {
            let fails = self.0.swap(true, std::sync::atomic::Ordering::SeqCst);
            if fails { Err(KeyError::Unavailable(CAUSE.into())) } else { Ok(Arc::new([])) }
        }
    }

    let (log, _guard) = Log::start();
    let keys = grantor::SigningKeys::new(Broken::default());
    let t = TestServer::with(|builder| builder.signing_keys(keys).observer(TracingObserver));
    assert_eq!(t.server.handle(&Request::get("/jwks")).await.status(), 503);
    let logged = log.take_one();
    let expected = [
        ("event", "keys_unavailable"),
        ("code", "temporarily_unavailable"),
        ("error", "the signing of tokens is temporarily unavailable"),
    ];
    assert_eq!((logged.level, &*logged.target, logged.fields), (Level::ERROR, "grantor", fields(&expected)));
    assert!(!log.everything().contains(CAUSE));
}

#[cfg(any(feature = "axum", feature = "actix-web"))]
impl Stage {
    /// Asserts that a request was refused in the span of the token endpoint, which is inside the span `outer`.
    fn assert_refused_within(&self, outer: &str) {
        let logged = self.log.take_one();
        assert_eq!(logged.fields["event"], "token_refused");
        let spans = [(outer, [("id", "7")]), ("grantor", [("endpoint", "token")])];
        assert_eq!(logged.spans, spans.map(|(name, pairs)| (name.to_owned(), fields(&pairs))));
    }
}

#[cfg(feature = "axum")]
#[tokio::test]
async fn run_to_completion_keeps_the_request_span() {
    use tower::ServiceExt;
    use tracing::Instrument;

    let stage = Stage::new().await;
    let router: axum::Router = grantor::axum::routes(&stage.t.server);
    let request = http::Request::post("/token").body(axum::body::Body::empty()).unwrap();
    let span = tracing::info_span!("request", id = 7);
    assert_eq!(router.oneshot(request).instrument(span).await.unwrap().status().as_u16(), 400);
    stage.assert_refused_within("request");
}

#[cfg(feature = "actix-web")]
#[tokio::test(flavor = "local")]
async fn run_to_completion_on_actix_keeps_the_request_span() {
    use actix_web::test::{TestRequest, call_service, init_service};
    use tracing::Instrument;

    let stage = Stage::new().await;
    let app = init_service(actix_web::App::new().configure(grantor::actix::routes(&stage.t.server))).await;
    let request = TestRequest::post().uri("/token").to_request();
    let span = tracing::info_span!("request", id = 7);
    assert_eq!(call_service(&app, request).instrument(span).await.status().as_u16(), 400);
    stage.assert_refused_within("request");

    let span = tracing::info_span!("approval", id = 7);
    let server = stage.t.server.clone();
    let work = async move { server.token(&Request::post_form("/token", "")).await.status() };
    assert_eq!(grantor::actix::run_to_completion(work).instrument(span).await, 400);
    stage.assert_refused_within("approval");
}

// A fetch that fails is no failure of the host app, so it is a warning. The cause helps the operator.
#[cfg(feature = "jwt")]
#[tokio::test]
async fn failed_fetch_is_logged_as_warning_with_its_cause() {
    use grantor::http_client::{FetchError, GetRequest, GetResponse};

    struct Down;

    #[async_trait]
    impl grantor::HttpClient for Down {
        async fn get(&self, _: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
            Err(FetchError::Connection("refused\nby the host".into()))
        }
    }

    let t = TestServer::with(|builder| {
        builder.client_signatures(grantor::ClientSignatures::new()).http_client(Down).observer(TracingObserver)
    });
    let client = grantor::Client::private_key_jwt("app").jwks_uri("https://app.example/jwks").client_credentials();
    t.register(client.scope("user:read").build(), None).await;
    // The header {"alg":"ES256"}, the claims {"sub":"app"}, and a signature of the right length.
    let assertion = format!("eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhcHAifQ.{}", "A".repeat(86));
    let (log, _guard) = Log::start();
    let pairs = [
        ("grant_type", "client_credentials"),
        ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
        ("client_assertion", &assertion),
    ];
    assert_eq!(t.server.token(&Request::post_form("/token", form(&pairs))).await.status(), 503);
    let [fetch, refused] = <[Logged; 2]>::try_from(log.events.lock().unwrap().clone()).unwrap();
    let error = "a document could not be fetched: the connection failed";
    let expected = [
        ("event", "fetch_failed"),
        ("client_id", "app"),
        ("url", "https://app.example/jwks"),
        ("purpose", "client_keys"),
        ("cause", r#""refused\nby the host""#),
        ("error", error),
    ];
    assert_eq!((fetch.level, fetch.fields), (Level::WARN, fields(&expected)));
    let expected = [
        ("event", "token_refused"),
        ("presented_client_id", "app"),
        ("code", "temporarily_unavailable"),
        ("error", error),
    ];
    assert_eq!((refused.level, refused.fields), (Level::WARN, fields(&expected)));
}
