//! Several resources (RFC 8707, RFC 9728): each access token is for one of them.

use grantor::event::BearerRefusal;
use grantor::testing::{ISSUER, TestClient, TestServer, approve};
use grantor::{
    AccessToken, Approval, AuthorizationServer, BuildError, Builder, Interaction, MemoryStorage, ProtectedResource,
    RefreshToken, Request, Response, TokenRequest, UserSession,
};
use serde_json::{Value, json};
use time::Duration;

#[path = "common/mod.rs"]
mod common;
use common::{CB, VERIFIER, error_of, form, json, query_of, responded, token_as};

const MAIL: &str = "https://id.example/mail";
const CALENDAR: &str = "https://calendar.example";

fn mail() -> ProtectedResource {
    ProtectedResource::new(MAIL).scope("user:read")
}

fn calendar() -> ProtectedResource {
    ProtectedResource::new(CALENDAR).scope("user:read user:write")
}

/// A server whose default resource is the mail.
fn with_default() -> TestServer {
    TestServer::with(|builder| builder.protected_resource(mail()).resource(calendar()))
}

fn without_default() -> TestServer {
    TestServer::with(|builder| builder.resource(mail()).resource(calendar()))
}

/// A request for a code with these resources.
fn ask(t: &TestServer, app: &TestClient, scope: &str, resources: &[&str]) -> Request {
    let named: Vec<(&str, &str)> = resources.iter().map(|resource| ("resource", *resource)).collect();
    Request::get(format!("{}&{}", t.authorize(app).scope(scope).state("s").target(), form(&named)))
}

/// The code that a request gets after alice has approved it.
async fn code(t: &TestServer, app: &TestClient, scope: &str, resources: &[&str]) -> String {
    let grantor::AuthorizationOutcome::Pending(pending) = t.server.authorize(&ask(t, app, scope, resources)).await
    else {
        panic!("the request was refused")
    };
    query_of(&approve(pending, Approval::by(subject())).await.into_http())["code"].clone()
}

fn subject() -> grantor::Subject {
    "alice".parse().unwrap()
}

async fn redeem(t: &TestServer, app: &TestClient, code: &str, more: &[(&str, &str)]) -> Response {
    // The verifier of `TestServer::authorize`.
    let verifier = "a-verifier-of-forty-three-characters-at-least";
    assert_ne!(verifier, VERIFIER);
    let own = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CB), ("code_verifier", verifier)];
    t.server.token(&token_as(app, &[&own, more].concat())).await
}

async fn refresh(t: &TestServer, app: &TestClient, token: &str, more: &[(&str, &str)]) -> Response {
    let own = [("grant_type", "refresh_token"), ("refresh_token", token)];
    t.server.token(&token_as(app, &[&own, more].concat())).await
}

/// The tokens of a new grant for these resources.
async fn tokens(t: &TestServer, app: &TestClient, scope: &str, resources: &[&str]) -> Value {
    granted(&redeem(t, app, &code(t, app, scope, resources).await, &[]).await)
}

#[track_caller]
fn granted(response: &Response) -> Value {
    assert_eq!(response.status(), 200, "{}", String::from_utf8_lossy(response.body()));
    json(response)
}

#[track_caller]
fn refused(response: &Response, code: &str) {
    assert_eq!((response.status(), error_of(response).as_str()), (400, code));
}

fn access(tokens: &Value) -> AccessToken {
    AccessToken::new(tokens["access_token"].as_str().unwrap())
}

fn refresh_of(tokens: &Value) -> RefreshToken {
    RefreshToken::new(tokens["refresh_token"].as_str().unwrap())
}

fn bearing(token: &AccessToken) -> Request {
    Request::get("/").with_header("authorization", format!("Bearer {}", token.expose()))
}

