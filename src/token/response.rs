//! Token responses (RFC 6749 §5.1) and errors (§5.2) as JSON.

use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::capability::ServerView;
use crate::error::{Error, ErrorCode, Refusal};
use crate::http::Response;
use crate::issue::TokenResponse;
use crate::secret::RefreshToken;

impl TokenResponse {
    /// Returns the JSON document of the response (RFC 6749 §5.1).
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let members = Members {
            access_token: self.access_token.expose(),
            token_type: &self.token_type,
            expires_in: self.expires_in.whole_seconds(),
            refresh_token: self.refresh_token.as_ref().map(RefreshToken::expose),
            scope: self.scope.as_str(),
            extra: &self.extra,
        };
        to_json(&members)
    }

    pub(super) fn into_response(self) -> Response {
        Response::json(200, self.to_json())
    }
}

#[derive(Serialize)]
struct Members<'a> {
    access_token: &'a str,
    token_type: &'a str,
    expires_in: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh_token: Option<&'a str>,
    scope: &'a str,
    #[serde(flatten, serialize_with = "extensions")]
    extra: &'a Map<String, Value>,
}

/// Serializes the extra members, except those that have the name of a standard member.
fn extensions<S: Serializer>(extra: &Map<String, Value>, serializer: S) -> Result<S::Ok, S::Error> {
    const STANDARD: [&str; 5] = ["access_token", "token_type", "expires_in", "refresh_token", "scope"];
    serializer.collect_map(extra.iter().filter(|(name, _)| !STANDARD.contains(&name.as_str())))
}

impl ServerView<'_> {
    /// Returns the error response that the token endpoint would send (RFC 6749 §5.2).
    pub fn refuse(self, error: &Error) -> Response {
        refuse(error, self.issuer())
    }
}

/// Returns the error response of the token endpoint.
pub(crate) fn refuse(error: &Error, realm: &str) -> Response {
    let (code, description) = (error.code(), error.description());
    let members = ErrorMembers { error: code.as_str(), error_description: &description };
    let mut response = Response::json(error.status(), to_json(&members));
    if code == ErrorCode::INVALID_CLIENT {
        // Every 401 needs a challenge (RFC 6749 §5.2, RFC 9110 §15.5.2).
        response = response.with_header("www-authenticate", format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
    }
    if let Some(Refusal::MethodNotAllowed(allow)) = error.refusal() {
        response = response.with_header("allow", *allow);
    }
    if let Some(seconds) = error.retry_after() {
        response = response.with_header("retry-after", seconds.to_string());
    }
    response
}

#[derive(Serialize)]
struct ErrorMembers<'a> {
    error: &'a str,
    error_description: &'a str,
}

/// Serializes members of texts and numbers, which never fails. An empty object would contain no token.
fn to_json(members: &impl Serialize) -> Vec<u8> {
    let mut json = Vec::with_capacity(256);
    match serde_json::to_writer(&mut json, members) {
        Ok(()) => json,
        Err(_) => b"{}".to_vec(),
    }
}
