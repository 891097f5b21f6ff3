//! Lets one request at a time do some work, while others wait for it or continue without it.

use std::future::poll_fn;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

/// A lock on some work, for one request at a time.
#[derive(Default)]
pub(crate) struct SingleFlight(Mutex<State>);

#[derive(Default)]
struct State {
    is_running: bool,
    waiting: Vec<Waker>,
}

impl SingleFlight {
    /// Begins the work, which ends when the returned value is dropped. Returns `None` if another request is doing it.
    pub(crate) fn begin(&self) -> Option<Flight<'_>> {
        let is_running = std::mem::replace(&mut self.state().is_running, true);
        if is_running { None } else { Some(Flight(self)) }
    }

    /// Waits until no request is doing the work.
    pub(crate) async fn ended(&self) {
        poll_fn(|context| {
            let mut state = self.state();
            if !state.is_running {
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(context.waker())) {
                state.waiting.push(context.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The work of one request, until it is done or cancelled.
pub(crate) struct Flight<'a>(&'a SingleFlight);

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_running = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }
}
