//! The bearer check of an API that runs in another process than its authorization server (RFC 7662).
//!
//! A [`ResourceServer`] asks the introspection endpoint about each unknown access token, and caches the response for
//! some seconds. [The manual](crate::manual::separate_api) shows an example with two processes.

mod answer;
mod builder;
mod cache;
mod introspector;

use std::fmt;
use std::sync::Arc;

use time::OffsetDateTime;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use self::answer::{Answer, Rejection};
pub use self::builder::ResourceServerBuilder;
use self::cache::{Cache, Call, Known};
pub use self::introspector::{Introspector, OutgoingRequest, ReceivedResponse, ResponseTooLarge};
use crate::api_context::ApiContext;
use crate::bearer::{Bearer, BearerError, BearerRequest, Fault, presented, refuse};
use crate::error::IntrospectionError;
use crate::http::{Request, RequestContext};
use crate::params::Params;
use crate::secret::TokenHash;
use crate::span::in_span;

/// The maximum length of a token. Authorization servers accept forms of this size.
const MAX_TOKEN: usize = 8 * 1024;

/// An API that runs in another process than its authorization server. It checks access tokens by introspection (RFC
/// 7662). Use it with `grantor::axum::require`, `grantor::actix::require`, or [`bearer`](Self::bearer). A clone is
/// cheap and is a handle to the same API with the same cache.
///
/// The API must be registered at the authorization server as a confidential client that is a
/// [resource server](crate::client::ClientBuilder::resource_server).
///
/// # Accepted tokens
/// A token is accepted if all of this holds for the introspection response:
/// * Its status is 200 and its content type is `application/json`.
/// * `active` is `true`, `token_type` is `Bearer`, and there is a `client_id`.
/// * `exp` is in the future. `iat` and `nbf`, if present, are at most one minute ahead.
/// * `iss`, if present, is the issuer.
/// * `aud` contains the [audience](ResourceServerBuilder::audience), if one is set.
/// * There is no `cnf`. A token with `cnf` is bound to a key (RFC 8705, RFC 9449), and this check verifies no proof of
///   it.
///
/// Other tokens are refused with a [`BearerError`]. If there is no usable introspection response, the request gets 503
/// with `Retry-After`.
///
/// # The cache
/// Active tokens are cached by their SHA-256 for the [`cache_time`](ResourceServerBuilder::cache_time), but never
/// beyond `exp`. A revoked token keeps working for at most this time plus the duration of one introspection request.
/// Inactive tokens and failures are not cached, so that made-up tokens of an attacker evict nothing.
///
/// Concurrent requests with the same token share one introspection request. A request above
/// [`max_calls`](ResourceServerBuilder::max_calls) gets 503 at once.
///
/// ```
/// use grantor::ResourceServer;
/// # use grantor::error::BoxError;
/// # use grantor::resource_server::{Introspector, OutgoingRequest, ReceivedResponse};
/// # use grantor::ClientSecret;
/// # struct Http;
/// # #[async_trait::async_trait]
/// # impl Introspector for Http {
/// #     async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
/// #         let mut response = ReceivedResponse::new(200, "application/json");
/// #         response.push(br#"{"active":false}"#, request)?;
/// #         Ok(response)
/// #     }
/// # }
/// # let secret = ClientSecret::new("s3cr3t");
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
///
/// // `Http` implements `Introspector`
/// let api = ResourceServer::builder("https://id.example.com", "notes-api", &secret, Http).build()?;
///
/// let request = grantor::Request::get("/notes").with_header("authorization", "Bearer mF_9.B5f-4.1JqM");
/// let refused = api.bearer(&request).await.and_then(|token| token.require("notes:read")).unwrap_err();
/// assert_eq!(refused.status(), 401);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
pub struct ResourceServer {
    inner: Arc<Inner>,
}

struct Inner {
    api: Arc<ApiContext>,
    audience: Option<String>,
    endpoint: String,
    /// The value of the `Authorization` header.
    authorization: Zeroizing<String>,
    introspector: Box<dyn Introspector>,
    max_response: usize,
    cache: Cache,
}

