//! Clause 7: what is revoked, and that it stays so.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use time::OffsetDateTime;

use super::clause::Clause::RevocationIsFinal;
use super::node::{Node, Outcome};
use super::records::{DAY, HOUR, SECOND};
use super::trial::{Group, Needs, RUNNERS, Trial};
use crate::record::{ClientId, Grant, StoredToken, Subject, TokenKind};
use crate::storage::{Exchange, GrantSelector};

pub(super) const CASES: &[Group] = &[Group {
    clause: RevocationIsFinal,
    needs: Needs::Nothing,
    cases: &[
        ("each selector revokes what it names and nothing else, and the first time counts", selectors),
        ("a grant that has ended by the time of its revocation is revoked and counted all the same", ended_grants),
        ("names are compared byte by byte", similar_names),
        ("only an access token is revoked by itself, and the first time counts", one_access_token),
        ("no token of a revoked grant can be exchanged or made live again, in a large family either", a_revoked_family),
        (
            "a grant that is revoked while its tokens are exchanged is dead when the revocation returns",
            revoked_while_used,
        ),
        ("a revocation by subject covers every grant whose opening returned before it began", revoked_while_opened),
    ],
}];

/// Grants of two users and a machine at two clients; the number of each is that of its token.
pub(super) fn many_grants(t: &Trial<'_>, base: u64) -> Outcome<Vec<Grant>> {
    let (alice, app) = (format!("alice-{base}"), format!("app-{base}"));
    let mut grants = Vec::new();
    for (number, owner, client) in [
        (1, Some("alice"), "app"),
        (2, Some("alice"), "other"),
        (3, Some("bob"), "app"),
        (4, None, "app"),
        // A machine that is called like a user.
        (5, None, "alice"),
        (6, Some("alice"), "app"),
    ] {
        let client = if client == "alice" {
            &alice
        } else if client == "app" {
            &app
        } else {
            client
        };
        let subject = owner.map(|owner| t.subject(&format!("{owner}-{base}")));
        let session = matches!(number, 3 | 4 | 6).then(|| t.session(base));
        let grant = Grant { subject, client_id: t.client(client), session, ..t.grant(base + number) };
        t.node(0).open(&grant, &[t.access(base + number, &grant)])?;
        grants.push(grant);
    }
    Ok(grants)
}

/// Selectors for [`many_grants`].
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

/// Revokes by each selector, then looks at every grant: `look` gets its token, and the time of its revocation if it was meant.
fn by_each_selector(
    t: &Trial<'_>,
    at: OffsetDateTime,
    look: impl Fn(&StoredToken, Option<OffsetDateTime>) -> Outcome,
) -> Outcome {
    for number in 0..all_selectors(t, 0).len() {
        let base = number as u64 * 100;
        let which = &all_selectors(t, base)[number];
        let grants = many_grants(t, base)?;
        let meant = grants.iter().filter(|grant| which.selects(grant)).count() as u64;
        t.expect_eq(&format!("grants revoked by {which:?}"), &meant, &t.node(0).revoke(which, at)?);
        t.expect_eq("grants revoked by it for the second time", &0, &t.node(1).revoke(which, at + HOUR)?);
        for (number, grant) in (base + 1..).zip(&grants) {
            let expected = which.selects(grant).then_some(at);
            let revoked = t.node(1).row(t.hash(number))?.1.revoked_at;
            let (subject, client) = (&grant.subject, &grant.client_id);
            t.expect_eq(&format!("when {which:?} revoked a grant of {subject:?} to {client}"), &expected, &revoked);
            look(&t.access(number, grant), expected)?;
        }
    }
    Ok(())
}

fn selectors(t: &Trial<'_>) -> Outcome {
    by_each_selector(t, t.at(SECOND), |_, _| Ok(()))
}

