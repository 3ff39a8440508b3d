//! Tests of the markets that rules are evaluated against.

use ::rules::{Changes, MarketState};
use events::RuleStatus;
use store::rules::{
    self, NewRule, RuleUpdate, VenueChoice, engine_state,
    judged::{self, JudgedMarket},
};

use crate::{
    database::Database,
    samples::{at, id, price, rule, symbol, venue},
};

/// Saves markets of BTC-USD at these venues, in the order of their first ticks, and one of ETH-USD.
async fn with_markets(venues: &[&str]) -> Database {
    let database = Database::new().await;
    let market = |(sequence, (name, quoted_by)): (u64, (&str, &str))| MarketState {
        symbol: symbol(name),
        venue: venue(quoted_by),
        is_primary: quoted_by == "kraken",
        last_sequence: sequence,
        last_at: at(sequence as i64),
        last_price: price("5000"),
        newest_ids: vec!["1".into()],
    };
    let bitcoin = venues.iter().map(|venue| ("BTC-USD", *venue)).chain([("ETH-USD", "kraken")]);
    let changes = Changes { markets: (1..).zip(bitcoin).map(market).collect(), ..Changes::default() };
    let saved = database.transaction(move |tx| Box::pin(async move { engine_state::save(tx, &changes).await }));
    saved.await.expect("it is saved");
    database
}

fn shown(market: Option<JudgedMarket>) -> Option<(String, events::Timestamp)> {
    market.map(|market| (market.venue.to_string(), market.last_tick_at))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_evaluated_at_the_venue_that_it_names_or_at_the_first_one() {
    let database = with_markets(&["kraken", "coinbase"]).await;
    let store = &database.store;
    let (kraken, coinbase) = (Some(("kraken".to_owned(), at(1))), Some(("coinbase".to_owned(), at(2))));
    let find = async |name: &str, named: Option<&str>| {
        shown(judged::find(store, &symbol(name), named.map(venue).as_ref()).await.expect("an answer"))
    };
    assert_eq!(find("BTC-USD", None).await, kraken);
    assert_eq!(find("BTC-USD", Some("coinbase")).await, coinbase);
    assert_eq!((find("BTC-USD", Some("binance")).await, find("LTC-USD", None).await), (None, None));
    assert_eq!(
        judged::list_venues(store, &symbol("BTC-USD")).await.expect("venues"),
        ["kraken", "coinbase"].map(venue)
    );
    assert_eq!(judged::list_symbols(store, 9).await.expect("symbols"), ["BTC-USD", "ETH-USD"].map(symbol));
    assert_eq!(judged::list_symbols(store, 1).await.expect("symbols"), [symbol("BTC-USD")]);

    let status = RuleStatus::Active;
    let rule = rule(1, "ada@example.com");
    let new = NewRule { rule, status, manage_token: [1; 32], user_id: None, order: None, created_at: at(0) };
    rules::create(store, new).await.expect("it is saved");
    let market = async || {
        let (found, _) = rules::find(store, id(1)).await.expect("an answer").expect("a rule");
        shown(found.market)
    };
    assert_eq!(market().await, kraken);
    for (choice, expected) in [
        (VenueChoice::Named(venue("coinbase")), coinbase),
        (VenueChoice::Named(venue("binance")), None),
        (VenueChoice::Primary, kraken),
    ] {
        let update = RuleUpdate { status: None, venue: Some(choice) };
        rules::update(store, id(1), update, at(1)).await.expect("an answer");
        assert_eq!(market().await, expected);
    }
}
