//! How empty, unknown, repeated, broken and hostile parameters are read.

use grantor::{Client, Request};

use crate::ask::{
    Ask, CALLBACK, approved, assert_error, assert_page, consent, describe, grants_of, pending, refused, subject,
    target_of, text_around_value,
};
use crate::common::{query_of, responded, text};
use crate::source::{TestServer, public};

const STATE: Option<&str> = Some("af0ifjsldkj");

// covers: PP-01 (RFC 6749 §3.1)
#[tokio::test]
async fn empty_parameter_counts_as_missing() {
    let t = TestServer::with(|builder| builder.default_scope("user:write"));
    let app = t.public_client(CALLBACK).await;
    let ask = Ask::code(&app);
    let no_client = refused(&t, &ask.clone().with("client_id", "")).await;
    assert_page(&no_client, 400, "invalid_request", "the parameter client_id is missing");
    let two = [CALLBACK, "https://app.example/other"];
    let two = t.register(Client::public("two").authorization_code(two).scope("user:read").build(), None).await;
    let no_redirect_uri = refused(&t, &Ask::code(&two).with("redirect_uri", "")).await;
    assert_page(&no_redirect_uri, 400, "invalid_request", "the parameter redirect_uri is missing");
    for (name, description) in [
        ("response_type", "the parameter response_type is missing"),
        ("code_challenge", "the parameter code_challenge is missing"),
        ("code_challenge_method", "the parameter code_challenge_method is missing"),
    ] {
        let answer = refused(&t, &ask.clone().with(name, "")).await;
        assert_error(&answer, CALLBACK, "invalid_request", STATE);
        assert_eq!(query_of(&answer)["error_description"], description);
    }
    let pending =
        pending(&t, &ask.with("scope", "").with("state", "").with("response_mode", "").raw("&&=&unknown")).await;
    assert_eq!(pending.scope().as_str(), "user:write", "an empty scope counts as missing, so the default applies");
    let query = query_of(&pending.deny().into());
    assert!(!query.contains_key("state"), "{query:?}");
}

// covers: PP-02 (RFC 6749 §3.1), PP-04 (RFC 8707 §2), AMB-06
#[tokio::test]
async fn unknown_parameters_are_ignored_even_if_they_repeat() {
    let (t, app) = public().await;
    let ask = Ask::code(&app)
        .and("foo", "bar")
        .and("foo2", "")
        .and("foo", "baz")
        .and("resource", "https://a.example")
        .and("resource", "https://b.example")
        .and("code", "x")
        .and("error", "x")
        .and("iss", "https://evil.example");
    let query = query_of(&approved(&t, &ask).await);
    assert_eq!(query.keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
    assert_eq!(query["iss"], grantor::testing::ISSUER);
}

// covers: PP-03 (RFC 6749 §3.1, §4.1.2.1), PP-04, AMB-06, B37
#[tokio::test]
async fn repeated_parameter_is_refused_even_if_equal_or_empty() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("response_mode", "query");
    for name in ["response_type", "response_mode", "scope", "code_challenge", "code_challenge_method"] {
        for repeated in [ask.clone().twice(name), ask.clone().and(name, ""), ask.clone().and(name, "other")] {
            for request in [repeated.get(), repeated.post()] {
                let answer = responded(t.server.authorize(&request).await);
                assert_error(&answer, CALLBACK, "invalid_request", STATE);
                let description = format!("the parameter {name} occurs more than once");
                assert_eq!(query_of(&answer)["error_description"], description);
            }
        }
    }
    for repeated in [ask.clone().twice("state"), ask.clone().and("state", "other"), ask.and("state", "")] {
        let answer = refused(&t, &repeated).await;
        assert_error(&answer, CALLBACK, "invalid_request", None);
    }
    assert!(grants_of(&t, &app).await.is_empty());
}

// covers: PP-05 (RFC 6749 §4.1.2.1), AMB-06, B37
#[tokio::test]
async fn repeated_client_id_or_redirect_uri_never_redirects() {
    let t = TestServer::new();
    let client = Client::public("two").authorization_code([CALLBACK, "https://app.example/other"]);
    let app = t.register(client.scope("user:read").build(), None).await;
    let ask = Ask::code(&app);
    for (name, values) in
        [("client_id", ["two", "", "unknown"]), ("redirect_uri", [CALLBACK, "", "https://app.example/other"])]
    {
        for value in values {
            let answer = refused(&t, &ask.clone().and(name, value)).await;
            let description = format!("the parameter {name} occurs more than once");
            assert_page(&answer, 400, "invalid_request", &description);
        }
    }
    assert_eq!(t.faults.calls(), 1, "the storage was claimed, but no client was looked up");
}

