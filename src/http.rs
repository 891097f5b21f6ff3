//! Requests and responses as plain data, so that any web stack can be adapted in a few lines.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use crate::wipe::{Wipe, Wiped};

/// An HTTP request as the host received it.
///
/// `Debug` shows the method, the path and the names of the headers; everything that could hold a secret (query, header
/// values, body) is left out.
#[non_exhaustive]
pub struct Request {
    method: Cow<'static, str>,
    target: Wiped<String>,
    headers: Headers,
    body: Wiped<Vec<u8>>,
    body_too_large: bool,
    peer: Option<IpAddr>,
}

impl Request {
    /// A request with a method (`GET`, `POST`, ..) and a target: path and query, as on the request line.
    pub fn new(method: impl AsRef<str>, target: impl Into<String>) -> Self {
        let usual = ["GET", "POST"].into_iter().find(|usual| *usual == method.as_ref());
        Self {
            method: usual.map_or_else(|| method.as_ref().to_owned().into(), Cow::Borrowed),
            target: Wiped::new(target.into()),
            headers: Headers::default(),
            body: Wiped::default(),
            body_too_large: false,
            peer: None,
        }
    }

    /// A `GET` request.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    /// A `POST` request whose body is a form.
    pub fn post_form(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).with_header("content-type", "application/x-www-form-urlencoded").with_body(body)
    }

    /// Adds a header. Every header is to be passed on, repeated ones too: a repetition can be an attack. The value is copied; the
    /// copy is overwritten when it is dropped.
    #[must_use]
    pub fn with_header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(name.as_ref(), value.as_ref());
        self
    }

    /// Adds headers as a web stack has them, all of them: see [`with_header`](Self::with_header).
    #[must_use]
    pub fn with_headers<N: AsRef<str>, V: AsRef<[u8]>>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self {
        for (name, value) in headers {
            self.headers.push(name.as_ref(), value.as_ref());
        }
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Wiped::new(body.into());
        self
    }

    /// Says that the host stopped reading the body because it grew larger than
    /// [`Policy::max_body`](crate::Policy::max_body). Endpoints then answer 413, each in its own form.
    #[must_use]
    pub const fn with_body_too_large(mut self) -> Self {
        self.body_too_large = true;
        self
    }

    /// Sets the address of the peer, if the host knows it and vouches for it: the address of the TCP connection, or one
    /// that a trusted proxy reported. It is handed to the [`Authenticator`](crate::Authenticator) and to
    /// grant handlers, and to nothing else.
    #[must_use]
    pub const fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// The method, in the case it was given in.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// The target: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// The target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    /// The query, still encoded; empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// The values of a header, in order; the case of its name does not matter.
    pub fn header_values(&self, name: &str) -> impl Iterator<Item = &[u8]> {
        let is_meant = move |own: &[u8]| own.eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(move |(own, _)| is_meant(own)).map(|(_, value)| value)
    }

    /// The body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The address of the peer, if the host vouched for one.
    #[must_use]
    pub const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Whether the body or the query is larger than `limit`.
    pub(crate) fn exceeds(&self, limit: usize) -> bool {
        self.body_too_large || self.body.len() > limit || self.query().len() > limit
    }

    /// Whether there is exactly one `Content-Type` and it is a URL-encoded form, with or without parameters.
    pub(crate) fn is_form(&self) -> bool {
        let mut types = self.header_values("content-type");
        let (Some(first), None) = (types.next(), types.next()) else { return false };
        let essence = first.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|(name, _)| String::from_utf8_lossy(name)).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &names)
            .field("body", &format_args!("[{} bytes redacted]", self.body.len()))
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

/// Names and values of headers in turn, each behind its length, in a buffer that is overwritten when it is dropped, as far as it
/// was used.
#[derive(Default)]
struct Headers(Vec<u8>);

impl Headers {
    /// As much as the headers of a request usually take.
    const USUAL: usize = 512;

    fn push(&mut self, name: &str, value: &[u8]) {
        self.reserve(name.len() + value.len() + 2 * size_of::<u64>());
        for part in [name.as_bytes(), value] {
            self.0.extend_from_slice(&(part.len() as u64).to_ne_bytes());
            self.0.extend_from_slice(part);
        }
    }

