//! [`ProtectedResource`]: the declaration of an API that access tokens are for (RFC 8707, RFC 9728).

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Map, Value, json};
use time::Duration;
use url::{Position, Url};

use crate::api_context::ApiContext;
use crate::build_error::BuildError;
use crate::metadata::{Document, well_known_target};
use crate::record::ClientId;
use crate::resource::DeclaredResource;
use crate::scope::{Catalogue, Scope};
use crate::server_context::ServerContext;

/// The declaration of an API (RFC 9728 §2). Access tokens are for one of the declared APIs each, and no other API
/// accepts them (RFC 8707). A client that knows only the URL of an API can find the server.
///
/// Every challenge of the bearer check contains the URL of a document that describes the API. The document is served on
/// the host of the resource identifier, at the path [`AuthorizationServer::resource_metadata_path`].
///
/// ```
/// use grantor::{AuthorizationServer, MemoryStorage, ProtectedResource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), grantor::BuildError> {
/// let api = ProtectedResource::new("https://example.com/api").metadata("resource_name", "Example");
/// let oauth = AuthorizationServer::builder("https://example.com")
///     .storage(MemoryStorage::new())
///     .scope("user:read", "Read your profile")
///     .protected_resource(api)
///     .build()
///     .await?;
/// assert_eq!(oauth.resource_metadata_path(), Some("/.well-known/oauth-protected-resource/api"));
/// # Ok(())
/// # }
/// ```
///
/// [`AuthorizationServer::resource_metadata_path`]: crate::AuthorizationServer::resource_metadata_path
#[derive(Debug, Clone)]
#[must_use = "pass it to a builder"]
pub struct ProtectedResource {
    identifier: String,
    former: Vec<String>,
    scope: Option<String>,
    unlisted_scope: Option<String>,
    signed: Option<bool>,
    access_token_lifetime: Option<Duration>,
    introspected_by: Vec<String>,
    members: Map<String, Value>,
}

impl ProtectedResource {
    /// Returns the declaration of an API with its resource identifier (RFC 9728 §1.2): an `https` URL without fragment,
    /// or an `http` URL on the loopback interface for development. The identifier is used unchanged, because a client
    /// compares it with the URL that it calls (§3.3). It is the audience of the tokens.
    ///
    /// The `resource` of a request must be equal to it. Only `https://host` and `https://host/` count as equal, because
    /// many clients add the slash or remove it.
    pub fn new(identifier: impl Into<String>) -> Self {
        Self {
            identifier: identifier.into(),
            former: Vec::new(),
            scope: None,
            unlisted_scope: None,
            signed: None,
            access_token_lifetime: None,
            introspected_by: Vec::new(),
            members: Map::new(),
        }
    }

    /// Names an earlier identifier of the API. Grants and access tokens for it stay valid, and requests may name it. New
    /// access tokens are for the new identifier. Without this, users must log in again after the identifier has changed.
    ///
    /// The audience of earlier access tokens stays the earlier identifier, also in introspection responses. An API in
    /// another process that expects the new one refuses them. Clients get new tokens with their refresh tokens.
    pub fn formerly(mut self, identifier: impl Into<String>) -> Self {
        self.former.push(identifier.into());
        self
    }

    /// Sets the scopes that the API requires, as a list separated by spaces. Its tokens get no other scope (RFC 8707
    /// §2.2). Default: its tokens may have every scope, and the document lists all scopes of the server except
    /// `offline_access`. The list must not have `offline_access`, because it gives no access to the API, and many clients
    /// request every listed scope.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Sets scopes that the API also requires, but that its document does not list (RFC 9728 §2), as a list separated by
    /// spaces. Many clients request every listed scope. Default: none.
    pub fn unlisted_scope(mut self, scope: impl Into<String>) -> Self {
        self.unlisted_scope = Some(scope.into());
        self
    }

    /// Issues the access tokens of this API as JWTs (RFC 9068). The server needs signing keys (feature `jwt`). Default:
    /// as the signing keys say.
    pub const fn signed_tokens(mut self) -> Self {
        self.signed = Some(true);
        self
    }

    /// Issues the access tokens of this API as opaque texts, even if others are signed.
    pub const fn opaque_tokens(mut self) -> Self {
        self.signed = Some(false);
        self
    }

    /// Limits the lifetime of the access tokens of this API. If the policy or the client has a shorter one, that one
    /// applies. At least one second. Default: no limit.
    pub const fn access_token_lifetime(mut self, longest: Duration) -> Self {
        self.access_token_lifetime = Some(longest);
        self
    }

