//! [`ClientBuilder`]: builds a client in code.

use serde_json::Value;

use super::{
    AuthenticationMethod, Client, ClientCredential, ClientError, ClientParts, ClientType, Lifetimes, RedirectUri,
    RegisteredBy,
};
use crate::record::{ClientId, GrantType};
use crate::scope::Scope;

/// Collects the parts of a [`Client`]. [`build`](Self::build) reports the first value that is wrong or does not fit the
/// type of the client.
#[derive(Debug)]
#[must_use = "a client exists only when build() was called"]
pub struct ClientBuilder {
    parts: Result<ClientParts, ClientError>,
}

impl Client {
    /// Returns a builder for a client that can keep a secret, such as a web server or a machine. It needs at least one
    /// credential.
    pub fn confidential(id: impl AsRef<str>, credential: ClientCredential) -> ClientBuilder {
        ClientBuilder::new(id.as_ref(), ClientType::Confidential).credential(credential)
    }

    /// Returns a builder for a client that runs in a browser and can't keep a secret.
    pub fn public(id: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(id.as_ref(), ClientType::Public)
    }

    /// Returns a builder for a client that is installed on a user's device and can't keep a secret (RFC 8252).
    pub fn native(id: impl AsRef<str>) -> ClientBuilder {
        ClientBuilder::new(id.as_ref(), ClientType::Native)
    }
}

impl ClientBuilder {
    pub(super) fn new(id: &str, client_type: ClientType) -> Self {
        let id = ClientId::new(id).map_err(|_| ClientError::ClientId);
        // A client in code was written by the operator of the server.
        Self { parts: id.map(|id| ClientParts::new(id, client_type)) }.registered_by(RegisteredBy::Administrator)
    }

    /// Sets the name to show to users.
    pub fn name(self, name: impl Into<String>) -> Self {
        self.with(|parts| parts.client_name = Some(name.into()))
    }

    /// Sets the URL of the home page.
    pub fn client_uri(self, uri: impl Into<String>) -> Self {
        self.with(|parts| parts.client_uri = Some(uri.into()))
    }

    /// Sets the URL of the logo, see [`Client::logo`].
    pub fn logo_uri(self, uri: impl Into<String>) -> Self {
        self.with(|parts| parts.logo_uri = Some(uri.into()))
    }

    /// Sets the URL of the privacy policy.
    pub fn policy_uri(self, uri: impl Into<String>) -> Self {
        self.with(|parts| parts.policy_uri = Some(uri.into()))
    }

    /// Sets the URL of the terms of service.
    pub fn tos_uri(self, uri: impl Into<String>) -> Self {
        self.with(|parts| parts.tos_uri = Some(uri.into()))
    }

    /// Sets how to reach the people who are responsible for the client, usually by email addresses.
    pub fn contacts<C: Into<String>>(self, contacts: impl IntoIterator<Item = C>) -> Self {
        self.with(|parts| parts.contacts = contacts.into_iter().map(Into::into).collect())
    }

    /// Attaches data of the host app, see [`Client::host_data`].
    pub fn host_data(self, data: Value) -> Self {
        self.with(|parts| parts.host_data = data)
    }

    /// Sets who registered the client. Defaults to [`RegisteredBy::Administrator`], unlike in [`ClientParts`].
    pub fn registered_by(self, by: RegisteredBy) -> Self {
        self.with(|parts| parts.registered_by = by)
    }

    /// Allows the authorization code grant with these redirect URIs (RFC 6749 §4.1).
    pub fn authorization_code<U: AsRef<str>>(self, redirect_uris: impl IntoIterator<Item = U>) -> Self {
        self.redirect_uris(redirect_uris).grant(GrantType::AUTHORIZATION_CODE)
    }

    /// Allows the implicit grant (RFC 6749 §4.2) if the policy allows it, too. Not for native apps.
    pub fn implicit<U: AsRef<str>>(self, redirect_uris: impl IntoIterator<Item = U>) -> Self {
        self.redirect_uris(redirect_uris).grant(GrantType::IMPLICIT)
    }

    /// Allows the client credentials grant (RFC 6749 §4.4). For confidential clients.
    pub fn client_credentials(self) -> Self {
        self.grant(GrantType::CLIENT_CREDENTIALS)
    }

    /// Allows the refresh token grant (RFC 6749 §6). The client also needs a grant type that gives refresh tokens.
    /// [`Policy::refresh_tokens`](crate::Policy::refresh_tokens) determines when they are issued.
    pub fn refresh_token(self) -> Self {
        self.grant(GrantType::REFRESH_TOKEN)
    }

    /// Allows the password grant (RFC 6749 §4.3) if the policy allows it, too.
    pub fn password(self) -> Self {
        self.grant(GrantType::PASSWORD)
    }

    /// Allows an extension grant, named by an absolute URI (RFC 6749 §4.5).
    pub fn extension_grant(self, grant_type: impl AsRef<str>) -> Self {
        self.grant(grant_type.as_ref())
    }

    /// Sets the scope that users can consent to for the client, as a list separated by spaces. Without this and without
    /// [`all_offered_scopes`](Self::all_offered_scopes), it is the default scope of the server. See
    /// [`AllowedScope`](super::AllowedScope).
    pub fn scope(self, scope: impl AsRef<str>) -> Self {
        self.try_with(|parts| {
            parts.scope = Some(Scope::parse(scope.as_ref()).map_err(|_| ClientError::MalformedScope)?);
            Ok(())
        })
    }

    /// Lets users consent to all scopes that the server offers, including those that are declared later. For a client
    /// that no administrator registered, see [`AllowedScope::AllOffered`](super::AllowedScope::AllOffered).
    pub fn all_offered_scopes(self) -> Self {
        self.with(|parts| parts.all_offered_scopes = true)
    }

