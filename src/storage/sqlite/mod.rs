//! A storage in an SQLite file, for one machine (feature `sqlite`).
//!
//! # How each step is one step
//! SQLite has one writer at a time. Every step that writes begins with `BEGIN IMMEDIATE`, which makes it that writer before
//! it reads anything, decides with what it read, and commits. Within a process writers queue in order; between
//! processes SQLite's own lock decides, for which each waits up to the timeout. Readers neither wait nor are waited for,
//! because the file is in WAL mode.

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

/// Clients, grants, tokens and ephemeral entries in an SQLite file. Cloning it is cheap and gives the same storage.
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
/// It keeps the whole [contract](super), for one process or for several on the same machine; not on a network file
/// system, where SQLite's locks can't be relied on. What a call has returned survives the death of the process and, with
/// the `synchronous = FULL` that [`open`](Self::open) sets, of the machine. The directory must be writable: SQLite keeps two
/// more files beside the database, and a backup is taken with `VACUUM INTO` or SQLite's own tools, not by copying one of them.
///
/// # Failures
/// A lock that is not free within the timeout, and a full disk, are [`unavailable`](StorageError::unavailable), which becomes
/// 503. Errors keep `sqlx`'s error as their source.
///
/// # Tables
/// `grantor_clients`, `grantor_grants`, `grantor_tokens`, `grantor_ephemeral`, `grantor_issuer`, `grantor_signing_keys`, and `grantor_migrations` for the bookkeeping; a prefix of
/// your choice with
/// [`SqliteOptions`]. [`manual::tables`](crate::manual::tables) shows them. Tokens and client secrets are
/// stored as digests only; the seed beside a spent refresh token is erased by the next refresh or a minute later by
/// [`AuthorizationServer::purge`](crate::AuthorizationServer::purge), which is to be called from time to time.
///
/// # Linking
/// `sqlx` brings SQLite itself, through `libsqlite3-sys`, and Cargo allows one version of such a crate in a program. If you
/// also use `rusqlite` or `diesel`, choose versions that accept the `libsqlite3-sys` that `sqlx` wants (for `sqlx` 0.9.0: 0.30.1 to 0.37),
/// or keep the storage in another process.
#[derive(Clone)]
pub struct SqliteStorage {
    pool: SqlitePool,
    /// Whose turn it is to write, in this process.
    turn: Arc<Mutex<()>>,
    statements: Arc<Statements>,
    timeout: Duration,
}

/// A transaction that is the only one to write. Dropped without a commit, it leaves nothing behind.
struct Write {
    transaction: Transaction<'static, Sqlite>,
    _turn: OwnedMutexGuard<()>,
}

impl SqliteStorage {
    /// Opens a file, creating it unless it is there, and brings its tables up to date, with the default [`SqliteOptions`].
    ///
    /// # Errors
    /// See [`SqliteOptions::open`].
    pub async fn open(path: impl AsRef<Path>) -> Result<Self, StorageError> {
        SqliteOptions::new().open(path).await
    }

    /// Like [`open`](Self::open), for the file that a URL names: `sqlite:oauth.db`.
    ///
    /// # Errors
    /// See [`SqliteOptions::connect`].
    pub async fn connect(url: &str) -> Result<Self, StorageError> {
        SqliteOptions::new().connect(url).await
    }

    /// Uses a pool of the host's and brings the tables up to date, with the default [`SqliteOptions`].
    ///
    /// # Errors
    /// See [`SqliteOptions::with_pool`].
    pub async fn with_pool(pool: SqlitePool) -> Result<Self, StorageError> {
        SqliteOptions::new().with_pool(pool).await
    }

    /// The pool it uses.
    #[must_use]
    pub const fn pool(&self) -> &SqlitePool {
        &self.pool
    }

    /// Does something within the time limit.
    async fn within<T, E: From<StorageError>>(&self, work: impl Future<Output = Result<T, E>> + Send) -> Result<T, E> {
        match tokio::time::timeout(self.timeout, work).await {
            Ok(done) => done,
            Err(_) => Err(StorageError::unavailable("the database was busy for too long").into()),
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

/// Results that say something about the moment and not about the statement: busy, locked, interrupted, no space.
fn is_transient(code: &str) -> bool {
    const BUSY: u32 = 5;
    const LOCKED: u32 = 6;
    const INTERRUPT: u32 = 9;
    const FULL: u32 = 13;
    // The low byte is the primary result code, the others refine it.
    code.parse::<u32>().is_ok_and(|code| matches!(code & 0xff, BUSY | LOCKED | INTERRUPT | FULL))
}

/// As the columns keep it: whole microseconds since 1970.
fn micros(time: OffsetDateTime) -> i64 {
    // Far more fits than the year 9999.
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
