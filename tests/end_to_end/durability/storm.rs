//! Many clients that redeem codes and refresh as fast as they can, each on its own grants, often from two tabs at once.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::caller::{Caller, Held, Pair};
use crate::soon;

/// How long a client waits after a response with `Retry-After`.
const PAUSE: Duration = Duration::from_millis(20);

/// The counters of a running storm.
pub(crate) struct Storm {
    base: String,
    /// Each 200 adds a permit.
    answered: Semaphore,
    /// Each 503 adds a permit.
    refused: Semaphore,
    refusals: AtomicUsize,
    slowest: Mutex<Duration>,
    ends: AtomicBool,
    server_dies: AtomicBool,
    /// Odd while the database is certainly down.
    outage: AtomicU64,
}

/// A presented token and its outcome.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) token: Held,
    /// The successors, once for each response with tokens.
    pub(crate) answers: Vec<Pair>,
    /// How often there was no response, or one that left the state of the token open.
    pub(crate) unanswered: usize,
    /// It was a code whose response was lost, and its second use ended the grant.
    pub(crate) ended_its_grant: bool,
    /// Whether all tabs finally got a response.
    pub(crate) is_settled: bool,
}

/// The results of one client, or of all.
#[derive(Default)]
pub(crate) struct Done {
    pub(crate) attempts: Vec<Attempt>,
    /// Tokens that were not presented yet.
    pub(crate) tips: Vec<Held>,
}

impl Storm {
    pub(crate) fn new(base: &str) -> Arc<Self> {
        Arc::new(Self {
            base: base.to_owned(),
            answered: Semaphore::new(0),
            refused: Semaphore::new(0),
            refusals: AtomicUsize::new(0),
            slowest: Mutex::default(),
            ends: AtomicBool::new(false),
            server_dies: AtomicBool::new(false),
            outage: AtomicU64::new(0),
        })
    }

    /// Starts the clients, each with its share of the tokens.
    pub(crate) fn begin(self: &Arc<Self>, callers: &[Caller], tokens: Vec<Held>, random: &mut StdRng) -> JoinSet<Done> {
        let mut shares = vec![Vec::new(); callers.len()];
        for (number, token) in tokens.into_iter().enumerate() {
            shares[number % callers.len()].push(token);
        }
        let mut running = JoinSet::new();
        for (caller, share) in callers.iter().zip(shares) {
            let random = StdRng::seed_from_u64(random.random());
            running.spawn(Arc::clone(self).walk(caller.clone(), share, random));
        }
        running
    }

    /// From now on, lost responses are expected.
    pub(crate) fn server_is_about_to_die(&self) {
        self.server_dies.store(true, Ordering::SeqCst);
    }

    /// Marks the database as down, or, before it is started again, as possibly up.
    pub(crate) fn database_is_down(&self, down: bool) {
        let before = self.outage.fetch_add(1, Ordering::SeqCst);
        assert_eq!(before.is_multiple_of(2), down);
    }

    /// Waits until this number of tokens was issued from now on.
    pub(crate) async fn answers(&self, count: usize) {
        wait_for(&self.answered, count).await;
    }

    /// Waits until this number of requests got 503 from now on.
    pub(crate) async fn refusals(&self, count: usize) {
        wait_for(&self.refused, count).await;
    }

    /// The total number of requests that got 503.
    pub(crate) fn refused(&self) -> usize {
        self.refusals.load(Ordering::SeqCst)
    }

    /// The longest time that a response took.
    pub(crate) fn slowest(&self) -> Duration {
        *self.slowest.lock().unwrap()
    }

    fn took(&self, time: Duration) {
        let mut slowest = self.slowest.lock().unwrap();
        *slowest = time.max(*slowest);
    }

