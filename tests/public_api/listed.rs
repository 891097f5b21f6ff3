//! The public API, listed in `public_api.txt`, so every change to it is visible in a diff.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

#[path = "../common/skip.rs"]
mod skip;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
const LISTING: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../public_api.txt");

/// Crates whose types are part of the API: a new major version of one of these needs a new major version of this crate.
const PUBLIC_DEPENDENCIES: [&str; 16] = [
    "actix_http",
    "actix_service",
    "actix_web",
    "alloc",
    "axum",
    "axum_core",
    "core",
    "http",
    "serde_core",
    "serde_json",
    "sqlx_postgres",
    "sqlx_sqlite",
    "std",
    "time",
    "tower_layer",
    "tower_service",
];

/// Methods of derived traits, which are as public as the trait and add nothing.
const DERIVED: [&str; 9] = ["clone", "cmp", "default", "deserialize", "eq", "fmt", "hash", "partial_cmp", "serialize"];

/// `GRANTOR_WRITE_PUBLIC_API=1` rewrites the listing.
#[test]
fn public_api_matches_the_listing() {
    let Some(found) = public_api() else { return };
    if std::env::var_os("GRANTOR_WRITE_PUBLIC_API").is_some() {
        fs::write(LISTING, found.join("\n") + "\n").unwrap();
        return;
    }
    let listed = fs::read_to_string(LISTING).unwrap();
    let listed: Vec<_> = listed.lines().map(str::to_owned).collect();
    let difference = [without(&listed, &found, '-'), without(&found, &listed, '+')].concat();
    assert!(
        difference.is_empty(),
        "the public API is not the one in tests/public_api.txt:\n{}\nIf that is meant, say so in CHANGELOG.md, and write the \
         listing again with GRANTOR_WRITE_PUBLIC_API=1. A line that is removed or changed breaks hosts.",
        difference.join("\n")
    );
}

#[test]
fn public_api_names_only_allowed_crates() {
    let listing = fs::read_to_string(LISTING).unwrap();
    let found: BTreeSet<_> = listing.lines().flat_map(crates_in).filter(|name| *name != "grantor").collect();
    assert_eq!(found, BTreeSet::from(PUBLIC_DEPENDENCIES));
}

#[test]
fn public_durations_are_time_durations() {
    let listing = fs::read_to_string(LISTING).unwrap();
    let durations: Vec<_> = listing.lines().filter(|line| line.contains("Duration")).collect();
    let others: Vec<_> =
        durations.iter().filter(|line| line.contains("core::time::") || line.contains("std::time::")).collect();
    assert!(durations.len() > 10 && others.is_empty(), "a duration is a `time::Duration`: {others:#?}");
}

/// Lines that only one of the two texts has.
fn without(one: &[String], other: &[String], sign: char) -> Vec<String> {
    let other: BTreeSet<_> = other.iter().collect();
    one.iter().filter(|line| !other.contains(line)).map(|line| format!("{sign} {line}")).collect()
}

/// The first name of every path in a line.
fn crates_in(line: &str) -> impl Iterator<Item = &str> {
    let paths = line.split(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, ':' | '_')));
    let names = paths.filter_map(|path| path.split_once("::").map(|(name, _)| name));
    names.filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
}

/// Every public item with all features, one a line; `None` if the JSON of this rustdoc version is unknown.
fn public_api() -> Option<Vec<String>> {
    let root = Path::new(ROOT);
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let rustdoc = ["rustdoc", "--quiet", "--lib", "--all-features", "--", "-Zunstable-options", "--output-format=json"];
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(rustdoc).current_dir(root).env("CARGO_TARGET_DIR", target).env("RUSTDOC", root.join(".ci/rustdoc"));
    let output = cargo.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let json = target.join("doc/grantor.json");
    let api = public_api::Builder::from_rustdoc_json(json).omit_auto_trait_impls(true).omit_blanket_impls(true).build();
    let api = match api {
        Ok(api) => api,
        Err(error) => {
            skip::skip(&format!("public-api does not understand this compiler's rustdoc: {error}"));
            return None;
        }
    };
    let items = api.items().map(ToString::to_string);
    let lines: Vec<_> = items.filter(|item| !is_derived(item)).collect();
    assert!(lines.len() > 1_000, "{lines:?}");
    Some(lines)
}

fn is_derived(item: &str) -> bool {
    let name = item.split('(').next().unwrap_or_default().rsplit("::").next().unwrap_or_default();
    let name = name.split('<').next().unwrap_or_default();
    item.starts_with("pub fn ") && DERIVED.contains(&name)
}
