//! Clauses 2 and 7: grants that were opened because of an earlier consent.

use super::node::{Failure, Node, Outcome};
use super::records::{DAY, HOUR, TICK};
use super::trial::{Named, RUNNERS, Trial};
use crate::record::{Grant, GrantDetails};
use crate::storage::{GrantSelector, Opened};

pub(super) const ATOMIC: &[Named] =
    &[("a grant that names a consent is opened only while that consent is live", opened_while_live)];

pub(super) const REVOCATION: &[Named] = &[
    ("a grant does not end with the grant of its consent", ended_alone),
    (
        "a grant opened because of a consent that is being revoked is dead when the revocation returns, or not opened",
        opened_while_revoked,
    ),
];

/// Returns a grant that needs the consent of another one.
fn of_consent(number: u64, consent: &Grant, t: &Trial<'_>) -> Grant {
    let details = GrantDetails { consent_grant: Some(consent.id), ..GrantDetails::default() };
    Grant { subject: consent.subject.clone(), details, ..t.grant(number) }
}

/// Opens a grant with an access token of the same number.
fn open(node: Node<'_>, t: &Trial<'_>, number: u64, of: &Grant) -> Outcome<Opened> {
    let tokens = [t.access(number, of)];
    node.opened(of, &tokens).map_err(|error| Failure::failed("open_grant with a consent", &error))
}

fn opened_while_live(t: &Trial<'_>) -> Outcome {
    let [live, ended, revoked] = [1, 2, 3].map(|number| t.grant(number));
    let ended = Grant { expires_at: t.at(HOUR), ..ended };
    for (number, of) in (1..).zip([&live, &ended, &revoked]) {
        t.node(0).open(of, &[t.access(number, of)])?;
    }
    t.node(0).revoke(&GrantSelector::Id(revoked.id), t.at(2 * HOUR))?;
    let never_stored = t.grant(4);
    // The state of the consent depends on the time at which the grant is opened. The parent is checked first.
    for (number, parent, consent, opened_at, expected) in [
        (10, None, &live, t.at(HOUR), Opened::Done),
        (11, None, &live, t.at(DAY - TICK), Opened::Done),
        (12, None, &live, t.at(DAY), Opened::ConsentDead),
        (13, None, &ended, t.at(HOUR - TICK), Opened::Done),
        (14, None, &ended, t.at(HOUR), Opened::ConsentDead),
        (15, None, &revoked, t.at(HOUR), Opened::ConsentDead),
        (16, None, &never_stored, t.at(HOUR), Opened::ConsentDead),
        (17, Some(&live), &live, t.at(HOUR), Opened::Done),
        (18, Some(&ended), &live, t.at(TICK), Opened::Done),
        (19, Some(&live), &ended, t.at(HOUR), Opened::ConsentDead),
        (20, Some(&live), &never_stored, t.at(HOUR), Opened::ConsentDead),
        (21, Some(&ended), &live, t.at(HOUR), Opened::ParentDead),
        (22, Some(&revoked), &never_stored, t.at(HOUR), Opened::ParentDead),
    ] {
        let parent_grant = parent.map(|parent: &Grant| parent.id);
        let of = Grant { opened_at, last_used_at: opened_at, parent_grant, ..of_consent(number, consent, t) };
        t.expect_eq("the result of opening a grant with a consent", &expected, &open(t.node(1), t, number, &of)?);
        match t.node(2).find(t.hash(number))? {
            None => t.expect(expected != Opened::Done, "an opened grant is stored", "it is not"),
            Some((_, row)) => {
                t.expect(expected == Opened::Done, "nothing of a refused grant is stored", "it is");
                t.expect_eq("the identifier of the grant", &of.id, &row.id);
            }
        }
        // Its identifiers must still be free.
        if expected != Opened::Done {
            let of = Grant { parent_grant: None, details: GrantDetails::default(), ..of };
            t.node(0).open(&of, &[t.access(number, &of)])?;
        }
    }
    Ok(())
}

fn ended_alone(t: &Trial<'_>) -> Outcome {
    let subject = t.subject("alice");
    for (base, which) in [(0, 0), (100, 1)] {
        let consent = t.grant(base);
        t.node(0).open(&consent, &[t.access(base, &consent)])?;
        let of = of_consent(base + 1, &consent, t);
        t.expect_eq("the result of opening a grant", &Opened::Done, &open(t.node(1), t, base + 1, &of)?);
        let which = match which {
            0 => GrantSelector::Id(consent.id),
            _ => GrantSelector::SubjectAndId(subject.clone(), consent.id),
        };
        t.expect_eq("the number of revoked grants", &1, &t.node(0).revoke(&which, t.at(HOUR))?);
        t.expect_eq("the revoked_at of the other grant", &None, &t.node(2).row(t.hash(base + 1))?.1.revoked_at);
    }
    Ok(())
}

/// The maximum number of grants that a runner opens before the revocation.
const MOST: u64 = 50;

/// Half of the runners name the first grant as the consent, the others name the grant that they opened before.
fn opened_while_revoked(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(10) {
        let base = round * 10_000;
        let subject = t.subject(&format!("carol-{round}"));
        let root = Grant { subject: Some(subject.clone()), ..t.grant(base) };
        t.node(0).open(&root, &[t.access(base, &root)])?;
        let first = |runner: usize| base + runner as u64 * 1_000;
        let which = match round % 2 {
            0 => GrantSelector::Subject(subject),
            _ => GrantSelector::SubjectAndClient(subject, root.client_id.clone()),
        };
        let counts = t.race(round, RUNNERS, |runner, node| -> Outcome<u64> {
            if runner > 0 {
                let mut consent = root.clone();
                for step in 0..MOST {
                    let number = first(runner) + step;
                    let of = of_consent(number, &consent, t);
                    match open(node, t, number, &of)? {
                        Opened::Done if runner % 2 == 0 => consent = of,
                        Opened::Done => {}
                        _ => return Ok(step),
                    }
                }
                return Ok(MOST);
            }
            // Waits for the first grant, but not forever.
            for _ in 0..1_000 {
                if node.has(t.hash(first(1)))? {
                    break;
                }
            }
            node.revoke(&which, t.at(HOUR))?;
            // All stored grants must be dead now.
            for runner in 1..RUNNERS {
                for number in first(runner)..first(runner) + MOST {
                    let Some((_, grant)) = node.find(t.hash(number))? else { break };
                    t.expect_eq("the revoked_at after the revocation returned", &Some(t.at(HOUR)), &grant.revoked_at);
                }
            }
            Ok(0)
        })?;
        for (runner, count) in counts.into_iter().enumerate().skip(1) {
            for number in first(runner)..first(runner) + count {
                let revoked = t.node(1).row(t.hash(number))?.1.revoked_at;
                t.expect_eq("the revoked_at at the end", &Some(t.at(HOUR)), &revoked);
            }
            let is_stored = t.node(2).has(t.hash(first(runner) + count))?;
            t.expect(count == MOST || !is_stored, "nothing of a refused grant is stored", "it is");
        }
    }
    Ok(())
}
