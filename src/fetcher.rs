//! Fetches documents from URLs that clients have registered. It checks the URL, counts the fetch and reports a failure.
#![cfg_attr(not(feature = "jwt"), allow(dead_code, reason = "only keys of clients are fetched"))]

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use time::{Duration, OffsetDateTime};

use crate::api_context::ApiContext;
use crate::error::{Error, FetchError, FetchLimit, UrlError};
use crate::event::{EventKind, FetchPurpose};
use crate::http::network_of;
use crate::http_client::{FetchPolicy, GetRequest, GetResponse, HttpClient, check_url};
use crate::record::ClientId;

/// The period of the limits.
const PERIOD: Duration = Duration::MINUTE;

/// A document to fetch.
#[derive(Debug, Clone)]
pub(crate) struct Fetch {
    pub(crate) url: String,
    pub(crate) purpose: FetchPurpose,
    /// The client that registered the URL.
    pub(crate) client_id: ClientId,
    /// The peer of the request that needs the document.
    pub(crate) peer: Option<IpAddr>,
}

impl FetchPurpose {
    /// Returns the accepted content types, and the maximum size.
    const fn content(self) -> (&'static str, usize) {
        match self {
            Self::ClientKeys => ("application/jwk-set+json, application/json", 32 * 1_024),
        }
    }
}

/// The fetches of a server. They share one set of limits.
pub(crate) struct Fetcher {
    client: Option<Arc<dyn HttpClient>>,
    policy: FetchPolicy,
    api: Arc<ApiContext>,
    used: Mutex<Used>,
}

/// The running fetches, and the fetches of a minute. There is at most one host and one peer for each of them, so
/// `max_per_minute` bounds the memory.
#[derive(Default)]
struct Used {
    at_once: usize,
    since: Option<OffsetDateTime>,
    in_all: u32,
    of_hosts: HashMap<Box<str>, u32>,
    of_peers: HashMap<IpAddr, u32>,
}

impl Fetcher {
    pub(crate) fn new(client: Option<Arc<dyn HttpClient>>, policy: FetchPolicy, api: Arc<ApiContext>) -> Self {
        Self { client, policy, api, used: Mutex::default() }
    }

    pub(crate) const fn has_client(&self) -> bool {
        self.client.is_some()
    }

    /// Checks the form of a URL, with the ports and hosts that the policy allows.
    pub(crate) fn check_url(&self, url: &str) -> Result<(), UrlError> {
        check_url(url, &self.policy).map(drop)
    }

    /// Returns the time of the clock of the server.
    pub(crate) fn now(&self) -> OffsetDateTime {
        self.api.now()
    }

    /// Fetches a document and reads it. The observer gets an event if that fails.
    pub(crate) async fn fetch<T>(
        &self,
        fetch: &Fetch,
        read: impl FnOnce(&GetResponse) -> Result<T, FetchError>,
    ) -> Result<T, Arc<FetchError>> {
        let read_response = |response: GetResponse| match response.status() {
            200 => read(&response),
            other => Err(FetchError::Status(other)),
        };
        match self.send(fetch).await.and_then(read_response) {
            Ok(document) => Ok(document),
            Err(error) => {
                let error = Arc::new(error);
                let Fetch { url, purpose, client_id, peer } = fetch;
                let told = Error::from(Arc::clone(&error));
                let kind = EventKind::FetchFailed { client_id, url, purpose: *purpose, error: &told };
                self.api.observe(*peer, self.now(), kind);
                Err(error)
            }
        }
    }

    async fn send(&self, fetch: &Fetch) -> Result<GetResponse, FetchError> {
        let client = self.client.as_ref().ok_or(FetchError::NoClient)?;
        let host = check_url(&fetch.url, &self.policy)?;
        let _running = self.begin(host, fetch.peer, self.now())?;
        let (types, max_response) = fetch.purpose.content();
        client.get(&GetRequest::new(&fetch.url, &self.policy).accept(types, max_response)).await
    }

    /// Counts a fetch, or returns the limit that it exceeds. The fetch runs until the returned value is dropped.
    fn begin(&self, host: Box<str>, peer: Option<IpAddr>, now: OffsetDateTime) -> Result<Running<'_>, FetchError> {
        let mut used = self.used();
        // If the clock was set back, the period ends, too.
        if used.since.is_none_or(|since| (now - since).abs() >= PERIOD) {
            *used = Used { at_once: used.at_once, since: Some(now), ..Used::default() };
        }
        let peer = peer.map(network_of);
        let of_host = used.of_hosts.get(&host).copied().unwrap_or_default();
        let of_peer = peer.and_then(|peer| used.of_peers.get(&peer).copied()).unwrap_or_default();
        let policy = &self.policy;
        let limits = [
            (used.at_once >= policy.max_at_once, FetchLimit::AtOnce),
            (of_peer >= policy.max_per_peer, FetchLimit::PerPeer),
            (of_host >= policy.max_per_host, FetchLimit::PerHost),
            (used.in_all >= policy.max_per_minute, FetchLimit::PerMinute),
        ];
        if let Some((_, limit)) = limits.into_iter().find(|(is_reached, _)| *is_reached) {
            return Err(FetchError::TooMany(limit));
        }
        used.at_once += 1;
        used.in_all += 1;
        used.of_hosts.insert(host, of_host + 1);
        if let Some(peer) = peer {
            used.of_peers.insert(peer, of_peer + 1);
        }
        Ok(Running(self))
    }

    /// Ignores poisoning, because no code panics while it holds the lock.
    fn used(&self) -> MutexGuard<'_, Used> {
        self.used.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Fetcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetcher").field("policy", &self.policy).finish_non_exhaustive()
    }
}

