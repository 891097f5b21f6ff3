//! How a test says that it can't run here.
#![allow(unreachable_pub, reason = "each test binary has it as a module of its own")]

use std::io::Write;

/// Says on the standard error why the rest of a test is skipped. A test that must not be skipped (`GRANTOR_REQUIRE_ALL=1`)
/// fails instead.
pub fn skip(why: &str) {
    let required = std::env::var_os("GRANTOR_REQUIRE_ALL").is_some_and(|value| value == "1");
    assert!(!required, "GRANTOR_REQUIRE_ALL=1, but {why}");
    // Not `eprintln!`: of a test that passes, what that prints is thrown away.
    let _ = writeln!(std::io::stderr(), "skipped: {why}");
}
