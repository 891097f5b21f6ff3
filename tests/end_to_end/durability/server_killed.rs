//! The server is killed under load again and again, and another starts on the same database.

use std::collections::BTreeSet;
use std::fmt;
use std::time::{Duration, Instant};

use grantor::storage::Found;
use grantor::{GrantId, Storage};
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::audit::{Audit, State};
use crate::caller::{Caller, Held, Pair};
use crate::place::Place;
use crate::storm::{Attempt, Done, Storm};
use crate::{say, seed, seeds, sized, soon};
use end_to_end::example::Example;
use end_to_end::postgres::Postgres;

const CLIENTS: usize = 32;
/// How often a lost refresh is retried in parallel.
const RETRIES: usize = 3;

// covers: B16, B20
#[tokio::test(flavor = "multi_thread")]
async fn killed_server_on_sqlite_loses_nothing() {
    lose_nothing("SQLite", &Place::sqlite()).await;
}

// covers: B16, B20
#[tokio::test(flavor = "multi_thread")]
async fn killed_server_on_postgresql_loses_nothing() {
    let Some(server) = Postgres::get() else { return };
    lose_nothing("PostgreSQL", &Place::postgres(server).await).await;
}

async fn lose_nothing(name: &str, place: &Place) {
    let (seed, kills) = (seed(), sized(3, 60));
    say(&format!("server killed, {name}: seed {seed}"));
    let mut random = StdRng::seed_from_u64(seed);
    let callers: Vec<Caller> = (0..CLIENTS).map(|_| Caller::new()).collect();
    let (mut ledger, mut tips) = (Ledger::default(), Vec::new());
    let (mut server, begun) = (place.serve(), Instant::now());
    for _ in 0..kills {
        let opened = place.open().await;
        tips.extend(seeds::codes(&*opened.storage(), &mut random, 3 * CLIENTS).await);
        opened.close().await;
        ledger.grants.extend(tips.iter().map(|tip: &Held| tip.grant));
        tips.shuffle(&mut random);
        let done = storm_until_killed(server, &callers, std::mem::take(&mut tips), &mut ledger, &mut random).await;
        tips = done.tips;

        let opened = place.open().await;
        soon("the last statements of the server", opened.be_alone()).await;
        let states = ledger.check(&Audit::of(&opened).await, &*opened.storage(), &done.attempts).await;
        opened.close().await;
        server = place.serve();
        for (attempt, state) in done.attempts.into_iter().zip(states) {
            tips.extend(ledger.settle(&server, &callers, attempt, state).await);
        }
        let opened = place.open().await;
        Audit::of(&opened).await.check_lineages(&ledger.grants, &ledger.ended);
        opened.close().await;
    }
    // At any time, most clients wait for a response. If no response was lost, there was no load.
    assert!(ledger.lost_and_spent + ledger.lost_and_unspent >= kills, "no answer was lost");
    let opened = place.open().await;
    let rows = Audit::of(&opened).await.len();
    ledger.replay_codes(&server, &callers[0], sized(40, 1_000)).await;
    Audit::of(&opened).await.check_lineages(&ledger.grants, &ledger.ended);
    opened.close().await;
    say(&format!(
        "server killed, {name}: {kills} kills, {ledger}, {rows} rows; {:.1} s",
        begun.elapsed().as_secs_f32()
    ));
}

/// Starts the clients, and kills the server after some of them got responses.
async fn storm_until_killed(
    server: Example,
    callers: &[Caller],
    tokens: Vec<Held>,
    ledger: &mut Ledger,
    random: &mut StdRng,
) -> Done {
    let storm = Storm::new(&server.base);
    let running = storm.begin(callers, tokens, random);
    storm.answers(random.random_range(1..6 * CLIENTS)).await;
    // The kill may hit any point within a request, not only the moment after a response.
    tokio::time::sleep(Duration::from_micros(random.random_range(0..5_000))).await;
    storm.server_is_about_to_die();
    tokio::task::block_in_place(|| server.kill());
    let done = storm.end(running).await;
    ledger.refusals += storm.refused();
    done
}

/// The known states so far, and the counts.
#[derive(Default)]
struct Ledger {
    grants: BTreeSet<GrantId>,
    ended: BTreeSet<GrantId>,
    /// Codes and refresh tokens that were answered, with the response.
    answered: Vec<(Held, Pair)>,
    presented: usize,
    lost_and_unspent: usize,
    lost_and_spent: usize,
    retries: usize,
    refusals: usize,
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { presented, lost_and_unspent, lost_and_spent, retries, refusals, .. } = self;
        write!(
            f,
            "{} grants, {presented} codes and refresh tokens presented; answer lost: {lost_and_unspent} times the token was \
             unspent, {lost_and_spent} times its successors were stored; {retries} retries, {refusals} times 503",
            self.grants.len()
        )
    }
}

