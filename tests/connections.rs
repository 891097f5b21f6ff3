//! Connected applications: the grants of a user grouped by client, on every shipped storage.

#[path = "common/postgres.rs"]
mod postgres;

use std::sync::Arc;

use async_trait::async_trait;
use grantor::record::GrantDetails;
use grantor::storage::{GrantSelector, Opened, PostgresStorage, SqliteStorage};
use grantor::testing::{Fault, ISSUER, TestClient, TestClock, TestServer};
use grantor::{
    AuthorizationServer, Client, ClientId, ClientRegistry, ClientStore, Clock, Connection, EphemeralStore, Grant,
    GrantId, GrantType, MemoryStorage, RefreshToken, Scope, Storage, StorageError, Subject, TokenRequest,
    TokenResponse,
};
use time::{Duration, OffsetDateTime};

use crate::postgres::Postgres;

const CB: &str = "https://app.example/cb";

fn subject(name: &str) -> Subject {
    Subject::new(name).unwrap()
}

async fn tokens_of(t: &TestServer, client: &TestClient, user: &str) -> TokenResponse {
    t.authorize(client).approve_as(user).await.redeem().await.unwrap()
}

/// The applications of a user. Panics if the list of grants is truncated.
async fn applications(t: &TestServer, user: &str) -> Vec<Connection> {
    let connections = t.connections(&subject(user)).await.unwrap();
    assert!(!connections.has_more);
    connections.applications
}

fn of_application(user: &str, application: &Connection) -> GrantSelector {
    GrantSelector::SubjectAndClient(subject(user), application.client_id.clone())
}

// covers: CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn connections_group_the_grants_of_a_user_by_client() {
    let t = TestServer::new();
    let (app, other) = (t.public_client(CB).await, t.confidential_client(CB).await);
    let start = t.clock.now();
    let first = tokens_of(&t, &app, "alice").await;
    t.clock.advance(Duration::HOUR);
    tokens_of(&t, &other, "alice").await;
    tokens_of(&t, &other, "bob").await;
    t.token_as(&other, TokenRequest::client_credentials().scope("user:read")).await.unwrap();
    t.clock.advance(Duration::HOUR);
    t.authorize(&app).scope("user:write").approve_as("alice").await.redeem().await.unwrap();
    t.clock.advance(Duration::HOUR);
    t.refresh(&app, first.refresh_token.as_ref().unwrap()).await.unwrap();

    let applications = applications(&t, "alice").await;
    let [newest, older] = &applications[..] else { panic!("{applications:?}") };
    assert_eq!((newest.client_id.as_str(), older.client_id.as_str()), (&*app.id, &*other.id));
    assert_eq!(newest.client.as_ref().unwrap().id().as_str(), app.id);
    assert_eq!(newest.scope.as_str(), "user:read user:write");
    assert_eq!((newest.since - start, newest.last_used_at - start), (Duration::ZERO, Duration::hours(3)));
    let opened: Vec<_> = newest.grants.iter().map(|grant| grant.opened_at - start).collect();
    assert_eq!(opened, [Duration::hours(2), Duration::ZERO]);
    assert_eq!((older.scope.as_str(), older.grants.len()), ("user:read", 1));
    assert_eq!((older.since - start, older.last_used_at - start), (Duration::HOUR, Duration::HOUR));
    assert!(t.connections(&subject("carol")).await.unwrap().applications.is_empty());
}

#[tokio::test]
async fn connection_of_a_removed_client_has_no_registration() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    tokens_of(&t, &app, "alice").await;
    // Clients are in a different store than the grants, as in some host apps.
    let server = AuthorizationServer::builder(ISSUER)
        .storage_and_clients(
            Arc::new(t.storage.clone()),
            Arc::new(MemoryStorage::new()),
            Arc::new(MemoryStorage::new()),
        )
        .scope("user:read", "Read your profile")
        .clock(t.clock.clone())
        .build()
        .await
        .unwrap();
    let connections = server.connections(&subject("alice")).await.unwrap();
    let [one] = &connections.applications[..] else { panic!("{connections:?}") };
    assert_eq!((one.client_id.as_str(), one.client.is_none(), one.grants.len()), (&*app.id, true, 1));
}

