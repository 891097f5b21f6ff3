//! A grant with all its tokens.

use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use time::OffsetDateTime;

use super::poisoned;
use crate::error::StorageError;
use crate::record::{Grant, GrantId, StoredToken, TokenKind};
use crate::secret::TokenHash;
use crate::storage::SEED_LIFETIME;

/// Where in its family a row is.
pub(super) type Slot = u32;

pub(super) struct Family {
    pub(super) id: GrantId,
    members: RwLock<Members>,
}

/// What the lock of a family guards.
pub(super) struct Members {
    pub(super) grant: Arc<Grant>,
    /// Rows keep their slot. A vector, because most families have a few rows: a map would be mostly air. Boxed, so that a
    /// vacant slot costs little, and growing leaves no copy of a seed behind.
    rows: Vec<Option<Box<StoredToken>>>,
    vacant: Vec<Slot>,
    /// Whether it counts. It does not before all of it is stored, and not any more once its purge has begun; an index
    /// may still lead here then.
    is_open: bool,
}

impl Family {
    /// A family that is yet to be opened.
    pub(super) fn new(grant: &Arc<Grant>, tokens: &[StoredToken]) -> Arc<Self> {
        let rows = tokens.iter().map(|token| Some(Box::new(token.clone()))).collect();
        let members = Members { grant: Arc::clone(grant), rows, vacant: Vec::new(), is_open: false };
        Arc::new(Self { id: grant.id, members: RwLock::new(members) })
    }

    pub(super) fn read(&self) -> Result<RwLockReadGuard<'_, Members>, StorageError> {
        self.members.read().map_err(poisoned)
    }

    pub(super) fn write(&self) -> Result<RwLockWriteGuard<'_, Members>, StorageError> {
        self.members.write().map_err(poisoned)
    }
}

impl Members {
    /// The grant, if it is there at all.
    pub(super) fn grant(&self) -> Option<&Arc<Grant>> {
        self.is_open.then_some(&self.grant)
    }

    /// The row, if it is there and still this token's.
    pub(super) fn row(&self, slot: Slot, hash: &TokenHash) -> Option<&StoredToken> {
        self.at(slot).filter(|row| self.is_open && row.hash == *hash)
    }

    pub(super) fn row_mut(&mut self, slot: Slot, hash: &TokenHash) -> Option<&mut StoredToken> {
        let is_open = self.is_open;
        self.at_mut(slot).filter(|row| is_open && row.hash == *hash)
    }

    /// What is in a slot, whoever's it is.
    pub(super) fn at(&self, slot: Slot) -> Option<&StoredToken> {
        self.rows.get(slot as usize)?.as_deref()
    }

    fn at_mut(&mut self, slot: Slot) -> Option<&mut StoredToken> {
        self.rows.get_mut(slot as usize)?.as_deref_mut()
    }

    /// All rows and where they are.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Slot, &StoredToken)> {
        (0..).zip(&self.rows).filter_map(|(slot, row)| Some((slot, row.as_deref()?)))
    }

    /// When the grant ended or will end, as things stand.
    pub(super) fn end(&self) -> OffsetDateTime {
        self.grant.ends_at()
    }

    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    /// For good: a purge begins.
    pub(super) fn close(&mut self) {
        self.is_open = false;
    }

    /// Slots for new rows, to be filled in this order before the lock is released, or not at all.
    pub(super) fn free_slots(&self, count: usize) -> Result<Vec<Slot>, StorageError> {
        let next = Slot::try_from(self.rows.len()).ok().filter(|_| self.rows.len() + count < Slot::MAX as usize);
        let next = next.ok_or_else(|| StorageError::new("a grant has too many tokens"))?;
        Ok(self.vacant.iter().rev().copied().chain(next..).take(count).collect())
    }

    /// Fills the next slot of [`free_slots`](Self::free_slots).
    pub(super) fn put(&mut self, row: &StoredToken) {
        let row = Some(Box::new(row.clone()));
        match self.vacant.pop() {
            Some(slot) => self.rows[slot as usize] = row,
            None => self.rows.push(row),
        }
    }

    /// Changes a row; returns when it was due to be purged before and is now.
    pub(super) fn change(&mut self, slot: Slot, change: impl FnOnce(&mut StoredToken)) -> [Option<OffsetDateTime>; 2] {
        let Some(row) = self.at_mut(slot) else { return [None; 2] };
        let before = due(row);
        change(row);
        [before, due(row)]
    }

    /// Takes a row out and leaves its slot to another.
    pub(super) fn take(&mut self, slot: Slot) {
        if self.rows.get_mut(slot as usize).and_then(Option::take).is_some() {
            self.vacant.push(slot);
        }
    }

    /// Drops the last slot; returns it with the row that was in it, if one was. Not to be used while it is open.
    pub(super) fn pop(&mut self) -> Option<(Slot, Option<Box<StoredToken>>)> {
        let row = self.rows.pop()?;
        Some((Slot::try_from(self.rows.len()).ok()?, row))
    }
}

/// When something of a row can be purged while its grant lives: an unspent access token as soon as it has expired, or
/// the seed of a spent token.
pub(super) fn due(row: &StoredToken) -> Option<OffsetDateTime> {
    match &row.spent {
        None => (row.kind == TokenKind::AccessToken).then_some(row.expires_at),
        Some(spent) => spent.seed.as_ref().map(|_| spent.at.saturating_add(SEED_LIFETIME)),
    }
}
