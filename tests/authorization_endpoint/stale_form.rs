//! A stale consent form: the page links back to the request and does not blame the user or the application.

use grantor::client::ClientParts;
use grantor::testing::{SeededEntropy, TestClient};
use grantor::{
    AuthorizationError, AuthorizationOutcome, Client, ClientRegistry, Interaction, Refusal, Request, Response,
};
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_page, by, client_of, consent};
use crate::common::{form, query_of, responded, text};
use crate::host::{assert_code, logged_in};
use crate::source::{TestServer, public};

const SESSION: &str = "a-random-session-identifier";

async fn change(t: &TestServer, app: &TestClient, change: impl FnOnce(&mut ClientParts)) {
    let before = client_of(t, app).await;
    let mut parts = before.parts().clone();
    change(&mut parts);
    t.storage.update(Client::from_parts(parts).unwrap(), before.version()).await.unwrap();
}

async fn refused(t: &TestServer, form_token: &str, session: &str) -> AuthorizationError {
    t.server.resume(form_token, session).await.expect_err("a stale form")
}

/// One stale form for each reason, with its error.
async fn stale_forms() -> Vec<(TestServer, Refusal, AuthorizationError)> {
    let mut all = Vec::new();
    for reason in [Refusal::InvalidFormToken, Refusal::ExpiredFormToken, Refusal::StaleFormToken] {
        let (t, app) = public().await;
        let form_token = consent(&t, &Ask::code(&app)).await.form_token(SESSION);
        let session = if reason == Refusal::InvalidFormToken { "another session" } else { SESSION };
        match reason {
            Refusal::ExpiredFormToken => t.clock.advance(Duration::minutes(31)),
            Refusal::StaleFormToken => change(&t, &app, |parts| parts.client_name = Some("My Bank".to_owned())).await,
            _ => {}
        }
        let error = refused(&t, &form_token, session).await;
        all.push((t, reason, error));
    }
    all
}

/// Follows the only link of a page, as alice.
async fn ask_again(t: &TestServer, target: &str) -> Response {
    assert_eq!(t.server.check_return_target(target), Some(target));
    match t.server.interaction(&Request::get(target), Some(&logged_in(t))).await {
        Interaction::Consent(asked) => {
            assert_eq!(asked.request().scope().as_str(), "user:read");
            asked.approve(by("alice")).await.into()
        }
        other => panic!("alice is asked: {other:?}"),
    }
}

// covers: B47
#[tokio::test]
async fn stale_form_error_leads_back_to_the_request() {
    for (t, reason, error) in stale_forms().await {
        let stale = error.stale_form().expect("a stale form");
        assert_eq!((stale.reason(), error.error().refusal()), (reason, Some(&reason)));
        let target = stale.return_target().expect("the request can be read").to_owned();
        assert!(!format!("{error:?}").contains("return_target="), "{error:?}");
        let page = error.to_response();
        assert!(
            text(&page).contains(&format!("<a href=\"{target}\" rel=\"noreferrer\">Ask me again</a>")),
            "{}",
            text(&page)
        );
        let answer = ask_again(&t, &target).await;
        assert_code(&answer);
        assert_eq!(query_of(&answer)["state"], "af0ifjsldkj");
    }
}

// covers: B47
#[tokio::test]
async fn stale_form_shows_neutral_page_and_sends_event() {
    for (t, reason, error) in stale_forms().await {
        let page = error.to_response();
        let html = text(&page);
        assert_eq!((page.status(), page.header("location")), (400, None));
        assert!(html.contains("<h1>This page can't be used any more</h1><p>Nothing was decided: "), "{html}");
        assert!(!html.contains("developer") && !html.contains("sent a request"), "{html}");
        let events = t.events.events();
        let [event] = events.as_slice() else { panic!("one event: {events:?}") };
        assert_eq!(event.name, "authorization_stale");
        assert!(event.text.contains(&format!("Refused({reason:?})")), "{}", event.text);
    }
}

// covers: B47
#[tokio::test]
async fn used_form_leads_back_to_the_request_as_well() {
    for denies in [false, true] {
        let (t, app) = public().await;
        let asked = consent(&t, &Ask::code(&app)).await;
        let form_token = asked.form_token(SESSION);
        assert!(asked.approve(by("alice")).await.stale_form().is_none());
        let again = t.server.resume(&form_token, SESSION).await.expect("only a decision uses up a form");
        let answer = if denies { again.deny().await } else { again.approve(by("alice")).await };
        let stale = answer.stale_form().expect("a stale form");
        assert_eq!(stale.reason(), Refusal::UsedFormToken);
        let target = stale.return_target().expect("the request can be read").to_owned();
        let page = Response::from(answer);
        assert_page(&page, 400, "invalid_request", "this form was already submitted");
        assert!(text(&page).contains(&target), "{}", text(&page));
        assert_eq!(t.events.names(), ["authorization_approved", "authorization_stale"]);
        assert_code(&ask_again(&t, &target).await);
    }
}

