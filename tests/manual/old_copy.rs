//! The claims of the operators' page about a database that was restored from an old copy.

use std::path::{Path, PathBuf};

use grantor::storage::{GrantSelector, SqliteStorage};
use grantor::testing::{ISSUER, TestClock};
use grantor::{
    Approval, AuthorizationRequest, AuthorizationServer, BearerRequest, Client, ClientRegistry, CodeChallenge,
    CodeVerifier, Error, RefreshToken, Subject, TokenRequest, TokenResponse,
};
use sqlx::{ConnectOptions, Executor};
use time::Duration;

/// A server over a database file, and its one public client.
struct Server {
    oauth: AuthorizationServer,
    storage: SqliteStorage,
}

impl Server {
    async fn open(file: &Path, clock: &TestClock) -> Self {
        let storage = SqliteStorage::open(file).await.unwrap();
        let oauth = AuthorizationServer::builder(ISSUER).storage(storage.clone()).clock(clock.clone());
        Self { oauth: oauth.scope("user:read", "Read").build().await.unwrap(), storage }
    }

    async fn grant_to(&self, user: &str) -> TokenResponse {
        let verifier = CodeVerifier::new("v".repeat(43));
        let challenge = CodeChallenge::s256(&verifier);
        let request = AuthorizationRequest::code("app").scope("user:read").code_challenge_s256(challenge.as_str());
        let Ok(pending) = self.oauth.authorization_request(&request).await else { panic!("refused") };
        let answer = grantor::testing::approve(pending, Approval::by(Subject::new(user).unwrap())).await;
        let request = TokenRequest::authorization_code(answer.code().unwrap()).code_verifier(&verifier);
        self.oauth.token_request(&request.client_id("app")).await.unwrap()
    }

    async fn refresh(&self, token: &RefreshToken) -> Result<TokenResponse, Error> {
        self.oauth.token_request(&TokenRequest::refresh_token(token).client_id("app")).await
    }

    async fn accepts(&self, tokens: &TokenResponse) -> bool {
        self.oauth.bearer_request(&BearerRequest::of(&tokens.access_token)).await.is_ok()
    }

    /// The procedure of the page.
    async fn revoke_everything(&self) -> u64 {
        let (mut last, mut revoked) = (None, 0);
        loop {
            let page = self.storage.list_clients(last.as_ref(), 100).await.unwrap();
            for client in &page {
                revoked += self.oauth.revoke_grants(&GrantSelector::Client(client.id().clone())).await.unwrap();
            }
            match page.last() {
                Some(client) => last = Some(client.id().clone()),
                None => return revoked,
            }
        }
    }
}

/// Files that are removed when the test ends.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("grantor-old-copy-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

async fn copy(from: &Path, to: &Path) {
    let url = format!("sqlite:{}", from.display());
    let options: sqlx::sqlite::SqliteConnectOptions = url.parse().unwrap();
    let statement = format!("VACUUM INTO '{}'", to.display());
    options.connect().await.unwrap().execute(sqlx::AssertSqlSafe(statement)).await.unwrap();
}

#[tokio::test]
async fn restored_copy_revives_tokens_until_all_are_revoked() {
    let (folder, clock) = (Folder::new(), TestClock::default());
    let (file, old) = (folder.0.join("now.db"), folder.0.join("old.db"));
    let server = Server::open(&file, &clock).await;
    let app = Client::public("app").authorization_code(["https://app.example/cb"]).refresh_token().scope("user:read");
    server.storage.register(app.build().unwrap()).await.unwrap();
    let (alice, bob) = (server.grant_to("alice").await, server.grant_to("bob").await);
    copy(&file, &old).await;

    clock.advance(Duration::minutes(5));
    let spent = alice.refresh_token.as_ref().unwrap();
    let newer = server.refresh(spent).await.unwrap();
    server.oauth.revoke_grants(&GrantSelector::Subject(Subject::new("bob").unwrap())).await.unwrap();
    clock.advance(Duration::minutes(5));
    assert!(!server.accepts(&bob).await);

    let restored = Server::open(&old, &clock).await;
    assert!(restored.accepts(&bob).await, "the revoked grant works again");
    assert!(!restored.accepts(&newer).await, "the token issued later is unknown");
    let error = restored.refresh(newer.refresh_token.as_ref().unwrap()).await.unwrap_err();
    assert_eq!(error.code(), "invalid_grant");
    assert!(restored.accepts(&alice).await, "the unknown token revoked nothing");
    let revived = restored.refresh(spent).await.unwrap();

    assert_eq!(restored.revoke_everything().await, 2);
    assert!(!restored.accepts(&bob).await && !restored.accepts(&alice).await && !restored.accepts(&revived).await);
    assert!(restored.refresh(revived.refresh_token.as_ref().unwrap()).await.is_err());
}
