//! The rules between the table, the claims and the requirements that are set apart.

use std::fmt;

use super::claims::Claims;
use super::set_apart::SetApart;
use super::table::{Kind, Row, Section, Table};

/// The violations, one line each.
#[derive(Debug, Default)]
pub(crate) struct Findings(Vec<String>);

impl Findings {
    pub(crate) fn add(&mut self, finding: String) {
        self.0.push(finding);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Findings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("\n"))
    }
}

/// The percentage of the core's requirements that must be covered, not counting those that are set apart.
const LEAST_PERCENT: usize = 97;

/// The content of the last column.
pub(crate) fn covered_by(row: &Row, section: &Section, claims: &Claims, set_apart: &SetApart) -> String {
    let files: Vec<&str> = claims.files(&row.id).collect();
    match &section.kind {
        _ if !files.is_empty() => files.join(", "),
        _ if set_apart.contains(&row.id) => "set apart: not-covered.md".to_owned(),
        _ if set_apart.is_gap(&row.id) => "gap: not-covered.md".to_owned(),
        Kind::NotOffered(feature) => format!("not offered yet: {feature}"),
        Kind::Core | Kind::Extension => "nothing".to_owned(),
    }
}

pub(crate) fn check(table: &Table, claims: &Claims, set_apart: &SetApart, findings: &mut Findings) {
    for (section, row) in rows(table) {
        check_row(section, row, claims, set_apart, findings);
    }
    let exists = |id: &str| rows(table).any(|(_, row)| row.id == id);
    for id in claims.ids().filter(|id| !exists(id)) {
        let files: Vec<&str> = claims.files(id).collect();
        findings.add(format!("{id} is claimed in {}, but is not in the table", files.join(", ")));
    }
    for id in set_apart.ids().filter(|id| !exists(id)) {
        findings.add(format!("{id} is in not-covered.md, but not in the table"));
    }
    let (covered, all) = of_the_core(table, claims, set_apart);
    if covered * 100 < all * LEAST_PERCENT {
        findings
            .add(format!("only {covered} of {all} core requirements are covered; at least {LEAST_PERCENT} % must be"));
    }
}

fn check_row(section: &Section, row: &Row, claims: &Claims, set_apart: &SetApart, findings: &mut Findings) {
    let id = &row.id;
    let expected = covered_by(row, section, claims, set_apart);
    if row.covered_by != expected {
        findings.add(format!("{id} must have `{expected}` in the last column, not `{}`", row.covered_by));
    }
    let (is_covered, is_apart, is_gap) = (claims.covers(id), set_apart.contains(id), set_apart.is_gap(id));
    if is_covered && is_apart {
        findings.add(format!("{id} is both covered and set apart"));
    }
    if is_covered && is_gap {
        findings.add(format!("{id} is covered: remove it from the gaps"));
    }
    if section.kind == Kind::Core && !is_covered && !is_apart && !is_gap {
        findings.add(format!("{id} is neither covered, set apart nor a known gap"));
    }
}

fn rows(table: &Table) -> impl Iterator<Item = (&Section, &Row)> {
    table.sections.iter().flat_map(|section| section.rows.iter().map(move |row| (section, row)))
}

/// How many requirements of the core are covered, and how many are not set apart.
fn of_the_core(table: &Table, claims: &Claims, set_apart: &SetApart) -> (usize, usize) {
    let core = rows(table).filter(|(section, row)| section.kind == Kind::Core && !set_apart.contains(&row.id));
    core.fold((0, 0), |(covered, all), (_, row)| (covered + usize::from(claims.covers(&row.id)), all + 1))
}

