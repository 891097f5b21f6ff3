//! The reasons why a request is refused, and the table of what a client may see of each.

use std::borrow::Cow;
use std::fmt;

use super::Error;
use super::code::{ErrorCode, InvalidErrorText, is_error_text};

/// The precise reason why a request was refused, for operators.
///
/// A client sees only its [`code`](Self::code) and [`description`](Self::description). Several reasons share one
/// description if the difference would help an attacker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    // The request as a whole.
    /// The endpoint does not support the HTTP method. The value is sent in `Allow`.
    MethodNotAllowed(&'static str),
    /// The body or query is larger than [`Policy::max_body`](crate::Policy::max_body), or the parameters of an
    /// authorization request are larger than 16 KiB in total.
    BodyTooLarge,
    /// The body is incomplete or could not be read: see
    /// [`Request::with_broken_body`](crate::Request::with_broken_body).
    BrokenBody,
    /// The body did not arrive in time: see [`Request::with_late_body`](crate::Request::with_late_body).
    LateBody,
    /// The body is not `application/x-www-form-urlencoded`.
    NotAForm,
    /// A percent escape is broken, or a value is not UTF-8.
    MalformedEncoding,
    /// A parameter that may occur once occurs more than once.
    RepeatedParameter(&'static str),
    /// A required parameter is missing or empty.
    MissingParameter(&'static str),
    /// A parameter is malformed.
    MalformedParameter(&'static str),
    /// A parameter is in the query of the URL, which is not allowed for this client or at this endpoint.
    ParameterInQuery(&'static str),

    // Client authentication.
    /// The request has more than one client authentication method or `Authorization` header.
    SeveralAuthenticationMethods,
    /// The header and the body name different clients.
    ConflictingClientIds,
    /// The `Authorization` header cannot be read.
    MalformedAuthorization,
    /// Client authentication failed, and the `Authorization: Basic` header has a `%` or `+`. The client may have
    /// omitted the form-encoding of identifier and secret: see
    /// [`raw_basic_secret`](crate::client::ClientParts::raw_basic_secret).
    UnencodedCredentials,
    /// No client has the identifier.
    UnknownClient,
    /// The request names no client, or does not authenticate the client that it names.
    MissingClientAuthentication,
    /// The client is not registered for the authentication method of the request, or the server does not know the
    /// method.
    AuthenticationMethodNotAllowed,
    /// The client's credentials are wrong or have expired.
    ClientAuthenticationFailed,
    /// The assertion that should authenticate the client (`private_key_jwt`, RFC 7523 §2.2) is not accepted.
    #[cfg(feature = "jwt")]
    ClientAssertion(crate::jose::problem::JwtProblem),

    // The authorization endpoint.
    /// No client has the identifier, at the authorization endpoint. Anyone may learn that, because clients do not
    /// authenticate there.
    UnregisteredClient,
    /// The redirect URI is not registered for the client.
    UnregisteredRedirectUri,
    /// The request object is not accepted.
    #[cfg(feature = "jwt")]
    RequestObject(crate::jose::problem::JwtProblem),
    /// The client or the policy demands a signed request object, and the request has none.
    MissingRequestObject,
    /// The request has a request object, and the server accepts none. With the feature `jwt`,
    /// `ClientSignatures::request_objects` accepts them.
    RequestNotSupported,
    /// The request has a `request_uri`, which the server does not support.
    RequestUriNotSupported,
    /// The request has both a `request` and a `request_uri` (RFC 9101 §5).
    RequestAndRequestUri,
    /// The server does not support the response type.
    UnsupportedResponseType,
    /// The client is not registered for the response type.
    ResponseTypeNotAllowed,
    /// The response mode is unknown, or cannot be used with the response type.
    UnsupportedResponseMode,
    /// The out-of-band redirect cannot be used with the response type.
    OutOfBandToken,
    /// PKCE is required, and the request has no challenge.
    MissingCodeChallenge,
    /// The PKCE method is `plain`, which is not allowed.
    PlainChallenge,
    /// The PKCE method is neither `S256` nor `plain`.
    UnsupportedChallengeMethod,
    /// The server was built without an authorization endpoint.
    NoAuthorizationEndpoint,
    /// The form token was not made by this server for this session, or it was changed.
    InvalidFormToken,
    /// The form was submitted too late.
    ExpiredFormToken,
    /// The form is out of date, because the client or a setting changed after the form was shown. Or the form token has
    /// a format that this server does not know.
    StaleFormToken,
    /// The user has already decided with this form. The client does not learn of the repetition.
    UsedFormToken,
    /// The earlier consent, because of which the user was not asked, ended before the grant was opened. The request
    /// starts again, and the client does not learn of it.
    ConsentEnded,
    /// The user denied the request.
    DeniedByUser,
    /// The user approved, but selected no scope.
    NothingApproved,
    /// The user is not logged in, or the login is older than the request allows.
    LoginRequired,
    /// The user must be asked for consent, and the request allows no page.
    ConsentRequired,
    /// The user must do something other than log in, consent or choose an account, and the request allows no page.
    InteractionRequired,
    /// The user must choose an account, and the request allows no page. The library itself never uses this reason.
    AccountSelectionRequired,
    /// The user can't log in by any of the ways that the request names.
    UnmetAuthentication,
    /// The user who approved is not the user who was asked.
    OtherUser,

    // Scope.
    /// The scope is malformed.
    MalformedScope,
    /// The server does not offer a requested scope.
    UnknownScope,
    /// A requested scope is not allowed for the client.
    ScopeNotAllowed,
    /// The request names no scope, and no default scope applies to the client.
    NoDefaultScope,
    /// A refresh request asks for more scope than was granted.
    ScopeExceedsGrant,
    /// Nothing is left of the granted scope, because the client may no longer have it, the server no longer offers it,
    /// or the resources of the grant no longer declare it.
    NoScopeLeft,
    /// The requested or granted scope has nothing that the resource declares.
    NoScopeForResource,

    // The resource.
    /// The request names no resource, and the server has no default resource (RFC 8707 §2.1).
    MissingResource,
    /// The server does not have the requested resource.
    UnknownResource,
    /// A token request names several resources. A token is for one.
    SeveralResources,
    /// A refresh is repeated within the grace window for another resource than the first time. The response is made of
    /// the same tokens, so it can't be.
    RepeatedForOtherResource,
    /// The grant is not for the requested resource.
    ResourceNotGranted,
    /// The server no longer has any of the resources that the grant is for, or the grant was opened before the server
    /// had resources.
    NoResourceLeft,

    // The token endpoint.
    /// The server does not support the grant type.
    UnsupportedGrantType,
    /// The client is not registered for the grant type.
    GrantTypeNotAllowed,
    /// The code or refresh token does not exist.
    UnknownToken,
    /// The code or refresh token belongs to another client.
    ForeignToken,
    /// The code or refresh token has expired.
    ExpiredToken,
    /// The grant of the code or refresh token has ended or was revoked.
    GrantEnded,
    /// A redeemed code was presented again, with all required proofs. Its grant was revoked.
    CodeReplayed,
    /// A redeemed code was presented again by a client that probably lost the first response, see
    /// [`Policy::tolerate_repeated_codes`](crate::Policy::tolerate_repeated_codes). Nothing was revoked.
    CodeRepeated,
    /// A redeemed refresh token was presented again after its grace window, or within it after the access token of the
    /// first response was revoked. Its grant was revoked.
    RefreshTokenReused,
    /// A redeemed refresh token was presented within its grace window, but its successors can't be returned again. The
    /// request asks for less or other scope than the first one, the client may no longer have a scope of the access
    /// token, or a successor has expired or been used. Nothing was revoked.
    RetryRefused,
    /// The grant was refreshed more often than [`Policy::refresh_interval`](crate::Policy::refresh_interval) allows.
    /// The token was not redeemed.
    RefreshedTooOften,
    /// The refresh token was redeemed at a time in the future, and the gap is too large for a difference of clocks.
    /// Nothing was revoked.
    SpentInTheFuture,
    /// A one-time key of an extension grant was used before.
    KeyUsed,
    /// A grant handler tried to derive a grant from a token whose type is not `Bearer`, so its proof was not checked.
    BoundToken,
    /// The derived grant would have more than four ancestors.
    NestedTooDeep,
    /// The authenticator reported that the subject of the grant is suspended. No token was redeemed.
    SubjectSuspended,
    /// The authenticator reported that the subject of the grant is gone. All grants of the subject were revoked.
    SubjectGone,
    /// The redirect URI differs from the one in the authorization request.
    RedirectUriMismatch,
    /// The code has a challenge, but the request has no verifier.
    MissingCodeVerifier,
    /// The verifier is malformed.
    MalformedCodeVerifier,
    /// The verifier does not match the challenge.
    WrongCodeVerifier,
    /// The code has no challenge, but the request has a verifier.
    UnexpectedCodeVerifier,
    /// The code has no challenge, and the client must use PKCE.
    CodeWithoutChallenge,
    /// The user name or password is wrong, or the account may not be used.
    ResourceOwnerRejected,

    // The revocation and introspection endpoints.
    /// A client tried to revoke a token of another client. Only a confidential client that an administrator registered
    /// gets this error. Any other client gets the response for an unknown token.
    NotYourToken,
    /// A client tried to revoke a token of a kind that this version does not know. The token stays valid.
    UnsupportedTokenKind,
    /// A client that is not confidential tried to introspect a token, or an unidentified caller asked for a signed
    /// response.
    IntrospectionNotAllowed,

    /// A reason that the host app defines, such as that of an extension grant.
    Extension(ExtensionRefusal),
}

/// A reason that the host app defines: a code and a description in the characters that RFC 6749 §5.2 allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtensionRefusal {
    code: ErrorCode,
    description: &'static str,
}

impl ExtensionRefusal {
    /// Returns a reason with a standard code or a code made by [`ErrorCode::extension`]. If the description is a
    /// literal, [`Error::refused`] is shorter.
    ///
    /// # Errors
    /// The description has a character outside of `%x20-21 / %x23-5B / %x5D-7E`.
    pub const fn new(code: ErrorCode, description: &'static str) -> Result<Self, InvalidErrorText> {
        if is_error_text(description) { Ok(Self { code, description }) } else { Err(InvalidErrorText) }
    }
}

impl Error {
    /// Returns an error that refuses a request for a reason of your own. Use it in a grant handler or a token
    /// customizer. The client sees the code and the description. RFC 6749 §5.2 allows the characters `%x20-21 / %x23-5B
    /// / %x5D-7E`.
    ///
    /// It never panics. If the description has another character, it returns [`Error::Misuse`], which is answered with
    /// 500 `server_error`. [`ExtensionRefusal::new`] returns an error in that case.
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
            Err(InvalidErrorText) => {
                Self::Misuse("a refusal's description has a character that RFC 6749 §5.2 does not allow")
            }
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
    /// Returns the error code that a client sees.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.public().0
    }

    /// Returns the description that a client sees. It is a fixed text with at most the name of a parameter that the
    /// server knows.
    #[must_use]
    pub fn description(&self) -> Cow<'static, str> {
        match self {
            Self::RepeatedParameter(name) => format!("the parameter {name} occurs more than once").into(),
            Self::MissingParameter(name) => format!("the parameter {name} is missing").into(),
            Self::MalformedParameter(name) => format!("the parameter {name} is malformed").into(),
            Self::ParameterInQuery(name) => {
                format!("the parameter {name} is in the URL: send it in the request body").into()
            }
            _ => self.public().1.into(),
        }
    }

    /// Returns whether the reason is an old consent form or return target, or an earlier consent that has ended.
    /// Neither the user nor the client made a mistake.
    pub(crate) const fn is_stale(&self) -> bool {
        matches!(
            self,
            Self::InvalidFormToken
                | Self::ExpiredFormToken
                | Self::StaleFormToken
                | Self::UsedFormToken
                | Self::ConsentEnded
        )
    }

    /// Returns the HTTP status of the direct (not redirected) response: 400 unless a specification requires another
    /// one.
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

    /// Returns the code and the description that the client sees.
    #[expect(clippy::too_many_lines, reason = "one table")]
    const fn public(&self) -> (ErrorCode, &'static str) {
        use ErrorCode as E;
        const CLIENT: (E, &str) = (E::INVALID_CLIENT, "client authentication failed");
        const GRANT: (E, &str) = (
            E::INVALID_GRANT,
            "the code or token is unknown, expired, revoked, already used or belongs to another client",
        );
        match self {
            Self::MethodNotAllowed(_) => (E::INVALID_REQUEST, "this endpoint does not support this HTTP method"),
            Self::BodyTooLarge => (E::INVALID_REQUEST, "the request is too large"),
            Self::BrokenBody => (E::INVALID_REQUEST, "the request body is incomplete or could not be read"),
            Self::LateBody => (E::INVALID_REQUEST, "the request body did not arrive in time"),
            Self::NotAForm => (E::INVALID_REQUEST, "the request body is not application/x-www-form-urlencoded"),
            Self::MalformedEncoding => {
                (E::INVALID_REQUEST, "the parameters have an invalid percent-escape or are not UTF-8")
            }
            Self::RepeatedParameter(_) => (E::INVALID_REQUEST, "a parameter occurs more than once"),
            Self::MissingParameter(_) => (E::INVALID_REQUEST, "a parameter is missing"),
            Self::MalformedParameter(_) => (E::INVALID_REQUEST, "a parameter is malformed"),
            Self::ParameterInQuery(_) => (E::INVALID_REQUEST, "a parameter is in the URL: send it in the request body"),

            Self::SeveralAuthenticationMethods => {
                (E::INVALID_REQUEST, "the request uses more than one client authentication method: use one")
            }
            Self::ConflictingClientIds => {
                (E::INVALID_REQUEST, "the Authorization header and the body name different clients")
            }
            Self::MalformedAuthorization => (E::INVALID_CLIENT, "the Authorization header is malformed"),
            Self::UnencodedCredentials => (
                E::INVALID_CLIENT,
                "client authentication failed: form-encode the identifier and the secret in Authorization: Basic",
            ),
            Self::UnknownClient
            | Self::MissingClientAuthentication
            | Self::AuthenticationMethodNotAllowed
            | Self::ClientAuthenticationFailed => CLIENT,
            #[cfg(feature = "jwt")]
            Self::ClientAssertion(_) => CLIENT,

            Self::UnregisteredClient => (E::INVALID_CLIENT, "the client is not registered with this server"),
            Self::UnregisteredRedirectUri => (E::INVALID_REQUEST, "the redirect URI is not registered for this client"),
            #[cfg(feature = "jwt")]
            Self::RequestObject(_) => (E::INVALID_REQUEST_OBJECT, "the request object is not valid"),
            Self::MissingRequestObject => {
                (E::INVALID_REQUEST, "a signed request object is required: send it in the parameter request")
            }
            Self::RequestNotSupported => (E::REQUEST_NOT_SUPPORTED, "request objects are not supported"),
            Self::RequestUriNotSupported => (E::REQUEST_URI_NOT_SUPPORTED, "request_uri is not supported"),
            Self::RequestAndRequestUri => {
                (E::INVALID_REQUEST, "request and request_uri are used together: send one of them")
            }
            Self::UnsupportedResponseType => (E::UNSUPPORTED_RESPONSE_TYPE, "this response type is not supported"),
            Self::ResponseTypeNotAllowed => {
                (E::UNAUTHORIZED_CLIENT, "the client is not registered for this response type")
            }
            Self::UnsupportedResponseMode => {
                (E::INVALID_REQUEST, "the response mode is unknown or cannot be used with the response type")
            }
            Self::OutOfBandToken => {
                (E::INVALID_REQUEST, "the out-of-band redirect can be used with the response type code only")
            }
            Self::MissingCodeChallenge => (E::INVALID_REQUEST, "PKCE is required: code_challenge is missing"),
            Self::PlainChallenge => {
                (E::INVALID_REQUEST, "PKCE: the code_challenge_method plain is not supported: use S256")
            }
            Self::UnsupportedChallengeMethod => {
                (E::INVALID_REQUEST, "PKCE: this code_challenge_method is not supported: use S256")
            }
            Self::NoAuthorizationEndpoint => (E::INVALID_REQUEST, "this server has no authorization endpoint"),
            Self::InvalidFormToken => (E::INVALID_REQUEST, "this form does not belong to your current session"),
            Self::ExpiredFormToken | Self::StaleFormToken => (E::INVALID_REQUEST, "this form has expired"),
            Self::UsedFormToken => (E::INVALID_REQUEST, "this form was already submitted"),
            Self::DeniedByUser => (E::ACCESS_DENIED, "the user denied the request"),
            Self::NothingApproved => (E::ACCESS_DENIED, "the user approved no scope"),
            Self::LoginRequired => (E::LOGIN_REQUIRED, "the user must log in"),
            Self::ConsentEnded => (E::CONSENT_REQUIRED, "your earlier consent has ended"),
            Self::ConsentRequired => (E::CONSENT_REQUIRED, "the user must consent"),
            Self::InteractionRequired => (E::INTERACTION_REQUIRED, "the user must confirm the request"),
            Self::AccountSelectionRequired => (E::ACCOUNT_SELECTION_REQUIRED, "the user must choose an account"),
            Self::UnmetAuthentication => (
                E::UNMET_AUTHENTICATION_REQUIREMENTS,
                "the user cannot log in by any of the ways that the request names",
            ),
            Self::OtherUser => (E::ACCESS_DENIED, "the user who approved is not the user who was asked"),

            Self::MalformedScope => (E::INVALID_SCOPE, "the scope is malformed"),
            Self::UnknownScope => (E::INVALID_SCOPE, "a requested scope is unknown"),
            Self::ScopeNotAllowed => (E::INVALID_SCOPE, "a requested scope is not allowed for this client"),
            Self::NoDefaultScope => {
                (E::INVALID_SCOPE, "the parameter scope is missing, and the client has no default scope")
            }
            Self::ScopeExceedsGrant => (E::INVALID_SCOPE, "the requested scope exceeds the granted scope"),
            Self::NoScopeForResource => (
                E::INVALID_SCOPE,
                "nothing in the scope can be used at the resource: request another scope or another resource",
            ),

            Self::MissingResource => (E::INVALID_TARGET, "the parameter resource is missing"),
            Self::UnknownResource => (E::INVALID_TARGET, "a requested resource is unknown"),
            Self::SeveralResources => (E::INVALID_TARGET, "the request names several resources: name one"),
            Self::RepeatedForOtherResource => {
                (E::INVALID_TARGET, "the refresh token was just used for another resource: use the new refresh token")
            }
            Self::ResourceNotGranted => (E::INVALID_TARGET, "the requested resource was not granted"),

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
            | Self::NoResourceLeft
            | Self::KeyUsed
            | Self::BoundToken
            | Self::SubjectSuspended
            | Self::SubjectGone => GRANT,
            Self::RefreshedTooOften => {
                (E::TEMPORARILY_UNAVAILABLE, "the grant is refreshed too often, try again later")
            }
            Self::NestedTooDeep => {
                (E::INVALID_REQUEST, "the grant has too many ancestors: derive it from an earlier token")
            }
            Self::RedirectUriMismatch => {
                (E::INVALID_GRANT, "the redirect URI differs from the one in the authorization request")
            }
            Self::MissingCodeVerifier => (E::INVALID_GRANT, "PKCE: code_verifier is missing"),
            Self::MalformedCodeVerifier => (
                E::INVALID_GRANT,
                "PKCE: code_verifier is malformed: it must have 43 to 128 characters out of A-Z a-z 0-9 - . _ ~",
            ),
            Self::WrongCodeVerifier => (E::INVALID_GRANT, "PKCE: code_verifier does not match the challenge"),
            Self::UnexpectedCodeVerifier => (
                E::INVALID_REQUEST,
                "PKCE: code_verifier was sent, but the authorization request had no code_challenge",
            ),
            Self::CodeWithoutChallenge => {
                (E::INVALID_GRANT, "PKCE is required for this client: send code_challenge in the authorization request")
            }
            Self::ResourceOwnerRejected => (E::INVALID_GRANT, "the username or password is wrong"),
            Self::NotYourToken => (E::UNAUTHORIZED_CLIENT, "the token belongs to another client"),
            Self::UnsupportedTokenKind => (E::UNSUPPORTED_TOKEN_TYPE, "this kind of token cannot be revoked here"),
            Self::IntrospectionNotAllowed => (E::UNAUTHORIZED_CLIENT, "the client may not introspect tokens"),
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
