//! Native apps (RFC 8252): private-use schemes, claimed https and loopback redirects.

use grantor::client::{ClientError, ClientType, RedirectUri};
use grantor::testing::TestClient;
use grantor::{AuthorizationCode, Client, ClientCredential, ClientSecret, CodeVerifier, TokenRequest};

use crate::ask::{Ask, approved, assert_page, pending, refused};
use crate::common::{VERIFIER, query_of};
use crate::source::TestServer;

const NOT_REGISTERED: &str = "the redirect URI is not registered for this client";

async fn native_client(t: &TestServer, id: &str, uri: &str) -> TestClient {
    t.register(Client::native(id).authorization_code([uri]).refresh_token().scope("user:read").build(), None).await
}

// covers: NA-01 (RFC 8252 §7), NA-02 (RFC 8252 §6), NA-08 (RFC 8252 §7.1)
#[tokio::test]
async fn native_app_completes_flow_with_each_redirect_kind() {
    let t = TestServer::new();
    for (id, uri, host) in [
        ("private", "com.example.app:/oauth2redirect/provider", "com.example.app"),
        ("claimed", "https://app.example/oauth2redirect", "app.example"),
        ("loopback4", "http://127.0.0.1:51004/oauth2redirect", "127.0.0.1:51004"),
        ("loopback6", "http://[::1]:61023/oauth2redirect", "[::1]:61023"),
    ] {
        let app = native_client(&t, id, uri).await;
        let waiting = pending(&t, &Ask::code(&app)).await;
        assert_eq!(waiting.redirect_host(), Some(host));
        drop(waiting);
        let answer = approved(&t, &Ask::code(&app)).await;
        let target = answer.header("location").unwrap();
        assert!(target.starts_with(&format!("{uri}?code=")), "emitted as registered: {target}");
        let (code, verifier) = (AuthorizationCode::new(&*query_of(&answer)["code"]), CodeVerifier::new(VERIFIER));
        let request = TokenRequest::authorization_code(&code).redirect_uri(uri).code_verifier(&verifier);
        let tokens = t.token_as(&app, request).await.expect("a token");
        assert!(tokens.refresh_token.is_some());
    }
}

// covers: NA-03 (RFC 8252 §7.3), NA-04 (RFC 8252 §8.4), RU-09 (RFC 8252 §7.3), AMB-21
#[tokio::test]
async fn loopback_redirect_ignores_only_the_port() {
    let t = TestServer::new();
    let native = native_client(&t, "native", "http://127.0.0.1/cb?x=1").await;
    let public = t.public_client("http://127.0.0.1/cb?x=1").await;
    let confidential = t.confidential_client("http://127.0.0.1/cb?x=1").await;
    for app in [&native, &public, &confidential] {
        for uri in ["http://127.0.0.1/cb?x=1", "http://127.0.0.1:1/cb?x=1", "http://127.0.0.1:65535/cb?x=1"] {
            let answer = approved(&t, &Ask::code(app).with("redirect_uri", uri)).await;
            let target = answer.header("location").unwrap();
            assert!(target.starts_with(&format!("{uri}&code=")), "sent to the port that was asked for: {target}");
        }
        for uri in [
            "http://127.0.0.1:51004/other?x=1",
            "http://127.0.0.1:51004/cb",
            "http://127.0.0.1:51004/cb?x=2",
            "http://127.0.0.1:51004/cb?x=1&y=2",
            "http://127.0.0.1:51004/cb?x=1#",
            "https://127.0.0.1:51004/cb?x=1",
            "http://[::1]:51004/cb?x=1",
            "http://localhost:51004/cb?x=1",
            "http://127.0.0.2:51004/cb?x=1",
            "http://127.1:51004/cb?x=1",
            "http://2130706433:51004/cb?x=1",
            "http://127.0.0.1:/cb?x=1",
            "http://127.0.0.1:65536/cb?x=1",
            "http://127.0.0.1:00/cb?x=1",
            "http://127.0.0.1:051004/cb?x=1",
            "http://127.0.0.1:00080/cb?x=1",
            "http://127.0.0.1:000000000000000000000000000000000000080/cb?x=1",
            "http://127.0.0.1:-1/cb?x=1",
            "http://127.0.0.1:+1/cb?x=1",
            "http://127.0.0.1@evil.example/cb?x=1",
            "http://127.0.0.1:80@evil.example/cb?x=1",
            "http://evil@127.0.0.1:80/cb?x=1",
            "http://127.0.0.1.evil.example/cb?x=1",
            "http://127.0.0.1:80.evil.example/cb?x=1",
        ] {
            let answer = refused(&t, &Ask::code(app).with("redirect_uri", uri)).await;
            assert_page(&answer, 400, "invalid_request", NOT_REGISTERED);
        }
    }
    let v6 = native_client(&t, "v6", "http://[::1]:9/cb").await;
    drop(pending(&t, &Ask::code(&v6).with("redirect_uri", "http://[::1]:65535/cb")).await);
    drop(pending(&t, &Ask::code(&v6).with("redirect_uri", "http://[::1]/cb")).await);
    let https = native_client(&t, "https", "https://127.0.0.1:1/cb").await;
    let answer = refused(&t, &Ask::code(&https).with("redirect_uri", "https://127.0.0.1:2/cb")).await;
    assert_page(&answer, 400, "invalid_request", NOT_REGISTERED);
}

