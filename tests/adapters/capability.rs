//! Endpoints that a capability adds: both adapters serve them without special code.

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request as HttpRequest;
use grantor::capability::{BuildView, Capability, Endpoint, ServerView};
use grantor::client::ClientParts;
use grantor::testing::{ISSUER, TestServer};
use grantor::{Client, ClientRegistry, ClientStore, Params, Request, Response, Route, ServedBy};
use serde_json::{Map, Value, json};

use crate::common::{basic, form};
use crate::{FORM, REDIRECT_URI, Web, With, get, machine, post, post_as, request, token_of};

/// A board for notes: clients post them, and a caller with a token reads them.
struct Board;

#[async_trait]
impl Capability for Board {
    fn name(&self) -> &'static str {
        "board"
    }

    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
        vec![
            Endpoint::new("notes", build.url("/notes")).methods("GET, DELETE").any_origin().max_body(0),
            Endpoint::new("put_up", build.url("/notes/new?v=1")).methods("POST").max_body(40),
            Endpoint::new("echo", build.url("/echo")),
            Endpoint::new("open", build.url("/open")).any_origin(),
            Endpoint::new("import", build.url("/notes/import")).methods("POST").max_body(100_000),
            Endpoint::new("page", build.url("/page")).methods("GET").any_origin(),
            Endpoint::new("publish", build.url("/notes/publish")).methods("POST").max_body(100_000),
        ]
    }

    fn metadata(&self, build: &BuildView<'_>) -> Map<String, Value> {
        Map::from_iter([("notes_endpoint".to_owned(), json!(build.url("/notes"))), ("notes".to_owned(), json!([]))])
    }

    async fn respond(&self, endpoint: &str, request: &Request, server: ServerView<'_>) -> Response {
        match endpoint {
            "notes" | "publish" => match server.bearer(request).await.and_then(|token| token.require("user:read")) {
                Ok(access) => Response::json(200, json!([access.client_id().as_str()]).to_string()),
                Err(error) => error.into(),
            },
            "page" => match request.query() {
                "new" => made(201, [("location", "/page/7".to_owned()), ("etag", "\"1\"".to_owned())], ""),
                "cached" => made(304, [("etag", "\"1\"".to_owned()), ("cache-control", "max-age=60".to_owned())], ""),
                "busy" => {
                    made(503, [("retry-after", "7".to_owned()), ("content-type", "text/plain".to_owned())], "busy")
                }
                "login" => made(401, [("www-authenticate", "A".to_owned()), ("www-authenticate", "B".to_owned())], ""),
                input => made(201, [("location", input.replace("%0A", "\n")), ("x-a", "b".to_owned())], ""),
            },
            "put_up" | "import" => match server.authenticate_client(request).await {
                Ok(client) => {
                    let params = Params::decode(request.body());
                    let note = params.get("note").ok().flatten();
                    let at = server.now().unix_timestamp();
                    Response::json(201, json!({ "by": client.id().as_str(), "note": note, "at": at }).to_string())
                }
                Err(error) => server.refuse(&error),
            },
            _ => {
                let body = String::from_utf8_lossy(request.body());
                let (method, issuer) = (request.method(), server.issuer());
                Response::json(200, json!([method, request.target(), body, issuer]).to_string())
            }
        }
    }
}

