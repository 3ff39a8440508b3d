//! What the messages of `testdata/bybit` mean.

use super::Bybit;
use crate::sources::exchange::shown;

const LIVE: &str = include_str!("../../../../testdata/bybit/live.ndjson");
const PRODUCTS: &str = include_str!("../../../../testdata/bybit/products.json");

#[test]
fn live_messages_are_decoded() {
    let expected = [
        "accepted: 10001",
        "trades: [BTCUSDT 20f43950-d8dd-5b31-9112-a178eb6023af 16578.50 x 0.001 2022-12-29T09:01:26.865000Z] [BTCUSDT 2290000000061666327 16578.51 x 0.002 2022-12-29T09:01:26.866000Z]",
        "skipped",
        "heartbeat",
        "refused #10002: error:handler not found,topic:publicTrade.XYZUSDT",
        "error: its i is \"two words\": must be 1 to 64 characters without a space",
    ];
    assert_eq!(shown::lines(&Bybit, LIVE), expected);
}

#[test]
fn products_and_past_trades_are_decoded() {
    assert_eq!(shown::products(&Bybit, PRODUCTS), ["BTCUSDT BTCUSDT BTC-USDT"]);
}

#[test]
fn requests_are_written_as_documented() {
    assert_eq!(
        shown::subscription(&Bybit, ["A", "B"]),
        ["{\"args\":[\"publicTrade.A\",\"publicTrade.B\"],\"op\":\"subscribe\",\"req_id\":\"7\"}"]
    );
    assert_eq!(shown::queries(&Bybit, PRODUCTS), ["", ""]);
}
