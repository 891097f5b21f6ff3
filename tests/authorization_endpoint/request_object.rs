//! Request objects (RFC 9101): which are accepted, and what a broken one gets. `tests/signed_requests` runs the tests of
//! plain requests with them.

use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::client::ClientParts;
use grantor::http_client::{FetchError, GetRequest, GetResponse};
use grantor::jose::{Algorithm, JwkSet, SigningKey};
use grantor::testing::{ISSUER, TestClient, TestServer};
use grantor::{
    AuthorizationOutcome, AuthorizationRequest, Client, ClientRegistry, ClientSignatures, Clock, HttpClient, Refusal,
    Request, Response,
};
use serde_json::{Value, json};
use time::Duration;

use crate::ask::{Ask, CALLBACK, assert_error, assert_page, by, client_of, grants_of, subject};
use crate::common::signed::{header, jwks, key, sign, with};
use crate::common::{CHALLENGE, authorize, form, query_of, responded};

const TYPE: &str = "oauth-authz-req+jwt";
const NOT_VALID: &str = "the request object is not valid";
const REQUIRED: &str = "a signed request object is required: send it in the parameter request";

fn server() -> TestServer {
    server_with(ClientSignatures::new().request_objects())
}

fn server_with(signatures: ClientSignatures) -> TestServer {
    TestServer::with(|builder| builder.client_signatures(signatures).authorization_parameter("nonce"))
}

/// Registers a public client with this key.
async fn client(t: &TestServer, key: &SigningKey) -> TestClient {
    let client = Client::public("app").authorization_code([CALLBACK]).scope("user:read user:write").jwks(jwks(key));
    t.register(client.build(), None).await
}

async fn change(t: &TestServer, app: &TestClient, change: impl FnOnce(&mut ClientParts)) {
    let client = client_of(t, app).await;
    let mut parts = client.parts().clone();
    change(&mut parts);
    t.storage.update(Client::from_parts(parts).unwrap(), client.version()).await.unwrap();
}

/// The claims of a good object.
fn claims(t: &TestServer) -> Value {
    let now = t.clock.now().unix_timestamp();
    json!({
        "iss": "app", "aud": ISSUER, "exp": now + 300, "nbf": now, "iat": now, "jti": "one",
        "client_id": "app", "redirect_uri": CALLBACK, "response_type": "code", "scope": "user:read", "state": "inside",
        "code_challenge": CHALLENGE, "code_challenge_method": "S256",
    })
}

async fn object(key: &SigningKey, claims: &Value) -> String {
    sign(key, header(key, TYPE), claims).await
}

fn request(object: &str) -> Request {
    authorize(&[("client_id", "app"), ("request", object)])
}

async fn send(t: &TestServer, object: &str) -> AuthorizationOutcome {
    t.server.authorize(&request(object)).await
}

async fn refused(t: &TestServer, object: &str) -> Response {
    responded(send(t, object).await)
}

/// Asserts that an object gets a page without a link, and that the observer gets the reason.
async fn assert_refused(t: &TestServer, object: &str, reason: &str) {
    let before = t.events.events().len();
    assert_page(&refused(t, object).await, 400, "invalid_request_object", NOT_VALID);
    let events = t.events.events();
    assert_eq!(events.len(), before + 1, "{reason}");
    let event = events.last().unwrap();
    assert_eq!(event.name, "authorization_refused");
    assert!(event.text.contains(&format!("RequestObject({reason})")), "{reason}: {}", event.text);
    assert!(event.text.contains("ClientId(\"app\")"), "{}", event.text);
}

/// Returns the request of an object; panics if it is refused.
async fn accepted(t: &TestServer, object: &str) -> grantor::PendingAuthorization {
    match send(t, object).await {
        AuthorizationOutcome::Pending(pending) => pending,
        AuthorizationOutcome::Respond(response) => {
            panic!("{}: {:?}", crate::ask::describe(&response), t.events.events())
        }
    }
}

