//! The SQL storages: database behaviour that the contract suite can't see.

#[path = "../common/mod.rs"]
mod common;
#[path = "../common/postgres.rs"]
mod postgres;

mod between_steps;
mod ephemeral;
mod ephemeral_processes;
mod failures;
mod families;
mod growth;
mod interruptions;
mod lost_answers;
mod many_grants;
mod newer_node;
mod opening;
mod proxy;
mod records;
mod rolled_back;
mod round_trips;
mod signing_keys;
mod slow_issuance;
#[cfg(feature = "jwt")]
mod slow_signature;
