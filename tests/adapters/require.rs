//! The layer and the middleware that require a scope for routes of the host's API.

use std::future::ready;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex};

use actix_web::web::{self, ServiceConfig};
use axum::body::Body;
use axum::http::Request as HttpRequest;
use axum::routing::{any, get as on_get, post as on_post};
use grantor::testing::{Fault, ISSUER, TestServer};
use grantor::{Access, AccessToken, AuthorizationServer, BearerCheck, BearerError, Builder, ProtectedResource};

use crate::cross_origin::{ByScript, preflight};
use crate::{Answer, REDIRECT_URI, Web, With, get, machine, request, token_of, with_actix, with_axum};

const READ: &str = "user:read";
const BOTH: [&str; 2] = ["user:write", "user:read"];

/// An API with a path whose methods require different scopes, paths below prefixes with one or two layers, routes that
/// scripts of any origin may use, and a route without `require`.
struct Api {
    web: Web,
    oauth: AuthorizationServer,
    /// The scopes that handlers were given.
    ran: Arc<Mutex<Vec<String>>>,
}

impl Api {
    fn new(web: Web, t: &TestServer) -> Self {
        Self { web, oauth: t.server.clone(), ran: Arc::default() }
    }

    /// The handler of all routes: returns the subject of the token.
    fn handler(&self) -> impl Fn(Access) -> Result<String, BearerError> + Clone + Send + Sync + 'static {
        let ran = Arc::clone(&self.ran);
        move |access| {
            ran.lock().unwrap().push(access.scope().to_string());
            Ok(access.user()?.to_string())
        }
    }

    async fn send(&self, request: HttpRequest<Body>) -> Answer {
        match self.web {
            Web::Axum => with_axum::send_to(&self.router(), request).await,
            Web::Actix => with_actix::send_to(|config: &mut ServiceConfig| self.configure(config), request).await,
        }
    }

    fn router(&self) -> axum::Router {
        use grantor::axum::require;
        let work = self.handler();
        let work = move |access: Access| {
            let headers = [
                ("access-control-allow-origin", "https://mine.example"),
                ("access-control-allow-credentials", "true"),
                ("access-control-expose-headers", "x-total"),
            ];
            ready(work(access).map(|user| (headers, user)))
        };
        let part = || {
            let routes =
                axum::Router::new().route("/notes", any(work.clone())).route("/only-get", on_get(work.clone()));
            routes.fallback(work.clone())
        };
        axum::Router::new()
            .route("/notes", on_get(work.clone()).layer(require(&self.oauth, [READ])))
            .route("/notes", on_post(work.clone()).layer(require(&self.oauth, BOTH)))
            .nest("/api", part().layer(require(&self.oauth, [READ])))
            .nest("/open", part().layer(require(&self.oauth, [READ]).any_origin()))
            .nest(
                "/twice",
                part().layer(require(&self.oauth, BOTH).any_origin()).layer(require(&self.oauth, [READ]).any_origin()),
            )
            .nest("/stacked", part().layer(require(&self.oauth, ["user:write"])).layer(require(&self.oauth, [READ])))
            .route("/split", on_get(work.clone()).layer(require(&self.oauth, [READ]).any_origin()))
            .route("/split", on_post(work.clone()).layer(require(&self.oauth, BOTH).any_origin()))
            .route("/forgotten", any(work))
    }

    fn configure(&self, config: &mut ServiceConfig) {
        use grantor::actix::require;
        let work = self.handler();
        let work = move |access: Access| {
            let mut answer = actix_web::HttpResponse::Ok();
            answer
                .insert_header(("access-control-allow-origin", "https://mine.example"))
                .insert_header(("access-control-allow-credentials", "true"))
                .insert_header(("access-control-expose-headers", "x-total"));
            ready(work(access).map(|user| answer.body(user)))
        };
        let part = |path| {
            let only_get = web::resource("/only-get").route(web::get().to(work.clone()));
            let routes = web::scope(path).route("/notes", web::route().to(work.clone())).service(only_get);
            routes.default_service(web::route().to(work.clone()))
        };
        let notes = web::resource("/notes")
            .route(web::get().to(work.clone()).wrap(require(&self.oauth, [READ])))
            .route(web::post().to(work.clone()).wrap(require(&self.oauth, BOTH)));
        config
            .service(notes)
            .service(part("/api").wrap(require(&self.oauth, [READ])))
            .service(part("/open").wrap(require(&self.oauth, [READ]).any_origin()))
            .service(
                part("/twice")
                    .wrap(require(&self.oauth, BOTH).any_origin())
                    .wrap(require(&self.oauth, [READ]).any_origin()),
            )
            .service(part("/stacked").wrap(require(&self.oauth, ["user:write"])).wrap(require(&self.oauth, [READ])))
            .service(
                // A preflight reaches the resource, but not the route of another method.
                web::resource("/split")
                    .route(web::get().to(work.clone()))
                    .route(web::post().to(work.clone()).wrap(require(&self.oauth, BOTH)))
                    .wrap(require(&self.oauth, [READ]).any_origin()),
            )
            .route("/forgotten", web::route().to(work));
    }

    fn ran(&self) -> Vec<String> {
        std::mem::take(&mut self.ran.lock().unwrap())
    }

    /// Asserts that the handler did not run, and that this is the challenge.
    async fn assert_refused(&self, request: HttpRequest<Body>, status: u16, challenge: Option<&str>) -> Answer {
        let what = format!("{:?} {request:?}", self.web);
        let answer = self.send(request).await;
        assert_eq!(answer.status, status, "{what}");
        let expected = challenge.map(|rest| format!("Bearer realm=\"{ISSUER}\"{rest}"));
        assert_eq!(answer.header("www-authenticate"), expected.as_deref(), "{what}");
        assert!(answer.body.is_empty(), "{what}");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{what}");
        assert_eq!(self.ran(), [""; 0], "{what}");
        answer
    }
}

