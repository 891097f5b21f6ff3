//! The party at the other end of a connection, as limits count it.

use std::net::{IpAddr, Ipv6Addr};

/// Returns the network that counts as one peer: an IPv4 address, or an IPv6 network of the size that one customer gets (RFC 6177).
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() & (u128::MAX << 64)).into(),
        peer @ IpAddr::V4(_) => peer,
    }
}
