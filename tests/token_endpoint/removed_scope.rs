//! Scope that a client or the server lost after a user had granted it: no later token has it.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::customizer::{Issuance, TokenChanges, TokenCustomizer};
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::lint::ClientLint;
use grantor::policy::RefreshTokens;
use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{
    AccessToken, AuthorizationServer, Builder, ClientStore, Error, GrantType, Policy, Request, Scope, Subject,
};
use time::Duration;

use crate::common::token_as;
use crate::support::{
    CB, access_token, bad_grant, change_client, granted, redemption, refresh, refresh_of, refused_for, row, spied,
    tokens_of,
};

const DERIVING: &str = "urn:example:grant:deriving";

/// Gives a robot the scope of the grant of `subject_token`, in a grant that is derived from it or, with `apart`,
/// independent.
struct Deriving(GrantType);

#[async_trait]
impl GrantHandler for Deriving {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["subject_token", "apart"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let token = AccessToken::new(context.params().require("subject_token")?);
        let live = context.find(token).await?.must_be_live(context.now())?;
        let order = OpenGrant::new(live.grant().scope.clone()).subject(Subject::new("robot").expect("a subject"));
        let apart = context.params().get("apart")?.is_some();
        Ok(Decision::open(if apart { order.refreshable() } else { order.child_of(live).refreshable() }))
    }
}

/// A server over the records of `t` that offers these scopes.
async fn offering(t: &TestServer, scopes: &[&str], change: impl FnOnce(Builder) -> Builder) -> AuthorizationServer {
    let builder = AuthorizationServer::builder(ISSUER)
        .storage(t.storage.clone())
        .clock(t.clock.clone())
        .entropy(t.entropy.clone())
        .observer(t.events.clone())
        .extension_grant(Deriving(GrantType::new(DERIVING).unwrap()));
    let builder = scopes.iter().fold(builder, |builder, scope| builder.scope(*scope, "A scope"));
    change(builder).build().await.expect("the settings are valid")
}

const ALL: [&str; 3] = ["user:read", "user:write", "offline_access"];

fn scope(text: &str) -> Scope {
    Scope::parse(text).unwrap()
}

/// Restricts a client's scope to `left` from now on.
async fn leave(t: &TestServer, app: &TestClient, left: &str) {
    change_client(t, app, |parts| parts.scope = Some(scope(left))).await;
}

fn refresh_with_scope(app: &TestClient, token: &str, scope: &str) -> Request {
    token_as(app, &[("grant_type", "refresh_token"), ("refresh_token", token), ("scope", scope)])
}

fn text_of<'a>(body: &'a serde_json::Value, name: &str) -> &'a str {
    body[name].as_str().expect("a text")
}

// covers: B51
#[tokio::test]
async fn refresh_drops_scope_the_client_lost() {
    let (t, _) = spied(|_| {}).await;
    for app in [t.public_client(CB).await, t.confidential_client(CB).await] {
        let first = tokens_of(&t, &app).await;
        leave(&t, &app, "user:read offline_access").await;
        let second = granted(&t, &refresh(&app, refresh_of(&first).expose())).await;
        assert_eq!(second["scope"], "offline_access user:read");
        let (stored, grant) = row(&t, access_token(&second).hash()).await;
        assert_eq!(stored.scope.as_str(), "offline_access user:read");
        // The page of connected applications shows the scope that the user granted.
        assert_eq!(grant.scope.as_str(), "offline_access user:read user:write");
        let connected = t.connections(&Subject::new("alice").unwrap()).await.unwrap().applications;
        let of_app = connected.iter().find(|one| *one.client_id.as_str() == *app.id).expect("a connection");
        assert_eq!(of_app.scope.as_str(), "offline_access user:read user:write");
        // The requested scope is cut in the same way.
        let asked = refresh_with_scope(&app, text_of(&second, "refresh_token"), "user:read user:write");
        let third = granted(&t, &asked).await;
        assert_eq!(third["scope"], "user:read");
        // A scope that the client gets back is issued again.
        leave(&t, &app, "user:read user:write offline_access").await;
        let fourth = granted(&t, &refresh(&app, text_of(&third, "refresh_token"))).await;
        assert_eq!(fourth["scope"], "offline_access user:read user:write");
    }
}

// covers: B51
#[tokio::test]
async fn refresh_drops_scope_the_server_no_longer_offers() {
    let mut t = TestServer::new();
    let app = t.public_client(CB).await;
    let first = tokens_of(&t, &app).await;
    t.server = offering(&t, &["user:read", "offline_access"], |builder| builder).await;
    let second = granted(&t, &refresh(&app, refresh_of(&first).expose())).await;
    assert_eq!(second["scope"], "offline_access user:read");
    t.server = offering(&t, &ALL, |builder| builder).await;
    let third = granted(&t, &refresh(&app, text_of(&second, "refresh_token"))).await;
    assert_eq!(third["scope"], "offline_access user:read user:write");
}

