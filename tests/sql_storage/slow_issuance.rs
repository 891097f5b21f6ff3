//! Revocations while a slow customizer delays an issuance, on every shipped storage.

use std::sync::Arc;

use async_trait::async_trait;
use grantor::customizer::{Issuance, TokenChanges, TokenCustomizer};
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::storage::{ClientRegistry, ClientStore, EphemeralStore, GrantSelector, PostgresStorage, SqliteStorage};
use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{
    AccessToken, AuthorizationServer, Builder, Error, ErrorCode, GrantType, MemoryStorage, Storage, Subject,
    TokenRequest, TokenResponse,
};
use tokio::sync::Semaphore;

use crate::postgres::Postgres;
use crate::records::Folder;

pub(crate) const DERIVING: &str = "urn:example:grant:deriving";
const CB: &str = "https://app.example/cb";
const SCOPE: &str = "user:read offline_access";

/// Changes nothing, but each issuance waits until a test lets it continue.
#[derive(Clone)]
struct Slow {
    arrived: Arc<Semaphore>,
    go_on: Arc<Semaphore>,
}

impl Slow {
    /// Waits until this number of issuances wait.
    async fn arrived(&self, count: u32) {
        self.arrived.acquire_many(count).await.unwrap().forget();
    }

    fn go_on(&self, count: usize) {
        self.go_on.add_permits(count);
    }
}

#[async_trait]
impl TokenCustomizer for Slow {
    async fn issuance(&self, _: &Issuance<'_>) -> Result<TokenChanges, Error> {
        self.arrived.add_permits(1);
        self.go_on.acquire().await.unwrap().forget();
        Ok(TokenChanges::new())
    }
}

/// Derives a grant from the grant of `subject_token`.
struct Deriving(GrantType);

#[async_trait]
impl GrantHandler for Deriving {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["subject_token"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let token = AccessToken::new(context.params().require("subject_token")?);
        let parent = context.find(token).await?.must_be_live(context.now())?;
        Ok(Decision::open(OpenGrant::new(context.scope()?).child_of(parent)))
    }
}

/// A server whose issuances wait.
struct Host {
    t: TestServer,
    app: TestClient,
    slow: Slow,
}

/// Returns a server on this storage with changed settings, and a client of it that can derive grants.
pub(crate) async fn deriving_server(
    storage: impl Storage + ClientRegistry + EphemeralStore + 'static,
    change: impl FnOnce(Builder) -> Builder,
) -> (TestServer, TestClient) {
    let mut t = TestServer::new();
    let app = t
        .confidential_client_with(|client| {
            client.authorization_code([CB]).refresh_token().extension_grant(DERIVING).scope(SCOPE)
        })
        .await;
    let registered = t.storage.find_client(&app.id).await.unwrap().unwrap();
    storage.register((*registered).clone()).await.unwrap();
    let builder = AuthorizationServer::builder(ISSUER)
        .storage(storage)
        .scope("user:read", "Read your profile")
        .scope("offline_access", "Keep access while you are away")
        .clock(t.clock.clone())
        .entropy(t.entropy.clone())
        .extension_grant(Deriving(GrantType::new(DERIVING).unwrap()));
    t.server = change(builder).build().await.unwrap();
    (t, app)
}

impl Host {
    async fn over(storage: impl Storage + ClientRegistry + EphemeralStore + 'static) -> Self {
        let slow = Slow { arrived: Arc::new(Semaphore::new(0)), go_on: Arc::new(Semaphore::new(0)) };
        let (t, app) = deriving_server(storage, |builder| builder.token_customizer(slow.clone())).await;
        Self { t, app, slow }
    }

    async fn derive(&self, parent: &AccessToken) -> Result<TokenResponse, Error> {
        let request = TokenRequest::new(DERIVING).scope("user:read").parameter("subject_token", parent.expose());
        self.t.token_as(&self.app, request).await
    }

    async fn revoke(&self) -> u64 {
        let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
        self.t.server.revoke_grants(&alice).await.unwrap()
    }

    async fn tokens(&self) -> TokenResponse {
        self.slow.go_on(1);
        let tokens = self.t.authorize(&self.app).scope(SCOPE).approve_as("alice").await.redeem().await.unwrap();
        self.slow.arrived(1).await;
        tokens
    }

    async fn lives(&self, token: &AccessToken) -> bool {
        self.t.bearer(token).await.is_ok()
    }
}

fn assert_bad_grant(answer: Result<TokenResponse, Error>) {
    assert_eq!(answer.expect_err("the grant was revoked").code(), ErrorCode::INVALID_GRANT);
}

async fn revoked_before_the_token_is_stored(host: &Host) {
    let tokens = host.tokens().await;
    let refresh_token = tokens.refresh_token.as_ref().unwrap();
    let refresh = host.t.refresh(&host.app, refresh_token);
    let revoke = async {
        host.slow.arrived(2).await;
        assert_eq!(host.revoke().await, 1);
        host.slow.go_on(2);
    };
    let (derived, refreshed, ()) = tokio::join!(host.derive(&tokens.access_token), refresh, revoke);
    assert_bad_grant(derived);
    assert_bad_grant(refreshed);
    assert_eq!(host.revoke().await, 0, "the revocation missed a grant");
}

/// The tokens are stored before the revocation is complete, or never.
async fn revoked_while_the_token_is_stored(host: &Arc<Host>) {
    for _ in 0..20 {
        let tokens = Arc::new(host.tokens().await);
        let requests = [true, false].map(|derives| {
            let (host, tokens) = (Arc::clone(host), Arc::clone(&tokens));
            tokio::spawn(async move {
                if derives {
                    host.derive(&tokens.access_token).await
                } else {
                    host.t.refresh(&host.app, tokens.refresh_token.as_ref().unwrap()).await
                }
            })
        });
        host.slow.arrived(2).await;
        let revoking = Arc::clone(host);
        let revocation = tokio::spawn(async move { revoking.revoke().await });
        host.slow.go_on(2);
        let revoked = revocation.await.unwrap();
        assert!((1..=2).contains(&revoked));
        for request in requests {
            match request.await.unwrap() {
                Ok(issued) => {
                    assert!(
                        !host.lives(&issued.access_token).await,
                        "the token is accepted although its grant was revoked"
                    );
                }
                refused => assert_bad_grant(refused),
            }
        }
        assert_eq!(host.revoke().await, 0, "the revocation missed a grant");
    }
}

async fn check(storage: impl Storage + ClientRegistry + EphemeralStore + Clone + 'static) {
    let host = Arc::new(Host::over(storage).await);
    revoked_before_the_token_is_stored(&host).await;
    revoked_while_the_token_is_stored(&host).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_slow_issuance_in_memory() {
    check(MemoryStorage::new()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_slow_issuance_in_sqlite() {
    let folder = Folder::new();
    check(SqliteStorage::open(folder.file()).await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn revocation_ends_slow_issuance_in_postgresql() {
    let Some(server) = Postgres::get() else { return };
    check(PostgresStorage::connect(&server.database().await).await.unwrap()).await;
}
