//! The dispatcher: finds the endpoint of a path and handles cross-origin resource sharing (CORS).

use std::fmt;
use std::sync::Arc;

use url::Url;

use super::{AuthorizationServer, OwnResource};
use crate::build_error::BuildError;
use crate::capability::{Capability, Endpoint, ServerView};
use crate::cors::{for_any_origin, is_preflight, preflight};
use crate::error::Refusal;
use crate::http::{Request, Response};
use crate::metadata::{Document, EndpointUrls, path_of};
use crate::span::{in_span, within_span};
use crate::token::refuse;

/// An endpoint of a server and its path. [`AuthorizationServer::routes`] lists them.
#[derive(Clone)]
pub struct Route {
    endpoint: &'static str,
    path: Box<str>,
    max_body: usize,
    any_origin: bool,
    service: Service,
}

/// The party that handles the requests of a [`Route`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServedBy {
    /// The library: pass the requests to [`AuthorizationServer::handle`].
    Library,
    /// The host app, which has a page there. Only the authorization endpoint is such a route: its page calls
    /// [`AuthorizationServer::authorize`].
    Host,
}

/// The handler of a route.
#[derive(Clone)]
enum Service {
    Authorize,
    Token,
    Revoke,
    Introspect,
    Metadata,
    ResourceMetadata(Arc<OwnResource>),
    /// A capability, with the methods that it serves; `None` for all methods.
    Capability(Arc<dyn Capability>, Option<&'static str>),
}

impl Route {
    /// Returns the name of the endpoint. This is `authorize`, `token`, `revoke`, `introspect`, `metadata` or
    /// `resource_metadata`, like the method of [`AuthorizationServer`] that serves it, or a name that a [`Capability`]
    /// chose. The tracing span of its requests has the same name.
    #[must_use]
    pub const fn endpoint(&self) -> &'static str {
        self.endpoint
    }

    /// Returns the path, percent-encoded and without query, as in a request line.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns whether the library or the host app handles its requests.
    #[must_use]
    pub const fn served_by(&self) -> ServedBy {
        match self.service {
            Service::Authorize => ServedBy::Host,
            _ => ServedBy::Library,
        }
    }

    /// Returns whether scripts of any origin may use the endpoint (CORS, RFC 9700 §2.6).
    /// [`AuthorizationServer::handle`] answers preflight requests and sets the CORS headers.
    #[must_use]
    pub const fn any_origin(&self) -> bool {
        self.any_origin
    }

    /// Returns the maximum length of a request body in bytes, which is 0 for endpoints that read no body.
    ///
    /// If a body is larger, stop reading and call [`Request::with_body_too_large`]. If it is incomplete, call
    /// [`Request::with_broken_body`]; if it arrives too late, call [`Request::with_late_body`].
    #[must_use]
    pub const fn max_body(&self) -> usize {
        self.max_body
    }
}

impl fmt::Debug for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Route")
            .field("endpoint", &self.endpoint)
            .field("path", &self.path)
            .field("served_by", &self.served_by())
            .field("any_origin", &self.any_origin)
            .field("max_body", &self.max_body)
            .finish_non_exhaustive()
    }
}

/// Lists the endpoints of a server. The library's endpoints with `any_origin` use no cookies, so CORS is safe for them.
///
/// # Errors
/// Two endpoints have the same path, or an endpoint of a capability has the name of another endpoint.
pub(super) fn routes(
    urls: &EndpointUrls,
    metadata: &Document,
    resources: &[Arc<OwnResource>],
    issuer: &str,
    of_capabilities: Vec<(Endpoint, Arc<dyn Capability>)>,
    max_body: usize,
) -> Result<Vec<Route>, BuildError> {
    let route = |endpoint, path: String, any_origin, service| {
        // Documents are read by GET, which has no body.
        let is_document = matches!(service, Service::Metadata | Service::ResourceMetadata(_));
        let max_body = if is_document { 0 } else { max_body };
        Route { endpoint, path: path.into(), max_body, any_origin, service }
    };
    let mut all = Vec::new();
    all.extend(urls.authorization.as_ref().map(|url| route("authorize", path_of(url), false, Service::Authorize)));
    all.push(route("token", path_of(&urls.token), true, Service::Token));
    all.extend(urls.revocation.as_ref().map(|url| route("revoke", path_of(url), true, Service::Revoke)));
    // No CORS: the callers of introspection are servers, not scripts.
    all.extend(urls.introspection.as_ref().map(|url| route("introspect", path_of(url), false, Service::Introspect)));
    all.push(route("metadata", metadata.path().to_owned(), true, Service::Metadata));
    all.extend(resources.iter().filter(|own| is_served(own, resources, issuer)).map(|own| {
        route("resource_metadata", own.document.path().to_owned(), true, Service::ResourceMetadata(Arc::clone(own)))
    }));
    for (own, capability) in of_capabilities {
        if all.iter().any(|route| route.endpoint == own.name) {
            let problem = format!("its endpoint {} has the name of another endpoint: choose a unique name", own.name);
            return Err(BuildError::capability(capability.name(), problem));
        }
        let service = Service::Capability(capability, own.methods);
        let route = route(own.name, path_of(&own.url), own.any_origin, service);
        all.push(Route { max_body: own.max_body.unwrap_or(max_body), ..route });
    }
    check_paths(&all)?;
    Ok(all)
}

