//! HMAC-SHA-256 under a key of 256 bits.

use std::ops::Deref;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use zeroize::Zeroizing;

/// A key of the server's own. It has no `==`, as its bytes would have.
pub(crate) struct Key(Zeroizing<[u8; 32]>);

impl Key {
    pub(crate) const fn new(bytes: Zeroizing<[u8; 32]>) -> Self {
        Self(bytes)
    }

    /// A MAC under this key.
    pub(crate) fn mac(&self) -> KeyedMac {
        KeyedMac::new(&self.0)
    }
}

/// A MAC in the making. Begin with a label: it keeps the uses of a key apart.
#[derive(Clone)]
pub(crate) struct KeyedMac(Hmac<Sha256>);

impl KeyedMac {
    pub(crate) fn new(key: &[u8; 32]) -> Self {
        // RFC 2104 §2 fills a short key up with zeros, so this can't fail as a key of any length could.
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

    /// The one way to compare: in constant time.
    pub(crate) fn verifies(self, tag: &[u8]) -> bool {
        self.0.verify_slice(tag).is_ok()
    }
}

/// A finished MAC, to be sent or to become a token. There is no `==` for it, as there would be for its bytes.
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
    fn a_tag_has_no_equality_operator() {
        static_assertions::assert_not_impl_any!(Tag: PartialEq, PartialOrd, std::hash::Hash);
        static_assertions::assert_not_impl_any!(KeyedMac: PartialEq, PartialOrd, std::hash::Hash);
    }

    /// RFC 4231 §4.2, its 20-byte key filled up with zeros as RFC 2104 does.
    #[test]
    fn the_first_example_of_rfc_4231_holds() {
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let tag = *KeyedMac::new(&key).update(b"Hi ").update(b"There").finish();
        assert_eq!(tag[..8], [0xb0, 0x34, 0x4c, 0x61, 0xd8, 0xdb, 0x38, 0x53]);
        assert!(KeyedMac::new(&key).update(b"Hi There").verifies(&tag));
        assert!(!KeyedMac::new(&key).update(b"Hi There!").verifies(&tag));
        assert!(!KeyedMac::new(&key).update(b"Hi There").verifies(&tag[..31]));
    }
}
