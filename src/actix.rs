//! Adapter for actix-web (feature `actix-web`).
//!
//! * [`routes`] are the endpoints that the library serves, ready to configure an app with.
//! * [`Request`] is an extractor, for the host's own authorization page.
//! * [`require`] is middleware for the host's own API: its routes require scopes, and their handlers extract an
//!   [`Access`](crate::Access).
//! * [`Bearer`] is an extractor, for an API that decides in its handlers: call [`require`](Bearer::require) on it. It looks at the header
//!   alone; for [`Policy::bearer_in_body`](crate::Policy::bearer_in_body) extract a [`Request`] and give it to
//!   [`AuthorizationServer::bearer`].
//! * [`Response`] and [`AuthorizationResponse`] can be returned from handlers, and with `?` out of them, as can
//!   the errors [`BearerError`] and [`AuthorizationError`].
//!
//! The extractors find the server in the app's data, where [`routes`] puts it as [`Data<AuthorizationServer>`](Data);
//! handlers can take it from there, too. If an app has several servers, each one's own routes are answered by that one, but
//! the extractors of the host's routes find the last. Give such a route the [`Data`] of its server by
//! [`Resource::app_data`] or the scope's. The peer's address is the one of the connection and never one that a header
//! tells. Behind a proxy that is the proxy's; a host that trusts its proxy builds the request itself and sets the address
//! it was told.
//!
//! Bodies are read up to [`Policy::max_body`](crate::Policy::max_body) and for at most
//! [`Policy::body_deadline`](crate::Policy::body_deadline). Actix-web has a deadline of its own for headers
//! ([`client_request_timeout`](actix_web::HttpServer::client_request_timeout)), which counts for the first request of a connection, and none
//! for a chunked body that no handler has read: see [the manual](crate::manual::operators#time-and-concurrency).
//!
//! ```no_run
//! use actix_web::{App, HttpServer};
//! use grantor::{AuthorizationServer, MemoryStorage};
//!
//! # #[tokio::main(flavor = "local")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let oauth = AuthorizationServer::builder("https://id.example.com")
//!     .storage(MemoryStorage::new())
//!     .scope("user:read", "Read your profile")
//!     .build()
//!     .await?;
//! HttpServer::new(move || App::new().configure(grantor::actix::routes(&oauth))).bind(("127.0.0.1", 8080))?.run().await?;
//! # Ok(())
//! # }
//! ```

mod require;

use std::future::poll_fn;
use std::pin::Pin;

use actix_web::body::{BodyStream, BoxBody, MessageBody, to_bytes_limited};
use actix_web::dev::Payload;
use actix_web::error::{Error, ErrorInternalServerError, InternalError};
use actix_web::guard::fn_guard;
use actix_web::http::StatusCode;
use actix_web::http::header::CONTENT_LENGTH;
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{FromRequest, HttpRequest, HttpResponse, Resource, Responder, ResponseError};
use time::Duration;

pub use self::require::{Require, RequireService, require};
use crate::authorize::{AuthorizationError, AuthorizationResponse};
use crate::bearer::{Bearer, BearerError, reads_header};
use crate::completion::{poll_once, within};
use crate::http::{Request, Response};
use crate::server::{AuthorizationServer, ServedBy};
use crate::span::in_this_span;

/// The routes that the library serves: see [`AuthorizationServer::routes`].
///
/// They are where [`AuthorizationServer::endpoints`] says, which by default is under the issuer, and answer every method,
/// because those that are not served have an answer of their own. Paths are compared whole and as they came, before
/// anything in them is decoded. The app is to be configured with them, not a scope: the metadata is never inside of one.
///
/// [`AuthorizationServer::handle`] answers, with CORS headers where scripts of any origin may come. Every request is
/// [run to completion](run_to_completion).
pub fn routes(server: &AuthorizationServer) -> impl FnOnce(&mut ServiceConfig) + use<> {
    let server = server.clone();
    move |config| {
        config.app_data(Data::new(server.clone()));
        for route in server.routes().iter().filter(|route| route.served_by() == ServedBy::Library) {
            let (server, max_body) = (server.clone(), route.max_body());
            let answer =
                move |request: HttpRequest, payload| handle(server.clone(), Head::of(&request), payload, max_body);
            config.service(at(route.path().to_owned()).to(answer));
        }
    }
}

/// A resource at exactly this path. A guard compares it, because an issuer's path may have any character that a URL may
/// have, and the router's patterns give some of them a meaning.
fn at(path: String) -> Resource {
    web::resource("/{path}*").guard(fn_guard(move |context| context.head().uri.path() == path))
}

