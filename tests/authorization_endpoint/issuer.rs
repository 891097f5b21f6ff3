//! `iss` in the authorization response (RFC 9207).

use grantor::testing::ISSUER;
use grantor::{AuthorizationServer, Client, ClientRegistry, MemoryStorage, Response};

use crate::ask::{Ask, CALLBACK, approved, by, consent, pending, refused};
use crate::common::{fragment_of, query_of};
use crate::source::TestServer;

// covers: IS-01 (RFC 9207 §2), IS-02 (RFC 9207 §2), IS-07 (RFC 9207 §2)
#[tokio::test]
async fn every_response_mode_names_the_issuer() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true);
    let client = Client::public("app").authorization_code([CALLBACK]).implicit([CALLBACK]).scope("user:read").build();
    let app = t.register(client, None).await;
    for (ask, in_query) in [
        (Ask::code(&app), true),
        (Ask::code(&app).with("response_mode", "fragment"), false),
        (Ask::token(&app), false),
        (Ask::code(&app).without("state"), true),
    ] {
        let nothing: Response = consent(&t, &ask).await.approve(by("alice").scope(["user:write"])).await.into();
        for answer in [
            approved(&t, &ask).await,
            pending(&t, &ask).await.deny().into(),
            refused(&t, &ask.clone().with("scope", "nope")).await,
            refused(&t, &ask.clone().twice("scope")).await,
            nothing,
        ] {
            let members = if in_query { query_of(&answer) } else { fragment_of(&answer) };
            assert_eq!(members["iss"], ISSUER);
        }
    }
}

// covers: IS-07 (RFC 9207 §2, §2.4)
#[tokio::test]
async fn iss_parameter_equals_the_configured_issuer() {
    for issuer in [
        "https://id.example",
        "https://id.example/",
        "https://ID.example:443/Tenant%2f1/",
        "https://id.example/a&b=c+d;e",
        "http://127.0.0.1:3000",
    ] {
        let storage = MemoryStorage::new();
        let client = Client::public("app").authorization_code([CALLBACK]).scope("user:read").build().unwrap();
        storage.register(client).await.unwrap();
        let server =
            AuthorizationServer::builder(issuer).storage(storage).scope("user:read", "Read").build().await.unwrap();
        let request = grantor::AuthorizationRequest::code("app").scope("user:read");
        let request = request.code_challenge_s256(crate::common::CHALLENGE);
        let Ok(waiting) = server.authorization_request(&request).await else { panic!("the request is valid") };
        assert_eq!(query_of(&waiting.deny().into())["iss"], server.issuer());
        assert_eq!(server.issuer(), issuer);
    }
}

// covers: IS-03 (RFC 9207 §2), TL-01 (RFC 6749 §3.1), TL-02 (RFC 6749 §3.2)
#[tokio::test]
async fn malformed_or_insecure_issuer_builds_no_server() {
    let build = |issuer: &str| {
        AuthorizationServer::builder(issuer).storage(MemoryStorage::new()).scope("user:read", "Read").build()
    };
    for good in
        ["https://id.example", "https://id.example:8443/a/b", "http://localhost:1", "http://[::1]", "http://127.0.0.1"]
    {
        assert!(build(good).await.is_ok(), "{good}");
    }
    for bad in [
        "http://id.example",
        "http://127.0.0.1.id.example",
        "http://127.0.0.2",
        "http://localhost.id.example",
        "HTTP://id.example",
        "https://id.example?x=1",
        "https://id.example?",
        "https://id.example#x",
        "https://id.example#",
        "https://user@id.example",
        "https://user:pass@id.example",
        "ftp://id.example",
        "id.example",
        "//id.example",
        "https://",
        "",
        "https://id.example/\"",
        "https://id.example/\u{e9}",
        "https://id.example/a b",
        "https://id.example\n",
    ] {
        let error = build(bad).await.expect_err(bad).to_string();
        assert!(error.contains("use an https URL"), "{error}");
    }
}
