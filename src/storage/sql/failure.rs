//! The classification of database errors.

use sqlx::Error;

use crate::error::StorageError;

/// Converts a database error to a storage error. `passes` decides whether an error code of the database is temporary.
pub(crate) fn failed(error: Error, passes: fn(&str) -> bool) -> StorageError {
    let unavailable = match &error {
        Error::PoolTimedOut | Error::PoolClosed | Error::WorkerCrashed | Error::BeginFailed => true,
        Error::Database(reported) => reported.code().is_some_and(|code| passes(&code)),
        error => is_transport_failure(error),
    };
    if unavailable { StorageError::unavailable(error) } else { StorageError::new(error) }
}

/// Returns whether the connection broke or the response was malformed. The statement may have been executed.
pub(crate) const fn is_transport_failure(error: &Error) -> bool {
    matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_))
}
