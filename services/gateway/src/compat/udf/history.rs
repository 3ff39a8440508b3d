//! Bars, which are candles under another name.

use std::io::Write;

use axum::{extract::State, response::Response};
use events::{Interval, Timestamp};
use serde::Serialize;
use store::{
    Numeric,
    market::candle_list::{CandleRow, CandleRows, CandleWidth, NewestCandles},
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    compat::{
        market_data::{JsonNumber, array, find_market, newest_candles},
        surface::UdfErrors,
        udf::params::{Count, Resolution, ResolutionName, Seconds, symbol},
    },
    http::{
        problem::Problem,
        validators::{IfNoneMatch, NotModified, Tagged},
    },
    request::query::{FromQuery, KnownParams, Query},
    state::AppState,
};

/// The most bars of an answer.
const MOST_BARS: u16 = 5_000;

/// The bars that a chart asks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct HistoryParams {
    /// The name of the symbol.
    #[param(example = "BTC-USD")]
    symbol: String,
    /// The width of a bar: 1, 5, 15, 60 or 240 minutes, or 1D.
    #[param(value_type = ResolutionName, inline)]
    resolution: Interval,
    /// Only bars that start at or after this time, in seconds since 1970. It is ignored with `countback`.
    #[param(value_type = Option<i64>, example = 1_522_886_400)]
    from: Timestamp,
    /// Only bars that start before this time, in seconds since 1970.
    #[param(value_type = Option<i64>, example = 1_522_972_800)]
    to: Timestamp,
    /// The number of bars before `to`. At most 5000 are answered.
    #[param(value_type = Option<i64>, minimum = 1, example = 300)]
    countback: Option<u16>,
}

impl FromQuery for HistoryParams {
    fn from_query(query: &mut Query) -> Option<Self> {
        let (symbol, resolution) = (query.required("symbol"), query.required("resolution"));
        let from = query.optional("from").map_or(Timestamp::EPOCH, |Seconds(from)| from);
        let to = query.optional("to").map_or(Timestamp::LAST, |Seconds(to)| to);
        let countback = query.optional("countback").map(|count: Count| count.at_most(MOST_BARS));
        let Resolution(resolution) = resolution?;
        Some(Self { symbol: symbol?, resolution, from, to, countback })
    }
}

impl HistoryParams {
    /// Returns the candles that are asked for. A chart that counts back wants so many, however old they are.
    fn candles(&self, instrument: i32) -> NewestCandles {
        let (from, limit) = match self.countback {
            Some(count) => (Timestamp::EPOCH, count),
            None => (self.from, MOST_BARS),
        };
        NewestCandles { instrument, width: CandleWidth::Stored(self.resolution), from, to: self.to, limit }
    }
}

/// Bars in columns, oldest first; or that there are none.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the OpenAPI document is made of it, and the answer of the rows")]
pub(crate) struct UdfHistory {
    /// `ok`, or `no_data`, which has no columns.
    #[schema(example = "ok")]
    s: &'static str,
    /// The seconds since 1970 at which each bar starts.
    t: Option<Vec<i64>>,
    o: Option<Vec<JsonNumber>>,
    h: Option<Vec<JsonNumber>>,
    l: Option<Vec<JsonNumber>>,
    c: Option<Vec<JsonNumber>>,
    v: Option<Vec<JsonNumber>>,
    /// With `no_data`: when the last bar before `from` starts, in milliseconds since 1970; absent where there is none.
    #[schema(rename = "nextTime")]
    next_time: Option<i64>,
}

/// The body that says that there are no bars, and when the last one before them starts.
#[derive(Serialize)]
struct NoData {
    s: &'static str,
    #[serde(rename = "nextTime", skip_serializing_if = "Option::is_none")]
    next_time: Option<i64>,
}

/// List the bars of a symbol
///
/// The oldest come first. Bars without ticks are left out.
#[utoipa::path(
    get, path = "/udf/history", tag = "udf", operation_id = "udf_history", params(HistoryParams, IfNoneMatch),
    responses((status = 200, body = UdfHistory), NotModified, UdfErrors),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    KnownParams(params): KnownParams<HistoryParams>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let market = find_market(&state, &symbol(&params.symbol)?).await?;
    let wanted = params.candles(market.instrument);
    let candles = newest_candles(&state, wanted).await?;
    if !candles.is_empty() {
        return Ok(Tagged::new(columns(&candles)?).answer(&condition));
    }
    let before = NewestCandles { from: Timestamp::EPOCH, to: wanted.from.min(wanted.to), limit: 1, ..wanted };
    let last = newest_candles(&state, before).await?;
    let next_time = last.iter().next().transpose()?.map(|candle| candle.start.micros() / 1_000);
    Ok(Tagged::of(&NoData { s: "no_data", next_time })?.answer(&condition))
}

/// Takes the value of a column out of a candle.
type Column = fn(CandleRow<'_>) -> Numeric<'_>;

/// Writes the candles, which come newest first, as columns of bars.
fn columns(candles: &CandleRows) -> Result<Vec<u8>, Problem> {
    let mut json = br#"{"s":"ok","t":"#.to_vec();
    array(&mut json, candles.iter().rev(), |json, candle| {
        // A vector takes all that is written.
        let _ = write!(json, "{}", candle.start.micros() / 1_000_000);
    })?;
    let columns: [(&str, Column); 5] = [
        ("o", |candle| candle.open),
        ("h", |candle| candle.high),
        ("l", |candle| candle.low),
        ("c", |candle| candle.close),
        ("v", |candle| candle.volume),
    ];
    for (name, column) in columns {
        json.extend_from_slice(format!(",\"{name}\":").as_bytes());
        array(&mut json, candles.iter().rev(), |json, candle| column(candle).write_to(json))?;
    }
    json.push(b'}');
    Ok(json)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Result<HistoryParams, Problem> {
        let pairs = [("symbol", "BTC-USD"), ("resolution", "60")].iter().chain(pairs);
        let mut query = Query::new(pairs.map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let params = HistoryParams::from_query(&mut query);
        query.finish(params)
    }

    #[test]
    fn a_chart_that_counts_back_gets_so_many_bars_however_old_they_are() {
        let range = [("from", "1000"), ("to", "2000")];
        for (more, from, limit) in [
            (&[][..], 1_000, MOST_BARS),
            (&[("countback", "2")], 0, 2),
            (&[("countback", "5001")], 0, MOST_BARS),
            (&[("countback", "4294967295")], 0, MOST_BARS),
        ] {
            let given: Vec<_> = range.iter().chain(more).copied().collect();
            let wanted = params(&given).unwrap_or_else(|problem| panic!("{given:?}: {}", problem.detail)).candles(7);
            assert_eq!((wanted.from.micros(), wanted.limit), (from * 1_000_000, limit), "{more:?}");
            assert_eq!(wanted.to.micros(), 2_000_000_000);
        }
        for bad in [("countback", "0"), ("countback", "-1"), ("from", "x"), ("to", "1.5")] {
            assert!(params(&[bad]).is_err(), "{bad:?}");
        }
    }
}
