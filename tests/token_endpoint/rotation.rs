//! Rotation that tolerates a lost answer: the grace window, and reuse outside of it (RFC 9700 §4.14.2).

use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex};
use std::task::{Context, Waker};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::customizer::{Issuance, IssuanceKind, TokenChanges, TokenCustomizer};
use grantor::policy::Rotation;
use grantor::record::Spent;
use grantor::secret::Seed;
use grantor::storage::{GrantPage, GrantSelector};
use grantor::testing::{Fault, TestClient, TestServer};
use grantor::{
    AccessToken, ClientRegistry, ClientStore, Clock, Error, Event, EventKind, MemoryStorage, Observer, Policy,
    RefreshToken, Request, Storage, TokenResponse,
};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::Sha256;
use time::Duration;
use tokio::sync::Semaphore;

use crate::common::{basic, token, token_as};
use crate::support::{
    CB, access_token, bad_grant, granted, lives, public, refresh, refresh_of, refused, refused_for, restarted, row,
    rows, spied, tokens_of,
};

const GRACE: Duration = Duration::seconds(30);
const TICK: Duration = Duration::microseconds(1);

fn refresh_with_scope(app: &TestClient, token: &str, scope: &str) -> Request {
    token_as(app, &[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)])
}

fn refresh_in(body: &Value) -> RefreshToken {
    RefreshToken::new(body["refresh_token"].as_str().expect("a refresh token"))
}

async fn spent(t: &TestServer, token: &RefreshToken) -> Spent {
    row(t, token.hash()).await.0.spent.clone().expect("a spent token")
}

async fn seed(t: &TestServer, token: &RefreshToken) -> Option<Seed> {
    spent(t, token).await.seed
}

/// The first tokens of a new grant, and the response to the refresh that spent them.
async fn refreshed(t: &TestServer, app: &TestClient) -> (TokenResponse, Value) {
    let first = tokens_of(t, app).await;
    let answer = granted(t, &refresh(app, refresh_of(&first).expose())).await;
    (first, answer)
}

/// A customizer that takes a permit for each redemption of this kind, as a service that hangs.
#[derive(Clone)]
struct Hanging(Arc<Semaphore>, IssuanceKind);

#[async_trait]
impl TokenCustomizer for Hanging {
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        if issuance.kind == self.1 {
            self.0.acquire().await.unwrap().forget();
        }
        Ok(TokenChanges::new())
    }
}

