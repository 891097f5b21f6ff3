//! Public keys as JSON (RFC 7517). The input is the key.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use grantor::jose::{Algorithm, PublicKey, SigningKey};
use serde_json::{Map, Value};

use crate::signed_token::{is_json, object};

pub const OUTCOMES: [&str; 4] = ["a key", "not a key", "not an object", "not JSON"];

pub fn check(data: &[u8]) -> &'static str {
    let Ok(text) = std::str::from_utf8(data) else { return "not JSON" };
    let members = object(data);
    let read = PublicKey::from_jwk(text);
    assert_eq!(read.is_ok(), members.as_ref().is_some_and(is_good), "{text}");
    // A public key must not be read as a private key, and the reader of private keys must not panic.
    if read.is_ok() {
        assert!(SigningKey::from_jwk(text).is_err(), "{text}");
    } else {
        let _ = SigningKey::from_jwk(text);
    }
    match (read, members) {
        (Ok(key), _) => {
            let published = key.to_jwk();
            let again = PublicKey::from_jwk(&published.to_string()).expect("what is published can be read");
            assert_eq!((&again, again.thumbprint()), (&key, key.thumbprint()));
            assert!(key.thumbprint().len() == 43);
            let served: Vec<Algorithm> =
                Algorithm::ALL.into_iter().filter(|algorithm| key.is_for(*algorithm)).collect();
            assert!(matches!(served.len(), 1 | 2), "{served:?}");
            "a key"
        }
        (Err(_), Some(_)) => "not a key",
        (Err(_), None) if is_json(data) => "not an object",
        (Err(_), None) => "not JSON",
    }
}

/// Returns whether a key is valid according to RFC 7517 §4, RFC 7518 §6.2.1 and §6.3.1, and RFC 8037 §2, for the
/// supported types.
fn is_good(jwk: &Map<String, Value>) -> bool {
    let text = |name: &str| match jwk.get(name) {
        None => Some(None),
        Some(Value::String(text)) => Some(Some(text.as_str())),
        Some(_) => None,
    };
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(text(name)??).ok();
    let has_size = |name: &str, size: usize| bytes(name).is_some_and(|bytes| bytes.len() == size);
    let (Some(kty), Some(crv), Some(alg), Some(_), Some(used_for)) =
        (text("kty"), text("crv"), text("alg"), text("kid"), text("use"))
    else {
        return false;
    };
    if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|name| jwk.contains_key(*name)) {
        return false;
    }
    let verifies = match jwk.get("key_ops") {
        None => true,
        Some(Value::Array(operations)) => operations.iter().any(|one| one == "verify" || one == "sign"),
        Some(_) => false,
    };
    let (material, algorithms): (bool, &[&str]) = match (kty, crv) {
        (Some("RSA"), _) => {
            let (n, e) = (bytes("n").unwrap_or_default(), bytes("e").unwrap_or_default());
            let bits = n.len() * 8 - n.first().map_or(0, |first| first.leading_zeros() as usize);
            let is_modulus = n.first().is_some_and(|first| *first > 0) && (2048..=8192).contains(&bits);
            let is_exponent = e.first().is_some_and(|first| *first > 0)
                && e.last().is_some_and(|last| last % 2 == 1)
                && e != [1]
                && e.len() <= 5;
            (is_modulus && is_exponent, &["RS256", "PS256"])
        }
        (Some("EC"), Some("P-256")) => (has_size("x", 32) && has_size("y", 32), &["ES256"]),
        (Some("EC"), Some("P-384")) => (has_size("x", 48) && has_size("y", 48), &["ES384"]),
        (Some("OKP"), Some("Ed25519")) => (has_size("x", 32), &["EdDSA", "Ed25519"]),
        _ => return false,
    };
    material && verifies && used_for.is_none_or(|own| own == "sig") && alg.is_none_or(|own| algorithms.contains(&own))
}
