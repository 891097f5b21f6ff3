//! Clause 5: what a purge removes and keeps.

use super::node::Outcome;
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Named, Trial};
use crate::record::{Grant, StoredToken, TokenKind};
use crate::storage::{GrantPage, GrantSelector, RedeemOutcome, Redemption};

pub(super) const CASES: &[Named] = &[
    ("a purge removes expired access tokens and keeps all evidence while the grant lives", evidence_stays),
    ("a purge removes whole families that ended or were revoked, and no others", dead_families_go),
    ("a purge touches at most `limit` rows and finishes with steps of any size", bounded_steps),
    ("a family whose purge has begun can't be used, even with a slow clock", begun_is_dead),
    ("a purge erases seeds when they are due and keeps the spent row", seeds_go),
    ("a purge of a family of some hundred tokens removes expired access tokens only", a_large_family),
    ("a family is either purged or used, never both in part", purged_or_used),
];

/// Checks that all these tokens were purged.
fn gone<'t>(t: &Trial<'_>, expected: &str, due: impl IntoIterator<Item = &'t StoredToken>) -> Outcome {
    let left = t.node(1).count(due)?;
    t.expect(left == 0, expected, format_args!("{left} are still there"));
    Ok(())
}

fn evidence_stays(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    let (of, first) = t.family(1)?;
    let expiring = |number, kind| StoredToken { expires_at: t.at(HOUR), ..t.token(number, kind, &of) };
    let short = expiring(2, TokenKind::AccessToken);
    let second = StoredToken { parent: Some(first.hash), ..expiring(3, TokenKind::RefreshToken) };
    let spent_access = expiring(5, TokenKind::AccessToken);
    let code = expiring(6, TokenKind::AuthorizationCode);
    let last = t.refresh(4, &of);
    let successors = [short.clone(), second.clone(), spent_access.clone(), code.clone()];
    t.node(0).must_redeem(&t.spend(&first, 1), &successors)?;
    t.node(0).must_redeem(&t.spend(&spent_access, 3), &[])?;
    let order = Redemption { grant_expires_at: t.at(90 * DAY), ..t.spend(&second, 2) };
    t.node(0).must_redeem(&order, std::slice::from_ref(&last))?;

    t.node(0).purge_all(t.at(HOUR - TICK), 9)?;
    t.expect(t.node(1).has(short.hash)?, "an unspent access token is kept until it expires", "it is gone");
    t.node(0).purge_all(t.at(HOUR), 9)?;
    gone(t, "an access token that expires at `before` is purged", [&short])?;
    // All other tokens have expired, too. Spent tokens and unspent refresh tokens must be kept.
    let evidence = [
        ("a spent token", &first),
        ("its spent successor", &second),
        ("a spent access token", &spent_access),
        ("an unspent refresh token", &last),
        ("an unspent code", &code),
    ];
    for before in [t.at(89 * DAY), t.at(90 * DAY - TICK)] {
        t.node(0).purge_all(before, 9)?;
        for (what, token) in evidence {
            let is_there = t.node(1).has(token.hash)?;
            t.expect(is_there, format_args!("{what} is kept while the grant lives"), "it is gone");
        }
    }
    let replay = Redemption { at: t.at(89 * DAY), ..t.spend(&first, 9) };
    t.expect_eq("the result of a late replay", &RedeemOutcome::AlreadySpent, &t.node(1).redeem(&replay, &[])?);
    t.node(0).purge_all(t.at(90 * DAY), 9)?;
    gone(t, "the tokens of a grant that ends at `before` are purged", evidence.map(|(_, token)| token))?;
    t.expect_eq("the result of a replay after that", &RedeemOutcome::Dead, &t.node(1).redeem(&replay, &[])?);
    Ok(())
}

