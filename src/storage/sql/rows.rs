//! Records in rows and back.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::client::{Client, ClientParts};
use crate::error::{BoxError, StorageError};
use crate::record::{AttemptId, Grant, GrantId, SessionDigest, Spent, StoredToken};
use crate::secret::{Seed, TokenHash};
use crate::storage::{Found, one_time_keys};

/// What a statement selects so that [`read_token`] and [`read_grant`] understand its rows: tokens as `t`, grants as `g`.
pub(crate) const TOKEN_COLUMNS: &str = "t.hash, t.kind, t.grant_id, t.scope, t.issued_at, t.expires_at, t.parent, \
    t.spent_at, t.spent_by, t.seed, t.revoked_at, t.details, t.seed_until";
/// See [`TOKEN_COLUMNS`].
pub(crate) const GRANT_COLUMNS: &str = "g.id, g.client_id, g.subject, g.grant_type, g.scope, g.opened_at, \
    g.last_used_at, g.expires_at, g.revoked_at, g.host_data, g.details, g.parent_grant, g.session";
/// How many there are of [`TOKEN_COLUMNS`].
const TOKEN_WIDTH: usize = 13;

/// One row of an answer, by the number of the column. Remembers nothing.
pub(crate) trait Cells {
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StorageError>;
    fn text(&self, column: usize) -> Result<Option<&str>, StorageError>;
    fn time(&self, column: usize) -> Result<Option<OffsetDateTime>, StorageError>;
    fn number(&self, column: usize) -> Result<Option<i64>, StorageError>;

    fn id<const N: usize>(&self, column: usize) -> Result<Option<[u8; N]>, StorageError> {
        self.bytes(column)?.map(|bytes| bytes.try_into().map_err(|_| corrupt(column))).transpose()
    }

    /// A text that met the rule of its type when it was stored.
    fn checked<T>(&self, column: usize) -> Result<T, StorageError>
    where
        T: for<'t> TryFrom<&'t str>,
    {
        self.text(column)?.and_then(|text| T::try_from(text).ok()).ok_or_else(|| corrupt(column))
    }

    fn json<T: DeserializeOwned>(&self, column: usize) -> Result<Option<T>, StorageError> {
        let parsed = self.text(column)?.map(serde_json::from_str).transpose();
        parsed.map_err(|error| unreadable(column, error))
    }
}

/// A row that holds what no row of ours can hold. Says where, and nothing of what.
#[derive(Debug, thiserror::Error)]
#[error("column {column} of a stored record can't be understood")]
struct Corrupt {
    column: usize,
    #[source]
    cause: Option<BoxError>,
}

pub(super) fn corrupt(column: usize) -> StorageError {
    StorageError::new(Corrupt { column, cause: None })
}

pub(crate) fn unreadable(column: usize, cause: impl Into<BoxError>) -> StorageError {
    StorageError::new(Corrupt { column, cause: Some(cause.into()) })
}

pub(super) fn there<T>(value: Option<T>, column: usize) -> Result<T, StorageError> {
    value.ok_or_else(|| corrupt(column))
}

/// The token in the columns from 0 on.
fn read_token(row: &impl Cells) -> Result<StoredToken, StorageError> {
    let spent = match (row.time(7)?, row.id(8)?) {
        (None, _) => None,
        (Some(at), attempt) => {
            let attempt = AttemptId::from_bytes(there(attempt, 8)?);
            Some(Spent { at, attempt, seed: row.id(9)?.map(Seed::from_bytes), seed_until: row.time(12)? })
        }
    };
    Ok(StoredToken {
        hash: TokenHash::from_bytes(there(row.id(0)?, 0)?),
        kind: there(row.text(1)?, 1)?.into(),
        grant_id: GrantId::from_bytes(there(row.id(2)?, 2)?),
        scope: row.checked(3)?,
        issued_at: there(row.time(4)?, 4)?,
        expires_at: there(row.time(5)?, 5)?,
        parent: row.id(6)?.map(TokenHash::from_bytes),
        spent,
        revoked_at: row.time(10)?,
        details: there(row.json(11)?, 11)?,
    })
}

/// The grant in the columns from `from` on.
pub(crate) fn read_grant(row: &impl Cells, from: usize) -> Result<Arc<Grant>, StorageError> {
    let subject = row.text(from + 2)?;
    Ok(Arc::new(Grant {
        id: GrantId::from_bytes(there(row.id(from)?, from)?),
        client_id: row.checked(from + 1)?,
        subject: subject.map(|subject| subject.try_into().map_err(|_| corrupt(from + 2))).transpose()?,
        grant_type: row.checked(from + 3)?,
        scope: row.checked(from + 4)?,
        opened_at: there(row.time(from + 5)?, from + 5)?,
        last_used_at: there(row.time(from + 6)?, from + 6)?,
        expires_at: there(row.time(from + 7)?, from + 7)?,
        revoked_at: row.time(from + 8)?,
        parent_grant: row.id(from + 11)?.map(GrantId::from_bytes),
        session: row.id(from + 12)?.map(SessionDigest::from_bytes),
        host_data: row.json(from + 9)?.map(Arc::new),
        details: there(row.json(from + 10)?, from + 10)?,
    }))
}

/// The token and its grant, from a row of both.
pub(crate) fn read_found(row: &impl Cells) -> Result<Found, StorageError> {
    Ok(Found::new(Arc::new(read_token(row)?), read_grant(row, TOKEN_WIDTH)?))
}

/// The place of a grant in a list: its `opened_at` and `id` in the columns 0 and 1.
pub(crate) fn read_place(row: &impl Cells) -> Result<(OffsetDateTime, GrantId), StorageError> {
    Ok((there(row.time(0)?, 0)?, GrantId::from_bytes(there(row.id(1)?, 1)?)))
}

/// The client whose registration is in column 0. If this version can't read it, a newer one may have written it: others can use it.
pub(crate) fn read_client(row: &impl Cells) -> Result<Arc<Client>, StorageError> {
    let text = there(row.text(0)?, 0)?;
    let newer = |cause: BoxError| StorageError::unavailable(Corrupt { column: 0, cause: Some(cause) });
    let parts = ClientParts::from_stored(text)
        .map_err(|error| if error.is_data() { newer(error.into()) } else { unreadable(0, error) })?;
    Ok(Arc::new(Client::from_parts(parts).map_err(|error| newer(error.into()))?))
}

/// Until when the row of a grant is kept although it has ended: its longest one-time key.
pub(crate) fn kept_until(tokens: &[StoredToken]) -> Option<OffsetDateTime> {
    one_time_keys(tokens).map(|key| key.expires_at).max()
}

/// A member of a record that is stored as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(StorageError::new)
}

/// What a host attached. It must be readable again, or the grant could be found by nobody: what is nested too deeply is not.
pub(crate) fn host_data(grant: &Grant) -> Result<Option<String>, StorageError> {
    let Some(data) = &grant.host_data else { return Ok(None) };
    let text = json(data)?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(StorageError::new)?;
    Ok(Some(text))
}
