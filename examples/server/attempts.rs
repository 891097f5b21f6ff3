//! A limit on guessing at the login page. The token endpoint has the library's `Limiter`, which does the same there.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};

use crate::lock;

/// How often each name was tried from each peer, and since when.
///
/// Counting each peer by itself means that nobody can keep a user out by guessing from elsewhere. Behind a proxy every peer
/// is the proxy; a server that stands there reads the address that its proxy vouches for.
#[derive(Debug, Default)]
pub(crate) struct Attempts(Mutex<HashMap<Key, Count>>);

/// A name and a peer, as a hash: what somebody else chose does not decide how much is kept.
type Key = [u8; 32];

#[derive(Debug)]
struct Count {
    since: Instant,
    attempts: u32,
}

impl Attempts {
    /// After so many failures within a minute, passwords are not looked at any more.
    const LIMIT: u32 = 10;
    const PERIOD: Duration = Duration::from_secs(60);
    /// So many counts are kept. When there are more, the oldest goes.
    const MOST: usize = 10_000;

    /// Counts an attempt before it is made, so that many at once count, too. Whether it may be made.
    pub(crate) fn begin(&self, username: &str, peer: IpAddr, now: Instant) -> bool {
        let mut counts = lock(&self.0);
        let key = key(username, peer);
        if counts.len() >= Self::MOST && !counts.contains_key(&key) {
            let oldest = counts.iter().min_by_key(|(_, count)| count.since).map(|(key, _)| *key);
            oldest.map(|oldest| counts.remove(&oldest));
        }
        let count = counts.entry(key).or_insert(Count { since: now, attempts: 0 });
        if now.duration_since(count.since) >= Self::PERIOD {
            *count = Count { since: now, attempts: 0 };
        }
        count.attempts = count.attempts.saturating_add(1);
        count.attempts <= Self::LIMIT
    }

    /// The password was right.
    pub(crate) fn forget(&self, username: &str, peer: IpAddr) {
        lock(&self.0).remove(&key(username, peer));
    }

    /// Forgets what is over.
    pub(crate) fn purge(&self, now: Instant) {
        lock(&self.0).retain(|_, count| now.duration_since(count.since) < Self::PERIOD);
    }
}

fn key(username: &str, peer: IpAddr) -> Key {
    let hash = match peer.to_canonical() {
        IpAddr::V4(peer) => Sha256::new().chain_update([4]).chain_update(peer.octets()),
        // Whoever has one address of such a network has them all.
        IpAddr::V6(peer) => Sha256::new().chain_update([6]).chain_update(&peer.octets()[..8]),
    };
    hash.chain_update(username).finalize().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    /// As many attempts as are allowed, and one more.
    fn exhaust(attempts: &Attempts, username: &str, peer: IpAddr, now: Instant) {
        for _ in 0..Attempts::LIMIT {
            assert!(attempts.begin(username, peer, now));
        }
        assert!(!attempts.begin(username, peer, now));
    }

    #[test]
    fn a_name_that_was_tried_too_often_is_refused_to_that_peer_only_and_only_for_a_minute() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        exhaust(&attempts, "alice", peer("192.0.2.1"), now);
        assert!(attempts.begin("alice", peer("192.0.2.2"), now), "the user comes from elsewhere");
        assert!(attempts.begin("bob", peer("192.0.2.1"), now), "another user of the same peer");
        assert!(!attempts.begin("alice", peer("192.0.2.1"), now + Duration::from_secs(59)));
        assert!(attempts.begin("alice", peer("192.0.2.1"), now + Attempts::PERIOD));
    }

    #[test]
    fn a_network_of_version_six_is_one_peer_and_a_mapped_address_is_one_of_version_four() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        exhaust(&attempts, "alice", peer("2001:db8:1:2::1"), now);
        assert!(!attempts.begin("alice", peer("2001:db8:1:2:ffff::2"), now));
        assert!(attempts.begin("alice", peer("2001:db8:1:3::1"), now));
        exhaust(&attempts, "alice", peer("192.0.2.1"), now);
        assert!(!attempts.begin("alice", peer("::ffff:192.0.2.1"), now));
        assert!(attempts.begin("alice", peer("::ffff:192.0.2.2"), now));
    }

    #[test]
    fn the_right_password_ends_the_count() {
        let (attempts, now) = (Attempts::default(), Instant::now());
        for _ in 0..2 * Attempts::LIMIT {
            assert!(attempts.begin("alice", peer("192.0.2.1"), now));
            attempts.forget("alice", peer("192.0.2.1"));
        }
    }

    #[test]
    fn made_up_names_push_the_oldest_count_out_and_keep_nobody_out() {
        let (attempts, begun) = (Attempts::default(), Instant::now());
        let at = |second: usize| begun + Duration::from_micros(second as u64);
        exhaust(&attempts, "oldest", peer("192.0.2.1"), at(0));
        for made_up in 1..=Attempts::MOST {
            assert!(attempts.begin(&made_up.to_string(), peer("192.0.2.1"), at(made_up)));
        }
        assert_eq!(lock(&attempts.0).len(), Attempts::MOST);
        assert!(attempts.begin("alice", peer("192.0.2.2"), at(Attempts::MOST + 1)), "somebody new");
        assert!(attempts.begin("oldest", peer("192.0.2.1"), at(Attempts::MOST + 2)), "its count is gone");
        assert_eq!(lock(&attempts.0).len(), Attempts::MOST);

        attempts.purge(begun + Attempts::PERIOD + Duration::from_secs(1));
        assert_eq!(lock(&attempts.0).len(), 0);
    }
}
