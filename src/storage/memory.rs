//! A storage in memory: for tests, demos and servers that may forget everything when they stop.

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap};
use std::fmt;
use std::ops::Bound;
use std::sync::{Arc, RwLock, RwLockReadGuard, RwLockWriteGuard};

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::{ClientRegistry, ClientStore, Exchange, GrantSelector, Page, RegistryError, Spend, Storage, StorageError};
use crate::client::{Client, ClientCredential};
use crate::record::{ClientId, Grant, GrantId, Spent, StoredToken, Subject, TokenKind};
use crate::secret::TokenHash;

/// Clients, grants and tokens in memory. Cloning it is cheap and gives the same storage.
///
/// It keeps the whole [contract](super) for as long as the process lives. Call
/// [`purge_expired`](Storage::purge_expired) from time to time, or it grows.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    state: Arc<RwLock<State>>,
}

/// One lock guards everything: each method is one step that takes it once and never waits while holding it.
#[derive(Default)]
struct State {
    clients: BTreeMap<ClientId, Arc<Client>>,
    grants: HashMap<GrantId, Family>,
    tokens: HashMap<TokenHash, StoredToken>,
    by_subject: HashMap<Subject, Ids>,
    by_client: HashMap<ClientId, Ids>,
    due: BinaryHeap<Reverse<(OffsetDateTime, Due)>>,
}

/// Grants in the order in which they were opened.
type Ids = BTreeSet<(OffsetDateTime, GrantId)>;

struct Family {
    grant: Arc<Grant>,
    tokens: Vec<TokenHash>,
}

/// What may be purged at some time. An entry is a hint: what it names may have lived on, or be gone.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    Grant(GrantId),
    AccessToken(TokenHash),
    Seed(TokenHash),
}

/// How long a seed is kept at the most: as long as the longest grace window.
const SEED_LIFETIME: Duration = Duration::MINUTE;

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> Result<RwLockReadGuard<'_, State>, StorageError> {
        self.state.read().map_err(|_| poisoned())
    }

    fn write(&self) -> Result<RwLockWriteGuard<'_, State>, StorageError> {
        self.state.write().map_err(|_| poisoned())
    }
}

/// Some thread panicked half-way through a step; what it left behind can't be trusted.
fn poisoned() -> StorageError {
    StorageError::new("a thread panicked while it changed the memory storage")
}

fn taken() -> StorageError {
    StorageError::new("a token with this hash exists")
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStorage")
    }
}

#[async_trait]
impl ClientStore for MemoryStorage {
    async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        Ok(self.read()?.clients.get(id).cloned())
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        self.write()?.open_grant(grant, tokens)
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<(StoredToken, Arc<Grant>)>, StorageError> {
        let state = self.read()?;
        Ok(state.tokens.get(token).and_then(|token| {
            let family = state.grants.get(&token.grant_id)?;
            Some((token.clone(), Arc::clone(&family.grant)))
        }))
    }

    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        self.write()?.exchange(spend, successors)
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        if let Some(token) = self.write()?.tokens.get_mut(token)
            && token.kind == TokenKind::AccessToken
        {
            token.revoked_at.get_or_insert(at);
        }
        Ok(())
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        let mut state = self.write()?;
        let ids: Vec<GrantId> = state.select(which).map(|grant| grant.id).collect();
        Ok(ids.into_iter().filter(|id| state.revoke(*id, at)).count() as u64)
    }

    async fn grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        let state = self.read()?;
        let comes_later = |grant: &Grant| page.after.is_none_or(|after| (grant.opened_at, grant.id) < after);
        let selected = state.select(which).filter(|grant| grant.is_live(now) && comes_later(grant));
        Ok(selected.take(page.limit).map(Arc::clone).collect())
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        Ok(self.write()?.purge(before, limit))
    }
}

