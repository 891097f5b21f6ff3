//! The index of families: by identifier, by owner, and by when something of them is due to be purged.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;
use std::collections::hash_map::Entry;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, RwLockWriteGuard};

use time::OffsetDateTime;

use super::family::{Family, Members, Slot, due};
use super::hashing::RandomKeyMap;
use super::owned::Owned;
use super::shards::{SHARDS, Shards};
use crate::error::StorageError;
use crate::record::{ClientId, Grant, GrantId, Subject};
use crate::storage::GrantSelector;

/// In shards by the grant's identifier even where one asks by owner: all grants may be one client's.
#[derive(Default)]
pub(super) struct Grants {
    shards: Shards<Shard>,
    /// Hashes owners. Their names come from outside, so by a key of its own.
    names: RandomState,
}

#[derive(Default)]
pub(super) struct Shard {
    families: RandomKeyMap<GrantId, Arc<Family>>,
    /// Under its subject, if it has one, and under its client. Only a hash of the owner, so that looking for a place follows
    /// no pointers; whoever selects asks the grant itself whose it is.
    by_owner: RandomKeyMap<u64, Owned>,
    /// Holds, at every moment when its lock is free and no purge has just taken it, an entry for all that the families would
    /// say is due, at that time or earlier. What has become of it since, only the family can tell.
    due: BinaryHeap<Reverse<Due>>,
    /// How many rows and families were removed since entries of such were last looked for. Each may have left one behind.
    removed: usize,
}

#[derive(Hash)]
enum Owner<'a> {
    Subject(&'a Subject),
    Client(&'a ClientId),
}

/// In whole microseconds, as records have it: quick to compare.
pub(super) type Time = i64;

/// The place of a grant in a list in the order of opening.
pub(super) type Key = (Time, GrantId);

/// Something to purge: when, of which grant, and the row; no row for the grant as a whole. In the order of time alone.
struct Due {
    when: Time,
    grant: GrantId,
    row: Option<Slot>,
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> Ordering {
        self.when.cmp(&other.when)
    }
}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.when == other.when
    }
}

impl Eq for Due {}

/// A part of a list: families, newest first, and where the next part begins if there is one.
pub(super) struct Part {
    pub(super) families: Vec<Arc<Family>>,
    pub(super) next: Option<Key>,
}

/// What is due first: a row of a family, or the family as a whole.
pub(super) struct First {
    pub(super) family: Arc<Family>,
    pub(super) row: Option<Slot>,
}

impl Grants {
    pub(super) fn write(&self, id: GrantId) -> Result<RwLockWriteGuard<'_, Shard>, StorageError> {
        self.shards.write(shard(id))
    }

    /// Under which owners a grant is listed.
    pub(super) fn owners(&self, grant: &Grant) -> impl Iterator<Item = u64> + use<> {
        let subject = grant.subject.as_ref().map(|subject| self.names.hash_one(Owner::Subject(subject)));
        [self.names.hash_one(Owner::Client(&grant.client_id))].into_iter().chain(subject)
    }

    /// Families that may be meant, from below `below` on: at least `count` unless there are no more.
    pub(super) fn select(&self, which: &GrantSelector, below: Option<Key>, count: usize) -> Result<Part, StorageError> {
        match which {
            GrantSelector::Id(id) | GrantSelector::SubjectAndId(_, id) => {
                let family = self.shards.read(shard(*id))?.families.get(id).cloned();
                Ok(Part { families: family.into_iter().collect(), next: None })
            }
            GrantSelector::Subject(subject) | GrantSelector::SubjectAndClient(subject, _) => {
                self.owned_by(&Owner::Subject(subject), below, count)
            }
            GrantSelector::Client(client) => self.owned_by(&Owner::Client(client), below, count),
        }
    }

    /// Puts together what each shard has. Where one has more to come, the others may be no further.
    fn owned_by(&self, owner: &Owner<'_>, below: Option<Key>, count: usize) -> Result<Part, StorageError> {
        let owner = self.names.hash_one(owner);
        let mut all = Vec::new();
        let mut next = None;
        for number in 0..SHARDS {
            let first = all.len();
            let shard = self.shards.read(number)?;
            all.extend(shard.by_owner.get(&owner).into_iter().flat_map(|owned| owned.newest(below)).take(count));
            if all.len() - first == count {
                next = next.max(all.last().map(|(key, _)| *key));
            }
        }
        all.retain(|(key, _)| next.is_none_or(|next| *key >= next));
        all.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        Ok(Part { families: all.into_iter().map(|(_, family)| family).collect(), next })
    }

    /// Takes what is due first in one shard, if it is due at `before`.
    pub(super) fn take_due(&self, number: usize, before: OffsetDateTime) -> Result<Option<First>, StorageError> {
        let (before, mut shard) = (micros(before), self.shards.write(number)?);
        while shard.due.peek().is_some_and(|Reverse(due)| due.when <= before) {
            let Some(Reverse(Due { grant, row, .. })) = shard.due.pop() else { break };
            if let Some(family) = shard.families.get(&grant) {
                return Ok(Some(First { family: Arc::clone(family), row }));
            }
        }
        Ok(None)
    }
}

