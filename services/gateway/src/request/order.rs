//! A request for an order becomes a checked order, or a problem with every error. [`events::order_request`] says which
//! fields go together; the table of assets says how many decimal places an amount may have.

use events::{
    Amount, OrderRequest, Price, Side, Size, Symbol, Venue,
    order_request::{OrderKind, OrderRequestFields, OrderSize, OrderType, TimeInForce, order_schema},
};
use ledger::rows::AssetRow;
use store::{Store, trading::assets};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

use crate::{
    http::problem::{FieldError, Problem},
    request::{json_body::Fields, symbol::SymbolInput},
};

/// Reads the body of `POST /v1/orders`.
pub(crate) fn read(body: &[u8]) -> Result<OrderRequest, Problem> {
    let mut fields = Fields::parse(body)?;
    let symbol = fields.required("symbol").map(|SymbolInput(symbol)| symbol);
    let order = read_fields(&mut fields, symbol);
    let errors = fields.finish();
    order.filter(|_| errors.is_empty()).ok_or_else(|| Problem::invalid(errors))
}

/// Reads the order of an alert on `watched`, which is the symbol of the order unless it names another.
pub(crate) fn read_alert_order(then: &mut Fields, watched: Option<&Symbol>) -> Option<OrderRequest> {
    then.required_object("order", |fields| {
        let symbol = if fields.has("symbol") {
            fields.required("symbol").map(|SymbolInput(symbol)| symbol)
        } else {
            watched.cloned()
        };
        read_fields(fields, symbol)
    })
}

fn read_fields(fields: &mut Fields, symbol: Option<Symbol>) -> Option<OrderRequest> {
    let venue = fields.optional::<Option<Venue>>("venue").flatten();
    let side = fields.required::<Side>("side");
    let order_type = fields.required::<OrderType>("type");
    let size = fields.optional::<Option<Size>>("size").flatten();
    let funds = fields.optional::<Option<Amount>>("funds").flatten();
    let price = fields.optional::<Option<Price>>("price").flatten();
    let stop_price = fields.optional::<Option<Price>>("stop_price").flatten();
    let time_in_force = fields.optional::<TimeInForce>("time_in_force").unwrap_or_default();
    let client_order_id = fields.optional::<Option<String>>("client_order_id").flatten();
    let (Some(symbol), Some(side), Some(order_type), true) = (symbol, side, order_type, fields.has_no_error()) else {
        return None;
    };
    let read = OrderRequestFields {
        symbol,
        venue,
        side,
        order_type,
        size,
        funds,
        price,
        stop_price,
        time_in_force,
        client_order_id,
    };
    match OrderRequest::try_from(read) {
        Ok(order) => Some(order),
        Err(error) => {
            let sentence = error.to_string();
            let (field, rule) = sentence.split_once(' ').unwrap_or(("", &sentence));
            fields.reject(format!("/{field}"), rule);
            None
        }
    }
}

/// Rejects amounts with more decimal places than their asset has. An unknown asset is left to the settler, which rejects the
/// order. `at` is the pointer to the order.
pub(crate) async fn check_decimal_places(store: &Store, order: &OrderRequest, at: &str) -> Result<(), Problem> {
    let assets = assets::find(store, &[order.symbol.base(), order.symbol.quote()]).await?;
    match too_precise(order, &assets) {
        None => Ok(()),
        Some((field, detail)) => Err(Problem::invalid(vec![FieldError::body(format!("{at}/{field}"), detail)])),
    }
}

/// Rejects an order whose `client_order_id` another order of the user has; `at` is the pointer to the order.
pub(crate) fn client_order_id_taken(at: &str) -> Problem {
    let detail = "is the name of another order of yours; choose a new one";
    Problem::invalid(vec![FieldError::body(format!("{at}/client_order_id"), detail)])
}

/// The order of an alert: an order request whose `symbol` may be left out.
pub(crate) struct AlertOrderRequest;

impl PartialSchema for AlertOrderRequest {
    fn schema() -> RefOr<Schema> {
        let mut schema = OrderRequestFields::schema();
        if let RefOr::T(Schema::Object(object)) = &mut schema {
            object.required.retain(|field| field != "symbol");
            object.description =
                Some("An order; without `symbol`, it trades the symbol that the alert watches.".into());
        }
        order_schema(schema)
    }
}

impl ToSchema for AlertOrderRequest {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        OrderRequestFields::schemas(schemas);
    }
}

fn too_precise(order: &OrderRequest, assets: &[AssetRow]) -> Option<(&'static str, String)> {
    let (field, amount, asset) = match &order.execution {
        OrderKind::Market(OrderSize::Funds(funds)) => ("funds", funds.decimal(), order.symbol.quote()),
        OrderKind::Market(OrderSize::Size(size)) | OrderKind::Limit { size, .. } | OrderKind::Stop { size, .. } => {
            ("size", size.decimal(), order.symbol.base())
        }
    };
    let (asset, places) = assets.iter().find(|(code, _)| *code == asset)?;
    asset.check(amount, *places).err().map(|error| (field, error.to_string()))
}

#[cfg(test)]
mod tests {
    use events::Asset;
    use serde_json::Value;

    use super::*;

    /// Where the errors are, in order.
    fn rejected(body: &str) -> Vec<String> {
        let problem = read(body.as_bytes()).expect_err(body);
        let written: Value = serde_json::from_slice(&problem.to_json("")).expect("JSON");
        assert_eq!(written["status"], 422, "{body}: {written}");
        let errors = written["errors"].as_array().expect("errors");
        errors.iter().filter_map(|error| Some(error["pointer"].as_str()?.to_owned())).collect()
    }

