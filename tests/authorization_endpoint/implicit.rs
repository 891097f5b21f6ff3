//! `response_type=token`: the legacy grant that must be switched on, per server and per client.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::client::ClientError;
use grantor::customizer::{Issuance, IssuanceKind, TokenChanges, TokenCustomizer};
use grantor::error::CustomizerError;
use grantor::testing::TestClient;
use grantor::{
    AccessToken, Approval, AuthorizationRequest, Client, Error, ErrorCode, Policy, Response, Scope, Subject,
    SubjectStatus,
};
use time::Duration;

use crate::ask::{
    Ask, CALLBACK, approved, assert_error_in_fragment, by, consent, describe, grants_of, pending, refused,
};
use crate::common::{CHALLENGE, fragment_of, location};
use crate::source::TestServer;

const STATE: Option<&str> = Some("af0ifjsldkj");

fn server() -> TestServer {
    TestServer::with_policy(|policy| policy.dangerous().allow_implicit_grant = true)
}

async fn implicit_client(t: &TestServer) -> TestClient {
    let client = Client::public("app")
        .implicit([CALLBACK])
        .authorization_code([CALLBACK])
        .refresh_token()
        .scope("user:read user:write");
    t.register(client.build(), None).await
}

// covers: RD-07 (OAuth 2.0 Multiple Response Types §2.1), RD-14 (RFC 6749 §4.2.2), GI-04 (RFC 6749 §4.2.2), GI-05, B9, B41
#[tokio::test]
async fn implicit_token_is_sent_in_the_fragment_without_refresh() {
    let t = server();
    let app = implicit_client(&t).await;
    let answer = approved(&t, &Ask::token(&app).with("scope", "user:write user:read")).await;
    assert_eq!(answer.status(), 303);
    assert_eq!(location(&answer).query(), None, "{}", describe(&answer));
    let fragment = fragment_of(&answer);
    let members = ["access_token", "expires_in", "iss", "scope", "state", "token_type"];
    assert_eq!(fragment.keys().collect::<Vec<_>>(), members);
    assert_eq!((&*fragment["token_type"], &*fragment["expires_in"]), ("Bearer", "3600"));
    assert_eq!(fragment["scope"], "user:read user:write");
    assert_eq!(fragment["state"], "af0ifjsldkj");

    let token = AccessToken::new(&*fragment["access_token"]);
    let access = t.bearer(&token).await.unwrap().require("user:write").unwrap();
    assert_eq!(access.user().unwrap().as_str(), "alice");
    assert_eq!(grants_of(&t, &app).await[0].grant_type.as_str(), "implicit");
    t.clock.advance(Duration::hours(1));
    assert_eq!(t.bearer(&token).await.unwrap_err().code().unwrap(), "invalid_token");
    assert!(grants_of(&t, &app).await.is_empty(), "a grant without a refresh token ends with its access token");
}

#[tokio::test]
async fn typed_response_contains_the_token() {
    let t = server();
    let app = implicit_client(&t).await;
    let request = AuthorizationRequest::token(&app.id).redirect_uri(CALLBACK).scope("user:read").state("a state");
    let Ok(pending) = t.server.authorization_request(&request).await else { panic!("the request is valid") };
    let answer = grantor::testing::approve(pending, Approval::by(Subject::new("alice").unwrap())).await;
    assert_eq!((answer.state(), answer.code().is_none()), (Some("a state"), true));
    let token = AccessToken::new(answer.access_token().expect("a token").expose());
    assert!(t.bearer(&token).await.unwrap().require("user:read").is_ok());
    assert_eq!(fragment_of(&answer.into_http())["access_token"], token.expose());
}