async fn handle(server: AuthorizationServer, head: Head, payload: web::Payload, max_body: usize) -> Response {
    let request = head.with_body(payload, max_body, server.policy().body_deadline).await;
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
/// If the future does, if the runtime is shutting down, or outside of a `LocalSet` or a local runtime, such as actix's.
pub fn run_to_completion<T: 'static>(future: impl Future<Output = T> + 'static) -> impl Future<Output = T> + 'static {
    let future = Box::pin(in_this_span(future));
    async {
        match poll_once(future).await {
            Ok(output) => output,
            Err(rest) => {
                actix_web::rt::spawn(rest).await.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
            }
        }
    }
}

/// What an extractor waits for. Handlers of actix-web stay on their thread, so it need not be `Send`.
type Extraction<T> = Pin<Box<dyn Future<Output = Result<T, Error>>>>;

impl FromRequest for Request {
    type Error = Error;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let (server, head) = (server_of(request), Head::of(request));
        let payload = web::Payload::from_request(request, payload);
        Box::pin(async move {
            let (server, payload) = (server?, payload.await?);
            let policy = server.policy();
            Ok(server.refuse_broken_body(head.with_body(payload, policy.max_body, policy.body_deadline).await)?)
        })
    }
}

/// A request whose body is still to be read.
struct Head {
    own: Request,
    /// The length that was announced, if there is one.
    length: Option<u64>,
}

impl Head {
    fn of(request: &HttpRequest) -> Self {
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { own: from_head(request, |_| true), length }
    }

    /// Reads the body, unless it is announced to be too large. Each endpoint has its own way to refuse one that could not be read.
    async fn with_body(self, payload: web::Payload, max_body: usize, deadline: Duration) -> Request {
        let Self { own, length } = self;
        if length.is_some_and(|length| length > max_body as u64) {
            return own.with_body_too_large();
        }
        let mut body = BodyStream::new(payload);
        match within(deadline, to_bytes_limited(&mut body, max_body)).await {
            Some(Ok(Ok(body))) => own.with_body(body),
            Some(Ok(Err(_))) => own.with_broken_body(),
            Some(Err(_)) => {
                discard(body);
                own.with_body_too_large()
            }
            None => {
                discard(body);
                own.with_late_body()
            }
        }
    }
}

/// Throws the rest of a body away until its connection is closed, which actix-web does after the answer if the body is still there. If it
/// is gone by then, actix-web waits for the end of a chunked one instead, without a deadline. What has come of the body is not kept, because
/// this may outlive the connection.
fn discard(mut unread: BodyStream<web::Payload>) {
    const LONGEST: Duration = Duration::seconds(10);
    actix_web::rt::spawn(within(LONGEST, async move {
        while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut unread).poll_next(context)).await {}
    }));
}

impl FromRequest for Bearer {
    type Error = Error;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let (server, own) = (server_of(request), from_head(request, reads_header));
        Box::pin(async move { Ok(server?.bearer(&own).await?) })
    }
}

fn server_of(request: &HttpRequest) -> Result<Data<AuthorizationServer>, Error> {
    let server = request.app_data::<Data<AuthorizationServer>>().cloned();
    server.ok_or_else(|| ErrorInternalServerError("the app has no authorization server among its data"))
}

/// Everything but the body, with the headers that are `wanted`.
fn from_head(request: &HttpRequest, wanted: impl Fn(&str) -> bool) -> Request {
    let uri = request.uri();
    let target = uri.path_and_query().map_or_else(|| uri.path(), |target| target.as_str());
    let headers = request.headers().iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    let own = Request::new(request.method().as_str(), target).with_headers(headers.filter(|(name, _)| wanted(name)));
    match request.peer_addr() {
        Some(peer) => own.with_peer(peer.ip()),
        None => own,
    }
}

impl From<Response> for HttpResponse {
    fn from(response: Response) -> Self {
        let (status, headers, body) = response.into_parts();
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut builder = Self::build(status);
        for (name, value) in headers {
            builder.append_header((name, value.into_owned()));
        }
        builder.body(body)
    }
}

impl Responder for Response {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.into()
    }
}

impl From<AuthorizationResponse> for HttpResponse {
    fn from(response: AuthorizationResponse) -> Self {
        Response::from(response).into()
    }
}

impl Responder for AuthorizationResponse {
    type Body = BoxBody;

    fn respond_to(self, _: &HttpRequest) -> HttpResponse {
        self.into()
    }
}

/// For handlers that give up with a ready answer, such as that of [`AuthorizationOutcome::Respond`](crate::AuthorizationOutcome::Respond).
impl From<Response> for Error {
    fn from(response: Response) -> Self {
        let cause = "answered by the authorization server";
        InternalError::from_response(cause, response.into()).into()
    }
}

impl ResponseError for AuthorizationError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.to_response().into()
    }
}

impl ResponseError for BearerError {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        self.to_response().into()
    }
}
