//! Ticks that the broker stores again after it has forgotten their ids, and ticks that nobody may use.

use e2e::{Api, Database, System, api::Alert, tape};
use events::{OutboundMessage, Tick, TickPage, Timestamp, envelope::NATS_MSG_ID};
use platform::clock;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

/// The symbol whose ticks are published once, and the one whose same ticks are repeated.
const SYMBOLS: [&str; 2] = ["BTC-USD", "ETH-USD"];
/// The ticks that are published between two restarts.
const TICKS: usize = 120;
const EMAIL: &str = "ada@example.com";

fn tick_at(symbol: &str, at: Timestamp, price: &str) -> Tick {
    Tick { at, received_at: at, ..tape::tick("test", symbol, "00:00:00", price) }
}

fn millis_after(start: Timestamp, millis: i64) -> Timestamp {
    Timestamp::from_micros(start.micros() + millis * 1_000).expect("a time")
}

/// The message as it is stored a second time: the broker drops what has the same `Nats-Msg-Id` for two minutes, and after that
/// stores it again.
fn repeat(message: &OutboundMessage, number: usize) -> OutboundMessage {
    let id = format!("repeat-{number}-of-{}", message.id);
    let header =
        |(name, value): &(String, String)| (name.clone(), if name == NATS_MSG_ID { id.clone() } else { value.clone() });
    OutboundMessage { id: id.clone(), headers: message.headers.iter().map(header).collect(), ..message.clone() }
}

/// A part of a walk in which many ticks have one time and some are late, with ids of the venue.
fn walk(symbol: &str, part: usize, start: Timestamp) -> Vec<(Tick, String)> {
    let mut random = StdRng::seed_from_u64(part as u64);
    let (mut cents, mut millis) = (10_000_i64, 0);
    let tick = |number: usize| {
        cents = (cents + random.random_range(-150..=150)).clamp(9_000, 11_000);
        millis += [0, 0, 0, 1, 2, -1][random.random_range(0..6)];
        let price = format!("{}.{:02}", cents / 100, cents % 100);
        (tick_at(symbol, millis_after(start, millis), &price), number.to_string())
    };
    (part * TICKS..(part + 1) * TICKS).map(tick).collect()
}

fn page_of(ticks: &[(Tick, String)]) -> OutboundMessage {
    let mut ticks = ticks.iter().cloned();
    let (tick, id) = ticks.next().expect("a tick");
    let mut page = TickPage::of(tick, id);
    ticks.for_each(|(tick, id)| page.push(tick, id));
    page.to_message()
}

/// Returns the last part of the ticks with repeats of all that came before it, and of its own at random places, cut into pages
/// anywhere.
fn with_repeats(all: &[(Tick, String)]) -> Vec<OutboundMessage> {
    let begin = all.len() - TICKS;
    let mut random = StdRng::seed_from_u64(begin as u64);
    // After a restart, only what was saved can tell these from new ticks.
    let mut ticks = all[..begin].to_vec();
    for index in begin..all.len() {
        ticks.push(all[index].clone());
        for _ in 0..random.random_range(0..3) {
            ticks.push(all[random.random_range(index.saturating_sub(5)..=index)].clone());
        }
    }
    let (mut messages, mut rest) = (Vec::new(), ticks.as_slice());
    while !rest.is_empty() {
        let (page, behind) = rest.split_at(random.random_range(1..=40).min(rest.len()));
        messages.push(repeat(&page_of(page), begin + messages.len()));
        rest = behind;
    }
    messages
}

async fn subscribe(system: &System, symbol: &str) -> Vec<Alert> {
    let conditions = [
        json!({ "change": { "percent": "1", "since": "previous" } }),
        json!({ "change": { "percent": "2" } }),
        json!({ "price": { "above": "101" } }),
        json!({ "price": { "below": "99" } }),
    ];
    let mut alerts = Vec::new();
    for condition in conditions {
        alerts.push(system.api.subscribe(json!({ "symbol": symbol, "condition": condition })).await);
    }
    alerts
}

