//! Adapter for axum (feature `axum`).
//!
//! * [`routes`] returns the endpoints that the library serves, to merge into a router.
//! * [`Request`] is an extractor for your authorization page.
//! * [`require`] is a layer for your API: its routes require scopes, and their handlers extract an
//!   [`Access`](crate::Access).
//! * [`Bearer`] is an extractor for an API that checks scopes in its handlers: call [`require`](Bearer::require) on it.
//!   It reads only the header. For [`Policy::bearer_in_body`](crate::Policy::bearer_in_body), extract a [`Request`] and
//!   pass it to [`AuthorizationServer::bearer`].
//! * [`Response`], [`AuthorizationResponse`] and the errors [`BearerError`] and [`AuthorizationError`] can be returned
//!   from handlers.
//!
//! The extractors take the server from the state of the router: the state is an [`AuthorizationServer`] or implements
//! [`FromRef`] for it. The library knows the address of the peer if you serve the router with connection information
//! (`into_make_service_with_connect_info::<SocketAddr>()`). Behind a proxy, that is the address of the proxy. If you
//! trust the proxy, build the request yourself and set the address that the proxy reports.
//!
//! Bodies are read up to [`Policy::max_body`](crate::Policy::max_body) and for at most
//! [`Policy::body_deadline`](crate::Policy::body_deadline). The deadline needs the timer of the Tokio runtime, which
//! `#[tokio::main]` enables. Without a timer, a request whose body does not arrive at once panics. `axum::serve` has no
//! deadline for headers: see [the manual](crate::manual::operators#time-and-concurrency).

mod require;

use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, HttpBody, to_bytes};
use axum::extract::{ConnectInfo, FromRef, FromRequest, FromRequestParts, OriginalUri};
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, Method, Response as HttpResponse, Uri};
use axum::response::IntoResponse;
use axum::routing::any;
use http_body_util::LengthLimitError;
use time::Duration;

pub use self::require::{Require, RequireService, require};
use crate::authorize::{AuthorizationError, AuthorizationResponse};
use crate::bearer::{Bearer, BearerError, reads_header};
use crate::completion::{Running, poll_once, within};
use crate::http::{Request, Response};
use crate::http_types;
use crate::server::{AuthorizationServer, ServedBy};
use crate::span::in_this_span;

/// Returns a router with the routes that the library serves: see [`AuthorizationServer::routes`].
///
/// Their paths are those of [`AuthorizationServer::endpoints`], by default under the issuer. They accept every method,
/// because the library responds to unsupported methods, too. [`AuthorizationServer::handle`] answers each request and
/// sets the CORS headers. Every request is [run to completion](run_to_completion).
///
/// Merge the router and do not nest it, because its paths are complete and the path of the metadata has no prefix. You
/// may nest your own pages: the target of an extracted [`Request`] is the one that the browser requested.
///
/// # Panics
/// Merging panics if a segment of a path begins with `:` or `*`, unless the other router has
/// [`without_v07_checks`](Router::without_v07_checks).
pub fn routes<S: Clone + Send + Sync + 'static>(server: &AuthorizationServer) -> Router<S> {
    let own = server.routes().iter().filter(|route| route.served_by() == ServedBy::Library);
    // The path of an issuer may have any character that is allowed in a URL.
    own.fold(Router::new().without_v07_checks(), |router, route| {
        let (server, max_body) = (server.clone(), route.max_body());
        router.route(route.path(), any(move |request| handle(server, request, max_body)))
    })
}

async fn handle(server: AuthorizationServer, request: axum::extract::Request, max_body: usize) -> Response {
    let request = read(request, max_body, server.policy().body_deadline).await;
    run_to_completion(async move { server.handle(&request).await }).await
}

