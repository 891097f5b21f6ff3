//! The middleware that requires scopes.

use std::future::{Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Payload, Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::error::{Error, InternalError};
use actix_web::http::StatusCode;
use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use actix_web::{FromRequest, HttpMessage, HttpRequest, HttpResponse, ResponseError};

use super::{discard_payload, from_head};
use crate::bearer::Access;
use crate::cors::ANY_ORIGIN;
use crate::server::{BearerCheck, MissingRequire, Requirement};

/// Returns middleware that requires an access token with all of these scopes before a handler runs.
///
/// A request without such a token gets the response of RFC 6750 §3: 401 with a challenge that names the scopes, or 403
/// `insufficient_scope`. The 403 names all scopes, including those of outer middleware. A handler behind the middleware
/// extracts the rights of the token as an [`Access`]. The middleware reads only the header, like the extractor
/// [`Bearer`](crate::Bearer), and does not need the data of the app. An
/// [`AuthorizationServer`](crate::AuthorizationServer) checks the tokens, or a
/// [`ResourceServer`](crate::ResourceServer) if the API runs in another process.
///
/// Wrap it around a scope or a resource. All of its requests then require the token, for every method, including HEAD,
/// OPTIONS and unsupported methods. If the methods of a path require different scopes, wrap it around each route. A
/// method without a route then gets its 404 or 405 without a token.
///
/// ```
/// use actix_web::web::{ServiceConfig, get, post, resource};
/// use grantor::actix::require;
/// use grantor::{Access, AuthorizationServer, BearerError};
///
/// fn api(oauth: &AuthorizationServer) -> impl FnOnce(&mut ServiceConfig) {
///     let (read, write) = (require(oauth, ["notes:read"]), require(oauth, ["notes:read", "notes:write"]));
///     move |config| {
///         let notes = resource("/notes").route(get().to(list).wrap(read)).route(post().to(add).wrap(write));
///         config.service(notes);
///     }
/// }
///
/// async fn list(access: Access) -> Result<String, BearerError> {
///     Ok(format!("The notes of {}", access.user()?)) // 403 for a machine's token
/// }
/// # async fn add() -> &'static str { "" }
/// # #[cfg(feature = "testing")]
/// # drop(api(&grantor::testing::TestServer::with(|b| b.scope("notes:read", "Read").scope("notes:write", "Write")).server));
/// ```
///
/// # Panics
/// `scopes` is empty, a scope is malformed, or the server does not offer a scope. Such a mistake is found when the
/// app is built. A [`ResourceServer`](crate::ResourceServer) does not know the scopes of the server, so it panics only
/// for malformed scopes. With a scope that the server does not offer, each request gets 403.
pub fn require<T: AsRef<str>>(check: impl Into<BearerCheck>, scopes: impl IntoIterator<Item = T>) -> Require {
    Require(Requirement::new(check, scopes))
}

/// The middleware that [`require`] returns.
#[derive(Debug, Clone)]
#[must_use = "wrap it around a scope, a resource or a route"]
pub struct Require(Requirement);

impl Require {
    /// Lets scripts of any origin use the routes (CORS). Off by default.
    ///
    /// The middleware then responds to preflights, which have no token. It allows every method and request header,
    /// including `Authorization`, and lets scripts read every response with its headers. It never allows credentials
    /// such as cookies: a script needs an access token. Use no other CORS middleware on the same routes.
    ///
    /// Wrap it around a scope or a resource. A preflight has the method OPTIONS, so it does not reach a route that is
    /// registered for another method.
    pub fn any_origin(mut self) -> Self {
        self.0.any_origin = true;
        self
    }
}

impl<S, B> Transform<S, ServiceRequest> for Require
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Transform = RequireService<S>;
    type InitError = ();
    type Future = Ready<Result<RequireService<S>, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(RequireService { requirement: self.0.clone(), inner: Rc::new(inner) }))
    }
}

/// A service behind [`require`].
#[derive(Debug)]
pub struct RequireService<S> {
    requirement: Requirement,
    inner: Rc<S>,
}

impl<S, B> Service<ServiceRequest> for RequireService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = ServiceResponse<EitherBody<B>>;
    type Error = Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Error>>>>;

    fn poll_ready(&self, context: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let (requirement, inner) = (self.requirement.clone(), Rc::clone(&self.inner));
        Box::pin(async move {
            let own = from_head(request.request(), Requirement::reads_header);
            let outer = request.extensions().get::<Access>().and_then(Access::required).cloned();
            let refused = match requirement.preflight(&own) {
                Some(preflight) => Some(preflight),
                None => match requirement.check(&own, outer).await {
                    Ok(access) => {
                        request.extensions_mut().insert(access);
                        None
                    }
                    Err(error) => Some(error.into()),
                },
            };
            let result = match refused {
                Some(response) => {
                    let (request, payload) = request.into_parts();
                    discard_payload(&request, payload).await;
                    Ok(ServiceResponse::new(request, HttpResponse::from(response)).map_into_right_body())
                }
                None => inner.call(request).await.map(ServiceResponse::map_into_left_body),
            };
            if requirement.any_origin { for_any_origin(result) } else { result }
        })
    }
}

fn for_any_origin<B>(result: Result<ServiceResponse<B>, Error>) -> Result<ServiceResponse<B>, Error> {
    match result {
        Ok(mut response) => {
            let_scripts_read(response.headers_mut());
            Ok(response)
        }
        // Another middleware refused the request.
        Err(error) => {
            let mut response = error.error_response();
            let_scripts_read(response.headers_mut());
            Err(InternalError::from_response(error, response).into())
        }
    }
}

fn let_scripts_read(headers: &mut HeaderMap) {
    headers.remove("access-control-allow-credentials");
    for (name, value) in ANY_ORIGIN {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        if name == "access-control-allow-origin" {
            headers.insert(name, value);
        } else if !headers.get_all(&name).any(|own| *own == value) {
            headers.append(name, value);
        }
    }
}

impl FromRequest for Access {
    type Error = MissingRequire;
    type Future = Ready<Result<Self, MissingRequire>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let access = request.extensions().get::<Self>().cloned();
        ready(access.ok_or_else(|| MissingRequire::of(request.path())))
    }
}

impl ResponseError for MissingRequire {
    fn status_code(&self) -> StatusCode {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}