    /// Sets the scope that the client may get without a user, as a list separated by spaces. For the default, see
    /// [`Client::own_scope`].
    pub fn own_scope(self, scope: impl AsRef<str>) -> Self {
        self.try_with(|parts| {
            parts.own_scope = Some(Scope::parse(scope.as_ref()).map_err(|_| ClientError::MalformedScope)?);
            Ok(())
        })
    }

    /// Sets the scope that the client gets if it requests none, as a list separated by spaces. Defaults to the default
    /// scope of the server.
    pub fn default_scope(self, scope: impl AsRef<str>) -> Self {
        self.try_with(|parts| {
            parts.default_scope = Some(Scope::parse(scope.as_ref()).map_err(|_| ClientError::MalformedScope)?);
            Ok(())
        })
    }

    /// Changes lifetimes for this client.
    pub fn lifetimes(self, change: impl FnOnce(&mut Lifetimes)) -> Self {
        self.with(|parts| change(&mut parts.lifetimes))
    }

    /// Lets the client omit `redirect_uri` from the token request, as OAuth 2.1 clients do.
    pub fn omits_redirect_uri(self) -> Self {
        self.with(|parts| parts.omits_redirect_uri = true)
    }

    /// Allows `http://localhost` redirect URIs during development. Native apps may have them without this switch.
    pub fn localhost_for_development(self) -> Self {
        self.with(|parts| parts.localhost_for_development = true)
    }

    /// Allows redirect URIs with a scheme of [`Policy::undotted_schemes`](crate::Policy::undotted_schemes), such as
    /// `cursor://callback`. For native apps.
    pub fn undotted_schemes(self) -> Self {
        self.with(|parts| parts.undotted_schemes = true)
    }

    /// Adds a credential. For confidential clients.
    pub fn credential(self, credential: ClientCredential) -> Self {
        self.with(|parts| parts.credentials.push(credential))
    }

    /// Restricts the client to one authentication method. By default, a confidential client may use Basic and the body.
    pub fn token_endpoint_auth_method(self, method: AuthenticationMethod) -> Self {
        self.with(|parts| parts.token_endpoint_auth_method = Some(method))
    }

    /// Lets the client send a secret with a `%` or `+` in `Authorization: Basic` without form-encoding, as some client
    /// libraries do. See [`Client::may_send_raw_secret`]. For confidential clients.
    pub fn raw_basic_secret(self) -> Self {
        self.with(|parts| parts.raw_basic_secret = true)
    }

    /// Lets the client introspect every access token (RFC 7662 §4). Use it for the API that the tokens are for. Such a
    /// client needs no grant type. For confidential clients.
    pub fn resource_server(self) -> Self {
        self.with(|parts| parts.resource_server = true)
    }

    /// Sets the algorithm of signed introspection responses (RFC 9701 §6), see
    /// [`Client::introspection_signed_response_alg`].
    #[cfg(feature = "jwt")]
    pub fn introspection_signed_response_alg(self, algorithm: crate::jose::Algorithm) -> Self {
        self.with(|parts| parts.introspection_signed_response_alg = Some(algorithm))
    }

    /// Marks the client as a part of the service that the server belongs to, so that users are not asked for consent.
    /// See [`PendingAuthorization::interaction`](crate::PendingAuthorization::interaction). For clients that an
    /// administrator registered.
    pub fn first_party(self) -> Self {
        self.with(|parts| parts.first_party = true)
    }

    /// Lets the client request a code without PKCE if the policy allows it, too. For confidential clients.
    pub fn pkce_optional(self) -> Self {
        self.with(|parts| parts.legacy.pkce_optional = true)
    }

    /// Lets the client use the PKCE method `plain` if the policy allows it, too.
    pub fn plain_pkce(self) -> Self {
        self.with(|parts| parts.legacy.plain_pkce = true)
    }

    /// Lets the client send token parameters and credentials in the query of the URL if the policy allows it, too.
    pub fn token_parameters_in_query(self) -> Self {
        self.with(|parts| parts.legacy.token_parameters_in_query = true)
    }

    /// Checks all parts and returns the client.
    ///
    /// # Errors
    /// The first part that is wrong.
    pub fn build(self) -> Result<Client, ClientError> {
        let parts = self.parts?;
        parts.check_new()?;
        Client::from_parts(parts)
    }

    fn grant(self, grant_type: &str) -> Self {
        self.try_with(|parts| {
            parts.grant_types.insert(GrantType::new(grant_type).map_err(|_| ClientError::GrantType)?);
            Ok(())
        })
    }

    fn redirect_uris<U: AsRef<str>>(self, uris: impl IntoIterator<Item = U>) -> Self {
        uris.into_iter().fold(self, |builder, uri| {
            builder.try_with(|parts| {
                let uri = uri.as_ref();
                let parsed =
                    RedirectUri::parse(uri).map_err(|error| ClientError::RedirectUri { uri: uri.to_owned(), error })?;
                if !parts.redirect_uris.contains(&parsed) {
                    parts.redirect_uris.push(parsed);
                }
                Ok(())
            })
        })
    }

    pub(super) fn with(self, change: impl FnOnce(&mut ClientParts)) -> Self {
        self.try_with(|parts| {
            change(parts);
            Ok(())
        })
    }

    fn try_with(mut self, change: impl FnOnce(&mut ClientParts) -> Result<(), ClientError>) -> Self {
        self.parts = self.parts.and_then(|mut parts| change(&mut parts).map(|()| parts));
        self
    }
}
