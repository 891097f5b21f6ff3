//! A service where users see the applications that act for them, and end the access.

use super::{me, token};
use end_to_end::example::{Browser, Example, Page};

const CLIENTS: &str = r#"[
    {"client_id": "mail", "client_name": "A mail app", "client_secret": "mail-secret", "scope": "user:read",
     "grant_types": ["password", "refresh_token"], "response_types": []},
    {"client_id": "news", "client_name": "A news app", "client_secret": "news-secret", "scope": "user:read",
     "grant_types": ["password", "refresh_token"], "response_types": []}
]"#;
const USERS: &str = r#"{"ada": "correct horse", "bea": "battery"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;

/// Opens one more grant of a user to a client; returns its tokens.
async fn granted(example: &Example, client: &str, username: &str, password: &str) -> serde_json::Value {
    let secret = format!("{client}-secret");
    let form = [
        ("grant_type", "password"),
        ("client_id", client),
        ("client_secret", &secret),
        ("username", username),
        ("password", password),
    ];
    let (status, tokens) = token(example, &form).await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

async fn works(example: &Example, tokens: &serde_json::Value) -> bool {
    me(example, &tokens["access_token"]).await.0 == 200
}

/// How many grants a page shows.
fn shown(page: &Page) -> usize {
    page.body.matches("action=\"/connected/revoke\"").count()
}

#[tokio::test]
async fn user_ends_one_grant_and_the_others_stay() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let older = granted(&example, "mail", "ada", "correct horse").await;
    let newer = granted(&example, "mail", "ada", "correct horse").await;
    let others = granted(&example, "mail", "bea", "battery").await;
    let browser = Browser::new(&example);
    let page = browser.open_as("/connected", "ada", "correct horse").await;
    assert_eq!((shown(&page), page.body.matches("<h2><bdi>A mail app</bdi></h2>").count()), (2, 1), "{}", page.body);
    assert_eq!(page.body.matches("Last renewed").count(), 2, "{}", page.body);
    assert_eq!(page.body.matches("unless it is renewed before.").count(), 2, "{}", page.body);
    // The first form on the page belongs to the newest grant.
    let page = browser.submit(&page, "/connected/revoke", &[]).await;
    assert_eq!(shown(&browser.follow(page).await), 1);
    assert!(!works(&example, &newer).await && works(&example, &older).await && works(&example, &others).await);
}

/// The section of a page about the client with this identifier.
fn section<'a>(page: &'a Page, client: &str) -> &'a str {
    let is_about = |section: &&str| section.contains(&format!("<code>{client}</code>"));
    page.body.split("<section").skip(1).find(is_about).unwrap_or_else(|| panic!("{client}: {}", page.body))
}

#[tokio::test]
async fn applications_with_one_name_are_distinguishable() {
    let clients = r#"[
        {"client_id": "one", "client_name": "Mail", "client_secret": "one-secret", "scope": "user:read",
         "redirect_uris": ["https://mail.example:8443/cb", "https://mail.example:8443/other", "https://example.org/"],
         "grant_types": ["authorization_code", "password"]},
        {"client_id": "two", "client_name": "Mail", "client_secret": "two-secret", "scope": "user:read",
         "client_uri": "https://evil.example/<mail>", "grant_types": ["password"], "response_types": []}
    ]"#;
    let example = Example::with(clients, USERS, SCOPES, &["--legacy"]);
    for client in ["one", "two"] {
        granted(&example, client, "ada", "correct horse").await;
    }
    let browser = Browser::new(&example);
    let page = browser.open_as("/connected", "ada", "correct horse").await;
    let (one, two) = (section(&page, "one"), section(&page, "two"));
    assert!(one.contains("<h2><bdi>Mail</bdi></h2>") && two.contains("<h2><bdi>Mail</bdi></h2>"), "{}", page.body);
    assert!(one.contains("At <strong><bdi>example.org, mail.example:8443</bdi></strong>. Client ID: "), "{one}");
    let link = ">evil.example</a> (not verified). Client ID: ";
    assert!(two.contains("Website: <a href=\"https://evil.example/") && two.contains(link), "{two}");
    assert!(!two.contains("At <strong>") && !one.contains("Website"), "{}", page.body);
    assert!(!page.body.contains("renewed"), "no application has refresh tokens: {}", page.body);
}

