//! The calls of [`EphemeralStore`].

use async_trait::async_trait;
use time::OffsetDateTime;

use super::{Call, Intercepted, Reply, Target, is_of_another_trait};
use crate::error::StorageError;
use crate::storage::ephemeral::{Due, EphemeralKey, EphemeralStore, Inserted, Namespace, Version, Versioned};

pub(super) async fn run(store: &dyn EphemeralStore, call: Call<'_>) -> Result<Reply, StorageError> {
    match call {
        Call::Insert { key, value, expires_at, now } => {
            store.insert(key, value, expires_at, now).await.map(Reply::Inserted)
        }
        Call::Get { key, now } => store.get(key, now).await.map(Reply::Versioned),
        Call::Take { key, now } => store.take(key, now).await.map(Reply::Taken),
        Call::Replace { key, expected, value, expires_at, now } => {
            store.replace(key, expected, value, expires_at, now).await.map(Reply::Replaced)
        }
        Call::Due { namespace, at, limit } => store.due(namespace, at, limit).await.map(Reply::Due),
        Call::PurgeEphemeral { before, limit } => store.purge_ephemeral(before, limit).await.map(Reply::Purged),
        call => is_of_another_trait(&call),
    }
}

#[async_trait]
impl<S: EphemeralStore> EphemeralStore for Intercepted<S> {
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError> {
        let call = Call::Insert { key, value, expires_at, now };
        value_of!(self.call(Target::Ephemeral(&self.inner), call).await?, Inserted)
    }

    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError> {
        value_of!(self.call(Target::Ephemeral(&self.inner), Call::Get { key, now }).await?, Versioned)
    }

    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError> {
        value_of!(self.call(Target::Ephemeral(&self.inner), Call::Take { key, now }).await?, Taken)
    }

    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError> {
        let call = Call::Replace { key, expected, value, expires_at, now };
        value_of!(self.call(Target::Ephemeral(&self.inner), call).await?, Replaced)
    }

    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError> {
        value_of!(self.call(Target::Ephemeral(&self.inner), Call::Due { namespace, at, limit }).await?, Due)
    }

    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        value_of!(self.call(Target::Ephemeral(&self.inner), Call::PurgeEphemeral { before, limit }).await?, Purged)
    }
}
