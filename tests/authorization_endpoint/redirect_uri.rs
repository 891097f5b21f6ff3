//! Responses go to a registered redirect URI of the client, and nowhere else.

use grantor::testing::TestClient;
use grantor::{AuthorizationCode, Client, CodeVerifier, Response, Storage, TokenRequest};

use crate::ask::{
    Ask, CALLBACK, approved, assert_error, assert_page, by, consent, describe, grants_of, pending, refused, target_of,
    text_around_value,
};
use crate::common::{VERIFIER, location, query_of, text};
use crate::source::{TestServer, public};

const NOT_REGISTERED: &str = "the redirect URI is not registered for this client";

async fn client_with(t: &TestServer, uris: &[&str]) -> TestClient {
    let client = Client::public("app").authorization_code(uris).scope("user:read user:write").build();
    t.register(client, None).await
}

// covers: RU-07 (RFC 9700 §4.1.3), RU-08, RU-15 (RFC 6749 §10.6), B2, B3, B4, B5, B6
#[tokio::test]
async fn redirect_uri_with_any_difference_gets_a_page() {
    let (t, public) = public().await;
    let confidential = t.confidential_client(CALLBACK).await;
    for uri in [
        "https://APP.example/cb",
        "HTTPS://app.example/cb",
        "http://app.example/cb",
        "https://app.example",
        "https://app.example/",
        "https://app.example/cb/",
        "https://app.example/cbx",
        "https://app.example/cb/..",
        "https://app.example/./cb",
        "https://app.example/x/../cb",
        "https://app.example//cb",
        "https://app.example/c%62",
        "https://app.example/%63b",
        "https://app.example%2Fcb",
        "https://app.example/cb%2F",
        "https://app.example/cb?",
        "https://app.example/cb?x=1",
        "https://app.example/cb?code=x",
        "https://app.example/cb#",
        "https://app.example/cb#x",
        "https://app.example/cb;x",
        "https://app.example/cb;",
        "https://app.example:443/cb",
        "https://app.example:8443/cb",
        "https://app.example:/cb",
        "https://app.example./cb",
        "https://app.example@evil.example/cb",
        "https://evil@app.example/cb",
        "https://evil:x@app.example/cb",
        "https://app.example.evil.example/cb",
        "https://evil.example/cb",
        "https://evil.example/https://app.example/cb",
        "https://evil.example?https://app.example/cb",
        "https://evil.example#https://app.example/cb",
        "https://sub.app.example/cb",
        "https://xapp.example/cb",
        "https://app.example\\@evil.example/cb",
        "https:\\\\app.example\\cb",
        "https:/app.example/cb",
        "https:app.example/cb",
        "//app.example/cb",
        "/cb",
        "cb",
        "https://\u{ff41}pp.example/cb",
        "https://app.example/cb\u{301}",
        "https://app.example/cb ",
        " https://app.example/cb",
        "https://app.example/cb\n",
        "https://app.example/cb\0",
        "https://app.example/cb\t",
        "javascript:alert(1)",
        "data:text/html,x",
        "localhost:/cb",
        "urn:ietf:wg:oauth:2.0:oob",
        "http://localhost/cb",
        "http://127.0.0.1/cb",
        "*",
        "https://*",
        "null",
    ] {
        for app in [&public, &confidential] {
            let answer = refused(&t, &Ask::code(app).with("redirect_uri", uri)).await;
            assert_page(&answer, 400, "invalid_request", NOT_REGISTERED);
            assert!(!text_around_value(&answer).contains("evil"), "{uri} is on the page: {}", text(&answer));
        }
    }
    assert!(grants_of(&t, &public).await.is_empty());
    assert_eq!(t.events.count("authorization_refused"), t.events.events().len());
    let events = t.events.events();
    assert!(events.iter().all(|event| event.text.contains("UnregisteredRedirectUri")), "{:?}", events.first());
    assert!(
        events.iter().any(|event| event.text.contains(&format!("ClientId({:?})", public.id))),
        "the event names the client"
    );
}

