//! Changes by the host to tokens before they are issued, and additions to what introspection tells about them.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;
use serde_json::{Map, Value};
use time::{Duration, OffsetDateTime};

use crate::client::Client;
use crate::error::Error;
use crate::record::{Grant, StoredToken, Subject};
use crate::scope::Scope;

/// Changes tokens of a host's own accord: refuses them, narrows their scope, shortens their lifetime, adds members to the token
/// response, to signed access tokens and to an introspection answer. It can't widen anything. Every method has a default that changes nothing.
///
/// ```
/// use async_trait::async_trait;
/// use grantor::customizer::{Inspection, Issuance, TokenChanges, TokenCustomizer};
/// use grantor::{AuthorizationServer, Error, Grant, MemoryStorage, TokenRequest};
/// use serde_json::{Map, Value};
///
/// /// Tells clients and APIs the tenant of a grant: here the part of the client's identifier before the dot.
/// struct Tenants;
///
/// fn tenant(grant: &Grant) -> &str {
///     grant.client_id.as_str().split('.').next().unwrap_or_default()
/// }
///
/// #[async_trait]
/// impl TokenCustomizer for Tenants {
///     async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
///         Ok(TokenChanges::new().response_member("tenant", tenant(issuance.grant)))
///     }
///
///     async fn introspection(&self, inspection: &Inspection<'_>) -> Result<Option<Map<String, Value>>, Error> {
///         Ok(Some(Map::from_iter([("tenant".to_owned(), tenant(inspection.grant).into())])))
///     }
/// }
///
/// # use grantor::{Client, ClientCredential, ClientRegistry, ClientSecret, IntrospectionRequest};
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # tokio::runtime::Builder::new_current_thread().build()?.block_on(async {
/// # let (storage, secret) = (MemoryStorage::new(), ClientSecret::new("the-secret-of-a-machine"));
/// # let machine = Client::confidential("acme.importer", ClientCredential::secret(&secret));
/// # storage.register(machine.client_credentials().scope("mail:read").build()?).await?;
/// let oauth = AuthorizationServer::builder("https://id.example.com")
///     .storage(storage)
///     .scope("mail:read", "Read mail")
///     .token_customizer(Tenants)
///     .build()
///     .await?;
/// let request = TokenRequest::client_credentials().scope("mail:read");
/// let tokens = oauth.token_request(&request.client_secret_basic("acme.importer", &secret)).await?;
/// assert_eq!(tokens.extra["tenant"], "acme");
/// # let request = IntrospectionRequest::of(tokens.access_token.expose());
/// # let told = oauth.introspection_request(&request.client_secret_basic("acme.importer", &secret)).await?;
/// # assert_eq!(told.active().unwrap().extra["tenant"], "acme");
/// # Ok(())
/// # })
/// # }
/// ```
///
/// # Reserved names
/// A member whose name has a meaning in a specification that this library follows or will follow ([`RESERVED_MEMBERS`]) is left out,
/// whether or not the answer has it. So is one that the grant handler set. The event
/// [`CustomizerMemberDropped`](crate::EventKind::CustomizerMemberDropped) names it. All members of one answer have at most 4 KiB as
/// JSON, and arrays and objects in a value are nested on at most 32 levels; more is an error.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write asynchronous methods with the
/// signature that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "implement `grantor::TokenCustomizer`; each method has a default")]
pub trait TokenCustomizer: Send + Sync {
    /// Returns what is to change about tokens that are about to be issued. Asked for each kind of [`Issuance`], once everything else
    /// allows it: the client has proven that the token it presents is its own, and the subject is active. Nothing is spent or stored
    /// so far.
    ///
    /// ```text
    /// async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error>
    /// ```
    ///
    /// If another request spends the token in between, the method is asked a second time.
    ///
    /// # Errors
    /// A refusal, mostly made by [`Error::refused`]: the client is told its code and description. Or a
    /// failure, mostly a [`CustomizerError`](crate::error::CustomizerError). Either way nothing is spent or stored.
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        let _ = issuance;
        Ok(TokenChanges::new())
    }

    /// Returns members to add to what a caller is told about a live token that it may know (RFC 7662 §2.2), or `None` if the token is
    /// not this caller's business, which is then told that it is inactive. A server of several APIs keeps their tokens apart like
    /// this.
    ///
    /// ```text
    /// async fn introspection(
    ///     &self,
    ///     inspection: &Inspection<'_>,
    /// ) -> Result<Option<Map<String, Value>>, Error>
    /// ```
    ///
    /// # Errors
    /// As in [`issuance`](Self::issuance).
    async fn introspection(&self, inspection: &Inspection<'_>) -> Result<Option<Map<String, Value>>, Error> {
        let _ = inspection;
        Ok(Some(Map::new()))
    }
}

