//! Failures of databases, and the errors that a caller gets.

use std::error::Error as _;
use std::time::Duration;

use grantor::storage::{
    ClientRegistry, GrantSelector, PostgresOptions, PostgresStorage, RedeemOutcome, SqliteOptions, SqliteStorage,
    Storage, StorageError,
};
use grantor::testing::TestServer;
use grantor::{ClientStore, EphemeralStore, Response};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::common::{error_of, token_as};
use crate::postgres::Postgres;
use crate::records::{
    Folder, client_in, grant, is_done, is_spent, opened, refresh_token, served, spend, start, successors,
};

/// A timeout that is long for a database on the same machine, and short for a test that waits for it.
const SHORT: time::Duration = time::Duration::milliseconds(300);

/// The database's error code, from the sqlx error that is kept as the source.
fn code(error: &StorageError) -> Option<String> {
    let cause = error.source().unwrap().downcast_ref::<sqlx::Error>().expect("an error of sqlx");
    Some(cause.as_database_error()?.code()?.into_owned())
}

async fn run(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await.unwrap();
}

/// Waits until this number of statements wait for a lock in this database.
async fn waiting_for_locks(pool: &PgPool, how_many: i64) {
    let count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    while sqlx::query_scalar::<_, i64>(count).fetch_one(pool).await.unwrap() != how_many {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn answer_of_token_endpoint<S>(storage: &S, breaks: impl AsyncFnOnce(&S)) -> Response
where
    S: Storage + ClientRegistry + ClientStore + EphemeralStore + Clone + 'static,
{
    let t: TestServer = served(storage.clone()).await;
    let app = client_in(&t, storage).await;
    let request = token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")]);
    assert_eq!(t.server.token(&request).await.status(), 200);
    breaks(storage).await;
    t.server.token(&request).await
}

#[tokio::test]
async fn database_down_gets_503_and_broken_schema_500() {
    let folder = Folder::new();
    let sqlite = SqliteStorage::open(folder.file()).await.unwrap();
    let drop_table = |name: &str| AssertSqlSafe(format!("ALTER TABLE grantor_{name} RENAME TO lost_{name}"));
    let mut answers = vec![(
        500,
        answer_of_token_endpoint(&sqlite, async |storage| {
            sqlx::raw_sql(drop_table("tokens")).execute(storage.pool()).await.unwrap();
        })
        .await,
    )];
    let sqlite = SqliteStorage::open(folder.0.join("other.db")).await.unwrap();
    answers.push((503, answer_of_token_endpoint(&sqlite, async |storage| storage.pool().close().await).await));
    if let Some(server) = Postgres::get() {
        let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
        answers.push((
            500,
            answer_of_token_endpoint(&storage, async |storage| {
                sqlx::raw_sql(drop_table("tokens")).execute(storage.pool()).await.unwrap();
            })
            .await,
        ));
        let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
        answers.push((503, answer_of_token_endpoint(&storage, async |storage| storage.pool().close().await).await));
    }
    for (status, response) in answers {
        let error = if status == 503 { "temporarily_unavailable" } else { "server_error" };
        assert_eq!((response.status(), error_of(&response).as_str()), (status, error));
        assert_eq!(response.header("cache-control"), Some("no-store"));
    }
}

#[tokio::test]
async fn unreachable_database_times_out_as_unavailable() {
    // No server listens at this port: it was free a moment ago.
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("postgres://oauth:tiger@127.0.0.1:{port}/oauth");
    let error = PostgresOptions::new().timeout(SHORT).connect(&url).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
}

#[tokio::test]
async fn pool_without_a_free_connection_is_unavailable() {
    let folder = Folder::new();
    let sqlite = SqliteOptions::new().timeout(SHORT).max_connections(1).open(folder.file()).await.unwrap();
    let held = sqlite.pool().acquire().await.unwrap();
    let token = refresh_token(&grant(1), 1);
    for error in [
        sqlite.find(&token.hash).await.unwrap_err(),
        sqlite.open_grant(&grant(1), &[]).await.unwrap_err(),
        sqlite.redeem(&spend(&token, 1), &[]).await.unwrap_err(),
    ] {
        assert!(error.is_unavailable(), "{error:?}");
    }
    drop(held);
    opened(&sqlite, 1).await;

    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let storage = PostgresOptions::new().timeout(SHORT).max_connections(1).connect(&url).await.unwrap();
    let held = storage.pool().acquire().await.unwrap();
    for error in [
        storage.find(&token.hash).await.unwrap_err(),
        storage.open_grant(&grant(1), &[]).await.unwrap_err(),
        storage.redeem(&spend(&token, 1), &[]).await.unwrap_err(),
    ] {
        assert!(error.is_unavailable(), "{error:?}");
    }
    drop(held);
    opened(&storage, 1).await;
}

/// A storage in PostgreSQL, one token in it, and a connection that holds the token's row in a transaction.
async fn locked(options: PostgresOptions, connect: PgPoolOptions) -> Option<Locked> {
    let url = Postgres::get()?.database().await;
    let storage = options.with_pool(connect.connect(&url).await.unwrap()).await.unwrap();
    let token = opened(&storage, 1).await;
    let pool = PgPool::connect(&url).await.unwrap();
    let mut holder = pool.acquire().await.unwrap().detach();
    run(&mut holder, "BEGIN; SELECT FROM grantor_tokens FOR UPDATE").await;
    Some(Locked { storage, token, pool, holder })
}

struct Locked {
    storage: PostgresStorage,
    token: grantor::StoredToken,
    pool: PgPool,
    holder: PgConnection,
}

impl Locked {
    /// Redeems the token in a separate task, and returns when it waits for the lock.
    async fn redeem(&self) -> tokio::task::JoinHandle<Result<RedeemOutcome, StorageError>> {
        let (storage, token) = (self.storage.clone(), self.token.clone());
        let redemption = tokio::spawn(async move { storage.redeem(&spend(&token, 1), &successors(&token, 10)).await });
        waiting_for_locks(&self.pool, 1).await;
        redemption
    }
}

#[tokio::test]
async fn lock_timeout_is_unavailable_and_keeps_the_token() {
    let options = PostgresOptions::new().timeout(SHORT);
    let limited = PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            run(connection, "SET statement_timeout = 300").await;
            Ok(())
        })
    });
    let Some(mut locked) = locked(options, limited).await else { return };
    let error = locked.redeem().await.await.unwrap().unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    // The server cancels the statement too, so nothing is written when the lock is free.
    waiting_for_locks(&locked.pool, 0).await;
    run(&mut locked.holder, "COMMIT").await;
    assert!(!is_spent(&locked.storage, &locked.token).await);
    let Locked { storage, token, .. } = &locked;
    assert!(is_done(storage.redeem(&spend(token, 2), &successors(token, 10)).await.unwrap()));
}

