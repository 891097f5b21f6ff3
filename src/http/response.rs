//! HTTP responses as plain data, and the headers that each kind of response carries.

use std::borrow::Cow;
use std::fmt;

/// An HTTP response that the host is to send as it is.
///
/// `Debug` shows the status and the names of the headers; values and body are left out, because they hold tokens.
#[must_use = "the peer is waiting for this answer"]
#[non_exhaustive]
pub struct Response {
    status: u16,
    headers: Vec<Header>,
    body: Vec<u8>,
}

/// The name of a header in lower case, and its value.
pub(super) type Header = (&'static str, Cow<'static, str>);

impl Response {
    /// A response without body, which no cache may store.
    pub fn new(status: u16) -> Self {
        // As many as a token response has with its CORS headers.
        let headers = Vec::with_capacity(5);
        Self { status, headers, body: Vec::new() }
            .with_header("cache-control", "no-store")
            .with_header("pragma", "no-cache")
    }

    /// A JSON document, which no cache may store.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let mut response = Self::new(status).with_header("content-type", "application/json");
        response.body = body.into();
        response
    }

    /// A response without body or headers.
    pub(super) const fn bare(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn with_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    /// A JSON document that anyone may keep for an hour.
    pub(crate) fn public_json(body: Vec<u8>) -> Self {
        let headers =
            vec![("cache-control", "public, max-age=3600".into()), ("content-type", "application/json".into())];
        Self { status: 200, headers, body }
    }

    /// An HTML page with the headers that pages of an authorization server need: it is not stored, not framed, sends
    /// no `Referer`, and loads nothing but its own inline style (RFC 9700 §4.16, §4.2.4).
    ///
    /// Hosts may use it for their login and consent pages too. There is no `form-action` in its policy, because
    /// browsers apply that to the redirect which follows a form, and consent ends with a redirect to the client.
    pub fn page(status: u16, html: impl Into<String>) -> Self {
        const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
        let mut response = Self::new(status)
            .with_header("content-type", "text/html; charset=utf-8")
            .with_header("content-security-policy", POLICY)
            .with_header("x-frame-options", "DENY")
            .with_header("x-content-type-options", "nosniff")
            .with_header("referrer-policy", "no-referrer");
        response.body = html.into().into_bytes();
        response
    }

    /// Adds a source of images to the content security policy. A response without one stays as it is.
    #[must_use = "builders return the changed value"]
    pub(crate) fn with_image_source(mut self, source: &str) -> Self {
        let policies = self.headers.iter_mut().filter(|(name, _)| *name == "content-security-policy");
        for (_, policy) in policies {
            *policy = with_image_source(policy, source).into();
        }
        self
    }

    /// A redirect by 303, so that the browser follows with `GET` and re-sends no form (RFC 9700 §4.12).
    pub(crate) fn see_other(location: String) -> Self {
        Self::new(303).with_header("location", location).with_header("referrer-policy", "no-referrer")
    }

    #[must_use = "builders return the changed value"]
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// The status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// All headers, names in lower case, values in printable ASCII.
    #[must_use = "reading the headers has no effect"]
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// The first value of a header; the name in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_map(|(own, value)| (own == name).then_some(value))
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns a second answer with the same content. For an error, which its caller may need to keep.
    pub(crate) fn copy(&self) -> Self {
        Self { status: self.status, headers: self.headers.clone(), body: self.body.clone() }
    }

    /// Status, headers and body, for an adapter. [`from_parts`](Self::from_parts) is the way back for responses of one's own.
    #[must_use = "the peer is waiting for these parts"]
    pub fn into_parts(self) -> (u16, Vec<Header>, Vec<u8>) {
        (self.status, self.headers, self.body)
    }
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| *name).collect();
        f.debug_struct("Response")
            .field("status", &self.status)
            .field("headers", &names)
            .field("body", &format_args!("[{} bytes redacted]", self.body.len()))
            .finish()
    }
}
/// Adds a source to the directive `img-src` of a content security policy, and to no other. A second directive of that name would be
/// ignored, and so would `'none'` beside another source.
fn with_image_source(policy: &str, source: &str) -> String {
    let is_images = |directive: &str| {
        directive.split_ascii_whitespace().next().is_some_and(|name| name.eq_ignore_ascii_case("img-src"))
    };
    let mut directives: Vec<String> =
        policy.split(';').map(|directive| directive.trim_ascii().to_owned()).filter(|text| !text.is_empty()).collect();
    match directives.iter_mut().find(|directive| is_images(directive)) {
        Some(images) if images.split_ascii_whitespace().nth(1).is_some_and(|first| first != "'none'") => {
            images.extend([" ", source]);
        }
        Some(images) => *images = format!("img-src {source}"),
        None => directives.push(format!("img-src {source}")),
    }
    directives.join("; ")
}
