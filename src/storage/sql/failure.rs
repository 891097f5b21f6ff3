//! Which failure of a database means what.

use sqlx::Error;

use crate::error::StorageError;

/// A failure as the endpoints need to know it. `passes` says whether an error that the database itself reports will pass.
pub(crate) fn failed(error: Error, passes: fn(&str) -> bool) -> StorageError {
    let unavailable = match &error {
        Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed => true,
        Error::Database(reported) => reported.code().is_some_and(|code| passes(&code)),
        error => is_transport_failure(error),
    };
    if unavailable { StorageError::unavailable(error) } else { StorageError::new(error) }
}

/// The connection broke, or what came over it made no sense: the statement may or may not have been executed.
pub(crate) const fn is_transport_failure(error: &Error) -> bool {
    matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_))
}