/// The resource at which a token is accepted. It must be one.
async fn accepted_at(t: &TestServer, token: &AccessToken) -> String {
    let mut found = Vec::new();
    for resource in t.resources() {
        match resource.bearer(&bearing(token)).await {
            Ok(bearer) => {
                let access = bearer.require("user:read").unwrap();
                assert_eq!(access.resource(), Some(resource.identifier()));
                found.push(resource.identifier().to_owned());
            }
            Err(error) => {
                assert_eq!((error.status(), error.code().unwrap().as_str()), (401, "invalid_token"));
                let header = error.to_response().header("www-authenticate").unwrap().to_owned();
                assert!(
                    header.contains("error_description=\"the access token is not meant for this API\""),
                    "{header}"
                );
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

// covers: RI-02 (RFC 8707 §2), RI-04 (RFC 8707 §2), RM-05 (RFC 9728 §7.4), MC-09 (MCP Token Audience Binding)
#[tokio::test]
async fn token_is_accepted_at_one_resource_only() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let tokens = tokens(&t, &app, "user:read", &[CALENDAR, MAIL, CALENDAR]).await;
    assert_eq!(accepted_at(&t, &access(&tokens)).await, CALENDAR);
    // The server itself checks tokens for its default resource.
    assert_eq!(t.bearer(&access(&tokens)).await.unwrap_err().status(), 401);
    assert!(t.events.events().iter().any(|event| event.text.contains(&format!("{:?}", BearerRefusal::Foreign))));
    let refreshed = granted(&refresh(&t, &app, refresh_of(&tokens).expose(), &[("resource", MAIL)]).await);
    assert_eq!(accepted_at(&t, &access(&refreshed)).await, MAIL);
    assert!(t.bearer(&access(&refreshed)).await.is_ok());
}

// covers: RI-05 (RFC 8707 §2.1)
#[tokio::test]
async fn request_without_resource_is_for_the_default() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    assert_eq!(accepted_at(&t, &access(&tokens(&t, &app, "user:read", &[]).await)).await, MAIL);
    let own = t.server.token(&token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")])).await;
    assert_eq!(accepted_at(&t, &access(&granted(&own))).await, MAIL);

    let t = without_default();
    let app = t.confidential_client(CB).await;
    let answer = responded(t.server.authorize(&ask(&t, &app, "user:read", &[])).await);
    let query = query_of(&answer);
    assert_eq!((&*query["error"], &*query["state"]), ("invalid_target", "s"));
    assert_eq!(query["error_description"], "the parameter resource is missing");
    let own = token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")]);
    refused(&t.server.token(&own).await, "invalid_target");
    // A token request of a grant need not repeat the resource.
    assert_eq!(accepted_at(&t, &access(&tokens(&t, &app, "user:read", &[MAIL]).await)).await, MAIL);
}

// covers: RI-01 (RFC 8707 §2), RI-03 (RFC 8707 §2, §2.1)
#[tokio::test]
async fn unknown_resource_is_refused_everywhere() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let good = tokens(&t, &app, "user:read", &[]).await;
    let code = code(&t, &app, "user:read", &[]).await;
    for unknown in ["mail", "/mail", "https://id.example/mail#x", "https://id.example/mail/", "https://ID.example/mail"]
    {
        let answer = responded(t.server.authorize(&ask(&t, &app, "user:read", &[MAIL, unknown])).await);
        assert_eq!(&*query_of(&answer)["error"], "invalid_target", "{unknown}");
        let own = [("grant_type", "client_credentials"), ("scope", "user:read"), ("resource", unknown)];
        refused(&t.server.token(&token_as(&app, &own)).await, "invalid_target");
        refused(&redeem(&t, &app, &code, &[("resource", unknown)]).await, "invalid_target");
        refused(&refresh(&t, &app, refresh_of(&good).expose(), &[("resource", unknown)]).await, "invalid_target");
        // The error comes before any look-up, so it says nothing about a token.
        refused(&refresh(&t, &app, "unknown", &[("resource", unknown)]).await, "invalid_target");
    }
    let own =
        [("grant_type", "client_credentials"), ("scope", "user:read"), ("resource", MAIL), ("resource", CALENDAR)];
    let answer = t.server.token(&token_as(&app, &own)).await;
    refused(&answer, "invalid_target");
    assert_eq!(json(&answer)["error_description"], "the request names several resources: name one");
    // Nothing was spent.
    granted(&redeem(&t, &app, &code, &[]).await);
    granted(&refresh(&t, &app, refresh_of(&good).expose(), &[]).await);
}

// covers: RI-06 (RFC 8707 §2.2)
#[tokio::test]
async fn token_request_never_widens_the_resources() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let code = code(&t, &app, "user:read", &[CALENDAR]).await;
    let answer = redeem(&t, &app, &code, &[("resource", MAIL)]).await;
    refused(&answer, "invalid_target");
    assert_eq!(json(&answer)["error_description"], "the requested resource was not granted");
    let first = granted(&redeem(&t, &app, &code, &[("resource", CALENDAR)]).await);
    refused(&refresh(&t, &app, refresh_of(&first).expose(), &[("resource", MAIL)]).await, "invalid_target");
    let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[]).await);
    assert_eq!(accepted_at(&t, &access(&second)).await, CALENDAR);
}

