//! The rows of the page of prices.

use events::Interval;
use market_data::{
    TickPosition,
    candles::{CandleEdge, PartialCandle},
};
use price_page::{Point, Points};
use store::market::{candles, queries, ticks};

use super::{quoted, stored};
use crate::samples::{at, price, symbol, tick};

const QUARTER: i64 = 900;

#[tokio::test(flavor = "multi_thread")]
async fn a_row_has_the_closes_of_the_day_before_its_newest_price() {
    let (database, instrument) = quoted().await;
    let newest = at(0).floor(Interval::FifteenMinutes).micros() / 1_000_000 - at(0).micros() / 1_000_000 + 30;
    let latest = [(instrument, stored(99, tick(newest, "coinbase", "130")))];
    let merged = database.transaction(move |tx| Box::pin(async move { ticks::merge_latest(tx, &latest).await }));
    merged.await.expect("it is merged");
    let start = |quarters: i64| at(newest - 30 - quarters * QUARTER);
    let candle = |quarters: i64, interval: Interval, close: &str| {
        let position = TickPosition { sequence: 1, index: 0 };
        let edge = CandleEdge { at: start(quarters), position, price: price(close) };
        PartialCandle {
            instrument,
            interval,
            start: start(quarters),
            open: edge,
            high: price(close),
            low: price(close),
            close: edge,
            volume: rust_decimal::Decimal::ONE.into(),
            trades: 1,
            late: 0,
        }
    };
    let day = |quarters, close| candle(quarters, Interval::FifteenMinutes, close);
    // One of a day ago that begins too early, others of the day, one of another width, and one behind the newest price.
    let parts =
        [day(97, "1"), day(95, "100"), day(1, "120"), day(0, "129"), candle(2, Interval::Minute, "7"), day(-1, "999")];
    let merged = database.transaction(move |tx| Box::pin(async move { candles::merge(tx, &parts).await }));
    merged.await.expect("they are merged");

    let rows = queries::list_price_rows(&database.store, None, 9).await.expect("rows");
    let [row] = rows.as_slice() else { panic!("{rows:?}") };
    assert_eq!(
        (&row.symbol, row.venue.as_str(), row.price, row.at),
        (&symbol("BTC-USD"), "coinbase", price("130"), at(newest))
    );
    let point = |at, text| Point { at, price: price(text) };
    let expected = [point(start(95), "100"), point(start(1), "120"), point(at(newest), "130")];
    assert_eq!(row.points, Points::from(expected.to_vec()));
    let after = queries::list_price_rows(&database.store, Some(&symbol("BTC-USD")), 9).await.expect("rows");
    assert_eq!(after, []);
}
