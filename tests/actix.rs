//! The adapter for actix-web, from one end to the other.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::HeaderValue;
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::{Bytes, Data, ServiceConfig, get, put, resource, route, scope};
use actix_web::{App, HttpResponse, HttpServer};
use async_trait::async_trait;
use grantor::actix::{routes, run_to_completion};
use grantor::client::ClientBuilder;
use grantor::error::AuthenticatorError;
use grantor::event::Observer;
use grantor::storage::{GrantSelector, Page};
use grantor::testing::{Fault, ISSUER, TestClient, TestServer};
use grantor::{
    Approval, Authenticator, AuthorizationResponse, AuthorizationServer, Authorize, Bearer, BearerError, Client,
    ClientAttempt, ClientCredential, ClientRegistry, ClientSecret, Clock, Event, ProtectedResource, Request,
    ResourceOwnerAttempt, Response, Storage, Subject, TokenRequest, Verdict,
};
use http_body_util::{BodyDataStream, BodyExt, Full, Limited};
use serde_json::{Value, json};
use tokio::sync::Notify;

#[path = "common/mod.rs"]
mod common;
use common::{CHALLENGE, basic, form};

const REDIRECT_URI: &str = "https://app.example/cb";
const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded");

/// An answer with its body read.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Answer {
    async fn read(response: HttpResponse<impl MessageBody>) -> Self {
        let headers = response.headers().iter();
        let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
        let status = response.status().as_u16();
        let body = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("the body of the answer breaks off"));
        Self { status, headers, body }
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

    /// The answer of the adapter is the answer of the server, and nothing else but what lets scripts read it.
    fn assert_is(&self, response: Response) {
        let (status, headers, body) = response.into_parts();
        let mut own = self.headers.clone();
        own.retain(|(name, _)| !name.starts_with("access-control-"));
        own.sort();
        let mut headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        headers.sort();
        assert_eq!((self.status, own, &self.body[..]), (status, headers, &body[..]));
    }
}

/// Sends one request to an app that is configured so.
async fn send(configure: impl FnOnce(&mut ServiceConfig), request: TestRequest) -> Answer {
    let app = init_service(App::new().configure(configure)).await;
    let response: ServiceResponse<_> = call_service(&app, request.to_request()).await;
    Answer::read(response.into_parts().1).await
}

/// A request at the token endpoint from a client that authenticates by Basic.
fn token_post(client: &TestClient) -> TestRequest {
    let secret = client.secret.as_ref().unwrap().expose();
    TestRequest::post().uri("/token").append_header(FORM).append_header(("authorization", basic(&client.id, secret)))
}

fn machine_form(client: &TestClient) -> TestRequest {
    token_post(client).set_payload(form(&[("grant_type", "client_credentials"), ("scope", "user:read")]))
}

async fn machine() -> (TestServer, TestClient) {
    let t = TestServer::new();
    let machine = t.confidential_client(REDIRECT_URI).await;
    (t, machine)
}

// covers: TK-01 (RFC 6749 §3.2)
#[actix_web::test]
async fn the_token_route_answers_as_the_server_does() {
    let (t, machine) = machine().await;
    let answer = send(routes(&t.server), machine_form(&machine)).await;
    assert_eq!((answer.status, answer.header("content-type")), (200, Some("application/json")));
    assert_eq!((answer.header("cache-control"), answer.header("pragma")), (Some("no-store"), Some("no-cache")));
    let token = grantor::AccessToken::new(answer.json()["access_token"].as_str().unwrap());
    assert!(t.bearer(&token).await.unwrap().require("user:read").is_ok());

    let wrong = || basic(&machine.id, "wrong");
    let request = TestRequest::post().uri("/token").append_header(FORM).append_header(("authorization", wrong()));
    let answer = send(routes(&t.server), request.set_payload("grant_type=client_credentials")).await;
    assert_eq!(answer.status, 401);
    assert!(answer.header("www-authenticate").is_some_and(|challenge| challenge.starts_with("Basic ")));
    let same = Request::post_form("/token", "grant_type=client_credentials").with_header("authorization", wrong());
    answer.assert_is(t.server.token(&same).await);
}

// covers: TK-01 (RFC 6749 §3.2), TL-21 (RFC 9110 §15.5.6)
#[actix_web::test]
async fn other_methods_than_post_are_told_what_is_allowed() {
    let (t, machine) = machine().await;
    for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        let request = machine_form(&machine).method(method.parse().unwrap());
        let answer = send(routes(&t.server), request).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method}");
    }
    assert_eq!(t.events.names(), ["token_refused"; 6]);
}