fn is_pending<F: Future>(future: Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

// Regression: the grace window began with the request. A refresh that took longer than the window left none, and the
// client that repeated it after its timeout lost its grant.
#[tokio::test]
async fn grace_window_begins_after_a_slow_issuance() {
    let hanging = Hanging(Arc::new(Semaphore::new(0)), IssuanceKind::Refresh);
    let t = TestServer::with(|builder| builder.token_customizer(hanging.clone()));
    let app = t.public_client(CB).await;
    let first = tokens_of(&t, &app).await;
    let token = refresh_of(&first);
    let mut slow = pin!(t.refresh(&app, token));
    let mut parallel = pin!(t.refresh(&app, token));
    let mut repeated = pin!(t.refresh(&app, token));
    assert!(is_pending(slow.as_mut()) && is_pending(parallel.as_mut()));
    t.clock.advance(GRACE + TICK);
    assert!(is_pending(repeated.as_mut()));
    hanging.0.add_permits(3);
    let answer = slow.await.unwrap();
    let same = answer.access_token.expose();
    assert_eq!(parallel.await.unwrap().access_token.expose(), same, "it lost the race");
    assert_eq!(repeated.await.unwrap().access_token.expose(), same, "it lost the race");

    t.clock.advance(GRACE - TICK);
    assert_eq!(t.refresh(&app, token).await.unwrap().access_token.expose(), same);
    t.clock.advance(TICK);
    assert!(t.refresh(&app, token).await.is_err());
    assert_eq!(t.events.count("refresh_token_reused"), 1);
}

#[tokio::test]
async fn token_that_expires_during_issuance_is_redeemed() {
    for (kind, almost) in [
        (IssuanceKind::AuthorizationCode, Duration::seconds(59)),
        (IssuanceKind::Refresh, Duration::days(14) - Duration::SECOND),
    ] {
        let hanging = Hanging(Arc::new(Semaphore::new(0)), kind);
        let t = TestServer::with(|builder| builder.token_customizer(hanging.clone()));
        let app = t.public_client(CB).await;
        let approved = t.authorize(&app).scope("user:read offline_access").approve_as("alice").await;
        if kind == IssuanceKind::AuthorizationCode {
            t.clock.advance(almost);
            let mut slow = pin!(approved.redeem());
            assert!(is_pending(slow.as_mut()));
            t.clock.advance(Duration::MINUTE);
            hanging.0.add_permits(1);
            let tokens = slow.await.expect("the code was valid when the request arrived");
            assert!(t.refresh(&app, refresh_of(&tokens)).await.is_ok());
        } else {
            let first = approved.redeem().await.unwrap();
            t.clock.advance(almost);
            let mut slow = pin!(t.refresh(&app, refresh_of(&first)));
            assert!(is_pending(slow.as_mut()));
            t.clock.advance(Duration::MINUTE);
            hanging.0.add_permits(2);
            let tokens = slow.await.expect("the token was valid when the request arrived");
            assert!(t.refresh(&app, refresh_of(&tokens)).await.is_ok());
        }
    }
}

// Regression: a request that lost the race for a code measured the age of the redemption from its own start.
#[tokio::test]
async fn parallel_slow_code_redemption_is_a_tolerated_repeat() {
    let hanging = Hanging(Arc::new(Semaphore::new(0)), IssuanceKind::AuthorizationCode);
    let t = TestServer::with(|builder| {
        let mut policy = Policy::default();
        policy.tolerate_repeated_codes = true;
        builder.policy(policy).token_customizer(hanging.clone())
    });
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).scope("user:read").approve_as("alice").await;
    let mut slow = pin!(approved.redeem());
    let mut parallel = pin!(approved.redeem());
    assert!(is_pending(slow.as_mut()) && is_pending(parallel.as_mut()));
    t.clock.advance(Duration::seconds(11));
    hanging.0.add_permits(2);
    let tokens = slow.await.unwrap();
    assert!(parallel.await.is_err());
    assert_eq!(t.events.count("code_repeated"), 1);
    assert!(t.bearer(&tokens.access_token).await.is_ok());
}

// covers: GR-11 (RFC 6749 §6), GR-12 (RFC 9700 §2.2.2), GR-22 (RFC 6749 §10.4)
#[tokio::test]
async fn refresh_replaces_and_spends_the_token_in_one_step() {
    let (t, spy) = spied(|_| {}).await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let first = tokens_of(&t, &app).await;
        spy.writes();
        let answer = granted(&t, &refresh(&app, refresh_of(&first).expose())).await;
        assert_eq!(spy.writes(), ["redeem"]);
        assert_ne!(answer["refresh_token"], refresh_of(&first).expose());
        assert_ne!(answer["access_token"], first.access_token.expose());
        assert_eq!(spent(&t, refresh_of(&first)).await.at, t.clock.now());
        let (successor, _) = row(&t, refresh_in(&answer).hash()).await;
        assert_eq!(successor.parent, Some(refresh_of(&first).hash()));
        assert!(lives(&t, &first.access_token).await, "a refresh ends no access token");
    }
}

// covers: GR-15 (RFC 9700 §4.14.2), B20
#[tokio::test]
async fn refresh_reuse_within_grace_gets_the_same_successors() {
    let (t, spy) = spied(|_| {}).await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let (first, answer) = refreshed(&t, &app).await;
        let hashes = [refresh_of(&first).hash(), refresh_in(&answer).hash(), access_token(&answer).hash()];
        let before = rows(&t, &hashes).await;
        let (issued, repeated) = (t.events.count("tokens_issued"), t.events.count("refresh_repeated"));
        spy.writes();
        let mut elapsed = Duration::ZERO;
        for (step, counts) in
            [(Duration::ZERO, "insert"), (Duration::seconds(10), "replace"), (Duration::seconds(20) - TICK, "replace")]
        {
            t.clock.advance(step);
            elapsed += step;
            let again = granted(&t, &refresh(&app, refresh_of(&first).expose())).await;
            for member in ["access_token", "refresh_token", "scope", "token_type"] {
                assert_eq!(again[member], answer[member], "{member} after {elapsed}");
            }
            // The rest of the hour, in whole seconds.
            assert_eq!(again["expires_in"], (Duration::HOUR - elapsed).whole_seconds());
            assert_eq!(spy.writes(), [counts], "a repeat writes only the count of repeats");
        }
        assert_eq!(rows(&t, &hashes).await, before, "no lifetime is extended");
        assert_eq!(t.events.count("tokens_issued"), issued);
        assert_eq!(t.events.count("refresh_repeated"), repeated + 3, "each retry causes an event");
        assert!(lives(&t, &access_token(&answer)).await);
        granted(&t, &refresh(&app, refresh_in(&answer).expose())).await;
    }
}

