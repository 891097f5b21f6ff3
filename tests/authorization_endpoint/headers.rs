//! The headers of every response: no storing, no framing, no referrer, no CORS.

use std::net::IpAddr;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::client::RegisteredBy;
use grantor::{
    Authenticator, AuthenticatorError, Client, Policy, Request, ResourceOwnerAttempt, Response, StorageError, Subject,
    Verdict,
};

use crate::ask::{Ask, CALLBACK, approved, assert_error, by, consent, pending, refused};
use crate::common::{basic, form, location, query_of, responded};
use crate::source::{TestServer, public};

const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";

/// One response of each kind that the endpoint has, by name.
async fn every_answer() -> Vec<(&'static str, Response)> {
    let t = TestServer::with_policy(|policy| {
        policy.dangerous().allow_implicit_grant = true;
        policy.dangerous().allow_out_of_band_redirect = true;
    });
    let client = |id| {
        let client = Client::public(id).authorization_code([CALLBACK, OUT_OF_BAND]).implicit([CALLBACK]);
        client.scope("user:read")
    };
    let app = t.register(client("app").build(), None).await;
    let stranger = t.register(client("stranger").registered_by(RegisteredBy::SelfService).build(), None).await;
    let (code, token) = (Ask::code(&app), Ask::token(&app));
    let shown = code.clone().with("redirect_uri", OUT_OF_BAND);
    t.faults.fail(1, grantor::testing::Fault::Failed);
    let failed = refused(&t, &code).await;
    let options = Request::new("OPTIONS", "/authorize").with_header("origin", "https://evil.example");
    let failure = StorageError::new("gone");
    let form_token = consent(&t, &code).await.form_token("session");
    vec![
        ("a page for an error", refused(&t, &code.clone().without("client_id")).await),
        ("a page for a failure", failed),
        ("a page for a method", responded(t.server.authorize(&options).await)),
        ("a page with a code", approved(&t, &shown).await),
        ("a page for a denial", pending(&t, &shown).await.deny().into()),
        ("a page that asks first", refused(&t, &Ask::code(&stranger).with("scope", "nope")).await),
        ("a page for a forged form", t.server.resume("x", "session").await.unwrap_err().into()),
        ("a page for another session", t.server.resume(&form_token, "other").await.unwrap_err().into()),
        ("a code", approved(&t, &code).await),
        ("a token", approved(&t, &token).await),
        ("a denial", pending(&t, &code).await.deny().into()),
        ("an empty approval", consent(&t, &code).await.approve(by("alice").scope([""])).await.into()),
        ("a failure", pending(&t, &code).await.fail(failure).into()),
        ("an error", refused(&t, &code.with("scope", "nope")).await),
        ("an error in the fragment", refused(&t, &token.with("scope", "nope")).await),
    ]
}

// covers: TL-07 (RFC 6749 §5.1), TL-08 (RFC 6749 §5.1), TL-16 (RFC 9700 §4.2.4), RD-16 (RFC 9700 §4.3.1)
#[tokio::test]
async fn responses_set_no_store_and_no_referrer() {
    for (name, answer) in every_answer().await {
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{name}");
        assert_eq!(answer.header("pragma"), Some("no-cache"), "{name}");
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"), "{name}");
    }
}

// covers: TL-11 (RFC 9700 §4.16), TL-12 (RFC 9700 §4.16), TL-14 (RFC 9700 §4.16), TL-15 (RFC 9700 §4.2.4)
#[tokio::test]
async fn pages_forbid_framing_scripts_and_foreign_content() {
    let answers = every_answer().await;
    let pages: Vec<_> = answers.iter().filter(|(name, _)| name.starts_with("a page")).collect();
    assert_eq!(pages.len(), 8);
    for (name, page) in pages {
        assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"), "{name}");
        assert_eq!(page.header("x-frame-options"), Some("DENY"), "{name}");
        assert_eq!(page.header("x-content-type-options"), Some("nosniff"), "{name}");
        let policy = page.header("content-security-policy").expect(name);
        let directives: Vec<_> = policy.split("; ").collect();
        // `default-src 'none'` covers script-src, img-src and all other directives that are not named.
        for directive in ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"] {
            assert!(directives.contains(&directive), "{name}: {policy}");
        }
        assert!(!policy.contains("script") && !policy.contains("http") && !policy.contains('*'), "{name}: {policy}");
    }
    // A login or consent page of the host gets the same headers from the same constructor.
    let own = Response::page(200, "<form>");
    assert!(own.headers().eq(answers[0].1.headers()));
}