#[actix_web::test]
async fn revocation_introspection_and_metadata_are_mounted_where_the_server_says() {
    let (t, machine) = machine().await;
    let token = t.token_as(&machine, TokenRequest::client_credentials().scope("user:read")).await.unwrap().access_token;
    let about = |path: &str| token_post(&machine).uri(path).set_payload(form(&[("token", token.expose())]));
    let answer = send(routes(&t.server), about("/introspect")).await;
    assert_eq!((answer.status, answer.json()["active"].clone()), (200, json!(true)));
    assert_eq!(send(routes(&t.server), about("/revoke")).await.status, 200);
    let answer = send(routes(&t.server), about("/introspect")).await;
    assert_eq!((answer.status, answer.json()), (200, json!({ "active": false })));

    let answer = send(routes(&t.server), TestRequest::get().uri("/.well-known/oauth-authorization-server")).await;
    assert_eq!(answer.json()["token_endpoint"], format!("{ISSUER}/token"));
    answer.assert_is(t.server.metadata(&Request::get(t.server.metadata_path())));
}

// covers: MD-02 (RFC 8414 §3.1)
#[actix_web::test]
async fn an_issuer_with_a_path_is_served_at_exactly_that_path() {
    let server = || {
        let builder = AuthorizationServer::builder("https://id.example/a%20b/{tenant}");
        builder.storage(grantor::MemoryStorage::new()).scope("user:read", "Read").build().unwrap()
    };
    for (path, status) in [
        ("/a%20b/%7Btenant%7D/token", 405),
        ("/.well-known/oauth-authorization-server/a%20b/%7Btenant%7D", 200),
        ("/a%20b/other/token", 404),
        ("/token", 404),
        ("/x/a%20b/%7Btenant%7D/token", 404),
        ("/a%20b/%7Btenant%7D/token/", 404),
        ("/.well-known/oauth-authorization-server", 404),
    ] {
        assert_eq!(send(routes(&server()), TestRequest::get().uri(path)).await.status, status, "{path}");
    }
    // The rest of the app is still found, before and behind.
    let shared = |config: &mut ServiceConfig| {
        config.route("/before", get().to(HttpResponse::Accepted));
        config.configure(routes(&server()));
        config.route("/behind", get().to(HttpResponse::Accepted));
    };
    for path in ["/before", "/behind"] {
        assert_eq!(send(shared, TestRequest::get().uri(path)).await.status, 202, "{path}");
    }
}

/// A server under a path of the host, which has its own API and a client called `machine`.
async fn tenant(issuer: &str) -> AuthorizationServer {
    let storage = grantor::MemoryStorage::new();
    let credential = ClientCredential::secret(&ClientSecret::new(secret_at(issuer)));
    let machine = Client::confidential("machine", credential).client_credentials().scope("user:read");
    storage.register(machine.build().unwrap()).await.unwrap();
    let builder = AuthorizationServer::builder(issuer).storage(storage).scope("user:read", "Read your profile");
    builder.protected_resource(ProtectedResource::new(format!("{issuer}/api"))).build().unwrap()
}

fn secret_at(issuer: &str) -> String {
    format!("the secret that is known at {issuer} and nowhere else")
}

// covers: MD-05 (RFC 8414 §3.3), MD-19 (RFC 8414 §3.2)
#[actix_web::test]
async fn several_issuers_share_a_host() {
    let tenants = [tenant("https://id.example/t1").await, tenant("https://id.example/t2").await];
    let both = |config: &mut ServiceConfig| {
        for server in &tenants {
            config.configure(routes(server));
        }
    };
    for (own, other) in [(&tenants[0], &tenants[1]), (&tenants[1], &tenants[0])] {
        for path in [own.metadata_path(), own.resource_metadata_path().unwrap()] {
            let answer = send(both, TestRequest::get().uri(path)).await;
            let is_resource = path.contains("oauth-protected-resource");
            let request = Request::get(path);
            answer.assert_is(if is_resource { own.resource_metadata(&request) } else { own.metadata(&request) });
        }
        let post = |url: &str, pairs: &[(&str, &str)]| {
            let request = TestRequest::post().uri(url.strip_prefix(ISSUER).unwrap()).append_header(FORM);
            let request = request.append_header(("authorization", basic("machine", &secret_at(own.issuer()))));
            request.set_payload(form(pairs))
        };
        let urls = own.endpoints();
        let answer =
            send(both, post(&urls.token, &[("grant_type", "client_credentials"), ("scope", "user:read")])).await;
        let token = grantor::AccessToken::new(answer.json()["access_token"].as_str().expect("a token"));
        assert!(own.bearer_token(&token).await.is_ok() && other.bearer_token(&token).await.is_err());
        let about_it = [("token", token.expose())];
        let answer = send(both, post(urls.introspection.as_ref().unwrap(), &about_it)).await;
        assert_eq!((answer.json()["active"].clone(), answer.json()["iss"].clone()), (json!(true), json!(own.issuer())));
        assert_eq!(send(both, post(urls.revocation.as_ref().unwrap(), &about_it)).await.status, 200);
        assert!(own.bearer_token(&token).await.is_err());

        let stranger = send(both, post(&other.endpoints().token, &[("grant_type", "client_credentials")])).await;
        let realm = format!("Basic realm=\"{}\", charset=\"UTF-8\"", other.issuer());
        assert_eq!((stranger.status, stranger.header("www-authenticate")), (401, Some(&*realm)));
    }
    for path in ["/t3", ""] {
        let uri = format!("/.well-known/oauth-authorization-server{path}");
        assert_eq!(send(both, TestRequest::get().uri(&uri)).await.status, 404, "{path}");
    }
}

