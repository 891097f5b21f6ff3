//! Extension grants of a host (RFC 6749 §4.5).

use std::net::IpAddr;

use async_trait::async_trait;
use grantor::client::ClientBuilder;
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::storage::GrantSelector;
use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{
    AccessToken, AuthorizationServer, BuildError, Clock, Error, ErrorCode, GrantType, MemoryStorage, Refusal, Request,
    Storage, StorageError, Subject,
};
use serde_json::{Value, json};
use time::Duration;

use crate::common::{self, basic, token, token_as};
use crate::support::{
    CB, access_token, assert_uncached_json, bad_client, bad_request, granted, lives, refresh, refused, refused_for,
    row, spied,
};

const VOUCHER: &str = "urn:example:grant:voucher";

/// Trades a voucher for tokens.
struct Voucher(GrantType);

impl Voucher {
    fn new() -> Self {
        Self(GrantType::new(VOUCHER).unwrap())
    }
}

#[async_trait]
impl GrantHandler for Voucher {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["example_voucher"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let voucher = context.params().require("example_voucher")?;
        let scope = context.scope()?;
        let order = OpenGrant::new(scope);
        match voucher {
            "ten-euros" => Ok(Decision::open(order.subject(Subject::new("bearer-of-voucher").unwrap()).refreshable())),
            "typed" => {
                Ok(Decision::open(order.refreshable().response(|members| members.token_type = Some("N_A".into()))))
            }
            "alone" => Ok(Decision::open(OpenGrant::new(context.own_scope()?))),
            "lower case" => Ok(Decision::open(order.response(|members| members.token_type = Some("bearer".into())))),
            "odd" => Ok(Decision::open(order.response(|members| {
                members.token_type = Some("N_A".into());
                members.access_token_lifetime = Some(Duration::minutes(5));
                members.extra.insert("issued_token_type".into(), "urn:example:token:odd".into());
                members.extra.insert("balance".into(), json!({"euros": 10}));
                // The server ignores these members.
                for standard in ["access_token", "token_type", "expires_in", "refresh_token", "scope"] {
                    members.extra.insert(standard.into(), "forged".into());
                }
            }))),
            "where from" => Ok(Decision::open(order.response(|members| {
                members.extra.insert("peer".into(), json!(context.peer()));
            }))),
            "momentary" => Ok(Decision::open(order.response(|members| {
                members.access_token_lifetime = Some(Duration::SECOND);
            }))),
            "instant" => Ok(Decision::open(order.response(|members| {
                members.access_token_lifetime = Some(Duration::milliseconds(999));
            }))),
            "storage fails" => Err(StorageError::new("the voucher database is gone").into()),
            "throttled" => Err(Error::Throttled { retry_after: Duration::seconds(7) }),
            "contract" => Err(Error::Misuse("the voucher service answered nonsense")),
            _ => {
                let code = ErrorCode::from_static("example_voucher_spent");
                Err(Error::refused(code, "the voucher was used before"))
            }
        }
    }
}

async fn server() -> (TestServer, TestClient) {
    let t = TestServer::with(|builder| builder.extension_grant(std::sync::Arc::new(Voucher::new())));
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token();
            let client = client.extension_grant(VOUCHER);
            client.scope("user:read user:write offline_access").default_scope("user:read")
        })
        .await;
    (t, app)
}

/// The introspection response about a token.
async fn introspected(t: &TestServer, caller: &TestClient, token: &AccessToken) -> Value {
    let header = basic(&caller.id, caller.secret.as_ref().unwrap().expose());
    let request = Request::post_form("/introspect", common::form(&[("token", token.expose())]));
    let response = t.server.introspect(&request.with_header("authorization", header)).await;
    assert_eq!(response.status(), 200, "{}", common::text(&response));
    common::json(&response)
}

