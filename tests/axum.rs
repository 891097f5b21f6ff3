//! The adapter for axum, from one end to the other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{ConnectInfo, FromRef, State};
use axum::http::{HeaderValue, Request as HttpRequest, Response as HttpResponse};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use grantor::axum::{routes, run_to_completion};
use grantor::client::ClientBuilder;
use grantor::error::AuthenticatorError;
use grantor::event::Observer;
use grantor::storage::{GrantSelector, Page};
use grantor::testing::{Fault, ISSUER, TestClient, TestServer};
use grantor::{
    Approval, Authenticator, AuthorizationResponse, AuthorizationServer, Authorize, Bearer, BearerError, ClientAttempt,
    Clock, Event, ProtectedResource, Request, ResourceOwnerAttempt, Response, Storage, Subject, TokenRequest, Verdict,
};
use http_body_util::{BodyExt, Full, Limited};
use serde_json::{Value, json};
use tokio::sync::Notify;
use tower::ServiceExt;

#[path = "common/mod.rs"]
mod common;
use common::{CHALLENGE, basic, form, location};

const REDIRECT_URI: &str = "https://app.example/cb";

/// An answer with its body read.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Answer {
    async fn read(response: HttpResponse<Body>) -> Self {
        let (parts, body) = response.into_parts();
        let headers = parts.headers.iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        Self { status: parts.status.as_u16(), headers, body: to_bytes(body, 1 << 20).await.unwrap() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value);
        let first = found.next();
        assert_eq!(found.next(), None, "{name} stands twice");
        first
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    /// The answer of the adapter is the answer of the server, save for what CORS adds.
    fn assert_is(&self, response: Response) {
        let (status, mut headers, body) = response.into_parts();
        let mut own = self.headers.clone();
        own.retain(|(name, _)| name != "content-length" && name != "vary" && !name.starts_with("access-control-"));
        own.sort();
        headers.sort();
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        assert_eq!((self.status, own, &self.body[..]), (status, headers, &body[..]));
    }
}

async fn send(router: &Router, request: HttpRequest<Body>) -> Answer {
    Answer::read(router.clone().oneshot(request).await.unwrap()).await
}

/// A request at the token endpoint from a client that authenticates by Basic.
fn token_post(client: &TestClient) -> axum::http::request::Builder {
    HttpRequest::post("/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", basic(&client.id, client.secret.as_ref().unwrap().expose()))
}

fn machine_form(client: &TestClient) -> HttpRequest<Body> {
    let body = form(&[("grant_type", "client_credentials"), ("scope", "user:read")]);
    token_post(client).body(Body::from(body)).unwrap()
}

async fn machine() -> (TestServer, TestClient) {
    let t = TestServer::new();
    let machine = t.confidential_client(REDIRECT_URI).await;
    (t, machine)
}

// covers: TK-01 (RFC 6749 §3.2)
#[tokio::test]
async fn the_token_route_answers_as_the_server_does() {
    let (t, machine) = machine().await;
    let router: Router = routes(&t.server);
    let answer = send(&router, machine_form(&machine)).await;
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
    let tokens = answer.json();
    assert_eq!((&tokens["token_type"], &tokens["expires_in"]), (&json!("Bearer"), &json!(3600)));
    let token = grantor::AccessToken::new(tokens["access_token"].as_str().unwrap());
    assert!(t.bearer(&token).await.unwrap().require("user:read").is_ok());

    let wrong = || basic(&machine.id, "wrong");
    let request = HttpRequest::post("/token")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", wrong())
        .body(Body::from("grant_type=client_credentials"))
        .unwrap();
    let answer = send(&router, request).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
    let same = Request::post_form("/token", "grant_type=client_credentials").with_header("authorization", wrong());
    answer.assert_is(t.server.token(&same).await);
}

// covers: TK-01 (RFC 6749 §3.2), TL-21 (RFC 9110 §15.5.6), RV-20 (RFC 7009 §2.3), IN-06 (RFC 7662 §4)
#[tokio::test]
async fn other_methods_than_post_are_told_what_is_allowed() {
    let (t, machine) = machine().await;
    let router: Router = routes(&t.server);
    for (path, refused) in
        [("/token", "token_refused"), ("/revoke", "revocation_refused"), ("/introspect", "introspection_refused")]
    {
        for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH"] {
            let mut request = machine_form(&machine);
            *request.method_mut() = method.parse().unwrap();
            *request.uri_mut() = path.parse().unwrap();
            let answer = send(&router, request).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method} {path}");
            assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {path}");
            if method == "HEAD" {
                assert!(answer.body.is_empty(), "{path}");
            } else {
                assert_eq!(answer.json()["error"], "invalid_request", "{method} {path}");
            }
        }
        assert_eq!(t.events.count(refused), 5);
    }
    assert_eq!(t.events.events().len(), 15, "nothing else has happened");
}

/// A form posted by a client that authenticates by Basic.
fn post(client: &TestClient, uri: &str, pairs: &[(&str, &str)]) -> HttpRequest<Body> {
    token_post(client).uri(uri).body(Body::from(form(pairs))).unwrap()
}