#[tokio::test]
async fn user_cannot_end_a_grant_of_another_user() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let theirs = granted(&example, "mail", "bea", "battery").await;
    granted(&example, "mail", "ada", "correct horse").await;
    let (ada, bea) = (Browser::new(&example), Browser::new(&example));
    let own = ada.open_as("/connected", "ada", "correct horse").await;
    let page = bea.open_as("/connected", "bea", "battery").await;
    let grant = |page: &Page| {
        let fields = page.hidden_fields("/connected/revoke");
        fields.into_iter().find_map(|(name, value)| (name == "grant").then_some(value)).expect("a grant")
    };
    let mut form = own.hidden_fields("/connected/revoke");
    for (name, value) in &mut form {
        if name == "grant" {
            *value = grant(&page);
        }
    }
    ada.post("/connected/revoke", &form).await;
    assert!(works(&example, &theirs).await);
}

// covers: B52
#[tokio::test]
async fn application_with_many_sessions_is_listed_once() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let kept = granted(&example, "mail", "ada", "correct horse").await;
    let mut ended = Vec::new();
    for _ in 0..100 {
        ended.push(granted(&example, "news", "ada", "correct horse").await);
    }
    let others = granted(&example, "news", "bea", "battery").await;
    let browser = Browser::new(&example);
    let page = browser.open_as("/connected", "ada", "correct horse").await;
    assert_eq!((shown(&page), page.body.matches("<h2>").count()), (101, 3), "two applications: {}", page.body);
    assert!(section(&page, "news").contains("100 sessions") && section(&page, "mail").contains("One session"));
    assert!(!page.body.contains("older sessions"), "{}", page.body);
    // The first application has the newest grant.
    let page = browser.submit(&page, "/connected/end", &[]).await;
    let page = browser.follow(page).await;
    assert_eq!((shown(&page), page.body.contains("A news app")), (1, false), "{}", page.body);
    for tokens in &ended {
        assert!(!works(&example, tokens).await);
    }
    assert!(works(&example, &kept).await && works(&example, &others).await);
}

const REQUEST: &str = "/authorize?client_id=app&response_type=code&redirect_uri=https%3A%2F%2Fapp.example%2Fcb\
                       &code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// Approves an app on its consent page, and returns the code.
async fn approved(browser: &Browser) -> String {
    let page = browser.get(&format!("{REQUEST}&prompt=consent")).await;
    let page = browser.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await;
    page.answer("code").expect("a code")
}

// Regression: the page listed approvals whose code was never redeemed, and showed no time of day.
// covers: B52
#[tokio::test]
async fn approval_that_was_not_redeemed_is_not_listed() {
    let clients = r#"[{"client_id": "app", "client_secret": "app-secret", "client_name": "An app",
                       "redirect_uris": ["https://app.example/cb"]}]"#;
    let example = Example::with(clients, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    let page = browser.open_as("/connected", "ada", "correct horse").await;
    assert!(page.body.contains("No application has access to your account."), "{}", page.body);
    approved(&browser).await;
    let code = approved(&browser).await;
    let page = browser.get("/connected").await;
    assert!(page.body.contains("No application has access to your account."), "{}", page.body);

    let verifier = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
    let redirect = ("redirect_uri", "https://app.example/cb");
    let credentials = [("client_id", "app"), ("client_secret", "app-secret")];
    let redeem = [("grant_type", "authorization_code"), ("code", &*code), redirect, verifier];
    let (status, tokens) = token(&example, &[&credentials[..], &redeem[..]].concat()).await;
    assert_eq!(status, 200, "{tokens}");
    let page = browser.get("/connected").await;
    let section = section(&page, "app");
    assert!(section.contains("<h2><bdi>An app</bdi></h2>") && section.contains("One session"), "{section}");
    let begun = section.split("Since ").nth(1).unwrap();
    let is_time = |text: &str| text.len() == 5 && text.replace(|c: char| c.is_ascii_digit(), "0") == "00:00";
    let words: Vec<&str> = begun.split_whitespace().take(3).collect();
    assert!(is_time(words[1]) && words[2] == "UTC.", "{words:?}");

    // While the access lasts, the user is not asked again. Afterwards, the user is asked.
    assert!(browser.get(REQUEST).await.answer("code").is_some());
    let ended = browser.submit(&page, "/connected/end", &[]).await;
    assert!(browser.follow(ended).await.body.contains("No application has access to your account."));
    assert!(browser.get(REQUEST).await.body.contains("form_token"));
}

