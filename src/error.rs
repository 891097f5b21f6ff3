//! Errors, sorted by whose fault they are: the client's ([`Refusal`]) or the host's ([`StorageError`],
//! [`AuthenticatorError`], [`EntropyError`]). Misuse of the API is reported when the server is built
//! ([`BuildError`](crate::BuildError)).
//!
//! A refusal has a precise reason for the observer and one exhaustive table that says what of it the client may see.

use std::borrow::Cow;
use std::fmt;

use time::Duration;

/// The source of a failure on the host's side.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why an endpoint did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The request was refused; nothing was changed, unless the reason says so.
    #[error("{}: {}", .0.code(), .0.description())]
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
    /// The source of randomness failed.
    #[error(transparent)]
    Entropy(#[from] EntropyError),
    /// An extension of the host's broke its contract.
    #[error("an extension of the host failed: {0}")]
    Extension(&'static str),
}

impl Error {
    /// The error code that a client sees.
    #[must_use]
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Refused(refusal) => refusal.code(),
            Self::Throttled { .. } => ErrorCode::TEMPORARILY_UNAVAILABLE,
            Self::Storage(error) if error.is_unavailable() => ErrorCode::TEMPORARILY_UNAVAILABLE,
            Self::Storage(_) | Self::Authenticator(_) | Self::Entropy(_) | Self::Extension(_) => {
                ErrorCode::SERVER_ERROR
            }
        }
    }

    /// The text that a client's developer sees. It never holds anything a request or a failure brought.
    #[must_use]
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::Refused(refusal) => refusal.description(),
            Self::Throttled { .. } => "too many attempts, try again later".into(),
            Self::Storage(error) if error.is_unavailable() => "the server is not available, try again later".into(),
            Self::Storage(_) | Self::Authenticator(_) | Self::Entropy(_) | Self::Extension(_) => {
                "the server met an unexpected condition".into()
            }
        }
    }

    /// The status of the direct (not redirected) answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::Refused(refusal) => refusal.status(),
            Self::Throttled { .. } => 429,
            Self::Storage(error) if error.is_unavailable() => 503,
            Self::Storage(_) | Self::Authenticator(_) | Self::Entropy(_) | Self::Extension(_) => 500,
        }
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

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// An error code on the wire (RFC 6749 §4.1.2.1 and §5.2, RFC 6750 §3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode(&'static str);

impl ErrorCode {
    /// `invalid_request`
    pub const INVALID_REQUEST: Self = Self("invalid_request");
    /// `invalid_client`
    pub const INVALID_CLIENT: Self = Self("invalid_client");
    /// `invalid_grant`
    pub const INVALID_GRANT: Self = Self("invalid_grant");
    /// `unauthorized_client`
    pub const UNAUTHORIZED_CLIENT: Self = Self("unauthorized_client");
    /// `unsupported_grant_type`
    pub const UNSUPPORTED_GRANT_TYPE: Self = Self("unsupported_grant_type");
    /// `unsupported_response_type`
    pub const UNSUPPORTED_RESPONSE_TYPE: Self = Self("unsupported_response_type");
    /// `invalid_scope`
    pub const INVALID_SCOPE: Self = Self("invalid_scope");
    /// `access_denied`
    pub const ACCESS_DENIED: Self = Self("access_denied");
    /// `server_error`
    pub const SERVER_ERROR: Self = Self("server_error");
    /// `temporarily_unavailable`
    pub const TEMPORARILY_UNAVAILABLE: Self = Self("temporarily_unavailable");
    /// `invalid_token` (RFC 6750 §3.1)
    pub const INVALID_TOKEN: Self = Self("invalid_token");
    /// `insufficient_scope` (RFC 6750 §3.1)
    pub const INSUFFICIENT_SCOPE: Self = Self("insufficient_scope");

    /// A code of an extension grant (RFC 6749 §8.5); it should have a prefix that identifies its owner.
    ///
    /// # Errors
    /// The name is empty or leaves the characters `%x20-21 / %x23-5B / %x5D-7E`.
    pub fn extension(name: &'static str) -> Result<Self, InvalidErrorText> {
        if name.is_empty() || !is_error_text(name) {
            return Err(InvalidErrorText);
        }
        Ok(Self(name))
    }

    /// The code as it stands on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl PartialEq<str> for ErrorCode {
    fn eq(&self, other: &str) -> bool {
        self.0 == other
    }
}

impl PartialEq<&str> for ErrorCode {
    fn eq(&self, other: &&str) -> bool {
        self.0 == *other
    }
}