// covers: RV-09 (RFC 7009 §2.2), RV-10 (RFC 7009 §2.1), RV-16 (RFC 7009 §2.2.1)
#[tokio::test]
async fn the_revocation_route_answers_as_the_server_does() {
    let (t, machine) = machine().await;
    let router: Router = routes(&t.server);
    let request = TokenRequest::client_credentials().scope("user:read");
    let token = t.token_as(&machine, request).await.unwrap().access_token;
    let stranger = t.confidential_client(REDIRECT_URI).await;
    let answer = send(&router, post(&stranger, "/revoke", &[("token", token.expose())])).await;
    assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!("unauthorized_client")));
    assert!(t.bearer(&token).await.is_ok());
    t.faults.fail(3, Fault::Unavailable);
    let answer = send(&router, post(&machine, "/revoke", &[("token", token.expose())])).await;
    assert_eq!((answer.status, answer.json()["error"].clone()), (503, json!("temporarily_unavailable")));
    assert!(t.bearer(&token).await.is_ok());

    let answer = send(&router, post(&machine, "/revoke", &[("token", token.expose())])).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    assert!(answer.body.is_empty());
    assert!(t.bearer(&token).await.is_err());
    let same = Request::post_form("/revoke", "token=x")
        .with_header("authorization", basic(&machine.id, machine.secret.as_ref().unwrap().expose()));
    answer.assert_is(t.server.revoke(&same).await);
}

// covers: IN-02 (RFC 7662 §2.1), IN-17 (RFC 7662 §4)
#[tokio::test]
async fn the_introspection_route_answers_as_the_server_does() {
    let (t, machine) = machine().await;
    let api = t.confidential_client_with(ClientBuilder::resource_server).await;
    let router: Router = routes(&t.server);
    let request = TokenRequest::client_credentials().scope("user:read");
    let token = t.token_as(&machine, request).await.unwrap().access_token;
    let answer = send(&router, post(&api, "/introspect", &[("token", token.expose())])).await;
    assert_eq!((answer.status, answer.header("cache-control")), (200, Some("no-store")));
    assert_eq!((answer.json()["active"].clone(), answer.json()["client_id"].clone()), (json!(true), json!(machine.id)));
    let header = basic(&api.id, api.secret.as_ref().unwrap().expose());
    let same =
        Request::post_form("/introspect", form(&[("token", token.expose())])).with_header("authorization", header);
    answer.assert_is(t.server.introspect(&same).await);

    let anonymous = HttpRequest::post("/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(form(&[("token", token.expose())])))
        .unwrap();
    assert_eq!(send(&router, anonymous).await.status, 401);
}

// covers: MD-04 (RFC 8414 §3.1), MD-19 (RFC 8414 §3.2)
#[tokio::test]
async fn the_metadata_route_answers_as_the_server_does() {
    let t = TestServer::new();
    let router: Router = routes(&t.server);
    let path = "/.well-known/oauth-authorization-server";
    let answer = send(&router, HttpRequest::get(path).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.json()["issuer"].clone()), (200, json!(ISSUER)));
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=3600"));
    answer.assert_is(t.server.metadata(&Request::get(path)));
    let answer = send(&router, HttpRequest::head(path).body(Body::empty()).unwrap()).await;
    assert!(answer.status == 200 && answer.body.is_empty());
    let answer = send(&router, HttpRequest::post(path).body(Body::empty()).unwrap()).await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")));
    for unknown in [format!("{path}/nope"), format!("{path}/"), "/.well-known/openid-configuration".to_owned()] {
        let answer = send(&router, HttpRequest::get(&unknown).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 404, "{unknown}");
    }
}

// covers: RM-01 (RFC 9728 §3.1), RM-02 (RFC 9728 §3.1), BR-19 (RFC 9728 §5.1), TL-18 (RFC 9700 §2.6)
#[tokio::test]
async fn a_script_finds_the_server_by_the_challenge_of_the_hosts_api() {
    async fn me(token: Bearer) -> Result<String, BearerError> {
        Ok(token.require("user:read")?.user()?.to_string())
    }
    for path in ["", "/api", "/a/:b/*c/{d}/e%20f", "/api?v=1"] {
        let identifier = format!("https://id.example{path}");
        let resource = ProtectedResource::new(&identifier);
        let t = TestServer::with(|builder| builder.protected_resource(resource));
        let host = Router::new().without_v07_checks().route("/me", get(me));
        let router = host.merge(routes(&t.server)).with_state(t.server.clone());
        let answer = send(&router, HttpRequest::get("/me").body(Body::empty()).unwrap()).await;
        let challenge = answer.header("www-authenticate").unwrap();
        let (_, pointer) = challenge.split_once(", resource_metadata=\"").unwrap();
        let uri = target(pointer.strip_suffix('"').unwrap());

        let answer = send(&router, cross_origin("GET", &uri).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.json()["resource"].clone()), (200, json!(identifier)));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{uri}");
        answer.assert_is(t.server.resource_metadata(&Request::get(&*uri)));
        let issuer = answer.json()["authorization_servers"][0].as_str().unwrap().to_owned();
        let server = format!("{}/.well-known/oauth-authorization-server", target(&issuer).trim_end_matches('/'));
        let answer = send(&router, cross_origin("GET", &server).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.json()["issuer"].clone()), (200, json!(issuer)));

        let answer = send(&router, preflight(&uri, "GET")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{uri}");
        let answer = send(&router, HttpRequest::post(&uri).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{uri}");
    }
    let router: Router = routes(&TestServer::new().server);
    let unknown = HttpRequest::get("/.well-known/oauth-protected-resource").body(Body::empty()).unwrap();
    assert_eq!(send(&router, unknown).await.status, 404);
}

