//! A small correct storage over maps with one lock, which waits before and after its work as a database does, and the
//! bugs that can be planted in it, one at a time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::client::{ClientCredential, ClientVersion};
use grantor::record::{GrantDetails, Spent, TokenDetails, TokenKind};
use grantor::secret::TokenHash;
use grantor::storage::{
    Found, GrantPage, GrantSelector, IssuerError, Opened, RedeemOutcome, Redemption, RegistryError,
};
use grantor::{
    Client, ClientId, ClientRegistry, ClientStore, Grant, GrantId, MemoryStorage, Storage, StorageError, StoredToken,
    Subject,
};
use serde_json::Value;
use time::{Duration, OffsetDateTime};
use tokio::task::yield_now;

use crate::bugs::Bug;

#[derive(Default)]
struct State {
    grants: BTreeMap<GrantId, Grant>,
    tokens: HashMap<TokenHash, StoredToken>,
    /// Grants that are partly purged.
    begun: BTreeSet<GrantId>,
    issuer: Option<String>,
    /// One-time keys that were used by a failed request.
    used: BTreeSet<TokenHash>,
    /// The content of an outdated index.
    indexed: BTreeSet<GrantId>,
    /// Grants that a call has revoked without reaching their children yet.
    descending: BTreeSet<GrantId>,
    /// How many redemptions of a token have begun, and tokens that are not visible yet.
    wanted: HashMap<TokenHash, usize>,
    hidden: BTreeSet<TokenHash>,
    /// The last redemption: the token as it was before, its successors, and how often connections had been cut by then.
    last: Option<(StoredToken, Vec<TokenHash>, u64)>,
    /// How often connections had been cut when a token was spent.
    spent_at: HashMap<TokenHash, u64>,
}

/// Long enough for other threads to act in between, like a database round trip.
async fn others_run() {
    for _ in 0..20 {
        std::thread::yield_now();
        yield_now().await;
    }
}

/// The details of a token in a program that knows only these members.
fn known(details: &TokenDetails) -> TokenDetails {
    let mut members = serde_json::to_value(details).unwrap();
    members
        .as_object_mut()
        .unwrap()
        .retain(|name, _| ["code", "number", "requested_scope", "crit"].contains(&name.as_str()));
    serde_json::from_value(members).unwrap()
}

/// The one-time keys among tokens.
fn keys<'a>(tokens: impl IntoIterator<Item = &'a StoredToken>) -> impl Iterator<Item = &'a StoredToken> {
    tokens.into_iter().filter(|token| token.kind == TokenKind::OneTimeKey)
}

/// A handle. Clones made by [`Model::node`] are other nodes on the same storage.
pub(crate) struct Model {
    bug: Bug,
    state: Arc<tokio::sync::Mutex<State>>,
    cache: Mutex<HashMap<TokenHash, Option<Found>>>,
    clients: MemoryStorage,
    /// How often all connections were cut, and how many calls failed for this reason.
    cuts: Arc<AtomicU64>,
    pub(crate) hit: Arc<AtomicU64>,
}

impl Model {
    pub(crate) fn new(bug: Bug) -> Self {
        let (state, cuts, hit) = Default::default();
        Self { bug, state, cache: Mutex::default(), clients: MemoryStorage::new(), cuts, hit }
    }

    pub(crate) fn node(&self) -> Self {
        let (state, clients) = (Arc::clone(&self.state), self.clients.clone());
        let (cuts, hit) = (Arc::clone(&self.cuts), Arc::clone(&self.hit));
        Self { bug: self.bug, state, cache: Mutex::default(), clients, cuts, hit }
    }

    /// Cuts all connections: calls in flight fail, whether or not their work was done.
    pub(crate) fn cut(&self) {
        self.cuts.fetch_add(1, Ordering::SeqCst);
    }

    fn has(&self, bug: Bug) -> bool {
        self.bug == bug
    }

    fn since(&self, cuts: u64) -> Result<(), StorageError> {
        if self.cuts.load(Ordering::SeqCst) == cuts {
            return Ok(());
        }
        self.hit.fetch_add(1, Ordering::SeqCst);
        Err(StorageError::unavailable("the connection was cut"))
    }

