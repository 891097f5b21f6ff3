//! Clause 7: races of revocations with each other, with redemptions, and with the opening of grants.

use std::collections::BTreeSet;
use std::sync::Mutex;

use time::OffsetDateTime;

use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Named, RUNNERS, Trial};
use crate::record::{Grant, StoredToken};
use crate::storage::{GrantSelector, RedeemOutcome, Redemption};

pub(super) const CASES: &[Named] = &[
    ("a grant revoked while its tokens are redeemed is dead when the revocation returns", revoked_while_used),
    ("a revocation by subject covers every grant that was opened before it began", revoked_while_opened),
    ("parallel revocations count each grant once, and the first revocation time stays", revoked_by_many),
    ("a revocation during redemptions keeps their updates and leaves nothing alive", revoked_beside_redemptions),
];

pub(super) const CASES_OF_PROCESSES: &[Named] =
    &[("a grant revoked by one process while others use it is dead when the revocation returns", revoked_while_used)];

/// The maximum length of a chain before the revocation.
const MOST_STEPS: u64 = 50;

/// A chain of tokens of one grant, each of which is the successor of the one before.
struct Chain {
    of: Grant,
    /// The number of the first token.
    number: u64,
}

impl Chain {
    fn link(&self, t: &Trial<'_>, step: u64) -> StoredToken {
        let parent = step.checked_sub(1).map(|before| t.hash(self.number + before));
        StoredToken { parent, ..t.refresh(self.number + step, &self.of) }
    }

    /// Returns the last use and the end of a grant after some steps. Each redemption moves both by a little.
    fn moved(t: &Trial<'_>, steps: u64) -> (OffsetDateTime, OffsetDateTime) {
        let later = TICK * i32::try_from(steps).unwrap_or_default();
        (t.at(SECOND + later), t.at(2 * DAY + later))
    }

    /// Redeems token after token until a redemption is refused. Returns the number of redeemed tokens.
    fn walk(&self, t: &Trial<'_>, node: Node<'_>) -> Outcome<u64> {
        for step in 0..MOST_STEPS {
            let (at, grant_expires_at) = Self::moved(t, step + 1);
            let order = Redemption { at, grant_expires_at, ..t.spend(&self.link(t, step), self.number + step) };
            if node.redeem(&order, &[self.link(t, step + 1)])? != RedeemOutcome::Done {
                return Ok(step);
            }
        }
        Ok(MOST_STEPS)
    }
}

/// Walks each chain in a separate runner, while another runner revokes their grants, of which there are `expected`.
/// Checks that all are dead once the revocation has returned. Returns the number of steps of each chain.
fn revoked_beside(
    t: &Trial<'_>,
    round: u64,
    chains: &[Chain],
    which: &GrantSelector,
    expected: u64,
) -> Outcome<Vec<u64>> {
    let mut steps = t.race(round, chains.len() + 1, |runner, node| {
        if let Some(chain) = chains.get(runner) {
            return chain.walk(t, node);
        }
        // Waits until another runner has begun, but not forever.
        for _ in 0..1_000 {
            if node.row(chains[0].link(t, 0).hash)?.0.spent.is_some() {
                break;
            }
        }
        t.expect_eq("grants revoked", &expected, &node.revoke(which, t.at(HOUR))?);
        for chain in chains {
            let revoked = node.row(chain.link(t, 0).hash)?.1.revoked_at;
            t.expect_eq("the revoked_at of the grant after the revocation returned", &Some(t.at(HOUR)), &revoked);
        }
        Ok(0)
    })?;
    steps.pop();
    for (chain, steps) in chains.iter().zip(&steps) {
        let (last, grant) = t.node(1).row(chain.link(t, *steps).hash)?;
        t.expect_eq("the revoked_at of the grant at the end", &Some(t.at(HOUR)), &grant.revoked_at);
        let late = t.node(2).redeem(&t.spend(&last, chain.number + MOST_STEPS + 1), &[])?;
        t.expect_eq("the result of redeeming the newest token", &RedeemOutcome::Dead, &late);
    }
    Ok(steps)
}

/// All chains belong to one grant.
fn revoked_while_used(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(10) {
        let base = round * 10_000;
        let of = t.grant(base);
        let numbers = (1..RUNNERS as u64).map(|runner| base + runner * 1_000);
        let chains: Vec<_> = numbers.map(|number| Chain { of: of.clone(), number }).collect();
        let first: Vec<_> = chains.iter().map(|chain| chain.link(t, 0)).collect();
        t.node(0).open(&of, &first)?;
        revoked_beside(t, round, &chains, &GrantSelector::Id(of.id), 1)?;
    }
    Ok(())
}