impl Ledger {
    /// Checks the database without the server: answered redemptions are stored, the others are whole or absent. Returns
    /// the states.
    async fn check(&mut self, audit: &Audit, storage: &dyn Storage, attempts: &[Attempt]) -> Vec<State> {
        self.ended.extend(attempts.iter().filter(|attempt| attempt.ended_its_grant).map(|attempt| attempt.token.grant));
        for attempt in attempts {
            self.presented += 1;
            if let Some(pair) = attempt.answers.first() {
                self.answered.push((attempt.token.clone(), pair.clone()));
            }
        }
        audit.check_lineages(&self.grants, &self.ended);
        for (token, pair) in self.answered.iter().filter(|(token, _)| !self.ended.contains(&token.grant)) {
            let expected = State::Spent { access: pair.access.hash(), refresh: pair.refresh.hash() };
            assert_eq!(audit.state(token.hash()), expected, "the storage differs from the response: {token:?}");
        }
        let mut states = Vec::with_capacity(attempts.len());
        for attempt in attempts {
            let state = audit.state(attempt.token.hash());
            check_through_the_storage(storage, attempt, state).await;
            match state {
                State::Unspent => assert!(attempt.answers.is_empty(), "{attempt:?}"),
                State::Spent { .. } => {}
            }
            states.push(state);
        }
        states
    }

    /// Retries, at the next server, the requests without a response; returns the tokens that the clients continue with.
    async fn settle(&mut self, server: &Example, callers: &[Caller], attempt: Attempt, state: State) -> Option<Held> {
        if attempt.is_settled {
            return None;
        }
        let is_answered = !attempt.answers.is_empty();
        match state {
            State::Unspent => self.lost_and_unspent += 1,
            State::Spent { .. } if !is_answered => self.lost_and_spent += 1,
            State::Spent { .. } => {}
        }
        let token = &attempt.token;
        if token.is_code() {
            self.retries += 1;
            let answer = callers[0].present(&server.base, token).await.unwrap();
            if state == State::Unspent {
                let pair = answer.pair(token.grant);
                self.answered.push((token.clone(), pair.clone()));
                return Some(pair.refresh);
            }
            assert!(answer.is_invalid_grant(), "a code was redeemed twice: {answer:?} {attempt:?}");
            self.ended.insert(token.grant);
            return None;
        }
        let mut retries = tokio::task::JoinSet::new();
        for caller in &callers[..RETRIES] {
            let (caller, base, token) = (caller.clone(), server.base.clone(), token.clone());
            retries.spawn(async move { caller.present(&base, &token).await.unwrap().pair(token.grant) });
        }
        let pairs = retries.join_all().await;
        self.retries += pairs.len();
        let first = attempt.answers.first().unwrap_or(&pairs[0]);
        assert!(pairs.iter().all(|pair| pair == first), "retries got other successors: {pairs:?} {attempt:?}");
        if let State::Spent { access, refresh } = state {
            assert_eq!((first.access.hash(), first.refresh.hash()), (access, refresh), "{attempt:?}");
        }
        for token in [&first.access, &first.refresh] {
            assert!(callers[0].is_alive(&server.base, token).await, "{token:?}");
        }
        if !is_answered {
            self.answered.push((token.clone(), first.clone()));
        }
        Some(first.refresh.clone())
    }

    /// A redeemed code can't be redeemed again. The attempt ends its grant and its tokens.
    async fn replay_codes(&mut self, server: &Example, caller: &Caller, count: usize) {
        let codes = self.answered.iter().filter(|(token, _)| token.is_code() && !self.ended.contains(&token.grant));
        let codes: Vec<_> = codes.take(count).cloned().collect();
        assert!(!codes.is_empty());
        for (code, pair) in codes {
            let answer = caller.present(&server.base, &code).await.unwrap();
            assert!(answer.is_invalid_grant(), "a code was redeemed twice: {answer:?}");
            for token in [&pair.access, &pair.refresh] {
                assert!(
                    !caller.is_alive(&server.base, token).await,
                    "accepted after the replay of its code: {token:?}"
                );
            }
            self.ended.insert(code.grant);
        }
    }
}

/// Asserts that the library sees the same as the audit.
async fn check_through_the_storage(storage: &dyn Storage, attempt: &Attempt, state: State) {
    let hash = attempt.token.hash();
    let Found { token, grant, .. } = storage.find(&hash).await.unwrap().unwrap();
    assert_eq!((&token.kind, token.grant_id, grant.id), (&attempt.token.kind, attempt.token.grant, grant.id));
    let State::Spent { access, refresh } = state else {
        assert!(token.spent.is_none(), "{token:?}");
        return;
    };
    let spent = token.spent.clone().unwrap();
    for successor in [access, refresh] {
        let Found { token: successor, grant: its_grant, .. } = storage.find(&successor).await.unwrap().unwrap();
        assert!(successor.parent == Some(hash) && successor.issued_at <= spent.at, "{successor:?}");
        assert_eq!((successor.grant_id, its_grant.id), (grant.id, grant.id));
        assert!(successor.spent.is_none() || successor.hash == refresh, "{successor:?}");
        assert!(its_grant.last_used_at >= spent.at && its_grant.expires_at >= successor.expires_at);
    }
}
