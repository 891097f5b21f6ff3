//! Client authentication (RFC 6749 §2.3, §3.2.1).

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use grantor::client::{AuthenticationMethod, ClientBuilder, ClientError, ClientParts, ClientType, SetBy};
use grantor::error::AuthenticatorError;
use grantor::testing::{TestClient, TestServer};
use grantor::{
    Authenticator, Client, ClientAttempt, ClientCredential, ClientId, ClientRegistry, ClientSecret, ClientStore, Clock,
    Request, ResourceOwnerAttempt, Subject, Verdict,
};
use time::Duration;

use crate::common::{basic, form, token, token_as};
use crate::support::{
    CB, access_token, bad_client, bad_grant, bad_request, change_client, confidential, granted, header_values, public,
    redemption, refresh, refresh_of, refused, tokens_of, with,
};

const MACHINE: [(&str, &str); 2] = [("grant_type", "client_credentials"), ("scope", "user:read")];

fn secret_of(app: &TestClient) -> &str {
    app.secret.as_ref().expect("a confidential client").expose()
}

fn by_basic(id: &str, secret: &str) -> Request {
    token(&MACHINE).with_header("authorization", basic(id, secret))
}

fn by_body(id: &str, secret: &str) -> Request {
    token(&[&MACHINE[..], &[("client_id", id), ("client_secret", secret)]].concat())
}

/// A Basic header with exactly these bytes as credentials.
fn raw_basic(credentials: impl AsRef<[u8]>) -> Request {
    token(&MACHINE).with_header("authorization", format!("Basic {}", STANDARD.encode(credentials)))
}

// covers: CA-03 (RFC 6749 §2.3.1), CA-04 (OAuth 2.1 §2.4.1)
#[tokio::test]
async fn confidential_client_authenticates_by_header_or_body() {
    let (t, app) = confidential().await;
    granted(&t, &by_basic(&app.id, secret_of(&app))).await;
    granted(&t, &by_body(&app.id, secret_of(&app))).await;
}

// covers: CA-01 (RFC 6749 §3.2.1), CA-10 (RFC 6749 §2.2), CA-20 (RFC 6749 §10.2), GR-01 (RFC 6749 §6), GK-02 (RFC 6749 §4.4.2), AMB-17, B14, B29
#[tokio::test]
async fn client_id_alone_never_authenticates_confidential_client() {
    let (t, app) = confidential().await;
    let tokens = tokens_of(&t, &app).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let redeem = redemption(&approved, &app);
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose())];
    // A right verifier proves where the code came from, not which client redeems it.
    for pairs in [&MACHINE[..], &redeem, &refresh] {
        let named = [pairs, &[("client_id", app.id.as_str())]].concat();
        bad_client(&t, &token(&named), "MissingClientAuthentication").await;
        let empty_secret = [&named[..], &[("client_secret", "")]].concat();
        bad_client(&t, &token(&empty_secret), "MissingClientAuthentication").await;
    }
    granted(&t, &token_as(&app, &redeem)).await;
    granted(&t, &crate::support::refresh(&app, refresh_of(&tokens).expose())).await;
}

#[tokio::test]
async fn event_names_the_client_that_a_request_presented() {
    let (t, app) = confidential().await;
    let named = format!("client_id: None, presented_client_id: Some(ClientId({:?}))", app.id);
    let authenticated = format!("client_id: Some(ClientId({:?})), presented_client_id: None", app.id);
    let neither = "client_id: None, presented_client_id: None".to_owned();
    let id_alone = token(&[&MACHINE[..], &[("client_id", app.id.as_str())]].concat());
    for (request, expected) in [
        (by_basic(&app.id, "not-the-secret"), &named),
        (by_body(&app.id, "not-the-secret"), &named),
        (id_alone, &named),
        (by_basic("nobody-we-know", "not-the-secret"), &neither),
        (by_basic(secret_of(&app), &app.id), &neither),
        (by_basic(&app.id, secret_of(&app)).with_header("authorization", "Basic YTpi"), &neither),
        (Request::get("/token"), &neither),
        (token_as(&app, &[("grant_type", "unheard-of")]), &authenticated),
    ] {
        assert!(t.server.token(&request).await.status() >= 400);
        let shown = t.events.events().pop().unwrap().text;
        assert!(shown.contains(&**expected), "{expected}: {shown}");
    }
    let guess = form(&[("token", "x"), ("client_id", &app.id), ("client_secret", "not-the-secret")]);
    assert_eq!(t.server.revoke(&Request::post_form("/revoke", guess.clone())).await.status(), 401);
    assert_eq!(t.server.introspect(&Request::post_form("/introspect", guess)).await.status(), 401);
    for event in &t.events.events()[8..] {
        assert!(event.text.contains(&named), "{}", event.text);
    }
    assert_eq!(t.events.names()[8..], ["revocation_refused", "introspection_refused"]);
}

