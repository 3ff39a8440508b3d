//! OpenAPI schemas of the wire types that check themselves when they are read. Those of the plain structs and enums are
//! derived where the types are defined.
//!
//! Patterns, formats and lists of words come from the JSON Schema of each type, so the two documents cannot differ.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, Ref, RefOr, Schema, SchemaFormat, Type},
};

use crate::{
    Amount, Asset, Baseline, Interval, OrderRequest, Percent, Period, Price, Size, Symbol, Timestamp, Venue,
    order_request::OrderRequestFields, rule::PriceThreshold,
};

macro_rules! text_schemas {
    ($($name:ident: $description:literal, $example:literal;)*) => {$(
        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                text_schema::<$name>($description, $example).into()
            }
        }

        impl ToSchema for $name {
            fn name() -> Cow<'static, str> {
                stringify!($name).into()
            }
        }
    )*};
}

text_schemas! {
    Symbol: "The name of an instrument: BASE-QUOTE, or a ticker that is quoted in USD.", "BTC-USD";
    Venue: "The exchange or the source that a price comes from.", "coinbase";
    Asset: "The code of a currency, a coin or a share.", "USD";
    Price: "A price in units of the quote currency, as exact decimal text: above 0, at most 12 decimal places.", "6804.91";
    Size: "A quantity of the base asset, as exact decimal text: at least 0, at most 12 decimal places.", "0.25";
    Amount: "A quantity of an asset, as exact decimal text: at least 0, at most 12 decimal places.", "680.68";
    Percent: "A percentage, as exact decimal text: 0.01 to 1000, at most 6 decimal places.", "5";
    Timestamp: "A time in UTC, with microseconds (RFC 3339).", "2018-04-05T00:01:00.000000Z";
    Period: "A whole number with its unit: s, m, h or d.", "30m";
    Interval: "The width of a candle.", "1h";
    Baseline: "The price that a change is measured against: that of the `previous` tick, the `anchor` (the price when the \
        rule became active or last fired; the default), or the price a window from `10s` to `7d` ago.", "1h";
}

/// The schema of a decimal in a request: text, or a JSON number that is read exactly as it is written.
#[derive(Debug)]
pub struct DecimalInput;

impl PartialSchema for DecimalInput {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Number);
        OneOfBuilder::new()
            .description(Some(
                "Exact decimal text; a request may hold a JSON number in its place, which is read exactly.",
            ))
            .item(ObjectBuilder::new().schema_type(Type::String).pattern(pattern(&json_schema::<Amount>())))
            .item(number)
            .examples([json!("5")])
            .into()
    }
}

impl ToSchema for DecimalInput {
    fn name() -> Cow<'static, str> {
        "Decimal".into()
    }
}

/// Derived, it would refuse a number in a request.
impl PartialSchema for PriceThreshold {
    fn schema() -> RefOr<Schema> {
        let form = |name: &str, description: &str| {
            ObjectBuilder::new()
                .description(Some(description))
                .property(name, Ref::from_schema_name(DecimalInput::name()))
                .required(name)
        };
        OneOfBuilder::new()
            .description(Some("A price that is reached or passed: `above` or `below`."))
            .item(form("above", "The price is at or above this."))
            .item(form("below", "The price is at or below this."))
            .into()
    }
}

impl ToSchema for PriceThreshold {
    fn name() -> Cow<'static, str> {
        "PriceThreshold".into()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((DecimalInput::name().into(), DecimalInput::schema()));
    }
}

/// An order request is written as its fields.
impl PartialSchema for OrderRequest {
    fn schema() -> RefOr<Schema> {
        OrderRequestFields::schema()
    }
}

impl ToSchema for OrderRequest {
    fn name() -> Cow<'static, str> {
        OrderRequestFields::name()
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        OrderRequestFields::schemas(schemas);
    }
}

fn text_schema<T: JsonSchema>(description: &str, example: &str) -> Schema {
    let schema = json_schema::<T>();
    let format = (schema["format"] == "date-time").then_some(SchemaFormat::KnownFormat(KnownFormat::DateTime));
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
        .pattern(pattern(&schema))
        .format(format)
        .enum_values(schema["enum"].as_array().cloned())
        .examples([json!(example)])
        .into()
}

fn pattern(schema: &Value) -> Option<&str> {
    schema["pattern"].as_str()
}

fn json_schema<T: JsonSchema>() -> Value {
    T::json_schema(&mut SchemaGenerator::default()).to_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn openapi<T: ToSchema>() -> Value {
        serde_json::to_value(T::schema()).expect("JSON")
    }

    #[test]
    fn a_checked_text_has_the_pattern_of_its_json_schema() {
        assert_eq!(openapi::<Symbol>()["pattern"], json_schema::<Symbol>()["pattern"]);
        assert_eq!(openapi::<Interval>()["enum"], json!(["1m", "5m", "15m", "1h", "4h", "1d"]));
        assert_eq!(openapi::<Timestamp>()["format"], "date-time");
        assert!(openapi::<Price>()["pattern"].is_string());
    }

    #[test]
    fn a_request_may_leave_out_what_has_a_default() {
        let required = |schema: Value| schema["required"].clone();
        assert_eq!(required(openapi::<OrderRequest>()), json!(["symbol", "side", "type"]));
        assert_eq!(required(openapi::<crate::rule::Change>()), json!(["percent"]));
    }
}
