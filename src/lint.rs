//! Findings about a server and its clients: [`AuthorizationServer::lint`](crate::AuthorizationServer::lint) and
//! [`AuthorizationServer::lint_clients`](crate::AuthorizationServer::lint_clients).
//!
//! A finding is not an error. Show the findings to the operator when the server starts.
//! ```
//! use grantor::{AuthorizationServer, Client, ClientRegistry, MemoryStorage};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let storage = MemoryStorage::new();
//! let app = Client::public("app").authorization_code(["https://app.example/cb"]).scope("mail:read mail:send").build()?;
//! storage.register(app).await?;
//! let oauth = AuthorizationServer::builder("https://id.example.com")
//!     .storage(storage.clone())
//!     .scope("mail:read", "Read your mail")
//!     .server_key(b"32 random bytes from your config", &[])
//!     .build()
//!     .await?;
//!
//! for finding in oauth.lint() {
//!     eprintln!("warning: {finding}");
//! }
//! let mut findings = Vec::new();
//! oauth.lint_clients(&storage, |client, finding| findings.push(format!("the client {}: {finding}", client.id()))).await?;
//! assert_eq!(
//!     findings,
//!     ["the client app: the scope \"mail:send\" is not offered by the server: declare it, or remove it from the client"]
//! );
//! # Ok(())
//! # }
//! ```

use std::sync::Arc;

use time::OffsetDateTime;

use crate::client::{AuthenticationMethod, Client, ClientWarning, RedirectUri};
#[cfg(feature = "jwt")]
use crate::client_signatures::ClientSignatures;
#[cfg(feature = "jwt")]
use crate::jose::Algorithm;
use crate::policy::{Dangerous, RefreshTokens};
use crate::record::GrantType;
use crate::resource::DeclaredResource;
use crate::scope::Scope;
use crate::server_context::ServerContext;

/// A finding about a server. Its `Display` text is a sentence for the operator.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Lint {
    /// The server has no server key, so each process uses random keys.
    #[error(
        "the server key is missing, so consent forms and logins in progress fail after a restart and between nodes: \
         set server_key to the same secret on every node"
    )]
    NoServerKey,
    /// A switch of [`Dangerous`] is on. The value is the name of its field.
    #[error("the dangerous switch {0} is on: turn it off when no client needs it any more")]
    DangerousSwitch(&'static str),
}

