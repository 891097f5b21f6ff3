//! Helpers for futures: work that continues without its caller, and work with a deadline.

use std::future::poll_fn;
use std::pin::{Pin, pin};
#[cfg(feature = "axum")]
use std::sync::LazyLock;
use std::task::Poll;

#[cfg(feature = "axum")]
use tokio::sync::watch;

/// Polls the future once. Returns its output, or the future itself if it is pending. Most requests with the storage in
/// memory are never pending. A task for each of them would cost the token endpoint a tenth of its requests per second.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<Box<F>>) -> Result<F::Output, Pin<Box<F>>> {
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
    }
}

/// Waits for a future up to a limit. A future that is ready at once, such as most bodies, needs no timer.
pub(crate) async fn within<F: Future>(limit: time::Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Some(output),
        // The timer is boxed to keep the future of each request small.
        Poll::Pending => Box::pin(tokio::time::timeout(limit.unsigned_abs(), future)).await.ok(),
    }
}

/// The number of tasks that continue without their callers.
#[cfg(feature = "axum")]
static RUNNING: LazyLock<watch::Sender<usize>> = LazyLock::new(|| watch::Sender::new(0));

/// A task that continues without its caller, until the value is dropped.
#[cfg(feature = "axum")]
pub(crate) struct Running(());

#[cfg(feature = "axum")]
impl Running {
    pub(crate) fn begin() -> Self {
        RUNNING.send_modify(|count| *count += 1);
        Self(())
    }

    /// Waits until there is no such task.
    pub(crate) async fn none() {
        // The sender is never dropped, so there is no error.
        drop(RUNNING.subscribe().wait_for(|count| *count == 0).await);
    }
}

#[cfg(feature = "axum")]
impl Drop for Running {
    fn drop(&mut self) {
        RUNNING.send_modify(|count| *count -= 1);
    }
}
