//! Storages: clients, grants, tokens, ephemeral entries and signing keys, behind five traits.
//!
//! * [`ClientStore`] finds clients. A host whose clients live elsewhere supplies only this.
//! * [`Storage`] keeps grants and tokens.
//! * [`EphemeralStore`] keeps entries that live for minutes; its contract is in [`ephemeral`].
//! * [`ClientRegistry`] manages clients; the library itself never calls it.
//! * [`KeyStore`] keeps the keys that nodes share to sign with. Only a server with `RotatingKeys` needs it.
//!
//! [`AnyStorage`] is all five, for a host that chooses its storage at run time.
//!
//! # The contract of `Storage`
//! 1. **Linearizable.** What has returned is seen by every later call on every node. No cached or replica reads in
//!    [`find`](Storage::find) and [`redeem`](Storage::redeem); only [`list_grants`](Storage::list_grants) may lag.
//! 2. **Atomic.** Each method is one atomic step: all of it happens or none. In particular
//!    [`redeem`](Storage::redeem) decides and writes in one step; of many that race for one token, one wins. (In PostgreSQL
//!    the loser must read in a new statement: a single statement that also modifies data shows it the row as it was before.)
//! 3. **Ambiguous commits.** A storage that retries inside retries only what is known to have rolled back, and an
//!    `redeem` that finds its own [`attempt`](Redemption::attempt) already written answers [`RedeemOutcome::Done`]. When in doubt
//!    it fails: a refresh is then repeated within its grace window; a code counts as used, because it has no such window, and
//!    its client's second try ends the grant.
//! 4. **Crashes** leave the old token unspent or its successors stored: never neither, never half. The same holds for a
//!    call that is given up (its future is dropped): it happens whole or not at all, possibly a little later.
//! 5. **Evidence outlives expiry.** The row of a spent token stays until its grant has ended or was revoked, so that a
//!    late replay is still recognised. Before that, only expired, unspent access tokens may go. The row of a one-time key stays
//!    until it expires, even if its grant has ended.
//! 6. **No clock.** Every call that needs a time is given it, in whole microseconds.
//! 7. **Revocation is final.** Once [`revoke_grants`](Storage::revoke_grants) has returned, no token of a grant it
//!    covers works, nor one of a grant that descends from it, not even one that was being written at that moment. A selector by subject covers every grant whose
//!    [`open_grant`](Storage::open_grant) returned before the call began: a host that changes a password ends sessions first,
//!    then revokes. A page that acts for a user selects by subject *and* id, never by id alone.
//! 8. **Records are opaque.** All members of [`Grant`] and [`StoredToken`] come back as they went in, the members of their details
//!    included that this version does not know. No step but the one that stores a record writes its details.
//! 9. **Clients.** For a storage that is a [`ClientRegistry`], too: registering, updating and rotating are atomic steps as well. An
//!    update compares the [version](crate::Client::version) of the stored client and writes in the same step.
//!    Identifiers are compared and ordered byte by byte, and what was registered comes back whole. A client with
//!    [members that this version does not know](crate::client::ClientParts::unknown_members) is not changed.
//! 10. **Ephemeral entries.** A storage that is an [`EphemeralStore`] keeps the contract of [`ephemeral`] as well.
//! 11. **One issuer.** Of many that [claim](Storage::claim_issuer) a storage, one issuer owns it on every node, until it is
//!     [moved](Storage::rebind_issuer).
//!
//! The feature `testing` brings all of this as a suite, `grantor::testing::storage_contract`, to be run against an implementation
//! of your own: in sequence, in races, and with calls that are given up half-way.
//!
//! A wrong answer from `find` or `redeem` is a vulnerability: a code redeemed twice, a stolen token that still works.
//! When in doubt, fail: an error is answered with 500 or 503 and nothing is issued.

mod calls;
mod clients;
pub mod ephemeral;
mod issuer;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
mod shared;
mod signing_keys;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use time::OffsetDateTime;

