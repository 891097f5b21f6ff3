//! The connection to PostgreSQL breaks in the middle of a redemption: no caller may get a wrong answer.

use grantor::Storage;
use grantor::secret::TokenHash;
use grantor::storage::{PostgresStorage, RedeemOutcome};

use crate::postgres::Postgres;
use crate::proxy::{Plan, Proxy};
use crate::records::{is_done, opened, spend, successors, was_redeemed};

/// A part of the SQL text of a redemption that no other statement has.
const EXCHANGE: &str = "born AS";

async fn storages() -> Option<(Proxy, PostgresStorage, PostgresStorage)> {
    let url = Postgres::get()?.database().await;
    let direct = PostgresStorage::connect(&url).await.unwrap();
    let proxy = Proxy::to(&url);
    let through = PostgresStorage::connect(&proxy.url).await.unwrap();
    // This redemption prepares both statements.
    let token = opened(&through, 900).await;
    assert!(is_done(through.redeem(&spend(&token, 900), &successors(&token, 901)).await.unwrap()));
    Some((proxy, through, direct))
}

#[tokio::test]
async fn redemption_with_lost_commit_answer_finds_its_attempt() {
    let Some((proxy, storage, direct)) = storages().await else { return };
    let token = opened(&storage, 1).await;
    proxy.plan(Plan::LoseAnswer(EXCHANGE));
    assert!(is_done(storage.redeem(&spend(&token, 1), &successors(&token, 10)).await.unwrap()));
    assert!(was_redeemed(&direct, &token, &successors(&token, 10)).await);
    // For every other attempt, the token is spent.
    let again = storage.redeem(&spend(&token, 2), &successors(&token, 20)).await.unwrap();
    assert!(matches!(again, RedeemOutcome::AlreadySpent), "{again:?}");
}

#[tokio::test]
async fn redemption_that_never_arrived_is_unavailable() {
    let Some((proxy, storage, direct)) = storages().await else { return };
    let token = opened(&storage, 1).await;
    proxy.plan(Plan::LoseRequest(EXCHANGE));
    let error = storage.redeem(&spend(&token, 1), &successors(&token, 10)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    assert!(!was_redeemed(&direct, &token, &successors(&token, 10)).await);
    assert!(
        is_done(storage.redeem(&spend(&token, 1), &successors(&token, 10)).await.unwrap()),
        "the next attempt succeeds"
    );
}

/// For a refresh token that is not consumed, no attempt is stored.
#[tokio::test]
async fn lost_answer_without_rotation_is_unavailable() {
    let Some((proxy, storage, direct)) = storages().await else { return };
    let token = opened(&storage, 1).await;
    let order = grantor::storage::Redemption { consume: false, seed: None, ..spend(&token, 1) };
    let [_, access] = successors(&token, 10);
    proxy.plan(Plan::LoseAnswer(EXCHANGE));
    let error = storage.redeem(&order, std::slice::from_ref(&access)).await.unwrap_err();
    assert!(error.is_unavailable(), "{error:?}");
    // No client knows the stored token, and the old one can be used again.
    assert!(direct.find(&access.hash).await.unwrap().is_some());
    let [_, other] = successors(&token, 20);
    assert!(is_done(storage.redeem(&order, &[other]).await.unwrap()));
}

#[tokio::test]
async fn look_up_with_lost_answer_is_retried_at_once() {
    let Some((proxy, storage, _)) = storages().await else { return };
    let token = opened(&storage, 1).await;
    for plan in [Plan::LoseAnswer("WHERE t.hash = $1"), Plan::LoseRequest("WHERE t.hash = $1")] {
        // The statement must be prepared on this connection, or the proxy would not recognise its text.
        storage.find(&token.hash).await.unwrap();
        proxy.plan(plan);
        assert_eq!(storage.find(&token.hash).await.unwrap().unwrap().token.hash, token.hash, "{plan:?}");
        assert!(storage.find(&TokenHash::from_bytes([9; 32])).await.unwrap().is_none());
    }
}
