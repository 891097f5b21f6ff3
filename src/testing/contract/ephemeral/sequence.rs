//! The results and writes of single calls.

use time::{Duration, OffsetDateTime};

use super::super::node::Outcome;
use super::super::records::{DAY, HOUR, SECOND, START, TICK};
use super::super::trial::{Named, Trial};
use super::store::key_in;
use crate::storage::ephemeral::{Due, EphemeralKey, Inserted, MAX_VALUE, Version, Versioned};

pub(in super::super) const CASES: &[Named] = &[
    ("an entry stored at one node is returned at every node until it is taken", stored_and_taken),
    ("an insert for a live key is `Taken` and changes nothing", taken_key),
    ("the digest of a key alone identifies an entry, at every node and in each call", identified_by_digest),
    ("an entry is replaced only with its current version, and gets a new version", replaced),
    ("no version of a key is reused after a take, an expiry or a purge", versions),
    ("a value of 0 to 64 KiB is returned byte for byte", bytes),
    ("a value above 64 KiB is an error and writes nothing", too_long),
    ("an entry is absent from its expiry on, compared with the time of the call to the microsecond", expiry),
    ("`due` lists only the entries of a namespace that expire by a time, soonest first", due),
    ("a purge of entries removes at most `limit` entries, and only expired ones", purge),
];

fn stored_and_taken(t: &Trial<'_>) -> Outcome {
    // The same name in two namespaces gives two keys.
    let keys = [key_in(t.namespace("one"), 1), key_in(t.namespace("two"), 1), key_in(t.namespace("one"), 2)];
    for (number, key) in keys.iter().enumerate() {
        for store in t.stores() {
            t.expect_entry("a key without an entry", None, store.get(key, t.at(START))?.as_ref());
        }
        let (value, expires_at) = ([7, u8::try_from(number).unwrap_or_default()], t.at(HOUR) + TICK);
        let version = t.store(number).insert_new(key, &value, expires_at, t.at(START))?;
        for store in t.stores() {
            let found = store.get(key, t.at(SECOND))?;
            t.expect_entry("a stored entry", Some((&value, expires_at)), found.as_ref());
            t.expect_eq("its version", &Some(version), &found.map(|entry| entry.version));
        }
    }
    for (number, key) in keys.iter().enumerate() {
        let expected = vec![7, u8::try_from(number).unwrap_or_default()];
        let taken = t.store(number + 1).take(key, t.at(SECOND))?;
        t.expect_eq("the taken value", &Some(expected), &taken);
        for store in t.stores() {
            t.expect_entry("a taken entry", None, store.get(key, t.at(SECOND))?.as_ref());
            t.expect_eq("the value of a second take", &None, &store.take(key, t.at(SECOND))?);
        }
    }
    Ok(())
}

fn taken_key(t: &Trial<'_>) -> Outcome {
    let key = t.key(1);
    let version = t.store(0).insert_new(&key, b"first", t.at(HOUR), t.at(START))?;
    for store in t.stores() {
        let again = store.insert(&key, b"second", t.at(DAY), t.at(SECOND))?;
        t.expect_eq("the result of a second insert", &Inserted::Taken, &again);
        let found = store.get(&key, t.at(SECOND))?;
        t.expect_entry("the first entry", Some((b"first", t.at(HOUR))), found.as_ref());
        t.expect_eq("its version", &Some(version), &found.map(|entry| entry.version));
    }
    Ok(())
}

/// The library never builds two such keys, because its digest covers the namespace.
fn identified_by_digest(t: &Trial<'_>) -> Outcome {
    let key = t.key(1);
    let alias = EphemeralKey::from_bytes(t.namespace("alias"), *key.as_bytes());
    let mut version = t.store(0).insert_new(&key, b"first", t.at(HOUR), t.at(START))?;
    for store in t.stores() {
        let again = store.insert(&alias, b"second", t.at(DAY), t.at(SECOND))?;
        t.expect_eq("the result of an insert with the same digest", &Inserted::Taken, &again);
        let found = store.get(&alias, t.at(SECOND))?;
        t.expect_entry("the entry", Some((b"first", t.at(HOUR))), found.as_ref());
        t.expect_eq("its version", &Some(version), &found.map(|entry| entry.version));
        let Some(next) = store.replace(&alias, version, b"first", t.at(HOUR), t.at(SECOND))? else {
            t.report("a key with the same digest replaces the entry", "it does not");
            return Ok(());
        };
        version = next;
    }
    t.expect_eq("the taken value", &Some(b"first".to_vec()), &t.store(1).take(&alias, t.at(SECOND))?);
    t.expect_entry("a taken entry", None, t.store(2).get(&key, t.at(SECOND))?.as_ref());

    // An insert replaces an expired entry with the same digest.
    t.store(0).insert_new(&key, b"old", t.at(HOUR), t.at(START))?;
    t.store(1).insert_new(&alias, b"new", t.at(DAY), t.at(HOUR))?;
    let found = t.store(2).get(&key, t.at(HOUR))?;
    t.expect_entry("an entry that was inserted over an expired one", Some((b"new", t.at(DAY))), found.as_ref());
    Ok(())
}

