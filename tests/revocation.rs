//! The revocation endpoint (RFC 7009).

use std::sync::Arc;

use grantor::client::{ClientBuilder, RegisteredBy};
use grantor::record::TokenKind;
use grantor::secret::TokenHash;
use grantor::testing::{Fault, TestClient, TestServer};
use grantor::{
    AccessToken, Error, Grant, RefreshToken, Refusal, Request, RevocationRequest, Storage, StoredToken, TokenRequest,
    TokenResponse,
};
use time::Duration;

#[path = "common/mod.rs"]
mod common;
#[path = "common/token_sent.rs"]
mod token_sent;
use common::{CB, basic, confidential, json, public, text};
use token_sent::{Endpoint, refresh_of, tokens_of};

const REVOKE: Endpoint = Endpoint("/revoke");

/// Sends a request that must succeed: 200, an empty JSON object, `no-store`.
async fn revoked(t: &TestServer, request: &Request) {
    let response = t.server.revoke(request).await;
    assert_eq!(response.status(), 200, "{}", text(&response));
    // A popular client library parses the body of every response as JSON.
    assert_eq!(text(&response), "{}");
    let headers: Vec<_> = response.headers().collect();
    let not_stored = [("cache-control", "no-store"), ("pragma", "no-cache")];
    assert_eq!(headers, [&not_stored[..], &[("content-type", "application/json")]].concat());
}

async fn row(t: &TestServer, hash: TokenHash) -> (Arc<StoredToken>, Arc<Grant>) {
    let found = t.storage.find(&hash).await.unwrap().expect("a stored token");
    (found.token, found.grant)
}

/// The hash of a token of any kind.
fn hash_of(token: &str) -> TokenHash {
    AccessToken::new(token).hash()
}

async fn lives(t: &TestServer, token: &AccessToken) -> bool {
    match t.bearer(token).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code().unwrap(), "invalid_token");
            false
        }
    }
}

/// Asserts that neither the access token nor the refresh token works.
async fn assert_dead(t: &TestServer, client: &TestClient, tokens: &TokenResponse) {
    assert!(!lives(t, &tokens.access_token).await);
    let refused = t.refresh(client, refresh_of(tokens)).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(&Refusal::GrantEnded));
    assert_eq!(refused.code(), "invalid_grant");
}

// covers: RV-01 (RFC 7009 §2), RV-09 (RFC 7009 §2.2), RV-10 (RFC 7009 §2.1), RV-13 (RFC 7009 §2.1), B23
#[tokio::test]
async fn refresh_token_revocation_ends_its_whole_grant_only() {
    let t = TestServer::new();
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let other = tokens_of(&t, &app).await;
        let first = tokens_of(&t, &app).await;
        let second = t.refresh(&app, refresh_of(&first)).await.unwrap();
        let before = t.events.events().len();
        revoked(&t, &REVOKE.request_by(&app, &[("token", refresh_of(&second).expose())])).await;
        let events = t.events.events();
        assert_eq!(events[before..].iter().map(|event| event.name).collect::<Vec<_>>(), ["token_revoked"]);
        assert!(events[before].text.contains("RefreshToken") && events[before].text.contains(&app.id));

        assert_dead(&t, &app, &second).await;
        assert!(!lives(&t, &first.access_token).await, "the access token that was issued before is dead too");
        let (_, grant) = row(&t, refresh_of(&second).hash()).await;
        assert_eq!(grant.revoked_at, Some(grantor::Clock::now(&t.clock)));
        assert!(lives(&t, &other.access_token).await, "a different grant of the same user and client");
        t.refresh(&app, refresh_of(&other)).await.unwrap();
    }
}

// covers: RV-02 (RFC 7009 §2), RV-09 (RFC 7009 §2.2), RV-10 (RFC 7009 §2.1), RV-14 (RFC 7009 §2.1), B23
#[tokio::test]
async fn access_token_revocation_keeps_the_grant() {
    let (t, app) = confidential().await;
    let first = tokens_of(&t, &app).await;
    let second = t.refresh(&app, refresh_of(&first)).await.unwrap();
    revoked(&t, &REVOKE.request_by(&app, &[("token", first.access_token.expose())])).await;
    assert!(!lives(&t, &first.access_token).await);
    let event = t.events.events().into_iter().rfind(|event| event.name == "token_revoked").unwrap();
    assert!(event.text.contains("AccessToken"), "{}", event.text);
    assert!(lives(&t, &second.access_token).await);
    let third = t.refresh(&app, refresh_of(&second)).await.unwrap();
    assert!(lives(&t, &third.access_token).await);
    assert_eq!(row(&t, third.access_token.hash()).await.1.revoked_at, None);
}

