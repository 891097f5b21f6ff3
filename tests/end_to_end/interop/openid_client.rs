//! The npm package `openid-client`: what a browser app, a web app, a machine and an API do with it.

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
fn it_finds_the_endpoints_through_the_metadata() {
    runs("discovery");
}

#[test]
fn it_completes_the_code_flow_with_pkce_and_refreshes_with_a_secret_that_must_be_escaped_in_the_header() {
    runs("code-basic");
}

#[test]
fn it_completes_the_code_flow_with_its_secret_in_the_body() {
    runs("code-body");
}

#[test]
fn it_completes_the_code_flow_without_a_secret() {
    runs("code-public");
}

#[test]
fn it_refuses_an_answer_with_the_issuer_of_another_server_or_none() {
    runs("issuer");
}

#[test]
fn it_understands_a_denial() {
    runs("denial");
}

#[test]
fn it_gets_a_token_by_client_credentials() {
    runs("client-credentials");
}

#[test]
fn it_revokes_an_access_token_and_then_the_grant() {
    runs("revocation");
}

#[test]
fn it_learns_about_tokens_as_a_resource_server() {
    runs("introspection");
}

#[test]
fn it_understands_why_it_was_refused() {
    runs("refusals");
}
