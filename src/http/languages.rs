//! The languages that a user prefers (`Accept-Language`, RFC 9110 §12.5.4).

use std::cmp::Reverse;

/// The maximum number of languages that are read from a request. Browsers send at most ten.
const MAX_RANGES: usize = 16;

/// The maximum length of a range in bytes (RFC 4646 §4.3.1).
const MAX_LENGTH: usize = 35;

/// The languages that a user prefers, from the header `Accept-Language` (RFC 9110 §12.5.4).
///
/// [`Request::languages`](crate::Request::languages) reads them. Malformed elements are ignored, and so are all
/// elements after the 16th. The header is untrusted text, but the languages contain only ASCII letters, digits, `-` and
/// `*`.
///
/// ```
/// use grantor::Languages;
///
/// let languages = Languages::parse("fr;q=0.7, de-AT, en;q=0.9, da;q=0");
/// assert!(languages.iter().eq(["de-AT", "en", "fr"]));
/// assert_eq!(languages.choose(&["en", "de"]), Some("de"));
/// assert_eq!(languages.choose(&["da", "pt-BR"]), None); // the default of the server
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Languages(Option<Box<Ranges>>);

/// The ranges of a header, at least one. They are boxed, because a pending request is moved often.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ranges {
    /// The accepted ranges in order of preference, separated by commas.
    accepted: Box<str>,
    /// The excluded ranges (weight 0), separated by commas.
    excluded: Box<str>,
}

impl Languages {
    /// Reads a header. It never fails, because malformed elements are ignored.
    #[must_use]
    pub fn parse(header: impl AsRef<[u8]>) -> Self {
        Self::of([header.as_ref()].into_iter())
    }

    /// Reads the lines of a header.
    pub(super) fn of<'a>(lines: impl Iterator<Item = &'a [u8]>) -> Self {
        let elements = lines.flat_map(|line| line.split(|byte| *byte == b',')).take(MAX_RANGES);
        let mut ranges: Vec<(&str, u16)> = elements.filter_map(read).collect();
        // The sort is stable: ranges with the same weight keep their order.
        ranges.sort_by_key(|(_, weight)| Reverse(*weight));
        let (accepted, excluded) = ranges.split_at(ranges.partition_point(|(_, weight)| *weight > 0));
        let parted = || Box::new(Ranges { accepted: join(accepted), excluded: join(excluded) });
        Self((!ranges.is_empty()).then(parted))
    }

    /// Returns the language ranges (RFC 4647 §2.1) in order of preference, such as `de-AT`, `en`, or `*` for any.
    /// Ranges with the weight 0 are not included.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        split(self.0.as_ref().map_or("", |ranges| &ranges.accepted))
    }

    /// Returns the language from `yours` that the user prefers. If it returns `None`, show your default language.
    ///
    /// A range selects an equal tag. If there is none, it selects a less precise tag (`de` for `de-AT`, RFC 4647 §3.4),
    /// and then the first more precise tag (`pt-BR` for `pt`). The case of letters is ignored.
    #[must_use]
    pub fn choose<'a>(&self, yours: &[&'a str]) -> Option<&'a str> {
        let excluded = self.0.as_ref().map_or("", |ranges| &ranges.excluded);
        let is_excluded = |tag: &str| split(excluded).any(|range| extends(tag, range));
        let offered = yours.iter().copied().filter(|tag| !is_excluded(tag));
        self.iter().find_map(|range| {
            let mut offered = offered.clone();
            if range == "*" {
                // `*` matches languages that no other range names (RFC 9110 §12.5.4).
                let is_named = |tag: &str| self.iter().any(|other| other != "*" && extends(tag, other));
                return offered.clone().find(|tag| !is_named(tag)).or_else(|| offered.next());
            }
            let shorter = |shorter: &str| offered.clone().find(|tag| tag.eq_ignore_ascii_case(shorter));
            let found = std::iter::successors(Some(range), |range| Some(range.rsplit_once('-')?.0)).find_map(shorter);
            found.or_else(|| offered.find(|tag| extends(tag, range)))
        })
    }
}

/// Returns whether a tag equals a range or is more precise (RFC 4647 §3.3.1).
fn extends(tag: &str, range: &str) -> bool {
    let begins = tag.get(..range.len()).is_some_and(|start| start.eq_ignore_ascii_case(range));
    begins && matches!(tag.as_bytes().get(range.len()), None | Some(b'-'))
}

fn split(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').filter(|range| !range.is_empty())
}

fn join(ranges: &[(&str, u16)]) -> Box<str> {
    let ranges: Vec<&str> = ranges.iter().map(|(range, _)| *range).collect();
    ranges.join(",").into()
}

/// Reads a range and its weight in thousandths. The default weight is 1000.
fn read(element: &[u8]) -> Option<(&str, u16)> {
    let element = str::from_utf8(element).ok()?;
    let (range, parameter) = element.split_once(';').map_or((element, None), |(range, rest)| (range, Some(rest)));
    let range = range.trim_matches([' ', '\t']);
    let weight = parameter.map_or(Some(1000), weight)?;
    is_range(range).then_some((range, weight))
}

