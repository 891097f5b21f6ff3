//! The checks of the fuzz targets.
//!
//! A target is a function from bytes to the name of an outcome. It panics if the library misbehaves. This crate
//! computes the expected behaviour from the specifications and the documentation, with code that is independent of the
//! library. `fuzz_targets/` runs the functions with libFuzzer, and `tests/seeds.rs` runs them with the files in
//! `seeds/`.
#![forbid(unsafe_code)]

mod answer;
pub mod authorize_request;
pub mod basic_header;
pub mod bearer_header;
pub mod client_file;
mod credentials;
mod form;
pub mod jwk;
pub mod params;
pub mod redirect_uri;
pub mod signed_token;
pub mod token_request;
mod world;

#[path = "../../examples/server/clients.rs"]
#[allow(dead_code, reason = "the example server uses all of it")]
mod clients;

/// The parts of the example server that `clients.rs` uses.
mod session {
    /// Used only for built-in clients, which are not read from a file.
    pub(crate) fn random_text() -> String {
        "not random".to_owned()
    }
}

mod registration {
    /// The scope of the example server's API for applications.
    pub(crate) const SCOPE: &str = "application";
}

/// A target and its possible outcomes.
#[derive(Debug)]
#[non_exhaustive]
pub struct Target {
    /// The name of the target in `fuzz_targets/`, `seeds/` and `dict/`.
    pub name: &'static str,
    /// The function, which returns one of `outcomes`.
    pub check: fn(&[u8]) -> &'static str,
    /// The possible outcomes. The seeds must reach each of them.
    pub outcomes: &'static [&'static str],
}

/// All targets.
pub const TARGETS: [Target; 9] = [
    Target { name: "params", check: params::check, outcomes: &params::OUTCOMES },
    Target { name: "basic_header", check: basic_header::check, outcomes: &basic_header::OUTCOMES },
    Target { name: "authorize_request", check: authorize_request::check, outcomes: &authorize_request::OUTCOMES },
    Target { name: "token_request", check: token_request::check, outcomes: &token_request::OUTCOMES },
    Target { name: "redirect_uri", check: redirect_uri::check, outcomes: &redirect_uri::OUTCOMES },
    Target { name: "bearer_header", check: bearer_header::check, outcomes: &bearer_header::OUTCOMES },
    Target { name: "signed_token", check: signed_token::check, outcomes: &signed_token::OUTCOMES },
    Target { name: "jwk", check: jwk::check, outcomes: &jwk::OUTCOMES },
    Target { name: "client_file", check: client_file::check, outcomes: &client_file::OUTCOMES },
];
