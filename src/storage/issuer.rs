//! The issuer that a storage belongs to.

use crate::error::StorageError;

/// Why a storage is not an issuer's.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// Another issuer has claimed it.
    #[error(
        "the storage belongs to the issuer {owner}: give each issuer a storage of its own, or move it with rebind_issuer"
    )]
    Claimed {
        /// The issuer that it belongs to.
        owner: Box<str>,
    },
    /// No issuer has claimed it yet.
    #[error("the storage belongs to no issuer yet")]
    Unclaimed,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl IssuerError {
    /// Whether a storage that belongs to `owner` is the issuer's.
    pub(super) fn check(owner: Option<&str>, issuer: &str) -> Result<(), Self> {
        match owner {
            None => Err(Self::Unclaimed),
            Some(owner) if owner == issuer => Ok(()),
            Some(owner) => Err(Self::Claimed { owner: owner.into() }),
        }
    }
}