fn replaced(t: &Trial<'_>) -> Outcome {
    let key = t.key(1);
    let of_nothing = t.store(0).replace(&key, Version::from_u64(1), b"x", t.at(DAY), t.at(START))?;
    t.expect_eq("the result of replacing an absent entry", &None, &of_nothing);
    t.expect_entry("an absent entry after a replacement", None, t.store(1).get(&key, t.at(START))?.as_ref());

    let mut versions = vec![t.store(0).insert_new(&key, b"0", t.at(DAY), t.at(START))?];
    for step in 1..=4_u8 {
        let last = versions[versions.len() - 1];
        // The new expiry is alternately earlier and later.
        let expires_at = t.at(if step % 2 == 0 { DAY } else { HOUR });
        let store = t.store(step.into());
        let new = store.replace_done(&key, last, &[step; 3], expires_at, t.at(SECOND))?;
        t.expect(
            !versions.contains(&new),
            "a replaced entry has another version",
            "it has a version that it had before",
        );
        for old in &versions {
            let late = t.store(0).replace(&key, *old, b"late", t.at(DAY), t.at(SECOND))?;
            t.expect_eq("the version of a replacement under an old version", &None, &late);
        }
        for store in t.stores() {
            let found = store.get(&key, t.at(SECOND))?;
            t.expect_entry("an entry that was replaced", Some((&[step; 3], expires_at)), found.as_ref());
            t.expect_eq("its version", &Some(new), &found.map(|entry| entry.version));
        }
        versions.push(new);
    }
    t.expect_eq("the taken value", &Some(vec![4; 3]), &t.store(1).take(&key, t.at(SECOND))?);
    for version in versions {
        let late = t.store(2).replace(&key, version, b"late", t.at(DAY), t.at(SECOND))?;
        t.expect_eq("the version of an entry that was taken and is replaced", &None, &late);
    }
    t.expect_entry("a taken entry", None, t.store(0).get(&key, t.at(SECOND))?.as_ref());
    Ok(())
}

fn versions(t: &Trial<'_>) -> Outcome {
    t.clean_up_entries()?;
    let key = t.key(1);
    let mut seen: Vec<Version> = Vec::new();
    let see = |seen: &mut Vec<Version>, after: &str, version: Version| {
        t.expect(
            !seen.contains(&version),
            format_args!("a version that the key never had, after {after}"),
            format_args!("version {} comes back", version.as_u64()),
        );
        seen.push(version);
    };
    for round in 0..4_i32 {
        let (store, begin) = (t.store(round.unsigned_abs() as usize), t.at(HOUR * 3 * round));
        let end = begin + HOUR;
        let first = store.insert_new(&key, b"1", end, begin)?;
        see(&mut seen, "a purge", first);
        see(&mut seen, "a replacement", store.replace_done(&key, first, b"2", end, begin)?);
        store.take(&key, begin)?;
        see(&mut seen, "a take", store.insert_new(&key, b"3", end, begin)?);
        // The entry has expired, but it is not purged yet.
        see(&mut seen, "an expiry", store.insert_new(&key, b"4", end + HOUR, end)?);
        for old in &seen[..seen.len() - 1] {
            let late = t.store(0).replace(&key, *old, b"late", t.at(DAY), end)?;
            t.expect_eq("the version of a replacement under a version of an earlier entry", &None, &late);
        }
        store.purge_all(end + HOUR)?;
    }
    Ok(())
}