    fn with(rest: &str) -> String {
        format!(r#"{{"symbol": "BTC-USD", {rest}}}"#)
    }

    #[test]
    fn every_kind_of_order_is_read() {
        for rest in [
            r#""side": "buy", "type": "market", "size": "0.1""#,
            r#""side": "buy", "type": "market", "funds": 100.25, "size": null, "client_order_id": null"#,
            r#""venue": "coinbase", "side": "buy", "type": "market", "size": "0.1""#,
            r#""venue": null, "side": "sell", "type": "limit", "size": 1e-8, "price": "7000", "time_in_force": "ioc""#,
            r#""side": "sell", "type": "stop", "size": "1", "stop_price": "6000", "client_order_id": "a-1""#,
        ] {
            read(with(rest).as_bytes()).unwrap_or_else(|problem| panic!("{rest}: {}", problem.detail));
        }
    }

    #[test]
    fn every_error_is_reported_at_once_with_its_pointer() {
        assert_eq!(rejected("{}"), ["/symbol", "/side", "/type"]);
        assert_eq!(
            rejected(r#"{"symbol": "btc", "side": "hold", "type": "market", "size": "-1", "price": 0, "x": 1}"#),
            ["/symbol", "/side", "/size", "/price", "/x"]
        );
        for (rest, at) in [
            (r#""side": "buy", "type": "market""#, "/size"),
            (r#""venue": "Coinbase", "side": "buy", "type": "market", "size": "1""#, "/venue"),
            (r#""side": "buy", "type": "market", "size": "0""#, "/size"),
            (r#""side": "sell", "type": "market", "funds": "1""#, "/funds"),
            (r#""side": "buy", "type": "limit", "size": "1""#, "/price"),
            (r#""side": "buy", "type": "stop", "size": "1""#, "/stop_price"),
            (
                r#""side": "buy", "type": "stop", "size": "1", "stop_price": 1, "time_in_force": "ioc""#,
                "/time_in_force",
            ),
            (r#""side": "buy", "type": "market", "size": "1", "time_in_force": null"#, "/time_in_force"),
            (r#""side": "buy", "type": "market", "size": "1", "client_order_id": "ä""#, "/client_order_id"),
        ] {
            assert_eq!(rejected(&with(rest)), [at], "{rest}");
        }
    }

    #[test]
    fn a_rules_order_trades_what_the_rule_watches_unless_it_says_something_else() {
        let watched = Symbol::parse("BTC-USD").ok();
        let read = |body: &str| {
            let mut fields = Fields::parse(format!("{{\"then\": {body}}}").as_bytes()).expect("an object");
            let order = fields.optional_object("then", |then| read_alert_order(then, watched.as_ref()));
            let errors = serde_json::to_value(fields.finish()).expect("JSON");
            (order.map(|order| order.symbol.to_string()), errors[0]["pointer"].as_str().map(str::to_owned))
        };
        let symbol = |symbol: &str| (Some(symbol.to_owned()), None);
        let wrong = |at: &str| (None, Some(at.to_owned()));
        assert_eq!(read(r#"{"order": {"side": "buy", "type": "market", "size": "1"}}"#), symbol("BTC-USD"));
        let other = r#"{"order": {"symbol": "SPY", "side": "buy", "type": "market", "size": "1"}}"#;
        assert_eq!(read(other), symbol("SPY"));
        assert_eq!(read("null"), (None, None));
        assert_eq!(read("5"), wrong("/then"));
        assert_eq!(read("{}"), wrong("/then/order"));
        for order in ["null", "5", "[]", "\"sell\""] {
            assert_eq!(read(&format!(r#"{{"order": {order}}}"#)), wrong("/then/order"), "{order}");
        }
        assert_eq!(read(r#"{"order": {"side": null, "type": "market", "size": "1"}}"#), wrong("/then/order/side"));
        let null_symbol = r#"{"order": {"symbol": null, "side": "buy", "type": "market", "size": "1"}}"#;
        assert_eq!(read(null_symbol), wrong("/then/order/symbol"));
        assert_eq!(read(r#"{"order": {"side": "buy", "type": "market"}}"#), wrong("/then/order/size"));
        assert_eq!(read(r#"{"order": {"side": "buy", "type": "limit", "size": 0.5, "price": 0}}"#).0, None);
        assert_eq!(
            read(r#"{"mail": 1, "order": {"side": "buy", "type": "market", "size": "1"}}"#),
            wrong("/then/mail")
        );
    }

    #[test]
    fn an_amount_has_at_most_the_places_of_its_asset() {
        let known = |code: &str, scale| (Asset::parse(code).expect("an asset"), scale);
        let assets = [known("BTC", 8), known("USD", 2)];
        let check = |rest: &str| {
            let order = read(with(rest).as_bytes()).expect(rest);
            too_precise(&order, &assets).map(|(field, _)| field)
        };
        assert_eq!(check(r#""side": "buy", "type": "market", "size": "0.12345678""#), None);
        assert_eq!(check(r#""side": "buy", "type": "market", "size": "0.1234567800""#), None);
        assert_eq!(check(r#""side": "buy", "type": "market", "size": "0.123456789""#), Some("size"));
        assert_eq!(check(r#""side": "buy", "type": "market", "funds": "10.005""#), Some("funds"));
        assert_eq!(
            too_precise(
                &read(with(r#""side": "buy", "type": "market", "size": "0.123456789""#).as_bytes()).expect("order"),
                &[]
            ),
            None
        );
    }
}
