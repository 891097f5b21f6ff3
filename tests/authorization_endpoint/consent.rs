//! The user's decision: the facts that the host app must show, and the results of approval and denial.

use grantor::client::RegisteredBy;
use grantor::storage::GrantSelector;
use grantor::testing::TestClient;
use grantor::{Client, Request, Response, Storage};
use serde_json::json;
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_error, assert_page, by, consent, describe, grants_of, pending, subject};
use crate::common::{form, query_of};
use crate::source::{TestServer, confidential, public};

const STATE: Option<&str> = Some("af0ifjsldkj");

// covers: CU-03 (RFC 6749 §10.2), CU-11 (OAuth 2.1 §7.9)
#[tokio::test]
async fn consent_page_shows_client_scopes_and_lifetime() {
    let t = TestServer::new();
    let client = Client::public("app")
        .name("<b>Photos & more</b>")
        .client_uri("https://photos.example/")
        .registered_by(RegisteredBy::SelfService)
        .authorization_code([CALLBACK])
        .refresh_token()
        .scope("user:read user:write offline_access")
        .build();
    let app = t.register(client, None).await;
    let waiting = pending(&t, &Ask::code(&app).with("scope", "offline_access user:write user:read")).await;
    assert_eq!(waiting.client().name(), Some("<b>Photos & more</b>"), "unescaped, because the page escapes it");
    assert_eq!(waiting.client().client_uri(), Some("https://photos.example/"));
    assert_eq!(waiting.client().registered_by(), RegisteredBy::SelfService);
    assert_eq!(waiting.redirect_host(), Some("app.example"));
    let shown: Vec<_> = waiting.scopes().map(|scope| (scope.token, scope.description)).collect();
    let declared = [
        ("user:read", "Read your profile"),
        ("user:write", "Change your profile"),
        ("offline_access", "Keep access while you are away"),
    ];
    assert_eq!(shown, declared, "the page shows scopes in the order in which the server declared them");
    assert_eq!(waiting.lifetime(), Duration::days(90));
}

// covers: CU-03 (RFC 6749 §10.2), CU-08 (OAuth 2.1 §2.4)
#[tokio::test]
async fn consent_page_shows_lifetime_of_client_or_token() {
    let t = TestServer::new();
    let public = |id| Client::public(id).authorization_code([CALLBACK]).scope("user:read");
    let short = public("short").refresh_token().lifetimes(|own| own.refresh_token_absolute = Some(Duration::days(2)));
    let short = t.register(short.build(), None).await;
    assert_eq!(pending(&t, &Ask::code(&short)).await.lifetime(), Duration::days(2));

    let tokens = t.authorize(&short).approve_as("alice").await.redeem().await.unwrap();
    t.clock.advance(Duration::days(2));
    let late = t.refresh(&short, tokens.refresh_token.as_ref().unwrap()).await;
    assert_eq!(
        late.unwrap_err().code().as_str(),
        "invalid_grant",
        "access ends after the lifetime that the page showed"
    );

    let once = t.register(public("once").build(), None).await;
    assert_eq!(pending(&t, &Ask::code(&once)).await.lifetime(), Duration::hours(1));
    // No token outlives the maximum lifetime of a grant.
    let brief = public("brief").lifetimes(|own| own.refresh_token_absolute = Some(Duration::minutes(30)));
    let brief = t.register(brief.build(), None).await;
    assert_eq!(pending(&t, &Ask::code(&brief)).await.lifetime(), Duration::minutes(30));
    let tokens = t.authorize(&brief).approve_as("alice").await.redeem().await.unwrap();
    assert_eq!(tokens.expires_in, Duration::minutes(30));
}

// covers: AZ-12 (RFC 6749 §4.1.2.1), RD-03 (RFC 6749 §4.1.2.1), IS-02 (RFC 9207 §2)
#[tokio::test]
async fn denial_redirects_an_error_and_opens_no_grant() {
    let (t, app) = confidential().await;
    let answer = pending(&t, &Ask::code(&app)).await.deny();
    assert!(answer.code().is_none() && answer.access_token().is_none());
    assert_error(&answer.into(), CALLBACK, "access_denied", STATE);
    assert!(grants_of(&t, &app).await.is_empty());
    assert_eq!(t.events.names(), ["authorization_denied"]);
}

#[tokio::test]
async fn approval_opens_one_grant_with_host_data() {
    let (t, app) = public().await;
    let answer = consent(&t, &Ask::code(&app)).await.approve(by("alice").host_data(json!({"tenant": 7}))).await;
    assert!(query_of(&answer.into()).contains_key("code"));
    let grants = grants_of(&t, &app).await;
    let [grant] = grants.as_slice() else { panic!("one grant: {grants:?}") };
    assert_eq!(grant.subject, Some(subject("alice")));
    assert_eq!((grant.grant_type.as_str(), grant.scope.as_str()), ("authorization_code", "user:read"));
    assert_eq!(grant.host_data.as_deref(), Some(&json!({"tenant": 7})));
    assert_eq!(t.events.names(), ["authorization_approved"]);
}

