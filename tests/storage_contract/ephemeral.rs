//! The contract of an ephemeral store as a suite: a store that keeps it passes, and for each case there is a store with a bug that
//! this case finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock};

use async_trait::async_trait;
use grantor::StorageError;
use grantor::storage::ephemeral::{
    Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned, check_value,
};
use grantor::testing::{BrokenContract, Clause, ContractReport, EphemeralContract};
use time::{Duration, OffsetDateTime};
use tokio::task::yield_now;

use crate::block_on;

/// Declares the bugs, and a case that finds each, by a part of its name.
macro_rules! bugs {
    ($($bug:ident: $case:literal,)*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Bug {
            None,
            $($bug,)*
        }

        const BUGS: &[(Bug, &str)] = &[$((Bug::$bug, $case),)*];
    };
}

bugs! {
    ReadsACache: "what every node gets",
    RoundsTimes: "what every node gets",
    InsertsOverALiveEntry: "a key that has a live entry",
    ReplacesUnderAnyVersion: "under its own version only",
    CountsWithinTheEntry: "no version of a key comes back",
    EndsValuesAtZero: "the bytes of a value",
    LosesEmptyValues: "the bytes of a value",
    TakesAnyLength: "above 64 KiB",
    ChecksTheLengthTooLate: "above 64 KiB",
    GoesByItsClock: "absent from its expiry on",
    LetsEntriesLiveATickLonger: "absent from its expiry on",
    RemovesWhatItMeetsExpired: "absent from its expiry on",
    ListsAllNamespaces: "due lists",
    ListsInTheOrderOfKeys: "due lists",
    ListsOnlyWhatExpiresBefore: "due lists",
    FiltersAfterTheLimit: "due lists",
    PurgesATickTooEarly: "a purge of entries removes",
    PurgesATickTooLate: "a purge of entries removes",
    PurgesMoreThanItMay: "a purge of entries removes",
    LooksThenInserts: "insert one key at once",
    LooksThenTakes: "take one entry at once",
    LooksThenReplaces: "replace one version at once",
    ReplacesWhatIsGone: "taken and replaced at once",
    AddsOneToWhatItRead: "that many write at once",
    PurgesByAnOldList: "a purge that meets inserts",
    InsertsInTwoSteps: "an insert that is given up",
    ReplacesInTwoSteps: "a replacement that is given up",
    TakesInTwoSteps: "a take that is given up",
    RewritesAllWhenItPurges: "a purge of entries that is given up",
}

#[derive(Clone)]
struct Entry {
    value: Vec<u8>,
    version: u64,
    expires_at: OffsetDateTime,
}

#[derive(Default)]
struct State {
    entries: BTreeMap<EphemeralKey, Entry>,
    last_version: u64,
}

/// A store over a map behind one lock, that waits before and after its work as a database does.
struct Model {
    bug: Bug,
    state: Arc<tokio::sync::Mutex<State>>,
    cache: Mutex<HashMap<EphemeralKey, Option<Versioned>>>,
}

/// Long enough for other threads to do something in between.
async fn others_run() {
    for _ in 0..20 {
        std::thread::yield_now();
        yield_now().await;
    }
}