// covers: RI-07 (RFC 8707 §2.2)
#[tokio::test]
async fn refresh_token_keeps_all_resources() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let code = code(&t, &app, "user:read user:write", &[MAIL, CALENDAR]).await;
    let first = granted(&redeem(&t, &app, &code, &[("resource", MAIL)]).await);
    assert_eq!(first["scope"], "user:read");
    let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[("resource", CALENDAR)]).await);
    assert_eq!(
        (accepted_at(&t, &access(&second)).await.as_str(), &second["scope"]),
        (CALENDAR, &json!("user:read user:write"))
    );
    let third = granted(&refresh(&t, &app, refresh_of(&second).expose(), &[]).await);
    assert_eq!(accepted_at(&t, &access(&third)).await, MAIL);
}

// covers: RI-08 (RFC 8707 §2.2)
#[tokio::test]
async fn scope_is_cut_to_what_the_resource_declares() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    // `offline_access` belongs to no resource: the grant keeps it, and no token has it.
    let outcome = t.server.authorize(&ask(&t, &app, "user:read user:write offline_access", &[MAIL])).await;
    let grantor::AuthorizationOutcome::Pending(pending) = outcome else { panic!("the request was refused") };
    assert_eq!(pending.scope().as_str(), "offline_access user:read");
    assert_eq!(pending.resources().collect::<Vec<_>>(), [MAIL]);
    let code = query_of(&approve(pending, Approval::by(subject())).await.into_http())["code"].clone();
    let tokens = granted(&redeem(&t, &app, &code, &[]).await);
    assert_eq!(tokens["scope"], "user:read");
    // A scope of which nothing is left is an error, also after the user has chosen.
    let answer = responded(t.server.authorize(&ask(&t, &app, "user:write offline_access", &[MAIL])).await);
    assert_eq!(&*query_of(&answer)["error"], "invalid_scope");
    let outcome = t.server.authorize(&ask(&t, &app, "user:read offline_access", &[MAIL])).await;
    let grantor::AuthorizationOutcome::Pending(pending) = outcome else { panic!("the request was refused") };
    let answer = approve(pending, Approval::by(subject()).scope(["offline_access"])).await.into_http();
    assert_eq!(&*query_of(&answer)["error"], "access_denied");
    let own = [("grant_type", "client_credentials"), ("scope", "user:write"), ("resource", MAIL)];
    refused(&t.server.token(&token_as(&app, &own)).await, "invalid_scope");
    refused(&refresh(&t, &app, refresh_of(&tokens).expose(), &[("scope", "offline_access")]).await, "invalid_scope");
}

#[tokio::test]
async fn slash_of_an_empty_path_makes_no_difference() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let with_slash = "https://calendar.example/";
    let code = code(&t, &app, "user:read", &[with_slash]).await;
    let first = granted(&redeem(&t, &app, &code, &[("resource", CALENDAR)]).await);
    let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[("resource", with_slash)]).await);
    for tokens in [first, second] {
        // The audience is the declared text.
        assert_eq!(accepted_at(&t, &access(&tokens)).await, CALENDAR);
    }
    assert_eq!(t.resource(with_slash).unwrap().identifier(), CALENDAR);
}

#[tokio::test]
async fn repeated_refresh_is_for_the_same_resource() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let first = tokens(&t, &app, "user:read", &[MAIL, CALENDAR]).await;
    let token = refresh_of(&first);
    let second = granted(&refresh(&t, &app, token.expose(), &[("resource", CALENDAR)]).await);
    for other in [&[][..], &[("resource", MAIL)]] {
        let answer = refresh(&t, &app, token.expose(), other).await;
        refused(&answer, "invalid_target");
        assert!(json(&answer)["error_description"].as_str().unwrap().ends_with("use the new refresh token"));
    }
    let again = granted(&refresh(&t, &app, token.expose(), &[("resource", CALENDAR)]).await);
    assert_eq!(again["access_token"], second["access_token"]);
    granted(&refresh(&t, &app, refresh_of(&second).expose(), &[]).await);
}