impl State {
    fn open_grant(&mut self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        if self.knows_any(tokens) {
            return Err(taken());
        }
        let Entry::Vacant(place) = self.grants.entry(grant.id) else {
            return Err(StorageError::new("a grant with this identifier exists"));
        };
        place.insert(Family { grant: Arc::clone(grant), tokens: Vec::with_capacity(tokens.len()) });
        let key = (grant.opened_at, grant.id);
        self.by_client.entry(grant.client_id.clone()).or_default().insert(key);
        if let Some(subject) = &grant.subject {
            self.by_subject.entry(subject.clone()).or_default().insert(key);
        }
        self.due.push(Reverse((grant.expires_at, Due::Grant(grant.id))));
        self.insert(grant.id, tokens);
        Ok(())
    }

    fn insert(&mut self, grant_id: GrantId, tokens: &[StoredToken]) {
        let Some(family) = self.grants.get_mut(&grant_id) else { return };
        for token in tokens {
            family.tokens.push(token.hash);
            if token.kind == TokenKind::AccessToken {
                self.due.push(Reverse((token.expires_at, Due::AccessToken(token.hash))));
            }
            self.tokens.insert(token.hash, token.clone());
        }
    }

    fn exchange(&mut self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        let is_taken = self.knows_any(successors);
        let Some(token) = self.tokens.get_mut(&spend.token) else { return Ok(Exchange::Dead) };
        let Some(family) = self.grants.get_mut(&token.grant_id) else { return Ok(Exchange::Dead) };
        let is_meant = token.kind == spend.kind && token.grant_id == spend.grant_id;
        if !is_meant || token.revoked_at.is_some() || !family.grant.is_live(spend.at) {
            return Ok(Exchange::Dead);
        }
        if let Some(spent) = &token.spent {
            return Ok(if spent.attempt == spend.attempt { Exchange::Done } else { Exchange::AlreadySpent });
        }
        if token.expires_at <= spend.at {
            return Ok(Exchange::Dead);
        }
        if is_taken {
            return Err(taken());
        }
        let grant = Arc::make_mut(&mut family.grant);
        grant.last_used_at = grant.last_used_at.max(spend.at);
        grant.expires_at = grant.expires_at.max(spend.grant_expires_at);
        if spend.consume {
            token.spent = Some(Spent { at: spend.at, attempt: spend.attempt, seed: spend.seed.clone() });
            if spend.seed.is_some() {
                self.due.push(Reverse((spend.at.saturating_add(SEED_LIFETIME), Due::Seed(spend.token))));
            }
            if let Some(parent) = token.parent {
                self.erase_seed(&parent);
            }
        }
        self.insert(spend.grant_id, successors);
        Ok(Exchange::Done)
    }

    fn knows_any(&self, tokens: &[StoredToken]) -> bool {
        tokens.iter().any(|token| self.tokens.contains_key(&token.hash))
    }

    fn erase_seed(&mut self, token: &TokenHash) -> bool {
        let spent = self.tokens.get_mut(token).and_then(|token| token.spent.as_mut());
        spent.and_then(|spent| spent.seed.take()).is_some()
    }

