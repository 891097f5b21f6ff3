//! Clause 2: a grant is opened whole or not at all.

use super::clause::Clause::Atomic;
use super::node::Outcome;
use super::trial::{Case, Needs, RUNNERS, Trial};
use crate::record::{Grant, StoredToken};

const COST: &str =
    "a grant without tokens, or tokens without a grant: what a user gave can't be used or not be taken back";
const REMEDY: &str = "store the grant and all its tokens in one step, and let all of it fail if an identifier is taken (SQL: one transaction, unique keys; elsewhere: put if absent, all or none)";

pub(super) const CASES: &[Case] = &[
    Case {
        clause: Atomic,
        name: "a grant is opened with all its tokens",
        cost: COST,
        remedy: REMEDY,
        needs: Needs::Nothing,
        run: all_tokens_are_stored,
    },
    Case {
        clause: Atomic,
        name: "a grant is not opened if one of its tokens is taken, and nothing of it is stored",
        cost: COST,
        remedy: REMEDY,
        needs: Needs::Nothing,
        run: a_taken_hash_stores_nothing,
    },
    Case {
        clause: Atomic,
        name: "a grant is not opened if its identifier is taken, and nothing of it is stored",
        cost: "tokens of one user hang on the grant of another",
        remedy: REMEDY,
        needs: Needs::Nothing,
        run: a_taken_grant_stores_nothing,
    },
    Case {
        clause: Atomic,
        name: "of many grants that want the same identifiers at once one is opened and the others leave nothing",
        cost: COST,
        remedy: REMEDY,
        needs: Needs::Nothing,
        run: one_of_many_is_opened,
    },
    Case {
        clause: Atomic,
        name: "of two grants that want the same tokens crosswise each is opened whole or not at all",
        cost: "a deadlock that nobody dissolves, or two halves of grants",
        remedy: "store tokens in the order of their hashes, or let the store find the deadlock and fail",
        needs: Needs::Nothing,
        run: crosswise,
    },
];

/// How many of the tokens are there, and of this grant.
fn stored(t: &Trial<'_>, of: &Grant, tokens: &[StoredToken]) -> Outcome<usize> {
    let mut stored = 0;
    for token in tokens {
        let found = t.node(1).find(token.hash)?;
        stored += usize::from(found.is_some_and(|(row, grant)| row.grant_id == of.id && grant.id == of.id));
    }
    Ok(stored)
}

fn all_tokens_are_stored(t: &Trial<'_>) -> Outcome {
    for (number, count) in [(0, 0), (1, 1), (2, 2), (3, 30)] {
        let of = t.grant(number);
        let tokens: Vec<_> = (0..count).map(|token| t.access(100 * number + token, &of)).collect();
        t.node(0).open(&of, &tokens)?;
        t.same(&format!("tokens stored of {count}"), &tokens.len(), &stored(t, &of, &tokens)?);
        t.holds(t.node(1).try_open(&of, &[]).is_err(), "a grant can't be opened twice", || "it can".to_owned());
    }
    Ok(())
}

fn a_taken_hash_stores_nothing(t: &Trial<'_>) -> Outcome {
    let (first, taken) = t.family(1)?;
    let second = t.grant(2);
    let tokens = [t.access(2, &second), StoredToken { grant_id: second.id, ..taken.clone() }, t.access(3, &second)];
    let is_refused = t.node(1).try_open(&second, &tokens).is_err();
    t.holds(is_refused, "open_grant fails if a token's hash is taken", || "it succeeds".to_owned());
    t.same("tokens stored by an open_grant that failed", &0, &stored(t, &second, &tokens)?);
    t.same("whose the token is", &first.id, &t.node(0).row(taken.hash)?.0.grant_id);

    let twice = [t.access(4, &second), t.access(5, &second), t.access(4, &second)];
    let is_refused = t.node(1).try_open(&second, &twice).is_err();
    t.holds(is_refused, "open_grant fails if two of its tokens have one hash", || "it succeeds".to_owned());
    t.same("tokens stored by an open_grant that failed", &0, &stored(t, &second, &twice)?);

    // What was not stored is not taken either: neither the grant's identifier nor the other hashes.
    let tokens = [t.access(2, &second), t.access(3, &second), t.access(4, &second)];
    t.node(0).open(&second, &tokens)?;
    t.same("tokens stored at the second try", &3, &stored(t, &second, &tokens)?);
    Ok(())
}

fn a_taken_grant_stores_nothing(t: &Trial<'_>) -> Outcome {
    let (first, token) = t.family(1)?;
    let before = t.node(0).row(token.hash)?.1;
    let again = Grant { subject: Some(t.subject("mallory")), client_id: t.client("other"), ..first };
    let tokens = [t.access(2, &again), t.access(3, &again)];
    let is_refused = t.node(1).try_open(&again, &tokens).is_err();
    t.holds(is_refused, "open_grant fails if the grant's identifier is taken", || "it succeeds".to_owned());
    for token in &tokens {
        t.holds(!t.node(0).has(token.hash)?, "no token is stored by an open_grant that failed", || "one is".to_owned());
    }
    t.same_record("the grant that was there first", &*before, &*t.node(0).row(token.hash)?.1);
    Ok(())
}

fn one_of_many_is_opened(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(10) {
        let base = round * 1_000;
        // Every second one wants the same grant, the others only the same token.
        let wanted: Vec<_> = (0..RUNNERS as u64)
            .map(|runner| {
                let of = t.grant(base + if runner % 2 == 0 { 0 } else { runner });
                let tokens =
                    [t.access(base + 10 + runner, &of), t.refresh(base, &of), t.access(base + 30 + runner, &of)];
                (of, tokens)
            })
            .collect();
        let opened = t.race(round, RUNNERS, |runner, node| node.try_open(&wanted[runner].0, &wanted[runner].1).is_ok());
        let count = opened.iter().filter(|opened| **opened).count();
        t.same("how many of the grants were opened", &1, &count);
        for (is_opened, (of, tokens)) in opened.iter().zip(&wanted) {
            let mut own = stored(t, of, &tokens[..1])? + stored(t, of, &tokens[2..])?;
            own += usize::from(*is_opened && t.node(2).row(tokens[1].hash)?.0.grant_id == of.id);
            t.same("tokens stored of a grant that lost or won", &(if *is_opened { 3 } else { 0 }), &own);
        }
    }
    Ok(())
}

fn crosswise(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let base = round * 1_000;
        let wanted: Vec<_> = (0..2)
            .map(|number| {
                let of = t.grant(base + number);
                let mut tokens: Vec<_> = (0..6).map(|token| t.access(base + token, &of)).collect();
                if number == 1 {
                    tokens.reverse();
                }
                (of, tokens)
            })
            .collect();
        let opened = t.race(round, 2, |runner, node| node.try_open(&wanted[runner].0, &wanted[runner].1).is_ok());
        t.holds(opened != [true, true], "two grants can't have the same tokens", || "both were opened".to_owned());
        for (is_opened, (of, tokens)) in opened.iter().zip(&wanted) {
            let expected = if *is_opened { tokens.len() } else { 0 };
            t.same("tokens stored of a grant that lost or won", &expected, &stored(t, of, tokens)?);
        }
        // Both may have lost; then nothing is taken.
        if opened == [false, false] {
            t.node(0).open(&wanted[0].0, &wanted[0].1)?;
        }
    }
    Ok(())
}