    /// Runs a step: waits, works with the lock held, waits. A cut in between is an error, before or after the work.
    async fn step<T>(&self, work: impl AsyncFnOnce(&mut State) -> Result<T, StorageError>) -> Result<T, StorageError> {
        let cuts = self.cuts.load(Ordering::SeqCst);
        yield_now().await;
        // Once connections are being cut, other threads run during a call, so the cuts hit calls.
        if cuts > 0 {
            std::thread::yield_now();
        }
        let mut state = self.state.lock().await;
        self.lose(&mut state);
        self.since(cuts)?;
        let done = work(&mut state).await;
        drop(state);
        yield_now().await;
        // The answer takes long.
        if self.has(Bug::ForgetsAttemptsWhenCut) {
            others_run().await;
        }
        self.since(cuts)?;
        done
    }

    /// Drops, at the first call after a cut, the data that was only in memory.
    fn lose(&self, state: &mut State) {
        if let Some((before, successors, cuts)) = state.last.take_if(|_| self.has(Bug::LosesWhatItAnswered)) {
            if cuts == self.cuts.load(Ordering::SeqCst) {
                state.last = Some((before, successors, cuts));
                return;
            }
            state.tokens.insert(before.hash, before);
            state.tokens.retain(|hash, _| !successors.contains(hash));
        }
    }

    fn forget(&self) {
        self.cache.lock().unwrap().clear();
    }

    /// The record that is stored for a grant.
    fn kept_grant(&self, grant: &Grant) -> Grant {
        let mut grant = grant.clone();
        match self.bug {
            Bug::DropsTheTokenType => grant.details = GrantDetails::default(),
            Bug::RoundsNumbers => {
                let whole =
                    |number: &Value| number.as_f64().is_some_and(|number| number.fract() == 0.0 && number < 1e9);
                if let Some(number) = grant.host_data.as_deref().filter(|value| value.is_f64() && whole(value)) {
                    #[expect(clippy::cast_possible_truncation, reason = "that is the bug")]
                    let number = number.as_f64().map(|number| Value::from(number as i64));
                    grant.host_data = number.map(Arc::new);
                }
            }
            _ => {}
        }
        grant
    }

    fn kept_token(&self, token: &StoredToken) -> StoredToken {
        let mut token = token.clone();
        match self.bug {
            Bug::DropsDetails => token.details = TokenDetails::default(),
            Bug::FoldsUnknownKinds if matches!(token.kind, TokenKind::Unknown(_)) => {
                token.kind = TokenKind::AccessToken;
            }
            Bug::ForgetsUnknownMembers => token.details = known(&token.details),
            Bug::DropsParents if token.spent.is_some() => token.parent = None,
            Bug::RoundsTimes => token.issued_at = token.issued_at.replace_microsecond(0).unwrap(),
            _ => {}
        }
        token
    }

    /// The answer without a write, if there is one.
    fn refuse(&self, state: &State, redemption: &Redemption) -> Option<RedeemOutcome> {
        let now = if self.has(Bug::RedeemsByItsClock) { OffsetDateTime::now_utc() } else { redemption.at };
        let Some(token) = state.tokens.get(&redemption.token) else { return Some(RedeemOutcome::Dead) };
        let is_forgotten = self.has(Bug::ForgetsAttempts)
            || self.has(Bug::ForgetsAttemptsWhenCut)
                && state.spent_at.get(&token.hash).is_some_and(|cuts| *cuts != self.cuts.load(Ordering::SeqCst));
        let own = token.spent.as_ref().map(|spent| spent.attempt == redemption.attempt && !is_forgotten);
        let answer = own.map(|is_own| if is_own { RedeemOutcome::Done } else { RedeemOutcome::AlreadySpent });
        let has_not_ended = state.grants.get(&redemption.grant_id).is_some_and(|grant| now < grant.expires_at);
        if self.has(Bug::SpentBeforeRevoked) && answer.is_some() && token.kind == redemption.kind && has_not_ended {
            return answer;
        }
        let is_meant =
            token.kind == redemption.kind && token.grant_id == redemption.grant_id && token.revoked_at.is_none();
        let is_live = state.grants.get(&token.grant_id).is_some_and(|grant| grant.is_live(now));
        if !is_meant || !is_live || state.begun.contains(&token.grant_id) {
            return Some(RedeemOutcome::Dead);
        }
        answer.or_else(|| (token.expires_at <= now).then_some(RedeemOutcome::Dead))
    }

