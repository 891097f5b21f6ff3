//! The checks that every client passes.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::invisible::is_deceptive;
use super::{
    AuthenticationMethod, Client, ClientCredential, ClientParts, ClientType, Lifetimes, RedirectUri, RedirectUriClass,
    RedirectUriError, RegisteredBy,
};
use crate::record::GrantType;
use crate::scope::Scope;
use crate::web_url::WebUrl;

/// The legacy habits that are allowed for a client. A habit also needs the switch in
/// [`Dangerous`](crate::policy::Dangerous).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LegacyHabits {
    /// See [`Client::is_pkce_optional`]. For confidential clients only.
    pub pkce_optional: bool,
    /// See [`Client::may_use_plain_pkce`].
    pub plain_pkce: bool,
    /// See [`Client::may_use_query`].
    pub token_parameters_in_query: bool,
}

/// The reason why the parts of a client are not valid. Its text says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// A public client has credentials, or settings for them (RFC 6749 §2.1).
    #[error(
        "a public client must have no credentials, no raw_basic_secret and no authentication method other than \"none\": \
         remove them, or make the client confidential"
    )]
    PublicWithCredentials,
    /// A confidential client has no credential, or the authentication method `none` (RFC 6749 §2.3). A client that
    /// authenticates by `private_key_jwt` needs no credential.
    #[error(
        "a confidential client must have at least one credential or the authentication method \"private_key_jwt\", and \
         must not use the authentication method \"none\""
    )]
    ConfidentialWithoutCredentials,
    /// A client that must sign has no keys (RFC 7591 §2).
    #[cfg(feature = "jwt")]
    #[error("a client that signs must have keys: set jwks or jwks_uri")]
    NoKeys,
    /// The client has both `jwks` and `jwks_uri` (RFC 7591 §2).
    #[cfg(feature = "jwt")]
    #[error("a client must not have both jwks and jwks_uri: remove one of them")]
    TwoKeySources,
    /// The URL of the keys is not one that a server may fetch. `http` is allowed on the loopback interface.
    #[cfg(feature = "jwt")]
    #[error("the jwks_uri is not valid: {0}")]
    JwksUri(crate::error::UrlError),
    /// The client must sign with an algorithm for which it has no key.
    #[cfg(feature = "jwt")]
    #[error("no key of jwks is for the algorithm {0}: add a key, or register another algorithm")]
    NoKeyForAlgorithm(crate::jose::Algorithm),
    /// A client that is not confidential has the client credentials grant (RFC 6749 §4.4).
    #[error("the client credentials grant is for confidential clients only")]
    ClientCredentialsForPublic,
    /// A client with a redirect-based grant has no redirect URI (RFC 6749 §3.1.2.2, RFC 9700 §2.1).
    #[error("a client with the authorization code grant or the implicit grant must have a redirect URI: register one")]
    NoRedirectUri,
    /// The registration is too large.
    #[error("a client must have at most 100 redirect URIs, 32 grant types, and 4096 bytes in each list of scopes")]
    TooLarge,
    /// A native app has the implicit grant (RFC 8252 §8.2).
    #[error("a native app must not use the implicit grant: use the authorization code grant")]
    ImplicitForNative,
    /// A client that is not a native app has a redirect URI with a private-use scheme (RFC 8252 §7.1).
    #[error("the redirect URI {0} has a private-use scheme, which is for native apps only: use https")]
    NativeRedirectUri(RedirectUri),
    /// A client that is not a native app has a redirect URI on `http://localhost` (RFC 8252 §8.3).
    #[error(
        "the redirect URI {0} is on http://localhost, which is for native apps only: use https, or set \
         localhost_for_development during development"
    )]
    LocalhostRedirectUri(RedirectUri),
    /// A redirect URI has a private-use scheme that is not a reverse domain name, or that is followed by two slashes
    /// (RFC 8252 §7.1).
    #[error(
        "the redirect URI {0} has a private-use scheme without a dot or with two slashes: use a form such as \
         com.example.app:/callback, or set undotted_schemes for the client and list the scheme in the policy's \
         undotted_schemes"
    )]
    UndottedScheme(RedirectUri),
    /// A redirect URI is not valid.
    #[error("the redirect URI {uri:?} is not valid: {error}")]
    RedirectUri {
        /// The text of the redirect URI.
        uri: String,
        /// The problem.
        error: RedirectUriError,
    },
    /// The identifier is empty, too long or not printable ASCII.
    #[error("a client identifier must have 1 to 255 printable ASCII characters")]
    ClientId,
    /// The client has no grant type and is not a resource server.
    #[error("a client must have at least one grant type, or be a resource server")]
    NoGrantType,
    /// The client has the refresh token grant, but no grant type that gives refresh tokens (RFC 6749 §6).
    #[error(
        "the refresh token grant needs another grant type that gives refresh tokens: add authorization_code, password \
         or an extension grant"
    )]
    RefreshTokenAlone,
    /// A grant type is neither built in nor an absolute URI (RFC 6749 §4.5).
    #[error("the grant type is not valid: use a built-in grant type, or the absolute URI of an extension grant")]
    GrantType,
    /// A scope is malformed (RFC 6749 §3.3).
    #[error("the scope is malformed: use a list of scope tokens separated by spaces")]
    MalformedScope,
    /// The default scope contains a scope that the client may not request.
    #[error("the default scope must contain only scopes from scope and own_scope")]
    DefaultScopeExceedsScope,
    /// The client has both a list of scopes and all offered scopes.
    #[error("a client must not have both scope and all_offered_scopes: remove one of them")]
    ScopeAndAllOffered,
    /// A client that is not confidential may omit PKCE (RFC 9700 §2.1.1).
    #[error("only a confidential client may omit PKCE: turn off pkce_optional")]
    PkceOptionalForPublic,
    /// A resource server is not a confidential client (RFC 7662 §2.1).
    #[error("a resource server must be a confidential client")]
    PublicResourceServer,
    /// A client that no administrator registered is marked as a first-party client.
    #[error("only an administrator can register a first-party client")]
    FirstPartySelfService,
    /// The name is empty, too long, or has control, invisible or text-direction characters.
    #[error("client_name must have 1 to 200 characters, without control, invisible and text-direction characters")]
    ClientName,
    /// The member with this name is not an `http` or `https` URL in an unambiguous form.
    #[error(
        "{0} must be an http or https URL of at most 2048 bytes, without user name, password, spaces and invisible \
         characters"
    )]
    WebUri(&'static str),
    /// There are too many contacts, or one is empty, too long, or has control, invisible or text-direction characters.
    #[error(
        "contacts must be at most 10 texts of 1 to 320 characters, without control, invisible and text-direction \
         characters"
    )]
    Contacts,
    /// The data of the host app is too large. It is read with each request.
    #[error("host_data must have at most 16384 bytes as JSON and be nested at most 32 deep")]
    HostData,
    /// A lifetime is out of its range.
    #[error("lifetimes must be whole seconds: at least 1, at most 600 for code, and 0 to 60 for refresh_grace")]
    Lifetime,
}

