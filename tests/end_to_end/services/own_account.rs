//! A service whose API lets an application manage its registration, with the application's own token.

use std::collections::BTreeSet;

use super::{api_scopes, me, token};
use end_to_end::example::{Browser, Example};
use reqwest::header::HeaderValue;
use serde_json::{Value, json};

const CLIENTS: &str = r#"[
    {"client_id": "batch", "client_secret": "batch-secret", "client_name": "Batch", "grant_types": ["client_credentials"],
     "scope": "user:read"},
    {"client_id": "app", "client_name": "Profile <editor>", "client_uri": "https://app.example",
     "redirect_uris": ["https://app.example/cb"], "scope": "user:read user:write application",
     "token_endpoint_auth_method": "none"}
]"#;

async fn own_token(example: &Example, id: &str, secret: &str, scope: Option<&str>) -> (u16, Value) {
    let mut form = vec![("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    form.extend(scope.map(|scope| ("scope", scope)));
    token(example, &form).await
}

async fn account(
    example: &Example,
    tokens: &Value,
    change: Option<&Value>,
    version: Option<&str>,
) -> reqwest::Response {
    let (http, url) = (reqwest::Client::new(), example.url("/api/application"));
    let request = match change {
        Some(change) => http.put(url).json(change),
        None => http.get(url),
    };
    let request = version.into_iter().fold(request, |request, version| request.header("if-match", version));
    request.bearer_auth(tokens["access_token"].as_str().unwrap()).send().await.unwrap()
}

/// Registers an application through the form; returns its identifier and secret.
async fn registered(browser: &Browser) -> (String, String) {
    let form = browser.open_as("/applications/new", "ada", "correct horse").await;
    let fields = [("name", "My app"), ("website", "https://app.example"), ("redirect_uri", "https://app.example/cb")];
    let page = browser.submit(&form, "/applications/new", &fields).await;
    let [id, secret] = page.codes()[..] else { panic!("identifier and secret are shown: {}", page.body) };
    (id.to_owned(), secret.to_owned())
}

// Regression: a self-registered application got every scope of the server for itself.
#[tokio::test]
async fn self_registered_application_has_own_scope_only() {
    let example = Example::with("[]", api_scopes::USERS, api_scopes::SCOPES, &[]);
    let (id, secret) = registered(&Browser::new(&example)).await;
    for scope in ["user:read", "user:write", "application user:read"] {
        let (status, error) = own_token(&example, &id, &secret, Some(scope)).await;
        assert_eq!((status, &error["error"]), (400, &"invalid_scope".into()), "{scope}");
    }
    for scope in [None, Some("application")] {
        let (status, tokens) = own_token(&example, &id, &secret, scope).await;
        assert_eq!((status, &tokens["scope"]), (200, &"application".into()), "{tokens}");
        assert_eq!(me(&example, &tokens["access_token"]).await.0, 403);
    }
    // Users are still asked for the other scopes, and never for `application`.
    let asked = |scope: &str| {
        format!(
            "/authorize?client_id={id}&response_type=code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb{scope}\
             &code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
        )
    };
    let browser = Browser::new(&example);
    let page = browser.open_as(&asked(""), "ada", "correct horse").await;
    assert!(page.body.contains("Read your profile") && !page.body.contains("value=\"application\""), "{}", page.body);
    let page = browser.get(&asked("&scope=user%3Awrite")).await;
    assert!(page.body.contains("Change your profile"), "{}", page.body);
    let page = browser.get(&asked("&scope=application")).await;
    // No administrator has vetted the application, so the user is asked before the error is redirected.
    let refused = "https://app.example/cb?error=invalid_scope";
    assert!(page.body.contains(refused) && !page.body.contains("form_token"), "{}", page.body);
}

// Regression: each token for the application itself stores two rows for an hour. An application that a user had
// registered could get 1,400 a second.
#[tokio::test]
async fn application_getting_many_tokens_is_throttled() {
    let example = Example::with(CLIENTS, api_scopes::USERS, api_scopes::SCOPES, &[]);
    let (id, secret) = registered(&Browser::new(&example)).await;
    let mut issued = 0;
    let (status, error) = loop {
        match own_token(&example, &id, &secret, None).await {
            (200, _) => issued += 1,
            refused => break refused,
        }
        assert!(issued < 200, "nothing limits these tokens");
    };
    // One token a second becomes free while the test runs.
    assert!((60..90).contains(&issued), "{issued}");
    assert_eq!((status, &error["error"]), (429, &"temporarily_unavailable".into()), "{error}");
    // The administrator's clients are trusted with their rate.
    for _ in 0..100 {
        assert_eq!(own_token(&example, "batch", "batch-secret", Some("application")).await.0, 200);
    }
}

#[tokio::test]
async fn application_reads_and_changes_its_registration() {
    let example = Example::with(CLIENTS, api_scopes::USERS, api_scopes::SCOPES, &[]);
    let browser = Browser::new(&example);
    let (id, secret) = registered(&browser).await;
    let (_, own) = own_token(&example, &id, &secret, None).await;
    let answer = account(&example, &own, None, None).await;
    assert_eq!(
        (answer.status().as_u16(), &answer.headers()["cache-control"]),
        (200, &HeaderValue::from_static("no-store"))
    );
    let version = answer.headers()["etag"].to_str().unwrap().to_owned();
    let read: Value = answer.json().await.unwrap();
    let expected = json!({ "client_id": id, "client_name": "My app", "client_uri": "https://app.example",
                           "redirect_uris": ["https://app.example/cb"] });
    assert_eq!(read, expected);

    let mut new = read.clone();
    new["client_name"] = "My better app".into();
    new["redirect_uris"] = json!(["https://app.example/cb", "https://app.example/other"]);
    let answer = account(&example, &own, Some(&new), Some(&version)).await;
    assert_eq!(answer.status(), 200);
    assert_ne!(answer.headers()["etag"].to_str().unwrap(), version);
    assert_eq!(answer.json::<Value>().await.unwrap(), new);
    // The application was changed after this version was read.
    let answer = account(&example, &own, Some(&read), Some(&version)).await;
    assert_eq!(answer.status(), 412);
    assert_eq!(account(&example, &own, None, None).await.json::<Value>().await.unwrap(), new);
    let list = browser.get("/applications").await;
    assert!(list.body.contains("My better app") && list.body.contains("https://app.example/other"), "{}", list.body);

    for (change, problem) in [
        (json!({ "client_name": "x", "redirect_uris": ["http://app.example/cb"] }), "redirect_uris"),
        (json!({ "client_name": "x", "redirect_uris": [] }), "redirect URI"),
        (json!({ "client_name": "x", "redirect_uris": ["https://app.example/cb"], "scope": "user:write" }), "scope"),
        (json!({ "client_id": "batch", "redirect_uris": ["https://app.example/cb"] }), "client_id"),
        (json!([]), "JSON object"),
    ] {
        let answer = account(&example, &own, Some(&change), None).await;
        assert_eq!(answer.status(), 400, "{change}");
        let refusal: Value = answer.json().await.unwrap();
        assert!(refusal["error_description"].as_str().unwrap().contains(problem), "{refusal}");
    }
    assert_eq!(account(&example, &own, None, None).await.json::<Value>().await.unwrap(), new);

    // An application of the administrator can change its registration too, and keeps its scopes.
    let (_, batch) = own_token(&example, "batch", "batch-secret", Some("application user:read")).await;
    let answer = account(&example, &batch, Some(&json!({ "client_name": "Nightly batch" })), None).await;
    assert_eq!(answer.status(), 200);
    let (status, tokens) = own_token(&example, "batch", "batch-secret", Some("application user:read")).await;
    assert_eq!(status, 200, "{tokens}");
    let changed: Value = account(&example, &tokens, None, None).await.json().await.unwrap();
    assert_eq!(changed["client_name"], "Nightly batch");
}

#[tokio::test]
async fn own_account_is_for_machines_and_profile_for_users() {
    let example = Example::with(CLIENTS, api_scopes::USERS, api_scopes::SCOPES, &[]);
    // The endpoint requires the scope `application`.
    let (_, other) = own_token(&example, "batch", "batch-secret", None).await;
    assert_eq!(other["scope"], "user:read");
    let answer = account(&example, &other, None, None).await;
    let challenge = answer.headers()["www-authenticate"].to_str().unwrap();
    assert!(answer.status() == 403 && challenge.contains("scope=\"application\""), "{challenge}");
    assert_eq!(me(&example, &other["access_token"]).await.0, 403, "a machine has no profile");

    // A user's token is refused although it has the scope.
    let browser = Browser::new(&example);
    let asked = "/authorize?client_id=app&response_type=code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb&scope=application\
                 &code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";
    let page = browser.open_as(asked, "ada", "correct horse").await;
    let page = browser.submit(&page, "/consent", &[("scope", "application"), ("decision", "approve")]).await;
    let code = page.answer("code").expect("a code");
    let verifier = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let redirect = ("redirect_uri", "https://app.example/cb");
    let redeem = [("grant_type", "authorization_code"), ("client_id", "app"), ("code", &code), redirect, verifier];
    let (_, users) = token(&example, &redeem).await;
    assert_eq!(users["scope"], "application", "{users}");
    for change in [None, Some(json!({ "client_name": "x", "redirect_uris": ["https://evil.example/cb"] }))] {
        let answer = account(&example, &users, change.as_ref(), None).await;
        assert_eq!(answer.status(), 403);
        assert!(answer.headers()["www-authenticate"].to_str().unwrap().contains("acts for a user"));
    }
    let (_, own) = own_token(&example, "batch", "batch-secret", Some("application")).await;
    assert_eq!(me(&example, &own["access_token"]).await.0, 403);

    // The server offers the scope in addition to those of the file.
    let metadata = reqwest::get(example.url("/.well-known/oauth-authorization-server")).await.unwrap();
    let metadata: Value = metadata.json().await.unwrap();
    let offered: BTreeSet<&str> =
        metadata["scopes_supported"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    assert_eq!(offered, BTreeSet::from(["application", "user:read", "user:write"]));
}