// covers: RV-02 (RFC 7009 §2)
#[tokio::test]
async fn machine_can_revoke_its_token() {
    let (t, machine) = confidential().await;
    let request = || TokenRequest::client_credentials().scope("user:read");
    let token = t.token_as(&machine, request()).await.unwrap().access_token;
    let other = t.token_as(&machine, request()).await.unwrap().access_token;
    revoked(&t, &REVOKE.request_by(&machine, &[("token", token.expose())])).await;
    assert!(!lives(&t, &token).await && lives(&t, &other).await);
}

// covers: RV-01 (RFC 7009 §2), B23
#[tokio::test]
async fn old_refresh_token_still_revokes_its_grant() {
    // Within the grace window, after it, and after the old token has expired by itself.
    for later in [Duration::ZERO, Duration::minutes(5), Duration::days(15)] {
        let (t, app) = public().await;
        let first = tokens_of(&t, &app).await;
        t.clock.advance(Duration::days(1));
        let second = t.refresh(&app, refresh_of(&first)).await.unwrap();
        t.clock.advance(later.min(Duration::days(13)));
        let third = t.refresh(&app, refresh_of(&second)).await.unwrap();
        t.clock.advance((later - Duration::days(13)).max(Duration::ZERO));
        let oldest = row(&t, refresh_of(&first).hash()).await.0;
        assert!(oldest.spent.is_some());
        assert_eq!(oldest.expires_at <= grantor::Clock::now(&t.clock), later == Duration::days(15));
        revoked(&t, &REVOKE.request_by(&app, &[("token", refresh_of(&first).expose())])).await;
        assert_dead(&t, &app, &third).await;
        assert_eq!(t.events.count("refresh_token_reused"), 0, "a revocation does not count as reuse");
    }
}

// covers: RV-11 (RFC 7009 §2.1), RV-12 (RFC 7009 §2.2), RV-18 (RFC 7009 §5), B23
#[tokio::test]
async fn token_type_hint_changes_neither_outcome_nor_look_ups() {
    let (t, app) = confidential().await;
    for hint in [None, Some("access_token"), Some("refresh_token"), Some("foo"), Some(""), Some("authorization_code")] {
        for kind in [TokenKind::AccessToken, TokenKind::RefreshToken] {
            let tokens = tokens_of(&t, &app).await;
            let token = match kind {
                TokenKind::AccessToken => tokens.access_token.expose(),
                _ => refresh_of(&tokens).expose(),
            };
            let mut pairs = vec![("token", token)];
            pairs.extend(hint.map(|hint| ("token_type_hint", hint)));
            let calls = t.faults.calls();
            revoked(&t, &REVOKE.request_by(&app, &pairs)).await;
            assert_eq!(t.faults.calls() - calls, 3, "client, token, revocation: {kind:?}, {hint:?}");
            assert!(!lives(&t, &tokens.access_token).await, "{kind:?}, {hint:?}");
            let refreshed = t.refresh(&app, refresh_of(&tokens)).await;
            assert_eq!(refreshed.is_ok(), kind == TokenKind::AccessToken, "{kind:?}, {hint:?}");
        }
    }
}

// covers: RV-08 (RFC 7009 §2.2)
#[tokio::test]
async fn unknown_token_is_revoked_with_200_and_no_write() {
    let t = TestServer::new();
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let tokens = tokens_of(&t, &app).await;
        let changed_case = tokens.access_token.expose().to_ascii_uppercase();
        let with_space = format!("{} ", tokens.access_token.expose());
        let long = "x".repeat(4_000);
        for token in ["garbage", " ", "\u{e9}\0\n", "a.b.c", &long, &changed_case, &with_space] {
            let (calls, events) = (t.faults.calls(), t.events.events().len());
            revoked(&t, &REVOKE.request_by(&app, &[("token", token)])).await;
            assert_eq!(t.faults.calls() - calls, 2, "client and token: {token:?}");
            assert_eq!(t.events.events().len(), events, "nothing was revoked, so there is no event: {token:?}");
        }
        assert!(lives(&t, &tokens.access_token).await);
    }
}

