//! `tickbell smoke`: what somebody outside would try first, in a few seconds, so that a deployment can go on or back.
//!
//! It reads and it is refused; it changes nothing unless an address to subscribe is given, and then it cleans up.

use std::{fmt::Display, time::Duration};

use anyhow::{Context, bail, ensure};
use clap::Args;
use events::{Price, Timestamp};
use platform::clock;
use reqwest::{Client, Method, RequestBuilder, StatusCode, Url, header};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::{
    exit::{Exit, Unavailable},
    print::{complain, say},
};

/// One request; the gateway gives up on its own sooner.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Between two questions whether it is ready yet.
const ASK_AGAIN: Duration = Duration::from_millis(250);
/// A rise that no price will make while the rule lives.
const FAR_AWAY: &str = "1000";

/// What is tried.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Where the API is, like http://localhost:8080
    #[arg(value_name = "URL")]
    url: Url,
    /// How long it may take until it is ready and has a price
    #[arg(long, value_name = "SECONDS", default_value_t = 30)]
    wait: u64,
    /// How old the newest price may be; 0 means that age does not matter
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    fresh: u64,
    /// Also make, read and delete a rule that tells this address; it gets a mail where addresses are confirmed
    #[arg(long, value_name = "ADDRESS")]
    subscribe: Option<String>,
}

pub(crate) async fn run(arguments: &Arguments) -> anyhow::Result<Exit> {
    let client = Client::builder().timeout(TIMEOUT).build().context("make an HTTP client")?;
    let deadline = Instant::now() + Duration::from_secs(arguments.wait);
    let mut trial = Trial { client, base: arguments.url.clone(), failed: 0 };
    if let Err(error) = trial.until(deadline, async |trial| trial.ready().await).await {
        complain(&format!("BAD ready: {error:#}"));
        return Err(Unavailable(format!("{} is not ready: {error:#}", arguments.url)).into());
    }
    say("ok  ready");
    let symbol = trial.until(deadline, async |trial| trial.prices(arguments.fresh).await).await;
    let symbol = trial.note("prices", symbol);
    trial.documents().await;
    if let Some(symbol) = &symbol {
        let history = trial.history(symbol).await;
        trial.note("history", history);
        let candles = trial.candles(symbol).await;
        trial.note("candles", candles);
    }
    trial.refusals().await;
    if let Some(address) = &arguments.subscribe {
        let subscribed = trial.subscribe(address, symbol.as_deref().unwrap_or("BTC-USD")).await;
        trial.note("subscription", subscribed);
    }
    if trial.failed == 0 {
        return Ok(Exit::Done);
    }
    complain(&format!("{} of the above failed at {}", trial.failed, arguments.url));
    Ok(Exit::Failed)
}

/// What was answered.
struct Answer {
    status: StatusCode,
    kind: String,
    body: Value,
}

struct Trial {
    client: Client,
    base: Url,
    failed: u32,
}

impl Trial {
    /// Says how a step went.
    fn note<T>(&mut self, step: &str, outcome: anyhow::Result<T>) -> Option<T> {
        match outcome {
            Ok(found) => {
                say(&format!("ok  {step}"));
                Some(found)
            }
            Err(error) => {
                self.failed += 1;
                complain(&format!("BAD {step}: {error:#}"));
                None
            }
        }
    }

    /// Tries a step until it succeeds or the time is over.
    async fn until<T>(&self, deadline: Instant, step: impl AsyncFn(&Self) -> anyhow::Result<T>) -> anyhow::Result<T> {
        loop {
            match step(self).await {
                Err(_) if Instant::now() + ASK_AGAIN < deadline => tokio::time::sleep(ASK_AGAIN).await,
                outcome => return outcome,
            }
        }
    }

    fn request(&self, method: Method, path: &str) -> anyhow::Result<RequestBuilder> {
        let url = self.base.join(path).with_context(|| format!("{}{path} is no URL", self.base))?;
        Ok(self.client.request(method, url))
    }

    async fn ask(&self, request: RequestBuilder) -> anyhow::Result<Answer> {
        let answer =
            request.send().await.map_err(|error| Unavailable(platform::runtime::error::error_chain(&error)))?;
        let status = answer.status();
        let kind = answer.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        let text = answer.text().await.context("the answer broke off")?;
        let body = if kind.contains("json") { serde_json::from_str(&text).context("no JSON")? } else { text.into() };
        Ok(Answer { status, kind, body })
    }

    async fn get(&self, path: &str, wanted: StatusCode) -> anyhow::Result<Answer> {
        expect(path, self.ask(self.request(Method::GET, path)?).await?, wanted)
    }

    /// Alive and ready; a route to the outside may publish neither page.
    async fn ready(&self) -> anyhow::Result<()> {
        for path in ["/healthz", "/readyz"] {
            let answer = self.ask(self.request(Method::GET, path)?).await?;
            if answer.status != StatusCode::NOT_FOUND {
                expect(path, answer, StatusCode::OK)?;
            }
        }
        Ok(())
    }

