//! The form of a request: methods, body and query, size.

use grantor::{AuthorizationOutcome, Interaction, Request, UserSession};

use crate::ask::{Ask, CALLBACK, approved, assert_error, assert_page, grants_of, pending, refused};
use crate::common::{query_of, responded};
use crate::source::{TestServer, confidential, public};

// covers: AZ-01 (RFC 6749 §3.1), AZ-02
#[tokio::test]
async fn get_query_and_post_body_give_the_same_result() {
    let (t, app) = public().await;
    let good = Ask::code(&app).with("scope", "user:write");
    for request in [good.get(), good.post()] {
        let AuthorizationOutcome::Pending(pending) = t.server.authorize(&request).await else {
            panic!("{request:?} was refused")
        };
        assert_eq!(pending.client().id().as_str(), app.id);
        assert_eq!(pending.scope().as_str(), "user:write");
        let answer = pending.deny();
        assert_eq!((answer.redirect_uri(), answer.state()), (CALLBACK, Some("af0ifjsldkj")));
    }
    let bad = good.with("response_type", "nonsense");
    for request in [bad.get(), bad.post()] {
        let answer = responded(t.server.authorize(&request).await);
        assert_error(&answer, CALLBACK, "unsupported_response_type", Some("af0ifjsldkj"));
    }
}

// covers: AMB-06
#[tokio::test]
async fn post_is_read_from_its_body_and_get_from_its_query() {
    let (t, app) = public().await;
    let ask = Ask::code(&app);

    let in_query = Request::post_form(format!("/authorize?{}", ask.encoded()), "");
    let answer = responded(t.server.authorize(&in_query).await);
    assert_page(&answer, 400, "invalid_request", "the parameter client_id is in the URL: send it in the request body");

    let in_body = Request::get("/authorize").with_body(ask.encoded());
    let answer = responded(t.server.authorize(&in_body).await);
    assert_page(&answer, 400, "invalid_request", "the parameter client_id is missing");
}

// Regression: with parameters in the URL and in the body, two parsers could see two different requests.
// covers: PP-03 (RFC 6749 §3.1), B37
#[tokio::test]
async fn post_with_known_parameter_in_query_is_refused() {
    let t = TestServer::with(|builder| builder.authorization_parameter("nonce"));
    let app = t.public_client(CALLBACK).await;
    let ask = Ask::code(&app);
    let names = [
        "client_id",
        "redirect_uri",
        "response_type",
        "response_mode",
        "state",
        "scope",
        "code_challenge",
        "code_challenge_method",
        "prompt",
        "max_age",
        "acr_values",
        "login_hint",
        "return_target",
        "request",
        "request_uri",
        "nonce",
    ];
    for name in names {
        for query in [format!("{name}=x"), format!("tenant=1&{name}"), format!("{}=%ZZ", name.replace('_', "%5f"))] {
            let both = Request::post_form(format!("/authorize?{query}"), ask.encoded());
            let answer = responded(t.server.authorize(&both).await);
            let description = format!("the parameter {name} is in the URL: send it in the request body");
            assert_page(&answer, 400, "invalid_request", &description);
        }
    }
    assert_eq!(t.events.names(), vec!["authorization_refused"; 3 * names.len()]);
}

// Regression: a request that came by POST was lost during the login.
// covers: AZ-02 (RFC 6749 §3.1)
#[tokio::test]
async fn posted_request_is_complete_after_login() {
    let (t, app) = confidential().await;
    let ask = Ask::code(&app).with("scope", "user:read user:write").with("prompt", "consent");
    let Interaction::Respond(answer) = t.server.interaction(&ask.post(), None).await else {
        panic!("no redirect to GET")
    };
    assert_eq!(answer.status(), 303);
    let target = answer.header("location").expect("a redirect").to_owned();
    let Interaction::Login(login) = t.server.interaction(&Request::get(target), None).await else { panic!("a login") };
    let alice = UserSession::new(crate::ask::subject("alice"));
    let again = t.server.interaction(&Request::get(login.return_target()), Some(&alice)).await;
    let Interaction::Consent(asked) = again else { panic!("alice is asked: {again:?}") };
    for name in ["client_id", "redirect_uri", "response_type", "scope", "state", "code_challenge", "prompt"] {
        assert_eq!(asked.request().parameter(name), ask.value(name), "{name}");
    }
}

// covers: PP-17 (RFC 6749 §3.1)
#[tokio::test]
async fn endpoint_whose_address_has_a_query_works() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).encoded();
    let get = Request::get(format!("/authorize?tenant=1&{ask}"));
    let post = Request::post_form("/authorize?tenant=1", ask);
    for request in [get, post] {
        let AuthorizationOutcome::Pending(pending) = t.server.authorize(&request).await else {
            panic!("{request:?} was refused")
        };
        let answer = grantor::testing::approve(pending, crate::ask::by("alice")).await.into();
        assert!(query_of(&answer).contains_key("code"));
    }
}

