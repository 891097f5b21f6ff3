//! Clause 2: the decisions and writes of a redemption.

use std::sync::Arc;

use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Named, RUNNERS, Trial};
use crate::record::{Grant, Spent, StoredToken, TokenKind};
use crate::storage::{RedeemOutcome, Redemption};

pub(super) const CASES: &[Named] = &[
    ("a redemption spends the token, stores its successors and updates its grant", a_redemption_does_all_of_it),
    ("a redemption decides in the documented order, and writes only if it answers `Done`", it_decides_in_order),
    ("a redemption with a successor hash that exists fails and writes nothing", a_taken_successor_writes_nothing),
    ("a token that is not consumed stays unspent and can be redeemed again", unconsumed_token_stays_redeemable),
    ("spending a successor erases its parent's seed, so at most one seed is left", one_seed_lives),
    ("only spending a successor of a code erases the code's seed", a_code_tells_of_use),
    ("a successor is seen as spent exactly when its parent has no seed", one_step_for_all),
    ("a grant's last use and end never move back", never_back),
];

fn a_redemption_does_all_of_it(t: &Trial<'_>) -> Outcome {
    for (number, kind) in [(10, TokenKind::AuthorizationCode), (20, TokenKind::RefreshToken)] {
        for (number, seed) in [(number, None), (number + 100, Some(t.seed(number)))] {
            let of = t.grant(number);
            let old = t.token(number, kind.clone(), &of);
            t.node(0).open(&of, std::slice::from_ref(&old))?;
            let (row, grant) = t.node(1).row(old.hash)?;
            let successors = t.successors(number + 1, &of, &old);
            let order = Redemption { seed, ..t.spend(&old, number) };
            t.node(0).must_redeem(&order, &successors)?;

            let (spent_row, moved) = t.node(1).row(old.hash)?;
            // Clause 6 tests which times are stored.
            let at = spent_row.spent.as_ref().map_or(order.at, |spent| spent.at);
            let spent = Some(Spent { at, ..order.spent() });
            let (last_used_at, expires_at) = (moved.last_used_at, order.grant_expires_at);
            let of = Arc::new(Grant { last_used_at, expires_at, ..(*grant).clone() });
            let spent_row = Arc::new(StoredToken { spent, ..(*row).clone() });
            t.expect_found("a spent token", &(spent_row, Arc::clone(&of)))?;
            for successor in successors {
                t.expect_found("a new successor", &(Arc::new(successor), Arc::clone(&of)))?;
            }
        }
    }
    Ok(())
}

/// A fact about a token, its grant or the redemption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fact {
    Spent,
    Expired,
    Revoked,
    OfRevokedGrant,
    Absent,
    OfAnotherKind,
    OfAnotherGrant,
    NotToBeConsumed,
}

/// Facts about a token, and the expected outcome.
const ROWS: &[(&[Fact], RedeemOutcome)] = {
    use Fact::{
        Absent, Expired, NotToBeConsumed, OfAnotherGrant, OfAnotherKind, OfRevokedGrant, Revoked, Spent as IsSpent,
    };
    use RedeemOutcome::{AlreadySpent, Dead, Done};
    &[
        (&[], Done),
        (&[IsSpent], AlreadySpent),
        // Dead comes first, regardless of the other facts,
        (&[Absent], Dead),
        (&[OfAnotherKind], Dead),
        (&[OfAnotherGrant], Dead),
        (&[Revoked], Dead),
        (&[OfRevokedGrant], Dead),
        (&[IsSpent, OfAnotherKind], Dead),
        (&[IsSpent, OfAnotherGrant], Dead),
        (&[IsSpent, OfRevokedGrant], Dead),
        (&[IsSpent, Revoked], Dead),
        // then spent, then expired (see clause 6).
        (&[IsSpent, Expired], AlreadySpent),
        // Without `consume`, the order is the same.
        (&[NotToBeConsumed], Done),
        (&[NotToBeConsumed, IsSpent], AlreadySpent),
        (&[NotToBeConsumed, Revoked], Dead),
    ]
};

