//! What the messages of `testdata/coinbaseadvanced` mean.

use super::CoinbaseAdvanced;
use crate::sources::exchange::shown;

const LIVE: &str = include_str!("../../../../testdata/coinbaseadvanced/live.ndjson");
const PRODUCTS: &str = include_str!("../../../../testdata/coinbaseadvanced/products.json");
const TRADES: &str = include_str!("../../../../testdata/coinbaseadvanced/trades.json");

#[test]
fn live_messages_are_decoded() {
    let expected = [
        "subscribed: BTC-USD ETH-USD",
        "snapshot: [ETH-USD 11 1260 x 0.1 2019-08-14T20:42:26.265000Z] [ETH-USD 12 1260.01 x 0.3 2019-08-14T20:42:27.265000Z]",
        "trades: [ETH-USD 13 1261 x 0.3 2019-08-14T20:42:28.265000Z] [ETH-USD 14 1262 x 0.3 2019-08-14T20:42:29.265000Z] [ETH-USD 15 1263 x 0.3 2019-08-14T20:42:30.265000Z]",
        "heartbeat",
        "skipped",
        "refused: authentication failure",
        "error: its trade_id is \"x\": must be a whole number",
    ];
    assert_eq!(shown::lines(&CoinbaseAdvanced, LIVE), expected);
}

#[test]
fn products_and_past_trades_are_decoded() {
    assert_eq!(
        shown::products(&CoinbaseAdvanced, PRODUCTS),
        ["BTC-USD BTC-USD BTC-USD", "USDT-USDC USDT-USDC USDT-USDC"]
    );
    assert_eq!(
        shown::page(&CoinbaseAdvanced, PRODUCTS, TRADES),
        [
            "[BTC-USD 13 1261 x 0.3 2021-05-31T09:59:58.000000Z]",
            "[BTC-USD 14 1262 x 0.3 2021-05-31T09:59:59.500000Z]",
            "older 1622455199"
        ]
    );
}

#[test]
fn requests_are_written_as_documented() {
    assert_eq!(
        shown::subscription(&CoinbaseAdvanced, ["A", "B"]),
        [
            "{\"channel\":\"market_trades\",\"product_ids\":[\"A\",\"B\"],\"type\":\"subscribe\"}",
            "{\"channel\":\"heartbeats\",\"type\":\"subscribe\"}"
        ]
    );
    assert_eq!(
        shown::queries(&CoinbaseAdvanced, PRODUCTS),
        [
            "/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1000&start=1000&end=1032",
            "/api/v3/brokerage/market/products/BTC-USD/ticker?limit=1000&start=1000&end=1062"
        ]
    );
}
