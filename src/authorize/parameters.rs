//! The parameters of an authorization request: their names, and their values during login and consent.

use std::fmt;
use std::ops::Range;

use super::codec::{Reader, put};
use crate::error::Refusal;
use crate::params::Params;

/// The parameters that the library reads. Each may occur once, except [`RESOURCE`].
pub(super) const KNOWN: [&str; 13] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "scope",
    RESOURCE,
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "acr_values",
    "login_hint",
];

/// The resource that the tokens are for (RFC 8707 §2), the only parameter that may repeat.
pub(super) const RESOURCE: &str = "resource";

/// The only parameter of a return target. All other parameters are sealed in it.
pub(super) const RETURN_TARGET: &str = "return_target";

/// The parameter with a request object, which contains all other parameters (RFC 9101 §5).
pub(super) const REQUEST: &str = "request";

/// The parameter with the address of a request object (RFC 9101 §5).
pub(super) const REQUEST_URI: &str = "request_uri";

/// The parameters that stand for others, which are carried in their place.
pub(super) const REFERENCES: [&str; 3] = [RETURN_TARGET, REQUEST, REQUEST_URI];

/// Returns whether the library reads this parameter.
pub(crate) fn is_known_parameter(name: &str) -> bool {
    KNOWN.contains(&name) || REFERENCES.contains(&name)
}

/// The maximum size of all names and values of a request, in bytes after decoding. A form or query with such a request
/// sealed in it is smaller than the default of [`Policy::max_body`](crate::Policy). If `max_body` is smaller, half of
/// it is the limit.
pub(super) const MAX_SIZE: usize = 16 * 1024;

/// The decoded parameters of a request: those that the library reads and those that capabilities declare. None is empty,
/// and only [`RESOURCE`] may repeat.
///
/// One string holds all values. Separate strings would cause a third of all allocations of an authorization.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The concatenated values.
    values: String,
    /// The name of each value, and its range in `values`.
    ranges: Vec<(&'static str, Range<usize>)>,
}

impl Parameters {
    /// Allocates room for `names` values with `bytes` bytes in total.
    fn with_capacity(names: usize, bytes: usize) -> Self {
        Self { values: String::with_capacity(bytes), ranges: Vec::with_capacity(names) }
    }

    fn push(&mut self, name: &'static str, value: &str) {
        let start = self.values.len();
        self.values.push_str(value);
        self.ranges.push((name, start..self.values.len()));
    }

    /// Copies the parameters with these names. Refuses a name that occurs more than once.
    pub(super) fn of(params: &Params<'_>, names: &[&'static str]) -> Result<Self, Refusal> {
        let mut found = Self::with_capacity(names.len(), params.size());
        for (name, value) in params.known(names) {
            if name != RESOURCE && found.get(name).is_some() {
                return Err(Refusal::RepeatedParameter(name));
            }
            found.push(name, value);
        }
        Ok(found)
    }

    /// Returns the value of a parameter, or the first one if it repeats.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, range) = self.ranges.iter().find(|(own, _)| *own == name)?;
        Some(&self.values[range.clone()])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.ranges.iter().map(|(name, range)| (*name, &self.values[range.clone()]))
    }

    /// Returns the parameters in the form in which a request is validated.
    pub(super) fn as_params(&self) -> Params<'_> {
        let mut params = Params::with_room();
        self.iter().for_each(|(name, value)| params.push(name, value));
        params
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        for (name, value) in self.iter() {
            put(bytes, name.as_bytes());
            put(bytes, value.as_bytes());
        }
    }

    /// Reads the bytes that [`encode`](Self::encode) wrote, to their end. Returns `None` if a name is not among
    /// `names`.
    pub(super) fn decode(reader: &mut Reader<'_>, names: &[&'static str]) -> Option<Self> {
        let mut found = Self::with_capacity(names.len(), reader.0.len());
        while !reader.is_at_end() {
            let name = reader.text()?;
            let name = names.iter().find(|known| **known == name)?;
            found.push(name, reader.text()?);
        }
        Some(found)
    }
}

impl fmt::Debug for Parameters {
    /// Omits the values, which may identify the user.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}
