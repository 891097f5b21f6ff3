//! [`RedirectTarget`]: a redirect URI that was checked against the registration of the client.

use std::sync::Arc;

use crate::client::redirect_uri::display_host;
use crate::client::{Client, RedirectUriClass};
use crate::error::Refusal;
use crate::policy::Policy;

/// A redirect URI that belongs to the client of the request. Only [`RedirectTarget::of`] creates it, and a response can
/// be sent only to such a target.
#[derive(Debug, Clone)]
pub(crate) struct RedirectTarget {
    uri: Arc<str>,
    class: RedirectUriClass,
    was_sent: bool,
}

impl RedirectTarget {
    /// Returns the target of a request: the requested URI if it is registered, or the only registered URI if the
    /// request has none (RFC 6749 §3.1.2.3).
    pub(super) fn of(client: &Client, requested: Option<&str>, policy: &Policy) -> Result<Self, Refusal> {
        let registered = client.redirect_uris();
        let target = match (requested, registered) {
            (Some(requested), _) => {
                let found = registered.iter().find(|uri| uri.matches(requested));
                let found = found.ok_or(Refusal::UnregisteredRedirectUri)?;
                let uri = if found.as_str() == requested { found.text() } else { requested.into() };
                Self { uri, class: found.class(), was_sent: true }
            }
            (None, [only]) => Self { uri: only.text(), class: only.class(), was_sent: false },
            (None, _) => return Err(Refusal::MissingParameter("redirect_uri")),
        };
        let allowed = policy.allows_redirect(target.class, &target.uri);
        if allowed { Ok(target) } else { Err(Refusal::UnregisteredRedirectUri) }
    }

    pub(super) fn uri(&self) -> &str {
        &self.uri
    }

    pub(super) fn text(&self) -> Arc<str> {
        Arc::clone(&self.uri)
    }

    pub(super) const fn was_sent(&self) -> bool {
        self.was_sent
    }

    pub(super) const fn is_out_of_band(&self) -> bool {
        matches!(self.class, RedirectUriClass::OutOfBand)
    }

    /// Returns the host of the target, for display. `None` for the out-of-band redirect.
    pub(super) fn host(&self) -> Option<&str> {
        (!self.is_out_of_band()).then(|| display_host(&self.uri))
    }
}
