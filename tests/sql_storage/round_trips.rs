//! How often a request waits for PostgreSQL, counted on the wire: a round trip is a `Sync` or a simple query, whose
//! answer the connection waits for.

use std::future::Future;

use grantor::storage::{ClientRegistry, GrantSelector, PostgresStorage};
use grantor::testing::{TestClient, TestServer};
use grantor::{RevocationRequest, TokenRequest, TokenResponse};
use sqlx::postgres::PgPoolOptions;

use crate::postgres::Postgres;
use crate::proxy::{Plan, Proxy, Trip};
use crate::records::{client_in, served};

/// A server whose storage reaches PostgreSQL through a proxy.
struct Wire {
    proxy: Proxy,
    t: TestServer,
    app: TestClient,
}

impl Wire {
    async fn with(connections: u32) -> Option<Self> {
        let proxy = Proxy::to(&Postgres::get()?.database().await);
        let pool = PgPoolOptions::new().max_connections(connections).test_before_acquire(false);
        let storage = PostgresStorage::with_pool(pool.connect(&proxy.url).await.unwrap()).await.unwrap();
        let t = served(storage.clone()).await;
        let app = client_in(&t, &storage).await;
        Some(Self { proxy, t, app })
    }

    /// Runs a call. Returns its number of statements, none of which had to be prepared.
    async fn statements<T>(&self, work: impl Future<Output = T>) -> (usize, T) {
        self.proxy.trips();
        let done = work.await;
        let trips = self.proxy.trips();
        assert!(!trips.contains(&Trip::Preparation), "a statement was not prepared yet: {trips:?}");
        (trips.iter().filter(|trip| **trip == Trip::Statement).count(), done)
    }

    async fn tokens(&self) -> TokenResponse {
        self.t.authorize(&self.app).approve_as("alice").await.redeem().await.unwrap()
    }

