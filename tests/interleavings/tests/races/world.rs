//! Records, a storage whose calls don't wait, and the exploring.

use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use grantor::Scope;
use grantor::record::{AttemptId, ClientId, Grant, GrantDetails, GrantId, GrantType, StoredToken, Subject};
use grantor::record::{TokenDetails, TokenKind};
use grantor::secret::{Seed, TokenHash};
use grantor::storage::{ClientRegistry, Exchange, GrantSelector, Page, Spend, Storage, StorageError};
use interleavings::MemoryStorage;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::{Config, Runner};
use time::{Duration, OffsetDateTime};

/// At how many places a thread is overtaken by others, if priorities decide.
const DEPTHS: [usize; 2] = [2, 3];

/// Tries a race in many orders. It returns what came of it; `outcomes` is what must have come of it in one order or another,
/// and nothing else may have.
pub fn explore(outcomes: &[&str], race: impl Fn() -> &'static str + Send + Sync + 'static) {
    let seen = Arc::new(Mutex::new(BTreeSet::new()));
    let race = {
        let seen = Arc::clone(&seen);
        Arc::new(move || {
            let outcome = race();
            seen.lock().unwrap().insert(outcome);
        })
    };
    let schedules = std::env::var("GRANTOR_SCHEDULES").map_or(2_000, |number| number.parse().unwrap());
    run(RandomScheduler::new_from_seed(1, schedules / 2), schedules / 2, &race);
    for depth in DEPTHS {
        run(PctScheduler::new_from_seed(2, depth, schedules / 4), schedules / 4, &race);
    }
    let expected = outcomes.iter().copied().collect();
    assert_eq!(*seen.lock().unwrap(), expected, "what came of it in {schedules} orders");
}

fn run<F: Fn() + Send + Sync + 'static>(scheduler: impl Scheduler + 'static, schedules: usize, race: &Arc<F>) {
    let mut config = Config::new();
    config.stack_size = 0x4_0000;
    let race = Arc::clone(race);
    assert_eq!(Runner::new(scheduler, config).run(move || race()), schedules);
}

/// A thread of the race.
pub fn beside<T: Send + 'static>(
    storage: &Store,
    work: impl FnOnce(&Store) -> T + Send + 'static,
) -> shuttle::thread::JoinHandle<T> {
    let storage = storage.clone();
    shuttle::thread::spawn(move || work(&storage))
}

/// Starts all of them, then waits for all.
pub fn all<T>(threads: impl IntoIterator<Item = shuttle::thread::JoinHandle<T>>) -> Vec<T> {
    let threads: Vec<_> = threads.into_iter().collect();
    threads.into_iter().map(|thread| thread.join().unwrap()).collect()
}

pub fn at(seconds: i64) -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds)
}

pub fn hash(number: u8) -> TokenHash {
    TokenHash::from_bytes([number; 32])
}

/// A grant of Alice's to the client `app`, opened at 0, that ends at `end`. Even and odd numbers are in different shards.
pub fn grant(number: u8, end: i64) -> Arc<Grant> {
    Arc::new(Grant {
        id: GrantId::from_bytes([number; 16]),
        client_id: ClientId::new("app").unwrap(),
        subject: Some(alice()),
        grant_type: GrantType::new(GrantType::PASSWORD).unwrap(),
        scope: Scope::parse("a").unwrap(),
        opened_at: at(0),
        last_used_at: at(0),
        expires_at: at(end),
        revoked_at: None,
        host_data: None,
        details: GrantDetails::default(),
    })
}

pub fn alice() -> Subject {
    Subject::new("alice").unwrap()
}

fn token(kind: TokenKind, number: u8, grant: &Grant, end: i64) -> StoredToken {
    StoredToken {
        hash: hash(number),
        kind,
        grant_id: grant.id,
        scope: grant.scope.clone(),
        issued_at: at(0),
        expires_at: at(end),
        parent: None,
        spent: None,
        revoked_at: None,
        details: TokenDetails::default(),
    }
}

