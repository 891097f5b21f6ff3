//! The peer's address, and requests whose client hangs up.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use axum::body::Body;
use axum::http::Request as HttpRequest;
use grantor::capability::{BuildView, Capability, Endpoint, ServerView};
use grantor::error::AuthenticatorError;
use grantor::event::Observer;
use grantor::storage::{GrantPage, GrantSelector};
use grantor::testing::{TestClient, TestServer};
use grantor::{
    Approval, Authenticator, ClientAttempt, Clock, Event, Request, ResourceOwnerAttempt, Response, Storage, Subject,
    Verdict,
};
use http_body_util::BodyExt;
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::sync::Notify;

use crate::common::{basic, form};
use crate::{App, MACHINE_FORM, REDIRECT_URI, Web, With, get, post, post_as, request, token_of};

/// Records the peers of client authentications. With a door, each attempt waits until the test opens the door.
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

/// Reports to the door if the request is dropped while it waits.
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
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        self.peers.lock().unwrap().push(attempt.peer);
        if let Some(door) = &self.door {
            let mut waiting = Waiting(Some(door));
            door.reached.notify_one();
            door.open.notified().await;
            waiting.0 = None;
        }
        Ok(if attempt.matches_a_digest() { Verdict::Accepted(()) } else { Verdict::Rejected })
    }

    async fn authenticate_resource_owner(
        &self,
        _: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        Ok(Verdict::Rejected)
    }
}

/// Headers by which a client might pretend to have another address.
const SPOOFED: [(&str, &str); 5] = [
    ("x-forwarded-for", "198.51.100.1"),
    ("x-real-ip", "198.51.100.1"),
    ("forwarded", "for=198.51.100.1"),
    ("x-forwarded-proto", "https"),
    ("x-ssl-client-verify", "SUCCESS"),
];

// covers: TL-20 (RFC 9700 §4.13)
#[tokio::test(flavor = "local")]
async fn authenticator_sees_the_connection_and_no_header() {
    for web in Web::each() {
        let doorkeeper = Doorkeeper::default();
        let t = TestServer::with(|builder| builder.authenticator(doorkeeper.clone()));
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.routes([&t.server]);
        let spoofed = || {
            let request = post_as(&machine, "/token", MACHINE_FORM);
            SPOOFED.into_iter().fold(request, |request, (name, value)| request.with(name, value))
        };
        assert_eq!(app.send(spoofed()).await.status, 200);
        assert_eq!(app.send(spoofed().with_peer([192, 0, 2, 7])).await.status, 200);
        assert_eq!(*doorkeeper.peers.lock().unwrap(), [None, Some(Ipv4Addr::new(192, 0, 2, 7).into())]);
        // These headers do not replace a credential either.
        let mut request = spoofed();
        request.headers_mut().remove("authorization");
        assert_eq!(app.send(request).await.status, 401);
    }
}

