//! Which of two faults decides the answer. Each table lists the faults of a request in the order of the checks; each
//! test then puts every pair of faults into one request, and the earlier fault must decide.

use grantor::storage::GrantSelector;
use grantor::testing::{TestClient, TestServer};
use grantor::{Clock, Request, Storage};
use time::Duration;

use crate::common::{basic, form};
use crate::support::{CB, change_client, last_reason, redemption, refresh_of, row, tokens_of, with};

/// A request under construction, valid until faults are added.
struct Attempt {
    t: TestServer,
    app: TestClient,
    other: TestClient,
    method: &'static str,
    target: &'static str,
    media_type: &'static str,
    header: String,
    pairs: Vec<(&'static str, String)>,
    raw: &'static str,
    /// The grant of the presented token, if there is one.
    grant: Option<GrantSelector>,
    revoke: bool,
    age: Duration,
}

/// A fault: its part of the request (two faults of the same part are not combined), the change, and the reason that
/// the observer gets.
type Fault = (&'static str, fn(&mut Attempt), &'static str);

impl Attempt {
    fn new(t: TestServer, app: TestClient, other: TestClient, pairs: &[(&'static str, &str)]) -> Self {
        let header = header(&app);
        let pairs = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self {
            t,
            app,
            other,
            method: "POST",
            target: "/token",
            media_type: "application/x-www-form-urlencoded",
            header,
            pairs,
            raw: "",
            grant: None,
            revoke: false,
            age: Duration::ZERO,
        }
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.pairs.retain(|(own, _)| *own != name);
        if !value.is_empty() {
            self.pairs.push((name, value.to_owned()));
        }
    }

    async fn send(self) -> (TestServer, grantor::Response) {
        self.t.clock.advance(self.age);
        if let Some(grant) = self.grant.as_ref().filter(|_| self.revoke) {
            self.t.storage.revoke_grants(grant, self.t.clock.now()).await.unwrap();
        }
        let pairs: Vec<(&str, &str)> = self.pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let request = Request::new(self.method, self.target)
            .with_header("content-type", self.media_type)
            .with_header("authorization", self.header)
            .with_body(format!("{}{}", form(&pairs), self.raw));
        let response = self.t.server.token(&request).await;
        (self.t, response)
    }
}

fn header(app: &TestClient) -> String {
    basic(&app.id, app.secret.as_ref().expect("a confidential client").expose())
}

/// The faults that every grant type has in common, up to `grant_type`.
const COMMON: [Fault; 11] = [
    ("method", |a| a.method = "GET", "MethodNotAllowed(\"POST\")"),
    ("size", |a| a.set("filler", &"x".repeat(70_000)), "BodyTooLarge"),
    ("query", |a| a.target = "/token?scope=user:read", "ParameterInQuery(\"scope\")"),
    ("media type", |a| a.media_type = "application/json", "NotAForm"),
    ("encoding", |a| a.raw = "&x=%", "MalformedEncoding"),
    (
        "repetition",
        |a| a.pairs.extend([("scope", "a".to_owned()), ("scope", "a".to_owned())]),
        "RepeatedParameter(\"scope\")",
    ),
    ("grant type", |a| a.set("grant_type", ""), "MissingParameter(\"grant_type\")"),
    ("header", |a| a.header = String::from("Basic !"), "MalformedAuthorization"),
    ("header", |a| a.header = basic(&a.app.id, "not-the-secret"), "ClientAuthenticationFailed"),
    ("grant type", |a| a.set("grant_type", "urn:example:unserved"), "UnsupportedGrantType"),
    ("grant type", |a| a.set("grant_type", "password"), "GrantTypeNotAllowed"),
];

/// A valid redemption of a code.
async fn code() -> Attempt {
    // The server has the password grant, so there is a grant type that the client may not use.
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_password_grant = true);
    let (app, other) = (t.confidential_client(CB).await, t.confidential_client(CB).await);
    let server = t.clone();
    let approved = server.authorize(&app).approve_as("alice").await;
    let grant = row(&t, approved.code().hash()).await.1.id;
    let pairs = redemption(&approved, &app);
    let owned: Vec<(&'static str, String)> = pairs.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
    drop(approved);
    let borrowed: Vec<(&'static str, &str)> = owned.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let mut attempt = Attempt::new(t, app, other, &borrowed);
    attempt.grant = Some(GrantSelector::Id(grant));
    attempt
}

/// A code that was redeemed before, so a correct request for it is a replay.
async fn used_code() -> Attempt {
    let attempt = code().await;
    let pairs: Vec<(&str, &str)> = attempt.pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let first = crate::common::token_as(&attempt.app, &pairs);
    assert_eq!(attempt.t.server.token(&first).await.status(), 200);
    attempt
}

/// The faults of a redemption that follow the common ones.
const CODE: [Fault; 7] = [
    ("code", |a| a.set("code", ""), "MissingParameter(\"code\")"),
    ("code", |a| a.set("code", "no-such-code"), "UnknownToken"),
    ("header", |a| a.header = header(&a.other), "ForeignToken"),
    ("redirect URI", |a| a.set("redirect_uri", "https://app.example/other"), "RedirectUriMismatch"),
    ("verifier", |a| a.set("code_verifier", crate::common::VERIFIER), "WrongCodeVerifier"),
    ("grant", |a| a.revoke = true, "GrantEnded"),
    ("age", |a| a.age = Duration::minutes(2), "GrantEnded"),
];

/// A valid refresh, on a server where tokens expire before their grant.
async fn refresh() -> Attempt {
    let t = TestServer::with_policy(|policy| {
        policy.access_token_lifetime = Duration::hours(9);
        policy.refresh_token_idle_lifetime = Duration::hours(3);
        policy.dangerous().allow_password_grant = true;
    });
    let (app, other) = (t.confidential_client(CB).await, t.confidential_client(CB).await);
    let tokens = tokens_of(&t, &app).await;
    let grant = row(&t, tokens.access_token.hash()).await.1.id;
    let pairs = [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose())];
    let mut attempt = Attempt::new(t, app, other, &pairs);
    attempt.grant = Some(GrantSelector::Id(grant));
    attempt
}

/// A refresh token that was used before, and whose grace window has passed.
async fn used_refresh() -> Attempt {
    let mut attempt = refresh().await;
    let pairs: Vec<(&str, &str)> = attempt.pairs.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let first = crate::common::token_as(&attempt.app, &pairs);
    assert_eq!(attempt.t.server.token(&first).await.status(), 200);
    attempt.age = Duration::MINUTE;
    attempt
}

const REFRESH: [Fault; 6] = [
    ("token", |a| a.set("refresh_token", ""), "MissingParameter(\"refresh_token\")"),
    ("token", |a| a.set("refresh_token", "no-such-token"), "UnknownToken"),
    ("header", |a| a.header = header(&a.other), "ForeignToken"),
    ("scope", |a| a.set("scope", "user:read nonsense"), "ScopeExceedsGrant"),
    ("grant", |a| a.revoke = true, "GrantEnded"),
    ("age", |a| a.age = Duration::hours(4), "ExpiredToken"),
];

async fn password() -> Attempt {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_password_grant = true);
    let app = t.confidential_client_with(|client| client.password().scope("user:read")).await;
    let other = t.confidential_client(CB).await;
    t.users.add("alice", "correct horse");
    let pairs =
        [("grant_type", "password"), ("username", "alice"), ("password", "correct horse"), ("scope", "user:read")];
    Attempt::new(t, app, other, &pairs)
}

const PASSWORD: [Fault; 5] = [
    ("header", |a| a.header = header(&a.other), "GrantTypeNotAllowed"),
    ("username", |a| a.set("username", ""), "MissingParameter(\"username\")"),
    ("password", |a| a.set("password", ""), "MissingParameter(\"password\")"),
    ("scope", |a| a.set("scope", "nonsense"), "UnknownScope"),
    ("username", |a| a.set("username", "mallory"), "ResourceOwnerRejected"),
];

/// Adds every fault alone and every pair together; `last` is the reason for refusing a request without a fault, if any.
async fn check<F: Future<Output = Attempt>>(valid: impl Fn() -> F, faults: &[Fault], last: Option<&str>) {
    let (t, response) = valid().await.send().await;
    match last {
        None => assert_eq!(response.status(), 200),
        Some(reason) => assert_eq!(last_reason(&t), reason),
    }
    let mut pairs = 0;
    for (i, (part, put_in, reason)) in faults.iter().enumerate() {
        let mut alone = valid().await;
        put_in(&mut alone);
        let (t, response) = alone.send().await;
        assert!(response.status() >= 400);
        assert_eq!(last_reason(&t), *reason);
        for (other_part, put_in_other, other_reason) in &faults[i + 1..] {
            if part == other_part {
                continue;
            }
            let mut both = valid().await;
            put_in_other(&mut both);
            put_in(&mut both);
            let (t, _) = both.send().await;
            assert_eq!(last_reason(&t), *reason, "together with {other_reason}");
            pairs += 1;
        }
    }
    assert!(pairs > faults.len(), "the table has no faults that can be combined");
}

// covers: AMB-09
#[tokio::test]
async fn earlier_of_two_faults_in_a_code_request_decides() {
    check(code, &[&COMMON[..], &CODE].concat(), None).await;
}

// covers: AMB-09, AMB-14
#[tokio::test]
async fn code_replay_is_detected_after_proofs_before_expiry() {
    let [proofs @ .., _] = &CODE[..] else { panic!("the age is the last fault") };
    check(used_code, &[&COMMON[..], proofs].concat(), Some("CodeReplayed")).await;
    let mut old = used_code().await;
    old.age = Duration::minutes(2);
    assert_eq!(last_reason(&old.send().await.0), "CodeReplayed");
}

// covers: AMB-09
#[tokio::test]
async fn earlier_of_two_faults_in_a_refresh_decides() {
    check(refresh, &[&COMMON[..], &REFRESH].concat(), None).await;
}

// covers: AMB-09, AMB-26
#[tokio::test]
async fn refresh_reuse_is_detected_after_scope_before_expiry() {
    let [before @ .., (_, put_in_age, _)] = &REFRESH[..] else { panic!("the age is the last fault") };
    check(used_refresh, &[&COMMON[..], before].concat(), Some("RefreshTokenReused")).await;
    let mut attempt = used_refresh().await;
    put_in_age(&mut attempt);
    assert_eq!(last_reason(&attempt.send().await.0), "RefreshTokenReused");
}

// covers: AMB-09
#[tokio::test]
async fn earlier_of_two_faults_in_a_password_request_decides() {
    // This client may use the password grant, so the last common fault does not apply.
    let [common @ .., _] = &COMMON[..] else { panic!("there are common faults") };
    check(password, &[common, &PASSWORD].concat(), None).await;
}

// covers: AMB-09
#[tokio::test]
async fn unknown_authorization_scheme_fails_at_authentication() {
    let mut attempt = code().await;
    attempt.header = "Bearer something".to_owned();
    assert_eq!(last_reason(&attempt.send().await.0), "AuthenticationMethodNotAllowed");
    for (_, put_in, reason) in &COMMON[..7] {
        let mut attempt = code().await;
        attempt.header = "Bearer something".to_owned();
        put_in(&mut attempt);
        assert_eq!(last_reason(&attempt.send().await.0), *reason);
    }
}

// covers: AMB-09
#[tokio::test]
async fn query_switch_is_checked_after_client_authentication() {
    let t = TestServer::with_policy(|policy| policy.dangerous().allow_token_parameters_in_query = true);
    let app = t.confidential_client(CB).await;
    let body = with(&[("grant_type", "urn:example:unserved")], "scope", "");
    for (header, reason) in
        [(basic(&app.id, "wrong"), "ClientAuthenticationFailed"), (header(&app), "ParameterInQuery(\"scope\")")]
    {
        let request = Request::post_form("/token?scope=user:read", form(&body)).with_header("authorization", header);
        assert_eq!(t.server.token(&request).await.status() / 100, 4);
        assert_eq!(last_reason(&t), reason);
    }
    change_client(&t, &app, |parts| parts.legacy.token_parameters_in_query = true).await;
    let request = Request::post_form("/token?scope=user:read", form(&body)).with_header("authorization", header(&app));
    assert_eq!(t.server.token(&request).await.status(), 400);
    assert_eq!(last_reason(&t), "UnsupportedGrantType");
}
