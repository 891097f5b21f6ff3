//! Introspection responses as JWTs (RFC 9701).

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use grantor::customizer::{Inspection, Issuance, RESERVED_MEMBERS, TokenChanges, TokenCustomizer};
use grantor::jose::{Algorithm, AwsLc, KeyRing, Verifier};
use grantor::lint::ClientLint;
use grantor::storage::ClientStore;
use grantor::testing::{TestClient, TestServer};
use grantor::{Clock, Error, Introspection, IntrospectionRequest, Request, Response, SigningKeys};
use serde_json::{Value, json};

use crate::{API, CB, Json, Offline, key, machine, parts, revoke, signed, token};

const JWT: &str = "application/token-introspection+jwt";

async fn ask(t: &TestServer, caller: Option<&TestClient>, accept: &str, token: &str) -> Response {
    let body = format!("token={token}");
    let mut request = Request::post_form("/introspect", body).with_header("accept", accept);
    if let Some(caller) = caller {
        let secret = caller.secret.as_ref().unwrap();
        let credentials = STANDARD.encode(format!("{}:{}", caller.id, secret.expose()));
        request = request.with_header("authorization", format!("Basic {credentials}"));
    }
    t.server.introspect(&request).await
}

fn json_of(answer: &Response) -> Json {
    serde_json::from_slice(answer.body()).unwrap()
}

// covers: JI-01, JI-02, JI-03, JI-06, JI-08 (RFC 9701 §4, §5, §7)
#[tokio::test]
async fn caller_that_asks_gets_a_signed_response() {
    for (algorithms, expected) in [
        (&[Algorithm::Es256, Algorithm::Rs256][..], Algorithm::Rs256),
        (&[Algorithm::Es256, Algorithm::EdDsa], Algorithm::Es256),
    ] {
        let keys: Vec<_> = algorithms.iter().map(|algorithm| key(*algorithm)).collect();
        let ring = keys.iter().cloned().fold(KeyRing::new(), grantor::jose::KeyRingBuilder::sign_with).build().unwrap();
        let t = TestServer::with(|builder| builder.signing_keys(SigningKeys::new(ring)));
        let names: Vec<&str> = algorithms.iter().map(|algorithm| algorithm.name()).collect();
        assert_eq!(t.server.metadata_document()["introspection_signing_alg_values_supported"], json!(names));
        let app = machine(&t).await;
        let issued = token(&t, &app).await;
        let plain = ask(&t, Some(&app), "application/json", issued.access_token.expose()).await;
        assert_eq!(plain.header("content-type"), Some("application/json"));
        let answer = ask(&t, Some(&app), JWT, issued.access_token.expose()).await;
        assert_eq!((answer.status(), answer.header("content-type")), (200, Some(JWT)));
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        let text = std::str::from_utf8(answer.body()).unwrap();
        let (header, claims) = parts(&grantor::AccessToken::new(text));
        let signer = keys.iter().find(|key| key.public_key().algorithm() == Some(expected)).unwrap().public_key();
        let id = signer.id().unwrap();
        assert_eq!(json!(header), json!({ "alg": expected.name(), "kid": id, "typ": "token-introspection+jwt" }));
        let now = t.clock.now().unix_timestamp();
        let members = json!({
            "iss": t.server.issuer(), "aud": app.id, "iat": now, "token_introspection": json_of(&plain),
        });
        assert_eq!(json!(claims), members);
        assert_eq!(claims["token_introspection"]["active"], true);
        let (input, signature) = text.rsplit_once('.').unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        assert_eq!(AwsLc.verify(expected, signer, input.as_bytes(), &signature), Ok(()));
        // The response is not accepted as an access token (KM-20).
        assert!(t.bearer(&grantor::AccessToken::new(text)).await.is_err());
    }
}

