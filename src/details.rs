//! The extensible parts of records, for members that later versions add.
//!
//! Each part is stored as one JSON object. A version keeps and ignores members that it does not know. But if the member
//! `crit`, an array of names, contains an unknown name, the record fails closed: no token is issued or accepted for it.
//! *Known* means enforced by this version. A member that restricts is critical; other additions are not. A member never
//! changes its format: a new format gets a new name.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::OffsetDateTime;
use time::serde::rfc3339;

use crate::identifier::GrantId;
use crate::pkce::CodeChallenge;
use crate::scope::Scope;

/// The name of the member that lists the critical members.
const CRIT: &str = "crit";

/// The members that this version does not know or can't read, and `crit`.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct UnknownMembers(Map<String, Value>);

impl UnknownMembers {
    /// Wraps a JSON object. The caller then [takes](Self::take) the known members out.
    pub(crate) const fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// Removes a known member and returns its value, if it exists and can be read.
    fn take<T: DeserializeOwned>(&mut self, name: &str) -> Option<T> {
        let value = T::deserialize(self.0.get(name)?).ok()?;
        self.0.remove(name);
        Some(value)
    }

    /// Removes names from `crit`, and `crit` itself if it becomes empty.
    pub(crate) fn remove_critical(members: &mut Map<String, Value>, names: &[&str]) {
        if let Some(Value::Array(critical)) = members.get_mut(CRIT) {
            let before = critical.len();
            critical.retain(|name| name.as_str().is_none_or(|name| !names.contains(&name)));
            if critical.is_empty() && before > 0 {
                members.remove(CRIT);
            }
        }
    }

    /// Returns the names of the unknown members.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str).filter(|name| *name != CRIT)
    }

    /// Returns the first critical member that is not `known` or could not be read.
    pub(crate) fn first_critical(&self, known: &[&str]) -> Option<&str> {
        let Value::Array(named) = self.0.get(CRIT)? else { return Some(CRIT) };
        let is_understood =
            |name: &&Value| name.as_str().is_some_and(|name| known.contains(&name) && !self.0.contains_key(name));
        let first = named.iter().find(|name| !is_understood(name))?;
        Some(first.as_str().unwrap_or(CRIT))
    }

    /// Returns all members of the record. `crit` then contains the `restricting` members that exist.
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
    /// Shows only the names, because values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.keys()).finish()
    }
}

/// The extensible part of a [`Grant`](crate::Grant). Unknown members are kept; a critical one makes the grant unusable.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>", into = "Map<String, Value>")]
#[non_exhaustive]
pub struct GrantDetails {
    /// The type of the access tokens, if it is not `Bearer`. The bearer check refuses tokens of another type.
    pub token_type: Option<Box<str>>,
    /// The latest time at which the grant ends. A derived grant does not outlive its parent.
    pub ends_by: Option<OffsetDateTime>,
    /// The number of ancestors by [`Grant::parent_grant`](crate::Grant::parent_grant).
    pub depth: u8,
    /// Whether no consent page was shown, because the client is a first-party client. Such a grant does not count as an
    /// earlier consent.
    pub consent_skipped: bool,
    /// For a client that no administrator registered, the host of the redirect URI on the consent page. The grant
    /// counts as an earlier consent only for this host, because such a client can change its redirect URIs itself.
    pub consent_host: Option<Box<str>>,
    /// The earlier grant whose consent was used, if the grant was opened without a consent page because of it. That
    /// grant was live when this one was opened. If it ends later, this one does not end with it.
    pub consent_grant: Option<GrantId>,
    /// The expiry of the code, if the grant was opened with one. Until the code is redeemed, the grant ends at the same
    /// time. Redemption moves the end of the grant to a later time.
    pub code_expires_at: Option<OffsetDateTime>,
    /// The resources that the grant is for (RFC 8707), as they were declared. Its tokens are for one of them each.
    /// Empty if the server had no resources.
    pub resources: Vec<Box<str>>,
    pub(crate) unknown: UnknownMembers,
}

/// The extensible part of a [`StoredToken`](crate::StoredToken): its bindings, and the data for a repeated response.
/// Unknown members are kept; a critical one makes the token unusable.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(from = "Map<String, Value>", into = "Map<String, Value>")]
#[non_exhaustive]
pub struct TokenDetails {
    /// The binding of a code. Every code has one; other tokens have none.
    pub code: Option<CodeBinding>,
    /// For an access token, the resource that it is for (RFC 8707). `None` if the server had no resources.
    pub audience: Option<Box<str>>,
    /// For a refresh token, its number in the grant. The first one has 1, its successor 2.
    pub number: Option<u32>,
    /// For an access token that is not opaque, the format of its text. A text in another format does not find the
    /// row, even if its hash is the same.
    pub format: Option<Box<str>>,
    /// For an access token, the requested scope, if it differs from the scope of the token. See
    /// [`StoredToken::requested_scope`](crate::StoredToken::requested_scope).
    pub requested_scope: Option<Scope>,
    /// For an access token whose response may be repeated, the response members that the token customizer added.
    pub response_members: Map<String, Value>,
    /// For a signed access token, the claims that the token customizer added. Introspection responses contain them,
    /// too.
    pub claims: Map<String, Value>,
    /// For an access token from a refresh whose response may be repeated, a mark of the peer of that refresh.
    pub(crate) peer_mark: Option<Box<str>>,
    pub(crate) unknown: UnknownMembers,
}

