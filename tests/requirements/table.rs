//! The table: sections, each with a line that states its kind, and rows.

use std::collections::BTreeSet;

use super::claims::is_id;
use super::rules::Findings;

/// One requirement.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: String,
    pub(crate) covered_by: String,
    line: usize,
}

/// A section begins with `## PK: PKCE` and states below whether it is part of the core.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) rows: Vec<Row>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// `Core.`: requirements of every server. Nearly all of these must be covered.
    Core,
    /// `Extension.`: offered in part or in full.
    Extension,
    /// `Extension, not offered: token exchange.`
    NotOffered(String),
}

#[derive(Debug, Default)]
pub(crate) struct Table {
    pub(crate) sections: Vec<Section>,
}

const HEADER: &str = "| ID | level | source | what is required | covered by |";
const LEVELS: [&str; 8] = ["MUST", "MUST*", "SHOULD", "SHOULD*", "MAY", "MAY*", "decision", "bug class"];
/// Longer sentences are hard to read in a table.
const LONGEST: usize = 160;

impl Table {
    pub(crate) fn read(text: &str, findings: &mut Findings) -> Self {
        let mut table = Self::default();
        let mut seen = BTreeSet::new();
        let lines: Vec<&str> = text.lines().collect();
        for (at, line) in lines.iter().enumerate() {
            let place = format!("requirements.md:{}", at + 1);
            if let Some(title) = line.strip_prefix("## ") {
                match section(title, lines.get(at + 1).copied().unwrap_or_default()) {
                    Some(section) => table.sections.push(section),
                    None => findings
                        .add(format!("{place}: a section is `## NAME: title`, and the next line states its kind")),
                }
            }
            let is_row = line.starts_with('|') && *line != HEADER && !line.starts_with("|-");
            if !is_row {
                continue;
            }
            let Some(section) = table.sections.last_mut() else {
                findings.add(format!("{place}: a row before the first section"));
                continue;
            };
            match row(line, at, &section.name) {
                Ok(row) => {
                    if !seen.insert(row.id.clone()) {
                        findings.add(format!("{place}: {} occurs twice", row.id));
                    } else if number(&row.id) != Some(section.rows.len() + 1) {
                        findings.add(format!("{place}: {} does not follow the row above", row.id));
                    }
                    section.rows.push(row);
                }
                Err(fault) => findings.add(format!("{place}: {fault}")),
            }
        }
        table
    }

    /// Returns the text with a new last column.
    pub(crate) fn with_column(&self, text: &str, cell: impl Fn(&Row, &Section) -> String) -> String {
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        for section in &self.sections {
            for row in &section.rows {
                let (before, _) = lines[row.line].trim_end_matches(" |").rsplit_once(" | ").unwrap_or_default();
                lines[row.line] = format!("{before} | {} |", cell(row, section));
            }
        }
        lines.join("\n") + "\n"
    }
}

fn section(title: &str, next: &str) -> Option<Section> {
    let (name, title) = title.split_once(": ")?;
    let kind = match next.trim_end() {
        "Core." => Kind::Core,
        "Extension." => Kind::Extension,
        other => Kind::NotOffered(other.strip_prefix("Extension, not offered: ")?.strip_suffix('.')?.to_owned()),
    };
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase());
    (is_name && !title.is_empty()).then(|| Section { name: name.to_owned(), kind, rows: Vec::new() })
}

/// The number in an identifier. A row whose number does not follow the row above is a finding.
fn number(id: &str) -> Option<usize> {
    id.trim_start_matches(|c: char| !c.is_ascii_digit()).parse().ok()
}

