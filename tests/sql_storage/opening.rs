//! Opening a storage: migrations, names, privileges, and the content of errors.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::{Child, Command};

use grantor::storage::ephemeral::{EphemeralKey, EphemeralStore, Inserted, Namespace};
use grantor::storage::{ClientRegistry, PostgresOptions, PostgresStorage, SqliteOptions, SqliteStorage, StorageError};
use grantor::{Client, ClientStore, Storage};
use sha2::{Digest, Sha256};
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};
use sqlx::{AssertSqlSafe, SqlSafeStr};
use time::Duration;

use crate::interruptions::dropped_after;
use crate::postgres::Postgres;
use crate::records::{Folder, is_done, opened, spend, start, successors};

fn app(id: &str) -> Client {
    Client::public(id).authorization_code(["https://app.example/cb"]).build().unwrap()
}

/// The whole text of an error, with its causes.
fn said(error: &StorageError) -> String {
    let mut said = format!("{error} {error:?}");
    let mut cause = error.source();
    while let Some(error) = cause {
        write!(said, " {error} {error:?}").unwrap();
        cause = error.source();
    }
    said
}

async fn run(pool: &PgPool, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(pool).await.unwrap();
}

async fn tables(pool: &PgPool) -> Vec<String> {
    let list = "SELECT schemaname || '.' || tablename FROM pg_tables \
                WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1";
    sqlx::query_scalar(list).fetch_all(pool).await.unwrap()
}

/// The tables, without the one in which SQLite counts for `AUTOINCREMENT`.
async fn sqlite_tables(pool: &SqlitePool) -> Vec<String> {
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name <> 'sqlite_sequence' ORDER BY 1";
    sqlx::query_scalar(tables).fetch_all(pool).await.unwrap()
}

#[test]
fn migrations_that_were_released_have_not_changed() {
    let released = [
        ("postgres/0001_clients_grants_tokens.sql", "96ef6055c05319523ecd4d0759ed8710749590843987a58c5a203b9fe7be2a07"),
        ("sqlite/0001_clients_grants_tokens.sql", "1eb705d7b8f6fdb3002540205ecd48b0e6b7637a1f99cfabd360c22895bf83ee"),
    ];
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for (file, digest) in released {
        let bytes = Sha256::digest(std::fs::read(folder.join(file)).unwrap());
        let found = bytes.iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
        assert_eq!(
            found, digest,
            "migrations/{file} has changed. Databases that were made with the old file refuse to open with the new one: restore the \
             file, and write the change into a new file with the next number. If no release has the file yet, write its new \
             digest here instead."
        );
    }
    let files = |of: &str| std::fs::read_dir(folder.join(of)).unwrap().count();
    assert_eq!(files("postgres") + files("sqlite"), released.len(), "add the new migration to this list");
}

#[tokio::test]
async fn tables_are_created_once_beside_host_tables() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    // The host has a migration of the same version, recorded where sqlx does so by default.
    let own = || {
        let sql = "CREATE TABLE users (name text)".into_sql_str();
        Migrator::with_migrations(vec![Migration::new(1, "host's".into(), MigrationType::Simple, sql, false)])
    };
    own().run(&pool).await.unwrap();
    let storage = PostgresStorage::with_pool(pool.clone()).await.unwrap();
    storage.register(app("a")).await.unwrap();
    let again = PostgresStorage::connect(&url).await.unwrap();
    assert!(again.find_client("a").await.unwrap().is_some());
    own().run(&pool).await.unwrap();
    let names = [
        "_sqlx_migrations",
        "grantor_clients",
        "grantor_ephemeral",
        "grantor_grants",
        "grantor_issuer",
        "grantor_migrations",
        "grantor_signing_keys",
        "grantor_tokens",
        "users",
    ];
    assert_eq!(tables(&pool).await, names.map(|name| format!("public.{name}")));

    let folder = Folder::new();
    let connect = SqliteConnectOptions::new().filename(folder.file()).create_if_missing(true);
    let pool = SqlitePool::connect_with(connect).await.unwrap();
    own().run(&pool).await.unwrap();
    let storage = SqliteStorage::with_pool(pool.clone()).await.unwrap();
    storage.register(app("a")).await.unwrap();
    let again = SqliteStorage::open(folder.file()).await.unwrap();
    assert!(again.find_client("a").await.unwrap().is_some());
    own().run(&pool).await.unwrap();
    assert_eq!(sqlite_tables(&pool).await, names);
}

