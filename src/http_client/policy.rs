//! [`FetchPolicy`]: the limits of fetches.

use std::collections::BTreeSet;

use time::Duration;

/// The limits of fetches, for [`Policy::fetch`](crate::Policy::fetch). A request that needs a fetch above a limit gets
/// 503. Each process counts for itself.
///
/// # Defaults
/// | setting | default |
/// |---|---|
/// | [`timeout`](Self::timeout) | 5 seconds |
/// | [`allowed_ports`](Self::allowed_ports) | 443 |
/// | [`max_at_once`](Self::max_at_once) | 32 |
/// | [`max_per_minute`](Self::max_per_minute) | 600 |
/// | [`max_per_host`](Self::max_per_host) | 60 in a minute |
/// | [`max_per_peer`](Self::max_per_peer) | 20 in a minute |
/// | [`allow_loopback_for_development`](Self::allow_loopback_for_development) | no |
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct FetchPolicy {
    /// The maximum time for a fetch: name look-up, connection, headers and body together. Default: 5 seconds.
    pub timeout: Duration,
    /// The allowed ports of URLs. With other ports, an attacker could let the server connect to services that do not
    /// expect it. Default: only 443.
    pub allowed_ports: BTreeSet<u16>,
    /// The maximum number of fetches at the same time. Equal fetches count as one. Default: 32.
    pub max_at_once: usize,
    /// The maximum number of fetches in a minute. Default: 600.
    pub max_per_minute: u32,
    /// The maximum number of fetches in a minute from one host name. Default: 60.
    pub max_per_host: u32,
    /// The maximum number of fetches in a minute for requests of one peer. A /64 network of IPv6 is one peer. Requests
    /// whose peer is unknown have no such limit. It should be smaller than `max_per_host`. Otherwise one peer could use up
    /// the limit of a host, by requests that it gives up at once. Default: 20.
    pub max_per_peer: u32,
    /// Whether URLs with `localhost`, `127.0.0.1` and `[::1]` are allowed, with `http` and `https` and any port. A
    /// server whose issuer is not on the loopback interface does not build with it. Default: no.
    pub allow_loopback_for_development: bool,
}

impl Default for FetchPolicy {
    fn default() -> Self {
        Self {
            timeout: Duration::seconds(5),
            allowed_ports: BTreeSet::from([443]),
            max_at_once: 32,
            max_per_minute: 600,
            max_per_host: 60,
            max_per_peer: 20,
            allow_loopback_for_development: false,
        }
    }
}

impl FetchPolicy {
    /// Returns whether no fetch would be possible.
    pub(crate) fn forbids_all(&self) -> bool {
        let smallest = self.max_per_minute.min(self.max_per_host).min(self.max_per_peer);
        !self.timeout.is_positive() || self.allowed_ports.is_empty() || self.max_at_once == 0 || smallest == 0
    }
}
