//! Clause 1: what has returned is seen everywhere.

use super::clause::Clause::Linearizable;
use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND};
use super::trial::{Group, Needs, RUNNERS, Trial};
use crate::record::{Grant, StoredToken};
use crate::storage::{Exchange, GrantSelector};

pub(super) const CASES: &[Group] = &[Group {
    clause: Linearizable,
    needs: Needs::Nothing,
    cases: &[
        ("what one node has written is what every node reads next", written_here_is_read_there),
        ("a token that was looked for in vain is found as soon as it is stored", absence_is_not_remembered),
        ("whoever lost a race for a token sees it spent and all its successors right after", losers_see_the_successors),
    ],
}];

pub(super) fn written_here_is_read_there(t: &Trial<'_>) -> Outcome {
    for (number, writer) in (0..).step_by(10).zip(t.nodes()) {
        let of = t.grant(number);
        let old = t.refresh(number, &of);
        let access = t.access(number + 1, &of);
        writer.open(&of, &[old.clone(), access.clone()])?;
        everywhere(t, "finds a token whose grant was opened, and it is unspent", &old, |it, _| it.spent.is_none())?;
        everywhere(t, "sees that a new grant is not revoked", &old, |_, of| of.revoked_at.is_none())?;
        writer.revoke_access_token(access.hash, t.at(SECOND))?;
        everywhere(t, "sees that an access token was revoked", &access, |it, _| it.revoked_at.is_some())?;

        let successors = t.successors(number + 2, &of, &old);
        writer.exchange_done(&t.spend(&old, number), &successors)?;
        let moved = t.at(2 * DAY);
        everywhere(t, "sees that a token was spent", &old, |it, _| it.spent.is_some())?;
        everywhere(t, "sees that the end of its grant was moved", &old, |_, of| of.expires_at == moved)?;
        for reader in t.nodes() {
            for successor in &successors {
                t.expect(
                    reader.has(successor.hash)?,
                    "after a token was spent every node finds its successors",
                    "one node does not",
                );
            }
            let late = reader.exchange(&t.spend(&old, number + 1), &[])?;
            t.expect_eq("what every node answers about a token that was spent", &Exchange::AlreadySpent, &late);
        }

        writer.revoke(&GrantSelector::Id(of.id), t.at(HOUR))?;
        everywhere(t, "sees that a grant was revoked", &successors[1], |_, of| of.revoked_at.is_some())?;
        for reader in t.nodes() {
            let late = reader.exchange(&t.spend(&successors[1], number + 2), &[])?;
            t.expect_eq("what every node answers about a token of a revoked grant", &Exchange::Dead, &late);
        }
    }
    Ok(())
}

/// Every node sees a token as it should be; what a node saw before must not matter, so all are asked after each step.
fn everywhere(
    t: &Trial<'_>,
    what: &str,
    token: &StoredToken,
    is_right: impl Fn(&StoredToken, &Grant) -> bool,
) -> Outcome {
    for reader in t.nodes() {
        let found = reader.find(token.hash)?;
        let is_seen = found.as_ref().is_some_and(|(token, of)| is_right(token, of));
        t.expect(
            is_seen,
            format_args!("every node {what}"),
            match found {
                Some(_) => "one node does not".to_owned(),
                None => "one node does not find the token at all".to_owned(),
            },
        );
    }
    Ok(())
}

fn absence_is_not_remembered(t: &Trial<'_>) -> Outcome {
    let of = t.grant(0);
    let first = t.refresh(0, &of);
    let second = t.refresh(1, &of);
    let nobody_has = |token: &StoredToken| -> Outcome {
        for reader in t.nodes() {
            t.expect(!reader.has(token.hash)?, "a token that was never stored is not found", "it is");
        }
        Ok(())
    };
    let all_have = |token: &StoredToken| -> Outcome {
        for reader in t.nodes() {
            t.expect(reader.has(token.hash)?, "every node finds a token once it is stored", "one does not");
        }
        Ok(())
    };
    nobody_has(&first)?;
    let dead = t.node(1).exchange(&t.spend(&first, 1), &[])?;
    t.expect_eq("what becomes of a token that was never stored", &Exchange::Dead, &dead);
    t.node(0).open(&of, std::slice::from_ref(&first))?;
    all_have(&first)?;
    nobody_has(&second)?;
    t.node(1).exchange_done(&t.spend(&first, 1), std::slice::from_ref(&second))?;
    all_have(&second)?;
    t.node(2).exchange_done(&t.spend(&second, 2), &[])
}

fn losers_see_the_successors(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let base = round * 1_000;
        let (of, old) = t.family(base)?;
        let seen = t.race(round, RUNNERS, |runner, node| -> Outcome<bool> {
            let by = base + runner as u64;
            let _: Exchange =
                node.exchange(&t.spend(&old, by), &t.successors(base + 10 + 10 * runner as u64, &of, &old))?;
            sees_successors(t, node, &of, &old, base)
        });
        for seen in seen {
            t.expect(
                seen?,
                "find shows a token spent, with all its successors, to whoever lost it",
                "it shows an unspent token, or spent without its successors",
            );
        }
    }
    Ok(())
}

/// Whether the token is spent by one of the runners, and everything that one wanted to store is there.
fn sees_successors(t: &Trial<'_>, node: Node<'_>, of: &Grant, old: &StoredToken, base: u64) -> Outcome<bool> {
    let Some(spent) = node.row(old.hash)?.0.spent.clone() else { return Ok(false) };
    let Some(winner) = (0..RUNNERS as u64).find(|runner| t.attempt(base + runner) == spent.attempt) else {
        return Ok(false);
    };
    for successor in t.successors(base + 10 + 10 * winner, of, old) {
        if !node.has(successor.hash)? {
            return Ok(false);
        }
    }
    Ok(true)
}
