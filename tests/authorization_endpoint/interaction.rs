//! The next step of a request: `prompt`, `max_age`, `acr_values` and recorded consent, tested with a host app that has
//! sessions.

use grantor::authorize::{ConsentReason, LoginReason};
use grantor::storage::GrantSelector;
use grantor::{Clock, Interaction, UserSession};
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_error, grants_of, pending, refused, subject};
use crate::common::query_of;
use crate::host::{
    approve_by_form, assert_code, consent, first_visit, logged_in, login, responded, visit, with_consent,
};
use crate::source::public;

const STATE: Option<&str> = Some("af0ifjsldkj");

// covers: OC-05 (OpenID Connect Core §3.1.2.1), OC-12, AMB-33
#[tokio::test]
async fn prompt_is_a_list_of_known_words() {
    let (t, app) = public().await;
    for good in ["none", "login", "consent", "select_account", "login consent select_account", "login login", ""] {
        drop(pending(&t, &Ask::code(&app).with("prompt", good)).await);
    }
    for bad in
        ["none login", "login none", "none none", "Login", "foo", "create", "login  consent", " login", "login,none"]
    {
        let answer = refused(&t, &Ask::code(&app).with("prompt", bad)).await;
        assert_error(&answer, CALLBACK, "invalid_request", STATE);
        assert_eq!(query_of(&answer)["error_description"], "the parameter prompt is malformed", "{bad:?}");
    }
}

// covers: OC-13 (OpenID Connect Core §3.1.2.1), AMB-32
#[tokio::test]
async fn max_age_is_a_number_of_seconds() {
    let (t, app) = public().await;
    for (good, seconds) in [("0", 0), ("60", 60), ("007", 7), ("9223372036854775807", i64::MAX)] {
        let request = pending(&t, &Ask::code(&app).with("max_age", good)).await;
        assert_eq!(request.max_age(), Some(Duration::seconds(seconds)));
        drop(request.interaction(Some(&logged_in(&t))).await);
    }
    for bad in ["-1", "1.5", "x", "+5", " 5", "0x10", "1e3", &"9".repeat(30)] {
        let answer = refused(&t, &Ask::code(&app).with("max_age", bad)).await;
        assert_error(&answer, CALLBACK, "invalid_request", STATE);
        assert_eq!(query_of(&answer)["error_description"], "the parameter max_age is malformed", "{bad:?}");
    }
    assert_eq!(pending(&t, &Ask::code(&app)).await.max_age(), None);
}

// covers: AMB-35, SU-02 (RFC 9470 §5)
#[tokio::test]
async fn request_without_demands_needs_a_login_but_no_login_time() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).and("nonce", "ignored").and("claims", "ignored");
    let login = login(first_visit(&t, &ask, None).await, LoginReason::NotLoggedIn);
    let alice = UserSession::new(subject("alice"));
    let asked = consent(visit(&t, &login.return_target(), Some(&alice)).await, ConsentReason::NotGiven);
    assert_code(&approve_by_form(&t, &asked, &alice).await);
    assert_eq!(grants_of(&t, &app).await[0].subject, Some(subject("alice")));
}

// covers: OC-13 (OpenID Connect Core §3.1.2.1), AMB-32, AMB-35, SU-02 (RFC 9470 §5)
#[tokio::test]
async fn max_age_10_allows_10_seconds_and_no_more() {
    let (t, app) = public().await;
    let alice = logged_in(&t);
    let ask = Ask::code(&app).with("max_age", "10");
    for _ in 0..=10 {
        drop(consent(first_visit(&t, &ask, Some(&alice)).await, ConsentReason::NotGiven));
        t.clock.advance(Duration::SECOND);
    }
    let waits = login(first_visit(&t, &ask, Some(&alice)).await, LoginReason::TooOld);
    // A user who comes back without a login is sent to the login again.
    drop(login(visit(&t, &waits.return_target(), Some(&alice)).await, LoginReason::TooOld));
    let asked = consent(visit(&t, &waits.return_target(), Some(&logged_in(&t))).await, ConsentReason::NotGiven);
    assert_code(&approve_by_form(&t, &asked, &logged_in(&t)).await);
}

