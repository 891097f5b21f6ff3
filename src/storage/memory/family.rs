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
    grant: Arc<Grant>,
    /// To when an exchange has moved the last use and the end of the grant, until it is next looked at: by then whoever
    /// made the exchange has let go of the grant, and it can be changed without a copy.
    moved: Option<Moved>,
    rows: Rows,
    vacant: Vec<Slot>,
    /// Whether it counts. It does not before all of it is stored, and not any more once its purge has begun; an index
    /// may still lead here then.
    is_open: bool,
}

#[derive(Clone, Copy)]
struct Moved {
    last_used_at: OffsetDateTime,
    expires_at: OffsetDateTime,
}

/// A row, and where the token that was spent for it stands, if that is known.
pub(super) struct Row {
    pub(super) token: Arc<StoredToken>,
    parent: Option<Slot>,
}

/// Rows keep their slot. The first is here, because many families have no more than one; the others in a vector, because most
/// have a few: a map would be mostly air.
#[derive(Default)]
struct Rows {
    /// Slot 0.
    first: Option<Row>,
    /// Whether slot 0 was ever used.
    has_first: bool,
    others: Vec<Option<Row>>,
}

impl Rows {
    fn len(&self) -> usize {
        usize::from(self.has_first) + self.others.len()
    }

    fn get(&self, slot: Slot) -> Option<&Row> {
        match (slot as usize).checked_sub(1) {
            None => self.first.as_ref(),
            Some(at) => self.others.get(at)?.as_ref(),
        }
    }

    fn get_mut(&mut self, slot: Slot) -> Option<&mut Row> {
        match (slot as usize).checked_sub(1) {
            None => self.first.as_mut(),
            Some(at) => self.others.get_mut(at)?.as_mut(),
        }
    }

    fn push(&mut self, row: Row) {
        if self.has_first {
            self.others.push(Some(row));
        } else {
            (self.first, self.has_first) = (Some(row), true);
        }
    }

    /// Fills a slot that was used before.
    fn set(&mut self, slot: Slot, row: Row) {
        match (slot as usize).checked_sub(1) {
            None => self.first = Some(row),
            Some(at) => self.others[at] = Some(row),
        }
    }

    /// Empties a slot; whether there was a row in it.
    fn take(&mut self, slot: Slot) -> bool {
        match (slot as usize).checked_sub(1) {
            None => self.first.take().is_some(),
            Some(at) => self.others.get_mut(at).and_then(Option::take).is_some(),
        }
    }

    /// Drops slots from the last on, until there was a row in one.
    fn pop(&mut self) -> Option<Row> {
        while let Some(slot) = self.others.pop() {
            if slot.is_some() {
                return slot;
            }
        }
        self.has_first = false;
        self.first.take()
    }
}

impl Family {
    /// A family that is yet to be opened.
    pub(super) fn new(grant: &Arc<Grant>, tokens: &[StoredToken]) -> Arc<Self> {
        let mut rows = Rows::default();
        for token in tokens {
            rows.push(Row { token: Arc::new(token.clone()), parent: None });
        }
        let members = Members { grant: Arc::clone(grant), moved: None, rows, vacant: Vec::new(), is_open: false };
        Arc::new(Self { id: grant.id, members: RwLock::new(members) })
    }

    /// To be read, with the grant as it stands.
    pub(super) fn read(&self) -> Result<RwLockReadGuard<'_, Members>, StorageError> {
        loop {
            let members = self.members.read().map_err(poisoned)?;
            if members.moved.is_none() {
                return Ok(members);
            }
            drop(members);
            drop(self.write()?);
        }
    }

    /// To be changed, with the grant as it stands.
    pub(super) fn write(&self) -> Result<RwLockWriteGuard<'_, Members>, StorageError> {
        let mut members = self.members.write().map_err(poisoned)?;
        if let Some(Moved { last_used_at, expires_at }) = members.moved.take() {
            let grant = Arc::make_mut(&mut members.grant);
            (grant.last_used_at, grant.expires_at) = (last_used_at, expires_at);
        }
        Ok(members)
    }
}

impl Members {
    /// The grant, whether it counts or not.
    pub(super) const fn grant_in_any_case(&self) -> &Arc<Grant> {
        &self.grant
    }

