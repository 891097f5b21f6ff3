//! Clients: the applications that may request tokens (RFC 6749 §2).
//!
//! Build a [`Client`] with [`Client::confidential`], [`Client::public`] or [`Client::native`], or read it back with
//! [`Client::from_parts`]. All of them apply the same checks, so every `Client` is consistent. For example, no public
//! client has a credential, every confidential client has a credential or keys, and every redirect-based grant has a
//! redirect URI.

mod allowed_scope;
#[cfg(feature = "jwt")]
mod assertion;
pub(crate) mod auth;
mod builder;
mod credential;
mod invisible;
#[cfg(feature = "jwt")]
mod keys;
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
/// It serializes as its [`ClientParts`], and deserialization checks them again. A storage uses
/// [`ClientParts::from_stored`], which keeps members that this version does not know.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(try_from = "ClientParts", into = "ClientParts")]
pub struct Client {
    parts: ClientParts,
}

/// The type of a client (RFC 6749 §2.1). Native apps are separate from other public clients (RFC 8252 §8.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(clippy::exhaustive_enums, reason = "every decision about a client's type must be taken for all of them")]
pub enum ClientType {
    /// A client that keeps credentials secret, for example on a web server.
    Confidential,
    /// A client that runs in a browser and can't keep a secret.
    Public,
    /// A client that is installed on a user's device and can't keep a secret.
    Native,
}

/// The party that registered a client. Compare with the variants that you trust, so that a variant that is added later
/// is not trusted.
///
/// The default is the least trusted variant, for a registration that does not name its origin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RegisteredBy {
    /// An administrator of the server entered or reviewed the registration.
    Administrator,
    /// Anyone may have entered the registration. If a request of the client is invalid, the user is asked before the
    /// browser is redirected, so that the server can't be used for phishing (RFC 9700 §4.11.2).
    #[default]
    SelfService,
}

