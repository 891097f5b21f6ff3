//! The dispatcher: which endpoint a path belongs to, and cross-origin resource sharing (CORS), which scripts need at some of them.

use super::AuthorizationServer;
use crate::build_error::BuildError;
use crate::http::{Request, Response};
use crate::metadata::{Document, EndpointUrls, path_of};

/// An endpoint of a server and its path. [`AuthorizationServer::routes`] lists them.
#[derive(Debug, Clone)]
pub struct Route {
    endpoint: &'static str,
    path: Box<str>,
    max_body: usize,
    any_origin: bool,
    service: Service,
}

/// Which code answers the requests of a [`Route`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServedBy {
    /// [`AuthorizationServer::handle`] answers them.
    Library,
    /// The application has a page there: the authorization endpoint, where it calls [`AuthorizationServer::authorize`].
    Host,
}

/// What the library does for a request of a route.
#[derive(Debug, Clone, Copy)]
enum Service {
    Authorize,
    Token,
    Revoke,
    Introspect,
    Metadata,
    ResourceMetadata,
}

impl Route {
    /// Returns the name of the endpoint: `authorize`, `token`, `revoke`, `introspect`, `metadata` or `resource_metadata`. The method
    /// of [`AuthorizationServer`] that serves it has the same name, as has the span of its requests.
    #[must_use]
    pub const fn endpoint(&self) -> &'static str {
        self.endpoint
    }

    /// Returns the path, as a request line has it: percent-encoded and without query.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns which code answers its requests.
    #[must_use]
    pub const fn served_by(&self) -> ServedBy {
        match self.service {
            Service::Authorize => ServedBy::Host,
            _ => ServedBy::Library,
        }
    }

    /// Returns whether scripts of any origin may use it (CORS, RFC 9700 §2.6). [`AuthorizationServer::handle`] answers their
    /// preflights and sets the headers.
    #[must_use]
    pub const fn any_origin(&self) -> bool {
        self.any_origin
    }

    /// Returns how many bytes of a body to read at most. If a body is larger, stop reading and call
    /// [`Request::with_body_too_large`]. Endpoints that read no body have 0 here.
    #[must_use]
    pub const fn max_body(&self) -> usize {
        self.max_body
    }
}

/// Lists the endpoints of a server. No cookie has a part in those that scripts of any origin may use.
///
/// # Errors
/// Two of them have the same path.
pub(super) fn routes(
    urls: &EndpointUrls,
    metadata: &Document,
    resource: Option<&Document>,
    max_body: usize,
) -> Result<Vec<Route>, BuildError> {
    let mut routes = Routes { all: Vec::new() };
    routes.add("authorize", path_of(&urls.authorization), max_body, false, Service::Authorize)?;
    routes.add("token", path_of(&urls.token), max_body, true, Service::Token)?;
    if let Some(url) = &urls.revocation {
        routes.add("revoke", path_of(url), max_body, true, Service::Revoke)?;
    }
    if let Some(url) = &urls.introspection {
        // Its callers are servers.
        routes.add("introspect", path_of(url), max_body, false, Service::Introspect)?;
    }
    routes.add("metadata", metadata.path().to_owned(), 0, true, Service::Metadata)?;
    if let Some(document) = resource {
        routes.add("resource_metadata", document.path().to_owned(), 0, true, Service::ResourceMetadata)?;
    }
    Ok(routes.all)
}

struct Routes {
    all: Vec<Route>,
}

impl Routes {
    fn add(
        &mut self,
        endpoint: &'static str,
        path: String,
        max_body: usize,
        any_origin: bool,
        service: Service,
    ) -> Result<(), BuildError> {
        if let Some(other) = self.all.iter().find(|other| *other.path == path) {
            return Err(BuildError::RepeatedPath { path, endpoints: [other.endpoint, endpoint] });
        }
        self.all.push(Route { endpoint, path: path.into(), max_body, any_origin, service });
        Ok(())
    }
}

impl AuthorizationServer {
    /// Lists the endpoints of this server, each with its path. An adapter sends those that the library serves to
    /// [`handle`](Self::handle).
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.inner.routes
    }

    /// Finds the endpoint at a path, before a body is read. The path is compared as it came, percent-encoded.
    #[must_use]
    pub fn route(&self, path: &str) -> Option<&Route> {
        self.inner.routes.iter().find(|route| *route.path == *path)
    }

    /// Answers a request for any endpoint that the library serves, with the CORS headers of that endpoint, and preflights too.
    ///
    /// Every other path gets 404, the authorization endpoint as well: its page belongs to the application. To tell unknown paths
    /// from it, ask [`route`](Self::route) first.
    ///
    /// Run the future to completion even if the connection closes: see
    /// [the manual](crate::manual::with_your_stack#when-the-caller-hangs-up).
    pub async fn handle(&self, request: &Request) -> Response {
        let Some(route) = self.route(request.path()) else { return Response::new(404) };
        let response = match route.service {
            _ if route.any_origin && is_preflight(request) => preflight(),
            Service::Authorize => Response::new(404),
            Service::Token => self.token(request).await,
            Service::Revoke => self.revoke(request).await,
            Service::Introspect => self.introspect(request).await,
            Service::Metadata => self.metadata(request),
            Service::ResourceMetadata => self.resource_metadata(request),
        };
        if route.any_origin { for_any_origin(response) } else { response }
    }
}

/// Lets scripts of any origin read a response. The headers do not depend on the origin, so that a cached copy serves every script.
fn for_any_origin(response: Response) -> Response {
    response
        .with_header("access-control-allow-origin", "*")
        .with_header("access-control-expose-headers", "www-authenticate, retry-after")
}

/// Recognizes what a browser asks before it sends a request that a plain form could not have sent.
fn is_preflight(request: &Request) -> bool {
    let has = |name| request.header_values(name).next().is_some();
    request.method() == "OPTIONS" && has("origin") && has("access-control-request-method")
}

fn preflight() -> Response {
    Response::new(204)
        .with_header("access-control-allow-methods", "GET, POST")
        .with_header("access-control-allow-headers", "authorization, content-type")
        .with_header("access-control-max-age", "3600")
}