// covers: TF-04 (RFC 6749 §10.4), B42
#[tokio::test]
async fn successors_are_derived_from_seed_and_presented_token() {
    let (t, app) = public().await;
    let (first, answer) = refreshed(&t, &app).await;
    let seed = seed(&t, refresh_of(&first)).await.expect("a seed");
    for (member, label) in [("access_token", b"grantor/1/a\0"), ("refresh_token", b"grantor/1/r\0")] {
        // Nodes of different versions run together during a deployment, so the derivation must never change silently.
        let mut mac = Hmac::<Sha256>::new_from_slice(seed.expose()).unwrap();
        mac.update(label);
        mac.update(refresh_of(&first).expose().as_bytes());
        let tag = mac.finalize().into_bytes();
        assert_eq!(answer[member], URL_SAFE_NO_PAD.encode(tag), "{member}");
    }
    let (_, other) = refreshed(&t, &app).await;
    assert_ne!(other["access_token"], answer["access_token"]);
}

// covers: GR-13 (RFC 9700 §4.14.2), GR-14 (OAuth 2.1 §4.3.1), AMB-26
#[tokio::test]
async fn refresh_reuse_after_grace_revokes_grant() {
    let (t, spy) = spied(|_| {}).await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let (first, answer) = refreshed(&t, &app).await;
        let bystander = tokens_of(&t, &app).await;
        let reused = t.events.count("refresh_token_reused");
        t.clock.advance(GRACE - TICK);
        granted(&t, &refresh(&app, refresh_of(&first).expose())).await;
        assert!(lives(&t, &access_token(&answer)).await);
        spy.writes();
        t.clock.advance(TICK);
        bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "RefreshTokenReused").await;
        assert_eq!(spy.writes(), ["revoke_grants"]);
        assert_eq!(t.events.count("refresh_token_reused"), reused + 1);
        for token in [&first.access_token, &access_token(&answer)] {
            assert!(!lives(&t, token).await);
        }
        bad_grant(&t, &refresh(&app, refresh_in(&answer).expose()), "GrantEnded").await;
        assert!(lives(&t, &bystander.access_token).await, "the other grant is not affected");
        granted(&t, &refresh(&app, refresh_of(&bystander).expose())).await;
    }
}

// covers: B21, GR-13 (RFC 9700 §4.14.2)
#[tokio::test]
async fn use_of_a_successor_ends_the_grace_window() {
    let (t, app) = public().await;
    let (first, second) = refreshed(&t, &app).await;
    assert!(seed(&t, refresh_of(&first)).await.is_some());
    let third = granted(&t, &refresh(&app, refresh_in(&second).expose())).await;
    assert!(seed(&t, refresh_of(&first)).await.is_none(), "at most one seed lives per family");
    assert!(seed(&t, &refresh_in(&second)).await.is_some());
    // The parent of the last token may still be repeated; its grandparent may not.
    assert_eq!(
        granted(&t, &refresh(&app, refresh_in(&second).expose())).await["refresh_token"],
        third["refresh_token"]
    );
    bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "RefreshTokenReused").await;
    assert!(!lives(&t, &access_token(&third)).await);
    bad_grant(&t, &refresh(&app, refresh_in(&third).expose()), "GrantEnded").await;
}

