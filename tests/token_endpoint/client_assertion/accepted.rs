//! Assertions that are accepted.

use grantor::jose::{Algorithm, JwkSet, PublicKey, SigningKey};
use grantor::testing::TestServer;
use grantor::{ClientSignatures, Clock, IntrospectionRequest, RevocationRequest, TokenRequest};
use serde_json::{Value, json};
use time::Duration;

use super::{TYP, assertion, by_assertion, claims, client, remembered, server, server_and_client};
use crate::common::signed::{header, jwks, key, sign, with};
use crate::common::token;
use crate::support::{bad_client, granted, redemption};

// covers: JB-10 (RFC 7523 §5), JB-11 (RFC 8725 §3.1)
#[tokio::test]
async fn assertion_of_each_algorithm_is_accepted() {
    let t = server();
    for algorithm in Algorithm::ALL {
        let key = key(algorithm);
        let any = client(&t, &format!("any-{algorithm}"), jwks(&key), |client| client).await;
        granted(&t, &by_assertion(&assertion(&t, &any.id, &key).await)).await;
        let own = |client: grantor::client::ClientBuilder| client.token_endpoint_auth_signing_alg(algorithm);
        let only = client(&t, &format!("only-{algorithm}"), jwks(&key), own).await;
        granted(&t, &by_assertion(&assertion(&t, &only.id, &key).await)).await;
    }
    assert_eq!((remembered(&t).await, t.events.count("tokens_issued")), (12, 12));
    assert!(t.events.events().iter().all(|event| event.name == "tokens_issued"));
}

// covers: JB-11 (RFC 8725 §3.1), CA-25 (RFC 7591 §2)
#[tokio::test]
async fn only_registered_and_offered_algorithms_are_accepted() {
    let (rsa, pss) = (key(Algorithm::Rs256), key(Algorithm::Ps256));
    // A key without `alg` is good for both algorithms, unless the client or the server names one.
    let public = PublicKey::from_jwk(&{
        let mut jwk: Value = serde_json::to_value(jwks(&rsa)).unwrap()["keys"][0].take();
        jwk.as_object_mut().unwrap().remove("alg");
        jwk.to_string()
    })
    .unwrap();
    let keys = JwkSet::new([public]).unwrap();
    let t = server();
    let any = client(&t, "any", keys.clone(), |client| client).await;
    granted(&t, &by_assertion(&assertion(&t, &any.id, &rsa).await)).await;
    granted(&t, &by_assertion(&assertion(&t, &any.id, &pss).await)).await;
    let own = |client: grantor::client::ClientBuilder| client.token_endpoint_auth_signing_alg(Algorithm::Ps256);
    let only = client(&t, "only", keys.clone(), own).await;
    granted(&t, &by_assertion(&assertion(&t, &only.id, &pss).await)).await;
    bad_client(&t, &by_assertion(&assertion(&t, &only.id, &rsa).await), "ClientAssertion(Algorithm)").await;

    let t = TestServer::with(|b| b.client_signatures(ClientSignatures::new().algorithms([Algorithm::Rs256])));
    let any = client(&t, "any", keys.clone(), |client| client).await;
    let only = client(&t, "only", keys, own).await;
    granted(&t, &by_assertion(&assertion(&t, &any.id, &rsa).await)).await;
    bad_client(&t, &by_assertion(&assertion(&t, &any.id, &pss).await), "ClientAssertion(Algorithm)").await;
    bad_client(&t, &by_assertion(&assertion(&t, &only.id, &pss).await), "ClientAssertion(Algorithm)").await;
}

