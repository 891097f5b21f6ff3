//! Grants that an extension grant derives from another grant, and the one-time keys of extension grants.

use std::sync::Arc;

use async_trait::async_trait;
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::storage::{GrantSelector, Opened};
use grantor::testing::{Call, Fault, ISSUER, Intercepted, Interceptor, Next, Reply, TestClient, TestServer};
use grantor::{
    AccessToken, AuthorizationServer, Clock, Error, Grant, GrantId, GrantType, Request, Storage, StorageError,
    StoredToken, Subject,
};
use serde_json::{from_value, json};
use time::Duration;

use crate::common::{self, token_as};
use crate::support::{CB, access_token, bad_grant, bad_request, granted, lives, refresh, row, tokens_of};

const DERIVING: &str = "urn:example:grant:deriving";

/// Derives a grant from the grant of `subject_token`, and uses `voucher` once. The grant is independent if the request
/// has `apart`. Its tokens can be refreshed if the request has `long`, and have another type than `Bearer` if it has
/// `bound`.
struct Deriving(GrantType);

#[async_trait]
impl GrantHandler for Deriving {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["subject_token", "apart", "voucher", "good_for", "long", "bound"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let mut order = OpenGrant::new(context.scope()?).subject(Subject::new("robot").expect("a subject"));
        if let Some(token) = context.params().get("subject_token")? {
            let presented = context.find(AccessToken::new(token)).await?;
            let live = presented.must_be_live(context.now())?;
            if context.params().get("apart")?.is_none() {
                order = order.child_of(live);
            }
        }
        if let Some(voucher) = context.params().get("voucher")? {
            let seconds = context.params().get("good_for")?.and_then(|text| text.parse().ok()).unwrap_or(86_400);
            order = order.once("voucher", voucher, context.now() + Duration::seconds(seconds));
        }
        if context.params().get("bound")?.is_some() {
            order = order.response(|members| members.token_type = Some("N_A".into()));
        }
        let is_long = context.params().get("long")?.is_some();
        Ok(Decision::open(if is_long { order.refreshable() } else { order }))
    }
}

async fn server() -> (TestServer, TestClient) {
    let t = TestServer::with(|builder| builder.extension_grant(Deriving(GrantType::new(DERIVING).unwrap())));
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().extension_grant(DERIVING);
            client.scope("user:read user:write offline_access").default_scope("user:read")
        })
        .await;
    (t, app)
}

