//! `require` for an API that runs in another process than its authorization server.

use std::panic::{AssertUnwindSafe, catch_unwind};

use actix_web::web::{self, ServiceConfig};
use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request as HttpRequest;
use axum::routing::any;
use grantor::error::BoxError;
use grantor::resource_server::{Introspector, OutgoingRequest, ReceivedResponse};
use grantor::testing::{ISSUER, TestServer};
use grantor::{Access, AuthorizationServer, BearerError, ClientSecret, Request, ResourceServer};

use crate::cross_origin::{ByScript, preflight};
use crate::{Answer, Web, With, get, machine, token_of, with_actix, with_axum};

/// The introspection endpoint of a server, called without a network.
struct Endpoint(Option<AuthorizationServer>);

#[async_trait]
impl Introspector for Endpoint {
    async fn send(&self, request: &OutgoingRequest<'_>) -> Result<ReceivedResponse, BoxError> {
        let server = self.0.as_ref().ok_or("connection refused")?;
        let own = Request::new("POST", "/introspect").with_headers(request.headers()).with_body(request.body());
        let answer = server.handle(&own).await;
        let mut received = ReceivedResponse::new(answer.status(), answer.header("content-type").unwrap_or_default());
        received.push(answer.body(), request)?;
        Ok(received)
    }
}

async fn whoami(access: Access) -> Result<String, BearerError> {
    assert!(access.grant_id().is_none(), "the token was introspected");
    access.user()?;
    Ok("a user".to_owned())
}

async fn client(access: Access) -> String {
    access.client_id().to_string()
}

async fn send(web: Web, api: &ResourceServer, request: HttpRequest<Body>) -> Answer {
    match web {
        Web::Axum => {
            let require = || grantor::axum::require(api, ["user:read"]).any_origin();
            let router = axum::Router::new()
                .route("/whoami", any(whoami).layer(require()))
                .route("/client", any(client).layer(require()))
                .route("/both", any(client).layer(grantor::axum::require(api, ["user:write", "user:read"])))
                .merge(
                    axum::Router::new()
                        .route("/write", any(client).layer(grantor::axum::require(api, ["user:write"])))
                        .layer(require()),
                );
            with_axum::send_to(&router, request).await
        }
        Web::Actix => {
            let require = || grantor::actix::require(api, ["user:read"]).any_origin();
            let configure = |config: &mut ServiceConfig| {
                let write = grantor::actix::require(api, ["user:write"]);
                let both = grantor::actix::require(api, ["user:write", "user:read"]);
                config
                    .service(web::resource("/whoami").route(web::route().to(whoami)).wrap(require()))
                    .service(web::resource("/client").route(web::route().to(client)).wrap(require()))
                    .service(web::resource("/both").route(web::route().to(client)).wrap(both))
                    .service(web::resource("/write").route(web::route().to(client)).wrap(write).wrap(require()));
            };
            with_actix::send_to(configure, request).await
        }
    }
}

fn build(t: &TestServer, secret: &str, is_up: bool) -> ResourceServer {
    let endpoint = Endpoint(is_up.then(|| t.server.clone()));
    let api = ResourceServer::builder(ISSUER, "api", &ClientSecret::new(secret), endpoint);
    api.clock(t.clock.clone()).build().unwrap()
}

// covers: BR-05 (RFC 6750 §3), BR-10 (RFC 6750 §3.1), B62
#[tokio::test(flavor = "local")]
async fn require_takes_a_resource_server() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let secret = ClientSecret::new("s3cr3t");
        let client = grantor::Client::confidential("api", grantor::ClientCredential::secret(&secret));
        t.register(client.resource_server().build(), Some(secret)).await;
        let token = format!("Bearer {}", token_of(&t, &machine).await.expose());
        let api = build(&t, "s3cr3t", true);

        let good = send(web, &api, get("/client").with("authorization", &token)).await;
        assert_eq!((good.status, &good.body[..]), (200, machine.id.as_bytes()));
        let realm = format!("Bearer realm=\"{ISSUER}\"");
        let missing = send(web, &api, get("/client")).await;
        assert_eq!(missing.status, 401);
        assert_eq!(missing.header("www-authenticate"), Some(&*format!("{realm}, scope=\"user:read\"")));
        let missing = send(web, &api, get("/both")).await;
        assert_eq!(missing.header("www-authenticate"), Some(&*format!("{realm}, scope=\"user:read user:write\"")));
        for (path, rest) in [
            ("/whoami", "error_description=\"the access token has no resource owner\""),
            ("/both", "error_description=\"the access token lacks a scope\", scope=\"user:read user:write\""),
            ("/write", "error_description=\"the access token lacks a scope\", scope=\"user:read user:write\""),
        ] {
            let refused = send(web, &api, get(path).with("authorization", &token)).await;
            assert_eq!(refused.status, 403, "{path}");
            let challenge = refused.header("www-authenticate");
            assert_eq!(challenge, Some(&*format!("{realm}, error=\"insufficient_scope\", {rest}")), "{path}");
        }
        assert_eq!(send(web, &api, preflight("/client", "GET")).await.status, 204);

        for api in [build(&t, "s3cr3t", false), build(&t, "wrong", true)] {
            let failed = send(web, &api, get("/client").by_script().with("authorization", &token)).await;
            assert_eq!((failed.status, failed.header("retry-after"), &failed.body[..]), (503, Some("5"), &b""[..]));
            assert_eq!(failed.header("www-authenticate"), None);
            assert_eq!(failed.header("access-control-allow-origin"), Some("*"));
        }
    }
}

#[test]
fn require_of_resource_server_panics_for_malformed_scope() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let t = runtime.block_on(async { TestServer::new() });
    let api = build(&t, "s3cr3t", true);
    // A resource server does not know which scopes the server offers.
    drop((grantor::axum::require(&api, ["notes:read"]), grantor::actix::require(&api, ["notes:read"])));
    for malformed in [&[][..], &[""], &["a\"b"]] {
        assert!(catch_unwind(AssertUnwindSafe(|| drop(grantor::axum::require(&api, malformed)))).is_err());
        assert!(catch_unwind(AssertUnwindSafe(|| drop(grantor::actix::require(&api, malformed)))).is_err());
    }
}
