//! Access tokens that are signed JWTs (RFC 9068), and the keys that verify them.

mod introspection;
mod key_store;
mod resources;
mod rotation;
mod signer;

use std::sync::Arc;

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::customizer::{Issuance, RESERVED_MEMBERS, TokenChanges, TokenCustomizer};
use grantor::jose::{Algorithm, AwsLc, KeyRing, PublicKey, Signature, Signer, SignerError, SigningKey, Verifier};
use grantor::storage::{GrantPage, GrantSelector};
use grantor::testing::{ISSUER, TestClient, TestServer, approve};
use grantor::{
    AccessToken, Approval, AuthorizationServer, Builder, Clock, Error, ErrorCode, Introspection, IntrospectionRequest,
    MemoryStorage, ProtectedResource, Request, RevocationRequest, SigningKeys, Storage, Subject, TokenRequest,
    TokenResponse,
};
use serde_json::{Map, Value, json};
use time::Duration;

const API: &str = "https://api.example/v1";
const CB: &str = "https://app.example/cb";

type Json = Map<String, Value>;

fn key(algorithm: Algorithm) -> Arc<SigningKey> {
    Arc::new(SigningKey::generate(algorithm).unwrap())
}

fn signed(builder: Builder, key: impl Signer + 'static) -> Builder {
    let keys = KeyRing::new().sign_with(key).build().unwrap();
    builder.protected_resource(ProtectedResource::new(API)).signing_keys(SigningKeys::new(keys).sign_access_tokens())
}

async fn machine(t: &TestServer) -> TestClient {
    t.confidential_client_with(|client| client.client_credentials().scope("user:read user:write")).await
}

async fn token(t: &TestServer, client: &TestClient) -> TokenResponse {
    t.token_as(client, TokenRequest::client_credentials().scope("user:read")).await.unwrap()
}

/// Header and claims of a token.
fn parts(token: &AccessToken) -> (Json, Json) {
    let decode = |part: &str| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(part).unwrap()).unwrap();
    let mut parts = token.expose().split('.');
    (decode(parts.next().unwrap()), decode(parts.next().unwrap()))
}

/// A token with this header and these claims, signed by this key.
async fn sign(key: &SigningKey, header: &Json, claims: &Json) -> AccessToken {
    let encode = |part: &Json| URL_SAFE_NO_PAD.encode(json!(part).to_string());
    let input = format!("{}.{}", encode(header), encode(claims));
    let signature = key.sign(input.as_bytes()).await.unwrap();
    AccessToken::new(format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes())))
}

/// The introspection response that a client gets about a token.
async fn told(server: &AuthorizationServer, caller: &TestClient, token: &str) -> Introspection {
    let request = IntrospectionRequest::of(token).client_secret_basic(&caller.id, caller.secret.as_ref().unwrap());
    server.introspection_request(&request).await.unwrap()
}

async fn is_active(t: &TestServer, caller: &TestClient, token: &str) -> bool {
    told(t, caller, token).await.active().is_some()
}

async fn revoke(t: &TestServer, client: &TestClient, token: &str) {
    let token = AccessToken::new(token);
    let request =
        RevocationRequest::access_token(&token).client_secret_basic(&client.id, client.secret.as_ref().unwrap());
    t.server.revocation_request(&request).await.unwrap();
}

// covers: JA-01, JA-03, JA-04 (RFC 9068 §2.1, §2.2), JA-05, JA-07 (RFC 9068 §3), JA-10 (RFC 9068 §2.2.3)
#[tokio::test]
async fn signed_access_token_claims_match_its_row() {
    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let t = TestServer::with(|builder| signed(builder, Arc::clone(&key)));
        let app = machine(&t).await;
        let issued = token(&t, &app).await;
        let (header, claims) = parts(&issued.access_token);
        let id = key.public_key().thumbprint();
        assert_eq!(json!(header), json!({ "alg": algorithm.name(), "typ": "at+jwt", "kid": id }));
        let now = t.clock.now().unix_timestamp();
        let expected = json!({
            "iss": t.server.issuer(), "aud": API, "sub": app.id, "client_id": app.id, "scope": "user:read",
            "iat": now, "exp": now + issued.expires_in.whole_seconds(), "jti": claims["jti"],
        });
        assert_eq!(json!(claims), expected);
        assert_eq!(claims["jti"].as_str().map(str::len), Some(43));
        let (input, signature) = issued.access_token.expose().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(AwsLc.verify(algorithm, key.public_key(), input.as_bytes(), &signature), Ok(()));
        let access = t.bearer(&issued.access_token).await.unwrap().require("user:read").unwrap();
        assert_eq!((access.client_id().as_str(), access.subject()), (&*app.id, None));
        assert!(is_active(&t, &app, issued.access_token.expose()).await);
    }
}

