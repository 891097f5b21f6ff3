//! Signing keys that nodes share through a store and that rotate automatically.

mod rotation;
mod stored;

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use async_trait::async_trait;
use time::{Duration, OffsetDateTime};

use self::rotation::{missing, tidy};
use self::stored::{Entry, StoredKey, generate, parse, read, write};
use crate::env::{Clock, SystemClock};
use crate::error::BoxError;
use crate::jose::{Algorithm, KeyError, KeySchedule, Keys, KeysContext, PublicKey, Signer, WrappingKey};
use crate::single_flight::{Flight, SingleFlight};
use crate::storage::KeyStore;

/// How often a write is tried if other nodes write first.
const ATTEMPTS: usize = 8;

const BUSY: &str = "other nodes changed the keys on each attempt";

const NO_ANSWER: &str = "the key store failed less than a second ago";

/// The minimum time between two reads of the store, for keys that the node does not need at once and for unknown keys
/// that tokens name.
const ASK_AGAIN_AFTER: Duration = Duration::SECOND;

/// Signing keys that several nodes share through a [`KeyStore`]. They are generated, published, used and retired on a
/// schedule. The private halves are encrypted under a [`WrappingKey`] before they are stored.
///
/// Nothing runs in the background: a request that needs keys also does the rotation. A node reads the store every five
/// minutes, or more often if keys sign soon after they are published. It also reads the store when a token of the same
/// issuer names an unknown key. It does so at most once a second, because anyone can send such a token. A cancelled
/// request does not count. A node does not read the store twice at the same time.
///
/// The keys use the clock of their server. The server reads the store when it is built, and generates the missing keys
/// (an RSA key takes some tenths of a second). It does not build if the store fails or the secret is wrong.
///
/// ```
/// use grantor::jose::{Algorithm, WrappingKey};
/// use grantor::{AuthorizationServer, MemoryStorage, RotatingKeys, SigningKeys};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// // With several nodes, the storage is a database, and all nodes are given the secret.
/// let (storage, secret) = (MemoryStorage::new(), [7; 32]);
/// let keys = RotatingKeys::new(storage.clone(), WrappingKey::new(&secret, &[])?, [Algorithm::Es256]);
/// let server = AuthorizationServer::builder("https://id.example.com")
///     .storage(storage)
///     .scope("mail:read", "Read your mail")
///     .signing_keys(SigningKeys::new(keys))
///     .build()
///     .await?;
/// # let _ = server;
/// # Ok(())
/// # }
/// ```
pub struct RotatingKeys {
    store: Arc<dyn KeyStore>,
    wrapping: WrappingKey,
    algorithms: Vec<Algorithm>,
    schedule: KeySchedule,
    /// The last server that received these keys.
    server: RwLock<Option<Arc<dyn KeysContext>>>,
    known: Mutex<Known>,
    /// Lets one request of this node read the store, while others use the known keys.
    reading: SingleFlight,
}

/// The last contents of the store that this node read, and how often the node has written to it.
#[derive(Default)]
struct Known {
    loaded: Option<Arc<Loaded>>,
    writes: u64,
    /// The number of reads that requests have begun. Only one runs at a time.
    begun: u64,
    /// The last of these reads that was not cancelled.
    ended: Option<Ended>,
}

/// How a request that needs the store gets its result.
enum Turn<'a> {
    /// The request reads the store, and others wait.
    Own(Flight<'a>),
    /// The request takes the result of another request.
    Other(Result<Arc<Loaded>, KeyError>),
}

/// A read that was completed.
#[derive(Clone, Copy)]
struct Ended {
    number: u64,
    began_at: OffsetDateTime,
    has_failed: bool,
}

/// The contents of the store at one time.
struct Loaded {
    at: OffsetDateTime,
    keys: Vec<Entry>,
    published: Arc<[PublicKey]>,
}

impl Loaded {
    fn new(at: OffsetDateTime, keys: Vec<Entry>) -> Self {
        let published = keys.iter().map(|key| key.public.clone()).collect();
        Self { at, keys, published }
    }