// covers: RV-08 (RFC 7009 §2.2)
#[tokio::test]
async fn dead_token_can_be_revoked_again_with_one_event() {
    let (t, app) = confidential().await;
    let (revoked_before, expired) = (tokens_of(&t, &app).await, tokens_of(&t, &app).await);
    for (n, token) in [revoked_before.access_token.expose(), refresh_of(&revoked_before).expose()].iter().enumerate() {
        let request = REVOKE.request_by(&app, &[("token", token)]);
        revoked(&t, &request).await;
        assert_eq!(t.events.count("token_revoked"), n + 1);
        let (at, of_grant) = {
            let (token, grant) = row(&t, hash_of(token)).await;
            (token.revoked_at, grant.revoked_at)
        };
        t.clock.advance(Duration::minutes(1));
        revoked(&t, &request).await;
        let (token, grant) = row(&t, hash_of(token)).await;
        assert_eq!((token.revoked_at, grant.revoked_at), (at, of_grant), "the first revocation time stays");
        assert_eq!(t.events.count("token_revoked"), n + 1);
    }
    // A live access token dies with its grant.
    let of_dead_grant = tokens_of(&t, &app).await;
    revoked(&t, &REVOKE.request_by(&app, &[("token", refresh_of(&of_dead_grant).expose())])).await;
    revoked(&t, &REVOKE.request_by(&app, &[("token", of_dead_grant.access_token.expose())])).await;
    assert_eq!(t.events.count("token_revoked"), 3);
    t.clock.advance(Duration::days(200));
    revoked(&t, &REVOKE.request_by(&app, &[("token", expired.access_token.expose())])).await;
    revoked(&t, &REVOKE.request_by(&app, &[("token", refresh_of(&expired).expose())])).await;
    while t.purge(1_000).await.unwrap() == 1_000 {}
    assert!(t.storage.find(&expired.access_token.hash()).await.unwrap().is_none());
    revoked(&t, &REVOKE.request_by(&app, &[("token", expired.access_token.expose())])).await;
    assert_eq!(t.events.count("token_revoked"), 3, "a dead grant causes no event");
}

#[tokio::test]
async fn code_cannot_be_revoked_as_a_token() {
    let (t, app) = confidential().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let events = t.events.events().len();
    revoked(&t, &REVOKE.request_by(&app, &[("token", approved.code().expose())])).await;
    assert_eq!(t.events.events().len(), events);
    approved.redeem().await.unwrap();
}

// covers: RV-07 (RFC 7009 §2.1), RV-16 (RFC 7009 §2.2.1), AMB-19, B24
#[tokio::test]
async fn revocation_of_foreign_token_is_refused() {
    let (t, app) = confidential().await;
    let api = t.confidential_client_with(ClientBuilder::resource_server).await;
    let others = [t.confidential_client(CB).await, api];
    let tokens = tokens_of(&t, &app).await;
    for other in &others {
        for token in [tokens.access_token.expose(), refresh_of(&tokens).expose()] {
            for hint in ["access_token", "refresh_token"] {
                let request = REVOKE.request_by(other, &[("token", token), ("token_type_hint", hint)]);
                let calls = t.faults.calls();
                let response = REVOKE.refused(&t, &request, 400, "unauthorized_client", "NotYourToken").await;
                assert_eq!(t.faults.calls() - calls, 2, "client and token, and nothing was written");
                assert_eq!(json(&response)["error_description"], "the token belongs to another client");
                let event = t.events.events().pop().unwrap();
                assert!(event.text.contains(&format!("ClientId(\"{}\")", other.id)), "{}", event.text);
            }
        }
    }
    let (token, grant) = row(&t, tokens.access_token.hash()).await;
    assert_eq!((token.revoked_at, grant.revoked_at), (None, None));
    assert!(lives(&t, &tokens.access_token).await);
    let next = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    revoked(&t, &REVOKE.request_by(&app, &[("token", refresh_of(&next).expose())])).await;
    assert_dead(&t, &app, &next).await;
}

/// A client without authentication learns nothing about the tokens of other clients.
// covers: RV-08 (RFC 7009 §2.2), AMB-19, B24
#[tokio::test]
async fn foreign_token_looks_unknown_to_untrusted_client() {
    let (t, app) = confidential().await;
    let tokens = tokens_of(&t, &app).await;
    let next = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    let dead = tokens_of(&t, &app).await;
    revoked(&t, &REVOKE.request_by(&app, &[("token", refresh_of(&dead).expose())])).await;
    let own_registration = |client: ClientBuilder| {
        client.authorization_code([CB]).scope("user:read").registered_by(RegisteredBy::SelfService)
    };
    let others = [
        t.public_client(CB).await,
        t.native_client("http://127.0.0.1/cb").await,
        t.public_client_with(own_registration).await,
        t.confidential_client_with(own_registration).await,
    ];
    for other in &others {
        let unknown = REVOKE.request_by(other, &[("token", "unknown")]);
        let expected = t.server.revoke(&unknown).await.into_parts();
        for token in [
            tokens.access_token.expose(),
            refresh_of(&tokens).expose(),
            next.access_token.expose(),
            refresh_of(&next).expose(),
            dead.access_token.expose(),
            refresh_of(&dead).expose(),
        ] {
            let (calls, events) = (t.faults.calls(), t.events.events().len());
            let request = REVOKE.request_by(other, &[("token", token)]);
            assert_eq!(t.server.revoke(&request).await.into_parts(), expected);
            assert_eq!(t.faults.calls() - calls, 2, "client and token, as for an unknown token");
            assert_eq!(t.events.names()[events..], ["revocation_refused"]);
            let event = t.events.events().pop().unwrap();
            assert!(event.text.contains("NotYourToken") && event.text.contains(&other.id), "{}", event.text);
        }
    }
    assert!(lives(&t, &tokens.access_token).await && lives(&t, &next.access_token).await);
    t.refresh(&app, refresh_of(&next)).await.unwrap();
}

