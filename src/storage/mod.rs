//! Storages: clients, grants, tokens, ephemeral entries and signing keys, behind five traits.
//!
//! * [`Storage`] keeps grants and tokens.
//! * [`ClientStore`] finds clients. Implement only this trait if your clients live elsewhere.
//! * [`EphemeralStore`] keeps short-lived entries. Its contract is in [`ephemeral`].
//! * [`ClientRegistry`] manages clients. The library itself never calls it.
//! * [`KeyStore`] keeps the signing keys that nodes share. Only a server with `RotatingKeys` needs it.
//!
//! [`AnyStorage`] combines all five. Use it to choose the type of storage at run time.
//!
//! A wrong result of [`find`](Storage::find) or [`redeem`](Storage::redeem) is a vulnerability: a code could be
//! redeemed twice, or a stolen token could keep working. If an implementation is not sure of a result, it must return
//! an error. The server then issues nothing and responds with 500 or 503.
//!
//! # The contract of `Storage`
//! 1. **Linearizable.** Once a call has returned, every later call on every node sees its effect. An implementation of
//!    [`find`](Storage::find) or [`redeem`](Storage::redeem) must not read from a cache or a replica. Only
//!    [`list_grants`](Storage::list_grants) may lag.
//! 2. **Atomic.** Each method is one atomic step: it happens completely or not at all. Only
//!    [`revoke_grants`](Storage::revoke_grants) and [`purge_expired`](Storage::purge_expired) may take several steps,
//!    and may have done a part of their work when they fail. [`redeem`](Storage::redeem) decides and writes in the same
//!    step: of many calls that race for one token, one wins. (In PostgreSQL, the loser must read the row again in a new
//!    statement, because its own statement still sees the row from before the winner's change.)
//! 3. **Ambiguous commits.** A storage that retries internally repeats only steps that were certainly rolled back. A
//!    `redeem` that finds its own [`attempt`](Redemption::attempt) already written returns [`RedeemOutcome::Done`]. If
//!    the outcome remains unknown, the call returns an error. A client can then repeat a refresh within its grace
//!    window. A code has no grace window: if it was spent, a second attempt by its client is refused and revokes the
//!    grant.
//! 4. **Crashes.** After a crash, either the old token is unspent or all its successors are stored. There is no state
//!    in between. The same holds for a cancelled call, whose future was dropped: it happens completely or not at all,
//!    and possibly a little later.
//! 5. **Evidence outlives expiry.** The row of a spent token stays until its grant has ended or is revoked, so that a
//!    late replay is recognised. While the grant is live, only expired, unspent access tokens may be removed. The row
//!    of a one-time key stays until the key expires, even if its grant has ended.
//! 6. **No clock.** A storage never reads a clock. Every call that needs a time gets it as an argument, in whole
//!    microseconds.
//! 7. **Revocation is final.** Once [`revoke_grants`](Storage::revoke_grants) has returned, no token of a selected
//!    grant or of its descendants works. This includes tokens that were being written during the call. A selector by
//!    subject covers every grant whose [`open_grant`](Storage::open_grant) returned before the call began. So after a
//!    change of password, a host app ends the user's sessions first and then revokes. A selector by subject, or by
//!    subject and client, also covers every grant that is opened during the call because of the consent of a selected
//!    grant. A page that acts for a user selects by subject *and* id, never by id alone.
//! 8. **Records are opaque.** A storage returns all members of [`Grant`] and [`StoredToken`] unchanged. This includes
//!    members of their details that this version does not know. Only the step that stores a record writes its details.
//! 9. **Clients.** This clause applies if the storage is a [`ClientRegistry`]. Registering, updating and rotating are
//!    atomic steps. An update compares the [version](crate::Client::version) of the stored client and writes in the
//!    same step. Identifiers are compared and ordered byte by byte. Registered clients are returned unchanged. A client
//!    with [members that this version does not know](crate::client::ClientParts::unknown_members) can't be changed.
//! 10. **Ephemeral entries.** If the storage is an [`EphemeralStore`], it also keeps the contract in [`ephemeral`].
//! 11. **One issuer.** If several issuers [claim](Storage::claim_issuer) a storage, exactly one owns it on all nodes,
//!     until the storage is [moved](Storage::rebind_issuer) to another issuer.
//!
//! The feature `testing` has a test suite for this contract, `grantor::testing::storage_contract`. Run it against your
//! implementation. It tests the steps in sequence, in races, and with cancelled calls.

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

