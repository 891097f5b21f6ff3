//! The steps of the contract. Each locks what it needs and checks all that may fail before it writes.

use std::sync::Arc;

use time::OffsetDateTime;

use super::State;
use super::family::{Family, Members, Slot, due};
use super::grants::key;
use super::tokens::Place;
use crate::error::StorageError;
use crate::record::{Grant, GrantId, Spent, StoredToken, TokenKind};
use crate::secret::TokenHash;
use crate::storage::{Exchange, GrantSelector, Page, Spend, TokenAndGrant};

/// How many families are taken from a shard at once.
const PART: usize = if cfg!(grantor_interleavings) { 2 } else { 64 };

impl State {
    pub(super) fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        all_of(grant.id, tokens)?;
        let family = Family::new(grant, tokens);
        // Whoever comes upon it before it is all there waits here.
        let mut members = family.write()?;
        let mut shard = self.grants.write(grant.id)?;
        if shard.get(grant.id).is_some() {
            return Err(StorageError::new("a grant with this identifier exists"));
        }
        self.tokens.insert(&family, tokens, 0..)?;
        shard.insert(&family, &members, self.grants.owners(grant));
        members.open();
        Ok(())
    }

    pub(super) fn find(&self, token: &TokenHash) -> Result<Option<TokenAndGrant>, StorageError> {
        let Some(Place { family, slot }) = self.tokens.get(token)? else { return Ok(None) };
        let members = family.read()?;
        let grant = members.grant_in_any_case();
        Ok(members.row(slot, token).map(|row| (Arc::clone(&row.token), Arc::clone(grant))))
    }

    pub(super) fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        let Some(Place { family, slot }) = self.tokens.get(&spend.token)? else { return Ok(Exchange::Dead) };
        let mut members = family.write()?;
        let found = members.row(slot, &spend.token).map(|row| (&*row.token, &**members.grant_in_any_case()));
        if let Some(outcome) = spend.refusal(found) {
            return Ok(outcome);
        }
        all_of(family.id, successors)?;
        let parent = if spend.consume { self.parent(&family, &members, slot)? } else { None };
        let mut shard = self.grants.write(family.id)?;
        // A successor can be found from here on, but not looked at before this step is done.
        let slots = members.free_slots(successors.len())?;
        self.tokens.insert(&family, successors, slots)?;

        members.move_to(spend.at, spend.grant_expires_at);
        if spend.consume {
            let how = Spent { at: spend.at, attempt: spend.attempt, seed: spend.seed.clone() };
            members.change(slot, |row| row.spent = Some(how));
            shard.schedule(&family, Some(slot), members.at(slot).and_then(due));
            if let Some(parent) = parent {
                members.change(parent, erase_seed);
            }
        }
        for successor in successors {
            let at = members.put(successor, slot);
            shard.schedule(&family, Some(at), due(successor));
        }
        Ok(Exchange::Done)
    }

    /// Where in a family, whose lock is held, the token is that was spent for the one at `slot`.
    fn parent(&self, family: &Arc<Family>, members: &Members, slot: Slot) -> Result<Option<Slot>, StorageError> {
        let (known, parent) = (members.parent(slot), members.at(slot).and_then(|row| row.parent));
        let (None, Some(parent)) = (known, parent) else { return Ok(known) };
        let place = self.tokens.get(&parent)?;
        Ok(place.filter(|place| Arc::ptr_eq(&place.family, family)).map(|place| place.slot))
    }

    pub(super) fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        let Some(Place { family, slot }) = self.tokens.get(token)? else { return Ok(()) };
        if let Some(row) = family.write()?.token_mut(slot, token)
            && row.kind == TokenKind::AccessToken
        {
            row.revoked_at.get_or_insert(at);
        }
        Ok(())
    }

    /// Goes through an index from its newest entry to its oldest. None that was there before is passed over.
    pub(super) fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        let (mut revoked, mut below) = (0, None);
        loop {
            let part = self.grants.select(which, below, PART)?;
            for family in part.families {
                revoked += u64::from(self.revoke(&family, which, at)?);
            }
            below = part.next;
            if below.is_none() {
                return Ok(revoked);
            }
        }
    }

    /// Whether the grant was meant and not yet revoked.
    fn revoke(&self, family: &Arc<Family>, which: &GrantSelector, at: OffsetDateTime) -> Result<bool, StorageError> {
        let mut members = family.write()?;
        if !members.grant().is_some_and(|grant| which.selects(grant) && grant.revoked_at.is_none()) {
            return Ok(false);
        }
        let mut shard = self.grants.write(family.id)?;
        members.revoke(at);
        shard.schedule(family, None, Some(members.end()));
        Ok(true)
    }

    pub(super) fn list(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        let after = page.after.map(|(opened_at, id)| key(opened_at, id));
        let comes_later = |grant: &Grant| after.is_none_or(|after| key(grant.opened_at, grant.id) < after);
        let (mut listed, mut below) = (Vec::new(), after);
        while listed.len() < page.limit {
            let part = self.grants.select(which, below, page.limit.min(PART))?;
            for family in part.families {
                let members = family.read()?;
                let grant = members.grant().filter(|grant| which.selects(grant) && grant.is_live(now));
                listed.extend(grant.filter(|grant| comes_later(grant)).cloned());
                if listed.len() == page.limit {
                    return Ok(listed);
                }
            }
            below = part.next;
            if below.is_none() {
                break;
            }
        }
        Ok(listed)
    }
}

/// A family is one grant's, or its lock would not guard all that a step reads.
fn all_of(grant: GrantId, tokens: &[StoredToken]) -> Result<(), StorageError> {
    if tokens.iter().all(|token| token.grant_id == grant) {
        return Ok(());
    }
    Err(StorageError::new("a token is to be stored with another grant than its own"))
}

pub(super) fn erase_seed(row: &mut StoredToken) {
    if let Some(spent) = &mut row.spent {
        spent.seed = None;
    }
}