fn bytes(t: &Trial<'_>) -> Outcome {
    let long: Vec<u8> = (0..MAX_VALUE).map(|place| u8::try_from(place * 31 % 251).unwrap_or_default()).collect();
    let values: [&[u8]; 7] = [
        &[],
        &[0],
        b"a\0b",
        &[0xff, 0xfe, 0x80],
        b"\r\n'\"\\ ",
        &std::array::from_fn::<_, 256, _>(|byte| u8::try_from(byte).unwrap_or_default()),
        &long,
    ];
    let mut listed = Vec::new();
    for (number, value) in (0..).zip(values) {
        let (key, other) = (t.key(number), t.key(100 + number));
        t.store(0).insert_new(&key, value, t.at(HOUR), t.at(START))?;
        let found = t.store(1).get(&key, t.at(START))?;
        t.expect_entry("a value that was inserted", Some((value, t.at(HOUR))), found.as_ref());
        let taken = t.store(2).take(&key, t.at(START))?;
        t.expect(taken.as_deref() == Some(value), "the value is taken whole", "it is not");

        let version = t.store(0).insert_new(&other, b"short", t.at(HOUR), t.at(START))?;
        let version = t.store(1).replace_done(&other, version, value, t.at(HOUR), t.at(START))?;
        let found = t.store(2).get(&other, t.at(START))?;
        t.expect_entry("a value that replaced another value", Some((value, t.at(HOUR))), found.as_ref());
        let entry = Versioned { value: value.to_vec(), version, expires_at: t.at(HOUR) };
        listed.push(Due { key: other, entry });
    }
    listed.sort_by_key(|due| *due.key.as_bytes());
    t.expect_eq_lists_soon("entries with their values", &listed, || {
        t.store(1).due(t.namespace("case"), t.at(HOUR), 100)
    })
}

fn too_long(t: &Trial<'_>) -> Outcome {
    let (key, long) = (t.key(1), vec![7; MAX_VALUE + 1]);
    let inserted = t.store(0).try_insert(&key, &long, t.at(HOUR), t.at(START));
    t.expect(inserted.is_err(), "an insert of 65,537 bytes fails", "it does not");
    t.expect_entry("the entry", None, t.store(1).get(&key, t.at(START))?.as_ref());
    let version = t.store(0).insert_new(&key, b"short", t.at(HOUR), t.at(START))?;
    let replaced = t.store(1).try_replace(&key, version, &long, t.at(DAY), t.at(START));
    t.expect(replaced.is_err(), "a replacement by 65,537 bytes fails", "it does not");
    let found = t.store(2).get(&key, t.at(START))?;
    t.expect_entry("the entry", Some((b"short", t.at(HOUR))), found.as_ref());
    t.expect_eq("its version", &Some(version), &found.map(|entry| entry.version));
    Ok(())
}

fn expiry(t: &Trial<'_>) -> Outcome {
    let (key, store, end) = (t.key(1), t.store(0), t.at(HOUR) + TICK);
    let version = store.insert_new(&key, b"1", end, t.at(START))?;
    for store in t.stores() {
        for now in [end, end + TICK, end + DAY] {
            t.expect_entry("an entry that has expired", None, store.get(&key, now)?.as_ref());
            t.expect_eq("the value of an expired entry that is taken", &None, &store.take(&key, now)?);
            let replaced = store.replace(&key, version, b"2", now + DAY, now)?;
            t.expect_eq("the version of an expired entry that is replaced", &None, &replaced);
        }
        // By a clock that is behind, the entry is still live: none of these calls has removed it.
        let now = end - TICK;
        t.expect_entry("an entry a microsecond before its expiry", Some((b"1", end)), store.get(&key, now)?.as_ref());
        let taken = store.insert(&key, b"2", end + DAY, now)?;
        t.expect_eq("the result of an insert a microsecond before the expiry", &Inserted::Taken, &taken);
    }
    let other = t.store(1).insert_new(&key, b"2", end + HOUR, end)?;
    t.expect_entry("the next entry", Some((b"2", end + HOUR)), t.store(2).get(&key, end)?.as_ref());
    // A replacement may set an earlier expiry, even in the past.
    t.store(1).replace_done(&key, other, b"3", end - TICK, end)?;
    t.expect_entry("an entry that ends in the past", None, t.store(2).get(&key, end)?.as_ref());
    t.store(1).insert_new(&key, b"4", end, end)?;
    t.expect_entry("an entry that ends when it is inserted", None, t.store(2).get(&key, end)?.as_ref());
    Ok(())
}

