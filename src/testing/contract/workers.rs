//! Clauses 1, 2 and 7 with several processes on one storage.

use super::clause::Clause::{Atomic, Linearizable, RevocationIsFinal};
use super::node::{Failure, Outcome};
use super::records::HOUR;
use super::trial::{Case, Needs, Trial};
use super::worker::{Answer, Order, Worker};
use crate::record::{Grant, StoredToken};
use crate::storage::{Exchange, GrantSelector, TokenAndGrant};

/// How many processes, and how many tokens or grants they race for at the least.
const PROCESSES: usize = 3;
const CONTESTED: u64 = 60;

pub(super) const CASES: &[Case] = &[
    Case::new(Linearizable, "what one process has written is what every other reads next", written_here_is_read_there)
        .needing(Needs::Workers),
    Case::new(
        Atomic,
        "of many processes that race for one token exactly one is done, and only its successors are stored",
        one_of_many_is_done,
    )
    .needing(Needs::Workers),
    Case::new(
        RevocationIsFinal,
        "a grant that one process revokes while others use it is dead when the revocation returns",
        revoked_while_used,
    )
    .needing(Needs::Workers),
];

fn start(t: &Trial<'_>) -> Outcome<Vec<Worker>> {
    let command = t.host.worker.ok_or_else(|| Failure::new("there are workers", "there are none"))?;
    (0..PROCESSES).map(|_| Worker::start(command())).collect()
}

/// Gives each worker its batch, lets all go at once, and collects what each of them answers.
fn together(workers: &mut [Worker], batches: &[Vec<Order>]) -> Outcome<Vec<Vec<Answer>>> {
    for (worker, batch) in workers.iter_mut().zip(batches) {
        worker.prepare(batch)?;
    }
    for worker in workers.iter_mut() {
        worker.go()?;
    }
    workers.iter_mut().map(Worker::answers).collect()
}

/// Lets all meet again and again, because one process is soon ahead of another: `batch` is what a worker does about one item.
fn step_by_step<T>(
    workers: &mut [Worker],
    items: &[T],
    batch: impl Fn(usize, usize, &T) -> Vec<Order>,
) -> Outcome<Vec<Vec<Answer>>> {
    let mut all = vec![Vec::new(); workers.len()];
    for (number, item) in items.iter().enumerate() {
        let batches: Vec<_> = (0..workers.len()).map(|worker| batch(worker, number, item)).collect();
        for (all, answers) in all.iter_mut().zip(together(workers, &batches)?) {
            all.extend(answers);
        }
    }
    Ok(all)
}

fn one(worker: &mut Worker, order: Order) -> Outcome<Answer> {
    worker.prepare(&[order])?;
    worker.go()?;
    worker.answers()?.pop().ok_or_else(|| Failure::new("a worker answers each order", "it does not"))
}

const fn is_done(answer: &Answer) -> bool {
    matches!(answer, Answer::Exchanged(Exchange::Done))
}

fn written_here_is_read_there(t: &Trial<'_>) -> Outcome {
    let mut workers = start(t)?;
    for number in 0..PROCESSES as u64 * 3 {
        let base = number * 100;
        let of = t.grant(base);
        let old = t.refresh(base, &of);
        let successors = t.successors(base + 1, &of, &old);
        let writer = usize::try_from(number).unwrap_or_default() % PROCESSES;
        let workers = &mut workers;
        everywhere(t, workers, "not found before it is stored", &old, |found| found.is_none())?;
        one(&mut workers[writer], Order::Open(of.clone(), vec![old.clone()]))?;
        everywhere(t, workers, "found unspent once its grant was opened", &old, |found| {
            found.is_some_and(|(token, _)| token.spent.is_none())
        })?;
        let exchange = Order::Exchange(t.spend(&old, base), successors.clone());
        let answer = one(&mut workers[(writer + 1) % PROCESSES], exchange)?;
        t.expect(is_done(&answer), "a live token is exchanged", format_args!("{answer:?}"));
        everywhere(t, workers, "found spent once it was spent", &old, |found| {
            found.is_some_and(|(token, _)| token.spent.is_some())
        })?;
        everywhere(t, workers, "found once it was stored as a successor", &successors[0], |found| found.is_some())?;
        one(&mut workers[writer], Order::Revoke(GrantSelector::Id(of.id), t.at(HOUR)))?;
        everywhere(t, workers, "found revoked once its grant was revoked", &successors[1], |found| {
            found.is_some_and(|(_, of)| of.revoked_at.is_some())
        })?;
    }
    Ok(())
}

