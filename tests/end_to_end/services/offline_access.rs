//! A service with a server flow and a client flow, short lifetimes, and a scope for offline access.

use super::{me, token};
use end_to_end::example::{Browser, Example};

const CLIENTS: &str = r#"[
    {"client_id": "site", "client_secret": "site-secret", "client_name": "A site", "scope": "basic:read offline_access",
     "redirect_uris": ["https://site.example/cb"],
     "grant_types": ["authorization_code", "implicit", "refresh_token"], "response_types": ["code", "token"]}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"basic:read": "Read", "user:read": "Read your profile", "offline_access": "Keep access"}"#;
const AUTHORIZE: &str = "/authorize?client_id=site&redirect_uri=https%3A%2F%2Fsite.example%2Fcb&state=xyz";

fn server() -> Example {
    let flags = ["--legacy", "--access-token-lifetime", "60", "--refresh-needs-offline-access"];
    Example::with(CLIENTS, USERS, SCOPES, &flags)
}

async fn approved(browser: &Browser, query: &str, scopes: &[&str]) -> end_to_end::example::Page {
    let page = browser.open_as(&format!("{AUTHORIZE}{query}"), "ada", "correct horse").await;
    assert!(page.body.contains("A site") && page.body.contains("site.example"), "{}", page.body);
    let mut fields: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scope", *scope)).collect();
    fields.push(("decision", "approve"));
    browser.submit(&page, "/consent", &fields).await
}

async fn redeemed(example: &Example, scope: &str) -> serde_json::Value {
    let browser = Browser::new(example);
    let scopes: Vec<&str> = scope.split('+').collect();
    let page = approved(&browser, &format!("&response_type=code&scope={scope}"), &scopes).await;
    assert_eq!((page.status, page.answer("state").as_deref()), (303, Some("xyz")));
    assert_eq!(page.answer("iss").as_deref(), Some(example.base.as_str()));
    let code = page.answer("code").unwrap();
    let (status, tokens) = token(
        example,
        &[
            ("grant_type", "authorization_code"),
            ("code", &code),
            ("redirect_uri", "https://site.example/cb"),
            ("client_id", "site"),
            ("client_secret", "site-secret"),
        ],
    )
    .await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&"Bearer".into(), &60.into()));
    tokens
}

#[tokio::test]
async fn server_flow_needs_offline_scope_for_refresh_token() {
    let example = server();
    assert!(redeemed(&example, "basic:read").await.get("refresh_token").is_none());

    let tokens = redeemed(&example, "basic:read+offline_access").await;
    let refresh_token = tokens["refresh_token"].as_str().expect("a refresh token");
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh_token),
        ("client_id", "site"),
        ("client_secret", "site-secret"),
    ];
    let (status, refreshed) = token(&example, &form).await;
    assert_eq!(status, 200, "{refreshed}");
    assert_eq!(refreshed["expires_in"], 60);
    assert_ne!(refreshed["access_token"], tokens["access_token"]);
    assert_ne!(refreshed["refresh_token"], tokens["refresh_token"]);
}

#[tokio::test]
async fn implicit_flow_never_gets_a_refresh_token() {
    let example = server();
    let browser = Browser::new(&example);
    let scopes = ["basic:read", "offline_access"];
    let page = approved(&browser, "&response_type=token&scope=basic:read+offline_access", &scopes).await;
    assert_eq!(page.status, 303);
    let location = page.location.clone().unwrap();
    assert!(location.starts_with("https://site.example/cb#access_token="), "{location}");
    assert_eq!(page.answer("expires_in").as_deref(), Some("60"));
    assert_eq!(page.answer("state").as_deref(), Some("xyz"));
    assert_eq!(page.answer("refresh_token"), None);
    // The token is live, but the API requires a scope that it lacks.
    let (status, _) = me(&example, &page.answer("access_token").unwrap().into()).await;
    assert_eq!(status, 403);
}
