//! Return targets: the address to which the browser returns after a login.
//!
//! A return target is the path of the authorization endpoint with one parameter: the sealed request and its progress.
//! It is not bound to a session, because a login starts a new session. An attacker gains nothing from a copy, because
//! anyone can make the same request.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use url::Url;

use super::carried::Carried;
use super::codec::Reader;
use super::parameters::{REQUEST, REQUEST_URI, RETURN_TARGET};
use super::request::AuthorizationRequest;
use super::seal::Seal;
use super::{AuthorizationEndpoint, Failure, PendingAuthorization};
use crate::error::Refusal;

/// Returns the path and query of the authorization endpoint, up to the value of the parameter.
pub(super) fn prefix(endpoint: &str) -> String {
    let url = Url::parse(endpoint).ok();
    let path = url.as_ref().map_or("/", Url::path);
    match url.as_ref().and_then(Url::query) {
        None | Some("") => format!("{path}?{RETURN_TARGET}="),
        Some(query) => format!("{path}?{query}&{RETURN_TARGET}="),
    }
}

impl PendingAuthorization {
    /// Returns the address to which the browser must return after the login: path and query of the authorization
    /// endpoint. It is ASCII that needs no escaping, with at most 22 KiB.
    /// [`authorize`](crate::AuthorizationServer::authorize) then continues the same request and knows which steps the
    /// user has taken.
    ///
    /// Keep the address in the session or in a field of the login form; do not put it into another URL. Check it with
    /// [`check_return_target`](crate::AuthorizationServer::check_return_target) before the redirect, so that a forged
    /// login form can't send the browser to another site.
    #[must_use]
    pub fn return_target(&self) -> String {
        let sealed = URL_SAFE_NO_PAD.encode(self.sealed());
        format!("{}{sealed}", self.endpoint.return_prefix)
    }

    /// Returns the sealed request, as return targets and form tokens contain it.
    pub(super) fn sealed(&self) -> Vec<u8> {
        let mut content = Vec::new();
        self.carried.encode(&mut content);
        self.endpoint.return_seal(&[self.endpoint.server.issuer.as_bytes()]).seal_bytes(&content)
    }
}

impl AuthorizationEndpoint {
    /// Returns the text if it is a return target of this server, regardless of its age.
    pub(crate) fn check_return_target<'a>(&self, text: &'a str) -> Option<&'a str> {
        let sealed = text.strip_prefix(&*self.return_prefix)?;
        self.open_return_target(sealed).ok().map(|_| text)
    }

    /// Reads a new request, or one that returns from a login.
    pub(super) async fn begin(
        self: &Arc<Self>,
        request: &AuthorizationRequest<'_>,
    ) -> Result<PendingAuthorization, Failure> {
        let AuthorizationRequest { params, visitor } = request;
        let now = self.server.now();
        if let Some(sealed) = params.get(RETURN_TARGET)? {
            let mut carried = self.open_return_target(sealed)?;
            // Refuse other parameters: only the sealed ones count, and software that reads the query would see another
            // request.
            let other =
                params.first_known(&self.parameter_names).or_else(|| params.first_known(&[REQUEST, REQUEST_URI]));
            if let Some(name) = other {
                return Err(Refusal::RepeatedParameter(name).into());
            }
            carried.progress = carried.progress.on_visit(now, self.server.policy.consent_lifetime);
            let validated = self.validate_carried(&carried).await?;
            let checked = self.check_by_capabilities(&carried, &validated).await;
            return self.pend(checked, carried, validated, visitor.clone());
        }
        let (carried, validated) = self.arrive(request, now).await?;
        let checked = self.check_by_capabilities(&carried, &validated).await;
        self.pend(checked, carried, validated, visitor.clone())
    }

    fn open_return_target(&self, sealed: &str) -> Result<Carried, Refusal> {
        self.open_request(URL_SAFE_NO_PAD.decode(sealed).map_err(|_| Refusal::StaleFormToken)?)
    }

    /// Reads a request that [`sealed`](PendingAuthorization::sealed) returned.
    pub(super) fn open_request(&self, sealed: Vec<u8>) -> Result<Carried, Refusal> {
        let content = self.return_seal(&[self.server.issuer.as_bytes()]).open_bytes(sealed);
        // Every failure has the same error. The usual cause is a key that was replaced during the login.
        let content = content.map_err(|_| Refusal::StaleFormToken)?;
        Carried::decode(&mut Reader(&content), &self.parameter_names).ok_or(Refusal::StaleFormToken)
    }

    /// Returns the return target of a sealed request, if this server can read it.
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
