//! A handle to the storage with synchronous calls, so that cases need no runtime.

use std::any::Any;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration as Wait;

use time::OffsetDateTime;

use crate::error::StorageError;
use crate::record::{Grant, GrantId, StoredToken};
use crate::secret::TokenHash;
use crate::storage::{Found, GrantPage, GrantSelector, Opened, RedeemOutcome, Redemption, Storage};

/// A task that `block_on` runs to completion.
pub type Task<'a> = Pin<Box<dyn Future<Output = ()> + 'a>>;

pub(super) type BlockOn<'a> = &'a (dyn for<'t> Fn(Task<'t>) + Sync);

/// A failure after which a case can't continue: the expected and the observed behaviour.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) expected: String,
    pub(super) observed: String,
    /// The error of a call that should have succeeded.
    pub(super) error: Option<String>,
}

pub(super) type Outcome<T = ()> = Result<T, Failure>;

impl Failure {
    pub(super) fn new(expected: impl Into<String>, observed: impl Into<String>) -> Self {
        Self { expected: expected.into(), observed: observed.into(), error: None }
    }

    /// Returns the failure of a call that should have succeeded.
    pub(super) fn failed(call: &str, error: &(dyn std::error::Error + 'static)) -> Self {
        Self::broke(format!("{call} succeeds"), &chain(error))
    }

    /// Returns the failure of a call that should have completed.
    pub(super) fn broke(expected: impl Into<String>, error: &str) -> Self {
        Self { error: Some(error.to_owned()), ..Self::new(expected, format!("it failed: {error}")) }
    }

    /// Returns the failure of a call that panicked.
    pub(super) fn panicked(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self::broke("no call panics", &format!("a panic: {}", text.as_deref().unwrap_or("without a message")))
    }
}

/// Formats an error with all its causes.
pub(super) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |error| error.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// A token with its grant, as `find` returns them.
pub(super) type TokenAndGrant = (Arc<StoredToken>, Arc<Grant>);

#[derive(Clone, Copy)]
pub(super) struct Node<'a> {
    pub(super) storage: &'a dyn Storage,
    pub(super) block_on: BlockOn<'a>,
}

