//! Clauses 2, 5 and 7: derived grants.

use super::given_up::MOST_POLLS;
use super::node::{Failure, Node, Outcome, patiently};
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Named, RUNNERS, Trial};
use crate::record::Grant;
use crate::storage::{GrantSelector, Opened, RedeemOutcome};

pub(super) const ATOMIC: &[Named] = &[("a grant is opened only under a live parent", opened_under_a_live_parent)];

pub(super) const EVIDENCE: &[Named] = &[
    ("a parent that ends and is purged does not end its children", an_ended_parent),
    ("a revoked parent is purged after its children are revoked", a_revoked_parent),
];

pub(super) const REVOCATION: &[Named] = &[
    ("revoking a grant revokes and counts its descendants, and nothing else", descendants),
    ("revoking a family of some hundred grants revokes and counts all of them", a_large_family),
    ("a family revocation cancelled at any await is complete when repeated", given_up),
    ("parallel revocations of one family each return when all of it is dead", revoked_by_many),
    (
        "a child opened while its parent is revoked is dead when the revocation returns, or not opened",
        opened_while_revoked,
    ),
];

impl Trial<'_> {
    /// Returns a child of a grant, with another user and client.
    fn child(&self, number: u64, parent: &Grant) -> Grant {
        let (subject, client_id) = (Some(self.subject("bob")), self.client("other"));
        Grant { subject, client_id, parent_grant: Some(parent.id), ..self.grant(number) }
    }

    /// Opens a grant with an access token of the same number.
    fn open_with_token(&self, number: u64, of: &Grant) -> Outcome {
        self.node(0).open(of, &[self.access(number, of)])
    }
}

fn opened(node: Node<'_>, t: &Trial<'_>, number: u64, of: &Grant) -> Outcome<Opened> {
    let tokens = [t.access(number, of)];
    node.opened(of, &tokens).map_err(|error| Failure::failed("open_grant with a parent", &error))
}

fn opened_under_a_live_parent(t: &Trial<'_>) -> Outcome {
    let [root, ended, revoked] = [1, 2, 3].map(|number| t.grant(number));
    let ended = Grant { expires_at: t.at(HOUR), ..ended };
    for (number, of) in (1..).zip([&root, &ended, &revoked]) {
        t.open_with_token(number, of)?;
    }
    t.node(0).revoke(&GrantSelector::Id(revoked.id), t.at(2 * HOUR))?;
    let never_stored = t.grant(4);
    // The state of the parent depends on the time at which its child is opened.
    for (number, parent, opened_at, expected) in [
        (10, &root, t.at(HOUR), Opened::Done),
        (11, &root, t.at(DAY - TICK), Opened::Done),
        (12, &root, t.at(DAY), Opened::ParentDead),
        (13, &ended, t.at(HOUR - TICK), Opened::Done),
        (14, &ended, t.at(HOUR), Opened::ParentDead),
        (15, &revoked, t.at(HOUR), Opened::ParentDead),
        (16, &revoked, t.at(3 * HOUR), Opened::ParentDead),
        (17, &never_stored, t.at(HOUR), Opened::ParentDead),
    ] {
        let of = Grant { opened_at, last_used_at: opened_at, ..t.child(number, parent) };
        t.expect_eq("the result of opening a child", &expected, &opened(t.node(1), t, number, &of)?);
        match t.node(2).find(t.hash(number))? {
            None => t.expect(expected == Opened::ParentDead, "an opened child is stored", "it is not"),
            Some((_, row)) => {
                t.expect(expected == Opened::Done, "nothing of a refused child is stored", "it is");
                t.expect_eq_records("the child", &of, &*row);
            }
        }
        // Its identifiers must still be free.
        if expected == Opened::ParentDead {
            t.open_with_token(number, &Grant { parent_grant: None, ..of })?;
        }
    }
    Ok(())
}

/// Opens root, child, grandchild and so on, numbered from `first`.
fn chain(t: &Trial<'_>, first: u64, length: u64) -> Outcome<Vec<Grant>> {
    let mut chain = vec![t.grant(first)];
    t.open_with_token(first, &chain[0])?;
    for number in first + 1..first + length {
        let of = t.child(number, &chain[chain.len() - 1]);
        t.open_with_token(number, &of)?;
        chain.push(of);
    }
    Ok(chain)
}

