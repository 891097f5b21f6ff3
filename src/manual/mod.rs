//! The manual: what the library defends against, and how.

#[doc = include_str!("storage.md")]
pub mod storage {}

#[doc = include_str!("threats.md")]
pub mod threats {}
