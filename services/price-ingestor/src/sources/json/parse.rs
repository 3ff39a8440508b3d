//! From an answer to prices. No I/O and no clock; numbers are read digit by digit.

use events::{Price, Size, Timestamp, money::Rounded};
use market_data::recording::read_time;
use serde_json::Value;
use thiserror::Error;

use super::config::{Asked, Fields, NAME};

/// The most bytes of an id, which becomes a part of a message's id.
const MAX_ID_BYTES: usize = 64;
/// The most characters of a bad value that an error repeats.
const MAX_VALUE_CHARS: usize = 80;

/// The price of a symbol, as an answer has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Quote {
    pub(super) price: Price,
    pub(super) size: Option<Size>,
    pub(super) at: Option<Timestamp>,
    pub(super) id: Option<String>,
    /// Whether price or size have fewer digits than the API wrote.
    pub(super) was_rounded: bool,
}

/// The reason why an answer has no price of a symbol.
#[derive(Debug, Error, Clone, PartialEq, Eq)]
pub(super) enum FieldError {
    /// The list has no item of the name.
    #[error("the answer has no item {0:?}")]
    NoItem(String),
    /// There is nothing at the pointer, or null.
    #[error("the answer has no {field} at {pointer:?}")]
    Missing {
        /// The name of the setting.
        field: &'static str,
        /// The pointer that leads to nothing.
        pointer: String,
    },
    /// The value is not what the field means.
    #[error("the {field} {value} {reason}")]
    Value {
        /// The name of the setting.
        field: &'static str,
        /// The beginning of the value.
        value: String,
        /// Why the value is not accepted.
        reason: String,
    },
}

/// Finds the price of a symbol in an answer.
pub(super) fn quote(answer: &Value, fields: &Fields, asked: &Asked) -> Result<Quote, FieldError> {
    let root = match &fields.items {
        None => answer,
        Some(items) => {
            let missing = || FieldError::Missing { field: "items", pointer: items.clone() };
            let list = answer.pointer(items).and_then(Value::as_array).ok_or_else(missing)?;
            let is_asked = |item: &&Value| text(item.pointer(&fields.item_name)).is_some_and(|name| name == asked.name);
            list.iter().find(is_asked).ok_or_else(|| FieldError::NoItem(asked.name.clone()))?
        }
    };
    let find = |field: &'static str, pointer: &str| {
        let pointer = pointer.replace(NAME, &escaped(&asked.name));
        match root.pointer(&pointer) {
            None | Some(Value::Null) => Err(FieldError::Missing { field, pointer }),
            Some(value) => text(Some(value)).ok_or_else(|| bad(field, &value.to_string(), "must be a number or text")),
        }
    };
    let find_optional = |field: &'static str, pointer: &Option<String>| {
        pointer.as_ref().map(|pointer| find(field, pointer)).transpose()
    };
    let price = find("price", &fields.price)?;
    let price: Rounded<Price> = price.parse().map_err(|error| bad("price", price, error))?;
    let size: Option<Rounded<Size>> = match find_optional("size", &fields.size)? {
        Some(size) => Some(size.parse().map_err(|error| bad("size", size, error))?),
        None => None,
    };
    let at = match find_optional("time", &fields.time)? {
        Some(time) => Some(read_time(time, fields.time_unit).map_err(|error| bad("time", time, error))?),
        None => None,
    };
    let id = match find_optional("id", &fields.id)? {
        Some(id) if (1..=MAX_ID_BYTES).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_graphic()) => {
            Some(id.to_owned())
        }
        Some(id) => return Err(bad("id", id, "must be 1 to 64 characters without a space")),
        None => None,
    };
    let was_rounded = price.was_rounded || size.is_some_and(|size| size.was_rounded);
    Ok(Quote { price: price.value, size: size.map(|size| size.value), at, id, was_rounded })
}

/// Returns a text, or a number as it is written.
fn text(value: Option<&Value>) -> Option<&str> {
    match value? {
        Value::String(text) => Some(text.trim()),
        Value::Number(number) => Some(number.as_str()),
        _ => None,
    }
}

/// Writes a name as a token of a JSON pointer (RFC 6901, section 3).
fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

fn bad(field: &'static str, value: &str, reason: impl ToString) -> FieldError {
    FieldError::Value { field, value: value.chars().take(MAX_VALUE_CHARS).collect(), reason: reason.to_string() }
}

#[cfg(test)]
mod tests {
    use events::Symbol;

    use super::*;

    const FIELDS: Fields = Fields {
        items: None,
        item_name: String::new(),
        price: String::new(),
        size: None,
        time: None,
        time_unit: None,
        id: None,
    };

