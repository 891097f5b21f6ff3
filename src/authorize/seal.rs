//! Seals: content that the browser keeps for the server, protected by a MAC.
//!
//! The content is not encrypted, because the browser already has the request in its address bar.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::codec::put;
use crate::error::Refusal;
use crate::mac::KeyedMac;
use crate::server_key::DerivedKey;

/// The format of the sealed content. Content in another format is stale.
const FORMAT: u8 = 2;
const TAG_LENGTH: usize = 32;

/// The key of one purpose, with the values that the content is bound to. The content does not include those values.
pub(super) struct Seal<'a> {
    pub(super) key: &'a DerivedKey,
    pub(super) bound_to: &'a [&'a [u8]],
}

impl Seal<'_> {
    pub(super) fn seal(&self, content: &[u8]) -> String {
        URL_SAFE_NO_PAD.encode(self.seal_bytes(content))
    }

    /// Seals a content that becomes a part of another sealed content.
    pub(super) fn seal_bytes(&self, content: &[u8]) -> Vec<u8> {
        self.seal_as(FORMAT, content)
    }

    fn seal_as(&self, format: u8, content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(1 + content.len() + TAG_LENGTH);
        bytes.push(format);
        bytes.extend_from_slice(content);
        let tag = self.add(self.key.mac(), &bytes).finish();
        bytes.extend_from_slice(tag.as_slice());
        bytes
    }

    /// Returns the content if this server sealed it for the same purpose, bound to the same values.
    pub(super) fn open(&self, text: &str) -> Result<Vec<u8>, Refusal> {
        self.open_bytes(decode(text)?)
    }

    /// Returns the content that [`seal_bytes`](Self::seal_bytes) sealed.
    pub(super) fn open_bytes(&self, mut bytes: Vec<u8>) -> Result<Vec<u8>, Refusal> {
        let start_of_tag = bytes.len().checked_sub(TAG_LENGTH).ok_or(Refusal::InvalidFormToken)?;
        let (content, tag) = bytes.split_at(start_of_tag);
        if !self.key.verifies(|mac| self.add(mac, content), tag) {
            return Err(Refusal::InvalidFormToken);
        }
        bytes.truncate(start_of_tag);
        if bytes.first() != Some(&FORMAT) {
            return Err(Refusal::StaleFormToken);
        }
        Ok(bytes.split_off(1))
    }

    fn add(&self, mac: KeyedMac, bytes: &[u8]) -> KeyedMac {
        let mut bound_to = Vec::new();
        self.bound_to.iter().for_each(|field| put(&mut bound_to, field));
        put(&mut bound_to, bytes);
        mac.update(&bound_to)
    }
}

fn decode(text: &str) -> Result<Vec<u8>, Refusal> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Refusal::InvalidFormToken)
}

/// Returns the content of a sealed text without checking the MAC. Do not trust it.
pub(super) fn unproven_content(text: &str) -> Option<Vec<u8>> {
    let mut bytes = decode(text).ok()?;
    bytes.truncate(bytes.len().checked_sub(TAG_LENGTH)?);
    (bytes.first() == Some(&FORMAT)).then(|| bytes.split_off(1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server_key::{Label, ServerKey};

    fn key(secret: u8) -> DerivedKey {
        ServerKey::new(&[secret; 32], []).unwrap().derive(Label::FormToken)
    }

    #[test]
    fn sealed_content_needs_its_key_and_binding() {
        let (key, other_key) = (key(1), key(2));
        let seal = Seal { key: &key, bound_to: &[b"x", b"y"] };
        let text = seal.seal(b"content");
        assert_eq!(seal.open(&text), Ok(b"content".to_vec()));
        for other in [
            Seal { key: &other_key, bound_to: &[b"x", b"y"] },
            Seal { key: &key, bound_to: &[b"xy", b""] },
            Seal { key: &key, bound_to: &[b"x"] },
        ] {
            assert_eq!(other.open(&text), Err(Refusal::InvalidFormToken));
        }
    }

    #[test]
    fn sealed_content_of_another_format_is_stale() {
        let key = key(1);
        let seal = Seal { key: &key, bound_to: &[] };
        for format in [0, 1, 255] {
            assert_eq!(seal.open_bytes(seal.seal_as(format, b"content")), Err(Refusal::StaleFormToken));
        }
    }
}
