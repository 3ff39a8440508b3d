//! Tests of what lists of products show: the finest price, the last day, and the newest candles.

use events::{Interval, Tick, Timestamp};
use market_data::{InstrumentId, StoredTick, candles::fold};
use store::market::{
    candle_list::{self, CandleWidth, NewestCandles},
    candles, instruments,
    products::{self, DayRange},
    queries::{self, Latest},
    ticks,
};

use crate::{
    database::Database,
    samples::{at, price, symbol, tick, venue},
};

const HOUR: i64 = 3_600;

/// Stores candles and the latest price of a symbol whose ticks have these times in seconds and prices; the size of each is 1.
async fn quote(database: &Database, name: &str, source: &str, prices: &[(i64, &str)]) -> InstrumentId {
    let (name, source) = (symbol(name), venue(source));
    let made = prices.iter().zip(1_u64..).map(|((seconds, amount), sequence)| {
        let size = Some("1".parse().expect("a size"));
        let tick = Tick { symbol: name.clone(), size, ..tick(*seconds, source.as_str(), amount) };
        StoredTick::of(Box::leak(Box::new(tick)), sequence.to_string().leak(), sequence, 0)
    });
    let made: Vec<_> = made.collect();
    let work = database.transaction(move |tx| {
        Box::pin(async move {
            let instrument = instruments::add(tx, &name, &source).await?;
            let made: Vec<_> = made.into_iter().map(|tick| (instrument, tick)).collect();
            candles::merge(tx, &fold(made.iter().copied())).await?;
            ticks::merge_latest(tx, &made[made.len() - 1..]).await?;
            Ok(instrument)
        })
    });
    work.await.expect("it is stored")
}

/// Returns the first midnight behind the beginning of the samples, in seconds from there.
fn midnight() -> i64 {
    let start = at(0).after(Interval::Day.span()).floor(Interval::Day);
    (start.micros() - at(0).micros()) / 1_000_000
}