pub use self::calls::{Found, GrantPage, GrantSelector, Opened, RedeemOutcome, Redemption};
pub use self::clients::RegistryError;
#[doc(no_inline)]
pub use self::clients::{ClientRegistry, ClientStore};
use self::clients::{check_members, check_version};
#[doc(no_inline)]
pub use self::ephemeral::EphemeralStore;
pub use self::issuer::IssuerError;
pub use self::memory::MemoryEphemeralStore;
#[doc(no_inline)]
pub use self::memory::MemoryStorage;
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresOptions, PostgresStorage};
pub use self::shared::AnyStorage;
#[doc(inline)]
pub use self::signing_keys::{KeyStore, StoredKeys};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteOptions, SqliteStorage};
#[doc(no_inline)]
pub use crate::error::StorageError;
use crate::record::{Grant, GrantId, StoredToken, TokenKind};
use crate::secret::TokenHash;

/// Keeps grants and tokens. Read [the contract](self) before implementing it.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write asynchronous methods with the
/// signature that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `Storage` keeps grants and tokens; `MemoryStorage` is one")]
pub trait Storage: Send + Sync {
    /// Stores a new grant with the first tokens issued from it, in one atomic step.
    ///
    /// ```text
    /// async fn open_grant(
    ///     &self,
    ///     grant: &Arc<Grant>,
    ///     tokens: &[StoredToken],
    /// ) -> Result<Opened, StorageError>
    /// ```
    ///
    /// The step decides in this order:
    /// 1. The grant names a [`parent_grant`](Grant::parent_grant) that is absent, revoked, or has ended at the grant's
    ///    `opened_at` (see [`Grant::may_open`]): [`Opened::ParentDead`]; nothing is written. The parent is locked until
    ///    the step is done, so that a revocation of it comes before or after.
    /// 2. The hash of a [one-time key](TokenKind::OneTimeKey) among the tokens is stored already: [`Opened::Taken`]; nothing is
    ///    written.
    /// 3. Otherwise the grant and all tokens are stored: [`Opened::Done`].
    ///
    /// # Errors
    /// The storage failed, and the grant may or may not be stored; or the grant's identifier or another token's hash is taken, and
    /// nothing was written.
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError>;

    /// The token and its grant as they stand, spent, expired and revoked ones included.
    ///
    /// ```text
    /// async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed. "No such token" is `Ok(None)`.
    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError>;

    /// Spends a single-use token and stores its successors, in one atomic step.
    ///
    /// ```text
    /// async fn redeem(
    ///     &self,
    ///     redemption: &Redemption,
    ///     successors: &[StoredToken],
    /// ) -> Result<RedeemOutcome, StorageError>
    /// ```
    ///
    /// The step decides in this order:
    /// 1. The row is absent, of another kind or grant, or revoked, or its grant is revoked or has ended at `redemption.at`:
    ///    [`RedeemOutcome::Dead`].
    /// 2. It is already spent: [`RedeemOutcome::AlreadySpent`]; nothing is written. (If by `redemption.attempt` itself:
    ///    [`RedeemOutcome::Done`].)
    /// 3. It has expired at `redemption.at`: [`RedeemOutcome::Dead`].
    /// 4. Otherwise, if `redemption.consume`: mark it [spent](Redemption::spent) with `at`, `attempt`, `seed` and `seed_until`, and erase the seed of its
    ///    [`parent`](StoredToken::parent), a refresh token or a code. In any case: store the successors, set the grant's `last_used_at` to
    ///    `redemption.at` and its `expires_at` to `redemption.grant_expires_at`, neither ever back. [`RedeemOutcome::Done`].
    ///
    /// Once a caller got `Done` or `AlreadySpent`, every later `find` sees the spent row and its successors.
    ///
    /// # Errors
    /// The storage failed, and the token may or may not be spent; or a successor's hash is taken, and nothing was written.
    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError>;

    /// Revokes one access token. An unknown one, or a token of another kind, is left alone.
    ///
    /// ```text
    /// async fn revoke_access_token(
    ///     &self,
    ///     token: &TokenHash,
    ///     at: OffsetDateTime,
    /// ) -> Result<(), StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed.
    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError>;

