//! The client credentials grant (RFC 6749 §4.4): a machine acts for itself.

use grantor::client::{ClientBuilder, ClientError, ClientParts, ClientType, RegisteredBy, SetBy};
use grantor::testing::TestServer;
use grantor::{
    Client, ClientCredential, ClientId, ClientRegistry, ClientSecret, ClientStore, GrantType, Policy, Request, Scope,
};

use crate::common::{basic, form, json, token, token_as};
use crate::support::{CB, access_token, bad_client, confidential, granted, public, refused_for, row};

const MACHINE: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "user:read")];

// covers: GK-03 (RFC 6749 §4.4.3), TK-04 (RFC 6749 §5.1)
#[tokio::test]
async fn client_credentials_never_issue_a_refresh_token() {
    let (t, app) = confidential().await;
    for scope in ["user:read", "user:read offline_access"] {
        let body = granted(&t, &token_as(&app, &[("grant_type", "client_credentials"), ("scope", scope)])).await;
        assert!(body.get("refresh_token").is_none(), "{body}");
    }
}

// covers: GK-06 (RFC 9700 §4.15.1)
#[tokio::test]
async fn machine_token_is_never_a_user_token_despite_its_name() {
    let t = TestServer::new();
    let secret = ClientSecret::generate(&t.entropy).unwrap();
    let client = Client::confidential("alice", ClientCredential::secret(&secret)).client_credentials();
    let app = t.register(client.scope("user:read").build(), Some(secret)).await;
    let body = granted(&t, &token_as(&app, &MACHINE)).await;
    let access = t.bearer(&access_token(&body)).await.unwrap().require("user:read").unwrap();
    assert!(access.subject().is_none());
    assert_eq!(access.client_id().as_str(), "alice");
    assert_eq!(access.user().unwrap_err().status(), 403);
    let (_, grant) = row(&t, access_token(&body).hash()).await;
    assert_eq!((grant.subject.as_ref(), grant.grant_type.as_str()), (None, "client_credentials"));
}

// covers: GK-01 (RFC 6749 §4.4), AMB-18
#[tokio::test]
async fn public_client_cannot_use_client_credentials() {
    let (t, app) = public().await;
    refused_for(&t, &token_as(&app, &MACHINE), 400, "unauthorized_client", "GrantTypeNotAllowed").await;
    let mut parts = t.storage.find_client(&app.id).await.unwrap().unwrap().parts().clone();
    parts.grant_types.insert(GrantType::new("client_credentials").unwrap());
    assert_eq!(Client::from_parts(parts).unwrap_err(), ClientError::ClientCredentialsForPublic);
}

// covers: GK-02 (RFC 6749 §4.4.2)
#[tokio::test]
async fn client_must_authenticate() {
    let (t, app) = confidential().await;
    let named = token(&[&MACHINE[..], &[("client_id", app.id.as_str())]].concat());
    bad_client(&t, &named, "MissingClientAuthentication").await;
    bad_client(&t, &token(&MACHINE), "MissingClientAuthentication").await;
}

// covers: GK-04 (RFC 6749 §4.4.2), SC-05 (RFC 6749 §3.3), TK-07 (RFC 6749 §5.1)
#[tokio::test]
async fn omitted_scope_is_the_client_default_or_refused() {
    let bare = [("grant_type", "client_credentials")];
    let t = TestServer::new();
    let without = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    let with = t
        .confidential_client_with(|client| {
            client.client_credentials().scope("user:read user:write").default_scope("user:read")
        })
        .await;
    refused_for(&t, &token_as(&without, &bare), 400, "invalid_scope", "NoDefaultScope").await;
    assert_eq!(granted(&t, &token_as(&with, &bare)).await["scope"], "user:read");

    let t = TestServer::with(|builder| builder.default_scope("user:read"));
    let plain = t.confidential_client_with(ClientBuilder::client_credentials).await;
    assert_eq!(granted(&t, &token_as(&plain, &bare)).await["scope"], "user:read");
    let beyond = [("grant_type", "client_credentials"), ("scope", "user:write")];
    refused_for(&t, &token_as(&plain, &beyond), 400, "invalid_scope", "ScopeNotAllowed").await;
}

