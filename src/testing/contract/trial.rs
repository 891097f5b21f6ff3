//! What a case works with: handles on the storage, records of its own, and a place to write down what it saw.

use std::fmt::{Debug, Display};
use std::sync::{Barrier, Mutex, PoisonError};

use serde::Serialize;

use super::clause::Clause;
use super::differences::{first_difference, of_records};
use super::node::{Failure, Node, Outcome, TokenAndGrant};
use super::report::Violation;
use crate::storage::{ClientRegistry, EphemeralStore};

/// How many handles the suite opens.
pub(super) const NODES: usize = 4;
/// How many run in a race.
pub(super) const RUNNERS: usize = 8;

/// Where a call failed, a case has not come to what it asks: what that costs, and what to do.
const FAILED: (&str, &str) = (
    "requests are answered by 500 or 503; whatever else these cases ask is not answered yet",
    "the call itself failed: find out why first; cases that failed with the same error are probably the same fault",
);

/// A case: a sentence that is true of a storage which keeps the contract, and how to find out.
pub(super) type Named = (&'static str, fn(&Trial<'_>) -> Outcome);

/// One question to the storage.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) clause: Clause,
    /// A sentence that is true of a right storage.
    pub(super) name: &'static str,
    pub(super) needs: Needs,
    pub(super) run: fn(&Trial<'_>) -> Outcome,
}

impl Case {
    /// What a failure of the case costs, and what to do about it, as `cases.md` has them.
    pub(super) fn advice(&self) -> (&'static str, &'static str) {
        let rows = include_str!("cases.md").lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
        let mut cells = rows.map(|row| row.splitn(3, " | "));
        let row =
            cells.find_map(|mut row| if row.next()? == self.name { Some((row.next()?, row.next()?)) } else { None });
        row.expect("every case has a row in cases.md")
    }
}

/// Which of the host's options a case can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Registry,
    Ephemeral,
    /// Both of these options.
    EphemeralInterruption,
    Interruption,
    Workers,
    /// The option of the contract of ephemeral stores.
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

/// What the host brought.
#[derive(Clone, Copy)]
pub(super) struct Setup<'a> {
    pub(super) nodes: &'a [Node<'a>],
    pub(super) registries: &'a [&'a dyn ClientRegistry],
    pub(super) ephemeral: &'a [&'a dyn EphemeralStore],
    pub(super) interrupt: Option<&'a (dyn Fn() + Sync)>,
    /// Processes of the host, as nodes.
    pub(super) processes: &'a [Node<'a>],
    /// Processes of the host, as ephemeral stores.
    pub(super) ephemeral_processes: &'a [&'a dyn EphemeralStore],
    pub(super) rounds: u32,
}

pub(super) struct Trial<'a> {
    pub(super) setup: Setup<'a>,
    case: Case,
    /// Keeps the records of cases apart.
    pub(super) number: u32,
    violations: Mutex<Vec<Violation>>,
}

impl<'a> Trial<'a> {
    /// Runs a case, and returns what was wrong.
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

    /// Writes down something that should not be.
    pub(super) fn report(&self, expected: impl Into<String>, observed: impl Into<String>) {
        self.record(Failure::new(expected, observed));
    }

    /// Writes down what a case met: a failure of the call itself, or something that the case is about.
    fn record(&self, Failure { expected, observed, error }: Failure) {
        let Case { clause, name: case, .. } = self.case;
        let (cost, remedy) = if error.is_some() { FAILED } else { self.case.advice() };
        let violation = Violation { clause, case, expected, observed, error, cost, remedy };
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }

    /// Whether nothing was found so far: a race is not repeated after it was lost.
    pub(super) fn is_clean(&self) -> bool {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Reports a failure unless `is_true`. `expected` and `observed` are sentences.
    pub(super) fn expect(&self, is_true: bool, expected: impl Display, observed: impl Display) {
        if !is_true {
            self.report(expected.to_string(), observed.to_string());
        }
    }

    /// Reports a failure unless both are equal.
    pub(super) fn expect_eq<T: PartialEq + Debug + ?Sized>(&self, what: &str, expected: &T, observed: &T) {
        if expected != observed {
            self.report(format!("{what}: {expected:?}"), format!("{observed:?}"));
        }
    }

    /// Compares two lists; says how long they are and where they differ first.
    pub(super) fn expect_eq_lists<T: PartialEq + Debug>(&self, what: &str, expected: &[T], observed: &[T]) {
        if let Some((expected, observed)) = first_difference(expected, observed) {
            self.report(format!("{what}: {expected}"), observed);
        }
    }

    /// Writes down what a call failed with, where a case has to go on.
    pub(super) fn note<T>(&self, outcome: Outcome<T>) -> Option<T> {
        outcome.map_err(|failure| self.record(failure)).ok()
    }

    /// Like [`expect_eq_lists`](Self::expect_eq_lists) for what may lag: the list of grants. Only a wrong answer makes this wait.
    pub(super) fn expect_eq_lists_soon<T: PartialEq + Debug>(
        &self,
        what: &str,
        expected: &[T],
        observe: impl Fn() -> Outcome<Vec<T>>,
    ) -> Outcome {
        let mut observed = observe()?;
        for pause in [1, 10, 100, 300] {
            // A storage that was found wrong before is not waited for again.
            if observed == expected || !self.is_clean() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(pause));
            observed = observe()?;
        }
        self.expect_eq_lists(what, expected, &observed);
        Ok(())
    }

    /// All pages of a list, put together; `next` is asked for the page behind an entry. A list that goes in circles is not followed
    /// for ever.
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

    /// Compares two records member by member; only those that differ are told.
    pub(super) fn expect_eq_records(&self, what: &str, expected: &impl Serialize, observed: &impl Serialize) {
        for (member, expected, observed) in of_records(expected, observed) {
            self.report(format!("{what}: `{member}` is {expected}"), format!("it is {observed}"));
        }
    }

    /// Compares a token and its grant, as each node finds them, with what they should be.
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

    /// How often a race is run; `least` without the host's wish for more.
    pub(super) fn rounds(&self, least: u64) -> impl Iterator<Item = u64> {
        (0..least * u64::from(self.setup.rounds)).take_while(|_| self.is_clean())
    }

    /// Lets many run at the same moment, in threads of their own, each on one of the nodes from `first` on: all on one, or
    /// spread over all of them, in turns. Returns what each of them got, or the first failure.
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
                        // Written down at once: others may wait for this one until something was found.
                        std::panic::catch_unwind(run).inspect_err(|panic| self.record(Failure::panicked(&**panic)))
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().and_then(|result| result));
            results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }
}
