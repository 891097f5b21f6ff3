//! Why an authorization request, or the consent form of one, was refused.

use std::fmt;

use crate::error::{Error, Refusal};
use crate::http::Response;

/// The reason why an authorization request was refused, or the consent form of one was not taken back, and the answer for the browser: a
/// page, or a redirect that tells the client.
///
/// The observer has been told. Return it from a handler as it is, or from an error of your own; every adapter makes the answer of it.
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

    /// The error of a server without an authorization endpoint.
    pub(crate) fn no_endpoint() -> Self {
        Self::new(Refusal::NoAuthorizationEndpoint.into(), Response::new(404), None)
    }

    /// Returns the reason: the request is not in order, or not any more; its consent form is not of this session, was changed, has expired
    /// or is malformed; or the storage failed.
    #[must_use]
    pub const fn error(&self) -> &Error {
        &self.error
    }

    /// Returns the form that is no longer good, if that is the reason. Nobody made a mistake, and the client is told nothing.
    ///
    /// The answer is a page that says so and leads back to the request. An application can send the browser there at once:
    /// ```
    /// use grantor::AuthorizationError;
    ///
    /// /// Where to redirect the browser, by the means of your web framework.
    /// fn way_back(error: &AuthorizationError) -> Option<&str> {
    ///     error.stale_form()?.return_target()
    /// }
    /// ```
    #[must_use]
    pub fn stale_form(&self) -> Option<&StaleForm> {
        self.stale.as_deref()
    }

    /// Returns the status of the answer.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.response.status()
    }

    /// Returns the answer for the browser.
    pub fn to_response(&self) -> Response {
        self.response.copy()
    }
}

impl From<AuthorizationError> for Response {
    fn from(error: AuthorizationError) -> Self {
        error.response
    }
}

/// A consent form that is no longer good, or a [`return_target`](crate::PendingAuthorization::return_target) that can't be read any more.
pub struct StaleForm {
    reason: Refusal,
    return_target: Option<String>,
}

impl StaleForm {
    /// `None` if the error is another one.
    pub(super) fn of(error: &Error, return_target: Option<String>) -> Option<Self> {
        let reason = *error.refusal().filter(|refusal| refusal.is_stale())?;
        Some(Self { reason, return_target })
    }

    pub(super) fn with_return_target(self, target: String) -> Self {
        Self { return_target: Some(target), ..self }
    }

    /// Returns why: the form has [expired](Refusal::ExpiredFormToken), was [sent before](Refusal::UsedFormToken), is of [another session or
    /// server key](Refusal::InvalidFormToken), or shows something else than the server [would show now](Refusal::StaleFormToken).
    #[must_use]
    pub const fn reason(&self) -> Refusal {
        self.reason
    }

    /// Returns where the browser can begin the request again, see [`return_target`](crate::PendingAuthorization::return_target). `None`
    /// if the request can't be read, such as after a restart without a [server key](crate::Builder::server_key). The request is that of the client:
    /// the user is asked to log in and to consent as for any other.
    #[must_use]
    pub fn return_target(&self) -> Option<&str> {
        self.return_target.as_deref()
    }
}

impl fmt::Debug for StaleForm {
    /// Without the request, which may tell who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaleForm").field("reason", &self.reason).finish_non_exhaustive()
    }
}
