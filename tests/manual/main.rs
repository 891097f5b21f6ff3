//! Checks the manual against the code: reads pages and sources as text, and compiles and runs the code of the pages.

#[cfg(feature = "jwt")]
mod clients_without_shared_secrets;
mod defaults;
#[cfg(all(feature = "actix-web", feature = "testing"))]
mod machines;
#[cfg(feature = "testing")]
mod migrating;
#[cfg(feature = "testing")]
mod non_features;
#[cfg(all(feature = "sqlite", feature = "testing"))]
mod old_copy;
#[cfg(feature = "testing")]
mod operators;
#[cfg(all(feature = "http-client", feature = "jwt"))]
mod outbound_requests;
mod pages;
#[cfg(feature = "axum")]
mod separate_api;
#[cfg(all(feature = "axum", feature = "testing"))]
mod several_apis;
#[cfg(feature = "jwt")]
mod signing_keys;
#[cfg(all(feature = "postgres", feature = "sqlite", feature = "testing"))]
mod storage;
#[cfg(feature = "testing")]
mod testing;
#[cfg(all(feature = "actix-web", feature = "testing"))]
mod with_actix_web;
#[cfg(all(feature = "axum", feature = "testing"))]
mod with_axum;
mod with_your_stack;

use std::collections::BTreeSet;
use std::path::Path;

use grantor::client::ClientParts;

const THREATS: &str = include_str!("../../src/manual/threats.md");
const DEFAULTS: &str = include_str!("../../src/manual/defaults.md");
const OPERATORS: &str = include_str!("../../src/manual/operators.md");
const DESIGN: &str = include_str!("../../DESIGN.md");

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Each reference in a page such as `src/file.rs: name` or `tests/file.rs: name`, or, for short lines, `name`
/// (`file.rs`), which is below `src/`.
fn references(page: &str) -> Vec<(String, &str)> {
    let quoted: Vec<&str> = page.split('`').collect();
    // A line may end between the two.
    let whole = quoted.iter().filter_map(|text| text.split_once(".rs:"));
    let whole = whole.map(|(file, name)| (file.to_owned(), name.trim_start()));
    let in_short = quoted.windows(3).filter(|parts| parts[1] == " (").filter_map(|parts| {
        let file = parts[2].strip_suffix(".rs")?;
        Some((format!("src/{file}"), parts[0]))
    });
    whole.chain(in_short).collect()
}

/// The rows of all tables whose first column is a name in backticks.
fn named_rows(page: &str) -> BTreeSet<&str> {
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| ")?.split(" | ").next());
    first_cells.flat_map(|cell| cell.split(", ")).filter_map(|cell| cell.strip_prefix('`')?.strip_suffix('`')).collect()
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_')
}

/// The public fields of a struct in its source.
fn fields<'a>(source: &'a str, name: &str) -> Vec<&'a str> {
    let body = source.split(&format!("pub struct {name} {{")).nth(1).unwrap_or_else(|| panic!("no struct {name}"));
    let body = body.split("\n}").next().unwrap_or_default();
    let fields: Vec<&str> =
        body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split(':').next()).collect();
    assert!(!fields.is_empty(), "{name} has no fields");
    fields
}

#[test]
fn types_checks_and_tests_named_by_the_manual_exist() {
    for (name, page, at_least) in [("threats.md", THREATS, 40), ("DESIGN.md", DESIGN, 20)] {
        let mut seen = 0;
        for (file, item) in references(page) {
            let source = read(&format!("{file}.rs"));
            let found = if file.starts_with("tests/") {
                source.contains(&format!("fn {item}("))
            } else {
                words(&source).any(|word| word == item)
            };
            assert!(found, "{name} names {item} of {file}.rs, but the file has no such item");
            seen += 1;
        }
        assert!(seen >= at_least, "only {seen} references were found in {name}");
    }
}

