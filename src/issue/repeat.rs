//! Repeating the response to a refresh within its grace window.

use std::net::IpAddr;

use serde_json::Map;
use time::OffsetDateTime;

use super::customize::customize;
use super::lifetime::{lasts_a_second, lifetimes};
use super::mint::{derive, peer_mark, sign_again};
use super::{Issued, RepeatRefresh, ResponseMembers, cut, issued_tokens, scope_left};
use crate::client::Client;
use crate::customizer::{Issuance, IssuanceKind};
use crate::error::{Error, Refusal, StorageError};
use crate::event::RepeatedFrom;
use crate::lookup::{VerifiedToken, find_minted, find_presented};
use crate::record::{GrantId, StoredToken};
use crate::secret::{Seed, kind};
use crate::server_context::ServerContext;
use crate::storage::ephemeral::{EphemeralKey, Inserted, Namespace};
use crate::subject_status::must_be_active;

/// The number of attempts to update the count if other requests change it meanwhile.
const TRIES: usize = 4;

/// The outcome of a refresh that is repeated within its grace window.
pub(crate) enum Repetition {
    /// The response is the same.
    Answered(Box<Repeated>),
    /// The access token of the first response was revoked. The party that revoked it has received the response and
    /// would not repeat the refresh. So another party holds the refresh token, too.
    Theft,
}

/// Tokens that were issued again.
pub(crate) struct Repeated {
    pub(crate) issued: Issued,
    /// The number of repeated refreshes of the grant, including this one.
    pub(crate) count: u64,
    pub(crate) from: RepeatedFrom,
}

