//! A storage in memory, for tests, demos and small servers.
//!
//! A [`Family`] is a grant with all its tokens. Families are kept in shards by the identifier of the grant. Each shard
//! has one lock, so that a grant and its tokens are always read and written together. A second set of shards maps the
//! hash of a token to the identifier of its grant.
//!
//! # Lock order
//! A call locks one shard of families first, then one shard of tokens at a time. A call that starts with the hash of a
//! token releases the token shard before it locks the family, and then looks the token up in the family. The lock of
//! the clients is never held together with another lock.
//!
//! Two calls hold several shards of families. Opening a grant with a parent or an earlier consent does, so that these
//! stay live until the grant is stored. Revoking the grants of a user does, so that no grant is opened meanwhile on the
//! consent of one of them. Both lock shards in the order of their numbers.

mod clients;
mod ephemeral;
mod families;
mod purge;
mod signing_keys;

use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::fmt;
use std::ops::Range;
use std::sync::{Arc, Mutex, RwLock, RwLockWriteGuard, atomic::AtomicUsize};

use async_trait::async_trait;
use time::OffsetDateTime;

use self::clients::Clients;
pub use self::ephemeral::MemoryEphemeralStore;
use self::families::{Families, GrantIds, RandomKeys};
use super::{
    Found, GrantPage, GrantSelector, IssuerError, Opened, RedeemOutcome, Redemption, Storage, StorageError, StoredKeys,
    check_grant_of, one_time_keys,
};
use crate::record::{Grant, GrantId, StoredToken, TokenKind};
use crate::secret::TokenHash;

/// The number of shards of each kind. It is small, because selecting the grants of a user visits all shards.
const SHARDS: usize = 8;

/// A storage of clients, grants, tokens and ephemeral entries in memory. A clone is a handle to the same storage.
///
/// It keeps the whole [contract](super) until the process ends. It is meant for tests, demos and small servers. A
/// purge, and the selection of a client's grants, scan all grants, one shard after another. Meanwhile, calls for other
/// grants of that shard wait.
///
/// The storage grows unless you call [`AuthorizationServer::purge`](crate::AuthorizationServer::purge) regularly. It
/// removes old grants, tokens and ephemeral entries. ([`purge_expired`](Storage::purge_expired) does not remove
/// ephemeral entries.)
#[derive(Clone, Default)]
pub struct MemoryStorage {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    clients: RwLock<Clients>,
    families: [RwLock<Families>; SHARDS],
    tokens: [RwLock<RandomKeys<TokenHash, GrantId>>; SHARDS],
    /// The issuer that owns the storage.
    issuer: Mutex<Option<Box<str>>>,
    /// The shard at which the next purge begins.
    purge_from: AtomicUsize,
    ephemeral: MemoryEphemeralStore,
    signing_keys: Mutex<Option<StoredKeys>>,
}

