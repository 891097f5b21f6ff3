//! A limit on failed attempts, to be put around an authenticator.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use sha2::{Digest, Sha256};
use time::{Duration, OffsetDateTime};

use crate::authenticator::{Authenticator, ClientAttempt, ResourceOwnerAttempt, SubjectStatus, Verdict};
use crate::error::AuthenticatorError;
use crate::record::Subject;

/// An [`Authenticator`] that limits guessing. After some failures from one peer for one client or one user name it answers
/// [`Verdict::Throttled`] without asking the authenticator inside, until the time is over.
///
/// A client secret that this library [generated](crate::ClientCredential::Secret::generated) is outside of the limit: its 256 random bits
/// can't be guessed, so nobody can lock such a client out. Every other secret of the same client stays throttled, right or wrong.
///
/// What counts for a client is what failed, so one that knows its secret may ask as often as it likes. A right password of a subject
/// that is not [`Active`](SubjectStatus::Active) counts as a wrong one. A user's attempts
/// count while they are under way, too, so that more logins of one user at the same moment than failures are allowed have to
/// wait, right or wrong. Upper and lower case and spaces around a user name make no other user: ` Alice` and `alice` have one
/// count, whether or not they have one account.
///
/// # The peer
/// A throttled caller is rejected even with the correct password, or with the correct secret if it was not generated here. Only the address of its peer tells a user from an attacker, so the
/// limiter needs real ones: behind a proxy, give each request the address that the proxy vouches for (see
/// [`Request::with_peer`](crate::Request::with_peer)). All requests without a peer count as one peer, and so do all that come
/// from the proxy, or from a backend that logs users in by the password grant: there anyone can lock a user, or a client with another
/// secret, out for all callers by guessing. With real addresses, a client or user who is attacked gets in from elsewhere.
///
/// # Limits
/// It does not see one peer that tries many names a few times each: a limit on all requests of a peer belongs in front of the
/// server.
///
/// It counts in memory, for this process, and forgets half when there are a hundred thousand counts: those of the peers that have the
/// most counts first, of these the ones with the fewest failures, and of these the oldest. So a peer that tries many names
/// displaces the counts of no other peer.
///
/// # Defaults
/// Ten failures a minute.
///
/// ```
/// use grantor::{ClientSecrets, Limiter};
/// use time::Duration;
///
/// let authenticator = Limiter::new(ClientSecrets).allow(5, Duration::minutes(10));
/// ```
pub struct Limiter<A> {
    inner: A,
    failures: u32,
    period: Duration,
    counts: Mutex<HashMap<AttemptKey, Count>>,
}

/// Who tries what. The name is a hash: an attacker chooses its length, but not how much of it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct AttemptKey {
    peer: Option<IpAddr>,
    name: [u8; 32],
}

#[derive(Debug, Clone, Copy)]
struct Count {
    since: OffsetDateTime,
    failures: u32,
}

const MOST_COUNTS: usize = 100_000;

impl<A> Limiter<A> {
    /// Puts a limit around an authenticator.
    pub fn new(inner: A) -> Self {
        Self { inner, failures: 10, period: Duration::MINUTE, counts: Mutex::default() }
    }

    /// How many failures are allowed in a period: at least one failure, and a period of at least one second. Less counts as that.
    #[must_use]
    pub fn allow(mut self, failures: u32, period: Duration) -> Self {
        self.failures = failures.max(1);
        self.period = period.max(Duration::SECOND);
        self
    }

    /// What has failed so far.
    fn known(&self, key: &AttemptKey) -> Option<Count> {
        self.counts().get(key).copied()
    }

    /// Counts a failure.
    fn count(&self, key: AttemptKey, now: OffsetDateTime) {
        self.count_in(&mut self.counts(), key, now);
    }

