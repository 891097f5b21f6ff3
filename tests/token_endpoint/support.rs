//! Helpers for the tests of the token endpoint.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use grantor::error::StorageError;
use grantor::secret::TokenHash;
use grantor::storage::RedeemOutcome;
use grantor::testing::{ApprovedFlow, Call, ISSUER, Intercepted, Interceptor, Next, Reply, TestClient, TestServer};
use grantor::{
    AccessToken, AuthorizationServer, Client, ClientRegistry, ClientStore, Grant, Policy, Request, Response, Storage,
    StoredToken, TokenResponse,
};
use serde_json::Value;
use url::form_urlencoded;

pub(crate) use crate::common::{CB, confidential, public};
use crate::common::{error_of, json, text, token_as};

/// Sends a request that must be refused, and checks the common properties of refusals.
pub(crate) async fn refused(t: &TestServer, request: &Request, status: u16, error: &str) -> Refused {
    let response = t.server.token(request).await;
    assert_refusal(&response, status, error);
    assert_no_echo(request, &response);
    Refused(response)
}

/// Like [`refused`], and checks the reason in the event.
pub(crate) async fn refused_for(t: &TestServer, request: &Request, status: u16, error: &str, reason: &str) -> Refused {
    let response = refused(t, request, status, error).await;
    assert_eq!(last_reason(t), reason);
    response
}

/// Like [`refused_for`], for the three most frequent errors.
pub(crate) async fn bad_request(t: &TestServer, request: &Request, reason: &str) -> Refused {
    refused_for(t, request, 400, "invalid_request", reason).await
}

pub(crate) async fn bad_grant(t: &TestServer, request: &Request, reason: &str) -> Refused {
    refused_for(t, request, 400, "invalid_grant", reason).await
}

pub(crate) async fn bad_client(t: &TestServer, request: &Request, reason: &str) -> Refused {
    refused_for(t, request, 401, "invalid_client", reason).await
}

/// The response to a request that was refused as expected.
pub(crate) struct Refused(Response);

impl std::ops::Deref for Refused {
    type Target = Response;
    fn deref(&self) -> &Response {
        &self.0
    }
}

/// Checks the status, the code, the headers and the grammar of RFC 6749 §5.2.
#[track_caller]
pub(crate) fn assert_refusal(response: &Response, status: u16, error: &str) {
    let shown = text(response);
    assert_eq!((response.status(), error_of(response).as_str()), (status, error), "{shown}");
    assert_uncached_json(response);
    let challenge = format!("Basic realm=\"{ISSUER}\", charset=\"UTF-8\"");
    let challenges = if status == 401 { vec![challenge.as_str()] } else { Vec::new() };
    assert_eq!(header_values(response, "www-authenticate"), challenges, "{shown}");
    let allow = if status == 405 { vec!["POST"] } else { Vec::new() };
    assert_eq!(header_values(response, "allow"), allow, "{shown}");
    assert_eq!(header_values(response, "retry-after").len(), usize::from(matches!(status, 429 | 503)), "{shown}");

    let body = json(response);
    let members = body.as_object().expect("an object");
    assert_eq!(members.keys().collect::<Vec<_>>(), ["error", "error_description"], "{shown}");
    for (name, value) in members {
        let value = value.as_str().expect("a text");
        let allowed = |byte| matches!(byte, 0x20..=0x21 | 0x23..=0x5b | 0x5d..=0x7e);
        assert!(!value.is_empty() && value.bytes().all(allowed), "{name} is {value:?}");
    }
}

#[track_caller]
pub(crate) fn assert_uncached_json(response: &Response) {
    assert_eq!(header_values(response, "content-type"), ["application/json"]);
    assert_eq!(header_values(response, "cache-control"), ["no-store"]);
    assert_eq!(header_values(response, "pragma"), ["no-cache"]);
}

