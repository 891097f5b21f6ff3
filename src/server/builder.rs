//! The builder of a server. It rejects contradictory settings, so that no request fails because of them.

use std::fmt;
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::checks::{
    catalogue, check_endpoint, check_extensions, check_fetches, check_issuer, check_parameters, check_prefix,
    check_queries, check_request_objects, with_includes,
};
use super::declarations::Declarations;
use super::{AuthorizationServer, Inner, capabilities, dispatcher};
use crate::api_context::ApiContext;
use crate::authenticator::Authenticator;
use crate::authorize::{AuthorizationEndpoint, DefaultPages, PageTemplates};
use crate::build_error::BuildError;
use crate::capability::{BuildView, Capability};
use crate::customizer::TokenCustomizer;
use crate::env::{Clock, Entropy, SystemClock, SystemEntropy};
use crate::event::{NoObserver, Observer};
use crate::fetcher::Fetcher;
use crate::grant_type::GrantHandler;
use crate::http_client::HttpClient;
use crate::introspect::IntrospectionEndpoint;
use crate::metadata::{self, EndpointUrls};
use crate::params::encode_component;
use crate::policy::{Policy, RefreshTokens};
use crate::protected_resource::ProtectedResource;
use crate::server_context::{ServerContext, Shared};
use crate::server_key::ServerKey;
use crate::signed_format::SignedFormat;
use crate::storage::{ClientStore, EphemeralStore, Storage};
use crate::token::TokenEndpoint;

/// The first step of building a server. It has an issuer and needs a storage, the only setting without a default.
#[derive(Debug)]
#[must_use = "call storage() to set a storage"]
pub struct NeedsStorage {
    issuer: String,
}

impl NeedsStorage {
    pub(super) const fn new(issuer: String) -> Self {
        Self { issuer }
    }

    /// Sets one storage for clients, grants, tokens and ephemeral entries. To choose the type of storage at run time,
    /// pass an `Arc<dyn` [`AnyStorage`](crate::storage::AnyStorage)`>`.
    pub fn storage<S: Storage + ClientStore + EphemeralStore + 'static>(self, storage: S) -> Builder {
        let storage = Arc::new(storage);
        Builder::new(self.issuer, Arc::clone(&storage) as Arc<dyn Storage>, Arc::clone(&storage) as _, storage)
    }

    /// Sets separate storages for grants and tokens, for clients, and for ephemeral entries. A server with a single
    /// process can keep the entries in a [`MemoryEphemeralStore`](crate::storage::MemoryEphemeralStore).
    pub fn storage_and_clients(
        self,
        storage: Arc<dyn Storage>,
        clients: Arc<dyn ClientStore>,
        ephemeral: Arc<dyn EphemeralStore>,
    ) -> Builder {
        Builder::new(self.issuer, storage, clients, ephemeral)
    }
}

/// A change of the endpoint URLs, passed to [`Builder::endpoints`].
type UrlChange = Box<dyn FnOnce(&mut EndpointUrls) + Send + Sync>;

/// The builder of a server. [`build`](Self::build) checks the settings and returns the server.
#[must_use = "a builder does nothing until build() is called"]
pub struct Builder {
    issuer: String,
    storage: Arc<dyn Storage>,
    clients: Arc<dyn ClientStore>,
    ephemeral: Arc<dyn EphemeralStore>,
    authenticator: Option<Arc<dyn Authenticator>>,
    policy: Policy,
    scopes: Vec<(String, Arc<str>)>,
    scope_includes: Vec<(String, String)>,
    default_scope: Option<String>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
    observer: Arc<dyn Observer>,
    pages: Arc<dyn PageTemplates>,
    server_key: Option<Result<ServerKey, BuildError>>,
    extensions: Vec<Box<dyn GrantHandler>>,
    authorization_parameters: Vec<&'static str>,
    pub(super) capabilities: Vec<Arc<dyn Capability>>,
    endpoint_prefix: String,
    url_changes: Vec<UrlChange>,
    metadata: Map<String, Value>,
    customizer: Option<Arc<dyn TokenCustomizer>>,
    pub(crate) signed_format: Option<Arc<dyn SignedFormat>>,
    #[cfg(feature = "jwt")]
    pub(super) signing_keys: Option<crate::jwks::SigningKeys>,
    #[cfg(feature = "jwt")]
    pub(super) client_signatures: Option<crate::client_signatures::ClientSignatures>,
    http_client: Option<Arc<dyn HttpClient>>,
    default_resource: Option<ProtectedResource>,
    other_resources: Vec<ProtectedResource>,
}

