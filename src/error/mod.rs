//! Errors, sorted by who caused them: the client ([`Refusal`]) or the host app ([`StorageError`],
//! [`AuthenticatorError`], [`CustomizerError`], [`SigningError`], [`EntropyError`]). A wrong configuration is reported
//! when the server is built ([`BuildError`](crate::BuildError)).
//!
//! A [`Refusal`] is the precise reason, for the observer. The table in its `public` function defines what the client
//! may see.

mod code;
mod fetch;
mod refusal;

use std::borrow::Cow;
use std::sync::Arc;

use time::Duration;

#[doc(no_inline)]
pub use self::code::ErrorCode;
pub use self::code::InvalidErrorText;
pub use self::fetch::{FetchError, FetchLimit, UrlError};
pub use self::refusal::ExtensionRefusal;
#[doc(no_inline)]
pub use self::refusal::Refusal;

/// The cause of a failure in the host app.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// `Retry-After`, in seconds, for a client that refreshes too often and for a failure that may pass. It is much shorter
/// than the grace window of a refresh, within which a retry is safe. It is a constant so that it reveals nothing about
/// a grant.
const RETRY_AFTER: i64 = 5;

/// `Retry-After`, in seconds, if a newer version wrote a record: an upgrade of all nodes takes a while.
const RETRY_AFTER_UPGRADE: i64 = 60;

/// The reason why an endpoint did not do what a request asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request was refused. Nothing was changed, unless the documentation of the [`Refusal`] says so.
    #[error("{0}")]
    Refused(Refusal),
    /// There were too many attempts. The authenticator, the token customizer or a grant handler demands that the client
    /// or the user waits.
    #[error("too many attempts: wait before the next one")]
    Throttled {
        /// How long to wait. Sent as `Retry-After` in whole seconds, rounded up.
        retry_after: Duration,
    },
    /// The storage failed. The endpoint never reports success in this case.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The authenticator failed. The credentials may be right or wrong.
    #[error(transparent)]
    Authenticator(#[from] AuthenticatorError),
    /// The authenticator could not determine the status of a subject. Answered with 503 `temporarily_unavailable`.
    #[error("the authenticator could not determine the status of the subject")]
    SubjectStatus(#[source] AuthenticatorError),
    /// The token customizer failed.
    #[error(transparent)]
    Customizer(#[from] CustomizerError),
    /// A token could not be signed, or a signature could not be verified because the keys are missing. Nothing is
    /// stored.
    #[error(transparent)]
    Signing(#[from] SigningError),
    /// The source of randomness failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// A stored token, grant or client has a critical member that this version does not enforce, because a newer
    /// version wrote it. No token is issued or redeemed. Answered with 503 and `Retry-After`, because a newer node can
    /// serve the request.
    #[error(
        "a stored record has the critical member {member:?}, which this version does not enforce: upgrade this node"
    )]
    Unenforced {
        /// The name of the critical member.
        member: Box<str>,
    },
    /// A [`ResourceServer`](crate::ResourceServer) could not introspect an access token. Answered with 503 and
    /// `Retry-After`.
    #[error(transparent)]
    Introspection(#[from] Arc<IntrospectionError>),
    /// A document could not be fetched from a URL that a client has registered. Answered with 503 and `Retry-After`.
    #[error("a document could not be fetched: {0}")]
    Fetch(#[from] Arc<FetchError>),
    /// An extension of the host app, such as a grant handler, broke its contract. The text says which rule.
    #[error("an extension of the host app broke its contract: {0}")]
    Misuse(&'static str),
}

impl Error {
    /// Returns the error code that a client sees.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Throttled { .. } => ErrorCode::TEMPORARILY_UNAVAILABLE,
            _ if self.is_unavailable() => ErrorCode::TEMPORARILY_UNAVAILABLE,
            _ => ErrorCode::SERVER_ERROR,
        }
    }

    /// Returns the description for the client's developer. It never contains text from a request or from the cause of a
    /// failure.
    #[must_use]
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(refusal) => refusal.description(),
            Self::Throttled { .. } => "too many attempts, try again later".into(),
            _ if self.is_unavailable() => "the server is temporarily unavailable, try again later".into(),
            _ => "the server encountered an unexpected error".into(),
        }
    }

    /// Returns the HTTP status of the direct (not redirected) response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Throttled { .. } => 429,
            _ if self.is_unavailable() => 503,
            _ => 500,
        }
    }

    /// Returns whether this is a failure of the host app that may pass without a repair.
    const fn is_unavailable(&self) -> bool {
        match self {
            Self::Storage(error) => error.is_unavailable(),
            Self::Customizer(error) => error.is_unavailable(),
            Self::Signing(error) => error.is_unavailable(),
            Self::Authenticator(error) => error.is_unavailable(),
            Self::SubjectStatus(_) | Self::Unenforced { .. } | Self::Introspection(_) | Self::Fetch(_) => true,
            Self::Refused(_) | Self::Throttled { .. } | Self::Entropy(_) | Self::Misuse(_) => false,
        }
    }

    /// Returns the value of `Retry-After` in seconds, rounded up (RFC 9110 §10.2.3).
    pub(crate) fn retry_after(&self) -> Option<i64> {
        match self {
            Self::Throttled { retry_after } => Some(seconds_rounded_up(*retry_after)),
            Self::Unenforced { .. } => Some(RETRY_AFTER_UPGRADE),
            Self::Refused(Refusal::RefreshedTooOften) => Some(RETRY_AFTER),
            _ => self.is_unavailable().then_some(RETRY_AFTER),
        }
    }

    /// Returns an error if a record has a critical `member` that this version does not enforce.
    pub(crate) fn check_enforced(member: Option<&str>) -> Result<(), Self> {
        member.map_or(Ok(()), |member| Err(Self::Unenforced { member: member.into() }))
    }

    /// Returns the reason if the request was refused.
    #[must_use]
    pub const fn refusal(&self) -> Option<&Refusal> {
        match self {
            Self::Refused(refusal) => Some(refusal),
            _ => None,
        }
    }
}

