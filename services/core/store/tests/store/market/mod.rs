//! Tests of the price history: partitions, ticks, latest prices and candles.

mod candle_page;
mod completeness;
mod export;
mod latest_prices;
mod price_rows;
mod products;

use std::collections::HashSet;

use events::{
    Interval, Tick,
    tick::{TickKind, TickSource},
};
use market_data::{
    InstrumentId, Month, StoredTick, TickPosition,
    candles::{CandleEdge, PartialCandle},
};
use rust_decimal::Decimal;
use store::{
    Numeric,
    market::{
        candle_list::{self, CandleRange},
        candles, instruments,
        markets::{self, MarketProgress},
        partitions,
        queries::{self, DayAgo, UnknownReference},
        tick_list::{self, SortOrder, TickCursor, TickRange},
        ticks,
    },
};

use crate::{
    database::Database,
    samples::{at, price, symbol, tick, venue},
};

const ALL: TickRange = TickRange { venue: None, from: None, to: None, limit: 100 };

/// Returns the second tick of a page, whose sequence is also its id. It lives to the end of the process, like the closures of
/// transactions may.
fn stored(sequence: u64, tick: Tick) -> StoredTick<'static> {
    StoredTick::of(Box::leak(Box::new(tick)), sequence.to_string().leak(), sequence, 1)
}

fn positions<const N: usize>(sequences: [u64; N]) -> HashSet<TickPosition> {
    sequences.map(|sequence| TickPosition { sequence, index: 1 }).into()
}

/// Returns a database with this month's partition and one instrument.
async fn quoted() -> (Database, InstrumentId) {
    let database = Database::new().await;
    partitions::create(&database.store, Month::of(at(0))).await.expect("a partition");
    let add = database
        .transaction(|tx| Box::pin(async move { instruments::add(tx, &symbol("BTC-USD"), &venue("coinbase")).await }));
    let instrument = add.await.expect("a number");
    (database, instrument)
}

