//! The comments by which tests claim requirements.

use std::collections::{BTreeMap, BTreeSet};

use super::rules::Findings;

/// The beginning of a claim; in two parts, so that this line is no claim.
pub(crate) const CLAIM: &str = concat!("// ", "covers:");

/// For each requirement the files whose tests claim it.
#[derive(Default)]
pub(crate) struct Claims(BTreeMap<String, BTreeSet<String>>);

impl Claims {
    /// Reads a source. Notes in brackets after an identifier are for readers.
    pub(crate) fn read(&mut self, file: &str, source: &str, findings: &mut Findings) {
        let lines: Vec<&str> = source.lines().map(str::trim).collect();
        for (at, line) in lines.iter().enumerate() {
            let place = format!("{file}:{}", at + 1);
            let Some((before, claim)) = line.split_once(CLAIM) else { continue };
            if before.contains(['"', '`']) {
                continue;
            }
            if !before.is_empty() {
                findings.add(format!("{place}: a claim must be on a separate line"));
            }
            if !stands_above_a_test(&lines[at + 1..]) {
                findings.add(format!("{place}: a claim must be directly above a test"));
            }
            match ids(claim) {
                Some(ids) => ids.into_iter().for_each(|id| {
                    self.0.entry(id).or_default().insert(file.to_owned());
                }),
                None => findings
                    .add(format!("{place}: a claim is a list of identifiers, each with an optional note in brackets")),
            }
        }
    }

    pub(crate) fn files(&self, id: &str) -> impl Iterator<Item = &str> {
        self.0.get(id).into_iter().flatten().map(String::as_str)
    }

    pub(crate) fn covers(&self, id: &str) -> bool {
        self.0.contains_key(id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Whether these lines are `#[test]`, `#[tokio::test]` or similar, then perhaps other attributes, then a function.
fn stands_above_a_test(following: &[&str]) -> bool {
    let is_test = |line: &str| {
        let path = line.strip_prefix("#[").and_then(|rest| rest.split(['(', ']']).next()).unwrap_or_default();
        path.rsplit("::").next() == Some("test")
    };
    let mut after = following.iter().skip_while(|line| line.starts_with("#["));
    let is_function = after.next().is_some_and(|line| line.split(' ').any(|word| word == "fn"));
    following.first().is_some_and(|line| is_test(line)) && is_function
}

/// The identifiers of a claim; `None` if it is not a list of them.
fn ids(claim: &str) -> Option<Vec<String>> {
    let mut without_notes = String::new();
    let mut rest = claim;
    while let Some((before, note)) = rest.split_once('(') {
        without_notes.push_str(before);
        rest = note.split_once(')').filter(|(note, _)| !note.is_empty() && !note.contains('('))?.1;
    }
    without_notes.push_str(rest);
    let ids: Vec<String> = without_notes.split(',').map(|id| id.trim().to_owned()).collect();
    ids.iter().all(|id| is_id(id)).then_some(ids)
}

/// `PK-07`, `AMB-04` or `B12`.
pub(crate) fn is_id(text: &str) -> bool {
    let (letters, digits) = match text.split_once('-') {
        Some((letters, digits)) => (letters, digits),
        None if text.starts_with('B') => text.split_at(1),
        None => return false,
    };
    let has_digits = (1..=2).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    has_digits && (1..=3).contains(&letters.len()) && letters.bytes().all(|byte| byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &str) -> (Vec<String>, Findings) {
        let (mut claims, mut findings) = (Claims::default(), Findings::default());
        claims.read("a.rs", source, &mut findings);
        (claims.ids().map(str::to_owned).collect(), findings)
    }

    #[test]
    fn claim_above_a_test_is_read_with_and_without_notes() {
        let claim = format!("{CLAIM} PK-07 (RFC 7636 §4.6; §4.1, App. B), B12, AMB-04\n");
        for test in [
            "#[test]\nfn a() {}",
            "    #[tokio::test]\n    async fn a() {}",
            "#[actix_web::test]\nasync fn a() {}",
            "#[tokio::test(flavor = \"multi_thread\")]\n#[expect(clippy::too_many_lines, reason = \"x\")]\nasync fn a() {}",
        ] {
            let (ids, findings) = read(&format!("{claim}{test}"));
            assert_eq!(ids, ["AMB-04", "B12", "PK-07"]);
            assert!(findings.is_empty(), "{test}: {findings}");
        }
    }

    #[test]
    fn claim_not_directly_above_a_test_is_found() {
        for below in [
            "",
            "fn a() {}",
            "\n#[test]\nfn a() {}",
            "// why\n#[test]\nfn a() {}",
            "#[cfg(test)]\nmod a;",
            "#[test]",
            "let x = 1;",
        ] {
            let (_, findings) = read(&format!("{CLAIM} PK-07\n{below}"));
            assert_eq!(findings.to_string(), "a.rs:1: a claim must be directly above a test", "{below}");
        }
    }

    #[test]
    fn claim_that_is_no_list_of_identifiers_is_found() {
        for claim in [
            "",
            " ",
            "PK-07 B12",
            "PK-07,",
            "PK-07 and more",
            "pk-07",
            "PK-07 (RFC 7636",
            "PK-07 ()",
            "PK-",
            "C12",
            "TODO",
        ] {
            let (ids, findings) = read(&format!("{CLAIM} {claim}\n#[test]\nfn a() {{}}"));
            assert!(ids.is_empty(), "{claim}");
            assert!(
                findings.to_string().starts_with("a.rs:1: a claim is a list of identifiers"),
                "{claim}: {findings}"
            );
        }
    }

    #[test]
    fn claim_that_shares_its_line_is_found() {
        for before in ["#[test] ", "/", "/// "] {
            let (_, findings) = read(&format!("{before}{CLAIM} PK-07\n#[test]\nfn a() {{}}"));
            assert_eq!(findings.to_string(), "a.rs:1: a claim must be on a separate line", "{before}");
        }
    }

    #[test]
    fn text_that_mentions_a_claim_is_no_claim() {
        let (ids, findings) = read(&format!("let text = \"{CLAIM} PK-07\";\n//! `{CLAIM} PK-07`\n"));
        assert!(ids.is_empty() && findings.is_empty());
    }
}
