//! Candles and history.

use std::{collections::BTreeSet, process::Stdio, time::Duration};

use e2e::{RawNats, System, api::Candle, tape};
use events::{OutboundMessage, Tick, envelope::NATS_MSG_ID};
use platform::clock;
use rust_decimal::Decimal;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, BufReader},
    time::timeout,
};

fn decimal(text: &str) -> Decimal {
    text.parse().expect("a number")
}

fn candle(start: &str, prices: [&str; 4], volume: &str, trades: i64) -> Candle {
    let [open, high, low, close] = prices.map(decimal);
    Candle { start: format!("2018-04-05T{start}.000000Z"), open, high, low, close, volume: decimal(volume), trades }
}

async fn publish(system: &System, ticks: &[Tick]) {
    let messages: Vec<OutboundMessage> = ticks.iter().map(tape::message).collect();
    system.publish(&messages).await;
    system.wait_until_processed().await;
}

#[tokio::test]
async fn every_tick_is_stored_once_and_pages_are_complete() {
    let mut system = System::start().await;
    late_ticks_correct_the_candle(&system).await;
    a_repeat_counts_once(&system).await;
    a_volume_has_as_many_digits_as_it_needs(&system).await;
    pages_do_not_overlap(&system).await;
    a_symbol_without_prices_is_not_found(&system).await;
    system.stop().await;
}

async fn late_ticks_correct_the_candle(system: &System) {
    let tick = |time, price| tape::tick("test", "BTC-USD", time, price);
    publish(system, &[tick("00:01:10", "101"), tick("00:01:50", "103"), tick("00:03:00", "99")]).await;
    let minutes = async || system.api.candles("BTC-USD", "1m").await;
    let third = candle("00:03:00", ["99"; 4], "1", 1);
    assert_eq!(minutes().await, [candle("00:01:00", ["101", "103", "101", "103"], "2", 2), third.clone()]);
    publish(system, &[tick("00:01:59.999999", "102"), tick("00:01:00", "100"), tick("00:01:30", "105")]).await;
    assert_eq!(minutes().await, [candle("00:01:00", ["100", "105", "100", "102"], "5", 5), third]);
    let five = candle("00:00:00", ["100", "105", "99", "99"], "6", 6);
    assert_eq!(system.api.candles("BTC-USD", "5m").await, [five]);
    let none = system.api.candles("BTC-USD", "1m&from=2018-04-06T00:00:00Z").await;
    assert_eq!(none, [], "a span without prices is empty");
}

async fn a_repeat_counts_once(system: &System) {
    let csv = tape::csv("ETH-USD", &[("00:00:00", "380"), ("00:00:01", "381"), ("00:00:01", "381")]);
    system.ingest(&csv, "test").await;
    system.wait_until_processed().await;
    let position = system.status().await.expect("a status").position("history-writer");
    // The broker drops what has the same id for two minutes; after that the database must know it.
    system.ingest(&csv, "test").await;
    let repeat = OutboundMessage { id: "another".into(), ..second_tick() };
    let headers = repeat.headers.iter().map(|(name, value)| {
        let value = if name == NATS_MSG_ID { "another" } else { value.as_str() };
        (name.clone(), value.to_owned())
    });
    let repeat = OutboundMessage { headers: headers.collect(), ..repeat.clone() };
    system.publish(&[repeat]).await;
    system.wait_until_processed().await;
    assert_eq!(system.status().await.expect("a status").position("history-writer"), position + 1);
    assert_eq!(system.api.history("ETH-USD", "asc", 1000).await.len(), 3);
    assert_eq!(system.api.candles("ETH-USD", "1h").await, [candle("00:00:00", ["380", "381", "380", "381"], "3", 3)]);
}

/// Returns the message that the ingestor publishes for the third line, the first of two equal ones.
fn second_tick() -> OutboundMessage {
    tape::message(&tape::tick("test", "ETH-USD", "00:00:01", "381"))
}

async fn a_volume_has_as_many_digits_as_it_needs(system: &System) {
    let with_size = |second: usize, size: &str| {
        let tick = tape::tick("test", "DOGE-USD", &format!("00:{:02}:{:02}", second / 60, second % 60), "0.1");
        Tick { size: Some(size.parse().expect("a size")), ..tick }
    };
    // Together 29 digits, in which a sum of 28 would lose the smallest size.
    let mut ticks: Vec<_> = (0..200).map(|second| with_size(second, "99999999999999")).collect();
    ticks.push(with_size(200, "0.000000000001"));
    publish(system, &ticks).await;
    let candles: Vec<Value> = system.api.pages("/v1/prices/DOGE-USD/candles?interval=1h", None).await;
    let volumes: Vec<_> = candles.iter().map(|candle| &candle["volume"]).collect();
    assert_eq!(volumes, ["19999999999999800.000000000001"]);
}