#[tokio::test]
async fn signed_token_subject_is_the_user_and_repeat_is_equal() {
    let key = key(Algorithm::Es256);
    let t = TestServer::with(|builder| signed(builder, Arc::clone(&key)));
    let app = t.confidential_client(CB).await;
    let first = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
    assert_eq!(parts(&first.access_token).1["sub"], "alice");
    let refresh = first.refresh_token.unwrap();
    let second = t.refresh(&app, &refresh).await.unwrap();
    t.clock.advance(Duration::seconds(3));
    let repeated = t.refresh(&app, &refresh).await.unwrap();
    assert_ne!(parts(&first.access_token).1["jti"], parts(&second.access_token).1["jti"]);
    assert_eq!(parts(&second.access_token), parts(&repeated.access_token));
    assert_ne!(second.access_token.expose(), repeated.access_token.expose(), "ECDSA signatures are random");
    for token in [second.access_token, repeated.access_token] {
        assert_eq!(t.bearer(&token).await.unwrap().require("user:read").unwrap().subject().unwrap().as_str(), "alice");
    }
}

// covers: JA-05 (RFC 9068 §2.2, RFC 9700 §4.15)
#[tokio::test]
async fn user_named_like_the_client_gets_no_code() {
    for t in [TestServer::new(), TestServer::with(|builder| signed(builder, key(Algorithm::Es256)))] {
        let app = t.confidential_client(CB).await;
        let response = approve(t.authorize(&app).pending().await, Approval::by(Subject::new(&*app.id).unwrap())).await;
        assert!(response.code().is_none());
        let location = response.into_http().header("location").unwrap().to_owned();
        assert!(location.contains("error=server_error"), "{location}");
        let which = GrantSelector::Client(app.id.parse().unwrap());
        assert!(t.storage.list_grants(&which, t.clock.now(), &GrantPage::first(10)).await.unwrap().is_empty());
    }
}

/// The server treats each of these texts as an unknown token, and none of them changes anything.
// covers: JA-15 (RFC 9068 §4), KM-01, KM-20 (RFC 8725 §3.11)
#[tokio::test]
async fn text_that_is_not_the_signed_token_is_refused() {
    let (own, other) = (key(Algorithm::Es256), key(Algorithm::Es256));
    let t = TestServer::with(|builder| signed(builder, Arc::clone(&own)));
    let app = machine(&t).await;
    let issued = token(&t, &app).await;
    let (header, claims) = parts(&issued.access_token);
    let id = claims["jti"].as_str().unwrap();
    let with = |members: &Json, name: &str, value: Value| {
        let mut members = members.clone();
        members.insert(name.to_owned(), value);
        members
    };
    let without = |members: &Json, name: &str| {
        let mut members = members.clone();
        members.remove(name);
        members
    };
    let mut texts = vec![
        AccessToken::new(id),
        AccessToken::new(format!("{id}.")),
        AccessToken::new(format!("grantor/1/jti\0{id}")),
        AccessToken::new(format!("\u{ff}grantor/1/jti\0{id}")),
        AccessToken::new(issued.access_token.expose().trim_end_matches(|c| c != '.')),
        sign(&other, &header, &claims).await,
        sign(&own, &with(&header, "typ", "JWT".into()), &claims).await,
        sign(&own, &without(&header, "typ"), &claims).await,
        sign(&own, &with(&header, "alg", "none".into()), &claims).await,
        sign(&own, &with(&header, "alg", "HS256".into()), &claims).await,
        sign(&own, &with(&header, "crit", json!(["exp"])), &claims).await,
        sign(&own, &with(&header, "kid", other.public_key().id().into()), &claims).await,
    ];
    for name in ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"] {
        texts.push(sign(&own, &header, &without(&claims, name)).await);
    }
    for (name, value) in [
        ("iss", json!("https://other.example")),
        ("aud", json!("https://other.example")),
        ("sub", json!("alice")),
        ("client_id", json!("other")),
        ("scope", json!("user:read user:write")),
        ("iat", json!(0)),
        ("exp", json!(4_000_000_000_u32)),
        ("jti", json!("x")),
        ("admin", json!(true)),
    ] {
        texts.push(sign(&own, &header, &with(&claims, name, value)).await);
    }
    for text in &texts {
        let error = t.bearer(text).await.unwrap_err();
        assert_eq!(error.to_response().status(), 401, "{}", text.expose());
        assert!(!is_active(&t, &app, text.expose()).await, "{}", text.expose());
        revoke(&t, &app, text.expose()).await;
    }
    // The header may have more members, and any signature of the server's key is valid.
    let same = sign(&own, &with(&header, "jku", "https://other.example".into()), &claims).await;
    for token in [&same, &issued.access_token] {
        assert!(t.bearer(token).await.is_ok() && is_active(&t, &app, token.expose()).await);
    }
}

