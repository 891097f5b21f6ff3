//! Clause 5: what a purge may remove, and what it must leave.

use super::clause::Clause::Evidence;
use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Group, Needs, Trial};
use crate::record::{Grant, StoredToken, TokenKind};
use crate::secret::TokenHash;
use crate::storage::{Exchange, GrantSelector, Page, Spend};

pub(super) const CASES: &[Group] = &[Group {
    clause: Evidence,
    needs: Needs::Nothing,
    cases: &[
        ("a purge removes expired access tokens and leaves all evidence while the grant lives", evidence_stays),
        ("a purge takes ended and revoked families whole, and no others", dead_families_go),
        ("a purge touches no more rows than it may and comes to its end however small its steps are", bounded_steps),
        ("of a family whose purge has begun nothing can be used, even by a clock that is behind", begun_is_dead),
        ("a purge erases seeds when they are due and leaves the spent row", seeds_go),
        ("a family of some hundred tokens loses its expired access tokens and nothing else", a_large_family),
        ("a family is either purged or used, and neither in part", purged_or_used),
    ],
}];

/// Nothing is left of what was due.
fn gone(t: &Trial<'_>, expected: &str, due: &[TokenHash]) -> Outcome {
    let left = t.node(1).count_hashes(due.iter().copied())?;
    t.expect(left == 0, expected, format_args!("{left} of {} are still there", due.len()));
    Ok(())
}

fn evidence_stays(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    let (of, first) = t.family(1)?;
    let short = StoredToken { expires_at: t.at(HOUR), ..t.access(2, &of) };
    let second = StoredToken { expires_at: t.at(HOUR), parent: Some(first.hash), ..t.refresh(3, &of) };
    let spent_access = StoredToken { expires_at: t.at(HOUR), ..t.access(5, &of) };
    let code = StoredToken { kind: TokenKind::AuthorizationCode, expires_at: t.at(HOUR), ..t.access(6, &of) };
    let successors = [short, second.clone(), spent_access.clone(), code];
    t.node(0).exchange_done(&t.spend(&first, 1), &successors)?;
    t.node(0).exchange_done(&t.spend(&spent_access, 3), &[])?;
    let order = Spend { grant_expires_at: t.at(90 * DAY), ..t.spend(&second, 2) };
    t.node(0).exchange_done(&order, &[t.refresh(4, &of)])?;

    t.node(0).purge_all(t.at(HOUR - TICK), 9)?;
    t.expect(t.node(1).has(t.hash(2))?, "an unspent access token is kept until it expires", "it is gone");
    t.node(0).purge_all(t.at(HOUR), 9)?;
    gone(t, "an access token that expires at `before` is purged", &[t.hash(2)])?;
    // Everything else has expired as well: spent ones are evidence, and so is a refresh token that nobody used.
    for before in [t.at(89 * DAY), t.at(90 * DAY - TICK)] {
        t.node(0).purge_all(before, 9)?;
        for (number, what) in [
            (1, "a spent token"),
            (3, "its spent successor"),
            (5, "a spent access token"),
            (4, "an unspent refresh token"),
            (6, "an unspent code"),
        ] {
            let is_there = t.node(1).has(t.hash(number))?;
            t.expect(is_there, format_args!("{what} is kept while the grant lives"), "it is gone");
        }
    }
    let replay = Spend { at: t.at(89 * DAY), ..t.spend(&first, 9) };
    t.expect_eq("the answer to a late replay", &Exchange::AlreadySpent, &t.node(1).exchange(&replay, &[])?);
    t.node(0).purge_all(t.at(90 * DAY), 9)?;
    let all = [1, 3, 4, 5, 6].map(|number| t.hash(number));
    gone(t, "the tokens of a grant that ends at `before` are purged", &all)?;
    t.expect_eq("the answer to a replay after that", &Exchange::Dead, &t.node(1).exchange(&replay, &[])?);
    Ok(())
}