// covers: PP-13 (RFC 6749 §1.9)
#[tokio::test]
async fn parameters_are_case_sensitive() {
    let (t, app) = public().await;
    let ask = Ask::code(&app);
    let renamed = |name: &str, to: &str, value: &str| ask.clone().without(name).and(to, value);
    let missing = refused(&t, &renamed("client_id", "Client_Id", &app.id)).await;
    assert_page(&missing, 400, "invalid_request", "the parameter client_id is missing");
    assert_page(
        &refused(&t, &ask.clone().with("client_id", &app.id.to_uppercase())).await,
        400,
        "invalid_client",
        "the client is not registered with this server",
    );
    for (ask, code) in [
        (renamed("response_type", "RESPONSE_TYPE", "code"), "invalid_request"),
        (ask.clone().with("response_type", "Code"), "unsupported_response_type"),
        (ask.clone().with("response_mode", "Query"), "invalid_request"),
        (renamed("code_challenge", "Code_Challenge", crate::common::CHALLENGE), "invalid_request"),
        (ask.clone().with("scope", "User:Read"), "invalid_scope"),
    ] {
        assert_error(&refused(&t, &ask).await, CALLBACK, code, STATE);
    }
    assert_error(
        &refused(&t, &renamed("state", "STATE", "s").with("scope", "x")).await,
        CALLBACK,
        "invalid_scope",
        None,
    );
}

// covers: PP-11 (RFC 6749 §4.1.2.1), B36
#[tokio::test]
async fn broken_escape_is_refused_and_never_repaired() {
    let (t, app) = public().await;
    let ask = Ask::code(&app);
    for broken in ["%", "%1", "%ZZ", "%FF", "%C3%28", "%ED%A0%80", "%00%", "%u0041"] {
        for name in ["client_id", "redirect_uri"] {
            let answer = refused(&t, &ask.clone().without(name).raw(&format!("&{name}={broken}"))).await;
            assert_page(
                &answer,
                400,
                "invalid_request",
                "the parameters have an invalid percent-escape or are not UTF-8",
            );
        }
        for name in ["response_type", "response_mode", "scope", "code_challenge", "code_challenge_method", "unknown"] {
            let answer = refused(&t, &ask.clone().without(name).raw(&format!("&{name}={broken}"))).await;
            assert_error(&answer, CALLBACK, "invalid_request", STATE);
        }
        let in_state = refused(&t, &ask.clone().without("state").raw(&format!("&state={broken}"))).await;
        assert_error(&in_state, CALLBACK, "invalid_request", None);
        let in_name = refused(&t, &ask.clone().raw(&format!("&{broken}=1"))).await;
        assert_error(&in_name, CALLBACK, "invalid_request", STATE);
    }
    // A body can contain bytes that are neither an escape nor UTF-8.
    let mut body = ask.raw("&").encoded().into_bytes();
    body.extend_from_slice(b"x=\xff\xfe");
    let answer = responded(t.server.authorize(&Request::post_form("/authorize", body)).await);
    assert_error(&answer, CALLBACK, "invalid_request", STATE);
}

// covers: PP-12 (RFC 6749 §10.14), AZ-16 (RFC 6749 §4.1.2.1), B36
#[tokio::test]
async fn hostile_values_reach_no_redirect_markup_or_event() {
    let (t, app) = public().await;
    let ask = Ask::code(&app);
    for probe in [
        "<script>zzz(1)</script>",
        "\"><img src=zzz onerror=zzz(1)>",
        "'zzz",
        "zzz\r\nSet-Cookie: zzz=1",
        "zzz\n",
        "zzz\0",
        "zzz\u{7f}",
        "zzz\u{202e}",
        "zzz\u{e9}",
        "zzz\\",
        "javascript:zzz(1)",
        "{\"zzz\":[]}",
        "' OR zzz=zzz --",
    ] {
        for (name, code) in [("client_id", "invalid_client"), ("redirect_uri", "invalid_request")] {
            let answer = refused(&t, &ask.clone().with(name, probe)).await;
            assert_eq!((answer.status(), answer.header("location")), (400, None), "{probe:?}");
            assert!(text(&answer).contains(code), "{}", describe(&answer));
            assert!(!text_around_value(&answer).contains("zzz"), "{name} is on the page: {}", text(&answer));
        }
        for name in ["response_type", "response_mode", "scope", "code_challenge", "code_challenge_method"] {
            let answer = refused(&t, &ask.clone().with(name, probe)).await;
            assert_eq!(target_of(&answer), CALLBACK, "{name}={probe:?}");
            assert!(!answer.header("location").unwrap().contains("zzz"), "{}", describe(&answer));
            let description = &query_of(&answer)["error_description"];
            assert!(description.bytes().all(|byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e)));
        }
    }
    for event in t.events.events() {
        assert!(!event.text.contains("zzz"), "{}", event.text);
    }
}

