//! The compact serialization of a JWS (RFC 7515 §3.1, §7.1).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use serde_json::Value;

use super::algorithm::Algorithm;
use super::strict_json::parse_object;

/// The maximum length of a `kid`. A thumbprint has 43 characters.
pub(super) const MAX_KEY_ID: usize = 256;

/// A parsed JWS. Its signature is not verified yet, so its contents can't be trusted.
#[derive(Debug)]
pub(super) struct Unverified<'a> {
    pub(super) header: Header,
    pub(super) payload: Vec<u8>,
    /// The bytes that the signature covers.
    pub(super) signed: &'a [u8],
    pub(super) signature: Vec<u8>,
}

/// The header members that the library uses. It ignores all others: it never takes a key or a URL from a header (RFC
/// 8725 §3.10).
#[derive(Debug)]
pub(super) struct Header {
    /// `None` if the algorithm is unknown.
    pub(super) algorithm: Option<Algorithm>,
    pub(super) typ: Option<String>,
    pub(super) key_id: Option<String>,
}

/// Parses a JWS. Returns `None` unless it has three parts of unpadded base64url, at most `max_size` bytes in total, and
/// a supported header. A header with `crit` or `b64` is not supported, because the library has no extensions (RFC 7515
/// §4.1.11, RFC 7797 §6).
pub(super) fn parse(text: &str, max_size: usize) -> Option<Unverified<'_>> {
    if text.len() > max_size {
        return None;
    }
    let (signed, signature) = text.rsplit_once('.')?;
    let (header, payload) = signed.split_once('.')?;
    // The alphabet has no dot, so this also refuses a fourth part.
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    Some(Unverified {
        header: Header::parse(&decode(header)?)?,
        payload: decode(payload)?,
        signed: signed.as_bytes(),
        signature: decode(signature)?,
    })
}

/// Decodes only the payload of a JWS, whose other parts may be malformed.
pub(super) fn decode_payload(text: &str, max_size: usize) -> Option<Vec<u8>> {
    let payload = text.split('.').nth(1).filter(|_| text.len() <= max_size)?;
    URL_SAFE_NO_PAD.decode(payload).ok()
}

/// The header of a JWS that this server signs.
#[derive(Serialize)]
pub(super) struct NewHeader<'a> {
    pub(super) alg: &'a str,
    pub(super) typ: &'a str,
    pub(super) kid: &'a str,
}

/// Returns the signing input for a header and a payload.
pub(super) fn signing_input(header: &NewHeader<'_>, payload: &[u8]) -> serde_json::Result<String> {
    let header = serde_json::to_vec(header)?;
    let mut text = String::with_capacity((header.len() + payload.len()) * 4 / 3 + 100);
    URL_SAFE_NO_PAD.encode_string(header, &mut text);
    text.push('.');
    URL_SAFE_NO_PAD.encode_string(payload, &mut text);
    Ok(text)
}

/// Appends the signature.
pub(super) fn append_signature(signed: &mut String, signature: &[u8]) {
    signed.push('.');
    URL_SAFE_NO_PAD.encode_string(signature, signed);
}

impl Header {
    fn parse(json: &[u8]) -> Option<Self> {
        let members = parse_object(json)?;
        if members.contains_key("crit") || members.contains_key("b64") {
            return None;
        }
        let text = |name: &str| match members.get(name) {
            None => Some(None),
            Some(Value::String(text)) => Some(Some(text.clone())),
            Some(_) => None,
        };
        let (algorithm, typ, key_id) = (text("alg")??, text("typ")?, text("kid")?);
        if key_id.as_ref().is_some_and(|id| id.len() > MAX_KEY_ID) {
            return None;
        }
        Some(Self { algorithm: Algorithm::from_name(&algorithm), typ, key_id })
    }

