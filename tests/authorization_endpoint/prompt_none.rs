//! Requests that allow no page: `prompt=none`.

use grantor::client::RegisteredBy;
use grantor::policy::ErrorRedirects;
use grantor::{Client, Interaction, Refusal, UserSession};
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_error, pending, subject};
use crate::common::text;
use crate::host::{assert_code, first_visit, logged_in, responded, with_consent};
use crate::source::{TestServer, public};

const STATE: Option<&str> = Some("af0ifjsldkj");

// covers: OC-06 (OpenID Connect Core §3.1.2.1), OC-07, OC-08 (OpenID Connect Core §3.1.2.6), OC-14, AMB-31, AMB-35
#[tokio::test]
async fn prompt_none_is_answered_without_a_page() {
    let (t, app) = with_consent().await;
    let ask = Ask::code(&app).with("prompt", "none");
    let alice = logged_in(&t);
    t.clock.advance(Duration::seconds(5));
    let aged = |age| ask.clone().with("max_age", age);
    let more = ask.clone().with("scope", "user:read user:write");
    let unknown = UserSession::new(subject("alice"));
    for (what, ask, session, code) in [
        ("no session", &ask, None, "login_required"),
        ("a login that is too old", &aged("4"), Some(&alice), "login_required"),
        ("a max_age of zero", &aged("0"), Some(&alice), "login_required"),
        ("a login of unknown age", &aged("4"), Some(&unknown), "login_required"),
        ("no consent", &more, Some(&alice), "consent_required"),
        ("no session and no consent", &more, None, "login_required"),
    ] {
        for request in [ask.get(), ask.post()] {
            if session.is_none() && request.method() == "POST" {
                continue;
            }
            let answer = responded(t.server.interaction(&request, session).await);
            assert_error(&answer, CALLBACK, code, STATE);
            let last = t.events.events().pop().unwrap();
            assert_eq!(last.name, "authorization_refused", "{what}");
        }
    }
    for ask in [ask.clone(), aged("5")] {
        let Interaction::Proceed(proceed) = first_visit(&t, &ask, Some(&alice)).await else { panic!("nothing to ask") };
        assert_code(&proceed.approve().await.into());
    }
}

// covers: OC-08 (OpenID Connect Core §3.1.2.6)
#[tokio::test]
async fn host_can_answer_prompt_none_with_each_error() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("prompt", "none");
    for (refusal, code) in [
        (Refusal::LoginRequired, "login_required"),
        (Refusal::ConsentRequired, "consent_required"),
        (Refusal::InteractionRequired, "interaction_required"),
        (Refusal::AccountSelectionRequired, "account_selection_required"),
    ] {
        assert_error(&pending(&t, &ask).await.fail(refusal).into(), CALLBACK, code, STATE);
    }
}

// covers: AZ-19 (RFC 9700 §4.11.2)
#[tokio::test]
async fn prompt_none_error_obeys_the_error_redirect_rules() {
    let t = TestServer::new();
    let own = Client::public("own").registered_by(RegisteredBy::SelfService).authorization_code([CALLBACK]);
    let app = t.register(own.scope("user:read").build(), None).await;
    let strict = TestServer::with_policy(|policy| policy.error_redirects = ErrorRedirects::AskFirst);
    let other = strict.public_client(CALLBACK).await;
    for (t, app) in [(&t, &app), (&strict, &other)] {
        let answer = responded(first_visit(t, &Ask::code(app).with("prompt", "none"), None).await);
        assert_eq!((answer.status(), answer.header("location")), (400, None));
        assert!(text(&answer).contains("error=login_required"), "{}", text(&answer));
    }
}

// covers: OC-18 (OpenID Connect Core §3.1.2.1)
#[tokio::test]
async fn prompt_none_ignores_unmet_acr_values() {
    let (t, app) = with_consent().await;
    let ask = Ask::code(&app).with("acr_values", "gold").with("prompt", "none");
    let Interaction::Proceed(proceed) = first_visit(&t, &ask, Some(&logged_in(&t))).await else { panic!("refused") };
    assert_code(&proceed.approve().await.into());
}