    /// All writes of a redemption except the successors.
    fn mark(&self, state: &mut State, redemption: &Redemption) {
        let mut parent = None;
        if let Some(token) = state.tokens.get_mut(&redemption.token)
            && (redemption.consume || self.has(Bug::ConsumesAlways))
        {
            let at = if self.has(Bug::SpendsByItsClock) { OffsetDateTime::now_utc() } else { redemption.at };
            token.spent = Some(Spent { at, ..redemption.spent() });
            if self.has(Bug::RewritesDetailsWhenSpent) {
                token.details = known(&token.details);
            }
            parent = token.parent.filter(|_| !self.has(Bug::ErasesSeedsLater));
        }
        let is_code =
            |hash: &TokenHash| state.tokens.get(hash).is_some_and(|token| token.kind == TokenKind::AuthorizationCode);
        match self.bug {
            Bug::KeepsSeeds => parent = parent.filter(is_code),
            Bug::KeepsSeedsOfCodes => parent = parent.filter(|parent| !is_code(parent)),
            _ => {}
        }
        if let Some(spent) = parent.and_then(|parent| state.tokens.get_mut(&parent)?.spent.as_mut()) {
            spent.seed = None;
        }
        if let Some(grant) = state.grants.get_mut(&redemption.grant_id) {
            grant.last_used_at = grant.last_used_at.max(redemption.at);
            grant.expires_at = grant.expires_at.max(redemption.grant_expires_at);
            if self.has(Bug::MovesBack) {
                grant.expires_at = redemption.grant_expires_at;
            }
        }
    }

    /// The reason why a grant is not opened, other than a failure.
    fn why_not_open(&self, state: &State, grant: &Grant, tokens: &[StoredToken]) -> Option<Opened> {
        let stored = |id| state.grants.get(&id).filter(|it| !state.begun.contains(&it.id));
        let parent = grant.parent_grant.and_then(stored);
        let consent = grant.details.consent_grant.and_then(stored);
        let has_consent = match self.bug {
            Bug::OpensWithoutConsent => consent.is_none_or(|consent| consent.revoked_at.is_none()),
            Bug::OpensOnEndedConsents => {
                grant.details.consent_grant.is_none() || consent.is_some_and(|it| it.revoked_at.is_none())
            }
            _ => grant.has_live_consent(consent),
        };
        if self.has(Bug::ChecksConsentsFirst) && !has_consent {
            return Some(Opened::ConsentDead);
        }
        let may_open = match self.bug {
            Bug::OpensOrphans => parent.is_none_or(|parent| parent.revoked_at.is_none()),
            Bug::OpensUnderEndedParents => {
                grant.parent_grant.is_none() || parent.is_some_and(|it| it.revoked_at.is_none())
            }
            _ => grant.may_open(parent),
        };
        if !may_open {
            return Some(Opened::ParentDead);
        }
        if !has_consent {
            return Some(Opened::ConsentDead);
        }
        // These bugs cause failures while the first grant is live. Later failures belong to a different clause.
        let lives = |row: &StoredToken| state.grants.get(&row.grant_id).is_some_and(|of| of.is_live(grant.opened_at));
        let is_overlooked =
            |row: &StoredToken| (self.has(Bug::FailsForUsedKeys) || self.has(Bug::ForgetsKeys)) && lives(row);
        let is_used = |key: &StoredToken| {
            state.tokens.get(&key.hash).is_some_and(|row| !is_overlooked(row)) || state.used.contains(&key.hash)
        };
        keys(tokens).any(is_used).then_some(Opened::Taken)
    }

    /// Revokes the descendants of the reached grants, in a separate step. With a bug, it uses an older list of them.
    fn revoke_descendants(
        &self,
        state: &mut State,
        mut reached: BTreeSet<GrantId>,
        listed: Option<&BTreeSet<GrantId>>,
        one_generation: bool,
        at: OffsetDateTime,
    ) -> u64 {
        let mut revoked = 0;
        loop {
            let mut found = BTreeSet::new();
            for grant in state.grants.values_mut() {
                let parent = match grant.parent_grant {
                    None if self.has(Bug::TakesConsentsForParents) => grant.details.consent_grant,
                    parent => parent,
                };
                let is_child = parent.is_some_and(|parent| reached.contains(&parent))
                    && listed.is_none_or(|listed| listed.contains(&grant.id));
                let is_beyond = self.has(Bug::RevokesOneBatchOfDescendants) && revoked == 100;
                if is_child && !is_beyond && found.insert(grant.id) && grant.revoked_at.is_none() {
                    grant.revoked_at = Some(at);
                    revoked += 1;
                }
            }
            if found.is_empty() || one_generation {
                return revoked;
            }
            reached = found;
        }
    }

