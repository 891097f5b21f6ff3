//! The results of the suite.

use std::collections::BTreeSet;
use std::fmt;

use super::clause::Clause;

/// The number of violations of one case that are printed. A broken storage may fail in every round.
const PRINTED: usize = 5;

/// The successful result of the suite.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ContractReport {
    /// The clauses and names of the passed cases.
    pub passed: Vec<(Clause, &'static str)>,
    /// The clauses and names of the cases that were not run, and the option that they need.
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

/// Returns the number of cases as text.
fn cases(count: usize) -> String {
    if count == 1 { "1 case".to_owned() } else { format!("{count} cases") }
}

fn not_run(count: usize) -> String {
    if count == 1 { "1 case was not run".to_owned() } else { format!("{count} cases were not run") }
}

/// A violation of the contract.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Violation {
    /// The violated clause.
    pub clause: Clause,
    /// The name of the case: a sentence that is true for a correct storage.
    pub case: &'static str,
    /// The expected behaviour.
    pub expected: String,
    /// The observed behaviour.
    pub observed: String,
    /// The error of a call that should have succeeded, if this is the violation. The case could not be completed then.
    /// `cost` and `remedy` describe the failed call, and its cause may be unrelated to the case.
    pub error: Option<String>,
    /// The consequences of the violation in production.
    pub cost: &'static str,
    /// The behaviour of a correct implementation.
    pub remedy: &'static str,
}

/// The error of a storage that violates its contract. `Display` and `Debug` print all violations as readable text.
pub struct BrokenContract {
    pub(super) violations: Vec<Violation>,
    pub(super) passed: ContractReport,
    /// The reason why the storage could not be tested.
    pub(super) unable: Option<String>,
}

impl BrokenContract {
    pub(super) fn unable(why: String) -> Self {
        Self { violations: Vec::new(), passed: ContractReport::default(), unable: Some(why) }
    }

    /// Returns all violations. The list is empty only if the storage could not be tested.
    #[must_use]
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// Returns the violated clauses.
    #[must_use]
    pub fn clauses(&self) -> BTreeSet<Clause> {
        self.violations.iter().map(|violation| violation.clause).collect()
    }

    /// Returns the names of the failed cases, in the order in which they ran.
    #[must_use]
    pub fn cases(&self) -> Vec<&'static str> {
        let mut cases: Vec<_> = self.violations.iter().map(|violation| violation.case).collect();
        cases.dedup();
        cases
    }

    /// Returns the cases that passed, and those that were not run.
    #[must_use]
    pub const fn others(&self) -> &ContractReport {
        &self.passed
    }
}

impl fmt::Display for BrokenContract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(why) = &self.unable {
            return write!(f, "the storage could not be tested: {why}");
        }
        let (broken, passed) = (self.cases().len(), self.passed.passed.len());
        write!(f, "the storage violates its contract: {} failed, {passed} passed", cases(broken))?;
        if !self.passed.skipped.is_empty() {
            write!(f, ", {}", not_run(self.passed.skipped.len()))?;
        }
        let (failures, others): (Vec<_>, Vec<_>) =
            self.violations.iter().partition(|violation| violation.error.is_some());
        // Failed calls come first, because their cause may also explain the other violations.
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

/// Groups violations by a key, in the order of their first occurrence.
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

/// Prints calls that failed with the same error and so probably for the same reason.
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
    /// Prints the same as `Display`, so that `unwrap` prints readable text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for BrokenContract {}
