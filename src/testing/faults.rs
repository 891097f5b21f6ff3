//! Calls of a storage that fail as a test wants them to.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::intercepted::{Call, Interceptor, Next, Reply};
use crate::error::StorageError;

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

/// Makes chosen calls of an [`Intercepted`](super::Intercepted) storage fail. Clones share the plan and the count.
///
/// ```
/// use grantor::testing::{Fault, Faults, Intercepted};
/// use grantor::{ClientStore, MemoryStorage};
///
/// # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
/// let faults = Faults::default();
/// let storage = Intercepted::new(MemoryStorage::new(), faults.clone());
/// faults.fail(2, Fault::Unavailable);
/// assert!(storage.find_client("app").await.is_ok());
/// assert!(storage.find_client("app").await.is_err());
/// # });
/// ```
#[derive(Debug, Clone, Default)]
pub struct Faults {
    calls: Arc<AtomicUsize>,
    plan: Arc<Mutex<Vec<(usize, Fault)>>>,
}

impl Faults {
    /// Makes the `n`-th call from now on fail; 1 is the next one. Client look-ups count, too.
    pub fn fail(&self, n: usize, fault: Fault) {
        let at = self.calls() + n;
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).push((at, fault));
    }

    /// Drops the faults that no call has met yet.
    pub fn clear(&self) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns how many calls there were.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }
}

#[async_trait]
impl Interceptor for Faults {
    async fn intercept(&self, call: Call<'_>, next: Next<'_>) -> Result<Reply, StorageError> {
        let number = self.calls.fetch_add(1, Ordering::SeqCst) + 1;
        let planned =
            self.plan.lock().unwrap_or_else(PoisonError::into_inner).iter().find(|(at, _)| *at == number).copied();
        match planned.map(|(_, fault)| fault) {
            None => next.run(call).await,
            Some(Fault::Failed) => Err(StorageError::new("a test wants this call to fail")),
            Some(Fault::Unavailable) => Err(StorageError::unavailable("a test wants this call to time out")),
            Some(Fault::LostAnswer) => {
                next.run(call).await?;
                Err(StorageError::unavailable("a test wants this answer to be lost"))
            }
        }
    }
}
