//! How an app is built with axum, and behaviour that only its adapter has.

use std::net::SocketAddr;
use std::pin::Pin;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{FromRef, State};
use axum::http::{Request as HttpRequest, Response as HttpResponse};
use axum::response::IntoResponse;
use axum::routing::{any, get};
use grantor::axum::{routes, run_to_completion};
use grantor::testing::TestServer;
use grantor::{
    Approval, AuthorizationOutcome, AuthorizationResponse, AuthorizationServer, Bearer, BearerError, Request, Response,
    Subject,
};
use serde_json::json;
use tower::ServiceExt;

use crate::paths::elsewhere;
use crate::{Answer, App, Own, REDIRECT_URI, Seen, code_query, target};

/// A host's state that has the server as one of its parts.
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

/// A host whose user is always alice, who approves everything.
async fn authorize(
    State(oauth): State<AuthorizationServer>,
    request: Request,
) -> Result<AuthorizationResponse, Response> {
    match oauth.authorize(&request).await {
        AuthorizationOutcome::Respond(response) => Err(response),
        AuthorizationOutcome::Pending(pending) if request.query().contains("deny") => Ok(pending.deny()),
        AuthorizationOutcome::Pending(pending) => {
            let approval = Approval::by(Subject::new("alice").unwrap());
            Ok(run_to_completion(grantor::testing::approve(pending, approval)).await)
        }
    }
}

async fn hello() -> &'static str {
    "hello"
}

/// The host's routes come before and after those of the servers.
fn router(app: &App) -> Router {
    let mut router = Router::new().without_v07_checks();
    if app.own != Own::Nothing {
        let seen = app.seen.clone();
        let see = async move |request: Request| *seen.lock().unwrap() = Seen::from(request);
        router = router.route("/me", get(me).put(change)).route("/mistake", get(mistake)).route("/seen", any(see));
    }
    router = app.servers.iter().map(routes).fold(router, Router::merge);
    if app.own != Own::Nothing {
        router = router.route("/authorize", get(authorize).post(authorize)).route("/hello", get(hello));
    }
    if app.own == Own::PagesAndFallback {
        router = router.fallback(hello);
    }
    router.with_state(AppState { oauth: app.servers.last().unwrap().clone(), greeting: "Hello" })
}

pub(crate) async fn send(app: &App, request: HttpRequest<Body>) -> Answer {
    send_to(&router(app), request).await
}

pub(crate) async fn send_to(router: &Router, request: HttpRequest<Body>) -> Answer {
    read(router.clone().oneshot(request).await.unwrap()).await
}

async fn read(response: HttpResponse<Body>) -> Answer {
    let (parts, body) = response.into_parts();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    Answer { status: parts.status.as_u16(), headers, body: to_bytes(body, 1 << 20).await.unwrap() }
}

pub(crate) async fn answer(response: Response) -> Answer {
    read(response.into_response()).await
}

pub(crate) async fn serve(app: &App) -> (SocketAddr, Pin<Box<dyn Future<Output = ()>>>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let service = router(app).into_make_service_with_connect_info::<SocketAddr>();
    let server = tokio::spawn(async move { axum::serve(listener, service).await });
    (address, Box::pin(async move { server.abort() }))
}

#[tokio::test]
async fn handler_in_a_nested_router_gets_the_full_target() {
    let t = TestServer::new();
    let app = t.public_client(REDIRECT_URI).await;
    let login_first =
        async |State(oauth): State<AuthorizationServer>, request: Request| match oauth.authorize(&request).await {
            AuthorizationOutcome::Respond(response) => response.into_response(),
            AuthorizationOutcome::Pending(_) => format!("{} {}", request.path(), request.target()).into_response(),
        };
    let page = Router::new().route("/authorize", any(login_first)).with_state(t.server.clone());
    let query = code_query(&app);
    for (prefix, router) in [
        ("", page.clone()),
        ("/oauth", Router::new().nest("/oauth", page.clone())),
        ("/t1/oauth", Router::new().nest("/{tenant}", Router::new().nest("/oauth", page.clone()))),
        ("/service", Router::new().nest_service("/service", page)),
    ] {
        let path = format!("{prefix}/authorize");
        let answer = send_to(&router, crate::get(&format!("{path}?{query}"))).await;
        assert_eq!((answer.status, answer.body), (200, format!("{path} {path}?{query}").into()));
    }
}

#[tokio::test]
async fn host_without_v07_checks_merges_colons_and_stars() {
    for issuer in ["https://id.example/:t1", "https://id.example/*t1", "https://id.example/a/:b/*c"] {
        let server = elsewhere(issuer, |_| {}).await;
        let host: Router = Router::new().without_v07_checks().route("/hello", get(hello)).merge(routes(&server));
        let answer = send_to(&host, crate::get(server.metadata_path())).await;
        assert_eq!((answer.status, answer.json()["issuer"].clone()), (200, json!(issuer)));
        let token = target(&server.endpoints().token);
        assert_eq!(send_to(&host, crate::get(&token)).await.status, 405, "{issuer}");
        // With the checks for axum 0.7 switched off, such a segment is literal.
        let other = token.replace([':', '*'], "x");
        assert_eq!(send_to(&host, crate::get(&other)).await.status, 404, "{issuer}");
    }
}

#[tokio::test]
#[should_panic(expected = "Path segments must not start with `:`")]
async fn host_with_v07_checks_refuses_a_colon() {
    let _: Router = Router::new().merge(routes(&elsewhere("https://id.example/:t1", |_| {}).await));
}

#[tokio::test]
#[should_panic(expected = "Path segments must not start with `*`")]
async fn host_with_v07_checks_refuses_a_star() {
    let _: Router = Router::new().merge(routes(&elsewhere("https://id.example/*t1", |_| {}).await));
}

#[tokio::test]
async fn panic_in_run_to_completion_reaches_the_caller() {
    let result = tokio::spawn(run_to_completion(async { panic!("a bug of the host") })).await;
    let panic = result.unwrap_err().into_panic();
    assert_eq!(panic.downcast_ref::<&str>(), Some(&"a bug of the host"));
}
