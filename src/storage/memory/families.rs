//! One shard of grants, each with all its tokens.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};
use std::iter;
use std::sync::Arc;

use crate::record::{Grant, GrantId, Spent, StoredToken, Subject};
use crate::secret::TokenHash;
use crate::storage::GrantSelector;

/// A map whose keys are random and made by the server, so that nobody can choose some that collide. The default hasher takes a
/// sixth of a bearer check (347 instead of 287 ns).
pub(super) type RandomKeys<K, V> = HashMap<K, V, BuildHasherDefault<LastBytes>>;

/// Takes the last eight bytes of a key for its hash. (The first one chooses the shard.)
#[derive(Default)]
pub(super) struct LastBytes(u64);

impl Hasher for LastBytes {
    fn write(&mut self, key: &[u8]) {
        self.0 = key.last_chunk().map_or(0, |last| u64::from_ne_bytes(*last));
    }

    /// The length of a key says nothing.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[derive(Default)]
pub(super) struct Families {
    pub(super) by_id: RandomKeys<GrantId, Family>,
    pub(super) by_subject: HashMap<Subject, HashSet<GrantId, BuildHasherDefault<LastBytes>>>,
    /// Grants in which a purge has found something to remove, and to which it has not come yet. They may have changed since.
    pub(super) due: Vec<GrantId>,
    /// Hashes that tokens of purged grants still occupy, because the purge came to its limit.
    pub(super) removed: Vec<TokenHash>,
}

pub(super) struct Family {
    pub(super) grant: Arc<Grant>,
    /// In the order of their hashes.
    pub(super) tokens: Vec<Arc<StoredToken>>,
}

impl Families {
    /// Returns the selected grants of this shard, whatever their state.
    pub(super) fn selected(&self, which: &GrantSelector) -> Vec<GrantId> {
        let ids: Box<dyn Iterator<Item = &GrantId>> = match which {
            GrantSelector::Id(id) | GrantSelector::SubjectAndId(_, id) => Box::new(iter::once(id)),
            GrantSelector::Subject(subject) | GrantSelector::SubjectAndClient(subject, _) => {
                Box::new(self.by_subject.get(subject).into_iter().flatten())
            }
            GrantSelector::Client(_) => Box::new(self.by_id.keys()),
        };
        let is_meant = |id: &&GrantId| self.by_id.get(id).is_some_and(|family| which.selects(&family.grant));
        ids.filter(is_meant).copied().collect()
    }

    /// Removes a grant with all its tokens. Their hashes are left to be released.
    pub(super) fn remove(&mut self, id: GrantId) {
        let Some(Family { grant, tokens }) = self.by_id.remove(&id) else { return };
        self.removed.extend(tokens.iter().map(|token| token.hash));
        if let Some(subject) = &grant.subject
            && let Some(ids) = self.by_subject.get_mut(subject)
        {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_subject.remove(subject);
            }
        }
    }
}

impl Family {
    pub(super) fn new(grant: &Arc<Grant>, tokens: &[StoredToken]) -> Self {
        let mut family = Self { grant: Arc::clone(grant), tokens: Vec::with_capacity(tokens.len()) };
        for token in tokens {
            family.insert(token);
        }
        family
    }

    pub(super) fn insert(&mut self, token: &StoredToken) {
        let place = self.tokens.partition_point(|own| own.hash < token.hash);
        self.tokens.insert(place, Arc::new(token.clone()));
    }

    fn place(&self, hash: &TokenHash) -> Option<usize> {
        self.tokens.binary_search_by_key(hash, |token| token.hash).ok()
    }

    pub(super) fn token(&self, hash: &TokenHash) -> Option<&Arc<StoredToken>> {
        self.tokens.get(self.place(hash)?)
    }

    pub(super) fn token_mut(&mut self, hash: &TokenHash) -> Option<&mut Arc<StoredToken>> {
        let place = self.place(hash)?;
        self.tokens.get_mut(place)
    }

    /// Marks a token as spent and erases the seed of its parent.
    pub(super) fn mark_spent(&mut self, hash: &TokenHash, spent: Spent) {
        let Some(token) = self.token_mut(hash).map(Arc::make_mut) else { return };
        token.spent = Some(spent);
        if let Some(parent) = token.parent.and_then(|parent| self.token_mut(&parent)) {
            erase_seed(parent);
        }
    }
}

pub(super) fn erase_seed(token: &mut Arc<StoredToken>) {
    if let Some(spent) = &mut Arc::make_mut(token).spent {
        spent.seed = None;
    }
}
