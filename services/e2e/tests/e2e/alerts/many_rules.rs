//! Thousands of rules, and how soon a rule takes effect.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use e2e::{Alert, System, tape, wait_until};
use futures::{StreamExt, stream};
use serde_json::json;

/// Fewer in a debug build, which is several times slower.
const RULES: usize = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
const CONNECTIONS: usize = 32;
/// The longest time from a rule's 201 until it is in effect, on a busy machine.
const EFFECT: Duration = Duration::from_secs(5);

async fn subscribe(system: &System, symbol: &str, number: usize) -> Alert {
    let email = format!("reader-{number}@example.com");
    let condition = json!({ "price": { "above": "100" } });
    system.api.subscribe(json!({ "symbol": symbol, "condition": condition, "notify": { "email": email } })).await
}

#[tokio::test]
async fn thousands_of_rules_created_in_a_row_all_fire() {
    let mut system = System::start().await;
    let began = Instant::now();
    let created =
        stream::iter(1..=RULES).map(|number| subscribe(&system, "BTC-USD", number)).buffer_unordered(CONNECTIONS);
    let alerts: Vec<Alert> = created.collect().await;
    eprintln!("{RULES} rules were created in {:?}", began.elapsed());
    a_rule_takes_effect_by_itself(&system).await;

    let began = Instant::now();
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:00", "100"))]).await;
    system.wait_until_processed().await;
    eprintln!("{RULES} mails were written {:?} after one tick", began.elapsed());
    for alert in alerts.iter().step_by(100) {
        assert_eq!(system.api.firings(alert).await.len(), 1);
    }
    let mails = system.mails();
    let recipients: BTreeSet<_> = mails.iter().map(|mail| mail.to.as_str()).collect();
    assert_eq!((recipients.len(), mails.len()), (RULES + 1, RULES + 1), "each recipient has one mail");
    system.stop().await;
}

/// A rule takes effect without further requests: prices are published on and on, and one of the next ones fires it.
async fn a_rule_takes_effect_by_itself(system: &System) {
    let broker = system.broker().await;
    let alert = subscribe(system, "ETH-USD", 0).await;
    let began = Instant::now();
    let mut second = 0;
    wait_until("the rule is in effect", EFFECT, async || {
        second += 1;
        let tick = tape::tick("test", "ETH-USD", &format!("00:{:02}:{:02}", second / 60, second % 60), "100");
        broker.publish(&[tape::message(&tick)]).await.expect("published");
        (!system.api.firings(&alert).await.is_empty()).then_some(())
    })
    .await;
    eprintln!("a rule was in effect {:?} after its 201", began.elapsed());
}
