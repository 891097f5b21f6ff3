//! Clause 11: the issuer of a storage. A storage can be claimed only once, so the race comes first.

use super::node::{Failure, Node, Outcome};
use super::trial::{Named, RUNNERS, Trial};
use crate::storage::IssuerError;

pub(super) const CASES: &[Named] = &[
    ("many issuers race to claim or move a storage: one owns it", races),
    ("a storage belongs to one issuer at every node, compared byte by byte, until it is moved", one_owner),
];

/// Returns the owner of the storage according to the result of a call.
fn owner(issuer: &str, answer: Result<(), IssuerError>) -> Outcome<Option<String>> {
    match answer {
        Ok(()) => Ok(Some(issuer.to_owned())),
        Err(IssuerError::Claimed { owner }) => Ok(Some(owner.into())),
        Err(IssuerError::Unclaimed) => Ok(None),
        Err(error) => Err(Failure::failed("claim_issuer or rebind_issuer", &error)),
    }
}

fn claim(node: Node<'_>, issuer: &str) -> Outcome<Option<String>> {
    owner(issuer, node.run(node.storage.claim_issuer(issuer)))
}

fn rebind(node: Node<'_>, from: &str, to: &str) -> Outcome<Option<String>> {
    owner(to, node.run(node.storage.rebind_issuer(from, to)))
}

fn races(t: &Trial<'_>) -> Outcome {
    // The storage has no owner, unless the suite ran with it before.
    let mut before = rebind(t.node(0), "https://none.example", "https://none.example")?;
    for round in t.rounds(20) {
        let name = |runner: usize| format!("https://{runner}.{round}.{}.example", t.number);
        let owners = t.race(round, RUNNERS, |runner, node| match &before {
            None => claim(node, &name(runner)),
            Some(before) => rebind(node, before, &name(runner)),
        })?;
        let winners: Vec<_> = (0..RUNNERS).filter(|runner| owners[*runner].as_ref() == Some(&name(*runner))).collect();
        t.expect_eq("the number of issuers that own the storage", &1, &winners.len());
        let Some(winner) = winners.first() else { break };
        before = Some(name(*winner));
        for owner in &owners {
            t.expect_eq("the owner according to each call", &before, owner);
        }
        t.expect_eq("the owner according to each node", &before, &claim(t.node(1), "https://later.example")?);
    }
    Ok(())
}

fn one_owner(t: &Trial<'_>) -> Outcome {
    let [first, second, third] = ["one", "two", "three"].map(|name| format!("https://{name}.{}.example", t.number));
    // The owner from an earlier run.
    if let Some(before) = claim(t.node(0), &first)?.filter(|owner| *owner != first) {
        t.expect_eq("the owner after a move", &Some(first.clone()), &rebind(t.node(0), &before, &first)?);
    }
    let own = Some(first.clone());
    for node in t.nodes() {
        t.expect_eq("the owner after its owner claims it again", &own, &claim(node, &first)?);
        for other in [&second, &format!("{first}/"), &first.to_uppercase(), &first[..first.len() - 1]] {
            t.expect_eq(&format!("the owner after {other} claims it"), &own, &claim(node, other)?);
            t.expect_eq(&format!("the owner after a move from {other}"), &own, &rebind(node, other, &third)?);
        }
    }
    let moved = Some(second.clone());
    t.expect_eq("the owner after a move", &moved, &rebind(t.node(1), &first, &second)?);
    t.expect_eq("the owner after a repeated move", &moved, &rebind(t.node(0), &first, &second)?);
    t.expect_eq("the owner after its old owner claims it", &moved, &claim(t.node(2), &first)?);
    t.expect_eq("the owner after its new owner claims it", &moved, &claim(t.node(0), &second)?);
    Ok(())
}