// covers: OC-09 (OpenID Connect Core §3.1.2.1), OC-13
#[tokio::test]
async fn login_time_in_whole_seconds_covers_its_second() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("prompt", "login");
    let whole = t.clock.now().replace_microsecond(0).unwrap();
    t.clock.advance(whole + Duration::milliseconds(1_500) - t.clock.now());
    for (milliseconds, is_fresh) in
        [(0, false), (999, false), (1_000, true), (1_001, false), (1_499, false), (1_500, true)]
    {
        let login = whole + Duration::milliseconds(milliseconds);
        let session = UserSession::new(subject("alice")).authenticated_at(login);
        let next = first_visit(&t, &ask, Some(&session)).await;
        assert_eq!(matches!(next, Interaction::Consent(_)), is_fresh, "{milliseconds}: {next:?}");
    }
}

// covers: OC-15, AMB-32
#[tokio::test]
async fn max_age_60_survives_a_page_read_for_two_minutes() {
    let (t, app) = public().await;
    let alice = logged_in(&t);
    t.clock.advance(Duration::seconds(30));
    let ask = Ask::code(&app).with("max_age", "60");
    let asked = consent(first_visit(&t, &ask, Some(&alice)).await, ConsentReason::NotGiven);
    t.clock.advance(Duration::minutes(2));
    assert_code(&approve_by_form(&t, &asked, &alice).await);

    // The same request with a login that takes five minutes.
    t.clock.advance(Duration::hours(1));
    let waits = login(first_visit(&t, &ask, Some(&alice)).await, LoginReason::TooOld);
    t.clock.advance(Duration::minutes(5));
    let alice = logged_in(&t);
    let asked = consent(visit(&t, &waits.return_target(), Some(&alice)).await, ConsentReason::NotGiven);
    t.clock.advance(Duration::minutes(2));
    assert_code(&approve_by_form(&t, &asked, &alice).await);
}

// covers: OC-08 (OpenID Connect Core §3.1.2.1), OC-09, OC-14, AMB-32, AMB-35
#[tokio::test]
async fn prompt_login_and_max_age_0_need_a_new_login_once() {
    for (name, value) in [("prompt", "login"), ("max_age", "0"), ("prompt", "login consent")] {
        let (t, app) = public().await;
        let ask = Ask::code(&app).with(name, value);
        let before = logged_in(&t);
        t.clock.advance(Duration::SECOND);
        let waits = login(first_visit(&t, &ask, Some(&before)).await, LoginReason::Requested);
        let again = login(visit(&t, &waits.return_target(), Some(&before)).await, LoginReason::Requested);
        t.clock.advance(Duration::seconds(20));
        let after = logged_in(&t);
        t.clock.advance(Duration::minutes(1));
        let reason = if value.contains("consent") { ConsentReason::Requested } else { ConsentReason::NotGiven };
        for target in [waits.return_target(), again.return_target()] {
            let asked = consent(visit(&t, &target, Some(&after)).await, reason);
            t.clock.advance(Duration::minutes(2));
            assert_code(&approve_by_form(&t, &asked, &after).await);
        }
        drop(login(first_visit(&t, &ask, Some(&after)).await, LoginReason::Requested));
    }
}

/// The user logs in at most twice: the second login is later than the time at which the request came back.
#[tokio::test]
async fn clock_set_back_during_a_login_asks_twice_at_most() {
    let (t, app) = public().await;
    for (name, value) in [("prompt", "login"), ("max_age", "0"), ("max_age", "60")] {
        let ask = Ask::code(&app).with(name, value);
        let mut waits = login(first_visit(&t, &ask, None).await, LoginReason::NotLoggedIn);
        t.clock.advance(-Duration::HOUR);
        let mut logins = 0;
        let (asked, alice) = loop {
            logins += 1;
            let alice = logged_in(&t);
            t.clock.advance(Duration::SECOND);
            match visit(&t, &waits.return_target(), Some(&alice)).await {
                Interaction::Login(again) => waits = again,
                other => break (consent(other, ConsentReason::NotGiven), alice),
            }
            t.clock.advance(Duration::SECOND);
        };
        assert!(logins <= 2, "{name}={value}: {logins} logins");
        assert_code(&approve_by_form(&t, &asked, &alice).await);
    }
}