/// Returns the listed entries without their values, which other cases compare.
fn places(due: &[Due]) -> Vec<(EphemeralKey, OffsetDateTime)> {
    due.iter().map(|due| (due.key, due.entry.expires_at)).collect()
}

fn due(t: &Trial<'_>) -> Outcome {
    let (own, other) = (t.namespace("own"), t.namespace("other"));
    let mut expected = Vec::new();
    for number in 0..12_u64 {
        // Three entries expire at each of four times.
        let expires_at = t.at(HOUR) + TICK * u32::try_from(number * 7 % 4).unwrap_or_default();
        let key = key_in(own, number);
        t.store(0).insert_new(&key, b"own", expires_at, t.at(START))?;
        t.store(1).insert_new(&key_in(other, number), b"other", expires_at, t.at(START))?;
        expected.push((key, expires_at));
    }
    expected.sort_by_key(|(key, expires_at)| (*expires_at, *key.as_bytes()));
    // The list is read long before and long after the expiry of the entries.
    for (ticks, until) in [(-1, 0), (0, 3), (1, 6), (2, 9), (3, 12), (1_000_000_000, 12)] {
        let at = t.at(HOUR) + TICK * ticks;
        for limit in [0, 1, 4, 100] {
            let expected: Vec<_> = expected[..until].iter().take(limit).copied().collect();
            let what = format!("entries due {ticks} µs after the first, {limit} at most");
            t.expect_eq_lists_soon(&what, &expected, || Ok(places(&t.store(2).due(own, at, limit)?)))?;
        }
    }
    // A claim moves an entry in the list, and a take removes it.
    let at = t.at(HOUR) + TICK;
    t.expect_eq_lists_soon("entries that are due", &expected[..6], || Ok(places(&t.store(0).due(own, at, 100)?)))?;
    let Some(Due { key, entry: Versioned { version, .. } }) = t.store(0).due(own, at, 1)?.into_iter().next() else {
        t.report("an entry is due", "none is");
        return Ok(());
    };
    t.store(3).replace_done(&key, version, b"claimed", t.at(DAY), t.at(SECOND))?;
    t.store(3).take(&expected[1].0, t.at(SECOND))?;
    t.expect_eq_lists_soon("the entries that are still due", &expected[2..6], || {
        Ok(places(&t.store(1).due(own, at, 100)?))
    })?;
    let claimed = || -> Outcome<Vec<_>> {
        let mut all = places(&t.store(1).due(own, t.at(DAY), 100)?);
        all.retain(|(other, _)| *other == key);
        Ok(all)
    };
    t.expect_eq_lists_soon("the entry that was claimed", &[(key, t.at(DAY))], claimed)
}

fn purge(t: &Trial<'_>) -> Outcome {
    t.clean_up_entries()?;
    let before = t.at(HOUR);
    let end_of = |number: u64| match number {
        0..10 => before - SECOND * u32::try_from(number).unwrap_or_default(),
        10 => before + TICK,
        _ => before + DAY,
    };
    for number in 0..14 {
        t.store(0).insert_new(&t.key(number), b"value", end_of(number), before - Duration::HOUR)?;
    }
    t.expect_eq("the number of entries that a purge with the limit 0 removes", &0, &t.store(1).purge(before, 0)?);
    let mut removed = Vec::new();
    for node in 0..4 {
        removed.push(t.store(node).purge(before, 3)?);
        let is_there = |number: &u64| -> Outcome<bool> {
            Ok(t.store(node + 1).get(&t.key(*number), end_of(*number) - TICK)?.is_some())
        };
        let mut left = 0;
        for number in 0..10 {
            left += usize::from(is_there(&number)?);
        }
        t.expect_eq("how many expired entries are left", &(10 - removed.iter().sum::<usize>().min(10)), &left);
        for number in 10..14 {
            t.expect(is_there(&number)?, "a live entry stays", format_args!("entry {number} is gone"));
        }
    }
    t.expect_eq_lists("the numbers of entries that purges with the limit 3 remove", &[3, 3, 3, 1], &removed);
    t.expect_eq("the number of entries that another purge removes", &0, &t.store(0).purge(before, 100)?);
    t.expect_eq(
        "the number of entries that a purge one microsecond later removes",
        &1,
        &t.store(0).purge(before + TICK, 100)?,
    );
    Ok(())
}
