//! Runs the code of the page about axum.
#![allow(
    clippy::format_push_string,
    clippy::unused_async,
    dead_code,
    unreachable_pub,
    reason = "the page shows short and whole programs"
)]

mod behind_a_proxy;
mod connected;
mod own_errors;
mod register;

mod app {
    include!("app.rs");

    pub(super) const TEST_PASSWORD: &str = "correct horse";

    pub(super) async fn app_for_a_test(storage: MemoryStorage) -> Router {
        app(storage, Users::new([("alice", TEST_PASSWORD)]).unwrap()).await.unwrap()
    }
}

use axum::body::{Body, to_bytes};
use axum::http::{Request, Response};
use grantor::testing::TestServer;
use grantor::{Client, ClientId, ClientRegistry, MemoryStorage, Subject};
use serde_json::{Value, json};
use tower::ServiceExt;

/// The example of RFC 7636, appendix B.
const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";

/// A browser: it keeps the session's cookie.
struct Browser {
    app: axum::Router,
    cookie: Option<String>,
}

impl Browser {
    async fn new() -> Self {
        let storage = MemoryStorage::new();
        let demo = Client::native("demo").name("<Demo>").authorization_code(["http://127.0.0.1/callback"]);
        storage.register(demo.refresh_token().scope("user:read user:write").build().unwrap()).await.unwrap();
        Self { app: app::app_for_a_test(storage).await, cookie: None }
    }

    async fn send(&mut self, mut request: Request<Body>) -> Response<Body> {
        if let Some(cookie) = &self.cookie {
            request.headers_mut().insert("cookie", cookie.parse().unwrap());
        }
        let response = self.app.clone().oneshot(request).await.unwrap();
        if let Some(cookie) = response.headers().get("set-cookie") {
            let cookie = cookie.to_str().unwrap();
            if cookie.contains("Max-Age=0") {
                self.cookie = None;
                return response;
            }
            assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
            self.cookie = Some(cookie.split(';').next().unwrap().to_owned());
        }
        response
    }

    async fn get(&mut self, target: &str) -> String {
        text(self.send(Request::get(target).body(Body::empty()).unwrap()).await).await
    }

    async fn post(&mut self, path: &str, fields: &[(&str, &str)]) -> Response<Body> {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = Request::post(path).header("content-type", "application/x-www-form-urlencoded");
        self.send(request.body(Body::from(body)).unwrap()).await
    }

    /// Logs in on a login page. Returns where the browser goes next.
    async fn log_in(&mut self, page: &str, password: &str) -> Response<Body> {
        let (secret, target) = (hidden(page, "form_secret"), hidden(page, "return_target"));
        let fields = [("name", "alice"), ("password", password), ("form_secret", &secret), ("return_target", &target)];
        self.post("/login", &fields).await
    }
}

async fn text(response: Response<Body>) -> String {
    String::from_utf8(to_bytes(response.into_body(), 1_000_000).await.unwrap().to_vec()).unwrap()
}

/// The value of a hidden field of a page.
fn hidden(page: &str, name: &str) -> String {
    let field = page.split(&format!("name=\"{name}\" value=\"")).nth(1).unwrap_or_else(|| panic!("{name}: {page}"));
    field.split('"').next().unwrap().replace("&amp;", "&")
}

fn location(response: &Response<Body>) -> String {
    assert_eq!(response.status(), 303);
    response.headers()["location"].to_str().unwrap().to_owned()
}

/// The address that the page tells the reader to open.
fn address_on_the_page() -> String {
    let page = include_str!("../../../src/manual/with_axum.md");
    let address =
        page.lines().find_map(|line| line.trim_start().strip_prefix("http://localhost:3000/authorize?")).unwrap();
    format!("/authorize?{address}")
}

