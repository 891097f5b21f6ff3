//! A service whose tokens are for its own API or for a further one, `--resource` (RFC 8707).

use end_to_end::example::{Browser, Example};
use serde_json::{Value, json};

use super::{me, token};

const CLIENTS: &str = r#"[
    {"client_id": "app", "client_name": "Mail <reader>", "redirect_uris": ["https://app.example/cb"],
     "scope": "user:read mail:read mail:send", "token_endpoint_auth_method": "none"},
    {"client_id": "mail.example", "client_secret": "mail-secret", "resource_server": true},
    {"client_id": "notes", "client_secret": "notes-secret", "resource_server": true}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile", "mail:read": "Read your mail", "mail:send": "Send mail"}"#;
const MAIL: &str = "https://mail.example";
const FLAGS: [&str; 2] = ["--resource", "https://mail.example=mail:read mail:send"];
const AUTHORIZE: &str = "/authorize?client_id=app&response_type=code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb\
                         &scope=user%3Aread+mail%3Aread&code_challenge_method=S256\
                         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Allows a request; returns the consent page and the access token with its scope.
async fn allowed(example: &Example, resource: &str) -> (String, Value) {
    let browser = Browser::new(example);
    let page = browser.open_as(&format!("{AUTHORIZE}{resource}"), "ada", "correct horse").await;
    let scopes: Vec<(&str, &str)> = ["user:read", "mail:read"].map(|scope| ("scope", scope)).into();
    let answer = browser.submit(&page, "/consent", &[&scopes[..], &[("decision", "approve")]].concat()).await;
    let code = answer.answer("code").unwrap_or_else(|| panic!("no code: {:?}", answer.location));
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
    (page.body, tokens)
}

/// What a resource server learns about a token.
async fn told(example: &Example, client: &str, secret: &str, token: &Value) -> Value {
    let request = reqwest::Client::new().post(example.url("/introspect")).basic_auth(client, Some(secret));
    request.form(&[("token", token.as_str().unwrap())]).send().await.unwrap().json().await.unwrap()
}

// covers: RI-04 (RFC 8707 §2), RI-08 (RFC 8707 §2.2), MC-09 (MCP Token Audience Binding)
#[tokio::test]
async fn token_for_a_further_api_works_only_there() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &FLAGS);
    let (page, of_mail) = allowed(&example, "&resource=https%3A%2F%2Fmail.example").await;
    assert!(page.contains("for <strong><bdi>https://mail.example</bdi></strong>"), "{page}");
    assert!(page.contains("Read your mail") && !page.contains("Read your profile"), "{page}");
    assert_eq!(of_mail["scope"], "mail:read");
    let token = &of_mail["access_token"];
    assert_eq!(me(&example, token).await.0, 401);
    let about = told(&example, "mail.example", "mail-secret", token).await;
    assert_eq!((&about["active"], &about["aud"], &about["sub"]), (&json!(true), &json!(MAIL), &json!("ada")));
    assert_eq!(told(&example, "notes", "notes-secret", token).await, json!({ "active": false }));

    // A request without a resource is for the API of the server, and the page names no other.
    let (page, own) = allowed(&example, "").await;
    assert!(!page.contains("for <strong>") && page.contains("Read your profile"), "{page}");
    assert!(!page.contains("Read your mail"), "{page}");
    let token = &own["access_token"];
    assert_eq!((me(&example, token).await.0, &own["scope"]), (200, &json!("user:read")));
    assert_eq!(told(&example, "notes", "notes-secret", token).await["aud"], format!("{}/api", example.base));
    assert_eq!(told(&example, "mail.example", "mail-secret", token).await, json!({ "active": false }));
}

// covers: RM-01 (RFC 9728 §3), RM-06 (RFC 9728 §4)
#[tokio::test]
async fn documents_name_the_further_api() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &FLAGS);
    let read = async |path: &str| reqwest::get(example.url(path)).await.unwrap().json::<Value>().await.unwrap();
    let of_server = read("/.well-known/oauth-authorization-server").await;
    assert_eq!(of_server["protected_resources"], json!([format!("{}/api", example.base), MAIL]));
    let of_mail = read("/.well-known/oauth-protected-resource").await;
    assert_eq!(
        (&of_mail["resource"], &of_mail["scopes_supported"]),
        (&json!(MAIL), &json!(["mail:read", "mail:send"]))
    );
    let own = read("/.well-known/oauth-protected-resource/api").await;
    assert_eq!(own["scopes_supported"], json!(["user:read"]));
}