/// Builds the response with these headers, or a 500 if one is invalid.
fn made(status: u16, headers: [(&'static str, String); 2], body: &str) -> Response {
    Response::from_parts(status, headers, body).unwrap_or_else(Response::from)
}

fn server() -> TestServer {
    TestServer::with(|builder| builder.capability(Board))
}

fn preflight(uri: &str) -> HttpRequest<Body> {
    request("OPTIONS", uri).with("origin", "https://spa.example").with("access-control-request-method", "DELETE")
}

#[tokio::test(flavor = "local")]
async fn endpoint_of_a_capability_is_listed_and_described() {
    let t = server();
    let own: Vec<_> = t.server.routes().iter().skip(5).map(|route| (route.endpoint(), route.path())).collect();
    let [notes, new, import] = [("notes", "/notes"), ("put_up", "/notes/new"), ("import", "/notes/import")];
    assert_eq!(
        own,
        [notes, new, ("echo", "/echo"), ("open", "/open"), import, ("page", "/page"), ("publish", "/notes/publish")]
    );
    assert!(t.server.routes().iter().skip(5).all(|route| route.served_by() == ServedBy::Library));
    let terms = |path| t.server.route(path).map(|route| (route.any_origin(), route.max_body()));
    assert_eq!(terms("/notes"), Some((true, 0)));
    assert_eq!(terms("/notes/new"), Some((false, 40)));
    assert_eq!(terms("/echo"), Some((false, t.server.policy().max_body)));
    assert_eq!(t.server.metadata_document()["notes_endpoint"], format!("{ISSUER}/notes"));
    assert_eq!(t.server.metadata_document().get("notes"), None, "an empty list is left out");
    for web in Web::each() {
        let document = web.routes([&t.server]).send(get("/.well-known/oauth-authorization-server")).await.json();
        assert_eq!(document["notes_endpoint"], format!("{ISSUER}/notes"));
    }

    let without = TestServer::new();
    assert!(without.server.route("/notes").is_none());
    assert!(!without.server.routes().iter().any(|route| route.endpoint() == "notes"));
    assert!(!without.server.metadata_document().contains_key("notes_endpoint"));
    for web in Web::each() {
        assert_eq!(web.routes([&without.server]).send(get("/notes")).await.status, 404);
    }
}

#[tokio::test(flavor = "local")]
async fn both_adapters_serve_the_endpoints_of_a_capability() {
    for web in Web::each() {
        let t = server();
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.host(&t.server);
        let bearer = format!("Bearer {}", token_of(&t, &machine).await.expose());
        let answer = app.send(get("/notes").with("authorization", &bearer)).await;
        assert_eq!((answer.status, answer.json()), (200, json!([machine.id])));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let answer = app.send(get("/notes")).await;
        assert_eq!((answer.status, answer.header("www-authenticate").is_some()), (401, true));

        let answer = app.send(post_as(&machine, "/notes/new?v=1", form(&[("note", "hello")]))).await;
        let now = grantor::Clock::now(&t.clock).unix_timestamp();
        assert_eq!((answer.status, answer.json()), (201, json!({ "by": machine.id, "note": "hello", "at": now })));
        let answer = app.send(post("/notes/new", "note=x")).await;
        assert_eq!(answer.error(), (401, "invalid_client".to_owned()));
        let answer = app.send(post("/notes/new", "client_id=a&client_id=a")).await;
        assert_eq!(answer.error(), (400, "invalid_request".to_owned()));

        let answer = app.send(request("BREW", "/echo?a=%20").with_body("tea")).await;
        assert_eq!(answer.json(), json!(["BREW", "/echo?a=%20", "tea", ISSUER]));
    }
}

// covers: TL-21 (RFC 9110 §15.5.6)
#[tokio::test(flavor = "local")]
async fn capability_sees_only_its_methods_and_sizes() {
    for web in Web::each() {
        let (app, unauthorized) = (web.routes([&server().server]), (401, None));
        for (method, path, size, expected) in [
            ("GET", "/notes", 0, unauthorized),
            ("DELETE", "/notes", 0, unauthorized),
            ("GET", "/notes", 1, (413, None)),
            ("POST", "/notes", 0, (405, Some("GET, DELETE"))),
            ("get", "/notes", 0, (405, Some("GET, DELETE"))),
            ("OPTIONS", "/notes", 0, (405, Some("GET, DELETE"))),
            ("POST", "/notes/new", 40, unauthorized),
            ("POST", "/notes/new", 41, (413, None)),
            ("GET", "/notes/new", 0, (405, Some("POST"))),
        ] {
            let mut request = post(path, format!("client_id={}", "x".repeat(size))[..size].to_owned());
            *request.method_mut() = method.parse().unwrap();
            let answer = app.send(request).await;
            assert_eq!((answer.status, answer.header("allow")), expected, "{method} {path} {size}");
            if answer.status != 401 {
                assert_eq!(answer.error().1, "invalid_request", "{method} {path} {size}");
            }
        }
    }
}

// covers: TL-17 (RFC 9700 §2.6), TL-18 (RFC 9700 §2.6)
#[tokio::test(flavor = "local")]
async fn capability_decides_about_scripts_of_other_origins() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let with_board = server();
        let app = web.routes([&with_board.server]);
        let answer = app.send(preflight("/notes")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")));
        assert_eq!(answer.header("access-control-allow-methods"), Some("GET, DELETE"));
        let answer = app.send(preflight("/open")).await;
        assert_eq!((answer.status, answer.header("access-control-allow-methods")), (204, Some("*")), "all methods");
        for request in [get("/notes"), post("/notes", "")] {
            assert_eq!(app.send(request).await.header("access-control-allow-origin"), Some("*"));
        }
        for request in [preflight("/notes/new"), preflight("/echo"), post_as(&machine, "/notes/new", "note=x")] {
            let what = format!("{} {}", request.method(), request.uri());
            app.send(request).await.assert_no_cors(&what);
        }
        assert!(t.server.route("/echo").is_none());
    }
}

#[tokio::test(flavor = "local")]
async fn failed_authentication_at_a_capability_is_an_event() {
    for web in Web::each() {
        let t = server();
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.routes([&t.server]);
        let named = format!("presented_client_id: Some(ClientId({:?})), grant_type: None", machine.id);
        let neither = "presented_client_id: None, grant_type: None".to_owned();
        let wrong = basic(&machine.id, "not-the-secret");
        for (request, reason, presented) in [
            (post("/notes/new", "note=x").with("authorization", &wrong), "ClientAuthenticationFailed", &named),
            (post("/notes/new", form(&[("client_id", &machine.id)])), "MissingClientAuthentication", &named),
            (post("/notes/new", "client_id=nobody"), "UnknownClient", &neither),
            (post("/notes/new", "client_id=a&client_id=a"), "RepeatedParameter(\"client_id\")", &neither),
            (post("/notes/new?client_id=a", ""), "ParameterInQuery(\"client_id\")", &neither),
        ] {
            let told = t.events.events().len();
            assert!(app.send(request.with_peer([192, 0, 2, 7])).await.status >= 400);
            let told = t.events.events().split_off(told);
            assert_eq!(told.iter().map(|event| event.name).collect::<Vec<_>>(), ["token_refused"], "{reason}");
            for part in ["peer: Some(192.0.2.7)", reason, &**presented, "client_id: None"] {
                assert!(told[0].text.contains(part), "{part}: {}", told[0].text);
            }
        }
        // A success causes no event here. At the token endpoint, only issued tokens do.
        assert_eq!(app.send(post_as(&machine, "/notes/new", "note=x")).await.status, 201);
        assert_eq!(t.events.events().len(), 5);
    }
}

/// The endpoint's own limit applies, not the limit of the policy, which is for token requests.
#[tokio::test(flavor = "local")]
async fn client_authenticates_with_body_above_the_policy_limit() {
    for web in Web::each() {
        let t = server();
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.routes([&t.server]);
        let length = t.server.policy().max_body + 1;
        let body = |length: usize| format!("note={}", "x".repeat(length - 5));
        let answer = app.send(post_as(&machine, "/notes/import", body(length))).await;
        assert_eq!((answer.status, &answer.json()["by"]), (201, &json!(machine.id)));
        assert_eq!(app.send(post_as(&machine, "/notes/import", body(100_000))).await.status, 201);
        assert_eq!(app.send(post_as(&machine, "/notes/import", body(100_001))).await.status, 413);
    }
}

// covers: BR-02 (RFC 6750 §2.2)
#[tokio::test(flavor = "local")]
async fn capability_reads_bearer_in_body_above_the_policy_limit() {
    for (web, in_body) in Web::each().flat_map(|web| [(web, true), (web, false)]) {
        let mut policy = grantor::Policy::default();
        policy.bearer_in_body = in_body;
        let max_body = policy.max_body;
        let t = TestServer::with(|builder| builder.policy(policy).capability(Board));
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.routes([&t.server]);
        let token = format!("access_token={}&note=", token_of(&t, &machine).await.expose());
        let body = |length: usize| format!("{token}{}", "x".repeat(length - token.len()));
        for length in [max_body, max_body + 1, 100_000] {
            let answer = app.send(post("/notes/publish", body(length))).await;
            assert_eq!(answer.status, if in_body { 200 } else { 401 }, "{length}");
        }
        assert_eq!(app.send(post("/notes/publish", body(100_001))).await.status, 413);
    }
}

/// The unknown member may forbid the client to use a capability.
#[tokio::test]
async fn client_with_unknown_critical_member_is_unavailable() {
    let t = server();
    let machine = t.confidential_client(REDIRECT_URI).await;
    let stored = t.storage.find_client(&machine.id).await.unwrap().unwrap();
    let mut members = json!(*stored);
    members["client_id"] = json!("newer");
    members["crit"] = json!(["dpop_bound"]);
    let newer = Client::from_parts(ClientParts::from_stored(&members.to_string()).unwrap()).unwrap();
    t.storage.register(newer).await.unwrap();
    let header = basic("newer", machine.secret.as_ref().unwrap().expose());
    let request = Request::post_form("/notes/new", "note=x").with_header("authorization", header);
    let answer = t.server.handle(&request).await;
    assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("60")));
    let wrong = Request::post_form("/notes/new", "note=x").with_header("authorization", basic("newer", "wrong"));
    assert_eq!(t.server.handle(&wrong).await.status(), 401, "the secret is checked first");
}