fn it_decides_in_order(t: &Trial<'_>) -> Outcome {
    for (number, (facts, expected)) in (1..).zip(ROWS) {
        let mut of = t.grant(number);
        let mut token = t.refresh(number, &of);
        let mut order = t.spend(&token, number);
        for fact in *facts {
            match fact {
                Fact::Spent => {
                    token.spent = Some(Spent { at: t.at(TICK), attempt: t.attempt(99), seed: None, seed_until: None });
                }
                Fact::Expired => token.expires_at = t.at(TICK),
                Fact::Revoked => token.revoked_at = Some(t.at(TICK)),
                Fact::OfRevokedGrant => of.revoked_at = Some(t.at(TICK)),
                Fact::Absent => order.token = t.hash(9_999),
                Fact::OfAnotherKind => order.kind = TokenKind::AuthorizationCode,
                Fact::OfAnotherGrant => order.grant_id = t.grant_id(9_999),
                Fact::NotToBeConsumed => order.consume = false,
            }
        }
        t.node(0).open(&of, std::slice::from_ref(&token))?;
        let before = t.node(0).row(token.hash)?;
        let successor = t.access(number + 1_000, &of);
        let answer = t.node(1).redeem(&order, std::slice::from_ref(&successor))?;
        let what = format!("a token that is {facts:?}");
        t.expect_eq(&format!("the result for {what}"), expected, &answer);

        let (is_done, is_stored) = (*expected == RedeemOutcome::Done, t.node(0).has(successor.hash)?);
        t.expect_eq(&format!("whether a successor of {what} is stored"), &is_done, &is_stored);
        if is_done {
            let is_spent = t.node(0).row(token.hash)?.0.spent.is_some();
            t.expect_eq(&format!("whether {what} is spent afterwards"), &order.consume, &is_spent);
        } else {
            t.expect_found(&format!("{what}, which must not change"), &before)?;
        }
    }
    Ok(())
}

fn a_taken_successor_writes_nothing(t: &Trial<'_>) -> Outcome {
    let (of, old) = t.family(1)?;
    let (_, other) = t.family(2)?;
    let before = t.node(0).row(old.hash)?;
    let fresh = t.access(10, &of);
    for (what, taken) in [
        ("is the token itself", t.access(1, &of)),
        ("is another grant's", StoredToken { grant_id: of.id, ..other }),
        ("is another successor's", t.access(10, &of)),
    ] {
        for successors in [[fresh.clone(), taken.clone()], [taken.clone(), fresh.clone()]] {
            let failed = t.node(1).redeem(&t.spend(&old, 1), &successors).is_err();
            t.expect(failed, format_args!("a redemption fails if a successor's hash {what}"), "it succeeds");
            t.expect_found("a token whose redemption failed, which must not change", &before)?;
            let is_stored = t.node(0).has(fresh.hash)?;
            t.expect(!is_stored, "a failed redemption stores no successor", "it stores one");
        }
    }
    t.node(0).must_redeem(&t.spend(&old, 1), &[fresh])
}

fn unconsumed_token_stays_redeemable(t: &Trial<'_>) -> Outcome {
    let (of, first) = t.family(1)?;
    let second = StoredToken { parent: Some(first.hash), ..t.refresh(2, &of) };
    t.node(0).must_redeem(&t.spend(&first, 1), std::slice::from_ref(&second))?;
    for (by, successor) in [(2_u32, 3), (3, 4)] {
        let at = t.at(SECOND * by);
        let order = Redemption { consume: false, seed: None, at, ..t.spend(&second, u64::from(by)) };
        t.node(1).must_redeem(&order, &[t.access(successor, &of)])?;
        let (row, grant) = t.node(0).row(second.hash)?;
        t.expect(row.spent.is_none(), "a token that was redeemed without `consume` is unspent", "it is spent");
        t.expect(t.node(0).has(t.hash(successor))?, "its successor is stored", "it is not");
        t.expect_eq("the last use of its grant", &at, &grant.last_used_at);
    }
    let parent = t.node(0).row(first.hash)?.0.spent.clone();
    let is_kept = parent.is_some_and(|spent| spent.seed.is_some());
    t.expect(is_kept, "the seed of a token is kept until one of its successors is spent", "it is erased");
    Ok(())
}

fn one_seed_lives(t: &Trial<'_>) -> Outcome {
    let (of, mut last) = t.family(1)?;
    for number in 2..6_u64 {
        let next = StoredToken { parent: Some(last.hash), ..t.refresh(number, &of) };
        t.node(0).must_redeem(&t.spend(&last, number), std::slice::from_ref(&next))?;
        for earlier in 1..number {
            let spent = t.node(1).row(t.hash(earlier))?.0.spent.clone();
            let seed = spent.as_ref().is_some_and(|spent| spent.seed.is_some());
            let what = format!("whether token {earlier} of a chain has its seed after token {} was spent", number - 1);
            t.expect_eq(&what, &(earlier == number - 1), &seed);
            let attempt = spent.map(|spent| spent.attempt);
            t.expect_eq("the attempt that spent it", &Some(t.attempt(earlier + 1)), &attempt);
        }
        last = next;
    }
    Ok(())
}