// covers: JR-05 (RFC 9101 §5), JR-06 (RFC 9101 §6.2), JR-07 (RFC 8725 §3.1), JR-12 (RFC 9101 §10.2), JR-16 (RFC 9101 §10.8), B32
#[tokio::test]
async fn object_with_a_broken_signature_gets_a_page() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    let app = client(&t, &es256).await;
    let foreign = SigningKey::generate(Algorithm::Es256).unwrap();
    let rsa = key(Algorithm::Rs256);
    let (good_header, claims) = (header(&es256, TYPE), claims(&t));
    let good = object(&es256, &claims).await;
    drop(accepted(&t, &good).await);
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let (head, payload) = signed.split_once('.').unwrap();
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let text = |change: Value| format!("{}.{payload}.{signature}", part(&with(&good_header, &change)));
    for (broken, reason) in [
        ("x".to_owned(), "Malformed"),
        ("..".to_owned(), "Malformed"),
        (signed.to_owned(), "Malformed"),
        (format!("{good}.AA.AA"), "Malformed"),
        (format!("{good}="), "Malformed"),
        (format!("{good} "), "Malformed"),
        (json!({ "payload": payload, "protected": head, "signature": signature }).to_string(), "Malformed"),
        (format!("{}.{payload}.", part(&json!({ "alg": "none" }))), "Algorithm"),
        (format!("{}.{payload}.{signature}", part(&json!({ "alg": "none", "typ": TYPE }))), "Algorithm"),
        (format!("{signed}."), "Signature"),
        (format!("{signed}.AA"), "Signature"),
        (format!("{head}.{}.{signature}", part(&with(&claims, &json!({ "scope": "user:write" })))), "Signature"),
        (text(json!({ "alg": "HS256" })), "Algorithm"),
        (text(json!({ "alg": "es256" })), "Algorithm"),
        (text(json!({ "alg": null })), "Malformed"),
        (text(json!({ "alg": "RS256" })), "UnknownKey"),
        (text(json!({ "extra": 1 })), "Signature"),
    ] {
        assert_refused(&t, &broken, reason).await;
    }
    let own_id = good_header["kid"].clone();
    for (key, change, reason) in [
        (&es256, json!({ "typ": "client-authentication+jwt" }), "Type"),
        (&es256, json!({ "typ": "at+jwt" }), "Type"),
        (&es256, json!({ "typ": "" }), "Type"),
        (&es256, json!({ "kid": "other" }), "UnknownKey"),
        (&es256, json!({ "kid": 1 }), "Malformed"),
        (&es256, json!({ "kid": "k".repeat(10_000) }), "Malformed"),
        (&es256, json!({ "crit": ["exp"] }), "Malformed"),
        (&es256, json!({ "b64": true }), "Malformed"),
        (&foreign, json!({}), "UnknownKey"),
        (&foreign, json!({ "kid": null }), "Signature"),
        (&foreign, json!({ "kid": own_id }), "Signature"),
        (&foreign, json!({ "kid": own_id, "jwk": foreign.public_key().to_jwk() }), "Signature"),
        (&foreign, json!({ "kid": own_id, "jku": "https://evil.example/jwks" }), "Signature"),
        (&rsa, json!({ "kid": null }), "UnknownKey"),
    ] {
        let header = with(&header(key, TYPE), &change);
        assert_refused(&t, &sign(key, header, &claims).await, reason).await;
    }
    let twice = claims.to_string().replacen('{', "{\"scope\":\"user:write\",", 1);
    for payload in ["[]", "", "{", "null", "\"\"", &twice] {
        assert_refused(&t, &sign(&es256, &good_header, payload).await, "Malformed").await;
    }
    assert!(grants_of(&t, &app).await.is_empty());
}

