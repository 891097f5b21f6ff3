//! Storages that are empty at the start of each history.

use std::path::PathBuf;
use std::time::Duration;

use grantor::MemoryStorage;
use grantor::storage::{PostgresOptions, PostgresStorage, SqliteOptions, SqliteStorage};
use grantor::testing::Intercepted;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};

use crate::planted::{Bug, planted};
use crate::postgres::Postgres;

/// Empties the tables, tokens before their grants.
const EMPTY: &str = "DELETE FROM grantor_tokens; DELETE FROM grantor_grants; DELETE FROM grantor_clients; DELETE FROM grantor_ephemeral";

/// A time limit for a step of a database, generous enough for a busy machine.
const PATIENCE: Duration = Duration::from_mins(5);

/// A storage that histories run on.
pub(crate) trait Place {
    type Storage;

    /// The storage, with nothing in it.
    async fn empty(&self) -> Self::Storage;
}

pub(crate) struct InMemory;

impl Place for InMemory {
    type Storage = MemoryStorage;

    async fn empty(&self) -> MemoryStorage {
        MemoryStorage::new()
    }
}

/// A storage in memory. It has the bug, unless the bug belongs to the layer that fails.
pub(crate) struct WithBug(pub(crate) Bug);

impl Place for WithBug {
    type Storage = Intercepted<MemoryStorage>;

    async fn empty(&self) -> Intercepted<MemoryStorage> {
        planted(MemoryStorage::new(), Some(self.0).filter(|bug| !bug.is_about_failures()))
    }
}

pub(crate) struct InSqlite {
    storage: SqliteStorage,
    folder: PathBuf,
}

impl InSqlite {
    /// A file of this process. It need not survive a power loss, so writes are not synced.
    pub(crate) async fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("grantor-model-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let connect = SqliteConnectOptions::new().filename(folder.join("oauth.db")).create_if_missing(true);
        let connect =
            connect.busy_timeout(PATIENCE).journal_mode(SqliteJournalMode::Wal).synchronous(SqliteSynchronous::Off);
        let pool = SqlitePoolOptions::new()
            .max_connections(2)
            .acquire_timeout(PATIENCE)
            .connect_with(connect.foreign_keys(true))
            .await
            .unwrap();
        Self {
            storage: SqliteOptions::new().timeout(time::Duration::minutes(5)).with_pool(pool).await.unwrap(),
            folder,
        }
    }
}

impl Place for InSqlite {
    type Storage = SqliteStorage;

    async fn empty(&self) -> SqliteStorage {
        sqlx::raw_sql(EMPTY).execute(self.storage.pool()).await.unwrap();
        self.storage.clone()
    }
}

impl Drop for InSqlite {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

pub(crate) struct InPostgres(PostgresStorage);

impl InPostgres {
    pub(crate) async fn new(server: &Postgres) -> Self {
        Self(
            PostgresOptions::new().timeout(time::Duration::minutes(5)).connect(&server.database().await).await.unwrap(),
        )
    }
}

impl Place for InPostgres {
    type Storage = PostgresStorage;

    async fn empty(&self) -> PostgresStorage {
        sqlx::raw_sql(EMPTY).execute(self.0.pool()).await.unwrap();
        self.0.clone()
    }
}
