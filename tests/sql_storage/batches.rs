//! Revocations and purges of more grants than one statement can revoke or remove.

use std::sync::Arc;

use grantor::storage::{ClientRegistry, GrantPage, GrantSelector, PostgresStorage, SqliteStorage, Storage};
use grantor::{ClientId, Grant, Subject};
use time::Duration;

use crate::postgres::Postgres;
use crate::records::{Folder, grant, hash, refresh_token, start};

/// More than two batches.
const MANY: u64 = 2_500;

/// Grants of `app`, half of them alice's and half of them bob's, many of them opened in the same microsecond.
async fn open_many(storage: &impl Storage) {
    for number in 0..MANY {
        let subject = Some(Subject::new(if number % 2 == 0 { "alice" } else { "bob" }).unwrap());
        let opened_at = start() + Duration::seconds(i64::try_from(number / 600).unwrap());
        let grant = Arc::new(Grant { subject, opened_at, ..(*grant(number)).clone() });
        assert_eq!(
            storage.open_grant(&grant, &[refresh_token(&grant, number)]).await.unwrap(),
            grantor::storage::Opened::Done
        );
    }
}

async fn live(storage: &impl Storage) -> usize {
    let app = GrantSelector::Client(ClientId::new("app").unwrap());
    storage.list_grants(&app, start(), &GrantPage::first(10_000)).await.unwrap().len()
}

async fn all_are_revoked_and_purged(storage: &(impl Storage + ClientRegistry)) {
    open_many(storage).await;
    assert_eq!(live(storage).await, 2_500);
    let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
    assert_eq!(storage.revoke_grants(&alice, start()).await.unwrap(), 1_250);
    assert_eq!(live(storage).await, 1_250);
    assert_eq!(storage.revoke_grants(&alice, start()).await.unwrap(), 0);
    storage.remove(&ClientId::new("app").unwrap(), start() + Duration::SECOND).await.unwrap();
    assert_eq!(live(storage).await, 0);
    for number in 0..MANY {
        let revoked_at = storage.find(&hash(number)).await.unwrap().unwrap().grant.revoked_at;
        assert_eq!(
            revoked_at,
            Some(start() + Duration::seconds(i64::try_from(number % 2).unwrap())),
            "the first revocation time stays"
        );
    }
    // Each family is a grant and a token. The purge steps may end between the two.
    let (mut removed, mut steps) = (0, 0);
    loop {
        let touched = storage.purge_expired(start() + Duration::HOUR, 1_234).await.unwrap();
        (removed, steps) = (removed + touched, steps + 1);
        assert!(touched <= 1_234);
        if touched < 1_234 {
            break;
        }
    }
    assert_eq!((removed, steps), (5_000, 5));
    assert!(storage.find(&hash(0)).await.unwrap().is_none());
}

#[tokio::test]
async fn postgresql_revokes_and_purges_more_than_one_batch() {
    let Some(server) = Postgres::get() else { return };
    all_are_revoked_and_purged(&PostgresStorage::connect(&server.database().await).await.unwrap()).await;
}

#[tokio::test]
async fn sqlite_revokes_and_purges_more_than_one_batch() {
    let folder = Folder::new();
    all_are_revoked_and_purged(&SqliteStorage::open(folder.file()).await.unwrap()).await;
}

/// For a table that was just filled, the planner has no statistics. Even then, it must not compute a list again for
/// each row, because the purge would exceed its limit.
#[tokio::test]
async fn purge_keeps_its_limit_with_unusual_query_plans() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let odd = sqlx::postgres::PgPoolOptions::new().after_connect(|connection, _| {
        Box::pin(async move {
            let odd = "SET enable_hashjoin = off; SET enable_mergejoin = off; SET enable_hashagg = off; \
                       SET enable_material = off; SET enable_memoize = off; SET enable_sort = off";
            sqlx::raw_sql(odd).execute(connection).await.map(drop)
        })
    });
    let storage = PostgresStorage::with_pool(odd.connect(&url).await.unwrap()).await.unwrap();
    for number in 0..30 {
        let grant = grant(100 * number);
        let tokens: Vec<_> = (0..5).map(|n| refresh_token(&grant, 100 * number + n)).collect();
        assert_eq!(storage.open_grant(&grant, &tokens).await.unwrap(), grantor::storage::Opened::Done);
    }
    let rows = async || -> i64 {
        let count = "SELECT (SELECT count(*) FROM grantor_tokens) + (SELECT count(*) FROM grantor_grants)";
        sqlx::query_scalar(count).fetch_one(storage.pool()).await.unwrap()
    };
    let end = start() + Duration::days(31);
    let mut before = rows().await;
    while before > 0 {
        let touched = storage.purge_expired(end, 7).await.unwrap();
        let after = rows().await;
        assert!(
            (1..=7).contains(&touched) && before - after == i64::try_from(touched).unwrap(),
            "{touched}, {before}, {after}"
        );
        before = after;
    }
}
