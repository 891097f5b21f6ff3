//! Limits on login attempts of one peer, on changes, and on tokens. The library's `Limiter` limits attempts at one user
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

/// Allows each peer one login attempt a second, with bursts of 200. Successful attempts count, too.
///
/// Peers are counted separately, so an attacker locks out no other peer. A whole network can be one peer, so the burst
/// is large.
pub(crate) struct Attempts {
    by_peer: DefaultKeyedRateLimiter<u64>,
    changes: DefaultKeyedRateLimiter<u64>,
    /// The tokens of all limited clients that act for one user, or that get tokens for themselves from one peer.
    tokens_together: DefaultKeyedRateLimiter<u64>,
    hasher: RandomState,
}

/// The user or the application that changes something or gets tokens. Each kind is counted separately: an application
/// that keeps changing the profile of a user must not keep that user from removing applications.
#[derive(Debug, Clone, Copy, Hash)]
pub(crate) enum Changer<'a> {
    /// A user who registers or changes applications.
    Owner(&'a Subject),
    /// A user who allows or denies applications, also without being asked. Each approval stores a grant for weeks, and
    /// each denial a record that its form was used.
    Decider(&'a Subject),
    /// The applications that act for a user.
    ApplicationOf(&'a Subject),
    /// An application that changes its own registration.
    Application(&'a ClientId),
    /// A client that any user may run, with the user for whom it gets tokens, if there is one. Each token is stored,
    /// and a spent refresh token for as long as its grant lives.
    Client(&'a ClientId, Option<&'a Subject>),
}

impl Attempts {
    const FOR_A_PEER: NonZeroU32 = NonZeroU32::new(1).unwrap();
    const AT_ONCE: NonZeroU32 = NonZeroU32::new(200).unwrap();
    const CHANGES: NonZeroU32 = NonZeroU32::new(60).unwrap();
    /// Five times what one client may get, so that one client does not keep the others of its user from refreshing.
    const TOKENS_TOGETHER: NonZeroU32 = NonZeroU32::new(300).unwrap();
    /// The most counters of each limit. Two peers share a counter by chance only, because the hash is keyed.
    const MOST: u64 = 1 << 18;

    pub(crate) fn new() -> Self {
        Self {
            by_peer: DefaultKeyedRateLimiter::keyed(Quota::per_second(Self::FOR_A_PEER).allow_burst(Self::AT_ONCE)),
            changes: DefaultKeyedRateLimiter::keyed(Quota::per_minute(Self::CHANGES)),
            tokens_together: DefaultKeyedRateLimiter::keyed(Quota::per_minute(Self::TOKENS_TOGETHER)),
            hasher: RandomState::new(),
        }
    }

    /// Counts a login attempt before it is made, so that concurrent attempts count, too. Returns whether it is allowed.
    pub(crate) fn begin(&self, peer: IpAddr) -> bool {
        self.by_peer.check_key(&(self.hasher.hash_one(network_of(peer)) % Self::MOST)).is_ok()
    }

    /// Counts a change before it reaches the storage, where it can hold a database connection while it waits for a row.
    /// Returns whether it is allowed.
    pub(crate) fn begin_change(&self, by: Changer<'_>) -> bool {
        self.changes.check_key(&(self.hasher.hash_one(by) % Self::MOST)).is_ok()
    }

    /// Returns whether a client may get tokens now. A confidential client of an administrator is not limited. A user
    /// may run any other client, and could open a grant each second and refresh each grant a thousand times at once.
    fn may_get_tokens(&self, issuance: &Issuance<'_>) -> bool {
        let client = issuance.client;
        let is_trusted = client.is_confidential() && client.registered_by() == RegisteredBy::Administrator;
        is_trusted || self.begin_tokens(client.id(), issuance.subject(), issuance.peer)
    }

    /// Counts the tokens of a client that a user may run. Returns whether they are allowed. One user can run many
    /// clients, or register the same one again and again. So the tokens for a user are also limited together, and so are
    /// those that clients get for themselves from one peer.
    fn begin_tokens(&self, client: &ClientId, user: Option<&Subject>, peer: Option<IpAddr>) -> bool {
        let together = match user {
            Some(user) => Some(self.hasher.hash_one(user)),
            None => peer.map(|peer| self.hasher.hash_one(network_of(peer))),
        };
        let is_below = |key| self.tokens_together.check_key(&(key % Self::MOST)).is_ok();
        self.begin_change(Changer::Client(client, user)) && together.is_none_or(is_below)
    }

    /// Removes counters that are back at their start.
    pub(crate) fn purge(&self) {
        self.by_peer.retain_recent();
        self.changes.retain_recent();
        self.tokens_together.retain_recent();
    }
}

/// Limits how fast tokens are issued. The answer is the same for an unspent refresh token and for one that was just
/// spent.
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

    // Regression: a peer could try any number of names, and fill the table of counts.
    #[test]
    fn peer_that_tries_too_often_is_throttled_alone() {
        let attempts = Attempts::new();
        let mut allowed = 0;
        while attempts.begin(peer("192.0.2.1")) {
            allowed += 1;
        }
        // More attempts become allowed while the test runs.
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

    // Regression: a user with twenty applications got twenty times the tokens that are allowed for one.
    #[test]
    fn clients_of_one_user_share_a_limit_on_tokens() {
        let attempts = Attempts::new();
        let [ada, bea] = ["ada", "bea"].map(|user| Subject::new(user).unwrap());
        let clients: Vec<_> = (0..20).map(|number| ClientId::new(format!("app-{number}")).unwrap()).collect();
        let from = peer("192.0.2.1");
        let allowed = |user| {
            let begin = |client| (0..100).filter(|_| attempts.begin_tokens(client, user, Some(from))).count();
            clients.iter().map(begin).collect::<Vec<_>>()
        };
        let of_ada = allowed(Some(&ada));
        // More tokens become allowed while the test runs.
        assert!((60..80).contains(&of_ada[0]), "{of_ada:?}");
        assert!((300..340).contains(&of_ada.iter().sum::<usize>()), "{of_ada:?}");
        assert!(attempts.begin_tokens(&clients[0], Some(&bea), Some(from)));
        // Regression: an application that was removed and registered again, with a new identifier, had a new allowance.
        let for_themselves = allowed(None);
        assert!((60..80).contains(&for_themselves[0]), "{for_themselves:?}");
        assert!((300..340).contains(&for_themselves.iter().sum::<usize>()), "{for_themselves:?}");
        assert!(attempts.begin_tokens(&ClientId::new("new").unwrap(), None, Some(peer("192.0.2.2"))));
    }
}
