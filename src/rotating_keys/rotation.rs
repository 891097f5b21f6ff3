//! The rotation: which keys are due to be generated, to stop signing, and to be removed.

use time::OffsetDateTime;

use super::stored::Entry;
use crate::jose::{Algorithm, KeySchedule};

/// Removes keys that have been kept long enough, and private halves that no longer sign. Returns whether anything
/// changed.
pub(super) fn tidy(
    keys: &mut Vec<Entry>,
    algorithms: &[Algorithm],
    schedule: &KeySchedule,
    now: OffsetDateTime,
) -> bool {
    keys.sort_by_key(|key| key.signs_from);
    let KeySchedule { publish_ahead, keep, .. } = *schedule;
    let mut changed = false;
    for key in keys.iter_mut() {
        let is_used = algorithms.contains(&key.algorithm);
        if is_used == key.unused_since.is_some() {
            key.unused_since = if is_used { None } else { Some(now) };
            changed = true;
        }
    }
    // The time of the last signature: when the next key of the algorithm began to sign, or the server stopped using
    // the algorithm.
    let ends: Vec<Option<OffsetDateTime>> = keys
        .iter()
        .enumerate()
        .map(|(at, key)| {
            let next = keys[at + 1..].iter().find(|next| next.algorithm == key.algorithm);
            next.map(|next| next.signs_from).into_iter().chain(key.unused_since).min()
        })
        .collect();
    let has_passed = |end: &Option<OffsetDateTime>, after| end.is_some_and(|end| now - end >= after);
    for (key, end) in keys.iter_mut().zip(&ends) {
        if key.private.is_some() && has_passed(end, publish_ahead) {
            key.private = None;
            changed = true;
        }
    }
    let before = keys.len();
    let mut ends = ends.iter();
    keys.retain(|_| !ends.next().is_some_and(|end| has_passed(end, keep.max(publish_ahead))));
    changed || keys.len() != before
}

/// Returns the keys to generate, and the time when each begins to sign: at once if the algorithm has no key,
/// otherwise after it was published long enough. Ignores a key that would begin to sign later than the next one,
/// because the clock of the node that generated it was wrong.
pub(super) fn missing(
    keys: &[Entry],
    algorithms: &[Algorithm],
    schedule: &KeySchedule,
    now: OffsetDateTime,
) -> Vec<(Algorithm, OffsetDateTime)> {
    let KeySchedule { rotate_every, publish_ahead, .. } = *schedule;
    let due = |algorithm: &Algorithm| {
        let own = keys.iter().filter(|key| key.algorithm == *algorithm && key.private.is_some());
        let mut own = own.map(|key| key.signs_from).peekable();
        if own.peek().is_none() {
            return Some((*algorithm, now));
        }
        let newest = own.filter(|from| *from <= now + 2 * publish_ahead).max();
        let is_there = newest.is_some_and(|newest| now < newest + rotate_every - publish_ahead);
        (!is_there).then(|| (*algorithm, now + publish_ahead))
    };
    algorithms.iter().filter_map(due).collect()
}
