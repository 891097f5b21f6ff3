//! The HTTP request to the introspection endpoint.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::error::BoxError;

/// The HTTP client of the host app, which sends introspection requests.
///
/// The client must verify the certificate of an `https` endpoint. It must not follow redirects, because the form
/// contains the access token. It must time out after a few seconds.
///
/// Concurrent requests with the same token share one call of [`send`](Self::send). Any of their tasks may poll it, and
/// it continues while one of them waits. So it must not block its thread.
///
/// ```
/// use grantor::error::BoxError;
/// use grantor::resource_server::{Introspector, OutgoingRequest, ReceivedResponse};
///
/// # mod reqwest {
/// #     pub struct Client;
/// #     impl Client {
/// #         pub fn post(&self, _: &str) -> Builder { Builder }
/// #     }
/// #     pub struct Builder;
/// #     impl Builder {
/// #         pub fn header(self, _: &str, _: &str) -> Self { self }
/// #         pub fn body(self, _: Vec<u8>) -> Self { self }
/// #         pub async fn send(self) -> Result<Response, std::io::Error> { Ok(Response) }
/// #     }
/// #     pub struct Response;
/// #     impl Response {
/// #         pub fn status(&self) -> http::Status { http::Status }
/// #         pub fn headers(&self) -> http::Headers { http::Headers }
/// #         pub async fn chunk(&mut self) -> Result<Option<Vec<u8>>, std::io::Error> { Ok(None) }
/// #     }
/// #     pub mod http {
/// #         pub struct Status;
/// #         impl Status { pub fn as_u16(&self) -> u16 { 200 } }
/// #         pub struct Headers;
/// #         impl Headers { pub fn get(&self, _: &str) -> Option<Value> { None } }
/// #         pub struct Value;
/// #         impl Value { pub fn to_str(&self) -> Result<&str, ()> { Err(()) } }
/// #     }
/// # }
/// /// With reqwest: `Client::builder().timeout(Duration::from_secs(5)).redirect(Policy::none())`.
/// struct Http(reqwest::Client);
///
/// #[async_trait::async_trait]
/// impl Introspector for Http {
///     async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
///         let post = self.0.post(request.url()).body(request.body().to_vec());
///         let post = request.headers().iter().fold(post, |post, (name, value)| post.header(*name, *value));
///         let mut response = post.send().await?;
///         let content_type = response.headers().get("content-type").and_then(|value| value.to_str().ok().map(str::to_owned));
///         let mut received = ReceivedResponse::new(response.status().as_u16(), content_type.unwrap_or_default());
///         while let Some(chunk) = response.chunk().await? {
///             received.push(&chunk, request)?; // fails if the body is too large
///         }
///         Ok(received)
///     }
/// }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(note = "an `Introspector` sends one HTTP request and returns the response")]
pub trait Introspector: Send + Sync {
    /// Sends the request and returns the response with any status.
    ///
    /// ```text
    /// async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError>
    /// ```
    ///
    /// # Errors
    /// No response arrived, or it was incomplete. The API then responds with 503.
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError>;
}

#[async_trait]
impl<T: Introspector + ?Sized> Introspector for Arc<T> {
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
        (**self).send(request).await
    }
}

/// A `POST` request to the introspection endpoint (RFC 7662 §2.1).
///
/// Its `Debug` form shows only the URL, because headers and body contain secrets.
pub struct OutgoingRequest<'a> {
    pub(super) url: &'a str,
    pub(super) authorization: &'a str,
    pub(super) body: Zeroizing<Vec<u8>>,
    pub(super) max_response: usize,
}

impl OutgoingRequest<'_> {
    /// Returns the URL of the introspection endpoint.
    #[must_use]
    pub const fn url(&self) -> &str {
        self.url
    }

    /// Returns the headers. Names are in lower case, and values are printable ASCII. They contain the secret of the
    /// API.
    #[must_use]
    pub const fn headers(&self) -> [(&str, &str); 3] {
        [
            ("authorization", self.authorization),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
        ]
    }

    /// Returns the body. It contains the access token.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the maximum size of the response body in bytes.
    #[must_use]
    pub const fn max_response(&self) -> usize {
        self.max_response
    }
}

impl fmt::Debug for OutgoingRequest<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OutgoingRequest").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A response of the introspection endpoint that was not checked yet.
pub struct ReceivedResponse {
    pub(super) status: u16,
    pub(super) content_type: Box<str>,
    pub(super) body: Vec<u8>,
}

/// The error of a response body that is larger than [`OutgoingRequest::max_response`].
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body of the response is larger than {0} bytes")]
#[non_exhaustive]
pub struct ResponseTooLarge(usize);

impl ReceivedResponse {
    /// Returns a response with an empty body. `content_type` is the value of its `Content-Type` header, or empty.
    pub fn new(status: u16, content_type: impl AsRef<str>) -> Self {
        Self { status, content_type: content_type.as_ref().into(), body: Vec::new() }
    }

    /// Appends a part of the body.
    ///
    /// # Errors
    /// The body would be larger than `request` allows. Return this error from [`Introspector::send`].
    pub fn push(&mut self, part: &[u8], request: &OutgoingRequest<'_>) -> Result<(), ResponseTooLarge> {
        if part.len() > request.max_response.saturating_sub(self.body.len()) {
            return Err(ResponseTooLarge(request.max_response));
        }
        self.body.extend_from_slice(part);
        Ok(())
    }
}

impl fmt::Debug for ReceivedResponse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReceivedResponse")
            .field("status", &self.status)
            .field("content_type", &self.content_type)
            .field("body", &format_args!("[{} bytes redacted]", self.body.len()))
            .finish()
    }
}
