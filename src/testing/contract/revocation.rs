//! Clause 7: revocations cover the right grants and are final.

use time::OffsetDateTime;

use super::node::Outcome;
use super::records::{DAY, HOUR, SECOND};
use super::trial::{Named, Trial};
use crate::record::{ClientId, Grant, Subject, TokenKind};
use crate::storage::{GrantSelector, RedeemOutcome};

pub(super) const CASES: &[Named] = &[
    ("each selector revokes its grants and no others, and the first revocation time stays", |t| {
        by_each_selector(t, t.at(SECOND))
    }),
    ("a grant that has ended is still revoked and counted", |t| by_each_selector(t, t.at(DAY + HOUR))),
    ("names are compared byte by byte", similar_names),
    ("only an access token can be revoked alone, and the first revocation time stays", one_access_token),
    ("no token of a revoked grant can be redeemed or revived, even in a large family", a_revoked_family),
];

/// Stores grants of two users and a machine for two clients. Each has a token with the number of the grant.
pub(super) fn many_grants(t: &Trial<'_>, base: u64) -> Outcome<Vec<Grant>> {
    let mut grants = Vec::new();
    for (number, owner, client) in [
        (1, Some("alice"), "app"),
        (2, Some("alice"), "other"),
        (3, Some("bob"), "app"),
        (4, None, "app"),
        // A machine with the name of a user.
        (5, None, "alice"),
        (6, Some("alice"), "app"),
    ] {
        let subject = owner.map(|owner| t.subject(&format!("{owner}-{base}")));
        let session = matches!(number, 3 | 4 | 6).then(|| t.session(base));
        let client_id = t.client(&format!("{client}-{base}"));
        let grant = Grant { client_id, subject, session, ..t.grant(base + number) };
        t.node(0).open(&grant, &[t.access(base + number, &grant)])?;
        grants.push(grant);
    }
    Ok(grants)
}

/// Returns selectors for [`many_grants`].
pub(super) fn all_selectors(t: &Trial<'_>, base: u64) -> Vec<GrantSelector> {
    use GrantSelector::{Client, Id, Session, Subject, SubjectAndClient, SubjectAndId, SubjectAndSession};
    let (alice, bob) = (t.subject(&format!("alice-{base}")), t.subject(&format!("bob-{base}")));
    let (app, machine) = (t.client(&format!("app-{base}")), t.client(&format!("alice-{base}")));
    let id = |number: u64| t.grant_id(base + number);
    vec![
        Id(id(3)),
        Id(id(9)),
        SubjectAndId(bob.clone(), id(3)),
        SubjectAndId(alice.clone(), id(3)),
        SubjectAndId(alice.clone(), id(5)),
        Subject(alice.clone()),
        Session(t.session(base)),
        Session(t.session(base + 1)),
        SubjectAndSession(alice.clone(), t.session(base)),
        SubjectAndSession(bob.clone(), t.session(base + 1)),
        Subject(bob),
        Client(app.clone()),
        Client(machine.clone()),
        SubjectAndClient(alice.clone(), app),
        SubjectAndClient(alice, machine),
    ]
}

/// Revokes by each selector. Then checks every grant and redeems its token, by a clock that may be behind that of the
/// revocation.
fn by_each_selector(t: &Trial<'_>, at: OffsetDateTime) -> Outcome {
    for number in 0..all_selectors(t, 0).len() {
        let base = number as u64 * 100;
        let which = &all_selectors(t, base)[number];
        let grants = many_grants(t, base)?;
        let meant = grants.iter().filter(|grant| which.selects(grant)).count() as u64;
        t.expect_eq(&format!("grants revoked by {which:?}"), &meant, &t.node(0).revoke(which, at)?);
        t.expect_eq("grants revoked by a repeated call", &0, &t.node(1).revoke(which, at + HOUR)?);
        for (number, grant) in (base + 1..).zip(&grants) {
            let is_meant = which.selects(grant);
            let (token, now) = t.node(1).row(t.hash(number))?;
            let what =
                format!("the revoked_at after {which:?}, of a grant of {:?} for {}", grant.subject, grant.client_id);
            t.expect_eq(&what, &is_meant.then_some(at), &now.revoked_at);
            let answer = t.node(2).redeem(&t.spend(&token, number), &[])?;
            let expected = if is_meant { RedeemOutcome::Dead } else { RedeemOutcome::Done };
            t.expect_eq("the result of a redemption after that", &expected, &answer);
        }
    }
    Ok(())
}