#[tokio::test]
async fn axum_program_serves_login_consent_and_api() {
    let (mut browser, authorize) = (Browser::new().await, address_on_the_page());
    let page = browser.get(&authorize).await;
    assert!(page.contains("Log in to continue to <bdi>&lt;Demo&gt;</bdi>"), "{page}");
    let before = browser.cookie.clone().unwrap();

    let wrong = browser.log_in(&page, "wrong").await;
    assert_eq!(wrong.status(), 403);
    let page = text(wrong).await;
    assert!(page.contains("The user name or the password is wrong."), "{page}");
    let target = location(&browser.log_in(&page, app::TEST_PASSWORD).await);
    assert_ne!(browser.cookie.as_ref().unwrap(), &before, "the session has a new identifier");

    let page = browser.get(&target).await;
    assert!(page.contains("alice") && page.contains("&lt;Demo&gt;"), "{page}");
    assert!(page.contains("Read your profile") && page.contains("Change your profile"), "{page}");
    assert!(page.contains("127.0.0.1") && page.contains("days"), "{page}");
    let token = hidden(&page, "form_token");
    let decision = [("form_token", token.as_str()), ("scope", "user:read"), ("decision", "approve")];
    let callback = location(&browser.post("/consent", &decision).await);
    let callback = url::Url::parse(&callback).unwrap();
    let values: std::collections::HashMap<_, _> = callback.query_pairs().into_owned().collect();
    assert_eq!((callback.path(), &values["state"][..]), ("/callback", "xyz"));

    let redemption = [
        ("grant_type", "authorization_code"),
        ("client_id", "demo"),
        ("redirect_uri", "http://127.0.0.1:3000/callback"),
        ("code_verifier", VERIFIER),
        ("code", &values["code"]),
    ];
    let tokens: Value = serde_json::from_str(&text(browser.post("/token", &redemption).await).await).unwrap();
    assert_eq!(tokens["scope"], "user:read");
    let bearer = format!("Bearer {}", tokens["access_token"].as_str().unwrap());
    let me = Request::get("/me").header("authorization", bearer).body(Body::empty()).unwrap();
    assert_eq!(text(browser.send(me).await).await, "You are alice.");
    assert_eq!(browser.send(Request::get("/me").body(Body::empty()).unwrap()).await.status(), 401);
}

#[tokio::test]
async fn axum_program_refuses_forged_forms_and_targets() {
    let (mut browser, authorize) = (Browser::new().await, address_on_the_page());
    let page = browser.get(&authorize).await;
    let target = hidden(&page, "return_target");
    let mut other = Browser { app: browser.app.clone(), cookie: None };
    let forged = other.log_in(&page, app::TEST_PASSWORD).await;
    assert_eq!(forged.status(), 403, "the form is of another browser");
    let secret = hidden(&page, "form_secret");
    let fields = [("name", "alice"), ("password", app::TEST_PASSWORD), ("form_secret", &secret)];
    let fields = [&fields[..], &[("return_target", "https://evil.example/")]].concat();
    assert_eq!(browser.post("/login", &fields).await.status(), 400);

    let target_after = location(&browser.log_in(&page, app::TEST_PASSWORD).await);
    assert_eq!(target_after, target);
    let page = browser.get(&target).await;
    let token = hidden(&page, "form_token");
    let decision = [("form_token", token.as_str()), ("decision", "approve")];
    let refused = other.post("/consent", &decision).await;
    assert!(refused.status().is_client_error(), "a stranger approves with alice's form");

    let logout = [("form_secret", hidden(&page, "form_secret")), ("return_target", hidden(&page, "return_target"))];
    let logout = logout.each_ref().map(|(name, value)| (*name, value.as_str()));
    assert_eq!(browser.post("/logout", &[logout[1]]).await.status(), 303);
    assert!(browser.get(&target).await.contains("alice"), "a logout without the secret does nothing");
    let target = location(&browser.post("/logout", &logout).await);
    assert!(browser.get(&target).await.contains("name=\"password\""));
    let denied = browser.post("/consent", &decision).await;
    assert!(denied.status().is_client_error(), "the form ended with its session");
}