// Regression: each authorization writes rows that stay for weeks, and one user could write 480 a second.
#[tokio::test]
async fn user_opening_many_grants_is_throttled() {
    let clients =
        r#"[{"client_id": "app", "client_secret": "app-secret", "redirect_uris": ["https://app.example/cb"]}]"#;
    let example = Example::with(clients, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    browser.open_as("/connected", "ada", "correct horse").await;
    let form = browser.get(&format!("{REQUEST}&prompt=consent")).await;
    approved(&browser).await;
    let mut opened = 1;
    let refused = loop {
        let page = browser.get(REQUEST).await;
        match page.answer("code") {
            Some(_) => opened += 1,
            None => break page,
        }
        assert!(opened < 200, "nothing limits them");
    };
    // One request a second becomes free while the test runs.
    assert!((60..90).contains(&opened), "{opened}");
    assert_eq!((refused.status, refused.retry_after.is_some()), (429, true), "{}", refused.body);
    let decision = [("scope", "user:read"), ("decision", "approve")];
    let mut page = browser.submit(&form, "/consent", &decision).await;
    while page.status == 303 {
        opened += 1;
        assert!(opened < 200, "nothing limits grants that the user approves by a click");
        let form = browser.get(&format!("{REQUEST}&prompt=consent")).await;
        page = browser.submit(&form, "/consent", &decision).await;
    }
    assert_eq!((page.status, page.retry_after.is_some()), (429, true), "{}", page.body);
    let other = Browser::new(&example);
    other.open_as("/connected", "bea", "battery").await;
    approved(&other).await;
}

// Regression: each refresh stores a row until its grant ends, and the limit of a grant did not help. A user who runs a
// client could open one grant after the other, and refresh 2,300 times a second.
#[tokio::test]
async fn client_refreshing_many_grants_is_throttled() {
    let clients = r#"[{"client_id": "app", "redirect_uris": ["https://app.example/cb"],
                       "grant_types": ["authorization_code", "refresh_token"]}]"#;
    let example = Example::with(clients, USERS, SCOPES, &[]);
    let redeemed = async |browser: &Browser| {
        let verifier = ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk");
        let redirect = ("redirect_uri", "https://app.example/cb");
        let code = approved(browser).await;
        let form = [("client_id", "app"), ("grant_type", "authorization_code"), ("code", &*code), redirect, verifier];
        token(&example, &form).await
    };
    let browser = Browser::new(&example);
    browser.open_as("/connected", "ada", "correct horse").await;
    let mut issued = 0;
    let mut refresh_token: Option<String> = None;
    let (refused, error) = loop {
        let (status, tokens) = match &refresh_token {
            Some(spent) if issued % 10 != 0 => {
                let form = [("client_id", "app"), ("grant_type", "refresh_token"), ("refresh_token", spent)];
                token(&example, &form).await
            }
            _ => redeemed(&browser).await,
        };
        if status != 200 {
            break (status, tokens);
        }
        issued += 1;
        assert!(issued < 200, "nothing limits them");
        refresh_token = tokens["refresh_token"].as_str().map(str::to_owned);
    };
    // One refresh a second becomes free while the test runs.
    assert!((60..90).contains(&issued), "{issued}");
    assert_eq!((refused, &error["error"]), (429, &"temporarily_unavailable".into()), "{error}");
    let other = Browser::new(&example);
    other.open_as("/connected", "bea", "battery").await;
    assert_eq!(redeemed(&other).await.0, 200);
}

