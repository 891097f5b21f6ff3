//! Cross-origin resource sharing (CORS), as the adapters offer it at the endpoints that scripts may use (RFC 9700 §2.6): any
//! origin, and no cookies.

use crate::http::{Request, Response};

/// Answers a preflight itself and lets `endpoint` answer every other request; scripts of any origin can read the answer.
pub(crate) async fn for_any_origin<F: Future<Output = Response>>(
    request: Request,
    endpoint: impl FnOnce(Request) -> F,
) -> Response {
    let response = if is_preflight(&request) { preflight() } else { endpoint(request).await };
    // Whoever asks, so that a copy in a cache serves everybody.
    response
        .with_header("access-control-allow-origin", "*")
        .with_header("access-control-expose-headers", "www-authenticate, retry-after")
}

/// What a browser asks before it sends a request that a plain form could not have sent.
fn is_preflight(request: &Request) -> bool {
    let has = |name| request.header_values(name).next().is_some();
    request.method() == "OPTIONS" && has("origin") && has("access-control-request-method")
}

fn preflight() -> Response {
    Response::new(204)
        .with_header("access-control-allow-methods", "GET, POST")
        .with_header("access-control-allow-headers", "authorization, content-type")
        .with_header("access-control-max-age", "3600")
}
