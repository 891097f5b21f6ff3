//! Capabilities: optional parts of a server that bring endpoints, metadata and authorization parameters of their own.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use crate::build_error::BuildError;
use crate::client::Client;
use crate::error::Error;
use crate::http::{Request, Response};
use crate::policy::Policy;
use crate::scope::Scope;
use crate::server_context::ServerContext;

/// An optional part of a server. It has endpoints, adds members to the metadata document (RFC 8414 §2), and declares parameters of
/// authorization requests, which it reads and checks.
///
/// An application adds an endpoint of its own by [`Builder::capability`](crate::Builder::capability). The endpoint then is one of
/// [`AuthorizationServer::routes`](crate::AuthorizationServer::routes): adapters serve it, run its requests to completion, and set the
/// CORS headers that it asks for.
///
/// ```
/// use grantor::capability::{BuildView, Capability, Endpoint, ServerView};
/// use grantor::{AuthorizationServer, MemoryStorage, Request, Response};
/// use serde_json::{Map, Value, json};
///
/// /// Tells whose token a request has.
/// struct WhoAmI;
///
/// #[async_trait::async_trait]
/// impl Capability for WhoAmI {
///     fn name(&self) -> &'static str {
///         "who_am_i"
///     }
///
///     fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
///         vec![Endpoint::new("who_am_i", build.url("/who-am-i")).methods("GET").any_origin().max_body(0)]
///     }
///
///     fn metadata(&self, build: &BuildView<'_>) -> Map<String, Value> {
///         Map::from_iter([("who_am_i_endpoint".to_owned(), json!(build.url("/who-am-i")))])
///     }
///
///     async fn respond(&self, _endpoint: &str, request: &Request, server: ServerView<'_>) -> Response {
///         match server.bearer(request).await.and_then(|token| token.require("user:read")) {
///             Ok(access) => Response::json(200, json!({ "client_id": access.client_id().as_str() }).to_string()),
///             Err(error) => error.into(),
///         }
///     }
/// }
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), grantor::BuildError> {
/// let oauth = AuthorizationServer::builder("https://id.example.com")
///     .storage(MemoryStorage::new())
///     .scope("user:read", "Read your profile")
///     .capability(WhoAmI)
///     .build()
///     .await?;
/// assert!(oauth.route("/who-am-i").is_some_and(|route| route.any_origin()));
/// assert_eq!(oauth.handle(&Request::get("/who-am-i")).await.status(), 401);
/// assert_eq!(oauth.handle(&Request::new("PUT", "/who-am-i")).await.header("allow"), Some("GET"));
/// # Ok(())
/// # }
/// ```
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write asynchronous methods with the
/// signature that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `Capability` has endpoints and answers their requests")]
pub trait Capability: Send + Sync {
    /// Returns its name, which no other capability of the server may have. Errors of the builder show it.
    fn name(&self) -> &'static str;

    /// Checks its settings against those of the server and the other capabilities, whatever the order in which the builder was
    /// given them. Default: nothing can be wrong.
    ///
    /// # Errors
    /// The server can't be built: see [`BuildError::Capability`].
    fn check(&self, _build: &BuildView<'_>) -> Result<(), BuildError> {
        Ok(())
    }

    /// Returns its endpoints. Called once, after all capabilities were checked. An endpoint whose path or name is taken does not
    /// build.
    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint>;

    /// Returns the members that it adds to the metadata document. A member that the server, another capability or
    /// [`Builder::metadata`](crate::Builder::metadata) has, too, does not build. Default: none.
    fn metadata(&self, _build: &BuildView<'_>) -> Map<String, Value> {
        Map::new()
    }

    /// Returns the parameters of authorization requests that it declares, as [`Builder::authorization_parameter`] does for the
    /// application: they are carried through login and consent, and
    /// [`PendingAuthorization::parameter`](crate::PendingAuthorization::parameter) reads them. A name that the library knows, or that
    /// the application or another capability declares too, does not build. Default: none.
    ///
    /// The capability itself reads them in [`check_authorization`](Self::check_authorization).
    ///
    /// [`Builder::authorization_parameter`]: crate::Builder::authorization_parameter
    fn authorization_parameters(&self, _build: &BuildView<'_>) -> Vec<&'static str> {
        Vec::new()
    }

    /// Checks an authorization request that the library has found in order. It can read the parameters of the request and refuse it;
    /// the client is told of the error by redirect, as of any other. Default: nothing is refused.
    ///
    /// ```text
    /// async fn check_authorization(
    ///     &self,
    ///     request: &AuthorizationView<'_>,
    ///     server: ServerView<'_>,
    /// ) -> Result<(), Error>
    /// ```
    ///
    /// It is called each time that the request is read: when it comes, when the user comes back from the login, and when the consent
    /// form comes back. Capabilities are called in the order of their names, until one refuses.
    ///
    /// # Errors
    /// The request is refused, or it can't be checked.
    async fn check_authorization(
        &self,
        _request: &AuthorizationView<'_>,
        _server: ServerView<'_>,
    ) -> Result<(), Error> {
        Ok(())
    }

    /// Answers a request for the endpoint of this name. Its method is one of the endpoint's and its body is within the limit.
    /// [`Response::from_parts`] makes answers with other headers than those of a JSON document.
    ///
    /// ```text
    /// async fn respond(&self, endpoint: &str, request: &Request, server: ServerView<'_>) -> Response
    /// ```
    async fn respond(&self, endpoint: &str, request: &Request, server: ServerView<'_>) -> Response;
}

#[async_trait]
impl<T: Capability + ?Sized> Capability for Arc<T> {
    fn name(&self) -> &'static str {
        (**self).name()
    }

    fn check(&self, build: &BuildView<'_>) -> Result<(), BuildError> {
        (**self).check(build)
    }

    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
        (**self).endpoints(build)
    }

    fn metadata(&self, build: &BuildView<'_>) -> Map<String, Value> {
        (**self).metadata(build)
    }

    fn authorization_parameters(&self, build: &BuildView<'_>) -> Vec<&'static str> {
        (**self).authorization_parameters(build)
    }

    async fn check_authorization(&self, request: &AuthorizationView<'_>, server: ServerView<'_>) -> Result<(), Error> {
        (**self).check_authorization(request, server).await
    }

    async fn respond(&self, endpoint: &str, request: &Request, server: ServerView<'_>) -> Response {
        (**self).respond(endpoint, request, server).await
    }
}

/// An endpoint of a [`Capability`].
#[derive(Debug, Clone)]
#[must_use = "return it from Capability::endpoints"]
pub struct Endpoint {
    pub(crate) name: &'static str,
    pub(crate) url: String,
    pub(crate) methods: Option<&'static str>,
    pub(crate) any_origin: bool,
    pub(crate) max_body: Option<usize>,
}

impl Endpoint {
    /// An endpoint with its name, which [`Route::endpoint`](crate::Route::endpoint) returns, and the `https` URL where it is reached
    /// from outside; see [`BuildView::url`]. Requests with exactly the path of the URL belong to it, whatever their query.
    pub fn new(name: &'static str, url: impl Into<String>) -> Self {
        Self { name, url: url.into(), methods: None, any_origin: false, max_body: None }
    }

    /// Sets the methods, as an `Allow` header lists them: `"GET, POST"`. Another form does not build. Other methods get 405, `HEAD`
    /// too unless it is listed. Default: all.
    pub const fn methods(mut self, allow: &'static str) -> Self {
        self.methods = Some(allow);
        self
    }

    /// Lets scripts of any origin use the endpoint (CORS, RFC 9700 §2.6). They can read the body and every header of its responses,
    /// such as `etag` and `location`. No cookie may have a part in its responses. Default: off.
    pub const fn any_origin(mut self) -> Self {
        self.any_origin = true;
        self
    }

    /// Sets how many bytes a body may have; a larger one gets 413. Default: [`Policy::max_body`].
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self
    }
}

/// What a [`Capability`] sees of a server that is being built.
#[derive(Debug)]
pub struct BuildView<'a> {
    server: &'a ServerContext,
    capabilities: &'a [Arc<dyn Capability>],
    endpoint_prefix: &'a str,
    has_server_key: bool,
    has_introspection: bool,
}

