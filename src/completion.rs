//! Work that is done even if its caller gives up, and work that is given up after a time.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;

/// Polls the future once; returns its output, or the future itself if it is pending. Most requests over the storage in memory are
/// never pending, and a task for each costs the token endpoint a tenth of its requests per second.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<Box<F>>) -> Result<F::Output, Pin<Box<F>>> {
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
    }
}

/// Waits for a future at most this long. Most bodies are there at once, and those need no timer.
pub(crate) async fn within<F: Future>(limit: time::Duration, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Some(output),
        // In a box, so that the timer does not make every request larger.
        Poll::Pending => Box::pin(tokio::time::timeout(limit.unsigned_abs(), future)).await.ok(),
    }
}
