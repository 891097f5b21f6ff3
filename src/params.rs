//! Request parameters. They are decoded strictly, once, and in the same way at every endpoint.
//!
//! The usual decoders are lossy: they replace a broken escape or an invalid byte by other text. The server would then
//! compare a text that the client did not send. So this module has a strict decoder.

use std::borrow::Cow;
use std::fmt;

use url::form_urlencoded::byte_serialize;

use crate::error::Refusal;

/// Known parameters that may occur more than once (RFC 8707 §2, RFC 8693 §2.1).
const MAY_REPEAT: [&str; 2] = ["resource", "audience"];

/// The parameters of one request, from a query or a form body (RFC 6749 Appendix B).
#[derive(Default)]
pub struct Params<'a> {
    /// The names and values. A value is `None` if it has a broken escape or is not UTF-8.
    pairs: Vec<(Cow<'a, str>, Decoded<'a>)>,
    /// Whether the name of a parameter could not be decoded.
    broken_name: bool,
}

impl<'a> Params<'a> {
    /// Allocates room for the parameters of most requests. Without it, an authorization takes 3 % more instructions.
    pub(crate) fn with_room() -> Self {
        Self { pairs: Vec::with_capacity(8), broken_name: false }
    }

    /// Decodes `name=value&..`. It never fails: an error is reported when the parameter is read, so that an endpoint
    /// controls the order of its checks.
    #[must_use]
    pub fn decode(form: &'a [u8]) -> Self {
        let mut params = Self::with_room();
        params.decode_more(form);
        params
    }

    /// Adds the parameters of a second source. A parameter in both sources counts as repeated.
    pub(crate) fn decode_more(&mut self, form: &'a [u8]) {
        for (name, value) in decode_form(form) {
            match name {
                Some(name) => self.pairs.push((name, value)),
                None => self.broken_name = true,
            }
        }
    }

    /// Adds a parameter whose name and value need no decoding.
    pub(crate) fn push(&mut self, name: &'a str, value: impl Into<Cow<'a, str>>) {
        self.pairs.push((Cow::Borrowed(name), Some(value.into())));
    }

    /// Adds a parameter that was read from JSON.
    #[cfg(feature = "jwt")]
    pub(crate) fn push_owned(&mut self, name: String, value: String) {
        self.pairs.push((Cow::Owned(name), Some(Cow::Owned(value))));
    }

    /// Returns the value of a parameter. An empty value counts as missing (RFC 6749 §3.1, §3.2).
    ///
    /// # Errors
    /// The parameter is repeated, or its value cannot be decoded.
    pub fn get(&self, name: &'static str) -> Result<Option<&str>, Refusal> {
        let mut found = self.pairs.iter().filter(|(own, _)| own == name);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((_, Some(value))), None) => Ok((!value.is_empty()).then_some(value)),
            (Some((_, None)), None) => Err(Refusal::MalformedEncoding),
            (Some(_), Some(_)) => Err(Refusal::RepeatedParameter(name)),
        }
    }

    /// Returns all values of a parameter that may occur more than once, in their order. Empty values are left out.
    ///
    /// # Errors
    /// A value cannot be decoded.
    pub fn get_all(&self, name: &str) -> Result<Vec<&str>, Refusal> {
        let found = self.pairs.iter().filter(|(own, _)| own == name).map(|(_, value)| value.as_deref());
        let values: Option<Vec<&str>> = found.filter(|value| *value != Some("")).collect();
        values.ok_or(Refusal::MalformedEncoding)
    }

    /// Returns the value of a required parameter.
    ///
    /// # Errors
    /// The same as for [`get`](Self::get), and if the parameter is missing or empty.
    pub fn require(&self, name: &'static str) -> Result<&str, Refusal> {
        self.get(name)?.ok_or(Refusal::MissingParameter(name))
    }

    /// Refuses parameters that cannot be decoded, and known parameters that repeat. Unknown parameters and those of
    /// [`MAY_REPEAT`] may repeat.
    pub(crate) fn check(&self, known: &[&'static str]) -> Result<(), Refusal> {
        if self.broken_name || self.pairs.iter().any(|(_, value)| value.is_none()) {
            return Err(Refusal::MalformedEncoding);
        }
        let occurs_twice = |name: &str| self.pairs.iter().filter(|(own, _)| own == name).nth(1).is_some();
        let repeated = known.iter().find(|name| occurs_twice(name) && !MAY_REPEAT.contains(name));
        repeated.map_or(Ok(()), |name| Err(Refusal::RepeatedParameter(name)))
    }

    /// Returns the known parameters that can be decoded and are not empty, in the order of the request.
    pub(crate) fn known<'p>(&'p self, known: &'p [&'static str]) -> impl Iterator<Item = (&'static str, &'p str)> {
        let sent = self.pairs.iter().filter_map(|(name, value)| Some((name, value.as_deref()?)));
        let sent = sent.filter(|(_, value)| !value.is_empty());
        sent.filter_map(|(name, value)| Some((*known.iter().find(|known| *known == name)?, value)))
    }

    /// Returns the total size of all names and values in bytes after decoding. Undecodable values count as zero.
    pub(crate) fn size(&self) -> usize {
        let size = |value: &Decoded<'_>| value.as_ref().map_or(0, |value| value.len());
        self.pairs.iter().map(|(name, value)| name.len() + size(value)).sum()
    }

    /// Returns the first known parameter that is present, even if it is empty, repeated or undecodable.
    pub(crate) fn first_known(&self, known: &[&'static str]) -> Option<&'static str> {
        known.iter().copied().find(|name| self.pairs.iter().any(|(own, _)| own == name))
    }
}

impl fmt::Debug for Params<'_> {
    /// Leaves out values and names: in a form that was encoded incorrectly, a part of a password can become a name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Params([{} redacted])", self.pairs.len())
    }
}

