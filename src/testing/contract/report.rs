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
        writeln!(f, "the storage keeps its contract: {} cases passed", self.passed.len())?;
        for (clause, name) in &self.passed {
            writeln!(f, "  {clause}: {name}")?;
        }
        if !self.skipped.is_empty() {
            writeln!(f, "{} cases were not run", self.skipped.len())?;
        }
        for (clause, name, option) in &self.skipped {
            writeln!(f, "  {clause}: {name} (needs {option})")?;
        }
        Ok(())
    }
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
        write!(f, "the storage breaks its contract: {broken} cases failed, {passed} passed")?;
        if !self.passed.skipped.is_empty() {
            write!(f, ", {} were not run", self.passed.skipped.len())?;
        }
        for of_case in self.violations.chunk_by(|one, other| one.case == other.case) {
            let first = &of_case[0];
            write!(f, "\n\n{}: {}", first.clause, first.case)?;
            for violation in &of_case[..of_case.len().min(PRINTED)] {
                write!(f, "\n  expected  {}\n  observed  {}", violation.expected, violation.observed)?;
            }
            if of_case.len() > PRINTED {
                write!(f, "\n  .. and {} more of this kind", of_case.len() - PRINTED)?;
            }
            write!(f, "\n  the cost  {}\n  do this   {}", first.cost, first.remedy)?;
        }
        Ok(())
    }
}

impl fmt::Debug for BrokenContract {
    /// Like `Display`, so that `unwrap` prints something to read.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for BrokenContract {}
