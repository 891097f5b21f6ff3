//! The bearer check for the host's own API (RFC 6750).

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;
use time::OffsetDateTime;

use crate::capability::ServerView;
use crate::error::{Error, ErrorCode};
use crate::event::EventKind;
use crate::http::{Request, RequestContext, Response};
use crate::lookup::find_of_kind;
use crate::params::Params;
use crate::record::{ClientId, Grant, GrantId, StoredToken, Subject};
use crate::scope::{Scope, tokens};
use crate::secret::kind;
use crate::server_context::ServerContext;
use crate::storage::Found;
use crate::subject_status::must_be_active;

/// A live access token of which nothing can be read before a scope was required.
#[derive(Debug)]
#[must_use = "a token says nothing until a scope is required of it"]
pub struct Bearer {
    server: Arc<ServerContext>,
    peer: Option<IpAddr>,
    token: Arc<StoredToken>,
    grant: Arc<Grant>,
    now: OffsetDateTime,
}

/// What an access token gives access to.
#[derive(Debug)]
pub struct Access {
    server: Arc<ServerContext>,
    peer: Option<IpAddr>,
    token: Arc<StoredToken>,
    grant: Arc<Grant>,
    now: OffsetDateTime,
}

/// Why a protected resource was refused, as RFC 6750 §3 wants it told.
#[derive(Debug)]
pub struct BearerError {
    server: Arc<ServerContext>,
    fault: Fault,
}

#[derive(Debug, thiserror::Error)]
enum Fault {
    #[error("no access token was presented")]
    NoToken,
    #[error("the access token was presented in more than one way, or in a malformed form")]
    Malformed,
    #[error("the access token is unknown, expired or revoked")]
    Invalid,
    #[error("the access token is not of the type Bearer")]
    NotBearer,
    #[error("the access token does not have the scope {0}")]
    InsufficientScope(Scope),
    #[error("the access token has no resource owner")]
    NoResourceOwner,
    #[error(transparent)]
    Failed(Error),
}

/// Whether the bearer check reads a header of this name, which is in lower case. A request without a body needs no other header, so the
/// extractors of the adapters copy no other.
#[cfg(any(feature = "axum", feature = "actix-web"))]
pub(crate) fn reads_header(name: &str) -> bool {
    name == "authorization"
}

/// Checks the bearer token of a request to the host's API.
pub(crate) async fn check_request(server: Arc<ServerContext>, request: &Request) -> Result<Bearer, BearerError> {
    let may_hold_it = server.policy.bearer_in_body && !request.exceeds(server.policy.max_body);
    let form = if may_hold_it { form(request) } else { Params::default() };
    match presented(request, &form) {
        Ok(Some(token)) => check(server, token, request.context()).await,
        Ok(None) => Err(refuse_now(server, request, Fault::NoToken)),
        Err(fault) => Err(refuse_now(server, request, fault)),
    }
}

/// Checks an access token, of a request with this context.
pub(crate) async fn check(
    server: Arc<ServerContext>,
    token: &str,
    context: RequestContext<'_>,
) -> Result<Bearer, BearerError> {
    let (now, peer) = (server.now(), context.peer());
    match find_of_kind::<kind::AccessToken>(&server, token).await {
        Err(error) => Err(refuse(server, peer, now, None, Fault::Failed(error.into()))),
        Ok(None) => Err(refuse(server, peer, now, None, Fault::Invalid)),
        Ok(Some(Found { token, grant })) => {
            if !token.is_live(&grant, now) || token.unenforced_member(&grant).is_some() {
                Err(refuse(server, peer, now, Some(grant.id), Fault::Invalid))
            } else if !grant.token_type().eq_ignore_ascii_case("Bearer") {
                // It is bound to a proof that nobody asked for here; without it, it would be worth less than it says.
                Err(refuse(server, peer, now, Some(grant.id), Fault::NotBearer))
            } else {
                let asks = server.policy.check_subject_at_use;
                let refused = if asks { subject_at_use(&server, &grant, peer, now).await.err() } else { None };
                match refused {
                    None => Ok(Bearer { server, peer, token, grant, now }),
                    Some(fault) => Err(refuse(server, peer, now, Some(grant.id), fault)),
                }
            }
        }
    }
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

/// The parameters of a body that may hold a token: a form with a method that gives a body a meaning, and nothing in it but
/// ASCII (RFC 6750 §2.2).
fn form(request: &Request) -> Params<'_> {
    let has_form = matches!(request.method(), "POST" | "PUT" | "PATCH") && request.is_form();
    if has_form && request.body().is_ascii() { Params::decode(request.body()) } else { Params::default() }
}