// covers: AMB-07
#[tokio::test]
async fn other_methods_are_refused_and_issue_nothing() {
    let (t, app) = public().await;
    let ask = Ask::code(&app);
    for method in ["HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "TRACE", "CONNECT", "get", "Post", "", "\u{e9}"] {
        let request = Request::new(method, format!("/authorize?{}", ask.encoded()))
            .with_header("content-type", "application/x-www-form-urlencoded")
            .with_body(ask.encoded());
        let answer = responded(t.server.authorize(&request).await);
        assert_page(&answer, 405, "invalid_request", "this endpoint does not support this HTTP method");
        assert_eq!(answer.header("allow"), Some("GET, POST"), "{method}");
    }
    assert_eq!(t.faults.calls(), 1, "the storage was claimed, but no client was looked up");
    assert!(grants_of(&t, &app).await.is_empty());
}

// covers: AZ-07 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn body_that_is_not_a_form_gets_a_page() {
    let (t, app) = public().await;
    let body = Ask::code(&app).encoded();
    let post = |types: &[&str]| {
        let request = Request::new("POST", "/authorize").with_body(body.clone());
        types.iter().fold(request, |request, value| request.with_header("Content-Type", *value))
    };
    for types in [
        &[][..],
        &["application/json"],
        &["multipart/form-data; boundary=x"],
        &["text/plain"],
        &["application/x-www-form-urlencoded", "application/x-www-form-urlencoded"],
    ] {
        let answer = responded(t.server.authorize(&post(types)).await);
        assert_page(&answer, 400, "invalid_request", "the request body is not application/x-www-form-urlencoded");
    }
    let with_charset = post(&["application/x-www-form-urlencoded; charset=UTF-8"]);
    assert!(matches!(t.server.authorize(&with_charset).await, AuthorizationOutcome::Pending(_)));
}

#[tokio::test]
async fn input_above_the_limit_is_refused_unread() {
    let probe = TestServer::new();
    let app = probe.public_client(CALLBACK).await;
    // Each `"` takes three bytes when encoded. So the encoded request reaches `max_body` before its decoded parameters
    // reach their own limit, which is half of `max_body`.
    let ask = Ask::code(&app).with("padding", &"\"".repeat(500));
    let size = ask.encoded().len();

    for (limit, fits) in [(size, true), (size - 1, false)] {
        let t = TestServer::with_policy(|policy| policy.max_body = limit);
        t.public_client(CALLBACK).await;
        for request in [ask.get(), ask.post()] {
            match t.server.authorize(&request).await {
                AuthorizationOutcome::Pending(_) => assert!(fits, "{request:?}"),
                AuthorizationOutcome::Respond(answer) => {
                    assert!(!fits, "{request:?}");
                    assert_page(&answer, 413, "invalid_request", "the request is too large");
                    assert_eq!(t.faults.calls(), 1, "the storage was claimed, but no client was looked up");
                }
            }
        }
    }
}

#[tokio::test]
async fn incomplete_body_gets_a_page() {
    let (t, app) = public().await;
    let answer = responded(t.server.authorize(&Ask::code(&app).post().with_broken_body()).await);
    assert_page(&answer, 400, "invalid_request", "the request body is incomplete or could not be read");
    assert_eq!(t.events.names(), ["authorization_refused"]);
    assert_eq!(t.faults.calls(), 1, "the storage was claimed, but no client was looked up");
}

#[tokio::test]
async fn default_body_limit_allows_a_long_state() {
    let (t, app) = public().await;
    let long = "s".repeat(4096);
    assert_eq!(pending(&t, &Ask::code(&app).with("state", &long)).await.deny().state(), Some(&*long));
    let answer = refused(&t, &Ask::code(&app).with("padding", &"x".repeat(1 << 16))).await;
    assert_page(&answer, 413, "invalid_request", "the request is too large");
}

// covers: AZ-03 (RFC 6749 §3.1), CU-02 (RFC 6749 §10.12)
#[tokio::test]
async fn request_grants_nothing_without_a_users_approval() {
    let (t, app) = confidential().await;
    t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    let before = grants_of(&t, &app).await.len();

    let calls = t.faults.calls();
    let waiting = pending(&t, &Ask::code(&app)).await;
    assert_eq!(t.faults.calls(), calls + 1, "only the client was looked up");
    drop(waiting);
    assert_eq!(grants_of(&t, &app).await.len(), before, "an abandoned request stores no grant");

    let answer = approved(&t, &Ask::code(&app)).await;
    assert!(query_of(&answer).contains_key("code"));
    let grants = grants_of(&t, &app).await;
    assert_eq!(grants.len(), before + 1);
    assert_eq!(grants[0].subject.as_ref().map(grantor::Subject::as_str), Some("alice"));
}
