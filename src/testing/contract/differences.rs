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
