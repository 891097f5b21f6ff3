//! People read the manual on docs.rs and on a forge. These tests check that the links work on both, and that the code
//! of the pages is compiled.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::{read, words};

/// Names and texts of the pages, without the table of links.
fn pages() -> BTreeMap<String, String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/manual");
    let names = std::fs::read_dir(folder).unwrap().map(|page| page.unwrap().file_name().into_string().unwrap());
    let pages = names.filter_map(|name| Some(name.strip_suffix(".md")?.to_owned())).filter(|name| name != "links");
    pages.map(|name| (name.clone(), read(&format!("src/manual/{name}.md")))).collect()
}

/// The lines `[label]: target` of a page.
fn definitions(page: &str) -> BTreeMap<&str, &str> {
    let lines = page.lines().filter_map(|line| line.strip_prefix('[')?.split_once("]: "));
    lines.filter(|(label, _)| !label.contains(']')).collect()
}

/// Whether a page has a link with this label: `[text][label]`, or `[label]` alone if the label is code.
fn uses(page: &str, label: &str) -> bool {
    page.match_indices(&format!("[{label}]")).any(|(at, link)| {
        let alone = label.starts_with('`') && !page[at + link.len()..].starts_with(['[', '(', ':']);
        page[..at].ends_with(']') || alone
    })
}

/// The blocks of code of a page, each with what follows the three backticks.
fn blocks(page: &str) -> Vec<(&str, &str)> {
    let parts: Vec<&str> = page.split("```").collect();
    parts.iter().skip(1).step_by(2).filter_map(|block| block.split_once('\n')).collect()
}

fn is_rust(language: &str) -> bool {
    language.split(',').all(|word| matches!(word, "" | "rust" | "no_run" | "ignore" | "should_panic"))
}

/// The anchor that forges and rustdoc give to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    kept.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c)).map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn manual_links_work_on_forge_and_docs_rs() {
    let (pages, links) = (pages(), read("src/manual/links.md"));
    let for_rustdoc = definitions(&links);
    let mut used = BTreeSet::new();
    for (name, page) in &pages {
        for (label, target) in definitions(page) {
            assert!(page.matches(&format!("[{label}]")).count() > 1, "{name}.md defines [{label}] and does not use it");
            let item = for_rustdoc.get(label).unwrap_or_else(|| panic!("links.md lacks [{label}] of {name}.md"));
            used.insert(label);
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let text = read(&format!("src/manual/{file}"));
            if let Some(module) = file.strip_suffix(".md") {
                assert!(item.starts_with(&format!("crate::manual::{module}")), "{name}.md: [{label}] leads to {item}");
                let exists = text.lines().any(|line| line.starts_with('#') && anchor(line) == heading);
                assert!(heading.is_empty() || exists, "{name}.md: {file} has no heading for #{heading}");
            } else {
                let item = item.split('#').next().unwrap().rsplit("::").next().unwrap();
                let is_module = file.ends_with(&format!("/{item}.rs")) || file.ends_with(&format!("/{item}/mod.rs"));
                assert!(is_module || words(&text).any(|word| word == item), "{name}.md: {file} has no {item}");
            }
        }
        for label in for_rustdoc.keys().filter(|label| uses(page, label)) {
            assert!(definitions(page).contains_key(label), "{name}.md does not define [{label}] at its end");
        }
        let inline = page.split("](crate::").nth(1).map(|rest| rest.split(')').next().unwrap());
        assert_eq!(inline, None, "{name}.md: a forge can't follow this link, so define it at the end and in links.md");
    }
    let unused: Vec<_> = for_rustdoc.keys().filter(|label| !used.contains(*label)).collect();
    assert!(unused.is_empty(), "no page uses these definitions of links.md: {unused:?}");
}

#[test]
fn manual_code_is_compiled_here() {
    let mut sources = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/manual"), &mut sources);
    for (name, page) in pages() {
        for (_, block) in blocks(&page).into_iter().filter(|(language, _)| is_rust(language)) {
            // rustdoc hides such lines, and a forge shows them.
            let hidden = block.lines().find(|line| line.starts_with("# "));
            assert_eq!(hidden, None, "{name}.md: move this line to the file in tests/manual");
            let is_here = sources.iter().any(|source| source.contains(block));
            assert!(is_here, "no file of tests/manual has this block of {name}.md:\n{block}");
        }
    }
}

fn collect(folder: &Path, sources: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path: PathBuf = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else {
            sources.push(std::fs::read_to_string(path).unwrap());
        }
    }
}
