//! The limit on refreshes of a grant: it bounds the rows of spent refresh tokens without removing any of them.

use std::sync::Arc;

use grantor::policy::Rotation;
use grantor::secret::TokenHash;
use grantor::testing::{Intercepted, TestClient, TestServer};
use grantor::{RefreshToken, Storage};
use serde_json::Value;
use time::Duration;

use crate::common::text;
use crate::support::{
    CB, Refused, Spy, bad_grant, change_client, granted, refresh, refresh_of, refused_for, restarted, row, spied,
    tokens_of,
};

const BURST: u32 = 3;
const INTERVAL: Duration = Duration::seconds(20);
const TICK: Duration = Duration::microseconds(1);

async fn too_often(t: &TestServer, app: &TestClient, token: &str) -> Refused {
    let reason = "RefreshedTooOften";
    let answer = refused_for(t, &refresh(app, token), 429, "temporarily_unavailable", reason).await;
    assert_eq!(answer.header("retry-after"), Some("5"));
    answer
}

fn refresh_in(body: &Value) -> String {
    body["refresh_token"].as_str().expect("a refresh token").to_owned()
}

async fn server() -> (TestServer, Arc<Spy>) {
    spied(|policy| (policy.refresh_burst, policy.refresh_interval) = (BURST, INTERVAL)).await
}

/// The refresh tokens of a new grant after as many refreshes as are allowed at once; the last token is unspent.
async fn exhausted(t: &TestServer, app: &TestClient) -> Vec<String> {
    let mut tokens = vec![refresh_of(&tokens_of(t, app).await).expose().to_owned()];
    for _ in 0..BURST {
        let next = granted(t, &refresh(app, tokens.last().unwrap())).await;
        tokens.push(refresh_in(&next));
    }
    tokens
}

#[tokio::test]
async fn refresh_rate_allows_a_burst_then_the_interval() {
    let (t, spy) = server().await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let mut token = exhausted(&t, &app).await.pop().unwrap();
        for _ in 0..3 {
            spy.writes();
            too_often(&t, &app, &token).await;
            t.clock.advance(INTERVAL - TICK);
            too_often(&t, &app, &token).await;
            assert!(spy.writes().is_empty());
            assert!(row(&t, RefreshToken::new(&*token).hash()).await.0.spent.is_none());
            t.clock.advance(TICK);
            token = refresh_in(&granted(&t, &refresh(&app, &token)).await);
        }
        // Refreshes that a client does not use are saved, up to the burst.
        t.clock.advance(INTERVAL * 2);
        for _ in 0..2 {
            token = refresh_in(&granted(&t, &refresh(&app, &token)).await);
        }
        too_often(&t, &app, &token).await;
        // Another grant of the client has its own limit.
        exhausted(&t, &app).await;
    }
}

// The response reveals nothing about the token's state.
#[tokio::test]
async fn too_frequent_refresh_and_repeat_get_one_answer() {
    let (mut t, spy) = server().await;
    let app = t.public_client(CB).await;
    let tokens = exhausted(&t, &app).await;
    let [spent, unspent] = &tokens[tokens.len() - 2..] else { unreachable!("there are more") };
    // A lower burst limits the unspent token too.
    let mut policy = t.policy().clone();
    policy.refresh_burst = 1;
    t.server = restarted(&t, Intercepted::new(t.storage.clone(), Arc::clone(&spy)), policy).await;
    spy.writes();
    let answers = [too_often(&t, &app, spent).await, too_often(&t, &app, unspent).await];
    let [one, other] = answers.each_ref().map(|answer| (answer.headers().collect::<Vec<_>>(), text(answer)));
    assert_eq!(one, other);
    assert!(spy.writes().is_empty());
}

#[tokio::test]
async fn repeated_refreshes_count_toward_the_limit() {
    let (t, spy) = server().await;
    let app = t.public_client(CB).await;
    let first = refresh_of(&tokens_of(&t, &app).await).expose().to_owned();
    let second = refresh_in(&granted(&t, &refresh(&app, &first)).await);
    // The first repeat does not count.
    for _ in 0..BURST {
        granted(&t, &refresh(&app, &first)).await;
    }
    spy.writes();
    for _ in 0..2 {
        too_often(&t, &app, &first).await;
    }
    assert!(spy.writes().is_empty());
    t.clock.advance(INTERVAL);
    granted(&t, &refresh(&app, &first)).await;
    too_often(&t, &app, &first).await;
    // The client continues with the token that it got.
    granted(&t, &refresh(&app, &second)).await;
}

