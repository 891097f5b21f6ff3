//! A storage in PostgreSQL, for one node or many (feature `postgres`).
//!
//! # Atomic steps
//! A statement is atomic, and every method needs one statement if the first attempt succeeds. (The purge, and the
//! revocation of more than a thousand grants, need several.) So a cancelled call leaves no transaction open.
//!
//! [`redeem`](steps) locks the row of the token and of its grant before it checks them. So of many racing calls
//! one wins, and no call wins against a revocation. If nothing was redeemed, a second statement reads the rows again to
//! find out why, because the first statement still sees the rows from before it waited.

mod clients;
mod ephemeral;
mod issuer;
mod options;
mod purge;
mod signing_keys;
mod statements;
mod steps;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use sqlx::PgPool;
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgDatabaseError, PgRow, PgSeverity};
use sqlx::{Row, ValueRef};
use time::OffsetDateTime;
use tokio::time::Instant;

pub use self::options::PostgresOptions;
use self::statements::Statements;
use super::StorageError;
use super::sql::{Cells, failed, is_transport_failure, unreadable};

/// A storage of clients, grants, tokens and ephemeral entries in PostgreSQL 12 or later. A clone is cheap and is a
/// handle to the same storage.
///
/// ```no_run
/// # async fn open() -> Result<(), grantor::StorageError> {
/// use grantor::storage::PostgresStorage;
///
/// let storage = PostgresStorage::connect("postgres://oauth@db.internal/oauth").await?;
/// # Ok(())
/// # }
/// ```
///
/// It keeps the whole [contract](super) for any number of nodes that use the same primary. A pool that reads from a
/// replica breaks the contract, and `synchronous_commit = off` breaks clause 1 if the database crashes. The encoding of
/// the database must be UTF-8.
///
/// # Round trips
/// A call whose first attempt succeeds takes one round trip. Requests therefore take:
///
/// | request | round trips |
/// |---|---|
/// | bearer check, client credentials | 1 |
/// | code redemption, refresh | 2 |
/// | revocation of grants | 2; the second looks for derived grants |
/// | revocation of the grants of a user | 3; the last looks for grants that were opened meanwhile |
/// | repeated refresh | 5 |
///
/// One more round trip is needed to find the client, to redeem a token that turns out to be spent, for a statement that
/// a connection prepares for the first time, and for a connection that was idle for more than a second.
///
/// `sqlx` sends one message when a connection returns to the pool. The next user of that connection waits for the
/// reply, so give the pool some spare connections.
///
/// # Failures
/// The storage tries a step up to eight times within the time limit if PostgreSQL rolled it back because of another
/// transaction (a serialization failure or a deadlock), or if the connection was closed before the step was sent. It
/// never repeats a step that may have been committed. If the connection breaks during a redemption, the storage checks
/// whether the redemption was committed, and returns an error if it can't tell.
///
/// Timeouts and an unreachable database are [`unavailable`](StorageError::unavailable) errors, for which the server
/// responds with 503. The next call opens a new connection. Errors keep `sqlx`'s error as their source, except for a
/// row that violates a constraint, because that error would show the row.
///
/// # Tables
/// The tables are `grantor_clients`, `grantor_grants`, `grantor_tokens`, `grantor_ephemeral`, `grantor_issuer`,
/// `grantor_signing_keys` and, for the bookkeeping, `grantor_migrations`. [`manual::tables`](crate::manual::tables)
/// shows them, and [`PostgresOptions`] can change their prefix and schema.
///
/// The tables hold no usable credentials: tokens and client secrets are stored as digests only. The seed of a spent
/// refresh token is erased by the next refresh, or after a minute by
/// [`AuthorizationServer::purge`](crate::AuthorizationServer::purge), which you must call regularly.
///
/// # TLS
/// To connect with TLS, add `sqlx` 0.9 to your dependencies and enable one of its `tls-` features.
#[derive(Clone)]
pub struct PostgresStorage {
    pool: PgPool,
    statements: Arc<Statements>,
    timeout: Duration,
}

/// The number of attempts for a step that the database rolls back because of other transactions.
const TRIES: usize = 8;

