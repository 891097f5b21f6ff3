//! Protected resource metadata (RFC 9728): a document of an API that names the server of its tokens.

use serde_json::{Map, Value, json};

use crate::metadata::{Document, well_known_target};
use crate::scope::Scope;
use crate::server_context::{ResourceUrls, ServerContext};

/// The description of your API (RFC 9728 §2). With it, a client that knows only the URL of the API can find the server.
///
/// Every challenge of the bearer check then contains the URL of a document that describes the API. The document is
/// served on the host of the resource identifier, at the path [`AuthorizationServer::resource_metadata_path`].
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
    scope: Option<String>,
    members: Map<String, Value>,
}

impl ProtectedResource {
    /// Returns the description of an API with its resource identifier (RFC 9728 §1.2): an `https` URL without fragment,
    /// or an `http` URL on the loopback interface for development. The identifier is used unchanged, because a client
    /// compares it with the URL that it calls (§3.3).
    pub fn new(identifier: impl Into<String>) -> Self {
        Self { identifier: identifier.into(), scope: None, members: Map::new() }
    }

    /// Sets the scopes that the API requires, as a list separated by spaces. Defaults to all scopes of the server
    /// except `offline_access`, which gives no access to the API.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
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

    /// Returns the configured scope, which the server may not offer.
    pub(crate) fn declared_scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    pub(crate) fn urls(&self) -> ResourceUrls {
        let origin = url::Url::parse(&self.identifier).map(|url| url[..url::Position::BeforePath].to_owned());
        let metadata = origin.unwrap_or_default() + &well_known_target(WELL_KNOWN, &self.identifier);
        ResourceUrls { identifier: self.identifier.clone(), metadata }
    }

    /// Returns the document. `Err` names a member of the host app that only the library may set.
    pub(crate) fn document(self, server: &ServerContext) -> Result<Document, String> {
        // The builder has checked the scope.
        let own = self.scope.and_then(|scope| Scope::parse(&scope).ok());
        let scopes: Vec<&str> = match &own {
            Some(own) => own.iter().collect(),
            None => server.scopes.all().iter().filter(|token| *token != "offline_access").collect(),
        };
        let methods: &[&str] = if server.policy.bearer_in_body { &["header", "body"] } else { &["header"] };
        let mut members = Map::new();
        let mut insert = |name: &str, value: Value| members.insert(name.to_owned(), value);
        insert("resource", json!(self.identifier));
        insert("authorization_servers", json!([&*server.issuer]));
        // An empty list must be left out (RFC 9728 §3.2).
        if !scopes.is_empty() {
            insert("scopes_supported", json!(scopes));
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