// covers: TL-18 (RFC 9700 §2.6)
#[tokio::test(flavor = "local")]
async fn capability_sets_its_response_headers() {
    for web in Web::each() {
        let app = web.routes([&server().server]);
        let no_store = [("cache-control", "no-store"), ("pragma", "no-cache")];
        for (query, status, headers, body) in [
            ("new", 201, [&no_store[..], &[("etag", "\"1\""), ("location", "/page/7")]].concat(), ""),
            ("cached", 304, vec![("cache-control", "max-age=60"), ("etag", "\"1\"")], ""),
            ("busy", 503, [&no_store[..], &[("content-type", "text/plain"), ("retry-after", "7")]].concat(), "busy"),
            ("login", 401, [&no_store[..], &[("www-authenticate", "A"), ("www-authenticate", "B")]].concat(), ""),
            ("/a%20b", 201, [&no_store[..], &[("location", "/a%20b"), ("x-a", "b")]].concat(), ""),
            ("/a%0Aset-cookie:c=d", 500, no_store.to_vec(), ""),
        ] {
            let answer = app.send(get(&format!("/page?{query}"))).await;
            let (mut cors, mut own) = (Vec::new(), Vec::new());
            for (name, value) in &answer.headers {
                match &**name {
                    "content-length" | "vary" => {}
                    name if name.starts_with("access-control-") => cors.push((name, &**value)),
                    name => own.push((name, &**value)),
                }
            }
            own.sort_unstable();
            cors.sort_unstable();
            let mut headers = headers;
            headers.sort_unstable();
            assert_eq!((answer.status, own, &answer.body[..]), (status, headers, body.as_bytes()), "{query}");
            let exposed = ("access-control-expose-headers", "*");
            assert_eq!(cors, [("access-control-allow-origin", "*"), exposed], "{query}");
        }
    }
}

