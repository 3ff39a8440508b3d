//! The ledger refuses what the settler decides: the settler restores its state, and stops when that does not help.

use std::time::Duration;

use e2e::{Api, Database, System, wait_until};
use reqwest::Method;
use serde_json::{Value, json};

use super::trader::{ADA, Trader, metric, move_to};

const TIMEOUT: Duration = Duration::from_secs(30);

/// Places an order without waiting for the decision.
async fn request(ada: &Trader<'_>, size: &str) -> Value {
    let terms = json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "size": size });
    let request = ada.api.request(Method::POST, "/v1/orders").bearer_auth(&ada.token).json(&terms);
    Api::send(request).await.expect_status(202).json()
}

#[tokio::test]
async fn a_settler_that_the_ledger_refuses_twice_stops_and_says_so_while_all_else_goes_on() {
    let mut system = System::start().await;
    let database = Database::of(&system);
    let (token, path) = {
        let ada = Trader::with(&system, ADA, "1000.00").await;
        move_to(&system, "00:00:00", "100").await;
        // The memory of the settler has more than the ledger: it is restored, and the order is decided by what is there.
        database
            .value("SET session_replication_role = replica; UPDATE accounts SET balance = 5 WHERE kind = 'available'");
        let order = request(&ada, "1").await;
        let order = ada.wait_for_status(&order, "rejected").await;
        assert_eq!(order["reason"], "insufficient_funds");
        database.value(
            "SET session_replication_role = replica; UPDATE accounts SET balance = 1000 WHERE kind = 'available'",
        );

        // Nothing that the settler knows explains this.
        database.value("ALTER TABLE postings ADD CONSTRAINT never CHECK (id < 0) NOT VALID");
        let order = request(&ada, "0.01").await;
        wait_until("settling is stopped", TIMEOUT, async || {
            (metric(&system, "tickbell_settlement_stopped").await == 1).then_some(())
        })
        .await;
        let ready = system.api.get("/readyz").await;
        assert!(ready.status == 503 && ready.text.contains("settling is stopped"), "{}", ready.text);
        let path = format!("/v1/orders/{}", order["id"].as_str().expect("an id"));
        assert_eq!(ada.look(&path).await["status"], "received", "the API goes on");
        assert_eq!(database.value("SELECT count(*) FROM dead_letters"), "0", "money is never a dead letter");
        (ada.token.clone(), path)
    };
    database.value("ALTER TABLE postings DROP CONSTRAINT never");
    system.stop().await;
    system.up().await;
    system.wait_until_processed().await;
    let order: Value = system.api.call(&token, Method::GET, &path).await.expect_status(200).json();
    assert_eq!(order["status"], "filled", "{order}");
    system.stop().await;
}
