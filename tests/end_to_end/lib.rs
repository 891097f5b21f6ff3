//! Helpers for tests of the examples: servers as processes, a simulated browser, a PostgreSQL server.
#![allow(
    clippy::exhaustive_structs,
    clippy::missing_errors_doc,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::new_without_default,
    missing_debug_implementations,
    missing_docs,
    reason = "only the tests of this package use it"
)]

pub mod example;
pub mod packages;
#[path = "../common/postgres.rs"]
pub mod postgres;
pub mod provider;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

pub use postgres::skip;

/// The folder of the library, which has the examples.
pub const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");

/// Returns the path of an example's program, built from the present sources. `cargo test` builds an example that has
/// unit tests only as a test.
///
/// The whole workspace is selected so Cargo reuses what `cargo test --workspace --all-features` compiled: another
/// selection of packages gives the dependencies other features.
pub fn built(example: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| {
        // target/debug/deps/this-test
        let test = std::env::current_exe().unwrap();
        let profile = test.ancestors().nth(2).unwrap();
        let mut build = Command::new(env!("CARGO"));
        build.args(["build", "--quiet", "--workspace", "--examples", "--all-features"]);
        build.arg("--manifest-path").arg(Path::new(ROOT).join("Cargo.toml"));
        build.arg("--target-dir").arg(profile.parent().unwrap());
        if profile.ends_with("release") {
            build.arg("--release");
        }
        assert!(build.status().expect("cargo runs").success(), "the examples do not build");
        profile.join("examples")
    });
    folder.join(format!("{example}{}", std::env::consts::EXE_SUFFIX))
}