#[tokio::test]
async fn storages_with_different_names_are_separate() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let one = PostgresOptions::new().table_prefix("one_").connect(&url).await.unwrap();
    let two = PostgresOptions::new().table_prefix("").connect(&url).await.unwrap();
    let three = PostgresOptions::new().schema("auth").table_prefix("one_").connect(&url).await.unwrap();
    one.register(app("a")).await.unwrap();
    let token = opened(&three, 1).await;
    assert!(two.find_client("a").await.unwrap().is_none() && three.find_client("a").await.unwrap().is_none());
    assert!(one.find(&token.hash).await.unwrap().is_none() && two.find(&token.hash).await.unwrap().is_none());
    let all = ["clients", "ephemeral", "grants", "issuer", "migrations", "signing_keys", "tokens"];
    let mut expected = all.map(|name| format!("auth.one_{name}")).to_vec();
    expected.extend(all.map(|name| format!("public.{name}")));
    expected.extend(all.map(|name| format!("public.one_{name}")));
    expected.sort();
    assert_eq!(tables(one.pool()).await, expected);

    let folder = Folder::new();
    let one = SqliteOptions::new().table_prefix("one_").open(folder.file()).await.unwrap();
    let two = SqliteOptions::new().table_prefix("").open(folder.file()).await.unwrap();
    one.register(app("a")).await.unwrap();
    let token = opened(&two, 1).await;
    assert!(two.find_client("a").await.unwrap().is_none());
    assert!(one.find(&token.hash).await.unwrap().is_none());
    let mut expected = [all.map(str::to_owned), all.map(|name| format!("one_{name}"))].concat();
    expected.sort();
    assert_eq!(sqlite_tables(one.pool()).await, expected);
}

#[tokio::test]
async fn malformed_table_prefix_or_schema_is_refused() {
    let folder = Folder::new();
    for bad in ["a\"; DROP TABLE x; --", "a.b", "A_", "1_", "é", &"x".repeat(41)] {
        let error = SqliteOptions::new().table_prefix(bad).open(folder.file()).await.unwrap_err();
        assert!(!error.is_unavailable() && said(&error).contains("a-z"), "{bad}: {}", said(&error));
    }
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    for bad in ["a\"b", "", "A"] {
        let error = PostgresOptions::new().schema(bad).connect(&url).await.unwrap_err();
        assert!(!error.is_unavailable() && said(&error).contains("a-z"), "{bad}: {}", said(&error));
    }
    assert!(tables(&PgPool::connect(&url).await.unwrap()).await.is_empty());
}

