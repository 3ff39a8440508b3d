//! Ten thousand rules, and how soon a rule takes effect.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use journeys::{Alert, System, tape, until};
use serde_json::json;

const RULES: usize = 10_000;
const CONNECTIONS: usize = 32;

async fn subscribe(system: &System, number: usize) -> Alert {
    let email = format!("reader-{number}@example.com");
    let condition = json!({ "price": { "above": "100" } });
    system.api.subscribe(json!({ "symbol": "BTC-USD", "condition": condition, "notify": { "email": email } })).await
}

#[tokio::test]
async fn ten_thousand_rules_made_in_a_row_all_ring() {
    let mut system = System::start().await;
    let began = Instant::now();
    let made = stream::iter(0..RULES).map(|number| subscribe(&system, number)).buffer_unordered(CONNECTIONS);
    let alerts: Vec<Alert> = made.collect().await;
    eprintln!("{RULES} rules were made in {:?}", began.elapsed());

    // No waiting: a rule whose 201 has been read takes effect within a second by itself.
    let began = Instant::now();
    let (first, last) = (&alerts[0], &alerts[RULES - 1]);
    let mut number = 0;
    until("the last rule rings", Duration::from_secs(20), async || {
        number += 1;
        let price = (100 + number).to_string();
        system.publish(&[tape::message(&tape::tick("test", "BTC-USD", "00:00:01", &price))]).await;
        let rings = system.api.firings(last).await.len();
        assert!(rings <= 1, "it is an edge");
        (rings == 1).then_some(())
    })
    .await;
    eprintln!("the last rule rang {:?} after its 201", began.elapsed());
    system.until_processed().await;
    assert_eq!(system.api.firings(first).await.len(), 1);
    let mails = until("everybody is told", Duration::from_secs(60), async || {
        Some(system.mails()).filter(|mails| mails.len() >= RULES)
    });
    let mut told: Vec<_> = mails.await.into_iter().map(|mail| mail.to).collect();
    told.sort();
    told.dedup();
    assert_eq!(told.len(), RULES, "each reader once");
    assert_eq!(system.mails().len(), RULES);
    system.stop().await;
}