/// A request as a script on another origin makes it.
fn cross_origin(method: &str, uri: &str) -> axum::http::request::Builder {
    HttpRequest::builder().method(method).uri(uri).header("origin", "https://spa.example")
}

/// What a browser asks before it sends a request that a plain form could not have sent.
fn preflight(uri: &str, method: &str) -> HttpRequest<Body> {
    let request = cross_origin("OPTIONS", uri)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "authorization,content-type");
    request.body(Body::empty()).unwrap()
}

fn list(answer: &Answer, name: &str) -> Vec<String> {
    let values = answer.header(name).unwrap_or_default().split(',');
    let mut values: Vec<String> = values.map(|value| value.trim().to_lowercase()).collect();
    values.sort();
    values
}

fn assert_no_cors(answer: &Answer, what: &str) {
    let cors = answer.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
    assert_eq!(cors, None, "{what}");
}

// covers: TL-18 (RFC 9700 §2.6), TL-19 (RFC 9449 §7.1), RV-20 (RFC 7009 §2.3)
#[tokio::test]
async fn scripts_of_any_origin_may_get_and_revoke_tokens_and_read_the_metadata() {
    let (t, machine) = machine().await;
    let router: Router = routes(&t.server);
    let metadata = "/.well-known/oauth-authorization-server";
    for (uri, method) in [("/token", "POST"), ("/revoke", "POST"), (metadata, "GET")] {
        let answer = send(&router, preflight(uri, method)).await;
        assert!((200..300).contains(&answer.status), "{uri}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{uri}");
        assert!(list(&answer, "access-control-allow-methods").contains(&method.to_lowercase()), "{uri}");
        assert_eq!(list(&answer, "access-control-allow-headers"), ["authorization", "content-type"], "{uri}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "no cookie has a part in this: {uri}");
        assert_eq!(answer.header("access-control-max-age"), Some("3600"), "{uri}");
        assert!(answer.body.is_empty(), "{uri}");
    }
    assert!(t.events.events().is_empty(), "to ask whether one may is not to do it");

    let form_type = "application/x-www-form-urlencoded";
    let header = || basic(&machine.id, machine.secret.as_ref().unwrap().expose());
    let simple = |uri: &str, body: &'static str| {
        let request = cross_origin("POST", uri).header("content-type", form_type).header("authorization", header());
        request.body(Body::from(body)).unwrap()
    };
    let unauthenticated = |uri: &str| {
        let request = cross_origin("POST", uri).header("content-type", form_type);
        request.body(Body::from("grant_type=client_credentials&token=x")).unwrap()
    };
    for (request, status) in [
        (simple("/token", "grant_type=client_credentials&scope=user:read"), 200),
        (simple("/token", "grant_type=nonsense"), 400),
        (unauthenticated("/token"), 401),
        (simple("/revoke", "token=unknown"), 200),
        (simple("/revoke", ""), 400),
        (unauthenticated("/revoke"), 401),
        (cross_origin("GET", metadata).body(Body::empty()).unwrap(), 200),
        (cross_origin("GET", "/token").body(Body::empty()).unwrap(), 405),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = send(&router, request).await;
        assert_eq!(answer.status, status, "{what}");
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{what}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{what}");
        // Without this a script can't see why it was refused and when to come back.
        assert_eq!(list(&answer, "access-control-expose-headers"), ["retry-after", "www-authenticate"], "{what}");
    }
}

/// A page of the host's own.
async fn hello() -> &'static str {
    "hello"
}

// covers: TL-17 (RFC 9700 §2.6)
#[tokio::test]
async fn no_script_may_use_the_authorization_endpoint_introspection_or_the_hosts_own_routes() {
    let (t, machine) = machine().await;
    let api = t.confidential_client_with(ClientBuilder::resource_server).await;
    let request = TokenRequest::client_credentials().scope("user:read");
    let token = t.token_as(&machine, request).await.unwrap().access_token;
    let of_host: Router<AuthorizationServer> = Router::new().route("/hello", get(hello)).fallback(hello);
    let host = of_host.merge(routes(&t.server)).with_state(t.server.clone());
    let router = pages(&t).merge(host);

    let query = form(&[("response_type", "code"), ("client_id", &machine.id), ("scope", "user:read")]);
    let query = format!("/authorize?{query}&code_challenge={CHALLENGE}&code_challenge_method=S256");
    let header = basic(&api.id, api.secret.as_ref().unwrap().expose());
    let introspection = cross_origin("POST", "/introspect")
        .header("content-type", "application/x-www-form-urlencoded")
        .header("authorization", header)
        .body(Body::from(form(&[("token", token.expose())])))
        .unwrap();
    for (request, status) in [
        (cross_origin("GET", &query).body(Body::empty()).unwrap(), 303),
        (cross_origin("GET", "/authorize?client_id=nobody").body(Body::empty()).unwrap(), 400),
        (preflight("/authorize", "GET"), 405),
        (introspection, 200),
        (preflight("/introspect", "POST"), 405),
        (cross_origin("GET", "/hello").body(Body::empty()).unwrap(), 200),
        (preflight("/hello", "GET"), 405),
        (cross_origin("GET", "/the-hosts-fallback").body(Body::empty()).unwrap(), 200),
    ] {
        let what = format!("{} {}", request.method(), request.uri());
        let answer = send(&router, request).await;
        assert_eq!(answer.status, status, "{what}");
        assert_no_cors(&answer, &what);
    }
}

