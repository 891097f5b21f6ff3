//! A storage that fails when it is told to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use time::OffsetDateTime;

use crate::client::Client;
use crate::error::StorageError;
use crate::record::{Grant, StoredToken};
use crate::secret::TokenHash;
use crate::storage::{ClientStore, Exchange, GrantSelector, Page, Spend, Storage};

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing is done; the error is permanent (500).
    Failed,
    /// Nothing is done; the storage is out of reach (503).
    Unavailable,
    /// All is done, but the answer is lost.
    LostAnswer,
}

/// Wraps a storage and makes chosen calls fail. Clones share the plan and the count.
#[derive(Debug, Clone)]
pub struct FaultyStorage<S> {
    inner: S,
    calls: Arc<AtomicUsize>,
    plan: Arc<Mutex<Vec<(usize, Fault)>>>,
}

impl<S> FaultyStorage<S> {
    /// A wrapper that lets everything pass until it is told otherwise.
    pub fn new(inner: S) -> Self {
        Self { inner, calls: Arc::default(), plan: Arc::default() }
    }

    /// Lets the `n`-th call from now on fail; 1 is the next one. Client look-ups count, too.
    pub fn fail(&self, n: usize, fault: Fault) {
        let at = self.calls() + n;
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).push((at, fault));
    }

    /// How many calls there were.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// Counts a call and says how it is to fail.
    fn next(&self) -> Option<Fault> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
        plan.iter().find_map(|(at, fault)| (*at == call).then_some(*fault))
    }

    async fn call<T>(&self, inner: impl Future<Output = Result<T, StorageError>>) -> Result<T, StorageError> {
        match self.next() {
            None => inner.await,
            Some(Fault::Failed) => Err(StorageError::new("a test wants this call to fail")),
            Some(Fault::Unavailable) => Err(StorageError::unavailable("a test wants this call to time out")),
            Some(Fault::LostAnswer) => {
                inner.await?;
                Err(StorageError::unavailable("a test wants this answer to be lost"))
            }
        }
    }
}

#[async_trait]
impl<S: ClientStore> ClientStore for FaultyStorage<S> {
    async fn client(&self, id: &str) -> Result<Option<Arc<Client>>, StorageError> {
        self.call(self.inner.client(id)).await
    }
}

#[async_trait]
impl<S: Storage> Storage for FaultyStorage<S> {
    async fn open_grant(&self, grant: &Arc<Grant>, tokens: &[StoredToken]) -> Result<(), StorageError> {
        self.call(self.inner.open_grant(grant, tokens)).await
    }

    async fn find(&self, token: &TokenHash) -> Result<Option<(Arc<StoredToken>, Arc<Grant>)>, StorageError> {
        self.call(self.inner.find(token)).await
    }

    async fn exchange(&self, spend: &Spend, successors: &[StoredToken]) -> Result<Exchange, StorageError> {
        self.call(self.inner.exchange(spend, successors)).await
    }

    async fn revoke_access_token(&self, token: &TokenHash, at: OffsetDateTime) -> Result<(), StorageError> {
        self.call(self.inner.revoke_access_token(token, at)).await
    }

    async fn revoke_grants(&self, which: &GrantSelector, at: OffsetDateTime) -> Result<u64, StorageError> {
        self.call(self.inner.revoke_grants(which, at)).await
    }

    async fn grants(
        &self,
        which: &GrantSelector,
        now: OffsetDateTime,
        page: &Page,
    ) -> Result<Vec<Arc<Grant>>, StorageError> {
        self.call(self.inner.grants(which, now, page)).await
    }

    async fn purge_expired(&self, before: OffsetDateTime, limit: usize) -> Result<usize, StorageError> {
        self.call(self.inner.purge_expired(before, limit)).await
    }
}
