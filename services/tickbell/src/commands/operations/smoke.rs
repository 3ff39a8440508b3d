//! `tickbell smoke`: tests a running API from outside within seconds, so that a deployment can be promoted or rolled back.
//!
//! It reads, and sends requests that must be rejected. It changes nothing unless `--subscribe` names a mail address; the
//! alert that it then creates is deleted again.

use std::{fmt::Display, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::Args;
use events::{Price, Timestamp};
use platform::{clock, http::client};
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    exit::{Exit, Unavailable},
    print::{eprint, print},
};

/// The time-out of one request, which is longer than the gateway's own.
const TIMEOUT: Duration = Duration::from_secs(15);
/// The wait between two attempts.
const RETRY_INTERVAL: Duration = Duration::from_millis(250);
/// A rise in percent that no price reaches while the alert exists.
const UNREACHABLE_PERCENT: &str = "1000";

/// The arguments of the command.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Base URL of the API, like http://localhost:8080
    #[arg(value_name = "URL")]
    url: Url,
    /// Longest time until the API is ready and has a price
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// Greatest age of the newest price; 0 allows any age
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    fresh: u64,
    /// Also create, read and delete an alert for this mail address, which gets a mail if addresses must be confirmed
    #[arg(long, value_name = "ADDRESS")]
    subscribe: Option<String>,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let client = client::builder(&arguments.url).timeout(TIMEOUT).build().context("create an HTTP client")?;
    let deadline = Instant::now() + Duration::from_secs(arguments.wait);
    let mut test = SmokeTest { client, base: arguments.url.clone(), failed: 0 };
    if let Err(error) = test.retry_until(deadline, async |test| test.ready().await).await {
        eprint(&format!("FAILED ready: {error:#}"));
        return Err(Unavailable(format!("{} is not ready: {error:#}", arguments.url)).into());
    }
    print("ok     ready");
    let symbol = test.retry_until(deadline, async |test| test.prices(arguments.fresh).await).await;
    let symbol = test.report("prices", symbol);
    test.documents().await;
    if let Some(symbol) = &symbol {
        let history = test.history(symbol).await;
        test.report("history", history);
        let candles = test.candles(symbol).await;
        test.report("candles", candles);
    }
    test.rejections().await;
    if let Some(address) = &arguments.subscribe {
        let subscribed = test.subscribe(address, symbol.as_deref().unwrap_or("BTC-USD")).await;
        test.report("subscription", subscribed);
    }
    if test.failed == 0 {
        return Ok(Exit::Done);
    }
    eprint(&format!("{} steps failed at {}", test.failed, arguments.url));
    Ok(Exit::Failed)
}

/// A response of the API.
struct Response {
    status: StatusCode,
    content_type: String,
    body: Value,
}

/// A run against one API, which counts the steps that failed.
struct SmokeTest {
    client: Client,
    base: Url,
    failed: u32,
}

impl SmokeTest {
    /// Prints the outcome of a step and counts a failure.
    fn report<T>(&mut self, step: &str, outcome: anyhow::Result<T>) -> Option<T> {
        match outcome {
            Ok(found) => {
                print(&format!("ok     {step}"));
                Some(found)
            }
            Err(error) => {
                self.failed += 1;
                eprint(&format!("FAILED {step}: {error:#}"));
                None
            }
        }
    }

    /// Repeats a step until it succeeds or the deadline passes.
    async fn retry_until<T>(
        &self,
        deadline: Instant,
        step: impl AsyncFn(&Self) -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        loop {
            match step(self).await {
                Err(_) if Instant::now() + RETRY_INTERVAL < deadline => tokio::time::sleep(RETRY_INTERVAL).await,
                outcome => return outcome,
            }
        }
    }