#[tokio::test]
async fn faulty_resource_answers_alike_for_spent_and_unspent() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let unspent = refresh_of(&tokens(&t, &app, "user:read", &[CALENDAR]).await);
    let spent = refresh_of(&tokens(&t, &app, "user:read", &[CALENDAR]).await);
    granted(&refresh(&t, &app, spent.expose(), &[]).await);
    for fault in [
        &[("resource", MAIL)][..],
        &[("resource", "https://other.example")],
        &[("resource", CALENDAR), ("resource", MAIL)],
        &[("resource", CALENDAR), ("scope", "offline_access")],
    ] {
        let [one, other] =
            [refresh(&t, &app, unspent.expose(), fault).await, refresh(&t, &app, spent.expose(), fault).await];
        assert_eq!(one.status(), 400, "{fault:?}");
        assert_eq!((one.status(), one.body()), (other.status(), other.body()), "{fault:?}");
    }
    granted(&refresh(&t, &app, unspent.expose(), &[]).await);
}

/// The interaction for alice.
async fn interaction(t: &TestServer, request: &Request) -> Interaction {
    t.server.interaction(request, Some(&UserSession::new(subject()))).await
}

#[tokio::test]
async fn remembered_consent_covers_its_resources_only() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let _ = tokens(&t, &app, "user:read", &[MAIL]).await;
    for (resources, is_remembered) in
        [(&[MAIL][..], true), (&[], true), (&[CALENDAR], false), (&[MAIL, CALENDAR], false)]
    {
        let next = interaction(&t, &ask(&t, &app, "user:read", resources)).await;
        assert_eq!(matches!(next, Interaction::Proceed(_)), is_remembered, "{resources:?}");
        assert_eq!(matches!(next, Interaction::Consent(_)), !is_remembered, "{resources:?}");
    }
}

#[tokio::test]
async fn consent_form_is_stale_if_the_default_resource_changes() {
    let key = [7; 32];
    let t = TestServer::with(|builder| builder.protected_resource(mail()).resource(calendar()).server_key(&key, &[]));
    let app = t.confidential_client(CB).await;
    let Interaction::Consent(consent) = interaction(&t, &ask(&t, &app, "user:read", &[])).await else {
        panic!("a consent page")
    };
    assert_eq!(consent.request().resources().collect::<Vec<_>>(), [MAIL]);
    let form = consent.form_token("session");
    let rebuilt = |change: fn(Builder) -> Builder| {
        let builder = AuthorizationServer::builder(ISSUER).storage(t.storage.clone()).clock(t.clock.clone());
        let builder = builder.scope("user:read", "Read your profile").scope("user:write", "Change your profile");
        change(builder.scope("offline_access", "Keep access while you are away").server_key(&key, &[])).build()
    };
    let same = rebuilt(|builder| builder.protected_resource(mail()).resource(calendar())).await.unwrap();
    assert!(same.resume(&form, "session").await.is_ok());
    let other = rebuilt(|builder| builder.protected_resource(calendar()).resource(mail())).await.unwrap();
    assert_eq!(
        other.resume(&form, "session").await.unwrap_err().error().refusal(),
        Some(&grantor::Refusal::StaleFormToken)
    );
}

