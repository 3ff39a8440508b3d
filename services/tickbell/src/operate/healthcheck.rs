//! `tickbell healthcheck`.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};

use anyhow::Context;
use clap::Args;
use reqwest::Url;

use super::settings;
use crate::{
    cli::Common,
    exit::Exit,
    print::{complain, say},
};

/// Shorter than the time-out of any health check that runs this.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Who is asked.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// What to ask [default: /readyz at the port of the setting admin.listen]
    #[arg(value_name = "URL")]
    url: Option<Url>,
}

pub(crate) async fn run(common: &Common, arguments: &Arguments) -> anyhow::Result<Exit> {
    let url = match &arguments.url {
        Some(url) => url.clone(),
        None => own(settings(common)?.admin.listen)?,
    };
    let client = reqwest::Client::builder().timeout(TIMEOUT).build().context("make an HTTP client")?;
    let answer = client.get(url.clone()).send().await.with_context(|| format!("{url} does not answer"))?;
    let status = answer.status();
    let body = answer.text().await.unwrap_or_default();
    if status.is_success() {
        say(&body);
        return Ok(Exit::Done);
    }
    complain(&format!("{url} answered {status}: {body}"));
    Ok(Exit::Failed)
}

/// The readiness page of a service that listens there on this machine.
fn own(listen: SocketAddr) -> anyhow::Result<Url> {
    anyhow::ensure!(listen.port() != 0, "admin.listen = {listen} takes any free port: set one, or name the URL");
    let host = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(host, listen.port());
    format!("http://{address}/readyz").parse().with_context(|| format!("ask {address}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_is_asked_where_it_listens() {
        let url = |listen: &str| own(listen.parse().expect("an address")).map(String::from);
        assert_eq!(url("0.0.0.0:8081").expect("a URL"), "http://127.0.0.1:8081/readyz");
        assert_eq!(url("[::]:8081").expect("a URL"), "http://[::1]:8081/readyz");
        assert_eq!(url("10.0.0.7:8081").expect("a URL"), "http://10.0.0.7:8081/readyz");
        assert!(url("127.0.0.1:0").expect_err("any port").to_string().contains("name the URL"));
    }
}
