//! Forwards events to the crate `tracing` (feature `tracing`).
//!
//! With this feature, every endpoint runs in a span `grantor` with the field `endpoint`. Add a [`TracingObserver`] to a
//! server to get its events in that span. No field contains a secret, because an [`Event`] contains none.

use crate::error::Error;
use crate::event::{Event, EventKind, Observer, RepeatedFrom};
use crate::record::{ClientId, Grant, Subject};

/// An observer that forwards each event as a `tracing` event with the target `grantor`.
///
/// The field `event` is the stable name of the event. The levels are:
/// * `WARN` for replays, reuse of tokens, repeated refreshes by another peer, dropped members, scopes that are not
///   offered, and failed fetches with the requests that need them;
/// * `ERROR` for failures of the storage, the authenticator, the source of randomness, the signing keys, the token
///   customizer and other parts of the host app;
/// * `DEBUG` for `token_introspected`, because a resource server may cause one with each request to its API;
/// * `INFO` for everything else.
#[derive(Debug, Clone, Copy, Default)]
#[expect(clippy::exhaustive_structs, reason = "it has no state and will have none")]
pub struct TracingObserver;

impl Observer for TracingObserver {
    fn observe(&self, event: &Event<'_>) {
        let name = event.kind.name();
        match &event.kind {
            EventKind::AuthorizationApproved { grant, consent } => {
                let (grant_id, client_id, scope) = (grant.id, grant.client_id.as_str(), &grant.scope);
                let (subject, consent) = (subject_of(grant), consent.as_str());
                tracing::info!(
                    target: "grantor", event = name, %grant_id, client_id, subject, %scope, consent, what = "approved"
                );
            }
            EventKind::RefreshRepeated { grant, count, from } => repeated(name, grant, *count, *from),
            EventKind::TokenRevoked { grant, kind } => {
                let (grant_id, client_id, subject) = (grant.id, grant.client_id.as_str(), subject_of(grant));
                tracing::info!(target: "grantor", event = name, %grant_id, client_id, subject, ?kind);
            }
            EventKind::TokenIntrospected { client_id, grant } => {
                let (client_id, active) = (client_id.as_str(), grant.is_some());
                let grant_id = grant.map(|grant| tracing::field::display(grant.id));
                tracing::debug!(target: "grantor", event = name, grant_id, client_id, active);
            }
            EventKind::TokensIssued { grant, grant_type, scope, refresh_token } => {
                let (grant_id, client_id, subject) = (grant.id, grant.client_id.as_str(), subject_of(grant));
                tracing::info!(
                    target: "grantor", event = name, %grant_id, client_id, subject, grant_type, %scope, refresh_token
                );
            }
            EventKind::CodeReplayed { grant } | EventKind::RefreshTokenReused { grant } => {
                let (grant_id, client_id, subject) = (grant.id, grant.client_id.as_str(), subject_of(grant));
                tracing::warn!(target: "grantor", event = name, %grant_id, client_id, subject, "grant revoked");
            }
            EventKind::CodeRepeated { grant } => {
                let (grant_id, client_id, subject) = (grant.id, grant.client_id.as_str(), subject_of(grant));
                tracing::info!(target: "grantor", event = name, %grant_id, client_id, subject);
            }
            EventKind::SubjectNotActive { subject, status, revoked } => {
                let (subject, status) = (subject.as_str(), status.as_str());
                tracing::info!(target: "grantor", event = name, subject, status, revoked);
            }
            EventKind::CustomizerMemberDropped { client_id, member } => {
                tracing::warn!(target: "grantor", event = name, client_id = client_id.as_str(), member);
            }
            EventKind::ScopeNotOffered { client_id, scope } => {
                tracing::warn!(target: "grantor", event = name, client_id = client_id.as_str(), %scope);
            }
            EventKind::AuthorizationDenied { client_id, subject } => {
                let subject = subject.map(Subject::as_str);
                tracing::info!(target: "grantor", event = name, client_id = client_id.as_str(), subject);
            }
            EventKind::AuthorizationRefused { client_id, error }
            | EventKind::AuthorizationStale { client_id, error } => {
                refused(name, [*client_id, None], None, error);
            }
            EventKind::RevocationRefused { client_id, presented_client_id, error }
            | EventKind::IntrospectionRefused { client_id, presented_client_id, error } => {
                refused(name, [*client_id, *presented_client_id], None, error);
            }
            EventKind::TokenRefused { client_id, presented_client_id, grant_type, error } => {
                refused(name, [*client_id, *presented_client_id], *grant_type, error);
            }
            EventKind::GrantsRevoked { which, count } => {
                tracing::info!(target: "grantor", event = name, ?which, count);
            }
            EventKind::GrantsRevocationFailed { which, error } => {
                let code = error.code().as_str();
                tracing::error!(target: "grantor", event = name, ?which, code, %error);
            }
            EventKind::KeysUnavailable { error } => {
                tracing::error!(target: "grantor", event = name, code = error.code().as_str(), %error);
            }
            EventKind::FetchFailed { client_id, url, purpose, error } => {
                let (client_id, purpose) = (client_id.as_str(), purpose.as_str());
                let cause = cause_of(error);
                tracing::warn!(target: "grantor", event = name, client_id, url, purpose, cause, %error);
            }
            EventKind::BearerRefused { grant_id, client_id, code, reason, error } => {
                let (grant_id, client_id) = (grant_id.map(tracing::field::display), client_id.map(ClientId::as_str));
                if let Some(error) = error {
                    tracing::error!(target: "grantor", event = name, grant_id, client_id, code, %error);
                } else {
                    let reason = reason.map(tracing::field::debug);
                    tracing::info!(target: "grantor", event = name, grant_id, client_id, code, reason);
                }
            }
        }
    }
}

