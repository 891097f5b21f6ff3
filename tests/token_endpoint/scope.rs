//! Scope at the token endpoint (RFC 6749 §3.3).

use grantor::client::ClientBuilder;
use grantor::testing::TestServer;

use crate::common::token_as;
use crate::support::{access_token, confidential, granted, refused_for, spied};

fn machine(scope: &str) -> [(&'static str, &str); 2] {
    [("grant_type", "client_credentials"), ("scope", scope)]
}

// covers: SC-01 (RFC 6749 §3.3)
#[tokio::test]
async fn scope_order_and_repeats_do_not_matter() {
    let (t, app) = confidential().await;
    for scope in ["user:read user:write", "user:write user:read", "user:write user:read user:write"] {
        let body = granted(&t, &token_as(&app, &machine(scope))).await;
        assert_eq!(body["scope"], "user:read user:write");
    }
}

// covers: SC-02 (RFC 6749 App. A.4), TE-09 (RFC 6749 §5.2), SC-01 (RFC 6749 §3.3)
#[tokio::test]
async fn malformed_unknown_or_foreign_scope_is_refused_whole() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    for (scope, reason) in [
        (" ", "MalformedScope"),
        ("  ", "MalformedScope"),
        ("\tuser:read", "MalformedScope"),
        ("user:read\u{a0}", "MalformedScope"),
        (" user:read  user:write ", "ScopeNotAllowed"),
        ("user:read\tuser:write", "MalformedScope"),
        ("user:read\nuser:write", "MalformedScope"),
        ("user:\"read\"", "MalformedScope"),
        ("user:\\read", "MalformedScope"),
        ("us\u{eb}r:read", "MalformedScope"),
        ("user:read\0", "MalformedScope"),
        ("user:read,user:write", "UnknownScope"),
        ("USER:READ", "UnknownScope"),
        ("user:rea", "UnknownScope"),
        ("user:readd", "UnknownScope"),
        ("user:read unknown", "UnknownScope"),
        ("user:write", "ScopeNotAllowed"),
        ("user:read user:write", "ScopeNotAllowed"),
    ] {
        refused_for(&t, &token_as(&app, &machine(scope)), 400, "invalid_scope", reason).await;
    }
    assert!(spy.writes().is_empty());
}

// covers: SC-05 (RFC 6749 §3.3)
#[tokio::test]
async fn omitted_scope_is_client_or_server_default_or_error() {
    let bare = [("grant_type", "client_credentials")];
    for server_default in [None, Some("user:write")] {
        let t = TestServer::with(|builder| match server_default {
            Some(scope) => builder.default_scope(scope),
            None => builder,
        });
        for (client_default, expected) in [(Some("user:read"), Some("user:read")), (None, server_default)] {
            let app = t
                .confidential_client_with(|client| {
                    let client = client.client_credentials().scope("user:read user:write");
                    client_default.into_iter().fold(client, ClientBuilder::default_scope)
                })
                .await;
            let request = token_as(&app, &bare);
            match expected {
                Some(scope) => assert_eq!(granted(&t, &request).await["scope"], scope),
                None => drop(refused_for(&t, &request, 400, "invalid_scope", "NoDefaultScope").await),
            }
        }
    }
}

#[tokio::test]
async fn default_scope_never_exceeds_the_clients_scope() {
    let t = TestServer::with(|builder| builder.default_scope("user:read user:write"));
    let narrow = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    let bare = [("grant_type", "client_credentials")];
    assert_eq!(granted(&t, &token_as(&narrow, &bare)).await["scope"], "user:read");
    let other = t.confidential_client_with(|client| client.client_credentials().scope("offline_access")).await;
    refused_for(&t, &token_as(&other, &bare), 400, "invalid_scope", "NoDefaultScope").await;
}

// covers: SC-07 (RFC 6749 §10.3), SC-08 (RFC 9700 §2.3)
#[tokio::test]
async fn equal_scope_requests_get_what_each_client_may_have() {
    let t = TestServer::new();
    let reader = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    let writer = t.confidential_client_with(|client| client.client_credentials().scope("user:read user:write")).await;
    let both = machine("user:read user:write");
    refused_for(&t, &token_as(&reader, &both), 400, "invalid_scope", "ScopeNotAllowed").await;
    assert_eq!(granted(&t, &token_as(&writer, &both)).await["scope"], "user:read user:write");
    // A token has the requested scope, not the whole scope of its client.
    let narrow = granted(&t, &token_as(&writer, &machine("user:read"))).await;
    let bearer = t.bearer(&access_token(&narrow)).await.unwrap();
    assert_eq!(bearer.require("user:write").unwrap_err().code().unwrap(), "insufficient_scope");
}

// covers: MC-15 (MCP Step-Up Authorization Flow)
#[tokio::test]
async fn machine_gets_the_included_scopes_that_it_may_have() {
    let t = TestServer::with(|builder| builder.scope_includes("user:write", "user:read").default_scope("user:write"));
    let both = t.confidential_client_with(|client| client.client_credentials().own_scope("user:read user:write")).await;
    let one = t.confidential_client_with(|client| client.client_credentials().own_scope("user:write")).await;
    for (app, expected) in [(&both, "user:read user:write"), (&one, "user:write")] {
        let without_scope = [("grant_type", "client_credentials")];
        for pairs in [&machine("user:write")[..], &without_scope] {
            assert_eq!(granted(&t, &token_as(app, pairs)).await["scope"], expected);
        }
    }
}