/// What has become of the ticks of a symbol, without what counts the messages of the stream.
async fn outcome(system: &System, token: &str, symbol: &str, alerts: &[Alert]) -> Value {
    let mut outcome = Vec::new();
    for alert in alerts {
        let firings = system.api.firings(alert).await.into_iter();
        outcome.push(json!(
            firings
                .map(|f| format!("{} {} {} {} {:?}", f.number, f.trade_id, f.fired_at, f.price, f.change_percent))
                .collect::<Vec<_>>()
        ));
    }
    let history = system.api.history(symbol, "asc", 1_000).await.into_iter();
    outcome
        .push(json!(history.map(|tick| format!("{} {} {}", tick.at, tick.price, tick.trade_id)).collect::<Vec<_>>()));
    for interval in ["1m", "1d"] {
        let candles: Vec<Value> =
            system.api.pages(&format!("/v1/prices/{symbol}/candles?interval={interval}"), None).await;
        outcome.push(json!(candles));
    }
    let latest: Value = system.api.get(&format!("/v1/prices/{symbol}")).await.expect_status(200).json();
    outcome.push(json!([latest["price"], latest["at"]]));
    let trades: Vec<Value> = system.api.pages("/v1/trades?limit=100", Some(token)).await;
    let trades = trades.into_iter().filter(|trade| trade["symbol"] == symbol);
    outcome.push(
        trades
            .map(|trade| json!([trade["price"], trade["size"], trade["fee"], trade["tick_id"], trade["tick_price"]]))
            .collect(),
    );
    let mails = system.mails().into_iter().filter(|mail| mail.text.contains(symbol) && !mail.text.contains("Order:"));
    outcome.push(json!(mails.count()));
    json!(outcome)
}

/// Signs up somebody with a million dollars and returns the session.
async fn trader(system: &System) -> String {
    system.sign_up(EMAIL).await;
    let token = system.api.sign_in(EMAIL).await;
    let deposit = system.run(&["accounts", "deposit", EMAIL, "1000000", "USD"]).await;
    assert!(deposit.status.success(), "{deposit:?}");
    token
}

async fn buy_at(system: &System, token: &str, symbol: &str, price: &str) -> Value {
    let order = json!({ "symbol": symbol, "side": "buy", "type": "limit", "size": "1", "price": price });
    let request = system.api.request(Method::POST, "/v1/orders").bearer_auth(token).json(&order);
    let answer = Api::send(request.header("prefer", "wait=9")).await;
    assert!(answer.status < 300, "{}", answer.text);
    answer.json()
}

#[tokio::test]
async fn the_last_second_of_a_recording_published_again_after_a_restart_changes_nothing() {
    let mut system = System::start().await;
    let token = trader(&system).await;
    let rule = json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5", "since": "previous" } } });
    let alert = system.api.subscribe(rule).await;
    system.wait_until_processed().await;
    let now = clock::now();
    let prices = [(-1_000, "100"), (0, "106"), (0, "100"), (0, "106")];
    let ticks = prices.iter().enumerate().map(|(number, (millis, price))| {
        tick_at("BTC-USD", millis_after(now, *millis), price).to_message(&number.to_string())
    });
    let ticks: Vec<_> = ticks.collect();
    system.publish(&ticks).await;
    system.wait_until_processed().await;
    // The price is 106. A repeat of the tick at 100 would fill this order.
    let order = buy_at(&system, &token, "BTC-USD", "101").await;
    system.wait_until_processed().await;
    let before = (system.api.firings(&alert).await, system.mails().len());
    assert_eq!((before.0.len(), &order["status"]), (3, &json!("open")));

    system.stop().await;
    system.up().await;
    let repeats: Vec<_> = ticks[1..].iter().enumerate().map(|(number, message)| repeat(message, number)).collect();
    system.publish(&repeats).await;
    system.wait_until_processed().await;
    assert_eq!((system.api.firings(&alert).await, system.mails().len()), before);
    let path = format!("/v1/orders/{}", order["id"].as_str().expect("an id"));
    let order: Value = system.api.call(&token, Method::GET, &path).await.expect_status(200).json();
    assert_eq!(order["status"], "open");
    let candles = system.api.candles("BTC-USD", "1d").await;
    assert_eq!(candles.iter().map(|candle| candle.trades).sum::<i64>(), 4);
    system.stop().await;
}

#[tokio::test]
async fn pages_cut_anywhere_and_repeats_change_nothing_also_across_restarts() {
    let mut system = System::start().await;
    let token = trader(&system).await;
    let mut alerts = Vec::new();
    for symbol in SYMBOLS {
        alerts.push(subscribe(&system, symbol).await);
    }
    system.wait_until_processed().await;

    let mut published = Vec::new();
    for part in 0..3 {
        // The times are those of now, because a price that is too old fills nothing.
        let start = millis_after(clock::now(), -500);
        let alone: Vec<_> = walk(SYMBOLS[0], part, start).iter().map(|(tick, id)| tick.to_message(id)).collect();
        system.publish(&alone).await;
        published.extend(walk(SYMBOLS[1], part, start));
        system.publish(&with_repeats(&published)).await;
        system.wait_until_processed().await;
        for symbol in SYMBOLS {
            for price in ["99.50", "98.50", "97.50"] {
                buy_at(&system, &token, symbol, price).await;
            }
        }
        system.wait_until_processed().await;
        system.stop().await;
        system.up().await;
    }
    system.wait_until_processed().await;

    let plain = outcome(&system, &token, SYMBOLS[0], &alerts[0]).await;
    assert_eq!(outcome(&system, &token, SYMBOLS[1], &alerts[1]).await, plain);
    assert!(
        plain[0].as_array().is_some_and(|firings| !firings.is_empty()),
        "rules that never fire test nothing: {plain}"
    );
    assert!(
        plain[8].as_array().is_some_and(|trades| !trades.is_empty()),
        "orders that never fill test nothing: {plain}"
    );
    system.stop().await;
}