#[async_trait]
impl<T: TokenCustomizer + ?Sized> TokenCustomizer for Arc<T> {
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        (**self).issuance(issuance).await
    }

    async fn introspection(&self, inspection: &Inspection<'_>) -> Result<Option<Map<String, Value>>, Error> {
        (**self).introspection(inspection).await
    }
}

/// Tokens that are about to be issued.
#[derive(Debug)]
#[non_exhaustive]
pub struct Issuance<'a> {
    /// How they come about.
    pub kind: IssuanceKind,
    /// The client that will get them.
    pub client: &'a Client,
    /// Their grant. A new one is not stored yet, and ends earlier if the lifetime is shortened.
    pub grant: &'a Grant,
    /// The scope of the access token, if it is not narrowed. For a [`Repeat`](IssuanceKind::Repeat), what the request asks for. A scope of
    /// the grant that the client may not have any more, or that the server does not offer any more, is not in it.
    pub scope: &'a Scope,
    /// The lifetime of the access token, if it is not shortened. It is cut to what its grant has left.
    pub access_token_lifetime: Duration,
    /// The peer, if the host vouched for one.
    pub peer: Option<IpAddr>,
    /// The time of the request.
    pub now: OffsetDateTime,
}

impl Issuance<'_> {
    /// The resource owner; `None` if the client acts for itself.
    #[must_use]
    pub const fn subject(&self) -> Option<&Subject> {
        self.grant.subject.as_ref()
    }
}

/// How tokens come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssuanceKind {
    /// A code is redeemed (RFC 6749 §4.1.3).
    AuthorizationCode,
    /// A refresh token is used (RFC 6749 §6).
    Refresh,
    /// A refresh token that was just spent is presented again and gets the same tokens (see
    /// [`Policy::refresh_grace`](crate::Policy::refresh_grace)). The customizer can refuse, and a change that is not allowed is an
    /// error as ever. Otherwise the answer is that of the first time: what the customizer returned then counts, not what it returns
    /// now.
    Repeat,
    /// A client acts for itself (RFC 6749 §4.4).
    ClientCredentials,
    /// A user's password is traded in (RFC 6749 §4.3).
    Password,
    /// The authorization endpoint issues the token (RFC 6749 §4.2).
    Implicit,
    /// An extension grant opens a grant (RFC 6749 §4.5); [`Grant::grant_type`](crate::Grant::grant_type) names it.
    Extension,
}

/// What a [`TokenCustomizer`] changes. It starts as no change.
#[derive(Clone, Default)]
#[must_use = "changes do nothing until they are returned"]
pub struct TokenChanges {
    pub(crate) scope: Option<Scope>,
    pub(crate) access_token_lifetime: Option<Duration>,
    pub(crate) response_members: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
}

impl TokenChanges {
    /// No change.
    pub fn new() -> Self {
        Self::default()
    }

    /// Narrows the scope of the access token; one that is wider than [`Issuance::scope`] is an error. The grant and the refresh token
    /// keep theirs, so that the next refresh can get all of it again. Start from [`Issuance::scope`], for example with
    /// [`Scope::intersection`]: a request may ask for less than you would leave.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Shortens the lifetime of the access token, to a second at least; one that is longer than
    /// [`Issuance::access_token_lifetime`] is an error.
    ///
    /// A repeated refresh gets the same access token, so one that lives shorter than
    /// [`Policy::refresh_grace`](crate::Policy::refresh_grace) shortens the window: as soon as it has less than a second left, a repeat
    /// is refused ([`Refusal::RetryRefused`](crate::error::Refusal::RetryRefused), `invalid_grant`). Nothing is revoked for it before
    /// the whole window is over, and the new refresh token works.
    ///
    /// [`Policy::refresh_interval`](crate::Policy::refresh_interval) does not know of it. If tokens live shorter than that, set it as short,
    /// or clients that refresh each time get 429 in the end.
    pub const fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_token_lifetime = Some(lifetime);
        self
    }

    /// Adds a member to the token response (RFC 6749 §5.1); responses of the implicit grant go without. Not for secrets: the members
    /// are stored in clear with the access token if a repeated request may have to get them again.
    pub fn response_member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.response_members.insert(name.into(), value.into());
        self
    }

    /// Adds a claim to the access token if access tokens are signed (feature `jwt`), and to what introspection tells about it. For
    /// groups, roles and entitlements use the names `groups`, `roles` and `entitlements` (RFC 9068 §2.2.3.1). Not for secrets: everybody
    /// who holds the token can read it. Opaque tokens have no claims.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }
}

impl fmt::Debug for TokenChanges {
    /// The members by name only.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenChanges")
            .field("scope", &self.scope)
            .field("access_token_lifetime", &self.access_token_lifetime)
            .field("response_members", &self.response_members.keys())
            .field("claims", &self.claims.keys())
            .finish()
    }
}

/// A live token that a caller asks about.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection<'a> {
    /// The caller.
    pub caller: &'a Client,
    /// The token.
    pub token: &'a StoredToken,
    /// Its grant.
    pub grant: &'a Grant,
    /// The peer, if the host vouched for one.
    pub peer: Option<IpAddr>,
    /// The time of the request.
    pub now: OffsetDateTime,
}

