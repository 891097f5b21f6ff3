//! Equal faults get equal answers: a client that sends a faulty request learns nothing about the state of its token,
//! and a client that sends a correct request does not learn why its grant does not work.

use std::fmt::Write;
use std::sync::Arc;

use async_trait::async_trait;
use grantor::client::ClientParts;
use grantor::customizer::{Issuance, IssuanceKind, TokenChanges, TokenCustomizer};
use grantor::error::{AuthenticatorError, CustomizerError};
use grantor::storage::GrantSelector;
use grantor::testing::{Fault as Failing, TestClient, TestServer};
use grantor::{Authenticator, Error, ErrorCode, RefreshToken, Request, Response, Scope, Subject, SubjectStatus};
use time::Duration;

use crate::common::{VERIFIER, basic, form, text, token_as};
use crate::issuances::{SCOPE, TICKET, build, server};
use crate::support::{CB, Spy, change_client, granted, redemption, refresh_of, row, tokens_of, with};

/// The state of a code or refresh token before it is presented.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Unspent,
    /// For refresh tokens only: a code has no grace window.
    SpentWithinWindow,
    SpentOutsideWindow,
    Expired,
    SubjectSuspended,
    SubjectGone,
    GrantRevoked,
}

const STATES: [State; 7] = [
    State::Unspent,
    State::SpentWithinWindow,
    State::SpentOutsideWindow,
    State::Expired,
    State::SubjectSuspended,
    State::SubjectGone,
    State::GrantRevoked,
];

/// A server with a token in one of the states, and the parameters of a correct request for it.
struct Case {
    t: TestServer,
    app: TestClient,
    other: TestClient,
    spy: Arc<Spy>,
    pairs: Vec<(&'static str, String)>,
}

impl Case {
    async fn refresh(state: State) -> Self {
        let (t, app, spy) = server(|builder| builder).await;
        let token = refresh_of(&tokens_of(&t, &app).await).expose().to_owned();
        let pairs = vec![("grant_type", "refresh_token".to_owned()), ("refresh_token", token)];
        Self::new(t, app, spy, pairs, state, Duration::days(14)).await
    }

    async fn code(state: State) -> Self {
        let (t, app, spy) = server(|builder| builder).await;
        let approved = t.authorize(&app).scope(SCOPE).approve_as("alice").await;
        let pairs = redemption(&approved, &app).into_iter().map(|(name, value)| (name, value.to_owned())).collect();
        drop(approved);
        Self::new(t, app, spy, pairs, state, Duration::minutes(1)).await
    }

