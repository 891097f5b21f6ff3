//! The npm package `openid-client` as a browser app, a web app, a machine and an API.

use crate::foreign::openid_client;
use end_to_end::example::Example;

const CLIENTS: &str = r#"[
    {"client_id": "web", "client_secret": "s3cret: +%/~&=?", "scope": "user:read user:write",
     "redirect_uris": ["https://app.example/cb"], "grant_types": ["authorization_code", "refresh_token"]},
    {"client_id": "public", "scope": "user:read user:write", "token_endpoint_auth_method": "none",
     "redirect_uris": ["https://app.example/cb"], "grant_types": ["authorization_code", "refresh_token"]},
    {"client_id": "machine", "client_secret": "machine-secret", "grant_types": ["client_credentials"]},
    {"client_id": "api", "client_secret": "api-secret", "resource_server": true}
]"#;
const USERS: &str = r#"{"ada": "correct horse"}"#;
const SCOPES: &str = r#"{"user:read": "Read your profile", "user:write": "Change your profile"}"#;

fn runs(scenario: &str) {
    openid_client(&Example::with(CLIENTS, USERS, SCOPES, &[]), scenario);
}

#[test]
fn openid_client_finds_endpoints_by_metadata() {
    runs("discovery");
}

#[test]
fn openid_client_completes_code_flow_with_escaped_secret() {
    runs("code-basic");
}

#[test]
fn openid_client_completes_code_flow_with_secret_in_body() {
    runs("code-body");
}

#[test]
fn openid_client_completes_code_flow_without_secret() {
    runs("code-public");
}

#[test]
fn openid_client_refuses_a_wrong_or_missing_issuer() {
    runs("issuer");
}

#[test]
fn openid_client_understands_denial() {
    runs("denial");
}

#[test]
fn client_credentials_flow_gets_a_token() {
    runs("client-credentials");
}

#[test]
fn openid_client_revokes_access_token_then_grant() {
    runs("revocation");
}

#[test]
fn openid_client_introspects_as_resource_server() {
    runs("introspection");
}

#[test]
fn refusals_are_understood() {
    runs("refusals");
}