impl Builder {
    fn new(
        issuer: String,
        storage: Arc<dyn Storage>,
        clients: Arc<dyn ClientStore>,
        ephemeral: Arc<dyn EphemeralStore>,
    ) -> Self {
        Self {
            endpoint_prefix: String::new(),
            url_changes: Vec::new(),
            metadata: Map::new(),
            customizer: None,
            signed_format: None,
            #[cfg(feature = "jwt")]
            signing_keys: None,
            #[cfg(feature = "jwt")]
            client_signatures: None,
            http_client: None,
            default_resource: None,
            other_resources: Vec::new(),
            issuer,
            storage,
            clients,
            ephemeral,
            authenticator: None,
            policy: Policy::default(),
            scopes: Vec::new(),
            scope_includes: Vec::new(),
            default_scope: None,
            clock: Arc::new(SystemClock),
            entropy: Arc::new(SystemEntropy),
            observer: Arc::new(NoObserver),
            pages: Arc::new(DefaultPages),
            server_key: None,
            extensions: Vec::new(),
            authorization_parameters: Vec::new(),
            capabilities: Vec::new(),
        }
    }

    /// Declares a scope token with a description, which users read on the consent page.
    pub fn scope(mut self, token: impl Into<String>, description: impl Into<Arc<str>>) -> Self {
        self.scopes.push((token.into(), description.into()));
        self
    }

    /// Declares that a scope token includes another one, such as `mail:write` and `mail:read`. Inclusion is transitive.
    /// Both tokens must be declared. A cycle does not build.
    ///
    /// A request for the broader scope is a request for both, as far as the client may have them. The consent page, the
    /// grant and its tokens contain all of them, so an API requires the narrowest scope that it needs. The scope is
    /// expanded once, when a grant begins: a later change widens no grant, and a refresh can request one without the
    /// other. Default: no scope includes another.
    ///
    /// ```
    /// use grantor::{AuthorizationServer, MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), grantor::BuildError> {
    /// let oauth = AuthorizationServer::builder("https://id.example.com")
    ///     .storage(MemoryStorage::new())
    ///     .scope("mail:read", "Read your mail")
    ///     .scope("mail:write", "Write mail")
    ///     .scope_includes("mail:write", "mail:read")
    ///     .build()
    ///     .await?;
    /// # let _ = oauth;
    /// # Ok(())
    /// # }
    /// ```
    pub fn scope_includes(mut self, broader: impl Into<String>, narrower: impl Into<String>) -> Self {
        self.scope_includes.push((broader.into(), narrower.into()));
        self
    }

    /// Sets the default scope, a space-separated list of declared scope tokens. It applies to requests without a scope
    /// from clients without a default scope. A client that is registered without a scope may request this scope and
    /// nothing else. Default: none; such requests are refused.
    pub fn default_scope(mut self, scope: impl Into<String>) -> Self {
        self.default_scope = Some(scope.into());
        self
    }

    /// Sets the authenticator, which checks the credentials of clients and users. Default:
    /// [`ClientSecrets`](crate::ClientSecrets).
    pub fn authenticator(mut self, authenticator: impl Authenticator + 'static) -> Self {
        self.authenticator = Some(Arc::new(authenticator));
        self
    }

