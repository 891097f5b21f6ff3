//! The token endpoint's half of PKCE (RFC 7636 §4.5, §4.6).

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::record::{GrantId, TokenDetails};
use grantor::testing::{TestClient, TestServer};
use grantor::{Approval, AuthorizationCode, AuthorizationOutcome, Grant, Storage, StoredToken, Subject};

use crate::common::{CHALLENGE, VERIFIER, authorize, token_as};
use crate::support::{
    CB, bad_client, bad_grant, bad_request, confidential, granted, public, redemption, row, rows, spied, with,
};

/// A server and a client with every PKCE switch on.
async fn lenient() -> (TestServer, TestClient) {
    let t = TestServer::with_policy(|policy| {
        policy.dangerous().pkce_optional = true;
        policy.dangerous().allow_plain_pkce = true;
    });
    let app = t
        .confidential_client_with(|client| {
            client.authorization_code([CB]).scope("user:read").pkce_optional().plain_pkce()
        })
        .await;
    (t, app)
}

/// A code for an authorization request with these PKCE parameters.
async fn code_for(t: &TestServer, app: &TestClient, pkce: &[(&str, &str)]) -> String {
    let common =
        [("client_id", app.id.as_str()), ("response_type", "code"), ("redirect_uri", CB), ("scope", "user:read")];
    let AuthorizationOutcome::Pending(pending) = t.server.authorize(&authorize(&[&common[..], pkce].concat())).await
    else {
        panic!("the request is valid");
    };
    let response = grantor::testing::approve(pending, Approval::by(Subject::new("alice").unwrap())).await;
    response.code().expect("a code").expose().to_owned()
}

fn s256() -> [(&'static str, &'static str); 2] {
    [("code_challenge", CHALLENGE), ("code_challenge_method", "S256")]
}

fn redeeming<'a>(code: &'a str, verifier: &'a str) -> Vec<(&'static str, &'a str)> {
    let pairs = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CB)];
    with(&pairs, "code_verifier", verifier)
}

// covers: PK-01 (RFC 9700 §2.1.1), PK-02 (RFC 7636 App. B)
#[tokio::test]
async fn example_of_rfc_7636_redeems_a_code_over_http() {
    let t = TestServer::new();
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let code = code_for(&t, &app, &s256()).await;
        granted(&t, &token_as(&app, &redeeming(&code, VERIFIER))).await;
    }
}

// covers: PK-14 (RFC 7636 §4.6), PK-15 (RFC 9700 §2.1.1), GC-13 (RFC 6749 §4.1.2), AMB-12, AMB-15, B15
#[tokio::test]
async fn wrong_verifier_is_refused_with_an_event_and_keeps_the_code() {
    let (t, spy) = spied(|_| {}).await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let code = code_for(&t, &app, &s256()).await;
        let hash = AuthorizationCode::new(code.as_str()).hash();
        let before = rows(&t, &[hash]).await;
        let refusals = t.events.count("token_refused");
        spy.writes();
        let mut attempts = 0;
        for _ in 0..20 {
            for (verifier, reason) in [
                ("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXK", "WrongCodeVerifier"),
                (CHALLENGE, "WrongCodeVerifier"),
                ("", "MissingCodeVerifier"),
            ] {
                bad_grant(&t, &token_as(&app, &redeeming(&code, verifier)), reason).await;
                attempts += 1;
            }
        }
        assert!(spy.writes().is_empty());
        assert_eq!(rows(&t, &[hash]).await, before);
        assert_eq!(t.events.count("token_refused"), refusals + attempts);
        granted(&t, &token_as(&app, &redeeming(&code, VERIFIER))).await;
    }
}

// covers: PK-18 (RFC 7636 §4.1), AMB-12, B13
#[tokio::test]
async fn malformed_verifier_fails_even_if_its_hash_matches() {
    let (t, app) = public().await;
    let long = "a".repeat(129);
    let short = "a".repeat(42);
    for verifier in [
        &short,
        &long,
        &format!("{VERIFIER}\n"),
        &format!("\n{VERIFIER}"),
        &format!("{VERIFIER} "),
        &format!("{VERIFIER}="),
        &VERIFIER.replace('-', "+"),
        &VERIFIER.replace('_', "/"),
        &VERIFIER.replace('-', "\u{e9}"),
        &VERIFIER.replace('-', "\0"),
    ] {
        let verifier: &str = verifier;
        let challenge = grantor::CodeChallenge::s256(&grantor::CodeVerifier::new(verifier));
        let pkce = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
        let code = code_for(&t, &app, &pkce).await;
        bad_grant(&t, &token_as(&app, &redeeming(&code, verifier)), "MalformedCodeVerifier").await;
    }
    for verifier in ["a".repeat(43), "a".repeat(128), format!("{}-._~", "Az09".repeat(10))] {
        let challenge = grantor::CodeChallenge::s256(&grantor::CodeVerifier::new(verifier.as_str()));
        let pkce = [("code_challenge", challenge.as_str()), ("code_challenge_method", "S256")];
        let code = code_for(&t, &app, &pkce).await;
        granted(&t, &token_as(&app, &redeeming(&code, &verifier))).await;
    }
}

