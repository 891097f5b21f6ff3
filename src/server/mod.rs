//! [`AuthorizationServer`]: one method for each endpoint.

mod builder;
mod capabilities;
mod checks;
mod declarations;
mod dispatcher;
#[cfg(any(feature = "actix-web", feature = "axum"))]
mod requirement;
mod resource;

use std::sync::Arc;

use serde_json::{Map, Value};
use time::OffsetDateTime;

pub use self::builder::{Builder, NeedsStorage};
pub use self::dispatcher::{Route, ServedBy};
#[cfg(any(feature = "actix-web", feature = "axum"))]
pub(crate) use self::requirement::Requirement;
#[cfg(any(feature = "actix-web", feature = "axum"))]
pub use self::requirement::{BearerCheck, MissingRequire};
pub use self::resource::Resource;
use crate::authorize::{
    AuthorizationEndpoint, AuthorizationError, AuthorizationOutcome, AuthorizationRequest, Consent, ConsentForm,
    Interaction, PendingAuthorization, UserSession,
};
use crate::bearer::{self, Api, Bearer, BearerError, BearerRequest};
use crate::client::Client;
use crate::client::auth::{AuthenticatedClient, authenticate_client};
use crate::connections::{self, Connections};
use crate::error::Error;
use crate::event::EventKind;
use crate::http::{Request, Response};
use crate::introspect::{Introspection, IntrospectionEndpoint, IntrospectionRequest};
use crate::lint::{self, ClientLint, Lint, Served};
use crate::metadata::{Document, EndpointUrls};
use crate::policy::Policy;
use crate::record::{ClientId, Grant, Subject};
use crate::resource::DeclaredResource;
use crate::revoke::{self, RevocationRequest};
use crate::scope::DescribedScope;
use crate::server_context::ServerContext;
use crate::span::{in_span, within_span};
use crate::storage::{ClientRegistry, GrantPage, GrantSelector, RegistryError};
use crate::token::{TokenEndpoint, TokenRequest, TokenResponse, refuse};

/// The number of clients that [`AuthorizationServer::lint_clients`] reads at a time.
const CLIENTS_AT_A_TIME: usize = 100;

/// An authorization server. A clone is cheap and is a handle to the same server.
///
/// Each endpoint has an HTTP form, such as [`token`](Self::token), and a typed form, such as
/// [`token_request`](Self::token_request): see [the overview](crate#two-forms-of-each-endpoint).
#[derive(Debug, Clone)]
pub struct AuthorizationServer {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    server: Arc<ServerContext>,
    authorization: Option<Arc<AuthorizationEndpoint>>,
    token: TokenEndpoint,
    introspection: IntrospectionEndpoint,
    urls: EndpointUrls,
    metadata: Document,
    /// Ordered by identifier.
    resources: Vec<Arc<OwnResource>>,
    routes: Vec<Route>,
    /// Whether the host app set a server key. If not, each process generates its own key.
    has_server_key: bool,
}

/// A declared resource with its metadata document.
#[derive(Debug)]
struct OwnResource {
    declared: Arc<DeclaredResource>,
    document: Document,
}

impl AuthorizationServer {
    /// Starts to build a server. `issuer` is its identifier (RFC 8414 §2): an `https` URL without query and fragment,
    /// or an `http` URL on the loopback interface for development. The server never normalizes it: clients compare it
    /// character by character.
    pub fn builder(issuer: impl Into<String>) -> NeedsStorage {
        NeedsStorage::new(issuer.into())
    }

    /// Serves the authorization endpoint (RFC 6749 §3.1). A server that was built without this endpoint responds with
    /// 404.
    pub async fn authorize(&self, request: &Request) -> AuthorizationOutcome {
        match &self.inner.authorization {
            Some(endpoint) => in_span("authorize", endpoint.respond(request)).await,
            None => AuthorizationOutcome::Respond(Response::new(404)),
        }
    }

    /// Validates an authorization request: the typed form of [`authorize`](Self::authorize).
    ///
    /// # Errors
    /// The request is invalid, or it could not be checked. The error holds the response to send.
    pub async fn authorization_request(
        &self,
        request: &AuthorizationRequest<'_>,
    ) -> Result<PendingAuthorization, AuthorizationError> {
        let endpoint = self.inner.authorization.as_ref().ok_or_else(AuthorizationError::no_endpoint)?;
        in_span("authorize", endpoint.authorize(request)).await
    }

