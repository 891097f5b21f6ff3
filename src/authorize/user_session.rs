//! [`UserSession`]: the facts about the user who is logged in.

use std::fmt;

use time::OffsetDateTime;

use crate::record::Subject;

/// A user who is logged in, described by the host app.
///
/// ```
/// use grantor::{Subject, UserSession};
/// use time::macros::datetime;
///
/// # fn main() -> Result<(), grantor::record::InvalidId> {
/// let session = UserSession::new(Subject::new("alice")?)
///     .authenticated_at(datetime!(2026-11-28 09:00 UTC))
///     .acr("urn:example:two-factor")
///     .amr(["pwd", "otp"]);
/// # Ok(())
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct UserSession {
    /// The user.
    pub subject: Subject,
    /// The time when the user last authenticated, for example by a password. It is not the time of the last request.
    /// Include the fraction of the second. Without this time, a request with `max_age` or `prompt=login` fails.
    pub authenticated_at: Option<OffsetDateTime>,
    /// The authentication context class that the login reached (OpenID Connect Core §2, RFC 9470 §4).
    pub acr: Option<String>,
    /// The authentication methods that were used (RFC 8176).
    pub amr: Vec<String>,
    /// The identifier of the session in the host app, such as the value of its cookie.
    pub session_id: Option<String>,
}

impl UserSession {
    /// Returns a session with only a user.
    #[must_use]
    pub const fn new(subject: Subject) -> Self {
        Self { subject, authenticated_at: None, acr: None, amr: Vec::new(), session_id: None }
    }

    /// Sets the time when the user last authenticated.
    #[must_use]
    pub const fn authenticated_at(mut self, at: OffsetDateTime) -> Self {
        self.authenticated_at = Some(at);
        self
    }

    /// Sets the authentication context class.
    #[must_use]
    pub fn acr(mut self, acr: impl Into<String>) -> Self {
        self.acr = Some(acr.into());
        self
    }

    /// Sets the authentication methods.
    #[must_use]
    pub fn amr<T: Into<String>>(mut self, methods: impl IntoIterator<Item = T>) -> Self {
        self.amr = methods.into_iter().map(Into::into).collect();
        self
    }

    /// Sets the identifier of the session.
    #[must_use]
    pub fn session_id(mut self, id: impl Into<String>) -> Self {
        self.session_id = Some(id.into());
        self
    }
}

impl From<Subject> for UserSession {
    /// Returns a session with only a user.
    fn from(subject: Subject) -> Self {
        Self::new(subject)
    }
}

impl From<&Self> for UserSession {
    fn from(session: &Self) -> Self {
        session.clone()
    }
}

impl fmt::Debug for UserSession {
    /// Leaves out the session identifier, which may be a cookie.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UserSession")
            .field("subject", &self.subject)
            .field("authenticated_at", &self.authenticated_at)
            .field("acr", &self.acr)
            .field("amr", &self.amr)
            .finish_non_exhaustive()
    }
}