/// Derives the successors of a spent refresh token again and builds the response from their records. It changes no
/// token or grant, extends no lifetime, and counts the repeat. It calls the customizer again, which can refuse the
/// request, but the changes of the first call stay in effect.
///
/// Up to the signature, each step fails in the same way for spent and unspent tokens, so that no failure tells them
/// apart. The checks that only apply to spent tokens come after it.
pub(crate) async fn repeat(
    server: &ServerContext,
    client: &Client,
    order: &RepeatRefresh,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<Repetition, Error> {
    let RepeatRefresh { presented, scope, resource } = order;
    must_be_active(server, presented.grant().subject.as_ref(), peer, now).await?;
    Error::check_enforced(client.parts().unenforced_member().or(presented.unenforced_member()))?;
    let left = scope_left(server, client, presented.grant())?;
    let resource = resource.as_deref();
    let possible = cut(resource, &scope.intersection(&left).ok_or(Refusal::NoScopeLeft)?)?;
    if server.customizer.is_some() {
        let access_token_lifetime = lifetimes(server, client, resource, None)?.access_token;
        let resource = resource.map(|resource| &*resource.identifier);
        let (kind, grant, scope) = (IssuanceKind::Repeat, presented.grant(), &possible);
        let issuance = Issuance { kind, client, grant, resource, scope, access_token_lifetime, peer, now };
        customize(server, &issuance, &Map::new()).await?;
    }
    let seed = presented.spent().and_then(|spent| spent.seed.as_ref()).ok_or(Refusal::RetryRefused)?;
    let (access_token, refresh_token) = derive(seed, presented.secret().expose());
    let (id, token, grant) = find_minted(server, access_token).await?.ok_or(Refusal::RetryRefused)?.into_parts();
    let access_token = sign_again(server, id, &token, &grant).await?;

    if token.revoked_at.is_some() && grant.is_live(now) {
        return Ok(Repetition::Theft);
    }
    let audience = token.details.audience.as_deref();
    if audience.is_some() != resource.is_some()
        || !audience.is_none_or(|own| resource.is_some_and(|it| it.is_named(own)))
    {
        return Err(Refusal::RepeatedForOtherResource.into());
    }
    let lasts = token.is_live(&grant, now) && lasts_a_second(token.expires_at, now);
    // A request for more scope than the first time gets the scope of the first response. Otherwise a thief who
    // refreshes with a narrower scope would lock the client out. A request for less scope is refused, and so is a
    // repeat of a scope that the client has lost since the refresh.
    if !token.requested_scope().is_subset(scope) || !token.scope.is_subset(&possible) || !lasts {
        return Err(Refusal::RetryRefused.into());
    }
    let refresh = find_presented(server, refresh_token).await?.ok_or(Refusal::RetryRefused)?;
    if !refresh.token().is_live(refresh.grant(), now) || refresh.spent().is_some() {
        return Err(Refusal::RetryRefused.into());
    }
    Error::check_enforced(token.unenforced_member(&grant).or(refresh.unenforced_member()))?;
    let from = repeated_from(&token, seed, peer);
    let count = count(server, client, presented, now).await?;
    let (refresh_token, ..) = refresh.into_parts();
    let (expires_in, scope) = (token.expires_at - now, token.scope.clone());
    let mut members = ResponseMembers::default();
    members.extra.clone_from(&token.details.response_members);
    let issued = issued_tokens(access_token, Some(refresh_token), expires_in, scope, members, grant);
    Ok(Repetition::Answered(Box::new(Repeated { issued, count, from })))
}

/// Compares the peer of a repeat with the peer of the refresh that issued `access`.
fn repeated_from(access: &StoredToken, seed: &Seed, peer: Option<IpAddr>) -> RepeatedFrom {
    match (&access.details.peer_mark, peer) {
        (Some(mark), Some(peer)) if **mark == *peer_mark(seed, peer) => RepeatedFrom::SamePeer,
        (Some(_), Some(_)) => RepeatedFrom::OtherPeer,
        _ => RepeatedFrom::Unknown,
    }
}

/// Counts a repeat of a spent token and returns the number of repeats of its grant. Refuses the request if there are
/// too many. If many repeats are counted at the same moment, some are not counted. The count is kept until the grant
/// ends unless it is used again.
async fn count(
    server: &ServerContext,
    client: &Client,
    presented: &VerifiedToken<kind::RefreshToken>,
    now: OffsetDateTime,
) -> Result<u64, Error> {
    let (grant, number, lifetimes) =
        (presented.grant(), presented.token().family_number(), server.policy.lifetimes(client));
    let (store, key) = (&server.ephemeral, key_of(&server.issuer, grant.id)?);
    let mut repeats = Repeats::default();
    for _ in 0..TRIES {
        let found = store.get(&key, now).await?;
        repeats = found.as_ref().map(|entry| Repeats::read(&entry.value)).transpose()?.unwrap_or_default();
        repeats.add(number);
        // The first repeat is always allowed if the refresh was. The client may have lost the response. If it had to
        // wait, the grace window would end and the token would count as stolen.
        let refreshes = repeats.of_token.saturating_sub(1).saturating_add(number.into());
        if !server.policy.allows_refreshes(refreshes, now - grant.opened_at, &lifetimes) {
            return Err(Refusal::RefreshedTooOften.into());
        }
        let value = repeats.write();
        let is_written = match found {
            None => matches!(store.insert(&key, &value, grant.expires_at, now).await?, Inserted::New(_)),
            Some(entry) => store.replace(&key, entry.version, &value, grant.expires_at, now).await?.is_some(),
        };
        if is_written {
            break;
        }
    }
    Ok(repeats.of_grant)
}

/// Returns the key of the entry with the count of a grant.
fn key_of(issuer: &str, id: GrantId) -> Result<EphemeralKey, StorageError> {
    let namespace = Namespace::new("refresh_repeats").map_err(StorageError::new)?;
    Ok(EphemeralKey::new(issuer, namespace, id.as_bytes()))
}

/// The number of repeated refreshes of a grant.
#[derive(Debug, Default, PartialEq, Eq)]
struct Repeats {
    of_grant: u64,
    /// The number of the last presented token. `of_token` counts the repeats of its refresh.
    number: u32,
    of_token: u64,
}

impl Repeats {
    /// The version of the format of an entry.
    const FORMAT: u8 = 1;

    fn add(&mut self, number: u32) {
        let of_token = if number == self.number { self.of_token } else { 0 };
        (self.of_grant, self.number, self.of_token) =
            (self.of_grant.saturating_add(1), number, of_token.saturating_add(1));
    }

    fn write(&self) -> Vec<u8> {
        let Self { of_grant, number, of_token } = self;
        [&[Self::FORMAT][..], &of_grant.to_be_bytes(), &number.to_be_bytes(), &of_token.to_be_bytes()].concat()
    }

    fn read(value: &[u8]) -> Result<Self, StorageError> {
        let fields = || {
            let (&Self::FORMAT, rest) = value.split_first()? else { return None };
            let (of_grant, rest) = rest.split_first_chunk()?;
            let (number, rest) = rest.split_first_chunk()?;
            let of_token = rest.try_into().ok()?;
            Some((u64::from_be_bytes(*of_grant), u32::from_be_bytes(*number), u64::from_be_bytes(of_token)))
        };
        let other_version = "a count of repeated refreshes is of another version: upgrade all nodes";
        let (of_grant, number, of_token) = fields().ok_or_else(|| StorageError::unavailable(other_version))?;
        Ok(Self { of_grant, number, of_token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeat_count_round_trips_and_other_formats_fail() {
        let mut repeats = Repeats::default();
        for (number, of_grant, of_token) in [(1, 1, 1), (1, 2, 2), (2, 3, 1), (u32::MAX, 4, 1)] {
            repeats.add(number);
            assert_eq!(repeats, Repeats { of_grant, number, of_token });
            assert_eq!(Repeats::read(&repeats.write()).unwrap(), repeats);
        }
        let value = repeats.write();
        let (short, long, newer) = (&value[1..], [&value[..], &[0]].concat(), [&[2], &value[1..]].concat());
        for other in [&[][..], short, &long, &newer] {
            assert!(Repeats::read(other).unwrap_err().is_unavailable(), "{other:?}");
        }
    }
}
