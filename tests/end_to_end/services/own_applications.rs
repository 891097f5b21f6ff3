//! A service where users change and remove their applications, and create new secrets for them.

use std::collections::BTreeSet;

use super::{me, on_each_storage, token};
use end_to_end::example::{Browser, Example, Page};
use end_to_end::postgres::Postgres;
use serde_json::Value;
use sqlx::Row;

const USERS: &str = r#"{"ada": "correct horse", "bea": "battery"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile"}"#;
const FIELDS: [(&str, &str); 3] =
    [("name", "My app"), ("website", "https://app.example"), ("redirect_uri", "https://app.example/cb")];

/// Registers an application; returns its identifier and secret.
async fn registered(browser: &Browser, user: (&str, &str)) -> (String, String) {
    let form = browser.get("/applications/new").await;
    let form = if form.status == 200 { form } else { browser.open_as("/applications/new", user.0, user.1).await };
    shown_codes(&browser.submit(&form, "/applications/new", &FIELDS).await)
}

fn shown_codes(page: &Page) -> (String, String) {
    let [id, secret] = page.codes()[..] else { panic!("identifier and secret are shown: {}", page.body) };
    (id.to_owned(), secret.to_owned())
}

async fn own_token(example: &Example, id: &str, secret: &str) -> (u16, Value) {
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    token(example, &form).await
}

/// Lets the user of a browser approve an application; returns the access token.
async fn approved(example: &Example, browser: &Browser, id: &str, secret: &str) -> Value {
    let page = browser.get(&request(id, "https%3A%2F%2Fapp.example%2Fcb")).await;
    let page = browser.submit(&page, "/consent", &[("scope", "user:read"), ("decision", "approve")]).await;
    let code = page.answer("code").expect("a code");
    let redeem = [
        ("grant_type", "authorization_code"),
        ("client_id", id),
        ("client_secret", secret),
        ("code", &code),
        ("redirect_uri", "https://app.example/cb"),
        ("code_verifier", "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"),
    ];
    let (status, tokens) = token(example, &redeem).await;
    assert_eq!(status, 200, "{tokens}");
    tokens["access_token"].clone()
}

fn request(id: &str, redirect_uri: &str) -> String {
    format!(
        "/authorize?client_id={id}&response_type=code&redirect_uri={redirect_uri}&code_challenge_method=S256\
         &code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
    )
}

async fn change_page(browser: &Browser, id: &str) -> Page {
    browser.get(&format!("/applications/change?client={id}")).await
}

// Regression: an application could not be changed or removed, nor get a new secret.
#[tokio::test]
async fn owner_changes_redirect_uris_of_an_application() {
    for (example, _kept) in on_each_storage("[]", USERS, SCOPES).await {
        let browser = Browser::new(&example);
        let (id, secret) = registered(&browser, ("ada", "correct horse")).await;
        let page = change_page(&browser, &id).await;
        assert!(page.body.contains("value=\"My app\"") && page.body.contains("\nhttps://app.example/cb</textarea>"));
        let new = "https://app.example/new\r\n\r\n  http://127.0.0.1/cb  \r\n";
        let fields = [("name", "Better app"), ("website", ""), ("redirect_uris", new)];
        let done = browser.submit(&page, "/applications/change", &fields).await;
        assert_eq!((done.status, done.location.as_deref()), (303, Some("/applications")), "{}", done.body);
        let list = browser.get("/applications").await;
        for shown in ["Better app", "https://app.example/new", "http://127.0.0.1/cb"] {
            assert!(list.body.contains(shown), "{}", list.body);
        }
        assert!(!list.body.contains("My app") && !list.body.contains("Website"), "{}", list.body);
        let page_at = async |uri: &str| browser.get(&request(&id, uri)).await;
        assert!(page_at("https%3A%2F%2Fapp.example%2Fnew").await.body.contains("Better app"));
        assert_eq!(page_at("https%3A%2F%2Fapp.example%2Fcb").await.status, 400);
        assert_eq!(own_token(&example, &id, &secret).await.0, 200, "the secret is the same");

        // The page shows an old version by now.
        let done = browser.submit(&page, "/applications/change", &fields).await;
        assert_eq!(done.status, 409);
        // The error is shown beside the field, and the typed value is kept.
        let page = change_page(&browser, &id).await;
        for (uris, problem) in [
            ("http://app.example/cb", "redirect_uris"),
            ("", "redirect URI"),
            ("com.example.app:/cb", "Custom schemes"),
            ("urn:ietf:wg:oauth:2.0:oob", "not offered"),
        ] {
            let fields = [("name", "Typed"), ("website", ""), ("redirect_uris", uris)];
            let refused = browser.submit(&page, "/applications/change", &fields).await;
            assert_eq!(refused.status, 422, "{uris}");
            assert!(refused.body.contains(problem) && refused.body.contains("value=\"Typed\""), "{}", refused.body);
            assert!(refused.body.contains(&format!("\n{uris}</textarea>")), "{}", refused.body);
        }
    }
}

