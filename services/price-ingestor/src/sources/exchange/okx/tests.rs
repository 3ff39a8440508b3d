//! What the messages of `testdata/okx` mean.

use super::Okx;
use crate::sources::exchange::shown;

const LIVE: &str = include_str!("../../../../testdata/okx/live.ndjson");
const PRODUCTS: &str = include_str!("../../../../testdata/okx/products.json");
const TRADES: &str = include_str!("../../../../testdata/okx/trades.json");

#[test]
fn live_messages_are_decoded() {
    let expected = [
        "subscribed: BTC-USDT",
        "trades: [BTC-USDT 130639472-130639474 42219.9 x 0.12060306 2021-08-27T07:21:37.897000Z]",
        "trades: [BTC-USDT 130639475 42219 x 2 2021-08-27T07:21:37.898000Z] [BTC-USDT 130639476 42220 x 1 2021-08-27T07:21:37.899000Z]",
        "skipped",
        "heartbeat",
        "closing: The connection will soon be closed for a service upgrade. Please reconnect. (code 64008)",
        "refused: Wrong URL or channel:trades,instId:XYZ-USDT doesn't exist. Please use the correct URL, channel and parameters referring to API document. (code 60018)",
        "refused: Illegal request: {\"op\":\"subscribe\"} (code 60012)",
        "error: its count is \"3\": must be at least 1 and no more than its tradeId",
        "error: its count is \"0\": must be at least 1 and no more than its tradeId",
    ];
    assert_eq!(shown::lines(&Okx, LIVE), expected);
}

#[test]
fn an_empty_count_is_none() {
    let message = |count: &str| {
        let trade = format!(r#"{{"instId":"A","tradeId":"9","px":"2","sz":"1","ts":"1630048897897"{count}}}"#);
        format!(r#"{{"arg":{{"channel":"trades","instId":"A"}},"data":[{trade}]}}"#)
    };
    for count in ["", r#","count":"""#, r#","count":null"#, r#","count":"1""#] {
        let lines = shown::lines(&Okx, &message(count));
        assert_eq!(lines, ["trades: [A 9 2 x 1 2021-08-27T07:21:37.897000Z]"], "{count}");
    }
    let bad = shown::lines(&Okx, &message(r#","count":" ""#));
    assert_eq!(bad, [r#"error: its count is " ": must be a whole number"#]);
}

#[test]
fn products_and_past_trades_are_decoded() {
    assert_eq!(shown::products(&Okx, PRODUCTS), ["BTC-USDT BTC-USDT BTC-USDT"]);
    assert_eq!(
        shown::page(&Okx, PRODUCTS, TRADES),
        [
            "[BTC-USDT 242720719 29963.3 x 0.00000964 2022-06-02T09:20:41.568000Z]",
            "[BTC-USDT 242720720 29963.2 x 0.00001 2022-06-02T09:20:46.974000Z]",
            "by number"
        ]
    );
}

#[test]
fn requests_are_written_as_documented() {
    assert_eq!(
        shown::subscription(&Okx, ["A", "B"]),
        [
            "{\"args\":[{\"channel\":\"trades\",\"instId\":\"A\"},{\"channel\":\"trades\",\"instId\":\"B\"}],\"op\":\"subscribe\"}"
        ]
    );
    assert_eq!(
        shown::queries(&Okx, PRODUCTS),
        [
            "/api/v5/market/history-trades?instId=BTC-USDT&type=1&limit=100&after=200",
            "/api/v5/market/history-trades?instId=BTC-USDT&type=1&limit=100"
        ]
    );
}
