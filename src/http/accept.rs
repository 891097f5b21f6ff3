//! The preference of a caller between two media types (`Accept`, RFC 9110 §12.5.1).

use super::languages::weight;
use super::request::Request;

/// Returns whether the caller names the media type `wanted` and does not prefer `other`. Ranges such as `*/*` do not
/// name a type, but they set the weight of `other`. Malformed elements are ignored. Parameters are ignored, because
/// neither type has any.
pub(crate) fn prefers(request: &Request, wanted: &str, other: &str) -> bool {
    let (mut own, mut best_other) = (0, (Precision::Any, 0));
    for range in request.header_values("accept").flat_map(|line| split(line, b',')).filter_map(read) {
        if range.precision(wanted) == Some(Precision::Named) {
            own = own.max(range.weight);
        }
        if let Some(precision) = range.precision(other) {
            // The most precise range sets the weight, even if another range has a higher one.
            best_other = best_other.max((precision, range.weight));
        }
    }
    own > 0 && own >= best_other.1
}

/// A media range from the header.
struct Range<'a> {
    media_type: &'a str,
    subtype: &'a str,
    /// The weight in thousandths.
    weight: u16,
}

/// How precisely a range names a media type, in ascending order.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Precision {
    Any,
    AnySubtype,
    Named,
}

impl Range<'_> {
    /// Returns how precisely the range names the type, or `None` if it does not match.
    fn precision(&self, of: &str) -> Option<Precision> {
        let (media_type, subtype) = of.split_once('/')?;
        match (self.media_type, self.subtype) {
            ("*", _) => Some(Precision::Any),
            (own, _) if !own.eq_ignore_ascii_case(media_type) => None,
            (_, "*") => Some(Precision::AnySubtype),
            (_, own) => own.eq_ignore_ascii_case(subtype).then_some(Precision::Named),
        }
    }
}

/// Reads an element. The parameter `q` is the weight at any position. The default weight is 1.
fn read(element: &[u8]) -> Option<Range<'_>> {
    let mut parts =
        split(element, b';').map(|part| str::from_utf8(part).ok().map(|part| part.trim_matches([' ', '\t'])));
    let (media_type, subtype) = parts.next()??.split_once('/')?;
    if !is_token(media_type) || !is_token(subtype) || (media_type == "*" && subtype != "*") {
        return None;
    }
    let mut own_weight = None;
    for part in parts {
        let part = part?;
        // RFC 9110 §5.6.6 allows an empty parameter.
        if part.is_empty() {
            continue;
        }
        let (name, value) = part.split_once('=')?;
        if !is_token(name) || !(is_token(value) || is_quoted(value)) {
            return None;
        }
        if name.eq_ignore_ascii_case("q") && own_weight.replace(weight(part)?).is_some() {
            return None;
        }
    }
    Some(Range { media_type, subtype, weight: own_weight.unwrap_or(1000) })
}

/// Splits at separators outside of quoted strings.
fn split(text: &[u8], separator: u8) -> impl Iterator<Item = &[u8]> {
    let (mut is_inside, mut is_escaped) = (false, false);
    text.split(move |byte| {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' => is_escaped = is_inside,
            b'"' => is_inside = !is_inside,
            _ => return *byte == separator && !is_inside,
        }
        false
    })
}

/// Returns whether a text is a token (RFC 9110 §5.6.2).
fn is_token(text: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    !text.is_empty() && text.bytes().all(is_allowed)
}

