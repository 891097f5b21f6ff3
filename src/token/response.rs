//! Token responses (RFC 6749 §5.1) and errors (§5.2) as JSON.

use serde_json::{Value, json};
use time::Duration;

use crate::error::{Error, ErrorCode, Refusal};
use crate::http::Response;
use crate::issue::TokenResponse;

impl TokenResponse {
    /// The JSON document of RFC 6749 §5.1.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        // What an extension added never replaces a standard member.
        let mut members = self.extra.clone();
        members.remove("refresh_token");
        let mut insert = |name: &str, value: Value| members.insert(name.to_owned(), value);
        insert("access_token", self.access_token.expose().into());
        insert("token_type", self.token_type.as_ref().into());
        insert("expires_in", self.expires_in.whole_seconds().into());
        insert("scope", self.scope.as_str().into());
        if let Some(refresh_token) = &self.refresh_token {
            insert("refresh_token", refresh_token.expose().into());
        }
        Value::Object(members).to_string().into_bytes()
    }

    pub(super) fn into_response(self) -> Response {
        Response::json(200, self.to_json())
    }
}

/// The answer to a request that got nothing.
pub(crate) fn refuse(error: &Error, realm: &str) -> Response {
    let (code, description) = (error.code(), error.description());
    let members = json!({ "error": code.as_str(), "error_description": description });
    let mut response = Response::json(error.status(), members.to_string().into_bytes());
    if code == ErrorCode::INVALID_CLIENT {
        // RFC 6749 §5.2, RFC 9110 §15.5.2: every 401 says how to do better.
        response = response.with_header("www-authenticate", format!("Basic realm=\"{realm}\", charset=\"UTF-8\""));
    }
    if let Some(Refusal::MethodNotAllowed(allow)) = error.refusal() {
        response = response.with_header("allow", *allow);
    }
    if let Error::Throttled { retry_after } = error {
        response = response.with_header("retry-after", seconds_rounded_up(*retry_after).to_string());
    }
    response
}

fn seconds_rounded_up(duration: Duration) -> i64 {
    let whole = duration.whole_seconds().max(0);
    if duration > Duration::seconds(whole) { whole.saturating_add(1) } else { whole }
}
