//! SQL that both databases understand, and what is made of its answers.

use std::sync::Arc;
use std::time::Duration;

use grantor::Client;
use grantor::client::ClientParts;
use time::OffsetDateTime;

use super::Result;

pub(super) const PASSWORD_HASH: &str = "SELECT password_hash FROM example_users WHERE name = $1";

pub(super) const ADD_USER: &str =
    "INSERT INTO example_users (name, password_hash) VALUES ($1, $2) ON CONFLICT (name) DO NOTHING";

pub(super) const PUT_USER: &str = "INSERT INTO example_users (name, password_hash) VALUES ($1, $2) \
     ON CONFLICT (name) DO UPDATE SET password_hash = excluded.password_hash";

pub(super) const DISPLAY_NAME: &str = "SELECT display_name FROM example_users WHERE name = $1";

pub(super) const SET_DISPLAY_NAME: &str = "UPDATE example_users SET display_name = $2 WHERE name = $1";

/// Does nothing if there is no room.
pub(super) const ADD_APPLICATION: &str = "INSERT INTO example_applications (client_id, owner, registered_at) \
     SELECT $1, $2, $3 WHERE (SELECT count(*) FROM example_applications WHERE owner = $2) < $4";

pub(super) const REMOVE_APPLICATION: &str = "DELETE FROM example_applications WHERE client_id = $1";

/// Joined with the library's own table, whose columns are documented with its migrations: one query, not one for each.
pub(super) const APPLICATIONS: &str = "SELECT CAST(clients.registration AS text) FROM example_applications own \
     JOIN grantor_clients clients ON clients.id = own.client_id \
     WHERE own.owner = $1 ORDER BY own.registered_at, own.client_id";

/// Reads what [`APPLICATIONS`] selects.
pub(super) fn client(registration: &str) -> Result<Arc<Client>> {
    let parts: ClientParts = serde_json::from_str(registration)?;
    Ok(Arc::new(Client::from_parts(parts)?))
}

/// Microseconds since 1970.
pub(super) fn now() -> i64 {
    i64::try_from(OffsetDateTime::now_utc().unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}

/// Nobody waits longer for a page than for the library's own steps.
pub(super) async fn within<T>(work: impl Future<Output = Result<T>> + Send) -> Result<T> {
    const LONGEST: Duration = Duration::from_secs(5);
    tokio::time::timeout(LONGEST, work).await?
}
