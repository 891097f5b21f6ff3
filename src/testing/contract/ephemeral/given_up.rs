//! Cancelled calls: each is polled n times and dropped, for every n until it completes.
//!
//! A cancelled call may still happen a little later. So a second call for the same entry follows. The store can't reply
//! to it before the outcome of the first call is decided.

use super::super::given_up::MOST_POLLS;
use super::super::node::{Failure, Outcome, patiently};
use super::super::records::{DAY, HOUR, START};
use super::super::trial::{Named, Trial};
use crate::storage::ephemeral::Inserted;

pub(in super::super) const CASES: &[Named] = &[
    ("an insert cancelled at any await happens whole or not at all", inserts),
    ("a replacement cancelled at any await happens whole or not at all", replacements),
    ("a take cancelled at any await happens whole or not at all", takes),
    ("a purge of entries cancelled at any await is complete when repeated", purges),
];

fn inserts(t: &Trial<'_>) -> Outcome {
    for polls in 0..MOST_POLLS {
        let (key, now) = (t.key(polls as u64), t.at(START));
        let (first, second): ((&[u8], _), (&[u8], _)) = ((b"the first", t.at(HOUR)), (b"the second", t.at(DAY)));
        let call = t.store(0).calls.insert(&key, first.0, first.1, now);
        let answer = t.store(0).give_up(polls, call);
        if let Some(found) = patiently(|| t.store(1).get(&key, now))? {
            t.expect_entry("an entry whose insert was cancelled", Some(first), Some(&found));
        }
        let is_first = patiently(|| t.store(2).insert(&key, second.0, second.1, now))? == Inserted::Taken;
        let expected = if is_first { first } else { second };
        let found = patiently(|| t.store(3).get(&key, now))?;
        t.expect_entry("the entry after another insert", Some(expected), found.as_ref());
        if let Some(answer) = answer {
            let answer = answer.map_err(|error| Failure::failed("insert that was not cancelled", &error))?;
            t.expect(is_first && answer != Inserted::Taken, "a completed insert is New and stays", "it is not");
            break;
        }
    }
    Ok(())
}

fn replacements(t: &Trial<'_>) -> Outcome {
    for polls in 0..MOST_POLLS {
        let (key, now) = (t.key(polls as u64), t.at(START));
        let (first, second): ((&[u8], _), (&[u8], _)) = ((b"the first", t.at(HOUR * 2)), (b"the second", t.at(DAY)));
        let old: (&[u8], _) = (b"the old one", t.at(HOUR));
        let version = patiently(|| t.store(0).insert_new(&key, old.0, old.1, now))?;
        let answer = t.store(0).give_up(polls, t.store(0).calls.replace(&key, version, first.0, first.1, now));
        let found = patiently(|| t.store(1).get(&key, now))?;
        let is_old = found.as_ref().is_some_and(|entry| entry.version == version);
        t.expect_entry("an entry after a replacement", Some(if is_old { old } else { first }), found.as_ref());
        let is_first = patiently(|| t.store(2).replace(&key, version, second.0, second.1, now))?.is_none();
        let expected = if is_first { first } else { second };
        let found = patiently(|| t.store(3).get(&key, now))?;
        t.expect_entry("the entry after another replacement", Some(expected), found.as_ref());
        if let Some(answer) = answer {
            let answer = answer.map_err(|error| Failure::failed("replace that was not cancelled", &error))?;
            t.expect(is_first && answer.is_some(), "a completed replacement succeeds and stays", "it is not");
            break;
        }
    }
    Ok(())
}

fn takes(t: &Trial<'_>) -> Outcome {
    for polls in 0..MOST_POLLS {
        let (key, now) = (t.key(polls as u64), t.at(START));
        patiently(|| t.store(0).insert_new(&key, b"value", t.at(HOUR), now))?;
        let answer = t.store(0).give_up(polls, t.store(0).calls.take(&key, now));
        if let Some(found) = patiently(|| t.store(1).get(&key, now))? {
            t.expect_entry("an entry whose take was cancelled", Some((b"value", t.at(HOUR))), Some(&found));
        }
        let second = patiently(|| t.store(2).take(&key, now))?;
        let is_value = second.as_ref().is_none_or(|value| value == b"value");
        t.expect(is_value, "a take after a cancelled one gets the value or nothing", "it gets another value");
        let found = patiently(|| t.store(3).get(&key, now))?;
        t.expect_entry("the entry after another take", None, found.as_ref());
        if let Some(answer) = answer {
            let answer = answer.map_err(|error| Failure::failed("take that was not cancelled", &error))?;
            t.expect_eq("the result of a completed take", &Some(b"value".to_vec()), &answer);
            t.expect_eq("the result of a take after it", &None, &second);
            break;
        }
    }
    Ok(())
}

fn purges(t: &Trial<'_>) -> Outcome {
    t.clean_up_entries()?;
    for polls in 0..MOST_POLLS {
        let base = polls as u64 * 10;
        let expired: Vec<_> = (base..base + 4).map(|number| t.key(number)).collect();
        let live = t.key(base + 5);
        for key in &expired {
            patiently(|| t.store(0).insert_new(key, b"value", t.at(HOUR), t.at(START)))?;
        }
        patiently(|| t.store(0).insert_new(&live, b"value", t.at(DAY), t.at(START)))?;
        let answer = t.store(0).give_up(polls, t.store(0).calls.purge_ephemeral(t.at(HOUR), 2));
        patiently(|| {
            t.store(1).purge_all(t.at(2 * HOUR))?;
            for key in &expired {
                // A purge may skip entries that the cancelled purge still uses.
                if t.store(2).get(key, t.at(START))?.is_some() {
                    return Err(Failure::new("no expired entry is left after a repeated purge", "one is"));
                }
            }
            Ok(())
        })?;
        let found = t.store(3).get(&live, t.at(HOUR))?;
        t.expect_entry("a live entry", Some((b"value", t.at(DAY))), found.as_ref());
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}
