//! [`SqliteOptions`].

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

/// The migrations, in order. Released migrations never change.
const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "clients, grants, tokens", include_str!("../../../migrations/sqlite/0001_clients_grants_tokens.sql"))];

/// The delay before another attempt to open a new file that another process is setting up.
const PAUSE: Wait = Wait::from_millis(10);

/// The options for opening an [`SqliteStorage`].
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
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the prefix of the names of all tables and indexes: at most 40 of the characters `a-z`, `0-9` and `_`, not
    /// beginning with a digit, or nothing. Default: `grantor_`.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the time limit of a step, including the wait for other writers. Default: 5 seconds. The storage does not
    /// open with a limit that is zero or negative.
    ///
    /// A step that takes longer fails with [`unavailable`](StorageError::unavailable). Most calls are one step. A
    /// redemption that failed takes a second step, which checks whether it was committed. A purge and the revocation of
    /// many grants take several steps.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the maximum number of connections, and so of concurrent reads, after [`open`](Self::open). Default: 8.
    pub const fn max_connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// Sets whether opening the storage creates and migrates the tables. If not, it only checks them. Default: `true`.
    pub const fn migrate(mut self, migrates: bool) -> Self {
        self.migrates = migrates;
        self
    }

    /// Opens a file in WAL mode with `synchronous = FULL`. Creates it if it does not exist, except with
    /// `migrate(false)`.
    ///
    /// # Errors
    /// The file can't be opened or created, it is not a database, or an error of [`with_pool`](Self::with_pool). A
    /// database in memory is refused, because each connection would get a separate one: use
    /// [`MemoryStorage`](crate::MemoryStorage) instead.
    pub async fn open(self, path: impl AsRef<Path>) -> Result<SqliteStorage, StorageError> {
        let path = path.as_ref();
        if path.as_os_str().is_empty() || path == Path::new(":memory:") {
            return Err(needs_a_file());
        }
        self.open_with(SqliteConnectOptions::new().filename(path)).await
    }

    /// Opens the file that a URL names, such as `sqlite:oauth.db` or `sqlite:///var/lib/oauth.db?cache=private`.
    /// Otherwise like [`open`](Self::open).
    ///
    /// # Errors
    /// The URL is malformed, or an error of [`open`](Self::open).
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
            // A file needs no liveness check, unlike a server.
            .test_before_acquire(false);
        let pool = tokio::time::timeout(timeout, connected(options, connect))
            .await
            .map_err(|_| StorageError::unavailable("the database was busy until the timeout"))??;
        self.with_pool(pool).await
    }

    /// Uses an existing pool. All its connections must use the same file, WAL mode and foreign keys, and must not wait
    /// for locks longer than the timeout.
    ///
    /// # Errors
    /// The timeout or the prefix is invalid, a migration failed, or the tables are of another version.
    pub async fn with_pool(self, pool: SqlitePool) -> Result<SqliteStorage, StorageError> {
        let timeout = check_timeout(self.timeout)?;
        let names = TableNames::new(None, &self.prefix)?;
        let migrator = migrator(&names, &MIGRATIONS);
        // The writer's lock excludes other processes.
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
    StorageError::new("the SQLite storage has no file: name a file, or use MemoryStorage")
}

/// Connects, and retries while another process switches a new file to WAL mode. SQLite fails then instead of waiting.
async fn connected(options: SqlitePoolOptions, connect: SqliteConnectOptions) -> Result<SqlitePool, StorageError> {
    loop {
        match options.clone().connect_with(connect.clone()).await.map_err(to_storage_error) {
            Err(failure) if failure.is_unavailable() => tokio::time::sleep(PAUSE).await,
            done => return done,
        }
    }
}
