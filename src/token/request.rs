//! Token requests, and their builder for in-process callers.

use crate::client::request::{ClientRequest, endpoint};
use crate::secret::{AuthorizationCode, CodeVerifier, Password, RefreshToken};

/// A request to the token endpoint that was not checked yet.
///
/// ```
/// use grantor::{ClientSecret, TokenRequest};
///
/// let secret = ClientSecret::new("s3cr3t");
/// let request = TokenRequest::client_credentials().scope("user:read").client_secret_basic("machine", &secret);
/// ```
pub type TokenRequest<'a> = ClientRequest<'a, endpoint::Token>;

impl<'a> TokenRequest<'a> {
    /// Builds a request with any grant type.
    pub fn new(grant_type: &'a str) -> Self {
        Self::empty().parameter("grant_type", grant_type)
    }

    /// Builds a request that redeems a code (RFC 6749 §4.1.3).
    pub fn authorization_code(code: &'a AuthorizationCode) -> Self {
        Self::new("authorization_code").parameter("code", code.expose())
    }

    /// Builds a request for the client itself (RFC 6749 §4.4.2).
    pub fn client_credentials() -> Self {
        Self::new("client_credentials")
    }

    /// Builds a request with a user's password (RFC 6749 §4.3.2).
    pub fn password(username: &'a str, password: &'a Password) -> Self {
        Self::new("password").parameter("username", username).parameter("password", password.expose())
    }

    /// Builds a refresh request (RFC 6749 §6).
    pub fn refresh_token(token: &'a RefreshToken) -> Self {
        Self::new("refresh_token").parameter("refresh_token", token.expose())
    }

    /// Sets the redirect URI of the authorization request.
    pub fn redirect_uri(self, uri: &'a str) -> Self {
        self.parameter("redirect_uri", uri)
    }

    /// Sets the verifier for the challenge of the authorization request (RFC 7636 §4.5).
    pub fn code_verifier(self, verifier: &'a CodeVerifier) -> Self {
        self.parameter("code_verifier", verifier.expose())
    }

    /// Sets the requested scope, a space-separated list of scope tokens.
    pub fn scope(self, scope: &'a str) -> Self {
        self.parameter("scope", scope)
    }
}
