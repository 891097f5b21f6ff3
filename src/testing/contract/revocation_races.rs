//! Clause 7: revocations beside one another, and beside exchanges.

use std::collections::BTreeSet;

use time::OffsetDateTime;

use super::clause::Clause::RevocationIsFinal;
use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Group, Needs, RUNNERS, Trial};
use crate::record::{Grant, StoredToken};
use crate::storage::{Exchange, GrantSelector, Spend};

pub(super) const CASES: &[Group] = &[Group {
    clause: RevocationIsFinal,
    needs: Needs::Nothing,
    cases: &[
        (
            "of many that revoke the same grants at once each grant is counted by one, and the first time stays",
            revoked_by_many,
        ),
        ("a revocation that meets exchanges leaves what they moved, and nothing alive", revoked_beside_exchanges),
    ],
}];

fn revoked_by_many(t: &Trial<'_>) -> Outcome {
    const GRANTS: u64 = 6;
    t.clean_up()?;
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
        // Each has a time of its own, and looks at once who was first.
        let time = |runner: usize| t.at(HOUR + SECOND * u32::try_from(runner).unwrap_or_default());
        let seen = t.race(round, RUNNERS, |runner, node| -> Outcome<_> {
            let count = node.revoke(&GrantSelector::Subject(subject.clone()), time(runner))?;
            Ok((count, times(node)?))
        });
        let seen = seen.into_iter().collect::<Outcome<Vec<_>>>()?;
        let counted: u64 = seen.iter().map(|(count, _)| count).sum();
        t.expect_eq(&format!("grants revoked by {RUNNERS} at once, added up, of {GRANTS}"), &GRANTS, &counted);
        let given: BTreeSet<_> = (0..RUNNERS).map(|runner| Some(time(runner))).collect();
        let last = times(t.node(1))?;
        for (place, now) in last.iter().enumerate() {
            t.expect(given.contains(now), "a grant was revoked at the time of one of them", format_args!("at {now:?}"));
            for (_, seen) in &seen {
                t.expect_eq("when a grant was revoked, as it was seen first and as it is now", &seen[place], now);
            }
        }
        let again = t.node(2).revoke(&GrantSelector::Subject(subject), t.at(2 * HOUR))?;
        t.expect_eq("grants that were left to be revoked", &0, &again);
    }
    Ok(())
}

/// How long a chain may become if the revocation is late.
const MOST_STEPS: u64 = 50;

fn revoked_beside_exchanges(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for round in t.rounds(10) {
        let base = round * 10_000;
        let subject = t.subject(&format!("alice-{round}"));
        // A grant and a chain of tokens for each runner but the first, who revokes them all.
        let number = |runner: usize, step: u64| base + runner as u64 * 1_000 + step;
        let of = |runner: usize| Grant { subject: Some(subject.clone()), ..t.grant(number(runner, 0)) };
        let link = |runner: usize, step: u64| t.refresh(number(runner, step), &of(runner));
        for runner in 1..RUNNERS {
            t.node(0).open(&of(runner), &[link(runner, 0)])?;
        }
        // Each exchange moves its grant on by a little: its last use and its end.
        let moved = |steps: u64| {
            let later = TICK * i32::try_from(steps).unwrap_or_default();
            (t.at(SECOND + later), t.at(2 * DAY + later))
        };
        let walk = |runner: usize, node: Node<'_>| -> Outcome<u64> {
            for step in 0..MOST_STEPS {
                let old = link(runner, step);
                let successor = StoredToken { parent: Some(old.hash), ..link(runner, step + 1) };
                let (at, grant_expires_at) = moved(step + 1);
                let order = Spend { at, grant_expires_at, ..t.spend(&old, number(runner, step)) };
                if node.exchange(&order, &[successor])? != Exchange::Done {
                    return Ok(step);
                }
            }
            Ok(MOST_STEPS)
        };
        let steps = t.race(round, RUNNERS, |runner, node| {
            if runner > 0 {
                return walk(runner, node);
            }
            // Not before somebody has begun, unless nobody can.
            for _ in 0..1_000 {
                if node.row(link(1, 0).hash)?.0.spent.is_some() {
                    break;
                }
            }
            let count = node.revoke(&GrantSelector::Subject(subject.clone()), t.at(HOUR))?;
            t.expect_eq("grants revoked", &(RUNNERS as u64 - 1), &count);
            Ok(0)
        });
        let mut tokens = Vec::new();
        for (runner, steps) in steps.into_iter().enumerate().skip(1) {
            let steps = steps?;
            let (last, now) = t.node(1).row(link(runner, steps).hash)?;
            if steps > 0 {
                t.expect_eq("the last use of a grant that was revoked", &moved(steps).0, &now.last_used_at);
                t.expect_eq("the end of a grant that was revoked", &moved(steps).1, &now.expires_at);
            }
            t.expect_eq("when it was revoked", &Some(t.at(HOUR)), &now.revoked_at);
            let late = t.node(2).exchange(&t.spend(&last, base + 9_999), &[])?;
            t.expect_eq("what becomes of the newest token", &Exchange::Dead, &late);
            tokens.extend((0..=steps).map(|step| link(runner, step)));
        }
        let grants: Vec<_> = (1..RUNNERS).map(of).collect();
        nothing_is_left(t, &grants, &tokens)?;
    }
    Ok(())
}

/// A purge when all is over takes all of it. (What is due when is a matter of clause 5.)
fn nothing_is_left(t: &Trial<'_>, grants: &[Grant], tokens: &[StoredToken]) -> Outcome {
    t.node(0).purge_all(t.at(3 * DAY), 100)?;
    t.expect_eq("tokens left after a purge of what was revoked", &0, &t.node(1).count(tokens)?);
    for grant in grants {
        let is_free = t.node(1).try_open(grant, &[]).is_ok();
        t.expect(is_free, "a grant that was purged is gone: its identifier is free", "it is taken");
    }
    t.node(0).purge_all(t.at(3 * DAY), 100)
}