fn row(line: &str, at: usize, section: &str) -> Result<Row, String> {
    let cells: Option<Vec<&str>> =
        line.strip_prefix("| ").and_then(|line| line.strip_suffix(" |")).map(|line| line.split(" | ").collect());
    let Some([id, level, source, what, covered_by]) = cells.as_deref() else {
        return Err("a row has five cells".to_owned());
    };
    if [level, source, what, covered_by].iter().any(|cell| cell.trim() != **cell || cell.is_empty()) {
        return Err(format!("{id}: a cell is empty or has spaces around it"));
    }
    if !is_id(id) || id.trim_end_matches(|c: char| c.is_ascii_digit() || c == '-') != section {
        return Err(format!("{id} is not an identifier of section {section}"));
    }
    if !LEVELS.contains(level) {
        return Err(format!("{id}: {level} is not a level"));
    }
    if what.chars().count() > LONGEST {
        return Err(format!("{id}: what is required has more than {LONGEST} characters"));
    }
    Ok(Row { id: (*id).to_owned(), covered_by: (*covered_by).to_owned(), line: at })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: &str = "# Title\n\n## PK: PKCE\nCore.\n\n| ID | level | source | what is required | covered by |\n|---|---|---|---|---|\n";

    fn faults(text: &str) -> String {
        let mut findings = Findings::default();
        Table::read(text, &mut findings);
        findings.to_string()
    }

    #[test]
    fn table_is_read_and_only_its_last_column_rewritten() {
        let text = format!(
            "{TOP}| PK-01 | MUST | RFC 7636 | It works. | a.rs |\n| PK-02 | MAY | x | It may. | nothing |\n\nWords.\n\n\
             ## TX: token exchange\nExtension, not offered: token exchange.\n| TX-01 | MUST* | x | It works. | x |\n\
             ## RM: metadata\nExtension.\n| RM-01 | SHOULD | x | It works. | x |\n## B: bugs\nCore.\n| B1 | bug class | x | No. | x |\n"
        );
        let mut findings = Findings::default();
        let table = Table::read(&text, &mut findings);
        assert!(findings.is_empty(), "{findings}");
        let kinds: Vec<_> =
            table.sections.iter().map(|section| (&*section.name, &section.kind, section.rows.len())).collect();
        let not_offered = Kind::NotOffered("token exchange".to_owned());
        assert_eq!(
            kinds,
            [("PK", &Kind::Core, 2), ("TX", &not_offered, 1), ("RM", &Kind::Extension, 1), ("B", &Kind::Core, 1)]
        );
        let written = table.with_column(&text, |row, section| format!("{} {}", section.name, row.id));
        assert!(written.contains(
            "\n| PK-01 | MUST | RFC 7636 | It works. | PK PK-01 |\n| PK-02 | MAY | x | It may. | PK PK-02 |\n\nWords.\n"
        ));
        assert_eq!(written.lines().count(), text.lines().count());
        assert_eq!(table.with_column(&text, |row, _| row.covered_by.clone()), text);
    }

    #[test]
    fn malformed_row_is_found() {
        let long = format!("| PK-01 | MUST | x | {} | a.rs |", "x".repeat(161));
        for (row, fault) in [
            ("| PK-01 | MUST | RFC 7636 | It works. |", "a row has five cells"),
            ("| PK-01 | MUST | RFC 7636 | It works. | a.rs | b.rs |", "a row has five cells"),
            ("| PK-01 | MUST | RFC 7636 | It works. | a.rs", "a row has five cells"),
            ("| PK-01 | MUST |  | It works. | a.rs |", "PK-01: a cell is empty or has spaces around it"),
            ("| PK-01 | MUST | x |  It works. | a.rs |", "PK-01: a cell is empty or has spaces around it"),
            ("| PK-1x | MUST | x | It works. | a.rs |", "PK-1x is not an identifier of section PK"),
            ("| GR-01 | MUST | x | It works. | a.rs |", "GR-01 is not an identifier of section PK"),
            ("| PK-01 | must | x | It works. | a.rs |", "PK-01: must is not a level"),
            (&long, "PK-01: what is required has more than 160 characters"),
        ] {
            assert_eq!(faults(&format!("{TOP}{row}\n")), format!("requirements.md:8: {fault}"));
        }
        assert_eq!(
            faults("| PK-01 | MUST | x | It works. | a.rs |"),
            "requirements.md:1: a row before the first section"
        );
    }

    #[test]
    fn duplicate_or_missing_identifier_is_found() {
        let row = "| PK-01 | MUST | x | It works. | a.rs |\n";
        assert_eq!(faults(&format!("{TOP}{row}{row}")), "requirements.md:9: PK-01 occurs twice");
        let third = row.replace("01", "03");
        assert_eq!(faults(&format!("{TOP}{row}{third}")), "requirements.md:9: PK-03 does not follow the row above");
        let again = format!("{TOP}{row}## PK: PKCE again\nCore.\n{row}");
        assert_eq!(faults(&again), "requirements.md:11: PK-01 occurs twice");
    }

    #[test]
    fn section_without_a_kind_is_found() {
        for section in [
            "## PK: PKCE\n",
            "## PK: PKCE\n\nCore.\n",
            "## PK: PKCE\ncore\n",
            "## PKCE\nCore.\n",
            "## Pk: PKCE\nCore.\n",
            "## PK: PKCE\nExtension, not offered:.\n",
        ] {
            let fault = "requirements.md:1: a section is `## NAME: title`, and the next line states its kind";
            assert_eq!(faults(section), fault, "{section}");
        }
    }
}
