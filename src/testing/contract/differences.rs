//! Short descriptions of the differences between two lists or two records.

use std::fmt::Debug;

use serde::Serialize;
use serde_json::Value;

/// Describes the lengths of two lists and the first position, counted from 1, at which they differ.
pub(super) fn first_difference<T: PartialEq + Debug>(expected: &[T], observed: &[T]) -> Option<(String, String)> {
    let longest = expected.len().max(observed.len());
    let place = (0..longest).find(|place| expected.get(*place) != observed.get(*place))?;
    let words = |list: &[T]| {
        let value = list.get(place).map_or_else(|| "nothing".to_owned(), |value| format!("{value:?}"));
        format!("{} in all, at position {}: {value}", list.len(), place + 1)
    };
    Some((words(expected), words(observed)))
}

/// Returns the members in which two records differ: the path and both values.
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
        found.push((path.to_owned(), text(expected), text(observed)));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn lists_differ_at_their_first_unequal_position() {
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
    fn records_differ_by_member_and_null_is_not_absence() {
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
}