    /// Counts a failure unless there were too many: in one step, or attempts that come together would all be let in
    /// before the first is counted. `Some` is how long to wait.
    fn count_unless_throttled(&self, key: AttemptKey, now: OffsetDateTime) -> Option<Duration> {
        let mut counts = self.counts();
        let wait = counts.get(&key).and_then(|count| self.wait(count, now));
        if wait.is_none() {
            self.count_in(&mut counts, key, now);
        }
        wait
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<AttemptKey, Count>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long to wait, if there were too many failures.
    fn wait(&self, count: &Count, now: OffsetDateTime) -> Option<Duration> {
        let waits = count.failures >= self.failures && !self.is_over(count, now);
        waits.then(|| count.since.saturating_add(self.period) - now)
    }

    /// Whether the period of a count has passed, or lies so far ahead that the clock must have been set back: callers do
    /// not wait until it has caught up. A count that is less ahead is of a request which came later and was faster; if that
    /// ended it, requests that overtake each other would have no limit.
    fn is_over(&self, count: &Count, now: OffsetDateTime) -> bool {
        (now - count.since).abs() >= self.period
    }

    fn count_in(&self, counts: &mut HashMap<AttemptKey, Count>, key: AttemptKey, now: OffsetDateTime) {
        if counts.len() >= MOST_COUNTS && !counts.contains_key(&key) {
            self.make_room(counts, now);
        }
        let count = counts.entry(key).or_insert(Count { since: now, failures: 0 });
        if self.is_over(count, now) {
            *count = Count { since: now, failures: 0 };
        }
        count.failures = count.failures.saturating_add(1);
    }

    /// Forgets all failures, after a success.
    fn forget(&self, key: &AttemptKey) {
        self.counts().remove(key);
    }

    /// Takes one failure back that was counted before the attempt was decided.
    fn take_back(&self, key: &AttemptKey) {
        if let Entry::Occupied(mut entry) = self.counts().entry(*key) {
            match entry.get().failures {
                0..=1 => drop(entry.remove()),
                failures => entry.get_mut().failures = failures - 1,
            }
        }
    }

    /// Forgets what is over and, unless that was half of it, half of the rest: to look through all of it is worth it only if that
    /// need not be done again soon. A peer that tries made-up names displaces these before counts of others, and before a
    /// count that makes it wait.
    fn make_room(&self, counts: &mut HashMap<AttemptKey, Count>, now: OffsetDateTime) {
        counts.retain(|_, count| !self.is_over(count, now));
        if counts.len() > MOST_COUNTS / 2 {
            let mut of_peers: HashMap<Option<IpAddr>, usize> = HashMap::new();
            for key in counts.keys() {
                *of_peers.entry(key.peer).or_default() += 1;
            }
            let rank = |key: &AttemptKey, count: &Count| {
                let of_peer = of_peers.get(&key.peer).copied().unwrap_or_default();
                (Reverse(of_peer), count.failures.min(self.failures), count.since)
            };
            let mut ranks: Vec<_> = counts.iter().map(|(key, count)| rank(key, count)).collect();
            let middle = ranks.len() / 2;
            let (_, middle, _) = ranks.select_nth_unstable(middle);
            let middle = *middle;
            counts.retain(|key, count| rank(key, count) > middle);
        }
    }
}

fn key(kind: &[u8], name: &str, peer: Option<IpAddr>) -> AttemptKey {
    // A socket that serves both families shows an IPv4 peer as an IPv6 one, and all of these are in one network.
    let peer = peer.map(|peer| match peer.to_canonical() {
        // A network of this size is one customer's (RFC 6177).
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() & (u128::MAX << 64)).into(),
        peer @ IpAddr::V4(_) => peer,
    });
    let name = Sha256::new().chain_update(kind).chain_update([0]).chain_update(name.as_bytes()).finalize().into();
    AttemptKey { peer, name }
}

#[async_trait]
impl<A: Authenticator> Authenticator for Limiter<A> {
    /// A client may send many requests at once, so only what has failed counts. That lets a burst of guesses through before
    /// the first has failed, which is no help against a generated secret.
    async fn authenticate_client(&self, attempt: &ClientAttempt<'_>) -> Result<Verdict<()>, AuthenticatorError> {
        let key = key(b"client", attempt.client_id, attempt.peer);
        let known = self.known(&key);
        let wait = known.and_then(|count| self.wait(&count, attempt.now));
        let is_generated = known.is_some() && attempt.matches_a_generated_secret();
        if let Some(retry_after) = wait.filter(|_| !is_generated) {
            return Ok(Verdict::Throttled { retry_after });
        }
        let verdict = self.inner.authenticate_client(attempt).await?;
        match (&verdict, wait) {
            // The authenticator has a reason of its own. The answer is that to a wrong secret.
            (Verdict::Rejected, Some(retry_after)) => return Ok(Verdict::Throttled { retry_after }),
            (Verdict::Rejected, None) => self.count(key, attempt.now),
            // A generated secret forgives nothing, or guesses of another secret would go on between its uses.
            (Verdict::Accepted(()), _) if known.is_some() && !is_generated => self.forget(&key),
            (Verdict::Accepted(()) | Verdict::Throttled { .. }, _) => {}
        }
        Ok(verdict)
    }