impl Model {
    fn node(&self) -> Self {
        Self { bug: self.bug, state: Arc::clone(&self.state), cache: Mutex::default() }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    async fn step<T>(&self, work: impl AsyncFnOnce(&mut State) -> T) -> T {
        yield_now().await;
        let mut state = self.state.lock().await;
        let done = work(&mut state).await;
        drop(state);
        yield_now().await;
        done
    }

    fn lives(&self, entry: &Entry, now: OffsetDateTime) -> bool {
        match self.bug {
            Bug::GoesByItsClock => OffsetDateTime::now_utc() < entry.expires_at,
            Bug::LetsEntriesLiveATickLonger => now <= entry.expires_at,
            _ => now < entry.expires_at,
        }
    }

    fn live(&self, state: &mut State, key: &EphemeralKey, now: OffsetDateTime) -> Option<Entry> {
        let entry = state.entries.get(key)?;
        if self.lives(entry, now) {
            return Some(entry.clone());
        }
        if self.has(Bug::RemovesWhatItMeetsExpired) {
            state.entries.remove(key);
        }
        None
    }

    fn kept(&self, value: &[u8]) -> Vec<u8> {
        match self.bug {
            Bug::EndsValuesAtZero => value.split(|byte| *byte == 0).next().unwrap().to_vec(),
            _ => value.to_vec(),
        }
    }

    /// Writes an entry; with a bug, in two steps between which the caller may go away.
    async fn put(
        &self,
        state: &mut State,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        version: Option<u64>,
    ) -> Version {
        state.last_version += 1;
        let version = version.unwrap_or(match self.bug {
            Bug::CountsWithinTheEntry => state.entries.get(key).map_or(1, |entry| entry.version + 1),
            _ => state.last_version,
        });
        let expires_at =
            if self.has(Bug::RoundsTimes) { expires_at.replace_microsecond(0).unwrap() } else { expires_at };
        let is_new = !state.entries.contains_key(key);
        let in_two_steps = if is_new { Bug::InsertsInTwoSteps } else { Bug::ReplacesInTwoSteps };
        if self.has(in_two_steps) {
            let half = Entry { value: Vec::new(), version, expires_at };
            state.entries.insert(*key, half);
            yield_now().await;
        }
        let entry = Entry { value: self.kept(value), version, expires_at };
        state.entries.insert(*key, entry);
        Version::from_u64(version)
    }

    fn check(&self, value: &[u8]) -> Result<(), StorageError> {
        if matches!(self.bug, Bug::TakesAnyLength | Bug::ChecksTheLengthTooLate) { Ok(()) } else { check_value(value) }
    }

    fn check_late(&self, value: &[u8]) -> Result<(), StorageError> {
        if self.has(Bug::ChecksTheLengthTooLate) { check_value(value) } else { Ok(()) }
    }

    /// Reads first, in a step of its own, with the bugs that do so.
    async fn look(&self, bug: Bug, key: &EphemeralKey, now: OffsetDateTime) -> Option<Option<Entry>> {
        if !self.has(bug) {
            return None;
        }
        let seen = self.step(async |state| self.live(state, key, now)).await;
        others_run().await;
        Some(seen)
    }

    /// The version that a new entry gets, from a number that was read in a step of its own.
    async fn drawn(&self) -> Option<u64> {
        if !self.has(Bug::AddsOneToWhatItRead) {
            return None;
        }
        let last = self.step(async |state| state.last_version).await;
        others_run().await;
        Some(last + 1)
    }
}

fn versioned(entry: &Entry) -> Versioned {
    Versioned { value: entry.value.clone(), version: Version::from_u64(entry.version), expires_at: entry.expires_at }
}

#[async_trait]
impl EphemeralStore for Model {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        self.check(value)?;
        let seen = self.look(Bug::LooksThenInserts, key, now).await;
        let drawn = self.drawn().await;
        let inserted = self.step(async |state| {
            let live = match seen {
                Some(seen) => seen,
                None => self.live(state, key, now),
            };
            if live.is_some() && !self.has(Bug::InsertsOverALiveEntry) {
                return Inserted::Taken;
            }
            Inserted::New(self.put(state, key, value, expires_at, drawn).await)
        });
        let inserted = inserted.await;
        self.check_late(value)?;
        Ok(inserted)
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        if let Some(known) = self.cache.lock().unwrap().get(key) {
            return Ok(known.clone());
        }
        let found = self.step(async |state| self.live(state, key, now).as_ref().map(versioned)).await;
        let found = found.filter(|entry| !self.has(Bug::LosesEmptyValues) || !entry.value.is_empty());
        if self.has(Bug::ReadsACache) {
            self.cache.lock().unwrap().insert(*key, found.clone());
        }
        Ok(found)
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        let seen = self.look(Bug::LooksThenTakes, key, now).await;
        let taken = self.step(async |state| {
            let live = match seen {
                Some(seen) => seen,
                None => self.live(state, key, now),
            };
            if let Some(entry) = state.entries.get_mut(key)
                && self.has(Bug::TakesInTwoSteps)
                && live.is_some()
            {
                entry.value.clear();
                yield_now().await;
            }
            live.map(|entry| {
                state.entries.remove(key);
                entry.value
            })
        });
        Ok(taken.await)
    }

    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        self.check(value)?;
        let mut seen = self.look(Bug::LooksThenReplaces, key, now).await;
        let is_gone = self.look(Bug::ReplacesWhatIsGone, key, now).await;
        let drawn = self.drawn().await;
        let replaced = self.step(async |state| {
            let live = self.live(state, key, now);
            if let Some(before) = is_gone
                && live.is_none()
            {
                seen = Some(before);
            }
            let live = match seen {
                Some(seen) => seen,
                None => live,
            };
            let is_expected =
                |entry: &Entry| entry.version == expected.as_u64() || self.has(Bug::ReplacesUnderAnyVersion);
            if !live.as_ref().is_some_and(is_expected) {
                return None;
            }
            Some(self.put(state, key, value, expires_at, drawn).await)
        });
        let replaced = replaced.await;
        self.check_late(value)?;
        Ok(replaced)
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        let is_due = |(key, entry): &(&EphemeralKey, &Entry)| {
            let is_before = match self.bug {
                Bug::ListsOnlyWhatExpiresBefore => entry.expires_at < at,
                _ => entry.expires_at <= at,
            };
            is_before && (key.namespace() == namespace || self.has(Bug::ListsAllNamespaces))
        };
        let listed = self.step(async |state| {
            let mut all: Vec<_> = state.entries.iter().collect();
            if !self.has(Bug::ListsInTheOrderOfKeys) {
                all.sort_by_key(|(key, entry)| (entry.expires_at, *key.as_bytes()));
            }
            let listed: Vec<_> = if self.has(Bug::FiltersAfterTheLimit) {
                all.into_iter().take(limit).filter(is_due).collect()
            } else {
                all.into_iter().filter(is_due).take(limit).collect()
            };
            listed.into_iter().map(|(key, entry)| Due { key: *key, entry: versioned(entry) }).collect()
        });
        Ok(listed.await)
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let before = match self.bug {
            Bug::PurgesATickTooEarly => before + Duration::MICROSECOND,
            Bug::PurgesATickTooLate => before - Duration::MICROSECOND,
            _ => before,
        };
        let most = if self.has(Bug::PurgesMoreThanItMay) { limit * 2 } else { limit };
        let list = |state: &State| -> Vec<EphemeralKey> {
            let expired = state.entries.iter().filter(|(_, entry)| entry.expires_at <= before);
            expired.take(most).map(|(key, _)| *key).collect()
        };
        let mut old = None;
        if self.has(Bug::PurgesByAnOldList) {
            old = Some(self.step(async |state| list(state)).await);
            others_run().await;
        }
        let purged = self.step(async |state| {
            let expired = old.unwrap_or_else(|| list(state));
            if self.has(Bug::RewritesAllWhenItPurges) {
                let all = std::mem::take(&mut state.entries);
                yield_now().await;
                state.entries = all;
            }
            for key in &expired {
                state.entries.remove(key);
            }
            expired.len()
        });
        Ok(purged.await)
    }
}

