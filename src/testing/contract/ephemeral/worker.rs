//! Other processes that work on the same ephemeral store, each seen as an [`EphemeralStore`].

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

/// A call that a worker makes at a time.
#[derive(Serialize, Deserialize)]
struct Order {
    call: Call,
    namespace: String,
    digest: [u8; 32],
    #[serde(with = "rfc3339")]
    now: OffsetDateTime,
}

/// What it does with the entry. An answer has a version as a number, and a value as a list of bytes.
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

/// The other half of [`EphemeralContract::workers`](super::EphemeralContract::workers): makes the calls that the suite's process
/// sends. Returns at once in a process that the suite did not start, so that it can stand in an ordinary test.
///
/// # Errors
/// `connect` failed, or the suite's process broke off.
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
        Err(StorageError::new("no case lists entries through a worker"))
    }

    async fn purge_ephemeral(&self, _: OffsetDateTime, _: usize) -> Result<usize, StorageError> {
        Err(StorageError::new("no case purges through a worker"))
    }
}
