//! Emails about orders.

use askama::Template;
use events::{OrderStatus, OrderUpdated, RejectReason, Side, Timestamp, TradeSettled, display};
use platform::signed_links::Links;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{EmailContent, render};

/// News of an order for its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OrderNews {
    /// The order was filled.
    Traded(TradeSettled),
    /// The order was rejected or has expired.
    Ended(OrderUpdated),
}

impl OrderNews {
    fn at(&self) -> Timestamp {
        match self {
            Self::Traded(trade) => trade.at,
            Self::Ended(update) => update.at,
        }
    }

    fn section(&self) -> Section<'_> {
        match self {
            Self::Traded(trade) => traded(trade),
            Self::Ended(update) => ended(update),
        }
    }
}

const FILLED: &str = "You get this mail because an order of your account was filled.";

/// Renders the email about one or more orders.
pub fn orders(mut orders: Vec<OrderNews>, links: &Links) -> EmailContent {
    orders.sort_by_key(OrderNews::at);
    let sections: Vec<_> = orders.iter().map(OrderNews::section).collect();
    let (subject, end) = match sections.as_slice() {
        [only] => (only.headline.clone(), only.advice.unwrap_or(FILLED)),
        _ => (count(&orders), "You get this mail because these orders of your account were filled or have ended."),
    };
    let page = OrdersPage { subject: &subject, sections: &sections, end, home: links.base_url() };
    let (text, html) = (render(&OrdersText { page: &page }), render(&page));
    EmailContent { subject, text, html, unsubscribe: None }
}

/// Returns the subject for several orders, like `3 orders: 2 filled, 1 rejected`.
fn count(orders: &[OrderNews]) -> String {
    let status_of = |order: &OrderNews| match order {
        OrderNews::Traded(_) => OrderStatus::Filled,
        OrderNews::Ended(update) => update.status,
    };
    let of = |status: OrderStatus| {
        let count = orders.iter().filter(|order| status_of(order) == status).count();
        (count > 0).then(|| format!("{count} {}", status.as_str()))
    };
    let counts = [OrderStatus::Filled, OrderStatus::Rejected, OrderStatus::Expired].into_iter().filter_map(of);
    format!("{} orders: {}", orders.len(), counts.collect::<Vec<_>>().join(", "))
}

fn traded(trade: &TradeSettled) -> Section<'_> {
    let (base, quote) = (trade.symbol.base(), trade.symbol.quote());
    let money = |amount: Decimal| format!("{} {quote}", display::number(amount));
    let (done, total) = match trade.side {
        Side::Buy => ("Bought", "Paid"),
        Side::Sell => ("Sold", "Received"),
    };
    let (size, price) = (format!("{} {base}", display::number(trade.size.decimal())), money(trade.price.decimal()));
    Section {
        headline: format!("{done} {size} at {price}"),
        rows: vec![
            row("Size", size),
            row("Price", price),
            row("Fee", money(trade.fee.decimal())),
            row(total, money(trade.total())),
            row("Time", display::time_to_the_second(trade.at)),
            row("Order", trade.order_id.to_string()),
        ],
        advice: None,
        symbol: trade.symbol.as_str(),
    }
}

fn ended(update: &OrderUpdated) -> Section<'_> {
    let (headline, advice) = match update.reason {
        Some(reason) => {
            let (why, what) = reason_text(reason);
            (format!("Your order was rejected: {why}"), what)
        }
        None => (
            "Your order has expired".to_owned(),
            "It could not be filled at once, or the alert that it waited for has ended. Nothing was traded, and the funds that \
             it held are available again.",
        ),
    };
    let mut rows = vec![
        row("Symbol", update.symbol.to_string()),
        row("Time", display::time_to_the_second(update.at)),
        row("Order", update.order_id.to_string()),
    ];
    if update.reason == Some(RejectReason::UnknownSymbol) {
        rows.insert(1, row("Assets", format!("{} and {}", update.symbol.base(), update.symbol.quote())));
    }
    Section { headline, rows, advice: Some(advice), symbol: update.symbol.as_str() }
}

/// Returns the reason of a rejection as text, and what the owner can do.
fn reason_text(reason: RejectReason) -> (&'static str, &'static str) {
    match reason {
        RejectReason::InsufficientFunds => {
            ("insufficient funds", "Your account has less available than the order and its fee need.")
        }
        RejectReason::NoPrice => ("no price", "There is no price for this symbol yet. Try again when there is one."),
        RejectReason::StalePrice => (
            "stale price",
            "The last price of this symbol is too old to trade at. Try again when there is a newer one.",
        ),
        RejectReason::UnknownSymbol => (
            "unknown symbol",
            "There are no accounts of at least one of the symbol's two assets. `GET /v1/assets` lists the assets that accounts \
             can hold; an operator adds one with `tickbell accounts asset CODE SCALE`. Then place the order again.",
        ),
        RejectReason::TooPrecise => {
            ("too precise", "The size or the funds of the order have more decimal places than their asset allows.")
        }
        RejectReason::TooSmall => ("too small", "The value of the order rounds to zero."),
        RejectReason::TooLarge => {
            ("too large", "The value of the order is above the largest amount that Tickbell handles.")
        }
        RejectReason::TooManyOpenOrders => {
            ("too many open orders", "Your account has reached the limit of open orders. Cancel one, and try again.")
        }
    }
}

