//! Prints the reasons of refused requests (`--log-refusals`). Clients do not learn most of these reasons.

use std::error::Error as _;
use std::io::{self, Write};

use grantor::{ClientId, Error, Event, EventKind, Observer};

/// An observer that prints refused requests and failed fetches to the standard error.
pub(crate) struct LogRefusals;

impl Observer for LogRefusals {
    fn observe(&self, event: &Event<'_>) {
        if let Some(line) = describe(&event.kind) {
            // The server runs even if its standard error is closed.
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// Returns the line for an event, without secrets.
fn describe(event: &EventKind<'_>) -> Option<String> {
    let (client, error) = match event {
        EventKind::AuthorizationRefused { client_id, error, .. } => (*client_id, *error),
        EventKind::TokenRefused { client_id, presented_client_id, error, .. }
        | EventKind::RevocationRefused { client_id, presented_client_id, error, .. }
        | EventKind::IntrospectionRefused { client_id, presented_client_id, error, .. } => {
            (client_id.or(*presented_client_id), *error)
        }
        EventKind::FetchFailed { client_id, url, error, .. } => {
            let cause = last_cause(error).unwrap_or_default();
            return Some(format!("{}: client {client_id}: {url}: {error}{cause}", event.name()));
        }
        _ => return None,
    };
    let client = client.map_or("unknown", ClientId::as_str);
    let reason = match error {
        Error::Refused(refusal) => format!("{refusal:?}"),
        other => other.to_string(),
    };
    Some(format!("{}: client {client}: {reason}", event.name()))
}

/// Returns the quoted text of the last cause of a failed fetch. A fetch sends no secrets.
fn last_cause(error: &Error) -> Option<String> {
    let mut last = error.source()?;
    while let Some(cause) = last.source() {
        last = cause;
    }
    Some(format!(": {:?}", last.to_string()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use grantor::{AuthorizationServer, Client, ClientRegistry, MemoryStorage, Request};

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<String>>>);

    impl Observer for Lines {
        fn observe(&self, event: &Event<'_>) {
            self.0.lock().unwrap().extend(describe(&event.kind));
        }
    }

    #[tokio::test]
    async fn refusals_are_described_with_reason_and_known_client() {
        let (storage, lines) = (MemoryStorage::new(), Lines::default());
        let app = Client::public("app").authorization_code(["https://a.example/cb"]).scope("a");
        storage.register(app.build().unwrap()).await.unwrap();
        let builder = AuthorizationServer::builder("https://id.example").storage(storage).scope("a", "A");
        let oauth = builder.observer(lines.clone()).build().await.unwrap();
        let post = async |path, form: &'static str| drop(oauth.handle(&Request::post_form(path, form)).await);
        post("/token", "grant_type=password&client_id=app").await;
        post("/revoke", "token=a&client_id=somebody").await;
        post("/introspect", "token=a&client_id=app&client_secret=x").await;
        drop(oauth.authorize(&Request::get("/authorize?client_id=app&redirect_uri=https://evil.example/")).await);
        let expected = [
            "token_refused: client app: UnsupportedGrantType",
            "revocation_refused: client unknown: UnknownClient",
            "introspection_refused: client app: AuthenticationMethodNotAllowed",
            "authorization_refused: client app: UnregisteredRedirectUri",
        ];
        assert_eq!(*lines.0.lock().unwrap(), expected);
    }
}
