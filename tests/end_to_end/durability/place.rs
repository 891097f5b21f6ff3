//! A database that outlives the servers on it.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use grantor::Storage;
use grantor::storage::{PostgresStorage, SqliteStorage};

use crate::caller::{CLIENT, REDIRECT_URI, SECRET};
use end_to_end::example::Example;
use end_to_end::postgres::Postgres;

/// The issuer of every server, regardless of its port.
pub(crate) const ISSUER: &str = "http://127.0.0.1:3000";

pub(crate) enum Place {
    Sqlite(Folder),
    Postgres { url: String },
}

impl Place {
    /// A file that does not exist yet.
    pub(crate) fn sqlite() -> Self {
        Self::Sqlite(Folder::new())
    }

    /// A new database of this server.
    pub(crate) async fn postgres(server: &Postgres) -> Self {
        Self::Postgres { url: server.database().await }
    }

    /// Starts a server on the database, with the longest allowed grace window. The server listens on a free port, so
    /// its address changes with each restart.
    pub(crate) fn serve(&self) -> Example {
        let clients = serde_json::json!([{
            "client_id": CLIENT,
            "client_secret": SECRET,
            "redirect_uris": [REDIRECT_URI],
            "grant_types": ["authorization_code", "refresh_token"],
            "scope": "user:read user:write",
        }]);
        let scopes = r#"{"user:read": "Read your profile", "user:write": "Change your profile"}"#;
        let storage = match self {
            Self::Sqlite(folder) => format!("sqlite:{}", folder.file().display()),
            Self::Postgres { url } => url.clone(),
        };
        let flags = ["--storage", &storage, "--issuer", ISSUER, "--refresh-grace", "60", "--introspect-refresh-tokens"];
        tokio::task::block_in_place(|| Example::with(&clients.to_string(), "{}", scopes, &flags))
    }

    /// Opens the database in addition to the servers.
    pub(crate) async fn open(&self) -> Opened {
        match self {
            Self::Sqlite(folder) => Opened::Sqlite(SqliteStorage::open(folder.file()).await.unwrap()),
            Self::Postgres { url } => Opened::Postgres(PostgresStorage::connect(url).await.unwrap()),
        }
    }
}

/// A connection of the test to a database.
pub(crate) enum Opened {
    Sqlite(SqliteStorage),
    Postgres(PostgresStorage),
}

impl Opened {
    pub(crate) fn storage(&self) -> Arc<dyn Storage> {
        match self {
            Self::Sqlite(storage) => Arc::new(storage.clone()),
            Self::Postgres(storage) => Arc::new(storage.clone()),
        }
    }

    /// Waits until no other connection is busy. PostgreSQL finishes statements of a killed client, which takes a
    /// moment.
    pub(crate) async fn be_alone(&self) {
        let Self::Postgres(storage) = self else { return };
        let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                      AND backend_type = 'client backend' AND pid <> pg_backend_pid()";
        while sqlx::query_scalar::<_, i64>(others).fetch_one(storage.pool()).await.unwrap() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Closes the connections, so a server that starts next has the database for itself.
    pub(crate) async fn close(self) {
        match self {
            Self::Sqlite(storage) => storage.pool().close().await,
            Self::Postgres(storage) => storage.pool().close().await,
        }
    }
}

/// A folder for one SQLite file and its journals, removed when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::SeqCst);
        let path = std::env::temp_dir().join(format!("grantor-durability-{}-{count}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn file(&self) -> PathBuf {
        self.0.join("oauth.db")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
