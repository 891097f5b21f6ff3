//! Requests and answers as the demo shows them.

use serde_json::{Map, Value};

use crate::form::Fields;

/// One request and its answer, as they were sent, with secrets cut short.
#[derive(Debug, Clone)]
pub(super) struct Exchange {
    pub(super) title: &'static str,
    pub(super) remark: &'static str,
    pub(super) request: String,
    pub(super) response: String,
    pub(super) succeeded: bool,
}

impl Exchange {
    /// What the browser brought back from the authorization endpoint.
    pub(super) fn with_browser(answer: &Fields) -> Self {
        let names = ["code", "error", "error_description", "state", "iss"];
        let given = names.map(|name| (name, answer.get(name))).into_iter().filter(|(_, value)| !value.is_empty());
        let title = match answer.get("error") {
            "" => "The browser comes back with a code",
            "access_denied" => "The user said no",
            _ => "The server said no",
        };
        Self {
            title,
            remark: "The client checks that state is the one it sent, and that iss is the server it asked.",
            request: format!("GET /demo/callback?\n{}", shown(given)),
            response: String::new(),
            succeeded: answer.get("error").is_empty(),
        }
    }

    /// What the client sent to the server by itself, and the JSON that came back.
    pub(super) async fn with_server(
        title: &'static str,
        remark: &'static str,
        request: String,
        answer: reqwest::Response,
    ) -> Result<(Self, Value), reqwest::Error> {
        let status = answer.status();
        let challenge = answer.headers().get("www-authenticate").and_then(|value| value.to_str().ok());
        let challenge = challenge.map(|challenge| format!("\nwww-authenticate: {challenge}")).unwrap_or_default();
        let body: Value = serde_json::from_slice(&answer.bytes().await?).unwrap_or_default();
        let response = format!("{status}{challenge}{}", body.as_object().map(json).unwrap_or_default());
        Ok((Self { title, remark, request, response, succeeded: status.is_success() }, body))
    }
}

/// The parameters of a request, one a line.
pub(super) fn shown<'a>(pairs: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    pairs.map(|(name, value)| format!("{name}={}", shorten(name, value))).collect::<Vec<_>>().join("\n&")
}

/// A JSON object, one member a line.
fn json(members: &Map<String, Value>) -> String {
    let lines = members.iter().map(|(name, value)| match value {
        Value::String(text) => format!("  \"{name}\": \"{}\"", shorten(name, text)),
        other => format!("  \"{name}\": {other}"),
    });
    format!("\n\n{{\n{}\n}}", lines.collect::<Vec<_>>().join(",\n"))
}

/// What is secret or long is only hinted at.
pub(super) fn shorten(name: &str, value: &str) -> String {
    let long = matches!(name, "code" | "state" | "code_challenge" | "code_verifier" | "access_token" | "refresh_token");
    if long { cut(value) } else { value.to_owned() }
}

/// The beginning of a secret.
pub(super) fn cut(value: &str) -> String {
    value.chars().take(8).chain(['\u{2026}']).collect()
}
