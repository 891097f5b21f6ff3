//! Grants after they were given: connected applications, and how grants end.

use std::sync::Arc;

use grantor::storage::{GrantPage, GrantSelector};
use grantor::testing::{Fault, TestClient, TestServer};
use grantor::{
    AccessToken, Clock, Grant, GrantId, RefreshToken, Refusal, Storage, Subject, TokenRequest, TokenResponse,
};
use time::Duration;

const CB: &str = "https://app.example/cb";

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

fn of_user(name: &str) -> GrantSelector {
    GrantSelector::Subject(subject(name))
}

fn of_client(client: &TestClient) -> GrantSelector {
    GrantSelector::Client(client.id.as_str().try_into().unwrap())
}

async fn tokens_of(t: &TestServer, client: &TestClient, user: &str) -> TokenResponse {
    t.authorize(client).approve_as(user).await.redeem().await.unwrap()
}

async fn machine_token(t: &TestServer, machine: &TestClient) -> AccessToken {
    t.token_as(machine, TokenRequest::client_credentials().scope("user:read")).await.unwrap().access_token
}

fn refresh_of(tokens: &TokenResponse) -> &RefreshToken {
    tokens.refresh_token.as_ref().expect("a refresh token")
}

async fn list(t: &TestServer, which: &GrantSelector) -> Vec<Arc<Grant>> {
    t.list_grants(which, &GrantPage::first(100)).await.unwrap()
}

/// The only grant of a user.
async fn grant_of(t: &TestServer, user: &str) -> Arc<Grant> {
    let grants = list(t, &of_user(user)).await;
    assert_eq!(grants.len(), 1, "{grants:?}");
    Arc::clone(&grants[0])
}

async fn lives(t: &TestServer, token: &AccessToken) -> bool {
    t.bearer(token).await.is_ok()
}

async fn assert_dead(t: &TestServer, client: &TestClient, tokens: &TokenResponse) {
    assert_eq!(t.bearer(&tokens.access_token).await.unwrap_err().code().unwrap(), "invalid_token");
    let refused = t.refresh(client, refresh_of(tokens)).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(&Refusal::GrantEnded));
}

// covers: CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn connected_application_shows_scope_and_times() {
    let t = TestServer::new();
    let (app, other) = (t.public_client(CB).await, t.confidential_client(CB).await);
    let start = t.clock.now();
    let first = tokens_of(&t, &app, "alice").await;
    t.clock.advance(Duration::hours(1));
    t.authorize(&other).scope("user:read user:write").approve_as("alice").await.redeem().await.unwrap();
    tokens_of(&t, &other, "bob").await;
    machine_token(&t, &other).await;
    assert_eq!(list(&t, &of_client(&other)).await.len(), 3, "alice's, bob's and the machine's own");
    t.clock.advance(Duration::hours(1));
    t.refresh(&app, refresh_of(&first)).await.unwrap();

    let grants = list(&t, &of_user("alice")).await;
    let shown: Vec<_> = grants
        .iter()
        .map(|grant| {
            (grant.client_id.as_str(), grant.scope.as_str(), grant.opened_at - start, grant.last_used_at - start)
        })
        .collect();
    let (one, two) = (Duration::hours(1), Duration::hours(2));
    assert_eq!(
        shown,
        [(other.id.as_str(), "user:read user:write", one, one), (app.id.as_str(), "user:read", Duration::ZERO, two)],
        "newest first"
    );
    assert!(grants.iter().all(|grant| grant.subject == Some(subject("alice"))));
    assert_eq!(list(&t, &of_user("nobody")).await.len(), 0);
    let of_both = GrantSelector::SubjectAndClient(subject("alice"), app.id.as_str().try_into().unwrap());
    assert_eq!(list(&t, &of_both).await.len(), 1);
}

#[tokio::test]
async fn grant_pages_have_no_gaps_or_repetitions() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    for round in 0..25 {
        tokens_of(&t, &app, "alice").await;
        // Several grants are opened in the same microsecond.
        if round % 4 == 0 {
            t.clock.advance(Duration::minutes(1));
        }
    }
    let all: Vec<GrantId> = list(&t, &of_user("alice")).await.iter().map(|grant| grant.id).collect();
    assert_eq!(all.len(), 25);
    for limit in [1, 2, 7, 24, 25, 26] {
        let (mut found, mut page) = (Vec::new(), GrantPage::first(limit));
        loop {
            let grants = t.list_grants(&of_user("alice"), &page).await.unwrap();
            assert!(grants.len() <= limit);
            let Some(last) = grants.last() else { break };
            page = GrantPage::after(last, limit);
            found.extend(grants.iter().map(|grant| grant.id));
        }
        assert_eq!(found, all, "pages of {limit}");
    }
}