    /// Returns the same keys without those whose identifiers match.
    fn without(&self, is_gone: impl Fn(&str) -> bool) -> Self {
        let others = self.keys.iter().filter(|key| !key.public.id().is_some_and(&is_gone));
        Self::new(self.at, others.cloned().collect())
    }
}

impl RotatingKeys {
    /// Returns keys that are shared through this store. The first algorithm is the default.
    pub fn new(
        store: impl KeyStore + 'static,
        wrapping: WrappingKey,
        algorithms: impl IntoIterator<Item = Algorithm>,
    ) -> Self {
        Self {
            store: Arc::new(store),
            wrapping,
            algorithms: algorithms.into_iter().collect(),
            schedule: KeySchedule::default(),
            server: RwLock::new(None),
            known: Mutex::default(),
            reading: SingleFlight::default(),
        }
    }

    /// Sets the schedule of the rotation. All nodes must have the same schedule.
    #[must_use]
    pub fn with_schedule(mut self, schedule: KeySchedule) -> Self {
        self.schedule = schedule;
        self
    }

    /// Removes a key at once, for example after a leak. The key is no longer published and verifies nothing. If it was
    /// signing, a new key signs at once, although other services do not have it in their caches yet. Other nodes follow
    /// when they read the store again. Returns whether the key existed.
    ///
    /// No key is decrypted, so this works even if the store has keys that can't be decrypted. It works without a
    /// server, too: the next server that reads the store then generates the new key.
    ///
    /// # Errors
    /// The store failed, or its contents are malformed. The key may still exist. If the store failed while it removed
    /// the key, this node does not use the key until it reads the store again.
    pub async fn remove(&self, id: &str) -> Result<bool, KeyError> {
        let was_there = self.take_out(id).await?;
        let is_in_use = self.known().loaded.is_some();
        // The key is removed, even if the next one can't be generated now.
        if is_in_use && let Err(error) = self.update(self.now()).await {
            self.tell(error);
        }
        Ok(was_there)
    }

    async fn take_out(&self, id: &str) -> Result<bool, KeyError> {
        for _ in 0..ATTEMPTS {
            let Some(stored) = self.store.load_keys().await.map_err(unavailable)? else { return Ok(false) };
            let mut keys = parse(&stored.value).map_err(unavailable)?;
            let before = keys.keys.len();
            keys.keys.retain(|key| key.id() != Some(id));
            let was_there = keys.keys.len() != before;
            let is_done = !was_there || {
                let value = serde_json::to_vec(&keys).map_err(unavailable)?;
                // Before the write, because its answer may be lost. If the key still exists, the next read restores it.
                self.forget(id);
                self.store.replace_keys(Some(stored.version), &value).await.map_err(unavailable)?
            };
            if is_done {
                self.forget(id);
                return Ok(was_there);
            }
        }
        Err(unavailable(BUSY))
    }

    /// Forgets a key. A read that is under way does not restore it.
    fn forget(&self, id: &str) {
        let mut known = self.known();
        known.writes += 1;
        known.loaded = known.loaded.take().map(|loaded| Arc::new(loaded.without(|own| own == id)));
    }

    /// Forgets the known keys that are no longer stored. The stored keys may include some that this node can't decrypt.
    fn forget_removed(&self, value: &[u8], writes: u64) {
        let Ok(stored) = parse(value) else { return };
        let Some(ids) = stored.keys.iter().map(StoredKey::id).collect::<Option<HashSet<_>>>() else { return };
        let mut known = self.known();
        if known.writes == writes {
            known.loaded = known.loaded.take().map(|loaded| Arc::new(loaded.without(|own| !ids.contains(own))));
        }
    }

    fn now(&self) -> OffsetDateTime {
        let now = self.server().map_or_else(|| SystemClock.now(), |server| server.now());
        now.replace_nanosecond(0).unwrap_or(now)
    }

