//! Issuing tokens. Only this module makes tokens and writes the records for a decision.

mod customize;
mod lifetime;
mod mint;
mod orders;
mod repeat;

use std::borrow::Cow;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use self::customize::{Customized, customize, kind_of};
pub(crate) use self::lifetime::may_refresh;
use self::lifetime::{Expirations, lasts_a_second, lifetimes};
pub(crate) use self::mint::seed_of_code;
use self::mint::{derive, key_row, new_row, peer_mark, refresh_row, sign};
pub(crate) use self::orders::MemberNames;
pub use self::orders::{OpenGrant, ResponseMembers};
pub(crate) use self::orders::{RedeemToken, RepeatRefresh};
pub(crate) use self::repeat::{Repetition, repeat};
use crate::client::Client;
use crate::customizer::{Issuance, IssuanceKind};
use crate::error::{Error, Refusal};
use crate::record::{AttemptId, CodeBinding, Grant, GrantId, GrantType, StoredToken, TokenKind};
use crate::resource::{DeclaredResource, usable_scope};
use crate::scope::Scope;
use crate::secret::{AccessToken, AuthorizationCode, RefreshToken, Secret, Seed};
use crate::server_context::ServerContext;
use crate::storage::{GrantSelector, Opened, RedeemOutcome, Redemption};
use crate::subject_status::must_be_active;

/// The number of the first refresh token of a grant.
const FIRST_NUMBER: u32 = 1;

/// The minimum time for which a seed is kept. A missing seed within the grace window counts as theft, so a purge by a
/// node whose clock is ahead must not erase a seed too early.
const SEED_LIFETIME: Duration = Duration::MINUTE;

/// The maximum number of ancestors of a grant.
const MAX_DEPTH: u8 = 4;

