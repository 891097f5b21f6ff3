//! Limits on attempts to log in, over all user names, on changes of registrations, and on tokens. The library's `Limiter` counts by user
//! name.

use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::num::NonZeroU32;

use async_trait::async_trait;
use governor::{DefaultKeyedRateLimiter, Quota};
use grantor::client::RegisteredBy;
use grantor::customizer::{Issuance, TokenChanges, TokenCustomizer};
use grantor::{ClientId, Error, Subject};
use time::Duration;

use crate::peer::network_of;

/// Counts attempts, right or wrong, by peer: one a second for all names together, of which 200 may come at once.
///
/// Each peer is counted by itself, so guesses from elsewhere do not keep a user out. All users of one network are one peer, which is
/// why so many attempts may come at once.
pub(crate) struct Attempts {
    by_peer: DefaultKeyedRateLimiter<u64>,
    changes: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
}

/// A party that changes registrations or profiles, decides about applications, or gets tokens. Each kind is counted by itself: an
/// application that changes the profile of a user all the time must not keep that user from removing an application.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) enum Changer<'a> {
    /// A user, on the pages for applications.
    Owner(&'a Subject),
    /// A user who decides what an application may do, or has done so before. Each approval opens a grant, which takes room for weeks,
    /// and each denial leaves a note that its form was used.
    Decider(&'a Subject),
    /// Any application that acts for a user.
    ApplicationOf(&'a Subject),
    /// An application, with its own account.
    Application(&'a ClientId),
    /// A client that anybody may run, and the user for whom it gets tokens, if there is one. Each token takes room, a spent refresh token
    /// for as long as its grant lives.
    Client(&'a ClientId, Option<&'a Subject>),
}

impl Attempts {
    const FOR_A_PEER: NonZeroU32 = NonZeroU32::new(1).unwrap();
    const AT_ONCE: NonZeroU32 = NonZeroU32::new(200).unwrap();
    const CHANGES: NonZeroU32 = NonZeroU32::new(60).unwrap();
    /// As many counts of each kind are kept at most. A peer shares its own with others by chance only: the hash is keyed.
    const MOST: u64 = 1 << 18;

    pub(crate) fn new() -> Self {
        Self {
            by_peer: DefaultKeyedRateLimiter::keyed(Quota::per_second(Self::FOR_A_PEER).allow_burst(Self::AT_ONCE)),
            changes: DefaultKeyedRateLimiter::keyed(Quota::per_minute(Self::CHANGES)),
            hasher: RandomState::new(),
        }
    }

    /// Counts an attempt at whatever name before it is made, so that many at once count, too. Returns whether it may be made.
    pub(crate) fn begin(&self, peer: IpAddr) -> bool {
        self.by_peer.check_key(&(self.hasher.hash_one(network_of(peer)) % Self::MOST)).is_ok()
    }

    /// Counts a change, before the storage is asked. Each waits for a row and holds a connection meanwhile, so nobody may have many of
    /// them at once. Returns whether it may be made.
    pub(crate) fn begin_change(&self, by: Changer<'_>) -> bool {
        self.changes.check_key(&(self.hasher.hash_one(by) % Self::MOST)).is_ok()
    }

    /// Whether a client may get tokens. One that an administrator registered and that has a secret is trusted with its rate. Any other may
    /// be run by one of its users, who could open a grant each second and refresh each one a thousand times at once.
    fn may_get_tokens(&self, issuance: &Issuance<'_>) -> bool {
        let client = issuance.client;
        let is_trusted = client.is_confidential() && client.registered_by() == RegisteredBy::Administrator;
        is_trusted || self.begin_change(Changer::Client(client.id(), issuance.subject()))
    }

    /// Forgets counts that limit nothing any more.
    pub(crate) fn purge(&self) {
        self.by_peer.retain_recent();
        self.changes.retain_recent();
    }
}

/// Limits how fast tokens are issued. The answer is the same for an unspent refresh token and for one that was just spent.
#[async_trait]
impl TokenCustomizer for Attempts {
    async fn issuance(&self, issuance: &Issuance<'_>) -> Result<TokenChanges, Error> {
        const WAIT: Duration = Duration::seconds(5);
        if self.may_get_tokens(issuance) {
            Ok(TokenChanges::new())
        } else {
            Err(Error::Throttled { retry_after: WAIT })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    // From the security review, 20 and 33: a peer could try any number of names, and fill the table of counts.
    #[test]
    fn peer_that_tries_too_often_is_throttled_alone() {
        let attempts = Attempts::new();
        let mut allowed = 0;
        while attempts.begin(peer("192.0.2.1")) {
            allowed += 1;
        }
        // More may become allowed while the test runs.
        assert!((200..300).contains(&allowed), "{allowed}");
        attempts.purge();
        assert!(!attempts.begin(peer("::ffff:192.0.2.1")), "a count that still limits was purged");
        assert!(attempts.begin(peer("192.0.2.2")));
    }

    #[test]
    fn network_of_version_six_counts_as_one_peer() {
        let attempts = Attempts::new();
        while attempts.begin(peer("2001:db8:1:2::1")) {}
        assert!(!attempts.begin(peer("2001:db8:1:2:ffff::2")));
        assert!(attempts.begin(peer("2001:db8:1:3::1")));
    }

    #[test]
    fn many_peers_leave_a_bounded_number_of_counts() {
        let attempts = Attempts::new();
        let most = usize::try_from(Attempts::MOST).unwrap();
        for number in 0..u32::try_from(2 * most).unwrap() {
            attempts.begin(IpAddr::V4(number.into()));
        }
        assert!((most / 2..=most).contains(&attempts.by_peer.len()), "{}", attempts.by_peer.len());
    }
}
