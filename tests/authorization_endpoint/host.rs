//! A host with sessions, as a browser uses it: login, return target, consent form.

use grantor::authorize::{ConsentReason, LoginReason};
use grantor::testing::TestClient;
use grantor::{Approval, Clock, Consent, Interaction, Login, Request, Response, UserSession};
use time::Duration;

use crate::ask::{Ask, subject};
use crate::common::query_of;
use crate::source::{TestServer, confidential};

const SESSION: &str = "a-random-session-identifier";

/// Alice, who has just logged in.
pub(crate) fn logged_in(t: &TestServer) -> UserSession {
    UserSession::new(subject("alice")).authenticated_at(t.clock.now())
}

pub(crate) async fn visit(t: &TestServer, target: &str, session: Option<&UserSession>) -> Interaction {
    t.server.interaction(&Request::get(target), session).await
}

pub(crate) async fn first_visit(t: &TestServer, ask: &Ask, session: Option<&UserSession>) -> Interaction {
    t.server.interaction(&ask.get(), session).await
}

#[track_caller]
pub(crate) fn login(interaction: Interaction, reason: LoginReason) -> Login {
    match interaction {
        Interaction::Login(login) => {
            assert_eq!(login.reason(), reason);
            login
        }
        other => panic!("the user has to log in: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn consent(interaction: Interaction, reason: ConsentReason) -> Consent {
    match interaction {
        Interaction::Consent(consent) => {
            assert_eq!(consent.reason(), reason);
            consent
        }
        other => panic!("the user has to decide: {other:?}"),
    }
}

#[track_caller]
pub(crate) fn responded(interaction: Interaction) -> Response {
    match interaction {
        Interaction::Respond(response) => response,
        other => panic!("there is nothing to ask: {other:?}"),
    }
}

/// Submits the form of the consent page with an approval by the user of `session`.
pub(crate) async fn approve_by_form(t: &TestServer, consent: &Consent, session: &UserSession) -> Response {
    let form = format!("form_token={}&decision=approve&scope=user%3Aread", consent.form_token(SESSION));
    let (consent, form) =
        t.server.resume_form(&Request::post_form("/consent", form), SESSION).await.expect("the form of this session");
    assert!(form.approved);
    consent.approve(Approval::by(session).scope(form.scope)).await.into()
}

#[track_caller]
pub(crate) fn assert_code(answer: &Response) {
    assert_eq!(query_of(answer).keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
}

/// A confidential client that alice has consented to.
pub(crate) async fn with_consent() -> (TestServer, TestClient) {
    let (t, app) = confidential().await;
    t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    t.clock.advance(Duration::SECOND);
    (t, app)
}
