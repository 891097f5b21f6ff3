//! JSON objects in which each member occurs once (RFC 7515 §4, RFC 7519 §4).
//!
//! `serde_json` keeps the last of two members with one name. Two readers of a token would then see different values.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Reads an object. Returns `None` if the text is anything else, or if any object in it has two members with the same
/// name.
///
/// First looks for repeated members, then reads the values with `serde_json`, like those of a row. How `serde_json`
/// reads numbers depends on its features, which any crate of the program can enable.
pub(super) fn parse_object(json: &[u8]) -> Option<Map<String, Value>> {
    let mut deserializer = serde_json::Deserializer::from_slice(json);
    Strict.deserialize(&mut deserializer).ok()?;
    deserializer.end().ok()?;
    serde_json::from_slice(json).ok()
}

/// Checks any value and discards it.
struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        while access.next_element_seed(Self)?.is_some() {}
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = access.next_key::<String>()? {
            if !names.insert(name) {
                return Err(A::Error::custom("a member occurs twice"));
            }
            access.next_value_seed(Self)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_like_serde_json() {
        for json in [
            "{}",
            r#"{"a":1,"b":[null,true,-2,3.5,1e300,18446744073709551615,{"c":"\u00e4\n"}],"":""}"#,
            " {\"a\" : {\"a\":{\"a\":1}} }\n",
        ] {
            assert_eq!(parse_object(json.as_bytes()).map(Value::Object), serde_json::from_str(json).ok(), "{json}");
        }
    }

    // covers: KM-19 (RFC 7515 §4, RFC 7519 §4)
    #[test]
    fn repeated_member_is_refused_at_every_depth() {
        for json in [
            r#"{"alg":"RS256","alg":"RS256"}"#,
            r#"{"a":1,"b":2,"a":3}"#,
            r#"{"a":{"b":1,"b":2}}"#,
            r#"{"a":[[{"b":1,"b":2}]]}"#,
            r#"{"a":1,"\u0061":2}"#,
        ] {
            assert!(serde_json::from_str::<Value>(json).is_ok(), "{json}");
            assert_eq!(parse_object(json.as_bytes()), None, "{json}");
        }
    }

    #[test]
    fn text_that_is_no_object_is_refused() {
        let deep = format!("{{\"a\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        for json in [
            "",
            "[]",
            "1",
            "null",
            "{",
            "{}{}",
            "{}x",
            "\u{feff}{}",
            "{'a':1}",
            "{\"a\":NaN}",
            "{\"a\":\"\\ud800\"}",
            &deep,
        ] {
            assert_eq!(parse_object(json.as_bytes()), None, "{json:.40}");
        }
        assert_eq!(parse_object(b"{\"a\":\"\xff\"}"), None);
    }
}