    /// Assigns the storage to an issuer if its present owner allows that.
    async fn own(&self, issuer: &str, may_own: impl Fn(Option<&str>) -> bool) -> Result<(), IssuerError> {
        let owner = self
            .step(async |state| {
                if may_own(state.issuer.as_deref()) {
                    state.issuer = Some(issuer.to_owned());
                }
                Ok(state.issuer.clone())
            })
            .await?;
        let is_own = |owner: &str| {
            owner == issuer
                || self.has(Bug::FoldsIssuers) && owner.trim_end_matches('/') == issuer.trim_end_matches('/')
        };
        match owner {
            None => Err(IssuerError::Unclaimed),
            Some(owner) if is_own(&owner) => Ok(()),
            Some(owner) => Err(IssuerError::Claimed { owner: owner.into() }),
        }
    }

    fn are_free(&self, state: &State, tokens: &[StoredToken]) -> Result<(), StorageError> {
        let known: Vec<_> = tokens
            .iter()
            .filter(|token| !self.has(Bug::ForgetsKeys) || keys(&[(*token).clone()]).next().is_none())
            .cloned()
            .collect();
        let tokens = &known;
        let distinct: BTreeSet<_> = tokens.iter().map(|token| token.hash).collect();
        let is_free = tokens.iter().all(|token| !state.tokens.contains_key(&token.hash));
        if self.has(Bug::OverwritesTokens) || is_free && distinct.len() == tokens.len() {
            return Ok(());
        }
        Err(StorageError::new("a hash is taken"))
    }

    fn selects(&self, which: &GrantSelector, grant: &Grant) -> bool {
        let subject = |subject: &Subject| grant.subject.as_ref() == Some(subject);
        match which {
            GrantSelector::SubjectAndId(_, id) if self.has(Bug::IgnoresTheSubject) => grant.id == *id,
            GrantSelector::SubjectAndSession(owner, _) if self.has(Bug::IgnoresTheSession) => subject(owner),
            GrantSelector::Subject(owner) if self.has(Bug::TakesClientsForSubjects) => {
                subject(owner) || grant.subject.is_none() && grant.client_id.as_str() == owner.as_str()
            }
            GrantSelector::Subject(owner) if self.has(Bug::FoldsCase) => {
                grant.subject.as_ref().is_some_and(|subject| subject.as_str().eq_ignore_ascii_case(owner.as_str()))
            }
            _ => which.selects(grant),
        }
    }

    /// All records that are due, in the order in which they may be removed.
    fn due(&self, state: &State, before: OffsetDateTime) -> Vec<Due> {
        let end = |grant: &Grant| {
            let revoked_at = grant.revoked_at.filter(|_| !self.has(Bug::PurgesTheRevokedNever));
            revoked_at.map_or(grant.expires_at, |at| at.min(grant.expires_at))
        };
        let is_over = |end: OffsetDateTime| end < before || end == before && !self.has(Bug::PurgesOnlyWhatEndedBefore);
        let mut due = Vec::new();
        let is_good = |key: &&StoredToken| before < key.expires_at && !self.has(Bug::PurgesKeysWithTheirGrants);
        let kept: BTreeSet<_> = keys(state.tokens.values()).filter(is_good).map(|key| key.grant_id).collect();
        let is_over_and_out = |grant: &Grant| is_over(end(grant)) && !kept.contains(&grant.id);
        for token in state.tokens.values() {
            let is_dead = state.grants.get(&token.grant_id).is_none_or(is_over_and_out);
            let may_go = match (&token.spent, &token.kind) {
                (Some(_), _) => self.has(Bug::PurgesSpent),
                (None, TokenKind::AccessToken) => true,
                (None, _) => self.has(Bug::PurgesUnusedRefreshTokens),
            };
            let has_seed = token.spent.as_ref().is_some_and(|spent| {
                let until = if self.has(Bug::PurgesSeedsByAConstant) {
                    Some(spent.at + Duration::MINUTE)
                } else {
                    spent.seed_until
                };
                spent.seed.is_some() && until <= Some(before) && !self.has(Bug::PurgesSeedsNever)
            });
            if is_dead || may_go && is_over(token.expires_at) {
                due.push(Due::Token(token.hash, is_dead.then_some(token.grant_id)));
            } else if has_seed {
                due.push(Due::Seed(token.hash));
            }
        }
        due.extend(state.grants.values().filter(|grant| is_over_and_out(grant)).map(|grant| Due::Grant(grant.id)));
        due
    }

