//! What a case works with: handles on the storage, records of its own, and a place to write down what it saw.

use std::fmt::Debug;
use std::process::Command;
use std::sync::{Barrier, Mutex, PoisonError};

use serde::Serialize;
use serde_json::Value;

use super::clause::Clause;
use super::node::{Node, Outcome, Trouble};
use super::report::Violation;
use crate::storage::ClientRegistry;

/// How many handles the suite opens.
pub(super) const NODES: usize = 4;
/// How many run in a race.
pub(super) const RUNNERS: usize = 8;

/// What is expected and observed where a storage panics.
const NO_PANIC: (&str, &str) = ("no call panics", "one did; its message was printed above");

/// One question to the storage.
#[derive(Clone, Copy)]
pub(super) struct Case {
    pub(super) clause: Clause,
    /// A sentence that is true of a right storage.
    pub(super) name: &'static str,
    /// What it costs if it is not.
    pub(super) cost: &'static str,
    /// What makes it true.
    pub(super) remedy: &'static str,
    pub(super) needs: Needs,
    pub(super) run: fn(&Trial<'_>) -> Outcome,
}

/// Which of the host's options a case can't do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    Nothing,
    Registry,
    Interruption,
    Workers,
}

impl Needs {
    pub(super) const fn option(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Registry => "`client_registry`",
            Self::Interruption => "`interrupted_by`",
            Self::Workers => "`workers`",
        }
    }
}

/// What the host brought.
#[derive(Clone, Copy)]
pub(super) struct Supplies<'a> {
    pub(super) nodes: &'a [Node<'a>],
    pub(super) registries: &'a [&'a dyn ClientRegistry],
    pub(super) interrupt: Option<&'a (dyn Fn() + Sync)>,
    pub(super) worker: Option<&'a (dyn Fn() -> Command + Sync)>,
    pub(super) rounds: u32,
}

pub(super) struct Trial<'a> {
    pub(super) host: Supplies<'a>,
    case: Case,
    /// Keeps the records of cases apart.
    pub(super) number: u32,
    violations: Mutex<Vec<Violation>>,
}

impl<'a> Trial<'a> {
    /// Runs a case, and returns what was wrong.
    pub(super) fn judge(host: Supplies<'a>, case: Case, number: u32) -> Vec<Violation> {
        let trial = Self { host, case, number, violations: Mutex::default() };
        let run = std::panic::AssertUnwindSafe(|| (case.run)(&trial));
        match std::panic::catch_unwind(run) {
            Ok(Ok(())) => {}
            Ok(Err(Trouble { expected, observed })) => trial.found(expected, observed),
            Err(_) => trial.found(NO_PANIC.0, NO_PANIC.1),
        }
        trial.violations.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down something that should not be.
    pub(super) fn found(&self, expected: impl Into<String>, observed: impl Into<String>) {
        let Case { clause, name, cost, remedy, .. } = self.case;
        let violation =
            Violation { clause, case: name, expected: expected.into(), observed: observed.into(), cost, remedy };
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(violation);
    }

    /// Whether nothing was found so far: a race is not repeated after it was lost.
    pub(super) fn is_clean(&self) -> bool {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// `expected` is a sentence; `observed` is only asked for if the sentence is false.
    pub(super) fn holds(&self, is_true: bool, expected: impl Into<String>, observed: impl FnOnce() -> String) {
        if !is_true {
            self.found(expected, observed());
        }
    }

    pub(super) fn same<T: PartialEq + Debug + ?Sized>(&self, what: &str, expected: &T, observed: &T) {
        if expected != observed {
            self.found(format!("{what}: {expected:?}"), format!("{observed:?}"));
        }
    }

    /// Writes down what a call failed with, where a case has to go on.
    pub(super) fn note<T>(&self, outcome: Outcome<T>) -> Option<T> {
        outcome.map_err(|trouble| self.found(trouble.expected, trouble.observed)).ok()
    }

    /// Like [`same`](Self::same) for what may lag: the list of grants. Only a wrong answer makes this wait.
    pub(super) fn eventually<T: PartialEq + Debug>(
        &self,
        what: &str,
        expected: &T,
        observe: impl Fn() -> Outcome<T>,
    ) -> Outcome {
        let mut observed = observe()?;
        for pause in [1, 10, 100, 300] {
            // A storage that was found wrong before is not waited for again.
            if observed == *expected || !self.is_clean() {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(pause));
            observed = observe()?;
        }
        self.same(what, expected, &observed);
        Ok(())
    }

    /// Compares two records member by member.
    pub(super) fn same_record(&self, what: &str, expected: &impl Serialize, observed: &impl Serialize) {
        let as_value = |result: serde_json::Result<Value>| result.unwrap_or_default();
        let expected = as_value(serde_json::to_value(expected));
        let observed = as_value(serde_json::to_value(observed));
        let empty = serde_json::Map::new();
        let members = |value: &'_ Value| value.as_object().unwrap_or(&empty).clone();
        let there = members(&observed);
        for (name, value) in members(&expected) {
            let found = there.get(&name).unwrap_or(&Value::Null);
            if value != *found {
                self.found(format!("{what}: `{name}` is {value}"), format!("it is {found}"));
            }
        }
    }

    pub(super) fn node(&self, number: usize) -> Node<'a> {
        self.host.nodes[number % self.host.nodes.len()]
    }

    pub(super) fn nodes(&self) -> impl Iterator<Item = Node<'a>> {
        self.host.nodes.iter().copied()
    }

    /// How often a race is run; `least` without the host's wish for more.
    pub(super) fn rounds(&self, least: u64) -> impl Iterator<Item = u64> {
        (0..least * u64::from(self.host.rounds)).take_while(|_| self.is_clean())
    }

    /// Lets many run at the same moment, in threads of their own, each on one of the nodes from `first` on: all on one, or
    /// spread over all of them, in turns. Returns what each of them got.
    pub(super) fn race<T: Send>(
        &self,
        round: u64,
        runners: usize,
        run: impl Fn(usize, Node<'a>) -> T + Sync,
    ) -> Vec<T> {
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
                        std::panic::catch_unwind(run).inspect_err(|_| self.found(NO_PANIC.0, NO_PANIC.1))
                    })
                })
                .collect();
            let results = threads.into_iter().map(|thread| thread.join().and_then(|result| result));
            results.map(|result| result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
        })
    }
}
