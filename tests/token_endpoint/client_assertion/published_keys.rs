//! Clients whose keys are at a URL (`jwks_uri`, RFC 7591 §2).

use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::http_client::{FetchError, FetchLimit, GetRequest, GetResponse};
use grantor::jose::{Algorithm, JwkSet, SigningKey};
use grantor::lint::ClientLint;
use grantor::testing::{TestClient, TestServer};
use grantor::{Client, ClientSignatures, Error, Event, EventKind, HttpClient, Observer, Policy};
use time::Duration;

use super::endpoints::{ENDPOINTS, WhoAmI, send};
use super::{assertion, assertion_parameters, by_assertion, remembered};
use crate::common::signed::{jwks, key};
use crate::common::text;
use crate::support::{bad_client, granted};

const URL: &str = "https://app.example/jwks";

/// The web server of the client. It answers with the keys, or fails.
#[derive(Clone, Default)]
struct Web {
    keys: Arc<Mutex<Option<JwkSet>>>,
    requests: Arc<std::sync::atomic::AtomicUsize>,
}

#[async_trait]
impl HttpClient for Web {
    async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        assert_eq!(request.timeout(), Duration::seconds(5));
        let keys = self.keys.lock().unwrap().as_ref().map(|keys| serde_json::to_vec(keys).unwrap());
        let mut response = GetResponse::new(200, [("content-type", "application/jwk-set+json")]);
        response.push(&keys.ok_or_else(|| FetchError::client("no route to host"))?, request)?;
        Ok(response)
    }
}

impl Web {
    fn publish(&self, key: &SigningKey) {
        *self.keys.lock().unwrap() = Some(jwks(key));
    }

    fn fail(&self) {
        *self.keys.lock().unwrap() = None;
    }

