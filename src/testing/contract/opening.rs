//! Clause 2: a grant is opened whole or not at all.

use super::clause::Clause::Atomic;
use super::node::Outcome;
use super::trial::{Group, Needs, RUNNERS, Trial};
use crate::record::{Grant, StoredToken};

pub(super) const CASES: &[Group] = &[Group {
    clause: Atomic,
    needs: Needs::Nothing,
    cases: &[
        ("a grant is opened with all its tokens", all_tokens_are_stored),
        (
            "a grant is not opened if one of its tokens is taken, and nothing of it is stored",
            a_taken_hash_stores_nothing,
        ),
        ("a grant is not opened if its identifier is taken, and nothing of it is stored", a_taken_grant_stores_nothing),
        (
            "of many grants that want the same identifiers at once one is opened and the others leave nothing",
            one_of_many_is_opened,
        ),
        ("of two grants that want the same tokens crosswise each is opened whole or not at all", crosswise),
    ],
}];

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
        t.expect_eq(&format!("tokens stored of {count}"), &tokens.len(), &stored(t, &of, &tokens)?);
        t.expect(t.node(1).try_open(&of, &[]).is_err(), "a grant can't be opened twice", "it can");
    }
    Ok(())
}

fn a_taken_hash_stores_nothing(t: &Trial<'_>) -> Outcome {
    let (first, taken) = t.family(1)?;
    let second = t.grant(2);
    let tokens = [t.access(2, &second), StoredToken { grant_id: second.id, ..taken.clone() }, t.access(3, &second)];
    let is_refused = t.node(1).try_open(&second, &tokens).is_err();
    t.expect(is_refused, "open_grant fails if a token's hash is taken", "it succeeds");
    t.expect_eq("tokens stored by an open_grant that failed", &0, &stored(t, &second, &tokens)?);
    t.expect_eq("whose the token is", &first.id, &t.node(0).row(taken.hash)?.0.grant_id);

    let twice = [t.access(4, &second), t.access(5, &second), t.access(4, &second)];
    let is_refused = t.node(1).try_open(&second, &twice).is_err();
    t.expect(is_refused, "open_grant fails if two of its tokens have one hash", "it succeeds");
    t.expect_eq("tokens stored by an open_grant that failed", &0, &stored(t, &second, &twice)?);

    // What was not stored is not taken either: neither the grant's identifier nor the other hashes.
    let tokens = [t.access(2, &second), t.access(3, &second), t.access(4, &second)];
    t.node(0).open(&second, &tokens)?;
    t.expect_eq("tokens stored at the second try", &3, &stored(t, &second, &tokens)?);
    Ok(())
}

fn a_taken_grant_stores_nothing(t: &Trial<'_>) -> Outcome {
    let (first, token) = t.family(1)?;
    let before = t.node(0).row(token.hash)?.1;
    let again = Grant { subject: Some(t.subject("mallory")), client_id: t.client("other"), ..first };
    let tokens = [t.access(2, &again), t.access(3, &again)];
    let is_refused = t.node(1).try_open(&again, &tokens).is_err();
    t.expect(is_refused, "open_grant fails if the grant's identifier is taken", "it succeeds");
    for token in &tokens {
        t.expect(!t.node(0).has(token.hash)?, "no token is stored by an open_grant that failed", "one is");
    }
    t.expect_eq_records("the grant that was there first", &*before, &*t.node(0).row(token.hash)?.1);
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
        t.expect_eq("how many of the grants were opened", &1, &count);
        for (is_opened, (of, tokens)) in opened.iter().zip(&wanted) {
            let mut own = stored(t, of, &tokens[..1])? + stored(t, of, &tokens[2..])?;
            own += usize::from(*is_opened && t.node(2).row(tokens[1].hash)?.0.grant_id == of.id);
            t.expect_eq("tokens stored of a grant that lost or won", &(if *is_opened { 3 } else { 0 }), &own);
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
        t.expect(opened != [true, true], "two grants can't have the same tokens", "both were opened");
        for (is_opened, (of, tokens)) in opened.iter().zip(&wanted) {
            let expected = if *is_opened { tokens.len() } else { 0 };
            t.expect_eq("tokens stored of a grant that lost or won", &expected, &stored(t, of, tokens)?);
        }
        // Both may have lost; then nothing is taken.
        if opened == [false, false] {
            t.node(0).open(&wanted[0].0, &wanted[0].1)?;
        }
    }
    Ok(())
}
