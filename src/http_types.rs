//! Conversions from and to the types of the crate `http`, which hyper, axum, tonic, warp and others use (feature
//! `http`).

use std::borrow::Cow;

use ::http::request::Parts;
use ::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};

use crate::authorize::AuthorizationResponse;
use crate::http::{Request, Response};

/// Converts everything except the body, whose limit depends on the [`Route`](crate::Route). Add the body, and the
/// [peer](Request::with_peer) from the connection.
impl From<&Parts> for Request {
    fn from(parts: &Parts) -> Self {
        from_head(&parts.method, &parts.uri, &parts.headers, |_| true)
    }
}

/// Converts a request whose body was read up to the limit of its [`Route`](crate::Route). Add the
/// [peer](Request::with_peer) from the connection.
impl<B: Into<Vec<u8>>> From<::http::Request<B>> for Request {
    fn from(request: ::http::Request<B>) -> Self {
        let (parts, body) = request.into_parts();
        Self::from(&parts).with_body(body)
    }
}

/// Returns a request without its body, with all headers whose names are `wanted`, including repeated ones. A proxy may
/// send a target with scheme and host; only its path and query are used.
pub(crate) fn from_head(method: &Method, uri: &Uri, headers: &HeaderMap, wanted: impl Fn(&str) -> bool) -> Request {
    let target = uri.path_and_query().map_or_else(|| uri.path(), |target| target.as_str());
    let headers = headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes()));
    Request::new(method.as_str(), target).with_headers(headers.filter(|(name, _)| wanted(name)))
}

impl From<Response> for ::http::Response<Vec<u8>> {
    fn from(response: Response) -> Self {
        let (status, headers, body) = response.into_parts();
        let mut response = Self::new(body);
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in headers {
            let value = match value {
                Cow::Borrowed(text) => HeaderValue::from_str(text),
                // This takes over the allocation of the text.
                Cow::Owned(text) => HeaderValue::try_from(text),
            };
            // All values are printable ASCII by construction.
            if let Ok(value) = value {
                response.headers_mut().append(HeaderName::from_static(name), value);
            }
        }
        response
    }
}

impl From<AuthorizationResponse> for ::http::Response<Vec<u8>> {
    fn from(response: AuthorizationResponse) -> Self {
        Response::from(response).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn request_comes_from_its_parts_unchanged() {
        for (uri, target) in [
            ("/token?scope=a%20b&&x", "/token?scope=a%20b&&x"),
            ("https://id.example/token?x=%zz", "/token?x=%zz"),
            ("https://id.example", "/"),
            ("*", "*"),
        ] {
            let builder = ::http::Request::builder().method("pOST").uri(uri);
            let builder = builder.header("Authorization", "Basic YTpi").header("authorization", "Basic YTpj");
            let request =
                builder.header("x", HeaderValue::from_bytes(b"\xff").unwrap()).body(b"a=%00".to_vec()).unwrap();
            let own = Request::from(request);
            assert_eq!((own.method(), own.target(), own.body()), ("pOST", target, &b"a=%00"[..]), "{uri}");
            assert_eq!(own.header_values("authorization").collect::<Vec<_>>(), [b"Basic YTpi", b"Basic YTpj"]);
            assert_eq!(own.header_values("x").collect::<Vec<_>>(), [b"\xff"]);
            assert_eq!((own.peer(), own.client_certificate()), (None, None));
        }
        let (parts, ()) = ::http::Request::get("/a?b").body(()).unwrap().into_parts();
        assert_eq!((Request::from(&parts).target(), Request::from(&parts).body()), ("/a?b", &b""[..]));
    }

    #[test]
    fn response_has_status_all_headers_and_body() {
        let own = || Response::json(429, "{}").with_header("retry-after", "7".to_owned()).with_header("vary", "a");
        let response = ::http::Response::<Vec<u8>>::from(own().with_header("vary", "b"));
        assert_eq!((response.status().as_u16(), response.body().as_slice()), (429, &b"{}"[..]));
        let headers: Vec<_> =
            response.headers().iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let expected = own().with_header("vary", "b");
        assert_eq!(headers, expected.headers().collect::<Vec<_>>());
        assert_eq!(response.headers().get_all("vary").iter().count(), 2);
    }
}
