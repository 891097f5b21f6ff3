//! [`AuthorizationServer`]: the endpoints by name.

mod builder;
mod capabilities;
mod dispatcher;
#[cfg(any(feature = "actix-web", feature = "axum"))]
mod requirement;

use std::sync::Arc;

use serde_json::{Map, Value};
use time::OffsetDateTime;

pub use self::builder::{Builder, NeedsStorage};
pub use self::dispatcher::{Route, ServedBy};
#[cfg(any(feature = "actix-web", feature = "axum"))]
pub(crate) use self::requirement::Requirement;
#[cfg(any(feature = "actix-web", feature = "axum"))]
pub use self::requirement::{BearerCheck, MissingRequire};
use crate::authorize::{
    AuthorizationEndpoint, AuthorizationError, AuthorizationOutcome, AuthorizationRequest, Consent, ConsentForm,
    Interaction, PendingAuthorization, UserSession,
};
use crate::bearer::{self, Bearer, BearerError, BearerRequest};
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
use crate::revoke::{self, RevocationRequest};
use crate::scope::DescribedScope;
use crate::server_context::ServerContext;
use crate::span::{in_span, within_span};
use crate::storage::{ClientRegistry, GrantPage, GrantSelector, RegistryError};
use crate::token::{TokenEndpoint, TokenRequest, TokenResponse, refuse};

/// How many clients are read at a time.
const CLIENTS_AT_A_TIME: usize = 100;

/// An authorization server. Cloning it is cheap and gives the same server.
///
/// Each endpoint has an HTTP form, such as [`token`](Self::token), and a typed form, such as [`token_request`](Self::token_request): see
/// [the overview](crate#two-forms-of-each-endpoint).
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
    resource: Option<Document>,
    routes: Vec<Route>,
    /// Whether the host gave a key, so that it is the same in every process.
    has_server_key: bool,
}

impl AuthorizationServer {
    /// Starts to build a server. `issuer` is its identifier (RFC 8414 §2): an `https` URL without query and fragment, or
    /// an `http` URL on the loopback interface for development. It is used character for character.
    pub fn builder(issuer: impl Into<String>) -> NeedsStorage {
        NeedsStorage::new(issuer.into())
    }

    /// The authorization endpoint (RFC 6749 §3.1). A server that was built without one answers 404.
    pub async fn authorize(&self, request: &Request) -> AuthorizationOutcome {
        match &self.inner.authorization {
            Some(endpoint) => in_span("authorize", endpoint.respond(request)).await,
            None => AuthorizationOutcome::Respond(Response::new(404)),
        }
    }

    /// The typed form of [`authorize`](Self::authorize).
    ///
    /// # Errors
    /// With the answer to send instead: the request is not in order, or it could not be checked.
    pub async fn authorization_request(
        &self,
        request: &AuthorizationRequest<'_>,
    ) -> Result<PendingAuthorization, AuthorizationError> {
        let endpoint = self.inner.authorization.as_ref().ok_or_else(AuthorizationError::no_endpoint)?;
        in_span("authorize", endpoint.authorize(request)).await
    }

    /// The authorization endpoint, and what has to happen next for the user who is logged in, if one is: what
    /// [`authorize`](Self::authorize) and [`PendingAuthorization::interaction`](crate::PendingAuthorization::interaction) say.
    ///
    /// A `POST` without a session is redirected to the same request by `GET`: browsers send cookies that are
    /// `SameSite=Lax` with that, but not with a `POST` from another site.
    pub async fn interaction(&self, request: &Request, session: Option<&UserSession>) -> Interaction {
        match self.authorize(request).await {
            AuthorizationOutcome::Respond(response) => Interaction::Respond(response),
            AuthorizationOutcome::Pending(pending) if session.is_none() && request.method() == "POST" => {
                Interaction::Respond(Response::see_other(pending.return_target()))
            }
            AuthorizationOutcome::Pending(pending) => pending.interaction(session).await,
        }
    }