// covers: CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn unredeemed_approval_is_not_listed_as_a_connection() {
    let t = TestServer::with_policy(|policy| policy.access_token_lifetime = Duration::MINUTE);
    // The access token and the code expire at the same time.
    let app = t.confidential_client_with(|client| client.authorization_code([CB]).scope("user:read")).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    assert_eq!(
        t.list_grants(&GrantSelector::Subject(subject("alice")), &grantor::storage::GrantPage::first(9))
            .await
            .unwrap()
            .len(),
        1
    );
    assert!(applications(&t, "alice").await.is_empty());
    let tokens = approved.redeem().await.unwrap();
    assert_eq!(tokens.expires_in, Duration::MINUTE);
    let [one] = &applications(&t, "alice").await[..] else { panic!("one application") };
    assert_eq!(one.grants.len(), 1);

    t.authorize(&app).approve_as("alice").await;
    assert_eq!(applications(&t, "alice").await[0].grants.len(), 1, "the second approval is not redeemed");
    t.clock.advance(Duration::seconds(59));
    approved.redeem().await.unwrap_err();
    assert!(applications(&t, "alice").await.is_empty(), "the replay has ended the redeemed grant");
}

// covers: CU-12 (OAuth 2.1 §7.9)
#[tokio::test]
async fn revoking_a_connection_ends_only_its_grants() {
    let t = TestServer::new();
    let (app, other) = (t.public_client(CB).await, t.confidential_client(CB).await);
    let ended = [tokens_of(&t, &app, "alice").await, tokens_of(&t, &app, "alice").await];
    let open = t.authorize(&app).approve_as("alice").await;
    let kept = [tokens_of(&t, &other, "alice").await, tokens_of(&t, &app, "bob").await];
    let listed = applications(&t, "alice").await;
    let which = of_application("alice", listed.iter().find(|one| one.client_id.as_str() == app.id).unwrap());
    assert_eq!(t.revoke_grants(&which).await.unwrap(), 3);
    for tokens in &ended {
        t.bearer(&tokens.access_token).await.unwrap_err();
        t.refresh(&app, tokens.refresh_token.as_ref().unwrap()).await.unwrap_err();
    }
    open.redeem().await.unwrap_err();
    for tokens in &kept {
        t.bearer(&tokens.access_token).await.unwrap().require("user:read").unwrap();
    }
    let left = applications(&t, "alice").await;
    assert_eq!(left.iter().map(|one| one.client_id.as_str()).collect::<Vec<_>>(), [&*other.id]);
}

#[tokio::test]
async fn connections_fail_if_storage_or_client_store_fails() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    let tokens = tokens_of(&t, &app, "alice").await;
    for (call, fault, status) in [(1, Fault::Failed, 500), (1, Fault::Unavailable, 503), (2, Fault::Unavailable, 503)] {
        t.faults.fail(call, fault);
        assert_eq!(t.connections(&subject("alice")).await.unwrap_err().status(), status, "call {call}");
    }
    let refresh = RefreshToken::new(tokens.refresh_token.unwrap().expose());
    t.refresh(&app, &refresh).await.unwrap();
}

/// Returns the same client for every identifier.
struct OneClient(Arc<Client>);

#[async_trait]
impl ClientStore for OneClient {
    async fn find_client(&self, _: &str) -> Result<Option<Arc<Client>>, StorageError> {
        Ok(Some(Arc::clone(&self.0)))
    }
}

#[tokio::test]
async fn connection_is_never_shown_as_another_client() {
    let storage = MemoryStorage::new();
    let bank = Client::public("bank").name("Your bank").authorization_code([CB]).build().unwrap();
    let server = AuthorizationServer::builder(ISSUER)
        .storage_and_clients(Arc::new(storage.clone()), Arc::new(OneClient(Arc::new(bank))), Arc::new(storage.clone()))
        .clock(TestClock::new(START + Duration::MINUTE))
        .scope("a", "A")
        .build()
        .await
        .unwrap();
    open(&storage, grant(1, "bank")).await;
    let connections = server.connections(&subject("alice")).await.unwrap();
    assert_eq!(connections.applications.len(), 1);
    open(&storage, grant(2, "stranger")).await;
    assert_eq!(server.connections(&subject("alice")).await.unwrap_err().status(), 500);
}

const START: OffsetDateTime = time::macros::datetime!(2026-01-01 0:00 UTC);