    /// The grants that are meant, newest first.
    fn select<'a>(&'a self, which: &'a GrantSelector) -> Box<dyn Iterator<Item = &'a Arc<Grant>> + 'a> {
        let grant = |id: &GrantId| self.grants.get(id).map(|family| &family.grant);
        let all = move |ids: Option<&'a Ids>| ids.into_iter().flat_map(|ids| ids.iter().rev());
        let selected = move |ids| all(ids).filter_map(move |(_, id)| grant(id)).filter(|grant| which.selects(grant));
        match which {
            GrantSelector::Id(id) | GrantSelector::SubjectAndId(_, id) => {
                Box::new(grant(id).into_iter().filter(|grant| which.selects(grant)))
            }
            GrantSelector::Subject(subject) | GrantSelector::SubjectAndClient(subject, _) => {
                Box::new(selected(self.by_subject.get(subject)))
            }
            GrantSelector::Client(client) => Box::new(selected(self.by_client.get(client))),
        }
    }

    /// Whether the grant was not yet revoked.
    fn revoke(&mut self, id: GrantId, at: OffsetDateTime) -> bool {
        let Some(family) = self.grants.get_mut(&id).filter(|family| family.grant.revoked_at.is_none()) else {
            return false;
        };
        Arc::make_mut(&mut family.grant).revoked_at = Some(at);
        self.due.push(Reverse((at, Due::Grant(id))));
        true
    }

    fn purge(&mut self, before: OffsetDateTime, limit: usize) -> usize {
        let mut touched = 0;
        while touched < limit {
            let Some(Reverse((when, _))) = self.due.peek() else { break };
            if *when > before {
                break;
            }
            let Some(Reverse((_, due))) = self.due.pop() else { break };
            touched += match due {
                Due::Grant(id) => self.purge_grant(id, before, limit - touched),
                Due::AccessToken(hash) => usize::from(self.purge_access_token(&hash, before)),
                Due::Seed(hash) => usize::from(self.erase_seed(&hash)),
            };
        }
        touched
    }

    /// Removes a dead grant, its tokens first, as far as the limit reaches.
    fn purge_grant(&mut self, id: GrantId, before: OffsetDateTime, limit: usize) -> usize {
        let Some(family) = self.grants.get_mut(&id) else { return 0 };
        let ended = family.grant.revoked_at.map_or(family.grant.expires_at, |at| at.min(family.grant.expires_at));
        if ended > before {
            self.due.push(Reverse((ended, Due::Grant(id))));
            return 0;
        }
        let rest = family.tokens.len().saturating_sub(limit);
        let removed = family.tokens.split_off(rest);
        for hash in &removed {
            self.tokens.remove(hash);
        }
        if removed.len() == limit {
            self.due.push(Reverse((before, Due::Grant(id))));
            return removed.len();
        }
        if let Some(Family { grant, .. }) = self.grants.remove(&id) {
            let key = (grant.opened_at, grant.id);
            remove_key(&mut self.by_client, &grant.client_id, &key);
            if let Some(subject) = &grant.subject {
                remove_key(&mut self.by_subject, subject, &key);
            }
        }
        removed.len() + 1
    }

    fn purge_access_token(&mut self, hash: &TokenHash, before: OffsetDateTime) -> bool {
        let Entry::Occupied(token) = self.tokens.entry(*hash) else { return false };
        if token.get().expires_at > before {
            return false;
        }
        let token = token.remove();
        if let Some(family) = self.grants.get_mut(&token.grant_id)
            && let Some(at) = family.tokens.iter().position(|own| own == hash)
        {
            family.tokens.swap_remove(at);
        }
        true
    }
}

fn remove_key<K: Eq + std::hash::Hash>(index: &mut HashMap<K, Ids>, owner: &K, key: &(OffsetDateTime, GrantId)) {
    if let Some(ids) = index.get_mut(owner) {
        ids.remove(key);
        if ids.is_empty() {
            index.remove(owner);
        }
    }
}

#[async_trait]
impl ClientRegistry for MemoryStorage {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        let mut state = self.write()?;
        if state.clients.contains_key(client.id()) {
            return Err(RegistryError::Taken);
        }
        state.clients.insert(client.id().clone(), Arc::new(client));
        Ok(())
    }

    async fn update(&self, client: Client) -> Result<(), RegistryError> {
        let mut state = self.write()?;
        let place = state.clients.get_mut(client.id()).ok_or(RegistryError::Unknown)?;
        *place = Arc::new(client);
        Ok(())
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        let mut state = self.write()?;
        let place = state.clients.get_mut(id).ok_or(RegistryError::Unknown)?;
        let mut parts = place.parts().clone();
        parts.rotate_credential(new, others_end);
        *place = Arc::new(Client::from_parts(parts)?);
        Ok(())
    }

    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        let mut state = self.write()?;
        state.clients.remove(id);
        let grants: Vec<GrantId> = state.by_client.get(id).into_iter().flatten().map(|(_, id)| *id).collect();
        for grant in grants {
            state.revoke(grant, at);
        }
        Ok(())
    }

    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        let state = self.read()?;
        let start = after.map_or(Bound::Unbounded, Bound::Excluded);
        let range = state.clients.range::<ClientId, _>((start, Bound::Unbounded));
        Ok(range.take(limit).map(|(_, client)| Arc::clone(client)).collect())
    }
}
