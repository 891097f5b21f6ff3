//! The contract suite of an ephemeral store: a correct store passes, and for each case there is a store with a bug that
//! this case finds.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
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

/// Declares the bugs, and tables of them with a case that finds each, by a part of its name.
macro_rules! bugs {
    ($($(#[$doc:meta])* $table:ident { $($bug:ident: $case:literal,)* })*) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        enum Bug {
            None,
            $($($bug,)*)*
        }

        $($(#[$doc])* const $table: &[(Bug, &str)] = &[$((Bug::$bug, $case),)*];)*
    };
}

bugs! {
    /// Bugs that cause failures even if no call is interrupted.
    BUGS {
    ReadsACache: "returned at every node",
    RoundsTimes: "returned at every node",
    InsertsOverALiveEntry: "an insert for a live key",
    KeysByNamespaceToo: "the digest of a key alone",
    ReplacesUnderAnyVersion: "only with its current version",
    CountsWithinTheEntry: "no version of a key is reused",
    EndsValuesAtZero: "returned byte for byte",
    LosesEmptyValues: "returned byte for byte",
    TakesAnyLength: "above 64 KiB",
    ChecksTheLengthTooLate: "above 64 KiB",
    GoesByItsClock: "absent from its expiry on",
    LetsEntriesLiveATickLonger: "absent from its expiry on",
    RemovesWhatItMeetsExpired: "absent from its expiry on",
    ListsAllNamespaces: "`due` lists",
    ListsInTheOrderOfKeys: "`due` lists",
    ListsOnlyWhatExpiresBefore: "`due` lists",
    FiltersAfterTheLimit: "`due` lists",
    PurgesATickTooEarly: "a purge of entries removes",
    PurgesATickTooLate: "a purge of entries removes",
    PurgesMoreThanItMay: "a purge of entries removes",
    LooksThenInserts: "inserts race for one key",
    LooksThenTakes: "takes race for one entry",
    LooksThenReplaces: "race for one version",
    ReplacesWhatIsGone: "taken while it is replaced",
    AddsOneToWhatItRead: "parallel writes never give",
    PurgesByAnOldList: "a purge during inserts",
    InsertsInTwoSteps: "an insert cancelled",
    ReplacesInTwoSteps: "a replacement cancelled",
    TakesInTwoSteps: "a take cancelled",
    RewritesAllWhenItPurges: "a purge of entries cancelled",
    }
    /// Bugs that cause failures only if calls are interrupted.
    BUGS_WHEN_CUT {
        AnswersNewWhenInDoubt: "at most one of two inserts",
        LeavesHalfWhenCut: "each call on an entry is whole or absent",
        LosesWhatItAnswered: "answered ones stay",
    }
}

#[derive(Clone)]
struct Entry {
    namespace: Namespace,
    value: Vec<u8>,
    version: u64,
    expires_at: OffsetDateTime,
}

/// The digest of a key; with a bug, its namespace as well.
type Place = ([u8; 32], Option<Namespace>);

#[derive(Default)]
struct State {
    entries: BTreeMap<Place, Entry>,
    last_version: u64,
    /// The last written key, and how often connections had been cut by then.
    last: Option<(Place, u64)>,
}

/// A store over a map with one lock, which waits before and after its work as a database does.
struct Model {
    bug: Bug,
    state: Arc<tokio::sync::Mutex<State>>,
    cache: Mutex<HashMap<EphemeralKey, Option<Versioned>>>,
    /// How often all connections were cut, and how many calls failed for this reason.
    cuts: Arc<AtomicU64>,
    hit: Arc<AtomicU64>,
}

/// Long enough for other threads to act in between.
async fn others_run() {
    for _ in 0..20 {
        std::thread::yield_now();
        yield_now().await;
    }
}

impl Model {
    fn new(bug: Bug) -> Self {
        let (state, cache, cuts, hit) = Default::default();
        Self { bug, state, cache, cuts, hit }
    }

    fn node(&self) -> Self {
        let (state, cuts, hit) = (Arc::clone(&self.state), Arc::clone(&self.cuts), Arc::clone(&self.hit));
        Self { bug: self.bug, state, cache: Mutex::default(), cuts, hit }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn place(&self, key: &EphemeralKey) -> Place {
        (*key.as_bytes(), self.has(Bug::KeysByNamespaceToo).then(|| key.namespace()))
    }

    /// Cuts all connections: calls in flight fail, whether or not their work was done.
    fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    fn since(&self, cuts: u64) -> Result<(), StorageError> {
        if self.cuts.load(Ordering::SeqCst) == cuts {
            return Ok(());
        }
        self.hit.fetch_add(1, Ordering::SeqCst);
        Err(StorageError::unavailable("the connection was cut"))
    }

    /// Runs a step: waits, works with the lock held, waits. A cut in between is an error, before or after the work.
    async fn step<T>(&self, work: impl AsyncFnOnce(&mut State) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let cuts = self.cuts.load(Ordering::SeqCst);
        yield_now().await;
        // Once connections are being cut, other threads run during a call, so the cuts hit calls.
        if cuts > 0 {
            std::thread::yield_now();
        }
        let mut state = self.state.lock().await;
        // Data that was only in memory is lost at the first call after a cut.
        if let Some((place, of)) = state.last.filter(|_| self.has(Bug::LosesWhatItAnswered))
            && of != self.cuts.load(Ordering::SeqCst)
        {
            state.entries.remove(&place);
            state.last = None;
        }
        self.since(cuts)?;
        let done = work(&mut state).await;
        drop(state);
        yield_now().await;
        self.since(cuts)?;
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
        let entry = state.entries.get(&self.place(key))?;
        if self.lives(entry, now) {
            return Some(entry.clone());
        }
        if self.has(Bug::RemovesWhatItMeetsExpired) {
            state.entries.remove(&self.place(key));
        }
        None
    }

    fn kept(&self, value: &[u8]) -> Vec<u8> {
        match self.bug {
            Bug::EndsValuesAtZero => value.split(|byte| *byte == 0).next().unwrap().to_vec(),
            _ => value.to_vec(),
        }
    }

    /// Writes an entry; with a bug, in two steps between which the caller may be dropped.
    async fn put(
        &self,
        state: &mut State,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        version: Option<u64>,
    ) -> Result<Version, StorageError> {
        let (place, namespace) = (self.place(key), key.namespace());
        let cuts = self.cuts.load(Ordering::SeqCst);
        state.last_version += 1;
        let version = version.unwrap_or(match self.bug {
            Bug::CountsWithinTheEntry => state.entries.get(&place).map_or(1, |entry| entry.version + 1),
            _ => state.last_version,
        });
        let expires_at =
            if self.has(Bug::RoundsTimes) { expires_at.replace_microsecond(0).unwrap() } else { expires_at };
        let is_new = !state.entries.contains_key(&place);
        let in_two_steps = if is_new { Bug::InsertsInTwoSteps } else { Bug::ReplacesInTwoSteps };
        let half = Entry { namespace, value: Vec::new(), version, expires_at };
        if self.has(in_two_steps) {
            state.entries.insert(place, half);
            yield_now().await;
        } else if self.has(Bug::LeavesHalfWhenCut) {
            others_run().await;
            if let Err(cut) = self.since(cuts) {
                state.entries.insert(place, half);
                return Err(cut);
            }
        }
        let entry = Entry { namespace, value: self.kept(value), version, expires_at };
        state.entries.insert(place, entry);
        state.last = Some((place, cuts));
        Ok(Version::from_u64(version))
    }

    fn check(&self, value: &[u8]) -> Result<(), StorageError> {
        if matches!(self.bug, Bug::TakesAnyLength | Bug::ChecksTheLengthTooLate) { Ok(()) } else { check_value(value) }
    }

    fn check_late(&self, value: &[u8]) -> Result<(), StorageError> {
        if self.has(Bug::ChecksTheLengthTooLate) { check_value(value) } else { Ok(()) }
    }

    /// With some bugs, reads first in a separate step.
    async fn look(
        &self,
        bug: Bug,
        key: &EphemeralKey,
        now: OffsetDateTime,
    ) -> Result<Option<Option<Entry>>, StorageError> {
        if !self.has(bug) {
            return Ok(None);
        }
        let seen = self.step(async |state| Ok(self.live(state, key, now))).await?;
        others_run().await;
        Ok(Some(seen))
    }

    /// The version of a new entry, from a number that was read in a separate step.
    async fn drawn(&self) -> Result<Option<u64>, StorageError> {
        if !self.has(Bug::AddsOneToWhatItRead) {
            return Ok(None);
        }
        let last = self.step(async |state| Ok(state.last_version)).await?;
        others_run().await;
        Ok(Some(last + 1))
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
        let seen = self.look(Bug::LooksThenInserts, key, now).await?;
        let drawn = self.drawn().await?;
        let inserted = self.step(async |state| {
            let live = match seen {
                Some(seen) => seen,
                None => self.live(state, key, now),
            };
            if live.is_some() && !self.has(Bug::InsertsOverALiveEntry) {
                return Ok(Inserted::Taken);
            }
            Ok(Inserted::New(self.put(state, key, value, expires_at, drawn).await?))
        });
        let inserted = match inserted.await {
            // The entry may have been stored. The bug reads an entry, and assumes that this call wrote it.
            Err(_) if self.has(Bug::AnswersNewWhenInDoubt) => match self.get(key, now).await? {
                Some(entry) => Inserted::New(entry.version),
                None => return Err(StorageError::unavailable("the connection was cut")),
            },
            inserted => inserted?,
        };
        self.check_late(value)?;
        Ok(inserted)
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        if let Some(known) = self.cache.lock().unwrap().get(key) {
            return Ok(known.clone());
        }
        let found = self.step(async |state| Ok(self.live(state, key, now).as_ref().map(versioned))).await?;
        let found = found.filter(|entry| !self.has(Bug::LosesEmptyValues) || !entry.value.is_empty());
        if self.has(Bug::ReadsACache) {
            self.cache.lock().unwrap().insert(*key, found.clone());
        }
        Ok(found)
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        let seen = self.look(Bug::LooksThenTakes, key, now).await?;
        let taken = self.step(async |state| {
            let live = match seen {
                Some(seen) => seen,
                None => self.live(state, key, now),
            };
            if let Some(entry) = state.entries.get_mut(&self.place(key))
                && self.has(Bug::TakesInTwoSteps)
                && live.is_some()
            {
                entry.value.clear();
                yield_now().await;
            }
            Ok(live.map(|entry| {
                state.entries.remove(&self.place(key));
                entry.value
            }))
        });
        taken.await
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
        let mut seen = self.look(Bug::LooksThenReplaces, key, now).await?;
        let is_gone = self.look(Bug::ReplacesWhatIsGone, key, now).await?;
        let drawn = self.drawn().await?;
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
                return Ok(None);
            }
            Ok(Some(self.put(state, key, value, expires_at, drawn).await?))
        });
        let replaced = replaced.await?;
        self.check_late(value)?;
        Ok(replaced)
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        let is_due = |(_, entry): &(&Place, &Entry)| {
            let is_before = match self.bug {
                Bug::ListsOnlyWhatExpiresBefore => entry.expires_at < at,
                _ => entry.expires_at <= at,
            };
            is_before && (entry.namespace == namespace || self.has(Bug::ListsAllNamespaces))
        };
        let listed = self.step(async |state| {
            let mut all: Vec<_> = state.entries.iter().collect();
            if !self.has(Bug::ListsInTheOrderOfKeys) {
                all.sort_by_key(|(place, entry)| (entry.expires_at, **place));
            }
            let listed: Vec<_> = if self.has(Bug::FiltersAfterTheLimit) {
                all.into_iter().take(limit).filter(is_due).collect()
            } else {
                all.into_iter().filter(is_due).take(limit).collect()
            };
            let due = |((digest, _), entry): (&Place, &Entry)| Due {
                key: EphemeralKey::from_bytes(entry.namespace, *digest),
                entry: versioned(entry),
            };
            Ok(listed.into_iter().map(due).collect())
        });
        listed.await
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let before = match self.bug {
            Bug::PurgesATickTooEarly => before + Duration::MICROSECOND,
            Bug::PurgesATickTooLate => before - Duration::MICROSECOND,
            _ => before,
        };
        let most = if self.has(Bug::PurgesMoreThanItMay) { limit * 2 } else { limit };
        let list = |state: &State| -> Vec<Place> {
            let expired = state.entries.iter().filter(|(_, entry)| entry.expires_at <= before);
            expired.take(most).map(|(place, _)| *place).collect()
        };
        let mut old = None;
        if self.has(Bug::PurgesByAnOldList) {
            old = Some(self.step(async |state| Ok(list(state))).await?);
            others_run().await;
        }
        let purged = self.step(async |state| {
            let expired = old.unwrap_or_else(|| list(state));
            if self.has(Bug::RewritesAllWhenItPurges) {
                let all = std::mem::take(&mut state.entries);
                yield_now().await;
                state.entries = all;
            }
            for place in &expired {
                state.entries.remove(place);
            }
            Ok(expired.len())
        });
        purged.await
    }
}

fn judged(bug: Bug, rounds: u32) -> Result<ContractReport, BrokenContract> {
    let model = Model::new(bug);
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    EphemeralContract::new(block_on, connect).rounds(rounds).run()
}

/// Runs the suite against a model whose connections are cut. Also returns how many calls failed for this reason.
fn judged_when_cut(bug: Bug, rounds: u32) -> (Result<ContractReport, BrokenContract>, u64) {
    let model = Model::new(bug);
    let connect = || async { Ok::<_, Infallible>(model.node()) };
    let suite = EphemeralContract::new(block_on, connect).interrupted_by(|| model.cut());
    let result = suite.rounds(rounds).run();
    (result, model.hit.load(Ordering::SeqCst))
}

fn honest() -> &'static ContractReport {
    static HONEST: OnceLock<ContractReport> = OnceLock::new();
    HONEST.get_or_init(|| {
        let (result, hit) = judged_when_cut(Bug::None, 1);
        assert!(hit > 10, "the cuts hit only {hit} calls");
        result.unwrap()
    })
}