#[actix_web::test]
async fn a_host_with_several_issuers_says_which_of_them_its_own_routes_trust() {
    async fn me(token: Bearer) -> Result<HttpResponse, BearerError> {
        token.require("user:read").map(|_| HttpResponse::Ok().finish())
    }
    let [first, last] = [tenant("https://id.example/t1").await, tenant("https://id.example/t2").await];
    let api = |config: &mut ServiceConfig| {
        config.configure(routes(&first)).configure(routes(&last)).route("/me", get().to(me));
        config.service(resource("/t1/me").app_data(Data::new(first.clone())).to(me));
        config.service(scope("/scope").app_data(Data::new(first.clone())).route("/me", get().to(me)));
    };
    for (path, server) in [("/me", &last), ("/t1/me", &first), ("/scope/me", &first)] {
        let challenge = send(api, TestRequest::get().uri(path)).await;
        let realm = format!("Bearer realm=\"{}\",", server.issuer());
        assert!(challenge.header("www-authenticate").is_some_and(|own| own.starts_with(&realm)), "{path}");
    }
}

// covers: RM-01 (RFC 9728 §3.1), RM-02 (RFC 9728 §3.1), BR-19 (RFC 9728 §5.1)
#[actix_web::test]
async fn a_script_finds_the_server_by_the_challenge_of_the_hosts_api() {
    let origin = ("origin", "https://spa.example");
    for path in ["", "/api", "/a%20b/{c}", "/api?v=1"] {
        let identifier = format!("{ISSUER}{path}");
        let resource = ProtectedResource::new(&identifier);
        let t = TestServer::with(|builder| builder.protected_resource(resource));
        let answer = send(api(&t), TestRequest::get().uri("/me")).await;
        let challenge = answer.header("www-authenticate").unwrap();
        let (_, pointer) = challenge.split_once(", resource_metadata=\"").unwrap();
        let uri = pointer.strip_suffix('"').and_then(|url| url.strip_prefix(ISSUER)).unwrap();

        let answer = send(routes(&t.server), TestRequest::get().uri(uri).append_header(origin)).await;
        assert_eq!((answer.status, answer.json()["resource"].clone()), (200, json!(identifier)));
        assert_eq!(answer.json()["authorization_servers"], json!([ISSUER]));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"), "{uri}");
        answer.assert_is(t.server.resource_metadata(&Request::get(uri)));
        let preflight = TestRequest::with_uri(uri).method("OPTIONS".parse().unwrap()).append_header(origin);
        let preflight = preflight.append_header(("access-control-request-method", "GET"));
        let answer = send(routes(&t.server), preflight).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{uri}");
        let answer = send(routes(&t.server), TestRequest::post().uri(uri)).await;
        assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD")), "{uri}");
    }
    let t = TestServer::new();
    let unknown = TestRequest::get().uri("/.well-known/oauth-protected-resource");
    assert_eq!(send(routes(&t.server), unknown).await.status, 404);
}

#[actix_web::test]
#[should_panic(expected = "two endpoints have the path /token")]
async fn two_endpoints_at_one_path_are_refused_when_the_app_is_configured() {
    let t =
        TestServer::with(|builder| builder.endpoints(|urls| urls.revocation = Some(format!("{ISSUER}/token?revoke"))));
    send(routes(&t.server), TestRequest::get()).await;
}