// covers: RV-06 (RFC 7009 §2.1), RV-16 (RFC 7009 §2.2.1), CA-26 (RFC 7009 §2.1), B24
#[tokio::test]
async fn failed_authentication_answers_like_token_endpoint() {
    let (t, app) = confidential().await;
    let tokens = tokens_of(&t, &app).await;
    REVOKE.assert_authenticates(&t, &app, &tokens).await;
    let (token, grant) = row(&t, tokens.access_token.hash()).await;
    assert_eq!((token.revoked_at, grant.revoked_at), (None, None));
    assert_eq!(t.events.count("token_revoked"), 0);
}

// covers: CA-26 (RFC 7009 §2.1)
#[tokio::test]
async fn revocation_takes_each_client_authentication_method() {
    let (t, app) = confidential().await;
    let secret = app.secret.as_ref().unwrap().expose();
    for by_header in [true, false] {
        let tokens = tokens_of(&t, &app).await;
        let pairs = [("token", refresh_of(&tokens).expose())];
        let request = if by_header {
            REVOKE.request(&pairs).with_header("authorization", basic(&app.id, secret))
        } else {
            REVOKE.request(&[&pairs[..], &[("client_id", &app.id), ("client_secret", secret)]].concat())
        };
        revoked(&t, &request).await;
        assert_dead(&t, &app, &tokens).await;
    }
}

// covers: RV-19 (RFC 7009 §5), CA-26 (RFC 7009 §2.1)
#[tokio::test]
async fn public_client_must_send_client_id() {
    let (t, app) = public().await;
    let tokens = tokens_of(&t, &app).await;
    let pairs = [("token", refresh_of(&tokens).expose())];
    let _ = REVOKE.refused(&t, &REVOKE.request(&pairs), 401, "invalid_client", "MissingClientAuthentication").await;
    let with_secret = REVOKE.request(&[&pairs[..], &[("client_id", &app.id), ("client_secret", "made-up")]].concat());
    let _ = REVOKE.refused(&t, &with_secret, 401, "invalid_client", "AuthenticationMethodNotAllowed").await;
    assert!(lives(&t, &tokens.access_token).await);
    revoked(&t, &REVOKE.request(&[&pairs[..], &[("client_id", &app.id)]].concat())).await;
    assert_dead(&t, &app, &tokens).await;
}

// covers: RV-05 (RFC 7009 §2.1), RV-16 (RFC 7009 §2.2.1), RV-20 (RFC 7009 §2.3), B36, B37, B38
#[tokio::test]
async fn only_a_posted_form_with_one_token_is_a_request() {
    let t = TestServer::with_policy(|policy| policy.max_body = 3_000);
    let app = t.confidential_client(CB).await;
    let tokens = tokens_of(&t, &app).await;
    REVOKE.assert_takes_only_forms(&t, &app, tokens.access_token.expose()).await;
    assert!(lives(&t, &tokens.access_token).await);
    assert_eq!(t.events.count("token_revoked"), 0);
    for at in 0..3 {
        let token = tokens_of(&t, &app).await.access_token;
        revoked(&t, &REVOKE.requests_with_more(&app, token.expose())[at]).await;
        assert!(!lives(&t, &token).await, "{at}");
    }
}

