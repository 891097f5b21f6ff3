//! A future that several tasks wait for. Each of them polls it, so it continues when one of them is dropped.

use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};

/// A call and, once it is over, its output. Dropping its last `Arc` cancels the call.
pub(crate) struct SharedCall<T> {
    state: Mutex<State<T>>,
    waiting: Arc<Waiting>,
    next_waiter: AtomicU64,
}

enum State<T> {
    Running(Pin<Box<dyn Future<Output = T> + Send>>),
    Done(T),
}

/// The wakers of the waiting tasks, by the number of the waiter.
#[derive(Default)]
struct Waiting(Mutex<HashMap<u64, Waker>>);

impl<T: Clone> SharedCall<T> {
    pub(crate) fn new(call: impl Future<Output = T> + Send + 'static) -> Self {
        let state = Mutex::new(State::Running(Box::pin(call)));
        Self { state, waiting: Arc::default(), next_waiter: AtomicU64::new(0) }
    }

    /// Waits for the output. Returns `None` if the call panicked in another task.
    pub(crate) fn wait(self: Arc<Self>) -> Waiter<T> {
        let number = self.next_waiter.fetch_add(1, Ordering::Relaxed);
        Waiter { call: self, number }
    }
}

impl<T> fmt::Debug for SharedCall<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedCall").finish_non_exhaustive()
    }
}

/// The future of one waiting task.
pub(crate) struct Waiter<T> {
    call: Arc<SharedCall<T>>,
    number: u64,
}

impl<T: Clone> Future for Waiter<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<T>> {
        let call = &*self.call;
        // Registers the waker first, so that no later event is missed.
        call.waiting.with(|wakers| wakers.insert(self.number, context.waker().clone()));
        let Ok(mut state) = call.state.lock() else { return Poll::Ready(None) };
        let running = match &mut *state {
            State::Running(running) => running,
            State::Done(output) => return Poll::Ready(Some(output.clone())),
        };
        let mut others = WakeAll { waiting: &call.waiting, armed: true };
        let waker = Waker::from(Arc::clone(&call.waiting));
        match running.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(output) => {
                *state = State::Done(output.clone());
                Poll::Ready(Some(output))
            }
            Poll::Pending => {
                others.armed = false;
                Poll::Pending
            }
        }
    }
}

impl<T> Drop for Waiter<T> {
    fn drop(&mut self) {
        self.call.waiting.with(|wakers| wakers.remove(&self.number));
    }
}

impl Waiting {
    fn with<R>(&self, change: impl FnOnce(&mut HashMap<u64, Waker>) -> R) -> R {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Wake for Waiting {
    /// Wakes all tasks, because a single woken task could be dropped before it polls.
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        for waker in self.with(std::mem::take).into_values() {
            waker.wake();
        }
    }
}

/// Wakes the waiting tasks when the call is over or has panicked.
struct WakeAll<'a> {
    waiting: &'a Arc<Waiting>,
    armed: bool,
}

impl Drop for WakeAll<'_> {
    fn drop(&mut self) {
        if self.armed {
            self.waiting.wake_by_ref();
        }
    }
}
