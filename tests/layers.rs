//! The rows of modules in DESIGN.md: a module imports only from its row and the rows below it, and only leaves import
//! leaves.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// The path of an import from the root of the crate.
const ROOT: &str = "";

/// The row of leaves. Leaves may import everything, so this row is above all others.
const LEAVES: usize = 0;

/// Modules with their rows, as the table in DESIGN.md has them. `client/auth` is listed separately, `client` is the
/// rest of the folder.
type Rows = BTreeMap<String, usize>;

fn rows_of(design: &str) -> Rows {
    let picture =
        design.split("```text").nth(1).and_then(|rest| rest.split("```").next()).expect("DESIGN.md has a picture");
    let mut rows = Rows::new();
    for line in picture.lines() {
        let mut words = line.split_whitespace();
        let row = match words.next() {
            Some("leaves") => LEAVES,
            Some("row") => words.next().and_then(|number| number.parse().ok()).expect("rows have numbers"),
            _ => continue,
        };
        for word in words {
            let module = word.trim_end_matches('/').trim_end_matches("/mod").to_owned();
            assert!(rows.insert(module.clone(), row).is_none(), "{module} is in two rows");
        }
    }
    rows
}

/// The module that a path such as `client/auth` or `storage/memory/shard` belongs to.
fn module_of<'a>(rows: &'a Rows, path: &str) -> Option<&'a str> {
    let mut path = path;
    loop {
        if let Some((module, _)) = rows.get_key_value(path) {
            return Some(module);
        }
        path = path.rsplit_once('/')?.0;
    }
}

/// Returns the imports of a file: each path that begins with `crate`, `super` or `self`, as a path of modules from the
/// root. Tests and comments don't count, nor do re-exports of a module's own parts.
fn imports(module: &str, source: &str) -> BTreeSet<String> {
    let code = source.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
    let code = lines.collect::<Vec<_>>().join("\n");
    let statements = code.split(';').filter(|statement| !statement.contains("pub use self::"));
    let code = statements.collect::<Vec<_>>().join(";");
    let mut found = BTreeSet::new();
    for root in ["crate::", "super::", "self::"] {
        for (at, _) in code.match_indices(root) {
            let before = code[..at].chars().next_back();
            if before.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == ':') {
                continue;
            }
            let base = match root {
                "crate::" => Vec::new(),
                "self::" => segments(module),
                _ => parent(module),
            };
            let (base, rest) = above(base, &code[at + root.len()..]);
            let mut named = BTreeSet::new();
            expand(&base, rest, &mut named);
            // `super` in an inline module is the file itself.
            found.extend(named.into_iter().filter(|path| root == "crate::" || path != ROOT));
        }
    }
    found
}

fn segments(module: &str) -> Vec<String> {
    module.split('/').map(str::to_owned).collect()
}

fn parent(module: &str) -> Vec<String> {
    let mut segments = segments(module);
    segments.pop();
    segments
}

/// Follows each further `super` of a path.
fn above(mut base: Vec<String>, mut rest: &str) -> (Vec<String>, &str) {
    while let Some(after) = rest.strip_prefix("super::") {
        base.pop();
        rest = after;
    }
    (base, rest)
}

/// Follows a path, or each path of a group in braces, while it names modules.
fn expand(base: &[String], rest: &str, found: &mut BTreeSet<String>) {
    let mut path = base.to_vec();
    let mut rest = rest;
    loop {
        if let Some(group) = rest.strip_prefix('{') {
            for item in items(group) {
                expand(&path, item.trim_start(), found);
            }
            return;
        }
        let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        if word.is_empty() || word.starts_with(|c: char| c.is_uppercase()) {
            break;
        }
        path.push(word.to_owned());
        match after.strip_prefix("::") {
            Some(after) => rest = after,
            None => break,
        }
    }
    found.insert(path.join("/"));
}

