//! The pages behind the links in mails. Opening a page only asks and its button acts, because mail scanners open links.

mod account;
mod alert;
pub(crate) mod page;

use axum::Router;

use crate::state::AppState;

/// Returns the routes of all pages.
pub(crate) fn router() -> Router<AppState> {
    alert::router().merge(account::router())
}