// covers: B47
#[tokio::test]
async fn stale_form_of_another_process_has_no_way_back() {
    let server = |seed| TestServer::with(|builder| builder.entropy(SeededEntropy::new(seed)));
    let (before, after) = (server(1), server(2));
    let (app, same) = (before.public_client(CALLBACK).await, after.public_client(CALLBACK).await);
    assert_eq!(app.id, same.id);
    let form_token = consent(&before, &Ask::code(&app)).await.form_token(SESSION);
    let error = refused(&after, &form_token, SESSION).await;
    let stale = error.stale_form().expect("a stale form");
    assert_eq!((stale.reason(), stale.return_target()), (Refusal::InvalidFormToken, None));
    assert!(!text(&error.to_response()).contains("href"));
    assert_eq!(after.events.names(), ["authorization_stale"]);
    // A login page that was open meanwhile has no request to return to. This page does not blame the user or the
    // application either.
    let target = before.server.interaction(&Ask::code(&app).get(), None).await;
    let Interaction::Login(login) = target else { panic!("a login is needed: {target:?}") };
    let page = responded(after.server.authorize(&Request::get(login.return_target())).await);
    assert!(text(&page).contains("<h1>This page can't be used any more</h1>"), "{}", text(&page));
    assert_eq!(after.events.names(), ["authorization_stale"; 2]);
}

// covers: B47, B45
#[tokio::test]
async fn request_in_a_forged_form_is_not_believed() {
    let (t, app) = public().await;
    let one = consent(&t, &Ask::code(&app)).await.form_token(SESSION);
    let bytes = |text: &str| base64::Engine::decode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, text).unwrap();
    let text_of = |bytes: &[u8]| base64::Engine::encode(&base64::engine::general_purpose::URL_SAFE_NO_PAD, bytes);
    let genuine = bytes(&one);
    for at in 0..genuine.len() {
        let mut changed = genuine.clone();
        changed[at] ^= 1;
        let error = refused(&t, &text_of(&changed), SESSION).await;
        let stale = error.stale_form().expect("a stale form");
        assert_eq!(stale.reason(), Refusal::InvalidFormToken);
        // A damaged part with the request is not read at all.
        if let Some(target) = stale.return_target() {
            let AuthorizationOutcome::Pending(again) = t.server.authorize(&Request::get(target)).await else {
                panic!("{target} leads to no request")
            };
            assert_eq!((again.parameter("state"), again.client().id().as_str()), (Some("af0ifjsldkj"), &*app.id));
        }
    }
    for nonsense in ["", "x", "AgAA", &one[..20], &"A".repeat(500)] {
        let error = refused(&t, nonsense, SESSION).await;
        assert_eq!(error.stale_form().and_then(|form| form.return_target()), None, "{nonsense}");
    }
}

/// The login is older than `max_age` when the user follows the link, so a new login is needed.
#[tokio::test]
async fn restarted_request_keeps_its_max_age() {
    let (t, app) = public().await;
    let alice = logged_in(&t);
    let ask = Ask::code(&app).with("max_age", "60");
    let Interaction::Consent(asked) = t.server.interaction(&ask.get(), Some(&alice)).await else {
        panic!("alice is asked")
    };
    let form_token = asked.form_token(SESSION);
    t.clock.advance(Duration::minutes(40));
    let error = refused(&t, &form_token, SESSION).await;
    let target = error.stale_form().and_then(|form| form.return_target()).expect("a way back");
    let next = t.server.interaction(&Request::get(target), Some(&alice)).await;
    assert!(matches!(next, Interaction::Login(_)), "the login of long ago is too old: {next:?}");
}

// covers: B47
#[tokio::test]
async fn malformed_consent_form_does_not_blame_the_application() {
    let (t, _) = public().await;
    let good = form(&[("decision", "approve")]);
    for request in [
        Request::get("/consent"),
        Request::post_form("/consent", good.clone()),
        Request::new("POST", "/consent").with_header("content-type", "text/plain").with_body(good),
        Request::post_form("/consent", "form_token=%ZZ"),
    ] {
        let error = t.server.resume_form(&request, SESSION).await.unwrap_err();
        assert!(error.stale_form().is_none());
        let page = error.to_response();
        let html = text(&page);
        assert!(html.contains("<h1>This page can't be used any more</h1>") && !html.contains("developer"), "{html}");
    }
    assert_eq!(t.events.names(), ["authorization_refused"; 4]);
}