/// The clock of the node that revokes is ahead of the clock of the node that uses the tokens afterwards.
fn ended_grants(t: &Trial<'_>) -> Outcome {
    by_each_selector(t, t.at(DAY + HOUR), |token, revoked_at| {
        let answer = t.node(2).exchange(&t.spend(token, 0), &[])?;
        let expected = if revoked_at.is_some() { Exchange::Dead } else { Exchange::Done };
        t.expect_eq("the answer to a use after that, by a clock that is behind", &expected, &answer);
        Ok(())
    })
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
        t.expect_eq(&format!("grants revoked of {name:?}"), &1, &t.node(0).revoke(&which, t.at(SECOND))?);
        for (other, looks_like) in names.iter().enumerate() {
            let is_revoked = t.node(1).row(t.hash(other as u64))?.1.revoked_at.is_some();
            let what = format!("whether the grant of {looks_like:?} is revoked after {name:?} has ended all sessions");
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
        t.expect_eq(&format!("grants revoked of client {name:?}"), &1, &t.node(0).revoke(&which, t.at(SECOND))?);
    }
    Ok(())
}

fn one_access_token(t: &Trial<'_>) -> Outcome {
    let of = t.grant(1);
    let kinds = [TokenKind::AccessToken, TokenKind::AccessToken, TokenKind::RefreshToken, TokenKind::OneTimeKey];
    let tokens: Vec<_> = (1..).zip(kinds).map(|(number, kind)| t.token(number, kind, &of)).collect();
    t.node(0).open(&of, &tokens)?;
    // The second one is not asked for, and the last one there is not.
    for number in [1, 3, 4, 9] {
        t.node(0).revoke_access_token(t.hash(number), t.at(SECOND))?;
        t.node(1).revoke_access_token(t.hash(number), t.at(HOUR))?;
    }
    for (number, expected) in [(1, Some(t.at(SECOND))), (2, None), (3, None), (4, None)] {
        let (token, grant) = t.node(1).row(t.hash(number))?;
        t.expect_eq(&format!("when {:?} {number} was revoked", token.kind), &expected, &token.revoked_at);
        t.expect_eq("when its grant was revoked", &None, &grant.revoked_at);
    }
    t.expect(!t.node(1).has(t.hash(9))?, "a token that was never stored is not there", "it is there");
    Ok(())
}

fn a_revoked_family(t: &Trial<'_>) -> Outcome {
    let of = t.grant(0);
    let tokens: Vec<_> = (0..300).map(|number| t.refresh(number, &of)).collect();
    t.node(0).open(&of, &tokens)?;
    let which = GrantSelector::SubjectAndId(t.subject("alice"), of.id);
    t.expect_eq("grants revoked", &1, &t.node(0).revoke(&which, t.at(HOUR))?);
    for (by, token) in (1_000..).zip(&tokens) {
        let late = t.access(by + 1_000, &of);
        let answer = t.node(1).exchange(&t.spend(token, by), std::slice::from_ref(&late))?;
        t.expect_eq("the answer to a use after that", &Exchange::Dead, &answer);
        t.expect(!t.node(2).has(late.hash)?, "no successor is stored by a use after that", "one is");
        t.expect_eq("when its grant was revoked", &Some(t.at(HOUR)), &t.node(2).row(token.hash)?.1.revoked_at);
        if !t.is_clean() {
            break;
        }
    }
    Ok(())
}

/// How long a chain may become if the revocation is late.
const MOST_STEPS: u64 = 50;

