//! A row of the table: the latest price of a symbol, what it is compared with, and its last day.

use std::collections::BTreeMap;

use events::{Period, Price, Symbol, Tick, Timestamp, Venue, money::change_percent};
use rust_decimal::Decimal;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::points::{Point, Points};

/// How long a symbol stays that has no new price, where nothing but the page before knows it.
const FORGOTTEN_AFTER: Period = Period::seconds(7 * 86_400);

/// The latest price of a symbol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PriceRow {
    /// The symbol that the price is of.
    pub symbol: Symbol,
    /// The venue that made the price.
    pub venue: Venue,
    /// The price, in units of the quote currency.
    pub price: Price,
    /// The time of the price.
    pub at: Timestamp,
    /// The last price that was between 24 and 25 hours older, and its time; none where none is known.
    pub day_ago: Option<(Price, Timestamp)>,
    /// The time of the last trade before the gap that is open; none where no trade is known to be missing.
    pub gap_from: Option<Timestamp>,
    /// The prices of the last day.
    pub points: Points,
}

impl PriceRow {
    /// Returns the change since the day before in percent, to 4 decimal places.
    pub fn change(&self) -> Option<Decimal> {
        self.day_ago.map(|(reference, _)| change_percent(self.price, reference))
    }

    /// Returns the row of a symbol whose first price this is.
    fn new(tick: &Tick) -> Self {
        let Tick { symbol, venue, price, at, .. } = tick;
        Self {
            symbol: symbol.clone(),
            venue: venue.clone(),
            price: *price,
            at: *at,
            day_ago: None,
            gap_from: None,
            points: Points::default(),
        }
    }
}

/// A row as JSON. The fields of `GET /v1/prices` have the same names and meanings.
#[derive(Serialize, Deserialize)]
struct RowDocument {
    symbol: Symbol,
    venue: Venue,
    price: Price,
    at: Timestamp,
    #[serde(default, skip_deserializing)]
    change_24h_percent: Option<Decimal>,
    #[serde(default, skip_deserializing)]
    change_24h_since: Option<Timestamp>,
    #[serde(default, skip_deserializing)]
    gap: Option<GapDocument>,
    #[serde(default)]
    points: Points,
}

#[derive(Serialize)]
struct GapDocument {
    from: Timestamp,
}

impl Serialize for PriceRow {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { symbol, venue, price, at, day_ago, gap_from, points } = self.clone();
        let (change_24h_percent, change_24h_since) = (self.change(), day_ago.map(|(_, at)| at));
        let gap = gap_from.map(|from| GapDocument { from });
        RowDocument { symbol, venue, price, at, change_24h_percent, change_24h_since, gap, points }
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for PriceRow {
    /// Reads what the next page goes on from. What follows from it is computed again.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let RowDocument { symbol, venue, price, at, points, .. } = RowDocument::deserialize(deserializer)?;
        let day_ago = points.reference(at);
        Ok(Self { symbol, venue, price, at, day_ago, gap_from: None, points })
    }
}

/// Adds new prices to the rows of the page before, in the order of the symbols. A price that is there already changes nothing, and one
/// that is older than the latest only its day. A symbol without a price for a week leaves the page.
pub fn fold(former: Vec<PriceRow>, ticks: &[Tick], now: Timestamp) -> Vec<PriceRow> {
    let mut rows: BTreeMap<Symbol, PriceRow> = former.into_iter().map(|row| (row.symbol.clone(), row)).collect();
    for tick in ticks {
        let row = rows.entry(tick.symbol.clone()).or_insert_with(|| PriceRow::new(tick));
        if row.venue != tick.venue {
            // Prices of two venues are no series.
            *row = PriceRow::new(tick);
        }
        if tick.at >= row.at {
            (row.price, row.at) = (tick.price, tick.at);
        }
        row.points.add(Point { at: tick.at, price: tick.price });
    }
    let is_forgotten = |row: &PriceRow| now.micros() - row.at.micros() > FORGOTTEN_AFTER.micros();
    let has_new = |row: &PriceRow| ticks.iter().any(|tick| tick.symbol == row.symbol);
    let rows = rows.into_values().filter(|row| !is_forgotten(row) || has_new(row));
    rows.map(|row| PriceRow { day_ago: row.points.reference(row.at), ..row }).collect()
}

#[cfg(test)]
mod tests {
    use events::tick::{TickKind, TickSource};

    use super::*;

    const HOUR: i64 = 3_600;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros((1_900_000_800 + seconds) * 1_000_000).expect("a time")
    }

    fn tick(symbol: &str, seconds: i64, price: &str) -> Tick {
        Tick {
            venue: Venue::parse("coinnews").expect("a venue"),
            symbol: Symbol::parse(symbol).expect("a symbol"),
            price: price.parse().expect("a price"),
            size: None,
            at: at(seconds),
            received_at: at(seconds),
            kind: TickKind::Poll,
            source: TickSource::Live,
        }
    }

    fn said(rows: &[PriceRow]) -> Vec<String> {
        let change = |row: &PriceRow| row.change().map_or_else(|| "-".into(), |change| change.to_string());
        rows.iter().map(|row| format!("{} {} {}", row.symbol, row.price, change(row))).collect()
    }

    #[test]
    fn prices_go_on_from_the_page_before() {
        let first = fold(vec![], &[tick("ETH-USD", 0, "50"), tick("BTC-USD", 0, "100")], at(0));
        assert_eq!(said(&first), ["BTC-USD 100 -", "ETH-USD 50 -"]);
        let json = serde_json::to_string(&first).expect("JSON");
        let read: Vec<PriceRow> = serde_json::from_str(&json).expect("rows");
        assert_eq!(read, first);
        let next = [tick("BTC-USD", 24 * HOUR, "101.5"), tick("BTC-USD", HOUR, "7")];
        let second = fold(read, &next, at(24 * HOUR));
        assert_eq!(said(&second), ["BTC-USD 101.5 1.5000", "ETH-USD 50 -"]);
        assert_eq!(fold(second.clone(), &next, at(24 * HOUR)), second, "the same prices change nothing");
    }

    #[test]
    fn a_symbol_without_a_price_for_a_week_leaves_and_another_venue_begins_anew() {
        let first = fold(vec![], &[tick("ETH-USD", 0, "50"), tick("BTC-USD", 0, "100")], at(0));
        let other = Tick { venue: Venue::parse("other").expect("a venue"), ..tick("BTC-USD", 24 * HOUR, "101") };
        let second = fold(first, &[other], at(8 * 24 * HOUR));
        assert_eq!(said(&second), ["BTC-USD 101 -"]);
        assert_eq!(second[0].venue.as_str(), "other");
    }

    #[test]
    fn a_row_has_the_fields_of_the_api() {
        let row = PriceRow {
            gap_from: Some(at(1)),
            day_ago: Some(("50".parse().expect("a price"), at(0))),
            ..PriceRow::new(&tick("BTC-USD", 24 * HOUR, "49.5"))
        };
        let json = serde_json::to_value(&row).expect("JSON");
        assert_eq!(
            json,
            serde_json::json!({"symbol": "BTC-USD", "venue": "coinnews", "price": "49.5", "at": "2030-03-18T18:00:00.000000Z",
                "change_24h_percent": "-1.0000", "change_24h_since": "2030-03-17T18:00:00.000000Z",
                "gap": {"from": "2030-03-17T18:00:01.000000Z"}, "points": []})
        );
    }
}
