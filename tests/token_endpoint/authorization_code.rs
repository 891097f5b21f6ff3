//! Redeeming codes (RFC 6749 §4.1.3): the client, the bindings, and the tokens.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::secret::TokenHash;
use grantor::testing::TestServer;
use grantor::{Approval, AuthorizationRequest, Client, Subject};
use sha2::{Digest, Sha256};
use time::Duration;

use crate::common::{CHALLENGE, VERIFIER, token_as};
use crate::support::{
    CB, access_token, bad_grant, change_client, confidential, granted, redemption, refused_for, restarted, row, rows,
    spied, with,
};

const ALL: &str = "user:read user:write offline_access";

// covers: GC-07 (RFC 6749 §4.1.3), GC-08 (RFC 6749 §4.1.3), B19
#[tokio::test]
async fn code_is_redeemed_by_its_own_client_only() {
    let (t, spy) = spied(|_| {}).await;
    for (owner, thief) in [
        (t.confidential_client(CB).await, t.confidential_client(CB).await),
        (t.confidential_client(CB).await, t.public_client(CB).await),
        (t.public_client(CB).await, t.public_client(CB).await),
        (t.public_client(CB).await, t.confidential_client(CB).await),
    ] {
        let approved = t.authorize(&owner).approve_as("alice").await;
        let pairs = redemption(&approved, &owner);
        spy.writes();
        for _ in 0..3 {
            bad_grant(&t, &token_as(&thief, &pairs), "ForeignToken").await;
        }
        assert!(spy.writes().is_empty());
        granted(&t, &token_as(&owner, &pairs)).await;
    }
}

// covers: GC-09 (RFC 6749 §4.1.3), GC-13 (RFC 6749 §4.1.2), AMB-04, B7
#[tokio::test]
async fn redirect_uri_must_be_repeated_exactly() {
    let t = TestServer::new();
    let uri = "https://app.example/cb?a=%2Fx";
    let app = t.confidential_client_with(|client| client.authorization_code([uri, CB]).scope(ALL)).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let pairs = redemption(&approved, &app);
    let before = rows(&t, &[approved.code().hash()]).await;
    for wrong in [
        "",
        CB,
        "https://app.example/cb?a=/x",
        "https://app.example/cb?a=%2fx",
        "https://app.example:443/cb?a=%2Fx",
        "https://APP.example/cb?a=%2Fx",
        "https://app.example/cb?a=%2Fx#",
        "https://evil.example/cb?a=%2Fx",
    ] {
        bad_grant(&t, &token_as(&app, &with(&pairs, "redirect_uri", wrong)), "RedirectUriMismatch").await;
    }
    assert_eq!(rows(&t, &[approved.code().hash()]).await, before, "a failed attempt changes no code");
    granted(&t, &token_as(&app, &pairs)).await;
}

/// The code of a request without a redirect URI.
async fn code_without_redirect_uri(t: &TestServer, client_id: &str) -> String {
    let request = AuthorizationRequest::code(client_id).scope("user:read").code_challenge_s256(CHALLENGE);
    let Ok(pending) = t.authorization_request(&request).await else { panic!("one URI is registered") };
    let response = grantor::testing::approve(pending, Approval::by(Subject::new("alice").unwrap())).await;
    response.code().expect("a code").expose().to_owned()
}

// covers: AMB-04, GC-09 (RFC 6749 §4.1.3)
#[tokio::test]
async fn redirect_uri_not_sent_may_be_omitted_but_not_wrong() {
    let (t, app) = confidential().await;
    for (given, expected) in [("", Ok(())), (CB, Ok(())), ("https://evil.example/cb", Err(()))] {
        let code = code_without_redirect_uri(&t, &app.id).await;
        let pairs = [("grant_type", "authorization_code"), ("code", &code), ("code_verifier", VERIFIER)];
        let request = token_as(&app, &with(&pairs, "redirect_uri", given));
        match expected {
            Ok(()) => drop(granted(&t, &request).await),
            Err(()) => drop(bad_grant(&t, &request, "RedirectUriMismatch").await),
        }
    }
}