/// Returns whether a text can be the name of a parameter (RFC 6749 §8.2).
pub(crate) fn is_parameter_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'))
}

/// A decoded text, or `None` if it has a broken escape or is not UTF-8.
type Decoded<'a> = Option<Cow<'a, str>>;

/// Returns the names and values of a form or query in their order. Empty pairs are left out.
pub(crate) fn decode_form(form: &[u8]) -> impl Iterator<Item = (Decoded<'_>, Decoded<'_>)> {
    form.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = match pair.iter().position(|byte| *byte == b'=') {
            Some(at) => (&pair[..at], &pair[at + 1..]),
            None => (pair, &b""[..]),
        };
        (decode_component(name), decode_component(value))
    })
}

/// Escapes a value for a query or a fragment. A space becomes `%20`, which every decoder accepts; `+` means a space in
/// forms only.
pub(crate) fn encode_component(value: &str) -> impl Iterator<Item = &str> {
    byte_serialize(value.as_bytes()).map(|part| match part {
        "+" => "%20",
        other => other,
    })
}

/// Decodes the escapes of `application/x-www-form-urlencoded`. Returns `None` if one is broken or the result is not
/// UTF-8.
pub(crate) fn decode_component(bytes: &[u8]) -> Decoded<'_> {
    if bytes.iter().any(|byte| matches!(byte, b'%' | b'+')) {
        return decode_escapes(bytes);
    }
    std::str::from_utf8(bytes).ok().map(Cow::Borrowed)
}

fn decode_escapes<'a>(bytes: &[u8]) -> Decoded<'a> {
    let mut decoded = Vec::with_capacity(bytes.len());
    let mut rest = bytes;
    while let [first, tail @ ..] = rest {
        rest = tail;
        match first {
            b'+' => decoded.push(b' '),
            b'%' => {
                let [high, low, tail @ ..] = tail else { return None };
                decoded.push(hex(*high)? << 4 | hex(*low)?);
                rest = tail;
            }
            other => decoded.push(*other),
        }
    }
    String::from_utf8(decoded).ok().map(Cow::Owned)
}

const fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: PP-06 (RFC 6749 Appendix B)
    #[test]
    fn example_of_appendix_b_is_decoded() {
        let params = Params::decode(b"v=+%25%26%2B%C2%A3%E2%82%AC");
        assert_eq!(params.get("v"), Ok(Some(" %&+\u{a3}\u{20ac}")));
    }

    // covers: B59
    #[test]
    fn encoded_value_reads_alike_in_form_and_uri() {
        let all: String = (0..=0x7f_u8).map(char::from).chain("+ %20\u{e9}\u{1f511}".chars()).collect();
        let encoded: String = encode_component(&all).collect();
        assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"%*-._".contains(&byte)), "{encoded}");
        assert_eq!(decode_component(encoded.as_bytes()).as_deref(), Some(&*all));
        let by_uri: Vec<u8> = percent_decoded(&encoded);
        assert_eq!(String::from_utf8(by_uri).unwrap(), all);
        assert_eq!(encode_component("a b + c").collect::<String>(), "a%20b%20%2B%20c");
    }

    /// Decodes like a parser of URIs: `+` is not a space.
    fn percent_decoded(text: &str) -> Vec<u8> {
        let (mut bytes, mut rest) = (Vec::new(), text.bytes());
        while let Some(byte) = rest.next() {
            let mut digit = || hex(rest.next().unwrap()).unwrap();
            bytes.push(if byte == b'%' { digit() << 4 | digit() } else { byte });
        }
        bytes
    }

    // covers: PP-11 (RFC 6749 §4.1.2.1, §5.2)
    #[test]
    fn broken_escape_or_invalid_utf8_is_never_repaired() {
        for broken in ["%", "%1", "%ZZ", "%+1", "a%2", "%FF", "%C3", "%C3%28", "%ED%A0%80", "\u{20ac}%"] {
            let form = format!("v={broken}&w=1");
            let params = Params::decode(form.as_bytes());
            assert_eq!(params.get("v"), Err(Refusal::MalformedEncoding), "{broken}");
            assert_eq!(params.check(&[]), Err(Refusal::MalformedEncoding), "{broken}");
            assert_eq!(params.get("w"), Ok(Some("1")), "{broken}");
        }
        assert_eq!(Params::decode(b"%ZZ=1").check(&[]), Err(Refusal::MalformedEncoding));
        assert_eq!(Params::decode(b"v=\xff").get("v"), Err(Refusal::MalformedEncoding));
    }

    #[test]
    fn all_values_of_a_parameter_are_read_in_order() {
        let params = Params::decode(b"a=1&b=x&a=&a=%32&a&c=%ZZ&c=1");
        assert_eq!(params.get_all("a"), Ok(vec!["1", "2"]));
        assert_eq!(params.get_all("b"), Ok(vec!["x"]));
        assert_eq!(params.get_all("d"), Ok(vec![]));
        assert_eq!(params.get_all("c"), Err(Refusal::MalformedEncoding));
    }

    // covers: PP-04 (RFC 8707 §2, RFC 8693 §2.1)
    #[test]
    fn repeated_resource_and_audience_pass_the_check() {
        let params = Params::decode(b"resource=1&resource=2&audience=1&audience=1");
        assert_eq!(params.check(&["resource", "audience"]), Ok(()));
        assert_eq!(params.get("resource"), Err(Refusal::RepeatedParameter("resource")));
    }

    #[test]
    fn empty_pairs_and_missing_equal_signs_follow_form_rules() {
        let params = Params::decode(b"&&a&b=&c==&");
        assert_eq!(params.get("a"), Ok(None));
        assert_eq!(params.get("b"), Ok(None));
        assert_eq!(params.get("c"), Ok(Some("=")));
        assert_eq!(params.check(&["a", "b", "c"]), Ok(()));
        assert_eq!(decode_form(b"&&a&b=&c==&").count(), 3, "empty pairs are left out");
        assert_eq!(decode_form(b"=&=1").count(), 2, "a pair without a name is kept");
    }

    // covers: B37
    #[test]
    fn known_parameter_may_not_repeat_but_unknown_one_may() {
        for form in ["a=1&a=2", "a=1&a=1", "a=&a=1", "a&a"] {
            let params = Params::decode(form.as_bytes());
            assert_eq!(params.check(&["a"]), Err(Refusal::RepeatedParameter("a")), "{form}");
            assert_eq!(params.check(&["b"]), Ok(()), "{form}");
        }
    }
}
