//! The scope that a request results in.

use grantor::client::{AllowedScope, RegisteredBy};
use grantor::{
    AuthorizationCode, Client, ClientStore, CodeVerifier, Policy, Response, Scope, TokenRequest, TokenResponse,
};

use crate::ask::{Ask, CALLBACK, assert_error, by, consent, grants_of, pending, refused};
use crate::common::{VERIFIER, query_of};
use crate::source::{TestServer, public};

const STATE: Option<&str> = Some("af0ifjsldkj");

async fn redeem(t: &TestServer, app: &grantor::testing::TestClient, answer: Response) -> TokenResponse {
    let (code, verifier) = (AuthorizationCode::new(&*query_of(&answer)["code"]), CodeVerifier::new(VERIFIER));
    let request = TokenRequest::authorization_code(&code).redirect_uri(CALLBACK).code_verifier(&verifier);
    t.token_as(app, request).await.expect("the code works")
}

// covers: SC-02 (RFC 6749 §3.3, Appendix A.4), AZ-11 (RFC 6749 §4.1.2.1), AMB-05
#[tokio::test]
async fn malformed_scope_is_refused() {
    let t = TestServer::with(|builder| builder.default_scope("user:read"));
    let app = t.public_client(CALLBACK).await;
    for scope in [
        " ",
        "  ",
        "\"user:read\"",
        "user:read\\",
        "user:read\t",
        "user:read\nuser:write",
        "caf\u{e9}",
        "user:read\0",
        "\u{a0}",
        "user:read\u{3000}user:write",
        "\u{7f}",
    ] {
        let answer = refused(&t, &Ask::code(&app).with("scope", scope)).await;
        assert_error(&answer, CALLBACK, "invalid_scope", STATE);
        assert_eq!(query_of(&answer)["error_description"], "the scope is malformed", "{scope:?}");
    }
}

// covers: B53
#[tokio::test]
async fn extra_spaces_in_scope_are_ignored() {
    let t = TestServer::new();
    let client = |id: &str| Client::public(id).authorization_code([CALLBACK]).refresh_token();
    let joined_by_hand = client("joined").scope("  user:write user:read ").default_scope(" user:read");
    let app = t.register(joined_by_hand.build(), None).await;
    let expected = "user:read user:write";
    let stored = t.storage.find_client(&app.id).await.unwrap().unwrap();
    assert_eq!(serde_json::to_value(&*stored).unwrap()["scope"], expected);
    for scope in [" user:read user:write", "user:write  user:read ", "   user:read   user:write   user:read  "] {
        let waiting = consent(&t, &Ask::code(&app).with("scope", scope)).await;
        let tokens =
            redeem(&t, &app, waiting.approve(by("alice").scope(["user:write", "user:read"])).await.into()).await;
        assert_eq!(tokens.scope.as_str(), expected, "{scope:?}");
        let refresh = TokenRequest::refresh_token(tokens.refresh_token.as_ref().unwrap()).scope(" user:read ");
        assert_eq!(t.token_as(&app, refresh).await.unwrap().scope.as_str(), "user:read");
    }
    assert_eq!(pending(&t, &Ask::code(&app).without("scope")).await.scope().as_str(), "user:read");
}

// covers: SC-05 (RFC 6749 §3.3), AMB-05
#[tokio::test]
async fn missing_scope_gets_client_or_server_default_or_error() {
    let none = TestServer::new();
    let server_default = TestServer::with(|builder| builder.default_scope("user:write"));
    let public = |id| Client::public(id).authorization_code([CALLBACK]);
    for (t, client, expected) in [
        (&none, public("a").scope("user:read user:write"), None),
        (&none, public("b"), None),
        (&none, public("c").scope("user:read user:write").default_scope("user:read"), Some("user:read")),
        (&server_default, public("d").scope("user:read user:write"), Some("user:write")),
        (&server_default, public("e"), Some("user:write")),
        (&server_default, public("f").scope("user:read user:write").default_scope("user:read"), Some("user:read")),
        // The server's default does not apply if it is outside the client's scope.
        (&server_default, public("g").scope("user:read"), None),
        // A scope that the server no longer offers is not granted.
        (&none, public("h").scope("user:read retired").default_scope("retired user:read"), Some("user:read")),
        (&none, public("i").scope("retired").default_scope("retired"), None),
    ] {
        let app = t.register(client.build(), None).await;
        for ask in [Ask::code(&app).without("scope"), Ask::code(&app).with("scope", "")] {
            match expected {
                Some(scope) => assert_eq!(pending(t, &ask).await.scope().as_str(), scope, "{}", app.id),
                None => assert_error(&refused(t, &ask).await, CALLBACK, "invalid_scope", STATE),
            }
        }
    }
}

