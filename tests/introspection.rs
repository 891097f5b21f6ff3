//! The introspection endpoint (RFC 7662).

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::client::ClientBuilder;
use grantor::customizer::{Inspection, RESERVED_MEMBERS, TokenCustomizer};
use grantor::error::CustomizerError;
use grantor::testing::{Fault, ISSUER, TestClient, TestServer};
use grantor::{
    AccessToken, Approval, Clock, Error, Event, EventKind, GrantId, Introspection, IntrospectionRequest, Observer,
    Policy, RefreshToken, Refusal, Request, Response, Subject, SubjectStatus, TokenRequest,
};
use serde_json::{Map, Value, json};
use time::Duration;

#[path = "common/mod.rs"]
mod common;
#[path = "common/token_sent.rs"]
mod token_sent;
use common::{CB, basic, confidential, json, public, text};
use token_sent::{Endpoint, refresh_of, tokens_of};

const INTROSPECT: Endpoint = Endpoint("/introspect");

/// The start time of a test server's clock, in seconds.
const START: i64 = 1_767_225_600;

/// Sends a request that must be answered, with one event.
async fn answered(t: &TestServer, request: &Request) -> Response {
    let told = t.events.events().len();
    let response = t.server.introspect(request).await;
    assert_eq!(response.status(), 200, "{}", text(&response));
    let mut names = t.events.names().split_off(told);
    names.retain(|name| *name != "customizer_member_dropped");
    assert_eq!(names, ["token_introspected"]);
    let headers: Vec<_> = response.headers().collect();
    let expected = [("cache-control", "no-store"), ("pragma", "no-cache"), ("content-type", "application/json")];
    assert_eq!(headers, expected);
    response
}

/// A customizer of introspection answers, as a function.
struct Members<F>(F);

