//! A service whose command line clients have no redirect URI: the user copies the code.

use end_to_end::example::{Browser, Example};

const CLIENTS: &str = r#"[
    {"client_id": "tool", "client_secret": "tool-secret", "client_name": "A tool", "scope": "user:read",
     "redirect_uris": ["urn:ietf:wg:oauth:2.0:oob"], "grant_types": ["authorization_code", "refresh_token"]}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;
const OOB: &str = "urn:ietf:wg:oauth:2.0:oob";

#[tokio::test]
async fn out_of_band_code_and_query_parameters_work() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let browser = Browser::new(&example);
    let path = format!("/authorize?client_id=tool&response_type=code&redirect_uri={OOB}&scope=user%3Aread");
    let page = browser.open_as(&path, "ada", "correct horse").await;
    let page = browser.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await;
    assert_eq!((page.status, &page.location), (200, &None));
    let shown = page.codes();
    let code = shown.first().expect("a code is shown");

    let url = example.url(&format!(
        "/token?client_id=tool&client_secret=tool-secret&code={code}&grant_type=authorization_code&redirect_uri={OOB}"
    ));
    let response = reqwest::Client::new().post(url).send().await.unwrap();
    assert_eq!(response.status(), 200);
    let tokens: serde_json::Value = response.json().await.unwrap();
    assert_eq!(tokens["token_type"], "Bearer");
    assert_eq!(tokens["expires_in"], 3600);
    assert!(tokens["access_token"].is_string() && tokens["refresh_token"].is_string(), "{tokens}");
    let (status, body) = super::me(&example, &tokens["access_token"]).await;
    assert_eq!((status, &body["sub"]), (200, &"ada".into()));
}

#[tokio::test]
async fn out_of_band_and_query_need_the_switch() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    let path = format!("/authorize?client_id=tool&response_type=code&redirect_uri={OOB}&scope=user%3Aread");
    let page = browser.get(&path).await;
    assert_eq!((page.status, &page.location), (400, &None));

    let url = example.url("/token?client_id=tool&client_secret=tool-secret&grant_type=client_credentials");
    let response = reqwest::Client::new().post(url).form(&[("scope", "user:read")]).send().await.unwrap();
    assert_eq!(response.status(), 400);
    let error: serde_json::Value = response.json().await.unwrap();
    assert_eq!(error["error"], "invalid_request");
}
