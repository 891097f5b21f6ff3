//! The standard library, but with locks, atomics and channels of the checker, which decides at each of them who runs next.

pub use std::*;

pub mod sync {
    pub use shuttle::sync::*;
    /// The real one: it is in the API of grantor, and counts nothing that a step depends on.
    pub use std::sync::Arc;
}