fn dead_families_go(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    let ended = t.large_family(10, 4, 10 * DAY)?;
    let revoked = t.large_family(20, 4, 90 * DAY)?;
    let living = t.large_family(30, 4, 90 * DAY)?;
    t.expect_eq("grants revoked", &1, &t.node(0).revoke(&GrantSelector::Id(revoked.0.id), t.at(10 * DAY))?);
    let families = [("ends at `before`", &ended), ("was revoked at `before`", &revoked), ("is live", &living)];
    for (before, left) in [(10 * DAY - TICK, [4, 4, 4]), (10 * DAY, [0, 0, 4])] {
        t.node(0).purge_all(t.at(before), 9)?;
        for ((which, (_, tokens)), left) in families.iter().zip(left) {
            let what = format!("tokens left of 4, {before} after the start, of a grant that {which}");
            t.expect_eq(&what, &left, &t.node(1).count(tokens)?);
        }
    }
    // Only the third grant is revoked now: the second was revoked before.
    let app = GrantSelector::Client(t.client("app"));
    let unrevoked = t.node(1).revoke(&app, t.at(11 * DAY))?;
    t.expect_eq("the number of stored grants that are not revoked", &1, &unrevoked);
    if t.is_clean() {
        // All identifiers of the first grant are free again.
        t.node(0).open(&ended.0, &ended.1)?;
    }
    Ok(())
}

fn bounded_steps(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for (round, limit) in (0..).zip([1, 2, 3, 5, 7, 100]) {
        let base = round * 1_000;
        // Grants with one to five rows, and a live grant with five expired access tokens.
        let mut dead = Vec::new();
        for tokens in 0..5 {
            dead.extend(t.large_family(base + tokens * 10, tokens, DAY)?.1);
        }
        let living = Grant { expires_at: t.at(50 * DAY), ..t.grant(base + 90) };
        let access: Vec<_> = (0..5).map(|token| t.access(base + 100 + token, &living)).collect();
        t.node(0).open(&living, &access)?;
        let left = |tokens: &[StoredToken]| t.node(1).count(tokens);
        t.expect_eq(
            "the rows that a purge touches before anything is due",
            &0,
            &t.node(0).purge(t.at(DAY - TICK), limit)?,
        );
        t.expect_eq("the rows that a purge with the limit 0 touches", &0, &t.node(0).purge(t.at(DAY), 0)?);
        t.expect_eq("the tokens left after a purge with the limit 0", &15, &(left(&dead)? + left(&access)?));
        let mut before = left(&access)?;
        for _ in 0..100 {
            let touched = t.node(0).purge(t.at(DAY), limit)?;
            let after = left(&access)?;
            t.expect(
                before - after <= limit,
                format_args!("a purge of {limit} rows removes {limit} at most"),
                format_args!("it removed {} access tokens", before - after),
            );
            before = after;
            if touched < limit {
                break;
            }
        }
        let expected = format!("no token is left after a complete purge in steps of {limit}");
        gone(t, &expected, dead.iter().chain(&access))?;
        if !t.is_clean() {
            return Ok(());
        }
        t.expect_eq("the rows that a further purge touches", &0, &t.node(0).purge(t.at(9 * DAY), limit)?);
    }
    Ok(())
}

