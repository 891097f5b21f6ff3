//! A strict decoder of forms that is independent of the library.

use percent_encoding::percent_decode;

/// The names and values of a form. `None` means that a text can't be decoded.
pub(crate) struct Form {
    pub(crate) pairs: Vec<(Option<String>, Option<String>)>,
}

impl Form {
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let pairs = bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty());
        let halves = pairs.map(|pair| {
            let mut halves = pair.splitn(2, |byte| *byte == b'=');
            let mut half = || component(halves.next().unwrap_or_default());
            (half(), half())
        });
        Self { pairs: halves.collect() }
    }

    pub(crate) fn is_well_formed(&self) -> bool {
        self.pairs.iter().all(|(name, value)| name.is_some() && value.is_some())
    }

    /// Returns the total size of the names and values, if their name can be decoded.
    pub(crate) fn size(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        self.pairs.iter().filter(|(name, _)| name.is_some()).map(|(name, value)| length(name) + length(value)).sum()
    }

    /// Returns all values of a parameter.
    pub(crate) fn values(&self, name: &str) -> Vec<Option<&str>> {
        let own = self.pairs.iter().filter(|(own, _)| own.as_deref() == Some(name));
        own.map(|(_, value)| value.as_deref()).collect()
    }

    /// Returns the value of a parameter that occurs once, is well-formed and is not empty.
    pub(crate) fn one(&self, name: &str) -> Option<&str> {
        match self.values(name)[..] {
            [Some(value)] if !value.is_empty() => Some(value),
            _ => None,
        }
    }

    /// Returns whether a parameter is neither repeated nor malformed. It may be absent.
    pub(crate) fn is_readable(&self, name: &str) -> bool {
        matches!(self.values(name)[..], [] | [Some(_)])
    }

    pub(crate) fn has_any(&self, names: &[&str]) -> bool {
        names.iter().any(|name| !self.values(name).is_empty())
    }

    /// Returns whether a server that knows these parameters can process the form.
    pub(crate) fn is_acceptable(&self, known: &[&str]) -> bool {
        self.is_well_formed() && known.iter().all(|name| self.is_readable(name))
    }
}

/// Decodes a name or a value. Every `%` must begin an escape of two digits, and the bytes must be UTF-8.
pub(crate) fn component(bytes: &[u8]) -> Option<String> {
    let is_escape =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit));
    if (0..bytes.len()).any(|at| bytes[at] == b'%' && !is_escape(at)) {
        return None;
    }
    let spaced: Vec<u8> = bytes.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    percent_decode(&spaced).decode_utf8().ok().map(String::from)
}

/// Returns whether there is exactly one `Content-Type` header, and it declares a form.
pub(crate) fn is_form(types: &[Vec<u8>]) -> bool {
    let [only] = types else { return false };
    let essence = only.split(|byte| *byte == b';').next().unwrap_or_default();
    essence.trim_ascii().eq_ignore_ascii_case(b"application/x-www-form-urlencoded")
}
