//! Replays of a redeemed code: the requests that end the grant, those that do not, and the tokens that end with it.

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::policy::Rotation;
use grantor::testing::{ApprovedFlow, Call, Fault, Intercepted, Interceptor, Next, Reply, TestClient, TestServer};
use grantor::{Policy, Request, StorageError, TokenResponse};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use time::Duration;

use crate::common::{VERIFIER, basic, token, token_as};
use crate::support::{
    CB, Spy, bad_grant, granted, lives, public, redemption, refresh, refresh_of, refused, refused_for, restarted, row,
    rows, spied, with,
};

/// A grant whose code was redeemed and whose tokens were refreshed twice.
struct Family {
    issued: Vec<TokenResponse>,
}

impl Family {
    async fn grown_from(t: &TestServer, app: &TestClient, approved: &ApprovedFlow<'_>) -> Self {
        let mut issued = vec![approved.redeem().await.unwrap()];
        for _ in 0..2 {
            let next = t.refresh(app, refresh_of(issued.last().unwrap())).await.unwrap();
            issued.push(next);
        }
        Self { issued }
    }

    fn hashes(&self) -> Vec<grantor::secret::TokenHash> {
        let access = self.issued.iter().map(|tokens| tokens.access_token.hash());
        access.chain(self.issued.iter().map(|tokens| refresh_of(tokens).hash())).collect()
    }

    async fn is_alive(&self, t: &TestServer) -> bool {
        let mut alive = Vec::new();
        for tokens in &self.issued {
            alive.push(lives(t, &tokens.access_token).await);
        }
        alive.dedup();
        assert_eq!(alive.len(), 1, "only a part of the family was revoked");
        alive[0]
    }

    async fn assert_dead(&self, t: &TestServer, app: &TestClient) {
        assert!(!self.is_alive(t).await);
        for tokens in self.issued.iter().rev() {
            let request = refresh(app, refresh_of(tokens).expose());
            refused_for(t, &request, 400, "invalid_grant", "GrantEnded").await;
        }
    }
}

// covers: GC-03 (RFC 6749 §4.1.2), GC-05 (RFC 6749 §4.1.2), AMB-14, B18
#[tokio::test]
async fn proven_code_replay_ends_the_grant_and_its_tokens() {
    let (t, spy) = spied(|_| {}).await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let approved = t.authorize(&app).approve_as("alice").await;
        let family = Family::grown_from(&t, &app, &approved).await;
        let bystander = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
        assert!(family.is_alive(&t).await);
        spy.writes();
        let replays = t.events.count("code_replayed");
        let request = token_as(&app, &redemption(&approved, &app));
        bad_grant(&t, &request, "CodeReplayed").await;
        assert_eq!(spy.writes(), ["revoke_grants"], "one write, however large the family is");
        let names = t.events.names();
        assert_eq!(names[names.len() - 2..], ["code_replayed", "token_refused"]);
        family.assert_dead(&t, &app).await;
        // A dead grant reveals nothing more about its codes.
        bad_grant(&t, &request, "GrantEnded").await;
        assert_eq!(t.events.count("code_replayed"), replays + 1);
        // Another grant of the same user and client is not affected.
        assert!(lives(&t, &bystander.access_token).await);
        granted(&t, &refresh(&app, refresh_of(&bystander).expose())).await;
    }
}

// covers: AMB-14, B18
#[tokio::test]
async fn code_replay_after_expiry_still_ends_the_grant() {
    let (t, app) = public().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let first = approved.redeem().await.unwrap();
    t.clock.advance(Duration::days(10));
    let second = t.refresh(&app, refresh_of(&first)).await.unwrap();
    bad_grant(&t, &token_as(&app, &redemption(&approved, &app)), "CodeReplayed").await;
    assert!(!lives(&t, &second.access_token).await);
    bad_grant(&t, &refresh(&app, refresh_of(&second).expose()), "GrantEnded").await;
}