/// Returns whether a text is a quoted string (RFC 9110 §5.6.4).
fn is_quoted(text: &str) -> bool {
    let Some(inside) = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else { return false };
    let mut bytes = inside.bytes();
    while let Some(byte) = bytes.next() {
        if byte == b'"' || (byte == b'\\' && bytes.next().is_none()) {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    const WANTED: &str = "application/x+jwt";

    fn asks(lines: &[&[u8]]) -> bool {
        let request = lines.iter().fold(Request::get("/"), |request, line| request.with_header("accept", *line));
        prefers(&request, WANTED, "application/json")
    }

    // covers: JI-01 (RFC 9110 §12.5.1)
    #[test]
    fn named_type_is_wanted_unless_the_other_is_wanted_more() {
        for (accept, expected) in [
            ("application/x+jwt", true),
            ("Application/X+JWT", true),
            (" \tapplication/x+jwt\t ", true),
            (",, application/x+jwt ,", true),
            ("application/x+jwtx", false),
            ("x+jwt", false),
            ("", false),
            // Weights.
            ("application/x+jwt;q=0.001", true),
            ("application/x+jwt;q=1.000", true),
            ("application/x+jwt ; Q=0.5", true),
            ("application/x+jwt;q=0", false),
            ("application/x+jwt;q=0.000", false),
            ("application/x+jwt, application/json", true),
            ("application/json, application/x+jwt", true),
            ("application/json;q=0.5, application/x+jwt", true),
            ("application/json;q=0.2 , application/x+jwt ; q=0.3", true),
            ("application/json, application/x+jwt;q=0.9", false),
            ("application/x+jwt;q=0.9, application/json", false),
            ("application/json;q=0, application/x+jwt;q=0.1", true),
            ("application/json;q=0, application/x+jwt;q=0", false),
            ("application/x+jwt;q=0.1, application/x+jwt;q=0.9, application/json;q=0.5", true),
            // Types other than these two.
            ("text/html, application/x+jwt;q=0.1", true),
            ("text/*, image/webp, application/x+jwt;q=0.1", true),
            // A range does not name the wanted type. For the other type, the most precise range counts.
            ("*/*", false),
            ("application/*", false),
            ("application/*, */*;q=0.1", false),
            ("application/x+jwt, */*", true),
            ("*/*, application/x+jwt;q=0.5", false),
            ("*/*;q=0.1, application/x+jwt;q=0.5", true),
            ("application/*;q=0.6, application/x+jwt;q=0.5", false),
            ("*/*, application/*;q=0.4, application/x+jwt;q=0.5", true),
            ("*/*, application/json;q=0.4, application/x+jwt;q=0.5", true),
            ("*/*;q=0, application/json, application/x+jwt;q=0.5", false),
            ("*/json;q=1, application/x+jwt;q=0.5", true),
            // Parameters that are not the weight, and the weight before them.
            ("application/x+jwt;quux=1", true),
            ("application/x+jwt;quality=low;q=0.5, application/json;q=0.4", true),
            ("application/x+jwt;qs=0.9;q=0.3, application/json;q=0.4", false),
            ("application/x+jwt;q=0.3;qs=0.9, application/json;q=0.4", false),
            ("application/json;q0=1;q=0.1, application/x+jwt;q=0.2", true),
            ("application/x+jwt;;q=0.5;", true),
            (r#"application/x+jwt;a="b,c;q=0";q=0.5"#, true),
            (r#"application/x+jwt;a="\"\\,;";q=0.5"#, true),
            (r#"application/x+jwt;a="""#, true),
            (r#"text/html;a=", application/x+jwt;b=";q=0.1"#, false),
        ] {
            assert_eq!(asks(&[accept.as_bytes()]), expected, "{accept}");
        }
        assert!(!prefers(&Request::get("/"), WANTED, "application/json"));
    }

    #[test]
    fn malformed_element_is_left_out() {
        for element in [
            "application/x+jwt;q=high",
            "application/x+jwt;q=2",
            "application/x+jwt;q=1.001",
            "application/x+jwt;q=0.0001",
            "application/x+jwt;q=-1",
            "application/x+jwt;q=.5",
            "application/x+jwt;q= 1",
            "application/x+jwt;q =1",
            "application/x+jwt;q",
            "application/x+jwt;q=",
            r#"application/x+jwt;q="1""#,
            "application/x+jwt;q=1;q=1",
            "application/x+jwt;a",
            "application/x+jwt;a=",
            "application/x+jwt;=b",
            "application/x+jwt;a=b c",
            r#"application/x+jwt;a="b"c"#,
            r#"application/x+jwt;a="b""c""#,
            "application /x+jwt",
            "application/ x+jwt",
            "application/x+jwt/",
            "/x+jwt",
            "application/",
            "application/x+jwt q=1",
            "application/x+jwt;a=\u{e9}",
        ] {
            assert!(!asks(&[element.as_bytes()]), "{element}");
            let others = format!("{element}, application/x+jwt;q=0.5");
            assert!(asks(&[others.as_bytes()]), "{others}");
        }
        assert!(!asks(&[b"application/x+jwt;a=\"\xff\""]) && asks(&[b"\xff, application/x+jwt"]));
        assert!(!asks(&[br#"text/html;a=", application/x+jwt"#]), "the quoted string does not end");
    }

    #[test]
    fn repeated_headers_are_one_list() {
        assert!(asks(&[b"text/html;q=0.1", b"application/x+jwt"]));
        assert!(!asks(&[b"application/x+jwt;q=0.5", b"application/json"]));
        assert!(asks(&[b"application/json;q=0.4", b"*/*", b"application/x+jwt;q=0.5"]));
        assert!(asks(&[br#"text/html;a=""#, b"application/x+jwt"]), "a quoted string ends with its header");
    }
}
