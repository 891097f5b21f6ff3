//! Bugs that a wrapper adds to a storage.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};

use async_trait::async_trait;
use grantor::record::TokenKind;
use grantor::secret::{Seed, TokenHash};
use grantor::storage::{Found, GrantSelector, StorageError};
use grantor::testing::{Call, Intercepted, Interceptor, Next, Reply};
use grantor::{ClientId, GrantId, Scope};
use time::{Duration, OffsetDateTime};

/// The bug of a storage.
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
    EndsTheGrantOfAFailedRedemption,
}

impl Bug {
    /// Whether the bug is in the layer between a failing storage and the server.
    pub(crate) const fn is_about_failures(self) -> bool {
        matches!(self, Self::HidesThatARevocationFailed | Self::EndsTheGrantOfAFailedRedemption)
    }
}

/// Wraps a storage and plants a bug in it, or none.
pub(crate) fn planted<S>(inner: S, bug: Option<Bug>) -> Intercepted<S> {
    Intercepted::new(inner, Planted { bug, memory: Mutex::default() })
}

struct Planted {
    bug: Option<Bug>,
    memory: Mutex<Memory>,
}

/// The memory of a bug.
#[derive(Debug, Default)]
struct Memory {
    narrowed: HashMap<GrantId, Scope>,
    seeds: HashMap<TokenHash, Seed>,
    purged: Option<OffsetDateTime>,
    removed: HashSet<ClientId>,
}

async fn find(next: Next<'_>, token: &TokenHash) -> Result<Option<Found>, StorageError> {
    let Reply::Found(found) = next.run(Call::Find(token)).await? else { unreachable!("`find` finds") };
    Ok(found)
}

impl Planted {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap()
    }

    /// The token and its grant as a caller sees them with this bug.
    fn seen(&self, bug: Bug, Found { mut token, mut grant, .. }: Found) -> Option<Found> {
        let memory = self.memory();
        match bug {
            Bug::FindsRevokedTokensLive => Arc::make_mut(&mut token).revoked_at = None,
            Bug::FindsRevokedGrantsLive => Arc::make_mut(&mut grant).revoked_at = None,
            Bug::RemovesOnlyTheClient if memory.removed.contains(&grant.client_id) => {
                Arc::make_mut(&mut grant).revoked_at = None;
            }
            Bug::NarrowsTheGrant => {
                if let Some(scope) = memory.narrowed.get(&grant.id) {
                    Arc::make_mut(&mut grant).scope = scope.clone();
                }
            }
            Bug::PurgesEvidence if token.spent.is_some() && memory.purged.is_some_and(|at| token.expires_at <= at) => {
                return None;
            }
            _ => {}
        }
        let hash = token.hash;
        if let Some(spent) = &mut Arc::make_mut(&mut token).spent {
            if bug == Bug::KeepsTheSeedOfAParent {
                spent.seed = memory.seeds.get(&hash).cloned();
            }
            if bug == Bug::PurgesSeedsAtOnce && memory.purged.is_some_and(|at| spent.at <= at) {
                spent.seed = None;
            }
        }
        Some(Found::new(token, grant))
    }
}

#[async_trait]
impl Interceptor for Planted {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        let Some(bug) = self.bug else { return next.run(call).await };
        match (bug, call) {
            (Bug::ForgetsTheSubject, Call::OpenGrant { grant, tokens }) => {
                let mut grant = Arc::clone(grant);
                Arc::make_mut(&mut grant).subject = None;
                next.run(Call::OpenGrant { grant: &grant, tokens }).await
            }
            (_, Call::Find(token)) => {
                Ok(Reply::Found(find(next, token).await?.and_then(|found| self.seen(bug, found))))
            }
            (_, Call::Redeem { redemption, successors }) => {
                let (mut redemption, mut successors) = (redemption.clone(), successors.to_vec());
                match bug {
                    Bug::DoesNotSpend => redemption.consume = false,
                    Bug::PanicsAtARefresh => assert_ne!(redemption.kind, TokenKind::RefreshToken),
                    Bug::ConsumesAlways => redemption.consume = true,
                    Bug::KeepsNoSeed => redemption.seed = None,
                    Bug::DoesNotMoveTheEnd => redemption.grant_expires_at = redemption.at,
                    Bug::LosesTheRefreshToken => successors.retain(|token| token.kind != TokenKind::RefreshToken),
                    Bug::WidensTheAccessToken => {
                        let found = find(next, &redemption.token).await?;
                        for (token, found) in successors.iter_mut().zip(found) {
                            token.scope = found.grant.scope.clone();
                        }
                    }
                    Bug::NarrowsTheGrant => {
                        let scope = successors[0].scope.clone();
                        self.memory().narrowed.insert(redemption.grant_id, scope);
                    }
                    Bug::KeepsTheSeedOfAParent => {
                        self.memory().seeds.extend(redemption.seed.clone().map(|seed| (redemption.token, seed)));
                    }
                    _ => {}
                }
                let done = next.run(Call::Redeem { redemption: &redemption, successors: &successors }).await;
                if done.is_err() && bug == Bug::EndsTheGrantOfAFailedRedemption {
                    let which = GrantSelector::Id(redemption.grant_id);
                    next.run(Call::RevokeGrants { which: &which, at: redemption.at }).await?;
                }
                done
            }
            (Bug::RevokesTheGrantWithTheToken, Call::RevokeAccessToken { token, at }) => {
                if let Some(found) = find(next, token).await? {
                    next.run(Call::RevokeGrants { which: &GrantSelector::Id(found.grant.id), at }).await?;
                }
                next.run(call).await
            }
            (
                Bug::RevokesNothingBySubjectAndClient,
                Call::RevokeGrants { which: GrantSelector::SubjectAndClient(..), .. },
            ) => Ok(Reply::Revoked(0)),
            (Bug::RevokesForAnySubject, Call::RevokeGrants { which: GrantSelector::SubjectAndId(_, id), at }) => {
                next.run(Call::RevokeGrants { which: &GrantSelector::Id(*id), at }).await
            }
            (Bug::HidesThatARevocationFailed, Call::RevokeGrants { .. }) => {
                Ok(next.run(call).await.unwrap_or(Reply::Revoked(0)))
            }
            (Bug::ListsOnePageOnly, Call::ListGrants { page, .. }) if page.after.is_some() => {
                Ok(Reply::Grants(Vec::new()))
            }
            (Bug::ListsWhatHasEnded, Call::ListGrants { which, now, page }) => {
                next.run(Call::ListGrants { which, now: now - Duration::MINUTE, page }).await
            }
            (_, Call::PurgeExpired { before, limit }) => {
                self.memory().purged = Some(before);
                match bug {
                    Bug::PurgesNothing => Ok(Reply::Purged(0)),
                    Bug::PurgesAMinuteEarly => {
                        next.run(Call::PurgeExpired { before: before + Duration::MINUTE, limit }).await
                    }
                    _ => next.run(call).await,
                }
            }
            (Bug::OldSecretsLastForEver, Call::RotateCredential { id, new, others_end }) => {
                next.run(Call::RotateCredential { id, new, others_end: others_end + Duration::weeks(52) }).await
            }
            (_, Call::Remove { id, .. }) => {
                self.memory().removed.insert(id.clone());
                next.run(call).await
            }
            _ => next.run(call).await,
        }
    }
}
