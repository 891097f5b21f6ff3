//! Assertions at every endpoint that authenticates clients.

use async_trait::async_trait;
use grantor::capability::{BuildView, Capability, Endpoint, ServerView};
use grantor::jose::{Algorithm, SigningKey};
use grantor::testing::{Fault, TestServer};
use grantor::{ClientSignatures, Clock, Request, Response};
use serde_json::json;

use super::{TYP, assertion, assertion_parameters, claims, client, remembered};
use crate::common::signed::{header, jwks, key, sign, with};
use crate::common::{form, text};

/// A capability whose endpoint returns its client.
pub(super) struct WhoAmI;

#[async_trait]
impl Capability for WhoAmI {
    fn name(&self) -> &'static str {
        "who_am_i"
    }

    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
        vec![Endpoint::new("who_am_i", build.url("/who-am-i")).methods("POST")]
    }

    async fn respond(&self, _: &str, request: &Request, server: ServerView<'_>) -> Response {
        match server.authenticate_client(request).await {
            Ok(client) => Response::json(200, json!({ "client_id": client.id().as_str() }).to_string()),
            Err(error) => server.refuse(&error),
        }
    }
}

/// The paths, and the event of a refused request.
pub(super) const ENDPOINTS: [(&str, &str); 5] = [
    ("/token", "token_refused"),
    ("/revoke", "revocation_refused"),
    ("/introspect", "introspection_refused"),
    ("/who-am-i", "token_refused"),
    ("/notes", "token_refused"),
];

/// Sends a request to an endpoint. `/notes` belongs to the host.
pub(super) async fn send(t: &TestServer, path: &str, pairs: &[(&str, &str)]) -> Response {
    let others = [("grant_type", "client_credentials"), ("scope", "user:read"), ("token", "unknown")];
    let request = Request::post_form(path, form(&[&others[..], pairs].concat()));
    match path {
        "/notes" => match t.server.authenticate_client(&request).await {
            Ok(client) => Response::json(200, json!({ "client_id": client.id().as_str() }).to_string()),
            Err(error) => t.server.refuse(&error),
        },
        _ => t.server.handle(&request).await,
    }
}

async fn server() -> (TestServer, SigningKey) {
    let t = TestServer::with(|builder| builder.client_signatures(ClientSignatures::new()).capability(WhoAmI));
    let key = key(Algorithm::Es256);
    client(&t, "app", jwks(&key), |client| client).await;
    (t, key)
}

// covers: CA-26 (RFC 7009 §2.1, RFC 7662 §2.1), CA-12 (RFC 6749 §2.3.2), JB-08 (RFC 7523 §3)
#[tokio::test]
async fn each_endpoint_takes_an_assertion_once() {
    let (t, key) = server().await;
    for (number, (path, event)) in ENDPOINTS.into_iter().enumerate() {
        let own = assertion(&t, "app", &key).await;
        let response = send(&t, path, &assertion_parameters(&own)).await;
        assert_eq!(response.status(), 200, "{path}: {}", text(&response));
        assert_eq!(remembered(&t).await, number + 1);
        // It is used up at all endpoints.
        for (path, _) in ENDPOINTS {
            assert_eq!(send(&t, path, &assertion_parameters(&own)).await.status(), 401, "{path}");
        }
        let last = t.events.events().into_iter().rfind(|last| last.name == event).unwrap();
        assert!(last.text.contains("ClientAssertion(Replayed)"), "{}", last.text);
        assert!(last.text.contains(r#"presented_client_id: Some(ClientId("app"))"#), "{}", last.text);
    }
    assert_eq!(remembered(&t).await, ENDPOINTS.len());
}

// covers: CA-26 (RFC 7009 §2.1, RFC 7662 §2.1), CA-15 (RFC 6749 §5.2), JB-12 (RFC 7523 §3.2)
#[tokio::test]
async fn each_endpoint_refuses_a_broken_assertion_alike() {
    let (t, key) = server().await;
    let secret = t.confidential_client(crate::support::CB).await;
    let now = t.clock.now().unix_timestamp();
    let sign = async |change| sign(&key, header(&key, TYP), with(&claims(&t, "app"), &change)).await;
    let good = assertion(&t, "app", &key).await;
    let cases = [
        ("a.b.c".to_owned(), "ClientAssertion(Malformed)"),
        (format!("{}AA", &good[..good.len() - 2]), "ClientAssertion(Signature)"),
        (sign(json!({ "aud": "https://id.example/token" })).await, "ClientAssertion(Audience)"),
        (sign(json!({ "aud": "https://id.example/revoke" })).await, "ClientAssertion(Audience)"),
        (sign(json!({ "aud": "https://id.example/introspect" })).await, "ClientAssertion(Audience)"),
        (sign(json!({ "exp": now - 60 })).await, "ClientAssertion(Expired)"),
        (sign(json!({ "jti": null })).await, r#"ClientAssertion(MissingClaim("jti"))"#),
        (assertion(&t, "nobody-we-know", &key).await, "UnknownClient"),
        (assertion(&t, &secret.id, &key).await, "AuthenticationMethodNotAllowed"),
    ];
    let mut answers = Vec::new();
    for (broken, reason) in &cases {
        for (path, event) in ENDPOINTS {
            let response = send(&t, path, &assertion_parameters(broken)).await;
            let last = t.events.events().pop().unwrap();
            assert_eq!(last.name, event, "{path}");
            assert!(last.text.contains(&format!("error: Refused({reason})")), "{path}: {}", last.text);
            // The dispatcher adds headers for scripts at the endpoints that it serves.
            let headers = response.headers().filter(|(name, _)| !name.starts_with("access-control-"));
            let headers = format!("{:?}", headers.collect::<Vec<_>>());
            answers.push((response.status(), headers, response.body().to_vec()));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answers differ");
    assert_eq!(answers[0].0, 401);
    let basic = ("client_secret", "a-secret");
    for (path, _) in ENDPOINTS {
        let [kind, value] = assertion_parameters(&good);
        let response = send(&t, path, &[kind, value, ("client_id", "app"), basic]).await;
        assert_eq!((response.status(), crate::common::error_of(&response).as_str()), (400, "invalid_request"));
    }
    assert_eq!(remembered(&t).await, 0);
}

/// A failure of the store never counts as a first use.
#[tokio::test]
async fn each_endpoint_fails_if_the_replay_check_fails() {
    let (t, key) = server().await;
    for (path, event) in ENDPOINTS {
        for (fault, status) in [(Fault::Failed, 500), (Fault::Unavailable, 503), (Fault::LostAnswer, 503)] {
            let before = remembered(&t).await;
            let own = assertion(&t, "app", &key).await;
            // The first call finds the client, and the second one inserts the identifier.
            t.faults.fail(2, fault);
            let response = send(&t, path, &assertion_parameters(&own)).await;
            assert_eq!(response.status(), status, "{path} {fault:?}");
            assert_eq!(response.header("retry-after").is_some(), status == 503);
            assert_eq!(t.events.events().pop().unwrap().name, event);
            // If it was stored after all, the same assertion is refused.
            let is_stored = fault == Fault::LostAnswer;
            assert_eq!(remembered(&t).await - before, usize::from(is_stored));
            let again = send(&t, path, &assertion_parameters(&own)).await.status();
            assert_eq!(again, if is_stored { 401 } else { 200 }, "{path} {fault:?}");
        }
    }
}
