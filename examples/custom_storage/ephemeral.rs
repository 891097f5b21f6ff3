//! Short-lived entries, as documents beside the others. The numbers in the comments are the clauses of the contract in
//! `grantor::storage::ephemeral`.

use async_trait::async_trait;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use grantor::StorageError;
use grantor::storage::ephemeral::{
    Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned, check_value,
};
use serde::{Deserialize, Serialize};
use time::{OffsetDateTime, serde::rfc3339};

use super::{Document, Documents, Transaction};

#[derive(Serialize, Deserialize)]
struct Entry {
    namespace: String,
    digest: [u8; 32],
    /// Clause 7: any bytes, in base64 because JSON has only text.
    value: String,
    version: u64,
    #[serde(with = "rfc3339")]
    expires_at: OffsetDateTime,
}

impl Document for Entry {
    const FOLDER: &'static str = "ephemeral/";
    fn key(&self) -> String {
        entry_key(&self.digest)
    }
}

fn entry_key(digest: &[u8; 32]) -> String {
    format!("{}{}", Entry::FOLDER, URL_SAFE_NO_PAD.encode(digest))
}

/// Clause 4: one counter for all entries, written in the same transaction. It is never removed.
#[derive(Default, Serialize, Deserialize)]
struct LastVersion(u64);

impl Document for LastVersion {
    const FOLDER: &'static str = "last-version";
    fn key(&self) -> String {
        Self::FOLDER.to_owned()
    }
}

impl Entry {
    fn into_due(self) -> Result<Due, StorageError> {
        let namespace = Namespace::new(&self.namespace).map_err(StorageError::new)?;
        Ok(Due { key: EphemeralKey::from_bytes(namespace, self.digest), entry: self.into_versioned()? })
    }

    fn into_versioned(self) -> Result<Versioned, StorageError> {
        let value = URL_SAFE_NO_PAD.decode(self.value).map_err(StorageError::new)?;
        Ok(Versioned { value, version: Version::from_u64(self.version), expires_at: self.expires_at })
    }
}

impl Transaction<'_> {
    /// Clause 3: an expired entry counts as absent, although it is still stored.
    fn live(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Entry>, StorageError> {
        let entry = self.get::<Entry>(&entry_key(key.as_bytes()))?;
        Ok(entry.filter(|entry| now < entry.expires_at))
    }

    fn put_entry(
        mut self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
    ) -> Result<Version, StorageError> {
        let last = self.get::<LastVersion>(LastVersion::FOLDER)?.unwrap_or_default();
        let version = last.0 + 1;
        self.put(&LastVersion(version))?;
        self.put(&Entry {
            namespace: key.namespace().to_string(),
            digest: *key.as_bytes(),
            value: URL_SAFE_NO_PAD.encode(value),
            version,
            expires_at,
        })?;
        self.commit();
        Ok(Version::from_u64(version))
    }
}

#[async_trait]
impl EphemeralStore for Documents {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        check_value(value)?;
        let transaction = self.begin()?;
        match transaction.live(key, now)? {
            Some(_) => Ok(Inserted::Taken),
            None => transaction.put_entry(key, value, expires_at).map(Inserted::New),
        }
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        self.begin()?.live(key, now)?.map(Entry::into_versioned).transpose()
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        let mut transaction = self.begin()?;
        let Some(entry) = transaction.live(key, now)? else { return Ok(None) };
        transaction.remove(&entry);
        let value = entry.into_versioned()?.value;
        transaction.commit();
        Ok(Some(value))
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
        let transaction = self.begin()?;
        match transaction.live(key, now)? {
            Some(entry) if entry.version == expected.as_u64() => {
                transaction.put_entry(key, value, expires_at).map(Some)
            }
            _ => Ok(None),
        }
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        let mut due = self.begin()?.all::<Entry>()?;
        due.retain(|entry| entry.namespace == namespace.as_str() && entry.expires_at <= at);
        due.sort_by_key(|entry| (entry.expires_at, entry.digest));
        due.into_iter().take(limit).map(Entry::into_due).collect()
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let mut transaction = self.begin()?;
        let expired = transaction.all::<Entry>()?.into_iter().filter(|entry| entry.expires_at <= before);
        let removed: Vec<_> = expired.take(limit).collect();
        for entry in &removed {
            transaction.remove(entry);
        }
        transaction.commit();
        Ok(removed.len())
    }
}
