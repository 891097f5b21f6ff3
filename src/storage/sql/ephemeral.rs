//! What both databases share for ephemeral entries: statements that read the same, and entries in rows.

use sqlx::SqlStr;

use super::TableNames;
use super::rows::{Cells, corrupt, there};
use crate::error::StorageError;
use crate::storage::ephemeral::{Due, EphemeralKey, Namespace, Version, Versioned};

/// Statements with the names of one storage put in.
pub(crate) struct EphemeralStatements {
    pub(crate) get: SqlStr,
    pub(crate) take: SqlStr,
    pub(crate) due: SqlStr,
    pub(crate) insert: SqlStr,
    pub(crate) replace: SqlStr,
    pub(crate) purge: SqlStr,
}

/// Where the databases differ. Each statement returns the version that it has written.
pub(crate) struct Writing {
    /// Of a key, a namespace, a value, an expiry and the time.
    pub(crate) insert: &'static str,
    /// Of the same, and the expected version.
    pub(crate) replace: &'static str,
    /// Of a time and a limit.
    pub(crate) purge: &'static str,
}

impl EphemeralStatements {
    pub(crate) fn new(names: &TableNames, Writing { insert, replace, purge }: &Writing) -> Self {
        Self {
            get: names.render("SELECT value, version, expires_at FROM {ephemeral} WHERE key = $1 AND expires_at > $2"),
            take: names.render("DELETE FROM {ephemeral} WHERE key = $1 AND expires_at > $2 RETURNING value"),
            due: names.render(
                "SELECT value, version, expires_at, namespace, key FROM {ephemeral} \
                 WHERE namespace = $1 AND expires_at <= $2 ORDER BY expires_at, key LIMIT $3",
            ),
            insert: names.render(insert),
            replace: names.render(replace),
            purge: names.render(purge),
        }
    }
}

/// The value in column 0.
pub(crate) fn read_value(row: &impl Cells) -> Result<Vec<u8>, StorageError> {
    Ok(there(row.bytes(0)?, 0)?.to_vec())
}

/// The version in a column.
pub(crate) fn read_version(row: &impl Cells, column: usize) -> Result<Version, StorageError> {
    let number = there(row.number(column)?, column)?;
    Ok(Version::from_u64(u64::try_from(number).map_err(|_| corrupt(column))?))
}

/// The entry in the columns 0 to 2.
pub(crate) fn read_versioned(row: &impl Cells) -> Result<Versioned, StorageError> {
    Ok(Versioned { value: read_value(row)?, version: read_version(row, 1)?, expires_at: there(row.time(2)?, 2)? })
}

/// The entry in the columns 0 to 2, with its namespace and its key behind.
pub(crate) fn read_due(row: &impl Cells) -> Result<Due, StorageError> {
    let namespace = Namespace::new(there(row.text(3)?, 3)?).map_err(|_| corrupt(3))?;
    let digest = there(row.id(4)?, 4)?;
    Ok(Due { key: EphemeralKey::from_bytes(namespace, digest), entry: read_versioned(row)? })
}

/// A version as a column keeps it. No entry has one that a column can't keep.
pub(crate) fn number_of(version: Version) -> Option<i64> {
    i64::try_from(version.as_u64()).ok()
}