/// Asserts that a refusal echoes no value of the request, except names that the server knows. Values that are too
/// short to differ from ordinary words are skipped.
#[track_caller]
fn assert_no_echo(request: &Request, response: &Response) {
    const OWN_WORDS: [&str; 10] = [
        "authorization_code",
        "client_assertion",
        "client_assertion_type",
        "client_credentials",
        "client_secret",
        "code_verifier",
        "example_voucher",
        "redirect_uri",
        "refresh_token",
        "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
    ];
    let headers: Vec<String> = response.headers().map(|(name, value)| format!("{name}: {value}")).collect();
    let answer = format!("{}\n{}", headers.join("\n"), text(response));
    let pairs = [request.query().as_bytes(), request.body()].into_iter().flat_map(form_urlencoded::parse);
    let sent = pairs.flat_map(|(name, value)| [name, value]);
    for word in sent.filter(|word| word.len() >= 12 && !OWN_WORDS.contains(&&**word)) {
        assert!(!answer.contains(&*word), "{word:?} comes back in {answer}");
    }
}

pub(crate) fn header_values<'a>(response: &'a Response, name: &str) -> Vec<&'a str> {
    response.headers().filter(|(own, _)| *own == name).map(|(_, value)| value).collect()
}

/// Sends a request that must succeed, and checks the common properties of plain bearer token responses.
pub(crate) async fn granted(t: &TestServer, request: &Request) -> Value {
    let response = t.server.token(request).await;
    assert_eq!(response.status(), 200, "{}", text(&response));
    assert_uncached_json(&response);
    let body = json(&response);
    assert!(body["access_token"].is_string() && body["scope"].is_string(), "{body}");
    assert_eq!(body["token_type"], "Bearer");
    assert!(body["expires_in"].as_u64().is_some_and(|seconds| seconds > 0), "{body}");
    assert!(body.as_object().unwrap().values().all(|value| !value.is_null()), "{body}");
    body
}

/// The access token of a JSON answer.
pub(crate) fn access_token(body: &Value) -> AccessToken {
    AccessToken::new(body["access_token"].as_str().expect("an access token"))
}

/// The parameters of a correct redemption of a code.
pub(crate) fn redemption<'a>(approved: &'a ApprovedFlow<'_>, app: &'a TestClient) -> Vec<(&'static str, &'a str)> {
    let mut pairs = vec![
        ("grant_type", "authorization_code"),
        ("code", approved.code().expose()),
        ("redirect_uri", app.redirect_uri.as_str()),
    ];
    pairs.extend(approved.verifier().map(|verifier| ("code_verifier", verifier.expose())));
    pairs
}

/// The same parameters with one of them changed, or removed if the value is empty.
pub(crate) fn with<'a>(
    pairs: &[(&'static str, &'a str)],
    name: &'static str,
    value: &'a str,
) -> Vec<(&'static str, &'a str)> {
    let rest = pairs.iter().copied().filter(|(own, _)| *own != name);
    rest.chain((!value.is_empty()).then_some((name, value))).collect()
}

/// A correct refresh request.
pub(crate) fn refresh(app: &TestClient, token: &str) -> Request {
    token_as(app, &[("grant_type", "refresh_token"), ("refresh_token", token)])
}

/// The tokens of a new grant of the client, for all scopes.
pub(crate) async fn tokens_of(t: &TestServer, app: &TestClient) -> TokenResponse {
    let approved = t.authorize(app).scope("user:read user:write offline_access").approve_as("alice").await;
    approved.redeem().await.expect("a code that was just issued")
}

/// The refresh token of a response that must have one.
#[track_caller]
pub(crate) fn refresh_of(tokens: &TokenResponse) -> &grantor::RefreshToken {
    tokens.refresh_token.as_ref().expect("a refresh token")
}

/// Whether a protected resource accepts an access token.
pub(crate) async fn lives(t: &TestServer, token: &AccessToken) -> bool {
    match t.bearer(token).await {
        Ok(_) => true,
        Err(error) => {
            assert_eq!(error.code().expect("a code"), "invalid_token");
            false
        }
    }
}