/// The one token in a request: from its header, or from its form body if that is allowed (RFC 6750 §2). A query is never
/// looked at.
fn presented<'a>(request: &'a Request, form: &'a Params<'_>) -> Result<Option<&'a str>, Fault> {
    let mut headers = request.header_values("authorization");
    let (header, None) = (headers.next(), headers.next()) else { return Err(Fault::Malformed) };
    let from_header = match header.map(|header| header.split_at(header.len().min(7))) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case(b"bearer ") => Some(token68(token.trim_ascii())?),
        Some((scheme, [])) if scheme.trim_ascii().eq_ignore_ascii_case(b"bearer") => return Err(Fault::Invalid),
        _ => None,
    };
    match (from_header, form.get("access_token").map_err(|_| Fault::Malformed)?) {
        (Some(_), Some(_)) => Err(Fault::Malformed),
        (None, Some(token)) => token68(token.as_bytes()).map(Some),
        (from_header, None) => Ok(from_header),
    }
}

/// `b64token` (RFC 6750 §2.1).
fn token68(bytes: &[u8]) -> Result<&str, Fault> {
    let padding = bytes.iter().rev().take_while(|byte| **byte == b'=').count();
    let body = &bytes[..bytes.len() - padding];
    let is_allowed =
        |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~' | b'+' | b'/');
    let is_token68 = !body.is_empty() && body.iter().all(is_allowed);
    std::str::from_utf8(bytes).ok().filter(|_| is_token68).ok_or(Fault::Invalid)
}

fn refuse_now(server: Arc<ServerContext>, request: &Request, fault: Fault) -> BearerError {
    let now = server.now();
    refuse(server, request.peer(), now, None, fault)
}

/// Tells the observer and makes the error.
fn refuse(
    server: Arc<ServerContext>,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
    grant_id: Option<GrantId>,
    fault: Fault,
) -> BearerError {
    let refused = BearerError { server, fault };
    let error = match &refused.fault {
        Fault::Failed(error) => Some(error),
        _ => None,
    };
    let code = refused.code().map(ErrorCode::as_str);
    refused.server.observe_from(peer, now, EventKind::BearerRefused { grant_id, code, error });
    refused
}

impl ServerView<'_> {
    /// Checks the access token of a request (RFC 6750).
    ///
    /// # Errors
    /// There is none, it is not live, or it could not be checked.
    pub async fn bearer(self, request: &Request) -> Result<Bearer, BearerError> {
        check_request(Arc::clone(self.server), request).await
    }
}

impl Bearer {
    /// Opens the token if it has every scope token of the space-separated list `scope`.
    ///
    /// # Errors
    /// 403 `insufficient_scope` if it lacks one. If `scope` is malformed or not among the scopes that the server offers,
    /// 500: no token could ever have it, and the mistake is the host's.
    pub fn require(self, scope: &str) -> Result<Access, BearerError> {
        if tokens(scope).all(|token| self.token.scope.contains(token)) {
            return Ok(Access {
                server: self.server,
                peer: self.peer,
                token: self.token,
                grant: self.grant,
                now: self.now,
            });
        }
        let fault = match Scope::parse(scope) {
            Ok(scope) if scope.is_subset(self.server.scopes.all()) => Fault::InsufficientScope(scope),
            _ => Fault::Failed(Error::Extension("a resource requires a scope that the server does not offer")),
        };
        Err(refuse(self.server, self.peer, self.now, Some(self.grant.id), fault))
    }
}

