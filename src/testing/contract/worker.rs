//! Other processes that work on the same storage: each makes the calls that the suite sends it as lines of JSON, and answers in
//! the same way. An answer follows a mark, because a test harness prints to the same pipe.
//!
//! The suite sees such a process as a [`Storage`], so that the cases of races run on processes as they do on handles.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::serde::rfc3339;

use super::clause::Clause::{Atomic, Linearizable, RevocationIsFinal};
use super::node::{Node, Task, chain, run};
use super::trial::{Group, Needs};
use super::{BoxError, races, revocation, visible};
use crate::error::StorageError;
use crate::record::{Grant, StoredToken};
use crate::secret::TokenHash;
use crate::storage::{Exchange, Found, GrantSelector, Opened, Page, Spend, Storage};

/// Set for processes that the suite started.
const VARIABLE: &str = "GRANTOR_STORAGE_CONTRACT_WORKER";
const MARK: &str = "grantor-storage-contract:";

/// Cases that run with a process as each of the nodes.
pub(super) const CASES: &[Group] = &[
    Group {
        clause: Linearizable,
        needs: Needs::Workers,
        cases: &[("what one process has written is what every other reads next", visible::written_here_is_read_there)],
    },
    Group {
        clause: Atomic,
        needs: Needs::Workers,
        cases: &[(
            "of many processes that race for one token exactly one is done, and only its successors are stored",
            races::one_of_many_is_done,
        )],
    },
    Group {
        clause: RevocationIsFinal,
        needs: Needs::Workers,
        cases: &[(
            "a grant that one process revokes while others use it is dead when the revocation returns",
            revocation::revoked_while_used,
        )],
    },
];

/// A call that a worker makes.
#[derive(Serialize, Deserialize)]
enum Order {
    Open(Grant, Vec<StoredToken>),
    Find(TokenHash),
    Exchange(Spend, Vec<StoredToken>),
    RevokeToken(TokenHash, #[serde(with = "rfc3339")] OffsetDateTime),
    Revoke(GrantSelector, #[serde(with = "rfc3339")] OffsetDateTime),
}

/// What the call returned.
#[derive(Serialize, Deserialize)]
enum Answer {
    Done,
    Opened(Opened),
    Found(Option<Found>),
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
    // Not by `println!`, which a test harness captures.
    let mut answers = io::stdout().lock();
    for order in io::stdin().lock().lines() {
        let answer = obey(node, serde_json::from_str(&order?)?).unwrap_or_else(|error| Answer::Failed(chain(&error)));
        writeln!(answers, "\n{MARK}{}", serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

fn obey(node: Node<'_>, order: Order) -> Result<Answer, StorageError> {
    Ok(match order {
        Order::Open(grant, tokens) => Answer::Opened(node.opened(&grant, &tokens)?),
        Order::Find(token) => Answer::Found(node.run(node.storage.find(&token))?),
        Order::Exchange(spend, successors) => Answer::Exchanged(node.try_exchange(&spend, &successors)?),
        Order::RevokeToken(token, at) => {
            node.run(node.storage.revoke_access_token(&token, at))?;
            Answer::Done
        }
        Order::Revoke(which, at) => Answer::Revoked(node.try_revoke(&which, at)?),
    })
}

/// A process that the suite started; it ends with the value.
pub(super) struct Worker {
    child: Child,
    pipes: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
}

impl Worker {
    pub(super) fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.env(VARIABLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let answers = answers.ok_or_else(|| io::Error::other("a worker has no output"))?;
        Ok(Self { child, pipes: Mutex::new((orders, BufReader::new(answers))) })
    }

    fn ask(&self, order: &Order) -> Result<Answer, StorageError> {
        match self.pass_on(order).map_err(StorageError::new)? {
            Answer::Failed(error) => Err(StorageError::new(error)),
            answer => Ok(answer),
        }
    }

    fn pass_on(&self, order: &Order) -> io::Result<Answer> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(orders), answers) = &mut *pipes else { return Err(io::Error::other("a worker was told to end")) };
        writeln!(orders, "{}", serde_json::to_string(order)?)?;
        let mut printed = String::new();
        loop {
            let begin = printed.len();
            if answers.read_line(&mut printed)? == 0 {
                return Err(io::Error::other(format!("a worker ended; it printed: {}", printed.trim())));
            }
            if let Some((_, answer)) = printed[begin..].split_once(MARK) {
                return Ok(serde_json::from_str(answer)?);
            }
        }
    }
}

impl Drop for Worker {
    /// Without orders it ends by itself. What it prints at its end is read, so that it does not wait for a reader.
    fn drop(&mut self) {
        let (orders, answers) = self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(orders.take());
        answers.read_to_end(&mut Vec::new()).ok();
        self.child.wait().ok();
    }
}

fn mismatch<T>(_: Answer) -> Result<T, StorageError> {
    Err(StorageError::new("a worker answered another call"))
}

#[async_trait]
impl Storage for Worker {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        match self.ask(&Order::Open((**grant).clone(), tokens.to_vec()))? {
            Answer::Opened(opened) => Ok(opened),
            other => mismatch(other),
        }
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        match self.ask(&Order::Find(*token))? {
            Answer::Found(found) => Ok(found),
            other => mismatch(other),
        }
    }

    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        match self.ask(&Order::Exchange(spend.clone(), successors.to_vec()))? {
            Answer::Exchanged(outcome) => Ok(outcome),
            other => mismatch(other),
        }
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.ask(&Order::RevokeToken(*token, at)).map(drop)
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        match self.ask(&Order::Revoke(which.clone(), at))? {
            Answer::Revoked(count) => Ok(count),
            other => mismatch(other),
        }
    }

    async fn grants(&self, _: &GrantSelector, _: OffsetDateTime, _: &Page) -> Result<Vec<Arc<Grant>>, StorageError> {
        Err(StorageError::new("no case lists grants through a worker"))
    }

    async fn purge_expired(&self, _: OffsetDateTime, _: usize) -> Result<usize, StorageError> {
        Err(StorageError::new("no case purges through a worker"))
    }
}