#[async_trait]
impl<F> TokenCustomizer for Members<F>
where
    F: Fn(&Inspection<'_>) -> Result<Option<Map<String, Value>>, Error> + Send + Sync,
{
    async fn introspection(&self, inspection: &Inspection<'_>) -> Result<Option<Map<String, Value>>, Error> {
        (self.0)(inspection)
    }
}

/// The response that a caller gets when the customizer tries to add all reserved members.
async fn customized(t: &TestServer, caller: &TestClient, token: &str) -> Value {
    let told = t.events.events().len();
    let members = active(t, caller, token).await;
    let mut dropped = t.events.events().split_off(told);
    dropped.retain(|event| event.name == "customizer_member_dropped");
    assert_eq!(dropped.len(), RESERVED_MEMBERS.len());
    for (event, member) in dropped.iter().zip(RESERVED_MEMBERS) {
        assert!(event.text.contains(&caller.id) && event.text.contains(&format!("{member:?}")), "{}", event.text);
    }
    members
}

/// The response about a token that the caller may know.
async fn active(t: &TestServer, caller: &TestClient, token: &str) -> Value {
    let response = answered(t, &INTROSPECT.request_by(caller, &[("token", token)])).await;
    let members = json(&response);
    assert_eq!(members["active"], true, "{members}");
    members
}

/// The response about a token that is dead, unknown or not visible to the caller, without any detail.
async fn assert_inactive(t: &TestServer, caller: &TestClient, token: &str) {
    let response = answered(t, &INTROSPECT.request_by(caller, &[("token", token)])).await;
    assert_eq!(text(&response), r#"{"active":false}"#, "{token}");
}

/// A server that tells clients about their refresh tokens, too.
fn telling_of_refresh_tokens() -> TestServer {
    TestServer::with_policy(|policy| policy.introspect_refresh_tokens = true)
}

async fn api(t: &TestServer) -> TestClient {
    t.confidential_client_with(ClientBuilder::resource_server).await
}

async fn machine_token(t: &TestServer, machine: &TestClient) -> AccessToken {
    t.token_as(machine, TokenRequest::client_credentials().scope("user:read")).await.unwrap().access_token
}

// covers: IN-07 (RFC 7662 §2.2), IN-12 (RFC 7662 §2.2), IN-17 (RFC 7662 §4), AMB-20
#[tokio::test]
async fn introspection_tells_resource_server_about_access_token() {
    let t = TestServer::new();
    let (api, app) = (api(&t).await, t.public_client(CB).await);
    t.clock.advance(Duration::milliseconds(1_999));
    let flow = t.authorize(&app).scope("user:read user:write");
    let tokens = flow.approve_as("alice").await.redeem().await.unwrap();
    let expected = json!({
        "active": true,
        "scope": "user:read user:write",
        "client_id": app.id,
        "sub": "alice",
        "iss": ISSUER,
        "iat": START + 1,
        "exp": START + 1 + 3_600,
        "token_type": "Bearer",
    });
    let told = active(&t, &api, tokens.access_token.expose()).await;
    assert_eq!(told, expected);
    assert!(told["iat"].is_i64() && told["exp"].is_i64(), "integers: {told}");
    assert_eq!(t.events.count("introspection_refused"), 0);
}

// covers: IN-12 (RFC 7662 §2.2)
#[tokio::test]
async fn introspection_scope_is_the_scope_of_the_token() {
    let t = TestServer::new();
    let (api, app) = (api(&t).await, t.public_client(CB).await);
    let flow = t.authorize(&app).scope("user:read user:write");
    let tokens = flow.approve_as("alice").await.redeem().await.unwrap();
    let narrow = TokenRequest::refresh_token(refresh_of(&tokens)).scope("user:read");
    let narrow = t.token_as(&app, narrow).await.unwrap();
    assert_eq!(active(&t, &api, narrow.access_token.expose()).await["scope"], "user:read");
}

// covers: GK-06 (RFC 9700 §4.15.1), BC-02 (RFC 9700 §4.15.1)
#[tokio::test]
async fn introspection_of_machine_token_has_no_resource_owner() {
    let t = TestServer::with(|builder| {
        builder.token_customizer(Members(|_: &Inspection<'_>| {
            let members = json!({ "sub": "alice", "username": "alice@example.com", "org": "example" });
            Ok(members.as_object().cloned())
        }))
    });
    let api = api(&t).await;
    // The identifier of a machine may equal the name of a user.
    let secret = grantor::ClientSecret::new("the-secret-of-a-machine");
    let machine = grantor::Client::confidential("alice", grantor::ClientCredential::secret(&secret));
    let machine = t.register(machine.client_credentials().scope("user:read").build(), Some(secret)).await;
    let app = t.public_client(CB).await;
    let of_machine = active(&t, &api, machine_token(&t, &machine).await.expose()).await;
    let names: Vec<&str> = of_machine.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(names, ["active", "client_id", "exp", "iat", "iss", "org", "scope", "token_type"]);
    assert_eq!(of_machine["client_id"], "alice");
    let of_user = active(&t, &api, tokens_of(&t, &app).await.access_token.expose()).await;
    assert_eq!((&of_user["sub"], &of_user["username"]), (&json!("alice"), &json!("alice@example.com")));
}

// covers: IN-08 (RFC 7662 §2.2), IN-09 (RFC 7662 §2.2), IN-11 (RFC 7662 §4), IN-17 (RFC 7662 §4)
#[tokio::test]
async fn introspection_of_dead_token_says_only_inactive() {
    let t = telling_of_refresh_tokens();
    let (api, app) = (api(&t).await, t.confidential_client(CB).await);
    for token in ["garbage", " ", "\u{e9}\0", &"x".repeat(4_000), ISSUER] {
        assert_inactive(&t, &api, token).await;
    }
    let approved = t.authorize(&app).approve_as("alice").await;
    let code = approved.code().expose();
    assert_inactive(&t, &api, code).await;
    assert_inactive(&t, &app, code).await;
    approved.redeem().await.unwrap();

    let revoked = tokens_of(&t, &app).await;
    let secret = app.secret.as_ref().unwrap();
    let revocation = grantor::RevocationRequest::access_token(&revoked.access_token);
    t.revocation_request(&revocation.client_secret_basic(&app.id, secret)).await.unwrap();
    assert_inactive(&t, &api, revoked.access_token.expose()).await;
    assert_inactive(&t, &app, revoked.access_token.expose()).await;
    assert_eq!(active(&t, &app, refresh_of(&revoked).expose()).await["sub"], "alice", "the grant is live");

    let revocation = grantor::RevocationRequest::refresh_token(refresh_of(&revoked));
    let of_grant = t.refresh(&app, refresh_of(&revoked)).await.unwrap();
    assert_inactive(&t, &app, refresh_of(&revoked).expose()).await; // spent
    active(&t, &app, refresh_of(&of_grant).expose()).await;
    t.revocation_request(&revocation.client_secret_basic(&app.id, secret)).await.unwrap();
    for token in [of_grant.access_token.expose(), refresh_of(&of_grant).expose()] {
        assert_inactive(&t, &api, token).await;
        assert_inactive(&t, &app, token).await;
    }

    let expired = tokens_of(&t, &app).await;
    t.clock.advance(Duration::hours(1) - Duration::microseconds(1));
    active(&t, &api, expired.access_token.expose()).await;
    t.clock.advance(Duration::microseconds(1));
    assert_inactive(&t, &api, expired.access_token.expose()).await;
    active(&t, &app, refresh_of(&expired).expose()).await;
    t.clock.advance(Duration::days(14));
    assert_inactive(&t, &app, refresh_of(&expired).expose()).await;
    assert_eq!(t.events.count("introspection_refused"), 0, "an inactive token is no error");
}

// covers: IN-03 (RFC 7662 §4), IN-08 (RFC 7662 §2.2), AMB-20, B24
#[tokio::test]
async fn other_clients_introspect_only_their_own_tokens() {
    let t = telling_of_refresh_tokens();
    let (app, other) = (t.confidential_client(CB).await, t.confidential_client(CB).await);
    let tokens = tokens_of(&t, &app).await;
    let machine = machine_token(&t, &app).await;
    for token in [tokens.access_token.expose(), refresh_of(&tokens).expose(), machine.expose()] {
        assert_inactive(&t, &other, token).await;
        assert_eq!(active(&t, &app, token).await["client_id"], app.id.as_str());
    }
}

/// If refresh tokens were active, the holder of an old one could find out secretly whether it was spent.
// covers: AMB-20
#[tokio::test]
async fn refresh_tokens_are_inactive_by_default() {
    let (t, app) = confidential().await;
    let spent = tokens_of(&t, &app).await;
    let unspent = t.refresh(&app, refresh_of(&spent)).await.unwrap();
    for token in [refresh_of(&spent), refresh_of(&unspent)] {
        assert_inactive(&t, &app, token.expose()).await;
    }
    active(&t, &app, unspent.access_token.expose()).await;
    assert!(t.refresh(&app, refresh_of(&unspent)).await.is_ok(), "introspection does not use the token");
}

// covers: IN-03 (RFC 7662 §4), AMB-20
#[tokio::test]
async fn resource_server_never_sees_an_active_refresh_token() {
    let t = TestServer::with(|builder| {
        let members = Map::from_iter([("token_type".to_owned(), json!("Bearer"))]);
        let mut policy = Policy::default();
        policy.introspect_refresh_tokens = true;
        builder.policy(policy).token_customizer(Members(move |_: &Inspection<'_>| Ok(Some(members.clone()))))
    });
    let (api, app) = (api(&t).await, t.public_client(CB).await);
    let tokens = tokens_of(&t, &app).await;
    active(&t, &api, tokens.access_token.expose()).await;
    assert_inactive(&t, &api, refresh_of(&tokens).expose()).await;

    let own = t.confidential_client_with(|client| {
        client.resource_server().authorization_code([CB]).refresh_token().scope("user:read")
    });
    let own = own.await;
    let tokens = tokens_of(&t, &own).await;
    assert_eq!(active(&t, &own, tokens.access_token.expose()).await["token_type"], "Bearer");
    let told = active(&t, &own, refresh_of(&tokens).expose()).await;
    assert_eq!(told.get("token_type"), None, "{told}");
    assert_eq!((&told["sub"], &told["exp"]), (&json!("alice"), &json!(START + 14 * 86_400)));
}

// covers: IN-02 (RFC 7662 §2.1), IN-03 (RFC 7662 §4), B24
#[tokio::test]
async fn introspection_refuses_a_public_client() {
    let (t, app) = public().await;
    let tokens = tokens_of(&t, &app).await;
    for token in [tokens.access_token.expose(), refresh_of(&tokens).expose(), "garbage", ""] {
        let calls = t.faults.calls();
        let request = INTROSPECT.request_by(&app, &[("token", token)]);
        let response = INTROSPECT.refused(&t, &request, 400, "unauthorized_client", "IntrospectionNotAllowed").await;
        assert_eq!(t.faults.calls() - calls, 1, "the token was looked up");
        assert_eq!(json(&response)["error_description"], "the client may not introspect tokens");
        assert!(t.events.events().pop().unwrap().text.contains(&app.id));
    }
}

// covers: IN-02 (RFC 7662 §2.1), IN-04 (RFC 7662 §2.3), CA-26 (RFC 7662 §2.1), B24
#[tokio::test]
async fn failed_authentication_answers_like_token_endpoint() {
    let t = TestServer::new();
    let (api, app) = (api(&t).await, t.public_client(CB).await);
    INTROSPECT.assert_authenticates(&t, &api, &tokens_of(&t, &app).await).await;
}

// covers: CA-26 (RFC 7662 §2.1)
#[tokio::test]
async fn caller_may_authenticate_by_header_or_body() {
    let t = TestServer::new();
    let (api, app) = (api(&t).await, t.public_client(CB).await);
    let tokens = tokens_of(&t, &app).await;
    let token = ("token", tokens.access_token.expose());
    let secret = api.secret.as_ref().unwrap().expose();
    for request in [
        INTROSPECT.request(&[token]).with_header("authorization", basic(&api.id, secret)),
        INTROSPECT.request(&[token, ("client_id", &api.id), ("client_secret", secret)]),
    ] {
        assert_eq!(json(&answered(&t, &request).await)["active"], true);
    }
}

// covers: IN-10 (RFC 7662 §2.1)
#[tokio::test]
async fn token_type_hint_changes_neither_answer_nor_look_ups() {
    let t = telling_of_refresh_tokens();
    let app = t.confidential_client(CB).await;
    let tokens = tokens_of(&t, &app).await;
    for token in [tokens.access_token.expose(), refresh_of(&tokens).expose()] {
        let expected = active(&t, &app, token).await;
        for hint in ["access_token", "refresh_token", "foo", ""] {
            let calls = t.faults.calls();
            let request = INTROSPECT.request_by(&app, &[("token", token), ("token_type_hint", hint)]);
            assert_eq!(json(&answered(&t, &request).await), expected, "{hint}");
            assert_eq!(t.faults.calls() - calls, 2, "client and token: {hint}");
        }
    }
}

// covers: IN-05 (RFC 7662 §2.1), IN-06 (RFC 7662 §4), B36, B37, B38
#[tokio::test]
async fn only_a_posted_form_with_one_token_is_a_request() {
    let t = TestServer::with_policy(|policy| policy.max_body = 3_000);
    let (api, app) = (api(&t).await, t.public_client(CB).await);
    let tokens = tokens_of(&t, &app).await;
    let token = tokens.access_token.expose();
    INTROSPECT.assert_takes_only_forms(&t, &api, token).await;
    for request in INTROSPECT.requests_with_more(&api, token) {
        assert_eq!(json(&answered(&t, &request).await)["active"], true, "{}", request.target());
    }
}

// covers: IN-13 (RFC 7662 §2.2), IN-14 (RFC 7662 §5), IN-16 (RFC 7662 §2.2)
#[tokio::test]
async fn host_adds_introspection_members_and_replaces_none() {
    let asked: Arc<Mutex<Vec<String>>> = Arc::default();
    let by_hook = Arc::clone(&asked);
    let t = TestServer::with(move |builder| {
        builder.token_customizer(Members(move |asked: &Inspection<'_>| {
            by_hook.lock().unwrap().push(asked.caller.id().to_string());
            let reserved = RESERVED_MEMBERS.iter().map(|name| ((*name).to_owned(), json!("forged")));
            let mut members: Map<String, Value> = reserved.collect();
            members.insert("tenant".to_owned(), json!(["acme"]));
            let department = asked.grant.host_data.as_ref().map(|data| data["department"].clone());
            if asked.caller.id().as_str() == "payroll" {
                members.insert("https://payroll.example/department".to_owned(), department.into());
            }
            Ok(Some(members))
        }))
    });
    let api = api(&t).await;
    let secret = grantor::ClientSecret::new("the-secret-of-payroll");
    let payroll = grantor::Client::confidential("payroll", grantor::ClientCredential::secret(&secret));
    let payroll = t.register(payroll.resource_server().build(), Some(secret)).await;
    let (app, stranger) = (t.public_client(CB).await, t.confidential_client(CB).await);
    let approval = Approval::by(Subject::new("alice").unwrap()).host_data(json!({ "department": "sales" }));
    let tokens = t.authorize(&app).approve(approval).await.redeem().await.unwrap();
    let token = tokens.access_token.expose();

    let mut expected = json!({
        "active": true, "scope": "user:read", "client_id": app.id, "iss": ISSUER, "iat": START, "exp": START + 3_600,
        "sub": "alice", "token_type": "Bearer", "tenant": ["acme"],
    });
    assert_eq!(customized(&t, &api, token).await, expected);
    expected["https://payroll.example/department"] = json!("sales");
    assert_eq!(customized(&t, &payroll, token).await, expected);

    // A caller that may not learn about the token gets no members of the host app either, and the host app is not
    // called.
    let before = asked.lock().unwrap().len();
    assert_inactive(&t, &stranger, token).await;
    assert_inactive(&t, &api, "garbage").await;
    t.clock.advance(Duration::hours(1));
    assert_inactive(&t, &api, token).await;
    assert_eq!(asked.lock().unwrap()[..], [api.id.clone(), payroll.id.clone()]);
    assert_eq!(before, 2);
}

// covers: IN-08 (RFC 7662 §2.2), IN-13 (RFC 7662 §2.2), IN-14 (RFC 7662 §5)
#[tokio::test]
async fn host_separates_the_tokens_of_its_apis() {
    let audit = Audit::default();
    let observer = audit.clone();
    let t = TestServer::with(move |builder| {
        builder.observer(observer).token_customizer(Members(|asked: &Inspection<'_>| {
            let Inspection { caller, token, grant, .. } = asked;
            // The host app decides by the scope of the token. The scope of the grant is the same for all tokens here.
            assert!(grant.scope.contains("user:read") && grant.scope.contains("user:write"));
            let Some(api) = caller.id().as_str().strip_suffix("-api") else { return Ok(None) };
            let region = Map::from_iter([("region".to_owned(), json!(format!("https://{api}.example")))]);
            Ok(token.scope.contains(&format!("user:{api}")).then_some(region))
        }))
    });
    let mut apis = Vec::new();
    for id in ["read-api", "write-api"] {
        let secret = grantor::ClientSecret::new("the-secret-of-an-api");
        let client = grantor::Client::confidential(id, grantor::ClientCredential::secret(&secret));
        apis.push(t.register(client.resource_server().build(), Some(secret)).await);
    }
    let app = t.confidential_client(CB).await;
    let both = t.authorize(&app).scope("user:read user:write").approve_as("alice").await.redeem().await.unwrap();
    let narrow = TokenRequest::refresh_token(refresh_of(&both)).scope("user:write");
    let narrow = t.token_as(&app, narrow).await.unwrap();
    for (caller, token, region) in [
        (&apis[0], &both, Some("https://read.example")),
        (&apis[1], &both, Some("https://write.example")),
        (&apis[0], &narrow, None),
        (&apis[1], &narrow, Some("https://write.example")),
        (&app, &both, None),
    ] {
        let (token, request) = (token.access_token.expose(), IntrospectionRequest::of(token.access_token.expose()));
        let request = request.client_secret_basic(&caller.id, caller.secret.as_ref().unwrap());
        let response = t.server.introspect(&INTROSPECT.request_by(caller, &[("token", token)])).await;
        let typed = t.introspection_request(&request).await.unwrap();
        assert_eq!(typed.to_json(), response.body());
        match region {
            Some(region) => assert_eq!(json(&response)["region"], region),
            None => assert_eq!(text(&response), r#"{"active":false}"#, "a detail was told to {}", caller.id),
        }
        let extra = typed.active().map(|active| active.extra["region"].clone());
        assert_eq!(extra, region.map(Into::into));
        let told = audit.take();
        assert_eq!(told.len(), 2);
        assert!(told.iter().all(|(name, by, grant)| {
            *name == "token_introspected" && by.as_ref() == Some(&caller.id) && grant.is_some() == region.is_some()
        }));
    }
}

#[tokio::test]
async fn failing_storage_never_reports_a_token_as_inactive() {
    for step in 1..=2 {
        for (fault, status, error) in [
            (Fault::Failed, 500, "server_error"),
            (Fault::Unavailable, 503, "temporarily_unavailable"),
            (Fault::LostAnswer, 503, "temporarily_unavailable"),
        ] {
            let t = TestServer::new();
            let (api, app) = (api(&t).await, t.public_client(CB).await);
            let tokens = tokens_of(&t, &app).await;
            let request = INTROSPECT.request_by(&api, &[("token", tokens.access_token.expose())]);
            t.faults.fail(step, fault);
            let response = INTROSPECT.refused(&t, &request, status, error, "a test made").await;
            assert!(!text(&response).contains("a test made") && !text(&response).contains("active"));
            assert_eq!(json(&answered(&t, &request).await)["active"], true);
        }
    }
}

// covers: IN-11 (RFC 7662 §4)
#[tokio::test]
async fn introspection_and_bearer_check_always_agree() {
    let t = TestServer::new();
    let (api, app) = (api(&t).await, t.public_client(CB).await);
    let first = tokens_of(&t, &app).await;
    let mut seen = Vec::new();
    let mut latest = RefreshToken::new(refresh_of(&first).expose());
    for round in 0..6 {
        let told = answered(&t, &INTROSPECT.request_by(&api, &[("token", first.access_token.expose())])).await;
        let told = json(&told)["active"] == true;
        assert_eq!(told, t.bearer(&first.access_token).await.is_ok(), "round {round}");
        seen.push(told);
        t.clock.advance(Duration::minutes(20));
        latest = t.refresh(&app, &latest).await.unwrap().refresh_token.unwrap();
    }
    assert_eq!(seen, [true, true, true, false, false, false]);
}

#[tokio::test]
async fn typed_request_gives_the_same_answer() {
    let t = TestServer::new();
    let (api, app) = (api(&t).await, t.public_client(CB).await);
    let tokens = tokens_of(&t, &app).await;
    let secret = api.secret.as_ref().unwrap();
    let request = || IntrospectionRequest::of(tokens.access_token.expose());

    let told = t.introspection_request(&request().client_secret_basic(&api.id, secret)).await.unwrap();
    let token = told.active().expect("the token is active");
    assert_eq!(token.grant.subject, Some(Subject::new("alice").unwrap()));
    assert_eq!(token.token.expires_at, t.clock.now() + Duration::hours(1));
    assert!(token.extra.is_empty());
    let shown = format!("{told:?}");
    assert!(shown.contains("alice") && !shown.contains(tokens.access_token.expose()), "{shown}");

    let unknown = IntrospectionRequest::of("unknown").client_secret_post(&api.id, secret);
    let told = t.introspection_request(&unknown).await.unwrap();
    assert!(matches!(told, Introspection::Inactive) && told.active().is_none());
    assert_eq!(told.to_json(), br#"{"active":false}"#);
    for (request, reason) in [
        (request(), Refusal::MissingClientAuthentication),
        (request().client_id(&app.id), Refusal::IntrospectionNotAllowed),
        (request().client_secret_basic("nobody", secret), Refusal::UnknownClient),
        (request().client_secret_basic(&api.id, secret).parameter("token", "x"), Refusal::RepeatedParameter("token")),
    ] {
        let error = t.introspection_request(&request).await.unwrap_err();
        assert_eq!(error.refusal(), Some(&reason));
    }
    assert_eq!(t.events.count("introspection_refused"), 4);
    assert_eq!(t.events.count("token_introspected"), 2);
}

/// An event of the endpoint: its name, the caller, and the grant.
type Told = (&'static str, Option<String>, Option<GrantId>);

/// Records the events of the endpoint.
#[derive(Clone, Default)]
struct Audit(Arc<Mutex<Vec<Told>>>);

impl Audit {
    /// The events since the last call.
    fn take(&self) -> Vec<Told> {
        std::mem::take(&mut *self.0.lock().unwrap())
    }
}

impl Observer for Audit {
    fn observe(&self, event: &Event<'_>) {
        let (client_id, grant) = match &event.kind {
            EventKind::TokenIntrospected { client_id, grant, .. } => (Some(*client_id), *grant),
            EventKind::IntrospectionRefused { client_id, .. } => (*client_id, None),
            _ => return,
        };
        let told = (event.kind.name(), client_id.map(ToString::to_string), grant.map(|grant| grant.id));
        self.0.lock().unwrap().push(told);
    }
}

#[tokio::test]
async fn introspection_event_names_caller_and_grant() {
    let audit = Audit::default();
    let observer = audit.clone();
    let mut policy = Policy::default();
    policy.introspect_refresh_tokens = true;
    let t = TestServer::with(move |builder| builder.observer(observer).policy(policy));
    let (api, app) = (api(&t).await, t.confidential_client(CB).await);
    let (stranger, public) = (t.confidential_client(CB).await, t.public_client(CB).await);
    let spent = tokens_of(&t, &app).await;
    let grant = t.bearer(&spent.access_token).await.unwrap().require("user:read").unwrap().grant_id().unwrap();
    let tokens = t.refresh(&app, refresh_of(&spent)).await.unwrap();
    let (access, refresh) = (tokens.access_token.expose(), refresh_of(&tokens).expose());
    let garbage = "an-unknown-token";
    let introspected = |caller: &TestClient, grant| vec![("token_introspected", Some(caller.id.clone()), grant)];
    for (what, caller, token, expected) in [
        ("a live access token", &api, access, Some(grant)),
        ("the same token again", &api, access, Some(grant)),
        ("a client's own token", &app, access, Some(grant)),
        ("a client's own refresh token", &app, refresh, Some(grant)),
        ("a refresh token, which is not for an API", &api, refresh, None),
        ("a spent token", &app, refresh_of(&spent).expose(), None),
        ("an unknown token", &api, garbage, None),
        ("a token of another client", &stranger, access, None),
    ] {
        let response = t.server.introspect(&INTROSPECT.request_by(caller, &[("token", token)])).await;
        assert_eq!((response.status(), json(&response)["active"] == true), (200, expected.is_some()), "{what}");
        assert_eq!(audit.take(), introspected(caller, expected), "{what}");
    }
    let typed = IntrospectionRequest::of(access).client_secret_basic(&api.id, api.secret.as_ref().unwrap());
    t.introspection_request(&typed).await.unwrap();
    assert_eq!(audit.take(), introspected(&api, Some(grant)), "the typed form");

    let anonymous = INTROSPECT.request(&[("token", access)]);
    let wrong = INTROSPECT.request(&[("token", access)]).with_header("authorization", basic(&api.id, "wrong"));
    for (what, request, caller) in [
        ("nobody", anonymous, None),
        ("a wrong secret", wrong, None),
        ("a public client", INTROSPECT.request_by(&public, &[("token", access)]), Some(&public)),
        ("no token", INTROSPECT.request_by(&api, &[]), Some(&api)),
        ("no form", Request::get("/introspect"), None),
    ] {
        assert!(t.server.introspect(&request).await.status() >= 400, "{what}");
        let caller = caller.map(|caller| caller.id.clone());
        assert_eq!(audit.take(), [("introspection_refused", caller, None)], "{what}");
    }
    t.faults.fail(2, Fault::Failed);
    let request = INTROSPECT.request_by(&api, &[("token", access)]);
    assert_eq!(t.server.introspect(&request).await.status(), 500);
    assert_eq!(audit.take(), [("introspection_refused", Some(api.id.clone()), None)], "a storage that fails");

    t.clock.advance(Duration::hours(1));
    assert_eq!(t.server.introspect(&request).await.status(), 200);
    assert_eq!(audit.take(), introspected(&api, None), "an expired token");
}

#[tokio::test]
async fn introspection_checks_subject_status_by_policy() {
    for checks in [false, true] {
        let t = TestServer::with_policy(|policy| {
            policy.check_subject_at_use = checks;
            policy.introspect_refresh_tokens = true;
        });
        let (api, app) = (api(&t).await, t.confidential_client(CB).await);
        let machine = machine_token(&t, &app).await;
        let tokens = tokens_of(&t, &app).await;
        let asked = [(&api, tokens.access_token.expose()), (&app, refresh_of(&tokens).expose())];
        for status in [SubjectStatus::Suspended, SubjectStatus::Gone, SubjectStatus::Active] {
            t.users.set_status("alice", status);
            for (caller, token) in asked {
                let told = t.events.events().len();
                let request = INTROSPECT.request_by(caller, &[("token", token)]);
                let response = t.server.introspect(&request).await;
                assert_eq!(json(&response)["active"], !checks, "{status:?}");
                assert!(!checks || text(&response) == r#"{"active":false}"#);
                // A revoked grant is inactive anyway, so the status of its subject is not checked, and the event has no
                // subject.
                let asks = match status {
                    SubjectStatus::Suspended => checks,
                    SubjectStatus::Gone => checks && token == tokens.access_token.expose(),
                    _ => false,
                };
                let mut expected = vec!["subject_not_active", "token_introspected"];
                expected.drain(..usize::from(!asks));
                assert_eq!(t.events.names()[told..], expected, "{status:?}");
            }
            active(&t, &api, machine.expose()).await;
        }
    }
}

#[tokio::test]
async fn failing_customizer_at_introspection_is_host_failure() {
    type Failure = fn() -> Error;
    let failures: [(Failure, u16, &str); 3] = [
        (|| CustomizerError::new("https://tenants.internal is down").into(), 500, "server_error"),
        (|| CustomizerError::unavailable("https://tenants.internal is down").into(), 503, "temporarily_unavailable"),
        (|| Error::Misuse("https://tenants.internal is odd"), 500, "server_error"),
    ];
    for (failure, status, code) in failures {
        let customizer = Members(move |_: &Inspection<'_>| Err(failure()));
        let t = TestServer::with(|builder| builder.token_customizer(customizer));
        let (api, app) = (api(&t).await, t.public_client(CB).await);
        let tokens = tokens_of(&t, &app).await;
        let request = INTROSPECT.request_by(&api, &[("token", tokens.access_token.expose())]);
        let response = t.server.introspect(&request).await;
        assert_eq!((response.status(), &json(&response)["error"]), (status, &json!(code)));
        assert!(!text(&response).contains("tenants.internal"));
        assert_eq!(response.header("retry-after"), (status == 503).then_some("5"));
        let last = t.events.events().pop().unwrap();
        assert!(last.name == "introspection_refused" && last.text.contains("tenants.internal"), "{}", last.text);
        assert_inactive(&t, &api, "unknown").await;
    }
}

#[tokio::test]
async fn customizer_adds_at_most_4_kib_to_introspection() {
    // {"m":""}
    for (length, status) in [(4_096 - 8, 200), (4_096 - 7, 500)] {
        let members = Map::from_iter([("m".to_owned(), json!("x".repeat(length)))]);
        let customizer = Members(move |_: &Inspection<'_>| Ok(Some(members.clone())));
        let t = TestServer::with(|builder| builder.token_customizer(customizer));
        let (api, app) = (api(&t).await, t.public_client(CB).await);
        let tokens = tokens_of(&t, &app).await;
        let request = INTROSPECT.request_by(&api, &[("token", tokens.access_token.expose())]);
        assert_eq!(t.server.introspect(&request).await.status(), status, "{length}");
    }
}
