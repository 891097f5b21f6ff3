//! Sets of public keys (RFC 7517 §5).

use serde_json::{Value, json};

use super::key::PublicKey;
use super::strict_json::parse_object;

/// The maximum number of keys in a set. It bounds the work for a signature without `kid`, which is tried with each key.
const MAX_KEYS: usize = 32;

#[cfg_attr(not(test), expect(dead_code, reason = "used once clients can sign"))]
/// Reads a set that another service publishes. Leaves out unusable and private keys (RFC 7517 §5). Returns `None` if
/// the text is not a set or has more than 32 keys.
pub(crate) fn parse(json: &[u8]) -> Option<Vec<PublicKey>> {
    let set = parse_object(json)?;
    let Some(Value::Array(keys)) = set.get("keys") else { return None };
    if keys.len() > MAX_KEYS {
        return None;
    }
    Some(keys.iter().filter_map(|key| PublicKey::from_members(key.as_object()?).ok()).collect())
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
    fn keys_that_cannot_be_used_are_left_out() {
        let set = format!(r#"{{"x":1,"keys":[{KEY},{{}},1,{{"kty":"oct","k":"AQ"}},{{"kty":"new"}},{KEY}]}}"#);
        assert_eq!(parse(set.as_bytes()).unwrap().len(), 2);
        assert_eq!(parse(br#"{"keys":[]}"#), Some(vec![]));
    }

    #[test]
    fn text_that_is_no_key_set_or_too_large_is_refused() {
        let many = |number: usize| format!(r#"{{"keys":[{}]}}"#, vec![KEY; number].join(","));
        assert_eq!(parse(many(32).as_bytes()).unwrap().len(), 32);
        for bad in ["", "{}", "[]", KEY, r#"{"keys":{}}"#, r#"{"keys":[],"keys":[]}"#, &many(33)] {
            assert_eq!(parse(bad.as_bytes()), None, "{bad:.40}");
        }
    }

    #[test]
    fn written_set_is_read_back() {
        let keys = [PublicKey::from_jwk(KEY).unwrap().with_id("a"), PublicKey::from_jwk(KEY).unwrap().with_id("b")];
        assert_eq!(parse(write(&keys).as_bytes()).unwrap(), keys);
    }
}
