//! [`TestServer`] and its clients and users.

use std::collections::HashMap;
use std::ops::Deref;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use async_trait::async_trait;
use subtle::ConstantTimeEq;

use super::flow::Flow;
use super::{Faults, Intercepted, RecordingObserver, SeededEntropy, TestClock};
use crate::authenticator::{Authenticator, ResourceOwnerAttempt, SubjectStatus, Verdict};
use crate::bearer::{Bearer, BearerError, BearerRequest};
use crate::client::{Client, ClientBuilder, ClientCredential, ClientError};
use crate::error::{AuthenticatorError, Error};
use crate::policy::Policy;
use crate::record::Subject;
use crate::secret::{AccessToken, ClientSecret, Password, RefreshToken};
use crate::server::{AuthorizationServer, Builder};
use crate::storage::{ClientRegistry, MemoryStorage};
use crate::token::{TokenRequest, TokenResponse};

/// The issuer of every [`TestServer`].
pub const ISSUER: &str = "https://id.example";

/// A server with memory storage for tests. It offers the scopes `user:read`, `user:write` and `offline_access` and has
/// no default scope. It derefs to its [`AuthorizationServer`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct TestServer {
    /// The server.
    pub server: AuthorizationServer,
    /// The clock of the server.
    pub clock: TestClock,
    /// The source of randomness of the server.
    pub entropy: SeededEntropy,
    /// The planned faults of the server's storage calls.
    pub faults: Faults,
    /// The storage of the server, for direct access without faults.
    pub storage: MemoryStorage,
    /// The users of the password grant, and the status of subjects.
    pub users: TestUsers,
    /// The recorded events of the server.
    pub events: RecordingObserver,
}

/// Returns the output of a future that is never pending. Building a server only waits for its storage, and memory
/// storage never waits.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => unreachable!("memory storage does not wait"),
    }
}

/// A client of a [`TestServer`], with its credentials.
#[derive(Debug)]
#[non_exhaustive]
pub struct TestClient {
    /// The identifier of the client.
    pub id: String,
    /// The secret of the client. `None` for a public client.
    pub secret: Option<ClientSecret>,
    /// The first redirect URI of the client, or an empty text if it has none.
    pub redirect_uri: String,
}

impl Default for TestServer {
    fn default() -> Self {
        Self::new()
    }
}

impl Deref for TestServer {
    type Target = AuthorizationServer;
    fn deref(&self) -> &AuthorizationServer {
        &self.server
    }
}

impl TestServer {
    /// Returns a server with the default policy.
    #[must_use]
    pub fn new() -> Self {
        Self::with_policy(|_| {})
    }

    /// Returns a server with a changed policy. `change` gets the default policy.
    #[must_use]
    pub fn with_policy(change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy::default();
        change(&mut policy);
        Self::with(|builder| builder.policy(policy))
    }