impl Access {
    /// The resource owner; `None` if the client acts for itself.
    #[must_use]
    pub fn subject(&self) -> Option<&Subject> {
        self.grant.subject.as_ref()
    }

    /// The resource owner of a resource that belongs to a user.
    ///
    /// # Errors
    /// 403 for the token of a client that acts for itself, whatever its identifier looks like (RFC 9700 §4.15).
    pub fn user(&self) -> Result<&Subject, BearerError> {
        self.subject().ok_or_else(|| {
            refuse(Arc::clone(&self.server), self.peer, self.now, Some(self.grant.id), Fault::NoResourceOwner)
        })
    }

    /// The client.
    #[must_use]
    pub fn client_id(&self) -> &ClientId {
        &self.grant.client_id
    }

    /// What the token allows.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.token.scope
    }

    /// When it expires.
    #[must_use]
    pub fn expires_at(&self) -> OffsetDateTime {
        self.token.expires_at
    }

    /// The grant it belongs to.
    #[must_use]
    pub fn grant_id(&self) -> GrantId {
        self.grant.id
    }

    /// What the host attached at approval.
    #[must_use]
    pub fn host_data(&self) -> Option<&Value> {
        self.grant.host_data.as_deref()
    }
}

impl BearerError {
    /// The error code; `None` if no token was presented (RFC 6750 §3.1).
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match &self.fault {
            Fault::NoToken => None,
            Fault::Malformed => Some(ErrorCode::INVALID_REQUEST),
            Fault::Invalid | Fault::NotBearer => Some(ErrorCode::INVALID_TOKEN),
            Fault::InsufficientScope(_) | Fault::NoResourceOwner => Some(ErrorCode::INSUFFICIENT_SCOPE),
            Fault::Failed(error) => Some(error.code()),
        }
    }

    /// The status of the answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.fault {
            Fault::NoToken | Fault::Invalid | Fault::NotBearer => 401,
            Fault::Malformed => 400,
            Fault::InsufficientScope(_) | Fault::NoResourceOwner => 403,
            Fault::Failed(error) => error.status(),
        }
    }

    /// The answer, with the challenge that RFC 6750 §3 wants. It points to the metadata of a
    /// [`ProtectedResource`](crate::ProtectedResource) (RFC 9728 §5.1).
    pub fn to_response(&self) -> Response {
        let response = Response::new(self.status());
        if let Fault::Failed(error) = &self.fault {
            return match error.retry_after() {
                Some(seconds) => response.with_header("retry-after", seconds.to_string()),
                None => response,
            };
        }
        let realm = &*self.server.issuer;
        let challenge = match (&self.fault, self.code()) {
            (Fault::InsufficientScope(scope), Some(code)) => format!(
                "Bearer realm=\"{realm}\", error=\"{code}\", error_description=\"the access token lacks a scope\", \
                 scope=\"{scope}\""
            ),
            (fault, Some(code)) => format!("Bearer realm=\"{realm}\", error=\"{code}\", error_description=\"{fault}\""),
            (_, None) => format!("Bearer realm=\"{realm}\""),
        };
        let resource = self.server.resource.as_ref();
        let pointer = resource.map(|urls| format!(", resource_metadata=\"{}\"", urls.metadata)).unwrap_or_default();
        response.with_header("www-authenticate", challenge + &pointer)
    }

    /// The reason, if the token could not be checked at all.
    #[must_use]
    pub const fn failure(&self) -> Option<&Error> {
        match &self.fault {
            Fault::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Display for BearerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fault.fmt(f)
    }
}

impl std::error::Error for BearerError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        std::error::Error::source(&self.fault)
    }
}

impl From<BearerError> for Response {
    fn from(error: BearerError) -> Self {
        error.to_response()
    }
}
