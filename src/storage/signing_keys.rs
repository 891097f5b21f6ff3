//! The storage of the server's signing keys.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::error::StorageError;

/// A store of one value that all nodes of a server share: the signing keys, with encrypted private keys. The storages
/// of this library implement it. A custom storage needs it only if nodes share keys with `RotatingKeys` (feature
/// `jwt`), or to be an [`AnyStorage`](super::AnyStorage).
///
/// Calls are linearizable: once a value is replaced, no call returns it.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`.
#[async_trait]
pub trait KeyStore: Send + Sync {
    /// Returns the value and its version, or `None` if no value was stored yet.
    ///
    /// ```text
    /// async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed.
    async fn load_keys(&self) -> Result<Option<StoredKeys>, StorageError>;

    /// Stores a value if the stored value has the version `expected`, or if there is no value and `expected` is `None`.
    /// Returns whether the value was stored. The new value gets a version that no value had before.
    ///
    /// ```text
    /// async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed, and the value may or may not be stored.
    async fn replace_keys(&self, expected: Option<i64>, value: &[u8]) -> Result<bool, StorageError>;
}

/// The value of a [`KeyStore`].
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a store must return all of it")]
pub struct StoredKeys {
    /// The version of the value.
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
