//! Grants of extension handlers and passwords: their resource is that of the request, of the parent, or the default.

use async_trait::async_trait;
use grantor::grant_type::{Decision, GrantContext, GrantHandler, OpenGrant};
use grantor::testing::{TestClient, TestServer};
use grantor::{AccessToken, Error, GrantType, ProtectedResource, Response, SubjectStatus};

use crate::common::{CB, json, token_as};
use crate::{
    CALENDAR, MAIL, accepted_at, access, calendar, granted, mail, rebuilt, refresh, refresh_of, refused, subject,
    tokens,
};

const DERIVING: &str = "urn:example:grant:deriving";

/// Opens a grant for the requested scope: a child of the grant of `subject_token`, if there is one. It tells the named
/// resource in the response.
struct Deriving(GrantType);

#[async_trait]
impl GrantHandler for Deriving {
    fn grant_type(&self) -> &GrantType {
        &self.0
    }

    fn parameters(&self) -> &'static [&'static str] {
        &["subject_token"]
    }

    async fn decide(&self, context: &GrantContext<'_>) -> Result<Decision, Error> {
        let named = context.resource().unwrap_or("none").to_owned();
        let order = OpenGrant::new(context.scope()?).subject(subject()).refreshable();
        let order = order.response(|members| drop(members.extra.insert("named".to_owned(), named.into())));
        let Some(token) = context.params().get("subject_token")? else { return Ok(Decision::open(order)) };
        let live = context.find(AccessToken::new(token)).await?.must_be_live(context.now())?;
        Ok(Decision::open(order.child_of(live)))
    }
}

async fn server(other: ProtectedResource) -> (TestServer, TestClient) {
    let handler = Deriving(GrantType::new(DERIVING).unwrap());
    let t = TestServer::with(|builder| {
        let third = ProtectedResource::new("https://third.example");
        builder.extension_grant(handler).protected_resource(mail()).resource(other).resource(third)
    });
    let app = t
        .confidential_client_with(|client| {
            let client = client.authorization_code([CB]).refresh_token().extension_grant(DERIVING);
            client.scope("user:read user:write offline_access")
        })
        .await;
    (t, app)
}

async fn derive(t: &TestServer, app: &TestClient, more: &[(&str, &str)]) -> Response {
    let own = [("grant_type", DERIVING), ("scope", "user:read user:write")];
    t.server.token(&token_as(app, &[&own, more].concat())).await
}

#[tokio::test]
async fn child_grant_is_for_a_resource_of_its_parent() {
    let (t, app) = server(calendar()).await;
    let parent = tokens(&t, &app, "user:read user:write", &[CALENDAR, MAIL]).await;
    let token = access(&parent);
    let from_parent = [("subject_token", token.expose())];
    // Without a resource, the child is for that of the presented token, not for the default.
    let child = granted(&derive(&t, &app, &from_parent).await);
    assert_eq!((accepted_at(&t, &access(&child)).await.as_str(), &child["named"]), (CALENDAR, &"none".into()));
    let answer = refresh(&t, &app, refresh_of(&child).expose(), &[("resource", MAIL)]).await;
    refused(&answer, "invalid_target");

    let child = granted(&derive(&t, &app, &[from_parent[0], ("resource", MAIL)]).await);
    assert_eq!((accepted_at(&t, &access(&child)).await.as_str(), &child["named"]), (MAIL, &MAIL.into()));
    assert_eq!(child["scope"], "user:read");
    let answer = derive(&t, &app, &[from_parent[0], ("resource", "https://third.example")]).await;
    refused(&answer, "invalid_target");
    assert_eq!(json(&answer)["error_description"], "the requested resource was not granted");
}

#[tokio::test]
async fn independent_grant_is_for_the_named_or_default_resource() {
    let (t, app) = server(calendar()).await;
    for (more, resource, scope) in
        [(&[][..], MAIL, "user:read"), (&[("resource", CALENDAR)], CALENDAR, "user:read user:write")]
    {
        let tokens = granted(&derive(&t, &app, more).await);
        assert_eq!((accepted_at(&t, &access(&tokens)).await.as_str(), &tokens["scope"]), (resource, &scope.into()));
        // The grant has no more than its first token, so a refresh after a change of the resource gives no more.
        let wider = |builder: grantor::Builder| {
            let mail = mail().scope("user:read user:write");
            builder.protected_resource(mail).resource(calendar())
        };
        let request = grantor::TokenRequest::refresh_token;
        let token = refresh_of(&tokens);
        let request = request(&token).client_secret_basic(&app.id, app.secret.as_ref().unwrap());
        assert_eq!(rebuilt(&t, wider).await.token_request(&request).await.unwrap().scope.as_str(), scope);
    }
}

#[tokio::test]
async fn no_error_about_a_resource_confirms_a_password() {
    let t = TestServer::with(|builder| {
        let mut policy = grantor::Policy::default();
        policy.dangerous().allow_password_grant = true;
        builder.policy(policy).resource(mail()).resource(calendar())
    });
    t.users.add("alice", "right");
    let app = t.confidential_client_with(|client| client.password().scope("user:read user:write")).await;
    // Nor that its user is suspended or gone.
    for (name, status) in [("bob", SubjectStatus::Suspended), ("carol", SubjectStatus::Gone)] {
        t.users.add(name, "right");
        t.users.set_status(name, status);
    }
    for (faulty, error) in [
        (&[("scope", "user:read")][..], "invalid_target"),
        (&[("scope", "user:read"), ("resource", "https://other.example")], "invalid_target"),
        (&[("scope", "user:write"), ("resource", MAIL)], "invalid_scope"),
    ] {
        let mut answers = Vec::new();
        for (name, password) in [("alice", "right"), ("alice", "wrong"), ("bob", "right"), ("carol", "right")] {
            let own = [("grant_type", "password"), ("username", name), ("password", password)];
            let answer = t.server.token(&token_as(&app, &[&own, faulty].concat())).await;
            refused(&answer, error);
            answers.push(answer.body().to_vec());
        }
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{faulty:?}");
    }
}