#[tokio::test]
async fn revoked_or_ended_grant_is_no_longer_connected() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    tokens_of(&t, &app, "alice").await;
    let kept = tokens_of(&t, &app, "alice").await;
    let id = list(&t, &of_user("alice")).await[1].id;
    assert_eq!(t.revoke_grants(&GrantSelector::Id(id)).await.unwrap(), 1);
    assert!(list(&t, &of_user("alice")).await.iter().all(|grant| grant.id != id));
    assert_eq!(list(&t, &of_user("alice")).await.len(), 1);
    t.clock.advance(Duration::days(14) - Duration::microseconds(1));
    assert_eq!(list(&t, &of_user("alice")).await.len(), 1);
    t.clock.advance(Duration::microseconds(1));
    assert_eq!(list(&t, &of_user("alice")).await.len(), 0, "the refresh token of the grant was idle for too long");
    let refused = t.refresh(&app, refresh_of(&kept)).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(&Refusal::GrantEnded));
}

// covers: CU-12 (OAuth 2.1 §7.9), B44
#[tokio::test]
async fn user_ends_one_connection_and_no_other() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    let (first, second) = (tokens_of(&t, &app, "alice").await, tokens_of(&t, &app, "alice").await);
    let of_bob = tokens_of(&t, &app, "bob").await;
    let newest = list(&t, &of_user("alice")).await;
    let of_first = t.storage.find(&first.access_token.hash()).await.unwrap().unwrap().token;
    assert!(newest.iter().any(|grant| grant.id == of_first.grant_id));
    let which = GrantSelector::SubjectAndId(subject("alice"), of_first.grant_id);
    assert_eq!(t.revoke_grants(&which).await.unwrap(), 1);
    assert_dead(&t, &app, &first).await;
    for tokens in [&second, &of_bob] {
        assert!(lives(&t, &tokens.access_token).await);
        t.refresh(&app, refresh_of(tokens)).await.unwrap();
    }
    assert_eq!(t.revoke_grants(&which).await.unwrap(), 0, "the grant is revoked already");
}

// covers: CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn user_page_cannot_revoke_grants_of_another_user() {
    let t = TestServer::new();
    let (app, machine) = (t.public_client(CB).await, t.confidential_client(CB).await);
    let of_bob = tokens_of(&t, &app, "bob").await;
    let of_machine = machine_token(&t, &machine).await;
    let bobs = grant_of(&t, "bob").await.id;
    let machines = list(&t, &of_client(&machine)).await[0].id;
    for id in [bobs, machines, GrantId::from_bytes([7; 16])] {
        let which = GrantSelector::SubjectAndId(subject("alice"), id);
        assert_eq!(t.revoke_grants(&which).await.unwrap(), 0);
        assert!(list(&t, &which).await.is_empty(), "the grant is not listed");
    }
    assert!(lives(&t, &of_bob.access_token).await && lives(&t, &of_machine).await);
    t.refresh(&app, refresh_of(&of_bob)).await.unwrap();
}

// covers: PP-20 (RFC 8414 §4)
#[tokio::test]
async fn subjects_that_differ_in_normal_form_are_two_users() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    let (composed, decomposed) = ("caf\u{e9}", "cafe\u{301}");
    let (of_one, of_other) = (tokens_of(&t, &app, composed).await, tokens_of(&t, &app, decomposed).await);
    let grant = grant_of(&t, composed).await;
    assert_eq!(
        (grant.subject.clone(), grant_of(&t, decomposed).await.subject.clone()),
        (Some(subject(composed)), Some(subject(decomposed)))
    );
    // Both JSON spellings mean the same character.
    let stored = serde_json::to_string(&*grant).unwrap();
    let escaped = stored.replace('\u{e9}', "\\u00e9");
    assert_ne!(stored, escaped);
    assert_eq!(serde_json::from_str::<Grant>(&escaped).unwrap().subject, Some(subject(composed)));

    assert_eq!(t.revoke_grants(&of_user(composed)).await.unwrap(), 1);
    assert_dead(&t, &app, &of_one).await;
    assert!(lives(&t, &of_other.access_token).await);
}

