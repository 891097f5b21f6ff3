//! Counts what a thread allocates, while it is told to and not otherwise.

#![expect(unsafe_code, reason = "an allocator can't be written without; the library itself has none")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

/// What was allocated.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allocated {
    /// How often. A block that grows counts again.
    pub count: usize,
    /// How many bytes were asked for.
    pub bytes: usize,
    /// How many of all bytes are still in use; negative if more were given back.
    pub live: isize,
}

thread_local! {
    // In the timed part this is one look at a constant per allocation, the same for everybody.
    static ACTIVE: Cell<Option<Allocated>> = const { Cell::new(None) };
}

/// Runs it and counts what this thread allocates meanwhile.
pub fn count(run: impl FnOnce()) -> Allocated {
    ACTIVE.set(Some(Allocated::default()));
    run();
    ACTIVE.take().unwrap_or_default()
}

fn note(count: usize, bytes: usize, freed: usize) {
    // Allocations of a thread that is ending are nobody's.
    let _ = ACTIVE.try_with(|active| {
        if let Some(mut sum) = active.get() {
            sum.count += count;
            sum.bytes += bytes;
            sum.live += bytes.cast_signed() - freed.cast_signed();
            active.set(Some(sum));
        }
    });
}

// SAFETY: everything is left to the system's allocator, unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(1, layout.size(), 0);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(1, size, layout.size());
        unsafe { System.realloc(block, layout, size) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        note(0, 0, layout.size());
        unsafe { System.dealloc(block, layout) }
    }
}
