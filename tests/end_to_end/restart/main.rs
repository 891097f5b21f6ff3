//! The state of the example server after a restart, and of several servers together, in both databases.

mod built_in;
mod failures;
mod files;
mod nodes;
mod survival;

use end_to_end::example::{Browser, Example, Folder, Page};
use end_to_end::postgres::Postgres;
use serde_json::Value;

const CLIENTS: &str = r#"[
    {"client_id": "mail", "client_name": "A mail app", "client_secret": "mail-secret", "scope": "user:read user:write",
     "grant_types": ["password", "refresh_token"], "response_types": []}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;

/// The fields of the form that registers an application.
const APPLICATION: [(&str, &str); 3] =
    [("name", "My app"), ("website", "https://app.example"), ("redirect_uri", "https://app.example/callback")];

/// The issuer of all servers, regardless of their port: a storage belongs to one issuer.
const ISSUER: &str = "http://127.0.0.1:3000";

/// A storage, empty at first, and files to start from.
struct Place {
    folder: Folder,
    /// The value of `--storage`.
    storage: String,
}

impl Place {
    fn sqlite() -> Self {
        let folder = Folder::new();
        let storage = format!("sqlite:{}", folder.path().join("own.db").display());
        Self { folder, storage }
    }

    /// `None`, with a printed reason, if this machine has no PostgreSQL.
    async fn postgres() -> Option<Self> {
        let storage = Postgres::get()?.database().await;
        Some(Self { folder: Folder::new(), storage })
    }

    fn start(&self, flags: &[&str]) -> Example {
        Example::start_in(
            self.folder.path(),
            &[&["--storage", &self.storage, "--issuer", ISSUER, "--legacy"], flags].concat(),
        )
    }

    /// Starts a server that is reached at its issuer, as the demo requires.
    fn start_at(&self, address: &str) -> Example {
        Example::start_in(self.folder.path(), &["--storage", &self.storage, "--listen", address])
    }

    /// Starts a server that adds or updates these clients and users.
    fn start_with(&self, clients: &str, users: &str) -> Example {
        let clients = self.folder.file("clients.json", clients);
        let users = self.folder.file("users.json", users);
        self.start(&["--clients", &clients, "--users", &users])
    }
}

/// Runs a scenario on both databases.
macro_rules! in_both {
    ($($(#[$attribute:meta])* $scenario:ident)*) => {$(
        mod $scenario {
            $(#[$attribute])*
            #[tokio::test]
            async fn in_sqlite() {
                super::$scenario($crate::Place::sqlite()).await;
            }

            $(#[$attribute])*
            #[tokio::test]
            async fn in_postgres() {
                let Some(place) = $crate::Place::postgres().await else { return };
                super::$scenario(place).await;
            }
        }
    )*};
}
pub(crate) use in_both;

/// Sends a form to the token endpoint and returns status and body.
async fn token(example: &Example, form: &[(&str, &str)]) -> (u16, Value) {
    let response = reqwest::Client::new().post(example.url("/token")).form(form).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// A grant of ada to the mail app.
async fn granted(example: &Example) -> Value {
    let (status, tokens) = with_password(example, "ada", "correct horse").await;
    assert_eq!(status, 200, "{tokens}");
    tokens
}

async fn with_password(example: &Example, username: &str, password: &str) -> (u16, Value) {
    let client = [("client_id", "mail"), ("client_secret", "mail-secret")];
    let user = [("grant_type", "password"), ("username", username), ("password", password)];
    token(example, &[&client[..], &user, &[("scope", "user:read user:write")]].concat()).await
}

async fn refreshed(example: &Example, tokens: &Value) -> (u16, Value) {
    let refresh_token = tokens["refresh_token"].as_str().expect("a refresh token");
    let client = [("client_id", "mail"), ("client_secret", "mail-secret")];
    let form = [("grant_type", "refresh_token"), ("refresh_token", refresh_token)];
    token(example, &[&client[..], &form].concat()).await
}

async fn for_itself(example: &Example, id: &str, secret: &str) -> (u16, Value) {
    let form = [("grant_type", "client_credentials"), ("client_id", id), ("client_secret", secret)];
    token(example, &form).await
}

/// Revokes the grant of a refresh token.
async fn revoke(example: &Example, tokens: &Value) {
    let form = [
        ("token", tokens["refresh_token"].as_str().expect("a refresh token")),
        ("client_id", "mail"),
        ("client_secret", "mail-secret"),
    ];
    let response = reqwest::Client::new().post(example.url("/revoke")).form(&form).send().await.unwrap();
    assert_eq!(response.status(), 200);
}

/// Asks the API for the token's user; returns status and body.
async fn me(example: &Example, tokens: &Value) -> (u16, Value) {
    let token = tokens["access_token"].as_str().expect("an access token");
    let response = reqwest::Client::new().get(example.url("/api/me")).bearer_auth(token).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap_or(Value::Null))
}

/// Changes the display name of the token's user.
async fn rename(example: &Example, tokens: &Value, name: &str) -> u16 {
    let token = tokens["access_token"].as_str().expect("an access token");
    let change = serde_json::json!({ "display_name": name });
    let request = reqwest::Client::new().put(example.url("/api/me")).bearer_auth(token).json(&change);
    request.send().await.unwrap().status().as_u16()
}

/// Registers an application as ada; returns its identifier and secret.
async fn registered(example: &Example) -> (String, String) {
    let browser = Browser::new(example);
    let form = browser.open_as("/applications/new", "ada", "correct horse").await;
    let page = browser.submit(&form, "/applications/new", &APPLICATION).await;
    let shown = page.codes();
    let [id, secret] = shown.as_slice() else { panic!("identifier and secret are shown: {}", page.body) };
    ((*id).to_owned(), (*secret).to_owned())
}

/// The response of the login page.
async fn logged_in(example: &Example, username: &str, password: &str) -> Page {
    let browser = Browser::new(example);
    let form = browser.get("/login").await;
    browser.submit(&form, "/login", &[("username", username), ("password", password)]).await
}