// covers: GR-13 (RFC 9700 §4.14.2)
#[tokio::test]
async fn spent_token_is_recognised_after_expiry() {
    let (t, app) = public().await;
    let first = tokens_of(&t, &app).await;
    t.clock.advance(Duration::days(13));
    let second = t.refresh(&app, refresh_of(&first)).await.unwrap();
    t.clock.advance(Duration::days(13));
    let third = t.refresh(&app, refresh_of(&second)).await.unwrap();
    assert!(row(&t, refresh_of(&first).hash()).await.0.expires_at < t.clock.now());
    bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "RefreshTokenReused").await;
    assert!(!lives(&t, &third.access_token).await);
}

// covers: B21, B25
#[tokio::test]
async fn retry_with_narrower_or_unknown_scope_is_refused() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    let first = tokens_of(&t, &app).await;
    let old = refresh_of(&first).expose();
    let answer = granted(&t, &refresh_with_scope(&app, old, "user:read user:write")).await;
    spy.writes();
    for scope in ["user:read", "user:read offline_access"] {
        bad_grant(&t, &refresh_with_scope(&app, old, scope), "RetryRefused").await;
    }
    // A scope that the grant does not have is refused as for an unspent token.
    for (scope, reason) in [("user:read no-such-scope", "ScopeExceedsGrant"), ("mal\tformed", "MalformedScope")] {
        refused_for(&t, &refresh_with_scope(&app, old, scope), 400, "invalid_scope", reason).await;
    }
    assert!(spy.writes().is_empty());
    // The same scope in another order, with extra spaces, is the same request. A wider request gets the first answer.
    for scope in [" user:write  user:read ", "user:read user:write offline_access"] {
        let again = granted(&t, &refresh_with_scope(&app, old, scope)).await;
        assert_eq!((&again["access_token"], &again["scope"]), (&answer["access_token"], &answer["scope"]));
    }
    assert_eq!(granted(&t, &refresh(&app, old)).await["access_token"], answer["access_token"]);
    assert!(lives(&t, &access_token(&answer)).await);
    granted(&t, &refresh(&app, refresh_in(&answer).expose())).await;
}

/// A thief who refreshes for a part of the scope, or revokes the access token, must not lock the client out unnoticed.
// covers: B21
#[tokio::test]
async fn thief_within_grace_cannot_take_over_the_grant_unnoticed() {
    let (t, app) = public().await;
    // The thief asks for a part of the scope. The client gets the same successor, so the next reuse reveals the thief.
    let first = tokens_of(&t, &app).await;
    let old = refresh_of(&first).expose();
    let stolen = granted(&t, &refresh_with_scope(&app, old, "user:read")).await;
    let client = granted(&t, &refresh(&app, old)).await;
    assert_eq!((&client["refresh_token"], &client["scope"]), (&stolen["refresh_token"], &stolen["scope"]));
    let next = granted(&t, &refresh(&app, refresh_in(&stolen).expose())).await;
    t.clock.advance(GRACE);
    bad_grant(&t, &refresh(&app, refresh_in(&client).expose()), "RefreshTokenReused").await;
    assert!(!lives(&t, &access_token(&next)).await);

    // The thief revokes the access token. The client's refresh then counts as reuse, and ends the grant for both.
    let first = tokens_of(&t, &app).await;
    let old = refresh_of(&first).expose();
    let stolen = granted(&t, &refresh(&app, old)).await;
    let access = access_token(&stolen);
    let revocation = grantor::RevocationRequest::access_token(&access).parameter("client_id", app.id.clone());
    t.server.revocation_request(&revocation).await.unwrap();
    bad_grant(&t, &refresh(&app, old), "RefreshTokenReused").await;
    assert_eq!(t.events.names().iter().filter(|name| **name == "refresh_token_reused").count(), 2);
    bad_grant(&t, &refresh(&app, refresh_in(&stolen).expose()), "GrantEnded").await;
}

