//! Worker processes that use the same storage. The suite sends them calls as lines of JSON, and they return results in
//! the same way. Each result has a prefix, because a test harness prints to the same pipe.
//!
//! A worker implements [`Storage`], so that the cases of races can use processes like handles.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use time::OffsetDateTime;
use time::serde::rfc3339;

use super::node::{BlockOn, Task, chain, run};
use super::report::BrokenContract;
use super::trial::NODES;
use super::{BoxError, CommandOf};
use crate::error::StorageError;
use crate::record::{Grant, StoredToken};
use crate::secret::TokenHash;
use crate::storage::{Found, GrantPage, GrantSelector, IssuerError, Opened, RedeemOutcome, Redemption, Storage};

/// The environment variable that is set for worker processes.
const VARIABLE: &str = "GRANTOR_STORAGE_CONTRACT_WORKER";
const MARK: &str = "grantor-storage-contract:";

/// A call for a worker.
#[derive(Serialize, Deserialize)]
enum Order {
    Open(Grant, Vec<StoredToken>),
    Find(TokenHash),
    Redeem(Redemption, Vec<StoredToken>),
    RevokeToken(TokenHash, #[serde(with = "rfc3339")] OffsetDateTime),
    Revoke(GrantSelector, #[serde(with = "rfc3339")] OffsetDateTime),
}

/// Runs a worker for [`StorageContract::workers`](super::StorageContract::workers): makes the calls that the suite
/// sends. Returns at once if the suite has not started this process, so that you can call it in an ordinary test.
///
/// # Errors
/// `connect` failed, or the process of the suite ended unexpectedly.
pub fn storage_contract_worker<S, E, F>(
    block_on: impl for<'t> Fn(Task<'t>) + Sync,
    connect: impl FnOnce() -> F,
) -> Result<(), BoxError>
where
    S: Storage,
    E: Into<BoxError>,
    F: Future<Output = Result<S, E>>,
{
    serve(&block_on, connect, &async |storage: &S, order| obey(storage, order).await)
}

/// Makes the calls that the suite sends, until the suite ends.
pub(super) fn serve<S, O, E, F>(
    block_on: BlockOn<'_>,
    connect: impl FnOnce() -> F,
    obey: &impl AsyncFn(&S, O) -> Result<Value, StorageError>,
) -> Result<(), BoxError>
where
    O: DeserializeOwned,
    E: Into<BoxError>,
    F: Future<Output = Result<S, E>>,
{
    if std::env::var_os(VARIABLE).is_none() {
        return Ok(());
    }
    let storage: S = run(block_on, async { connect().await.map_err(Into::into) })?;
    // `println!` would be captured by a test harness.
    let mut answers = io::stdout().lock();
    for order in io::stdin().lock().lines() {
        let order = serde_json::from_str(&order?)?;
        let answer = run(block_on, obey(&storage, order)).map_err(|error| chain(&error));
        writeln!(answers, "\n{MARK}{}", serde_json::to_string(&answer)?)?;
    }
    Ok(())
}

/// Makes a call. Returns what the call returned, as JSON.
async fn obey(storage: &dyn Storage, order: Order) -> Result<Value, StorageError> {
    let answer = match order {
        Order::Open(grant, tokens) => serde_json::to_value(storage.open_grant(&Arc::new(grant), &tokens).await?),
        Order::Find(token) => serde_json::to_value(storage.find(&token).await?),
        Order::Redeem(redemption, successors) => serde_json::to_value(storage.redeem(&redemption, &successors).await?),
        Order::RevokeToken(token, at) => {
            storage.revoke_access_token(&token, at).await?;
            Ok(Value::Null)
        }
        Order::Revoke(which, at) => serde_json::to_value(storage.revoke_grants(&which, at).await?),
    };
    answer.map_err(StorageError::new)
}

/// A worker process, which ends when the value is dropped.
pub(super) struct Worker {
    child: Child,
    pipes: Mutex<(Option<ChildStdin>, BufReader<ChildStdout>)>,
}

impl Worker {
    /// Starts a worker for each node. Without a command, it starts none.
    pub(super) fn start_all(command: Option<&CommandOf<'_>>) -> Result<Vec<Self>, BrokenContract> {
        let Some(command) = command else { return Ok(Vec::new()) };
        let workers = (0..NODES).map(|_| Self::start(command()));
        workers
            .collect::<Result<_, _>>()
            .map_err(|error| BrokenContract::unable(format!("a worker did not start: {error}")))
    }

    fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.env(VARIABLE, "1").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (orders, answers) = (child.stdin.take(), child.stdout.take());
        let answers = answers.ok_or_else(|| io::Error::other("a worker has no output"))?;
        Ok(Self { child, pipes: Mutex::new((orders, BufReader::new(answers))) })
    }

    /// Sends a call to the worker and returns its result.
    pub(super) fn ask<T: DeserializeOwned>(&self, order: &impl Serialize) -> Result<T, StorageError> {
        let answer: Result<T, String> = self.pass_on(order).map_err(StorageError::new)?;
        answer.map_err(StorageError::new)
    }

    fn pass_on<T: DeserializeOwned>(&self, order: &impl Serialize) -> io::Result<T> {
        let mut pipes = self.pipes.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(orders), answers) = &mut *pipes else {
            return Err(io::Error::other("the worker was already told to end"));
        };
        writeln!(orders, "{}", serde_json::to_string(order)?)?;
        let mut printed = String::new();
        loop {
            let begin = printed.len();
            if answers.read_line(&mut printed)? == 0 {
                return Err(io::Error::other(format!(
                    "a worker ended unexpectedly with this output: {}",
                    printed.trim()
                )));
            }
            if let Some((_, answer)) = printed[begin..].split_once(MARK) {
                return Ok(serde_json::from_str(answer)?);
            }
        }
    }
}

impl Drop for Worker {
    /// Closes the input of the worker, so that it ends. Reads its output to the end, so that it does not block.
    fn drop(&mut self) {
        let (orders, answers) = self.pipes.get_mut().unwrap_or_else(PoisonError::into_inner);
        drop(orders.take());
        answers.read_to_end(&mut Vec::new()).ok();
        self.child.wait().ok();
    }
}

#[async_trait]
impl Storage for Worker {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        self.ask(&Order::Open((**grant).clone(), tokens.to_vec()))
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<Found>, StorageError> {
        self.ask(&Order::Find(*token))
    }

    async fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Result<RedeemOutcome, StorageError> {
        self.ask(&Order::Redeem(redemption.clone(), successors.to_vec()))
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.ask(&Order::RevokeToken(*token, at))
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        self.ask(&Order::Revoke(which.clone(), at))
    }

    async fn list_grants(
        &self,
        _: &GrantSelector,
        _: OffsetDateTime,
        _: &GrantPage,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        Err(StorageError::new("a worker can't list grants"))
    }

    async fn purge_expired(&self, _: OffsetDateTime, _: usize) -> Result<usize, StorageError> {
        Err(StorageError::new("a worker can't purge"))
    }

    async fn claim_issuer(&self, _: &str) -> Result<(), IssuerError> {
        Err(StorageError::new("a worker can't claim or move the storage").into())
    }

    async fn rebind_issuer(&self, _: &str, _: &str) -> Result<(), IssuerError> {
        Err(StorageError::new("a worker can't claim or move the storage").into())
    }
}