// covers: GC-10 (OAuth 2.1 §10.2), AMB-04
#[tokio::test]
async fn oauth_2_1_client_may_omit_redirect_uri_not_change_it() {
    let t = TestServer::with_policy(|policy| policy.dangerous().pkce_optional = true);
    let app = t
        .confidential_client_with(|client| {
            client.authorization_code([CB]).scope(ALL).omits_redirect_uri().pkce_optional()
        })
        .await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let pairs = redemption(&approved, &app);
    let changed = token_as(&app, &with(&pairs, "redirect_uri", "https://app.example/other"));
    bad_grant(&t, &changed, "RedirectUriMismatch").await;
    granted(&t, &token_as(&app, &with(&pairs, "redirect_uri", ""))).await;
    // Without PKCE, only the check of the redirect URI protects the code.
    let approved = t.authorize(&app).without_pkce().approve_as("alice").await;
    let pairs = redemption(&approved, &app);
    bad_grant(&t, &token_as(&app, &with(&pairs, "redirect_uri", "")), "RedirectUriMismatch").await;
    granted(&t, &token_as(&app, &pairs)).await;
}

// covers: GC-12 (RFC 6749 §5.2)
#[tokio::test]
async fn changed_code_is_unknown() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let pairs = redemption(&approved, &app);
    let code = approved.code().expose();
    let mut wrong =
        vec![code[1..].to_owned(), code[..42].to_owned(), format!("{code}A"), format!("{code}="), "x".into()];
    for at in 0..code.len() {
        let flipped = if &code[at..=at] == "A" { "B" } else { "A" };
        wrong.push(format!("{}{flipped}{}", &code[..at], &code[at + 1..]));
    }
    for code in &wrong {
        bad_grant(&t, &token_as(&app, &with(&pairs, "code", code)), "UnknownToken").await;
    }
    granted(&t, &token_as(&app, &pairs)).await;
}

// covers: GC-01 (RFC 6749 §4.1.2)
#[tokio::test]
async fn code_is_valid_until_the_microsecond_of_its_expiry() {
    let (t, app) = confidential().await;
    for (age, works) in [(Duration::MINUTE - Duration::microseconds(1), true), (Duration::MINUTE, false)] {
        let approved = t.authorize(&app).approve_as("alice").await;
        t.clock.advance(age);
        let request = token_as(&app, &redemption(&approved, &app));
        if works {
            granted(&t, &request).await;
        } else {
            bad_grant(&t, &request, "GrantEnded").await;
        }
    }
}

// covers: GC-02 (RFC 6749 §4.1.2)
#[tokio::test]
async fn code_lifetime_is_one_minute_and_at_most_ten() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let (code, _) = row(&t, approved.code().hash()).await;
    assert_eq!(code.expires_at - code.issued_at, Duration::MINUTE);
    let mut policy = grantor::Policy::default();
    policy.code_lifetime = Duration::minutes(10) + Duration::SECOND;
    let built = grantor::AuthorizationServer::builder("https://id.example")
        .storage(grantor::MemoryStorage::new())
        .scope("a", "A")
        .policy(policy)
        .build()
        .await;
    assert!(matches!(built, Err(grantor::BuildError::Policy(grantor::policy::PolicyError::CodeLifetimeTooLong))));
    let client = Client::public("app").authorization_code([CB]).scope("a");
    let client = client.lifetimes(|own| own.code = Some(Duration::minutes(10) + Duration::SECOND));
    assert!(client.build().is_err());
}

// covers: GC-14 (RFC 6749 §4.1.3), SC-03 (RFC 6749 §3.3), SC-04 (RFC 6749 §3.3), TK-07 (RFC 6749 §5.1)
#[tokio::test]
async fn token_has_approved_scope_and_ignores_scope_parameter() {
    let (t, app) = confidential().await;
    let approval = Approval::by(Subject::new("alice").unwrap()).scope(["user:read"]);
    let approved = t.authorize(&app).scope("user:read user:write").approve(approval).await;
    for extra in ["user:write", "no-such-scope", "not\"well\\formed"] {
        let pairs = [redemption(&approved, &app), vec![("scope", extra)]].concat();
        let fresh = t.authorize(&app).scope("user:read user:write");
        let fresh = fresh.approve(Approval::by(Subject::new("alice").unwrap()).scope(["user:read"])).await;
        let pairs = with(&pairs, "code", fresh.code().expose());
        let body = granted(&t, &token_as(&app, &pairs)).await;
        assert_eq!(body["scope"], "user:read");
        assert!(t.bearer(&access_token(&body)).await.unwrap().require("user:write").is_err());
    }
}

