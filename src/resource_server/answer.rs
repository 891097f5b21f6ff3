//! The check of an introspection response (RFC 7662 §2.2). Any unexpected value refuses the token.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};
use time::OffsetDateTime;

use super::introspector::ReceivedResponse;
use crate::bearer::Fault;
use crate::error::IntrospectionError;
use crate::introspected::IntrospectedToken;
use crate::record::{ClientId, Subject};
use crate::scope::Scope;

/// The reason why a token is refused. It is the same for all requests that waited for the response.
#[derive(Debug, Clone)]
pub(super) enum Rejection {
    Inactive,
    NotBearer,
    Bound,
    Foreign,
    NoScope,
    Failed(Arc<IntrospectionError>),
}

pub(super) type Answer = Result<Arc<IntrospectedToken>, Rejection>;

impl From<IntrospectionError> for Rejection {
    fn from(error: IntrospectionError) -> Self {
        Self::Failed(Arc::new(error))
    }
}

impl From<Rejection> for Fault {
    fn from(rejection: Rejection) -> Self {
        match rejection {
            Rejection::Inactive => Self::Invalid,
            Rejection::NotBearer => Self::NotBearer,
            Rejection::Bound => Self::Bound,
            Rejection::Foreign => Self::Foreign,
            Rejection::NoScope => Self::NoScope,
            Rejection::Failed(error) => Self::Failed(error.into()),
        }
    }
}

/// The checked members. The derived `Deserialize` rejects repeated members.
#[derive(Deserialize)]
struct Members {
    active: bool,
    scope: Option<String>,
    client_id: Option<String>,
    token_type: Option<String>,
    sub: Option<String>,
    iss: Option<String>,
    aud: Option<Audience>,
    exp: Option<i64>,
    iat: Option<i64>,
    nbf: Option<i64>,
    cnf: Option<IgnoredAny>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Many(Vec<String>),
}

impl Audience {
    fn names(&self, wanted: &str) -> bool {
        match self {
            Self::One(own) => own == wanted,
            Self::Many(all) => all.iter().any(|own| own == wanted),
        }
    }
}

/// Reads the response about a token, which must be from `issuer` and, if `audience` is set, for this audience.
pub(super) fn read(response: ReceivedResponse, issuer: &str, audience: Option<&str>) -> Answer {
    let members = members(&response)?;
    if !members.active {
        return Err(Rejection::Inactive);
    }
    let is_foreign = members.iss.is_some_and(|own| own != issuer)
        || audience.is_some_and(|wanted| !members.aud.is_some_and(|own| own.names(wanted)));
    if is_foreign {
        return Err(Rejection::Foreign);
    }
    // A token that is bound to a certificate has the type Bearer (RFC 8705 §3).
    if members.cnf.is_some() {
        return Err(Rejection::Bound);
    }
    // Servers return no type for a refresh token, which must not work at an API.
    if !members.token_type.is_some_and(|own| own.eq_ignore_ascii_case("Bearer")) {
        return Err(Rejection::NotBearer);
    }
    let client_id = members.client_id.ok_or(UNUSABLE("it has no client_id"))?;
    // Some servers return the client identifier as the subject of a client's own tokens. That is not a user (RFC 9700
    // §4.15).
    let subject = members.sub.filter(|subject| *subject != client_id);
    let subject = subject.map(Subject::try_from).transpose();
    let expires_at = members.exp.ok_or(UNUSABLE("it has no exp"))?;
    let not_before = members.iat.max(members.nbf).map(time).transpose()?;
    Ok(Arc::new(IntrospectedToken {
        scope: scope(members.scope.as_deref())?,
        client_id: ClientId::try_from(client_id).map_err(|_| UNUSABLE("its client_id is malformed"))?,
        subject: subject.map_err(|_| UNUSABLE("its sub is malformed"))?,
        not_before,
        expires_at: time(expires_at)?,
        document: response.body.into(),
    }))
}

const UNUSABLE: fn(&'static str) -> IntrospectionError = IntrospectionError::Answer;

fn members(response: &ReceivedResponse) -> Result<Members, IntrospectionError> {
    if response.status != 200 {
        return Err(IntrospectionError::Status(response.status));
    }
    let essence = response.content_type.split(';').next().unwrap_or_default();
    if !essence.trim().eq_ignore_ascii_case("application/json") {
        return Err(UNUSABLE("its content type is not application/json"));
    }
    // The derived `Deserialize` would also accept an array.
    if !response.body.trim_ascii_start().starts_with(b"{") {
        return Err(UNUSABLE("it is not a JSON object"));
    }
    let unusable = |_| UNUSABLE("it is not JSON with members of the types of RFC 7662");
    let members: Members = serde_json::from_slice(&response.body).map_err(unusable)?;
    if members.active {
        // `Access::introspection` must be able to parse the body later.
        serde_json::from_slice::<Map<String, Value>>(&response.body).map_err(unusable)?;
    }
    Ok(members)
}

/// Parses a list of scope tokens.
fn scope(text: Option<&str>) -> Result<Scope, Rejection> {
    let text = text.unwrap_or_default();
    if text.trim_matches(' ').is_empty() {
        return Err(Rejection::NoScope);
    }
    Scope::parse(text).map_err(|_| UNUSABLE("its scope is malformed").into())
}

fn time(seconds: i64) -> Result<OffsetDateTime, IntrospectionError> {
    OffsetDateTime::from_unix_timestamp(seconds).map_err(|_| UNUSABLE("a time in it is out of range"))
}
