//! An allocator that counts the allocations of a thread on demand.
#![expect(unsafe_code, reason = "an allocator needs unsafe code; the library itself has none")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

#[global_allocator]
static COUNTING: Counting = Counting;

struct Counting;

/// The allocations of a thread.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Allocated {
    /// The number of allocations. A block that grows counts again.
    pub count: usize,
    /// The number of requested bytes.
    pub bytes: usize,
    /// The number of bytes still in use. It is negative if more bytes were freed than allocated.
    pub live: isize,
}

thread_local! {
    // While timing, this costs one read per allocation, the same for all subjects.
    static ACTIVE: Cell<Option<Allocated>> = const { Cell::new(None) };
}

/// Runs a closure and counts the allocations of this thread meanwhile.
pub fn count(run: impl FnOnce()) -> Allocated {
    ACTIVE.set(Some(Allocated::default()));
    run();
    ACTIVE.take().unwrap_or_default()
}

fn note(count: usize, bytes: usize, freed: usize) {
    // Fails while the thread ends. These allocations are not counted.
    let _ = ACTIVE.try_with(|active| {
        if let Some(mut sum) = active.get() {
            sum.count += count;
            sum.bytes += bytes;
            sum.live += bytes.cast_signed() - freed.cast_signed();
            active.set(Some(sum));
        }
    });
}

// SAFETY: all calls go unchanged to the system's allocator.
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
