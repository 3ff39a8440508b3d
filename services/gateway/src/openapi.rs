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

use crate::{App, accounts, alerts, deposits, keys, orders, prices, problem::ProblemBody, sessions, users};

/// Every operation under `/v1`; what is not here is not served.
pub(crate) fn router() -> OpenApiRouter<App> {
    OpenApiRouter::with_openapi(Api::openapi())
        .routes(routes!(users::sign_up))
        .routes(routes!(sessions::sign_in, sessions::sign_out_everywhere))
        .routes(routes!(sessions::sign_out))
        .routes(routes!(users::ask_for_reset))
        .routes(routes!(users::reset))
        .routes(routes!(users::me, users::erase))
        .routes(routes!(users::change_password))
        .routes(routes!(users::export))
        .routes(routes!(keys::create, keys::list))
        .routes(routes!(keys::revoke))
        .routes(routes!(alerts::create, alerts::list))
        .routes(routes!(alerts::adopt))
        .routes(routes!(alerts::show, alerts::update, alerts::delete))
        .routes(routes!(alerts::firings))
        .routes(routes!(orders::place, orders::list))
        .routes(routes!(orders::show, orders::cancel))
        .routes(routes!(accounts::balances))
        .routes(routes!(accounts::trades))
        .routes(routes!(accounts::ledger))
        .routes(routes!(accounts::assets))
        .routes(routes!(deposits::create))
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
        (name = "users", description = "Accounts: who signs in, and with which keys"),
        (name = "alerts", description = "Rules and what they have fired"),
        (name = "orders", description = "To buy and to sell"),
        (name = "accounts", description = "What you have and how it came to be"),
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
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;
    use crate::{subscription, terms};

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

    /// Every operation, and what each way to be let in needs: nothing, a manage token, a session, a key with a scope.
    const CONTRACT: &[(&str, &[&str])] = &[
        ("post /v1/users", &[]),
        ("post /v1/sessions", &[]),
        ("delete /v1/sessions", &["session"]),
        ("delete /v1/sessions/current", &["session"]),
        ("post /v1/password-resets", &[]),
        ("post /v1/password-resets/{token}", &[]),
        ("get /v1/me", &["session", "api_key read"]),
        ("delete /v1/me", &["session"]),
        ("put /v1/me/password", &["session"]),
        ("get /v1/me/export", &["session"]),
        ("post /v1/api-keys", &["session"]),
        ("get /v1/api-keys", &["session"]),
        ("delete /v1/api-keys/{id}", &["session"]),
        ("post /v1/alerts", &["", "session", "api_key alerts"]),
        ("get /v1/alerts", &["session", "api_key alerts"]),
        ("post /v1/alerts/{id}/adopt", &["session", "api_key alerts"]),
        ("get /v1/alerts/{id}", &["manage_token", "session", "api_key alerts"]),
        ("patch /v1/alerts/{id}", &["manage_token", "session", "api_key alerts"]),
        ("delete /v1/alerts/{id}", &["manage_token", "session", "api_key alerts"]),
        ("get /v1/alerts/{id}/firings", &["manage_token", "session", "api_key alerts"]),
        ("post /v1/orders", &["session", "api_key trade"]),
        ("get /v1/orders", &["session", "api_key read"]),
        ("get /v1/orders/{id}", &["session", "api_key read"]),
        ("delete /v1/orders/{id}", &["session", "api_key trade"]),
        ("get /v1/accounts", &["session", "api_key read"]),
        ("get /v1/trades", &["session", "api_key read"]),
        ("get /v1/ledger", &["session", "api_key read"]),
        ("get /v1/assets", &[]),
        ("post /v1/deposits", &["session"]),
        ("get /v1/prices", &[]),
        ("get /v1/prices/{symbol}", &[]),
        ("get /v1/prices/{symbol}/history", &[]),
        ("get /v1/prices/{symbol}/candles", &[]),
    ];

    /// `session`, `api_key read`: a security requirement in words.
    fn needed(requirement: &Value) -> String {
        let schemes = requirement.as_object().expect("a requirement").iter();
        let words = schemes.map(|(scheme, scopes)| {
            let scopes = scopes.as_array().expect("scopes").iter().filter_map(Value::as_str);
            std::iter::once(scheme.as_str()).chain(scopes).collect::<Vec<_>>().join(" ")
        });
        words.collect::<Vec<_>>().join(" and ")
    }

    #[test]
    fn every_operation_of_the_contract_is_described_with_what_it_needs_and_no_other() {
        let document = document();
        let paths = document["paths"].as_object().expect("paths").iter();
        let operations = paths.flat_map(|(path, item)| {
            item.as_object().into_iter().flatten().map(move |(verb, operation)| (format!("{verb} {path}"), operation))
        });
        let described: BTreeMap<String, Vec<String>> = operations
            .map(|(name, operation)| {
                (name, operation["security"].as_array().into_iter().flatten().map(needed).collect())
            })
            .collect();
        let words = |needs: &[&str]| needs.iter().map(|need| (*need).to_owned()).collect();
        let contract = CONTRACT.iter().map(|(name, needs)| ((*name).to_owned(), words(needs))).collect();
        assert_eq!(described, contract);
    }

    #[test]
    fn every_operation_says_what_it_answers() {
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
        assert_eq!(examples.len(), 4);
        for example in examples.values() {
            let text = example["value"].to_string();
            subscription::read(text.as_bytes(), Uuid::nil(), None, events::Timestamp::EPOCH).expect(&text);
            check("Subscription", &example["value"]);
        }
    }

    #[test]
    fn every_example_of_an_order_is_accepted_and_fits_its_schema_and_so_does_the_answer() {
        let document = document();
        let body = &document["paths"]["/v1/orders"]["post"]["requestBody"]["content"]["application/json"];
        let examples = body["examples"].as_object().expect("examples");
        assert_eq!(examples.len(), 3);
        for example in examples.values() {
            let text = example["value"].to_string();
            let terms = terms::read(text.as_bytes()).expect(&text);
            check("OrderTerms", &example["value"]);
            let order = orders::Order::from(store::trading::orders::OrderRecord {
                id: Uuid::nil(),
                user_id: Uuid::nil(),
                terms,
                rule_id: None,
                placed_at: events::Timestamp::EPOCH,
                decision: None,
            });
            check("Order", &serde_json::to_value(order).expect("JSON"));
        }
        assert!(!fits("OrderTerms", &json!({"side": "buy", "type": "market", "size": "1"})), "what of?");
    }

    #[test]
    fn every_word_of_an_order_is_described_and_no_other() {
        let described = |name: &str| document()["components"]["schemas"][name]["enum"].clone();
        let reasons: Vec<_> = events::RejectReason::ALL.map(events::RejectReason::as_str).into();
        assert_eq!(described("RejectReason"), json!(reasons));
        let statuses: Vec<_> = events::OrderStatus::ALL.map(events::OrderStatus::as_str).into();
        assert_eq!(described("OrderStatus"), json!(statuses));
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
            let rule = subscription::read(body.to_string().as_bytes(), Uuid::nil(), None, events::Timestamp::EPOCH)
                .expect("a rule");
            let alert = alerts::Alert::from(store::rules::RuleRecord {
                rule,
                status: events::RuleStatus::Active,
                firings: 1,
                created_at: events::Timestamp::EPOCH,
                user_id: None,
                order: None,
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
