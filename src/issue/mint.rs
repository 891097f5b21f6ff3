//! The texts and rows of new tokens.

use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use time::{Duration, OffsetDateTime};

use super::orders::OneTimeKey;
use crate::error::Error;
use crate::mac::KeyedMac;
use crate::record::{AttemptId, Grant, GrantId, Spent, StoredToken, TokenDetails};
use crate::resource::DeclaredResource;
use crate::scope::Scope;
use crate::secret::{AccessToken, RefreshToken, Secret, Seed, Token, TokenHash, TokenKind};
use crate::server_context::ServerContext;

/// Derives the successors of a refresh token from the seed and the token. While the seed exists, a retry with the same
/// token gets the same successors. Neither the seed nor the token is enough by itself.
pub(super) fn derive(seed: &Seed, presented: &str) -> (AccessToken, RefreshToken) {
    let key = KeyedMac::new(seed.expose());
    let bytes = |label: &[u8]| key.clone().update(label).update(presented.as_bytes()).finish();
    // The labels are short, so that the input fits into one block of SHA-256.
    (Secret::from_bytes(&bytes(b"grantor/1/a\0")), Secret::from_bytes(&bytes(b"grantor/1/r\0")))
}

/// Returns a keyed digest of the peer of a refresh, to detect a repeat from another peer. The key is the seed: once the
/// seed is erased, the digest does not reveal the address.
pub(super) fn peer_mark(seed: &Seed, peer: IpAddr) -> Box<str> {
    let address = peer.to_canonical().to_string();
    let tag = KeyedMac::new(seed.expose()).update(b"grantor/1/p\0").update(address.as_bytes()).finish();
    URL_SAFE_NO_PAD.encode(&tag[..16]).into()
}

/// Returns the seed of a redeemed code. No token is derived from it. It shows later whether the code is presented again for
/// the same resource.
pub(crate) fn seed_of_code(code: &str, resource: Option<&DeclaredResource>) -> Seed {
    let resource = resource.map_or("", |resource| &*resource.identifier);
    let key = KeyedMac::new(TokenHash::of(code).as_bytes());
    Seed::from_bytes(*key.update(b"grantor/1/c\0").update(code.as_bytes()).update(resource.as_bytes()).finish())
}

/// Makes the text of an access token, and sets the audience and the hash of its row. All other fields of the row must
/// be set already.
///
/// It runs before the storage step, so that a signature that fails leaves nothing behind.
pub(super) async fn sign(
    server: &ServerContext,
    id: AccessToken,
    row: &mut StoredToken,
    grant: &Grant,
    resource: Option<&DeclaredResource>,
) -> Result<AccessToken, Error> {
    row.details.audience = resource.map(|resource| (*resource.identifier).into());
    let Some(format) = server.format_of_new_tokens(resource) else { return Ok(id) };
    row.hash = format.key(&id);
    row.details.format = Some(format.name().into());
    format.text(&id, row, grant).await
}

/// Makes the text of an already issued access token again.
pub(super) async fn sign_again(
    server: &ServerContext,
    id: AccessToken,
    row: &StoredToken,
    grant: &Grant,
) -> Result<AccessToken, Error> {
    match &server.signed_format {
        Some(format) if row.details.format.is_some() => format.text(&id, row, grant).await,
        _ => Ok(id),
    }
}

/// Returns the row of a new token.
pub(super) fn new_row<K: Token>(
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

/// Returns the row of a new refresh token. `number` is its position in the chain of refresh tokens of the grant.
pub(super) fn refresh_row(
    token: &RefreshToken,
    grant_id: GrantId,
    scope: &Scope,
    issued_at: OffsetDateTime,
    expires_at: OffsetDateTime,
    number: u32,
) -> StoredToken {
    let mut row = new_row(token, grant_id, scope, issued_at, expires_at);
    row.details.number = Some(number);
    row
}

/// Returns the row of a one-time key, which is stored as spent.
pub(super) fn key_row(
    key: &OneTimeKey,
    grant_id: GrantId,
    scope: &Scope,
    attempt: AttemptId,
    now: OffsetDateTime,
) -> StoredToken {
    // Storages keep whole microseconds. Rounds up, so that a key is kept for at least the requested time.
    let below = key.good_until.nanosecond() % 1_000;
    let above = if below == 0 { 0 } else { i64::from(1_000 - below) };
    StoredToken {
        hash: key.hash,
        kind: TokenKind::OneTimeKey,
        grant_id,
        scope: scope.clone(),
        issued_at: now,
        expires_at: key.good_until.saturating_add(Duration::nanoseconds(above)),
        parent: None,
        spent: Some(Spent { at: now, attempt, seed: None, seed_until: None }),
        revoked_at: None,
        details: TokenDetails::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_time_key_expires_no_earlier_than_asked() {
        let (now, scope) = (OffsetDateTime::UNIX_EPOCH, Scope::parse("a").unwrap());
        for (asked, kept) in
            [(0, 0), (1, 1_000), (999, 1_000), (1_000, 1_000), (1_001, 2_000), (999_999_999, 1_000_000_000)]
        {
            let key = OneTimeKey { hash: TokenHash::of("key"), good_until: now + Duration::nanoseconds(asked) };
            let row = key_row(&key, GrantId::from_bytes([0; 16]), &scope, AttemptId::from_bytes([0; 16]), now);
            assert_eq!(row.expires_at - now, Duration::nanoseconds(kept), "{asked} ns");
        }
    }
}
