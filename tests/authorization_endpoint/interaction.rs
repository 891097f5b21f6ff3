//! What has to happen next with a request: `prompt`, `max_age`, `acr_values`, consent on record. Each round trip goes through
//! a host with sessions, as a browser takes it: away to the login, back to the return target, through the consent form.

use grantor::authorize::{ConsentReason, LoginReason};
use grantor::client::Registration;
use grantor::policy::ErrorRedirects;
use grantor::testing::{TestClient, TestServer};
use grantor::{Approval, Client, Clock, Consent, Interaction, Login, Refusal, Request, Response, UserSession};
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_error, grants_of, pending, refused, subject};
use crate::common::{confidential, public, query_of, text};

const STATE: Option<&str> = Some("af0ifjsldkj");
const SESSION: &str = "a-random-session-identifier";

/// Alice, who has just logged in.
fn logged_in(t: &TestServer) -> UserSession {
    UserSession::new(subject("alice")).authenticated_at(t.clock.now())
}

async fn visit(t: &TestServer, target: &str, session: Option<&UserSession>) -> Interaction {
    t.server.interaction(&Request::get(target), session).await
}

async fn first_visit(t: &TestServer, ask: &Ask, session: Option<&UserSession>) -> Interaction {
    t.server.interaction(&ask.get(), session).await
}

#[track_caller]
fn login(interaction: Interaction, reason: LoginReason) -> Login {
    match interaction {
        Interaction::Login(login) => {
            assert_eq!(login.reason(), reason);
            login
        }
        other => panic!("the user has to log in: {other:?}"),
    }
}

#[track_caller]
fn consent(interaction: Interaction, reason: ConsentReason) -> Consent {
    match interaction {
        Interaction::Consent(consent) => {
            assert_eq!(consent.reason(), reason);
            consent
        }
        other => panic!("the user has to decide: {other:?}"),
    }
}

#[track_caller]
fn responded(interaction: Interaction) -> Response {
    match interaction {
        Interaction::Respond(response) => response,
        other => panic!("there is nothing to ask: {other:?}"),
    }
}

/// Lets a user decide on the consent page: through its form, by an approval with this session.
async fn approve_by_form(t: &TestServer, consent: &Consent, session: &UserSession) -> Response {
    let form = format!("form_token={}&decision=approve&scope=user%3Aread", consent.form_token(SESSION));
    let (consent, form) = t.server.resume_form(&Request::post_form("/consent", form), SESSION).await.expect("its form");
    assert!(form.approved);
    consent.approve(Approval::by(session).scope(form.scope)).await.into()
}

