//! Signed tokens of several resources: each names its own audience, and each resource has its own format.

use std::sync::Arc;

use grantor::jose::{Algorithm, KeyRing, SigningKey};
use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{
    AuthorizationServer, Builder, ErrorCode, ProtectedResource, Request, SigningKeys, TokenRequest, TokenResponse,
};
use time::Duration;

use super::{API, is_active, key, machine, parts, revoke};

const OTHER: &str = "https://other.example";

fn keys(key: &Arc<SigningKey>) -> SigningKeys {
    SigningKeys::new(KeyRing::new().sign_with(Arc::clone(key)).build().unwrap())
}

fn api() -> ProtectedResource {
    ProtectedResource::new(API).scope("user:read")
}

fn other() -> ProtectedResource {
    ProtectedResource::new(OTHER).scope("user:read user:write")
}

async fn token_for(t: &TestServer, app: &TestClient, scope: &str, resource: &str) -> TokenResponse {
    t.token_as(app, TokenRequest::client_credentials().scope(scope).parameter("resource", resource)).await.unwrap()
}

// covers: JA-06 (RFC 9068 §3), JA-09 (RFC 9068 §3, §5), JA-11 (RFC 9068 §2.2.3), JA-12 (RFC 9068 §5)
#[tokio::test]
async fn signed_token_has_the_requested_audience_and_its_scope() {
    let key = key(Algorithm::Es256);
    let t = TestServer::with(|builder| {
        builder.signing_keys(keys(&key).sign_access_tokens()).protected_resource(api()).resource(other())
    });
    let app = machine(&t).await;
    for (resource, scope) in [(API, "user:read"), (OTHER, "user:read user:write")] {
        let issued = token_for(&t, &app, "user:read user:write", resource).await;
        let (_, claims) = parts(&issued.access_token);
        assert_eq!((&claims["aud"], &claims["scope"]), (&resource.into(), &scope.into()));
        assert_eq!(issued.scope.as_str(), scope);
        for own in t.resources() {
            let request =
                Request::get("/").with_header("authorization", format!("Bearer {}", issued.access_token.expose()));
            assert_eq!(own.bearer(&request).await.is_ok(), own.identifier() == resource, "{resource}");
        }
    }
    let request = TokenRequest::client_credentials().scope("user:read").parameter("resource", API);
    let error = t.token_as(&app, request.parameter("resource", OTHER)).await.unwrap_err();
    assert_eq!(error.code(), ErrorCode::INVALID_TARGET);
}

#[tokio::test]
async fn each_resource_has_its_own_token_format() {
    let key = key(Algorithm::Es256);
    for (is_signed, of_api, of_other) in [(true, 2, 0), (false, 0, 2)] {
        let t = TestServer::with(|builder| {
            let keys = if is_signed { keys(&key).sign_access_tokens() } else { keys(&key) };
            let other = if is_signed { other().opaque_tokens() } else { other().signed_tokens() };
            builder.signing_keys(keys).protected_resource(api()).resource(other)
        });
        let app = machine(&t).await;
        for (resource, dots) in [(API, of_api), (OTHER, of_other)] {
            let issued = token_for(&t, &app, "user:read", resource).await;
            let text = issued.access_token.expose();
            assert_eq!(text.matches('.').count(), dots, "{resource}");
            assert!(is_active(&t, &app, text).await);
            revoke(&t, &app, text).await;
            assert!(!is_active(&t, &app, text).await);
        }
        // A repeat makes the same kind of text again.
        let app = t.confidential_client("https://app.example/cb").await;
        for (resource, dots) in [(API, of_api), (OTHER, of_other)] {
            let flow = t.authorize(&app).parameter("resource", resource).approve_as("alice").await;
            let refresh = flow.redeem().await.unwrap().refresh_token.unwrap();
            let first = t.refresh(&app, &refresh).await.unwrap().access_token;
            let again = t.refresh(&app, &refresh).await.unwrap().access_token;
            assert_eq!([&first, &again].map(|text| text.expose().matches('.').count()), [dots; 2], "{resource}");
            if dots > 0 {
                assert_eq!(parts(&first), parts(&again));
            } else {
                assert_eq!(first.expose(), again.expose());
            }
        }
    }
}

async fn rebuilt(t: &TestServer, change: impl FnOnce(Builder) -> Builder) -> AuthorizationServer {
    let builder = AuthorizationServer::builder(ISSUER).storage(t.storage.clone()).clock(t.clock.clone());
    change(builder.scope("user:read", "Read").scope("user:write", "Write")).build().await.unwrap()
}

#[tokio::test]
async fn signed_token_outlives_a_new_name_but_no_removal() {
    let key = key(Algorithm::Es256);
    let t = TestServer::with(|builder| {
        builder
            .signing_keys(keys(&key).sign_access_tokens())
            .protected_resource(api().access_token_lifetime(Duration::MINUTE))
    });
    let app = machine(&t).await;
    let issued = token_for(&t, &app, "user:read", API).await;
    assert_eq!(issued.expires_in, Duration::MINUTE);
    let request = Request::get("/").with_header("authorization", format!("Bearer {}", issued.access_token.expose()));
    for (resource, is_accepted) in [(other().formerly(API), true), (other(), false)] {
        let server = rebuilt(&t, |builder| builder.signing_keys(keys(&key)).protected_resource(resource)).await;
        assert_eq!(server.bearer(&request).await.is_ok(), is_accepted);
    }
}
