//! A limit on concurrent password hashing. Hashes are expensive on purpose, so many requests at once could overload the
//! server.

use std::num::NonZero;
use std::sync::Arc;
use std::thread::available_parallelism;

use grantor::error::{AuthenticatorError, BoxError};
use tokio::sync::Semaphore;

/// Computes hashes on as many threads as there are processors. Other requests wait in a queue of limited length.
pub(crate) struct Hasher {
    /// One permit for each request that waits or is served.
    places: Arc<Semaphore>,
    /// One permit for each hash that is being computed.
    workers: Arc<Semaphore>,
}

/// The queue is full.
#[derive(Debug, thiserror::Error)]
#[error("too many passwords are being checked at once")]
pub(crate) struct Busy;

impl Hasher {
    /// The most requests that wait for each thread: about a second of work, if a hash takes 30 milliseconds.
    const WAITING: usize = 32;

    pub(crate) fn new() -> Self {
        Self::with_workers(available_parallelism().map_or(1, NonZero::get))
    }

    fn with_workers(workers: usize) -> Self {
        let places = workers * (1 + Self::WAITING);
        Self { places: Arc::new(Semaphore::new(places)), workers: Arc::new(Semaphore::new(workers)) }
    }

    /// Runs a function that computes a hash on a blocking thread. Fails with [`Busy`] at once if the queue is full.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        hash: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, BoxError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| Busy)?;
        let worker = Arc::clone(&self.workers).acquire_owned().await?;
        // The permits are held until the hash is done, even if the request is dropped in the meantime.
        let held = (place, worker);
        Ok(tokio::task::spawn_blocking(move || {
            let _held = held;
            hash()
        })
        .await?)
    }
}

/// Converts an error for the library, which responds to a full queue with 503 and `Retry-After`.
pub(crate) fn authenticator_error(error: BoxError) -> AuthenticatorError {
    if error.is::<Busy>() { AuthenticatorError::unavailable(error) } else { AuthenticatorError::new(error) }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
    use std::sync::{Condvar, Mutex};

    use tokio::task::JoinSet;

    use super::*;

    // Regression: nothing bounded how many passwords were hashed at once.
    #[tokio::test]
    async fn hashes_beyond_the_queue_are_refused_at_once() {
        const WORKERS: usize = 3;
        const PLACES: usize = WORKERS * (1 + Hasher::WAITING);
        let hasher = Arc::new(Hasher::with_workers(WORKERS));
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut requests = JoinSet::new();
        for _ in 0..10 * PLACES {
            let (hasher, gate) = (Arc::clone(&hasher), Arc::clone(&gate));
            let (running, most) = (Arc::clone(&running), Arc::clone(&most));
            let hash = move || {
                most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                let (is_open, opened) = &*gate;
                drop(opened.wait_while(is_open.lock().unwrap(), |is_open| !*is_open).unwrap());
                running.fetch_sub(1, SeqCst);
            };
            requests.spawn(async move { hasher.run(hash).await });
        }
        // No hash is done before the gate opens, so these requests found the queue full.
        for _ in PLACES..10 * PLACES {
            let refused = requests.join_next().await.unwrap().unwrap();
            assert!(refused.unwrap_err().is::<Busy>());
        }
        *gate.0.lock().unwrap() = true;
        gate.1.notify_all();
        for done in requests.join_all().await {
            done.unwrap();
        }
        assert_eq!((running.load(SeqCst), hasher.places.available_permits()), (0, PLACES));
        assert!((1..=WORKERS).contains(&most.load(SeqCst)), "{most:?}");
    }

    #[tokio::test]
    async fn dropped_request_keeps_its_thread_until_hash_is_done() {
        let hasher = Hasher::with_workers(1);
        let (finish, finished) = std::sync::mpsc::channel::<()>();
        let (begin, mut has_begun) = tokio::sync::mpsc::unbounded_channel();
        let hash = move || {
            begin.send(()).unwrap();
            finished.recv().unwrap();
        };
        tokio::select! {
            _ = hasher.run(hash) => panic!("the hash waits for the message"),
            _ = has_begun.recv() => {}
        }
        assert_eq!((hasher.workers.available_permits(), hasher.places.available_permits()), (0, Hasher::WAITING));
        finish.send(()).unwrap();
        hasher.run(|| ()).await.unwrap();
    }
}