    fn purge(&self, state: &mut State, before: OffsetDateTime, limit: usize) -> usize {
        // A cancelled revocation is completed before its parent is removed.
        let is_due = |grant: &Grant| match self.bug {
            Bug::PurgesParentsFirst => false,
            Bug::PurgesChildrenToo => grant.ends_at() <= before,
            _ => grant.revoked_at.is_some_and(|at| at <= before),
        };
        let parents: BTreeSet<_> = state.grants.values().filter(|grant| is_due(grant)).map(|grant| grant.id).collect();
        self.revoke_descendants(state, parents, None, self.has(Bug::PurgesBareChildrenFirst), before);
        let due = self.due(state, before);
        let most = if self.has(Bug::PurgesMoreThanItMay) && limit > 0 { usize::MAX } else { limit };
        for what in due.iter().take(most) {
            match what {
                Due::Token(hash, of) => {
                    state.tokens.remove(hash);
                    state.used.remove(hash);
                    if !self.has(Bug::PurgesInPartAndForgets) {
                        state.begun.extend(*of);
                    }
                }
                Due::Seed(hash) => {
                    if let Some(spent) = state.tokens.get_mut(hash).and_then(|token| token.spent.as_mut()) {
                        spent.seed = None;
                    }
                }
                Due::Grant(id) => {
                    state.grants.remove(id);
                    state.begun.remove(id);
                }
            }
        }
        due.len().min(limit)
    }

    /// A redemption with the lock held. `before` is its grant as a storage with a separate read saw it.
    async fn redeem_at_once(
        &self,
        state: &mut State,
        redemption: &Redemption,
        successors: &[StoredToken],
        before: Option<Grant>,
    ) -> Result<RedeemOutcome, StorageError> {
        let revoked_at = state.grants.get(&redemption.grant_id).and_then(|grant| grant.revoked_at);
        if let (Some(grant), Some(before), true) =
            (state.grants.get_mut(&redemption.grant_id), &before, self.has(Bug::WritesTheGrantBack))
        {
            grant.revoked_at = before.revoked_at;
        }
        let refused = match self.bug {
            // The call has already decided. Only this check is not atomic: rows that were purged meanwhile stay purged.
            Bug::ChecksThenActs => {
                let is_there =
                    state.grants.contains_key(&redemption.grant_id) && !state.begun.contains(&redemption.grant_id);
                (!is_there).then_some(RedeemOutcome::Dead)
            }
            // The call has already looked for its own attempt, so an attempt that appears now belongs to another call.
            Bug::LooksForTheAttemptFirst => match self.refuse(state, redemption) {
                Some(RedeemOutcome::Done) => Some(RedeemOutcome::AlreadySpent),
                other => other,
            },
            _ => self.refuse(state, redemption),
        };
        if let Some(answer) = refused {
            if let Some(grant) = state.grants.get_mut(&redemption.grant_id) {
                grant.revoked_at = revoked_at;
                if self.has(Bug::MovesTheGrantWhenItIsLate) && answer == RedeemOutcome::AlreadySpent {
                    grant.last_used_at = grant.last_used_at.max(redemption.at);
                }
            }
            return Ok(answer);
        }
        // Of two parallel uses, the later use finds a changed version of the grant when it writes. It stops without an
        // error.
        let last_used_at = state.grants.get(&redemption.grant_id).map(|grant| grant.last_used_at);
        if self.has(Bug::LosesAUse) && before.is_some_and(|before| Some(before.last_used_at) != last_used_at) {
            return Ok(RedeemOutcome::Done);
        }
        if !self.has(Bug::ChecksThenActs) {
            self.are_free(state, successors)?;
        }
        if self.has(Bug::SpendsThenStores) {
            self.mark(state, redemption);
            yield_now().await;
        }
        let cuts = self.cuts.load(Ordering::SeqCst);
        if self.has(Bug::LeavesHalfWhenCut) {
            others_run().await;
            if self.since(cuts).is_err() {
                self.mark(state, redemption);
                self.since(cuts)?;
            }
        }
        state.spent_at.insert(redemption.token, cuts);
        // The bug applies only within a chain, so exactly one case finds it.
        let chained = state.tokens.get(&redemption.token).filter(|token| token.parent.is_some()).cloned();
        state.last = chained.map(|token| (token, successors.iter().map(|token| token.hash).collect(), cuts));
        self.mark(state, redemption);
        for successor in successors {
            state.tokens.insert(successor.hash, self.kept_token(successor));
        }
        if self.has(Bug::ShowsLosersAnOldSnapshot) && state.wanted.get(&redemption.token) > Some(&1) {
            state.hidden.extend(successors.iter().map(|token| token.hash));
        }
        Ok(RedeemOutcome::Done)
    }
}

