//! `MemoryStorage` as the library has it, from the same files, but with the locks of a checker.
//!
//! `std` means `checked-std` in here. So the files are compiled as they stand, and none of their locks can be forgotten.

extern crate checked_std as std;

mod storage;

use grantor::{client, error, record, secret};

pub use crate::storage::memory::MemoryStorage;
