//! The refresh token grant (RFC 6749 §6): which tokens are accepted, and what a refresh can request.

use grantor::storage::GrantSelector;
use grantor::testing::TestServer;
use grantor::{Clock, RefreshToken, Storage, Subject};
use time::Duration;

use crate::common::{basic, token, token_as};
use crate::support::{
    CB, access_token, bad_client, bad_grant, change_client, confidential, granted, lives, public, refresh, refresh_of,
    refused_for, row, rows, spied, tokens_of,
};

const ALL: &str = "offline_access user:read user:write";

// covers: GR-02 (RFC 6749 §6), GR-03 (OAuth 2.1 §4.3.1), B19
#[tokio::test]
async fn refresh_token_works_for_its_own_client_only() {
    let (t, spy) = spied(|_| {}).await;
    let owners = [t.confidential_client(CB).await, t.public_client(CB).await];
    let thieves = [t.confidential_client(CB).await, t.public_client(CB).await];
    for owner in &owners {
        let tokens = tokens_of(&t, owner).await;
        let refresh_token = refresh_of(&tokens).expose();
        let before = rows(&t, &[refresh_of(&tokens).hash(), tokens.access_token.hash()]).await;
        spy.writes();
        for thief in &thieves {
            bad_grant(&t, &refresh(thief, refresh_token), "ForeignToken").await;
        }
        assert!(spy.writes().is_empty());
        assert_eq!(rows(&t, &[refresh_of(&tokens).hash(), tokens.access_token.hash()]).await, before);
        granted(&t, &refresh(owner, refresh_token)).await;
    }
}

// covers: GR-04 (RFC 6749 §6), TF-04 (RFC 6749 §10.4)
#[tokio::test]
async fn unknown_changed_or_malformed_refresh_token_is_refused() {
    let (t, app) = public().await;
    let tokens = tokens_of(&t, &app).await;
    let right = refresh_of(&tokens).expose();
    let mut wrong =
        vec!["x".to_owned(), right[1..].to_owned(), format!("{right} "), format!("{right}="), "\0".repeat(43)];
    for at in 0..right.len() {
        let flipped = if &right[at..=at] == "A" { "B" } else { "A" };
        wrong.push(format!("{}{flipped}{}", &right[..at], &right[at + 1..]));
    }
    for token in &wrong {
        bad_grant(&t, &refresh(&app, token), "UnknownToken").await;
    }
    granted(&t, &refresh(&app, right)).await;
}

// covers: GR-04 (RFC 6749 §6)
#[tokio::test]
async fn expired_refresh_token_is_refused_while_grant_lives() {
    let t = TestServer::with_policy(|policy| {
        policy.access_token_lifetime = Duration::hours(3);
        policy.refresh_token_idle_lifetime = Duration::hours(1);
    });
    let app = t.public_client(CB).await;
    let tokens = tokens_of(&t, &app).await;
    t.clock.advance(Duration::hours(1));
    assert!(lives(&t, &tokens.access_token).await);
    bad_grant(&t, &refresh(&app, refresh_of(&tokens).expose()), "ExpiredToken").await;
    assert!(lives(&t, &tokens.access_token).await, "an expired token proves no theft");
}

// covers: GR-05 (OAuth 2.1 §4.3.1), GR-17 (RFC 9700 §4.14.2), GR-04 (RFC 6749 §6)
#[tokio::test]
async fn revocation_by_subject_ends_only_grants_of_the_user() {
    let (t, app) = public().await;
    let alices = [tokens_of(&t, &app).await, tokens_of(&t, &app).await];
    let bobs = t.authorize(&app).approve_as("bob").await.redeem().await.unwrap();
    let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
    assert_eq!(t.storage.revoke_grants(&alice, t.clock.now()).await.unwrap(), 2);
    for tokens in &alices {
        bad_grant(&t, &refresh(&app, refresh_of(tokens).expose()), "GrantEnded").await;
        assert!(!lives(&t, &tokens.access_token).await);
    }
    assert!(lives(&t, &bobs.access_token).await);
    granted(&t, &refresh(&app, refresh_of(&bobs).expose())).await;
}

// covers: GR-07 (RFC 6749 §6), B25
#[tokio::test]
async fn refresh_cannot_widen_the_scope() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    let tokens = t.authorize(&app).scope("user:read").approve_as("alice").await.redeem().await.unwrap();
    let old = refresh_of(&tokens).expose();
    spy.writes();
    for (scope, reason) in [
        ("user:write", "ScopeExceedsGrant"),
        ("user:read user:write", "ScopeExceedsGrant"),
        ("no-such-scope", "ScopeExceedsGrant"),
        ("USER:READ", "ScopeExceedsGrant"),
        (" user:read  user:write", "ScopeExceedsGrant"),
        ("user:read\tuser:read", "MalformedScope"),
        (" ", "MalformedScope"),
        ("user\"read", "MalformedScope"),
    ] {
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", old), ("scope", scope)];
        refused_for(&t, &token_as(&app, &pairs), 400, "invalid_scope", reason).await;
    }
    assert!(spy.writes().is_empty(), "a refused scope spends nothing");
    assert_eq!(granted(&t, &refresh(&app, old)).await["scope"], "user:read");
}

