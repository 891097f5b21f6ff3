//! A service where users register applications in a form and the application then acts for itself.

use super::token;
use end_to_end::example::{Browser, Example};

const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"public": "Public things", "user:read": "Read your profile"}"#;

const FIELDS: [(&str, &str); 3] =
    [("name", "My app"), ("website", "https://app.example"), ("redirect_uri", "https://app.example/callback")];

/// Registers an application through the form; returns its identifier and secret.
async fn registered(example: &Example) -> (String, String) {
    let browser = Browser::new(example);
    let form = browser.open_as("/applications/new", "ada", "correct horse").await;
    let page = browser.submit(&form, "/applications/new", &FIELDS).await;
    let page = browser.follow(page).await;
    let shown = page.codes();
    let [id, secret] = shown.as_slice() else { panic!("identifier and secret are shown: {}", page.body) };

    let list = browser.get("/applications").await;
    assert!(list.body.contains("My app") && list.body.contains(id), "{}", list.body);
    assert!(!list.body.contains(secret), "the secret is shown once");
    ((*id).to_owned(), (*secret).to_owned())
}

#[tokio::test]
async fn application_gets_token_by_body_and_by_basic() {
    let example = Example::with("[]", USERS, SCOPES, &[]);
    let (id, secret) = registered(&example).await;
    let form = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", &*secret)];
    let (status, tokens) = token(&example, &form).await;
    assert_eq!(status, 200, "{tokens}");
    assert!(tokens["access_token"].is_string() && tokens.get("refresh_token").is_none(), "{tokens}");

    let response = reqwest::Client::new()
        .post(example.url("/token"))
        .basic_auth(&id, Some(&secret))
        .form(&[("grant_type", "client_credentials")])
        .send()
        .await
        .unwrap();
    assert_eq!(response.status(), 200);

    let wrong = [("grant_type", "client_credentials"), ("client_id", &*id), ("client_secret", "wrong")];
    let (status, error) = token(&example, &wrong).await;
    assert_eq!((status, &error["error"]), (401, &"invalid_client".into()));
}

#[tokio::test]
async fn redirect_uri_without_path_gets_a_warning() {
    let example = Example::with("[]", USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    let form = browser.open_as("/applications/new", "ada", "correct horse").await;
    let warning =
        "The redirect URI https://app.example has no path, and many clients send https://app.example/ instead";
    for (redirect_uri, warned) in [("https://app.example/", false), ("https://app.example", true)] {
        let fields = [("name", "My app"), ("website", "https://b\u{fc}cher.example"), ("redirect_uri", redirect_uri)];
        assert_eq!(browser.submit(&form, "/applications/new", &fields).await.status, 200);
        let list = browser.get("/applications").await;
        assert_eq!(list.body.contains(warning), warned, "{}", list.body);
        assert!(list.body.contains(">xn--bcher-kva.example</a>"), "{}", list.body);
    }
}

#[tokio::test]
async fn user_registers_at_most_twenty_applications() {
    let example = Example::with("[]", r#"{"ada": "correct horse", "bea": "battery"}"#, SCOPES, &[]);
    let browser = Browser::new(&example);
    let form = browser.open_as("/applications/new", "ada", "correct horse").await;
    for _ in 0..20 {
        assert_eq!(browser.submit(&form, "/applications/new", &FIELDS).await.status, 200);
    }
    let refused = browser.submit(&form, "/applications/new", &FIELDS).await;
    assert_eq!(refused.status, 422);
    assert!(refused.body.contains("You have registered 20 applications"), "{}", refused.body);
    assert!(refused.body.contains("value=\"https://app.example/callback\""), "the form keeps the typed values");
    let list = browser.get("/applications").await;
    assert_eq!(list.body.matches("<dt>Client ID</dt>").count(), 20);

    // Each user has a separate limit.
    let other = Browser::new(&example);
    let form = other.open_as("/applications/new", "bea", "battery").await;
    assert_eq!(other.submit(&form, "/applications/new", &FIELDS).await.status, 200);
}

#[tokio::test]
async fn credentials_in_the_url_work_with_the_switch_only() {
    for (flags, expected) in [(&["--legacy"][..], 200), (&[][..], 400)] {
        let example = Example::with("[]", USERS, SCOPES, flags);
        let (id, secret) = registered(&example).await;
        let path = format!("/token?grant_type=client_credentials&client_id={id}&client_secret={secret}");
        let response = reqwest::Client::new().post(example.url(&path)).send().await.unwrap();
        assert_eq!(response.status(), expected, "{flags:?}");
        let body: serde_json::Value = response.json().await.unwrap();
        assert_eq!(body["access_token"].is_string(), expected == 200, "{body}");
    }
}
