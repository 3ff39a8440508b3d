//! Streams that become others while services run: they are created anew, or an older copy of the broker's files is put back.

use std::time::Duration;

use e2e::{Alert, Database, System, tape, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

/// How long it may take until a service has noticed that its stream is another one.
const NOTICE: Duration = Duration::from_secs(10);
const EMAIL: &str = "ada@example.com";

/// Publishes as many ticks of a symbol as there are prices, a minute apart from `minute` on.
async fn publish(system: &System, venue: &str, symbol: &str, minute: usize, prices: &[u32]) {
    let tick = |(minute, price): (usize, &u32)| {
        tape::message(&tape::tick(venue, symbol, &format!("00:{minute:02}:00"), &price.to_string()))
    };
    let messages: Vec<_> = (minute..).zip(prices).map(tick).collect();
    // The stream may be missing for a moment: then the publish is repeated.
    system.publish(&messages).await;
}

async fn follow(system: &System, symbol: &str) -> Alert {
    system
        .api
        .subscribe(json!({ "symbol": symbol, "condition": { "price": { "above": "100" } }, "cooldown": "0s" }))
        .await
}

/// Waits until the history has this many ticks of each symbol, and no more once all is processed.
async fn assert_stored(system: &System, expected: &[(&str, usize)]) {
    let database = Database::of(system);
    let of = |symbol: &str| format!("JOIN instruments i ON i.id = instrument_id WHERE symbol = '{symbol}'");
    let stored = |symbol: &str| database.value(&format!("SELECT count(*) FROM ticks {}", of(symbol)));
    for (symbol, count) in expected {
        let all = async || (stored(symbol).parse::<usize>().expect("a count") >= *count).then_some(());
        wait_until(&format!("{count} ticks of {symbol} are stored"), NOTICE, all).await;
    }
    system.wait_until_processed().await;
    for (symbol, count) in expected {
        let daily = format!("SELECT sum(trades) FROM candles {} AND interval_seconds = 86400", of(symbol));
        assert_eq!([stored(symbol), database.value(&daily)], [count.to_string(), count.to_string()], "{symbol}");
    }
}

/// Waits until a rule has fired, and returns how often.
async fn fired(system: &System, alert: &Alert) -> usize {
    let fired = async || Some(system.api.firings(alert).await.len()).filter(|count| *count > 0);
    wait_until("the rule has fired", NOTICE, fired).await
}

/// A user of the API who trades.
struct Trader(String);

impl Trader {
    async fn with_money(system: &System) -> Self {
        system.sign_up(EMAIL).await;
        let deposit = system.run(&["accounts", "deposit", EMAIL, "100000", "USD"]).await;
        assert!(deposit.status.success(), "{deposit:?}");
        Self(system.api.sign_in(EMAIL).await)
    }

    async fn buy(&self, system: &System, symbol: &str) {
        let order = json!({ "symbol": symbol, "side": "buy", "type": "market", "size": "1" });
        let placed = system.api.call_with(&self.0, Method::POST, "/v1/orders", &order).await;
        let placed: Value = placed.json();
        let path = format!("/v1/orders/{}", placed["id"].as_str().expect("an id"));
        let filled = async || {
            let order: Value = system.api.call(&self.0, Method::GET, &path).await.json();
            (order["status"] == "filled").then_some(())
        };
        wait_until("the order is filled", NOTICE, filled).await;
    }
}

/// Returns how often consumers have read a stream again for a reason.
async fn rewinds(system: &System, reason: &str) -> Vec<(String, u64)> {
    let text = system.api.get("/metrics").await.expect_status(200).text;
    let of_reason = |line: &str| {
        let (labels, count) = line.strip_prefix("tickbell_stream_rewinds_total{consumer=\"")?.split_once("\"} ")?;
        let (consumer, found) = labels.split_once("\",reason=\"")?;
        (found == reason).then(|| (consumer.to_owned(), count.trim().parse().expect("a count")))
    };
    let mut found: Vec<_> = text.lines().filter_map(of_reason).collect();
    found.sort();
    found
}

fn consumers_with(rewinds: Vec<(String, u64)>) -> Vec<String> {
    rewinds.into_iter().filter(|(_, count)| *count > 0).map(|(consumer, _)| consumer).collect()
}

async fn assert_ledger_verifies(system: &System) {
    let verified = system.run(&["ledger", "verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
}

#[tokio::test]
async fn a_stream_that_is_created_anew_under_running_services_is_read_from_its_beginning() {
    let mut system = System::start().await;
    let ada = Trader::with_money(&system).await;
    let first = follow(&system, "BTC-USD").await;
    system.wait_until_processed().await;
    publish(&system, "one", "BTC-USD", 0, &[90, 101, 90, 102, 90]).await;
    system.wait_until_processed().await;
    ada.buy(&system, "BTC-USD").await;
    assert_eq!(fired(&system, &first).await, 2);
    assert_eq!(consumers_with(rewinds(&system, "anew").await), [""; 0]);

    for stream in ["TICKS", "RULES", "ORDERS", "ALERTS"] {
        system.request_broker(&format!("$JS.API.STREAM.DELETE.{stream}"));
    }
    assert!(system.run(&["streams", "apply"]).await.status.success());
    // Fewer messages than before: their sequences are below the positions. Another venue is the first of the new stream.
    let second = follow(&system, "ETH-USD").await;
    wait_until("the rule is followed", NOTICE, async || system.status().await.filter(|status| status.is_done())).await;
    publish(&system, "two", "BTC-USD", 5, &[500]).await;
    publish(&system, "one", "ETH-USD", 8, &[90, 101]).await;
    assert_stored(&system, &[("BTC-USD", 6), ("ETH-USD", 2)]).await;
    assert_eq!((fired(&system, &first).await, fired(&system, &second).await), (2, 1));
    ada.buy(&system, "ETH-USD").await;
    system.wait_until_processed().await;

    let mut noticed = consumers_with(rewinds(&system, "anew").await);
    noticed.retain(|consumer| !consumer.starts_with("trade-settler-alerts"));
    let expected = [
        "alert-engine",
        "alert-engine-rules",
        "history-writer",
        "notifier",
        "notifier-rules",
        "trade-settler",
        "trade-settler-orders",
    ];
    assert_eq!(noticed, expected);
    let price: Value = system.api.get("/v1/prices/BTC-USD").await.expect_status(200).json();
    assert_eq!(price["venue"], "one", "the primary venue stays: {price}");
    assert_ledger_verifies(&system).await;
    system.stop().await;
}

#[tokio::test]
async fn an_older_copy_of_the_streams_that_is_put_back_under_running_services_is_read_again() {
    let mut system = System::start().await;
    let ada = Trader::with_money(&system).await;
    let first = follow(&system, "BTC-USD").await;
    system.wait_until_processed().await;
    publish(&system, "one", "BTC-USD", 0, &[90, 101]).await;
    system.wait_until_processed().await;
    ada.buy(&system, "BTC-USD").await;
    let copy = system.copy_streams();
    // What the copy does not have is in the database.
    publish(&system, "one", "LTC-USD", 2, &[90, 101, 90, 101, 90, 101]).await;
    let lost = follow(&system, "LTC-USD").await;
    for _ in 0..3 {
        ada.buy(&system, "LTC-USD").await;
    }
    system.wait_until_processed().await;

    system.put_streams_back(&copy).await;
    wait_until("the broker is back", NOTICE, async || system.try_broker().await).await;
    let second = follow(&system, "ETH-USD").await;
    publish(&system, "one", "ETH-USD", 8, &[90, 101]).await;
    assert_stored(&system, &[("BTC-USD", 2), ("LTC-USD", 6), ("ETH-USD", 2)]).await;
    ada.buy(&system, "ETH-USD").await;
    publish(&system, "one", "ETH-USD", 8, &[90, 101, 90, 102]).await;
    publish(&system, "one", "LTC-USD", 2, &[90, 101, 90, 101, 90, 101, 90, 105]).await;
    assert_stored(&system, &[("BTC-USD", 2), ("LTC-USD", 8), ("ETH-USD", 4)]).await;
    assert_eq!(fired(&system, &first).await, 1);
    assert_eq!(fired(&system, &lost).await, 1, "the rule that the copy lacks is followed on");
    assert!(fired(&system, &second).await >= 1);
    let noticed = consumers_with(rewinds(&system, "put_back").await);
    for consumer in ["alert-engine", "alert-engine-rules", "history-writer", "trade-settler", "trade-settler-orders"] {
        assert!(noticed.iter().any(|known| known == consumer), "{consumer}: {noticed:?}");
    }
    assert_ledger_verifies(&system).await;
    system.stop().await;
}