/// The values that a redemption of a code must match. A code without this record can't be redeemed. An unknown member
/// makes the code unusable.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct CodeBinding {
    /// The redirect URI to which the code was sent.
    pub redirect_uri: Arc<str>,
    /// Whether the authorization request had the redirect URI. Only then must the token request repeat it (RFC 6749
    /// §4.1.3).
    pub redirect_uri_was_sent: bool,
    /// The PKCE challenge (RFC 7636 §4.4).
    pub code_challenge: Option<CodeChallenge>,
}

impl CodeBinding {
    /// Returns the binding of a code that was sent to `redirect_uri`.
    #[must_use]
    pub fn new(
        redirect_uri: impl Into<Arc<str>>,
        redirect_uri_was_sent: bool,
        code_challenge: Option<CodeChallenge>,
    ) -> Self {
        Self { redirect_uri: redirect_uri.into(), redirect_uri_was_sent, code_challenge }
    }
}

/// A time in the format of records.
#[derive(Serialize, Deserialize)]
struct Time(#[serde(with = "rfc3339")] OffsetDateTime);

/// Adds a member to an object, if it has a value.
fn put(members: &mut Map<String, Value>, name: &str, value: Option<impl Serialize>) {
    // Every value of these records can be serialized.
    if let Some(value) = value.and_then(|value| serde_json::to_value(value).ok()) {
        members.insert(name.to_owned(), value);
    }
}

impl GrantDetails {
    const KNOWN: [&'static str; 8] = [
        "token_type",
        "ends_by",
        "depth",
        "consent_skipped",
        "consent_host",
        "consent_grant",
        "code_expires_at",
        "resources",
    ];

    /// Returns the first critical member that this version does not enforce. If there is one, no token of the grant is
    /// issued or accepted.
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
            consent_grant: unknown.take("consent_grant"),
            code_expires_at,
            resources: unknown.take("resources").unwrap_or_default(),
            unknown,
        }
    }
}

impl From<GrantDetails> for Map<String, Value> {
    fn from(details: GrantDetails) -> Self {
        let GrantDetails {
            token_type,
            ends_by,
            depth,
            consent_skipped,
            consent_host,
            consent_grant,
            code_expires_at,
            resources,
            unknown,
        } = details;
        let is_bearer = token_type.as_deref().is_none_or(|own| own.eq_ignore_ascii_case("Bearer"));
        let mut members = Self::new();
        put(&mut members, "token_type", token_type);
        put(&mut members, "ends_by", ends_by.map(Time));
        put(&mut members, "depth", (depth > 0).then_some(depth));
        put(&mut members, "consent_skipped", consent_skipped.then_some(true));
        put(&mut members, "consent_host", consent_host);
        put(&mut members, "consent_grant", consent_grant);
        put(&mut members, "code_expires_at", code_expires_at.map(Time));
        put(&mut members, "resources", Some(resources).filter(|resources| !resources.is_empty()));
        let restricting = ["token_type", "ends_by", "resources"];
        unknown.with(members, if is_bearer { &restricting[1..] } else { &restricting })
    }
}

impl fmt::Debug for TokenDetails {
    /// Shows only the names of the host app's members, because their values may be secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenDetails")
            .field("code", &self.code)
            .field("audience", &self.audience)
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
    const KNOWN: [&'static str; 8] =
        ["code", "audience", "number", "format", "requested_scope", "response_members", "claims", "peer_mark"];

    /// Returns the first critical member that this version does not enforce. If there is one, the token is not accepted
    /// or redeemed.
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
            audience: unknown.take("audience"),
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
        let TokenDetails {
            code,
            audience,
            number,
            format,
            requested_scope,
            response_members,
            claims,
            peer_mark,
            unknown,
        } = details;
        let mut members = Self::new();
        put(&mut members, "code", code);
        put(&mut members, "audience", audience);
        put(&mut members, "number", number);
        put(&mut members, "format", format);
        put(&mut members, "requested_scope", requested_scope);
        put(&mut members, "response_members", Some(response_members).filter(|members| !members.is_empty()));
        put(&mut members, "claims", Some(claims).filter(|claims| !claims.is_empty()));
        put(&mut members, "peer_mark", peer_mark);
        unknown.with(members, &["code", "audience"])
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
            // A member that can't be read or understood is not enforced.
            (json!({ "crit": ["token_type"], "token_type": ["DPoP"] }), Some("token_type")),
            (json!({ "token_type": ["DPoP"] }), None),
            (json!({ "crit": ["resources"], "resources": "https://b.example" }), Some("resources")),
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
        for resources in [json!(["https://b.example"]), json!(["https://b.example", "https://a.example"])] {
            let members = json!({ "resources": resources, "crit": ["resources"] });
            let read: GrantDetails = from_value(members.clone()).unwrap();
            assert_eq!((json!(read.resources), read.unenforced_member()), (resources, None));
            assert_eq!(
                to_value(GrantDetails { resources: read.resources, ..GrantDetails::default() }).unwrap(),
                members
            );
        }
        let members = json!({ "audience": "https://b.example", "crit": ["audience"] });
        let read: TokenDetails = from_value(members.clone()).unwrap();
        assert_eq!((read.audience.as_deref(), read.unenforced_member()), (Some("https://b.example"), None));
        assert_eq!(to_value(TokenDetails { audience: read.audience, ..TokenDetails::default() }).unwrap(), members);
        assert_eq!(to_value(GrantDetails::default()).unwrap(), json!({}));
        // The names from a newer node keep their order, and no name is repeated.
        let members = json!({ "token_type": "N_A", "crit": ["jkt", "token_type"], "jkt": 1 });
        assert_eq!(to_value(from_value::<GrantDetails>(members.clone()).unwrap()).unwrap(), members);
    }
}