// covers: CA-13 (RFC 6749 §5.2), CA-14 (RFC 6749 §5.2), CA-15 (RFC 6749 §5.2), TL-21 (RFC 9110 §15.5.2), AMB-02
#[tokio::test]
async fn failed_authentication_is_401_with_one_body() {
    let (t, app) = confidential().await;
    let assertion = [("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")];
    let assertion = [&MACHINE[..], &assertion, &[("client_assertion", "header.payload.signature")]].concat();
    let mut bodies = Vec::new();
    for (request, reason) in [
        (by_basic(&app.id, "not-the-secret"), "ClientAuthenticationFailed"),
        (by_basic("nobody-we-know", "not-the-secret"), "UnknownClient"),
        (by_body(&app.id, "not-the-secret"), "ClientAuthenticationFailed"),
        (by_body("nobody-we-know", "not-the-secret"), "UnknownClient"),
        (token(&[&MACHINE[..], &[("client_id", "nobody-we-know")]].concat()), "UnknownClient"),
        (token(&MACHINE), "MissingClientAuthentication"),
        (token(&[&MACHINE[..], &[("client_secret", secret_of(&app))]].concat()), "MissingClientAuthentication"),
        (token(&assertion), "AuthenticationMethodNotAllowed"),
        (token(&MACHINE).with_header("authorization", "Bearer some-access-token"), "AuthenticationMethodNotAllowed"),
        (token(&MACHINE).with_header("authorization", "Digest username=a"), "AuthenticationMethodNotAllowed"),
    ] {
        // `refused` checks the challenge.
        let response = bad_client(&t, &request, reason).await;
        bodies.push((response.body().to_vec(), header_values(&response, "www-authenticate").join("")));
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "the answers differ");
}

// covers: CA-05 (RFC 6749 §2.3.1), CA-06 (RFC 7617 §2), AMB-03
#[tokio::test]
async fn basic_credentials_are_decoded_and_split_at_first_colon() {
    let t = TestServer::new();
    let id = "app:one %2B+/?&=~";
    let secret = "pass:word: %41+&=\"\\/~!";
    let app = t
        .register(
            Client::confidential(id, ClientCredential::secret(&ClientSecret::new(secret)))
                .client_credentials()
                .scope("user:read")
                .build(),
            Some(ClientSecret::new(secret)),
        )
        .await;
    granted(&t, &by_basic(&app.id, secret)).await;
    granted(&t, &by_body(&app.id, secret)).await;
    // Only the identifier has to escape its colons; the secret may contain them unescaped.
    let encoded_id: String = url::form_urlencoded::byte_serialize(id.as_bytes()).collect();
    let half_raw = secret.replace('%', "%25").replace('+', "%2B").replace(' ', "+");
    assert!(half_raw.contains(':'));
    granted(&t, &raw_basic(format!("{encoded_id}:{half_raw}"))).await;
    // Unescaped, the pair has another meaning.
    bad_client(&t, &raw_basic(format!("{encoded_id}:{secret}")), "UnencodedCredentials").await;
    bad_client(&t, &raw_basic(format!("{id}:{secret}")), "UnencodedCredentials").await;
}

