//! Texts that a client signs: with any header, any payload and the key of any algorithm.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::jose::{Algorithm, JwkSet, Signer, SigningKey};
use serde_json::{Value, json};

/// The key of a client for an algorithm. It is the same in every test.
pub fn key(algorithm: Algorithm) -> SigningKey {
    let pem = match algorithm {
        Algorithm::Rs256 | Algorithm::Ps256 => include_str!("../keys/rsa.pem"),
        Algorithm::Es256 => include_str!("../keys/p256.pem"),
        Algorithm::Es384 => include_str!("../keys/p384.pem"),
        Algorithm::EdDsa | Algorithm::Ed25519 => include_str!("../keys/ed25519.pem"),
        other => panic!("there is no key for {other}"),
    };
    SigningKey::from_pem(algorithm, pem).expect("a valid key")
}

/// The public half of a key, as a client registers it.
pub fn jwks(key: &SigningKey) -> JwkSet {
    JwkSet::new([key.public_key().clone()]).expect("one key")
}

/// The header that a client library writes: algorithm, type and key identifier.
pub fn header(key: &SigningKey, typ: &str) -> Value {
    let (algorithm, id) = (key.public_key().algorithm().expect("an algorithm"), key.public_key().id());
    json!({ "alg": algorithm.name(), "typ": typ, "kid": id })
}

/// Returns an object with some members changed. A member that is `null` in `change` is removed.
pub fn with(object: &Value, change: &Value) -> Value {
    let mut object = object.as_object().expect("an object").clone();
    object.extend(change.as_object().expect("an object").clone());
    object.retain(|_, value| !value.is_null());
    object.into()
}

/// Signs a header and a payload, which need not be valid JSON, as the compact form of a JWS.
pub async fn sign(key: &SigningKey, header: impl ToString, payload: impl ToString) -> String {
    let input = [URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(payload.to_string())].join(".");
    let signature = key.sign(input.as_bytes()).await.expect("a key in memory does not fail");
    format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature.as_bytes()))
}