// During a rolling update, an old node must accept claims of a newer node. For unreserved claims, see
// `text_that_is_not_the_signed_token_is_refused`.
// covers: JA-15 (RFC 9068 §4)
#[tokio::test]
async fn claims_of_a_newer_version_are_ignored() {
    let key = key(Algorithm::Es256);
    let t = TestServer::with(|builder| signed(builder, Arc::clone(&key)));
    let app = machine(&t).await;
    let issued = token(&t, &app).await.access_token;
    let (header, own) = parts(&issued);
    let expected = told(&t, &app, issued.expose()).await.to_json();
    let mut all = own.clone();
    for name in RESERVED_MEMBERS.iter().filter(|name| !own.contains_key(**name)) {
        all.insert((*name).to_owned(), json!({ "level": [2] }));
        let mut claims = own.clone();
        claims.insert((*name).to_owned(), "later".into());
        let newer = sign(&key, &header, &claims).await;
        assert!(t.bearer(&newer).await.is_ok(), "{name}");
    }
    assert!(all.len() > own.len() + 10);
    let newer = sign(&key, &header, &all).await;
    assert_eq!(told(&t, &app, newer.expose()).await.to_json(), expected);
    // An old node can revoke the token.
    revoke(&t, &app, newer.expose()).await;
    assert!(t.bearer(&newer).await.is_err() && t.bearer(&issued).await.is_err());
}

/// Whether the bearer check and introspection accept a token.
async fn accepts(server: &AuthorizationServer, caller: &TestClient, token: &AccessToken) -> bool {
    let request = Request::get("/").with_header("authorization", format!("Bearer {}", token.expose()));
    let is_accepted = server.bearer(&request).await.is_ok();
    assert_eq!(told(server, caller, token.expose()).await.active().is_some(), is_accepted);
    is_accepted
}

