//! Signing keys that a host app keeps and rotates itself.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use async_trait::async_trait;

use super::algorithm::Algorithm;
use super::jws::MAX_KEY_ID;
use super::key::PublicKey;
use super::sign::{KeyError, Keys, Signer};

/// The signing keys of a server, in memory. Each algorithm has one key that signs. Further public keys are only
/// published.
///
/// To rotate a key, replace the ring three times. First publish the next key. When caches of the key set have expired,
/// sign with the next key and keep the old one published. When the last token signed by the old key has expired, remove
/// the old key.
///
/// ```
/// use grantor::jose::{Algorithm, KeyRing, SigningKey};
///
/// let (now, next) = (SigningKey::generate(Algorithm::Es256)?, SigningKey::generate(Algorithm::Es256)?);
/// let ring = KeyRing::new().sign_with(now).publish(next.public_key().clone()).build()?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct KeyRing {
    algorithms: Vec<Algorithm>,
    ring: RwLock<Arc<Ring>>,
}

/// Builds a [`KeyRing`].
#[derive(Debug, Default)]
#[must_use = "it does nothing until it is built"]
pub struct KeyRingBuilder {
    signers: Vec<Arc<dyn Signer>>,
    others: Vec<PublicKey>,
}

struct Ring {
    signers: Vec<Arc<dyn Signer>>,
    published: Arc<[PublicKey]>,
}

/// The reason why the keys are not a valid ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyRingError {
    /// No key signs.
    #[error("the key ring has no key that signs: add one with sign_with")]
    NoSigner,
    /// A key has no algorithm, or its identifier does not have 1 to 256 bytes.
    #[error("each key of a ring needs an identifier (`kid`) of 1 to 256 bytes and an algorithm (`alg`)")]
    Incomplete,
    /// Two keys have the same identifier.
    #[error("two keys of the ring have the identifier {0:?}: give each key its own identifier")]
    SameId(Box<str>),
    /// A key occurs twice, and would sign with two algorithms (RFC 8725 §3.1).
    #[error("the key {0:?} is in the ring twice: use a separate key for each algorithm")]
    SameKey(Box<str>),
    /// Two keys sign with the same algorithm.
    #[error("two keys of the ring sign with {0}: sign with one of them, and only publish the other")]
    SameAlgorithm(Algorithm),
    /// The new ring signs with other algorithms than the old one, and the metadata does not name them.
    #[error(
        "the new ring signs with other algorithms than the old one: use the same algorithms, or build a new server"
    )]
    OtherAlgorithms,
}

impl KeyRing {
    /// Returns a builder for a ring.
    #[expect(clippy::new_ret_no_self, reason = "the ring needs a key first")]
    pub fn new() -> KeyRingBuilder {
        KeyRingBuilder::default()
    }

    /// Replaces all keys while the server runs.
    ///
    /// # Errors
    /// [`KeyRingError::OtherAlgorithms`]
    pub fn replace(&self, other: Self) -> Result<(), KeyRingError> {
        if other.algorithms != self.algorithms {
            return Err(KeyRingError::OtherAlgorithms);
        }
        let ring = other.ring.into_inner().unwrap_or_else(PoisonError::into_inner);
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = ring;
        Ok(())
    }

    fn now(&self) -> Arc<Ring> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl KeyRingBuilder {
    /// Adds a key that signs, and publishes it. The algorithm of the first key is the default.
    pub fn sign_with(mut self, signer: impl Signer + 'static) -> Self {
        self.signers.push(Arc::new(signer));
        self
    }

    /// Publishes a key that does not sign yet, or no longer signs.
    pub fn publish(mut self, key: PublicKey) -> Self {
        self.others.push(key);
        self
    }

    /// Returns the ring.
    ///
    /// # Errors
    /// The keys are not a valid ring.
    pub fn build(self) -> Result<KeyRing, KeyRingError> {
        let Self { signers, others } = self;
        let published: Vec<PublicKey> = signers.iter().map(|signer| signer.key().clone()).chain(others).collect();
        let (mut ids, mut keys, mut algorithms) = (HashSet::new(), HashSet::new(), Vec::new());
        for key in &published {
            // The library does not read a longer identifier (RFC 8725 §3.10).
            let is_complete = |id: &&str| (1..=MAX_KEY_ID).contains(&id.len()) && key.algorithm().is_some();
            let id = key.id().filter(is_complete).ok_or(KeyRingError::Incomplete)?;
            if !ids.insert(id) {
                return Err(KeyRingError::SameId(id.into()));
            }
            if !keys.insert(key.thumbprint()) {
                return Err(KeyRingError::SameKey(id.into()));
            }
        }
        for algorithm in signers.iter().filter_map(|signer| signer.key().algorithm()) {
            if algorithms.contains(&algorithm) {
                return Err(KeyRingError::SameAlgorithm(algorithm));
            }
            algorithms.push(algorithm);
        }
        if algorithms.is_empty() {
            return Err(KeyRingError::NoSigner);
        }
        let ring = Ring { signers, published: published.into() };
        Ok(KeyRing { algorithms, ring: RwLock::new(Arc::new(ring)) })
    }
}

#[async_trait]
impl Keys for KeyRing {
    fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    async fn signer(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, KeyError> {
        let ring = self.now();
        let signer = ring.signers.iter().find(|signer| signer.key().algorithm() == Some(algorithm));
        signer.cloned().ok_or(KeyError::NoKey(algorithm))
    }

    async fn published(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        Ok(Arc::clone(&self.now().published))
    }
}

impl fmt::Debug for Ring {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring").field("published", &self.published).finish_non_exhaustive()
    }
}

impl fmt::Debug for dyn Signer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signer({:?})", self.key())
    }
}