// covers: TL-17 (RFC 9700 §2.6)
#[tokio::test]
async fn what_is_not_there_is_not_there_for_scripts_either() {
    let t = TestServer::new();
    let alone: Router = routes(&t.server);
    let of_host: Router<AuthorizationServer> = Router::new().route("/hello", get(hello)).merge(routes(&t.server));
    let merged_into: Router = Router::new().merge(routes(&t.server)).route("/hello", get(hello));
    for router in [alone, of_host.with_state(t.server.clone()), merged_into] {
        for path in ["/unknown", "/authorize", "/token/", "/.well-known/openid-configuration"] {
            for request in [cross_origin("GET", path).body(Body::empty()).unwrap(), preflight(path, "GET")] {
                let what = format!("{} {path}", request.method());
                let answer = send(&router, request).await;
                assert_eq!((answer.status, &answer.body[..]), (404, &b""[..]), "{what}");
                assert_no_cors(&answer, &what);
            }
        }
    }
    assert!(t.events.events().is_empty());
}

/// A server elsewhere than at the root of its host.
fn elsewhere(issuer: &str, change: impl FnOnce(&mut grantor::EndpointUrls)) -> AuthorizationServer {
    let builder = AuthorizationServer::builder(issuer).storage(grantor::MemoryStorage::new());
    builder.scope("user:read", "Read your profile").endpoints(change).build().unwrap()
}

/// The path and query under which a URL is requested.
fn target(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url[url::Position::BeforePath..].to_owned()
}

// covers: MD-21 (RFC 8414 §2), PP-17 (RFC 6749 §3.2), B43
#[tokio::test]
async fn every_url_of_the_document_is_served_where_the_document_says() {
    for server in [
        elsewhere(ISSUER, |_| {}),
        elsewhere("https://id.example/", |_| {}),
        elsewhere("https://id.example/t1", |_| {}),
        elsewhere("https://id.example/t1/", |_| {}),
        elsewhere("https://id.example/a/:b/*c/{d}/e%20f", |_| {}),
        elsewhere("https://id.example/t1", |urls| {
            urls.token = "https://id.example/oauth/token?tenant=1".to_owned();
            urls.revocation = Some("https://id.example/oauth/revoke?tenant=1&x=%20".to_owned());
            urls.introspection = Some("https://id.example/?introspect".to_owned());
        }),
    ] {
        let router: Router = routes(&server);
        let answer = send(&router, HttpRequest::get(server.metadata_path()).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, 200, "{}", server.issuer());
        let document = answer.json();
        assert_eq!(document["issuer"], server.issuer());
        for member in ["token_endpoint", "revocation_endpoint", "introspection_endpoint"] {
            let target = target(document[member].as_str().unwrap());
            let request = HttpRequest::post(&target)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from("grant_type=client_credentials&token=x"))
                .unwrap();
            let answer = send(&router, request).await;
            assert_eq!((answer.status, answer.json()["error"].clone()), (401, json!("invalid_client")), "{target}");
        }
    }
}

// covers: MD-05 (RFC 8414 §3.3), MD-19 (RFC 8414 §3.2)
#[tokio::test]
async fn several_issuers_share_a_host() {
    let issuers = ["https://id.example/t1", "https://id.example/t2"];
    let tenants = issuers.map(|issuer| routes::<()>(&elsewhere(issuer, |_| {})));
    let router = tenants.into_iter().fold(Router::new(), Router::merge);
    for (path, issuer) in [("/t1", Some(issuers[0])), ("/t2", Some(issuers[1])), ("/t3", None), ("", None)] {
        let uri = format!("/.well-known/oauth-authorization-server{path}");
        let answer = send(&router, HttpRequest::get(uri).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, if issuer.is_some() { 200 } else { 404 }, "{path}");
        if let Some(issuer) = issuer {
            assert_eq!(answer.json()["issuer"], issuer);
        }
    }
}