impl ClientParts {
    /// Adds a credential for a rotation with overlap. All other credentials expire at `others_end`, unless they expire
    /// before.
    pub fn rotate_credential(&mut self, new: ClientCredential, others_end: OffsetDateTime) {
        for old in &mut self.credentials {
            if old.expires_at().is_none_or(|end| end > others_end) {
                *old = old.clone().expiring(others_end);
            }
        }
        self.credentials.push(new);
    }

    /// Refuses a new client that has the refresh token grant, but no grant type that gives refresh tokens. An existing
    /// client may lose its other grant types and continue with its tokens.
    pub(super) fn check_new(&self) -> Result<(), ClientError> {
        let gives_no_refresh_token = |name: &GrantType| {
            matches!(name.as_str(), GrantType::REFRESH_TOKEN | GrantType::CLIENT_CREDENTIALS | GrantType::IMPLICIT)
        };
        if self.grant_types.contains(GrantType::REFRESH_TOKEN) && self.grant_types.iter().all(gives_no_refresh_token) {
            return Err(ClientError::RefreshTokenAlone);
        }
        Ok(())
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        self.check_type()?;
        #[cfg(feature = "jwt")]
        self.check_keys()?;
        self.check_grant_types()?;
        self.check_size()?;
        self.check_redirect_uris()?;
        self.check_display()?;
        self.check_host_data()?;
        self.check_lifetimes()?;
        if self.first_party && self.registered_by != RegisteredBy::Administrator {
            return Err(ClientError::FirstPartySelfService);
        }
        self.check_scope()
    }

    fn check_scope(&self) -> Result<(), ClientError> {
        let (Some(scope), own) = (&self.scope, &self.own_scope) else { return Ok(()) };
        if self.all_offered_scopes {
            return Err(ClientError::ScopeAndAllOffered);
        }
        let either = own.as_ref().map_or_else(|| scope.clone(), |own| scope.union(own));
        let fits = self.default_scope.as_ref().is_none_or(|default| default.is_subset(&either));
        if fits { Ok(()) } else { Err(ClientError::DefaultScopeExceedsScope) }
    }

    fn check_type(&self) -> Result<(), ClientError> {
        let names_none = self.token_endpoint_auth_method == Some(AuthenticationMethod::None);
        if self.client_type == ClientType::Confidential {
            let signs = self.token_endpoint_auth_method == Some(AuthenticationMethod::PrivateKeyJwt);
            if self.credentials.is_empty() && !signs || names_none {
                return Err(ClientError::ConfidentialWithoutCredentials);
            }
            return Ok(());
        }
        if !self.credentials.is_empty()
            || self.raw_basic_secret
            || self.token_endpoint_auth_method.is_some() && !names_none
        {
            return Err(ClientError::PublicWithCredentials);
        }
        if self.resource_server {
            return Err(ClientError::PublicResourceServer);
        }
        if self.legacy.pkce_optional {
            return Err(ClientError::PkceOptionalForPublic);
        }
        Ok(())
    }

