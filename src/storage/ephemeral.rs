//! Entries that live for minutes, kept beside the grants and tokens of [`Storage`](super::Storage).
//!
//! An entry is a value of at most 64 KiB under a key, whose digest alone identifies it. It has a version and a time at which it
//! expires. The library keeps here which consent forms were used, and how often the refreshes of a grant were repeated, for as long as the
//! grant may be idle; later pushed requests, device codes before their approval, replay caches and deliveries. A store never reads a
//! value, and the library puts no secret in clear into one.
//!
//! # The contract of `EphemeralStore`
//! 1. **Linearizable.** Every later call on every node sees the effect of a call that has returned. A store reads no cache and
//!    no replica. Only [`due`](EphemeralStore::due) may lag.
//! 2. **Atomic.** Each method is one atomic step. Of many calls that insert one key, one gets [`Inserted::New`]. Of many calls
//!    that take one entry, one gets the value. Of many calls that replace one version, one gets a new version.
//! 3. **No clock.** Every call gets the time, in whole microseconds. An entry with `expires_at <= now` is absent:
//!    [`insert`](EphemeralStore::insert) overwrites it; [`get`](EphemeralStore::get), [`take`](EphemeralStore::take) and
//!    [`replace`](EphemeralStore::replace) do not find it. It stays until a purge removes it, because it may still live by the
//!    clock of another node. A store that also removes entries by its own clock does so an hour after `expires_at` or later.
//! 4. **Versions never repeat.** Each successful `insert` and `replace` gives the entry a new version. A key never gets the
//!    same version twice: not after `take`, expiry, a purge or a restart. Otherwise a caller with an old version could replace
//!    an entry that it has never read. One counter for the whole store is enough. Versions need no order and no sequence.
//! 5. **Ambiguous outcomes fail closed.** A call whose outcome is unknown fails, and the entry may have changed. A step that
//!    is repeated after it was done answers [`Inserted::Taken`] or `None`, never a second success.
//! 6. **Calls that are given up** (their future is dropped) happen whole or not at all, possibly a little later.
//! 7. **Values are opaque.** Each byte comes back, from an empty value up to [`MAX_VALUE`] bytes. [`check_value`] rejects a
//!    longer one before anything is written.
//! 8. **Purge.** [`purge_ephemeral`](EphemeralStore::purge_ephemeral) removes expired entries only, and at most as many as it
//!    may.
//!
//! The clocks of nodes differ. A caller that must not forget an entry too early adds the greatest difference to `expires_at`.
//!
//! The feature `testing` brings the contract as a suite: `grantor::testing::EphemeralContract`, and
//! `StorageContract::ephemeral_store` for a storage that is both.
//!
//! # Deliveries
//! [`due`](EphemeralStore::due) lists entries by the time at which they expire, and a delivery has to be found while its entry
//! still lives. So a delivery that is due at T is stored with `expires_at = T + L`, where L is how long it may wait after that.
//! A worker calls `due` with `at = now + L` and gets the deliveries that are due by now, oldest first. It claims an entry by a `replace` to
//! `expires_at = now + lease + L`: of several workers one gets the new version, and the entry is due again after the lease if
//! that worker fails. After the delivery it calls `take`. An entry for which no worker came within L has expired: `replace` does
//! not find it, and it stays at the head of the list until a purge removes it. So a worker purges before it lists.

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

