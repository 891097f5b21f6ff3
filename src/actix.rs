//! Adapter for actix-web (feature `actix-web`).
//!
//! * [`routes`] configures an app with the endpoints that the library serves.
//! * [`Request`] is an extractor for your authorization page.
//! * [`require`] is middleware for your API: its routes require scopes, and their handlers extract an
//!   [`Access`](crate::Access).
//! * [`Bearer`] is an extractor for an API that checks scopes in its handlers: call [`require`](Bearer::require) on it.
//!   It reads only the header. For [`Policy::bearer_in_body`](crate::Policy::bearer_in_body), extract a [`Request`] and
//!   pass it to [`AuthorizationServer::bearer`].
//! * [`Response`], [`AuthorizationResponse`] and the errors [`BearerError`] and [`AuthorizationError`] can be returned
//!   from handlers, also with `?`.
//!
//! The extractors take the server from the data of the app, where [`routes`] puts it as
//! [`Data<AuthorizationServer>`](Data). Handlers can take it from there, too. If an app has several servers, each
//! server answers its own routes, but the extractors of your routes use the last server. To use another one, set its
//! [`Data`] with [`Resource::app_data`] or with `app_data` of the scope. The address of the peer is that of the
//! connection, never one from a header. Behind a proxy, that is the address of the proxy. If you trust the proxy, build
//! the request yourself and set the address that the proxy reports.
//!
//! Bodies are read up to [`Policy::max_body`](crate::Policy::max_body) and for at most
//! [`Policy::body_deadline`](crate::Policy::body_deadline). Actix-web has a separate deadline for the headers of the
//! first request of a connection ([`client_request_timeout`](actix_web::HttpServer::client_request_timeout)). It has no
//! deadline for a chunked body that no handler has read: see [the
//! manual](crate::manual::operators#time-and-concurrency).
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

/// Configures an app with the routes that the library serves: see [`AuthorizationServer::routes`].
///
/// Their paths are those of [`AuthorizationServer::endpoints`], by default under the issuer. They accept every method,
/// because the library responds to unsupported methods, too. Whole paths are compared without decoding. Configure the
/// app and not a scope, because the path of the metadata is not inside a scope.
///
/// [`AuthorizationServer::handle`] answers each request and sets the CORS headers. Every request is [run to
/// completion](run_to_completion).
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

/// Returns a resource at exactly this path. A guard compares the path, because the path of an issuer may have
/// characters with a meaning in the patterns of the router.
fn at(path: String) -> Resource {
    web::resource("/{path}*").guard(fn_guard(move |context| context.head().uri.path() == path))
}

async fn handle(server: AuthorizationServer, head: Head, payload: web::Payload, max_body: usize) -> Response {
    let request = head.with_body(payload, max_body, server.policy().body_deadline).await;
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
/// When the server stops, actix cancels the tasks of a worker as soon as its connections are closed. So a stop can
/// cancel the future if the browser has closed the connection.
///
/// # Panics
/// The future panics, the runtime is shutting down, or the caller is outside of a `LocalSet` and of a local runtime
/// such as that of actix.
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

/// The future of an extractor. It need not be `Send`, because handlers of actix-web stay on their thread.
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

/// A request whose body was not read yet.
struct Head {
    own: Request,
    /// The announced length of the body, if there is one.
    length: Option<u64>,
}

impl Head {
    fn of(request: &HttpRequest) -> Self {
        let length = request.headers().get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        Self { own: from_head(request, |_| true), length }
    }

    /// Reads the body, unless the announced length is too large. The endpoint refuses a body that could not be read.
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

/// Reads and discards the rest of a body. Actix-web closes the connection after the response if the body still exists.
/// If the body was dropped, actix-web waits for the end of a chunked body without a deadline. This task may outlive the
/// connection, so it keeps no data.
fn discard(mut unread: BodyStream<web::Payload>) {
    const DEADLINE: Duration = Duration::seconds(10);
    actix_web::rt::spawn(within(DEADLINE, async move {
        while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut unread).poll_next(context)).await {}
    }));
}

/// Discards the body of a refused request, if it has one.
async fn discard_payload(request: &HttpRequest, mut payload: Payload) {
    if !matches!(payload, Payload::None)
        && let Ok(body) = web::Payload::from_request(request, &mut payload).await
    {
        discard(BodyStream::new(body));
    }
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
    server.ok_or_else(|| {
        ErrorInternalServerError(
            "the app data has no AuthorizationServer: configure the app with grantor::actix::routes",
        )
    })
}

/// Returns a request without its body, with the headers that are `wanted`.
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

/// For handlers that return a response as an error, such as that of
/// [`AuthorizationOutcome::Respond`](crate::AuthorizationOutcome::Respond).
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
