//! A service that limits guessing, without filling its memory or locking out other users.

use std::net::Ipv4Addr;

use end_to_end::example::{Browser, Example, Page};

const CLIENTS: &str = r#"[
    {"client_id": "mail", "client_secret": "mail-secret", "grant_types": ["password"], "response_types": []}
]"#;
const USERS: &str = r#"{"ada": "correct horse", "bea": "battery"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;

async fn log_in(browser: &Browser, username: &str, password: &str) -> Page {
    let form = browser.get("/login").await;
    browser.submit(&form, "/login", &[("username", username), ("password", password)]).await
}

/// Ten wrong passwords.
async fn guess(browser: &Browser, username: &str) {
    for _ in 0..10 {
        assert_eq!(log_in(browser, username, "wrong").await.status, 401);
    }
}

#[tokio::test]
async fn ten_wrong_passwords_throttle_that_user_only() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    guess(&browser, "ada").await;
    let page = log_in(&browser, "ada", "correct horse").await;
    assert_eq!((page.status, page.location.as_deref()), (429, None));
    assert!(page.body.contains("Too many attempts"), "{}", page.body);
    let page = log_in(&browser, "bea", "battery").await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/")));
}

// Regression: the login page and the password grant counted guesses separately.
#[tokio::test]
async fn login_page_and_token_endpoint_share_a_guess_count() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let http = reqwest::Client::new();
    let grant = async |username: &str, password: &str| {
        let form = [("grant_type", "password"), ("username", username), ("password", password)];
        let request = http.post(example.url("/token")).basic_auth("mail", Some("mail-secret")).form(&form);
        request.send().await.unwrap().status().as_u16()
    };
    let browser = Browser::new(&example);
    for _ in 0..5 {
        assert_eq!(log_in(&browser, "ada", "wrong").await.status, 401);
        assert_eq!(grant("Ada", "wrong").await, 400);
    }
    assert_eq!(log_in(&browser, "ada", "correct horse").await.status, 429);
    assert_eq!(grant("ada", "correct horse").await, 429);
    assert_eq!(grant("bea", "battery").await, 200);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn guessing_does_not_lock_the_user_out() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let attacker = Browser::at(&example, Ipv4Addr::new(127, 0, 0, 66));
    guess(&attacker, "ada").await;
    assert_eq!(log_in(&attacker, "ada", "wrong").await.status, 429);
    let page = log_in(&Browser::new(&example), "ada", "correct horse").await;
    assert_eq!((page.status, page.location.as_deref()), (303, Some("/")));
}

// Regression: one peer could have any number of passwords hashed.
#[tokio::test]
async fn peer_guessing_many_names_gets_retry_after() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let http = reqwest::Client::builder().cookie_store(true).build().unwrap();
    let form = http.get(example.url("/login")).send().await.unwrap().text().await.unwrap();
    let csrf = form.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap();
    let mut statuses = std::collections::BTreeMap::new();
    for name in 0..300 {
        let form = [("csrf", csrf), ("username", &format!("user {name}")), ("password", "wrong")];
        let answer = http.post(example.url("/login")).form(&form).send().await.unwrap();
        let retry_after = answer.headers().get("retry-after").map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(retry_after.is_some(), answer.status() == 429, "{}", answer.status());
        *statuses.entry(answer.status().as_u16()).or_insert(0) += 1;
    }
    assert_eq!(statuses.keys().collect::<Vec<_>>(), [&401, &429]);
    assert!(statuses[&401] >= 200, "{statuses:?}");

    // The token endpoint counts the same peer.
    let form = [("grant_type", "password"), ("username", "bea"), ("password", "battery")];
    let attempt = async || {
        let request = http.post(example.url("/token")).basic_auth("mail", Some("mail-secret")).form(&form);
        request.send().await.unwrap().status().as_u16()
    };
    let answers = [attempt().await, attempt().await, attempt().await];
    assert!(answers.contains(&429) && !answers.contains(&400), "{answers:?}");
}

// covers: GI-02 (RFC 6749 §4.3.2)
#[tokio::test]
async fn token_endpoint_says_when_to_try_again() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let http = reqwest::Client::new();
    let attempt = async |secret: &str, username: &str, password: &str| {
        let form = [("grant_type", "password"), ("username", username), ("password", password)];
        let request = http.post(example.url("/token")).basic_auth("mail", Some(secret)).form(&form);
        let answer = request.send().await.unwrap();
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let wait = headers.get("retry-after").map(|value| value.to_str().unwrap().parse::<u32>().unwrap());
        (status, wait, answer.json::<serde_json::Value>().await.unwrap())
    };
    for _ in 0..10 {
        let (status, wait, body) = attempt("mail-secret", "ada", "wrong").await;
        assert_eq!((status, wait, &body["error"]), (400, None, &"invalid_grant".into()));
    }
    let (status, wait, body) = attempt("mail-secret", "ada", "correct horse").await;
    assert_eq!(status, 429, "{body}");
    assert!(wait.is_some_and(|wait| (1..=60).contains(&wait)), "{wait:?}");
    assert!(body["error"].is_string() && body.get("access_token").is_none(), "{body}");
    assert_eq!(attempt("mail-secret", "bea", "battery").await.0, 200);

    // The client's own secret is limited, too.
    for _ in 0..10 {
        assert_eq!(attempt("wrong", "bea", "battery").await.0, 401);
    }
    let (status, wait, _) = attempt("mail-secret", "bea", "battery").await;
    assert_eq!((status, wait.is_some()), (429, true));
}

// Regression: the demo client's secret was not marked as generated, so guesses that seem to come from the
// server's own address locked the client out.
#[tokio::test]
async fn guesses_do_not_keep_the_demo_client_out() {
    let example = Example::with("[]", USERS, SCOPES, &[]);
    let id = format!("demo-127-0-0-1-{}", example.base.rsplit_once(':').unwrap().1);
    for guess in 0..12 {
        let form = [("grant_type", "refresh_token"), ("client_id", &*id), ("client_secret", "guess")];
        let answer = reqwest::Client::new().post(example.url("/token")).form(&form).send().await.unwrap();
        assert_eq!(answer.status(), if guess < 10 { 401 } else { 429 });
    }
    let browser = Browser::new(&example);
    let request = browser.get("/demo").await.link(&example.url("/authorize?")).expect("a request");
    let page = browser.open_as(request.strip_prefix(&example.base).unwrap(), "ada", "correct horse").await;
    let page = browser.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await;
    let page = browser.follow(page).await;
    assert!(page.body.contains("The client has access"), "{}", page.body);
}

#[tokio::test]
async fn demo_client_truncates_long_answers() {
    let example = Example::with("[]", USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    let page = browser.get("/demo").await;
    let request = page.link(&example.url("/authorize?")).expect("a request");
    let request = url::Url::parse(&request).unwrap();
    let state = request.query_pairs().find_map(|(name, value)| (name == "state").then_some(value)).unwrap();
    let long = "x".repeat(20_000);
    let answer = url::form_urlencoded::Serializer::new(String::new())
        .extend_pairs([("error", &*long), ("error_description", &*long), ("state", &*state), ("iss", &*example.base)])
        .finish();
    let page = browser.get(&format!("/demo/callback?{answer}")).await;
    assert_eq!(page.location.as_deref(), Some("/demo/result"));
    let page = browser.get("/demo/result").await;
    assert!(page.body.contains(&"x".repeat(200)), "{}", page.body);
    assert!(!page.body.contains(&"x".repeat(201)), "the answer is shown in full");
}
