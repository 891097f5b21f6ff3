//! Short-lived entries, stored beside the grants and tokens of [`Storage`](super::Storage).
//!
//! An entry is a value of at most 64 KiB under a key. The digest of the key alone identifies the entry. An entry has a
//! version and a time at which it expires.
//!
//! The library stores here which consent forms and which client assertions were used, and how often the refreshes of a
//! grant were repeated. The latter entries live as long as the grant may be idle. Later versions will add pushed
//! requests, device codes before their approval, other replay caches and deliveries. A store never interprets a value,
//! and the library never stores a secret in plain text in one.
//!
//! # The contract of `EphemeralStore`
//! 1. **Linearizable.** Every later call on every node sees the effect of a call that has returned. A store reads no
//!    cache and no replica. Only [`due`](EphemeralStore::due) may lag.
//! 2. **Atomic.** Each method is one atomic step. Of many calls that insert the same key, one gets [`Inserted::New`].
//!    Of many calls that take the same entry, one gets the value. Of many calls that replace the same version, one
//!    succeeds.
//! 3. **No clock.** Every call gets the time, in whole microseconds. An entry with `expires_at <= now` is absent:
//!    [`insert`](EphemeralStore::insert) overwrites it; [`get`](EphemeralStore::get), [`take`](EphemeralStore::take)
//!    and [`replace`](EphemeralStore::replace) do not find it. It stays until a purge removes it, because the clock of
//!    another node may be behind. If a store also removes entries by its own clock, it waits at least an hour after
//!    `expires_at`.
//! 4. **Versions never repeat.** Each successful `insert` and `replace` gives the entry a new version. A key never gets
//!    the same version twice: not after `take`, expiry, a purge or a restart. Otherwise a caller with an old version
//!    could replace an entry that it has never read. One counter for the whole store is enough. Versions need not be
//!    ordered or consecutive.
//! 5. **Ambiguous outcomes fail closed.** A call whose outcome is unknown returns an error, and the entry may have
//!    changed. If a completed step is repeated, the result is [`Inserted::Taken`] or `None`, never a second success.
//! 6. **Cancelled calls.** A call whose future is dropped happens completely or not at all, possibly a little later.
//! 7. **Values are opaque.** A store returns values unchanged, from the empty value up to [`MAX_VALUE`] bytes.
//!    [`check_value`] rejects longer values before anything is written.
//! 8. **Purge.** [`purge_ephemeral`](EphemeralStore::purge_ephemeral) removes only expired entries, and at most
//!    `limit`.
//!
//! The clocks of nodes differ. A caller that must not lose an entry too early adds the greatest expected difference to
//! `expires_at`.
//!
//! The feature `testing` has test suites for this contract: `grantor::testing::EphemeralContract`, and
//! `StorageContract::ephemeral_store` for a type that is also a [`Storage`](super::Storage).
//!
//! # Deliveries
//! A delivery is a task that a worker carries out at a given time. [`due`](EphemeralStore::due) lists entries by
//! `expires_at`, and a worker must find an entry before it expires. So a delivery for the time T is stored with
//! `expires_at = T + L`, where L is the time that it may be late.
//!
//! 1. A worker purges first, because expired entries stay at the head of the list until a purge removes them.
//! 2. It calls `due` with `at = now + L`, which returns the deliveries for the time `now` or earlier, oldest first.
//! 3. It claims an entry by a `replace` with `expires_at = now + lease + L`. Of several workers, one gets the new
//!    version. If that worker fails, the entry is due again after the lease.
//! 4. After the delivery, it calls `take`.
//!
//! If no worker claims an entry within L, the entry expires and `replace` does not find it.

use std::fmt;

use async_trait::async_trait;
use base64::display::Base64Display;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;

use crate::error::StorageError;
use crate::record::InvalidId;

/// The greatest length of a value, in bytes: 64 KiB.
pub const MAX_VALUE: usize = 64 * 1024;

/// The greatest length of a [`Namespace`].
const MAX_NAMESPACE: usize = 32;

/// A store of short-lived entries. Read [the contract](self) before you implement it.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write the methods
/// as `async fn` with the signatures that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(
    note = "an `EphemeralStore` keeps short-lived entries; `MemoryStorage` and `MemoryEphemeralStore` implement it"
)]
pub trait EphemeralStore: Send + Sync {
    /// Stores an entry, unless the key has an entry that is live at `now`.
    ///
    /// ```text
    /// async fn insert(
    ///     &self,
    ///     key: &EphemeralKey,
    ///     value: &[u8],
    ///     expires_at: OffsetDateTime,
    ///     now: OffsetDateTime,
    /// ) -> Result<Inserted, StorageError>
    /// ```
    ///
    /// # Errors
    /// The value is too long, and nothing was written. Or the store failed, and the entry may or may not be stored.
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError>;

