//! Assertions that are refused.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::client::SetBy;
use grantor::jose::{Algorithm, SigningKey};
use grantor::testing::TestServer;
use grantor::{Client, Clock, Request};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;

use super::{
    ASSERTION_TYPE, MACHINE, TYP, assertion, assertion_parameters, by_assertion, claims, client, remembered,
    server_and_client,
};
use crate::common::signed::{header, jwks, sign, with};
use crate::common::{form, token};
use crate::support::{CB, bad_client, bad_request, granted, header_values};

/// A change that breaks a good assertion.
enum Broken {
    /// Other members in the header. `null` removes a member.
    Header(Value),
    /// Other claims. `null` removes a claim.
    Claims(Value),
    /// Another header, as it is.
    RawHeader(String),
    /// Another payload, as it is.
    Payload(String),
    /// A change of the signed text.
    Text(fn(&str) -> String),
}
use Broken::{Claims, Header, Payload, RawHeader, Text};

/// The change, and the reason in the event.
type Row = (Broken, &'static str);

fn malformed() -> Vec<Row> {
    let texts: [fn(&str) -> String; 17] = [
        |_| ".".to_owned(),
        |_| "..".to_owned(),
        |_| "...".to_owned(),
        |_| "a.b.c".to_owned(),
        |_| "\0".to_owned(),
        |_| "{}".to_owned(),
        |_| "\u{20ac}".to_owned(),
        |_| "a".repeat(50_000),
        |good| format!("{good}."),
        |good| format!("{good}.e30"),
        |good| format!("{good}.e30.e30"),
        |good| format!(" {good}"),
        |good| format!("{good}\n"),
        |good| format!("{good}="),
        |good| good.replacen('.', "", 1),
        |good| format!("{good} {good}"),
        |good| {
            let parts: Vec<&str> = good.split('.').collect();
            json!({ "protected": parts[0], "payload": parts[1], "signature": parts[2] }).to_string()
        },
    ];
    let mut rows: Vec<Row> = texts.into_iter().map(|change| (Text(change), "Malformed")).collect();
    rows.extend(
        [
            json!({ "crit": ["exp"] }),
            json!({ "crit": [] }),
            json!({ "b64": false }),
            json!({ "kid": 1 }),
            json!({ "kid": "k".repeat(257) }),
            json!({ "typ": 1 }),
            json!({ "alg": null }),
            json!({ "alg": 256 }),
            json!({ "x5c": ["A".repeat(8_192)] }),
        ]
        .map(|change| (Header(change), "Malformed")),
    );
    rows.extend(
        ["", "[]", "{", r#"{"alg":"ES256","alg":"ES256"}"#, "\u{feff}{\"alg\":\"ES256\"}", r#"{"alg":"ES256"}{}"#]
            .map(|header| (RawHeader(header.to_owned()), "Malformed")),
    );
    rows.extend(
        ["", "null", "[]", "\"app\"", r#"{"sub":"app","sub":"app"}"#, r#"{"sub":"app""#]
            .map(|payload| (Payload(payload.to_owned()), "Malformed")),
    );
    rows.push((Payload(format!("{{\"sub\":{}{}}}", "[".repeat(1_000), "]".repeat(1_000))), "Malformed"));
    rows
}

fn wrong_kind_or_key(stranger: &SigningKey) -> Vec<Row> {
    let jwk = serde_json::to_value(jwks(stranger)).unwrap()["keys"][0].clone();
    vec![
        (Header(json!({ "typ": "at+jwt" })), "Type"),
        (Header(json!({ "typ": "logout+jwt" })), "Type"),
        (Header(json!({ "typ": "dpop+jwt" })), "Type"),
        (Header(json!({ "typ": "oauth-authz-req+jwt" })), "Type"),
        (Header(json!({ "typ": "token-introspection+jwt" })), "Type"),
        (Header(json!({ "typ": "" })), "Type"),
        (Header(json!({ "typ": "application/" })), "Type"),
        (Header(json!({ "alg": "none" })), "Algorithm"),
        (Header(json!({ "alg": "NoNe" })), "Algorithm"),
        (Header(json!({ "alg": "" })), "Algorithm"),
        (Header(json!({ "alg": "es256" })), "Algorithm"),
        (Header(json!({ "alg": "HS256" })), "Algorithm"),
        (Header(json!({ "alg": "ES256K" })), "Algorithm"),
        (Header(json!({ "alg": "RS512" })), "Algorithm"),
        (Header(json!({ "alg": "RS256" })), "UnknownKey"),
        (Header(json!({ "alg": "ES384" })), "UnknownKey"),
        (Header(json!({ "alg": "EdDSA", "kid": null })), "UnknownKey"),
        (Header(json!({ "kid": "" })), "UnknownKey"),
        (Header(json!({ "kid": "../../etc/passwd" })), "UnknownKey"),
        (Header(json!({ "kid": "' OR '1'='1" })), "UnknownKey"),
        (Header(json!({ "kid": stranger.public_key().id(), "jwk": jwk })), "UnknownKey"),
        (Text(without_signature), "Signature"),
        (Text(|good| format!("{}AAAA", without_signature(good))), "Signature"),
        (Text(|good| format!("{good}AAAA")), "Signature"),
        (Text(|good| with_signature(good, |signature| signature[0] ^= 1)), "Signature"),
        (Text(|good| with_signature(good, |signature| signature.fill(0))), "Signature"),
        (Text(|good| with_signature(good, |signature| signature.swap(0, 63))), "Signature"),
        (Text(other_payload), "Signature"),
    ]
}

fn wrong_claims(now: i64) -> Vec<Row> {
    vec![
        (Claims(json!({ "iss": null })), r#"MissingClaim("iss")"#),
        (Claims(json!({ "iss": 1 })), r#"MalformedClaim("iss")"#),
        (Claims(json!({ "iss": ["app"] })), r#"MalformedClaim("iss")"#),
        (Claims(json!({ "iss": "App" })), "Issuer"),
        (Claims(json!({ "iss": "app " })), "Issuer"),
        (Claims(json!({ "iss": "https://id.example" })), "Issuer"),
        (Claims(json!({ "sub": null })), r#"MissingClaim("sub")"#),
        (Claims(json!({ "sub": 1 })), r#"MalformedClaim("sub")"#),
        (Claims(json!({ "aud": null })), r#"MissingClaim("aud")"#),
        (Claims(json!({ "aud": [] })), r#"MissingClaim("aud")"#),
        (Claims(json!({ "aud": 1 })), r#"MalformedClaim("aud")"#),
        (Claims(json!({ "aud": ["https://id.example", 1] })), r#"MalformedClaim("aud")"#),
        (Claims(json!({ "aud": "https://id.example/token" })), "Audience"),
        (Claims(json!({ "aud": "https://id.example/" })), "Audience"),
        (Claims(json!({ "aud": "https://ID.example" })), "Audience"),
        (Claims(json!({ "aud": "https://other.example" })), "Audience"),
        (Claims(json!({ "aud": "app" })), "Audience"),
        (Claims(json!({ "aud": ["https://id.example", "https://id.example/token"] })), "Audience"),
        (Claims(json!({ "aud": ["https://id.example", "https://id.example"] })), "Audience"),
        (Claims(json!({ "exp": null })), r#"MissingClaim("exp")"#),
        (Claims(json!({ "exp": (now + 60).to_string() })), r#"MalformedClaim("exp")"#),
        (Claims(json!({ "exp": "Infinity" })), r#"MalformedClaim("exp")"#),
        (Claims(json!({ "exp": -1 })), r#"MalformedClaim("exp")"#),
        (Claims(json!({ "exp": 1e300 })), r#"MalformedClaim("exp")"#),
        (Claims(json!({ "exp": u64::MAX })), r#"MalformedClaim("exp")"#),
        (Claims(json!({ "exp": 0, "iat": null })), "Expired"),
        (Claims(json!({ "exp": now - 30 })), "Expired"),
        (Claims(json!({ "exp": now - 3_600, "iat": now - 3_660 })), "Expired"),
        (Claims(json!({ "exp": now + 601 })), "LongLived"),
        (Claims(json!({ "exp": now + 601, "iat": null })), "LongLived"),
        (Claims(json!({ "exp": now + 60, "iat": now - 541 })), "LongLived"),
        (Claims(json!({ "exp": 253_402_300_799_i64 })), "LongLived"),
        (Claims(json!({ "iat": now + 31 })), "NotYetValid"),
        (Claims(json!({ "nbf": now + 31 })), "NotYetValid"),
        (Claims(json!({ "nbf": true })), r#"MalformedClaim("nbf")"#),
        (Claims(json!({ "iat": "now" })), r#"MalformedClaim("iat")"#),
        (Claims(json!({ "jti": null })), r#"MissingClaim("jti")"#),
        (Claims(json!({ "jti": 1 })), r#"MalformedClaim("jti")"#),
        (Claims(json!({ "jti": "" })), r#"MalformedClaim("jti")"#),
        (Claims(json!({ "jti": "j".repeat(257) })), r#"MalformedClaim("jti")"#),
    ]
}

fn without_signature(good: &str) -> String {
    format!("{}.", good.rsplit_once('.').unwrap().0)
}

fn with_signature(good: &str, change: impl Fn(&mut [u8])) -> String {
    let (signed, signature) = good.rsplit_once('.').unwrap();
    let mut signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
    change(&mut signature);
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

/// The same header and signature over changed claims.
fn other_payload(good: &str) -> String {
    let [head, payload, signature] = good.split('.').collect::<Vec<_>>()[..] else { panic!("three parts") };
    let mut claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    claims["jti"] = "another".into();
    format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(claims.to_string()))
}

async fn broken(t: &TestServer, id: &str, key: &SigningKey, broken: &Broken) -> String {
    let (header, claims) = (header(key, TYP), claims(t, id));
    match broken {
        Header(change) => sign(key, with(&header, change), claims).await,
        Claims(change) => sign(key, header, with(&claims, change)).await,
        RawHeader(raw) => sign(key, raw, claims).await,
        Payload(raw) => sign(key, header, raw).await,
        Text(change) => change(&sign(key, header, claims).await),
    }
}

fn with_client_id(request: &str, id: &str) -> Request {
    token(&[&MACHINE[..], &assertion_parameters(request), &[("client_id", id)]].concat())
}

/// The answer is the same for all of them, and nothing is written.
// covers: JB-01 (RFC 7521 §4.2), JB-02 (RFC 7523 §3), JB-04 (RFC 7523 §3), JB-05 (RFC 7523bis §4), JB-06 (RFC 7523 §3), JB-07 (RFC 7523 §3), JB-08 (RFC 7523 §3), JB-09 (RFC 7523 §3), JB-11 (RFC 8725 §3.1), JB-12 (RFC 7521 §4.2.1), JB-18 (RFC 7521 §5.1), CA-15 (RFC 6749 §5.2), KM-18 (RFC 7515 §4.1.11), KM-19 (RFC 8725 §3.7), KM-20 (RFC 8725 §3.11), KM-22 (RFC 7519 §2), KM-24 (RFC 8725 §3.10), B31
#[tokio::test]
async fn broken_assertion_is_refused_without_a_trace() {
    let (t, app, key) = server_and_client().await;
    let stranger = SigningKey::generate(Algorithm::Es256).unwrap();
    let now = t.clock.now().unix_timestamp();
    let rows: Vec<Row> = malformed().into_iter().chain(wrong_kind_or_key(&stranger)).chain(wrong_claims(now)).collect();
    assert!(rows.len() >= 100, "{}", rows.len());
    let mut answers = Vec::new();
    for (row, reason) in &rows {
        let reason = format!("ClientAssertion({reason})");
        for names_client in [true, false] {
            let text = broken(&t, &app.id, &key, row).await;
            let request = if names_client { with_client_id(&text, &app.id) } else { by_assertion(&text) };
            let calls = t.faults.calls();
            let response = bad_client(&t, &request, &reason).await;
            assert!(t.faults.calls() - calls <= 1, "only the client is looked up: {reason}");
            let event = t.events.events().pop().unwrap().text;
            let parts = text.split('.').filter(|part| part.len() > 40);
            assert!(parts.into_iter().all(|part| !event.contains(part)), "an assertion is no text for logs: {event}");
            answers.push((response.body().to_vec(), header_values(&response, "www-authenticate").join("")));
        }
    }
    assert_eq!(remembered(&t).await, 0);

    // The same answer as for a stranger and for a client that authenticates in another way.
    let secret = t.confidential_client(CB).await;
    let public = t.public_client(CB).await;
    client(&t, "stranger", jwks(&stranger), |client| client).await;
    for (text, reason) in [
        (assertion(&t, "nobody-we-know", &key).await, "UnknownClient"),
        (assertion(&t, "\u{e9}", &key).await, "UnknownClient"),
        (assertion(&t, &secret.id, &key).await, "AuthenticationMethodNotAllowed"),
        (assertion(&t, &public.id, &key).await, "AuthenticationMethodNotAllowed"),
        (assertion(&t, "stranger", &key).await, "ClientAssertion(UnknownKey)"),
        (sign(&key, json!({ "alg": "ES256" }), claims(&t, "stranger")).await, "ClientAssertion(Signature)"),
        (sign(&key, header(&key, TYP), with(&claims(&t, "app"), &json!({ "sub": "other" }))).await, "UnknownClient"),
    ] {
        let response = bad_client(&t, &by_assertion(&text), reason).await;
        answers.push((response.body().to_vec(), header_values(&response, "www-authenticate").join("")));
    }
    let other_subject = sign(&key, header(&key, TYP), with(&claims(&t, "app"), &json!({ "sub": "other" }))).await;
    let response = bad_client(&t, &with_client_id(&other_subject, &app.id), "ClientAssertion(Subject)").await;
    answers.push((response.body().to_vec(), header_values(&response, "www-authenticate").join("")));
    answers.dedup();
    assert_eq!(answers.len(), 1, "the answers differ");
    assert_eq!(remembered(&t).await, 0);
    assert!(t.events.events().iter().all(|event| event.name == "token_refused"));
    granted(&t, &by_assertion(&assertion(&t, &app.id, &key).await)).await;
}

/// The public key of the client is known to everyone, so it must never be the key of a MAC.
// covers: JB-11 (RFC 8725 §3.1), B31
#[tokio::test]
async fn mac_with_the_public_key_is_refused() {
    let (t, app, key) = server_and_client().await;
    let jwk = serde_json::to_value(jwks(&key)).unwrap()["keys"][0].clone();
    let x = URL_SAFE_NO_PAD.decode(jwk["x"].as_str().unwrap()).unwrap();
    for secret in [x.as_slice(), jwk.to_string().as_bytes(), b"", app.id.as_bytes()] {
        let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let signed = [part(with(&header(&key, TYP), &json!({ "alg": "HS256" }))), part(claims(&t, &app.id))].join(".");
        let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
        mac.update(signed.as_bytes());
        let text = format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()));
        bad_client(&t, &by_assertion(&text), "ClientAssertion(Algorithm)").await;
    }
}

// covers: JB-01 (RFC 7521 §4.2), JB-12 (RFC 7521 §4.2.1), CA-07 (RFC 6749 §2.3.1), CA-09 (RFC 6749 §2.3), CA-12 (RFC 6749 §2.3.2), AMB-16, B28, B37, B38
#[tokio::test]
async fn assertion_is_the_only_proof_and_has_its_type() {
    let (t, app, key) = server_and_client().await;
    let text = assertion(&t, &app.id, &key).await;
    let id = ("client_id", app.id.as_str());
    let [kind, value] = assertion_parameters(&text);
    let with_pairs = |pairs: &[(&str, &str)]| token(&[&MACHINE[..], pairs].concat());
    let not_allowed = "AuthenticationMethodNotAllowed";
    let saml = ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer");
    let upper = ASSERTION_TYPE.to_uppercase();
    for pairs in [&[value][..], &[value, id], &[saml, value], &[saml], &[("client_assertion_type", &upper), value]] {
        bad_client(&t, &with_pairs(pairs), not_allowed).await;
    }
    for pairs in [&[kind][..], &[kind, id], &[kind, ("client_assertion", ""), id]] {
        bad_client(&t, &with_pairs(pairs), "MissingClientAuthentication").await;
    }
    let basic = crate::common::basic(&app.id, "a-secret");
    let several = "SeveralAuthenticationMethods";
    bad_request(&t, &by_assertion(&text).with_header("authorization", basic), several).await;
    bad_request(&t, &with_pairs(&[kind, value, id, ("client_secret", "a-secret")]), several).await;
    bad_client(&t, &by_assertion(&text).with_header("authorization", "Bearer x"), not_allowed).await;
    bad_request(&t, &with_pairs(&[kind, value, value]), r#"RepeatedParameter("client_assertion")"#).await;
    bad_request(&t, &with_pairs(&[kind, kind, value]), r#"RepeatedParameter("client_assertion_type")"#).await;
    let in_query = form(&[kind, value]);
    let in_query = Request::post_form(format!("/token?{in_query}"), form(&MACHINE));
    bad_request(&t, &in_query, r#"ParameterInQuery("client_assertion")"#).await;
    // The client has no secret, and its identifier alone is no proof.
    bad_client(&t, &with_pairs(&[id]), "MissingClientAuthentication").await;
    bad_client(&t, &with_pairs(&[id, ("client_secret", &text)]), not_allowed).await;
    assert_eq!(remembered(&t).await, 0);
    granted(&t, &by_assertion(&text)).await;
}

/// A credential of a client that signs is not looked at.
// covers: CA-12 (RFC 6749 §2.3.2), CA-25 (RFC 7591 §2)
#[tokio::test]
async fn client_with_a_key_cannot_use_a_secret() {
    let (t, _, key) = server_and_client().await;
    let secret = grantor::ClientSecret::new("a-secret");
    let client = Client::private_key_jwt("both").credential(grantor::ClientCredential::secret(&secret));
    let both = client.jwks(jwks(&key)).client_credentials().scope("user:read").build();
    let both = t.register(both, Some(secret)).await;
    bad_client(&t, &crate::common::token_as(&both, &MACHINE), "AuthenticationMethodNotAllowed").await;
    granted(&t, &by_assertion(&assertion(&t, &both.id, &key).await)).await;
}

/// Secrets are stored as digests, so no client can sign with its secret.
// covers: KM-23 (OpenID Connect Core §10.1)
#[test]
fn client_cannot_register_a_mac_algorithm() {
    let client = Client::private_key_jwt("app").jwks(jwks(&crate::common::signed::key(Algorithm::Es256)));
    let parts = client.client_credentials().build().unwrap().into_parts();
    for member in ["token_endpoint_auth_signing_alg", "request_object_signing_alg"] {
        for algorithm in ["HS256", "HS512", "none", "es256", ""] {
            let mut sent = json!({ (member): algorithm }).as_object().unwrap().clone();
            let error = parts.clone().set_members(&mut sent, SetBy::Anyone).unwrap_err();
            assert!(error.to_string().contains(member), "{error}");
        }
    }
    let mut sent = json!({ "token_endpoint_auth_method": "client_secret_jwt" }).as_object().unwrap().clone();
    let error = parts.clone().set_members(&mut sent, SetBy::Host).unwrap_err();
    assert!(error.to_string().contains("token_endpoint_auth_method"), "{error}");
}
