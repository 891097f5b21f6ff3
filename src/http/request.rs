//! HTTP requests as plain data.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

use zeroize::Zeroizing;

use super::Languages;
use crate::error::Refusal;
use crate::params::Params;

/// An HTTP request as the host app received it.
///
/// `Debug` shows the method, the path and the names of the headers. It leaves out the query, the header values and the
/// body, which may contain secrets.
#[non_exhaustive]
pub struct Request {
    method: Cow<'static, str>,
    target: Zeroizing<String>,
    headers: Vec<Header>,
    body: Zeroizing<Vec<u8>>,
    /// The reason why the body was not read completely.
    body_fault: Option<Refusal>,
    peer: Option<IpAddr>,
    client_certificate: Option<Box<[u8]>>,
}

/// A header: the name followed by the value, in one allocation.
struct Header {
    name_length: usize,
    bytes: Zeroizing<Vec<u8>>,
}

impl Header {
    fn new(name: &[u8], value: &[u8]) -> Self {
        Self { name_length: name.len(), bytes: Zeroizing::new([name, value].concat()) }
    }

    fn name(&self) -> &[u8] {
        &self.bytes[..self.name_length]
    }

    fn value(&self) -> &[u8] {
        &self.bytes[self.name_length..]
    }
}

impl Request {
    /// Returns a request with a method (`GET`, `POST`, ..) and a target: path and query, as in the request line.
    pub fn new(method: impl AsRef<str>, target: impl Into<String>) -> Self {
        Self {
            method: match method.as_ref() {
                "GET" => Cow::Borrowed("GET"),
                "POST" => Cow::Borrowed("POST"),
                other => Cow::Owned(other.to_owned()),
            },
            target: Zeroizing::new(target.into()),
            headers: Vec::new(),
            body: Zeroizing::default(),
            body_fault: None,
            peer: None,
            client_certificate: None,
        }
    }

    /// Returns a `GET` request.
    pub fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    /// Returns a `POST` request whose body is a form.
    pub fn post_form(target: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self::new("POST", target).with_header("content-type", "application/x-www-form-urlencoded").with_body(body)
    }

    /// Adds a header. Pass on every header, including repeated ones, because a repetition can be an attack. The value
    /// is copied, and the copy is overwritten when it is dropped.
    #[must_use]
    pub fn with_header(mut self, name: impl AsRef<str>, value: impl AsRef<[u8]>) -> Self {
        self.headers.push(Header::new(name.as_ref().as_bytes(), value.as_ref()));
        self
    }

    /// Adds headers. Pass on all headers of the web stack: see [`with_header`](Self::with_header).
    #[must_use]
    pub fn with_headers<N: AsRef<str>, V: AsRef<[u8]>>(mut self, headers: impl IntoIterator<Item = (N, V)>) -> Self {
        let headers = headers.into_iter();
        self.headers.extend(headers.map(|(name, value)| Header::new(name.as_ref().as_bytes(), value.as_ref())));
        self
    }

