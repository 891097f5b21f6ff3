//! A service whose `Allow` header names the methods of an address.

use super::api_scopes;
use end_to_end::example::Example;
use reqwest::{Method, Response};

const PATHS: &[&str] = &[
    "/",
    "/authorize",
    "/consent",
    "/login",
    "/logout",
    "/applications",
    "/applications/new",
    "/applications/change",
    "/applications/secret",
    "/applications/remove",
    "/connected",
    "/connected/end",
    "/connected/revoke",
    "/connected/revoke-all",
    "/demo",
    "/demo/callback",
    "/demo/result",
    "/token",
    "/revoke",
    "/introspect",
    "/.well-known/oauth-authorization-server",
    "/.well-known/oauth-protected-resource/api",
    "/api/me",
    "/api/application",
];

// Regression: `Allow` named HEAD at the authorization endpoint, which refuses HEAD.
#[tokio::test]
async fn allow_names_head_only_where_head_is_served() {
    let example = Example::with("[]", api_scopes::USERS, api_scopes::SCOPES, &[]);
    let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let send = async |method: Method, path: &str| http.request(method, example.url(path)).send().await.unwrap();
    let allow = |answer: &Response| answer.headers().get("allow").map(|allow| allow.to_str().unwrap().to_owned());
    let mut refused = Vec::new();
    for path in PATHS {
        let head = send(Method::HEAD, path).await;
        assert_ne!(head.status(), 404, "{path}");
        for answer in [send(Method::PATCH, path).await, send(Method::DELETE, path).await] {
            // An API checks the token first, for every method.
            assert_eq!(answer.status(), if path.starts_with("/api/") { 401 } else { 405 }, "{path}");
            let Some(allowed) = allow(&answer) else { continue };
            assert_eq!(allowed.contains("HEAD"), head.status() != 405, "{path}: {allowed}");
        }
        if head.status() == 405 {
            assert!(allow(&head).is_some_and(|allowed| !allowed.contains("HEAD")), "{path}");
            refused.push(*path);
        }
    }
    assert!(refused.contains(&"/authorize") && refused.contains(&"/token") && !refused.contains(&"/login"));
    assert_eq!(allow(&send(Method::PATCH, "/authorize").await).as_deref(), Some("GET, POST"));
}