/// A client with a malformed header gets a challenge.
// covers: AMB-03, CA-13 (RFC 6749 §5.2), B36
#[tokio::test]
async fn unreadable_authorization_header_gets_401_and_challenge() {
    let (t, app) = confidential().await;
    let right = basic(&app.id, secret_of(&app));
    let malformed = [
        token(&MACHINE).with_header("authorization", "Basic"),
        token(&MACHINE).with_header("authorization", "Basic ???"),
        token(&MACHINE).with_header("authorization", format!("{right}!")),
        token(&MACHINE).with_header("authorization", format!("{right} {right}")),
        raw_basic("no-colon"),
        raw_basic(b"\xff:\xfe"),
    ];
    for request in malformed {
        // `refused` checks the challenge.
        bad_client(&t, &request, "MalformedAuthorization").await;
        for path in ["/revoke", "/introspect", "/notes"] {
            let at = Request::post_form(path, "grant_type=client_credentials&token=x&scope=user:read");
            let at =
                request.header_values("authorization").fold(at, |at, value| at.with_header("authorization", value));
            let response = match path {
                "/revoke" => t.server.revoke(&at).await,
                "/introspect" => t.server.introspect(&at).await,
                _ => t.server.refuse(&t.server.authenticate_client(&at).await.unwrap_err()),
            };
            crate::support::assert_refusal(&response, 401, "invalid_client");
        }
    }
}

/// A developer whose library sends unencoded secrets gets an explanation, and an attacker learns nothing from it.
// covers: AMB-03, CA-05 (RFC 6749 §2.3.1), CA-15 (RFC 6749 §5.2)
#[tokio::test]
async fn unencoded_basic_credentials_get_advice_to_encode() {
    let t = TestServer::new();
    let secret = "one+one%is%41two";
    let register = async |id: &str, change: fn(ClientBuilder) -> ClientBuilder| {
        let client = Client::confidential(id, ClientCredential::secret(&ClientSecret::new(secret)));
        t.register(change(client.client_credentials().scope("user:read")).build(), None).await
    };
    register("strict", |client| client).await;
    register("lenient", ClientBuilder::raw_basic_secret).await;
    register("post", |client| client.token_endpoint_auth_method(AuthenticationMethod::ClientSecretPost)).await;
    t.public_client_with(|_| Client::public("public").authorization_code([CB])).await;
    granted(&t, &by_basic("strict", secret)).await;
    let mut answers = Vec::new();
    for id in ["strict", "lenient", "post", "public", "nobody-we-know", "un+known", "un%20known"] {
        // These secrets are wrong, whether they are decoded or read raw.
        for secret in ["a+b", "a%20b", "a%b", "%", "a%ZZ", "%FF", "%00", "+", "one%2Bone%25is%25other"] {
            let response = bad_client(&t, &raw_basic(format!("{id}:{secret}")), "UnencodedCredentials").await;
            answers.push((response.body().to_vec(), header_values(&response, "www-authenticate").join("")));
        }
    }
    // The right secret, sent raw by a client that must encode it.
    let response = bad_client(&t, &raw_basic(format!("strict:{secret}")), "UnencodedCredentials").await;
    answers.push((response.body().to_vec(), header_values(&response, "www-authenticate").join("")));
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answers differ");
    let told = "client authentication failed: form-encode the identifier and the secret in Authorization: Basic";
    assert_eq!(crate::common::json(&response)["error_description"], told);
    // Without such characters, or with the secret in the body, the error has no hint.
    bad_client(&t, &by_basic("strict", "wrong"), "ClientAuthenticationFailed").await;
    bad_client(&t, &by_body("strict", "a+b"), "ClientAuthenticationFailed").await;
}

