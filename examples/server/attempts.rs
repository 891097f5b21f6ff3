//! A limit on guessing at the login page. The token endpoint has the library's `Limiter`, which does the same there.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota};

/// Counts how often each name was tried from each peer, right or wrong: ten times a minute are allowed.
///
/// Each peer is counted by itself, so guesses from elsewhere do not keep a user out. Behind a proxy every peer is the proxy: a server
/// there reads the address that its proxy vouches for.
pub(crate) struct Attempts {
    limiter: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
}

impl Attempts {
    const A_MINUTE: NonZeroU32 = NonZeroU32::new(10).unwrap();
    /// As many counts are kept at most. A name and a peer share theirs with others by chance only: the hash is keyed.
    const MOST: u64 = 1 << 18;

    pub(crate) fn new() -> Self {
        Self { limiter: DefaultKeyedRateLimiter::keyed(Quota::per_minute(Self::A_MINUTE)), hasher: RandomState::new() }
    }

    /// Counts an attempt before it is made, so that many at once count, too. Returns whether it may be made.
    pub(crate) fn begin(&self, username: &str, peer: IpAddr) -> bool {
        let key = match peer.to_canonical() {
            IpAddr::V4(peer) => self.hasher.hash_one((username, peer)),
            // A network of this size is one customer's (RFC 6177).
            IpAddr::V6(peer) => self.hasher.hash_one((username, &peer.octets()[..8])),
        };
        self.limiter.check_key(&(key % Self::MOST)).is_ok()
    }

    /// Forgets counts that limit nothing any more.
    pub(crate) fn purge(&self) {
        self.limiter.retain_recent();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn exhausted(username: &str, from: &str) -> Attempts {
        let attempts = Attempts::new();
        for _ in 0..10 {
            assert!(attempts.begin(username, peer(from)));
        }
        assert!(!attempts.begin(username, peer(from)));
        attempts
    }

    #[test]
    fn name_tried_too_often_is_refused_to_that_peer_only() {
        let attempts = exhausted("alice", "192.0.2.1");
        attempts.purge();
        assert!(!attempts.begin("alice", peer("::ffff:192.0.2.1")), "a count that still limits was purged");
        assert!(attempts.begin("alice", peer("192.0.2.2")));
        assert!(attempts.begin("bob", peer("192.0.2.1")));
    }

    #[test]
    fn network_of_version_six_counts_as_one_peer() {
        let attempts = exhausted("alice", "2001:db8:1:2::1");
        assert!(!attempts.begin("alice", peer("2001:db8:1:2:ffff::2")));
        assert!(attempts.begin("alice", peer("2001:db8:1:3::1")));
    }

    #[test]
    fn made_up_names_leave_a_bounded_number_of_counts() {
        let attempts = Attempts::new();
        let most = usize::try_from(Attempts::MOST).unwrap();
        for name in 0..2 * most {
            attempts.begin(&name.to_string(), peer("192.0.2.1"));
        }
        assert!((most / 2..=most).contains(&attempts.limiter.len()), "{}", attempts.limiter.len());
    }
}
