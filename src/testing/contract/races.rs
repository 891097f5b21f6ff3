//! Clause 2: many that want the same at once.

use super::clause::Clause::Atomic;
use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Case, Needs, RUNNERS, Trial};
use crate::record::{Grant, StoredToken, TokenKind};
use crate::storage::{Exchange, Spend};

const COMPARE_AND_SET: &str = "decide and write in one step: lock the row first (`SELECT .. FOR UPDATE`, \
     `BEGIN IMMEDIATE`), or write under the condition that it is unspent and count the rows";

pub(super) const CASES: &[Case] = &[
    Case {
        clause: Atomic,
        name: "of many that race for one token exactly one is done, and only its successors are stored",
        cost: "a code redeemed twice: whoever copied it gets tokens, and nobody notices",
        remedy: COMPARE_AND_SET,
        needs: Needs::Nothing,
        run: one_of_many_is_done,
    },
    Case {
        clause: Atomic,
        name: "of many that race along a chain of tokens each token is spent once, and there is one lineage",
        cost: "a stolen refresh token lives beside its owner's, and both go on for ever",
        remedy: COMPARE_AND_SET,
        needs: Needs::Nothing,
        run: one_lineage,
    },
    Case {
        clause: Atomic,
        name: "many that use a token without consuming it are all done, and none is lost",
        cost: "of clients that refresh in parallel some get tokens that do not work",
        remedy: "insert all successors; let a conflict of transactions be repeated, for it has rolled back",
        needs: Needs::Nothing,
        run: all_uses_are_stored,
    },
    Case {
        clause: Atomic,
        name: "a family is either purged or used, and neither in part",
        cost: "a client gets tokens whose grant is gone, or a replay can't be recognised any more",
        remedy: "let the purge lock the grant, or delete under a condition on its end, in one transaction with its tokens",
        needs: Needs::Nothing,
        run: purged_or_used,
    },
];

fn one_of_many_is_done(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(30) {
        let base = round * 1_000;
        let of = t.grant(base);
        let kind = if round % 4 < 2 { TokenKind::AuthorizationCode } else { TokenKind::RefreshToken };
        let old = t.token(base, kind, &of);
        t.node(0).open(&of, std::slice::from_ref(&old))?;
        let successors = |runner: usize| t.successors(base + 10 + 10 * runner as u64, &of, &old);
        let answers = t.race(round, RUNNERS, |runner, node| {
            node.exchange(&t.spend(&old, base + runner as u64), &successors(runner))
        });
        let answers = answers.into_iter().collect::<Outcome<Vec<_>>>()?;
        let done = answers.iter().filter(|answer| **answer == Exchange::Done).count();
        t.holds(done == 1, format!("of {RUNNERS} that race for one token exactly one is Done"), || {
            format!("{done} are, in round {round}")
        });
        let dead = answers.iter().filter(|answer| **answer == Exchange::Dead).count();
        t.same("how many of those who lost are told that the token is dead", &0, &dead);
        for (runner, answer) in answers.iter().enumerate() {
            for successor in successors(runner) {
                let is_stored = t.node(runner).has(successor.hash)?;
                t.same(
                    &format!("whether a successor is stored by one who got {answer:?}"),
                    &(*answer == Exchange::Done),
                    &is_stored,
                );
            }
        }
    }
    Ok(())
}

/// Each runner presents the newest token it knows, with the successors that anyone would store, until the chain ends.
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
                let answer = node.exchange(&t.spend(&last, base + step * 20 + runner), std::slice::from_ref(&next))?;
                done += u64::from(answer == Exchange::Done);
                // Whoever lost goes on with the winner's successor, as a repeated refresh does.
                let spent = node.row(last.hash)?.0.spent;
                let winner = (0..RUNNERS as u64).find(|winner| {
                    spent.as_ref().is_some_and(|spent| spent.attempt == t.attempt(base + step * 20 + winner))
                });
                let Some(winner) = winner else { return Ok(done) };
                last = link(step, winner);
            }
            Ok(done)
        };
        let done = t.race(round, RUNNERS, walk).into_iter().sum::<Outcome<u64>>()?;
        t.same(&format!("how often a chain of {STEPS} tokens was spent"), &STEPS, &done);
        let mut stored = 0;
        for step in 1..=STEPS {
            for runner in 0..RUNNERS as u64 {
                stored += u64::from(t.node(0).has(link(step, runner).hash)?);
            }
        }
        t.same("how many successors are stored", &STEPS, &stored);
    }
    Ok(())
}

fn all_uses_are_stored(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(5) {
        let base = round * 1_000;
        let (of, token) = t.family(base)?;
        let end = |runner: usize| t.at(DAY) + HOUR * u32::try_from(runner).unwrap_or_default();
        let used = t.race(round, RUNNERS, |runner, node| {
            let by = base + runner as u64;
            let (at, grant_expires_at) = (t.at(SECOND) + TICK * u32::try_from(runner).unwrap_or_default(), end(runner));
            let order = Spend { consume: false, seed: None, at, grant_expires_at, ..t.spend(&token, by) };
            node.exchange_done(&order, &[t.access(base + 10 + runner as u64, &of)])
        });
        used.into_iter().collect::<Outcome<Vec<_>>>()?;
        for runner in 0..RUNNERS as u64 {
            t.same("whether its access token is stored", &true, &t.node(1).has(t.hash(base + 10 + runner))?);
        }
        let grant = t.node(1).row(token.hash)?.1;
        t.same("the end of the grant", &end(RUNNERS - 1), &grant.expires_at);
    }
    Ok(())
}

fn purged_or_used(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for round in t.rounds(20) {
        let base = round * 1_000;
        let of = t.grant(base);
        let tokens: Vec<_> =
            (0..6).map(|number| StoredToken { expires_at: t.at(5 * DAY), ..t.refresh(base + number, &of) }).collect();
        t.node(0).open(&of, &tokens)?;
        let late = t.successors(base + 10, &of, &tokens[0]);
        // The clock of the one who uses it is behind: for the others the grant has ended.
        let order = Spend { at: t.at(DAY - TICK), seed: None, ..t.spend(&tokens[0], base) };
        let answers = t.race(round, 4, |runner, node| -> Outcome<Option<Exchange>> {
            if runner == 0 {
                return node.exchange(&order, &late).map(Some);
            }
            node.purge(t.at(DAY), runner * 2)?;
            Ok(None)
        });
        let answers = answers.into_iter().collect::<Outcome<Vec<_>>>()?;
        let is_used = answers[0] == Some(Exchange::Done);
        t.holds(answers[0] != Some(Exchange::AlreadySpent), "a token is not spent by a purge", || {
            "it is AlreadySpent".to_owned()
        });
        t.node(0).purge_all(t.at(DAY), 100)?;
        // Of what was used, one expired access token may go.
        let lasting: Vec<&StoredToken> = tokens.iter().chain(&late[1..]).collect();
        let there = still_there(t.node(1), &lasting, &of)?;
        let expected = if is_used { lasting.len() } else { 0 };
        t.same(
            &format!("tokens left of a family that was {}", if is_used { "used" } else { "purged" }),
            &expected,
            &there,
        );
        t.node(0).purge_all(t.at(9 * DAY), 100)?;
    }
    Ok(())
}

fn still_there(node: Node<'_>, tokens: &[&StoredToken], of: &Grant) -> Outcome<usize> {
    let mut there = 0;
    for token in tokens {
        there += usize::from(node.find(token.hash)?.is_some_and(|(_, grant)| grant.id == of.id));
    }
    Ok(there)
}
