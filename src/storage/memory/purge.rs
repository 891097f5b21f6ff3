//! The purge. There is no index of what is due: a purge looks at all grants, one shard after another.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use time::OffsetDateTime;

use super::families::{Families, Family, erase_seed};
use super::{SHARDS, State, poisoned};
use crate::error::StorageError;
use crate::record::{GrantId, StoredToken, TokenKind};
use crate::storage::SEED_LIFETIME;

impl State {
    /// A call that reaches its limit lets the next one begin at the next shard, so that every shard gets its turn however
    /// much there is to purge in one. A call that returns less than its limit has looked at all shards.
    pub(super) fn purge(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        let first = self.purge_from.load(Ordering::Relaxed);
        let mut touched = 0;
        for number in (first..first + SHARDS).map(|number| number % SHARDS) {
            let mut families = self.families[number].write().map_err(poisoned)?;
            for id in families.due(before, limit - touched) {
                touched += self.purge_family(&mut families, id, before, limit - touched)?;
                if touched == limit {
                    self.purge_from.store(number + 1, Ordering::Relaxed);
                    return Ok(touched);
                }
            }
        }
        Ok(touched)
    }

    /// Purges at most `limit` rows of a grant.
    fn purge_family(
        &self,
        families: &mut Families,
        id: GrantId,
        before: OffsetDateTime,
        limit: usize,
    ) -> Result<usize, StorageError> {
        let Some(family) = families.by_id.get_mut(&id) else { return Ok(0) };
        let has_ended = family.has_ended(before);
        let mut touched = 0;
        let mut result = Ok(());
        family.tokens.retain_mut(|token| {
            if touched == limit || result.is_err() || !(has_ended || is_due(token, before)) {
                return true;
            }
            touched += 1;
            if !has_ended && token.spent.is_some() {
                erase_seed(token);
                return true;
            }
            result = self.release_hash(&token.hash);
            false
        });
        result?;
        if has_ended && touched < limit {
            families.remove(id);
            touched += 1;
        } else if has_ended {
            // The rest must not be used any more, not even by a caller whose clock is behind.
            let grant = Arc::make_mut(&mut family.grant);
            grant.revoked_at.get_or_insert(grant.expires_at);
        }
        Ok(touched)
    }
}

impl Families {
    /// Returns at most `limit` grants of which something can be purged.
    fn due(&self, before: OffsetDateTime, limit: usize) -> Vec<GrantId> {
        let families = self
            .by_id
            .iter()
            .filter(|(_, family)| family.has_ended(before) || family.tokens.iter().any(|token| is_due(token, before)));
        families.take(limit).map(|(id, _)| *id).collect()
    }
}

impl Family {
    fn has_ended(&self, before: OffsetDateTime) -> bool {
        self.grant.ends_at() <= before
    }
}

/// Whether the row or its seed can be purged while the grant is live.
fn is_due(token: &StoredToken, before: OffsetDateTime) -> bool {
    match &token.spent {
        None => token.kind == TokenKind::AccessToken && token.expires_at <= before,
        Some(spent) => spent.seed.is_some() && spent.at.saturating_add(SEED_LIFETIME) <= before,
    }
}
