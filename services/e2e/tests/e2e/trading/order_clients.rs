//! Orders that are not placed through `POST /v1/orders`: those of alerts, and those of the command line.

use e2e::System;
use reqwest::Method;
use serde_json::{Value, json};

use super::trader::{ADA, Trader, move_to, path};

#[tokio::test]
async fn an_alert_triggers_its_order_once_and_a_deleted_alert_cancels_it() {
    let system = System::with(&[("TICKBELL_GATEWAY__ORDERS_FROM_ALERTS", "on")]).await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    move_to(&system, "00:00:00", "7000").await;
    let rule = |limit: &str| {
        json!({ "symbol": "BTC-USD", "condition": { "price": { "below": limit } }, "notify": { "email": ADA },
                "then": { "order": { "side": "buy", "type": "market", "funds": "100.00" } } })
    };
    let anonymous: Value = system.api.post("/v1/alerts", &rule("6500")).await.expect_status(422).json();
    assert_eq!(anonymous["errors"][0]["pointer"], "/then");
    let alerts_key = system.api.create_api_key(&ada.token, &["alerts"]).await;
    system.api.call_with(&alerts_key, Method::POST, "/v1/alerts", &rule("6500")).await.expect_status(403);

    let create = async |limit: &str| {
        let created = system.api.call_with(&ada.token, Method::POST, "/v1/alerts", &rule(limit)).await;
        let alert: Value = created.expect_status(201).json();
        ada.wait_for_status(&alert["order"], "open").await;
        alert
    };
    let (firing, deleted) = (create("6500").await, create("6000").await);
    assert_eq!(ada.balance("USD").await, ["800.00", "200.00"]);
    let alert_path = |alert: &Value| format!("/v1/alerts/{}", alert["id"].as_str().expect("an id"));
    system.api.call(&ada.token, Method::DELETE, &alert_path(&deleted)).await.expect_status(204);
    ada.wait_for_status(&deleted["order"], "cancelled").await;

    for (time, price) in [("00:01:00", "6400"), ("00:02:00", "6600"), ("00:03:00", "5900")] {
        move_to(&system, time, price).await;
    }
    let filled = ada.wait_for_status(&firing["order"], "filled").await;
    assert_eq!(filled["alert_id"], firing["id"]);
    assert_eq!(ada.look(&alert_path(&firing)).await["order"]["status"], "filled");
    assert_eq!(ada.look("/v1/trades").await["items"].as_array().map(Vec::len), Some(1), "once");

    // Once placed, the order no longer depends on its alert, which may be deleted.
    let mut limit_alert = rule("5950");
    limit_alert["condition"] = json!({ "price": { "above": "5950" } });
    limit_alert["repeat"] = "once".into();
    limit_alert["then"]["order"] = json!({ "side": "buy", "type": "limit", "size": "0.01", "price": "5000" });
    let limit_alert: Value =
        system.api.call_with(&ada.token, Method::POST, "/v1/alerts", &limit_alert).await.expect_status(201).json();
    ada.wait_for_status(&limit_alert["order"], "open").await;
    move_to(&system, "00:04:00", "5960").await;
    assert_eq!(
        system.api.call(&ada.token, Method::GET, &alert_path(&limit_alert)).await.json::<Value>()["status"],
        "done"
    );
    system.api.call(&ada.token, Method::DELETE, &alert_path(&limit_alert)).await.expect_status(204);
    system.wait_until_processed().await;
    assert_eq!(ada.look(&path(&limit_alert["order"])).await["status"], "open");
    move_to(&system, "00:05:00", "4990").await;
    ada.wait_for_status(&limit_alert["order"], "filled").await;
}

#[tokio::test]
async fn the_command_line_places_lists_and_cancels_orders() {
    let system = System::start().await;
    let ada = Trader::with(&system, ADA, "1000.00").await;
    move_to(&system, "00:00:00", "7000").await;
    let key = system.api.create_api_key(&ada.token, &["read", "trade"]).await;
    let run = async |line: &str, status: i32| {
        let mut command = tokio::process::Command::from(system.tickbell());
        command.args(line.split(' ')).env("TICKBELL_CLIENT__API_KEY", &key).kill_on_drop(true);
        let output = command.output().await.expect("the program runs");
        assert_eq!(output.status.code(), Some(status), "{line}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
    };
    let placed = run("orders place BTC-USD buy limit --size 0.1 --price 6900 --json", 0).await;
    let order: Value = serde_json::from_str(&placed).expect("an order");
    assert_eq!(order["status"], "open");
    let id = order["id"].as_str().expect("an id");
    assert!(run("accounts show", 0).await.contains("USD    309.31     690.69  1000.00"));
    assert!(run("orders list --status open", 0).await.contains(id));
    assert!(run(&format!("orders show {id}"), 0).await.contains("690.69"));
    assert!(run(&format!("orders cancel {id} --wait 9"), 0).await.contains("cancelled"));
    assert!(run(&format!("orders cancel {id}"), 1).await.contains("cannot be cancelled"));
    assert!(run("orders place BTC-USD sell market --size 1 --wait 9", 1).await.contains("insufficient_funds"));
    assert!(run("orders place BTC-USD buy market", 1).await.contains("/size"));
    let keyless = system.run(&["orders", "list"]).await;
    assert_eq!(keyless.status.code(), Some(64), "{keyless:?}");

    let deposit = async |line: &str| system.run(&line.split(' ').collect::<Vec<_>>()).await;
    for _ in 0..2 {
        let done = deposit("accounts deposit ada@example.com 5.00 USD --reference five").await;
        assert!(String::from_utf8_lossy(&done.stdout).contains("now has 1005.00 USD"), "{done:?}");
    }
    for refused in [
        "accounts deposit ada@example.com 6.00 USD --reference five",
        "accounts deposit ada@example.com 5.001 USD",
        "accounts deposit eve@example.com 5.00 USD",
        "accounts deposit ada@example.com 5.00 NEW",
    ] {
        assert_eq!(deposit(refused).await.status.code(), Some(1), "{refused}");
    }
    assert_eq!(deposit("accounts asset NEW 3").await.status.code(), Some(0));
    assert_eq!(deposit("accounts asset NEW 4").await.status.code(), Some(1), "the scale of an asset cannot be changed");
    let done = deposit("accounts deposit ada@example.com 5.001 NEW").await;
    assert!(String::from_utf8_lossy(&done.stdout).contains("now has 5.001 NEW"), "{done:?}");
}
