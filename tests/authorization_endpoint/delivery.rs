//! How a response is delivered: in the query or the fragment, with which status and headers.

use grantor::testing::ISSUER;
use grantor::{Client, CodeVerifier, Response, TokenRequest};

use crate::ask::{
    Ask, CALLBACK, approved, assert_error, assert_error_in_fragment, by, consent, describe, pending, refused, target_of,
};
use crate::common::{VERIFIER, fragment_of, location, query_of};
use crate::source::{TestServer, public};

const STATE: Option<&str> = Some("af0ifjsldkj");

// covers: RD-01 (RFC 6749 §4.1.2), RD-04 (RFC 9700 §4.12), RD-05, RD-07 (OAuth 2.0 Multiple Response Types §2.1), AMB-22
#[tokio::test]
async fn code_is_sent_in_the_query_by_303() {
    let (t, app) = public().await;
    let answer = consent(&t, &Ask::code(&app)).await.approve(by("alice")).await;
    let code = answer.code().unwrap().expose().to_owned();
    let answer: Response = answer.into();
    assert_eq!(answer.status(), 303);
    assert_eq!(target_of(&answer), CALLBACK);
    let query = query_of(&answer);
    assert_eq!(query.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
    assert_eq!((query["code"].as_str(), query["iss"].as_str()), (&*code, ISSUER));
    assert_eq!(location(&answer).fragment(), None);
    assert!(answer.body().is_empty());
    assert_eq!(t.events.names(), ["authorization_approved"]);

    let verifier = CodeVerifier::new(VERIFIER);
    let code = grantor::AuthorizationCode::new(code);
    let request = TokenRequest::authorization_code(&code).redirect_uri(CALLBACK).code_verifier(&verifier);
    t.token_as(&app, request).await.expect("the code that was sent works");
}

// covers: RD-03 (RFC 6749 §4.1.2.1), RD-05 (RFC 9700 §4.12), AMB-22, B9
#[tokio::test]
async fn code_flow_errors_are_sent_in_the_query() {
    let (t, app) = public().await;
    for (answer, code) in [
        (pending(&t, &Ask::code(&app)).await.deny().into(), "access_denied"),
        (refused(&t, &Ask::code(&app).with("scope", "nope")).await, "invalid_scope"),
    ] {
        assert_error(&answer, CALLBACK, code, STATE);
        assert_eq!(location(&answer).fragment(), None);
        assert!(answer.body().is_empty());
    }
}

// covers: RD-13 (OAuth 2.0 Multiple Response Types §2.1), IS-07 (RFC 9207 §2), B9
#[tokio::test]
async fn fragment_mode_uses_the_fragment_for_all_members() {
    let t = TestServer::new();
    let uri = "https://app.example/cb?a=1";
    let app = t.public_client(uri).await;
    let ask = Ask::code(&app).with("response_mode", "fragment");
    let success = approved(&t, &ask).await;
    assert_eq!(fragment_of(&success).keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
    assert_eq!(location(&success).query(), Some("a=1"), "{}", describe(&success));
    for (answer, code) in [
        (pending(&t, &ask).await.deny().into(), "access_denied"),
        (refused(&t, &ask.clone().with("scope", "nope")).await, "invalid_scope"),
        (refused(&t, &ask.clone().with("response_type", "foo")).await, "unsupported_response_type"),
        (refused(&t, &ask.clone().twice("scope")).await, "invalid_request"),
    ] {
        assert_error_in_fragment(&answer, uri, code, STATE);
        assert_eq!(location(&answer).query(), Some("a=1"), "{}", describe(&answer));
    }
    let explicit = approved(&t, &Ask::code(&app).with("response_mode", "query")).await;
    assert!(location(&explicit).query().unwrap().starts_with("a=1&code="), "{}", describe(&explicit));
}

// covers: RD-09 (OAuth 2.0 Multiple Response Types §2.1)
#[tokio::test]
async fn unsupported_response_mode_error_is_sent_in_the_default_mode() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let client = Client::public("app").authorization_code([CALLBACK]).implicit([CALLBACK]).scope("user:read").build();
    let app = t.register(client, None).await;
    for mode in ["form_post", "foo", "query.jwt", "jwt", "web_message", "query fragment", "Fragment"] {
        let answer = refused(&t, &Ask::code(&app).with("response_mode", mode)).await;
        assert_error(&answer, CALLBACK, "invalid_request", STATE);
        let answer = refused(&t, &Ask::token(&app).with("response_mode", mode)).await;
        assert_error_in_fragment(&answer, CALLBACK, "invalid_request", STATE);
    }
}

// covers: RD-06 (RFC 9700 §2.1), RD-04 (RFC 9700 §4.12)
#[tokio::test]
async fn redirect_after_post_is_303_without_form_data() {
    let (t, app) = public().await;
    let form_token = consent(&t, &Ask::code(&app)).await.form_token("session");
    let waiting = t.server.resume(&form_token, "session").await.expect("an untouched form");
    let answer: Response = waiting.approve(by("alice")).await.into();
    // Only 303 makes every browser follow with GET and without the body.
    assert_eq!(answer.status(), 303);
    assert!(!answer.header("location").unwrap().contains(&form_token));
    assert!(!answer.header("location").unwrap().contains("alice"));

    let post = Ask::code(&app).with("scope", "nope").and("password", "hunter2").post();
    let answer = crate::common::responded(t.server.authorize(&post).await);
    assert_error(&answer, CALLBACK, "invalid_scope", STATE);
}

// covers: RD-16 (RFC 9700 §4.3.1), TL-07 (RFC 6749 §5.1)
#[tokio::test]
async fn code_appears_in_no_cache_event_or_debug_output() {
    let (t, app) = public().await;
    let answer = consent(&t, &Ask::code(&app)).await.approve(by("alice")).await;
    let code = answer.code().unwrap().expose().to_owned();
    let before = format!("{answer:?}");
    let answer: Response = answer.into();
    let events = t.events.events().into_iter().map(|event| event.text);
    for shown in events.chain([before, format!("{answer:?}")]) {
        assert!(!shown.contains(&code), "{shown}");
    }
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("pragma"), Some("no-cache"));
}
