//! Searches for a history in which server and model differ.

use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe};

use grantor::{ClientRegistry, Storage};
use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::Runtime;

use crate::operation::{History, histories};
use crate::planted::Bug;
use crate::run::{Care, Tally, run};
use crate::storages::Place;

/// The kind of difference to search for, and the settings of the search.
pub(crate) struct Search<'a, P> {
    pub(crate) runtime: &'a Runtime,
    pub(crate) place: P,
    pub(crate) bug: Option<Bug>,
    pub(crate) care: Care,
    /// The steps of the longest history.
    pub(crate) longest: usize,
}

/// A failing history in its shortest form.
#[derive(Debug)]
pub(crate) struct Found {
    pub(crate) history: History,
    reason: String,
    pub(crate) seed: u64,
    /// Whether the shortest form failed when it was run again.
    recurs: bool,
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}\nThe whole history, which GRANTOR_SEED={} finds again:\n{:?}",
            self.reason, self.seed, self.history
        )?;
        if self.recurs {
            Ok(())
        } else {
            f.write_str("\nThe history did not fail again when it was repeated, so it also depends on something else.")
        }
    }
}

impl<P: Place<Storage: Storage + ClientRegistry + grantor::EphemeralStore + Clone + 'static>> Search<'_, P> {
    /// Runs histories with at least this number of steps, and returns the counts of events. Each history has its own
    /// seed, so a failing one can be repeated alone.
    pub(crate) fn run(&self, seed: u64, steps: usize) -> Result<Tally, Box<Found>> {
        let mut tally = Tally::new();
        for seed in seed.. {
            for (what, count) in self.one(seed)? {
                *tally.entry(what).or_default() += count;
            }
            if tally.values().sum::<usize>() >= steps {
                break;
            }
        }
        Ok(tally)
    }

    fn one(&self, seed: u64) -> Result<Tally, Box<Found>> {
        let tally = RefCell::new(Tally::new());
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        let config = Config { failure_persistence: None, max_shrink_iters: 20_000, ..Config::default() };
        let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
        let tree = histories(self.longest).new_tree(&mut runner).expect("every draw makes a history");
        let outcome = runner.run_one(tree, |history| match self.play(&history) {
            Ok(counted) => {
                tally.replace(counted);
                Ok(())
            }
            Err(reason) => Err(TestCaseError::fail(reason)),
        });
        match outcome {
            Ok(_) => Ok(tally.into_inner()),
            Err(TestError::Fail(reason, history)) => Err(Box::new(self.shorten(history, seed, reason.message()))),
            Err(TestError::Abort(reason)) => unreachable!("no history is rejected: {reason}"),
        }
    }

    /// Shrinks the history further after proptest.
    fn shorten(&self, history: History, seed: u64, reason: &str) -> Found {
        let reason = RefCell::new(reason.to_owned());
        let history = history.smallest(|less| match self.play(less) {
            Ok(_) => false,
            Err(its_reason) => {
                reason.replace(its_reason);
                true
            }
        });
        let recurs = self.play(&history).is_err();
        Found { history, reason: reason.into_inner(), seed, recurs }
    }

    fn play(&self, history: &History) -> Result<Tally, String> {
        if history.steps.is_empty() {
            return Ok(Tally::new());
        }
        let play =
            || self.runtime.block_on(async { run(self.place.empty().await, history, self.bug, self.care).await });
        panic::catch_unwind(AssertUnwindSafe(play)).unwrap_or_else(|panicked| {
            let text = panicked.downcast_ref::<String>().map(String::as_str);
            Err(format!("a panic: {}", text.or_else(|| panicked.downcast_ref().copied()).unwrap_or("without a text")))
        })
    }
}