/// The lifetimes of a client that differ from the server's [`Policy`](crate::Policy). A lifetime of `None` is that of
/// the policy. The values are whole seconds, in JSON as numbers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct Lifetimes {
    /// The lifetime of an authorization code, at most ten minutes.
    #[serde(with = "seconds")]
    pub code: Option<Duration>,
    /// The lifetime of an access token.
    #[serde(with = "seconds")]
    pub access_token: Option<Duration>,
    /// The lifetime of an unused refresh token.
    #[serde(with = "seconds")]
    pub refresh_token_idle: Option<Duration>,
    /// The lifetime of all refresh tokens of a grant together.
    #[serde(with = "seconds")]
    pub refresh_token_absolute: Option<Duration>,
    /// The grace window, in which a redeemed refresh token returns the same successors again. At most 60 seconds; zero
    /// for none.
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
    /// Checks parts and returns the client. Use it for parts from a storage or from a registration request.
    ///
    /// # Errors
    /// See [`ClientError`].
    pub fn from_parts(parts: ClientParts) -> Result<Self, ClientError> {
        parts.check()?;
        Ok(Self { parts })
    }

    /// Returns the parts, which are all that a storage has to store.
    #[must_use]
    pub const fn parts(&self) -> &ClientParts {
        &self.parts
    }

    /// Returns the parts, to change them and build the client again.
    #[must_use]
    pub fn into_parts(self) -> ClientParts {
        self.parts
    }

    /// Returns the client identifier.
    #[must_use]
    pub const fn id(&self) -> &ClientId {
        &self.parts.client_id
    }

    /// Returns the name to show to users, if there is one. It is untrusted text: escape it.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.parts.client_name.as_deref()
    }

    /// Returns the URL of the home page, if there is one: an `http` or `https` URL without spaces and invisible
    /// characters. It is always absolute, so it is safe as an `href` after escaping. For the text of the link, use
    /// [`client_uri_host`](Self::client_uri_host).
    #[must_use]
    pub fn client_uri(&self) -> Option<&str> {
        self.parts.client_uri.as_deref()
    }

    /// Returns the host of the home page for display: in lower case and in ASCII (punycode), because letters of other
    /// alphabets can imitate a known name.
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

    /// Returns the URL of the logo, if there is one, checked like [`client_uri`](Self::client_uri). To show it on a
    /// page, use [`logo`](Self::logo).
    #[must_use]
    pub fn logo_uri(&self) -> Option<&str> {
        self.parts.logo_uri.as_deref()
    }

    /// Returns the URL of the privacy policy, if there is one, checked like [`client_uri`](Self::client_uri).
    #[must_use]
    pub fn policy_uri(&self) -> Option<&str> {
        self.parts.policy_uri.as_deref()
    }

    /// Returns the URL of the terms of service, if there is one, checked like [`client_uri`](Self::client_uri).
    #[must_use]
    pub fn tos_uri(&self) -> Option<&str> {
        self.parts.tos_uri.as_deref()
    }

    /// Returns how to reach the people who are responsible for the client, usually email addresses. It is untrusted
    /// text: escape it.
    #[must_use]
    pub fn contacts(&self) -> &[String] {
        &self.parts.contacts
    }

    /// Returns the data that the host app stores with the client, such as its owner or its plan. The library does not
    /// read it, and only the host app can set it.
    #[must_use]
    pub const fn host_data(&self) -> &Value {
        &self.parts.host_data
    }

    /// Returns the type.
    #[must_use]
    pub const fn client_type(&self) -> ClientType {
        self.parts.client_type
    }

    /// Returns whether the client is confidential, which means that it authenticates with credentials.
    #[must_use]
    pub const fn is_confidential(&self) -> bool {
        matches!(self.parts.client_type, ClientType::Confidential)
    }

    /// Returns who registered the client.
    #[must_use]
    pub const fn registered_by(&self) -> RegisteredBy {
        self.parts.registered_by
    }

    /// Returns the registered redirect URIs.
    #[must_use]
    pub fn redirect_uris(&self) -> &[RedirectUri] {
        &self.parts.redirect_uris
    }

    /// Returns whether the client may use a grant type.
    #[must_use]
    pub fn allows_grant_type(&self, grant_type: &str) -> bool {
        self.parts.grant_types.contains(grant_type)
    }

    /// Returns the grant types.
    #[must_use]
    pub const fn grant_types(&self) -> &BTreeSet<GrantType> {
        &self.parts.grant_types
    }

    /// Returns the response types. They follow from the grant types (RFC 7591 §2.1), so the two can't contradict each
    /// other.
    pub fn response_types(&self) -> impl Iterator<Item = &'static str> {
        let pairs = [(GrantType::AUTHORIZATION_CODE, "code"), (GrantType::IMPLICIT, "token")];
        pairs.into_iter().filter(|(grant_type, _)| self.allows_grant_type(grant_type)).map(|(_, name)| name)
    }

    /// Returns the scope for a request without a scope. The client gets only the part that it may have. `None` means
    /// the default scope of the server.
    #[must_use]
    pub const fn default_scope(&self) -> Option<&Scope> {
        self.parts.default_scope.as_ref()
    }

    /// Returns the lifetimes that differ from the policy.
    #[must_use]
    pub const fn lifetimes(&self) -> &Lifetimes {
        &self.parts.lifetimes
    }

    /// Returns the credentials, including expired ones. Empty for public clients, and for clients that sign with a key.
    #[must_use]
    pub fn credentials(&self) -> &[ClientCredential] {
        &self.parts.credentials
    }

    /// Returns whether the client may authenticate by a method. Without a registered method, a confidential client may
    /// use Basic and the body. A public client always uses `none`. `private_key_jwt` must be registered.
    #[must_use]
    pub fn allows_authentication_method(&self, method: AuthenticationMethod) -> bool {
        match (self.is_confidential(), method) {
            (false, method) => method == AuthenticationMethod::None,
            (true, AuthenticationMethod::None) => false,
            (true, AuthenticationMethod::PrivateKeyJwt) => self.signs_to_authenticate(),
            (true, method) => self.parts.token_endpoint_auth_method.is_none_or(|registered| registered == method),
        }
    }

    /// Returns whether the client authenticates by a JWT that it signs (`private_key_jwt`).
    pub(crate) fn signs_to_authenticate(&self) -> bool {
        self.parts.token_endpoint_auth_method == Some(AuthenticationMethod::PrivateKeyJwt)
    }

    /// Returns whether the client may send its secret in `Authorization: Basic` without form-encoding. The
    /// specification requires the encoding (RFC 6749 §2.3.1), so an unencoded secret with a `%` or `+` is decoded to
    /// another text. With this switch, both readings of the secret are accepted if the identifier is the same in both.
    /// A throttle counts them as one attempt.
    #[must_use]
    pub const fn may_send_raw_secret(&self) -> bool {
        self.parts.raw_basic_secret
    }

    /// Returns whether the client may omit `redirect_uri` from the token request although the authorization request had
    /// it, as OAuth 2.1 clients do. Only a code with a PKCE challenge can be redeemed that way.
    #[must_use]
    pub const fn may_omit_redirect_uri(&self) -> bool {
        self.parts.omits_redirect_uri
    }

    /// Returns whether the client may have `http://localhost` redirect URIs although it is not a native app. Use it
    /// only for development: on a user's device, any program may listen there (RFC 8252 §8.3).
    #[must_use]
    pub const fn has_localhost_for_development(&self) -> bool {
        self.parts.localhost_for_development
    }

    /// Returns whether the client may have redirect URIs with a private-use scheme without a dot, such as
    /// `cursor://callback`. The scheme must be in [`Policy::undotted_schemes`](crate::Policy::undotted_schemes). For
    /// native apps.
    #[must_use]
    pub const fn has_undotted_schemes(&self) -> bool {
        self.parts.undotted_schemes
    }

    /// Returns whether the client is a resource server, which may introspect every access token (RFC 7662 §4).
    #[must_use]
    pub const fn is_resource_server(&self) -> bool {
        self.parts.resource_server
    }

    /// Returns the algorithm of signed introspection responses for the client (`introspection_signed_response_alg`, RFC
    /// 9701 §6). `None` means RS256, or the first algorithm of the server's keys if there is no key for RS256. If there
    /// is no key for the algorithm, a request for a signed response gets `server_error`: see
    /// [`ClientLint::IntrospectionAlgorithmNotServed`](crate::lint::ClientLint::IntrospectionAlgorithmNotServed).
    #[cfg(feature = "jwt")]
    #[must_use]
    pub const fn introspection_signed_response_alg(&self) -> Option<crate::jose::Algorithm> {
        self.parts.introspection_signed_response_alg
    }

    /// Returns whether the client is a first-party client: it belongs to the same service as the server, so users are
    /// not asked for consent. If the redirect URI does not prove the identity of the client, users confirm by one
    /// click.
    #[must_use]
    pub const fn is_first_party(&self) -> bool {
        self.parts.first_party
    }

    /// Returns whether the client may request a code without PKCE. The policy must allow it, too.
    #[must_use]
    pub const fn is_pkce_optional(&self) -> bool {
        self.parts.legacy.pkce_optional
    }

    /// Returns whether the client may use the PKCE method `plain`. The policy must allow it, too.
    #[must_use]
    pub const fn may_use_plain_pkce(&self) -> bool {
        self.parts.legacy.plain_pkce
    }

    /// Returns whether the client may send token parameters in the query of the URL. The policy must allow it, too.
    #[must_use]
    pub const fn may_use_query(&self) -> bool {
        self.parts.legacy.token_parameters_in_query
    }
}