// covers: BC-05 (RFC 9700 §3)
#[test]
fn threat_model_has_a_row_for_every_item_of_rfc_9700() {
    let sections = THREATS.split("\n# ").find(|part| part.starts_with("RFC 9700, item by item")).unwrap();
    let rows: Vec<&str> = sections.lines().filter(|line| line.starts_with("| ")).collect();
    let practices = ["2.1 ", "2.1.1 ", "2.1.2 ", "2.2.1 ", "2.2.2 ", "2.3 ", "2.4 ", "2.5 ", "2.6 "].map(str::to_owned);
    for section in practices.into_iter().chain((1..=17).map(|n| format!("4.{n} "))) {
        let own: Vec<_> = rows.iter().filter(|row| row.starts_with(&format!("| {section}"))).collect();
        assert!(!own.is_empty(), "{section} is missing");
        assert!(own.iter().all(|row| row.matches(" | ").count() == 3), "{own:?}");
        let tests = sections.split(&format!("\n* {}: ", section.trim())).nth(1).unwrap_or_default();
        let tests = references(tests.split("\n* ").next().unwrap_or_default());
        assert!(tests.iter().any(|(file, _)| file.starts_with("tests/")), "{section} has no test");
    }
}

#[test]
fn every_setting_has_its_reason_in_the_manual() {
    let rows = named_rows(DEFAULTS);
    let policy = read("src/policy.rs");
    for setting in [fields(&policy, "Policy"), fields(&policy, "Dangerous")].concat() {
        assert!(rows.contains(setting), "defaults.md has no row for {setting}");
    }
    let builder = read("src/server/builder.rs");
    let methods = builder.lines().filter_map(|line| line.strip_prefix("    pub fn ")?.split(['(', '<']).next());
    let optional =
        ["build", "storage", "storage_and_clients", "policy", "extension_grant", "metadata", "protected_resource"];
    for method in methods.filter(|method| !optional.contains(method)) {
        assert!(rows.contains(method), "defaults.md does not say what a server is without {method}");
    }
}

#[test]
fn defaults_have_a_row_for_each_member_of_a_client() {
    let table = DEFAULTS.split("\n# A client\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let rows: Vec<Vec<&str>> = table.lines().skip(2).map(|row| row.split(" | ").collect()).collect();
    for member in ClientParts::MEMBERS.iter().filter(|member| member.name != "client_id") {
        let name = format!("`{}`", member.name);
        let row = rows.iter().find(|row| row[0].trim_start_matches("| ").split(", ").any(|own| own == name));
        let row = row.unwrap_or_else(|| panic!("defaults.md has no row for {name}"));
        assert_eq!(row[1], format!("{:?}", member.set_by).to_lowercase(), "{name}");
    }
}

#[test]
fn operators_page_lists_every_event_and_no_other() {
    let source = read("src/event.rs");
    let events: BTreeSet<&str> =
        source.lines().filter_map(|line| line.split_once("{ .. } => \"")?.1.split('"').next()).collect();
    assert!(events.len() >= 15, "{events:?}");
    let table = OPERATORS.split("\n# ").find(|part| part.starts_with("What to log")).unwrap();
    let table = table.split("# What to log").last().unwrap();
    assert_eq!(named_rows(table), events);
}

/// A page that no module includes is never compiled.
#[test]
fn every_page_is_part_of_the_documentation() {
    let (included, contents) = (read("src/manual/mod.rs"), read("src/manual/README.md"));
    let pages = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual")).unwrap();
    let pages: Vec<String> = pages.map(|page| page.unwrap().file_name().into_string().unwrap()).collect();
    for module in pages.iter().filter_map(|page| page.strip_suffix(".md")) {
        assert!(included.contains(&format!("include_str!(\"{module}.md\")")), "{module}.md is not included");
        let is_listed = ["README", "links"].contains(&module) || contents.contains(&format!("[{module}]: {module}.md"));
        assert!(is_listed, "{module} is not in the table of contents");
    }
    assert!(pages.len() > 10);
}
