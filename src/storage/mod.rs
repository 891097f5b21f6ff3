//! What the host stores: clients, grants, tokens and ephemeral entries, behind four traits.
//!
//! * [`ClientStore`] finds clients. A host whose clients live elsewhere supplies only this.
//! * [`Storage`] keeps grants and tokens.
//! * [`EphemeralStore`] keeps entries that live for minutes; its contract is in [`ephemeral`].
//! * [`ClientRegistry`] manages clients; the library itself never calls it.
//!
//! # The contract of `Storage`
//! 1. **Linearizable.** What has returned is seen by every later call on every node. No cached or replica reads in
//!    [`find`](Storage::find) and [`exchange`](Storage::exchange); only [`grants`](Storage::grants) may lag.
//! 2. **Atomic.** Each method is one atomic step: all of it happens or none. In particular
//!    [`exchange`](Storage::exchange) decides and writes in one step; of many that race for one token, one wins. (In PostgreSQL
//!    the loser must read in a new statement: a single statement that also modifies data shows it the row as it was before.)
//! 3. **Ambiguous commits.** A storage that retries inside retries only what is known to have rolled back, and an
//!    `exchange` that finds its own [`attempt`](Spend::attempt) already written answers [`Exchange::Done`]. When in doubt
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
//! 9. **Clients.** For a storage that is a [`ClientRegistry`], too: registering, updating and rotating are atomic steps as well,
//!    identifiers are compared and ordered byte by byte, and what was registered comes back whole. A client with
//!    [members that this version does not know](crate::client::ClientParts::unknown_members) is not changed.
//! 10. **Ephemeral entries.** A storage that is an [`EphemeralStore`] keeps the contract of [`ephemeral`] as well.
//! 11. **One issuer.** Of many that [claim](Storage::claim_issuer) a storage, one issuer owns it on every node, until it is
//!     [moved](Storage::rebind_issuer).
//!
//! The feature `testing` brings all of this as a suite, `grantor::testing::storage_contract`, to be run against an implementation
//! of your own: in sequence, in races, and with calls that are given up half-way.
//!
//! A wrong answer from `find` or `exchange` is a vulnerability: a code redeemed twice, a stolen token that still works.
//! When in doubt, fail: an error is answered with 500 or 503 and nothing is issued.

pub mod ephemeral;
mod memory;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod sql;
#[cfg(feature = "sqlite")]
mod sqlite;

use std::sync::Arc;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

pub use self::ephemeral::EphemeralStore;
pub use self::memory::{MemoryEphemeralStore, MemoryStorage};
#[cfg(feature = "postgres")]
pub use self::postgres::{PostgresOptions, PostgresStorage};
#[cfg(feature = "sqlite")]
pub use self::sqlite::{SqliteOptions, SqliteStorage};
use crate::client::{Client, ClientCredential};
pub use crate::error::StorageError;
use crate::record::{AttemptId, ClientId, Grant, GrantId, SessionDigest, Spent, StoredToken, Subject, TokenKind};
use crate::secret::{Seed, TokenHash};

/// Finds clients.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `ClientStore` finds clients by their identifier; `MemoryStorage` is one")]
pub trait ClientStore: Send + Sync {
    /// The client with this identifier. Always 1 to 255 printable ASCII characters, but otherwise whatever was sent.
    ///
    /// # Errors
    /// The storage failed. "No such client" is `Ok(None)`.
    async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError>;
}

/// A token's row and its grant's, as they stood at one moment.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Found {
    /// The token's row.
    pub token: Arc<StoredToken>,
    /// The row of the grant that the token belongs to.
    pub grant: Arc<Grant>,
}

impl Found {
    /// Joins the two rows.
    #[must_use]
    pub const fn new(token: Arc<StoredToken>, grant: Arc<Grant>) -> Self {
        Self { token, grant }
    }
}

/// Keeps grants and tokens. Read [the contract](self) before implementing it.
#[async_trait]
#[diagnostic::on_unimplemented(note = "a `Storage` keeps grants and tokens; `MemoryStorage` is one")]
pub trait Storage: Send + Sync {
    /// Stores a new grant with the first tokens issued from it, in one atomic step that decides in this order:
    ///
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
    /// # Errors
    /// The storage failed. "No such token" is `Ok(None)`.
    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError>;

