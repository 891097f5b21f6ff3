//! A consent form can be used once: the first submission counts.

use grantor::authorize::ConsentReason;
use grantor::testing::Fault;
use grantor::{Client, Interaction, Refusal, Request, Response, UserSession};
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_error, assert_page, by, consent, grants_of, pending, subject};
use crate::common::{form, query_of, text};
use crate::source::{TestServer, public};

const SESSION: &str = "a-random-session-identifier";
const STATE: Option<&str> = Some("af0ifjsldkj");
const USED: &str = "this form was already submitted";

#[derive(Clone, Copy, Debug, PartialEq)]
enum Decision {
    Allow,
    Deny,
}
use Decision::{Allow, Deny};

async fn submit(t: &TestServer, form_token: &str, decision: Decision) -> Response {
    let word = if decision == Allow { "approve" } else { "deny" };
    let body = form(&[("form_token", form_token), ("scope", "user:read"), ("decision", word)]);
    let request = Request::post_form("/consent", body);
    let (consent, form) = t.server.resume_form(&request, SESSION).await.expect("a form that is still good");
    assert_eq!(form.approved, decision == Allow);
    if form.approved { consent.approve(by("alice").scope(form.scope)).await } else { consent.deny().await }.into()
}

#[track_caller]
fn assert_used(answer: &Response) {
    assert_page(answer, 400, "invalid_request", USED);
    let page = text(answer);
    assert!(page.contains("<h1>You have already answered</h1>"), "{page}");
    assert!(!page.contains("Nothing was decided") && !page.contains("developer"), "{page}");
}

// covers: B60
#[tokio::test]
async fn first_decision_of_a_consent_form_counts() {
    for (first, second) in [(Allow, Allow), (Allow, Deny), (Deny, Allow), (Deny, Deny)] {
        let (t, app) = public().await;
        let form_token = consent(&t, &Ask::code(&app)).await.form_token(SESSION);
        let answer = submit(&t, &form_token, first).await;
        let (grants, event) = if first == Allow {
            assert!(query_of(&answer).contains_key("code"));
            (1, "authorization_approved")
        } else {
            assert_error(&answer, CALLBACK, "access_denied", STATE);
            (0, "authorization_denied")
        };
        for _ in 0..2 {
            assert_used(&submit(&t, &form_token, second).await);
        }
        assert_eq!(grants_of(&t, &app).await.len(), grants, "{first:?} and {second:?}");
        assert_eq!(t.events.names(), [event, "authorization_stale", "authorization_stale"]);
        // A second consent page for the same request has a separate form.
        let anew = consent(&t, &Ask::code(&app)).await.form_token(SESSION);
        assert!(query_of(&submit(&t, &anew, Allow).await).contains_key("code"));
    }
}

// covers: B60
#[tokio::test]
async fn direct_decision_uses_up_the_form_token() {
    let (t, app) = public().await;
    let asked = consent(&t, &Ask::code(&app)).await;
    let form_token = asked.form_token(SESSION);
    assert_error(&asked.deny().await.into(), CALLBACK, "access_denied", STATE);
    assert_used(&submit(&t, &form_token, Allow).await);
    assert!(grants_of(&t, &app).await.is_empty());

    let native = Client::native("own").authorization_code(["http://127.0.0.1/cb"]).scope("user:read").first_party();
    let own = t.register(native.build(), None).await;
    let alice = UserSession::new(subject("alice"));
    let Interaction::Consent(asked) = pending(&t, &Ask::code(&own)).await.interaction(Some(&alice)).await else {
        panic!("alice was not asked to confirm")
    };
    assert_eq!(asked.reason(), ConsentReason::Confirm);
    let form_token = asked.form_token(SESSION);
    assert!(asked.approve(by("alice")).await.code().is_some());
    assert_used(&submit(&t, &form_token, Allow).await);
    assert_eq!(grants_of(&t, &own).await.len(), 1);
}