    /// Serves the authorization endpoint and decides the next step for the user: an error response, login, or consent.
    /// It combines [`authorize`](Self::authorize) with
    /// [`PendingAuthorization::interaction`](crate::PendingAuthorization::interaction). `session` is the session of the
    /// user who is logged in, if any.
    ///
    /// A `POST` without a session is redirected to the same request with `GET`. Browsers send `SameSite=Lax` cookies
    /// with this `GET`, but not with a `POST` from another site.
    pub async fn interaction(&self, request: &Request, session: Option<&UserSession>) -> Interaction {
        match self.authorize(request).await {
            AuthorizationOutcome::Respond(response) => Interaction::Respond(response),
            AuthorizationOutcome::Pending(pending) if session.is_none() && request.method() == "POST" => {
                Interaction::Respond(Response::see_other(pending.return_target()))
            }
            AuthorizationOutcome::Pending(pending) => pending.interaction(session).await,
        }
    }

    /// Opens the [`form_token`](Consent::form_token) that a consent form submitted. `session` must be the session that
    /// the token was made for.
    ///
    /// # Errors
    /// The error holds the response to send. Either the token is malformed, was changed, has expired, or belongs to
    /// another server or session. Or the client or a setting has changed since the form was shown, so that the request
    /// is no longer valid or asks for something that the user did not see.
    pub async fn resume(&self, form_token: &str, session: impl AsRef<[u8]>) -> Result<Consent, AuthorizationError> {
        let endpoint = self.inner.authorization.as_ref().ok_or_else(AuthorizationError::no_endpoint)?;
        in_span("resume", endpoint.resume(form_token, session.as_ref())).await
    }

    /// Reads a submitted consent form and opens its form token as [`resume`](Self::resume) does. [`ConsentForm`] lists
    /// the fields of the form.
    ///
    /// # Errors
    /// The form is malformed, or [`resume`](Self::resume) fails. The error holds the response to send.
    pub async fn resume_form(
        &self,
        request: &Request,
        session: impl AsRef<[u8]>,
    ) -> Result<(Consent, ConsentForm), AuthorizationError> {
        let endpoint = self.inner.authorization.as_ref().ok_or_else(AuthorizationError::no_endpoint)?;
        in_span("resume", endpoint.resume_form(request, session.as_ref())).await
    }