/// Some client libraries do not form-encode the secret. An administrator can allow that for a client.
#[tokio::test]
async fn raw_basic_secret_needs_the_client_switch() {
    let seen = Seen::default();
    let t = TestServer::with(|builder| builder.authenticator(seen.clone()));
    for (n, secret) in ["one+one", "%41", "100%", "%ZZ+", "%00", "a:b+c", "%C3", "plain"].into_iter().enumerate() {
        let register = async |id: &str, change: fn(ClientBuilder) -> ClientBuilder| {
            let client = Client::confidential(format!("{id}{n}"), ClientCredential::secret(&ClientSecret::new(secret)));
            t.register(change(client.client_credentials().scope("user:read")).build(), None).await.id
        };
        let strict = register("strict", |client| client).await;
        let lenient = register("lenient", ClientBuilder::raw_basic_secret).await;
        let escaped = register("esc+aped", ClientBuilder::raw_basic_secret).await;
        for id in [&strict, &lenient, &escaped] {
            granted(&t, &by_basic(id, secret)).await;
            granted(&t, &by_body(id, secret)).await;
        }
        let attempts = seen.0.lock().unwrap().len();
        granted(&t, &raw_basic(format!("{lenient}:{secret}"))).await;
        if secret == "plain" {
            granted(&t, &raw_basic(format!("{strict}:{secret}"))).await;
            continue;
        }
        bad_client(&t, &raw_basic(format!("{strict}:{secret}")), "UnencodedCredentials").await;
        bad_client(&t, &raw_basic(format!("nobody-we-know:{secret}")), "UnencodedCredentials").await;
        bad_client(&t, &raw_basic(format!("{lenient}:{secret}x")), "UnencodedCredentials").await;
        // Each request is one attempt, for any client, so a limiter counts it once.
        let ids: Vec<String> = seen.0.lock().unwrap()[attempts..].to_vec();
        assert_eq!(ids, [&lenient, &strict, "nobody-we-know", &lenient], "{secret}");
        // If the raw identifier differs from the decoded identifier, the secret is not read raw either.
        let encoded_id = escaped.replace('+', "%2B");
        bad_client(&t, &raw_basic(format!("{encoded_id}:{secret}")), "UnencodedCredentials").await;
        // In a body, the secret is decoded with the form, and not a second time.
        let body = format!("grant_type=client_credentials&client_id={lenient}&client_secret={}x", "a%2Bb");
        bad_client(&t, &Request::post_form("/token", body), "ClientAuthenticationFailed").await;
    }
}

/// Only an administrator can let a client send its secret raw.
#[test]
fn raw_basic_secret_is_off_and_not_settable_by_metadata() {
    let secret = ClientSecret::new("a+b");
    let client = Client::confidential("app", ClientCredential::secret(&secret)).client_credentials();
    let client = client.scope("user:read").build().unwrap();
    assert!(!client.may_send_raw_secret() && secret.warning().is_some());
    for by in [SetBy::Anyone, SetBy::Statement, SetBy::Policy] {
        let mut parts = client.parts().clone();
        let sent = serde_json::json!({ "raw_basic_secret": true, "grant_types": ["client_credentials"] });
        let mut sent = sent.as_object().unwrap().clone();
        parts.set_members(&mut sent, by).unwrap();
        assert!(!parts.raw_basic_secret && sent.contains_key("raw_basic_secret"), "{by:?}");
    }
    let mut parts = client.into_parts();
    parts.raw_basic_secret = true;
    let stored = serde_json::to_string(&parts).unwrap();
    assert!(Client::from_parts(ClientParts::from_stored(&stored).unwrap()).unwrap().may_send_raw_secret());
    let public = Client::public("app").authorization_code([CB]).raw_basic_secret();
    assert_eq!(public.build().unwrap_err(), ClientError::PublicWithCredentials);
}

/// The store ignores the case of identifiers, so it returns a client with another identifier than requested.
#[tokio::test]
async fn store_that_returns_another_client_is_a_server_error() {
    let storage = grantor::MemoryStorage::new();
    let observer = grantor::testing::RecordingObserver::default();
    let server = grantor::AuthorizationServer::builder(grantor::testing::ISSUER)
        .storage_and_clients(Arc::new(storage.clone()), Arc::new(AnyCase(storage.clone())), Arc::new(storage.clone()))
        .scope("user:read", "Read your profile")
        .observer(observer.clone())
        .build()
        .await
        .unwrap();
    let secret = ClientSecret::new("a-secret");
    let app = Client::confidential("app", ClientCredential::secret(&secret)).client_credentials();
    storage.register(app.authorization_code([CB]).scope("user:read").build().unwrap()).await.unwrap();
    assert_eq!(server.token(&by_basic("app", "a-secret")).await.status(), 200);
    let public = Request::post_form("/revoke", form(&[("token", "x"), ("client_id", "APP")]));
    let authorize = Request::get("/authorize?response_type=code&client_id=App");
    let grantor::AuthorizationOutcome::Respond(page) = server.authorize(&authorize).await else {
        panic!("a request of an unknown client")
    };
    for (response, event) in [
        (page, "authorization_refused"),
        (server.token(&by_basic("APP", "a-secret")).await, "token_refused"),
        (server.token(&by_basic("App", "wrong")).await, "token_refused"),
        (server.revoke(&public).await, "revocation_refused"),
        (server.introspect(&public).await, "introspection_refused"),
    ] {
        assert_eq!(response.status(), 500, "{event}");
        assert!(!crate::common::text(&response).contains("identifier"), "the cause is for the observer only");
        let told = observer.events();
        let told = told.iter().find(|told| told.name == event).unwrap();
        assert!(told.text.contains("returned a client with another identifier"), "{}", told.text);
    }
    assert_eq!(server.token(&by_basic("nobody", "a-secret")).await.status(), 401);
}

