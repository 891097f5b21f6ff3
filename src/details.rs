//! The parts of records that later features add to: open for reading, yet fail closed.
//!
//! Each is stored as one JSON object. A reader keeps members that it does not know and ignores them, unless the member `crit`, an
//! array of names, has one: then nothing is issued of the record, and nothing is accepted. *Known* means enforced by this
//! version. What restricts is critical; harmless additions are not. A member never changes its form: another form gets another
//! name.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::pkce::CodeChallenge;
use crate::scope::Scope;

/// The name of the member that names critical ones.
const CRIT: &str = "crit";

/// Members that this version does not know, or whose value it can't read, and `crit`.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct UnknownMembers(Map<String, Value>);

impl UnknownMembers {
    /// Of a JSON object whose known members are [taken](Self::take) out next.
    pub(crate) const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// Takes a known member out, if it is there and can be read.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = T::deserialize(self.0.get(name)?).ok()?;
        self.0.remove(name);
        Some(value)
    }

    /// Removes names from `crit`, and `crit` itself if none is left in it.
    pub(crate) fn remove_critical(members: &mut Map<String, Value>, names: &[&str]) {
        if let Some(Value::Array(critical)) = members.get_mut(CRIT) {
            let before = critical.len();
            critical.retain(|name| name.as_str().is_none_or(|name| !names.contains(&name)));
            if critical.is_empty() && before > 0 {
                members.remove(CRIT);
            }
        }
    }

    /// The names of the unknown members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| *name != CRIT)
    }

    /// The first critical member that is not among the `known` ones, or could not be read.
    pub(crate) fn first_critical(&self, known: &[&str]) -> Option<&str> {
        let Value::Array(named) = self.0.get(CRIT)? else { return Some(CRIT) };
        let is_understood =
            |name: &&Value| name.as_str().is_some_and(|name| known.contains(&name) && !self.0.contains_key(name));
        let first = named.iter().find(|name| !is_understood(name))?;
        Some(first.as_str().unwrap_or(CRIT))
    }

    /// All members of the record, with those of the `known` ones named in `crit` that restrict.
    pub(crate) fn with(self, known: Map<String, Value>, restricting: &[&str]) -> Map<String, Value> {
        let mut members = known;
        let ours: Vec<Value> =
            restricting.iter().filter(|name| members.contains_key(**name)).map(|name| Value::from(*name)).collect();
        members.extend(self.0);
        if !ours.is_empty()
            && let Value::Array(critical) = members.entry(CRIT).or_insert_with(|| Value::Array(Vec::new()))
        {
            let missing: Vec<_> = ours.into_iter().filter(|name| !critical.contains(name)).collect();
            critical.extend(missing);
        }
        members
    }
}

impl fmt::Debug for UnknownMembers {
    /// By name only: values may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// Members of a [`Grant`](crate::Grant) that later features add. Unknown ones are kept; a critical one makes the grant unusable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>", into = "Map<String, Value>")]
#[non_exhaustive]
pub struct GrantDetails {
    /// The type of its access tokens, if that is not `Bearer`. The bearer check refuses those of another type.
    pub token_type: Option<Box<str>>,
    /// When it ends at the latest: a grant that was derived from another one does not outlive it.
    pub ends_by: Option<OffsetDateTime>,
    /// How many grants it descends from, by [`Grant::parent_grant`](crate::Grant::parent_grant).
    pub depth: u8,
    /// Whether no consent page was shown, because the client is the server's own. Such a grant is no consent on record.
    pub consent_skipped: bool,
    /// Of a grant to a client that an administrator did not register, the host to which the consent page sent the user. Consent on
    /// record covers no other host, because such a client can change its redirect URIs by itself.
    pub consent_host: Option<Box<str>>,
    /// When the code expires that the grant was opened with, if it was opened with one. While the code is not redeemed, the grant
    /// ends then, too. Redemption moves the end of the grant to a later time.
    pub code_expires_at: Option<OffsetDateTime>,
    pub(crate) unknown: UnknownMembers,
}

/// Bindings of a [`StoredToken`](crate::StoredToken), and what a repeated answer needs. Unknown members are kept; a critical one
/// makes the token unusable.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>", into = "Map<String, Value>")]
#[non_exhaustive]
pub struct TokenDetails {
    /// Present on every code, absent on other tokens.
    pub code: Option<CodeBinding>,
    /// Of a refresh token, its number in the family: the first one has 1, its successor 2.
    pub number: Option<u32>,
    /// Of an access token, the format of its text, if it is not opaque. A text of another format does not find the row.
    pub format: Option<Box<str>>,
    /// Of an access token, the scope that was asked for, if that is not the scope it has; see
    /// [`StoredToken::requested_scope`](crate::StoredToken::requested_scope).
    pub requested_scope: Option<Scope>,
    /// The members that the token customizer added to the response with an access token, if the response may be repeated.
    pub response_members: Map<String, Value>,
    /// Of a signed access token, the claims that the token customizer added. Introspection tells them too.
    pub claims: Map<String, Value>,
    /// Of an access token that a refresh has issued, a mark of the peer of that refresh, if the answer may be repeated.
    pub(crate) peer_mark: Option<Box<str>>,
    pub(crate) unknown: UnknownMembers,
}

/// What a code must be redeemed with. A code without this record cannot be redeemed. It is closed: a code with a member of it that this
/// version does not know is unusable.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CodeBinding {
    /// Where the code was sent.
    pub redirect_uri: Arc<str>,
    /// Whether the authorization request named it (RFC 6749 §4.1.3 demands it again only then).
    pub redirect_uri_was_sent: bool,
    /// The PKCE challenge (RFC 7636 §4.4).
    pub code_challenge: Option<CodeChallenge>,
}

