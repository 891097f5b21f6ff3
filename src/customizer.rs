//! [`TokenCustomizer`]: changes tokens before they are issued, and adds members to introspection responses.

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

/// Changes tokens before they are issued. It can refuse them, narrow their scope and shorten their lifetime. It can add
/// members to the token response, claims to signed access tokens, and members to introspection responses. It can't
/// widen anything. Every method has a default that changes nothing.
///
/// ```
/// use async_trait::async_trait;
/// use grantor::customizer::{Inspection, Issuance, TokenChanges, TokenCustomizer};
/// use grantor::{AuthorizationServer, Error, Grant, MemoryStorage, TokenRequest};
/// use serde_json::{Map, Value};
///
/// /// Adds the tenant of a grant: here the part of the client identifier before the dot.
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
/// A member with a name from [`RESERVED_MEMBERS`] is dropped, because a specification defines it. A member that the
/// grant handler has set is dropped, too. The event
/// [`CustomizerMemberDropped`](crate::EventKind::CustomizerMemberDropped) names each of them. All members of one
/// response have at most 4 KiB as JSON, and arrays and objects in a value are nested at most 32 deep; more is an error.
///
/// Put `#[async_trait]` of the crate [async-trait](https://docs.rs/async-trait) on your `impl`, and write asynchronous
/// methods with the signature that their documentation shows.
#[async_trait]
#[diagnostic::on_unimplemented(note = "implement `grantor::TokenCustomizer`; each method has a default")]
pub trait TokenCustomizer: Send + Sync {
    /// Returns the changes to tokens that are about to be issued. It is called for each kind of [`Issuance`] after all
    /// other checks: the presented token belongs to the client, and the subject is active. Nothing is redeemed or
    /// stored before this call.
    ///
    /// ```text
    /// async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error>
    /// ```
    ///
    /// If another request changes the presented token at the same time, the method can be called a second time for the
    /// same request.
    ///
    /// # Errors
    /// A refusal, usually made by [`Error::refused`]: the client gets its code and description. Or a failure, usually a
    /// [`CustomizerError`](crate::error::CustomizerError). In both cases nothing is redeemed or stored.
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        let _ = issuance;
        Ok(TokenChanges::new())
    }

    /// Returns members to add to the introspection response for a live token (RFC 7662 §2.2). Returns `None` if the
    /// caller may not know the token: the response then says that it is inactive. Use this to separate the tokens of
    /// several APIs.
    ///
    /// ```text
    /// async fn introspection(
    ///     &self,
    ///     inspection: &Inspection<'_>,
    /// ) -> Result<Option<Map<String, Value>>, Error>
    /// ```
    ///
    /// # Errors
    /// The same as for [`issuance`](Self::issuance).
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
    /// The reason why the tokens are issued.
    pub kind: IssuanceKind,
    /// The client that gets the tokens.
    pub client: &'a Client,
    /// The grant of the tokens. A new grant is not stored yet. Without a refresh token, it ends with its access token,
    /// so a shorter lifetime also shortens the grant.
    pub grant: &'a Grant,
    /// The identifier of the resource that the access token is for (RFC 8707), as it was declared. `None` if the server
    /// has no resources.
    pub resource: Option<&'a str>,
    /// The scope of the access token, unless it is narrowed. For a [`Repeat`](IssuanceKind::Repeat), it is the
    /// requested scope. It does not contain scopes of the grant that the client may no longer have, or that the server
    /// no longer offers.
    pub scope: &'a Scope,
    /// The lifetime of the access token, unless it is shortened. It never exceeds the remaining lifetime of the grant.
    pub access_token_lifetime: Duration,
    /// The peer, if the host app set it.
    pub peer: Option<IpAddr>,
    /// The time of the request.
    pub now: OffsetDateTime,
}

impl Issuance<'_> {
    /// Returns the user, or `None` if the client acts on its own behalf.
    #[must_use]
    pub const fn subject(&self) -> Option<&Subject> {
        self.grant.subject.as_ref()
    }
}

/// The reason why tokens are issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum IssuanceKind {
    /// A code is redeemed (RFC 6749 §4.1.3).
    AuthorizationCode,
    /// A refresh token is used (RFC 6749 §6).
    Refresh,
    /// A refresh token that was just redeemed is presented again and returns the same tokens (see
    /// [`Policy::refresh_grace`](crate::Policy::refresh_grace)). The customizer can refuse, and a forbidden change is
    /// an error. Otherwise the response is the same as the first one: the new changes of the customizer are ignored.
    Repeat,
    /// A client acts on its own behalf (RFC 6749 §4.4).
    ClientCredentials,
    /// A user's password is exchanged for tokens (RFC 6749 §4.3).
    Password,
    /// The authorization endpoint issues the token (RFC 6749 §4.2).
    Implicit,
    /// An extension grant opens a grant (RFC 6749 §4.5); [`Grant::grant_type`](crate::Grant::grant_type) names it.
    Extension,
}

