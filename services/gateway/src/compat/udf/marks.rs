//! Marks on a chart: the gaps of the market, and the caller's firings.

use axum::{Json, extract::State};
use events::{AlertFired, FeedGap, Timestamp, display};
use rules::Firing;
use serde::Serialize;
use store::{feeds::status, rules as alert_rules};
use utoipa::{IntoParams, ToSchema};

use crate::{
    auth::OptionalUser,
    compat::{
        market_data::find_market,
        surface::UdfErrors,
        udf::params::{Seconds, symbol},
    },
    http::problem::Problem,
    request::query::{FromQuery, KnownParams, Query},
    state::AppState,
};

/// The most marks of each kind.
const MOST_MARKS: i64 = 500;
/// The diameter of a mark in pixels.
const SIZE: u32 = 14;

/// The marks that a chart asks for.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct MarkParams {
    /// The name of the symbol.
    #[param(example = "BTC-USD")]
    symbol: String,
    /// Only marks at or after this time, in seconds since 1970.
    #[param(value_type = Option<i64>, example = 1_522_886_400)]
    from: Timestamp,
    /// Only marks at or before this time, in seconds since 1970.
    #[param(value_type = Option<i64>, example = 1_522_972_800)]
    to: Timestamp,
}

impl FromQuery for MarkParams {
    fn from_query(query: &mut Query) -> Option<Self> {
        let symbol = query.required("symbol");
        let from = query.optional("from").map_or(Timestamp::EPOCH, |Seconds(from)| from);
        let to = query.optional("to").map_or(Timestamp::LAST, |Seconds(to)| to);
        Some(Self { symbol: symbol?, from, to })
    }
}

/// Marks in columns, oldest first.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct UdfMarks {
    id: Vec<String>,
    /// The seconds since 1970.
    time: Vec<i64>,
    color: Vec<&'static str>,
    /// A sentence that says what has happened.
    text: Vec<String>,
    label: Vec<&'static str>,
    label_font_color: Vec<&'static str>,
    min_size: Vec<u32>,
}

/// A mark on a chart.
struct Mark {
    id: String,
    at: Timestamp,
    color: &'static str,
    text: String,
    label: &'static str,
}

impl From<Firing> for Mark {
    fn from(firing: Firing) -> Self {
        let price = display::price(firing.price, &firing.symbol);
        let change = firing.change_percent.map(|percent| format!(" ({})", display::change(percent)));
        let text = format!("Your alert fired at {price}{}.", change.unwrap_or_default());
        let id = AlertFired::id_of(firing.rule_id, firing.number);
        Self { id, at: firing.fired_at, color: "blue", text, label: "A" }
    }
}

impl From<FeedGap> for Mark {
    fn from(gap: FeedGap) -> Self {
        let from = display::time_to_the_second(gap.from);
        let until = gap.to.map_or("now".into(), display::time_to_the_second);
        let reason = gap.reason.as_str().replace('_', " ");
        let text = format!("Trades from {from} until {until} were missed ({reason}): {}.", gap.state.as_str());
        Self { id: gap.gap_id, at: gap.from, color: "red", text, label: "G" }
    }
}

impl FromIterator<Mark> for UdfMarks {
    fn from_iter<I: IntoIterator<Item = Mark>>(marks: I) -> Self {
        let mut columns = Self::default();
        for Mark { id, at, color, text, label } in marks {
            columns.id.push(id);
            columns.time.push(at.micros() / 1_000_000);
            columns.color.push(color);
            columns.text.push(text);
            columns.label.push(label);
            columns.label_font_color.push("white");
            columns.min_size.push(SIZE);
        }
        columns
    }
}

/// List marks
///
/// The answer has the gaps of the symbol's primary venue and, with a token, the firings of the caller's alerts about the symbol: the
/// newest 500 of each.
#[utoipa::path(
    get, path = "/udf/marks", tag = "udf", operation_id = "udf_marks", params(MarkParams),
    security((), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = UdfMarks), UdfErrors),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    OptionalUser(caller): OptionalUser,
    KnownParams(params): KnownParams<MarkParams>,
) -> Result<Json<UdfMarks>, Problem> {
    let symbol = symbol(&params.symbol)?;
    let market = find_market(&state, &symbol).await?;
    let times = (params.from, params.to);
    let gaps = status::list_gaps(&state.store, (&symbol, &market.venue), times, MOST_MARKS).await?;
    let firings = match caller {
        Some(caller) => {
            alert_rules::list_firings_of_user(&state.store, caller.user_id, &symbol, times, MOST_MARKS).await?
        }
        None => Vec::new(),
    };
    let mut marks: Vec<Mark> = gaps.into_iter().map(Mark::from).chain(firings.into_iter().map(Mark::from)).collect();
    marks.sort_by_key(|mark| mark.at);
    Ok(Json(marks.into_iter().collect()))
}