// covers: TL-17 (RFC 9700 §2.6), TL-22 (RFC 6750 §5.3)
#[tokio::test]
async fn responses_allow_no_cors_and_set_no_cookie() {
    let mut answers = every_answer().await;
    let (t, app) = public().await;
    let from_script = |ask: Ask| ask.get().with_header("origin", "https://app.example");
    let preflight = Request::new("OPTIONS", "/authorize")
        .with_header("origin", "https://app.example")
        .with_header("access-control-request-method", "POST");
    answers.push(("a preflight", responded(t.server.authorize(&preflight).await)));
    let bad = from_script(Ask::code(&app).with("scope", "nope"));
    answers.push(("an error for a script", responded(t.server.authorize(&bad).await)));
    for (name, answer) in answers {
        for (header, value) in answer.headers() {
            assert!(!header.starts_with("access-control-") && header != "set-cookie", "{name}: {header}: {value}");
        }
    }
}

// covers: TL-21 (RFC 9110 §15.5.6, §15.5.2)
#[tokio::test]
async fn error_405_lists_methods_and_401_has_a_challenge() {
    let t = TestServer::new();
    let put = responded(t.server.authorize(&Request::new("PUT", "/authorize")).await);
    assert_eq!((put.status(), put.header("allow")), (405, Some("GET, POST")));
    let get = t.server.token(&Request::get("/token")).await;
    assert_eq!((get.status(), get.header("allow")), (405, Some("POST")));
    let request = Request::post_form("/token", form(&[("grant_type", "client_credentials")]));
    let refused = t.server.token(&request.with_header("authorization", basic("nobody", "x"))).await;
    assert_eq!(refused.status(), 401);
    assert!(refused.header("www-authenticate").unwrap().starts_with("Basic realm="));
}

// covers: PP-12 (RFC 6749 §10.14)
#[tokio::test]
async fn every_header_is_one_line_of_printable_ascii() {
    let probe = "a\u{20}%0d%0aSet-Cookie:+x=y";
    let (t, app) = public().await;
    let mut answers = every_answer().await;
    answers.push(("a state that looks like a header", approved(&t, &Ask::code(&app).with("state", probe)).await));
    let split = refused(&t, &Ask::code(&app).without("state").raw("&state=%0d%0aSet-Cookie:x")).await;
    assert_error(&split, CALLBACK, "invalid_request", None);
    answers.push(("a state with a line break", split));
    for (name, answer) in answers {
        for (header, value) in answer.headers() {
            assert!(value.bytes().all(|byte| (0x20..=0x7e).contains(&byte)), "{name}: {header}: {value:?}");
            assert!(header.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'-'), "{name}: {header}");
        }
    }
}

/// Accepts every user and records the peers.
#[derive(Clone, Default)]
struct Peers(Arc<Mutex<Vec<Option<IpAddr>>>>);

#[async_trait]
impl Authenticator for Peers {
    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        self.0.lock().unwrap().push(attempt.peer);
        Ok(Verdict::Accepted(Subject::new(attempt.username).unwrap()))
    }
}

// covers: TL-20 (RFC 9700 §4.13)
#[tokio::test]
async fn forwarded_headers_are_ignored() {
    let peers = Peers::default();
    let mut policy = Policy::default();
    policy.dangerous().allow_password_grant = true;
    let t = TestServer::with(|builder| builder.policy(policy).authenticator(peers.clone()));
    let app =
        t.confidential_client_with(|client| client.authorization_code([CALLBACK]).password().scope("user:read")).await;
    let spoofed = |request: Request| {
        ["host", "x-forwarded-host", "x-forwarded-for", "x-forwarded-proto", "forwarded", "x-real-ip", "x-client-cert"]
            .into_iter()
            .fold(request, |request, name| request.with_header(name, "203.0.113.9"))
    };
    let grantor::AuthorizationOutcome::Pending(waiting) = t.server.authorize(&spoofed(Ask::code(&app).get())).await
    else {
        panic!("the request is valid")
    };
    let answer = grantor::testing::approve(waiting, by("alice")).await.into();
    assert_eq!(location(&answer).host_str(), Some("app.example"));
    assert_eq!(query_of(&answer)["iss"], grantor::testing::ISSUER);

    let password = [("grant_type", "password"), ("username", "alice"), ("password", "x"), ("scope", "user:read")];
    let token = || spoofed(crate::common::token_as(&app, &password));
    assert_eq!(t.server.token(&token()).await.status(), 200);
    let vouched_for: IpAddr = "198.51.100.1".parse().unwrap();
    assert_eq!(t.server.token(&token().with_peer(vouched_for)).await.status(), 200);
    assert_eq!(*peers.0.lock().unwrap(), [None, Some(vouched_for)]);
    // A certificate in a forwarded header does not replace missing credentials.
    let without_secret = [&password[..], &[("client_id", &app.id)]].concat();
    let answer = t.server.token(&spoofed(crate::common::token(&without_secret))).await;
    assert_eq!(answer.status(), 401);
}
