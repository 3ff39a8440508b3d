//! `tickbell healthcheck`: asks a service of this machine whether it is ready.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use reqwest::Url;

use crate::{
    commands::connect::settings,
    exit::Exit,
    options::GlobalOptions,
    print::{eprint, print},
};

/// The time-out of the request, which must be shorter than that of the health check that runs this command.
const TIMEOUT: Duration = Duration::from_secs(3);

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Readiness page [default: /readyz on the port of the setting admin.listen]
    #[arg(value_name = "URL")]
    url: Option<Url>,
}

pub(crate) async fn run(options: &GlobalOptions, arguments: &Arguments) -> anyhow::Result<Exit> {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => local_readyz(settings(options)?.admin.listen)?,
    };
    // A health check asks a service beside it, by whatever name.
    let client = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().context("create an HTTP client")?;
    let response = client.get(url.clone()).send().await.with_context(|| format!("no answer from {url}"))?;
    let status = response.status();
    let body = response.text().await.unwrap_or_default();
    if status.is_success() {
        print(&body);
        return Ok(Exit::Done);
    }
    eprint(&format!("{url} answered {status}: {body}"));
    Ok(Exit::Failed)
}

/// Returns the readiness page of a service of this machine that listens on the address.
fn local_readyz(listen: SocketAddr) -> anyhow::Result<Url> {
    anyhow::ensure!(
        listen.port() != 0,
        "admin.listen = {listen} means any free port: set a port, or give the URL of the page"
    );
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(host, listen.port());
    format!("http://{address}/readyz").parse().with_context(|| format!("build the URL of {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_where_it_listens() {
        let url = |listen: &str| local_readyz(listen.parse().expect("an address")).map(String::from);
        assert_eq!(url("0.0.0.0:8081").expect("a URL"), "http://127.0.0.1:8081/readyz");
        assert_eq!(url("[::]:8081").expect("a URL"), "http://[::1]:8081/readyz");
        assert_eq!(url("10.0.0.7:8081").expect("a URL"), "http://10.0.0.7:8081/readyz");
        assert!(url("127.0.0.1:0").expect_err("any port").to_string().contains("admin.listen"));
    }
}
