//! Limits on guessing at the login page, and on changes of registrations. The token endpoint has the library's `Limiter`.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;

use governor::{DefaultKeyedRateLimiter, Quota};

use crate::peer::network_of;

/// Counts attempts, right or wrong, by peer: ten a minute for one name, and one a second for all names together, of which 200
/// may come at once.
///
/// Each peer is counted by itself, so guesses from elsewhere do not keep a user out. All users of one network are one peer, which is
/// why so many attempts may come at once.
pub(crate) struct Attempts {
    by_name: DefaultKeyedRateLimiter<u64>,
    by_peer: DefaultKeyedRateLimiter<u64>,
    changes: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
}

impl Attempts {
    const FOR_A_NAME: NonZeroU32 = NonZeroU32::new(10).unwrap();
    const FOR_A_PEER: NonZeroU32 = NonZeroU32::new(1).unwrap();
    const AT_ONCE: NonZeroU32 = NonZeroU32::new(200).unwrap();
    const CHANGES: NonZeroU32 = NonZeroU32::new(60).unwrap();
    /// As many counts of each kind are kept at most. A name and a peer share theirs with others by chance only: the hash is keyed.
    const MOST: u64 = 1 << 18;

    pub(crate) fn new() -> Self {
        Self {
            by_name: DefaultKeyedRateLimiter::keyed(Quota::per_minute(Self::FOR_A_NAME)),
            by_peer: DefaultKeyedRateLimiter::keyed(Quota::per_second(Self::FOR_A_PEER).allow_burst(Self::AT_ONCE)),
            changes: DefaultKeyedRateLimiter::keyed(Quota::per_minute(Self::CHANGES)),
            hasher: RandomState::new(),
        }
    }

    /// Counts an attempt before it is made, so that many at once count, too. Returns whether it may be made.
    ///
    /// The peer is counted first: one that has tried too many names adds no more counts of names.
    pub(crate) fn begin(&self, username: &str, peer: IpAddr) -> bool {
        let name = self.hasher.hash_one((username, network_of(peer))) % Self::MOST;
        self.begin_any(peer) && self.by_name.check_key(&name).is_ok()
    }

    /// Counts an attempt of a peer at whatever name.
    pub(crate) fn begin_any(&self, peer: IpAddr) -> bool {
        self.by_peer.check_key(&(self.hasher.hash_one(network_of(peer)) % Self::MOST)).is_ok()
    }

    /// Counts a change of a registration or a profile, before the storage is asked, by the user or the client who makes it. Each waits
    /// for a row of theirs and holds a connection meanwhile, so nobody may have many of them at once. Returns whether it may be made.
    pub(crate) fn begin_change(&self, by: &str) -> bool {
        self.changes.check_key(&(self.hasher.hash_one(by) % Self::MOST)).is_ok()
    }

    /// Forgets counts that limit nothing any more.
    pub(crate) fn purge(&self) {
        self.by_name.retain_recent();
        self.by_peer.retain_recent();
        self.changes.retain_recent();
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

    // From the security review, 20 and 33: a peer could try any number of names, and fill the table of counts.
    #[test]
    fn peer_that_tries_many_names_is_refused_for_all() {
        let attempts = Attempts::new();
        let mut allowed = 0;
        while attempts.begin(&allowed.to_string(), peer("192.0.2.1")) {
            allowed += 1;
        }
        // More may become allowed while the test runs.
        assert!((200..300).contains(&allowed), "{allowed}");
        assert!(!attempts.begin("another", peer("::ffff:192.0.2.1")));
        assert!(attempts.by_name.len() <= allowed + 1, "{}", attempts.by_name.len());
        assert!(attempts.begin("another", peer("192.0.2.2")));
    }

    #[test]
    fn many_peers_leave_a_bounded_number_of_counts() {
        let attempts = Attempts::new();
        let most = usize::try_from(Attempts::MOST).unwrap();
        for number in 0..u32::try_from(2 * most).unwrap() {
            attempts.begin("alice", IpAddr::V4(number.into()));
        }
        for counts in [attempts.by_name.len(), attempts.by_peer.len()] {
            assert!((most / 2..=most).contains(&counts), "{counts}");
        }
    }
}
