//! Issuing tokens: the only place where they are minted, and where a decision becomes records.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::client::Client;
use crate::error::{Error, Refusal};
use crate::grants::{ExchangeToken, OpenGrant, RepeatRefresh, ResponseMembers};
use crate::host::Host;
use crate::lookup::{Presented, lookup};
use crate::mac::KeyedMac;
use crate::policy::{EffectiveLifetimes, RefreshTokens};
use crate::record::{AttemptId, CodeBinding, Grant, GrantId, GrantType, StoredToken, TokenDetails, TokenKind};
use crate::scope::Scope;
use crate::secret::{AccessToken, AuthorizationCode, RefreshToken, Secret, Seed, Token, TokenHash};
use crate::storage::{Exchange, GrantSelector, Spend};
use crate::wipe::Wiped;

/// Tokens that were issued and stored.
pub(crate) struct Issued {
    pub(crate) access_token: AccessToken,
    pub(crate) token_type: Cow<'static, str>,
    pub(crate) expires_in: Duration,
    pub(crate) refresh_token: Option<RefreshToken>,
    pub(crate) scope: Scope,
    pub(crate) extra: Map<String, Value>,
    pub(crate) grant: Arc<Grant>,
}

impl fmt::Debug for Issued {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issued").field("grant", &self.grant).field("scope", &self.scope).finish_non_exhaustive()
    }
}

/// The rows that a step stores: an access token's, and a refresh token's if there is one.
#[expect(
    clippy::large_enum_variant,
    reason = "a box would be an allocation more, and the larger one is what usually is needed"
)]
enum Rows {
    Access([StoredToken; 1]),
    Both([StoredToken; 2]),
}

impl Rows {
    fn new(access: StoredToken, refresh: Option<StoredToken>) -> Self {
        match refresh {
            None => Self::Access([access]),
            Some(refresh) => Self::Both([access, refresh]),
        }
    }

    const fn as_slice(&self) -> &[StoredToken] {
        match self {
            Self::Access(rows) => rows,
            Self::Both(rows) => rows,
        }
    }
}

/// Opens a grant with its first access token, and a refresh token if there is to be one.
pub(crate) async fn open_grant(
    host: &Host,
    client: &Client,
    grant_type: &GrantType,
    order: OpenGrant,
    now: OffsetDateTime,
) -> Result<Issued, Error> {
    let (rows, issued) = first_tokens(host, client, grant_type, order, now)?;
    host.storage.open_grant(&issued.grant, rows.as_slice()).await?;
    Ok(issued)
}

/// All that can be done before a storage is waited for, so that the future that waits holds no more than it has to.
fn first_tokens(
    host: &Host,
    client: &Client,
    grant_type: &GrantType,
    order: OpenGrant,
    now: OffsetDateTime,
) -> Result<(Rows, Issued), Error> {
    if !order.scope.is_subset(host.scopes.all()) {
        return Err(Error::Extension("a grant handler granted a scope that the server does not offer"));
    }
    let lifetimes = lifetimes(host, client, &order.members)?;
    let ends = Ends::new(&lifetimes, host.policy.rotates(client), now, now);
    let refreshes = order.refreshable && may_refresh(host, client, &order.scope);
    let random = host.random::<80>()?;
    let (id, tokens) = random.split_at(16);
    let id = GrantId::from_bytes(*array(id));
    let access_token = AccessToken::from_bytes(&array(&tokens[..32]));
    let refresh_token = refreshes.then(|| RefreshToken::from_bytes(&array(&tokens[32..])));

    let access = record(&access_token, id, &order.scope, now, ends.access);
    let refresh = refresh_token.as_ref().map(|token| record(token, id, &order.scope, now, ends.refresh));
    let (grant, members) = order.into_grant(id, client, grant_type, now, ends.grant(refreshes));
    let issued = issued(access_token, refresh_token, ends.access - now, grant.scope.clone(), members, grant);
    Ok((Rows::new(access, refresh), issued))
}

/// Opens a grant that so far has only a code.
pub(crate) async fn open_grant_with_code(
    host: &Host,
    client: &Client,
    grant_type: &GrantType,
    order: OpenGrant,
    binding: CodeBinding,
    now: OffsetDateTime,
) -> Result<(AuthorizationCode, Arc<Grant>), Error> {
    let random = host.random::<48>()?;
    let (id, code) = random.split_at(16);
    let id = GrantId::from_bytes(*array(id));
    let code = AuthorizationCode::from_bytes(&array(code));
    let expires_at = now.saturating_add(host.policy.lifetimes(client).code);
    let mut token = record(&code, id, &order.scope, now, expires_at);
    token.details.code = Some(binding);
    let (grant, _) = order.into_grant(id, client, grant_type, now, expires_at);
    host.storage.open_grant(&grant, std::slice::from_ref(&token)).await?;
    Ok((code, grant))
}

