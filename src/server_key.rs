//! The server key: a secret of the host app, from which a key for each purpose is derived.

use crate::mac::{Key, KeyedMac};

/// The purpose of a derived key. Keys for different purposes are independent of each other.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Label {
    /// Seals consent forms, which pass through a browser.
    FormToken,
    /// Protects the user of a consent form.
    FormUser,
    /// Seals authorization requests, which pass through a login.
    ReturnTarget,
}

impl Label {
    /// Returns the text from which the key is derived. It never changes, so that sealed values can be opened after an
    /// update.
    const fn text(self) -> &'static [u8] {
        match self {
            Self::FormToken => b"grantor/1/form_token",
            Self::FormUser => b"grantor/1/form_user",
            Self::ReturnTarget => b"grantor/1/return_target",
        }
    }
}

/// The current key and the previous keys.
pub(crate) struct ServerKey {
    current: Key,
    previous: Vec<Key>,
}

impl ServerKey {
    /// Reads the secrets of the host app. Returns `None` if one of them is shorter than 32 bytes or contains only
    /// zeros, like a buffer that was never filled.
    pub(crate) fn new<'a>(current: &[u8], previous: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        Some(Self { current: root(current)?, previous: previous.into_iter().map(root).collect::<Option<_>>()? })
    }

    /// Derives the keys for one purpose.
    pub(crate) fn derive(&self, label: Label) -> DerivedKey {
        let derive = |key: &Key| key.expand(label.text());
        DerivedKey { current: derive(&self.current), previous: self.previous.iter().map(derive).collect() }
    }
}

fn root(secret: &[u8]) -> Option<Key> {
    const SALT: &[u8; 32] = b"grantor/1/server_key\0\0\0\0\0\0\0\0\0\0\0\0";
    let is_a_secret = secret.len() >= 32 && secret.iter().any(|byte| *byte != 0);
    is_a_secret.then(|| Key::extract(SALT, secret))
}

/// The keys for one purpose. Only the current key seals; all keys open.
pub(crate) struct DerivedKey {
    current: Key,
    previous: Vec<Key>,
}

impl DerivedKey {
    /// Starts the MAC of a new value, under the current key.
    pub(crate) fn mac(&self) -> KeyedMac {
        self.current.mac()
    }

    /// Returns whether the tag was made under any of the keys. `content` adds the value to a MAC.
    pub(crate) fn verifies(&self, content: impl Fn(KeyedMac) -> KeyedMac, tag: &[u8]) -> bool {
        std::iter::once(&self.current).chain(&self.previous).any(|key| content(key.mac()).verifies(tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn previous_key_opens_and_never_seals() {
        let (old, new) = ([1; 32], [2; 40]);
        let derive = |current: &[u8], previous: &[&[u8]]| {
            ServerKey::new(current, previous.iter().copied()).unwrap().derive(Label::FormToken)
        };
        let content = |mac: KeyedMac| mac.update(b"content");
        let (before, after, forgotten) = (derive(&old, &[]), derive(&new, &[&[3; 32], &old]), derive(&new, &[]));
        let (sealed_before, sealed_after) = (content(before.mac()).finish(), content(after.mac()).finish());
        assert!(before.verifies(content, &*sealed_before) && after.verifies(content, &*sealed_before));
        assert!(after.verifies(content, &*sealed_after) && forgotten.verifies(content, &*sealed_after));
        assert!(!before.verifies(content, &*sealed_after) && !forgotten.verifies(content, &*sealed_before));
        assert!(!after.verifies(|mac| mac.update(b"other"), &*sealed_before));
    }

    #[test]
    fn short_or_zero_secret_is_no_key() {
        for good in [&[1; 32][..], &[1; 33], &[1; 200]] {
            assert!(ServerKey::new(good, [good]).is_some());
        }
        for bad in [&[][..], &[1; 31], &[0; 32], &[0; 64]] {
            assert!(ServerKey::new(bad, []).is_none(), "{bad:?}");
            assert!(ServerKey::new(&[1; 32], [&[2; 32][..], bad]).is_none(), "{bad:?}");
        }
    }

    #[test]
    fn each_label_derives_another_key() {
        let key = ServerKey::new(&[1; 32], [&[2; 32][..]]).unwrap();
        let labels = [Label::FormToken, Label::FormUser, Label::ReturnTarget];
        let content = |mac: KeyedMac| mac.update(b"content");
        for (place, label) in labels.into_iter().enumerate() {
            let tag = content(key.derive(label).mac()).finish();
            for (other_place, other) in labels.into_iter().enumerate() {
                assert_eq!(key.derive(other).verifies(content, &*tag), place == other_place, "{label:?} {other:?}");
            }
        }
    }

    #[test]
    fn secrets_that_differ_anywhere_derive_different_keys() {
        let tag = |secret: &[u8]| *ServerKey::new(secret, []).unwrap().derive(Label::FormToken).mac().finish();
        let long = [7; 100];
        for at in 0..100 {
            let mut other = long;
            other[at] ^= 1;
            assert_ne!(tag(&long), tag(&other), "{at}");
        }
        assert_ne!(tag(&long), tag(&long[..99]));
    }
}