// covers: SC-07 (RFC 6749 §10.3), CU-13 (OAuth 2.1 §7.9), AMB-10
#[tokio::test]
async fn client_cannot_request_more_than_its_scope() {
    let t = TestServer::with(|builder| builder.default_scope("user:read"));
    let public = |id| Client::public(id).authorization_code([CALLBACK]);
    let reader = t.register(public("reader").scope("user:read").build(), None).await;
    let writer = t.register(public("writer").scope("user:read user:write").build(), None).await;
    let unsaid = t.register(public("unsaid").build(), None).await;
    let both = |app| Ask::code(app).with("scope", "user:write user:read");
    assert_eq!(pending(&t, &both(&writer)).await.scope().as_str(), "user:read user:write");
    for (app, scope) in [
        (&reader, "user:write user:read"),
        (&reader, "user:write"),
        (&unsaid, "user:write user:read"),
        (&writer, "offline_access user:read"),
    ] {
        let answer = refused(&t, &Ask::code(app).with("scope", scope)).await;
        assert_error(&answer, CALLBACK, "invalid_scope", STATE);
        assert_eq!(query_of(&answer)["error_description"], "a requested scope is not allowed for this client");
    }
    // One unknown scope among known ones fails the request; it is not dropped silently.
    for scope in ["nope", "user:read nope", "user", "user:read:more", "openid user:read"] {
        let answer = refused(&t, &Ask::code(&writer).with("scope", scope)).await;
        assert_error(&answer, CALLBACK, "invalid_scope", STATE);
        assert_eq!(query_of(&answer)["error_description"], "a requested scope is unknown");
    }
    drop(pending(&t, &Ask::code(&unsaid)).await);
}

// covers: B56
#[tokio::test]
async fn only_all_offered_scopes_allows_more_than_the_default_scope() {
    let t = TestServer::with(|builder| builder.default_scope("user:read"));
    let client = |id: &str| Client::public(id).authorization_code([CALLBACK]).refresh_token();
    let (plain, stepping) = (client("plain"), client("stepping").all_offered_scopes());
    let (plain, stepping) = (t.register(plain.build(), None).await, t.register(stepping.build(), None).await);
    // The stored registration says whether the client may have the default scope only, or all offered scopes.
    for (app, expected, member) in
        [(&plain, AllowedScope::Default, None), (&stepping, AllowedScope::AllOffered, Some(&true.into()))]
    {
        let stored = t.storage.find_client(&app.id).await.unwrap().unwrap();
        assert_eq!(stored.allowed_scope(), expected);
        let json = serde_json::to_value(&*stored).unwrap();
        assert_eq!((json.get("scope"), json.get("all_offered_scopes")), (None, member));
        let read: Client = serde_json::from_value(json).unwrap();
        assert_eq!(read.allowed_scope(), expected);
    }
    for app in [&plain, &stepping] {
        let unsaid = consent(&t, &Ask::code(app).without("scope")).await.approve(by("alice")).await;
        let tokens = redeem(&t, app, unsaid.into()).await;
        assert_eq!(tokens.scope.as_str(), "user:read");
        let access = t.bearer(&tokens.access_token).await.unwrap();
        assert_eq!(access.require("user:write").unwrap_err().code().unwrap(), "insufficient_scope");
    }
    // The API needs more scope now, and the client asks for it.
    let more = "user:read user:write";
    let stepped_up = consent(&t, &Ask::code(&stepping).with("scope", more)).await.approve(by("alice")).await;
    let tokens = redeem(&t, &stepping, stepped_up.into()).await;
    assert_eq!(tokens.scope.as_str(), more);
    assert!(t.bearer(&tokens.access_token).await.unwrap().require("user:write").is_ok());
    // Without a list, a client may have only the default scope, so this request is refused.
    drop(refused(&t, &Ask::code(&plain).with("scope", more)).await);
    assert!(t.events.events().pop().unwrap().text.contains("ScopeNotAllowed"));
}

