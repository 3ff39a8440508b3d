//! Where a request comes from, through the proxies that stand before us.

use std::{
    convert::Infallible,
    net::{IpAddr, Ipv4Addr, SocketAddr},
};

use axum::{
    extract::{ConnectInfo, FromRequestParts},
    http::{HeaderMap, HeaderName, request::Parts},
};
use store::identity::login_throttle::Network;

use crate::App;

/// Each proxy adds whom it was asked by, at the right.
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");

/// The network that the client is in.
pub(crate) struct Client(pub(crate) Network);

impl FromRequestParts<App> for Client {
    type Rejection = Infallible;
    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Infallible> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED), |ConnectInfo(peer)| peer.ip());
        Ok(Self(Network::of(client(&parts.headers, peer, app.trusted_proxies))))
    }
}

/// What the first of our proxies has added. All to the left of it is the client's own word, and so is the whole header
/// where there are fewer: then the peer is as near as we know.
fn client(headers: &HeaderMap, peer: IpAddr, trusted_proxies: usize) -> IpAddr {
    let lines = headers.get_all(FORWARDED_FOR).iter().filter_map(|line| line.to_str().ok());
    let words: Vec<&str> = lines.flat_map(|line| line.split(',')).map(str::trim).collect();
    let place = words.len().checked_sub(trusted_proxies).filter(|place| *place < words.len());
    place.and_then(|place| address(words[place])).unwrap_or(peer)
}

/// Some write the port behind it.
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
    fn without_proxies_the_header_is_anybodys_word() {
        assert_eq!(found(&["192.0.2.1"], 0), "10.0.0.9");
    }

    #[test]
    fn the_client_is_who_asked_the_first_of_our_proxies() {
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
    fn what_did_not_come_through_all_of_them_comes_from_the_peer() {
        for (lines, proxies) in [(&[][..], 1), (&["203.0.113.5"], 2), (&["unknown"], 1), (&[""], 1)] {
            assert_eq!(found(lines, proxies), "10.0.0.9", "{lines:?} {proxies}");
        }
    }
}
