//! The password grant (RFC 6749 §4.3), which is off by default.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::error::AuthenticatorError;
use grantor::policy::{Policy, RefreshTokens};
use grantor::testing::{TestClient, TestServer};
use grantor::{Authenticator, Request, ResourceOwnerAttempt, Subject, Verdict};
use time::Duration;

use crate::common::{token, token_as};
use crate::support::{
    CB, access_token, bad_client, bad_grant, bad_request, granted, header_values, lives, refresh, refused, refused_for,
};

fn login<'a>(username: &'a str, password: &'a str, scope: &'a str) -> [(&'static str, &'a str); 4] {
    [("grant_type", "password"), ("username", username), ("password", password), ("scope", scope)]
}

fn allowing() -> Policy {
    let mut policy = Policy::default();
    policy.dangerous().allow_password_grant = true;
    policy
}

async fn client(t: &TestServer) -> TestClient {
    t.confidential_client_with(|client| client.password().refresh_token().scope("user:read user:write offline_access"))
        .await
}

// covers: GI-01 (RFC 9700 §2.4), TE-08 (RFC 6749 §5.2)
#[tokio::test]
async fn password_grant_needs_the_switch_and_registration() {
    let t = TestServer::new();
    let app = client(&t).await;
    t.users.add("alice", "correct horse");
    let request = token_as(&app, &login("alice", "correct horse", "user:read"));
    refused_for(&t, &request, 400, "unsupported_grant_type", "UnsupportedGrantType").await;

    let t = TestServer::with(|builder| builder.policy(allowing()));
    t.users.add("alice", "correct horse");
    for other in [t.confidential_client(CB).await, t.public_client(CB).await] {
        let request = token_as(&other, &login("alice", "correct horse", "user:read"));
        refused_for(&t, &request, 400, "unauthorized_client", "GrantTypeNotAllowed").await;
    }
}

// covers: GI-02 (RFC 6749 §4.3.2), TK-04 (RFC 6749 §5.1)
#[tokio::test]
async fn right_password_gets_tokens_and_wrong_one_nothing() {
    let t = TestServer::with(|builder| builder.policy(allowing()));
    let app = client(&t).await;
    t.users.add("alice", "correct horse & staple+%");
    for (username, password) in [
        ("alice", "wrong horse"),
        ("alice", "correct horse & staple+% "),
        ("Alice", "correct horse & staple+%"),
        ("nobody", "correct horse & staple+%"),
    ] {
        bad_grant(&t, &token_as(&app, &login(username, password, "user:read")), "ResourceOwnerRejected").await;
    }
    let body = granted(&t, &token_as(&app, &login("alice", "correct horse & staple+%", "user:read"))).await;
    let access = t.bearer(&access_token(&body)).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.user().unwrap().as_str(), "alice");
    // A refresh needs the client's credentials but no longer the user's.
    let refreshed = granted(&t, &refresh(&app, body["refresh_token"].as_str().unwrap())).await;
    assert!(lives(&t, &access_token(&refreshed)).await);
}

// covers: GI-02 (RFC 6749 §4.3.2)
#[tokio::test]
async fn client_authenticates_before_the_password_is_checked() {
    let attempts = Attempts::default();
    let t = TestServer::with(|builder| builder.policy(allowing()).authenticator(attempts.clone()));
    let app = client(&t).await;
    let pairs = login("alice", "correct horse", "user:read");
    let named = token(&[&pairs[..], &[("client_id", app.id.as_str())]].concat());
    bad_client(&t, &named, "MissingClientAuthentication").await;
    let too_wide = token_as(&app, &login("alice", "correct horse", "user:read nonsense"));
    refused_for(&t, &too_wide, 400, "invalid_scope", "UnknownScope").await;
    assert!(attempts.0.lock().unwrap().is_empty());
}

