//! Successful responses (RFC 6749 §5.1) of every grant type.

use grantor::Request;
use grantor::testing::{TestClient, TestServer};
use serde_json::Value;

use crate::common::{json, token_as};
use crate::support::{CB, access_token, granted, header_values, lives, redemption, refresh};

async fn server_and_client() -> (TestServer, TestClient) {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_password_grant = true);
    t.users.add("alice", "correct horse");
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().client_credentials().password();
            client.scope("user:read user:write offline_access").default_scope("user:read")
        })
        .await;
    (t, app)
}

/// One request of each grant type, ready to be sent, and whether its response has a refresh token.
async fn one_of_each(t: &TestServer, app: &TestClient) -> Vec<(&'static str, Request, bool)> {
    let approved = t.authorize(app).approve_as("alice").await;
    let tokens = t.authorize(app).approve_as("alice").await.redeem().await.unwrap();
    let password =
        [("grant_type", "password"), ("username", "alice"), ("password", "correct horse"), ("scope", "user:read")];
    vec![
        ("authorization_code", token_as(app, &redemption(&approved, app)), true),
        ("refresh_token", refresh(app, crate::support::refresh_of(&tokens).expose()), true),
        ("client_credentials", token_as(app, &[("grant_type", "client_credentials"), ("scope", "user:read")]), false),
        ("password", token_as(app, &password), true),
    ]
}

// covers: TK-04 (RFC 6749 §5.1), TK-05 (RFC 6749 §7.1), TK-08 (OAuth 2.1 §3.2.3), TK-09 (RFC 6749 §5.1), TK-12 (RFC 6749 §5.1), PP-21 (RFC 6749 §5.1), AMB-28
#[tokio::test]
async fn grant_responses_have_standard_members_only() {
    let (t, app) = server_and_client().await;
    for (grant_type, request, refreshable) in one_of_each(&t, &app).await {
        let body = granted(&t, &request).await;
        let mut expected = vec!["access_token", "expires_in", "scope", "token_type"];
        if refreshable {
            expected.insert(2, "refresh_token");
        }
        assert_eq!(body.as_object().unwrap().keys().collect::<Vec<_>>(), expected, "{grant_type}");
        for (name, value) in body.as_object().unwrap() {
            let right_type = if name == "expires_in" { value.is_u64() } else { value.is_string() };
            assert!(right_type, "{grant_type}: {name} is {value}");
        }
        // The scope is returned even if it equals the request. The type is spelled as in RFC 6750.
        assert_eq!((&body["scope"], &body["token_type"]), (&Value::from("user:read"), &Value::from("Bearer")));
        assert_eq!(body["expires_in"], 3600, "{grant_type}");
        assert!(lives(&t, &access_token(&body)).await, "{grant_type}");
    }
}

// covers: TL-07 (RFC 6749 §5.1), TL-08 (RFC 6749 §5.1), TL-10 (RFC 6749 §5.1)
#[tokio::test]
async fn successes_are_json_with_no_store() {
    let (t, app) = server_and_client().await;
    for (grant_type, request, _) in one_of_each(&t, &app).await {
        let response = t.server.token(&request).await;
        assert_eq!(response.status(), 200, "{grant_type}");
        assert_eq!(header_values(&response, "content-type"), ["application/json"], "{grant_type}");
        assert_eq!(header_values(&response, "cache-control"), ["no-store"], "{grant_type}");
        assert_eq!(header_values(&response, "pragma"), ["no-cache"], "{grant_type}");
        assert!(header_values(&response, "www-authenticate").is_empty(), "{grant_type}");
        assert!(json(&response)["access_token"].is_string(), "{grant_type}");
    }
}

// covers: TL-09 (RFC 6749 §5.2), TL-10 (RFC 6749 §5.2)
#[tokio::test]
async fn failures_are_json_with_no_store() {
    let (t, app) = server_and_client().await;
    let other = t.confidential_client(CB).await;
    let method = Request::get("/token");
    let no_form = Request::new("POST", "/token");
    let unknown = token_as(&app, &[("grant_type", "foo")]);
    let foreign = token_as(&other, &[("grant_type", "password")]);
    let bare = crate::common::token(&[("grant_type", "client_credentials")]);
    for (request, status) in [(method, 405), (no_form, 400), (unknown, 400), (foreign, 400), (bare, 401)] {
        let response = t.server.token(&request).await;
        assert_eq!(response.status(), status);
        crate::support::assert_uncached_json(&response);
        assert!(json(&response).get("access_token").is_none());
    }
}

// covers: TK-07 (RFC 6749 §5.1), SC-04 (RFC 6749 §3.3)
#[tokio::test]
async fn scope_is_returned_if_it_differs_from_the_request() {
    let (t, app) = server_and_client().await;
    // The request had no scope and got the default.
    let body = granted(&t, &token_as(&app, &[("grant_type", "client_credentials")])).await;
    assert_eq!(body["scope"], "user:read");
    let approved = t.authorize(&app).without_scope().approve_as("alice").await;
    assert_eq!(granted(&t, &token_as(&app, &redemption(&approved, &app))).await["scope"], "user:read");
    // The request asked for more than was approved.
    let alice = grantor::Approval::by(grantor::Subject::new("alice").unwrap()).scope(["user:write"]);
    let approved = t.authorize(&app).scope("user:read user:write").approve(alice).await;
    assert_eq!(granted(&t, &token_as(&app, &redemption(&approved, &app))).await["scope"], "user:write");
}
