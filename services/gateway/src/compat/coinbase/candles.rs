//! Candles of one product, and the hours of the last day of all.

use std::str::FromStr;

use axum::{extract::State, response::Response};
use events::{Interval, Symbol, Timestamp};
use store::market::{
    candle_list::{CandleRow, CandleWidth, NewestCandles},
    products::{self, DayHours},
};
use utoipa::{
    IntoParams, PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, Type},
};

use crate::{
    compat::{
        market_data::{JsonNumber, MOST_PRODUCTS, ProductPath, array, find_market, newest_candles, numbers},
        surface::CoinbaseErrors,
    },
    http::{
        problem::Problem,
        validators::{IfNoneMatch, NotModified, Tagged},
    },
    request::query::{FromQuery, KnownParams, Query},
    state::AppState,
};

/// The most candles of an answer.
const MOST_CANDLES: u16 = 300;

/// The last time in seconds since 1970 that a request may name: the largest number of ten digits.
const LAST_SECOND: i64 = 9_999_999_999;

/// The width of a candle in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Granularity(CandleWidth);

impl FromStr for Granularity {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let width = match text {
            "60" => CandleWidth::Stored(Interval::Minute),
            "300" => CandleWidth::Stored(Interval::FiveMinutes),
            "900" => CandleWidth::Stored(Interval::FifteenMinutes),
            "3600" => CandleWidth::Stored(Interval::Hour),
            "21600" => CandleWidth::SixHours,
            "86400" => CandleWidth::Stored(Interval::Day),
            _ => return Err("must be 60, 300, 900, 3600, 21600 or 86400"),
        };
        Ok(Self(width))
    }
}

/// The widths, for the OpenAPI document.
struct GranularityName;

impl PartialSchema for GranularityName {
    fn schema() -> RefOr<Schema> {
        let widths = [60, 300, 900, 3_600, 21_600, 86_400];
        ObjectBuilder::new().schema_type(Type::Integer).enum_values(Some(widths)).examples([3_600]).into()
    }
}

impl ToSchema for GranularityName {}

/// A time, as ISO 8601 or in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct CandleTime(Timestamp);

impl FromStr for CandleTime {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let time = match text.parse::<i64>().ok() {
            Some(seconds) if seconds > LAST_SECOND => None,
            Some(seconds) => Timestamp::from_micros(seconds.saturating_mul(1_000_000)).ok(),
            // The `+` of an offset that was not escaped.
            None => text.replace(' ', "+").parse().ok(),
        };
        time.map(Self)
            .ok_or("must be a time in ISO 8601 with its offset, like 2018-04-05T00:00:00Z, or the seconds since 1970")
    }
}

impl PartialSchema for CandleTime {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new()
            .schema_type(Type::String)
            .format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
            .pattern(Some("^(19[7-9]|[2-9][0-9]{2})[0-9]-"));
        let seconds = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0)).maximum(Some(LAST_SECOND));
        OneOfBuilder::new().item(text).item(seconds).into()
    }
}

impl ToSchema for CandleTime {}

/// The candles that a request asks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct CandleParams {
    /// The width of a candle in seconds; without it, a minute.
    #[param(value_type = Option<GranularityName>, inline)]
    granularity: CandleWidth,
    /// Only candles that start at or after this time.
    #[param(value_type = Option<CandleTime>, inline, example = "2018-04-05T00:00:00Z")]
    start: Option<Timestamp>,
    /// Only candles that start at or before this time. From `start` to `end` are at most 300 candles.
    #[param(value_type = Option<CandleTime>, inline, example = "2018-04-05T12:00:00Z")]
    end: Option<Timestamp>,
}

impl FromQuery for CandleParams {
    fn from_query(query: &mut Query) -> Option<Self> {
        let granularity = query.optional("granularity");
        let Granularity(granularity) = granularity.unwrap_or(Granularity(CandleWidth::Stored(Interval::Minute)));
        let [start, end] = ["start", "end"].map(|name| query.optional(name).map(|CandleTime(time)| time));
        if let Some((start, end)) = start.zip(end)
            && starts_between(start, end, granularity) > i64::from(MOST_CANDLES)
        {
            let detail = "must be at most 300 candles behind start: ask for fewer, or for wider ones";
            query.reject("end", detail);
        }
        Some(Self { granularity, start, end })
    }
}

impl CandleParams {
    /// Returns the range of starts, of which the second one is outside. A range with one end has as many candles as an answer.
    fn range(&self) -> (Timestamp, Timestamp) {
        let behind = |end: Timestamp| Timestamp::from_micros(end.micros() + 1).unwrap_or(Timestamp::LAST);
        let to = match (self.start, self.end) {
            (_, Some(end)) => behind(end),
            (Some(start), None) => {
                let span = self.granularity.span().micros() * i64::from(MOST_CANDLES);
                Timestamp::from_micros(start.micros() + span).unwrap_or(Timestamp::LAST)
            }
            (None, None) => Timestamp::LAST,
        };
        (self.start.unwrap_or(Timestamp::EPOCH), to)
    }
}

/// Returns the number of candles that may start between two times, both of which belong to it.
fn starts_between(start: Timestamp, end: Timestamp, width: CandleWidth) -> i64 {
    let span = width.span().micros();
    end.micros().div_euclid(span) - (start.micros() - 1).div_euclid(span)
}

/// A candle: the seconds since 1970 at which it starts, its lowest, highest, first and last price, and the volume.
#[derive(ToSchema)]
#[schema(as = CoinbaseCandle)]
#[expect(dead_code, reason = "the OpenAPI document is made of it, and the answer of the rows")]
pub(crate) struct CoinbaseCandle(Vec<JsonNumber>);

