//! The authorization endpoint from outside, as a browser, a client and a host see it.

#[path = "../common/mod.rs"]
mod common;

mod ask;
mod source;

mod approval;
mod capability;
mod consent;
mod declared_parameters;
mod delivery;
mod errors;
mod failures;
mod first_party;
mod form_reuse;
mod form_token;
mod headers;
mod host;
mod implicit;
mod interaction;
mod issuer;
mod native_apps;
mod no_fetching;
mod order_of_checks;
mod pages;
mod parameters;
mod peer;
mod pkce;
mod prompt_none;
mod redirect_uri;
mod registration;
mod remembered_consent;
mod request;
#[cfg(feature = "jwt")]
mod request_object;
mod return_target;
mod scope;
mod stale_form;
