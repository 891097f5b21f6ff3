//! [`Resource`]: the bearer check and the metadata document of one API of a server.

use std::fmt;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::{AuthorizationServer, OwnResource};
use crate::bearer::{self, Api, Bearer, BearerError, BearerRequest};
use crate::http::{Request, Response};
use crate::span::{in_span, within_span};

/// A resource of a server (RFC 8707): an API that its access tokens are for.
/// [`AuthorizationServer::resource`] returns it. Pass a reference to `require` of an adapter, or call
/// [`bearer`](Self::bearer).
///
/// ```
/// use grantor::{AuthorizationServer, MemoryStorage, ProtectedResource};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), grantor::BuildError> {
/// let oauth = AuthorizationServer::builder("https://example.com")
///     .storage(MemoryStorage::new())
///     .scope("mail:read", "Read your mail")
///     .scope("calendar:read", "Read your calendar")
///     .resource(ProtectedResource::new("https://example.com/mail").scope("mail:read"))
///     .resource(ProtectedResource::new("https://example.com/calendar").scope("calendar:read"))
///     .build()
///     .await?;
/// let mail = oauth.resource("https://example.com/mail").expect("it was declared");
/// assert_eq!(mail.metadata_path(), "/.well-known/oauth-protected-resource/mail");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Resource {
    server: AuthorizationServer,
    own: Arc<OwnResource>,
}

impl AuthorizationServer {
    /// Returns the resource with this identifier. `https://host` and `https://host/` are equal. `None` if the server was
    /// built without it.
    #[must_use]
    pub fn resource(&self, identifier: &str) -> Option<Resource> {
        let declared = self.inner.server.resources.find(identifier)?;
        let own = self.inner.resources.iter().find(|own| Arc::ptr_eq(&own.declared, declared))?;
        Some(Resource { server: self.clone(), own: Arc::clone(own) })
    }

    /// Returns all resources, ordered by their identifiers.
    pub fn resources(&self) -> impl Iterator<Item = Resource> {
        self.inner.resources.iter().map(|own| Resource { server: self.clone(), own: Arc::clone(own) })
    }
}

impl Resource {
    /// Returns the identifier, as it was declared. It is the audience of the tokens.
    #[must_use]
    pub fn identifier(&self) -> &str {
        &self.own.declared.identifier
    }

    /// Checks the access token of a request to this API, like [`AuthorizationServer::bearer`]. A token for another
    /// resource is refused.
    ///
    /// # Errors
    /// The request has no token, the token is not live or not for this resource, or it could not be checked.
    pub async fn bearer(&self, request: &Request) -> Result<Bearer, BearerError> {
        let max_body = self.server.policy().max_body;
        in_span("bearer", bearer::check_request(self.api(), request, max_body)).await
    }

    /// Checks an access token: the typed form of [`bearer`](Self::bearer).
    ///
    /// # Errors
    /// The token is not live or not for this resource, or it could not be checked.
    pub async fn bearer_request(&self, request: &BearerRequest<'_>) -> Result<Bearer, BearerError> {
        in_span("bearer", bearer::check(self.api(), request)).await
    }

    /// Serves the metadata document (RFC 9728) at [`metadata_path`](Self::metadata_path). Responds with 404 to any
    /// other path. [`AuthorizationServer::handle`] serves the documents of all resources, except of those on different
    /// hosts whose documents have the same path.
    pub fn metadata(&self, request: &Request) -> Response {
        within_span("resource_metadata", || self.own.document.respond(&self.server.inner.server, request))
    }

    /// Returns the path of the metadata document: the well-known path, followed by the path of the identifier.
    #[must_use]
    pub fn metadata_path(&self) -> &str {
        self.own.document.path()
    }

    /// Returns the members of the metadata document.
    #[must_use]
    pub fn metadata_document(&self) -> &Map<String, Value> {
        self.own.document.members()
    }

    pub(crate) fn api(&self) -> Api {
        Api::of(&self.server.inner.server, &self.own.declared)
    }

    #[cfg(any(feature = "axum", feature = "actix-web"))]
    pub(super) const fn server(&self) -> &AuthorizationServer {
        &self.server
    }
}

impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Resource({:?})", self.identifier())
    }
}