/// Logs a repeated refresh. It is a warning if the peer differs from that of the first refresh, because that may be a
/// thief.
fn repeated(name: &str, grant: &Grant, count: u64, from: RepeatedFrom) {
    let (grant_id, client_id, subject) = (grant.id, grant.client_id.as_str(), subject_of(grant));
    let (scope, is_other, from) = (&grant.scope, from == RepeatedFrom::OtherPeer, from.as_str());
    if is_other {
        tracing::warn!(target: "grantor", event = name, %grant_id, client_id, subject, %scope, count, from);
    } else {
        tracing::info!(target: "grantor", event = name, %grant_id, client_id, subject, %scope, count, from);
    }
}

fn subject_of(grant: &Grant) -> Option<&str> {
    grant.subject.as_ref().map(Subject::as_str)
}

/// `clients` are the client that authenticated, and the client that the request names if it did not authenticate.
fn refused(name: &str, clients: [Option<&ClientId>; 2], grant_type: Option<&str>, error: &Error) {
    let Some(refusal) = error.refusal() else { return failed(name, clients, grant_type, error) };
    let [client_id, presented_client_id] = clients.map(|client| client.map(ClientId::as_str));
    let code = refusal.code().as_str();
    tracing::info!(
        target: "grantor", event = name, client_id, presented_client_id, grant_type, code, reason = ?refusal
    );
}

/// Logs a failure. It logs only the text of the error, because its cause may contain secrets.
fn failed(name: &str, clients: [Option<&ClientId>; 2], grant_type: Option<&str>, error: &Error) {
    let [client_id, presented_client_id] = clients.map(|client| client.map(ClientId::as_str));
    let code = error.code().as_str();
    if matches!(error, Error::Throttled { .. }) {
        tracing::info!(
            target: "grantor", event = name, client_id, presented_client_id, grant_type, code, reason = "throttled"
        );
    } else if matches!(error, Error::Fetch(_)) {
        tracing::warn!(target: "grantor", event = name, client_id, presented_client_id, grant_type, code, %error);
    } else {
        tracing::error!(target: "grantor", event = name, client_id, presented_client_id, grant_type, code, %error);
    }
}

/// Returns the quoted text of the last cause of a failed fetch. A fetch sends no secrets.
fn cause_of(error: &Error) -> Option<String> {
    let Error::Fetch(error) = error else { return None };
    let causes = std::iter::successors(std::error::Error::source(&**error), |cause| cause.source());
    causes.last().map(|cause| format!("{:?}", cause.to_string()))
}
