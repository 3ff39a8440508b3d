//! What the messages of `testdata/binance` mean.

use super::Binance;
use crate::sources::exchange::shown;

const LIVE: &str = include_str!("../../../../testdata/binance/live.ndjson");
const PRODUCTS: &str = include_str!("../../../../testdata/binance/products.json");
const TRADES: &str = include_str!("../../../../testdata/binance/trades.json");

#[test]
fn live_messages_are_decoded() {
    let expected = [
        "accepted: 1",
        "trades: [BNBBTC 12345 0.00100000 x 100.00000000 2022-12-31T19:43:02.136000Z]",
        "trades: [BNBBTC 12346 0.001 x 100 2022-12-31T19:43:02.137000Z]",
        "trades: [BNBBTC 12347 0.001 x 100 2022-12-31T19:43:02.138000Z]",
        "trades: [BNBBTC 12348 0.001 x 100 2022-12-31T19:43:02.139000Z]",
        "skipped",
        "skipped",
        "closing: serverShutdown",
        "closing: serverShutdown",
        "refused #3: Invalid request: invalid stream (code 2)",
        "refused: Invalid JSON: expected value at line 1 column 1 (code 3)",
        "trades: [币安人生USDT 1 0.1 x 1 2022-12-31T19:43:02.136000Z]",
        "error: its p is \"\": must be a decimal like \"6804.91\"",
        "error: its T is \"9223372036854775807\": must be milliseconds since 1970",
    ];
    assert_eq!(shown::lines(&Binance::COM, LIVE), expected);
}

#[test]
fn products_and_past_trades_are_decoded() {
    assert_eq!(shown::products(&Binance::COM, PRODUCTS), ["BTCUSDT BTCUSDT BTC-USDT"]);
    assert_eq!(
        shown::page(&Binance::COM, PRODUCTS, TRADES),
        [
            "[BTCUSDT 26129 0.01633102 x 4.70443515 2017-06-30T03:35:09.153000Z]",
            "[BTCUSDT 26130 0.01633103 x 1 2017-06-30T03:35:09.154000Z]",
            "end"
        ]
    );
}

#[test]
fn requests_are_written_as_documented() {
    assert_eq!(
        shown::subscription(&Binance::COM, ["A", "B"]),
        ["{\"id\":7,\"method\":\"SUBSCRIBE\",\"params\":[\"a@aggTrade\",\"b@aggTrade\"]}"]
    );
    assert_eq!(
        shown::queries(&Binance::COM, PRODUCTS),
        [
            "/api/v3/aggTrades?symbol=BTCUSDT&limit=1000&fromId=100",
            "/api/v3/aggTrades?symbol=BTCUSDT&limit=1000&fromId=100"
        ]
    );
}
