//! The operations of the API, one module per resource. Each route and its OpenAPI description come from the same lines.

mod alerts;
mod api_keys;
mod assets;
mod balances;
mod deposits;
mod ledger;
mod orders;
mod page;
mod prices;
mod sessions;
mod trades;
mod users;

#[cfg(test)]
mod tests;

use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{http::openapi, state::AppState};

/// Returns every operation under `/v1`; what is not here is not served.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::with_openapi(openapi::document())
        .routes(routes!(prices::list))
        .routes(routes!(prices::show))
        .routes(routes!(prices::history))
        .routes(routes!(prices::candles))
        .routes(routes!(alerts::create, alerts::list))
        .routes(routes!(alerts::adopt))
        .routes(routes!(alerts::show, alerts::update, alerts::delete))
        .routes(routes!(alerts::firings))
        .routes(routes!(orders::place, orders::list))
        .routes(routes!(orders::show, orders::cancel))
        .routes(routes!(balances::list))
        .routes(routes!(trades::list))
        .routes(routes!(ledger::list))
        .routes(routes!(assets::list))
        .routes(routes!(deposits::create))
        .routes(routes!(users::sign_up))
        .routes(routes!(users::me, users::erase))
        .routes(routes!(users::export))
        .routes(routes!(users::password::change))
        .routes(routes!(users::password::request_reset))
        .routes(routes!(users::password::reset))
        .routes(routes!(sessions::sign_in, sessions::sign_out_everywhere))
        .routes(routes!(sessions::sign_out))
        .routes(routes!(api_keys::create, api_keys::list))
        .routes(routes!(api_keys::revoke))
}
