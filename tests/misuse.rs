//! What must not compile, does not: runs the package in `misuse/`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

#[path = "common/skip.rs"]
mod skip;

/// Whose words the `.stderr` files hold. Another compiler says the same in other words.
const WORDED_BY: &str = "rustc 1.95.";

const PACKAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/misuse");

/// By the compiler that worded the expectations, every word counts; by another one, that each program is refused for the one
/// reason that it names.
// covers: B1, B34, B35
#[test]
fn every_misuse_is_refused_by_the_compiler() {
    let cargo = |command: &str| {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args([command, "--quiet", "--manifest-path"]).arg(format!("{PACKAGE}/Cargo.toml"));
        cargo
    };
    if !cargo("fetch").status().unwrap().success() {
        return skip::skip("the package tests/misuse depends on one that can't be had");
    }
    let mut test = cargo("test");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("misuse");
    test.env("CARGO_TARGET_DIR", &target);
    if !compiler().starts_with(WORDED_BY) {
        test.env("MISUSE_CASES", without_words(&target.join("cases"))).env("TRYBUILD", "overwrite");
    }
    let output = test.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "no program was looked at:\n{said}");
}

fn compiler() -> String {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    String::from_utf8(Command::new(rustc).arg("--version").output().unwrap().stdout).unwrap()
}

/// A copy of the programs without what a compiler said about them.
fn without_words(copy: &Path) -> PathBuf {
    let _ = fs::remove_dir_all(copy);
    fs::create_dir_all(copy).unwrap();
    for file in fs::read_dir(format!("{PACKAGE}/cases")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "rs") {
            fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
        }
    }
    copy.to_owned()
}
