//! Clauses 2 and 5: one-time keys.

use super::node::{Failure, Node, Outcome};
use super::records::{DAY, HOUR, START, TICK};
use super::trial::{Named, RUNNERS, Trial};
use crate::record::{Grant, Spent, StoredToken, TokenKind};
use crate::storage::{GrantSelector, Opened, RedeemOutcome};

pub(super) const ATOMIC: &[Named] = &[
    ("a one-time key is used once, and only if its grant is stored", used_once),
    ("many calls race for a one-time key: one opens its grant, the others get `Taken`", races),
];

pub(super) const EVIDENCE: &[Named] = &[("a one-time key outlives its grant until it expires", outlives_its_grant)];

/// Returns the row of a one-time key: spent, and valid for a day.
fn key(t: &Trial<'_>, number: u64, of: &Grant) -> StoredToken {
    let spent = Some(Spent { at: t.at(START), attempt: t.attempt(number), seed: None, seed_until: None });
    StoredToken { spent, ..t.token(number, TokenKind::OneTimeKey, of) }
}

/// Opens a grant with an access token of the same number and a key.
fn opened(node: Node<'_>, t: &Trial<'_>, of: &Grant, number: u64, key_number: u64) -> Outcome<Opened> {
    let tokens = [t.access(number, of), key(t, key_number, of)];
    node.opened(of, &tokens).map_err(|error| Failure::failed("open_grant with a one-time key", &error))
}

fn used_once(t: &Trial<'_>) -> Outcome {
    let first = t.grant(1);
    t.expect_eq("the result of the first use", &Opened::Done, &opened(t.node(0), t, &first, 1, 100)?);
    let (row, _) = t.node(1).row(t.hash(100))?;
    t.expect_eq_records("the stored key", &key(t, 100, &first), &row);

    let second = t.grant(2);
    t.expect_eq("the result of the second use", &Opened::Taken, &opened(t.node(1), t, &second, 2, 100)?);
    t.expect(!t.node(2).has(t.hash(2))?, "a grant with a used key stores nothing", "its token is stored");
    t.expect_eq(
        "the result of opening the grant with another key",
        &Opened::Done,
        &opened(t.node(0), t, &second, 2, 101)?,
    );
    t.expect_eq("the grant of the key", &first.id, &t.node(1).row(t.hash(100))?.0.grant_id);

    // The parent is checked first.
    let orphan = Grant { parent_grant: Some(t.grant_id(999)), ..t.grant(3) };
    for number in [100, 102] {
        t.expect_eq(
            "the result of a use with a missing parent",
            &Opened::ParentDead,
            &opened(t.node(1), t, &orphan, 3, number)?,
        );
    }
    // A grant that can't be stored.
    let failing = t.grant(4);
    let tokens = [StoredToken { grant_id: failing.id, ..t.access(1, &failing) }, key(t, 103, &failing)];
    t.expect(
        t.node(0).opened(&failing, &tokens).is_err(),
        "open_grant fails if the hash of a token is taken",
        "it succeeds",
    );
    for (number, key_number) in [(5, 102), (6, 103)] {
        let answer = opened(t.node(2), t, &t.grant(number), number, key_number)?;
        t.expect_eq("the result of using a key after a failed use", &Opened::Done, &answer);
    }
    // A key can't be redeemed.
    let answer = t.node(1).redeem(&t.spend(&key(t, 100, &first), 1), &[])?;
    t.expect_eq("the result of redeeming the key", &RedeemOutcome::AlreadySpent, &answer);
    Ok(())
}

fn races(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let base = round * 1_000;
        let answers = t.race(round, RUNNERS, |runner, node| {
            let number = base + runner as u64;
            opened(node, t, &t.grant(number), number, base + 500)
        })?;
        let done = answers.iter().filter(|answer| **answer == Opened::Done).count();
        let taken = answers.iter().filter(|answer| **answer == Opened::Taken).count();
        t.expect_eq("the number of calls that return Done, and that return Taken", &(1, RUNNERS - 1), &(done, taken));
        for (number, answer) in (base..).zip(answers) {
            let is_stored = t.node(1).has(t.hash(number))?;
            t.expect_eq("whether the token of a grant is stored", &(answer == Opened::Done), &is_stored);
        }
    }
    Ok(())
}

fn outlives_its_grant(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    let ended = Grant { expires_at: t.at(HOUR), ..t.grant(1) };
    let revoked = t.grant(2);
    t.expect_eq("the result of the first use", &Opened::Done, &opened(t.node(0), t, &ended, 1, 101)?);
    t.expect_eq("the result of the first use", &Opened::Done, &opened(t.node(0), t, &revoked, 2, 102)?);
    t.node(0).revoke(&GrantSelector::Id(revoked.id), t.at(HOUR))?;
    for limit in [1, 1_000] {
        t.node(1).purge_all(t.at(DAY - TICK), limit)?;
        for (number, key_number) in [(11, 101), (12, 102)] {
            let late = Grant { opened_at: t.at(DAY - TICK), expires_at: t.at(2 * DAY), ..t.grant(number) };
            let answer = opened(t.node(2), t, &late, number, key_number)?;
            t.expect_eq("the result of a second use after a purge of the grant", &Opened::Taken, &answer);
        }
    }
    t.node(1).purge_all(t.at(DAY), 1)?;
    for number in [1, 2] {
        let rows = t.node(2).count(&[t.access(number, &ended), t.access(100 + number, &ended)])?;
        t.expect_eq("the tokens and keys left after the key has expired", &0, &rows);
        let again = Grant { opened_at: t.at(DAY), expires_at: t.at(2 * DAY), ..t.grant(number) };
        t.expect_eq(
            "the result of using the expired key",
            &Opened::Done,
            &opened(t.node(0), t, &again, number, 100 + number)?,
        );
    }
    Ok(())
}