// covers: JR-01 (RFC 9101 §5, §6.3), JR-15 (RFC 9101 §4, RFC 8725 §3.9), JR-16 (RFC 9101 §10.8), KM-20 (RFC 8725 §3.12)
#[tokio::test]
async fn object_with_a_wrong_claim_gets_a_page() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    client(&t, &es256).await;
    let good = claims(&t);
    let now = t.clock.now().unix_timestamp();
    for (change, reason) in [
        (json!({ "iss": null }), "MissingClaim(\"iss\")"),
        (json!({ "iss": "other" }), "Issuer"),
        (json!({ "iss": ["app"] }), "MalformedClaim(\"iss\")"),
        (json!({ "aud": null }), "MissingClaim(\"aud\")"),
        (json!({ "aud": [] }), "MissingClaim(\"aud\")"),
        (json!({ "aud": "https://id.example/authorize" }), "Audience"),
        (json!({ "aud": [ISSUER, "https://other.example"] }), "Audience"),
        (json!({ "exp": now - 60 }), "Expired"),
        (json!({ "exp": now + 3_601 }), "LongLived"),
        (json!({ "exp": now + 3_601, "iat": null, "nbf": null }), "LongLived"),
        (json!({ "exp": (now + 60).to_string() }), "MalformedClaim(\"exp\")"),
        (json!({ "nbf": now + 60 }), "NotYetValid"),
        (json!({ "iat": now + 60 }), "NotYetValid"),
        (json!({ "client_id": null }), "MissingClaim(\"client_id\")"),
        (json!({ "client_id": "other" }), "ClientId"),
        (json!({ "client_id": "App" }), "ClientId"),
        (json!({ "client_id": ["app"] }), "MalformedClaim(\"client_id\")"),
        // A client assertion is no request object, even with the parameters of a request.
        (json!({ "sub": "app" }), "UnexpectedClaim(\"sub\")"),
        (json!({ "sub": "alice" }), "UnexpectedClaim(\"sub\")"),
        (json!({ "sub": 1 }), "UnexpectedClaim(\"sub\")"),
    ] {
        assert_refused(&t, &object(&es256, &with(&good, &change)).await, reason).await;
    }
}

// covers: JR-04 (RFC 9101 §4, §10.7), JR-13 (RFC 9101 §7), JR-14 (RFC 9101 §6.3)
#[tokio::test]
async fn malformed_parameter_of_a_signed_object_is_redirected() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    client(&t, &es256).await;
    let good = claims(&t);
    for (change, problem) in [
        (json!({ "request": "x" }), "UnexpectedClaim(\"request\")"),
        (json!({ "request": good }), "UnexpectedClaim(\"request\")"),
        (json!({ "request_uri": "https://app.example/object" }), "UnexpectedClaim(\"request_uri\")"),
        (json!({ "scope": ["user:read"] }), "MalformedClaim(\"scope\")"),
        (json!({ "response_type": 1 }), "MalformedClaim(\"response_type\")"),
        (json!({ "redirect_uri": { "a": 1 } }), "MalformedClaim(\"redirect_uri\")"),
        (json!({ "prompt": true }), "MalformedClaim(\"prompt\")"),
        (json!({ "max_age": -1 }), "MalformedClaim(\"max_age\")"),
        (json!({ "max_age": 1.5 }), "MalformedClaim(\"max_age\")"),
        (json!({ "max_age": [1] }), "MalformedClaim(\"max_age\")"),
        (json!({ "code_challenge": 43 }), "MalformedClaim(\"code_challenge\")"),
        (json!({ "nonce": 1 }), "MalformedClaim(\"nonce\")"),
    ] {
        let answer = refused(&t, &object(&es256, &with(&good, &change)).await).await;
        assert_error(&answer, CALLBACK, "invalid_request_object", Some("inside"));
        assert_eq!(query_of(&answer)["error_description"], NOT_VALID);
        let events = t.events.events();
        let event = &events.last().unwrap().text;
        assert!(event.contains(&format!("RequestObject({problem})")), "{problem}: {event}");
    }
    let answer = refused(&t, &object(&es256, &with(&good, &json!({ "state": 1 }))).await).await;
    assert_error(&answer, CALLBACK, "invalid_request_object", None);
    let null = good.to_string().replacen('{', "{\"login_hint\":null,", 1);
    let null = refused(&t, &sign(&es256, header(&es256, TYPE), null).await).await;
    assert_error(&null, CALLBACK, "invalid_request_object", Some("inside"));
    // The redirect URI is not registered, so the fault gets a page.
    let evil = json!({ "redirect_uri": "https://evil.example/", "scope": 1 });
    assert_refused(&t, &object(&es256, &with(&good, &evil)).await, "MalformedClaim(\"scope\")").await;
}