// Regression: each denial stores for over an hour that its form was used, and one user could store 800 entries a
// second.
#[tokio::test]
async fn user_denying_many_forms_is_throttled() {
    let clients =
        r#"[{"client_id": "app", "client_secret": "app-secret", "redirect_uris": ["https://app.example/cb"]}]"#;
    let example = Example::with(clients, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    browser.open_as("/connected", "ada", "correct horse").await;
    let mut denied = 0;
    let refused = loop {
        let form = browser.get(REQUEST).await;
        let page = browser.submit(&form, "/consent", &[("decision", "deny")]).await;
        match page.answer("error").as_deref() {
            Some("access_denied") => denied += 1,
            _ => break page,
        }
        assert!(denied < 200, "nothing limits them");
    };
    // One request a second becomes free while the test runs.
    assert!((60..90).contains(&denied), "{denied}");
    assert_eq!((refused.status, refused.retry_after.is_some()), (429, true), "{}", refused.body);
}

#[tokio::test]
async fn ending_an_unknown_application_is_refused() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let tokens = granted(&example, "mail", "ada", "correct horse").await;
    let browser = Browser::new(&example);
    let page = browser.open_as("/connected", "ada", "correct horse").await;
    for (client, status) in [("other", 303), ("", 400), ("\u{e9}", 400)] {
        let mut form = page.hidden_fields("/connected/end");
        form.retain(|(name, _)| name != "client");
        form.push(("client".to_owned(), client.to_owned()));
        assert_eq!(browser.post("/connected/end", &form).await.status, status, "{client:?}");
    }
    assert!(works(&example, &tokens).await);
}

#[tokio::test]
async fn user_logs_out_everywhere_and_ends_all_access() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let mut own = Vec::new();
    for client in ["mail", "news", "mail"] {
        own.push(granted(&example, client, "ada", "correct horse").await);
    }
    let others = granted(&example, "mail", "bea", "battery").await;
    let (here, elsewhere, bea) = (Browser::new(&example), Browser::new(&example), Browser::new(&example));
    elsewhere.open_as("/connected", "ada", "correct horse").await;
    bea.open_as("/connected", "bea", "battery").await;
    let page = here.open_as("/connected", "ada", "correct horse").await;
    let page = here.submit(&page, "/connected/revoke-all", &[]).await;
    assert_eq!(page.status, 200);
    assert!(page.body.contains("All access has ended"), "{}", page.body);

    for tokens in &own {
        assert!(!works(&example, tokens).await);
    }
    for browser in [&here, &elsewhere] {
        assert_eq!(browser.get("/connected").await.location.as_deref(), Some("/login?next=/connected"));
    }
    assert!(works(&example, &others).await);
    assert_eq!(shown(&bea.get("/connected").await), 1);
    let page = here.open_as("/connected", "ada", "correct horse").await;
    assert_eq!(shown(&page), 0);
}

#[tokio::test]
async fn form_of_another_site_ends_nothing() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &["--legacy"]);
    let tokens = granted(&example, "mail", "ada", "correct horse").await;
    let browser = Browser::new(&example);
    let page = browser.open_as("/connected", "ada", "correct horse").await;
    for action in ["/connected/end", "/connected/revoke", "/connected/revoke-all"] {
        let mut form = page.hidden_fields(action);
        form.retain(|(name, _)| name != "csrf");
        assert_eq!(browser.post(action, &form).await.status, 403);
    }
    assert!(works(&example, &tokens).await);
    assert_eq!(shown(&browser.get("/connected").await), 1);
}
