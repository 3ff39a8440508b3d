//! The frame of the OpenAPI document: what it says besides the operations.

use utoipa::{
    Modify, OpenApi,
    openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
};

use crate::http::problem::ProblemBody;

/// Returns the document without operations.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tickbell",
        description = "Watches market prices, sends alerts and settles orders.\n\nDecimals are strings and times RFC 3339 UTC; in a request a \
            decimal may also be a JSON number, which is read exactly as it is written. Unknown fields and parameters \
            are refused. Lists answer a page of `items` and the \
            `next_cursor` of the next page. Problems are \
            `application/problem+json` (RFC 9457) and carry a `trace_id`, which is also the answer's `x-request-id` \
            unless the request brought one.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "prices", description = "Latest prices, price history and candles"),
        (name = "alerts", description = "Alerts on prices, and their firings"),
        (name = "orders", description = "Orders to buy and to sell"),
        (name = "money", description = "Balances, trades, the ledger, assets and deposits"),
        (name = "users", description = "Users, sessions, passwords and API keys"),
    ),
    components(schemas(ProblemBody)),
    modifiers(&SecuritySchemes),
)]
struct Api;

/// The tokens that `Authorization: Bearer` takes.
struct SecuritySchemes;

impl Modify for SecuritySchemes {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        for (name, description) in [
            ("manage_token", "The `manage_token` that POST /v1/alerts answers. It is valid for this alert only."),
            ("session", "The `token` that POST /v1/sessions answers. It allows everything that its user may do."),
            ("api_key", "The `key` that POST /v1/api-keys answers. The key must have the scopes that are listed."),
        ] {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(description)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}
