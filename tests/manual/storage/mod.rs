//! The code of the page about storages. The tests of the storages open databases and run the suite, so here it is only compiled.

mod contract;
#[allow(dead_code, unused_variables, reason = "the page shows how to open a storage, and no more")]
mod open;
