//! Another process that works on the same storage. It gets its orders as lines of JSON and answers in the same way. Each
//! answer follows a mark, because a test harness prints to the same pipe.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use super::BoxError;
use super::node::{Failure, Node, Outcome, Task, chain, run};
use crate::record::{Grant, StoredToken};
use crate::secret::TokenHash;
use crate::storage::{Exchange, GrantSelector, Spend, Storage, TokenAndGrant};

/// Set for processes that the suite started.
const VARIABLE: &str = "GRANTOR_STORAGE_CONTRACT_WORKER";
const MARK: &str = "grantor-storage-contract:";

/// A call that a worker is to make.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Order {
    Open(Grant, Vec<StoredToken>),
    Find(TokenHash),
    Exchange(Spend, Vec<StoredToken>),
    Revoke(GrantSelector, #[serde(with = "rfc3339")] OffsetDateTime),
}

/// What the call returned.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Answer {
    Opened,
    Found(Option<TokenAndGrant>),
    Exchanged(Exchange),
    Revoked(u64),
    Failed(String),
}

/// The other half of [`StorageContract::workers`](super::StorageContract::workers): does what the suite's process wants of
/// this one. Returns at once in a process that the suite did not start, so that it can stand in an ordinary test.
///
/// # Errors
/// `connect` failed, or the suite's process broke off.
pub fn storage_contract_worker<S, E, F>(
    block_on: impl for<'t> Fn(Task<'t>) + Sync,
    connect: impl FnOnce() -> F,
) -> Result<(), BoxError>
where
    S: Storage,
    E: Into<BoxError>,
    F: Future<Output = Result<S, E>>,
{
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let storage: S = run(&block_on, async { connect().await.map_err(Into::into) })?;
    let node = Node { storage: &storage, block_on: &block_on };
    let mut orders = std::io::stdin().lock().lines();
    // Not by `println!`, which a test harness captures.
    let mut answers = std::io::stdout().lock();
    while let Some(line) = orders.next().transpose()? {
        let batch: Vec<Order> = serde_json::from_str(&line)?;
        writeln!(answers, "\n{MARK}\"ready\"")?;
        if orders.next().transpose()?.is_none() {
            break;
        }
        let done: Vec<Answer> = batch.into_iter().map(|order| obey(node, order)).collect();
        writeln!(answers, "\n{MARK}{}", serde_json::to_string(&done)?)?;
    }
    Ok(())
}

fn obey(node: Node<'_>, order: Order) -> Answer {
    let answer = match order {
        Order::Open(grant, tokens) => node.try_open(&grant, &tokens).map(|()| Answer::Opened),
        Order::Find(token) => node.try_find(token).map(Answer::Found),
        Order::Exchange(spend, successors) => node.try_exchange(&spend, &successors).map(Answer::Exchanged),
        Order::Revoke(which, at) => node.try_revoke(&which, at).map(Answer::Revoked),
    };
    answer.unwrap_or_else(|error| Answer::Failed(chain(&error)))
}

/// A process that the suite started; it ends with the value.
pub(super) struct Worker {
    child: Child,
    orders: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

fn broken(what: &str, observed: impl std::fmt::Display) -> Failure {
    Failure::new(format!("a worker {what}"), observed.to_string())
}

impl Worker {
    pub(super) fn start(mut command: Command) -> Outcome<Self> {
        let child = command.env(VARIABLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.map_err(|error| broken("starts", error))?;
        let pipes = child.stdin.take().zip(child.stdout.take());
        let (orders, answers) = pipes.ok_or_else(|| broken("has pipes", "it has none"))?;
        Ok(Self { child, orders: Some(orders), answers: BufReader::new(answers) })
    }

    fn send(&mut self, line: &impl Serialize) -> Outcome {
        let line = serde_json::to_string(line).map_err(|error| broken("is sent orders", error))?;
        let orders = self.orders.as_mut().ok_or_else(|| broken("listens", "it was told to end"))?;
        writeln!(orders, "{line}").map_err(|error| broken("listens", error))
    }

    fn receive<T: DeserializeOwned>(&mut self) -> Outcome<T> {
        let mut printed = String::new();
        loop {
            let begin = printed.len();
            let read = self.answers.read_line(&mut printed).map_err(|error| broken("answers", error))?;
            if read == 0 {
                return Err(broken("answers", format!("it ended; what it printed is: {}", printed.trim())));
            }
            if let Some((_, answer)) = printed[begin..].split_once(MARK) {
                return serde_json::from_str(answer).map_err(|error| broken("answers", error));
            }
        }
    }

    /// Hands over a batch and waits until the worker could begin.
    pub(super) fn prepare(&mut self, batch: &[Order]) -> Outcome {
        self.send(&batch)?;
        self.receive::<String>().map(drop)
    }

    pub(super) fn go(&mut self) -> Outcome {
        self.send(&"go")
    }

    /// The answers to the batch; each call must have succeeded.
    pub(super) fn answers(&mut self) -> Outcome<Vec<Answer>> {
        let answers: Vec<Answer> = self.receive()?;
        for answer in &answers {
            if let Answer::Failed(error) = answer {
                return Err(Failure::broke("every call of a worker succeeds", error));
            }
        }
        Ok(answers)
    }
}

impl Drop for Worker {
    /// Without orders it ends by itself. What it prints at its end is read, so that it does not wait for a reader.
    fn drop(&mut self) {
        drop(self.orders.take());
        let mut rest = Vec::new();
        self.answers.read_to_end(&mut rest).ok();
        self.child.wait().ok();
    }
}
