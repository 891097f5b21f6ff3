//! Where the texts and rows of tokens are made.

use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::error::EntropyError;
use crate::mac::KeyedMac;
use crate::record::{GrantId, StoredToken, TokenDetails};
use crate::scope::Scope;
use crate::secret::{AccessToken, RefreshToken, Secret, Seed, Token, TokenHash};
use crate::server_context::ServerContext;

/// The random bytes of one response, drawn at once.
pub(super) struct Draw {
    /// For the identifier of a grant or of an attempt.
    pub(super) id: [u8; 16],
    /// For an access token, a code or a seed.
    pub(super) first: Zeroizing<[u8; 32]>,
    /// For a refresh token.
    pub(super) second: Zeroizing<[u8; 32]>,
}

impl Draw {
    pub(super) fn new(server: &ServerContext) -> Result<Self, EntropyError> {
        let bytes: Zeroizing<[u8; 80]> = server.random()?;
        let mut draw = Self { id: [0; 16], first: Zeroizing::new([0; 32]), second: Zeroizing::new([0; 32]) };
        draw.id.copy_from_slice(&bytes[..16]);
        draw.first.copy_from_slice(&bytes[16..48]);
        draw.second.copy_from_slice(&bytes[48..]);
        Ok(draw)
    }
}

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
