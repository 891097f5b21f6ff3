//! [`Capability`]: an optional part of a server with its endpoints, metadata and authorization parameters.

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

/// An optional part of a server. It has endpoints, adds members to the metadata document (RFC 8414 §2), and declares
/// parameters of authorization requests, which it reads and checks.
///
/// Add one with [`Builder::capability`](crate::Builder::capability). Its endpoints are then among the
/// [`AuthorizationServer::routes`](crate::AuthorizationServer::routes): adapters serve them, run their requests to
/// completion, and set their CORS headers.
///
/// ```
/// use grantor::capability::{BuildView, Capability, Endpoint, ServerView};
/// use grantor::{AuthorizationServer, MemoryStorage, Request, Response};
/// use serde_json::{Map, Value, json};
///
/// /// Returns the client of the token in a request.
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
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write asynchronous
/// methods with the signature that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `Capability` has endpoints and answers their requests")]
pub trait Capability: Send + Sync {
    /// Returns the name, which must be unique among the capabilities of the server. Errors of the builder contain it.
    fn name(&self) -> &'static str;

    /// Checks its settings against those of the server and of the other capabilities. It is called after all
    /// capabilities were added. The default accepts everything.
    ///
    /// # Errors
    /// The server can't be built: see [`BuildError::Capability`].
    fn check(&self, _build: &BuildView<'_>) -> Result<(), BuildError> {
        Ok(())
    }

    /// Returns its endpoints. It is called once, after all capabilities were checked. A path or name that another
    /// endpoint has is a build error.
    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint>;

    /// Returns the members that it adds to the metadata document. A member that the server, another capability or
    /// [`Builder::metadata`](crate::Builder::metadata) also has is a build error. The default is none.
    fn metadata(&self, _build: &BuildView<'_>) -> Map<String, Value> {
        Map::new()
    }

    /// Returns the authorization parameters that it declares, like [`Builder::authorization_parameter`]. They are
    /// carried through login and consent. [`PendingAuthorization::parameter`](crate::PendingAuthorization::parameter)
    /// returns them to the host app, and the capability reads them in
    /// [`check_authorization`](Self::check_authorization). A name that is built in or declared twice is a build error.
    /// The default is none.
    ///
    /// [`Builder::authorization_parameter`]: crate::Builder::authorization_parameter
    fn authorization_parameters(&self, _build: &BuildView<'_>) -> Vec<&'static str> {
        Vec::new()
    }

    /// Checks an authorization request after all checks of the library. It can read the parameters of the request and
    /// refuse it. The client gets the error by redirect. The default accepts every request.
    ///
    /// ```text
    /// async fn check_authorization(
    ///     &self,
    ///     request: &AuthorizationView<'_>,
    ///     server: ServerView<'_>,
    /// ) -> Result<(), Error>
    /// ```
    ///
    /// It is called each time the request is read: when it arrives, when the user returns from the login, and when the
    /// consent form is submitted. Capabilities are called in the order of their names until one returns an error.
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

    /// Responds to a request for the endpoint with this name. The method and the size of the body are already checked.
    /// [`Response::from_parts`] makes a response with headers of your choice.
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
    /// Returns an endpoint with a name and the `https` URL that clients use, see [`BuildView::url`].
    /// [`Route::endpoint`](crate::Route::endpoint) returns the name. The endpoint gets requests with exactly the path
    /// of the URL and any query.
    pub fn new(name: &'static str, url: impl Into<String>) -> Self {
        Self { name, url: url.into(), methods: None, any_origin: false, max_body: None }
    }

    /// Sets the allowed methods in the form of an `Allow` header: `"GET, POST"`. Another form is a build error. Other
    /// methods get 405, including `HEAD` unless it is listed. Defaults to all methods.
    pub const fn methods(mut self, allow: &'static str) -> Self {
        self.methods = Some(allow);
        self
    }

    /// Lets scripts of any origin use the endpoint (CORS, RFC 9700 §2.6). They can read the body and every header of
    /// its responses, such as `etag` and `location`. The responses must not depend on cookies. Off by default.
    pub const fn any_origin(mut self) -> Self {
        self.any_origin = true;
        self
    }

    /// Sets the maximum size of a body in bytes. A larger body gets 413. Defaults to [`Policy::max_body`].
    pub const fn max_body(mut self, bytes: usize) -> Self {
        self.max_body = Some(bytes);
        self
    }
}

/// The view that a [`Capability`] has of a server while it is built.
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

    /// Returns the issuer identifier, unchanged.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.server.issuer
    }

    /// Returns the URL of an endpoint: the issuer, the [prefix](crate::Builder::endpoint_prefix) if there is one, and
    /// `path`, which begins with a slash.
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

    /// Returns the identifier of the [default resource](crate::Builder::protected_resource), if there is one.
    #[must_use]
    pub fn protected_resource(&self) -> Option<&str> {
        self.server.resources.default().map(|resource| &*resource.identifier)
    }

    /// Returns the identifiers of all resources.
    pub fn resources(&self) -> impl Iterator<Item = &str> {
        self.server.resources.all().iter().map(|resource| &*resource.identifier)
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

    /// Returns whether the server has a [server key](crate::Builder::server_key). Without one, other nodes and the
    /// server itself after a restart can't open sealed content such as form tokens.
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

/// The view that a [`Capability`] has of an authorization request. It does not include the user.
pub struct AuthorizationView<'a> {
    client: &'a Client,
    scope: &'a Scope,
    parameters: &'a [(&'static str, &'a str)],
}

impl<'a> AuthorizationView<'a> {
    pub(crate) const fn new(client: &'a Client, scope: &'a Scope, parameters: &'a [(&'static str, &'a str)]) -> Self {
        Self { client, scope, parameters }
    }

    /// Returns the client of the request.
    #[must_use]
    pub const fn client(&self) -> &'a Client {
        self.client
    }

    /// Returns the requested scope.
    #[must_use]
    pub const fn scope(&self) -> &'a Scope {
        self.scope
    }

    /// Returns a decoded parameter of the request. It knows the parameters of the library and those that the host app
    /// or a capability declared. Returns `None` if the parameter is missing or empty.
    #[must_use]
    pub fn parameter(&self, name: &str) -> Option<&'a str> {
        self.parameters.iter().find(|(own, _)| *own == name).map(|(_, value)| *value)
    }
}

impl fmt::Debug for AuthorizationView<'_> {
    /// Leaves out the values of parameters, which may identify the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.parameters.iter().map(|(name, _)| *name).collect();
        let mut view = f.debug_struct("AuthorizationView");
        view.field("client", self.client.id()).field("scope", self.scope).field("parameters", &names).finish()
    }
}

/// The view that a [`Capability`] has of the server when it responds to a request.
#[derive(Debug, Clone, Copy)]
pub struct ServerView<'a> {
    pub(crate) server: &'a Arc<ServerContext>,
}

impl<'a> ServerView<'a> {
    pub(crate) const fn new(server: &'a Arc<ServerContext>) -> Self {
        Self { server }
    }

    /// Returns the issuer identifier, unchanged.
    #[must_use]
    pub fn issuer(self) -> &'a str {
        &self.server.issuer
    }

    /// Returns the policy.
    #[must_use]
    pub fn policy(self) -> &'a Policy {
        &self.server.policy
    }

    /// Returns the time of the clock of the server.
    #[must_use]
    pub fn now(self) -> OffsetDateTime {
        self.server.now()
    }
}
