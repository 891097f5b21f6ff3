//! The index by token: where the row of each token is.

use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::family::{Family, Slot};
use super::hashing::RandomKeyMap;
use super::shards::Shards;
use crate::error::StorageError;
use crate::record::StoredToken;
use crate::secret::TokenHash;

#[derive(Default)]
pub(super) struct Tokens(Shards<RandomKeyMap<TokenHash, Place>>);

/// Where a row is, or was a moment ago: only the family, under its lock, can tell.
#[derive(Clone)]
pub(super) struct Place {
    pub(super) family: Arc<Family>,
    pub(super) slot: Slot,
}

fn shard(hash: &TokenHash) -> usize {
    usize::from(hash.as_bytes()[0])
}

impl Tokens {
    pub(super) fn get(&self, hash: &TokenHash) -> Result<Option<Place>, StorageError> {
        Ok(self.0.read(shard(hash))?.get(hash).cloned())
    }

    /// Adds all or none; none if a hash is taken.
    pub(super) fn insert(
        &self,
        family: &Arc<Family>,
        tokens: &[StoredToken],
        slots: impl Iterator<Item = Slot>,
    ) -> Result<(), StorageError> {
        let rows = tokens.iter().map(|token| token.hash).zip(slots);
        // Few of them, as almost always, need no vector.
        let mut few = [(TokenHash::from_bytes([0; 32]), 0); 2];
        if let Some(few) = few.get_mut(..tokens.len()) {
            few.iter_mut().zip(rows).for_each(|(place, row)| *place = row);
            return self.insert_sorted(family, few);
        }
        self.insert_sorted(family, &mut rows.collect::<Vec<_>>())
    }

    fn insert_sorted(&self, family: &Arc<Family>, rows: &mut [(TokenHash, Slot)]) -> Result<(), StorageError> {
        // If two want the same hashes, they meet at the lowest, where one of them wins. Crosswise both would lose.
        rows.sort_unstable();
        for (done, (hash, slot)) in rows.iter().enumerate() {
            if let Err(error) = self.insert_one(*hash, Place { family: Arc::clone(family), slot: *slot }) {
                for (hash, _) in &rows[..done] {
                    self.remove(hash)?;
                }
                return Err(error);
            }
        }
        Ok(())
    }

    fn insert_one(&self, hash: TokenHash, place: Place) -> Result<(), StorageError> {
        match self.0.write(shard(&hash))?.entry(hash) {
            Entry::Occupied(_) => Err(StorageError::new("a token with this hash exists")),
            Entry::Vacant(vacant) => {
                vacant.insert(place);
                Ok(())
            }
        }
    }

    pub(super) fn remove(&self, hash: &TokenHash) -> Result<(), StorageError> {
        self.0.write(shard(hash))?.remove(hash);
        Ok(())
    }
}
