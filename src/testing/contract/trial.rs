//! [`Trial`]: the handles to the storage, the records and the expectations of a case.

use std::fmt::{Debug, Display};
use std::sync::{Barrier, Mutex, PoisonError};

use serde::Serialize;

use super::clause::Clause;
use super::differences::{first_difference, of_records};
use super::node::{Failure, Node, Outcome, TokenAndGrant};
use super::report::Violation;
use crate::storage::{ClientRegistry, EphemeralStore};

/// The number of handles that the suite opens.
pub(super) const NODES: usize = 4;
/// The number of threads in a race.
pub(super) const RUNNERS: usize = 8;

/// The cost and the remedy of a failed call, which keeps a case from being completed.
const FAILED: (&str, &str) = (
    "requests get 500 or 503; the rest of these cases was not tested",
    "find out first why the call failed; cases with the same error probably have the same cause",
);

/// A case: a sentence that is true for a correct storage, and the function that tests it.
pub(super) type Named = (&'static str, fn(&Trial<'_>) -> Outcome);

/// A case with its clause and its needs.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) clause: Clause,
    /// A sentence that is true for a correct storage.
    pub(super) name: &'static str,
    pub(super) needs: Needs,
    pub(super) run: fn(&Trial<'_>) -> Outcome,
}

impl Case {
    /// Returns the cost of a failure and the remedy, from `cases.md`.
    pub(super) fn advice(&self) -> (&'static str, &'static str) {
        let rows = include_str!("cases.md").lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        let mut cells = rows.map(|row| row.splitn(3, " | "));
        let row =
            cells.find_map(|mut row| if row.next()? == self.name { Some((row.next()?, row.next()?)) } else { None });
        row.expect("every case has a row in cases.md")
    }
}

/// The options of the suite that a case needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Registry,
    Ephemeral,
    /// Both of these options.
    EphemeralInterruption,
    Interruption,
    Workers,
    /// The option of [`EphemeralContract`](super::EphemeralContract).
    EphemeralWorkers,
}

impl Needs {
    pub(super) const fn option(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Registry => "`client_registry`",
            Self::Ephemeral => "`ephemeral_store`",
            Self::EphemeralInterruption => "`ephemeral_store` and `interrupted_by`",
            Self::Interruption => "`interrupted_by`",
            Self::Workers => "`workers`",
            Self::EphemeralWorkers => "`EphemeralContract::workers`",
        }
    }
}

/// The handles and options of the suite.
#[derive(Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) nodes: &'a [Node<'a>],
    pub(super) registries: &'a [&'a dyn ClientRegistry],
    pub(super) ephemeral: &'a [&'a dyn EphemeralStore],
    pub(super) interrupt: Option<&'a (dyn Fn() + Sync)>,
    /// The workers as nodes.
    pub(super) processes: &'a [Node<'a>],
    /// The workers as ephemeral stores.
    pub(super) ephemeral_processes: &'a [&'a dyn EphemeralStore],
    pub(super) rounds: u32,
}

pub(super) struct Trial<'a> {
    pub(super) setup: Setup<'a>,
    case: Case,
    /// The number of the case, which makes the records of each case different.
    pub(super) number: u32,
    violations: Mutex<Vec<Violation>>,
}