#[test]
fn honest_ephemeral_store_keeps_the_contract() {
    let report = honest();
    assert!(report.skipped.iter().all(|(.., option)| *option == "`EphemeralContract::workers`"), "{report}");
    assert!(report.passed.iter().all(|(clause, _)| *clause == Clause::Ephemeral), "{report}");
}

/// Asserts that the suite finds a bug with the case made for it. Returns that case.
fn found_by(bug: Bug, part: &str, broken: &BrokenContract) -> &'static str {
    let text = broken.to_string();
    for violation in broken.violations() {
        assert_eq!(violation.clause, Clause::Ephemeral, "{bug:?}");
        assert_eq!(violation.error, None, "{bug:?}: {text}");
        assert!(text.contains(violation.cost) && text.contains(violation.remedy), "{bug:?}: {text}");
    }
    let by = broken.cases().into_iter().find(|case| case.contains(part));
    by.unwrap_or_else(|| panic!("{bug:?} is not found by the case {part:?}: {text}"))
}

#[test]
fn each_bug_of_an_ephemeral_store_is_found() {
    let mut proven = BTreeSet::new();
    for (bug, part) in BUGS {
        let broken = judged(*bug, 1).and_then(|_| judged(*bug, 20));
        let broken = broken.err().unwrap_or_else(|| panic!("{bug:?} is not found"));
        proven.insert(found_by(*bug, part, &broken));
    }
    for (bug, part) in BUGS_WHEN_CUT {
        judged(*bug, 1).unwrap();
        let broken = judged_when_cut(*bug, 1).0.and_then(|_| judged_when_cut(*bug, 10).0);
        let broken = broken.err().unwrap_or_else(|| panic!("{bug:?} is not found"));
        proven.insert(found_by(*bug, part, &broken));
    }
    let all: BTreeSet<_> = honest().passed.iter().map(|(_, case)| *case).collect();
    assert_eq!(proven, all, "each case has a bug that it finds");
}

#[test]
fn race_bugs_pass_the_cases_in_sequence() {
    for bug in [Bug::LooksThenInserts, Bug::LooksThenTakes, Bug::LooksThenReplaces, Bug::PurgesByAnOldList] {
        let broken = judged(bug, 20).unwrap_err();
        let is_race = |case: &&str| ["race", "parallel", "while", "during"].iter().any(|word| case.contains(word));
        let wrong: Vec<_> = broken.cases().into_iter().filter(|case| !is_race(case)).collect();
        assert!(wrong.is_empty(), "{bug:?}: {wrong:?}");
    }
}
