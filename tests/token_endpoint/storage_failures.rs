//! A storage that fails at any step of any grant type: the client gets no token and the right error code, and a
//! second attempt succeeds.

use grantor::Request;
use grantor::storage::RedeemOutcome;
use grantor::testing::{Fault, TestClient, TestServer};

use crate::common::token_as;
use crate::support::{
    CB, bad_grant, granted, lives, public, redemption, refresh, refresh_of, refused, row, spied, tokens_of,
};

/// A request of one grant type, ready to be sent, on a separate server.
async fn prepared(grant_type: &str) -> (TestServer, TestClient, Request) {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_password_grant = true);
    t.users.add("alice", "correct horse");
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().client_credentials().password();
            client.scope("user:read user:write offline_access")
        })
        .await;
    let login =
        [("grant_type", "password"), ("username", "alice"), ("password", "correct horse"), ("scope", "user:read")];
    let request = match grant_type {
        "authorization_code" => {
            let approved = t.authorize(&app).approve_as("alice").await;
            token_as(&app, &redemption(&approved, &app))
        }
        "refresh_token" => refresh(&app, refresh_of(&tokens_of(&t, &app).await).expose()),
        "repeated refresh" => {
            let tokens = tokens_of(&t, &app).await;
            t.refresh(&app, refresh_of(&tokens)).await.unwrap();
            refresh(&app, refresh_of(&tokens).expose())
        }
        "client_credentials" => token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")]),
        "password" => token_as(&app, &login),
        other => panic!("{other}"),
    };
    (t, app, request)
}

#[tokio::test]
async fn storage_failure_at_any_step_issues_and_spends_nothing() {
    for (grant_type, steps) in [
        ("authorization_code", 3),
        ("refresh_token", 3),
        ("repeated refresh", 6),
        ("client_credentials", 2),
        ("password", 2),
    ] {
        let (t, _, request) = prepared(grant_type).await;
        let before = t.faults.calls();
        granted(&t, &request).await;
        assert_eq!(t.faults.calls() - before, steps, "{grant_type}");

        for step in 1..=steps {
            for (fault, status, error) in
                [(Fault::Failed, 500, "server_error"), (Fault::Unavailable, 503, "temporarily_unavailable")]
            {
                let (t, _, request) = prepared(grant_type).await;
                let issued = t.events.count("tokens_issued");
                t.faults.fail(step, fault);
                let response = refused(&t, &request, status, error).await;
                let body = String::from_utf8_lossy(response.body()).into_owned();
                assert!(!body.contains("a test made"), "the cause is for the observer only: {body}");
                assert_eq!(t.events.count("tokens_issued"), issued, "{grant_type}, step {step}");
                let last = t.events.events().pop().unwrap();
                assert!(last.name == "token_refused" && last.text.contains("a test made"), "{}", last.text);
                granted(&t, &request).await;
            }
        }
    }
}

// covers: GC-05 (RFC 6749 §4.1.2), B18
#[tokio::test]
async fn code_replay_retries_a_failed_revocation() {
    for (fault, status, error) in
        [(Fault::Failed, 500, "server_error"), (Fault::Unavailable, 503, "temporarily_unavailable")]
    {
        let (t, app) = public().await;
        let approved = t.authorize(&app).approve_as("alice").await;
        let tokens = approved.redeem().await.unwrap();
        let request = token_as(&app, &redemption(&approved, &app));
        // Calls 1 and 2 look up the client and the code. Call 3 revokes.
        t.faults.fail(3, fault);
        refused(&t, &request, status, error).await;
        assert_eq!(t.events.count("code_replayed"), 0, "a failed revocation is not reported as done");
        assert!(lives(&t, &tokens.access_token).await);
        bad_grant(&t, &request, "CodeReplayed").await;
        assert!(!lives(&t, &tokens.access_token).await);
        bad_grant(&t, &refresh(&app, refresh_of(&tokens).expose()), "GrantEnded").await;
    }
}

// covers: B18, GC-03 (RFC 6749 §4.1.2)
#[tokio::test]
async fn ambiguous_code_commit_spends_code_and_retry_revokes_grant() {
    let (t, app) = public().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let request = token_as(&app, &redemption(&approved, &app));
    t.faults.fail(3, Fault::LostAnswer);
    refused(&t, &request, 503, "temporarily_unavailable").await;
    assert!(row(&t, approved.code().hash()).await.0.spent.is_some());
    bad_grant(&t, &request, "CodeReplayed").await;
    assert!(row(&t, approved.code().hash()).await.1.revoked_at.is_some());
}

// covers: B16, B20
#[tokio::test]
async fn redemption_outcome_overrides_the_earlier_look_up() {
    for (outcome, status, error, redemptions) in
        [(RedeemOutcome::Dead, 400, "invalid_grant", 1), (RedeemOutcome::AlreadySpent, 500, "server_error", 2)]
    {
        let (t, spy) = spied(|_| {}).await;
        let app = t.public_client(CB).await;
        let approved = t.authorize(&app).approve_as("alice").await;
        let tokens = tokens_of(&t, &app).await;
        let issued = t.events.count("tokens_issued");
        spy.answer_redemptions_with(outcome);
        for request in [token_as(&app, &redemption(&approved, &app)), refresh(&app, refresh_of(&tokens).expose())] {
            spy.writes();
            // A storage that answers "spent" and then shows the token unspent breaks its contract; the server does not
            // loop.
            refused(&t, &request, status, error).await;
            assert_eq!(spy.writes(), vec!["redeem"; redemptions]);
        }
        assert_eq!(t.events.count("tokens_issued"), issued);
    }
}
