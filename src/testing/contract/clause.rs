//! The clauses of the contract, in the order of [`storage`](crate::storage).

use std::fmt;

/// A clause of [the contract of `Storage`](crate::storage).
///
#[doc = include_str!("cases.md")]
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Clause {
    /// Every later call on every node sees the effect of a call that has returned.
    Linearizable,
    /// Each method is one atomic step, and `redeem` decides in the documented order.
    Atomic,
    /// A repeated attempt that finds its own work succeeds.
    AmbiguousCommits,
    /// A step that was cancelled or interrupted happened completely or not at all.
    Crashes,
    /// Spent tokens stay as long as their grant is live.
    Evidence,
    /// A storage uses only the times that it is given.
    NoClock,
    /// No token of a revoked grant works, and a selector covers exactly the selected grants.
    RevocationIsFinal,
    /// Records are returned unchanged.
    OpaqueRecords,
    /// The rules for a storage that is a [`ClientRegistry`](crate::ClientRegistry).
    Clients,
    /// The rules for a storage that is an [`EphemeralStore`](crate::EphemeralStore).
    Ephemeral,
    /// A storage belongs to one issuer.
    Issuer,
}

impl Clause {
    /// Returns its number in the contract, from 1 to 11.
    #[must_use]
    pub const fn number(self) -> u8 {
        // The variants are in the order of the contract.
        self as u8 + 1
    }

    /// Returns its title in the contract.
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