    /// Returns the entry, or `None` if the key has no entry that is live at `now`.
    ///
    /// ```text
    /// async fn get(
    ///     &self,
    ///     key: &EphemeralKey,
    ///     now: OffsetDateTime,
    /// ) -> Result<Option<Versioned>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The store failed.
    async fn get(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Versioned>, StorageError>;

    /// Removes the entry and returns its value, or returns `None` if the key has no entry that is live at `now`. Of
    /// several callers, one gets the value.
    ///
    /// ```text
    /// async fn take(
    ///     &self,
    ///     key: &EphemeralKey,
    ///     now: OffsetDateTime,
    /// ) -> Result<Option<Vec<u8>>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The store failed, and the entry may or may not be removed.
    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError>;

    /// Replaces the value and the time of expiry of the entry, and returns its new version. Returns `None` and writes
    /// nothing if the key has no entry that is live at `now`, or if the version of that entry is not `expected`.
    ///
    /// ```text
    /// async fn replace(
    ///     &self,
    ///     key: &EphemeralKey,
    ///     expected: Version,
    ///     value: &[u8],
    ///     expires_at: OffsetDateTime,
    ///     now: OffsetDateTime,
    /// ) -> Result<Option<Version>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The value is too long, and nothing was written. Or the store failed, and the entry may or may not be replaced.
    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError>;

    /// Returns at most `limit` entries of a namespace that expire at `at` or earlier. They are ordered by `expires_at`.
    /// Entries that expire at the same time are ordered by the bytes of their keys.
    ///
    /// ```text
    /// async fn due(
    ///     &self,
    ///     namespace: Namespace,
    ///     at: OffsetDateTime,
    ///     limit: usize,
    /// ) -> Result<Vec<Due>, StorageError>
    /// ```
    ///
    /// Expired entries are listed until a purge removes them. The list may lag, so a caller must claim an entry with
    /// [`replace`](Self::replace) or [`take`](Self::take) before it acts on it.
    ///
    /// # Errors
    /// The store failed.
    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError>;

    /// Removes at most `limit` entries that expired at `before` or earlier, and returns how many it removed. A caller
    /// repeats the call while it returns `limit`. The call may skip entries that another call is using.
    ///
    /// ```text
    /// async fn purge_ephemeral(
    ///     &self,
    ///     before: OffsetDateTime,
    ///     limit: usize,
    /// ) -> Result<usize, StorageError>
    /// ```
    ///
    /// # Errors
    /// The store failed, and some entries may have been removed.
    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError>;
}

/// Rejects a value that is longer than [`MAX_VALUE`]. Every store must call it before it writes.
///
/// # Errors
/// The value is too long. The error does not show the value.
pub fn check_value(value: &[u8]) -> Result<(), StorageError> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(StorageError::new(format!("an ephemeral value has {} bytes, at most {MAX_VALUE} are allowed", value.len())))
}

/// The purpose of an entry, such as `pushed_request`: 1 to 32 of the characters `a-z`, `0-9` and `_`, beginning with a
/// letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    /// Padded with zeros, which no namespace contains.
    name: [u8; MAX_NAMESPACE],
}

impl Namespace {
    /// Checks a name and returns the namespace.
    ///
    /// # Errors
    /// The name has a wrong length or a character that is not allowed.
    pub const fn new(name: &str) -> Result<Self, InvalidId> {
        let name = name.as_bytes();
        if name.is_empty() || name.len() > MAX_NAMESPACE || !name[0].is_ascii_lowercase() {
            return Err(InvalidId);
        }
        let (mut padded, mut at) = ([0; MAX_NAMESPACE], 0);
        while at < name.len() {
            if !matches!(name[at], b'a'..=b'z' | b'0'..=b'9' | b'_') {
                return Err(InvalidId);
            }
            padded[at] = name[at];
            at += 1;
        }
        Ok(Self { name: padded })
    }

    /// Returns a namespace of the library.
    ///
    /// # Panics
    /// The name is invalid. In a constant, this is a compile error.
    #[expect(clippy::panic, reason = "it is for constants, where a panic is a compile error")]
    pub(crate) const fn from_static(name: &'static str) -> Self {
        match Self::new(name) {
            Ok(namespace) => namespace,
            Err(InvalidId) => panic!("a namespace is a short word in lower case"),
        }
    }

    /// Returns the name, for a store to keep.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.name.iter().position(|byte| *byte == 0).unwrap_or(MAX_NAMESPACE);
        // `new` has checked that it is ASCII.
        std::str::from_utf8(&self.name[..length]).unwrap_or_default()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Namespace({:?})", self.as_str())
    }
}

/// The key of an entry: a namespace, and a digest over issuer, namespace and name.
///
/// The digest alone identifies an entry. A store keeps the namespace beside it for [`due`](EphemeralStore::due).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EphemeralKey {
    digest: [u8; 32],
    namespace: Namespace,
}

