//! Which media type a caller wants (`Accept`, RFC 9110 §12.5.1).

use super::languages::weight;
use super::request::Request;

/// Whether a caller asks for this media type by its full name, and wants no other type more. Ranges such as `*/*` do not ask for it.
pub(crate) fn accepts(request: &Request, of_type: &str, subtype: &str) -> bool {
    let lines = request.header_values("accept").filter_map(|line| std::str::from_utf8(line).ok());
    let (mut own, mut best_other) = (0, 0);
    for element in lines.flat_map(|line| line.split(',')) {
        let mut parts = element.split(';').map(|part| part.trim_matches([' ', '\t']));
        let Some((own_type, own_subtype)) = parts.next().and_then(|range| range.split_once('/')) else { continue };
        let quality = parts.find(|part| part.starts_with(['q', 'Q'])).map_or(Some(1000), weight).unwrap_or(0);
        if own_type.eq_ignore_ascii_case(of_type) && own_subtype.eq_ignore_ascii_case(subtype) {
            own = own.max(quality);
        } else if own_subtype != "*" {
            best_other = best_other.max(quality);
        }
    }
    own > 0 && own >= best_other
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_type_is_accepted_if_none_is_preferred() {
        let asks = |accept: &str| accepts(&Request::get("/").with_header("accept", accept), "application", "x+jwt");
        for good in [
            "application/x+jwt",
            "Application/X+JWT",
            "application/x+jwt;q=0.1",
            "application/json;q=0.5, application/x+jwt",
            "application/json, application/x+jwt",
            "*/*, application/x+jwt;q=0.5",
            "text/html ; q=0.2 , application/x+jwt ; q=0.3",
        ] {
            assert!(asks(good), "{good}");
        }
        for bad in [
            "",
            "*/*",
            "application/*",
            "application/json",
            "application/x+jwt;q=0",
            "application/x+jwt;q=0.000",
            "application/x+jwt;q=high",
            "application/json, application/x+jwt;q=0.9",
            "application/x+jwtx",
            "x+jwt",
        ] {
            assert!(!asks(bad), "{bad}");
        }
        assert!(!accepts(&Request::get("/"), "application", "x+jwt"));
        let lines =
            Request::get("/").with_header("accept", "text/html;q=0.1").with_header("accept", "application/x+jwt");
        assert!(accepts(&lines, "application", "x+jwt"));
    }
}