/// An error code or description has a character that RFC 6749 §5.2 does not allow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("error codes and descriptions are printable ASCII without '\"' and '\\'")]
#[non_exhaustive]
pub struct InvalidErrorText;

fn is_error_text(text: &str) -> bool {
    text.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

/// Why a request was refused, as precisely as an operator wants to know it.
///
/// What a client may see of it is [`code`](Self::code) and [`description`](Self::description); where a distinction
/// would help an attacker, several reasons share one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    // The request as such.
    /// The endpoint does not serve this method; the value is what `Allow` says.
    MethodNotAllowed(&'static str),
    /// The body or query is larger than [`Policy::max_body`](crate::Policy::max_body).
    BodyTooLarge,
    /// The body is not `application/x-www-form-urlencoded`.
    NotAForm,
    /// A percent escape is broken, or a value is not UTF-8.
    MalformedEncoding,
    /// A parameter that may stand once stands several times.
    RepeatedParameter(&'static str),
    /// A required parameter is missing or empty.
    MissingParameter(&'static str),
    /// A parameter does not meet its grammar.
    MalformedParameter(&'static str),
    /// A parameter of the token request stands in the URL's query, which is switched off.
    ParameterInQuery(&'static str),

    // Client authentication.
    /// More than one authentication method in one request.
    SeveralAuthenticationMethods,
    /// The header and the body name different clients.
    ConflictingClientIds,
    /// The `Authorization` header is repeated or cannot be read.
    MalformedAuthorization,
    /// No client has this identifier.
    UnknownClient,
    /// The request does not authenticate its client, or names none.
    MissingClientAuthentication,
    /// The client is not registered for the authentication method that was used, or the server does not know it.
    AuthenticationMethodNotAllowed,
    /// The client's credentials are wrong or have expired.
    ClientAuthenticationFailed,

    // The authorization endpoint.
    /// No client has this identifier. Anyone may learn that here, where clients do not authenticate.
    UnregisteredClient,
    /// The redirect URI is not one of the client's.
    UnregisteredRedirectUri,
    /// The server does not serve this response type.
    UnsupportedResponseType,
    /// The client is not registered for this response type.
    ResponseTypeNotAllowed,
    /// The response mode is unknown, or does not go with the response type.
    UnsupportedResponseMode,
    /// The out-of-band redirect cannot carry this response type.
    OutOfBandToken,
    /// PKCE is required.
    MissingCodeChallenge,
    /// `plain` is switched off.
    PlainChallenge,
    /// Neither `S256` nor `plain`.
    UnsupportedChallengeMethod,
    /// The form token was not made by this server for this session, or was changed.
    InvalidFormToken,
    /// The form was submitted too late.
    ExpiredFormToken,
    /// The user said no.
    DeniedByUser,
    /// The user approved, but left no scope selected.
    NothingApproved,

    // Scope.
    /// The scope does not meet its grammar.
    MalformedScope,
    /// The server does not offer a scope that was asked for.
    UnknownScope,
    /// The client may not ask for a scope that it asked for.
    ScopeNotAllowed,
    /// No scope was asked for and there is no default.
    NoDefaultScope,
    /// The refresh asks for more than was granted.
    ScopeExceedsGrant,

    // The token endpoint.
    /// The server does not serve this grant type.
    UnsupportedGrantType,
    /// The client is not registered for this grant type.
    GrantTypeNotAllowed,
    /// No such code or refresh token.
    UnknownToken,
    /// The code or refresh token belongs to another client.
    ForeignToken,
    /// The code or refresh token has expired.
    ExpiredToken,
    /// The code's or refresh token's grant has ended, or was or has just been revoked.
    GrantEnded,
    /// A redeemed code was presented again by someone who proved possession: its grant is revoked.
    CodeReplayed,
    /// A spent refresh token was presented again, outside of its grace window: its grant is revoked.
    RefreshTokenReused,
    /// A spent refresh token was presented within its grace window, but its successors can't be given again.
    RetryRefused,
    /// A refresh token was spent further in the future than clocks may differ; nothing was revoked.
    SpentInTheFuture,
    /// The redirect URI is not the one of the authorization request.
    RedirectUriMismatch,
    /// The code has a challenge, the request has no verifier.
    MissingCodeVerifier,
    /// The verifier does not meet its grammar.
    MalformedCodeVerifier,
    /// The verifier does not meet the challenge.
    WrongCodeVerifier,
    /// The code has no challenge, but the request has a verifier.
    UnexpectedCodeVerifier,
    /// The code has no challenge, and this client may not go without.
    CodeWithoutChallenge,
    /// The resource owner's credentials are wrong.
    ResourceOwnerRejected,

    // Life after issuing.
    /// A client wants to revoke a token that belongs to another one.
    NotYourToken,
    /// A client wants to inspect tokens without being allowed to, or without being able to prove who it is.
    IntrospectionNotAllowed,

    /// A reason of the host's own, from an extension grant.
    Extension(ExtensionRefusal),
}

/// The error of an extension grant: a code and a description that meet the grammar of RFC 6749 §5.2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionRefusal {
    code: ErrorCode,
    description: &'static str,
}

impl ExtensionRefusal {
    /// A refusal with one of the standard codes or one made by [`ErrorCode::extension`].
    ///
    /// # Errors
    /// The description leaves the characters `%x20-21 / %x23-5B / %x5D-7E`.
    pub fn new(code: ErrorCode, description: &'static str) -> Result<Self, InvalidErrorText> {
        if is_error_text(description) { Ok(Self { code, description }) } else { Err(InvalidErrorText) }
    }
}

impl From<ExtensionRefusal> for Error {
    fn from(refusal: ExtensionRefusal) -> Self {
        Refusal::Extension(refusal).into()
    }
}

impl Refusal {
    /// The error code that a client sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.public().0
    }

    /// The description that a client sees: fixed text, and at most the name of a parameter that the server knows.
    #[must_use]
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::RepeatedParameter(name) => format!("the parameter {name} occurs more than once").into(),
            Self::MissingParameter(name) => format!("the parameter {name} is missing").into(),
            Self::MalformedParameter(name) => format!("the parameter {name} is malformed").into(),
            Self::ParameterInQuery(name) => format!("the parameter {name} belongs in the body").into(),
            _ => self.public().1.into(),
        }
    }

    /// The status of the direct (not redirected) answer: 400 unless a specification says otherwise.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::MethodNotAllowed(_) => 405,
            Self::BodyTooLarge => 413,
            _ if self.code() == ErrorCode::INVALID_CLIENT => 401,
            _ => 400,
        }
    }

    /// The one table from reason to wire.
    const fn public(&self) -> (ErrorCode, &'static str) {
        use ErrorCode as E;
        const CLIENT: (E, &str) = (E::INVALID_CLIENT, "client authentication failed");
        const GRANT: (E, &str) =
            (E::INVALID_GRANT, "the grant is unknown, expired, revoked, used or belongs to another client");
        match self {
            Self::MethodNotAllowed(_) => (E::INVALID_REQUEST, "this endpoint does not serve this method"),
            Self::BodyTooLarge => (E::INVALID_REQUEST, "the request is too large"),
            Self::NotAForm => (E::INVALID_REQUEST, "the body is not application/x-www-form-urlencoded"),
            Self::MalformedEncoding => (E::INVALID_REQUEST, "the parameters have a broken escape or are not UTF-8"),
            Self::RepeatedParameter(_) => (E::INVALID_REQUEST, "a parameter occurs more than once"),
            Self::MissingParameter(_) => (E::INVALID_REQUEST, "a parameter is missing"),
            Self::MalformedParameter(_) => (E::INVALID_REQUEST, "a parameter is malformed"),
            Self::ParameterInQuery(_) => (E::INVALID_REQUEST, "parameters belong in the body"),

            Self::SeveralAuthenticationMethods => (E::INVALID_REQUEST, "more than one client authentication method"),
            Self::ConflictingClientIds => (E::INVALID_REQUEST, "the header and the body name different clients"),
            Self::MalformedAuthorization => (E::INVALID_REQUEST, "the Authorization header is malformed"),
            Self::UnknownClient
            | Self::MissingClientAuthentication
            | Self::AuthenticationMethodNotAllowed
            | Self::ClientAuthenticationFailed => CLIENT,

            Self::UnregisteredClient => (E::INVALID_CLIENT, "the client is not registered with this server"),
            Self::UnregisteredRedirectUri => (E::INVALID_REQUEST, "the redirect URI is not registered for this client"),
            Self::UnsupportedResponseType => (E::UNSUPPORTED_RESPONSE_TYPE, "this response type is not supported"),
            Self::ResponseTypeNotAllowed => {
                (E::UNAUTHORIZED_CLIENT, "the client is not registered for this response type")
            }
            Self::UnsupportedResponseMode => {
                (E::INVALID_REQUEST, "the response mode is unknown or does not go with the response type")
            }
            Self::OutOfBandToken => {
                (E::INVALID_REQUEST, "the out-of-band redirect goes with the response type code only")
            }
            Self::MissingCodeChallenge => (E::INVALID_REQUEST, "PKCE is required: code_challenge is missing"),
            Self::PlainChallenge => (E::INVALID_REQUEST, "PKCE with plain is not supported: use S256"),
            Self::UnsupportedChallengeMethod => {
                (E::INVALID_REQUEST, "PKCE: this code_challenge_method is not supported: use S256")
            }
            Self::InvalidFormToken => (E::INVALID_REQUEST, "this form was not made for this session"),
            Self::ExpiredFormToken => (E::INVALID_REQUEST, "this form has expired"),
            Self::DeniedByUser => (E::ACCESS_DENIED, "the resource owner denied the request"),
            Self::NothingApproved => (E::ACCESS_DENIED, "the resource owner approved no scope"),

            Self::MalformedScope => (E::INVALID_SCOPE, "the scope is malformed"),
            Self::UnknownScope => (E::INVALID_SCOPE, "a scope is unknown"),
            Self::ScopeNotAllowed => (E::INVALID_SCOPE, "the client may not ask for a scope it asked for"),
            Self::NoDefaultScope => (E::INVALID_SCOPE, "no scope was asked for and there is no default"),
            Self::ScopeExceedsGrant => (E::INVALID_SCOPE, "the scope exceeds what was granted"),

            Self::UnsupportedGrantType => (E::UNSUPPORTED_GRANT_TYPE, "this grant type is not supported"),
            Self::GrantTypeNotAllowed => (E::UNAUTHORIZED_CLIENT, "the client is not registered for this grant type"),
            Self::UnknownToken
            | Self::ForeignToken
            | Self::ExpiredToken
            | Self::GrantEnded
            | Self::CodeReplayed
            | Self::RefreshTokenReused
            | Self::RetryRefused
            | Self::SpentInTheFuture => GRANT,
            Self::RedirectUriMismatch => {
                (E::INVALID_GRANT, "the redirect URI is not the one of the authorization request")
            }
            Self::MissingCodeVerifier => (E::INVALID_GRANT, "PKCE: code_verifier is missing"),
            Self::MalformedCodeVerifier => (E::INVALID_GRANT, "PKCE: code_verifier is malformed"),
            Self::WrongCodeVerifier => (E::INVALID_GRANT, "PKCE: code_verifier does not meet the challenge"),
            Self::UnexpectedCodeVerifier => {
                (E::INVALID_REQUEST, "PKCE: the authorization request had no code_challenge")
            }
            Self::CodeWithoutChallenge => (E::INVALID_GRANT, "PKCE is required for this client"),
            Self::ResourceOwnerRejected => (E::INVALID_GRANT, "the resource owner's credentials are wrong"),
            Self::NotYourToken => (E::UNAUTHORIZED_CLIENT, "the token belongs to another client"),
            Self::IntrospectionNotAllowed => (E::UNAUTHORIZED_CLIENT, "the client may not inspect tokens"),
            Self::Extension(refusal) => (refusal.code, refusal.description),
        }
    }
}

