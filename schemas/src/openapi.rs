//! OpenAPI schemas of the values that check themselves when they are read. Those of rules and order requests stand beside
//! the types, and those of the plain structs and enums are derived there.
//!
//! Patterns, formats and lists of words come from the JSON Schema of each type, so the two documents cannot differ.

use std::borrow::Cow;

use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Value, json};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{KnownFormat, ObjectBuilder, OneOfBuilder, RefOr, Schema, SchemaFormat, Type},
};

use crate::{Amount, Asset, Interval, Percent, Period, Price, Size, Symbol, Timestamp, Venue};

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
    Symbol: "The name of an instrument: BASE-QUOTE, where the quote is a currency or a coin that is known, or a ticker like SPY or \
        BRK.B, whose currency the table of assets says.", "BTC-USD";
    Venue: "The exchange or the source that a price comes from.", "coinbase";
    Asset: "The code of a currency, a coin or a share.", "USD";
    Price: "A price in units of the quote currency, as exact decimal text: above 0, at most 18 decimal places and 28 digits.", "6804.91";
    Size: "A quantity of the base asset, as exact decimal text: at least 0, at most 18 decimal places and 28 digits.", "0.25";
    Amount: "A quantity of an asset, as exact decimal text: at least 0, at most 12 decimal places.", "680.68";
    Percent: "A percentage, as exact decimal text: 0.01 to 1000, at most 6 decimal places.", "5";
    Timestamp: "A time in UTC, with microseconds (RFC 3339).", "2018-04-05T00:01:00.000000Z";
    Period: "A whole number with its unit: s, m, h or d.", "30m";
    Interval: "The width of a candle.", "1h";
}

/// The schema of a decimal above 0 in a request: text, or a JSON number that is read exactly as it is written.
#[derive(Debug)]
pub struct DecimalInput;

impl PartialSchema for DecimalInput {
    fn schema() -> RefOr<Schema> {
        // At most 18 places and 28 digits.
        let text = r"^([1-9][0-9]{0,9}(\.[0-9]{1,18})?|[1-9][0-9]{10,13}(\.[0-9]{1,14})?|0\.[0-9]{0,17}[1-9])$";
        let number = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0));
        let number = number.exclusive_maximum(Some(100_000_000_000_000_i64));
        decimal_input("An exact decimal above 0", text, number)
    }
}

impl ToSchema for DecimalInput {
    fn name() -> Cow<'static, str> {
        "Decimal".into()
    }
}

/// The schema of a percentage in a request.
#[derive(Debug)]
pub struct PercentInput;

impl PartialSchema for PercentInput {
    fn schema() -> RefOr<Schema> {
        let text = r"^([1-9][0-9]{0,2}(\.[0-9]{1,6})?|1000(\.0{1,6})?|0\.([1-9][0-9]{0,5}|0[1-9][0-9]{0,4}))$";
        let number = ObjectBuilder::new().schema_type(Type::Number).exclusive_minimum(Some(0)).maximum(Some(1000));
        decimal_input("An exact percentage, 0.01 to 1000 with at most 6 decimal places", text, number)
    }
}

impl ToSchema for PercentInput {
    fn name() -> Cow<'static, str> {
        "PercentInput".into()
    }
}

fn decimal_input(what: &str, text: &str, number: ObjectBuilder) -> RefOr<Schema> {
    let rest = "as text; a request may hold a JSON number in its place, which is read exactly";
    OneOfBuilder::new()
        .description(Some(format!("{what}, {rest}.")))
        .item(ObjectBuilder::new().schema_type(Type::String).pattern(Some(text)))
        .item(number)
        .examples([json!("5")])
        .into()
}

/// Returns the schema of a type that is written as text, with the pattern of its JSON Schema.
pub(crate) fn text_schema<T: JsonSchema>(description: &str, example: &str) -> Schema {
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
}