    /// Sets the policy, which holds all switches and lifetimes. Default: [`Policy::default`].
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// Sets the clock. Default: [`SystemClock`].
    pub fn clock(mut self, clock: impl Clock + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Sets the source of randomness. Default: [`SystemEntropy`].
    pub fn entropy(mut self, entropy: impl Entropy + 'static) -> Self {
        self.entropy = Arc::new(entropy);
        self
    }

    /// Sets the observer that gets all events. Default: none.
    pub fn observer(mut self, observer: impl Observer + 'static) -> Self {
        self.observer = Arc::new(observer);
        self
    }

    /// Sets the templates of the few pages that the library itself shows. Default: [`DefaultPages`].
    pub fn page_templates(mut self, pages: impl PageTemplates + 'static) -> Self {
        self.pages = Arc::new(pages);
        self
    }

    /// Sets the secret from which the server derives its keys, such as the key that seals consent forms. Default: 32
    /// random bytes; then only the process that made a consent form can open it.
    ///
    /// `current` needs at least 32 random bytes. All nodes of a server must have the same key, and no other server may
    /// have it. The `previous` keys open forms that were sealed with them, but seal no new forms.
    ///
    /// To replace the key:
    /// 1. Add the new key to `previous` on all nodes.
    /// 2. Make it `current` on all nodes, and move the old key to `previous`.
    /// 3. Drop the old key after the [lifetime of a consent form](Policy::consent_lifetime).
    pub fn server_key(mut self, current: &[u8], previous: &[&[u8]]) -> Self {
        let key = ServerKey::new(current, previous.iter().copied());
        self.server_key = Some(key.ok_or(BuildError::ServerKey));
        self
    }

    /// Adds an extension grant type (RFC 6749 §4.5).
    pub fn extension_grant(mut self, handler: impl GrantHandler + 'static) -> Self {
        self.extensions.push(Box::new(handler));
        self
    }

    /// Declares an additional parameter of authorization requests (RFC 6749 §8.2), which the host app reads with
    /// [`PendingAuthorization::parameter`](crate::PendingAuthorization::parameter).
    ///
    /// The server keeps the parameter through login and consent, and refuses a request that repeats it. It ignores
    /// parameters that are neither built in nor declared. In a request object (RFC 9101), the parameter is a string.
    ///
    /// ```
    /// use grantor::{Approval, AuthorizationServer, MemoryStorage, Request, Response, UserSession};
    /// use serde_json::json;
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), grantor::BuildError> {
    /// let oauth = AuthorizationServer::builder("https://id.example.com")
    ///     .storage(MemoryStorage::new())
    ///     .scope("mail:read", "Read your mail")
    ///     .authorization_parameter("tenant")
    ///     .build()
    ///     .await?;
    ///
    /// /// Handles the submitted consent form. The login and consent pages can read the parameter, too.
    /// async fn decide(oauth: &AuthorizationServer, form: &Request, user: &UserSession) -> Response {
    ///     let session = user.session_id.clone().unwrap_or_default();
    ///     match oauth.resume_form(form, session).await {
    ///         Ok((consent, form)) if form.approved => {
    ///             let tenant = json!({ "tenant": consent.request().parameter("tenant") });
    ///             consent.approve(Approval::by(user).host_data(tenant)).await.into()
    ///         }
    ///         Ok((consent, _)) => consent.deny().await.into(),
    ///         Err(error) => error.into(),
    ///     }
    /// }
    /// # let _ = (oauth, decide);
    /// # Ok(())
    /// # }
    /// ```
    pub fn authorization_parameter(mut self, name: &'static str) -> Self {
        self.authorization_parameters.push(name);
        self
    }

    /// Sets a path prefix for the endpoints, such as `/oauth`: the token endpoint of the issuer
    /// `https://id.example.com` is then `https://id.example.com/oauth/token`. The prefix does not move the well-known
    /// documents. Default: none.
    ///
    /// The prefix begins with a slash and does not end with one. Its segments consist of letters, digits, `-`, `.`, `_`
    /// and `~`. [`build`](Self::build) rejects other prefixes, and those that begin with `/.well-known`.
    pub fn endpoint_prefix(mut self, prefix: impl Into<String>) -> Self {
        self.endpoint_prefix = prefix.into();
        self
    }

    /// Changes the public URLs of the endpoints. `change` gets the default URLs, which include the
    /// [prefix](Self::endpoint_prefix). It can replace them and remove optional ones. See [`EndpointUrls`].
    ///
    /// A server for machines needs no authorization endpoint:
    /// ```
    /// use grantor::{AuthorizationServer, MemoryStorage};
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), grantor::BuildError> {
    /// let oauth = AuthorizationServer::builder("https://id.example.com")
    ///     .storage(MemoryStorage::new())
    ///     .scope("report:read", "Read reports")
    ///     .endpoints(|urls| urls.authorization = None)
    ///     .build()
    ///     .await?;
    /// assert!(oauth.route("/authorize").is_none());
    /// assert!(!oauth.metadata_document().contains_key("authorization_endpoint"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn endpoints(mut self, change: impl FnOnce(&mut EndpointUrls) + Send + Sync + 'static) -> Self {
        self.url_changes.push(Box::new(change));
        self
    }

