//! How an app is built with actix-web, and behaviour that only its adapter has.

use std::net::SocketAddr;
use std::pin::Pin;

use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Payload, ServiceResponse};
use actix_web::error::PayloadError;
use actix_web::http::header::{HeaderName, HeaderValue};
use actix_web::test::{TestRequest, call_service, init_service};
use actix_web::web::{Data, ServiceConfig, get, put, resource, route, scope};
use actix_web::{HttpResponse, HttpServer};
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::Request as HttpRequest;
use grantor::actix::{routes, run_to_completion};
use grantor::{
    Approval, AuthorizationOutcome, AuthorizationResponse, AuthorizationServer, Bearer, BearerError, Request, Response,
    Subject,
};
use http_body_util::{BodyDataStream, BodyExt};

use crate::paths::tenant;
use crate::{Answer, App, Own, Seen};

async fn me(token: Bearer) -> Result<String, BearerError> {
    Ok(format!("Hello, {}", token.require("user:read")?.user()?))
}

async fn change(token: Bearer) -> Result<HttpResponse, BearerError> {
    token.require("user:write").map(|_| HttpResponse::Ok().finish())
}

async fn mistake(token: Bearer) -> Result<HttpResponse, BearerError> {
    token.require("user:raed").map(|_| HttpResponse::Ok().finish())
}

/// A host whose user is always alice, who approves everything.
async fn authorize(oauth: Data<AuthorizationServer>, request: Request) -> actix_web::Result<AuthorizationResponse> {
    match oauth.authorize(&request).await {
        AuthorizationOutcome::Respond(response) => Err(response.into()),
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
fn configure(app: &App, config: &mut ServiceConfig) {
    if app.own != Own::Nothing {
        let seen = app.seen.clone();
        let see = move |request: Request| {
            *seen.lock().unwrap() = Seen::from(request);
            async { HttpResponse::Ok().finish() }
        };
        config.route("/me", get().to(me)).route("/me", put().to(change)).route("/mistake", get().to(mistake));
        config.route("/seen", route().to(see));
    }
    for server in &app.servers {
        config.configure(routes(server));
    }
    if app.own != Own::Nothing {
        config.route("/authorize", route().to(authorize)).service(resource("/hello").route(get().to(hello)));
    }
    if app.own == Own::PagesAndFallback {
        config.default_service(route().to(hello));
    }
}

pub(crate) async fn send(app: &App, request: HttpRequest<Body>) -> Answer {
    send_to(|config: &mut ServiceConfig| configure(app, config), request).await
}

pub(crate) async fn send_to(configure: impl FnOnce(&mut ServiceConfig), request: HttpRequest<Body>) -> Answer {
    let (parts, body) = request.into_parts();
    let mut own = TestRequest::with_uri(&parts.uri.to_string()).method(parts.method.as_str().parse().unwrap());
    for (name, value) in &parts.headers {
        let name = HeaderName::from_bytes(name.as_str().as_bytes()).unwrap();
        own = own.append_header((name, HeaderValue::from_bytes(value.as_bytes()).unwrap()));
    }
    if let Some(ConnectInfo(peer)) = parts.extensions.get::<ConnectInfo<SocketAddr>>() {
        own = own.peer_addr(*peer);
    }
    let mut own = own.to_request();
    let body = BodyDataStream::new(body.map_err(|_| PayloadError::Incomplete(None)));
    *own.payload() = Payload::Stream { payload: Box::pin(body) };
    let app = init_service(actix_web::App::new().configure(configure)).await;
    let response: ServiceResponse<_> = call_service(&app, own).await;
    read(response.into_parts().1).await
}

async fn read(response: HttpResponse<impl MessageBody>) -> Answer {
    let headers = response.headers().iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.to_str().unwrap().to_owned())).collect();
    let status = response.status().as_u16();
    let body = to_bytes(response.into_body()).await.unwrap_or_else(|_| panic!("the body of the answer breaks off"));
    Answer { status, headers, body }
}

pub(crate) async fn answer(response: Response) -> Answer {
    read(response.into()).await
}

pub(crate) fn serve(app: &App) -> (SocketAddr, Pin<Box<dyn Future<Output = ()>>>) {
    let app = app.clone();
    let app = move || {
        let app = app.clone();
        actix_web::App::new().configure(move |config: &mut ServiceConfig| configure(&app, config))
    };
    let server = HttpServer::new(app).workers(1).bind(("127.0.0.1", 0)).unwrap();
    let address = server.addrs()[0];
    let running = server.run();
    let handle = running.handle();
    actix_web::rt::spawn(running);
    (address, Box::pin(async move { handle.stop(false).await }))
}

#[tokio::test(flavor = "local")]
async fn route_data_selects_the_trusted_server() {
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
        let challenge = send_to(api, crate::get(path)).await;
        let realm = format!("Bearer realm=\"{}\",", server.issuer());
        assert!(challenge.header("www-authenticate").is_some_and(|own| own.starts_with(&realm)), "{path}");
    }
}

#[tokio::test(flavor = "local")]
async fn extractor_without_a_server_refuses() {
    let bare = |config: &mut ServiceConfig| {
        config.route("/api", get().to(async |_: Bearer| HttpResponse::Ok().finish()));
        config.route("/page", get().to(async |_: Request| HttpResponse::Ok().finish()));
    };
    for path in ["/api", "/page"] {
        assert_eq!(send_to(bare, crate::get(path)).await.status, 500, "{path}");
    }
}

#[tokio::test(flavor = "local")]
async fn run_to_completion_takes_a_result_of_one_thread() {
    assert_eq!(*run_to_completion(async { std::rc::Rc::new(7) }).await, 7);
}
