//! Return targets: where the browser comes back to after login.
//!
//! A return target is a path of the authorization endpoint with one parameter: the request, sealed, with when it was first
//! seen and where the user was sent since. It is bound to no session, because a login begins a new one. An attacker who
//! copies a return target gains nothing by it, because anyone can make the same request.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::carried::{Carried, Source};
use super::codec::Reader;
use super::parameters::{MAX_SIZE, Parameters, RETURN_TARGET};
use super::progress::Progress;
use super::request::AuthorizationRequest;
use super::seal::Seal;
use super::{AuthorizationEndpoint, Failure, PendingAuthorization};
use crate::error::Refusal;

/// The path and query of the authorization endpoint, up to the value of the one parameter.
pub(super) fn prefix(endpoint: &str) -> String {
    let url = Url::parse(endpoint).ok();
    let path = url.as_ref().map_or("/", Url::path);
    match url.as_ref().and_then(Url::query) {
        None | Some("") => format!("{path}?{RETURN_TARGET}="),
        Some(query) => format!("{path}?{query}&{RETURN_TARGET}="),
    }
}

impl PendingAuthorization {
    /// Where the browser comes back to when the user has logged in: path and query of the authorization endpoint, in plain
    /// ASCII without anything to escape. [`authorize`](crate::AuthorizationServer::authorize) then goes on with the same
    /// request, and knows what it has already asked of the user. It has 22 KiB at most.
    ///
    /// Keep it in the session or in a field of the login form, not in another URL. Take it back by
    /// [`check_return_target`](crate::AuthorizationServer::check_return_target), so that a forged login form can't send the
    /// browser elsewhere.
    #[must_use]
    pub fn return_target(&self) -> String {
        let sealed = URL_SAFE_NO_PAD.encode(self.sealed());
        format!("{}{sealed}", self.endpoint.return_prefix)
    }

    /// The request as both a return target and a form token have it.
    pub(super) fn sealed(&self) -> Vec<u8> {
        let mut content = Vec::new();
        self.carried.encode(&mut content);
        self.endpoint.return_seal(&[self.endpoint.server.issuer.as_bytes()]).seal_bytes(&content)
    }
}

impl AuthorizationEndpoint {
    /// The text, if it is a return target of this server. Its age does not matter.
    pub(crate) fn check_return_target<'a>(&self, text: &'a str) -> Option<&'a str> {
        let sealed = text.strip_prefix(&*self.return_prefix)?;
        self.open_return_target(sealed).ok().map(|_| text)
    }

    /// Reads a request that has just come, or that comes back from a login.
    pub(super) async fn begin(
        self: &Arc<Self>,
        AuthorizationRequest { params, visitor }: &AuthorizationRequest<'_>,
    ) -> Result<PendingAuthorization, Failure> {
        let now = self.server.now();
        if let Some(sealed) = params.get(RETURN_TARGET)? {
            let mut carried = self.open_return_target(sealed)?;
            // The sealed ones count. A program that reads the query would take the request for another one.
            if let Some(name) = params.first_known(&self.parameter_names) {
                return Err(Refusal::RepeatedParameter(name).into());
            }
            carried.progress = carried.progress.on_visit(now, self.server.policy.consent_lifetime);
            let validated = self.validate(&carried.parameters.as_params()).await?;
            let checked = self.check_by_capabilities(&carried, &validated).await;
            return self.pend(checked, carried, validated, visitor.clone());
        }
        if params.size() > self.max_size() {
            return Err(Refusal::BodyTooLarge.into());
        }
        let validated = self.validate(params).await?;
        let progress = Progress::begin(now);
        // `resource` and `audience` may repeat elsewhere; here a declared parameter has one value.
        let parameters = match Parameters::of(params, &self.parameter_names) {
            Ok(parameters) => parameters,
            Err(refusal) => {
                return Err(Failure::Redirect(Box::new((validated.client, validated.route, refusal.into()))));
            }
        };
        let carried = Carried { source: Source::Plain, progress, parameters };
        let checked = self.check_by_capabilities(&carried, &validated).await;
        self.pend(checked, carried, validated, visitor.clone())
    }

    /// The greatest size of a request. A query and a form with such a request sealed in it are below
    /// [`Policy::max_body`](crate::Policy).
    fn max_size(&self) -> usize {
        MAX_SIZE.min(self.server.policy.max_body / 2)
    }

    fn open_return_target(&self, sealed: &str) -> Result<Carried, Refusal> {
        self.open_request(URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Refusal::StaleFormToken)?)
    }

    /// Reads what [`sealed`](PendingAuthorization::sealed) made.
    pub(super) fn open_request(&self, sealed: Vec<u8>) -> Result<Carried, Refusal> {
        let content = self.return_seal(&[self.server.issuer.as_bytes()]).open_bytes(sealed);
        // All reasons share one answer. The usual one is a key that was replaced during the login.
        let content = content.map_err(|_| Refusal::StaleFormToken)?;
        Carried::decode(&mut Reader(&content), &self.parameter_names).ok_or(Refusal::StaleFormToken)
    }

    /// The return target of a request that was sealed by this server, if it can be read.
    pub(super) fn return_target_of(&self, sealed: &[u8]) -> Option<String> {
        self.open_request(sealed.to_vec()).ok()?;
        Some(format!("{}{}", self.return_prefix, URL_SAFE_NO_PAD.encode(sealed)))
    }

    const fn return_seal<'a>(&'a self, bound_to: &'a [&'a [u8]]) -> Seal<'a> {
        Seal { key: &self.return_key, bound_to }
    }
}

#[cfg(test)]
mod tests {
    use super::prefix;

    #[test]
    fn return_prefix_is_path_and_query_of_the_endpoint() {
        for (endpoint, expected) in [
            ("https://id.example/authorize", "/authorize?return_target="),
            ("https://id.example", "/?return_target="),
            ("https://id.example/a/b?tenant=1", "/a/b?tenant=1&return_target="),
            ("https://id.example/a?", "/a?return_target="),
        ] {
            assert_eq!(prefix(endpoint), expected);
        }
    }
}