/// Spends a token for its successors; `None` if somebody else was faster.
pub(crate) async fn exchange(
    host: &Host,
    client: &Client,
    order: ExchangeToken,
    now: OffsetDateTime,
) -> Result<Option<Issued>, Error> {
    let (spend, rows, issued) = successors(host, client, order, now)?;
    match host.storage.exchange(&spend, rows.as_slice()).await? {
        Exchange::Done => Ok(Some(issued)),
        Exchange::AlreadySpent => Ok(None),
        Exchange::Dead => Err(Refusal::GrantEnded.into()),
    }
}

/// As [`first_tokens`] for tokens that follow another.
fn successors(
    host: &Host,
    client: &Client,
    order: ExchangeToken,
    now: OffsetDateTime,
) -> Result<(Spend, Rows, Issued), Error> {
    let ExchangeToken { presented, kind, plain, grant, scope, members } = order;
    if members.token_type.as_deref().is_some_and(|own| !own.eq_ignore_ascii_case(grant.token_type())) {
        return Err(Error::Extension("a grant handler gave a token another type than its grant has"));
    }
    let lifetimes = lifetimes(host, client, &members)?;
    let rotates = host.policy.rotates(client);
    let ends = Ends::new(&lifetimes, rotates, grant.opened_at, now);
    if !is_worth_having(ends.access, now) {
        return Err(Refusal::ExpiredToken.into());
    }
    let scope = scope.intersection(&grant.scope).ok_or(Refusal::ScopeExceedsGrant)?;
    let is_refresh = kind == TokenKind::RefreshToken;
    let consume = !is_refresh || rotates;
    let refreshes = consume && may_refresh(host, client, &grant.scope);

    let random = host.random::<80>()?;
    let attempt = AttemptId::from_bytes(*array(&random[..16]));
    let has_window = is_refresh && consume && lifetimes.refresh_grace.is_positive();
    let seed = has_window.then(|| Seed::from_bytes(*array(&random[16..48])));
    let (access_token, refresh_token) = match &seed {
        Some(seed) => derive(seed, plain.expose()),
        None => (Secret::from_bytes(&array(&random[16..48])), Secret::from_bytes(&array(&random[48..]))),
    };
    let mut access = record(&access_token, grant.id, &scope, now, ends.access);
    access.parent = Some(presented);
    let refresh = refreshes.then(|| {
        let mut refresh = record(&refresh_token, grant.id, &grant.scope, now, ends.refresh);
        refresh.parent = Some(presented);
        refresh
    });
    let spend = Spend {
        token: presented,
        kind,
        grant_id: grant.id,
        attempt,
        at: now,
        consume,
        seed,
        // A refresh token that is not consumed can be used again.
        grant_expires_at: ends.grant(refreshes || !consume).max(grant.expires_at),
    };
    let refresh_token = refreshes.then_some(refresh_token);
    let issued = issued(access_token, refresh_token, ends.access - now, scope, members, grant);
    Ok((spend, Rows::new(access, refresh), issued))
}

/// Derives the successors of a spent refresh token again and answers from their own records; nothing is written and no
/// lifetime extended.
pub(crate) async fn repeat(host: &Host, order: RepeatRefresh, now: OffsetDateTime) -> Result<Issued, Error> {
    let seed = order.presented.spent().and_then(|spent| spent.seed.as_ref()).ok_or(Refusal::RetryRefused)?;
    let presented = order.presented.secret().ok_or(Refusal::RetryRefused)?;
    let (access_token, refresh_token) = derive(seed, presented.expose());
    let access = live_successor(host, access_token, now).await?;
    if access.token().scope != order.scope || !is_worth_having(access.token().expires_at, now) {
        return Err(Refusal::RetryRefused.into());
    }
    let refresh = live_successor(host, refresh_token, now).await?;
    if refresh.spent().is_some() {
        return Err(Refusal::RetryRefused.into());
    }
    let ((Some(access_token), token, grant), (Some(refresh_token), ..)) = (access.into_parts(), refresh.into_parts())
    else {
        return Err(Refusal::RetryRefused.into());
    };
    let members = ResponseMembers::default();
    Ok(issued(access_token, Some(refresh_token), token.expires_at - now, token.scope.clone(), members, grant))
}

/// A lifetime is told in whole seconds: a token that has less than one left would be announced as expired.
fn is_worth_having(expires_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    expires_at - now >= Duration::SECOND
}

