//! A storage in an SQLite file, for one machine (feature `sqlite`).
//!
//! # Atomic steps
//! SQLite has one writer at a time. Every step that writes begins with `BEGIN IMMEDIATE`, which makes it the writer
//! before it reads anything. It then reads, decides, writes and commits. Within a process, writers queue in order.
//! Between processes, they wait for SQLite's lock up to the timeout. Readers neither wait nor block writers, because
//! the file is in WAL mode.

mod clients;
mod ephemeral;
mod issuer;
mod options;
mod purge;
mod signing_keys;
mod statements;
mod steps;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{Sqlite, SqlitePool, SqliteRow};
use sqlx::{Row, Transaction};
use time::OffsetDateTime;
use tokio::sync::{Mutex, OwnedMutexGuard};

pub use self::options::SqliteOptions;
use self::statements::Statements;
use super::StorageError;
use super::sql::{Cells, failed, unreadable};

/// A storage of clients, grants, tokens and ephemeral entries in an SQLite file. A clone is cheap and is a handle to
/// the same storage.
///
/// ```no_run
/// # async fn open() -> Result<(), grantor::StorageError> {
/// use grantor::storage::SqliteStorage;
///
/// let storage = SqliteStorage::open("oauth.db").await?;
/// # Ok(())
/// # }
/// ```
///
/// It keeps the whole [contract](super) for one or more processes on the same machine. Don't use it on a network file
/// system, where SQLite's locks are not reliable.
///
/// Once a call has returned, its effect survives a crash of the process. With the `synchronous = FULL` that
/// [`open`](Self::open) sets, it also survives a crash of the machine. The directory must be writable, because SQLite
/// keeps two more files beside the database. Make backups with `VACUUM INTO` or SQLite's tools, not by copying one of
/// the files.
///
/// # Failures
/// A lock that is not free within the timeout and a full disk are [`unavailable`](StorageError::unavailable) errors,
/// for which the server responds with 503. Errors keep `sqlx`'s error as their source.
///
/// # Tables
/// The tables are `grantor_clients`, `grantor_grants`, `grantor_tokens`, `grantor_ephemeral`, `grantor_issuer`,
/// `grantor_signing_keys` and, for the bookkeeping, `grantor_migrations`. [`manual::tables`](crate::manual::tables)
/// shows them, and [`SqliteOptions`] can change their prefix.
///
/// Tokens and client secrets are stored as digests only. The seed of a spent refresh token is erased by the next
/// refresh, or after a minute by [`AuthorizationServer::purge`](crate::AuthorizationServer::purge), which you must call
/// regularly.
///
/// # Linking
/// `sqlx` links SQLite through `libsqlite3-sys`, and Cargo allows only one version of this crate in a program. If you
/// also use `rusqlite` or `diesel`, choose versions that accept the `libsqlite3-sys` that `sqlx` needs (for `sqlx`
/// 0.9.0: 0.30.1 to 0.37), or run the server in another process.
#[derive(Clone)]
pub struct SqliteStorage {
    pool: SqlitePool,
    /// The lock that queues the writers of this process.
    turn: Arc<Mutex<()>>,
    statements: Arc<Statements>,
    timeout: Duration,
}

/// The transaction of the single writer. If it is dropped without a commit, it is rolled back.
struct Write {
    transaction: Transaction<'static, Sqlite>,
    _turn: OwnedMutexGuard<()>,
}

impl SqliteStorage {
    /// Opens a file with the default [`SqliteOptions`]. Creates the file if it does not exist, and migrates the tables.
    ///
    /// # Errors
    /// See [`SqliteOptions::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        SqliteOptions::new().open(path).await
    }

    /// Opens the file that a URL names, such as `sqlite:oauth.db`. Otherwise like [`open`](Self::open).
    ///
    /// # Errors
    /// See [`SqliteOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        SqliteOptions::new().connect(url).await
    }

    /// Uses an existing pool with the default [`SqliteOptions`], and migrates the tables.
    ///
    /// # Errors
    /// See [`SqliteOptions::with_pool`].
    pub async fn with_pool(pool: SqlitePool) -> Result<Self, StorageError> {
        SqliteOptions::new().with_pool(pool).await
    }

    /// Returns the connection pool.
    #[must_use]
    pub const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Runs a step within the time limit.
    async fn within<T, E: From<StorageError>>(&self, work: impl Future<Output = Result<T, E>> + Send) -> Result<T, E> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(StorageError::unavailable("the database was busy until the timeout").into()),
        }
    }

    async fn write(&self) -> Result<Write, StorageError> {
        let turn = Arc::clone(&self.turn).lock_owned().await;
        let transaction = self.pool.begin_with("BEGIN IMMEDIATE").await.map_err(to_storage_error)?;
        Ok(Write { transaction, _turn: turn })
    }
}

impl Write {
    async fn commit(self) -> Result<(), StorageError> {
        self.transaction.commit().await.map_err(to_storage_error)
    }
}

fn to_storage_error(error: sqlx::Error) -> StorageError {
    failed(error, is_transient)
}

/// Returns whether an SQLite result code is temporary: busy, locked, interrupted or no space.
fn is_transient(code: &str) -> bool {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const INTERRUPT: u32 = 9;
    const FULL: u32 = 13;
    // The low byte is the primary result code.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, BUSY | LOCKED | INTERRUPT | FULL))
}

/// Converts a time to a column value: microseconds since 1970.
fn micros(time: OffsetDateTime) -> i64 {
    // An i64 holds times far beyond the year 9999.
    i64::try_from(time.unix_timestamp_nanos().div_euclid(1_000)).unwrap_or(i64::MAX)
}

impl Cells for SqliteRow {
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StorageError> {
        self.try_get(column).map_err(|error| unreadable(column, error))
    }

    fn text(&self, column: usize) -> Result<Option<&str>, StorageError> {
        self.try_get(column).map_err(|error| unreadable(column, error))
    }

    fn time(&self, column: usize) -> Result<Option<OffsetDateTime>, StorageError> {
        let time = |micros| OffsetDateTime::from_unix_timestamp_nanos(i128::from(micros) * 1_000);
        self.number(column)?.map(time).transpose().map_err(|error| unreadable(column, error))
    }

    fn number(&self, column: usize) -> Result<Option<i64>, StorageError> {
        self.try_get(column).map_err(|error| unreadable(column, error))
    }
}

impl fmt::Debug for SqliteStorage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteStorage").field("timeout", &self.timeout).finish_non_exhaustive()
    }
}