// covers: JI-07, JI-08 (RFC 9701 §6, §7)
#[tokio::test]
async fn response_is_signed_with_the_registered_algorithm_or_fails() {
    let offered = [Algorithm::Es256, Algorithm::Rs256, Algorithm::EdDsa];
    let ring = offered.into_iter().fold(KeyRing::new(), |ring, algorithm| ring.sign_with(key(algorithm)));
    let t = TestServer::with(|builder| builder.signing_keys(SigningKeys::new(ring.build().unwrap())));
    let names = offered.map(Algorithm::name);
    assert_eq!(t.server.metadata_document()["introspection_signing_alg_values_supported"], json!(names));
    for algorithm in Algorithm::ALL {
        let client = |client: grantor::client::ClientBuilder| {
            let client = client.client_credentials().scope("user:read");
            client.introspection_signed_response_alg(algorithm)
        };
        let app = t.confidential_client_with(client).await;
        let issued = token(&t, &app).await;
        let (refused, answer) =
            (t.events.count("introspection_refused"), ask(&t, Some(&app), JWT, issued.access_token.expose()).await);
        let registered = t.storage.find_client(&app.id).await.unwrap().unwrap();
        let findings = t.server.lint_client(&registered);
        if offered.contains(&algorithm) {
            assert_eq!((answer.status(), answer.header("content-type")), (200, Some(JWT)), "{algorithm}");
            let text = std::str::from_utf8(answer.body()).unwrap();
            assert_eq!(parts(&grantor::AccessToken::new(text)).0["alg"], algorithm.name());
            assert_eq!(findings, [], "{algorithm}");
        } else {
            assert_eq!((answer.status(), &json_of(&answer)["error"]), (500, &json!("server_error")), "{algorithm}");
            assert_eq!(t.events.count("introspection_refused"), refused + 1, "{algorithm}");
            assert_eq!(findings, [ClientLint::IntrospectionAlgorithmNotServed(algorithm)]);
            let told = format!(
                "the introspection_signed_response_alg {algorithm} of the client has no key on the server: add a key, or \
                 change the member"
            );
            assert_eq!(findings[0].to_string(), told);
        }
        // The algorithm does not affect responses in JSON.
        let plain = ask(&t, Some(&app), "application/json", issued.access_token.expose()).await;
        assert_eq!((plain.status(), &json_of(&plain)["active"]), (200, &json!(true)), "{algorithm}");
    }
    // A server that signs nothing.
    let t = TestServer::new();
    let app = t
        .confidential_client_with(|client| client.resource_server().introspection_signed_response_alg(Algorithm::Rs256))
        .await;
    let registered = t.storage.find_client(&app.id).await.unwrap().unwrap();
    let expected = [ClientLint::IntrospectionAlgorithmNotServed(Algorithm::Rs256)];
    assert_eq!(t.server.lint_client(&registered), expected);
}

// covers: JI-04 (RFC 9701 §5)
#[tokio::test]
async fn dead_or_unknown_token_is_signed_as_inactive() {
    let ring = KeyRing::new().sign_with(key(Algorithm::Es256)).build().unwrap();
    let t = TestServer::with(|builder| builder.signing_keys(SigningKeys::new(ring)));
    let (app, other) = (machine(&t).await, machine(&t).await);
    let (dead, foreign) = (token(&t, &app).await, token(&t, &other).await);
    revoke(&t, &app, dead.access_token.expose()).await;
    for text in [dead.access_token.expose(), foreign.access_token.expose(), "unknown"] {
        let answer = ask(&t, Some(&app), JWT, text).await;
        let claims = parts(&grantor::AccessToken::new(std::str::from_utf8(answer.body()).unwrap())).1;
        assert_eq!(claims["token_introspection"], json!({ "active": false }));
    }
}

#[tokio::test]
async fn failed_introspection_signature_is_an_observed_error() {
    let ring = KeyRing::new().sign_with(Offline(key(Algorithm::Es256).public_key().clone())).build().unwrap();
    let t = TestServer::with(|builder| builder.signing_keys(SigningKeys::new(ring)));
    let app = machine(&t).await;
    let issued = token(&t, &app).await;
    for (count, text) in [(1, issued.access_token.expose()), (2, "unknown")] {
        let answer = ask(&t, Some(&app), JWT, text).await;
        assert_eq!((answer.status(), answer.header("content-type")), (500, Some("application/json")));
        assert_eq!(json_of(&answer)["error"], "server_error");
        assert_eq!(t.events.count("introspection_refused"), count);
    }
}

// covers: JI-05 (RFC 9701 §5)
#[tokio::test]
async fn unknown_caller_gets_no_signed_introspection() {
    let ring = KeyRing::new().sign_with(key(Algorithm::Es256)).build().unwrap();
    let t = TestServer::with(|builder| builder.signing_keys(SigningKeys::new(ring)));
    let app = machine(&t).await;
    let issued = token(&t, &app).await;
    let answer = ask(&t, None, JWT, issued.access_token.expose()).await;
    assert_eq!(answer.status(), 401);
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(json_of(&answer)["error"], "invalid_client");
    // A server without a signer answers in JSON.
    let t = TestServer::new();
    let app = machine(&t).await;
    let issued = token(&t, &app).await;
    let answer = ask(&t, Some(&app), JWT, issued.access_token.expose()).await;
    assert_eq!(answer.header("content-type"), Some("application/json"));
    assert_eq!(json_of(&answer)["active"], Value::Bool(true));
}