    fn check_grant_types(&self) -> Result<(), ClientError> {
        let uses = |name| self.grant_types.contains(name);
        if self.grant_types.is_empty() && !self.resource_server {
            return Err(ClientError::NoGrantType);
        }
        if uses(GrantType::CLIENT_CREDENTIALS) && self.client_type != ClientType::Confidential {
            return Err(ClientError::ClientCredentialsForPublic);
        }
        if uses(GrantType::IMPLICIT) && self.client_type == ClientType::Native {
            return Err(ClientError::ImplicitForNative);
        }
        if self.redirect_uris.is_empty() && (uses(GrantType::AUTHORIZATION_CODE) || uses(GrantType::IMPLICIT)) {
            return Err(ClientError::NoRedirectUri);
        }
        Ok(())
    }

    /// Limits the size of a registration, because it is read with each request.
    fn check_size(&self) -> Result<(), ClientError> {
        let is_long = |scope: &Option<Scope>| scope.as_ref().is_some_and(|scope| scope.as_str().len() > 4_096);
        let is_large = self.redirect_uris.len() > 100
            || self.grant_types.len() > 32
            || [&self.scope, &self.own_scope, &self.default_scope].into_iter().any(is_long);
        if is_large { Err(ClientError::TooLarge) } else { Ok(()) }
    }

    fn check_redirect_uris(&self) -> Result<(), ClientError> {
        let is_native = self.client_type == ClientType::Native;
        for uri in &self.redirect_uris {
            let error = match uri.class() {
                RedirectUriClass::PrivateUse | RedirectUriClass::UndottedScheme if !is_native => {
                    ClientError::NativeRedirectUri
                }
                RedirectUriClass::UndottedScheme if !self.undotted_schemes => ClientError::UndottedScheme,
                RedirectUriClass::Localhost if !is_native && !self.localhost_for_development => {
                    ClientError::LocalhostRedirectUri
                }
                _ => continue,
            };
            return Err(error(uri.clone()));
        }
        Ok(())
    }

    fn check_display(&self) -> Result<(), ClientError> {
        let is_text = |text: &String, longest: usize| {
            !text.trim().is_empty() && text.chars().count() <= longest && !text.chars().any(is_deceptive)
        };
        if self.client_name.as_ref().is_some_and(|name| !is_text(name, 200)) {
            return Err(ClientError::ClientName);
        }
        let uris = [
            ("client_uri", &self.client_uri),
            ("logo_uri", &self.logo_uri),
            ("policy_uri", &self.policy_uri),
            ("tos_uri", &self.tos_uri),
        ];
        for (member, uri) in uris {
            if uri.as_ref().is_some_and(|uri| !is_web_page(uri)) {
                return Err(ClientError::WebUri(member));
            }
        }
        if self.contacts.len() > 10 || !self.contacts.iter().all(|contact| is_text(contact, 320)) {
            return Err(ClientError::Contacts);
        }
        Ok(())
    }

    fn check_host_data(&self) -> Result<(), ClientError> {
        // Check the nesting first: serialization of a deeply nested value could overflow the stack.
        let fits = is_nested_at_most(&self.host_data, 32)
            && (self.host_data.is_null() || self.host_data.to_string().len() <= 16_384);
        if fits { Ok(()) } else { Err(ClientError::HostData) }
    }

    fn check_lifetimes(&self) -> Result<(), ClientError> {
        let Lifetimes { code, access_token, refresh_token_idle, refresh_token_absolute, refresh_grace } =
            self.lifetimes;
        let positive = [code, access_token, refresh_token_idle, refresh_token_absolute];
        let fraction = |lifetime: Duration| lifetime.subsec_nanoseconds() != 0;
        if positive.into_iter().flatten().any(|lifetime| lifetime < Duration::SECOND || fraction(lifetime))
            || refresh_grace.is_some_and(fraction)
            || code.is_some_and(|lifetime| lifetime > Duration::minutes(10))
            || refresh_grace.is_some_and(|grace| grace.is_negative() || grace > Duration::MINUTE)
        {
            return Err(ClientError::Lifetime);
        }
        Ok(())
    }
}

/// Returns whether a text is an absolute URL that is safe to display and to link. (A browser reads `https:logout` as a
/// relative URL on the server that shows it.)
fn is_web_page(text: &str) -> bool {
    text.len() <= 2048 && !text.chars().any(|c| c.is_whitespace() || is_deceptive(c)) && WebUrl::parse(text).is_ok()
}

/// Returns whether objects and arrays are nested at most `depth` deep.
fn is_nested_at_most(value: &Value, depth: usize) -> bool {
    let inner = |value: &Value| depth > 0 && is_nested_at_most(value, depth - 1);
    match value {
        Value::Array(values) => depth > 0 && values.iter().all(inner),
        Value::Object(members) => depth > 0 && members.values().all(inner),
        _ => true,
    }
}

impl TryFrom<ClientParts> for Client {
    type Error = ClientError;
    fn try_from(parts: ClientParts) -> Result<Self, ClientError> {
        Self::from_parts(parts)
    }
}

impl From<Client> for ClientParts {
    fn from(client: Client) -> Self {
        client.into_parts()
    }
}