    /// Returns whether the type is equal to `expected`, with or without `application/`, in any letter case (RFC 7515
    /// §4.1.9).
    pub(super) fn has_type(&self, expected: &str) -> bool {
        self.typ.as_deref().is_some_and(|typ| {
            let short = match typ.split_at_checked(12) {
                Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
                _ => typ,
            };
            short.eq_ignore_ascii_case(expected)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAX: usize = 1_000_000;

    fn text(header: &str, payload: &str) -> String {
        let encode = |part: &str| URL_SAFE_NO_PAD.encode(part);
        format!("{}.{}.{}", encode(header), encode(payload), encode("signature"))
    }

    #[test]
    fn parts_of_a_text_are_decoded() {
        let text = text(r#"{"alg":"ES256","typ":"at+jwt","kid":"k","x":1}"#, "payload");
        let parsed = parse(&text, text.len()).unwrap();
        assert_eq!((parsed.payload.as_slice(), parsed.signature.as_slice()), (&b"payload"[..], &b"signature"[..]));
        assert_eq!(parsed.signed, text.rsplit_once('.').unwrap().0.as_bytes());
        assert_eq!(parsed.header.algorithm, Some(Algorithm::Es256));
        assert_eq!((parsed.header.typ.as_deref(), parsed.header.key_id.as_deref()), (Some("at+jwt"), Some("k")));
        assert!(parse(&text, text.len() - 1).is_none());
    }

    // covers: KM-19 (RFC 7515 §4, §7.1)
    #[test]
    fn text_that_is_no_compact_jws_is_refused() {
        let good = text(r#"{"alg":"RS256"}"#, "{}");
        assert!(parse(&good, MAX).is_some());
        let (head, rest) = good.split_once('.').unwrap();
        for bad in [
            String::new(),
            "..".into(),
            head.into(),
            format!("{head}."),
            format!("{head}.e30"),
            format!("{good}."),
            format!("{good}.AA"),
            format!("{head}=.{rest}"),
            format!("{head}. {rest}"),
            format!(" {good}"),
            format!("{good}\n"),
            format!("{good}="),
            good.replace('.', "+"),
            // The last character has unused bits that are set.
            format!("{head}.e31.AA"),
            format!("{head}.e30.AB"),
            // One character can't encode a byte.
            format!("{head}.e30.A"),
            r#"{"payload":"e30","protected":"eyJhbGciOiJSUzI1NiJ9","signature":"AA"}"#.into(),
        ] {
            assert!(parse(&bad, MAX).is_none(), "{bad}");
        }
    }

    // covers: KM-18 (RFC 7515 §4.1.11, RFC 7797 §6)
    #[test]
    fn header_with_crit_or_b64_is_refused() {
        for header in [
            r#"{"alg":"RS256","crit":["exp"]}"#,
            r#"{"alg":"RS256","crit":[]}"#,
            r#"{"alg":"RS256","b64":false,"crit":["b64"]}"#,
            r#"{"alg":"RS256","b64":false}"#,
            r#"{"alg":"RS256","b64":true}"#,
        ] {
            assert!(parse(&text(header, "{}"), MAX).is_none(), "{header}");
        }
    }

    // covers: KM-24 (RFC 8725 §3.10)
    #[test]
    fn missing_repeated_or_malformed_header_member_is_refused() {
        let long = format!(r#"{{"alg":"RS256","kid":"{}"}}"#, "k".repeat(MAX_KEY_ID + 1));
        for header in [
            "{}",
            "[]",
            r#"{"alg":null}"#,
            r#"{"alg":1}"#,
            r#"{"alg":["RS256"]}"#,
            r#"{"alg":"RS256","kid":1}"#,
            r#"{"alg":"RS256","typ":null}"#,
            r#"{"alg":"RS256","alg":"RS256"}"#,
            &long,
        ] {
            assert!(parse(&text(header, "{}"), MAX).is_none(), "{header}");
        }
    }

    // covers: KM-01 (RFC 8725 §3.1)
    #[test]
    fn names_of_algorithms_are_compared_exactly() {
        for name in ["none", "None", "NONE", "rs256", "HS256", "RS256 ", "", "RS1", "ES256K", "RS512"] {
            let text = text(&format!(r#"{{"alg":"{name}"}}"#), "{}");
            assert_eq!(parse(&text, MAX).unwrap().header.algorithm, None, "{name}");
        }
        for algorithm in Algorithm::ALL {
            let text = text(&format!(r#"{{"alg":"{algorithm}"}}"#), "{}");
            assert_eq!(parse(&text, MAX).unwrap().header.algorithm, Some(algorithm));
        }
    }

    // covers: KM-21 (RFC 7515 §4.1.9, RFC 8725 §3.11)
    #[test]
    fn type_is_compared_without_case_and_prefix() {
        let has = |typ: &str| {
            let header = format!(r#"{{"alg":"RS256"{typ}}}"#);
            parse(&text(&header, "{}"), MAX).unwrap().header.has_type("at+jwt")
        };
        for good in ["at+jwt", "AT+JWT", "application/at+jwt", "Application/At+jwt"] {
            assert!(has(&format!(r#","typ":"{good}""#)), "{good}");
        }
        for bad in [
            "jwt",
            "at+jwt ",
            "application/",
            "application/application/at+jwt",
            "text/at+jwt",
            "",
            "äpplication/at+jwt",
        ] {
            assert!(!has(&format!(r#","typ":"{bad}""#)), "{bad}");
        }
        assert!(!has(""));
    }
}
