//! Characters that are invisible, or that change how the surrounding text is displayed.

use std::ops::RangeInclusive;

/// Returns whether a character could make a name blank, make it look like another name, or reorder the text of a
/// consent page.
pub(super) fn is_deceptive(c: char) -> bool {
    c.is_control() || BLANK.contains(&c) || !c.is_ascii() && INVISIBLE.iter().any(|range| range.contains(&c))
}

/// The blank Braille pattern and the musical null notehead. Unicode counts them as visible.
const BLANK: [char; 2] = ['\u{2800}', '\u{1d159}'];

/// The characters with the Unicode property `Default_Ignorable_Code_Point` or the general category `Cf`, `Zl` or `Zp`.
/// A test compares the ranges with the tables of a crate, which is only a dev-dependency.
const INVISIBLE: [RangeInclusive<char>; 25] = [
    '\u{ad}'..='\u{ad}',
    '\u{34f}'..='\u{34f}',
    '\u{600}'..='\u{605}',
    '\u{61c}'..='\u{61c}',
    '\u{6dd}'..='\u{6dd}',
    '\u{70f}'..='\u{70f}',
    '\u{890}'..='\u{891}',
    '\u{8e2}'..='\u{8e2}',
    '\u{115f}'..='\u{1160}',
    '\u{17b4}'..='\u{17b5}',
    '\u{180b}'..='\u{180f}',
    '\u{200b}'..='\u{200f}',
    '\u{2028}'..='\u{202e}',
    '\u{2060}'..='\u{206f}',
    '\u{3164}'..='\u{3164}',
    '\u{fe00}'..='\u{fe0f}',
    '\u{feff}'..='\u{feff}',
    '\u{ffa0}'..='\u{ffa0}',
    '\u{fff0}'..='\u{fffb}',
    '\u{110bd}'..='\u{110bd}',
    '\u{110cd}'..='\u{110cd}',
    '\u{13430}'..='\u{1343f}',
    '\u{1bca0}'..='\u{1bca3}',
    '\u{1d173}'..='\u{1d17a}',
    '\u{e0000}'..='\u{e0fff}',
];

#[cfg(test)]
mod tests {
    use icu_properties::props::{DefaultIgnorableCodePoint, GeneralCategory};
    use icu_properties::{CodePointMapData, CodePointSetData};

    use super::*;

    /// Fails if the list differs from that of Unicode.
    #[test]
    fn invisible_characters_are_those_of_unicode() {
        let (categories, ignorable) =
            (CodePointMapData::<GeneralCategory>::new(), CodePointSetData::new::<DefaultIgnorableCodePoint>());
        let is_format = |c| {
            use GeneralCategory::{Format, LineSeparator, ParagraphSeparator};
            matches!(categories.get(c), Format | LineSeparator | ParagraphSeparator)
        };
        let mut ranges: Vec<(char, char)> = Vec::new();
        let mut is_next = false;
        for c in '\0'..=char::MAX {
            let is_invisible = is_format(c) || ignorable.contains(c);
            match ranges.last_mut() {
                Some((_, last)) if is_invisible && is_next => *last = c,
                _ if is_invisible => ranges.push((c, c)),
                _ => {}
            }
            is_next = is_invisible;
        }
        let expected: Vec<_> = ranges
            .iter()
            .map(|(a, b)| format!("'\\u{{{:x}}}'..='\\u{{{:x}}}'", u32::from(*a), u32::from(*b)))
            .collect();
        let own = INVISIBLE.map(RangeInclusive::into_inner);
        assert_eq!(own[..], ranges, "the constant should be [{}]", expected.join(", "));
        let controls = ('\0'..=char::MAX).filter(|c| categories.get(*c) == GeneralCategory::Control);
        assert!(controls.eq(('\0'..=char::MAX).filter(|c| c.is_control())));
    }

    #[test]
    fn only_invisible_characters_are_deceptive() {
        for text in [
            "Caf\u{e9} e\u{301}",
            "\u{5d0}\u{5b7}",
            "\u{645}\u{62b}\u{627}\u{644}",
            "\u{4f8b}\u{3000}\u{e000}",
            "\u{1f600}\u{1f1e9}",
        ] {
            assert!(!text.chars().any(is_deceptive), "{text:?}");
        }
        for c in [
            '\0',
            '\u{7f}',
            '\u{ad}',
            '\u{600}',
            '\u{200b}',
            '\u{202e}',
            '\u{2028}',
            '\u{2800}',
            '\u{1d159}',
            '\u{3164}',
            '\u{fe0f}',
            '\u{e0041}',
        ] {
            assert!(is_deceptive(c), "{c:?}");
        }
    }
}
