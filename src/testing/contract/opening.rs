//! Clause 2: a grant is opened completely or not at all.

use super::node::Outcome;
use super::trial::{Named, RUNNERS, Trial};
use crate::record::{Grant, StoredToken};

pub(super) const CASES: &[Named] = &[
    ("a grant is opened with all its tokens", all_tokens_are_stored),
    ("a grant with a token hash that exists is not opened, and nothing is stored", a_taken_hash_stores_nothing),
    ("a grant with an identifier that exists is not opened, and nothing is stored", a_taken_grant_stores_nothing),
    ("many grants race for the same identifiers: one is opened, the others store nothing", one_of_many_is_opened),
    ("two grants race for the same tokens in opposite order: each is opened whole or not at all", crosswise),
];

/// Returns how many of the tokens are stored and belong to this grant.
fn stored(t: &Trial<'_>, of: &Grant, tokens: &[StoredToken]) -> Outcome<usize> {
    let mut stored = 0;
    for token in tokens {
        let found = t.node(1).find(token.hash)?;
        stored += usize::from(found.is_some_and(|(row, grant)| row.grant_id == of.id && grant.id == of.id));
    }
    Ok(stored)
}

/// Checks that opening a grant fails and stores nothing.
fn refused(t: &Trial<'_>, why: &str, of: &Grant, tokens: &[StoredToken]) -> Outcome {
    let is_refused = t.node(1).try_open(of, tokens).is_err();
    t.expect(is_refused, format_args!("open_grant fails if {why}"), "it succeeds");
    t.expect_eq("tokens stored by an open_grant that failed", &0, &stored(t, of, tokens)?);
    Ok(())
}

fn all_tokens_are_stored(t: &Trial<'_>) -> Outcome {
    for (number, count) in [(0, 0), (1, 1), (2, 2), (3, 30)] {
        let of = t.grant(number);
        let tokens: Vec<_> = (0..count).map(|token| t.access(100 * number + token, &of)).collect();
        t.node(0).open(&of, &tokens)?;
        t.expect_eq(&format!("tokens stored of {count}"), &tokens.len(), &stored(t, &of, &tokens)?);
        refused(t, "the grant is already stored", &of, &[])?;
    }
    Ok(())
}

fn a_taken_hash_stores_nothing(t: &Trial<'_>) -> Outcome {
    let (first, taken) = t.family(1)?;
    let second = t.grant(2);
    let [a, b, c] = [2, 3, 4].map(|number| t.access(number, &second));
    let theirs = StoredToken { grant_id: second.id, ..taken.clone() };
    refused(t, "the hash of a token is taken", &second, &[a.clone(), theirs, b.clone()])?;
    t.expect_eq("the grant of the token", &first.id, &t.node(0).row(taken.hash)?.0.grant_id);
    refused(t, "two of its tokens have the same hash", &second, &[c.clone(), t.access(5, &second), c.clone()])?;
    // The identifier of the grant and the other hashes must still be free.
    let tokens = [a, b, c];
    t.node(0).open(&second, &tokens)?;
    t.expect_eq("tokens stored by the second attempt", &3, &stored(t, &second, &tokens)?);
    Ok(())
}

fn a_taken_grant_stores_nothing(t: &Trial<'_>) -> Outcome {
    let (first, token) = t.family(1)?;
    let before = t.node(0).row(token.hash)?.1;
    let again = Grant { subject: Some(t.subject("mallory")), client_id: t.client("other"), ..first };
    refused(t, "the identifier of the grant is taken", &again, &[t.access(2, &again), t.access(3, &again)])?;
    t.expect_eq_records("the grant that was stored first", &*before, &*t.node(0).row(token.hash)?.1);
    Ok(())
}

/// Opens all grants at once. Checks that each has all of its tokens or none, and returns which were opened.
fn opened_at_once(t: &Trial<'_>, round: u64, wanted: &[(Grant, Vec<StoredToken>)]) -> Outcome<Vec<bool>> {
    let opened = t.race(round, wanted.len(), |runner, node| {
        let (of, tokens) = &wanted[runner];
        Ok(node.try_open(of, tokens).is_ok())
    })?;
    let key = |token: &StoredToken| (token.hash, token.grant_id);
    let winners = opened.iter().zip(wanted).filter(|(is_opened, _)| **is_opened);
    let won: Vec<_> = winners.flat_map(|(_, (_, tokens))| tokens.iter().map(key)).collect();
    for (of, tokens) in wanted {
        let expected = tokens.iter().filter(|token| won.contains(&key(token))).count();
        t.expect_eq("tokens stored of a grant that won or lost the race", &expected, &stored(t, of, tokens)?);
    }
    Ok(opened)
}

fn one_of_many_is_opened(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(10) {
        let base = round * 1_000;
        // Half of the runners use the same grant identifier, the others only the same token.
        let wanted = (0..RUNNERS as u64).map(|runner| {
            let of = t.grant(base + if runner % 2 == 0 { 0 } else { runner });
            let tokens =
                vec![t.access(base + 10 + runner, &of), t.refresh(base, &of), t.access(base + 30 + runner, &of)];
            (of, tokens)
        });
        let opened = opened_at_once(t, round, &wanted.collect::<Vec<_>>())?;
        t.expect_eq("how many of the grants were opened", &1, &opened.iter().filter(|opened| **opened).count());
    }
    Ok(())
}

fn crosswise(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let base = round * 1_000;
        let mut wanted = [base, base + 1].map(|number| {
            let of = t.grant(number);
            let tokens: Vec<_> = (0..6).map(|token| t.access(base + token, &of)).collect();
            (of, tokens)
        });
        wanted[1].1.reverse();
        let opened = opened_at_once(t, round, &wanted)?;
        t.expect(opened != [true, true], "two grants with the same tokens are not both opened", "both were opened");
        // Both may have failed. Then nothing may be taken.
        if opened == [false, false] {
            t.node(0).open(&wanted[0].0, &wanted[0].1)?;
        }
    }
    Ok(())
}
