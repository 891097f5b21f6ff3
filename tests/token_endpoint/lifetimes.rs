//! Lifetimes, and that responses state them.

use grantor::testing::TestServer;
use grantor::{Clock, TokenRequest};
use time::Duration;

use crate::common::token_as;
use crate::support::{
    CB, access_token, bad_grant, confidential, granted, lives, public, redemption, refresh, refresh_of, row, tokens_of,
};

const TICK: Duration = Duration::microseconds(1);

// covers: TF-10 (RFC 6750 §5.2), TF-11 (RFC 6750 §5.3), TK-06 (RFC 6749 §5.1)
#[tokio::test]
async fn access_token_works_exactly_its_announced_hour() {
    let (t, app) = confidential().await;
    let body = granted(&t, &token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")])).await;
    assert_eq!(body["expires_in"], 3600);
    t.clock.advance(Duration::HOUR - TICK);
    assert!(lives(&t, &access_token(&body)).await);
    t.clock.advance(TICK);
    assert!(!lives(&t, &access_token(&body)).await);
}

// covers: TK-06 (RFC 6749 §5.1)
#[tokio::test]
async fn policy_and_client_set_access_refresh_and_code_lifetimes() {
    let t = TestServer::with_policy(|policy| {
        policy.access_token_lifetime = Duration::minutes(20);
        policy.refresh_token_idle_lifetime = Duration::days(2);
        policy.refresh_token_absolute_lifetime = Duration::days(5);
        policy.code_lifetime = Duration::minutes(2);
    });
    let usual = t.confidential_client(CB).await;
    let special = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().scope("user:read user:write offline_access");
            client.lifetimes(|own| {
                own.access_token = Some(Duration::minutes(3));
                own.refresh_token_idle = Some(Duration::hours(7));
                own.refresh_token_absolute = Some(Duration::hours(10));
                own.code = Some(Duration::seconds(15));
            })
        })
        .await;
    for (app, access, idle, code) in [
        (&usual, Duration::minutes(20), Duration::days(2), Duration::minutes(2)),
        (&special, Duration::minutes(3), Duration::hours(7), Duration::seconds(15)),
    ] {
        let approved = t.authorize(app).approve_as("alice").await;
        let (code_row, _) = row(&t, approved.code().hash()).await;
        assert_eq!(code_row.expires_at - code_row.issued_at, code);
        let body = granted(&t, &token_as(app, &redemption(&approved, app))).await;
        assert_eq!(body["expires_in"], access.whole_seconds());
        let refresh_token = grantor::RefreshToken::new(body["refresh_token"].as_str().unwrap());
        let (refresh_row, grant) = row(&t, refresh_token.hash()).await;
        assert_eq!(refresh_row.expires_at - refresh_row.issued_at, idle);
        assert_eq!(grant.expires_at, refresh_row.expires_at, "a grant ends with its last token");
    }
}

// covers: GR-16 (RFC 9700 §4.14.2)
#[tokio::test]
async fn unused_refresh_token_expires_and_use_restarts_its_term() {
    let (t, app) = public().await;
    let mut tokens = tokens_of(&t, &app).await;
    for _ in 0..3 {
        t.clock.advance(Duration::days(14) - TICK);
        tokens = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    }
    t.clock.advance(Duration::days(14));
    bad_grant(&t, &refresh(&app, refresh_of(&tokens).expose()), "GrantEnded").await;
}

// covers: GR-16 (RFC 9700 §4.14.2), TF-10 (RFC 6750 §5.2)
#[tokio::test]
async fn absolute_lifetime_ends_a_grant_despite_refreshes() {
    let (t, app) = public().await;
    let mut tokens = tokens_of(&t, &app).await;
    let opened_at = row(&t, tokens.access_token.hash()).await.1.opened_at;
    for _ in 0..8 {
        t.clock.advance(Duration::days(11));
        tokens = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    }
    t.clock.advance(Duration::days(2) - Duration::minutes(10));
    let body = granted(&t, &refresh(&app, refresh_of(&tokens).expose())).await;
    assert_eq!(body["expires_in"], 600, "the last access token ends with the grant");
    let last = grantor::RefreshToken::new(body["refresh_token"].as_str().unwrap());
    let (record, grant) = row(&t, last.hash()).await;
    assert_eq!(record.expires_at, opened_at + Duration::days(90));
    assert_eq!(grant.expires_at, opened_at + Duration::days(90));
    t.clock.advance(Duration::minutes(10) - TICK);
    assert!(lives(&t, &access_token(&body)).await);
    t.clock.advance(TICK);
    assert!(!lives(&t, &access_token(&body)).await);
    bad_grant(&t, &refresh(&app, last.expose()), "GrantEnded").await;
}

// covers: TK-06 (RFC 6749 §5.1)
#[tokio::test]
async fn token_below_one_second_of_lifetime_is_not_issued() {
    let t = TestServer::new();
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().scope("user:read user:write offline_access");
            client.lifetimes(|own| own.refresh_token_absolute = Some(Duration::minutes(1)))
        })
        .await;
    let tokens = tokens_of(&t, &app).await;
    assert_eq!(tokens.expires_in, Duration::MINUTE, "no token outlives its grant");
    t.clock.advance(Duration::seconds(59));
    let last = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    assert_eq!(last.expires_in, Duration::SECOND);
    t.clock.advance(TICK);
    for (token, reason) in [(refresh_of(&last), "ExpiredToken"), (refresh_of(&tokens), "RetryRefused")] {
        bad_grant(&t, &refresh(&app, token.expose()), reason).await;
    }
    assert!(lives(&t, &last.access_token).await, "nothing was revoked");
}

#[tokio::test]
async fn shortened_absolute_lifetime_applies_to_older_grants() {
    let (t, app) = public().await;
    let tokens = tokens_of(&t, &app).await;
    t.clock.advance(Duration::days(3));
    crate::support::change_client(&t, &app, |parts| parts.lifetimes.refresh_token_absolute = Some(Duration::days(2)))
        .await;
    bad_grant(&t, &refresh(&app, refresh_of(&tokens).expose()), "ExpiredToken").await;
}

#[tokio::test]
async fn shortened_idle_lifetime_applies_to_older_tokens() {
    let (t, app) = public().await;
    let (one, other) = (tokens_of(&t, &app).await, tokens_of(&t, &app).await);
    crate::support::change_client(&t, &app, |parts| parts.lifetimes.refresh_token_idle = Some(Duration::days(2))).await;
    t.clock.advance(Duration::days(2) - Duration::MICROSECOND);
    assert!(t.refresh(&app, refresh_of(&one)).await.is_ok());
    t.clock.advance(Duration::MICROSECOND);
    bad_grant(&t, &refresh(&app, refresh_of(&other).expose()), "ExpiredToken").await;
}

#[tokio::test]
async fn only_a_successful_refresh_moves_last_use() {
    let (t, app) = public().await;
    let tokens = tokens_of(&t, &app).await;
    let hash = refresh_of(&tokens).hash();
    t.clock.advance(Duration::days(1));
    let wide = TokenRequest::refresh_token(refresh_of(&tokens)).scope("no-such-scope");
    assert!(t.token_as(&app, wide).await.is_err());
    let (_, grant) = row(&t, hash).await;
    assert_eq!(grant.last_used_at, grant.opened_at);
    t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    let (_, grant) = row(&t, hash).await;
    assert_eq!(grant.last_used_at, t.clock.now());
}