// covers: GC-15 (RFC 6749 §5.2)
#[tokio::test]
async fn client_that_lost_grant_type_cannot_redeem_older_code() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    change_client(&t, &app, |parts| parts.grant_types.retain(|grant_type| grant_type.as_str() != "authorization_code"))
        .await;
    let request = token_as(&app, &redemption(&approved, &app));
    refused_for(&t, &request, 400, "unauthorized_client", "GrantTypeNotAllowed").await;
}

// covers: PK-11 (RFC 7636 §4.4), GC-13 (RFC 6749 §4.1.2)
#[tokio::test]
async fn code_bindings_survive_a_restart() {
    let mut t = TestServer::new();
    let app = t.confidential_client(CB).await;
    let old = t.clone();
    let approved = old.authorize(&app).approve_as("alice").await;
    t.server = restarted(&t, t.storage.clone(), grantor::Policy::default()).await;
    let pairs = redemption(&approved, &app);
    bad_grant(&t, &token_as(&app, &with(&pairs, "code_verifier", VERIFIER)), "WrongCodeVerifier").await;
    let wrong_uri = token_as(&app, &with(&pairs, "redirect_uri", "https://app.example/other"));
    bad_grant(&t, &wrong_uri, "RedirectUriMismatch").await;
    granted(&t, &token_as(&app, &pairs)).await;
}

// covers: TF-15 (RFC 6749 §10), GR-20 (RFC 6749 §1.5)
#[tokio::test]
async fn codes_and_tokens_are_not_interchangeable() {
    let (t, app) = confidential().await;
    let tokens = crate::support::tokens_of(&t, &app).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let (code, access) = (approved.code().expose(), tokens.access_token.expose());
    let refresh = crate::support::refresh_of(&tokens).expose();
    let redeem = redemption(&approved, &app);
    for other in [access, refresh] {
        bad_grant(&t, &token_as(&app, &with(&redeem, "code", other)), "UnknownToken").await;
    }
    for other in [code, access] {
        bad_grant(&t, &crate::support::refresh(&app, other), "UnknownToken").await;
    }
    for other in [code, refresh] {
        assert!(!crate::support::lives(&t, &grantor::AccessToken::new(other)).await);
    }
    granted(&t, &token_as(&app, &redeem)).await;
    granted(&t, &crate::support::refresh(&app, refresh)).await;
}

// covers: GC-03 (RFC 6749 §4.1.2), B16
#[tokio::test]
async fn code_works_once_and_its_row_is_spent() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let pairs = redemption(&approved, &app);
    spy.writes();
    granted(&t, &token_as(&app, &pairs)).await;
    assert_eq!(spy.writes(), ["redeem"], "spending and issuing are one step");
    let (code, _) = row(&t, approved.code().hash()).await;
    let spent = code.spent.as_ref().expect("spent");
    assert!(spent.seed.is_none(), "the tokens of a code can't be derived");
    for _ in 0..3 {
        assert_eq!(t.server.token(&token_as(&app, &pairs)).await.status(), 400);
        assert!(!spy.writes().contains(&"redeem"));
    }
    assert_eq!(t.events.count("tokens_issued"), 1);
}

// covers: TF-14 (RFC 6749 §10.3), GR-19 (RFC 6749 §10.4)
#[tokio::test]
async fn stored_rows_hold_hashes_and_no_tokens() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let first = approved.redeem().await.unwrap();
    let second = t.refresh(&app, crate::support::refresh_of(&first)).await.unwrap();
    let refreshes = [crate::support::refresh_of(&first), crate::support::refresh_of(&second)];
    let mut secrets = vec![approved.code().expose(), first.access_token.expose(), second.access_token.expose()];
    secrets.extend(refreshes.map(grantor::Secret::expose));
    let hashes: Vec<TokenHash> = [approved.code().hash(), first.access_token.hash(), second.access_token.hash()]
        .into_iter()
        .chain(refreshes.map(grantor::Secret::hash))
        .collect();
    let stored = serde_json::to_string(&rows(&t, &hashes).await).unwrap();
    for secret in secrets {
        assert!(!stored.contains(secret), "{stored}");
        assert!(stored.contains(&URL_SAFE_NO_PAD.encode(Sha256::digest(secret))), "{stored}");
    }
    assert!(!stored.contains(approved.verifier().unwrap().expose()));
}
