//! The parts that the SQL storages share: names, migrations, row formats, and the classification of errors.

mod ephemeral;
mod failure;
mod migrate;
mod names;
mod rows;
mod signing_keys;
mod statements;

use std::time::Duration as Wait;

use time::{Duration, OffsetDateTime};

pub(super) use self::ephemeral::{
    EphemeralStatements, Writing, number_of, read_due, read_value, read_version, read_versioned,
};
pub(super) use self::failure::failed;
#[cfg(feature = "postgres")]
pub(super) use self::failure::is_transport_failure;
pub(super) use self::migrate::{check_migrations, migrator, run_migrations};
pub(super) use self::names::TableNames;
pub(super) use self::rows::{
    Cells, host_data, json, kept_until, read_client, read_found, read_grant, read_place, unreadable,
};
pub(super) use self::signing_keys::read_signing_keys;
pub(super) use self::statements::{BySelector, Common, selected};
use crate::error::StorageError;
use crate::record::GrantId;

/// The default prefix of the names of tables and indexes.
pub(super) const DEFAULT_PREFIX: &str = "grantor_";

/// The default time limit of a step.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::seconds(5);

/// The longest timeout that both databases accept, about 24 days. A longer timeout is cut to this.
const LONGEST_TIMEOUT: Wait = Wait::from_millis(i32::MAX.unsigned_abs() as u64);

/// Checks the timeout setting, and converts it to the type that timers use.
pub(super) fn check_timeout(timeout: Duration) -> Result<Wait, StorageError> {
    let wait = Wait::try_from(timeout).ok().filter(|wait| !wait.is_zero());
    let wait = wait.map(|wait| wait.min(LONGEST_TIMEOUT));
    wait.ok_or_else(|| StorageError::new("the timeout of the storage is zero or negative: set a positive one"))
}

/// The maximum number of grants that one statement revokes.
pub(super) const BATCH: usize = 1_000;

/// The position before the newest grant of a list: the end of the year 9999, which both databases accept and no record
/// reaches.
pub(super) const LIST_START: (OffsetDateTime, GrantId) = match OffsetDateTime::from_unix_timestamp(253_402_300_799) {
    Ok(time) => (time, GrantId::from_bytes([0xff; 16])),
    Err(_) => panic!("the year 9999 is in the range of every build of `time`"),
};

/// A time before all records. A grant that has not been revoked is listed as live at this time, even if it has ended.
pub(super) const LONG_AGO: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

/// Returns `opened_at` and `id` of the last row of a page.
pub(super) fn last_of(rows: &[impl Cells]) -> Result<Option<(OffsetDateTime, GrantId)>, StorageError> {
    let places: Vec<_> = rows.iter().map(read_place).collect::<Result<_, _>>()?;
    Ok(places.into_iter().min())
}

/// Converts a number of rows to an SQL integer.
pub(super) fn row_count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}
