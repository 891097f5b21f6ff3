//! What the client remembers of the browsers that are on their way.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::client::Asked;
use super::exchange::Exchange;

/// How far a browser has come.
#[derive(Debug, Clone)]
pub(super) enum Visit {
    /// It was given a request to take to the server.
    Asked(Asked),
    /// It came back, and this is what happened.
    Answered(Vec<Exchange>),
}

/// All browsers, by the value of the client's own cookie.
#[derive(Debug, Default)]
pub(super) struct Visits(Mutex<HashMap<String, (Instant, Visit)>>);

impl Visits {
    const LONGEST: Duration = Duration::from_secs(30 * 60);
    /// When there are so many, the old ones go; if there is none, nobody new is let in.
    const MOST: usize = 10_000;

    pub(super) fn remember(&self, browser: &str, visit: Visit) {
        let mut visits = self.lock();
        if visits.len() >= Self::MOST {
            visits.retain(|_, (since, _)| since.elapsed() < Self::LONGEST);
        }
        if visits.len() < Self::MOST {
            visits.insert(browser.to_owned(), (Instant::now(), visit));
        }
    }

    pub(super) fn recall(&self, browser: &str) -> Option<Visit> {
        self.lock().get(browser).map(|(_, visit)| visit.clone())
    }

    /// The request that a browser was given, if the answer belongs to it. It is forgotten: no answer counts twice.
    pub(super) fn take_asked(&self, browser: &str, is_answer: impl Fn(&Asked) -> bool) -> Option<Asked> {
        let mut visits = self.lock();
        match visits.remove(browser) {
            Some((_, Visit::Asked(asked))) if is_answer(&asked) => Some(asked),
            Some(other) => {
                visits.insert(browser.to_owned(), other);
                None
            }
            None => None,
        }
    }

    /// No step under the lock can leave the map half changed, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Instant, Visit)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
