//! HMAC-SHA-256 with keys of 256 bits.

use std::ops::Deref;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A secret key of the server. It has no `==`, because that would not compare in constant time.
pub(crate) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    /// Makes a key from a secret of any length and form (HKDF-Extract, RFC 5869 §2.2).
    pub(crate) fn extract(salt: &[u8; 32], secret: &[u8]) -> Self {
        Self(KeyedMac::new(salt).update(secret).finish().0)
    }

    /// Derives a key. Each `info` gives a different key (HKDF-Expand of one block, RFC 5869 §2.3).
    pub(crate) fn expand(&self, info: &[u8]) -> Self {
        Self(self.mac().update(info).update(&[1]).finish().0)
    }

    /// Returns the bytes, for use with another algorithm.
    #[cfg(feature = "jwt")]
    pub(crate) fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Starts a MAC with this key.
    pub(crate) fn mac(&self) -> KeyedMac {
        KeyedMac::new(&self.0)
    }
}

/// A MAC computation. Add a label first, to separate the uses of a key.
#[derive(Clone)]
pub(crate) struct KeyedMac(Hmac<Sha256>);

impl KeyedMac {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // RFC 2104 §2 pads short keys with zeros. With a full block, `Hmac` has a constructor that can't fail.
        let mut block = Zeroizing::new([0; 64]);
        block[..32].copy_from_slice(key);
        let block: &[u8; 64] = &block;
        Self(Hmac::new(block.into()))
    }

    #[must_use]
    pub(crate) fn update(mut self, bytes: &[u8]) -> Self {
        self.0.update(bytes);
        self
    }

    pub(crate) fn finish(self) -> Tag {
        Tag(Zeroizing::new(self.0.finalize().into_bytes().into()))
    }

    /// Compares in constant time. There is no other way to compare a MAC.
    pub(crate) fn verifies(self, tag: &[u8]) -> bool {
        self.0.verify_slice(tag).is_ok()
    }
}

/// A finished MAC, to send or to make a token from. It has no `==`, because that would not compare in constant time.
pub(crate) struct Tag(Zeroizing<[u8; 32]>);

impl Deref for Tag {
    type Target = [u8; 32];
    fn deref(&self) -> &[u8; 32] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // covers: B35
    #[test]
    fn tag_has_no_equality_operator() {
        static_assertions::assert_not_impl_any!(Tag: PartialEq, PartialOrd, std::hash::Hash);
        static_assertions::assert_not_impl_any!(KeyedMac: PartialEq, PartialOrd, std::hash::Hash);
    }

    /// RFC 5869 §A.1. Its 13-byte salt is padded with zeros, as in RFC 2104.
    #[test]
    fn hkdf_matches_rfc_5869_example() {
        let mut salt = [0; 32];
        salt.iter_mut().zip(0..=0x0c).for_each(|(byte, value)| *byte = value);
        let root = Key::extract(&salt, &[0x0b; 22]);
        assert_eq!(root.0[..8], [0x07, 0x77, 0x09, 0x36, 0x2c, 0x2e, 0x32, 0xdf]);
        let derived = root.expand(&[0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9]);
        assert_eq!(derived.0[..8], [0x3c, 0xb2, 0x5f, 0x25, 0xfa, 0xac, 0xd5, 0x7a]);
        assert_eq!(derived.0[24..], [0x5d, 0xb0, 0x2d, 0x56, 0xec, 0xc4, 0xc5, 0xbf]);
    }

    /// RFC 4231 §4.2. Its 20-byte key is padded with zeros, as in RFC 2104.
    #[test]
    fn hmac_matches_rfc_4231_example() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let tag = *KeyedMac::new(&key).update(b"Hi ").update(b"There").finish();
        assert_eq!(tag[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
        assert!(KeyedMac::new(&key).update(b"Hi There").verifies(&tag));
        assert!(!KeyedMac::new(&key).update(b"Hi There!").verifies(&tag));
        assert!(!KeyedMac::new(&key).update(b"Hi There").verifies(&tag[..31]));
    }
}