/// Returns whether the document of a resource is the only one with its path. Of several, which are on different hosts,
/// only the one on the host of the issuer is served, because a route has no host.
fn is_served(own: &OwnResource, all: &[Arc<OwnResource>], issuer: &str) -> bool {
    let others = all.iter().filter(|other| other.document.path() == own.document.path()).count();
    let origin = |url: &str| Url::parse(url).map(|url| url.origin()).ok();
    others == 1 || origin(&own.declared.identifier) == origin(issuer)
}

fn check_paths(routes: &[Route]) -> Result<(), BuildError> {
    for (at, route) in routes.iter().enumerate() {
        if let Some(other) = routes[..at].iter().find(|other| other.path == route.path) {
            let endpoints = [other.endpoint, route.endpoint];
            return Err(BuildError::RepeatedPath { path: route.path.to_string(), endpoints });
        }
    }
    Ok(())
}

impl AuthorizationServer {
    /// Returns the endpoints of this server with their paths. A web framework adapter passes the requests of those with
    /// [`ServedBy::Library`] to [`handle`](Self::handle).
    #[must_use]
    pub fn routes(&self) -> &[Route] {
        &self.inner.routes
    }

    /// Returns the endpoint at a path. Call it before reading the body, to learn its maximum length. The path is
    /// percent-encoded, as received.
    #[must_use]
    pub fn route(&self, path: &str) -> Option<&Route> {
        self.inner.routes.iter().find(|route| *route.path == *path)
    }

    /// Handles a request for any endpoint that the library serves. It sets the CORS headers of the endpoint and answers
    /// preflight requests.
    ///
    /// All other paths get 404. This includes the authorization endpoint, because its page belongs to the host app. To
    /// distinguish it from an unknown path, call [`route`](Self::route) first.
    ///
    /// Run the future to completion even if the connection closes: see
    /// [the manual](crate::manual::with_your_stack#when-the-caller-hangs-up).
    pub async fn handle(&self, request: &Request) -> Response {
        let Some(route) = self.route(request.path()) else { return Response::new(404) };
        let response = match &route.service {
            _ if route.any_origin && is_preflight(request) => preflight_of(&route.service),
            Service::Authorize => Response::new(404),
            Service::Token => self.token(request).await,
            Service::Revoke => self.revoke(request).await,
            Service::Introspect => self.introspect(request).await,
            Service::Metadata => self.metadata(request),
            Service::ResourceMetadata(own) => {
                within_span("resource_metadata", || own.document.respond(&self.inner.server, request))
            }
            Service::Capability(capability, methods) => match check(route, *methods, request, self.policy().max_body) {
                Ok(()) => {
                    let answer = (**capability).respond(route.endpoint, request, ServerView::new(&self.inner.server));
                    in_span(route.endpoint, answer).await
                }
                Err(refusal) => refuse(&refusal.into(), self.issuer()),
            },
        };
        if route.any_origin { for_any_origin(response) } else { response }
    }

    /// Refuses a request to a page or an API of the host app whose body is incomplete or came too late. Code that reads
    /// the body itself would see an empty body.
    #[cfg(any(feature = "actix-web", feature = "axum"))]
    pub(crate) fn refuse_broken_body(&self, request: Request) -> Result<Request, Response> {
        match request.body_refusal() {
            Some(refusal @ (Refusal::BrokenBody | Refusal::LateBody)) => Err(refuse(&(*refusal).into(), self.issuer())),
            _ => Ok(request),
        }
    }
}

/// Checks the method and the body of a request for a capability.
fn check(route: &Route, methods: Option<&'static str>, request: &Request, max_query: usize) -> Result<(), Refusal> {
    if let Some(methods) = methods.filter(|methods| !methods.split(", ").any(|method| method == request.method())) {
        return Err(Refusal::MethodNotAllowed(methods));
    }
    request.check_body(max_query.max(route.max_body))?;
    if request.body().len() > route.max_body { Err(Refusal::BodyTooLarge) } else { Ok(()) }
}

fn preflight_of(service: &Service) -> Response {
    let methods = match service {
        Service::Capability(_, Some(methods)) => methods,
        Service::Capability(_, None) => "*",
        _ => "GET, POST",
    };
    preflight(methods)
}