/// A code never stores a redirect URI longer than a registration allows.
// covers: RU-09 (RFC 8252 §7.3)
#[tokio::test]
async fn loopback_redirect_with_port_keeps_the_length_limit() {
    let t = TestServer::new();
    for (length, port, fits) in
        [(2_042, ":51004", true), (2_043, ":51004", false), (2_046, ":1", true), (2_048, "", true)]
    {
        let path = "x".repeat(length - "http://127.0.0.1/".len());
        let app = native_client(&t, &format!("native{length}"), &format!("http://127.0.0.1/{path}")).await;
        let ask = Ask::code(&app).with("redirect_uri", &format!("http://127.0.0.1{port}/{path}"));
        if fits {
            drop(pending(&t, &ask).await);
        } else {
            assert_page(&refused(&t, &ask).await, 400, "invalid_request", NOT_REGISTERED);
        }
    }
}

// covers: RU-09 (RFC 8252 §7.3), B7
#[tokio::test]
async fn code_sent_to_one_port_is_redeemed_with_that_port() {
    let t = TestServer::new();
    let app = native_client(&t, "native", "http://127.0.0.1/cb").await;
    let answer = approved(&t, &Ask::code(&app).with("redirect_uri", "http://127.0.0.1:51004/cb")).await;
    let (code, verifier) = (AuthorizationCode::new(&*query_of(&answer)["code"]), CodeVerifier::new(VERIFIER));
    for (uri, works) in
        [("http://127.0.0.1/cb", false), ("http://127.0.0.1:51005/cb", false), ("http://127.0.0.1:51004/cb", true)]
    {
        let request = TokenRequest::authorization_code(&code).redirect_uri(uri).code_verifier(&verifier);
        assert_eq!(t.token_as(&app, request).await.is_ok(), works, "{uri}");
    }
}

// covers: NA-05 (RFC 8252 §8.3), AMB-21
#[tokio::test]
async fn localhost_redirect_of_native_app_can_be_disabled() {
    let on = TestServer::new();
    let app = native_client(&on, "native", "http://localhost/cb").await;
    for uri in ["http://localhost/cb", "http://localhost:51004/cb"] {
        drop(pending(&on, &Ask::code(&app).with("redirect_uri", uri)).await);
    }
    for uri in [
        "http://127.0.0.1/cb",
        "https://localhost/cb",
        "http://localhost.evil.example/cb",
        "http://localhost:80@evil.example/cb",
    ] {
        let answer = refused(&on, &Ask::code(&app).with("redirect_uri", uri)).await;
        assert_page(&answer, 400, "invalid_request", NOT_REGISTERED);
    }
    let off = TestServer::with_policy(|policy| policy.localhost_redirects = false);
    let app = native_client(&off, "native", "http://localhost/cb").await;
    for ask in [
        Ask::code(&app),
        Ask::code(&app).with("redirect_uri", "http://localhost:51004/cb"),
        Ask::code(&app).without("redirect_uri"),
        Ask::code(&app).with("scope", "nope"),
    ] {
        assert_page(&refused(&off, &ask).await, 400, "invalid_request", NOT_REGISTERED);
    }
    let by_address = native_client(&off, "by-address", "http://127.0.0.1/cb").await;
    drop(pending(&off, &Ask::code(&by_address)).await);
}

// covers: NA-05 (RFC 8252 §8.3), AMB-21
#[tokio::test]
async fn localhost_for_development_serves_every_client_type() {
    let t = TestServer::new();
    let off = TestServer::with_policy(|policy| policy.localhost_redirects = false);
    let secret = ClientSecret::new("x".repeat(43));
    for client in [Client::public("web"), Client::confidential("site", ClientCredential::secret(&secret))] {
        let client = client.authorization_code(["http://localhost:3000/cb"]).localhost_for_development();
        let client = client.scope("user:read").build().unwrap();
        let app = t.register(Ok(client.clone()), None).await;
        for uri in ["http://localhost:3000/cb", "http://localhost:5173/cb"] {
            let waiting = pending(&t, &Ask::code(&app).with("redirect_uri", uri)).await;
            assert_eq!(waiting.redirect_host(), uri["http://".len()..].strip_suffix("/cb"));
        }
        for uri in ["http://localhost:3000/", "http://localhost.evil.example:3000/cb", "http://app.example/cb"] {
            let answer = refused(&t, &Ask::code(&app).with("redirect_uri", uri)).await;
            assert_page(&answer, 400, "invalid_request", NOT_REGISTERED);
        }
        let app = off.register(Ok(client), None).await;
        assert_page(&refused(&off, &Ask::code(&app)).await, 400, "invalid_request", NOT_REGISTERED);
    }
}

