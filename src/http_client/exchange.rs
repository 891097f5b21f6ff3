//! The request that is sent, and the response that is read.

use std::fmt;

use super::policy::FetchPolicy;
use super::url::check_url;
use crate::error::{FetchError, UrlError};

/// The response headers that are read.
const READ_HEADERS: [&str; 3] = ["content-type", "cache-control", "age"];

/// The maximum length of a response header that is read.
const MAX_HEADER: usize = 1_024;

/// A `GET` request to a URL that a client has registered.
#[derive(Debug, Clone)]
pub struct GetRequest<'a> {
    url: &'a str,
    accept: &'static str,
    max_response: usize,
    policy: &'a FetchPolicy,
}

impl<'a> GetRequest<'a> {
    /// Returns a request for any content of at most 64 KiB, for your own calls of an
    /// [`HttpClient`](super::HttpClient). The URL is not checked yet.
    #[must_use]
    pub const fn new(url: &'a str, policy: &'a FetchPolicy) -> Self {
        Self { url, accept: "*/*", max_response: 64 * 1_024, policy }
    }

    /// Sets the accepted content types and the maximum size.
    #[cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "only keys of clients are fetched"))]
    pub(crate) const fn accept(mut self, types: &'static str, max_response: usize) -> Self {
        (self.accept, self.max_response) = (types, max_response);
        self
    }

    /// Returns the URL.
    #[must_use]
    pub const fn url(&self) -> &'a str {
        self.url
    }

    /// Returns the headers. Names are in lower case. None of them contains a secret.
    #[must_use]
    pub const fn headers(&self) -> [(&'static str, &'static str); 2] {
        [("accept", self.accept), ("user-agent", "grantor")]
    }

    /// Returns the maximum size of the body in bytes.
    #[must_use]
    pub const fn max_response(&self) -> usize {
        self.max_response
    }

    /// Returns the maximum time for the whole exchange.
    #[must_use]
    pub const fn timeout(&self) -> time::Duration {
        self.policy.timeout
    }

    /// Checks the form of the URL. The server has done this before it calls an [`HttpClient`](super::HttpClient).
    ///
    /// # Errors
    /// The URL is not allowed.
    pub fn check_url(&self) -> Result<(), UrlError> {
        check_url(self.url, self.policy).map(drop)
    }
}

/// A response whose content was not checked yet.
#[derive(Clone)]
pub struct GetResponse {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
}

impl GetResponse {
    /// Returns a response with an empty body. It keeps the headers that the server reads, and drops the others.
    pub fn new<N: AsRef<str>, V: AsRef<[u8]>>(status: u16, headers: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut read = Vec::new();
        for (name, value) in headers {
            let name = READ_HEADERS.into_iter().find(|own| own.eq_ignore_ascii_case(name.as_ref()));
            let value = std::str::from_utf8(value.as_ref()).ok().filter(|value| value.len() <= MAX_HEADER);
            // A header that is sent again and again must not use memory without a limit.
            if let (Some(name), Some(value), true) = (name, value, read.len() < 2 * READ_HEADERS.len()) {
                read.push((name, value.to_owned()));
            }
        }
        Self { status, headers: read, body: Vec::new() }
    }

    /// Appends a part of the body.
    ///
    /// # Errors
    /// The body would be larger than `request` allows.
    pub fn push(&mut self, part: &[u8], request: &GetRequest<'_>) -> Result<(), FetchError> {
        if part.len() > request.max_response.saturating_sub(self.body.len()) {
            return Err(FetchError::TooLarge(request.max_response));
        }
        self.body.extend_from_slice(part);
        Ok(())
    }

    /// Returns the status.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Returns the first value of a header that the server reads: `content-type`, `cache-control` or `age`.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.values(name).next()
    }

    /// Returns all values of a header that the server reads. A list can be sent in several headers (RFC 9110 §5.3).
    pub(crate) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        let values = self.headers.iter().filter(move |(own, _)| own.eq_ignore_ascii_case(name));
        values.map(|(_, value)| value.as_str())
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }
}

impl fmt::Debug for GetResponse {
    /// Leaves out the body, which is long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GetResponse")
            .field("status", &self.status)
            .field("headers", &self.headers)
            .field("body", &format_args!("[{} bytes]", self.body.len()))
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn response_keeps_only_the_headers_that_are_read() {
        let long = "x".repeat(MAX_HEADER + 1);
        let response = GetResponse::new(200, [("Age", "1"), ("set-cookie", "a"), ("cache-control", long.as_str())]);
        assert_eq!((response.header("age"), response.headers.len()), (Some("1"), 1));
        assert_eq!(GetResponse::new(200, vec![("age", "1"); 1_000]).headers.len(), 6);
    }

    #[test]
    fn body_above_the_maximum_is_refused() {
        let policy = FetchPolicy::default();
        let request = GetRequest::new("https://a.example/", &policy);
        let mut response = GetResponse::new(200, [("", "")]);
        response.push(&vec![0; 65_535], &request).unwrap();
        response.push(b"a", &request).unwrap();
        assert!(matches!(response.push(b"b", &request), Err(FetchError::TooLarge(65_536))));
        response.push(b"", &request).unwrap();
        assert_eq!(response.body().len(), 65_536);
    }
}
