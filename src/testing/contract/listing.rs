//! Clause 7: the list of grants, which users need to end access.
//!
//! A list may lag (clause 1), so a wrong list is read again for a moment.

use std::cmp::Reverse;
use std::sync::Arc;

use time::Duration;

use super::node::Outcome;
use super::records::{DAY, HOUR, SECOND};
use super::revocation::{all_selectors, many_grants};
use super::trial::{Named, Trial};
use crate::record::{Grant, GrantId};
use crate::storage::{GrantPage, GrantSelector};

pub(super) const CASES: &[Named] = &[
    ("each selector lists its grants and no others", selectors),
    ("live grants are listed newest first and once each, with pages of any size", pages),
    ("dead grants are not listed and do not shorten a page", dead_ones),
];

fn selectors(t: &Trial<'_>) -> Outcome {
    let grants = many_grants(t, 0)?;
    for which in all_selectors(t, 0) {
        let sorted = |mut ids: Vec<GrantId>| {
            ids.sort_unstable();
            ids
        };
        let meant = sorted(grants.iter().filter(|grant| which.selects(grant)).map(|grant| grant.id).collect());
        let list = || Ok(sorted(t.node(1).list_ids(&which, t.at(SECOND), &GrantPage::first(99))?));
        t.expect_eq_lists_soon(&format!("what {which:?} lists"), &meant, list)?;
    }
    Ok(())
}

/// Returns all pages of a list.
fn listed(t: &Trial<'_>, which: &GrantSelector, limit: usize) -> Outcome<Vec<GrantId>> {
    let page = |last: Option<&Arc<Grant>>| last.map_or(GrantPage::first(limit), |last| GrantPage::after(last, limit));
    let grants = t.paged(limit, |last| t.node(1).list(which, t.at(HOUR), &page(last)))?;
    Ok(grants.iter().map(|grant| grant.id).collect())
}

fn pages(t: &Trial<'_>) -> Outcome {
    let mut places = Vec::new();
    for number in 0..40_u64 {
        let opened_at = t.at(Duration::microseconds(i64::try_from(number * 7 % 20).unwrap_or_default()));
        let of = Grant { opened_at, ..t.grant(number) };
        t.node(0).open(&of, &[])?;
        places.push((opened_at, of.id));
    }
    places.sort_unstable_by_key(|(opened_at, id)| (Reverse(*opened_at), *id));
    for which in [GrantSelector::Subject(t.subject("alice")), GrantSelector::Client(t.client("app"))] {
        // Some are opened at the same time. Their order may be any, but it must be the same on every page.
        let in_order = || {
            let list = t.node(1).list(&which, t.at(HOUR), &GrantPage::first(99))?;
            let mut places: Vec<_> = list.iter().map(|grant| (grant.opened_at, grant.id)).collect();
            places.chunk_by_mut(|a, b| a.0 == b.0).for_each(<[_]>::sort_unstable);
            Ok(places)
        };
        t.expect_eq_lists_soon("the list of all grants", &places, in_order)?;
        let whole = t.node(1).list_ids(&which, t.at(HOUR), &GrantPage::first(99))?;
        for limit in [1, 2, 3, 7, 39, 40, 41, 1_000_000] {
            t.expect_eq_lists_soon(&format!("a list in pages of {limit}"), &whole, || listed(t, &which, limit))?;
        }
        t.expect_eq_lists(
            "a page with the limit 0",
            &[],
            &t.node(1).list_ids(&which, t.at(HOUR), &GrantPage::first(0))?,
        );
        if !t.is_clean() {
            break;
        }
    }
    Ok(())
}

fn dead_ones(t: &Trial<'_>) -> Outcome {
    let which = GrantSelector::Subject(t.subject("alice"));
    // The ended grants ended long ago, so that all clocks agree.
    let start = time::OffsetDateTime::UNIX_EPOCH + DAY;
    let opened = |number: u64| start + Duration::seconds(i64::try_from(number).unwrap_or_default());
    for number in 0..30_u64 {
        // Of each three grants, one is revoked, one has ended, and one is live.
        let expires_at = if number % 3 == 1 { start + HOUR } else { t.at(DAY) };
        let of = Grant { opened_at: opened(number), last_used_at: opened(number), expires_at, ..t.grant(number) };
        t.node(0).open(&of, &[])?;
        if number % 3 == 0 {
            t.node(0).revoke(&GrantSelector::Id(of.id), start + HOUR)?;
        }
    }
    let now = t.at(HOUR);
    let live: Vec<_> = (0..30).rev().filter(|number| number % 3 == 2).map(|number| t.grant_id(number)).collect();
    for limit in [1, 4, 99] {
        let first = || t.node(1).list_ids(&which, now, &GrantPage::first(limit));
        t.expect_eq_lists_soon(&format!("the first {limit} live grants"), &live[..limit.min(live.len())], first)?;
        t.expect_eq_lists_soon(&format!("a list in pages of {limit}"), &live, || listed(t, &which, limit))?;
    }
    // A page continues after a grant that was revoked meanwhile.
    let behind = GrantPage { limit: 9, after: Some((opened(20), t.grant_id(20))) };
    t.node(0).revoke(&GrantSelector::Id(t.grant_id(20)), now)?;
    let list = || t.node(1).list_ids(&which, now, &behind);
    t.expect_eq_lists_soon("the page after a revoked grant", &live[4..], list)
}
