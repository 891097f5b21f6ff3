//! Keys that sign.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use super::algorithm::Algorithm;
use super::jws::{NewHeader, append_signature, signing_input};
use super::key::PublicKey;
use crate::error::SigningError;

/// A private key that signs, here or in another service. Nothing returns its bytes.
///
/// `grantor::testing` has a test suite for implementations.
#[async_trait]
pub trait Signer: Send + Sync {
    /// Returns the public half, which must have an identifier and an algorithm. This is called for each signature, so
    /// the implementation must have the key at hand and not fetch it.
    fn key(&self) -> &PublicKey;

    /// Signs these bytes. This includes the hash that the algorithm prescribes.
    ///
    /// ```text
    /// async fn sign(&self, input: &[u8]) -> Result<Signature, SignerError>
    /// ```
    ///
    /// # Errors
    /// The key could not be used. The request fails, and nothing is stored.
    async fn sign(&self, input: &[u8]) -> Result<Signature, SignerError>;
}

/// The signing keys of a server. The server calls this for each request, so keys can change while it runs.
#[async_trait]
pub trait Keys: Send + Sync {
    /// Returns the algorithms that can sign, the default first. They never change.
    fn algorithms(&self) -> &[Algorithm];

    /// Returns the key that signs with this algorithm now.
    ///
    /// ```text
    /// async fn signer(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, KeyError>
    /// ```
    ///
    /// # Errors
    /// No key signs with this algorithm, or the keys could not be read.
    async fn signer(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, KeyError>;

    /// Returns the public keys: the next keys, the keys that sign, and old keys whose tokens may still be valid.
    ///
    /// ```text
    /// async fn published(&self) -> Result<Arc<[PublicKey]>, KeyError>
    /// ```
    ///
    /// # Errors
    /// It could not be found out.
    async fn published(&self) -> Result<Arc<[PublicKey]>, KeyError>;

    /// Reads the public keys again and returns them. This is called when a token names a key that
    /// [`published`](Self::published) did not return, because another node may just have generated it. Anyone can send
    /// such a token, so an implementation that reads a remote store must limit how often it does. Default: the same as
    /// `published`.
    ///
    /// ```text
    /// async fn reload(&self) -> Result<Arc<[PublicKey]>, KeyError>
    /// ```
    ///
    /// # Errors
    /// It could not be found out.
    async fn reload(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        self.published().await
    }

    /// Receives the clock and the observer of the server. [`Builder::build`](crate::Builder::build) calls this before
    /// it reads any key. If several servers share the keys, each of them calls this, and the last call counts. By
    /// default, it does nothing.
    fn connect(&self, _server: Arc<dyn KeysContext>) {}

    /// Returns the schedule of keys that rotate automatically. `None`, the default, means that the host app rotates the
    /// keys.
    fn schedule(&self) -> Option<&KeySchedule> {
        None
    }
}

/// The clock and the observer that a server gives to its keys.
pub trait KeysContext: Send + Sync {
    /// Returns the time of the server's clock.
    fn now(&self) -> OffsetDateTime;

    /// Reports to the server's observer that the keys could not be read, although no request failed
    /// ([`EventKind::KeysUnavailable`](crate::EventKind::KeysUnavailable)). The server itself reports the errors that
    /// [`signer`](Keys::signer) and [`published`](Keys::published) return.
    fn keys_unavailable(&self, error: KeyError);
}

/// The schedule by which keys rotate automatically. The server does not build with an invalid schedule. Each time must
/// be positive and at most ten years. Keys must be published for at least a minute before they sign, and must not be
/// replaced before they sign. At most 16 keys may be published at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct KeySchedule {
    /// How long a key signs. Default: 90 days.
    pub rotate_every: Duration,
    /// How long a key is published before it signs, so that caches and other nodes know it by then. Default: one day.
    pub publish_ahead: Duration,
    /// How long a key is published after its last signature. It must be at least as long as a signed token is valid. A
    /// time shorter than `publish_ahead` counts as `publish_ahead`. Default: two days.
    pub keep: Duration,
}

impl Default for KeySchedule {
    fn default() -> Self {
        Self { rotate_every: Duration::days(90), publish_ahead: Duration::days(1), keep: Duration::days(2) }
    }
}

/// The maximum number of keys that are published at once, for all algorithms together. Clients fetch all of them.
const MOST_PUBLISHED: i128 = 16;

