//! The row format of the signing keys.

use super::rows::{Cells, there};
use crate::error::StorageError;
use crate::storage::StoredKeys;

/// Reads `version` and `value`.
pub(crate) fn read_signing_keys(row: &impl Cells) -> Result<StoredKeys, StorageError> {
    const VERSION: usize = 0;
    const VALUE: usize = 1;
    Ok(StoredKeys { version: there(row.number(VERSION)?, VERSION)?, value: there(row.bytes(VALUE)?, VALUE)?.to_vec() })
}
