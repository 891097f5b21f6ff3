//! Clauses 3 and 4 with interruptions: connections are closed, or the database is restarted.
//!
//! Many runners work on separate chains. After every few results, the suite calls the `interrupt` closure. Errors are
//! no violations here. The cases check the stored rows afterwards, and the result of the next call.

use std::sync::mpsc::{Sender, channel};

use super::given_up::{is_whole, open_patiently};
use super::node::{Failure, Node, Outcome, patient_row, patiently};
use super::records::HOUR;
use super::trial::{Named, RUNNERS, Trial};
use crate::record::StoredToken;
use crate::storage::{GrantSelector, RedeemOutcome, Redemption};

/// The number of steps of each runner, and the number of results between two interruptions.
const STEPS: u64 = 40;
const BETWEEN: usize = 16;

pub(super) const CRASHES: &[Named] = &[
    ("after an interruption each redemption is whole or absent, and answered ones stay", |t| storm(t, walk)),
    ("after an interruption each grant is whole or absent, and a repeated revocation ends it", |t| {
        storm(t, open_and_revoke)
    }),
];

pub(super) const REPEATED_ATTEMPTS: &[Named] =
    &[("an attempt repeated after an interruption is done, unless another attempt won", |t| storm(t, contest))];

/// The context of a runner.
pub(super) struct Runner<'a> {
    pub(super) t: &'a Trial<'a>,
    pub(super) number: u64,
    /// The node that makes the calls.
    node: Node<'a>,
    /// The node that checks the rows afterwards.
    witness: Node<'a>,
    /// Reports that another call has returned.
    answers: &'a Sender<()>,
}

impl Runner<'_> {
    /// Reports that another call has returned.
    pub(super) fn answered(&self) {
        // It fails only after the `interrupt` closure has panicked, which ends the case.
        self.answers.send(()).ok();
    }

    pub(super) fn steps(&self) -> u64 {
        STEPS * u64::from(self.t.setup.rounds)
    }
}

pub(super) fn storm(t: &Trial<'_>, run: fn(&Runner<'_>) -> Outcome) -> Outcome {
    let Some(interrupt) = t.setup.interrupt else { return Ok(()) };
    let (sender, answers) = channel();
    std::thread::scope(|scope| {
        // Runs until the race is over and the sender is dropped.
        scope.spawn(move || {
            while answers.iter().take(BETWEEN).count() == BETWEEN {
                interrupt();
                // Results during the interruption do not count.
                answers.try_iter().for_each(drop);
            }
        });
        // In odd rounds, the runners use all nodes.
        t.race(1, RUNNERS, move |runner, node| {
            run(&Runner { t, number: runner as u64, node, witness: t.node(runner + 1), answers: &sender })
        })
    })?;
    Ok(())
}

/// A chain of redemptions. Each try is a new attempt, so that the next one shows the outcome of the last one.
fn walk(runner: &Runner<'_>) -> Outcome {
    let Runner { t, node, witness, .. } = *runner;
    let base = runner.number * 1_000_000;
    let of = t.grant(base);
    let mut last = t.refresh(base, &of);
    open_patiently(node, node, &of, std::slice::from_ref(&last))?;
    let mut next = base + 10;
    let mut chain = Vec::new();
    for _ in 0..runner.steps() {
        let mut tries: Vec<(Redemption, Vec<StoredToken>)> = Vec::new();
        let answer = patiently(|| {
            next += 10;
            tries.push((t.spend(&last, next), t.successors(next, &of, &last)));
            let (order, successors) = &tries[tries.len() - 1];
            let answer = node.redeem(order, successors);
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
        let expected = if is_last { RedeemOutcome::Done } else { RedeemOutcome::AlreadySpent };
        if winners.len() != 1 || answer != expected {
            let observed = format!("{answer:?} after {} attempts, of which {winners:?} happened", tries.len());
            return Err(Failure::new("one of the attempts happened, and the results agree with it", observed));
        }
        let winner = tries.swap_remove(winners[0]);
        last = winner.1[1].clone();
        chain.push(winner);
    }
    for (order, successors) in &chain {
        let is_there = is_whole(witness, order, successors)?;
        t.expect(is_there, "a redemption that returned Done is stored after the interruptions", "it is not");
    }
    Ok(())
}

fn open_and_revoke(runner: &Runner<'_>) -> Outcome {
    let Runner { t, node, witness, .. } = *runner;
    let mut all = Vec::new();
    for step in 0..runner.steps() {
        let base = runner.number * 1_000_000 + step * 10;
        let of = t.grant(base);
        let tokens: Vec<_> = (0..3).map(|number| t.refresh(base + number, &of)).collect();
        open_patiently(node, node, &of, &tokens)?;
        runner.answered();
        let revoked_at = (step % 2 == 0).then(|| t.at(HOUR));
        if let Some(at) = revoked_at {
            patiently(|| node.revoke(&GrantSelector::Id(of.id), at))?;
            runner.answered();
        }
        // Checks the grant now, and again at the end.
        for token in tokens {
            t.expect_eq("the revoked_at of a grant", &revoked_at, &patient_row(witness, token.hash)?.1.revoked_at);
            all.push((token, revoked_at));
        }
    }
    for (token, revoked_at) in &all {
        let found = patient_row(witness, token.hash)?.1.revoked_at;
        t.expect_eq("the revoked_at of a grant after the interruptions", revoked_at, &found);
    }
    Ok(())
}

/// Two runners redeem the same tokens, one token after the other. Each repeats its attempt until it gets a result.
fn contest(runner: &Runner<'_>) -> Outcome {
    let Runner { t, node, witness, number, .. } = *runner;
    let (pair, side) = (number / 2, number % 2);
    for step in 0..runner.steps() {
        let base = pair * 1_000_000 + step * 100;
        let of = t.grant(base);
        let token = t.refresh(base, &of);
        open_patiently(node, node, &of, std::slice::from_ref(&token))?;
        let by = |side: u64| base + 10 + side * 10;
        let (order, successors) = (t.spend(&token, by(side)), t.successors(by(side), &of, &token));
        let answer = patiently(|| {
            let answer = node.redeem(&order, &successors);
            runner.answered();
            answer
        })?;
        let spent = patient_row(witness, token.hash)?.0.spent.as_ref().map(|spent| spent.attempt);
        let expected = if spent == Some(order.attempt) { RedeemOutcome::Done } else { RedeemOutcome::AlreadySpent };
        t.expect_eq("the result of an attempt that was repeated until it succeeded", &expected, &answer);
        let is_by_one = [0, 1].map(|side| Some(t.attempt(by(side)))).contains(&spent);
        t.expect(is_by_one, "one of the two attempts has spent the token", format_args!("it was spent by {spent:?}"));
    }
    Ok(())
}
