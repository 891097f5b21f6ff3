//! The bearer check of an API that runs in another process than its authorization server (RFC 7662).
//!
//! A [`ResourceServer`] asks the introspection endpoint about each access token that it does not know, and keeps the answer for some
//! seconds. [A page of the manual](crate::manual::separate_api) shows the two processes.

mod answer;
mod builder;
mod cache;
mod introspector;
mod shared_call;

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

/// The longest text that is asked about. Its form is far below what an authorization server reads.
const MAX_TOKEN: usize = 8 * 1024;

/// An API in another process than its authorization server. It checks access tokens by introspection (RFC 7662), for
/// `grantor::axum::require`, `grantor::actix::require`, or a call of [`bearer`](Self::bearer). Cloning it is cheap and gives the same
/// API with the same cache.
///
/// The server must know the API as a confidential client that is a
/// [resource server](crate::client::ClientBuilder::resource_server).
///
/// # What is refused
/// A token is good only if the answer is 200 with `application/json`, and `active` is `true`. Then `exp` must be in the future,
/// `token_type` must be `Bearer`, and there must be a `client_id`. `iat` and `nbf` may be a minute ahead at most. An `iss` must be the issuer, and
/// `aud` must have the [audience](ResourceServerBuilder::audience) if one is set. A token with `cnf` is bound to a key (RFC 8705,
/// RFC 9449), which this check does not ask for, so it is refused. Refusals are those of [`BearerError`]; if there is no usable
/// answer, the request gets 503 with `Retry-After`.
///
/// # The cache
/// It keeps active tokens by their SHA-256, for [`cache_time`](ResourceServerBuilder::cache_time) and never beyond `exp`. A token that
/// is revoked works here for that time at most, and for the duration of one call that is under way. Inactive tokens and failures are not
/// kept: tokens that an attacker invents evict nothing. Requests with the same token wait for one call; requests above
/// [`max_calls`](ResourceServerBuilder::max_calls) get 503 at once.
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
    /// The value of the header.
    authorization: Zeroizing<String>,
    introspector: Box<dyn Introspector>,
    max_response: usize,
    cache: Cache,
}

impl ResourceServer {
    /// Checks the access token of a request (RFC 6750). It reads the `Authorization` header alone.
    ///
    /// # Errors
    /// There is no token, it is not good, or the server could not be asked.
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

    /// The typed form of [`bearer`](Self::bearer).
    ///
    /// # Errors
    /// The token is not good, or the server could not be asked.
    pub async fn bearer_request(&self, request: &BearerRequest<'_>) -> Result<Bearer, BearerError> {
        let (token, context) = request.parts();
        in_span("bearer", self.check(token, context)).await
    }

    async fn check(&self, token: &str, context: RequestContext<'_>) -> Result<Bearer, BearerError> {
        let api = &self.inner.api;
        let mut now = api.now();
        // An authorization server would refuse the form with such a text, which is not to look like a failure of that server.
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
                // A token that is not live by the clock here is refused, and asked about again.
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

/// The body of an introspection request (RFC 7662 §2.1).
fn form(token: &str) -> Zeroizing<Vec<u8>> {
    // Room for the longest form, so that no copy of the token is left behind.
    let mut body = Zeroizing::new(Vec::with_capacity(64 + 3 * token.len()));
    body.extend_from_slice(b"token_type_hint=access_token&token=");
    byte_serialize(token.as_bytes()).for_each(|part| body.extend_from_slice(part.as_bytes()));
    body
}

fn panicked() -> Rejection {
    IntrospectionError::NoAnswer("the introspector panicked".into()).into()
}

/// Removes a call from those under way when it is over, or when nothing waits for it any more.
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
