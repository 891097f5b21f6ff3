//! The signing keys of a server in memory. They are lost when the process ends.

use async_trait::async_trait;

use super::{MemoryStorage, poisoned};
use crate::error::StorageError;
use crate::storage::{KeyStore, StoredKeys};

#[async_trait]
impl KeyStore for MemoryStorage {
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError> {
        Ok(self.state.signing_keys.lock().map_err(poisoned)?.clone())
    }

    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError> {
        let mut stored = self.state.signing_keys.lock().map_err(poisoned)?;
        let is_expected = stored.as_ref().map(|stored| stored.version) == expected;
        if is_expected {
            *stored = Some(StoredKeys { version: expected.map_or(1, |version| version + 1), value: value.to_vec() });
        }
        Ok(is_expected)
    }
}
