//! Why a request was refused, and the one table that says what of it a client may see.

use std::borrow::Cow;
use std::fmt;

use super::Error;
use super::code::{ErrorCode, InvalidErrorText, is_error_text};

/// The precise reason why a request was refused, for operators.
///
/// What a client may see of it is [`code`](Self::code) and [`description`](Self::description); where a distinction
/// would help an attacker, several reasons share one text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    // The request as such.
    /// The endpoint does not serve this method; the value is what `Allow` says.
    MethodNotAllowed(&'static str),
    /// The body or query is larger than [`Policy::max_body`](crate::Policy::max_body), or the parameters of an authorization
    /// request have more than 16 KiB together.
    BodyTooLarge,
    /// The body broke off or could not be read: see [`Request::with_broken_body`](crate::Request::with_broken_body).
    BrokenBody,
    /// The body did not arrive in time: see [`Request::with_late_body`](crate::Request::with_late_body).
    LateBody,
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
    /// A parameter stands in the URL's query, which is not allowed to this client or at this endpoint.
    ParameterInQuery(&'static str),

    // Client authentication.
    /// More than one authentication method, or `Authorization` header, in one request.
    SeveralAuthenticationMethods,
    /// The header and the body name different clients.
    ConflictingClientIds,
    /// The `Authorization` header cannot be read.
    MalformedAuthorization,
    /// The client did not authenticate, for whatever reason, and its `Authorization: Basic` header has a `%` or `+`. Perhaps it does not
    /// form-encode the two parts, see [`raw_basic_secret`](crate::client::ClientParts::raw_basic_secret).
    UnencodedCredentials,
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
    /// The server was built without an authorization endpoint.
    NoAuthorizationEndpoint,
    /// The form token was not made by this server for this session, or was changed.
    InvalidFormToken,
    /// The form was submitted too late.
    ExpiredFormToken,
    /// The form shows something else than this server would show now, because the client or a setting was changed; or it was
    /// sealed in a format that this server does not know.
    StaleFormToken,
    /// The user has already decided by this form. The client is not told of the repetition.
    UsedFormToken,
    /// The user said no.
    DeniedByUser,
    /// The user approved, but left no scope selected.
    NothingApproved,
    /// The user is not logged in, or not as recently as the request demands.
    LoginRequired,
    /// The user has to be asked, and the request allows no page.
    ConsentRequired,
    /// The user has to do something else, and the request allows no page.
    InteractionRequired,
    /// The user has to choose an account, and the request allows no page. The library itself never says so.
    AccountSelectionRequired,
    /// The user can't log in in one of the ways that the request names.
    UnmetAuthentication,
    /// The user who approves is not the one who was asked.
    OtherUser,

    // Scope.
    /// The scope does not meet its grammar.
    MalformedScope,
    /// The server does not offer a scope that was asked for.
    UnknownScope,
    /// A requested scope is not allowed for the client.
    ScopeNotAllowed,
    /// No scope was asked for and there is no default.
    NoDefaultScope,
    /// The refresh asks for more than was granted.
    ScopeExceedsGrant,
    /// Nothing is left of what was granted: the client may not have it any more, or the server does not offer it any more.
    NoScopeLeft,

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
    /// A redeemed code was presented again by a client that seems to have lost the answer, see
    /// [`Policy::tolerate_repeated_codes`](crate::Policy::tolerate_repeated_codes). Nothing is revoked.
    CodeRepeated,
    /// A spent refresh token was presented again, outside of its grace window, or within it although the access token of the first answer
    /// was revoked: its grant is revoked.
    RefreshTokenReused,
    /// A spent refresh token was presented within its grace window, but its successors can't be given again: the request asks
    /// for less scope than the first one did, or for other scope, its access token has a scope that the client may not have any more, or a successor has
    /// expired or been used. Nothing is revoked.
    RetryRefused,
    /// The grant was refreshed more often than [`Policy::refresh_interval`](crate::Policy::refresh_interval) allows. Nothing is spent.
    RefreshedTooOften,
    /// A refresh token was spent further in the future than clocks may differ; nothing was revoked.
    SpentInTheFuture,
    /// A one-time key of an extension grant was used before.
    KeyUsed,
    /// A grant was to be derived from a token of another type than `Bearer`, whose proof was not checked.
    BoundToken,
    /// The grant would descend from more than four others.
    NestedTooDeep,
    /// The authenticator says that the subject of the grant is suspended; nothing was spent.
    SubjectSuspended,
    /// The authenticator says that the subject of the grant is gone: all its grants were revoked.
    SubjectGone,
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
    /// A client wants to revoke a token that belongs to another one. Only a confidential client that an administrator registered is
    /// told; any other one gets the answer to an unknown token.
    NotYourToken,
    /// A client wants to revoke a token of a kind that this version does not know. The token lives on.
    UnsupportedTokenKind,
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
    /// Makes a refusal with one of the standard codes or one made by [`ErrorCode::extension`]. For a text that is written in the
    /// program, [`Error::refused`] is shorter.
    ///
    /// # Errors
    /// The description leaves the characters `%x20-21 / %x23-5B / %x5D-7E`.
    pub const fn new(code: ErrorCode, description: &'static str) -> Result<Self, InvalidErrorText> {
        if is_error_text(description) { Ok(Self { code, description }) } else { Err(InvalidErrorText) }
    }
}

impl Error {
    /// Refuses a request for a reason of the host's own, from a grant handler or a token customizer. The client reads the code and the
    /// description, in characters that RFC 6749 §5.2 allows: `%x20-21 / %x23-5B / %x5D-7E`.
    ///
    /// It never panics. A description with another character is a mistake in the program: the result is then [`Error::Misuse`],
    /// which is answered with 500 `server_error`. [`ExtensionRefusal::new`] returns that mistake as an error.
    /// ```
    /// use grantor::{Error, ErrorCode};
    ///
    /// let error = Error::refused(ErrorCode::INVALID_GRANT, "the ticket is not valid");
    /// assert_eq!((error.status(), error.code()), (400, ErrorCode::INVALID_GRANT));
    /// ```
    #[must_use]
    pub const fn refused(code: ErrorCode, description: &'static str) -> Self {
        match ExtensionRefusal::new(code, description) {
            Ok(refusal) => Self::Refused(Refusal::Extension(refusal)),
            Err(InvalidErrorText) => Self::Misuse("a refusal has a description that RFC 6749 §5.2 does not allow"),
        }
    }
}

impl From<ExtensionRefusal> for Error {
    fn from(refusal: ExtensionRefusal) -> Self {
        Refusal::Extension(refusal).into()
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.code(), self.description())
    }
}

