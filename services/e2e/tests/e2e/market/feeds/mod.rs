//! Feeds of an exchange, from its server to the history: what was missed while nobody listened, who follows the exchange, and what
//! operators change. The server is that of the price-ingestor's own tests.

mod late;
#[path = "../../../../../price-ingestor/tests/feed/market.rs"]
mod market;
#[path = "../../../../../price-ingestor/tests/feed/server.rs"]
#[expect(dead_code, reason = "the faults of the server are those of the price-ingestor's own tests")]
mod server;
#[path = "../../../../../price-ingestor/tests/feed/venues.rs"]
#[expect(dead_code, reason = "the other protocols are those of the price-ingestor's own tests")]
mod venues;

use std::{collections::BTreeSet, net::SocketAddr, process::Output, time::Duration};

use e2e::{
    Api, Database, Process, System,
    process::{Frozen, free_address},
    system::Server as SystemServer,
    wait_until,
};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use server::{Rest, Server};
use venues::Protocol;

/// How long it may take until something happens by itself.
const TIMEOUT: Duration = Duration::from_secs(60);
const SYMBOLS: &str = "BTC-USD,ETH-USD";

/// An exchange, and the system that follows it.
struct Exchange {
    system: System,
    server: Server,
    now: i64,
    ingestors: usize,
    _tasks: JoinSet<()>,
}

/// A price-ingestor that runs beside the system.
struct Ingestor {
    process: Process,
    admin: Api,
}

impl Exchange {
    async fn start() -> Self {
        let mut tasks = JoinSet::new();
        let server = Server::start(Protocol::Coinbase, &mut tasks).await;
        let now = 1_700_000_000_000_000;
        Self { system: System::start().await, server, now, ingestors: 0, _tasks: tasks }
    }

    fn follow(&mut self) -> Ingestor {
        let urls = format!("ws://127.0.0.1:{},http://127.0.0.1:{}", self.server.ws_port, self.server.rest_port);
        let address: SocketAddr = free_address();
        let mut command = self.system.tickbell();
        command.args(["price-ingestor", "--source", "coinbase", "--symbols", SYMBOLS]);
        command.args(["--venue-url", &format!("coinbase={urls}")]);
        command.env("TICKBELL_ADMIN__LISTEN", address.to_string());
        self.ingestors += 1;
        let process = self.system.spawn(&format!("ingestor-{}", self.ingestors), &mut command);
        Ingestor { process, admin: Api::new(&format!("http://{address}")) }
    }

    /// Makes trades that are sent to whoever has subscribed the product.
    async fn trade(&mut self, product: &str, count: u64) {
        for _ in 0..count {
            self.now += 1_000;
            let trade = self.server.market(|market| market.trade(product, self.now));
            self.server.send(product, &[trade]).await;
        }
    }

    /// Makes trades that are sent to nobody.
    fn lose(&mut self, product: &str, count: u64) {
        for _ in 0..count {
            self.now += 1_000;
            self.server.market(|market| market.trade(product, self.now));
        }
    }

    async fn wait_until_subscribed(&self, product: &str) {
        let what = format!("{product} is subscribed");
        wait_until(&what, TIMEOUT, async || self.server.is_subscribed(product).then_some(())).await;
    }

    async fn wait_until_left(&self, product: &str) {
        let what = format!("{product} is not subscribed");
        wait_until(&what, TIMEOUT, async || (!self.server.is_subscribed(product)).then_some(())).await;
    }

    /// Waits until the history has these trades of a symbol, each once and in order of time.
    async fn wait_for_history(&self, symbol: &str, ids: impl IntoIterator<Item = u64>) {
        let expected: Vec<String> = ids.into_iter().map(|id| id.to_string()).collect();
        let what = format!("the history of {symbol} is {expected:?}");
        wait_until(&what, TIMEOUT, async || {
            let answer = self.system.api.get(&format!("/v1/prices/{symbol}/history?order=asc&limit=500")).await;
            let page: Value = (answer.status == 200).then(|| answer.json())?;
            let ids = page["items"].as_array()?.iter().map(|tick| tick["trade_id"].as_str().unwrap_or_default());
            ids.eq(expected.iter().map(String::as_str)).then_some(())
        })
        .await;
    }

    async fn wait_for_row(&self, what: &str, query: &str, expected: &str) {
        let database = Database::of(&self.system);
        wait_until(what, TIMEOUT, async || (database.value(query) == expected).then_some(())).await;
    }

