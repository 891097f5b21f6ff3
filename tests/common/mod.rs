//! Helpers for tests over HTTP: forms to send, responses to read.
#![allow(dead_code, unreachable_pub, reason = "each test binary uses its own part of this")]

#[cfg(feature = "jwt")]
pub mod signed;

use std::collections::BTreeMap;

use base64::Engine;
use grantor::testing::{TestClient, TestServer};
use grantor::{AuthorizationOutcome, Request, Response};
use serde_json::Value;
use url::Url;
use url::form_urlencoded;

/// The verifier that tests use, and its challenge by `S256` (RFC 7636 Appendix B).
pub const VERIFIER: &str = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
pub const CHALLENGE: &str = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM";

/// The redirect URI of most clients.
pub const CB: &str = "https://app.example/cb";

/// A server and a confidential client of it.
pub async fn confidential() -> (TestServer, TestClient) {
    let t = TestServer::new();
    let app = t.confidential_client(CB).await;
    (t, app)
}

/// A server and a public client of it.
pub async fn public() -> (TestServer, TestClient) {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    (t, app)
}

/// Pairs as a form body or query.
pub fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// A `GET` of the authorization endpoint.
pub fn authorize(pairs: &[(&str, &str)]) -> Request {
    Request::get(format!("/authorize?{}", form(pairs)))
}

/// A `POST` to the token endpoint.
pub fn token(pairs: &[(&str, &str)]) -> Request {
    Request::post_form("/token", form(pairs))
}

/// A `POST` to the token endpoint with Basic credentials, or with `client_id` in the body for a public client.
pub fn token_as(client: &TestClient, pairs: &[(&str, &str)]) -> Request {
    match &client.secret {
        Some(secret) => token(pairs).with_header("authorization", basic(&client.id, secret.expose())),
        None => token(&[pairs, &[("client_id", &client.id)]].concat()),
    }
}

/// The value of a Basic header as RFC 6749 §2.3.1 defines it: both halves form-encoded.
pub fn basic(id: &str, secret: &str) -> String {
    let encode = |text: &str| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
    let pair = format!("{}:{}", encode(id), encode(secret));
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

/// Returns the response of the authorization endpoint; panics on a pending request.
pub fn responded(authorize: AuthorizationOutcome) -> Response {
    match authorize {
        AuthorizationOutcome::Respond(response) => response,
        AuthorizationOutcome::Pending(pending) => panic!("the request was accepted: {pending:?}"),
    }
}

/// The body as JSON.
pub fn json(response: &Response) -> Value {
    serde_json::from_slice(response.body()).expect("a JSON body")
}

/// The body as text.
pub fn text(response: &Response) -> &str {
    std::str::from_utf8(response.body()).expect("a text body")
}

/// The `error` member of a JSON response.
pub fn error_of(response: &Response) -> String {
    json(response)["error"].as_str().expect("an error code").to_owned()
}

/// The target of a redirect, which must be a 303.
pub fn location(response: &Response) -> Url {
    assert_eq!(response.status(), 303, "{}", String::from_utf8_lossy(response.body()));
    Url::parse(response.header("location").expect("a Location")).expect("a URL")
}

/// The query parameters of a redirect, each of which must occur once.
pub fn query_of(response: &Response) -> BTreeMap<String, String> {
    once(location(response).query().unwrap_or_default())
}

/// The fragment parameters of a redirect, each of which must occur once.
pub fn fragment_of(response: &Response) -> BTreeMap<String, String> {
    once(location(response).fragment().unwrap_or_default())
}

fn once(encoded: &str) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in form_urlencoded::parse(encoded.as_bytes()) {
        assert!(found.insert(name.to_string(), value.to_string()).is_none(), "{name} occurs twice in {encoded}");
    }
    found
}
