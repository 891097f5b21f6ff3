//! The index of families: by identifier, by owner, and by when something of them is due to be purged.

use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::ops::Bound;
use std::sync::{Arc, RwLockWriteGuard};

use time::OffsetDateTime;

use super::family::{Family, Members, Slot, due};
use super::shards::{SHARDS, Shards};
use crate::error::StorageError;
use crate::record::{ClientId, Grant, GrantId, Subject};
use crate::storage::GrantSelector;

/// In shards by the grant's identifier even where one asks by owner: all grants may be one client's.
#[derive(Default)]
pub(super) struct Grants(Shards<Shard>);

#[derive(Default)]
pub(super) struct Shard {
    families: HashMap<GrantId, Arc<Family>>,
    /// Under its subject, if it has one, and under its client. Only a hash of the owner, so that looking for a place follows
    /// no pointers; whoever selects asks the grant itself whose it is.
    by_owner: BTreeMap<(u64, Key), Arc<Family>>,
    /// Holds, at every moment when its lock is free, exactly what the families themselves would say.
    due: BTreeMap<Due, Arc<Family>>,
}

#[derive(Hash)]
enum Owner<'a> {
    Subject(&'a Subject),
    Client(&'a ClientId),
}

/// In whole microseconds, as records have it: quick to compare.
type Time = i64;

/// The place of a grant in a list in the order of opening.
pub(super) type Key = (Time, GrantId);

/// Something to purge: when, of which grant, and the row; no row for the grant as a whole.
type Due = (Time, GrantId, Option<Slot>);

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
        self.0.write(shard(id))
    }

    /// Families that may be meant, from below `below` on: at least `count` unless there are no more.
    pub(super) fn select(&self, which: &GrantSelector, below: Option<Key>, count: usize) -> Result<Part, StorageError> {
        match which {
            GrantSelector::Id(id) | GrantSelector::SubjectAndId(_, id) => {
                let family = self.0.read(shard(*id))?.families.get(id).cloned();
                Ok(Part { families: family.into_iter().collect(), next: None })
            }
            GrantSelector::Subject(subject) | GrantSelector::SubjectAndClient(subject, _) => {
                self.owned_by(Owner::Subject(subject).hash(), below, count)
            }
            GrantSelector::Client(client) => self.owned_by(Owner::Client(client).hash(), below, count),
        }
    }

    /// Puts together what each shard has. Where one has more to come, the others may be no further.
    fn owned_by(&self, owner: u64, below: Option<Key>, count: usize) -> Result<Part, StorageError> {
        let mut all = Vec::new();
        let mut next = None;
        for number in 0..SHARDS {
            let first = all.len();
            all.extend(self.0.read(number)?.newest(owner, below).take(count));
            if all.len() - first == count {
                next = next.max(all.last().map(|(key, _)| *key));
            }
        }
        all.retain(|(key, _)| next.is_none_or(|next| *key >= next));
        all.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
        Ok(Part { families: all.into_iter().map(|(_, family)| family).collect(), next })
    }

    /// What is due first in one shard, if it is due at `before`.
    pub(super) fn first_due(&self, number: usize, before: OffsetDateTime) -> Result<Option<First>, StorageError> {
        let shard = self.0.read(number)?;
        let first = shard.due.first_key_value().filter(|((when, ..), _)| *when <= micros(before));
        Ok(first.map(|((_, _, row), family)| First { family: Arc::clone(family), row: *row }))
    }
}

fn shard(id: GrantId) -> usize {
    usize::from(id.as_bytes()[0])
}

/// The place of a grant among those of its owner.
pub(super) fn key(opened_at: OffsetDateTime, id: GrantId) -> Key {
    (micros(opened_at), id)
}

fn micros(time: OffsetDateTime) -> Time {
    time.unix_timestamp() * 1_000_000 + i64::from(time.microsecond())
}

impl Owner<'_> {
    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }

    fn of(grant: &Grant) -> impl Iterator<Item = u64> {
        let subject = grant.subject.as_ref().map(|subject| Owner::Subject(subject).hash());
        [Owner::Client(&grant.client_id).hash()].into_iter().chain(subject)
    }
}

impl Shard {
    pub(super) fn get(&self, id: GrantId) -> Option<&Arc<Family>> {
        self.families.get(&id)
    }

    /// The families of an owner, newest first, from below `below` on.
    fn newest(&self, owner: u64, below: Option<Key>) -> impl Iterator<Item = (Key, Arc<Family>)> {
        let end = match below {
            Some(key) => Bound::Excluded((owner, key)),
            None => Bound::Included((owner, (Time::MAX, GrantId::from_bytes([0xff; 16])))),
        };
        let start = Bound::Included((owner, (Time::MIN, GrantId::from_bytes([0; 16]))));
        self.by_owner.range((start, end)).rev().map(|((_, key), family)| (*key, Arc::clone(family)))
    }

    pub(super) fn insert(&mut self, family: &Arc<Family>, members: &Members) {
        let grant = members.grant_in_any_case();
        self.families.insert(grant.id, Arc::clone(family));
        for owner in Owner::of(grant) {
            self.by_owner.insert((owner, key(grant.opened_at, grant.id)), Arc::clone(family));
        }
        self.reschedule(family, None, [None, Some(members.end())]);
        for (slot, row) in members.rows() {
            self.reschedule(family, Some(slot), [None, due(row)]);
        }
    }

    /// Removes a family that has no rows any more.
    pub(super) fn remove(&mut self, family: &Arc<Family>, members: &Members) {
        let grant = members.grant_in_any_case();
        self.reschedule(family, None, [Some(members.end()), None]);
        for owner in Owner::of(grant) {
            self.by_owner.remove(&(owner, key(grant.opened_at, grant.id)));
        }
        self.families.remove(&grant.id);
    }

    /// To be told whenever the time changes at which a row, or the grant as a whole, is due.
    pub(super) fn reschedule(
        &mut self,
        family: &Arc<Family>,
        row: Option<Slot>,
        [before, now]: [Option<OffsetDateTime>; 2],
    ) {
        if before == now {
            return;
        }
        if let Some(before) = before {
            self.due.remove(&(micros(before), family.id, row));
        }
        if let Some(now) = now {
            self.due.insert((micros(now), family.id, row), Arc::clone(family));
        }
    }
}