    async fn feed(&self, symbol: &str) -> Value {
        let feeds: Value = self.system.api.get("/v1/feeds").await.expect_status(200).json();
        let feeds = feeds["items"].as_array().expect("a list");
        feeds.iter().find(|feed| feed["symbol"] == symbol).cloned().unwrap_or_default()
    }

    async fn wait_for_state(&self, symbol: &str, state: &str) {
        let what = format!("{symbol} is {state}");
        wait_until(&what, TIMEOUT, async || (self.feed(symbol).await["state"] == state).then_some(())).await;
    }

    async fn feeds(&self, arguments: &[&str]) -> Output {
        self.system.run(&[&["feeds"], arguments].concat()).await
    }
}

impl Ingestor {
    /// Returns the state of its own check, and its detail.
    async fn check(&self) -> Option<Value> {
        let answer = Api::try_send(self.admin.request(Method::GET, "/readyz")).await?;
        Some(answer.json::<Value>()["checks"]["price-ingestor"].clone())
    }

    async fn wait_until(&self, state: &str) {
        let what = format!("the price-ingestor is {state}");
        wait_until(&what, TIMEOUT, async || (self.check().await?["state"] == state).then_some(())).await;
    }
}

#[tokio::test]
async fn what_happened_while_no_process_followed_the_exchange_is_fetched_and_said() {
    let mut exchange = Exchange::start().await;
    let ingestor = exchange.follow();
    exchange.wait_until_subscribed("BTC-USD").await;
    exchange.trade("BTC-USD", 3).await;
    exchange.wait_for_history("BTC-USD", 1_000..=1_002).await;
    exchange.wait_for_state("BTC-USD", "live").await;
    let position = "SELECT last_id FROM feed_states WHERE symbol = 'BTC-USD'";
    exchange.wait_for_row("the position is saved", position, "1002").await;

    ingestor.process.kill();
    exchange.wait_until_left("BTC-USD").await;
    exchange.trade("BTC-USD", 5).await;
    // What was missed comes when the next minute has begun.
    exchange.server.set_rest(Rest::Down);
    let _ingestor = exchange.follow();
    exchange.wait_until_subscribed("BTC-USD").await;
    exchange.now += 60_000_000;
    exchange.trade("BTC-USD", 1).await;
    exchange.wait_for_history("BTC-USD", (1_000..=1_002).chain([1_008])).await;
    exchange.server.set_rest(Rest::Up);
    exchange.wait_for_history("BTC-USD", 1_000..=1_008).await;
    let gaps =
        "SELECT reason || ' ' || state || ' ' || lower_bound || ' ' || filled FROM feed_gaps WHERE symbol = 'BTC-USD'";
    exchange.wait_for_row("the gap is filled", gaps, "down filled 1003 5").await;
    let candles: Value =
        exchange.system.api.get("/v1/prices/BTC-USD/candles?interval=1m").await.expect_status(200).json();
    let candles = candles["items"].as_array().expect("a list");
    let said = |candle: &Value| format!("{} {} {}", candle["completeness"], candle["revision"], candle["trades"]);
    // The minute of the outage had closed when its five trades came; in the next one the gap ends.
    assert_eq!(
        candles.iter().map(said).collect::<BTreeSet<_>>(),
        ["\"backfilled\" 0 1", "\"backfilled\" 5 8"].map(String::from).into()
    );
    let unpublished = "SELECT count(*) FROM outbox WHERE service = 'price-ingestor'";
    exchange.wait_for_row("the gap is published", unpublished, "0").await;
}

#[tokio::test]
async fn one_process_follows_an_exchange_and_another_takes_over() {
    let mut exchange = Exchange::start().await;
    let owner = exchange.follow();
    exchange.wait_until_subscribed("ETH-USD").await;
    exchange.trade("ETH-USD", 2).await;
    exchange.wait_for_history("ETH-USD", 1_000..=1_001).await;
    let position = "SELECT last_id FROM feed_states WHERE symbol = 'ETH-USD'";
    exchange.wait_for_row("the position is saved", position, "1001").await;
    let standby = exchange.follow();
    standby.wait_until("standby").await;
    owner.process.kill();
    exchange.wait_until_left("ETH-USD").await;
    exchange.trade("ETH-USD", 4).await;
    exchange.wait_until_subscribed("ETH-USD").await;
    exchange.trade("ETH-USD", 1).await;
    exchange.wait_for_history("ETH-USD", 1_000..=1_006).await;

    // The ticks go on while the database is away.
    let frozen = Frozen::freeze(exchange.system.server(SystemServer::Postgres).expect("it runs"));
    let published = async || {
        let metrics = Api::try_send(standby.admin.request(Method::GET, "/metrics")).await?;
        let line = metrics.text.lines().find(|line| line.starts_with("tickbell_ticks_published_total{"))?;
        line.rsplit(' ').next()?.parse::<u64>().ok()
    };
    let before = wait_until("the counter is there", TIMEOUT, published).await;
    exchange.trade("ETH-USD", 3).await;
    wait_until("the ticks are published", TIMEOUT, async || (published().await? >= before + 3).then_some(())).await;
    drop(frozen);
    exchange.wait_for_history("ETH-USD", 1_000..=1_009).await;
    exchange.wait_for_row("the position is saved again", position, "1009").await;
}