    /// The grant, if it is there at all.
    pub(super) fn grant(&self) -> Option<&Arc<Grant>> {
        self.is_open.then_some(&self.grant)
    }

    /// The row, if it is there and still this token's.
    pub(super) fn row(&self, slot: Slot, hash: &TokenHash) -> Option<&Row> {
        self.rows.get(slot).filter(|row| self.is_open && row.token.hash == *hash)
    }

    pub(super) fn token_mut(&mut self, slot: Slot, hash: &TokenHash) -> Option<&mut StoredToken> {
        let is_open = self.is_open;
        let row = self.rows.get_mut(slot).filter(|row| is_open && row.token.hash == *hash)?;
        Some(Arc::make_mut(&mut row.token))
    }

    /// What is in a slot, whoever's it is.
    pub(super) fn at(&self, slot: Slot) -> Option<&StoredToken> {
        self.rows.get(slot).map(|row| &*row.token)
    }

    /// All rows and where they are.
    pub(super) fn rows(&self) -> impl Iterator<Item = (Slot, &StoredToken)> {
        let slots = Slot::try_from(self.rows.len()).unwrap_or(Slot::MAX);
        (0..slots).filter_map(|slot| Some((slot, self.at(slot)?)))
    }

    /// When the grant ended or will end, as things stand.
    pub(super) fn end(&self) -> OffsetDateTime {
        let expires_at = self.moved.map_or(self.grant.expires_at, |moved| moved.expires_at);
        self.grant.revoked_at.map_or(expires_at, |at| at.min(expires_at))
    }

    /// Moves the last use and the end, neither ever back.
    pub(super) fn move_to(&mut self, last_used_at: OffsetDateTime, expires_at: OffsetDateTime) {
        self.moved = Some(Moved {
            last_used_at: self.grant.last_used_at.max(last_used_at),
            expires_at: self.grant.expires_at.max(expires_at),
        });
    }

    pub(super) fn revoke(&mut self, at: OffsetDateTime) {
        Arc::make_mut(&mut self.grant).revoked_at = Some(at);
    }

    pub(super) fn open(&mut self) {
        self.is_open = true;
    }

    /// For good: a purge begins.
    pub(super) fn close(&mut self) {
        self.is_open = false;
    }

    /// Slots for new rows, to be filled in this order before the lock is released, or not at all.
    pub(super) fn free_slots(&self, count: usize) -> Result<impl Iterator<Item = Slot>, StorageError> {
        let next = Slot::try_from(self.rows.len()).ok().filter(|_| self.rows.len() + count < Slot::MAX as usize);
        let next = next.ok_or_else(|| StorageError::new("a grant has too many tokens"))?;
        Ok(self.vacant.iter().rev().copied().chain(next..))
    }

    /// Fills the next slot of [`free_slots`](Self::free_slots) with a successor of the token at `parent`.
    pub(super) fn put(&mut self, token: &StoredToken, parent: Slot) -> Slot {
        let row = Row { token: Arc::new(token.clone()), parent: Some(parent) };
        if let Some(slot) = self.vacant.pop() {
            self.rows.set(slot, row);
            return slot;
        }
        self.rows.push(row);
        Slot::try_from(self.rows.len() - 1).unwrap_or(Slot::MAX)
    }

    /// Where the token is that was spent for the one at `slot`, if its row says so and is not out of date.
    pub(super) fn parent(&self, slot: Slot) -> Option<Slot> {
        let Row { token, parent } = self.rows.get(slot)?;
        parent.filter(|parent| self.at(*parent).is_some_and(|at| Some(at.hash) == token.parent))
    }

    /// Changes a row in a slot, if there is one. Whoever was given it before keeps it as it was.
    pub(super) fn change(&mut self, slot: Slot, change: impl FnOnce(&mut StoredToken)) {
        if let Some(row) = self.rows.get_mut(slot) {
            change(Arc::make_mut(&mut row.token));
        }
    }

    /// Takes a row out and leaves its slot to another.
    pub(super) fn take(&mut self, slot: Slot) {
        if self.rows.take(slot) {
            self.vacant.push(slot);
        }
    }

    /// Drops the last row, and any vacant slots behind it. Not to be used while it is open.
    pub(super) fn pop(&mut self) -> Option<Row> {
        self.rows.pop()
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