#[tokio::test]
async fn statement_timeout_is_unavailable_with_its_reason() {
    let limited = PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            run(connection, "SET statement_timeout = 100").await;
            Ok(())
        })
    });
    let Some(mut locked) = locked(PostgresOptions::new(), limited).await else { return };
    let error = locked.redeem().await.await.unwrap().unwrap_err();
    assert_eq!((error.is_unavailable(), code(&error).as_deref()), (true, Some("57014")));
    run(&mut locked.holder, "COMMIT").await;
    assert!(!is_spent(&locked.storage, &locked.token).await);
}

const TERMINATE_OTHERS: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()";

#[tokio::test]
async fn killed_connection_is_unavailable_and_keeps_the_token() {
    let Some(mut locked) = locked(PostgresOptions::new(), PgPoolOptions::new()).await else { return };
    let redemption = locked.redeem().await;
    let waiting = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                   WHERE datname = current_database() AND wait_event_type = 'Lock'";
    sqlx::raw_sql(waiting).execute(&locked.pool).await.unwrap();
    let error = redemption.await.unwrap().unwrap_err();
    assert_eq!((error.is_unavailable(), code(&error).as_deref()), (true, Some("57P01")));
    run(&mut locked.holder, "COMMIT").await;
    assert!(!is_spent(&locked.storage, &locked.token).await);
    let Locked { storage, token, .. } = &locked;
    assert!(is_done(storage.redeem(&spend(token, 2), &successors(token, 10)).await.unwrap()));
}