    /// Lets every client finish its current token, and collects the results.
    pub(crate) async fn end(&self, mut running: JoinSet<Done>) -> Done {
        self.ends.store(true, Ordering::SeqCst);
        let mut all = Done::default();
        while let Some(done) = soon("a client", running.join_next()).await {
            let done = done.unwrap_or_else(|failure| std::panic::resume_unwind(failure.into_panic()));
            all.attempts.extend(done.attempts);
            all.tips.extend(done.tips);
        }
        all
    }

    async fn walk(self: Arc<Self>, caller: Caller, mut tips: Vec<Held>, mut random: StdRng) -> Done {
        let mut attempts = Vec::new();
        while !self.ends.load(Ordering::SeqCst) && !tips.is_empty() {
            let token = tips.swap_remove(random.random_range(0..tips.len()));
            // A code has no grace window, so two tabs would end its grant.
            let tabs = if token.is_code() { 1 } else { *[1, 1, 2].choose(&mut random).unwrap() };
            let attempt = self.present(&caller, token, tabs).await;
            let is_settled = attempt.is_settled;
            tips.extend(attempt.answers.first().filter(|_| is_settled).map(|pair| pair.refresh.clone()));
            attempts.push(attempt);
            if !is_settled {
                break;
            }
        }
        Done { attempts, tips }
    }

    async fn present(&self, caller: &Caller, token: Held, tabs: usize) -> Attempt {
        let mut attempt =
            Attempt { token, answers: Vec::new(), unanswered: 0, ended_its_grant: false, is_settled: true };
        let token = &attempt.token;
        let results = match tabs {
            1 => vec![self.insist(caller, token).await],
            _ => <[_; 2]>::from(tokio::join!(self.insist(caller, token), self.insist(caller, token))).into(),
        };
        for (outcome, unanswered) in results {
            attempt.unanswered += unanswered;
            match outcome {
                Outcome::Tokens(pair) => attempt.answers.push(*pair),
                Outcome::Ended => attempt.ended_its_grant = true,
                Outcome::Lost => attempt.is_settled = false,
            }
        }
        let first = attempt.answers.first();
        assert!(attempt.answers.iter().all(|pair| Some(pair) == first), "two lineages: {attempt:?}");
        attempt
    }

    /// Presents a token until its state is known. Counts the responses that left the state open.
    async fn insist(&self, caller: &Caller, token: &Held) -> (Outcome, usize) {
        for unanswered in 0.. {
            let outage = self.outage.load(Ordering::SeqCst);
            let begun = Instant::now();
            let answer = caller.present(&self.base, token).await;
            self.took(begun.elapsed());
            let was_down = outage % 2 == 1 && outage == self.outage.load(Ordering::SeqCst);
            match answer {
                Ok(answer) if answer.status == 200 => {
                    assert!(!was_down, "answered without a database: {answer:?}");
                    self.answered.add_permits(1);
                    return (Outcome::Tokens(Box::new(answer.pair(token.grant))), unanswered);
                }
                Ok(answer) if answer.is_unavailable() => {
                    self.refusals.fetch_add(1, Ordering::SeqCst);
                    self.refused.add_permits(1);
                    tokio::time::sleep(PAUSE).await;
                }
                Ok(answer) if answer.is_invalid_grant() && token.is_code() && unanswered > 0 && !was_down => {
                    return (Outcome::Ended, unanswered);
                }
                Ok(answer) => panic!("a good token got {answer:?}, database down: {was_down}, {token:?}"),
                Err(error) => {
                    assert!(self.server_dies.load(Ordering::SeqCst), "no answer, but the server lives: {error:?}");
                    return (Outcome::Lost, unanswered + 1);
                }
            }
        }
        unreachable!()
    }
}

/// Waits for permits that are added from now on.
async fn wait_for(permits: &Semaphore, count: usize) {
    permits.forget_permits(usize::MAX);
    let count = u32::try_from(count).unwrap();
    soon("the storm", permits.acquire_many(count)).await.unwrap().forget();
}

enum Outcome {
    Tokens(Box<Pair>),
    Ended,
    Lost,
}
