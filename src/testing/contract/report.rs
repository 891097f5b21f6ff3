//! What the suite says in the end.

use std::collections::BTreeSet;
use std::fmt;

use super::clause::Clause;

/// How many observations of one case are printed. A broken storage may be caught in every round.
const PRINTED: usize = 5;

/// What was checked, and found right.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ContractReport {
    /// The cases that the storage passed: the clause and the sentence that names the case.
    pub passed: Vec<(Clause, &'static str)>,
    /// The cases that were not run, and which option they need.
    pub skipped: Vec<(Clause, &'static str, &'static str)>,
}

impl fmt::Display for ContractReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the storage keeps its contract: {} passed", cases(self.passed.len()))?;
        for (clause, name) in &self.passed {
            writeln!(f, "  {clause}: {name}")?;
        }
        if !self.skipped.is_empty() {
            writeln!(f, "{}", not_run(self.skipped.len()))?;
        }
        for (clause, name, option) in &self.skipped {
            writeln!(f, "  {clause}: {name} (needs {option})")?;
        }
        Ok(())
    }
}

/// How many cases, in words.
fn cases(count: usize) -> String {
    if count == 1 { "1 case".to_owned() } else { format!("{count} cases") }
}

fn not_run(count: usize) -> String {
    if count == 1 { "1 case was not run".to_owned() } else { format!("{count} cases were not run") }
}

/// One observation that a storage which keeps the contract does not allow.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Violation {
    /// The clause that is broken.
    pub clause: Clause,
    /// The case, as a sentence that should be true.
    pub case: &'static str,
    /// What should have been observed.
    pub expected: String,
    /// What was observed.
    pub observed: String,
    /// The error of a call that should have succeeded, if that is what was observed. Then the case did not come to what it asks:
    /// `cost` and `remedy` are about the failure, and a fault in quite another place may be behind it.
    pub error: Option<String>,
    /// What such an answer costs in production.
    pub cost: &'static str,
    /// What a right implementation does.
    pub remedy: &'static str,
}

/// The storage does not keep its contract. `Display` and `Debug` print every violation for people to read.
pub struct BrokenContract {
    pub(super) violations: Vec<Violation>,
    pub(super) passed: ContractReport,
    /// Why the suite came to no judgement at all.
    pub(super) unable: Option<String>,
}

impl BrokenContract {
    pub(super) fn unable(why: String) -> Self {
        Self { violations: Vec::new(), passed: ContractReport::default(), unable: Some(why) }
    }

    /// All that was observed; empty only if no connection could be made.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// The clauses that are broken.
    #[must_use]
    pub fn clauses(&self) -> BTreeSet<Clause> {
        self.violations.iter().map(|violation| violation.clause).collect()
    }

    /// The names of the cases that failed, in the order in which they ran.
    #[must_use]
    pub fn cases(&self) -> Vec<&'static str> {
        let mut cases: Vec<_> = self.violations.iter().map(|violation| violation.case).collect();
        cases.dedup();
        cases
    }

    /// The cases that passed nevertheless, and those that were not run.
    #[must_use]
    pub const fn others(&self) -> &ContractReport {
        &self.passed
    }
}

impl fmt::Display for BrokenContract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.unable {
            return write!(f, "the storage could not be judged: {why}");
        }
        let (broken, passed) = (self.cases().len(), self.passed.passed.len());
        write!(f, "the storage breaks its contract: {} failed, {passed} passed", cases(broken))?;
        if !self.passed.skipped.is_empty() {
            write!(f, ", {}", not_run(self.passed.skipped.len()))?;
        }
        let (failures, others): (Vec<_>, Vec<_>) =
            self.violations.iter().partition(|violation| violation.error.is_some());
        // First, because what they are due to may be behind the others, too.
        for of_error in groups(&failures, |violation| &violation.error) {
            failed(f, &of_error)?;
        }
        for of_case in groups(&others, |violation| violation.case) {
            write!(f, "\n\n{}: {}", of_case[0].clause, of_case[0].case)?;
            for violation in of_case.iter().take(PRINTED) {
                write!(f, "\n  expected  {}\n  observed  {}", violation.expected, violation.observed)?;
            }
            if of_case.len() > PRINTED {
                write!(f, "\n  .. and {} more of this kind", of_case.len() - PRINTED)?;
            }
            advice(f, of_case[0])?;
        }
        Ok(())
    }
}

/// Violations with the same key, in the order in which the first of each was found.
fn groups<'a, K: PartialEq>(all: &[&'a Violation], key: impl Fn(&'a Violation) -> K) -> Vec<Vec<&'a Violation>> {
    let mut groups: Vec<Vec<&Violation>> = Vec::new();
    for violation in all {
        match groups.iter_mut().find(|group| key(group[0]) == key(violation)) {
            Some(group) => group.push(violation),
            None => groups.push(vec![violation]),
        }
    }
    groups
}

/// Calls that failed with the same error, probably for the same reason: the cases, and what was called there.
fn failed(f: &mut fmt::Formatter<'_>, alike: &[&Violation]) -> fmt::Result {
    let first = alike[0];
    let of_case = groups(alike, |violation| violation.case);
    let error = first.error.as_deref().unwrap_or_default();
    write!(f, "\n\ncalls failed in {}: {error}", cases(of_case.len()))?;
    for case in of_case {
        write!(f, "\n  {}: {}", case[0].clause, case[0].case)?;
        for call in groups(&case, |violation| &violation.expected) {
            write!(f, "\n    expected  {}", call[0].expected)?;
        }
    }
    advice(f, first)
}

fn advice(f: &mut fmt::Formatter<'_>, of: &Violation) -> fmt::Result {
    write!(f, "\n  the cost  {}\n  do this   {}", of.cost, of.remedy)
}

impl fmt::Debug for BrokenContract {
    /// Like `Display`, so that `unwrap` prints something to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for BrokenContract {}
