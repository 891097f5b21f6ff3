//! One thing with its references counted in several places.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Copies of one thing, each counted by itself: threads that have nothing else in common would otherwise meet at one count with
/// every request. Only what is aligned to cache lines can be spread, or the counts would share one.
#[derive(Debug)]
pub(crate) struct Spread<T>([Arc<T>; 16]);

impl<T> Spread<T> {
    /// `copy` makes one after the other.
    pub(crate) fn new(mut copy: impl FnMut() -> T) -> Self {
        const { assert!(align_of::<T>() >= 128) }
        Self(std::array::from_fn(|_| Arc::new(copy())))
    }

    /// One that this thread has to itself, unless more threads than there are copies have ever asked.
    pub(crate) fn one(&self) -> &Arc<T> {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local!(static NUMBER: usize = THREADS.fetch_add(1, Ordering::Relaxed));
        &self.0[NUMBER.with(|number| number % self.0.len())]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_have_copies_of_their_own_until_there_are_too_many_of_them() {
        #[repr(align(128))]
        struct Copy(i32);
        let mut made = 0;
        let spread = Spread::new(|| {
            made += 1;
            Copy(made)
        });
        let of_a_thread = |_| std::thread::scope(|scope| scope.spawn(|| spread.one().0).join().unwrap());
        let copies: Vec<i32> = (0..16 * 17).map(of_a_thread).collect();
        // Other tests have threads as well.
        assert!(copies.windows(2).filter(|pair| pair[0] != pair[1]).count() > copies.len() / 2, "{copies:?}");
        assert!(copies.iter().all(|copy| (1..=16).contains(copy)), "{copies:?}");
    }
}
