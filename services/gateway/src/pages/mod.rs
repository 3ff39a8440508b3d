//! Pages that work without JavaScript: those behind the links in mails, and the prices as a table. Opening the page of a link
//! only asks and its button acts, because mail scanners open links.

mod account;
mod alert;
pub(crate) mod page;
mod prices;

use axum::Router;

use crate::state::AppState;

/// Returns the routes of all pages.
pub(crate) fn router() -> Router<AppState> {
    alert::router().merge(account::router()).merge(prices::router())
}