    fn server(&self) -> Option<Arc<dyn KeysContext>> {
        self.server.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn tell(&self, error: KeyError) {
        if let Some(server) = self.server() {
            server.keys_unavailable(error);
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the known keys if they were read recently and no rotation is due. Otherwise reads the store. If the
    /// store fails, the known keys are used until other nodes could sign with a key that this node has not seen. Until
    /// then, one request reads the store, at most once a second, and the others do not wait. After that, they wait for
    /// that request. They do not read the store themselves, because each would generate a key.
    async fn current(&self) -> Result<Arc<Loaded>, KeyError> {
        let now = self.now();
        let Some(known) = self.known().loaded.clone() else { return self.ask_in_turn().await };
        let age = now - known.at;
        let is_young = !age.is_negative() && age < self.schedule.reload_every();
        if is_young && !self.is_due(&known.keys, now) {
            return Ok(known);
        }
        if age >= self.schedule.longest_known() {
            return self.ask_in_turn().await;
        }
        let Some(reading) = self.reading.begin() else { return Ok(known) };
        if self.has_asked(now) {
            return Ok(known);
        }
        match self.ask(&reading, now).await {
            Err(error @ KeyError::Unavailable(_)) => {
                let (told, returned) = error.into_two();
                self.tell(told);
                // The read may have shown that a key was removed.
                self.known().loaded.clone().ok_or(returned)
            }
            result => result,
        }
    }

    /// Returns whether a request read the store less than a second ago.
    fn has_asked(&self, now: OffsetDateTime) -> bool {
        self.known().ended.is_some_and(|ended| is_recent(ended.began_at, now))
    }

    async fn ask_in_turn(&self) -> Result<Arc<Loaded>, KeyError> {
        match self.turn().await {
            Turn::Own(reading) => self.ask(&reading, self.now()).await,
            Turn::Other(result) => result,
        }
    }

    /// Waits until no other request reads the store, or until a read is completed that began after this call.
    async fn turn(&self) -> Turn<'_> {
        let begun = self.known().begun;
        loop {
            if let Some(result) = self.ended_after(begun) {
                return Turn::Other(result);
            }
            match self.reading.begin() {
                Some(reading) => return Turn::Own(reading),
                None => self.reading.ended().await,
            }
        }
    }

    /// Returns the result of a read that began after this many others.
    fn ended_after(&self, begun: u64) -> Option<Result<Arc<Loaded>, KeyError>> {
        let known = self.known();
        if known.ended?.number <= begun {
            return None;
        }
        if known.ended?.has_failed { Some(Err(unavailable(NO_ANSWER))) } else { known.loaded.clone().map(Ok) }
    }

    /// Reads the store. The read is recorded when it is completed. Anyone can send requests and disconnect, and each
    /// recorded read stops other requests from reading for a second.
    async fn ask(&self, _reading: &Flight<'_>, now: OffsetDateTime) -> Result<Arc<Loaded>, KeyError> {
        let number = {
            let mut known = self.known();
            known.begun += 1;
            known.begun
        };
        let result = self.update(now).await;
        self.known().ended = Some(Ended { number, began_at: now, has_failed: result.is_err() });
        result
    }

    fn read(&self, value: &[u8]) -> Result<Vec<Entry>, Cow<'static, str>> {
        let known = self.known().loaded.clone();
        read(&self.wrapping, value, known.as_deref().map_or(&[], |known| &known.keys))
    }

    fn is_due(&self, keys: &[Entry], now: OffsetDateTime) -> bool {
        let mut planned = keys.to_vec();
        tidy(&mut planned, &self.algorithms, &self.schedule, now)
            || !missing(&planned, &self.algorithms, &self.schedule, now).is_empty()
    }

    /// Reads the store, rotates the keys as far as that is due, and writes them back if anything changed.
    async fn update(&self, now: OffsetDateTime) -> Result<Arc<Loaded>, KeyError> {
        for _ in 0..ATTEMPTS {
            let writes = self.known().writes;
            let stored = self.store.load_keys().await.map_err(unavailable)?;
            let version = stored.as_ref().map(|stored| stored.version);
            let mut keys = match &stored {
                Some(stored) => self.read(&stored.value).map_err(|problem| {
                    self.forget_removed(&stored.value, writes);
                    unavailable(problem)
                })?,
                None => Vec::new(),
            };
            let is_tidied = tidy(&mut keys, &self.algorithms, &self.schedule, now);
            let missing = missing(&keys, &self.algorithms, &self.schedule, now);
            if version.is_some() && !is_tidied && missing.is_empty() {
                return Ok(self.keep(now, keys, writes, false));
            }
            for (algorithm, signs_from) in missing {
                keys.push(
                    generate(&self.wrapping, algorithm, signs_from)
                        .ok_or_else(|| unavailable("no key could be generated"))?,
                );
            }
            let value = write(&keys).map_err(unavailable)?;
            if self.store.replace_keys(version, &value).await.map_err(unavailable)? {
                return Ok(self.keep(now, keys, writes, true));
            }
        }
        Err(unavailable(BUSY))
    }

    /// Keeps the keys that were read or written, unless this node wrote other keys after they were read. So a removed
    /// key does not come back.
    fn keep(&self, at: OffsetDateTime, keys: Vec<Entry>, writes: u64, is_written: bool) -> Arc<Loaded> {
        let loaded = Arc::new(Loaded::new(at, keys));
        let mut known = self.known();
        if known.writes == writes {
            known.loaded = Some(Arc::clone(&loaded));
        } else if is_written {
            // Only the store knows which of two writes was the last one.
            known.loaded = None;
        }
        known.writes += u64::from(is_written);
        loaded
    }
}

fn unavailable(error: impl Into<BoxError>) -> KeyError {
    KeyError::Unavailable(error.into())
}

/// Returns whether the last read is recent enough. It is not if the clock was set back.
fn is_recent(at: OffsetDateTime, now: OffsetDateTime) -> bool {
    at <= now && now - at < ASK_AGAIN_AFTER
}

#[async_trait]
impl Keys for RotatingKeys {
    fn algorithms(&self) -> &[Algorithm] {
        &self.algorithms
    }

