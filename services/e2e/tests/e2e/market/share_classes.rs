//! Classes of share, which are spelled like pairs elsewhere, and other spellings of pairs.

use e2e::System;
use serde_json::{Value, json};

const RECORDING: &str = "time,symbol,price,size
2024-01-02T00:00:00Z,BRK.B,410.10,1
2024-01-02T00:00:01Z,BRK-B,410.20,1
2024-01-02T00:00:02Z,BTC/USDT,42000,1
2024-01-02T00:00:03Z,BTC_USDT,42001,1
";

#[tokio::test]
async fn a_class_of_share_is_no_pair_and_other_spellings_of_a_pair_are_one() {
    let mut system = System::start().await;
    let above = |symbol: &str, price: &str| json!({ "symbol": symbol, "condition": { "price": { "above": price } } });
    let share = system.api.subscribe(above("BRK.B", "400")).await;
    let body = json!({ "symbol": "BTC/USDT", "email": "ada@example.com", "percent": "5" });
    let pair: Value = system.api.post("/v1/alerts", &body).await.expect_status(201).json();
    assert_eq!(pair["symbol"], "BTC-USDT");
    let mut body = above("BRK-B", "400");
    body["notify"] = json!({ "email": "ada@example.com" });
    for (answer, status) in
        [(system.api.post("/v1/alerts", &body).await, 422), (system.api.get("/v1/prices/BRK-B").await, 404)]
    {
        let refused = answer.expect_status(status).text;
        assert!(refused.contains("a class of share is written BRK.B"), "{refused}");
    }
    system.wait_until_processed().await;
    system.ingest(RECORDING, "test").await;
    system.wait_until_processed().await;

    let prices = async |symbol: &str| -> Vec<String> {
        system.api.history(symbol, "asc", 9).await.iter().map(|tick| tick.price.to_string()).collect()
    };
    assert_eq!(prices("BRK.B").await, ["410.10"], "the line that spells it as a pair is refused");
    for spelling in ["BTC-USDT", "BTC_USDT", "BTC%2FUSDT"] {
        assert_eq!(prices(spelling).await, ["42000", "42001"], "{spelling}");
    }
    assert_eq!(system.api.firings(&share).await.len(), 1);
    let mails = system.mails();
    let [mail] = mails.as_slice() else { panic!("{} mails", mails.len()) };
    assert_eq!(mail.subject, "BRK.B above 400: now 410.10");
    assert!(mail.text.contains("Price now:  410.10\n"), "no currency is invented: {}", mail.text);
    system.stop().await;
}