// covers: GR-17 (RFC 9700 §4.14.2), CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn password_change_revokes_codes_and_repeated_refreshes() {
    let t = TestServer::new();
    let (app, other) = (t.public_client(CB).await, t.confidential_client(CB).await);
    let (first, second) = (tokens_of(&t, &app, "alice").await, tokens_of(&t, &other, "alice").await);
    let spent = tokens_of(&t, &app, "alice").await;
    let successor = t.refresh(&app, refresh_of(&spent)).await.unwrap();
    let code = t.authorize(&app).approve_as("alice").await;
    let of_bob = tokens_of(&t, &app, "bob").await;
    let of_machine = machine_token(&t, &other).await;
    let before = t.events.events().len();

    assert_eq!(t.revoke_grants(&of_user("alice")).await.unwrap(), 4);
    let told = t.events.events();
    assert_eq!(told.len(), before + 1);
    assert!(told[before].name == "grants_revoked" && told[before].text.contains("count: 4"), "{}", told[before].text);
    assert!(told[before].text.contains("Subject(\"alice\")"), "{}", told[before].text);

    assert_dead(&t, &app, &first).await;
    assert_dead(&t, &other, &second).await;
    assert_dead(&t, &app, &successor).await;
    let retry = t.refresh(&app, refresh_of(&spent)).await.unwrap_err();
    assert_eq!(retry.refusal(), Some(&Refusal::GrantEnded), "the grace window ends with the grant");
    assert_eq!(code.redeem().await.unwrap_err().refusal(), Some(&Refusal::GrantEnded));
    assert!(list(&t, &of_user("alice")).await.is_empty());
    assert!(lives(&t, &of_bob.access_token).await && lives(&t, &of_machine).await);
    // The next login opens a new grant.
    assert!(lives(&t, &tokens_of(&t, &app, "alice").await.access_token).await);
}

// covers: CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn administrator_revokes_all_grants_of_a_client() {
    let t = TestServer::new();
    let (app, other) = (t.confidential_client(CB).await, t.confidential_client(CB).await);
    let (of_alice, of_bob) = (tokens_of(&t, &app, "alice").await, tokens_of(&t, &app, "bob").await);
    let own = machine_token(&t, &app).await;
    let elsewhere = tokens_of(&t, &other, "alice").await;
    assert_eq!(t.revoke_grants(&of_client(&app)).await.unwrap(), 3);
    assert_dead(&t, &app, &of_alice).await;
    assert_dead(&t, &app, &of_bob).await;
    assert!(!lives(&t, &own).await && lives(&t, &elsewhere.access_token).await);

    let both = GrantSelector::SubjectAndClient(subject("alice"), other.id.as_str().try_into().unwrap());
    assert_eq!(t.revoke_grants(&both).await.unwrap(), 1);
    assert_dead(&t, &other, &elsewhere).await;
}

// covers: GR-17 (RFC 9700 §4.14.2)
#[tokio::test]
async fn family_of_any_size_is_revoked_with_one_call() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    let mut family = vec![tokens_of(&t, &app, "alice").await];
    for _ in 0..300 {
        let next = t.refresh(&app, refresh_of(family.last().unwrap())).await.unwrap();
        family.push(next);
    }
    let calls = t.faults.calls();
    assert_eq!(t.revoke_grants(&of_user("alice")).await.unwrap(), 1);
    assert_eq!(t.faults.calls() - calls, 1);
    for tokens in &family {
        assert!(!lives(&t, &tokens.access_token).await);
    }
    assert_dead(&t, &app, family.last().unwrap()).await;
}

/// Asserts that the only new event names the selected grants and the failure.
fn assert_reports_failed_revocation(t: &TestServer, before: usize) {
    let told = t.events.events().split_off(before);
    assert_eq!(told.iter().map(|event| event.name).collect::<Vec<_>>(), ["grants_revocation_failed"]);
    assert!(told[0].text.contains("which: Subject(Subject(\"alice\"))"), "{}", told[0].text);
    assert!(told[0].text.contains("a test made this"), "{}", told[0].text);
}

#[tokio::test]
async fn failing_storage_is_never_reported_as_revocation() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    let tokens = tokens_of(&t, &app, "alice").await;
    for (fault, status) in [(Fault::Failed, 500), (Fault::Unavailable, 503)] {
        let before = t.events.events().len();
        t.faults.fail(1, fault);
        let error = t.revoke_grants(&of_user("alice")).await.unwrap_err();
        assert_eq!(error.status(), status);
        assert_reports_failed_revocation(&t, before);
        t.faults.fail(1, fault);
        assert_eq!(t.list_grants(&of_user("alice"), &GrantPage::first(9)).await.unwrap_err().status(), status);
        t.faults.fail(1, fault);
        assert_eq!(t.purge(9).await.unwrap_err().status(), status);
    }
    assert_eq!(t.events.count("grants_revoked"), 0, "a failed revocation is not reported as done");
    assert!(lives(&t, &tokens.access_token).await);
    let before = t.events.events().len();
    t.faults.fail(1, Fault::LostAnswer);
    assert_eq!(t.revoke_grants(&of_user("alice")).await.unwrap_err().status(), 503);
    assert_reports_failed_revocation(&t, before);
    assert_eq!(t.revoke_grants(&of_user("alice")).await.unwrap(), 0, "a repeated revocation finds nothing left");
    assert!(!lives(&t, &tokens.access_token).await);
}