    /// Spends a single-use token and stores its successors, in one atomic step that decides in this order:
    ///
    /// 1. The row is absent, of another kind or grant, or revoked, or its grant is revoked or has ended at `spend.at`:
    ///    [`Exchange::Dead`].
    /// 2. It is already spent: [`Exchange::AlreadySpent`]; nothing is written. (If by `spend.attempt` itself:
    ///    [`Exchange::Done`].)
    /// 3. It has expired at `spend.at`: [`Exchange::Dead`].
    /// 4. Otherwise, if `spend.consume`: mark it [spent](Spend::spent) with `at`, `attempt`, `seed` and `seed_until`, and erase the seed of its
    ///    [`parent`](StoredToken::parent). In any case: store the successors, set the grant's `last_used_at` to
    ///    `spend.at` and its `expires_at` to `spend.grant_expires_at`, neither ever back. [`Exchange::Done`].
    ///
    /// Once a caller got `Done` or `AlreadySpent`, every later `find` sees the spent row and its successors.
    ///
    /// # Errors
    /// The storage failed, and the token may or may not be spent; or a successor's hash is taken, and nothing was written.
    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError>;

    /// Revokes one access token. An unknown one, or a token of another kind, is left alone.
    ///
    /// # Errors
    /// The storage failed.
    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError>;

    /// Revokes grants and all that descend from them by [`parent_grant`](Grant::parent_grant); returns how many of all these had not
    /// been revoked before. Every grant whose `open_grant` returned before this call began is covered, also one that has ended
    /// at `at`: for a node whose clock is behind it still lives. The first `revoked_at` stays.
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
    /// # Errors
    /// The storage failed.
    async fn grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError>;

    /// Removes what is of no use any more at `before`: grants that ended or were revoked at `before` or earlier, with all their
    /// tokens, unless one of these is a [one-time key](TokenKind::OneTimeKey) that expires after `before`; of other grants, unspent access tokens that expired at `before` or earlier, and seeds whose
    /// [`seed_until`](Spent::seed_until) is `before` or earlier. Touches at most `limit` rows and returns how many it did, so that a caller repeats it
    /// while it returns `limit`. Rows that another call is working on at the moment may be left to the next time.
    ///
    /// If the limit leaves a part of a grant's tokens, the grant must be closed for good in the same step, by its `revoked_at`:
    /// by the clock of another node it may not have ended yet, and would go on without its evidence. (Closing is not counted.)
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
    /// # Errors
    /// [`IssuerError::Claimed`] if the storage belongs to another issuer, or the storage failed.
    async fn claim_issuer(&self, issuer: &str) -> Result<(), IssuerError>;

    /// Moves the storage from one issuer to another, in one atomic step, as when a domain changes. A call that is repeated succeeds.
    ///
    /// # Errors
    /// [`IssuerError::Claimed`] if the storage belongs to neither `from` nor `to`, [`IssuerError::Unclaimed`] if it belongs to none, or
    /// the storage failed.
    async fn rebind_issuer(&self, from: &str, to: &str) -> Result<(), IssuerError>;
}

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
    fn check(owner: Option<&str>, issuer: &str) -> Result<(), Self> {
        match owner {
            None => Err(Self::Unclaimed),
            Some(owner) if owner == issuer => Ok(()),
            Some(owner) => Err(Self::Claimed { owner: owner.into() }),
        }
    }
}

/// What became of an [`open_grant`](Storage::open_grant). In JSON it is `"done"`, `"taken"` or `"parent_dead"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "unless it is Done, nothing was stored"]
#[expect(clippy::exhaustive_enums, reason = "each outcome must be handled")]
pub enum Opened {
    /// The grant and its tokens are stored.
    Done,
    /// A one-time key was used before; nothing was written.
    Taken,
    /// The parent does not live; nothing was written.
    ParentDead,
}

/// The order to spend a token, see [`Storage::exchange`].
///
/// For a storage that sends it to another process: in JSON it is an object with these fields, and times are RFC 3339 texts.
/// Unknown members are refused.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(clippy::exhaustive_structs, reason = "a storage must heed every field")]
pub struct Spend {
    /// The token to be spent.
    pub token: TokenHash,
    /// The kind it must have.
    pub kind: TokenKind,
    /// The grant it must belong to.
    pub grant_id: GrantId,
    /// Identifies this attempt.
    pub attempt: AttemptId,
    /// The time of the request.
    #[serde(with = "rfc3339")]
    pub at: OffsetDateTime,
    /// Whether the token is spent by this. A refresh token without rotation is not.
    pub consume: bool,
    /// What to keep beside the spent token for the grace window, if there is one. In JSON it is `null` if there is none.
    #[serde(deserialize_with = "Option::deserialize")]
    pub seed: Option<Seed>,
    /// When the seed is due to be erased by a purge; present if there is a seed.
    #[serde(default, with = "rfc3339::option")]
    pub seed_until: Option<OffsetDateTime>,
    /// When the grant ends after this.
    #[serde(with = "rfc3339")]
    pub grant_expires_at: OffsetDateTime,
}