    /// Adds a member to the metadata document, such as `service_documentation` (RFC 8414 §2). It can't replace a member
    /// that the server sets.
    pub fn metadata(mut self, name: impl Into<String>, value: impl Into<Value>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Sets a customizer, which can change tokens before they are issued and add members to introspection responses.
    /// Default: none; every resource server may introspect every access token.
    pub fn token_customizer(mut self, customizer: impl TokenCustomizer + 'static) -> Self {
        self.customizer = Some(Arc::new(customizer));
        self
    }

    /// Declares the host app's API: the default resource. Access tokens are for it unless a request names another
    /// resource (RFC 8707). Clients of the API can discover the server (RFC 9728), and the metadata document lists the
    /// API in `protected_resources`. Default: none; access tokens have no audience, and clients must be configured with
    /// the issuer.
    pub fn protected_resource(mut self, resource: ProtectedResource) -> Self {
        self.default_resource = Some(resource);
        self
    }

    /// Declares an API that is not the default resource. Tokens are for it only if a request names it (RFC 8707). If
    /// the server has no [default resource](Self::protected_resource), each request must name one. See [`Resource`].
    ///
    /// [`Resource`]: crate::Resource
    pub fn resource(mut self, resource: ProtectedResource) -> Self {
        self.other_resources.push(resource);
        self
    }

    /// Sets the HTTP client that fetches documents from URLs that clients have registered. The limits are in
    /// [`Policy::fetch`]. Default: none; a request that needs such a document gets 503.
    pub fn http_client(mut self, client: impl HttpClient + 'static) -> Self {
        self.http_client = Some(Arc::new(client));
        self
    }

    /// Checks all settings, claims the storage for the issuer, and returns the server.
    ///
    /// It claims the storage (see [`Storage::claim_issuer`]) after it has checked the settings, so that a server with
    /// wrong settings claims nothing. Last, it reads the signing keys, if there are any, to detect unusable keys now.
    ///
    /// # Errors
    /// The settings are invalid, or the storage can't be claimed. The error is the first problem found: see
    /// [`BuildError`].
    pub async fn build(mut self) -> Result<AuthorizationServer, BuildError> {
        check_issuer(&self.issuer)?;
        self.policy.check()?;
        check_fetches(&self.policy, &self.issuer)?;
        let scopes = catalogue(&self.scopes, self.default_scope.as_deref())?;
        let scopes = with_includes(scopes, &self.scope_includes)?;
        if let Some(scope) = self.policy.self_service_scope.as_ref().filter(|scope| !scope.is_subset(scopes.all())) {
            return Err(BuildError::SelfServiceScope(scope.as_str().to_owned()));
        }
        if self.policy.refresh_tokens == RefreshTokens::OfflineAccess && !scopes.all().contains("offline_access") {
            return Err(BuildError::OfflineAccess);
        }
        if self.policy.allowed_dangers().allow_password_grant && self.authenticator.is_none() {
            return Err(BuildError::PasswordWithoutAuthenticator);
        }
        check_extensions(&self.extensions)?;
        #[cfg(feature = "jwt")]
        self.client_signatures.iter().try_for_each(crate::client_signatures::ClientSignatures::check)?;
        capabilities::sort(&mut self.capabilities)?;
        check_prefix(&self.endpoint_prefix)?;
        let mut urls = EndpointUrls::under(&self.issuer, &self.endpoint_prefix);
        self.url_changes.into_iter().for_each(|change| change(&mut urls));
        urls.iter().try_for_each(|url| check_endpoint(url))?;
        let declarations = Declarations::new(self.default_resource, self.other_resources)?;
        // Drawn even if a key was set, to detect a broken source of randomness now.
        let mut random = Zeroizing::new([0; 32]);
        self.entropy.fill(random.as_mut_slice())?;
        let has_server_key = self.server_key.is_some();
        let process_key = || ServerKey::new(random.as_slice(), []).ok_or(BuildError::ServerKey);
        let server_key = self.server_key.unwrap_or_else(process_key)?;

        #[cfg(feature = "jwt")]
        if let Some(keys) = self.signing_keys.as_ref().filter(|_| !declarations.is_empty()) {
            let format = keys.access_token_format(&self.issuer);
            self.signed_format = format.or(self.signed_format);
        }
        let api = ApiContext {
            issuer: self.issuer.clone(),
            resource_metadata: None,
            clock: Arc::clone(&self.clock),
            observer: Arc::clone(&self.observer),
        };
        let api = Arc::new(api);
        let fetcher = Arc::new(Fetcher::new(self.http_client, self.policy.fetch.clone(), Arc::clone(&api)));
        let resources = declarations.declare(&scopes, &api, self.signed_format.is_some())?;
        let server = Arc::new(ServerContext {
            api,
            encoded_issuer: encode_component(&self.issuer).collect(),
            issuer: self.issuer,
            storage: Shared(self.storage),
            clients: Shared(self.clients),
            told_of_unoffered: Mutex::default(),
            ephemeral: Shared(self.ephemeral),
            authenticator: self.authenticator,
            customizer: self.customizer,
            signed_format: self.signed_format,
            #[cfg(feature = "jwt")]
            signing_keys: self.signing_keys.map(|keys| keys.keys),
            #[cfg(feature = "jwt")]
            client_signatures: self.client_signatures.map(|signatures| signatures.fetching(&fetcher)),
            policy: self.policy,
            scopes,
            clock: self.clock,
            entropy: self.entropy,
            observer: self.observer,
            server_key,
            resources,
            fetcher,
        });
        check_request_objects(&server)?;
        let token = TokenEndpoint::new(Arc::clone(&server), urls.authorization.is_some(), self.extensions);
        let introspection = IntrospectionEndpoint::new(Arc::clone(&server));
        let has_introspection = urls.introspection.is_some();
        let build =
            BuildView::new(&server, &self.capabilities, &self.endpoint_prefix, has_server_key, has_introspection);
        let additions = capabilities::collect(&self.capabilities, &build)?;
        let declared = [self.authorization_parameters, additions.authorization_parameters].concat();
        check_parameters(&declared)?;
        check_queries(&urls, &token, &declared)?;
        let (pages, capabilities) = (self.pages, self.capabilities);
        let endpoint = |url| AuthorizationEndpoint::new(Arc::clone(&server), pages, capabilities, &declared, url);
        let authorization = urls.authorization.as_deref().map(endpoint).map(Arc::new);
        let members = metadata::describe(&server, token.grant_types(), &urls);
        let metadata = metadata::document(&server, members, additions.metadata, self.metadata);
        let metadata = metadata.map_err(BuildError::MetadataMember)?;
        let resources = declarations.documents(&server)?;
        let (issuer, max_body) = (&server.issuer, server.policy.max_body);
        let routes = dispatcher::routes(&urls, &metadata, &resources, issuer, additions.endpoints, max_body)?;
        server.storage.claim_issuer(&server.issuer).await?;
        #[cfg(feature = "jwt")]
        if let Some(keys) = &server.signing_keys {
            keys.connect(Arc::clone(&server.api) as _);
            keys.published().await.map_err(|error| BuildError::capability("signing_keys", error.to_string()))?;
        }
        let inner =
            Inner { server, authorization, token, introspection, urls, metadata, resources, routes, has_server_key };
        Ok(AuthorizationServer { inner: Arc::new(inner) })
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder")
            .field("issuer", &self.issuer)
            .field("policy", &self.policy)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}