pub(super) fn revoked_while_used(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(10) {
        let base = round * 10_000;
        // One chain for each runner, all of one grant.
        let of = t.grant(base);
        let link = |runner: usize, step: u64| t.refresh(base + runner as u64 * 1_000 + step, &of);
        let first: Vec<_> = (1..RUNNERS).map(|runner| link(runner, 0)).collect();
        t.node(0).open(&of, &first)?;
        let which = GrantSelector::Id(of.id);
        let walk = |runner: usize, node: Node<'_>| -> Outcome<u64> {
            for step in 0..MOST_STEPS {
                let successor = StoredToken { parent: Some(link(runner, step).hash), ..link(runner, step + 1) };
                let order = t.spend(&link(runner, step), base + runner as u64 * 1_000 + step);
                if node.exchange(&order, &[successor])? != Exchange::Done {
                    return Ok(step);
                }
            }
            Ok(MOST_STEPS)
        };
        let steps = t.race(round, RUNNERS, |runner, node| {
            if runner > 0 {
                return walk(runner, node);
            }
            // Not before somebody has begun, unless nobody can.
            for _ in 0..1_000 {
                if node.row(link(1, 0).hash)?.0.spent.is_some() {
                    break;
                }
            }
            node.revoke(&which, t.at(DAY - SECOND))?;
            let revoked = node.row(link(1, 0).hash)?.1.revoked_at;
            t.expect_eq("when the grant was revoked, as soon as that returned", &Some(t.at(DAY - SECOND)), &revoked);
            Ok(0)
        });
        for (runner, steps) in steps.into_iter().enumerate().skip(1) {
            let steps = steps?;
            let (last, grant) = t.node(1).row(link(runner, steps).hash)?;
            t.expect_eq("when the grant was revoked, in the end", &Some(t.at(DAY - SECOND)), &grant.revoked_at);
            t.expect_eq(
                "what becomes of the newest token",
                &Exchange::Dead,
                &t.node(2).exchange(&t.spend(&last, base + 9_999), &[])?,
            );
        }
    }
    Ok(())
}

/// How many revocations there are in a round, and how many grants are opened while each is under way. Without a limit a
/// storage in memory opens thousands before the first revocation begins.
const REVOCATIONS: u64 = 5;
const GRANTS: u64 = 20;

fn revoked_while_opened(t: &Trial<'_>) -> Outcome {
    for round in t.rounds(5) {
        let base = round * 10_000;
        let subject = t.subject(&format!("alice-{round}"));
        let grant = |number: u64| Grant { subject: Some(subject.clone()), ..t.grant(number) };
        let (opened, allowed, is_over) = (Mutex::new(Vec::new()), AtomicU64::new(0), AtomicBool::new(false));
        let snapshot = || opened.lock().map(|opened| opened.clone()).unwrap_or_default();
        let results = t.race(round, RUNNERS, |runner, node| -> Outcome {
            if runner > 0 {
                for number in (runner as u64 - 1..REVOCATIONS * GRANTS).step_by(RUNNERS - 1) {
                    while number >= allowed.load(Ordering::SeqCst) {
                        if is_over.load(Ordering::SeqCst) || !t.is_clean() {
                            return Ok(());
                        }
                        std::thread::yield_now();
                    }
                    let of = grant(base + number);
                    if t.note(node.open(&of, &[t.refresh(base + number, &of)])).is_none() {
                        break;
                    }
                    opened.lock().map(|mut opened| opened.push(base + number)).ok();
                }
                return Ok(());
            }
            let revocations = || -> Outcome {
                let mut checked = 0;
                for number in 1..=REVOCATIONS {
                    let enough = snapshot().len() + 3;
                    allowed.store(number * GRANTS, Ordering::SeqCst);
                    while snapshot().len() < enough && t.is_clean() {
                        std::thread::yield_now();
                    }
                    let covered = snapshot();
                    let at = t.at(HOUR * u32::try_from(number).unwrap_or_default());
                    node.revoke(&GrantSelector::Subject(subject.clone()), at)?;
                    // Those before were covered by an earlier revocation, too.
                    for &number in &covered[checked..] {
                        let is_revoked = node.row(t.hash(number))?.1.revoked_at.is_some();
                        t.expect(is_revoked, "a grant that was opened before is revoked", "it is not");
                    }
                    checked = covered.len();
                }
                Ok(())
            };
            let done = revocations();
            is_over.store(true, Ordering::SeqCst);
            done
        });
        results.into_iter().collect::<Outcome<Vec<_>>>()?;
    }
    Ok(())
}
