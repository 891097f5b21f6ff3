//! Cross-origin resource sharing (CORS): the preflight responses and headers that let scripts of other origins use an
//! endpoint.

use crate::http::{Request, Response};

/// The headers that let scripts of any origin read a response. They do not depend on the origin, so a cached copy is
/// right for every script. They allow no credentials.
pub(crate) const ANY_ORIGIN: [(&str, &str); 2] = [("access-control-allow-origin", "*"), EXPOSED];

/// Lets a script read the headers of a response. `*` covers every header of a response to a request without credentials
/// (Fetch standard, extracting header list values).
const EXPOSED: (&str, &str) = ("access-control-expose-headers", "*");

/// Lets scripts of any origin read a response.
pub(crate) fn for_any_origin(response: Response) -> Response {
    ANY_ORIGIN.into_iter().fold(response, |response, (name, value)| response.with_header(name, value))
}

/// The headers that identify a preflight.
pub(crate) const PREFLIGHT: [&str; 2] = ["origin", "access-control-request-method"];

/// Returns whether a request is a preflight: a browser sends one before a request that a plain form could not send.
pub(crate) fn is_preflight(request: &Request) -> bool {
    let has = |name: &&str| request.header_values(name).next().is_some();
    request.method() == "OPTIONS" && PREFLIGHT.iter().all(has)
}

/// Answers a preflight. It allows every request header, because client libraries add headers that an endpoint ignores.
/// `*` works because no credentials are allowed, but it does not include `authorization` (Fetch standard,
/// CORS-preflight fetch). The response does not depend on the request, so it needs no `Vary`.
pub(crate) fn preflight(methods: &'static str) -> Response {
    Response::new(204)
        .with_header("access-control-allow-methods", methods)
        .with_header("access-control-allow-headers", "authorization, *")
        .with_header("access-control-max-age", "3600")
}