// covers: GK-04 (RFC 6749 §3.3)
#[tokio::test]
async fn scope_beyond_the_client_is_refused_not_reduced() {
    let t = TestServer::new();
    let app = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    for (scope, reason) in [
        ("user:write", "ScopeNotAllowed"),
        ("user:read user:write", "ScopeNotAllowed"),
        ("user:read nonsense", "UnknownScope"),
    ] {
        let request = token_as(&app, &[("grant_type", "client_credentials"), ("scope", scope)]);
        refused_for(&t, &request, 400, "invalid_scope", reason).await;
    }
}

/// The scope that users can consent to and the scope that the client has for itself are two lists.
// covers: GK-04 (RFC 6749 §3.3)
#[tokio::test]
async fn own_scope_of_a_client_is_separate_from_user_scope() {
    let t = TestServer::new();
    let users = |client: ClientBuilder| client.authorization_code([CB]).refresh_token().client_credentials();
    let app = t
        .confidential_client_with(|client| {
            users(client).scope("user:read").own_scope("user:write").default_scope("user:read user:write")
        })
        .await;
    let asked = |scope| token_as(&app, &[("grant_type", "client_credentials"), ("scope", scope)]);
    assert_eq!(granted(&t, &asked("user:write")).await["scope"], "user:write");
    for beyond in ["user:read", "user:read user:write", "offline_access"] {
        refused_for(&t, &asked(beyond), 400, "invalid_scope", "ScopeNotAllowed").await;
    }
    refused_for(&t, &asked("nonsense"), 400, "invalid_scope", "UnknownScope").await;
    // Each list limits the default scope.
    let bare = granted(&t, &token_as(&app, &[("grant_type", "client_credentials")])).await;
    assert_eq!(bare["scope"], "user:write");
    let of_user = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    assert_eq!(of_user.scope.as_str(), "user:read");
    // The list of own scopes changes neither a refresh nor introspection, which use the scope of the grant or token.
    let refresh = of_user.refresh_token.as_ref().unwrap();
    let refreshed = t.refresh(&app, refresh).await.unwrap();
    assert_eq!(refreshed.scope.as_str(), "user:read");
    let mut parts = t.storage.find_client(&app.id).await.unwrap().unwrap().parts().clone();
    let version = Client::from_parts(parts.clone()).unwrap().version();
    (parts.own_scope, parts.default_scope) = (Some(Scope::parse("offline_access").unwrap()), None);
    t.storage.update(Client::from_parts(parts).unwrap(), version).await.unwrap();
    t.refresh(&app, refreshed.refresh_token.as_ref().unwrap()).await.unwrap();
    let live = access_token(&bare);
    assert!(t.bearer(&live).await.unwrap().require("user:write").is_ok());
    let header = basic(&app.id, app.secret.as_ref().unwrap().expose());
    let request =
        Request::post_form("/introspect", form(&[("token", live.expose())])).with_header("authorization", header);
    let introspected = t.server.introspect(&request).await;
    assert_eq!(json(&introspected)["scope"], "user:write");
    refused_for(&t, &asked("user:write"), 400, "invalid_scope", "ScopeNotAllowed").await;
}

