//! Tests of history as it leaves the database: pages that follow each other, days and their sums, and known gaps.

use events::{Tick, tick::TickSource};
use market_data::{InstrumentId, Month, StoredTick};
use store::market::{
    export::{self, Market, TickSelection, UnarchivedDay},
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
    assert_eq!(export::unarchived_day(&writer, month).await.expect("an answer"), None);
    add(&database, vec![(market.instrument, stored(tick(3, "coinbase", "5"), "a", 1, 0))]).await;
    let expected = |stored, archived| Some(UnarchivedDay { market: market.clone(), day, stored, archived });
    assert_eq!(export::unarchived_day(&writer, month).await.expect("an answer"), expected(1, 0));
    export::mark_archived(&archiver, market.instrument, day, 1).await.expect("marked");
    assert_eq!(export::unarchived_day(&writer, month).await.expect("an answer"), None);
    add(&database, vec![(market.instrument, stored(tick(2, "coinbase", "5"), "b", 2, 0))]).await;
    assert_eq!(export::unarchived_day(&writer, month).await.expect("an answer"), expected(2, 1));
    export::mark_archived(&archiver, market.instrument, day, 2).await.expect("marked");
    assert_eq!(export::archived_ticks(&archiver, market.instrument, day).await.expect("a number"), 2);
    assert_eq!(export::unarchived_day(&writer, month).await.expect("an answer"), None);
    assert!(export::mark_archived(&writer, market.instrument, day, 3).await.is_err(), "only the archiver says so");
}