/// The changes of a [`TokenCustomizer`]. A new value changes nothing.
#[derive(Clone, Default)]
#[must_use = "changes do nothing until they are returned"]
pub struct TokenChanges {
    pub(crate) scope: Option<Scope>,
    pub(crate) access_token_lifetime: Option<Duration>,
    pub(crate) response_members: Map<String, Value>,
    pub(crate) claims: Map<String, Value>,
}

impl TokenChanges {
    /// Returns a value that changes nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Narrows the scope of the access token. A scope wider than [`Issuance::scope`] is an error. The grant and the
    /// refresh token keep their scope, so the next refresh can return all of it. Start from [`Issuance::scope`], for
    /// example with [`Scope::intersection`], because a request may ask for less scope than you allow.
    pub fn scope(mut self, scope: Scope) -> Self {
        self.scope = Some(scope);
        self
    }

    /// Shortens the lifetime of the access token. It must be at least one second. A lifetime longer than
    /// [`Issuance::access_token_lifetime`] is an error.
    ///
    /// A repeated refresh returns the same access token. So a lifetime shorter than
    /// [`Policy::refresh_grace`](crate::Policy::refresh_grace) shortens the grace window: when less than a second is
    /// left, a repeat is refused ([`Refusal::RetryRefused`](crate::error::Refusal::RetryRefused), `invalid_grant`).
    /// Throughout the window, a repeat does not revoke the grant, and the new refresh token works.
    ///
    /// [`Policy::refresh_interval`](crate::Policy::refresh_interval) does not adapt to this lifetime. If tokens live
    /// shorter than the interval, set the interval to their lifetime. Otherwise clients that refresh whenever a token
    /// expires get 429 after some time.
    pub const fn access_token_lifetime(mut self, lifetime: Duration) -> Self {
        self.access_token_lifetime = Some(lifetime);
        self
    }

    /// Adds a member to the token response (RFC 6749 §5.1). Responses of the implicit grant do not contain it. Do not
    /// use it for secrets: the members are stored in plain text with the access token if a repeated request may need
    /// them.
    pub fn response_member(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.response_members.insert(name.into(), value.into());
        self
    }

    /// Adds a claim to a signed access token (feature `jwt`) and to its introspection response. Opaque tokens have no
    /// claims. For groups, roles and entitlements use the names `groups`, `roles` and `entitlements` (RFC 9068
    /// §2.2.3.1). Do not use it for secrets: everyone who has the token can read it.
    pub fn claim(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.claims.insert(name.into(), value.into());
        self
    }
}

impl fmt::Debug for TokenChanges {
    /// Shows only the names of the members.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenChanges")
            .field("scope", &self.scope)
            .field("access_token_lifetime", &self.access_token_lifetime)
            .field("response_members", &self.response_members.keys())
            .field("claims", &self.claims.keys())
            .finish()
    }
}

/// A live token that a caller introspects.
#[derive(Debug)]
#[non_exhaustive]
pub struct Inspection<'a> {
    /// The caller.
    pub caller: &'a Client,
    /// The token.
    pub token: &'a StoredToken,
    /// Its grant.
    pub grant: &'a Grant,
    /// The peer, if the host app set it.
    pub peer: Option<IpAddr>,
    /// The time of the request.
    pub now: OffsetDateTime,
}

/// The names of members that a [`TokenCustomizer`] can't add, in ascending order. RFC 6749 §5, RFC 7519 §4.1, RFC 7662
/// §2.2, RFC 7800, RFC 8693, RFC 9068, RFC 9396, RFC 9701 §5 and OpenID Connect Core §2 define them.
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

/// The maximum size of the members of one response as JSON, in bytes.
const MAX_BYTES: usize = 4_096;

/// The maximum nesting of a member's value. JSON parsers have a limit, and a row that can't be parsed would make its
/// token unusable.
const MAX_LEVELS: usize = 32;

/// Returns whether only the library may set a member with this name.
pub(crate) fn is_reserved(name: &str) -> bool {
    RESERVED_MEMBERS.binary_search(&name).is_ok()
}

/// Removes the members that a customizer can't add, and returns their names.
pub(crate) fn drop_members(members: &mut Map<String, Value>, is_taken: impl Fn(&str) -> bool) -> Vec<String> {
    let is_dropped = |name: &str| is_reserved(name) || is_taken(name);
    let dropped: Vec<String> = members.keys().filter(|name| is_dropped(name)).cloned().collect();
    members.retain(|name, _| !is_dropped(name));
    dropped
}

/// Refuses members of more than 4 KiB, and values that are nested too deeply.
pub(crate) fn check_members(members: &Map<String, Value>) -> Result<(), Error> {
    let fits = members.is_empty() || serde_json::to_vec(members).is_ok_and(|json| json.len() <= MAX_BYTES);
    if !fits {
        return Err(Error::Misuse("a token customizer added members of more than 4 KiB"));
    }
    if members.values().all(|value| has_at_most(MAX_LEVELS, value)) {
        return Ok(());
    }
    Err(Error::Misuse("a token customizer added a member that is nested more than 32 levels deep"))
}

/// Returns whether arrays and objects are nested at most this deep.
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
