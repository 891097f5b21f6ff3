//! [`AuthorizationServer`]: the endpoints by name.

mod builder;

use std::sync::Arc;

pub use self::builder::{BuildError, Builder, NeedsStorage};
use crate::authorize::{AuthorizationEndpoint, AuthorizationRequest, Authorize, ConsentForm, PendingAuthorization};
use crate::bearer::{self, Bearer, BearerError};
use crate::error::Error;
use crate::host::Host;
use crate::http::{Request, Response};
use crate::policy::Policy;
use crate::secret::AccessToken;
use crate::token::{TokenEndpoint, TokenRequest, TokenResponse};

/// An authorization server. Cloning it is cheap and gives the same server.
///
/// Endpoints exist twice: the HTTP form takes a [`Request`], the typed form takes what is in it. The HTTP form reads the
/// request, calls the typed form and renders its result, and nothing else.
#[derive(Debug, Clone)]
pub struct AuthorizationServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: Arc<Host>,
    authorization: Arc<AuthorizationEndpoint>,
    token: TokenEndpoint,
}

impl AuthorizationServer {
    /// Starts to build a server. `issuer` is its identifier (RFC 8414 §2): an `https` URL without query and fragment, or
    /// an `http` URL on the loopback interface for development. It is used character for character.
    pub fn builder(issuer: impl Into<String>) -> NeedsStorage {
        NeedsStorage::new(issuer.into())
    }

    /// The authorization endpoint (RFC 6749 §3.1).
    pub async fn authorize(&self, request: &Request) -> Authorize {
        self.inner.authorization.respond(request).await
    }

    /// The typed form of [`authorize`](Self::authorize).
    pub async fn authorization_request(&self, request: &AuthorizationRequest<'_>) -> Authorize {
        self.inner.authorization.authorize(request).await
    }

    /// Takes back the [`form_token`](PendingAuthorization::form_token) that a consent form submitted, together with the
    /// same `session` that it was made for.
    ///
    /// # Errors
    /// The answer to send instead: the token is not of this server and session, was changed, or has expired; or the
    /// request is no longer in order, because the client was changed.
    pub async fn resume(&self, form_token: &str, session: impl AsRef<[u8]>) -> Result<PendingAuthorization, Response> {
        self.inner.authorization.resume(form_token, session.as_ref()).await
    }

    /// Reads a submitted consent form, see [`ConsentForm`] for its fields, and takes its form token back as
    /// [`resume`](Self::resume) does.
    ///
    /// # Errors
    /// The answer to send instead: the form is malformed, or as in [`resume`](Self::resume).
    pub async fn resume_form(
        &self,
        request: &Request,
        session: impl AsRef<[u8]>,
    ) -> Result<(PendingAuthorization, ConsentForm), Response> {
        self.inner.authorization.resume_form(request, session.as_ref()).await
    }

    /// The token endpoint (RFC 6749 §3.2).
    pub async fn token(&self, request: &Request) -> Response {
        self.inner.token.respond(request).await
    }

    /// The typed form of [`token`](Self::token).
    ///
    /// # Errors
    /// Why no token was issued.
    pub async fn token_request(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, Error> {
        self.inner.token.issue(request).await
    }

    /// Checks the access token of a request to the host's own API (RFC 6750).
    ///
    /// # Errors
    /// There is none, it is not live, or it could not be checked.
    pub async fn bearer(&self, request: &Request) -> Result<Bearer, BearerError> {
        bearer::check_request(&self.inner.host, request).await
    }

    /// The typed form of [`bearer`](Self::bearer).
    ///
    /// # Errors
    /// The token is not live, or it could not be checked.
    pub async fn bearer_token(&self, token: &AccessToken) -> Result<Bearer, BearerError> {
        bearer::check(&self.inner.host, token).await
    }

    /// The issuer identifier, as it was given.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.inner.host.issuer
    }

    /// The policy it was built with.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.inner.host.policy
    }
}
