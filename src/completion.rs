//! Work that is done even if its caller gives up.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Polls the future once; returns its output, or the future itself if it is pending. Most requests over the storage in memory are
/// never pending, and a task for each costs the token endpoint a tenth of its requests per second.
pub(crate) async fn poll_once<F: Future>(mut future: Pin<Box<F>>) -> Result<F::Output, Pin<Box<F>>> {
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
    }
}
