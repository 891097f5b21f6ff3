//! Cancelled calls: each call is dropped at each of its awaits.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;

use grantor::storage::{ClientRegistry, PostgresOptions, SqliteOptions, Storage};
use grantor::{Client, ClientCredential, ClientId, ClientSecret};
use time::Duration;

use crate::postgres::Postgres;
use crate::records::{Folder, grant, is_done, opened, refresh_token, spend, start, successors, was_redeemed};

/// Lets a future wait `times` times and drops it before the next wait.
pub(crate) async fn dropped_after<T>(times: usize, work: impl Future<Output = T>) -> Option<T> {
    let (mut work, mut left) = (pin!(work), times);
    poll_fn(|context| match work.as_mut().poll(context) {
        Poll::Ready(done) => Poll::Ready(Some(done)),
        Poll::Pending if left == 0 => Poll::Ready(None),
        Poll::Pending => {
            left -= 1;
            Poll::Pending
        }
    })
    .await
}

/// Drops each kind of call at each of its awaits. `storage` has one connection, and `other` sees committed data.
async fn every_call_is_whole_or_nothing<S: Storage + ClientRegistry>(storage: &S, other: &S) {
    let (mut number, mut moments) = (1_000, [0; 4]);
    let app = || Client::confidential("app", secret()).client_credentials().build().unwrap();
    storage.register(app()).await.unwrap();
    for (call, moments) in moments.iter_mut().enumerate() {
        for times in 0.. {
            number += 10;
            let token = opened(storage, number).await;
            let next = successors(&token, number + 1);
            let opening = grant(number + 5);
            let first = [refresh_token(&opening, number + 5), refresh_token(&opening, number + 6)];
            let done = match call {
                0 => dropped_after(times, storage.redeem(&spend(&token, number), &next)).await.map(|done| {
                    assert!(is_done(done.unwrap()));
                }),
                1 => dropped_after(times, storage.open_grant(&opening, &first)).await.map(|done| {
                    assert_eq!(done.unwrap(), grantor::storage::Opened::Done);
                }),
                2 => dropped_after(times, storage.purge_expired(start() + Duration::days(60), 2)).await.map(|done| {
                    assert!(done.unwrap() > 0);
                }),
                _ => {
                    let id = ClientId::new("app").unwrap();
                    dropped_after(times, storage.rotate_credential(&id, secret(), start())).await.map(Result::unwrap)
                }
            };
            // The next call on the same connection commits, as another connection sees.
            let proof = opened(storage, number + 8).await;
            assert!(
                other.find(&proof.hash).await.unwrap().is_some(),
                "call {call}, dropped after {times}: not committed"
            );
            let stored = (other.find(&first[0].hash).await.unwrap(), other.find(&first[1].hash).await.unwrap());
            assert_eq!(stored.0.is_some(), stored.1.is_some(), "only a part of the grant was stored");
            if call != 2 {
                was_redeemed(other, &token, &next).await;
            }
            if call == 3 {
                let rotated = other.find_client("app").await.unwrap().unwrap();
                storage.update(app(), rotated.version()).await.unwrap();
            }
            if done.is_some() {
                break;
            }
            *moments += 1;
        }
    }
    // The number of awaits depends on the scheduler.
    assert!(moments.iter().all(|moments| *moments > 0), "some call was never interrupted: {moments:?}");
}

fn secret() -> ClientCredential {
    ClientCredential::secret(&ClientSecret::generate(&grantor::testing::SeededEntropy::new(3)).unwrap())
}

#[tokio::test]
async fn cancelled_postgresql_call_leaves_all_or_nothing() {
    let Some(server) = Postgres::get() else { return };
    let url = server.database().await;
    let storage = PostgresOptions::new().max_connections(1).connect(&url).await.unwrap();
    let other = PostgresOptions::new().connect(&url).await.unwrap();
    every_call_is_whole_or_nothing(&storage, &other).await;
    let open = "SELECT count(*) FROM pg_stat_activity \
                WHERE state LIKE 'idle in transaction%' AND datname = current_database()";
    let open: i64 = sqlx::query_scalar(open).fetch_one(other.pool()).await.unwrap();
    assert_eq!(open, 0);
}

#[tokio::test]
async fn cancelled_sqlite_call_leaves_all_or_nothing() {
    let folder = Folder::new();
    let storage = SqliteOptions::new().max_connections(1).open(folder.file()).await.unwrap();
    let other = SqliteOptions::new().open(folder.file()).await.unwrap();
    every_call_is_whole_or_nothing(&storage, &other).await;
}

/// The next writer may begin while the connection of the cancelled writer still rolls back.
#[tokio::test(flavor = "multi_thread")]
async fn cancelled_sqlite_writer_does_not_fail_the_next() {
    let folder = Folder::new();
    let storage = SqliteOptions::new().open(folder.file()).await.unwrap();
    for number in 0..200 {
        let token = opened(&storage, 10 * number).await;
        let next = successors(&token, 10 * number + 1);
        let times = usize::try_from(number).unwrap() % 12;
        let _ = dropped_after(times, storage.redeem(&spend(&token, number), &next)).await;
        opened(&storage, 10 * number + 5).await;
        was_redeemed(&storage, &token, &next).await;
    }
}
