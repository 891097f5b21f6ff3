//! The token endpoint (RFC 6749 §3.2): what it accepts, issues and refuses.
#[path = "../common/mod.rs"]
mod common;
mod support;

mod assertions;
mod authorization_code;
#[cfg(feature = "jwt")]
mod client_assertion;
mod client_authentication;
mod client_credentials;
mod customizer;
mod derived_grants;
mod entropy;
mod equal_answers;
mod errors;
mod extension_grants;
mod issuances;
mod lifetimes;
mod order_of_checks;
mod other_endpoints;
mod password;
mod pkce;
mod refresh_rate;
mod refresh_token;
mod removed_scope;
mod replay;
mod request;
mod request_context;
mod response;
mod rotation;
mod scope;
mod storage_failures;
mod subject_status;