// covers: AZ-07 (RFC 6749 §3.1.2.4, §4.1.2.1), B1
#[tokio::test]
async fn wrong_redirect_uri_is_never_used() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let app = t.public_client(CALLBACK).await;
    let evil = Ask::code(&app).with("redirect_uri", "https://evil.example/cb");
    for (fault, ask) in [
        ("unsupported response type", evil.clone().with("response_type", "foo")),
        ("no response type", evil.clone().without("response_type")),
        ("a response type that is not the client's", evil.clone().with("response_type", "token")),
        ("bad scope", evil.clone().with("scope", "nope")),
        ("malformed scope", evil.clone().with("scope", "\"")),
        ("no PKCE", evil.clone().without("code_challenge").without("code_challenge_method")),
        ("unknown response mode", evil.clone().with("response_mode", "foo")),
        ("prompt=none", evil.clone().with("prompt", "none")),
        ("repeated scope", evil.clone().twice("scope")),
        ("bad state", evil.clone().with("state", "\n")),
        ("broken escape", evil.clone().raw("&x=%ZZ")),
        ("all of it", evil.clone().with("scope", "nope").with("response_type", "foo").twice("state").raw("&%=")),
        ("nothing", evil.clone()),
    ] {
        let answer = refused(&t, &ask).await;
        assert_page(&answer, 400, "invalid_request", NOT_REGISTERED);
        assert!(!text_around_value(&answer).contains("evil.example"), "{fault}: {}", text(&answer));
    }
    for (fault, ask) in [
        ("unknown client", evil.clone().with("client_id", "nobody")),
        ("no client", evil.clone().without("client_id")),
        ("no client and a bad scope", evil.without("client_id").with("scope", "nope")),
        // The redirect URI is registered, but for another client.
        ("unknown client, known URI", Ask::code(&app).with("client_id", "nobody")),
    ] {
        let answer = refused(&t, &ask).await;
        assert_eq!((answer.status(), answer.header("location")), (400, None), "{fault}: {}", describe(&answer));
    }
}

// covers: B1
#[tokio::test]
async fn redirect_uri_of_another_client_is_refused() {
    let (t, app) = public().await;
    let other = t.public_client("https://other.example/cb").await;
    let answer = refused(&t, &Ask::code(&app).with("redirect_uri", &other.redirect_uri)).await;
    assert_page(&answer, 400, "invalid_request", NOT_REGISTERED);
}

// covers: AZ-21 (RFC 9700 §4.11), B2
#[tokio::test]
async fn only_a_registered_redirect_uri_receives_the_answer() {
    let (t, app) = public().await;
    let mut ask = Ask::code(&app);
    for name in ["return_to", "post_login", "next", "url", "redirect", "redirect_url", "Redirect_URI", "redirect_uri[]"]
    {
        ask = ask.and(name, "https://evil.example/");
    }
    for answer in [
        approved(&t, &ask).await,
        pending(&t, &ask).await.deny().into(),
        refused(&t, &ask.clone().with("scope", "nope")).await,
    ] {
        assert_eq!(target_of(&answer), CALLBACK);
        assert!(!answer.header("location").unwrap().contains("evil"), "{}", describe(&answer));
    }
    let without = refused(&t, &ask.without("redirect_uri").with("client_id", "nobody")).await;
    assert_eq!((without.status(), without.header("location")), (400, None));
}

// covers: RU-04 (RFC 6749 §3.1.2.2), RU-12 (RFC 6749 §3.1.2.3), RU-08
#[tokio::test]
async fn client_with_several_redirect_uris_must_name_one() {
    let t = TestServer::new();
    let uris = [CALLBACK, "https://app.example/other", "https://app.example/cb?x=1", "http://127.0.0.1/cb"];
    let app = client_with(&t, &uris).await;
    for uri in uris {
        let answer = approved(&t, &Ask::code(&app).with("redirect_uri", uri)).await;
        let target = answer.header("location").unwrap();
        let separator = if uri.contains('?') { '&' } else { '?' };
        assert!(target.starts_with(&format!("{uri}{separator}code=")), "{target}");
    }
    let answer = refused(&t, &Ask::code(&app).without("redirect_uri")).await;
    assert_page(&answer, 400, "invalid_request", "the parameter redirect_uri is missing");
    let mixed = refused(&t, &Ask::code(&app).with("redirect_uri", "https://app.example/other?x=1")).await;
    assert_page(&mixed, 400, "invalid_request", NOT_REGISTERED);
}

// covers: RU-13 (RFC 6749 §3.1.2.3), AMB-04
#[tokio::test]
async fn code_remembers_if_single_redirect_uri_was_omitted() {
    let (t, app) = public().await;
    for (ask, was_sent) in [(Ask::code(&app), true), (Ask::code(&app).without("redirect_uri"), false)] {
        let answer = approved(&t, &ask).await;
        assert_eq!(target_of(&answer), CALLBACK);
        let code = AuthorizationCode::new(query_of(&answer)["code"].clone());
        let stored = t.storage.find(&code.hash()).await.unwrap().expect("the code is stored").token;
        let binding = stored.details.code.as_ref().expect("a code is bound");
        assert_eq!((&*binding.redirect_uri, binding.redirect_uri_was_sent), (CALLBACK, was_sent));

        let verifier = CodeVerifier::new(VERIFIER);
        let bare = TokenRequest::authorization_code(&code).code_verifier(&verifier);
        let redeemed = t.token_as(&app, bare).await;
        assert_eq!(redeemed.is_ok(), !was_sent, "a client that sent redirect_uri must send it again: {redeemed:?}");
    }
}

// covers: RU-14 (OAuth 2.1 §2.3.1)
#[tokio::test]
async fn client_without_redirect_uris_gets_a_page() {
    let t = TestServer::new();
    let machine = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    let ask = Ask::code(&machine).with("redirect_uri", CALLBACK);
    assert_page(&refused(&t, &ask).await, 400, "invalid_request", NOT_REGISTERED);
    let answer = refused(&t, &ask.without("redirect_uri")).await;
    assert_page(&answer, 400, "invalid_request", "the parameter redirect_uri is missing");
}

