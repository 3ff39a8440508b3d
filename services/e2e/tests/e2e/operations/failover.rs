//! Two instances of every service as processes of their own, without `up`: a standby takes over from a killed leader.

use std::time::Duration;

use e2e::{Servers, Service, System, wait_until};
use reqwest::Method;
use serde_json::json;

use super::replay;

const START: Duration = Duration::from_secs(30);
/// PostgreSQL releases the leader lock when the connection ends, and a standby tries to take it twice a second.
const TAKE_OVER: Duration = Duration::from_secs(15);

/// Waits until one of two leads and the other stands by, and returns them in that order.
async fn leader_and_standby(what: &str, pair: [Service; 2]) -> (Service, Service) {
    let [one, other] = pair;
    wait_until(&format!("one {what} leads and the other stands by"), START, async || {
        let settled = one.leads().await && other.stands_by().await || other.leads().await && one.stands_by().await;
        settled.then_some(())
    })
    .await;
    if one.leads().await { (one, other) } else { (other, one) }
}

#[tokio::test]
async fn with_two_of_every_service_the_standby_takes_over_and_nothing_is_lost() {
    replay::undisturbed().await;
    let mut system = System::start().await;
    let servers = Servers::take_over(&mut system, &[]).await;
    let start = |name: &str, arguments: &[&str]| servers.start(&system, name, arguments);
    let pair = |name: &str| ["one", "two"].map(|which| start(&format!("{name}-{which}"), &[name]));
    let _history = leader_and_standby("history-writer", pair("history-writer")).await;
    let _settlers = leader_and_standby("trade-settler", pair("trade-settler")).await;
    let (engine, standby) = leader_and_standby("alert-engine", pair("alert-engine")).await;
    let (notifier, other_notifier) = leader_and_standby("notifier", pair("notifier")).await;
    let gateways = pair("gateway");
    for gateway in &gateways {
        gateway.wait_until_ready().await;
    }
    let [one, two] = gateways.each_ref().map(|gateway| gateway.api.clone());
    assert_ne!(one.base(), two.base());

    // A rule that is created at one gateway is known at the other.
    system.api = one;
    let paused = system.api.subscribe(json!({ "symbol": "BTC-USD", "condition": { "price": { "above": "1" } } })).await;
    let answer = two.manage(Method::PATCH, &paused, Some(json!({ "status": "paused" }))).await;
    answer.expect_status(200);
    assert_eq!(system.api.status_of(&paused).await, "paused");
    let alerts = replay::subscribe_at(&[&system.api, &two]).await;
    servers.wait_until_processed(&system).await;

    let mut ingestor = replay::play_at(&system, servers.nats_url());
    wait_until("some alerts have fired", START, async || system.mails().get(4).cloned()).await;
    engine.kill();
    wait_until("the standby takes over", TAKE_OVER, async || standby.leads().await.then_some(())).await;
    notifier.kill();
    wait_until("the other notifier takes over", TAKE_OVER, async || other_notifier.leads().await.then_some(())).await;
    let status = ingestor.wait(Duration::from_secs(120)).await;
    assert!(status.success(), "the ingestor ended with {status}");
    servers.wait_until_processed(&system).await;

    let outcome = replay::outcome(&system, &alerts).await;
    assert_eq!(&outcome, replay::undisturbed().await);
    replay::assert_notified_once(&system.mails(), &alerts, &outcome);
    system.api = two;
    assert_eq!(&replay::outcome(&system, &alerts).await, replay::undisturbed().await, "both gateways answer the same");
    assert_eq!(system.api.firings(&paused).await, []);
}