    fn read(body: &str, fields: &Fields, name: &str) -> Result<Quote, String> {
        let asked = Asked { symbol: Symbol::parse("BTC-USD").expect("a symbol"), name: name.to_owned() };
        quote(&serde_json::from_str(body).expect("JSON"), fields, &asked).map_err(|error| error.to_string())
    }

    fn price(body: &str) -> Result<String, String> {
        let fields = Fields { price: "/p".to_owned(), ..FIELDS };
        read(body, &fields, "x").map(|quote| format!("{}{}", quote.price, if quote.was_rounded { "~" } else { "" }))
    }

    #[test]
    fn a_price_is_read_digit_by_digit_as_number_text_or_with_an_exponent() {
        for (body, expected) in [
            (r#"{"p":67187.3358936566}"#, "67187.3358936566"),
            (r#"{"p":"67187.3358936566"}"#, "67187.3358936566"),
            (r#"{"p":0.1000000000000000055}"#, "0.100000000000000006~"),
            (r#"{"p":123456789012.123456}"#, "123456789012.123456"),
            (r#"{"p":4.8e-7}"#, "0.00000048"),
            (r#"{"p":"1.5E3"}"#, "1500"),
            (r#"{"p":100}"#, "100"),
            (r#"{"p":" 5.50 "}"#, "5.50"),
        ] {
            assert_eq!(price(body).as_deref(), Ok(expected), "{body}");
        }
        for (body, said) in [
            ("{}", "the answer has no price at \"/p\""),
            (r#"{"p":null}"#, "the answer has no price at \"/p\""),
            ("[]", "the answer has no price at \"/p\""),
            (r#"{"p":[1]}"#, "the price [1] must be a number or text"),
            (r#"{"p":true}"#, "the price true must be a number or text"),
            (r#"{"p":"1,234.5"}"#, "the price 1,234.5 must be a decimal"),
            (r#"{"p":0}"#, "the price 0 must be above 0"),
            (r#"{"p":-1}"#, "the price -1 must be above 0"),
            (r#"{"p":1e300}"#, "the price 1e+300 must be below"),
        ] {
            let error = price(body).expect_err(body);
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn fields_are_found_by_name_in_a_map_and_in_a_list() {
        // As CoinGecko's /simple/price answers.
        let map =
            Fields { price: "/{name}/usd".to_owned(), time: Some("/{name}/last_updated_at".to_owned()), ..FIELDS };
        let body = r#"{"bitcoin":{"usd":67187.33,"last_updated_at":1711356300},"a/b":{"usd":1,"last_updated_at":"2024-03-25T08:45:00Z"}}"#;
        for name in ["bitcoin", "a/b"] {
            let quote = read(body, &map, name).expect("a quote");
            assert_eq!(quote.at.expect("a time").to_string(), "2024-03-25T08:45:00.000000Z");
        }
        // As APIs of stock quotes answer.
        let list = Fields {
            items: Some("/data".to_owned()),
            item_name: "/ticker".to_owned(),
            price: "/last/p".to_owned(),
            size: Some("/last/s".to_owned()),
            time: Some("/last/t".to_owned()),
            time_unit: Some("ns".parse().expect("a unit")),
            id: Some("/last/i".to_owned()),
        };
        let body = r#"{"data":[{"ticker":"MSFT"},{"ticker":"AAPL","last":{"p":"261.74","s":100,"t":1582641000000000001,"i":71675577320245}}]}"#;
        let quote = read(body, &list, "AAPL").expect("a quote");
        assert_eq!(
            (quote.price.to_string().as_str(), quote.size.map(|size| size.to_string()).as_deref(), quote.id.as_deref()),
            ("261.74", Some("100"), Some("71675577320245"))
        );
        assert_eq!(quote.at.expect("a time").to_string(), "2020-02-25T14:30:00.000000Z");
        for (body, name, said) in [
            (body, "MSFT", "no price at \"/last/p\""),
            (body, "SPY", "no item \"SPY\""),
            (r#"{"data":{}}"#, "SPY", "no items at \"/data\""),
            (&body.replace("\"s\":100", "\"s\":-1"), "AAPL", "the size -1 must not be negative"),
            (&body.replace("71675577320245", "\"a b\""), "AAPL", "the id a b must be 1 to 64 characters"),
            (&body.replace("1582641000000000001", "\"soon\""), "AAPL", "the time soon must be a time"),
        ] {
            let error = read(body, &list, name).expect_err(said);
            assert!(error.contains(said), "{error}");
        }
    }
}
