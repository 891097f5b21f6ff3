//! Request objects (RFC 9101): the parameters of an authorization request in a JWT that the client signed.

use std::net::IpAddr;

use serde_json::Value;
use time::{Duration, OffsetDateTime};

use crate::client::Client;
use crate::client_signatures::{ClientSignatures, Expected};
use crate::error::Error;
use crate::jose::{Claims, JwtProblem, Typ};
use crate::params::Params;
use crate::server_context::ServerContext;

/// The type of a request object (RFC 9101 §10.8).
const TYPE: Typ<'_> = Typ::IsOrGeneral("oauth-authz-req+jwt");

/// The longest time for which an object is valid, if it expires.
const LONGEST: Duration = Duration::HOUR;

/// The parameters that can be JSON numbers. All others are strings (RFC 9101 §4), except those of [`MAY_REPEAT`].
const NUMBERS: [&str; 1] = ["max_age"];

/// The parameters that may repeat. In an object, several values are an array (RFC 8707 §2.1).
const MAY_REPEAT: [&str; 1] = ["resource"];

/// The claims of every JWT (RFC 7519 §4.1), which are no parameters.
const CLAIMS: [&str; 7] = ["iss", "sub", "aud", "exp", "nbf", "iat", "jti"];

/// A request object whose signature was verified.
pub(crate) struct RequestObject {
    pub(crate) params: Params<'static>,
    /// The fault of a parameter. The other parameters can be used to report it.
    pub(crate) problem: Option<JwtProblem>,
}

/// Verifies a request object of a client and reads the parameters with these names. Members with other names are
/// ignored, like unknown parameters.
///
/// The outer error is a failure of the server.
pub(crate) async fn read(
    text: &str,
    expected: &Expected<'_>,
    signatures: &ClientSignatures,
    names: &[&'static str],
    now: OffsetDateTime,
) -> Result<Result<RequestObject, JwtProblem>, Error> {
    let verified = signatures.verify(text, expected, now).await?;
    Ok(verified.and_then(|(claims, _)| parameters(claims, expected.client.id().as_str(), names)))
}

/// Returns the requirements for a request object of a client.
pub(crate) fn expected<'a>(client: &'a Client, server: &'a ServerContext, peer: Option<IpAddr>) -> Expected<'a> {
    Expected {
        client,
        issuer: &server.issuer,
        typ: TYPE,
        max_size: server.policy.max_body,
        algorithm: client.request_object_signing_alg(),
        longest: LONGEST,
        needs_expiry: false,
        peer,
    }
}

fn parameters(claims: Claims, client_id: &str, names: &[&'static str]) -> Result<RequestObject, JwtProblem> {
    // A text with a subject is a client assertion or another kind of JWT (RFC 9101 §10.8).
    if claims.get("sub").is_some() {
        return Err(JwtProblem::UnexpectedClaim("sub"));
    }
    if claims.text("client_id")?.ok_or(JwtProblem::MissingClaim("client_id"))? != client_id {
        return Err(JwtProblem::ClientId);
    }
    let nested = ["request", "request_uri"].into_iter().find(|name| claims.get(name).is_some());
    let mut problem = nested.map(JwtProblem::UnexpectedClaim);
    let mut params = Params::with_room();
    let members = claims.into_members().into_iter().filter(|(name, _)| !CLAIMS.contains(&name.as_str()));
    for (name, value) in members {
        let known = names.iter().find(|known| **known == name);
        match (as_parameters(&name, value), known) {
            // Unknown ones count for the size of the request, too.
            (Some(values), _) => values.into_iter().for_each(|value| params.push_owned(name.clone(), value)),
            (None, Some(name)) => problem = problem.or(Some(JwtProblem::MalformedClaim(name))),
            (None, None) => {}
        }
    }
    Ok(RequestObject { params, problem })
}

/// Returns the values of a member, or `None` if one has another type than the parameter.
fn as_parameters(name: &str, value: Value) -> Option<Vec<String>> {
    match value {
        Value::Array(values) if MAY_REPEAT.contains(&name) && !values.is_empty() => {
            values.into_iter().map(|value| as_parameter(name, value)).collect()
        }
        value => Some(vec![as_parameter(name, value)?]),
    }
}

/// Returns the value of a member as that of a parameter, or `None` if it has another type.
fn as_parameter(name: &str, value: Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text),
        Value::Number(number) if NUMBERS.contains(&name) => number.as_u64().map(|number| number.to_string()),
        _ => None,
    }
}