    /// A symbol that is quoted.
    async fn prices(&self, fresh: u64) -> anyhow::Result<String> {
        let answer = self.get("/v1/prices", StatusCode::OK).await?;
        let items = items(&answer)?;
        let newest = items.iter().map(|item| time(&item["at"])).collect::<anyhow::Result<Vec<_>>>()?.into_iter().max();
        let newest = newest.context("no price of anything yet")?;
        let age = (clock::now().micros() - newest.micros()) / 1_000_000;
        ensure!(fresh == 0 || age <= fresh as i64, "the newest price is {age} s old, more than {fresh} s");
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
            let answer = self.get("/openapi.json", StatusCode::OK).await?;
            ensure!(answer.body["paths"]["/v1/alerts"].is_object(), "it does not say how to subscribe");
            anyhow::Ok(())
        };
        let openapi = openapi.await;
        self.note("openapi", openapi);
        let docs = self.get("/docs/", StatusCode::OK).await;
        self.note("docs", docs);
    }

    async fn history(&self, symbol: &str) -> anyhow::Result<()> {
        let answer = self.get(&format!("/v1/prices/{symbol}/history?limit=3"), StatusCode::OK).await?;
        let times = items(&answer)?.iter().map(|item| time(&item["at"])).collect::<anyhow::Result<Vec<_>>>()?;
        ensure!(!times.is_empty(), "{symbol} has a price and no history");
        ensure!(times.is_sorted_by(|newer, older| newer >= older), "{symbol}: the newest must come first");
        Ok(())
    }

    async fn candles(&self, symbol: &str) -> anyhow::Result<()> {
        let answer = self.get(&format!("/v1/prices/{symbol}/candles?interval=1m&limit=3"), StatusCode::OK).await?;
        let candles = items(&answer)?;
        ensure!(!candles.is_empty(), "{symbol} has a price and no candle");
        for candle in candles {
            let [low, high] = [price(&candle["low"])?, price(&candle["high"])?];
            ensure!(low <= high, "{symbol}: a candle from {low} to {high}");
        }
        Ok(())
    }

    /// What is wrong must be refused in the same words everywhere.
    async fn refusals(&mut self) {
        let unknown = async {
            let answer = self.get("/v1/prices/NO-SUCH", StatusCode::NOT_FOUND).await?;
            ensure!(answer.kind == "application/problem+json", "the refusal is {}", answer.kind);
            anyhow::Ok(())
        };
        let unknown = unknown.await;
        self.note("refuses an unknown symbol", unknown);
        let empty = async {
            let answer = self.ask(self.request(Method::POST, "/v1/alerts")?.json(&json!({}))).await?;
            let answer = expect("POST /v1/alerts", answer, StatusCode::UNPROCESSABLE_ENTITY)?;
            ensure!(answer.body["errors"].is_array(), "it does not say what is wrong");
            anyhow::Ok(())
        };
        let empty = empty.await;
        self.note("refuses an empty rule", empty);
    }

    async fn subscribe(&self, address: &str, symbol: &str) -> anyhow::Result<()> {
        let rule = json!({ "symbol": symbol, "percent": FAR_AWAY, "direction": "up", "email": address });
        let made = self.ask(self.request(Method::POST, "/v1/alerts")?.json(&rule)).await?;
        let made = expect("POST /v1/alerts", made, StatusCode::CREATED)?;
        let (Some(id), Some(token)) = (made.body["id"].as_str(), made.body["manage_token"].as_str()) else {
            bail!("a rule without an id or a token");
        };
        let path = format!("/v1/alerts/{id}");
        let read = async {
            self.get(&path, StatusCode::UNAUTHORIZED).await?;
            let stranger = self.request(Method::GET, &path)?.bearer_auth("somebody-elses-token-0000000000000000000000");
            expect(&path, self.ask(stranger).await?, StatusCode::NOT_FOUND)?;
            expect(&path, self.ask(self.request(Method::GET, &path)?.bearer_auth(token)).await?, StatusCode::OK)?;
            anyhow::Ok(())
        };
        let read = read.await;
        // Whatever was read: the rule must not stay.
        let gone = self.ask(self.request(Method::DELETE, &path)?.bearer_auth(token)).await?;
        expect(format!("DELETE {path}"), gone, StatusCode::NO_CONTENT)?;
        read
    }
}

fn expect(what: impl Display, answer: Answer, wanted: StatusCode) -> anyhow::Result<Answer> {
    ensure!(answer.status == wanted, "{what} answered {} instead of {wanted}: {}", answer.status, answer.body);
    Ok(answer)
}

fn items(answer: &Answer) -> anyhow::Result<&Vec<Value>> {
    answer.body["items"].as_array().context("a list without items")
}

fn time(value: &Value) -> anyhow::Result<Timestamp> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{value} is no time"))
}

/// An exact decimal as text.
fn price(value: &Value) -> anyhow::Result<Price> {
    value.as_str().and_then(|text| text.parse().ok()).with_context(|| format!("{value} is no exact price"))
}
