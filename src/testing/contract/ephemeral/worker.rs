//! Worker processes that use the same ephemeral store. A worker implements [`EphemeralStore`].

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::serde::rfc3339;

use super::super::BoxError;
use super::super::node::Task;
use super::super::worker::{Worker, serve};
use crate::error::StorageError;
use crate::storage::ephemeral::{Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned};

/// A call for a worker, with its key and its time.
#[derive(Serialize, Deserialize)]
struct Order {
    call: Call,
    namespace: String,
    digest: [u8; 32],
    #[serde(with = "rfc3339")]
    now: OffsetDateTime,
}

/// The method and its arguments. In results, a version is a number and a value is a list of bytes.
#[derive(Serialize, Deserialize)]
enum Call {
    Insert(Entry),
    Get,
    Take,
    /// The version of the entry is the expected one.
    Replace(Entry),
}

#[derive(Serialize, Deserialize)]
struct Entry {
    value: Vec<u8>,
    version: u64,
    #[serde(with = "rfc3339")]
    expires_at: OffsetDateTime,
}

/// Runs a worker for [`EphemeralContract::workers`](super::EphemeralContract::workers): makes the calls that the suite
/// sends. Returns at once if the suite has not started this process, so that you can call it in an ordinary test.
///
/// # Errors
/// `connect` failed, or the process of the suite ended unexpectedly.
pub fn ephemeral_contract_worker<S, E, F>(
    block_on: impl for<'t> Fn(Task<'t>) + Sync,
    connect: impl FnOnce() -> F,
) -> Result<(), BoxError>
where
    S: EphemeralStore,
    E: Into<BoxError>,
    F: Future<Output = Result<S, E>>,
{
    serve(&block_on, connect, &async |store: &S, order| obey(store, order).await)
}

/// Makes a call. Returns what the call returned, as JSON.
async fn obey(store: &dyn EphemeralStore, order: Order) -> Result<Value, StorageError> {
    let Order { call, namespace, digest, now } = order;
    let key = EphemeralKey::from_bytes(Namespace::new(&namespace).map_err(StorageError::new)?, digest);
    let answer = match call {
        Call::Insert(Entry { value, expires_at, .. }) => {
            serde_json::to_value(match store.insert(&key, &value, expires_at, now).await? {
                Inserted::New(version) => Some(version.as_u64()),
                Inserted::Taken => None,
            })
        }
        Call::Get => serde_json::to_value(store.get(&key, now).await?.map(Entry::from)),
        Call::Take => serde_json::to_value(store.take(&key, now).await?),
        Call::Replace(Entry { value, version, expires_at }) => {
            let replaced = store.replace(&key, Version::from_u64(version), &value, expires_at, now).await?;
            serde_json::to_value(replaced.map(Version::as_u64))
        }
    };
    answer.map_err(StorageError::new)
}

impl From<Versioned> for Entry {
    fn from(Versioned { value, version, expires_at }: Versioned) -> Self {
        Self { value, version: version.as_u64(), expires_at }
    }
}

fn order(call: Call, key: &EphemeralKey, now: OffsetDateTime) -> Order {
    Order { call, namespace: key.namespace().to_string(), digest: *key.as_bytes(), now }
}

#[async_trait]
impl EphemeralStore for Worker {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        let entry = Entry { value: value.to_vec(), version: 0, expires_at };
        let version: Option<u64> = self.ask(&order(Call::Insert(entry), key, now))?;
        Ok(version.map_or(Inserted::Taken, |version| Inserted::New(Version::from_u64(version))))
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        let entry: Option<Entry> = self.ask(&order(Call::Get, key, now))?;
        Ok(entry.map(|Entry { value, version, expires_at }| Versioned {
            value,
            version: Version::from_u64(version),
            expires_at,
        }))
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        self.ask(&order(Call::Take, key, now))
    }

    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        let entry = Entry { value: value.to_vec(), version: expected.as_u64(), expires_at };
        let version: Option<u64> = self.ask(&order(Call::Replace(entry), key, now))?;
        Ok(version.map(Version::from_u64))
    }

    async fn due(&self, _: Namespace, _: OffsetDateTime, _: usize) -> Result<Vec<Due>, StorageError> {
        Err(StorageError::new("a worker can't list entries"))
    }

    async fn purge_ephemeral(&self, _: OffsetDateTime, _: usize) -> Result<usize, StorageError> {
        Err(StorageError::new("a worker can't purge"))
    }
}