trait WithToken {
    fn bearing(self, token: &AccessToken) -> Self;
}

impl WithToken for HttpRequest<Body> {
    fn bearing(self, token: &AccessToken) -> Self {
        self.with("authorization", &format!("Bearer {}", token.expose()))
    }
}

async fn token(t: &TestServer, scope: &str) -> AccessToken {
    let app = t.public_client(REDIRECT_URI).await;
    t.authorize(&app).scope(scope).approve_as("alice").await.redeem().await.unwrap().access_token
}

const NEEDS_READ: &str = ", scope=\"user:read\"";

// covers: BR-05 (RFC 6750 §3), BR-10 (RFC 6750 §3.1), BR-13 (RFC 6750 §3)
#[tokio::test(flavor = "local")]
async fn require_refuses_before_the_handler_and_names_scopes() {
    for web in Web::each() {
        let t = TestServer::new();
        let api = Api::new(web, &t);
        for path in ["/notes", "/api/notes", "/api/only-get", "/api/unknown"] {
            api.assert_refused(get(path), 401, Some(NEEDS_READ)).await;
            let unknown = get(path).bearing(&AccessToken::new("unknown"));
            let description =
                "error=\"invalid_token\", error_description=\"the access token is unknown, expired or revoked\"";
            api.assert_refused(unknown, 401, Some(&format!(", {description}{NEEDS_READ}"))).await;
            let twice = get(path).with("authorization", "Bearer a").with("authorization", "Bearer a");
            let description = "the access token was presented in more than one way, or in a malformed form";
            let challenge = format!(", error=\"invalid_request\", error_description=\"{description}\"");
            api.assert_refused(twice, 400, Some(&challenge)).await;
        }
        assert_eq!(t.events.count("bearer_refused"), 12);
        api.assert_refused(request("POST", "/notes"), 401, Some(", scope=\"user:read user:write\"")).await;
        for method in ["HEAD", "OPTIONS", "PUT", "DELETE"] {
            api.assert_refused(request(method, "/api/only-get"), 401, Some(NEEDS_READ)).await;
        }

        let (reader, writer) = (token(&t, READ).await, token(&t, "user:write").await);
        let lacks = ", error=\"insufficient_scope\", error_description=\"the access token lacks a scope\"";
        let write = request("POST", "/notes").bearing(&reader);
        api.assert_refused(write, 403, Some(&format!("{lacks}, scope=\"user:read user:write\""))).await;
        api.assert_refused(get("/api/notes").bearing(&writer), 403, Some(&format!("{lacks}{NEEDS_READ}"))).await;

        t.faults.fail(1, Fault::Unavailable);
        let answer = api.assert_refused(get("/notes").bearing(&reader), 503, None).await;
        assert_eq!(answer.header("retry-after"), Some("5"));
        assert_eq!(api.send(get("/notes").bearing(&reader)).await.status, 200);
    }
}

