//! The state of the client for each browser.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use super::client::Asked;
use super::exchange::Exchange;
use crate::lock;
use crate::peer::network_of;

/// The progress of a browser.
#[derive(Debug, Clone)]
pub(super) enum Visit {
    /// The client made a request.
    Asked(Asked),
    /// The browser came back, and the client made these requests.
    Answered(Vec<Exchange>),
}

/// All visits, by the value of the client's cookie.
#[derive(Debug, Default)]
pub(super) struct Visits(Mutex<HashMap<String, Entry>>);

#[derive(Debug)]
struct Entry {
    since: Instant,
    peer: IpAddr,
    visit: Visit,
}

impl Visits {
    const LONGEST: Duration = Duration::from_secs(30 * 60);
    /// The most visits. Anybody can begin one, so a new visit replaces the oldest.
    const MOST: usize = 1_000;
    /// The most visits of one peer. Further visits replace its own, so that it can't displace those of others.
    const MOST_OF_A_PEER: usize = 50;

    pub(super) fn remember(&self, browser: &str, peer: IpAddr, visit: Visit, now: Instant) {
        let peer = network_of(peer);
        let mut visits = lock(&self.0);
        visits.retain(|_, entry| now.duration_since(entry.since) < Self::LONGEST);
        visits.remove(browser);
        let has_too_many = visits.values().filter(|entry| entry.peer == peer).count() >= Self::MOST_OF_A_PEER;
        if has_too_many || visits.len() >= Self::MOST {
            let displaced = visits.iter().filter(|(_, entry)| !has_too_many || entry.peer == peer);
            let oldest = displaced.min_by_key(|(_, entry)| entry.since).map(|(browser, _)| browser.clone());
            oldest.map(|oldest| visits.remove(&oldest));
        }
        visits.insert(browser.to_owned(), Entry { since: now, peer, visit });
    }

    pub(super) fn recall(&self, browser: &str) -> Option<Visit> {
        lock(&self.0).get(browser).map(|entry| entry.visit.clone())
    }

    /// Removes and returns the request of a browser if the response belongs to it. A response works once.
    pub(super) fn take_asked(&self, browser: &str, is_answer: impl Fn(&Asked) -> bool) -> Option<Asked> {
        let mut visits = lock(&self.0);
        let asked = match visits.get(browser) {
            Some(Entry { visit: Visit::Asked(asked), .. }) if is_answer(asked) => asked.clone(),
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
    fn new_visit_replaces_the_oldest() {
        let (visits, begun) = (Visits::default(), Instant::now());
        let visit = || Visit::Answered(Vec::new());
        let peer = |number: usize| IpAddr::V4(u32::try_from(number).unwrap().into());
        for number in 0..=Visits::MOST {
            let at = begun + Duration::from_millis(number as u64);
            visits.remember(&number.to_string(), peer(number), visit(), at);
        }
        assert_eq!(lock(&visits.0).len(), Visits::MOST);
        assert!(visits.recall("0").is_none() && visits.recall("1").is_some());
        // A known browser replaces its own visit.
        visits.remember("1", peer(1), visit(), begun + Duration::from_secs(2));
        assert!(visits.recall("2").is_some());

        visits.remember("new", peer(0), visit(), begun + Duration::from_secs(1) + Visits::LONGEST);
        assert_eq!(lock(&visits.0).len(), 2);
        assert!(visits.recall("1").is_some());
    }

    // Regression: one visitor could make the client forget all others.
    #[test]
    fn one_peer_displaces_no_visit_of_another() {
        let (visits, begun) = (Visits::default(), Instant::now());
        let visit = || Visit::Answered(Vec::new());
        let [one, same, other] = ["2001:db8::1", "2001:db8::2", "192.0.2.1"].map(|peer| peer.parse().unwrap());
        visits.remember("other", other, visit(), begun);
        for number in 1..=2 * Visits::MOST {
            let at = begun + Duration::from_millis(number as u64);
            visits.remember(&number.to_string(), if number % 2 == 0 { one } else { same }, visit(), at);
        }
        assert_eq!(lock(&visits.0).len(), 1 + Visits::MOST_OF_A_PEER);
        assert!(visits.recall("other").is_some() && visits.recall(&(2 * Visits::MOST).to_string()).is_some());
    }
}