/// Grant `number` of alice, opened that many seconds after the start.
fn grant(number: i64, client: &str) -> Grant {
    let mut id = [0xc0; 16];
    id[8..].copy_from_slice(&number.to_be_bytes());
    let opened_at = START + Duration::seconds(number);
    Grant {
        id: GrantId::from_bytes(id),
        client_id: ClientId::new(client).unwrap(),
        subject: Some(subject("alice")),
        grant_type: GrantType::new(GrantType::AUTHORIZATION_CODE).unwrap(),
        scope: Scope::parse(if number % 2 == 0 { "a" } else { "b" }).unwrap(),
        opened_at,
        last_used_at: opened_at,
        expires_at: START + Duration::days(30),
        revoked_at: None,
        parent_grant: None,
        session: None,
        host_data: None,
        details: GrantDetails::default(),
    }
}

async fn open(storage: &impl Storage, grant: Grant) {
    assert_eq!(storage.open_grant(&Arc::new(grant), &[]).await.unwrap(), Opened::Done);
}

/// On every storage, the newest thousand live grants are listed, and older grants are left out.
async fn a_thousand_grants_and_one<S>(storage: S)
where
    S: Storage + ClientRegistry + EphemeralStore + Clone + 'static,
{
    let clock = TestClock::default();
    clock.advance(START + Duration::HOUR - clock.now());
    let oauth = AuthorizationServer::builder("https://id.example")
        .storage(storage.clone())
        .scope("a", "One thing")
        .scope("b", "Another thing")
        .clock(clock)
        .build()
        .await
        .unwrap();
    let client = Client::public("app").authorization_code([CB]).name("An app").build().unwrap();
    storage.register(client).await.unwrap();

    // The oldest grant is the only grant of its client. One of the other grants is derived, and one has only a code.
    open(&storage, grant(0, "oldest")).await;
    for number in 1..=998 {
        open(&storage, grant(number, if number % 10 == 0 { "tool" } else { "app" })).await;
    }
    open(&storage, Grant { parent_grant: Some(grant(1, "app").id), ..grant(999, "child") }).await;
    let read = oauth.connections(&subject("alice")).await.unwrap();
    assert!(!read.has_more, "there are exactly a thousand");
    assert!(read.applications.iter().any(|one| one.client_id.as_str() == "oldest"));

    let mut unredeemed = grant(1_000, "code");
    unredeemed.details.code_expires_at = Some(unredeemed.expires_at);
    open(&storage, unredeemed).await;
    let read = oauth.connections(&subject("alice")).await.unwrap();
    assert!(read.has_more, "the oldest of 1,001 grants is left out");
    let seen: Vec<_> = read
        .applications
        .iter()
        .map(|one| (one.client_id.as_str(), one.scope.as_str(), one.grants.len(), one.client.is_some()))
        .collect();
    assert_eq!(seen, [("app", "a b", 899, true), ("tool", "a", 99, false)]);
    let app = &read.applications[0];
    assert_eq!((app.since, app.last_used_at), (grant(1, "app").opened_at, grant(998, "app").opened_at));
    assert!(app.grants.is_sorted_by(|one, next| one.opened_at > next.opened_at));

    assert_eq!(
        oauth.revoke_grants(&of_application("alice", app)).await.unwrap(),
        900,
        "the derived grant is revoked with its parent"
    );
    let read = oauth.connections(&subject("alice")).await.unwrap();
    let left: Vec<_> = read.applications.iter().map(|one| one.client_id.as_str()).collect();
    assert_eq!((read.has_more, left), (false, vec!["tool", "oldest"]));
}

#[tokio::test]
async fn memory_lists_the_newest_thousand_grants() {
    a_thousand_grants_and_one(MemoryStorage::new()).await;
}

#[tokio::test]
async fn sqlite_lists_the_newest_thousand_grants() {
    let folder = std::env::temp_dir().join(format!("grantor-connections-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    a_thousand_grants_and_one(SqliteStorage::open(folder.join("oauth.db")).await.unwrap()).await;
    std::fs::remove_dir_all(&folder).unwrap();
}

#[tokio::test]
async fn postgresql_lists_the_newest_thousand_grants() {
    let Some(server) = Postgres::get() else { return };
    a_thousand_grants_and_one(PostgresStorage::connect(&server.database().await).await.unwrap()).await;
}