    /// Returns the text if it is a [`return_target`](crate::PendingAuthorization::return_target) of this server, of any
    /// age. After login you can safely redirect the browser to the returned path, even if a form submitted it: it
    /// always leads to the authorization endpoint.
    #[must_use]
    pub fn check_return_target<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.inner.authorization.as_ref()?.check_return_target(text)
    }

    /// Serves the token endpoint (RFC 6749 §3.2).
    pub async fn token(&self, request: &Request) -> Response {
        in_span("token", self.inner.token.respond(request)).await
    }

    /// Issues tokens: the typed form of [`token`](Self::token).
    ///
    /// # Errors
    /// No token was issued; the error says why.
    pub async fn token_request(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, Error> {
        in_span("token", self.inner.token.issue(request)).await
    }

    /// Serves the revocation endpoint (RFC 7009).
    pub async fn revoke(&self, request: &Request) -> Response {
        in_span("revoke", revoke::respond(&self.inner.server, request)).await
    }

    /// Revokes a token: the typed form of [`revoke`](Self::revoke). Revoking an unknown token succeeds.
    ///
    /// # Errors
    /// * The client did not authenticate.
    /// * The token belongs to another client. Only a confidential client that an administrator registered gets this
    ///   error.
    /// * The token is live and of a [kind](crate::record::TokenKind::Unknown) that only a newer version can revoke.
    /// * The storage failed. The token may still be live: repeat the request.
    pub async fn revocation_request(&self, request: &RevocationRequest<'_>) -> Result<(), Error> {
        in_span("revoke", revoke::revoke(&self.inner.server, request)).await
    }

    /// Serves the introspection endpoint (RFC 7662).
    pub async fn introspect(&self, request: &Request) -> Response {
        in_span("introspect", self.inner.introspection.respond(request)).await
    }

    /// Introspects a token: the typed form of [`introspect`](Self::introspect).
    ///
    /// # Errors
    /// The caller did not authenticate, is a public client, or the storage failed.
    pub async fn introspection_request(&self, request: &IntrospectionRequest<'_>) -> Result<Introspection, Error> {
        in_span("introspect", self.inner.introspection.introspect(request)).await
    }

    /// Serves the metadata document (RFC 8414) at [`metadata_path`](Self::metadata_path). Responds with 404 to any
    /// other path.
    pub fn metadata(&self, request: &Request) -> Response {
        within_span("metadata", || self.inner.metadata.respond(&self.inner.server, request))
    }

    /// Returns the path of the metadata document: the well-known path, followed by the path of the issuer.
    #[must_use]
    pub fn metadata_path(&self) -> &str {
        self.inner.metadata.path()
    }

    /// Returns the public URLs of the endpoints.
    #[must_use]
    pub fn endpoints(&self) -> &EndpointUrls {
        &self.inner.urls
    }

    /// Returns the members of the metadata document.
    #[must_use]
    pub fn metadata_document(&self) -> &Map<String, Value> {
        self.inner.metadata.members()
    }

    /// Serves the metadata document of the [default resource](Builder::protected_resource) (RFC 9728) at
    /// [`resource_metadata_path`](Self::resource_metadata_path). Responds with 404 to any other path, and to every path
    /// if the server was built without a default resource. For other resources, see [`Resource::metadata`].
    pub fn resource_metadata(&self, request: &Request) -> Response {
        within_span("resource_metadata", || match self.default_resource() {
            Some(own) => own.document.respond(&self.inner.server, request),
            None => Response::new(404),
        })
    }

    /// Returns the path of the metadata document of the default resource: the well-known path, followed by the path of
    /// the resource identifier. `None` without a default resource.
    #[must_use]
    pub fn resource_metadata_path(&self) -> Option<&str> {
        self.default_resource().map(|own| own.document.path())
    }

    /// Returns the members of the metadata document of the default resource. `None` without a default resource.
    #[must_use]
    pub fn resource_metadata_document(&self) -> Option<&Map<String, Value>> {
        self.default_resource().map(|own| own.document.members())
    }

    fn default_resource(&self) -> Option<&OwnResource> {
        let default = self.inner.server.resources.default()?;
        self.inner.resources.iter().find(|own| Arc::ptr_eq(&own.declared, default)).map(|own| &**own)
    }

    /// Returns the applications that have access to a user's account, each with its grants. Use it for
    /// [a page of connected applications](crate::manual::with_axum#connected-applications). See [`Connections`].
    ///
    /// To end the access of an application, [revoke its grants](Self::revoke_grants) by
    /// [`GrantSelector::SubjectAndClient`]. To end a single grant, revoke it with [`GrantSelector::SubjectAndId`].
    ///
    /// # Errors
    /// The storage or the client store failed.
    pub async fn connections(&self, subject: &Subject) -> Result<Connections, Error> {
        connections::of(&self.inner.server, subject).await
    }

    /// Returns findings about the configuration of the server: settings that work, but may be unwanted. See [`lint`].
    #[must_use]
    pub fn lint(&self) -> Vec<Lint> {
        lint::of_server(&self.inner.server, self.inner.has_server_key, &self.served())
    }

    /// Returns findings about one client: registered features that this server does not offer, and probable mistakes.
    /// See [`lint`].
    #[must_use]
    pub fn lint_client(&self, client: &Client) -> Vec<ClientLint> {
        lint::of_client(&self.inner.server, &self.served(), client, self.inner.server.now())
    }

    /// Calls `report` with the findings about all clients of a registry, in the order of their identifiers. It holds at
    /// most a hundred clients in memory.
    ///
    /// # Errors
    /// The registry failed; findings about some clients may have been reported.
    pub async fn lint_clients(
        &self,
        registry: &(impl ClientRegistry + ?Sized),
        mut report: impl FnMut(&Client, ClientLint) + Send,
    ) -> Result<(), RegistryError> {
        let mut after: Option<ClientId> = None;
        loop {
            let clients = registry.list_clients(after.as_ref(), CLIENTS_AT_A_TIME).await?;
            for client in &clients {
                self.lint_client(client).into_iter().for_each(|finding| report(client, finding));
            }
            // A registry may return fewer clients than requested, so only an empty page ends the list.
            let Some(last) = clients.last() else { return Ok(()) };
            after = Some(last.id().clone());
        }
    }

    fn served(&self) -> Served<'_> {
        Served {
            grant_types: self.inner.token.grant_types().collect(),
            authorization: self.inner.authorization.is_some(),
            introspection: self.inner.urls.introspection.is_some(),
        }
    }

    /// Returns one page of the live grants that `which` selects, newest first.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn list_grants(&self, which: &GrantSelector, page: &GrantPage) -> Result<Vec<Arc<Grant>>, Error> {
        let server = &self.inner.server;
        Ok(server.storage.list_grants(which, server.now(), page).await?)
    }

    /// Revokes grants and returns how many of them were not revoked before. Once it has returned, none of their tokens
    /// works.
    ///
    /// A page that acts for a user must select by subject *and* id, so that it can't revoke grants of other users.
    /// After a change of password, end the user's sessions first and then revoke by subject. In the other order, a
    /// session could open a new grant in between.
    ///
    /// # Errors
    /// The storage failed; some of the grants may have been revoked.
    pub async fn revoke_grants(&self, which: &GrantSelector) -> Result<u64, Error> {
        let server = &self.inner.server;
        let now = server.now();
        let result = server.storage.revoke_grants(which, now).await.map_err(Error::from);
        let event = match &result {
            Ok(count) => EventKind::GrantsRevoked { which, count: *count },
            Err(error) => EventKind::GrantsRevocationFailed { which, error },
        };
        server.observe(now, event);
        result
    }

    /// Removes rows that are no longer needed: at most `limit` rows of grants and tokens, and at most `limit` ephemeral
    /// entries. Returns the greater of the two numbers.
    ///
    /// Call it regularly, and call it again at once while it returns `limit`. A limit of a few thousand keeps each call
    /// short.
    ///
    /// # Errors
    /// The storage or the ephemeral store failed. The other one was purged anyway, and some rows may have been removed.
    pub async fn purge(&self, limit: usize) -> Result<usize, Error> {
        let server = &self.inner.server;
        let now = server.now();
        let rows = server.storage.purge_expired(now, limit).await;
        let entries = server.ephemeral.purge_ephemeral(now, limit).await;
        Ok(rows?.max(entries?))
    }

    /// Checks the access token of a request to the host app's API (RFC 6750).
    ///
    /// # Errors
    /// The request has no token, the token is not live, or it could not be checked.
    pub async fn bearer(&self, request: &Request) -> Result<Bearer, BearerError> {
        let max_body = self.policy().max_body;
        in_span("bearer", bearer::check_request(Api::default_of(&self.inner.server), request, max_body)).await
    }

    /// Checks an access token: the typed form of [`bearer`](Self::bearer).
    ///
    /// # Errors
    /// The token is not live, or it could not be checked.
    pub async fn bearer_request(&self, request: &BearerRequest<'_>) -> Result<Bearer, BearerError> {
        in_span("bearer", bearer::check(Api::default_of(&self.inner.server), request)).await
    }

    /// Authenticates the client of a request (RFC 6749 §2.3). Use it for an endpoint of the host app that clients call
    /// with a form by `POST`.
    ///
    /// Authentication methods, limits and refusals are those of the token endpoint, except that parameters in the query
    /// are refused for every client. The observer gets a failure as [`TokenRefused`](crate::EventKind::TokenRefused)
    /// with the peer of the request.
    ///
    /// A public client sends only its identifier, which is no secret. If the endpoint needs proof of identity, check
    /// [`Client::is_confidential`].
    ///
    /// An assertion (`private_key_jwt`) works once. So call this once for each request, and not before another endpoint
    /// handles the same request.
    ///
    /// ```
    /// use grantor::{AuthorizationServer, Params, Request, Response};
    ///
    /// /// Deletes the data that a client has stored.
    /// async fn forget(oauth: &AuthorizationServer, request: &Request) -> Response {
    ///     match oauth.authenticate_client(request).await {
    ///         Ok(client) if client.is_confidential() => {
    ///             let params = Params::decode(request.body());
    ///             println!("{} deletes {:?}", client.id(), params.get("note"));
    ///             Response::new(204)
    ///         }
    ///         Ok(_) => Response::new(403),
    ///         Err(error) => oauth.refuse(&error),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// The client did not authenticate, the request is not a form or repeats a parameter of client authentication, or
    /// the storage or the authenticator failed. A client with a [critical
    /// member](crate::client::ClientParts::unenforced_member) that this version does not enforce is refused with
    /// 503. [`refuse`](Self::refuse) turns the error into a response.
    ///
    /// [`Client::is_confidential`]: crate::Client::is_confidential
    pub async fn authenticate_client(&self, request: &Request) -> Result<AuthenticatedClient, Error> {
        let authenticated = authenticate_client(&self.inner.server, request, self.policy().max_body);
        in_span("authenticate_client", authenticated).await
    }

    /// Returns the error response that the token endpoint would send (RFC 6749 §5.2).
    pub fn refuse(&self, error: &Error) -> Response {
        refuse(error, self.issuer())
    }

    /// Returns the time of the server's [`Clock`](crate::Clock), in whole microseconds.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.inner.server.now()
    }

    /// Returns the issuer identifier, exactly as it was passed to [`builder`](Self::builder).
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.inner.server.issuer
    }

    /// Returns the scopes that the server offers with their descriptions, in the order of their declaration. Use it for
    /// a page that registers clients or shows what a client may do.
    pub fn scopes(&self) -> impl Iterator<Item = DescribedScope<'_>> {
        self.inner.server.scopes.iter()
    }

    /// Returns the policy of the server.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.inner.server.policy
    }
}
