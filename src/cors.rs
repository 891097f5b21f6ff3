//! Cross-origin resource sharing (CORS): what a browser asks and is told so that scripts of other origins may use an endpoint.

use crate::http::{Request, Response};

/// The headers that let scripts of any origin read a response. They do not depend on the origin, so that a cached copy serves every
/// script, and they allow no credentials.
pub(crate) const ANY_ORIGIN: [(&str, &str); 2] = [("access-control-allow-origin", "*"), EXPOSED];

/// Lets a script read all headers of a response that can be read at all (Fetch standard, extracting header list values): `*` covers
/// every header of a response to a request without credentials. A program that is no browser reads them anyway.
const EXPOSED: (&str, &str) = ("access-control-expose-headers", "*");

/// Lets scripts of any origin read a response.
pub(crate) fn for_any_origin(response: Response) -> Response {
    ANY_ORIGIN.into_iter().fold(response, |response, (name, value)| response.with_header(name, value))
}

/// The headers by which a preflight is recognized.
pub(crate) const PREFLIGHT: [&str; 2] = ["origin", "access-control-request-method"];

/// Recognizes what a browser asks before it sends a request that a plain form could not have sent.
pub(crate) fn is_preflight(request: &Request) -> bool {
    let has = |name: &&str| request.header_values(name).next().is_some();
    request.method() == "OPTIONS" && PREFLIGHT.iter().all(has)
}

/// Answers a preflight and allows every request header: client libraries add headers for tracing, versions and the like, and an endpoint
/// ignores those that it does not know. No cookie has a part in what it allows, so `*` has its meaning (Fetch standard, CORS-preflight
/// fetch), but it does not include `authorization`. The answer does not depend on the request, so it needs no `Vary`.
pub(crate) fn preflight(methods: &'static str) -> Response {
    Response::new(204)
        .with_header("access-control-allow-methods", methods)
        .with_header("access-control-allow-headers", "authorization, *")
        .with_header("access-control-max-age", "3600")
}