enum Due {
    Token(TokenHash, Option<GrantId>),
    Seed(TokenHash),
    Grant(GrantId),
}

#[async_trait]
impl Storage for Model {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        self.forget();
        // A storage with this bug reads first and stores later.
        let mut seen = None;
        let looks_first = match self.bug {
            Bug::LooksAtTheParentFirst => grant.parent_grant.is_some(),
            Bug::LooksAtTheConsentFirst => grant.details.consent_grant.is_some(),
            Bug::LooksForKeysFirst => keys(tokens).next().is_some(),
            _ => false,
        };
        if looks_first {
            seen = self.step(async |state| Ok(self.why_not_open(state, grant, tokens))).await?;
            if let Some(refused) = seen {
                return Ok(refused);
            }
            others_run().await;
        }
        self.step(async |state| {
            let refused = if looks_first { seen } else { self.why_not_open(state, grant, tokens) };
            if let Some(refused) = refused {
                if self.has(Bug::UsesKeysInVain) {
                    state.used.extend(keys(tokens).map(|key| key.hash));
                }
                return Ok(refused);
            }
            if !self.has(Bug::OverwritesAGrant) && state.grants.contains_key(&grant.id) {
                return Err(StorageError::new("the identifier of the grant is taken"));
            }
            // Each insert is a separate transaction, and the first one that fails ends the loop.
            if self.has(Bug::OpensWithoutATransaction) {
                state.grants.insert(grant.id, (**grant).clone());
                for token in tokens {
                    self.are_free(state, std::slice::from_ref(token))?;
                    state.tokens.insert(token.hash, token.clone());
                }
                return Ok(Opened::Done);
            }
            if self.has(Bug::UsesKeysInVain) {
                state.used.extend(keys(tokens).map(|key| key.hash));
            }
            self.are_free(state, tokens)?;
            state.grants.insert(grant.id, self.kept_grant(grant));
            for token in tokens {
                state.tokens.insert(token.hash, self.kept_token(token));
                if self.has(Bug::OpensInTwoSteps) {
                    yield_now().await;
                }
            }
            Ok(Opened::Done)
        })
        .await
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        if let Some(found) = self.cache.lock().unwrap().get(token) {
            return Ok(found.clone());
        }
        let found = self
            .step(async |state| {
                let row = state.tokens.get(token).filter(|row| !state.hidden.contains(&row.hash));
                let row = row.filter(|row| {
                    !self.has(Bug::ForgetsByItsClock)
                        || row.expires_at > OffsetDateTime::now_utc()
                        || row.spent.is_some()
                });
                let grant = row.and_then(|row| state.grants.get(&row.grant_id));
                let is_there = grant.is_some_and(|grant| !state.begun.contains(&grant.id));
                Ok(row
                    .zip(grant)
                    .filter(|_| is_there)
                    .map(|(row, of)| Found::new(Arc::new(row.clone()), Arc::new(of.clone()))))
            })
            .await?;
        let is_cached = match &found {
            Some(_) => self.has(Bug::CachesFinds),
            None => self.has(Bug::RemembersAbsence),
        };
        if is_cached {
            self.cache.lock().unwrap().insert(*token, found.clone());
        }
        Ok(found)
    }

    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError> {
        self.forget();
        let mut before = None;
        let reads_first = match self.bug {
            Bug::ChecksThenActs
            | Bug::WritesTheGrantBack
            | Bug::LooksForTheAttemptFirst
            | Bug::ShowsLosersAnOldSnapshot => true,
            Bug::LosesAUse => !redemption.consume,
            _ => false,
        };
        if reads_first {
            let refused = self
                .step(async |state| {
                    *state.wanted.entry(redemption.token).or_default() += 1;
                    before = state.grants.get(&redemption.grant_id).cloned();
                    let refused = self.refuse(state, redemption);
                    if self.has(Bug::ChecksThenActs) && refused.is_none() {
                        self.are_free(state, successors)?;
                    }
                    Ok(refused)
                })
                .await?;
            if let (Some(answer), Bug::ChecksThenActs | Bug::LooksForTheAttemptFirst) = (refused, self.bug) {
                return Ok(answer);
            }
            others_run().await;
        }
        let answer = self.step(async |state| self.redeem_at_once(state, redemption, successors, before).await).await?;
        if self.has(Bug::ErasesSeedsLater) && answer == RedeemOutcome::Done && redemption.consume {
            others_run().await;
            self.step(async |state| {
                let parent = state.tokens.get(&redemption.token).and_then(|token| token.parent);
                if let Some(spent) = parent.and_then(|parent| state.tokens.get_mut(&parent)?.spent.as_mut()) {
                    spent.seed = None;
                }
                Ok(())
            })
            .await?;
        }
        if self.has(Bug::ShowsLosersAnOldSnapshot) && answer == RedeemOutcome::Done {
            others_run().await;
            self.step(async |state| {
                state.hidden.retain(|hash| !successors.iter().any(|token| token.hash == *hash));
                Ok(())
            })
            .await?;
        }
        Ok(answer)
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.forget();
        self.step(async |state| {
            if let Some(row) = state.tokens.get_mut(token)
                && (row.kind == TokenKind::AccessToken || self.has(Bug::RevokesAnyToken))
            {
                row.revoked_at.get_or_insert(at);
            }
            Ok(())
        })
        .await
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        self.forget();
        // A storage with this bug reads the rows first and writes them later.
        let mut read = None;
        if matches!(self.bug, Bug::RevokesByAnOldList | Bug::RevokesByWholeRows | Bug::SelectsOnce) {
            let is_left = |grant: &Grant| which.selects(grant) && grant.revoked_at.is_none();
            let rows = self.step(async |state| {
                let left = state.grants.iter().filter(|(_, grant)| is_left(grant));
                Ok(left.map(|(id, grant)| (*id, grant.clone())).collect::<BTreeMap<_, _>>())
            });
            read = Some(rows.await?);
            others_run().await;
        }
        // A storage with this bug lists the whole family before it marks any grant.
        let mut old = None;
        if self.has(Bug::DescendsByAnOldList) {
            old = Some(self.step(async |state| Ok(state.grants.keys().copied().collect::<BTreeSet<_>>())).await?);
            others_run().await;
        }
        let (revoked, reached) = self
            .step(async |state| {
                let mut indexed = None;
                if self.has(Bug::RevokesWithAnOldIndex) {
                    let old = std::mem::replace(&mut state.indexed, state.grants.keys().copied().collect());
                    indexed = Some(old).filter(|_| matches!(which, GrantSelector::Subject(_)));
                }
                let (mut revoked, mut reached) = (0, BTreeSet::new());
                for (id, grant) in &mut state.grants {
                    let is_known = read.as_ref().is_none_or(|read| read.contains_key(id))
                        && indexed.as_ref().is_none_or(|indexed| indexed.contains(id));
                    let is_left = match self.bug {
                        Bug::RevokesAgain | Bug::RevokesByAnOldList => true,
                        Bug::RevokesOnlyWhatLives => grant.is_live(at),
                        _ => grant.revoked_at.is_none(),
                    };
                    let is_selected = is_known && self.selects(which, grant);
                    let is_left_out = self.has(Bug::DescendsFromTheLivingOnly)
                        || self.has(Bug::LeavesTheRestToAnother) && state.descending.contains(id);
                    if is_selected && (is_left || !is_left_out) {
                        reached.insert(*id);
                        state.descending.insert(*id);
                    }
                    if is_selected && is_left {
                        if let (Bug::RevokesByWholeRows, Some(row)) =
                            (self.bug, read.as_ref().and_then(|it| it.get(id)))
                        {
                            *grant = row.clone();
                        }
                        grant.revoked_at = Some(at);
                        revoked += 1;
                    }
                }
                Ok((revoked, reached))
            })
            .await?;
        if self.has(Bug::RevokesNoChildren) || reached.is_empty() {
            return Ok(revoked);
        }
        if self.has(Bug::LeavesTheRestToAnother) {
            // Other calls must reach the mark in between, even on a busy machine.
            for _ in 0..50 {
                others_run().await;
            }
        }
        let descend = async |state: &mut State| {
            state.descending.retain(|id| !reached.contains(id));
            let one_generation = self.has(Bug::RevokesOneGeneration);
            Ok(self.revoke_descendants(state, reached, old.as_ref(), one_generation, at))
        };
        Ok(revoked + self.step(descend).await?)
    }

    async fn list_grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        let now = if self.has(Bug::ListsByItsClock) { OffsetDateTime::now_utc() } else { now };
        self.step(async |state| {
            let mut all: Vec<_> = state.grants.values().filter(|grant| which.selects(grant)).collect();
            all.sort_by_key(|grant| std::cmp::Reverse((grant.opened_at, grant.id)));
            if self.has(Bug::ListsOldestFirst) {
                all.reverse();
            }
            let comes_later = |grant: &Grant| match page.after {
                None => true,
                Some(after) if self.has(Bug::ListsOldestFirst) => (grant.opened_at, grant.id) > after,
                Some(after) if self.has(Bug::SkipsEqualTimes) => grant.opened_at < after.0,
                Some(after) => (grant.opened_at, grant.id) < after,
            };
            let is_live = |grant: &Grant| grant.is_live(now) && !state.begun.contains(&grant.id);
            let rest = all.into_iter().filter(|grant| comes_later(grant));
            let listed: Vec<_> = if self.has(Bug::FiltersAfterTheLimit) {
                rest.take(page.limit).filter(|grant| is_live(grant)).collect()
            } else {
                rest.filter(|grant| is_live(grant)).take(page.limit).collect()
            };
            Ok(listed.into_iter().map(|grant| Arc::new(grant.clone())).collect())
        })
        .await
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.forget();
        if self.has(Bug::CanNotPurge) {
            return Err(StorageError::new("a row has no end"));
        }
        assert!(!self.has(Bug::PanicsInAPurge), "a row that is not there");
        self.step(async |state| Ok(self.purge(state, before, limit))).await
    }

    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError> {
        if self.has(Bug::ClaimsByALook) {
            let owner = self.step(async |state| Ok(state.issuer.clone())).await?;
            others_run().await;
            if owner.is_none() {
                self.step(async |state| {
                    state.issuer = Some(issuer.to_owned());
                    Ok(())
                })
                .await?;
                return Ok(());
            }
        }
        let may_own = |owner: Option<&str>| owner.is_none() || self.has(Bug::ClaimsAnew);
        self.own(issuer, may_own).await
    }

    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError> {
        let may_own = |owner: Option<&str>| owner.is_some_and(|owner| owner == from || self.has(Bug::MovesFromAnyone));
        self.own(to, may_own).await
    }
}