// covers: RV-17 (RFC 7009 §2.2.1), RV-10 (RFC 7009 §2.1)
#[tokio::test]
async fn failing_storage_never_answers_a_revocation_with_200() {
    for kind in [TokenKind::AccessToken, TokenKind::RefreshToken] {
        for step in 1..=3 {
            for (fault, status, error) in
                [(Fault::Failed, 500, "server_error"), (Fault::Unavailable, 503, "temporarily_unavailable")]
            {
                let (t, app) = confidential().await;
                let tokens = tokens_of(&t, &app).await;
                let token = match kind {
                    TokenKind::AccessToken => tokens.access_token.expose(),
                    _ => refresh_of(&tokens).expose(),
                };
                let request = REVOKE.request_by(&app, &[("token", token)]);
                t.faults.fail(step, fault);
                let response = REVOKE.refused(&t, &request, status, error, "a test made").await;
                assert!(!text(&response).contains("a test made"), "the cause is for the observer only");
                assert_eq!(t.events.count("token_revoked"), 0, "a failed revocation is not reported as done");
                let (stored, grant) = row(&t, hash_of(token)).await;
                assert_eq!((stored.revoked_at, grant.revoked_at), (None, None), "{kind:?}, step {step}");
                assert!(lives(&t, &tokens.access_token).await);

                revoked(&t, &request).await;
                assert!(!lives(&t, &tokens.access_token).await);
                assert_eq!(t.events.count("token_revoked"), 1);
            }
        }
    }
}

// covers: RV-17 (RFC 7009 §2.2.1)
#[tokio::test]
async fn revocation_with_lost_answer_can_be_repeated() {
    for of_grant in [false, true] {
        let (t, app) = public().await;
        let tokens = tokens_of(&t, &app).await;
        let token = if of_grant { refresh_of(&tokens).expose() } else { tokens.access_token.expose() };
        let request = REVOKE.request_by(&app, &[("token", token)]);
        t.faults.fail(3, Fault::LostAnswer);
        let _ = REVOKE.refused(&t, &request, 503, "temporarily_unavailable", "a test made").await;
        assert!(!lives(&t, &tokens.access_token).await);
        revoked(&t, &request).await;
        assert_eq!(t.events.names().last(), Some(&"bearer_refused"), "the repeated revocation causes no event");
    }
}

// covers: RV-10 (RFC 7009 §2.1), RV-13 (RFC 7009 §2.1)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_refresh_does_not_outlive_revocation() {
    let t = Arc::new(TestServer::new());
    let app = Arc::new(t.public_client(CB).await);
    for _ in 0..50 {
        let tokens = tokens_of(&t, &app).await;
        let old = RefreshToken::new(refresh_of(&tokens).expose());
        let (of_task, app_of_task) = (Arc::clone(&t), Arc::clone(&app));
        let refreshing = tokio::spawn(async move { of_task.refresh(&app_of_task, &old).await });
        revoked(&t, &REVOKE.request_by(&app, &[("token", refresh_of(&tokens).expose())])).await;
        assert!(!lives(&t, &tokens.access_token).await);
        match refreshing.await.unwrap() {
            Ok(next) => assert_dead(&t, &app, &next).await,
            Err(error) => assert_eq!(error.refusal(), Some(&Refusal::GrantEnded)),
        }
    }
}

#[tokio::test]
async fn typed_request_gives_the_same_answer() {
    let t = TestServer::new();
    let (app, machine) = (t.public_client(CB).await, t.confidential_client(CB).await);
    let tokens = tokens_of(&t, &app).await;
    let secret = machine.secret.as_ref().unwrap();
    let access = || RevocationRequest::access_token(&tokens.access_token);
    let reason = |result: Result<(), Error>| *result.unwrap_err().refusal().expect("a refusal");

    assert_eq!(reason(t.revocation_request(&access()).await), Refusal::MissingClientAuthentication);
    let foreign = access().client_secret_post(&machine.id, secret);
    assert_eq!(reason(t.revocation_request(&foreign).await), Refusal::NotYourToken);
    let stranger = t.public_client(CB).await;
    t.revocation_request(&access().client_id(&stranger.id)).await.unwrap();
    let twice = access().client_id(&app.id).parameter("token", "x");
    assert_eq!(reason(t.revocation_request(&twice).await), Refusal::RepeatedParameter("token"));
    let unknown = AccessToken::new("unknown");
    let unknown = RevocationRequest::access_token(&unknown).client_secret_basic(&machine.id, secret);
    t.revocation_request(&unknown).await.unwrap();
    assert!(lives(&t, &tokens.access_token).await);

    t.revocation_request(&access().client_id(&app.id)).await.unwrap();
    assert!(!lives(&t, &tokens.access_token).await);
    let next = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    t.revocation_request(&RevocationRequest::refresh_token(refresh_of(&next)).client_id(&app.id)).await.unwrap();
    assert_dead(&t, &app, &next).await;
    assert_eq!((t.events.count("revocation_refused"), t.events.count("token_revoked")), (4, 2));
}
