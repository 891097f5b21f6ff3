//! The expected client of a request, according to RFC 6749 §2.3 and the table of clients.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::form::{Form, component};
use crate::world::{Habit, Registered, registered};

/// The status and error code of a refused request.
pub(crate) type Refused = (u16, &'static str);

pub(crate) const MALFORMED: Refused = (400, "invalid_request");
pub(crate) const UNKNOWN: Refused = (401, "invalid_client");

/// Returns the client of a request with these `Authorization` headers and this acceptable form.
pub(crate) fn client(headers: &[Vec<u8>], form: &Form) -> Result<&'static Registered, Refused> {
    let basic = match headers {
        [] => None,
        [header] => Some(basic(header)?),
        _ => return Err(MALFORMED),
    };
    let (id, secret) = (form.one("client_id"), form.one("client_secret"));
    let has_assertion = form.one("client_assertion").or(form.one("client_assertion_type")).is_some();
    match (basic, secret, has_assertion) {
        (Some(_), Some(_), _) | (Some(_), _, true) | (_, Some(_), true) => Err(MALFORMED),
        (Some((own, _)), None, false) if id.is_some_and(|id| id != own) => Err(MALFORMED),
        (Some((own, Some(secret))), None, false) => confidential(&own, &secret, true),
        (Some((_, None)), None, false) | (None, None, true) => Err(UNKNOWN),
        (None, Some(secret), false) => confidential(id.ok_or(UNKNOWN)?, secret, false),
        (None, None, false) => match id.and_then(registered) {
            Some(client) if !client.is_confidential() => Ok(client),
            _ => Err(UNKNOWN),
        },
    }
}

fn confidential(id: &str, secret: &str, by_header: bool) -> Result<&'static Registered, Refused> {
    let client = registered(id).ok_or(UNKNOWN)?;
    let allowed =
        client.is_confidential() && !(by_header && client.has(Habit::PostOnly)) && !client.has(Habit::Expired);
    if allowed && client.secrets.contains(&secret) { Ok(client) } else { Err(UNKNOWN) }
}

/// Returns the user-id and the password of a `Basic` header. The base64 must be canonical, and both halves are
/// form-encoded. The password is `None` if it is only valid without decoding; no client here has such a password.
fn basic(header: &[u8]) -> Result<(String, Option<String>), Refused> {
    let space = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    let (scheme, rest) = header.split_at(space);
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return Err(UNKNOWN);
    }
    let encoded = rest.trim_ascii();
    let decoded = STANDARD.decode(encoded).ok().filter(|decoded| STANDARD.encode(decoded).as_bytes() == encoded);
    let decoded = decoded.ok_or(UNKNOWN)?;
    let mut halves = decoded.splitn(2, |byte| *byte == b':');
    let (Some(id), Some(secret)) = (halves.next(), halves.next()) else { return Err(UNKNOWN) };
    let has_escapes = |half: &[u8]| half.contains(&b'%') || half.contains(&b'+');
    let may_be_raw = !has_escapes(id) && has_escapes(secret) && secret.iter().all(|byte| matches!(byte, 0x20..=0x7e));
    match (component(id), component(secret)) {
        (Some(id), None) if may_be_raw => Ok((id, None)),
        (Some(id), Some(secret)) => Ok((id, Some(secret))),
        _ => Err(UNKNOWN),
    }
}
