//! The purge. There is no index by time of expiry: a purge scans all grants, one shard after another.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use time::OffsetDateTime;

use super::families::{Families, Family, erase_seed};
use super::{SHARDS, State, poisoned};
use crate::error::StorageError;
use crate::record::{StoredToken, TokenKind};

impl State {
    /// Purges the shards in turn. If a call reaches its limit, the next call begins at the next shard, so that a large
    /// shard does not starve the others. A call that returns less than its limit has scanned all shards.
    pub(super) fn purge(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let first = self.purge_from.load(Ordering::Relaxed);
        let mut touched = 0;
        for number in (first..first + SHARDS).map(|number| number % SHARDS) {
            let mut families = self.families[number].write().map_err(poisoned)?;
            touched += self.purge_shard(&mut families, before, limit - touched)?;
            if touched == limit {
                self.purge_from.store(number + 1, Ordering::Relaxed);
                break;
            }
        }
        Ok(touched)
    }

    /// Purges one shard. It first processes the grants that an earlier call has found, then scans all grants again.
    fn purge_shard(&self, shard: &mut Families, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let mut touched = self.release_removed(shard, limit)?;
        let mut has_looked = false;
        while touched < limit {
            let Some(id) = shard.due.pop() else {
                if has_looked {
                    break;
                }
                shard.find_due(before);
                has_looked = true;
                continue;
            };
            touched += match shard.by_id.get_mut(&id) {
                None => 0,
                Some(family) if !family.is_over(before) => self.purge_live(family, before, limit - touched)?,
                Some(_) => {
                    shard.remove(id);
                    1 + self.release_removed(shard, limit - touched - 1)?
                }
            };
        }
        Ok(touched)
    }

    /// Releases hashes of removed tokens. Each counts as a row.
    fn release_removed(&self, shard: &mut Families, limit: usize) -> Result<usize, StorageError> {
        let rest = shard.removed.len().saturating_sub(limit);
        let hashes = shard.removed.split_off(rest);
        hashes.iter().try_for_each(|hash| self.release_hash(hash))?;
        Ok(hashes.len())
    }

    /// Removes expired access tokens and erases seeds of a grant that has not ended.
    fn purge_live(&self, family: &mut Family, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let mut touched = 0;
        let expired = family.tokens.extract_if(.., |token| token.spent.is_none() && is_due(token, before));
        for token in expired.take(limit) {
            self.release_hash(&token.hash)?;
            touched += 1;
        }
        let with_seed = family.tokens.iter_mut().filter(|token| token.spent.is_some() && is_due(token, before));
        for token in with_seed.take(limit - touched) {
            erase_seed(token);
            touched += 1;
        }
        Ok(touched)
    }
}

impl Families {
    fn find_due(&mut self, before: OffsetDateTime) {
        let is_due = |family: &Family| family.tokens.iter().any(|token| is_due(token, before));
        let due = self.by_id.iter().filter(|(_, family)| family.is_over(before) || is_due(family));
        self.due.extend(due.map(|(id, _)| *id));
    }
}

impl Family {
    /// Returns whether the grant has ended and all of its one-time keys have expired.
    fn is_over(&self, before: OffsetDateTime) -> bool {
        let is_kept = |token: &Arc<StoredToken>| token.kind == TokenKind::OneTimeKey && before < token.expires_at;
        self.grant.ends_at() <= before && !self.tokens.iter().any(is_kept)
    }
}

/// Returns whether the row or its seed can be purged while the grant is live.
fn is_due(token: &StoredToken, before: OffsetDateTime) -> bool {
    match &token.spent {
        None => token.kind == TokenKind::AccessToken && token.expires_at <= before,
        Some(spent) => spent.seed.is_some() && spent.seed_until.is_none_or(|until| until <= before),
    }
}