// If the issuer changes, signed tokens end, because they name it. Opaque tokens stay valid. If the identifier of the
// resource changes and the old one is declared, both stay valid.
#[tokio::test]
async fn signed_tokens_end_when_the_issuer_changes() {
    let cases = [("https://new.example", API), (ISSUER, "https://api.example/v2")];
    for (is_signed, (issuer, resource)) in [true, false].into_iter().flat_map(|signs| cases.map(|case| (signs, case))) {
        let ring = Arc::new(KeyRing::new().sign_with(key(Algorithm::Es256)).build().unwrap());
        let with = |builder: Builder, resource: &str| {
            let keys = SigningKeys::new(Arc::clone(&ring));
            let keys = if is_signed { keys.sign_access_tokens() } else { keys };
            let own = ProtectedResource::new(resource);
            let own = if resource == API { own } else { own.formerly(API) };
            builder.protected_resource(own).signing_keys(keys)
        };
        let t = TestServer::with(|builder| with(builder, API));
        let app = t.confidential_client(CB).await;
        let first = t.authorize(&app).approve_as("alice").await.redeem().await.unwrap();
        assert!(accepts(&t, &app, &first.access_token).await);
        t.storage.rebind_issuer(ISSUER, issuer).await.unwrap();
        let moved = AuthorizationServer::builder(issuer).storage(t.storage.clone()).clock(t.clock.clone());
        let moved = moved.scope("user:read", "Read").scope("offline_access", "Keep access");
        let moved = with(moved, resource).build().await.unwrap();
        let stays = !is_signed || issuer == ISSUER;
        assert_eq!(accepts(&moved, &app, &first.access_token).await, stays, "{issuer} {resource}");
        let refresh = first.refresh_token.unwrap();
        let request = TokenRequest::refresh_token(&refresh);
        let request = request.client_secret_basic(&app.id, app.secret.as_ref().unwrap());
        let second = moved.token_request(&request).await.unwrap();
        assert!(accepts(&moved, &app, &second.access_token).await, "{issuer} {resource}");
        if is_signed {
            let claims = parts(&second.access_token).1;
            assert_eq!((&claims["iss"], &claims["aud"]), (&json!(issuer), &json!(resource)));
            // The row is still valid: only the text is refused.
            t.storage.rebind_issuer(issuer, ISSUER).await.unwrap();
            assert!(accepts(&t, &app, &first.access_token).await, "{issuer} {resource}");
        }
    }
}

#[tokio::test]
async fn revocation_of_a_signed_token_takes_effect_at_once() {
    let t = TestServer::with(|builder| signed(builder, key(Algorithm::Es256)));
    let app = machine(&t).await;
    let (first, second) = (token(&t, &app).await.access_token, token(&t, &app).await.access_token);
    revoke(&t, &app, first.expose()).await;
    assert!(t.bearer(&first).await.is_err() && !is_active(&t, &app, first.expose()).await);
    assert!(t.bearer(&second).await.is_ok() && is_active(&t, &app, second.expose()).await);
    t.clock.advance(Duration::days(1));
    assert!(t.bearer(&second).await.is_err() && !is_active(&t, &app, second.expose()).await);
}

/// Adds claims to every token, including reserved ones.
struct Roles;

#[async_trait]
impl TokenCustomizer for Roles {
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        let roles = json!([issuance.client.id().as_str(), "reader"]);
        Ok(TokenChanges::new()
            .claim("roles", roles)
            .claim("sub", "mallory")
            .claim("username", "m")
            .response_member("shown", 1))
    }
}

// covers: JA-14 (RFC 9068 §2.2.3.1)
#[tokio::test]
async fn customizer_claims_appear_in_introspection_too() {
    let t = TestServer::with(|builder| signed(builder, key(Algorithm::Es256)).token_customizer(Roles));
    let app = machine(&t).await;
    let issued = token(&t, &app).await;
    let claims = parts(&issued.access_token).1;
    assert_eq!(claims["roles"], json!([app.id, "reader"]));
    assert_eq!((&claims["sub"], claims.get("shown"), claims.get("username")), (&json!(app.id), None, None));
    assert_eq!(t.events.count("customizer_member_dropped"), 2);
    let request = IntrospectionRequest::of(issued.access_token.expose());
    let request = request.client_secret_basic(&app.id, app.secret.as_ref().unwrap());
    let told = t.server.introspection_request(&request).await.unwrap().to_json();
    let told: Json = serde_json::from_slice(&told).unwrap();
    assert_eq!((&told["roles"], told.get("username")), (&json!([app.id, "reader"]), None));
    assert_eq!(told["aud"], API, "a ResourceServer can check the audience");
    assert!(t.bearer(&issued.access_token).await.is_ok());

    let t = TestServer::with(|builder| builder.token_customizer(Roles));
    let app = machine(&t).await;
    assert!(!token(&t, &app).await.access_token.expose().contains('.'));
    assert_eq!(t.events.count("customizer_member_dropped"), 0);
}

/// A key in a service that does not answer.
struct Offline(PublicKey);

#[async_trait]
impl Signer for Offline {
    fn key(&self) -> &PublicKey {
        &self.0
    }

