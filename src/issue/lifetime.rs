//! The lifetimes of new tokens and grants.

use time::{Duration, OffsetDateTime};

use crate::client::Client;
use crate::env::in_microseconds;
use crate::error::Error;
use crate::policy::{EffectiveLifetimes, RefreshTokens};
use crate::record::GrantType;
use crate::resource::DeclaredResource;
use crate::scope::Scope;
use crate::server_context::ServerContext;

/// Returns whether a client gets refresh tokens for a grant of this scope (RFC 9700 §4.14.2).
pub(crate) fn may_refresh(server: &ServerContext, client: &Client, granted: &Scope) -> bool {
    let policy_agrees = match server.policy.refresh_tokens {
        RefreshTokens::Always => true,
        RefreshTokens::OfflineAccess => granted.contains("offline_access"),
        RefreshTokens::Never => false,
    };
    policy_agrees && client.allows_grant_type(GrantType::REFRESH_TOKEN)
}

/// Returns the lifetimes for a client and a resource. The grant handler may change the lifetime of the access token. It
/// is cut to the limit of the resource and, for a signed access token, to the time for which its key is published.
pub(super) fn lifetimes(
    server: &ServerContext,
    client: &Client,
    resource: Option<&DeclaredResource>,
    from_handler: Option<Duration>,
) -> Result<EffectiveLifetimes, Error> {
    let mut lifetimes = server.policy.lifetimes(client);
    if let Some(access_token) = from_handler {
        if access_token < Duration::SECOND {
            return Err(Error::Misuse(
                "a grant handler set an access token lifetime below one second: set a longer one",
            ));
        }
        lifetimes.access_token = access_token;
    }
    if let Some(longest) = resource.and_then(|resource| resource.access_token_lifetime) {
        lifetimes.access_token = lifetimes.access_token.min(longest);
    }
    if let Some(longest) = server.format_of_new_tokens(resource).and_then(|format| format.longest_lifetime()) {
        lifetimes.access_token = lifetimes.access_token.min(longest);
    }
    Ok(lifetimes)
}

/// Returns whether a token lasts at least a second. Responses state lifetimes in whole seconds, so a shorter lifetime
/// would be announced as 0.
pub(super) fn lasts_a_second(expires_at: OffsetDateTime, now: OffsetDateTime) -> bool {
    expires_at - now >= Duration::SECOND
}

/// The times at which the tokens of a response and their grant expire.
pub(super) struct Expirations {
    pub(super) access: OffsetDateTime,
    pub(super) refresh: OffsetDateTime,
    idle: OffsetDateTime,
}

impl Expirations {
    /// No token outlives the absolute lifetime of its grant, or the end of the parent grant at `ends_by`. A refresh
    /// token that rotates expires after its idle lifetime. A refresh token that does not rotate can be used until its
    /// grant ends, which happens after the idle lifetime.
    pub(super) fn new(
        lifetimes: &EffectiveLifetimes,
        rotates: bool,
        opened_at: OffsetDateTime,
        ends_by: Option<OffsetDateTime>,
        now: OffsetDateTime,
    ) -> Self {
        // A lifetime may have fractions of a microsecond, for example if a customizer divides it. Records can't store
        // them.
        let end = |start: OffsetDateTime, lifetime| in_microseconds(start.saturating_add(lifetime));
        let absolute = end(opened_at, lifetimes.refresh_token_absolute);
        let absolute = ends_by.map_or(absolute, |ends_by| absolute.min(ends_by));
        let idle = end(now, lifetimes.refresh_token_idle).min(absolute);
        let access = end(now, lifetimes.access_token).min(absolute);
        Self { access, refresh: if rotates { idle } else { absolute }, idle }
    }

    /// Returns the end of the grant, which is the end of its last usable token.
    pub(super) fn grant(&self, refreshable: bool) -> OffsetDateTime {
        if refreshable { self.idle.max(self.access) } else { self.access }
    }
}
