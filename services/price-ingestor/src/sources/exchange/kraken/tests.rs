//! What the messages of `testdata/kraken` mean.

use super::Kraken;
use crate::sources::exchange::shown;

const LIVE: &str = include_str!("../../../../testdata/kraken/live.ndjson");
const PRODUCTS: &str = include_str!("../../../../testdata/kraken/products.json");
const TRADES: &str = include_str!("../../../../testdata/kraken/trades.json");

#[test]
fn live_messages_are_decoded() {
    let expected = [
        "skipped",
        "subscribed: BTC/USD",
        "snapshot: [MATIC/USD 4665846 0.5147 x 6423.46326 2023-09-25T07:48:36.925533Z] [MATIC/USD 4665847 0.5147 x 1136.19677815 2023-09-25T07:49:36.925603Z]",
        "trades: [BTC/USD 4665906 ~0.100000000000000006 x 1 2023-09-25T07:49:37.708706Z] [BTC/USD 4665907 0.00000005 x 40.0 2023-09-25T07:49:37.708706Z]",
        "trades: [BTC/USD 4665908 26500.1 x 1 2023-09-25T07:49:38.000000Z]",
        "heartbeat",
        "heartbeat",
        "skipped",
        "refused BTC/XYZ #3: Currency pair not supported BTC/XYZ",
        "refused: Exceeded msg rate",
        "error: its price is \"null\": must be a number",
        "error: its price is \"0\": must be above 0",
    ];
    assert_eq!(shown::lines(&Kraken, LIVE), expected);
}

#[test]
fn products_and_past_trades_are_decoded() {
    assert_eq!(
        shown::products(&Kraken, PRODUCTS),
        ["DOGE/USD XDGUSD DOGE-USD", "ETH/BTC ETHXBT ETH-BTC", "BTC/USD XBTUSD BTC-USD"]
    );
    assert_eq!(
        shown::page(&Kraken, PRODUCTS, TRADES),
        [
            "[DOGE/USD 61044952 30243.40000 x 0.34507674 2023-07-06T18:53:17.827736Z]",
            "[DOGE/USD 61044953 30243.30000 x 0.00376960 2023-07-06T18:53:18.280411Z]",
            "[DOGE/USD 61044956 30243.30000 x 0.01235716 2023-07-06T18:53:22.698379Z]",
            "end"
        ]
    );
}

#[test]
fn requests_are_written_as_documented() {
    assert_eq!(
        shown::subscription(&Kraken, ["A", "B"]),
        [
            "{\"method\":\"subscribe\",\"params\":{\"channel\":\"trade\",\"snapshot\":true,\"symbol\":[\"A\",\"B\"]},\"req_id\":7}"
        ]
    );
    assert_eq!(
        shown::queries(&Kraken, PRODUCTS),
        [
            "/0/public/Trades?pair=XDGUSD&since=999999000000&count=1000",
            "/0/public/Trades?pair=XDGUSD&since=999999000000&count=1000"
        ]
    );
}
