//! Replays of recordings, as a client of the API sees them.

use std::collections::BTreeMap;

use events::Timestamp;
use market_data::RecordedTrade;
use proptest::{collection::vec, prelude::*};

use crate::{coin_prices::CoinPrices, playback::RecordedPrices};

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000).expect("a time")
}

fn trade(seconds: i64, symbol: &str, price: u32) -> RecordedTrade {
    let (symbol, price) = (symbol.parse().expect("a symbol"), price.to_string().parse().expect("a price"));
    RecordedTrade { time: at(seconds), symbol, price, size: None, id: None, was_rounded: false }
}

/// Replays trades from second 1000.
fn replay(trades: impl IntoIterator<Item = RecordedTrade>, speed: &str) -> CoinPrices {
    let mut recorded = RecordedPrices::default();
    trades.into_iter().for_each(|trade| recorded.add(trade));
    CoinPrices::from_recording(recorded, speed.parse().expect("a speed"), at(1_000))
}

/// Returns the seconds and prices of a coin's history.
fn history(prices: &CoinPrices, coin: &str, now: i64) -> Option<Vec<(i64, String)>> {
    let history = prices.history(coin, at(now))?;
    Some(history.iter().map(|entry| (entry.date.micros() / 1_000_000, entry.value.to_string())).collect())
}

#[test]
fn a_replay_starts_with_the_server_and_again_a_second_after_its_end() {
    let prices = replay([trade(50, "BTC-USD", 1), trade(54, "BTC-USD", 2)], "1x");
    let quote = |now| prices.quote("bitcoin", at(now)).map(|quote| (quote.updated_at, quote.value.to_string()));
    assert_eq!(quote(999), quote(1_000), "before the start of the server the first price is current");
    assert_eq!(quote(1_003), Some((at(1_000), "1".into())));
    assert_eq!(quote(1_004), Some((at(1_004), "2".into())));
    assert_eq!(quote(1_005), Some((at(1_005), "1".into())));
    let expected = [(1_000, "1"), (1_004, "2"), (1_005, "1")].map(|(at, price)| (at, price.to_owned()));
    assert_eq!(history(&prices, "bitcoin", 1_008), Some(expected.to_vec()));
}

#[test]
fn a_coin_is_listed_from_its_first_price_on() {
    let prices = replay([trade(0, "BTC-USD", 1), trade(9, "DOGE-USD", 2)], "1x");
    assert_eq!(prices.coins(at(1_008)), ["bitcoin"]);
    assert_eq!(prices.quote("dogecoin", at(1_008)), None);
    assert_eq!(prices.coins(at(1_009)), ["bitcoin", "dogecoin"]);
    assert_eq!(
        history(&prices, "dogecoin", 1_015),
        Some(vec![(1_009, "2".into())]),
        "it stays listed in the next loop"
    );
}

#[test]
fn a_symbol_that_is_not_a_coin_is_left_out_and_delays_nothing() {
    let prices = replay([trade(0, "SPY", 1), trade(500, "BTC-USD", 2), trade(600, "BTC-EUR", 3)], "1x");
    assert_eq!(prices.coins(at(1_000)), ["bitcoin"]);
    assert_eq!(history(&prices, "bitcoin", 1_001).map(|history| history.len()), Some(2), "its loop takes a second");
}

#[test]
fn trades_are_replayed_in_the_order_of_their_times_and_the_last_of_each_time() {
    let trades = [(7, 3), (0, 1), (7, 4), (3, 2)].map(|(seconds, price)| trade(seconds, "BTC-USD", price));
    let expected = [(1_000, "1"), (1_003, "2"), (1_007, "4")].map(|(at, price)| (at, price.to_owned()));
    assert_eq!(history(&replay(trades, "1x"), "bitcoin", 1_007), Some(expected.to_vec()));
}

#[test]
fn the_slowest_replay_of_the_longest_recording_does_not_overflow() {
    let trades = || [trade(0, "BTC-USD", 1), trade(253_402_300_799, "BTC-USD", 2)];
    assert_eq!(history(&replay(trades(), "0.001x"), "bitcoin", 253_402_300_799).map(|history| history.len()), Some(1));
    assert!(history(&replay(trades(), "1000000x"), "bitcoin", 253_402_300_799).is_some());
}

proptest! {
    #[test]
    fn a_history_has_every_price_that_was_due_by_then(
        recorded in vec((0_i64..100, 1_u32..1_000), 1..20), now in 0_i64..1_000,
    ) {
        let prices = replay(recorded.iter().map(|(seconds, price)| trade(*seconds, "BTC-USD", *price)), "2x");
        // The model: every price of every loop that is due by now.
        let mut one_loop: BTreeMap<i64, u32> = BTreeMap::new();
        let first = recorded.iter().map(|(seconds, _)| *seconds).min().expect("one or more");
        let mut sorted = recorded.clone();
        sorted.sort_by_key(|(seconds, _)| *seconds);
        one_loop.extend(sorted.iter().map(|(seconds, price)| ((seconds - first) * 500_000, *price)));
        let length = one_loop.keys().max().expect("one or more") + 1_000_000;
        let expected: Vec<_> = (0..1_000)
            .flat_map(|number| one_loop.iter().map(move |(due, price)| (number * length + due, price.to_string())))
            .take_while(|(due, _)| *due <= now * 1_000_000)
            .collect();
        let history = prices.history("bitcoin", at(1_000 + now)).expect("a history");
        let found: Vec<_> =
            history.iter().map(|entry| (entry.date.micros() - 1_000_000_000, entry.value.to_string())).collect();
        prop_assert_eq!(found, expected);
    }
}
