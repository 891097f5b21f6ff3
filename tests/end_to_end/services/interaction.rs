//! A service whose clients control login and consent with `prompt`, `max_age`, `login_hint` and `acr_values`.

use end_to_end::example::{Browser, Example, Page};

const CLIENTS: &str = r#"[
    {"client_id": "app", "client_secret": "s3cr3t", "client_name": "App", "redirect_uris": ["https://app.example/cb"],
     "scope": "user:read user:write"},
    {"client_id": "own", "client_name": "Own", "redirect_uris": ["https://own.example/cb", "http://127.0.0.1/cb"],
     "scope": "user:read", "token_endpoint_auth_method": "none", "first_party": true}
]"#;
const USERS: &str = r#"{"ada": "correct horse", "bob": "battery staple"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile", "user:write": "Change your profile"}"#;
const ADA: [(&str, &str); 2] = [("username", "ada"), ("password", "correct horse")];

fn request(client: &str, redirect_uri: &str, demand: &str) -> String {
    format!(
        "/authorize?client_id={client}&response_type=code&redirect_uri={redirect_uri}&scope=user%3Aread&state=s&{demand}\
         &code_challenge_method=S256&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )
}

fn app(demand: &str) -> String {
    request("app", "https%3A%2F%2Fapp.example%2Fcb", demand)
}

/// Opens a path, and follows redirects until one leads to the client.
async fn open(browser: &Browser, path: &str) -> Page {
    within_server(browser, browser.get(path).await).await
}

async fn within_server(browser: &Browser, mut page: Page) -> Page {
    for _ in 0..5 {
        match page.location.as_deref() {
            Some(path) if path.starts_with('/') => page = browser.get(path).await,
            _ => return page,
        }
    }
    panic!("redirected in circles: {:?}", page.location);
}

async fn log_in(browser: &Browser, page: &Page, fields: &[(&str, &str)]) -> Page {
    assert!(asks_for_password(page), "no login form: {}", page.body);
    within_server(browser, browser.submit(page, "/login", fields).await).await
}

async fn allow(browser: &Browser, page: &Page) -> Page {
    assert!(asks_for_consent(page), "no consent page: {}", page.body);
    browser.submit(page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await
}

fn asks_for_password(page: &Page) -> bool {
    page.status == 200 && page.body.contains("name=\"password\"")
}

fn asks_for_consent(page: &Page) -> bool {
    page.status == 200 && page.body.contains("name=\"form_token\"")
}

#[track_caller]
fn assert_code(page: &Page) {
    assert!(page.answer("code").is_some(), "{:?} {}", page.location, page.body);
    assert_eq!(page.answer("state").as_deref(), Some("s"));
}

#[tokio::test]
async fn visitor_gets_through_each_demand_in_one_round_trip() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    for demand in [
        "prompt=login",
        "prompt=consent",
        "prompt=select_account",
        "prompt=login%20consent%20select_account",
        "max_age=0",
        "max_age=60",
        "login_hint=ada",
        "acr_values=gold",
    ] {
        let browser = Browser::new(&example);
        let login = open(&browser, &app(demand)).await;
        assert_eq!(login.body.contains("value=\"ada\""), demand == "login_hint=ada", "{demand}: {}", login.body);
        let page = log_in(&browser, &login, &ADA).await;
        let is_asked = demand == "prompt=login" || demand.contains("consent");
        assert_eq!(asks_for_consent(&page), is_asked, "{demand}: is the consent page shown?");
        assert_code(&if is_asked { allow(&browser, &page).await } else { page });
    }
    let silent = Browser::new(&example).get(&app("prompt=none")).await;
    assert_eq!(silent.answer("error").as_deref(), Some("login_required"));
}

#[tokio::test]
async fn consented_user_sees_only_the_demanded_step() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    let page = open(&browser, &app("")).await;
    let wrong = browser.submit(&page, "/login", &[("username", "ada"), ("password", "wrong")]).await;
    assert_eq!(wrong.status, 401);
    let page = within_server(&browser, browser.submit(&wrong, "/login", &ADA).await).await;
    assert_code(&allow(&browser, &page).await);

    for demand in ["", "prompt=none", "max_age=60", "login_hint=bob", "acr_values=gold", "acr_values=gold&prompt=none"]
    {
        assert_code(&open(&browser, &app(demand)).await);
    }
    let page = open(&browser, &app("prompt=consent")).await;
    assert_code(&allow(&browser, &page).await);
    for demand in ["prompt=login", "max_age=0"] {
        let page = open(&browser, &app(demand)).await;
        assert_code(&log_in(&browser, &page, &ADA).await);
    }
    let more = app("prompt=none").replace("scope=user%3Aread", "scope=user%3Aread%20user%3Awrite");
    assert_eq!(open(&browser, &more).await.answer("error").as_deref(), Some("consent_required"));

    let accounts = open(&browser, &app("prompt=select_account")).await;
    let same = accounts.link("/authorize?return_target=").expect("a link to continue");
    assert_code(&open(&browser, &same).await);
    let page = within_server(&browser, browser.submit(&accounts, "/logout", &[]).await).await;
    let page = log_in(&browser, &page, &[("username", "bob"), ("password", "battery staple")]).await;
    assert!(asks_for_consent(&page) && page.body.contains("bob"), "bob has not consented: {}", page.body);
}

#[tokio::test]
async fn own_app_skips_consent_if_its_redirect_is_proven() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    let browser = Browser::new(&example);
    let page = open(&browser, &request("own", "https%3A%2F%2Fown.example%2Fcb", "")).await;
    assert_code(&log_in(&browser, &page, &ADA).await);
    let page = open(&browser, &request("own", "http%3A%2F%2F127.0.0.1%2Fcb", "")).await;
    assert_code(&allow(&browser, &page).await);
}

#[tokio::test]
async fn login_form_sends_the_browser_nowhere_else() {
    let example = Example::with(CLIENTS, USERS, SCOPES, &[]);
    for next in
        ["https://evil.example/", "//evil.example/", "/\\evil.example", "/authorize?return_target=x", "", "/demo"]
    {
        let browser = Browser::new(&example);
        let login = browser.get(&app("")).await;
        let mut fields = login.hidden_fields("/login");
        fields.retain(|(name, _)| name != "next");
        let entered = ADA.into_iter().chain([("next", next)]);
        fields.extend(entered.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let page = browser.post("/login", &fields).await;
        assert_eq!((page.status, page.location.as_deref()), (303, Some("/")), "{next}");
    }
}