/// Each chain belongs to a different grant.
fn revoked_beside_redemptions(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for round in t.rounds(10) {
        let subject = t.subject(&format!("alice-{round}"));
        let mut chains = Vec::new();
        for runner in 1..RUNNERS as u64 {
            let number = round * 10_000 + runner * 1_000;
            let chain = Chain { of: Grant { subject: Some(subject.clone()), ..t.grant(number) }, number };
            t.node(0).open(&chain.of, &[chain.link(t, 0)])?;
            chains.push(chain);
        }
        let which = GrantSelector::Subject(subject);
        let steps = revoked_beside(t, round, &chains, &which, chains.len() as u64)?;
        let mut tokens = Vec::new();
        for (chain, steps) in chains.iter().zip(steps) {
            let now = t.node(1).row(chain.link(t, 0).hash)?.1;
            if steps > 0 {
                let expected = Chain::moved(t, steps);
                let found = (now.last_used_at, now.expires_at);
                t.expect_eq("the last use and the end of a revoked grant", &expected, &found);
            }
            tokens.extend((0..=steps).map(|step| chain.link(t, step)));
        }
        // A later purge removes all of it. (Clause 5 tests when rows are removed.)
        t.node(0).purge_all(t.at(3 * DAY), 100)?;
        t.expect_eq("the tokens left after a purge of the revoked grants", &0, &t.node(1).count(&tokens)?);
        for chain in &chains {
            let is_free = t.node(1).try_open(&chain.of, &[]).is_ok();
            t.expect(is_free, "the identifier of a purged grant is free", "it is taken");
        }
        t.node(0).purge_all(t.at(3 * DAY), 100)?;
    }
    Ok(())
}

/// The number of grants that each runner opens during the revocation, and the number that are open before it begins.
const GRANTS: u64 = 3;
const ENOUGH: usize = 3;

fn revoked_while_opened(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(25) {
        let opened = Mutex::new(Vec::new());
        let so_far = || opened.lock().map(|opened| opened.clone()).unwrap_or_default();
        t.race(round, RUNNERS, |runner, node| {
            if runner > 0 {
                for number in 0..GRANTS {
                    let number = round * 1_000 + runner as u64 * GRANTS + number;
                    let of = t.grant(number);
                    // Recorded at once, because another runner waits for it.
                    if t.note(node.open(&of, &[t.refresh(number, &of)])).is_none() {
                        break;
                    }
                    opened.lock().map(|mut opened| opened.push(number)).ok();
                }
                return Ok(());
            }
            while so_far().len() < ENOUGH && t.is_clean() {
                std::thread::yield_now();
            }
            // The grants of earlier rounds are already revoked.
            let covered = so_far();
            node.revoke(&GrantSelector::Subject(t.subject("alice")), t.at(HOUR))?;
            for number in covered {
                let is_revoked = node.row(t.hash(number))?.1.revoked_at.is_some();
                t.expect(is_revoked, "a grant that was opened before the revocation is revoked", "it is not");
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn revoked_by_many(t: &Trial<'_>) -> Outcome {
    const GRANTS: u64 = 6;
    for round in t.rounds(10) {
        let base = round * 1_000;
        let subject = t.subject(&format!("alice-{round}"));
        let hashes: Vec<_> = (base..base + GRANTS).map(|number| t.hash(number)).collect();
        for number in base..base + GRANTS {
            let of = Grant { subject: Some(subject.clone()), ..t.grant(number) };
            t.node(0).open(&of, &[t.refresh(number, &of)])?;
        }
        let times = |node: Node<'_>| -> Outcome<Vec<Option<OffsetDateTime>>> {
            hashes.iter().map(|hash| Ok(node.row(*hash)?.1.revoked_at)).collect()
        };
        // Each call has a different time, and reads afterwards which one was first.
        let time = |runner: usize| t.at(HOUR + SECOND * u32::try_from(runner).unwrap_or_default());
        let seen = t.race(round, RUNNERS, |runner, node| {
            let count = node.revoke(&GrantSelector::Subject(subject.clone()), time(runner))?;
            Ok((count, times(node)?))
        })?;
        let counted: u64 = seen.iter().map(|(count, _)| count).sum();
        t.expect_eq(&format!("grants revoked by {RUNNERS} at once, added up, of {GRANTS}"), &GRANTS, &counted);
        let given: BTreeSet<_> = (0..RUNNERS).map(|runner| Some(time(runner))).collect();
        let last = times(t.node(1))?;
        for now in &last {
            t.expect(
                given.contains(now),
                "the revoked_at of a grant is the time of one of the calls",
                format_args!("it is {now:?}"),
            );
        }
        for (_, seen) in &seen {
            t.expect_eq_lists("the revoked_at of the grants, first seen and now", seen, &last);
        }
        let again = t.node(2).revoke(&GrantSelector::Subject(subject), t.at(2 * HOUR))?;
        t.expect_eq("the number of grants that were not revoked", &0, &again);
    }
    Ok(())
}