/// If it were fresh, it would satisfy every request until that time.
#[tokio::test]
async fn future_login_time_is_not_a_fresh_login() {
    let (t, app) = public().await;
    let later = UserSession::new(subject("alice")).authenticated_at(t.clock.now() + Duration::HOUR);
    for (name, value, reason) in [
        ("prompt", "login", LoginReason::Requested),
        ("max_age", "0", LoginReason::Requested),
        ("max_age", "60", LoginReason::TooOld),
    ] {
        let ask = Ask::code(&app).with(name, value);
        let waits = login(first_visit(&t, &ask, Some(&later)).await, reason);
        let silent = Ask::code(&app).with("max_age", "60").with("prompt", "none");
        assert_error(&responded(first_visit(&t, &silent, Some(&later)).await), CALLBACK, "login_required", STATE);
        // If the host's clock is ahead, a real new login is in the future too, so it counts after a login page.
        let asked = consent(visit(&t, &waits.return_target(), Some(&later)).await, ConsentReason::NotGiven);
        assert_code(&approve_by_form(&t, &asked, &later).await);
    }
    drop(consent(first_visit(&t, &Ask::code(&app), Some(&later)).await, ConsentReason::NotGiven));
}

// covers: OC-11 (OpenID Connect Core §3.1.2.1)
#[tokio::test]
async fn prompt_select_account_lets_the_user_choose_once() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("prompt", "select_account");
    let (alice, bob) = (logged_in(&t), UserSession::new(subject("bob")).authenticated_at(t.clock.now()));
    let Interaction::SelectAccount(accounts) = first_visit(&t, &ask, Some(&alice)).await else { panic!("no choice") };
    for user in [&alice, &bob] {
        let asked = consent(visit(&t, &accounts.return_target(), Some(user)).await, ConsentReason::NotGiven);
        assert_code(&approve_by_form(&t, &asked, user).await);
        assert_eq!(grants_of(&t, &app).await[0].subject.as_ref(), Some(&user.subject));
        t.clock.advance(Duration::SECOND);
    }
    // A login counts as choosing an account.
    let waits = login(first_visit(&t, &ask, None).await, LoginReason::NotLoggedIn);
    drop(consent(visit(&t, &waits.return_target(), Some(&bob)).await, ConsentReason::NotGiven));

    // The user first logs in again, then chooses an account.
    let both = ask.with("prompt", "login select_account");
    let waits = login(first_visit(&t, &both, Some(&alice)).await, LoginReason::Requested);
    let alice = logged_in(&t);
    let Interaction::SelectAccount(accounts) = visit(&t, &waits.return_target(), Some(&alice)).await else {
        panic!("no choice")
    };
    drop(consent(visit(&t, &accounts.return_target(), Some(&alice)).await, ConsentReason::NotGiven));
    drop(login(visit(&t, &accounts.return_target(), Some(&bob)).await, LoginReason::Requested));
}

// covers: OC-10 (OpenID Connect Core §3.1.2.1)
#[tokio::test]
async fn prompt_consent_asks_although_consent_is_on_record() {
    let (t, app) = with_consent().await;
    let alice = logged_in(&t);
    let Interaction::Proceed(proceed) = first_visit(&t, &Ask::code(&app), Some(&alice)).await else { panic!("asked") };
    assert_eq!(proceed.user(), &alice);
    assert!(proceed.approve().await.code().is_some());
    assert!(t.events.events().last().unwrap().text.contains("consent: Remembered"));

    let asked = first_visit(&t, &Ask::code(&app).with("prompt", "consent"), Some(&alice)).await;
    let asked = consent(asked, ConsentReason::Requested);
    assert_code(&approve_by_form(&t, &asked, &alice).await);
    assert!(t.events.events().last().unwrap().text.contains("consent: Given"));
    let bob = UserSession::new(subject("bob"));
    drop(consent(first_visit(&t, &Ask::code(&app), Some(&bob)).await, ConsentReason::NotGiven));
}

#[tokio::test]
async fn consent_lasts_until_its_last_grant_ends() {
    let (t, app) = with_consent().await;
    let alice = logged_in(&t);
    let [given] = &grants_of(&t, &app).await[..] else { panic!("one grant") };
    t.clock.advance(Duration::SECOND);
    let Interaction::Proceed(proceed) = first_visit(&t, &Ask::code(&app), Some(&alice)).await else { panic!("asked") };
    assert!(proceed.approve().await.code().is_some());
    t.server.revoke_grants(&GrantSelector::Id(given.id)).await.unwrap();
    let [continued] = &grants_of(&t, &app).await[..] else { panic!("one grant") };
    let Interaction::Proceed(_) = first_visit(&t, &Ask::code(&app), Some(&alice)).await else { panic!("asked") };
    t.server.revoke_grants(&GrantSelector::Id(continued.id)).await.unwrap();
    drop(consent(first_visit(&t, &Ask::code(&app), Some(&alice)).await, ConsentReason::NotGiven));
}

