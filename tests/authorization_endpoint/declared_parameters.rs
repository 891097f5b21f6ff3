//! Request parameters survive login and consent, including those that the host app declared, up to 16 KiB.

use grantor::testing::ISSUER;
use grantor::{
    AuthorizationOutcome, AuthorizationRequest, AuthorizationServer, BuildError, Consent, MemoryStorage,
    PendingAuthorization, Refusal, Request,
};

use crate::ask::{Ask, CALLBACK, assert_error, assert_page, by, consent, pending, refused, subject};
use crate::common::{CHALLENGE, query_of, responded};
use crate::source::{TestServer, public};

const SESSION: &str = "a-random-session-identifier";
/// The greatest total size of all names and values of a request.
const MAX: usize = 16 * 1024;
const TOO_LARGE: &str = "the request is too large";

async fn ask_alice(request: PendingAuthorization) -> Consent {
    grantor::testing::ask(request, subject("alice")).await
}

/// A server whose host reads `nonce`, which the library does not know.
fn server() -> TestServer {
    TestServer::with(|builder| builder.authorization_parameter("nonce").authorization_parameter("x.tenant"))
}

#[tokio::test]
async fn declared_parameter_reaches_consent_and_approval() {
    let t = server();
    let app = t.public_client(CALLBACK).await;
    let nonce = "n-0S6_ \u{e9}&=%\0\"<";
    let ask = Ask::code(&app).and("nonce", nonce).and("undeclared", "x");
    for request in [ask.get(), ask.post()] {
        let AuthorizationOutcome::Pending(shown) = t.server.authorize(&request).await else {
            panic!("the request is valid")
        };
        assert_eq!(shown.parameter("nonce"), Some(nonce));
        let form_token = ask_alice(shown).await.form_token(SESSION);
        let approved = t.server.resume(&form_token, SESSION).await.expect("an untouched token");
        assert_eq!(approved.request().parameter("nonce"), Some(nonce));
        assert!(approved.approve(by("alice")).await.code().is_some());
    }
    let request = AuthorizationRequest::code(&app.id).scope("user:read").code_challenge_s256(CHALLENGE);
    let typed = t.server.authorization_request(&request.parameter("nonce", nonce)).await.expect("a good request");
    assert_eq!(typed.parameter("nonce"), Some(nonce));
}

#[tokio::test]
async fn empty_or_undeclared_parameter_reads_as_absent() {
    let t = server();
    let app = t.public_client(CALLBACK).await;
    let ask = Ask::code(&app).without("redirect_uri").and("nonce", "").and("undeclared", "x");
    let shown = consent(&t, &ask).await;
    for consent in [t.server.resume(&shown.form_token(SESSION), SESSION).await.unwrap(), shown] {
        let request = consent.request();
        assert_eq!(request.parameter("client_id"), Some(&*app.id));
        assert_eq!(request.parameter("state"), Some("af0ifjsldkj"));
        for (name, why) in [
            ("redirect_uri", "it was not sent"),
            ("nonce", "it was empty"),
            ("x.tenant", "it was not sent"),
            ("undeclared", "it is not declared"),
        ] {
            assert_eq!(request.parameter(name), None, "{name}: {why}");
        }
        let shown = format!("{request:?}");
        assert!(!shown.contains("af0ifjsldkj"), "values are not for logs: {shown}");
    }
}

// covers: PP-04 (RFC 8707 §2)
#[tokio::test]
async fn declared_parameter_may_not_repeat() {
    let t = server();
    let app = t.public_client(CALLBACK).await;
    let answer = refused(&t, &Ask::code(&app).and("nonce", "a").and("nonce", "a")).await;
    assert_error(&answer, CALLBACK, "invalid_request", Some("af0ifjsldkj"));
    assert_eq!(query_of(&answer)["error_description"], "the parameter nonce occurs more than once");
    let (undeclared, app) = public().await;
    drop(pending(&undeclared, &Ask::code(&app).and("nonce", "a").and("nonce", "a")).await);
}

/// `audience` may repeat at other endpoints.
#[tokio::test]
async fn declared_audience_may_not_repeat() {
    let t = TestServer::with(|builder| builder.authorization_parameter("audience"));
    let app = t.public_client(CALLBACK).await;
    let ask = Ask::code(&app).and("audience", "https://api.example/");
    assert_eq!(pending(&t, &ask).await.parameter("audience"), Some("https://api.example/"));
    let answer = refused(&t, &ask.twice("audience")).await;
    assert_error(&answer, CALLBACK, "invalid_request", Some("af0ifjsldkj"));
    assert_eq!(query_of(&answer)["error_description"], "the parameter audience occurs more than once");
}

