//! Clauses 1, 2 and 7 with several processes on one storage.

use super::clause::Clause::{Atomic, Linearizable, RevocationIsFinal};
use super::node::{Outcome, Trouble};
use super::records::HOUR;
use super::trial::{Case, Needs, Trial};
use super::worker::{Answer, Order, Worker};
use crate::record::{Grant, StoredToken};
use crate::storage::Exchange;

/// How many processes, and how many tokens or grants they race for at the least.
const PROCESSES: usize = 3;
const CONTESTED: u64 = 60;

pub(super) const CASES: &[Case] = &[
    Case {
        clause: Linearizable,
        name: "what one process has written is what every other reads next",
        cost: "a token that was spent or revoked at one server is still good at another",
        remedy: "let find and exchange read from the one place that is written to: no cache, no replica",
        needs: Needs::Workers,
        run: written_here_is_read_there,
    },
    Case {
        clause: Atomic,
        name: "of many processes that race for one token exactly one is done, and only its successors are stored",
        cost: "a code redeemed twice: once at each server",
        remedy: "decide and write in one step of the store: a lock within the process is no lock between servers",
        needs: Needs::Workers,
        run: one_of_many_is_done,
    },
    Case {
        clause: RevocationIsFinal,
        name: "a grant that one process revokes while others use it is dead when the revocation returns",
        cost: "a stolen token works on at the other server",
        remedy: "let exchange lock the grant and write only what it changes of it, or write it only if it is still as it was read",
        needs: Needs::Workers,
        run: revoked_while_used,
    },
];

fn start(t: &Trial<'_>) -> Outcome<Vec<Worker>> {
    let command = t.host.worker.ok_or_else(|| Trouble::new("there are workers", "there are none"))?;
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
    let mut all = Vec::new();
    for (worker, batch) in workers.iter_mut().zip(batches) {
        let answers = worker.answers()?;
        if let Some(Answer::Failed(error)) = answers.iter().find(|answer| matches!(answer, Answer::Failed(_))) {
            return Err(Trouble::broke("every call of a worker succeeds", error));
        }
        if answers.len() != batch.len() {
            return Err(Trouble::new("a worker answers each order", format!("{} of {}", answers.len(), batch.len())));
        }
        all.push(answers);
    }
    Ok(all)
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
    let mut answers = together(std::slice::from_mut(worker), &[vec![order]])?.pop().unwrap_or_default();
    answers.pop().ok_or_else(|| Trouble::new("a worker answers each order", "it does not"))
}

fn written_here_is_read_there(t: &Trial<'_>) -> Outcome {
    let mut workers = start(t)?;
    for number in 0..PROCESSES as u64 * 3 {
        let base = number * 100;
        let of = t.grant(base);
        let old = t.refresh(base, &of);
        let successors = t.successors(base + 1, &of, &old);
        let writer = usize::try_from(number).unwrap_or_default() % PROCESSES;
        everywhere(t, &mut workers, "a token that was not stored yet is found by no process", &old, |found| {
            found.is_none()
        })?;
        one(&mut workers[writer], Order::Open(of.clone(), vec![old.clone()]))?;
        everywhere(
            t,
            &mut workers,
            "a token whose grant was opened is found unspent by every process",
            &old,
            |found| found.is_some_and(|(token, _)| token.spent.is_none()),
        )?;
        let spend = t.spend(&old, base);
        let answer = one(&mut workers[(writer + 1) % PROCESSES], Order::Exchange(spend.into(), successors.clone()))?;
        t.holds(matches!(answer, Answer::Done), "a live token is exchanged", || format!("{answer:?}"));
        everywhere(t, &mut workers, "a token that was spent is found spent by every process", &old, |found| {
            found.is_some_and(|(token, _)| token.spent.is_some())
        })?;
        everywhere(
            t,
            &mut workers,
            "a successor that was stored is found by every process",
            &successors[0],
            |found| found.is_some(),
        )?;
        one(&mut workers[writer], Order::Revoke(of.id, t.at(HOUR)))?;
        everywhere(
            t,
            &mut workers,
            "a grant that was revoked is found revoked by every process",
            &successors[1],
            |found| found.is_some_and(|(_, of)| of.revoked_at.is_some()),
        )?;
    }
    Ok(())
}

fn everywhere(
    t: &Trial<'_>,
    workers: &mut [Worker],
    expected: &str,
    token: &StoredToken,
    is_right: impl Fn(Option<&(StoredToken, Grant)>) -> bool,
) -> Outcome {
    for worker in workers {
        let Answer::Found(found) = one(worker, Order::Find(token.hash))? else { continue };
        t.holds(is_right(found.as_deref()), expected, || match found.as_deref() {
            None => "one does not find the token".to_owned(),
            Some((token, of)) => {
                let how = if token.spent.is_some() { "spent" } else { "unspent" };
                format!("one finds the token {how} and when its grant was revoked: {:?}", of.revoked_at)
            }
        });
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
        vec![Order::Exchange(t.spend(old, by).into(), t.successors(by, of, old))]
    })?;
    for (number, (of, old)) in families.iter().enumerate() {
        let done: Vec<_> = (0..PROCESSES).filter(|worker| matches!(answers[*worker][number], Answer::Done)).collect();
        t.same("how many processes are Done with one token", &1, &done.len());
        for (worker, answers) in answers.iter().enumerate() {
            let answer = &answers[number];
            t.holds(!matches!(answer, Answer::Dead), "those who lost are told AlreadySpent", || format!("{answer:?}"));
            for successor in t.successors(by(number, worker), of, old) {
                let is_stored = t.node(0).has(successor.hash)?;
                let [yes, no] =
                    ["a", "no"].map(|one| format!("{one} successor is stored by a process that got {answer:?}"));
                t.whether(matches!(answer, Answer::Done), is_stored, &yes, &no);
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
            Order::Exchange(t.spend(&old, by).into(), vec![link(number, worker, step + 1, of)])
        };
        if worker > 0 {
            return (0..LINKS).map(exchange).collect();
        }
        let revoke = [Order::Revoke(of.id, t.at(HOUR)), Order::Find(link(number, 1, 0, of).hash)];
        (0..LINKS / 2).map(exchange).chain(revoke).collect()
    })?;
    for answer in answers[0].iter().filter(|answer| matches!(answer, Answer::Found(_))) {
        let is_dead = matches!(answer, Answer::Found(Some(found)) if found.1.revoked_at.is_some());
        t.whether(true, is_dead, "a grant is revoked as soon as its revocation returns", "it is not");
    }
    for (number, of) in (0..).zip(&grants) {
        for worker in 0..PROCESSES {
            for step in 0..=LINKS {
                let token = link(number, worker, step, of);
                let Some((_, grant)) = t.node(1).find(token.hash)? else { continue };
                t.same("when its grant was revoked", &Some(t.at(HOUR)), &grant.revoked_at);
                let late = t.node(2).exchange(&t.spend(&token, number * 100 + 99), &[])?;
                t.same("what becomes of it", &Exchange::Dead, &late);
            }
        }
    }
    Ok(())
}
