//! Looking at every byte of a text.

/// Whether all bytes are such. None is passed over when one is not: only so does the compiler look at many of them at a time, and
/// what comes in is nearly always in order.
pub(crate) fn all(text: &[u8], is_such: impl Fn(u8) -> bool) -> bool {
    text.iter().fold(true, |all, byte| all & is_such(*byte))
}

/// Whether all bytes are visible ASCII characters or spaces (`VSCHAR` of RFC 6749 Appendix A).
pub(crate) fn are_printable(text: &[u8]) -> bool {
    all(text, |byte| matches!(byte, 0x20..=0x7e))
}