// covers: B51
#[tokio::test]
async fn refresh_with_no_scope_left_is_refused_and_spends_nothing() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    let [first, used] = [tokens_of(&t, &app).await, tokens_of(&t, &app).await];
    granted(&t, &refresh(&app, refresh_of(&used).expose())).await;
    leave(&t, &app, "user:read").await;
    spy.writes();
    // First the client loses the requested scope, then its whole scope. The answer is the same for a spent and an
    // unspent token.
    for token in [&first, &used].map(|tokens| refresh_of(tokens).expose()) {
        bad_grant(&t, &refresh_with_scope(&app, token, "user:write"), "NoScopeLeft").await;
    }
    change_client(&t, &app, |parts| (parts.scope, parts.default_scope) = (Some(scope("other")), None)).await;
    for token in [&first, &used].map(|tokens| refresh_of(tokens).expose()) {
        bad_grant(&t, &refresh(&app, token), "NoScopeLeft").await;
    }
    assert!(spy.writes().is_empty());
    // Reuse after the grace window still counts as theft.
    t.clock.advance(Duration::seconds(30));
    bad_grant(&t, &refresh(&app, refresh_of(&used).expose()), "RefreshTokenReused").await;
    assert_eq!(spy.writes(), ["revoke_grants"]);
    leave(&t, &app, "user:read user:write offline_access").await;
    granted(&t, &refresh(&app, refresh_of(&first).expose())).await;
}

// covers: B51
#[tokio::test]
async fn redemption_drops_scope_lost_since_the_approval() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    let approved = t.authorize(&app).scope("user:read user:write").approve_as("alice").await;
    let nothing_left = t.authorize(&app).scope("user:write").approve_as("alice").await;
    leave(&t, &app, "user:read offline_access").await;
    let body = granted(&t, &token_as(&app, &redemption(&approved, &app))).await;
    assert_eq!(body["scope"], "user:read");
    spy.writes();
    bad_grant(&t, &token_as(&app, &redemption(&nothing_left, &app)), "NoScopeLeft").await;
    assert!(spy.writes().is_empty());
    leave(&t, &app, "user:write").await;
    assert_eq!(granted(&t, &token_as(&app, &redemption(&nothing_left, &app))).await["scope"], "user:write");
}

// covers: B51
#[tokio::test]
async fn repeat_does_not_return_a_removed_scope() {
    let (t, spy) = spied(|_| {}).await;
    let app = t.public_client(CB).await;
    let first = tokens_of(&t, &app).await;
    let old = refresh_of(&first).expose();
    let answer = granted(&t, &refresh(&app, old)).await;
    leave(&t, &app, "user:read offline_access").await;
    spy.writes();
    bad_grant(&t, &refresh(&app, old), "RetryRefused").await;
    assert!(spy.writes().is_empty());
    // A scope that the client gets back does not change a repeated answer.
    leave(&t, &app, "user:read user:write offline_access").await;
    assert_eq!(granted(&t, &refresh(&app, old)).await["access_token"], answer["access_token"]);

    let narrowed = tokens_of(&t, &app).await;
    leave(&t, &app, "user:read offline_access").await;
    let answer = granted(&t, &refresh(&app, refresh_of(&narrowed).expose())).await;
    leave(&t, &app, "user:read user:write offline_access").await;
    let again = granted(&t, &refresh(&app, refresh_of(&narrowed).expose())).await;
    assert_eq!(
        (&again["access_token"], &again["scope"]),
        (&answer["access_token"], &"offline_access user:read".into())
    );
}

// covers: B51
#[tokio::test]
async fn self_service_policy_cuts_scope_granted_before() {
    let mut t = TestServer::new();
    let app = t.public_client_with(|client| {
        let client = client.authorization_code([CB]).refresh_token().scope("user:read user:write offline_access");
        client.registered_by(grantor::client::RegisteredBy::SelfService)
    });
    let app = app.await;
    let first = tokens_of(&t, &app).await;
    let mut policy = Policy::default();
    policy.self_service_scope = Some(scope("user:read"));
    t.server = offering(&t, &ALL, |builder| builder.policy(policy)).await;
    assert_eq!(granted(&t, &refresh(&app, refresh_of(&first).expose())).await["scope"], "user:read");
}

// covers: B51
#[tokio::test]
async fn refresh_without_offline_access_issues_no_refresh_token() {
    let (t, _) = spied(|policy| policy.refresh_tokens = RefreshTokens::OfflineAccess).await;
    let app = t.public_client(CB).await;
    let first = tokens_of(&t, &app).await;
    leave(&t, &app, "user:read user:write").await;
    let last = granted(&t, &refresh(&app, refresh_of(&first).expose())).await;
    assert_eq!((&last["scope"], last.get("refresh_token")), (&"user:read user:write".into(), None));
}