// covers: B62
#[tokio::test(flavor = "local")]
async fn challenge_names_all_that_stacked_layers_require() {
    for web in Web::each() {
        let t = TestServer::new();
        let api = Api::new(web, &t);
        let lacks = ", error=\"insufficient_scope\", error_description=\"the access token lacks a scope\"";
        let reader = get("/stacked/notes").bearing(&token(&t, READ).await);
        api.assert_refused(reader, 403, Some(&format!("{lacks}, scope=\"user:read user:write\""))).await;
        let both = get("/stacked/notes").bearing(&token(&t, "user:read user:write").await);
        assert_eq!(api.send(both).await.status, 200);
    }
}

// covers: BR-19 (RFC 9728 §5.1)
#[tokio::test(flavor = "local")]
async fn require_points_to_the_metadata_of_the_api() {
    for web in Web::each() {
        let resource = ProtectedResource::new("https://id.example/api");
        let t = TestServer::with(|builder| builder.protected_resource(resource));
        let url = "https://id.example/.well-known/oauth-protected-resource/api";
        let challenge = format!("{NEEDS_READ}, resource_metadata=\"{url}\"");
        Api::new(web, &t).assert_refused(get("/api/notes"), 401, Some(&challenge)).await;
    }
}

// covers: RI-04 (RFC 8707 §2), RM-05 (RFC 9728 §7.4), B55
#[tokio::test(flavor = "local")]
async fn require_of_a_resource_accepts_its_own_tokens_only() {
    let (mail, calendar) = ("https://id.example/mail", "https://id.example/calendar");
    let t = TestServer::with(|builder| {
        builder.protected_resource(ProtectedResource::new(mail)).resource(ProtectedResource::new(calendar).scope(READ))
    });
    let app = t.public_client(REDIRECT_URI).await;
    let own = t.resource(calendar).unwrap();
    let work = |access: Access| ready(access.resource().unwrap_or_default().to_owned());
    for (resource, of_mail, of_calendar) in [(mail, 200, 401), (calendar, 401, 200)] {
        let flow = t.authorize(&app).scope(READ).parameter("resource", resource).approve_as("alice").await;
        let token = flow.redeem().await.unwrap().access_token;
        for (path, identifier, status) in [("/mail", mail, of_mail), ("/calendar", calendar, of_calendar)] {
            for web in Web::each() {
                let request = get(path).bearing(&token);
                let answer = match web {
                    Web::Axum => {
                        let router = axum::Router::new()
                            .route("/mail", on_get(work).layer(grantor::axum::require(&t.server, [READ])))
                            .route("/calendar", on_get(work).layer(grantor::axum::require(&own, [READ])));
                        with_axum::send_to(&router, request).await
                    }
                    Web::Actix => {
                        let configure = |config: &mut ServiceConfig| {
                            let mail = web::get().to(work).wrap(grantor::actix::require(&t.server, [READ]));
                            let calendar = web::get().to(work).wrap(grantor::actix::require(&own, [READ]));
                            config.route("/mail", mail).route("/calendar", calendar);
                        };
                        with_actix::send_to(configure, request).await
                    }
                };
                assert_eq!(answer.status, status, "{web:?} {path} {resource}");
                if status == 200 {
                    assert_eq!(&answer.body[..], identifier.as_bytes());
                    continue;
                }
                let url = format!("https://id.example/.well-known/oauth-protected-resource{path}");
                let fault = "error=\"invalid_token\", error_description=\"the access token is not meant for this API\"";
                let challenge = format!("Bearer realm=\"{ISSUER}\", {fault}{NEEDS_READ}, resource_metadata=\"{url}\"");
                assert_eq!(answer.header("www-authenticate"), Some(&*challenge));
            }
        }
    }
}