    /// Brings the token into its state. The token expires after `lifetime`.
    async fn new(
        t: TestServer,
        app: TestClient,
        spy: Arc<Spy>,
        pairs: Vec<(&'static str, String)>,
        state: State,
        lifetime: Duration,
    ) -> Self {
        let other = t.confidential_client(CB).await;
        let case = Self { t, app, other, spy, pairs };
        let t = &case.t;
        match state {
            State::Unspent => {}
            State::SpentWithinWindow => drop(granted(t, &case.correct()).await),
            State::SpentOutsideWindow => {
                granted(t, &case.correct()).await;
                t.clock.advance(Duration::seconds(30));
            }
            State::Expired => t.clock.advance(lifetime),
            State::SubjectSuspended => t.users.set_status("alice", SubjectStatus::Suspended),
            State::SubjectGone => t.users.set_status("alice", SubjectStatus::Gone),
            State::GrantRevoked => {
                let alice = Subject::new("alice").unwrap();
                t.revoke_grants(&GrantSelector::Subject(alice)).await.unwrap();
            }
        }
        case.spy.writes();
        case
    }

    fn pairs(&self) -> Vec<(&'static str, &str)> {
        self.pairs.iter().map(|(name, value)| (*name, value.as_str())).collect()
    }

    fn token(&self) -> &str {
        let (_, token) = self.pairs.iter().find(|(name, _)| ["refresh_token", "code"].contains(name)).expect("a token");
        token
    }

    fn correct(&self) -> Request {
        token_as(&self.app, &self.pairs())
    }

    /// The request with one parameter changed, or removed if the value is empty.
    fn with(&self, name: &'static str, value: &str) -> Request {
        token_as(&self.app, &with(&self.pairs(), name, value))
    }

    /// The request with one parameter more.
    fn and(&self, name: &'static str, value: &str) -> Request {
        token_as(&self.app, &[&self.pairs()[..], &[(name, value)]].concat())
    }

    /// The request with text appended to its body.
    fn append(&self, more: &str) -> Request {
        let secret = self.app.secret.as_ref().expect("a confidential client").expose();
        self.by("/token", more, &self.app.id, secret)
    }

    fn by(&self, target: &str, more: &str, client_id: &str, secret: &str) -> Request {
        let body = form(&self.pairs()) + more;
        Request::post_form(target, body).with_header("authorization", basic(client_id, secret))
    }
}

/// Status, headers and body, byte for byte.
fn whole(response: &Response) -> String {
    let mut all = format!("{}\n", response.status());
    for (name, value) in response.headers() {
        writeln!(all, "{name}: {value}").unwrap();
    }
    all + text(response)
}

/// Compares each response with the first response.
#[derive(Default)]
struct Equal(Option<String>);

impl Equal {
    #[track_caller]
    fn hold(&mut self, response: &Response, what: &str) {
        let answer = whole(response);
        assert_eq!(*self.0.get_or_insert_with(|| answer.clone()), answer, "{what}");
    }
}

/// A fault of a request: its name, the error code, and the change.
type Fault = (&'static str, &'static str, fn(&Case) -> Request);

/// Faults that a request with any token can have.
const ANY: [Fault; 11] = [
    ("no grant type", "invalid_request", |case| case.with("grant_type", "")),
    ("unsupported grant type", "unsupported_grant_type", |case| case.with("grant_type", "urn:example:unserved")),
    ("repeated scope", "invalid_request", |case| case.append("&scope=user%3Aread&scope=user%3Aread")),
    ("repeated grant type", "invalid_request", |case| case.append("&grant_type=refresh_token")),
    ("broken escape", "invalid_request", |case| case.append("&scope=%ZZ")),
    ("parameter in the query", "invalid_request", |case| {
        let secret = case.app.secret.as_ref().expect("a confidential client").expose();
        case.by("/token?scope=user:read", "", &case.app.id, secret)
    }),
    ("foreign client", "invalid_grant", |case| token_as(&case.other, &case.pairs())),
    ("wrong secret", "invalid_client", |case| case.by("/token", "", &case.app.id, "not-the-secret-of-this-client")),
    ("unknown client", "invalid_client", |case| case.by("/token", "", "no-such-client", "not-the-secret")),
    ("two clients", "invalid_request", |case| case.and("client_id", &case.other.id)),
    ("two methods", "invalid_request", |case| case.and("client_secret", "a-second-secret-in-the-body")),
];

const REFRESH: [Fault; 8] = [
    ("no token", "invalid_request", |case| case.with("refresh_token", "")),
    ("repeated token", "invalid_request", |case| case.and("refresh_token", case.token())),
    ("empty token", "invalid_request", |case| {
        let secret = case.app.secret.as_ref().expect("a confidential client").expose();
        let body = "grant_type=refresh_token&refresh_token=";
        Request::post_form("/token", body).with_header("authorization", basic(&case.app.id, secret))
    }),
    ("malformed token", "invalid_grant", |case| case.with("refresh_token", &format!("{} ", case.token()))),
    ("malformed scope", "invalid_scope", |case| case.and("scope", "user:read\tuser:write")),
    ("widened scope", "invalid_scope", |case| case.and("scope", &format!("{SCOPE} admin"))),
    ("foreign scope", "invalid_scope", |case| case.and("scope", "admin")),
    ("quoted scope", "invalid_scope", |case| case.and("scope", "\"user:read\"")),
];

const CODE: [Fault; 8] = [
    ("no code", "invalid_request", |case| case.with("code", "")),
    ("repeated code", "invalid_request", |case| case.and("code", case.token())),
    ("malformed code", "invalid_grant", |case| case.with("code", &format!("{} ", case.token()))),
    ("wrong redirect URI", "invalid_grant", |case| case.with("redirect_uri", "https://app.example/other")),
    ("no redirect URI", "invalid_grant", |case| case.with("redirect_uri", "")),
    ("wrong verifier", "invalid_grant", |case| case.with("code_verifier", VERIFIER)),
    ("malformed verifier", "invalid_grant", |case| case.with("code_verifier", "too short")),
    ("no verifier", "invalid_grant", |case| case.with("code_verifier", "")),
];

/// Each fault gets one answer in all states, and changes nothing.
async fn check<F: Future<Output = Case>>(case: impl Fn(State) -> F, faults: &[Fault]) {
    for (fault, code, request) in faults {
        let mut equal = Equal::default();
        for state in STATES {
            let (case, what) = (case(state).await, format!("{fault}, {state:?}"));
            let told = case.t.events.events().len();
            let response = case.t.server.token(&request(&case)).await;
            assert!(text(&response).contains(&format!("\"error\":\"{code}\"")), "{what}: {}", text(&response));
            equal.hold(&response, &what);
            assert!(case.spy.writes().is_empty(), "{what}");
            assert_eq!(case.t.events.names()[told..], ["token_refused"], "{what}");
        }
    }
}

#[tokio::test]
async fn faulty_refresh_gets_one_answer_in_all_token_states() {
    check(Case::refresh, &[&ANY[..], &REFRESH].concat()).await;
}

#[tokio::test]
async fn faulty_redemption_gets_one_answer_in_all_code_states() {
    check(Case::code, &[&ANY[..], &CODE].concat()).await;
}

/// The parameters of token requests, those of other grant types included.
const PARAMETERS: [&str; 13] = [
    "grant_type",
    "refresh_token",
    "scope",
    "code",
    "redirect_uri",
    "code_verifier",
    "username",
    "password",
    "client_id",
    "client_secret",
    "client_assertion",
    "client_assertion_type",
    "resource",
];

// Regression: the response to some parameters revealed whether the refresh token of the request was spent.
#[tokio::test]
async fn broken_parameter_gets_one_answer_in_all_states() {
    type Break = (&'static str, fn(&str) -> String);
    let breaks: [Break; 4] = [
        ("repeated", |name| format!("&{name}=a-value&{name}=a-value")),
        ("not UTF-8", |name| format!("&{name}=%FF")),
        ("with a NUL", |name| format!("&{name}=%00")),
        ("as the query", |name| format!("?{name}=a-value")),
    ];
    for name in PARAMETERS {
        for (what, more) in breaks {
            let (mut equal, more) = (Equal::default(), more(name));
            for state in STATES {
                let (case, what) = (Case::refresh(state).await, format!("{name} {what}, {state:?}"));
                let secret = case.app.secret.as_ref().expect("a confidential client").expose();
                let request = match more.strip_prefix('?') {
                    Some(query) => case.by(&format!("/token?{query}"), "", &case.app.id, secret),
                    None => case.append(&more),
                };
                let response = case.t.server.token(&request).await;
                if state == State::Unspent && response.status() == 200 {
                    // A refresh ignores these parameters.
                    assert!(
                        ["code", "redirect_uri", "code_verifier", "username", "password", "resource"].contains(&name)
                    );
                    break;
                }
                equal.hold(&response, &what);
                assert!((400..=401).contains(&response.status()) && case.spy.writes().is_empty(), "{what}");
            }
        }
    }
}

/// Requests whose method, content type, body or client authentication is wrong.
#[tokio::test]
async fn broken_request_gets_one_answer_in_all_states() {
    type Break = (&'static str, fn(&Case) -> Request);
    let breaks: [Break; 6] = [
        ("GET", |case| Request::new("GET", format!("/token?{}", form(&case.pairs())))),
        ("no content type", |case| {
            let secret = case.app.secret.as_ref().expect("a confidential client").expose();
            Request::new("POST", "/token")
                .with_body(form(&case.pairs()))
                .with_header("authorization", basic(&case.app.id, secret))
        }),
        ("large body", |case| case.append(&format!("&padding={}", "x".repeat(65_536)))),
        ("broken body", |case| case.correct().with_broken_body()),
        ("no client", |case| Request::post_form("/token", form(&case.pairs()))),
        ("malformed header", |case| {
            Request::post_form("/token", form(&case.pairs())).with_header("authorization", "Basic !")
        }),
    ];
    for (fault, request) in breaks {
        let mut equal = Equal::default();
        for state in STATES {
            let case = Case::refresh(state).await;
            let response = case.t.server.token(&request(&case)).await;
            assert!((400..=413).contains(&response.status()), "{fault}, {state:?}");
            equal.hold(&response, &format!("{fault}, {state:?}"));
            assert!(case.spy.writes().is_empty(), "{fault}, {state:?}");
        }
    }
}

/// The storage fails at the same call for an unspent token and a token spent within its window.
#[tokio::test]
async fn failing_storage_answers_refresh_and_repeat_alike() {
    for (fault, status) in [(Failing::Failed, 500), (Failing::Unavailable, 503)] {
        for call in 1..=3 {
            let mut equal = Equal::default();
            for state in [State::Unspent, State::SpentWithinWindow] {
                let case = Case::refresh(state).await;
                let hash = RefreshToken::new(case.token()).hash();
                let before = row(&case.t, hash).await.0.spent.is_some();
                case.t.faults.fail(call, fault);
                let response = case.t.server.token(&case.correct()).await;
                assert_eq!(response.status(), status, "call {call}, {state:?}");
                equal.hold(&response, &format!("call {call}, {fault:?}, {state:?}"));
                assert_eq!(row(&case.t, hash).await.0.spent.is_some(), before, "call {call}, {state:?}");
            }
        }
    }
}

/// Suspended and removed users get the same answer, whether or not the token was spent within its window.
#[tokio::test]
async fn inactive_user_gets_one_answer_on_refresh_and_repeat() {
    let mut equal = Equal::default();
    for (status, writes) in [(SubjectStatus::Suspended, &[][..]), (SubjectStatus::Gone, &["revoke_grants"])] {
        for state in [State::Unspent, State::SpentWithinWindow] {
            let case = Case::refresh(state).await;
            case.t.users.set_status("alice", status);
            let response = case.t.server.token(&case.correct()).await;
            assert!(text(&response).contains("\"invalid_grant\""), "{status:?}, {state:?}: {}", text(&response));
            equal.hold(&response, &format!("{status:?}, {state:?}"));
            assert_eq!(case.spy.writes(), writes, "{status:?}, {state:?}");
        }
    }
}

/// A lifetime that was shortened later ends a token, whether or not the token was spent within its window.
#[tokio::test]
async fn short_lifetime_gets_one_answer_on_refresh_and_repeat() {
    let mut equal = Equal::default();
    for state in [State::Unspent, State::SpentWithinWindow] {
        let case = Case::refresh(State::Unspent).await;
        case.t.clock.advance(Duration::seconds(5));
        if state == State::SpentWithinWindow {
            granted(&case.t, &case.correct()).await;
        }
        case.spy.writes();
        change_client(&case.t, &case.app, |parts| parts.lifetimes.refresh_token_absolute = Some(Duration::seconds(9)))
            .await;
        case.t.clock.advance(Duration::seconds(4));
        let response = case.t.server.token(&case.correct()).await;
        assert!(text(&response).contains("\"invalid_grant\""), "{state:?}: {}", text(&response));
        equal.hold(&response, &format!("{state:?}"));
        assert!(case.spy.writes().is_empty(), "{state:?}");
    }
}

/// A client with an unknown critical member gets 503, whether or not the token was spent within its window.
#[tokio::test]
async fn unenforced_client_member_gets_one_answer() {
    let mut equal = Equal::default();
    for state in [State::Unspent, State::SpentWithinWindow] {
        let case = Case::refresh(state).await;
        change_client(&case.t, &case.app, |parts| {
            let mut members = serde_json::to_value(&*parts).unwrap();
            members["dpop_bound"] = true.into();
            members["crit"] = serde_json::json!(["dpop_bound"]);
            *parts = ClientParts::from_stored(&members.to_string()).unwrap();
        })
        .await;
        let response = case.t.server.token(&case.correct()).await;
        assert_eq!(response.status(), 503, "{state:?}: {}", text(&response));
        equal.hold(&response, &format!("{state:?}"));
        assert!(case.spy.writes().is_empty(), "{state:?}");
    }
}

#[tokio::test]
async fn client_without_refresh_grant_gets_one_answer_in_all_states() {
    let mut equal = Equal::default();
    for state in STATES {
        let case = Case::refresh(state).await;
        change_client(&case.t, &case.app, |parts| {
            parts.grant_types.retain(|own| own.as_str() != "refresh_token");
        })
        .await;
        let response = case.t.server.token(&case.correct()).await;
        assert!(text(&response).contains("unauthorized_client"), "{state:?}: {}", text(&response));
        equal.hold(&response, &format!("{state:?}"));
        assert!(case.spy.writes().is_empty(), "{state:?}");
    }
}

/// A correct request for a token that does not work gets the same refusal for each reason. Reuse still ends the grant.
#[tokio::test]
async fn dead_grant_gets_one_refusal_whatever_its_state() {
    let mut equal = Equal::default();
    for (what, state, writes) in [
        ("refresh", State::SpentOutsideWindow, &["revoke_grants"][..]),
        ("refresh", State::Expired, &[]),
        ("refresh", State::SubjectSuspended, &[]),
        ("refresh", State::SubjectGone, &["revoke_grants"]),
        ("refresh", State::GrantRevoked, &[]),
        ("code", State::SpentWithinWindow, &["revoke_grants"]),
        ("code", State::SpentOutsideWindow, &["revoke_grants"]),
        ("code", State::Expired, &[]),
        ("code", State::SubjectSuspended, &[]),
        ("code", State::SubjectGone, &["revoke_grants"]),
        ("code", State::GrantRevoked, &[]),
    ] {
        let case = if what == "code" { Case::code(state).await } else { Case::refresh(state).await };
        let response = case.t.server.token(&case.correct()).await;
        assert_eq!(response.status(), 400, "{what}, {state:?}");
        assert!(text(&response).contains("\"invalid_grant\""), "{what}, {state:?}: {}", text(&response));
        equal.hold(&response, &format!("{what}, {state:?}"));
        assert_eq!(case.spy.writes(), writes, "{what}, {state:?}");
    }
}

#[tokio::test]
async fn password_of_inactive_user_is_answered_like_a_wrong_one() {
    let (t, app, spy) = server(|builder| builder).await;
    let login = |username, password| {
        let pairs = [("grant_type", "password"), ("username", username), ("password", password), ("scope", SCOPE)];
        token_as(&app, &pairs)
    };
    let mut equal = Equal::default();
    equal.hold(&t.server.token(&login("alice", "wrong")).await, "a wrong password");
    equal.hold(&t.server.token(&login("nobody", "correct horse")).await, "an unknown user");
    for (status, writes) in [(SubjectStatus::Suspended, &[][..]), (SubjectStatus::Gone, &["revoke_grants"])] {
        t.users.set_status("alice", status);
        spy.writes();
        equal.hold(&t.server.token(&login("alice", "correct horse")).await, status.as_str());
        assert_eq!(spy.writes(), writes, "{status:?}");
    }
}

/// An extension grant gets the same answer for suspended and removed subjects.
#[tokio::test]
async fn extension_grant_answers_suspended_and_gone_alike() {
    let mut equal = Equal::default();
    for status in [SubjectStatus::Suspended, SubjectStatus::Gone] {
        let (t, app, _) = server(|builder| builder).await;
        t.users.set_status("alice", status);
        let response = t.server.token(&token_as(&app, &[("grant_type", TICKET), ("scope", SCOPE)])).await;
        assert!(text(&response).contains("\"invalid_grant\""), "{}", text(&response));
        equal.hold(&response, status.as_str());
    }
}

/// The host's decision about an issuance.
#[derive(Debug, Clone, Copy)]
enum HostSays {
    Refused,
    Failed,
    Unavailable,
    TooWide,
    TooLong,
    TooMuch,
    StatusUnknown,
}

/// Makes this decision about each refresh, first or repeated.
struct Host(HostSays);

#[async_trait]
impl TokenCustomizer for Host {
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        assert!(matches!(issuance.kind, IssuanceKind::Refresh | IssuanceKind::Repeat), "{:?}", issuance.kind);
        let changes = TokenChanges::new();
        Ok(match self.0 {
            HostSays::Refused => {
                return Err(Error::refused(ErrorCode::from_static("example_quota"), "the quota is used up"));
            }
            HostSays::Failed => return Err(CustomizerError::new("it is broken").into()),
            HostSays::Unavailable => return Err(CustomizerError::unavailable("it is down").into()),
            HostSays::TooWide => changes.scope(Scope::parse("admin").unwrap()),
            HostSays::TooLong => changes.access_token_lifetime(issuance.access_token_lifetime * 2),
            HostSays::TooMuch => changes.response_member("m", "x".repeat(5_000)),
            HostSays::StatusUnknown => changes,
        })
    }
}

/// Checks clients as usual, and fails for the status of every subject.
struct Down;

#[async_trait]
impl Authenticator for Down {
    async fn subject_status(&self, _: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        Err(AuthenticatorError::new("the directory is down"))
    }
}

/// The host app's decision has the same effect on a first and a repeated refresh, and spends nothing.
#[tokio::test]
async fn host_is_called_alike_on_refresh_and_repeat() {
    for (says, status) in [
        (HostSays::Refused, 400),
        (HostSays::Failed, 500),
        (HostSays::Unavailable, 503),
        (HostSays::TooWide, 500),
        (HostSays::TooLong, 500),
        (HostSays::TooMuch, 500),
        (HostSays::StatusUnknown, 503),
    ] {
        let mut equal = Equal::default();
        for state in [State::Unspent, State::SpentWithinWindow] {
            let mut case = Case::refresh(state).await;
            let hash = RefreshToken::new(case.token()).hash();
            let before = row(&case.t, hash).await.0.spent.is_some();
            case.t.server = build(&case.t, &case.spy, |builder| match says {
                HostSays::StatusUnknown => builder.token_customizer(Host(says)).authenticator(Down),
                _ => builder.token_customizer(Host(says)),
            })
            .await;
            let response = case.t.server.token(&case.correct()).await;
            assert_eq!(response.status(), status, "{says:?}, {state:?}");
            equal.hold(&response, &format!("{says:?}, {state:?}"));
            assert!(case.spy.writes().is_empty(), "{says:?}, {state:?}");
            assert_eq!(row(&case.t, hash).await.0.spent.is_some(), before, "{says:?}, {state:?}");
        }
    }
}
