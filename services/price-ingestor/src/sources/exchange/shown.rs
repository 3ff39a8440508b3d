//! How the tests of decoders write what was decoded, so that their tables are read like the files beside them.

use super::{
    adapter::{Action, Adapter, NextPage, Window},
    message::{DecodeError, LastTrade, Message, Refusal, TradeId, Trades, VenueTrade},
};
use events::Timestamp;
use platform::runtime::error::error_chain;

/// Decodes each line and writes what it says.
pub(super) fn lines(adapter: &dyn Adapter, file: &str) -> Vec<String> {
    file.lines().map(|line| message(adapter, line)).collect()
}

fn message(adapter: &dyn Adapter, frame: &str) -> String {
    let mut trades = Trades::new();
    let message = match adapter.decode(frame, &mut trades) {
        Ok(message) => message,
        Err(error) => return format!("error: {}", brief(&error)),
    };
    let kind = match message {
        Message::Trades => "trades:".to_owned(),
        Message::Snapshot => "snapshot:".to_owned(),
        Message::Heartbeat(None) => "heartbeat".to_owned(),
        Message::Heartbeat(Some(LastTrade { product, id })) => format!("heartbeat: {product} {id}"),
        Message::Subscribed(products) => format!("subscribed: {}", products.join(" ")),
        Message::Accepted(request) => format!("accepted: {request}"),
        Message::Refused(Refusal { product, request, reason }) => {
            let product = product.map(|product| format!(" {product}")).unwrap_or_default();
            let request = request.map(|request| format!(" #{request}")).unwrap_or_default();
            format!("refused{product}{request}: {reason}")
        }
        Message::Closing(reason) => format!("closing: {reason}"),
        Message::Skipped => "skipped".to_owned(),
    };
    [kind].into_iter().chain(trades.iter().map(trade)).collect::<Vec<_>>().join(" ")
}

/// Only the kind of an error of serde, whose words are not ours.
fn brief(error: &DecodeError) -> String {
    match error {
        DecodeError::Shape(_) => "shape".to_owned(),
        error => error_chain(error),
    }
}

fn trade(trade: &VenueTrade) -> String {
    let VenueTrade { product, id, price, size, at, was_rounded } = trade;
    let id = match id {
        TradeId::Numbers { first, last } if first < last => format!("{first}-{last}"),
        id => id.to_string(),
    };
    let rounded = if *was_rounded { "~" } else { "" };
    format!("[{product} {id} {rounded}{price} x {size} {at}]")
}

/// Decodes a list of products: their names, their names in the REST API, and our symbols.
pub(super) fn products(adapter: &dyn Adapter, body: &str) -> Vec<String> {
    let products = adapter.parse_products(body).expect("a list");
    products.iter().map(|product| format!("{} {} {}", product.name, product.rest_name, product.symbol)).collect()
}

/// Decodes a page of trades of the first product of a list.
pub(super) fn page(adapter: &dyn Adapter, products: &str, body: &str) -> Vec<String> {
    let products = adapter.parse_products(products).expect("a list");
    let page = adapter.parse_trades(&products[0], body).expect("a page");
    let next = match page.next {
        NextPage::ByNumber => "by number".to_owned(),
        NextPage::Cursor(cursor) => format!("cursor {cursor}"),
        NextPage::Older(cursor) => format!("older {cursor}"),
        NextPage::End => "end".to_owned(),
    };
    page.trades.iter().map(trade).chain([next]).collect()
}

/// Returns the queries of the pages of the first product: of the numbers 100 to 5000 and of those from 100 on, after the second
/// 1,000 and before the second 1,030, asked at the second 1,060.
pub(super) fn queries(adapter: &dyn Adapter, products: &str) -> Vec<String> {
    let products = adapter.parse_products(products).expect("a list");
    let at = |second: i64| Timestamp::from_micros(second * 1_000_000).expect("a time");
    let closed = Window {
        first_id: Some(100),
        last_id: Some(5_000),
        from: at(1_000),
        to: Some(at(1_030)),
        now: at(1_060),
        cursor: None,
    };
    let open = Window { last_id: None, to: None, ..closed };
    [closed, open].iter().map(|window| adapter.trades_query(&products[0], window).unwrap_or_default()).collect()
}

/// Returns the messages that subscribe to two products as request 7.
pub(super) fn subscription(adapter: &dyn Adapter, products: [&str; 2]) -> Vec<String> {
    let requests = adapter.subscription(Action::Subscribe, &products, 7);
    requests.into_iter().map(|request| request.text).collect()
}