    async fn authenticate_resource_owner(
        &self,
        attempt: &ResourceOwnerAttempt<'_>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        let check = self.inner.authenticate_resource_owner(attempt);
        self.limit_login(attempt.username, attempt.peer, attempt.now, check).await
    }

    async fn subject_status(&self, subject: &Subject) -> Result<SubjectStatus, AuthenticatorError> {
        self.inner.subject_status(subject).await
    }
}

impl<A: Authenticator> Limiter<A> {
    /// Limits a check of a user's password that the application makes itself, such as at its login page. The password grant and all
    /// checks by this method have one count for a user name and a peer. `check` does not run if there were too many failures.
    ///
    /// A person logs in once at a time, and passwords can be guessed, so an attempt counts from its beginning: many at once
    /// are as few as one after the other.
    ///
    /// ```
    /// use std::net::IpAddr;
    ///
    /// use grantor::{Authenticator, AuthenticatorError, Limiter, Password, Subject, Verdict};
    /// use time::OffsetDateTime;
    ///
    /// # struct Users;
    /// # impl Authenticator for Users {}
    /// # impl Users {
    /// #     async fn check(&self, _: &str, _: Password) -> Result<Verdict<Subject>, AuthenticatorError> { Ok(Verdict::Rejected) }
    /// # }
    /// /// `limiter` is an `Arc` that the server has as its authenticator, too.
    /// async fn log_in(limiter: &Limiter<Users>, users: &Users, name: &str, password: Password, peer: IpAddr) -> u16 {
    ///     let check = users.check(name, password);
    ///     match limiter.limit_login(name, Some(peer), OffsetDateTime::now_utc(), check).await {
    ///         Ok(Verdict::Accepted(_user)) => 303,
    ///         Ok(Verdict::Rejected) => 401,
    ///         Ok(Verdict::Throttled { .. }) => 429,
    ///         Err(_) => 503,
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// Those of `check`. Such an attempt does not count.
    pub async fn limit_login(
        &self,
        username: &str,
        peer: Option<IpAddr>,
        now: OffsetDateTime,
        check: impl Future<Output = Result<Verdict<Subject>, AuthenticatorError>>,
    ) -> Result<Verdict<Subject>, AuthenticatorError> {
        // Hosts that read user names like this would otherwise give each spelling of a name guesses of its own.
        let key = key(b"owner", &username.trim().to_lowercase(), peer);
        if let Some(retry_after) = self.count_unless_throttled(key, now) {
            return Ok(Verdict::Throttled { retry_after });
        }
        let verdict = check.await;
        match &verdict {
            Ok(Verdict::Rejected) => {}
            // A subject that is not active is refused like a wrong password, so its right password counts like a wrong one. Else
            // the wait, or its absence, would confirm the password.
            Ok(Verdict::Accepted(subject)) => match self.inner.subject_status(subject).await {
                Ok(SubjectStatus::Active) => self.forget(&key),
                Ok(_) => {}
                Err(_) => self.take_back(&key),
            },
            Ok(Verdict::Throttled { .. }) | Err(_) => self.take_back(&key),
        }
        verdict
    }
}