// covers: NA-07 (RFC 8252 §7.1), B50
#[tokio::test]
async fn undotted_scheme_redirects_if_policy_lists_it() {
    let uri = "cursor://anysphere.cursor-mcp/cb?x=1";
    let client = || Client::native("editor").authorization_code([uri]).undotted_schemes().scope("user:read").build();
    let t = TestServer::with_policy(|policy| {
        policy.undotted_schemes.insert("cursor".to_owned());
    });
    let app = t.register(client(), None).await;
    let waiting = pending(&t, &Ask::code(&app)).await;
    assert_eq!(waiting.redirect_host(), Some("cursor"), "the text after the scheme is not a host");
    let answer = approved(&t, &Ask::code(&app)).await;
    let location = answer.header("location").unwrap();
    assert!(location.starts_with(&format!("{uri}&code=")), "{location}");
    for other in ["cursor://anysphere.cursor-mcp/cb", "cursor://anysphere.cursor-mcp:80/cb?x=1", "cursor:/cb?x=1"] {
        let answer = refused(&t, &Ask::code(&app).with("redirect_uri", other)).await;
        assert_page(&answer, 400, "invalid_request", NOT_REGISTERED);
    }
    let elsewhere = TestServer::with_policy(|policy| {
        policy.undotted_schemes.insert("vscode".to_owned());
    });
    for t in [TestServer::new(), elsewhere] {
        let app = t.register(client(), None).await;
        for ask in [Ask::code(&app), Ask::code(&app).without("redirect_uri"), Ask::code(&app).with("scope", "nope")] {
            assert_page(&refused(&t, &ask).await, 400, "invalid_request", NOT_REGISTERED);
        }
    }
}

// covers: NA-08 (RFC 8252 §7.1), B50
#[tokio::test]
async fn dotted_scheme_with_two_slashes_needs_both_switches() {
    let uri = "com.example.app://oauth2redirect";
    let client = || Client::native("app").authorization_code([uri]).scope("user:read");
    let error = client().build().unwrap_err();
    assert_eq!(error, ClientError::UndottedScheme(RedirectUri::parse(uri).unwrap()));
    let listed = TestServer::with_policy(|policy| {
        policy.undotted_schemes.insert("com.example.app".to_owned());
    });
    let app = listed.register(client().undotted_schemes().build(), None).await;
    assert_eq!(pending(&listed, &Ask::code(&app)).await.redirect_host(), Some("com.example.app"));
    let answer = approved(&listed, &Ask::code(&app)).await;
    assert!(answer.header("location").unwrap().starts_with(&format!("{uri}?code=")));
    let t = TestServer::new();
    let app = t.register(client().undotted_schemes().build(), None).await;
    assert_page(&refused(&t, &Ask::code(&app)).await, 400, "invalid_request", NOT_REGISTERED);
}

// covers: NA-06 (RFC 8252 §8.4), NA-10 (RFC 8252 §7.2, §8.4), AMB-21
#[tokio::test]
async fn native_apps_are_identified_by_their_registered_type() {
    let t = TestServer::new();
    let claimed = native_client(&t, "native", "https://app.example/cb").await;
    let web = t.public_client("https://app.example/cb").await;
    assert_eq!(pending(&t, &Ask::code(&claimed)).await.client().client_type(), ClientType::Native);
    assert_eq!(pending(&t, &Ask::code(&web)).await.client().client_type(), ClientType::Public);
    let errors = [
        ("com.example.app:/cb", ClientError::NativeRedirectUri as fn(_) -> _),
        ("http://localhost/cb", ClientError::LocalhostRedirectUri),
    ];
    for (uri, error) in errors {
        let error = error(RedirectUri::parse(uri).unwrap());
        let web = Client::public("web").authorization_code([uri]).build();
        assert_eq!(web.unwrap_err(), error);
        let credential = ClientCredential::secret(&ClientSecret::new("x".repeat(43)));
        let server = Client::confidential("server", credential).authorization_code([uri]).build();
        assert_eq!(server.unwrap_err(), error);
    }
}

// covers: NA-09 (RFC 8252 §8.2)
#[tokio::test]
async fn native_apps_have_no_implicit_grant() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let app = native_client(&t, "native", "https://app.example/cb").await;
    let answer = refused(&t, &Ask::token(&app)).await;
    let state = Some("af0ifjsldkj");
    crate::ask::assert_error_in_fragment(&answer, "https://app.example/cb", "unauthorized_client", state);

    let mut parts = crate::ask::client_of(&t, &app).await.parts().clone();
    parts.grant_types.insert(grantor::GrantType::new("implicit").unwrap());
    assert_eq!(Client::from_parts(parts).unwrap_err(), ClientError::ImplicitForNative);
}