fn judged(bug: Bug, rounds: u32) -> Result<ContractReport, BrokenContract> {
    let model = Model { bug, state: Arc::default(), cache: Mutex::default() };
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    EphemeralContract::new(block_on, connect).rounds(rounds).run()
}

fn honest() -> &'static ContractReport {
    static HONEST: OnceLock<ContractReport> = OnceLock::new();
    HONEST.get_or_init(|| judged(Bug::None, 1).unwrap())
}

#[test]
fn honest_ephemeral_store_keeps_the_contract() {
    let report = honest();
    assert!(report.skipped.is_empty(), "{report}");
    assert!(report.passed.iter().all(|(clause, _)| *clause == Clause::Ephemeral), "{report}");
}

#[test]
fn each_bug_of_an_ephemeral_store_is_found() {
    let mut proven = BTreeSet::new();
    for (bug, part) in BUGS {
        let broken = judged(*bug, 1).and_then(|_| judged(*bug, 20));
        let broken = broken.err().unwrap_or_else(|| panic!("{bug:?} is not found"));
        let cases = broken.cases();
        let by = cases.iter().find(|case| case.contains(part));
        proven.insert(*by.unwrap_or_else(|| panic!("{bug:?} is not found by the case {part:?}: {broken}")));
        let text = broken.to_string();
        for violation in broken.violations() {
            assert_eq!(violation.clause, Clause::Ephemeral, "{bug:?}");
            assert_eq!(violation.error, None, "{bug:?}: {text}");
            assert!(text.contains(violation.cost) && text.contains(violation.remedy), "{bug:?}: {text}");
        }
    }
    let all: BTreeSet<_> = honest().passed.iter().map(|(_, case)| *case).collect();
    assert_eq!(proven, all, "each case has a bug that it finds");
}

#[test]
fn race_bugs_pass_the_cases_in_sequence() {
    for bug in [Bug::LooksThenInserts, Bug::LooksThenTakes, Bug::LooksThenReplaces, Bug::PurgesByAnOldList] {
        let broken = judged(bug, 20).unwrap_err();
        let wrong: Vec<_> =
            broken.cases().into_iter().filter(|case| !case.contains("at once") && !case.contains("meets")).collect();
        assert!(wrong.is_empty(), "{bug:?}: {wrong:?}");
    }
}