// covers: TL-18 (RFC 9700 §2.6), TL-19 (RFC 9449 §7.1)
#[actix_web::test]
async fn scripts_of_any_origin_may_use_all_but_introspection() {
    let (t, machine) = machine().await;
    let origin = ("origin", "https://spa.example");
    let metadata = TestRequest::get().uri("/.well-known/oauth-authorization-server");
    let revoke = token_post(&machine).uri("/revoke").set_payload("token=unknown");
    let introspect = token_post(&machine).uri("/introspect").set_payload("token=unknown");
    let refused = TestRequest::post().uri("/token").append_header(FORM).set_payload("grant_type=client_credentials");
    for (what, request, status, allowed) in [
        ("token", machine_form(&machine), 200, Some("*")),
        ("a refused token", refused, 401, Some("*")),
        ("revoke", revoke, 200, Some("*")),
        ("metadata", metadata, 200, Some("*")),
        ("introspect", introspect, 200, None),
    ] {
        let answer = send(routes(&t.server), request.append_header(origin)).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, allowed), "{what}");
        let exposed = allowed.map(|_| "www-authenticate, retry-after");
        assert_eq!(answer.header("access-control-expose-headers"), exposed, "{what}");
        assert_eq!(answer.header("access-control-allow-credentials"), None, "{what}");
    }
    let mut events = t.events.names();
    for (path, status, allowed) in [
        ("/token", 204, Some("GET, POST")),
        ("/revoke", 204, Some("GET, POST")),
        ("/.well-known/oauth-authorization-server", 204, Some("GET, POST")),
        ("/introspect", 405, None),
    ] {
        let preflight = TestRequest::with_uri(path).method("OPTIONS".parse().unwrap()).append_header(origin);
        let preflight = preflight.append_header(("access-control-request-method", "POST"));
        let preflight = preflight.append_header(("access-control-request-headers", "authorization"));
        let answer = send(routes(&t.server), preflight).await;
        assert_eq!((answer.status, answer.header("access-control-allow-methods")), (status, allowed), "{path}");
        assert_eq!(answer.header("access-control-allow-origin"), allowed.map(|_| "*"), "{path}");
        let headers = allowed.map(|_| "authorization, content-type");
        assert_eq!(answer.header("access-control-allow-headers"), headers, "{path}");
        assert_eq!(answer.header("access-control-max-age"), allowed.map(|_| "3600"), "{path}");
    }
    events.push("introspection_refused");
    assert_eq!(t.events.names(), events, "a preflight reached an endpoint that it is not for");
}

// covers: TL-21 (RFC 9110 §15.5.6)
#[actix_web::test]
async fn options_is_a_preflight_only_with_an_origin_and_a_method_to_ask_for() {
    let t = TestServer::new();
    let origin = ("origin", "https://spa.example");
    let asked = ("access-control-request-method", "POST");
    for headers in [&[][..], &[origin], &[asked]] {
        for path in ["/token", "/revoke"] {
            let request = TestRequest::with_uri(path).method("OPTIONS".parse().unwrap());
            let request = headers.iter().fold(request, |request, header| request.append_header(*header));
            let answer = send(routes(&t.server), request).await;
            assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{path} {headers:?}");
            assert_eq!(answer.header("access-control-allow-methods"), None, "{path} {headers:?}");
            assert_eq!(answer.json()["error"], "invalid_request", "{path} {headers:?}");
        }
    }
    assert_eq!(t.events.events().len(), 6, "a request did not reach its endpoint");
}

// covers: TL-17 (RFC 9700 §2.6)
#[actix_web::test]
async fn no_script_may_use_the_authorization_endpoint_introspection_or_the_hosts_own_routes() {
    let t = TestServer::new();
    let machine = t.confidential_client(REDIRECT_URI).await;
    let api = t.confidential_client_with(ClientBuilder::resource_server).await;
    let token = t.token_as(&machine, TokenRequest::client_credentials().scope("user:read")).await.unwrap().access_token;
    let query = form(&[("response_type", "code"), ("client_id", &machine.id), ("scope", "user:read")]);
    let query = format!("/authorize?{query}&code_challenge={CHALLENGE}&code_challenge_method=S256");
    let introspection = || token_post(&api).uri("/introspect").set_payload(form(&[("token", token.expose())]));
    let preflight = |path: &str, method: &str| {
        let request = TestRequest::with_uri(path).method("OPTIONS".parse().unwrap());
        let request = request.append_header(("access-control-request-method", method));
        request.append_header(("access-control-request-headers", "authorization,content-type"))
    };
    let bare = |config: &mut ServiceConfig| {
        config.configure(pages(&t)).service(resource("/hello").route(get().to(HttpResponse::Accepted)));
    };
    let with_fallback = |config: &mut ServiceConfig| {
        config.configure(bare).default_service(route().to(HttpResponse::Accepted));
    };
    for (has_fallback, unknown) in [(false, 404), (true, 202)] {
        for (number, (request, status)) in [
            (TestRequest::get().uri(&query), 303),
            (TestRequest::get().uri("/authorize?client_id=nobody"), 400),
            (preflight("/authorize", "GET"), 405),
            (introspection(), 200),
            (preflight("/introspect", "POST"), 405),
            (TestRequest::get().uri("/hello"), 202),
            (preflight("/hello", "GET"), 405),
            (TestRequest::get().uri("/unknown"), unknown),
            (preflight("/unknown", "GET"), unknown),
        ]
        .into_iter()
        .enumerate()
        {
            let what = format!("request {number}, fallback: {has_fallback}");
            let request = request.append_header(("origin", "https://spa.example"));
            let answer = if has_fallback { send(with_fallback, request).await } else { send(bare, request).await };
            assert_eq!(answer.status, status, "{what}");
            let cors = answer.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
            assert_eq!(cors, None, "{what}");
        }
    }
}

