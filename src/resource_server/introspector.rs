//! The call to the introspection endpoint, which the host's HTTP client makes.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use zeroize::Zeroizing;

use crate::error::BoxError;

/// Sends a request to the introspection endpoint: the host's HTTP client.
///
/// A correct client verifies the certificate of an `https` endpoint, follows no redirect (the form has the access token), and gives up
/// after a few seconds. Requests that present the same token wait for one call together, and the call goes on while one of them waits. It
/// may be polled by the task of any of them. So it must not block its thread: the tasks that wait would block theirs.
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
///             received.push(&chunk, request)?; // an error if there is too much of it
///         }
///         Ok(received)
///     }
/// }
/// ```
#[async_trait]
#[diagnostic::on_unimplemented(note = "an `Introspector` sends one HTTP request and returns the response")]
pub trait Introspector: Send + Sync {
    /// Sends the request and returns the response, whatever its status is.
    ///
    /// ```text
    /// async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError>
    /// ```
    ///
    /// # Errors
    /// No response arrived, or it broke off. The request to the API is answered with 503.
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError>;
}

#[async_trait]
impl<T: Introspector + ?Sized> Introspector for Arc<T> {
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
        (**self).send(request).await
    }
}

/// A request to the introspection endpoint (RFC 7662 §2.1), a `POST`.
///
/// `Debug` shows the URL alone: headers and body hold secrets.
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

    /// Returns the headers, names in lower case, values in printable ASCII. One of them has the secret of the API.
    #[must_use]
    pub const fn headers(&self) -> [(&str, &str); 3] {
        [
            ("authorization", self.authorization),
            ("content-type", "application/x-www-form-urlencoded"),
            ("accept", "application/json"),
        ]
    }

    /// Returns the body. It has the access token.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the size in bytes above which the body of a response is refused.
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

/// A response of the introspection endpoint. Nothing in it is trusted before it was checked.
pub struct ReceivedResponse {
    pub(super) status: u16,
    pub(super) content_type: Box<str>,
    pub(super) body: Vec<u8>,
}

/// The body of a response is larger than [`OutgoingRequest::max_response`] allows.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the body of the response is larger than {0} bytes")]
#[non_exhaustive]
pub struct ResponseTooLarge(usize);

impl ReceivedResponse {
    /// Makes a response without body. `content_type` is the value of its `Content-Type`; empty if it has none.
    pub fn new(status: u16, content_type: impl AsRef<str>) -> Self {
        Self { status, content_type: content_type.as_ref().into(), body: Vec::new() }
    }

    /// Appends a part of the body, or all of it.
    ///
    /// # Errors
    /// The body is now larger than the response to this request may be. Return the error: reading on is of no use.
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
