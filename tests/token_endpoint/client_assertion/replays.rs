//! An assertion authenticates a client once.

use std::sync::Arc;

use grantor::jose::Algorithm;
use grantor::testing::{ISSUER, TestClock};
use grantor::{
    AuthorizationServer, Client, ClientRegistry, ClientSignatures, ClientStore, Clock, EphemeralStore, MemoryStorage,
    Storage,
};
use serde_json::json;
use time::Duration;
use tokio::sync::Barrier;

use super::{TYP, assertion, by_assertion, claims, client, remembered, server, server_and_client};
use crate::common::signed::{header, jwks, key, sign, with};
use crate::support::{bad_client, granted};

// covers: JB-08 (RFC 7523 §3), B31
#[tokio::test]
async fn assertion_is_remembered_until_it_expires() {
    let (t, app, key) = server_and_client().await;
    let text = assertion(&t, &app.id, &key).await;
    granted(&t, &by_assertion(&text)).await;
    bad_client(&t, &by_assertion(&text), "ClientAssertion(Replayed)").await;
    // The clocks may differ by 30 seconds, so it is valid until then.
    t.clock.advance(Duration::seconds(89));
    t.server.purge(1_000).await.unwrap();
    bad_client(&t, &by_assertion(&text), "ClientAssertion(Replayed)").await;
    t.clock.advance(Duration::seconds(1));
    bad_client(&t, &by_assertion(&text), "ClientAssertion(Expired)").await;
    // A node whose clock is ahead by a minute must not remove it too early.
    t.server.purge(1_000).await.unwrap();
    assert_eq!(remembered(&t).await, 1);
    t.clock.advance(Duration::minutes(1));
    t.server.purge(1_000).await.unwrap();
    assert_eq!(remembered(&t).await, 0);
    bad_client(&t, &by_assertion(&text), "ClientAssertion(Expired)").await;
}

/// The identifier counts, not the text: an assertion that is signed again is a replay.
// covers: JB-08 (RFC 7523 §3)
#[tokio::test]
async fn identifier_is_used_once_by_each_client() {
    let t = server();
    let key = key(Algorithm::Es256);
    for id in ["a", "ab"] {
        client(&t, id, jwks(&key), |client| client).await;
    }
    let signed = async |id: &str, jti: &str| {
        let claims = with(&claims(&t, id), &json!({ "jti": jti }));
        by_assertion(&sign(&key, header(&key, TYP), claims).await)
    };
    // Identifier and client stay apart: `a` with `bc` is not `ab` with `c`.
    for (id, jti) in [("a", "bc"), ("ab", "c"), ("ab", "bc"), ("a", "c"), ("a", "C")] {
        granted(&t, &signed(id, jti).await).await;
        bad_client(&t, &signed(id, jti).await, "ClientAssertion(Replayed)").await;
    }
    assert_eq!(remembered(&t).await, 5);
}

/// Sends an assertion many times at once, and returns the number of successes.
async fn race<S: Storage + ClientStore + ClientRegistry + EphemeralStore + Clone + 'static>(storage: S) -> usize {
    const RUNNERS: usize = 16;
    let (key, clock) = (key(Algorithm::Es256), TestClock::default());
    let app = Client::private_key_jwt("app").jwks(jwks(&key)).client_credentials().scope("user:read").build().unwrap();
    storage.register(app).await.unwrap();
    let oauth = AuthorizationServer::builder(ISSUER)
        .storage(storage)
        .scope("user:read", "Read your profile")
        .clock(clock.clone())
        .client_signatures(ClientSignatures::new())
        .build()
        .await
        .unwrap();
    let mut successes = 0;
    for round in 0..5 {
        let now = clock.now().unix_timestamp();
        let claims = json!({ "iss": "app", "sub": "app", "aud": ISSUER, "exp": now + 60, "jti": round.to_string() });
        let text = sign(&key, header(&key, TYP), claims).await;
        let start = Arc::new(Barrier::new(RUNNERS));
        let mut runners = tokio::task::JoinSet::new();
        for _ in 0..RUNNERS {
            let (oauth, request, start) = (oauth.clone(), by_assertion(&text), Arc::clone(&start));
            runners.spawn(async move {
                start.wait().await;
                oauth.token(&request).await.status()
            });
        }
        let statuses = runners.join_all().await;
        assert!(statuses.iter().all(|status| matches!(status, 200 | 401)), "{statuses:?}");
        successes += statuses.iter().filter(|status| **status == 200).count();
    }
    successes
}

// covers: JB-08 (RFC 7523 §3), B16, B31
#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_parallel_assertions_authenticates() {
    assert_eq!(race(MemoryStorage::new()).await, 5);
}

// covers: JB-08 (RFC 7523 §3), B16, B31
#[tokio::test(flavor = "multi_thread")]
#[cfg(feature = "sqlite")]
async fn one_of_many_parallel_assertions_authenticates_with_sqlite() {
    let file = std::env::temp_dir().join(format!("grantor-assertions-{}.sqlite", std::process::id()));
    let storage = grantor::storage::SqliteStorage::open(&file).await.unwrap();
    let successes = race(storage).await;
    for end in ["", "-shm", "-wal"] {
        let _ = std::fs::remove_file(format!("{}{end}", file.display()));
    }
    assert_eq!(successes, 5);
}
