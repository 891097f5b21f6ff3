//! What the client remembers of the browsers that are on their way.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::client::Asked;
use super::exchange::Exchange;
use crate::lock;

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
    /// Anybody can begin a visit, so there are this many at most, and a new one takes the place of the oldest.
    const MOST: usize = 1_000;

    pub(super) fn remember(&self, browser: &str, visit: Visit, now: Instant) {
        let mut visits = lock(&self.0);
        visits.retain(|_, (since, _)| now.duration_since(*since) < Self::LONGEST);
        if visits.len() >= Self::MOST && !visits.contains_key(browser) {
            let oldest = visits.iter().min_by_key(|(_, (since, _))| *since).map(|(browser, _)| browser.clone());
            oldest.map(|oldest| visits.remove(&oldest));
        }
        visits.insert(browser.to_owned(), (now, visit));
    }

    pub(super) fn recall(&self, browser: &str) -> Option<Visit> {
        lock(&self.0).get(browser).map(|(_, visit)| visit.clone())
    }

    /// The request that a browser was given, if the answer belongs to it. It is forgotten: no answer counts twice.
    pub(super) fn take_asked(&self, browser: &str, is_answer: impl Fn(&Asked) -> bool) -> Option<Asked> {
        let mut visits = lock(&self.0);
        let asked = match visits.get(browser) {
            Some((_, Visit::Asked(asked))) if is_answer(asked) => asked.clone(),
            _ => return None,
        };
        visits.remove(browser);
        Some(asked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_visit_takes_the_place_of_the_oldest_and_old_ones_are_purged() {
        let (visits, begun) = (Visits::default(), Instant::now());
        let visit = || Visit::Answered(Vec::new());
        for number in 0..=Visits::MOST {
            visits.remember(&number.to_string(), visit(), begun + Duration::from_millis(number as u64));
        }
        assert_eq!(lock(&visits.0).len(), Visits::MOST);
        assert!(visits.recall("0").is_none() && visits.recall("1").is_some());
        // A browser that is known already takes no place but its own.
        visits.remember("1", visit(), begun + Duration::from_secs(2));
        assert!(visits.recall("2").is_some());

        visits.remember("new", visit(), begun + Duration::from_secs(1) + Visits::LONGEST);
        assert_eq!(lock(&visits.0).len(), 2);
        assert!(visits.recall("1").is_some());
    }
}