// covers: MD-21 (RFC 8414 §2), B43
#[tokio::test]
async fn an_endpoint_that_is_switched_off_is_not_there() {
    let server = elsewhere(ISSUER, |urls| {
        urls.revocation = None;
        urls.introspection = None;
    });
    let router: Router = routes(&server);
    for (path, status) in [("/token", 405), ("/revoke", 404), ("/introspect", 404), ("/authorize", 404)] {
        let answer = send(&router, HttpRequest::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(answer.status, status, "{path}");
    }
}

#[tokio::test]
async fn a_host_without_checks_of_old_paths_takes_the_routes_of_an_issuer_with_a_colon_or_a_star() {
    for issuer in ["https://id.example/:t1", "https://id.example/*t1", "https://id.example/a/:b/*c"] {
        let server = elsewhere(issuer, |_| {});
        let host: Router = Router::new().without_v07_checks().route("/hello", get(hello)).merge(routes(&server));
        let answer = send(&host, HttpRequest::get(server.metadata_path()).body(Body::empty()).unwrap()).await;
        assert_eq!((answer.status, answer.json()["issuer"].clone()), (200, json!(issuer)));
        let token = HttpRequest::get(target(&server.endpoints().token)).body(Body::empty()).unwrap();
        assert_eq!(send(&host, token).await.status, 405, "{issuer}");
        // Such a segment stands for itself and nothing else.
        let other = target(&server.endpoints().token).replace([':', '*'], "x");
        assert_eq!(send(&host, HttpRequest::get(other).body(Body::empty()).unwrap()).await.status, 404, "{issuer}");
    }
}

#[test]
#[should_panic(expected = "Path segments must not start with `:`")]
fn an_issuer_with_a_colon_is_refused_by_a_host_that_checks_for_old_paths() {
    let _: Router = Router::new().merge(routes(&elsewhere("https://id.example/:t1", |_| {})));
}

#[test]
#[should_panic(expected = "Path segments must not start with `*`")]
fn an_issuer_with_a_star_is_refused_by_a_host_that_checks_for_old_paths() {
    let _: Router = Router::new().merge(routes(&elsewhere("https://id.example/*t1", |_| {})));
}

#[test]
#[should_panic(expected = "Cannot merge two `MethodRouter`s")]
fn two_endpoints_at_one_path_are_a_mistake_that_shows_at_once() {
    let server = elsewhere(ISSUER, |urls| urls.revocation = Some("https://id.example/token?revoke".to_owned()));
    let _: Router = routes(&server);
}

#[tokio::test]
async fn a_body_of_the_largest_size_is_read_and_a_larger_one_answered_in_json() {
    let t = TestServer::with_policy(|policy| policy.max_body = 100);
    let machine = t.confidential_client(REDIRECT_URI).await;
    let router: Router = routes(&t.server);
    let padded = |size: usize| {
        let body = form(&[("grant_type", "client_credentials"), ("scope", "user:read"), ("x", "")]);
        format!("{body}{}", "x".repeat(size - body.len()))
    };
    let send = async |body: Body| {
        let request = token_post(&machine).body(body).unwrap();
        send(&router, request).await
    };
    assert_eq!(send(Body::from(padded(100))).await.status, 200);
    // With a length that is known beforehand, and without.
    let of_unknown_length = Body::new(Full::new(Bytes::from(padded(101))).map_frame(|frame| frame));
    for body in [Body::from(padded(101)), Body::from(padded(1_000_000)), of_unknown_length] {
        let answer = send(body).await;
        assert_eq!((answer.status, answer.json()["error"].clone()), (413, json!("invalid_request")));
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
    }
    assert_eq!(t.events.count("tokens_issued"), 1);
}

#[tokio::test]
async fn a_body_that_breaks_off_is_a_bad_request_and_not_too_large_a_one() {
    let (t, machine) = machine().await;
    let cut = Limited::new(Full::new(Bytes::from("grant_type=client_credentials")), 10);
    let cut = Body::new(cut.map_err(|_| std::io::Error::from(std::io::ErrorKind::UnexpectedEof)));
    let answer = send(&routes(&t.server), token_post(&machine).body(cut).unwrap()).await;
    assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!("invalid_request")));
    assert_eq!(answer.json()["error_description"], "the parameters have a broken escape or are not UTF-8");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(t.events.events().is_empty(), "it reached the endpoint");
}

#[tokio::test]
async fn a_request_that_is_too_large_gets_a_page_where_a_browser_waits_for_one() {
    let t = TestServer::with_policy(|policy| policy.max_body = 100);
    let large = HttpRequest::post("/authorize")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from("x".repeat(101)))
        .unwrap();
    let answer = send(&pages(&t), large).await;
    assert_eq!((answer.status, answer.header("content-type")), (413, Some("text/html; charset=utf-8")));
    assert_eq!(t.events.names(), ["authorization_refused"]);
}

// covers: BR-18 (RFC 6750 §3.1), B37
#[tokio::test]
async fn repeated_headers_and_parameters_reach_the_server_as_repeated() {
    let (t, machine) = machine().await;
    let router: Router = routes(&t.server);
    let token = t.token_as(&machine, TokenRequest::client_credentials().scope("user:read")).await.unwrap().access_token;
    let header = basic(&machine.id, machine.secret.as_ref().unwrap().expose());
    for (what, request, description) in [
        (
            "two Authorization headers",
            token_post(&machine).header("authorization", header).body(Body::from("grant_type=client_credentials")),
            "the Authorization header is malformed",
        ),
        (
            "two media types",
            token_post(&machine)
                .header("content-type", "application/x-www-form-urlencoded")
                .body(Body::from("grant_type=client_credentials")),
            "the body is not application/x-www-form-urlencoded",
        ),
        (
            "a parameter twice",
            token_post(&machine).body(Body::from("grant_type=client_credentials&scope=a&scope=a")),
            "the parameter scope occurs more than once",
        ),
        (
            "a parameter in the query",
            token_post(&machine).uri("/token?scope=user:read").body(Body::from("grant_type=client_credentials")),
            "the parameter scope belongs in the body",
        ),
    ] {
        let answer = send(&router, request.unwrap()).await;
        assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!("invalid_request")), "{what}");
        assert_eq!(answer.json()["error_description"], description, "{what}");
    }
    let request = HttpRequest::get("/me")
        .header("authorization", format!("Bearer {}", token.expose()))
        .header("authorization", format!("Bearer {}", token.expose()));
    let answer = send(&api(&t), request.body(Body::empty()).unwrap()).await;
    assert_eq!(answer.status, 400);
}

/// A host's state in which the server is one part of several.
#[derive(Clone)]
struct AppState {
    oauth: AuthorizationServer,
    greeting: &'static str,
}

impl FromRef<AppState> for AuthorizationServer {
    fn from_ref(state: &AppState) -> Self {
        state.oauth.clone()
    }
}