/// Keeps entries that live for minutes. Read [the contract](self) before implementing it.
#[async_trait]
#[diagnostic::on_unimplemented(
    note = "an `EphemeralStore` keeps entries that live for minutes; `MemoryStorage` and `MemoryEphemeralStore` are one"
)]
pub trait EphemeralStore: Send + Sync {
    /// Stores an entry unless the key has one that lives at `now`.
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
    /// The value is too long, and nothing was written; or the store failed, and the entry may have been stored.
    async fn insert(
        &self,
        key: &EphemeralKey,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Inserted, StorageError>;

    /// Returns the entry, or `None` if the key has none that lives at `now`.
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

    /// Removes the entry and returns its value, or `None` if the key has none that lives at `now`. Of several callers one gets
    /// the value.
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
    /// The store failed, and the entry may be gone.
    async fn take(&self, key: &EphemeralKey, now: OffsetDateTime) -> Result<Option<Vec<u8>>, StorageError>;

    /// Writes another value and time of expiry to the entry, and returns its new version. Returns `None` and writes nothing if
    /// the key has no entry that lives at `now`, or if that entry has another version than `expected`.
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
    /// The value is too long, and nothing was written; or the store failed, and the entry may have been replaced.
    async fn replace(
        &self,
        key: &EphemeralKey,
        expected: Version,
        value: &[u8],
        expires_at: OffsetDateTime,
        now: OffsetDateTime,
    ) -> Result<Option<Version>, StorageError>;

    /// Returns the entries of a namespace that expire at `at` or earlier, at most `limit`. They are ordered by `expires_at`, and
    /// entries that expire at the same time by the bytes of their keys.
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
    /// An expired entry is listed until a purge removes it. The list may lag: a caller acts on an entry only after it has
    /// claimed it by [`replace`](Self::replace) or [`take`](Self::take).
    ///
    /// # Errors
    /// The store failed.
    async fn due(&self, namespace: Namespace, at: OffsetDateTime, limit: usize) -> Result<Vec<Due>, StorageError>;

    /// Removes entries that expired at `before` or earlier, at most `limit`, and returns how many it removed. A caller repeats
    /// it while it returns `limit`. Entries that another call is working on may be left to the next time.
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
    /// The store failed; some entries may have been removed.
    async fn purge_ephemeral(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError>;
}

/// Rejects a value that is longer than [`MAX_VALUE`]. Every store calls it before it writes.
///
/// # Errors
/// The value is too long. The error does not show the value.
pub fn check_value(value: &[u8]) -> Result<(), StorageError> {
    if value.len() <= MAX_VALUE {
        return Ok(());
    }
    Err(StorageError::new(format!("an ephemeral value has {} bytes, at most {MAX_VALUE} are allowed", value.len())))
}

/// The use that an entry belongs to, such as `pushed_request`: 1 to 32 of the characters `a-z`, `0-9` and `_`, the first one a
/// letter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace {
    /// Filled up with zeros, which no namespace contains.
    name: [u8; MAX_NAMESPACE],
}

impl Namespace {
    /// Checks the name.
    ///
    /// # Errors
    /// The name does not meet the rule above.
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

    /// A namespace of the library's own.
    ///
    /// # Panics
    /// The name does not meet the rule above. In a constant, the program does not compile.
    #[expect(clippy::panic, reason = "it is for constants, where a panic is an error of the compiler")]
    pub(crate) const fn from_static(name: &'static str) -> Self {
        match Self::new(name) {
            Ok(namespace) => namespace,
            Err(InvalidId) => panic!("a namespace is a short word in lower case"),
        }
    }

    /// The name, to be stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        let length = self.name.iter().position(|byte| *byte == 0).unwrap_or(MAX_NAMESPACE);
        // It is ASCII, as `new` has checked.
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
    /// The key of `name`. A name that can be guessed is first turned into a keyed digest by the caller, because this digest has
    /// no key.
    pub(crate) fn new(issuer: &str, namespace: Namespace, name: &[u8]) -> Self {
        // The label keeps this digest apart from all others, the lengths keep its parts apart.
        let mut digest = Sha256::new();
        for part in [b"grantor ephemeral key 1", issuer.as_bytes(), namespace.as_str().as_bytes(), name] {
            digest.update((part.len() as u64).to_be_bytes());
            digest.update(part);
        }
        Self { digest: digest.finalize().into(), namespace }
    }

    /// The key with this namespace and digest, as they were stored.
    #[must_use]
    pub const fn from_bytes(namespace: Namespace, digest: [u8; 32]) -> Self {
        Self { digest, namespace }
    }

    /// The namespace, to be stored beside the digest.
    #[must_use]
    pub const fn namespace(&self) -> Namespace {
        self.namespace
    }

    /// The digest, to be stored.
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

/// The version of an entry. A store chooses it; no key gets one twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version(u64);

impl Version {
    /// A version, as a store has drawn or stored it.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number, to be stored.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// An entry as [`get`](EphemeralStore::get) returns it. Its `Debug` form does not show the value.
#[derive(Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a host's store builds it")]
pub struct Versioned {
    /// The bytes that were stored.
    pub value: Vec<u8>,
    /// The version that [`replace`](EphemeralStore::replace) expects.
    pub version: Version,
    /// From when on the entry is absent.
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
    /// The key has an entry that lives; nothing was written.
    Taken,
}

/// An entry as [`due`](EphemeralStore::due) lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::exhaustive_structs, reason = "a host's store builds it")]
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
