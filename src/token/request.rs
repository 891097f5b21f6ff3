//! Token requests: read from HTTP, or put together by an in-process caller.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::client::auth::Basic;
use crate::error::Refusal;
use crate::http::Request;
use crate::params::Params;
use crate::policy::Policy;
use crate::secret::{AuthorizationCode, ClientSecret, CodeVerifier, Password, RefreshToken};

/// A request at the token endpoint, before anything was checked.
///
/// ```
/// use grantor::{ClientSecret, TokenRequest};
///
/// let secret = ClientSecret::new("s3cr3t");
/// let request = TokenRequest::client_credentials().scope("user:read").client_secret_basic("machine", &secret);
/// ```
#[must_use = "a request does nothing until it is given to a server"]
pub struct TokenRequest<'a> {
    /// What the `Authorization` header says; one that can't be read counts when the client is authenticated.
    pub(super) basic: Result<Option<Basic>, Refusal>,
    pub(super) params: Params<'a>,
    /// The first parameter that stood in the URL's query.
    pub(super) from_query: Option<&'static str>,
    pub(super) peer: Option<IpAddr>,
}

impl<'a> TokenRequest<'a> {
    /// A request with any grant type.
    pub fn new(grant_type: &'a str) -> Self {
        let request = Self { basic: Ok(None), params: Params::default(), from_query: None, peer: None };
        request.parameter("grant_type", grant_type)
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

    /// Names a public client.
    pub fn client_id(self, id: &'a str) -> Self {
        self.parameter("client_id", id)
    }

    /// Authenticates the client as a Basic header does.
    pub fn client_secret_basic(mut self, id: impl Into<String>, secret: &ClientSecret) -> Self {
        self.basic = Ok(Some(Basic { id: id.into(), secret: ClientSecret::new(secret.expose()) }));
        self
    }

    /// Authenticates the client as credentials in the body do.
    pub fn client_secret_post(self, id: &'a str, secret: &'a ClientSecret) -> Self {
        self.parameter("client_id", id).parameter("client_secret", secret.expose())
    }

    /// Any other parameter.
    pub fn parameter(mut self, name: &'a str, value: impl Into<Cow<'a, str>>) -> Self {
        self.params.push(name, value);
        self
    }

    /// The peer, see [`Request::with_peer`].
    pub const fn peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Reads an HTTP request.
    pub(super) fn read(request: &'a Request, policy: &Policy, known: &[&'static str]) -> Result<Self, Refusal> {
        if request.method() != "POST" {
            return Err(Refusal::MethodNotAllowed("POST"));
        }
        if request.exceeds(policy.max_body) {
            return Err(Refusal::BodyTooLarge);
        }
        let mut params = Params::decode(request.query().as_bytes());
        let from_query = params.first_known(known);
        match from_query {
            // The endpoint's own URL may have a query (RFC 6749 §3.2), which is none of the request's.
            None => params = Params::default(),
            Some(name) if !policy.allowed_dangers().allow_token_parameters_in_query => {
                return Err(Refusal::ParameterInQuery(name));
            }
            Some(_) => {}
        }
        // With everything in the query, there need be no body.
        if request.is_form() {
            params.decode_more(request.body());
        } else if from_query.is_none() || !request.body().is_empty() {
            return Err(Refusal::NotAForm);
        }
        Ok(Self { basic: Basic::read(request), params, from_query, peer: request.peer() })
    }
}

impl fmt::Debug for TokenRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenRequest")
            .field("basic", &self.basic)
            .field("params", &self.params)
            .field("from_query", &self.from_query)
            .field("peer", &self.peer)
            .finish()
    }
}
