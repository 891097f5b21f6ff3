//! Runs the code of the page about tests.

use grantor::testing::TestServer;
use time::Duration;

#[tokio::test]
async fn access_token_expires_and_is_refreshed() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;

    let flow = t.authorize(&app).scope("user:read user:write").approve_as("alice").await;
    let tokens = flow.redeem().await.unwrap();
    let access = t.bearer(&tokens.access_token).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.user().unwrap().as_str(), "alice");

    t.clock.advance(Duration::hours(2));
    assert_eq!(t.bearer(&tokens.access_token).await.unwrap_err().code().unwrap(), "invalid_token");
    let tokens = t.refresh(&app, &tokens.refresh_token.unwrap()).await.unwrap();
    assert!(t.bearer(&tokens.access_token).await.is_ok());
}

#[tokio::test]
async fn access_token_lives_ten_minutes() {
    let ten_minutes = Duration::minutes(10);
    let t = TestServer::with_policy(|policy| policy.access_token_lifetime = ten_minutes);
    let app = t.public_client("https://app.example/cb").await;
    let flow = t.authorize(&app).scope("user:read").approve_as("alice").await;
    let tokens = flow.redeem().await.unwrap();

    t.clock.advance(ten_minutes - Duration::MICROSECOND);
    assert!(t.bearer(&tokens.access_token).await.is_ok());
    t.clock.advance(Duration::MICROSECOND);
    assert_eq!(t.bearer(&tokens.access_token).await.unwrap_err().status(), 401);
}

#[tokio::test]
async fn code_replay_revokes_the_grant() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;
    let flow = t.authorize(&app).approve_as("alice").await;

    let tokens = flow.redeem().await.unwrap();
    assert_eq!(flow.redeem().await.unwrap_err().code(), "invalid_grant");
    assert!(t.bearer(&tokens.access_token).await.is_err(), "the tokens of the grant are revoked");
    assert_eq!(t.events.count("code_replayed"), 1);
}

#[tokio::test]
async fn refresh_token_reuse_after_grace_revokes_the_grant() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;
    let tokens = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    let old = tokens.refresh_token.unwrap();

    let first = t.refresh(&app, &old).await.unwrap(); // this response is lost
    let again = t.refresh(&app, &old).await.unwrap();
    assert_eq!(first.access_token.expose(), again.access_token.expose());
    assert_eq!(t.events.count("refresh_repeated"), 1);

    t.clock.advance(Duration::seconds(30)); // the end of the grace window
    assert!(t.refresh(&app, &old).await.is_err());
    assert!(t.refresh(&app, &again.refresh_token.unwrap()).await.is_err(), "the grant is revoked");
    assert_eq!(t.events.count("refresh_token_reused"), 1);
}

use grantor::{Approval, Subject};

#[tokio::test]
async fn user_denies_or_approves_less() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;

    let pending = t.authorize(&app).scope("user:read user:write").state("xyz").pending().await;
    let response = pending.deny().into_http();
    let location = response.header("location").unwrap();
    assert!(location.contains("error=access_denied") && location.contains("state=xyz"));

    let only_read = Approval::by(Subject::new("alice").unwrap()).scope(["user:read"]);
    let flow = t.authorize(&app).scope("user:read user:write").approve(only_read).await;
    assert_eq!(flow.redeem().await.unwrap().scope.as_str(), "user:read");
}

use grantor::testing::Fault;

#[tokio::test]
async fn refresh_works_again_after_a_storage_failure() {
    let t = TestServer::new();
    let app = t.public_client("https://app.example/cb").await;
    let tokens = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    let old = tokens.refresh_token.unwrap();

    t.faults.fail(3, Fault::LostAnswer); // the third call: find_client, find, redeem
    let error = t.refresh(&app, &old).await.unwrap_err();
    assert_eq!((error.status(), error.code().as_str()), (503, "temporarily_unavailable"));
    assert!(t.refresh(&app, &old).await.is_ok(), "the second attempt does not count as reuse");
}

use grantor::storage::{GrantPage, GrantSelector, StorageError};
use grantor::testing::{Call, Intercepted, Interceptor, Next, Reply};
use grantor::{MemoryStorage, Storage};

/// A storage whose lists fail.
struct NoLists;

#[async_trait::async_trait]
impl Interceptor for NoLists {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        match call {
            Call::ListGrants { .. } => Err(StorageError::unavailable("lists fail in this test")),
            call => next.run(call).await,
        }
    }
}

#[tokio::test]
async fn lists_fail_and_revocation_works() {
    let storage = Intercepted::new(MemoryStorage::new(), NoLists);
    let selector = GrantSelector::Client("app".try_into().unwrap());
    let now = time::OffsetDateTime::now_utc();
    assert!(storage.list_grants(&selector, now, &GrantPage::first(10)).await.is_err());
    assert_eq!(storage.revoke_grants(&selector, now).await.unwrap(), 0);
}

#[cfg(feature = "axum")]
mod own_pages;