#[tokio::test(flavor = "local")]
async fn handler_behind_require_extracts_the_access() {
    for web in Web::each() {
        let t = TestServer::new();
        let api = Api::new(web, &t);
        let both = token(&t, "user:read user:write").await;
        let some = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"].map(|method| (method, "/api/notes"));
        let more = [
            ("GET", "/notes"),
            ("POST", "/notes"),
            ("GET", "/api/only-get"),
            ("GET", "/api/unknown"),
            ("GET", "/twice/notes"),
        ];
        for (method, path) in some.into_iter().chain(more) {
            let answer = api.send(request(method, path).bearing(&both)).await;
            assert_eq!(answer.status, 200, "{method} {path}");
            if method != "HEAD" {
                assert_eq!(&answer.body[..], b"alice", "{method} {path}");
            }
            assert_eq!(api.ran(), ["user:read user:write"], "{method} {path}");
        }
        assert_eq!(api.send(request("PUT", "/api/only-get").bearing(&both)).await.status, 405);
        assert_eq!(t.events.count("bearer_refused"), 0);
    }
}

#[tokio::test(flavor = "local")]
async fn access_without_require_is_a_server_error() {
    for web in Web::each() {
        let t = TestServer::new();
        let api = Api::new(web, &t);
        let token = token(&t, READ).await;
        for request in [get("/forgotten"), get("/forgotten").bearing(&token)] {
            let answer = api.send(request).await;
            assert_eq!((answer.status, api.ran()), (500, vec![]));
            let explanation = b"a handler extracts an Access on a route without `require`: add `require` to the route to check access tokens";
            assert_eq!(&answer.body[..], explanation);
            answer.assert_no_cors("a mistake");
        }
    }
}

/// Asserts that `require` of both adapters panics with this text.
#[track_caller]
fn assert_panics<'a, T>(check: &'a T, scopes: &[&str], expected: &str)
where
    &'a T: Into<BearerCheck>,
{
    for build in [(&|| drop(grantor::axum::require(check, scopes))) as &dyn Fn(), &|| {
        drop(grantor::actix::require(check, scopes));
    }] {
        let panic = catch_unwind(AssertUnwindSafe(build)).expect_err("a panic");
        let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref().copied());
        assert!(text.is_some_and(|text| text.contains(expected)), "{scopes:?}: {text:?}");
    }
}

#[test]
fn require_panics_for_resources_that_no_token_can_be_for() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let built = |change: fn(Builder) -> Builder| runtime.block_on(async { TestServer::with(change).server.clone() });
    let needs_resource = "has resources but no default one: give it one of the resources";
    let foreign_scope = "names the scope \"user:write\", which the resource does not declare";

    let oauth = built(|builder| builder.resource(ProtectedResource::new("https://id.example/mail").scope("user:read")));
    assert_panics(&oauth, &[READ], needs_resource);
    let mail = oauth.resource("https://id.example/mail").unwrap();
    assert_panics(&mail, &["user:write", READ], foreign_scope);
    drop(grantor::axum::require(&mail, [READ]));
    let oauth = built(|builder| {
        builder.protected_resource(ProtectedResource::new("https://id.example/mail").scope("user:read"))
    });
    assert_panics(&oauth, &["user:write"], foreign_scope);
    drop(grantor::actix::require(&oauth, [READ]));
}

#[test]
fn require_panics_for_scopes_that_no_token_can_have() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let oauth = runtime.block_on(async { TestServer::new().server.clone() });
    let panics = |scopes: &[&str], expected: &str| assert_panics(&oauth, scopes, expected);
    panics(&["user:raed"], "the scope \"user:raed\", which the server does not offer");
    panics(&["user:read", "user"], "the scope \"user\", which the server does not offer");
    panics(&[], "one or more scopes");
    for malformed in ["", " ", "user:read\t", "a\"b"] {
        panics(&[malformed], "not a list of scopes");
    }
    panics(&["user:read", "a\"b"], "not a list of scopes");
}