#[tokio::test]
async fn url_opens_the_file_that_its_path_opens() {
    let folder = Folder::new();
    let file = folder.file();
    SqliteStorage::open(&file).await.unwrap().register(app("app")).await.unwrap();
    let by_url = SqliteStorage::connect(&format!("sqlite:{}", file.display())).await.unwrap();
    assert!(by_url.find_client("app").await.unwrap().is_some());
    let mode: String = sqlx::query_scalar("PRAGMA journal_mode").fetch_one(by_url.pool()).await.unwrap();
    assert_eq!(mode, "wal");
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous").fetch_one(by_url.pool()).await.unwrap();
    assert_eq!(synchronous, 2, "committed writes survive a power failure");

    for in_memory in [
        "sqlite:",
        "sqlite::memory:",
        "sqlite://:memory:",
        "sqlite:%3Amemory%3A",
        "sqlite:a.db?mode=memory",
        "sqlite:file::memory:",
    ] {
        let error = SqliteStorage::connect(in_memory).await.unwrap_err();
        assert!(said(&error).contains("has no file"), "{in_memory}: {}", said(&error));
    }
    for path in ["", ":memory:"] {
        assert!(said(&SqliteStorage::open(path).await.unwrap_err()).contains("has no file"), "{path:?}");
    }
    assert!(SqliteStorage::connect("sqlite:a.db?no-such-option=1").await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn fresh_database_can_be_opened_in_parallel() {
    for _ in 0..5 {
        let folder = Folder::new();
        let openings = (0..16).map(|_| tokio::spawn(SqliteStorage::open(folder.file())));
        for opening in openings.collect::<Vec<_>>() {
            let storage = opening.await.unwrap().unwrap();
            assert!(storage.find_client("a").await.unwrap().is_none());
        }
    }
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let openings = (0..16).map(|_| {
        let url = url.clone();
        tokio::spawn(async move { PostgresOptions::new().schema("auth").connect(&url).await })
    });
    for opening in openings.collect::<Vec<_>>() {
        let storage = opening.await.unwrap().unwrap();
        assert!(storage.find_client("a").await.unwrap().is_none());
    }
}

/// The environment variable with the database that a worker process opens.
const TO_OPEN: &str = "GRANTOR_TEST_OPEN";

fn process(to_open: &str) -> Child {
    let mut process = Command::new(std::env::current_exe().unwrap());
    process.args(["--exact", "opening::worker_process_opens_the_storage"]).env(TO_OPEN, to_open);
    process.stdout(std::process::Stdio::piped()).spawn().unwrap()
}

#[tokio::test]
async fn worker_process_opens_the_storage() {
    let Ok(url) = std::env::var(TO_OPEN) else { return };
    let by = format!("process-{}", std::process::id());
    if url.starts_with("postgres:") {
        PostgresStorage::connect(&url).await.unwrap().register(app(&by)).await.unwrap();
    } else {
        SqliteStorage::open(&url).await.unwrap().register(app(&by)).await.unwrap();
    }
}

#[tokio::test]
async fn fresh_database_can_be_opened_by_many_processes() {
    let folder = Folder::new();
    let mut urls = vec![folder.file().to_str().unwrap().to_owned()];
    if let Some(server) = Postgres::get() {
        urls.push(server.database().await);
    }
    for url in &urls {
        let processes: Vec<Child> = (0..8).map(|_| process(url)).collect();
        for process in processes {
            let output = process.wait_with_output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        }
    }
    let storage = SqliteStorage::open(&urls[0]).await.unwrap();
    assert_eq!(storage.list_clients(None, 99).await.unwrap().len(), 8);
    if let Some(url) = urls.get(1) {
        let storage = PostgresStorage::connect(url).await.unwrap();
        assert_eq!(storage.list_clients(None, 99).await.unwrap().len(), 8);
    }
}

/// Tables of a newer version, or of an unknown migration, are neither changed nor used.
#[tokio::test]
async fn unknown_tables_are_refused() {
    const NEWER: &str = "INSERT INTO grantor_migrations (version, description, success, checksum, execution_time) \
                         VALUES (1000, 'of the future', TRUE, '', 0)";
    const OTHER: &str = "UPDATE grantor_migrations SET checksum = 'other'";
    const BEGUN: &str = "UPDATE grantor_migrations SET success = FALSE";
    for change in [NEWER, OTHER, BEGUN] {
        let folder = Folder::new();
        let storage = SqliteStorage::open(folder.file()).await.unwrap();
        sqlx::raw_sql(change).execute(storage.pool()).await.unwrap();
        for migrates in [true, false] {
            let error = SqliteOptions::new().migrate(migrates).open(folder.file()).await.unwrap_err();
            assert!(!error.is_unavailable(), "{change}: {}", said(&error));
        }
        let Some(server) = Postgres::get() else { continue };
        let url = server.database().await;
        let storage = PostgresStorage::connect(&url).await.unwrap();
        run(storage.pool(), change).await;
        for migrates in [true, false] {
            let error = PostgresOptions::new().migrate(migrates).connect(&url).await.unwrap_err();
            assert!(!error.is_unavailable(), "{change}: {}", said(&error));
        }
    }
}

#[tokio::test]
async fn timeout_of_zero_or_less_does_not_open() {
    const REFUSED: &str = "the timeout of the storage is zero or negative: set a positive one";
    for timeout in [Duration::ZERO, Duration::milliseconds(-1), Duration::MIN] {
        let folder = Folder::new();
        let error = SqliteOptions::new().timeout(timeout).open(folder.file()).await.unwrap_err();
        assert!(said(&error).contains(REFUSED), "{}", said(&error));
        assert!(!folder.file().exists() && !error.is_unavailable());
        let pool = SqlitePool::connect("sqlite::memory:").await.unwrap();
        let error = SqliteOptions::new().timeout(timeout).with_pool(pool).await.unwrap_err();
        assert!(said(&error).contains(REFUSED), "{}", said(&error));
        // The test contacts no database, so it needs no server.
        let options = PostgresOptions::new().timeout(timeout);
        let error = options.clone().connect("postgres://nobody@127.0.0.1:1/none").await.unwrap_err();
        assert!(said(&error).contains(REFUSED), "{}", said(&error));
        let pool = PgPool::connect_lazy("postgres://nobody@127.0.0.1:1/none").unwrap();
        let error = options.with_pool(pool).await.unwrap_err();
        assert!(said(&error).contains(REFUSED), "{}", said(&error));
    }
    let folder = Folder::new();
    SqliteOptions::new().timeout(Duration::MAX).open(folder.file()).await.unwrap();
}

#[tokio::test]
async fn opening_without_migrations_creates_nothing() {
    let folder = Folder::new();
    assert!(SqliteOptions::new().migrate(false).open(folder.file()).await.is_err());
    assert!(!folder.file().exists());
    opened(&SqliteStorage::open(folder.file()).await.unwrap(), 1).await;
    let storage = SqliteOptions::new().migrate(false).open(folder.file()).await.unwrap();
    assert!(storage.find(&crate::records::hash(1)).await.unwrap().is_some());

    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let error = PostgresOptions::new().migrate(false).schema("auth").connect(&url).await.unwrap_err();
    assert!(!error.is_unavailable(), "{}", said(&error));
    assert!(tables(&PgPool::connect(&url).await.unwrap()).await.is_empty());
}

#[tokio::test]
async fn restricted_role_suffices_without_migrations() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    PostgresOptions::new().schema("auth").with_pool(pool.clone()).await.unwrap();
    run(
        &pool,
        "CREATE ROLE modest LOGIN; GRANT USAGE ON SCHEMA auth TO modest; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON auth.grantor_clients, auth.grantor_grants, auth.grantor_tokens, \
             auth.grantor_ephemeral, auth.grantor_issuer, auth.grantor_signing_keys TO modest; \
         GRANT SELECT ON auth.grantor_migrations TO modest",
    )
    .await;
    let url = url.replace("grantor@", "modest@");
    let options = || PostgresOptions::new().schema("auth");
    assert!(!options().connect(&url).await.unwrap_err().is_unavailable());
    let storage = options().migrate(false).connect(&url).await.unwrap();
    storage.register(app("a")).await.unwrap();
    let token = opened(&storage, 1).await;
    assert!(is_done(storage.redeem(&spend(&token, 1), &successors(&token, 10)).await.unwrap()));
    let end = token.expires_at + Duration::DAY;
    assert!(storage.purge_expired(end, 100).await.unwrap() > 0);
    storage.remove(&grantor::ClientId::new("a").unwrap(), end).await.unwrap();
    // The versions of entries need no extra privilege.
    let key = EphemeralKey::from_bytes(Namespace::new("test").unwrap(), [1; 32]);
    let Inserted::New(version) = storage.insert(&key, b"1", end, start()).await.unwrap() else { panic!("taken") };
    assert!(storage.replace(&key, version, b"2", end, start()).await.unwrap().is_some());
    assert_eq!(storage.take(&key, start()).await.unwrap().unwrap(), b"2");
}

#[tokio::test]
async fn implied_schema_may_be_named_later() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    PostgresStorage::connect(&url).await.unwrap().register(app("a")).await.unwrap();
    let named = PostgresOptions::new().schema("public").connect(&url).await.unwrap();
    assert!(named.find_client("a").await.unwrap().is_some());
}

