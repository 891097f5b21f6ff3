//! A map cut into parts, each behind a lock of its own.

use std::sync::{RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::poisoned;
use crate::error::StorageError;

/// How many parts. More than a machine has cores, so that two of them seldom want the same one.
pub(super) const SHARDS: usize = if cfg!(grantor_interleavings) { 2 } else { 64 };

/// Keys are random, so any byte of a key spreads them evenly.
pub(super) struct Shards<T>([Shard<T>; SHARDS]);

/// Aligned, so that no two locks share a cache line and slow each other down.
#[derive(Default)]
#[repr(align(128))]
struct Shard<T>(RwLock<T>);

impl<T: Default> Default for Shards<T> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| Shard::default()))
    }
}

impl<T> Shards<T> {
    pub(super) fn read(&self, number: usize) -> Result<RwLockReadGuard<'_, T>, StorageError> {
        self.0[number % SHARDS].0.read().map_err(poisoned)
    }

    pub(super) fn write(&self, number: usize) -> Result<RwLockWriteGuard<'_, T>, StorageError> {
        self.0[number % SHARDS].0.write().map_err(poisoned)
    }
}
