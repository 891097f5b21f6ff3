//! PKCE at the authorization endpoint: when a challenge is required, and which challenges are accepted.

use grantor::testing::TestClient;
use grantor::{AuthorizationCode, ChallengeMethod, Client, Storage};

use crate::ask::{Ask, CALLBACK, approved, assert_error, pending, refused};
use crate::common::{CHALLENGE, VERIFIER, query_of};
use crate::source::{TestServer, public};

const STATE: Option<&str> = Some("af0ifjsldkj");

/// Asserts that a request is refused for its PKCE parameters, by an error that is sent to the client.
async fn assert_refused(t: &TestServer, ask: &Ask, description: &str) {
    let answer = refused(t, ask).await;
    assert_error(&answer, CALLBACK, "invalid_request", STATE);
    assert_eq!(query_of(&answer)["error_description"], description);
}

fn without_challenge(client: &TestClient) -> Ask {
    Ask::code(client).without("code_challenge").without("code_challenge_method")
}

async fn native_client(t: &TestServer) -> TestClient {
    t.register(Client::native("native").authorization_code([CALLBACK]).scope("user:read").build(), None).await
}

// covers: PK-06 (RFC 7636 §4.4.1), PK-07 (RFC 7636 §4.4.1), PK-08 (OAuth 2.1 §4.1.2.1), PK-09, PK-10 (RFC 8252 §8.1)
#[tokio::test]
async fn every_client_needs_a_pkce_challenge() {
    let t = TestServer::new();
    for app in [t.public_client(CALLBACK).await, t.confidential_client(CALLBACK).await, native_client(&t).await] {
        assert_refused(&t, &without_challenge(&app), "PKCE is required: code_challenge is missing").await;
        drop(pending(&t, &Ask::code(&app)).await);
    }
}

// covers: PK-08 (OAuth 2.1 §4.1.2.1), PK-09
#[tokio::test]
async fn missing_pkce_needs_confidential_client_and_both_switches() {
    let (on, off) = (TestServer::with_policy(|policy| policy.dangerous().pkce_optional = true), TestServer::new());
    for (t, registered) in [(&on, true), (&on, false), (&off, true), (&off, false)] {
        let app = t
            .confidential_client_with(|client| {
                let client = client.authorization_code([CALLBACK]).scope("user:read");
                if registered { client.pkce_optional() } else { client }
            })
            .await;
        let ask = without_challenge(&app);
        if registered && t.policy().allowed_dangers().pkce_optional {
            drop(pending(t, &ask).await);
        } else {
            assert_refused(t, &ask, "PKCE is required: code_challenge is missing").await;
        }
    }
    for app in [on.public_client(CALLBACK).await, native_client(&on).await] {
        assert_refused(&on, &without_challenge(&app), "PKCE is required: code_challenge is missing").await;
    }
    let mut parts = crate::ask::client_of(&on, &on.public_client(CALLBACK).await).await.parts().clone();
    parts.legacy.pkce_optional = true;
    assert_eq!(Client::from_parts(parts).unwrap_err(), grantor::client::ClientError::PkceOptionalForPublic);
}

// covers: PK-03 (RFC 7636 §7.2), PK-04 (RFC 7636 §4.3, §4.4.1), PK-06, AMB-13
#[tokio::test]
async fn explicit_or_implied_plain_pkce_is_refused() {
    let t = TestServer::new();
    let client = Client::public("legacy").authorization_code([CALLBACK]).plain_pkce().scope("user:read").build();
    for app in [t.public_client(CALLBACK).await, t.register(client, None).await] {
        for challenge in [CHALLENGE, VERIFIER] {
            let ask = Ask::code(&app).with("code_challenge", challenge);
            let plain = ask.clone().with("code_challenge_method", "plain");
            assert_refused(&t, &plain, "PKCE: the code_challenge_method plain is not supported: use S256").await;
            let no_method = ask.without("code_challenge_method");
            assert_refused(&t, &no_method, "the parameter code_challenge_method is missing").await;
        }
    }
}

