//! The adapters for web frameworks, end to end. `cases` runs on each of them; `with_axum` and `with_actix` test what
//! only one adapter has.

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, Request as HttpRequest};
use grantor::testing::{TestClient, TestServer};
use grantor::{AuthorizationServer, Request, Response, TokenRequest};
use serde_json::Value;

mod capability;
mod cases;
#[path = "../common/mod.rs"]
mod common;
mod cross_origin;
mod dispatcher;
mod errors;
mod hang_up;
mod late_body;
mod paths;
mod require;
mod resource_server;
mod with_actix;
mod with_axum;

const REDIRECT_URI: &str = "https://app.example/cb";
const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Clone, Copy, Debug)]
enum Web {
    Axum,
    Actix,
}

impl Web {
    /// Yields the frameworks in turn and prints each name, so the output of a failed test ends with the framework that
    /// failed.
    fn each() -> impl Iterator<Item = Self> {
        [Self::Axum, Self::Actix].into_iter().inspect(|web| println!("with {web:?}"))
    }

    /// An app that has only the routes of these servers.
    fn routes<'a>(self, servers: impl IntoIterator<Item = &'a AuthorizationServer>) -> App {
        let servers = servers.into_iter().cloned().collect();
        App { web: self, servers, own: Own::Nothing, seen: Arc::default() }
    }

    /// An app that also has pages and an API.
    fn host(self, server: &AuthorizationServer) -> App {
        App { own: Own::Pages, ..self.routes([server]) }
    }

    /// Whether the response to HEAD has lost its body at this point. actix-web drops it later.
    fn answers_head_without_body(self) -> bool {
        matches!(self, Self::Axum)
    }

    async fn answer(self, response: Response) -> Answer {
        match self {
            Self::Axum => with_axum::answer(response).await,
            Self::Actix => with_actix::answer(response).await,
        }
    }

    async fn run_to_completion<T: Send + 'static>(self, future: impl Future<Output = T> + Send + 'static) -> T {
        match self {
            Self::Axum => grantor::axum::run_to_completion(future).await,
            Self::Actix => grantor::actix::run_to_completion(future).await,
        }
    }
}

/// The parts of an app besides the routes of its servers.
#[derive(Clone, Copy, PartialEq)]
enum Own {
    Nothing,
    Pages,
    PagesAndFallback,
}

#[derive(Clone)]
struct App {
    web: Web,
    servers: Vec<AuthorizationServer>,
    own: Own,
    /// The last request to the page `/seen`.
    seen: Arc<Mutex<Seen>>,
}

impl App {
    fn with_fallback(self) -> Self {
        Self { own: Own::PagesAndFallback, ..self }
    }

    /// Sends one request to a new instance of the app.
    async fn send(&self, request: HttpRequest<Body>) -> Answer {
        match self.web {
            Web::Axum => with_axum::send(self, request).await,
            Web::Actix => with_actix::send(self, request).await,
        }
    }

    /// Serves the app on a free loopback port until the returned future is polled.
    async fn serve(&self) -> (SocketAddr, Pin<Box<dyn Future<Output = ()>>>) {
        match self.web {
            Web::Axum => with_axum::serve(self).await,
            Web::Actix => with_actix::serve(self),
        }
    }
}

/// The request data that a handler received.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    method: String,
    target: String,
    headers: Vec<Vec<u8>>,
    body: Vec<u8>,
    peer: Option<IpAddr>,
}

impl From<Request> for Seen {
    fn from(request: Request) -> Self {
        Self {
            method: request.method().to_owned(),
            target: request.target().to_owned(),
            headers: request.header_values("X-Twice").map(<[u8]>::to_vec).collect(),
            body: request.body().to_vec(),
            peer: request.peer(),
        }
    }
}

/// A response with its body read.
struct Answer {
    status: u16,
    headers: Vec<(String, String)>,
    body: Bytes,
}

impl Answer {
    fn header(&self, name: &str) -> Option<&str> {
        let mut found = self.headers.iter().filter(|(own, _)| own == name).map(|(_, value)| &**value);
        let first = found.next();
        assert_eq!(found.next(), None, "{name} occurs twice");
        first
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }

    fn error(&self) -> (u16, String) {
        (self.status, self.json()["error"].as_str().unwrap_or_default().to_owned())
    }

    /// Asserts that the adapter sends the server's response, plus the CORS headers.
    fn assert_is(&self, response: Response) {
        let (status, mut headers, body) = response.into_parts();
        let mut own = self.headers.clone();
        own.retain(|(name, _)| name != "content-length" && name != "vary" && !name.starts_with("access-control-"));
        own.sort();
        headers.sort();
        let headers: Vec<_> = headers.iter().map(|(name, value)| ((*name).to_owned(), value.to_string())).collect();
        assert_eq!((self.status, own, &self.body[..]), (status, headers, &body[..]));
    }

    fn assert_no_cors(&self, what: &str) {
        let cors = self.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
        assert_eq!(cors, None, "{what}");
    }
}

fn request(method: &str, uri: &str) -> HttpRequest<Body> {
    HttpRequest::builder().method(method).uri(uri).body(Body::empty()).unwrap()
}

fn get(uri: &str) -> HttpRequest<Body> {
    request("GET", uri)
}

/// A posted form without authentication.
fn post(uri: &str, body: impl Into<Body>) -> HttpRequest<Body> {
    request("POST", uri).with("content-type", FORM).with_body(body)
}

/// A posted form with Basic authentication.
fn post_as(client: &TestClient, uri: &str, body: impl Into<Body>) -> HttpRequest<Body> {
    post(uri, body).with("authorization", &basic(client))
}

fn basic(client: &TestClient) -> String {
    common::basic(&client.id, client.secret.as_ref().unwrap().expose())
}

trait With {
    /// Appends a header.
    fn with(self, name: &'static str, value: &str) -> Self;
    fn with_body(self, body: impl Into<Body>) -> Self;
    /// Sets the address of the connection.
    fn with_peer(self, peer: [u8; 4]) -> Self;
}

impl With for HttpRequest<Body> {
    fn with(mut self, name: &'static str, value: &str) -> Self {
        self.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(value).unwrap());
        self
    }

    fn with_body(self, body: impl Into<Body>) -> Self {
        self.map(|_| body.into())
    }

    fn with_peer(mut self, peer: [u8; 4]) -> Self {
        self.extensions_mut().insert(axum::extract::ConnectInfo(SocketAddr::from((peer, 4711))));
        self
    }
}

/// The form with which a client requests a token for itself.
const MACHINE_FORM: &str = "grant_type=client_credentials&scope=user%3Aread";

async fn machine() -> (TestServer, TestClient) {
    let t = TestServer::new();
    let machine = t.confidential_client(REDIRECT_URI).await;
    (t, machine)
}

async fn token_of(t: &TestServer, machine: &TestClient) -> grantor::AccessToken {
    let request = TokenRequest::client_credentials().scope("user:read");
    t.token_as(machine, request).await.unwrap().access_token
}

/// The path and query of a URL.
fn target(url: &str) -> String {
    let url = url::Url::parse(url).unwrap();
    url[url::Position::BeforePath..].to_owned()
}

/// The query of an authorization request.
fn code_query(app: &TestClient) -> String {
    common::form(&[
        ("response_type", "code"),
        ("client_id", &app.id),
        ("scope", "user:read"),
        ("state", "a b&c"),
        ("code_challenge", common::CHALLENGE),
        ("code_challenge_method", "S256"),
    ])
}
