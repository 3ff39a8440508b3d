//! Live streams: nothing is lost and nothing comes twice, wherever a connection breaks, and nobody sees what belongs to another.

mod client;
mod disconnects;

use std::time::Duration;

use e2e::{Api, System, tape};
use events::{OutboundMessage, Tick, TickPage};
use futures::TryStreamExt;
use platform::broker::stream_scan;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::{interval, timeout};

use self::client::{Received, Transport, read};

const SYMBOLS: [&str; 3] = ["BTC-USD", "ETH-USD", "SOL-USD"];
const TICKS_PER_SECOND: usize = 500;

/// The position of a tick in the stream.
type Position = (u64, u64);

fn position(data: &Value) -> Position {
    let number = |name: &str| data[name].as_u64().unwrap_or_else(|| panic!("no {name} in {data}"));
    (number("stream_sequence"), number("stream_index"))
}

/// Returns a tick a millisecond behind the one before.
fn nth_tick(number: usize, symbol: &str) -> Tick {
    let time = format!("00:{:02}:{:02}.{:03}", number / 60_000, number / 1_000 % 60, number % 1_000);
    tape::tick("test", symbol, &time, &format!("{}", 100 + number % 50))
}

async fn publish_ticks(system: &System, numbers: std::ops::Range<usize>) {
    let broker = system.broker().await;
    let mut ticks = interval(Duration::from_millis(10));
    let numbers: Vec<usize> = numbers.collect();
    for part in numbers.chunks(TICKS_PER_SECOND / 100) {
        ticks.tick().await;
        let message = |number: &usize| tape::message(&nth_tick(*number, SYMBOLS[number % SYMBOLS.len()]));
        let messages: Vec<OutboundMessage> = part.iter().map(message).collect();
        broker.publish(&messages).await.expect("published");
    }
}

/// Returns the position of each tick that the stream has.
async fn stored(system: &System) -> Vec<Position> {
    let broker = system.broker().await;
    let messages: Vec<_> =
        stream_scan::messages(&broker, "TICKS", ..).await.expect("a stream").try_collect().await.expect("messages");
    let ticks = messages.iter().flat_map(|message| {
        let page: TickPage = message.event().expect("a page");
        (0..page.ticks.len() as u64).map(move |index| (message.sequence, index))
    });
    ticks.collect()
}

/// The channels that show what belongs to a user.
const PRIVATE: &str = "firings,orders,trades,deliveries";
const ADA: &str = "ada@example.com";
const BOB: &str = "bob@example.com";
const TIMEOUT: Duration = Duration::from_secs(60);