    /// Sets the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = Zeroizing::new(body.into());
        self
    }

    /// Marks the body as larger than the [limit](crate::Route::max_body) of its route, so that the host app stopped
    /// reading it. Endpoints then respond with 413.
    #[must_use]
    pub const fn with_body_too_large(mut self) -> Self {
        self.body_fault = Some(Refusal::BodyTooLarge);
        self
    }

    /// Marks the body as incomplete: the connection broke, or the framing is wrong. Endpoints then respond with 400.
    /// They ignore the part that was read, because half of a form is another form.
    #[must_use]
    pub const fn with_broken_body(mut self) -> Self {
        self.body_fault = Some(Refusal::BrokenBody);
        self
    }

    /// Marks the body as late, so that the host app stopped waiting for it: see
    /// [`Policy::body_deadline`](crate::Policy::body_deadline). Endpoints then respond with 408.
    #[must_use]
    pub const fn with_late_body(mut self) -> Self {
        self.body_fault = Some(Refusal::LateBody);
        self
    }

    /// Sets the address of the peer. Use only an address that you trust: that of the TCP connection, or one that a
    /// trusted proxy reported. Only the [`Authenticator`](crate::Authenticator), grant handlers and the
    /// [`Observer`](crate::Observer) get it.
    #[must_use]
    pub const fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Sets the client certificate in DER from the TLS handshake of this connection (RFC 8705 §2, §3), or from a
    /// trusted proxy. Never use a header that a client can set. Empty bytes mean no certificate, as a proxy reports for
    /// a connection without one.
    #[must_use]
    pub fn with_client_certificate(mut self, der: impl Into<Box<[u8]>>) -> Self {
        let der = der.into();
        self.client_certificate = if der.is_empty() { None } else { Some(der) };
        self
    }

    /// Returns the method, with unchanged case.
    #[must_use]
    pub fn method(&self) -> &str {
        &self.method
    }

    /// Returns the target: path and query.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }

    /// Returns the target without its query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split_once('?').map_or(&*self.target, |(path, _)| path)
    }

    /// Returns the encoded query. Empty if there is none.
    #[must_use]
    pub fn query(&self) -> &str {
        self.target.split_once('?').map_or("", |(_, query)| query)
    }

    /// Returns the values of a header in their order. The case of the name is ignored.
    pub fn header_values<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let is_meant = move |header: &&Header| header.name().eq_ignore_ascii_case(name.as_bytes());
        self.headers.iter().filter(is_meant).map(Header::value)
    }

    /// Returns the body.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// Returns the address of the peer, if the host app set it.
    #[must_use]
    pub const fn peer(&self) -> Option<IpAddr> {
        self.peer
    }

    /// Returns the client certificate in DER, if the host app set it.
    #[must_use]
    pub fn client_certificate(&self) -> Option<&[u8]> {
        self.client_certificate.as_deref()
    }

    /// Returns the languages that the user prefers, for your login and consent pages.
    #[must_use]
    pub fn languages(&self) -> Languages {
        Languages::of(self.header_values("accept-language"))
    }

    /// Refuses a request whose body is incomplete, or whose body or query is larger than `limit`.
    pub(crate) fn check_body(&self, limit: usize) -> Result<(), Refusal> {
        match self.body_fault {
            Some(fault) => Err(fault),
            None if self.body.len() > limit || self.query().len() > limit => Err(Refusal::BodyTooLarge),
            None => Ok(()),
        }
    }

    /// Refuses a request with one of these parameters in its query instead of its body, because software that reads the
    /// query would see another request. Other parameters belong to the URL of the endpoint (RFC 6749 §3.1, §3.2).
    pub(crate) fn check_query(&self, names: &[&'static str]) -> Result<(), Refusal> {
        if self.query().is_empty() {
            return Ok(());
        }
        let found = Params::decode(self.query().as_bytes()).first_known(names);
        found.map_or(Ok(()), |name| Err(Refusal::ParameterInQuery(name)))
    }

    /// Returns the reason if the body was not read completely: it was too large, incomplete or late.
    /// [`body`](Self::body) is then empty, so call this first if your own handler reads the body. The endpoints of the
    /// library refuse such a request themselves.
    #[must_use]
    pub const fn body_refusal(&self) -> Option<&Refusal> {
        self.body_fault.as_ref()
    }

    /// Returns whether there is exactly one `Content-Type`, which is that of a URL-encoded form with or without
    /// parameters.
    pub(crate) fn is_form(&self) -> bool {
        let mut types = self.header_values("content-type");
        let (Some(first), None) = (types.next(), types.next()) else { return false };
        let essence = first.split(|byte| *byte == b';').next().unwrap_or_default().trim_ascii();
        essence.eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.iter().map(|header| String::from_utf8_lossy(header.name())).collect();
        f.debug_struct("Request")
            .field("method", &self.method)
            .field("path", &self.path())
            .field("headers", &names)
            .field("body", &format_args!("[{} bytes redacted]", self.body.len()))
            .field("peer", &self.peer)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: PP-10 (RFC 6749 App. B)
    #[test]
    fn form_type_may_have_any_case_and_charset_but_not_repeat() {
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
    fn headers_are_returned_as_they_were_added() {
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

    #[test]
    fn empty_client_certificate_counts_as_missing() {
        let with = |der: &[u8]| Request::get("/").with_client_certificate([7]).with_client_certificate(der);
        assert_eq!(with(&[]).client_certificate(), None);
        assert_eq!(with(&[]).context().client_certificate(), None);
        assert_eq!(with(&[0x30]).client_certificate(), Some(&[0x30][..]));
        assert_eq!(Request::get("/").client_certificate(), None);
    }

    // covers: B34
    #[test]
    fn debug_output_holds_no_query_header_value_or_body() {
        let request = Request::post_form("/token?client_secret=s3cr3t", "code=s3cr3t")
            .with_header("authorization", "Basic s3cr3t");
        let response = crate::Response::see_other("https://a.example/?code=s3cr3t".to_owned());
        let shown = format!("{request:?} {response:?}");
        assert!(!shown.contains("s3cr3t"), "{shown}");
        assert!(shown.contains("/token") && shown.contains("authorization"), "{shown}");
    }
}
