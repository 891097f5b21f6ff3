//! The issuer that a storage belongs to.

use crate::error::StorageError;

/// The error of claiming or moving a storage.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IssuerError {
    /// Another issuer has claimed it.
    #[error(
        "the storage belongs to the issuer {owner}: use one storage for each issuer, or move it with rebind_issuer"
    )]
    Claimed {
        /// The issuer that owns the storage.
        owner: Box<str>,
    },
    /// No issuer has claimed the storage yet.
    #[error("the storage belongs to no issuer yet: build a server with it first")]
    Unclaimed,
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl IssuerError {
    /// Checks that the storage, which belongs to `owner`, belongs to `issuer`.
    pub(super) fn check(owner: Option<&str>, issuer: &str) -> Result<(), Self> {
        match owner {
            None => Err(Self::Unclaimed),
            Some(owner) if owner == issuer => Ok(()),
            Some(owner) => Err(Self::Claimed { owner: owner.into() }),
        }
    }
}