#[tokio::test]
async fn a_user_gets_what_is_theirs_and_nothing_of_others() {
    let mut system = System::with(&[("TICKBELL_GATEWAY__STREAM__MAX_CLIENTS_EACH", "50")]).await;
    let api = &system.api;
    let mut tokens = Vec::new();
    for email in [ADA, BOB] {
        system.sign_up(email).await;
        system.run(&["accounts", "deposit", email, "10000", "USD"]).await;
        tokens.push(api.sign_in(email).await);
    }
    let [ada, bob] = [&tokens[0], &tokens[1]];
    refusals(api, ada).await;
    let alert = json!({ "symbol": "BTC-USD", "condition": {"price": {"above": "200"}}, "repeat": "every" });
    let alert: Value = api.call_with(ada, Method::POST, "/v1/alerts", &alert).await.expect_status(201).json();
    let (alert_id, manage) = (text(&alert, "id"), text(&alert, "manage_token"));
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:01", "100"))]).await;
    system.wait_until_processed().await;
    let alerts_key = api.create_api_key(ada, &["alerts"]).await;
    let ticket = api.call(ada, Method::POST, "/v1/stream-tickets").await.expect_status(201);
    let ticket = text(&ticket.json(), "ticket");
    let forged = format!("{}{}", if ticket.starts_with('B') { "C" } else { "B" }, &ticket[1..]);
    let refused = api.get(&format!("/v1/stream?channels=firings&ticket={forged}")).await;
    assert_eq!(refused.status, 401, "{}", refused.text);

    let act = async {
        system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:02", "300"))]).await;
        for (token, side) in [(ada, "buy"), (bob, "buy")] {
            let order = json!({ "symbol": "BTC-USD", "side": side, "type": "market", "size": "1" });
            let order =
                api.request(Method::POST, "/v1/orders").bearer_auth(token).header("prefer", "wait=9").json(&order);
            Api::send(order).await.expect_status(200);
        }
    };
    // Each waits for its last event; those of Bob come behind those of Ada.
    let sees = |transport, query: Vec<(&'static str, String)>, token: Option<&str>, last: &'static str| {
        let (base, token) = (api.base().to_owned(), token.map(str::to_owned));
        async move {
            let query: Vec<(&str, &str)> = query.iter().map(|(name, value)| (*name, value.as_str())).collect();
            // The trade comes before the status.
            let is_last = |received: &Received| {
                received.channel == last && (last != "orders" || received.data["status"] == "filled")
            };
            let events = read(transport, &base, (&query, token.as_deref()), Some("earliest"), 1_000_000, is_last);
            timeout(TIMEOUT, events).await.expect("the last event comes")
        }
    };
    let all = || vec![("channels", PRIVATE.to_owned())];
    let with = |name, value: &str| vec![("channels", "firings".to_owned()), (name, value.to_owned())];
    let (hers, hers_too, by_ticket, by_manage_token, by_key, delivered, his, his_too, ()) = tokio::join!(
        sees(Transport::Sse, all(), Some(ada), "orders"),
        sees(Transport::WebSocket, all(), Some(ada), "orders"),
        sees(Transport::Sse, with("ticket", &ticket), None, "firings"),
        sees(Transport::Sse, with("alert", &alert_id), Some(&manage), "firings"),
        sees(Transport::WebSocket, with("conflate", "none"), Some(&alerts_key), "firings"),
        sees(Transport::Sse, vec![("channels", "deliveries".to_owned())], Some(ada), "deliveries"),
        sees(Transport::Sse, all(), Some(bob), "orders"),
        sees(Transport::WebSocket, all(), Some(bob), "orders"),
        act
    );
    for events in [&hers, &hers_too] {
        assert!(events.iter().any(|event| event.channel == "orders" && event.data["status"] == "filled"), "{events:?}");
        assert!(events.iter().any(|event| event.channel == "trades"), "{events:?}");
    }
    for events in [&by_ticket, &by_manage_token, &by_key] {
        let firing = events.iter().find(|event| event.channel == "firings").expect("a firing");
        assert_eq!((&firing.data["rule_id"], &firing.data["price"]), (&json!(alert_id), &json!("300")));
    }
    let about = text(&delivered.last().expect("a delivery").data, "about");
    let placed = text(&hers.last().expect("an order").data, "id");
    assert!(about.starts_with(&alert_id) || about.starts_with(&placed), "{about}");
    let trades: Value = api.call(bob, Method::GET, "/v1/trades").await.expect_status(200).json();
    let order = &trades["items"][0]["order_id"];
    for events in [&his, &his_too] {
        assert!(events.iter().all(|event| event.channel != "firings"), "{events:?}");
        for event in events.iter().filter(|event| event.channel == "orders") {
            assert_eq!(&event.data["id"], order);
        }
        let deliveries = events.iter().filter(|event| event.channel == "deliveries");
        assert!(deliveries.into_iter().all(|event| !text(&event.data, "about").starts_with(&alert_id)), "{events:?}");
        let shown = events.iter().find(|event| event.channel == "trades").map(|event| &event.data);
        assert_eq!(shown, Some(&trades["items"][0]), "the JSON of the list");
    }
    a_session_that_ends_ends_its_streams(&system, ada).await;
    system.stop().await;
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")).to_owned()
}

async fn refusals(api: &Api, ada: &str) {
    let read_key = api.create_api_key(ada, &["read"]).await;
    for (path, token, status) in [
        ("/v1/stream?channels=orders", None, 401),
        ("/v1/stream?channels=orders", Some("tbs_AAAA"), 401),
        ("/v1/stream?channels=prices", Some("tbs_AAAA"), 401),
        ("/v1/stream?channels=firings", Some(read_key.as_str()), 403),
        ("/v1/stream?channels=orders", Some(read_key.as_str()), 200),
        ("/v1/stream?channels=orders", Some(ada), 200),
        ("/v1/stream?channels=nothing", None, 422),
        ("/v1/stream?symbols=btc", None, 422),
        ("/v1/stream?conflate=some", None, 422),
        ("/v1/stream?colour=red", None, 422),
        ("/v1/stream?last_event_id=of-another-version", None, 200),
        ("/v1/stream?alert=00000000-0000-7000-8000-000000000000&channels=firings", Some("x"), 404),
        ("/v1/ws", None, 426),
        ("/v1/ws", Some("tbs_AAAA"), 401),
    ] {
        let mut request = api.request(Method::GET, path);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let answer = Api::send(request).await;
        assert_eq!(answer.status, status, "{path}: {}", answer.text);
    }
}

/// Bob's trade after Ada has signed out does not keep her stream open: her next event ends it.
async fn a_session_that_ends_ends_its_streams(system: &System, ada: &str) {
    let api = &system.api;
    let query = [("channels", "orders")];
    let reading = async {
        let is_end = |received: &Received| received.channel == "end";
        timeout(TIMEOUT, read(Transport::Sse, api.base(), (&query, Some(ada)), None, 1_000_000, is_end)).await
    };
    let acting = async {
        let open = async || (metric(api).await > 0).then_some(());
        e2e::wait_until("the stream is open", TIMEOUT, open).await;
        // Placed before, and decided after she has signed out.
        let order = json!({ "symbol": "BTC-USD", "side": "buy", "type": "limit", "size": "1", "price": "50" });
        let order: Value = api.call_with(ada, Method::POST, "/v1/orders", &order).await.expect_status(202).json();
        system.wait_until_processed().await;
        api.call(ada, Method::DELETE, "/v1/sessions/current").await.expect_status(204);
        system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:03", "40"))]).await;
        order
    };
    let (events, order) = tokio::join!(reading, acting);
    let events = events.expect("the stream ends");
    let statuses: Vec<_> = events.iter().filter(|event| event.data["id"] == order["id"]).collect();
    assert!(statuses.iter().all(|event| event.data["status"] == "open"), "{statuses:?}");
    let end = events.last().expect("the end");
    assert_eq!((&end.data["reason"], &end.data["reconnect"]), (&json!("unauthorized"), &json!(false)));
}

async fn metric(api: &Api) -> u64 {
    let text = api.get("/metrics").await.expect_status(200).text;
    let lines = text.lines().filter_map(|line| line.strip_prefix("tickbell_stream_clients{transport=\"sse\"}"));
    lines.filter_map(|value| value.trim().parse::<u64>().ok()).sum()
}

#[tokio::test]
async fn a_terminal_shows_prices_as_they_come() {
    let mut system = System::start().await;
    let watching = timeout(TIMEOUT, system.run(&["watch", "--json", "--every", "--count", "3", "ETH-USD"]));
    let shown = tokio::select! {
        output = watching => output.expect("three prices"),
        () = publish_ticks(&system, 0..TICKS_PER_SECOND * 60) => panic!("nothing was shown"),
    };
    assert!(shown.status.success(), "{shown:?}");
    let lines = String::from_utf8(shown.stdout).expect("UTF-8");
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let positions: Vec<Position> = lines.iter().map(|line| position(&line["data"])).collect();
    assert!(lines.iter().all(|line| line["data"]["symbol"] == "ETH-USD"), "{lines:?}");
    // Of the three symbols each has every third tick.
    assert!(positions.len() == 3 && positions.windows(2).all(|pair| pair[1].0 == pair[0].0 + 3), "{positions:?}");
    system.stop().await;
}