#[track_caller]
fn assert_code(answer: &Response) {
    assert_eq!(query_of(answer).keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
}

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
async fn request_without_demands_needs_a_login_of_any_age() {
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
    // Who comes back without a login is sent again.
    drop(login(visit(&t, &waits.return_target(), Some(&alice)).await, LoginReason::TooOld));
    let asked = consent(visit(&t, &waits.return_target(), Some(&logged_in(&t))).await, ConsentReason::NotGiven);
    assert_code(&approve_by_form(&t, &asked, &logged_in(&t)).await);
}

// covers: OC-09 (OpenID Connect Core §3.1.2.1), OC-13
#[tokio::test]
async fn login_time_without_a_fraction_counts_for_its_whole_second() {
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

    // The same after a login that takes five minutes.
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
    // Who logs in anew has chosen.
    let waits = login(first_visit(&t, &ask, None).await, LoginReason::NotLoggedIn);
    drop(consent(visit(&t, &waits.return_target(), Some(&bob)).await, ConsentReason::NotGiven));

    // A new login first, then the choice.
    let both = ask.with("prompt", "login select_account");
    let waits = login(first_visit(&t, &both, Some(&alice)).await, LoginReason::Requested);
    let alice = logged_in(&t);
    let Interaction::SelectAccount(accounts) = visit(&t, &waits.return_target(), Some(&alice)).await else {
        panic!("no choice")
    };
    drop(consent(visit(&t, &accounts.return_target(), Some(&alice)).await, ConsentReason::NotGiven));
    drop(login(visit(&t, &accounts.return_target(), Some(&bob)).await, LoginReason::Requested));
}

/// A confidential client to which alice has consented.
async fn with_consent() -> (TestServer, TestClient) {
    let (t, app) = confidential().await;
    t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    t.clock.advance(Duration::SECOND);
    (t, app)
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
        ("a login of any age", &aged("0"), Some(&alice), "login_required"),
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
async fn host_can_answer_prompt_none_by_each_error() {
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
async fn prompt_none_of_an_unproven_client_gets_a_page() {
    let t = TestServer::new();
    let own = Client::public("own").registration(Registration::SelfService).authorization_code([CALLBACK]);
    let app = t.register(own.scope("user:read").build(), None).await;
    let strict = TestServer::with_policy(|policy| policy.error_redirects = ErrorRedirects::AskFirst);
    let other = strict.public_client(CALLBACK).await;
    for (t, app) in [(&t, &app), (&strict, &other)] {
        let answer = responded(first_visit(t, &Ask::code(app).with("prompt", "none"), None).await);
        assert_eq!((answer.status(), answer.header("location")), (400, None));
        assert!(text(&answer).contains("error=login_required"), "{}", text(&answer));
    }
}

// covers: OC-21 (OpenID Connect Core §3.1.2.1)
#[tokio::test]
async fn login_hint_is_for_the_host_alone() {
    let (t, app) = public().await;
    let ask = |hint: &str| Ask::code(&app).with("login_hint", hint);
    let waits = login(first_visit(&t, &ask("alice@example"), None).await, LoginReason::NotLoggedIn);
    assert_eq!(waits.request().login_hint(), Some("alice@example"));
    let asked = visit(&t, &waits.return_target(), Some(&logged_in(&t))).await;
    let asked = consent(asked, ConsentReason::NotGiven);
    assert_eq!(asked.request().login_hint(), Some("alice@example"));
    assert!(!format!("{waits:?}{asked:?}").contains("alice@example"));
    assert_code(&approve_by_form(&t, &asked, &logged_in(&t)).await);

    // The hint is a wish: a session of somebody else is the host's to ask about.
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
        // It can't be met, and the user goes on all the same.
        let asked = consent(visit(&t, &waits.return_target(), Some(short)).await, ConsentReason::NotGiven);
        assert_code(&approve_by_form(&t, &asked, short).await);
    }
    // The login page of a visitor has seen the wish already.
    let waits = login(first_visit(&t, &ask, None).await, LoginReason::NotLoggedIn);
    drop(consent(visit(&t, &waits.return_target(), Some(&plain)).await, ConsentReason::NotGiven));
    drop(consent(first_visit(&t, &ask.with("acr_values", " "), Some(&plain)).await, ConsentReason::NotGiven));
}

// covers: OC-18 (OpenID Connect Core §3.1.2.1)
#[tokio::test]
async fn acr_values_that_are_not_met_are_no_error_of_prompt_none() {
    let (t, app) = with_consent().await;
    let ask = Ask::code(&app).with("acr_values", "gold").with("prompt", "none");
    let Interaction::Proceed(proceed) = first_visit(&t, &ask, Some(&logged_in(&t))).await else { panic!("refused") };
    assert_code(&proceed.approve().await.into());
}

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
async fn approve_refuses_a_stale_login() {
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
async fn approve_refuses_another_user_than_was_asked() {
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
async fn proceed_takes_data_and_a_narrower_scope() {
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
async fn host_that_never_logs_in_ends_in_an_error_and_not_in_circles() {
    let (t, app) = public().await;
    let old = logged_in(&t);
    t.clock.advance(Duration::HOUR);
    let ask = Ask::code(&app).with("prompt", "login");
    for session in [None, Some(&old)] {
        let mut target = ask.get().target().to_owned();
        let mut visits = 0;
        let answer = loop {
            visits += 1;
            assert!(visits < 10, "the request runs in circles");
            match visit(&t, &target, session).await {
                // A page that is loaded again is still there.
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
async fn host_that_does_not_say_when_the_user_logged_in_fails_where_it_matters() {
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

#[tokio::test]
async fn post_without_a_session_comes_back_by_get_with_its_session() {
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
    // A session that came along is used at once.
    drop(consent(t.server.interaction(&Ask::code(&app).post(), Some(&logged_in(&t))).await, ConsentReason::NotGiven));
    // What is wrong with the request is said at once.
    let wrong = responded(t.server.interaction(&ask.with("scope", "nope").post(), None).await);
    assert_error(&wrong, CALLBACK, "invalid_scope", STATE);
}
