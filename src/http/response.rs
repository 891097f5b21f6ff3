//! HTTP responses as plain data, with the headers of each kind of response.

use std::borrow::Cow;
use std::fmt;

/// An HTTP response. The host app sends it unchanged.
///
/// `Debug` shows the status and the names of the headers. It leaves out the values and the body, which may contain
/// tokens.
#[must_use = "the peer is waiting for this response"]
#[non_exhaustive]
pub struct Response {
    status: u16,
    headers: Vec<Header>,
    body: Vec<u8>,
}

/// The name of a header in lower case, with its value.
pub(super) type Header = (&'static str, Cow<'static, str>);

impl Response {
    /// Returns a response without body that no cache may store.
    pub fn new(status: u16) -> Self {
        // The number of headers of a token response, including those for CORS.
        let headers = Vec::with_capacity(5);
        Self { status, headers, body: Vec::new() }
            .with_header("cache-control", "no-store")
            .with_header("pragma", "no-cache")
    }

    /// Returns a JSON document that no cache may store.
    pub fn json(status: u16, body: impl Into<Vec<u8>>) -> Self {
        let mut response = Self::new(status).with_header("content-type", "application/json");
        response.body = body.into();
        response
    }

    /// Returns a response without body and headers.
    pub(super) const fn bare(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Vec::new() }
    }

    pub(super) fn with_body(self, body: Vec<u8>) -> Self {
        Self { body, ..self }
    }

    /// Returns a JSON document that any cache may store for an hour.
    pub(crate) fn public_json(body: Vec<u8>) -> Self {
        let headers =
            vec![("cache-control", "public, max-age=3600".into()), ("content-type", "application/json".into())];
        Self { status: 200, headers, body }
    }

    /// Returns an HTML page with the headers that pages of an authorization server need. The page is not cached, can't
    /// be framed, sends no `Referer`, and can load only its inline style (RFC 9700 §4.16, §4.2.4).
    ///
    /// You can use it for your login and consent pages. Its content security policy has no `form-action`, because
    /// browsers apply that to the redirect after a form, and consent ends with a redirect to the client.
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

    /// Adds a source of images to the content security policy, if the response has one.
    #[must_use = "builders return the changed value"]
    pub(crate) fn with_image_source(mut self, source: &str) -> Self {
        let policies = self.headers.iter_mut().filter(|(name, _)| *name == "content-security-policy");
        for (_, policy) in policies {
            *policy = with_image_source(policy, source).into();
        }
        self
    }

    /// Returns a redirect with 303, so that the browser follows with `GET` and does not send the form again (RFC 9700
    /// §4.12).
    pub(crate) fn see_other(location: String) -> Self {
        Self::new(303).with_header("location", location).with_header("referrer-policy", "no-referrer")
    }

    #[must_use = "builders return the changed value"]
    pub(crate) fn with_header(mut self, name: &'static str, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// Returns the status code.
    #[must_use]
    pub const fn status(&self) -> u16 {
        self.status
    }

    /// Returns all headers, with names in lower case and values in printable ASCII.
    #[must_use = "reading the headers has no effect"]
    pub fn headers(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.headers.iter().map(|(name, value)| (*name, value.as_ref()))
    }

    /// Returns the first value of a header. The name must be in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers().find_map(|(own, value)| (own == name).then_some(value))
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns a copy of the response, for an error that its caller may need to keep.
    pub(crate) fn copy(&self) -> Self {
        Self { status: self.status, headers: self.headers.clone(), body: self.body.clone() }
    }

    /// Returns status, headers and body, for an adapter. The opposite is [`from_parts`](Self::from_parts).
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
/// Adds a source to the directive `img-src` of a content security policy. It changes an existing directive, because
/// browsers ignore a second one, and it replaces `'none'`, which browsers ignore beside another source.
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