/// The last hours of each product, newest first.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the OpenAPI document is made of it, and the answer of the rows")]
pub(crate) struct CoinbaseSparkLines(std::collections::BTreeMap<String, Vec<Vec<JsonNumber>>>);

/// List the candles of a product
///
/// The newest come first. Candles without ticks are left out. Without `start` and `end` the answer has the last ones.
#[utoipa::path(
    get, path = "/compat/coinbase/products/{product_id}/candles", tag = "coinbase", operation_id = "coinbase_candles",
    params(("product_id" = Symbol, Path, description = "The symbol of the product", example = "BTC-USD"), CandleParams, IfNoneMatch),
    responses((status = 200, body = [CoinbaseCandle]), NotModified, CoinbaseErrors),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    ProductPath(symbol): ProductPath,
    KnownParams(params): KnownParams<CandleParams>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let market = find_market(&state, &symbol).await?;
    let (from, to) = params.range();
    let width = params.granularity;
    let newest = NewestCandles { instrument: market.instrument, width, from, to, limit: MOST_CANDLES };
    let candles = newest_candles(&state, newest).await?;
    let mut json = Vec::new();
    array(&mut json, candles.iter(), |json, candle| {
        numbers(json, seconds(&candle), [&candle.low, &candle.high, &candle.open, &candle.close, &candle.volume]);
    })?;
    Ok(Tagged::new(json).answer(&condition))
}

/// List the last day of all products
///
/// The answer has the hours of the day before the newest tick of each product, newest first, of at most 2000 products.
#[utoipa::path(
    get, path = "/compat/coinbase/products/spark-lines", tag = "coinbase", operation_id = "coinbase_spark_lines",
    params(IfNoneMatch),
    responses((status = 200, body = CoinbaseSparkLines), NotModified, CoinbaseErrors),
)]
pub(crate) async fn spark_lines(
    State(state): State<AppState>,
    KnownParams(()): KnownParams<()>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let hours = products::day_hours(&state.store, MOST_PRODUCTS).await?;
    Ok(Tagged::new(spark_lines_json(&hours)?).answer(&condition))
}

fn spark_lines_json(hours: &DayHours) -> Result<Vec<u8>, Problem> {
    let (mut json, mut before) = (vec![b'{'], None);
    for hour in hours.iter() {
        let (symbol, candle) = hour?;
        if before == Some(symbol) {
            json.push(b',');
        } else {
            // A symbol has no character that JSON escapes.
            let open = if before.is_some() { "],\"" } else { "\"" };
            json.extend_from_slice([open, symbol, "\":["].concat().as_bytes());
            before = Some(symbol);
        }
        numbers(&mut json, seconds(&candle), [&candle.low, &candle.high, &candle.open, &candle.close]);
    }
    json.extend_from_slice(if before.is_some() { b"]}" } else { b"}" });
    Ok(json)
}

fn seconds(candle: &CandleRow<'_>) -> i64 {
    candle.start.micros() / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Result<CandleParams, Problem> {
        let mut query = Query::new(pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let params = CandleParams::from_query(&mut query);
        query.finish(params)
    }

    fn range(pairs: &[(&str, &str)]) -> [String; 2] {
        let (from, to) = params(pairs).unwrap_or_else(|problem| panic!("{pairs:?}: {}", problem.detail)).range();
        [from, to].map(|time| time.to_string())
    }

    #[test]
    fn a_range_includes_both_ends() {
        let start = ("start", "2018-04-05T00:00:00.000Z");
        let first = "2018-04-05T00:00:00.000000Z";
        for (given, expected) in [
            (&[start, ("end", "2018-04-05T04:59:00Z")][..], [first, "2018-04-05T04:59:00.000001Z"]),
            (&[start], [first, "2018-04-05T05:00:00.000000Z"]),
            (&[start, ("granularity", "3600")], [first, "2018-04-17T12:00:00.000000Z"]),
            (&[("start", "1522886400"), ("end", "1522886460")], [first, "2018-04-05T00:01:00.000001Z"]),
            (&[("end", "2018-04-05T00:00:00Z")], ["1970-01-01T00:00:00.000000Z", "2018-04-05T00:00:00.000001Z"]),
        ] {
            assert_eq!(range(given), expected, "{given:?}");
        }
    }

    #[test]
    fn more_candles_than_an_answer_has_are_refused() {
        for (start, end, granularity, is_allowed) in [
            ("2018-04-05T00:00:00Z", "2018-04-05T04:59:00Z", "60", true),
            ("2018-04-05T00:00:00Z", "2018-04-05T04:59:59Z", "60", true),
            ("2018-04-05T00:00:00Z", "2018-04-05T05:00:00Z", "60", false),
            // What does not start with a candle has one fewer.
            ("2018-04-05T00:00:01Z", "2018-04-05T05:00:01Z", "60", true),
            ("2018-04-05T00:00:00Z", "2018-06-18T18:00:00Z", "21600", true),
            ("2018-04-05T00:00:00Z", "2018-06-19T00:00:00Z", "21600", false),
            ("2018-04-05T00:00:00Z", "2018-04-04T00:00:00Z", "60", true),
        ] {
            let given = [("start", start), ("end", end), ("granularity", granularity)];
            assert_eq!(params(&given).is_ok(), is_allowed, "{given:?}");
        }
    }

    #[test]
    fn other_widths_and_times_are_refused() {
        for (name, value) in [
            ("granularity", "61"),
            ("granularity", "1m"),
            ("start", "yesterday"),
            ("end", "-1"),
            ("end", "10000000000"),
            ("end", "99999999999999999999"),
            ("start", "2018-04-05"),
        ] {
            assert!(params(&[(name, value)]).is_err(), "{name}={value}");
        }
    }
}