async fn newest(database: &Database, newest: NewestCandles) -> Vec<String> {
    let found = candle_list::read_newest(&database.store, newest).await.expect("candles");
    let candles = found.iter().map(|candle| {
        let candle = candle.expect("it can be read");
        let hour = (candle.start.micros() - at(midnight()).micros()) / 1_000_000 / HOUR;
        let numbers =
            [candle.open, candle.high, candle.low, candle.close, candle.volume].map(|number| number.to_string());
        format!("{hour}: {} {}", numbers.join(" "), candle.trades)
    });
    candles.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn hours_are_folded_into_six_hours_from_midnight_on() {
    let database = Database::new().await;
    let hour = |hour: i64| midnight() + hour * HOUR;
    let prices =
        [(hour(-1), "9"), (hour(0), "5.50"), (hour(1), "7"), (hour(5) + 3_599, "6"), (hour(6), "4"), (hour(19), "3")];
    let instrument = quote(&database, "BTC-USD", "coinbase", &prices).await;
    let all = NewestCandles {
        instrument,
        width: CandleWidth::SixHours,
        from: Timestamp::EPOCH,
        to: Timestamp::LAST,
        limit: 9,
    };
    let expected = ["18: 3 3 3 3 1 1", "6: 4 4 4 4 1 1", "0: 5.50 7 5.50 6 3 3", "-6: 9 9 9 9 1 1"];
    assert_eq!(newest(&database, all).await, expected);
    for limit in 1..4 {
        let some = newest(&database, NewestCandles { limit, ..all }).await;
        assert_eq!(some, expected[..usize::from(limit)], "no candle is cut off");
    }
    // A candle belongs to a range by its start, as a whole.
    for (from, to, range) in [(0, 6, 2..3), (1, 7, 1..2), (0, 7, 1..3), (7, 18, 0..0), (7, 19, 0..1)] {
        let some = NewestCandles { from: at(hour(from)), to: at(hour(to)), ..all };
        assert_eq!(newest(&database, some).await, expected[range], "{from} to {to}");
    }
    let hours = NewestCandles { width: CandleWidth::Stored(Interval::Hour), limit: 2, to: at(hour(19)), ..all };
    assert_eq!(newest(&database, hours).await, ["6: 4 4 4 4 1 1", "5: 6 6 6 6 1 1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_product_is_quoted_as_finely_as_its_finest_price() {
    let database = Database::new().await;
    let store = &database.store;
    let btc = quote(&database, "BTC-USD", "coinbase", &[(0, "5000"), (1, "5001.125"), (2, "5001.10")]).await;
    let other = quote(&database, "BTC-USD", "kraken", &[(0, "5000.00001")]).await;
    let spy = quote(&database, "SPY", "file", &[(0, "167.00")]).await;
    assert_ne!(btc, other);
    let all = products::list(store, 9).await.expect("products");
    let words: Vec<_> = all
        .iter()
        .map(|product| (product.symbol.as_str(), product.venue.as_str(), product.instrument, product.price_places))
        .collect();
    assert_eq!(words, [("BTC-USD", "coinbase", btc, 3), ("SPY", "file", spy, 0)]);
    assert_eq!(all[0].price, price("5001.10"));
    assert_eq!(products::list(store, 1).await.expect("products"), all[..1]);
    assert_eq!(products::find(store, &symbol("SPY")).await.expect("an answer").as_ref(), all.get(1));
    assert_eq!(products::find(store, &symbol("ETH-USD")).await.expect("an answer"), None);
    let names = [(symbol("BTC-USD"), venue("coinbase")), (symbol("SPY"), venue("file"))];
    assert_eq!(products::names(store, 9).await.expect("names"), names);
    assert_eq!(products::names(store, 1).await.expect("names"), names[..1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_ends_with_the_newest_tick() {
    let database = Database::new().await;
    let store = &database.store;
    let day = midnight();
    let prices = [(day, "9"), (day + 60, "5"), (day + 20 * HOUR, "8.50"), (day + 24 * HOUR, "7")];
    let btc = quote(&database, "BTC-USD", "coinbase", &prices).await;
    let spy = quote(&database, "SPY", "file", &[(day, "167.41")]).await;
    let range = |high: &str, low: &str, volume: &str| {
        Some(DayRange { high: high.into(), low: low.into(), volume: volume.into() })
    };
    let end = at(day + 24 * HOUR);
    let found =
        products::day_ranges(store, &[(spy, at(day)), (btc, end), (spy, end.after(Interval::Day.span()))]).await;
    let expected = [range("167.41", "167.41", "1"), range("8.50", "5", "3"), None];
    assert_eq!(found.expect("ranges"), expected);
    let latest = queries::latest(store, &symbol("BTC-USD")).await.expect("an answer").expect("a price");
    assert_eq!(Some(products::day_range(store, &latest).await.expect("a range")), range("8.50", "5", "3"));
    let ahead = Latest { at: end.after(Interval::Day.span()), price: price("5000.10"), ..latest };
    let first = products::day_range(store, &ahead).await.expect("a range");
    assert_eq!(Some(&first), range("5000.10", "5000.10", "0").as_ref(), "the history does not have it yet");
    assert_eq!(first, DayRange::of(ahead.price));

    let hours = products::day_hours(store, 9).await.expect("hours");
    let found: Vec<_> = hours
        .iter()
        .map(|hour| {
            let (symbol, candle) = hour.expect("it can be read");
            (symbol, (candle.start.micros() - at(day).micros()) / 1_000_000 / HOUR, candle.close.to_string())
        })
        .collect();
    let expected = [("BTC-USD", 24, "7".to_owned()), ("BTC-USD", 20, "8.50".to_owned())];
    assert_eq!(found, expected, "a share is no pair, and the first hour began a day before");
    assert!(products::day_hours(store, 0).await.expect("hours").iter().next().is_none());
}