impl EphemeralKey {
    /// Returns the key of `name`. This digest is not keyed: if a name can be guessed, the caller must pass a keyed
    /// digest of it.
    pub(crate) fn new(issuer: &str, namespace: Namespace, name: &[u8]) -> Self {
        // The label separates this digest from other digests; the lengths separate its parts.
        let mut digest = Sha256::new();
        for part in [b"grantor ephemeral key 1", issuer.as_bytes(), namespace.as_str().as_bytes(), name] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self { digest: digest.finalize().into(), namespace }
    }

    /// Returns the key with this namespace and digest, which a store has kept.
    #[must_use]
    pub const fn from_bytes(namespace: Namespace, digest: [u8; 32]) -> Self {
        Self { digest, namespace }
    }

    /// Returns the namespace, for a store to keep beside the digest.
    #[must_use]
    pub const fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// Returns the digest, for a store to keep.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Debug for EphemeralKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EphemeralKey({}, {})", self.namespace, Base64Display::new(&self.digest, &URL_SAFE_NO_PAD))
    }
}

/// The version of an entry. The store chooses it, and never gives a key the same version twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// Returns the version with this number, which a store has chosen or kept.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// Returns the number, for a store to keep.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// An entry as [`get`](EphemeralStore::get) returns it. Its `Debug` form does not show the value.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a custom store builds it")]
pub struct Versioned {
    /// The stored bytes.
    pub value: Vec<u8>,
    /// The current version, to pass to [`replace`](EphemeralStore::replace).
    pub version: Version,
    /// The time from which the entry counts as absent.
    pub expires_at: OffsetDateTime,
}

impl fmt::Debug for Versioned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Versioned")
            .field("version", &self.version)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// The outcome of an [`insert`](EphemeralStore::insert).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use = "if the key is Taken, nothing was stored"]
#[expect(clippy::exhaustive_enums, reason = "each outcome must be handled")]
pub enum Inserted {
    /// The entry was stored, with this version.
    New(Version),
    /// The key has a live entry; nothing was written.
    Taken,
}

/// An entry as [`due`](EphemeralStore::due) lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a custom store builds it")]
pub struct Due {
    /// The key of the entry.
    pub key: EphemeralKey,
    /// The entry, as it was when the list was made.
    pub entry: Versioned,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn namespace(name: &str) -> Namespace {
        Namespace::new(name).unwrap()
    }

    #[test]
    fn namespace_is_a_short_lower_case_word() {
        for good in ["a", "pushed_request", "b2", &"x".repeat(32)] {
            assert_eq!(namespace(good).as_str(), good);
            assert_eq!(format!("{} {:?}", namespace(good), namespace(good)), format!("{good} Namespace({good:?})"));
        }
        for bad in ["", "A", "1a", "_a", "a-b", "a.b", "a b", "a\0", "\u{e9}", &"x".repeat(33)] {
            assert_eq!(Namespace::new(bad), Err(InvalidId), "{bad:?}");
        }
    }

    #[test]
    fn key_depends_on_issuer_namespace_and_name() {
        let key = |issuer, name, of: &[u8]| *EphemeralKey::new(issuer, namespace(name), of).as_bytes();
        let all = [
            key("https://a.example", "ab", b"c"),
            key("https://a.example", "a", b"bc"),
            key("https://a.examplea", "b", b"c"),
            key("https://a.example", "ab", b""),
            key("https://b.example", "ab", b"c"),
        ];
        for (place, one) in all.iter().enumerate() {
            assert!(all[..place].iter().all(|other| other != one), "{place}");
        }
        assert_eq!(all[0], key("https://a.example", "ab", b"c"));
    }

    #[test]
    fn key_comes_back_from_its_parts() {
        let key = EphemeralKey::new("https://a.example", namespace("device_code"), b"name");
        assert_eq!(EphemeralKey::from_bytes(key.namespace(), *key.as_bytes()), key);
        let shown = EphemeralKey::from_bytes(namespace("a"), [0; 32]);
        assert_eq!(format!("{shown:?}"), format!("EphemeralKey(a, {})", "A".repeat(43)));
    }

    #[test]
    fn value_above_64_kib_is_rejected() {
        assert!(check_value(&[]).is_ok());
        assert!(check_value(&vec![7; 65_536]).is_ok());
        let error = check_value(&vec![7; 65_537]).unwrap_err();
        assert!(!error.is_unavailable());
        let cause = std::error::Error::source(&error).unwrap().to_string();
        assert_eq!(cause, "an ephemeral value has 65537 bytes, at most 65536 are allowed");
    }

    #[test]
    fn debug_form_of_an_entry_hides_its_value() {
        let entry = Versioned {
            value: b"visible".to_vec(),
            version: Version::from_u64(7),
            expires_at: OffsetDateTime::UNIX_EPOCH,
        };
        let due = Due { key: EphemeralKey::from_bytes(namespace("a"), [0; 32]), entry };
        let shown = format!("{due:?}");
        assert!(shown.contains("Version(7)"), "{shown}");
        let bytes = format!("{:?}", b"visible");
        assert!(!shown.contains("visible") && !shown.contains(bytes.trim_matches(['[', ']'])), "{shown}");
    }
}