fn descendants(t: &Trial<'_>) -> Outcome {
    for (base, which) in [(0, 0), (100, 1), (200, 2)] {
        let subject = t.subject(&format!("alice-{base}"));
        let root =
            Grant { subject: Some(subject.clone()), client_id: t.client(&format!("app-{base}")), ..t.grant(base) };
        t.open_with_token(base, &root)?;
        let which = match which {
            0 => GrantSelector::Id(root.id),
            1 => GrantSelector::Subject(subject),
            _ => GrantSelector::Client(root.client_id.clone()),
        };
        // Two children, one of them revoked before. Each has a grandchild and its child.
        let mut below = Vec::new();
        for child in [base + 10, base + 20] {
            let mut parent = root.clone();
            for number in child..child + 3 {
                parent = t.child(number, &parent);
                t.open_with_token(number, &parent)?;
                below.push(number);
            }
        }
        let lone = t.child(base + 30, &root);
        t.open_with_token(base + 30, &lone)?;
        t.node(1).revoke(&GrantSelector::Id(lone.id), t.at(SECOND))?;
        // Another chain of grants, and a grant with the same user and client as the children.
        chain(t, base + 40, 3)?;
        t.open_with_token(base + 50, &Grant { parent_grant: None, ..t.child(base + 50, &root) })?;

        t.expect_eq(&format!("grants revoked by {which:?}"), &7, &t.node(0).revoke(&which, t.at(HOUR))?);
        t.expect_eq("grants revoked by a repeated call", &0, &t.node(1).revoke(&which, t.at(2 * HOUR))?);
        for number in below {
            let (token, grant) = t.node(2).row(t.hash(number))?;
            t.expect_eq("the revoked_at of a descendant", &Some(t.at(HOUR)), &grant.revoked_at);
            let late = t.node(1).redeem(&t.spend(&token, number), &[])?;
            t.expect_eq("the result of a redemption of its token", &RedeemOutcome::Dead, &late);
        }
        let by_itself = t.node(2).row(t.hash(base + 30))?.1.revoked_at;
        t.expect_eq("the revoked_at of a child that was revoked before", &Some(t.at(SECOND)), &by_itself);
        for number in [base + 40, base + 41, base + 42, base + 50] {
            t.expect_eq("the revoked_at of an unrelated grant", &None, &t.node(2).row(t.hash(number))?.1.revoked_at);
        }
        // Revoking a grant in the middle must not revoke its parent.
        t.expect_eq(
            "grants revoked in the middle of a chain",
            &2,
            &t.node(0).revoke(&GrantSelector::Id(t.grant_id(base + 41)), t.at(HOUR))?,
        );
        t.expect_eq("the revoked_at of the parent", &None, &t.node(2).row(t.hash(base + 40))?.1.revoked_at);
    }
    Ok(())
}

fn a_large_family(t: &Trial<'_>) -> Outcome {
    const CHILDREN: u64 = 300;
    let root = t.grant(0);
    t.open_with_token(0, &root)?;
    for number in 1..=CHILDREN {
        t.open_with_token(number, &t.child(number, &root))?;
    }
    let which = GrantSelector::Id(root.id);
    t.expect_eq("grants revoked of a large family", &(CHILDREN + 1), &t.node(0).revoke(&which, t.at(HOUR))?);
    let mut alive = 0;
    for number in 1..=CHILDREN {
        alive += u64::from(t.node(1).row(t.hash(number))?.1.revoked_at.is_none());
    }
    t.expect_eq("live grants of a large family after its revocation", &0, &alive);
    Ok(())
}

fn revoked_by_many(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(10) {
        let base = round * 100;
        let family = chain(t, base, 4)?;
        let counts = t.race(round, RUNNERS, |_, node| {
            let count = node.revoke(&GrantSelector::Id(family[0].id), t.at(HOUR))?;
            for number in base..base + 4 {
                let revoked = node.row(t.hash(number))?.1.revoked_at;
                t.expect_eq("the revoked_at of a descendant after a call returned", &Some(t.at(HOUR)), &revoked);
            }
            Ok(count)
        })?;
        t.expect_eq("the total number of grants that the calls revoked", &4, &counts.iter().sum::<u64>());
    }
    Ok(())
}

fn given_up(t: &Trial<'_>) -> Outcome {
    for polls in 0..MOST_POLLS {
        let base = polls as u64 * 100;
        let family = chain(t, base, 4)?;
        let which = GrantSelector::Id(family[0].id);
        let first = t.node(0).give_up(polls, t.node(0).storage.revoke_grants(&which, t.at(HOUR)));
        patiently(|| t.node(1).revoke(&which, t.at(HOUR)))?;
        for number in base..base + 4 {
            let revoked = t.node(2).row(t.hash(number))?.1.revoked_at;
            t.expect_eq("the revoked_at of a descendant", &Some(t.at(HOUR)), &revoked);
        }
        if first.is_some() {
            break;
        }
    }
    Ok(())
}

/// The maximum number of children that a runner opens before the revocation.
const MOST_CHILDREN: u64 = 50;

