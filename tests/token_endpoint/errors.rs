//! The error codes of RFC 6749 §5.2 with their descriptions, and the failures of the host app.

use async_trait::async_trait;
use grantor::error::AuthenticatorError;
use grantor::testing::TestServer;
use grantor::{Authenticator, ClientAttempt, Entropy, EntropyError, Request, ResourceOwnerAttempt, Subject, Verdict};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use time::Duration;

use crate::common::{VERIFIER, basic, json, token, token_as};
use crate::support::{CB, confidential, granted, header_values, redemption, refresh, refused, tokens_of, with};

/// Sends each request and expects the same code each time, with a fixed description.
async fn all_refused(t: &TestServer, status: u16, error: &str, cases: &[(Request, &str)]) {
    for (request, description) in cases {
        let response = refused(t, request, status, error).await;
        assert_eq!(json(&response)["error_description"], *description);
    }
}

const MACHINE: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "user:read")];

// covers: TE-01 (RFC 6749 §5.2), TE-02 (RFC 6749 §5.2), TE-03 (RFC 6749 §5.2), TE-04 (RFC 6749 §5.2), TE-05 (RFC 6749 §5.2), TK-02 (RFC 6749 §5.2)
#[tokio::test]
async fn invalid_request_names_the_problem() {
    let (t, app) = confidential().await;
    let (id, secret) = (app.id.as_str(), app.secret.as_ref().unwrap().expose());
    let credentials = [("client_id", id), ("client_secret", secret)];
    let approved = t.authorize(&app).approve_as("alice").await;
    let code = redemption(&approved, &app);
    let cases = [
        (Request::new("POST", "/token"), "the request body is not application/x-www-form-urlencoded"),
        (Request::post_form("/token", "a=%"), "the parameters have an invalid percent-escape or are not UTF-8"),
        (Request::post_form("/token?scope=x", ""), "the parameter scope is in the URL: send it in the request body"),
        (token_as(&app, &with(&MACHINE, "grant_type", "")), "the parameter grant_type is missing"),
        (token_as(&app, &with(&code, "code", "")), "the parameter code is missing"),
        (token_as(&app, &[("grant_type", "refresh_token")]), "the parameter refresh_token is missing"),
        (token_as(&app, &[&MACHINE[..], &MACHINE].concat()), "the parameter grant_type occurs more than once"),
        (
            token_as(&app, &[&MACHINE[..], &credentials].concat()),
            "the request uses more than one client authentication method: use one",
        ),
        (
            token_as(&app, &[&MACHINE[..], &[("client_id", "x")]].concat()),
            "the Authorization header and the body name different clients",
        ),
    ];
    all_refused(&t, 400, "invalid_request", &cases).await;
    all_refused(
        &t,
        405,
        "invalid_request",
        &[(Request::get("/token"), "this endpoint does not support this HTTP method")],
    )
    .await;
    let large = Request::post_form("/token", vec![b'a'; 65_537]);
    all_refused(&t, 413, "invalid_request", &[(large, "the request is too large")]).await;
    granted(&t, &token_as(&app, &code)).await;
}

// covers: TE-01 (RFC 6749 §5.2), TE-02 (RFC 6749 §5.2), TE-03 (RFC 6749 §5.2), TE-04 (RFC 6749 §5.2), TE-07 (RFC 6749 §5.2), TE-08 (RFC 6749 §5.2), TK-03 (RFC 6749 §5.2), AMB-18
#[tokio::test]
async fn bad_client_and_bad_grant_type_have_distinct_codes() {
    let (t, app) = confidential().await;
    let wrong_secret = token(&MACHINE).with_header("authorization", basic(&app.id, "wrong"));
    let malformed = token(&MACHINE).with_header("authorization", "Basic !");
    let cases = [
        (token(&MACHINE), "client authentication failed"),
        (wrong_secret, "client authentication failed"),
        (malformed, "the Authorization header is malformed"),
    ];
    all_refused(&t, 401, "invalid_client", &cases).await;

    let grant_types =
        ["foo", "implicit", "password", "urn:ietf:params:oauth:grant-type:saml2-bearer", "authorization code"];
    for grant_type in grant_types {
        let request = token_as(&app, &with(&MACHINE, "grant_type", grant_type));
        all_refused(&t, 400, "unsupported_grant_type", &[(request, "this grant type is not supported")]).await;
    }

    let other = t.confidential_client_with(|client| client.authorization_code([CB]).scope("user:read")).await;
    for pairs in [&MACHINE[..], &[("grant_type", "refresh_token")]] {
        let request = token_as(&other, pairs);
        let description = "the client is not registered for this grant type";
        all_refused(&t, 400, "unauthorized_client", &[(request, description)]).await;
    }
}