// covers: GC-06 (OAuth 2.1 §7.5.2), AMB-14, B19
#[tokio::test]
async fn unproven_code_replay_changes_nothing() {
    let (t, spy) = spied(|_| {}).await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let (public, confidential) = (t.public_client(CB).await, t.confidential_client(CB).await);
        let approved = t.authorize(&app).approve_as("alice").await;
        let family = Family::grown_from(&t, &app, &approved).await;
        let pairs = redemption(&approved, &app);
        let mut hashes = family.hashes();
        hashes.push(approved.code().hash());
        let before = rows(&t, &hashes).await;
        spy.writes();

        let wrong_secret =
            || -> Request { token(&pairs).with_header("authorization", basic(&app.id, "not-the-secret")) };
        let wrong_secret_reason =
            if app.secret.is_some() { "ClientAuthenticationFailed" } else { "AuthenticationMethodNotAllowed" };
        for (request, status, error, reason) in [
            (token_as(&public, &pairs), 400, "invalid_grant", "ForeignToken"),
            (token_as(&confidential, &pairs), 400, "invalid_grant", "ForeignToken"),
            (wrong_secret(), 401, "invalid_client", wrong_secret_reason),
            (token(&pairs), 401, "invalid_client", "MissingClientAuthentication"),
            (token_as(&app, &with(&pairs, "code_verifier", VERIFIER)), 400, "invalid_grant", "WrongCodeVerifier"),
            (token_as(&app, &with(&pairs, "code_verifier", "short")), 400, "invalid_grant", "MalformedCodeVerifier"),
            (token_as(&app, &with(&pairs, "code_verifier", "")), 400, "invalid_grant", "MissingCodeVerifier"),
            (token_as(&app, &with(&pairs, "redirect_uri", "")), 400, "invalid_grant", "RedirectUriMismatch"),
            (
                token_as(&app, &with(&pairs, "redirect_uri", "https://app.example/other")),
                400,
                "invalid_grant",
                "RedirectUriMismatch",
            ),
        ] {
            refused_for(&t, &request, status, error, reason).await;
        }
        assert!(spy.writes().is_empty());
        assert_eq!(rows(&t, &hashes).await, before);
        assert_eq!(t.events.count("code_replayed"), 0);
        assert!(family.is_alive(&t).await);
        granted(&t, &refresh(&app, refresh_of(&family.issued[2]).expose())).await;
    }
}

#[tokio::test]
async fn replay_after_host_revocation_revokes_no_second_time() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let tokens = approved.redeem().await.unwrap();
    let (_, grant) = row(&t, tokens.access_token.hash()).await;
    let selector = grantor::storage::GrantSelector::Id(grant.id);
    grantor::Storage::revoke_grants(&t.storage, &selector, grant.opened_at).await.unwrap();
    spy.writes();
    bad_grant(&t, &token_as(&app, &redemption(&approved, &app)), "GrantEnded").await;
    assert!(spy.writes().is_empty());
}

/// A server that tolerates a code redeemed again by its client, and its writes.
async fn tolerant(more: impl FnOnce(&mut Policy)) -> (TestServer, Arc<Spy>) {
    spied(|policy| {
        policy.tolerate_repeated_codes = true;
        more(policy);
    })
    .await
}

const WINDOW: Duration = Duration::seconds(10);
const TICK: Duration = Duration::microseconds(1);

/// Asserts that the second redemption is refused with its own event, and changes nothing.
async fn assert_tolerated(t: &TestServer, spy: &Spy, request: &Request) {
    let repeats = t.events.count("code_repeated");
    spy.writes();
    bad_grant(t, request, "CodeRepeated").await;
    assert!(spy.writes().is_empty());
    let names = t.events.names();
    assert_eq!(names[names.len() - 2..], ["code_repeated", "token_refused"]);
    assert_eq!(t.events.count("code_repeated"), repeats + 1);
}

async fn assert_ends_the_grant(t: &TestServer, spy: &Spy, request: &Request) {
    spy.writes();
    bad_grant(t, request, "CodeReplayed").await;
    assert_eq!(spy.writes(), ["revoke_grants"]);
}

// covers: B57, GC-05 (RFC 6749 §4.1.2)
#[tokio::test]
async fn code_repeated_within_ten_seconds_is_refused_not_replay() {
    let (t, spy) = tolerant(|_| {}).await;
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let tokens = approved.redeem().await.unwrap();
    let request = token_as(&app, &redemption(&approved, &app));
    assert_tolerated(&t, &spy, &request).await;
    // A node whose clock is behind.
    t.clock.advance(-(WINDOW - TICK));
    assert_tolerated(&t, &spy, &request).await;
    t.clock.advance((WINDOW - TICK) * 2);
    assert_tolerated(&t, &spy, &request).await;
    assert!(lives(&t, &tokens.access_token).await);
    granted(&t, &refresh(&app, refresh_of(&tokens).expose())).await;
}

// covers: B57
#[tokio::test]
async fn code_repeated_after_ten_seconds_ends_the_grant() {
    for late in [WINDOW, -WINDOW, Duration::HOUR] {
        let (t, spy) = tolerant(|_| {}).await;
        let app = t.confidential_client(CB).await;
        let approved = t.authorize(&app).approve_as("alice").await;
        t.clock.advance(Duration::seconds(15));
        let tokens = approved.redeem().await.unwrap();
        t.clock.advance(late);
        assert_ends_the_grant(&t, &spy, &token_as(&app, &redemption(&approved, &app))).await;
        assert!(!lives(&t, &tokens.access_token).await);
        assert_eq!(t.events.count("code_repeated"), 0);
    }
}

// covers: B57
#[tokio::test]
async fn code_repeated_without_client_secret_ends_the_grant() {
    let (t, spy) = tolerant(|_| {}).await;
    for app in [t.public_client(CB).await, t.native_client("http://127.0.0.1/cb").await] {
        let approved = t.authorize(&app).approve_as("alice").await;
        let tokens = approved.redeem().await.unwrap();
        assert_ends_the_grant(&t, &spy, &token_as(&app, &redemption(&approved, &app))).await;
        assert!(!lives(&t, &tokens.access_token).await);
    }
}