/// If the client had to wait for this repeat, the grace window would end, and the repeat would count as reuse.
#[tokio::test]
async fn lost_answer_at_the_refresh_limit_is_repeated() {
    let (t, _) = server().await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let tokens = exhausted(&t, &app).await;
        let [spent, unspent] = &tokens[tokens.len() - 2..] else { unreachable!("there are more") };
        assert_eq!(refresh_in(&granted(&t, &refresh(&app, spent)).await), *unspent);
        too_often(&t, &app, spent).await;
        too_often(&t, &app, unspent).await;
        t.clock.advance(INTERVAL);
        granted(&t, &refresh(&app, unspent)).await;
    }
}

// The limit hides no theft.
#[tokio::test]
async fn late_reuse_revokes_a_grant_above_the_refresh_rate() {
    let (t, spy) = server().await;
    let app = t.public_client(CB).await;
    let tokens = exhausted(&t, &app).await;
    let unspent = tokens.last().unwrap();
    too_often(&t, &app, unspent).await;
    // The successor of the first token was used, so this is no retry.
    spy.writes();
    bad_grant(&t, &refresh(&app, &tokens[0]), "RefreshTokenReused").await;
    assert_eq!(spy.writes(), ["revoke_grants"]);
    bad_grant(&t, &refresh(&app, unspent), "GrantEnded").await;
}

#[tokio::test]
async fn spent_refresh_tokens_are_kept_as_evidence() {
    let (t, _) = server().await;
    let app = t.public_client(CB).await;
    let mut tokens = exhausted(&t, &app).await;
    for _ in 0..20 {
        t.clock.advance(INTERVAL);
        let next = granted(&t, &refresh(&app, tokens.last().unwrap())).await;
        tokens.push(refresh_in(&next));
    }
    too_often(&t, &app, tokens.last().unwrap()).await;
    t.server.purge(1_000).await.unwrap();
    let hashes: Vec<TokenHash> = tokens.iter().map(|token| RefreshToken::new(&**token).hash()).collect();
    for (number, hash) in (1..).zip(&hashes) {
        let (token, _) = row(&t, *hash).await;
        assert_eq!((token.details.number, token.spent.is_some()), (Some(number), *hash != hashes[hashes.len() - 1]));
    }
    assert!(t.storage.find(&hashes[0]).await.unwrap().is_some());
}

/// A client whose access tokens live shorter than the interval can refresh each of them.
#[tokio::test]
async fn short_access_tokens_may_be_refreshed_at_expiry() {
    let (t, _) = server().await;
    let app = t.public_client(CB).await;
    change_client(&t, &app, |parts| parts.lifetimes.access_token = Some(Duration::seconds(5))).await;
    let mut token = exhausted(&t, &app).await.pop().unwrap();
    for _ in 0..9 {
        too_often(&t, &app, &token).await;
        t.clock.advance(Duration::seconds(5));
        token = refresh_in(&granted(&t, &refresh(&app, &token)).await);
    }
}

#[tokio::test]
async fn no_limit_without_an_interval_or_rotation() {
    let unlimited = TestServer::with_policy(|policy| {
        (policy.refresh_burst, policy.refresh_interval) = (BURST, Duration::ZERO);
    });
    let app = unlimited.public_client(CB).await;
    let mut tokens = exhausted(&unlimited, &app).await;
    for _ in 0..10 {
        let next = granted(&unlimited, &refresh(&app, tokens.last().unwrap())).await;
        tokens.push(refresh_in(&next));
    }

    let t = TestServer::with_policy(|policy| {
        (policy.refresh_burst, policy.refresh_interval) = (BURST, INTERVAL);
        policy.refresh_token_rotation = Rotation::PublicClients;
    });
    let app = t.confidential_client(CB).await;
    let tokens = tokens_of(&t, &app).await;
    for _ in 0..10 {
        granted(&t, &refresh(&app, refresh_of(&tokens).expose())).await;
    }
}
