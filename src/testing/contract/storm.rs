//! Clauses 3 and 4 while the host breaks what is under way: connections are cut, or the database itself is restarted.
//!
//! Many runners work on chains of their own. Every few answers the host's closure is called. An error is no violation here;
//! what matters is what is stored afterwards, and what the next call answers.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread::Thread;

use super::clause::Clause::{AmbiguousCommits, Crashes};
use super::given_up::is_whole;
use super::node::{Failure, Node, Outcome, patient_row, patiently};
use super::records::HOUR;
use super::trial::{Group, Needs, RUNNERS, Trial};
use crate::record::{Grant, StoredToken};
use crate::storage::{Exchange, GrantSelector, Spend};

/// How many steps each runner takes, and after how many of all runners there is an interruption.
const STEPS: u64 = 40;
const BETWEEN: u64 = 16;

pub(super) const CASES: &[Group] = &[
    Group {
        clause: Crashes,
        needs: Needs::Interruption,
        cases: &[
            ("whatever is interrupted, each exchange is whole or absent, and what was answered stays", |t| {
                storm(t, walk)
            }),
            (
                "whatever is interrupted, each grant is opened whole or not at all, and a repeated revocation ends it",
                |t| storm(t, open_and_revoke),
            ),
        ],
    },
    Group {
        clause: AmbiguousCommits,
        needs: Needs::Interruption,
        cases: &[("an attempt that is repeated after an interruption is done, unless another was before it", |t| {
            storm(t, contest)
        })],
    },
];

/// What a runner needs.
struct Runner<'a> {
    t: &'a Trial<'a>,
    number: u64,
    /// What it works with, and what others look through afterwards.
    node: Node<'a>,
    answers: &'a AtomicU64,
    /// The thread that interrupts.
    interrupter: Thread,
}

impl Runner<'_> {
    /// Another step has been answered.
    fn answered(&self) {
        if (self.answers.fetch_add(1, Ordering::SeqCst) + 1).is_multiple_of(BETWEEN) {
            self.interrupter.unpark();
            std::thread::yield_now();
        }
    }

    fn steps(&self) -> u64 {
        STEPS * u64::from(self.t.host.rounds)
    }
}

fn storm(t: &Trial<'_>, run: fn(&Runner<'_>) -> Outcome) -> Outcome {
    let Some(interrupt) = t.host.interrupt else { return Ok(()) };
    let (answers, at_work) = (AtomicU64::new(0), AtomicUsize::new(RUNNERS));
    let results = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..RUNNERS)
            .map(|number| {
                let (answers, interrupter, at_work) = (&answers, std::thread::current(), &at_work);
                let runner = Runner { t, number: number as u64, node: t.node(number), answers, interrupter };
                scope.spawn(move || {
                    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| run(&runner)));
                    at_work.fetch_sub(1, Ordering::SeqCst);
                    runner.interrupter.unpark();
                    result
                })
            })
            .collect();
        let mut due = BETWEEN;
        while at_work.load(Ordering::SeqCst) > 0 {
            if answers.load(Ordering::SeqCst) >= due {
                due = answers.load(Ordering::SeqCst) + BETWEEN;
                interrupt();
            } else {
                std::thread::park();
            }
        }
        let results = threads.into_iter().map(|thread| thread.join().and_then(|result| result));
        results.map(|result| result.unwrap_or_else(|it| std::panic::resume_unwind(it))).collect::<Vec<_>>()
    });
    results.into_iter().collect()
}

/// A chain of exchanges. Each try is an attempt of its own, so that the next one tells what became of the last.
fn walk(runner: &Runner<'_>) -> Outcome {
    let Runner { t, node, .. } = runner;
    let witness = t.node(usize::try_from(runner.number).unwrap_or_default() + 1);
    let base = runner.number * 1_000_000;
    let of = t.grant(base);
    let mut last = t.refresh(base, &of);
    opened(t, *node, &of, std::slice::from_ref(&last))?;
    let mut next = base + 10;
    let mut chain = Vec::new();
    for _ in 0..runner.steps() {
        let mut tries: Vec<(Spend, Vec<StoredToken>)> = Vec::new();
        let answer = patiently(|| {
            next += 10;
            tries.push((t.spend(&last, next), t.successors(next, &of, &last)));
            let (order, successors) = &tries[tries.len() - 1];
            let answer = node.exchange(order, successors);
            runner.answered();
            if answer.is_err() {
                t.note(is_whole(witness, order, successors));
            }
            answer
        })?;
        let mut winners = Vec::new();
        for (number, (order, successors)) in tries.iter().enumerate() {
            winners.extend(is_whole(witness, order, successors)?.then_some(number));
        }
        let is_last = winners == [tries.len() - 1];
        let fits = winners.len() == 1
            && match answer {
                Exchange::Done => is_last,
                Exchange::AlreadySpent => !is_last,
                Exchange::Dead => false,
            };
        if !fits {
            let observed = format!("{answer:?} after {} tries, of which {winners:?} happened", tries.len());
            return Err(Failure::new("one of the tries happened, and the answers fit to that", observed));
        }
        let winner = tries.swap_remove(winners[0]);
        last = winner.1[1].clone();
        chain.push(winner);
    }
    for (order, successors) in &chain {
        let is_there = is_whole(witness, order, successors)?;
        t.expect(is_there, "what was answered Done is there after the storm", "it is not");
    }
    Ok(())
}