impl CodeBinding {
    /// The binding of a code that was sent to `redirect_uri`.
    #[must_use]
    pub fn new(
        redirect_uri: impl Into<Arc<str>>,
        redirect_uri_was_sent: bool,
        code_challenge: Option<CodeChallenge>,
    ) -> Self {
        Self { redirect_uri: redirect_uri.into(), redirect_uri_was_sent, code_challenge }
    }
}

/// A time as records have it.
#[derive(Serialize, Deserialize)]
struct Time(#[serde(with = "rfc3339")] OffsetDateTime);

/// Adds a member to an object, if it is there.
fn put(members: &mut Map<String, Value>, name: &str, value: Option<impl Serialize>) {
    // Nothing in these records fails to serialise.
    if let Some(value) = value.and_then(|value| serde_json::to_value(value).ok()) {
        members.insert(name.to_owned(), value);
    }
}

impl GrantDetails {
    const KNOWN: [&'static str; 6] =
        ["token_type", "ends_by", "depth", "consent_skipped", "consent_host", "code_expires_at"];

    /// Returns the first critical member that this version does not enforce. While there is one, no token is issued of the grant
    /// or accepted.
    #[must_use]
    pub fn unenforced_member(&self) -> Option<&str> {
        self.unknown.first_critical(&Self::KNOWN)
    }
}

impl From<Map<String, Value>> for GrantDetails {
    fn from(members: Map<String, Value>) -> Self {
        let mut unknown = UnknownMembers::new(members);
        let ends_by = unknown.take("ends_by").map(|Time(time)| time);
        let code_expires_at = unknown.take("code_expires_at").map(|Time(time)| time);
        Self {
            token_type: unknown.take("token_type"),
            ends_by,
            depth: unknown.take("depth").unwrap_or(0),
            consent_skipped: unknown.take("consent_skipped").unwrap_or(false),
            consent_host: unknown.take("consent_host"),
            code_expires_at,
            unknown,
        }
    }
}

impl From<GrantDetails> for Map<String, Value> {
    fn from(details: GrantDetails) -> Self {
        let GrantDetails { token_type, ends_by, depth, consent_skipped, consent_host, code_expires_at, unknown } =
            details;
        let is_bearer = token_type.as_deref().is_none_or(|own| own.eq_ignore_ascii_case("Bearer"));
        let mut members = Self::new();
        put(&mut members, "token_type", token_type);
        put(&mut members, "ends_by", ends_by.map(Time));
        put(&mut members, "depth", (depth > 0).then_some(depth));
        put(&mut members, "consent_skipped", consent_skipped.then_some(true));
        put(&mut members, "consent_host", consent_host);
        put(&mut members, "code_expires_at", code_expires_at.map(Time));
        unknown.with(members, if is_bearer { &["ends_by"] } else { &["token_type", "ends_by"] })
    }
}

impl fmt::Debug for TokenDetails {
    /// The host's members by name only: their values may be anything.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenDetails")
            .field("code", &self.code)
            .field("number", &self.number)
            .field("format", &self.format)
            .field("requested_scope", &self.requested_scope)
            .field("response_members", &self.response_members.keys())
            .field("claims", &self.claims.keys())
            .field("peer_mark", &self.peer_mark)
            .field("unknown", &self.unknown)
            .finish()
    }
}

impl TokenDetails {
    const KNOWN: [&'static str; 7] =
        ["code", "number", "format", "requested_scope", "response_members", "claims", "peer_mark"];

    /// Returns the first critical member that this version does not enforce. While there is one, the token is not accepted and
    /// not redeemed.
    #[must_use]
    pub fn unenforced_member(&self) -> Option<&str> {
        self.unknown.first_critical(&Self::KNOWN)
    }
}

impl From<Map<String, Value>> for TokenDetails {
    fn from(members: Map<String, Value>) -> Self {
        let mut unknown = UnknownMembers::new(members);
        Self {
            code: unknown.take("code"),
            number: unknown.take("number"),
            format: unknown.take("format"),
            requested_scope: unknown.take("requested_scope"),
            response_members: unknown.take("response_members").unwrap_or_default(),
            claims: unknown.take("claims").unwrap_or_default(),
            peer_mark: unknown.take("peer_mark"),
            unknown,
        }
    }
}

impl From<TokenDetails> for Map<String, Value> {
    fn from(details: TokenDetails) -> Self {
        let TokenDetails { code, number, format, requested_scope, response_members, claims, peer_mark, unknown } =
            details;
        let mut members = Self::new();
        put(&mut members, "code", code);
        put(&mut members, "number", number);
        put(&mut members, "format", format);
        put(&mut members, "requested_scope", requested_scope);
        put(&mut members, "response_members", Some(response_members).filter(|members| !members.is_empty()));
        put(&mut members, "claims", Some(claims).filter(|claims| !claims.is_empty()));
        put(&mut members, "peer_mark", peer_mark);
        unknown.with(members, &["code"])
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json, to_value};

    use super::*;

    #[test]
    fn unknown_members_survive() {
        let details = json!({ "jkt": "x", "depth": 2, "nested": { "a": [1.0, null] } });
        let read: GrantDetails = from_value(details.clone()).unwrap();
        assert_eq!((read.depth, read.unenforced_member()), (2, None));
        assert_eq!(to_value(read).unwrap(), details);
        let read: TokenDetails = from_value(json!({ "jkt": "x", "number": 3, "crit": [] })).unwrap();
        assert_eq!((read.number, read.unenforced_member()), (Some(3), None));
        assert_eq!(to_value(read).unwrap(), json!({ "jkt": "x", "number": 3, "crit": [] }));
    }

    #[test]
    fn unknown_critical_member_is_named() {
        for (details, expected) in [
            (json!({ "jkt": "x", "crit": ["token_type", "jkt"], "token_type": "DPoP" }), Some("jkt")),
            (json!({ "crit": ["jkt"] }), Some("jkt")),
            (json!({ "crit": ["token_type", "ends_by", "depth"] }), None),
            // What can't be read, or not be understood, is not enforced either.
            (json!({ "crit": ["token_type"], "token_type": ["DPoP"] }), Some("token_type")),
            (json!({ "token_type": ["DPoP"] }), None),
            (json!({ "crit": "jkt" }), Some("crit")),
            (json!({ "crit": [7] }), Some("crit")),
            (json!({ "crit": null }), Some("crit")),
        ] {
            let read: GrantDetails = from_value(details.clone()).unwrap();
            assert_eq!(read.unenforced_member(), expected, "{details}");
            assert_eq!(to_value(read).unwrap(), details);
        }
        let closed =
            json!({ "code": { "redirect_uri": "x", "redirect_uri_was_sent": true, "later": 1 }, "crit": ["code"] });
        assert_eq!(from_value::<TokenDetails>(closed).unwrap().unenforced_member(), Some("code"));
    }

    #[test]
    fn restricting_members_are_critical() {
        let details =
            |token_type: &str| GrantDetails { token_type: Some(token_type.into()), ..GrantDetails::default() };
        assert_eq!(to_value(details("N_A")).unwrap(), json!({ "token_type": "N_A", "crit": ["token_type"] }));
        assert_eq!(to_value(details("bearer")).unwrap(), json!({ "token_type": "bearer" }));
        let ends = GrantDetails { ends_by: Some(OffsetDateTime::UNIX_EPOCH), depth: 1, ..GrantDetails::default() };
        let ends = to_value(ends).unwrap();
        assert_eq!(ends, json!({ "ends_by": "1970-01-01T00:00:00Z", "depth": 1, "crit": ["ends_by"] }));
        let code = TokenDetails { code: Some(CodeBinding::new("x", true, None)), ..TokenDetails::default() };
        assert_eq!(to_value(code).unwrap()["crit"], json!(["code"]));
        assert_eq!(to_value(GrantDetails::default()).unwrap(), json!({}));
        // A newer node's names stay, in its order, and none is named twice.
        let members = json!({ "token_type": "N_A", "crit": ["jkt", "token_type"], "jkt": 1 });
        assert_eq!(to_value(from_value::<GrantDetails>(members.clone()).unwrap()).unwrap(), members);
    }
}