/// A store that ignores the case of identifiers.
struct AnyCase(grantor::MemoryStorage);

#[async_trait]
impl ClientStore for AnyCase {
    async fn find_client(&self, id: &str) -> Result<Option<Arc<Client>>, grantor::StorageError> {
        self.0.find_client(&id.to_lowercase()).await
    }
}

/// Records the identifier of each attempt, and compares digests.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl Authenticator for Seen {
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        self.0.lock().unwrap().push(attempt.client_id.to_owned());
        grantor::ClientSecrets.authenticate_client(attempt).await
    }
}

// covers: PP-23 (RFC 9110 §11.1)
#[tokio::test]
async fn authorization_scheme_is_case_insensitive() {
    let (t, app) = confidential().await;
    for scheme in ["Basic", "basic", "BASIC", "bAsIc"] {
        let header = basic(&app.id, secret_of(&app)).replacen("Basic", scheme, 1);
        granted(&t, &token(&MACHINE).with_header("AUTHORIZATION", header)).await;
    }
}

// covers: CA-02 (RFC 6749 §3.2.1), CA-11 (RFC 6749 §2.3), AMB-17, B28
#[tokio::test]
async fn public_client_that_sends_a_secret_is_refused() {
    let (t, app) = public().await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let redeem = redemption(&approved, &app);
    let reason = "AuthenticationMethodNotAllowed";
    for request in [
        token(&[&redeem[..], &[("client_id", &app.id), ("client_secret", "made-up-secret")]].concat()),
        token(&redeem).with_header("authorization", basic(&app.id, "made-up-secret")),
        token(&redeem).with_header("authorization", basic(&app.id, "")),
    ] {
        bad_client(&t, &request, reason).await;
    }
    granted(&t, &token_as(&app, &redeem)).await;
}

// covers: CA-09 (RFC 6749 §2.3), AMB-16, B28
#[tokio::test]
async fn two_client_authentication_methods_are_refused() {
    let (t, app) = confidential().await;
    let header = basic(&app.id, secret_of(&app));
    let wrong_header = basic(&app.id, "not-the-secret");
    let body_secret = [("client_id", app.id.as_str()), ("client_secret", secret_of(&app))];
    let assertion = [("client_assertion", "header.payload.signature")];
    let assertion_type = [("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer")];
    for request in [
        by_basic(&app.id, secret_of(&app)).with_header("Authorization", header.clone()),
        by_basic(&app.id, secret_of(&app)).with_header("authorization", "Bearer x"),
        token(&[&MACHINE[..], &body_secret].concat()).with_header("authorization", header.clone()),
        // A failed header does not fall back to the body.
        token(&[&MACHINE[..], &body_secret].concat()).with_header("authorization", wrong_header),
        token(&[&MACHINE[..], &assertion, &assertion_type].concat()).with_header("authorization", header.clone()),
        token(&[&MACHINE[..], &assertion_type].concat()).with_header("authorization", header),
        token(&[&MACHINE[..], &body_secret, &assertion].concat()),
    ] {
        bad_request(&t, &request, "SeveralAuthenticationMethods").await;
    }
}

// covers: B28
#[tokio::test]
async fn failed_header_does_not_fall_back_to_body_client_id() {
    let (t, public) = public().await;
    let approved = t.authorize(&public).approve_as("alice").await;
    let pairs = [redemption(&approved, &public), vec![("client_id", public.id.as_str())]].concat();
    let request = token(&pairs).with_header("authorization", "Bearer whatever");
    bad_client(&t, &request, "AuthenticationMethodNotAllowed").await;
    let request = token(&pairs).with_header("authorization", basic(&public.id, "whatever-it-is"));
    bad_client(&t, &request, "AuthenticationMethodNotAllowed").await;
    granted(&t, &token(&pairs)).await;
}

