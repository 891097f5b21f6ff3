//! Where two lists or two records differ, in words short enough to be read.

use std::fmt::Debug;

use serde::Serialize;
use serde_json::Value;

/// How many characters of a value are shown from where it begins to differ on, and how many before that.
const SHOWN: usize = 120;
const BEFORE: usize = 20;

/// How long two lists are, and the first position (from 1 on) at which they differ: in words about the one and the other.
pub(super) fn first_difference<T: PartialEq + Debug>(expected: &[T], observed: &[T]) -> Option<(String, String)> {
    let longest = expected.len().max(observed.len());
    let place = (0..longest).find(|place| expected.get(*place) != observed.get(*place))?;
    let words = |list: &[T]| {
        let value = list.get(place).map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
        format!("{} in all, at position {}: {value}", list.len(), place + 1)
    };
    Some((words(expected), words(observed)))
}

/// The members of two records that differ: the path of each, and its values.
pub(super) fn of_records(expected: &impl Serialize, observed: &impl Serialize) -> Vec<(String, String, String)> {
    let as_value = |result: serde_json::Result<Value>| result.unwrap_or_default();
    let (expected, observed) = (as_value(serde_json::to_value(expected)), as_value(serde_json::to_value(observed)));
    let mut found = Vec::new();
    compare("", Some(&expected), Some(&observed), &mut found);
    found
}

fn compare(path: &str, expected: Option<&Value>, observed: Option<&Value>, found: &mut Vec<(String, String, String)>) {
    if let (Some(Value::Object(expected)), Some(Value::Object(observed))) = (expected, observed) {
        let others = observed.keys().filter(|name| !expected.contains_key(*name));
        for name in expected.keys().chain(others) {
            let dot = if path.is_empty() { "" } else { "." };
            compare(&format!("{path}{dot}{name}"), expected.get(name), observed.get(name), found);
        }
    } else if expected != observed {
        let text = |value: Option<&Value>| value.map_or_else(|| "absent".to_owned(), Value::to_string);
        let (expected, observed) = (text(expected), text(observed));
        let same = expected.chars().zip(observed.chars()).take_while(|(one, other)| one == other).count();
        found.push((path.to_owned(), part(&expected, same), part(&observed, same)));
    }
}

/// A part of a long text, around the character from which on it differs from another.
fn part(text: &str, differs_at: usize) -> String {
    if text.chars().count() <= SHOWN {
        return text.to_owned();
    }
    let begin = differs_at.saturating_sub(BEFORE);
    let shown: String = text.chars().skip(begin).take(SHOWN).collect();
    format!("(of {} characters, from number {} on) {shown}", text.chars().count(), begin + 1)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_differ_at_the_first_position_at_which_one_has_another_value_or_none() {
        let words = |expected: &[i32], observed: &[i32]| first_difference(expected, observed);
        assert_eq!(words(&[1, 2, 3], &[1, 2, 3]), None);
        let differ = ("3 in all, at position 2: 2".into(), "3 in all, at position 2: 7".into());
        assert_eq!(words(&[1, 2, 3], &[1, 7, 8]), Some(differ));
        let shorter = ("2 in all, at position 2: 2".into(), "1 in all, at position 2: nothing".into());
        assert_eq!(words(&[1, 2], &[1]), Some(shorter));
        let longer = ("0 in all, at position 1: nothing".into(), "1 in all, at position 1: 5".into());
        assert_eq!(words(&[], &[5]), Some(longer));
    }

    #[test]
    fn records_differ_in_their_members_and_null_is_not_absent() {
        let expected = json!({ "same": [1], "number": 1.0, "in": { "same": 1, "gone": null }, "list": [1, 2] });
        let observed = json!({ "same": [1], "number": 1, "in": { "same": 1, "new": true }, "list": [1, 3] });
        let mut found = of_records(&expected, &observed);
        found.sort();
        let differ = |path: &str, expected: &str, observed: &str| (path.into(), expected.into(), observed.into());
        let all = [
            differ("in.gone", "null", "absent"),
            differ("in.new", "absent", "true"),
            differ("list", "[1,2]", "[1,3]"),
            differ("number", "1.0", "1"),
        ];
        assert_eq!(found, all);
    }

    #[test]
    fn of_a_long_value_the_part_is_shown_that_differs() {
        let text = |mark: &str| json!({ "text": format!("{}{mark}{}", "\u{e9}".repeat(500), "y".repeat(500)) });
        let found = of_records(&text("a"), &text("b"));
        let [(_, expected, observed)] = &found[..] else { panic!("{found:?}") };
        let begin = "(of 1003 characters, from number 482 on) ";
        let shown = |mark: &str| format!("{begin}{}{mark}{}", "\u{e9}".repeat(BEFORE), "y".repeat(SHOWN - BEFORE - 1));
        assert_eq!([expected, observed], [&shown("a"), &shown("b")]);
    }
}
