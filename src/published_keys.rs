//! The keys that clients publish at a URL (`jwks_uri`, RFC 7591 §2). They are fetched when they are needed, and cached.

#[cfg(test)]
#[cfg(feature = "testing")]
mod tests;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use time::{Duration, OffsetDateTime};

use crate::error::FetchError;
use crate::fetcher::{Fetch, Fetcher};
use crate::http_client::GetResponse;
use crate::jose::{InvalidJwkSet, JwkSet, PublicKey};
use crate::shared_call::SharedCall;

/// The maximum number of sets in the cache.
const MAX_ENTRIES: usize = 1_000;

/// The time for which a set is cached if its response does not say it.
const DEFAULT_LIFETIME: Duration = Duration::HOUR;

/// The limits of that time.
const SHORTEST: Duration = Duration::minutes(5);
const LONGEST: Duration = Duration::DAY;

/// The minimum time between two fetches of a set that is still cached. Anyone can send a text that names an unknown key.
const FETCH_AGAIN_AFTER: Duration = Duration::MINUTE;

/// The keys of a set that this version can use.
pub(crate) type KeyList = Arc<[PublicKey]>;

type Fetched = Result<KeyList, Arc<FetchError>>;
type Call = SharedCall<Fetched>;

/// The cache of key sets. It fetches a set once for all requests that need it at the same time.
pub(crate) struct PublishedKeys {
    fetcher: Arc<Fetcher>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    entries: HashMap<Box<str>, Entry>,
    calls: HashMap<Box<str>, (u64, Weak<Call>)>,
    calls_begun: u64,
}

struct Entry {
    keys: KeyList,
    fetched_at: OffsetDateTime,
    /// The time for which the keys are used.
    lifetime: Duration,
    tried_at: OffsetDateTime,
    /// The failure of the last fetch.
    failure: Option<Arc<FetchError>>,
}

impl Entry {
    /// Returns whether the keys may be used. Setting the clock back does not extend their time.
    fn is_fresh(&self, now: OffsetDateTime) -> bool {
        self.fetched_at <= now && now - self.fetched_at < self.lifetime
    }

    fn was_tried_lately(&self, now: OffsetDateTime) -> bool {
        (now - self.tried_at).abs() < FETCH_AGAIN_AFTER
    }
}

/// How a request gets the keys.
enum Turn {
    Known(Fetched),
    Wait(Arc<Call>),
}

impl PublishedKeys {
    pub(crate) fn new(fetcher: Arc<Fetcher>) -> Self {
        Self { fetcher, state: Mutex::default() }
    }

    /// Returns the keys at a URL, if needed after a fetch.
    pub(crate) async fn get(self: &Arc<Self>, fetch: &Fetch) -> Fetched {
        self.ask(fetch, None).await
    }

    /// Returns the keys at a URL after `known` had no key for a text. It fetches the set at most once a minute, and
    /// otherwise returns `known`. If the last fetch failed, it returns the error: the keys may have changed.
    pub(crate) async fn get_newer(self: &Arc<Self>, fetch: &Fetch, known: &KeyList) -> Fetched {
        self.ask(fetch, Some(known)).await
    }

    async fn ask(self: &Arc<Self>, fetch: &Fetch, known: Option<&KeyList>) -> Fetched {
        match self.turn(fetch, known) {
            Turn::Known(keys) => keys,
            Turn::Wait(call) => call.wait().await.unwrap_or_else(|| Err(panicked())),
        }
    }

    fn turn(self: &Arc<Self>, fetch: &Fetch, known: Option<&KeyList>) -> Turn {
        let now = self.fetcher.now();
        let mut state = self.state();
        let fresh = state.entries.get(&*fetch.url).filter(|entry| entry.is_fresh(now));
        let other = fresh.filter(|entry| known.is_none_or(|known| !Arc::ptr_eq(known, &entry.keys)));
        if let Some(entry) = other {
            return Turn::Known(Ok(Arc::clone(&entry.keys)));
        }
        if let Some(call) = state.calls.get(&*fetch.url).and_then(|(_, call)| call.upgrade()) {
            return Turn::Wait(call);
        }
        if let Some(entry) = fresh.filter(|entry| entry.was_tried_lately(now)) {
            return Turn::Known(entry.failure.clone().map_or_else(|| Ok(Arc::clone(&entry.keys)), Err));
        }
        state.calls_begun += 1;
        let number = state.calls_begun;
        let url: Box<str> = fetch.url.as_str().into();
        let end = EndOfCall { cache: Arc::clone(self), url: url.clone(), number };
        let fetch = fetch.clone();
        let call = Arc::new(Call::new(async move { end.cache.fetch(&fetch, now).await }));
        state.calls.insert(url, (number, Arc::downgrade(&call)));
        Turn::Wait(call)
    }

