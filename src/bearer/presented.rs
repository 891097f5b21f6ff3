//! Extraction of the access token from a request (RFC 6750 §2).

use super::error::Fault;
use crate::http::Request;
use crate::params::Params;

/// Returns the parameters of a body that may hold a token: an ASCII form, sent with a method for which a body has a
/// meaning (RFC 6750 §2.2).
pub(super) fn form(request: &Request) -> Params<'_> {
    let has_form = matches!(request.method(), "POST" | "PUT" | "PATCH") && request.is_form();
    if has_form && request.body().is_ascii() { Params::decode(request.body()) } else { Params::default() }
}

/// Returns the token of a request, from its header or its form body (RFC 6750 §2). It ignores the query.
pub(crate) fn presented<'a>(request: &'a Request, form: &'a Params<'_>) -> Result<Option<&'a str>, Fault> {
    let mut headers = request.header_values("authorization");
    let (header, None) = (headers.next(), headers.next()) else { return Err(Fault::Malformed) };
    let from_header = match header.map(|header| header.split_at(header.len().min(7))) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(token68(token.trim_ascii())?),
        Some((scheme, [])) if scheme.trim_ascii().eq_ignore_ascii_case(b"bearer") => return Err(Fault::Invalid),
        _ => None,
    };
    match (from_header, form.get("access_token").map_err(|_| Fault::Malformed)?) {
        (Some(_), Some(_)) => Err(Fault::Malformed),
        (None, Some(token)) => token68(token.as_bytes()).map(Some),
        (from_header, None) => Ok(from_header),
    }
}

/// Parses a `b64token` (RFC 6750 §2.1).
fn token68(bytes: &[u8]) -> Result<&str, Fault> {
    let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &bytes[..bytes.len() - padding];
    let is_allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    let is_token68 = !body.is_empty() && body.iter().all(is_allowed);
    std::str::from_utf8(bytes).ok().filter(|_| is_token68).ok_or(Fault::Invalid)
}
