//! Clause 4: cancelled calls, as they happen when clients close their connections.
//!
//! A call is polled n times and dropped, for every n until it completes. The database may still be working on it: a
//! commit may be on its way, or a rollback may wait for its connection. So the cases do not wait for a certain time.
//! They read the rows in an order in which an atomic step never looks half done. Then another attempt redeems the same
//! token. The storage can't reply to it before the outcome of the first attempt is decided.

use super::node::{Failure, Node, Outcome, patient_row, patiently};
use super::records::{DAY, HOUR, SECOND};
use super::trial::{Named, Trial};
use crate::record::{Grant, StoredToken};
use crate::storage::{GrantSelector, Opened, RedeemOutcome, Redemption};

/// The maximum number of polls after which a call is cancelled.
pub(super) const MOST_POLLS: usize = 40;

pub(super) const CASES: &[Named] = &[
    ("a redemption cancelled at any await happens whole or not at all", redemptions),
    ("an `open_grant` cancelled at any await happens whole or not at all", openings),
    ("a revocation or purge cancelled at any await is complete when repeated", revocations_and_purges),
];

/// Returns `true` if this attempt has spent the token and stored all successors, and `false` if it has done nothing.
/// Fails if it was done in part. It reads the token twice, so that it also sees a step that happens meanwhile.
pub(super) fn is_whole(node: Node<'_>, order: &Redemption, successors: &[StoredToken]) -> Outcome<bool> {
    let is_spent = || -> Outcome<bool> {
        let spent = patient_row(node, order.token)?.0.spent.clone();
        Ok(spent.is_some_and(|spent| spent.attempt == order.attempt))
    };
    let count = || patiently(|| node.count(successors));
    let was_spent = is_spent()?;
    let mut there = count()?;
    if !was_spent && there > 0 {
        if !is_spent()? {
            return Err(Failure::new("an unspent token has no successors", format!("{there} are stored")));
        }
        there = count()?;
    }
    match there {
        0 if !was_spent => Ok(false),
        all if all == successors.len() => Ok(true),
        some => Err(Failure::new(
            format!("a spent token has all of its {} successors", successors.len()),
            format!("{some} are stored"),
        )),
    }
}

fn redemptions(t: &Trial<'_>) -> Outcome {
    for polls in 0..MOST_POLLS {
        let base = polls as u64 * 1_000;
        let (of, old) = t.family(base)?;
        let (order, successors) = (t.spend(&old, base), t.successors(base + 10, &of, &old));
        let other = (t.spend(&old, base + 1), t.successors(base + 20, &of, &old));
        let answer = t.node(0).give_up(polls, t.node(0).storage.redeem(&order, &successors));
        is_whole(t.node(1), &order, &successors)?;

        // After this call, the outcome of the first attempt is decided.
        let second = patiently(|| t.node(2).redeem(&other.0, &other.1))?;
        let is_first = is_whole(t.node(1), &order, &successors)?;
        let is_second = is_whole(t.node(0), &other.0, &other.1)?;
        let expected = if is_first { RedeemOutcome::AlreadySpent } else { RedeemOutcome::Done };
        t.expect_eq("the result of an attempt after a cancelled one that may have happened", &expected, &second);
        t.expect_eq("whether exactly one of the two attempts happened", &!is_first, &is_second);
        if let Some(answer) = answer {
            let answer = answer.map_err(|error| Failure::failed("redeem", &error))?;
            let is_done = answer == RedeemOutcome::Done;
            t.expect(is_done && is_first, "a completed redemption is Done and stays", "it is not");
            break;
        }
    }
    Ok(())
}

/// Returns `true` if all tokens of a grant are stored, and `false` if none is. Fails if only some are. It counts twice,
/// so that it also sees an opening that happens meanwhile.
fn is_open(node: Node<'_>, tokens: &[StoredToken]) -> Outcome<bool> {
    let stored = || patiently(|| node.count(tokens));
    let found = if stored()? == 0 { 0 } else { stored()? };
    if found == 0 || found == tokens.len() {
        return Ok(found > 0);
    }
    let expected = format!("a grant is opened with all of its {} tokens or none", tokens.len());
    Err(Failure::new(expected, format!("{found} are stored")))
}

/// Opens a grant and retries on errors. An error may mean that an earlier attempt has opened it or is still running.
pub(super) fn open_patiently(node: Node<'_>, witness: Node<'_>, of: &Grant, tokens: &[StoredToken]) -> Outcome {
    patiently(|| {
        let Err(error) = node.try_open(of, tokens) else { return Ok(Ok(())) };
        match is_open(witness, tokens) {
            Ok(false) => Err(Failure::failed("open_grant, retried for half a minute,", &error)),
            other => Ok(other.map(drop)),
        }
    })?
}

fn openings(t: &Trial<'_>) -> Outcome {
    for polls in 0..MOST_POLLS {
        let base = polls as u64 * 1_000;
        let of = t.grant(base);
        let tokens: Vec<_> = (0..4).map(|number| t.access(base + number, &of)).collect();
        let grant = std::sync::Arc::new(of.clone());
        let answer = t.node(0).give_up(polls, t.node(0).storage.open_grant(&grant, &tokens));
        is_open(t.node(1), &tokens)?;
        open_patiently(t.node(2), t.node(3), &of, &tokens)?;
        t.expect(is_open(t.node(1), &tokens)?, "an opened grant has all its tokens", "it has none");
        if let Some(answer) = answer {
            let opened = answer.map_err(|error| Failure::failed("open_grant that was not cancelled", &error))?;
            t.expect_eq("its result", &Opened::Done, &opened);
            break;
        }
    }
    Ok(())
}

fn revocations_and_purges(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    let which = GrantSelector::SubjectAndClient(t.subject("alice"), t.client("app"));
    for polls in 0..MOST_POLLS {
        let base = polls as u64 * 1_000;
        let families: Vec<_> = (0..4).map(|number| t.family(base + number)).collect::<Outcome<_>>()?;
        let access = t.access(base + 10, &families[0].0);
        let order = Redemption { consume: false, seed: None, ..t.spend(&families[0].1, base) };
        t.node(0).must_redeem(&order, std::slice::from_ref(&access))?;

        let storage = t.node(0).storage;
        let one = t.node(0).give_up(polls, storage.revoke_access_token(&access.hash, t.at(SECOND)));
        patiently(|| t.node(1).revoke_access_token(access.hash, t.at(SECOND)))?;
        let revoked = t.node(2).row(access.hash)?.0.revoked_at;
        t.expect_eq("the revoked_at of the access token", &Some(t.at(SECOND)), &revoked);

        let all = t.node(0).give_up(polls, storage.revoke_grants(&which, t.at(HOUR)));
        patiently(|| t.node(1).revoke(&which, t.at(HOUR)))?;
        for (_, token) in &families {
            let revoked = t.node(2).row(token.hash)?.1.revoked_at;
            t.expect_eq("the revoked_at of the grant", &Some(t.at(HOUR)), &revoked);
        }

        let purge = t.node(0).give_up(polls, storage.purge_expired(t.at(DAY), 3));
        patiently(|| {
            t.node(1).purge_all(t.at(2 * DAY), 100)?;
            // A purge may skip rows that another call uses, and the cancelled call may still be running.
            for (_, token) in &families {
                if t.node(2).has(token.hash)? {
                    return Err(Failure::new("no token is left after a repeated purge", "one is"));
                }
            }
            Ok(())
        })?;
        if one.is_some() && all.is_some() && purge.is_some() {
            break;
        }
    }
    Ok(())
}
