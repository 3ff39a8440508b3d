//! The OpenAPI document describes what the API does.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    compat::{self, surface::Surface},
    http::problem::{FieldError, Problem},
    request::{alert, order},
    routes::{alerts::response::Alert, operations, orders::response::Order, router},
};

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

/// Every operation and the tokens that it accepts: none, a manage token, a session, a key with a scope.
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
    ("get /v1/alerts/{id}/late-verdicts", &["manage_token", "session", "api_key alerts"]),
    ("get /v1/alerts/{id}/deliveries", &["manage_token", "session", "api_key alerts"]),
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
    ("get /v1/prices/{symbol}/history.csv", &[]),
    ("get /v1/prices/{symbol}/candles.csv", &[]),
    ("get /v1/stream", &["", "manage_token", "session", "api_key read alerts"]),
    ("get /v1/ws", &["", "manage_token", "session", "api_key read alerts"]),
    ("post /v1/stream-tickets", &["manage_token", "session", "api_key read alerts"]),
    ("get /v1/feeds", &[]),
    ("get /v1/system", &[]),
    ("get /v1/dead-letters", &["session"]),
    ("post /v1/dead-letters/{number}/replay", &["session"]),
    ("post /v1/feeds", &["session"]),
    ("delete /v1/feeds/{venue}/{symbol}", &["session"]),
    ("get /compat/coinbase/ws", &[]),
    ("get /compat/coinbase-advanced/ws", &[]),
    ("get /compat/coinbase/time", &[]),
    ("get /compat/coinbase/currencies", &[]),
    ("get /compat/coinbase/products", &[]),
    ("get /compat/coinbase/products/spark-lines", &[]),
    ("get /compat/coinbase/products/{product_id}", &[]),
    ("get /compat/coinbase/products/{product_id}/candles", &[]),
    ("get /compat/coinbase/products/{product_id}/stats", &[]),
    ("get /compat/coinbase/products/{product_id}/ticker", &[]),
    ("get /compat/coinbase/products/{product_id}/trades", &[]),
    ("get /compat/coinbase-advanced/api/v3/brokerage/products", &[]),
    ("get /compat/coinbase-advanced/api/v3/brokerage/products/{product_id}", &[]),
    ("get /udf/config", &[]),
    ("get /udf/history", &[]),
    ("get /udf/marks", &["", "session", "api_key alerts"]),
    ("get /udf/quotes", &[]),
    ("get /udf/search", &[]),
    ("get /udf/symbols", &[]),
    ("get /udf/time", &[]),
];

/// Writes a security requirement like `api_key read`.
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
        .map(|(name, operation)| (name, operation["security"].as_array().into_iter().flatten().map(needed).collect()))
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
            let (status, kind, schema) = match Surface::of(path) {
                None => ("422", "application/problem+json", "Problem"),
                Some(Surface::Coinbase) => ("400", "application/json", "CoinbaseError"),
                Some(Surface::Udf) => ("400", "application/json", "UdfError"),
            };
            let described = &operation["responses"][status]["content"][kind]["schema"]["$ref"];
            assert_eq!(described, &format!("#/components/schemas/{schema}"), "{at}");
            let names: Vec<_> =
                operation["parameters"].as_array().into_iter().flatten().map(|p| p["name"].as_str()).collect();
            let whole = [
                "/v1/accounts",
                "/v1/alerts/{id}/deliveries",
                "/v1/alerts/{id}/late-verdicts",
                "/v1/assets",
                "/v1/feeds",
            ];
            let is_list = operation["responses"]["200"].to_string().contains("Page") && !whole.contains(&path.as_str());
            assert_eq!(names.contains(&Some("cursor")), is_list, "{at}: {names:?}");
        }
    }
}

#[test]
fn a_name_stands_for_one_schema() {
    // The document keeps the last schema of a name: an answer would then be promised in the shape of another.
    let mut known: BTreeMap<String, Value> = BTreeMap::new();
    for (name, schema) in operations().into_iter().chain(compat::operations()).flat_map(|(schemas, ..)| schemas) {
        let schema = serde_json::to_value(schema).expect("JSON");
        let first = known.entry(name.clone()).or_insert_with(|| schema.clone());
        assert_eq!(*first, schema, "two schemas are named {name}");
    }
    assert!(known.len() > 30, "{}", known.len());
}

