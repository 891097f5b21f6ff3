//! A storage with a bug.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use grantor::client::ClientCredential;
use grantor::record::TokenKind;
use grantor::secret::{Seed, TokenHash};
use grantor::storage::{Exchange, GrantSelector, Page, RegistryError, Spend, TokenAndGrant};
use grantor::{
    Client, ClientId, ClientRegistry, ClientStore, Grant, GrantId, Scope, Storage, StorageError, StoredToken,
};
use time::{Duration, OffsetDateTime};

/// What is wrong with a [`Planted`] storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    ForgetsTheSubject,
    FindsRevokedTokensLive,
    FindsRevokedGrantsLive,
    DoesNotSpend,
    PanicsAtARefresh,
    ConsumesAlways,
    LosesTheRefreshToken,
    WidensTheAccessToken,
    NarrowsTheGrant,
    KeepsNoSeed,
    KeepsTheSeedOfAParent,
    DoesNotMoveTheEnd,
    RevokesTheGrantWithTheToken,
    RevokesNothingBySubjectAndClient,
    RevokesForAnySubject,
    ListsWhatHasEnded,
    ListsOnePageOnly,
    PurgesNothing,
    PurgesAMinuteEarly,
    PurgesEvidence,
    PurgesSeedsAtOnce,
    OldSecretsLastForEver,
    RemovesOnlyTheClient,
    HidesThatARevocationFailed,
    EndsTheGrantOfAFailedExchange,
}

impl Bug {
    /// Whether it is in what stands between a storage that fails and the server.
    pub(crate) const fn is_about_failures(self) -> bool {
        matches!(self, Self::HidesThatARevocationFailed | Self::EndsTheGrantOfAFailedExchange)
    }
}

/// A storage with a bug, or with none. Clones share what they remember.
#[derive(Debug, Clone)]
pub(crate) struct Planted<S> {
    inner: S,
    bug: Option<Bug>,
    memory: Arc<Mutex<Memory>>,
}

/// What a bug needs to remember.
#[derive(Debug, Default)]
struct Memory {
    narrowed: HashMap<GrantId, Scope>,
    seeds: HashMap<TokenHash, Seed>,
    purged: Option<OffsetDateTime>,
    removed: HashSet<ClientId>,
}

impl<S> Planted<S> {
    pub(crate) fn new(inner: S, bug: Option<Bug>) -> Self {
        Self { inner, bug, memory: Arc::default() }
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }
}

#[async_trait]
impl<S: ClientStore> ClientStore for Planted<S> {
    async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        self.inner.client(id).await
    }
}

