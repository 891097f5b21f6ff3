//! Return targets: the way back to a request after login, only for requests of this server.

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::capability::{BuildView, Capability, Endpoint, ServerView};
use grantor::testing::SeededEntropy;
use grantor::{
    AuthorizationOutcome, AuthorizationServer, Client, Clock, Interaction, Login, MemoryStorage, PendingAuthorization,
    Request, Response, UserSession,
};
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_error, assert_page, by, client_of, consent, pending, refused, subject};
use crate::common::responded;
use crate::source::{TestServer, public};

const STALE: &str = "this form has expired";
const SESSION: &str = "a-random-session-identifier";

async fn login(t: &TestServer, target: impl Into<String>) -> Login {
    match t.server.interaction(&Request::get(target), None).await {
        Interaction::Login(login) => login,
        other => panic!("a login is needed: {other:?}"),
    }
}

async fn back(t: &TestServer, target: &str) -> PendingAuthorization {
    match t.server.authorize(&Request::get(target)).await {
        AuthorizationOutcome::Pending(pending) => pending,
        AuthorizationOutcome::Respond(response) => panic!("the request is valid: {response:?}"),
    }
}

/// A capability that only declares a parameter.
struct Nonce;

#[async_trait]
impl Capability for Nonce {
    fn name(&self) -> &'static str {
        "nonce"
    }

    fn endpoints(&self, _: &BuildView<'_>) -> Vec<Endpoint> {
        Vec::new()
    }

    fn authorization_parameters(&self, _: &BuildView<'_>) -> Vec<&'static str> {
        vec!["nonce"]
    }

    async fn respond(&self, _: &str, _: &Request, _: ServerView<'_>) -> Response {
        Response::new(404)
    }
}

// covers: OC-33 (RFC 6749 §10.12)
#[tokio::test]
async fn declared_parameter_survives_login_and_consent() {
    nonce_survives_login_and_consent(&TestServer::with(|builder| builder.authorization_parameter("nonce"))).await;
}

// covers: OC-33 (RFC 6749 §10.12), PP-04 (OAuth 2.1 §3.1)
#[tokio::test]
async fn capability_parameter_survives_login_and_consent() {
    let t = TestServer::with(|builder| builder.capability(Nonce));
    nonce_survives_login_and_consent(&t).await;
    let app = t.public_client(CALLBACK).await;
    let answer = refused(&t, &Ask::code(&app).and("nonce", "a").and("nonce", "a")).await;
    assert_error(&answer, CALLBACK, "invalid_request", Some("af0ifjsldkj"));

    // A form made while the capability existed is stale without it.
    let with = TestServer::with(|builder| builder.server_key(&[7; 32], &[]).capability(Nonce));
    let without = TestServer::with(|builder| builder.server_key(&[7; 32], &[]));
    let [app, same] = [with.public_client(CALLBACK).await, without.public_client(CALLBACK).await];
    assert_eq!(app.id, same.id);
    let form_token = consent(&with, &Ask::code(&app).and("nonce", "a")).await.form_token(SESSION);
    assert_page(&without.server.resume(&form_token, SESSION).await.unwrap_err().into(), 400, "invalid_request", STALE);
    assert!(with.server.resume(&form_token, SESSION).await.is_ok());
}

/// Sends the request by GET and by POST, logs in, and submits the consent form.
async fn nonce_survives_login_and_consent(t: &TestServer) {
    let app = t.public_client(CALLBACK).await;
    let nonce = "n-0S6_ \u{e9}&=%\0\"<";
    let alice = UserSession::new(subject("alice"));
    let ask = Ask::code(&app).and("nonce", nonce).with("prompt", "select_account");
    for request in [ask.get(), ask.post()] {
        let login = match t.server.authorize(&request).await {
            AuthorizationOutcome::Pending(pending) => pending.interaction(None).await,
            AuthorizationOutcome::Respond(response) => panic!("the request is valid: {response:?}"),
        };
        let Interaction::Login(login) = login else { panic!("a login is needed") };
        assert_eq!(login.request().parameter("nonce"), Some(nonce));
        let back = t.server.interaction(&Request::get(login.return_target()), Some(&alice)).await;
        let Interaction::Consent(asked) = back else { panic!("alice is asked: {back:?}") };
        assert_eq!(asked.request().parameter("nonce"), Some(nonce));
        let resumed = t.server.resume(&asked.form_token(SESSION), SESSION).await.expect("an untouched token");
        assert_eq!(resumed.request().parameter("nonce"), Some(nonce));
        assert_eq!(resumed.request().parameter("prompt"), Some("select_account"));
        assert!(resumed.approve(by("alice")).await.code().is_some());
    }
}

