//! The frame of the OpenAPI document: what it says besides the operations.

use std::collections::BTreeSet;

use utoipa::{
    Modify, OpenApi,
    openapi::{
        Components, RefOr, Schema,
        schema::AdditionalProperties,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use crate::{
    compat::surface::{CoinbaseError, UdfError},
    http::problem::ProblemBody,
};

/// Returns the document without operations.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    Api::openapi()
}

/// The path of the references to schemas.
const SCHEMAS: &str = "#/components/schemas/";

/// Says of every object in a request that it has no other fields: the server refuses what it does not know.
pub(crate) fn close_requests(api: &mut utoipa::openapi::OpenApi) {
    let operations = api.paths.paths.values_mut().flat_map(|item| {
        [&mut item.get, &mut item.put, &mut item.post, &mut item.delete, &mut item.patch].into_iter().flatten()
    });
    let bodies = operations.filter_map(|operation| match &mut operation.request_body {
        Some(RefOr::T(body)) => Some(body),
        _ => None,
    });
    let contents = bodies.flat_map(|body| body.content.values_mut()).filter_map(|content| match content {
        RefOr::T(content) => content.schema.as_mut(),
        RefOr::Ref(_) => None,
    });
    let mut open = Vec::new();
    contents.for_each(|schema| close(schema, &mut open));
    let Some(Components { schemas, .. }) = &mut api.components else { return };
    let mut closed = BTreeSet::new();
    while let Some(name) = open.pop() {
        if closed.insert(name.clone())
            && let Some(schema) = schemas.get_mut(&name)
        {
            close(schema, &mut open);
        }
    }
}

/// Closes the objects of a schema, and adds the names of those that it refers to.
fn close(schema: &mut RefOr<Schema>, referred: &mut Vec<String>) {
    match schema {
        RefOr::Ref(reference) => referred.extend(reference.ref_location.strip_prefix(SCHEMAS).map(str::to_owned)),
        RefOr::T(Schema::Object(object)) if !object.properties.is_empty() => {
            object.additional_properties = Some(Box::new(AdditionalProperties::FreeForm(false)));
            object.properties.values_mut().for_each(|property| close(property, referred));
        }
        RefOr::T(Schema::Array(array)) => {
            if let utoipa::openapi::schema::ArrayItems::RefOrSchema(items) = &mut array.items {
                close(items, referred);
            }
        }
        RefOr::T(Schema::OneOf(one)) => one.items.iter_mut().for_each(|item| close(item, referred)),
        RefOr::T(Schema::AnyOf(any)) => any.items.iter_mut().for_each(|item| close(item, referred)),
        // The parts of an allOf would refuse each other's fields; the one that has them all is closed where it is made.
        RefOr::T(Schema::AllOf(all)) => all.items.iter().for_each(|item| refer(item, referred)),
        RefOr::T(_) => {}
    }
}

/// Adds the names of the schemas that the fields of a part refer to.
fn refer(part: &RefOr<Schema>, referred: &mut Vec<String>) {
    close(&mut part.clone(), referred);
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
        (name = "prices", description = "Latest prices, price history, candles and feeds"),
        (name = "system", description = "How the services are, and what they have given up"),
        (name = "streams", description = "Prices and events as they happen"),
        (name = "alerts", description = "Alerts on prices, and their firings"),
        (name = "orders", description = "Orders to buy and to sell"),
        (name = "money", description = "Balances, trades, the ledger, assets and deposits"),
        (name = "users", description = "Users, sessions, passwords and API keys"),
        (name = "udf", description = "Market data for charts that speak TradingView's UDF; unknown parameters are ignored"),
        (name = "coinbase", description = "Market data in the shapes of Coinbase Exchange; unknown parameters are ignored"),
        (name = "coinbase-advanced", description = "Market data in the shapes of Coinbase Advanced; unknown parameters are ignored"),
    ),
    components(schemas(ProblemBody, CoinbaseError, UdfError)),
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
