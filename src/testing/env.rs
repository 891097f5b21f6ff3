//! A clock, randomness and an observer under the control of a test.

use std::sync::{Arc, Mutex, PoisonError};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use time::{Duration, OffsetDateTime};

use crate::env::{Clock, Entropy};
use crate::error::EntropyError;
use crate::event::{Event, Observer};

/// A clock that stands still until it is moved. Clones move together.
#[derive(Debug, Clone)]
pub struct TestClock(Arc<Mutex<OffsetDateTime>>);

impl TestClock {
    /// A clock that shows `now`.
    #[must_use]
    pub fn new(now: OffsetDateTime) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves it forwards, or with a negative duration backwards.
    pub fn advance(&self, by: Duration) {
        let mut now = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *now = now.saturating_add(by);
    }
}

impl Default for TestClock {
    /// 2026-01-01 00:00 UTC.
    fn default() -> Self {
        Self::new(OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::seconds(1_767_225_600)))
    }
}

impl Clock for TestClock {
    fn now(&self) -> OffsetDateTime {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Randomness that is the same for the same seed. Never for production: a party that knows the seed knows every token.
#[derive(Debug, Clone)]
pub struct SeededEntropy(Arc<Mutex<StdRng>>);

impl SeededEntropy {
    /// The randomness of a seed.
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

/// Writes down every event. Clones share what was written.
#[derive(Debug, Clone, Default)]
pub struct RecordingObserver(Arc<Mutex<Vec<RecordedEvent>>>);

/// An event that was written down.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct RecordedEvent {
    /// See [`EventKind::name`](crate::EventKind::name).
    pub name: &'static str,
    /// The whole event as `Debug` shows it.
    pub text: String,
}

impl RecordingObserver {
    /// All events so far, in order.
    #[must_use]
    pub fn events(&self) -> Vec<RecordedEvent> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The names of all events so far, in order.
    #[must_use]
    pub fn names(&self) -> Vec<&'static str> {
        self.events().into_iter().map(|event| event.name).collect()
    }

    /// How many events of a name there were.
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
