//! An ephemeral store in memory: one map behind one lock.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{MemoryStorage, poisoned};
use crate::error::StorageError;
use crate::storage::ephemeral::{
    Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned, check_value,
};

/// A store of ephemeral entries in memory, for a server with a single process. A clone shares the same entries.
///
/// It keeps the whole [contract](crate::storage::ephemeral) until the process ends. Use it if your
/// [`Storage`](crate::Storage) keeps no ephemeral entries; a [`MemoryStorage`] already contains one. The store grows
/// unless you call [`purge_ephemeral`](EphemeralStore::purge_ephemeral) regularly. `due` and `purge_ephemeral` go
/// through all entries.
///
/// A restart loses all entries, such as the records of used consent forms and repeated refreshes. If you set
/// a [`server_key`](crate::Builder::server_key), a consent form that was used before the restart can be submitted again
/// until it expires.
#[derive(Clone, Default)]
pub struct MemoryEphemeralStore {
    entries: Arc<Mutex<Entries>>,
}

#[derive(Default)]
struct Entries {
    /// The entries by the digest of their key.
    by_digest: HashMap<[u8; 32], (Namespace, Versioned)>,
    /// The last version given to any entry of the store, so that no key gets a version twice.
    last_version: u64,
}

impl MemoryEphemeralStore {
    /// Returns an empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn lock(&self) -> Result<MutexGuard<'_, Entries>, StorageError> {
        self.entries.lock().map_err(poisoned)
    }
}

impl Entries {
    fn live(&self, key: &EphemeralKey, now: OffsetDateTime) -> Option<&Versioned> {
        self.by_digest.get(key.as_bytes()).map(|(_, entry)| entry).filter(|entry| now < entry.expires_at)
    }

    fn put(&mut self, key: &EphemeralKey, value: &[u8], expires_at: OffsetDateTime) -> Version {
        self.last_version += 1;
        let version = Version::from_u64(self.last_version);
        let entry = Versioned { value: value.to_vec(), version, expires_at };
        self.by_digest.insert(*key.as_bytes(), (key.namespace(), entry));
        version
    }
}

impl fmt::Debug for MemoryEphemeralStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryEphemeralStore")
    }
}

#[async_trait]
impl EphemeralStore for MemoryEphemeralStore {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        check_value(value)?;
        let mut entries = self.lock()?;
        if entries.live(key, now).is_some() {
            return Ok(Inserted::Taken);
        }
        Ok(Inserted::New(entries.put(key, value, expires_at)))
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        Ok(self.lock()?.live(key, now).cloned())
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        let mut entries = self.lock()?;
        if entries.live(key, now).is_none() {
            return Ok(None);
        }
        Ok(entries.by_digest.remove(key.as_bytes()).map(|(_, entry)| entry.value))
    }

    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        check_value(value)?;
        let mut entries = self.lock()?;
        if entries.live(key, now).is_none_or(|entry| entry.version != expected) {
            return Ok(None);
        }
        Ok(Some(entries.put(key, value, expires_at)))
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        let entries = self.lock()?;
        let of_namespace = entries.by_digest.iter().filter(|(_, (of, _))| *of == namespace);
        let mut due: Vec<_> = of_namespace.map(|(digest, (_, entry))| (digest, entry)).collect();
        due.retain(|(_, entry)| entry.expires_at <= at);
        due.sort_unstable_by_key(|(digest, entry)| (entry.expires_at, **digest));
        due.truncate(limit);
        let listed = |(digest, entry): (&[u8; 32], &Versioned)| Due {
            key: EphemeralKey::from_bytes(namespace, *digest),
            entry: entry.clone(),
        };
        Ok(due.into_iter().map(listed).collect())
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let mut entries = self.lock()?;
        let expired = entries.by_digest.extract_if(|_, (_, entry)| entry.expires_at <= before);
        Ok(expired.take(limit).count())
    }
}

#[async_trait]
impl EphemeralStore for MemoryStorage {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        self.state.ephemeral.insert(key, value, expires_at, now).await
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        self.state.ephemeral.get(key, now).await
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        self.state.ephemeral.take(key, now).await
    }

    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        self.state.ephemeral.replace(key, expected, value, expires_at, now).await
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        self.state.ephemeral.due(namespace, at, limit).await
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.state.ephemeral.purge_ephemeral(before, limit).await
    }
}