/// A successful response of the token endpoint (RFC 6749 §5.1).
#[non_exhaustive]
pub struct TokenResponse {
    /// The access token.
    pub access_token: AccessToken,
    /// The type of the access token. It is `Bearer` unless an extension grant sets another type.
    pub token_type: Cow<'static, str>,
    /// The lifetime of the access token from now on.
    pub expires_in: Duration,
    /// The refresh token, if one was issued.
    pub refresh_token: Option<RefreshToken>,
    /// The scope of the access token. The response always contains it, even if it is the requested scope.
    pub scope: Scope,
    /// Members that an extension grant or the token customizer added.
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

/// Opens a grant with its first access token, and with a refresh token if the client gets one. Fails if the subject is
/// not active.
pub(crate) async fn open_grant(
    server: &ServerContext,
    client: &Client,
    grant_type: &GrantType,
    order: Box<OpenGrant>,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<Issued, Error> {
    must_be_active(server, order.subject.as_ref(), peer, now).await.map_err(|error| match error {
        // The same error as for a wrong password: another one would confirm the password (RFC 6749 §4.3.2).
        Error::Refused(_) if grant_type.as_str() == GrantType::PASSWORD => Refusal::ResourceOwnerRejected.into(),
        error => error,
    })?;
    let (rows, issued) = first_tokens(server, client, grant_type, order, peer, now).await?;
    store(server, &issued.grant, &rows).await?;
    Ok(issued)
}

async fn store(server: &ServerContext, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), Error> {
    // The token of a machine has the client identifier as its subject, so a user must not have it (RFC 9068 §2.2,
    // RFC 9700 §4.15).
    if grant.subject.as_ref().is_some_and(|subject| subject.as_str() == grant.client_id.as_str()) {
        return Err(Error::Misuse("the subject of a grant is the identifier of its client: use another one"));
    }
    match server.storage.open_grant(grant, tokens).await? {
        Opened::Done => Ok(()),
        Opened::Taken => Err(Refusal::KeyUsed.into()),
        Opened::ParentDead => Err(Refusal::GrantEnded.into()),
        Opened::ConsentDead => Err(Refusal::ConsentEnded.into()),
    }
}

/// Makes the first tokens of a grant and their rows, without storing them.
async fn first_tokens(
    server: &ServerContext,
    client: &Client,
    grant_type: &GrantType,
    mut order: Box<OpenGrant>,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<(Vec<StoredToken>, Issued), Error> {
    if order.parent.is_some() {
        order.scope = server.scope_left(client, grant_type, &order.scope)?;
    }
    if !order.scope.is_subset(server.scopes.all()) {
        return Err(Error::Misuse("a grant handler granted a scope that the server does not offer: declare the scope"));
    }
    if order.keys.iter().any(|key| key.good_until <= now) {
        return Err(Error::Misuse("a grant handler accepted a one-time key that has expired: refuse the request"));
    }
    Error::check_enforced(client.parts().unenforced_member())?;
    if order.depth() > MAX_DEPTH {
        return Err(Refusal::NestedTooDeep.into());
    }
    // The first one: the request named it, or the grant has one.
    let resource = order.resources.first().cloned();
    let scope = cut(resource.as_deref(), &order.scope)?;
    let mut lifetimes = lifetimes(server, client, resource.as_deref(), order.members.access_token_lifetime)?;
    let rotates = server.policy.rotates(client);
    let (ends_by, keys) = (order.ends_by(), std::mem::take(&mut order.keys));
    let mut expirations = Expirations::new(&lifetimes, rotates, now, ends_by, now);
    if !lasts_a_second(expirations.access, now) {
        // Only the end of its parent can make the lifetime this short.
        return Err(Refusal::GrantEnded.into());
    }
    let refreshes = order.refreshable && may_refresh(server, client, &order.scope);
    let id = GrantId::from_bytes(*server.random()?);
    let (mut grant, mut members) = order.into_grant(id, client, grant_type, now, expirations.grant(refreshes));
    let customized = {
        let issuance = Issuance {
            kind: kind_of(grant_type),
            client,
            grant: &grant,
            resource: resource.as_ref().map(|resource| &*resource.identifier),
            scope: &scope,
            access_token_lifetime: lifetimes.access_token,
            peer,
            now,
        };
        customize(server, &issuance, &members.extra).await?
    };
    members.extra.extend(customized.members);
    if customized.access_token_lifetime != lifetimes.access_token {
        lifetimes.access_token = customized.access_token_lifetime;
        expirations = Expirations::new(&lifetimes, rotates, now, ends_by, now);
        Arc::make_mut(&mut grant).expires_at = expirations.grant(refreshes);
    }

    let access_token = AccessToken::from_bytes(&*server.random()?);
    let refresh_token = if refreshes { Some(RefreshToken::from_bytes(&*server.random()?)) } else { None };
    let mut rows = Vec::with_capacity(1 + usize::from(refreshes) + keys.len());
    rows.push(new_row(&access_token, id, &customized.scope, now, expirations.access));
    rows[0].details.claims = customized.claims;
    let access_token = sign(server, access_token, &mut rows[0], &grant, resource.as_deref()).await?;
    rows.extend(
        refresh_token
            .as_ref()
            .map(|token| refresh_row(token, id, &grant.scope, now, expirations.refresh, FIRST_NUMBER)),
    );
    for key in &keys {
        let attempt = AttemptId::from_bytes(*server.random()?);
        rows.push(key_row(key, id, &grant.scope, attempt, now));
    }
    let expires_in = expirations.access - now;
    let issued = issued_tokens(access_token, refresh_token, expires_in, customized.scope, members, grant);
    Ok((rows, issued))
}

/// Opens a grant that has only a code so far.
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
    let (mut grant, _) = order.into_grant(id, client, &grant_type, now, expires_at);
    Arc::make_mut(&mut grant).details.code_expires_at = Some(expires_at);
    store(server, &grant, std::slice::from_ref(&row)).await?;
    Ok((code, grant))
}

/// Redeems a token and issues its successors. Fails if the subject is not active. Returns `None` if another request has
/// redeemed the token first.
pub(crate) async fn redeem(
    server: &ServerContext,
    client: &Client,
    order: Box<RedeemToken>,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<Option<Issued>, Error> {
    must_be_active(server, order.grant.subject.as_ref(), peer, now).await?;
    let (redemption, rows, issued) = successors(server, client, order, peer, now).await?;
    match server.storage.redeem(&redemption, &rows).await? {
        RedeemOutcome::Done => Ok(Some(issued)),
        RedeemOutcome::AlreadySpent => Ok(None),
        RedeemOutcome::Dead => Err(Refusal::GrantEnded.into()),
    }
}

/// Makes the successors of a token and their rows, without storing them.
async fn successors(
    server: &ServerContext,
    client: &Client,
    order: Box<RedeemToken>,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<(Redemption, Vec<StoredToken>, Issued), Error> {
    let RedeemToken { presented, kind, number, plain, grant, expires_at, scope: requested, resource, unenforced } =
        *order;
    Error::check_enforced(client.parts().unenforced_member().or(unenforced.as_deref()))?;
    let mut lifetimes = lifetimes(server, client, resource.as_deref(), None)?;
    let left = scope_left(server, client, &grant)?;
    let possible = cut(resource.as_deref(), &requested.intersection(&left).ok_or(Refusal::NoScopeLeft)?)?;
    let is_refresh = kind == TokenKind::RefreshToken;
    let Customized { scope, access_token_lifetime, members: added, claims } = {
        let issuance = Issuance {
            kind: if is_refresh { IssuanceKind::Refresh } else { IssuanceKind::AuthorizationCode },
            client,
            grant: &grant,
            resource: resource.as_ref().map(|resource| &*resource.identifier),
            scope: &possible,
            access_token_lifetime: lifetimes.access_token,
            peer,
            now,
        };
        customize(server, &issuance, &Map::new()).await?
    };
    lifetimes.access_token = access_token_lifetime;
    let rotates = server.policy.rotates(client);
    let expirations = Expirations::new(&lifetimes, rotates, grant.opened_at, grant.details.ends_by, now);
    if !lasts_a_second(expirations.access, now) {
        return Err(Refusal::ExpiredToken.into());
    }
    let consume = !is_refresh || rotates;
    let refreshes = consume && may_refresh(server, client, &left);

    let has_window = is_refresh && consume && lifetimes.refresh_grace.is_positive();
    // A code has a seed only as a mark that none of its successors was spent: spending one erases it. A refresh token
    // that does not rotate is never spent, so it would not erase the mark.
    let marks_use = !is_refresh && server.policy.tolerate_repeated_codes && (rotates || !refreshes);
    let seed = match (has_window, marks_use) {
        (true, _) => Some(Seed::from_bytes(*server.random()?)),
        (false, true) => Some(seed_of_code(plain.expose(), resource.as_deref())),
        (false, false) => None,
    };
    let (access_token, refresh_token) = match &seed {
        Some(seed) if has_window => derive(seed, plain.expose()),
        _ => (Secret::from_bytes(&*server.random()?), Secret::from_bytes(&*server.random()?)),
    };
    let successor = |row: StoredToken| StoredToken { parent: Some(presented), ..row };
    let mut rows = Vec::with_capacity(2);
    rows.push(successor(new_row(&access_token, grant.id, &scope, now, expirations.access)));
    let access = &mut rows[0];
    access.details.claims = claims;
    access.details.requested_scope = Some(requested).filter(|requested| *requested != scope);
    if let Some(seed) = seed.as_ref().filter(|_| has_window) {
        access.details.response_members.clone_from(&added);
        access.details.peer_mark = peer.map(|peer| peer_mark(seed, peer));
    }
    let members = ResponseMembers { extra: added, ..ResponseMembers::default() };
    let access_token = sign(server, access_token, access, &grant, resource.as_deref()).await?;
    if refreshes {
        let next = number.map_or(FIRST_NUMBER, |number| number.saturating_add(1));
        let refresh = refresh_row(&refresh_token, grant.id, &grant.scope, now, expirations.refresh, next);
        rows.push(successor(refresh));
    }
    // The customizer and the signer can take longer than the grace window, which begins when the token is redeemed. A
    // token that expires meanwhile was valid when the request arrived, so it is redeemed just before its expiry.
    let at = server.now().min(expires_at.saturating_sub(Duration::MICROSECOND)).max(now);
    // A grant whose code is redeemed must end later than the code. This distinguishes it from a grant with an
    // unredeemed code.
    let ends_after = grant.expires_at.saturating_add(if is_refresh { Duration::ZERO } else { Duration::MICROSECOND });
    let redemption = Redemption {
        token: presented,
        kind,
        grant_id: grant.id,
        attempt: AttemptId::from_bytes(*server.random()?),
        at,
        consume,
        seed_until: seed.as_ref().map(|_| at.saturating_add(lifetimes.refresh_grace.max(SEED_LIFETIME))),
        seed,
        // A refresh token that is not spent can be used again.
        grant_expires_at: expirations.grant(refreshes || !consume).max(ends_after),
    };
    let refresh_token = refreshes.then_some(refresh_token);
    let issued = issued_tokens(access_token, refresh_token, expirations.access - now, scope, members, grant);
    Ok((redemption, rows, issued))
}

/// Returns the part of the scope of a grant that its tokens may still have. The client, the server and the resources may
/// have changed since the grant was opened.
fn scope_left(server: &ServerContext, client: &Client, grant: &Grant) -> Result<Scope, Refusal> {
    let left = server.scope_left(client, &grant.grant_type, &grant.scope)?;
    let resources: Vec<_> = server.resources.left_of(grant).cloned().collect();
    usable_scope(&server.resources, &resources, left).map_err(|_| Refusal::NoScopeLeft)
}

/// Returns the part of a scope that the tokens of a resource may have.
fn cut(resource: Option<&DeclaredResource>, scope: &Scope) -> Result<Scope, Refusal> {
    resource.map_or_else(|| Ok(scope.clone()), |resource| resource.cut(scope))
}

/// Revokes a grant with all its tokens.
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