    /// Returns a server with changed settings. `change` gets the builder of a default test server.
    ///
    /// # Panics
    /// The settings are invalid.
    #[must_use]
    pub fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let (clock, entropy, storage) = (TestClock::default(), SeededEntropy::new(7), MemoryStorage::new());
        let (faults, users, events) = (Faults::default(), TestUsers::default(), RecordingObserver::default());
        let builder = AuthorizationServer::builder(ISSUER)
            .storage(Intercepted::new(storage.clone(), faults.clone()))
            .authenticator(users.clone())
            .scope("user:read", "Read your profile")
            .scope("user:write", "Change your profile")
            .scope("offline_access", "Keep access while you are away")
            .clock(clock.clone())
            .entropy(entropy.clone())
            .observer(events.clone());
        let server = ready(change(builder).build()).expect("the settings of the test are valid");
        Self { server, clock, entropy, faults, storage, users, events }
    }

    /// Registers a public client for the code and refresh token grants, with all scopes.
    pub async fn public_client(&self, redirect_uri: &str) -> TestClient {
        self.public_client_with(|client| self.for_users(client, redirect_uri)).await
    }

    /// Registers a public client. `change` gets a builder without grant types.
    pub async fn public_client_with(&self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> TestClient {
        let id = format!("public-{}", self.serial().await);
        self.register(change(Client::public(&id)).build(), None).await
    }

    /// Registers a native app (RFC 8252) for the code and refresh token grants, with all scopes.
    pub async fn native_client(&self, redirect_uri: &str) -> TestClient {
        let id = format!("native-{}", self.serial().await);
        self.register(self.for_users(Client::native(&id), redirect_uri).build(), None).await
    }

    /// Registers a confidential client for the code, refresh token and client credentials grants, with all scopes.
    pub async fn confidential_client(&self, redirect_uri: &str) -> TestClient {
        self.confidential_client_with(|client| self.for_users(client, redirect_uri).client_credentials()).await
    }

    /// Registers a confidential client with a generated secret. `change` gets a builder without grant types.
    pub async fn confidential_client_with(&self, change: impl FnOnce(ClientBuilder) -> ClientBuilder) -> TestClient {
        let secret = ClientSecret::generate(&self.entropy).expect("seeded entropy does not fail");
        let id = format!("confidential-{}", self.serial().await);
        let client = change(Client::confidential(&id, ClientCredential::secret(&secret)));
        self.register(client.build(), Some(secret)).await
    }

    /// Adds the code and refresh token grants and all scopes of the server.
    fn for_users(&self, client: ClientBuilder, redirect_uri: &str) -> ClientBuilder {
        let scope: Vec<_> = self.server.scopes().map(|scope| scope.token).collect();
        client.authorization_code([redirect_uri]).refresh_token().scope(scope.join(" "))
    }

    /// Registers any client. `secret` is the secret with which the [`TestClient`] authenticates.
    pub async fn register(&self, client: Result<Client, ClientError>, secret: Option<ClientSecret>) -> TestClient {
        let client = client.expect("the client of the test is valid");
        let redirect_uri = client.redirect_uris().first().map_or("", |uri| uri.as_str()).to_owned();
        let id = client.id().as_str().to_owned();
        self.storage.register(client).await.expect("the client of the test is new");
        TestClient { id, secret, redirect_uri }
    }

    /// Starts an authorization request of a client, by default for `user:read` with PKCE.
    #[must_use = "a flow does nothing until it is sent or approved"]
    pub fn authorize<'a>(&'a self, client: &'a TestClient) -> Flow<'a> {
        Flow::new(self, client)
    }

    /// Sends a token request with the credentials of a client.
    ///
    /// # Errors
    /// The error of the token endpoint.
    pub async fn token_as(&self, client: &TestClient, request: TokenRequest<'_>) -> Result<TokenResponse, Error> {
        let request = match &client.secret {
            Some(secret) => request.client_secret_basic(&client.id, secret),
            None => request.parameter("client_id", client.id.clone()),
        };
        self.server.token_request(&request).await
    }

    /// Sends a refresh request with the credentials of a client.
    ///
    /// # Errors
    /// The error of the token endpoint.
    pub async fn refresh(&self, client: &TestClient, token: &RefreshToken) -> Result<TokenResponse, Error> {
        self.token_as(client, TokenRequest::refresh_token(token)).await
    }

    /// Checks an access token as a protected resource does.
    ///
    /// # Errors
    /// The error of the bearer check.
    pub async fn bearer(&self, token: &AccessToken) -> Result<Bearer, BearerError> {
        self.server.bearer_request(&BearerRequest::of(token)).await
    }

    async fn serial(&self) -> usize {
        let clients = self.storage.list_clients(None, usize::MAX).await.expect("memory storage does not fail");
        clients.len() + 1
    }
}

/// The users of the password grant, and the status of subjects. Clones share them.
#[derive(Clone, Default)]
pub struct TestUsers(Arc<Mutex<Users>>);

#[derive(Default)]
struct Users {
    passwords: HashMap<String, Box<str>>,
    statuses: HashMap<String, SubjectStatus>,
}

impl TestUsers {
    /// Adds a user. The subject of the user is the user name.
    pub fn add(&self, username: &str, password: &str) {
        self.users().passwords.insert(username.to_owned(), password.into());
    }

    /// Sets the status of a subject. All subjects are active by default, even those that were not added.
    pub fn set_status(&self, subject: &str, status: SubjectStatus) {
        self.users().statuses.insert(subject.to_owned(), status);
    }

    fn knows(&self, username: &str, password: &Password) -> bool {
        let own = self.users().passwords.get(username).cloned();
        own.is_some_and(|own| own.as_bytes().ct_eq(password.expose().as_bytes()).into())
    }

    fn users(&self) -> MutexGuard<'_, Users> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for TestUsers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TestUsers([redacted])")
    }
}

#[async_trait]
impl Authenticator for TestUsers {
    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        if !self.knows(attempt.username, attempt.password) {
            return Ok(Verdict::Rejected);
        }
        Subject::new(attempt.username).map(Verdict::Accepted).map_err(AuthenticatorError::new)
    }

    async fn subject_status(&self, subject: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        Ok(self.users().statuses.get(subject.as_str()).copied().unwrap_or(SubjectStatus::Active))
    }
}