/// A running fetch.
struct Running<'a>(&'a Fetcher);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.used().at_once -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::env::SystemClock;
    use crate::event::NoObserver;

    const START: OffsetDateTime = OffsetDateTime::UNIX_EPOCH;

    fn fetcher(change: impl FnOnce(&mut FetchPolicy)) -> Fetcher {
        let mut policy = FetchPolicy::default();
        change(&mut policy);
        let (clock, observer) = (Arc::new(SystemClock), Arc::new(NoObserver));
        let api = ApiContext { issuer: String::new(), resource_metadata: None, clock, observer };
        Fetcher::new(None, policy, Arc::new(api))
    }

    /// Runs a fetch to its end.
    fn run(fetcher: &Fetcher, host: &str, peer: Option<&str>, at: OffsetDateTime) -> Result<(), FetchLimit> {
        let peer = peer.map(|peer| peer.parse().unwrap());
        match fetcher.begin(host.into(), peer, at) {
            Ok(_) => Ok(()),
            Err(FetchError::TooMany(limit)) => Err(limit),
            Err(error) => panic!("{error}"),
        }
    }

    #[test]
    fn fetches_of_a_minute_are_limited_by_host_peer_and_in_all() {
        let fetcher = fetcher(|policy| (policy.max_per_host, policy.max_per_peer, policy.max_per_minute) = (2, 3, 5));
        let (first, same, other) = (Some("2001:db8::1"), Some("2001:db8::2"), Some("192.0.2.1"));
        let mapped = Some("::ffff:192.0.2.1");
        let end = START + PERIOD - Duration::MICROSECOND;
        for round in [START, START + PERIOD, START - PERIOD] {
            let run = |host: &str, peer| run(&fetcher, host, peer, round);
            assert_eq!((run("a", first), run("a", same), run("a", None)), (Ok(()), Ok(()), Err(FetchLimit::PerHost)));
            assert_eq!((run("b", same), run("c", first)), (Ok(()), Err(FetchLimit::PerPeer)));
            assert_eq!((run("c", other), run("c", mapped)), (Ok(()), Ok(())));
            assert_eq!(run("d", None), Err(FetchLimit::PerMinute));
        }
        assert_eq!(run(&fetcher, "d", None, end - PERIOD), Err(FetchLimit::PerMinute));
    }

    // Requests that end early can cause a fetch each. One sender of them must leave fetches of the host for others.
    #[test]
    fn one_peer_does_not_use_up_the_limit_of_a_host() {
        let fetcher = fetcher(|_| ());
        let refused = (0..100).map(|_| run(&fetcher, "a", Some("192.0.2.1"), START)).find_map(Result::err);
        assert_eq!(refused, Some(FetchLimit::PerPeer));
        assert_eq!(run(&fetcher, "a", Some("198.51.100.1"), START), Ok(()));
    }

    // A flood of names and peers must not use memory beyond the limit of a minute.
    #[test]
    fn refused_fetches_use_no_memory() {
        let fetcher = fetcher(|policy| policy.max_per_minute = 10);
        for number in 0..1_000_u32 {
            let (host, peer) = (number.to_string(), std::net::Ipv4Addr::from_bits(number).to_string());
            assert_eq!(run(&fetcher, &host, Some(&peer), START).is_ok(), number < 10);
        }
        let used = fetcher.used();
        assert_eq!((used.of_hosts.len(), used.of_peers.len(), used.at_once), (10, 10, 0));
    }

    #[test]
    fn running_fetches_are_limited_until_they_end() {
        let fetcher = fetcher(|policy| policy.max_at_once = 2);
        let running = [(); 2].map(|()| fetcher.begin("a".into(), None, START).unwrap());
        // A new minute does not forget them.
        for at in [START, START + PERIOD] {
            assert_eq!(run(&fetcher, "b", None, at), Err(FetchLimit::AtOnce));
        }
        drop(running);
        assert_eq!(run(&fetcher, "b", None, START + PERIOD), Ok(()));
    }
}
