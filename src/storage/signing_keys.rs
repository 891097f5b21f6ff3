//! The keys that a server signs with, in a storage.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::StorageError;

/// Keeps one value for all nodes of a server: the keys that it signs with, of which the private halves are encrypted. The storages of this
/// library implement it; a host with a storage of its own needs it only if nodes share keys by
/// `RotatingKeys` (feature `jwt`).
///
/// Calls are linearizable: a value that was replaced is never read again.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Returns the value and its version; `None` if nothing was stored.
    ///
    /// ```text
    /// async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed.
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError>;

    /// Stores a value if the present one has this version, or if there is none and `expected` is `None`. The new one gets a version that
    /// no value had before. Returns whether it was stored.
    ///
    /// ```text
    /// async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed. The value was stored or not.
    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError>;
}

/// What a [`KeyStore`] keeps.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store must return all of it")]
pub struct StoredKeys {
    /// The version.
    pub version: i64,
    /// The value, at most 64 KiB.
    pub value: Vec<u8>,
}

impl fmt::Debug for StoredKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredKeys").field("version", &self.version).finish_non_exhaustive()
    }
}

#[async_trait]
impl<T: KeyStore + ?Sized> KeyStore for Arc<T> {
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError> {
        (**self).load_keys().await
    }

    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError> {
        (**self).replace_keys(expected, value).await
    }
}