/// Libraries differ in the name that they send, and some change it.
// covers: KM-05 (RFC 9864 §2.2)
#[tokio::test]
async fn client_with_one_name_of_ed25519_may_use_the_other() {
    let t = server();
    for registered in [Algorithm::EdDsa, Algorithm::Ed25519] {
        let key = key(registered);
        let own = |client: grantor::client::ClientBuilder| client.token_endpoint_auth_signing_alg(registered);
        let app = client(&t, registered.name(), jwks(&key), own).await;
        for sent in ["EdDSA", "Ed25519"] {
            let header = with(&header(&key, TYP), &json!({ "alg": sent }));
            granted(&t, &by_assertion(&sign(&key, header, claims(&t, &app.id)).await)).await;
        }
        let rsa = SigningKey::generate(Algorithm::Rs256).unwrap();
        let text = sign(&rsa, header(&rsa, TYP), claims(&t, &app.id)).await;
        bad_client(&t, &by_assertion(&text), "ClientAssertion(Algorithm)").await;
    }
}

// covers: JB-05 (RFC 7523bis §4), JB-19 (RFC 7523bis §4), KM-21 (RFC 7515 §4.1.9), KM-22 (RFC 7519 §2), AMB-27
#[tokio::test]
async fn assertion_may_vary_in_form() {
    let (t, app, key) = server_and_client().await;
    let now = t.clock.now().unix_timestamp();
    let in_header = [
        json!({ "typ": null }),
        json!({ "typ": "JWT" }),
        json!({ "typ": "jwt" }),
        json!({ "typ": "Client-Authentication+JWT" }),
        json!({ "typ": "application/client-authentication+jwt" }),
        json!({ "kid": null }),
        json!({ "kid": null, "typ": null }),
        json!({ "x5u": "https://evil.example/", "jku": "https://evil.example/", "cty": "JWT", "unknown": {} }),
    ];
    let in_claims = [
        json!({}),
        json!({ "aud": ["https://id.example"] }),
        json!({ "iat": null }),
        json!({ "nbf": now, "iat": now }),
        json!({ "nbf": now + 30, "iat": now + 30, "exp": now + 630 }),
        json!({ "exp": now - 29, "iat": now - 300 }),
        json!({ "exp": json!(now).as_f64().unwrap() + 0.5, "iat": json!(now).as_f64().unwrap() - 0.25 }),
        json!({ "exp": now + 600 }),
        json!({ "jti": "j".repeat(256) }),
        json!({ "jti": "\u{0}'; DROP TABLE \u{1f511}" }),
        json!({ "unknown": [1, { "a": null }], "client_id": "other", "scope": "user:write" }),
    ];
    let headers = in_header.iter().map(|change| (change.clone(), json!({})));
    let mut accepted = 0;
    for (in_header, in_claims) in headers.chain(in_claims.iter().map(|change| (json!({}), change.clone()))) {
        let (header, claims) = (header(&key, TYP), claims(&t, &app.id));
        let text = sign(&key, with(&header, &in_header), with(&claims, &in_claims)).await;
        let body = granted(&t, &by_assertion(&text)).await;
        assert_eq!(body["scope"], "user:read", "{in_header} {in_claims}");
        accepted += 1;
        assert_eq!(remembered(&t).await, accepted, "{in_header} {in_claims}");
    }
}

/// The claim `sub` names the client, and a `client_id` beside it must be the same (RFC 7521 §4.2).
// covers: JB-03 (RFC 7521 §4.2)
#[tokio::test]
async fn client_id_beside_an_assertion_is_optional() {
    let (t, app, key) = server_and_client().await;
    let other = client(&t, "other", jwks(&key), |client| client).await;
    let send = async |id: &str| {
        let text = assertion(&t, &app.id, &key).await;
        let given = super::assertion_parameters(&text);
        token(&[&super::MACHINE[..], &given, &[("client_id", id)]].concat())
    };
    granted(&t, &send("").await).await;
    granted(&t, &send(&app.id).await).await;
    // The other client has the same key, so the signature matches.
    bad_client(&t, &send(&other.id).await, "ClientAssertion(Issuer)").await;
    bad_client(&t, &send("nobody-we-know").await, "UnknownClient").await;
    bad_client(&t, &send("\u{e9}").await, "UnknownClient").await;
    assert_eq!(remembered(&t).await, 2);
}

