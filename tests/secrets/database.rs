//! The content of SQL databases, their logs, and their errors.

use std::fs;
use std::path::PathBuf;

use grantor::storage::{PostgresOptions, PostgresStorage, SqliteOptions, SqliteStorage};
use sqlx::{AssertSqlSafe, PgPool, SqlitePool};

use crate::postgres::Postgres;
use crate::stage::Kept;
use crate::watch::Watch;

const PASSWORD: &str = "hunter2-of-the-database";

/// A database with a shipped storage, inspected from outside.
pub(crate) trait Database {
    type Storage: Kept;

    /// Statements that make the storage fail: at a refresh, at a new grant, and at every call.
    const BREAKS: &[&str];
    /// The log of the process at the most verbose level.
    const LOGGED: &[&str] = &["token_refused", "grantor{endpoint=", "sqlx::query", "INSERT INTO"];

    fn storage(&self) -> Self::Storage;
    async fn execute(&self, sql: &str);
    async fn column(&self, sql: &str) -> Vec<String>;
    /// Every row of every table as text, bytes in hexadecimal, without the column for seeds.
    async fn rows(&self) -> String;
    /// The seeds, in hexadecimal.
    async fn seeds(&self) -> Vec<String>;
    /// The files of the database other than its tables.
    fn files(&self) -> String;
    /// Ways in which opening the storage fails, and the texts of these failures.
    async fn show_failures_to_open(&self, watch: &Watch);
}

/// Common code of both databases.
macro_rules! reached_by_its_pool {
    ($storage:ty) => {
        type Storage = $storage;

        fn storage(&self) -> $storage {
            self.storage.clone()
        }

        async fn execute(&self, sql: &str) {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&self.pool).await.unwrap();
        }

        async fn column(&self, sql: &str) -> Vec<String> {
            sqlx::query_scalar(AssertSqlSafe(sql)).fetch_all(&self.pool).await.unwrap()
        }
    };
}

pub(crate) struct Sqlite {
    folder: PathBuf,
    pool: SqlitePool,
    storage: SqliteStorage,
}

impl Sqlite {
    pub(crate) async fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("grantor-secrets-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let file = folder.join("secrets.db");
        let storage = SqliteStorage::open(&file).await.unwrap();
        let pool = SqlitePool::connect(file.to_str().unwrap()).await.unwrap();
        Self { folder, pool, storage }
    }
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

impl Database for Sqlite {
    const BREAKS: &[&str] = &[
        "CREATE TRIGGER broken BEFORE UPDATE ON grantor_tokens BEGIN SELECT RAISE(ABORT, 'broken'); END",
        "CREATE TRIGGER unable BEFORE INSERT ON grantor_grants BEGIN SELECT RAISE(ABORT, 'unable'); END",
        "ALTER TABLE grantor_grants RENAME COLUMN host_data TO moved",
        "DROP TABLE grantor_tokens",
    ];
    reached_by_its_pool!(SqliteStorage);

    async fn rows(&self) -> String {
        let mut rows = String::new();
        for table in self.column("SELECT name FROM sqlite_schema WHERE type = 'table'").await {
            let columns = format!("SELECT name FROM pragma_table_info('{table}') WHERE name <> 'seed'");
            let columns = self.column(&columns).await.join(") || ' ' || quote(");
            rows += &self.column(&format!("SELECT quote({columns}) FROM {table}")).await.join("\n");
        }
        rows
    }

    async fn seeds(&self) -> Vec<String> {
        self.column("SELECT lower(hex(seed)) FROM grantor_tokens WHERE seed IS NOT NULL").await
    }

    /// The raw pages of the file and its journal. They contain erased seeds as bytes.
    fn files(&self) -> String {
        let files = fs::read_dir(&self.folder).unwrap().map(|file| fs::read(file.unwrap().path()).unwrap());
        files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect()
    }

    async fn show_failures_to_open(&self, watch: &Watch) {
        watch.show("SQLite options", &SqliteOptions::new());
        watch.show_error("SQLite, no file", &SqliteStorage::open(&self.folder).await.unwrap_err());
        let broken = self.folder.join("broken.db");
        fs::write(&broken, "a file of another program".repeat(99)).unwrap();
        watch.show_error("SQLite, no database", &SqliteStorage::open(&broken).await.unwrap_err());
    }
}

pub(crate) struct Postgresql {
    url: String,
    pool: PgPool,
    storage: PostgresStorage,
}

impl Postgresql {
    pub(crate) async fn new(server: &Postgres) -> Self {
        let url = server.database().await.replacen("grantor@", &format!("grantor:{PASSWORD}@"), 1);
        let storage = PostgresStorage::connect(&url).await.unwrap();
        let pool = PgPool::connect(&url).await.unwrap();
        Self { url, pool, storage }
    }
}

impl Database for Postgresql {
    const BREAKS: &[&str] = &[
        "ALTER TABLE grantor_tokens ADD CONSTRAINT broken CHECK (seed IS NULL) NOT VALID",
        "ALTER TABLE grantor_grants ADD CONSTRAINT unable CHECK (length(scope) > 99) NOT VALID",
        "ALTER TABLE grantor_grants RENAME COLUMN host_data TO moved",
        "DROP TABLE grantor_tokens",
    ];
    reached_by_its_pool!(PostgresStorage);

    async fn rows(&self) -> String {
        let mut rows = String::new();
        for table in self.column("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'").await {
            rows += &self.column(&format!("SELECT (to_jsonb(t) - 'seed')::text FROM {table} t")).await.join("\n");
        }
        rows
    }

    async fn seeds(&self) -> Vec<String> {
        self.column("SELECT encode(seed, 'hex') FROM grantor_tokens WHERE seed IS NOT NULL").await
    }

    /// The log of the server, which has the statements that failed, with their errors.
    fn files(&self) -> String {
        let folder = self.url.split_once("?host=").unwrap().1;
        fs::read_to_string(format!("{folder}/log")).unwrap()
    }

    async fn show_failures_to_open(&self, watch: &Watch) {
        watch.keep("database password", PASSWORD);
        watch.show("PostgreSQL options", &PostgresOptions::new());
        for (what, from, to) in [
            ("no such database", "/test_", "/no_test_"),
            ("no such user", "//grantor", "//nobody"),
            ("no such server", "?host=", "?host=/nowhere"),
            ("no such port", "localhost/", "localhost:99999/"),
            ("no such option", "?host=", "?sslmode=never&host="),
            ("no URL", "postgres://", ""),
        ] {
            let url = self.url.replacen(from, to, 1);
            match PostgresStorage::connect(&url).await {
                Ok(storage) => panic!("{what}: {storage:?}"),
                Err(error) => watch.show_error(what, &error),
            }
        }
    }
}
