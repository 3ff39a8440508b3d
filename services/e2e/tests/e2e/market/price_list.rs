//! The list of latest prices, which the gateway answers from memory.

use std::time::Duration;

use e2e::{System, tape, wait_until};
use events::OutboundMessage;
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(60);

async fn publish(system: &System, ticks: &[(&str, &str, &str)]) {
    let message = |(symbol, time, price): &(&str, &str, &str)| tape::message(&tape::tick("test", symbol, time, price));
    let messages: Vec<OutboundMessage> = ticks.iter().map(message).collect();
    system.publish(&messages).await;
    system.wait_until_processed().await;
}

/// Waits until the list has these prices, and checks that each is answered as it is alone, on pages of any length.
async fn list(system: &System, expected: &[(&str, &str)]) {
    let listed =
        async |query: &str| -> Value { system.api.get(&format!("/v1/prices{query}")).await.expect_status(200).json() };
    let whole = wait_until("the list has all prices", DEADLINE, async || {
        let page = listed("").await;
        let items = page["items"].as_array().expect("items");
        let found: Vec<_> = items.iter().map(|item| (item["symbol"].as_str(), item["price"].as_str())).collect();
        found.iter().copied().eq(expected.iter().map(|(symbol, price)| (Some(*symbol), Some(*price)))).then_some(page)
    });
    let whole = whole.await;
    assert!(whole["next_cursor"].is_null());
    let (mut cursor, mut pages) = (String::new(), Vec::new());
    for item in whole["items"].as_array().expect("items") {
        let symbol = item["symbol"].as_str().expect("a symbol");
        let alone: Value = system.api.get(&format!("/v1/prices/{symbol}")).await.expect_status(200).json();
        assert_eq!(*item, alone);
        let page = listed(&format!("?limit=1{cursor}")).await;
        cursor = format!("&cursor={}", page["next_cursor"].as_str().unwrap_or_default());
        pages.extend(page["items"].as_array().expect("items").iter().cloned());
    }
    assert_eq!(Value::Array(pages), whole["items"]);
}

#[tokio::test]
async fn the_list_of_prices_has_every_symbol_as_it_is_answered_alone() {
    let mut system = System::start().await;
    list(&system, &[]).await;
    publish(&system, &[("SPY", "00:00:01", "167.41"), ("BTC-USD", "00:00:02", "6800.10"), ("BRK.B", "00:00:03", "9")])
        .await;
    list(&system, &[("BRK.B", "9"), ("BTC-USD", "6800.10"), ("SPY", "167.41")]).await;
    // A newer price, an older one, and a symbol that is new.
    publish(&system, &[("SPY", "00:00:09", "168"), ("BTC-USD", "00:00:01", "1"), ("ETH-USD", "00:00:05", "400.5")])
        .await;
    list(&system, &[("BRK.B", "9"), ("BTC-USD", "6800.10"), ("ETH-USD", "400.5"), ("SPY", "168")]).await;
    system.kill();
    system.up().await;
    list(&system, &[("BRK.B", "9"), ("BTC-USD", "6800.10"), ("ETH-USD", "400.5"), ("SPY", "168")]).await;
    system.stop().await;
}
