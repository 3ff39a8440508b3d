//! Queries over market data: latest prices with their last day, and how many ticks there are.

use std::collections::{BTreeSet, HashMap};

use events::{Interval, Period, Price, Symbol, Timestamp, Venue};
use market_data::{InstrumentId, TickPosition};
use price_page::{Point, Points, PriceRow};
use sqlx::{Row, postgres::PgRow};

use crate::{Error, Store, bigint, market::ticks, optional_price, pg::row};

/// The newest price of a symbol at its primary venue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Latest {
    /// The number of the instrument.
    pub instrument: InstrumentId,
    /// The symbol that is quoted.
    pub symbol: Symbol,
    /// The symbol's primary venue.
    pub venue: Venue,
    /// The price in the quote asset.
    pub price: Price,
    /// The time of the tick.
    pub at: Timestamp,
    /// The position of the tick in stream `TICKS`.
    pub position: TickPosition,
    /// The last price that was between 24 and 25 hours older, and its time; none where the history has no such price.
    pub day_ago: Option<(Price, Timestamp)>,
    /// The time of the last trade before the oldest gap that is open; none where no trade is known to be missing now.
    pub gap_from: Option<Timestamp>,
}

/// Returns how many ticks of a venue, whose times are within a span, were stored from the messages behind `after` up to `until`.
/// A tick that the history had before has the sequence of its first page.
pub async fn count_ticks(
    store: &Store,
    venue: &Venue,
    times: (Timestamp, Timestamp),
    (after, until): (u64, u64),
) -> Result<u64, Error> {
    let count: i64 = sqlx::query_scalar(
        "SELECT count(*) FROM instruments instrument JOIN ticks tick ON tick.instrument_id = instrument.id
         WHERE instrument.venue = $1 AND tick.at BETWEEN $2 AND $3 AND tick.sequence > $4 AND tick.sequence <= $5",
    )
    .bind(venue.as_str())
    .bind(times.0.datetime())
    .bind(times.1.datetime())
    .bind(bigint(after))
    .bind(bigint(until))
    .fetch_one(store.pool())
    .await?;
    Ok(count as u64)
}

/// Finds the newest price of every primary instrument and the price 24 hours before it, each with one index lookup.
pub const LATEST: &str = "
    SELECT instrument.id, symbol, venue, latest.price, latest.at, latest.sequence, latest.index, day_ago.price AS day_ago_price, day_ago.at AS day_ago_at,
        (SELECT min(gap_from) FROM feed_gaps gap
         WHERE gap.venue = instrument.venue AND gap.symbol = instrument.symbol AND state IN ('open', 'filling')) AS gap_from
    FROM (SELECT id, symbol, venue FROM instruments
          WHERE is_primary AND ($1::text[] IS NULL OR symbol = ANY($1)) AND ($2::text IS NULL OR symbol > $2)) AS instrument
    JOIN latest_prices latest ON latest.instrument_id = instrument.id
    LEFT JOIN LATERAL (
        SELECT price, at FROM ticks WHERE instrument_id = instrument.id AND at <= latest.at - interval '24 hours'
            AND at >= latest.at - interval '25 hours'
        ORDER BY at DESC, sequence DESC, index DESC LIMIT 1) AS day_ago ON true
    ORDER BY symbol LIMIT $3";

/// Returns whether any venue has quoted a symbol.
pub async fn is_quoted(store: &Store, symbol: &Symbol) -> Result<bool, Error> {
    let query = "SELECT EXISTS (SELECT FROM instruments WHERE symbol = $1)";
    Ok(sqlx::query_scalar(query).bind(symbol.as_str()).fetch_one(store.pool()).await?)
}

/// Returns the newest price of one symbol.
pub async fn latest(store: &Store, symbol: &Symbol) -> Result<Option<Latest>, Error> {
    Ok(latest_of(store, std::slice::from_ref(symbol)).await?.pop())
}

/// Returns the newest prices of those of some symbols that are quoted, in the order of the symbols.
pub async fn latest_of(store: &Store, symbols: &[Symbol]) -> Result<Vec<Latest>, Error> {
    find_latest(store, Some(symbols), None, symbols.len() as i64).await
}

/// Returns the symbols that have a newest price, or the first `limit` of them.
pub async fn quoted_symbols(store: &Store, limit: i64) -> Result<BTreeSet<Symbol>, Error> {
    let query = "
        SELECT symbol FROM instruments JOIN latest_prices latest ON latest.instrument_id = instruments.id
        WHERE is_primary ORDER BY symbol LIMIT $1";
    let rows = sqlx::query(query).bind(limit).fetch_all(store.pool()).await?;
    rows.iter().map(row::symbol).collect()
}