/// The reason why a [`ResourceServer`](crate::ResourceServer) could not introspect an access token. It then refuses the
/// token. Requests that wait for the same introspection share the error.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IntrospectionError {
    /// The [`Introspector`](crate::resource_server::Introspector) returned an error or panicked.
    #[error("no response arrived from the introspection endpoint")]
    NoAnswer(#[source] BoxError),
    /// The status is not 200. If it is 400 or 401, check the credentials of the API.
    #[error("the introspection endpoint responded with the status {0}")]
    Status(u16),
    /// The response is not as RFC 7662 §2.2 describes, or lacks a member that the check needs.
    #[error("the response of the introspection endpoint is not usable: {0}")]
    Answer(&'static str),
    /// The API is already introspecting as many tokens at once as it allows.
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

/// Defines the errors that may pass without a repair.
macro_rules! transient_errors {
    ($($(#[$doc:meta])* $name:ident = $noun:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// The text does not contain the cause. Log the [`source`](std::error::Error::source) to see it.
        #[derive(Debug, thiserror::Error)]
        #[error("{} {}", $noun, if self.unavailable { "is temporarily unavailable" } else { "failed" })]
        pub struct $name {
            unavailable: bool,
            source: BoxError,
        }

        impl $name {
            /// Returns an error that needs a repair. Answered with 500 `server_error`.
            pub fn new(source: impl Into<BoxError>) -> Self {
                Self { unavailable: false, source: source.into() }
            }

            /// Returns an error that may pass, such as a lost connection or a timeout. Answered with 503
            /// `temporarily_unavailable`.
            pub fn unavailable(source: impl Into<BoxError>) -> Self {
                Self { unavailable: true, source: source.into() }
            }

            /// Returns whether the error was made by [`unavailable`](Self::unavailable).
            #[must_use]
            pub const fn is_unavailable(&self) -> bool {
                self.unavailable
            }
        }
    )*};
}
transient_errors! {
    /// A storage failed.
    StorageError = "the storage";
    /// A [`TokenCustomizer`](crate::TokenCustomizer) failed.
    CustomizerError = "the token customizer";
    /// A token could not be signed, or the keys of the server could not be read.
    SigningError = "the signing of tokens";
    /// An [`Authenticator`](crate::Authenticator) could not check credentials or the
    /// [status](crate::Authenticator::subject_status) of a subject. A failure of the status is always answered with
    /// 503.
    AuthenticatorError = "the authenticator";
}

macro_rules! host_errors {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, thiserror::Error)]
        #[error($text)]
        pub struct $name(#[source] BoxError);

        impl $name {
            /// Wraps the cause of the failure.
            pub fn new(source: impl Into<BoxError>) -> Self {
                Self(source.into())
            }
        }
    )*};
}
host_errors! {
    /// A source of [`Entropy`](crate::Entropy) failed. Answered with 500 `server_error`.
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
            (Arc::new(FetchError::Timeout).into(), 503, Some(5)),
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
        assert_eq!(error.description(), "the server encountered an unexpected error");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "password=hunter2");
    }
}
