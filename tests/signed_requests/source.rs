//! The source of the parameters of a request: a request object that the client signed.

use std::collections::BTreeSet;
use std::ops::Deref;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use grantor::client::{ClientBuilder, ClientError};
use grantor::jose::Algorithm;
use grantor::testing::{ISSUER, TestClient};
use grantor::{Builder, Client, ClientRegistry, ClientSecret, ClientSignatures, ClientStore, Policy};
use serde_json::{Map, Value};

use crate::common::signed::{header, jwks, key, sign};
use crate::common::{CB, form};

/// Whether requests are signed.
pub(crate) const IS_SIGNED: bool = true;

/// A test server that accepts request objects. All its clients have a key.
pub(crate) struct TestServer(grantor::testing::TestServer);

impl Deref for TestServer {
    type Target = grantor::testing::TestServer;
    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl TestServer {
    pub(crate) fn new() -> Self {
        Self::with(|builder| builder)
    }

    pub(crate) fn with_policy(change: impl FnOnce(&mut Policy)) -> Self {
        let mut policy = Policy::default();
        change(&mut policy);
        Self::with(|builder| builder.policy(policy))
    }

    pub(crate) fn with(change: impl FnOnce(Builder) -> Builder) -> Self {
        let signatures = ClientSignatures::new().request_objects();
        Self(grantor::testing::TestServer::with(|builder| change(builder.client_signatures(signatures))))
    }

    pub(crate) async fn public_client(&self, redirect_uri: &str) -> TestClient {
        self.with_key(self.0.public_client(redirect_uri).await).await
    }

    pub(crate) async fn confidential_client(&self, redirect_uri: &str) -> TestClient {
        self.with_key(self.0.confidential_client(redirect_uri).await).await
    }

    pub(crate) async fn confidential_client_with(
        &self,
        change: impl FnOnce(ClientBuilder) -> ClientBuilder,
    ) -> TestClient {
        self.with_key(self.0.confidential_client_with(change).await).await
    }

    pub(crate) async fn register(
        &self,
        client: Result<Client, ClientError>,
        secret: Option<ClientSecret>,
    ) -> TestClient {
        self.with_key(self.0.register(client, secret).await).await
    }

    /// Adds the key to a registered client.
    async fn with_key(&self, app: TestClient) -> TestClient {
        let client = self.storage.find_client(&app.id).await.unwrap().expect("a registered client");
        let mut parts = client.parts().clone();
        parts.jwks = Some(jwks(&key(Algorithm::Es256)));
        self.storage.update(Client::from_parts(parts).unwrap(), client.version()).await.unwrap();
        app
    }
}

pub(crate) async fn public() -> (TestServer, TestClient) {
    let t = TestServer::new();
    let app = t.public_client(CB).await;
    (t, app)
}

pub(crate) async fn confidential() -> (TestServer, TestClient) {
    let t = TestServer::new();
    let app = t.confidential_client(CB).await;
    (t, app)
}

/// Signs the parameters and encodes the object, beside other values for parameters of the object. Some parameters can't
/// be in an object, and are encoded without one: those that repeat, those with broken escapes, and return targets.
pub(crate) fn encoded(pairs: &[(&str, &str)], raw: &str) -> String {
    let names: BTreeSet<&str> = pairs.iter().map(|(name, _)| *name).collect();
    if names.len() < pairs.len() || !raw.is_empty() || names.contains("return_target") {
        return form(pairs) + raw;
    }
    let member = |(name, value): &(&str, &str)| {
        let number = value.parse().ok().filter(|number: &u32| *name == "max_age" && number.to_string() == *value);
        ((*name).to_owned(), number.map_or_else(|| Value::from(*value), Value::from))
    };
    let mut claims: Map<String, Value> = pairs.iter().map(member).collect();
    let client_id = pairs.iter().find(|(name, _)| *name == "client_id").map(|(_, value)| *value);
    claims.insert("iss".into(), client_id.into());
    claims.insert("aud".into(), ISSUER.into());
    let key = key(Algorithm::Es256);
    let object = ready(sign(&key, header(&key, "oauth-authz-req+jwt"), Value::Object(claims)));
    let ignored =
        [("redirect_uri", "https://evil.example/cb"), ("scope", "evil"), ("state", "evil"), ("state", "evil")];
    let outside = [("request", &*object)].into_iter().chain(client_id.map(|id| ("client_id", id))).chain(ignored);
    form(&outside.collect::<Vec<_>>())
}

/// Returns the output of a signature, which never waits for a key in memory.
fn ready<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("a key in memory never waits"),
    }
}
