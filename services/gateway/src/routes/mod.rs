//! The operations of the API, one module per resource. Each route and its OpenAPI description come from the same lines.

mod alerts;
mod api_keys;
mod assets;
mod balances;
mod deposits;
mod feeds;
mod ledger;
mod orders;
mod page;
mod prices;
mod sessions;
mod stream;
mod system;
mod trades;
mod users;

#[cfg(test)]
mod tests;

use utoipa_axum::{
    router::{OpenApiRouter, UtoipaMethodRouter},
    routes,
};

use crate::{compat, http::openapi, state::AppState};

/// Returns every operation, those for other people's clients too; what is not here is not served.
pub(crate) fn router() -> OpenApiRouter<AppState> {
    let router = OpenApiRouter::with_openapi(openapi::document());
    let operations = operations().into_iter().chain(compat::operations());
    let mut router = operations.fold(router, OpenApiRouter::routes);
    openapi::close_requests(router.get_openapi_mut());
    router
}

fn operations() -> Vec<UtoipaMethodRouter<AppState>> {
    vec![
        routes!(prices::list),
        routes!(prices::show),
        routes!(prices::history),
        routes!(prices::candles),
        routes!(prices::download::history),
        routes!(prices::download::candles),
        routes!(stream::stream),
        routes!(stream::ws::open),
        routes!(stream::create_ticket),
        routes!(feeds::list, feeds::follow),
        routes!(feeds::remove),
        routes!(system::show),
        routes!(system::dead_letters::list),
        routes!(system::dead_letters::replay),
        routes!(alerts::create, alerts::list),
        routes!(alerts::adopt),
        routes!(alerts::show, alerts::update, alerts::delete),
        routes!(alerts::firings),
        routes!(alerts::late_verdicts),
        routes!(alerts::deliveries::list),
        routes!(orders::place, orders::list),
        routes!(orders::show, orders::cancel),
        routes!(balances::list),
        routes!(trades::list),
        routes!(ledger::list),
        routes!(assets::list),
        routes!(deposits::create),
        routes!(users::sign_up),
        routes!(users::me, users::erase),
        routes!(users::export),
        routes!(users::password::change),
        routes!(users::password::request_reset),
        routes!(users::password::reset),
        routes!(sessions::sign_in, sessions::sign_out_everywhere),
        routes!(sessions::sign_out),
        routes!(api_keys::create, api_keys::list),
        routes!(api_keys::revoke),
    ]
}