#[tokio::test]
async fn operators_say_what_is_followed() {
    let mut exchange = Exchange::start().await;
    let ingestor = exchange.follow();
    exchange.wait_until_subscribed("BTC-USD").await;
    exchange.wait_until_subscribed("ETH-USD").await;
    ingestor.wait_until("ready").await;
    exchange.trade("ETH-USD", 1).await;
    exchange.wait_for_history("ETH-USD", [1_000]).await;

    // What happens while it is paused is fetched when it is resumed.
    assert!(exchange.feeds(&["pause", "coinbase", "ETH-USD"]).await.status.success());
    exchange.wait_until_left("ETH-USD").await;
    exchange.wait_for_state("ETH-USD", "paused").await;
    let price = async || {
        let price: Value = exchange.system.api.get("/v1/prices/ETH-USD").await.expect_status(200).json();
        price["gap"]["from"].clone()
    };
    wait_until("the price says that trades are missing", TIMEOUT, async || price().await.is_string().then_some(()))
        .await;
    exchange.trade("ETH-USD", 2).await;
    assert!(exchange.feeds(&["resume", "coinbase", "ETH-USD"]).await.status.success());
    exchange.wait_until_subscribed("ETH-USD").await;
    exchange.trade("ETH-USD", 1).await;
    exchange.wait_for_history("ETH-USD", 1_000..=1_003).await;
    exchange.trade("BTC-USD", 1).await;
    exchange.wait_for_history("BTC-USD", [1_000]).await;

    // An unknown name is refused with those near it, and nobody but an operator changes anything.
    let refused = exchange.feeds(&["add", "coinbase", "BTC-USS"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(!refused.status.success() && said.contains("it lists BTC-USD"), "{said}");
    assert!(exchange.feeds(&["remove", "coinbase", "BTC-USD"]).await.status.success());
    exchange.wait_until_left("BTC-USD").await;
    let (api, body) = (exchange.system.api.clone(), json!({ "venue": "coinbase", "symbol": "BTC-USD" }));
    api.post("/v1/feeds", &body).await.expect_status(401);
    exchange.system.sign_up("ada@example.com").await;
    let token = api.sign_in("ada@example.com").await;
    api.call_with(&token, Method::POST, "/v1/feeds", &body).await.expect_status(403);
    assert!(exchange.system.run(&["accounts", "role", "ada@example.com", "operator"]).await.status.success());
    let unknown = json!({ "venue": "coinbase", "symbol": "DOGE-USD" });
    api.call_with(&token, Method::POST, "/v1/feeds", &unknown).await.expect_status(422);
    api.call_with(&token, Method::POST, "/v1/feeds", &body).await.expect_status(201);
    api.call_with(&token, Method::POST, "/v1/feeds", &body).await.expect_status(200);
    exchange.wait_until_subscribed("BTC-USD").await;
    exchange.wait_for_state("BTC-USD", "live").await;
    api.call(&token, Method::DELETE, "/v1/feeds/coinbase/BTC-USD").await.expect_status(204);
    api.call(&token, Method::DELETE, "/v1/feeds/coinbase/BTC-USD").await.expect_status(404);
    exchange.wait_until_left("BTC-USD").await;

    // A feed that does not arrive is named.
    exchange.server.set_door(server::Door::Closed);
    exchange.server.command(&server::Command::Close).await;
    ingestor.wait_until("failing").await;
    let detail = ingestor.check().await.expect("an answer")["detail"].as_str().expect("a detail").to_owned();
    assert!(detail.contains("coinbase: ETH-USD is reconnecting"), "{detail}");
    exchange.wait_for_state("ETH-USD", "reconnecting").await;
    let metrics = Api::try_send(ingestor.admin.request(Method::GET, "/metrics")).await.expect("an answer").text;
    for name in ["down", "stale", "open_gaps", "last_trade_timestamp_seconds"] {
        assert!(metrics.contains(&format!("\ntickbell_feed_{name}{{")), "{name}: {metrics}");
    }
}