/// A migration may take longer than the statement timeout; a second node waits for it.
#[tokio::test]
async fn opening_waits_for_the_migration_of_another_node() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let pool = PgPool::connect(&url).await.unwrap();
    let mut other = pool.begin().await.unwrap();
    let lock = "SELECT pg_advisory_xact_lock(hashtextextended('grantor public grantor_', 0))";
    sqlx::raw_sql(lock).execute(&mut *other).await.unwrap();
    let opening =
        tokio::spawn(async move { PostgresOptions::new().timeout(Duration::milliseconds(200)).connect(&url).await });
    tokio::time::sleep(std::time::Duration::from_millis(600)).await;
    assert!(!opening.is_finished());
    assert!(tables(&pool).await.is_empty());
    other.commit().await.unwrap();
    opening.await.unwrap().unwrap();
}

/// The pool belongs to the host app, which continues to use it.
#[tokio::test]
async fn cancelled_opening_leaves_no_transaction_open() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let (pool, other) =
        (PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap(), PgPool::connect(&url).await);
    let other = other.unwrap();
    run(&pool, "CREATE TABLE notes (number bigint)").await;
    for (times, written) in (0..).zip(1_i64..) {
        let opening = dropped_after(times, PostgresStorage::with_pool(pool.clone())).await;
        sqlx::query("INSERT INTO notes VALUES ($1)").bind(written).execute(&pool).await.unwrap();
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM notes").fetch_one(&other).await.unwrap();
        assert_eq!(count, written, "dropped after {times}: what the host wrote is not committed");
        if let Some(opening) = opening {
            opening.unwrap();
            break;
        }
    }
}

