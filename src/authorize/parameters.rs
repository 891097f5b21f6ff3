//! The parameters of an authorization request: their names, and their values on the way through login and consent.

use std::fmt;
use std::ops::Range;

use super::codec::{Reader, put};
use crate::error::Refusal;
use crate::params::Params;

/// The parameters that the library reads. Each may occur once.
pub(super) const KNOWN: [&str; 12] = [
    "client_id",
    "redirect_uri",
    "response_type",
    "response_mode",
    "state",
    "scope",
    "code_challenge",
    "code_challenge_method",
    "prompt",
    "max_age",
    "acr_values",
    "login_hint",
];

/// The one parameter of a return target, with all others sealed in it.
pub(super) const RETURN_TARGET: &str = "return_target";

/// Whether the library reads this parameter.
pub(crate) fn is_known_parameter(name: &str) -> bool {
    KNOWN.contains(&name) || name == RETURN_TARGET
}

/// The size of all names and values of a request together, in bytes after decoding. A form with such a request sealed in it is
/// smaller than the default of [`Policy::max_body`](crate::Policy), and so is the query of such a request. With a smaller
/// `max_body`, half of that is the limit.
pub(super) const MAX_SIZE: usize = 16 * 1024;

/// The parameters that a request had, each once and not empty. They are decoded, and only known and declared ones are kept.
///
/// One text holds all values, because a request has many and each text of its own is an allocation: that was a third of all
/// allocations of an authorization.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    /// The values, one directly behind the other.
    values: String,
    /// The name of each value, and where in `values` it is.
    places: Vec<(&'static str, Range<usize>)>,
}

impl Parameters {
    /// Has room for one value of each name, and for so many bytes of values.
    fn with_capacity(names: usize, bytes: usize) -> Self {
        Self { values: String::with_capacity(bytes), places: Vec::with_capacity(names) }
    }

    fn push(&mut self, name: &'static str, value: &str) {
        let start = self.values.len();
        self.values.push_str(value);
        self.places.push((name, start..self.values.len()));
    }

    /// Takes the parameters with these names, each of which may occur once.
    pub(super) fn of(params: &Params<'_>, names: &[&'static str]) -> Result<Self, Refusal> {
        let mut found = Self::with_capacity(names.len(), params.size());
        for (name, value) in params.known(names) {
            if found.get(name).is_some() {
                return Err(Refusal::RepeatedParameter(name));
            }
            found.push(name, value);
        }
        Ok(found)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let (_, place) = self.places.iter().find(|(own, _)| *own == name)?;
        Some(&self.values[place.clone()])
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.places.iter().map(|(name, place)| (*name, &self.values[place.clone()]))
    }

    /// The same as the parameters of a request that is to be read again.
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

    /// Reads what [`encode`](Self::encode) wrote, to the end. `None` if a name is not, or no longer, among `names`.
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
    /// Without the values, which may tell who the user is.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter().map(|(name, _)| name)).finish()
    }
}
