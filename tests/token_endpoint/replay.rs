//! A redeemed code that is presented again: who can end a grant by it, who can't, and what dies.

use grantor::testing::{ApprovedFlow, TestClient, TestServer};
use grantor::{Request, TokenResponse};
use time::Duration;

use crate::common::{VERIFIER, basic, token, token_as};
use crate::support::{
    CB, bad_grant, granted, lives, public, redemption, refresh, refresh_of, refused_for, row, rows, spied, with,
};

/// A grant whose code was redeemed and whose refresh token was used twice.
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
        assert_eq!(alive.len(), 1, "a family lives or dies as a whole");
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
async fn a_proven_replay_ends_the_grant_and_everything_that_came_of_it() {
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
        // Once dead, a grant says no more about its codes.
        bad_grant(&t, &request, "GrantEnded").await;
        assert_eq!(t.events.count("code_replayed"), replays + 1);
        // Another grant of the same user and client has nothing to do with it.
        assert!(lives(&t, &bystander.access_token).await);
        granted(&t, &refresh(&app, refresh_of(&bystander).expose())).await;
    }
}

// covers: AMB-14, B18
#[tokio::test]
async fn a_replay_long_after_the_code_expired_still_ends_the_grant() {
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
async fn whoever_cannot_prove_possession_changes_nothing_by_a_replay() {
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
async fn a_replay_after_the_host_revoked_the_grant_is_refused_without_a_second_revocation() {
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
