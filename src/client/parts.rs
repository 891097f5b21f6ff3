//! A client as it is stored, and the one set of checks that every client passes.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;
use time::{Duration, OffsetDateTime};

use super::{
    AuthenticationMethod, Client, ClientCredential, ClientType, Lifetimes, RedirectUri, RedirectUriClass,
    RedirectUriError, RegisteredBy,
};
use crate::details::UnknownMembers;
use crate::record::{ClientId, GrantType};
use crate::scope::Scope;
use crate::web_url::WebUrl;

/// The members of a [`Client`], open for reading and writing; [`Client::from_parts`] checks them.
///
/// In JSON, members that are left out take their defaults and unknown ones are refused: this is what a person writes into a file. What
/// a storage has kept, perhaps from a newer version, is read by [`from_stored`](Self::from_stored).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ClientParts {
    /// See [`Client::id`].
    pub client_id: ClientId,
    /// See [`Client::client_type`].
    pub client_type: ClientType,
    /// See [`Client::name`].
    #[serde(default)]
    pub name: Option<String>,
    /// See [`Client::website`].
    #[serde(default)]
    pub website: Option<String>,
    /// See [`Client::registered_by`].
    #[serde(default)]
    pub registered_by: RegisteredBy,
    /// See [`Client::redirect_uris`].
    #[serde(default)]
    pub redirect_uris: Vec<RedirectUri>,
    /// See [`Client::grant_types`].
    #[serde(default)]
    pub grant_types: BTreeSet<GrantType>,
    /// See [`Client::scope`].
    #[serde(default)]
    pub scope: Option<Scope>,
    /// See [`Client::default_scope`].
    #[serde(default)]
    pub default_scope: Option<Scope>,
    /// See [`Client::lifetimes`].
    #[serde(default)]
    pub lifetimes: Lifetimes,
    /// See [`Client::credentials`].
    #[serde(default)]
    pub credentials: Vec<ClientCredential>,
    /// See [`Client::allows_authentication_method`].
    #[serde(default)]
    pub authentication_methods: BTreeSet<AuthenticationMethod>,
    /// See [`Client::may_omit_redirect_uri`].
    #[serde(default)]
    pub omits_redirect_uri: bool,
    /// See [`Client::is_resource_server`].
    #[serde(default)]
    pub resource_server: bool,
    /// See [`Client::is_first_party`].
    #[serde(default)]
    pub first_party: bool,
    /// Legacy habits this client may keep, each only where the policy allows it too.
    #[serde(default)]
    pub legacy: LegacyHabits,
    #[serde(skip)]
    pub(super) unknown: UnknownMembers,
}

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
    /// RFC 8252 §8.2.
    #[error("native apps do not use the implicit grant")]
    ImplicitForNative,
    /// RFC 8252 §7.1 and §8.3.
    #[error("private-use schemes and localhost are for native apps only: {0}")]
    NativeRedirectUri(RedirectUri),
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
    /// RFC 6749 §4.5.
    #[error("an extension grant is named by an absolute URI")]
    GrantType,
    /// RFC 6749 §3.3.
    #[error("the scope is malformed")]
    MalformedScope,
    /// It would get by default what it may not ask for.
    #[error("the default scope is a part of the scope")]
    DefaultScopeExceedsScope,
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
    #[error("a name has 1 to 200 characters, none of them a control, invisible or text-direction character")]
    Name,
    /// The website is not an http or https URL, or not written as one that looks and leads the same everywhere.
    #[error("a website is an http or https URL without user name, password, spaces and invisible characters")]
    Website,
    /// A lifetime is out of its range.
    #[error(
        "lifetimes are whole seconds, at least one, a code's at most ten minutes, the grace window 0 to 60 seconds"
    )]
    Lifetime,
}