// covers: CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn user_can_list_and_revoke_grants() {
    let t = TestServer::new();
    let (app, other) = (t.public_client(CALLBACK).await, t.public_client("https://other.example/cb").await);
    let tokens = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    let kept = t.authorize(&other).approve_as("alice").await.redeem().await.unwrap();
    let now = grantor::Clock::now(&t.clock);
    let all = GrantSelector::Subject(subject("alice"));
    let listed = t.storage.list_grants(&all, now, &grantor::storage::GrantPage::first(10)).await.unwrap();
    assert_eq!(listed.len(), 2);
    let mine = listed.iter().find(|grant| grant.client_id.as_str() == app.id).unwrap();

    let not_mine = GrantSelector::SubjectAndId(subject("mallory"), mine.id);
    assert_eq!(t.storage.revoke_grants(&not_mine, now).await.unwrap(), 0);
    drop(t.bearer(&tokens.access_token).await.expect("another user can't revoke the grant"));
    let which = GrantSelector::SubjectAndId(subject("alice"), mine.id);
    assert_eq!(t.storage.revoke_grants(&which, now).await.unwrap(), 1);
    assert_eq!(t.bearer(&tokens.access_token).await.unwrap_err().code().unwrap(), "invalid_token");
    assert!(t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await.is_err());
    drop(t.bearer(&kept.access_token).await.expect("the other client keeps its access"));
}

async fn submit(t: &TestServer, fields: &[(&str, &str)], session: &str) -> Result<Response, Response> {
    let request = Request::post_form("/consent", form(fields));
    let (waiting, form) = t.server.resume_form(&request, session).await?;
    Ok(if form.approved { waiting.approve(by("alice").scope(&form.scope)).await } else { waiting.deny().await }.into())
}

async fn form_token(t: &TestServer, app: &TestClient) -> String {
    consent(t, &Ask::code(app).with("scope", "user:read user:write")).await.form_token("session")
}

// covers: CU-01 (RFC 6749 §10.12), CU-10 (RFC 6749 §3.3), SC-09 (RFC 6749 §4.1.2.1), B45
#[tokio::test]
async fn submitted_form_decides_its_own_request() {
    let (t, app) = public().await;
    let approve = ("decision", "approve");
    let read = ("scope", "user:read");

    let token = &form_token(&t, &app).await;
    let all = submit(&t, &[("form_token", token), read, ("scope", "user:write"), approve], "session").await.unwrap();
    assert_eq!(query_of(&all).keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
    assert_eq!(grants_of(&t, &app).await[0].scope.as_str(), "user:read user:write");

    t.clock.advance(Duration::seconds(1));
    // Fields and scopes that the page did not offer are ignored.
    let token = &form_token(&t, &app).await;
    let forged = [read, ("scope", "offline_access"), ("client_id", "x"), ("redirect_uri", "https://evil.example/")];
    let fields = [&[("form_token", &**token), approve], &forged[..]].concat();
    let narrowed = submit(&t, &fields, "session").await.unwrap();
    assert!(
        narrowed.header("location").unwrap().starts_with("https://app.example/cb?code="),
        "{}",
        describe(&narrowed)
    );
    assert_eq!(grants_of(&t, &app).await[0].scope.as_str(), "user:read");

    let before = grants_of(&t, &app).await.len();
    for no in [
        &[read, ("decision", "deny")][..],
        &[read],
        &[read, ("decision", "")],
        &[read, ("decision", "yes")],
        &[read, approve, ("decision", "deny")],
        &[approve],
        &[approve, ("scope", "offline_access")],
    ] {
        let token = form_token(&t, &app).await;
        let answer = submit(&t, &[&[("form_token", &*token)], no].concat(), "session").await.unwrap();
        assert_error(&answer, CALLBACK, "access_denied", STATE);
    }
    assert_eq!(grants_of(&t, &app).await.len(), before);
}

// covers: CU-01 (RFC 6749 §10.12), CU-09 (RFC 6749 §10.12), B37, B45
#[tokio::test]
async fn forged_form_gets_a_page_and_grants_nothing() {
    let (t, app) = public().await;
    let token = &form_token(&t, &app).await;
    let rest = [("scope", "user:read"), ("decision", "approve")];
    let other_session = submit(&t, &[&[("form_token", &**token)], &rest[..]].concat(), "another").await.unwrap_err();
    assert_page(&other_session, 400, "invalid_request", "this form does not belong to your current session");
    let missing = submit(&t, &rest, "session").await.unwrap_err();
    assert_page(&missing, 400, "invalid_request", "the parameter form_token is missing");
    let fields = [&[("form_token", &**token), ("form_token", token)], &rest[..]].concat();
    let repeated = submit(&t, &fields, "session").await.unwrap_err();
    assert_page(&repeated, 400, "invalid_request", "the parameter form_token occurs more than once");

    let encoded = form(&[&[("form_token", &**token)], &rest[..]].concat());
    // A link or an image can make a browser send a GET with any query.
    let by_link =
        t.server.resume_form(&Request::get(format!("/consent?{encoded}")), "session").await.unwrap_err().to_response();
    assert_page(&by_link, 405, "invalid_request", "this endpoint does not support this HTTP method");
    assert_eq!(by_link.header("allow"), Some("POST"));
    let text = Request::new("POST", "/consent").with_header("content-type", "text/plain").with_body(encoded);
    let as_text = t.server.resume_form(&text, "session").await.unwrap_err().to_response();
    assert_page(&as_text, 400, "invalid_request", "the request body is not application/x-www-form-urlencoded");

    assert!(grants_of(&t, &app).await.is_empty());
    let names = t.events.names();
    assert_eq!((names[0], names.len()), ("authorization_stale", 5));
    assert!(names[1..].iter().all(|name| *name == "authorization_refused"), "{names:?}");
}
