//! The conversion between records and rows.

use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;
use time::OffsetDateTime;

use crate::client::{Client, ClientParts};
use crate::error::{BoxError, StorageError};
use crate::record::{AttemptId, Grant, GrantId, SessionDigest, Spent, StoredToken};
use crate::secret::{Seed, TokenHash};
use crate::storage::{Found, one_time_keys};

/// Defines the columns of a record once: the list that a statement selects, and the position of each column in its
/// rows.
macro_rules! columns {
    ($(#[$meta:meta])* $name:ident, $alias:literal: $first:ident $(, $column:ident)*) => {
        $(#[$meta])*
        struct $name {
            $first: usize,
            $($column: usize,)*
        }

        impl $name {
            pub(super) const LIST: &str =
                concat!($alias, ".", stringify!($first) $(, ", ", $alias, ".", stringify!($column))*);

            /// Returns the positions in a row that has `before` other columns first, and the number of columns up to
            /// the last of these.
            pub(super) const fn after(before: usize) -> (Self, usize) {
                let mut next = before + 1;
                let columns = Self {
                    $first: before,
                    $($column: { next += 1; next - 1 },)*
                };
                (columns, next)
            }
        }
    };
}

pub(super) use columns;

columns! {
    /// The positions of a token's columns.
    TokenColumns, "t":
    hash, kind, grant_id, scope, issued_at, expires_at, parent, spent_at, spent_by, seed, revoked_at, details, seed_until
}

columns! {
    /// The positions of a grant's columns.
    GrantColumns, "g":
    id, client_id, subject, grant_type, scope, opened_at, last_used_at, expires_at, revoked_at, host_data, details,
    parent_grant, session
}

/// The columns of a token `t`. [`read_found`] expects these, followed by [`GRANT_COLUMNS`].
pub(crate) const TOKEN_COLUMNS: &str = TokenColumns::LIST;
/// The columns of a grant `g`, which [`read_grant`] expects.
pub(crate) const GRANT_COLUMNS: &str = GrantColumns::LIST;

/// A row of a result, with access by column number.
pub(crate) trait Cells {
    fn bytes(&self, column: usize) -> Result<Option<&[u8]>, StorageError>;
    fn text(&self, column: usize) -> Result<Option<&str>, StorageError>;
    fn time(&self, column: usize) -> Result<Option<OffsetDateTime>, StorageError>;
    fn number(&self, column: usize) -> Result<Option<i64>, StorageError>;

    fn id<const N: usize>(&self, column: usize) -> Result<Option<[u8; N]>, StorageError> {
        self.bytes(column)?.map(|bytes| bytes.try_into().map_err(|_| corrupt(column))).transpose()
    }

    /// Reads a text and parses it as `T`, whose rule it met when it was stored.
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

/// The error of a row with a value that this crate never writes. It names the column, and does not show the value.
#[derive(Debug, thiserror::Error)]
#[error("column {column} of a stored record is corrupt")]
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

/// Reads the token in the first columns, [`TOKEN_COLUMNS`].
fn read_token(row: &impl Cells) -> Result<StoredToken, StorageError> {
    const AT: TokenColumns = TokenColumns::after(0).0;
    let spent = match (row.time(AT.spent_at)?, row.id(AT.spent_by)?) {
        (None, _) => None,
        (Some(at), attempt) => {
            let attempt = AttemptId::from_bytes(there(attempt, AT.spent_by)?);
            let seed = row.id(AT.seed)?.map(Seed::from_bytes);
            Some(Spent { at, attempt, seed, seed_until: row.time(AT.seed_until)? })
        }
    };
    Ok(StoredToken {
        hash: TokenHash::from_bytes(there(row.id(AT.hash)?, AT.hash)?),
        kind: there(row.text(AT.kind)?, AT.kind)?.into(),
        grant_id: GrantId::from_bytes(there(row.id(AT.grant_id)?, AT.grant_id)?),
        scope: row.checked(AT.scope)?,
        issued_at: there(row.time(AT.issued_at)?, AT.issued_at)?,
        expires_at: there(row.time(AT.expires_at)?, AT.expires_at)?,
        parent: row.id(AT.parent)?.map(TokenHash::from_bytes),
        spent,
        revoked_at: row.time(AT.revoked_at)?,
        details: there(row.json(AT.details)?, AT.details)?,
    })
}

/// Reads the grant in the first columns, [`GRANT_COLUMNS`].
pub(crate) fn read_grant(row: &impl Cells) -> Result<Arc<Grant>, StorageError> {
    grant_at(row, const { &GrantColumns::after(0).0 })
}

/// Reads a token and its grant from one row.
pub(crate) fn read_found(row: &impl Cells) -> Result<Found, StorageError> {
    let grant = grant_at(row, const { &GrantColumns::after(TokenColumns::after(0).1).0 })?;
    Ok(Found::new(Arc::new(read_token(row)?), grant))
}

fn grant_at(row: &impl Cells, at: &GrantColumns) -> Result<Arc<Grant>, StorageError> {
    let subject = row.text(at.subject)?;
    Ok(Arc::new(Grant {
        id: GrantId::from_bytes(there(row.id(at.id)?, at.id)?),
        client_id: row.checked(at.client_id)?,
        subject: subject.map(|subject| subject.try_into().map_err(|_| corrupt(at.subject))).transpose()?,
        grant_type: row.checked(at.grant_type)?,
        scope: row.checked(at.scope)?,
        opened_at: there(row.time(at.opened_at)?, at.opened_at)?,
        last_used_at: there(row.time(at.last_used_at)?, at.last_used_at)?,
        expires_at: there(row.time(at.expires_at)?, at.expires_at)?,
        revoked_at: row.time(at.revoked_at)?,
        parent_grant: row.id(at.parent_grant)?.map(GrantId::from_bytes),
        session: row.id(at.session)?.map(SessionDigest::from_bytes),
        host_data: row.json(at.host_data)?.map(Arc::new),
        details: there(row.json(at.details)?, at.details)?,
    }))
}

/// Reads the position of a grant in a list: its `opened_at` and `id` in the columns 0 and 1.
pub(crate) fn read_place(row: &impl Cells) -> Result<(OffsetDateTime, GrantId), StorageError> {
    Ok((there(row.time(0)?, 0)?, GrantId::from_bytes(there(row.id(1)?, 1)?)))
}

/// Reads the client whose registration is in column 0. If this fails, a newer version may have written the client.
pub(crate) fn read_client(row: &impl Cells) -> Result<Arc<Client>, StorageError> {
    let text = there(row.text(0)?, 0)?;
    let newer = |cause: BoxError| StorageError::unavailable(Corrupt { column: 0, cause: Some(cause) });
    let parts = ClientParts::from_stored(text)
        .map_err(|error| if error.is_data() { newer(error.into()) } else { unreadable(0, error) })?;
    Ok(Arc::new(Client::from_parts(parts).map_err(|error| newer(error.into()))?))
}

/// Returns the time at which the last one-time key expires. The row of the grant is kept until then, even if the grant
/// has ended.
pub(crate) fn kept_until(tokens: &[StoredToken]) -> Option<OffsetDateTime> {
    one_time_keys(tokens).map(|key| key.expires_at).max()
}

/// Serializes a member of a record as JSON.
pub(crate) fn json(value: &impl Serialize) -> Result<String, StorageError> {
    serde_json::to_string(value).map_err(StorageError::new)
}

/// Serializes the host data of a grant as JSON. Rejects data that is nested too deeply to be read again, because no
/// call could find the grant then.
pub(crate) fn host_data(grant: &Grant) -> Result<Option<String>, StorageError> {
    let Some(data) = &grant.host_data else { return Ok(None) };
    let text = json(data)?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(StorageError::new)?;
    Ok(Some(text))
}
