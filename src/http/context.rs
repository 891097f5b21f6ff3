//! What is known of a request besides its parameters.

use std::net::IpAddr;

use super::Request;

/// The parts of an HTTP request besides its parameters, for code that reads more than those: a proof in a header, or in the certificate
/// of the connection.
///
/// [`Request::context`] makes it. A request that an in-process caller puts together has an empty one, unless the caller gives it that of
/// the HTTP request which it received.
///
/// `Debug` shows what that of [`Request`] shows.
#[derive(Debug, Clone, Copy, Default)]
pub struct RequestContext<'a> {
    request: Option<&'a Request>,
    peer: Option<IpAddr>,
}

impl Request {
    /// Returns what is known of it besides its parameters.
    #[must_use]
    pub const fn context(&self) -> RequestContext<'_> {
        RequestContext { request: Some(self), peer: self.peer() }
    }
}

impl<'a> RequestContext<'a> {
    /// An empty one.
    pub(crate) const fn new() -> Self {
        Self { request: None, peer: None }
    }

    /// The same with the address of another peer.
    #[must_use]
    pub(crate) const fn with_peer(mut self, peer: IpAddr) -> Self {
        self.peer = Some(peer);
        self
    }

    /// Returns the method, in the case it was given in; empty if there was no HTTP request.
    #[must_use]
    pub fn method(self) -> &'a str {
        self.request.map_or("", Request::method)
    }

    /// Returns the target, path and query; empty if there was no HTTP request.
    #[must_use]
    pub fn target(self) -> &'a str {
        self.request.map_or("", Request::target)
    }

    /// Returns the values of a header, in order; the case of its name does not matter.
    pub fn header_values(self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.request.into_iter().flat_map(move |request| request.header_values(name))
    }

    /// Returns the address of the peer, if the host vouched for one.
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
