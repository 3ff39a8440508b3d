//! The page `/prices`: the latest prices as a table, for browsers without JavaScript and for everybody else.

use axum::{
    Router,
    extract::State,
    response::{Html, IntoResponse, Response},
    routing::get,
};
use platform::clock;
use price_page::{Links, PricePage};
use store::market::queries;

use crate::{
    http::problem::Problem,
    request::{
        cursor::{ListCursor, PriceCursor},
        query::{ListQuery, QueryParams},
    },
    state::AppState,
};

pub(crate) fn router() -> Router<AppState> {
    Router::new().route("/prices", get(show))
}

async fn show(
    State(state): State<AppState>,
    QueryParams(list): QueryParams<ListQuery<PriceCursor>>,
) -> Result<Response, Problem> {
    let after = list.cursor.as_ref().map(|ListCursor(symbol)| symbol);
    let mut rows = queries::list_price_rows(&state.store, after, i64::from(list.limit) + 1).await?;
    let has_more = rows.len() > usize::from(list.limit);
    rows.truncate(usize::from(list.limit));
    let last = rows.last().filter(|_| has_more);
    let next = last.map(|last| format!("/prices?cursor={}", PriceCursor::encode(&ListCursor(last.symbol.clone()))));
    let links = Links { home: Some("/"), next: next.as_deref(), json: "/v1/prices" };
    Ok(Html(PricePage { rows: &rows, omitted: 0, made_at: clock::now(), links, icons: None }.to_html()).into_response())
}
