//! One request for each kind of token issuance, on a server whose writes are recorded.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use async_trait::async_trait;
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::testing::{ISSUER, Intercepted, TestClient, TestServer};
use grantor::{AuthorizationServer, Builder, Error, GrantType, Policy, Request, Subject};
use serde_json::json;

use crate::common::token_as;
use crate::support::{CB, Spy, redemption, refresh, refresh_of, tokens_of};

/// The extension grant of these servers.
pub(crate) const TICKET: &str = "urn:example:grant:ticket";

/// The scope that each of the requests is for.
pub(crate) const SCOPE: &str = "offline_access user:read user:write";

/// The peer of these requests.
pub(crate) const PEER: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// Opens a grant for alice, and sets a member of the response.
struct Ticket(GrantType);

#[async_trait]
impl GrantHandler for Ticket {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &[]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let order = OpenGrant::new(context.scope()?).subject(Subject::new("alice").unwrap());
        Ok(Decision::open(order.response(|members| {
            members.extra.insert("seat".to_owned(), json!("12A"));
        })))
    }
}

/// A server built with `change`, and a client that may use each grant type.
pub(crate) async fn server(change: impl FnOnce(Builder) -> Builder) -> (TestServer, TestClient, Arc<Spy>) {
    let (mut t, spy) = (TestServer::new(), Arc::<Spy>::default());
    t.server = build(&t, &spy, change).await;
    t.users.add("alice", "correct horse");
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().client_credentials().password();
            client.extension_grant(TICKET).scope(SCOPE)
        })
        .await;
    (t, app, spy)
}

/// A server over the records of `t`, built with `change`.
pub(crate) async fn build(
    t: &TestServer,
    spy: &Arc<Spy>,
    change: impl FnOnce(Builder) -> Builder,
) -> AuthorizationServer {
    let watched = Intercepted::new(Intercepted::new(t.storage.clone(), t.faults.clone()), Arc::clone(spy));
    let mut policy = Policy::default();
    policy.dangerous().allow_password_grant = true;
    let builder = AuthorizationServer::builder(ISSUER)
        .storage(watched)
        .authenticator(t.users.clone())
        .policy(policy)
        .scope("user:read", "Read your profile")
        .scope("user:write", "Change your profile")
        .scope("offline_access", "Keep access while you are away")
        .clock(t.clock.clone())
        .entropy(t.entropy.clone())
        .observer(t.events.clone())
        .extension_grant(Ticket(GrantType::new(TICKET).unwrap()));
    change(builder).build().await.expect("the settings are valid")
}

/// Requests that each get tokens for [`SCOPE`], each with a separate grant; all but client credentials for alice.
pub(crate) async fn requests(t: &TestServer, app: &TestClient) -> Vec<(&'static str, Request)> {
    let approved = t.authorize(app).scope(SCOPE).approve_as("alice").await;
    let fresh = tokens_of(t, app).await;
    let used = tokens_of(t, app).await;
    t.refresh(app, refresh_of(&used)).await.expect("a token that was just issued");
    let scope = ("scope", SCOPE);
    let password = [("grant_type", "password"), ("username", "alice"), ("password", "correct horse"), scope];
    let requests = [
        ("code", token_as(app, &redemption(&approved, app))),
        ("refresh", refresh(app, refresh_of(&fresh).expose())),
        ("repeat", refresh(app, refresh_of(&used).expose())),
        ("client credentials", token_as(app, &[("grant_type", "client_credentials"), scope])),
        ("password", token_as(app, &password)),
        ("extension", token_as(app, &[("grant_type", TICKET), scope])),
    ];
    requests.into_iter().map(|(kind, request)| (kind, request.with_peer(PEER))).collect()
}
