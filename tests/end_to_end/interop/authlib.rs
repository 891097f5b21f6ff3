//! The Python package `authlib`: all five grants, and what comes after.

use crate::foreign::authlib;
use end_to_end::example::Example;

const CLIENTS: &str = r#"[
    {"client_id": "all", "client_secret": "all-secret", "scope": "user:read user:write",
     "redirect_uris": ["https://app.example/cb"], "response_types": ["code", "token"],
     "grant_types": ["authorization_code", "client_credentials", "implicit", "password", "refresh_token"]},
    {"client_id": "public", "scope": "user:read user:write", "token_endpoint_auth_method": "none",
     "redirect_uris": ["https://app.example/cb"], "grant_types": ["authorization_code", "refresh_token"]},
    {"client_id": "api", "client_secret": "api-secret", "resource_server": true}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile", "user:write": "Change your profile"}"#;

fn runs(scenario: &str, flags: &[&str]) {
    authlib(&Example::with(CLIENTS, USERS, SCOPES, flags), scenario);
}

#[test]
fn it_completes_the_code_flow_with_each_way_of_authentication() {
    runs("authorization_code", &[]);
}

#[test]
fn it_refreshes_when_told_and_by_itself() {
    runs("refresh_token", &[]);
}

#[test]
fn it_gets_a_token_by_client_credentials() {
    runs("client_credentials", &[]);
}

#[test]
fn it_trades_a_password_where_that_is_switched_on() {
    runs("password", &["--legacy"]);
    runs("password_is_off", &[]);
}

#[test]
fn it_takes_a_token_from_the_fragment_where_that_is_switched_on() {
    runs("implicit", &["--legacy"]);
}

#[test]
fn it_revokes_a_grant_and_an_api_is_told() {
    runs("revocation_and_introspection", &[]);
}

#[test]
fn it_finds_the_metadata_in_order() {
    runs("metadata", &[]);
}