// covers: GK-04 (RFC 6749 §3.3), GK-07 (OAuth 2.1 §2.1), CA-31 (OAuth 2.1 §2.4)
#[tokio::test]
async fn self_registered_client_needs_an_explicit_own_scope() {
    let bare = [("grant_type", "client_credentials")];
    let t = TestServer::with(|builder| {
        let mut policy = Policy::default();
        policy.self_service_scope = Some(Scope::parse("user:read").unwrap());
        builder.default_scope("user:read").policy(policy)
    });
    let register = async |change: fn(ClientBuilder) -> ClientBuilder| {
        let own = |client: ClientBuilder| change(client.client_credentials().registered_by(RegisteredBy::SelfService));
        t.confidential_client_with(own).await
    };
    for app in [
        register(|client| client).await,
        register(|client| client.scope("user:read user:write")).await,
        register(ClientBuilder::all_offered_scopes).await,
    ] {
        refused_for(&t, &token_as(&app, &MACHINE), 400, "invalid_scope", "ScopeNotAllowed").await;
        refused_for(&t, &token_as(&app, &bare), 400, "invalid_scope", "NoDefaultScope").await;
    }
    let app = register(|client| client.own_scope("user:read")).await;
    assert_eq!(granted(&t, &token_as(&app, &MACHINE)).await["scope"], "user:read");
    // No user consents here, so `all_offered_scopes` gives a client of an administrator only the default scope.
    let app = t.confidential_client_with(|client| client.client_credentials().all_offered_scopes()).await;
    assert_eq!(granted(&t, &token_as(&app, &MACHINE)).await["scope"], "user:read");
    let beyond = [("grant_type", "client_credentials"), ("scope", "user:write")];
    refused_for(&t, &token_as(&app, &beyond), 400, "invalid_scope", "ScopeNotAllowed").await;
}

/// A registration without a known registrar is not trusted.
// covers: GK-04 (RFC 6749 §3.3), CA-31 (OAuth 2.1 §2.4)
#[tokio::test]
async fn registration_without_origin_has_no_own_scope() {
    assert_eq!(RegisteredBy::default(), RegisteredBy::SelfService);
    let secret = ClientSecret::new("a-secret");
    let posted = serde_json::json!({ "grant_types": ["client_credentials"], "scope": "user:read" });
    let members =
        |parts: &mut ClientParts, by| parts.set_members(&mut posted.as_object().unwrap().clone(), by).unwrap();
    let new = || ClientParts::new(ClientId::new("app").unwrap(), ClientType::Confidential);
    let (mut by_anyone, mut by_host) = (new(), new());
    members(&mut by_anyone, SetBy::Anyone);
    members(&mut by_host, SetBy::Host);
    let mut read = posted.clone();
    read["client_id"] = "app".into();
    read["client_type"] = "confidential".into();
    let (strict, stored) =
        (serde_json::from_value(read.clone()).unwrap(), ClientParts::from_stored(&read.to_string()).unwrap());
    for mut parts in [by_anyone, by_host, strict, stored] {
        assert_eq!(parts.registered_by, RegisteredBy::SelfService);
        parts.credentials = vec![ClientCredential::secret(&secret)];
        let t = TestServer::new();
        let app = t.register(Client::from_parts(parts.clone()), Some(ClientSecret::new(secret.expose()))).await;
        refused_for(&t, &token_as(&app, &MACHINE), 400, "invalid_scope", "ScopeNotAllowed").await;

        parts.registered_by = RegisteredBy::Administrator;
        let t = TestServer::new();
        // Storing keeps the registrar.
        let parts = ClientParts::from_stored(&serde_json::to_string(&parts).unwrap()).unwrap();
        let app = t.register(Client::from_parts(parts), Some(ClientSecret::new(secret.expose()))).await;
        assert_eq!(granted(&t, &token_as(&app, &MACHINE)).await["scope"], "user:read");
    }
    // A client built in the program is registered by the administrator.
    let built = Client::confidential("app", ClientCredential::secret(&secret)).client_credentials().build().unwrap();
    assert_eq!(built.registered_by(), RegisteredBy::Administrator);
}

// covers: GK-05 (RFC 6749 §5.2), AMB-18, TE-07 (RFC 6749 §5.2)
#[tokio::test]
async fn client_without_the_grant_type_is_refused() {
    let t = TestServer::new();
    let app = t.confidential_client_with(|client| client.authorization_code([CB]).scope("user:read")).await;
    refused_for(&t, &token_as(&app, &MACHINE), 400, "unauthorized_client", "GrantTypeNotAllowed").await;
}
