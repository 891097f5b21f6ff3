//! Responses with headers that a capability or the host app chooses. The headers are checked.

use std::borrow::Cow;

use super::response::{Header, Response};

/// The reason why [`Response::from_parts`] fails. The text contains the name of a header, but not its value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ResponseError {
    /// The status is not final, or is a redirect.
    #[error("the status {0} is not allowed: use 200 to 299, 304, or 400 to 599")]
    Status(u16),
    /// The name has an upper-case letter or a character that is not allowed.
    #[error("the header name {0:?} is not valid: use lower-case letters, digits and hyphens")]
    Name(&'static str),
    /// The header frames the message, grants access to scripts (CORS), or redirects the browser.
    #[error("the header {0} is reserved for the web stack or the library, or redirects: remove it")]
    Reserved(&'static str),
    /// The value has a control character, a character outside of ASCII, or a space at its start or end.
    #[error("the value of the header {0} must be printable ASCII without spaces at its start and end")]
    Value(&'static str),
    /// The header occurs more than once, so a receiver could read either value.
    #[error("the header {0} occurs more than once: remove all but one")]
    Repeated(&'static str),
    /// There is a `location`, but the status is not 201 (RFC 9110 §10.2.2).
    #[error("the header location is allowed with the status 201 only")]
    Location,
    /// The status allows no body (RFC 9110 §15.3.5, §15.3.6, §15.4.5).
    #[error("a response with the status {0} must have no body")]
    Body(u16),
    /// The body has no content type, so a browser would guess it.
    #[error("a response with a body must have the header content-type")]
    ContentType,
}

/// Returns 500 without body, because the mistake is in the program of the host app.
impl From<ResponseError> for Response {
    fn from(_: ResponseError) -> Self {
        Self::new(500)
    }
}

impl Response {
    /// Returns a response with headers of your choice, such as `etag`, `location`, `retry-after` or `www-authenticate`.
    /// Write the names in lower case. Without a `cache-control`, no cache may store the response. For an HTML page, see
    /// [`page`](Self::page).
    ///
    /// The response can't redirect, because the library redirects only to checked targets. A `location` is allowed with
    /// 201, where browsers don't follow it. The web stack sets the headers that frame the message (`content-length`,
    /// `connection`, ..). [`AuthorizationServer::handle`](crate::AuthorizationServer::handle) sets the CORS headers. At
    /// an endpoint of [any origin](crate::capability::Endpoint::any_origin), scripts can read every header except
    /// `set-cookie`.
    ///
    /// ```
    /// use grantor::{Response, ResponseError};
    ///
    /// fn created(note: &str, version: u32) -> Result<Response, ResponseError> {
    ///     let headers = [("location", format!("/notes/{note}")), ("etag", format!("\"{version}\""))];
    ///     Response::from_parts(201, headers, "")
    /// }
    ///
    /// let response = created("7", 1).unwrap_or_else(Response::from);
    /// assert_eq!((response.status(), response.header("etag")), (201, Some("\"1\"")));
    /// let split = created("7\r\nset-cookie: a=b", 1).unwrap_or_else(Response::from);
    /// assert_eq!((split.status(), split.header("location")), (500, None));
    /// ```
    ///
    /// # Errors
    /// See [`ResponseError`]. Convert it into a `Response` to respond with 500.
    pub fn from_parts<V: Into<Cow<'static, str>>>(
        status: u16,
        headers: impl IntoIterator<Item = (&'static str, V)>,
        body: impl Into<Vec<u8>>,
    ) -> Result<Self, ResponseError> {
        let body = body.into();
        let headers: Vec<Header> = headers.into_iter().map(|(name, value)| (name, value.into())).collect();
        check_status(status)?;
        for (at, (name, value)) in headers.iter().enumerate() {
            check_header(name, value)?;
            if headers[..at].iter().any(|(other, _)| other == name) && !MAY_REPEAT.contains(name) {
                return Err(ResponseError::Repeated(name));
            }
        }
        let has = |wanted: &str| headers.iter().any(|(name, _)| *name == wanted);
        if has("location") && status != 201 {
            return Err(ResponseError::Location);
        }
        match body.is_empty() {
            false if matches!(status, 204 | 205 | 304) => return Err(ResponseError::Body(status)),
            false if !has("content-type") => return Err(ResponseError::ContentType),
            _ => {}
        }
        let base = if has("cache-control") { Self::bare(status) } else { Self::new(status) };
        let response = headers.into_iter().fold(base, |response, (name, value)| response.with_header(name, value));
        Ok(response.with_body(body))
    }
}

/// Headers that may repeat, because their values can't always be joined by commas.
const MAY_REPEAT: [&str; 2] = ["set-cookie", "www-authenticate"];

/// Headers of the connection or the framing (RFC 9110 §7.6.1, §8.6; RFC 9112 §6), and `refresh`, which redirects.
const RESERVED: [&str; 9] = [
    "connection",
    "content-length",
    "keep-alive",
    "proxy-connection",
    "refresh",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

const fn check_status(status: u16) -> Result<(), ResponseError> {
    if matches!(status, 200..=299 | 304 | 400..=599) { Ok(()) } else { Err(ResponseError::Status(status)) }
}

fn check_header(name: &'static str, value: &str) -> Result<(), ResponseError> {
    if name.is_empty() || !name.bytes().all(is_lower_case_token) {
        return Err(ResponseError::Name(name));
    }
    if RESERVED.contains(&name) || name.starts_with("access-control-") {
        return Err(ResponseError::Reserved(name));
    }
    let is_printable = value.bytes().all(|byte| matches!(byte, 0x20..=0x7e));
    if is_printable && value.trim_matches(' ') == value { Ok(()) } else { Err(ResponseError::Value(name)) }
}

/// Returns whether RFC 9110 §5.6.2 allows a byte in the name of a header. Upper case is excluded.
const fn is_lower_case_token(byte: u8) -> bool {
    byte.is_ascii_lowercase()
        || byte.is_ascii_digit()
        || matches!(byte, b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^'..=b'`' | b'|' | b'~')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(status: u16, headers: &[(&'static str, &'static str)], body: &str) -> Result<Response, ResponseError> {
        Response::from_parts(status, headers.iter().copied(), body)
    }

    #[test]
    fn headers_keep_their_order_and_default_to_no_store() {
        let sent = [("www-authenticate", "Basic realm=\"a\""), ("x-a", ""), ("www-authenticate", "Bearer")];
        let response = with(401, &sent, "").unwrap();
        let first = [("cache-control", "no-store"), ("pragma", "no-cache")];
        assert_eq!(response.headers().collect::<Vec<_>>(), [&first[..], &sent].concat());
        let cached = [("cache-control", "max-age=60"), ("content-type", "text/plain"), ("etag", "\"1\"")];
        let response = with(200, &cached, "a").unwrap();
        assert_eq!(response.headers().collect::<Vec<_>>(), cached);
        assert_eq!((response.status(), response.body()), (200, &b"a"[..]));
    }

    #[test]
    fn malformed_header_value_is_refused() {
        for bad in ["a\r\nb: c", "a\nb", "a\rb", "a\0", "\t", "\u{e9}", "\u{7f}", " a", "a ", "\u{2028}"] {
            for name in ["etag", "location", "www-authenticate", "cache-control", "content-type", "x-a"] {
                assert_eq!(with(201, &[(name, bad)], "").unwrap_err(), ResponseError::Value(name), "{bad:?}");
            }
        }
        assert!(with(200, &[("x-a", "!\"#$%&'()*+,-./09:;<=>?@AZ[\\]^_`az{|}~ a")], "").is_ok());
    }

    #[test]
    fn bad_reserved_or_repeated_header_name_is_refused() {
        for bad in
            ["", "ETag", "a b", "a:", "a\r\n", "caf\u{e9}", "a\0", "(a)", "a/b", "a\"", "a=b", "a,b", "[a]", "{a}"]
        {
            assert_eq!(with(200, &[(bad, "a")], "").unwrap_err(), ResponseError::Name(bad));
        }
        let cors = ["access-control-allow-origin", "access-control-allow-credentials", "access-control-x"];
        for name in RESERVED.into_iter().chain(cors) {
            assert_eq!(with(200, &[(name, "1")], "").unwrap_err(), ResponseError::Reserved(name));
        }
        for name in ["content-type", "etag", "cache-control", "retry-after", "x-a"] {
            assert_eq!(with(200, &[(name, "1"), (name, "1")], "").unwrap_err(), ResponseError::Repeated(name));
        }
        assert!(with(200, &[("set-cookie", "a=b"), ("set-cookie", "c=d")], "").is_ok());
    }

    #[test]
    fn response_from_parts_does_not_redirect() {
        for status in [0, 99, 100, 101, 199, 300, 301, 302, 303, 305, 307, 308, 399, 600, u16::MAX] {
            assert_eq!(with(status, &[], "").unwrap_err(), ResponseError::Status(status));
        }
        for status in [200, 202, 204, 304, 400, 503] {
            assert_eq!(with(status, &[("location", "/a")], "").unwrap_err(), ResponseError::Location, "{status}");
        }
        assert_eq!(with(201, &[("location", "/a")], "").unwrap().header("location"), Some("/a"));
    }

    #[test]
    fn body_needs_a_type_and_a_status_that_allows_it() {
        for status in [204, 205, 304] {
            assert_eq!(with(status, &[("content-type", "a/b")], "a").unwrap_err(), ResponseError::Body(status));
            assert!(with(status, &[], "").is_ok());
        }
        assert_eq!(with(200, &[], "a").unwrap_err(), ResponseError::ContentType);
        assert!(with(404, &[("content-type", "a/b")], "a").is_ok());
    }

    #[test]
    fn error_becomes_a_response_with_status_500() {
        let answer = Response::from(ResponseError::Name("a b"));
        assert_eq!((answer.status(), answer.body()), (500, &b""[..]));
        assert_eq!(
            ResponseError::Name("a b").to_string(),
            "the header name \"a b\" is not valid: use lower-case letters, digits and hyphens"
        );
    }

    /// The conversion would panic for a name that it does not accept.
    #[cfg(feature = "http")]
    #[test]
    fn every_accepted_header_name_converts() {
        for byte in 0..=u8::MAX {
            let name: &'static str = String::leak(char::from(byte).to_string());
            if let Ok(response) = with(200, &[(name, "a")], "") {
                let response = ::http::Response::<Vec<u8>>::from(response);
                assert_eq!(response.headers().get(name).map(::http::HeaderValue::as_bytes), Some(&b"a"[..]), "{name}");
            }
        }
    }
}