#[actix_web::test]
async fn a_body_of_the_largest_size_is_read_and_a_larger_one_answered_in_json() {
    let t = TestServer::with_policy(|policy| policy.max_body = 100);
    let machine = t.confidential_client(REDIRECT_URI).await;
    let padded = |size: usize| {
        let body = form(&[("grant_type", "client_credentials"), ("scope", "user:read"), ("x", "")]);
        token_post(&machine).set_payload(format!("{body}{}", "x".repeat(size - body.len())))
    };
    assert_eq!(send(routes(&t.server), padded(100)).await.status, 200);
    for size in [101, 1_000_000] {
        let answer = send(routes(&t.server), padded(size)).await;
        assert_eq!((answer.status, answer.json()["error"].clone()), (413, json!("invalid_request")), "{size}");
        assert_eq!(answer.header("content-type"), Some("application/json"), "{size}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{size}");
    }
    assert_eq!(t.events.count("tokens_issued"), 1);
    // Where a browser waits for one, the answer is a page.
    let request = TestRequest::post().uri("/authorize").append_header(FORM).set_payload("x".repeat(101));
    let answer = send(pages(&t), request).await;
    assert_eq!((answer.status, answer.header("content-type")), (413, Some("text/html; charset=utf-8")));
}

#[actix_web::test]
async fn a_body_that_breaks_off_is_a_bad_request_and_not_too_large_a_one() {
    let (t, machine) = machine().await;
    let cut = Limited::new(Full::new(Bytes::from("grant_type=client_credentials")), 10);
    let cut = BodyDataStream::new(cut.map_err(|_| PayloadError::Incomplete(None)));
    let mut request = token_post(&machine).to_request();
    *request.payload() = Payload::Stream { payload: Box::pin(cut) };
    let app = init_service(App::new().configure(routes(&t.server))).await;
    let answer = Answer::read(call_service(&app, request).await.into_parts().1).await;
    assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!("invalid_request")));
    assert_eq!(answer.json()["error_description"], "the parameters have a broken escape or are not UTF-8");
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(t.events.events().is_empty(), "it reached the endpoint");
}

// covers: BR-18 (RFC 6750 §3.1), B37
#[actix_web::test]
async fn repeated_headers_and_parameters_reach_the_server_as_repeated() {
    let (t, machine) = machine().await;
    let token = t.token_as(&machine, TokenRequest::client_credentials().scope("user:read")).await.unwrap().access_token;
    let header = || ("authorization", basic(&machine.id, machine.secret.as_ref().unwrap().expose()));
    for (request, body, description) in [
        (token_post(&machine).append_header(header()), "", "the Authorization header is malformed"),
        (token_post(&machine).append_header(FORM), "", "the body is not application/x-www-form-urlencoded"),
        (token_post(&machine), "&scope=a&scope=a", "the parameter scope occurs more than once"),
        (token_post(&machine).uri("/token?scope=user:read"), "", "the parameter scope belongs in the body"),
    ] {
        let request = request.set_payload(format!("grant_type=client_credentials{body}"));
        let answer = send(routes(&t.server), request).await;
        assert_eq!((answer.status, answer.json()["error"].clone()), (400, json!("invalid_request")), "{description}");
        assert_eq!(answer.json()["error_description"], description);
    }
    let bearer = || ("authorization", format!("Bearer {}", token.expose()));
    let request = TestRequest::get().uri("/me").append_header(bearer()).append_header(bearer());
    assert_eq!(send(api(&t), request).await.status, 400);
}