#[tokio::test]
async fn killed_idle_connections_cost_at_most_one_503() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let storage = PostgresOptions::new().max_connections(1).connect(&url).await.unwrap();
    let other = PgPoolOptions::new().max_connections(1).connect(&url).await.unwrap();
    let token = opened(&storage, 1).await;
    let end = async || {
        // A connection is idle only when it is back in the pool.
        drop(storage.pool().acquire().await.unwrap());
        sqlx::raw_sql(TERMINATE_OTHERS).execute(&other).await.unwrap();
    };
    end().await;
    assert!(storage.find(&token.hash).await.unwrap().is_some());
    end().await;
    // It depends on timing whether the pipe is broken already, or the server's last message is still unread.
    match storage.redeem(&spend(&token, 1), &successors(&token, 10)).await {
        Ok(done) => assert!(is_done(done)),
        Err(error) => {
            assert!(error.is_unavailable(), "{error:?}");
            assert!(is_done(storage.redeem(&spend(&token, 2), &successors(&token, 10)).await.unwrap()));
        }
    }
}

// covers: B58
#[tokio::test]
async fn server_side_rollback_is_retried() {
    for level in ["repeatable read", "serializable"] {
        let set = format!("SET default_transaction_isolation = '{level}'");
        let strict = PgPoolOptions::new().after_connect(move |connection, _| {
            let set = set.clone();
            Box::pin(async move {
                run(connection, &set).await;
                Ok(())
            })
        });
        let Some(mut locked) = locked(PostgresOptions::new(), strict).await else { return };
        let redemption = locked.redeem().await;
        // Read committed would see the present row. Other levels have to start again, or fail with 40001.
        run(&mut locked.holder, "UPDATE grantor_tokens SET scope = 'user:write'; COMMIT").await;
        assert!(is_done(redemption.await.unwrap().unwrap()), "{level}");

        let storage = &locked.storage;
        let token = opened(storage, 2).await;
        let racers = (0..16).map(|racer| {
            let (storage, token) = (storage.clone(), token.clone());
            tokio::spawn(async move {
                storage.redeem(&spend(&token, 100 + racer), &successors(&token, 1_000 + 2 * racer)).await.unwrap()
            })
        });
        let (mut done, mut late) = (0, 0);
        for racer in racers.collect::<Vec<_>>() {
            match racer.await.unwrap() {
                RedeemOutcome::Done => done += 1,
                RedeemOutcome::AlreadySpent => late += 1,
                RedeemOutcome::Dead => panic!("the token lives"),
            }
        }
        assert_eq!((done, late), (1, 15), "{level}");
    }
}

#[tokio::test]
async fn deadlock_with_a_foreign_transaction_is_survived() {
    // The transaction that waits first also checks first for a deadlock, so PostgreSQL cancels this transaction.
    let quick = PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            run(connection, "SET deadlock_timeout = '200ms'").await;
            Ok(())
        })
    });
    let Some(mut locked) = locked(PostgresOptions::new(), quick).await else { return };
    run(&mut locked.holder, "SET deadlock_timeout = '1min'").await;
    let redemption = locked.redeem().await;
    // The redemption holds the grant and waits for the token; this transaction holds the token and waits for the grant.
    run(&mut locked.holder, "UPDATE grantor_grants SET scope = 'user:write'; COMMIT").await;
    assert!(is_done(redemption.await.unwrap().unwrap()));
}

