//! Quotes: the latest price of each symbol, and what its day was like.

use axum::{extract::State, response::Response};
use events::{Symbol, Venue, money::change_percent};
use serde::Serialize;
use store::market::{
    products::{self, DayRange},
    queries::Latest,
};
use utoipa::{IntoParams, ToSchema};

use crate::{
    compat::{market_data::JsonNumber, surface::UdfErrors, udf::params::symbol},
    http::{
        problem::Problem,
        validators::{IfNoneMatch, NotModified, Tagged},
    },
    request::query::{FromQuery, KnownParams, Query},
    state::AppState,
};

/// The most symbols of a request.
const MOST_SYMBOLS: usize = 50;

/// The symbols that are asked for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct QuoteParams {
    /// At most 50 symbols, with commas between them.
    #[param(value_type = String, pattern = "^[^,]*(,[^,]*){0,49}$", example = "BTC-USD,ETH-USD")]
    symbols: Vec<String>,
}

impl FromQuery for QuoteParams {
    fn from_query(query: &mut Query) -> Option<Self> {
        let symbols: Vec<_> = query.required::<String>("symbols")?.split(',').map(str::to_owned).collect();
        if symbols.len() > MOST_SYMBOLS {
            query.reject("symbols", format!("must be at most {MOST_SYMBOLS} symbols"));
        }
        Some(Self { symbols })
    }
}

/// The quotes, in the order of the request.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfQuotes {
    /// Always `ok`: what is unknown is said of each symbol.
    #[schema(example = "ok")]
    s: &'static str,
    d: Vec<UdfQuote>,
}

/// The quote of a symbol.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UdfQuote {
    /// `ok`, or `error` where the symbol is not known.
    #[schema(example = "ok")]
    s: &'static str,
    /// The symbol as it was asked for.
    #[schema(example = "BTC-USD")]
    n: String,
    v: UdfQuoteValues,
}

/// The values of a quote; all are absent where the symbol is not known.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(crate) struct UdfQuoteValues {
    /// The change since the price of a day ago; absent, with the percentage and that price, when none is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    ch: Option<JsonNumber>,
    /// The change in percent, to 4 decimal places.
    #[serde(skip_serializing_if = "Option::is_none")]
    chp: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_name: Option<Symbol>,
    #[serde(skip_serializing_if = "Option::is_none")]
    exchange: Option<Venue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "BTC-USD at coinbase")]
    description: Option<String>,
    /// The latest price.
    #[serde(skip_serializing_if = "Option::is_none")]
    lp: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    open_price: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    high_price: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    low_price: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prev_close_price: Option<JsonNumber>,
    #[serde(skip_serializing_if = "Option::is_none")]
    volume: Option<JsonNumber>,
}

impl UdfQuoteValues {
    fn new(latest: Latest, day: DayRange) -> Result<Self, Problem> {
        let reference = latest.day_ago.map(|(reference, _)| reference);
        let number = |text: String| JsonNumber::new(text);
        let change = reference.map(|reference| latest.price.decimal() - reference.decimal());
        let percent = reference.map(|reference| change_percent(latest.price, reference));
        let description = format!("{} at {}", latest.symbol, latest.venue);
        Ok(Self {
            ch: change.map(|change| number(change.to_string())).transpose()?,
            chp: percent.map(|percent| number(percent.to_string())).transpose()?,
            short_name: Some(latest.symbol),
            exchange: Some(latest.venue),
            description: Some(description),
            lp: Some(number(latest.price.to_string())?),
            open_price: reference.map(|price| number(price.to_string())).transpose()?,
            high_price: Some(number(day.high)?),
            low_price: Some(number(day.low)?),
            prev_close_price: reference.map(|price| number(price.to_string())).transpose()?,
            volume: Some(number(day.volume)?),
        })
    }
}

/// List quotes
///
/// The change is that of `/v1/prices`: since the last price that was between 24 and 25 hours older.
#[utoipa::path(
    get, path = "/udf/quotes", tag = "udf", operation_id = "udf_quotes", params(QuoteParams, IfNoneMatch),
    responses((status = 200, body = UdfQuotes), NotModified, UdfErrors),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    KnownParams(params): KnownParams<QuoteParams>,
    condition: IfNoneMatch,
) -> Result<Response, Problem> {
    let mut found = Vec::new();
    for name in params.symbols {
        let latest = match symbol(&name) {
            Ok(symbol) => state.latest_prices.read(&state.store, &symbol).await?,
            Err(_) => None,
        };
        found.push((name, latest));
    }
    let newest: Vec<_> =
        found.iter().filter_map(|(_, latest)| latest.as_ref()).map(|latest| (latest.instrument, latest.at)).collect();
    let mut days = products::day_ranges(&state.store, &newest).await?.into_iter();
    let mut quotes = Vec::with_capacity(found.len());
    for (name, latest) in found {
        quotes.push(match latest {
            Some(latest) => {
                let day = days.next().flatten().unwrap_or_else(|| DayRange::of(latest.price));
                UdfQuote { s: "ok", n: name, v: UdfQuoteValues::new(latest, day)? }
            }
            None => UdfQuote { s: "error", n: name, v: UdfQuoteValues::default() },
        });
    }
    Ok(Tagged::of(&UdfQuotes { s: "ok", d: quotes })?.answer(&condition))
}
