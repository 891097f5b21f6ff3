//! A storage in PostgreSQL, for one node or many (feature `postgres`).
//!
//! # How each step is one step
//! Every method is one statement on its winning path (the purge, and the revocation of more than a thousand grants, are
//! several), and a statement is atomic. There is no transaction to be left open by a caller that is dropped. [`redeem`](steps) locks the
//! token's row and its grant's together before it looks at them, so that of many who race one wins, and none wins against a
//! revocation; who finds nothing to spend asks again in a new statement what there is, because the one that waited
//! still sees the rows as they were before.

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

/// Clients, grants, tokens and ephemeral entries in PostgreSQL 12 or later. Cloning it is cheap and gives the same storage.
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
/// It keeps the whole [contract](super) for as many nodes as use the same primary; a pool that reads from a replica breaks it.
/// `synchronous_commit = off` breaks clause 1 when the database crashes. The database's encoding must be UTF-8.
///
/// # Round trips
/// One for each call on its winning path, so: client credentials 1, code redemption 2, refresh 2, a repeated refresh 5, bearer check 1, revocation
/// of grants 2 (the second one looks for derived ones), each after the look-up of the client, which is 1. A redemption that finds its token spent takes 1 more,
/// a statement that a connection meets for the first time 1 more to prepare it, and a connection that was idle for more than a
/// second 1 more to be tried. `sqlx` sends one message when a connection goes back to the pool; only who needs that very
/// connection waits for the answer, so let the pool have some to spare.
///
/// # Failures
/// What PostgreSQL rolled back for the sake of another transaction (a serialization failure or a deadlock), or never got because the
/// connection was closed before, is tried up to eight times within the time limit. A step that may have been committed is never repeated. If the connection breaks while an
/// redemption is under way, the storage looks whether it was committed, and when in doubt fails. Timeouts and a database that is out of
/// reach are [`unavailable`](StorageError::unavailable), which becomes 503; the next call opens a new connection. Errors
/// keep `sqlx`'s error as their source, but for a row that breaks a constraint, because that error would show the row.
///
/// # Tables
/// `grantor_clients`, `grantor_grants`, `grantor_tokens`, `grantor_ephemeral`, `grantor_issuer`, `grantor_signing_keys`, and `grantor_migrations` for the bookkeeping; a prefix and a schema of
/// your choice with [`PostgresOptions`]. [`manual::tables`](crate::manual::tables) shows them. There is nothing in
/// them that can be presented: tokens and client secrets are digests, and the seed beside a spent refresh token is erased
/// by the next refresh or a minute later by [`AuthorizationServer::purge`](crate::AuthorizationServer::purge), which is to be called from
/// time to time.
///
/// # TLS
/// To connect with TLS, depend on `sqlx` 0.9 yourself and switch on one of its `tls-` features.
#[derive(Clone)]
pub struct PostgresStorage {
    pool: PgPool,
    statements: Arc<Statements>,
    timeout: Duration,
}

/// How often a step is tried that the database rolls back for the sake of others.
const TRIES: usize = 8;

impl PostgresStorage {
    /// Connects to the database of this URL and brings its tables up to date, with the default [`PostgresOptions`].
    ///
    /// # Errors
    /// See [`PostgresOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        PostgresOptions::new().connect(url).await
    }

    /// Uses a pool of the host's and brings the tables up to date, with the default [`PostgresOptions`].
    ///
    /// # Errors
    /// See [`PostgresOptions::with_pool`].
    pub async fn with_pool(pool: PgPool) -> Result<Self, StorageError> {
        PostgresOptions::new().with_pool(pool).await
    }

    /// The pool it uses.
    #[must_use]
    pub const fn pool(&self) -> &PgPool {
        &self.pool
    }

    /// Runs a step within the time limit, and again if the database rolled it back for the sake of another.
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

/// Why a step did not answer.
enum Failure {
    Database(sqlx::Error),
    TimedOut,
}

impl Failure {
    /// Whether the step may have been committed all the same.
    fn is_ambiguous(&self) -> bool {
        match self {
            Self::Database(error) => is_connection_lost(error),
            Self::TimedOut => true,
        }
    }

    /// Whether an identifier was taken: nothing was written.
    fn is_taken(&self) -> bool {
        let Self::Database(error) = self else { return false };
        error.as_database_error().is_some_and(DatabaseError::is_unique_violation)
    }

    fn into_error(self) -> StorageError {
        match self {
            Self::Database(error) => to_storage_error(error),
            Self::TimedOut => StorageError::unavailable("the database did not answer in time"),
        }
    }
}

/// The connection ended before the answer was there. The server's last words (`FATAL`) may come after a commit, and so may
/// those of a pooler in between (class 08).
fn is_connection_lost(error: &sqlx::Error) -> bool {
    let last_words = |error: &PgDatabaseError| {
        matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic) || error.code().starts_with("08")
    };
    is_transport_failure(error)
        || error.as_database_error().and_then(|error| error.try_downcast_ref()).is_some_and(last_words)
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

/// A row that breaks a constraint, which only a host can have added. PostgreSQL's own error holds the whole row, the seed
/// included.
#[derive(Debug, thiserror::Error)]
#[error("{message} (SQLSTATE {code})")]
struct RefusedRow {
    code: String,
    message: String,
}

/// `serialization_failure` and `deadlock_detected`: what PostgreSQL undoes so that others can go on. And a purge that was
/// about to remove a grant (`foreign_key_violation`) which just got a token from a node whose clock is behind.
///
/// A pipe that was broken before all was written is one of them: what is written last is the order to commit. (Should something
/// in between say so of a step that was committed, the repetition meets its own rows and fails, or its own attempt.)
///
/// A code that says less is none of them, such as `statement_completion_unknown` (40003), nor are the last words of a connection.
fn was_rolled_back(error: &sqlx::Error) -> bool {
    if let sqlx::Error::Io(error) = error {
        return error.kind() == std::io::ErrorKind::BrokenPipe;
    }
    let code = error.as_database_error().and_then(DatabaseError::code);
    code.is_some_and(|code| matches!(&*code, "40001" | "40P01" | "23503")) && !is_connection_lost(error)
}

/// Errors that say something about the moment and not about the statement: no connection (class 08), no resources (53),
/// an administrator or a timeout stepped in (57), rolled back too often (40), a lock that was not free (55P03), read only because it is
/// about to be replaced (25006).
fn is_transient(code: &str) -> bool {
    matches!(code.get(..2), Some("08" | "40" | "53" | "57")) || matches!(code, "55P03" | "25006")
}

impl Cells for PgRow {
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StorageError> {
        self.try_get(column).map_err(|error| unreadable(column, error))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StorageError> {
        // The type is not looked at, because json is sent as the text that it is.
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
    /// Without the pool, whose options know the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PostgresStorage").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