/// The host's own API.
fn api(t: &TestServer) -> Router {
    async fn me(State(state): State<AppState>, token: Bearer) -> Result<String, BearerError> {
        let access = token.require("user:read")?;
        Ok(format!("{}, {}", state.greeting, access.user()?))
    }
    async fn change(token: Bearer) -> Result<(), BearerError> {
        token.require("user:write").map(|_| ())
    }
    async fn mistake(token: Bearer) -> Result<(), BearerError> {
        token.require("user:raed").map(|_| ())
    }
    Router::new()
        .route("/me", get(me).put(change))
        .route("/mistake", get(mistake))
        .merge(routes(&t.server))
        .with_state(AppState { oauth: t.server.clone(), greeting: "Hello" })
}

// covers: BR-01 (RFC 6750 §2.1), BR-05 (RFC 6750 §3), BR-10 (RFC 6750 §3.1)
#[tokio::test]
async fn a_handler_gets_a_bearer_token_or_the_client_an_answer_as_the_server_gives_it() {
    let (t, machine) = machine().await;
    let app = t.public_client(REDIRECT_URI).await;
    let router = api(&t);
    let of_user = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap().access_token;
    let request = TokenRequest::client_credentials().scope("user:read");
    let of_machine = t.token_as(&machine, request).await.unwrap().access_token;
    let call = async |method: &str, uri: &str, token: &str| {
        let mut request = HttpRequest::builder().method(method).uri(uri);
        if !token.is_empty() {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        send(&router, request.body(Body::empty()).unwrap()).await
    };
    let answer = call("GET", "/me", of_user.expose()).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"Hello, alice"[..]));

    let challenge = |rest: &str| format!("Bearer realm=\"{ISSUER}\"{rest}");
    let lacking =
        ", error=\"insufficient_scope\", error_description=\"the access token lacks a scope\", scope=\"user:write\"";
    let no_owner = ", error=\"insufficient_scope\", error_description=\"the access token has no resource owner\"";
    let invalid = ", error=\"invalid_token\", error_description=\"the access token is unknown, expired or revoked\"";
    for (method, uri, token, status, expected) in [
        ("GET", "/me", "", 401, challenge("")),
        ("GET", "/me", "unknown", 401, challenge(invalid)),
        ("PUT", "/me", of_user.expose(), 403, challenge(lacking)),
        ("GET", "/me", of_machine.expose(), 403, challenge(no_owner)),
    ] {
        let answer = call(method, uri, token).await;
        assert_eq!(answer.status, status, "{method} {token}");
        assert_eq!(answer.header("www-authenticate"), Some(&*expected), "{method} {token}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {token}");
        assert!(answer.body.is_empty(), "{method} {token}");
    }
    let answer = call("GET", "/mistake", of_user.expose()).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (500, None));
    t.faults.fail(1, Fault::Unavailable);
    assert_eq!(call("GET", "/me", of_user.expose()).await.status, 503);
}

/// What a handler was given, as far as a host can see it.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    method: String,
    target: String,
    headers: Vec<Vec<u8>>,
    body: Vec<u8>,
    peer: Option<IpAddr>,
}

#[tokio::test]
async fn a_request_is_handed_to_a_handler_whole() {
    let t = TestServer::new();
    let seen: Arc<Mutex<Seen>> = Arc::default();
    let seen_by_handler = Arc::clone(&seen);
    let handler = async move |request: Request| {
        *seen_by_handler.lock().unwrap() = Seen {
            method: request.method().to_owned(),
            target: request.target().to_owned(),
            headers: request.header_values("X-Twice").map(<[u8]>::to_vec).collect(),
            body: request.body().to_vec(),
            peer: request.peer(),
        };
    };
    let router = Router::new().route("/authorize", any(handler)).with_state(t.server.clone());
    let mut request = HttpRequest::builder()
        .method("PROPFIND")
        .uri("https://id.example/authorize?state=%FF%20+&a=1&a=2")
        .header("x-twice", "one")
        .header("X-TWICE", HeaderValue::from_bytes(b"tw\xff").unwrap())
        .body(Body::from(&b"\0\xff body"[..]))
        .unwrap();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711))));
    assert_eq!(send(&router, request).await.status, 200);
    let expected = Seen {
        method: "PROPFIND".to_owned(),
        target: "/authorize?state=%FF%20+&a=1&a=2".to_owned(),
        headers: vec![b"one".to_vec(), b"tw\xff".to_vec()],
        body: b"\0\xff body".to_vec(),
        peer: Some(Ipv4Addr::new(192, 0, 2, 7).into()),
    };
    assert_eq!(*seen.lock().unwrap(), expected);
}

