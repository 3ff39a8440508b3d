//! HTTP clients. A proxy of the environment (`HTTP_PROXY`, `ALL_PROXY`) is for the world outside: it can reach neither this
//! machine nor this cluster, and a container gets it from Docker whether it is meant or not.

use std::net::{IpAddr, Ipv6Addr};

use reqwest::{ClientBuilder, Url};

/// The ends of names that only the resolver of a cluster or of a local network knows.
const INTERNAL_SUFFIXES: [&str; 5] = ["localhost", "svc", "cluster.local", "local", "internal"];

/// Returns the builder of a client for `url`: without a proxy when the host is on this machine or in this cluster.
pub fn builder(url: &Url) -> ClientBuilder {
    let builder = reqwest::Client::builder();
    if is_internal(url) { builder.no_proxy() } else { builder }
}

/// Returns whether no proxy of the environment may stand before the host: it is an address of this machine or of a private
/// network, or a name without a public domain, like those of the services of compose and Kubernetes.
pub fn is_internal(url: &Url) -> bool {
    let Some(host) = url.host_str() else { return false };
    let host = host.trim_matches(['[', ']']).trim_end_matches('.');
    match host.parse::<IpAddr>() {
        Ok(ip) => is_internal_address(ip.to_canonical()),
        Err(_) => {
            !host.contains('.')
                || INTERNAL_SUFFIXES
                    .iter()
                    .any(|suffix| host.strip_suffix(suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
        }
    }
}

fn is_internal_address(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_loopback() || ip.is_private() || ip.is_link_local() || ip.is_unspecified(),
        IpAddr::V6(ip) => {
            ip == Ipv6Addr::LOCALHOST || ip.is_unspecified() || ip.is_unique_local() || ip.is_unicast_link_local()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_stands_only_before_the_world_outside() {
        for internal in [
            "http://localhost:8080",
            "http://LOCALHOST.",
            "http://api.localhost",
            "http://127.0.0.1:8081/readyz",
            "http://127.1",
            "http://0x7f.1",
            "http://0.0.0.0:1",
            "http://[::1]:8081",
            "http://[::ffff:127.0.0.1]",
            "http://10.1.2.3",
            "http://172.16.0.1",
            "http://192.168.0.1",
            "http://169.254.1.1",
            "http://[fd00::1]",
            "http://[fe80::1]",
            "http://coinnews:8090",
            "http://gateway.tickbell.svc",
            "http://otel-collector.monitoring.svc.cluster.local:4318/v1/traces",
            "http://nas.local",
        ] {
            assert!(is_internal(&internal.parse().expect("a URL")), "{internal}");
        }
        for external in [
            "https://api.example.com",
            "http://8.8.8.8",
            "http://172.32.0.1",
            "http://[2001:db8::1]",
            "http://notlocalhost.example",
            "http://localhost.example.com",
            "http://mysvc.example",
        ] {
            assert!(!is_internal(&external.parse().expect("a URL")), "{external}");
        }
    }
}