/// A finding about a client: a part of its registration that the server does not support, or a probable mistake. Its
/// `Display` text is a sentence for the operator, without the identifier of the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ClientLint {
    /// The client is registered for scopes that the server does not offer.
    #[error("the scope {:?} is not offered by the server: declare it, or remove it from the client", .0.as_str())]
    ScopeNotOffered(Scope),
    /// The client has a grant type with a user, but no scope that a user could consent to.
    #[error("users can't consent to any scope for the client: give the client a scope that the server offers")]
    NoScopeForUsers,
    /// The client has the client credentials grant, but can get no scope without a user.
    #[error("the client can't get any scope without a user: give the client an own_scope that the server offers")]
    NoOwnScope,
    /// The client has a grant type that the server does not support, or whose endpoint the server does not have. For
    /// the implicit grant this means that the response type `token` is off.
    #[error("the grant type {0} is not supported by the server: turn it on, or remove it from the client")]
    GrantTypeNotServed(GrantType),
    /// The client has the refresh token grant, but the policy issues a refresh token only with a scope that the client
    /// can't have.
    #[error("the client can't get a refresh token without the scope offline_access: add it to the scope of the client")]
    RefreshTokenNeverIssued,
    /// The client has a redirect URI of a class that the policy does not allow.
    #[error("the redirect URI {0} is not allowed by the policy: allow its class, or replace the URI")]
    RedirectUriNotAllowed(RedirectUri),
    /// A switch of [`LegacyHabits`](crate::client::LegacyHabits) is on, but the policy does not allow it. The value is
    /// the name of its field.
    #[error("the switch {0} of the client is not allowed by the policy: allow it, or turn it off")]
    SwitchNotAllowed(&'static str),
    /// All credentials of the client have expired.
    #[error("the credentials of the client have all expired: rotate them, or remove the client")]
    CredentialsExpired,
    /// The client is a resource server, but the server has no introspection endpoint.
    #[error(
        "the client is a resource server, but the server has no introspection endpoint: set its URL, or turn off \
         resource_server"
    )]
    IntrospectionNotServed,
    /// The server has no key for the client's
    /// [`introspection_signed_response_alg`](crate::client::Client::introspection_signed_response_alg).
    #[cfg(feature = "jwt")]
    #[error(
        "the introspection_signed_response_alg {0} of the client has no key on the server: add a key, or change the \
         member"
    )]
    IntrospectionAlgorithmNotServed(Algorithm),
    /// The client authenticates by a method that the server does not accept, so it can't authenticate.
    #[error(
        "the authentication method {} of the client is not accepted by the server: set client_signatures, or register \
         another method", .0.as_str()
    )]
    AuthenticationMethodNotServed(AuthenticationMethod),
    /// The client authenticates by a key, but its registered algorithm or all its keys are for algorithms that the
    /// server does not accept.
    #[cfg(feature = "jwt")]
    #[error(
        "the client can't authenticate, because the server does not accept the algorithm of its keys or its \
         token_endpoint_auth_signing_alg: accept the algorithm, or change the client"
    )]
    AuthenticationAlgorithmNotServed,
    /// The keys of the client are at a `jwks_uri`, but the server has no HTTP client to fetch them.
    #[cfg(feature = "jwt")]
    #[error("the jwks_uri of the client can't be fetched: set http_client, or replace jwks_uri by jwks")]
    NoHttpClient,
    /// The policy does not allow the `jwks_uri` of the client.
    #[cfg(feature = "jwt")]
    #[error("the jwks_uri of the client is not allowed by the policy: {0}")]
    JwksUriNotAllowed(crate::error::UrlError),
    /// Every request of the client must be a [signed request
    /// object](crate::client::Client::requires_signed_request_object), but the server accepts none.
    #[cfg(feature = "jwt")]
    #[error(
        "the client must send signed request objects, but the server accepts none: accept them with client_signatures, \
         or turn off require_signed_request_object"
    )]
    RequestObjectsNotAccepted,
    /// The policy demands signed request objects, but the client has no keys.
    #[cfg(feature = "jwt")]
    #[error("the policy demands signed request objects, but the client has no keys: register its public keys")]
    NoKeysForRequestObjects,
    /// The client has a [`request_object_signing_alg`](crate::client::Client::request_object_signing_alg) or must sign
    /// its authorization requests, but its algorithm or all its keys are for algorithms that the server does not accept.
    #[cfg(feature = "jwt")]
    #[error(
        "the client can't sign authorization requests, because the server does not accept the algorithm of its keys or \
         its request_object_signing_alg: accept the algorithm, or change the client"
    )]
    RequestObjectAlgorithmNotAccepted,
    /// The client is a resource server, but no resource of the server names it in
    /// [`introspected_by`](crate::ProtectedResource::introspected_by).
    #[error(
        "the client is a resource server, but may introspect the tokens of no resource: name it in introspected_by of \
         its resource"
    )]
    NoResourceToIntrospect,
    /// The client has a [critical member](crate::client::ClientParts::unenforced_member) that this version does not
    /// enforce.
    #[error(
        "the member {0:?} of the client is not enforced by this version, so the client gets no tokens: upgrade this \
         node"
    )]
    MemberNotEnforced(Box<str>),
    /// The registration has a probable mistake, see [`Client::warnings`].
    #[error("{0}")]
    Warning(ClientWarning),
}

/// The grant types and endpoints of a server.
pub(crate) struct Served<'a> {
    /// The grant types of the token endpoint.
    pub(crate) grant_types: Vec<&'a GrantType>,
    pub(crate) authorization: bool,
    pub(crate) introspection: bool,
}

impl Served<'_> {
    fn grants(&self, server: &ServerContext, grant_type: &GrantType) -> bool {
        match grant_type.as_str() {
            GrantType::IMPLICIT => self.authorization && server.policy.allowed_dangers().allow_implicit_grant,
            _ => self.grant_types.contains(&grant_type),
        }
    }
}