/// The host's own API.
fn api(t: &TestServer) -> impl FnOnce(&mut ServiceConfig) {
    async fn me(token: Bearer) -> Result<String, BearerError> {
        Ok(format!("Hello, {}", token.require("user:read")?.user()?))
    }
    async fn change(token: Bearer) -> Result<HttpResponse, BearerError> {
        token.require("user:write").map(|_| HttpResponse::Ok().finish())
    }
    async fn mistake(token: Bearer) -> Result<HttpResponse, BearerError> {
        token.require("user:raed").map(|_| HttpResponse::Ok().finish())
    }
    let routes = routes(&t.server);
    |config| {
        config.configure(routes);
        config.route("/me", get().to(me)).route("/me", put().to(change)).route("/mistake", get().to(mistake));
    }
}

// covers: BR-01 (RFC 6750 §2.1), BR-05 (RFC 6750 §3), BR-10 (RFC 6750 §3.1)
#[actix_web::test]
async fn a_handler_gets_a_bearer_token_or_the_client_an_answer_as_the_server_gives_it() {
    let (t, machine) = machine().await;
    let app = t.public_client(REDIRECT_URI).await;
    let of_user = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap().access_token;
    let request = TokenRequest::client_credentials().scope("user:read");
    let of_machine = t.token_as(&machine, request).await.unwrap().access_token;
    let call = async |method: &str, uri: &str, token: &str| {
        let mut request = TestRequest::with_uri(uri).method(method.parse().unwrap());
        if !token.is_empty() {
            request = request.append_header(("authorization", format!("Bearer {token}")));
        }
        send(api(&t), request).await
    };
    let answer = call("GET", "/me", of_user.expose()).await;
    assert_eq!((answer.status, &answer.body[..]), (200, &b"Hello, alice"[..]));

    let challenge = |rest: &str| format!("Bearer realm=\"{ISSUER}\"{rest}");
    let lacking =
        ", error=\"insufficient_scope\", error_description=\"the access token lacks a scope\", scope=\"user:write\"";
    let no_owner = ", error=\"insufficient_scope\", error_description=\"the access token has no resource owner\"";
    let invalid = ", error=\"invalid_token\", error_description=\"the access token is unknown, expired or revoked\"";
    for (method, token, status, expected) in [
        ("GET", "", 401, challenge("")),
        ("GET", "unknown", 401, challenge(invalid)),
        ("PUT", of_user.expose(), 403, challenge(lacking)),
        ("GET", of_machine.expose(), 403, challenge(no_owner)),
    ] {
        let answer = call(method, "/me", token).await;
        assert_eq!((answer.status, answer.header("www-authenticate")), (status, Some(&*expected)), "{method} {token}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{method} {token}");
        assert!(answer.body.is_empty(), "{method} {token}");
    }
    let answer = call("GET", "/mistake", of_user.expose()).await;
    assert_eq!((answer.status, answer.header("www-authenticate")), (500, None));
    t.faults.fail(1, Fault::Unavailable);
    assert_eq!(call("GET", "/me", of_user.expose()).await.status, 503);
}