    /// Runs each request once, so all statements are prepared.
    async fn warm_up(&self) {
        let tokens = self.tokens().await;
        let next = self.t.refresh(&self.app, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
        for _ in 0..2 {
            self.t.refresh(&self.app, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
        }
        self.t.bearer(&next.access_token).await.unwrap().require("user:read").unwrap();
        self.revoke(&next).await;
        self.machine_token().await;
        for which in [GrantSelector::SubjectAndId(subject(), grant_id()), GrantSelector::Subject(subject())] {
            self.t.server.revoke_grants(&which).await.unwrap();
        }
    }

    async fn revoke(&self, tokens: &TokenResponse) {
        let request = RevocationRequest::refresh_token(tokens.refresh_token.as_ref().unwrap());
        let request = request.client_secret_basic(&self.app.id, self.app.secret.as_ref().unwrap());
        self.t.server.revocation_request(&request).await.unwrap();
    }

    async fn machine_token(&self) -> TokenResponse {
        self.t.token_as(&self.app, TokenRequest::client_credentials().scope("user:read")).await.unwrap()
    }
}

fn subject() -> grantor::Subject {
    grantor::Subject::new("alice").unwrap()
}

fn grant_id() -> grantor::GrantId {
    grantor::GrantId::from_bytes([1; 16])
}

#[tokio::test]
async fn requests_use_no_more_statements_than_documented() {
    let Some(wire) = Wire::with(1).await else { return };
    wire.warm_up().await;
    let (t, app) = (&wire.t, &wire.app);

    // Each number is one look-up of the client plus the documented number.
    assert_eq!(wire.statements(wire.machine_token()).await.0, 1 + 1, "client credentials");
    let approved = t.authorize(app).approve_as("alice").await;
    let (taken, tokens) = wire.statements(approved.redeem()).await;
    assert_eq!(taken, 1 + 2, "code redemption");
    let tokens = tokens.unwrap();
    let (taken, tokens) = wire.statements(t.refresh(app, tokens.refresh_token.as_ref().unwrap())).await;
    assert_eq!(taken, 1 + 2, "refresh");
    let tokens = tokens.unwrap();

    let (taken, bearer) = wire.statements(t.bearer(&tokens.access_token)).await;
    assert_eq!(taken, 1, "bearer check");
    // The endpoint reads the token before it revokes the grant.
    let (taken, ()) = wire.statements(wire.revoke(&tokens)).await;
    assert_eq!(taken, 1 + 1 + 2, "revocation endpoint");
    assert!(bearer.is_ok() && t.bearer(&tokens.access_token).await.is_err());
    let by_host = GrantSelector::SubjectAndId(subject(), grant_id());
    assert_eq!(wire.statements(t.server.revoke_grants(&by_host)).await.0, 1, "revocation of a grant that is not there");
    let tokens = wire.tokens().await;
    let grant = t.bearer(&tokens.access_token).await.unwrap().require("user:read").unwrap().grant_id().unwrap();
    let by_host = GrantSelector::SubjectAndId(subject(), grant);
    assert_eq!(wire.statements(t.server.revoke_grants(&by_host)).await.0, 2, "revocation of a grant by the host");
    wire.tokens().await;
    let of_user = GrantSelector::Subject(subject());
    assert_eq!(wire.statements(t.server.revoke_grants(&of_user)).await.0, 3, "revocation of the grants of a user");
    assert_eq!(wire.statements(t.server.revoke_grants(&of_user)).await.0, 3, "revocation of what was revoked before");
}

#[tokio::test]
async fn repeated_refresh_keeps_the_documented_statements() {
    let Some(wire) = Wire::with(1).await else { return };
    wire.warm_up().await;
    let tokens = wire.tokens().await;
    let first = tokens.refresh_token.as_ref().unwrap();
    wire.t.refresh(&wire.app, first).await.unwrap();
    for count in ["its first repeat", "its second repeat"] {
        let (taken, retried) = wire.statements(wire.t.refresh(&wire.app, first)).await;
        assert!(retried.is_ok());
        assert_eq!(
            taken,
            1 + 5,
            "{count}: client, refresh token, its two successors, and the count is read and written"
        );
    }
}

/// sqlx sends a `Sync` when a connection returns to the pool, in the background: with a spare connection no
/// caller waits for the answer.
#[tokio::test]
async fn no_caller_waits_for_the_ping_of_a_returned_connection() {
    let Some(wire) = Wire::with(20).await else { return };
    let approved = wire.t.authorize(&wire.app).approve_as("alice").await;
    wire.proxy.plan(Plan::SwallowPings);
    // From now on, a connection that is returned to the pool can't be used again.
    let tokens = approved.redeem().await.unwrap();
    let next = wire.t.refresh(&wire.app, tokens.refresh_token.as_ref().unwrap()).await.unwrap();
    wire.t.bearer(&next.access_token).await.unwrap().require("user:read").unwrap();
    assert!(wire.proxy.trips().contains(&Trip::Ping), "no connection was returned to the pool");
}

#[tokio::test]
async fn pooled_connection_is_not_tested_before_each_use() {
    let Some(server) = Postgres::get() else { return };
    let proxy = Proxy::to(&server.database().await);
    let storage = PostgresStorage::connect(&proxy.url).await.unwrap();
    let client = |id: &str| grantor::Client::public(id).authorization_code(["https://a.example/cb"]).build().unwrap();
    storage.register(client("a")).await.unwrap();
    for _ in 0..3 {
        storage.list_clients(None, 9).await.unwrap();
    }
    proxy.trips();
    for _ in 0..10 {
        storage.list_clients(None, 9).await.unwrap();
    }
    let pings = proxy.trips().iter().filter(|trip| **trip == Trip::Ping).count();
    // Each return causes one ping, and the ping before the first statement may come late. With a test before each
    // use, there would be 20 pings.
    assert!(pings <= 11, "{pings} pings for 10 statements");
}
