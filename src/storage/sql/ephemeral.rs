//! The statements and row formats of ephemeral entries that both databases share.

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

/// The position of the column in statements that return a single column.
const ONLY: usize = 0;

/// The statements of one storage, rendered with its table names.
pub(crate) struct EphemeralStatements {
    pub(crate) get: SqlStr,
    pub(crate) take: SqlStr,
    pub(crate) due: SqlStr,
    pub(crate) insert: SqlStr,
    pub(crate) replace: SqlStr,
    pub(crate) purge: SqlStr,
}

/// The statements that differ between the databases. `insert` and `replace` return the version that they wrote.
pub(crate) struct Writing {
    /// Parameters: key, namespace, value, expiry and the current time.
    pub(crate) insert: &'static str,
    /// Parameters: those of `insert`, then the expected version.
    pub(crate) replace: &'static str,
    /// Parameters: time and limit.
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

/// Reads the value from a row with this single column.
pub(crate) fn read_value(row: &impl Cells) -> Result<Vec<u8>, StorageError> {
    value_at(row, ONLY)
}

/// Reads the version from a row with this single column.
pub(crate) fn read_version(row: &impl Cells) -> Result<Version, StorageError> {
    version_at(row, ONLY)
}

/// Reads the entry in the first columns.
pub(crate) fn read_versioned(row: &impl Cells) -> Result<Versioned, StorageError> {
    const AT: EntryColumns = EntryColumns::after(0).0;
    Ok(Versioned {
        value: value_at(row, AT.value)?,
        version: version_at(row, AT.version)?,
        expires_at: there(row.time(AT.expires_at)?, AT.expires_at)?,
    })
}

/// Reads the entry in the first columns, and its key in the columns that follow.
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

/// Returns a version as a column value. `None` if it does not fit: then no stored entry has this version.
pub(crate) fn number_of(version: Version) -> Option<i64> {
    i64::try_from(version.as_u64()).ok()
}