/// The row of a token and the row of its grant.
pub(crate) async fn row(t: &TestServer, hash: TokenHash) -> (Arc<StoredToken>, Arc<Grant>) {
    let found = t.storage.find(&hash).await.expect("memory storage does not fail").expect("a row");
    (found.token, found.grant)
}

/// The rows of tokens and their grants in a form that can be compared.
pub(crate) async fn rows(t: &TestServer, hashes: &[TokenHash]) -> Vec<Value> {
    let mut rows = Vec::new();
    for hash in hashes {
        let (token, grant) = row(t, *hash).await;
        rows.push(serde_json::json!([token, *grant]));
    }
    rows
}

/// The reason of the last event, which is a refusal.
#[track_caller]
pub(crate) fn last_reason(t: &TestServer) -> String {
    let last = t.events.events().pop().expect("an event");
    assert_eq!(last.name, "token_refused", "{}", last.text);
    let (_, reason) = last.text.split_once("error: Refused(").expect("a refusal");
    // The closing brackets of the refusal, the event's kind and the event follow.
    reason.strip_suffix(") } }").expect("the end of the event").to_owned()
}

/// Changes the registration of a client.
pub(crate) async fn change_client(
    t: &TestServer,
    app: &TestClient,
    change: impl FnOnce(&mut grantor::client::ClientParts),
) {
    let before = t.storage.find_client(&app.id).await.unwrap().expect("the client");
    let mut parts = before.parts().clone();
    change(&mut parts);
    let changed = Client::from_parts(parts).expect("valid client parts");
    t.storage.update(changed, before.version()).await.expect("an update");
}

/// Records every writing call, and can be given the outcome of redemptions.
#[derive(Default)]
pub(crate) struct Spy {
    writes: Mutex<Vec<&'static str>>,
    outcome: Mutex<Option<RedeemOutcome>>,
}

impl Spy {
    /// The names of the writing calls since the last call of this method.
    pub(crate) fn writes(&self) -> Vec<&'static str> {
        std::mem::take(&mut *self.writes.lock().unwrap())
    }

    /// Makes every later redemption return this outcome and do nothing.
    pub(crate) fn answer_redemptions_with(&self, outcome: RedeemOutcome) {
        *self.outcome.lock().unwrap() = Some(outcome);
    }
}

#[async_trait]
impl Interceptor for Spy {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        let reads = matches!(call, Call::FindClient(_) | Call::Find(_) | Call::ListGrants { .. } | Call::Get { .. });
        if !reads && !matches!(call, Call::ClaimIssuer(_)) {
            self.writes.lock().unwrap().push(call.method());
        }
        let outcome = *self.outcome.lock().unwrap();
        match (call, outcome) {
            (Call::Redeem { .. }, Some(outcome)) => Ok(Reply::Redeemed(outcome)),
            _ => next.run(call).await,
        }
    }
}

/// A test server whose writes are recorded.
pub(crate) async fn spied(change: impl FnOnce(&mut Policy)) -> (TestServer, Arc<Spy>) {
    let (mut t, spy) = (TestServer::new(), Arc::<Spy>::default());
    let mut policy = Policy::default();
    change(&mut policy);
    t.server = restarted(&t, Intercepted::new(t.storage.clone(), Arc::clone(&spy)), policy).await;
    (t, spy)
}

/// A new server over the same records, like after a restart or on another node.
pub(crate) async fn restarted<S: Storage + ClientStore + grantor::EphemeralStore + 'static>(
    t: &TestServer,
    storage: S,
    policy: Policy,
) -> AuthorizationServer {
    AuthorizationServer::builder(ISSUER)
        .storage(storage)
        .authenticator(t.users.clone())
        .scope("user:read", "Read your profile")
        .scope("user:write", "Change your profile")
        .scope("offline_access", "Keep access while you are away")
        .clock(t.clock.clone())
        .entropy(t.entropy.clone())
        .observer(t.events.clone())
        .policy(policy)
        .build()
        .await
        .expect("the settings are valid")
}
