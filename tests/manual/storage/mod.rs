//! Compiles the code of the page about storages. Other tests open databases and run the suite.

mod contract;
#[allow(dead_code, unused_variables, reason = "the page shows how to open a storage, and no more")]
mod open;
