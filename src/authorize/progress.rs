//! [`Progress`]: the steps that a request has taken. Return targets and form tokens carry it.

use time::{Duration, OffsetDateTime};

use super::codec::{Reader, put};

/// One second in microseconds.
const SECOND: i64 = 1_000_000;

/// The steps that a request took before this visit of the browser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Progress {
    /// The time when the request was first seen, in microseconds since 1970.
    pub(super) first_seen: i64,
    /// The number of times that the user was sent to log in.
    pub(super) logins: u8,
    /// Whether the user was able to choose an account.
    pub(super) account_chosen: bool,
    /// Whether the user was sent to log in with one of the `acr_values`.
    pub(super) stepped_up: bool,
}

impl Progress {
    pub(super) fn begin(now: OffsetDateTime) -> Self {
        Self { first_seen: microseconds(now), logins: 0, account_chosen: false, stepped_up: false }
    }

    /// Returns the progress for a later visit. A request that is older than `lifetime` starts again with that age, so
    /// that a slow login is not too old for it. If a clock was set back, the request counts as first seen now at the
    /// latest.
    pub(super) fn on_visit(self, now: OffsetDateTime, lifetime: Duration) -> Self {
        let lifetime = i64::try_from(lifetime.whole_microseconds()).unwrap_or(i64::MAX);
        let oldest = microseconds(now).saturating_sub(lifetime);
        if self.first_seen < oldest {
            return Self { first_seen: oldest, ..Self::begin(now) };
        }
        Self { first_seen: self.first_seen.min(microseconds(now)), ..self }
    }

    /// Returns whether a login is at most `age` seconds older than the request. A login time without a fraction counts
    /// as the end of its second, because many applications store whole seconds.
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