#[tokio::test]
async fn declared_parameter_needs_a_free_name() {
    let build = |names: &[&'static str]| {
        let builder = AuthorizationServer::builder(ISSUER).storage(MemoryStorage::new()).scope("a", "A");
        names.iter().fold(builder, |builder, name| builder.authorization_parameter(name)).build()
    };
    assert!(build(&["nonce", "x-1.a_b"]).await.is_ok());
    for wrong in ["", "a b", "a&b", "a=b", "caf\u{e9}", "a:b"] {
        assert!(
            matches!(build(&["nonce", wrong]).await, Err(BuildError::ParameterName(name)) if name == wrong),
            "{wrong}"
        );
    }
    for known in ["client_id", "redirect_uri", "response_type", "response_mode", "state", "scope", "code_challenge"] {
        let error = build(&[known]).await.unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("the authorization parameter {known:?} is built in or declared twice: remove the declaration")
        );
    }
    assert!(matches!(build(&["nonce", "nonce"]).await, Err(BuildError::KnownParameter("nonce"))));
}

/// Fills a request up to `size` bytes of names and values, with characters that grow when they are encoded.
fn filled(ask: &Ask, name: &str, size: usize) -> Ask {
    let rest = size - ask.size() - name.len();
    ask.clone().and(name, &"\"".repeat(rest))
}

// covers: PP-12 (RFC 6749 §10.14)
#[tokio::test]
async fn parameters_of_16_kib_work_through_consent() {
    let t = server();
    let app = t.public_client(CALLBACK).await;
    let ask = filled(&Ask::code(&app), "nonce", MAX);
    let sent = MAX - Ask::code(&app).size() - "nonce".len();
    for request in [ask.get(), ask.post()] {
        let AuthorizationOutcome::Pending(shown) = t.server.authorize(&request).await else {
            panic!("16 KiB are accepted")
        };
        assert_eq!(shown.parameter("nonce").unwrap().len(), sent);
        let form_token = ask_alice(shown).await.form_token(SESSION);
        let form = format!("form_token={form_token}&decision=approve&scope=user%3Aread");
        let submitted = Request::post_form("/consent", form);
        let (resumed, form) = t.server.resume_form(&submitted, SESSION).await.expect("the form fits");
        assert!(form.approved);
        assert_eq!(resumed.request().parameter("nonce").unwrap().len(), sent);
        assert!(resumed.approve(by("alice")).await.code().is_some());
    }
}

/// Asserts that an accepted request comes back from login and from the consent page.
#[tokio::test]
async fn parameters_up_to_half_of_max_body_work() {
    for max_body in [4_096, 8_192, 20_000, 40_000] {
        let t = TestServer::with(|builder| {
            let mut policy = grantor::Policy::default();
            policy.max_body = max_body;
            builder.authorization_parameter("nonce").policy(policy)
        });
        let app = t.public_client(CALLBACK).await;
        let most = MAX.min(max_body / 2);
        let sized = |size: usize| {
            let ask = Ask::code(&app);
            let rest = size - ask.size() - "nonce".len();
            ask.and("nonce", &"n".repeat(rest))
        };
        let target = pending(&t, &sized(most)).await.return_target();
        let AuthorizationOutcome::Pending(back) = t.server.authorize(&Request::get(target)).await else {
            panic!("{max_body}")
        };
        let form =
            format!("form_token={}&decision=approve&scope=user%3Aread", ask_alice(back).await.form_token(SESSION));
        let (resumed, _) =
            t.server.resume_form(&Request::post_form("/consent", form), SESSION).await.expect("the form fits");
        assert!(resumed.approve(by("alice")).await.code().is_some());
        assert_page(&refused(&t, &sized(most + 1)).await, 413, "invalid_request", TOO_LARGE);
    }
}

#[tokio::test]
async fn parameters_above_16_kib_are_refused_first() {
    let t = server();
    let app = t.public_client(CALLBACK).await;
    let faultless = Ask::code(&app);
    for name in ["nonce", "undeclared", "state"] {
        for ask in [filled(&faultless, name, MAX + 1), filled(&faultless.clone().with("scope", "nope"), name, MAX + 1)]
        {
            for request in [ask.get(), ask.post()] {
                assert_page(&responded(t.server.authorize(&request).await), 413, "invalid_request", TOO_LARGE);
            }
        }
    }
    let request = AuthorizationRequest::code(&app.id).scope("user:read").code_challenge_s256(CHALLENGE);
    let nonce = "n".repeat(MAX);
    let error = t.server.authorization_request(&request.parameter("nonce", &nonce)).await.unwrap_err();
    assert_eq!(error.error().refusal(), Some(&Refusal::BodyTooLarge));
    assert_page(&error.into(), 413, "invalid_request", TOO_LARGE);
    // The keys of the client are needed to read a request object. A second `state` is never in an object.
    let lookups = if crate::source::IS_SIGNED { 8 } else { 0 };
    assert_eq!(t.faults.calls(), 1 + lookups, "the storage was claimed, and no other client was looked up");
}
