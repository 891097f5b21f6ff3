//! Protected resource metadata (RFC 9728): the host's own API says which server its tokens come from.

use serde_json::{Map, Value, json};

use crate::metadata::{Document, well_known_target};
use crate::scope::Scope;
use crate::server_context::{ResourceUrls, ServerContext};

/// The description of the host's own API (RFC 9728 §2), by which a client that knows only its URL finds the server.
///
/// With it, every challenge of the bearer check points to a document that describes the API. The document is served at the
/// resource identifier's host, under the path [`AuthorizationServer::resource_metadata_path`].
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
#[must_use = "give it to a builder"]
pub struct ProtectedResource {
    identifier: String,
    scope: Option<String>,
    members: Map<String, Value>,
}

impl ProtectedResource {
    /// An API with its resource identifier (RFC 9728 §1.2): an `https` URL without fragment, or an `http` URL on the
    /// loopback interface for development. It is used character for character: a client compares it with the URL that it
    /// calls (§3.3).
    pub fn new(identifier: impl Into<String>) -> Self {
        Self { identifier: identifier.into(), scope: None, members: Map::new() }
    }

    /// The scopes that the API asks for; a space-separated list. Default: all that the server offers but `offline_access`,
    /// which is asked of the server and allows nothing at the API.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// Adds a member to the document, such as `resource_name` or `resource_documentation` (RFC 9728 §2). What the bearer
    /// check itself determines can't be replaced.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.members.insert(name.into(), value.into());
        self
    }

    pub(crate) fn identifier(&self) -> &str {
        &self.identifier
    }

    /// The scope as it was given, which a server may not offer.
    pub(crate) fn declared_scope(&self) -> Option<&str> {
        self.scope.as_deref()
    }

    pub(crate) fn urls(&self) -> ResourceUrls {
        let origin = url::Url::parse(&self.identifier).map(|url| url[..url::Position::BeforePath].to_owned());
        let metadata = origin.unwrap_or_default() + &well_known_target(WELL_KNOWN, &self.identifier);
        ResourceUrls { identifier: self.identifier.clone(), metadata }
    }

    /// Describes it as the bearer check behaves. `Err` names a member of the host's that the bearer check determines.
    pub(crate) fn document(self, server: &ServerContext) -> Result<Document, String> {
        // It was checked when the server was built.
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
        // RFC 9728 §3.2: what has no elements is left out.
        if !scopes.is_empty() {
            insert("scopes_supported", json!(scopes));
        }
        insert("bearer_methods_supported", json!(methods));
        Document::new(well_known_target(WELL_KNOWN, &self.identifier), members, &RESERVED, self.members)
    }
}

const WELL_KNOWN: &str = "oauth-protected-resource";

/// Members that say something even when they are absent, or would claim what the bearer check does not do: it signs nothing,
/// and tokens are bound to no key.
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
