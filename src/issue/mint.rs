//! Where the texts and rows of tokens are made.

use time::OffsetDateTime;

use crate::mac::KeyedMac;
use crate::record::{GrantId, StoredToken, TokenDetails};
use crate::scope::Scope;
use crate::secret::{AccessToken, RefreshToken, Secret, Seed, Token, TokenHash};

/// The successors of a refresh token, as a function of the seed and the token alone: a retry that presents the token while
/// the seed exists gets the same ones, and neither half is enough by itself.
pub(super) fn derive(seed: &Seed, presented: &str) -> (AccessToken, RefreshToken) {
    let key = KeyedMac::new(seed.expose());
    let bytes = |label: &[u8]| key.clone().update(label).update(presented.as_bytes()).finish();
    // With labels this short, the input fits into one block of SHA-256.
    (Secret::from_bytes(&bytes(b"grantor/1/a\0")), Secret::from_bytes(&bytes(b"grantor/1/r\0")))
}

/// The row of a new token.
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