/// Returns whether a text is `1*8ALPHA *("-" 1*8alphanum)` or `*` (RFC 4647 §2.1).
fn is_range(text: &str) -> bool {
    let mut parts = text.split('-');
    let is_first = |part: &str| matches!(part.len(), 1..=8) && part.bytes().all(|byte| byte.is_ascii_alphabetic());
    let is_part = |part: &str| matches!(part.len(), 1..=8) && part.bytes().all(|byte| byte.is_ascii_alphanumeric());
    text == "*" || (text.len() <= MAX_LENGTH && parts.next().is_some_and(is_first) && parts.all(is_part))
}

/// Reads `q=0.8` in thousandths (RFC 9110 §12.4.2).
pub(super) fn weight(parameter: &str) -> Option<u16> {
    let (name, value) = parameter.trim_matches([' ', '\t']).split_once('=')?;
    let (whole, fraction) = value.split_once('.').unwrap_or((value, ""));
    let is_number = fraction.len() <= 3 && fraction.bytes().all(|byte| byte.is_ascii_digit());
    if !is_number || !name.eq_ignore_ascii_case("q") {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match whole {
        "0" => Some(thousandths),
        "1" if thousandths == 0 => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(header: &str) -> Vec<String> {
        Languages::parse(header).iter().map(str::to_owned).collect()
    }

    #[test]
    fn ranges_are_ordered_by_weight_then_position() {
        assert_eq!(order("da, en-gb;q=0.8, en;q=0.7"), ["da", "en-gb", "en"]);
        assert_eq!(order("a;q=0.001,b;q=1.000,c ; Q=0.5 ,*;q=0.1,d"), ["b", "d", "c", "*", "a"]);
        assert_eq!(order("en;q=0, de;q=0.0, fr;q=0.000"), [""; 0]);
        let several = Languages::of([&b"en;q=0.5"[..], b"de"].into_iter());
        assert!(several.iter().eq(["de", "en"]));
    }

    #[test]
    fn malformed_elements_are_left_out() {
        for bad in [
            "",
            ",",
            ",,",
            " ",
            ";",
            ";q=1",
            "q=1",
            "-",
            "de-",
            "-de",
            "de--at",
            "d\u{e9}",
            "1a",
            "abcdefghi",
            "de_AT",
            "de at",
            "**",
            "*-de",
            "<b>",
            "a-abcdefghi",
            "en;",
            "en;q",
            "en;q=",
            "en;q=2",
            "en;q=1.5",
            "en;q=1.001",
            "en;q=.5",
            "en;q=0.1234",
            "en;q=-1",
            "en;q=+0.5",
            "en;q=0.+5",
            "en;q=0,5",
            "en;level=1",
            "en;q=1;q=1",
            "en;q= 1",
            "a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a-a",
        ] {
            let all = order(&format!("{bad},de"));
            // A comma in the weight leaves a number, which is not a range.
            assert_eq!(all.last().map(String::as_str), Some("de"), "{bad:?}");
            assert!(all.len() == 1 || bad == "en;q=0,5", "{bad:?}: {all:?}");
        }
        assert!(Languages::parse(b"\xff\xfe, de\xff, en").iter().eq(["en"]));
        let long = "x,".repeat(100_000);
        assert_eq!(order(&long).len(), MAX_RANGES);
        assert_eq!(order(&format!("{},de", ",".repeat(MAX_RANGES))), [""; 0], "malformed elements count, too");
        assert_eq!(order(&"a".repeat(100_000)), [""; 0]);
    }

    #[test]
    fn choice_prefers_equal_then_shorter_then_longer_tags() {
        for (header, yours, expected) in [
            ("de", &["en", "de"][..], Some("de")),
            ("DE-at, en", &["en", "de"], Some("de")),
            ("de-AT", &["de", "de-at"], Some("de-at")),
            ("zh-Hant-TW", &["zh", "zh-Hant"], Some("zh-Hant")),
            ("pt, en;q=0.5", &["en", "pt-BR", "pt-PT"], Some("pt-BR")),
            ("d", &["de"], None),
            ("deu", &["de"], None),
            ("fr, en;q=0.1", &["de", "en"], Some("en")),
            ("fr, *;q=0.1", &["de", "en"], Some("de")),
            ("*", &["de", "en"], Some("de")),
            ("*, de;q=0.1", &["de", "en"], Some("en")),
            ("*, de;q=0.1", &["de-AT", "de"], Some("de-AT")),
            ("*, de;q=0", &["de", "de-AT", "den"], Some("den")),
            ("de-CH;q=0, de", &["de-CH", "de"], Some("de")),
            ("*;q=0, de", &["en"], None),
            ("", &["de"], None),
            ("de", &[], None),
            ("de", &["", "d\u{e9}"], None),
        ] {
            assert_eq!(Languages::parse(header).choose(yours), expected, "{header} {yours:?}");
        }
        assert_eq!(Languages::default().choose(&["en"]), None);
    }
}