impl ClientParts {
    /// The parts of a client with nothing but an identifier and a type.
    #[must_use]
    pub fn new(client_id: ClientId, client_type: ClientType) -> Self {
        Self {
            client_id,
            client_type,
            name: None,
            website: None,
            registered_by: RegisteredBy::default(),
            redirect_uris: Vec::new(),
            grant_types: BTreeSet::new(),
            scope: None,
            default_scope: None,
            lifetimes: Lifetimes::default(),
            credentials: Vec::new(),
            authentication_methods: BTreeSet::new(),
            omits_redirect_uri: false,
            resource_server: false,
            first_party: false,
            legacy: LegacyHabits::default(),
            unknown: UnknownMembers::default(),
        }
    }

    const KNOWN: [&'static str; 16] = [
        "client_id",
        "client_type",
        "name",
        "website",
        "registered_by",
        "redirect_uris",
        "grant_types",
        "scope",
        "default_scope",
        "lifetimes",
        "credentials",
        "authentication_methods",
        "omits_redirect_uri",
        "resource_server",
        "first_party",
        "legacy",
    ];

    /// Reads what a storage has kept as JSON, perhaps written by a newer version: members that this one does not know are kept as they
    /// are. If one of them is critical, the client can't be used here, see [`unenforced_member`](Self::unenforced_member).
    ///
    /// # Errors
    /// The text is no JSON object, or a member has a value that this version can't read.
    pub fn from_stored(json: &str) -> Result<Self, serde_json::Error> {
        let mut unknown = UnknownMembers::new(serde_json::from_str(json)?);
        let known = Value::Object(unknown.take_all(&Self::KNOWN));
        Ok(Self { unknown, ..Self::deserialize(known)? })
    }

    /// Returns the names of members that this version does not know, and of a critical one that is missing. A client that has some is
    /// not to be changed here: what they mean for the change is unknown.
    pub fn unknown_members(&self) -> impl Iterator<Item = &str> {
        let is_missing = |name: &&str| self.unknown.names().all(|own| own != *name);
        self.unknown.names().chain(self.unenforced_member().filter(is_missing))
    }

    /// Returns the first critical member that this version does not enforce. While there is one, the client gets no tokens.
    #[must_use]
    pub fn unenforced_member(&self) -> Option<&str> {
        self.unknown.first_critical(&Self::KNOWN)
    }

    /// Adds a credential and lets all others end at `others_end`, unless they end before that: rotation with overlap.
    pub fn rotate_credential(&mut self, new: ClientCredential, others_end: OffsetDateTime) {
        for old in &mut self.credentials {
            if old.expires_at().is_none_or(|end| end > others_end) {
                *old = old.clone().expiring(others_end);
            }
        }
        self.credentials.push(new);
    }

    pub(super) fn check(&self) -> Result<(), ClientError> {
        self.check_type()?;
        self.check_grant_types()?;
        self.check_redirect_uris()?;
        self.check_display()?;
        self.check_lifetimes()?;
        if self.first_party && self.registered_by != RegisteredBy::Administrator {
            return Err(ClientError::FirstPartySelfService);
        }
        match (&self.scope, &self.default_scope) {
            (Some(scope), Some(default)) if !default.is_subset(scope) => Err(ClientError::DefaultScopeExceedsScope),
            _ => Ok(()),
        }
    }