// covers: JR-15 (RFC 9101 §4), JR-16 (RFC 9101 §10.8), KM-21 (RFC 8725 §3.11)
#[tokio::test]
async fn each_form_of_a_good_object_is_accepted() {
    for algorithm in Algorithm::ALL {
        let (t, key) = (server(), key(algorithm));
        client(&t, &key).await;
        assert_eq!(accepted(&t, &object(&key, &claims(&t)).await).await.scope().as_str(), "user:read", "{algorithm}");
    }
    let (t, es256) = (server(), key(Algorithm::Es256));
    client(&t, &es256).await;
    let (good, now) = (claims(&t), t.clock.now().unix_timestamp());
    for change in [
        json!({ "typ": null }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "application/oauth-authz-req+jwt" }),
        json!({ "typ": "OAuth-Authz-Req+JWT" }),
        json!({ "kid": null }),
        json!({ "jku": "https://evil.example/jwks", "x5u": "https://evil.example/" }),
    ] {
        drop(accepted(&t, &sign(&es256, with(&header(&es256, TYPE), &change), &good).await).await);
    }
    for change in [
        json!({ "exp": null, "nbf": null, "iat": null, "jti": null }),
        json!({ "exp": now + 3_600 }),
        json!({ "exp": now - 29, "nbf": now + 29 }),
        json!({ "exp": f64::from(u32::try_from(now).unwrap()) + 0.5 }),
        json!({ "aud": [ISSUER] }),
        json!({ "unknown": [null, {}], "claims": {}, "resource": ["a"], "redirect_uri": null }),
    ] {
        drop(accepted(&t, &object(&es256, &with(&good, &change)).await).await);
    }
    for (max_age, seconds) in [(json!(0), 0), (json!(60), 60), (json!("60"), 60)] {
        let pending = accepted(&t, &object(&es256, &with(&good, &json!({ "max_age": max_age }))).await).await;
        assert_eq!(pending.max_age(), Some(Duration::seconds(seconds)), "{max_age}");
    }
    // A user reloads the page.
    let again = object(&es256, &good).await;
    drop(accepted(&t, &again).await);
    let pending = accepted(&t, &again).await;
    let answer: Response = grantor::testing::approve(pending, by("alice")).await.into();
    assert_eq!(query_of(&answer)["state"], "inside");
    drop(accepted(&t, &again).await);
}

// covers: JR-01 (RFC 9101 §5, §6.3), JR-03 (RFC 9101 §5, §6.3)
#[tokio::test]
async fn only_parameters_inside_the_object_count() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    let app = client(&t, &es256).await;
    let object = object(&es256, &with(&claims(&t), &json!({ "nonce": "inside" }))).await;
    let outside = Ask::token(&app)
        .with("redirect_uri", "https://evil.example/")
        .with("scope", "user:write")
        .with("nonce", "outside")
        .and("max_age", "x")
        .and("prompt", "none")
        .twice("state")
        .raw("&x=%ZZ")
        .with("request", &object);
    for request in [outside.get(), outside.post()] {
        let AuthorizationOutcome::Pending(pending) = t.server.authorize(&request).await else { panic!("it is good") };
        assert_eq!((pending.scope().as_str(), pending.parameter("nonce")), ("user:read", Some("inside")));
        assert_eq!((pending.parameter("request"), pending.max_age()), (None, None));
        let answer: Response = pending.deny().into();
        assert_error(&answer, CALLBACK, "access_denied", Some("inside"));
    }
    // The parameters outside fill no gap.
    for (name, code) in [("response_type", "invalid_request"), ("scope", "invalid_scope")] {
        let lacking = sign(&es256, header(&es256, TYPE), with(&claims(&t), &json!({ name: null }))).await;
        let answer = responded(t.server.authorize(&Ask::code(&app).with("request", &lacking).get()).await);
        assert_error(&answer, CALLBACK, code, Some("inside"));
    }
    let (missing, twice) = (outside.clone().without("client_id"), outside.clone().twice("client_id"));
    let (other, empty) = (outside.clone().with("client_id", "other"), outside.clone().with("client_id", ""));
    let (object_twice, both) = (outside.clone().twice("request"), outside.with("request_uri", "urn:x"));
    for (ask, code, description) in [
        (missing, "invalid_request", "the parameter client_id is missing"),
        (empty, "invalid_request", "the parameter client_id is missing"),
        (twice, "invalid_request", "the parameter client_id occurs more than once"),
        (object_twice, "invalid_request", "the parameter request occurs more than once"),
        (other, "invalid_client", "the client is not registered with this server"),
        (both, "invalid_request", "request and request_uri are used together: send one of them"),
    ] {
        assert_page(&responded(t.server.authorize(&ask.get()).await), 400, code, description);
    }
    // Another client with the same key.
    let other = Client::public("other").authorization_code([CALLBACK]).scope("user:read").jwks(jwks(&es256)).build();
    t.register(other, None).await;
    let stolen = authorize(&[("client_id", "other"), ("request", &object)]);
    assert_page(&responded(t.server.authorize(&stolen).await), 400, "invalid_request_object", NOT_VALID);
    let as_other = json!({ "iss": "other" });
    let stolen = sign(&es256, header(&es256, TYPE), with(&claims(&t), &as_other)).await;
    let answer = responded(t.server.authorize(&authorize(&[("client_id", "other"), ("request", &stolen)])).await);
    assert_page(&answer, 400, "invalid_request_object", NOT_VALID);
    assert!(t.events.events().last().unwrap().text.contains("RequestObject(ClientId)"));
}