#[tokio::test]
async fn the_target_of_a_request_is_the_one_that_was_asked_for_although_the_page_is_nested() {
    let t = TestServer::new();
    let app = t.public_client(REDIRECT_URI).await;
    let login_first =
        async |State(oauth): State<AuthorizationServer>, request: Request| match oauth.authorize(&request).await {
            Authorize::Respond(response) => response.into_response(),
            Authorize::Pending(_) => format!("{} {}", request.path(), request.target()).into_response(),
        };
    let page = Router::new().route("/authorize", any(login_first)).with_state(t.server.clone());
    let query = form(&[
        ("response_type", "code"),
        ("client_id", &app.id),
        ("scope", "user:read"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    for (prefix, router) in [
        ("", page.clone()),
        ("/oauth", Router::new().nest("/oauth", page.clone())),
        ("/t1/oauth", Router::new().nest("/{tenant}", Router::new().nest("/oauth", page.clone()))),
        ("/service", Router::new().nest_service("/service", page)),
    ] {
        let path = format!("{prefix}/authorize");
        let request = HttpRequest::get(format!("{path}?{query}")).body(Body::empty()).unwrap();
        let answer = send(&router, request).await;
        assert_eq!((answer.status, answer.body), (200, format!("{path} {path}?{query}").into()));
    }
}

/// A host's authorization page, on which everyone is alice and agrees to everything.
fn pages(t: &TestServer) -> Router {
    async fn authorize(
        State(oauth): State<AuthorizationServer>,
        request: Request,
    ) -> Result<AuthorizationResponse, Response> {
        match oauth.authorize(&request).await {
            Authorize::Respond(response) => Err(response),
            Authorize::Pending(pending) if request.query().contains("deny") => Ok(pending.deny()),
            Authorize::Pending(pending) => {
                let approval = Approval::by(Subject::new("alice").unwrap());
                Ok(run_to_completion(pending.approve(approval)).await)
            }
        }
    }
    Router::new().route("/authorize", get(authorize).post(authorize)).with_state(t.server.clone())
}

#[tokio::test]
async fn the_answers_of_the_authorization_endpoint_can_be_returned_from_a_handler() {
    let t = TestServer::new();
    let app = t.public_client(REDIRECT_URI).await;
    let router = pages(&t);
    let query = form(&[
        ("response_type", "code"),
        ("client_id", &app.id),
        ("scope", "user:read"),
        ("state", "a b&c"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let by_get = HttpRequest::get(format!("/authorize?{query}")).body(Body::empty()).unwrap();
    let by_post = HttpRequest::post("/authorize")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(query.clone()))
        .unwrap();
    for request in [by_get, by_post] {
        let answer = send(&router, request).await;
        assert_eq!(answer.status, 303);
        let target = url::Url::parse(answer.header("location").unwrap()).unwrap();
        let query: std::collections::BTreeMap<_, _> = target.query_pairs().collect();
        assert_eq!((&*query["state"], &*query["iss"]), ("a b&c", ISSUER));
        let code = grantor::AuthorizationCode::new(query["code"].clone());
        assert!(t.storage.find(&code.hash()).await.unwrap().is_some());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
    }
    let denied = HttpRequest::get(format!("/authorize?{query}&deny=")).body(Body::empty()).unwrap();
    let answer = send(&router, denied).await;
    let response = pending(&t, &app).await.deny();
    let location = location(&Response::from(response));
    let own = url::Url::parse(answer.header("location").unwrap()).unwrap();
    assert_eq!(own.query_pairs().next(), location.query_pairs().next());
    assert!(own.query_pairs().any(|(name, value)| name == "error" && value == "access_denied"));

    let unknown = HttpRequest::get("/authorize?client_id=nobody").body(Body::empty()).unwrap();
    let answer = send(&router, unknown).await;
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.header("content-security-policy").is_some() && answer.header("location").is_none());
    answer.assert_is(common::responded(t.server.authorize(&Request::get("/authorize?client_id=nobody")).await));
}

async fn pending(t: &TestServer, app: &TestClient) -> grantor::PendingAuthorization {
    t.authorize(app).pending().await
}

#[tokio::test]
async fn a_response_keeps_its_status_all_its_headers_and_its_body() {
    let page = Response::page(418, "<p>\u{e9}</p>");
    let headers: Vec<(String, String)> =
        page.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let answer = Answer::read(page.into_response()).await;
    assert_eq!(answer.status, 418);
    assert_eq!(answer.headers, headers);
    assert_eq!(answer.body, "<p>\u{e9}</p>");
}

/// Writes down from where clients authenticate, and lets them wait at the door if it is told to.
#[derive(Clone, Default)]
struct Doorkeeper {
    peers: Arc<Mutex<Vec<Option<IpAddr>>>>,
    door: Option<Arc<Door>>,
}

#[derive(Default)]
struct Door {
    reached: Notify,
    open: Notify,
    given_up: AtomicBool,
}

/// Somebody before a door, who may be dropped there.
struct Waiting<'a>(Option<&'a Door>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(door) = self.0 {
            door.given_up.store(true, Ordering::SeqCst);
        }
    }
}

#[async_trait]
impl Authenticator for Doorkeeper {
    async fn client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        self.peers.lock().unwrap().push(attempt.peer);
        if let Some(door) = &self.door {
            let mut waiting = Waiting(Some(door));
            door.reached.notify_one();
            door.open.notified().await;
            waiting.0 = None;
        }
        Ok(if attempt.matches_a_digest() { Verdict::Accepted(()) } else { Verdict::Rejected })
    }

    async fn resource_owner(&self, _: &ResourceOwnerAttempt<'_>) -> Result<Verdict<Subject>, AuthenticatorError> {
        Ok(Verdict::Rejected)
    }
}

// covers: TL-20 (RFC 9700 §4.13)
#[tokio::test]
async fn the_authenticator_is_told_the_address_of_the_connection_and_no_header_changes_it() {
    let doorkeeper = Doorkeeper::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper.clone()));
    let machine = t.confidential_client(REDIRECT_URI).await;
    let router: Router = routes(&t.server);
    let spoofed = || {
        let mut request = machine_form(&machine);
        for (name, value) in [
            ("x-forwarded-for", "198.51.100.1"),
            ("x-real-ip", "198.51.100.1"),
            ("forwarded", "for=198.51.100.1"),
            ("x-forwarded-proto", "https"),
            ("x-ssl-client-verify", "SUCCESS"),
        ] {
            request.headers_mut().insert(name, HeaderValue::from_static(value));
        }
        request
    };
    assert_eq!(send(&router, spoofed()).await.status, 200);
    let mut request = spoofed();
    request.extensions_mut().insert(ConnectInfo(SocketAddr::from(([192, 0, 2, 7], 4711))));
    assert_eq!(send(&router, request).await.status, 200);
    assert_eq!(*doorkeeper.peers.lock().unwrap(), [None, Some(Ipv4Addr::new(192, 0, 2, 7).into())]);
    // Nor do they stand in for a credential.
    let mut request = spoofed();
    request.headers_mut().remove("authorization");
    assert_eq!(send(&router, request).await.status, 401);
}