// covers: PP-18 (RFC 6749 §3.1.2), B8
#[tokio::test]
async fn query_of_redirect_uri_is_kept_byte_for_byte() {
    let t = TestServer::new();
    for (number, uri) in
        ["https://app.example/cb?a=1&b=%20", "https://app.example/cb?flag", "https://app.example/cb?a=+%2B&a=2"]
            .into_iter()
            .enumerate()
    {
        let client = Client::public(format!("app-{number}")).authorization_code([uri]).scope("user:read").build();
        let app = t.register(client, None).await;
        let ask = Ask::code(&app).with("state", "s&t");
        let answers: [Response; 3] = [
            approved(&t, &ask).await,
            pending(&t, &ask).await.deny().into(),
            refused(&t, &ask.with("scope", "nope")).await,
        ];
        for (answer, first) in answers.iter().zip(["code=", "error=access_denied&", "error=invalid_scope&"]) {
            let target = answer.header("location").unwrap();
            assert!(target.starts_with(&format!("{uri}&{first}")), "{target}");
            let states: Vec<_> = location(answer)
                .query_pairs()
                .filter(|(name, _)| name == "state")
                .collect::<Vec<_>>()
                .into_iter()
                .map(|(_, value)| value.into_owned())
                .collect();
            assert_eq!(states, ["s&t"], "{target}");
        }
    }
}

#[tokio::test]
async fn empty_registered_query_gets_no_stray_separator() {
    let t = TestServer::new();
    let app = client_with(&t, &["https://app.example/cb?"]).await;
    let answer = approved(&t, &Ask::code(&app)).await;
    let target = answer.header("location").unwrap();
    assert!(target.starts_with("https://app.example/cb?code="), "{target}");
}

// covers: B7
#[tokio::test]
async fn code_needs_the_redirect_uri_it_was_sent_to() {
    let t = TestServer::new();
    let app = client_with(&t, &[CALLBACK, "https://app.example/other"]).await;
    let code = AuthorizationCode::new(query_of(&approved(&t, &Ask::code(&app)).await)["code"].clone());
    let verifier = CodeVerifier::new(VERIFIER);
    let redeem = |uri: Option<&'static str>| {
        let request = TokenRequest::authorization_code(&code).code_verifier(&verifier);
        let request = match uri {
            Some(uri) => request.redirect_uri(uri),
            None => request,
        };
        t.token_as(&app, request)
    };
    for wrong in [Some("https://app.example/other"), Some("https://app.example/cb/"), None] {
        assert_eq!(redeem(wrong).await.unwrap_err().code().as_str(), "invalid_grant", "{wrong:?}");
    }
    redeem(Some(CALLBACK)).await.expect("the right redirect URI still works");
}

#[tokio::test]
async fn out_of_band_code_page_needs_its_switch() {
    const OUT_OF_BAND: &str = "urn:ietf:wg:oauth:2.0:oob";
    let off = TestServer::new();
    let app = client_with(&off, &[OUT_OF_BAND]).await;
    for ask in [Ask::code(&app), Ask::code(&app).without("redirect_uri"), Ask::code(&app).with("scope", "nope")] {
        assert_page(&refused(&off, &ask).await, 400, "invalid_request", NOT_REGISTERED);
    }

    let t = TestServer::with_policy(|policy| policy.dangerous().allow_out_of_band_redirect = true);
    let app = client_with(&t, &[OUT_OF_BAND, CALLBACK]).await;
    let waiting = consent(&t, &Ask::code(&app)).await;
    assert_eq!(waiting.request().redirect_host(), None);
    let answer = waiting.approve(by("alice")).await;
    let code = answer.code().expect("a code").expose().to_owned();
    let page: Response = answer.into();
    assert_eq!((page.status(), page.header("location")), (200, None));
    assert!(text(&page).contains(&format!("<code>{code}</code>")), "{}", text(&page));
    let (code, verifier) = (AuthorizationCode::new(code), CodeVerifier::new(VERIFIER));
    let request = TokenRequest::authorization_code(&code).redirect_uri(OUT_OF_BAND).code_verifier(&verifier);
    t.token_as(&app, request).await.expect("the code that was shown works");

    let denied: Response = pending(&t, &Ask::code(&app)).await.deny().into();
    assert_page(&denied, 400, "access_denied", "the user denied the request");
    let bad_scope = refused(&t, &Ask::code(&app).with("scope", "nope")).await;
    assert_page(&bad_scope, 400, "invalid_scope", "a requested scope is unknown");
    // The other redirect URI of the same client is not affected.
    assert_error(
        &refused(&t, &Ask::code(&app).with("redirect_uri", CALLBACK).with("scope", "nope")).await,
        CALLBACK,
        "invalid_scope",
        Some("af0ifjsldkj"),
    );
}