/// Returns the findings about a server. Without an authorization endpoint, the server key is not needed.
pub(crate) fn of_server(server: &ServerContext, has_server_key: bool, endpoints: &Served<'_>) -> Vec<Lint> {
    let no_key = (!has_server_key && endpoints.authorization).then_some(Lint::NoServerKey);
    let switches = switches(*server.policy.allowed_dangers());
    let on = switches.into_iter().filter(|(_, is_on)| *is_on).map(|(name, _)| Lint::DangerousSwitch(name));
    no_key.into_iter().chain(on).collect()
}

fn switches(dangers: Dangerous) -> [(&'static str, bool); 6] {
    let Dangerous {
        allow_implicit_grant,
        allow_password_grant,
        allow_plain_pkce,
        pkce_optional,
        allow_token_parameters_in_query,
        allow_out_of_band_redirect,
    } = dangers;
    [
        ("allow_implicit_grant", allow_implicit_grant),
        ("allow_password_grant", allow_password_grant),
        ("allow_plain_pkce", allow_plain_pkce),
        ("pkce_optional", pkce_optional),
        ("allow_token_parameters_in_query", allow_token_parameters_in_query),
        ("allow_out_of_band_redirect", allow_out_of_band_redirect),
    ]
}

/// Returns the findings about a client.
pub(crate) fn of_client(
    server: &ServerContext,
    endpoints: &Served<'_>,
    client: &Client,
    now: OffsetDateTime,
) -> Vec<ClientLint> {
    let mut found = Vec::new();
    if let Some(member) = client.parts().unenforced_member() {
        found.push(ClientLint::MemberNotEnforced(member.into()));
    }
    scopes(server, endpoints, client, &mut found);
    let unserved = client.grant_types().iter().filter(|grant_type| !endpoints.grants(server, grant_type));
    found.extend(unserved.cloned().map(ClientLint::GrantTypeNotServed));
    let refused = client.redirect_uris().iter().filter(|uri| !server.policy.allows_redirect(uri.class(), uri.as_str()));
    found.extend(refused.cloned().map(ClientLint::RedirectUriNotAllowed));
    let dangers = server.policy.allowed_dangers();
    for (name, is_on, is_allowed) in [
        ("pkce_optional", client.is_pkce_optional(), dangers.pkce_optional),
        ("plain_pkce", client.may_use_plain_pkce(), dangers.allow_plain_pkce),
        ("token_parameters_in_query", client.may_use_query(), dangers.allow_token_parameters_in_query),
    ] {
        if is_on && !is_allowed {
            found.push(ClientLint::SwitchNotAllowed(name));
        }
    }
    let has_secret = client.is_confidential() && !client.signs_to_authenticate();
    if has_secret && client.credentials().iter().all(|credential| !credential.is_live(now)) {
        found.push(ClientLint::CredentialsExpired);
    }
    if client.signs_to_authenticate() {
        found.extend(unserved_authentication(server, client));
    }
    if client.is_resource_server() && !endpoints.introspection {
        found.push(ClientLint::IntrospectionNotServed);
    }
    let resources = &server.resources;
    let may_introspect = |resource: &Arc<DeclaredResource>| resources.may_introspect(client.id(), resource);
    if client.is_resource_server() && !resources.all().is_empty() && !resources.all().iter().any(may_introspect) {
        found.push(ClientLint::NoResourceToIntrospect);
    }
    #[cfg(feature = "jwt")]
    {
        found.extend(client.jwks_uri().and_then(|url| unfetched_keys(server, url)));
        found.extend(unserved_algorithm(server, client).map(ClientLint::IntrospectionAlgorithmNotServed));
        found.extend(request_objects(server, endpoints, client));
    }
    found.extend(client.warnings().into_iter().map(ClientLint::Warning));
    found
}

/// Returns the reason why the server could not fetch the keys of a client.
#[cfg(feature = "jwt")]
fn unfetched_keys(server: &ServerContext, url: &str) -> Option<ClientLint> {
    if !server.fetcher.has_client() {
        return Some(ClientLint::NoHttpClient);
    }
    server.fetcher.check_url(url).err().map(ClientLint::JwksUriNotAllowed)
}

/// Returns the algorithm of the client's introspection responses if the server has no key for it.
#[cfg(feature = "jwt")]
fn unserved_algorithm(server: &ServerContext, client: &Client) -> Option<Algorithm> {
    let offered = server.signing_keys.as_ref().map_or(&[][..], |keys| keys.algorithms());
    client.introspection_signed_response_alg().filter(|algorithm| !offered.contains(algorithm))
}

/// Returns the reason why a client with a key can't authenticate.
#[cfg(feature = "jwt")]
fn unserved_authentication(server: &ServerContext, client: &Client) -> Option<ClientLint> {
    let Some(signatures) = &server.client_signatures else {
        return Some(ClientLint::AuthenticationMethodNotServed(AuthenticationMethod::PrivateKeyJwt));
    };
    let is_served = accepts_a_key(signatures, client, client.token_endpoint_auth_signing_alg());
    (!is_served).then_some(ClientLint::AuthenticationAlgorithmNotServed)
}

/// Returns whether the server accepts an algorithm of the client's keys. `only` is the registered algorithm. Keys at a
/// URL are not known, so they count as keys of every algorithm.
#[cfg(feature = "jwt")]
fn accepts_a_key(signatures: &ClientSignatures, client: &Client, only: Option<Algorithm>) -> bool {
    let has_key = |algorithm| client.jwks().is_none_or(|jwks| jwks.keys().iter().any(|key| key.is_for(algorithm)));
    let may_use = |algorithm: Algorithm| only.is_none_or(|only| algorithm.is_same_as(only)) && has_key(algorithm);
    signatures.accepted().iter().any(|algorithm| may_use(*algorithm))
}

#[cfg(not(feature = "jwt"))]
#[expect(clippy::unnecessary_wraps, reason = "with the feature, the server may accept keys")]
const fn unserved_authentication(_: &ServerContext, _: &Client) -> Option<ClientLint> {
    Some(ClientLint::AuthenticationMethodNotServed(AuthenticationMethod::PrivateKeyJwt))
}

/// Returns why a client can't send the request objects that it is registered for or that the policy demands.
#[cfg(feature = "jwt")]
fn request_objects(server: &ServerContext, endpoints: &Served<'_>, client: &Client) -> Option<ClientLint> {
    let requests = [GrantType::AUTHORIZATION_CODE, GrantType::IMPLICIT];
    if !endpoints.authorization || !requests.into_iter().any(|name| client.allows_grant_type(name)) {
        return None;
    }
    let Some(signatures) = server.request_objects() else {
        return client.requires_signed_request_object().then_some(ClientLint::RequestObjectsNotAccepted);
    };
    if server.policy.require_signed_request_object && client.jwks().is_none() && client.jwks_uri().is_none() {
        return Some(ClientLint::NoKeysForRequestObjects);
    }
    let own = client.request_object_signing_alg();
    let must_sign = server.policy.require_signed_request_object || client.requires_signed_request_object();
    let is_refused = (must_sign || own.is_some()) && !accepts_a_key(signatures, client, own);
    is_refused.then_some(ClientLint::RequestObjectAlgorithmNotAccepted)
}

fn scopes(server: &ServerContext, endpoints: &Served<'_>, client: &Client, found: &mut Vec<ClientLint>) {
    let offered = server.scopes.all();
    found.extend(server.unoffered_scope_of(client).map(ClientLint::ScopeNotOffered));
    let uses =
        |name: &str| client.grant_types().get(name).is_some_and(|grant_type| endpoints.grants(server, grant_type));
    let of_users = server.user_scope_of(client).and_then(|scope| scope.intersection(offered));
    let with_users = [GrantType::AUTHORIZATION_CODE, GrantType::IMPLICIT, GrantType::PASSWORD].into_iter().any(uses);
    if with_users && of_users.is_none() {
        found.push(ClientLint::NoScopeForUsers);
    }
    let own = server.own_scope_of(client).and_then(|scope| scope.intersection(offered));
    if uses(GrantType::CLIENT_CREDENTIALS) && own.is_none() {
        found.push(ClientLint::NoOwnScope);
    }
    let never = server.policy.refresh_tokens == RefreshTokens::OfflineAccess
        && of_users.as_ref().is_some_and(|scope| !scope.contains("offline_access"));
    if uses(GrantType::REFRESH_TOKEN) && with_users && never {
        found.push(ClientLint::RefreshTokenNeverIssued);
    }
}