impl Spend {
    /// What is written into the row of a token that is spent by this.
    #[must_use]
    pub fn spent(&self) -> Spent {
        Spent { at: self.at, attempt: self.attempt, seed: self.seed.clone(), seed_until: self.seed_until }
    }

    /// Steps 1 to 3 of [`Storage::exchange`]: what is answered without writing anything, or `None` if the token is to be
    /// spent. `found` is the token's row and its grant, as they stand at the moment of the step: read them under the lock,
    /// or in the transaction, in which you write.
    #[must_use]
    pub fn refusal(&self, found: Option<(&StoredToken, &Grant)>) -> Option<Exchange> {
        let Some((token, grant)) = found else { return Some(Exchange::Dead) };
        let is_meant = token.hash == self.token && token.kind == self.kind && token.grant_id == self.grant_id;
        if !is_meant || token.revoked_at.is_some() || grant.id != self.grant_id || !grant.is_live(self.at) {
            return Some(Exchange::Dead);
        }
        if let Some(spent) = &token.spent {
            return Some(if spent.attempt == self.attempt { Exchange::Done } else { Exchange::AlreadySpent });
        }
        (token.expires_at <= self.at).then_some(Exchange::Dead)
    }
}

/// What became of a [`Spend`]. In JSON it is `"done"`, `"already_spent"` or `"dead"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[must_use = "unless it is Done, nothing was stored"]
#[expect(clippy::exhaustive_enums, reason = "each outcome must be handled")]
pub enum Exchange {
    /// The token was live; the successors are stored.
    Done,
    /// Somebody else has spent the token before; nothing was written.
    AlreadySpent,
    /// The token can't be spent; nothing was written.
    Dead,
}

/// Which grants are meant. There is no "all".
///
/// In JSON it is an object with one member, such as `{"subject": "alice"}` or `{"subject_and_client": ["alice", "app"]}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "a storage that overlooked a case would revoke too little")]
pub enum GrantSelector {
    /// One grant.
    Id(GrantId),
    /// One grant, if it is this subject's: what a page that acts for a user selects by.
    SubjectAndId(Subject, GrantId),
    /// All grants of a subject. Never one without a subject.
    Subject(Subject),
    /// All grants of a client, those without a subject included.
    Client(ClientId),
    /// All grants that a subject gave to a client.
    SubjectAndClient(Subject, ClientId),
    /// All grants that end with a session.
    Session(SessionDigest),
    /// All grants of a subject that end with a session.
    SubjectAndSession(Subject, SessionDigest),
}

impl GrantSelector {
    /// Whether a grant is meant, whatever its state.
    #[must_use]
    pub fn selects(&self, grant: &Grant) -> bool {
        let is = |subject: &Subject| grant.subject.as_ref() == Some(subject);
        match self {
            Self::Id(id) => grant.id == *id,
            Self::SubjectAndId(subject, id) => grant.id == *id && is(subject),
            Self::Subject(subject) => is(subject),
            Self::Client(client) => grant.client_id == *client,
            Self::SubjectAndClient(subject, client) => is(subject) && grant.client_id == *client,
            Self::Session(session) => grant.session == Some(*session),
            Self::SubjectAndSession(subject, session) => is(subject) && grant.session == Some(*session),
        }
    }
}

/// A part of a list of grants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Page {
    /// How many grants at most.
    pub limit: usize,
    /// Only grants that come after this one: its `opened_at` and `id`.
    pub after: Option<(OffsetDateTime, GrantId)>,
}

impl Page {
    /// The first `limit` grants.
    #[must_use]
    pub const fn first(limit: usize) -> Self {
        Self { limit, after: None }
    }

    /// The `limit` grants that follow `last`.
    #[must_use]
    pub const fn after(last: &Grant, limit: usize) -> Self {
        Self { limit, after: Some((last.opened_at, last.id)) }
    }
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

/// Manages clients. Shipped storages implement it; the library never calls it.
#[async_trait]
pub trait ClientRegistry: ClientStore {
    /// Stores a new client.
    ///
    /// # Errors
    /// The identifier is taken, or the storage failed.
    async fn register(&self, client: Client) -> Result<(), RegistryError>;

    /// Replaces the registration of a client, its credentials included.
    ///
    /// # Errors
    /// There is no such client, the stored one has members that this version does not know, or the storage failed.
    async fn update(&self, client: Client) -> Result<(), RegistryError>;