impl PostgresStorage {
    /// Connects to the database of this URL with the default [`PostgresOptions`], and migrates the tables.
    ///
    /// # Errors
    /// See [`PostgresOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        PostgresOptions::new().connect(url).await
    }

    /// Uses an existing pool with the default [`PostgresOptions`], and migrates the tables.
    ///
    /// # Errors
    /// See [`PostgresOptions::with_pool`].
    pub async fn with_pool(pool: PgPool) -> Result<Self, StorageError> {
        PostgresOptions::new().with_pool(pool).await
    }

    /// Returns the connection pool. Use it for single statements only, and another pool for transactions: see
    /// [`PostgresOptions::with_pool`].
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs a step within the time limit, and repeats it if the database rolled it back because of another transaction.
    async fn step<T, F>(&self, step: impl Fn() -> F + Send) -> Result<T, StorageError>
    where
        F: Future<Output = Result<T, sqlx::Error>> + Send,
    {
        self.try_step(self.deadline(), step).await.map_err(Failure::into_error)
    }

    fn deadline(&self) -> Option<Instant> {
        Instant::now().checked_add(self.timeout)
    }

    async fn try_step<T, F>(&self, deadline: Option<Instant>, step: impl Fn() -> F + Send) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, sqlx::Error>> + Send,
    {
        let tries = async {
            for _ in 1..TRIES {
                match step().await {
                    Err(error) if was_rolled_back(&error) => {}
                    done => return done,
                }
            }
            step().await
        };
        let Some(deadline) = deadline else { return tries.await.map_err(Failure::Database) };
        match tokio::time::timeout_at(deadline, tries).await {
            Ok(done) => done.map_err(Failure::Database),
            Err(_) => Err(Failure::TimedOut),
        }
    }
}

/// The reason why a step failed.
enum Failure {
    Database(sqlx::Error),
    TimedOut,
}

impl Failure {
    /// Returns whether the step may have been committed.
    fn is_ambiguous(&self) -> bool {
        match self {
            Self::Database(error) => is_connection_lost(error),
            Self::TimedOut => true,
        }
    }

    /// Returns whether an identifier or a hash was taken. Then nothing was written.
    fn is_taken(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
    }

    fn into_error(self) -> StorageError {
        match self {
            Self::Database(error) => to_storage_error(error),
            Self::TimedOut => StorageError::unavailable("the database did not respond within the timeout"),
        }
    }
}

/// Returns whether the connection ended before the response. A final `FATAL` message of the server, or a class 08 error
/// of a connection pooler, may come after a commit.
fn is_connection_lost(error: &sqlx::Error) -> bool {
    let ends_connection = |error: &PgDatabaseError| {
        matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) || error.code().starts_with("08")
    };
    is_transport_failure(error)
        || error.as_database_error().and_then(|error| error.try_downcast_ref()).is_some_and(ends_connection)
}

fn to_storage_error(error: sqlx::Error) -> StorageError {
    let reported = error.as_database_error().and_then(|error| error.try_downcast_ref::<PgDatabaseError>());
    match reported {
        Some(reported) if matches!(reported.code(), "23502" | "23514") => {
            StorageError::new(RefusedRow { code: reported.code().to_owned(), message: reported.message().to_owned() })
        }
        _ => failed(error, is_transient),
    }
}

/// The error of a row that violates a constraint. Only the host app can have added such a constraint. It replaces
/// PostgreSQL's error, which holds the whole row including the seed.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
struct RefusedRow {
    code: String,
    message: String,
}

/// Returns whether a step was certainly not committed because of another transaction, so that it can be repeated.
///
/// * `serialization_failure` (40001) and `deadlock_detected` (40P01): PostgreSQL rolled it back so that others can
///   continue.
/// * `foreign_key_violation` (23503): a purge was about to remove a grant that just got a token from a node whose clock
///   is behind.
/// * A pipe that broke while the step was sent, because the commit is the last part that is sent. (If a
///   proxy reports this after a commit, the repeated step meets its own rows and fails, or finds its own attempt.)
///
/// `statement_completion_unknown` (40003) is not in the list, and neither is an error that ended the connection.
fn was_rolled_back(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Io(error) = error {
        return error.kind() == std::io::ErrorKind::BrokenPipe;
    }
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "40001" | "40P01" | "23503")) && !is_connection_lost(error)
}

/// Returns whether an error code is temporary: no connection (class 08), no resources (53), stopped by an administrator
/// or a timeout (57), rolled back too often (40), lock not available (55P03), or read-only during a failover (25006).
fn is_transient(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "40" | "53" | "57")) || matches!(code, "55P03" | "25006")
}

impl Cells for PgRow {
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StorageError> {
        self.try_get(column).map_err(|error| unreadable(column, error))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StorageError> {
        // Skips the type check, because JSON is sent as text.
        let value = self.try_get_raw(column).map_err(|error| unreadable(column, error))?;
        let text = (!value.is_null()).then(|| value.as_str());
        text.transpose().map_err(|error| unreadable(column, error))
    }

    fn time(&self, column: usize) -> Result<Option<OffsetDateTime>, StorageError> {
        self.try_get(column).map_err(|error| unreadable(column, error))
    }

    fn number(&self, column: usize) -> Result<Option<i64>, StorageError> {
        self.try_get(column).map_err(|error| unreadable(column, error))
    }
}

impl fmt::Debug for PostgresStorage {
    /// Omits the pool, whose options contain the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