impl MemoryStorage {
    /// Returns an empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStorage")
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        check_grant_of(tokens, grant.id)?;
        let refused = match self.state.try_open(grant, tokens) {
            Err(refused) if one_time_keys(tokens).next().is_some() => refused,
            answer => return answer,
        };
        // The locks are released here, so that the keys can be looked up.
        for key in one_time_keys(tokens) {
            if self.find(&key.hash).await?.is_some() {
                return Ok(Opened::Taken);
            }
        }
        Err(refused)
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        let Some(id) = self.state.grant_of(token)? else { return Ok(None) };
        let families = self.state.families[shard_of(id)].read().map_err(poisoned)?;
        let Some(family) = families.by_id.get(&id) else { return Ok(None) };
        Ok(family.token(token).map(|token| Found::new(Arc::clone(token), Arc::clone(&family.grant))))
    }

    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError> {
        let mut families = self.state.write_families(redemption.grant_id)?;
        let Some(family) = families.by_id.get_mut(&redemption.grant_id) else { return Ok(RedeemOutcome::Dead) };
        let found = family.token(&redemption.token).map(|token| (&**token, &*family.grant));
        if let Some(outcome) = redemption.refusal(found) {
            return Ok(outcome);
        }
        check_grant_of(successors, redemption.grant_id)?;
        self.state.claim_hashes(successors)?;
        // Nothing can fail from here on.
        if redemption.consume {
            family.mark_spent(&redemption.token, redemption.spent());
        }
        for token in successors {
            family.insert(token);
        }
        let grant = Arc::make_mut(&mut family.grant);
        grant.last_used_at = grant.last_used_at.max(redemption.at);
        grant.expires_at = grant.expires_at.max(redemption.grant_expires_at);
        Ok(RedeemOutcome::Done)
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        let Some(id) = self.state.grant_of(token)? else { return Ok(()) };
        let mut families = self.state.write_families(id)?;
        let found = families.by_id.get_mut(&id).and_then(|family| family.token_mut(token));
        if let Some(token) = found.filter(|token| token.kind == TokenKind::AccessToken) {
            Arc::make_mut(token).revoked_at.get_or_insert(at);
        }
        Ok(())
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        self.state.revoke_selected(which, at)
    }

    async fn list_grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        let place = |grant: &Arc<Grant>| (grant.opened_at, grant.id);
        let mut grants = Vec::new();
        for shard in &self.state.families[shards_of(which)] {
            let families = shard.read().map_err(poisoned)?;
            let selected = families.selected(which).into_iter().filter_map(|id| Some(&families.by_id.get(&id)?.grant));
            let live = selected.filter(|grant| grant.is_live(now));
            grants.extend(live.filter(|grant| page.after.is_none_or(|after| place(grant) < after)).cloned());
        }
        if grants.len() > page.limit {
            grants.select_nth_unstable_by_key(page.limit, |grant| Reverse(place(grant)));
            grants.truncate(page.limit);
        }
        grants.sort_unstable_by_key(|grant| Reverse(place(grant)));
        Ok(grants)
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.state.purge(before, limit)
    }

    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError> {
        let mut owner = self.state.issuer.lock().map_err(poisoned)?;
        let owner = owner.get_or_insert_with(|| issuer.into());
        IssuerError::check(Some(&**owner), issuer)
    }

    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError> {
        let mut owner = self.state.issuer.lock().map_err(poisoned)?;
        if owner.as_deref() == Some(from) {
            *owner = Some(to.into());
        }
        IssuerError::check(owner.as_deref(), to)
    }
}