impl<'a> Trial<'a> {
    /// Runs a case and returns its violations.
    pub(super) fn judge(setup: Setup<'a>, case: Case, number: u32) -> Vec<Violation> {
        let trial = Self { setup, case, number, violations: Mutex::default() };
        let run = std::panic::AssertUnwindSafe(|| (case.run)(&trial));
        match std::panic::catch_unwind(run) {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => trial.record(failure),
            Err(panic) => trial.record(Failure::panicked(&*panic)),
        }
        trial.violations.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports a violation.
    pub(super) fn report(&self, expected: impl Into<String>, observed: impl Into<String>) {
        self.record(Failure::new(expected, observed));
    }

    /// Records a failure: a failed call, or a violation of the case.
    fn record(&self, Failure { expected, observed, error }: Failure) {
        let Case { clause, name: case, .. } = self.case;
        let (cost, remedy) = if error.is_some() { FAILED } else { self.case.advice() };
        let violation = Violation { clause, case, expected, observed, error, cost, remedy };
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }

    /// Returns whether there are no violations so far. A race is not repeated after a violation.
    pub(super) fn is_clean(&self) -> bool {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Reports a violation unless `is_true`. `expected` and `observed` are sentences.
    pub(super) fn expect(&self, is_true: bool, expected: impl Display, observed: impl Display) {
        if !is_true {
            self.report(expected.to_string(), observed.to_string());
        }
    }

    /// Reports a violation unless both are equal.
    pub(super) fn expect_eq<T: PartialEq + Debug + ?Sized>(&self, what: &str, expected: &T, observed: &T) {
        if expected != observed {
            self.report(format!("{what}: {expected:?}"), format!("{observed:?}"));
        }
    }

    /// Compares two lists. A violation shows their lengths and their first difference.
    pub(super) fn expect_eq_lists<T: PartialEq + Debug>(&self, what: &str, expected: &[T], observed: &[T]) {
        if let Some((expected, observed)) = first_difference(expected, observed) {
            self.report(format!("{what}: {expected}"), observed);
        }
    }

    /// Records a failed call and continues the case.
    pub(super) fn note<T>(&self, outcome: Outcome<T>) -> Option<T> {
        outcome.map_err(|failure| self.record(failure)).ok()
    }

    /// Like [`expect_eq_lists`](Self::expect_eq_lists), for lists that may lag. It waits only if the list is wrong.
    pub(super) fn expect_eq_lists_soon<T: PartialEq + Debug>(
        &self,
        what: &str,
        expected: &[T],
        observe: impl Fn() -> Outcome<Vec<T>>,
    ) -> Outcome {
        let mut observed = observe()?;
        for pause in [1, 10, 100, 300] {
            // After a violation, it does not wait again.
            if observed == expected || !self.is_clean() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(pause));
            observed = observe()?;
        }
        self.expect_eq_lists(what, expected, &observed);
        Ok(())
    }

    /// Returns all pages of a list. `next` returns the page after an entry. The number of pages is limited, in case the
    /// list never ends.
    pub(super) fn paged<T>(&self, limit: usize, next: impl Fn(Option<&T>) -> Outcome<Vec<T>>) -> Outcome<Vec<T>> {
        let mut all = Vec::new();
        for _ in 0..100 {
            let page = next(all.last())?;
            let (is_short, is_empty, length) = (page.len() <= limit, page.is_empty(), page.len());
            self.expect(is_short, format_args!("a page has {limit} entries at most"), format_args!("it has {length}"));
            all.extend(page);
            if is_empty {
                break;
            }
        }
        Ok(all)
    }

    /// Compares two records member by member. Reports the members that differ.
    pub(super) fn expect_eq_records(&self, what: &str, expected: &impl Serialize, observed: &impl Serialize) {
        for (member, expected, observed) in of_records(expected, observed) {
            self.report(format!("{what}: `{member}` is {expected}"), format!("it is {observed}"));
        }
    }

    /// Checks that each node finds this token and this grant.
    pub(super) fn expect_found(&self, what: &str, (token, of): &TokenAndGrant) -> Outcome {
        for node in self.nodes() {
            let (found, found_of) = node.row(token.hash)?;
            self.expect_eq_records(what, token, &found);
            self.expect_eq_records(&format!("the grant of {what}"), of, &found_of);
        }
        Ok(())
    }

    pub(super) fn node(&self, number: usize) -> Node<'a> {
        self.setup.nodes[number % self.setup.nodes.len()]
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = Node<'a>> {
        self.setup.nodes.iter().copied()
    }

    /// Returns the rounds of a race: `least` times the option `rounds`. It stops after a violation.
    pub(super) fn rounds(&self, least: u64) -> impl Iterator<Item = u64> {
        (0..least * u64::from(self.setup.rounds)).take_while(|_| self.is_clean())
    }

    /// Runs a function in many threads at the same moment. In even rounds all threads use one node; in odd rounds they
    /// use all nodes in turn. Returns the results, or the first failure.
    pub(super) fn race<T: Send>(
        &self,
        round: u64,
        runners: usize,
        run: impl Fn(usize, Node<'a>) -> Outcome<T> + Sync,
    ) -> Outcome<Vec<T>> {
        let shares = round.is_multiple_of(2);
        let start = Barrier::new(runners);
        let (start, run) = (&start, &run);
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..runners)
                .map(|runner| {
                    let node = self.node(if shares { 0 } else { runner });
                    scope.spawn(move || {
                        start.wait();
                        let run = std::panic::AssertUnwindSafe(|| run(runner, node));
                        // Recorded at once, because other threads may wait for this one until there is a violation.
                        std::panic::catch_unwind(run).inspect_err(|panic| self.record(Failure::panicked(&**panic)))
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().and_then(|result| result));
            results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }
}
