//! Tests of history as it leaves the database: pages that follow each other, days and their sums, and known gaps.

use events::{Tick, tick::TickSource};
use market_data::{InstrumentId, Month, StoredTick};
use store::market::{
    candles,
    export::{self, DroppedDay, ExportedTick, Market, TextFormat, TickBookmark, TickSelection, UnarchivedDay},
    instruments, partitions, ticks,
};

use crate::{
    database::Database,
    samples::{at, symbol, tick, venue},
};

fn stored(tick: Tick, id: &str, sequence: u64, index: u16) -> StoredTick<'static> {
    let tick = StoredTick::of(Box::leak(Box::new(tick)), id.to_owned().leak(), sequence, index);
    StoredTick { source: TickSource::Backfill, ..tick }
}

async fn market(database: &Database, name: &'static str) -> Market {
    let add = database
        .transaction(move |tx| Box::pin(async move { instruments::add(tx, &symbol("BTC-USD"), &venue(name)).await }));
    Market { venue: venue(name), symbol: symbol("BTC-USD"), instrument: add.await.expect("a number") }
}

async fn add(database: &Database, new: Vec<(InstrumentId, StoredTick<'static>)>) {
    let added = database.transaction(move |tx| Box::pin(async move { ticks::add(tx, &new).await }));
    added.await.expect("positions");
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_hold_every_tick_once_also_where_positions_are_equal() {
    let database = Database::new().await;
    partitions::create(&database.store, Month::of(at(0))).await.expect("a partition");
    let (coinbase, kraken) = (market(&database, "coinbase").await, market(&database, "kraken").await);
    // The stream was made anew in between, so that two ticks of a venue, and of two venues, have one time and position.
    let mut all = Vec::new();
    for (instrument, name) in [(coinbase.instrument, "coinbase"), (kraken.instrument, "kraken")] {
        for id in ["a", "b", "c"] {
            all.push((instrument, stored(tick(5, name, "5000.10"), id, 1, 0)));
        }
        all.push((instrument, stored(tick(4, name, "1"), "z", 9, 2)));
        all.push((instrument, stored(tick(6, name, "2"), "y", 1, 0)));
    }
    add(&database, all).await;
    let read = async |venue: Option<events::Venue>, limit| {
        let selection = TickSelection { symbol: symbol("BTC-USD"), venue, from: at(4), to: at(6) };
        let (mut ids, mut bookmark) = (Vec::new(), None);
        loop {
            let page = export::ticks(&database.store, &selection, bookmark.as_ref(), limit).await.expect("a page");
            ids.extend(page.iter().map(|tick| {
                let tick = tick.expect("it can be read");
                assert_eq!((tick.source, tick.position.sequence > 0), (TickSource::Backfill, true));
                format!("{}{}", &tick.venue[..1], tick.id)
            }));
            match page.bookmark().expect("a place") {
                Some(next) => bookmark = Some(next),
                None => return ids,
            }
        }
    };
    for limit in [1, 2, 3, 100] {
        assert_eq!(read(None, limit).await, ["cz", "kz", "ca", "cb", "cc", "ka", "kb", "kc"], "{limit}");
        assert_eq!(read(Some(venue("kraken")), limit).await, ["kz", "ka", "kb", "kc"], "{limit}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_range_is_summed_exactly() {
    let database = Database::new().await;
    partitions::create(&database.store, Month::of(at(0))).await.expect("a partition");
    let market = market(&database, "coinbase").await;
    let store = &database.store;
    let range = (at(0), at(10));
    assert_eq!(export::first_tick(store, market.instrument, range).await.expect("an answer"), None);
    let new = [(3, "0.000000000000000001"), (5, "5000.10"), (10, "7")];
    let new = new.map(|(second, price)| {
        let tick = tick(second, "coinbase", price);
        (market.instrument, stored(tick, &second.to_string(), 1, second as u16))
    });
    add(&database, new.into()).await;
    let summary = export::summarize_ticks(store, market.instrument, range).await.expect("sums");
    assert_eq!((summary.rows, summary.price_sum.as_str()), (2, "5000.100000000000000001"));
    assert_eq!(export::count_ticks(store, market.instrument, range).await.expect("a number"), 2);
    let first = export::first_tick(store, market.instrument, range).await.expect("an answer");
    let last = export::last_tick(store, market.instrument, range).await.expect("an answer");
    assert_eq!((first, last), (Some(at(3)), Some(at(5))));
    let markets = export::markets(store, Some(&venue("coinbase")), None).await.expect("markets");
    assert_eq!(markets, [market]);
    assert_eq!(export::markets(store, Some(&venue("kraken")), None).await.expect("markets"), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_archived_when_each_day_of_each_market_is() {
    let database = Database::new().await;
    let (month, day) = (Month::of(at(0)), at(0).floor(events::Interval::Day));
    partitions::create(&database.store, month).await.expect("a partition");
    let market = market(&database, "coinbase").await;
    let archiver = database.store_as("tickbell_archiver").await;
    let writer = database.store_as("tickbell_history_writer").await;
    let waits = async |archive| export::unarchived_day(&writer, month, archive).await.expect("an answer");
    let (bucket, other) = ("s3://bucket/history", "s3://other/history");
    assert_eq!(waits(bucket).await, None);
    add(&database, vec![(market.instrument, stored(tick(3, "coinbase", "5"), "a", 1, 0))]).await;
    let expected = |stored, archived| Some(UnarchivedDay { market: market.clone(), day, stored, archived });
    assert_eq!(waits(bucket).await, expected(1, 0));
    let key = (market.instrument, day);
    export::mark_archived(&archiver, key, bucket, 1).await.expect("marked");
    assert_eq!(waits(bucket).await, None);
    add(&database, vec![(market.instrument, stored(tick(2, "coinbase", "5"), "b", 2, 0))]).await;
    assert_eq!(waits(bucket).await, expected(2, 1));
    export::mark_archived(&archiver, key, bucket, 2).await.expect("marked");
    assert_eq!(export::archived_ticks(&archiver, key, bucket).await.expect("a number"), 2);
    assert_eq!(waits(bucket).await, None);
    assert!(export::mark_archived(&writer, key, bucket, 3).await.is_err(), "only the archiver says so");

    // Another archive has what was found there, and one that was moved begins anew.
    assert_eq!(waits(other).await, expected(2, 0));
    assert_eq!(export::archived_ticks(&archiver, key, other).await.expect("a number"), 0);
    export::mark_archived(&archiver, key, other, 2).await.expect("marked");
    assert_eq!((waits(other).await, waits(bucket).await), (None, expected(2, 0)));
    // What an earlier version has compared counts for none.
    database.run("UPDATE archived_days SET archive = NULL").await;
    assert_eq!(waits(other).await, expected(2, 0));

    // A day that differs is no longer one that the archive has. Who compares it by hand may say so, too.
    let operator = database.store_as("tickbell_operator").await;
    for role in [&archiver, &operator] {
        export::mark_archived(&archiver, key, bucket, 2).await.expect("marked");
        export::unmark_archived(role, key, other).await.expect("an answer");
        assert_eq!(waits(bucket).await, None, "that is another archive");
        export::unmark_archived(role, key, bucket).await.expect("unmarked");
        assert_eq!(waits(bucket).await, expected(2, 0));
    }
    assert!(export::unmark_archived(&writer, key, bucket).await.is_err(), "who drops has no say");

    // What was dropped stays noted: the archive is the only copy.
    export::mark_archived(&archiver, key, bucket, 2).await.expect("marked");
    database.run("INSERT INTO dropped_tick_months SELECT date_trunc('month', day)::date FROM archived_days").await;
    export::unmark_archived(&operator, key, bucket).await.expect("an answer");
    assert_eq!(export::archived_ticks(&archiver, key, bucket).await.expect("a number"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_day_that_an_archive_lacks_is_known_of_each_market() {
    const DAY: i64 = 86_400;
    let database = Database::new().await;
    partitions::create(&database.store, Month::of(at(0))).await.expect("a partition");
    let (coinbase, kraken) = (market(&database, "coinbase").await, market(&database, "kraken").await);
    let archiver = database.store_as("tickbell_archiver").await;
    let fold = async |market: &Market, seconds: &[i64]| {
        let tick = |second: &i64| {
            let tick = tick(*second, market.venue.as_str(), "5");
            (market.instrument, stored(tick, &second.to_string(), 1, 0))
        };
        let partial = market_data::candles::fold(seconds.iter().map(tick));
        let merge = database.transaction(move |tx| Box::pin(async move { candles::merge(tx, &partial).await }));
        merge.await.expect("candles");
    };
    let (bucket, all) = ("s3://bucket", at(10 * DAY));
    let first = async |archive, before| {
        let days = export::first_unarchived_days(&archiver, archive, before).await.expect("days");
        [&coinbase, &kraken].map(|market| days.get(&market.instrument).copied())
    };
    assert_eq!(first(bucket, all).await, [None, None]);
    fold(&coinbase, &[1, 2, 1 + DAY]).await;
    fold(&kraken, &[1 + DAY]).await;
    let day = |number: i64| at(number * DAY).floor(events::Interval::Day);
    assert_eq!(first(bucket, all).await, [Some(day(0)), Some(day(1))]);
    assert_eq!(first(bucket, day(1)).await, [Some(day(0)), None], "before that day");
    let mark = async |market: &Market, day, ticks| {
        export::mark_archived(&archiver, (market.instrument, day), bucket, ticks).await.expect("marked");
    };
    mark(&coinbase, day(0), 2).await;
    mark(&kraken, day(1), 1).await;
    assert_eq!(first(bucket, all).await, [Some(day(1)), None]);
    assert_eq!(first("s3://other", all).await, [Some(day(0)), Some(day(1))], "another archive has none");
    mark(&coinbase, day(1), 1).await;
    assert_eq!(first(bucket, all).await, [None, None]);
    // A tick that comes later, in order or not, makes the day one that the archive does not have as a whole.
    fold(&coinbase, &[3]).await;
    assert_eq!(first(bucket, all).await, [Some(day(0)), None]);
    partitions::drop(&database.store, Month::of(at(0))).await.expect("dropped");
    assert_eq!(first(bucket, all).await, [None, None], "what was dropped cannot be archived");
    // The same role asks how far markets are.
    let asked = [(coinbase.symbol.clone(), Some(coinbase.venue.clone()))];
    let progress = store::market::markets::progress(&archiver, &asked).await.expect("it may ask");
    assert!(progress.iter().flatten().all(|progress| progress.gap_changes == 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tick_from_elsewhere_is_written_and_sorted_as_its_row_is() {
    let database = Database::new().await;
    partitions::create(&database.store, Month::of(at(0))).await.expect("a partition");
    let market = market(&database, "coinbase").await;
    let derived = format!("{}/5000.1//0", at(5).micros());
    let sized = |mut tick: Tick| {
        tick.size = Some("0.5000".parse().expect("a size"));
        tick
    };
    let new = [
        stored(sized(tick(5, "coinbase", "5000.10")), "/b", 7, 3),
        stored(tick(5, "coinbase", "68000"), derived.leak(), 7, 3),
        stored(tick(6, "coinbase", "0.000000000000000001"), "a", 2, 0),
    ];
    add(&database, new.map(|tick| (market.instrument, tick)).into()).await;
    let selection = TickSelection { symbol: symbol("BTC-USD"), venue: None, from: at(0), to: at(10) };
    let (mut bookmark, mut bookmarks) = (None, Vec::new());
    let line = |tick: &ExportedTick<'_>| {
        let mut text = Vec::new();
        TextFormat::Csv.write_tick(&market.symbol, tick, &mut text);
        String::from_utf8(text).expect("UTF-8")
    };
    let mut expected = new;
    expected.sort_by_key(|tick| TickBookmark::behind(market.instrument, tick));
    for from_elsewhere in &expected {
        let page = export::ticks(&database.store, &selection, bookmark.as_ref(), 1).await.expect("a page");
        let row = page.iter().next().expect("a tick").expect("it can be read");
        assert_eq!(line(&row), line(&ExportedTick::from(*from_elsewhere)));
        bookmark = page.bookmark().expect("a place");
        let behind = TickBookmark::behind(market.instrument, from_elsewhere);
        assert_eq!((bookmark.as_ref(), behind.at()), (Some(&behind), from_elsewhere.at));
        bookmarks.extend(bookmark.clone());
    }
    assert!(bookmarks.is_sorted() && bookmarks.len() == 3, "{bookmarks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_month_that_was_dropped_the_days_and_their_ticks_are_known() {
    let database = Database::new().await;
    let gateway = database.store_as("tickbell_gateway").await;
    let month = Month::of(at(0));
    partitions::create(&database.store, month).await.expect("a partition");
    let (coinbase, kraken) = (market(&database, "coinbase").await, market(&database, "kraken").await);
    let mut new = Vec::new();
    for (market, second) in [(&coinbase, 1), (&coinbase, 2), (&kraken, 3), (&coinbase, 86_400)] {
        let tick = stored(tick(second, market.venue.as_str(), "5"), second.to_string().leak(), 1, 0);
        new.push((market.instrument, tick));
    }
    let partial = market_data::candles::fold(new);
    let merge = database.transaction(move |tx| Box::pin(async move { candles::merge(tx, &partial).await }));
    merge.await.expect("candles");
    let days = async |venue: Option<events::Venue>, from, to| {
        let selection = TickSelection { symbol: symbol("BTC-USD"), venue, from, to };
        export::dropped_days(&gateway, &selection).await.expect("days")
    };
    let all = (at(0), at(10 * 86_400));
    assert_eq!(days(None, all.0, all.1).await, [], "nothing was dropped yet");
    partitions::drop(&database.store, month).await.expect("dropped");
    let first = at(0).floor(events::Interval::Day);
    let day = |market: &Market, day, (ticks, archived)| DroppedDay { market: market.clone(), day, ticks, archived };
    let next = first.after(events::Period::DAY);
    // One of the days was in an archive.
    database
        .run(&format!(
            "INSERT INTO archived_days (instrument_id, day, ticks) VALUES ({}, '{first}', 1)",
            kraken.instrument
        ))
        .await;
    let expected = [day(&coinbase, first, (2, 0)), day(&kraken, first, (1, 1)), day(&coinbase, next, (1, 0))];
    assert_eq!(days(None, all.0, all.1).await, expected);
    assert_eq!(days(Some(venue("kraken")), all.0, all.1).await, expected[1..2]);
    assert_eq!(days(None, at(5), next).await, expected[..2], "the range begins within the first day");
    assert_eq!(days(None, next, all.1).await, expected[2..]);
}