/// The objects with fields in a schema and in those that it refers to.
fn objects(document: &Value, schema: &Value, seen: &mut Vec<String>, found: &mut Vec<Value>) {
    if let Some(reference) = schema["$ref"].as_str() {
        if !seen.iter().any(|name| name == reference) {
            seen.push(reference.to_owned());
            objects(document, document.pointer(&reference[1..]).expect("a schema"), seen, found);
        }
        return;
    }
    if let Some(parts) = schema["allOf"].as_array() {
        // One part has all the fields; the others say which of them go together.
        let whole = parts.iter().find(|part| part["additionalProperties"] == false);
        objects(document, whole.unwrap_or(schema), seen, found);
        return;
    }
    if schema["properties"].is_object() {
        found.push(schema.clone());
    }
    match schema {
        Value::Object(parts) => parts.values().for_each(|part| objects(document, part, seen, found)),
        Value::Array(parts) => parts.iter().for_each(|part| objects(document, part, seen, found)),
        _ => {}
    }
}

#[test]
fn every_object_of_a_request_is_described_without_other_fields() {
    let document = document();
    let (mut seen, mut found) = (Vec::new(), Vec::new());
    for item in document["paths"].as_object().expect("paths").values() {
        for operation in item.as_object().expect("operations").values() {
            for content in operation["requestBody"]["content"].as_object().into_iter().flat_map(|kinds| kinds.values())
            {
                objects(&document, &content["schema"], &mut seen, &mut found);
            }
        }
    }
    assert!(found.len() > 10, "{}", found.len());
    for object in found {
        assert_eq!(object["additionalProperties"], false, "{object}");
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
        alert::read(text.as_bytes(), Uuid::nil(), None, events::Timestamp::EPOCH).expect(&text);
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
        let terms = order::read(text.as_bytes()).expect(&text);
        check("OrderRequest", &example["value"]);
        let order = Order::from(store::trading::orders::OrderRecord {
            id: Uuid::nil(),
            user_id: Uuid::nil(),
            terms,
            rule_id: None,
            placed_at: events::Timestamp::EPOCH,
            decision: None,
        });
        check("Order", &serde_json::to_value(order).expect("JSON"));
    }
    assert!(!fits("OrderRequest", &json!({"side": "buy", "type": "market", "size": "1"})), "what of?");
    for wrong in [
        json!({"symbol": "SPY", "side": "buy", "type": "market"}),
        json!({"symbol": "SPY", "side": "sell", "type": "market", "funds": "1"}),
        json!({"symbol": "SPY", "side": "buy", "type": "market", "size": "1", "price": "1"}),
        json!({"symbol": "SPY", "side": "buy", "type": "limit", "size": "1"}),
        json!({"symbol": "SPY", "side": "buy", "type": "stop", "size": "1", "stop_price": 1, "time_in_force": "ioc"}),
        json!({"symbol": "SPY", "side": "buy", "type": "market", "size": "0"}),
        json!({"symbol": "SPY", "side": "buy", "type": "market", "size": -1}),
        json!({"symbol": "SPY", "side": "buy", "type": "market", "size": "1", "colour": "red"}),
    ] {
        assert!(order::read(wrong.to_string().as_bytes()).is_err() && !fits("OrderRequest", &wrong), "{wrong}");
    }
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
        let rule =
            alert::read(body.to_string().as_bytes(), Uuid::nil(), None, events::Timestamp::EPOCH).expect("a rule");
        let alert = Alert::from(store::rules::RuleRecord {
            rule,
            status: events::RuleStatus::Active,
            firings: 1,
            created_at: events::Timestamp::EPOCH,
            user_id: None,
            order: None,
            market: None,
        });
        check("Alert", &serde_json::to_value(alert).expect("JSON"));
    }
    for wrong in [json!({"email": "ada@example.com"}), json!({"symbol": "SPY", "email": 5, "percent": 5})] {
        assert!(!fits("Subscription", &wrong), "{wrong}");
    }
    let errors = vec![FieldError::body("/a", "b"), FieldError::parameter("a", "b")];
    let problem = Problem::invalid(errors).to_json("abc");
    check("Problem", &serde_json::from_slice(&problem).expect("JSON"));
}