async fn pages_do_not_overlap(system: &System) {
    let seconds = 0..250;
    // Three ticks at each time, so that pages end between ticks of the same time.
    let times: Vec<_> = seconds.map(|n| format!("00:{:02}:{:02}", n / 3 / 60, n / 3 % 60)).collect();
    let prices: Vec<_> = (0..250).map(|n| format!("{}", 100 + n)).collect();
    let rows: Vec<_> = times.iter().zip(&prices).map(|(time, price)| (time.as_str(), price.as_str())).collect();
    system.ingest(&tape::csv("SPY", &rows), "test").await;
    system.wait_until_processed().await;
    for limit in [1000, 100, 7] {
        let ascending = system.api.history("SPY", "asc", limit).await;
        let mut descending = system.api.history("SPY", "desc", limit).await;
        descending.reverse();
        assert_eq!(ascending, descending);
        let got: Vec<_> = ascending.iter().map(|tick| tick.price).collect();
        let wanted: Vec<_> = prices.iter().map(|price| decimal(price)).collect();
        assert_eq!(got, wanted, "every tick once, in order, {limit} to a page");
    }
    let ids: BTreeSet<_> = system.api.history("SPY", "asc", 9).await.into_iter().map(|tick| tick.trade_id).collect();
    assert_eq!(ids.len(), 250);
    let candles = system.api.candles("SPY", "1m&limit=1").await;
    assert_eq!(candles.iter().map(|candle| candle.trades).sum::<i64>(), 250);
}

async fn a_symbol_without_prices_is_not_found(system: &System) {
    for path in ["", "/history", "/candles?interval=1m"] {
        system.api.get(&format!("/v1/prices/NOPE-USD{path}")).await.expect_status(404);
    }
}

#[tokio::test]
async fn the_change_of_a_day_is_not_measured_over_a_hole() {
    let mut system = System::start().await;
    let latest = async || -> Value { system.api.get("/v1/prices/GPC-USD").await.expect_status(200).json() };
    let mut csv =
        "time,symbol,price,size\n2024-10-01T00:00:00Z,GPC-USD,100,1\n2024-10-04T00:00:00Z,GPC-USD,130,1\n".to_owned();
    system.ingest(&csv, "test").await;
    system.wait_until_processed().await;
    let found = latest().await;
    assert_eq!((&found["change_24h_percent"], &found["change_24h_since"]), (&Value::Null, &Value::Null), "{found}");
    csv.push_str("2024-10-04T23:30:00Z,GPC-USD,104,1\n2024-10-05T00:10:00Z,GPC-USD,143,1\n");
    system.ingest(&csv, "test").await;
    system.wait_until_processed().await;
    let found = latest().await;
    assert_eq!(found["change_24h_percent"], "10.0000", "{found}");
    assert_eq!(found["change_24h_since"], "2024-10-04T00:00:00.000000Z", "{found}");
    system.stop().await;
}

#[tokio::test]
async fn the_ticks_of_the_stream_are_shown_one_a_line() {
    let mut system = System::start().await;
    let ticks = [("test", "BTC-USD", "100"), ("other", "BTC-USD", "101"), ("test", "BRK.B", "102")]
        .map(|(venue, symbol, price)| tape::message(&tape::tick(venue, symbol, "00:00:01", price)));
    system.publish(&ticks[..1]).await;
    // The client library ends its connection at this one.
    let mut raw = RawNats::connect(&system.named("NATS_URL").expect("a URL")).await;
    raw.publish(b"ticks.test.BTC-USD", Some(b"no colon\r\n"), b"{}").await;
    raw.flush().await;
    system.publish(&ticks[1..]).await;
    for (arguments, expected) in [
        (&["BTC-USD", "--since", "1h"][..], &[" test BTC-USD 100 1 ", " other BTC-USD 101 1 "][..]),
        (&["BRK.B", "--since", "2018-04-05T00:00:00Z", "--json"], &["\"symbol\":\"BRK.B\""]),
    ] {
        let mut command = tokio::process::Command::from(system.tickbell());
        command.args(["ticks", "tail"]).args(arguments).stdout(Stdio::piped()).kill_on_drop(true);
        let mut tail = command.spawn().expect("it starts");
        let mut lines = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
        for part in expected {
            let line = timeout(Duration::from_secs(30), lines.next_line()).await.expect("in time").expect("text");
            assert!(line.as_ref().is_some_and(|line| line.contains(part)), "{line:?} has no {part}");
        }
        // It goes on with what comes, behind another such message, until nobody reads the lines.
        raw.publish(b"ticks.test.BTC-USD", Some(b"no colon\r\n"), b"{}").await;
        raw.flush().await;
        system.publish(&[tape::message(&tape::tick("test", arguments[0], "00:00:01.5", "104"))]).await;
        let line = timeout(Duration::from_secs(30), lines.next_line()).await.expect("in time").expect("text");
        assert!(line.as_ref().is_some_and(|line| line.contains("104")), "{line:?}");
        drop(lines);
        let wait_for_end = async {
            loop {
                system
                    .publish(&[tape::message(&Tick {
                        at: clock::now(),
                        ..tape::tick("test", arguments[0], "00:00:02", "103")
                    })])
                    .await;
                if let Ok(ended) = timeout(Duration::from_millis(200), tail.wait()).await {
                    return ended.expect("a status");
                }
            }
        };
        let status = timeout(Duration::from_secs(30), wait_for_end).await.expect("it ends");
        assert!(status.success(), "{status}");
    }
    system.stop().await;
}