/// The items of a group up to its closing brace.
fn items(group: &str) -> Vec<&str> {
    let (mut depth, mut start, mut items) = (0, 0, Vec::new());
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                items.push(&group[start..at]);
                return items;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                items.push(&group[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    items
}

/// Returns the forbidden imports of one file.
fn faults(rows: &Rows, path: &str, source: &str) -> Vec<String> {
    let Some(module) = module_of(rows, path) else { return vec![format!("{path} is in no row")] };
    let own = rows[module];
    let mut faults = Vec::new();
    // The root re-exports from every row, so an import from there could hide any direction.
    if own != LEAVES && imports(path, source).contains(ROOT) {
        faults.push(format!("{path} imports from the root of the crate"));
    }
    for import in imports(path, source) {
        // A path that ends in no module is a name at the root of the crate, or of the file itself.
        let Some(imported) = module_of(rows, &import) else { continue };
        let is_upward = own != LEAVES && (rows[imported] == LEAVES || rows[imported] < own);
        if imported != module && is_upward {
            faults.push(format!("{path} imports {import}"));
        }
    }
    faults
}

/// Every file of a folder with its module path, except unit tests in separate files.
fn sources(folder: &Path, prefix: &str, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() {
            sources(&path, &format!("{prefix}{name}/"), found);
        } else if name != "tests" && path.extension().is_some_and(|extension| extension == "rs") {
            let module =
                if name == "mod" { prefix.trim_end_matches('/').to_owned() } else { format!("{prefix}{name}") };
            found.push((module, fs::read_to_string(&path).unwrap()));
        }
    }
}

fn design() -> Rows {
    rows_of(&fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/DESIGN.md")).unwrap())
}

#[test]
fn modules_import_only_from_their_row_and_below() {
    let rows = design();
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut files);
    files.retain(|(module, _)| module != "lib");
    assert!(files.len() > 100, "only {} files", files.len());
    let faults: Vec<String> = files.iter().flat_map(|(module, source)| faults(&rows, module, source)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let has_file = |module: &&String| files.iter().any(|(file, _)| module_of(&rows, file) == Some(module));
    let unused: Vec<_> = rows.keys().filter(|module| !has_file(module)).collect();
    assert!(unused.is_empty(), "DESIGN.md names modules that are gone: {unused:?}");
}

/// Returns pairs of modules that import each other.
fn circles(rows: &Rows, files: &[(String, String)]) -> Vec<String> {
    let mut edges = BTreeSet::new();
    for (path, source) in files {
        let Some(module) = module_of(rows, path).filter(|module| rows[*module] != LEAVES) else { continue };
        let imported = imports(path, source);
        edges.extend(imported.iter().filter_map(|import| Some((module, module_of(rows, import)?))));
    }
    let is_circle = |(one, other): &&(&str, &str)| one < other && edges.contains(&(*other, *one));
    edges.iter().filter(is_circle).map(|(one, other)| format!("{one} and {other} import each other")).collect()
}

#[test]
fn modules_do_not_import_each_other() {
    let mut files = Vec::new();
    sources(Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")), "", &mut files);
    assert_eq!(circles(&design(), &files), [""; 0]);

    let rows = rows_of("```text\nrow 1 client/auth client/request\nrow 2 scope\n```");
    let file = |path: &str, source: &str| (path.to_owned(), source.to_owned());
    let circle = [file("client/auth", "use super::request::R;"), file("client/request", "use super::auth::A;")];
    assert_eq!(circles(&rows, &circle), ["client/auth and client/request import each other"]);
    assert_eq!(circles(&rows, &circle[..1]), [""; 0]);
}

#[test]
fn upward_imports_are_found_in_every_form() {
    let rows = rows_of(
        "```text\nrow 1 server/\nrow 2 issue/\nrow 3 client/auth storage/mod\nrow 4 client/ scope\nleaves storage/memory/ axum\n```",
    );
    for (module, source) in [
        ("issue", "use crate::server::Builder;"),
        ("issue/mint", "fn f() { crate::server::build() }"),
        ("scope", "use crate::{client::auth::A, scope};"),
        ("scope", "use crate::client::{Client, auth::{A, B}};"),
        ("client/parts", "use super::auth::A;"),
        ("client", "use self::auth::A;"),
        ("issue", "use crate::axum::routes;"),
        ("storage", "use crate::storage::memory::MemoryStorage;"),
        ("other", ""),
        ("scope", "use crate::Error;"),
        ("client/deep/parts", "use super::super::auth::A;"),
    ] {
        assert_eq!(faults(&rows, module, source).len(), 1, "{module}: {source}");
    }
    for (module, source) in [
        ("server", "use crate::issue::open; use crate::scope::Scope;"),
        ("client/auth", "use super::{Client, parts::Parts}; use crate::storage::Storage;"),
        ("client", "pub use self::auth::A;"),
        ("axum", "use crate::server::Builder; use crate::storage::memory::M; use crate::Error;"),
        ("scope", "// use crate::server::Builder;\n#[cfg(test)]\nmod tests { use crate::server::Builder; }"),
    ] {
        assert_eq!(faults(&rows, module, source), [""; 0], "{module}: {source}");
    }
}
