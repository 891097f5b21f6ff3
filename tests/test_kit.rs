//! The test kit that hosts use.

use std::panic::{AssertUnwindSafe, catch_unwind};

use grantor::testing::{Flow, TestServer};
use grantor::{Request, TokenRequest};

const CB: &str = "https://app.example/cb";

#[tokio::test]
async fn test_clients_have_every_scope_of_their_server() {
    let t = TestServer::with(|builder| builder.scope("mail:read", "Read your mail"));
    for app in [t.public_client(CB).await, t.native_client("app.example:/cb").await, t.confidential_client(CB).await] {
        let flow = t.authorize(&app).scope("user:read mail:read offline_access").approve_as("alice").await;
        assert_eq!(flow.redeem().await.unwrap().scope.as_str(), "mail:read offline_access user:read");
    }
    let app = t.public_client_with(|client| client.authorization_code([CB]).scope("mail:read")).await;
    let flow = t.authorize(&app).scope("mail:read").approve_as("alice").await;
    assert!(flow.redeem().await.is_ok());
    let machine = t.confidential_client(CB).await;
    assert!(t.token_as(&machine, TokenRequest::client_credentials().scope("mail:read")).await.is_ok());
}

#[tokio::test]
async fn target_is_the_request_that_the_flow_sends() {
    let t = TestServer::with(|builder| {
        builder.endpoints(|urls| urls.authorization = Some("https://id.example/a/b".into()))
    });
    let app = t.public_client(CB).await;
    let flow =
        t.authorize(&app).scope("user:read").state("x y&z").parameter("prompt", "login").parameter("prompt", "none");
    let target = flow.target();
    assert!(target.starts_with("/a/b?response_type=code&"), "{target}");
    let answer = t.server.authorize(&Request::new("GET", &target)).await;
    let grantor::AuthorizationOutcome::Pending(pending) = answer else { panic!("{answer:?}") };
    assert_eq!((pending.parameter("prompt"), pending.parameter("state")), (Some("none"), Some("x y&z")));
    let plain = t.authorize(&app).without_scope().without_pkce().target();
    assert!(!plain.contains("scope") && !plain.contains("code_challenge"), "{plain}");
}

async fn location(flow: Flow<'_>) -> String {
    let response = flow.approve_as("alice").await.response.into_http();
    response.header("location").expect("the response redirects").to_owned()
}

/// Whether the flow of a test fails at this location.
fn is_refused(flow: &Flow<'_>, location: &str) -> bool {
    let redeem =
        || tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(flow.redeem_location(location));
    std::thread::scope(|scope| scope.spawn(|| catch_unwind(AssertUnwindSafe(redeem)).is_err()).join().unwrap())
}

#[tokio::test]
async fn redeem_location_takes_only_the_matching_answer() {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    let flow = || t.authorize(&app).state("xyz");
    let good = location(flow()).await;
    for wrong in [
        good.replace("app.example", "evil.example"),
        good.replace("/cb", "/cb/x"),
        good.replace("xyz", "other"),
        good.replace("state=xyz", ""),
        good.replace("iss=", "is="),
        good.replace("id.example", "other.example"),
        good.replace("code=", "no="),
        format!("{good}&error=access_denied"),
        "/cb".into(),
    ] {
        assert_ne!(wrong, good);
        assert!(is_refused(&flow(), &wrong), "{wrong}");
    }
    let tokens = flow().redeem_location(&good).await.unwrap();
    assert!(t.bearer(&tokens.access_token).await.is_ok());
    let again = flow().redeem_location(&good).await.unwrap_err();
    assert_eq!(again.code(), "invalid_grant", "an answer of the server is no panic");
}
