//! The purge: in small steps, so that nobody waits long for it. Times are compared in whole microseconds, as the index has them.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use time::OffsetDateTime;

use super::State;
use super::family::{Family, Members, Slot, due};
use super::grants::{First, micros};
use super::shards::SHARDS;
use super::steps::erase_seed;
use crate::error::StorageError;
use crate::record::StoredToken;

/// How many rows of a dead family go while its lock is held.
const STEP: usize = if cfg!(grantor_interleavings) { 2 } else { 64 };

impl State {
    /// Does what is due, shard after shard. What the index leads to and is not due any more is passed over; each entry is so only
    /// once.
    pub(super) fn purge(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let from = self.purge_from.load(Ordering::Relaxed);
        let mut touched = 0;
        for number in (from..from + SHARDS).map(|number| number % SHARDS) {
            while touched < limit {
                let Some(First { family, row }) = self.grants.take_due(number, before)? else { break };
                touched += self.purge_family(&family, row, before, limit - touched)?;
            }
            if touched >= limit {
                self.purge_from.store((number + 1) % SHARDS, Ordering::Relaxed);
                break;
            }
        }
        Ok(touched)
    }

    /// Takes a step on a family of which something was due, unless another thread has just done it.
    fn purge_family(
        &self,
        family: &Arc<Family>,
        row: Option<Slot>,
        before: OffsetDateTime,
        limit: usize,
    ) -> Result<usize, StorageError> {
        let mut members = family.write()?;
        if micros(members.end()) <= micros(before) {
            return self.bury(family, &mut members, limit);
        }
        if let Some(slot) = row {
            return self.purge_row(&mut members, slot, before);
        }
        // Its tokens were exchanged for others since.
        self.grants.write(family.id)?.schedule(family, None, Some(members.end()));
        Ok(0)
    }

    /// Removes a part of a dead family, at last the grant. From the first part on, no part of it can be found. Vacant slots
    /// are not counted: each was a row that was counted when it went.
    fn bury(&self, family: &Arc<Family>, members: &mut Members, limit: usize) -> Result<usize, StorageError> {
        members.close();
        let mut shard = self.grants.write(family.id)?;
        // Another purge may have come to the end of it in between.
        if !shard.get(family.id).is_some_and(|there| Arc::ptr_eq(there, family)) {
            return Ok(0);
        }
        let mut touched = 0;
        for _ in 0..STEP {
            if touched == limit {
                break;
            }
            let Some(row) = members.pop() else {
                shard.remove(members, self.grants.owners(members.grant_in_any_case()));
                return Ok(touched + 1);
            };
            self.tokens.remove(&row.token.hash)?;
            shard.row_was_removed();
            touched += 1;
        }
        shard.schedule(family, None, Some(members.end()));
        Ok(touched)
    }

    /// Removes an expired access token, or a seed.
    fn purge_row(&self, members: &mut Members, slot: Slot, before: OffsetDateTime) -> Result<usize, StorageError> {
        let is_due = |row: &&StoredToken| due(row).is_some_and(|due| micros(due) <= micros(before));
        let Some(row) = members.at(slot).filter(is_due) else { return Ok(0) };
        if row.spent.is_some() {
            members.change(slot, erase_seed);
            return Ok(1);
        }
        self.tokens.remove(&row.hash)?;
        members.take(slot);
        Ok(1)
    }
}