/// A storage failed.
///
/// The text says no more than that; the cause is its [`source`](std::error::Error::source), for the host's logs.
#[derive(Debug, thiserror::Error)]
#[error("the storage {}", if self.unavailable { "is not available" } else { "failed" })]
pub struct StorageError {
    unavailable: bool,
    source: BoxError,
}

impl StorageError {
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
    /// An [`Authenticator`](crate::Authenticator) could not decide: answered with 500 `server_error`.
    AuthenticatorError = "the authenticator failed";
    /// A source of [`Entropy`](crate::Entropy) could not deliver: answered with 500 `server_error`.
    EntropyError = "the source of randomness failed";
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: GX-03 (RFC 6749 §8.5)
    #[test]
    fn an_extension_error_obeys_the_grammar() {
        assert_eq!(ErrorCode::extension("example_quota").unwrap().as_str(), "example_quota");
        for bad in ["", "a\"b", "a\\b", "a\nb", "caf\u{e9}"] {
            assert_eq!(ErrorCode::extension(bad), Err(InvalidErrorText), "{bad:?}");
            if !bad.is_empty() {
                assert_eq!(ExtensionRefusal::new(ErrorCode::INVALID_GRANT, bad), Err(InvalidErrorText), "{bad:?}");
            }
        }
    }

    #[test]
    fn the_text_of_a_storage_error_does_not_hold_its_cause() {
        let error = Error::from(StorageError::new("password=hunter2"));
        assert_eq!(error.to_string(), "the storage failed");
        assert_eq!(error.description(), "the server met an unexpected condition");
        let source = std::error::Error::source(&error).unwrap();
        assert_eq!(source.to_string(), "password=hunter2");
    }
}