/// A labelled value.
struct Row {
    name: &'static str,
    value: String,
}

fn row(name: &'static str, value: String) -> Row {
    Row { name, value }
}

impl Row {
    /// Returns the label, padded to the width of its column in plain text.
    fn column(&self) -> String {
        format!("{:<10}", format!("{}:", self.name))
    }
}

/// The part of an email about one order.
struct Section<'a> {
    headline: String,
    rows: Vec<Row>,
    /// What the owner can do.
    advice: Option<&'static str>,
    symbol: &'a str,
}

#[derive(Template)]
#[template(path = "orders.html")]
struct OrdersPage<'a> {
    subject: &'a str,
    sections: &'a [Section<'a>],
    end: &'a str,
    home: &'a str,
}

#[derive(Template)]
#[template(path = "orders.txt")]
struct OrdersText<'a> {
    page: &'a OrdersPage<'a>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::templates::tests::{links, trade, update};

    #[test]
    fn a_purchase_is_complete_by_itself() {
        let email = orders(vec![OrderNews::Traded(trade("buy"))], &links());
        assert_eq!(email.subject, "Bought 0.1 BTC at 6,804.91 USD");
        assert_eq!(
            email.text,
            "Bought 0.1 BTC at 6,804.91 USD

Size:     0.1 BTC
Price:    6,804.91 USD
Fee:      0.68 USD
Paid:     681.17 USD
Time:     5 Apr 2018 13:45:00 UTC
Order:    00000000-0000-0000-0000-000000000003

You get this mail because an order of your account was filled.

--
Tickbell at https://bell.example.com"
        );
        for said in ["Bought 0.1 BTC at 6,804.91 USD", "681.17 USD", "00000000-0000-0000-0000-000000000003"] {
            assert!(email.html.contains(said), "{said} in {}", email.html);
        }
        assert!(email.unsubscribe.is_none() && !email.html.contains("<img") && !email.html.contains("<script"));
    }

    #[test]
    fn a_sale_says_the_proceeds() {
        let email = orders(vec![OrderNews::Traded(trade("sell"))], &links());
        assert_eq!(email.subject, "Sold 0.1 BTC at 6,804.91 USD");
        assert!(email.text.contains("Received: 679.81 USD\n"), "{}", email.text);
    }

    #[test]
    fn several_orders_are_counted_and_listed_in_order_of_time() {
        let ended = |status, reason| OrderNews::Ended(update(status, reason));
        let late = TradeSettled { at: "2018-04-05T13:45:01Z".parse().expect("a time"), ..trade("sell") };
        let news =
            vec![OrderNews::Traded(late), ended("rejected", Some("stale_price")), OrderNews::Traded(trade("buy"))];
        let email = orders(news, &links());
        assert_eq!(email.subject, "3 orders: 2 filled, 1 rejected");
        assert_eq!(
            email.text,
            "3 orders: 2 filled, 1 rejected

Your order was rejected: stale price

Symbol:   BTC-USD
Time:     5 Apr 2018 13:45:00 UTC
Order:    00000000-0000-0000-0000-000000000003

The last price of this symbol is too old to trade at. Try again when there is a newer one.

Bought 0.1 BTC at 6,804.91 USD

Size:     0.1 BTC
Price:    6,804.91 USD
Fee:      0.68 USD
Paid:     681.17 USD
Time:     5 Apr 2018 13:45:00 UTC
Order:    00000000-0000-0000-0000-000000000003

Sold 0.1 BTC at 6,804.91 USD

Size:     0.1 BTC
Price:    6,804.91 USD
Fee:      0.68 USD
Received: 679.81 USD
Time:     5 Apr 2018 13:45:01 UTC
Order:    00000000-0000-0000-0000-000000000003

You get this mail because these orders of your account were filled or have ended.

--
Tickbell at https://bell.example.com"
        );
        for said in ["<h1", "<h2", "Bought 0.1 BTC", "Sold 0.1 BTC", "stale price"] {
            assert!(email.html.contains(said), "{said} in {}", email.html);
        }
        let subject = |news| orders(news, &links()).subject;
        assert_eq!(subject(vec![ended("expired", None), ended("expired", None)]), "2 orders: 2 expired");
    }

    #[test]
    fn a_rejection_says_why() {
        let email = orders(vec![OrderNews::Ended(update("rejected", Some("insufficient_funds")))], &links());
        assert_eq!(
            email.text,
            "Your order was rejected: insufficient funds

Symbol:   BTC-USD
Time:     5 Apr 2018 13:45:00 UTC
Order:    00000000-0000-0000-0000-000000000003

Your account has less available than the order and its fee need.

--
Tickbell at https://bell.example.com"
        );
        let email = orders(vec![OrderNews::Ended(update("expired", None))], &links());
        assert_eq!(email.subject, "Your order has expired");
    }
}