async fn live_successor<K: Token>(host: &Host, token: Secret<K>, now: OffsetDateTime) -> Result<Presented<K>, Error> {
    let found = lookup(host, token).await?.ok_or(Refusal::RetryRefused)?;
    found
        .must_have_a_live_grant(now)
        .and_then(|()| found.must_not_be_expired(now))
        .map_err(|_| Refusal::RetryRefused)?;
    Ok(found)
}

/// Ends a grant and with it every token of it.
pub(crate) async fn revoke_grant(host: &Host, grant: &Grant, now: OffsetDateTime) -> Result<(), Error> {
    host.storage.revoke_grants(&GrantSelector::Id(grant.id), now).await?;
    Ok(())
}

/// Whether a client gets refresh tokens for a grant of this scope (RFC 9700 §4.14.2).
pub(crate) fn may_refresh(host: &Host, client: &Client, granted: &Scope) -> bool {
    let policy_agrees = match host.policy.refresh_tokens {
        RefreshTokens::Always => true,
        RefreshTokens::OfflineAccess => granted.contains("offline_access"),
        RefreshTokens::Never => false,
    };
    policy_agrees && client.allows_grant_type(GrantType::REFRESH_TOKEN)
}

fn lifetimes(host: &Host, client: &Client, members: &ResponseMembers) -> Result<EffectiveLifetimes, Error> {
    let mut lifetimes = host.policy.lifetimes(client);
    if let Some(access_token) = members.access_token_lifetime {
        if access_token < Duration::SECOND {
            return Err(Error::Extension("a grant handler set an access token lifetime below one second"));
        }
        lifetimes.access_token = access_token;
    }
    Ok(lifetimes)
}

/// When what is issued now ends.
struct Ends {
    access: OffsetDateTime,
    refresh: OffsetDateTime,
    idle: OffsetDateTime,
}

impl Ends {
    /// However often it is used, nothing outlives the absolute lifetime of its grant. A refresh token that is replaced at each
    /// use ends when it was idle for too long; one that stays lasts as long as its grant, which ends when it was idle.
    fn new(lifetimes: &EffectiveLifetimes, rotates: bool, opened_at: OffsetDateTime, now: OffsetDateTime) -> Self {
        let absolute = opened_at.saturating_add(lifetimes.refresh_token_absolute);
        let idle = now.saturating_add(lifetimes.refresh_token_idle).min(absolute);
        let access = now.saturating_add(lifetimes.access_token).min(absolute);
        Self { access, refresh: if rotates { idle } else { absolute }, idle }
    }

    /// A grant ends with the last token of it that can be used.
    fn grant(&self, refreshable: bool) -> OffsetDateTime {
        if refreshable { self.idle.max(self.access) } else { self.access }
    }
}

/// The successors of a refresh token, as a function of the seed and the token alone: whoever presents the token while the
/// seed exists gets the same ones, and neither half is enough by itself.
fn derive(seed: &Seed, presented: &str) -> (AccessToken, RefreshToken) {
    let key = KeyedMac::new(seed.expose());
    let bytes = |label: &[u8]| key.clone().update(label).update(presented.as_bytes()).finish();
    // With labels so short, what is hashed fits into one block of SHA-256.
    (Secret::from_bytes(&bytes(b"grantor/1/a\0")), Secret::from_bytes(&bytes(b"grantor/1/r\0")))
}

fn record<K: Token>(
    token: &Secret<K>,
    grant_id: GrantId,
    scope: &Scope,
    issued_at: OffsetDateTime,
    expires_at: OffsetDateTime,
) -> StoredToken {
    StoredToken {
        hash: TokenHash::of(token.expose()),
        kind: K::KIND,
        grant_id,
        scope: scope.clone(),
        issued_at,
        expires_at,
        parent: None,
        spent: None,
        revoked_at: None,
        details: TokenDetails::default(),
    }
}

fn issued(
    access_token: AccessToken,
    refresh_token: Option<RefreshToken>,
    expires_in: Duration,
    scope: Scope,
    members: ResponseMembers,
    grant: Arc<Grant>,
) -> Issued {
    let of_grant = || grant.details.token_type.as_deref().map_or("Bearer".into(), |own| own.to_owned().into());
    let token_type = members.token_type.unwrap_or_else(of_grant);
    Issued { access_token, token_type, expires_in, refresh_token, scope, extra: members.extra, grant }
}

/// Copies a part of the random bytes whose length is known from the place it was cut at.
fn array<const N: usize>(bytes: &[u8]) -> Wiped<[u8; N]> {
    let mut array = Wiped::new([0; N]);
    array.copy_from_slice(bytes);
    array
}
