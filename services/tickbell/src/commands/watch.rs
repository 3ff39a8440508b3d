//! `tickbell watch`: shows prices, and with an API key firings, as they happen.

use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use events::Symbol;
use platform::{http::client, runtime::error::error_chain, settings::SettingsError};
use reqwest::{Response, StatusCode, Url};
use serde_json::Value;
use tokio::time::sleep;

use crate::{
    commands::connect::settings,
    exit::{Exit, Unavailable},
    options::{GlobalOptions, OutputOptions},
    print::{eprint, is_closed, print},
};

/// The wait before the next connection, until the server names another one.
const RETRY: Duration = Duration::from_secs(1);
/// The time after which a connection on which nothing comes is given up: the server sends a sign of life every 15 seconds.
const SILENCE: Duration = Duration::from_secs(40);
/// The longest line of an event, in bytes.
const MAX_LINE: usize = 1024 * 1024;

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Symbols, like BTC-USD [default: all]
    symbols: Vec<Symbol>,
    /// Show every price, and not only the latest four times a second
    #[arg(long)]
    every: bool,
    /// End after this many prices and firings
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
    /// Base URL of the API [default: that of a running `tickbell up`, or the setting client.url]
    #[arg(long)]
    url: Option<Url>,
    #[command(flatten)]
    output: OutputOptions,
}

pub(crate) async fn run(options: &GlobalOptions, arguments: &Arguments) -> anyhow::Result<Exit> {
    let settings = settings(options)?.client;
    let base = match &arguments.url {
        Some(url) => url.clone(),
        None => settings.url.parse().map_err(|error| {
            SettingsError(format!("client.url = {:?}: {error}; use a URL like http://127.0.0.1:8080", settings.url))
        })?,
    };
    let url = stream_url(&base, arguments, !settings.api_key.is_empty())?;
    let http = client::builder(&url).read_timeout(SILENCE).build().context("create an HTTP client")?;
    let mut watch = Watch { arguments, last_id: String::new(), retry: RETRY, left: arguments.count };
    let mut was_connected = false;
    loop {
        let mut request = http.get(url.clone()).header("Last-Event-ID", &watch.last_id);
        if !settings.api_key.is_empty() {
            request = request.bearer_auth(&settings.api_key);
        }
        match request.send().await {
            Ok(response) if response.status().is_success() => {
                was_connected = true;
                if let Some(exit) = watch.read(response).await {
                    return Ok(exit);
                }
                eprint("The connection ended; connecting again where it was.");
            }
            Ok(response) if response.status() == StatusCode::SERVICE_UNAVAILABLE && was_connected => {}
            Ok(response) => bail!(refusal(response).await),
            Err(error) if !was_connected => return Err(Unavailable(error_chain(&error)).into()),
            Err(_) => {}
        }
        sleep(watch.retry).await;
    }
}

fn stream_url(base: &Url, arguments: &Arguments, has_key: bool) -> anyhow::Result<Url> {
    let mut url = base.join("/v1/stream").with_context(|| format!("{base}v1/stream is not a URL"))?;
    let mut query = url.query_pairs_mut();
    query.append_pair("channels", if has_key { "prices,firings" } else { "prices" });
    if !arguments.symbols.is_empty() {
        let symbols: Vec<&str> = arguments.symbols.iter().map(Symbol::as_str).collect();
        query.append_pair("symbols", &symbols.join(","));
    }
    if arguments.every {
        query.append_pair("conflate", "none");
    }
    drop(query);
    Ok(url)
}

async fn refusal(response: Response) -> String {
    let status = response.status();
    let body: Option<Value> = response.json().await.ok();
    let detail = body.as_ref().and_then(|body| body["detail"].as_str());
    format!("{status}: {}", detail.unwrap_or("the response gives no reason"))
}

struct Watch<'a> {
    arguments: &'a Arguments,
    last_id: String,
    retry: Duration,
    /// The number of prices and firings that are still to be shown; none is without an end.
    left: Option<u64>,
}

impl Watch<'_> {
    /// Shows events until the connection ends; then none is returned, and the next connection goes on.
    async fn read(&mut self, mut response: Response) -> Option<Exit> {
        let (mut bytes, mut event) = (Vec::new(), Event::default());
        while let Ok(Some(chunk)) = response.chunk().await {
            bytes.extend_from_slice(&chunk);
            while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = bytes.drain(..=end).collect();
                let line = String::from_utf8_lossy(&line);
                match line.trim_end().split_once(": ") {
                    Some(("event", name)) => name.clone_into(&mut event.name),
                    Some(("id", id)) => event.id = Some(id.to_owned()),
                    Some(("data", data)) => data.clone_into(&mut event.data),
                    Some(("retry", time)) => self.retry = time.parse().map_or(RETRY, Duration::from_millis),
                    _ if line.trim_end().is_empty() => {
                        let event = std::mem::take(&mut event);
                        if let Some(exit) = self.show(event) {
                            return Some(exit);
                        }
                    }
                    _ => {}
                }
            }
            if bytes.len() > MAX_LINE {
                break;
            }
        }
        None
    }

    fn show(&mut self, event: Event) -> Option<Exit> {
        if let Some(id) = event.id {
            self.last_id = id;
        }
        let data: Value = serde_json::from_str(&event.data).unwrap_or_default();
        match event.name.as_str() {
            "prices" | "firings" => {
                if self.arguments.output.json {
                    print(&serde_json::json!({"channel": event.name, "data": data}).to_string());
                } else {
                    print(&line(&event.name, &data));
                }
                self.left = self.left.map(|left| left.saturating_sub(1));
            }
            "reset" => eprint("Prices were missed: the server does not have them any more."),
            "end" if data["reconnect"] == false => {
                eprint("The API key is not valid any more.");
                return Some(Exit::Failed);
            }
            _ => {}
        }
        (self.left == Some(0) || is_closed()).then_some(Exit::Done)
    }
}

/// An event whose lines are being read.
#[derive(Default)]
struct Event {
    name: String,
    id: Option<String>,
    data: String,
}

/// Returns the line of a price or a firing.
fn line(channel: &str, data: &Value) -> String {
    let text = |name: &str| data[name].as_str().unwrap_or_default();
    if channel == "firings" {
        let change =
            data["change_percent"].as_str().map(|change| format!(", a change of {change} %")).unwrap_or_default();
        return format!(
            "{}  {}  FIRED at {}{change} (alert {})",
            text("fired_at"),
            text("symbol"),
            text("price"),
            text("rule_id")
        );
    }
    let change = data["change_24h_percent"].as_str().map(|change| format!("  {change} %")).unwrap_or_default();
    let size = data["size"].as_str().map(|size| format!("  {size}")).unwrap_or_default();
    format!("{}  {:<10}  {}{size}  {}{change}", text("at"), text("symbol"), text("price"), text("venue"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_has_what_the_event_has() {
        let price = json!({"symbol": "BTC-USD", "venue": "test", "price": "100.5", "at": "2018-04-05T00:00:00.000000Z",
            "size": "2", "change_24h_percent": "-1.5"});
        assert_eq!(line("prices", &price), "2018-04-05T00:00:00.000000Z  BTC-USD     100.5  2  test  -1.5 %");
        let firing = json!({"symbol": "SPY", "price": "7", "fired_at": "2018-04-05T00:00:00.000000Z", "rule_id": "x",
            "change_percent": null});
        assert_eq!(line("firings", &firing), "2018-04-05T00:00:00.000000Z  SPY  FIRED at 7 (alert x)");
    }
}
