//! An unambiguous encoding of byte strings for seals and MACs: each byte string follows its length.

/// Appends a byte string.
pub(super) fn put(bytes: &mut Vec<u8>, field: &[u8]) {
    bytes.extend_from_slice(&(field.len() as u64).to_be_bytes());
    bytes.extend_from_slice(field);
}

/// Reads byte strings in order. Returns `None` if the bytes end too early.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn field(&mut self) -> Option<&'a [u8]> {
        let (length, rest) = self.0.split_first_chunk()?;
        let length = usize::try_from(u64::from_be_bytes(*length)).ok()?;
        let (field, rest) = rest.split_at_checked(length)?;
        self.0 = rest;
        Some(field)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.field()?.try_into().ok()
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        str::from_utf8(self.field()?).ok()
    }

    pub(super) const fn is_at_end(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_as_they_were_put() {
        let mut bytes = Vec::new();
        put(&mut bytes, b"");
        put(&mut bytes, b"ab");
        put(&mut bytes, "\u{e9}".as_bytes());
        let mut reader = Reader(&bytes);
        assert_eq!((reader.field(), reader.array()), (Some(&b""[..]), Some(*b"ab")));
        assert!(!reader.is_at_end());
        assert_eq!(reader.text(), Some("\u{e9}"));
        assert!(reader.is_at_end() && reader.field().is_none());
    }

    #[test]
    fn fields_that_end_early_are_not_read() {
        let mut bytes = Vec::new();
        put(&mut bytes, b"abc");
        for end in 0..bytes.len() {
            assert_eq!(Reader(&bytes[..end]).field(), None);
        }
        assert_eq!(Reader(&[0xff; 20]).field(), None, "a length beyond any memory");
        assert_eq!(Reader(&bytes).array::<2>(), None);
        let mut bytes = Vec::new();
        put(&mut bytes, b"\xff");
        assert_eq!(Reader(&bytes).text(), None);
    }
}