    fn check_type(&self) -> Result<(), ClientError> {
        let names_none = self.authentication_methods.contains(&AuthenticationMethod::None);
        if self.client_type == ClientType::Confidential {
            if self.credentials.is_empty() || names_none {
                return Err(ClientError::ConfidentialWithoutCredentials);
            }
            return Ok(());
        }
        if !self.credentials.is_empty() || self.authentication_methods.len() > usize::from(names_none) {
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

    fn check_redirect_uris(&self) -> Result<(), ClientError> {
        let native_only =
            |uri: &&RedirectUri| matches!(uri.class(), RedirectUriClass::PrivateUse | RedirectUriClass::Localhost);
        match self.redirect_uris.iter().find(native_only) {
            Some(uri) if self.client_type != ClientType::Native => Err(ClientError::NativeRedirectUri(uri.clone())),
            _ => Ok(()),
        }
    }

    fn check_display(&self) -> Result<(), ClientError> {
        let is_name =
            |name: &String| !name.trim().is_empty() && name.chars().count() <= 200 && !name.chars().any(is_deceptive);
        if self.name.as_ref().is_some_and(|name| !is_name(name)) {
            return Err(ClientError::Name);
        }
        if self.website.as_ref().is_some_and(|website| !is_website(website)) {
            return Err(ClientError::Website);
        }
        Ok(())
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
fn is_website(text: &str) -> bool {
    text.len() <= 2048 && !text.chars().any(|c| c.is_whitespace() || is_deceptive(c)) && WebUrl::parse(text).is_ok()
}

/// Characters that are not seen, or that turn the direction of text: with them a name could be blank, look like another
/// one, or rewrite the consent page around it.
fn is_deceptive(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{2800}' | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

/// What of [`ClientParts`] is written, and the members that were unknown when they were read.
#[derive(Serialize)]
struct Members<'a> {
    client_id: &'a ClientId,
    client_type: &'a ClientType,
    name: &'a Option<String>,
    website: &'a Option<String>,
    registered_by: &'a RegisteredBy,
    redirect_uris: &'a Vec<RedirectUri>,
    grant_types: &'a BTreeSet<GrantType>,
    scope: &'a Option<Scope>,
    default_scope: &'a Option<Scope>,
    lifetimes: &'a Lifetimes,
    credentials: &'a Vec<ClientCredential>,
    authentication_methods: &'a BTreeSet<AuthenticationMethod>,
    omits_redirect_uri: &'a bool,
    resource_server: &'a bool,
    first_party: &'a bool,
    legacy: &'a LegacyHabits,
    #[serde(flatten)]
    unknown: &'a UnknownMembers,
}

impl Serialize for ClientParts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self {
            client_id,
            client_type,
            name,
            website,
            registered_by,
            redirect_uris,
            grant_types,
            scope,
            default_scope,
            lifetimes,
            credentials,
            authentication_methods,
            omits_redirect_uri,
            resource_server,
            first_party,
            legacy,
            unknown,
        } = self;
        let members = Members {
            client_id,
            client_type,
            name,
            website,
            registered_by,
            redirect_uris,
            grant_types,
            scope,
            default_scope,
            lifetimes,
            credentials,
            authentication_methods,
            omits_redirect_uri,
            resource_server,
            first_party,
            legacy,
            unknown,
        };
        members.serialize(serializer)
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn stored_client_keeps_unknown_members() {
        let parts = ClientParts::new(ClientId::new("app").unwrap(), ClientType::Public);
        let mut stored = serde_json::to_value(&parts).unwrap();
        let names: Vec<_> = stored.as_object().unwrap().keys().cloned().collect();
        assert_eq!(names.iter().map(String::as_str).collect::<BTreeSet<_>>(), BTreeSet::from(ClientParts::KNOWN));
        stored["dpop_bound"] = json!(true);
        stored["logo"] = json!({ "url": null });
        stored["crit"] = json!(["dpop_bound", "client_type"]);
        assert!(serde_json::from_value::<ClientParts>(stored.clone()).is_err(), "a person may have mistyped a name");
        let read = ClientParts::from_stored(&stored.to_string()).unwrap();
        assert_eq!(read.unenforced_member(), Some("dpop_bound"));
        assert_eq!(read.unknown_members().collect::<BTreeSet<_>>(), BTreeSet::from(["dpop_bound", "logo"]));
        assert_eq!(serde_json::to_value(&read).unwrap(), stored);
        assert!(!format!("{read:?}").contains("url"));
        stored["client_type"] = json!("robot");
        assert!(ClientParts::from_stored(&stored.to_string()).unwrap_err().is_data());
    }
}