// covers: TE-01 (RFC 6749 §5.2), TE-02 (RFC 6749 §5.2), TE-03 (RFC 6749 §5.2), TE-04 (RFC 6749 §5.2), TE-06 (RFC 6749 §5.2)
#[tokio::test]
async fn invalid_grant_hides_token_state_but_names_wrong_proofs() {
    const ANY: &str = "the code or token is unknown, expired, revoked, already used or belongs to another client";
    let t = TestServer::new();
    let (app, other) = (t.confidential_client(CB).await, t.confidential_client(CB).await);
    let approved = t.authorize(&app).approve_as("alice").await;
    let code = redemption(&approved, &app);
    let used = t.authorize(&app).approve_as("alice").await;
    let tokens = used.redeem().await.unwrap();
    let used = redemption(&used, &app);
    let fresh = crate::support::refresh_of(&tokens).expose();
    let cases = [
        (token_as(&app, &with(&code, "code", "no-such-code-exists")), ANY),
        (token_as(&other, &code), ANY),
        (refresh(&app, "no-such-refresh-token"), ANY),
        (refresh(&other, fresh), ANY),
        // The used code ends its grant, and with it the refresh token.
        (token_as(&app, &used), ANY),
        (token_as(&app, &used), ANY),
        (refresh(&app, fresh), ANY),
        (
            token_as(&app, &with(&code, "redirect_uri", "https://app.example/other")),
            "the redirect URI differs from the one in the authorization request",
        ),
        (token_as(&app, &with(&code, "code_verifier", VERIFIER)), "PKCE: code_verifier does not match the challenge"),
        (
            token_as(&app, &with(&code, "code_verifier", "short")),
            "PKCE: code_verifier is malformed: it must have 43 to 128 characters out of A-Z a-z 0-9 - . _ ~",
        ),
        (token_as(&app, &with(&code, "code_verifier", "")), "PKCE: code_verifier is missing"),
    ];
    all_refused(&t, 400, "invalid_grant", &cases).await;
    t.clock.advance(Duration::MINUTE);
    all_refused(&t, 400, "invalid_grant", &[(token_as(&app, &code), ANY)]).await;
}

// covers: TE-01 (RFC 6749 §5.2), TE-02 (RFC 6749 §5.2), TE-03 (RFC 6749 §5.2), TE-04 (RFC 6749 §5.2), TE-09 (RFC 6749 §5.2)
#[tokio::test]
async fn invalid_scope_names_the_problem() {
    let (t, app) = confidential().await;
    let narrow = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    let tokens = tokens_of(&t, &app).await;
    let fresh = crate::support::refresh_of(&tokens).expose();
    let wide = [("grant_type", "refresh_token"), ("refresh_token", fresh), ("scope", "user:read more")];
    let cases = [
        (token_as(&app, &with(&MACHINE, "scope", "a\tb")), "the scope is malformed"),
        (token_as(&app, &with(&MACHINE, "scope", "nonsense")), "a requested scope is unknown"),
        (token_as(&narrow, &with(&MACHINE, "scope", "user:write")), "a requested scope is not allowed for this client"),
        (
            token_as(&app, &with(&MACHINE, "scope", "")),
            "the parameter scope is missing, and the client has no default scope",
        ),
        (token_as(&app, &wide), "the requested scope exceeds the granted scope"),
    ];
    all_refused(&t, 400, "invalid_scope", &cases).await;
    granted(&t, &refresh(&app, fresh)).await;
}

// covers: TE-11 (RFC 6749 §10.14), TL-10 (RFC 6749 §5.2)
#[tokio::test]
async fn client_that_prefers_html_gets_json_without_an_echo() {
    let (t, app) = confidential().await;
    let probe = "<script>alert(1)</script>";
    for name in ["grant_type", "scope", "client_id", "unknown-parameter"] {
        let pairs = with(&[("grant_type", "client_credentials"), ("scope", "nonsense")], name, probe);
        let request = token_as(&app, &pairs).with_header("accept", "text/html").with_header("accept-language", "de");
        let response = t.server.token(&request).await;
        let code = json(&response)["error"].as_str().unwrap().to_owned();
        refused(&t, &request, response.status(), &code).await;
    }
}

