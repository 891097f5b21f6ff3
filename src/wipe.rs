//! Overwriting what held a secret.
//!
//! As `zeroize` does it, whose barrier keeps the compiler from leaving it out, but as many bytes at a step as the machine can
//! write: `Zeroizing` goes byte by byte, and a request has hundreds of them.

use std::ops::{Deref, DerefMut};

use zeroize::optimization_barrier;

/// Something all of whose bytes can be overwritten.
pub(crate) trait Wipe {
    /// Overwrites it with zeros.
    fn wipe(&mut self);
}

impl Wipe for [u8] {
    fn wipe(&mut self) {
        self.fill(0);
        optimization_barrier(self);
    }
}

impl<const N: usize> Wipe for [u8; N] {
    fn wipe(&mut self) {
        self.as_mut_slice().wipe();
    }
}

impl Wipe for Vec<u8> {
    /// With the room that it does not use, where more may have stood, and leaves it empty.
    fn wipe(&mut self) {
        self.clear();
        self.resize(self.capacity(), 0);
        optimization_barrier(self.as_slice());
        self.clear();
    }
}

impl Wipe for String {
    /// As a vector, and leaves it without any room.
    fn wipe(&mut self) {
        std::mem::take(self).into_bytes().wipe();
    }
}

/// Overwrites its content when it is dropped.
#[derive(Clone, Default)]
pub(crate) struct Wiped<T: Wipe>(T);

impl<T: Wipe> Wiped<T> {
    pub(crate) const fn new(content: T) -> Self {
        Self(content)
    }
}

impl<T: Wipe> Drop for Wiped<T> {
    fn drop(&mut self) {
        self.0.wipe();
    }
}

impl<T: Wipe> Deref for Wiped<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: Wipe> DerefMut for Wiped<T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrapped_is_overwritten_when_it_is_dropped_and_not_before() {
        struct Noting<'a>(&'a std::cell::Cell<u32>);
        impl Wipe for Noting<'_> {
            fn wipe(&mut self) {
                self.0.set(self.0.get() + 1);
            }
        }
        let wiped = std::cell::Cell::new(0);
        let wrapped = Wiped::new(Noting(&wiped));
        assert_eq!(wrapped.0.0.get(), 0);
        drop(wrapped);
        assert_eq!(wiped.get(), 1);
    }

    #[test]
    fn all_of_an_array_a_slice_and_a_vector_is_overwritten() {
        let mut array = [7; 33];
        array[1..].wipe();
        assert_eq!(array[..2], [7, 0]);
        array.wipe();
        assert_eq!(array, [0; 33]);

        let mut vector = vec![7; 33];
        vector.truncate(1);
        let room = vector.capacity();
        vector.wipe();
        assert_eq!((vector.len(), vector.capacity()), (0, room), "it was overwritten where it stood");

        let mut text = "a secret".to_owned();
        text.wipe();
        assert_eq!(text, "");
    }
}
