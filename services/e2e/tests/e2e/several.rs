//! Services as processes of their own, two of each, on servers that nobody's `up` owns.

use std::time::Duration;

use e2e::{Door, Process, Servers, System, until};
use reqwest::Method;
use serde_json::json;

use crate::replay;

const START: Duration = Duration::from_secs(30);
/// A lock is free when its holder's connection is found broken, and asked for twice a second.
const TAKE_OVER: Duration = Duration::from_secs(15);

fn works(process: &Process) -> bool {
    process.log().contains("doing the work")
}

/// The one of two that does the work, and the one that stands by.
async fn by_work(what: &str, pair: [Process; 2]) -> (Process, Process) {
    let settled = async || (pair.iter().any(works) && pair.iter().any(stands_by)).then_some(());
    until(&format!("one {what} works and the other stands by"), START, settled).await;
    let [one, other] = pair;
    if works(&one) { (one, other) } else { (other, one) }
}

fn stands_by(process: &Process) -> bool {
    process.log().contains("standing by")
}

#[tokio::test]
async fn two_of_every_service_work_as_one_and_the_second_takes_over() {
    replay::undisturbed().await;
    let mut system = System::start().await;
    let servers = Servers::take_over(&mut system, &[]).await;
    let start = |name: &str, arguments: &[&str]| servers.service(&system, name, arguments);
    let pair = |name: &str| ["one", "two"].map(|which| start(&format!("{name}-{which}"), &[name]));
    let _history = by_work("history-writer", pair("history-writer")).await;
    let _settlers = by_work("trade-settler", pair("trade-settler")).await;
    let (engine, standby) = by_work("alert-engine", pair("alert-engine")).await;
    let (notifier, other_notifier) = by_work("notifier", pair("notifier")).await;
    let gateways =
        ["one", "two"].map(|which| start(&format!("gateway-{which}"), &["gateway", "--http", "127.0.0.1:0"]));
    let [one, two] = [Door::Api.of(&gateways[0]).await, Door::Api.of(&gateways[1]).await];
    assert_ne!(one.base(), two.base());

    // A rule made at one gateway is there at the other.
    system.api = one;
    let paused = system.api.subscribe(json!({ "symbol": "BTC-USD", "condition": { "price": { "above": "1" } } })).await;
    let answer = two.manage(Method::PATCH, &paused, Some(json!({ "status": "paused" }))).await;
    answer.expect_status(200);
    assert_eq!(system.api.status_of(&paused).await, "paused");
    let alerts = replay::subscribe_at(&[&system.api, &two]).await;
    servers.until_processed(&system).await;

    let mut ingestor = replay::play_at(&system, servers.nats_url());
    until("some have fired", START, async || system.mails().get(4).cloned()).await;
    engine.kill();
    until("the standby takes over", TAKE_OVER, async || works(&standby).then_some(())).await;
    notifier.kill();
    until("the other notifier takes over", TAKE_OVER, async || works(&other_notifier).then_some(())).await;
    let status = ingestor.wait(Duration::from_secs(120)).await;
    assert!(status.success(), "the ingestor ended with {status}");
    servers.until_processed(&system).await;

    let outcome = replay::outcome(&system, &alerts).await;
    assert_eq!(&outcome, replay::undisturbed().await);
    replay::assert_told_once(&system.mails(), &alerts, &outcome);
    system.api = two;
    assert_eq!(&replay::outcome(&system, &alerts).await, replay::undisturbed().await, "both gateways say the same");
    assert_eq!(system.api.firings(&paused).await, []);
}