/// A web stack that reads more than the limit gets the same error.
#[tokio::test]
async fn handle_enforces_the_body_limit_of_a_route() {
    let t = server();
    let post =
        |size: usize| Request::new("POST", "/notes/new").with_header("content-type", FORM).with_body(vec![b'x'; size]);
    assert_eq!(t.server.handle(&post(40)).await.status(), 401);
    assert_eq!(t.server.handle(&post(41)).await.status(), 413);
    assert_eq!(t.server.handle(&post(1).with_body_too_large()).await.status(), 413);
    let broken = t.server.handle(&post(1).with_broken_body()).await;
    assert_eq!((broken.status(), broken.header("access-control-allow-origin")), (400, None));
    let broken = t.server.handle(&Request::get("/notes").with_broken_body()).await;
    assert_eq!((broken.status(), broken.header("access-control-allow-origin")), (400, Some("*")));
    let long = format!("/notes?{}", "x".repeat(t.server.policy().max_body + 1));
    assert_eq!(t.server.handle(&Request::get(long)).await.status(), 413);
    assert_eq!(t.server.handle(&Request::get("/notes?x=1")).await.status(), 401);
    // A method that is only a part of an allowed name is refused.
    assert_eq!(t.server.handle(&Request::new("GET, DELETE", "/notes")).await.status(), 405);
}

#[test]
fn debug_output_of_a_capability_route_shows_its_parts() {
    let t = server();
    let shown = t.server.route("/notes/new").map(|route: &Route| format!("{route:?}"));
    let expected =
        "Route { endpoint: \"put_up\", path: \"/notes/new\", served_by: Library, any_origin: false, max_body: 40, .. }";
    assert_eq!(shown.as_deref(), Some(expected));
}
