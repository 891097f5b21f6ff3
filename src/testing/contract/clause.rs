//! The clauses of the contract, as they are numbered in [`storage`](crate::storage).

use std::fmt;

/// A clause of [the contract of `Storage`](crate::storage).
///
#[doc = include_str!("cases.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Clause {
    /// What has returned is seen by every later call on every node.
    Linearizable,
    /// Each method is one atomic step, and `redeem` decides in its order.
    Atomic,
    /// An attempt that meets its own work is done.
    AmbiguousCommits,
    /// A step that was given up or interrupted is whole or absent.
    Crashes,
    /// Spent tokens stay as long as their grant does.
    Evidence,
    /// A storage goes by the time it is given.
    NoClock,
    /// Nothing of a revoked grant works, and a selector means what it says.
    RevocationIsFinal,
    /// Records come back as they went in.
    OpaqueRecords,
    /// What a [`ClientRegistry`](crate::ClientRegistry) promises, for storages that are one.
    Clients,
    /// What an [`EphemeralStore`](crate::EphemeralStore) promises, for storages that are one.
    Ephemeral,
    /// A storage belongs to one issuer.
    Issuer,
}

impl Clause {
    /// Its number in the contract: 1 to 11.
    #[must_use]
    pub const fn number(self) -> u8 {
        // Declared in the order of the contract.
        self as u8 + 1
    }

    /// Its title in the contract.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::Linearizable => "Linearizable",
            Self::Atomic => "Atomic",
            Self::AmbiguousCommits => "Ambiguous commits",
            Self::Crashes => "Crashes",
            Self::Evidence => "Evidence outlives expiry",
            Self::NoClock => "No clock",
            Self::RevocationIsFinal => "Revocation is final",
            Self::OpaqueRecords => "Records are opaque",
            Self::Clients => "Clients",
            Self::Ephemeral => "Ephemeral entries",
            Self::Issuer => "One issuer",
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "clause {}, {}", self.number(), self.title())
    }
}
