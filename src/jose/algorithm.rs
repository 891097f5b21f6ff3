//! The signature algorithms.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// An algorithm of asymmetric signatures (RFC 7518 §3.1, RFC 8037 §3.1). There is no `none` and no MAC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256. Every client can verify it.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519 under the name `EdDSA` (RFC 8037), which more libraries know than `Ed25519`.
    EdDsa,
    /// Ed25519 under its own name (RFC 9864 §2.2).
    Ed25519,
}

impl Algorithm {
    /// Every algorithm, the most widely known first.
    pub const ALL: [Self; 6] = [Self::Rs256, Self::Es256, Self::EdDsa, Self::Ps256, Self::Es384, Self::Ed25519];

    /// Returns the name in headers, keys and metadata.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
            Self::Es256 => "ES256",
            Self::Es384 => "ES384",
            Self::EdDsa => "EdDSA",
            Self::Ed25519 => "Ed25519",
        }
    }

    /// Returns the algorithm with this name, compared exactly (RFC 7515 §4.1.1).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|algorithm| algorithm.name() == name)
    }

    /// Returns whether a key of one algorithm can be used with the other: they are equal, or both are names of Ed25519.
    pub(crate) const fn is_same_as(self, other: Self) -> bool {
        matches!(
            (self, other),
            (Self::Rs256, Self::Rs256)
                | (Self::Ps256, Self::Ps256)
                | (Self::Es256, Self::Es256)
                | (Self::Es384, Self::Es384)
                | (Self::EdDsa | Self::Ed25519, Self::EdDsa | Self::Ed25519)
        )
    }
}

impl fmt::Display for Algorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Serializes the algorithm as its [name](Algorithm::name).
impl Serialize for Algorithm {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for Algorithm {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::from_name(&name)
            .ok_or_else(|| serde::de::Error::custom(format_args!("unknown algorithm {name:?}: use one of {}", names())))
    }
}