// covers: B57
#[tokio::test]
async fn code_repeated_after_a_successor_was_spent_ends_grant() {
    let (t, spy) = tolerant(|_| {}).await;
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let first = approved.redeem().await.unwrap();
    let second = t.refresh(&app, refresh_of(&first)).await.unwrap();
    assert_ends_the_grant(&t, &spy, &token_as(&app, &redemption(&approved, &app))).await;
    assert!(!lives(&t, &second.access_token).await);
}

/// A refresh token that is not rotated is not spent by its use, so nothing shows whether it was used.
#[tokio::test]
async fn code_repeated_by_client_without_rotation_ends_grant() {
    let (t, spy) = tolerant(|policy| policy.refresh_token_rotation = Rotation::PublicClients).await;
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    approved.redeem().await.unwrap();
    assert_ends_the_grant(&t, &spy, &token_as(&app, &redemption(&approved, &app))).await;
    // Without a refresh token, the repetition is tolerated: there is no refresh token that could have been used.
    let machine = t.confidential_client_with(|client| client.authorization_code([CB]).scope("user:read")).await;
    let approved = t.authorize(&machine).scope("user:read").approve_as("alice").await;
    approved.redeem().await.unwrap();
    assert_tolerated(&t, &spy, &token_as(&machine, &redemption(&approved, &machine))).await;
}

// covers: B57
#[tokio::test]
async fn code_repeated_with_wrong_proof_does_not_reveal_state() {
    let (t, spy) = tolerant(|_| {}).await;
    let app = t.confidential_client(CB).await;
    let other = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    approved.redeem().await.unwrap();
    let pairs = redemption(&approved, &app);
    spy.writes();
    let other_uri = "https://app.example/other";
    for (request, reason) in [
        (token_as(&other, &pairs), "ForeignToken"),
        (token_as(&app, &with(&pairs, "code_verifier", VERIFIER)), "WrongCodeVerifier"),
        (token_as(&app, &with(&pairs, "code_verifier", "")), "MissingCodeVerifier"),
        (token_as(&app, &with(&pairs, "redirect_uri", other_uri)), "RedirectUriMismatch"),
    ] {
        bad_grant(&t, &request, reason).await;
    }
    assert!(spy.writes().is_empty());
    assert_eq!(t.events.count("code_repeated"), 0);
    t.clock.advance(WINDOW);
    assert_ends_the_grant(&t, &spy, &token_as(&app, &pairs)).await;
    bad_grant(&t, &token_as(&app, &pairs), "GrantEnded").await;
}

// covers: B57
#[tokio::test]
async fn code_with_lost_first_answer_is_tolerated() {
    let mut t = TestServer::new();
    let mut policy = Policy::default();
    policy.tolerate_repeated_codes = true;
    t.server = restarted(&t, Intercepted::new(t.storage.clone(), t.faults.clone()), policy).await;
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let request = token_as(&app, &redemption(&approved, &app));
    t.faults.fail(3, Fault::LostAnswer);
    refused(&t, &request, 503, "temporarily_unavailable").await;
    bad_grant(&t, &request, "CodeRepeated").await;
    assert!(row(&t, approved.code().hash()).await.1.revoked_at.is_none());
}

// covers: B57
#[tokio::test]
async fn mark_of_a_tolerated_code_derives_no_token() {
    let (t, _) = tolerant(|_| {}).await;
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let tokens = approved.redeem().await.unwrap();
    let spent = row(&t, approved.code().hash()).await.0.spent.clone().unwrap();
    let mark = spent.seed.expect("a mark");
    for (token, label) in
        [(tokens.access_token.expose(), b"grantor/1/a\0"), (refresh_of(&tokens).expose(), b"grantor/1/r\0")]
    {
        let mut mac = Hmac::<Sha256>::new_from_slice(mark.expose()).unwrap();
        mac.update(label);
        mac.update(approved.code().expose().as_bytes());
        assert_ne!(token, URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
    }
    // A policy without this tolerance stores no mark.
    let (t, app) = public().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    approved.redeem().await.unwrap();
    assert!(row(&t, approved.code().hash()).await.0.spent.clone().unwrap().seed.is_none());
}

/// Lets other requests run before each redemption.
struct Slow;

#[async_trait]
impl Interceptor for Slow {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        if let Call::Redeem { .. } = call {
            tokio::task::yield_now().await;
        }
        next.run(call).await
    }
}

// covers: B57
#[tokio::test]
async fn parallel_redemptions_of_tolerated_code_keep_the_grant() {
    let mut t = TestServer::new();
    let mut policy = Policy::default();
    policy.tolerate_repeated_codes = true;
    t.server = restarted(&t, Intercepted::new(t.storage.clone(), Slow), policy).await;
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let request = token_as(&app, &redemption(&approved, &app));
    // Both requests read the code before one of the requests spends it.
    let (first, second) = tokio::join!(t.server.token(&request), t.server.token(&request));
    let mut statuses = [first.status(), second.status()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 400]);
    assert_eq!((t.events.count("code_repeated"), t.events.count("code_replayed")), (1, 0));
    assert!(row(&t, approved.code().hash()).await.1.revoked_at.is_none());
}
