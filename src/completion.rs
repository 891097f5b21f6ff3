//! Work that is to be done even if nobody waits for it any more.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::Poll;

/// Begins a future where it stands: its output, or the rest of it if it has to wait for something. Most requests over a storage
/// in memory need not, and a task of their own would cost more than they do.
pub(crate) async fn begun<F: Future>(mut future: Pin<Box<F>>) -> Result<F::Output, Pin<Box<F>>> {
    match poll_fn(|context| Poll::Ready(future.as_mut().poll(context))).await {
        Poll::Ready(output) => Ok(output),
        Poll::Pending => Err(future),
    }
}
