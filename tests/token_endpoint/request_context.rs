//! The parts of a request that a grant handler sees besides its parameters, and parameters that may repeat.

use std::net::IpAddr;

use async_trait::async_trait;
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::testing::{TestClient, TestServer};
use grantor::{Error, GrantType, Request, RequestContext, TokenRequest};
use serde_json::{Value, json};

use crate::common::{self, token_as};
use crate::support::bad_request;

const MIRROR: &str = "urn:example:grant:mirror";

/// Returns its input in the response.
struct Mirror(GrantType);

#[async_trait]
impl GrantHandler for Mirror {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["resource", "audience", "single"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let (resources, audiences) = (context.params().get_all("resource")?, context.params().get_all("audience")?);
        let seen = json!({ "request": seen(context.request()), "resource": resources, "audience": audiences });
        assert_eq!(context.peer(), context.request().peer());
        Ok(Decision::open(OpenGrant::new(context.scope()?).response(|members| {
            members.extra.insert("seen".to_owned(), seen);
        })))
    }
}

fn seen(request: RequestContext<'_>) -> Value {
    let proofs: Vec<_> = request.header_values("dpop").map(String::from_utf8_lossy).collect();
    json!([request.method(), request.target(), proofs, request.peer(), request.client_certificate()])
}

async fn server() -> (TestServer, TestClient) {
    let t = TestServer::with(|builder| builder.extension_grant(Mirror(GrantType::new(MIRROR).unwrap())));
    let app = t.confidential_client_with(|client| client.extension_grant(MIRROR).scope("user:read")).await;
    (t, app)
}

fn form<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("grant_type", MIRROR), ("scope", "user:read")], more].concat()
}

#[tokio::test]
async fn grant_handler_sees_headers_peer_and_certificate() {
    let (t, app) = server().await;
    let peer: IpAddr = "192.0.2.7".parse().unwrap();
    let request = token_as(&app, &form(&[])).with_header("DPoP", "one").with_header("dpop", "two").with_peer(peer);
    let request = request.with_client_certificate([0x30, 0x82]);
    let answer = common::json(&t.server.token(&request).await);
    assert_eq!(answer["seen"]["request"], json!(["POST", "/token", ["one", "two"], "192.0.2.7", [0x30, 0x82]]));
    let bare = common::json(&t.server.token(&token_as(&app, &form(&[]))).await);
    assert_eq!(bare["seen"]["request"], json!(["POST", "/token", [], null, null]));
}

#[tokio::test]
async fn typed_request_keeps_its_context() {
    let (t, app) = server().await;
    let http = Request::post_form("/my/token?x=1", "").with_header("dpop", "proof").with_client_certificate([7]);
    let peer: IpAddr = "192.0.2.7".parse().unwrap();
    let typed = || TokenRequest::new(MIRROR).scope("user:read");
    for (request, expected) in [
        (typed(), json!(["", "", [], null, null])),
        (typed().peer(peer), json!(["", "", [], "192.0.2.7", null])),
        (typed().context(http.context()), json!(["POST", "/my/token?x=1", ["proof"], null, [7]])),
        (typed().context(http.context()).peer(peer), json!(["POST", "/my/token?x=1", ["proof"], "192.0.2.7", [7]])),
        (typed().peer(peer).context(RequestContext::default()), json!(["", "", [], null, null])),
    ] {
        let tokens = t.token_as(&app, request).await.unwrap();
        assert_eq!(tokens.extra["seen"]["request"], expected);
    }
}

#[test]
fn debug_output_of_a_context_has_no_secret() {
    let request = Request::post_form("/token?client_secret=s3cr3t", "").with_header("dpop", "s3cr3t");
    let shown = format!("{:?}", request.with_client_certificate(*b"s3cr3t").context());
    assert!(shown.contains("dpop") && !shown.contains("s3cr3t") && !shown.contains("115, 51"), "{shown}");
}

// covers: PP-04 (RFC 8707 §2, RFC 8693 §2.1)
#[tokio::test]
async fn resource_and_audience_may_repeat() {
    let (t, app) = server().await;
    for (more, resource, audience) in [
        (&[][..], json!([]), json!([])),
        (&[("resource", "https://a.example")], json!(["https://a.example"]), json!([])),
        (
            &[
                ("resource", "https://b.example"),
                ("audience", "x"),
                ("resource", "https://a.example"),
                ("audience", "x"),
            ],
            json!(["https://b.example", "https://a.example"]),
            json!(["x", "x"]),
        ),
        // An empty value counts as not sent.
        (&[("resource", ""), ("resource", "https://a.example")], json!(["https://a.example"]), json!([])),
    ] {
        let answer = common::json(&t.server.token(&token_as(&app, &form(more))).await);
        assert_eq!((&answer["seen"]["resource"], &answer["seen"]["audience"]), (&resource, &audience), "{more:?}");
    }
}

// covers: PP-04 (OAuth 2.1 §3.2), B37
#[tokio::test]
async fn other_parameters_of_an_extension_may_not_repeat() {
    let (t, app) = server().await;
    for name in ["single", "scope", "grant_type", "client_secret"] {
        let repeated = form(&[(name, "x"), (name, "x")]);
        bad_request(&t, &token_as(&app, &repeated), &format!("RepeatedParameter({name:?})")).await;
    }
    let broken = Request::post_form("/token", format!("grant_type={MIRROR}&resource=a&resource=%ZZ"));
    bad_request(&t, &broken, "MalformedEncoding").await;
}