    /// Takes back the [`form_token`](Consent::form_token) that a consent form submitted, together with the
    /// same `session` that it was made for.
    ///
    /// # Errors
    /// With the answer to send instead: the token is not of this server and session, was changed, has expired, or has another
    /// format; or the client or a setting was changed, so that the request is no longer in order, or asks for something else
    /// than was shown.
    pub async fn resume(&self, form_token: &str, session: impl AsRef<[u8]>) -> Result<Consent, AuthorizationError> {
        let endpoint = self.inner.authorization.as_ref().ok_or_else(AuthorizationError::no_endpoint)?;
        in_span("resume", endpoint.resume(form_token, session.as_ref())).await
    }

    /// Reads a submitted consent form, see [`ConsentForm`] for its fields, and takes its form token back as
    /// [`resume`](Self::resume) does.
    ///
    /// # Errors
    /// With the answer to send instead: the form is malformed, or as in [`resume`](Self::resume).
    pub async fn resume_form(
        &self,
        request: &Request,
        session: impl AsRef<[u8]>,
    ) -> Result<(Consent, ConsentForm), AuthorizationError> {
        let endpoint = self.inner.authorization.as_ref().ok_or_else(AuthorizationError::no_endpoint)?;
        in_span("resume", endpoint.resume_form(request, session.as_ref())).await
    }

