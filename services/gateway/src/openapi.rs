//! The routes and, from the same lines, `/openapi.json`.

use std::collections::BTreeMap;

use utoipa::{
    IntoResponses, Modify, OpenApi,
    openapi::{
        ContentBuilder, Ref, RefOr, ResponseBuilder,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_axum::{router::OpenApiRouter, routes};

use crate::{App, alerts, prices, problem::ProblemBody};

/// Every operation under `/v1`; what is not here is not served.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(alerts::create))
        .routes(routes!(alerts::show, alerts::update, alerts::delete))
        .routes(routes!(alerts::firings))
        .routes(routes!(prices::list))
        .routes(routes!(prices::show))
        .routes(routes!(prices::history))
        .routes(routes!(prices::candles))
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Tickbell",
        description = "Watches market prices and rings.\n\nDecimals are strings and times RFC 3339 UTC; in a request a \
            decimal may also be a JSON number, which is read exactly as it is written. Unknown fields and parameters \
            are refused. Lists answer a page and the `next_cursor` behind it. Problems are \
            `application/problem+json` (RFC 9457) and carry a `trace_id`, which is also the answer's `x-request-id` \
            unless the request brought one.",
        license(name = "Apache-2.0", identifier = "Apache-2.0"),
    ),
    tags(
        (name = "alerts", description = "Rules and what they have fired"),
        (name = "prices", description = "What is known of prices"),
    ),
    components(schemas(ProblemBody)),
    modifiers(&Tokens),
)]
struct Api;

/// What may stand behind `Authorization: Bearer`.
struct Tokens;

impl Modify for Tokens {
    fn modify(&self, api: &mut utoipa::openapi::OpenApi) {
        let components = api.components.get_or_insert_default();
        for (name, what) in [
            ("manage_token", "The `manage_token` that POST /v1/alerts answered with: of this alert only."),
            ("session", "The `token` that POST /v1/sessions answered with: all that its person may do."),
            ("api_key", "The `key` that POST /v1/api-keys answered with, when it has the scopes that are listed."),
        ] {
            let scheme = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).description(Some(what)).build();
            components.add_security_scheme(name, SecurityScheme::Http(scheme));
        }
    }
}

/// What every operation may answer instead of what was asked for.
pub(crate) struct ProblemResponses;

impl IntoResponses for ProblemResponses {
    fn responses() -> BTreeMap<String, RefOr<utoipa::openapi::Response>> {
        [
            ("400", "The body is not JSON"),
            ("401", "The token is missing, or not valid"),
            ("403", "The API key lacks the scope, or the session the role"),
            ("404", "There is no such thing, or the token is not its own"),
            ("409", "It cannot go there from the status it has"),
            ("413", "The body is too large"),
            ("415", "The body is not said to be JSON"),
            ("422", "Something in the request is not valid; `errors` says what and where"),
            ("429", "Too many attempts; try again after `Retry-After` seconds"),
            ("500", "A fault of ours"),
            ("503", "Too busy, too slow, or without its database; try again after `Retry-After` seconds"),
        ]
        .into_iter()
        .map(|(status, what)| (status.to_owned(), RefOr::T(problem(what))))
        .collect()
    }
}