#[tokio::test]
async fn axum_program_throttles_guessing() {
    let mut browser = Browser::new().await;
    let mut page = browser.get(&address_on_the_page()).await;
    for _ in 0..10 {
        page = text(browser.log_in(&page, "wrong").await).await;
    }
    assert_eq!(browser.log_in(&page, app::TEST_PASSWORD).await.status(), 429);
}

#[tokio::test]
async fn axum_program_reports_denial_to_client() {
    let mut browser = Browser::new().await;
    let page = browser.get(&address_on_the_page()).await;
    let target = location(&browser.log_in(&page, app::TEST_PASSWORD).await);
    let token = hidden(&browser.get(&target).await, "form_token");
    let callback = location(&browser.post("/consent", &[("form_token", &token), ("decision", "deny")]).await);
    assert!(callback.contains("error=access_denied"), "{callback}");
}

#[tokio::test]
async fn connected_page_shows_and_revokes_access() {
    let t = TestServer::new();
    let client = t.public_client("https://app.example/cb").await;
    let tokens = t.authorize(&client).scope("user:read").approve_as("alice").await.redeem().await.unwrap();
    let alice = Subject::new("alice").unwrap();
    let page = connected::connected_page(&t.server, &alice, "s").await.unwrap();
    assert_eq!(page.matches("End access").count(), 1);
    let mut described = t.server.scopes().map(|scope| (scope.token, page.contains(scope.description)));
    assert!(described.all(|(token, shown)| shown == (token == "user:read")), "{page}");
    connected::end_access(&t.server, &alice, ClientId::new(&client.id).unwrap()).await.unwrap();
    assert!(!connected::connected_page(&t.server, &alice, "s").await.unwrap().contains("End access"));
    assert_eq!(t.refresh(&client, &tokens.refresh_token.unwrap()).await.unwrap_err().code(), "invalid_grant");
}

#[tokio::test]
async fn registration_form_registers_and_shows_errors() {
    use grantor::client::RegisteredBy;

    let t = TestServer::new();
    let alice = Subject::new("alice").unwrap();
    let send = async |form: &str| {
        let form = grantor::Request::post_form("/applications", form);
        register::register(&t.server, &t.storage, &alice, &form).await
    };
    let fields =
        "name=Photos&redirect_uris=https://app.example/cb%0D%0Ahttps://app.example%0D%0A&scope=user:read&scope=other";
    let page = send(&format!("type=confidential&{fields}")).await.unwrap();
    let clients = t.storage.list_clients(None, 9).await.unwrap();
    let [client] = &clients[..] else { panic!("{clients:?}") };
    assert!(page.contains("shown only now") && page.contains(client.id().as_str()), "{page}");
    assert_eq!(page.matches("<p>").count(), 3, "there is one warning: {page}");
    assert_eq!(client.parts().scope.as_ref().unwrap().as_str(), "user:read");
    assert_eq!((client.redirect_uris().len(), client.registered_by()), (2, RegisteredBy::SelfService));
    assert_eq!(client.host_data(), &json!({ "owner": "alice" }));
    assert!(!send(&format!("type=public&{fields}")).await.unwrap().contains("shown only now"));
    let problem = send("type=public&name=Photos&redirect_uris=http://app.example/cb").await.unwrap();
    assert!(!problem.contains("Client identifier"), "{problem}");
    assert!(send("type=public&name=a&name=b").await.is_err());
    assert_eq!(t.storage.list_clients(None, 9).await.unwrap().len(), 2);
}

#[tokio::test]
async fn axum_proxy_layer_sets_peer() {
    let t = TestServer::new();
    let app = axum::Router::new()
        .route("/", axum::routing::get(async |request: grantor::Request| format!("{:?}", request.peer())))
        .with_state(t.server.clone());
    let request = Request::get("/").header("x-real-ip", "192.0.2.7").body(Body::empty()).unwrap();
    let response = behind_a_proxy::behind_a_proxy(app).oneshot(request).await.unwrap();
    assert_eq!(text(response).await, "Some(192.0.2.7)");
}