pub fn access(number: u8, grant: &Grant, end: i64) -> StoredToken {
    token(TokenKind::AccessToken, number, grant, end)
}

pub fn refresh(number: u8, grant: &Grant, end: i64) -> StoredToken {
    token(TokenKind::RefreshToken, number, grant, end)
}

/// To spend a refresh token at `now`, after which the grant ends at `end`. Attempts are told apart by `attempt`.
pub fn spend(number: u8, grant: &Grant, attempt: u8, now: i64, end: i64) -> Spend {
    Spend {
        token: hash(number),
        kind: TokenKind::RefreshToken,
        grant_id: grant.id,
        attempt: AttemptId::from_bytes([attempt; 16]),
        at: at(now),
        consume: true,
        seed: Some(Seed::from_bytes([attempt; 32])),
        grant_expires_at: at(end),
    }
}

/// What the refresh token `parent` is exchanged for.
pub fn successors(access_number: u8, refresh_number: u8, parent: u8, grant: &Grant, end: i64) -> [StoredToken; 2] {
    [access(access_number, grant, end), refresh(refresh_number, grant, end)]
        .map(|token| StoredToken { parent: Some(hash(parent)), ..token })
}

/// The storage. A call that does not return an error here must not fail.
#[derive(Clone, Default)]
pub struct Store(pub MemoryStorage);

pub type Found = Option<(Arc<StoredToken>, Arc<Grant>)>;

impl Store {
    pub fn with(grant: &Arc<Grant>, tokens: &[StoredToken]) -> Self {
        let storage = Self::default();
        storage.open(grant, tokens).unwrap();
        storage
    }

    pub fn open(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        at_once(self.0.open_grant(grant, tokens))
    }

    /// Whatever is found is what was asked for.
    pub fn find(&self, number: u8) -> Found {
        let found = at_once(self.0.find(&hash(number))).unwrap();
        if let Some((token, grant)) = &found {
            assert_eq!((token.hash, token.grant_id), (hash(number), grant.id));
        }
        found
    }

    pub fn has(&self, number: u8) -> bool {
        self.find(number).is_some()
    }

    /// Whether a token is there and not stopped by a revocation or the end of its grant.
    pub fn works(&self, number: u8, now: i64) -> bool {
        self.find(number).is_some_and(|(token, grant)| token.revoked_at.is_none() && grant.is_live(at(now)))
    }

    pub fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        at_once(self.0.exchange(spend, successors))
    }

    pub fn revoke(&self, which: &GrantSelector, now: i64) -> u64 {
        at_once(self.0.revoke_grants(which, at(now))).unwrap()
    }

    pub fn revoke_access(&self, number: u8, now: i64) {
        at_once(self.0.revoke_access_token(&hash(number), at(now))).unwrap();
    }

    pub fn remove_client(&self, now: i64) {
        at_once(self.0.remove(&ClientId::new("app").unwrap(), at(now))).unwrap();
    }

    pub fn list(&self, which: &GrantSelector, now: i64) -> Vec<GrantId> {
        let listed = at_once(self.0.grants(which, at(now), &Page::first(9))).unwrap();
        listed.iter().map(|grant| grant.id).collect()
    }

    pub fn purge(&self, before: i64, limit: usize) -> usize {
        let touched = at_once(self.0.purge_expired(at(before), limit)).unwrap();
        assert!(touched <= limit, "{touched} of {limit}");
        touched
    }

    /// Purges until there is nothing left to do; how many rows that were.
    pub fn purge_all(&self, before: i64) -> usize {
        let touched = self.purge(before, 100);
        assert_eq!(self.purge(before, 100), 0, "one purge does all that is due");
        touched
    }
}

/// The calls of the storage in memory never wait.
fn at_once<T>(call: impl Future<Output = T>) -> T {
    match pin!(call).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => done,
        Poll::Pending => panic!("a call waits"),
    }
}