#[tokio::test(flavor = "multi_thread")]
async fn partitions_are_created_once_and_dropped_when_they_are_over() {
    let database = Database::new().await;
    let store = &database.store;
    let month = Month::of(at(0));
    for month in [month, month, month.next()] {
        partitions::create(store, month).await.expect("it is there");
    }
    assert!(partitions::list(store).await.expect("months").into_iter().eq([month, month.next()]));
    let in_next = at(31 * 86_400);
    assert_eq!(partitions::dropped(store).await.expect("months"), [].into());
    assert_eq!(partitions::before(store, in_next).await.expect("months"), [month]);
    partitions::drop(store, month).await.expect("it was there");
    assert_eq!(partitions::before(store, in_next).await.expect("months"), []);
    assert_eq!(partitions::dropped(store).await.expect("months"), [month].into());
    assert!(partitions::list(store).await.expect("months").into_iter().eq([month.next()]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instrument_keeps_its_number_and_the_first_venue_stays_the_primary_one() {
    let (database, instrument) = quoted().await;
    let again = database
        .transaction(|tx| Box::pin(async move { instruments::add(tx, &symbol("BTC-USD"), &venue("coinbase")).await }));
    assert_eq!(again.await.expect("a number"), instrument);
    let all = instruments::list(&database.store).await.expect("instruments");
    assert_eq!(all.get(&(symbol("BTC-USD"), venue("coinbase"))), Some(&instrument));
    // The sequence of the other venue's first tick may be smaller, because the stream was created anew meanwhile.
    let other = database
        .transaction(|tx| Box::pin(async move { instruments::add(tx, &symbol("BTC-USD"), &venue("binance")).await }));
    assert_ne!(other.await.expect("a number"), instrument);
    let primary: (String,) = database.row("SELECT venue FROM instruments WHERE is_primary").await;
    assert_eq!(primary.0, "coinbase");
    assert!(queries::is_quoted(&database.store, &symbol("BTC-USD")).await.expect("an answer"));
    assert!(!queries::is_quoted(&database.store, &symbol("ETH-USD")).await.expect("an answer"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_tick_is_stored_once_and_pages_follow_each_other() {
    let (database, instrument) = quoted().await;
    let new: Vec<_> = (1..=3).map(|n| (instrument, stored(n, tick(n as i64, "coinbase", "5000")))).collect();
    for expected in [3, 0] {
        let new = new.clone();
        let added = database.transaction(move |tx| Box::pin(async move { ticks::add(tx, &new).await }));
        assert_eq!(added.await.expect("sequences").len(), expected);
    }
    let (store, btc) = (&database.store, &symbol("BTC-USD"));
    for (times, sequences, expected) in
        [((1, 3), (0, 3), 3), ((1, 3), (1, 2), 1), ((2, 9), (0, 9), 2), ((1, 3), (3, 9), 0)]
    {
        let times = (at(times.0), at(times.1));
        let count = queries::count_ticks(store, &venue("coinbase"), times, sequences).await.expect("a count");
        assert_eq!(count, expected);
    }
    let other = queries::count_ticks(store, &venue("kraken"), (at(1), at(3)), (0, 3)).await.expect("a count");
    assert_eq!(other, 0);
    let range = TickRange { limit: 2, ..ALL };
    for (order, expected) in [(SortOrder::Ascending, [1, 2, 3]), (SortOrder::Descending, [3, 2, 1])] {
        let first = tick_list::read(store, btc, &range, order, None).await.expect("a page");
        let last = first.iter().last().expect("a tick").expect("it can be read");
        let cursor = Some(TickCursor { at: last.at, position: last.position });
        let second = tick_list::read(store, btc, &range, order, cursor).await.expect("a page");
        let ticks = first.iter().chain(second.iter()).map(|tick| tick.expect("it can be read"));
        let sequences: Vec<u64> = ticks.map(|tick| tick.position.sequence).collect();
        assert_eq!(sequences, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_of_one_time_are_listed_in_the_order_of_their_page() {
    let (database, instrument) = quoted().await;
    let with = |sequence, index, id| StoredTick {
        id,
        position: TickPosition { sequence, index },
        ..stored(sequence, tick(1, "coinbase", "5000"))
    };
    let new = [with(2, 0, "d"), with(1, 1, "c"), with(1, 10, "a"), with(1, 2, "b")].map(|tick| (instrument, tick));
    let added = database.transaction(move |tx| Box::pin(async move { ticks::add(tx, &new).await }));
    assert_eq!(added.await.expect("positions").len(), 4);
    let (range, mut cursor, mut ids) = (TickRange { limit: 1, ..ALL }, None, Vec::new());
    loop {
        let order = SortOrder::Ascending;
        let page = tick_list::read(&database.store, &symbol("BTC-USD"), &range, order, cursor).await;
        let page = page.expect("a page");
        let Some(tick) = page.iter().next() else { break };
        let tick = tick.expect("it can be read");
        cursor = Some(TickCursor { at: tick.at, position: tick.position });
        ids.push(tick.trade_id.to_string());
    }
    assert_eq!(ids, ["c", "b", "a", "d"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_appended_is_what_is_inserted() {
    let (database, instrument) = quoted().await;
    let ticks = |first: u64| {
        let prices = [
            "0.000000000000000001",
            "1",
            "167.4100",
            "9999.9999",
            "68000",
            "100000000.50",
            "79228162514264.3375935439503",
        ];
        let ticks =
            (first..).zip(prices).map(|(sequence, amount)| stored(sequence, tick(sequence as i64, "coinbase", amount)));
        let with = |(number, tick): (usize, StoredTick<'static>)| match number {
            0 => StoredTick { size: None, kind: TickKind::Poll, source: TickSource::Backfill, ..tick },
            1 => StoredTick { id: "é/\"1\"/𝄞", kind: TickKind::Quote, source: TickSource::File, ..tick },
            2 => StoredTick { size: Some("0".parse().expect("a size")), source: TickSource::Simulator, ..tick },
            _ => tick,
        };
        ticks.enumerate().map(with).map(|tick| (instrument, tick)).collect::<Vec<_>>()
    };
    let (appended, inserted, again) = (ticks(1), ticks(101), ticks(1));
    let work = database.transaction(move |tx| {
        Box::pin(async move {
            assert!(ticks::append(tx, &appended).await?);
            Ok((ticks::add(tx, &inserted).await?.len(), ticks::add(tx, &again).await?.len()))
        })
    });
    assert_eq!(work.await.expect("they are stored"), (7, 0));
    let rows = "SELECT (SELECT string_agg(r, ';' ORDER BY r) FROM (SELECT (extract(epoch FROM at - $1) - shift, extract(epoch FROM received_at - $1) - shift,
        sequence - shift, index, kind, source, price, size, CASE WHEN trade_id ~ '^[0-9]+$' THEN (trade_id::bigint - shift)::text ELSE trade_id END)::text AS r
        FROM ticks WHERE sequence > shift AND sequence < shift + 50) AS rows) FROM (VALUES (0), (100)) AS shifts (shift)";
    let rows = rows.replace("$1", "timestamptz 'epoch'");
    let distinct: (i64,) = database.row(&format!("SELECT count(DISTINCT r) FROM ({rows}) AS found (r)")).await;
    assert_eq!(distinct.0, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_appended_where_a_tick_is_stored_already_and_the_transaction_goes_on() {
    let (database, instrument) = quoted().await;
    for (numbers, appended, added) in
        [(vec![1, 2, 3], true, 0), (vec![4, 5, 3, 6], false, 3), (vec![7, 8, 8], false, 2), (vec![9], true, 0)]
    {
        let of = |number: u64| (instrument, stored(number, tick(number as i64, "coinbase", "5000")));
        let new: Vec<_> = numbers.iter().copied().map(of).collect();
        let work = database.transaction(move |tx| {
            Box::pin(async move { Ok((ticks::append(tx, &new).await?, ticks::add(tx, &new).await?.len())) })
        });
        assert_eq!(work.await.expect("it is committed"), (appended, added), "{numbers:?}");
    }
    let all: (i64,) = database.row("SELECT count(*) FROM ticks").await;
    assert_eq!(all.0, 9);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_is_found_under_its_id_within_a_second_around() {
    let (database, instrument) = quoted().await;
    let other = database
        .transaction(|tx| Box::pin(async move { instruments::add(tx, &symbol("BTC-USD"), &venue("kraken")).await }));
    let other = other.await.expect("a number");
    let with = |sequence, seconds, id| StoredTick { id, ..stored(sequence, tick(seconds, "coinbase", "5000")) };
    let first = [(instrument, with(1, 10, "a"))];
    let added = database.transaction(move |tx| Box::pin(async move { ticks::add(tx, &first).await }));
    assert_eq!(added.await.expect("positions"), positions([1]));
    let late = [
        (instrument, with(2, 9, "a")),
        (instrument, with(3, 11, "a")),
        (instrument, with(4, 8, "a")),
        (instrument, with(5, 12, "a")),
        (instrument, with(6, 10, "b")),
        (other, with(7, 10, "a")),
    ];
    let found = database.transaction(move |tx| Box::pin(async move { ticks::stored_nearby(tx, &late).await }));
    assert_eq!(found.await.expect("positions"), positions([2, 3]));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_older_tick_does_not_replace_the_latest_price() {
    let (database, instrument) = quoted().await;
    for (sequence, seconds, amount) in [(2, 10, "5000"), (3, 5, "1"), (1, 10, "2")] {
        let newest = [(instrument, stored(sequence, tick(seconds, "coinbase", amount)))];
        let merged = database.transaction(move |tx| Box::pin(async move { ticks::merge_latest(tx, &newest).await }));
        merged.await.expect("it is merged");
    }
    let latest = queries::latest(&database.store, &symbol("BTC-USD")).await.expect("an answer").expect("a price");
    assert_eq!((latest.price, latest.at, latest.day_ago), (price("5000"), at(10), None));
    let all = queries::list_latest(&database.store, None, 9).await.expect("prices");
    assert_eq!(all, [latest]);
    let newest = ticks::newest(&database.store).await.expect("times");
    assert_eq!(
        newest.iter().map(|market| (market.venue.as_str(), market.at)).collect::<Vec<_>>(),
        [("coinbase", at(10))]
    );
    let after = queries::list_latest(&database.store, Some(&symbol("BTC-USD")), 9).await.expect("prices");
    assert!(after.is_empty());
}

async fn day_ago(database: &Database, instrument: InstrumentId) -> DayAgo {
    let found = queries::days_ago(&database.store, &[(instrument, at(0))]).await.expect("an answer");
    found.into_iter().next().expect("one for the instrument")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_is_measured_from_the_newest_price_that_is_24_to_25_hours_older() {
    const HOUR: i64 = 3_600;
    let (database, instrument) = quoted().await;
    let latest = [(instrument, stored(99, tick(0, "coinbase", "130")))];
    let merged = database.transaction(move |tx| Box::pin(async move { ticks::merge_latest(tx, &latest).await }));
    merged.await.expect("it is merged");
    // Older prices are added one by one, and what the change is measured from after each.
    let steps = [
        (3 * 24 * HOUR, None), // change-over-a-gap.csv
        (25 * HOUR + 1, None),
        (24 * HOUR - 1, None),
        (25 * HOUR, Some(25 * HOUR)),
        (24 * HOUR + 1, Some(24 * HOUR + 1)),
        (24 * HOUR, Some(24 * HOUR)),
        (24 * HOUR + 2, Some(24 * HOUR)),
    ];
    for (sequence, (age, expected)) in (1..).zip(steps) {
        let older = [(instrument, stored(sequence, tick(-age, "coinbase", "100")))];
        let added = database.transaction(move |tx| Box::pin(async move { ticks::add(tx, &older).await }));
        added.await.expect("it is added");
        let found = queries::latest(&database.store, &symbol("BTC-USD")).await.expect("an answer").expect("a price");
        assert_eq!(found.day_ago, expected.map(|age: i64| (price("100"), at(-age))), "after one that is {age} s older");
        let day_ago = day_ago(&database, instrument).await;
        assert_eq!(day_ago.reference(at(0)), Ok(found.day_ago));
        assert_eq!(day_ago.until, at(HOUR));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn parts_of_a_candle_merge_in_any_order() {
    let (database, instrument) = quoted().await;
    let start = at(0).floor(Interval::ALL[0]);
    let part = |seconds, sequence, amount: &str, volume: &str| {
        let position = TickPosition { sequence, index: 0 };
        let edge = CandleEdge { at: at(seconds), position, price: price(amount) };
        PartialCandle {
            instrument,
            interval: Interval::ALL[0],
            start,
            open: edge,
            high: price(amount),
            low: price(amount),
            close: edge,
            volume: volume.parse::<Decimal>().expect("a size").into(),
            trades: 1,
            late: i64::from(sequence == 1),
        }
    };
    let parts =
        [part(2, 2, "7", "90000000000000"), part(3, 3, "6", "10000000000000"), part(1, 1, "5", "0.000000000000001")];
    for part in parts {
        let merged = database.transaction(move |tx| Box::pin(async move { candles::merge(tx, &[part]).await }));
        merged.await.expect("it is merged");
    }
    let range = CandleRange { instrument, interval: Interval::ALL[0], from: start, to: at(60), limit: 9 };
    let found = candle_list::read(&database.store, range).await.expect("candles");
    let candle = found.iter().next().expect("a candle").expect("it can be read");
    let numbers = [candle.open, candle.high, candle.low, candle.close, candle.volume].map(|number| number.to_string());
    assert_eq!(numbers, ["5", "7", "5", "6", "100000000000000.000000000000001"]);
    assert_eq!((found.len(), candle.start, candle.trades), (1, start, 3));
    let keys = [(instrument, Interval::ALL[0], start), (instrument, Interval::ALL[1], start)];
    let closed = database.transaction(move |tx| Box::pin(async move { candles::closed(tx, &keys).await }));
    let closed = closed.await.expect("events");
    let [event] = closed.as_slice() else { panic!("{closed:?}") };
    assert_eq!(
        (event.symbol.as_str(), event.venue.as_str(), event.interval),
        ("BTC-USD", "coinbase", Interval::ALL[0])
    );
    assert_eq!([event.open, event.high, event.low, event.close], ["5", "7", "5", "6"].map(price));
    assert_eq!((event.volume.as_str(), event.trades, event.revision), ("100000000000000.000000000000001", 3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_progress_of_markets_is_that_of_their_newest_and_late_ticks() {
    let (database, instrument) = quoted().await;
    let btc = (symbol("BTC-USD"), None);
    let progress = |newest_at, late_ticks| MarketProgress {
        instrument,
        venue: venue("coinbase"),
        newest_at,
        late_ticks,
        gap_changes: 0,
    };
    let read = || async { markets::progress(&database.store, std::slice::from_ref(&btc)).await.expect("an answer") };
    assert_eq!(read().await, [Some(progress(None, 0))]);
    let newest = [(instrument, stored(1, tick(10, "coinbase", "5000")))];
    let work = database.transaction(move |tx| {
        Box::pin(async move {
            ticks::merge_latest(tx, &newest).await?;
            ticks::count_late(tx, &[(instrument, 2)]).await?;
            ticks::count_late(tx, &[(instrument, 3), (instrument + 1, 7)]).await
        })
    });
    work.await.expect("they are counted");
    let newer = [(instrument, stored(2, tick(20, "coinbase", "5000")))];
    let merged = database.transaction(move |tx| Box::pin(async move { ticks::merge_latest(tx, &newer).await }));
    merged.await.expect("it is merged");
    assert_eq!(read().await, [Some(progress(Some(at(20)), 5))]);
    let asked = [
        (symbol("ETH-USD"), None),
        (symbol("BTC-USD"), Some(venue("coinbase"))),
        (symbol("BTC-USD"), Some(venue("binance"))),
        btc.clone(),
    ];
    let found = markets::progress(&database.store, &asked).await.expect("an answer");
    let expected = Some(progress(Some(at(20)), 5));
    assert_eq!(found, [None, expected.clone(), None, expected]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_later_prices_are_measured_from_is_read_ahead_up_to_a_number() {
    const DAY: i64 = 86_400;
    let (database, instrument) = quoted().await;
    partitions::create(&database.store, Month::of(at(-DAY))).await.expect("a partition");
    let prices = (0..100).map(|second| (instrument, stored(1 + second as u64, tick(second - DAY, "coinbase", "100"))));
    let prices: Vec<_> = prices.collect();
    let added = database.transaction(move |tx| Box::pin(async move { ticks::add(tx, &prices).await }));
    added.await.expect("they are added");
    let day_ago = day_ago(&database, instrument).await;
    for second in 0..64 {
        assert_eq!(day_ago.reference(at(second)), Ok(Some((price("100"), at(second - DAY)))));
    }
    assert_eq!(day_ago.reference(at(64)), Err(UnknownReference), "more of that time may follow");
}

/// Numbers of each size are written as PostgreSQL itself writes them.
#[tokio::test(flavor = "multi_thread")]
async fn a_number_of_a_row_has_the_text_that_the_database_gives_it() {
    let (database, instrument) = quoted().await;
    let numbers = [
        "0.000000000000000001",
        "1",
        "9999",
        "10000",
        "10001.00010000",
        "99999999999999.99",
        "0.10",
        "0.0001000",
        "123456789012345678901234567890.000000000000000000000000000001",
        "100000000",
        "20000.5",
        "0.00010001",
    ];
    for (minute, number) in numbers.iter().enumerate() {
        let row = format!(
            "INSERT INTO candles (instrument_id, interval_seconds, start, open, open_at, open_sequence, open_index, high, low,
                 close, close_at, close_sequence, close_index, volume, trades)
             VALUES ({instrument}, 60, timestamptz 'epoch' + interval '{minute} minutes', {number}, 'epoch', 1, 1, {number}, 1,
                 1, 'epoch', 1, 1, {number}, 1) RETURNING 1"
        );
        let _: (i32,) = database.row(&row).await;
    }
    let range =
        CandleRange { instrument, interval: Interval::ALL[0], from: events::Timestamp::EPOCH, to: at(0), limit: 99 };
    let found = candle_list::read(&database.store, range).await.expect("candles");
    let first =
        store::market::export::first_candle(&database.store, (instrument, Interval::ALL[0]), (range.from, range.to));
    assert_eq!(first.await.expect("an answer"), found.start(0).expect("a time"));
    let sums = store::market::export::summarize_candles(
        &database.store,
        (instrument, Interval::ALL[0]),
        (range.from, range.to),
    )
    .await
    .expect("sums");
    let count = numbers.len();
    assert_eq!((sums.rows, sums.trades, sums.first), (count as u64, count.to_string(), Some(range.from)));
    assert_eq!(sums.last, found.start(count - 1).expect("a time"));
    assert_eq!(sums.sums[2], count.to_string());
    let exact: (String,) = database.row("SELECT trim_scale(sum(volume))::text FROM candles").await;
    assert!(sums.sums[4] == exact.0 && sums.sums[0] == exact.0, "{:?} is not {}", sums.sums, exact.0);
    let (mut rest, mut starts) = (Some(CandleRange { limit: 2, ..range }), Vec::new());
    while let Some(part) = rest {
        let page = candle_list::read(&database.store, part).await.expect("candles");
        starts.extend(page.iter().map(|candle| candle.expect("it can be read").start));
        rest = page.rest(part).expect("a time");
    }
    assert_eq!(starts, found.iter().map(|candle| candle.expect("it can be read").start).collect::<Vec<_>>());
    let text = |number: Numeric| {
        let mut text = Vec::new();
        number.write_to(&mut text);
        String::from_utf8(text).expect("ASCII")
    };
    let written: Vec<_> = found.iter().map(|candle| text(candle.expect("it can be read").volume)).collect();
    assert_eq!(written, numbers);
    let texts: (Vec<String>,) = database.row("SELECT array_agg(volume::text ORDER BY start) FROM candles").await;
    assert_eq!(texts.0, numbers);
}