/// Half of the runners open children of the root, the others open grandchildren.
fn opened_while_revoked(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(10) {
        let base = round * 10_000;
        let root = t.grant(base);
        t.open_with_token(base, &root)?;
        let first = |runner: usize| base + runner as u64 * 1_000;
        let parents: Vec<_> = (0..RUNNERS)
            .map(|runner| {
                let child = t.child(first(runner) + 999, &root);
                t.open_with_token(first(runner) + 999, &child)?;
                Ok(if runner % 2 == 0 { root.clone() } else { child })
            })
            .collect::<Outcome<_>>()?;
        let counts = t.race(round, RUNNERS, |runner, node| -> Outcome<u64> {
            if runner > 0 {
                for step in 0..MOST_CHILDREN {
                    let number = first(runner) + step;
                    match opened(node, t, number, &t.child(number, &parents[runner]))? {
                        Opened::Done => {}
                        _ => return Ok(step),
                    }
                }
                return Ok(MOST_CHILDREN);
            }
            // Waits for the first child, but not forever.
            for _ in 0..1_000 {
                if node.has(t.hash(first(1)))? {
                    break;
                }
            }
            node.revoke(&GrantSelector::Id(root.id), t.at(HOUR))?;
            // All stored descendants must be dead now.
            for runner in 1..RUNNERS {
                for number in first(runner)..first(runner) + MOST_CHILDREN {
                    let Some((_, grant)) = node.find(t.hash(number))? else { break };
                    t.expect_eq(
                        "the revoked_at of a descendant after the revocation returned",
                        &Some(t.at(HOUR)),
                        &grant.revoked_at,
                    );
                }
            }
            Ok(0)
        })?;
        for (runner, count) in counts.into_iter().enumerate().skip(1) {
            for number in first(runner)..first(runner) + count {
                let revoked = t.node(1).row(t.hash(number))?.1.revoked_at;
                t.expect_eq("the revoked_at of a descendant at the end", &Some(t.at(HOUR)), &revoked);
            }
            let is_stored = t.node(2).has(t.hash(first(runner) + count))?;
            t.expect(count == MOST_CHILDREN || !is_stored, "nothing of a refused child is stored", "it is");
        }
    }
    Ok(())
}

fn an_ended_parent(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    // The first limit leaves a part of the parent, the second does not.
    for (base, limit) in [(0, 1), (100, 1_000)] {
        let parent = Grant { expires_at: t.at(HOUR), ..t.grant(base) };
        let tokens: Vec<_> = (base..base + 5).map(|number| t.refresh(number, &parent)).collect();
        t.node(0).open(&parent, &tokens)?;
        let child = t.child(base + 10, &parent);
        t.open_with_token(base + 10, &child)?;
        t.node(0).purge(t.at(2 * HOUR), limit)?;
        t.node(1).purge_all(t.at(2 * HOUR), 3)?;
        t.expect_eq("the tokens left of a parent that has ended", &0, &t.node(1).count(&tokens)?);
        let (token, grant) = t.node(1).row(t.hash(base + 10))?;
        t.expect_eq_records("the child of a parent that has ended", &child, &*grant);
        let answer = t.node(2).redeem(&t.spend(&token, base), &[])?;
        t.expect_eq("the result of a redemption of its token", &RedeemOutcome::Done, &answer);
    }
    Ok(())
}

fn a_revoked_parent(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for polls in 0..MOST_POLLS {
        let base = polls as u64 * 100;
        let parent = t.grant(base);
        t.open_with_token(base, &parent)?;
        for number in base + 1..base + 4 {
            t.open_with_token(number, &t.child(number, &parent))?;
        }
        // A child whose tokens were purged, and its child.
        let leaf = t.child(base + 4, &parent);
        t.node(0).open(&leaf, &[])?;
        t.open_with_token(base + 5, &t.child(base + 5, &leaf))?;
        let limit = if polls.is_multiple_of(2) { 2 } else { 1_000 };
        let which = GrantSelector::Id(parent.id);
        let revocation = t.node(0).give_up(polls, t.node(0).storage.revoke_grants(&which, t.at(HOUR)));
        // The cancelled call may still be running, and a purge may skip the rows that it uses.
        patiently(|| {
            t.node(1).purge_all(t.at(2 * HOUR), limit)?;
            if t.node(2).has(t.hash(base))? && t.node(2).row(t.hash(base))?.1.revoked_at.is_some() {
                return Err(Failure::new("a revoked parent is purged", "it is not"));
            }
            Ok(())
        })?;
        let is_gone = !t.node(2).has(t.hash(base))?;
        for number in base + 1..base + 6 {
            let lives = t.node(2).find(t.hash(number))?.is_some_and(|(_, grant)| grant.revoked_at.is_none());
            t.expect(!is_gone || !lives, "no descendant of a purged revoked parent is live", "one is");
        }
        patiently(|| t.node(1).revoke(&which, t.at(HOUR)))?;
        t.node(1).purge_all(t.at(2 * DAY), 1_000)?;
        if revocation.is_some() {
            break;
        }
    }
    Ok(())
}