// covers: B51
#[tokio::test]
async fn extension_grant_may_use_either_scope_list() {
    let mut t = TestServer::new();
    t.server = offering(&t, &ALL, |builder| builder).await;
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().extension_grant(DERIVING);
            client.scope("user:read user:write offline_access")
        })
        .await;
    let parent = tokens_of(&t, &app).await;
    let derive = |more: &[(&'static str, &str)]| {
        let pairs = [("grant_type", DERIVING), ("subject_token", parent.access_token.expose())];
        token_as(&app, &[&pairs[..], more].concat())
    };
    let apart = granted(&t, &derive(&[("apart", "1")])).await;
    change_client(&t, &app, |parts| {
        (parts.scope, parts.own_scope) = (Some(scope("user:read")), Some(scope("offline_access")));
    })
    .await;
    let child = granted(&t, &derive(&[])).await;
    assert_eq!(child["scope"], "offline_access user:read");
    let next = granted(&t, &refresh(&app, text_of(&apart, "refresh_token"))).await;
    assert_eq!(next["scope"], "offline_access user:read");

    t.server = offering(&t, &["user:write", "offline_access"], |builder| builder).await;
    assert_eq!(granted(&t, &derive(&[])).await["scope"], "offline_access");
    t.server = offering(&t, &["user:write"], |builder| builder).await;
    bad_grant(&t, &derive(&[]), "NoScopeLeft").await;
    bad_grant(&t, &refresh(&app, text_of(&next, "refresh_token")), "NoScopeLeft").await;
}

// covers: B51
#[tokio::test]
async fn machine_gets_no_scope_that_was_taken_away() {
    let mut t = TestServer::new();
    let machine = t.confidential_client_with(|client| client.client_credentials().scope("user:read user:write")).await;
    let asking = |scope| token_as(&machine, &[("grant_type", "client_credentials"), ("scope", scope)]);
    granted(&t, &asking("user:read user:write")).await;
    t.server = offering(&t, &["user:read"], |builder| builder.default_scope("user:read")).await;
    refused_for(&t, &asking("user:read user:write"), 400, "invalid_scope", "UnknownScope").await;
    assert_eq!(granted(&t, &token_as(&machine, &[("grant_type", "client_credentials")])).await["scope"], "user:read");
    leave(&t, &machine, "user:write").await;
    refused_for(&t, &asking("user:read"), 400, "invalid_scope", "ScopeNotAllowed").await;
}

/// Records the scopes of its calls.
#[derive(Clone, Default)]
struct Asked(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl TokenCustomizer for Asked {
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        self.0.lock().unwrap().push(issuance.scope.as_str().to_owned());
        Ok(TokenChanges::new())
    }
}

#[tokio::test]
async fn customizer_is_asked_about_the_scope_that_is_left() {
    let mut t = TestServer::new();
    let app = t.public_client(CB).await;
    let first = tokens_of(&t, &app).await;
    let asked = Asked::default();
    t.server = offering(&t, &["user:read", "offline_access"], |builder| builder.token_customizer(asked.clone())).await;
    for _ in 0..2 {
        granted(&t, &refresh(&app, refresh_of(&first).expose())).await;
    }
    assert_eq!(*asked.0.lock().unwrap(), ["offline_access user:read"; 2]);
}

// covers: B51
#[tokio::test]
async fn unoffered_scope_is_reported_once_per_client() {
    let mut t = TestServer::new();
    let [app, other] = [t.public_client(CB).await, t.public_client(CB).await];
    let tokens = tokens_of(&t, &app).await;
    assert_eq!(t.events.count("scope_not_offered"), 0);
    t.server = offering(&t, &["user:read", "offline_access"], |builder| builder).await;
    let second = t.refresh(&app, refresh_of(&tokens)).await.unwrap();
    t.refresh(&app, refresh_of(&second)).await.unwrap();
    let told = |t: &TestServer| {
        let events = t.events.events().into_iter().filter(|event| event.name == "scope_not_offered");
        events.map(|event| event.text).collect::<Vec<_>>()
    };
    let [text] = &told(&t)[..] else { panic!("{:?}", told(&t)) };
    assert!(text.contains(&app.id) && text.contains("Scope(user:write)"), "{text}");
    // Another client gets its own event, at the authorization endpoint too.
    let _approved = t.authorize(&other).scope("user:read").approve_as("alice").await;
    assert!(told(&t)[1].contains(&other.id));
    assert_eq!(told(&t).len(), 2);
    let client = t.storage.find_client(&app.id).await.unwrap().unwrap();
    let expected = ClientLint::ScopeNotOffered(Scope::parse("user:write").unwrap());
    assert!(t.server.lint_client(&client).contains(&expected));
}