    /// Builds a request to a path of the API.
    fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let url = self.base.join(path).with_context(|| format!("{}{path} is not a URL", self.base))?;
        Ok(self.client.request(method, url))
    }

    async fn send(&self, request: RequestBuilder) -> anyhow::Result<Response> {
        let response =
            request.send().await.map_err(|error| Unavailable(platform::runtime::error::error_chain(&error)))?;
        let status = response.status();
        let content_type = response.headers().get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let content_type = content_type.unwrap_or_default().to_owned();
        let text = response.text().await.context("the response ended early")?;
        let body = if content_type.contains("json") {
            serde_json::from_str(&text).context("the response is not JSON")?
        } else {
            text.into()
        };
        Ok(Response { status, content_type, body })
    }

    async fn get(&self, path: &str, expected: StatusCode) -> anyhow::Result<Response> {
        expect(path, self.send(self.request(Method::GET, path)?).await?, expected)
    }

    /// Checks the health pages. A public route may hide them, so 404 is accepted.
    async fn ready(&self) -> anyhow::Result<()> {
        for path in ["/healthz", "/readyz"] {
            let response = self.send(self.request(Method::GET, path)?).await?;
            if response.status != StatusCode::NOT_FOUND {
                expect(path, response, StatusCode::OK)?;
            }
        }
        Ok(())
    }

    /// Checks the list of prices, and returns a symbol that has one.
    async fn prices(&self, fresh: u64) -> anyhow::Result<String> {
        let response = self.get("/v1/prices", StatusCode::OK).await?;
        let items = items(&response)?;
        let newest = items.iter().map(|item| time(&item["at"])).collect::<anyhow::Result<Vec<_>>>()?.into_iter().max();
        let newest = newest.context("no symbol has a price yet")?;
        let age = (clock::now().micros() - newest.micros()) / 1_000_000;
        ensure!(fresh == 0 || age <= fresh as i64, "the newest price is {age} s old, which is more than {fresh} s");
        for item in items {
            price(&item["price"])?;
        }
        let symbol = items.first().and_then(|item| item["symbol"].as_str()).context("a price without a symbol")?;
        let one = self.get(&format!("/v1/prices/{symbol}"), StatusCode::OK).await?;
        price(&one.body["price"])?;
        Ok(symbol.to_owned())
    }

    async fn documents(&mut self) {
        let openapi = async {
            let response = self.get("/openapi.json", StatusCode::OK).await?;
            ensure!(response.body["paths"]["/v1/alerts"].is_object(), "the OpenAPI document has no path /v1/alerts");
            anyhow::Ok(())
        };
        let openapi = openapi.await;
        self.report("openapi", openapi);
        let docs = self.get("/docs/", StatusCode::OK).await;
        self.report("docs", docs);
    }

    async fn history(&self, symbol: &str) -> anyhow::Result<()> {
        let response = self.get(&format!("/v1/prices/{symbol}/history?limit=3"), StatusCode::OK).await?;
        let times = items(&response)?.iter().map(|item| time(&item["at"])).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!times.is_empty(), "{symbol} has a price but no history");
        ensure!(
            times.is_sorted_by(|newer, older| newer >= older),
            "{symbol}: the history is not sorted from newest to oldest"
        );
        Ok(())
    }

    async fn candles(&self, symbol: &str) -> anyhow::Result<()> {
        let response = self.get(&format!("/v1/prices/{symbol}/candles?interval=1m&limit=3"), StatusCode::OK).await?;
        let candles = items(&response)?;
        ensure!(!candles.is_empty(), "{symbol} has a price but no candle");
        for candle in candles {
            let [low, high] = [price(&candle["low"])?, price(&candle["high"])?];
            ensure!(low <= high, "{symbol}: a candle has low {low} above high {high}");
        }
        Ok(())
    }

    /// Checks that wrong requests are rejected with a problem document (RFC 9457).
    async fn rejections(&mut self) {
        let unknown = async {
            let response = self.get("/v1/prices/NO-SUCH", StatusCode::NOT_FOUND).await?;
            ensure!(
                response.content_type == "application/problem+json",
                "the error has content type {}",
                response.content_type
            );
            anyhow::Ok(())
        };
        let unknown = unknown.await;
        self.report("rejects an unknown symbol", unknown);
        let empty = async {
            let response = self.send(self.request(Method::POST, "/v1/alerts")?.json(&json!({}))).await?;
            let response = expect("POST /v1/alerts", response, StatusCode::UNPROCESSABLE_ENTITY)?;
            ensure!(response.body["errors"].is_array(), "the error has no list of errors");
            anyhow::Ok(())
        };
        let empty = empty.await;
        self.report("rejects an empty alert", empty);
    }

    async fn subscribe(&self, address: &str, symbol: &str) -> anyhow::Result<()> {
        let rule = json!({ "symbol": symbol, "percent": UNREACHABLE_PERCENT, "direction": "up", "email": address });
        let created = self.send(self.request(Method::POST, "/v1/alerts")?.json(&rule)).await?;
        let created = expect("POST /v1/alerts", created, StatusCode::CREATED)?;
        let (Some(id), Some(token)) = (created.body["id"].as_str(), created.body["manage_token"].as_str()) else {
            bail!("the new alert has no id or no manage_token");
        };
        let path = format!("/v1/alerts/{id}");
        let read = async {
            self.get(&path, StatusCode::UNAUTHORIZED).await?;
            let foreign = self.request(Method::GET, &path)?.bearer_auth("somebody-elses-token-0000000000000000000000");
            expect(&path, self.send(foreign).await?, StatusCode::NOT_FOUND)?;
            expect(&path, self.send(self.request(Method::GET, &path)?.bearer_auth(token)).await?, StatusCode::OK)?;
            anyhow::Ok(())
        };
        let read = read.await;
        // The alert is deleted even if reading it failed.
        let deleted = self.send(self.request(Method::DELETE, &path)?.bearer_auth(token)).await?;
        expect(format!("DELETE {path}"), deleted, StatusCode::NO_CONTENT)?;
        read
    }
}

fn expect(what: impl Display, response: Response, expected: StatusCode) -> anyhow::Result<Response> {
    ensure!(
        response.status == expected,
        "{what} answered {} instead of {expected}: {}",
        response.status,
        response.body
    );
    Ok(response)
}

fn items(response: &Response) -> anyhow::Result<&Vec<Value>> {
    response.body["items"].as_array().context("the list has no field items")
}

fn time(value: &Value) -> anyhow::Result<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{value} is not a time"))
}

/// Parses a price, which is a decimal number in a JSON string.
fn price(value: &Value) -> anyhow::Result<Price> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{value} is not a decimal price"))
}
