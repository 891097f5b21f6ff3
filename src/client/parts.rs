//! The one set of checks that every client passes.

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

/// The client's half of the switches in [`Dangerous`](crate::policy::Dangerous).
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

/// Why a client makes no sense.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// RFC 6749 §2.1.
    #[error("a public client has no credentials and no authentication method but none")]
    PublicWithCredentials,
    /// RFC 6749 §2.3.
    #[error("a confidential client has at least one credential and does not use the method none")]
    ConfidentialWithoutCredentials,
    /// RFC 6749 §4.4.
    #[error("the client credentials grant is for confidential clients only")]
    ClientCredentialsForPublic,
    /// RFC 6749 §3.1.2.2, RFC 9700 §2.1.
    #[error("a client that uses a redirect-based grant registers a redirect URI")]
    NoRedirectUri,
    /// More than a client that works needs.
    #[error("a client has at most 100 redirect URIs, 32 grant types, and 4,096 bytes in a list of scopes")]
    TooLarge,
    /// RFC 8252 §8.2.
    #[error("native apps do not use the implicit grant")]
    ImplicitForNative,
    /// RFC 8252 §7.1.
    #[error("private-use schemes are for native apps only: {0}")]
    NativeRedirectUri(RedirectUri),
    /// RFC 8252 §8.3.
    #[error(
        "http://localhost is for native apps only, and for other clients in development with the switch \
         localhost_for_development: {0}"
    )]
    LocalhostRedirectUri(RedirectUri),
    /// RFC 8252 §7.1: the scheme is not a reverse domain name, or two slashes follow it.
    #[error(
        "a private-use scheme without a dot, or with two slashes, needs the client's switch undotted_schemes, and its name in \
         the policy's undotted_schemes: {0}"
    )]
    UndottedScheme(RedirectUri),
    /// The text is not fit to be a redirect URI.
    #[error("{uri:?}: {error}")]
    RedirectUri {
        /// What was given.
        uri: String,
        /// What is wrong with it.
        error: RedirectUriError,
    },
    /// The identifier is empty, too long or not printable ASCII.
    #[error("a client identifier has 1 to 255 printable ASCII characters")]
    ClientId,
    /// A client that may use no grant at all, and is no resource server either.
    #[error("a client may use at least one grant type, or is a resource server")]
    NoGrantType,
    /// RFC 6749 §6: the client has no way to get a refresh token.
    #[error(
        "the refresh token grant needs a grant type that gives refresh tokens: authorization_code, password or an \
         extension grant"
    )]
    RefreshTokenAlone,
    /// RFC 6749 §4.5.
    #[error("an extension grant is named by an absolute URI")]
    GrantType,
    /// RFC 6749 §3.3.
    #[error("the scope is malformed")]
    MalformedScope,
    /// It would get by default what it may not ask for.
    #[error("the default scope is a part of the scope, or of the scope on its own authority")]
    DefaultScopeExceedsScope,
    /// The list of its scopes would say nothing.
    #[error(
        "a client has a list of scopes or all that the server offers, not both: leave out scope or all_offered_scopes"
    )]
    ScopeAndAllOffered,
    /// RFC 9700 §2.1.1.
    #[error("only a confidential client may go without PKCE")]
    PkceOptionalForPublic,
    /// RFC 7662 §2.1.
    #[error("a resource server authenticates, so it is a confidential client")]
    PublicResourceServer,
    /// Its own registration would spare it the user's consent.
    #[error("only an administrator can register a first-party client")]
    FirstPartySelfService,
    /// The name is empty, too long, or has control, invisible or text-direction characters.
    #[error("a client_name has 1 to 200 characters, none of them a control, invisible or text-direction character")]
    ClientName,
    /// The member with this name is not an http or https URL, or not written as one that looks and leads the same everywhere.
    #[error("a {0} is an http or https URL without user name, password, spaces and invisible characters")]
    WebUri(&'static str),
    /// There are too many contacts, or one is empty, too long, or has control, invisible or text-direction characters.
    #[error(
        "contacts are up to 10 texts of 1 to 320 characters, none of them a control, invisible or text-direction character"
    )]
    Contacts,
    /// The host's data is too large to be read with each request.
    #[error("host_data has at most 16384 bytes as JSON, nested at most 32 deep")]
    HostData,
    /// A lifetime is out of its range.
    #[error(
        "lifetimes are whole seconds, at least one, a code's at most ten minutes, the grace window 0 to 60 seconds"
    )]
    Lifetime,
}

impl ClientParts {
    /// Adds a credential and lets all others end at `others_end`, unless they end before that: rotation with overlap.
    pub fn rotate_credential(&mut self, new: ClientCredential, others_end: OffsetDateTime) {
        for old in &mut self.credentials {
            if old.expires_at().is_none_or(|end| end > others_end) {
                *old = old.clone().expiring(others_end);
            }
        }
        self.credentials.push(new);
    }

    /// Refuses a refresh token grant without a way to get a refresh token. Only a new client is refused for that: an existing one may
    /// lose its other grant types and go on with the tokens that it has.
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
            if self.credentials.is_empty() || names_none {
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

    /// A client is read with each request, so it is small whoever has registered it.
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
        // The nesting comes first, because to write a value takes as much of the stack as it is deep.
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

/// An absolute URL that is shown as it is, and that a browser follows to where it seems to lead. (`https:logout` would lead to a
/// page of the server that shows it.)
fn is_web_page(text: &str) -> bool {
    text.len() <= 2048 && !text.chars().any(|c| c.is_whitespace() || is_deceptive(c)) && WebUrl::parse(text).is_ok()
}

/// Whether a value has at most `depth` objects and arrays around each other.
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
