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
    /// How often work has begun.
    begun: u64,
    waiting: Vec<Waker>,
}

impl SingleFlight {
    /// Begins the work, which ends when the returned value is dropped. Returns `None` if another request is doing it.
    pub(crate) fn begin(&self) -> Option<Flight<'_>> {
        let mut state = self.state();
        if state.is_running {
            return None;
        }
        state.is_running = true;
        state.begun += 1;
        Some(Flight(self))
    }

    /// Waits until no request is doing the work.
    pub(crate) async fn ended(&self) {
        // The work that this request waits for, and the position of its waker. With many waiting requests, a search
        // would be slow.
        let mut place: Option<(u64, usize)> = None;
        poll_fn(|context| {
            let state = &mut *self.state();
            if !state.is_running {
                return Poll::Ready(());
            }
            match place {
                Some((work, at)) if work == state.begun => state.waiting[at].clone_from(context.waker()),
                _ => {
                    place = Some((state.begun, state.waiting.len()));
                    state.waiting.push(context.waker().clone());
                }
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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};
    use std::time::{Duration, Instant};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    #[test]
    fn last_waker_of_each_request_is_woken_once() {
        let work = SingleFlight::default();
        let (first, other) = (Arc::new(Count::default()), Arc::new(Count::default()));
        let mut waiting = pin!(work.ended());
        let mut poll = |count: &Arc<Count>| {
            waiting.as_mut().poll(&mut Context::from_waker(&Waker::from(Arc::clone(count)))).is_pending()
        };
        let count = |count: &Count| count.0.load(Ordering::SeqCst);
        for round in 1..3 {
            let flight = work.begin().unwrap();
            assert!(work.begin().is_none());
            assert!(poll(&first) && poll(&first) && poll(&other));
            drop(flight);
            assert_eq!((count(&first), count(&other)), (0, round));
        }
        assert!(!poll(&first));
    }

    // With a search for wakers, the time would grow with the square of the number of waiting requests.
    #[test]
    fn many_requests_wait_without_a_search() {
        let work = SingleFlight::default();
        let _flight = work.begin().unwrap();
        let begin = Instant::now();
        for _ in 0..60_000 {
            let waker = Waker::from(Arc::new(Count::default()));
            assert!(pin!(work.ended()).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        assert!(begin.elapsed() < Duration::from_secs(5), "{:?}", begin.elapsed());
    }
}