impl std::error::Error for Refusal {}

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

    /// Whether a consent form or a return target is no longer good, which is nobody's mistake.
    pub(crate) const fn is_stale(&self) -> bool {
        matches!(self, Self::InvalidFormToken | Self::ExpiredFormToken | Self::StaleFormToken | Self::UsedFormToken)
    }

    /// The status of the direct (not redirected) answer: 400 unless a specification says otherwise.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self {
            Self::NoAuthorizationEndpoint => 404,
            Self::MethodNotAllowed(_) => 405,
            Self::LateBody => 408,
            Self::BodyTooLarge => 413,
            Self::RefreshedTooOften => 429,
            _ if self.code() == ErrorCode::INVALID_CLIENT => 401,
            _ => 400,
        }
    }

    /// The one table from reason to wire.
    #[expect(clippy::too_many_lines, reason = "one table")]
    const fn public(&self) -> (ErrorCode, &'static str) {
        use ErrorCode as E;
        const CLIENT: (E, &str) = (E::INVALID_CLIENT, "client authentication failed");
        const GRANT: (E, &str) =
            (E::INVALID_GRANT, "the grant is unknown, expired, revoked, used or belongs to another client");
        match self {
            Self::MethodNotAllowed(_) => (E::INVALID_REQUEST, "this endpoint does not serve this method"),
            Self::BodyTooLarge => (E::INVALID_REQUEST, "the request is too large"),
            Self::BrokenBody => (E::INVALID_REQUEST, "the body broke off or could not be read"),
            Self::LateBody => (E::INVALID_REQUEST, "the body did not arrive in time"),
            Self::NotAForm => (E::INVALID_REQUEST, "the body is not application/x-www-form-urlencoded"),
            Self::MalformedEncoding => (E::INVALID_REQUEST, "the parameters have a broken escape or are not UTF-8"),
            Self::RepeatedParameter(_) => (E::INVALID_REQUEST, "a parameter occurs more than once"),
            Self::MissingParameter(_) => (E::INVALID_REQUEST, "a parameter is missing"),
            Self::MalformedParameter(_) => (E::INVALID_REQUEST, "a parameter is malformed"),
            Self::ParameterInQuery(_) => (E::INVALID_REQUEST, "parameters belong in the body"),

            Self::SeveralAuthenticationMethods => (E::INVALID_REQUEST, "more than one client authentication method"),
            Self::ConflictingClientIds => (E::INVALID_REQUEST, "the header and the body name different clients"),
            Self::MalformedAuthorization => (E::INVALID_CLIENT, "the Authorization header is malformed"),
            Self::UnencodedCredentials => (
                E::INVALID_CLIENT,
                "client authentication failed: identifier and secret must be form-encoded in Authorization: Basic",
            ),
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
            Self::NoAuthorizationEndpoint => (E::INVALID_REQUEST, "this server has no authorization endpoint"),
            Self::InvalidFormToken => (E::INVALID_REQUEST, "this form was not made for this session"),
            Self::ExpiredFormToken | Self::StaleFormToken => (E::INVALID_REQUEST, "this form has expired"),
            Self::UsedFormToken => (E::INVALID_REQUEST, "this form was sent before"),
            Self::DeniedByUser => (E::ACCESS_DENIED, "the resource owner denied the request"),
            Self::NothingApproved => (E::ACCESS_DENIED, "the resource owner approved no scope"),
            Self::LoginRequired => (E::LOGIN_REQUIRED, "the user has to log in"),
            Self::ConsentRequired => (E::CONSENT_REQUIRED, "the user has to consent"),
            Self::InteractionRequired => (E::INTERACTION_REQUIRED, "the user has to confirm the request"),
            Self::AccountSelectionRequired => (E::ACCOUNT_SELECTION_REQUIRED, "the user has to choose an account"),
            Self::UnmetAuthentication => {
                (E::UNMET_AUTHENTICATION_REQUIREMENTS, "the user cannot log in as the request demands")
            }
            Self::OtherUser => (E::ACCESS_DENIED, "another user approved than was asked"),

            Self::MalformedScope => (E::INVALID_SCOPE, "the scope is malformed"),
            Self::UnknownScope => (E::INVALID_SCOPE, "a scope is unknown"),
            Self::ScopeNotAllowed => (E::INVALID_SCOPE, "a requested scope is not allowed for this client"),
            Self::NoDefaultScope => (E::INVALID_SCOPE, "no scope was asked for and there is no default"),
            Self::ScopeExceedsGrant => (E::INVALID_SCOPE, "the scope exceeds what was granted"),

            Self::UnsupportedGrantType => (E::UNSUPPORTED_GRANT_TYPE, "this grant type is not supported"),
            Self::GrantTypeNotAllowed => (E::UNAUTHORIZED_CLIENT, "the client is not registered for this grant type"),
            Self::UnknownToken
            | Self::ForeignToken
            | Self::ExpiredToken
            | Self::GrantEnded
            | Self::CodeReplayed
            | Self::CodeRepeated
            | Self::RefreshTokenReused
            | Self::RetryRefused
            | Self::SpentInTheFuture
            | Self::NoScopeLeft
            | Self::KeyUsed
            | Self::BoundToken
            | Self::SubjectSuspended
            | Self::SubjectGone => GRANT,
            Self::RefreshedTooOften => {
                (E::TEMPORARILY_UNAVAILABLE, "the grant is refreshed too often, try again later")
            }
            Self::NestedTooDeep => (E::INVALID_REQUEST, "the token was derived from too many others"),
            Self::RedirectUriMismatch => {
                (E::INVALID_GRANT, "the redirect URI is not the one of the authorization request")
            }
            Self::MissingCodeVerifier => (E::INVALID_GRANT, "PKCE: code_verifier is missing"),
            Self::MalformedCodeVerifier => (
                E::INVALID_GRANT,
                "PKCE: code_verifier is malformed: it has 43 to 128 of the characters A-Z a-z 0-9 - . _ ~",
            ),
            Self::WrongCodeVerifier => (E::INVALID_GRANT, "PKCE: code_verifier does not meet the challenge"),
            Self::UnexpectedCodeVerifier => {
                (E::INVALID_REQUEST, "PKCE: the authorization request had no code_challenge")
            }
            Self::CodeWithoutChallenge => (E::INVALID_GRANT, "PKCE is required for this client"),
            Self::ResourceOwnerRejected => (E::INVALID_GRANT, "the resource owner's credentials are wrong"),
            Self::NotYourToken => (E::UNAUTHORIZED_CLIENT, "the token belongs to another client"),
            Self::UnsupportedTokenKind => (E::UNSUPPORTED_TOKEN_TYPE, "this kind of token cannot be revoked here"),
            Self::IntrospectionNotAllowed => (E::UNAUTHORIZED_CLIENT, "the client may not inspect tokens"),
            Self::Extension(refusal) => (refusal.code, refusal.description),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: GX-03 (RFC 6749 §8.5)
    #[test]
    fn extension_error_obeys_the_grammar() {
        assert_eq!(ErrorCode::extension("example_quota").unwrap().as_str(), "example_quota");
        for bad in ["", "a\"b", "a\\b", "a\nb", "caf\u{e9}"] {
            assert_eq!(ErrorCode::extension(bad), Err(InvalidErrorText), "{bad:?}");
            if !bad.is_empty() {
                assert_eq!(ExtensionRefusal::new(ErrorCode::INVALID_GRANT, bad), Err(InvalidErrorText), "{bad:?}");
            }
            assert!(std::panic::catch_unwind(|| ErrorCode::from_static(bad)).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn refusal_with_malformed_description_is_a_server_error() {
        const GOOD: Error = Error::refused(ErrorCode::from_static("example_quota"), "the quota is used up");
        assert_eq!(
            (GOOD.status(), GOOD.code().as_str(), &*GOOD.description()),
            (400, "example_quota", "the quota is used up")
        );
        for bad in ["a\"b", "a\\b", "a\nb", "caf\u{e9}"] {
            let error = Error::refused(ErrorCode::INVALID_GRANT, bad);
            assert!(matches!(error, Error::Misuse(_)), "{bad:?}");
            assert_eq!((error.status(), error.code()), (500, ErrorCode::SERVER_ERROR), "{bad:?}");
            assert!(!error.description().contains(bad), "{bad:?}");
        }
    }
}