fn problem(what: &str) -> utoipa::openapi::Response {
    let schema = Ref::from_schema_name("Problem");
    let content = ContentBuilder::new().schema(Some(schema)).build();
    ResponseBuilder::new().description(what).content("application/problem+json", content).build()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::subscription;

    fn document() -> Value {
        serde_json::to_value(router().into_openapi()).expect("JSON")
    }

    fn fits(name: &str, value: &Value) -> bool {
        let schema = json!({"$ref": format!("#/components/schemas/{name}"), "components": document()["components"]});
        jsonschema::validator_for(&schema).expect("a schema whose references resolve").is_valid(value)
    }

    fn check(name: &str, value: &Value) {
        assert!(fits(name, value), "{name}: {value}");
    }

    #[test]
    fn every_operation_of_the_contract_is_described_and_no_other() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths");
        let described: BTreeSet<String> = paths
            .iter()
            .flat_map(|(path, item)| {
                item.as_object().into_iter().flatten().map(move |(verb, _)| format!("{verb} {path}"))
            })
            .collect();
        let contract = [
            "post /v1/alerts",
            "get /v1/alerts/{id}",
            "patch /v1/alerts/{id}",
            "delete /v1/alerts/{id}",
            "get /v1/alerts/{id}/firings",
            "get /v1/prices",
            "get /v1/prices/{symbol}",
            "get /v1/prices/{symbol}/history",
            "get /v1/prices/{symbol}/candles",
        ];
        assert_eq!(described, contract.map(str::to_owned).into());
    }

    #[test]
    fn every_operation_says_what_it_answers_and_what_it_needs() {
        let document = document();
        for (path, item) in document["paths"].as_object().expect("paths") {
            for (verb, operation) in item.as_object().expect("operations") {
                let at = format!("{verb} {path}");
                assert!(operation["summary"].as_str().is_some_and(|text| !text.is_empty()), "{at}");
                assert_eq!(
                    operation["responses"]["422"]["content"]["application/problem+json"]["schema"]["$ref"],
                    "#/components/schemas/Problem",
                    "{at}"
                );
                assert_eq!(operation["security"].is_array(), path.contains("{id}"), "{at}");
                let names: Vec<_> =
                    operation["parameters"].as_array().into_iter().flatten().map(|p| p["name"].as_str()).collect();
                let is_list = operation["responses"]["200"].to_string().contains("Page");
                assert_eq!(names.contains(&Some("cursor")), is_list, "{at}: {names:?}");
            }
        }
    }

    #[test]
    fn every_reference_resolves() {
        let document = document();
        let text = document.to_string();
        for reference in text.split("\"$ref\":\"#").skip(1).filter_map(|rest| rest.split('"').next()) {
            assert!(document.pointer(reference).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_example_of_a_subscription_is_accepted_and_fits_its_schema() {
        let document = document();
        let body = &document["paths"]["/v1/alerts"]["post"]["requestBody"]["content"]["application/json"];
        let examples = body["examples"].as_object().expect("examples");
        assert_eq!(examples.len(), 3);
        for example in examples.values() {
            let text = example["value"].to_string();
            subscription::read(text.as_bytes(), Uuid::nil(), events::Timestamp::EPOCH).expect(&text);
            check("Subscription", &example["value"]);
        }
    }

    #[test]
    fn what_is_answered_fits_its_schema() {
        for condition in [
            json!({"change": {"percent": 5, "direction": "down", "since": "1h"}}),
            json!({"change": {"percent": "0.01"}}),
            json!({"price": {"above": 7000}}),
            json!({"price": {"below": "0.1"}}),
        ] {
            let body = json!({"symbol": "SPY", "condition": condition, "notify": {"email": "ada@example.com"}});
            check("Subscription", &body);
            let rule =
                subscription::read(body.to_string().as_bytes(), Uuid::nil(), events::Timestamp::EPOCH).expect("a rule");
            let alert = alerts::Alert::from(store::rules::RuleRecord {
                rule,
                status: events::RuleStatus::Active,
                firings: 1,
                created_at: events::Timestamp::EPOCH,
            });
            check("Alert", &serde_json::to_value(alert).expect("JSON"));
        }
        for wrong in [json!({"email": "ada@example.com"}), json!({"symbol": "SPY", "email": 5, "percent": 5})] {
            assert!(!fits("Subscription", &wrong), "{wrong}");
        }
        let mistakes = vec![crate::problem::Mistake::body("/a", "b"), crate::problem::Mistake::parameter("a", "b")];
        let problem = crate::problem::Problem::invalid(mistakes).to_json("abc");
        check("Problem", &serde_json::from_slice(&problem).expect("JSON"));
    }
}