    /// Allows a [resource server](crate::client::ClientBuilder::resource_server) to introspect the tokens of this API.
    /// Call it once for each. Default: if the server has one resource, every resource server may introspect its tokens;
    /// if it has several, none may.
    pub fn introspected_by(mut self, client_id: impl Into<String>) -> Self {
        self.introspected_by.push(client_id.into());
        self
    }

    /// Adds a member to the document, such as `resource_name` or `resource_documentation` (RFC 9728 §2). Members that
    /// describe the bearer check can't be replaced.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// Returns the identifier and the earlier ones.
    pub(crate) fn identifiers(&self) -> impl Iterator<Item = &str> {
        [&self.identifier].into_iter().chain(&self.former).map(String::as_str)
    }

    /// Checks the declaration. The context of its bearer check is that of the server, with the URL of its document.
    pub(crate) fn declare(&self, scopes: &Catalogue, server: &ApiContext) -> Result<DeclaredResource, BuildError> {
        let is_offered = |scope: &Scope| scope.is_subset(scopes.all());
        let parse = |text: &String| {
            let scope = Scope::parse(text).ok().filter(is_offered);
            scope.ok_or_else(|| BuildError::ResourceScope(text.clone()))
        };
        let problem = |problem| BuildError::ResourceSetting { identifier: self.identifier.clone(), problem };
        let listed = self.scope.as_ref().map(parse).transpose()?;
        if listed.as_ref().is_some_and(|listed| listed.contains("offline_access")) {
            return Err(problem("lists offline_access, which gives no access to the API: remove it from its scope"));
        }
        let unlisted = self.unlisted_scope.as_ref().map(parse).transpose()?;
        let scope = match (&listed, &unlisted) {
            (Some(listed), Some(unlisted)) => Some(listed.union(unlisted)),
            (listed, _) => listed.clone(),
        };
        let is_listed = |token: &&str| match &listed {
            Some(listed) => listed.contains(token),
            None => *token != "offline_access" && !unlisted.as_ref().is_some_and(|own| own.contains(token)),
        };
        let listed = scopes.all().iter().filter(is_listed).map(Into::into).collect();
        if self.access_token_lifetime.is_some_and(|longest| longest < Duration::SECOND) {
            return Err(problem("has an access_token_lifetime below one second: set a longer one"));
        }
        let introspected_by: Result<BTreeSet<ClientId>, _> = self.introspected_by.iter().map(ClientId::new).collect();
        let introspected_by =
            introspected_by.map_err(|_| problem("names a client identifier in introspected_by that is not valid"))?;
        let origin = Url::parse(&self.identifier).map(|url| url[..Position::BeforePath].to_owned());
        let metadata = origin.unwrap_or_default() + &well_known_target(WELL_KNOWN, &self.identifier);
        Ok(DeclaredResource {
            identifier: self.identifier.as_str().into(),
            former: self.former.iter().map(|own| own.as_str().into()).collect(),
            scope,
            listed,
            signed: self.signed,
            access_token_lifetime: self.access_token_lifetime,
            introspected_by,
            api: Arc::new(server.with_resource_metadata(metadata)),
        })
    }

    /// Returns the document. `Err` names a member of the host app that only the library may set.
    pub(crate) fn document(self, declared: &DeclaredResource, server: &ServerContext) -> Result<Document, String> {
        let methods: &[&str] = if server.policy.bearer_in_body { &["header", "body"] } else { &["header"] };
        let mut members = Map::new();
        let mut insert = |name: &str, value: Value| members.insert(name.to_owned(), value);
        insert("resource", json!(self.identifier));
        insert("authorization_servers", json!([&*server.issuer]));
        // An empty list must be left out (RFC 9728 §3.2).
        if !declared.listed.is_empty() {
            insert("scopes_supported", json!(declared.listed));
        }
        insert("bearer_methods_supported", json!(methods));
        Document::new(well_known_target(WELL_KNOWN, &self.identifier), members, &RESERVED, self.members)
    }
}

const WELL_KNOWN: &str = "oauth-protected-resource";

/// Members that the host app can't set: their absence has a meaning, or they describe features that the bearer check
/// does not have, such as signatures and bound tokens.
const RESERVED: [&str; 8] = [
    "scopes_supported",
    "jwks_uri",
    "resource_signing_alg_values_supported",
    "signed_metadata",
    "authorization_details_types_supported",
    "tls_client_certificate_bound_access_tokens",
    "dpop_signing_alg_values_supported",
    "dpop_bound_access_tokens_required",
];