// covers: TK-13 (RFC 6749 §3.2.1), AMB-16, B28
#[tokio::test]
async fn client_id_beside_header_must_match() {
    let t = TestServer::new();
    let (app, other) = (t.confidential_client(CB).await, t.confidential_client(CB).await);
    let public = t.public_client(CB).await;
    let with_id = |id: &str| {
        token(&[&MACHINE[..], &[("client_id", id)]].concat())
            .with_header("authorization", basic(&app.id, secret_of(&app)))
    };
    for id in [other.id.as_str(), &public.id, "nobody-we-know", &app.id.to_uppercase()] {
        bad_request(&t, &with_id(id), "ConflictingClientIds").await;
    }
    granted(&t, &with_id(&app.id)).await;
}

// covers: CA-16 (RFC 6749 §3.2.1), GR-03 (OAuth 2.1 §4.3.1)
#[tokio::test]
async fn public_client_must_name_itself() {
    let t = TestServer::new();
    let (app, other) = (t.public_client(CB).await, t.public_client(CB).await);
    let tokens = tokens_of(&t, &app).await;
    let approved = t.authorize(&app).approve_as("alice").await;
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", refresh_of(&tokens).expose())];
    let redeem = redemption(&approved, &app);
    for pairs in [&redeem[..], &refresh] {
        bad_client(&t, &token(pairs), "MissingClientAuthentication").await;
        bad_grant(&t, &token_as(&other, pairs), "ForeignToken").await;
        granted(&t, &token_as(&app, pairs)).await;
    }
}

// covers: CA-12 (RFC 6749 §2.3.2), CA-25 (RFC 7591 §2)
#[tokio::test]
async fn client_registered_for_one_method_may_use_no_other() {
    let t = TestServer::new();
    for (method, other) in [
        (AuthenticationMethod::ClientSecretBasic, by_body as fn(&str, &str) -> Request),
        (AuthenticationMethod::ClientSecretPost, by_basic),
    ] {
        let app = t
            .confidential_client_with(|client| {
                client.client_credentials().scope("user:read").token_endpoint_auth_method(method)
            })
            .await;
        bad_client(&t, &other(&app.id, secret_of(&app)), "AuthenticationMethodNotAllowed").await;
        let own = if method == AuthenticationMethod::ClientSecretBasic { by_basic } else { by_body };
        granted(&t, &own(&app.id, secret_of(&app))).await;
    }
}

// covers: CA-21 (RFC 9700 §2.5), B29
#[tokio::test]
async fn confidential_client_cannot_use_method_none() {
    let (t, app) = confidential().await;
    let client = t.storage.find_client(&app.id).await.unwrap().unwrap();
    assert!(!client.allows_authentication_method(AuthenticationMethod::None));
    let mut parts = client.parts().clone();
    parts.token_endpoint_auth_method = Some(AuthenticationMethod::None);
    assert_eq!(Client::from_parts(parts).unwrap_err(), ClientError::ConfidentialWithoutCredentials);
    let mut parts = client.parts().clone();
    parts.credentials.clear();
    assert_eq!(Client::from_parts(parts).unwrap_err(), ClientError::ConfidentialWithoutCredentials);
}

// covers: CA-17 (RFC 6749 §10.1), CA-24 (RFC 6749 §2.1)
#[test]
fn client_type_is_required_and_public_has_no_secret() {
    for client_type in [ClientType::Public, ClientType::Native] {
        let mut parts = ClientParts::new(ClientId::new("app").unwrap(), client_type);
        parts.grant_types.insert(grantor::GrantType::new("refresh_token").unwrap());
        assert!(Client::from_parts(parts.clone()).is_ok());
        parts.credentials.push(ClientCredential::secret(&ClientSecret::new("baked-into-the-app")));
        assert_eq!(Client::from_parts(parts).unwrap_err(), ClientError::PublicWithCredentials);
    }
    let without_type = serde_json::json!({"client_id": "app", "grant_types": ["refresh_token"]});
    assert!(serde_json::from_value::<Client>(without_type.clone()).is_err());
    let mut with_type = without_type;
    with_type["client_type"] = "public".into();
    assert!(serde_json::from_value::<Client>(with_type).is_ok());
}