#[tokio::test]
async fn clock_skew_below_grace_is_tolerated() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    let (first, answer) = refreshed(&t, &app).await;
    let request = refresh(&app, refresh_of(&first).expose());
    spy.writes();
    // A node whose clock is behind.
    t.clock.advance(-(GRACE - TICK));
    assert_eq!(granted(&t, &request).await["access_token"], answer["access_token"]);
    spy.writes();
    t.clock.advance(-TICK);
    bad_grant(&t, &request, "SpentInTheFuture").await;
    t.clock.advance(-Duration::HOUR);
    bad_grant(&t, &request, "SpentInTheFuture").await;
    assert!(spy.writes().is_empty(), "nothing was revoked");
    t.clock.advance(Duration::HOUR + GRACE);
    assert!(lives(&t, &access_token(&answer)).await);
    assert_eq!(granted(&t, &request).await["access_token"], answer["access_token"]);
}

// covers: B21
#[tokio::test]
async fn revocation_ends_the_grace_window() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    // Revoking the grant ends the grace window.
    let (first, answer) = refreshed(&t, &app).await;
    let grant = row(&t, refresh_of(&first).hash()).await.1.id;
    t.storage.revoke_grants(&GrantSelector::Id(grant), t.clock.now()).await.unwrap();
    bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "GrantEnded").await;
    assert!(!lives(&t, &access_token(&answer)).await);
    // So does revoking the access token that a retry would return again, because another holder may have revoked it.
    let (first, answer) = refreshed(&t, &app).await;
    t.storage.revoke_access_token(&access_token(&answer).hash(), t.clock.now()).await.unwrap();
    spy.writes();
    bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "RefreshTokenReused").await;
    assert_eq!(spy.writes().len(), 1, "the grant is revoked");
    assert!(!lives(&t, &access_token(&answer)).await);
    bad_grant(&t, &refresh(&app, refresh_in(&answer).expose()), "GrantEnded").await;
}

// covers: B19
#[tokio::test]
async fn foreign_client_can_neither_repeat_refresh_nor_end_grant() {
    let (t, spy) = spied(|_| {}).await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let others = [t.public_client(CB).await, t.confidential_client(CB).await];
        let (first, answer) = refreshed(&t, &app).await;
        let hashes = [refresh_of(&first).hash(), refresh_in(&answer).hash()];
        let before = rows(&t, &hashes).await;
        let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&first).expose())];
        spy.writes();
        for wait in [Duration::ZERO, Duration::HOUR] {
            t.clock.advance(wait);
            for other in &others {
                bad_grant(&t, &token_as(other, &pairs), "ForeignToken").await;
            }
            refused(&t, &token(&pairs), 401, "invalid_client").await;
            let wrong_secret = token(&pairs).with_header("authorization", basic(&app.id, "not-the-secret"));
            refused(&t, &wrong_secret, 401, "invalid_client").await;
        }
        assert!(spy.writes().is_empty());
        assert_eq!(rows(&t, &hashes).await, before);
        granted(&t, &refresh(&app, refresh_in(&answer).expose())).await;
    }
}

// covers: AMB-26, GR-13 (RFC 9700 §4.14.2)
#[tokio::test]
async fn refresh_reuse_without_grace_revokes_and_keeps_no_seed() {
    let t = TestServer::with_policy(|policy| policy.refresh_grace = Duration::ZERO);
    let app = t.public_client(CB).await;
    let (first, answer) = refreshed(&t, &app).await;
    assert!(seed(&t, refresh_of(&first)).await.is_none());
    bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "RefreshTokenReused").await;
    assert!(!lives(&t, &access_token(&answer)).await);
}

#[tokio::test]
async fn client_grace_window_never_outlives_repeated_tokens() {
    let t = TestServer::new();
    for (grace, access_lifetime, window) in [
        (Some(Duration::ZERO), None, Duration::ZERO),
        (Some(Duration::seconds(5)), None, Duration::seconds(5)),
        (Some(Duration::MINUTE), None, Duration::MINUTE),
        (None, None, GRACE),
        (None, Some(Duration::seconds(10)), Duration::seconds(10)),
    ] {
        let app = t
            .confidential_client_with(|client| {
                let client =
                    client.authorization_code([CB]).refresh_token().scope("user:read user:write offline_access");
                client.lifetimes(|own| {
                    own.refresh_grace = grace;
                    own.access_token = access_lifetime;
                })
            })
            .await;
        let (first, answer) = refreshed(&t, &app).await;
        let request = refresh(&app, refresh_of(&first).expose());
        if window.is_positive() {
            // A token with less than a second left is not repeated.
            let before = if access_lifetime.is_some() { Duration::SECOND } else { TICK };
            t.clock.advance(window - before);
            assert_eq!(granted(&t, &request).await["access_token"], answer["access_token"], "{window}");
            t.clock.advance(before);
        }
        bad_grant(&t, &request, "RefreshTokenReused").await;
    }
}

