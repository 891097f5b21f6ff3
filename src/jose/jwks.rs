//! Sets of public keys (RFC 7517 §5).

use std::fmt;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::key::{InvalidKey, PublicKey};
use super::strict_json::parse_object;

/// The maximum number of keys in a set.
const MAX_KEYS: usize = 32;

/// The maximum size of a registered set as JSON, in bytes. It is read with each request of the client.
const MAX_SIZE: usize = 32 * 1024;

/// The public keys that a client registers (`jwks`, RFC 7591 §2). It has at least one key that this version can use.
///
/// ```
/// use grantor::jose::JwkSet;
///
/// let keys = JwkSet::from_json(
///     r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"2026","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#,
/// )?;
/// assert_eq!(keys.keys()[0].id(), Some("2026"));
/// # Ok::<(), grantor::jose::InvalidJwkSet>(())
/// ```
#[derive(Clone)]
pub struct JwkSet {
    /// The set as it was registered. It may have keys that only a newer version can use.
    members: Arc<Map<String, Value>>,
    keys: Arc<[PublicKey]>,
}

/// The reason why a set of keys is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidJwkSet {
    /// The text is not a JSON object with a list `keys` of objects, or a member occurs twice.
    #[error("a set of keys must be a JSON object with the list \"keys\", in which each member occurs once")]
    NotASet,
    /// The set has more than 32 keys or more than 32 KiB.
    #[error("a set of keys must have at most 32 keys and 32 KiB")]
    TooLarge,
    /// The set has a private or symmetric key.
    #[error("the set has a private or symmetric key: replace the key, and give only its public members")]
    Private,
    /// No key of the set can be used.
    #[error("no key can be used: give a key that is RSA of at least 2048 bits, EC on P-256 or P-384, or Ed25519")]
    NoUsableKey,
}

impl JwkSet {
    /// Takes keys.
    ///
    /// # Errors
    /// There is no key, or there are more than 32.
    pub fn new(keys: impl IntoIterator<Item = PublicKey>) -> Result<Self, InvalidJwkSet> {
        let keys: Vec<Value> = keys.into_iter().map(|key| key.to_jwk()).collect();
        Self::from_members(Map::from_iter([("keys".to_owned(), keys.into())]))
    }

    /// Reads a set. It keeps keys of types that this version can't use, but does not use them.
    ///
    /// # Errors
    /// See [`InvalidJwkSet`].
    pub fn from_json(json: &str) -> Result<Self, InvalidJwkSet> {
        if json.len() > MAX_SIZE {
            return Err(InvalidJwkSet::TooLarge);
        }
        Self::from_members(parse_object(json.as_bytes()).ok_or(InvalidJwkSet::NotASet)?)
    }

    fn from_members(members: Map<String, Value>) -> Result<Self, InvalidJwkSet> {
        let Some(Value::Array(all)) = members.get("keys") else { return Err(InvalidJwkSet::NotASet) };
        let size = serde_json::to_string(&members).map_or(usize::MAX, |text| text.len());
        if all.len() > MAX_KEYS || size > MAX_SIZE {
            return Err(InvalidJwkSet::TooLarge);
        }
        let mut keys = Vec::new();
        for key in all {
            match PublicKey::from_members(key.as_object().ok_or(InvalidJwkSet::NotASet)?) {
                Ok(key) => keys.push(key),
                Err(InvalidKey::Private) => return Err(InvalidJwkSet::Private),
                Err(_) => {}
            }
        }
        if keys.is_empty() {
            return Err(InvalidJwkSet::NoUsableKey);
        }
        Ok(Self { members: Arc::new(members), keys: keys.into() })
    }

    /// Returns the keys that this version can use.
    #[must_use]
    pub fn keys(&self) -> &[PublicKey] {
        &self.keys
    }
}

impl PartialEq for JwkSet {
    fn eq(&self, other: &Self) -> bool {
        self.members == other.members
    }
}

