//! Issuing tokens: the only place where they are minted, and where a decision becomes records.

mod lifetime;
mod mint;
mod orders;

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

pub(crate) use self::lifetime::may_refresh;
use self::lifetime::{Expirations, lasts_a_second, lifetimes};
use self::mint::{derive, key_row, new_row, refresh_row};
pub(crate) use self::orders::MemberNames;
pub use self::orders::{ExchangeToken, OpenGrant, RepeatRefresh, ResponseMembers};
use crate::client::Client;
use crate::error::{Error, Refusal};
use crate::lookup::{LiveGrant, Presented, lookup};
use crate::record::{AttemptId, CodeBinding, Grant, GrantId, GrantType, StoredToken, TokenKind};
use crate::scope::Scope;
use crate::secret::{AccessToken, AuthorizationCode, RefreshToken, Secret, Seed, Token};
use crate::server_context::ServerContext;
use crate::storage::{Exchange, GrantSelector, Opened, Spend};

/// The number of the first refresh token of a family.
const FIRST_NUMBER: u32 = 1;

/// How long a seed is kept at least. A grace window is judged by the clocks of two nodes, and a missing seed within the window
/// counts as theft, so a purge by the clock of a third one does not come too early.
const SEED_LIFETIME: Duration = Duration::MINUTE;

/// How many grants one may descend from.
const DEEPEST: u8 = 4;

/// What a client gets.
#[non_exhaustive]
pub struct TokenResponse {
    /// The access token.
    pub access_token: AccessToken,
    /// Its type; `Bearer` unless an extension grant says otherwise.
    pub token_type: Cow<'static, str>,
    /// How long it works, from now on.
    pub expires_in: Duration,
    /// The refresh token, if there is one.
    pub refresh_token: Option<RefreshToken>,
    /// What it allows; always said, even if it is what was asked for.
    pub scope: Scope,
    /// Members that an extension grant added.
    pub extra: Map<String, Value>,
}

impl std::fmt::Debug for TokenResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenResponse")
            .field("access_token", &self.access_token)
            .field("token_type", &self.token_type)
            .field("expires_in", &self.expires_in)
            .field("refresh_token", &self.refresh_token)
            .field("scope", &self.scope)
            .field("extra", &MemberNames(&self.extra))
            .finish()
    }
}

/// Tokens that were issued and stored, and the grant they belong to.
#[derive(Debug)]
pub(crate) struct Issued {
    pub(crate) response: TokenResponse,
    pub(crate) grant: Arc<Grant>,
}

/// Opens a grant with its first access token, and a refresh token if there is to be one.
pub(crate) async fn open_grant(
    server: &ServerContext,
    client: &Client,
    grant_type: &GrantType,
    order: OpenGrant,
    now: OffsetDateTime,
) -> Result<Issued, Error> {
    let (tokens, issued) = first_tokens(server, client, grant_type, order, now)?;
    store(server, &issued.grant, &tokens).await?;
    Ok(issued)
}

async fn store(server: &ServerContext, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), Error> {
    match server.storage.open_grant(grant, tokens).await? {
        Opened::Done => Ok(()),
        Opened::Taken => Err(Refusal::KeyUsed.into()),
        Opened::ParentDead => Err(Refusal::GrantEnded.into()),
    }
}