// covers: OC-21 (OpenID Connect Core §3.1.2.1)
#[tokio::test]
async fn login_hint_is_passed_to_the_host_and_not_enforced() {
    let (t, app) = public().await;
    let ask = |hint: &str| Ask::code(&app).with("login_hint", hint);
    let waits = login(first_visit(&t, &ask("alice@example"), None).await, LoginReason::NotLoggedIn);
    assert_eq!(waits.request().login_hint(), Some("alice@example"));
    let asked = visit(&t, &waits.return_target(), Some(&logged_in(&t))).await;
    let asked = consent(asked, ConsentReason::NotGiven);
    assert_eq!(asked.request().login_hint(), Some("alice@example"));
    assert!(!format!("{waits:?}{asked:?}").contains("alice@example"));
    assert_code(&approve_by_form(&t, &asked, &logged_in(&t)).await);

    // The hint is not enforced: the host app decides whether to accept a session of another user.
    drop(consent(first_visit(&t, &ask("bob"), Some(&logged_in(&t))).await, ConsentReason::NotGiven));
    let silent = async |hint| {
        let answer = responded(first_visit(&t, &ask(hint).with("prompt", "none"), None).await);
        answer.header("location").unwrap().to_owned()
    };
    assert_eq!(silent("alice").await, silent("somebody-who-does-not-exist").await);
    for event in t.events.events() {
        assert!(!event.text.contains("alice@example") && !event.text.contains("somebody"), "{}", event.text);
    }
}

// covers: OC-18 (OpenID Connect Core §3.1.2.1), AMB-35, SU-02 (RFC 9470 §5)
#[tokio::test]
async fn acr_values_send_the_user_to_log_in_at_most_once() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("acr_values", "gold  silver");
    let (plain, gold, silver) = (logged_in(&t), logged_in(&t).acr("gold"), logged_in(&t).acr("silver"));
    for reached in [&gold, &silver] {
        let asked = consent(first_visit(&t, &ask, Some(reached)).await, ConsentReason::NotGiven);
        assert_eq!(asked.request().acr_values().collect::<Vec<_>>(), ["gold", "silver"]);
    }
    for short in [&plain, &logged_in(&t).acr("bronze"), &logged_in(&t).acr("gold silver")] {
        let waits = login(first_visit(&t, &ask, Some(short)).await, LoginReason::StepUp);
        assert_eq!(waits.request().acr_values().collect::<Vec<_>>(), ["gold", "silver"]);
        // The demand can't be met, and the request continues.
        let asked = consent(visit(&t, &waits.return_target(), Some(short)).await, ConsentReason::NotGiven);
        assert_code(&approve_by_form(&t, &asked, short).await);
    }
    // A new visitor saw the login page with the demand already.
    let waits = login(first_visit(&t, &ask, None).await, LoginReason::NotLoggedIn);
    drop(consent(visit(&t, &waits.return_target(), Some(&plain)).await, ConsentReason::NotGiven));
    drop(consent(first_visit(&t, &ask.with("acr_values", " "), Some(&plain)).await, ConsentReason::NotGiven));
}

#[tokio::test]
async fn post_without_a_session_is_redirected_to_get() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("prompt", "login");
    let redirect = responded(t.server.interaction(&ask.post(), None).await);
    assert_eq!(redirect.status(), 303);
    let target = redirect.header("location").unwrap();
    assert_eq!(t.server.check_return_target(target), Some(target));
    t.clock.advance(Duration::SECOND);
    let asked = consent(visit(&t, target, Some(&logged_in(&t))).await, ConsentReason::NotGiven);
    assert_eq!(asked.request().parameter("state"), STATE);
    drop(login(visit(&t, target, None).await, LoginReason::NotLoggedIn));
    // If the request has a session cookie, the session is used at once.
    drop(consent(t.server.interaction(&Ask::code(&app).post(), Some(&logged_in(&t))).await, ConsentReason::NotGiven));
    // Errors of the request are reported at once.
    let wrong = responded(t.server.interaction(&ask.with("scope", "nope").post(), None).await);
    assert_error(&wrong, CALLBACK, "invalid_scope", STATE);
}
