//! Capabilities that read and check authorization requests.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::capability::{AuthorizationView, BuildView, Capability, Endpoint, ServerView};
use grantor::{AuthorizationOutcome, Error, ErrorCode, Interaction, Request, Response, StorageError};

use crate::ask::{Ask, CALLBACK, assert_error, by, consent, describe, refused};
use crate::common::responded;
use crate::source::TestServer;

const SESSION: &str = "a-random-session-identifier";
const STATE: Option<&str> = Some("af0ifjsldkj");

/// Declares the parameter `tenant`, and admits only tenants that it knows.
#[derive(Clone, Default)]
struct Tenants {
    known: Arc<Mutex<Vec<&'static str>>>,
    seen: Arc<Mutex<Vec<String>>>,
}

#[async_trait]
impl Capability for Tenants {
    fn name(&self) -> &'static str {
        "tenants"
    }

    fn endpoints(&self, _: &BuildView<'_>) -> Vec<Endpoint> {
        Vec::new()
    }

    fn authorization_parameters(&self, _: &BuildView<'_>) -> Vec<&'static str> {
        vec!["tenant"]
    }

    async fn check_authorization(&self, request: &AuthorizationView<'_>, server: ServerView<'_>) -> Result<(), Error> {
        let tenant = request.parameter("tenant");
        let what = (tenant, request.parameter("undeclared"), request.parameter("state"));
        let who = (request.client().id().as_str(), request.scope().as_str(), server.issuer());
        self.seen.lock().unwrap().push(format!("{what:?} {who:?}"));
        assert!(!format!("{request:?}").contains("af0ifjsldkj"), "values are not for logs");
        match tenant {
            None => Ok(()),
            Some("down") => Err(StorageError::unavailable("the directory of tenants").into()),
            Some(tenant) if self.known.lock().unwrap().contains(&tenant) => Ok(()),
            Some(_) => Err(Error::refused(ErrorCode::INVALID_REQUEST, "the tenant is unknown")),
        }
    }

    async fn respond(&self, _: &str, _: &Request, _: ServerView<'_>) -> Response {
        Response::new(404)
    }
}

/// A capability that runs after `tenants`, because of its name. It is passed in an `Arc`.
#[derive(Default)]
struct Zone(Mutex<usize>);

#[async_trait]
impl Capability for Zone {
    fn name(&self) -> &'static str {
        "zone"
    }

    fn endpoints(&self, _: &BuildView<'_>) -> Vec<Endpoint> {
        Vec::new()
    }

    async fn check_authorization(&self, _: &AuthorizationView<'_>, _: ServerView<'_>) -> Result<(), Error> {
        *self.0.lock().unwrap() += 1;
        Err(Error::refused(ErrorCode::ACCESS_DENIED, "not in this zone"))
    }

    async fn respond(&self, _: &str, _: &Request, _: ServerView<'_>) -> Response {
        Response::new(404)
    }
}

#[tokio::test]
async fn capability_reads_its_parameter_on_every_visit() {
    let tenants = Tenants::default();
    tenants.known.lock().unwrap().push("blue");
    let t = TestServer::with(|builder| builder.capability(tenants.clone()));
    let app = t.public_client(CALLBACK).await;
    let ask = Ask::code(&app).with("tenant", "blue").with("undeclared", "x");
    for request in [ask.get(), ask.post()] {
        let AuthorizationOutcome::Pending(pending) = t.server.authorize(&request).await else {
            panic!("the request is valid")
        };
        let Interaction::Login(login) = pending.interaction(None).await else { panic!("a login is needed") };
        let AuthorizationOutcome::Pending(back) = t.server.authorize(&Request::get(login.return_target())).await else {
            panic!("the request is valid")
        };
        let asked = grantor::testing::ask(back, crate::ask::subject("alice")).await;
        let resumed = t.server.resume(&asked.form_token(SESSION), SESSION).await.expect("an untouched token");
        assert!(resumed.approve(by("alice")).await.code().is_some());
    }
    let seen = std::mem::take(&mut *tenants.seen.lock().unwrap());
    let issuer = t.server.issuer();
    let expected = format!("{:?} {:?}", (Some("blue"), None::<&str>, STATE), (&*app.id, "user:read", issuer));
    assert_eq!(seen, vec![expected; 6]);
}

#[tokio::test]
async fn refusal_of_a_capability_is_sent_to_the_client() {
    let tenants = Tenants::default();
    tenants.known.lock().unwrap().push("blue");
    let zone = Arc::new(Zone::default());
    let t = TestServer::with(|builder| builder.capability(tenants.clone()));
    let both = TestServer::with(|builder| builder.capability(Arc::clone(&zone)).capability(tenants.clone()));
    let app = t.public_client(CALLBACK).await;
    let same = both.public_client(CALLBACK).await;

    let answer = refused(&t, &Ask::code(&app).with("tenant", "red")).await;
    assert_error(&answer, CALLBACK, "invalid_request", STATE);
    assert!(answer.header("location").unwrap().contains("the%20tenant%20is%20unknown"), "{}", describe(&answer));
    assert_eq!(t.events.names(), ["authorization_refused"]);
    let answer = refused(&t, &Ask::code(&app).with("tenant", "down")).await;
    assert_error(&answer, CALLBACK, "temporarily_unavailable", STATE);
    // A request with another fault is refused before the capability sees it.
    tenants.seen.lock().unwrap().clear();
    let ask = Ask::code(&app).with("tenant", "red");
    for faulty in [ask.clone().with("redirect_uri", "https://evil.example/"), ask.clone().with("scope", "nope")] {
        let answer = refused(&t, &faulty).await;
        assert!(!describe(&answer).contains("tenant"), "{}", describe(&answer));
    }
    assert!(tenants.seen.lock().unwrap().is_empty(), "a capability checks only valid requests");

    drop(refused(&both, &Ask::code(&same).with("tenant", "red")).await);
    assert_eq!(*zone.0.lock().unwrap(), 0, "after a refusal, no other capability is called");
    let answer = refused(&both, &Ask::code(&same).with("tenant", "blue")).await;
    assert_error(&answer, CALLBACK, "access_denied", STATE);
    assert_eq!(*zone.0.lock().unwrap(), 1);
}

#[tokio::test]
async fn consent_form_is_refused_when_its_tenant_is_gone() {
    let tenants = Tenants::default();
    tenants.known.lock().unwrap().push("blue");
    let t = TestServer::with(|builder| builder.capability(tenants.clone()));
    let app = t.public_client(CALLBACK).await;
    let asked = consent(&t, &Ask::code(&app).with("tenant", "blue")).await;
    let (form, target) = (asked.form_token(SESSION), asked.request().return_target());
    tenants.known.lock().unwrap().clear();
    let error = t.server.resume(&form, SESSION).await.unwrap_err();
    assert_eq!(error.error().description(), "the tenant is unknown");
    assert_error(&error.into(), CALLBACK, "invalid_request", STATE);
    let answer = responded(t.server.authorize(&Request::get(target)).await);
    assert_error(&answer, CALLBACK, "invalid_request", STATE);
    assert!(crate::ask::grants_of(&t, &app).await.is_empty());
}
