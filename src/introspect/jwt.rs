//! Introspection responses as signed JWTs (RFC 9701).

use serde_json::{Value, json};
use time::OffsetDateTime;

use super::Introspection;
use crate::client::Client;
use crate::error::{Error, SigningError};
use crate::http::{Request, Response, prefers};
use crate::jose::{Algorithm, sign};
use crate::server_context::ServerContext;

const MEDIA_TYPE: &str = "application/token-introspection+jwt";

/// The type in the header, without `application/` (RFC 9701 §5).
const TYP: &str = "token-introspection+jwt";

/// Returns whether the caller asks for a JWT (RFC 9701 §4) and does not prefer JSON, and this server has keys.
pub(super) fn is_asked_for(server: &ServerContext, request: &Request) -> bool {
    server.signing_keys.is_some() && prefers(request, MEDIA_TYPE, "application/json")
}

/// Signs a response for one caller. `sub` and `exp` are inside `token_introspection` only, so that the JWT can't be
/// mistaken for an access token (RFC 9701 §5).
pub(super) async fn respond(
    server: &ServerContext,
    introspection: &Introspection,
    caller: &Client,
    now: OffsetDateTime,
) -> Result<Response, Error> {
    let members: Value = serde_json::from_slice(&introspection.to_json()).map_err(SigningError::new)?;
    let claims = json!({
        "iss": server.issuer, "aud": caller.id().as_str(), "iat": now.unix_timestamp(), "token_introspection": members,
    });
    let keys = server.signing_keys.as_ref().ok_or_else(|| SigningError::new("the server has no signing keys"))?;
    // RS256 is the default of RFC 9701 §6. A caller that registered another algorithm accepts only that one.
    let algorithms = keys.algorithms();
    let default = algorithms.iter().find(|algorithm| **algorithm == Algorithm::Rs256).or(algorithms.first());
    let algorithm = caller.introspection_signed_response_alg().or(default.copied());
    let algorithm = algorithm.ok_or_else(|| SigningError::new("there is no signing key: add one"))?;
    let signer = keys.signer(algorithm).await.map_err(SigningError::from)?;
    let text = sign(&*signer, TYP, claims.to_string().as_bytes()).await.map_err(SigningError::new)?;
    let headers = [("cache-control", "no-store"), ("content-type", MEDIA_TYPE), ("pragma", "no-cache")];
    Ok(Response::from_parts(200, headers, text).unwrap_or_else(Response::from))
}
