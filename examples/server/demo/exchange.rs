//! Requests and responses as the demo shows them.

use std::collections::HashMap;

use axum::body::Bytes;
use axum::http::{Response, header};
use serde_json::{Map, Value};

/// The parameters of the authorization response.
pub(super) type Answer = HashMap<String, String>;

/// Returns a parameter; empty if it is missing.
pub(super) fn of<'a>(answer: &'a Answer, name: &str) -> &'a str {
    answer.get(name).map_or("", String::as_str)
}

/// A request and its response, with shortened secrets.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) title: &'static str,
    pub(super) remark: &'static str,
    pub(super) request: String,
    pub(super) response: String,
    pub(super) succeeded: bool,
}

impl Exchange {
    /// Describes the redirect from the authorization endpoint.
    pub(super) fn with_browser(answer: &Answer) -> Self {
        let names = ["code", "error", "error_description", "state", "iss"];
        let given = names.into_iter().filter_map(|name| Some((name, answer.get(name)?.as_str())));
        let title = match of(answer, "error") {
            "" => "The browser comes back with a code",
            "access_denied" => "The user denied access",
            _ => "The server rejected the request",
        };
        Self {
            title,
            remark: "The client checks that state is the value it sent, and that iss is the issuer of this server.",
            request: format!("GET /demo/callback?\n{}", shown(given)),
            response: String::new(),
            succeeded: !answer.contains_key("error"),
        }
    }

    /// Describes a request of the client to the server. Returns the JSON of the response, too.
    pub(super) fn with_server(
        title: &'static str,
        remark: &'static str,
        request: String,
        answer: &Response<Bytes>,
    ) -> (Self, Value) {
        let status = answer.status();
        let challenge = answer.headers().get(header::WWW_AUTHENTICATE).and_then(|value| value.to_str().ok());
        let challenge = challenge.map(|challenge| format!("\nwww-authenticate: {challenge}")).unwrap_or_default();
        let body: Value = serde_json::from_slice(answer.body()).unwrap_or_default();
        let response = format!("{status}{challenge}{}", body.as_object().map(json).unwrap_or_default());
        (Self { title, remark, request, response, succeeded: status.is_success() }, body)
    }
}

/// Formats parameters, one on each line.
pub(super) fn shown<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    pairs.map(|(name, value)| format!("{name}={}", shorten(name, value))).collect::<Vec<_>>().join("\n&")
}

/// Formats a JSON object, one member on each line.
fn json(members: &Map<String, Value>) -> String {
    let lines = members.iter().map(|(name, value)| match value {
        Value::String(text) => format!("  \"{name}\": \"{}\"", shorten(name, text)),
        other => format!("  \"{name}\": {other}"),
    });
    format!("\n\n{{\n{}\n}}", lines.collect::<Vec<_>>().join(",\n"))
}

/// The most characters of a value that are kept. A browser can send values of any length.
const LONGEST: usize = 200;

/// Shortens secrets and long values.
pub(super) fn shorten(name: &str, value: &str) -> String {
    match name {
        "code" | "state" | "code_challenge" | "code_verifier" | "access_token" | "refresh_token" => cut(value),
        _ if value.chars().nth(LONGEST).is_some() => value.chars().take(LONGEST).chain(['\u{2026}']).collect(),
        _ => value.to_owned(),
    }
}

/// Returns the first characters of a secret.
pub(super) fn cut(value: &str) -> String {
    value.chars().take(8).chain(['\u{2026}']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answer_of_any_length_is_kept_in_little_space() {
        let long = "\u{e9}".repeat(50_000);
        let names = ["code", "error", "error_description", "state", "iss", "more"];
        let answer = names.map(|name| (name.to_owned(), long.clone())).into();
        let exchange = Exchange::with_browser(&answer);
        // Three values of 200 characters, two of eight, and the names.
        assert!((600..800).contains(&exchange.request.chars().count()), "{}", exchange.request);
        assert_eq!(shorten("error", &"x".repeat(LONGEST)), "x".repeat(LONGEST));
        assert_eq!(shorten("error", &"x".repeat(LONGEST + 1)), format!("{}\u{2026}", "x".repeat(LONGEST)));
    }
}