impl KeySchedule {
    /// Checks the times for a server with this number of algorithms. The error describes the problem and what to do.
    pub(crate) fn check(self, algorithms: usize) -> Result<(), String> {
        let Self { rotate_every, publish_ahead, keep } = self;
        for (name, time) in [("rotate_every", rotate_every), ("publish_ahead", publish_ahead), ("keep", keep)] {
            if time <= Duration::ZERO || time > Duration::days(3_650) {
                return Err(format!("{name} of the schedule is {time}: give a positive time of at most ten years"));
            }
        }
        if publish_ahead < Duration::MINUTE {
            return Err(format!("publish_ahead of the schedule is {publish_ahead}: give at least a minute"));
        }
        if rotate_every <= publish_ahead {
            return Err(format!(
                "a key is replaced before it signs: rotate_every of the schedule ({rotate_every}) must be longer than publish_ahead \
                 ({publish_ahead})"
            ));
        }
        // Besides the key that signs, earlier and later keys are published.
        let beside = (publish_ahead + keep.max(publish_ahead)).whole_nanoseconds();
        let each = rotate_every.whole_nanoseconds();
        let algorithms = i128::try_from(algorithms).unwrap_or(i128::MAX).max(1);
        let published = (1 + (beside + each - 1) / each).saturating_mul(algorithms);
        if published <= MOST_PUBLISHED {
            return Ok(());
        }
        Err(format!(
            "{published} keys would be published at the same time, but at most {MOST_PUBLISHED} are allowed: make \
             rotate_every of the schedule ({rotate_every}) longer, or keep ({keep}) and publish_ahead \
             ({publish_ahead}) shorter, or give fewer algorithms"
        ))
    }

    /// Returns how often a node reads the store: several times before a new key signs.
    pub(crate) fn reload_every(self) -> Duration {
        let quarter: Duration = self.publish_ahead / 4;
        quarter.min(Duration::minutes(5))
    }

    /// Returns the maximum time for which a node publishes the keys that it has read, if its store fails. At the end of
    /// this time, no key signs yet that the node has not seen.
    pub(crate) fn longest_known(self) -> Duration {
        self.publish_ahead / 2
    }

    /// Returns the maximum time for which a cache may keep the public keys. The keys may already be as old as
    /// [`longest_known`](Self::longest_known).
    pub(crate) fn longest_cache(self) -> Duration {
        self.publish_ahead - self.longest_known()
    }
}

#[async_trait]
impl<T: Signer + ?Sized> Signer for Arc<T> {
    fn key(&self) -> &PublicKey {
        (**self).key()
    }

    async fn sign(&self, input: &[u8]) -> Result<Signature, SignerError> {
        (**self).sign(input).await
    }
}

#[async_trait]
impl<T: Keys + ?Sized> Keys for Arc<T> {
    fn algorithms(&self) -> &[Algorithm] {
        (**self).algorithms()
    }

    async fn signer(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, KeyError> {
        (**self).signer(algorithm).await
    }

    async fn published(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        (**self).published().await
    }

    async fn reload(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        (**self).reload().await
    }

    fn connect(&self, server: Arc<dyn KeysContext>) {
        (**self).connect(server);
    }

    fn schedule(&self) -> Option<&KeySchedule> {
        (**self).schedule()
    }
}

/// A signature in the form that JOSE uses (RFC 7518 §3.3 to §3.5, RFC 8037 §3.1). For ECDSA these are the numbers R and
/// S, concatenated, each as long as the curve's order.
#[derive(Clone, PartialEq, Eq)]
pub struct Signature(Vec<u8>);

impl Signature {
    /// Wraps a signature that already has this form.
    #[must_use]
    pub fn from_bytes(bytes: impl Into<Vec<u8>>) -> Self {
        Self(bytes.into())
    }