impl State {
    fn write_families(&self, id: GrantId) -> Result<RwLockWriteGuard<'_, Families>, StorageError> {
        self.families[shard_of(id)].write().map_err(poisoned)
    }

    /// Stores a grant if its parent and its consent are live, and its identifier and the hashes of its tokens are free.
    fn try_open(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        let (own, needed) = (shard_of(grant.id), [grant.parent_grant, grant.details.consent_grant]);
        // The shards are locked in the order of their numbers.
        let mut others: Vec<_> = needed.into_iter().flatten().map(shard_of).filter(|shard| *shard != own).collect();
        others.sort_unstable();
        others.dedup();
        let read = |shard: usize| Ok::<_, StorageError>((shard, self.families[shard].read().map_err(poisoned)?));
        let (before, after) = others.split_at(others.partition_point(|shard| *shard < own));
        let before = before.iter().map(|shard| read(*shard)).collect::<Result<Vec<_>, _>>()?;
        let mut families = self.families[own].write().map_err(poisoned)?;
        let after = after.iter().map(|shard| read(*shard)).collect::<Result<Vec<_>, _>>()?;
        let [parent, consent] = needed.map(|id| {
            let locked = before.iter().chain(&after).find(|(shard, _)| id.is_some_and(|id| shard_of(id) == *shard));
            let family = locked.map_or(&*families, |(_, families)| families).by_id.get(&id?)?;
            Some(&*family.grant)
        });
        if !grant.may_open(parent) {
            return Ok(Opened::ParentDead);
        }
        if !grant.has_live_consent(consent) {
            return Ok(Opened::ConsentDead);
        }
        if families.by_id.contains_key(&grant.id) {
            return Err(StorageError::new("a grant with this identifier already exists"));
        }
        self.claim_hashes(tokens)?;
        families.insert(grant, tokens);
        Ok(Opened::Done)
    }

    /// Revokes the selected grants and their descendants. Returns how many were not revoked before.
    fn revoke_selected(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        let (mut revoked, mut reached, mut held) = (0, Vec::new(), Vec::new());
        for shard in &self.families[shards_of(which)] {
            let mut families = shard.write().map_err(poisoned)?;
            for id in families.selected(which) {
                revoked += u64::from(families.revoke(id, at));
                reached.push(id);
            }
            // Otherwise a grant could be opened in this shard on the consent of a grant in a later shard.
            held.extend(which.covers_consents().then_some(families));
        }
        drop(held);
        Ok(revoked + self.revoke_descendants(reached, at)?)
    }

    /// Revokes the descendants of the reached grants. Returns how many were not revoked before.
    ///
    /// It misses no child: `try_open` holds the parent's lock, so every child was stored before its parent was marked.
    fn revoke_descendants(&self, mut reached: Vec<GrantId>, at: OffsetDateTime) -> Result<u64, StorageError> {
        let (mut revoked, mut seen) = (0, GrantIds::default());
        while !reached.is_empty() {
            let parents = std::mem::take(&mut reached);
            for shard in &self.families {
                if shard.read().map_err(poisoned)?.by_parent.is_empty() {
                    continue;
                }
                let mut families = shard.write().map_err(poisoned)?;
                let children = parents.iter().filter_map(|parent| families.by_parent.get(parent)).flatten();
                let children: Vec<_> = children.copied().filter(|child| seen.insert(*child)).collect();
                for child in children {
                    revoked += u64::from(families.revoke(child, at));
                    reached.push(child);
                }
            }
        }
        Ok(revoked)
    }

    fn tokens(&self, hash: &TokenHash) -> &RwLock<RandomKeys<TokenHash, GrantId>> {
        &self.tokens[usize::from(hash.as_bytes()[0]) % SHARDS]
    }

    /// Returns the grant of a token. The token may be removed by the time that the caller locks the grant.
    fn grant_of(&self, token: &TokenHash) -> Result<Option<GrantId>, StorageError> {
        Ok(self.tokens(token).read().map_err(poisoned)?.get(token).copied())
    }

    /// Claims the hashes of new tokens: all or none. The caller holds the lock of their grant.
    fn claim_hashes(&self, tokens: &[StoredToken]) -> Result<(), StorageError> {
        if let [token] = tokens {
            return self.claim_hash(token);
        }
        // Sorted, so that of two calls with the same hashes one gets all of them.
        let mut tokens: Vec<_> = tokens.iter().collect();
        tokens.sort_unstable_by_key(|token| token.hash);
        for (claimed, token) in tokens.iter().enumerate() {
            if let Err(error) = self.claim_hash(token) {
                tokens[..claimed].iter().try_for_each(|token| self.release_hash(&token.hash))?;
                return Err(error);
            }
        }
        Ok(())
    }

    fn claim_hash(&self, token: &StoredToken) -> Result<(), StorageError> {
        match self.tokens(&token.hash).write().map_err(poisoned)?.entry(token.hash) {
            Entry::Occupied(_) => Err(StorageError::new("a token with this hash already exists")),
            Entry::Vacant(place) => {
                place.insert(token.grant_id);
                Ok(())
            }
        }
    }

    fn release_hash(&self, hash: &TokenHash) -> Result<(), StorageError> {
        self.tokens(hash).write().map_err(poisoned)?.remove(hash);
        Ok(())
    }
}

/// Returns the shard of a grant. Identifiers are random, so their first bytes distribute them evenly.
fn shard_of(id: GrantId) -> usize {
    usize::from(id.as_bytes()[0]) % SHARDS
}

