//! The layer that requires scopes.

use std::pin::Pin;
use std::task::{Context, Poll};

use axum::extract::{FromRequestParts, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use tower_layer::Layer;
use tower_service::Service;

use super::from_head;
use crate::bearer::Access;
use crate::cors::ANY_ORIGIN;
use crate::server::{BearerCheck, MissingRequire, Requirement};

/// Returns a layer that requires an access token with all of these scopes before a handler runs.
///
/// A request without such a token gets the response of RFC 6750 §3: 401 with a challenge that names the scopes, or 403
/// `insufficient_scope`. The 403 names all scopes, including those of an outer layer. A handler behind the layer
/// extracts the rights of the token as an [`Access`]. The layer reads only the header, like the extractor
/// [`Bearer`](crate::Bearer), and does not need the state of the router. An
/// [`AuthorizationServer`](crate::AuthorizationServer) checks the tokens, or a
/// [`ResourceServer`](crate::ResourceServer) if the API runs in another process.
///
/// Use it with `Router::layer`, or with `MethodRouter::layer` if the methods of a path require different scopes. Each
/// route then requires the token for every method, including HEAD, OPTIONS and unsupported methods.
///
/// ```
/// use axum::Router;
/// use axum::routing::{get, post};
/// use grantor::axum::require;
/// use grantor::{Access, AuthorizationServer, BearerError};
///
/// fn api(oauth: &AuthorizationServer) -> Router {
///     Router::new()
///         .route("/notes", get(list).layer(require(oauth, ["notes:read"])))
///         .route("/notes", post(add).layer(require(oauth, ["notes:read", "notes:write"])))
/// }
///
/// async fn list(access: Access) -> Result<String, BearerError> {
///     Ok(format!("The notes of {}", access.user()?)) // 403 for a machine's token
/// }
/// # async fn add() {}
/// # #[cfg(feature = "testing")]
/// # drop(api(&grantor::testing::TestServer::with(|b| b.scope("notes:read", "Read").scope("notes:write", "Write")).server));
/// ```
///
/// # Panics
/// `scopes` is empty, a scope is malformed, or the server does not offer a scope. Such a mistake is found when the
/// router is built. A [`ResourceServer`](crate::ResourceServer) does not know the scopes of the server, so it panics
/// only for malformed scopes. With a scope that the server does not offer, each request gets 403.
pub fn require<T: AsRef<str>>(check: impl Into<BearerCheck>, scopes: impl IntoIterator<Item = T>) -> Require {
    Require(Requirement::new(check, scopes))
}

/// The layer that [`require`] returns.
#[derive(Debug, Clone)]
#[must_use = "add it as a layer to a router or a route"]
pub struct Require(Requirement);

impl Require {
    /// Lets scripts of any origin use the routes (CORS). Off by default.
    ///
    /// The layer then responds to preflights, which have no token. It allows every method and request header, including
    /// `Authorization`, and lets scripts read every response with its headers. It never allows credentials such as
    /// cookies: a script needs an access token. Use no other CORS layer on the same routes.
    pub fn any_origin(mut self) -> Self {
        self.0.any_origin = true;
        self
    }
}

impl<S> Layer<S> for Require {
    type Service = RequireService<S>;

    fn layer(&self, inner: S) -> RequireService<S> {
        RequireService { requirement: self.0.clone(), inner }
    }
}

/// A service behind [`require`].
#[derive(Debug, Clone)]
pub struct RequireService<S> {
    requirement: Requirement,
    inner: S,
}

impl<S> Service<Request> for RequireService<S>
where
    S: Service<Request> + Clone + Send + 'static,
    S::Response: IntoResponse,
    S::Future: Send,
{
    type Response = Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, mut request: Request) -> Self::Future {
        let requirement = self.requirement.clone();
        // Call the service that `poll_ready` was called on, and keep its clone.
        let next = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, next);
        let (method, headers) = (request.method(), request.headers());
        let own = from_head(method, request.uri(), headers, request.extensions(), Requirement::reads_header);
        let outer = request.extensions().get::<Access>().and_then(Access::required).cloned();
        // Keep the future small: above 1,032 bytes it leaves the fast path of glibc's malloc.
        Box::pin(async move {
            let refused = match requirement.preflight(&own) {
                Some(preflight) => Some(preflight.into_response()),
                None => match requirement.check(&own, outer).await {
                    Ok(access) => {
                        request.extensions_mut().insert(access);
                        None
                    }
                    Err(error) => Some(error.into_response()),
                },
            };
            let mut response = match refused {
                Some(refused) => refused,
                None => inner.call(request).await?.into_response(),
            };
            if requirement.any_origin {
                let_scripts_read(response.headers_mut());
            }
            Ok(response)
        })
    }
}

fn let_scripts_read(headers: &mut HeaderMap) {
    headers.remove("access-control-allow-credentials");
    for (name, value) in ANY_ORIGIN {
        let (name, value) = (HeaderName::from_static(name), HeaderValue::from_static(value));
        if name == "access-control-allow-origin" {
            headers.insert(name, value);
        } else if !headers.get_all(&name).iter().any(|own| *own == value) {
            headers.append(name, value);
        }
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Access {
    type Rejection = MissingRequire;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, MissingRequire> {
        parts.extensions.get::<Self>().cloned().ok_or_else(|| MissingRequire::of(parts.uri.path()))
    }
}

impl IntoResponse for MissingRequire {
    fn into_response(self) -> Response {
        (StatusCode::INTERNAL_SERVER_ERROR, self.to_string()).into_response()
    }
}