    fn requests(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

/// Records the limits that fetches exceed.
#[derive(Clone, Default)]
struct Limits(Arc<Mutex<Vec<FetchLimit>>>);

impl Observer for Limits {
    fn observe(&self, event: &Event<'_>) {
        if let EventKind::FetchFailed { error: Error::Fetch(error), .. } = &event.kind
            && let FetchError::TooMany(limit) = **error
        {
            self.0.lock().unwrap().push(limit);
        }
    }
}

async fn client(t: &TestServer, id: &str, url: &str) -> TestClient {
    let client = Client::private_key_jwt(id).jwks_uri(url).client_credentials().scope("user:read");
    t.register(client.build(), None).await
}

/// A server that fetches keys, and a client whose key for ES256 is at a URL.
async fn server_with_client() -> (TestServer, Web, SigningKey) {
    let (web, key) = (Web::default(), key(Algorithm::Es256));
    web.publish(&key);
    let http = web.clone();
    let t = TestServer::with(|builder| {
        builder.client_signatures(ClientSignatures::new()).http_client(http).capability(WhoAmI)
    });
    client(&t, "app", URL).await;
    (t, web, key)
}

// covers: KM-17 (RFC 8725bis §3.10)
#[tokio::test]
async fn rotated_key_at_a_url_works_within_a_minute() {
    let (t, web, old) = server_with_client().await;
    for _ in 0..3 {
        granted(&t, &by_assertion(&assertion(&t, "app", &old).await)).await;
    }
    assert_eq!(web.requests(), 1);
    let new = key(Algorithm::Ed25519);
    web.publish(&new);
    bad_client(&t, &by_assertion(&assertion(&t, "app", &new).await), "ClientAssertion(UnknownKey)").await;
    t.clock.advance(Duration::MINUTE);
    granted(&t, &by_assertion(&assertion(&t, "app", &new).await)).await;
    bad_client(&t, &by_assertion(&assertion(&t, "app", &old).await), "ClientAssertion(UnknownKey)").await;
    assert_eq!((web.requests(), t.events.count("fetch_failed")), (2, 0));
}

// covers: KM-17 (RFC 8725bis §3.10), B58
#[tokio::test]
async fn each_endpoint_is_unavailable_without_the_keys() {
    let (t, web, key) = server_with_client().await;
    web.fail();
    for (path, event) in ENDPOINTS {
        let own = assertion(&t, "app", &key).await;
        let response = send(&t, path, &assertion_parameters(&own)).await;
        assert_eq!((response.status(), response.header("retry-after")), (503, Some("5")), "{path}");
        assert_eq!(response.header("www-authenticate"), None, "{path}");
        let expected = "the server is temporarily unavailable, try again later";
        assert!(text(&response).contains(r#""error":"temporarily_unavailable""#), "{path}: {}", text(&response));
        assert!(text(&response).contains(expected), "{path}: {}", text(&response));
        let events = t.events.events();
        let [.., fetch, refused] = &events[..] else { panic!("two events") };
        assert_eq!((fetch.name, refused.name), ("fetch_failed", event));
        for part in [r#"ClientId("app")"#, URL, "ClientKeys", "Client("] {
            assert!(fetch.text.contains(part), "{}", fetch.text);
        }
        assert!(refused.text.contains(r#"presented_client_id: Some(ClientId("app"))"#), "{}", refused.text);
    }
    assert_eq!((web.requests(), remembered(&t).await, t.events.events().len()), (ENDPOINTS.len(), 0, 10));
    // The assertion was not used up, and the failure is not remembered.
    let own = assertion(&t, "app", &key).await;
    assert_eq!(send(&t, "/token", &assertion_parameters(&own)).await.status(), 503);
    web.publish(&key);
    assert_eq!(send(&t, "/token", &assertion_parameters(&own)).await.status(), 200);
    assert_eq!(send(&t, "/token", &assertion_parameters(&own)).await.status(), 401);
}

#[tokio::test]
async fn server_without_http_client_is_unavailable_and_lint_names_the_client() {
    let t = super::server();
    client(&t, "app", URL).await;
    let response = send(&t, "/token", &assertion_parameters(&assertion(&t, "app", &key(Algorithm::Es256)).await)).await;
    assert_eq!((response.status(), response.header("retry-after")), (503, Some("5")));
    assert!(t.events.events()[0].text.contains("NoClient"));
    let found = |t: &TestServer, url| {
        let client =
            Client::private_key_jwt("app").jwks_uri(url).client_credentials().scope("user:read").build().unwrap();
        t.server.lint_client(&client)
    };
    assert_eq!(found(&t, URL), [ClientLint::NoHttpClient]);
    let (t, ..) = server_with_client().await;
    assert_eq!(found(&t, URL), []);
    for url in ["https://app.example:8443/jwks", "http://localhost:3000/jwks"] {
        let [ClientLint::JwksUriNotAllowed(_)] = found(&t, url)[..] else { panic!("a finding") };
    }
}

// covers: B33
#[tokio::test]
async fn fetches_of_one_peer_or_host_are_limited() {
    let (web, limits) = (Web::default(), Limits::default());
    let (http, observer) = (web.clone(), limits.clone());
    let mut policy = Policy::default();
    (policy.fetch.max_per_peer, policy.fetch.max_per_host, policy.fetch.max_per_minute) = (2, 3, 5);
    let t = TestServer::with(|builder| {
        builder.client_signatures(ClientSignatures::new()).http_client(http).policy(policy).observer(observer)
    });
    let key = key(Algorithm::Es256);
    for (number, host) in ["a", "b", "c", "d"].into_iter().enumerate() {
        client(&t, &number.to_string(), &format!("https://{host}.example/jwks")).await;
    }
    let ask = async |id: &str, peer: &str| {
        let request = by_assertion(&assertion(&t, id, &key).await).with_peer(peer.parse().unwrap());
        let response = t.server.handle(&request).await;
        // All failures look alike.
        assert_eq!((response.status(), response.header("retry-after")), (503, Some("5")));
        limits.0.lock().unwrap().pop()
    };
    let mallory = "2001:db8::1";
    assert_eq!((ask("0", mallory).await, ask("0", "2001:db8::2").await), (None, None));
    assert_eq!(ask("1", mallory).await, Some(FetchLimit::PerPeer));
    assert_eq!(ask("0", "192.0.2.1").await, None);
    assert_eq!(ask("0", "192.0.2.2").await, Some(FetchLimit::PerHost));
    assert_eq!((ask("1", "192.0.2.2").await, ask("2", "192.0.2.3").await), (None, None));
    assert_eq!(ask("3", "192.0.2.4").await, Some(FetchLimit::PerMinute));
    assert_eq!(web.requests(), 5);
    t.clock.advance(Duration::MINUTE);
    assert_eq!((ask("1", mallory).await, web.requests()), (None, 6));
}
