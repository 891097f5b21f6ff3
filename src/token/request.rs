//! Token requests, as an in-process caller puts them together.

use crate::client::request::{ClientRequest, endpoint};
use crate::secret::{AuthorizationCode, CodeVerifier, Password, RefreshToken};

/// A request at the token endpoint, before anything was checked.
///
/// ```
/// use grantor::{ClientSecret, TokenRequest};
///
/// let secret = ClientSecret::new("s3cr3t");
/// let request = TokenRequest::client_credentials().scope("user:read").client_secret_basic("machine", &secret);
/// ```
pub type TokenRequest<'a> = ClientRequest<'a, endpoint::Token>;

impl<'a> TokenRequest<'a> {
    /// A request with any grant type.
    pub fn new(grant_type: &'a str) -> Self {
        Self::empty().parameter("grant_type", grant_type)
    }

    /// RFC 6749 §4.1.3.
    pub fn authorization_code(code: &'a AuthorizationCode) -> Self {
        Self::new("authorization_code").parameter("code", code.expose())
    }

    /// RFC 6749 §4.4.2.
    pub fn client_credentials() -> Self {
        Self::new("client_credentials")
    }

    /// RFC 6749 §4.3.2.
    pub fn password(username: &'a str, password: &'a Password) -> Self {
        Self::new("password").parameter("username", username).parameter("password", password.expose())
    }

    /// RFC 6749 §6.
    pub fn refresh_token(token: &'a RefreshToken) -> Self {
        Self::new("refresh_token").parameter("refresh_token", token.expose())
    }

    /// The redirect URI of the authorization request.
    pub fn redirect_uri(self, uri: &'a str) -> Self {
        self.parameter("redirect_uri", uri)
    }

    /// The verifier of the challenge in the authorization request (RFC 7636 §4.5).
    pub fn code_verifier(self, verifier: &'a CodeVerifier) -> Self {
        self.parameter("code_verifier", verifier.expose())
    }

    /// A space-separated list of scope tokens.
    pub fn scope(self, scope: &'a str) -> Self {
        self.parameter("scope", scope)
    }
}
