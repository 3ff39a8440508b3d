//! A request for an order becomes terms, or a list of everything that is wrong with it. What terms make sense is said by
//! [`events::order_request`]; what an asset allows, by the table of assets.

use events::{
    Amount, OrderRequest, Price, Side, Size, Symbol,
    order_request::{OrderKind, OrderRequestFields, OrderSize, OrderType, TimeInForce},
};
use ledger::rows::AssetRow;
use store::{Store, trading::balances};

use crate::{
    fields::{Fields, REQUIRED},
    problem::{Mistake, Problem},
};

/// Reads the body of `POST /v1/orders`.
pub(crate) fn read(body: &[u8]) -> Result<OrderRequest, Problem> {
    let mut fields = Fields::parse(body)?;
    let symbol = fields.required("symbol");
    let terms = terms(&mut fields, symbol);
    let mistakes = fields.finish();
    terms.filter(|_| mistakes.is_empty()).ok_or_else(|| Problem::invalid(mistakes))
}

/// Reads the order of a rule on `watched`, which is what it trades unless it says something else.
pub(crate) fn of_rule(then: &mut Fields, watched: Option<&Symbol>) -> Option<OrderRequest> {
    if !then.has("order") {
        then.refuse("/order", REQUIRED);
    }
    then.object("order", |fields| {
        let symbol = if fields.has("symbol") { fields.required("symbol") } else { watched.cloned() };
        terms(fields, symbol)
    })
}

fn terms(fields: &mut Fields, symbol: Option<Symbol>) -> Option<OrderRequest> {
    let side = fields.required::<Side>("side");
    let order_type = fields.required::<OrderType>("type");
    let size = fields.optional::<Option<Size>>("size").flatten();
    let funds = fields.optional::<Option<Amount>>("funds").flatten();
    let price = fields.optional::<Option<Price>>("price").flatten();
    let stop_price = fields.optional::<Option<Price>>("stop_price").flatten();
    let time_in_force = fields.optional::<TimeInForce>("time_in_force").unwrap_or_default();
    let client_order_id = fields.optional::<Option<String>>("client_order_id").flatten();
    let (Some(symbol), Some(side), Some(order_type), true) = (symbol, side, order_type, fields.is_right()) else {
        return None;
    };
    let read =
        OrderRequestFields { symbol, side, order_type, size, funds, price, stop_price, time_in_force, client_order_id };
    match OrderRequest::try_from(read) {
        Ok(terms) => Some(terms),
        Err(error) => {
            let sentence = error.to_string();
            let (field, rule) = sentence.split_once(' ').unwrap_or(("", &sentence));
            fields.refuse(format!("/{field}"), rule);
            None
        }
    }
}

/// Refuses amounts with more places than their asset has. An asset that is not known is left to the settler, which says
/// so in the order's own words. `at` is the pointer to the terms.
pub(crate) async fn check_places(store: &Store, terms: &OrderRequest, at: &str) -> Result<(), Problem> {
    let assets = balances::find_assets(&store, &[terms.symbol.base(), terms.symbol.quote()]).await?;
    match too_precise(terms, &assets) {
        None => Ok(()),
        Some((field, detail)) => Err(Problem::invalid(vec![Mistake::body(format!("{at}/{field}"), detail)])),
    }
}

fn too_precise(terms: &OrderRequest, assets: &[AssetRow]) -> Option<(&'static str, String)> {
    let (field, amount, asset) = match &terms.execution {
        OrderKind::Market(OrderSize::Funds(funds)) => ("funds", funds.decimal(), terms.symbol.quote()),
        OrderKind::Market(OrderSize::Size(size)) | OrderKind::Limit { size, .. } | OrderKind::Stop { size, .. } => {
            ("size", size.decimal(), terms.symbol.base())
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

    /// Where the mistakes are, in order.
    fn refused(body: &str) -> Vec<String> {
        let problem = read(body.as_bytes()).expect_err(body);
        let written: Value = serde_json::from_slice(&problem.to_json("")).expect("JSON");
        assert_eq!(written["status"], 422, "{body}: {written}");
        let errors = written["errors"].as_array().expect("mistakes");
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
            r#""side": "sell", "type": "limit", "size": 1e-8, "price": "7000", "time_in_force": "ioc""#,
            r#""side": "sell", "type": "stop", "size": "1", "stop_price": "6000", "client_order_id": "a-1""#,
        ] {
            read(with(rest).as_bytes()).unwrap_or_else(|problem| panic!("{rest}: {}", problem.detail));
        }
    }

    #[test]
    fn every_mistake_is_said_at_once_and_by_its_pointer() {
        assert_eq!(refused("{}"), ["/symbol", "/side", "/type"]);
        assert_eq!(
            refused(r#"{"symbol": "btc", "side": "hold", "type": "market", "size": "-1", "price": 0, "x": 1}"#),
            ["/symbol", "/side", "/size", "/price", "/x"]
        );
        for (rest, at) in [
            (r#""side": "buy", "type": "market""#, "/size"),
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
            assert_eq!(refused(&with(rest)), [at], "{rest}");
        }
    }

    #[test]
    fn a_rules_order_trades_what_the_rule_watches_unless_it_says_something_else() {
        let watched = Symbol::parse("BTC-USD").ok();
        let read = |body: &str| {
            let mut fields = Fields::parse(format!("{{\"then\": {body}}}").as_bytes()).expect("an object");
            let terms = fields.object("then", |then| of_rule(then, watched.as_ref()));
            let mistakes = serde_json::to_value(fields.finish()).expect("JSON");
            (terms.map(|terms| terms.symbol.to_string()), mistakes[0]["pointer"].as_str().map(str::to_owned))
        };
        let symbol = |symbol: &str| (Some(symbol.to_owned()), None);
        let wrong = |at: &str| (None, Some(at.to_owned()));
        assert_eq!(read(r#"{"order": {"side": "buy", "type": "market", "size": "1"}}"#), symbol("BTC-USD"));
        let other = r#"{"order": {"symbol": "SPY", "side": "buy", "type": "market", "size": "1"}}"#;
        assert_eq!(read(other), symbol("SPY"));
        assert_eq!(read("null"), (None, None));
        assert_eq!(read("5"), wrong("/then"));
        assert_eq!(read("{}"), wrong("/then/order"));
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
            let terms = read(with(rest).as_bytes()).expect(rest);
            too_precise(&terms, &assets).map(|(field, _)| field)
        };
        assert_eq!(check(r#""side": "buy", "type": "market", "size": "0.12345678""#), None);
        assert_eq!(check(r#""side": "buy", "type": "market", "size": "0.1234567800""#), None);
        assert_eq!(check(r#""side": "buy", "type": "market", "size": "0.123456789""#), Some("size"));
        assert_eq!(check(r#""side": "buy", "type": "market", "funds": "10.005""#), Some("funds"));
        assert_eq!(
            too_precise(
                &read(with(r#""side": "buy", "type": "market", "size": "0.123456789""#).as_bytes()).expect("terms"),
                &[]
            ),
            None
        );
    }
}
