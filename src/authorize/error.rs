//! Why an authorization request, or the consent form of one, was refused.

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
}

impl AuthorizationError {
    pub(super) const fn new(error: Error, response: Response) -> Self {
        Self { error, response }
    }

    /// The error of a server without an authorization endpoint.
    pub(crate) fn no_endpoint() -> Self {
        Self::new(Refusal::NoAuthorizationEndpoint.into(), Response::new(404))
    }

    /// Returns the reason: the request is not in order, or not any more; its consent form is not of this session, was changed, has expired
    /// or is malformed; or the storage failed.
    #[must_use]
    pub const fn error(&self) -> &Error {
        &self.error
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