// covers: PK-13 (RFC 7636 §4.5), B12
#[tokio::test]
async fn token_request_cannot_change_the_pkce_method() {
    let (t, app) = lenient().await;
    let code = code_for(&t, &app, &s256()).await;
    // With `plain`, the challenge would be its own verifier.
    for extra in [
        &[][..],
        &[("code_challenge_method", "plain")],
        &[("code_challenge_method", "plain"), ("code_challenge", CHALLENGE)],
    ] {
        let pairs = [&redeeming(&code, CHALLENGE)[..], extra].concat();
        bad_grant(&t, &token_as(&app, &pairs), "WrongCodeVerifier").await;
    }
    let pairs = [&redeeming(&code, VERIFIER)[..], &[("code_challenge_method", "plain")]].concat();
    granted(&t, &token_as(&app, &pairs)).await;

    // A plain challenge stays plain as well: the verifier that hashes to it is wrong.
    let code = code_for(&t, &app, &[("code_challenge", CHALLENGE), ("code_challenge_method", "plain")]).await;
    let pairs = [&redeeming(&code, VERIFIER)[..], &[("code_challenge_method", "S256")]].concat();
    bad_grant(&t, &token_as(&app, &pairs), "WrongCodeVerifier").await;
    granted(&t, &token_as(&app, &redeeming(&code, CHALLENGE))).await;
}

// covers: PK-16 (RFC 9700 §4.8.2), TE-10 (OAuth 2.1 §3.2.4), AMB-12, B10
#[tokio::test]
async fn verifier_without_challenge_is_refused_as_downgrade() {
    let (t, app) = lenient().await;
    let code = code_for(&t, &app, &[]).await;
    for verifier in [VERIFIER, CHALLENGE, "too-short"] {
        bad_request(&t, &token_as(&app, &redeeming(&code, verifier)), "UnexpectedCodeVerifier").await;
    }
    granted(&t, &token_as(&app, &redeeming(&code, ""))).await;
}

/// Stores a copy of a code's record under a new code, changed as a careless storage might.
async fn stored_otherwise(t: &TestServer, code: &str, change: impl FnOnce(&mut TokenDetails)) -> String {
    let (token, grant) = row(t, AuthorizationCode::new(code).hash()).await;
    let copy = "copy-of-a-code-that-lost-a-part-of-its-recor".to_owned();
    let id = GrantId::from_bytes([9; 16]);
    let mut token =
        StoredToken { hash: AuthorizationCode::new(copy.as_str()).hash(), grant_id: id, ..(*token).clone() };
    change(&mut token.details);
    assert_eq!(
        t.storage.open_grant(&Arc::new(Grant { id, ..(*grant).clone() }), &[token]).await.unwrap(),
        grantor::storage::Opened::Done
    );
    copy
}

// covers: B11, PK-17 (OAuth 2.1 §4.1.3)
#[tokio::test]
async fn lost_challenge_in_storage_does_not_disable_pkce() {
    for public in [true, false] {
        let t = TestServer::new();
        let app = if public { t.public_client(CB).await } else { t.confidential_client(CB).await };
        let code = code_for(&t, &app, &s256()).await;
        let copy = stored_otherwise(&t, &code, |details| {
            details.code.as_mut().unwrap().code_challenge = None;
        })
        .await;
        bad_grant(&t, &token_as(&app, &redeeming(&copy, "")), "CodeWithoutChallenge").await;
        bad_request(&t, &token_as(&app, &redeeming(&copy, VERIFIER)), "UnexpectedCodeVerifier").await;
    }
}

// covers: B11
#[tokio::test]
async fn code_without_any_binding_is_refused_to_lenient_client() {
    let (t, app) = lenient().await;
    let code = code_for(&t, &app, &[]).await;
    let copy = stored_otherwise(&t, &code, |details| details.code = None).await;
    for verifier in ["", VERIFIER] {
        bad_grant(&t, &token_as(&app, &redeeming(&copy, verifier)), "UnknownToken").await;
    }
}

// covers: PK-17 (OAuth 2.1 §4.1.3)
#[tokio::test]
async fn code_without_challenge_fails_once_pkce_is_required() {
    let (t, app) = lenient().await;
    let code = code_for(&t, &app, &[]).await;
    crate::support::change_client(&t, &app, |parts| parts.legacy.pkce_optional = false).await;
    bad_grant(&t, &token_as(&app, &redeeming(&code, "")), "CodeWithoutChallenge").await;
}

// covers: PK-12 (RFC 7636 §7.2)
#[tokio::test]
async fn code_does_not_carry_its_challenge() {
    let (t, app) = lenient().await;
    for method in ["S256", "plain"] {
        let code = code_for(&t, &app, &[("code_challenge", CHALLENGE), ("code_challenge_method", method)]).await;
        let decoded = URL_SAFE_NO_PAD.decode(&code).unwrap();
        let challenge = URL_SAFE_NO_PAD.decode(CHALLENGE).unwrap();
        assert_eq!(decoded.len(), 32, "the code is as long as its 256 random bits");
        assert_ne!(decoded, challenge);
        assert!(!code.contains(&CHALLENGE[..8]));
    }
}

// covers: B14
#[tokio::test]
async fn verifier_does_not_replace_client_authentication() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let pairs = redemption(&approved, &app);
    let named = [&pairs[..], &[("client_id", app.id.as_str())]].concat();
    bad_client(&t, &crate::common::token(&named), "MissingClientAuthentication").await;
    bad_client(&t, &crate::common::token(&pairs), "MissingClientAuthentication").await;
    granted(&t, &token_as(&app, &pairs)).await;
}