/// The names of members that a [`TokenCustomizer`] can't add, in ascending order: those of RFC 6749 §5, RFC 7519 §4.1,
/// RFC 7662 §2.2, RFC 7800, RFC 8693, RFC 9068, RFC 9396, RFC 9701 §5 and OpenID Connect Core §2.
pub const RESERVED_MEMBERS: &[&str] = &[
    "access_token",
    "acr",
    "act",
    "active",
    "amr",
    "at_hash",
    "aud",
    "auth_time",
    "authorization_details",
    "azp",
    "c_hash",
    "client_id",
    "cnf",
    "error",
    "error_description",
    "error_uri",
    "exp",
    "expires_in",
    "iat",
    "id_token",
    "iss",
    "issued_token_type",
    "jti",
    "may_act",
    "nbf",
    "nonce",
    "refresh_token",
    "s_hash",
    "scope",
    "sid",
    "state",
    "sub",
    "token_introspection",
    "token_type",
];

/// The most that the members of one answer have as JSON, in bytes.
const MOST_BYTES: usize = 4_096;

/// How deep the value of a member may be nested. A reader of JSON has a limit, and a row that can't be read again would make its token
/// unusable.
const MOST_LEVELS: usize = 32;

/// Whether the library alone writes a member of this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED_MEMBERS.binary_search(&name).is_ok()
}

/// Takes out what a customizer can't add, and returns the names of it.
pub(crate) fn drop_members(members: &mut Map<String, Value>, is_taken: impl Fn(&str) -> bool) -> Vec<String> {
    let is_dropped = |name: &str| is_reserved(name) || is_taken(name);
    let dropped: Vec<String> = members.keys().filter(|name| is_dropped(name)).cloned().collect();
    members.retain(|name, _| !is_dropped(name));
    dropped
}

/// Refuses more than 4 KiB of members, and values that are nested too deeply.
pub(crate) fn check_members(members: &Map<String, Value>) -> Result<(), Error> {
    let fits = members.is_empty() || serde_json::to_vec(members).is_ok_and(|json| json.len() <= MOST_BYTES);
    if !fits {
        return Err(Error::Misuse("a token customizer added more than 4 KiB"));
    }
    if members.values().all(|value| has_at_most(MOST_LEVELS, value)) {
        return Ok(());
    }
    Err(Error::Misuse("a token customizer added a member that is nested more than 32 levels deep"))
}

/// Whether arrays and objects are nested in each other on this many levels at most.
fn has_at_most(levels: usize, value: &Value) -> bool {
    let inside = |value| levels > 0 && has_at_most(levels - 1, value);
    match value {
        Value::Array(values) => levels > 0 && values.iter().all(inside),
        Value::Object(members) => levels > 0 && members.values().all(inside),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn reserved_names_are_sorted_and_all_dropped() {
        assert!(RESERVED_MEMBERS.is_sorted_by(|a, b| a < b));
        let mut members: Map<String, Value> = RESERVED_MEMBERS
            .iter()
            .chain(&["tenant", "Sub", "taken"])
            .map(|name| ((*name).to_owned(), json!(1)))
            .collect();
        let mut dropped = drop_members(&mut members, |name| name == "taken");
        dropped.sort_unstable();
        let mut expected = [RESERVED_MEMBERS, &["taken"]].concat();
        expected.sort_unstable();
        assert_eq!(dropped, expected);
        assert_eq!(members.keys().collect::<Vec<_>>(), ["Sub", "tenant"]);
    }

    #[test]
    fn members_have_at_most_four_kibibytes() {
        let with = |length: usize| Map::from_iter([("m".to_owned(), json!("x".repeat(length)))]);
        // {"m":""}
        assert!(check_members(&with(4_096 - 8)).is_ok());
        assert!(check_members(&with(4_096 - 7)).is_err());
        assert!(check_members(&Map::new()).is_ok());
    }

    #[test]
    fn members_are_nested_on_at_most_32_levels() {
        let arrays = |levels: usize| (0..levels).fold(json!(1), |value, _| json!([0, value]));
        let objects = |levels: usize| (0..levels).fold(json!(1), |value, _| json!({ "a": 0, "m": value }));
        let check =
            |value: Value| check_members(&Map::from_iter([("a".to_owned(), json!(1)), ("m".to_owned(), value)]));
        for levels in [0, 1, 32] {
            assert!(check(arrays(levels)).is_ok() && check(objects(levels)).is_ok(), "{levels}");
        }
        for levels in [33, 300] {
            assert!(check(arrays(levels)).is_err() && check(objects(levels)).is_err(), "{levels}");
        }
        assert!(check((0..32).fold(json!([]), |value, _| json!([value]))).is_err(), "an empty array is a level");
    }
}
