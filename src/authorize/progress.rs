//! How far a request has come: what a return target and a form token remember of it.

use super::codec::{Reader, put};

/// What happened to a request before this visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// When it was first seen, in seconds since 1970.
    pub(super) first_seen: i64,
    /// How often the user was sent to log in.
    pub(super) logins: u8,
    /// Whether the user could choose an account.
    pub(super) account_chosen: bool,
    /// Whether the user was sent to log in with the `acr_values` in view.
    pub(super) stepped_up: bool,
}

impl Progress {
    pub(super) const fn begin(now: i64) -> Self {
        Self { first_seen: now, logins: 0, account_chosen: false, stepped_up: false }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        put(bytes, &self.first_seen.to_be_bytes());
        put(bytes, &[self.logins, u8::from(self.account_chosen), u8::from(self.stepped_up)]);
    }

    pub(super) fn decode(reader: &mut Reader<'_>) -> Option<Self> {
        let first_seen = i64::from_be_bytes(reader.array()?);
        let [logins, account_chosen, stepped_up] = reader.array()?;
        Some(Self { first_seen, logins, account_chosen: account_chosen == 1, stepped_up: stepped_up == 1 })
    }
}