// covers: GI-05 (RFC 6749 §4.2.2), SC-04 (RFC 6749 §3.3)
#[tokio::test]
async fn narrowed_scope_and_lifetime_appear_in_the_fragment() {
    let t = server();
    let client = Client::public("app").implicit([CALLBACK]).scope("user:read user:write");
    let short = client.lifetimes(|own| own.access_token = Some(Duration::minutes(2)));
    let app = t.register(short.build(), None).await;
    let waiting = consent(&t, &Ask::token(&app).with("scope", "user:read user:write")).await;
    let answer: Response = waiting.approve(by("alice").scope(["user:read"])).await.into();
    let fragment = fragment_of(&answer);
    assert_eq!((&*fragment["scope"], &*fragment["expires_in"]), ("user:read", "120"));
}

// covers: RD-14 (RFC 6749 §4.2.2.1), B9
#[tokio::test]
async fn implicit_errors_are_sent_in_the_fragment() {
    let t = server();
    let app = implicit_client(&t).await;
    let ask = Ask::token(&app);
    assert_error_in_fragment(&pending(&t, &ask).await.deny().into(), CALLBACK, "access_denied", STATE);
    let nothing_left: Response = consent(&t, &ask).await.approve(by("alice").scope([""; 0])).await.into();
    assert_error_in_fragment(&nothing_left, CALLBACK, "access_denied", STATE);
    for (faulty, code) in [
        (ask.clone().with("scope", "nope"), "invalid_scope"),
        (ask.clone().twice("scope"), "invalid_request"),
        (ask.clone().raw("&x=%ZZ"), "invalid_request"),
        (ask.with("response_mode", "fragment").with("scope", "nope"), "invalid_scope"),
    ] {
        assert_error_in_fragment(&refused(&t, &faulty).await, CALLBACK, code, STATE);
    }
    assert!(grants_of(&t, &app).await.is_empty());
}

// covers: RD-08 (OAuth 2.0 Multiple Response Types §3)
#[tokio::test]
async fn implicit_token_is_never_put_into_a_query() {
    let t = server();
    let app = implicit_client(&t).await;
    let answer = refused(&t, &Ask::token(&app).with("response_mode", "query")).await;
    assert_error_in_fragment(&answer, CALLBACK, "invalid_request", STATE);
    assert_eq!(location(&answer).query(), None);
    let explicit = approved(&t, &Ask::token(&app).with("response_mode", "fragment")).await;
    assert!(fragment_of(&explicit).contains_key("access_token"));
}

// covers: B41
#[tokio::test]
async fn implicit_grant_needs_server_and_client_switch() {
    let (on, off) = (server(), TestServer::new());
    for (t, registered, code) in [
        (&on, false, Some("unauthorized_client")),
        (&off, true, Some("unsupported_response_type")),
        (&off, false, Some("unsupported_response_type")),
        (&on, true, None),
    ] {
        let id = format!("app-{registered}");
        let client = Client::public(id).authorization_code([CALLBACK]).scope("user:read");
        let client = if registered { client.implicit([CALLBACK]) } else { client };
        let app = t.register(client.build(), None).await;
        match code {
            Some(code) => assert_error_in_fragment(&refused(t, &Ask::token(&app)).await, CALLBACK, code, STATE),
            None => drop(pending(t, &Ask::token(&app)).await),
        }
    }
}

// covers: B41
#[tokio::test]
async fn implicit_grant_needs_no_pkce_but_checks_a_challenge() {
    let t = server();
    let app = implicit_client(&t).await;
    drop(pending(&t, &Ask::token(&app)).await);
    drop(pending(&t, &Ask::token(&app).with("code_challenge", CHALLENGE).with("code_challenge_method", "S256")).await);
    let broken = Ask::token(&app).with("code_challenge", "x").with("code_challenge_method", "S256");
    assert_error_in_fragment(&refused(&t, &broken).await, CALLBACK, "invalid_request", STATE);
}

// covers: RU-02 (RFC 6749 §3.1.2.2)
#[test]
fn implicit_client_needs_a_redirect_uri() {
    let secret = grantor::ClientSecret::new("x".repeat(43));
    let credential = grantor::ClientCredential::secret(&secret);
    let none: [&str; 0] = [];
    let confidential = Client::confidential("app", credential).implicit(none).build();
    assert_eq!(confidential.unwrap_err(), ClientError::NoRedirectUri);
    assert_eq!(Client::public("app").implicit(none).build().unwrap_err(), ClientError::NoRedirectUri);
}

