//! The address of a client, behind the proxies in front of the gateway.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderName, request::Parts},
};
use store::identity::login_throttle::Network;

use crate::state::AppState;

/// The header to which each proxy appends the address of its client.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The network of the client.
pub(crate) struct ClientNetwork(pub(crate) Network);

impl FromRequestParts<AppState> for ClientNetwork {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, state: &AppState) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip());
        Ok(Self(Network::of(client(&parts.headers, peer, state.trusted_proxies))))
    }
}

/// Returns the address that the first trusted proxy has appended. Everything to the left of it, and a header with fewer
/// addresses than proxies, comes from the client and is not trusted; then the peer is the client.
fn client(headers: &HeaderMap, peer: IpAddr, trusted_proxies: usize) -> IpAddr {
    let lines = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let words: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let position = words.len().checked_sub(trusted_proxies).filter(|position| *position < words.len());
    position.and_then(|position| address(words[position])).unwrap_or(peer)
}

/// Parses an address, with or without a port.
fn address(word: &str) -> Option<IpAddr> {
    let bare = word.strip_prefix('[').and_then(|word| word.strip_suffix(']')).unwrap_or(word);
    bare.parse().ok().or_else(|| word.parse::<SocketAddr>().ok().map(|address| address.ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(lines: &[&str], trusted_proxies: usize) -> String {
        let headers = lines.iter().map(|line| (FORWARDED_FOR, line.parse().expect("a header"))).collect();
        client(&headers, IpAddr::V4(Ipv4Addr::new(10, 0, 0, 9)), trusted_proxies).to_string()
    }

    #[test]
    fn without_proxies_the_header_is_ignored() {
        assert_eq!(found(&["192.0.2.1"], 0), "10.0.0.9");
    }

    #[test]
    fn the_client_is_the_peer_of_the_first_trusted_proxy() {
        for (lines, proxies, expected) in [
            (&["203.0.113.5"][..], 1, "203.0.113.5"),
            (&["192.0.2.1, 203.0.113.5"], 1, "203.0.113.5"),
            (&["192.0.2.1", "203.0.113.5,198.51.100.7"], 2, "203.0.113.5"),
            (&["203.0.113.5:51234"], 1, "203.0.113.5"),
            (&["[2001:db8::1]:51234"], 1, "2001:db8::1"),
            (&["[2001:db8::1]"], 1, "2001:db8::1"),
            (&["2001:db8::1"], 1, "2001:db8::1"),
        ] {
            assert_eq!(found(lines, proxies), expected, "{lines:?} {proxies}");
        }
    }

    #[test]
    fn a_request_that_did_not_pass_all_proxies_comes_from_the_peer() {
        for (lines, proxies) in [(&[][..], 1), (&["203.0.113.5"], 2), (&["unknown"], 1), (&[""], 1)] {
            assert_eq!(found(lines, proxies), "10.0.0.9", "{lines:?} {proxies}");
        }
    }
}