fn a_code_tells_of_use(t: &Trial<'_>) -> Outcome {
    let of = t.grant(1);
    let code = t.token(1, TokenKind::AuthorizationCode, &of);
    t.node(0).open(&of, std::slice::from_ref(&code))?;
    let successors = t.successors(2, &of, &code);
    t.node(0).must_redeem(&t.spend(&code, 1), &successors)?;
    let check = |is_kept: bool, after: &str| -> Outcome {
        let seed = t.node(1).row(code.hash)?.0.spent.as_ref().is_some_and(|spent| spent.seed.is_some());
        t.expect_eq(&format!("whether a code has its seed after {after}"), &is_kept, &seed);
        Ok(())
    };
    check(true, "it was spent")?;
    let again = t.node(1).redeem(&t.spend(&code, 2), &[])?;
    t.expect_eq("the result of a second redemption", &RedeemOutcome::AlreadySpent, &again);
    check(true, "a second redemption")?;
    let foreign = Redemption { grant_id: t.grant_id(9_999), ..t.spend(&successors[1], 3) };
    let answer = t.node(1).redeem(&foreign, &[])?;
    t.expect_eq("the result of a redemption of a successor with the wrong grant", &RedeemOutcome::Dead, &answer);
    check(true, "a redemption of a dead successor")?;
    let stays = Redemption { consume: false, seed: None, ..t.spend(&successors[1], 4) };
    t.node(1).must_redeem(&stays, &[t.access(10, &of)])?;
    check(true, "a redemption of a successor without `consume`")?;
    t.node(0).must_redeem(&t.spend(&successors[1], 5), &[t.refresh(11, &of)])?;
    check(false, "a successor was spent")
}

/// One runner spends the successor of a code, while the others read both.
fn one_step_for_all(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(20) {
        let base = round * 1_000;
        let of = t.grant(base);
        let code = t.token(base, TokenKind::AuthorizationCode, &of);
        t.node(0).open(&of, std::slice::from_ref(&code))?;
        let successors = t.successors(base + 1, &of, &code);
        t.node(0).must_redeem(&t.spend(&code, base), &successors)?;
        let next = &successors[1];
        let is_spent = |node: Node<'_>| -> Outcome<bool> { Ok(node.row(next.hash)?.0.spent.is_some()) };
        let has_seed = |node: Node<'_>| -> Outcome<bool> {
            Ok(node.row(code.hash)?.0.spent.as_ref().is_some_and(|spent| spent.seed.is_some()))
        };
        t.race(round, RUNNERS, |runner, node| {
            if runner == 0 {
                return node.must_redeem(&t.spend(next, base + 1), &[t.refresh(base + 10, &of)]);
            }
            // The first token is read earlier than the second, so only one direction can be checked each time.
            for _ in 0..20 {
                if runner % 2 == 0 && is_spent(node)? {
                    t.expect(
                        !has_seed(node)?,
                        "the step that spends a successor also erases the seed",
                        "the seed is still there",
                    );
                    break;
                }
                if runner % 2 == 1 && !has_seed(node)? {
                    t.expect(
                        is_spent(node)?,
                        "the step that erases a seed also spends a successor",
                        "the successor is unspent",
                    );
                    break;
                }
            }
            Ok(())
        })?;
    }
    Ok(())
}

fn never_back(t: &Trial<'_>) -> Outcome {
    let (of, first) = t.family(1)?;
    let second = t.refresh(2, &of);
    let order = Redemption { at: t.at(HOUR), ..t.spend(&first, 1) };
    t.node(0).must_redeem(&order, std::slice::from_ref(&second))?;
    let behind = Redemption { at: t.at(SECOND), grant_expires_at: t.at(DAY), ..t.spend(&second, 2) };
    t.node(1).must_redeem(&behind, &[])?;
    let grant = t.node(0).row(second.hash)?.1;
    t.expect_eq("the last use", &t.at(HOUR), &grant.last_used_at);
    t.expect_eq("the end", &t.at(2 * DAY), &grant.expires_at);
    Ok(())
}
