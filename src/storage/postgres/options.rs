//! How a [`PostgresStorage`] is opened.

use std::sync::Arc;
use std::time::Duration as Wait;

use sqlx::postgres::{PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, Connection};
use time::Duration;

use super::statements::Statements;
use super::{PostgresStorage, to_storage_error};
use crate::error::StorageError;
use crate::storage::sql::{
    DEFAULT_PREFIX, DEFAULT_TIMEOUT, TableNames, check_migrations, check_timeout, migrator, run_migrations,
};

/// The migrations, in order. What is in here never changes.
const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "clients, grants, tokens", include_str!("../../../migrations/postgres/0001_clients_grants_tokens.sql"))];

/// A connection that was idle for longer is tried before it is used.
const IDLE: Wait = Wait::from_secs(1);

/// How a [`PostgresStorage`] is opened.
///
/// ```no_run
/// # async fn open(pool: sqlx::PgPool) -> Result<(), grantor::StorageError> {
/// use grantor::storage::PostgresOptions;
///
/// let storage = PostgresOptions::new().schema("auth").table_prefix("oauth_").with_pool(pool).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
#[must_use = "connect() or with_pool() opens the storage"]
pub struct PostgresOptions {
    schema: Option<String>,
    prefix: String,
    timeout: Duration,
    connections: u32,
    migrates: bool,
}

impl Default for PostgresOptions {
    fn default() -> Self {
        Self {
            schema: None,
            prefix: DEFAULT_PREFIX.to_owned(),
            timeout: DEFAULT_TIMEOUT,
            connections: 10,
            migrates: true,
        }
    }
}

impl PostgresOptions {
    /// The defaults, which stand at each method.
    pub fn new() -> Self {
        Self::default()
    }

    /// The schema of the tables, created if it is missing. By default none is named, and the connection's `search_path`
    /// decides. Up to 40 of the characters `a-z`, `0-9` and `_`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// What the names of all tables and indexes begin with; by default `grantor_`. Up to 40 of the characters `a-z`, `0-9` and
    /// `_`, or nothing.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// How long a step may take, waiting for a connection included; by default 5 seconds. After that it fails with
    /// [`unavailable`](StorageError::unavailable), and a pool that the storage made has the server give up, too. Most calls are
    /// one step; a redemption whose answer was lost takes a second one to look, and a purge or the revocation of many grants
    /// consists of as many as it needs. With a timeout that is zero or negative, the storage does not open.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many connections [`connect`](Self::connect) opens at most; by default 10.
    pub const fn max_connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// Whether to create and change tables when the storage is opened, which is the default. Without it they are only
    /// checked, so that a role that may not change tables is enough: open the storage once with one that may.
    pub const fn migrate(mut self, migrates: bool) -> Self {
        self.migrates = migrates;
        self
    }

    /// Connects to the database of this URL (`postgres://user:password@host/database`), with a pool of its own.
    ///
    /// # Errors
    /// The URL is malformed, the database is out of reach, or as for [`with_pool`](Self::with_pool).
    pub async fn connect(self, url: &str) -> Result<PostgresStorage, StorageError> {
        let timeout = check_timeout(self.timeout)?;
        let give_up = format!(
            "SET statement_timeout = {milliseconds}; SET idle_in_transaction_session_timeout = {milliseconds}",
            // 0 would mean never.
            milliseconds = timeout.as_millis().max(1)
        );
        let pool = PgPoolOptions::new()
            .max_connections(self.connections)
            .acquire_timeout(timeout)
            // Not every time, which would be a round trip more for every statement.
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| {
                Box::pin(async move { Ok(metadata.idle_for < IDLE || connection.ping().await.is_ok()) })
            })
            .after_connect(move |connection, _| {
                let give_up = give_up.clone();
                Box::pin(async move { sqlx::raw_sql(AssertSqlSafe(give_up)).execute(connection).await.map(drop) })
            })
            .connect(url)
            .await
            .map_err(to_storage_error)?;
        self.with_pool(pool).await
    }

    /// Uses a pool of the host's. Let it wait for a connection no longer than the timeout, and spare each call a round trip
    /// with `test_before_acquire(false)`. Best it is used for nothing else: if a `begin()` is dropped while it waits,
    /// `sqlx` 0.9.0 may give the connection back inside a transaction (its issue 4393), and what is written with it next is
    /// not committed.
    ///
    /// # Errors
    /// The timeout or a name is not allowed, a migration failed, or the tables are those of another version.
    pub async fn with_pool(self, pool: PgPool) -> Result<PostgresStorage, StorageError> {
        let timeout = check_timeout(self.timeout)?;
        let names = TableNames::new(self.schema.as_deref(), &self.prefix)?;
        let migrator = migrator(&names, &MIGRATIONS);
        let mut connection = pool.acquire().await.map_err(to_storage_error)?;
        // If this is dropped while a transaction begins, nothing of it may be left for the next user of the connection.
        connection.close_on_drop();
        let mut transaction = connection.begin().await.map_err(to_storage_error)?;
        if self.migrates {
            prepare(&mut transaction, &names).await.map_err(to_storage_error)?;
            run_migrations(&mut *transaction, &names, &migrator).await?;
        } else {
            check_migrations(&mut *transaction, &names, &migrator).await?;
        }
        transaction.commit().await.map_err(to_storage_error)?;
        let statements = Arc::new(Statements::new(&names));
        Ok(PostgresStorage { pool, statements, timeout })
    }
}

/// Excludes other nodes until the end of the transaction, and creates the schema unless it is there. A migration of large tables
/// takes the time that it takes, and other nodes wait for it.
async fn prepare(connection: &mut PgConnection, names: &TableNames) -> Result<(), sqlx::Error> {
    let no_hurry = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                    SET LOCAL idle_in_transaction_session_timeout = 0";
    sqlx::raw_sql(no_hurry).execute(&mut *connection).await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'grantor', coalesce($1, current_schema()), $2), 0))";
    sqlx::query(lock).bind(names.schema()).bind(names.prefix()).execute(&mut *connection).await?;
    let Some(schema) = names.schema() else { return Ok(()) };
    let there = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").bind(schema);
    // To say IF NOT EXISTS, one would have to be allowed to create it.
    if there.fetch_optional(&mut *connection).await?.is_none() {
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA \"{schema}\""))).execute(connection).await?;
    }
    Ok(())
}
