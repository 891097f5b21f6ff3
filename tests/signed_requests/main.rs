//! The tests of the authorization endpoint with signed request objects (RFC 9101): each request of
//! `tests/authorization_endpoint` comes as an object, and has the same result.

#[path = "../common/mod.rs"]
mod common;

#[path = "../authorization_endpoint/ask.rs"]
mod ask;
mod source;

#[path = "../authorization_endpoint/approval.rs"]
mod approval;
#[path = "../authorization_endpoint/capability.rs"]
mod capability;
#[path = "../authorization_endpoint/consent.rs"]
mod consent;
#[path = "../authorization_endpoint/declared_parameters.rs"]
mod declared_parameters;
#[path = "../authorization_endpoint/delivery.rs"]
mod delivery;
#[path = "../authorization_endpoint/errors.rs"]
mod errors;
#[path = "../authorization_endpoint/failures.rs"]
mod failures;
#[path = "../authorization_endpoint/first_party.rs"]
mod first_party;
#[path = "../authorization_endpoint/form_reuse.rs"]
mod form_reuse;
#[path = "../authorization_endpoint/form_token.rs"]
mod form_token;
#[path = "../authorization_endpoint/headers.rs"]
mod headers;
#[path = "../authorization_endpoint/host.rs"]
mod host;
#[path = "../authorization_endpoint/implicit.rs"]
mod implicit;
#[path = "../authorization_endpoint/interaction.rs"]
mod interaction;
#[path = "../authorization_endpoint/issuer.rs"]
mod issuer;
#[path = "../authorization_endpoint/native_apps.rs"]
mod native_apps;
#[path = "../authorization_endpoint/order_of_checks.rs"]
mod order_of_checks;
#[path = "../authorization_endpoint/pages.rs"]
mod pages;
#[path = "../authorization_endpoint/parameters.rs"]
mod parameters;
#[path = "../authorization_endpoint/peer.rs"]
mod peer;
#[path = "../authorization_endpoint/pkce.rs"]
mod pkce;
#[path = "../authorization_endpoint/prompt_none.rs"]
mod prompt_none;
#[path = "../authorization_endpoint/redirect_uri.rs"]
mod redirect_uri;
#[path = "../authorization_endpoint/registration.rs"]
mod registration;
#[path = "../authorization_endpoint/remembered_consent.rs"]
mod remembered_consent;
#[path = "../authorization_endpoint/request.rs"]
mod request;
#[path = "../authorization_endpoint/return_target.rs"]
mod return_target;
#[path = "../authorization_endpoint/scope.rs"]
mod scope;
#[path = "../authorization_endpoint/stale_form.rs"]
mod stale_form;
