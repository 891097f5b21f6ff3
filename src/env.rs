//! Time and randomness. Both can be replaced, so that tests control every expiry and every generated value.

use std::cell::RefCell;
use std::sync::Arc;

use rand::rngs::{StdRng, SysRng};
use rand::{Rng, SeedableRng};
use time::{OffsetDateTime, UtcOffset};
use zeroize::Zeroizing;

use crate::error::EntropyError;
use crate::record::ClientId;
use crate::secret::ClientSecret;

/// Returns the time. All checks of a token request use one reading, and the redemption of its token a second one. The
/// authorization endpoint reads the time several times.
#[diagnostic::on_unimplemented(note = "use `SystemClock` in production and `TestClock` in tests")]
pub trait Clock: Send + Sync {
    /// Returns the current time. The library truncates it to whole microseconds in UTC.
    fn now(&self) -> OffsetDateTime;
}

impl<T: Clock + ?Sized> Clock for Arc<T> {
    fn now(&self) -> OffsetDateTime {
        (**self).now()
    }
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> OffsetDateTime {
        OffsetDateTime::now_utc()
    }
}

/// Converts a time to UTC in whole microseconds, as records contain it. Every database can store that.
pub(crate) fn in_microseconds(time: OffsetDateTime) -> OffsetDateTime {
    let time = if time.offset().is_utc() { time } else { time.checked_to_offset(UtcOffset::UTC).unwrap_or(time) };
    let nanosecond = time.nanosecond();
    // A smaller value is always in range.
    time.replace_nanosecond(nanosecond - nanosecond % 1_000).unwrap_or(time)
}

/// Provides cryptographic randomness.
///
/// Predictable or repeated values let an attacker guess tokens.
#[diagnostic::on_unimplemented(note = "entropy fills bytes from a cryptographic source: see SystemEntropy")]
pub trait Entropy: Send + Sync {
    /// Fills all of `bytes` with values that an attacker can't predict.
    ///
    /// # Errors
    /// The source failed. The request is then answered with `server_error`.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError>;
}

impl<T: Entropy + ?Sized> Entropy for Arc<T> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        (**self).fill(bytes)
    }
}

/// The standard generator of `rand`, one for each thread, seeded by the operating system. It is seeded again after each
/// 32 KiB.
///
/// After a `fork` without `exec`, parent and child would generate the same values. If your program forks, build the
/// server and generate secrets only after the fork.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct SystemEntropy;

/// The number of bytes after which a generator is seeded again.
const BYTES_PER_SEED: usize = 32 * 1024;

/// The generator of a thread, with the number of bytes since it was seeded.
struct Seeded {
    generator: StdRng,
    drawn: usize,
}

impl Entropy for SystemEntropy {
    /// Fills the bytes without `rand::rng()`, which panics if seeding fails.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        thread_local!(static SEEDED: RefCell<Option<Seeded>> = const { RefCell::new(None) });
        SEEDED.with_borrow_mut(|own| {
            let seeded = match own {
                Some(seeded) if seeded.drawn < BYTES_PER_SEED => seeded,
                _ => {
                    let generator = StdRng::try_from_rng(&mut SysRng).map_err(EntropyError::new)?;
                    own.insert(Seeded { generator, drawn: 0 })
                }
            };
            seeded.drawn += bytes.len();
            seeded.generator.fill_bytes(bytes);
            Ok(())
        })
    }
}

impl ClientSecret {
    /// Returns a new secret of 256 random bits in 43 characters of base64url. Show it once and store only its digest.
    ///
    /// # Errors
    /// The operating system could not provide randomness.
    pub fn random() -> Result<Self, EntropyError> {
        Self::generate(&SystemEntropy)
    }

    /// Like [`random`](Self::random), with another source of randomness.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = Zeroizing::new([0; 32]);
        entropy.fill(bytes.as_mut_slice())?;
        Ok(Self::from_bytes(&bytes))
    }
}

impl ClientId {
    /// Returns a new identifier of 128 random bits in 22 characters of base64url. A random identifier can't be confused
    /// with that of a user (RFC 9700 §4.15).
    ///
    /// # Errors
    /// The operating system could not provide randomness.
    pub fn random() -> Result<Self, EntropyError> {
        Self::generate(&SystemEntropy)
    }

    /// Like [`random`](Self::random), with another source of randomness.
    ///
    /// # Errors
    /// The source of randomness failed.
    pub fn generate(entropy: &dyn Entropy) -> Result<Self, EntropyError> {
        let mut bytes = [0; 16];
        entropy.fill(&mut bytes)?;
        Self::new(crate::record::GrantId::from_bytes(bytes).to_string()).map_err(EntropyError::new)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn system_entropy_never_repeats() {
        let mut bytes = vec![0; 2 * BYTES_PER_SEED + 7];
        SystemEntropy.fill(&mut bytes).unwrap();
        let blocks: std::collections::HashSet<&[u8]> = bytes.chunks(16).collect();
        assert_eq!(blocks.len(), bytes.len().div_ceil(16));
        for _ in 0..2 * BYTES_PER_SEED / 16 {
            let mut few = [0; 16];
            SystemEntropy.fill(&mut few).unwrap();
            assert!(!blocks.contains(few.as_slice()));
        }
    }

    #[test]
    fn random_secret_and_id_are_new_each_time() {
        let (secret, id) = (ClientSecret::random().unwrap(), ClientId::random().unwrap());
        assert_eq!((secret.expose().len(), id.as_str().len()), (43, 22));
        assert_ne!(secret.expose(), ClientSecret::random().unwrap().expose());
        assert_ne!(id, ClientId::random().unwrap());
    }

    #[test]
    fn times_are_cut_to_whole_microseconds_and_to_utc() {
        let time = OffsetDateTime::from_unix_timestamp_nanos(1_700_000_000_123_456_789).unwrap();
        let cut = in_microseconds(time.to_offset(UtcOffset::from_hms(5, 30, 0).unwrap()));
        assert_eq!(cut.unix_timestamp_nanos(), 1_700_000_000_123_456_000);
        assert!(cut.offset().is_utc());
    }
}
