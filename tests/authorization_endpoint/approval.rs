//! An approval is checked again, and a request that can't be completed ends with an error.

use grantor::authorize::{ConsentReason, LoginReason};
use grantor::{Approval, Interaction, UserSession};
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_error, grants_of, subject};
use crate::host::{
    approve_by_form, assert_code, consent, first_visit, logged_in, login, responded, visit, with_consent,
};
use crate::source::public;

const STATE: Option<&str> = Some("af0ifjsldkj");

// covers: SU-04 (RFC 9470 §5)
#[tokio::test]
async fn unmet_authentication_ends_a_step_up() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("acr_values", "gold");
    let waits = login(first_visit(&t, &ask, Some(&logged_in(&t))).await, LoginReason::StepUp);
    let asked = visit(&t, &waits.return_target(), Some(&logged_in(&t))).await;
    let asked = consent(asked, ConsentReason::NotGiven);
    for answer in [waits.unmet_authentication(), asked.unmet_authentication()] {
        assert_error(&answer.into(), CALLBACK, "unmet_authentication_requirements", STATE);
    }
    assert!(grants_of(&t, &app).await.is_empty());
}

// covers: OC-09 (OpenID Connect Core §3.1.2.3), OC-15
#[tokio::test]
async fn approve_refuses_an_old_or_unknown_login_time() {
    let (t, app) = public().await;
    let old = logged_in(&t);
    t.clock.advance(Duration::minutes(10));
    for (name, value) in [("prompt", "login"), ("max_age", "0"), ("max_age", "599")] {
        let ask = Ask::code(&app).with(name, value);
        let fresh = logged_in(&t);
        for (session, code) in [(old.clone(), "login_required"), (UserSession::new(subject("alice")), "server_error")] {
            let asked = consent(first_visit(&t, &ask, Some(&fresh)).await, ConsentReason::NotGiven);
            assert_error(&approve_by_form(&t, &asked, &session).await, CALLBACK, code, STATE);
            assert_error(&asked.approve(Approval::by(&session)).await.into(), CALLBACK, code, STATE);
        }
    }
    assert!(grants_of(&t, &app).await.is_empty());
    assert_eq!(t.events.names(), ["authorization_refused"; 12]);
    let ask = Ask::code(&app).with("max_age", "600");
    let asked = consent(first_visit(&t, &ask, Some(&old)).await, ConsentReason::NotGiven);
    assert_code(&approve_by_form(&t, &asked, &old).await);
}

// covers: CU-02 (RFC 6749 §10.12), CU-09 (RFC 6749 §10.12)
#[tokio::test]
async fn approve_refuses_a_user_other_than_the_one_asked() {
    let (t, app) = with_consent().await;
    let (alice, bob) = (logged_in(&t), UserSession::new(subject("bob")));
    let more = Ask::code(&app).with("scope", "user:read user:write");
    let asked = consent(first_visit(&t, &more, Some(&alice)).await, ConsentReason::NotGiven);
    assert_error(&approve_by_form(&t, &asked, &bob).await, CALLBACK, "access_denied", STATE);
    assert_error(&asked.approve(Approval::by(&bob)).await.into(), CALLBACK, "access_denied", STATE);
    let Interaction::Proceed(proceed) = first_visit(&t, &Ask::code(&app), Some(&alice)).await else { panic!("asked") };
    assert_error(&proceed.approve_with(|_| Approval::by(&bob)).await.into(), CALLBACK, "access_denied", STATE);
    let grants = grants_of(&t, &app).await;
    assert!(grants.iter().all(|grant| grant.subject == Some(subject("alice"))), "{grants:?}");
}

#[tokio::test]
async fn proceed_stores_host_data_and_denies_an_empty_scope() {
    let (t, app) = with_consent().await;
    let ask = Ask::code(&app);
    let alice = logged_in(&t);
    let Interaction::Proceed(proceed) = first_visit(&t, &ask, Some(&alice)).await else { panic!("asked") };
    let answer = proceed.approve_with(|approval| approval.host_data(serde_json::json!({ "tenant": 7 }))).await;
    assert!(answer.code().is_some());
    assert_eq!(grants_of(&t, &app).await[0].host_data.as_deref(), Some(&serde_json::json!({ "tenant": 7 })));
    let Interaction::Proceed(proceed) = first_visit(&t, &ask, Some(&alice)).await else { panic!("asked") };
    let nothing = proceed.approve_with(|approval| approval.scope(["user:write"])).await;
    assert_error(&nothing.into(), CALLBACK, "access_denied", STATE);
}

#[tokio::test]
async fn repeated_login_demand_ends_in_an_error_not_a_loop() {
    let (t, app) = public().await;
    let old = logged_in(&t);
    t.clock.advance(Duration::HOUR);
    let ask = Ask::code(&app).with("prompt", "login");
    for session in [None, Some(&old)] {
        let mut target = ask.get().target().to_owned();
        let mut visits = 0;
        let answer = loop {
            visits += 1;
            assert!(visits < 10, "the request loops");
            match visit(&t, &target, session).await {
                // A login page that is loaded again still works.
                Interaction::Login(login) => target = login.return_target(),
                other => break responded(other),
            }
        };
        assert_eq!(visits, 6);
        assert_error(&answer, CALLBACK, "login_required", STATE);
    }
    let waits = login(first_visit(&t, &ask, None).await, LoginReason::NotLoggedIn);
    for _ in 0..20 {
        drop(login(visit(&t, &waits.return_target(), None).await, LoginReason::NotLoggedIn));
    }
}

// covers: AMB-34
#[tokio::test]
async fn missing_login_time_fails_requests_that_need_it() {
    let (t, app) = public().await;
    let unknown = UserSession::new(subject("alice"));
    for (name, value, reason) in [
        ("max_age", "60", LoginReason::TooOld),
        ("max_age", "0", LoginReason::Requested),
        ("prompt", "login", LoginReason::Requested),
    ] {
        let waits = login(first_visit(&t, &Ask::code(&app).with(name, value), Some(&unknown)).await, reason);
        let answer = responded(visit(&t, &waits.return_target(), Some(&unknown)).await);
        assert_error(&answer, CALLBACK, "server_error", STATE);
        let last = t.events.events().pop().unwrap();
        assert!(last.text.contains("authenticated_at"), "the operator learns what is missing: {}", last.text);
    }
}
