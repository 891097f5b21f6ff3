//! A handle to the ephemeral store with synchronous calls, and the keys of a case.

use time::{Duration, OffsetDateTime};

use super::super::node::{BlockOn, Failure, Outcome, give_up, run};
use super::super::trial::Trial;
use crate::error::StorageError;
use crate::storage::ephemeral::{Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned};

/// The handle of one node.
#[derive(Clone, Copy)]
pub(super) struct Store<'a> {
    pub(super) calls: &'a dyn EphemeralStore,
    block_on: BlockOn<'a>,
}

impl<'a> Trial<'a> {
    pub(super) fn store(&self, number: usize) -> Store<'a> {
        let stores = self.setup.ephemeral;
        Store { calls: stores[number % stores.len()], block_on: self.node(0).block_on }
    }

    pub(super) fn stores(&self) -> impl Iterator<Item = Store<'a>> {
        (0..self.setup.ephemeral.len()).map(|number| self.store(number))
    }

    /// Runs a function in many threads at the same moment. In even rounds all use one node, in odd rounds all nodes.
    pub(super) fn race_stores<T: Send>(
        &self,
        round: u64,
        runners: usize,
        run: impl Fn(usize, Store<'a>) -> Outcome<T> + Sync,
    ) -> Outcome<Vec<T>> {
        let shares = round.is_multiple_of(2);
        self.race(round, runners, |runner, _| run(runner, self.store(if shares { 0 } else { runner })))
    }

    pub(super) fn namespace(&self, name: &str) -> Namespace {
        Namespace::new(&format!("{name}_{}", self.number)).expect("a good namespace")
    }

    /// Returns a key of this case.
    pub(super) fn key(&self, number: u64) -> EphemeralKey {
        key_in(self.namespace("case"), number)
    }

    /// Compares an entry with the expected one. `None` means that there is no entry.
    pub(super) fn expect_entry(
        &self,
        what: &str,
        expected: Option<(&[u8], OffsetDateTime)>,
        observed: Option<&Versioned>,
    ) {
        let observed = observed.map(|entry| (entry.value.as_slice(), entry.expires_at));
        if expected != observed {
            self.report(format!("{what}: {}", shown(expected)), shown(observed));
        }
    }

    /// Removes the entries of earlier cases.
    pub(super) fn clean_up_entries(&self) -> Outcome {
        self.store(0).purge_all(self.at(Duration::ZERO))
    }
}

/// Returns a key of a namespace.
pub(super) fn key_in(namespace: Namespace, number: u64) -> EphemeralKey {
    EphemeralKey::new("https://id.example", namespace, &number.to_be_bytes())
}

fn shown(entry: Option<(&[u8], OffsetDateTime)>) -> String {
    let Some((value, expires_at)) = entry else { return "no entry".to_owned() };
    let begin = &value[..value.len().min(16)];
    format!("a value of {} bytes that begins with {begin:?}, until {expires_at}", value.len())
}

impl Store<'_> {
    pub(super) fn try_insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        run(self.block_on, self.calls.insert(key, value, expires_at, now))
    }

    pub(super) fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Outcome<Inserted> {
        self.try_insert(key, value, expires_at, now).map_err(|error| Failure::failed("insert", &error))
    }

    /// Runs an insert that must return New.
    pub(super) fn insert_new(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Outcome<Version> {
        match self.insert(key, value, expires_at, now)? {
            Inserted::New(version) => Ok(version),
            Inserted::Taken => {
                Err(Failure::new("an insert of a key without a live entry returns New", "it returns Taken"))
            }
        }
    }

    pub(super) fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Outcome<Option<Versioned>> {
        run(self.block_on, self.calls.get(key, now)).map_err(|error| Failure::failed("get", &error))
    }

    pub(super) fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Outcome<Option<Vec<u8>>> {
        run(self.block_on, self.calls.take(key, now)).map_err(|error| Failure::failed("take", &error))
    }

    pub(super) fn try_replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        run(self.block_on, self.calls.replace(key, expected, value, expires_at, now))
    }

    pub(super) fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Outcome<Option<Version>> {
        let replaced = self.try_replace(key, expected, value, expires_at, now);
        replaced.map_err(|error| Failure::failed("replace", &error))
    }

    /// Runs a replacement that must succeed.
    pub(super) fn replace_done(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Outcome<Version> {
        let replaced = self.replace(key, expected, value, expires_at, now)?;
        replaced.ok_or_else(|| Failure::new("a live entry is replaced under its version", "the result is None"))
    }

    pub(super) fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Outcome<Vec<Due>> {
        run(self.block_on, self.calls.due(namespace, at, limit)).map_err(|error| Failure::failed("due", &error))
    }

    pub(super) fn purge(&self, before: OffsetDateTime, limit: usize) -> Outcome<usize> {
        run(self.block_on, self.calls.purge_ephemeral(before, limit))
            .map_err(|error| Failure::failed("purge_ephemeral", &error))
    }

    /// Purges until nothing is left.
    pub(super) fn purge_all(&self, before: OffsetDateTime) -> Outcome {
        // The limit is far above the number of rows in any case.
        for _ in 0..1_000 {
            if self.purge(before, 1_000)? < 1_000 {
                return Ok(());
            }
        }
        Err(Failure::new("a repeated purge finishes", "it never does"))
    }

    /// Polls a call `polls` times and then drops it.
    pub(super) fn give_up<T>(&self, polls: usize, call: impl Future<Output = T>) -> Option<T> {
        give_up(self.block_on, polls, call)
    }
}