impl<'a> BuildView<'a> {
    pub(crate) const fn new(
        server: &'a ServerContext,
        capabilities: &'a [Arc<dyn Capability>],
        endpoint_prefix: &'a str,
        has_server_key: bool,
        has_introspection: bool,
    ) -> Self {
        Self { server, capabilities, endpoint_prefix, has_server_key, has_introspection }
    }

    /// Returns the issuer identifier, as it was given.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.server.issuer
    }

    /// Returns the URL of an endpoint: the issuer, the [prefix](crate::Builder::endpoint_prefix) if there is one, and `path`, which
    /// begins with a slash.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        [self.issuer().trim_end_matches('/'), self.endpoint_prefix, path].concat()
    }

    /// Returns the policy.
    #[must_use]
    pub const fn policy(&self) -> &Policy {
        &self.server.policy
    }

    /// Returns all scopes that the server offers.
    #[must_use]
    pub const fn scopes(&self) -> &Scope {
        self.server.scopes.all()
    }

    /// Returns the identifier of the [protected resource](crate::Builder::protected_resource), if one was given.
    #[must_use]
    pub fn protected_resource(&self) -> Option<&str> {
        self.server.resource.as_ref().map(|resource| &*resource.identifier)
    }

    /// Returns whether the server has an introspection endpoint.
    #[must_use]
    pub const fn has_introspection(&self) -> bool {
        self.has_introspection
    }

    /// Returns whether the server has a capability of this name.
    #[must_use]
    pub fn has(&self, capability: &str) -> bool {
        self.capabilities.iter().any(|own| own.name() == capability)
    }

    /// Returns whether a [server key](crate::Builder::server_key) was given. Without one, what the server seals opens at no other
    /// node and not after a restart.
    #[must_use]
    pub const fn has_server_key(&self) -> bool {
        self.has_server_key
    }
}