impl ResourceServer {
    /// Checks the access token of a request (RFC 6750). It reads only the `Authorization` header.
    ///
    /// # Errors
    /// There is no token, the token is not accepted, or it could not be checked.
    pub async fn bearer(&self, request: &Request) -> Result<Bearer, BearerError> {
        let checked = async {
            match presented(request, &Params::default()) {
                Ok(Some(token)) => self.check(token, request.context()).await,
                Ok(None) => Err(self.refuse(request.context(), Fault::NoToken)),
                Err(fault) => Err(self.refuse(request.context(), fault)),
            }
        };
        in_span("bearer", checked).await
    }

    /// Checks an access token: the typed form of [`bearer`](Self::bearer).
    ///
    /// # Errors
    /// The token is not accepted, or it could not be checked.
    pub async fn bearer_request(&self, request: &BearerRequest<'_>) -> Result<Bearer, BearerError> {
        let (token, context) = request.parts();
        in_span("bearer", self.check(token, context)).await
    }

    async fn check(&self, token: &str, context: RequestContext<'_>) -> Result<Bearer, BearerError> {
        let api = &self.inner.api;
        let mut now = api.now();
        // The authorization server would refuse the request for such a token, which would look like a failure of the
        // server.
        if token.is_empty() || token.len() > MAX_TOKEN {
            return Err(self.refuse(context, Fault::Invalid));
        }
        let answer = match self.look_up(token, now) {
            Known::Active(token) => Ok(token),
            Known::TooManyCalls => Err(IntrospectionError::Busy.into()),
            Known::Asked(call) => {
                let answer = call.wait().await.unwrap_or_else(|| Err(panicked()));
                // The token may have expired meanwhile.
                now = api.now();
                answer
            }
        };
        match answer {
            Ok(token) if token.is_live(now) => Ok(Bearer::introspected(Arc::clone(api), token, context.peer(), now)),
            Ok(_) => Err(self.refuse(context, Fault::Invalid)),
            Err(rejection) => Err(self.refuse(context, rejection.into())),
        }
    }

    fn look_up(&self, token: &str, now: OffsetDateTime) -> Known {
        let hash = TokenHash::of(token);
        self.inner.cache.look_up(hash, now, |number| {
            let end = EndOfCall { inner: Arc::clone(&self.inner), hash, number };
            let body = form(token);
            Call::new(async move {
                let inner = &end.inner;
                let answer = inner.ask(body).await;
                // A token that is not live by the local clock is refused and not cached.
                if let Ok(token) = &answer
                    && token.is_live(now)
                {
                    inner.cache.keep(hash, Arc::clone(token), now);
                }
                drop(end);
                answer
            })
        })
    }

    fn refuse(&self, context: RequestContext<'_>, fault: Fault) -> BearerError {
        let api = &self.inner.api;
        let now = api.now();
        refuse(api, context.peer(), now, None, None, fault)
    }
}

impl Inner {
    async fn ask(&self, body: Zeroizing<Vec<u8>>) -> Answer {
        let Self { endpoint: url, authorization, max_response, .. } = self;
        let request = OutgoingRequest { url, authorization, body, max_response: *max_response };
        let response = self.introspector.send(&request).await;
        let response = response.map_err(IntrospectionError::NoAnswer)?;
        answer::read(response, &self.api.issuer, self.audience.as_deref())
    }
}

/// Returns the body of an introspection request (RFC 7662 §2.1).
fn form(token: &str) -> Zeroizing<Vec<u8>> {
    // The capacity suffices for any encoding, so that no reallocation leaves a copy of the token behind.
    let mut body = Zeroizing::new(Vec::with_capacity(64 + 3 * token.len()));
    body.extend_from_slice(b"token_type_hint=access_token&token=");
    byte_serialize(token.as_bytes()).for_each(|part| body.extend_from_slice(part.as_bytes()));
    body
}

fn panicked() -> Rejection {
    IntrospectionError::NoAnswer("the introspector panicked".into()).into()
}

/// Removes a call from the cache when it is over, or when no task waits for it any more.
struct EndOfCall {
    inner: Arc<Inner>,
    hash: TokenHash,
    number: u64,
}

impl Drop for EndOfCall {
    fn drop(&mut self) {
        self.inner.cache.end_call(&self.hash, self.number);
    }
}

impl fmt::Debug for ResourceServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResourceServer")
            .field("issuer", &self.inner.api.issuer)
            .field("endpoint", &self.inner.endpoint)
            .finish_non_exhaustive()
    }
}