/// Returns the newest prices of at most `limit` symbols after `after`, in the order of the symbols.
pub async fn list_latest(store: &Store, after: Option<&Symbol>, limit: i64) -> Result<Vec<Latest>, Error> {
    find_latest(store, None, after, limit).await
}

/// Finds the closes of the last day of each market, up to its newest price, with one index scan each.
const DAY_CLOSES: &str = "
    SELECT market.id, start, close FROM unnest($1::integer[], $2::timestamptz[]) AS market (id, newest)
    CROSS JOIN LATERAL (
        SELECT start, close FROM candles
        WHERE instrument_id = market.id AND interval_seconds = $3 AND start >= newest - interval '24 hours' AND start <= newest
    ) AS candle";

/// Returns the rows of the page of prices: the newest prices of at most `limit` symbols after `after`, in the order of the symbols, each
/// with the closes of its last day by quarters of an hour.
pub async fn list_price_rows(store: &Store, after: Option<&Symbol>, limit: i64) -> Result<Vec<PriceRow>, Error> {
    let latest = list_latest(store, after, limit).await?;
    let ids: Vec<InstrumentId> = latest.iter().map(|latest| latest.instrument).collect();
    let newest: Vec<_> = latest.iter().map(|latest| latest.at.datetime()).collect();
    let query =
        sqlx::query(DAY_CLOSES).bind(ids).bind(newest).bind(Interval::FifteenMinutes.span().as_seconds() as i32);
    let mut closes: HashMap<InstrumentId, Vec<Point>> = HashMap::new();
    for row in query.fetch_all(store.pool()).await? {
        let point = Point { at: time(&row, "start")?, price: Price::new(row.try_get("close")?)? };
        closes.entry(row.try_get("id")?).or_default().push(point);
    }
    let with_day = |latest: Latest| {
        let Latest { instrument, symbol, venue, price, at, day_ago, gap_from, .. } = latest;
        let mut points = Points::from(closes.remove(&instrument).unwrap_or_default());
        points.add(Point { at, price });
        PriceRow { symbol, venue, price, at, day_ago, gap_from, points }
    };
    Ok(latest.into_iter().map(with_day).collect())
}

/// The most prices that [`DayAgo`] has behind the first one.
const LATER_PRICES: i64 = 64;

/// What the changes of a market within 24 hours are measured from, for its present price and for the next ones.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayAgo {
    /// Prices with their times, oldest first, without a gap.
    pub prices: Vec<(Timestamp, Price)>,
    /// The time before which a newest price must be to be measured from these.
    pub until: Timestamp,
}

impl DayAgo {
    /// `prices` are those around `then`, which is a day before `newest`.
    fn of(newest: Timestamp, then: Timestamp, prices: Vec<(Timestamp, Price)>) -> Self {
        let later = prices.iter().filter(|(at, _)| *at > then).count();
        let until = match prices.last() {
            // Others may follow that have the time of the last one.
            Some((last, _)) if later as i64 == LATER_PRICES => last.after(Period::DAY),
            _ => newest.after(Period::HOUR),
        };
        Self { prices, until }
    }

    /// Returns the last price that was between 24 and 25 hours before a newest price. The error says that this is not known.
    pub fn reference(&self, newest: Timestamp) -> Result<Option<(Price, Timestamp)>, UnknownReference> {
        if newest >= self.until {
            return Err(UnknownReference);
        }
        let (last, first) = (newest.micros() - Period::DAY.micros(), newest.micros() - OLDEST_REFERENCE.micros());
        let behind = self.prices.partition_point(|(at, _)| at.micros() <= last);
        let found = self.prices[..behind].last().filter(|(at, _)| at.micros() >= first);
        Ok(found.map(|(at, price)| (*price, *at)))
    }
}

/// The price of a day ago is not among those that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UnknownReference;

/// The age of the oldest price that a change of a day is measured from.
const OLDEST_REFERENCE: Period = Period::seconds(25 * 3_600);

/// Reads for each instrument the last price up to its time, of the hour before, and the prices of the hour behind.
const DAYS_AGO: &str = "
    SELECT asked.number, found.price, found.at
    FROM unnest($1::int[], $2::timestamptz[]) WITH ORDINALITY AS asked (instrument_id, at, number)
    CROSS JOIN LATERAL (
        (SELECT price, at, sequence, index FROM ticks
         WHERE instrument_id = asked.instrument_id AND at <= asked.at AND at >= asked.at - interval '1 hour'
         ORDER BY at DESC, sequence DESC, index DESC LIMIT 1)
        UNION ALL
        (SELECT price, at, sequence, index FROM ticks
         WHERE instrument_id = asked.instrument_id AND at > asked.at AND at < asked.at + interval '1 hour'
         ORDER BY at, sequence, index LIMIT $3)) AS found
    ORDER BY asked.number, found.at, sequence, index";