    async fn sign(&self, _: &[u8]) -> Result<Signature, SignerError> {
        Err(SignerError::new("timeout after 5 s: https://kms.internal/key/7"))
    }
}

// covers: KM-16
#[tokio::test]
async fn failed_signature_is_an_error_and_stores_nothing() {
    let t = TestServer::with(|builder| signed(builder, Offline(key(Algorithm::Es256).public_key().clone())));
    let app = machine(&t).await;
    let error = t.token_as(&app, TokenRequest::client_credentials().scope("user:read")).await.unwrap_err();
    assert_eq!((error.status(), error.code()), (500, ErrorCode::SERVER_ERROR));
    assert_eq!(error.to_string(), "the signing of tokens failed");
    let which = GrantSelector::Client(app.id.parse().unwrap());
    assert!(t.storage.list_grants(&which, t.clock.now(), &GrantPage::first(10)).await.unwrap().is_empty());
    let web = t.confidential_client(CB).await;
    let flow = t.authorize(&web).approve_as("alice").await;
    assert_eq!(flow.redeem().await.unwrap_err().status(), 500);
    // The code is not spent: a second attempt fails for the same reason, not with invalid_grant.
    assert_eq!(flow.redeem().await.unwrap_err().status(), 500);
}

// covers: KM-08, KM-10 (RFC 7517 §8.5), JA-13 (RFC 9068 §4), MD-14 (RFC 8414 §2)
#[tokio::test]
async fn public_keys_are_published_for_caches_and_scripts() {
    let (now, next) = (key(Algorithm::Es256), key(Algorithm::Rs256));
    let published = [now.public_key().to_jwk(), next.public_key().to_jwk()];
    let ring = KeyRing::new().sign_with(now).publish(next.public_key().clone()).build().unwrap();
    let keys = SigningKeys::new(ring).cached_for(Duration::minutes(5));
    let t = TestServer::with(|builder| builder.signing_keys(keys));
    let uri = format!("{}/jwks", t.server.issuer());
    assert_eq!(t.server.metadata_document()["jwks_uri"], uri);
    let answer = t.server.handle(&Request::get("/jwks")).await;
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.header("content-type"), Some("application/jwk-set+json"));
    assert_eq!(answer.header("cache-control"), Some("public, max-age=300"));
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(serde_json::from_slice::<Value>(answer.body()).unwrap(), json!({ "keys": published }));
    for jwk in &published {
        let members: Vec<&String> = jwk.as_object().unwrap().keys().collect();
        assert!(members.iter().all(|name| ["kty", "kid", "use", "alg", "n", "e", "crv", "x", "y"].contains(&&***name)));
    }
    let tag = answer.header("etag").unwrap();
    for known in [tag.to_owned(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let answer = t.server.handle(&Request::get("/jwks").with_header("if-none-match", &known)).await;
        assert_eq!((answer.status(), answer.body(), answer.header("etag")), (304, &b""[..], Some(tag)), "{known}");
    }
    let answer = t.server.handle(&Request::get("/jwks").with_header("if-none-match", "\"x\"")).await;
    assert_eq!(answer.status(), 200);
    let head = t.server.handle(&Request::new("HEAD", "/jwks")).await;
    assert_eq!((head.status(), head.header("etag")), (200, Some(tag)));
    let answer = t.server.handle(&Request::new("POST", "/jwks")).await;
    assert_eq!((answer.status(), answer.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn signing_keys_with_invalid_settings_do_not_build() {
    let keys = || SigningKeys::new(KeyRing::new().sign_with(key(Algorithm::Es256)).build().unwrap());
    let builder = || AuthorizationServer::builder("https://as.example").storage(MemoryStorage::new()).scope("a", "A");
    let resource = || ProtectedResource::new(API);
    let problem = |builder: Builder| async { builder.build().await.map(|_| ()).unwrap_err().to_string() };
    assert!(builder().signing_keys(keys()).build().await.is_ok());
    assert!(builder().signing_keys(keys().sign_access_tokens()).protected_resource(resource()).build().await.is_ok());
    for (builder, expected) in [
        (
            builder().signing_keys(keys().sign_access_tokens()),
            "the capability signing_keys: signed access tokens need an audience: call Builder::protected_resource or Builder::resource",
        ),
        (
            builder().protected_resource(resource()).signing_keys(keys().sign_access_tokens_with(Algorithm::Rs256)),
            "the capability signing_keys: no key has the algorithm of access tokens: add a key, or choose another algorithm",
        ),
        (
            builder().signing_keys(keys().cached_for(Duration::seconds(-1))),
            "the capability signing_keys: cached_for is negative: give zero or a positive time",
        ),
        (
            builder().signing_keys(keys()).signing_keys(keys()),
            "the capability signing_keys: it was added twice: add it once",
        ),
    ] {
        assert_eq!(problem(builder).await, expected);
    }
}

/// An API that verifies tokens with the published keys, and fetches them again as often as the server allows.
struct OfflineCheck {
    keys: Vec<PublicKey>,
    fetched_at: time::OffsetDateTime,
}

impl OfflineCheck {
    async fn accepts(&mut self, t: &TestServer, token: &AccessToken) -> bool {
        let age = t.clock.now() - self.fetched_at;
        if self.keys.is_empty() || age >= Duration::minutes(10) {
            let answer = t.server.handle(&Request::get("/jwks")).await;
            let set: Value = serde_json::from_slice(answer.body()).unwrap();
            let keys = set["keys"].as_array().unwrap();
            self.keys = keys.iter().map(|key| PublicKey::from_jwk(&key.to_string()).unwrap()).collect();
            self.fetched_at = t.clock.now();
        }
        let (header, claims) = parts(token);
        let Some(key) = self.keys.iter().find(|key| key.id() == header["kid"].as_str()) else { return false };
        let (input, signature) = token.expose().rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let is_live = claims["exp"].as_i64().unwrap() > t.clock.now().unix_timestamp();
        is_live && AwsLc.verify(key.algorithm().unwrap(), key, input.as_bytes(), &signature).is_ok()
    }
}

// covers: KM-11, KM-12 (OpenID Connect Core §10.1.1)
#[tokio::test]
async fn every_token_verifies_through_two_rotations() {
    let keys: Vec<_> = (0..3).map(|_| key(Algorithm::Es256)).collect();
    let ring = |signing: usize, published: &[usize]| {
        let ring = KeyRing::new().sign_with(Arc::clone(&keys[signing]));
        published.iter().fold(ring, |ring, at| ring.publish(keys[*at].public_key().clone())).build().unwrap()
    };
    let live = Arc::new(ring(0, &[]));
    let signing_keys = SigningKeys::new(Arc::clone(&live)).sign_access_tokens();
    let t =
        TestServer::with(|builder| builder.protected_resource(ProtectedResource::new(API)).signing_keys(signing_keys));
    let app = machine(&t).await;
    let mut service = OfflineCheck { keys: vec![], fetched_at: t.clock.now() };
    let mut issued: Vec<TokenResponse> = Vec::new();
    // Each step has its minute. The next key is published and signs ten minutes later. The old key is removed an hour
    // after that.
    let steps =
        [(20, 0, vec![1]), (30, 1, vec![0]), (95, 1, vec![]), (110, 1, vec![2]), (120, 2, vec![1]), (185, 2, vec![])];
    let mut kids = std::collections::BTreeSet::new();
    for minute in 0..200 {
        if let Some((_, signing, published)) = steps.iter().find(|(at, ..)| *at == minute) {
            live.replace(ring(*signing, published)).unwrap();
        }
        let new = token(&t, &app).await;
        kids.insert(parts(&new.access_token).0["kid"].as_str().unwrap().to_owned());
        issued.push(new);
        let now = t.clock.now().unix_timestamp();
        issued.retain(|token| parts(&token.access_token).1["exp"].as_i64().unwrap() > now);
        for token in &issued {
            assert!(service.accepts(&t, &token.access_token).await, "minute {minute}");
            assert!(t.bearer(&token.access_token).await.is_ok(), "minute {minute}");
        }
        t.clock.advance(Duration::minutes(1));
    }
    assert_eq!(kids.len(), 3);
}