/// The first tokens of a grant and their rows, not yet stored.
fn first_tokens(
    server: &ServerContext,
    client: &Client,
    grant_type: &GrantType,
    order: OpenGrant,
    now: OffsetDateTime,
) -> Result<(Vec<StoredToken>, Issued), Error> {
    if !order.scope.is_subset(server.scopes.all()) {
        return Err(Error::Extension("a grant handler granted a scope that the server does not offer"));
    }
    if order.keys.iter().any(|key| key.good_until <= now) {
        return Err(Error::Extension("a grant handler accepted a one-time key that is not good any more"));
    }
    Error::check_enforced(client.parts().unenforced_member())?;
    Error::check_enforced(order.parent.as_ref().and_then(LiveGrant::unenforced_member))?;
    if order.depth() > DEEPEST {
        return Err(Refusal::NestedTooDeep.into());
    }
    let lifetimes = lifetimes(server, client, &order.members)?;
    let expirations = Expirations::new(&lifetimes, server.policy.rotates(client), now, order.ends_by(), now);
    if !lasts_a_second(expirations.access, now) {
        // Only its parent can have brought the end that near.
        return Err(Refusal::GrantEnded.into());
    }
    let refreshes = order.refreshable && may_refresh(server, client, &order.scope);
    let id = GrantId::from_bytes(*server.random()?);
    let access_token = AccessToken::from_bytes(&*server.random()?);
    let refresh_token = if refreshes { Some(RefreshToken::from_bytes(&*server.random()?)) } else { None };

    let mut tokens = vec![new_row(&access_token, id, &order.scope, now, expirations.access)];
    tokens.extend(
        refresh_token
            .as_ref()
            .map(|token| refresh_row(token, id, &order.scope, now, expirations.refresh, FIRST_NUMBER)),
    );
    for key in &order.keys {
        let attempt = AttemptId::from_bytes(*server.random()?);
        tokens.push(key_row(key, id, &order.scope, attempt, now));
    }
    let (grant, members) = order.into_grant(id, client, grant_type, now, expirations.grant(refreshes));
    let scope = grant.scope.clone();
    let issued = issued_tokens(access_token, refresh_token, expirations.access - now, scope, members, grant);
    Ok((tokens, issued))
}

/// Opens a grant that so far has only a code.
pub(crate) async fn open_grant_with_code(
    server: &ServerContext,
    client: &Client,
    order: OpenGrant,
    binding: CodeBinding,
    now: OffsetDateTime,
) -> Result<(AuthorizationCode, Arc<Grant>), Error> {
    Error::check_enforced(client.parts().unenforced_member())?;
    let id = GrantId::from_bytes(*server.random()?);
    let code = AuthorizationCode::from_bytes(&*server.random()?);
    let expires_at = now.saturating_add(server.policy.lifetimes(client).code);
    let mut row = new_row(&code, id, &order.scope, now, expires_at);
    row.details.code = Some(binding);
    let grant_type = GrantType::built_in(GrantType::AUTHORIZATION_CODE);
    let (grant, _) = order.into_grant(id, client, &grant_type, now, expires_at);
    store(server, &grant, std::slice::from_ref(&row)).await?;
    Ok((code, grant))
}

/// Spends a token for its successors; `None` if another request was faster.
pub(crate) async fn exchange(
    server: &ServerContext,
    client: &Client,
    order: ExchangeToken,
    now: OffsetDateTime,
) -> Result<Option<Issued>, Error> {
    let (spend, access, refresh, issued) = successors(server, client, order, now)?;
    let outcome = match refresh {
        None => server.storage.exchange(&spend, &[access]).await?,
        Some(refresh) => server.storage.exchange(&spend, &[access, refresh]).await?,
    };
    match outcome {
        Exchange::Done => Ok(Some(issued)),
        Exchange::AlreadySpent => Ok(None),
        Exchange::Dead => Err(Refusal::GrantEnded.into()),
    }
}

