//! The dispatcher: which endpoint a path belongs to, and cross-origin resource sharing (CORS), which scripts need at some of them.

use std::fmt;
use std::sync::Arc;

use super::AuthorizationServer;
use crate::build_error::BuildError;
use crate::capability::{Capability, Endpoint, ServerView};
use crate::cors::{for_any_origin, is_preflight, preflight};
use crate::error::Refusal;
use crate::http::{Request, Response};
use crate::metadata::{Document, EndpointUrls, path_of};
use crate::span::in_span;
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

/// The side that answers the requests of a [`Route`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServedBy {
    /// [`AuthorizationServer::handle`] answers them.
    Library,
    /// The application has a page there: the authorization endpoint if the server has one, where it calls [`AuthorizationServer::authorize`].
    Host,
}

/// What the library does for a request of a route.
#[derive(Clone)]
enum Service {
    Authorize,
    Token,
    Revoke,
    Introspect,
    Metadata,
    ResourceMetadata,
    /// A capability answers, if the method is one that it serves.
    Capability(Arc<dyn Capability>, Option<&'static str>),
}

impl Route {
    /// Returns the name of the endpoint: `authorize`, `token`, `revoke`, `introspect`, `metadata` or `resource_metadata`, as the method
    /// of [`AuthorizationServer`] that serves it is called, or the name that a [`Capability`] gave it. The span of its requests has
    /// the same name.
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
    /// [`Request::with_body_too_large`]; if it breaks off, [`Request::with_broken_body`]; if it is late, [`Request::with_late_body`]. Endpoints that read no body have 0 here.
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

/// Lists the endpoints of a server. No cookie has a part in those of its own that scripts of any origin may use.
///
/// # Errors
/// Two of them have the same path, or one of a capability has the name of another one.
pub(super) fn routes(
    urls: &EndpointUrls,
    metadata: &Document,
    resource: Option<&Document>,
    of_capabilities: Vec<(Endpoint, Arc<dyn Capability>)>,
    max_body: usize,
) -> Result<Vec<Route>, BuildError> {
    let route = |endpoint, path: String, any_origin, service| {
        // A document is read by GET, and has no use for a body.
        let is_document = matches!(service, Service::Metadata | Service::ResourceMetadata);
        let max_body = if is_document { 0 } else { max_body };
        Route { endpoint, path: path.into(), max_body, any_origin, service }
    };
    let mut all = Vec::new();
    all.extend(urls.authorization.as_ref().map(|url| route("authorize", path_of(url), false, Service::Authorize)));
    all.push(route("token", path_of(&urls.token), true, Service::Token));
    all.extend(urls.revocation.as_ref().map(|url| route("revoke", path_of(url), true, Service::Revoke)));
    // The callers of introspection are servers.
    all.extend(urls.introspection.as_ref().map(|url| route("introspect", path_of(url), false, Service::Introspect)));
    all.push(route("metadata", metadata.path().to_owned(), true, Service::Metadata));
    all.extend(
        resource
            .map(|document| route("resource_metadata", document.path().to_owned(), true, Service::ResourceMetadata)),
    );
    for (own, capability) in of_capabilities {
        if all.iter().any(|route| route.endpoint == own.name) {
            let problem = format!("its endpoint {} has the name of another endpoint: give it one of its own", own.name);
            return Err(BuildError::capability(capability.name(), problem));
        }
        let service = Service::Capability(capability, own.methods);
        let route = route(own.name, path_of(&own.url), own.any_origin, service);
        all.push(Route { max_body: own.max_body.unwrap_or(max_body), ..route });
    }
    check_paths(&all)?;
    Ok(all)
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
        let response = match &route.service {
            _ if route.any_origin && is_preflight(request) => preflight_of(&route.service),
            Service::Authorize => Response::new(404),
            Service::Token => self.token(request).await,
            Service::Revoke => self.revoke(request).await,
            Service::Introspect => self.introspect(request).await,
            Service::Metadata => self.metadata(request),
            Service::ResourceMetadata => self.resource_metadata(request),
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

    /// Answers a request for a page or an API of the application whose body broke off or came late: code that reads the body itself
    /// would take it for an empty one.
    #[cfg(any(feature = "actix-web", feature = "axum"))]
    pub(crate) fn refuse_broken_body(&self, request: Request) -> Result<Request, Response> {
        match request.body_refusal() {
            Some(refusal @ (Refusal::BrokenBody | Refusal::LateBody)) => Err(refuse(&(*refusal).into(), self.issuer())),
            _ => Ok(request),
        }
    }
}

/// What is checked before a capability sees a request.
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
