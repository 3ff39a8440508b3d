//! What the messages of `testdata/coinbase` mean.

use super::Coinbase;
use crate::sources::exchange::shown;

const LIVE: &str = include_str!("../../../../testdata/coinbase/live.ndjson");
const PRODUCTS: &str = include_str!("../../../../testdata/coinbase/products.json");
const TRADES: &str = include_str!("../../../../testdata/coinbase/trades.json");

#[test]
fn live_messages_are_decoded() {
    let expected = [
        "subscribed: BTC-USD ETH-USD",
        "snapshot: [BTC-USD 10 400.23 x 5.23512 2014-11-07T08:19:27.028459Z]",
        "trades: [BTC-USD 11 400.2300000000 x 0.00000001 2014-11-07T08:19:28.400000Z]",
        "trades: [BTC-USD 12 ~0.000000000000000001 x 1 2014-11-07T08:19:29.000000Z]",
        "trades: [BTC-USD 13 400 x 1 2014-11-07T08:19:29.000000Z]",
        "heartbeat: BTC-USD 20",
        "heartbeat",
        "skipped",
        "skipped",
        "refused: Failed to subscribe: XYZ-USD is not a valid product",
        "refused: Malformed JSON",
        "error: its price is \"-1\": must be above 0",
        "error: its time is \"yesterday\": must be an RFC 3339 time from 1970 to 9999, like 2018-04-05T00:01:00Z",
        "error: shape",
        "error: shape",
        "error: shape",
    ];
    assert_eq!(shown::lines(&Coinbase, LIVE), expected);
}

#[test]
fn products_and_past_trades_are_decoded() {
    assert_eq!(shown::products(&Coinbase, PRODUCTS), ["BTC-USD BTC-USD BTC-USD", "ETH-USD ETH-USD ETH-USD"]);
    assert_eq!(
        shown::page(&Coinbase, PRODUCTS, TRADES),
        [
            "[BTC-USD 10 400.23 x 5.23512 2014-11-07T08:19:27.028459Z]",
            "[BTC-USD 11 400.2300000000 x 0.00000001 2014-11-07T08:19:28.400000Z]",
            "by number"
        ]
    );
}

#[test]
fn requests_are_written_as_documented() {
    assert_eq!(
        shown::subscription(&Coinbase, ["A", "B"]),
        ["{\"channels\":[\"matches\",\"heartbeat\"],\"product_ids\":[\"A\",\"B\"],\"type\":\"subscribe\"}"]
    );
    assert_eq!(
        shown::queries(&Coinbase, PRODUCTS),
        ["/products/BTC-USD/trades?limit=1000&after=1100", "/products/BTC-USD/trades?limit=1000"]
    );
}