#[tokio::test]
async fn repeat_never_returns_an_expired_access_token() {
    let (t, spy) = spied(|_| {}).await;
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().scope("user:read user:write offline_access");
            client.lifetimes(|own| own.access_token = Some(Duration::seconds(10)))
        })
        .await;
    let (first, answer) = refreshed(&t, &app).await;
    // With the longer lifetime, the grace window is 30 seconds again, but the earlier access token still ends after 10.
    crate::support::change_client(&t, &app, |parts| parts.lifetimes.access_token = None).await;
    t.clock.advance(Duration::seconds(10));
    spy.writes();
    bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "RetryRefused").await;
    assert!(spy.writes().is_empty());
    granted(&t, &refresh(&app, refresh_in(&answer).expose())).await;
}

// covers: B21, B20
#[tokio::test]
async fn repeat_racing_its_successor_is_refused_not_revoked() {
    let mut t = TestServer::new();
    let app = t.public_client(CB).await;
    let (first, answer) = refreshed(&t, &app).await;
    // The state that the retry has read, and the rows after the successor was used.
    let (spent_with_seed, _) = row(&t, refresh_of(&first).hash()).await;
    granted(&t, &refresh(&app, refresh_in(&answer).expose())).await;
    let (successor, grant) = row(&t, refresh_in(&answer).hash()).await;
    let (access, _) = row(&t, access_token(&answer).hash()).await;
    let halfway = MemoryStorage::new();
    let client = t.storage.find_client(&app.id).await.unwrap().unwrap();
    halfway.register((*client).clone()).await.unwrap();
    assert_eq!(
        halfway
            .open_grant(&grant, &[(*spent_with_seed).clone(), (*successor).clone(), (*access).clone()])
            .await
            .unwrap(),
        grantor::storage::Opened::Done
    );
    t.server = restarted(&t, halfway.clone(), Policy::default()).await;
    bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "RetryRefused").await;
    let grant = halfway.find(&refresh_of(&first).hash()).await.unwrap().unwrap().grant;
    assert!(grant.revoked_at.is_none());
}

#[tokio::test]
async fn closed_grace_window_applies_to_tokens_spent_before() {
    let (t, app) = public().await;
    let (first, _) = refreshed(&t, &app).await;
    crate::support::change_client(&t, &app, |parts| parts.lifetimes.refresh_grace = Some(Duration::ZERO)).await;
    bad_grant(&t, &refresh(&app, refresh_of(&first).expose()), "RefreshTokenReused").await;
}

#[tokio::test]
async fn purge_erases_seeds_spent_over_a_minute_ago_only() {
    let t = TestServer::with_policy(|policy| policy.refresh_grace = Duration::MINUTE);
    let app = t.public_client(CB).await;
    let (first, _) = refreshed(&t, &app).await;
    t.storage.purge_expired(t.clock.now() + Duration::seconds(59), 100).await.unwrap();
    assert!(seed(&t, refresh_of(&first)).await.is_some(), "the window is still open");
    t.storage.purge_expired(t.clock.now() + Duration::seconds(61), 100).await.unwrap();
    assert!(seed(&t, refresh_of(&first)).await.is_none());
}

// covers: GR-11 (RFC 6749 §6)
#[tokio::test]
async fn confidential_client_keeps_token_if_only_public_rotate() {
    let t = TestServer::with_policy(|policy| policy.refresh_token_rotation = Rotation::PublicClients);
    let app = t.confidential_client(CB).await;
    let first = tokens_of(&t, &app).await;
    let request = refresh(&app, refresh_of(&first).expose());
    let mut seen = vec![first.access_token.expose().to_owned()];
    for _ in 0..3 {
        let answer = granted(&t, &request).await;
        assert!(answer.get("refresh_token").is_none(), "{answer}");
        assert!(
            !seen.contains(&answer["access_token"].as_str().unwrap().to_owned()),
            "each use gives a new access token"
        );
        seen.push(answer["access_token"].as_str().unwrap().to_owned());
        assert!(row(&t, refresh_of(&first).hash()).await.0.spent.is_none());
        t.clock.advance(Duration::MINUTE);
    }
    for token in seen {
        assert!(lives(&t, &AccessToken::new(token)).await);
    }
    assert_eq!(t.events.count("refresh_token_reused"), 0);

    let public = t.public_client(CB).await;
    let (first, answer) = refreshed(&t, &public).await;
    assert!(answer["refresh_token"].is_string());
    t.clock.advance(GRACE);
    bad_grant(&t, &refresh(&public, refresh_of(&first).expose()), "RefreshTokenReused").await;
}

