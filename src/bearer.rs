//! The bearer check for the host app's API (RFC 6750).

mod error;
mod presented;

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value};
use time::OffsetDateTime;

pub use self::error::BearerError;
pub(crate) use self::error::{Fault, refuse};
use self::presented::form;
pub(crate) use self::presented::presented;
use crate::api_context::ApiContext;
use crate::capability::ServerView;
use crate::error::Error;
use crate::http::{Request, RequestContext};
use crate::introspected::IntrospectedToken;
use crate::lookup::find_of_kind;
use crate::params::Params;
use crate::record::{ClientId, Grant, GrantId, StoredToken, Subject};
use crate::resource::DeclaredResource;
use crate::scope::{Scope, tokens};
use crate::secret::{AccessToken, kind};
use crate::server_context::ServerContext;
use crate::storage::Found;
use crate::subject_status::must_be_active;

/// An access token to check, for in-process callers of
/// [`AuthorizationServer::bearer_request`](crate::AuthorizationServer::bearer_request).
#[derive(Debug, Clone, Copy)]
#[must_use = "a request does nothing until it is given to a server"]
pub struct BearerRequest<'a> {
    token: &'a AccessToken,
    context: RequestContext<'a>,
}

/// A live access token. To read it, first require a scope with [`require`](Self::require).
#[derive(Debug)]
#[must_use = "a token says nothing until a scope is required of it"]
pub struct Bearer(Access);

/// The access that a token gives: client, user and scope. Handlers on routes with `grantor::axum::require` or
/// `grantor::actix::require` can extract it. A clone is cheap.
#[derive(Debug, Clone)]
pub struct Access {
    source: Source,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
    /// The scope that the layers before a handler have required.
    #[cfg(any(feature = "axum", feature = "actix-web"))]
    required: Option<Scope>,
}

/// The source of the data about a token.
#[derive(Debug, Clone)]
enum Source {
    /// The storage of the server that issued the token.
    Stored { api: Api, token: Arc<StoredToken>, grant: Arc<Grant> },
    /// The introspection response, in an API of another process.
    Introspected { api: Arc<ApiContext>, token: Arc<IntrospectedToken> },
}

/// Returns whether the bearer check reads the header of this name. `name` is in lower case. The adapters copy no other
/// header of a request without a body.
#[cfg(any(feature = "axum", feature = "actix-web"))]
pub(crate) fn reads_header(name: &str) -> bool {
    name == "authorization"
}

/// The API whose access tokens are checked.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    server: Arc<ServerContext>,
    /// `None` if the server has no default resource. If it has other resources, no token is accepted, because each is
    /// for one of those. If it has none, tokens without an audience are accepted.
    resource: Option<Arc<DeclaredResource>>,
}

impl Api {
    /// Returns the API of the default resource.
    pub(crate) fn default_of(server: &Arc<ServerContext>) -> Self {
        Self { server: Arc::clone(server), resource: server.resources.default().cloned() }
    }

    pub(crate) fn of(server: &Arc<ServerContext>, resource: &Arc<DeclaredResource>) -> Self {
        Self { server: Arc::clone(server), resource: Some(Arc::clone(resource)) }
    }

    /// Returns whether the tokens of the server can be for this API.
    #[cfg(any(feature = "axum", feature = "actix-web"))]
    pub(crate) fn can_have_tokens(&self) -> bool {
        self.resource.is_some() || self.server.resources.all().is_empty()
    }

    #[cfg(any(feature = "axum", feature = "actix-web"))]
    pub(crate) fn resource(&self) -> Option<&DeclaredResource> {
        self.resource.as_deref()
    }

    fn context(&self) -> &Arc<ApiContext> {
        self.resource.as_ref().map_or(&self.server.api, |resource| &resource.api)
    }

    fn refuse_now(&self, request: &Request, fault: Fault) -> BearerError {
        refuse(self.context(), request.peer(), self.server.now(), None, None, fault)
    }
}

/// Checks the access token of a request to the host app's API. Ignores a token in a body that is incomplete or larger
/// than `max_body`.
pub(crate) async fn check_request(api: Api, request: &Request, max_body: usize) -> Result<Bearer, BearerError> {
    let server = &api.server;
    let may_hold_it = server.policy.bearer_in_body && request.check_body(max_body).is_ok();
    let form = if may_hold_it { form(request) } else { Params::default() };
    let token = match presented(request, &form) {
        Ok(Some(token)) => token,
        Ok(None) => return Err(api.refuse_now(request, Fault::NoToken)),
        Err(fault) => return Err(api.refuse_now(request, fault)),
    };
    find_live(api, token, request.context()).await
}