/// Every process finds a token as it should be.
fn everywhere(
    t: &Trial<'_>,
    workers: &mut [Worker],
    how: &str,
    token: &StoredToken,
    is_right: impl Fn(Option<&TokenAndGrant>) -> bool,
) -> Outcome {
    for worker in workers {
        let answer = one(worker, Order::Find(token.hash))?;
        let is_right = matches!(&answer, Answer::Found(found) if is_right(found.as_ref()));
        t.expect(is_right, format_args!("in every process a token is {how}"), format_args!("in one: {answer:?}"));
    }
    Ok(())
}

fn one_of_many_is_done(t: &Trial<'_>) -> Outcome {
    let mut workers = start(t)?;
    let contested = CONTESTED * u64::from(t.host.rounds);
    let families = (0..contested).map(|number| t.family(number * 100)).collect::<Outcome<Vec<_>>>()?;
    let by = |number: usize, worker: usize| number as u64 * 100 + 10 * (worker as u64 + 1);
    let answers = step_by_step(&mut workers, &families, |worker, number, (of, old)| {
        let by = by(number, worker);
        vec![Order::Exchange(t.spend(old, by), t.successors(by, of, old))]
    })?;
    for (number, (of, old)) in families.iter().enumerate() {
        let done: Vec<_> = (0..PROCESSES).filter(|worker| is_done(&answers[*worker][number])).collect();
        t.expect_eq("how many processes are Done with one token", &1, &done.len());
        for (worker, answers) in answers.iter().enumerate() {
            let answer = &answers[number];
            let is_dead = matches!(answer, Answer::Exchanged(Exchange::Dead));
            t.expect(!is_dead, "those who lost are told AlreadySpent", format_args!("{answer:?}"));
            for successor in t.successors(by(number, worker), of, old) {
                let is_stored = t.node(0).has(successor.hash)?;
                let what = format!("whether a successor is stored by a process that got {answer:?}");
                t.expect_eq(&what, &is_done(answer), &is_stored);
            }
        }
    }
    Ok(())
}

fn revoked_while_used(t: &Trial<'_>) -> Outcome {
    const LINKS: u64 = 4;
    let mut workers = start(t)?;
    let contested = CONTESTED * u64::from(t.host.rounds);
    // In each grant every process has a chain of its own; in the middle of its chain the first revokes the grant.
    let link =
        |number: u64, worker: usize, step: u64, of: &Grant| t.refresh(number * 100 + worker as u64 * 10 + step, of);
    let grants: Vec<_> = (0..contested).map(|number| t.grant(number)).collect();
    for (number, of) in (0..).zip(&grants) {
        let first: Vec<_> = (0..PROCESSES).map(|worker| link(number, worker, 0, of)).collect();
        t.node(0).open(of, &first)?;
    }
    let answers = step_by_step(&mut workers, &grants, |worker, number, of| {
        let number = number as u64;
        let exchange = |step: u64| {
            let old = link(number, worker, step, of);
            let by = number * 100 + worker as u64 * 10 + step;
            Order::Exchange(t.spend(&old, by), vec![link(number, worker, step + 1, of)])
        };
        if worker > 0 {
            return (0..LINKS).map(exchange).collect();
        }
        let revoke = [Order::Revoke(GrantSelector::Id(of.id), t.at(HOUR)), Order::Find(link(number, 1, 0, of).hash)];
        (0..LINKS / 2).map(exchange).chain(revoke).collect()
    })?;
    for answer in answers[0].iter().filter(|answer| matches!(answer, Answer::Found(_))) {
        let is_dead = matches!(answer, Answer::Found(Some(found)) if found.1.revoked_at.is_some());
        t.expect(is_dead, "a grant is revoked as soon as its revocation returns", "it is not");
    }
    for (number, of) in (0..).zip(&grants) {
        for worker in 0..PROCESSES {
            for step in 0..=LINKS {
                let token = link(number, worker, step, of);
                let Some((_, grant)) = t.node(1).find(token.hash)? else { continue };
                t.expect_eq("when its grant was revoked", &Some(t.at(HOUR)), &grant.revoked_at);
                let late = t.node(2).exchange(&t.spend(&token, number * 100 + 99), &[])?;
                t.expect_eq("what becomes of it", &Exchange::Dead, &late);
            }
        }
    }
    Ok(())
}