fn derive(app: &TestClient, more: &[(&'static str, &str)]) -> Request {
    token_as(app, &[&[("grant_type", DERIVING)], more].concat())
}

/// A child of the grant of this access token.
async fn child_of(t: &TestServer, app: &TestClient, parent: &AccessToken) -> AccessToken {
    access_token(&granted(t, &derive(app, &[("subject_token", parent.expose())])).await)
}

async fn parent_of(t: &TestServer, token: &AccessToken) -> Option<GrantId> {
    row(t, token.hash()).await.1.parent_grant
}

#[tokio::test]
async fn derived_grant_is_revoked_with_its_parent() {
    let (t, app) = server().await;
    let tokens = tokens_of(&t, &app).await;
    let child = child_of(&t, &app, &tokens.access_token).await;
    let grandchild = child_of(&t, &app, &child).await;
    let parent = row(&t, tokens.access_token.hash()).await.1.id;
    assert_eq!(parent_of(&t, &child).await, Some(parent));
    assert_eq!(parent_of(&t, &grandchild).await, Some(row(&t, child.hash()).await.1.id));
    assert!(lives(&t, &child).await && lives(&t, &grandchild).await);

    // A revoked access token does not end its grant, but nothing can be derived from it.
    t.storage.revoke_access_token(&tokens.access_token.hash(), t.clock.now()).await.unwrap();
    assert!(lives(&t, &child).await);
    bad_grant(&t, &derive(&app, &[("subject_token", tokens.access_token.expose())]), "GrantEnded").await;
    assert_eq!(t.server.revoke_grants(&GrantSelector::Id(parent)).await.unwrap(), 3);
    assert!(!lives(&t, &child).await && !lives(&t, &grandchild).await);
    bad_grant(&t, &derive(&app, &[("subject_token", child.expose())]), "GrantEnded").await;
}

#[tokio::test]
async fn derived_grant_ends_no_later_than_its_parent() {
    let (t, app) = server().await;
    // A parent without refresh tokens, which ends with its access token in an hour.
    let parent = access_token(&granted(&t, &derive(&app, &[])).await);
    let end = row(&t, parent.hash()).await.1.expires_at;
    t.clock.advance(Duration::minutes(50));
    let request = derive(&app, &[("subject_token", parent.expose()), ("long", "1")]);
    let body = granted(&t, &request).await;
    assert_eq!(body["expires_in"], 600);
    let (token, grant) = row(&t, access_token(&body).hash()).await;
    assert_eq!((token.expires_at, grant.expires_at, grant.details.ends_by), (end, end, Some(end)));
    t.clock.advance(Duration::minutes(5));
    let refreshed = granted(&t, &refresh(&app, body["refresh_token"].as_str().unwrap())).await;
    assert_eq!(refreshed["expires_in"], 300);
    let (token, grant) = row(&t, access_token(&refreshed).hash()).await;
    assert_eq!((token.expires_at, grant.expires_at), (end, end));
    // With less than a second left, the parent grant counts as ended.
    t.clock.advance(Duration::minutes(5) - Duration::milliseconds(999));
    bad_grant(&t, &request, "GrantEnded").await;
    t.clock.advance(Duration::SECOND);
    bad_grant(&t, &request, "GrantEnded").await;
    bad_grant(&t, &refresh(&app, refreshed["refresh_token"].as_str().unwrap()), "GrantEnded").await;
}

/// Such a request would exchange a token that needs a proof for a token that needs no proof.
#[tokio::test]
async fn nothing_is_derived_from_a_token_bound_to_a_proof() {
    let (t, app) = server().await;
    let body = common::json(&t.server.token(&derive(&app, &[("bound", "1")])).await);
    assert_eq!(body["token_type"], "N_A");
    let bound = access_token(&body);
    let before = t.faults.calls();
    bad_grant(&t, &derive(&app, &[("subject_token", bound.expose())]), "BoundToken").await;
    assert_eq!(t.faults.calls() - before, 2, "the client and the token; nothing is written");
}

/// The server does not enforce the unknown member, so it must not accept the token.
#[tokio::test]
async fn token_with_unknown_critical_member_is_no_parent() {
    let (t, app) = server().await;
    let (token, grant) = row(&t, tokens_of(&t, &app).await.access_token.hash()).await;
    let details = json!({ "jkt": "x", "crit": ["jkt"] });
    for (number, of_grant) in [(1, true), (2, false)] {
        let presented = AccessToken::new(format!("of-a-newer-node-{number}"));
        let mut grant = Grant { id: GrantId::from_bytes([number; 16]), ..Grant::clone(&grant) };
        let mut token = StoredToken { hash: presented.hash(), grant_id: grant.id, ..StoredToken::clone(&token) };
        if of_grant {
            grant.details = from_value(details.clone()).unwrap();
        } else {
            token.details = from_value(details.clone()).unwrap();
        }
        assert_eq!(t.storage.open_grant(&Arc::new(grant), &[token]).await.unwrap(), Opened::Done);
        for more in [&[][..], &[("apart", "1")]] {
            let request = derive(&app, &[&[("subject_token", presented.expose())], more].concat());
            let before = t.faults.calls();
            let answer = t.server.token(&request).await;
            assert_eq!((answer.status(), answer.header("retry-after")), (503, Some("60")), "{more:?}");
            assert_eq!(t.faults.calls() - before, 2, "the client and the token; nothing is written");
        }
    }
}

#[tokio::test]
async fn derived_grant_has_no_refresh_token_unless_ordered() {
    let (t, app) = server().await;
    let tokens = tokens_of(&t, &app).await;
    let body = granted(&t, &derive(&app, &[("subject_token", tokens.access_token.expose())])).await;
    assert_eq!(body.get("refresh_token"), None);
}

#[tokio::test]
async fn derived_grants_nest_four_deep() {
    let (t, app) = server().await;
    let mut token = tokens_of(&t, &app).await.access_token;
    for depth in 1..=4 {
        token = child_of(&t, &app, &token).await;
        assert_eq!(row(&t, token.hash()).await.1.details.depth, depth);
    }
    let before = t.faults.calls();
    bad_request(&t, &derive(&app, &[("subject_token", token.expose())]), "NestedTooDeep").await;
    assert_eq!(t.faults.calls() - before, 2, "the client and the token; nothing is written");
}

#[tokio::test]
async fn unknown_or_expired_token_is_no_parent() {
    let (t, app) = server().await;
    bad_grant(&t, &derive(&app, &[("subject_token", "unknown")]), "UnknownToken").await;
    let tokens = tokens_of(&t, &app).await;
    let refresh_token = tokens.refresh_token.as_ref().unwrap().expose();
    bad_grant(&t, &derive(&app, &[("subject_token", refresh_token)]), "UnknownToken").await;
    t.clock.advance(Duration::HOUR);
    bad_grant(&t, &derive(&app, &[("subject_token", tokens.access_token.expose())]), "ExpiredToken").await;
}

/// Revokes the parent of a child that is about to be opened.
struct RevokesInBetween;

#[async_trait]
impl Interceptor for RevokesInBetween {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        if let Call::OpenGrant { grant, .. } = call
            && let Some(parent) = grant.parent_grant
        {
            next.run(Call::RevokeGrants { which: &GrantSelector::Id(parent), at: grant.opened_at }).await?;
        }
        next.run(call).await
    }
}

#[tokio::test]
async fn parent_revoked_meanwhile_refuses_the_child() {
    let (mut t, app) = server().await;
    t.server = AuthorizationServer::builder(ISSUER)
        .storage(Intercepted::new(t.storage.clone(), RevokesInBetween))
        .scope("user:read", "Read your profile")
        .scope("user:write", "Change your profile")
        .scope("offline_access", "Keep access while you are away")
        .clock(t.clock.clone())
        .observer(t.events.clone())
        .extension_grant(Deriving(GrantType::new(DERIVING).unwrap()))
        .build()
        .await
        .unwrap();
    let tokens = tokens_of(&t, &app).await;
    bad_grant(&t, &derive(&app, &[("subject_token", tokens.access_token.expose())]), "GrantEnded").await;
    assert!(!lives(&t, &tokens.access_token).await);
}

#[tokio::test]
async fn one_time_key_is_used_once() {
    let (t, app) = server().await;
    let with = |voucher| derive(&app, &[("voucher", voucher)]);
    let first = access_token(&granted(&t, &with("ten-euros-number-1")).await);
    bad_grant(&t, &with("ten-euros-number-1"), "KeyUsed").await;
    granted(&t, &with("ten-euros-number-2")).await;
    assert!(lives(&t, &first).await, "a second use of the key revokes nothing");

    // The key is kept after its grant has ended, until the key expires after a day.
    let grant = row(&t, first.hash()).await.1.id;
    t.server.revoke_grants(&GrantSelector::Id(grant)).await.unwrap();
    t.clock.advance(Duration::DAY - Duration::MICROSECOND);
    t.server.purge(1_000).await.unwrap();
    bad_grant(&t, &with("ten-euros-number-1"), "KeyUsed").await;
    t.clock.advance(Duration::MICROSECOND);
    t.server.purge(1_000).await.unwrap();
    granted(&t, &with("ten-euros-number-1")).await;
}

#[tokio::test]
async fn one_time_key_is_no_token() {
    let (t, app) = server().await;
    granted(&t, &derive(&app, &[("voucher", "ten-euros-number-1")])).await;
    assert!(!lives(&t, &AccessToken::new("ten-euros-number-1")).await);
    bad_grant(&t, &refresh(&app, "ten-euros-number-1"), "UnknownToken").await;
}

#[tokio::test]
async fn one_time_key_of_failed_request_counts_as_used_if_in_doubt() {
    let (t, app) = server().await;
    let request = derive(&app, &[("voucher", "ten-euros-number-1")]);
    // The first call looks up the client, the second opens the grant.
    t.faults.fail(2, Fault::Unavailable);
    assert_eq!(t.server.token(&request).await.status(), 503);
    t.faults.clear();
    granted(&t, &request).await;

    // The outcome of this request is unknown, so the key counts as used.
    let request = derive(&app, &[("voucher", "ten-euros-number-3")]);
    t.faults.fail(2, Fault::LostAnswer);
    assert_eq!(t.server.token(&request).await.status(), 503);
    t.faults.clear();
    bad_grant(&t, &request, "KeyUsed").await;

    // A key that has already expired is an error of the extension.
    let late = derive(&app, &[("voucher", "ten-euros-number-2"), ("good_for", "0")]);
    let response = t.server.token(&late).await;
    assert_eq!((response.status(), common::error_of(&response).as_str()), (500, "server_error"));
}
