//! The address of a client for limits and events. Behind a trusted proxy, the proxy names it.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use axum::extract::{ConnectInfo, Request, State};
use axum::http::HeaderMap;
use axum::middleware::Next;
use axum::response::Response;
use ipnet::IpNet;

use crate::app::App;

/// Returns the network that counts as one peer: an IPv4 address, or the /64 network of an IPv6 address. One customer
/// usually gets a network at least as large (RFC 6177).
pub(crate) fn network_of(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(peer) => Ipv6Addr::from_bits(peer.to_bits() & (u128::MAX << 64)).into(),
        peer @ IpAddr::V4(_) => peer,
    }
}

/// A proxy, or a network of proxies, whose headers about the address of a client are trusted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TrustedProxy(IpNet);

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        network.map(Self).map_err(|_| "this is neither an address nor a network, such as 10.0.0.0/8".to_owned())
    }
}

/// Returns whether this is the address of a trusted proxy.
pub(crate) fn is_proxy(peer: IpAddr, trusted: &[TrustedProxy]) -> bool {
    trusted.iter().any(|proxy| proxy.0.contains(&peer.to_canonical()))
}

/// Replaces the address of the connection by that of the client. The limits here and the adapter of the library read it
/// there.
pub(crate) async fn behind_proxies(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if let Some(&ConnectInfo(connected)) = request.extensions().get::<ConnectInfo<SocketAddr>>() {
        let peer = peer_of(connected.ip(), request.headers(), &app.trusted_proxies);
        if peer != connected.ip() {
            request.extensions_mut().insert(ConnectInfo(SocketAddr::new(peer, 0)));
        }
    }
    next.run(request).await
}

/// Returns the right-most address that belongs to no trusted proxy. The client itself may have sent the addresses left
/// of it.
///
/// A proxy sets `X-Forwarded-For` or `Forwarded` (RFC 7239), and may pass on the other header from the client. If both
/// headers are present and differ, the proxy counts as the peer. If an address is unreadable, the proxy that added it
/// counts as the peer.
fn peer_of(connected: IpAddr, headers: &HeaderMap, trusted: &[TrustedProxy]) -> IpAddr {
    let is_trusted = |peer: IpAddr| is_proxy(peer, trusted);
    if !is_trusted(connected) {
        return connected;
    }
    let farthest = |addresses: Vec<Option<IpAddr>>| {
        let mut peer = connected;
        for address in addresses.into_iter().rev() {
            let Some(address) = address else { break };
            peer = address;
            if !is_trusted(peer) {
                break;
            }
        }
        peer
    };
    let x_forwarded_for = list(headers, "x-forwarded-for").map(|own| own.into_iter().map(address).collect());
    let forwarded = list(headers, "forwarded").map(|own| own.into_iter().map(forwarded_for).collect());
    match (x_forwarded_for.map(farthest), forwarded.map(farthest)) {
        (Some(one), Some(other)) if one != other => connected,
        (Some(peer), _) | (None, Some(peer)) => peer,
        (None, None) => connected,
    }
}

/// Returns the members of a list header, which may be split over several lines. `None` if there is no such header.
fn list<'a>(headers: &'a HeaderMap, name: &str) -> Option<Vec<&'a str>> {
    let fields = headers.get_all(name);
    fields.iter().next()?;
    // A header that is not text counts as one unreadable member.
    Some(fields.iter().flat_map(|field| field.to_str().unwrap_or_default().split(',')).map(str::trim).collect())
}

/// Reads a member of `Forwarded`, such as `for="[2001:db8::1]:4711";proto=https`.
fn forwarded_for(member: &str) -> Option<IpAddr> {
    let mut pairs = member.split(';').filter_map(|pair| pair.split_once('='));
    let (_, node) = pairs.find(|(name, _)| name.trim().eq_ignore_ascii_case("for"))?;
    let node = node.trim();
    address(node.strip_prefix('"').and_then(|node| node.strip_suffix('"')).unwrap_or(node))
}