    /// Revokes grants and all that descend from them by [`parent_grant`](Grant::parent_grant); returns how many of all these had not
    /// been revoked before. Every grant whose `open_grant` returned before this call began is covered, also one that has ended
    /// at `at`: for a node whose clock is behind it still lives. The first `revoked_at` stays.
    ///
    /// ```text
    /// async fn revoke_grants(
    ///     &self,
    ///     which: &GrantSelector,
    ///     at: OffsetDateTime,
    /// ) -> Result<u64, StorageError>
    /// ```
    ///
    /// First the selected grants are marked. Then, in new statements, live children of grants reached so far are marked until
    /// none is left, whether the call has marked their parent or found it revoked. So a call that is repeated completes one
    /// that was given up, and a child that was being opened when its parent was marked is found.
    ///
    /// # Errors
    /// The storage failed; some grants may have been revoked. Calling it again does the rest.
    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError>;

    /// Grants that are live at `now`, newest first; those opened at the same moment in an order that is the same for every
    /// page, such as by `id`.
    ///
    /// ```text
    /// async fn list_grants(
    ///     &self,
    ///     which: &GrantSelector,
    ///     now: OffsetDateTime,
    ///     page: &GrantPage,
    /// ) -> Result<Vec<Arc<Grant>>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed.
    async fn list_grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError>;

    /// Removes what is of no use any more at `before`: grants that ended or were revoked at `before` or earlier, with all their
    /// tokens, unless one of these is a [one-time key](TokenKind::OneTimeKey) that expires after `before`; of other grants, unspent access tokens that expired at `before` or earlier, and seeds whose
    /// [`seed_until`](crate::record::Spent::seed_until) is `before` or earlier. Touches at most `limit` rows and returns how many it did, so that a caller repeats it
    /// while it returns `limit`. Rows that another call is working on at the moment may be left to the next time.
    ///
    /// ```text
    /// async fn purge_expired(
    ///     &self,
    ///     before: OffsetDateTime,
    ///     limit: usize,
    /// ) -> Result<usize, StorageError>
    /// ```
    ///
    /// If the limit leaves a part of a grant's tokens, the grant must be closed for good in the same step: a `revoked_at` that it does
    /// not have yet is set to its `expires_at`. By the clock of another node it may not have ended yet, and would go on without its
    /// evidence. (Closing is not counted.)
    ///
    /// A grant that was revoked is removed only after its children are revoked: a call that was given up may have left some. One
    /// that merely ended, or was closed, ends no child.
    ///
    /// # Errors
    /// The storage failed; some rows may have been removed.
    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError>;

    /// Claims the storage for an issuer, in one atomic step: the first call stores the issuer, every later one compares, byte by
    /// byte. So two servers with different issuers, whose tokens must not be mixed, do not share a storage by mistake.
    ///
    /// ```text
    /// async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError>
    /// ```
    ///
    /// # Errors
    /// [`IssuerError::Claimed`] if the storage belongs to another issuer, or the storage failed.
    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError>;

    /// Moves the storage from one issuer to another, in one atomic step, as when a domain changes. A call that is repeated succeeds.
    ///
    /// ```text
    /// async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError>
    /// ```
    ///
    /// # Errors
    /// [`IssuerError::Claimed`] if the storage belongs to neither `from` nor `to`, [`IssuerError::Unclaimed`] if it belongs to none, or
    /// the storage failed.
    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError>;
}

/// Rejects tokens of another grant than the one they are stored with: liveness would be asked of the wrong row.
fn check_grant_of(tokens: &[StoredToken], id: GrantId) -> Result<(), StorageError> {
    if tokens.iter().all(|token| token.grant_id == id) {
        return Ok(());
    }
    Err(StorageError::new("a token names another grant than the one it is stored with"))
}

/// Returns the one-time keys among new tokens.
fn one_time_keys(tokens: &[StoredToken]) -> impl Iterator<Item = &StoredToken> {
    tokens.iter().filter(|token| token.kind == TokenKind::OneTimeKey)
}