/// Returns the shards that may hold the selected grants.
fn shards_of(which: &GrantSelector) -> Range<usize> {
    match which {
        GrantSelector::Id(id) | GrantSelector::SubjectAndId(_, id) => shard_of(*id)..shard_of(*id) + 1,
        GrantSelector::Subject(_)
        | GrantSelector::Client(_)
        | GrantSelector::SubjectAndClient(..)
        | GrantSelector::Session(_)
        | GrantSelector::SubjectAndSession(..) => 0..SHARDS,
    }
}

/// Returns the error for a poisoned lock: after a panic, the data behind it may be incomplete.
fn poisoned<T>(_: T) -> StorageError {
    StorageError::new("the memory storage is damaged, because a thread panicked while changing it: restart the server")
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use serde_json::{from_value, json};
    use time::Duration;

    use super::*;
    use crate::client::Client;
    use crate::storage::{ClientRegistry, ClientStore};

    const NOW: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    /// Returns a grant of alice and its token. Both end `seconds` after `NOW`.
    fn records(number: u8, seconds: u8) -> (Arc<Grant>, [StoredToken; 1]) {
        let (now, id) = ("1970-01-01T00:00:00Z", GrantId::from_bytes([number; 16]));
        let grant = json!({
            "id": id, "client_id": "app", "subject": "alice", "grant_type": "authorization_code", "scope": "a",
            "opened_at": now, "last_used_at": now, "expires_at": now, "host_data": null, "details": {},
        });
        let token = json!({
            "hash": TokenHash::from_bytes([number; 32]), "kind": "access_token", "grant_id": id, "scope": "a",
            "issued_at": now, "expires_at": now, "parent": null, "spent": null, "details": {},
        });
        let (mut grant, mut token): (Grant, StoredToken) = (from_value(grant).unwrap(), from_value(token).unwrap());
        grant.expires_at += Duration::seconds(seconds.into());
        token.expires_at = grant.expires_at;
        (Arc::new(grant), [token])
    }

    /// Panics while it holds a lock.
    fn poison<T>(lock: &RwLock<T>) {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _held = lock.write().unwrap();
            std::panic::resume_unwind(Box::new("half-way"));
        }));
        assert!(panicked.is_err());
    }

    #[tokio::test]
    async fn poisoned_lock_is_an_error() {
        let storage = MemoryStorage::new();
        let [(grant, tokens), (other, of_other)] = [1, 2].map(|number| records(number, 0));
        assert_eq!(storage.open_grant(&grant, &tokens).await.unwrap(), Opened::Done);
        assert_eq!(storage.open_grant(&other, &of_other).await.unwrap(), Opened::Done);
        let client = Client::public("app").authorization_code(["https://app.example/cb"]).build().unwrap();
        storage.register(client).await.unwrap();
        poison(&storage.state.families[1]);
        let of_client = GrantSelector::Client(grant.client_id.clone());
        assert!(storage.find(&tokens[0].hash).await.is_err());
        assert!(storage.revoke_access_token(&tokens[0].hash, NOW).await.is_err());
        assert!(storage.revoke_grants(&GrantSelector::Id(grant.id), NOW).await.is_err());
        assert!(storage.revoke_grants(&of_client, NOW).await.is_err());
        assert!(storage.list_grants(&of_client, NOW, &GrantPage::first(9)).await.is_err());
        assert!(storage.purge_expired(NOW, 9).await.is_err());
        assert!(storage.find(&of_other[0].hash).await.unwrap().is_some(), "another shard is not affected");
        assert!(storage.remove(&grant.client_id, NOW).await.is_err(), "the grants can't be revoked");
        assert!(storage.find_client("app").await.unwrap().is_none(), "the client is removed first");

        let (new, of_new) = records(3, 0);
        poison(storage.state.tokens(&of_new[0].hash));
        assert!(storage.open_grant(&new, &of_new).await.is_err());
        assert_eq!(storage.revoke_grants(&GrantSelector::Id(new.id), NOW).await.unwrap(), 0);
    }

    /// This happens if another revocation has marked the parent and not yet its children.
    #[tokio::test]
    async fn revocation_continues_below_a_revoked_parent() {
        let storage = MemoryStorage::new();
        let [(parent, tokens), (mut child, of_child)] = [1, 2].map(|number| records(number, 9));
        Arc::make_mut(&mut child).parent_grant = Some(parent.id);
        assert_eq!(storage.open_grant(&parent, &tokens).await.unwrap(), Opened::Done);
        assert_eq!(storage.open_grant(&child, &of_child).await.unwrap(), Opened::Done);
        let (which, shard_of_child) = (GrantSelector::Id(parent.id), &storage.state.families[2]);
        poison(shard_of_child);
        assert!(storage.revoke_grants(&which, NOW).await.is_err());
        shard_of_child.clear_poison();
        let revoked_at = async |token: &StoredToken| storage.find(&token.hash).await.unwrap().unwrap().grant.revoked_at;
        assert_eq!((revoked_at(&tokens[0]).await, revoked_at(&of_child[0]).await), (Some(NOW), None));
        assert_eq!(storage.revoke_grants(&which, NOW).await.unwrap(), 1);
        assert_eq!(revoked_at(&of_child[0]).await, Some(NOW));
    }

    // Regression: a revocation that ran beside another one returned while a grant was live that had been opened on the
    // consent of a revoked grant.
    #[tokio::test]
    async fn revocation_by_subject_keeps_searched_shards_locked() {
        let storage = MemoryStorage::new();
        let [(first, tokens), (last, of_last)] = [0, 7].map(|number| records(number, 9));
        assert_eq!(storage.open_grant(&first, &tokens).await.unwrap(), Opened::Done);
        assert_eq!(storage.open_grant(&last, &of_last).await.unwrap(), Opened::Done);
        let subject = first.subject.clone().unwrap();
        for which in
            [GrantSelector::Subject(subject.clone()), GrantSelector::SubjectAndClient(subject, first.client_id.clone())]
        {
            let [first_shard, last_shard] = [0, 7].map(|number| &storage.state.families[number]);
            let held = last_shard.write().unwrap();
            std::thread::scope(|scope| {
                let revoking = scope.spawn(|| storage.state.revoke_selected(&which, NOW));
                let is_revoked = |families: &Families| families.by_id[&first.id].grant.revoked_at.is_some();
                while first_shard.try_read().is_ok_and(|families| !is_revoked(&families)) {
                    std::thread::yield_now();
                }
                assert!(first_shard.try_read().is_err(), "a grant can be opened here while the last shard is searched");
                drop(held);
                assert_eq!(revoking.join().unwrap().unwrap(), 2);
            });
            for id in [first.id, last.id] {
                let mut families = storage.state.write_families(id).unwrap();
                Arc::make_mut(&mut families.by_id.get_mut(&id).unwrap().grant).revoked_at = None;
            }
        }
    }

    #[tokio::test]
    async fn purge_of_everything_leaves_no_index_entries() {
        let storage = MemoryStorage::new();
        for number in 0..=255_u8 {
            let (mut grant, tokens) = records(number, number);
            Arc::make_mut(&mut grant).parent_grant =
                number.checked_sub(1).map(|before| GrantId::from_bytes([before; 16]));
            Arc::make_mut(&mut grant).opened_at = NOW - Duration::SECOND;
            assert_eq!(storage.open_grant(&grant, &tokens).await.unwrap(), Opened::Done);
        }
        let alice = GrantSelector::Subject(records(0, 0).0.subject.clone().unwrap());
        assert_eq!(storage.purge_expired(NOW + Duration::seconds(127), 999).await.unwrap(), 256);
        assert_eq!(storage.list_grants(&alice, NOW, &GrantPage::first(999)).await.unwrap().len(), 128);
        assert_eq!(storage.purge_expired(NOW + Duration::DAY, 999).await.unwrap(), 256);
        for (families, tokens) in storage.state.families.iter().zip(&storage.state.tokens) {
            let Families { by_id, by_subject, by_parent, due, removed } = &*families.read().unwrap();
            assert!(by_id.is_empty() && by_subject.is_empty() && by_parent.is_empty());
            assert!(due.is_empty() && removed.is_empty());
            assert!(tokens.read().unwrap().is_empty());
        }
    }
}
