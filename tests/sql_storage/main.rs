//! The SQL storages: database behaviour that the contract suite can't see.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/postgres.rs"]
mod postgres;

mod batches;
mod ephemeral;
mod ephemeral_processes;
mod failures;
mod families;
mod growth;
mod interruptions;
mod lost_answers;
mod newer_node;
mod opening;
mod partial_writes;
mod proxy;
mod records;
mod retries;
mod round_trips;
mod signing_keys;
mod slow_issuance;
#[cfg(feature = "jwt")]
mod slow_signature;
