//! Tests of the latest prices of several symbols.

use events::Symbol;
use market_data::{InstrumentId, Month};
use store::market::{
    instruments, partitions,
    queries::{self, Latest},
    ticks,
};

use super::{price, stored, symbol, tick, venue};
use crate::{database::Database, samples::at};

const DAY: i64 = 86_400;

/// Adds an instrument whose newest price is at a time, with a price of a day before.
async fn quote(database: &Database, name: (&'static str, &'static str), seconds: i64) -> InstrumentId {
    let work = database.transaction(move |tx| {
        Box::pin(async move {
            let instrument = instruments::add(tx, &symbol(name.0), &venue(name.1)).await?;
            let new = [
                (instrument, stored(2 * instrument as u64, tick(seconds - DAY, name.1, "50"))),
                (instrument, stored(2 * instrument as u64 + 1, tick(seconds, name.1, "100"))),
            ];
            ticks::add(tx, &new).await?;
            ticks::merge_latest(tx, &new[1..]).await?;
            Ok(instrument)
        })
    });
    work.await.expect("it is quoted")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_latest_prices_of_some_symbols_are_those_of_the_list() {
    let database = Database::new().await;
    for seconds in [-DAY, 0] {
        partitions::create(&database.store, Month::of(at(seconds))).await.expect("a partition");
    }
    let store = &database.store;
    assert!(queries::quoted_symbols(store, 9).await.expect("symbols").is_empty());
    let names = [("SPY", "file"), ("BTC-USD", "coinbase"), ("BRK.B", "file"), ("BTC-USD", "kraken")];
    let mut instruments = Vec::new();
    for (name, seconds) in names.into_iter().zip([10, 20, 30, 40]) {
        instruments.push((quote(&database, name, seconds).await, at(seconds)));
    }
    let all = queries::list_latest(store, None, 9).await.expect("prices");
    let text = |latest: &Latest| format!("{} {} {}", latest.symbol, latest.venue, latest.price);
    assert_eq!(
        all.iter().map(text).collect::<Vec<_>>(),
        ["BRK.B file 100", "BTC-USD coinbase 100", "SPY file 100"],
        "only primary venues"
    );
    for (asked, expected) in [
        (vec!["SPY", "BRK.B", "SPY"], vec![&all[0], &all[2]]),
        (vec!["BTC-USD", "ETH-USD"], vec![&all[1]]),
        (vec![], vec![]),
    ] {
        let asked: Vec<Symbol> = asked.into_iter().map(symbol).collect();
        let found = queries::latest_of(store, &asked).await.expect("prices");
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{asked:?}");
    }
    for limit in [9, 3, 2] {
        let symbols = queries::quoted_symbols(store, limit).await.expect("symbols");
        assert!(symbols.iter().eq(all.iter().map(|latest| &latest.symbol).take(limit as usize)), "{symbols:?}");
    }

    let nobody = (instruments[3].0 + 1, at(0));
    let asked = [instruments[2], nobody, instruments[0], instruments[3]];
    let days_ago = queries::days_ago(store, &asked).await.expect("an answer");
    let prices: Vec<_> = days_ago.into_iter().map(|day_ago| day_ago.prices).collect();
    let day_ago = |seconds: i64| vec![(at(seconds - DAY), price("50"))];
    assert_eq!(prices, [day_ago(30), vec![], day_ago(10), day_ago(40)]);
}