    /// Adds a credential and lets the others end at `others_end`, in one atomic step: rotation with overlap. In that step,
    /// [`ClientParts::rotate_credential`](crate::client::ClientParts::rotate_credential) says what becomes of the registration.
    ///
    /// # Errors
    /// There is no such client, it is a public one or has members that this version does not know, or the storage failed.
    async fn rotate_credential(
        &self,
        id: &ClientId,
        new: ClientCredential,
        others_end: OffsetDateTime,
    ) -> Result<(), RegistryError>;

    /// Removes a client, then revokes all its grants: when this returns, the client is unknown and no token of it works. Removing
    /// an unknown client is not an error.
    ///
    /// A request that had already authenticated the client may open one more grant just after. It can't be refreshed, but its
    /// access token lasts: to be rid of it, revoke the client's grants once more when such requests are done.
    ///
    /// # Errors
    /// The storage failed; the client may be gone and some of its grants not yet revoked. Calling it again does the rest.
    async fn remove(&self, id: &ClientId, at: OffsetDateTime) -> Result<(), RegistryError>;

    /// Clients in ascending order of their identifiers, `limit` at most, only those after `after`.
    ///
    /// # Errors
    /// The storage failed.
    async fn clients(&self, after: Option<&ClientId>, limit: usize) -> Result<Vec<Arc<Client>>, RegistryError>;
}

/// Rejects the change of a stored client that has members which this version does not know.
fn check_members(stored: &Client) -> Result<(), RegistryError> {
    if stored.parts().unknown_members().next().is_none() { Ok(()) } else { Err(RegistryError::UnknownMembers) }
}

/// Why a [`ClientRegistry`] did not do what was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A client with this identifier exists.
    #[error("a client with this identifier exists")]
    Taken,
    /// No client has this identifier.
    #[error("no client has this identifier")]
    Unknown,
    /// A newer version has registered the client: what the change means for members that this version does not know can't be told.
    #[error("the client has members that this version does not know: change it with the version that wrote them")]
    UnknownMembers,
    /// The change would make a client that makes no sense.
    #[error(transparent)]
    Invalid(#[from] crate::client::ClientError),
    /// The storage failed.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn calls_come_back_from_the_documented_json() {
        let hash = TokenHash::from_bytes([7; 32]);
        let spend = json!({
            "token": hash,
            "kind": "refresh_token",
            "grant_id": GrantId::from_bytes([1; 16]),
            "attempt": AttemptId::from_bytes([2; 16]),
            "at": "2026-01-01T00:00:00.000001Z",
            "consume": true,
            "seed": Seed::from_bytes([3; 32]),
            "seed_until": "2026-01-01T00:01:00.000001Z",
            "grant_expires_at": "2026-01-02T00:00:00Z",
        });
        let read = |value: &Value| serde_json::from_value::<Spend>(value.clone());
        assert_eq!(serde_json::to_value(read(&spend).unwrap()).unwrap(), spend);
        for name in ["kind", "attempt", "consume", "seed", "grant_expires_at"] {
            let mut without = spend.clone();
            without.as_object_mut().unwrap().remove(name);
            assert!(read(&without).is_err(), "{name} is missing");
        }
        let mut with_more = spend.clone();
        with_more["later"] = json!(1);
        assert!(read(&with_more).is_err(), "an unknown member");

        for (outcome, text) in
            [(Exchange::Done, "done"), (Exchange::AlreadySpent, "already_spent"), (Exchange::Dead, "dead")]
        {
            assert_eq!(serde_json::to_value(outcome).unwrap(), text);
            assert_eq!(serde_json::from_value::<Exchange>(json!(text)).unwrap(), outcome);
        }
        for (outcome, text) in [(Opened::Done, "done"), (Opened::Taken, "taken"), (Opened::ParentDead, "parent_dead")] {
            assert_eq!(serde_json::to_value(outcome).unwrap(), text);
            assert_eq!(serde_json::from_value::<Opened>(json!(text)).unwrap(), outcome);
        }
        for which in [
            json!({ "subject": "alice" }),
            json!({ "client": "app" }),
            json!({ "subject_and_client": ["alice", "app"] }),
            json!({ "id": GrantId::from_bytes([1; 16]) }),
            json!({ "subject_and_id": ["alice", GrantId::from_bytes([1; 16])] }),
            json!({ "session": SessionDigest::from_bytes([4; 32]) }),
            json!({ "subject_and_session": ["alice", SessionDigest::from_bytes([4; 32])] }),
        ] {
            let selector = serde_json::from_value::<GrantSelector>(which.clone()).unwrap();
            assert_eq!(serde_json::to_value(selector).unwrap(), which);
        }
    }
}