/// Counts by section.
pub(crate) fn summary(table: &Table, claims: &Claims, set_apart: &SetApart) -> String {
    let mut lines = Vec::new();
    for section in &table.sections {
        let mut ids = section.rows.iter().map(|row| row.id.as_str());
        let (covered, apart) = ids.by_ref().fold((0, 0), |(covered, apart), id| {
            (covered + usize::from(claims.covers(id)), apart + usize::from(set_apart.contains(id)))
        });
        lines.push(format!("{:>4} {covered:>3} of {:>3} covered, {apart} set apart", section.name, section.rows.len()));
    }
    let (covered, all) = of_the_core(table, claims, set_apart);
    lines.push(format!("core {covered:>3} of {all:>3} that are not set apart"));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::claims::CLAIM;
    use super::*;

    /// Checks a table of these rows, some of the core, against these claims and entries; returns the findings.
    fn found(core: &[(&str, &str)], not_offered: &[(&str, &str)], claimed: &[&str], not_covered: &str) -> String {
        let line = |(id, cell): &(&str, &str)| format!("| {id} | MUST | x | It works. | {cell} |\n");
        let rows = |rows: &[(&str, &str)]| rows.iter().map(line).collect::<String>();
        let text = format!(
            "## PK: PKCE\nCore.\n{}\n## TX: exchange\nExtension, not offered: token exchange.\n{}",
            rows(core),
            rows(not_offered)
        );
        let (mut findings, mut claims) = (Findings::default(), Claims::default());
        let table = Table::read(&text, &mut findings);
        for id in claimed {
            claims.read("pkce.rs", &format!("{CLAIM} {id}\n#[test]\nfn a() {{}}"), &mut findings);
        }
        let set_apart = SetApart::read(not_covered, &mut findings);
        check(&table, &claims, &set_apart, &mut findings);
        findings.to_string()
    }

    #[test]
    fn consistent_table_has_no_findings() {
        let rows = [("PK-01", "pkce.rs"), ("PK-02", "set apart: not-covered.md")];
        let not_offered = [("TX-01", "not offered yet: token exchange"), ("TX-02", "pkce.rs")];
        assert_eq!(found(&rows, &not_offered, &["PK-01", "TX-02"], "- PK-02: not ours"), "");
    }

    #[test]
    fn claim_or_entry_for_an_unknown_requirement_is_found() {
        let rows = [("PK-01", "pkce.rs")];
        let found = found(&rows, &[], &["PK-01", "PK-02"], "- PK-03: not ours\n## Gaps\n- PK-04: not yet");
        let expected = [
            "PK-02 is claimed in pkce.rs, but is not in the table",
            "PK-03 is in not-covered.md, but not in the table",
            "PK-04 is in not-covered.md, but not in the table",
        ];
        assert_eq!(found, expected.join("\n"));
    }

    #[test]
    fn column_that_differs_from_the_claims_is_found() {
        for cell in ["nothing", "other.rs", "pkce.rs, other.rs", "set apart: not-covered.md", "not offered yet: PKCE"] {
            let expected = format!("PK-01 must have `pkce.rs` in the last column, not `{cell}`");
            assert_eq!(found(&[("PK-01", cell)], &[], &["PK-01"], ""), expected);
        }
        let not_offered = [("TX-01", "pkce.rs")];
        let expected = "TX-01 must have `not offered yet: token exchange` in the last column, not `pkce.rs`";
        assert_eq!(found(&[("PK-01", "pkce.rs")], &not_offered, &["PK-01"], ""), expected);
    }

    #[test]
    fn requirement_covered_and_set_apart_is_found() {
        let rows = [("PK-01", "pkce.rs")];
        assert_eq!(found(&rows, &[], &["PK-01"], "- PK-01: not ours"), "PK-01 is both covered and set apart");
        assert_eq!(
            found(&rows, &[], &["PK-01"], "## Gaps\n- PK-01: not yet"),
            "PK-01 is covered: remove it from the gaps"
        );
    }

    #[test]
    fn uncovered_core_requirement_must_be_a_known_gap() {
        let mut names: Vec<String> = (1..=50).map(|n| format!("PK-{n:02}")).collect();
        let gap = names.pop().unwrap();
        let claimed: Vec<&str> = names.iter().map(String::as_str).collect();
        let rows = |cell: &'static str| {
            let covered = claimed.iter().map(|id| (*id, "pkce.rs"));
            covered.chain([(gap.as_str(), cell)]).collect::<Vec<_>>()
        };
        let neither = "PK-50 is neither covered, set apart nor a known gap";
        assert_eq!(found(&rows("nothing"), &[], &claimed, ""), neither);
        let known = format!("## Gaps\n- {gap}: not yet");
        assert_eq!(found(&rows("gap: not-covered.md"), &[], &claimed, &known), "", "98 of 100 are enough");
        let two = [("PK-01", "pkce.rs"), ("PK-02", "gap: not-covered.md")];
        let few = "only 1 of 2 core requirements are covered; at least 97 % must be";
        assert_eq!(found(&two, &[], &["PK-01"], "## Gaps\n- PK-02: not yet"), few);
    }

    #[test]
    fn extension_requirement_may_be_uncovered() {
        let not_offered = [("TX-01", "not offered yet: token exchange")];
        assert_eq!(found(&[("PK-01", "pkce.rs")], &not_offered, &["PK-01"], ""), "");
    }
}