// covers: CA-18 (RFC 8252 §8.5), CA-19 (OAuth 2.1 §8.1)
#[tokio::test]
async fn native_app_needs_pkce_and_rotates_like_public_client() {
    let t = TestServer::with_policy(|policy| {
        policy.refresh_token_rotation = grantor::policy::Rotation::PublicClients;
        policy.dangerous().pkce_optional = true;
    });
    let native = Client::native("native").authorization_code(["com.example.app:/cb"]).refresh_token();
    let app = t.register(native.scope("user:read user:write offline_access").build(), None).await;
    let without_pkce = t.authorize(&app).without_pkce().send().await;
    assert!(without_pkce.is_err(), "a native app needs PKCE");
    let tokens = tokens_of(&t, &app).await;
    let body = granted(&t, &refresh(&app, refresh_of(&tokens).expose())).await;
    assert_ne!(body["refresh_token"], refresh_of(&tokens).expose(), "the refresh token rotates");
    assert!(body["refresh_token"].is_string());
}

// covers: CA-27 (RFC 7591 §3.2.1)
#[tokio::test]
async fn expired_secret_fails_and_rotated_secrets_overlap() {
    let (t, app) = confidential().await;
    let new = ClientSecret::generate(&t.entropy).unwrap();
    let id = ClientId::new(&app.id).unwrap();
    let end = t.clock.now() + Duration::hours(1);
    t.storage.rotate_credential(&id, ClientCredential::secret(&new), end).await.unwrap();
    t.clock.advance(Duration::hours(1) - Duration::microseconds(1));
    granted(&t, &by_basic(&app.id, secret_of(&app))).await;
    granted(&t, &by_body(&app.id, new.expose())).await;
    t.clock.advance(Duration::microseconds(1));
    for request in [by_basic(&app.id, secret_of(&app)), by_body(&app.id, secret_of(&app))] {
        bad_client(&t, &request, "ClientAuthenticationFailed").await;
    }
    granted(&t, &by_basic(&app.id, new.expose())).await;
}

// covers: CA-27 (RFC 7591 §3.2.1)
#[tokio::test]
async fn expired_credential_fails_even_if_the_host_accepts_it() {
    let t = TestServer::with(|builder| builder.authenticator(Says(Verdict::Accepted(()))));
    let end = t.clock.now() + Duration::hours(1);
    let client = Client::confidential("vaulted", ClientCredential::opaque().expiring(end)).client_credentials();
    t.register(client.scope("user:read").build(), None).await;
    granted(&t, &by_basic("vaulted", "checked-in-the-vault")).await;
    t.clock.advance(Duration::hours(1));
    bad_client(&t, &by_basic("vaulted", "checked-in-the-vault"), "ClientAuthenticationFailed").await;
    // An authenticator that accepts everything does not create clients.
    bad_client(&t, &by_basic("nobody-we-know", "x"), "UnknownClient").await;
}

#[tokio::test]
async fn expired_opaque_credential_does_not_hide_a_live_one() {
    let t = TestServer::with(|builder| builder.authenticator(Says(Verdict::Accepted(()))));
    let expired = ClientCredential::opaque().expiring(t.clock.now());
    let client = Client::confidential("rotating", expired).credential(ClientCredential::opaque());
    t.register(client.client_credentials().scope("user:read").build(), None).await;
    granted(&t, &by_basic("rotating", "checked-in-the-vault")).await;
}

// covers: CA-30 (RFC 6749 §2.3.1), B29
#[tokio::test]
async fn empty_secret_never_authenticates_or_reaches_the_host() {
    let t = TestServer::with(|builder| builder.authenticator(Says(Verdict::Accepted(()))));
    let client = Client::confidential("app", ClientCredential::secret(&ClientSecret::new("")));
    let app = t.register(client.client_credentials().scope("user:read").build(), None).await;
    bad_client(&t, &by_basic(&app.id, ""), "ClientAuthenticationFailed").await;
    bad_client(&t, &by_body(&app.id, ""), "MissingClientAuthentication").await;
    bad_client(&t, &raw_basic("app:"), "ClientAuthenticationFailed").await;
}

// covers: PP-15 (RFC 6749 App. A.1, A.2)
#[tokio::test]
async fn credentials_outside_printable_ascii_never_match() {
    let t = TestServer::with(|builder| builder.authenticator(Says(Verdict::Accepted(()))));
    let app = t.confidential_client(CB).await;
    for secret in ["tab\tinside-it", "nul\0inside-it", "p\u{e4}ssword-umlaut", "del\u{7f}inside-it"] {
        bad_client(&t, &by_basic(&app.id, secret), "UnencodedCredentials").await;
        bad_client(&t, &by_body(&app.id, secret), "ClientAuthenticationFailed").await;
        refused(&t, &by_basic(secret, secret_of(&app)), 401, "invalid_client").await;
    }
    granted(&t, &by_basic(&app.id, "printable")).await;
}