    /// Fetches a set, and keeps it. A failure removes no keys.
    async fn fetch(&self, fetch: &Fetch, began_at: OffsetDateTime) -> Fetched {
        let fetched = self.fetcher.fetch(fetch, read).await;
        let mut state = self.state();
        match fetched {
            Ok((keys, lifetime)) => {
                let entry = Entry { keys, fetched_at: began_at, lifetime, tried_at: began_at, failure: None };
                let keys = Arc::clone(&entry.keys);
                state.keep(&fetch.url, entry, began_at);
                Ok(keys)
            }
            Err(error) => {
                // A refused fetch says nothing about the set. The limit of one peer must not end the fetches for others.
                let was_sent = !matches!(*error, FetchError::TooMany(_));
                if let Some(entry) = state.entries.get_mut(&*fetch.url).filter(|_| was_sent) {
                    (entry.tried_at, entry.failure) = (began_at, Some(Arc::clone(&error)));
                }
                Err(error)
            }
        }
    }

    /// Ignores poisoning, because no code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Keeps an entry. If the cache is full, it drops the entries that are not fresh, or else the one that was fetched
    /// first.
    fn keep(&mut self, url: &str, entry: Entry, now: OffsetDateTime) {
        if self.entries.len() >= MAX_ENTRIES && !self.entries.contains_key(url) {
            self.entries.retain(|_, entry| entry.is_fresh(now));
            if self.entries.len() >= MAX_ENTRIES {
                let oldest = self.entries.iter().min_by_key(|(_, entry)| entry.fetched_at);
                let oldest = oldest.map(|(url, _)| url.clone());
                oldest.and_then(|oldest| self.entries.remove(&oldest));
            }
        }
        self.entries.insert(url.into(), entry);
    }
}

/// Removes a call from the cache when it is over, or when no task waits for it any more.
struct EndOfCall {
    cache: Arc<PublishedKeys>,
    url: Box<str>,
    number: u64,
}

impl Drop for EndOfCall {
    fn drop(&mut self) {
        let mut state = self.cache.state();
        // A new call for the same URL may have begun meanwhile.
        if state.calls.get(&self.url).is_some_and(|(own, _)| *own == self.number) {
            state.calls.remove(&self.url);
        }
    }
}

fn panicked() -> Arc<FetchError> {
    Arc::new(FetchError::client("the HTTP client panicked"))
}

/// Reads the keys of a response, and the time for which they are used.
fn read(response: &GetResponse) -> Result<(KeyList, Duration), FetchError> {
    let media_type = response.header("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim();
    let is_json =
        ["application/json", "application/jwk-set+json"].iter().any(|own| media_type.eq_ignore_ascii_case(own));
    if !is_json {
        return Err(FetchError::Content("the content type is not application/jwk-set+json or application/json"));
    }
    let text = std::str::from_utf8(response.body()).map_err(|_| FetchError::Content("the set of keys is not UTF-8"))?;
    let set = JwkSet::from_json(text).map_err(|error| FetchError::Content(describe(error)))?;
    Ok((set.keys().into(), lifetime(response)))
}

const fn describe(error: InvalidJwkSet) -> &'static str {
    match error {
        InvalidJwkSet::NotASet => "it is not a JSON object with a list \"keys\" in which each member occurs once",
        InvalidJwkSet::TooLarge => "the set has more than 32 keys",
        InvalidJwkSet::Private => "the set has a private or symmetric key, so other parties know it: replace the key",
        InvalidJwkSet::NoUsableKey => "no key of the set can be used",
    }
}

/// Returns the time for which a response is used: its freshness lifetime (RFC 9111 §4.2), within limits.
fn lifetime(response: &GetResponse) -> Duration {
    let directives = response.values("cache-control").flat_map(|value| value.split(',')).map(|directive| {
        let (name, value) = directive.split_once('=').unwrap_or((directive, ""));
        (name.trim().to_ascii_lowercase(), value.trim().trim_matches('"'))
    });
    let mut max_age = None;
    for (name, value) in directives {
        match &*name {
            "no-store" | "no-cache" => return SHORTEST,
            // A malformed value makes the response stale (RFC 9111 §4.2.1).
            "max-age" => max_age = Some(value.parse::<u32>().unwrap_or_default()),
            _ => {}
        }
    }
    let Some(max_age) = max_age else { return DEFAULT_LIFETIME };
    let age = response.header("age").and_then(|age| age.trim().parse::<u32>().ok()).unwrap_or_default();
    Duration::seconds(i64::from(max_age) - i64::from(age)).clamp(SHORTEST, LONGEST)
}

impl fmt::Debug for PublishedKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublishedKeys").finish_non_exhaustive()
    }
}
