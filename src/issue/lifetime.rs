//! How long what is issued now lasts.

use time::{Duration, OffsetDateTime};

use crate::client::Client;
use crate::env::in_microseconds;
use crate::error::Error;
use crate::policy::{EffectiveLifetimes, RefreshTokens};
use crate::record::GrantType;
use crate::scope::Scope;
use crate::server_context::ServerContext;

/// Whether a client gets refresh tokens for a grant of this scope (RFC 9700 §4.14.2).
pub(crate) fn may_refresh(server: &ServerContext, client: &Client, granted: &Scope) -> bool {
    let policy_agrees = match server.policy.refresh_tokens {
        RefreshTokens::Always => true,
        RefreshTokens::OfflineAccess => granted.contains("offline_access"),
        RefreshTokens::Never => false,
    };
    policy_agrees && client.allows_grant_type(GrantType::REFRESH_TOKEN)
}

/// The lifetimes of a client, with what the grant handler changes for this response. The lifetime of a signed access token is cut to the
/// time for which its key is published.
pub(super) fn lifetimes(
    server: &ServerContext,
    client: &Client,
    from_handler: Option<Duration>,
) -> Result<EffectiveLifetimes, Error> {
    let mut lifetimes = server.policy.lifetimes(client);
    if let Some(access_token) = from_handler {
        if access_token < Duration::SECOND {
            return Err(Error::Misuse("a grant handler set an access token lifetime below one second"));
        }
        lifetimes.access_token = access_token;
    }
    if let Some(longest) = server.format_of_new_tokens().and_then(|format| format.longest_lifetime()) {
        lifetimes.access_token = lifetimes.access_token.min(longest);
    }
    Ok(lifetimes)
}

/// Whether a token lasts at least a second. Lifetimes are told in whole seconds, so a shorter one would be announced as expired.
pub(super) fn lasts_a_second(expires_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    expires_at - now >= Duration::SECOND
}

/// When the tokens of one response expire.
pub(super) struct Expirations {
    pub(super) access: OffsetDateTime,
    pub(super) refresh: OffsetDateTime,
    idle: OffsetDateTime,
}

impl Expirations {
    /// Nothing outlives the absolute lifetime of its grant, nor the grant that it was derived from, which ends at `ends_by`. A refresh token that rotates expires when it was idle for too long;
    /// one that does not lasts as long as its grant, which ends when it was idle for too long.
    pub(super) fn new(
        lifetimes: &EffectiveLifetimes,
        rotates: bool,
        opened_at: OffsetDateTime,
        ends_by: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Self {
        // A lifetime may have parts of a microsecond, most of all one that a customizer has divided. A record has none.
        let end = |start: OffsetDateTime, lifetime| in_microseconds(start.saturating_add(lifetime));
        let absolute = end(opened_at, lifetimes.refresh_token_absolute);
        let absolute = ends_by.map_or(absolute, |ends_by| absolute.min(ends_by));
        let idle = end(now, lifetimes.refresh_token_idle).min(absolute);
        let access = end(now, lifetimes.access_token).min(absolute);
        Self { access, refresh: if rotates { idle } else { absolute }, idle }
    }

    /// When the grant ends: with the last of its tokens that can be used.
    pub(super) fn grant(&self, refreshable: bool) -> OffsetDateTime {
        if refreshable { self.idle.max(self.access) } else { self.access }
    }
}