#[tokio::test]
async fn parameters_of_16_kib_work_through_login() {
    let t = TestServer::with(|builder| builder.authorization_parameter("nonce"));
    let app = t.public_client(CALLBACK).await;
    let ask = Ask::code(&app);
    // This character grows when it is form-encoded, but not in a return target.
    let nonce = "\"".repeat(16 * 1024 - ask.size() - "nonce".len());
    let target = login(&t, ask.and("nonce", &nonce).get().target()).await.return_target();
    assert!(
        target.len() < 23 * 1024 && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/?=-_".contains(&byte))
    );
    let again = back(&t, &target).await;
    assert_eq!(again.parameter("nonce"), Some(&*nonce));
    // The return target does not grow at each visit, and the consent form fits too.
    assert!(again.return_target().len() <= target.len());
    let asked = grantor::testing::ask(again, subject("alice")).await;
    let form = format!("form_token={}&decision=approve&scope=user%3Aread", asked.form_token(SESSION));
    let (resumed, _) =
        t.server.resume_form(&Request::post_form("/consent", form), SESSION).await.expect("the form fits");
    assert!(resumed.approve(by("alice")).await.code().is_some());
}

#[tokio::test]
async fn return_target_is_a_path_of_authorization_endpoint() {
    for (url, begins) in [
        ("https://id.example/authorize", "/authorize?return_target="),
        ("https://id.example/oauth/authorize?tenant=1", "/oauth/authorize?tenant=1&return_target="),
    ] {
        let t = TestServer::with(|builder| builder.endpoints(move |urls| urls.authorization = Some(url.to_owned())));
        let app = t.public_client(CALLBACK).await;
        let target = login(&t, Ask::code(&app).get().target()).await.return_target();
        assert!(target.starts_with(begins), "{target}");
        assert_eq!(t.server.check_return_target(&target), Some(&*target));
        assert_eq!(back(&t, &target).await.parameter("state"), Some("af0ifjsldkj"));
    }
}

/// Without this refusal, a parser that ignores `return_target` and reads the other parameters would see the request of
/// another client.
// covers: B37
#[tokio::test]
async fn return_target_beside_a_known_parameter_is_refused() {
    let t = TestServer::with(|builder| builder.authorization_parameter("nonce"));
    let [app, other] = [t.public_client(CALLBACK).await, t.public_client(CALLBACK).await];
    let target = login(&t, Ask::code(&app).get().target()).await.return_target();
    for (name, value) in
        [("client_id", &*other.id), ("client_id", &app.id), ("prompt", "none"), ("nonce", "x"), ("state", "")]
    {
        let description = format!("the parameter {name} occurs more than once");
        let (path, query) = target.split_once('?').unwrap();
        for request in [
            Request::get(format!("{target}&{name}={value}")),
            Request::get(format!("{path}?{name}={value}&{query}")),
            Request::post_form(path, format!("{query}&{name}={value}")),
        ] {
            assert_page(&responded(t.server.authorize(&request).await), 400, "invalid_request", &description);
        }
    }
    assert_eq!(back(&t, &format!("{target}&lang=de")).await.client().id().as_str(), app.id);
}

/// A browser reads `//authorize?..` as the address of the host `authorize`.
#[tokio::test]
async fn endpoint_path_with_leading_double_slash_does_not_build() {
    for url in ["https://id.example//authorize", "https://id.example///authorize", "https://id.example//"] {
        let builder = AuthorizationServer::builder("https://id.example").storage(MemoryStorage::new());
        let builder = builder.scope("user:read", "Read your profile");
        let error = builder.endpoints(move |urls| urls.authorization = Some(url.to_owned())).build().await.unwrap_err();
        assert!(matches!(&error, grantor::BuildError::Endpoint(wrong) if wrong == url), "{error}");
    }
}

#[tokio::test]
async fn foreign_return_target_is_refused() {
    let (t, app) = public().await;
    let target = login(&t, Ask::code(&app).get().target()).await.return_target();
    let asked = consent(&t, &Ask::code(&app)).await;
    let form_token = asked.form_token(SESSION);
    for other in [
        "",
        "/",
        "/authorize",
        "/authorize?",
        "/authorize?return_target=",
        "https://evil.example/",
        "//evil.example/authorize?return_target=",
        Ask::code(&app).get().target(),
        &format!("https://evil.example{target}"),
        &format!("/{target}"),
        &format!(" {target}"),
        &format!("{target} "),
        &format!("{target}="),
        &format!("{target}&prompt=none"),
        &format!("{target}\r\nset-cookie: a=b"),
        &target.replace("/authorize", "/logout"),
        &format!("/authorize?return_target={form_token}"),
    ] {
        assert_eq!(t.server.check_return_target(other), None, "{other:?}");
    }
    let sealed = target.strip_prefix("/authorize?return_target=").unwrap();
    assert!(t.server.resume(sealed, SESSION).await.is_err(), "a return target is no form token");
    let bytes = URL_SAFE_NO_PAD.decode(sealed).unwrap();
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 1;
        let changed = format!("/authorize?return_target={}", URL_SAFE_NO_PAD.encode(changed));
        assert_eq!(t.server.check_return_target(&changed), None, "byte {at}");
    }
}

#[tokio::test]
async fn changed_return_target_gets_a_page_and_no_redirect() {
    let (t, app) = public().await;
    let target = login(&t, Ask::code(&app).get().target()).await.return_target();
    let cut = &target[..target.len() - 1];
    let hybrid = format!("{}&return_target=x", Ask::code(&app).get().target());
    for wrong in [cut, "/authorize?return_target=x", &hybrid] {
        let answer = responded(t.server.authorize(&Request::get(wrong)).await);
        assert_page(&answer, 400, "invalid_request", STALE);
    }
    let twice = format!("{target}&{}", target.split_once('?').unwrap().1);
    let answer = responded(t.server.authorize(&Request::get(twice)).await);
    assert_page(&answer, 400, "invalid_request", "the parameter return_target occurs more than once");
}

