//! Asking the host whether a subject may have tokens.

use std::net::IpAddr;

use time::OffsetDateTime;

use crate::authenticator::SubjectStatus;
use crate::error::{Error, Refusal};
use crate::event::EventKind;
use crate::record::Subject;
use crate::server_context::ServerContext;
use crate::storage::GrantSelector;

/// Refuses a subject that is not active, and ends all grants of one that is gone. A machine has no subject and passes.
///
/// To be called once everything that the request has to prove is proven, so that only the client that owns a grant can learn
/// that something is wrong with it; and before anything is spent, so that a subject which is active again finds its grants as
/// they were.
pub(crate) async fn must_be_active(
    server: &ServerContext,
    subject: Option<&Subject>,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<(), Error> {
    let (Some(authenticator), Some(subject)) = (&server.authenticator, subject) else { return Ok(()) };
    let status = authenticator.subject_status(subject).await.map_err(Error::SubjectStatus)?;
    let (refusal, revoked) = match status {
        SubjectStatus::Active => return Ok(()),
        SubjectStatus::Suspended => (Refusal::SubjectSuspended, 0),
        // In a box, because it is rare, and its future would be moved with this one at each issuance and each bearer check.
        SubjectStatus::Gone => (Refusal::SubjectGone, Box::pin(revoke_grants_of(server, subject, peer, now)).await?),
    };
    server.observe_from(peer, now, EventKind::SubjectNotActive { subject, status, revoked });
    Err(refusal.into())
}

async fn revoke_grants_of(
    server: &ServerContext,
    subject: &Subject,
    peer: Option<IpAddr>,
    now: OffsetDateTime,
) -> Result<u64, Error> {
    let which = GrantSelector::Subject(subject.clone());
    let result = server.storage.revoke_grants(&which, now).await.map_err(Error::from);
    if let Err(error) = &result {
        server.observe_from(peer, now, EventKind::GrantsRevocationFailed { which: &which, error });
    }
    result
}