#[tokio::test]
async fn served_over_a_socket_the_peer_is_the_one_that_connected() {
    let doorkeeper = Doorkeeper::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper.clone()));
    let machine = t.confidential_client(REDIRECT_URI).await;
    let router: Router = routes(&t.server);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    let answer = reqwest::Client::new()
        .post(format!("http://{address}/token"))
        .basic_auth(&machine.id, machine.secret.as_ref().map(grantor::Secret::expose))
        .header("x-forwarded-for", "198.51.100.1")
        .form(&[("grant_type", "client_credentials"), ("scope", "user:read")])
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["scope"], "user:read");
    assert_eq!(*doorkeeper.peers.lock().unwrap(), [Some(Ipv4Addr::LOCALHOST.into())]);
    server.abort();
}

/// Says so when something was done that a client had asked for.
#[derive(Clone, Default)]
struct Done(Arc<Notify>);

impl Observer for Done {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event.kind.name(), "tokens_issued" | "token_revoked") {
            self.0.notify_one();
        }
    }
}

#[tokio::test]
async fn a_token_request_is_carried_out_although_the_client_hung_up() {
    let door = Arc::new(Door::default());
    let doorkeeper = Doorkeeper { door: Some(Arc::clone(&door)), ..Doorkeeper::default() };
    let issued = Done::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper).observer(issued.clone()));
    let machine = t.confidential_client(REDIRECT_URI).await;
    let router: Router = routes(&t.server);
    let request = machine_form(&machine);
    let connection = tokio::spawn(async move { router.oneshot(request).await });
    door.reached.notified().await;
    connection.abort();
    assert!(connection.await.unwrap_err().is_cancelled(), "the client has hung up");
    assert!(!door.given_up.load(Ordering::SeqCst), "the request was given up with its connection");
    let own = GrantSelector::Client(machine.id.as_str().try_into().unwrap());
    assert!(t.storage.grants(&own, t.clock.now(), &Page::first(9)).await.unwrap().is_empty());
    door.open.notify_one();
    issued.0.notified().await;
    assert_eq!(t.storage.grants(&own, t.clock.now(), &Page::first(9)).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_revocation_is_carried_out_although_the_client_hung_up() {
    let door = Arc::new(Door::default());
    let doorkeeper = Doorkeeper { door: Some(Arc::clone(&door)), ..Doorkeeper::default() };
    let done = Done::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper).observer(done.clone()));
    let app = t.confidential_client(REDIRECT_URI).await;
    let router: Router = routes(&t.server);
    let approved = t.authorize(&app).approve_as("alice").await;
    door.open.notify_one();
    let tokens = approved.redeem().await.unwrap();
    door.reached.notified().await;
    done.0.notified().await;

    let request = post(&app, "/revoke", &[("token", tokens.refresh_token.as_ref().unwrap().expose())]);
    let connection = tokio::spawn(async move { router.oneshot(request).await });
    door.reached.notified().await;
    connection.abort();
    assert!(connection.await.unwrap_err().is_cancelled(), "the client has hung up");
    assert!(t.bearer(&tokens.access_token).await.is_ok());
    door.open.notify_one();
    done.0.notified().await;
    assert!(t.bearer(&tokens.access_token).await.is_err());
}

#[tokio::test]
async fn what_runs_to_completion_outlives_whoever_waits_for_it() {
    let t = TestServer::new();
    let app = t.public_client(REDIRECT_URI).await;
    let pending = pending(&t, &app).await;
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let (done, outcome) = tokio::sync::oneshot::channel();
    {
        let approval = Approval::by(Subject::new("alice").unwrap());
        let mut caller = std::pin::pin!(run_to_completion(async move {
            wait.await.unwrap();
            let response = pending.approve(approval).await;
            done.send(response.code().is_some()).unwrap();
        }));
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        assert!(caller.as_mut().poll(&mut context).is_pending());
    }
    let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
    assert!(t.storage.grants(&alice, t.clock.now(), &Page::first(9)).await.unwrap().is_empty());
    go.send(()).unwrap();
    assert!(outcome.await.unwrap(), "the caller is gone, the decision is carried out");
    assert_eq!(t.storage.grants(&alice, t.clock.now(), &Page::first(9)).await.unwrap().len(), 1);
    // Whoever stays gets the result.
    assert_eq!(run_to_completion(async { 7 }).await, 7);
}

#[tokio::test]
async fn a_panic_in_what_runs_to_completion_is_the_callers() {
    let result = tokio::spawn(run_to_completion(async { panic!("a bug of the host") })).await;
    let panic = result.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug of the host"));
}
