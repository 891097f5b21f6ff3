//! Clause 2: races for the same token.

use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Named, RUNNERS, Trial};
use crate::record::{StoredToken, TokenKind};
use crate::storage::{RedeemOutcome, Redemption};

pub(super) const CASES: &[Named] = &[
    ("many redemptions race for one token: one is done, and only its successors are stored", one_of_many_is_done),
    ("many redemptions race along a chain of tokens: each token is spent once, in one lineage", one_lineage),
    ("parallel redemptions that do not consume the token are all done, and none is lost", all_uses_are_stored),
];

pub(super) const CASES_OF_PROCESSES: &[Named] = &[(
    "many processes race for one token: one redemption is done, and only its successors are stored",
    one_of_many_is_done,
)];

fn one_of_many_is_done(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(30) {
        let base = round * 1_000;
        let of = t.grant(base);
        let kind = if round % 4 < 2 { TokenKind::AuthorizationCode } else { TokenKind::RefreshToken };
        let old = t.token(base, kind, &of);
        t.node(0).open(&of, std::slice::from_ref(&old))?;
        let successors = |runner: usize| t.successors(base + 10 + 10 * runner as u64, &of, &old);
        let answers = t.race(round, RUNNERS, |runner, node| {
            node.redeem(&t.spend(&old, base + runner as u64), &successors(runner))
        })?;
        let those_that_got = |it: RedeemOutcome| answers.iter().filter(|answer| **answer == it).count();
        t.expect_eq("the number of racing redemptions that return Done", &1, &those_that_got(RedeemOutcome::Done));
        t.expect_eq("the number of losers that get Dead", &0, &those_that_got(RedeemOutcome::Dead));
        for (runner, answer) in answers.iter().enumerate() {
            let expected = if *answer == RedeemOutcome::Done { 2 } else { 0 };
            let found = t.node(runner).count(&successors(runner))?;
            t.expect_eq(&format!("successors stored by a caller that got {answer:?}"), &expected, &found);
        }
    }
    Ok(())
}

/// Each runner redeems the newest token that it knows, until the chain ends. All runners store the same successors.
fn one_lineage(t: &Trial<'_>) -> Outcome {
    const STEPS: u64 = 12;
    for round in t.rounds(3) {
        let base = round * 1_000;
        let of = t.grant(base);
        let link = |step: u64, runner: u64| t.refresh(base + step * 20 + runner, &of);
        t.node(0).open(&of, &[link(0, 0)])?;
        let walk = |runner: usize, node: Node<'_>| -> Outcome<u64> {
            let (mut done, mut last) = (0, link(0, 0));
            for step in 1..=STEPS {
                let runner = runner as u64;
                let next = StoredToken { parent: Some(last.hash), ..link(step, runner) };
                let answer = node.redeem(&t.spend(&last, base + step * 20 + runner), std::slice::from_ref(&next))?;
                done += u64::from(answer == RedeemOutcome::Done);
                // A loser continues with the winner's successor, as a repeated refresh does.
                // If a loser does not see it, clause 1 is violated, and the winner continues.
                let spent = node.find(last.hash)?.and_then(|(token, _)| token.spent.clone());
                let winner = (0..RUNNERS as u64).find(|winner| {
                    spent.as_ref().is_some_and(|spent| spent.attempt == t.attempt(base + step * 20 + winner))
                });
                let Some(winner) = winner else { return Ok(done) };
                last = link(step, winner);
            }
            Ok(done)
        };
        let done: u64 = t.race(round, RUNNERS, walk)?.iter().sum();
        t.expect_eq(&format!("the number of redemptions of a chain of {STEPS} tokens"), &STEPS, &done);
        let places = (1..=STEPS).flat_map(|step| (0..RUNNERS as u64).map(move |runner| (step, runner)));
        let all: Vec<_> = places.map(|(step, runner)| link(step, runner)).collect();
        t.expect_eq("the number of stored successors", &STEPS, &(t.node(0).count(&all)? as u64));
    }
    Ok(())
}

fn all_uses_are_stored(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(5) {
        let base = round * 1_000;
        let (of, token) = t.family(base)?;
        let successors: Vec<_> = (0..RUNNERS as u64).map(|runner| t.access(base + 10 + runner, &of)).collect();
        let end = |runner: usize| t.at(DAY) + HOUR * u32::try_from(runner).unwrap_or_default();
        t.race(round, RUNNERS, |runner, node| {
            let by = base + runner as u64;
            let (at, grant_expires_at) = (t.at(SECOND) + TICK * u32::try_from(runner).unwrap_or_default(), end(runner));
            let order = Redemption { consume: false, seed: None, at, grant_expires_at, ..t.spend(&token, by) };
            node.must_redeem(&order, std::slice::from_ref(&successors[runner]))
        })?;
        t.expect_eq("the number of access tokens that are stored", &RUNNERS, &t.node(1).count(&successors)?);
        let grant = t.node(1).row(token.hash)?.1;
        t.expect_eq("the end of the grant", &end(RUNNERS - 1), &grant.expires_at);
    }
    Ok(())
}