    /// Converts an ECDSA signature in the DER form (RFC 3279 §2.2.3), which key management services return. Returns
    /// `None` if the signature has another form, or the algorithm is not ECDSA.
    #[must_use]
    pub fn from_der(algorithm: Algorithm, der: &[u8]) -> Option<Self> {
        let width = match algorithm {
            Algorithm::Es256 => 32,
            Algorithm::Es384 => 48,
            _ => return None,
        };
        // For both curves, the numbers are so short that each length fits into one byte.
        let (numbers, rest) = der_value(0x30, der)?;
        let (r, numbers) = der_value(0x02, numbers)?;
        let (s, end) = der_value(0x02, numbers)?;
        if !(rest.is_empty() && end.is_empty()) {
            return None;
        }
        let mut bytes = vec![0; 2 * width];
        let (first, second) = bytes.split_at_mut(width);
        put_number(r, first)?;
        put_number(s, second)?;
        Some(Self(bytes))
    }

    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Removes one value with this tag from the front and returns it.
fn der_value(tag: u8, der: &[u8]) -> Option<(&[u8], &[u8])> {
    let [first, length, rest @ ..] = der else { return None };
    let is_meant = *first == tag && *length < 0x80;
    if is_meant { rest.split_at_checked(usize::from(*length)) } else { None }
}

/// Writes a positive DER number to the end of `place`.
fn put_number(number: &[u8], place: &mut [u8]) -> Option<()> {
    let digits = match number {
        // DER puts a zero before a number whose highest bit is set, and before no other number.
        [0, digits @ ..] if digits.first().is_some_and(|first| *first >= 0x80) => digits,
        [first, ..] if *first != 0 && *first < 0x80 => number,
        _ => return None,
    };
    let start = place.len().checked_sub(digits.len())?;
    place[start..].copy_from_slice(digits);
    Some(())
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({} bytes)", self.0.len())
    }
}

/// The reason why a key could not sign.
#[derive(Debug, thiserror::Error)]
#[error("the signature could not be made: {0}")]
pub struct SignerError(#[source] Box<dyn StdError + Send + Sync>);

impl SignerError {
    /// Wraps the reason. The observer sees it; clients never do.
    pub fn new(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(reason.into())
    }
}

/// The reason why a server's keys are not available.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// No key signs with this algorithm.
    #[error("there is no signing key for {0}: add one")]
    NoKey(Algorithm),
    /// The keys could not be read.
    #[error("the keys could not be read: {0}")]
    Unavailable(#[source] Box<dyn StdError + Send + Sync>),
}

impl KeyError {
    /// Returns two errors with the same source: one to report, and one to return.
    pub(crate) fn into_two(self) -> (Self, Self) {
        match self {
            Self::NoKey(algorithm) => (Self::NoKey(algorithm), Self::NoKey(algorithm)),
            Self::Unavailable(source) => {
                let source: Arc<dyn StdError + Send + Sync> = source.into();
                (Self::Unavailable(Box::new(Arc::clone(&source))), Self::Unavailable(Box::new(source)))
            }
        }
    }
}

impl From<KeyError> for SigningError {
    /// Keys that can't be read may be available again soon. A missing key was not configured.
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::Unavailable(source) => Self::unavailable(source),
            error @ KeyError::NoKey(_) => Self::new(error),
        }
    }
}

/// Signs a payload, and sets `alg`, `kid` and `typ` in the header.
///
/// # Errors
/// The key could not sign, its public half has no identifier or algorithm, or its signature has the wrong length.
pub(crate) async fn sign(signer: &dyn Signer, typ: &str, payload: &[u8]) -> Result<String, SignerError> {
    let key = signer.key();
    let (Some(id), Some(algorithm)) = (key.id(), key.algorithm()) else {
        return Err(SignerError::new("the public key has no identifier or no algorithm"));
    };
    let header = NewHeader { alg: algorithm.name(), typ, kid: id };
    let mut text = signing_input(&header, payload).map_err(SignerError::new)?;
    let signature = signer.sign(text.as_bytes()).await?;
    let size = signature.as_bytes().len();
    if key.signature_size(algorithm) != size {
        return Err(SignerError::new("the signature has a wrong length; ECDSA signatures must not be DER"));
    }
    append_signature(&mut text, signature.as_bytes());
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
        let number = |n: &[u8]| [&[2, u8::try_from(n.len()).unwrap()][..], n].concat();
        let numbers = [number(r), number(s)].concat();
        [&[0x30, u8::try_from(numbers.len()).unwrap()][..], &numbers].concat()
    }

    // covers: KM-06 (RFC 7518 §3.4)
    #[test]
    fn der_signature_becomes_two_numbers_of_full_width() {
        let convert =
            |r: &[u8], s: &[u8]| Signature::from_der(Algorithm::Es256, &der(r, s)).map(|signature| signature.0);
        let full = [0x7f; 32];
        assert_eq!(convert(&full, &full), Some(vec![0x7f; 64]));
        let high = [&[0][..], &[0xff; 32]].concat();
        assert_eq!(convert(&high, &full), Some([[0xff; 32], [0x7f; 32]].concat()));
        let mut expected = vec![0; 64];
        (expected[31], expected[62], expected[63]) = (5, 0x80, 1);
        assert_eq!(convert(&[5], &[0, 0x80, 1]), Some(expected));
        let wide = Signature::from_der(Algorithm::Es384, &der(&[1; 48], &[2; 48])).unwrap();
        assert_eq!(wide.0, [[1; 48], [2; 48]].concat());
    }

    #[test]
    fn malformed_der_signature_is_refused() {
        let good = der(&[1; 32], &[2; 32]);
        assert!(Signature::from_der(Algorithm::Es256, &good).is_some());
        assert!(Signature::from_der(Algorithm::Rs256, &good).is_none());
        for end in 0..good.len() {
            assert!(Signature::from_der(Algorithm::Es256, &good[..end]).is_none(), "{end}");
        }
        for bad in [
            [&good[..], &[0]].concat(),
            der(&[1; 33], &[2; 32]),
            der(&[], &[2]),
            der(&[0], &[2]),
            der(&[0, 1], &[2]),
            der(&[0x80], &[2]),
            der(&[0, 0, 0x80], &[2]),
            [&[0x31][..], &good[1..]].concat(),
        ] {
            assert!(Signature::from_der(Algorithm::Es256, &bad).is_none(), "{bad:?}");
        }
    }
}