/// The name of an event, and the peer of its request.
type Origin = (&'static str, Option<IpAddr>);

/// Records the peer of each event.
#[derive(Clone, Default)]
struct Origins(Arc<Mutex<Vec<Origin>>>);

impl Observer for Origins {
    fn observe(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push((event.kind.name(), event.peer));
    }
}

#[tokio::test(flavor = "local")]
async fn events_tell_the_peer_of_the_connection() {
    for web in Web::each() {
        let origins = Origins::default();
        let t = TestServer::with(|builder| builder.observer(origins.clone()));
        let machine = t.confidential_client(REDIRECT_URI).await;
        let app = web.host(&t.server);
        let token = token_of(&t, &machine).await;
        let (bearer, about_it) = (format!("Bearer {}", token.expose()), form(&[("token", token.expose())]));
        let refused = || post("/token", "grant_type=client_credentials");
        for (request, status) in [
            (post_as(&machine, "/token", MACHINE_FORM), 200),
            (refused(), 401),
            (request("GET", "/token"), 405),
            (post_as(&machine, "/introspect", about_it.clone()), 200),
            (post("/introspect", ""), 401),
            (request("GET", "/introspect"), 405),
            (get("/me"), 401),
            (request("PUT", "/me").with("authorization", &bearer), 403),
            (get("/me").with("authorization", &bearer), 403),
            (post_as(&machine, "/revoke", about_it.clone()), 200),
            (post("/revoke", ""), 401),
            (request("GET", "/revoke"), 405),
            (get("/me").with("authorization", &bearer), 401),
        ] {
            let what = format!("{} {}", request.method(), request.uri());
            assert_eq!(app.send(request.with_peer([192, 0, 2, 7])).await.status, status, "{what}");
        }
        assert_eq!(app.send(refused()).await.status, 401);
        let seen = std::mem::take(&mut *origins.0.lock().unwrap());
        let peer = Some(IpAddr::from([192, 0, 2, 7]));
        let expected = [
            ("tokens_issued", None), // in process
            ("tokens_issued", peer),
            ("token_refused", peer),
            ("token_refused", peer),
            ("token_introspected", peer),
            ("introspection_refused", peer),
            ("introspection_refused", peer),
            ("bearer_refused", peer),
            ("bearer_refused", peer), // a scope
            ("bearer_refused", peer), // no resource owner
            ("token_revoked", peer),
            ("revocation_refused", peer),
            ("revocation_refused", peer),
            ("bearer_refused", peer),
            ("token_refused", None),
        ];
        assert_eq!(seen, expected);
    }
}

#[tokio::test(flavor = "local")]
async fn events_of_a_replay_tell_the_peer() {
    let (here, elsewhere) = ([192, 0, 2, 7], [192, 0, 2, 8]);
    for web in Web::each() {
        let origins = Origins::default();
        let t = TestServer::with(|builder| builder.observer(origins.clone()));
        let client = t.public_client(REDIRECT_URI).await;
        let app = web.routes([&t.server]);
        let tokens = t.authorize(&client).approve_as("alice").await.redeem().await.unwrap();
        let refresh = async |token: &str, peer| {
            let pairs = [("grant_type", "refresh_token"), ("client_id", &*client.id), ("refresh_token", token)];
            app.send(post("/token", form(&pairs)).with_peer(peer)).await
        };
        let old = tokens.refresh_token.as_ref().unwrap().expose();
        origins.0.lock().unwrap().clear();
        assert_eq!(refresh(old, here).await.status, 200);
        assert_eq!(refresh(old, elsewhere).await.status, 200);
        t.clock.advance(time::Duration::minutes(10));
        assert_eq!(refresh(old, elsewhere).await.status, 400);
        let (here, elsewhere) = (Some(IpAddr::from(here)), Some(IpAddr::from(elsewhere)));
        let expected = [
            ("tokens_issued", here),
            ("refresh_repeated", elsewhere),
            ("refresh_token_reused", elsewhere),
            ("token_refused", elsewhere),
        ];
        assert_eq!(*origins.0.lock().unwrap(), expected);
    }
}

#[tokio::test(flavor = "local")]
async fn large_body_on_a_socket_is_answered_with_its_peer() {
    for web in Web::each() {
        let doorkeeper = Doorkeeper::default();
        let t = TestServer::with(|builder| builder.authenticator(doorkeeper.clone()));
        let machine = t.confidential_client(REDIRECT_URI).await;
        let (address, stop) = web.routes([&t.server]).serve().await;
        let credentials = basic(&machine.id, machine.secret.as_ref().unwrap().expose());
        let post = async |fields: &[(&str, &str)]| {
            let request = hyper::Request::post(format!("http://{address}/token"))
                .header("content-type", "application/x-www-form-urlencoded")
                .header("authorization", &credentials);
            let request = SPOOFED.into_iter().fold(request, |request, (name, value)| request.header(name, value));
            let client = Client::builder(TokioExecutor::new()).build_http();
            let answer = client.request(request.body(form(fields)).unwrap()).await.unwrap();
            let status = answer.status().as_u16();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            (status, serde_json::from_slice::<Value>(&body).unwrap())
        };
        let (status, body) = post(&[("grant_type", "client_credentials"), ("scope", "user:read")]).await;
        assert_eq!(status, 200);
        assert_eq!(body["scope"], "user:read");
        assert_eq!(*doorkeeper.peers.lock().unwrap(), [Some(Ipv4Addr::LOCALHOST.into())]);

        let large = "x".repeat(t.server.policy().max_body);
        let (status, body) = post(&[("grant_type", "client_credentials"), ("x", &large)]).await;
        assert_eq!(status, 413);
        assert_eq!(body["error"], "invalid_request");
        stop.await;
    }
}

/// Reports when the requested work is done.
#[derive(Clone, Default)]
struct Done(Arc<Notify>);

impl Observer for Done {
    fn observe(&self, event: &Event<'_>) {
        if matches!(event.kind.name(), "tokens_issued" | "token_revoked" | "token_introspected") {
            self.0.notify_one();
        }
    }
}

/// A server whose requests wait at a closed door, and a client.
async fn guarded() -> (TestServer, TestClient, Arc<Door>, Done) {
    let door = Arc::new(Door::default());
    let doorkeeper = Doorkeeper { door: Some(Arc::clone(&door)), ..Doorkeeper::default() };
    let done = Done::default();
    let t = TestServer::with(|builder| builder.authenticator(doorkeeper).observer(done.clone()));
    let client = t.confidential_client(REDIRECT_URI).await;
    (t, client, door, done)
}

/// Sends a request and hangs up once it has reached the door.
async fn hang_up(app: App, request: HttpRequest<Body>, door: &Door) {
    let connection = actix_web::rt::spawn(async move { app.send(request).await });
    door.reached.notified().await;
    connection.abort();
    assert!(connection.await.err().unwrap().is_cancelled(), "the client has hung up");
    assert!(!door.given_up.load(Ordering::SeqCst), "the request was given up with its connection");
}

async fn count(t: &TestServer, which: &GrantSelector) -> usize {
    t.storage.list_grants(which, t.clock.now(), &GrantPage::first(9)).await.unwrap().len()
}

#[tokio::test(flavor = "local")]
async fn token_request_is_carried_out_after_a_hang_up() {
    for web in Web::each() {
        let (t, machine, door, issued) = guarded().await;
        hang_up(web.routes([&t.server]), post_as(&machine, "/token", MACHINE_FORM), &door).await;
        let own = GrantSelector::Client(machine.id.as_str().try_into().unwrap());
        assert_eq!(count(&t, &own).await, 0);
        door.open.notify_one();
        issued.0.notified().await;
        assert_eq!(count(&t, &own).await, 1);
    }
}

#[tokio::test(flavor = "local")]
async fn revocation_is_carried_out_after_a_hang_up() {
    for web in Web::each() {
        let (t, client, door, done) = guarded().await;
        let approved = t.authorize(&client).approve_as("alice").await;
        door.open.notify_one();
        let tokens = approved.redeem().await.unwrap();
        door.reached.notified().await;
        done.0.notified().await;

        let body = form(&[("token", tokens.refresh_token.as_ref().unwrap().expose())]);
        hang_up(web.routes([&t.server]), post_as(&client, "/revoke", body), &door).await;
        assert!(t.bearer(&tokens.access_token).await.is_ok());
        door.open.notify_one();
        done.0.notified().await;
        assert!(t.bearer(&tokens.access_token).await.is_err());
    }
}

#[tokio::test(flavor = "local")]
async fn introspection_is_carried_out_after_a_hang_up() {
    for web in Web::each() {
        let (t, client, door, done) = guarded().await;
        hang_up(web.routes([&t.server]), post_as(&client, "/introspect", "token=unknown"), &door).await;
        assert_eq!(t.events.count("token_introspected"), 0);
        door.open.notify_one();
        done.0.notified().await;
    }
}

/// Waits until the test opens the door, and reports when it is done.
struct Slow(Arc<Door>, Done);

#[async_trait]
impl Capability for Slow {
    fn name(&self) -> &'static str {
        "slow"
    }

    fn endpoints(&self, build: &BuildView<'_>) -> Vec<Endpoint> {
        vec![Endpoint::new("slow", build.url("/slow"))]
    }

    async fn respond(&self, _: &str, _: &Request, _: ServerView<'_>) -> Response {
        let mut waiting = Waiting(Some(&self.0));
        self.0.reached.notify_one();
        self.0.open.notified().await;
        waiting.0 = None;
        self.1.0.notify_one();
        Response::new(204)
    }
}

