//! Why a consent form was not taken back.

use crate::error::{Error, Refusal};
use crate::http::Response;

/// The reason why [`resume`](crate::AuthorizationServer::resume) or [`resume_form`](crate::AuthorizationServer::resume_form) did not take
/// a consent form back, and the answer for the browser: a page, or a redirect that tells the client.
///
/// The observer has been told. Return it from a handler as it is, or from an error of your own; every adapter makes the answer of it.
#[derive(Debug, thiserror::Error)]
#[error("the consent form was not taken back")]
pub struct ResumeError {
    #[source]
    error: Error,
    response: Response,
}

impl ResumeError {
    pub(super) const fn new(error: Error, response: Response) -> Self {
        Self { error, response }
    }

    /// The error of a server without an authorization endpoint, which has made no form.
    pub(crate) fn no_endpoint() -> Self {
        Self::new(Refusal::InvalidFormToken.into(), Response::new(404))
    }

    /// Returns the reason: the form is not of this session, was changed, has expired or is malformed; the request is not in order any
    /// more; or the storage failed.
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

impl From<ResumeError> for Response {
    fn from(error: ResumeError) -> Self {
        error.response
    }
}