/// Checks an access token: the typed form of [`check_request`].
pub(crate) async fn check(api: Api, request: &BearerRequest<'_>) -> Result<Bearer, BearerError> {
    let (token, context) = request.parts();
    find_live(api, token, context).await
}

async fn find_live(api: Api, token: &str, context: RequestContext<'_>) -> Result<Bearer, BearerError> {
    let Api { server, resource } = &api;
    let (now, peer) = (server.now(), context.peer());
    let Found { token, grant } = match find_of_kind::<kind::AccessToken>(server, token).await {
        Ok(Some(found)) => found,
        Ok(None) => return Err(refuse(api.context(), peer, now, None, None, Fault::Invalid)),
        Err(error) => return Err(refuse(api.context(), peer, now, None, None, Fault::Failed(error))),
    };
    let of_token = |fault| refuse(api.context(), peer, now, Some(grant.id), Some(&grant.client_id), fault);
    if !token.is_live(&grant, now) || token.unenforced_member(&grant).is_some() {
        return Err(of_token(Fault::Invalid));
    }
    let is_meant = match (&token.details.audience, resource) {
        (None, None) => server.resources.all().is_empty(),
        (Some(audience), Some(resource)) => resource.is_named(audience),
        // A token from before the server had resources, or of a resource that it no longer has.
        (None, Some(_)) | (Some(_), None) => false,
    };
    if !is_meant {
        return Err(of_token(Fault::Foreign));
    }
    if !grant.token_type().eq_ignore_ascii_case("Bearer") {
        // The token needs a proof, which the bearer check does not verify. If it were accepted here, a thief could use
        // it.
        return Err(of_token(Fault::NotBearer));
    }
    if server.policy.check_subject_at_use
        && let Err(fault) = subject_at_use(server, &grant, peer, now).await
    {
        return Err(of_token(fault));
    }
    Ok(Bearer(Access::new(Source::Stored { api, token, grant }, peer, now)))
}

/// Refuses a token whose subject is not active, as if the token had been revoked.
async fn subject_at_use(
    server: &ServerContext,
    grant: &Grant,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<(), Fault> {
    must_be_active(server, grant.subject.as_ref(), peer, now).await.map_err(|error| match error {
        Error::Refused(_) => Fault::Invalid,
        error => Fault::Failed(error),
    })
}

impl<'a> BearerRequest<'a> {
    /// Builds a request that presents this token.
    pub const fn of(token: &'a AccessToken) -> Self {
        Self { token, context: RequestContext::new() }
    }

    pub(crate) fn parts(&self) -> (&'a str, RequestContext<'a>) {
        (self.token.expose(), self.context)
    }

    /// Sets the context of the received HTTP request, including its peer. Default: empty.
    pub const fn context(mut self, context: RequestContext<'a>) -> Self {
        self.context = context;
        self
    }

    /// Sets only the peer: see [`Request::with_peer`].
    pub const fn peer(mut self, peer: IpAddr) -> Self {
        self.context = self.context.with_peer(peer);
        self
    }
}

impl ServerView<'_> {
    /// Checks the access token of a request (RFC 6750).
    ///
    /// # Errors
    /// The request has no token, the token is not live, or it could not be checked.
    pub async fn bearer(self, request: &Request) -> Result<Bearer, BearerError> {
        // The dispatcher has already enforced the limit of the endpoint, which may be higher than that of the policy.
        check_request(Api::default_of(self.server), request, usize::MAX).await
    }
}

impl Bearer {
    /// Returns a token that is active according to the authorization server, in an API of another process.
    pub(crate) const fn introspected(
        api: Arc<ApiContext>,
        token: Arc<IntrospectedToken>,
        peer: Option<IpAddr>,
        now: OffsetDateTime,
    ) -> Self {
        Self(Access::new(Source::Introspected { api, token }, peer, now))
    }

    /// Returns the access of the token if the token has all scope tokens of the space-separated list `scope`.
    ///
    /// # Errors
    /// * 403 `insufficient_scope`: the token lacks a scope token.
    /// * 500: `scope` is malformed, or the server does not offer it. No token could have it, so this is a mistake in
    ///   the host app. A [`ResourceServer`](crate::ResourceServer) does not know the offered scopes: it responds with
    ///   403 to a scope that is not offered.
    pub fn require(self, scope: &str) -> Result<Access, BearerError> {
        let access = self.0;
        if tokens(scope).all(|token| access.scope().contains(token)) {
            return Ok(access);
        }
        let scope = match Scope::parse(scope) {
            Ok(scope) if scope.is_subset(access.scope()) => return Ok(access),
            scope => scope,
        };
        let is_offered = |scope: &Scope| match &access.source {
            Source::Stored { api, .. } => scope.is_subset(api.server.scopes.all()),
            Source::Introspected { .. } => true,
        };
        let fault = match scope {
            Ok(scope) if is_offered(&scope) => Fault::InsufficientScope(scope),
            _ => Fault::Failed(Error::Misuse("a resource requires a scope that the server does not offer")),
        };
        Err(access.refuse(fault))
    }
}

