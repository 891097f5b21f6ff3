//! Entries with interruptions: connections are closed, or the store is restarted.
//!
//! Errors are no violations here. The cases check the stored entries afterwards, and the result of the next call.

use time::OffsetDateTime;

use super::super::node::{Failure, Outcome, patiently};
use super::super::records::{DAY, HOUR, SECOND, START};
use super::super::storm::{Runner, storm};
use super::super::trial::{Named, Trial};
use super::store::Store;
use crate::error::StorageError;
use crate::storage::ephemeral::{EphemeralKey, Inserted, Version, Versioned};

pub(in super::super) const CASES: &[Named] = &[
    ("after an interruption at most one of two inserts of a key was `New`, and its value stays", |t| storm(t, contest)),
    ("after an interruption each call on an entry is whole or absent, and answered ones stay", |t| storm(t, walk)),
];

/// Two runners insert the same keys, one key after the other. Each repeats its insert until it gets a result.
fn contest(runner: &Runner<'_>) -> Outcome {
    let (t, number) = (runner.t, runner.number);
    let (store, witness) = stores(t, number);
    let value = |side: u64| [u8::try_from(side).unwrap_or_default(), 1];
    let mut own = Vec::new();
    for step in 0..runner.steps() {
        let key = t.key(number / 2 * 1_000_000 + step);
        let answer = patiently(|| {
            let answer = store.insert(&key, &value(number % 2), t.at(HOUR), t.at(START));
            runner.answered();
            answer
        })?;
        let found = patiently(|| witness.get(&key, t.at(START)))?;
        match answer {
            Inserted::New(version) => own.push((key, version)),
            // The entry is from the other runner, or from an earlier attempt of this runner that failed.
            Inserted::Taken => {
                let is_whole =
                    found.as_ref().is_some_and(|entry| [value(0), value(1)].contains(&first_two(&entry.value)));
                t.expect(is_whole, "a key that is Taken has the entry of one of the two runners", "it has not");
            }
        }
        // Checks the entry now, and again at the end.
        for (key, version) in if step + 1 == runner.steps() { &own[..] } else { &own[own.len().saturating_sub(1)..] } {
            let found = patiently(|| witness.get(key, t.at(START)))?;
            let mine = value(number % 2);
            t.expect_entry("the entry of the call that got New", Some((&mine, t.at(HOUR))), found.as_ref());
            t.expect_eq("its version", &Some(*version), &found.map(|entry| entry.version));
        }
    }
    Ok(())
}

fn first_two(value: &[u8]) -> [u8; 2] {
    value.try_into().unwrap_or([0xff; 2])
}

fn stores<'a>(t: &'a Trial<'_>, number: u64) -> (Store<'a>, Store<'a>) {
    let number = usize::try_from(number).unwrap_or_default();
    (t.store(number), t.store(number + 1))
}

/// Returns the value and the expiry of an attempt, which are different for each attempt.
fn of_try(t: &Trial<'_>, number: u64) -> (Vec<u8>, OffsetDateTime) {
    (number.to_be_bytes().to_vec(), t.at(DAY) + SECOND * u32::try_from(number).unwrap_or_default())
}

/// Repeats a write with a new value until it succeeds. Returns the result and the number of attempts.
fn written<T>(
    runner: &Runner<'_>,
    next: &mut u64,
    write: impl Fn(&[u8], OffsetDateTime) -> Result<T, StorageError>,
) -> Outcome<(T, u64)> {
    let first = *next;
    let answer = patiently(|| {
        let (value, expires_at) = of_try(runner.t, *next);
        *next += 1;
        let answer = write(&value, expires_at);
        runner.answered();
        answer
    });
    let answer = answer.map_err(|error| Failure::failed("a write that was retried for half a minute", &error))?;
    Ok((answer, *next - first))
}

/// Checks that the entry is from the last attempt if that returned a version, and from an earlier attempt otherwise.
/// Returns the entry.
fn settled(
    runner: &Runner<'_>,
    witness: Store<'_>,
    key: &EphemeralKey,
    version: Option<Version>,
    (next, tries): (u64, u64),
) -> Outcome<Versioned> {
    let t = runner.t;
    let found = patiently(|| witness.get(key, t.at(START)))?;
    let Some(entry) = found else { return Err(Failure::new("a written entry is stored", "it is not")) };
    let all = (next - tries)..(next - 1);
    let expected = match version {
        Some(_) => Some(next - 1),
        None => all.into_iter().find(|number| of_try(t, *number).0 == entry.value),
    };
    let Some(expected) = expected else {
        return Err(Failure::new("the entry is from an attempt that failed", "it is not"));
    };
    let (value, expires_at) = of_try(t, expected);
    t.expect_entry("the entry of the attempt that succeeded", Some((&value, expires_at)), Some(&entry));
    if let Some(version) = version {
        t.expect_eq("its version", &version, &entry.version);
    }
    Ok(entry)
}

/// Inserts and replaces entries, and takes half of them.
fn walk(runner: &Runner<'_>) -> Outcome {
    let t = runner.t;
    let (store, witness) = stores(t, runner.number);
    let (mut next, mut left) = (0, Vec::new());
    for step in 0..runner.steps() {
        let key = t.key(runner.number * 1_000_000 + step);
        let (answer, tries) =
            written(runner, &mut next, |value, expires_at| store.try_insert(&key, value, expires_at, t.at(START)))?;
        let version = match answer {
            Inserted::New(version) => Some(version),
            Inserted::Taken => None,
        };
        let old = settled(runner, witness, &key, version, (next, tries))?.version;

        let (replaced, tries) = written(runner, &mut next, |value, expires_at| {
            store.try_replace(&key, old, value, expires_at, t.at(START))
        })?;
        let Versioned { value, version: new, .. } = settled(runner, witness, &key, replaced, (next, tries))?;
        t.expect(new != old, "a replaced entry has a new version", "it has the same version");
        let is_taken = step % 2 == 0;
        if is_taken {
            let mut tries = 0;
            let taken = patiently(|| {
                tries += 1;
                let taken = store.take(&key, t.at(START));
                runner.answered();
                taken
            })?;
            // An earlier attempt may have taken it and then failed.
            let fits = taken.as_ref().map_or(tries > 1, |taken| *taken == value);
            t.expect(fits, "a take gets the value, or nothing if an earlier attempt failed", "it does not");
        }
        left.push((key, (!is_taken).then_some(new)));
        let found = patiently(|| witness.get(&key, t.at(START)))?.map(|entry| entry.version);
        t.expect_eq("the version of an entry", &left[left.len() - 1].1, &found);
    }
    for (key, version) in &left {
        let found = patiently(|| witness.get(key, t.at(START)))?.map(|entry| entry.version);
        t.expect_eq("the version of an entry after the interruptions", version, &found);
    }
    Ok(())
}