// covers: SC-07 (RFC 6749 §10.3)
#[tokio::test]
async fn self_service_allow_list_limits_all_offered_scopes() {
    const ALL: &str = "offline_access user:read user:write";
    let client = |id: &str| Client::public(id).authorization_code([CALLBACK]).all_offered_scopes();
    let listed = |builder: grantor::Builder, list: &str| {
        let mut policy = Policy::default();
        policy.self_service_scope = Some(Scope::parse(list).unwrap());
        builder.default_scope("user:read").policy(policy)
    };
    let without_default = TestServer::new();
    let with_default = TestServer::with(|builder| builder.default_scope("user:read"));
    let with_list = TestServer::with(|builder| listed(builder, "user:read user:write"));
    let later = TestServer::with(|builder| listed(builder, "user:read user:write").scope("admin", "Everything"));
    for (t, by, asked, allowed) in [
        (&without_default, RegisteredBy::Administrator, ALL, true),
        (&later, RegisteredBy::Administrator, "admin user:read", true),
        (&without_default, RegisteredBy::SelfService, "user:read", false),
        (&with_default, RegisteredBy::SelfService, "user:read", true),
        (&with_default, RegisteredBy::SelfService, "user:write", false),
        (&with_list, RegisteredBy::SelfService, "user:read user:write", true),
        (&with_list, RegisteredBy::SelfService, ALL, false),
        // A scope that the server declared later is not in `self_service_scope`.
        (&later, RegisteredBy::SelfService, "admin", false),
    ] {
        let number = t.events.events().len();
        let id = format!("app-{number}-{asked}-{by:?}");
        let app = t.register(client(&id).registered_by(by).build(), None).await;
        let ask = Ask::code(&app).with("scope", asked);
        if allowed {
            assert_eq!(pending(t, &ask).await.scope(), &Scope::parse(asked).unwrap(), "{by:?}");
        } else {
            drop(refused(t, &ask).await);
            let event = t.events.events().pop().unwrap();
            assert!(event.text.contains("ScopeNotAllowed"), "{by:?} {asked}: {}", event.text);
        }
    }
    // A request without scope gets the default scope, not the whole scope of the client.
    let app = with_default.register(client("bare").build(), None).await;
    assert_eq!(pending(&with_default, &Ask::code(&app).without("scope")).await.scope().as_str(), "user:read");
    let app = without_default.register(client("bare").build(), None).await;
    assert_error(&refused(&without_default, &Ask::code(&app).without("scope")).await, CALLBACK, "invalid_scope", STATE);
}

// covers: SC-07 (RFC 6749 §10.3)
#[tokio::test]
async fn self_service_scope_limits_own_list_and_default() {
    let t = TestServer::with(|builder| {
        let mut policy = Policy::default();
        policy.self_service_scope = Some(Scope::parse("user:read").unwrap());
        builder.default_scope("user:read user:write").policy(policy)
    });
    for (by, limited) in [(RegisteredBy::SelfService, true), (RegisteredBy::Administrator, false)] {
        let client = |id: &str| Client::public(format!("{id}-{by:?}")).authorization_code([CALLBACK]).registered_by(by);
        let listed = t.register(client("listed").scope("user:read user:write").build(), None).await;
        let plain = t.register(client("plain").build(), None).await;
        for app in [&listed, &plain] {
            assert_eq!(pending(&t, &Ask::code(app).with("scope", "user:read")).await.scope().as_str(), "user:read");
            let unsaid = pending(&t, &Ask::code(app).without("scope")).await;
            let all = if limited { "user:read" } else { "user:read user:write" };
            assert_eq!(unsaid.scope().as_str(), all, "{by:?}");
            let wide = Ask::code(app).with("scope", "user:write");
            if limited {
                drop(refused(&t, &wide).await);
                let event = t.events.events().pop().unwrap();
                assert!(event.text.contains("ScopeNotAllowed"), "{}", event.text);
            } else {
                drop(pending(&t, &wide).await);
            }
        }
    }
}