/// A storage of grants and tokens. Read [the contract](self) before you implement it.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write the methods
/// as `async fn` with the signatures that their documentation shows.
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
    /// 1. If the grant has a [`parent_grant`](Grant::parent_grant) that is absent, is revoked, or has ended at the
    ///    grant's `opened_at` (see [`Grant::may_open`]), write nothing and return [`Opened::ParentDead`]. The step
    ///    keeps the parent locked until it is done, so that a revocation of the parent happens before or after it.
    /// 2. If the grant has a [`consent_grant`](crate::record::GrantDetails::consent_grant) that is absent, is revoked,
    ///    or has ended at the grant's `opened_at` (see [`Grant::has_live_consent`]), write nothing and return
    ///    [`Opened::ConsentDead`]. The step locks the consent grant like the parent.
    /// 3. If the hash of a [one-time key](TokenKind::OneTimeKey) among the tokens is already stored, write nothing and
    ///    return [`Opened::Taken`].
    /// 4. Otherwise store the grant and all tokens, and return [`Opened::Done`].
    ///
    /// # Errors
    /// The storage failed, and the grant may or may not be stored. Or the identifier of the grant or the hash of
    /// another token is already stored, and nothing was written.
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError>;

    /// Returns a token and its grant in their current state, even if they are spent, expired or revoked. Returns
    /// `Ok(None)` if there is no such token.
    ///
    /// ```text
    /// async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError>
    /// ```
    ///
    /// # Errors
    /// The storage failed.
    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError>;

    /// Redeems a single-use token: marks it as spent and stores its successors, in one atomic step.
    ///
    /// ```text
    /// async fn redeem(
    ///     &self,
    ///     redemption: &Redemption,
    ///     successors: &[StoredToken],
    /// ) -> Result<RedeemOutcome, StorageError>
    /// ```
    ///
    /// The step decides in this order ([`Redemption::refusal`] implements 1 to 3):
    /// 1. If the token is absent, is revoked, or has another kind or grant than the redemption, or if its grant is
    ///    revoked or has ended at `redemption.at`, write nothing and return [`RedeemOutcome::Dead`].
    /// 2. If the token is already spent, write nothing. Return [`RedeemOutcome::Done`] if the attempt that spent it is
    ///    `redemption.attempt`, and [`RedeemOutcome::AlreadySpent`] otherwise.
    /// 3. If the token has expired at `redemption.at`, write nothing and return [`RedeemOutcome::Dead`].
    /// 4. Otherwise write the following and return [`RedeemOutcome::Done`]:
    ///    * If `redemption.consume` is set, store [`redemption.spent()`](Redemption::spent) in the token's row, and
    ///      erase the seed of its [`parent`](StoredToken::parent), which is a refresh token or a code.
    ///    * Store the successors.
    ///    * Set the grant's `last_used_at` to `redemption.at` and its `expires_at` to `redemption.grant_expires_at`,
    ///      each only if the new time is later.
    ///
    /// After `Done` or `AlreadySpent`, every later `find` sees the spent row and its successors.
    ///
    /// # Errors
    /// The storage failed, and the token may or may not be spent. Or the hash of a successor is already stored, and
    /// nothing was written.
    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError>;

    /// Revokes one access token. Does nothing if the token is unknown or of another kind.
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

    /// Revokes the selected grants and their descendants by [`parent_grant`](Grant::parent_grant). Returns how many of
    /// these grants were not revoked before.
    ///
    /// ```text
    /// async fn revoke_grants(
    ///     &self,
    ///     which: &GrantSelector,
    ///     at: OffsetDateTime,
    /// ) -> Result<u64, StorageError>
    /// ```
    ///
    /// The call covers every grant whose `open_grant` returned before the call began. It also covers grants that have
    /// ended at `at`, because they are still live for a node whose clock is behind. If a grant is already revoked, its
    /// `revoked_at` does not change.
    ///
    /// An implementation first marks the selected grants as revoked. Then it marks the unrevoked children of all grants
    /// reached so far, until none is left. It does so even if the parent was already revoked, so that a repeated call
    /// completes a cancelled one. In a database, the second part needs new statements, which see a child that was being
    /// opened when its parent was marked.
    ///
    /// If the selector is by subject, or by subject and client, a grant may be opened on the consent of a selected grant
    /// just before that grant is marked, by this call or by a concurrent one. Unless other calls have to wait until the
    /// revocation is done, an implementation therefore selects and marks again, in new statements. It stops when all
    /// selected grants had been revoked before the last search. A grant does not end with its
    /// [`consent_grant`](crate::record::GrantDetails::consent_grant): other selectors leave it live.
    ///
    /// # Errors
    /// The storage failed, and some of the grants may be revoked. Repeat the call to revoke the rest.
    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError>;

    /// Returns one page of the selected grants that are live at `now`, newest first. Grants that were opened at the
    /// same time are in the same order on every page, for example ordered by `id`.
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

    /// Removes rows and seeds that are no longer needed. Touches at most `limit` rows and returns how many it touched.
    /// A caller repeats the call while it returns `limit`.
    ///
    /// ```text
    /// async fn purge_expired(
    ///     &self,
    ///     before: OffsetDateTime,
    ///     limit: usize,
    /// ) -> Result<usize, StorageError>
    /// ```
    ///
    /// These can be purged:
    /// * Grants that ended or were revoked at `before` or earlier, with all their tokens. A grant stays, with its
    ///   tokens, while one of these is a [one-time key](TokenKind::OneTimeKey) that expires after `before`.
    /// * Unspent access tokens of other grants that expired at `before` or earlier.
    /// * Seeds of other grants whose [`seed_until`](crate::record::Spent::seed_until) is `before` or earlier. The call
    ///   erases the seed and keeps the row.
    ///
    /// The call may skip rows that another call is using.
    ///
    /// If the limit is reached in the middle of a grant's tokens, the step must also close the grant: unless it has a
    /// `revoked_at`, set `revoked_at` to its `expires_at`. Otherwise a node whose clock is behind could still use the
    /// grant, although some of its spent tokens are gone. Closing a grant does not count as a touched row.
    ///
    /// A revoked grant is removed only after its children are revoked, because a cancelled revocation may have left
    /// some of them. Removing a grant that has only ended, or was closed by a purge, does not revoke its children.
    ///
    /// # Errors
    /// The storage failed, and some rows may have been removed.
    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError>;

    /// Claims the storage for an issuer, in one atomic step. The first call stores the issuer. Every later call
    /// compares it with the stored issuer, byte by byte. This prevents two servers with different issuers from sharing
    /// a storage by mistake, which would mix their tokens.
    ///
    /// ```text
    /// async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError>
    /// ```
    ///
    /// # Errors
    /// [`IssuerError::Claimed`] if the storage belongs to another issuer, or the storage failed.
    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError>;

    /// Moves the storage from one issuer to another, in one atomic step. Use it after a change of domain. A repeated
    /// call succeeds.
    ///
    /// Clients, grants, refresh tokens and opaque access tokens stay valid. Signed access tokens name the old issuer,
    /// so they stop working. Clients get new ones with their refresh tokens.
    ///
    /// ```text
    /// async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError>
    /// ```
    ///
    /// # Errors
    /// [`IssuerError::Claimed`] if the storage belongs to neither `from` nor `to`, [`IssuerError::Unclaimed`] if no
    /// issuer has claimed it, or the storage failed.
    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError>;
}

/// Rejects tokens that name another grant than the one they are stored with. Their liveness would depend on the wrong
/// row.
fn check_grant_of(tokens: &[StoredToken], id: GrantId) -> Result<(), StorageError> {
    if tokens.iter().all(|token| token.grant_id == id) {
        return Ok(());
    }
    Err(StorageError::new("the grant_id of a new token is not the id of its grant"))
}

/// Returns the one-time keys among new tokens.
fn one_time_keys(tokens: &[StoredToken]) -> impl Iterator<Item = &StoredToken> {
    tokens.iter().filter(|token| token.kind == TokenKind::OneTimeKey)
}
