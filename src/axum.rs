//! Adapter for axum (feature `axum`).
//!
//! * [`routes`] are the endpoints that the library serves, ready to merge into a router.
//! * [`Request`] is an extractor, for the host's own authorization page.
//! * [`require`] is a layer for the host's own API: its routes require scopes, and their handlers extract an [`Access`](crate::Access).
//! * [`Bearer`] is an extractor, for an API that decides in its handlers: call [`require`](Bearer::require) on it. It looks at the header
//!   alone; for [`Policy::bearer_in_body`](crate::Policy::bearer_in_body) extract a [`Request`] and give it to
//!   [`AuthorizationServer::bearer`].
//! * [`Response`], [`AuthorizationResponse`] and the errors [`BearerError`] and [`AuthorizationError`] can be returned from handlers.
//!
//! The extractors find the server in the router's state: the state is an [`AuthorizationServer`] or implements
//! [`FromRef`] for it. The peer's address is known if the router is served with connection information
//! (`into_make_service_with_connect_info::<SocketAddr>()`). Behind a proxy that is the proxy's; a host that trusts its
//! proxy builds the request itself and sets the address it was told.
//!
//! Bodies are read up to [`Policy::max_body`](crate::Policy::max_body) and for at most [`Policy::body_deadline`](crate::Policy::body_deadline),
//! by the timer of the Tokio runtime, which `#[tokio::main]` turns on. On a runtime without a timer, a request whose body is not there at
//! once panics. `axum::serve` sets no deadline for headers: see [the manual](crate::manual::operators#time-and-concurrency).

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
use crate::completion::{poll_once, within};
use crate::http::{Request, Response};
use crate::http_types;
use crate::server::{AuthorizationServer, ServedBy};
use crate::span::in_this_span;

/// The routes that the library serves: see [`AuthorizationServer::routes`].
///
/// They are where [`AuthorizationServer::endpoints`] says, which by default is under the issuer, and answer every method,
/// because those that are not served have an answer of their own. [`AuthorizationServer::handle`] answers, with CORS headers where
/// scripts of any origin may come. Every request is [run to completion](run_to_completion).
///
/// Merge them, never nest them: their paths are whole, and the metadata is never below a prefix. A page of the host's may be
/// nested; the target of its [`Request`] is the one that the browser asked for.
///
/// # Panics
/// A router that is merged with them panics if a segment of a path begins with `:` or `*`, unless it was told
/// [`without_v07_checks`](Router::without_v07_checks).
pub fn routes<S: Clone + Send + Sync + 'static>(server: &AuthorizationServer) -> Router<S> {
    let own = server.routes().iter().filter(|route| route.served_by() == ServedBy::Library);
    // An issuer's path may have any character that a URL may have.
    own.fold(Router::new().without_v07_checks(), |router, route| {
        let (server, max_body) = (server.clone(), route.max_body());
        router.route(route.path(), any(move |request| handle(server, request, max_body)))
    })
}

async fn handle(server: AuthorizationServer, request: axum::extract::Request, max_body: usize) -> Response {
    let request = read(request, max_body, server.policy().body_deadline).await;
    run_to_completion(async move { server.handle(&request).await }).await
}

/// Runs a future to its end even if the handler that waits for it is dropped, as happens when a browser hangs up.
///
/// Every step of the library is atomic, so nothing breaks without it; but a decision that was taken should be carried
/// out. Use it around [`approve`](crate::Consent::approve).
///
/// The future is polled once in place. If it is pending, it is moved to a task of its own, which keeps the span in which this function
/// was called and does not see the caller's task-locals.
///
/// # Panics
/// If the future does, or if the runtime is shutting down.
pub fn run_to_completion<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> impl Future<Output = T> + Send + 'static {
    let future = Box::pin(in_this_span(future));
    async {
        match poll_once(future).await {
            Ok(output) => output,
            Err(rest) => tokio::spawn(rest).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic())),
        }
    }
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

/// Reads the body, too, unless it is announced to be too large. Each endpoint has its own way to refuse one that could not be read.
async fn read(request: axum::extract::Request, max_body: usize, deadline: Duration) -> Request {
    let (parts, body) = request.into_parts();
    let own = from_head(&parts.method, &parts.uri, &parts.headers, &parts.extensions, |_| true);
    // The length that was announced, if there is one.
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

/// Everything but the body, with the headers that are `wanted`.
fn from_head(
    method: &Method,
    uri: &Uri,
    headers: &HeaderMap,
    extensions: &Extensions,
    wanted: impl Fn(&str) -> bool,
) -> Request {
    // A nested router is shown a path without its prefix, at which no browser would find it.
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
