//! A clock, a source of randomness and an observer for tests.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use time::{Duration, OffsetDateTime};

use crate::env::{Clock, Entropy};
use crate::error::EntropyError;
use crate::event::{Event, Observer};

/// A clock that moves only when a test moves it. Clones share the time.
#[derive(Debug, Clone)]
pub struct TestClock(Arc<Mutex<OffsetDateTime>>);

impl TestClock {
    /// Returns a clock that shows `now`.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves the clock forward, or back if the duration is negative.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(by);
    }
}

impl Default for TestClock {
    /// Returns a clock that shows 2026-01-01 00:00 UTC.
    fn default() -> Self {
        Self::new(OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::seconds(1_767_225_600)))
    }
}

impl Clock for TestClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A source of randomness that depends only on a seed. Never use it in production: the seed reveals every token.
#[derive(Debug, Clone)]
pub struct SeededEntropy(Arc<Mutex<StdRng>>);

impl SeededEntropy {
    /// Returns the source for a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(Arc::new(Mutex::new(StdRng::seed_from_u64(seed))))
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), EntropyError> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(bytes);
        Ok(())
    }
}

/// An observer that records all events. Clones share the records.
#[derive(Debug, Clone, Default)]
pub struct RecordingObserver(Arc<Mutex<Vec<RecordedEvent>>>);

/// A recorded event.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// The name of the event: see [`EventKind::name`](crate::EventKind::name).
    pub name: &'static str,
    /// The `Debug` form of the whole event.
    pub text: String,
}

impl RecordingObserver {
    /// Returns all events so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<RecordedEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Returns the names of all events so far, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.events().into_iter().map(|event| event.name).collect()
    }

    /// Returns the number of events with this name.
    #[must_use]
    pub fn count(&self, name: &str) -> usize {
        self.events().iter().filter(|event| event.name == name).count()
    }
}

impl Observer for RecordingObserver {
    fn observe(&self, event: &Event<'_>) {
        let recorded = RecordedEvent { name: event.kind.name(), text: format!("{event:?}") };
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(recorded);
    }
}
