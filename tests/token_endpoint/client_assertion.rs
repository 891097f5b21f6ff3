//! Client authentication by a signed assertion (`private_key_jwt`, RFC 7523 §2.2).

mod accepted;
mod broken;
mod endpoints;
mod published_keys;
mod replays;

use std::sync::atomic::{AtomicUsize, Ordering};

use grantor::client::ClientBuilder;
use grantor::jose::{Algorithm, JwkSet, SigningKey};
use grantor::storage::ephemeral::Namespace;
use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{Client, ClientSignatures, Clock, EphemeralStore, Request};
use serde_json::{Value, json};
use time::Duration;

use crate::common::signed::{header, jwks, key, sign};
use crate::common::token;

const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const TYP: &str = "client-authentication+jwt";
const MACHINE: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "user:read")];

/// A server that accepts assertions, and a client of it with a key for ES256.
async fn server_and_client() -> (TestServer, TestClient, SigningKey) {
    let (t, key) = (server(), key(Algorithm::Es256));
    let app = client(&t, "app", jwks(&key), |client| client).await;
    (t, app, key)
}

fn server() -> TestServer {
    TestServer::with(|builder| builder.client_signatures(ClientSignatures::new()))
}

/// Registers a client that authenticates with these keys.
async fn client(
    t: &TestServer,
    id: &str,
    keys: JwkSet,
    change: impl FnOnce(ClientBuilder) -> ClientBuilder,
) -> TestClient {
    let client = Client::private_key_jwt(id).jwks(keys).client_credentials().scope("user:read");
    t.register(change(client).build(), None).await
}

/// The claims of a good assertion. Each has another identifier.
fn claims(t: &TestServer, id: &str) -> Value {
    static NUMBER: AtomicUsize = AtomicUsize::new(0);
    let (now, number) = (t.clock.now().unix_timestamp(), NUMBER.fetch_add(1, Ordering::Relaxed));
    json!({ "iss": id, "sub": id, "aud": ISSUER, "iat": now, "exp": now + 60, "jti": format!("identifier-{number}") })
}

/// A good assertion.
async fn assertion(t: &TestServer, id: &str, key: &SigningKey) -> String {
    sign(key, header(key, TYP), claims(t, id)).await
}

/// The parameters of an assertion.
fn assertion_parameters(text: &str) -> [(&str, &str); 2] {
    [("client_assertion_type", ASSERTION_TYPE), ("client_assertion", text)]
}

/// A client credentials request.
fn by_assertion(text: &str) -> Request {
    token(&[MACHINE, assertion_parameters(text)].concat())
}

/// The number of used assertions that the server remembers.
async fn remembered(t: &TestServer) -> usize {
    let namespace = Namespace::new("client_assertion").unwrap();
    t.storage.due(namespace, t.clock.now() + Duration::days(1), 1_000).await.unwrap().len()
}
