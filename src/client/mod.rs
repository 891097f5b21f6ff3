//! Clients: who may ask for tokens, and how (RFC 6749 §2).
//!
//! A [`Client`] is built by [`Client::confidential`], [`Client::public`] or [`Client::native`], or read back with
//! [`Client::from_parts`]. All ways lead through the same checks, so that a `Client` that exists makes sense: no public
//! client has a credential, no confidential one lacks it, no redirect-based grant is without a redirect URI.

mod allowed_scope;
pub(crate) mod auth;
mod builder;
mod credential;
mod invisible;
mod logo;
mod members;
mod parts;
mod presented;
pub(crate) mod redirect_uri;
pub(crate) mod request;
mod version;
mod warning;

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::Duration;

pub use self::allowed_scope::AllowedScope;
pub use self::builder::ClientBuilder;
pub use self::credential::AuthenticationMethod;
#[doc(no_inline)]
pub use self::credential::ClientCredential;
pub use self::logo::Logo;
pub use self::members::{ClientParts, Member, MemberError, SetBy};
pub use self::parts::{ClientError, LegacyHabits};
pub use self::redirect_uri::{RedirectUri, RedirectUriClass, RedirectUriError};
pub use self::request::{ClientRequest, endpoint};
pub use self::version::ClientVersion;
pub use self::warning::ClientWarning;
use crate::record::{ClientId, GrantType};
use crate::scope::Scope;
use crate::web_url::WebUrl;

/// A registered application.
///
/// Serialises as its [`ClientParts`]; reading it back checks it again. A storage reads by [`ClientParts::from_stored`], which keeps
/// members that this version does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "ClientParts", into = "ClientParts")]
pub struct Client {
    parts: ClientParts,
}

/// The type of a client (RFC 6749 §2.1), native apps told apart from other public clients (RFC 8252 §8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "every decision about a client's type must be taken for all of them")]
pub enum ClientType {
    /// Keeps credentials secret: a web server, a machine.
    Confidential,
    /// Runs in a browser; can keep no secret.
    Public,
    /// Installed on a user's device; can keep no secret.
    Native,
}

/// Who registered a client. Compare with the ones that you trust, so that one that is added later is not trusted.
///
/// The default is the one that is trusted least: a registration that does not say who entered it gets no authority of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RegisteredBy {
    /// An administrator of the server entered or reviewed it.
    Administrator,
    /// Anyone may have entered it. The browser is not sent there automatically when a request is faulty, so that the
    /// server can't be used as a springboard for phishing (RFC 9700 §4.11.2).
    #[default]
    SelfService,
}

/// Lifetimes of a client that differ from the server's [`Policy`](crate::Policy); each defaults to the policy's. Whole seconds,
/// in JSON as a number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Lifetimes {
    /// Of an authorization code; at most ten minutes.
    #[serde(with = "seconds")]
    pub code: Option<Duration>,
    /// Of an access token.
    #[serde(with = "seconds")]
    pub access_token: Option<Duration>,
    /// Of an unused refresh token.
    #[serde(with = "seconds")]
    pub refresh_token_idle: Option<Duration>,
    /// Of all refresh tokens of a grant together.
    #[serde(with = "seconds")]
    pub refresh_token_absolute: Option<Duration>,
    /// The window in which a spent refresh token gets the same successors again; at most 60 seconds, zero for none.
    #[serde(with = "seconds")]
    pub refresh_grace: Option<Duration>,
}

/// Durations as whole seconds.
mod seconds {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use time::Duration;

    #[expect(clippy::ref_option, reason = "serde wants this signature")]
    pub(super) fn serialize<S: Serializer>(lifetime: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
        lifetime.map(Duration::whole_seconds).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
        Ok(Option::deserialize(deserializer)?.map(Duration::seconds))
    }
}

