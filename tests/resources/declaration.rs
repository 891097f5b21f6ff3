//! The declaration of resources: their documents, lifetimes, and mistakes that do not build.

use grantor::testing::{ISSUER, TestServer};
use grantor::{AuthorizationServer, BuildError, Builder, MemoryStorage, ProtectedResource, Request};
use serde_json::json;
use time::Duration;

use crate::common::{CB, json};
use crate::{CALENDAR, MAIL, calendar, granted, mail, refresh, refresh_of, tokens, with_default};

// covers: RM-06 (RFC 9728 §4), B55
#[tokio::test]
async fn each_resource_has_its_own_document_and_challenge() {
    let t = with_default();
    assert_eq!(t.metadata_document()["protected_resources"], json!([CALENDAR, MAIL]));
    for (identifier, path, scopes, metadata) in [
        (
            MAIL,
            "/.well-known/oauth-protected-resource/mail",
            json!(["user:read"]),
            "https://id.example/.well-known/oauth-protected-resource/mail",
        ),
        (
            CALENDAR,
            "/.well-known/oauth-protected-resource",
            json!(["user:read", "user:write"]),
            "https://calendar.example/.well-known/oauth-protected-resource",
        ),
    ] {
        let resource = t.resource(identifier).unwrap();
        assert_eq!(resource.metadata_path(), path);
        let served = t.server.handle(&Request::get(path)).await;
        assert_eq!((served.status(), served.header("access-control-allow-origin")), (200, Some("*")));
        assert_eq!(json(&served)["resource"], identifier);
        assert_eq!(json(&served)["scopes_supported"], scopes);
        assert_eq!(served.body(), resource.metadata(&Request::get(path)).body());
        let error = resource.bearer(&Request::get("/")).await.unwrap_err().to_response();
        let challenge = error.header("www-authenticate").unwrap();
        assert!(challenge.contains(&format!("resource_metadata=\"{metadata}\"")), "{challenge}");
    }
    assert!(t.resource("https://other.example").is_none());
    assert_eq!(t.resources().count(), 2);
}

#[tokio::test]
async fn documents_with_one_path_are_not_confused() {
    let of = |host: &str| ProtectedResource::new(format!("https://{host}"));
    let path = "/.well-known/oauth-protected-resource";
    let t = TestServer::with(|builder| builder.resource(of("a.example")).resource(of("b.example")));
    assert_eq!(t.server.handle(&Request::get(path)).await.status(), 404);
    assert_eq!(
        json(&t.resource("https://b.example").unwrap().metadata(&Request::get(path)))["resource"],
        "https://b.example"
    );
    let t = TestServer::with(|builder| builder.resource(of("a.example")).protected_resource(of("id.example")));
    assert_eq!(json(&t.server.handle(&Request::get(path)).await)["resource"], "https://id.example");
}

#[tokio::test]
async fn wrong_declaration_does_not_build() {
    let build = |change: &dyn Fn(Builder) -> Builder| {
        let builder = AuthorizationServer::builder(ISSUER).storage(MemoryStorage::new()).scope("user:read", "Read");
        change(builder.scope("offline_access", "Stay")).build()
    };
    let twice: &dyn Fn(Builder) -> Builder = &|builder| {
        builder
            .resource(ProtectedResource::new("https://a.example"))
            .protected_resource(ProtectedResource::new("https://a.example/"))
    };
    assert!(matches!(build(twice).await, Err(BuildError::RepeatedResource(own)) if own == "https://a.example/"));
    let former: &dyn Fn(Builder) -> Builder = &|builder| {
        builder.resource(ProtectedResource::new("https://a.example")).resource(mail().formerly("https://a.example"))
    };
    assert!(matches!(build(former).await, Err(BuildError::RepeatedResource(_))));
    let relative: &dyn Fn(Builder) -> Builder = &|builder| builder.resource(ProtectedResource::new("/mail"));
    assert!(matches!(build(relative).await, Err(BuildError::Resource(own)) if own == "/mail"));
    let scope: &dyn Fn(Builder) -> Builder = &|builder| builder.resource(mail().scope("other"));
    assert!(matches!(build(scope).await, Err(BuildError::ResourceScope(own)) if own == "other"));
    for (one, other) in [
        ("https://a.example/x", "https://a.example/x/"),
        ("https://a.example/x", "https://a.example/x?y=1"),
        ("https://id.example/x?y=1", "https://id.example/x?y=2"),
    ] {
        let same: &dyn Fn(Builder) -> Builder =
            &|builder| builder.resource(ProtectedResource::new(one)).protected_resource(ProtectedResource::new(other));
        let error = build(same).await.unwrap_err().to_string();
        let problem = "has its metadata document at the path of another resource: give it another path";
        assert_eq!(error, format!("the resource {other:?} {problem}"));
    }
    for (resource, problem) in [
        (mail().signed_tokens(), "has signed tokens, but the server has no signing keys: call signing_keys"),
        (
            mail().access_token_lifetime(Duration::ZERO),
            "has an access_token_lifetime below one second: set a longer one",
        ),
        (
            mail().scope("user:read offline_access"),
            "lists offline_access, which gives no access to the API: remove it from its scope",
        ),
        (mail().introspected_by("\u{e9}"), "names a client identifier in introspected_by that is not valid"),
    ] {
        let change: &dyn Fn(Builder) -> Builder = &|builder| builder.resource(resource.clone());
        let error = build(change).await.unwrap_err();
        assert_eq!(error.to_string(), format!("the resource {MAIL:?} {problem}"));
    }
}

#[tokio::test]
async fn lifetime_of_a_resource_shortens_its_tokens() {
    let t = TestServer::with(|builder| {
        let short = calendar().access_token_lifetime(Duration::minutes(5));
        builder.protected_resource(mail().access_token_lifetime(Duration::days(1))).resource(short)
    });
    let app = t.confidential_client(CB).await;
    for (resource, lifetime) in [(MAIL, 3600), (CALENDAR, 300)] {
        let first = tokens(&t, &app, "user:read", &[resource]).await;
        assert_eq!(first["expires_in"], lifetime, "{resource}");
        let second = granted(&refresh(&t, &app, refresh_of(&first).expose(), &[]).await);
        assert_eq!(second["expires_in"], lifetime, "{resource}");
    }
}

#[tokio::test]
async fn tokens_may_have_scopes_that_the_document_does_not_list() {
    let t = TestServer::with(|builder| {
        builder.protected_resource(mail().unlisted_scope("user:write")).resource(calendar().scope("user:read"))
    });
    let app = t.confidential_client(CB).await;
    let both = tokens(&t, &app, "user:read user:write", &[MAIL]).await;
    assert_eq!(both["scope"], "user:read user:write");
    assert_eq!(t.resource_metadata_document().unwrap()["scopes_supported"], json!(["user:read"]));
}
