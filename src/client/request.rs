//! [`ClientRequest`]: a request with client authentication, read from HTTP or built by an in-process caller.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;

use super::presented::PresentedCredentials;
use crate::error::Refusal;
use crate::http::{Request, RequestContext};
use crate::params::Params;
use crate::secret::ClientSecret;

/// A request with client authentication, before any check. The type argument is its endpoint: see
/// [`TokenRequest`](crate::TokenRequest), [`RevocationRequest`](crate::RevocationRequest) and
/// [`IntrospectionRequest`](crate::IntrospectionRequest).
#[must_use = "a request does nothing until it is given to a server"]
pub struct ClientRequest<'a, E> {
    /// The credentials of the `Authorization` header. An error is reported when the client is authenticated.
    pub(crate) credentials: Result<Option<PresentedCredentials<'a>>, Refusal>,
    pub(crate) params: Params<'a>,
    /// The first parameter in the query of the URL.
    pub(crate) from_query: Option<&'static str>,
    pub(crate) context: RequestContext<'a>,
    endpoint: PhantomData<fn() -> E>,
}

/// The type arguments of [`ClientRequest`]. They have no values.
pub mod endpoint {
    /// The token endpoint (RFC 6749 §3.2).
    #[derive(Debug)]
    #[expect(clippy::exhaustive_enums, reason = "uninhabited: nothing can be added")]
    pub enum Token {}

    /// The revocation endpoint (RFC 7009).
    #[derive(Debug)]
    #[expect(clippy::exhaustive_enums, reason = "uninhabited: nothing can be added")]
    pub enum Revocation {}

    /// The introspection endpoint (RFC 7662).
    #[derive(Debug)]
    #[expect(clippy::exhaustive_enums, reason = "uninhabited: nothing can be added")]
    pub enum Introspection {}
}

impl<'a, E> ClientRequest<'a, E> {
    pub(crate) fn empty() -> Self {
        Self {
            credentials: Ok(None),
            params: Params::with_room(),
            from_query: None,
            context: RequestContext::default(),
            endpoint: PhantomData,
        }
    }

    /// Sets the identifier of a public client.
    pub fn client_id(self, id: &'a str) -> Self {
        self.parameter("client_id", id)
    }

    /// Adds the identifier and the secret, as a Basic header would.
    pub fn client_secret_basic(mut self, id: impl Into<Cow<'a, str>>, secret: &'a ClientSecret) -> Self {
        self.credentials = Ok(Some(PresentedCredentials::of(id.into(), secret)));
        self
    }

    /// Adds the identifier and the secret, as parameters of the body would.
    pub fn client_secret_post(self, id: &'a str, secret: &'a ClientSecret) -> Self {
        self.parameter("client_id", id).parameter("client_secret", secret.expose())
    }

    /// Adds an assertion that the client has signed (RFC 7523 §2.2). It works once. Without a
    /// [`client_id`](Self::client_id), its claim `sub` names the client.
    #[cfg(feature = "jwt")]
    pub fn client_assertion(self, assertion: &'a str) -> Self {
        self.parameter("client_assertion_type", super::assertion::ASSERTION_TYPE)
            .parameter("client_assertion", assertion)
    }

    /// Adds any other parameter.
    pub fn parameter(mut self, name: &'a str, value: impl Into<Cow<'a, str>>) -> Self {
        self.params.push(name, value);
        self
    }

    /// Sets the context of the HTTP request, including its peer. Defaults to an empty context.
    pub const fn context(mut self, context: RequestContext<'a>) -> Self {
        self.context = context;
        self
    }

    /// Sets only the peer, see [`Request::with_peer`].
    pub const fn peer(mut self, peer: IpAddr) -> Self {
        self.context = self.context.with_peer(peer);
        self
    }

    /// Reads an HTTP request, which must be a `POST` of a form.
    pub(crate) fn read(
        request: &'a Request,
        max_body: usize,
        known: &[&'static str],
        query_allowed: bool,
    ) -> Result<Self, Refusal> {
        if request.method() != "POST" {
            return Err(Refusal::MethodNotAllowed("POST"));
        }
        request.check_body(max_body)?;
        if !query_allowed {
            request.check_query(known)?;
        }
        let mut params = Params::decode(request.query().as_bytes());
        let from_query = params.first_known(known);
        if from_query.is_none() {
            // The query has no parameter of the request, so it is part of the endpoint's URL.
            params = Params::default();
        }
        // If the parameters are in the query, a body is not required.
        if request.is_form() {
            params.decode_more(request.body());
        } else if from_query.is_none() || !request.body().is_empty() {
            return Err(Refusal::NotAForm);
        }
        Ok(Self {
            credentials: PresentedCredentials::read(request),
            params,
            from_query,
            context: request.context(),
            endpoint: PhantomData,
        })
    }
}

impl<E> fmt::Debug for ClientRequest<'_, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientRequest")
            .field("credentials", &self.credentials)
            .field("params", &self.params)
            .field("from_query", &self.from_query)
            .field("context", &self.context)
            .finish()
    }
}