// A host app may declare a parameter with the name of a claim. The claim says something about the object.
#[tokio::test]
async fn claims_of_the_object_are_no_parameters() {
    let signatures = ClientSignatures::new().request_objects();
    let t = TestServer::with(|builder| {
        builder.client_signatures(signatures).authorization_parameter("jti").authorization_parameter("exp")
    });
    let es256 = key(Algorithm::Es256);
    client(&t, &es256).await;
    let pending = accepted(&t, &object(&es256, &claims(&t)).await).await;
    assert_eq!((pending.parameter("jti"), pending.parameter("exp")), (None, None));
}

// covers: JR-06 (RFC 9101 §6.2), JR-07 (RFC 9101 §6.2, RFC 8725 §3.1)
#[tokio::test]
async fn client_and_server_limit_the_algorithms_of_objects() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    let app = client(&t, &es256).await;
    let ed = key(Algorithm::Ed25519);
    change(&t, &app, |parts| {
        parts.jwks = Some(JwkSet::new([es256.public_key().clone(), ed.public_key().clone()]).unwrap());
    })
    .await;
    for key in [&es256, &ed] {
        drop(accepted(&t, &object(key, &claims(&t)).await).await);
    }
    change(&t, &app, |parts| parts.request_object_signing_alg = Some(Algorithm::Ed25519)).await;
    drop(accepted(&t, &object(&ed, &claims(&t)).await).await);
    // The other name of Ed25519.
    let other_name = with(&header(&ed, TYPE), &json!({ "alg": "EdDSA" }));
    drop(accepted(&t, &sign(&ed, other_name, claims(&t)).await).await);
    assert_refused(&t, &object(&es256, &claims(&t)).await, "Algorithm").await;
    change(&t, &app, |parts| parts.request_object_signing_alg = None).await;
    change(&t, &app, |parts| parts.jwks = None).await;
    assert_refused(&t, &object(&es256, &claims(&t)).await, "NoKeys").await;

    let t = server_with(ClientSignatures::new().algorithms([Algorithm::Rs256]).request_objects());
    client(&t, &es256).await;
    assert_refused(&t, &object(&es256, &claims(&t)).await, "Algorithm").await;
}