// covers: B34
#[tokio::test]
async fn errors_and_debug_output_hide_password_and_seed() {
    let folder = Folder::new();
    let sqlite = SqliteStorage::open(folder.file()).await.unwrap();
    let token = opened(&sqlite, 1).await;
    let refuse = "CREATE TRIGGER refuse BEFORE UPDATE ON grantor_tokens BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::raw_sql(refuse).execute(sqlite.pool()).await.unwrap();
    let lite = sqlite.redeem(&spend(&token, 1), &[]).await.unwrap_err();
    let mut texts = vec![said(&lite), format!("{sqlite:?} {:?}", SqliteOptions::new())];

    let unreachable = PostgresOptions::new().timeout(Duration::milliseconds(200));
    for url in [
        "postgres://oauth:tiger@nowhere.invalid/oauth",
        "postgres://oauth:tiger@127.0.0.1:1/oauth",
        "postgres://oauth:tiger@127.0.0.1:port/oauth",
        "postgres://oauth:tiger@127.0.0.1/oauth?sslmode=tiger-mode",
        "oauth:tiger",
    ] {
        texts.push(said(&unreachable.clone().connect(url).await.unwrap_err()).replace("tiger-mode", ""));
    }
    texts.push(format!("{unreachable:?}"));

    if let Some(server) = Postgres::start() {
        let url = server.database().await;
        let storage = PostgresStorage::connect(&url).await.unwrap();
        texts.push(format!("{storage:?} {:?}", storage.pool()));
        opened(&storage, 1).await;
        // The error of a forbidden row contains the row.
        run(storage.pool(), "ALTER TABLE grantor_tokens ADD CONSTRAINT host CHECK (seed IS NULL)").await;
        let error = storage.redeem(&spend(&token, 1), &successors(&token, 10)).await.unwrap_err();
        assert!(!error.is_unavailable() && said(&error).contains("host"), "{}", said(&error));
        texts.push(said(&error));
        run(storage.pool(), "ALTER TABLE grantor_tokens DROP CONSTRAINT host").await;
        run(storage.pool(), "ALTER TABLE grantor_tokens ADD COLUMN more text NOT NULL DEFAULT ''").await;
        run(storage.pool(), "ALTER TABLE grantor_tokens ALTER COLUMN more DROP DEFAULT").await;
        let error = storage.redeem(&spend(&token, 1), &successors(&token, 10)).await.unwrap_err();
        texts.push(said(&error));

        run(storage.pool(), "CREATE ROLE scott LOGIN PASSWORD 'lion'").await;
        let rules: String = sqlx::query_scalar("SHOW hba_file").fetch_one(storage.pool()).await.unwrap();
        let old = std::fs::read_to_string(&rules).unwrap();
        std::fs::write(&rules, format!("local all scott scram-sha-256\n{old}")).unwrap();
        run(storage.pool(), "SELECT pg_reload_conf()").await;
        let wrong = url.replace("grantor@", "scott:tiger@");
        let error = loop {
            // The new rules take a moment to load; until then scott is admitted and may not create tables.
            let error = PostgresStorage::connect(&wrong).await.unwrap_err();
            if said(&error).contains("28P01") {
                break error;
            }
        };
        assert!(!error.is_unavailable(), "{}", said(&error));
        texts.push(said(&error));
    }
    for text in texts {
        let lower = text.to_lowercase();
        assert!(!lower.contains("tiger"), "{text}");
        assert!(!lower.contains("e7e7e7") && !lower.contains("231, 231, 231"), "{text}");
    }
}