impl fmt::Debug for dyn Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Capability({:?})", self.name())
    }
}

/// What a [`Capability`] sees of an authorization request: as much as the application, but for the user.
pub struct AuthorizationView<'a> {
    client: &'a Client,
    scope: &'a Scope,
    parameters: &'a [(&'static str, &'a str)],
}

impl<'a> AuthorizationView<'a> {
    pub(crate) const fn new(client: &'a Client, scope: &'a Scope, parameters: &'a [(&'static str, &'a str)]) -> Self {
        Self { client, scope, parameters }
    }

    /// Returns the client that asks.
    #[must_use]
    pub const fn client(&self) -> &'a Client {
        self.client
    }

    /// Returns all that it asks for.
    #[must_use]
    pub const fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// Returns a parameter as the client sent it, decoded: one that the library knows, or one that the application or a capability
    /// declared. `None` if it was not sent or was empty.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }
}

impl fmt::Debug for AuthorizationView<'_> {
    /// Without the values of parameters, which may tell who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.parameters.iter().map(|(name, _)| *name).collect();
        let mut view = f.debug_struct("AuthorizationView");
        view.field("client", self.client.id()).field("scope", self.scope).field("parameters", &names).finish()
    }
}

/// What a [`Capability`] sees of the server when it answers a request.
#[derive(Debug, Clone, Copy)]
pub struct ServerView<'a> {
    pub(crate) server: &'a Arc<ServerContext>,
}

impl<'a> ServerView<'a> {
    pub(crate) const fn new(server: &'a Arc<ServerContext>) -> Self {
        Self { server }
    }

    /// Returns the issuer identifier, as it was given.
    #[must_use]
    pub fn issuer(self) -> &'a str {
        &self.server.issuer
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(self) -> &'a Policy {
        &self.server.policy
    }

    /// Returns the time of the server's clock.
    #[must_use]
    pub fn now(self) -> OffsetDateTime {
        self.server.now()
    }
}
