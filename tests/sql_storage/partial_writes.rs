//! Steps that fail because the database refuses one of their writes: nothing of the step may be stored.

use std::sync::Arc;

use grantor::storage::{Found, PostgresStorage, SqliteStorage, Storage};
use sqlx::AssertSqlSafe;

use crate::postgres::Postgres;
use crate::records::{Folder, grant, is_done, opened, refresh_token, spend, successors, was_redeemed};

/// Each write of a redemption and of an opening, as a trigger names it.
const WRITES: [(&str, &str); 6] = [
    ("UPDATE ON grantor_tokens", "NEW.spent_at IS NOT NULL AND OLD.spent_at IS NULL"),
    ("UPDATE ON grantor_tokens", "NEW.seed IS NULL AND OLD.seed IS NOT NULL"),
    ("UPDATE ON grantor_grants", "NEW.last_used_at <> OLD.last_used_at"),
    ("INSERT ON grantor_tokens", "NEW.kind = 'refresh_token'"),
    ("INSERT ON grantor_tokens", "NEW.kind = 'access_token'"),
    ("INSERT ON grantor_grants", "NEW.scope IS NOT NULL"),
];

/// If the write is refused, a second redemption of a family and an opening store nothing. Otherwise both succeed.
async fn all_or_nothing<S: Storage>(storage: &S, number: u64, refuse: impl AsyncFn(), allow: impl AsyncFn()) -> bool {
    let first = opened(storage, number).await;
    let second = successors(&first, number + 1);
    assert!(is_done(storage.redeem(&spend(&first, number), &second).await.unwrap()));
    let third = successors(&second[0], number + 3);
    let opening = grant(number + 10);
    let tokens = [refresh_token(&opening, number + 10), refresh_token(&opening, number + 11)];

    refuse().await;
    let redemption = storage.redeem(&spend(&second[0], number + 1), &third).await;
    let open = storage.open_grant(&opening, &tokens).await;
    allow().await;

    let redeemed = was_redeemed(storage, &second[0], &third).await;
    assert_eq!(redeemed, redemption.is_ok(), "{redemption:?}");
    let Found { token: spent, grant: family, .. } = storage.find(&first.hash).await.unwrap().unwrap();
    let has_seed = spent.spent.clone().unwrap().seed.is_some();
    assert_eq!(has_seed, !redeemed, "the seed of the parent is erased exactly if the redemption succeeded");
    assert!(family.last_used_at > family.opened_at, "{family:?}");
    for token in &tokens {
        assert_eq!(storage.find(&token.hash).await.unwrap().is_some(), open.is_ok(), "{open:?}");
    }
    if !redeemed {
        assert!(is_done(storage.redeem(&spend(&second[0], number + 2), &third).await.unwrap()));
    }
    if open.is_err() {
        assert_eq!(storage.open_grant(&Arc::clone(&opening), &tokens).await.unwrap(), grantor::storage::Opened::Done);
    }
    redemption.is_err() || open.is_err()
}

#[tokio::test]
async fn failed_write_rolls_back_the_sqlite_step() {
    let folder = Folder::new();
    let storage = SqliteStorage::open(folder.file()).await.unwrap();
    let run = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(storage.pool()).await.unwrap();
    };
    for (number, (write, when)) in (1..).zip(WRITES) {
        // Use a new name, because a connection that has not seen the drop of the last one would report that it exists.
        let refuse = format!(
            "CREATE TRIGGER refused_{number} BEFORE {write} WHEN {when} BEGIN SELECT RAISE(ABORT, 'the test refuses it'); END"
        );
        let failed = all_or_nothing(
            &storage,
            100 * number,
            async || run(refuse.clone()).await,
            async || run(format!("DROP TRIGGER refused_{number}")).await,
        );
        assert!(failed.await, "{write} when {when} belongs to no step");
    }
}

#[tokio::test]
async fn failed_write_rolls_back_the_postgresql_step() {
    let Some(server) = Postgres::get() else { return };
    let storage = PostgresStorage::connect(&server.database().await).await.unwrap();
    let run = async |sql: String| {
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(storage.pool()).await.unwrap();
    };
    run("CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS \
         $$ BEGIN RAISE EXCEPTION 'the test refuses it'; END $$"
        .to_owned())
    .await;
    for (number, (write, when)) in (1..).zip(WRITES) {
        let refuse =
            format!("CREATE TRIGGER refused BEFORE {write} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION refuse()");
        let table = write.rsplit(' ').next().unwrap();
        let failed = all_or_nothing(
            &storage,
            100 * number,
            async || run(refuse.clone()).await,
            async || run(format!("DROP TRIGGER refused ON {table}")).await,
        );
        assert!(failed.await, "{write} when {when} belongs to no step");
    }
}