// covers: JR-02 (RFC 9101 §5), JR-13 (RFC 9101 §7)
#[tokio::test]
async fn request_uri_is_refused_where_objects_are_accepted() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    let app = client(&t, &es256).await;
    let by_reference = Ask::code(&app).with("request_uri", "https://app.example/object");
    let answer = responded(t.server.authorize(&by_reference.get()).await);
    assert_error(&answer, CALLBACK, "request_uri_not_supported", Some("af0ifjsldkj"));
    let both = by_reference.with("request", &object(&es256, &claims(&t)).await);
    let answer = responded(t.server.authorize(&both.get()).await);
    assert_error(&answer, CALLBACK, "invalid_request", Some("af0ifjsldkj"));
}

// covers: JR-05 (RFC 9101 §10.1), JR-09 (RFC 9101 §10.5), AZ-23 (RFC 9101 §10.5)
#[tokio::test]
async fn demanded_signature_keeps_plain_requests_from_redirecting() {
    let es256 = key(Algorithm::Es256);
    let by_client = server();
    let app = client(&by_client, &es256).await;
    change(&by_client, &app, |parts| parts.require_signed_request_object = true).await;
    let mut policy = grantor::Policy::default();
    policy.require_signed_request_object = true;
    let signatures = ClientSignatures::new().request_objects();
    let by_policy = TestServer::with(|builder| builder.policy(policy).client_signatures(signatures));
    client(&by_policy, &es256).await;
    for t in [&by_client, &by_policy] {
        let plain = Ask::code(&app);
        for ask in [plain.clone(), plain.clone().with("scope", "nope"), plain.clone().with("redirect_uri", "x")] {
            let answer = responded(t.server.authorize(&ask.get()).await);
            assert_page(&answer, 400, "invalid_request", REQUIRED);
            let events = t.events.events();
            assert!(events.last().unwrap().text.contains("MissingRequestObject"), "{events:?}");
        }
        let by_reference = responded(t.server.authorize(&plain.with("request_uri", "urn:x").get()).await);
        assert_page(&by_reference, 400, "request_uri_not_supported", "request_uri is not supported");
        let unsigned = format!("{}.{}.", URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#), URL_SAFE_NO_PAD.encode("{}"));
        assert_refused(t, &unsigned, "Algorithm").await;
        drop(accepted(t, &object(&es256, &claims(t)).await).await);
    }
    // A server that accepts no objects can't serve such a client.
    let t = TestServer::new();
    let app = client(&t, &es256).await;
    change(&t, &app, |parts| parts.require_signed_request_object = true).await;
    let answer = refused(&t, &object(&es256, &claims(&t)).await).await;
    assert_page(&answer, 400, "request_not_supported", "request objects are not supported");
}

// covers: JR-09 (RFC 9101 §10.5)
#[tokio::test]
async fn plain_request_ends_when_a_signature_is_demanded() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    let app = client(&t, &es256).await;
    let plain = crate::ask::consent(&t, &Ask::code(&app)).await;
    let signed = accepted(&t, &object(&es256, &claims(&t)).await).await;
    let targets = [plain.request().return_target(), signed.return_target()];
    let signed = grantor::testing::ask(signed, subject("alice")).await;
    let forms = [plain.form_token("session"), signed.form_token("session")];
    // The key that signed is gone, and the object has expired.
    change(&t, &app, |parts| {
        parts.require_signed_request_object = true;
        parts.jwks = Some(jwks(&SigningKey::generate(Algorithm::Es256).unwrap()));
    })
    .await;
    t.clock.advance(Duration::minutes(10));

    let answer = responded(t.server.authorize(&Request::get(&*targets[0])).await);
    assert_page(&answer, 400, "invalid_request", REQUIRED);
    let error = t.server.resume(&forms[0], "session").await.unwrap_err();
    assert_eq!(error.error().refusal(), Some(&Refusal::MissingRequestObject));
    assert_page(&error.to_response(), 400, "invalid_request", REQUIRED);

    let AuthorizationOutcome::Pending(back) = t.server.authorize(&Request::get(&*targets[1])).await else {
        panic!("the object was verified when it came")
    };
    assert_eq!(back.parameter("state"), Some("inside"));
    let resumed = t.server.resume(&forms[1], "session").await.expect("the object was verified when it came");
    let answer: Response = resumed.approve(by("alice")).await.into();
    assert!(query_of(&answer).contains_key("code") && query_of(&answer)["state"] == "inside");
}

