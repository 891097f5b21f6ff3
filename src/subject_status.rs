//! The check of the subject's status at the host app.

use std::net::IpAddr;

use time::OffsetDateTime;

use crate::authenticator::SubjectStatus;
use crate::error::{Error, Refusal};
use crate::event::EventKind;
use crate::record::Subject;
use crate::server_context::ServerContext;
use crate::storage::GrantSelector;

/// Refuses a subject that is not active, and revokes all grants of a subject that is gone. Accepts a missing subject,
/// which means a machine.
///
/// Call it after all proofs of the request are checked, so that only the client that owns a grant can learn the status.
/// Call it before a token is spent, so that a suspended subject keeps its grants.
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
        // Boxed, because it is rare and would enlarge the future of each issuance and each bearer check.
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
