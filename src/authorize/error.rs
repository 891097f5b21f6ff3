//! [`AuthorizationError`]: why an authorization request or its consent form was refused.

use std::fmt;

use crate::error::{Error, Refusal};
use crate::http::Response;

/// The reason why an authorization request or its consent form was refused, with the response for the browser: a page,
/// or a redirect that reports the error to the client.
///
/// The observer has already got an event. Return the error from a handler, alone or inside your own error type. Every
/// adapter converts it into the response.
#[derive(Debug, thiserror::Error)]
#[error("the authorization request was refused")]
pub struct AuthorizationError {
    #[source]
    error: Error,
    response: Response,
    stale: Option<Box<StaleForm>>,
}

impl AuthorizationError {
    pub(super) fn new(error: Error, response: Response, return_target: Option<String>) -> Self {
        let stale = StaleForm::of(&error, return_target).map(Box::new);
        Self { error, response, stale }
    }

    /// Returns the error of a server without an authorization endpoint.
    pub(crate) fn no_endpoint() -> Self {
        Self::new(Refusal::NoAuthorizationEndpoint.into(), Response::new(404), None)
    }

    /// Returns the reason. The request may be invalid; the consent form may belong to another session, be changed,
    /// expired or malformed; or the storage may have failed.
    #[must_use]
    pub const fn error(&self) -> &Error {
        &self.error
    }

    /// Returns the stale consent form, if that is the reason. Neither the user nor the client made a mistake, and the
    /// client does not learn of it.
    ///
    /// The response is a page with a link back to the request. Your application can redirect the browser there at once:
    /// ```
    /// use grantor::AuthorizationError;
    ///
    /// /// Returns where to redirect the browser.
    /// fn way_back(error: &AuthorizationError) -> Option<&str> {
    ///     error.stale_form()?.return_target()
    /// }
    /// ```
    #[must_use]
    pub fn stale_form(&self) -> Option<&StaleForm> {
        self.stale.as_deref()
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.response.status()
    }

    /// Returns the response for the browser.
    pub fn to_response(&self) -> Response {
        self.response.copy()
    }
}

impl From<AuthorizationError> for Response {
    fn from(error: AuthorizationError) -> Self {
        error.response
    }
}

/// A consent form that can't be used any more, a [`return_target`](crate::PendingAuthorization::return_target) that
/// can't be read any more, or an earlier consent that has ended.
pub struct StaleForm {
    reason: Refusal,
    return_target: Option<String>,
}

impl StaleForm {
    /// Returns `None` if the error has another reason.
    pub(super) fn of(error: &Error, return_target: Option<String>) -> Option<Self> {
        let reason = *error.refusal().filter(|refusal| refusal.is_stale())?;
        Some(Self { reason, return_target })
    }

    pub(super) fn with_return_target(self, target: String) -> Self {
        Self { return_target: Some(target), ..self }
    }

    /// Returns the reason. The form has [expired](Refusal::ExpiredFormToken), was [already
    /// submitted](Refusal::UsedFormToken), belongs to [another session or server key](Refusal::InvalidFormToken), or is
    /// [out of date](Refusal::StaleFormToken). Or an earlier consent has [ended](Refusal::ConsentEnded).
    #[must_use]
    pub const fn reason(&self) -> Refusal {
        self.reason
    }

    /// Returns the address where the browser can start the request again, see
    /// [`return_target`](crate::PendingAuthorization::return_target). Login and consent are required as for a new
    /// request. `None` if the request can't be read, such as after a restart without a [server
    /// key](crate::Builder::server_key).
    #[must_use]
    pub fn return_target(&self) -> Option<&str> {
        self.return_target.as_deref()
    }
}

impl fmt::Debug for StaleForm {
    /// Leaves out the request, which may identify the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaleForm").field("reason", &self.reason).finish_non_exhaustive()
    }
}