fn begun_is_dead(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for (round, limit) in (0..).zip([1, 3, 6]) {
        let base = round * 1_000;
        let (of, tokens) = t.large_family(base, 6, DAY)?;
        let touched = t.node(0).purge(t.at(DAY), limit)?;
        t.expect_eq("the rows that the first step of a purge touches, of 7 that are due", &limit, &touched);
        if !t.is_clean() {
            return Ok(());
        }
        for (by, token) in (0..).zip(&tokens) {
            let answer = t.node(1).redeem(&t.spend(token, base + by), &[])?;
            t.expect_eq("the result of a redemption", &RedeemOutcome::Dead, &answer);
            let found = t.node(2).find(token.hash)?;
            let is_dead = found.is_none_or(|(_, of)| !of.is_live(t.at(SECOND)));
            t.expect(is_dead, "`find` returns no live grant", "it does");
        }
        let listed = || t.node(3).list_ids(&GrantSelector::Id(of.id), t.at(SECOND), &GrantPage::first(9));
        t.expect_eq_lists_soon("the listed grants", &[], listed)?;
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
        let order = Redemption { seed_until: Some(t.at(SECOND + kept_for)), ..t.spend(&first, number) };
        t.node(0).must_redeem(&order, &[t.refresh(number + 1, &of)])?;
        let spent = || -> Outcome<_> { Ok(t.node(1).row(first.hash)?.0.spent.clone()) };
        let has_seed = || -> Outcome<_> { Ok(spent()?.is_some_and(|spent| spent.seed.is_some())) };
        let how = || -> Outcome<_> { Ok(spent()?.map(|spent| (spent.at, spent.attempt))) };
        let before = how()?;
        t.node(0).purge_all(t.at(SECOND + kept_for - TICK), 9)?;
        t.expect(has_seed()?, "a seed is kept until it is due", "it is gone");
        t.node(0).purge_all(t.at(SECOND + kept_for), 9)?;
        t.expect(!has_seed()?, "a seed is erased when it is due", "it is still there");
        t.expect_eq("the time and the attempt that spent it", &before, &how()?);
        t.expect(t.node(1).has(t.hash(number + 1))?, "its successor is kept", "it is gone");
    }
    Ok(())
}

fn a_large_family(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    let of = t.grant(0);
    // The tokens that stay are mixed with the others.
    let ends = |number: u64| t.at(if number.is_multiple_of(6) { DAY } else { HOUR });
    let access = |number| StoredToken { expires_at: ends(number), ..t.access(number, &of) };
    let tokens: Vec<_> = std::iter::once(t.refresh(0, &of)).chain((1..=600).map(access)).collect();
    t.node(0).open(&of, &tokens)?;
    t.node(0).purge_all(t.at(HOUR), 77)?;
    let (due, kept): (Vec<_>, Vec<_>) = tokens.iter().partition(|token| token.expires_at <= t.at(HOUR));
    gone(t, "access tokens that expire at `before` are purged", due)?;
    t.expect_eq("the number of unexpired tokens that are left", &101, &t.node(1).count(kept)?);
    if !t.is_clean() {
        return Ok(());
    }
    // The hash of a purged token is free again.
    t.node(0).must_redeem(&t.spend(&tokens[0], 1), &[tokens[1].clone()])?;
    t.expect(t.node(1).has(tokens[1].hash)?, "a token with the hash of a purged one is stored", "it is not");
    t.node(0).purge_all(t.at(2 * DAY), 77)?;
    gone(t, "no token outlives its grant", &tokens)
}

fn purged_or_used(t: &Trial<'_>) -> Outcome {
    t.clean_up()?;
    for round in t.rounds(20) {
        let base = round * 1_000;
        let (of, mut tokens) = t.large_family(base, 6, DAY)?;
        let mut late = t.successors(base + 10, &of, &tokens[0]);
        late[1].expires_at = t.at(5 * DAY);
        // The clock of the redeeming node is behind: for the other nodes, the grant has ended.
        let order = Redemption { at: t.at(DAY - TICK), seed: None, ..t.spend(&tokens[0], base) };
        let answers = t.race(round, 4, |runner, node| {
            if runner == 0 {
                return node.redeem(&order, &late).map(Some);
            }
            node.purge(t.at(DAY), runner * 2)?;
            Ok(None)
        })?;
        t.expect(
            answers[0] != Some(RedeemOutcome::AlreadySpent),
            "a token is not spent by a purge",
            "it is AlreadySpent",
        );
        t.node(0).purge_all(t.at(DAY), 100)?;
        // If the grant was used, one expired access token may be purged.
        tokens.push(late.swap_remove(1));
        let (how, expected) = if answers[0] == Some(RedeemOutcome::Done) { ("used", 7) } else { ("purged", 0) };
        let found = t.node(1).count(&tokens)?;
        t.expect_eq(&format!("the tokens left of a grant that was {how}"), &expected, &found);
        t.node(0).purge_all(t.at(9 * DAY), 100)?;
    }
    Ok(())
}