#[actix_web::test]
async fn an_extractor_without_a_server_among_the_apps_data_lets_nobody_in() {
    let bare = |config: &mut ServiceConfig| {
        config.route("/api", get().to(async |_: Bearer| HttpResponse::Ok().finish()));
        config.route("/page", get().to(async |_: Request| HttpResponse::Ok().finish()));
    };
    for path in ["/api", "/page"] {
        assert_eq!(send(bare, TestRequest::get().uri(path)).await.status, 500, "{path}");
    }
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

#[actix_web::test]
async fn a_request_is_handed_to_a_handler_whole() {
    async fn handler(seen: Data<Mutex<Seen>>, request: Request) -> HttpResponse {
        *seen.lock().unwrap() = Seen {
            method: request.method().to_owned(),
            target: request.target().to_owned(),
            headers: request.header_values("X-Twice").map(<[u8]>::to_vec).collect(),
            body: request.body().to_vec(),
            peer: request.peer(),
        };
        HttpResponse::Ok().finish()
    }
    let t = TestServer::new();
    let seen: Data<Mutex<Seen>> = Data::default();
    let request = TestRequest::with_uri("https://id.example/authorize?state=%FF%20+&a=1&a=2")
        .method("PROPFIND".parse().unwrap())
        .append_header(("x-twice", "one"))
        .append_header(("X-TWICE", HeaderValue::from_bytes(b"tw\xff").unwrap()))
        .peer_addr(SocketAddr::from(([192, 0, 2, 7], 4711)))
        .set_payload(&b"\0\xff body"[..]);
    let configure = |config: &mut ServiceConfig| {
        config.app_data(seen.clone()).app_data(Data::new(t.server.clone()));
        config.route("/authorize", route().to(handler));
    };
    assert_eq!(send(configure, request).await.status, 200);
    let expected = Seen {
        method: "PROPFIND".to_owned(),
        target: "/authorize?state=%FF%20+&a=1&a=2".to_owned(),
        headers: vec![b"one".to_vec(), b"tw\xff".to_vec()],
        body: b"\0\xff body".to_vec(),
        peer: Some(Ipv4Addr::new(192, 0, 2, 7).into()),
    };
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// A host's authorization page, on which everyone is alice and agrees to everything.
fn pages(t: &TestServer) -> impl FnOnce(&mut ServiceConfig) {
    async fn authorize(oauth: Data<AuthorizationServer>, request: Request) -> actix_web::Result<AuthorizationResponse> {
        match oauth.authorize(&request).await {
            Authorize::Respond(response) => Err(response.into()),
            Authorize::Pending(pending) if request.query().contains("deny") => Ok(pending.deny()),
            Authorize::Pending(pending) => {
                let approval = Approval::by(Subject::new("alice").unwrap());
                Ok(run_to_completion(pending.approve(approval)).await)
            }
        }
    }
    let routes = routes(&t.server);
    |config| {
        config.configure(routes).route("/authorize", route().to(authorize));
    }
}

#[actix_web::test]
async fn the_answers_of_the_authorization_endpoint_can_be_returned_from_a_handler() {
    let t = TestServer::new();
    let app = t.public_client(REDIRECT_URI).await;
    let query = form(&[
        ("response_type", "code"),
        ("client_id", &app.id),
        ("scope", "user:read"),
        ("state", "a b&c"),
        ("code_challenge", CHALLENGE),
        ("code_challenge_method", "S256"),
    ]);
    let by_get = TestRequest::with_uri(&format!("/authorize?{query}"));
    let by_post = TestRequest::post().uri("/authorize").append_header(FORM).set_payload(query.clone());
    for request in [by_get, by_post] {
        let answer = send(pages(&t), request).await;
        assert_eq!(answer.status, 303);
        let target = url::Url::parse(answer.header("location").unwrap()).unwrap();
        let query: std::collections::BTreeMap<_, _> = target.query_pairs().collect();
        assert_eq!((&*query["state"], &*query["iss"]), ("a b&c", ISSUER));
        let code = grantor::AuthorizationCode::new(query["code"].clone());
        assert!(t.storage.find(&code.hash()).await.unwrap().is_some());
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        assert_eq!(answer.header("referrer-policy"), Some("no-referrer"));
        assert_eq!(answer.header("access-control-allow-origin"), None);
    }
    let denied = send(pages(&t), TestRequest::with_uri(&format!("/authorize?{query}&deny="))).await;
    let target = url::Url::parse(denied.header("location").unwrap()).unwrap();
    assert!(target.query_pairs().any(|(name, value)| name == "error" && value == "access_denied"));

    let answer = send(pages(&t), TestRequest::with_uri("/authorize?client_id=nobody")).await;
    assert!(answer.header("content-security-policy").is_some() && answer.header("location").is_none());
    answer.assert_is(common::responded(t.server.authorize(&Request::get("/authorize?client_id=nobody")).await));
}

#[actix_web::test]
async fn a_response_keeps_its_status_all_its_headers_and_its_body() {
    let page = Response::page(418, "<p>\u{e9}</p>");
    let mut headers: Vec<(String, String)> =
        page.headers().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let mut answer = Answer::read(page.into()).await;
    headers.sort();
    answer.headers.sort();
    assert_eq!((answer.status, &answer.headers), (418, &headers));
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

/// Headers by which a client might pretend to come from elsewhere.
const SPOOFED: [(&str, &str); 3] =
    [("x-forwarded-for", "198.51.100.1"), ("x-real-ip", "198.51.100.1"), ("forwarded", "for=198.51.100.1")];

// covers: TL-20 (RFC 9700 §4.13)
#[actix_web::test]
async fn the_authenticator_is_told_the_address_of_the_connection_and_no_header_changes_it() {
    let doorkeeper = Doorkeeper::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper.clone()));
    let machine = t.confidential_client(REDIRECT_URI).await;
    let spoofed = || SPOOFED.into_iter().fold(machine_form(&machine), TestRequest::append_header);
    assert_eq!(send(routes(&t.server), spoofed()).await.status, 200);
    let request = spoofed().peer_addr(SocketAddr::from(([192, 0, 2, 7], 4711)));
    assert_eq!(send(routes(&t.server), request).await.status, 200);
    assert_eq!(*doorkeeper.peers.lock().unwrap(), [None, Some(Ipv4Addr::new(192, 0, 2, 7).into())]);
}

/// Serves an app on a free port of the loopback interface.
fn serve(t: &TestServer) -> (SocketAddr, actix_web::dev::ServerHandle) {
    let server = t.server.clone();
    let app = move || App::new().configure(routes(&server));
    let server = HttpServer::new(app).workers(1).bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let running = server.run();
    let handle = running.handle();
    actix_web::rt::spawn(running);
    (address, handle)
}

#[actix_web::test]
async fn served_over_a_socket_the_peer_is_the_one_that_connected_and_too_large_a_body_gets_its_answer() {
    let doorkeeper = Doorkeeper::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper.clone()));
    let machine = t.confidential_client(REDIRECT_URI).await;
    let (address, handle) = serve(&t);
    let post = |fields: &[(&str, &str)]| {
        let request = reqwest::Client::new().post(format!("http://{address}/token")).form(fields);
        let request = request.basic_auth(&machine.id, machine.secret.as_ref().map(grantor::Secret::expose));
        SPOOFED.into_iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    let answer = post(&[("grant_type", "client_credentials"), ("scope", "user:read")]).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 200);
    assert_eq!(answer.json::<Value>().await.unwrap()["scope"], "user:read");
    assert_eq!(*doorkeeper.peers.lock().unwrap(), [Some(Ipv4Addr::LOCALHOST.into())]);

    let large = "x".repeat(t.server.policy().max_body);
    let answer = post(&[("grant_type", "client_credentials"), ("x", &large)]).send().await.unwrap();
    assert_eq!(answer.status().as_u16(), 413);
    assert_eq!(answer.json::<Value>().await.unwrap()["error"], "invalid_request");
    handle.stop(false).await;
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

