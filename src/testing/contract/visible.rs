//! Clause 1: every node sees the effect of a call that has returned.

use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND};
use super::trial::{Named, RUNNERS, Trial};
use crate::record::{Grant, StoredToken};
use crate::storage::{GrantSelector, RedeemOutcome};

pub(super) const CASES: &[Named] = &[
    ("a write at one node is visible to the next read at every node", written_here_is_read_there),
    ("a token is found as soon as it is stored, even if an earlier look-up missed it", absence_is_not_remembered),
    ("the loser of a race for a token sees it spent with all its successors at once", losers_see_the_successors),
];

pub(super) const CASES_OF_PROCESSES: &[Named] =
    &[("a write of one process is visible to the next read of every other process", written_here_is_read_there)];

fn written_here_is_read_there(t: &Trial<'_>) -> Outcome {
    for (number, writer) in (0..).step_by(10).zip(t.nodes()) {
        let of = t.grant(number);
        let old = t.refresh(number, &of);
        let access = t.access(number + 1, &of);
        writer.open(&of, &[old.clone(), access.clone()])?;
        everywhere(t, writer, "a new token that is unspent and whose grant is not revoked", &old, |it, of| {
            it.spent.is_none() && of.revoked_at.is_none()
        })?;
        writer.revoke_access_token(access.hash, t.at(SECOND))?;
        everywhere(t, writer, "a revoked access token", &access, |it, _| it.revoked_at.is_some())?;

        let successors = t.successors(number + 2, &of, &old);
        writer.must_redeem(&t.spend(&old, number), &successors)?;
        everywhere(t, writer, "a spent token and the new end of its grant", &old, |it, of| {
            it.spent.is_some() && of.expires_at == t.at(2 * DAY)
        })?;
        for reader in t.nodes() {
            t.expect_eq(
                "the number of successors of a spent token that each node finds",
                &2,
                &reader.count(&successors)?,
            );
            let late = reader.redeem(&t.spend(&old, number + 1), &[])?;
            t.expect_eq(
                "the result of a redemption of a spent token on each node",
                &RedeemOutcome::AlreadySpent,
                &late,
            );
        }

        writer.revoke(&GrantSelector::Id(of.id), t.at(HOUR))?;
        everywhere(t, writer, "a token of a revoked grant", &successors[1], |_, of| of.revoked_at.is_some())?;
        for reader in t.nodes() {
            let late = reader.redeem(&t.spend(&successors[1], number + 2), &[])?;
            t.expect_eq(
                "the result of a redemption of a token of a revoked grant on each node",
                &RedeemOutcome::Dead,
                &late,
            );
        }
    }
    Ok(())
}

/// Checks that the node that wrote and all other nodes see the new state of a token. All nodes are asked after each
/// step, so that an earlier result can be in a cache.
fn everywhere(
    t: &Trial<'_>,
    writer: Node<'_>,
    what: &str,
    token: &StoredToken,
    is_right: impl Fn(&StoredToken, &Grant) -> bool,
) -> Outcome {
    let seen = writer.row(token.hash)?;
    t.expect(is_right(&seen.0, &seen.1), format_args!("the node that wrote finds {what}"), "it does not");
    t.expect_found(&format!("{what}, as every node finds it"), &seen)
}

fn absence_is_not_remembered(t: &Trial<'_>) -> Outcome {
    let of = t.grant(0);
    let first = t.refresh(0, &of);
    let second = t.refresh(1, &of);
    let all_find = |token: &StoredToken, is_stored: bool| -> Outcome {
        for reader in t.nodes() {
            t.expect_eq("whether each node finds the token", &is_stored, &reader.has(token.hash)?);
        }
        Ok(())
    };
    all_find(&first, false)?;
    let dead = t.node(1).redeem(&t.spend(&first, 1), &[])?;
    t.expect_eq("the result of a redemption of a token that was never stored", &RedeemOutcome::Dead, &dead);
    t.node(0).open(&of, std::slice::from_ref(&first))?;
    all_find(&first, true)?;
    all_find(&second, false)?;
    t.node(1).must_redeem(&t.spend(&first, 1), std::slice::from_ref(&second))?;
    all_find(&second, true)?;
    t.node(2).must_redeem(&t.spend(&second, 2), &[])
}

fn losers_see_the_successors(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let base = round * 1_000;
        let (of, old) = t.family(base)?;
        t.race(round, RUNNERS, |runner, node| {
            let successors = |of_runner: u64| t.successors(base + 10 + 10 * of_runner, &of, &old);
            let runner = runner as u64;
            let _: RedeemOutcome = node.redeem(&t.spend(&old, base + runner), &successors(runner))?;
            // One of the runners has spent it, and must have stored its successors.
            let spent = node.row(old.hash)?.0.spent.as_ref().map(|spent| spent.attempt);
            let winner = (0..RUNNERS as u64).find(|runner| Some(t.attempt(base + runner)) == spent);
            let found = winner.map_or(Ok(0), |winner| node.count(&successors(winner)))?;
            t.expect_eq("the number of successors that a caller finds after it lost the race", &2, &found);
            Ok(())
        })?;
    }
    Ok(())
}