// covers: TL-17 (RFC 9700 §2.6)
#[tokio::test(flavor = "local")]
async fn require_adds_no_cors_unless_asked_for() {
    for web in Web::each() {
        let t = TestServer::new();
        let api = Api::new(web, &t);
        for path in ["/notes", "/api/notes"] {
            api.assert_refused(get(path).by_script(), 401, Some(NEEDS_READ)).await.assert_no_cors(path);
        }
        let asked = preflight("/api/notes", "GET");
        api.assert_refused(asked, 401, Some(NEEDS_READ)).await.assert_no_cors("a preflight");
        let answer = api.send(get("/api/notes").by_script().bearing(&token(&t, READ).await)).await;
        assert_eq!(
            answer.header("access-control-allow-origin"),
            Some("https://mine.example"),
            "the header of the host app is kept"
        );
    }
}

// covers: TL-18 (RFC 9700 §2.6), B49
#[tokio::test(flavor = "local")]
async fn any_origin_lets_scripts_use_protected_routes() {
    for web in Web::each() {
        let (t, machine) = machine().await;
        let api = Api::new(web, &t);
        for (path, method) in [
            ("/open/notes", "DELETE"),
            ("/open/only-get", "GET"),
            ("/twice/notes", "PUT"),
            ("/split", "GET"),
            ("/split", "POST"),
        ] {
            let answer = api.send(preflight(path, method)).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (204, Some("*")), "{path}");
            assert_eq!(answer.header("access-control-allow-methods"), Some("*"), "{path}");
            assert_eq!(answer.header("access-control-allow-headers"), Some("authorization, *"), "{path}");
            assert_eq!(answer.header("access-control-max-age"), Some("3600"), "{path}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{path}");
        }
        assert!(t.events.events().is_empty(), "a preflight causes no event");
        assert_eq!(api.ran(), [""; 0]);

        let (reader, of_machine) = (token(&t, READ).await, token_of(&t, &machine).await);
        for (request, status) in [
            (get("/open/notes"), 401),
            (get("/open/unknown"), 401),
            (request("OPTIONS", "/open/notes"), 401),
            (get("/open/notes").with("authorization", "Bearer a b"), 401),
            (get("/twice/notes").bearing(&reader), 403),
            (get("/open/notes").bearing(&of_machine), 403),
            (get("/open/notes").bearing(&reader), 200),
            (get("/split"), 401),
            (request("POST", "/split").bearing(&reader), 403),
            (get("/split").bearing(&reader), 200),
            (request("PUT", "/open/only-get").bearing(&reader), 405),
        ] {
            let what = format!("{} {}", request.method(), request.uri());
            let answer = api.send(request.by_script()).await;
            assert_eq!((answer.status, answer.header("access-control-allow-origin")), (status, Some("*")), "{what}");
            assert_eq!(answer.header("access-control-allow-credentials"), None, "{what}");
            assert_eq!(answer.header("www-authenticate").is_some(), matches!(status, 400..404), "{what}");
            let exposed: Vec<&str> = answer
                .headers
                .iter()
                .filter(|(name, _)| name == "access-control-expose-headers")
                .map(|(_, value)| &**value)
                .collect();
            let own: &[&str] = if status == 200 { &["x-total"] } else { &[] };
            assert_eq!(exposed, [own, &["*"]].concat(), "{what}");
        }
    }
}

#[tokio::test(flavor = "local")]
async fn actix_any_origin_covers_errors_of_other_middleware() {
    use actix_web::middleware::from_fn;
    let t = TestServer::new();
    let token = token(&t, READ).await;
    let app = |config: &mut ServiceConfig| {
        let refuse = from_fn(async |_, _: actix_web::middleware::Next<actix_web::body::BoxBody>| {
            Err::<actix_web::dev::ServiceResponse, _>(actix_web::error::ErrorConflict("not now"))
        });
        let open = grantor::actix::require(&t.server, [READ]).any_origin();
        config.service(web::scope("/open").wrap(refuse).wrap(open));
    };
    let server = actix_web::test::init_service(actix_web::App::new().configure(app)).await;
    let request = actix_web::test::TestRequest::with_uri("/open/notes");
    let request = request.insert_header(("authorization", format!("Bearer {}", token.expose()))).to_request();
    let error =
        actix_web::test::try_call_service(&server, request).await.map(|_| ()).expect_err("the error is passed on");
    let response = error.error_response();
    assert_eq!(response.status().as_u16(), 409);
    assert_eq!(response.headers().get("access-control-allow-origin").unwrap(), "*");
}
