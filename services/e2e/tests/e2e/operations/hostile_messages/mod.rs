//! Whatever somebody publishes to a stream, no service ends or stands still because of it.

mod mutations;

use std::time::Duration;

use e2e::{Alert, Api, Database, RawNats, Status, System, tape, wait_until};
use events::{
    AlertFired, DepositRequested, Event, OrderCancelRequested, OrderPlaced, OrderUpdated, RuleChanged, TickPage,
    TradeSettled, UserNoticed,
};
use futures::TryStreamExt;
use platform::broker::stream_scan;
use reqwest::Method;
use serde_json::{Value, json};

use self::mutations::{bodies, headers, mutations, subjects};

const ADA: &str = "ada@example.com";
/// How long the services may take for everything that is hostile.
const WORK: Duration = Duration::from_secs(240);

/// One class of event, with an event of it that the system itself has published.
struct Class {
    stream: &'static str,
    class: &'static str,
    subject: String,
    event: Value,
}

/// Returns the newest event of a class in a stream.
async fn newest<E: Event>(system: &System, stream: &'static str) -> Class {
    let broker = system.broker().await;
    let messages = stream_scan::messages(&broker, stream, ..).await.expect("a stream");
    let messages: Vec<_> = messages.try_collect().await.expect("messages");
    let newest = messages.iter().rev().find_map(|message| message.event::<E>().ok()).expect("an event of the class");
    let event = serde_json::to_value(&newest).expect("JSON");
    Class { stream, class: E::TYPE, subject: newest.subject(), event }
}

/// Lets the system publish an event of each class, and returns them.
async fn publish_every_class(system: &System, token: &str) -> Vec<Class> {
    subscribe(system, token, "BTC-USD", "99").await;
    system.wait_until_processed().await;
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:00", "100"))]).await;
    system.wait_until_processed().await;
    place(system, token, &json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "0.1" })).await;
    let open = json!({ "symbol": "BTC-USD", "side": "buy", "type": "limit", "size": "0.1", "price": "1" });
    let open = place(system, token, &open).await;
    let path = format!("/v1/orders/{}", open["id"].as_str().expect("an id"));
    system.api.call(token, Method::DELETE, &path).await;
    system.wait_until_processed().await;
    vec![
        newest::<TickPage>(system, "TICKS").await,
        newest::<RuleChanged>(system, "RULES").await,
        newest::<AlertFired>(system, "ALERTS").await,
        newest::<OrderPlaced>(system, "ORDERS").await,
        newest::<OrderCancelRequested>(system, "ORDERS").await,
        newest::<DepositRequested>(system, "ORDERS").await,
        newest::<TradeSettled>(system, "TRADES").await,
        newest::<OrderUpdated>(system, "TRADES").await,
        newest::<UserNoticed>(system, "USERS").await,
    ]
}

async fn subscribe(system: &System, token: &str, symbol: &str, above: &str) -> Alert {
    let alert = json!({ "symbol": symbol, "condition": { "price": { "above": above } } });
    system.api.call_with(token, Method::POST, "/v1/alerts", &alert).await.expect_status(201).json()
}

async fn place(system: &System, token: &str, order: &Value) -> Value {
    let request = system.api.request(Method::POST, "/v1/orders").bearer_auth(token).json(order);
    Api::send(request.header("prefer", "wait=9")).await.json()
}

/// Publishes everything that is hostile to one class, and returns the number of messages.
async fn attack(nats: &mut RawNats, class: &Class, others: &[Class]) -> usize {
    let mut published = 0;
    let of_class =
        |number: usize| format!("ce-type: {}\r\nNats-Msg-Id: hostile-{}-{number}\r\n", class.class, class.class);
    let valid = class.event.to_string();
    for body in bodies().into_iter().chain(mutations(&class.event)) {
        nats.publish(class.subject.as_bytes(), Some(of_class(published).as_bytes()), &body).await;
        published += 1;
    }
    for other in others {
        let headers = format!("ce-type: {}\r\nce-id: other\r\n", other.class);
        nats.publish(class.subject.as_bytes(), Some(headers.as_bytes()), other.event.to_string().as_bytes()).await;
        nats.publish(
            class.subject.as_bytes(),
            Some(of_class(published).as_bytes()),
            other.event.to_string().as_bytes(),
        )
        .await;
        published += 2;
    }
    nats.publish(class.subject.as_bytes(), None, valid.as_bytes()).await;
    for headers in headers(class.class) {
        nats.publish(class.subject.as_bytes(), Some(&headers), valid.as_bytes()).await;
        published += 1;
    }
    let first = class.subject.split('.').next().expect("a token");
    for subject in subjects(first) {
        nats.publish(&subject, Some(of_class(published).as_bytes()), valid.as_bytes()).await;
        published += 1;
    }
    nats.flush().await;
    published
}

