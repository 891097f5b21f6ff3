//! The key that encrypts stored private keys.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use zeroize::Zeroizing;

use super::key::InvalidKey;
use crate::mac::Key;

/// Encrypts private keys before they are stored (AES-256-GCM). Someone who can only read the storage can't sign.
pub struct WrappingKey {
    current: RandomizedNonceKey,
    previous: Vec<RandomizedNonceKey>,
}

impl WrappingKey {
    /// Takes a secret of at least 32 random bytes, the same for all nodes of a server. The `previous` secrets decrypt
    /// keys that were stored under them, and encrypt nothing.
    ///
    /// # Errors
    /// [`InvalidKey::Size`] if a secret is shorter or has only zeros.
    pub fn new(current: &[u8], previous: &[&[u8]]) -> Result<Self, InvalidKey> {
        let previous = previous.iter().map(|secret| derive(secret)).collect::<Result<_, _>>()?;
        Ok(Self { current: derive(current)?, previous })
    }

    /// Encrypts a private key. `context` identifies the key, and must be the same for decryption.
    pub(crate) fn wrap(&self, plain: &[u8], context: &[u8]) -> Option<Vec<u8>> {
        let mut sealed = plain.to_vec();
        let nonce = self.current.seal_in_place_append_tag(Aad::from(context), &mut sealed).ok()?;
        sealed.extend(nonce.as_ref());
        Some(sealed)
    }

    /// Decrypts what [`wrap`](Self::wrap) returned.
    pub(crate) fn unwrap(&self, wrapped: &[u8], context: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (sealed, nonce) = wrapped.split_at_checked(wrapped.len().checked_sub(NONCE_LEN)?)?;
        std::iter::once(&self.current).chain(&self.previous).find_map(|key| {
            let mut plain = Zeroizing::new(sealed.to_vec());
            let nonce = Nonce::try_assume_unique_for_key(nonce).ok()?;
            let length = key.open_in_place(nonce, Aad::from(context), &mut plain).ok()?.len();
            plain.truncate(length);
            Some(plain)
        })
    }
}

fn derive(secret: &[u8]) -> Result<RandomizedNonceKey, InvalidKey> {
    const SALT: &[u8; 32] = b"grantor/1/wrapping_key\0\0\0\0\0\0\0\0\0\0";
    if secret.len() < 32 || secret.iter().all(|byte| *byte == 0) {
        return Err(InvalidKey::Size);
    }
    let key = Key::extract(SALT, secret).expand(b"grantor/1/aes_256_gcm");
    RandomizedNonceKey::new(&AES_256_GCM, key.as_bytes()).map_err(|_| InvalidKey::Unreadable)
}

impl fmt::Debug for WrappingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WrappingKey([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapped_text_opens_with_its_key_and_context_only() {
        let key = WrappingKey::new(&[1; 32], &[]).unwrap();
        let wrapped = key.wrap(b"private", b"context").unwrap();
        assert_eq!(key.unwrap(&wrapped, b"context").unwrap().as_slice(), b"private");
        assert_ne!(key.wrap(b"private", b"context").unwrap(), wrapped);
        assert!(key.unwrap(&wrapped, b"other").is_none());
        let next = WrappingKey::new(&[2; 40], &[&[3; 32], &[1; 32]]).unwrap();
        assert_eq!(next.unwrap(&wrapped, b"context").unwrap().as_slice(), b"private");
        assert!(key.unwrap(&next.wrap(b"private", b"context").unwrap(), b"context").is_none());
        for at in 0..wrapped.len() {
            let mut changed = wrapped.clone();
            changed[at] ^= 1;
            assert!(key.unwrap(&changed, b"context").is_none(), "{at}");
            assert!(key.unwrap(&wrapped[..at], b"context").is_none(), "{at}");
        }
    }

    #[test]
    fn short_or_zero_secret_is_no_key() {
        for bad in [&[][..], &[1; 31], &[0; 32]] {
            let error = WrappingKey::new(bad, &[]).unwrap_err();
            assert_eq!(error, InvalidKey::Size);
            assert!(error.to_string().contains("wrapping secrets at least 32 random bytes"), "{error}");
            assert_eq!(WrappingKey::new(&[1; 32], &[bad]).unwrap_err(), InvalidKey::Size);
        }
    }
}
