//! The errors of the bearer check, and their responses.

use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use time::OffsetDateTime;

use crate::api_context::ApiContext;
use crate::error::{Error, ErrorCode};
use crate::event::{BearerRefusal, EventKind};
use crate::http::Response;
use crate::record::{ClientId, GrantId};
use crate::scope::Scope;

/// The reason why a protected resource refused a request. It converts into the response (RFC 6750 §3).
#[derive(Debug)]
pub struct BearerError {
    api: Arc<ApiContext>,
    fault: Fault,
    /// The scope that the resource requires, if it is known.
    required: Option<Scope>,
}

#[derive(Debug, thiserror::Error)]
pub(crate) enum Fault {
    #[error("no access token was presented")]
    NoToken,
    #[error("the access token was presented in more than one way, or in a malformed form")]
    Malformed,
    #[error("the access token is unknown, expired or revoked")]
    Invalid,
    #[error("the access token is not of the type Bearer")]
    NotBearer,
    #[error("the access token is bound to a key, and this API checks no proof of it")]
    Bound,
    #[error("the access token is not meant for this API")]
    Foreign,
    #[error("the access token has no scope")]
    NoScope,
    #[error("the access token does not have the scope {0}")]
    InsufficientScope(Scope),
    #[error("the access token has no resource owner")]
    NoResourceOwner,
    #[error(transparent)]
    Failed(Error),
}

impl Fault {
    const fn reason(&self) -> Option<BearerRefusal> {
        Some(match self {
            Self::NoToken => BearerRefusal::NoToken,
            Self::Malformed => BearerRefusal::Malformed,
            Self::Invalid => BearerRefusal::NotLive,
            Self::NotBearer => BearerRefusal::NotBearer,
            Self::Bound => BearerRefusal::Bound,
            Self::Foreign => BearerRefusal::Foreign,
            Self::NoScope => BearerRefusal::NoScope,
            Self::InsufficientScope(_) => BearerRefusal::InsufficientScope,
            Self::NoResourceOwner => BearerRefusal::NoResourceOwner,
            Self::Failed(_) => return None,
        })
    }
}

/// Notifies the observer and returns the error.
pub(crate) fn refuse(
    api: &Arc<ApiContext>,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
    grant_id: Option<GrantId>,
    client_id: Option<&ClientId>,
    fault: Fault,
) -> BearerError {
    let refused = BearerError { api: Arc::clone(api), fault, required: None };
    let error = match &refused.fault {
        Fault::Failed(error) => Some(error),
        _ => None,
    };
    let (code, reason) = (refused.code().map(ErrorCode::as_str), refused.fault.reason());
    refused.api.observe(peer, now, EventKind::BearerRefused { grant_id, client_id, code, reason, error });
    refused
}

impl BearerError {
    /// Adds the scope that the resource requires. The challenge of a 401 and of an insufficient scope names it (RFC
    /// 6750 §3).
    #[cfg(any(feature = "actix-web", feature = "axum"))]
    pub(crate) fn with_required(self, scope: Scope) -> Self {
        let fault = match self.fault {
            Fault::InsufficientScope(_) => Fault::InsufficientScope(scope.clone()),
            fault => fault,
        };
        Self { required: Some(scope), fault, ..self }
    }

    /// Returns the error code, or `None` if no token was presented (RFC 6750 §3.1).
    #[must_use]
    pub fn code(&self) -> Option<ErrorCode> {
        match &self.fault {
            Fault::NoToken => None,
            Fault::Malformed => Some(ErrorCode::INVALID_REQUEST),
            Fault::Invalid | Fault::NotBearer | Fault::Bound | Fault::Foreign => Some(ErrorCode::INVALID_TOKEN),
            Fault::NoScope | Fault::InsufficientScope(_) | Fault::NoResourceOwner => {
                Some(ErrorCode::INSUFFICIENT_SCOPE)
            }
            Fault::Failed(error) => Some(error.code()),
        }
    }

    /// Returns the HTTP status of the response.
    #[must_use]
    pub fn status(&self) -> u16 {
        match &self.fault {
            Fault::NoToken | Fault::Invalid | Fault::NotBearer | Fault::Bound | Fault::Foreign => 401,
            Fault::Malformed => 400,
            Fault::NoScope | Fault::InsufficientScope(_) | Fault::NoResourceOwner => 403,
            Fault::Failed(error) => error.status(),
        }
    }

    /// Returns the error response with a challenge (RFC 6750 §3). The challenge points to the metadata of the
    /// [`ProtectedResource`](crate::ProtectedResource), if there is one (RFC 9728 §5.1).
    pub fn to_response(&self) -> Response {
        let response = Response::new(self.status());
        if let Fault::Failed(error) = &self.fault {
            return match error.retry_after() {
                Some(seconds) => response.with_header("retry-after", seconds.to_string()),
                None => response,
            };
        }
        let mut members = vec![format!("realm=\"{}\"", self.api.issuer)];
        let mut add = |name, value: &dyn fmt::Display| members.push(format!("{name}=\"{value}\""));
        if let Some(code) = self.code() {
            add("error", &code);
            match &self.fault {
                Fault::InsufficientScope(_) => add("error_description", &"the access token lacks a scope"),
                fault => add("error_description", fault),
            }
        }
        match &self.fault {
            Fault::InsufficientScope(scope) => add("scope", scope),
            fault if self.status() == 401 || matches!(fault, Fault::NoScope) => {
                self.required.iter().for_each(|scope| add("scope", scope));
            }
            _ => {}
        }
        if let Some(metadata) = &self.api.resource_metadata {
            add("resource_metadata", metadata);
        }
        response.with_header("www-authenticate", format!("Bearer {}", members.join(", ")))
    }

    /// Returns the cause if the token could not be checked. Returns `None` if the request was refused.
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
