//! Several resources (RFC 8707, RFC 9728): each access token is for one of them.

#[path = "../common/mod.rs"]
mod common;

mod changes;
mod consent;
mod declaration;
mod derived;
mod introspection;
#[cfg(feature = "jwt")]
mod request_object;
mod requests;

use grantor::testing::{ISSUER, TestClient, TestServer, approve};
use grantor::{
    AccessToken, Approval, AuthorizationOutcome, AuthorizationServer, Builder, PendingAuthorization, ProtectedResource,
    RefreshToken, Request, Response,
};
use serde_json::Value;

use crate::common::{CB, error_of, form, json, query_of, token_as};

const MAIL: &str = "https://id.example/mail";
const CALENDAR: &str = "https://calendar.example";

fn mail() -> ProtectedResource {
    ProtectedResource::new(MAIL).scope("user:read")
}

fn calendar() -> ProtectedResource {
    ProtectedResource::new(CALENDAR).scope("user:read user:write")
}

/// A server whose default resource is the mail.
fn with_default() -> TestServer {
    TestServer::with(|builder| builder.protected_resource(mail()).resource(calendar()))
}

fn without_default() -> TestServer {
    TestServer::with(|builder| builder.resource(mail()).resource(calendar()))
}

/// A request for a code with these resources.
fn ask(t: &TestServer, app: &TestClient, scope: &str, resources: &[&str]) -> Request {
    let named: Vec<(&str, &str)> = resources.iter().map(|resource| ("resource", *resource)).collect();
    Request::get(format!("{}&{}", t.authorize(app).scope(scope).state("s").target(), form(&named)))
}

/// The request after its checks.
async fn pending(t: &TestServer, app: &TestClient, scope: &str, resources: &[&str]) -> PendingAuthorization {
    match t.server.authorize(&ask(t, app, scope, resources)).await {
        AuthorizationOutcome::Pending(pending) => pending,
        AuthorizationOutcome::Respond(response) => panic!("the request was refused: {response:?}"),
    }
}

/// The code that a request gets after alice has approved it.
async fn code(t: &TestServer, app: &TestClient, scope: &str, resources: &[&str]) -> String {
    let pending = pending(t, app, scope, resources).await;
    query_of(&approve(pending, Approval::by(subject())).await.into_http())["code"].clone()
}

/// A server with the same storage, clock and scopes, and other settings.
async fn rebuilt(t: &TestServer, change: impl FnOnce(Builder) -> Builder) -> AuthorizationServer {
    let builder = AuthorizationServer::builder(ISSUER).storage(t.storage.clone()).clock(t.clock.clone());
    let builder = builder.scope("user:read", "Read your profile").scope("user:write", "Change your profile");
    change(builder.scope("offline_access", "Keep access while you are away")).build().await.unwrap()
}

fn subject() -> grantor::Subject {
    "alice".parse().unwrap()
}

/// Redeems a code of [`ask`].
async fn redeem(t: &TestServer, app: &TestClient, code: &str, more: &[(&str, &str)]) -> Response {
    let verifier = "a-verifier-of-forty-three-characters-at-least";
    let own = [("grant_type", "authorization_code"), ("code", code), ("redirect_uri", CB), ("code_verifier", verifier)];
    t.server.token(&token_as(app, &[&own, more].concat())).await
}

async fn refresh(t: &TestServer, app: &TestClient, token: &str, more: &[(&str, &str)]) -> Response {
    let own = [("grant_type", "refresh_token"), ("refresh_token", token)];
    t.server.token(&token_as(app, &[&own, more].concat())).await
}

/// The tokens of a new grant for these resources.
async fn tokens(t: &TestServer, app: &TestClient, scope: &str, resources: &[&str]) -> Value {
    granted(&redeem(t, app, &code(t, app, scope, resources).await, &[]).await)
}

#[track_caller]
fn granted(response: &Response) -> Value {
    assert_eq!(response.status(), 200, "{}", String::from_utf8_lossy(response.body()));
    json(response)
}

#[track_caller]
fn refused(response: &Response, code: &str) {
    assert_eq!((response.status(), error_of(response).as_str()), (400, code));
}

fn access(tokens: &Value) -> AccessToken {
    AccessToken::new(tokens["access_token"].as_str().unwrap())
}

fn refresh_of(tokens: &Value) -> RefreshToken {
    RefreshToken::new(tokens["refresh_token"].as_str().unwrap())
}

fn bearing(token: &AccessToken) -> Request {
    Request::get("/").with_header("authorization", format!("Bearer {}", token.expose()))
}

/// The resource at which a token is accepted. It must be one.
async fn accepted_at(t: &TestServer, token: &AccessToken) -> String {
    let mut found = Vec::new();
    for resource in t.resources() {
        match resource.bearer(&bearing(token)).await {
            Ok(bearer) => {
                let access = bearer.require("user:read").unwrap();
                assert_eq!(access.resource(), Some(resource.identifier()));
                found.push(resource.identifier().to_owned());
            }
            Err(error) => {
                assert_eq!((error.status(), error.code().unwrap().as_str()), (401, "invalid_token"));
                let header = error.to_response().header("www-authenticate").unwrap().to_owned();
                assert!(
                    header.contains("error_description=\"the access token is not meant for this API\""),
                    "{header}"
                );
            }
        }
    }
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}
