//! Compares the table in `tests/requirements.md` with the tests that claim to cover its rows.
//!
//! `GRANTOR_BLESS=1 cargo test --test requirements` rewrites the column `covered by`; everything else in the table is
//! written by hand. `cargo test --test requirements -- --nocapture` prints counts by section.

mod claims;
mod rules;
mod set_apart;
mod table;

use std::path::{Path, PathBuf};

use self::claims::Claims;
use self::rules::Findings;
use self::set_apart::SetApart;
use self::table::Table;

const TABLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/requirements.md");
const SET_APART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/not-covered.md");

#[test]
fn table_and_the_tests_agree() {
    let mut findings = Findings::default();
    let claims = read_claims(&mut findings);
    let set_apart = SetApart::read(&std::fs::read_to_string(SET_APART).unwrap(), &mut findings);
    let text = std::fs::read_to_string(TABLE).unwrap();
    let mut table = Table::read(&text, &mut findings);
    if std::env::var_os("GRANTOR_BLESS").is_some() {
        let blessed = table.with_column(&text, |row, section| rules::covered_by(row, section, &claims, &set_apart));
        std::fs::write(TABLE, &blessed).unwrap();
        table = Table::read(&blessed, &mut Findings::default());
    }
    rules::check(&table, &claims, &set_apart, &mut findings);
    println!("{}", rules::summary(&table, &claims, &set_apart));
    assert!(
        findings.is_empty(),
        "\n{findings}\n`GRANTOR_BLESS=1 cargo test --test requirements` rewrites the last column"
    );
}

/// The claims in all Rust sources with tests.
fn read_claims(findings: &mut Findings) -> Claims {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut claims = Claims::default();
    for folder in ["src", "tests", "examples"] {
        for path in sources(&root.join(folder)) {
            let name = path.strip_prefix(root).unwrap();
            let name = name.strip_prefix("tests").unwrap_or(name).to_str().unwrap().replace('\\', "/");
            claims.read(&name, &std::fs::read_to_string(&path).unwrap(), findings);
        }
    }
    claims
}

fn sources(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}
