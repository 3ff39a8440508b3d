//! Candles that have closed: the gateways keep them, events say so, and a late tick changes them for everybody at once.

use std::time::Duration;

use e2e::{Api, ApiResponse, Database, System, process::free_address, tape, wait_until};
use events::{CandleClosed, OutboundMessage};
use futures::TryStreamExt;
use nix::sys::signal::Signal;
use platform::broker::stream_scan;
use reqwest::{Method, header};
use serde_json::Value;

const DEADLINE: Duration = Duration::from_secs(60);
/// A minute that has closed as soon as there is a tick behind it.
const CLOSED: &str = "/v1/prices/BTC-USD/candles?interval=1m&to=2018-04-05T00:02:00Z";

async fn publish(system: &System, ticks: &[(&str, &str)]) {
    let message = |(time, price): &(&str, &str)| tape::message(&tape::tick("test", "BTC-USD", time, price));
    let messages: Vec<OutboundMessage> = ticks.iter().map(message).collect();
    system.publish(&messages).await;
}

fn trades(response: &ApiResponse) -> i64 {
    let page: Value = response.json();
    page["items"].as_array().expect("items").iter().filter_map(|candle| candle["trades"].as_i64()).sum()
}

fn header(response: &ApiResponse, name: header::HeaderName) -> String {
    response.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_late_tick_is_in_the_candles_of_every_gateway_as_soon_as_it_is_committed() {
    let mut system = System::start().await;
    publish(&system, &[("00:00:30", "100"), ("00:01:30", "101"), ("00:02:30", "102")]).await;
    system.wait_until_processed().await;
    let other = system.gateway_at(free_address()).await;
    let gateways = [&system.api, &other.1];
    let database = Database::of(&system);
    for round in 0..10 {
        // Both have the page in memory.
        for gateway in gateways.iter().chain(&gateways) {
            assert_eq!(trades(&gateway.get(CLOSED).await.expect_status(200)), 2 + round);
        }
        publish(&system, &[(&format!("00:01:{}", 10 + round), &format!("{}", 200 + round))]).await;
        let stored = format!(
            "SELECT trades FROM candles WHERE interval_seconds = 60 AND start = '2018-04-05T00:01:00Z' AND trades = {}",
            2 + round
        );
        wait_until("the tick is committed", DEADLINE, async || (!database.value(&stored).is_empty()).then_some(()))
            .await;
        for gateway in gateways {
            assert_eq!(trades(&gateway.get(CLOSED).await.expect_status(200)), 3 + round, "round {round}");
        }
    }
    a_page_that_has_not_changed_is_not_sent_again(&system, gateways).await;
    each_candle_is_announced_when_it_closes_and_when_it_changes(&system).await;
    other.0.stop(Signal::SIGTERM).await;
    system.stop().await;
}

async fn a_page_that_has_not_changed_is_not_sent_again(system: &System, gateways: [&Api; 2]) {
    let paths = [CLOSED, "/v1/prices/BTC-USD", "/v1/prices", "/v1/prices/BTC-USD/history"];
    for path in paths {
        let tag = header(&gateways[0].get(path).await.expect_status(200), header::ETAG);
        for gateway in gateways {
            let ask = gateway.request(Method::GET, path).header(header::IF_NONE_MATCH, &tag);
            let again = Api::send(ask).await.expect_status(304);
            assert_eq!((again.text.as_str(), header(&again, header::ETAG)), ("", tag.clone()), "{path}");
            assert_eq!(header(&again, header::CACHE_CONTROL), "public, no-cache");
        }
    }
    let tags = async || {
        let mut tags = Vec::new();
        for path in paths {
            tags.push(header(&gateways[1].get(path).await.expect_status(200), header::ETAG));
        }
        tags
    };
    let before = tags().await;
    publish(system, &[("00:01:59", "300"), ("00:02:40", "301")]).await;
    system.wait_until_processed().await;
    // The price may come a moment later: nobody waits for the gateways to read the stream.
    let changed = async || tags().await.iter().zip(&before).all(|(after, before)| after != before).then_some(());
    wait_until("all have changed", DEADLINE, changed).await;
    assert_eq!(header(&gateways[0].get("/v1/prices/NOPE-USD").await, header::CACHE_CONTROL), "no-store");
}

async fn each_candle_is_announced_when_it_closes_and_when_it_changes(system: &System) {
    let broker = system.broker().await;
    let messages: Vec<_> =
        stream_scan::messages(&broker, "CANDLES", ..).await.expect("a stream").try_collect().await.expect("messages");
    let candles: Vec<CandleClosed> = messages.iter().map(|message| message.event().expect("a candle")).collect();
    assert!(messages.iter().all(|message| message.subject == "candles.test.BTC-USD.1m"), "only minutes have closed");
    let of = |minute: &str| {
        let of = candles.iter().filter(|candle| candle.start.to_string().contains(minute));
        of.map(|candle| (candle.revision, candle.trades, candle.close.to_string())).collect::<Vec<_>>()
    };
    assert_eq!(of("T00:00:00"), [(0, 1, "100".to_owned())]);
    let late = (0..=10).map(|late| (late, 1 + late, "101".to_owned()));
    let expected: Vec<_> = late.chain([(11, 12, "300".to_owned())]).collect();
    assert_eq!(of("T00:01:00"), expected);
}