#[tokio::test(flavor = "local")]
async fn capability_is_carried_out_after_a_hang_up() {
    for web in Web::each() {
        let (door, done) = (Arc::new(Door::default()), Done::default());
        let t = TestServer::with(|builder| builder.capability(Slow(Arc::clone(&door), done.clone())));
        hang_up(web.routes([&t.server]), get("/slow"), &door).await;
        door.open.notify_one();
        done.0.notified().await;
    }
}

#[tokio::test(flavor = "local")]
async fn run_to_completion_outlives_its_caller() {
    for web in Web::each() {
        let t = TestServer::new();
        let client = t.public_client(REDIRECT_URI).await;
        let pending = t.authorize(&client).pending().await;
        let (go, wait) = tokio::sync::oneshot::channel::<()>();
        let (done, outcome) = tokio::sync::oneshot::channel();
        {
            let approval = Approval::by(Subject::new("alice").unwrap());
            let mut caller = std::pin::pin!(web.run_to_completion(async move {
                wait.await.unwrap();
                let response = grantor::testing::approve(pending, approval).await;
                done.send(response.code().is_some()).unwrap();
            }));
            let mut context = std::task::Context::from_waker(std::task::Waker::noop());
            assert!(caller.as_mut().poll(&mut context).is_pending());
        }
        let alice = GrantSelector::Subject(Subject::new("alice").unwrap());
        assert_eq!(count(&t, &alice).await, 0);
        go.send(()).unwrap();
        assert!(outcome.await.unwrap(), "the work was not finished after its caller had gone");
        assert_eq!(count(&t, &alice).await, 1);
        // A caller that stays connected gets the result.
        assert_eq!(web.run_to_completion(async { 7 }).await, 7);
    }
}