// covers: GR-17 (RFC 9700 §4.14.2)
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_write_does_not_outlive_revocation() {
    let t = Arc::new(TestServer::new());
    let app = Arc::new(t.public_client(CB).await);
    for round in 0..30 {
        let user = format!("user-{round}");
        let approved = t.authorize(&app).approve_as(&user).await;
        let old = tokens_of(&t, &app, &user).await;
        let refreshing = tokio::spawn({
            let (t, app, old) = (Arc::clone(&t), Arc::clone(&app), RefreshToken::new(refresh_of(&old).expose()));
            async move { t.refresh(&app, &old).await.ok() }
        });
        let which = of_user(&user);
        let (redeemed, revoked) = tokio::join!(approved.redeem(), t.revoke_grants(&which));
        assert_eq!(revoked.unwrap(), 2);
        assert_dead(&t, &app, &old).await;
        for late in [redeemed.ok(), refreshing.await.unwrap()].into_iter().flatten() {
            assert_dead(&t, &app, &late).await;
        }
        assert!(list(&t, &of_user(&user)).await.is_empty());
    }
}

#[tokio::test]
async fn purge_removes_only_useless_rows_in_bounded_steps() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    let mut dead = Vec::new();
    for _ in 0..20 {
        dead.push(tokens_of(&t, &app, "alice").await);
    }
    let spent = tokens_of(&t, &app, "bob").await;
    let kept = t.refresh(&app, refresh_of(&spent)).await.unwrap();
    assert_eq!(t.purge(1_000).await.unwrap(), 0, "every row is still needed");
    assert_eq!(t.revoke_grants(&of_user("alice")).await.unwrap(), 20);
    t.clock.advance(Duration::seconds(1));

    // A grant, its spent code, its access token and its refresh token.
    let mut rounds = 0;
    let mut touched = 0;
    loop {
        let step = t.purge(7).await.unwrap();
        assert!(step <= 7);
        (rounds, touched) = (rounds + 1, touched + step);
        if step < 7 {
            break;
        }
    }
    assert_eq!((touched, rounds), (80, 12));
    for tokens in &dead {
        assert!(t.storage.find(&tokens.access_token.hash()).await.unwrap().is_none());
        assert!(t.storage.find(&refresh_of(tokens).hash()).await.unwrap().is_none());
    }
    assert!(lives(&t, &kept.access_token).await);

    // The expired access token is removed. The spent refresh token stays, so a late replay is still recognised.
    t.clock.advance(Duration::hours(2));
    assert!(t.purge(1_000).await.unwrap() >= 2);
    assert!(t.storage.find(&kept.access_token.hash()).await.unwrap().is_none());
    let replay = t.refresh(&app, refresh_of(&spent)).await.unwrap_err();
    assert_eq!(replay.refusal(), Some(&Refusal::RefreshTokenReused));
    assert_eq!(t.events.count("refresh_token_reused"), 1);
    t.clock.advance(Duration::seconds(1));
    while t.purge(1_000).await.unwrap() == 1_000 {}
    assert!(t.storage.find(&refresh_of(&spent).hash()).await.unwrap().is_none());
    assert_eq!(t.purge(1_000).await.unwrap(), 0);
}

#[tokio::test]
async fn revocation_after_a_partial_purge_ends_the_grant() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    let tokens = tokens_of(&t, &app, "alice").await;
    t.clock.advance(Duration::days(1));
    while t.purge(1).await.unwrap() == 1 {}
    assert!(t.storage.find(&tokens.access_token.hash()).await.unwrap().is_none(), "the access token has expired");
    assert_eq!(list(&t, &of_user("alice")).await.len(), 1, "the refresh token has not");
    assert_eq!(t.revoke_grants(&of_user("alice")).await.unwrap(), 1);
    let refused = t.refresh(&app, refresh_of(&tokens)).await.unwrap_err();
    assert_eq!(refused.refusal(), Some(&Refusal::GrantEnded));
}
