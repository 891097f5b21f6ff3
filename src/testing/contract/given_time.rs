//! Clause 6: a storage uses the time of the caller, in the past and in the future, to the microsecond.

use std::sync::Arc;

use time::{Duration, OffsetDateTime};

use super::node::Outcome;
use super::records::{DAY, HOUR, SECOND, TICK};
use super::trial::{Named, Trial};
use crate::record::{Grant, Spent, StoredToken};
use crate::storage::{GrantPage, GrantSelector, RedeemOutcome, Redemption};

pub(super) const CASES: &[Named] = &[
    ("a redemption compares with the time of the call, to the microsecond", redemptions),
    ("written times are the time of the call", writes),
    ("the list of live grants uses the time of the call", lists),
    ("a token can be found at any time", finds),
];

/// Returns times long before and long after the suite runs.
fn ages(t: &Trial<'_>) -> [OffsetDateTime; 3] {
    [OffsetDateTime::UNIX_EPOCH + DAY, OffsetDateTime::UNIX_EPOCH + Duration::days(11_000), t.at(DAY)]
}

/// Returns a grant that is opened at `start` and ends a day later.
fn grant_of(t: &Trial<'_>, number: u64, start: OffsetDateTime) -> Grant {
    Grant { opened_at: start, last_used_at: start, expires_at: start + DAY, ..t.grant(number) }
}

fn redemptions(t: &Trial<'_>) -> Outcome {
    use RedeemOutcome::{AlreadySpent, Dead, Done};
    // The expiry of the token, the end of the grant, and whether the token is spent.
    let rows = [
        ("a token that expires in a moment", SECOND + TICK, DAY, false, Done),
        ("a token that expires now", SECOND, DAY, false, Dead),
        ("a token that expired a moment ago", SECOND - TICK, DAY, false, Dead),
        ("a token of a grant that ends in a moment", DAY, SECOND + TICK, false, Done),
        ("a token of a grant that ends now", DAY, SECOND, false, Dead),
        ("a spent token that has expired", TICK, DAY, true, AlreadySpent),
        ("a spent token of a grant that ends now", DAY, SECOND, true, Dead),
    ];
    for (age, start) in (0..).zip(ages(t)) {
        for (number, (what, token_ends, grant_ends, is_spent, expected)) in (0..).zip(rows) {
            for consume in [true, false] {
                let number = age * 1_000 + number * 10 + u64::from(consume);
                let of = Grant { expires_at: start + grant_ends, ..grant_of(t, number, start) };
                let mut token = StoredToken { expires_at: start + token_ends, ..t.refresh(number, &of) };
                token.spent =
                    is_spent.then(|| Spent { at: start, attempt: t.attempt(9_999), seed: None, seed_until: None });
                t.node(0).open(&of, std::slice::from_ref(&token))?;
                let (at, grant_expires_at) = (start + SECOND, start + 2 * DAY);
                let order = Redemption { at, grant_expires_at, consume, seed: None, ..t.spend(&token, number) };
                t.expect_eq(
                    &format!("the result for {what}, in {}", start.date()),
                    &expected,
                    &t.node(1).redeem(&order, &[])?,
                );
            }
        }
    }
    Ok(())
}

fn writes(t: &Trial<'_>) -> Outcome {
    for (age, start) in (0..).zip(ages(t)) {
        let of = grant_of(t, age * 1_000, start);
        let (mut old, mut access) = (t.refresh(age * 1_000, &of), t.access(age * 1_000 + 1, &of));
        t.node(0).open(&of, &[old.clone(), access.clone()])?;
        let odd = Duration::microseconds(123_457);
        let (at, grant_expires_at) = (start + odd, start + 2 * DAY + odd);
        let (token_revoked_at, revoked_at) = (start + odd + TICK, start + odd + 2 * TICK);
        let order = Redemption { at, grant_expires_at, ..t.spend(&old, age) };
        t.node(0).must_redeem(&order, &[])?;
        t.node(0).revoke_access_token(access.hash, token_revoked_at)?;
        t.node(0).revoke(&GrantSelector::Id(of.id), revoked_at)?;

        old.spent = Some(Spent { at, ..order.spent() });
        access.revoked_at = Some(token_revoked_at);
        let of = Grant { last_used_at: at, expires_at: grant_expires_at, revoked_at: Some(revoked_at), ..of };
        let of = Arc::new(of);
        for (what, token) in [("a token after it was spent", old), ("an access token after it was revoked", access)] {
            t.expect_found(what, &(Arc::new(token), Arc::clone(&of)))?;
        }
    }
    Ok(())
}

fn lists(t: &Trial<'_>) -> Outcome {
    for (number, start) in (0..).zip(ages(t)) {
        let of = grant_of(t, number, start);
        t.node(0).open(&of, &[])?;
        let which = GrantSelector::Id(of.id);
        for (now, is_live) in [(start + DAY - TICK, true), (start + DAY, false), (start + DAY + TICK, false)] {
            let expected = &[of.id][..usize::from(is_live)];
            let what = format!("grants live at {now}, of one that ends at {}", of.expires_at);
            t.expect_eq_lists_soon(&what, expected, || t.node(1).list_ids(&which, now, &GrantPage::first(9)))?;
        }
    }
    Ok(())
}

fn finds(t: &Trial<'_>) -> Outcome {
    for (number, start) in (0..).zip(ages(t)) {
        let of = grant_of(t, number, start);
        let token = StoredToken { expires_at: start + HOUR, ..t.access(number, &of) };
        t.node(0).open(&of, std::slice::from_ref(&token))?;
        let what = format!("a token of {} is found, even if it has long expired or is from the future", start.date());
        t.expect(t.node(1).has(token.hash)?, &what, "it is not there");
    }
    Ok(())
}
