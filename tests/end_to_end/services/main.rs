//! The documented flows of real services, through HTTP against the example server.

mod absurd_values;
mod api_scopes;
mod application_registration;
mod client_keys;
mod connected_applications;
mod consent_page;
mod further_apis;
mod guessing;
mod interaction;
mod languages;
mod methods;
mod native_apps;
mod offline_access;
mod out_of_band;
mod own_account;
mod own_applications;
mod password_grant;
mod proxies;
mod separate_api;
mod sessions;
mod setting_up;
mod signed_requests;
mod signing_keys;
mod slow_clients;

#[expect(unreachable_pub, reason = "other tests share this file")]
#[path = "../../common/signed.rs"]
mod signed;

use end_to_end::example::{Example, Folder};
use end_to_end::postgres::Postgres;
use serde_json::Value;

/// A server on each storage, and where its data is.
async fn on_each_storage(clients: &str, users: &str, scopes: &str) -> Vec<(Example, Folder)> {
    let mut servers = Vec::new();
    let folder = Folder::new();
    let file = format!("sqlite:{}", folder.path().join("grantor.db").display());
    servers.push((Example::with(clients, users, scopes, &["--storage", &file]), folder));
    if let Some(postgres) = Postgres::get() {
        let url = postgres.database().await;
        servers.push((Example::with(clients, users, scopes, &["--storage", &url]), Folder::new()));
    }
    servers.push((Example::with(clients, users, scopes, &[]), Folder::new()));
    servers
}

/// Sends a form to the token endpoint and returns status and body.
async fn token(example: &Example, form: &[(&str, &str)]) -> (u16, Value) {
    let response = reqwest::Client::new().post(example.url("/token")).form(form).send().await.unwrap();
    (response.status().as_u16(), response.json().await.unwrap())
}

/// Asks the protected API and returns status and body.
async fn me(example: &Example, access_token: &Value) -> (u16, Value) {
    let token = access_token.as_str().expect("an access token");
    let response = reqwest::Client::new().get(example.url("/api/me")).bearer_auth(token).send().await.unwrap();
    let status = response.status().as_u16();
    (status, response.json().await.unwrap_or(Value::Null))
}
