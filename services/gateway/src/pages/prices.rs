//! The page `/prices`: the latest prices as a table, for browsers without JavaScript and for everybody else.

use askama::Template;
use axum::{
    Router,
    extract::State,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use events::{Price, Symbol, Timestamp, Venue, money::change_percent};
use store::market::queries::{self, Latest};

use crate::{
    http::problem::Problem,
    pages::page::STYLE,
    request::{
        cursor::{ListCursor, PriceCursor},
        query::{ListQuery, QueryParams},
    },
    state::AppState,
};

pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/prices", get(show))
}

#[derive(Template)]
#[template(path = "prices.html")]
struct PricesPage {
    style: &'static str,
    rows: Vec<Row>,
    /// The cursor of the next page, if there is one.
    next: Option<String>,
}

struct Row {
    symbol: Symbol,
    price: Price,
    /// The change in 24 hours with its sign, or a dash where it is not known.
    change: String,
    venue: Venue,
    at: Timestamp,
}

impl From<Latest> for Row {
    fn from(Latest { symbol, venue, price, at, day_ago, .. }: Latest) -> Self {
        let change = day_ago
            .map_or_else(|| "–".to_owned(), |(reference, _)| format!("{:+.2} %", change_percent(price, reference)));
        Self { symbol, price, change, venue, at }
    }
}

async fn show(
    State(state): State<AppState>,
    QueryParams(list): QueryParams<ListQuery<PriceCursor>>,
) -> Result<Response, Problem> {
    let after = list.cursor.as_ref().map(|ListCursor(symbol)| symbol);
    let mut prices = queries::list_latest(&state.store, after, i64::from(list.limit) + 1).await?;
    let has_more = prices.len() > usize::from(list.limit);
    prices.truncate(usize::from(list.limit));
    let last = prices.last().filter(|_| has_more);
    let next = last.map(|last| PriceCursor::encode(&ListCursor(last.symbol.clone())));
    let page = PricesPage { style: STYLE, rows: prices.into_iter().map(Row::from).collect(), next };
    let text = page.render().map_err(|error| Problem::internal(format!("the prices are no page: {error}")))?;
    Ok(Html(text).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(change: Option<&str>) -> Row {
        let at = Timestamp::from_micros(1_900_000_000_000_000).expect("a time");
        let price = |text: &str| text.parse::<Price>().expect("a price");
        Latest {
            instrument: 1,
            symbol: Symbol::parse("BTC-USD").expect("a symbol"),
            venue: Venue::parse("coinbase").expect("a venue"),
            price: price("101.5"),
            at,
            position: market_data::TickPosition { sequence: 1, index: 0 },
            day_ago: change.map(|reference| (price(reference), at)),
            gap_from: None,
        }
        .into()
    }

    #[test]
    fn a_change_has_its_sign_and_one_that_is_not_known_is_a_dash() {
        for (reference, change) in
            [(Some("100"), "+1.50 %"), (Some("203"), "-50.00 %"), (Some("101.5"), "+0.00 %"), (None, "–")]
        {
            assert_eq!(row(reference).change, change, "{reference:?}");
        }
    }

    #[test]
    fn the_table_has_a_row_for_each_symbol_and_a_link_to_the_next_page() {
        let page = PricesPage { style: STYLE, rows: vec![row(None)], next: Some("pBTC-USD".into()) };
        let text = page.render().expect("a page");
        assert!(text.contains("<th scope=\"row\">BTC-USD</th><td class=\"number\">101.5</td>"), "{text}");
        assert!(text.contains("href=\"/prices?cursor=pBTC-USD\""), "{text}");
        let last = PricesPage { style: STYLE, rows: vec![], next: None }.render().expect("a page");
        assert!(last.contains("No price has arrived yet.") && !last.contains("cursor="), "{last}");
    }
}