fn voucher(value: &str) -> [(&'static str, &str); 2] {
    [("grant_type", VOUCHER), ("example_voucher", value)]
}

// covers: GX-01 (RFC 6749 §4.5)
#[tokio::test]
async fn extension_grant_issues_refreshable_tokens() {
    let (t, app) = server().await;
    let body = granted(&t, &token_as(&app, &voucher("ten-euros"))).await;
    assert_eq!((&body["scope"], &body["expires_in"]), (&json!("user:read"), &json!(3600)));
    let access = t.bearer(&access_token(&body)).await.unwrap().require("user:read").unwrap();
    assert_eq!(access.user().unwrap().as_str(), "bearer-of-voucher");
    let (_, grant) = row(&t, access_token(&body).hash()).await;
    assert_eq!(grant.grant_type.as_str(), VOUCHER);
    let refreshed = granted(&t, &refresh(&app, body["refresh_token"].as_str().unwrap())).await;
    assert!(lives(&t, &access_token(&refreshed)).await);
    t.storage.revoke_grants(&GrantSelector::Id(grant.id), t.clock.now()).await.unwrap();
    assert!(!lives(&t, &access_token(&refreshed)).await);
    let issued = t.events.events().into_iter().find(|event| event.name == "tokens_issued").unwrap();
    assert!(issued.text.contains(VOUCHER), "{}", issued.text);
}

// covers: GX-01 (RFC 6749 §8.1), TK-12 (RFC 6749 §5.1)
#[tokio::test]
async fn extension_sets_type_and_lifetime_but_no_standard_member() {
    let (t, app) = server().await;
    let response = t.server.token(&token_as(&app, &voucher("odd"))).await;
    assert_eq!(response.status(), 200);
    assert_uncached_json(&response);
    let body: Value = common::json(&response);
    assert_eq!(body["token_type"], "N_A");
    assert_eq!(body["expires_in"], 300);
    assert_eq!(body["issued_token_type"], "urn:example:token:odd");
    assert_eq!(body["balance"], json!({"euros": 10}));
    assert_eq!(body["scope"], "user:read");
    assert!(body.get("refresh_token").is_none());
    let text = common::text(&response);
    assert!(!text.contains("forged"), "{text}");
    for member in ["access_token", "token_type", "expires_in", "scope"] {
        assert_eq!(text.matches(&format!("\"{member}\"")).count(), 1, "{member} occurs once in {text}");
    }
    t.clock.advance(Duration::minutes(5) - Duration::microseconds(1));
    assert_eq!(introspected(&t, &app, &access_token(&body)).await["active"], true);
    t.clock.advance(Duration::microseconds(1));
    assert_eq!(introspected(&t, &app, &access_token(&body)).await, json!({"active": false}));
}

#[tokio::test]
async fn token_type_survives_refresh_and_repeat() {
    let (t, app) = server().await;
    let opened = common::json(&t.server.token(&token_as(&app, &voucher("typed"))).await);
    assert_eq!(opened["token_type"], "N_A");
    let request = refresh(&app, opened["refresh_token"].as_str().unwrap());
    let refreshed = common::json(&t.server.token(&request).await);
    let repeated = common::json(&t.server.token(&request).await);
    assert_eq!((&refreshed["token_type"], &repeated["token_type"]), (&json!("N_A"), &json!("N_A")));
    assert_eq!(repeated["access_token"], refreshed["access_token"]);
}

// covers: IN-18 (RFC 7662 §2.2)
#[tokio::test]
async fn non_bearer_token_is_introspected_but_not_accepted() {
    let (t, app) = server().await;
    let api = t.confidential_client_with(ClientBuilder::resource_server).await;
    let opened = common::json(&t.server.token(&token_as(&app, &voucher("typed"))).await);
    let refreshed = t.server.token(&refresh(&app, opened["refresh_token"].as_str().unwrap())).await;
    let refreshed = common::json(&refreshed);
    for token in [access_token(&opened), access_token(&refreshed)] {
        for caller in [&app, &api] {
            let told = introspected(&t, caller, &token).await;
            assert_eq!((&told["active"], &told["token_type"]), (&json!(true), &json!("N_A")));
        }
        let (_, grant) = row(&t, token.hash()).await;
        let header = format!("Bearer {}", token.expose());
        for refused in
            [t.bearer(&token).await, t.server.bearer(&Request::get("/api").with_header("authorization", header)).await]
        {
            let error = refused.unwrap_err();
            assert_eq!((error.status(), error.code().unwrap()), (401, ErrorCode::INVALID_TOKEN));
            let description = "the access token is not of the type Bearer";
            let challenge =
                format!("Bearer realm=\"{ISSUER}\", error=\"invalid_token\", error_description=\"{description}\"");
            assert_eq!(error.to_response().header("www-authenticate"), Some(&*challenge));
            let last = t.events.events().pop().unwrap();
            assert!(last.name == "bearer_refused" && last.text.contains(&grant.id.to_string()), "{}", last.text);
        }
    }
    // RFC 6749 §5.1: the type name is case insensitive.
    let spelled = common::json(&t.server.token(&token_as(&app, &voucher("lower case"))).await);
    assert_eq!(spelled["token_type"], "bearer");
    assert!(lives(&t, &access_token(&spelled)).await);
    assert_eq!(introspected(&t, &api, &access_token(&spelled)).await["token_type"], "bearer");
}

// covers: GX-03 (RFC 6749 §8.5), GX-01 (RFC 6749 §4.5)
#[tokio::test]
async fn extension_refusal_has_its_own_code_in_standard_shape() {
    let (t, app) = server().await;
    let response = refused(&t, &token_as(&app, &voucher("used-voucher")), 400, "example_voucher_spent").await;
    assert_eq!(common::json(&response)["error_description"], "the voucher was used before");
    assert_eq!(t.events.names(), ["token_refused"]);
}

#[tokio::test]
async fn failing_extension_is_a_host_failure() {
    let (t, app) = server().await;
    for (value, status, error) in [
        ("storage fails", 500, "server_error"),
        ("contract", 500, "server_error"),
        ("instant", 500, "server_error"),
        ("throttled", 429, "temporarily_unavailable"),
    ] {
        let response = refused(&t, &token_as(&app, &voucher(value)), status, error).await;
        assert!(!common::text(&response).contains("voucher"), "the cause is for the observer only");
    }
}

#[tokio::test]
async fn extension_sees_peer_and_may_issue_for_one_second() {
    let (t, app) = server().await;
    let peer: IpAddr = "192.0.2.7".parse().unwrap();
    let here = t.server.token(&token_as(&app, &voucher("where from")).with_peer(peer)).await;
    assert_eq!(common::json(&here)["peer"], "192.0.2.7");
    let nowhere = t.server.token(&token_as(&app, &voucher("where from"))).await;
    assert_eq!(common::json(&nowhere)["peer"], Value::Null);
    let momentary = t.server.token(&token_as(&app, &voucher("momentary"))).await;
    assert_eq!((momentary.status(), &common::json(&momentary)["expires_in"]), (200, &json!(1)));
}

// covers: GX-04 (RFC 6749 §5.2), AMB-18, TE-07 (RFC 6749 §5.2)
#[tokio::test]
async fn client_needs_registration_for_each_extension_grant() {
    let (t, _) = server().await;
    let other = t
        .confidential_client_with(|client| {
            client.extension_grant("https://example.com/grants/other").scope("user:read")
        })
        .await;
    for client in [t.confidential_client(CB).await, t.public_client(CB).await, other] {
        let request = token_as(&client, &voucher("ten-euros"));
        refused_for(&t, &request, 400, "unauthorized_client", "GrantTypeNotAllowed").await;
    }
    assert_eq!(t.events.count("tokens_issued"), 0);
}

// covers: CA-01 (RFC 6749 §3.2.1), CA-02 (RFC 7523 §3.1)
#[tokio::test]
async fn extension_grant_client_authenticates_as_usual() {
    let (t, app) = server().await;
    let named = [&voucher("ten-euros")[..], &[("client_id", app.id.as_str())]].concat();
    bad_client(&t, &token(&named), "MissingClientAuthentication").await;
    let wrong = token(&voucher("ten-euros")).with_header("authorization", basic(&app.id, "not-the-secret"));
    bad_client(&t, &wrong, "ClientAuthenticationFailed").await;
}

// covers: PP-04 (OAuth 2.1 §3.2), PP-01 (RFC 6749 §3.2), B37
#[tokio::test]
async fn parameters_of_an_extension_follow_the_common_rules() {
    let (t, app) = server().await;
    let twice = [&voucher("ten-euros")[..], &[("example_voucher", "ten-euros")]].concat();
    let reason = "RepeatedParameter(\"example_voucher\")";
    bad_request(&t, &token_as(&app, &twice), reason).await;
    // Also in a request of another grant type: this server knows the parameter.
    let elsewhere = [("grant_type", "refresh_token"), ("example_voucher", "a"), ("example_voucher", "b")];
    bad_request(&t, &token_as(&app, &elsewhere), reason).await;
    for empty in [&voucher("")[..], &[("grant_type", VOUCHER)]] {
        let reason = "MissingParameter(\"example_voucher\")";
        bad_request(&t, &token_as(&app, empty), reason).await;
    }
    let in_query = Request::post_form("/token?example_voucher=ten-euros", common::form(&[("grant_type", VOUCHER)]));
    bad_request(&t, &in_query, "ParameterInQuery(\"example_voucher\")").await;
    let beyond = [&voucher("ten-euros")[..], &[("scope", "user:read nonsense")]].concat();
    refused_for(&t, &token_as(&app, &beyond), 400, "invalid_scope", "UnknownScope").await;
    // A server without the extension knows neither the grant type nor its parameter.
    let (plain, _) = spied(|_| {}).await;
    let other = plain.confidential_client_with(|client| client.extension_grant(VOUCHER).scope("user:read")).await;
    refused_for(&plain, &token_as(&other, &twice), 400, "unsupported_grant_type", "UnsupportedGrantType").await;
}

// covers: GX-02 (RFC 6749 §8.2), GX-01 (RFC 6749 §4.5)
#[tokio::test]
async fn extension_grant_with_bad_or_taken_names_does_not_build() {
    struct IllNamed(GrantType, &'static [&'static str]);
    #[async_trait]
    impl GrantHandler for IllNamed {
        fn grant_type(&self) -> &GrantType {
            &self.0
        }
        fn parameters(&self) -> &'static [&'static str] {
            self.1
        }
        async fn decide(&self, _: &GrantContext<'_>) -> Result<Decision, Error> {
            Err(Refusal::UnknownToken.into())
        }
    }
    let build = |grant_type: &str, parameters| {
        let handler = IllNamed(GrantType::new(grant_type).unwrap(), parameters);
        AuthorizationServer::builder(ISSUER)
            .storage(MemoryStorage::new())
            .scope("a", "A")
            .extension_grant(handler)
            .build()
    };
    assert!(build(VOUCHER, &["example_voucher", "x-1.b"]).await.is_ok());
    for parameters in [&[""][..], &["a b"], &["voucher&"], &["caf\u{e9}"], &["fine", "not=fine"], &["a[]"]] {
        assert!(matches!(build(VOUCHER, parameters).await, Err(BuildError::ParameterName(_))), "{parameters:?}");
    }
    for built_in in ["authorization_code", "refresh_token", "password", "implicit", "client_credentials"] {
        assert!(matches!(build(built_in, &[]).await, Err(BuildError::Extension(_))), "{built_in}");
    }
    let twice = AuthorizationServer::builder(ISSUER).storage(MemoryStorage::new()).scope("a", "A");
    assert!(matches!(
        twice.extension_grant(Voucher::new()).extension_grant(Voucher::new()).build().await,
        Err(BuildError::Extension(_))
    ));
}

#[tokio::test]
async fn extension_grant_can_use_the_clients_own_scope() {
    let t = TestServer::with(|builder| builder.extension_grant(Voucher::new()));
    let app = t
        .confidential_client_with(|client| {
            client.extension_grant(VOUCHER).scope("user:read user:write").own_scope("user:write")
        })
        .await;
    let ask =
        |voucher, scope| token_as(&app, &[("grant_type", VOUCHER), ("example_voucher", voucher), ("scope", scope)]);
    granted(&t, &ask("ten-euros", "user:read")).await;
    assert_eq!(granted(&t, &ask("alone", "user:write")).await["scope"], "user:write");
    refused_for(&t, &ask("alone", "user:read"), 400, "invalid_scope", "ScopeNotAllowed").await;
}
