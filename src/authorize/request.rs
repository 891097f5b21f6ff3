//! Authorization requests (RFC 6749 §4.1.1, §4.2.1) before any check.

use std::net::IpAddr;

use super::Visitor;
use super::parameters::{REFERENCES, REQUEST};
use crate::error::Refusal;
use crate::http::{Languages, Request};
use crate::params::Params;
use crate::policy::Policy;

/// An authorization request that the host app builds itself.
///
/// ```
/// use grantor::AuthorizationRequest;
///
/// let request = AuthorizationRequest::code("my-client")
///     .redirect_uri("https://app.example/cb")
///     .scope("user:read")
///     .state("af0ifjsldkj")
///     .code_challenge_s256("E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM");
/// ```
#[derive(Debug, Default)]
#[must_use = "a request does nothing until it is given to a server"]
pub struct AuthorizationRequest<'a> {
    pub(super) params: Params<'a>,
    pub(super) visitor: Visitor,
}

impl<'a> AuthorizationRequest<'a> {
    /// Returns a request with any response type. See also [`code`](Self::code) and [`token`](Self::token).
    pub fn new(response_type: &'a str, client_id: &'a str) -> Self {
        Self { params: Params::with_room(), visitor: Visitor::default() }
            .parameter("response_type", response_type)
            .parameter("client_id", client_id)
    }

    /// Returns a request for a code (RFC 6749 §4.1.1).
    pub fn code(client_id: &'a str) -> Self {
        Self::new("code", client_id)
    }

    /// Returns a request for an access token: the implicit grant (RFC 6749 §4.2.1).
    pub fn token(client_id: &'a str) -> Self {
        Self::new("token", client_id)
    }

    /// Sets the redirect URI.
    pub fn redirect_uri(self, uri: &'a str) -> Self {
        self.parameter("redirect_uri", uri)
    }

    /// Sets the scope, a list of scope tokens separated by spaces.
    pub fn scope(self, scope: &'a str) -> Self {
        self.parameter("scope", scope)
    }

    /// Sets the `state`, which the response contains unchanged.
    pub fn state(self, state: &'a str) -> Self {
        self.parameter("state", state)
    }

    /// Sets a PKCE challenge with the method `S256` (RFC 7636 §4.3).
    pub fn code_challenge_s256(self, challenge: &'a str) -> Self {
        self.parameter("code_challenge", challenge).parameter("code_challenge_method", "S256")
    }

    /// Sets a request object (RFC 9101 §4): the parameters of the request in a JWT that the client signed. All other
    /// parameters except the client identifier are then ignored. The server must accept request objects: with the
    /// feature `jwt`, by `ClientSignatures::request_objects`.
    pub fn request_object(self, object: &'a str) -> Self {
        self.parameter(REQUEST, object)
    }

    /// Adds any other parameter.
    pub fn parameter(mut self, name: &'a str, value: &'a str) -> Self {
        self.params.push(name, value);
        self
    }

    /// Sets the peer, see [`Request::with_peer`].
    pub const fn peer(mut self, peer: IpAddr) -> Self {
        self.visitor.peer = Some(peer);
        self
    }

    /// Sets the languages that the user prefers, for the pages that the library shows. Defaults to none.
    pub fn languages(mut self, languages: Languages) -> Self {
        self.visitor.languages = languages;
        self
    }

    /// Reads an HTTP request: a `GET` from its query, a `POST` from its body. Refuses a `POST` with one of the `names`
    /// in its query, because software that reads the query would see another request.
    pub(super) fn read(request: &'a Request, policy: &Policy, names: &[&'static str]) -> Result<Self, Refusal> {
        request.check_body(policy.max_body)?;
        let form = match request.method() {
            "GET" => request.query().as_bytes(),
            "POST" if !request.is_form() => return Err(Refusal::NotAForm),
            "POST" => {
                request.check_query(names)?;
                request.check_query(&REFERENCES)?;
                request.body()
            }
            _ => return Err(Refusal::MethodNotAllowed("GET, POST")),
        };
        Ok(Self { params: Params::decode(form), visitor: Visitor::of(request) })
    }
}