// covers: PK-04 (RFC 7636 §4.3), PK-19 (RFC 7636 §4.2), AMB-13, B13
#[tokio::test]
async fn allowed_plain_pkce_is_the_default_and_43_to_128_long() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_plain_pkce = true);
    let client = Client::public("legacy").authorization_code([CALLBACK]).plain_pkce().scope("user:read").build();
    let (legacy, modern) = (t.register(client, None).await, t.public_client(CALLBACK).await);
    let no_method = Ask::code(&legacy).without("code_challenge_method").with("code_challenge", VERIFIER);
    let named = no_method.clone().with("code_challenge_method", "plain");
    for ask in [no_method.clone(), named] {
        let code = AuthorizationCode::new(&*query_of(&approved(&t, &ask).await)["code"]);
        let stored = t.storage.find(&code.hash()).await.unwrap().expect("the code is stored").token;
        let challenge = stored.details.code.as_ref().unwrap().code_challenge.clone().expect("a challenge is stored");
        assert_eq!((challenge.method(), challenge.as_str()), (ChallengeMethod::Plain, VERIFIER));
    }
    for good in ["a".repeat(43), "-._~".repeat(32)] {
        drop(pending(&t, &no_method.clone().with("code_challenge", &good)).await);
    }
    let long = "a".repeat(43);
    let bad = ["a".repeat(42), "a".repeat(129), format!("{long}+"), format!("{long}\n"), format!("{long}=")];
    for bad in bad {
        let ask = no_method.clone().with("code_challenge", &bad);
        assert_refused(&t, &ask, "the parameter code_challenge is malformed").await;
    }
    let not_its_habit = Ask::code(&modern).with("code_challenge_method", "plain");
    assert_refused(&t, &not_its_habit, "PKCE: the code_challenge_method plain is not supported: use S256").await;
}

// covers: PK-05 (RFC 7636 §4.4.1), PK-06, PK-23 (RFC 6749 §1.9; RFC 7636 §6.2.1)
#[tokio::test]
async fn unknown_or_miscased_challenge_method_is_refused() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_plain_pkce = true);
    let app = t.public_client(CALLBACK).await;
    for method in ["S512", "s256", "S256 ", " S256", "PLAIN", "Plain", "S256,plain", "S256\n", "none", "S2"] {
        let ask = Ask::code(&app).with("code_challenge_method", method);
        assert_refused(&t, &ask, "PKCE: this code_challenge_method is not supported: use S256").await;
    }
}

// covers: PK-19 (RFC 7636 §4.2), B13
#[tokio::test]
async fn s256_challenge_is_43_base64url_characters() {
    let (t, app) = public().await;
    let head = &CHALLENGE[..42];
    for bad in [
        head.to_owned(),
        format!("{CHALLENGE}="),
        format!("{CHALLENGE}a"),
        format!("{CHALLENGE}\n"),
        format!("\n{head}"),
        format!("{head}="),
        format!("{head}\n"),
        format!("{head} "),
        format!("{head}\0"),
        format!("{head}+"),
        format!("{head}/"),
        format!("{head}~"),
        format!("{head}."),
        format!("{}\u{e9}", &CHALLENGE[..41]),
        "a".repeat(128),
        "x".to_owned(),
    ] {
        let ask = Ask::code(&app).with("code_challenge", &bad);
        assert_refused(&t, &ask, "the parameter code_challenge is malformed").await;
    }
}

// covers: PK-20 (RFC 7636 §4.3)
#[tokio::test]
async fn challenge_method_without_challenge_is_refused() {
    let t = TestServer::with_policy(|policy| policy.dangerous().pkce_optional = true);
    let lenient = t
        .confidential_client_with(|client| client.authorization_code([CALLBACK]).pkce_optional().scope("user:read"))
        .await;
    for app in [lenient, t.public_client(CALLBACK).await] {
        for method in ["S256", "plain", "x"] {
            let ask = Ask::code(&app).without("code_challenge").with("code_challenge_method", method);
            assert_refused(&t, &ask, "the parameter code_challenge is missing").await;
        }
    }
}
