//! The module `storage` of grantor, but for the storages it brings.

pub(crate) use grantor::storage::*;
use time::Duration;

#[allow(clippy::all, reason = "it is linted as a part of grantor")]
#[path = "../../../src/storage/memory/mod.rs"]
pub(crate) mod memory;

/// Private there.
const SEED_LIFETIME: Duration = Duration::MINUTE;