impl Eq for JwkSet {}

impl fmt::Debug for JwkSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.keys.iter()).finish()
    }
}

/// Serializes the set as it was registered.
impl Serialize for JwkSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.members.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JwkSet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::from_members(Map::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Writes the set that a server publishes.
pub(crate) fn write<'a>(keys: impl IntoIterator<Item = &'a PublicKey>) -> String {
    let keys: Vec<Value> = keys.into_iter().map(PublicKey::to_jwk).collect();
    json!({ "keys": keys }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = r#"{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}"#;

    #[test]
    fn unusable_keys_are_kept_and_not_used() {
        let json = format!(r#"{{"x":1,"keys":[{KEY},{{}},{{"kty":"new"}},{KEY}]}}"#);
        let set = JwkSet::from_json(&json).unwrap();
        assert_eq!(set.keys().len(), 2);
        let stored = serde_json::to_string(&set).unwrap();
        assert_eq!(serde_json::from_str::<Value>(&stored).unwrap(), serde_json::from_str::<Value>(&json).unwrap());
        assert_eq!(serde_json::from_str::<JwkSet>(&stored).unwrap(), set);
    }

    // covers: KM-15 (RFC 9700 §4.9)
    #[test]
    fn set_with_a_private_key_is_refused_and_not_repeated() {
        for private in [r#"{"kty":"oct","k":"c2VjcmV0"}"#, &KEY.replace('}', r#","d":"c2VjcmV0"}"#)] {
            let refused = JwkSet::from_json(&format!(r#"{{"keys":[{KEY},{private}]}}"#)).unwrap_err();
            assert_eq!(refused, InvalidJwkSet::Private);
            assert!(!refused.to_string().contains("c2VjcmV0"));
        }
    }

    #[test]
    fn text_that_is_no_key_set_or_too_large_is_refused() {
        let many = |number: usize| format!(r#"{{"keys":[{}]}}"#, vec![KEY; number].join(","));
        assert_eq!(JwkSet::from_json(&many(32)).unwrap().keys().len(), 32);
        let long = format!(r#"{{"keys":[{KEY},{{"kty":"{}"}}]}}"#, "x".repeat(MAX_SIZE));
        for (bad, problem) in [
            ("", InvalidJwkSet::NotASet),
            ("{}", InvalidJwkSet::NotASet),
            ("[]", InvalidJwkSet::NotASet),
            (KEY, InvalidJwkSet::NotASet),
            (r#"{"keys":{}}"#, InvalidJwkSet::NotASet),
            (r#"{"keys":[1]}"#, InvalidJwkSet::NotASet),
            (r#"{"keys":[],"keys":[]}"#, InvalidJwkSet::NotASet),
            (r#"{"keys":[]}"#, InvalidJwkSet::NoUsableKey),
            (r#"{"keys":[{"kty":"new"}]}"#, InvalidJwkSet::NoUsableKey),
            (&many(33), InvalidJwkSet::TooLarge),
            (&long, InvalidJwkSet::TooLarge),
        ] {
            assert_eq!(JwkSet::from_json(bad), Err(problem), "{bad:.40}");
        }
        // A member beside the keys counts, too, when a registration or a row is read.
        let beside = format!(r#"{{"x":"{}","keys":[{KEY}]}}"#, "x".repeat(MAX_SIZE));
        for large in [&long, &beside] {
            let problem = serde_json::from_str::<JwkSet>(large).unwrap_err();
            assert!(problem.to_string().contains("32 KiB"), "{problem}");
        }
    }

    #[test]
    fn written_set_is_read_back() {
        let keys = [PublicKey::from_jwk(KEY).unwrap().with_id("a"), PublicKey::from_jwk(KEY).unwrap().with_id("b")];
        assert_eq!(JwkSet::from_json(&write(&keys)).unwrap().keys(), keys);
        assert_eq!(JwkSet::new(keys.clone()).unwrap().keys(), keys);
    }
}
