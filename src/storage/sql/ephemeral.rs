//! What both databases share for ephemeral entries: statements that read the same, and entries in rows.

use sqlx::SqlStr;

use super::TableNames;
use super::rows::{Cells, columns, corrupt, there};
use crate::error::StorageError;
use crate::storage::ephemeral::{Due, EphemeralKey, Namespace, Version, Versioned};

columns! {
    /// The positions of the columns of an entry.
    EntryColumns, "e":
    value, version, expires_at
}

columns! {
    /// The positions of the columns of its key.
    KeyColumns, "e":
    namespace, key
}

/// The position of the column in a statement that returns one.
const ONLY: usize = 0;

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
        let (entry, key) = (EntryColumns::LIST, KeyColumns::LIST);
        Self {
            get: names.render(&format!("SELECT {entry} FROM {{ephemeral}} e WHERE e.key = $1 AND e.expires_at > $2")),
            take: names.render("DELETE FROM {ephemeral} WHERE key = $1 AND expires_at > $2 RETURNING value"),
            due: names.render(&format!(
                "SELECT {entry}, {key} FROM {{ephemeral}} e \
                 WHERE e.namespace = $1 AND e.expires_at <= $2 ORDER BY e.expires_at, e.key LIMIT $3"
            )),
            insert: names.render(insert),
            replace: names.render(replace),
            purge: names.render(purge),
        }
    }
}

/// The value that a statement returns.
pub(crate) fn read_value(row: &impl Cells) -> Result<Vec<u8>, StorageError> {
    value_at(row, ONLY)
}

/// The version that a statement returns.
pub(crate) fn read_version(row: &impl Cells) -> Result<Version, StorageError> {
    version_at(row, ONLY)
}

/// The entry in the first columns.
pub(crate) fn read_versioned(row: &impl Cells) -> Result<Versioned, StorageError> {
    const AT: EntryColumns = EntryColumns::after(0).0;
    Ok(Versioned {
        value: value_at(row, AT.value)?,
        version: version_at(row, AT.version)?,
        expires_at: there(row.time(AT.expires_at)?, AT.expires_at)?,
    })
}

/// The entry in the first columns and its key in those that follow.
pub(crate) fn read_due(row: &impl Cells) -> Result<Due, StorageError> {
    const AT: KeyColumns = KeyColumns::after(EntryColumns::after(0).1).0;
    let namespace = Namespace::new(there(row.text(AT.namespace)?, AT.namespace)?).map_err(|_| corrupt(AT.namespace))?;
    let digest = there(row.id(AT.key)?, AT.key)?;
    Ok(Due { key: EphemeralKey::from_bytes(namespace, digest), entry: read_versioned(row)? })
}

fn value_at(row: &impl Cells, column: usize) -> Result<Vec<u8>, StorageError> {
    Ok(there(row.bytes(column)?, column)?.to_vec())
}

fn version_at(row: &impl Cells, column: usize) -> Result<Version, StorageError> {
    let number = there(row.number(column)?, column)?;
    Ok(Version::from_u64(u64::try_from(number).map_err(|_| corrupt(column))?))
}

/// A version as a column keeps it. No entry has one that a column can't keep.
pub(crate) fn number_of(version: Version) -> Option<i64> {
    i64::try_from(version.as_u64()).ok()
}