impl Access {
    const fn new(source: Source, peer: Option<IpAddr>, now: OffsetDateTime) -> Self {
        Self {
            source,
            peer,
            now,
            #[cfg(any(feature = "axum", feature = "actix-web"))]
            required: None,
        }
    }

    /// Returns the scope that the layers before a handler have required.
    #[cfg(any(feature = "axum", feature = "actix-web"))]
    pub(crate) const fn required(&self) -> Option<&Scope> {
        self.required.as_ref()
    }

    #[cfg(any(feature = "axum", feature = "actix-web"))]
    pub(crate) fn with_required(self, scope: Scope) -> Self {
        Self { required: Some(scope), ..self }
    }

    fn refuse(&self, fault: Fault) -> BearerError {
        let api = match &self.source {
            Source::Stored { api, .. } => api.context(),
            Source::Introspected { api, .. } => api,
        };
        refuse(api, self.peer, self.now, self.grant_id(), Some(self.client_id()), fault)
    }

    /// Returns the resource owner, or `None` if the client acts for itself.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        match &self.source {
            Source::Stored { grant, .. } => grant.subject.as_ref(),
            Source::Introspected { token, .. } => token.subject.as_ref(),
        }
    }

    /// Returns the resource owner. Use it for resources that belong to a user.
    ///
    /// # Errors
    /// 403 if the client acts for itself, even if its identifier looks like a user (RFC 9700 §4.15).
    ///
    /// For a [`ResourceServer`](crate::ResourceServer), a client acts for itself if the introspection response has no
    /// `sub`, or a `sub` that is equal to the `client_id`. Other authorization servers may use separate accounts for
    /// machines: see their documentation.
    pub fn user(&self) -> Result<&Subject, BearerError> {
        self.subject().ok_or_else(|| self.refuse(Fault::NoResourceOwner))
    }

    /// Returns the client.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        match &self.source {
            Source::Stored { grant, .. } => &grant.client_id,
            Source::Introspected { token, .. } => &token.client_id,
        }
    }

    /// Returns the scope of the token.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        match &self.source {
            Source::Stored { token, .. } => &token.scope,
            Source::Introspected { token, .. } => &token.scope,
        }
    }

    /// Returns the identifier of the resource that the token is for (RFC 8707), as it was declared. `None` if the server
    /// has no resources, and for a [`ResourceServer`](crate::ResourceServer).
    #[must_use]
    pub fn resource(&self) -> Option<&str> {
        match &self.source {
            Source::Stored { api, .. } => api.resource.as_ref().map(|resource| &*resource.identifier),
            Source::Introspected { .. } => None,
        }
    }

    /// Returns the time at which the token expires.
    #[must_use]
    pub fn expires_at(&self) -> OffsetDateTime {
        match &self.source {
            Source::Stored { token, .. } => token.expires_at,
            Source::Introspected { token, .. } => token.expires_at,
        }
    }

    /// Returns the grant of the token. `None` for a [`ResourceServer`](crate::ResourceServer), because introspection
    /// does not return the grant.
    #[must_use]
    pub fn grant_id(&self) -> Option<GrantId> {
        match &self.source {
            Source::Stored { grant, .. } => Some(grant.id),
            Source::Introspected { .. } => None,
        }
    }

    /// Returns the data that the host app attached to the grant. `None` for a
    /// [`ResourceServer`](crate::ResourceServer), which only gets the members of
    /// [`introspection`](Self::introspection).
    #[must_use]
    pub fn host_data(&self) -> Option<&Value> {
        match &self.source {
            Source::Stored { grant, .. } => grant.host_data.as_deref(),
            Source::Introspected { .. } => None,
        }
    }

    /// Returns the members of the introspection response (RFC 7662 §2.2), such as `username` and those of a
    /// [`TokenCustomizer`](crate::TokenCustomizer). `None` unless a [`ResourceServer`](crate::ResourceServer) has
    /// checked the token.
    #[must_use]
    pub fn introspection(&self) -> Option<Map<String, Value>> {
        match &self.source {
            Source::Stored { .. } => None,
            Source::Introspected { token, .. } => serde_json::from_slice(&token.document).ok(),
        }
    }
}