#[tokio::test]
async fn parallel_redemptions_in_a_family_all_succeed_once() {
    let Some(server) = Postgres::get() else { return };
    let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
    let opened_grant = grant(1);
    let tokens: Vec<_> = (0..40).map(|number| refresh_token(&opened_grant, number)).collect();
    assert_eq!(storage.open_grant(&opened_grant, &tokens).await.unwrap(), grantor::storage::Opened::Done);
    let racers = (0..120).map(|racer: u64| {
        let (storage, token) = (storage.clone(), tokens[usize::try_from(racer).unwrap() % 40].clone());
        tokio::spawn(async move {
            let next = successors(&token, 1_000 + 2 * racer);
            storage.redeem(&spend(&token, racer), &next).await.unwrap()
        })
    });
    let mut done = 0;
    for racer in racers.collect::<Vec<_>>() {
        done += usize::from(is_done(racer.await.unwrap()));
    }
    assert_eq!(done, 40);
}

#[tokio::test]
async fn taken_identifier_fails_permanently_with_its_cause() {
    let folder = Folder::new();
    let sqlite = SqliteStorage::open(folder.file()).await.unwrap();
    let token = opened(&sqlite, 1).await;
    let error = sqlite.open_grant(&grant(2), std::slice::from_ref(&refresh_token(&grant(2), 1))).await.unwrap_err();
    assert_eq!((error.is_unavailable(), code(&error).as_deref()), (false, Some("1555")));
    assert!(
        sqlite
            .list_grants(&GrantSelector::Id(grant(2).id), start(), &grantor::storage::GrantPage::first(1))
            .await
            .unwrap()
            .is_empty()
    );

    let Some(server) = Postgres::get() else { return };
    let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
    opened(&storage, 1).await;
    let error = storage.open_grant(&grant(2), std::slice::from_ref(&refresh_token(&grant(2), 1))).await.unwrap_err();
    assert_eq!((error.is_unavailable(), code(&error).as_deref()), (false, Some("23505")));
    // A redemption whose successor hash exists: the token is unchanged.
    let [mut next, _] = successors(&token, 10);
    next.hash = token.hash;
    let error = storage.redeem(&spend(&token, 1), &[next]).await.unwrap_err();
    assert_eq!((error.is_unavailable(), code(&error).as_deref()), (false, Some("23505")));
    assert!(!is_spent(&storage, &token).await);
}

#[tokio::test]
async fn blocked_sqlite_writer_is_unavailable_readers_are_not() {
    let folder = Folder::new();
    let storage = SqliteOptions::new().timeout(SHORT).open(folder.file()).await.unwrap();
    let token = opened(&storage, 1).await;
    let mut other = std::process::Command::new("sqlite3");
    other.arg(folder.file()).stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    // Another process if there is an SQLite shell, otherwise another connection.
    let Ok(mut process) = other.spawn() else {
        let elsewhere = SqliteStorage::open(folder.file()).await.unwrap();
        let held = elsewhere.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
        kept_out(&storage, &token).await;
        drop(held);
        return;
    };
    let mut orders = process.stdin.take().unwrap();
    std::io::Write::write_all(&mut orders, b"BEGIN IMMEDIATE;\nSELECT 'locked';\n").unwrap();
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(process.stdout.take().unwrap()), &mut line).unwrap();
    assert_eq!(line.trim(), "locked");
    kept_out(&storage, &token).await;
    drop(orders);
    process.wait().unwrap();
    assert!(is_done(storage.redeem(&spend(&token, 1), &successors(&token, 10)).await.unwrap()));
}

async fn kept_out(storage: &SqliteStorage, token: &grantor::StoredToken) {
    for error in [
        storage.redeem(&spend(token, 1), &successors(token, 10)).await.unwrap_err(),
        storage.open_grant(&grant(2), &[]).await.unwrap_err(),
        storage.revoke_grants(&GrantSelector::Id(token.grant_id), start()).await.unwrap_err(),
        storage.purge_expired(start(), 10).await.unwrap_err(),
    ] {
        assert!(error.is_unavailable(), "{error:?}");
    }
    assert!(!is_spent(storage, token).await);
}