// covers: TE-05 (RFC 6749 §5.2)
#[tokio::test]
async fn user_name_and_password_are_required() {
    let t = TestServer::with(|builder| builder.policy(allowing()));
    let app = client(&t).await;
    for (username, password, missing) in [("", "p", "username"), ("alice", "", "password"), ("", "", "username")] {
        let reason = format!("MissingParameter({missing:?})");
        bad_request(&t, &token_as(&app, &login(username, password, "user:read")), &reason).await;
    }
}

// covers: GI-02 (RFC 6749 §4.3.2), GI-03 (RFC 6749 §10.7), TF-05 (RFC 6749 §10.10), CU-14 (RFC 6749 §10.10)
#[tokio::test]
async fn authenticator_sees_client_and_can_stop_guessing() {
    let attempts = Attempts::default();
    let t = TestServer::with(|builder| builder.policy(allowing()).authenticator(attempts.clone()));
    let app = t
        .confidential_client_with(|client| {
            client.password().scope("user:read").lifetimes(|own| own.access_token = Some(Duration::minutes(5)))
        })
        .await;
    let peer = "192.0.2.9".parse().unwrap();
    let guess = |password: &str| -> Request { token_as(&app, &login("alice", password, "user:read")).with_peer(peer) };
    for password in ["first-guess-here", "second-guess-here", "third-guess-here"] {
        bad_grant(&t, &guess(password), "ResourceOwnerRejected").await;
    }
    let response = refused(&t, &guess("correct horse"), 429, "temporarily_unavailable").await;
    assert_eq!(header_values(&response, "retry-after"), ["60"]);
    let seen = attempts.0.lock().unwrap().clone();
    assert!(seen.iter().all(|seen| *seen == format!("alice {} user:read Some({peer})", app.id)), "{seen:?}");
    attempts.0.lock().unwrap().clear();
    // The client's scope and lifetimes limit the grant.
    let beyond = token_as(&app, &login("alice", "correct horse", "user:write"));
    refused_for(&t, &beyond, 400, "invalid_scope", "ScopeNotAllowed").await;
    let body = granted(&t, &guess("correct horse")).await;
    assert_eq!(body["expires_in"], 300);
    assert!(body.get("refresh_token").is_none(), "the client is not registered for refreshing");
}

// covers: TK-10 (RFC 9700 §4.14.2)
#[tokio::test]
async fn refresh_token_may_depend_on_offline_access() {
    let mut policy = allowing();
    policy.refresh_tokens = RefreshTokens::OfflineAccess;
    let t = TestServer::with(|builder| builder.policy(policy));
    let app = client(&t).await;
    t.users.add("alice", "correct horse");
    for (scope, expected) in [("user:read", false), ("user:read offline_access", true)] {
        let body = granted(&t, &token_as(&app, &login("alice", "correct horse", scope))).await;
        assert_eq!(body.get("refresh_token").is_some(), expected, "{scope}");
    }
}

#[tokio::test]
async fn password_appears_in_no_event() {
    let t = TestServer::with(|builder| builder.policy(allowing()));
    let app = client(&t).await;
    t.users.add("alice", "correct horse");
    for (password, status) in [("correct horse", 200), ("wrong horse", 400)] {
        let request = token_as(&app, &login("alice", password, "user:read"));
        assert_eq!(t.server.token(&request).await.status(), status);
    }
    let events = t.events.events();
    assert_eq!(t.events.names(), ["tokens_issued", "token_refused"]);
    assert!(events.iter().all(|event| !event.text.contains("horse")), "{events:?}");
}

/// Knows one user, and allows three attempts.
#[derive(Clone, Default)]
struct Attempts(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Authenticator for Attempts {
    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        let mut seen = self.0.lock().unwrap();
        if seen.len() >= 3 {
            return Ok(Verdict::Throttled { retry_after: Duration::MINUTE });
        }
        seen.push(format!("{} {} {} {:?}", attempt.username, attempt.client.id(), attempt.scope, attempt.peer));
        if attempt.username == "alice" && attempt.password.expose() == "correct horse" {
            return Ok(Verdict::Accepted(Subject::new("alice").unwrap()));
        }
        Ok(Verdict::Rejected)
    }
}
