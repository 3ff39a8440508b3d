//! Alerts that would have fired while trades were missed: one mail to each person, whatever stops in between.

use e2e::{Alert, Api, Database, Mail, wait_until};
use events::{FeedGap, feed::GapState};
use futures::TryStreamExt;
use platform::broker::stream_scan;
use reqwest::Method;
use serde_json::{Value, json};

use super::{Exchange, TIMEOUT, server::Rest};

#[tokio::test]
async fn an_alert_that_was_crossed_while_nobody_listened_is_mailed_late_and_once() {
    let mut exchange = Exchange::start().await;
    let ingestor = exchange.follow();
    exchange.wait_until_subscribed("BTC-USD").await;
    exchange.trade("BTC-USD", 3).await;
    exchange.wait_for_history("BTC-USD", 1_000..=1_002).await;
    let position = "SELECT last_id FROM feed_states WHERE symbol = 'BTC-USD'";
    exchange.wait_for_row("the position is saved", position, "1002").await;
    exchange.system.wait_until_processed().await;
    // The last price is 101.02. Of what will be missed 1006 is at 105.06, 1007 at 106.07 and 1008 at 100.08.
    let subscribe = async |rule: Value| exchange.system.api.subscribe(rule).await;
    let above = json!({ "price": { "above": "106" } });
    let rise = json!({ "change": { "percent": "3", "direction": "up" } });
    let eve = json!({ "email": "eve@example.com" });
    let first = subscribe(json!({ "symbol": "BTC-USD", "condition": above })).await;
    let second = subscribe(json!({ "symbol": "BTC-USD", "condition": rise, "late": "re-anchor" })).await;
    let ignored = subscribe(json!({ "symbol": "BTC-USD", "condition": above, "late": "ignore" })).await;
    let other = subscribe(json!({ "symbol": "BTC-USD", "condition": above, "notify": eve })).await;
    exchange.system.wait_until_processed().await;

    ingestor.process.kill();
    exchange.wait_until_left("BTC-USD").await;
    exchange.trade("BTC-USD", 6).await;
    // The gap is known and cannot be judged while the history lacks its trades.
    let database = Database::of(&exchange.system);
    let paused = database.pause_consumer("history-writer").await;
    let _ingestor = exchange.follow();
    exchange.wait_until_subscribed("BTC-USD").await;
    exchange.trade("BTC-USD", 1).await;
    exchange.wait_for_row("the gap waits", "SELECT stage FROM market_gaps", "known").await;
    exchange.system.kill();
    drop(paused);
    exchange.system.up().await;
    exchange.wait_for_row("the gap is judged", "SELECT stage FROM market_gaps", "judged").await;
    exchange.system.wait_until_processed().await;

    let check = |exchange: &Exchange| {
        let mails = exchange.system.mails();
        let to = |address: &str| mails.iter().filter(|mail| mail.to == address).cloned().collect::<Vec<Mail>>();
        let (ada, eve) = (to("ada@example.com"), to("eve@example.com"));
        assert_eq!((ada.len(), eve.len()), (1, 1), "{ada:?} {eve:?}");
        assert_eq!(ada[0].subject, "BTC-USD: 2 of your alerts were crossed while we were blind");
        assert!(ada[0].text.contains("We were blind from") && ada[0].html.contains("105.06"), "{}", ada[0].text);
        assert!(eve[0].subject.starts_with("BTC-USD: your 106 was crossed at"), "{}", eve[0].subject);
    };
    check(&exchange);
    for (alert, trade) in [(&first, Some("1007")), (&second, Some("1006")), (&ignored, None), (&other, Some("1007"))] {
        let verdicts = late_verdicts(&exchange, alert).await;
        let trades: Vec<_> = verdicts.iter().map(|verdict| verdict["trade_id"].as_str().expect("an id")).collect();
        assert_eq!(trades, Vec::from_iter(trade));
        assert!(exchange.system.api.firings(alert).await.is_empty(), "it is no firing");
    }
    let anchor = format!("SELECT reference_price FROM rule_states WHERE rule_id = '{}'", second.id);
    assert_eq!(database.value(&anchor), "105.06");

    // The report is read again, and so are the verdicts.
    exchange.system.kill();
    let read_again = "UPDATE consumer_positions SET stream_position = 0, stored_at = NULL
                      WHERE consumer IN ('alert-engine-feeds', 'notifier')";
    database.value(read_again);
    exchange.system.up().await;
    exchange.system.wait_until_processed().await;
    check(&exchange);
}