// covers: PP-16 (RFC 6749 Appendix A.5), PP-07 (RFC 6749 Appendix B), RD-02 (RFC 6749 §4.1.2), AZ-18 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn state_of_printable_characters_is_echoed_exactly() {
    let (t, app) = public().await;
    let all: String = (0x20..=0x7e_u8).map(char::from).collect();
    for state in [&*all, " ", "+", "%", "%41", "a&b=c#d", "&state=evil&code=evil", "a+b %26", "x"] {
        let ask = Ask::code(&app).with("state", state);
        let success = approved(&t, &ask).await;
        assert_eq!(query_of(&success)["state"], state);
        assert_eq!(query_of(&success).keys().collect::<Vec<_>>(), ["code", "iss", "state"]);
        let denied = pending(&t, &ask).await.deny().into();
        assert_error(&denied, CALLBACK, "access_denied", Some(state));
        assert_error(&refused(&t, &ask.with("scope", "nope")).await, CALLBACK, "invalid_scope", Some(state));
    }
}

// covers: B59
#[tokio::test]
async fn spaces_in_redirects_are_percent_encoded() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let uris = ["https://app.example/cb?a=+%2B"];
    let client = Client::public("app").authorization_code(uris).implicit(uris).scope("user:read user:write");
    let app = t.register(client.build(), None).await;
    let (code, token) = (Ask::code(&app).with("state", "a b+c"), Ask::token(&app).with("state", "a b+c"));
    let both = token.clone().with("scope", "user:read user:write");
    for (what, answer, separator) in [
        ("a code", approved(&t, &code).await, '&'),
        ("a denial", pending(&t, &code).await.deny().into(), '&'),
        ("an error", refused(&t, &code.with("scope", "nope")).await, '&'),
        ("a token", approved(&t, &both).await, '#'),
        ("an error in the fragment", refused(&t, &token.with("scope", "nope")).await, '#'),
    ] {
        let location = answer.header("location").expect(what);
        // The registered query stays unchanged.
        let added = location.strip_prefix("https://app.example/cb?a=+%2B").expect(what);
        assert!(added.starts_with(separator) && !added.contains('+'), "{what}: {location}");
        assert!(added.contains("state=a%20b%2Bc"), "{what}: {location}");
        assert_eq!(added.contains("scope=user%3Aread%20user%3Awrite"), what == "a token", "{location}");
        assert_eq!(
            added.contains("error_description=a%20requested%20scope%20is%20unknown"),
            what.starts_with("an error"),
            "{location}"
        );
    }
}

// covers: RD-02 (RFC 6749 §4.1.2), AZ-18
#[tokio::test]
async fn no_state_is_added_if_none_was_sent() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).without("state");
    assert_eq!(query_of(&approved(&t, &ask).await).keys().collect::<Vec<_>>(), ["code", "iss"]);
    assert_error(&pending(&t, &ask).await.deny().into(), CALLBACK, "access_denied", None);
    assert_error(&refused(&t, &ask.without("response_type")).await, CALLBACK, "invalid_request", None);
}

// covers: AMB-23, PP-12 (RFC 6749 §10.14)
#[tokio::test]
async fn state_too_long_or_not_printable_ascii_is_refused() {
    let t = TestServer::with_policy(|policy| policy.max_state = 100);
    let app = t.public_client(CALLBACK).await;
    for good in ["x".to_owned(), "s".repeat(100)] {
        let answer = approved(&t, &Ask::code(&app).with("state", &good)).await;
        assert_eq!(query_of(&answer)["state"], good);
    }
    let bad =
        ["s".repeat(101), "a\r\nSet-Cookie: a=b".into(), "a\0".into(), "a\u{7f}".into(), "\u{e9}".into(), "\t".into()];
    for bad in bad {
        let answer = refused(&t, &Ask::code(&app).with("state", &bad)).await;
        assert_error(&answer, CALLBACK, "invalid_request", None);
        assert_eq!(query_of(&answer)["error_description"], "the parameter state is malformed", "{bad:?}");
    }
    let waiting = consent(&t, &Ask::code(&app)).await;
    let answer = waiting.approve(grantor::Approval::by(subject("alice"))).await;
    assert_eq!(answer.state(), STATE, "the endpoint still works");
}

// covers: B36
#[tokio::test]
async fn malformed_requests_get_a_400_page() {
    let (t, app) = public().await;
    let id = &app.id;
    let long = "&".repeat(60_000);
    for query in [
        "",
        "?",
        "=",
        "&&&",
        "===",
        "client_id",
        "client_id=",
        "client_id=%00",
        "client_id=\u{0}",
        "client_id[]=x",
        "%",
        "\u{fffd}",
        "client_id=\u{20ac}&redirect_uri=\u{20ac}",
        "client_id=a;redirect_uri=b",
        &long,
        &format!("client_id={}", "a".repeat(16_000)),
        &format!("client_id={id}&redirect_uri={}", "https://app.example/cb".repeat(700)),
        &format!("client_id={id}&redirect_uri=http://127.0.0.1:99999999999999999999/"),
    ] {
        let answer = responded(t.server.authorize(&Request::get(format!("/authorize?{query}"))).await);
        assert_eq!((answer.status(), answer.header("location")), (400, None), "{}", describe(&answer));
    }
    let scopes = "user:read ".repeat(1_600) + "user:read";
    let waiting = pending(&t, &Ask::code(&app).with("scope", &scopes)).await;
    assert_eq!(waiting.scope().as_str(), "user:read");
}
