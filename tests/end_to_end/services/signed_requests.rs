//! Clients of the example server that sign their authorization requests (RFC 9101).

use end_to_end::example::{Browser, Example, Folder};
use grantor::jose::{Algorithm, SigningKey};
use serde_json::{Value, json};

use super::signed::{header, jwks, key, sign, with};
use super::{me, on_each_storage, token};

const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read", "user:write": "Write"}"#;
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
const CALLBACK: &str = "https://app.example/cb";
/// A request without a signature.
const PLAIN: &str = "/authorize?client_id=app&response_type=code&scope=user%3Aread&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256";

/// A file with a public client that signs all its requests with this key.
fn clients(key: &SigningKey) -> String {
    json!([{
        "client_id": "app",
        "redirect_uris": [CALLBACK],
        "grant_types": ["authorization_code"],
        "scope": "user:read user:write",
        "jwks": jwks(key),
        "request_object_signing_alg": "ES256",
        "require_signed_request_object": true,
    }])
    .to_string()
}

/// The target of a signed request with some claims changed.
async fn target(example: &Example, key: &SigningKey, change: Value) -> String {
    let claims = json!({
        "iss": "app", "aud": example.base, "client_id": "app", "redirect_uri": CALLBACK, "response_type": "code",
        "scope": "user:read", "state": "xyz", "code_challenge": CHALLENGE, "code_challenge_method": "S256",
    });
    let object = sign(key, header(key, "oauth-authz-req+jwt"), with(&claims, &change)).await;
    format!("/authorize?client_id=app&scope=user%3Awrite&request={object}")
}

#[tokio::test]
async fn signed_request_gets_a_code_for_its_own_scope() {
    let key = key(Algorithm::Es256);
    for (example, _folder) in on_each_storage(&clients(&key), USERS, SCOPES).await {
        let browser = Browser::new(&example);
        let page = browser.open_as(&target(&example, &key, json!({})).await, "ada", "correct horse").await;
        let page = browser.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await;
        assert_eq!((page.status, page.answer("state").as_deref()), (303, Some("xyz")), "{}", page.body);
        let code = page.answer("code").unwrap();
        let form = [
            ("grant_type", "authorization_code"),
            ("code", &*code),
            ("redirect_uri", CALLBACK),
            ("client_id", "app"),
            ("code_verifier", VERIFIER),
        ];
        let (status, tokens) = token(&example, &form).await;
        assert_eq!((status, &tokens["scope"]), (200, &json!("user:read")), "{tokens}");
        assert_eq!(me(&example, &tokens["access_token"]).await.0, 200);

        let metadata: Value =
            reqwest::get(example.url("/.well-known/oauth-authorization-server")).await.unwrap().json().await.unwrap();
        assert_eq!(metadata["request_parameter_supported"], true);
        let foreign = SigningKey::generate(Algorithm::Es256).unwrap();
        for (wrong, code) in [
            (PLAIN.to_owned(), "invalid_request"),
            (target(&example, &foreign, json!({})).await, "invalid_request_object"),
            (target(&example, &key, json!({ "aud": "https://other.example" })).await, "invalid_request_object"),
        ] {
            let page = Browser::new(&example).get(&wrong).await;
            assert_eq!((page.status, page.location.as_deref()), (400, None), "{}", page.body);
            assert!(page.body.contains(code), "{}", page.body);
        }
        let page = Browser::new(&example).get(&target(&example, &key, json!({ "scope": "nope" })).await).await;
        assert_eq!((page.status, page.answer("error").as_deref()), (303, Some("invalid_scope")));
    }
}

#[tokio::test]
async fn server_without_signatures_warns_of_signing_clients() {
    let key = key(Algorithm::Es256);
    let folder = Folder::new();
    let flags = ["--clients", &folder.file("clients.json", &clients(&key)), "--without", "client-signatures"];
    let complaints = Example::complaints(&flags);
    assert!(
        complaints.contains("warning: the client app: the client must send signed request objects"),
        "{complaints}"
    );
    let example = Example::start(&flags);
    let page = Browser::new(&example).get(&target(&example, &key, json!({})).await).await;
    assert_eq!((page.status, page.location.as_deref()), (400, None), "{}", page.body);
    assert!(page.body.contains("request_not_supported"), "{}", page.body);
}