#[tokio::test]
async fn a_mail_that_is_sent_while_a_gap_is_open_says_that_prices_may_be_incomplete() {
    let mut exchange = Exchange::start().await;
    let _ingestor = exchange.follow();
    exchange.wait_until_subscribed("BTC-USD").await;
    exchange.trade("BTC-USD", 3).await;
    exchange.wait_for_history("BTC-USD", 1_000..=1_002).await;
    let alert = |email: &str| {
        let (condition, notify) = (json!({ "price": { "above": "105.5" } }), json!({ "email": email }));
        json!({ "symbol": "BTC-USD", "condition": condition, "notify": notify })
    };
    exchange.system.api.subscribe(alert("ada@example.com")).await;
    exchange.system.wait_until_processed().await;

    // Two trades are lost, and nobody can ask for them. The gap begins with 1002.
    exchange.server.set_rest(Rest::Down);
    exchange.lose("BTC-USD", 2);
    exchange.trade("BTC-USD", 1).await;
    let said = wait_until("the gap is published", TIMEOUT, async || reports(&exchange).await.pop()).await;
    assert_eq!((said.first_missing_id, said.last_missing_id), (Some(1_003), Some(1_004)));
    exchange.system.wait_until_processed().await;
    // 1007 is at 106.07.
    exchange.trade("BTC-USD", 2).await;
    exchange.wait_for_history("BTC-USD", (1_000..=1_007).filter(|id| !(1_003..=1_004).contains(id))).await;
    let mail = exchange.system.mail_to("ada@example.com", "BTC-USD").await;
    let incomplete = "Prices since 14 Nov 2023 22:13:20 UTC may be incomplete";
    assert!(mail.text.contains("106.07"), "{}", mail.text);
    assert!(mail.text.contains(incomplete) && mail.html.contains(incomplete), "{}", mail.text);

    exchange.server.set_rest(Rest::Up);
    exchange.wait_for_history("BTC-USD", 1_000..=1_007).await;
    let is_filled = async || reports(&exchange).await.pop().filter(|report| report.state.is_final());
    let said = wait_until("the filled gap is published", TIMEOUT, is_filled).await;
    assert_eq!((said.state, said.last_missing_id, said.filled), (GapState::Filled, Some(1_004), 2));
    exchange.trade("BTC-USD", 1).await;
    exchange.wait_for_history("BTC-USD", 1_000..=1_008).await;
    exchange.system.api.subscribe(alert("eve@example.com")).await;
    exchange.system.wait_until_processed().await;
    exchange.trade("BTC-USD", 6).await;
    exchange.wait_for_history("BTC-USD", 1_000..=1_014).await;
    let mail = exchange.system.mail_to("eve@example.com", "BTC-USD").await;
    assert!(!mail.text.contains("incomplete"), "{}", mail.text);
}

#[tokio::test]
async fn the_stream_says_of_a_gap_what_the_list_of_feeds_says() {
    let mut exchange = Exchange::start().await;
    let _ingestor = exchange.follow();
    exchange.wait_until_subscribed("ETH-USD").await;
    exchange.trade("ETH-USD", 2).await;
    exchange.wait_for_history("ETH-USD", 1_000..=1_001).await;
    assert!(exchange.feeds(&["pause", "coinbase", "ETH-USD"]).await.status.success());
    exchange.wait_until_left("ETH-USD").await;
    let feed = wait_for_open_gaps(&exchange, 1).await;
    let said = wait_until("the gap is published", TIMEOUT, async || reports(&exchange).await.pop()).await;
    assert_eq!((said.state, said.revision, said.to), (GapState::Open, 1, None));
    assert_eq!(feed["gap_from"], said.from.to_string());

    exchange.trade("ETH-USD", 4).await;
    assert!(exchange.feeds(&["resume", "coinbase", "ETH-USD"]).await.status.success());
    exchange.wait_until_subscribed("ETH-USD").await;
    exchange.trade("ETH-USD", 1).await;
    exchange.wait_for_history("ETH-USD", 1_000..=1_006).await;
    let is_filled = async || reports(&exchange).await.pop().filter(|report| report.state.is_final());
    let said = wait_until("the filled gap is published", TIMEOUT, is_filled).await;
    assert_eq!((said.state, said.filled), (GapState::Filled, 4));
    assert_eq!((said.first_missing_id, said.last_missing_id), (Some(1_002), Some(1_005)));
    let feed = wait_for_open_gaps(&exchange, 0).await;
    assert_eq!(feed["gap_from"], Value::Null);
    let revisions: Vec<u32> = reports(&exchange).await.iter().map(|report| report.revision).collect();
    assert_eq!(revisions, Vec::from_iter(1..=revisions.len() as u32), "each state is said once, in its order");
}

async fn wait_for_open_gaps(exchange: &Exchange, open: u64) -> Value {
    let what = format!("ETH-USD has {open} open gaps");
    let feed = async || Some(exchange.feed("ETH-USD").await).filter(|feed| feed["open_gaps"] == open);
    wait_until(&what, TIMEOUT, feed).await
}

/// Returns what stream `FEEDS` says, in its order.
async fn reports(exchange: &Exchange) -> Vec<FeedGap> {
    let broker = exchange.system.broker().await;
    let messages = stream_scan::messages(&broker, "FEEDS", ..).await.expect("a stream");
    let messages: Vec<_> = messages.try_collect().await.expect("messages");
    messages.iter().map(|message| message.event().expect("a gap")).collect()
}

async fn late_verdicts(exchange: &Exchange, alert: &Alert) -> Vec<Value> {
    let path = format!("/v1/alerts/{}/late-verdicts", alert.id);
    let request = exchange.system.api.request(Method::GET, &path).bearer_auth(&alert.manage_token);
    let page: Value = Api::send(request).await.expect_status(200).json();
    page["items"].as_array().expect("a list").clone()
}
