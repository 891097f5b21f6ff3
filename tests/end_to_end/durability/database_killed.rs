//! PostgreSQL is killed under load again and again, while the server stays up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use grantor::GrantId;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::audit::{Audit, State};
use crate::caller::{Answer, Caller, Held, Pair};
use crate::place::Place;
use crate::storm::{Attempt, Done, Storm};
use crate::{say, seed, seeds, sized, soon};
use end_to_end::postgres::Postgres;

const CLIENTS: usize = 24;
/// How many requests must have been refused before the database comes back.
const REFUSALS: usize = 8;

// covers: B16, B20
#[tokio::test(flavor = "multi_thread")]
async fn postgresql_outage_refuses_clearly_and_loses_nothing() {
    // A server that no other test uses.
    let Some(database) = Postgres::start() else { return };
    let (seed, kills) = (seed(), sized(2, 40));
    say(&format!("PostgreSQL killed: seed {seed}"));
    let mut random = StdRng::seed_from_u64(seed);
    let place = Place::postgres(&database).await;
    let (server, begun) = (place.serve(), Instant::now());
    let callers: Vec<Caller> = (0..CLIENTS).map(|_| Caller::new()).collect();

    let opened = place.open().await;
    let codes = seeds::codes(&*opened.storage(), &mut random, 3 * CLIENTS * kills).await;
    opened.close().await;
    let mut grants: BTreeSet<GrantId> = codes.iter().map(|code| code.grant).collect();
    let storm = Storm::new(&server.base);
    let running = storm.begin(&callers, codes, &mut random);
    let mut ended = BTreeSet::new();
    for kill in 0..kills {
        // Each round begins with successful answers, because the server recovered.
        storm.answers(random.random_range(1..=4 * CLIENTS)).await;
        // The probes run only once, because each waits for the database as long as a call may take.
        let probes = if kill == 0 { Some(Probes::prepare(&place, &server.base, &mut random).await) } else { None };
        interrupt(&database, &storm, kill % 2 == 0, probes.as_ref()).await;
        if let Some(probes) = probes {
            soon("recovery", probes.recover()).await;
            grants.extend([probes.code.grant, probes.pair.access.grant]);
            ended.insert(probes.pair.access.grant);
        }
    }
    storm.answers(CLIENTS).await;
    let done = storm.end(running).await;

    ended.extend(done.attempts.iter().filter(|attempt| attempt.ended_its_grant).map(|attempt| attempt.token.grant));
    let opened = place.open().await;
    let audit = Audit::of(&opened).await;
    opened.close().await;
    audit.check_lineages(&grants, &ended);
    check(&audit, &done);
    for tip in done.tips.iter().filter(|tip| !tip.is_code()) {
        assert!(callers[0].is_alive(&server.base, tip).await, "lost: {tip:?}");
    }
    say_figures(kills, &done.attempts, &storm, audit.len(), begun);
}

/// Kills the database and starts it again: either at once, so the server can still find out the outcome of the
/// interrupted redemptions, or `late`, after enough requests were refused.
async fn interrupt(database: &Postgres, storm: &Arc<Storm>, late: bool, probes: Option<&Probes>) {
    tokio::task::block_in_place(|| database.kill());
    storm.database_is_down(true);
    if let Some(probes) = probes {
        soon("the refusals without a database", probes.are_refused()).await;
    }
    if late {
        storm.refusals(REFUSALS).await;
    }
    storm.database_is_down(false);
    tokio::task::block_in_place(|| database.restart());
}

/// Asserts that exactly the answered redemptions are stored.
fn check(audit: &Audit, done: &Done) {
    for attempt in done.attempts.iter().filter(|attempt| !attempt.ended_its_grant) {
        let pair = attempt.answers.first().expect("a response with tokens");
        let expected = State::Spent { access: pair.access.hash(), refresh: pair.refresh.hash() };
        assert_eq!(audit.state(attempt.token.hash()), expected, "{attempt:?}");
    }
    for tip in &done.tips {
        assert_eq!(audit.state(tip.hash()), State::Unspent, "{tip:?}");
    }
}

fn say_figures(kills: usize, attempts: &[Attempt], storm: &Storm, rows: usize, begun: Instant) {
    let count = |of: fn(&&Attempt) -> bool| attempts.iter().filter(of).count();
    say(&format!(
        "PostgreSQL killed: {kills} kills, {} codes and refresh tokens presented, {rows} rows; {} times 503, of which {} \
         tokens got over by retries, and {} codes did not; slowest answer {:.1} s; {:.1} s",
        attempts.len(),
        storm.refused(),
        count(|attempt| attempt.unanswered > 0 && !attempt.ended_its_grant),
        count(|attempt| attempt.ended_its_grant),
        storm.slowest().as_secs_f32(),
        begun.elapsed().as_secs_f32(),
    ));
}

/// One request of each kind, with tokens that no other client uses.
struct Probes {
    base: String,
    caller: Caller,
    code: Held,
    pair: Pair,
}

impl Probes {
    async fn prepare(place: &Place, base: &str, random: &mut StdRng) -> Self {
        let opened = place.open().await;
        let storage = opened.storage();
        let (code, other) = (seeds::code(&*storage, random).await, seeds::code(&*storage, random).await);
        opened.close().await;
        let caller = Caller::new();
        let pair = caller.present(base, &other).await.unwrap().pair(other.grant);
        Self { base: base.to_owned(), caller, code, pair }
    }

    /// Checks the responses without a database.
    async fn are_refused(&self) {
        let Self { base, caller, code, pair } = self;
        let (redeemed, refreshed, revoked, introspected, me, authorize) = tokio::join!(
            caller.present(base, code),
            caller.present(base, &pair.refresh),
            caller.revoke(base, &pair.refresh),
            caller.introspect(base, &pair.access),
            caller.me(base, &pair.access),
            caller.authorize(base),
        );
        for answer in [redeemed.unwrap(), refreshed.unwrap(), revoked, introspected] {
            assert!(answer.is_unavailable(), "{answer:?}");
        }
        assert_eq!((me, authorize), (503, 503));
    }

    /// Checks the responses after recovery: the refused requests changed nothing, and succeed now.
    async fn recover(&self) {
        let Self { base, caller, code, pair } = self;
        let redeemed = loop {
            match caller.present(base, code).await.unwrap() {
                answer if answer.is_unavailable() => {}
                answer => break answer.pair(code.grant),
            }
        };
        assert!(caller.is_alive(base, &redeemed.access).await && caller.is_alive(base, &pair.access).await);
        let successors = caller.present(base, &pair.refresh).await.unwrap().pair(pair.access.grant);
        let Answer { status, .. } = caller.revoke(base, &successors.refresh).await;
        assert_eq!(status, 200);
        for token in [&pair.access, &pair.refresh, &successors.access, &successors.refresh] {
            assert!(!caller.is_alive(base, token).await, "the token was accepted after its revocation: {token:?}");
        }
    }
}