// covers: GR-08 (RFC 6749 §6), GR-09 (RFC 6749 §6), GR-10 (RFC 6749 §6), TK-11 (RFC 9700 §4.14.2), B26
#[tokio::test]
async fn refresh_with_narrower_scope_narrows_access_token_only() {
    let t = TestServer::new();
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let tokens = tokens_of(&t, &app).await;
        let pairs =
            [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose()), ("scope", "user:read")];
        let narrowed = granted(&t, &token_as(&app, &pairs)).await;
        assert_eq!(narrowed["scope"], "user:read");
        let bearer = t.bearer(&access_token(&narrowed)).await.unwrap();
        assert_eq!(bearer.require("user:write").unwrap_err().code().unwrap(), "insufficient_scope");
        let successor = narrowed["refresh_token"].as_str().unwrap();
        let (record, grant) = row(&t, RefreshToken::new(successor).hash()).await;
        assert_eq!((record.scope.as_str(), grant.scope.as_str()), (ALL, ALL));
        let full = granted(&t, &refresh(&app, successor)).await;
        assert_eq!(full["scope"], ALL);
        assert!(t.bearer(&access_token(&full)).await.unwrap().require("user:write").is_ok());
    }
}

// covers: B25, GR-08 (RFC 6749 §6)
#[tokio::test]
async fn refresh_gets_the_granted_scope_and_never_a_default() {
    let t = TestServer::with(|builder| builder.default_scope("user:read user:write"));
    let app = t
        .confidential_client_with(|client| {
            client.authorization_code([CB]).refresh_token().scope(ALL).default_scope("user:read user:write")
        })
        .await;
    let tokens = t.authorize(&app).scope("user:read").approve_as("alice").await.redeem().await.unwrap();
    for pairs in [&[][..], &[("scope", "")]] {
        let tokens = t.authorize(&app).scope("user:read").approve_as("alice").await.redeem().await.unwrap();
        let own = [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose())];
        assert_eq!(granted(&t, &token_as(&app, &[&own[..], pairs].concat())).await["scope"], "user:read");
    }
    // If the registration gets more scope later, the grant does not change.
    change_client(&t, &app, |parts| parts.default_scope = Some(grantor::Scope::parse(ALL).unwrap())).await;
    assert_eq!(granted(&t, &refresh(&app, refresh_of(&tokens).expose())).await["scope"], "user:read");
}

// covers: GR-20 (RFC 6749 §1.5), TF-15 (RFC 6749 §10)
#[tokio::test]
async fn access_and_refresh_tokens_are_not_interchangeable() {
    let (t, app) = public().await;
    let tokens = tokens_of(&t, &app).await;
    let as_access = grantor::AccessToken::new(refresh_of(&tokens).expose());
    assert_eq!(t.bearer(&as_access).await.unwrap_err().status(), 401);
    bad_grant(&t, &refresh(&app, tokens.access_token.expose()), "UnknownToken").await;
}

// covers: GR-21 (RFC 6749 §5.2), TK-10 (RFC 9700 §4.14.2), TE-07 (RFC 6749 §5.2)
#[tokio::test]
async fn client_without_refresh_grant_type_gets_no_refresh_token() {
    let (t, app) = confidential().await;
    let tokens = tokens_of(&t, &app).await;
    change_client(&t, &app, |parts| parts.grant_types.retain(|grant_type| grant_type.as_str() != "refresh_token"))
        .await;
    let request = refresh(&app, refresh_of(&tokens).expose());
    refused_for(&t, &request, 400, "unauthorized_client", "GrantTypeNotAllowed").await;
    assert!(tokens_of(&t, &app).await.refresh_token.is_none());
}

// covers: TK-09 (RFC 6749 §5.1), TK-10 (RFC 9700 §4.14.2)
#[tokio::test]
async fn refresh_tokens_are_issued_by_policy() {
    use grantor::policy::RefreshTokens;
    for (when, with_offline, without) in [
        (RefreshTokens::Always, true, true),
        (RefreshTokens::OfflineAccess, true, false),
        (RefreshTokens::Never, false, false),
    ] {
        let t = TestServer::with_policy(|policy| policy.refresh_tokens = when);
        let app = t.public_client(CB).await;
        for (scope, expected) in [("user:read offline_access", with_offline), ("user:read", without)] {
            let approved = t.authorize(&app).scope(scope).approve_as("alice").await;
            let tokens = approved.redeem().await.unwrap();
            assert_eq!(tokens.refresh_token.is_some(), expected, "{when:?} {scope}");
        }
        if when == RefreshTokens::Never {
            let request = refresh(&app, "whatever-it-may-be");
            refused_for(&t, &request, 400, "unsupported_grant_type", "UnsupportedGrantType").await;
        }
    }
}

// covers: GR-01 (RFC 6749 §6), B28
#[tokio::test]
async fn confidential_client_refreshes_with_its_secret_only() {
    let (t, app) = confidential().await;
    let tokens = tokens_of(&t, &app).await;
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose())];
    let named = [&pairs[..], &[("client_id", app.id.as_str())]].concat();
    bad_client(&t, &token(&named), "MissingClientAuthentication").await;
    let wrong = token(&pairs).with_header("authorization", basic(&app.id, "not-the-secret"));
    bad_client(&t, &wrong, "ClientAuthenticationFailed").await;
    granted(&t, &token_as(&app, &pairs)).await;
}