fn similar_names(t: &Trial<'_>) -> Outcome {
    let names = ["ana", "Ana", "an\u{e1}", "ana\u{301}", "ana ", " ana", "an_", "an%", "a'na", "a\\na", "\u{1f980}ana"];
    let subject = |name: &str| Subject::new(format!("{}{name}", t.number)).expect("a good subject");
    let grant = |number: usize| Grant { subject: Some(subject(names[number])), ..t.grant(number as u64) };
    for number in 0..names.len() {
        let of = grant(number);
        t.node(0).open(&of, &[t.access(number as u64, &of)])?;
    }
    for (number, name) in names.iter().enumerate() {
        let which = GrantSelector::Subject(subject(name));
        t.expect_eq(&format!("the number of revoked grants of {name:?}"), &1, &t.node(0).revoke(&which, t.at(SECOND))?);
        for (other, looks_like) in names.iter().enumerate() {
            let is_revoked = t.node(1).row(t.hash(other as u64))?.1.revoked_at.is_some();
            let what = format!("whether the grant of {looks_like:?} is revoked after a revocation for {name:?}");
            t.expect_eq(&what, &(other <= number), &is_revoked);
        }
    }
    let clients = ["web", "Web", "web ", "we_", "we%", "w'eb", "w\"eb", "w\\eb"];
    let client = |name: &str| ClientId::new(format!("{}{name}", t.number)).expect("a good client identifier");
    for (number, name) in (100..).zip(clients) {
        let of = Grant { client_id: client(name), ..t.grant(number) };
        t.node(0).open(&of, &[])?;
    }
    for name in clients {
        let which = GrantSelector::Client(client(name));
        t.expect_eq(
            &format!("the number of revoked grants of client {name:?}"),
            &1,
            &t.node(0).revoke(&which, t.at(SECOND))?,
        );
    }
    Ok(())
}

fn one_access_token(t: &Trial<'_>) -> Outcome {
    let of = t.grant(1);
    let kinds = [TokenKind::AccessToken, TokenKind::AccessToken, TokenKind::RefreshToken, TokenKind::OneTimeKey];
    let tokens: Vec<_> = (1..).zip(kinds).map(|(number, kind)| t.token(number, kind, &of)).collect();
    t.node(0).open(&of, &tokens)?;
    // The second token is not revoked, and the last one does not exist.
    for number in [1, 3, 4, 9] {
        t.node(0).revoke_access_token(t.hash(number), t.at(SECOND))?;
        t.node(1).revoke_access_token(t.hash(number), t.at(HOUR))?;
    }
    for (number, expected) in [(1, Some(t.at(SECOND))), (2, None), (3, None), (4, None)] {
        let (token, grant) = t.node(1).row(t.hash(number))?;
        t.expect_eq(&format!("when {:?} {number} was revoked", token.kind), &expected, &token.revoked_at);
        t.expect_eq("the revoked_at of its grant", &None, &grant.revoked_at);
    }
    t.expect(!t.node(1).has(t.hash(9))?, "a token that was never stored is not found", "it is found");
    Ok(())
}

fn a_revoked_family(t: &Trial<'_>) -> Outcome {
    let (of, tokens) = t.large_family(0, 300, DAY)?;
    let which = GrantSelector::SubjectAndId(t.subject("alice"), of.id);
    t.expect_eq("grants revoked", &1, &t.node(0).revoke(&which, t.at(HOUR))?);
    for (by, token) in (1_000..).zip(&tokens) {
        let late = t.access(by + 1_000, &of);
        let answer = t.node(1).redeem(&t.spend(token, by), std::slice::from_ref(&late))?;
        t.expect_eq("the result of a redemption after that", &RedeemOutcome::Dead, &answer);
        t.expect(!t.node(2).has(late.hash)?, "a redemption after that stores no successor", "it stores one");
        t.expect_eq("the revoked_at of its grant", &Some(t.at(HOUR)), &t.node(2).row(token.hash)?.1.revoked_at);
        if !t.is_clean() {
            break;
        }
    }
    Ok(())
}