#[tokio::test]
async fn return_target_works_on_every_node_of_its_server() {
    let node = |seed, key: [u8; 32]| {
        TestServer::with(|builder| builder.entropy(SeededEntropy::new(seed)).server_key(&key, &[]))
    };
    let (first, second, other) = (node(1, [7; 32]), node(2, [7; 32]), node(3, [8; 32]));
    let app = first.public_client(CALLBACK).await;
    second.public_client(CALLBACK).await;
    other.public_client(CALLBACK).await;
    let target = login(&first, Ask::code(&app).get().target()).await.return_target();
    assert_eq!(second.server.check_return_target(&target), Some(&*target));
    assert_eq!(back(&second, &target).await.parameter("state"), Some("af0ifjsldkj"));
    assert_eq!(other.server.check_return_target(&target), None);
    let answer = responded(other.server.authorize(&Request::get(&*target)).await);
    assert_page(&answer, 400, "invalid_request", STALE);
    let issuer = AuthorizationServer::builder("https://other.example").storage(MemoryStorage::new());
    let issuer = issuer.scope("user:read", "Read your profile").server_key(&[7; 32], &[]).build().await.unwrap();
    assert_eq!(issuer.check_return_target(&target), None, "another issuer with the same key");
}

#[tokio::test]
async fn expired_return_target_restarts_the_request() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("prompt", "login");
    let target = login(&t, ask.get().target()).await.return_target();
    let alice = UserSession::new(subject("alice")).authenticated_at(t.clock.now());
    t.clock.advance(Duration::minutes(30));
    let next = back(&t, &target).await.interaction(Some(&alice)).await;
    assert!(matches!(next, Interaction::Consent(_)), "{next:?}");
    t.clock.advance(Duration::SECOND);
    assert_eq!(t.server.check_return_target(&target), Some(&*target), "the target still leads to this server");
    let next = back(&t, &target).await.interaction(Some(&alice)).await;
    assert!(matches!(next, Interaction::Login(_)), "an old login counted as fresh: {next:?}");
}

/// The user left the login page open for hours.
#[tokio::test]
async fn login_longer_than_return_target_lifetime_counts() {
    for (name, value) in [("prompt", "login"), ("max_age", "0"), ("max_age", "60")] {
        let (t, app) = public().await;
        let target = login(&t, Ask::code(&app).with(name, value).get().target()).await.return_target();
        t.clock.advance(Duration::hours(9));
        let alice = UserSession::new(subject("alice")).authenticated_at(t.clock.now());
        t.clock.advance(Duration::SECOND);
        let next = back(&t, &target).await.interaction(Some(&alice)).await;
        let Interaction::Consent(asked) = next else { panic!("{name}={value}: alice has just logged in: {next:?}") };
        assert!(asked.approve(grantor::Approval::by(&alice)).await.code().is_some());
    }
}

#[tokio::test]
async fn expired_return_target_asks_for_the_account_again() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("prompt", "select_account");
    let target = login(&t, ask.get().target()).await.return_target();
    let alice = UserSession::new(subject("alice"));
    t.clock.advance(Duration::minutes(30));
    let next = back(&t, &target).await.interaction(Some(&alice)).await;
    assert!(matches!(next, Interaction::Consent(_)), "{next:?}");
    t.clock.advance(Duration::MICROSECOND);
    let next = back(&t, &target).await.interaction(Some(&alice)).await;
    assert!(matches!(next, Interaction::SelectAccount(_)), "{next:?}");
}

#[tokio::test]
async fn returning_request_is_validated_again() {
    use grantor::ClientRegistry;
    let (t, app) = public().await;
    let target = pending(&t, &Ask::code(&app)).await.return_target();
    let before = client_of(&t, &app).await;
    let mut parts = before.parts().clone();
    parts.scope = Some("user:write".parse().unwrap());
    t.storage.update(Client::from_parts(parts).unwrap(), before.version()).await.unwrap();
    let answer = responded(t.server.authorize(&Request::get(&*target)).await);
    assert_error(&answer, CALLBACK, "invalid_scope", Some("af0ifjsldkj"));
    // The present default scope applies, because no consent page was shown yet.
    let other = t
        .register(
            Client::public("b")
                .authorization_code([CALLBACK])
                .scope("user:read user:write")
                .default_scope("user:read")
                .build(),
            None,
        )
        .await;
    let target = pending(&t, &Ask::code(&other).without("scope")).await.return_target();
    let before = client_of(&t, &other).await;
    let mut parts = before.parts().clone();
    parts.default_scope = Some("user:write".parse().unwrap());
    t.storage.update(Client::from_parts(parts).unwrap(), before.version()).await.unwrap();
    assert_eq!(back(&t, &target).await.scope().as_str(), "user:write");
}