// covers: GR-16 (RFC 9700 §4.14.2)
#[tokio::test]
async fn unrotated_token_idles_from_last_use_and_ends_with_grant() {
    let t = TestServer::with_policy(|policy| policy.refresh_token_rotation = Rotation::PublicClients);
    let app = t.confidential_client(CB).await;
    let first = tokens_of(&t, &app).await;
    let request = refresh(&app, refresh_of(&first).expose());
    for _ in 0..2 {
        t.clock.advance(Duration::days(14) - TICK);
        granted(&t, &request).await;
    }
    let which = GrantSelector::Subject(grantor::Subject::new("alice").unwrap());
    t.clock.advance(Duration::days(14) - TICK);
    assert_eq!(t.server.list_grants(&which, &GrantPage::first(9)).await.unwrap().len(), 1);
    t.clock.advance(TICK);
    bad_grant(&t, &request, "GrantEnded").await;
    assert!(
        t.server.list_grants(&which, &GrantPage::first(9)).await.unwrap().is_empty(),
        "a grant that can't be used is not listed as connected"
    );

    let second = tokens_of(&t, &app).await;
    let request = refresh(&app, refresh_of(&second).expose());
    for _ in 0..8 {
        t.clock.advance(Duration::days(11));
        granted(&t, &request).await;
    }
    t.clock.advance(Duration::days(2) - Duration::minutes(20));
    assert_eq!(granted(&t, &request).await["expires_in"], 20 * 60, "no token outlives the grant's ninety days");
    t.clock.advance(Duration::minutes(20));
    bad_grant(&t, &request, "GrantEnded").await;
}

// covers: GR-13 (RFC 9700 §4.14.2)
#[tokio::test]
async fn refresh_reuse_retries_a_failed_revocation() {
    for (fault, status, error) in
        [(Fault::Failed, 500, "server_error"), (Fault::Unavailable, 503, "temporarily_unavailable")]
    {
        let (t, app) = public().await;
        let (first, answer) = refreshed(&t, &app).await;
        t.clock.advance(GRACE);
        let request = refresh(&app, refresh_of(&first).expose());
        // Calls 1 and 2 look up the client and the token. Call 3 revokes.
        t.faults.fail(3, fault);
        refused(&t, &request, status, error).await;
        assert_eq!(t.events.count("refresh_token_reused"), 0, "a failed revocation is not reported as done");
        assert!(lives(&t, &access_token(&answer)).await);
        bad_grant(&t, &request, "RefreshTokenReused").await;
        assert!(!lives(&t, &access_token(&answer)).await);
    }
}

#[tokio::test]
async fn ambiguous_refresh_commit_succeeds_on_second_attempt() {
    let (t, app) = public().await;
    let first = tokens_of(&t, &app).await;
    let request = refresh(&app, refresh_of(&first).expose());
    t.faults.fail(3, Fault::LostAnswer);
    refused(&t, &request, 503, "temporarily_unavailable").await;
    assert!(row(&t, refresh_of(&first).hash()).await.0.spent.is_some(), "the token was spent anyway");
    let answer = granted(&t, &request).await;
    assert!(lives(&t, &access_token(&answer)).await);
    granted(&t, &refresh(&app, refresh_in(&answer).expose())).await;
    assert_eq!(t.events.count("refresh_token_reused"), 0);
}