#[tokio::test]
async fn a_history_without_its_newest_prices_still_takes_each_tick_once() {
    let mut system = System::start().await;
    let ticks = walk(SYMBOLS[0], 0, millis_after(clock::now(), -500));
    system.publish(&[page_of(&ticks[..TICKS / 2])]).await;
    system.wait_until_processed().await;
    // The writer then takes what it reads for new, and appends it.
    Database::of(&system).value("DELETE FROM latest_prices");
    system.kill();
    system.up().await;
    system.publish(&[repeat(&page_of(&ticks), 0)]).await;
    system.wait_until_processed().await;
    let candles = system.api.candles(SYMBOLS[0], "1d").await;
    assert_eq!(candles.iter().map(|candle| candle.trades).sum::<i64>(), TICKS as i64);
    assert_eq!(system.api.history(SYMBOLS[0], "asc", 1_000).await.len(), TICKS);
    let listed = system.run(&["dlq", "list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    assert_eq!(listed["items"], json!([]));
    system.stop().await;
}

#[tokio::test]
async fn a_tick_from_the_future_and_one_with_an_endless_id_cost_only_themselves() {
    let mut system = System::start().await;
    let rule = json!({ "symbol": "BTC-USD", "condition": { "change": { "percent": "5", "since": "previous" } } });
    let alert = system.api.subscribe(rule).await;
    system.wait_until_processed().await;

    let now = clock::now();
    let future: Timestamp = "2099-01-01T00:00:00Z".parse().expect("a time");
    system
        .publish(&[
            tick_at("BTC-USD", now, "100").to_message("1"),
            tick_at("BTC-USD", future, "500").to_message("2"),
            tick_at("BTC-USD", millis_after(now, 3_600_000), "600").to_message("3"),
            tick_at("BTC-USD", millis_after(now, 1), "700").to_message(&"4".repeat(5_000)),
            tick_at("BTC-USD", millis_after(now, 2), "110").to_message("5"),
        ])
        .await;
    // A symbol that only the future quotes is quoted by nobody.
    system.publish(&[tick_at("ETH-USD", future, "500").to_message("1")]).await;
    system.wait_until_processed().await;

    let firings = system.api.firings(&alert).await;
    let fired: Vec<_> = firings.iter().map(|firing| (firing.price, firing.reference_price)).collect();
    assert_eq!(fired, [(Decimal::from(110), Some(Decimal::from(100)))]);
    let latest: Value = system.api.get("/v1/prices/BTC-USD").await.expect_status(200).json();
    assert_eq!(latest["price"], "110");
    let history = system.api.history("BTC-USD", "asc", 100).await;
    assert_eq!(history.iter().map(|tick| tick.trade_id.as_str()).collect::<Vec<_>>(), ["1", "5"]);
    assert_eq!(system.api.candles("BTC-USD", "1d").await.iter().map(|candle| candle.trades).sum::<i64>(), 2);
    system.api.get("/v1/prices/ETH-USD").await.expect_status(404);

    let listed = system.run(&["dlq", "list", "--json"]).await;
    let listed: Value = serde_json::from_slice(&listed.stdout).expect("JSON");
    let mut dead_letters: Vec<_> =
        listed["items"].as_array().expect("items").iter().map(|item| &item["dead_letter"]).collect();
    dead_letters.sort_by_key(|dead_letter| dead_letter["sequence"].as_u64());
    let reasons: Vec<_> =
        dead_letters.iter().map(|dead_letter| dead_letter["reason"].as_str().expect("a reason")).collect();
    let [of_2099, in_an_hour, endless, other] = reasons[..] else { panic!("{reasons:?}") };
    assert!(
        of_2099.starts_with("its time 2099-01-01T00:00:00.000000Z is ") && of_2099.contains("ticks.max_ahead"),
        "{of_2099}"
    );
    assert!(in_an_hour.contains("ahead of the clock; allowed is 10s"), "{in_an_hour}");
    assert_eq!(endless, "its id has 5000 bytes; allowed are 1 to 200");
    assert!(other.contains("2099"), "{other}");
    assert!(dead_letters.iter().all(|dead_letter| dead_letter["service"] == "history-writer"), "{dead_letters:?}");
    assert_eq!(system.logged_errors(), [""; 0]);
    system.stop().await;
}
