//! Errors, sorted by whose fault they are: the client's ([`Refusal`]) or the host's ([`StorageError`],
//! [`AuthenticatorError`], [`CustomizerError`], [`SigningError`], [`EntropyError`]). Misuse of the API is reported when the server is built
//! ([`BuildError`](crate::BuildError)).
//!
//! A refusal has a precise reason for the observer and one exhaustive table that says what of it the client may see.

mod code;
mod refusal;

use std::borrow::Cow;
use std::sync::Arc;

use time::Duration;

#[doc(no_inline)]
pub use self::code::ErrorCode;
pub use self::code::InvalidErrorText;
pub use self::refusal::ExtensionRefusal;
#[doc(no_inline)]
pub use self::refusal::Refusal;

/// The source of a failure on the host's side.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The seconds that a client waits whose request failed because something was out of reach, or which refreshes too often: much shorter than
/// the grace window of a refresh, within which a retry is safe. The same for all, so that it tells nothing of a grant.
const RETRY_AFTER: i64 = 5;

/// The seconds that a client waits whose record is of a newer version: an update of all nodes takes a while.
const UPDATE: i64 = 60;

/// The reason why an endpoint did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request was refused; nothing was changed, unless the reason says so.
    #[error("{0}")]
    Refused(Refusal),
    /// Too many attempts: the authenticator wants this client or this user to wait.
    #[error("too many attempts")]
    Throttled {
        /// How long, sent as `Retry-After` in whole seconds, rounded up.
        retry_after: Duration,
    },
    /// The storage failed. Never reported as success.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The authenticator failed, which says nothing about the credentials.
    #[error(transparent)]
    Authenticator(#[from] AuthenticatorError),
    /// The authenticator could not tell the status of a subject: answered with 503 `temporarily_unavailable`.
    #[error("the status of the subject is not known")]
    SubjectStatus(#[source] AuthenticatorError),
    /// The token customizer failed.
    #[error(transparent)]
    Customizer(#[from] CustomizerError),
    /// A token could not be signed, or a signature could not be verified because the keys are missing. Nothing is stored.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The source of randomness failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A stored token, grant or client demands something that this version does not enforce: a newer node has written it. No
    /// token is issued, and nothing is spent. Answered with 503 and `Retry-After`, because another node may do it.
    #[error("a stored record has the critical member {member:?}, which this version does not enforce")]
    Unenforced {
        /// The name of the member.
        member: Box<str>,
    },
    /// An API in another process could not introspect an access token: answered with 503 and `Retry-After`.
    #[error(transparent)]
    Introspection(#[from] Arc<IntrospectionError>),
    /// An extension of the host's broke its contract.
    #[error("an extension of the host failed: {0}")]
    Misuse(&'static str),
}

impl Error {
    /// The error code that a client sees.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Throttled { .. } => ErrorCode::TEMPORARILY_UNAVAILABLE,
            _ if self.is_unavailable() => ErrorCode::TEMPORARILY_UNAVAILABLE,
            _ => ErrorCode::SERVER_ERROR,
        }
    }

    /// The text that a client's developer sees. It never holds anything a request or a failure brought.
    #[must_use]
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(refusal) => refusal.description(),
            Self::Throttled { .. } => "too many attempts, try again later".into(),
            _ if self.is_unavailable() => "the server is not available, try again later".into(),
            _ => "the server met an unexpected condition".into(),
        }
    }

    /// The status of the direct (not redirected) answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Throttled { .. } => 429,
            _ if self.is_unavailable() => 503,
            _ => 500,
        }
    }

    /// Whether it is a failure on the host's side that may pass by itself.
    const fn is_unavailable(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_unavailable(),
            Self::Customizer(error) => error.is_unavailable(),
            Self::Signing(error) => error.is_unavailable(),
            Self::Authenticator(error) => error.is_unavailable(),
            Self::SubjectStatus(_) | Self::Unenforced { .. } | Self::Introspection(_) => true,
            Self::Refused(_) | Self::Throttled { .. } | Self::Entropy(_) | Self::Misuse(_) => false,
        }
    }

    /// The seconds that a client waits before it asks again, rounded up: the value of `Retry-After` (RFC 9110 §10.2.3).
    pub(crate) fn retry_after(&self) -> Option<i64> {
        match self {
            Self::Throttled { retry_after } => Some(seconds_rounded_up(*retry_after)),
            Self::Unenforced { .. } => Some(UPDATE),
            Self::Refused(Refusal::RefreshedTooOften) => Some(RETRY_AFTER),
            _ => self.is_unavailable().then_some(RETRY_AFTER),
        }
    }

    /// For a record that has a critical member which is not enforced, unless it has none.
    pub(crate) fn check_enforced(member: Option<&str>) -> Result<(), Self> {
        member.map_or(Ok(()), |member| Err(Self::Unenforced { member: member.into() }))
    }

    /// The reason, if the request was refused.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// Why a [`ResourceServer`](crate::ResourceServer) could not learn whether an access token is good. It then refuses the token: no failure