/// Opens a grant, however often it takes.
fn opened(t: &Trial<'_>, node: Node<'_>, of: &Grant, tokens: &[StoredToken]) -> Outcome {
    let mut tries = 0;
    patiently(|| {
        tries += 1;
        let error = match node.try_open(of, tokens) {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        // Two looks: it may happen during the first.
        for is_second in [false, true] {
            match patiently(|| node.count(tokens))? {
                0 => break,
                // An earlier try, or this one, was answered by an error and happened.
                all if all == tokens.len() => return Ok(()),
                some if is_second => {
                    t.report("a grant is opened with all its tokens or none", format!("{some} are stored"));
                    return Ok(());
                }
                _ => {}
            }
        }
        Err(Failure::failed(&format!("open_grant, tried {tries} times over half a minute,"), &error))
    })
}

fn open_and_revoke(runner: &Runner<'_>) -> Outcome {
    let Runner { t, node, .. } = runner;
    let witness = t.node(usize::try_from(runner.number).unwrap_or_default() + 1);
    let mut all = Vec::new();
    for step in 0..runner.steps() {
        let base = runner.number * 1_000_000 + step * 10;
        let of = t.grant(base);
        let tokens: Vec<_> = (0..3).map(|number| t.refresh(base + number, &of)).collect();
        opened(t, *node, &of, &tokens)?;
        runner.answered();
        if step % 2 == 0 {
            patiently(|| node.revoke(&GrantSelector::Id(of.id), t.at(HOUR)))?;
            runner.answered();
        }
        let revoked_at = (step % 2 == 0).then(|| t.at(HOUR));
        all.extend(tokens.into_iter().map(|token| (token, revoked_at)));
        // Right away, and again when all is over.
        for (token, revoked_at) in &all[all.len() - 3..] {
            t.expect_eq("when a grant was revoked", revoked_at, &patient_row(witness, token.hash)?.1.revoked_at);
        }
    }
    for (token, revoked_at) in &all {
        let found = patient_row(witness, token.hash)?.1.revoked_at;
        t.expect_eq("when a grant was revoked, after the storm", revoked_at, &found);
    }
    Ok(())
}

/// Two runners for one token after the other; each repeats its own attempt until it gets an answer.
fn contest(runner: &Runner<'_>) -> Outcome {
    let Runner { t, node, number, .. } = runner;
    let witness = t.node(usize::try_from(*number).unwrap_or_default() + 1);
    for step in 0..runner.steps() {
        let base = number / 2 * 1_000_000 + step * 100;
        let of = t.grant(base);
        let token = t.refresh(base, &of);
        opened(t, *node, &of, std::slice::from_ref(&token))?;
        let by = |side: u64| base + 10 + side * 10;
        let side = number % 2;
        let (order, successors) = (t.spend(&token, by(side)), t.successors(by(side), &of, &token));
        let answer = patiently(|| {
            let answer = node.exchange(&order, &successors);
            runner.answered();
            answer
        })?;
        let spent = patient_row(witness, token.hash)?.0.spent.clone();
        let winner = (0..2).find(|side| spent.as_ref().is_some_and(|spent| spent.attempt == t.attempt(by(*side))));
        let Some(winner) = winner else {
            return Err(Failure::new(
                "one of two attempts has spent the token",
                format!("it was spent by {:?}", spent.map(|spent| spent.attempt)),
            ));
        };
        let expected = if winner == side { Exchange::Done } else { Exchange::AlreadySpent };
        t.expect_eq("the answer to an attempt that was repeated until it got one", &expected, &answer);
    }
    Ok(())
}