#[tokio::test]
async fn return_target_beside_an_object_is_refused() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    client(&t, &es256).await;
    let object = object(&es256, &claims(&t)).await;
    let target = accepted(&t, &object).await.return_target();
    for name in ["request", "request_uri"] {
        let both = Request::get(format!("{target}&{}", form(&[(name, &object)])));
        let description = format!("the parameter {name} occurs more than once");
        assert_page(&responded(t.server.authorize(&both).await), 400, "invalid_request", &description);
    }
}

#[tokio::test]
async fn typed_request_object_is_read_and_bounded() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    client(&t, &es256).await;
    let text = object(&es256, &claims(&t)).await;
    let pending = t.server.authorization_request(&AuthorizationRequest::code("app").request_object(&text)).await;
    assert_eq!(pending.expect("a good object").parameter("state"), Some("inside"));
    let long = object(&es256, &with(&claims(&t), &json!({ "padding": ["x".repeat(50_000)] }))).await;
    let error = t.server.authorization_request(&AuthorizationRequest::code("app").request_object(&long)).await;
    let error = error.expect_err("the object is longer than max_body");
    assert!(t.events.events().last().unwrap().text.contains("RequestObject(Malformed)"));
    assert_page(&error.to_response(), 400, "invalid_request_object", NOT_VALID);
    assert_page(&refused(&t, &long).await, 413, "invalid_request", "the request is too large");
    let large = object(&es256, &with(&claims(&t), &json!({ "nonce": "x".repeat(16 * 1_024) }))).await;
    assert_page(&refused(&t, &large).await, 413, "invalid_request", "the request is too large");
}

#[tokio::test]
async fn storage_failure_while_reading_an_object_is_no_refusal() {
    let (t, es256) = (server(), key(Algorithm::Es256));
    client(&t, &es256).await;
    t.faults.fail(1, grantor::testing::Fault::Unavailable);
    let answer = refused(&t, &object(&es256, &claims(&t)).await).await;
    let description = "the server is temporarily unavailable, try again later";
    assert_page(&answer, 503, "temporarily_unavailable", description);
    assert_eq!(answer.header("retry-after"), Some("5"));
}

/// The web server of a client. It answers with these keys, or fails.
#[derive(Clone, Default)]
struct Web(Arc<Mutex<Option<JwkSet>>>);

#[async_trait]
impl HttpClient for Web {
    async fn get(&self, request: &GetRequest<'_>) -> Result<GetResponse, FetchError> {
        let keys = self.0.lock().unwrap().as_ref().map(|keys| serde_json::to_vec(keys).unwrap());
        let mut response = GetResponse::new(200, [("content-type", "application/jwk-set+json")]);
        response.push(&keys.ok_or_else(|| FetchError::client("no route to host"))?, request)?;
        Ok(response)
    }
}

// covers: JR-06 (RFC 9101 §6.2), KM-17 (RFC 8725bis §3.10)
#[tokio::test]
async fn published_keys_verify_objects_once_they_can_be_fetched() {
    let (web, es256) = (Web::default(), key(Algorithm::Es256));
    let (signatures, http) = (ClientSignatures::new().request_objects(), web.clone());
    let t = TestServer::with(|builder| builder.client_signatures(signatures).http_client(http));
    let app = Client::public("app").authorization_code([CALLBACK]).scope("user:read");
    t.register(app.jwks_uri("https://app.example/jwks").build(), None).await;
    let good = object(&es256, &claims(&t)).await;

    let answer = refused(&t, &good).await;
    let description = "the server is temporarily unavailable, try again later";
    assert_page(&answer, 503, "temporarily_unavailable", description);
    assert_eq!(answer.header("retry-after"), Some("5"));
    assert_eq!(t.events.names(), ["fetch_failed", "authorization_refused"]);

    *web.0.lock().unwrap() = Some(jwks(&es256));
    drop(accepted(&t, &good).await);
    let foreign = SigningKey::generate(Algorithm::Es256).unwrap();
    assert_refused(&t, &object(&foreign, &claims(&t)).await, "UnknownKey").await;
}
