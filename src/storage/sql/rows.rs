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

/// Defines the columns of a record once: the list that a statement selects, and the position of each column in its rows.
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

            /// The positions in a row that has `before` other columns first, and how many columns there are up to the last of these.
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

/// What a statement selects so that [`read_found`] understands its rows: these of a token as `t`, then [`GRANT_COLUMNS`].
pub(crate) const TOKEN_COLUMNS: &str = TokenColumns::LIST;
/// What a statement selects so that [`read_grant`] understands its rows: a grant as `g`.
pub(crate) const GRANT_COLUMNS: &str = GrantColumns::LIST;

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

/// The token in the first columns, [`TOKEN_COLUMNS`].
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

/// The grant in the first columns, [`GRANT_COLUMNS`].
pub(crate) fn read_grant(row: &impl Cells) -> Result<Arc<Grant>, StorageError> {
    grant_at(row, const { &GrantColumns::after(0).0 })
}

/// The token and its grant, from a row of both.
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

/// The host's data of a grant as JSON. It must be readable again, or no call could find the grant: data that is nested too
/// deeply is an error.
pub(crate) fn host_data(grant: &Grant) -> Result<Option<String>, StorageError> {
    let Some(data) = &grant.host_data else { return Ok(None) };
    let text = json(data)?;
    serde_json::from_str::<serde::de::IgnoredAny>(&text).map_err(StorageError::new)?;
    Ok(Some(text))
}