    /// Checks that a text is a [`return_target`](crate::PendingAuthorization::return_target) of this server, and returns it.
    /// After login, the browser may be sent there: it is a path of the authorization endpoint, whatever the login form
    /// submitted. How old it is does not matter.
    #[must_use]
    pub fn check_return_target<'a>(&self, text: &'a str) -> Option<&'a str> {
        self.inner.authorization.as_ref()?.check_return_target(text)
    }

    /// The token endpoint (RFC 6749 §3.2).
    pub async fn token(&self, request: &Request) -> Response {
        in_span("token", self.inner.token.respond(request)).await
    }

    /// The typed form of [`token`](Self::token).
    ///
    /// # Errors
    /// Why no token was issued.
    pub async fn token_request(&self, request: &TokenRequest<'_>) -> Result<TokenResponse, Error> {
        in_span("token", self.inner.token.issue(request)).await
    }

    /// The revocation endpoint (RFC 7009).
    pub async fn revoke(&self, request: &Request) -> Response {
        in_span("revoke", revoke::respond(&self.inner.server, request)).await
    }

    /// The typed form of [`revoke`](Self::revoke). An unknown token is revoked successfully.
    ///
    /// # Errors
    /// The client did not authenticate; the token is another client's, which only a confidential client that an administrator
    /// registered is told; or it lives and is of a [kind](crate::record::TokenKind::Unknown) that only a newer version can revoke. Or the storage failed: then the token may be dead or
    /// alive, and the request is to be repeated.
    pub async fn revocation_request(&self, request: &RevocationRequest<'_>) -> Result<(), Error> {
        in_span("revoke", revoke::revoke(&self.inner.server, request)).await
    }

    /// The introspection endpoint (RFC 7662).
    pub async fn introspect(&self, request: &Request) -> Response {
        in_span("introspect", self.inner.introspection.respond(request)).await
    }

    /// The typed form of [`introspect`](Self::introspect).
    ///
    /// # Errors
    /// The caller did not authenticate, is a public client, or the storage failed.
    pub async fn introspection_request(&self, request: &IntrospectionRequest<'_>) -> Result<Introspection, Error> {
        in_span("introspect", self.inner.introspection.introspect(request)).await
    }

    /// The metadata document (RFC 8414), for a `GET` of [`metadata_path`](Self::metadata_path); 404 for any other path.
    pub fn metadata(&self, request: &Request) -> Response {
        within_span("metadata", || self.inner.metadata.respond(&self.inner.server, request))
    }

    /// The path that the metadata is to be served at: the well-known one, followed by the issuer's own.
    #[must_use]
    pub fn metadata_path(&self) -> &str {
        self.inner.metadata.path()
    }

    /// Returns the URLs of the endpoints, as clients reach them.
    #[must_use]
    pub fn endpoints(&self) -> &EndpointUrls {
        &self.inner.urls
    }

    /// The members of the metadata document.
    #[must_use]
    pub fn metadata_document(&self) -> &Map<String, Value> {
        self.inner.metadata.members()
    }

    /// The document about the host's own API (RFC 9728), for a `GET` of
    /// [`resource_metadata_path`](Self::resource_metadata_path); 404 for any other path, and for every path if the server
    /// was built without a [`ProtectedResource`](crate::ProtectedResource).
    pub fn resource_metadata(&self, request: &Request) -> Response {
        within_span("resource_metadata", || match &self.inner.resource {
            Some(document) => document.respond(&self.inner.server, request),
            None => Response::new(404),
        })
    }

    /// The path that the document about the host's own API is to be served at: the well-known one, followed by the
    /// resource identifier's own.
    #[must_use]
    pub fn resource_metadata_path(&self) -> Option<&str> {
        self.inner.resource.as_ref().map(Document::path)
    }

    /// The members of the document about the host's own API.
    #[must_use]
    pub fn resource_metadata_document(&self) -> Option<&Map<String, Value>> {
        self.inner.resource.as_ref().map(Document::members)
    }

    /// The applications that act for a user, each with its grants: for
    /// [a page of connected applications](crate::manual::with_axum#connected-applications). See [`Connections`].
    ///
    /// To end the access of one, [revoke](Self::revoke_grants) by
    /// [`GrantSelector::SubjectAndClient`]. To end one of its grants, revoke by [`GrantSelector::SubjectAndId`].
    ///
    /// # Errors
    /// The storage or the client store failed.
    pub async fn connections(&self, subject: &Subject) -> Result<Connections, Error> {
        connections::of(&self.inner.server, subject).await
    }

    /// Returns the findings about the server itself: settings that work, but that an operator may not want. See [`lint`].
    #[must_use]
    pub fn lint(&self) -> Vec<Lint> {
        lint::of_server(&self.inner.server, self.inner.has_server_key, &self.served())
    }

    /// Returns the findings about one client: what it is registered for and can't use on this server, and probable
    /// mistakes. See [`lint`].
    #[must_use]
    pub fn lint_client(&self, client: &Client) -> Vec<ClientLint> {
        lint::of_client(&self.inner.server, &self.served(), client, self.inner.server.now())
    }

    /// Reports the findings about all clients of a registry, in the order of their identifiers. It reads a hundred clients at a time
    /// and keeps none.
    ///
    /// # Errors
    /// The registry failed; the findings about some clients may have been reported.
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
            // A registry may return fewer than it was asked for, so only an empty page is the last.
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

    /// Live grants, newest first, page by page: of a user, of a client, or of a user to a client.
    ///
    /// # Errors
    /// The storage failed.
    pub async fn list_grants(&self, which: &GrantSelector, page: &GrantPage) -> Result<Vec<Arc<Grant>>, Error> {
        let server = &self.inner.server;
        Ok(server.storage.list_grants(which, server.now(), page).await?)
    }

    /// Revokes grants: when this returns, no token of them works. Returns how many were not revoked before.
    ///
    /// A page that acts for a user selects by subject *and* id. Who changes a password ends the user's sessions first
    /// and then revokes by subject; else a session could open a new grant in between.
    ///
    /// # Errors
    /// The storage failed; some of the grants may have been revoked.
    pub async fn revoke_grants(&self, which: &GrantSelector) -> Result<u64, Error> {
        let server = &self.inner.server;
        let now = server.now();
        let result = server.storage.revoke_grants(which, now).await.map_err(Error::from);
        let told = match &result {
            Ok(count) => EventKind::GrantsRevoked { which, count: *count },
            Err(error) => EventKind::GrantsRevocationFailed { which, error },
        };
        server.observe(now, told);
        result
    }

    /// Removes what is of no use any more: at most `limit` rows of grants and tokens, and at most `limit` ephemeral entries.
    /// Returns the greater of the two numbers. To be called from time to time, again at once while it returns `limit`; a limit
    /// of some thousand keeps each call short.
    ///
    /// # Errors
    /// The storage or the ephemeral store failed; the other one was purged nevertheless, and some rows may have been removed.
    pub async fn purge(&self, limit: usize) -> Result<usize, Error> {
        let server = &self.inner.server;
        let now = server.now();
        let rows = server.storage.purge_expired(now, limit).await;
        let entries = server.ephemeral.purge_ephemeral(now, limit).await;
        Ok(rows?.max(entries?))
    }

    /// Checks the access token of a request to the host's own API (RFC 6750).
    ///
    /// # Errors
    /// There is none, it is not live, or it could not be checked.
    pub async fn bearer(&self, request: &Request) -> Result<Bearer, BearerError> {
        let (server, max_body) = (Arc::clone(&self.inner.server), self.policy().max_body);
        in_span("bearer", bearer::check_request(server, request, max_body)).await
    }

    /// The typed form of [`bearer`](Self::bearer).
    ///
    /// # Errors
    /// The token is not live, or it could not be checked.
    pub async fn bearer_request(&self, request: &BearerRequest<'_>) -> Result<Bearer, BearerError> {
        in_span("bearer", bearer::check(Arc::clone(&self.inner.server), request)).await
    }

    /// Authenticates the client of a request at an endpoint of the application's own (RFC 6749 §2.3): a `POST` of a form. Methods, limits
    /// and refusals are those of the token endpoint, but parameters in the query are refused to every client. A failure is told to the
    /// observer as [`TokenRefused`](crate::EventKind::TokenRefused), with the peer of the request.
    ///
    /// A public client authenticates by its identifier alone, which anyone may know: ask [`Client::is_confidential`] where a proof
    /// is needed.
    ///
    /// ```
    /// use grantor::{AuthorizationServer, Params, Request, Response};
    ///
    /// /// An application deletes what it has stored.
    /// async fn forget(oauth: &AuthorizationServer, request: &Request) -> Response {
    ///     match oauth.authenticate_client(request).await {
    ///         Ok(client) if client.is_confidential() => {
    ///             let params = Params::decode(request.body());
    ///             println!("{} has no use for {:?} any more", client.id(), params.get("note"));
    ///             Response::new(204)
    ///         }
    ///         Ok(_) => Response::new(403),
    ///         Err(error) => oauth.refuse(&error),
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// The client did not authenticate, the request is no form or repeats a parameter of client authentication, or the storage or the
    /// authenticator failed. A client with a [critical member](crate::client::ClientParts::unenforced_member) that this version does
    /// not enforce is refused with 503. [`refuse`](Self::refuse) makes the answer.
    ///
    /// [`Client::is_confidential`]: crate::Client::is_confidential
    pub async fn authenticate_client(&self, request: &Request) -> Result<AuthenticatedClient, Error> {
        let authenticated = authenticate_client(&self.inner.server, request, self.policy().max_body);
        in_span("authenticate_client", authenticated).await
    }

    /// Makes the answer to a request that is refused, as the token endpoint does (RFC 6749 §5.2).
    pub fn refuse(&self, error: &Error) -> Response {
        refuse(error, self.issuer())
    }

    /// Returns the time of the server's [`Clock`](crate::Clock), in whole microseconds.
    #[must_use]
    pub fn now(&self) -> OffsetDateTime {
        self.inner.server.now()
    }

    /// The issuer identifier, as it was given.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.inner.server.issuer
    }

    /// Lists the scopes that it offers, with descriptions, in the order in which they were declared: for a page that registers
    /// clients or shows what a client may do.
    pub fn scopes(&self) -> impl Iterator<Item = DescribedScope<'_>> {
        self.inner.server.scopes.iter()
    }

    /// The policy it was built with.
    #[must_use]
    pub fn policy(&self) -> &Policy {
        &self.inner.server.policy
    }
}
