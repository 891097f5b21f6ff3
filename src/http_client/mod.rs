//! The HTTP client with which a server fetches documents that clients publish, such as their public keys.
//!
//! The server checks each URL and counts each fetch before it calls the [`HttpClient`]. [`FetchPolicy`] has the limits.
//! The feature `http-client` adds `GuardedHttpClient`, which also checks the addresses to which it connects. [The
//! manual](crate::manual::outbound_requests) lists what is fetched, when and how often.

#[cfg(feature = "http-client")]
mod address;
mod exchange;
#[cfg(feature = "http-client")]
mod guarded;
mod policy;
#[cfg(feature = "http-client")]
mod resolver;
mod url;

use std::sync::Arc;

use async_trait::async_trait;

pub use self::exchange::{GetRequest, GetResponse};
#[cfg(feature = "http-client")]
#[cfg_attr(docsrs, doc(cfg(feature = "http-client")))]
pub use self::guarded::{GuardedHttpClient, GuardedHttpClientBuilder, SetupError};
pub use self::policy::FetchPolicy;
#[cfg(feature = "http-client")]
#[cfg_attr(docsrs, doc(cfg(feature = "http-client")))]
pub use self::resolver::{Resolver, SystemResolver};
#[cfg(feature = "jwt")]
pub(crate) use self::url::check_registered_url;
pub(crate) use self::url::check_url;
#[doc(no_inline)]
pub use crate::error::{FetchError, FetchLimit, UrlError};

/// An HTTP client that fetches documents from URLs that clients have registered. An attacker may choose such a URL.
///
/// The feature `http-client` has an implementation, `GuardedHttpClient`. Implement the trait yourself to send the
/// requests through a proxy, or to answer them in tests.
///
/// # Duties of an implementation
/// The server has checked the form of the URL: scheme, port, user information, IP literals and special names. It also
/// limits how many fetches run, and joins equal ones. An implementation has these duties:
/// * It connects only to public addresses. A name such as `a.example.com` may have the address `127.0.0.1` or
///   `169.254.169.254`, and may have another address at each look-up. A proxy that resolves names has this duty, too.
/// * It verifies the certificate of the target.
/// * It does not follow redirects. It returns the redirect as a response.
/// * It ends with an error after [`GetRequest::timeout`], which includes the time for the body. The server has no
///   timer.
/// * It stops reading when [`GetResponse::push`] fails. It does not decompress the body.
/// * It sends no cookies and no credentials to the target. The text of its errors has no secret, because
///   `TracingObserver` logs it.
///
/// Concurrent requests for the same URL share one call of [`get`](Self::get). Any of their tasks may poll it, and it is
/// dropped if none of them waits any more. So it must not block its thread.
///
/// ```
/// use grantor::HttpClient;
/// use grantor::http_client::{FetchError, GetRequest, GetResponse};
///
/// # mod reqwest {
/// #     pub struct Client;
/// #     impl Client {
/// #         pub fn get(&self, _: &str) -> Builder { Builder }
/// #     }
/// #     pub struct Builder;
/// #     impl Builder {
/// #         pub fn header(self, _: &str, _: &str) -> Self { self }
/// #         pub fn timeout(self, _: std::time::Duration) -> Self { self }
/// #         pub async fn send(self) -> Result<Response, std::io::Error> { Ok(Response) }
/// #     }
/// #     pub struct Response;
/// #     impl Response {
/// #         pub fn status(&self) -> Status { Status }
/// #         pub fn headers(&self) -> [(&str, &str); 0] { [] }
/// #         pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, std::io::Error> { Ok(None) }
/// #     }
/// #     pub struct Status;
/// #     impl Status { pub fn as_u16(&self) -> u16 { 200 } }
/// # }
/// /// With reqwest: `Client::builder().proxy(Proxy::all("http://egress:3128")?).redirect(Policy::none())`. The proxy
/// /// refuses targets that are not public.
/// struct ThroughProxy(reqwest::Client);
///
/// #[async_trait::async_trait]
/// impl HttpClient for ThroughProxy {
///     async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
///         let get = self.0.get(request.url()).timeout(request.timeout().unsigned_abs());
///         let get = request.headers().iter().fold(get, |get, (name, value)| get.header(*name, *value));
///         let mut response = get.send().await.map_err(FetchError::client)?;
///         let mut received = GetResponse::new(response.status().as_u16(), response.headers());
///         while let Some(chunk) = response.chunk().await.map_err(FetchError::client)? {
///             received.push(&chunk, request)?; // fails if the body is too large
///         }
///         Ok(received)
///     }
/// }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(note = "an `HttpClient` sends one GET request and returns the response")]
pub trait HttpClient: Send + Sync {
    /// Sends the request and returns the response with any status.
    ///
    /// ```text
    /// async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError>
    /// ```
    ///
    /// # Errors
    /// No complete response arrived. The request that needs it gets 503.
    async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError>;
}

#[async_trait]
impl<T: HttpClient + ?Sized> HttpClient for Arc<T> {
    async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
        (**self).get(request).await
    }
}
