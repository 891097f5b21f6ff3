//! A service whose scopes are described on the consent page and enforced by the API.

use super::{me, token};
use end_to_end::example::{Browser, Example};

const CLIENTS: &str = r#"[
    {"client_id": "app", "client_name": "Profile <editor>", "client_uri": "https://app.example",
     "redirect_uris": ["https://app.example/cb"], "scope": "user:read user:write",
     "token_endpoint_auth_method": "none"}
]"#;
pub(super) const USERS: &str = r#"{"ada": "correct horse"}"#;
pub(super) const SCOPES: &str = r#"{"user:read": "Read your profile", "user:write": "Change your profile"}"#;
const AUTHORIZE: &str = "/authorize?client_id=app&response_type=code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb\
                         &scope=user%3Aread+user%3Awrite&code_challenge_method=S256\
                         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Runs the flow; the user leaves only these scopes checked. Returns the access token and its scope.
pub(super) async fn access(example: &Example, checked: &[&str]) -> serde_json::Value {
    let browser = Browser::new(example);
    let page = browser.open_as(AUTHORIZE, "ada", "correct horse").await;
    for shown in ["Profile &lt;editor&gt;", "app.example", "Read your profile", "Change your profile"] {
        assert!(page.body.contains(shown), "the page does not say {shown}: {}", page.body);
    }
    let mut fields: Vec<(&str, &str)> = checked.iter().map(|scope| ("scope", *scope)).collect();
    fields.push(("decision", "approve"));
    let page = browser.submit(&page, "/consent", &fields).await;
    let code = page.answer("code").expect("a code");
    let (status, tokens) = token(
        example,
        &[
            ("grant_type", "authorization_code"),
            ("client_id", "app"),
            ("code", &code),
            ("redirect_uri", "https://app.example/cb"),
            ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
        ],
    )
    .await;
    assert_eq!(status, 200, "{tokens}");
    assert_eq!(tokens["scope"], checked.join(" "));
    tokens["access_token"].clone()
}

async fn rename(example: &Example, token: &serde_json::Value) -> reqwest::Response {
    let request = reqwest::Client::new().put(example.url("/api/me")).bearer_auth(token.as_str().unwrap());
    request.json(&serde_json::json!({ "display_name": "Ada L." })).send().await.unwrap()
}

#[tokio::test]
async fn each_scope_opens_its_part_of_the_api() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let both = access(&example, &["user:read", "user:write"]).await;
    assert!(rename(&example, &both).await.status().is_success());
    let (status, body) = me(&example, &both).await;
    assert_eq!(status, 200);
    assert_eq!((&body["sub"], &body["client_id"]), (&"ada".into(), &"app".into()));
    assert_eq!((&body["scope"], &body["display_name"]), (&"user:read user:write".into(), &"Ada L.".into()));

    let reader = access(&example, &["user:read"]).await;
    assert_eq!(me(&example, &reader).await.0, 200);
    let refused = rename(&example, &reader).await;
    assert_eq!(refused.status(), 403);
    let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
    assert!(
        challenge.contains("error=\"insufficient_scope\"") && challenge.contains("scope=\"user:write\""),
        "{challenge}"
    );

    // Regression: changes of one user wait for the same row, and nothing limited them before the storage was called.
    let mut last = rename(&example, &both).await;
    for _ in 0..100 {
        if last.status() == 200 {
            last = rename(&example, &both).await;
        }
    }
    assert_eq!((last.status().as_u16(), last.headers().contains_key("retry-after")), (429, true));
    // An application's requests for a user do not use up the user's own limit.
    let browser = Browser::new(&example);
    let form = browser.open_as("/applications/new", "ada", "correct horse").await;
    let fields = [("name", "An app"), ("website", ""), ("redirect_uri", "https://app.example/cb")];
    assert_eq!(browser.submit(&form, "/applications/new", &fields).await.status, 200);

    let writer = access(&example, &["user:write"]).await;
    assert_eq!(me(&example, &writer).await.0, 403);
}

#[tokio::test]
async fn denial_or_foreign_session_consent_gives_no_code() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    let page = browser.open_as(AUTHORIZE, "ada", "correct horse").await;
    let denied = browser.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "deny")]).await;
    assert_eq!(denied.answer("error").as_deref(), Some("access_denied"));
    assert_eq!(denied.answer("code"), None);

    let other = Browser::new(&example);
    other.open_as(AUTHORIZE, "ada", "correct horse").await;
    let forged = other.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await;
    assert!((400..500).contains(&forged.status), "{}", forged.status);
    assert_eq!(forged.location, None);
}

// covers: RM-01 (RFC 9728 §3.1), BR-19 (RFC 9728 §5.1)
#[tokio::test]
async fn client_discovers_server_and_scopes_from_the_api() {
    let few = r#"{"user:read": "Read your profile", "other": "Something else"}"#;
    for (scopes, issuer, of_api) in [
        (SCOPES, None, ["user:read", "user:write"].as_slice()),
        (few, None, &["user:read"]),
        (SCOPES, Some("https://id.example/"), &["user:read", "user:write"]),
    ] {
        let clients = CLIENTS.replace(" user:write", "");
        let flags: Vec<&str> = issuer.map(|issuer| ["--issuer", issuer]).into_iter().flatten().collect();
        let example = Example::with(&clients, USERS, scopes, &flags);
        let issuer = issuer.unwrap_or(&example.base);
        let origin = issuer.trim_end_matches('/');
        let refused = reqwest::get(example.url("/api/me")).await.unwrap();
        assert_eq!(refused.status(), 401);
        let challenge = refused.headers()["www-authenticate"].to_str().unwrap();
        let path = "/.well-known/oauth-protected-resource/api";
        assert!(challenge.contains(&format!("resource_metadata=\"{origin}{path}\"")), "{challenge}");

        let answer = reqwest::get(example.url(path)).await.unwrap();
        assert_eq!(answer.status(), 200);
        let document: serde_json::Value = answer.json().await.unwrap();
        let expected = serde_json::json!({
            "resource": format!("{origin}/api"),
            "resource_name": "Profiles",
            "authorization_servers": [issuer],
            "scopes_supported": of_api,
            "bearer_methods_supported": ["header"],
        });
        assert_eq!(document, expected);
    }
}
