//! A storage in memory: for tests, demos and servers that may forget everything when they stop.
//!
//! # How it is kept
//! A [`Family`](family::Family) is a grant with all its tokens, and one lock guards it. What a step decides and writes,
//! it decides and writes under that lock, so that a step on one family is atomic and steps on two never meet.
//!
//! Two indexes lead to a family, each in shards of its own lock: one by token ([`tokens`]), one by everything else
//! ([`grants`]): identifier, owner, and when it is due to be purged. An index may name a family that is not yet open,
//! or is being purged; the family itself, asked under its lock, knows.
//!
//! # The order of locks
//! family → shard of the grants → shard of the tokens; at most one of each at a time. Whoever comes from an index lets
//! go of its shard before it asks for the family. The lock of the clients is never held together with another.

mod clients;
mod family;
mod grants;
mod hashing;
mod owned;
mod purge;
mod shards;
mod steps;
mod tokens;

use std::fmt;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, RwLock};

use async_trait::async_trait;
use time::OffsetDateTime;

use self::clients::Clients;
use self::grants::Grants;
use self::tokens::Tokens;
use super::{Exchange, GrantSelector, Page, Spend, Storage, StorageError};
use crate::record::{Grant, StoredToken};
use crate::secret::TokenHash;

/// Clients, grants and tokens in memory. Cloning it is cheap and gives the same storage.
///
/// It keeps the whole [contract](super) for as long as the process lives. Threads that work on different grants don't
/// wait for each other. To revoke the grants of a subject or a client, it goes from one to the next: what it has
/// come to is dead at once, and all of them are when the call returns.
///
/// Call [`purge_expired`](Storage::purge_expired) from time to time, or it grows.
#[derive(Clone, Default)]
pub struct MemoryStorage {
    state: Arc<State>,
}

#[derive(Default)]
struct State {
    clients: RwLock<Clients>,
    grants: Grants,
    tokens: Tokens,
    /// The shard at which the next purge begins, so that small ones get everywhere.
    purge_from: AtomicUsize,
}

impl MemoryStorage {
    /// An empty storage.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }
}

/// Some thread panicked half-way through a step; what it left behind can't be trusted.
fn poisoned<T>(_: T) -> StorageError {
    StorageError::new("a thread panicked while it changed the memory storage")
}

impl fmt::Debug for MemoryStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MemoryStorage")
    }
}

