//! What the messages of `testdata/bitstamp` mean.

use super::Bitstamp;
use crate::sources::exchange::shown;

const LIVE: &str = include_str!("../../../../testdata/bitstamp/live.ndjson");
const PRODUCTS: &str = include_str!("../../../../testdata/bitstamp/products.json");
const TRADES: &str = include_str!("../../../../testdata/bitstamp/trades.json");

#[test]
fn live_messages_are_decoded() {
    let expected = [
        "subscribed: btcusd",
        "skipped",
        "trades: [btcusd 178095037 36300.10 x 0.10000000 2021-05-28T17:06:00.123456Z]",
        "trades: [btcusd 178095038 36300 x 0.00000001 2021-05-28T17:06:01.000000Z]",
        "error: shape",
        "skipped",
        "heartbeat",
        "closing: bts:request_reconnect",
        "refused xyzusd: Bad subscription string. (code 4006)",
        "refused: Incorrect JSON format.",
        "error: its microtimestamp is \"now\": must be a whole number of units since 1970",
    ];
    assert_eq!(shown::lines(&Bitstamp, LIVE), expected);
}

#[test]
fn a_trade_has_one_id_live_and_past_as_a_number_and_as_text() {
    for id in ["123", r#""123""#, r#""0123""#, r#""+123""#] {
        let live = format!(
            r#"{{"data":{{"id":{id},"amount_str":"1","price_str":"2","microtimestamp":"1622221560123456"}},"channel":"live_trades_btcusd","event":"trade"}}"#
        );
        let past = format!(r#"[{{"date":"1622221560","tid":{id},"amount":"1","type":"0","price":"2"}}]"#);
        assert_eq!(shown::lines(&Bitstamp, &live), ["trades: [btcusd 123 2 x 1 2021-05-28T17:06:00.123456Z]"], "{id}");
        assert_eq!(
            shown::page(&Bitstamp, PRODUCTS, &past),
            ["[btcusd 123 2 x 1 2021-05-28T17:06:00.000000Z]", "end"],
            "{id}"
        );
    }
    let zero = r#"{"data":{"id":0,"amount_str":"1","price_str":"2","microtimestamp":"1622221560123456"},"channel":"live_trades_btcusd","event":"trade"}"#;
    assert_eq!(shown::lines(&Bitstamp, zero), ["trades: [btcusd 0 2 x 1 2021-05-28T17:06:00.123456Z]"]);
}

#[test]
fn products_and_past_trades_are_decoded() {
    assert_eq!(shown::products(&Bitstamp, PRODUCTS), ["btcusd btcusd BTC-USD"]);
    assert_eq!(
        shown::page(&Bitstamp, PRODUCTS, TRADES),
        [
            "[btcusd 178095037 36300.10 x 0.10000000 2021-05-28T17:06:00.000000Z]",
            "[btcusd 178095038 36300 x 0.00000001 2021-05-28T17:06:01.000000Z]",
            "end"
        ]
    );
}

#[test]
fn requests_are_written_as_documented() {
    assert_eq!(
        shown::subscription(&Bitstamp, ["A", "B"]),
        [
            "{\"data\":{\"channel\":\"live_trades_A\"},\"event\":\"bts:subscribe\"}",
            "{\"data\":{\"channel\":\"live_trades_B\"},\"event\":\"bts:subscribe\"}"
        ]
    );
    assert_eq!(
        shown::queries(&Bitstamp, PRODUCTS),
        ["/api/v2/transactions/btcusd/?time=hour", "/api/v2/transactions/btcusd/?time=hour"]
    );
}