    async fn signer(&self, algorithm: Algorithm) -> Result<Arc<dyn Signer>, KeyError> {
        if !self.algorithms.contains(&algorithm) {
            return Err(KeyError::NoKey(algorithm));
        }
        let (loaded, now) = (self.current().await?, self.now());
        let mut own: Vec<_> = loaded.keys.iter().filter(|key| key.algorithm == algorithm).collect();
        own.sort_by_key(|key| key.signs_from);
        let own = own.iter().filter_map(|key| Some((key.signs_from, &key.private.as_ref()?.key)));
        // The newest key that may sign. If the first key was generated by a node whose clock is ahead, it signs before
        // its time.
        let signer = own.clone().rfind(|(from, _)| *from <= now).or_else(|| own.clone().next());
        let signer = signer.map(|(_, key)| Arc::clone(key) as Arc<dyn Signer>);
        // This happens if a key was removed and the next one could not be stored yet.
        signer.ok_or_else(|| unavailable(format!("there is no signing key for {algorithm} at the moment")))
    }

    async fn published(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        Ok(Arc::clone(&self.current().await?.published))
    }

    /// Reads the store unless it was read less than a second ago. One request reads it, and the others wait for that
    /// request. A request that comes while another one reads may wait for two reads.
    async fn reload(&self) -> Result<Arc<[PublicKey]>, KeyError> {
        let reading = match self.turn().await {
            Turn::Own(reading) => reading,
            Turn::Other(result) => return result.map(|loaded| Arc::clone(&loaded.published)),
        };
        let now = self.now();
        let known = self.known().loaded.clone();
        if let Some(known) = known.filter(|known| is_recent(known.at, now)) {
            return Ok(Arc::clone(&known.published));
        }
        if self.has_asked(now) {
            return Err(unavailable(NO_ANSWER));
        }
        match self.ask(&reading, now).await {
            Ok(loaded) => Ok(Arc::clone(&loaded.published)),
            Err(error) => {
                let (told, returned) = error.into_two();
                self.tell(told);
                Err(returned)
            }
        }
    }

    fn connect(&self, server: Arc<dyn KeysContext>) {
        *self.server.write().unwrap_or_else(PoisonError::into_inner) = Some(server);
    }

    fn schedule(&self) -> Option<&KeySchedule> {
        Some(&self.schedule)
    }
}

impl fmt::Debug for RotatingKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RotatingKeys")
            .field("algorithms", &self.algorithms)
            .field("schedule", &self.schedule)
            .finish_non_exhaustive()
    }
}