#[tokio::test]
async fn new_secret_is_shown_once_and_overlaps_with_old_one() {
    for (example, _kept) in on_each_storage("[]", USERS, SCOPES).await {
        let browser = Browser::new(&example);
        let (id, first) = registered(&browser, ("ada", "correct horse")).await;
        let page = change_page(&browser, &id).await;
        let shown = browser.submit(&page, "/applications/secret", &[]).await;
        let (same, second) = shown_codes(&shown);
        assert!(same == id && second != first && shown.body.contains("24 more hours"), "{}", shown.body);
        for page in [change_page(&browser, &id).await, browser.get("/applications").await] {
            assert!(!page.body.contains(&second), "{}", page.body);
        }
        for secret in [&first, &second] {
            assert_eq!(own_token(&example, &id, secret).await.0, 200);
        }
        // A second click, or a reload of the page that shows the secret.
        let again = browser.submit(&page, "/applications/secret", &[]).await;
        assert!(again.status == 409 && again.codes().is_empty(), "{}", again.body);
        assert_eq!(
            own_token(&example, &id, &first).await.0,
            200,
            "the first secret stopped working after the second click"
        );

        let page = change_page(&browser, &id).await;
        let (_, third) = shown_codes(&browser.submit(&page, "/applications/secret", &[]).await);
        let statuses = [
            own_token(&example, &id, &first).await.0,
            own_token(&example, &id, &second).await.0,
            own_token(&example, &id, &third).await.0,
        ];
        assert_eq!(statuses, [401, 200, 200], "two new secrets end the first");
    }
}

#[tokio::test]
async fn removed_application_loses_grants_and_frees_a_slot() {
    for (example, _kept) in on_each_storage("[]", USERS, SCOPES).await {
        let browser = Browser::new(&example);
        let (id, secret) = registered(&browser, ("ada", "correct horse")).await;
        let (kept, kept_secret) = registered(&browser, ("ada", "correct horse")).await;
        let (ended, lives) =
            (approved(&example, &browser, &id, &secret).await, approved(&example, &browser, &kept, &kept_secret).await);
        for _ in 2..20 {
            registered(&browser, ("ada", "correct horse")).await;
        }
        let form = browser.get("/applications/new").await;
        assert_eq!(browser.submit(&form, "/applications/new", &FIELDS).await.status, 422);

        let page = change_page(&browser, &id).await;
        let done = browser.submit(&page, "/applications/remove", &[]).await;
        assert_eq!((done.status, done.location.as_deref()), (303, Some("/applications")), "{}", done.body);
        assert!(!browser.get("/applications").await.body.contains(&id));
        assert_eq!(own_token(&example, &id, &secret).await.0, 401);
        assert_eq!((me(&example, &ended).await.0, me(&example, &lives).await.0), (401, 200));
        assert_eq!(change_page(&browser, &id).await.status, 404);
        assert_eq!(browser.submit(&page, "/applications/remove", &[]).await.status, 404);
        // The removed application frees a slot. A new application is listed last.
        let (newest, _) = registered(&browser, ("ada", "correct horse")).await;
        let list = browser.get("/applications").await;
        let codes = list.codes();
        assert!(codes[0] == kept && codes[codes.len() - 2] == newest, "{codes:?}");
        assert_eq!(browser.submit(&form, "/applications/new", &FIELDS).await.status, 422);
    }
}

