//! Clause 3: a repeated attempt that finds its own work succeeds.

use super::given_up::MOST_POLLS;
use super::node::{Outcome, patiently};
use super::records::{DAY, HOUR};
use super::trial::{Named, RUNNERS, Trial};
use crate::storage::{RedeemOutcome, Redemption};

pub(super) const CASES: &[Named] = &[
    ("a repeated attempt recognises its own write, and answers `Done` without another write", its_own_work),
    ("parallel copies of one attempt are all done and written once", many_times_at_once),
    ("an attempt that was cancelled at any await and is repeated is done", given_up_and_repeated),
];

fn its_own_work(t: &Trial<'_>) -> Outcome {
    let (of, old) = t.family(1)?;
    let order = t.spend(&old, 1);
    let (successors, late) = (t.successors(10, &of, &old), t.successors(20, &of, &old));
    t.node(0).must_redeem(&order, &successors)?;
    let before = t.node(0).row(old.hash)?;
    // The repeated attempt has a later time, after the token has expired, and a different end of the grant.
    let again = Redemption { at: t.at(DAY + HOUR), grant_expires_at: t.at(9 * DAY), ..order.clone() };
    for node in t.nodes() {
        for order in [&order, &again] {
            let answer = node.redeem(order, &successors)?;
            t.expect_eq("the result of a repeated attempt", &RedeemOutcome::Done, &answer);
        }
        let answer = node.redeem(&t.spend(&old, 2), &late)?;
        t.expect_eq("the result of another attempt", &RedeemOutcome::AlreadySpent, &answer);
    }
    t.expect_found("a token whose attempt was repeated, which must not change", &before)?;
    t.expect_eq("successors stored of the attempt that was first", &2, &t.node(1).count(&successors)?);
    t.expect_eq("successors stored of attempts that came too late", &0, &t.node(1).count(&late)?);
    Ok(())
}

fn many_times_at_once(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(10) {
        let base = round * 1_000;
        let (of, old) = t.family(base)?;
        let order = t.spend(&old, base);
        let successors = t.successors(base + 10, &of, &old);
        for answer in t.race(round, RUNNERS, |_, node| node.redeem(&order, &successors))? {
            t.expect_eq("the result of each copy of an attempt", &RedeemOutcome::Done, &answer);
        }
        t.expect_eq("how many of its two successors are stored", &2, &t.node(1).count(&successors)?);
    }
    Ok(())
}

fn given_up_and_repeated(t: &Trial<'_>) -> Outcome {
    for polls in 0..MOST_POLLS {
        let base = polls as u64 * 1_000;
        let (of, old) = t.family(base)?;
        let (order, successors) = (t.spend(&old, base), t.successors(base + 10, &of, &old));
        let answer = t.node(0).give_up(polls, t.node(0).storage.redeem(&order, &successors));
        let again = patiently(|| t.node(1).redeem(&order, &successors))?;
        t.expect_eq("the result of a repeated attempt after a cancellation", &RedeemOutcome::Done, &again);
        if answer.is_some() {
            break;
        }
    }
    Ok(())
}