    /// A buffer that grew in place would leave a copy behind that nobody overwrites.
    fn reserve(&mut self, more: usize) {
        let needed = self.0.len() + more;
        if needed > self.0.capacity() {
            let mut larger = Vec::with_capacity(needed.max(2 * self.0.capacity()).max(Self::USUAL));
            larger.extend_from_slice(&self.0);
            std::mem::replace(&mut self.0, larger).as_mut_slice().wipe();
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        let mut rest = self.0.as_slice();
        std::iter::from_fn(move || Some((next_part(&mut rest)?, next_part(&mut rest)?)))
    }
}

fn next_part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (length, tail) = rest.split_first_chunk()?;
    let length = usize::try_from(u64::from_ne_bytes(*length)).ok()?;
    let (part, tail) = tail.split_at_checked(length)?;
    *rest = tail;
    Some(part)
}

impl Drop for Headers {
    fn drop(&mut self) {
        self.0.as_mut_slice().wipe();
    }
}

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
type Header = (&'static str, Cow<'static, str>);

impl Response {
    /// A response without body that nobody may store.
    pub(crate) fn new(status: u16) -> Self {
        // Room for what most answers add.
        let mut headers = Vec::with_capacity(6);
        headers.extend([("cache-control", Cow::Borrowed("no-store")), ("pragma", Cow::Borrowed("no-cache"))]);
        Self { status, headers, body: Vec::new() }
    }

    /// A JSON document.
    pub(crate) fn json(status: u16, body: Vec<u8>) -> Self {
        let mut response = Self::new(status).with_header("content-type", "application/json");
        response.body = body;
        response
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

    /// Status, headers and body, for an adapter.
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

#[cfg(test)]
mod tests {
    use super::*;

    // covers: PP-10 (RFC 6749 App. B)
    #[test]
    fn a_form_is_recognised_with_a_charset_and_in_any_case_but_only_once() {
        let with = |types: &[&str]| {
            let request = Request::new("POST", "/token");
            types.iter().fold(request, |request, value| request.with_header("Content-Type", *value)).is_form()
        };
        assert!(with(&["application/x-www-form-urlencoded"]));
        assert!(with(&["application/x-www-form-urlencoded; charset=UTF-8"]));
        assert!(with(&["Application/X-WWW-Form-URLEncoded ;charset=utf-8"]));
        for bad in [
            &[][..],
            &["application/json"],
            &["multipart/form-data; boundary=x"],
            &[""],
            &["application/x-www-form-urlencoded-ish"],
            &["application/x-www-form-urlencoded", "application/x-www-form-urlencoded"],
        ] {
            assert!(!with(bad), "{bad:?}");
        }
    }

    #[test]
    fn headers_come_back_as_they_were_added_one_by_one_or_together() {
        let many: Vec<(String, Vec<u8>)> =
            (0..40u8).map(|n| (format!("x-{}", n % 7), vec![n; usize::from(n)])).collect();
        let together = Request::get("/").with_header("x-0", "first").with_headers(many.iter().map(|(n, v)| (n, v)));
        let one_by_one = many.iter().fold(Request::get("/").with_header("x-0", "first"), |request, (name, value)| {
            request.with_header(name.as_str(), value.clone())
        });
        for name in ["x-0", "X-3", "x-6"] {
            let own = many.iter().filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_slice());
            let expected: Vec<&[u8]> = (name == "x-0").then_some(&b"first"[..]).into_iter().chain(own).collect();
            assert_eq!(together.header_values(name).collect::<Vec<_>>(), expected, "{name}");
            assert_eq!(one_by_one.header_values(name).collect::<Vec<_>>(), expected, "{name}");
        }
        assert_eq!(together.header_values("x-7").count(), 0);
    }

    /// One that grew would leave its old bytes behind, where nobody overwrites them.
    #[test]
    fn the_buffer_of_headers_never_grows_by_itself() {
        let mut headers = Headers::default();
        headers.push("a", &[7; 600]);
        assert_eq!(headers.0.capacity(), 617, "all of it, with two lengths of eight bytes");
        headers.push("a", &[7; 600]);
        assert_eq!(headers.0.capacity(), 2 * 617);
        headers.push("", &[]);
        assert_eq!(headers.0.capacity(), 4 * 617);

        let mut few = Headers::default();
        few.push("a", b"b");
        assert_eq!((few.0.len(), few.0.capacity()), (18, 512));
        few.push("", &[7; 478]);
        assert_eq!((few.0.len(), few.0.capacity()), (512, 512), "there is room for what is usual, to the last byte");
    }

    // covers: B34
    #[test]
    fn debug_output_holds_no_query_header_value_or_body() {
        let request = Request::post_form("/token?client_secret=s3cr3t", "code=s3cr3t")
            .with_header("authorization", "Basic s3cr3t");
        let shown = format!("{request:?} {:?}", Response::see_other("https://a.example/?code=s3cr3t".to_owned()));
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains("/token") && shown.contains("authorization"), "{shown}");
    }
}