// covers: IN-17 (RFC 7662 §4)
#[tokio::test]
async fn resource_server_learns_only_about_its_own_tokens() {
    let t =
        TestServer::with(|builder| builder.protected_resource(mail().introspected_by("mail-api")).resource(calendar()));
    let app = t.confidential_client(CB).await;
    let mut apis = Vec::new();
    for id in ["mail-api", "calendar-api"] {
        let secret = grantor::ClientSecret::random().unwrap();
        let credential = grantor::ClientCredential::secret(&secret);
        let client = grantor::Client::confidential(id, credential).resource_server().build();
        apis.push(t.register(client, Some(secret)).await);
    }
    let for_mail = access(&tokens(&t, &app, "user:read", &[MAIL]).await);
    let for_calendar = access(&tokens(&t, &app, "user:read", &[CALENDAR]).await);
    let told = async |api: &TestClient, token: &AccessToken| {
        let pairs = [("token", token.expose())];
        let request = token_as(api, &pairs);
        let request = Request::post_form("/introspect", form(&pairs)).with_header(
            "authorization",
            std::str::from_utf8(request.header_values("authorization").next().unwrap()).unwrap(),
        );
        json(&t.server.introspect(&request).await)
    };
    assert_eq!(told(&apis[0], &for_mail).await["aud"], MAIL);
    assert_eq!(told(&apis[0], &for_calendar).await, json!({ "active": false }));
    assert_eq!(told(&apis[1], &for_mail).await, json!({ "active": false }));
    assert_eq!(told(&apis[1], &for_calendar).await, json!({ "active": false }));
    // The client of a token learns about it.
    assert_eq!(told(&app, &for_calendar).await["aud"], CALENDAR);
}

// covers: RM-06 (RFC 9728 §4), B55
#[tokio::test]
async fn each_resource_has_its_own_document_and_challenge() {
    let t = with_default();
    assert_eq!(t.metadata_document()["protected_resources"], json!([CALENDAR, MAIL]));
    for (identifier, path, scopes, metadata) in [
        (
            MAIL,
            "/.well-known/oauth-protected-resource/mail",
            json!(["user:read"]),
            "https://id.example/.well-known/oauth-protected-resource/mail",
        ),
        (
            CALENDAR,
            "/.well-known/oauth-protected-resource",
            json!(["user:read", "user:write"]),
            "https://calendar.example/.well-known/oauth-protected-resource",
        ),
    ] {
        let resource = t.resource(identifier).unwrap();
        assert_eq!(resource.metadata_path(), path);
        let served = t.server.handle(&Request::get(path)).await;
        assert_eq!((served.status(), served.header("access-control-allow-origin")), (200, Some("*")));
        assert_eq!(json(&served)["resource"], identifier);
        assert_eq!(json(&served)["scopes_supported"], scopes);
        assert_eq!(served.body(), resource.metadata(&Request::get(path)).body());
        let error = resource.bearer(&Request::get("/")).await.unwrap_err().to_response();
        let challenge = error.header("www-authenticate").unwrap();
        assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
    }
    assert!(t.resource("https://other.example").is_none());
    assert_eq!(t.resources().count(), 2);
}

#[tokio::test]
async fn documents_with_one_path_are_not_confused() {
    let of = |host: &str| ProtectedResource::new(format!("https://{host}"));
    let path = "/.well-known/oauth-protected-resource";
    let t = TestServer::with(|builder| builder.resource(of("a.example")).resource(of("b.example")));
    assert_eq!(t.server.handle(&Request::get(path)).await.status(), 404);
    assert_eq!(
        json(&t.resource("https://b.example").unwrap().metadata(&Request::get(path)))["resource"],
        "https://b.example"
    );
    let t = TestServer::with(|builder| builder.resource(of("a.example")).protected_resource(of("id.example")));
    assert_eq!(json(&t.server.handle(&Request::get(path)).await)["resource"], "https://id.example");
}

#[tokio::test]
async fn wrong_declaration_does_not_build() {
    let build = |change: &dyn Fn(Builder) -> Builder| {
        let builder = AuthorizationServer::builder(ISSUER).storage(MemoryStorage::new()).scope("user:read", "Read");
        change(builder).build()
    };
    let twice: &dyn Fn(Builder) -> Builder = &|builder| {
        builder
            .resource(ProtectedResource::new("https://a.example"))
            .protected_resource(ProtectedResource::new("https://a.example/"))
    };
    assert!(matches!(build(twice).await, Err(BuildError::RepeatedResource(own)) if own == "https://a.example/"));
    let former: &dyn Fn(Builder) -> Builder = &|builder| {
        builder.resource(ProtectedResource::new("https://a.example")).resource(mail().formerly("https://a.example"))
    };
    assert!(matches!(build(former).await, Err(BuildError::RepeatedResource(_))));
    let relative: &dyn Fn(Builder) -> Builder = &|builder| builder.resource(ProtectedResource::new("/mail"));
    assert!(matches!(build(relative).await, Err(BuildError::Resource(own)) if own == "/mail"));
    let scope: &dyn Fn(Builder) -> Builder = &|builder| builder.resource(mail().scope("other"));
    assert!(matches!(build(scope).await, Err(BuildError::ResourceScope(own)) if own == "other"));
    for (resource, problem) in [
        (mail().signed_tokens(), "has signed tokens, but the server has no signing keys: call signing_keys"),
        (
            mail().access_token_lifetime(Duration::ZERO),
            "has an access_token_lifetime below one second: set a longer one",
        ),
        (mail().introspected_by("\u{e9}"), "names a client identifier in introspected_by that is not valid"),
    ] {
        let change: &dyn Fn(Builder) -> Builder = &|builder| builder.resource(resource.clone());
        let error = build(change).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the resource {MAIL:?} {problem}"));
    }
}

