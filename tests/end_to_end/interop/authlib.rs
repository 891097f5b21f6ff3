//! The Python package `authlib`: all five grant types, and later requests.

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
fn authlib_completes_code_flow_with_each_auth_method() {
    runs("authorization_code", &[]);
}

#[test]
fn authlib_refreshes_on_demand_and_automatically() {
    runs("refresh_token", &[]);
}

#[test]
fn client_credentials_flow_gets_a_token() {
    runs("client_credentials", &[]);
}

#[test]
fn password_grant_works_if_enabled() {
    runs("password", &["--legacy"]);
    runs("password_is_off", &[]);
}

#[test]
fn authlib_reads_implicit_token_from_fragment() {
    runs("implicit", &["--legacy"]);
}

#[test]
fn authlib_revokes_grant_and_introspects() {
    runs("revocation_and_introspection", &[]);
}

#[test]
fn authlib_validates_metadata() {
    runs("metadata", &[]);
}
