//! The status of subjects at the token endpoint: an inactive subject gets no token, and nothing is spent.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use grantor::error::AuthenticatorError;
use grantor::storage::GrantSelector;
use grantor::testing::{Fault, TestClient, TestServer, TestUsers};
use grantor::{
    Authenticator, ClientSecrets, Clock, Limiter, RefreshToken, Request, ResourceOwnerAttempt, Storage, Subject,
    SubjectStatus, Verdict,
};
use time::Duration;

use crate::common::{text, token_as};
use crate::issuances::{PEER, build, requests, server};
use crate::support::{
    CB, bad_grant, granted, lives, redemption, refresh, refresh_of, refused, refused_for, row, rows, tokens_of,
};

/// The requests for alice, with the text of the refusal if she is not active.
async fn requests_of_alice(t: &TestServer, app: &TestClient) -> Vec<(&'static str, Request, &'static str)> {
    let of_alice = requests(t, app).await.into_iter().filter(|(kind, _)| *kind != "client credentials");
    let refused = of_alice.map(|(kind, request)| match kind {
        "password" => (kind, request, "the username or password is wrong"),
        _ => {
            (kind, request, "the code or token is unknown, expired, revoked, already used or belongs to another client")
        }
    });
    refused.collect()
}

// covers: B54
#[tokio::test]
async fn suspended_subject_gets_no_token_but_keeps_grants() {
    let (t, app, spy) = server(|builder| builder).await;
    let requests = requests_of_alice(&t, &app).await;
    t.users.set_status("alice", SubjectStatus::Suspended);
    spy.writes();
    for (what, request, description) in &requests {
        let told = t.events.events().len();
        let response = refused(&t, request, 400, "invalid_grant").await;
        let expected = format!("{{\"error\":\"invalid_grant\",\"error_description\":\"{description}\"}}");
        assert_eq!(text(&response), expected, "{what}");
        assert_eq!(t.events.names()[told..], ["subject_not_active", "token_refused"], "{what}");
        let event = &t.events.events()[told].text;
        assert!(event.contains("Subject(\"alice\"), status: Suspended, revoked: 0"), "{event}");
        assert!(event.contains(&format!("peer: Some({PEER})")), "{event}");
    }
    assert!(spy.writes().is_empty(), "nothing is spent, revoked or opened");
    t.users.set_status("alice", SubjectStatus::Active);
    for (_, request, _) in &requests {
        granted(&t, request).await;
    }
}

// covers: B54
#[tokio::test]
async fn gone_subject_gets_no_token_and_loses_all_grants() {
    let (t, app, spy) = server(|builder| builder).await;
    for which in 0..requests_of_alice(&t, &app).await.len() {
        t.users.set_status("alice", SubjectStatus::Active);
        let own = tokens_of(&t, &app).await;
        let others = t.authorize(&app).approve_as("bob").await.redeem().await.unwrap();
        let (what, request, description) = requests_of_alice(&t, &app).await.swap_remove(which);
        t.users.set_status("alice", SubjectStatus::Gone);
        spy.writes();
        let told = t.events.events().len();
        let response = refused(&t, &request, 400, "invalid_grant").await;
        let expected = format!("{{\"error\":\"invalid_grant\",\"error_description\":\"{description}\"}}");
        assert_eq!(text(&response), expected, "{what}");
        assert_eq!(spy.writes(), ["revoke_grants"], "{what}");
        assert_eq!(t.events.names()[told..], ["subject_not_active", "token_refused"], "{what}");
        let event = &t.events.events()[told].text;
        assert!(event.contains("status: Gone") && !event.contains("revoked: 0"), "{event}");
        assert!(!lives(&t, &own.access_token).await, "{what}");
        assert!(lives(&t, &others.access_token).await, "{what}: the tokens of another subject stay valid");
    }
}

#[tokio::test]
async fn gone_subject_with_failed_revocation_is_server_error() {
    let (t, app, _) = server(|builder| builder).await;
    let tokens = tokens_of(&t, &app).await;
    let request = refresh(&app, refresh_of(&tokens).expose());
    t.users.set_status("alice", SubjectStatus::Gone);
    // Calls 1 and 2 look up the client and the token. Call 3 revokes.
    t.faults.fail(3, Fault::Unavailable);
    let told = t.events.events().len();
    refused(&t, &request, 503, "temporarily_unavailable").await;
    assert_eq!(t.events.names()[told..], ["grants_revocation_failed", "token_refused"]);
    assert!(lives(&t, &tokens.access_token).await);
    bad_grant(&t, &request, "SubjectGone").await;
    assert!(!lives(&t, &tokens.access_token).await);
    bad_grant(&t, &request, "GrantEnded").await;
}

