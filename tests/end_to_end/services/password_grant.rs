//! A service whose first-party clients exchange passwords for tokens; offline access is a separate scope.

use std::time::{Duration, Instant};

use super::{me, token};
use end_to_end::example::Example;

const CLIENTS: &str = r#"[
    {"client_id": "datahub", "client_secret": "hub-secret", "scope": "datahub-api user:read offline_access",
     "grant_types": ["password", "refresh_token"], "response_types": []}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str =
    r#"{"datahub-api": "Use the data hub", "user:read": "Read your profile", "offline_access": "Keep access"}"#;
const CREDENTIALS: [(&str, &str); 2] = [("client_id", "datahub"), ("client_secret", "hub-secret")];

fn server(lifetime: &str) -> Example {
    let flags = ["--legacy", "--refresh-needs-offline-access", "--access-token-lifetime", lifetime];
    Example::with(CLIENTS, USERS, SCOPES, &flags)
}

async fn with_password(example: &Example, password: &str, scope: &str) -> (u16, serde_json::Value) {
    let form = [("grant_type", "password"), ("username", "ada"), ("password", password), ("scope", scope)];
    token(example, &[&CREDENTIALS[..], &form[..]].concat()).await
}

#[tokio::test]
async fn password_grant_needs_offline_access_for_refresh_token() {
    let example = server("600");
    let (status, tokens) = with_password(&example, "correct horse", "datahub-api offline_access").await;
    assert_eq!(status, 200, "{tokens}");
    assert!(tokens["access_token"].is_string() && tokens["refresh_token"].is_string(), "{tokens}");

    let (status, tokens) = with_password(&example, "correct horse", "datahub-api").await;
    assert_eq!(status, 200, "{tokens}");
    assert!(tokens.get("refresh_token").is_none(), "{tokens}");

    let (status, error) = with_password(&example, "wrong", "datahub-api").await;
    assert_eq!((status, &error["error"]), (400, &"invalid_grant".into()));
}

#[tokio::test]
async fn expired_token_is_refreshed_without_user_credentials() {
    let example = server("1");
    let begun = Instant::now();
    let (_, tokens) = with_password(&example, "correct horse", "datahub-api user:read offline_access").await;
    // The process uses the machine's clock: wait for the change, with a time limit.
    let (mut status, _) = me(&example, &tokens["access_token"]).await;
    while status != 401 && begun.elapsed() < Duration::from_secs(20) {
        tokio::time::sleep(Duration::from_millis(100)).await;
        (status, _) = me(&example, &tokens["access_token"]).await;
    }
    assert_eq!(status, 401);

    let refresh_token = tokens["refresh_token"].as_str().unwrap();
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    let (status, fresh) = token(&example, &[&CREDENTIALS[..], &form[..]].concat()).await;
    assert_eq!(status, 200, "{fresh}");
    assert_ne!(fresh["access_token"], tokens["access_token"]);
    assert_ne!(fresh["refresh_token"], tokens["refresh_token"]);
}