// covers: SC-03 (RFC 6749 §3.3), SC-04 (RFC 6749 §3.3), CU-10 (RFC 6749 §3.3), AMB-10
#[tokio::test]
async fn narrowed_approval_tells_the_client_its_scope() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("scope", "user:read user:write offline_access");
    let answer = consent(&t, &ask).await.approve(by("alice").scope(["user:write"])).await;
    let tokens = redeem(&t, &app, answer.into()).await;
    assert_eq!(tokens.scope.as_str(), "user:write");
    assert_eq!(grants_of(&t, &app).await[0].scope.as_str(), "user:write");
    let access = t.bearer(&tokens.access_token).await.unwrap();
    assert_eq!(access.require("user:read").unwrap_err().code().unwrap(), "insufficient_scope");
}

// covers: B45
#[tokio::test]
async fn approval_cannot_widen_the_scope() {
    let (t, app) = public().await;
    let ask = Ask::code(&app).with("scope", "user:read");
    let wide = ["user:write", "user:read", "offline_access", "nope", "user:read user:write", "", "USER:READ"];
    let answer = consent(&t, &ask).await.approve(by("alice").scope(wide)).await;
    assert_eq!(redeem(&t, &app, answer.into()).await.scope.as_str(), "user:read");
}

// covers: SC-09 (RFC 6749 §4.1.2.1)
#[tokio::test]
async fn approval_of_no_scope_is_a_denial() {
    let (t, app) = public().await;
    for nothing in [&[][..], &["user:write"], &["user:read user:write"], &[""]] {
        let answer = consent(&t, &Ask::code(&app)).await.approve(by("alice").scope(nothing)).await;
        assert!(answer.code().is_none());
        assert_error(&answer.into(), CALLBACK, "access_denied", STATE);
    }
    assert!(grants_of(&t, &app).await.is_empty());
    assert_eq!(t.events.names(), ["authorization_denied"; 4]);
    assert!(t.events.events()[0].text.contains("Subject(\"alice\")"), "{}", t.events.events()[0].text);
}

/// A server on which writing includes reading, and reading includes an offline token.
fn with_hierarchy() -> TestServer {
    TestServer::with(|builder| {
        builder.scope_includes("user:write", "user:read").scope_includes("user:read", "offline_access")
    })
}

// covers: MC-15 (MCP Step-Up Authorization Flow)
#[tokio::test]
async fn broader_scope_includes_the_narrower() {
    let t = with_hierarchy();
    let app = t.public_client(CALLBACK).await;
    let waiting = pending(&t, &Ask::code(&app).with("scope", "user:write")).await;
    assert_eq!(waiting.scope().as_str(), "offline_access user:read user:write");
    let waiting = consent(&t, &Ask::code(&app).with("scope", "user:write")).await;
    let tokens = redeem(&t, &app, waiting.approve(by("alice")).await.into_http()).await;
    assert_eq!(tokens.scope.as_str(), "offline_access user:read user:write");
    let access = t.bearer(&tokens.access_token).await.unwrap();
    assert!(access.require("user:read").is_ok(), "an API requires the narrower scope");
    // A refresh gets what it names, because the grant is flat.
    let token = tokens.refresh_token.unwrap();
    let narrowed = t.token_as(&app, TokenRequest::refresh_token(&token).scope("user:write")).await.unwrap();
    assert_eq!(narrowed.scope.as_str(), "user:write");
}

#[tokio::test]
async fn included_scope_stays_within_the_client() {
    let t = with_hierarchy();
    let app = t
        .confidential_client_with(|client| client.authorization_code([CALLBACK]).scope("user:write offline_access"))
        .await;
    let waiting = pending(&t, &Ask::code(&app).with("scope", "user:write")).await;
    assert_eq!(waiting.scope().as_str(), "offline_access user:write");
    let answer = refused(&t, &Ask::code(&app).with("scope", "user:read")).await;
    assert_error(&answer, CALLBACK, "invalid_scope", STATE);
}
