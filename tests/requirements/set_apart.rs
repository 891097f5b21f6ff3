//! The entries of `tests/not-covered.md`: requirements that are not ours to test, and known gaps, each with its reason.

use std::collections::BTreeMap;

use super::claims::is_id;
use super::rules::Findings;

/// Entries `- PK-07: reason`, by their heading.
#[derive(Default)]
pub(crate) struct SetApart {
    apart: BTreeMap<String, String>,
    gaps: BTreeMap<String, String>,
}

/// The heading of the requirements that should be tested but are not yet.
const GAPS: &str = "## Gaps";

impl SetApart {
    pub(crate) fn read(text: &str, findings: &mut Findings) -> Self {
        let mut read = Self::default();
        let mut heading = "";
        for (at, line) in text.lines().enumerate() {
            if line.starts_with('#') {
                heading = line.trim_end();
            }
            let Some(entry) = line.strip_prefix("- ") else { continue };
            let place = format!("not-covered.md:{}", at + 1);
            let Some((id, reason)) = entry.split_once(": ").filter(|(id, reason)| is_id(id) && reason.contains(' '))
            else {
                findings.add(format!("{place}: an entry is `- ID: reason`"));
                continue;
            };
            let twice = read.apart.contains_key(id) || read.gaps.contains_key(id);
            if twice {
                findings.add(format!("{place}: {id} occurs twice"));
            }
            let entries = if heading == GAPS { &mut read.gaps } else { &mut read.apart };
            entries.insert(id.to_owned(), reason.to_owned());
        }
        read
    }

    pub(crate) fn contains(&self, id: &str) -> bool {
        self.apart.contains_key(id)
    }

    pub(crate) fn is_gap(&self, id: &str) -> bool {
        self.gaps.contains_key(id)
    }

    pub(crate) fn ids(&self) -> impl Iterator<Item = &str> {
        self.apart.keys().chain(self.gaps.keys()).map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_under_headings_over_several_lines() {
        let mut findings = Findings::default();
        let text = "# Title\nWords.\n\n## The host's\n- TL-05: no TLS\n  is terminated.\n\n## Gaps\n- B17: not yet.\n\n## Last\n- AZ-24: no web view.\n";
        let read = SetApart::read(text, &mut findings);
        assert!(findings.is_empty(), "{findings}");
        assert!(read.contains("TL-05") && read.contains("AZ-24") && read.is_gap("B17"));
        assert!(!read.contains("B17") && !read.is_gap("TL-05"));
        assert_eq!(read.ids().collect::<Vec<_>>(), ["AZ-24", "TL-05", "B17"]);
    }

    #[test]
    fn entry_without_a_reason_or_twice_is_found() {
        for (text, expected) in [
            ("- TL-05", "not-covered.md:1: an entry is `- ID: reason`"),
            ("- TL-05: no", "not-covered.md:1: an entry is `- ID: reason`"),
            ("- TL-05, TL-06: no TLS here", "not-covered.md:1: an entry is `- ID: reason`"),
            ("\n- TL-05: no TLS\n- TL-05: none at all", "not-covered.md:3: TL-05 occurs twice"),
            ("- TL-05: no TLS\n## Gaps\n- TL-05: none at all", "not-covered.md:3: TL-05 occurs twice"),
        ] {
            let mut findings = Findings::default();
            SetApart::read(text, &mut findings);
            assert_eq!(findings.to_string(), expected);
        }
    }
}
