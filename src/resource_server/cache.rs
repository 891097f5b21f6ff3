//! The cache of active tokens and of introspection requests in progress. Both are bounded.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use time::{Duration, OffsetDateTime};

use super::answer::Answer;
use crate::introspected::IntrospectedToken;
use crate::secret::TokenHash;
use crate::shared_call::SharedCall;

pub(super) type Call = SharedCall<Answer>;

/// The cache. It keeps only active tokens, so that attackers can't fill it with random tokens.
pub(super) struct Cache {
    state: Mutex<State>,
    pub(super) max_entries: usize,
    pub(super) max_calls: usize,
    pub(super) time: Duration,
}

#[derive(Default)]
struct State {
    entries: HashMap<TokenHash, Entry>,
    /// The entries from the oldest to the newest. A token is in the queue twice if its entry was replaced.
    order: VecDeque<(TokenHash, OffsetDateTime)>,
    calls: HashMap<TokenHash, (u64, Weak<Call>)>,
    calls_begun: u64,
}

struct Entry {
    token: Arc<IntrospectedToken>,
    /// The time at which the call began.
    asked_at: OffsetDateTime,
}

/// The result of a look-up in the cache.
pub(super) enum Known {
    Active(Arc<IntrospectedToken>),
    Asked(Arc<Call>),
    TooManyCalls,
}

impl Cache {
    pub(super) fn new(max_entries: usize, max_calls: usize, time: Duration) -> Self {
        Self { state: Mutex::default(), max_entries, max_calls, time }
    }

    /// Ignores poisoning, because no code panics while it holds the lock.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the token, or the call that asks about it. If there is no such call, `begin` makes one from its number.
    pub(super) fn look_up(&self, hash: TokenHash, now: OffsetDateTime, begin: impl FnOnce(u64) -> Call) -> Known {
        let mut state = self.lock();
        if let Some(entry) = state.entries.get(&hash).filter(|entry| self.is_fresh(entry.asked_at, now)) {
            return Known::Active(Arc::clone(&entry.token));
        }
        if let Some(call) = state.calls.get(&hash).and_then(|(_, call)| call.upgrade()) {
            return Known::Asked(call);
        }
        if state.calls.len() >= self.max_calls {
            return Known::TooManyCalls;
        }
        state.calls_begun += 1;
        let number = state.calls_begun;
        let call = Arc::new(begin(number));
        state.calls.insert(hash, (number, Arc::downgrade(&call)));
        Known::Asked(call)
    }

    /// Returns whether an entry is still valid. Setting the clock back does not extend its time.
    fn is_fresh(&self, asked_at: OffsetDateTime, now: OffsetDateTime) -> bool {
        asked_at <= now && now - asked_at < self.time
    }

    /// Removes a call that is over or was cancelled.
    pub(super) fn end_call(&self, hash: &TokenHash, number: u64) {
        let mut state = self.lock();
        // A new call for the same token may have begun meanwhile.
        if state.calls.get(hash).is_some_and(|(own, _)| *own == number) {
            state.calls.remove(hash);
        }
    }

    pub(super) fn keep(&self, hash: TokenHash, token: Arc<IntrospectedToken>, asked_at: OffsetDateTime) {
        if self.max_entries == 0 || self.time <= Duration::ZERO {
            return;
        }
        let mut state = self.lock();
        state.entries.insert(hash, Entry { token, asked_at });
        state.order.push_back((hash, asked_at));
        while let Some((oldest, at)) = state.order.front().copied() {
            if state.order.len() <= self.max_entries && self.is_fresh(at, asked_at) {
                break;
            }
            state.order.pop_front();
            if state.entries.get(&oldest).is_some_and(|entry| entry.asked_at == at) {
                state.entries.remove(&oldest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::ClientId;
    use crate::scope::Scope;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn token() -> Arc<IntrospectedToken> {
        Arc::new(IntrospectedToken {
            scope: Scope::parse("a").unwrap(),
            client_id: ClientId::new("app").unwrap(),
            subject: None,
            not_before: None,
            expires_at: START + Duration::DAY,
            document: Box::default(),
        })
    }

    fn keep(cache: &Cache, number: usize, at: OffsetDateTime) {
        cache.keep(TokenHash::of(&number.to_string()), token(), at);
    }

    fn is_kept(cache: &Cache, number: usize, now: OffsetDateTime) -> bool {
        let begin = |_| Call::new(std::future::pending());
        matches!(cache.look_up(TokenHash::of(&number.to_string()), now, begin), Known::Active(_))
    }

    fn sizes(cache: &Cache) -> (usize, usize) {
        let state = cache.lock();
        (state.entries.len(), state.order.len())
    }

    #[test]
    fn full_cache_drops_the_oldest_entry() {
        let cache = Cache::new(3, 9, Duration::MINUTE);
        (0..5).for_each(|number| keep(&cache, number, START + Duration::SECOND * u32::try_from(number).unwrap()));
        let now = START + Duration::seconds(5);
        assert_eq!([0, 1, 2, 3, 4].map(|number| is_kept(&cache, number, now)), [false, false, true, true, true]);
        assert_eq!(sizes(&cache), (3, 3));
    }

    #[test]
    fn replaced_entries_do_not_grow_the_cache() {
        let cache = Cache::new(3, 9, Duration::MINUTE);
        for second in 0..100 {
            // The clock goes back each time, so that no entry is stale.
            keep(&cache, 7, START - Duration::seconds(second));
            let (entries, order) = sizes(&cache);
            assert!(entries == 1 && order <= 3, "{entries} {order}");
        }
    }

    #[test]
    fn stale_entries_leave_when_another_one_comes() {
        let cache = Cache::new(100, 9, Duration::MINUTE);
        (0..50).for_each(|number| keep(&cache, number, START));
        keep(&cache, 50, START + Duration::MINUTE);
        assert_eq!(sizes(&cache), (1, 1));
    }

    #[test]
    fn cache_of_no_size_or_no_time_keeps_nothing() {
        for cache in [Cache::new(0, 9, Duration::MINUTE), Cache::new(9, 9, Duration::ZERO)] {
            keep(&cache, 0, START);
            assert_eq!(sizes(&cache), (0, 0));
        }
    }

    #[test]
    fn call_that_was_replaced_does_not_end_its_successor() {
        let cache = Cache::new(3, 9, Duration::MINUTE);
        let hash = TokenHash::of("a");
        let begin = |_| Call::new(std::future::pending());
        let Known::Asked(first) = cache.look_up(hash, START, begin) else { panic!("a call") };
        drop(first);
        let Known::Asked(_second) = cache.look_up(hash, START, begin) else { panic!("a call") };
        cache.end_call(&hash, 1);
        assert_eq!(cache.lock().calls.len(), 1);
        cache.end_call(&hash, 2);
        assert_eq!(cache.lock().calls.len(), 0);
    }
}