#[async_trait]
impl ClientStore for Model {
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        self.clients.find_client(id).await
    }
}

impl Model {
    /// Updates from any stored version.
    async fn update_blindly(&self, client: Client) -> Result<(), RegistryError> {
        loop {
            let found = self.find_client(client.id().as_str()).await?.ok_or(RegistryError::Unknown)?;
            match self.clients.update(client.clone(), found.version()).await {
                Err(RegistryError::Conflict) => {}
                done => return done,
            }
        }
    }
}

#[async_trait]
impl ClientRegistry for Model {
    async fn register(&self, client: Client) -> Result<(), RegistryError> {
        if self.has(Bug::RegistersTwice)
            && let Some(old) = self.find_client(client.id().as_str()).await?
        {
            return self.clients.update(client, old.version()).await;
        }
        self.clients.register(client).await
    }

    async fn update(&self, client: Client, expected: ClientVersion) -> Result<(), RegistryError> {
        if self.has(Bug::ChangesNewerClients) && self.find_client(client.id().as_str()).await?.is_some() {
            self.clients.remove(client.id(), OffsetDateTime::UNIX_EPOCH).await?;
            return self.clients.register(client).await;
        }
        if self.has(Bug::UpdatesWithoutALock) {
            let found = self.find_client(client.id().as_str()).await?.ok_or(RegistryError::Unknown)?;
            if found.version() == expected {
                others_run().await;
                return self.update_blindly(client).await;
            }
        }
        if self.has(Bug::UpdatesFromAnyVersion) {
            return self.update_blindly(client).await;
        }
        self.clients.update(client, expected).await
    }

    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError> {
        if !self.has(Bug::RotatesWithoutALock) {
            return self.clients.rotate_credential(id, new, others_end).await;
        }
        let client = self.find_client(id.as_str()).await?.ok_or(RegistryError::Unknown)?;
        others_run().await;
        let mut parts = (*client).clone().into_parts();
        parts.rotate_credential(new, others_end);
        self.update_blindly(Client::from_parts(parts)?).await
    }

    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError> {
        self.clients.remove(id, at).await?;
        if !self.has(Bug::KeepsGrantsOfRemovedClients) {
            self.revoke_grants(&GrantSelector::Client(id.clone()), at).await?;
        }
        Ok(())
    }

    async fn list_clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError> {
        self.clients.list_clients(after, limit).await
    }
}