#[tokio::test]
async fn lifetime_of_a_resource_shortens_its_tokens() {
    let t = TestServer::with(|builder| {
        let short = calendar().access_token_lifetime(Duration::minutes(5));
        builder.protected_resource(mail().access_token_lifetime(Duration::days(1))).resource(short)
    });
    let app = t.confidential_client(CB).await;
    for (resource, lifetime) in [(MAIL, 3600), (CALENDAR, 300)] {
        let first = tokens(&t, &app, "user:read", &[resource]).await;
        assert_eq!(first["expires_in"], lifetime, "{resource}");
        let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[]).await);
        assert_eq!(second["expires_in"], lifetime, "{resource}");
    }
}

#[tokio::test]
async fn renamed_resource_keeps_its_grants_and_tokens() {
    let t = with_default();
    let app = t.confidential_client(CB).await;
    let old = tokens(&t, &app, "user:read", &[MAIL]).await;
    let rebuilt = async |resource: ProtectedResource| {
        let builder = AuthorizationServer::builder(ISSUER).storage(t.storage.clone()).clock(t.clock.clone());
        let builder = builder.scope("user:read", "Read").scope("user:write", "Write").scope("offline_access", "Stay");
        builder.protected_resource(resource).build().await.unwrap()
    };
    let lost = rebuilt(ProtectedResource::new("https://mail.example")).await;
    assert_eq!(lost.bearer(&bearing(&access(&old))).await.unwrap_err().status(), 401);
    let token = refresh_of(&old);
    let request = || TokenRequest::refresh_token(&token).client_secret_basic(&app.id, app.secret.as_ref().unwrap());
    let error = lost.token_request(&request()).await.unwrap_err();
    assert_eq!((error.code().as_str(), error.refusal()), ("invalid_grant", Some(&grantor::Refusal::NoResourceLeft)));
    let kept = rebuilt(ProtectedResource::new("https://mail.example").formerly(MAIL)).await;
    assert!(kept.bearer(&bearing(&access(&old))).await.is_ok());
    let new = kept.token_request(&request().parameter("resource", MAIL)).await.unwrap();
    let access = kept.bearer(&bearing(&new.access_token)).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.resource(), Some("https://mail.example"));
}

#[tokio::test]
async fn server_without_resources_ignores_the_parameter() {
    let t = TestServer::new();
    let app = t.confidential_client(CB).await;
    let code = code(&t, &app, "user:read", &["https://any.example", "other"]).await;
    let first = granted(&redeem(&t, &app, &code, &[("resource", "https://any.example")]).await);
    assert!(t.bearer(&access(&first)).await.is_ok());
    // If resources are declared later, the grant must be given anew.
    let builder = AuthorizationServer::builder(ISSUER).storage(t.storage.clone()).clock(t.clock.clone());
    let builder = builder.scope("user:read", "Read").scope("user:write", "Write").scope("offline_access", "Stay");
    let later = builder.protected_resource(mail()).build().await.unwrap();
    assert_eq!(later.bearer(&bearing(&access(&first))).await.unwrap_err().status(), 401);
    let token = refresh_of(&first);
    let request = TokenRequest::refresh_token(&token).client_secret_basic(&app.id, app.secret.as_ref().unwrap());
    assert_eq!(later.token_request(&request).await.unwrap_err().code().as_str(), "invalid_grant");
}