#[async_trait]
impl<S: Storage> Storage for Planted<S> {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        let mut grant = Arc::clone(grant);
        if self.has(Bug::ForgetsTheSubject) {
            Arc::make_mut(&mut grant).subject = None;
        }
        self.inner.open_grant(&grant, tokens).await
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<TokenAndGrant>, StorageError> {
        let Some((mut token, mut grant)) = self.inner.find(token).await? else { return Ok(None) };
        let memory = self.memory();
        match self.bug {
            Some(Bug::FindsRevokedTokensLive) => Arc::make_mut(&mut token).revoked_at = None,
            Some(Bug::FindsRevokedGrantsLive) => Arc::make_mut(&mut grant).revoked_at = None,
            Some(Bug::RemovesOnlyTheClient) if memory.removed.contains(&grant.client_id) => {
                Arc::make_mut(&mut grant).revoked_at = None;
            }
            Some(Bug::NarrowsTheGrant) => {
                if let Some(scope) = memory.narrowed.get(&grant.id) {
                    Arc::make_mut(&mut grant).scope = scope.clone();
                }
            }
            Some(Bug::PurgesEvidence) => {
                let is_gone = token.spent.is_some() && memory.purged.is_some_and(|at| token.expires_at <= at);
                return Ok((!is_gone).then_some((token, grant)));
            }
            _ => {}
        }
        let hash = token.hash;
        if let Some(spent) = &mut Arc::make_mut(&mut token).spent {
            if self.has(Bug::KeepsTheSeedOfAParent) {
                spent.seed = memory.seeds.get(&hash).cloned();
            }
            if self.has(Bug::PurgesSeedsAtOnce) && memory.purged.is_some_and(|at| spent.at <= at) {
                spent.seed = None;
            }
        }
        Ok(Some((token, grant)))
    }

    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        let (mut spend, mut successors) = (spend.clone(), successors.to_vec());
        match self.bug {
            Some(Bug::DoesNotSpend) => spend.consume = false,
            Some(Bug::PanicsAtARefresh) => assert_ne!(spend.kind, TokenKind::RefreshToken),
            Some(Bug::ConsumesAlways) => spend.consume = true,
            Some(Bug::KeepsNoSeed) => spend.seed = None,
            Some(Bug::DoesNotMoveTheEnd) => spend.grant_expires_at = spend.at,
            Some(Bug::LosesTheRefreshToken) => successors.retain(|token| token.kind != TokenKind::RefreshToken),
            Some(Bug::WidensTheAccessToken) => {
                let found = self.inner.find(&spend.token).await?;
                for (token, (_, grant)) in successors.iter_mut().zip(found) {
                    token.scope = grant.scope.clone();
                }
            }
            Some(Bug::NarrowsTheGrant) => {
                let scope = successors[0].scope.clone();
                self.memory().narrowed.insert(spend.grant_id, scope);
            }
            Some(Bug::KeepsTheSeedOfAParent) => {
                self.memory().seeds.extend(spend.seed.clone().map(|seed| (spend.token, seed)));
            }
            _ => {}
        }
        let done = self.inner.exchange(&spend, &successors).await;
        if done.is_err() && self.has(Bug::EndsTheGrantOfAFailedExchange) {
            self.inner.revoke_grants(&GrantSelector::Id(spend.grant_id), spend.at).await?;
        }
        done
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        if self.has(Bug::RevokesTheGrantWithTheToken)
            && let Some((_, grant)) = self.inner.find(token).await?
        {
            self.inner.revoke_grants(&GrantSelector::Id(grant.id), at).await?;
        }
        self.inner.revoke_access_token(token, at).await
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        match (self.bug, which) {
            (Some(Bug::RevokesNothingBySubjectAndClient), GrantSelector::SubjectAndClient(..)) => Ok(0),
            (Some(Bug::RevokesForAnySubject), GrantSelector::SubjectAndId(_, id)) => {
                self.inner.revoke_grants(&GrantSelector::Id(*id), at).await
            }
            (Some(Bug::HidesThatARevocationFailed), _) => {
                Ok(self.inner.revoke_grants(which, at).await.unwrap_or_default())
            }
            _ => self.inner.revoke_grants(which, at).await,
        }
    }

    async fn grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        match self.bug {
            Some(Bug::ListsOnePageOnly) if page.after.is_some() => Ok(Vec::new()),
            Some(Bug::ListsWhatHasEnded) => self.inner.grants(which, now - Duration::MINUTE, page).await,
            _ => self.inner.grants(which, now, page).await,
        }
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.memory().purged = Some(before);
        match self.bug {
            Some(Bug::PurgesNothing) => Ok(0),
            Some(Bug::PurgesAMinuteEarly) => self.inner.purge_expired(before + Duration::MINUTE, limit).await,
            _ => self.inner.purge_expired(before, limit).await,
        }
    }
}

#[async_trait]
impl<S: ClientRegistry> ClientRegistry for Planted<S> {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        self.inner.register(client).await
    }

    async fn update(&self, client: Client) -> Result<(), RegistryError> {
        self.inner.update(client).await
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        let late = if self.has(Bug::OldSecretsLastForEver) { Duration::weeks(52) } else { Duration::ZERO };
        self.inner.rotate_credential(id, new, others_end + late).await
    }

    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        self.memory().removed.insert(id.clone());
        self.inner.remove(id, at).await
    }

    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        self.inner.clients(after, limit).await
    }
}