fn shard(id: GrantId) -> usize {
    usize::from(id.as_bytes()[0])
}

/// The place of a grant among those of its owner.
pub(super) fn key(opened_at: OffsetDateTime, id: GrantId) -> Key {
    (micros(opened_at), id)
}

pub(super) fn micros(time: OffsetDateTime) -> Time {
    time.unix_timestamp().saturating_mul(1_000_000).saturating_add(i64::from(time.microsecond()))
}

impl Shard {
    pub(super) fn get(&self, id: GrantId) -> Option<&Arc<Family>> {
        self.families.get(&id)
    }

    pub(super) fn insert(&mut self, family: &Arc<Family>, members: &Members, owners: impl Iterator<Item = u64>) {
        let grant = members.grant_in_any_case();
        self.families.insert(grant.id, Arc::clone(family));
        for owner in owners {
            self.by_owner.entry(owner).or_default().insert(key(grant.opened_at, grant.id), family);
        }
        self.schedule(family, None, Some(members.end()));
        for (slot, row) in members.rows() {
            self.schedule(family, Some(slot), due(row));
        }
    }

    /// Removes a family that has no rows any more.
    pub(super) fn remove(&mut self, members: &Members, owners: impl Iterator<Item = u64>) {
        let grant = members.grant_in_any_case();
        for owner in owners {
            if let Entry::Occupied(mut owned) = self.by_owner.entry(owner)
                && owned.get_mut().remove(key(grant.opened_at, grant.id))
            {
                owned.remove();
            }
        }
        self.families.remove(&grant.id);
        self.removed += 1;
        self.forget_the_removed();
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.due.len()
    }

    #[cfg(test)]
    pub(super) fn owners(&self) -> usize {
        self.by_owner.len()
    }

    /// To be told of each row of a dead family that is removed.
    pub(super) fn row_was_removed(&mut self) {
        self.removed += 1;
    }

    /// Drops entries that lead to families that are gone, once they may be the greater part: a family that was revoked leaves them
    /// behind.
    fn forget_the_removed(&mut self) {
        if self.removed > self.due.len() / 2 {
            self.due.retain(|Reverse(due)| self.families.contains_key(&due.grant));
            self.removed = 0;
        }
    }

    /// To be told of each row that is new, and whenever something becomes due, or becomes due earlier. What is due later than it
    /// was when this was told, or not any more, is found out when its time comes.
    pub(super) fn schedule(&mut self, family: &Family, row: Option<Slot>, due: Option<OffsetDateTime>) {
        if let Some(due) = due {
            self.due.push(Reverse(Due { when: micros(due), grant: family.id, row }));
        }
    }
}