/// Reuse is detected for any status of the subject; a client without proof learns and changes nothing.
#[tokio::test]
async fn subject_status_is_checked_after_proofs_and_reuse() {
    let (t, app, spy) = server(|builder| builder).await;
    let tokens = tokens_of(&t, &app).await;
    t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    let other = t.confidential_client(CB).await;
    t.users.set_status("alice", SubjectStatus::Gone);
    spy.writes();
    let approved = t.authorize(&app).approve_as("alice").await;
    spy.writes();
    let foreign = [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose())];
    bad_grant(&t, &token_as(&other, &foreign), "ForeignToken").await;
    let unproven = crate::support::with(&redemption(&approved, &app), "code_verifier", crate::common::VERIFIER);
    bad_grant(&t, &token_as(&app, &unproven), "WrongCodeVerifier").await;
    let widened = [&foreign[..], &[("scope", "user:read admin")]].concat();
    refused_for(&t, &token_as(&app, &widened), 400, "invalid_scope", "ScopeExceedsGrant").await;
    assert!(spy.writes().is_empty());

    t.users.set_status("alice", SubjectStatus::Suspended);
    t.clock.advance(Duration::minutes(1));
    bad_grant(&t, &refresh(&app, refresh_of(&tokens).expose()), "RefreshTokenReused").await;
    assert_eq!(spy.writes(), ["revoke_grants"]);
    assert_eq!(t.events.count("subject_not_active"), 0);
}

/// An authenticator whose user directory is down. It still checks passwords.
struct Down {
    inner: TestUsers,
    asked: Arc<AtomicUsize>,
}

#[async_trait]
impl Authenticator for Down {
    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        self.inner.authenticate_resource_owner(attempt).await
    }

    async fn subject_status(&self, _: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Err(AuthenticatorError::new("ldap://secret-host is down"))
    }
}

// covers: B58
#[tokio::test]
async fn unknown_status_is_unavailable_and_spends_nothing() {
    let (t, app, spy) = server(|builder| builder).await;
    let requests = requests_of_alice(&t, &app).await;
    let hashes: Vec<_> = requests[..3].iter().map(|(_, request, _)| hash_in(request)).collect();
    let before = rows(&t, &hashes).await;
    let asked = Arc::<AtomicUsize>::default();
    // The same records behind a server whose directory is down.
    let mut down = t.clone();
    down.server =
        build(&t, &spy, |builder| builder.authenticator(Down { inner: t.users.clone(), asked: Arc::clone(&asked) }))
            .await;
    spy.writes();
    for (what, request, _) in &requests {
        let response = refused(&down, request, 503, "temporarily_unavailable").await;
        assert_eq!(crate::support::header_values(&response, "retry-after"), ["5"], "{what}");
        assert!(!text(&response).contains("ldap"), "{what}");
        let last = t.events.events().pop().unwrap().text;
        assert!(last.contains("SubjectStatus(") && last.contains("ldap://secret-host"), "{last}");
    }
    assert_eq!(asked.load(Ordering::SeqCst), requests.len());
    assert!(spy.writes().is_empty());
    assert_eq!(rows(&t, &hashes).await, before);
    // A machine has no subject status.
    granted(&down, &token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")])).await;
    assert_eq!(asked.load(Ordering::SeqCst), requests.len());
    for (_, request, _) in &requests {
        granted(&t, request).await;
    }
}

/// The hash of the code or refresh token that a request presents.
fn hash_in(request: &Request) -> grantor::secret::TokenHash {
    let pairs = url::form_urlencoded::parse(request.body());
    let mut tokens = pairs.filter(|(name, _)| name == "code" || name == "refresh_token");
    RefreshToken::new(&*tokens.next().expect("a token").1).hash()
}

#[tokio::test]
async fn limiter_and_arc_forward_the_status() {
    let alice = Subject::new("alice").unwrap();
    let users = TestUsers::default();
    users.set_status("alice", SubjectStatus::Gone);
    assert_eq!(Limiter::new(users.clone()).subject_status(&alice).await.unwrap(), SubjectStatus::Gone);
    assert_eq!(Arc::new(users).subject_status(&alice).await.unwrap(), SubjectStatus::Gone);
    assert_eq!(ClientSecrets.subject_status(&alice).await.unwrap(), SubjectStatus::Active, "the default");
}

#[tokio::test]
async fn grant_ends_for_good_once_its_subject_is_gone() {
    let (t, app, _) = server(|builder| builder).await;
    let tokens = tokens_of(&t, &app).await;
    let request = refresh(&app, refresh_of(&tokens).expose());
    t.users.set_status("alice", SubjectStatus::Gone);
    bad_grant(&t, &request, "SubjectGone").await;
    t.users.set_status("alice", SubjectStatus::Active);
    bad_grant(&t, &request, "GrantEnded").await;
    assert_eq!(row(&t, refresh_of(&tokens).hash()).await.1.revoked_at, Some(t.clock.now()));
    let which = GrantSelector::Subject(Subject::new("alice").unwrap());
    assert_eq!(t.storage.revoke_grants(&which, t.clock.now()).await.unwrap(), 0, "a grant was not revoked");
}