// covers: JI-09 (RFC 9701 §3)
#[tokio::test]
async fn resource_server_gets_no_token_by_its_credentials() {
    let ring = KeyRing::new().sign_with(key(Algorithm::Es256)).build().unwrap();
    let t = TestServer::with(|builder| builder.signing_keys(SigningKeys::new(ring)));
    let api = t.confidential_client_with(grantor::client::ClientBuilder::resource_server).await;
    let app = machine(&t).await;
    let issued = token(&t, &app).await;
    let answer = ask(&t, Some(&api), JWT, issued.access_token.expose()).await;
    let claims = parts(&grantor::AccessToken::new(std::str::from_utf8(answer.body()).unwrap())).1;
    assert_eq!((&claims["aud"], &claims["token_introspection"]["active"]), (&json!(api.id), &json!(true)));
    let request = grantor::TokenRequest::client_credentials().scope("user:read");
    assert_eq!(t.token_as(&api, request).await.unwrap_err().code().as_str(), "unauthorized_client");
}

/// Adds a claim and a member of each reserved name, to a token and to its introspection response.
struct Forging;

#[async_trait]
impl TokenCustomizer for Forging {
    async fn issuance(&self, _: &Issuance<'_>) -> Result<TokenChanges, Error> {
        let names = RESERVED_MEMBERS.iter().chain(&["team"]);
        Ok(names.fold(TokenChanges::new(), |changes, name| changes.claim(*name, "forged")))
    }

    async fn introspection(&self, _: &Inspection<'_>) -> Result<Option<Json>, Error> {
        let names = RESERVED_MEMBERS.iter().chain(&["tenant"]);
        Ok(Some(names.map(|name| ((*name).to_owned(), json!("forged"))).collect()))
    }
}

// covers: JI-02 (RFC 9701 §5)
#[tokio::test]
async fn host_cannot_replace_claims_of_a_signed_response() {
    for name in ["active", "aud", "client_id", "exp", "iat", "iss", "jti", "nbf", "scope", "sub", "token_introspection"]
    {
        assert!(RESERVED_MEMBERS.contains(&name), "{name}");
    }
    let t = TestServer::with(|builder| signed(builder, key(Algorithm::Es256)).token_customizer(Forging));
    let web = t.confidential_client(CB).await;
    let of_user = t.authorize(&web).approve_as("alice").await.redeem().await.unwrap();
    let app = machine(&t).await;
    for (caller, issued, subject) in [(&app, token(&t, &app).await, None), (&web, of_user, Some("alice"))] {
        let own = parts(&issued.access_token).1;
        assert_eq!(own.values().filter(|value| **value == "forged").count(), 1, "{own:?}");
        let mut members = json!({
            "active": true, "scope": own["scope"], "client_id": caller.id, "iss": t.server.issuer(), "aud": API,
            "iat": own["iat"], "exp": own["exp"], "token_type": "Bearer", "team": "forged", "tenant": "forged",
        });
        if let Some(subject) = subject {
            members["sub"] = json!(subject);
        }
        let dropped = t.events.count("customizer_member_dropped");
        let plain = ask(&t, Some(caller), "application/json", issued.access_token.expose()).await;
        assert_eq!(json!(json_of(&plain)), members);
        assert_eq!(t.events.count("customizer_member_dropped"), dropped + RESERVED_MEMBERS.len());
        let answer = ask(&t, Some(caller), JWT, issued.access_token.expose()).await;
        let claims = parts(&grantor::AccessToken::new(std::str::from_utf8(answer.body()).unwrap())).1;
        let now = t.clock.now().unix_timestamp();
        let expected =
            json!({ "iss": t.server.issuer(), "aud": caller.id, "iat": now, "token_introspection": members });
        assert_eq!(json!(claims), expected);
    }
}

// Members that the host adds after those of the customizer were checked are filtered again.
#[tokio::test]
async fn host_cannot_replace_members_of_a_typed_response() {
    let t = TestServer::with(|builder| signed(builder, key(Algorithm::Es256)));
    let app = machine(&t).await;
    let issued = token(&t, &app).await;
    let request = IntrospectionRequest::of(issued.access_token.expose());
    let request = request.client_secret_basic(&app.id, app.secret.as_ref().unwrap());
    let mut told = t.server.introspection_request(&request).await.unwrap();
    let expected = told.to_json();
    let Introspection::Active(active) = &mut told else { panic!("{told:?}") };
    for name in RESERVED_MEMBERS.iter().chain(&["username"]) {
        active.extra.insert((*name).to_owned(), json!("forged"));
    }
    assert_eq!(told.to_json(), expected);
}
