//! Messages that the broker loses between the commit of their cause and their consumer are published again.

use std::time::Duration;

use e2e::{Database, Servers, System, process::free_address, tape, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

const EMAIL: &str = "ada@example.com";
const WAIT: Duration = Duration::from_secs(60);
/// As if the rows were older than three minutes: younger ones may be on their way.
const AGE: &str = "
    UPDATE rules SET updated_at = updated_at - interval '4 minutes';
    UPDATE orders SET placed_at = placed_at - interval '4 minutes';
    UPDATE firings SET saved_at = saved_at - interval '4 minutes'";

/// Runs a command and returns its status and the lines that it has written.
async fn run(system: &System, servers: &Servers, arguments: &[&str]) -> (Option<i32>, Vec<String>) {
    // Each has a log of its own.
    let name = format!("command-{}", free_address().port());
    let mut process = servers.spawn(system, &name, arguments);
    let status = process.wait(WAIT).await;
    (status.code(), process.log().lines().map(str::to_owned).collect())
}

/// Runs `tickbell streams republish` and returns the kinds of which there was something, with their numbers.
async fn republish(system: &System, servers: &Servers, arguments: &[&str]) -> Vec<String> {
    let (status, mut lines) = run(system, servers, &[&["streams", "republish"], arguments].concat()).await;
    assert_eq!(status, Some(0), "{lines:?}");
    lines.retain(|line| !line.contains(": 0 "));
    lines
}

/// Loses some streams, once everything is published, and creates them anew: the broker forgets its duplicate window too.
async fn lose(system: &System, database: &Database, servers: &Servers, streams: &[&str]) {
    let published = async || (database.value("SELECT count(*) FROM outbox") == "0").then_some(());
    wait_until("everything is published", WAIT, published).await;
    for stream in streams {
        servers.request_broker(&format!("$JS.API.STREAM.DELETE.{stream}"));
    }
    assert_eq!(run(system, servers, &["streams", "apply"]).await.0, Some(0));
}

async fn wait_for(database: &Database, what: &str, query: &str, expected: &str) {
    let found = async || (database.value(query) == expected).then_some(());
    wait_until(what, WAIT, found).await;
}

#[tokio::test]
async fn what_the_broker_lost_is_published_again_and_applied_once() {
    let mut system = System::start().await;
    system.sign_up(EMAIL).await;
    let token = system.api.sign_in(EMAIL).await;
    assert!(system.run(&["accounts", "deposit", EMAIL, "1000", "USD"]).await.status.success());
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:00", "100"))]).await;
    system.wait_until_processed().await;
    let broker = system.broker().await;
    let database = Database::of(&system);
    let servers = Servers::take_over(&mut system, &[]).await;
    let start = |name: &str| servers.start(&system, name, &[name]);
    let rule = |above: &str| json!({ "symbol": "BTC-USD", "condition": { "price": { "above": above } }, "notify": { "email": EMAIL } });

    // No consumer runs: what the gateway accepts is in the streams and has been read by nobody.
    let gateway = start("gateway");
    gateway.wait_until_ready().await;
    let alert = gateway.api.subscribe(rule("150")).await;
    let order = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": "1" });
    let order: Value = gateway.api.call_with(&token, Method::POST, "/v1/orders", &order).await.json();
    lose(&system, &database, &servers, &["RULES", "ORDERS"]).await;
    gateway.stop().await;
    assert_eq!(republish(&system, &servers, &["--dry-run"]).await, [""; 0], "what is young may be on its way");
    database.value(AGE);
    let lost = ["orders: 1 lost", "rules: 1 lost"];
    assert_eq!(republish(&system, &servers, &["--dry-run"]).await, lost);
    let only_orders = ["--only", "orders"];
    assert_eq!(republish(&system, &servers, &only_orders).await, ["orders: 1 published again"]);
    // Where the stream itself stays, the broker refuses the id for two minutes, and the command says so.
    servers.request_broker("$JS.API.STREAM.PURGE.ORDERS");
    let (status, lines) = run(&system, &servers, &[&["streams", "republish"][..], &only_orders].concat()).await;
    assert!(status == Some(1) && lines[1].contains("refused 1"), "{lines:?}");
    lose(&system, &database, &servers, &["ORDERS"]).await;
    assert_eq!(republish(&system, &servers, &only_orders).await, ["orders: 1 published again"]);
    assert_eq!(republish(&system, &servers, &[]).await, ["rules: 1 published again"]);
    assert_eq!(republish(&system, &servers, &[]).await, [""; 0], "they are in the streams again");
    let engine = start("alert-engine");
    let _settler = start("trade-settler");
    let id = order["id"].as_str().expect("an id");
    let status = format!("SELECT status FROM order_states WHERE order_id = '{id}'");
    wait_for(&database, "the order is settled", &status, "filled").await;
    let followed = format!("SELECT status FROM rule_states WHERE rule_id = '{}'", alert.id);
    wait_for(&database, "the rule is followed", &followed, "active").await;

    // No notifier runs: the firing and the trade are in their streams.
    broker.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:01:00", "160"))]).await.expect("it is stored");
    let fired = format!("SELECT count(*) FROM firings WHERE rule_id = '{}'", alert.id);
    wait_for(&database, "the rule has fired", &fired, "1").await;
    lose(&system, &database, &servers, &["ALERTS"]).await;
    database.value(AGE);
    assert_eq!(republish(&system, &servers, &[]).await, ["firings: 1 published again"]);
    let _notifier = start("notifier");
    wait_until("both mails are sent", WAIT, async || (system.mails().len() >= 2).then_some(())).await;
    assert_eq!(republish(&system, &servers, &[]).await, [""; 0]);
    let mut subjects: Vec<_> = system.mails().into_iter().map(|mail| mail.subject).collect();
    subjects.sort();
    assert_eq!(subjects, ["BTC-USD above 150: now 160", "Bought 1.00 BTC at 100.05 USD"], "one mail each");
    assert_eq!(database.value("SELECT count(*) FROM trades"), "1");

    // A lost rule is published again without the command.
    engine.stop().await;
    let gateway = start("gateway");
    gateway.wait_until_ready().await;
    let alert = gateway.api.subscribe(rule("250")).await;
    lose(&system, &database, &servers, &["RULES"]).await;
    gateway.stop().await;
    database.value(AGE);
    let _engine = start("alert-engine");
    let gateway = start("gateway");
    let followed = format!("SELECT status FROM rule_states WHERE rule_id = '{}'", alert.id);
    wait_for(&database, "the rule is followed", &followed, "active").await;
    let metrics = gateway.admin.get("/metrics").await.expect_status(200).text;
    assert!(metrics.contains("tickbell_events_republished_total{kind=\"rules\"} 1"), "{metrics}");
}