#[tokio::test]
async fn assertion_without_kid_is_tried_with_four_keys_at_most() {
    let t = server();
    let own = key(Algorithm::Es256);
    let others: Vec<SigningKey> = (0..4).map(|_| SigningKey::generate(Algorithm::Es256).unwrap()).collect();
    let rsa = key(Algorithm::Rs256);
    let set = |keys: &[&SigningKey]| JwkSet::new(keys.iter().map(|key| key.public_key().clone())).unwrap();
    let all_but_own: Vec<&SigningKey> = others.iter().collect();
    // Only keys for the algorithm count.
    let four = client(&t, "four", set(&[&all_but_own[..3], &[&rsa, &own]].concat()), |client| client).await;
    let five = client(&t, "five", set(&[&all_but_own[..], &[&own]].concat()), |client| client).await;
    let without_kid = async |id: &str| sign(&own, json!({ "alg": "ES256" }), claims(&t, id)).await;
    granted(&t, &by_assertion(&without_kid(&four.id).await)).await;
    granted(&t, &by_assertion(&assertion(&t, &five.id, &own).await)).await;
    bad_client(&t, &by_assertion(&without_kid(&five.id).await), "ClientAssertion(AmbiguousKey)").await;
}

/// The key proves the client, so a repeated code is judged as that of a client with a secret.
#[tokio::test]
async fn client_with_a_key_redeems_codes_and_refreshes() {
    let t = TestServer::with(|builder| {
        let mut policy = grantor::Policy::default();
        policy.tolerate_repeated_codes = true;
        builder.client_signatures(ClientSignatures::new()).policy(policy)
    });
    let key = key(Algorithm::EdDsa);
    let app = client(&t, "web", jwks(&key), |client| {
        client.authorization_code([crate::support::CB]).refresh_token().scope("user:read offline_access")
    })
    .await;
    let approved = t.authorize(&app).scope("user:read offline_access").approve_as("alice").await;
    let redeem = redemption(&approved, &app);
    let with_assertion = async |pairs: &[(&'static str, &str)]| {
        let text = assertion(&t, &app.id, &key).await;
        token(&[pairs, &super::assertion_parameters(&text)].concat())
    };
    // The verifier alone does not prove the client.
    bad_client(&t, &token(&[&redeem[..], &[("client_id", &app.id)]].concat()), "MissingClientAuthentication").await;
    let tokens = granted(&t, &with_assertion(&redeem).await).await;
    t.clock.advance(Duration::seconds(5));
    crate::support::bad_grant(&t, &with_assertion(&redeem).await, "CodeRepeated").await;
    let refresh = [("grant_type", "refresh_token"), ("refresh_token", tokens["refresh_token"].as_str().unwrap())];
    granted(&t, &with_assertion(&refresh).await).await;
}

#[tokio::test]
async fn typed_requests_carry_an_assertion() {
    let (t, app, key) = server_and_client().await;
    let text = assertion(&t, &app.id, &key).await;
    let request = TokenRequest::client_credentials().scope("user:read").client_assertion(&text);
    let tokens = t.server.token_request(&request).await.unwrap();
    let text = assertion(&t, &app.id, &key).await;
    let request = IntrospectionRequest::of(tokens.access_token.expose()).client_assertion(&text);
    assert!(t.server.introspection_request(&request).await.unwrap().active().is_some());
    let text = assertion(&t, &app.id, &key).await;
    let request = RevocationRequest::access_token(&tokens.access_token).client_id(&app.id).client_assertion(&text);
    assert!(!format!("{request:?}").contains(&text));
    t.server.revocation_request(&request).await.unwrap();
    assert!(t.bearer(&tokens.access_token).await.is_err());
    let error = t.server.revocation_request(&request).await.unwrap_err();
    assert_eq!((error.status(), error.code().as_str()), (401, "invalid_client"));
}