/// Checks that every service works: a tick is stored and fires a rule that is new, its mail is sent, an order is settled, and
/// its owner and a new user are notified.
async fn assert_all_work(system: &System, token: &str, symbol: &str, user: &str) {
    let alert = subscribe(system, token, symbol, "50").await;
    system.wait_until_processed().await;
    system.publish(&[tape::message(&tape::tick("canary", symbol, "23:00:00", "60"))]).await;
    wait_until("the tick fires the new rule", WORK, async || {
        (system.api.firings(&alert).await.len() == 1).then_some(())
    })
    .await;
    assert_eq!(system.api.history(symbol, "asc", 10).await.len(), 1);
    let order = json!({ "symbol": symbol, "venue": "canary", "side": "buy", "type": "market", "size": "0.1" });
    let order = place(system, token, &order).await;
    assert_eq!(order["status"], "filled", "{order}");
    system.sign_up(user).await;
    system.wait_until_processed().await;
    let (base, _) = symbol.split_once('-').expect("a pair");
    let mails = system.mails();
    for (to, subject) in [(ADA, symbol), (ADA, &format!("Bought 0.10 {base}")), (user, "Confirm your")] {
        let is_there = mails.iter().any(|mail| mail.to == to && mail.subject.starts_with(subject));
        let subjects = || mails.iter().map(|mail| &mail.subject).collect::<Vec<_>>();
        assert!(is_there, "no mail {subject:?} to {to} among {:?}", subjects());
    }
}

#[tokio::test]
async fn no_message_ends_or_stops_a_service() {
    let mut system = System::with(&[("TICKBELL_GATEWAY__CONFIRMATION", "required")]).await;
    system.sign_up(ADA).await;
    let token = system.api.sign_in(ADA).await;
    let deposit = system.run(&["accounts", "deposit", ADA, "10000", "USD"]).await;
    assert!(deposit.status.success(), "{deposit:?}");
    let classes = publish_every_class(&system, &token).await;

    let mut nats = RawNats::connect(&system.named("NATS_URL").expect("a URL")).await;
    let mut published = 0;
    for class in &classes {
        let others: Vec<Class> = classes.iter().filter(|other| other.class != class.class).map(Class::copy).collect();
        published += attack(&mut nats, class, &others).await;
        let settled = async || system.status().await.filter(Status::is_done);
        wait_until(&format!("the services are behind what is hostile to {}", class.class), WORK, settled).await;
    }
    for subject in ["deliveries.email.x", "dlq.notifier"] {
        for body in bodies() {
            nats.publish(subject.as_bytes(), None, &body).await;
            published += 1;
        }
    }
    nats.flush().await;
    assert!(published > 2_000, "{published} hostile messages");

    assert_all_work(&system, &token, "ETH-USD", "eve@example.com").await;
    assert_dead_letters(&system).await;
    let verified = system.run(&["ledger", "verify"]).await;
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    let errors: Vec<String> =
        system.logged_errors().into_iter().filter(|line| !line.contains("delivery failed")).collect();
    assert!(errors.is_empty(), "{errors:#?}");

    // What was saved can be restored.
    system.stop().await;
    system.up().await;
    assert_all_work(&system, &token, "SOL-USD", "bob@example.com").await;
    system.stop().await;
}

/// Checks that each stream has dead letters with a reason, and that they can be listed.
async fn assert_dead_letters(system: &System) {
    let output = system.run(&["dlq", "list", "--json"]).await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let dead_letters: Vec<&Value> =
        list["items"].as_array().expect("items").iter().filter_map(|item| item.get("dead_letter")).collect();
    for stream in ["TICKS", "RULES", "ALERTS", "ORDERS", "TRADES", "USERS"] {
        let of_stream = dead_letters.iter().filter(|dead_letter| dead_letter["stream"] == stream).count();
        assert!(of_stream > 50, "{of_stream} dead letters of {stream}");
    }
    let reasons = || dead_letters.iter().map(|dead_letter| dead_letter["reason"].as_str().expect("a reason"));
    assert!(reasons().all(|reason| !reason.is_empty() && reason.len() < 2_000), "a reason is a sentence");
    let saved: usize = Database::of(system).value("SELECT count(*) FROM dead_letters").parse().expect("a number");
    assert_eq!(saved, dead_letters.len(), "each that is saved is published");
}

impl Class {
    fn copy(&self) -> Self {
        Self { stream: self.stream, class: self.class, subject: self.subject.clone(), event: self.event.clone() }
    }
}