#[tokio::test]
async fn subject_that_is_not_active_is_denied_a_token() {
    let t = server();
    let app = implicit_client(&t).await;
    let denied: Response = pending(&t, &Ask::token(&app)).await.deny().into();
    for (status, writes) in [(SubjectStatus::Suspended, 0), (SubjectStatus::Gone, 1)] {
        t.users.set_status("alice", status);
        let calls = t.faults.calls();
        let answer = approved(&t, &Ask::token(&app)).await;
        assert_eq!(describe(&answer), describe(&denied), "{status:?}");
        assert_eq!(
            t.faults.calls() - calls,
            1 + writes,
            "one call finds the client, and one revokes if the user is gone"
        );
        let names = t.events.names();
        assert_eq!(names[names.len() - 2..], ["subject_not_active", "authorization_refused"]);
        assert!(grants_of(&t, &app).await.is_empty());
    }
}

type Answer = fn(&Issuance<'_>) -> Result<TokenChanges, Error>;

/// Returns the same decision for each token, and records the calls.
struct Customizer {
    answer: Answer,
    asked: Arc<Mutex<Vec<(IssuanceKind, String)>>>,
}

#[async_trait]
impl TokenCustomizer for Customizer {
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        let subject = issuance.subject().expect("alice").as_str().to_owned();
        self.asked.lock().unwrap().push((issuance.kind, subject));
        (self.answer)(issuance)
    }
}

#[tokio::test]
async fn customizer_narrows_refuses_or_fails_an_implicit_token() {
    type Answer = fn(&Issuance<'_>) -> Result<TokenChanges, Error>;
    let narrow = |_: &Issuance<'_>| {
        let changes = TokenChanges::new().scope(Scope::parse("user:read").unwrap()).response_member("tenant", "acme");
        Ok(changes.access_token_lifetime(Duration::minutes(5)))
    };
    let refuse =
        |_: &Issuance<'_>| Err(Error::refused(ErrorCode::from_static("example_quota"), "the quota is used up"));
    let fail = |_: &Issuance<'_>| Err(CustomizerError::unavailable("the tenants are down").into());
    let widen = |_: &Issuance<'_>| Ok(TokenChanges::new().scope(Scope::parse("user:read admin").unwrap()));
    let answers: [(Answer, Option<&str>); 4] = [
        (narrow, None),
        (refuse, Some("example_quota")),
        (fail, Some("temporarily_unavailable")),
        (widen, Some("server_error")),
    ];
    for (answer, refused_as) in answers {
        let asked = Arc::<Mutex<Vec<_>>>::default();
        let customizer = Customizer { answer, asked: Arc::clone(&asked) };
        let mut policy = Policy::default();
        policy.dangerous().allow_implicit_grant = true;
        let t = TestServer::with(|builder| builder.policy(policy).token_customizer(customizer));
        let app = implicit_client(&t).await;
        let answer = approved(&t, &Ask::token(&app).with("scope", "user:write user:read")).await;
        assert_eq!(*asked.lock().unwrap(), [(IssuanceKind::Implicit, "alice".to_owned())]);
        if let Some(code) = refused_as {
            assert_error_in_fragment(&answer, CALLBACK, code, STATE);
            assert!(grants_of(&t, &app).await.is_empty());
            continue;
        }
        let fragment = fragment_of(&answer);
        let members = ["access_token", "expires_in", "iss", "scope", "state", "token_type"];
        assert_eq!(fragment.keys().collect::<Vec<_>>(), members);
        assert_eq!((&*fragment["scope"], &*fragment["expires_in"]), ("user:read", "300"));
        assert_eq!(grants_of(&t, &app).await[0].scope.as_str(), "user:read user:write");
    }
}
