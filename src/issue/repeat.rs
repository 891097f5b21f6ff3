//! Repeating the answer to a refresh within its grace window.

use std::net::IpAddr;

use serde_json::Map;
use time::OffsetDateTime;

use super::customize::customize;
use super::lifetime::lasts_a_second;
use super::mint::{derive, peer_mark, sign_again};
use super::{Issued, RepeatRefresh, ResponseMembers, issued_tokens};
use crate::client::Client;
use crate::customizer::{Issuance, IssuanceKind};
use crate::error::{Error, Refusal, StorageError};
use crate::event::RepeatedFrom;
use crate::lookup::{find_minted, find_presented};
use crate::record::{Grant, GrantId, StoredToken};
use crate::secret::Seed;
use crate::server_context::ServerContext;
use crate::storage::ephemeral::{EphemeralKey, Inserted, Namespace};
use crate::subject_status::must_be_active;

/// How often a count is tried that others change in between.
const TRIES: usize = 4;

/// Tokens that were issued again.
pub(crate) struct Repeated {
    pub(crate) issued: Issued,
    /// How often refreshes of the grant were repeated, this time included.
    pub(crate) count: u64,
    pub(crate) from: RepeatedFrom,
}

/// Derives the successors of a spent refresh token again and answers from their own records. It writes no record, extends no lifetime,
/// and counts the repeat. The customizer is asked as it was the first time, and can refuse; what it changed then holds.
///
/// Up to the signature, each step fails for a spent token as it fails for an unspent one, so that no failure tells them apart. What only
/// a spent token can be refused for comes after it.
pub(crate) async fn repeat(
    server: &ServerContext,
    client: &Client,
    order: RepeatRefresh,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<Repeated, Error> {
    let RepeatRefresh { presented, scope } = order;
    must_be_active(server, presented.grant().subject.as_ref(), peer, now).await?;
    Error::check_enforced(client.parts().unenforced_member().or(presented.unenforced_member()))?;
    let left = server.scope_left(client, &presented.grant().grant_type, &presented.grant().scope)?;
    let possible = scope.intersection(&left).ok_or(Refusal::NoScopeLeft)?;
    if server.customizer.is_some() {
        let access_token_lifetime = server.policy.lifetimes(client).access_token;
        let (kind, grant, scope) = (IssuanceKind::Repeat, presented.grant(), &possible);
        let issuance = Issuance { kind, client, grant, scope, access_token_lifetime, peer, now };
        customize(server, &issuance, &Map::new()).await?;
    }
    let seed = presented.spent().and_then(|spent| spent.seed.as_ref()).ok_or(Refusal::RetryRefused)?;
    let (access_token, refresh_token) = derive(seed, presented.secret().expose());
    let (id, token, grant) = find_minted(server, access_token).await?.ok_or(Refusal::RetryRefused)?.into_parts();
    let access_token = sign_again(server, id, &token, &grant).await?;

    let lasts = token.is_live(&grant, now) && lasts_a_second(token.expires_at, now);
    // A scope that was taken away since the refresh is not given again.
    if *token.requested_scope() != scope || !token.scope.is_subset(&possible) || !lasts {
        return Err(Refusal::RetryRefused.into());
    }
    let refresh = find_presented(server, refresh_token).await?.ok_or(Refusal::RetryRefused)?;
    if !refresh.token().is_live(refresh.grant(), now) || refresh.spent().is_some() {
        return Err(Refusal::RetryRefused.into());
    }
    Error::check_enforced(token.unenforced_member(&grant).or(refresh.unenforced_member()))?;
    let from = repeated_from(&token, seed, peer);
    let count = count(server, &grant, now).await?;
    let (refresh_token, ..) = refresh.into_parts();
    let (expires_in, scope) = (token.expires_at - now, token.scope.clone());
    let mut members = ResponseMembers::default();
    members.extra.clone_from(&token.details.response_members);
    let issued = issued_tokens(access_token, Some(refresh_token), expires_in, scope, members, grant);
    Ok(Repeated { issued, count, from })
}

/// Compares the peer of a repeat with that of the refresh, of which `access` is a successor.
fn repeated_from(access: &StoredToken, seed: &Seed, peer: Option<IpAddr>) -> RepeatedFrom {
    match (&access.details.peer_mark, peer) {
        (Some(mark), Some(peer)) if **mark == *peer_mark(seed, peer) => RepeatedFrom::SamePeer,
        (Some(_), Some(_)) => RepeatedFrom::OtherPeer,
        _ => RepeatedFrom::Unknown,
    }
}

/// Counts a repeat, and returns how many the grant has had. If too many are counted at the same moment, some are left out. The count is
/// kept until the grant would end if it were not used again.
async fn count(server: &ServerContext, grant: &Grant, now: OffsetDateTime) -> Result<u64, Error> {
    let (store, key) = (&server.ephemeral, key_of(&server.issuer, grant.id)?);
    let mut count = 1;
    for _ in 0..TRIES {
        let found = store.get(&key, now).await?;
        let before = found.as_ref().map(|entry| read(&entry.value)).transpose()?;
        count = before.unwrap_or(0).saturating_add(1);
        let value = write(count);
        let is_written = match found {
            None => matches!(store.insert(&key, &value, grant.expires_at, now).await?, Inserted::New(_)),
            Some(entry) => store.replace(&key, entry.version, &value, grant.expires_at, now).await?.is_some(),
        };
        if is_written {
            break;
        }
    }
    Ok(count)
}

/// The entry that has the count of a grant.
fn key_of(issuer: &str, id: GrantId) -> Result<EphemeralKey, StorageError> {
    let namespace = Namespace::new("refresh_repeats").map_err(StorageError::new)?;
    Ok(EphemeralKey::new(issuer, namespace, id.as_bytes()))
}

/// The format of a count: its version, then the number.
const FORMAT: u8 = 1;

fn write(count: u64) -> [u8; 9] {
    let mut value = [FORMAT; 9];
    value[1..].copy_from_slice(&count.to_be_bytes());
    value
}

fn read(value: &[u8]) -> Result<u64, StorageError> {
    match value.split_first() {
        Some((&FORMAT, count)) if count.len() == 8 => {
            Ok(count.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
        }
        _ => Err(StorageError::unavailable("the count of repeated refreshes has a format of another version")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn count_survives_its_text_and_no_other_is_read() {
        for count in [1, 255, 256, u64::MAX] {
            assert_eq!(read(&write(count)).unwrap(), count);
        }
        for other in [&[][..], &[1], &[2, 0, 0, 0, 0, 0, 0, 0, 1], &[1; 10]] {
            assert!(read(other).unwrap_err().is_unavailable(), "{other:?}");
        }
    }
}
