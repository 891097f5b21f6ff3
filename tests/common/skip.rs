//! How a test reports that it can't run here.
#![allow(unreachable_pub, reason = "each test binary includes this module")]

use std::io::Write;

/// Prints to standard error why the rest of a test is skipped. With `GRANTOR_REQUIRE_ALL=1` the test
/// fails instead.
pub fn skip(why: &str) {
    let required = std::env::var_os("GRANTOR_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "GRANTOR_REQUIRE_ALL=1, but {why}");
    // Not `eprintln!`: libtest captures its output if the test passes.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