// covers: CA-28 (RFC 6819 §5.1.4.1.3)
#[tokio::test]
async fn stored_client_does_not_hold_its_secret() {
    let (t, app) = confidential().await;
    let client = t.storage.find_client(&app.id).await.unwrap().unwrap();
    let stored = serde_json::to_string(&*client).unwrap();
    assert!(stored.contains("digest"), "{stored}");
    assert!(!stored.contains(secret_of(&app)) && !format!("{client:?}").contains(secret_of(&app)));
}

// covers: CA-08 (RFC 6749 §2.3.1), TF-05 (RFC 6749 §10.10)
#[tokio::test]
async fn authenticator_can_stop_the_guessing_of_secrets() {
    let limiter = Limiter::default();
    let t = TestServer::with(|builder| builder.authenticator(limiter.clone()));
    let app = t.confidential_client(CB).await;
    let peer = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7));
    for guess in ["first-wrong-guess", "second-wrong-guess", "third-wrong-guess"] {
        refused(&t, &by_basic(&app.id, guess).with_peer(peer), 401, "invalid_client").await;
        refused(&t, &by_body("nobody-we-know", guess).with_peer(peer), 401, "invalid_client").await;
    }
    for request in [by_basic(&app.id, secret_of(&app)), by_body("nobody-we-know", "fourth-wrong-guess")] {
        let response = refused(&t, &request.with_peer(peer), 429, "temporarily_unavailable").await;
        assert_eq!(header_values(&response, "retry-after"), ["2"], "1.5 seconds, rounded up");
    }
    assert!(limiter.0.lock().unwrap().keys().all(|(_, from)| *from == Some(peer)));
    granted(&t, &by_basic(&app.id, secret_of(&app))).await;
}

// covers: CA-15 (RFC 6749 §5.2)
#[tokio::test]
async fn client_that_was_removed_is_unknown() {
    let (t, app) = confidential().await;
    let body = granted(&t, &by_basic(&app.id, secret_of(&app))).await;
    t.storage.remove(&ClientId::new(&app.id).unwrap(), t.clock.now()).await.unwrap();
    bad_client(&t, &by_basic(&app.id, secret_of(&app)), "UnknownClient").await;
    assert!(!crate::support::lives(&t, &access_token(&body)).await);
}

#[tokio::test]
async fn changed_registration_applies_from_the_next_request() {
    let (t, app) = confidential().await;
    change_client(&t, &app, |parts| {
        parts.token_endpoint_auth_method = Some(AuthenticationMethod::ClientSecretPost);
    })
    .await;
    bad_client(&t, &by_basic(&app.id, secret_of(&app)), "AuthenticationMethodNotAllowed").await;
    granted(&t, &token(&with(&[&MACHINE[..], &[("client_id", &app.id)]].concat(), "client_secret", secret_of(&app))))
        .await;
}

/// Returns the same verdict for every secret.
struct Says(Verdict<()>);

#[async_trait]
impl Authenticator for Says {
    async fn authenticate_client(&self, _: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        Ok(self.0.clone())
    }

    async fn authenticate_resource_owner(
        &self,
        _: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        Ok(Verdict::Rejected)
    }
}

/// Throttles an identifier after three failures from one peer.
#[derive(Clone, Default)]
struct Limiter(Arc<Mutex<Failures>>);

/// How often an identifier failed from a peer.
type Failures = HashMap<(String, Option<IpAddr>), u32>;

#[async_trait]
impl Authenticator for Limiter {
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        let key = (attempt.client_id.to_owned(), attempt.peer);
        let mut failures = self.0.lock().unwrap();
        if failures.get(&key).is_some_and(|failures| *failures >= 3) {
            return Ok(Verdict::Throttled { retry_after: Duration::milliseconds(1_500) });
        }
        if attempt.matches_a_digest() {
            return Ok(Verdict::Accepted(()));
        }
        *failures.entry(key).or_default() += 1;
        Ok(Verdict::Rejected)
    }

    async fn authenticate_resource_owner(
        &self,
        _: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        Ok(Verdict::Rejected)
    }
}