#[async_trait]
impl Storage for MemoryStorage {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        self.state.open_grant(grant, tokens)
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<(Arc<StoredToken>, Arc<Grant>)>, StorageError> {
        self.state.find(token)
    }

    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        self.state.exchange(spend, successors)
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.state.revoke_access_token(token, at)
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        self.state.revoke_grants(which, at)
    }

    async fn grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        self.state.list(which, now, page)
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.state.purge(before, limit)
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use time::Duration;

    use super::*;
    use crate::client::Client;
    use crate::record::{AttemptId, ClientId, GrantDetails, GrantId, GrantType, TokenDetails, TokenKind};
    use crate::scope::Scope;
    use crate::storage::{ClientRegistry, ClientStore};

    fn records(number: u8) -> (Arc<Grant>, StoredToken) {
        let (now, scope) = (OffsetDateTime::UNIX_EPOCH, Scope::parse("a").unwrap());
        let grant = Grant {
            id: GrantId::from_bytes([number; 16]),
            client_id: ClientId::new("app").unwrap(),
            subject: None,
            grant_type: GrantType::built_in(GrantType::CLIENT_CREDENTIALS),
            scope: scope.clone(),
            opened_at: now,
            last_used_at: now,
            expires_at: now,
            revoked_at: None,
            host_data: None,
            details: GrantDetails::default(),
        };
        let token = StoredToken {
            hash: TokenHash::from_bytes([number; 32]),
            kind: TokenKind::AccessToken,
            grant_id: grant.id,
            scope,
            issued_at: now,
            expires_at: now,
            parent: None,
            spent: None,
            revoked_at: None,
            details: TokenDetails::default(),
        };
        (Arc::new(grant), token)
    }

    /// Panics while it holds a lock.
    fn poison<T>(lock: impl FnOnce() -> T) {
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            let _held = lock();
            std::panic::resume_unwind(Box::new("half-way"));
        }));
        assert!(panicked.is_err());
    }

    #[test]
    fn what_a_panic_left_half_done_is_an_error_and_never_an_answer() {
        let state = State::default();
        let [(grant, token), (other, others)] = [1, 2].map(records);
        state.open_grant(&grant, std::slice::from_ref(&token)).unwrap();
        state.open_grant(&other, std::slice::from_ref(&others)).unwrap();

        let family = state.tokens.get(&token.hash).unwrap().unwrap().family;
        poison(|| family.write().unwrap());
        assert!(state.find(&token.hash).is_err());
        assert!(state.revoke_access_token(&token.hash, token.expires_at).is_err());
        assert!(state.revoke_grants(&GrantSelector::Id(grant.id), token.expires_at).is_err());
        assert!(state.purge(token.expires_at, 9).is_err());
        assert!(state.find(&others.hash).unwrap().is_some(), "another family is none the worse");

        let (new, its_token) = records(3);
        poison(|| state.grants.write(new.id).unwrap());
        assert!(state.open_grant(&new, std::slice::from_ref(&its_token)).is_err());
        assert!(state.find(&its_token.hash).unwrap().is_none());
        assert!(state.revoke_grants(&GrantSelector::Client(new.client_id.clone()), token.expires_at).is_err());
    }

    #[tokio::test]
    async fn a_client_is_gone_before_its_grants_are_so_that_it_gets_no_more_of_them_meanwhile() {
        let storage = MemoryStorage::new();
        let (grant, token) = records(1);
        storage.state.open_grant(&grant, std::slice::from_ref(&token)).unwrap();
        storage
            .register(Client::public("app").authorization_code(["https://app.example/cb"]).build().unwrap())
            .await
            .unwrap();

        poison(|| storage.state.grants.write(grant.id).unwrap());
        assert!(storage.remove(&grant.client_id, token.expires_at).await.is_err(), "its grants can't be revoked");
        assert!(storage.client("app").await.unwrap().is_none());
    }

    #[test]
    fn small_purges_get_to_every_shard_although_there_is_always_more_to_do_in_the_first_ones() {
        let state = State::default();
        let [(first, _), (last, _)] = [0, 63].map(records);
        state.open_grant(&first, &[]).unwrap();
        state.open_grant(&last, &[]).unwrap();
        for _ in 0..3 {
            assert_eq!(state.purge(last.expires_at, 1).unwrap(), 1);
            // The same again as soon as it is gone, so that its shard never runs out.
            state.open_grant(&first, &[]).ok();
        }
        let is_left = state.revoke_grants(&GrantSelector::Id(last.id), last.expires_at).unwrap();
        assert_eq!(is_left, 0, "the last one has had its turn");
    }

    #[test]
    fn a_grant_that_is_purged_leaves_those_of_the_same_owner_listed_and_the_last_one_nothing() {
        let (grant, _) = records(1);
        let of_client = GrantSelector::Client(grant.client_id.clone());
        for count in 1..=4u8 {
            let state = State::default();
            let id = |number| GrantId::from_bytes([1, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
            let at = |number: u8| grant.opened_at + Duration::days(number.into());
            for number in 0..count {
                let grant = Grant { id: id(number), expires_at: at(number + 1), ..(*grant).clone() };
                state.open_grant(&Arc::new(grant), &[]).unwrap();
            }
            for number in 0..count {
                let listed = state.list(&of_client, at(number), &Page::first(9)).unwrap();
                let ids: Vec<GrantId> = listed.iter().map(|grant| grant.id).collect();
                assert_eq!(ids, (number..count).rev().map(id).collect::<Vec<_>>(), "{number} of {count} are gone");
                assert_eq!(state.purge(at(number + 1), 9).unwrap(), 1);
            }
            assert_eq!(state.grants.write(id(0)).unwrap().owners(), 0);
        }
    }

    #[test]
    fn of_many_grants_in_one_shard_and_an_old_one_in_another_none_is_passed_over() {
        let state = State::default();
        let (grant, _) = records(1);
        let ids = (0..200).map(|number| (1, number)).chain([(2, 0)]);
        for (age, (shard, number)) in ids.rev().enumerate() {
            let id = GrantId::from_bytes([shard, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
            let opened_at = grant.opened_at + Duration::seconds(age.try_into().unwrap());
            let expires_at = opened_at + Duration::DAY;
            state.open_grant(&Arc::new(Grant { id, opened_at, expires_at, ..(*grant).clone() }), &[]).unwrap();
        }
        let of_client = GrantSelector::Client(grant.client_id.clone());
        let mut listed = state.list(&of_client, grant.opened_at, &Page::first(500)).unwrap();
        assert_eq!(listed.len(), 201);
        assert!(listed.is_sorted_by(|newer, older| newer.opened_at > older.opened_at));
        listed.dedup_by_key(|grant| grant.id);
        assert_eq!(listed.len(), 201, "and none comes twice");
        assert_eq!(state.revoke_grants(&of_client, grant.opened_at).unwrap(), 201);
    }

    #[test]
    fn grants_that_were_revoked_long_before_their_end_leave_little_behind_when_they_are_gone() {
        let state = State::default();
        let (grant, token) = records(1);
        let end = grant.expires_at + Duration::days(90);
        for number in 0..=255 {
            let id = GrantId::from_bytes([64, number, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]);
            let grant = Arc::new(Grant { id, expires_at: end, ..(*grant).clone() });
            let tokens = (0..20).map(|n| {
                let mut hash = [number; 32];
                hash[31] = n;
                StoredToken { hash: TokenHash::from_bytes(hash), grant_id: id, expires_at: end, ..token.clone() }
            });
            state.open_grant(&grant, &tokens.collect::<Vec<_>>()).unwrap();
            state.revoke_grants(&GrantSelector::Id(id), token.expires_at).unwrap();
            while state.purge(token.expires_at, 7).unwrap() > 0 {}
            let left = state.grants.write(id).unwrap().entries();
            assert!(left <= 2 * 22, "{left} entries lead to nothing");
        }
    }

    #[test]
    fn whoever_comes_with_the_place_of_a_purged_row_does_not_get_the_one_that_is_there_now() {
        let state = State::default();
        let (grant, old) = records(1);
        let grant = Arc::new(Grant { expires_at: grant.expires_at + Duration::DAY, ..(*grant).clone() });
        let refresh = StoredToken {
            hash: TokenHash::from_bytes([2; 32]),
            kind: TokenKind::RefreshToken,
            expires_at: grant.expires_at,
            ..old.clone()
        };
        state.open_grant(&grant, &[old.clone(), refresh.clone()]).unwrap();
        let place = state.tokens.get(&old.hash).unwrap().unwrap();
        assert_eq!(state.purge(old.expires_at, 9).unwrap(), 1);

        let spend = Spend {
            token: refresh.hash,
            kind: refresh.kind,
            grant_id: grant.id,
            attempt: AttemptId::from_bytes([1; 16]),
            at: grant.opened_at,
            consume: false,
            seed: None,
            grant_expires_at: grant.expires_at,
        };
        let new = StoredToken { hash: TokenHash::from_bytes([3; 32]), ..old.clone() };
        assert!(matches!(state.exchange(&spend, std::slice::from_ref(&new)).unwrap(), Exchange::Done));
        assert_eq!(state.tokens.get(&new.hash).unwrap().unwrap().slot, place.slot, "the place is used again");
        assert!(place.family.read().unwrap().row(place.slot, &old.hash).is_none());
        assert!(place.family.write().unwrap().token_mut(place.slot, &old.hash).is_none());
    }
}