// covers: B60
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn only_one_of_parallel_consent_submissions_counts() {
    let (t, app) = public().await;
    for decisions in [[Allow; 8], [Allow, Deny, Allow, Deny, Allow, Deny, Allow, Deny]] {
        let before = grants_of(&t, &app).await.len();
        let form_token = consent(&t, &Ask::code(&app)).await.form_token(SESSION);
        let mut running = tokio::task::JoinSet::new();
        for decision in decisions {
            let (server, form_token) = (t.server.clone(), form_token.clone());
            running.spawn(async move {
                let consent = server.resume(&form_token, SESSION).await.expect("the form is good");
                if decision == Allow { consent.approve(by("alice")).await } else { consent.deny().await }
            });
        }
        let answers = running.join_all().await;
        let is_used = |error: &grantor::Error| error.refusal() == Some(&Refusal::UsedFormToken);
        assert_eq!(answers.iter().filter(|answer| answer.error().is_some_and(is_used)).count(), 7);
        let codes = answers.iter().filter(|answer| answer.code().is_some()).count();
        assert_eq!(grants_of(&t, &app).await.len() - before, codes);
    }
}

// covers: B60
#[tokio::test]
async fn used_form_stays_used_until_it_expires() {
    let (t, app) = public().await;
    let asked = consent(&t, &Ask::code(&app)).await;
    t.clock.advance(Duration::minutes(10));
    let form_token = asked.form_token(SESSION);
    assert_error(&submit(&t, &form_token, Deny).await, CALLBACK, "access_denied", STATE);
    // A host may show a form again, for example with a remark. Both pages then have the same form
    // token.
    let shown_again = t.server.resume(&form_token, SESSION).await.expect("the form is good").form_token(SESSION);
    assert_eq!(shown_again, form_token);
    t.clock.advance(Duration::minutes(20));
    t.server.purge(1000).await.unwrap();
    assert_used(&submit(&t, &shown_again, Allow).await);
    t.clock.advance(Duration::SECOND);
    let late = t.server.resume(&shown_again, SESSION).await.unwrap_err();
    assert_eq!(late.error().refusal(), Some(&Refusal::ExpiredFormToken));
    // On a node with a slow clock, the form is still valid, although a node with a fast clock has purged its entry.
    t.server.purge(1000).await.unwrap();
    t.clock.advance(-Duration::minutes(15));
    assert_used(&submit(&t, &form_token, Allow).await);
    assert!(grants_of(&t, &app).await.is_empty());
}

// covers: B60
#[tokio::test]
async fn form_whose_use_cannot_be_stored_grants_nothing() {
    for decision in [Allow, Deny] {
        for (fault, code, is_used) in [
            (Fault::Failed, "server_error", false),
            (Fault::Unavailable, "temporarily_unavailable", false),
            (Fault::LostAnswer, "temporarily_unavailable", true),
        ] {
            let (t, app) = public().await;
            let form_token = consent(&t, &Ask::code(&app)).await.form_token(SESSION);
            t.faults.fail(2, fault);
            assert_error(&submit(&t, &form_token, decision).await, CALLBACK, code, STATE);
            assert_eq!(t.events.names(), ["authorization_refused"]);
            assert!(grants_of(&t, &app).await.is_empty());
            let again = submit(&t, &form_token, Allow).await;
            if is_used {
                assert_used(&again);
            } else {
                assert!(query_of(&again).contains_key("code"), "{fault:?}");
            }
        }
    }
}

// covers: B60
#[tokio::test]
async fn form_is_used_though_its_grant_could_not_be_opened() {
    let (t, app) = public().await;
    for (fault, code) in [(Fault::Failed, "server_error"), (Fault::Unavailable, "temporarily_unavailable")] {
        let form_token = consent(&t, &Ask::code(&app)).await.form_token(SESSION);
        t.faults.fail(3, fault);
        assert_error(&submit(&t, &form_token, Allow).await, CALLBACK, code, STATE);
        assert_used(&submit(&t, &form_token, Allow).await);
        assert!(grants_of(&t, &app).await.is_empty());
    }
}

// covers: B60
#[tokio::test]
async fn approval_by_the_wrong_user_does_not_use_up_the_form() {
    let (t, app) = public().await;
    let form_token = consent(&t, &Ask::code(&app)).await.form_token(SESSION);
    let asked = t.server.resume(&form_token, SESSION).await.unwrap();
    assert_error(&asked.approve(by("bob")).await.into(), CALLBACK, "access_denied", STATE);
    assert!(query_of(&submit(&t, &form_token, Allow).await).contains_key("code"));
}