/// Reads an address, which may have a port and brackets.
fn address(node: &str) -> Option<IpAddr> {
    let bracketed = || node.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    let with_port = || node.parse::<SocketAddr>().ok().map(|address| address.ip());
    let address = node.parse().ok().or_else(bracketed).or_else(with_port)?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(connected: &str, fields: &[(&'static str, &str)]) -> String {
        let trusted = ["10.0.0.0/8", "192.0.2.1", "2001:db8:ffff::/48"].map(|proxy| proxy.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(*name, value.parse().unwrap());
        }
        peer_of(connected.parse().unwrap(), &headers, &trusted).to_string()
    }

    #[test]
    fn peer_is_the_right_most_address_that_is_not_trusted() {
        for (connected, forwarded, expected) in [
            // Headers from other addresses are ignored.
            ("198.51.100.7", "203.0.113.9", "198.51.100.7"),
            ("192.0.2.2", "203.0.113.9", "192.0.2.2"),
            ("10.1.2.3", "203.0.113.9", "203.0.113.9"),
            ("192.0.2.1", "203.0.113.9", "203.0.113.9"),
            ("::ffff:10.1.2.3", "203.0.113.9", "203.0.113.9"),
            ("2001:db8:ffff::1", "2001:db8::5", "2001:db8::5"),
            // The client sent the left part.
            ("10.1.2.3", "1.1.1.1, 203.0.113.9", "203.0.113.9"),
            ("10.1.2.3", "1.1.1.1,203.0.113.9 , 10.9.9.9", "203.0.113.9"),
            ("10.1.2.3", "10.8.8.8, 10.9.9.9", "10.8.8.8"),
            ("10.1.2.3", "203.0.113.9, unknown", "10.1.2.3"),
            ("10.1.2.3", "203.0.113.9, unknown, 10.9.9.9", "10.9.9.9"),
            ("10.1.2.3", "", "10.1.2.3"),
            ("10.1.2.3", "203.0.113.9,", "10.1.2.3"),
            // Ports and brackets.
            ("10.1.2.3", "203.0.113.9:4711", "203.0.113.9"),
            ("10.1.2.3", "[2001:db8::5]:4711", "2001:db8::5"),
            ("10.1.2.3", "[2001:db8::5]", "2001:db8::5"),
            ("10.1.2.3", "::ffff:203.0.113.9", "203.0.113.9"),
        ] {
            assert_eq!(peer(connected, &[("x-forwarded-for", forwarded)]), expected, "{connected} {forwarded}");
        }
        assert_eq!(peer("10.1.2.3", &[]), "10.1.2.3");
        let lines =
            [("x-forwarded-for", "1.1.1.1"), ("x-forwarded-for", "203.0.113.9"), ("x-forwarded-for", "10.9.9.9")];
        assert_eq!(peer("10.1.2.3", &lines), "203.0.113.9");
    }

    #[test]
    fn peer_is_read_from_forwarded_too() {
        for (forwarded, expected) in [
            ("for=203.0.113.9", "203.0.113.9"),
            ("For=\"[2001:db8::5]:4711\";proto=https", "2001:db8::5"),
            ("proto=https ; for=203.0.113.9;by=10.1.1.1", "203.0.113.9"),
            ("for=1.1.1.1, for=203.0.113.9;by=10.1.1.1, for=10.9.9.9", "203.0.113.9"),
            ("for=203.0.113.9, for=_hidden", "10.1.2.3"),
            ("for=203.0.113.9, proto=https", "10.1.2.3"),
            ("for=203.0.113.9, for=\"10.9.9.9", "10.1.2.3"),
        ] {
            assert_eq!(peer("10.1.2.3", &[("forwarded", forwarded)]), expected, "{forwarded}");
        }
        // A proxy passes on the header that it does not set, so a client can't choose between the two.
        let both = |one, other| peer("10.1.2.3", &[("x-forwarded-for", one), ("forwarded", other)]);
        assert_eq!(both("203.0.113.9", "for=203.0.113.9"), "203.0.113.9");
        assert_eq!(both("203.0.113.9", "for=1.1.1.1"), "10.1.2.3");
        assert_eq!(both("1.1.1.1", "for=203.0.113.9"), "10.1.2.3");
    }

    #[test]
    fn trusted_proxy_is_an_address_or_a_network() {
        for text in ["10.0.0.1", "10.0.0.0/8", "::1", "2001:db8::/32"] {
            assert!(text.parse::<TrustedProxy>().is_ok(), "{text}");
        }
        for text in ["", "10.0.0.0/33", "10.0.0", "proxy.example", "10.0.0.0/", "*"] {
            assert!(text.parse::<TrustedProxy>().is_err(), "{text}");
        }
    }
}