#[tokio::test]
async fn user_cannot_change_an_application_of_another_user() {
    for (example, _kept) in on_each_storage("[]", USERS, SCOPES).await {
        let (ada, bea) = (Browser::new(&example), Browser::new(&example));
        let (id, secret) = registered(&ada, ("ada", "correct horse")).await;
        let (other, _) = registered(&bea, ("bea", "battery")).await;
        let (own, page) = (change_page(&ada, &id).await, change_page(&bea, &other).await);
        assert_eq!(change_page(&bea, &id).await.status, 404);
        let version =
            own.hidden_fields("/applications/change").into_iter().find(|(name, _)| name == "version").unwrap();
        for action in ["/applications/change", "/applications/secret", "/applications/remove"] {
            // A valid form token of bea, with an application of ada.
            let mut form = page.hidden_fields(action);
            form.retain(|(name, _)| name == "csrf");
            let fields = [("client", &*id), ("name", "Stolen"), ("redirect_uris", "https://evil.example/cb")];
            form.extend(fields.map(|(name, value)| (name.to_owned(), value.to_owned())));
            form.push(version.clone());
            assert_eq!(bea.post(action, &form).await.status, 404, "{action}");
            // The owner's browser sends the form from another site.
            form.retain(|(name, _)| name != "csrf");
            assert_eq!(ada.post(action, &form).await.status, 403, "{action}");
        }
        // An application that does not exist, and a malformed identifier.
        let mut form = page.hidden_fields("/applications/remove");
        form.retain(|(name, _)| name == "csrf");
        for client in ["nobody", "", "\u{e9}", &"x".repeat(300)] {
            let form = [&form[..], &[("client".to_owned(), client.to_owned())]].concat();
            assert_eq!(bea.post("/applications/remove", &form).await.status, 404, "{client}");
        }
        assert_eq!(own_token(&example, &id, &secret).await.0, 200);
        assert!(ada.get("/applications").await.body.contains("<h2><bdi>My app</bdi></h2>"));
        let visitor = Browser::new(&example);
        let page = change_page(&visitor, &id).await;
        assert_eq!(page.location.as_deref(), Some("/login?next=/applications"));
    }
}

// Regression: forms of one user used up all connections of the pool.
#[tokio::test]
async fn forms_of_one_user_close_no_connection_and_get_429() {
    let Some(postgres) = Postgres::get() else { return };
    let url = postgres.database().await;
    let clients = r#"[{"client_id": "batch", "client_secret": "batch-secret", "grant_types": ["client_credentials"]}]"#;
    let example = Example::with(clients, USERS, SCOPES, &["--storage", &url]);
    let browser = std::sync::Arc::new(Browser::new(&example));
    let form = browser.open_as("/applications/new", "ada", "correct horse").await;
    let fields = FIELDS.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let form = [form.hidden_fields("/applications/new"), fields.to_vec()].concat();
    let pool = sqlx::PgPool::connect(&url).await.unwrap();
    let backends = async || {
        let rows = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let rows = sqlx::query(rows).fetch_all(&pool).await.unwrap();
        rows.iter().map(|row| row.get::<i32, _>(0)).collect::<BTreeSet<_>>()
    };
    let (mut statuses, mut before) = (Vec::new(), None);
    for _ in 0..2 {
        let mut posts = tokio::task::JoinSet::new();
        for _ in 0..64 {
            let (browser, form) = (browser.clone(), form.clone());
            posts.spawn(async move { browser.post("/applications/new", &form).await.status });
        }
        // Meanwhile, the server serves other users.
        for _ in 0..20 {
            assert_eq!(own_token(&example, "batch", "batch-secret").await.0, 200);
        }
        statuses.extend(posts.join_all().await);
        // The first round opens the connections, and the second one uses them.
        let now = backends().await;
        assert!(!now.is_empty());
        assert!(before.replace(now.clone()).is_none_or(|before| before.is_subset(&now)), "a connection was closed");
    }
    let count = |status: u16| statuses.iter().filter(|own| **own == status).count();
    assert_eq!((count(200), count(200) + count(422) + count(429)), (20, 128), "{statuses:?}");
    assert!((40..=80).contains(&count(422)), "the number of forms that reached the database: {statuses:?}");
}