/// is ever a success. Requests that wait for the same answer share it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// The [`Introspector`](crate::resource_server::Introspector) returned an error, or panicked.
    #[error("no answer of the introspection endpoint arrived")]
    NoAnswer(#[source] BoxError),
    /// The status is not 200. With 400 or 401 the credentials of the API are wrong.
    #[error("the introspection endpoint answered with the status {0}")]
    Status(u16),
    /// The answer is not what RFC 7662 §2.2 describes, or lacks what the check needs.
    #[error("the answer of the introspection endpoint is not usable: {0}")]
    Answer(&'static str),
    /// As many tokens as the API allows are being introspected at this moment.
    #[error("too many access tokens are being introspected at once")]
    Busy,
}

fn seconds_rounded_up(duration: Duration) -> i64 {
    let whole = duration.whole_seconds().max(0);
    if duration > Duration::seconds(whole) { whole.saturating_add(1) } else { whole }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// Failures that may pass by themselves.
macro_rules! passing_errors {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// The text says no more than that; the cause is its [`source`](std::error::Error::source), for the host's logs.
        #[derive(Debug, thiserror::Error)]
        #[error("{} {}", $noun, if self.unavailable { "is not available" } else { "failed" })]
        pub struct $name {
            unavailable: bool,
            source: BoxError,
        }

        impl $name {
            /// A failure that will not pass by itself: answered with 500 `server_error`.
            pub fn new(source: impl Into<BoxError>) -> Self {
                Self { unavailable: false, source: source.into() }
            }

            /// Out of reach for now, or out of time: answered with 503 `temporarily_unavailable`.
            pub fn unavailable(source: impl Into<BoxError>) -> Self {
                Self { unavailable: true, source: source.into() }
            }

            /// Whether it was made by [`unavailable`](Self::unavailable).
            #[must_use]
            pub const fn is_unavailable(&self) -> bool {
                self.unavailable
            }
        }
    )*};
}
passing_errors! {
    /// A storage failed.
    StorageError = "the storage";
    /// A [`TokenCustomizer`](crate::TokenCustomizer) failed.
    CustomizerError = "the token customizer";
    /// A key could not sign, or the keys of the server could not be read.
    SigningError = "the signing of tokens";
    /// An [`Authenticator`](crate::Authenticator) could not decide, or could not tell the
    /// [status](crate::Authenticator::subject_status) of a subject, which is answered with 503 in any case.
    AuthenticatorError = "the authenticator";
}

macro_rules! host_errors {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        #[error($text)]
        pub struct $name(#[source] BoxError);

        impl $name {
            /// Wraps the cause.
            pub fn new(source: impl Into<BoxError>) -> Self {
                Self(source.into())
            }
        }
    )*};
}
host_errors! {
    /// A source of [`Entropy`](crate::Entropy) could not deliver: answered with 500 `server_error`.
    EntropyError = "the source of randomness failed";
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: B58
    #[test]
    fn each_unavailable_error_says_when_to_come_back() {
        let cause = || BoxError::from("down");
        for (error, status, seconds) in [
            (Error::Throttled { retry_after: Duration::milliseconds(1_500) }, 429, Some(2)),
            (StorageError::unavailable(cause()).into(), 503, Some(5)),
            (CustomizerError::unavailable(cause()).into(), 503, Some(5)),
            (Error::SubjectStatus(AuthenticatorError::new(cause())), 503, Some(5)),
            (Error::Unenforced { member: "crit".into() }, 503, Some(60)),
            (Arc::new(IntrospectionError::Busy).into(), 503, Some(5)),
            (AuthenticatorError::unavailable(cause()).into(), 503, Some(5)),
            (StorageError::new(cause()).into(), 500, None),
            (CustomizerError::new(cause()).into(), 500, None),
            (AuthenticatorError::new(cause()).into(), 500, None),
            (EntropyError::new(cause()).into(), 500, None),
            (Error::Misuse("a mistake"), 500, None),
            (Refusal::RefreshedTooOften.into(), 429, Some(5)),
            (Refusal::UnknownToken.into(), 400, None),
        ] {
            assert_eq!((error.status(), error.retry_after()), (status, seconds), "{error}");
        }
    }

    #[test]
    fn text_of_a_storage_error_does_not_hold_its_cause() {
        let error = Error::from(StorageError::new("password=hunter2"));
        assert_eq!(error.to_string(), "the storage failed");
        assert_eq!(error.description(), "the server met an unexpected condition");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "password=hunter2");
    }
}