/// Returns for each instrument, whose newest price is at a time or somewhat later, what its changes are measured from.
pub async fn days_ago(store: &Store, newest: &[(InstrumentId, Timestamp)]) -> Result<Vec<DayAgo>, Error> {
    // A day before the first day of 1970 there is nothing, so its start will do.
    let day_before = |at: Timestamp| Timestamp::from_micros(at.micros() - Period::DAY.micros()).unwrap_or_default();
    let then: Vec<Timestamp> = newest.iter().map(|(_, at)| day_before(*at)).collect();
    let query = sqlx::query(DAYS_AGO)
        .bind(newest.iter().map(|(instrument, _)| *instrument).collect::<Vec<_>>())
        .bind(then.iter().map(|then| then.datetime()).collect::<Vec<_>>())
        .bind(LATER_PRICES);
    let mut prices = vec![Vec::new(); newest.len()];
    for found in &query.fetch_all(store.pool()).await? {
        let number: i64 = found.try_get("number")?;
        if let Some(prices) = usize::try_from(number - 1).ok().and_then(|index| prices.get_mut(index)) {
            prices.push((time(found, "at")?, Price::new(found.try_get("price")?)?));
        }
    }
    Ok(newest
        .iter()
        .zip(then)
        .zip(prices)
        .map(|(((_, newest), then), prices)| DayAgo::of(*newest, then, prices))
        .collect())
}

async fn find_latest(
    store: &Store,
    only: Option<&[Symbol]>,
    after: Option<&Symbol>,
    limit: i64,
) -> Result<Vec<Latest>, Error> {
    let rows = sqlx::query(LATEST)
        .bind(only.map(|symbols| symbols.iter().map(Symbol::to_string).collect::<Vec<_>>()))
        .bind(after.map(Symbol::as_str))
        .bind(limit)
        .fetch_all(store.pool())
        .await?;
    rows.iter().map(read_latest).collect()
}

fn venue(row: &PgRow) -> Result<Venue, Error> {
    Ok(Venue::parse(row.try_get("venue")?).map_err(|error| sqlx::Error::Decode(error.into()))?)
}

fn time(row: &PgRow, column: &str) -> Result<Timestamp, Error> {
    Ok(row.try_get::<chrono::DateTime<chrono::Utc>, _>(column)?.into())
}

fn read_latest(row: &PgRow) -> Result<Latest, Error> {
    let symbol = Symbol::parse(row.try_get("symbol")?).map_err(|error| sqlx::Error::Decode(error.into()))?;
    let price = Price::new(row.try_get("price")?)?;
    let day_ago_price = optional_price(row.try_get("day_ago_price")?)?;
    let day_ago = day_ago_price.zip(row::optional_time(row, "day_ago_at")?);
    Ok(Latest {
        instrument: row.try_get("id")?,
        symbol,
        venue: venue(row)?,
        price,
        at: time(row, "at")?,
        position: ticks::position(row)?,
        day_ago,
        gap_from: row::optional_time(row, "gap_from")?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_measured_from_the_last_price_that_is_24_to_25_hours_older() {
        const HOUR: i64 = 3_600;
        let at = |seconds: i64| Timestamp::from_micros((1_900_000_000 + seconds) * 1_000_000).expect("a time");
        let price = |text: &str| text.parse::<Price>().expect("a price");
        let prices = vec![(at(0), price("1")), (at(10), price("2")), (at(10), price("3")), (at(20), price("4"))];
        let day_ago = DayAgo { prices, until: at(26 * HOUR) };
        for (newest, expected) in [
            (24 * HOUR - 1, Ok(None)),
            (24 * HOUR, Ok(Some(("1", 0)))),
            (24 * HOUR + 9, Ok(Some(("1", 0)))),
            (24 * HOUR + 10, Ok(Some(("3", 10)))),
            (25 * HOUR + 20, Ok(Some(("4", 20)))),
            (25 * HOUR + 21, Ok(None)),
            (26 * HOUR, Err(UnknownReference)),
        ] {
            let expected = expected.map(|found| found.map(|(text, seconds)| (price(text), at(seconds))));
            assert_eq!(day_ago.reference(at(newest)), expected, "{newest}");
        }
    }
}