/// The first answer was lost, and the caller repeats the call while the file is locked. The storage still finds the
/// finished redemption.
#[tokio::test]
async fn sqlite_redemption_stays_done_when_the_file_is_locked() {
    let folder = Folder::new();
    let storage = SqliteOptions::new().timeout(SHORT).open(folder.file()).await.unwrap();
    let (token, other) = (opened(&storage, 1).await, opened(&storage, 2).await);
    let order = spend(&token, 1);
    assert!(is_done(storage.redeem(&order, &successors(&token, 10)).await.unwrap()));

    let writer = SqliteStorage::open(folder.file()).await.unwrap();
    let held = writer.pool().begin_with("BEGIN IMMEDIATE").await.unwrap();
    assert!(is_done(storage.redeem(&order, &successors(&token, 10)).await.unwrap()), "its attempt is stored");
    assert!(storage.redeem(&spend(&token, 2), &[]).await.unwrap_err().is_unavailable(), "a new attempt writes");
    assert!(storage.redeem(&spend(&other, 3), &[]).await.unwrap_err().is_unavailable());
    drop(held);
}

/// A redemption that waited for the revocation must see the grant as dead, although it was live when the call began.
#[tokio::test(flavor = "multi_thread")]
async fn redemption_after_waiting_for_revocation_is_dead() {
    let Some(mut locked) = locked(PostgresOptions::new(), PgPoolOptions::new()).await else { return };
    let second = opened(&locked.storage, 2).await;
    run(&mut locked.holder, "COMMIT; BEGIN; UPDATE grantor_grants SET revoked_at = '2026-01-01T00:00:01Z'").await;
    let (storage, token) = (locked.storage.clone(), second.clone());
    let redemption = tokio::spawn(async move { storage.redeem(&spend(&token, 1), &successors(&token, 10)).await });
    waiting_for_locks(&locked.pool, 1).await;
    run(&mut locked.holder, "COMMIT").await;
    assert_eq!(redemption.await.unwrap().unwrap(), RedeemOutcome::Dead);
    assert!(!is_spent(&locked.storage, &second).await);
    assert!(locked.storage.find(&successors(&second, 10)[0].hash).await.unwrap().is_none());
}

#[tokio::test]
async fn full_disk_is_unavailable_and_leaves_no_half_grant() {
    let folder = Folder::new();
    drop(SqliteStorage::open(folder.file()).await.unwrap());
    let connect = SqliteConnectOptions::new().filename(folder.file()).journal_mode(SqliteJournalMode::Wal);
    let small = SqlitePoolOptions::new().max_connections(1).after_connect(|connection, _| {
        Box::pin(async move { sqlx::raw_sql("PRAGMA max_page_count = 40").execute(connection).await.map(drop) })
    });
    let storage = SqliteStorage::with_pool(small.connect_with(connect).await.unwrap()).await.unwrap();
    let mut number = 0;
    let error = loop {
        let grant = grant(number);
        let tokens: Vec<_> = (0..20).map(|token| refresh_token(&grant, 100 * number + token)).collect();
        match storage.open_grant(&grant, &tokens).await {
            Ok(opened) => assert_eq!(opened, grantor::storage::Opened::Done),
            Err(error) => break error,
        }
        number += 1;
    };
    assert_eq!((error.is_unavailable(), code(&error).as_deref()), (true, Some("13")));
    assert!(number > 0);
    for token in 0..20 {
        assert!(storage.find(&crate::records::hash(100 * number + token)).await.unwrap().is_none());
    }
    assert!(storage.find(&crate::records::hash(0)).await.unwrap().is_some(), "reads still work");
}

#[tokio::test]
async fn read_only_file_fails_permanently_on_write() {
    let folder = Folder::new();
    let token = opened(&SqliteStorage::open(folder.file()).await.unwrap(), 1).await;
    let connect = SqliteConnectOptions::new().filename(folder.file()).read_only(true);
    let storage =
        SqliteStorage::with_pool(SqlitePoolOptions::new().connect_with(connect).await.unwrap()).await.unwrap();
    assert!(storage.find(&token.hash).await.unwrap().is_some());
    let error = storage.redeem(&spend(&token, 1), &successors(&token, 10)).await.unwrap_err();
    assert_eq!((error.is_unavailable(), code(&error).as_deref()), (false, Some("8")));
    assert!(!is_spent(&storage, &token).await);
}
