//! How an [`SqliteStorage`] is opened.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration as Wait;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use time::Duration;

use super::statements::Statements;
use super::{SqliteStorage, to_storage_error};
use crate::error::StorageError;
use crate::storage::sql::{
    Cells, DEFAULT_PREFIX, DEFAULT_TIMEOUT, TableNames, check_migrations, check_timeout, migrator, run_migrations,
};

/// The migrations, in order. What is in here never changes.
const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "clients, grants, tokens", include_str!("../../../migrations/sqlite/0001_clients_grants_tokens.sql"))];

/// How long to wait before a new file is tried again that another process is just setting up.
const PAUSE: Wait = Wait::from_millis(10);

/// How an [`SqliteStorage`] is opened.
///
/// ```no_run
/// # async fn open(pool: sqlx::SqlitePool) -> Result<(), grantor::StorageError> {
/// use grantor::storage::SqliteOptions;
///
/// let storage = SqliteOptions::new().table_prefix("oauth_").with_pool(pool).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "open() or with_pool() opens the storage"]
pub struct SqliteOptions {
    prefix: String,
    timeout: Duration,
    connections: u32,
    migrates: bool,
}

impl Default for SqliteOptions {
    fn default() -> Self {
        Self { prefix: DEFAULT_PREFIX.to_owned(), timeout: DEFAULT_TIMEOUT, connections: 8, migrates: true }
    }
}

impl SqliteOptions {
    /// The defaults, which stand at each method.
    pub fn new() -> Self {
        Self::default()
    }

    /// What the names of all tables and indexes begin with; by default `grantor_`. Up to 40 of the characters `a-z`, `0-9` and
    /// `_`, or nothing.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a step may take, waiting for other writers included; by default 5 seconds. After that it fails with
    /// [`unavailable`](StorageError::unavailable). Most calls are one step; a redemption that failed takes a second one to look
    /// whether it was done all the same, and a purge or the revocation of many grants consists of as many as it needs. With a timeout that is
    /// zero or negative, the storage does not open.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many connections [`open`](Self::open) opens at most, and so how many calls read at the same time; by default 8.
    pub const fn max_connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// Whether to create and change tables when the storage is opened, which is the default. Without it they are only
    /// checked.
    pub const fn migrate(mut self, migrates: bool) -> Self {
        self.migrates = migrates;
        self
    }

    /// Opens a file, creating it unless it is there (or `migrate(false)`), in WAL mode and with `synchronous = FULL`.
    ///
    /// # Errors
    /// The file can't be opened or created, is not a database, or as for [`with_pool`](Self::with_pool). A database in memory
    /// is refused, because each connection would have one of its own: use [`MemoryStorage`](crate::MemoryStorage).
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStorage, StorageError> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            return Err(needs_a_file());
        }
        self.open_with(SqliteConnectOptions::new().filename(path)).await
    }

    /// Like [`open`](Self::open), for the file that a URL names: `sqlite:oauth.db`, `sqlite:///var/lib/oauth.db?cache=private`.
    ///
    /// # Errors
    /// The URL is malformed, or as for [`open`](Self::open).
    pub async fn connect(self, url: &str) -> Result<SqliteStorage, StorageError> {
        if url.contains(":memory:") || url.contains("mode=memory") {
            return Err(needs_a_file());
        }
        self.open_with(url.parse().map_err(to_storage_error)?).await
    }

    async fn open_with(self, connect: SqliteConnectOptions) -> Result<SqliteStorage, StorageError> {
        let timeout = check_timeout(self.timeout)?;
        let connect = connect
            .create_if_missing(self.migrates)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(timeout);
        let options = SqlitePoolOptions::new()
            .max_connections(self.connections)
            .acquire_timeout(timeout)
            // A file does not go away as a server does.
            .test_before_acquire(false);
        let pool = tokio::time::timeout(timeout, connected(options, connect))
            .await
            .map_err(|_| StorageError::unavailable("the database was busy for too long"))??;
        self.with_pool(pool).await
    }

    /// Uses a pool of the host's. Let its connections use WAL mode and foreign keys, wait for locks no longer than the timeout,
    /// and all read and write the same file.
    ///
    /// # Errors
    /// The timeout or the prefix is not allowed, a migration failed, or the tables are those of another version.
    pub async fn with_pool(self, pool: SqlitePool) -> Result<SqliteStorage, StorageError> {
        let timeout = check_timeout(self.timeout)?;
        let names = TableNames::new(None, &self.prefix)?;
        let migrator = migrator(&names, &MIGRATIONS);
        // Being the one writer keeps other processes out.
        let mut transaction = pool.begin_with("BEGIN IMMEDIATE").await.map_err(to_storage_error)?;
        let file = sqlx::query("SELECT file FROM pragma_database_list WHERE name = 'main'");
        let file = file.fetch_one(&mut *transaction).await.map_err(to_storage_error)?;
        if file.text(0)?.is_none_or(str::is_empty) {
            return Err(needs_a_file());
        }
        if self.migrates {
            run_migrations(&mut *transaction, &names, &migrator).await?;
        } else {
            check_migrations(&mut *transaction, &names, &migrator).await?;
        }
        transaction.commit().await.map_err(to_storage_error)?;
        let statements = Arc::new(Statements::new(&names));
        Ok(SqliteStorage { pool, turn: Arc::default(), statements, timeout })
    }
}

fn needs_a_file() -> StorageError {
    StorageError::new("an SQLite storage needs a file")
}

/// Connects. While another process switches a new file to WAL mode, SQLite does not wait but fails.
async fn connected(options: SqlitePoolOptions, connect: SqliteConnectOptions) -> Result<SqlitePool, StorageError> {
    loop {
        match options.clone().connect_with(connect.clone()).await.map_err(to_storage_error) {
            Err(failure) if failure.is_unavailable() => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
}