fn dead_families_go(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    let last = |of: &Grant, number: u64| StoredToken { expires_at: t.at(90 * DAY), ..t.refresh(number, of) };
    // 1 ends after ten days, 2 is revoked after ten days, 3 lives on.
    for (number, end) in [(1, 10 * DAY), (2, 90 * DAY), (3, 90 * DAY)] {
        let of = Grant { expires_at: t.at(end), ..t.grant(number) };
        let tokens: Vec<_> = (0..4).map(|token| last(&of, 10 * number + token)).collect();
        t.node(0).open(&of, &tokens)?;
    }
    t.expect_eq("grants revoked", &1, &t.node(0).revoke(&GrantSelector::Id(t.grant_id(2)), t.at(10 * DAY))?);
    let left = |number: u64| t.node(1).count_hashes((0..4).map(|token| t.hash(10 * number + token)));
    t.node(0).purge_all(t.at(10 * DAY - TICK), 9)?;
    let families = [(1, "that ends at `before`"), (2, "that was revoked at `before`"), (3, "that lives")];
    for (number, which) in families {
        t.expect_eq(&format!("tokens left a moment before that of a grant {which}"), &4, &left(number)?);
    }
    t.node(0).purge_all(t.at(10 * DAY), 9)?;
    let kept = left(3)?;
    t.expect(kept == 4, "the tokens of a grant that lives are kept", format_args!("{kept} of 4 are left"));
    for (number, which) in &families[..2] {
        let tokens: Vec<_> = (0..4).map(|token| t.hash(10 * number + token)).collect();
        gone(t, &format!("the tokens of a grant {which} are purged"), &tokens)?;
    }
    // Only the third: the second was revoked before.
    let app = GrantSelector::Client(t.client("app"));
    let unrevoked = t.node(1).revoke(&app, t.at(11 * DAY))?;
    t.expect(unrevoked > 0, "a grant that lives is kept", "it is gone");
    t.expect(unrevoked <= 1, "a grant that has ended goes with its tokens", "it is there, and not revoked");
    if !t.is_clean() {
        return Ok(());
    }
    // All of it is free again.
    let (of, _) = t.family(1)?;
    t.expect_eq("whose token it is", &of.id, &t.node(0).row(t.hash(1))?.1.id);
    Ok(())
}

fn bounded_steps(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for (round, limit) in (0..).zip([1, 2, 3, 5, 7, 100]) {
        let base = round * 1_000;
        // Families of one to five rows, and one that lives and has five rows to lose.
        let mut dead = Vec::new();
        for number in 0..5_u64 {
            let of = t.grant(base + number);
            let tokens: Vec<_> = (0..number).map(|token| t.refresh(base + number * 10 + token, &of)).collect();
            t.node(0).open(&of, &tokens)?;
            dead.extend(tokens);
        }
        let living = Grant { expires_at: t.at(50 * DAY), ..t.grant(base + 9) };
        let access: Vec<_> = (0..5).map(|token| t.access(base + 100 + token, &living)).collect();
        t.node(0).open(&living, &access)?;
        let left = |tokens: &[StoredToken]| t.node(1).count(tokens);
        t.expect_eq("rows a purge touches before anything is due", &0, &t.node(0).purge(t.at(DAY - TICK), limit)?);
        t.expect_eq("rows a purge touches that may touch none", &0, &t.node(0).purge(t.at(DAY), 0)?);
        t.expect_eq("tokens left after a purge of nothing", &15, &(left(&dead)? + left(&access)?));
        let mut before = left(&access)?;
        for _ in 0..100 {
            let touched = t.node(0).purge(t.at(DAY), limit)?;
            let after = left(&access)?;
            t.expect(
                before - after <= limit,
                format_args!("a purge of {limit} rows removes {limit} at most"),
                format_args!("{} access tokens went at once", before - after),
            );
            before = after;
            if touched < limit {
                break;
            }
        }
        let all: Vec<_> = dead.iter().chain(&access).map(|token| token.hash).collect();
        let expected = format!("no token is left after a purge in steps of {limit} came to its end");
        gone(t, &expected, &all)?;
        if !t.is_clean() {
            return Ok(());
        }
        t.expect_eq("rows a purge touches after that", &0, &t.node(0).purge(t.at(9 * DAY), limit)?);
    }
    Ok(())
}

fn begun_is_dead(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for (round, limit) in (0..).zip([1, 3, 6]) {
        let base = round * 1_000;
        let of = t.grant(base);
        let tokens: Vec<_> = (0..6).map(|number| t.refresh(base + number, &of)).collect();
        t.node(0).open(&of, &tokens)?;
        let touched = t.node(0).purge(t.at(DAY), limit)?;
        t.expect_eq("rows that the first step of a purge touches, of 7 that are due", &limit, &touched);
        if !t.is_clean() {
            return Ok(());
        }
        for (by, token) in (0..).zip(&tokens) {
            let answer = t.node(1).exchange(&t.spend(token, base + by), &[])?;
            t.expect_eq("the answer to a use of it", &Exchange::Dead, &answer);
            let found = t.node(2).find(token.hash)?;
            t.expect(
                found.is_none_or(|(_, of)| !of.is_live(t.at(SECOND))),
                "find returns no live grant of it",
                "it does",
            );
        }
        let which = GrantSelector::Id(of.id);
        t.expect_eq_soon("grants listed of it", &0, || {
            Ok(t.node(3).list(&which, t.at(SECOND), &Page::first(9))?.len())
        })?;
        t.node(0).purge_all(t.at(DAY), limit)?;
        t.node(1).open(&of, &tokens)?;
        t.node(0).purge_all(t.at(DAY), 100)?;
    }
    Ok(())
}