#[tokio::test]
async fn refresh_tokens_are_numbered_within_their_family() {
    let (t, app) = public().await;
    let mut tokens = tokens_of(&t, &app).await;
    for number in 1..=3 {
        let (access, _) = row(&t, tokens.access_token.hash()).await;
        let (refresh, _) = row(&t, refresh_of(&tokens).hash()).await;
        assert_eq!((refresh.details.number, access.details.number), (Some(number), None));
        let next = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
        let (refresh, _) = row(&t, refresh_of(&tokens).hash()).await;
        let spent = refresh.spent.as_ref().unwrap();
        assert_eq!(spent.seed_until, Some(spent.at + Duration::MINUTE));
        tokens = next;
    }
}

/// Records the count of each repeated refresh, and whether it came from another peer.
#[derive(Clone, Default)]
struct Repeats(Arc<Mutex<Vec<(u64, &'static str)>>>);

impl Observer for Repeats {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::RefreshRepeated { count, from, .. } = &event.kind {
            self.0.lock().unwrap().push((*count, from.as_str()));
        }
    }
}

// The peer helps to distinguish a thief from a client that lost an answer.
#[tokio::test]
async fn repeat_reports_its_count_and_a_different_peer() {
    let repeats = Repeats::default();
    let t = TestServer::with(|builder| builder.observer(repeats.clone()));
    let app = t.public_client(CB).await;
    let (here, elsewhere) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
    let mapped: IpAddr = "::ffff:192.0.2.1".parse().unwrap();
    let refresh_from = async |token: &RefreshToken, peer: Option<IpAddr>| {
        let request = refresh(&app, token.expose());
        refresh_in(&granted(&t, &peer.into_iter().fold(request, Request::with_peer)).await)
    };
    let first = tokens_of(&t, &app).await;
    let second = refresh_from(refresh_of(&first), Some(here)).await;
    for peer in [Some(here), Some(elsewhere), Some(mapped), None] {
        refresh_from(refresh_of(&first), peer).await;
    }
    // The count continues with the next token of the grant. Another grant has its own count.
    refresh_from(&second, None).await;
    refresh_from(&second, Some(elsewhere)).await;
    let other = tokens_of(&t, &app).await;
    refresh_from(refresh_of(&other), Some(here)).await;
    refresh_from(refresh_of(&other), Some(elsewhere)).await;
    let seen = repeats.0.lock().unwrap().clone();
    let expected = [(1, "same_peer"), (2, "other_peer"), (3, "same_peer"), (4, "unknown"), (5, "unknown")];
    assert_eq!(seen, [&expected[..], &[(1, "other_peer")]].concat());
}

#[tokio::test]
async fn peer_mark_differs_between_grants_and_hides_the_address() {
    let (t, app) = public().await;
    let peer = IpAddr::from([192, 0, 2, 1]);
    let mut marks = Vec::new();
    for _ in 0..2 {
        let tokens = tokens_of(&t, &app).await;
        let answer = granted(&t, &refresh(&app, refresh_of(&tokens).expose()).with_peer(peer)).await;
        let (row, _) = row(&t, access_token(&answer).hash()).await;
        let details = serde_json::to_value(&row.details).unwrap();
        let mark = details["peer_mark"].as_str().unwrap().to_owned();
        assert!(!details.to_string().contains("192.0.2.1"), "{details}");
        marks.push(mark);
    }
    assert_ne!(marks[0], marks[1], "the marks of two grants with the same peer differ");
    let without = t.refresh(&app, refresh_of(&tokens_of(&t, &app).await)).await.unwrap();
    let (row, _) = row(&t, without.access_token.hash()).await;
    assert!(serde_json::to_value(&row.details).unwrap().get("peer_mark").is_none());
}

#[tokio::test]
async fn repeat_whose_count_fails_in_storage_is_an_error() {
    let (t, app) = public().await;
    let (first, answer) = refreshed(&t, &app).await;
    let request = refresh(&app, refresh_of(&first).expose());
    // Calls 1 to 4 look up the client, the token and its two successors.
    for (call, fault) in [(5, Fault::Unavailable), (6, Fault::LostAnswer)] {
        t.faults.fail(call, fault);
        refused(&t, &request, 503, "temporarily_unavailable").await;
    }
    t.faults.clear();
    assert_eq!(granted(&t, &request).await["access_token"], answer["access_token"]);
}