impl Client {
    /// Checks parts that were stored, or read from a registration.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn from_parts(parts: ClientParts) -> Result<Self, ClientError> {
        parts.check()?;
        Ok(Self { parts })
    }

    /// All that a storage needs to keep.
    #[must_use]
    pub const fn parts(&self) -> &ClientParts {
        &self.parts
    }

    /// The same, to be changed and built again.
    #[must_use]
    pub fn into_parts(self) -> ClientParts {
        self.parts
    }

    /// The client identifier.
    #[must_use]
    pub const fn id(&self) -> &ClientId {
        &self.parts.client_id
    }

    /// The name to show to users, if it has one. Text from outside: escape it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.parts.client_name.as_deref()
    }

    /// The address of its home page, if it has one: an `http` or `https` URL without spaces and invisible characters. Always
    /// absolute, so it is safe to use as an `href`. A page shows [`client_uri_host`](Self::client_uri_host).
    #[must_use]
    pub fn client_uri(&self) -> Option<&str> {
        self.parts.client_uri.as_deref()
    }

    /// Returns the host of its home page as a page shows it: in lower case, and in ASCII (punycode), because letters of other alphabets
    /// can look like those of a known name.
    ///
    /// ```
    /// use grantor::Client;
    ///
    /// // The second letter is a Cyrillic one.
    /// let client = Client::public("app").client_uri("https://p\u{430}y.example/about").authorization_code(["https://app.example/cb"]);
    /// assert_eq!(client.build()?.client_uri_host().as_deref(), Some("xn--py-7kc.example"));
    /// # Ok::<(), grantor::client::ClientError>(())
    /// ```
    #[must_use]
    pub fn client_uri_host(&self) -> Option<String> {
        let url = WebUrl::parse(self.client_uri()?).ok()?;
        Some(url.host().to_owned())
    }

    /// The address of its logo, if it has one, checked like [`client_uri`](Self::client_uri). A page shows what [`logo`](Self::logo)
    /// returns.
    #[must_use]
    pub fn logo_uri(&self) -> Option<&str> {
        self.parts.logo_uri.as_deref()
    }

    /// The address of its privacy policy, if it has one, checked like [`client_uri`](Self::client_uri).
    #[must_use]
    pub fn policy_uri(&self) -> Option<&str> {
        self.parts.policy_uri.as_deref()
    }

    /// The address of its terms of service, if it has one, checked like [`client_uri`](Self::client_uri).
    #[must_use]
    pub fn tos_uri(&self) -> Option<&str> {
        self.parts.tos_uri.as_deref()
    }

    /// How to reach the people who are responsible for it, mostly email addresses. Text from outside: escape it.
    #[must_use]
    pub fn contacts(&self) -> &[String] {
        &self.parts.contacts
    }

    /// What the host keeps with the client, such as its owner or its plan. The library does not read it. Only the host can set it.
    #[must_use]
    pub const fn host_data(&self) -> &Value {
        &self.parts.host_data
    }

    /// Its type.
    #[must_use]
    pub const fn client_type(&self) -> ClientType {
        self.parts.client_type
    }

    /// Whether it authenticates with credentials.
    #[must_use]
    pub const fn is_confidential(&self) -> bool {
        matches!(self.parts.client_type, ClientType::Confidential)
    }

    /// Returns who registered it.
    #[must_use]
    pub const fn registered_by(&self) -> RegisteredBy {
        self.parts.registered_by
    }

    /// The registered redirect URIs.
    #[must_use]
    pub fn redirect_uris(&self) -> &[RedirectUri] {
        &self.parts.redirect_uris
    }

    /// Whether it may use a grant type.
    #[must_use]
    pub fn allows_grant_type(&self, grant_type: &str) -> bool {
        self.parts.grant_types.contains(grant_type)
    }

    /// Its grant types.
    #[must_use]
    pub const fn grant_types(&self) -> &BTreeSet<GrantType> {
        &self.parts.grant_types
    }

    /// The response types that go with its grant types (RFC 7591 §2.1), so that the two can't contradict each other.
    pub fn response_types(&self) -> impl Iterator<Item = &'static str> {
        let pairs = [(GrantType::AUTHORIZATION_CODE, "code"), (GrantType::IMPLICIT, "token")];
        pairs.into_iter().filter(|(grant_type, _)| self.allows_grant_type(grant_type)).map(|(_, name)| name)
    }

    /// The scope it gets when it asks for none, cut to what it may have; `None` means the server's default.
    #[must_use]
    pub const fn default_scope(&self) -> Option<&Scope> {
        self.parts.default_scope.as_ref()
    }

    /// Its own lifetimes.
    #[must_use]
    pub const fn lifetimes(&self) -> &Lifetimes {
        &self.parts.lifetimes
    }

    /// Its credentials, expired ones included; empty for public clients.
    #[must_use]
    pub fn credentials(&self) -> &[ClientCredential] {
        &self.parts.credentials
    }

    /// Whether it may authenticate by a method. Registered without a method, a confidential client may use Basic and
    /// the body; a public client always uses `none`.
    #[must_use]
    pub fn allows_authentication_method(&self, method: AuthenticationMethod) -> bool {
        match (self.is_confidential(), method) {
            (false, method) => method == AuthenticationMethod::None,
            (true, AuthenticationMethod::None) => false,
            (true, method) => self.parts.token_endpoint_auth_method.is_none_or(|registered| registered == method),
        }
    }

    /// Whether it may send its secret in `Authorization: Basic` as it is, without form-encoding. A secret that has a `%` or `+` and was
    /// not encoded reads otherwise by the specification (RFC 6749 §2.3.1). With this switch, either reading may be the right
    /// one, provided that the identifier reads the same both ways. The two are one attempt.
    #[must_use]
    pub const fn may_send_raw_secret(&self) -> bool {
        self.parts.raw_basic_secret
    }

    /// Whether it may leave `redirect_uri` out of the token request although the authorization request had it, as OAuth
    /// 2.1 clients do. Only a code with a PKCE challenge can be redeemed that way.
    #[must_use]
    pub const fn may_omit_redirect_uri(&self) -> bool {
        self.parts.omits_redirect_uri
    }

    /// Whether it may have `http://localhost` redirect URIs although it is no native app. For development: on a user's device, any
    /// program may listen there (RFC 8252 §8.3).
    #[must_use]
    pub const fn has_localhost_for_development(&self) -> bool {
        self.parts.localhost_for_development
    }

    /// Whether it may have redirect URIs with a private-use scheme without a dot, such as `cursor://callback`, of those in
    /// [`Policy::undotted_schemes`](crate::Policy::undotted_schemes). For native apps.
    #[must_use]
    pub const fn has_undotted_schemes(&self) -> bool {
        self.parts.undotted_schemes
    }

    /// Whether it protects resources, and so may inspect every access token (RFC 7662 §4).
    #[must_use]
    pub const fn is_resource_server(&self) -> bool {
        self.parts.resource_server
    }

    /// Returns the algorithm of introspection responses that are signed for it (`introspection_signed_response_alg`, RFC 9701 §6). `None`:
    /// RS256, or the first algorithm of the server's keys if no key is for RS256. If no key is for the algorithm, the client gets
    /// `server_error` when it asks for a signed response; see
    /// [`ClientLint::IntrospectionAlgorithmNotServed`](crate::lint::ClientLint::IntrospectionAlgorithmNotServed).
    #[cfg(feature = "jwt")]
    #[must_use]
    pub const fn introspection_signed_response_alg(&self) -> Option<crate::jose::Algorithm> {
        self.parts.introspection_signed_response_alg
    }

    /// Whether it belongs to the server's own service, so that users need not be asked for consent. Where its redirect does not
    /// prove that it is this client, they confirm by one click.
    #[must_use]
    pub const fn is_first_party(&self) -> bool {
        self.parts.first_party
    }

    /// Whether it may ask for a code without PKCE, if the policy allows that too.
    #[must_use]
    pub const fn is_pkce_optional(&self) -> bool {
        self.parts.legacy.pkce_optional
    }

    /// Whether it may use the PKCE method `plain`, if the policy allows that too.
    #[must_use]
    pub const fn may_use_plain_pkce(&self) -> bool {
        self.parts.legacy.plain_pkce
    }

    /// Whether it may put token parameters into the URL's query, if the policy allows that too.
    #[must_use]
    pub const fn may_use_query(&self) -> bool {
        self.parts.legacy.token_parameters_in_query
    }
}