impl<A> fmt::Debug for Limiter<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Limiter")
            .field("failures", &self.failures)
            .field("period", &self.period)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits<A>(limiter: &Limiter<A>, key: &AttemptKey, now: OffsetDateTime) -> Option<Duration> {
        limiter.known(key).and_then(|count| limiter.wait(&count, now))
    }

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn limiter() -> Limiter<()> {
        Limiter::new(()).allow(1, Duration::MINUTE)
    }

    /// Counts one failure for each of many made-up names, a microsecond apart.
    fn flood(limiter: &Limiter<()>, names: usize, from: OffsetDateTime) {
        for n in 0..names {
            let at = from + Duration::microseconds(i64::try_from(n).unwrap());
            limiter.count(key(b"client", &n.to_string(), None), at);
            assert!(limiter.counts().len() <= MOST_COUNTS);
        }
    }

    #[test]
    fn withdrawn_failure_leaves_no_count() {
        let (limiter, name) = (limiter(), key(b"owner", "alice", None));
        limiter.count(name, START);
        limiter.count(name, START);
        limiter.take_back(&name);
        assert_eq!(limiter.known(&name).unwrap().failures, 1);
        limiter.take_back(&name);
        assert!(limiter.counts().is_empty());
    }

    #[test]
    fn made_up_names_use_bounded_memory_and_keep_the_latest() {
        let limiter = limiter();
        let (old, new) = (key(b"owner", "old", None), key(b"owner", "new", None));
        limiter.count(old, START - Duration::SECOND);
        flood(&limiter, MOST_COUNTS - 2, START);
        let later = START + Duration::seconds(1);
        limiter.count(new, later);
        assert_eq!(limiter.counts().len(), MOST_COUNTS);
        assert!(waits(&limiter, &old, later).is_some() && waits(&limiter, &new, later).is_some());
        limiter.count(key(b"owner", "one more", None), later);
        assert_eq!(limiter.counts().len(), MOST_COUNTS / 2);
        assert!(waits(&limiter, &old, later).is_none() && waits(&limiter, &new, later).is_some());
    }

    // From the security review, 33: one visitor could flush the counts of all.
    #[test]
    fn made_up_names_of_one_peer_displace_no_other_count() {
        let limiter = Limiter::new(()).allow(3, Duration::MINUTE);
        let peer = |text: &str| Some(text.parse().unwrap());
        let (attacker, same) = (peer("2001:db8::1"), peer("2001:db8::2"));
        let others: Vec<_> = (0..1_000).map(|n| key(b"owner", &n.to_string(), peer("192.0.2.1"))).collect();
        for other in &others {
            limiter.count(*other, START);
        }
        let target = key(b"client", "target", attacker);
        for _ in 0..3 {
            limiter.count(target, START);
        }
        for n in 0..3 * MOST_COUNTS {
            let at = START + Duration::microseconds(i64::try_from(n).unwrap());
            limiter.count(key(b"client", &n.to_string(), if n % 2 == 0 { attacker } else { same }), at);
            assert!(limiter.counts().len() <= MOST_COUNTS);
        }
        assert!(others.iter().all(|other| limiter.known(other).is_some()));
        assert!(waits(&limiter, &target, START + Duration::SECOND).is_some(), "the flood frees nothing for its sender");
    }

    #[test]
    fn expired_counts_make_room_for_live_ones() {
        let limiter = limiter();
        flood(&limiter, MOST_COUNTS - 1, START);
        let later = START + Duration::minutes(2);
        let (first, second) = (key(b"owner", "first", None), key(b"owner", "second", None));
        limiter.count(first, later);
        limiter.count(second, later);
        assert_eq!(limiter.counts().len(), 2);
        assert!(waits(&limiter, &first, later).is_some() && waits(&limiter, &second, later).is_some());
    }

    #[test]
    fn making_room_drops_half_of_the_counts() {
        let limiter = limiter();
        flood(&limiter, MOST_COUNTS, START);
        // A minute after the first failure, one of them is over and the others are not.
        let later = START + Duration::MINUTE;
        limiter.count(key(b"owner", "new", None), later);
        assert_eq!(limiter.counts().len(), MOST_COUNTS / 2);
        assert!(waits(&limiter, &key(b"owner", "new", None), later).is_some());
        assert!(waits(&limiter, &key(b"client", &(MOST_COUNTS - 1).to_string(), None), later).is_some(), "the latest");
    }

    #[test]
    fn failures_of_one_moment_are_bounded_too() {
        let limiter = limiter();
        for n in 0..=MOST_COUNTS {
            limiter.count(key(b"client", &n.to_string(), None), START);
        }
        assert!(limiter.counts().len() <= MOST_COUNTS);
    }

    #[test]
    fn names_of_any_length_use_one_size_and_never_collide() {
        let peers = [None, Some("0.0.0.0"), Some("::"), Some("192.0.2.1"), Some("2001:db8::1")];
        let peers = peers.map(|peer| peer.map(|peer| peer.parse().unwrap()));
        let long = "x".repeat(60_000);
        let mut seen = std::collections::HashSet::new();
        for kind in [&b"client"[..], b"owner"] {
            for name in ["", "a", "\0", "\u{4}\0\0\0\0", &long] {
                for peer in peers {
                    assert!(seen.insert(key(kind, name, peer)), "{kind:?} {name:.9} {peer:?}");
                }
            }
        }
    }
}
