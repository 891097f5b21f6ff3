//! [`RequestContext`]: the parts of a request other than its parameters.

use std::net::{IpAddr, Ipv6Addr};

use super::Request;

/// The parts of an HTTP request other than its parameters, for code that reads for example a proof in a header or in
/// the certificate of the connection.
///
/// [`Request::context`] returns it. A request that an in-process caller builds has an empty context, unless the caller
/// passes the context of the HTTP request that it received.
///
/// `Debug` shows the same as `Debug` of [`Request`].
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestContext<'a> {
    request: Option<&'a Request>,
    peer: Option<IpAddr>,
}

impl Request {
    /// Returns the parts of the request other than its parameters.
    #[must_use]
    pub const fn context(&self) -> RequestContext<'_> {
        RequestContext { request: Some(self), peer: self.peer() }
    }
}

impl<'a> RequestContext<'a> {
    /// Returns an empty context.
    pub(crate) const fn new() -> Self {
        Self { request: None, peer: None }
    }

    /// Returns the context with another peer.
    #[must_use]
    pub(crate) const fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Returns the method, with unchanged case. Empty if there is no HTTP request.
    #[must_use]
    pub fn method(self) -> &'a str {
        self.request.map_or("", Request::method)
    }

    /// Returns the target: path and query. Empty if there is no HTTP request.
    #[must_use]
    pub fn target(self) -> &'a str {
        self.request.map_or("", Request::target)
    }

    /// Returns the values of a header in their order. The case of the name is ignored.
    pub fn header_values(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.request.into_iter().flat_map(move |request| request.header_values(name))
    }

    /// Returns the address of the peer, if the host app set it.
    #[must_use]
    pub const fn peer(self) -> Option<IpAddr> {
        self.peer
    }

    /// Returns the certificate of the client in DER: see [`Request::with_client_certificate`].
    #[must_use]
    pub fn client_certificate(self) -> Option<&'a [u8]> {
        self.request.and_then(Request::client_certificate)
    }
}

/// Returns the address that stands for all addresses of a customer, to count requests.
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    // A dual-stack socket shows IPv4 peers as IPv6 addresses of a single /64 network.
    match peer.to_canonical() {
        // A /64 network belongs to one customer (RFC 6177).
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() & (u128::MAX << 64)).into(),
        peer @ IpAddr::V4(_) => peer,
    }
}
