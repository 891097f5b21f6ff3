//! Races for the same entry.

use super::super::node::{Failure, Outcome};
use super::super::records::{DAY, HOUR, START};
use super::super::trial::{Named, RUNNERS, Trial};
use super::store::Store;
use crate::storage::ephemeral::{EphemeralKey, Inserted, Version};

pub(in super::super) const CASES: &[Named] = &[
    ("many inserts race for one key: one gets `New`, and its value is stored", one_insert),
    ("many takes race for one entry: one gets the value", one_take),
    ("many replacements race for one version: one gets a new version, and its value is stored", one_replace),
    ("an entry taken while it is replaced is gone, and the taken value is the last one", take_or_replace),
    ("parallel writes never give a key a version that it had before", versions_at_once),
    ("a purge during inserts removes no new entry", purge_and_insert),
];

pub(in super::super) const CASES_OF_PROCESSES: &[Named] = &[
    ("many processes insert one key: one gets `New`, and its value is stored", one_insert),
    ("many processes take one entry: one gets the value", one_take),
    ("many processes replace one version: one gets a new version, and its value is stored", one_replace),
];

fn value_of(runner: usize) -> [u8; 2] {
    [u8::try_from(runner).unwrap_or_default(), 0]
}

/// Returns the winner of a race. Reports a violation unless there is exactly one.
fn winner(t: &Trial<'_>, what: &str, won: &[bool]) -> Option<usize> {
    let winners: Vec<_> = (0..won.len()).filter(|runner| won[*runner]).collect();
    t.expect_eq(&format!("the number of {} calls {what}", won.len()), &1, &winners.len());
    if let [winner] = winners[..] { Some(winner) } else { None }
}

fn one_insert(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let (key, now) = (t.key(round), t.at(HOUR));
        // Half of the rounds insert over an expired entry.
        if round % 4 >= 2 {
            t.store(0).insert_new(&key, b"old", now, t.at(START))?;
        }
        let answers =
            t.race_stores(round, RUNNERS, |runner, store| store.insert(&key, &value_of(runner), t.at(DAY), now))?;
        let won: Vec<_> = answers.iter().map(|answer| *answer != Inserted::Taken).collect();
        if let Some(runner) = winner(t, "that insert one key get New", &won) {
            let found = t.store(runner + 1).get(&key, now)?;
            t.expect_entry("the entry of the call that got New", Some((&value_of(runner), t.at(DAY))), found.as_ref());
            let version = found.map(|entry| Inserted::New(entry.version));
            t.expect_eq("its version", &Some(answers[runner]), &version);
        }
    }
    Ok(())
}

fn one_take(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let key = t.key(round);
        t.store(0).insert_new(&key, b"value", t.at(HOUR), t.at(START))?;
        let taken = t.race_stores(round, RUNNERS, |_, store| store.take(&key, t.at(START)))?;
        let won: Vec<_> = taken.iter().map(Option::is_some).collect();
        if let Some(runner) = winner(t, "that take one entry get the value", &won) {
            t.expect_eq("the value", &Some(b"value".to_vec()), &taken[runner]);
        }
        t.expect_entry("a taken entry", None, t.store(1).get(&key, t.at(START))?.as_ref());
    }
    Ok(())
}

fn one_replace(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let key = t.key(round);
        let version = t.store(0).insert_new(&key, b"old", t.at(HOUR), t.at(START))?;
        let replaced = t.race_stores(round, RUNNERS, |runner, store| {
            store.replace(&key, version, &value_of(runner), t.at(DAY), t.at(START))
        })?;
        let won: Vec<_> = replaced.iter().map(Option::is_some).collect();
        if let Some(runner) = winner(t, "that replace one version get a new one", &won) {
            let found = t.store(runner + 1).get(&key, t.at(START))?;
            t.expect_entry("the entry of the winner", Some((&value_of(runner), t.at(DAY))), found.as_ref());
            t.expect_eq("its version", &replaced[runner], &found.map(|entry| entry.version));
        }
    }
    Ok(())
}

/// The result of a runner: the taken value, or whether it replaced the entry.
#[derive(Debug)]
enum Did {
    Took(Option<Vec<u8>>),
    Replaced(bool),
}

fn take_or_replace(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let key = t.key(round);
        let version = t.store(0).insert_new(&key, b"old", t.at(HOUR), t.at(START))?;
        let did = t.race_stores(round, RUNNERS, |runner, store| -> Outcome<Did> {
            if runner % 2 == 0 {
                return Ok(Did::Took(store.take(&key, t.at(START))?));
            }
            let replaced = store.replace(&key, version, &value_of(runner), t.at(DAY), t.at(START))?;
            Ok(Did::Replaced(replaced.is_some()))
        })?;
        let replaced: Vec<_> = (0..).zip(&did).filter(|(_, did)| matches!(did, Did::Replaced(true))).collect();
        t.expect(replaced.len() <= 1, "at most one replacement succeeds", format_args!("{} succeed", replaced.len()));
        let last = replaced.first().map_or(b"old".to_vec(), |(runner, _)| value_of(*runner).to_vec());
        let taken: Vec<_> = did
            .iter()
            .filter_map(|did| match did {
                Did::Took(value) => value.clone(),
                Did::Replaced(_) => None,
            })
            .collect();
        t.expect_eq_lists("the taken values", &[last], &taken);
        t.expect_entry("the entry at the end", None, t.store(1).get(&key, t.at(START))?.as_ref());
    }
    Ok(())
}

/// Inserts, replaces and takes one entry repeatedly. Returns the versions that the runner got.
fn write_often(t: &Trial<'_>, key: &EphemeralKey, store: Store<'_>) -> Outcome<Vec<Version>> {
    let mut given = Vec::new();
    for _ in 0..6 {
        if let Inserted::New(version) = store.insert(key, b"1", t.at(HOUR), t.at(START))? {
            given.push(version);
            given.extend(store.replace(key, version, b"2", t.at(HOUR), t.at(START))?);
        }
        store.take(key, t.at(START))?;
    }
    Ok(given)
}

fn versions_at_once(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(5) {
        let key = t.key(round);
        let given = t.race_stores(round, RUNNERS, |_, store| write_often(t, &key, store))?.concat();
        let mut numbers: Vec<_> = given.iter().map(|version| version.as_u64()).collect();
        numbers.sort_unstable();
        numbers.dedup();
        t.expect_eq("the number of versions, and of different versions", &given.len(), &numbers.len());
        t.expect(!given.is_empty(), "some of the inserts return New", "none does");
    }
    Ok(())
}

fn purge_and_insert(t: &Trial<'_>) -> Outcome {
    t.clean_up_entries()?;
    for round in t.rounds(20) {
        let keys: Vec<_> = (0..4).map(|number| t.key(round * 10 + number)).collect();
        for key in &keys {
            t.store(0).insert_new(key, b"old", t.at(HOUR), t.at(START))?;
        }
        t.race_stores(round, RUNNERS, |runner, store| -> Outcome {
            if runner % 2 == 0 {
                store.purge(t.at(HOUR), 100)?;
                return Ok(());
            }
            let key = &keys[runner / 2];
            match store.insert(key, b"new", t.at(DAY), t.at(HOUR))? {
                Inserted::New(_) => Ok(()),
                Inserted::Taken => Err(Failure::new("a key whose entry has expired gets a new one", "it is Taken")),
            }
        })?;
        for key in &keys {
            let found = t.store(1).get(key, t.at(HOUR))?;
            t.expect_entry("an entry that was inserted during a purge", Some((b"new", t.at(DAY))), found.as_ref());
        }
    }
    Ok(())
}
