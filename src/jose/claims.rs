//! The claims of a verified JWT (RFC 7519 §4).

use std::fmt;

use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use super::problem::JwtProblem;

/// The claims of a JWT whose signature was verified.
pub(crate) struct Claims(Map<String, Value>);

/// A claim does not have the form that RFC 7519 §4.1 requires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the claim {0} is malformed")]
pub(crate) struct MalformedClaim(pub(crate) &'static str);

impl From<MalformedClaim> for JwtProblem {
    fn from(MalformedClaim(name): MalformedClaim) -> Self {
        Self::MalformedClaim(name)
    }
}

impl Claims {
    pub(super) const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// Returns a claim that is a string.
    pub(crate) fn text(&self, name: &'static str) -> Result<Option<&str>, MalformedClaim> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(MalformedClaim(name)),
        }
    }

    /// Returns the audiences: one string or a list of strings (RFC 7519 §4.1.3). Empty if the claim is absent.
    pub(crate) fn audiences(&self) -> Result<Vec<&str>, MalformedClaim> {
        match self.0.get("aud") {
            None => Ok(Vec::new()),
            Some(Value::String(audience)) => Ok(vec![audience]),
            Some(Value::Array(list)) => {
                list.iter().map(Value::as_str).collect::<Option<_>>().ok_or(MalformedClaim("aud"))
            }
            Some(_) => Err(MalformedClaim("aud")),
        }
    }

    /// Returns a time (`NumericDate`, RFC 7519 §2), which may have a fraction. A time before 1970 or after 9999 is
    /// malformed.
    pub(crate) fn time(&self, name: &'static str) -> Result<Option<OffsetDateTime>, MalformedClaim> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let time = match value {
            Value::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(seconds @ 0..), _) => OffsetDateTime::from_unix_timestamp(seconds).ok(),
                (None, Some(seconds)) if (0.0..253_402_300_800.0).contains(&seconds) => {
                    OffsetDateTime::UNIX_EPOCH.checked_add(Duration::seconds_f64(seconds))
                }
                _ => None,
            },
            _ => None,
        };
        time.map(Some).ok_or(MalformedClaim(name))
    }

    pub(crate) fn into_members(self) -> Map<String, Value> {
        self.0
    }

    /// Returns any other claim.
    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}

impl fmt::Debug for Claims {
    /// Omits the values, which may identify a person.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims(json: &str) -> Claims {
        Claims::new(serde_json::from_str(json).unwrap())
    }

    // covers: KM-22 (RFC 7519 §2)
    #[test]
    fn times_may_have_a_fraction_and_never_overflow() {
        let time = |value: &str| {
            claims(&format!(r#"{{"exp":{value}}}"#))
                .time("exp")
                .map(|time| time.map(|time| (time - OffsetDateTime::UNIX_EPOCH).whole_milliseconds()))
        };
        for (value, milliseconds) in [
            ("0", 0),
            ("1700000000", 1_700_000_000_000),
            ("1700000000.5", 1_700_000_000_500),
            ("1.7e9", 1_700_000_000_000),
            ("253402300799", 253_402_300_799_000),
        ] {
            assert_eq!(time(value), Ok(Some(milliseconds)), "{value}");
        }
        for value in [
            "-1",
            "-0.5",
            "1e300",
            "-1e300",
            "253402300800",
            "9223372036854775807",
            "18446744073709551615",
            "\"1\"",
            "null",
            "[]",
            "true",
        ] {
            assert_eq!(time(value), Err(MalformedClaim("exp")), "{value}");
        }
        assert_eq!(claims("{}").time("exp"), Ok(None));
    }

    #[test]
    fn audience_is_one_text_or_a_list() {
        assert_eq!(claims("{}").audiences(), Ok(vec![]));
        assert_eq!(claims(r#"{"aud":"a"}"#).audiences(), Ok(vec!["a"]));
        assert_eq!(claims(r#"{"aud":["a","b"]}"#).audiences(), Ok(vec!["a", "b"]));
        for bad in [r#"{"aud":1}"#, r#"{"aud":null}"#, r#"{"aud":["a",1]}"#, r#"{"aud":{}}"#] {
            assert_eq!(claims(bad).audiences(), Err(MalformedClaim("aud")), "{bad}");
        }
    }

    #[test]
    fn text_claim_is_a_text() {
        let claims = claims(r#"{"sub":"a","n":1,"z":null}"#);
        assert_eq!(claims.text("sub"), Ok(Some("a")));
        assert_eq!(claims.text("none"), Ok(None));
        assert_eq!(claims.text("n"), Err(MalformedClaim("n")));
        assert_eq!(claims.text("z"), Err(MalformedClaim("z")));
        assert_eq!(claims.get("n"), Some(&1.into()));
    }
}