fn seeds_go(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for (number, kept_for) in [(1, SECOND), (100, HOUR)] {
        let (of, first) = t.family(number)?;
        let order = Spend { seed_until: Some(t.at(SECOND + kept_for)), ..t.spend(&first, number) };
        t.node(0).exchange_done(&order, &[t.refresh(number + 1, &of)])?;
        let spent = || -> Outcome<_> { Ok(t.node(1).row(first.hash)?.0.spent.clone()) };
        let has_seed = || -> Outcome<_> { Ok(spent()?.is_some_and(|spent| spent.seed.is_some())) };
        let how = || -> Outcome<_> { Ok(spent()?.map(|spent| (spent.at, spent.attempt))) };
        let before = how()?;
        t.node(0).purge_all(t.at(SECOND + kept_for - TICK), 9)?;
        t.expect(has_seed()?, "a seed is kept until it is due", "it is gone");
        t.node(0).purge_all(t.at(SECOND + kept_for), 9)?;
        t.expect(!has_seed()?, "a seed is erased when it is due", "it is still there");
        t.expect_eq("when and by whom it was spent", &before, &how()?);
        t.expect(t.node(1).has(t.hash(number + 1))?, "its successor is kept", "it is gone");
    }
    Ok(())
}

fn a_large_family(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    let of = t.grant(0);
    let mut tokens = vec![t.refresh(0, &of)];
    for number in 1..=600 {
        // The ones that stay stand among the others.
        let expires_at = t.at(if number % 6 == 0 { DAY } else { HOUR });
        tokens.push(StoredToken { expires_at, ..t.access(number, &of) });
    }
    t.node(0).open(&of, &tokens)?;
    t.node(0).purge_all(t.at(HOUR), 77)?;
    let mut there = 0;
    for token in &tokens {
        let is_there = t.node(1).has(token.hash)?;
        there += usize::from(is_there);
        if token.expires_at > t.at(HOUR) {
            t.expect(is_there, "a token that has not expired is kept", "it is gone");
        }
    }
    let due: Vec<_> = tokens.iter().filter(|token| token.expires_at <= t.at(HOUR)).map(|token| token.hash).collect();
    gone(t, "access tokens that expire at `before` are purged", &due)?;
    if !t.is_clean() {
        return Ok(());
    }
    t.expect_eq("tokens left", &101, &there);
    // A hash that went is as free as one that was never there.
    t.node(0).exchange_done(&t.spend(&tokens[0], 1), &[tokens[1].clone()])?;
    t.expect(t.node(1).has(tokens[1].hash)?, "it is stored again", "it is not there");
    t.node(0).purge_all(t.at(2 * DAY), 77)?;
    let all: Vec<_> = tokens.iter().map(|token| token.hash).collect();
    gone(t, "no token outlives its grant", &all)
}

fn purged_or_used(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for round in t.rounds(20) {
        let base = round * 1_000;
        let of = t.grant(base);
        let tokens: Vec<_> =
            (0..6).map(|number| StoredToken { expires_at: t.at(5 * DAY), ..t.refresh(base + number, &of) }).collect();
        t.node(0).open(&of, &tokens)?;
        let mut late = t.successors(base + 10, &of, &tokens[0]);
        late[1].expires_at = t.at(5 * DAY);
        // The clock of the one who uses it is behind: for the others the grant has ended.
        let order = Spend { at: t.at(DAY - TICK), seed: None, ..t.spend(&tokens[0], base) };
        let answers = t.race(round, 4, |runner, node| -> Outcome<Option<Exchange>> {
            if runner == 0 {
                return node.exchange(&order, &late).map(Some);
            }
            node.purge(t.at(DAY), runner * 2)?;
            Ok(None)
        });
        let answers = answers.into_iter().collect::<Outcome<Vec<_>>>()?;
        let is_used = answers[0] == Some(Exchange::Done);
        t.expect(answers[0] != Some(Exchange::AlreadySpent), "a token is not spent by a purge", "it is AlreadySpent");
        t.node(0).purge_all(t.at(DAY), 100)?;
        // Of what was used, one expired access token may go.
        let lasting: Vec<&StoredToken> = tokens.iter().chain(&late[1..]).collect();
        let there = still_there(t.node(1), &lasting, &of)?;
        let expected = if is_used { lasting.len() } else { 0 };
        t.expect_eq(
            &format!("tokens left of a family that was {}", if is_used { "used" } else { "purged" }),
            &expected,
            &there,
        );
        t.node(0).purge_all(t.at(9 * DAY), 100)?;
    }
    Ok(())
}

fn still_there(node: Node<'_>, tokens: &[&StoredToken], of: &Grant) -> Outcome<usize> {
    let mut there = 0;
    for token in tokens {
        there += usize::from(node.find(token.hash)?.is_some_and(|(_, grant)| grant.id == of.id));
    }
    Ok(there)
}