#[actix_web::test]
async fn a_token_request_is_carried_out_although_the_client_hung_up() {
    let door = Arc::new(Door::default());
    let doorkeeper = Doorkeeper { door: Some(Arc::clone(&door)), ..Doorkeeper::default() };
    let issued = Done::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper).observer(issued.clone()));
    let machine = t.confidential_client(REDIRECT_URI).await;
    let request = machine_form(&machine);
    let configure = routes(&t.server);
    let connection = actix_web::rt::spawn(send(configure, request));
    door.reached.notified().await;
    connection.abort();
    assert!(connection.await.err().unwrap().is_cancelled(), "the client has hung up");
    assert!(!door.given_up.load(Ordering::SeqCst), "the request was given up with its connection");
    let own = GrantSelector::Client(machine.id.as_str().try_into().unwrap());
    assert!(t.storage.grants(&own, t.clock.now(), &Page::first(9)).await.unwrap().is_empty());
    door.open.notify_one();
    issued.0.notified().await;
    assert_eq!(t.storage.grants(&own, t.clock.now(), &Page::first(9)).await.unwrap().len(), 1);
}

#[actix_web::test]
async fn a_revocation_is_carried_out_although_the_client_hung_up() {
    let door = Arc::new(Door::default());
    let doorkeeper = Doorkeeper { door: Some(Arc::clone(&door)), ..Doorkeeper::default() };
    let done = Done::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper).observer(done.clone()));
    let app = t.confidential_client(REDIRECT_URI).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    door.open.notify_one();
    let tokens = approved.redeem().await.unwrap();
    door.reached.notified().await;
    done.0.notified().await;

    let token = tokens.refresh_token.as_ref().unwrap().expose();
    let request = token_post(&app).uri("/revoke").set_payload(form(&[("token", token)]));
    let connection = actix_web::rt::spawn(send(routes(&t.server), request));
    door.reached.notified().await;
    connection.abort();
    assert!(connection.await.err().unwrap().is_cancelled(), "the client has hung up");
    assert!(!door.given_up.load(Ordering::SeqCst), "the request was given up with its connection");
    assert!(t.bearer(&tokens.access_token).await.is_ok());
    door.open.notify_one();
    done.0.notified().await;
    assert!(t.bearer(&tokens.access_token).await.is_err());
}

#[actix_web::test]
async fn what_runs_to_completion_outlives_whoever_waits_for_it() {
    let t = TestServer::new();
    let app = t.public_client(REDIRECT_URI).await;
    let pending = t.authorize(&app).pending().await;
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
    // Whoever stays gets the result, which need not be one that can go to another thread.
    assert_eq!(*run_to_completion(async { std::rc::Rc::new(7) }).await, 7);
}
