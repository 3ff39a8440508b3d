//! Tests of a page of candles that the database sends as one row.

use events::{Interval, Timestamp};
use store::market::candle_list::{self, CandlePage, CandleRange, CandleRow};

use super::quoted;
use crate::{database::Database, samples::at};

const NUMBERS: [&str; 9] = [
    "0.000000000000000001",
    "1",
    "10000",
    "10001.00010000",
    "99999999999999.99",
    "0.10",
    "123456789012345678901234567890.000000000000000000000000000001",
    "100000000",
    "0.00010001",
];

async fn add_candles(database: &Database, instrument: i32) {
    for (minute, number) in NUMBERS.iter().enumerate() {
        let other = |places: usize| NUMBERS[(minute + places) % NUMBERS.len()];
        let row = format!(
            "INSERT INTO candles (instrument_id, interval_seconds, start, open, open_at, open_sequence, open_index, high, low,
                 close, close_at, close_sequence, close_index, volume, trades, revision)
             VALUES ({instrument}, 60, timestamptz 'epoch' + interval '{} minutes', {number}, 'epoch', 1, 1, {}, {}, {}, 'epoch', 1, 1,
                 {}, {}, {minute}) RETURNING 1",
            // They are stored in another order than they are read in.
            NUMBERS.len() - minute,
            other(1),
            other(2),
            other(3),
            other(4),
            10_i64.pow(minute as u32),
        );
        let _: (i32,) = database.row(&row).await;
    }
}

fn texts(page: &CandlePage) -> Vec<(Timestamp, String)> {
    let candles = page.iter().expect("text").map(|candle| candle.expect("all numbers"));
    candles.map(|c| (c.start, [c.open, c.high, c.low, c.close, c.volume, c.trades, c.revision].join(" "))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_candles_has_the_text_of_their_rows() {
    let (database, instrument) = quoted().await;
    add_candles(&database, instrument).await;
    let of_row = |row: CandleRow<'_>| {
        let numbers = [row.open, row.high, row.low, row.close, row.volume].map(|number| number.to_string());
        (row.start, format!("{} {} {}", numbers.join(" "), row.trades, row.revision))
    };
    let minute = |minute: i64| Timestamp::from_micros(minute * 60_000_000).expect("a time");
    let all = CandleRange { instrument, interval: Interval::Minute, from: minute(0), to: at(0), limit: 99 };
    for (range, length) in [
        (all, 9),
        (CandleRange { limit: 4, ..all }, 4),
        (CandleRange { from: minute(3), to: minute(5), ..all }, 2),
        (CandleRange { to: minute(1), ..all }, 0),
        (CandleRange { interval: Interval::Hour, ..all }, 0),
        (CandleRange { instrument: instrument + 1, ..all }, 0),
    ] {
        let page = candle_list::read_page(&database.store, range).await.expect("a page");
        let rows = candle_list::read(&database.store, range).await.expect("candles");
        let rows: Vec<_> = rows.iter().map(|row| of_row(row.expect("it can be read"))).collect();
        assert_eq!((texts(&page), page.len(), page.is_empty()), (rows.clone(), length, length == 0), "{range:?}");
        let starts = (0..=length).map(|index| page.start(index));
        assert!(starts.eq(rows.iter().map(|(start, _)| Some(*start)).chain([None])), "{range:?}");
    }
}