/// Runs a future to completion even if its handler is dropped, for example because the browser closed the connection.
///
/// Every step of the library is atomic, so nothing breaks without this function, but a decision of a user may be lost.
/// Use it around [`approve`](crate::Consent::approve).
///
/// The future is polled once in place. If it is pending, it is moved to a separate task. The task keeps the present
/// tracing span, but does not see the task-locals of the caller.
///
/// The end of the runtime cancels the task. `axum::serve` waits for open connections only, so wait with
/// [`wait_for_completion`] before your `main` returns.
///
/// # Panics
/// The future panics, or the runtime is shutting down.
pub fn run_to_completion<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    let future = Box::pin(in_this_span(future));
    async {
        match poll_once(future).await {
            Ok(output) => output,
            Err(rest) => {
                let running = Running::begin();
                let rest = async move {
                    let _running = running;
                    rest.await
                };
                tokio::spawn(rest).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            }
        }
    }
}

/// Waits until no future of [`run_to_completion`] is running in this process, including the requests of [`routes`].
/// Call it after the server has stopped, with a limit, because a future can wait for a database that hangs:
/// ```
/// # async fn stop() {
/// use std::time::Duration;
///
/// let _ = tokio::time::timeout(Duration::from_secs(10), grantor::axum::wait_for_completion()).await;
/// # }
/// ```
pub async fn wait_for_completion() {
    Running::none().await;
}

impl<S> FromRequest<S> for Request
where
    AuthorizationServer: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = Response;

    async fn from_request(request: axum::extract::Request, state: &S) -> Result<Self, Response> {
        let server = AuthorizationServer::from_ref(state);
        let policy = server.policy();
        server.refuse_broken_body(read(request, policy.max_body, policy.body_deadline).await)
    }
}

/// Reads the request with its body, unless the announced length is too large. The endpoint refuses a body that could
/// not be read.
async fn read(request: axum::extract::Request, max_body: usize, deadline: Duration) -> Request {
    let (parts, body) = request.into_parts();
    let own = from_head(&parts.method, &parts.uri, &parts.headers, &parts.extensions, |_| true);
    // The lower bound is the announced length, if there is one.
    if body.size_hint().lower() > max_body as u64 {
        return own.with_body_too_large();
    }
    match within(deadline, to_bytes(body, max_body)).await {
        Some(Ok(body)) => own.with_body(body),
        Some(Err(error)) if is_too_large(&error) => own.with_body_too_large(),
        Some(Err(_)) => own.with_broken_body(),
        None => own.with_late_body(),
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(<dyn std::error::Error>::is::<LengthLimitError>)
}

/// Returns a request without its body, with the headers that are `wanted`.
fn from_head(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    extensions: &Extensions,
    wanted: impl Fn(&str) -> bool,
) -> Request {
    // In a nested router, `uri` lacks the prefix.
    let uri = extensions.get::<OriginalUri>().map_or(uri, |OriginalUri(uri)| uri);
    let request = http_types::from_head(method, uri, headers, wanted);
    match extensions.get::<ConnectInfo<SocketAddr>>() {
        Some(ConnectInfo(peer)) => request.with_peer(peer.ip()),
        None => request,
    }
}

impl<S> FromRequestParts<S> for Bearer
where
    AuthorizationServer: FromRef<S>,
    S: Send + Sync,
{
    type Rejection = BearerError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, BearerError> {
        let own = from_head(&parts.method, &parts.uri, &parts.headers, &parts.extensions, reads_header);
        AuthorizationServer::from_ref(state).bearer(&own).await
    }
}

impl IntoResponse for Response {
    fn into_response(self) -> axum::response::Response {
        HttpResponse::<Vec<u8>>::from(self).map(Body::from)
    }
}

impl IntoResponse for AuthorizationResponse {
    fn into_response(self) -> axum::response::Response {
        Response::from(self).into_response()
    }
}

impl IntoResponse for AuthorizationError {
    fn into_response(self) -> axum::response::Response {
        Response::from(self).into_response()
    }
}

impl IntoResponse for BearerError {
    fn into_response(self) -> axum::response::Response {
        self.to_response().into_response()
    }
}
