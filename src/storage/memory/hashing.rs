//! The hashing of keys that are random already: hashes of tokens, and identifiers of grants.
//!
//! They are drawn by the server, and what somebody presents is hashed by SHA-256 before it gets here, so nobody can choose
//! keys that collide, and mixing their bits is enough.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map by such a key.
pub(super) type RandomKeyMap<K, V> = HashMap<K, V, BuildHasherDefault<Mixer>>;

/// Multiplies by an odd number with many changes of bits, which carries each bit of the key upwards, and at the end once more to
/// twice the width, whose upper half comes down again.
#[derive(Default)]
pub(super) struct Mixer(u64);

impl Mixer {
    const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

    const fn mix(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(Self::FACTOR);
    }
}

impl Hasher for Mixer {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        for byte in rest {
            self.mix(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.mix(word);
    }

    /// The length of a key, which is the same for all of a map.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        let upper = (u128::from(self.0) * u128::from(Self::FACTOR)) >> 64;
        self.0.wrapping_mul(Self::FACTOR) ^ u64::try_from(upper).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::*;
    use crate::secret::TokenHash;

    /// Not random at all, as a host's own tests may have them.
    #[test]
    fn keys_that_differ_in_one_place_only_are_spread_as_well() {
        let hash = |bytes| BuildHasherDefault::<Mixer>::default().hash_one(TokenHash::from_bytes(bytes));
        for place in [0, 7, 8, 30, 31] {
            let hashes: Vec<u64> = (0..=255)
                .map(|byte| {
                    let mut bytes = [7; 32];
                    bytes[place] = byte;
                    hash(bytes)
                })
                .collect();
            let low: HashSet<u64> = hashes.iter().map(|hash| hash & 0xff).collect();
            let high: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(low.len() > 100 && high.len() > 60, "place {place}: {} and {}", low.len(), high.len());
        }
        let owners: HashSet<u64> =
            (0..256u64).map(|owner| BuildHasherDefault::<Mixer>::default().hash_one(owner)).collect();
        assert_eq!(owners.len(), 256);
    }
}