/// As [`first_tokens`] for tokens that follow another.
fn successors(
    server: &ServerContext,
    client: &Client,
    order: ExchangeToken,
    now: OffsetDateTime,
) -> Result<(Spend, StoredToken, Option<StoredToken>, Issued), Error> {
    let ExchangeToken { presented, kind, number, plain, grant, scope: requested, members, unenforced } = order;
    Error::check_enforced(client.parts().unenforced_member().or(unenforced.as_deref()))?;
    if members.token_type.as_deref().is_some_and(|own| !own.eq_ignore_ascii_case(grant.token_type())) {
        return Err(Error::Extension("a grant handler gave a token another type than its grant has"));
    }
    let lifetimes = lifetimes(server, client, &members)?;
    let rotates = server.policy.rotates(client);
    let expirations = Expirations::new(&lifetimes, rotates, grant.opened_at, grant.details.ends_by, now);
    if !lasts_a_second(expirations.access, now) {
        return Err(Refusal::ExpiredToken.into());
    }
    let scope = requested.intersection(&grant.scope).ok_or(Refusal::ScopeExceedsGrant)?;
    let is_refresh = kind == TokenKind::RefreshToken;
    let consume = !is_refresh || rotates;
    let refreshes = consume && may_refresh(server, client, &grant.scope);

    let has_window = is_refresh && consume && lifetimes.refresh_grace.is_positive();
    let seed = if has_window { Some(Seed::from_bytes(*server.random()?)) } else { None };
    let (access_token, refresh_token) = match &seed {
        Some(seed) => derive(seed, plain.expose()),
        None => (Secret::from_bytes(&*server.random()?), Secret::from_bytes(&*server.random()?)),
    };
    let successor = |row: StoredToken| StoredToken { parent: Some(presented), ..row };
    let mut access = successor(new_row(&access_token, grant.id, &scope, now, expirations.access));
    access.details.requested_scope = (requested != scope).then_some(requested);
    let next = number.map_or(FIRST_NUMBER, |number| number.saturating_add(1));
    let refresh = refreshes
        .then(|| successor(refresh_row(&refresh_token, grant.id, &grant.scope, now, expirations.refresh, next)));
    let spend = Spend {
        token: presented,
        kind,
        grant_id: grant.id,
        attempt: AttemptId::from_bytes(*server.random()?),
        at: now,
        consume,
        seed_until: seed.as_ref().map(|_| now.saturating_add(lifetimes.refresh_grace.max(SEED_LIFETIME))),
        seed,
        // A refresh token that is not consumed can be used again.
        grant_expires_at: expirations.grant(refreshes || !consume).max(grant.expires_at),
    };
    let refresh_token = refreshes.then_some(refresh_token);
    let issued = issued_tokens(access_token, refresh_token, expirations.access - now, scope, members, grant);
    Ok((spend, access, refresh, issued))
}

/// Derives the successors of a spent refresh token again and answers from their own records; nothing is written and no
/// lifetime extended.
pub(crate) async fn repeat(
    server: &ServerContext,
    client: &Client,
    order: RepeatRefresh,
    now: OffsetDateTime,
) -> Result<Issued, Error> {
    Error::check_enforced(client.parts().unenforced_member().or(order.presented.unenforced_member()))?;
    let seed = order.presented.spent().and_then(|spent| spent.seed.as_ref()).ok_or(Refusal::RetryRefused)?;
    let (access_token, refresh_token) = derive(seed, order.presented.secret().expose());
    let access = live_successor(server, access_token, now).await?;
    if *access.token().requested_scope() != order.scope || !lasts_a_second(access.token().expires_at, now) {
        return Err(Refusal::RetryRefused.into());
    }
    let refresh = live_successor(server, refresh_token, now).await?;
    if refresh.spent().is_some() {
        return Err(Refusal::RetryRefused.into());
    }
    Error::check_enforced(access.unenforced_member().or(refresh.unenforced_member()))?;
    let ((access_token, token, grant), (refresh_token, ..)) = (access.into_parts(), refresh.into_parts());
    let (expires_in, scope) = (token.expires_at - now, token.scope.clone());
    Ok(issued_tokens(access_token, Some(refresh_token), expires_in, scope, ResponseMembers::default(), grant))
}

async fn live_successor<K: Token>(
    server: &ServerContext,
    token: Secret<K>,
    now: OffsetDateTime,
) -> Result<Presented<K>, Error> {
    let found = lookup(server, token).await?.ok_or(Refusal::RetryRefused)?;
    found
        .must_have_a_live_grant(now)
        .and_then(|()| found.must_not_be_expired(now))
        .map_err(|_| Refusal::RetryRefused)?;
    Ok(found)
}

/// Ends a grant and with it every token of it.
pub(crate) async fn revoke_grant(server: &ServerContext, grant: &Grant, now: OffsetDateTime) -> Result<(), Error> {
    server.storage.revoke_grants(&GrantSelector::Id(grant.id), now).await?;
    Ok(())
}

fn issued_tokens(
    access_token: AccessToken,
    refresh_token: Option<RefreshToken>,
    expires_in: Duration,
    scope: Scope,
    members: ResponseMembers,
    grant: Arc<Grant>,
) -> Issued {
    let of_grant = || grant.details.token_type.as_deref().map_or("Bearer".into(), |own| own.to_owned().into());
    let token_type = members.token_type.unwrap_or_else(of_grant);
    let extra = members.extra;
    Issued { response: TokenResponse { access_token, token_type, expires_in, refresh_token, scope, extra }, grant }
}
