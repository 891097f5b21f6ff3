//! How far a request has come: what a return target and a form token remember of it.

use time::{Duration, OffsetDateTime};

use super::codec::{Reader, put};

/// In microseconds.
const SECOND: i64 = 1_000_000;

/// What happened to a request before this visit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// When it was first seen, in microseconds since 1970.
    pub(super) first_seen: i64,
    /// How often the user was sent to log in.
    pub(super) logins: u8,
    /// Whether the user could choose an account.
    pub(super) account_chosen: bool,
    /// Whether the user was sent to log in with the `acr_values` in view.
    pub(super) stepped_up: bool,
}

impl Progress {
    pub(super) fn begin(now: OffsetDateTime) -> Self {
        Self { first_seen: microseconds(now), logins: 0, account_chosen: false, stepped_up: false }
    }

    /// The progress on a later visit. A request that is older than `lifetime` counts as that old, and the user is asked again; a
    /// login that took longer is not too old for it. A clock that was set back has not seen the request later than now.
    pub(super) fn on_visit(self, now: OffsetDateTime, lifetime: Duration) -> Self {
        let lifetime = i64::try_from(lifetime.whole_microseconds()).unwrap_or(i64::MAX);
        let oldest = microseconds(now).saturating_sub(lifetime);
        if self.first_seen < oldest {
            return Self { first_seen: oldest, ..Self::begin(now) };
        }
        Self { first_seen: self.first_seen.min(microseconds(now)), ..self }
    }

    /// Whether a login at this time is at most `age` seconds older than the request. A time without a fraction counts for its
    /// whole second, because many applications keep no more.
    pub(super) fn is_fresh(&self, login: OffsetDateTime, age: i64) -> bool {
        let first_seen = if login.microsecond() == 0 { self.first_seen / SECOND * SECOND } else { self.first_seen };
        microseconds(login) >= first_seen.saturating_sub(age.saturating_mul(SECOND))
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

fn microseconds(at: OffsetDateTime) -> i64 {
    i64::try_from(at.unix_timestamp_nanos() / 1_000).unwrap_or(i64::MAX)
}
