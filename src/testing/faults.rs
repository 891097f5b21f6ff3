//! [`Faults`]: storage calls that fail on demand.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;

use super::intercepted::{Call, Interceptor, Next, Reply};
use crate::error::StorageError;

/// A way in which a storage call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The call does nothing and returns a permanent error (500).
    Failed,
    /// The call does nothing and returns an `unavailable` error (503).
    Unavailable,
    /// The call does its work, but returns an `unavailable` error (503).
    LostAnswer,
}

/// An interceptor that makes chosen calls of an [`Intercepted`](super::Intercepted) storage fail. Clones share the
/// planned faults and the count of calls.
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
    /// Plans a fault for the `n`-th call from now on; 1 is the next call. Look-ups of clients count, too.
    pub fn fail(&self, n: usize, fault: Fault) {
        let at = self.calls() + n;
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).push((at, fault));
    }

    /// Removes all planned faults.
    pub fn clear(&self) {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Returns the number of calls so far.
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
            Some(Fault::Failed) => Err(StorageError::new("a test made this call fail")),
            Some(Fault::Unavailable) => Err(StorageError::unavailable("a test made this call time out")),
            Some(Fault::LostAnswer) => {
                next.run(call).await?;
                Err(StorageError::unavailable("a test made this call lose its result"))
            }
        }
    }
}