impl Node<'_> {
    pub(super) fn run<T>(&self, future: impl Future<Output = T>) -> T {
        run(self.block_on, future)
    }

    /// Runs a call that must succeed.
    pub(super) fn done<T, E: std::error::Error + 'static>(
        &self,
        call: &str,
        future: impl Future<Output = Result<T, E>>,
    ) -> Outcome<T> {
        self.run(future).map_err(|error| Failure::failed(call, &error))
    }

    pub(super) fn opened(&self, grant: &Grant, tokens: &[StoredToken]) -> Result<Opened, StorageError> {
        self.run(self.storage.open_grant(&Arc::new(grant.clone()), tokens))
    }

    pub(super) fn try_open(&self, grant: &Grant, tokens: &[StoredToken]) -> Result<(), StorageError> {
        match self.opened(grant, tokens)? {
            Opened::Done => Ok(()),
            other => Err(StorageError::new(format!("open_grant returned {other:?}"))),
        }
    }

    pub(super) fn open(&self, grant: &Grant, tokens: &[StoredToken]) -> Outcome {
        self.try_open(grant, tokens).map_err(|error| Failure::failed("open_grant with new identifiers", &error))
    }

    pub(super) fn find(&self, token: TokenHash) -> Outcome<Option<TokenAndGrant>> {
        let found = self.done("find", self.storage.find(&token))?;
        Ok(found.map(|Found { token, grant }| (token, grant)))
    }

    /// Returns a token that must be stored.
    pub(super) fn row(&self, token: TokenHash) -> Outcome<TokenAndGrant> {
        there(self.find(token)?)
    }

    pub(super) fn has(&self, token: TokenHash) -> Outcome<bool> {
        Ok(self.find(token)?.is_some())
    }

    /// Returns how many of these tokens are stored.
    pub(super) fn count<'t>(&self, tokens: impl IntoIterator<Item = &'t StoredToken>) -> Outcome<usize> {
        tokens.into_iter().try_fold(0, |count, token| Ok(count + usize::from(self.has(token.hash)?)))
    }

    pub(super) fn redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Outcome<RedeemOutcome> {
        self.done("redeem", self.storage.redeem(redemption, successors))
    }

    /// Runs a redemption that must return Done.
    pub(super) fn must_redeem(&self, redemption: &Redemption, successors: &[StoredToken]) -> Outcome {
        match self.redeem(redemption, successors)? {
            RedeemOutcome::Done => Ok(()),
            other => Err(Failure::new("the redemption of a live token is Done", format!("it is {other:?}"))),
        }
    }

    pub(super) fn revoke_access_token(&self, token: TokenHash, at: OffsetDateTime) -> Outcome {
        self.done("revoke_access_token", self.storage.revoke_access_token(&token, at))
    }

    pub(super) fn revoke(&self, which: &GrantSelector, at: OffsetDateTime) -> Outcome<u64> {
        self.done("revoke_grants", self.storage.revoke_grants(which, at))
    }

    pub(super) fn list(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Outcome<Vec<Arc<Grant>>> {
        self.done("list_grants", self.storage.list_grants(which, now, page))
    }

    pub(super) fn list_ids(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &GrantPage,
    ) -> Outcome<Vec<GrantId>> {
        Ok(self.list(which, now, page)?.iter().map(|grant| grant.id).collect())
    }

    pub(super) fn purge(&self, before: OffsetDateTime, limit: usize) -> Outcome<usize> {
        let touched = self.done("purge_expired", self.storage.purge_expired(before, limit))?;
        if touched > limit {
            return Err(Failure::new(format!("a purge touches at most {limit} rows"), format!("it says {touched}")));
        }
        Ok(touched)
    }

    /// Purges until nothing is left.
    pub(super) fn purge_all(&self, before: OffsetDateTime, limit: usize) -> Outcome {
        // The limit is far above the number of rows in any case.
        for _ in 0..1_000_000_usize.div_ceil(limit) {
            if self.purge(before, limit)? < limit {
                return Ok(());
            }
        }
        Err(Failure::new("a repeated purge finishes", "it never does"))
    }

    /// Cancels a call: see [`give_up`].
    pub(super) fn give_up<T>(&self, polls: usize, call: impl Future<Output = T>) -> Option<T> {
        give_up(self.block_on, polls, call)
    }
}

/// Polls a call `polls` times and then drops it, as a server does when its client closes the connection.
pub(super) fn give_up<T>(block_on: BlockOn<'_>, polls: usize, call: impl Future<Output = T>) -> Option<T> {
    let mut left = polls;
    run(block_on, async {
        let mut call = pin!(call);
        poll_fn(|context| {
            if left == 0 {
                return Poll::Ready(None);
            }
            left -= 1;
            match call.as_mut().poll(context) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending if left == 0 => Poll::Ready(None),
                Poll::Pending => Poll::Pending,
            }
        })
        .await
    })
}

/// Runs a future with `block_on` and returns its output.
pub(super) fn run<T>(block_on: BlockOn<'_>, future: impl Future<Output = T>) -> T {
    let mut done = None;
    block_on(Box::pin(async { done = Some(future.await) }));
    done.expect("`block_on` must run its task to completion")
}

fn there<T>(found: Option<T>) -> Outcome<T> {
    found.ok_or_else(|| Failure::new("`find` returns a stored token", "it returns nothing"))
}

/// Returns a token that must be stored. Retries while the storage is unavailable.
pub(super) fn patient_row(node: Node<'_>, token: TokenHash) -> Outcome<TokenAndGrant> {
    there(patiently(|| node.find(token))?)
}

/// Repeats a call while it fails, because a database needs a moment after an interruption. The first retries follow at
/// once. If the storage stays unavailable, it gives up after half a minute.
pub(super) fn patiently<T, E>(mut call: impl FnMut() -> Result<T, E>) -> Result<T, E> {
    let mut pause = Wait::from_millis(1);
    let mut waited = Wait::ZERO;
    loop {
        match call() {
            Err(_) if waited < Wait::from_secs(30) => std::thread::sleep(pause),
            done => return done,
        }
        waited += pause;
        pause = (pause * 2).min(Wait::from_millis(500));
    }
}