// covers: B36
#[tokio::test]
async fn failing_authenticator_is_a_server_error_without_detail() {
    authenticator_failure(AuthenticatorError::new, 500, "server_error", None).await;
}

// A full queue of password checks gets this answer.
// covers: B58
#[tokio::test]
async fn unavailable_authenticator_gets_503_and_retry_after() {
    authenticator_failure(AuthenticatorError::unavailable, 503, "temporarily_unavailable", Some("5")).await;
}

async fn authenticator_failure(
    error: fn(&'static str) -> AuthenticatorError,
    status: u16,
    code: &str,
    retry_after: Option<&str>,
) {
    let t = TestServer::with(|builder| {
        let mut policy = grantor::Policy::default();
        policy.dangerous().allow_password_grant = true;
        builder.policy(policy).authenticator(Broken(error))
    });
    let confidential = t.confidential_client_with(|client| client.client_credentials().scope("user:read")).await;
    let machine = [("grant_type", "client_credentials"), ("scope", "user:read")];
    let login = [("grant_type", "password"), ("username", "alice"), ("password", "p"), ("scope", "user:read")];
    let public = grantor::Client::public("spa").password().scope("user:read");
    let public = t.register(public.build(), None).await;
    for request in [token_as(&confidential, &machine), token_as(&public, &login)] {
        let response = refused(&t, &request, status, code).await;
        assert_eq!(response.header("retry-after"), retry_after);
        assert!(!String::from_utf8_lossy(response.body()).contains("ldap"), "the cause is for the observer only");
        let last = t.events.events().pop().unwrap();
        assert!(last.name == "token_refused" && last.text.contains("ldap.internal"), "{}", last.text);
    }
}

#[tokio::test]
async fn retry_after_is_rounded_up_to_whole_seconds() {
    for (wait, seconds) in [
        (Duration::ZERO, "0"),
        (Duration::milliseconds(1), "1"),
        (Duration::SECOND, "1"),
        (Duration::milliseconds(1_001), "2"),
        (Duration::minutes(5), "300"),
        (-Duration::SECOND, "0"),
    ] {
        let t = TestServer::with(|builder| builder.authenticator(Throttling(wait)));
        let app = t.confidential_client(CB).await;
        let request = token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")]);
        let response = refused(&t, &request, 429, "temporarily_unavailable").await;
        assert_eq!(header_values(&response, "retry-after"), [seconds], "{wait}");
        assert_eq!(t.events.names(), ["token_refused"]);
    }
}

// covers: B42
#[tokio::test]
async fn missing_randomness_issues_and_spends_nothing() {
    let dry = Dry(Arc::new(AtomicBool::new(false)));
    let t = TestServer::with(|builder| builder.entropy(dry.clone()));
    let app = t.confidential_client(CB).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let tokens = tokens_of(&t, &app).await;
    let requests = [
        token_as(&app, &redemption(&approved, &app)),
        refresh(&app, crate::support::refresh_of(&tokens).expose()),
        token_as(&app, &[("grant_type", "client_credentials"), ("scope", "user:read")]),
    ];
    dry.0.store(true, Ordering::SeqCst);
    for request in &requests {
        refused(&t, request, 500, "server_error").await;
    }
    dry.0.store(false, Ordering::SeqCst);
    for request in &requests {
        granted(&t, request).await;
    }
}

struct Broken(fn(&'static str) -> AuthenticatorError);

#[async_trait]
impl Authenticator for Broken {
    async fn authenticate_client(&self, _: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        Err((self.0)("ldap.internal:636 refused the connection"))
    }

    async fn authenticate_resource_owner(
        &self,
        _: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        Err((self.0)("ldap.internal:636 refused the connection"))
    }
}

struct Throttling(Duration);

#[async_trait]
impl Authenticator for Throttling {
    async fn authenticate_client(&self, _: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        Ok(Verdict::Throttled { retry_after: self.0 })
    }

    async fn authenticate_resource_owner(
        &self,
        _: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        Ok(Verdict::Throttled { retry_after: self.0 })
    }
}

/// Randomness that can run out.
#[derive(Clone)]
struct Dry(Arc<AtomicBool>);

impl Entropy for Dry {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        if self.0.load(Ordering::SeqCst) {
            return Err(EntropyError::new("no randomness left"));
        }
        grantor::SystemEntropy.fill(bytes)
    }
}
