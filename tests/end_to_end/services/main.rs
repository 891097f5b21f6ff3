//! The documented flows of real services, through HTTP against the example server.

mod api_scopes;
mod application_registration;
mod connected_applications;
mod consent_page;
mod guessing;
mod interaction;
mod languages;
mod offline_access;
mod out_of_band;
mod own_account;
mod own_applications;
mod password_grant;
mod separate_api;
mod sessions;
mod setting_up;

use end_to_end::example::Example;
use serde_json::Value;

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
