//! [`PostgresOptions`].

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

/// The migrations, in order. Released migrations never change.
const MIGRATIONS: [(i64, &str, &str); 1] =
    [(1, "clients, grants, tokens", include_str!("../../../migrations/postgres/0001_clients_grants_tokens.sql"))];

/// The idle time after which a connection is tested before use.
const IDLE: Wait = Wait::from_secs(1);

/// The options for opening a [`PostgresStorage`].
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
    /// Returns the default options.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the schema of the tables: at most 40 of the characters `a-z`, `0-9` and `_`, not beginning with a digit. It
    /// is created if it does not exist. Default: none; the `search_path` of the connection decides.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets the prefix of the names of all tables and indexes: at most 40 of the characters `a-z`, `0-9` and `_`, not
    /// beginning with a digit, or nothing. Default: `grantor_`.
    pub fn table_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.prefix = prefix.into();
        self
    }

    /// Sets the time limit of a step, including the wait for a connection. Default: 5 seconds. The storage does not
    /// open with a limit that is zero or negative.
    ///
    /// A step that takes longer fails with [`unavailable`](StorageError::unavailable). In the pool that
    /// [`connect`](Self::connect) makes, the database also cancels the statement. Most calls are one step. A redemption
    /// whose response was lost takes a second step, which checks whether it was committed. A purge and the revocation
    /// of many grants take several steps.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets the maximum number of connections after [`connect`](Self::connect). Default: 10.
    pub const fn max_connections(mut self, connections: u32) -> Self {
        self.connections = connections;
        self
    }

    /// Sets whether opening the storage creates and migrates the tables. If not, it only checks them. Default: `true`.
    ///
    /// With `false`, the database role needs no right to change tables. Open the storage once with a role that has it.
    pub const fn migrate(mut self, migrates: bool) -> Self {
        self.migrates = migrates;
        self
    }

    /// Connects to the database of this URL (`postgres://user:password@host/database`) with a new pool.
    ///
    /// # Errors
    /// The URL is malformed, the database is unreachable, or an error of [`with_pool`](Self::with_pool).
    pub async fn connect(self, url: &str) -> Result<PostgresStorage, StorageError> {
        let timeout = check_timeout(self.timeout)?;
        let limits = format!(
            "SET statement_timeout = {milliseconds}; SET idle_in_transaction_session_timeout = {milliseconds}",
            // 0 would mean no limit.
            milliseconds = timeout.as_millis().max(1)
        );
        let pool = PgPoolOptions::new()
            .max_connections(self.connections)
            .acquire_timeout(timeout)
            // Testing each time would add a round trip to every statement.
            .test_before_acquire(false)
            .before_acquire(|connection, metadata| {
                Box::pin(async move { Ok(metadata.idle_for < IDLE || connection.ping().await.is_ok()) })
            })
            .after_connect(move |connection, _| {
                let limits = limits.clone();
                Box::pin(async move { sqlx::raw_sql(AssertSqlSafe(limits)).execute(connection).await.map(drop) })
            })
            .connect(url)
            .await
            .map_err(to_storage_error)?;
        self.with_pool(pool).await
    }

    /// Uses an existing pool. Set its `acquire_timeout` to at most the timeout of the storage. Set
    /// `test_before_acquire(false)` to save a round trip in each call.
    ///
    /// Don't begin transactions with this pool. If a `begin()` is dropped while it waits, for example because a browser
    /// disconnects, `sqlx` 0.9.0 may return the connection to the pool inside a transaction (its issue 4393). The next
    /// writes of the storage with it then succeed, but are not committed. Single statements do no harm.
    ///
    /// # Errors
    /// The timeout or a name is invalid, a migration failed, or the tables are of another version.
    pub async fn with_pool(self, pool: PgPool) -> Result<PostgresStorage, StorageError> {
        let timeout = check_timeout(self.timeout)?;
        let names = TableNames::new(self.schema.as_deref(), &self.prefix)?;
        let migrator = migrator(&names, &MIGRATIONS);
        let mut connection = pool.acquire().await.map_err(to_storage_error)?;
        // If this future is dropped, a transaction that has begun must not reach the next user of the connection.
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

/// Excludes other nodes until the end of the transaction, and creates the schema if it does not exist. There is no time
/// limit, because a migration of large tables may take long, and other nodes must wait for it.
async fn prepare(connection: &mut PgConnection, names: &TableNames) -> Result<(), sqlx::Error> {
    let no_limits = "SET LOCAL statement_timeout = 0; SET LOCAL lock_timeout = 0; \
                    SET LOCAL idle_in_transaction_session_timeout = 0";
    sqlx::raw_sql(no_limits).execute(&mut *connection).await?;
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended(concat_ws(' ', 'grantor', coalesce($1, current_schema()), $2), 0))";
    sqlx::query(lock).bind(names.schema()).bind(names.prefix()).execute(&mut *connection).await?;
    let Some(schema) = names.schema() else { return Ok(()) };
    let there = sqlx::query("SELECT 1 FROM pg_namespace WHERE nspname = $1").bind(schema);
    // CREATE SCHEMA IF NOT EXISTS needs the right to create it even if it exists.
    if there.fetch_optional(&mut *connection).await?.is_none() {
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE SCHEMA \"{schema}\""))).execute(connection).await?;
    }
    Ok(())
}
