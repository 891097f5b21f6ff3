//! Clause 4: calls that are given up half-way, as happens to every server whose clients hang up.
//!
//! A call is polled n times and dropped, for every n until it completes. What it began may still be under way in a
//! database: a commit that was sent, a rollback that waits for its connection. So no case waits for a certain time.
//! Instead the rows are read in an order in which an atomic step can't look half done, whenever it happens; and then the
//! same token is wanted by another attempt, whose answer the storage can't give before it knows what became of the first.

use super::node::{Failure, Node, Outcome, patient_row, patiently};
use super::records::{DAY, HOUR, SECOND};
use super::trial::{Named, Trial};
use crate::record::{Grant, StoredToken};
use crate::storage::{GrantSelector, Opened, RedeemOutcome, Redemption};

/// After how many polls the suite gives up giving up.
pub(super) const MOST_POLLS: usize = 40;

pub(super) const CASES: &[Named] = &[
    ("a redemption cancelled at any await happens whole or not at all", redemptions),
    ("an `open_grant` cancelled at any await happens whole or not at all", openings),
    ("a revocation or purge cancelled at any await is complete when repeated", revocations_and_purges),
];

/// Whether a token is spent by this attempt together with all its successors (`true`), or none of it (`false`). An error if it
/// is anything between. A step that happens while this reads is seen in the end, because it reads the token once more.
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

        // From here on it is decided.
        let second = patiently(|| t.node(2).redeem(&other.0, &other.1))?;
        let is_first = is_whole(t.node(1), &order, &successors)?;
        let is_second = is_whole(t.node(0), &other.0, &other.1)?;
        let expected = if is_first { RedeemOutcome::AlreadySpent } else { RedeemOutcome::Done };
        t.expect_eq("the answer to an attempt after one that was given up and may have happened", &expected, &second);
        t.expect_eq("whether that attempt happened, if the one before it did or did not", &!is_first, &is_second);
        if let Some(answer) = answer {
            let answer = answer.map_err(|error| Failure::failed("redeem", &error))?;
            let is_done = answer == RedeemOutcome::Done;
            t.expect(is_done && is_first, "a redemption that completed is Done, and stays", "it is not");
            break;
        }
    }
    Ok(())
}

/// Whether all tokens of a grant are stored (`true`), or none (`false`). An error if it is anything between. An opening that
/// happens while this counts has happened at the second look.
fn is_open(node: Node<'_>, tokens: &[StoredToken]) -> Outcome<bool> {
    let stored = || patiently(|| node.count(tokens));
    let found = if stored()? == 0 { 0 } else { stored()? };
    if found == 0 || found == tokens.len() {
        return Ok(found > 0);
    }
    let expected = format!("a grant is opened with all of its {} tokens or none", tokens.len());
    Err(Failure::new(expected, format!("{found} are stored")))
}

/// Opens a grant, however often it takes: an error says that it is open, or that the storage is busy with an earlier try.
pub(super) fn open_patiently(node: Node<'_>, witness: Node<'_>, of: &Grant, tokens: &[StoredToken]) -> Outcome {
    patiently(|| {
        let Err(error) = node.try_open(of, tokens) else { return Ok(Ok(())) };
        match is_open(witness, tokens) {
            Ok(false) => Err(Failure::failed("open_grant, tried over and over for half a minute,", &error)),
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
        t.expect(is_open(t.node(1), &tokens)?, "a grant that was opened has all its tokens", "it has none");
        if let Some(answer) = answer {
            let opened = answer.map_err(|error| Failure::failed("open_grant that was not given up", &error))?;
            t.expect_eq("what it returned", &Opened::Done, &opened);
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
        t.expect_eq("when the access token was revoked", &Some(t.at(SECOND)), &revoked);

        let all = t.node(0).give_up(polls, storage.revoke_grants(&which, t.at(HOUR)));
        patiently(|| t.node(1).revoke(&which, t.at(HOUR)))?;
        for (_, token) in &families {
            let revoked = t.node(2).row(token.hash)?.1.revoked_at;
            t.expect_eq("when the grant was revoked", &Some(t.at(HOUR)), &revoked);
        }

        let purge = t.node(0).give_up(polls, storage.purge_expired(t.at(DAY), 3));
        patiently(|| {
            t.node(1).purge_all(t.at(2 * DAY), 100)?;
            // A purge may step round rows that another call works on, as the one that was given up still may.
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
