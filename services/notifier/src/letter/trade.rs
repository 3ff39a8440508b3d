//! What people are told about their orders.

use askama::Template;
use events::{OrderStatus, OrderUpdated, RejectReason, Side, Timestamp, TradeSettled, display};
use platform::signed_links::Links;
use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};

use super::{Letter, render};

/// What became of an order that its owner is told about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// It was filled.
    Traded(TradeSettled),
    /// It was rejected or has expired.
    Ended(OrderUpdated),
}

impl Order {
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

/// Says what became of one or more orders.
pub fn orders(mut orders: Vec<Order>, links: &Links) -> Letter {
    orders.sort_by_key(Order::at);
    let sections: Vec<_> = orders.iter().map(Order::section).collect();
    let (subject, end) = match sections.as_slice() {
        [only] => (only.headline.clone(), only.advice.unwrap_or(FILLED)),
        _ => (count(&orders), "You get this mail because these orders of your account were filled or have ended."),
    };
    let page = OrdersPage { subject: &subject, sections: &sections, end, home: links.base_url() };
    let (text, html) = (render(&OrdersText { page: &page }), render(&page));
    Letter { subject, text, html, unsubscribe: None }
}

/// `3 orders: 2 filled, 1 rejected`.
fn count(orders: &[Order]) -> String {
    let standing = |order: &Order| match order {
        Order::Traded(_) => OrderStatus::Filled,
        Order::Ended(update) => update.status,
    };
    let of = |status: OrderStatus| {
        let count = orders.iter().filter(|order| standing(order) == status).count();
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
            row("Time", display::time(trade.at)),
            row("Order", trade.order_id.to_string()),
        ],
        advice: None,
        symbol: trade.symbol.as_str(),
    }
}

fn ended(update: &OrderUpdated) -> Section<'_> {
    let (headline, advice) = match update.reason {
        Some(reason) => {
            let (why, what) = reason_in_words(reason);
            (format!("Your order was rejected: {why}"), what)
        }
        None => (
            "Your order has expired".to_owned(),
            "It could not be filled at once, or what it waited for has ended. Nothing was traded, and what it held is \
             available again.",
        ),
    };
    Section {
        headline,
        rows: vec![
            row("Symbol", update.symbol.to_string()),
            row("Time", display::time(update.at)),
            row("Order", update.order_id.to_string()),
        ],
        advice: Some(advice),
        symbol: update.symbol.as_str(),
    }
}

/// Why, and what can be done.
fn reason_in_words(reason: RejectReason) -> (&'static str, &'static str) {
    match reason {
        RejectReason::InsufficientFunds => {
            ("insufficient funds", "Your account has less available than the order needs with its fee.")
        }
        RejectReason::NoPrice => ("no price", "There is no price for this symbol yet. Try again when there is one."),
        RejectReason::StalePrice => (
            "stale price",
            "The last price of this symbol is too old to trade at. Try again when there is a newer one.",
        ),
        RejectReason::UnknownSymbol => ("unknown symbol", "One of the symbol's two sides cannot be held here."),
        RejectReason::TooPrecise => {
            ("too precise", "Its size or its funds have more decimal places than is counted here.")
        }
        RejectReason::TooSmall => ("too small", "What it is worth rounds to nothing."),
        RejectReason::TooLarge => ("too large", "What it is worth is more than is counted here."),
        RejectReason::TooManyOpenOrders => {
            ("too many open orders", "Your account has as many open orders as it may. Cancel one, and try again.")
        }
    }
}

/// A name and its value.
struct Row {
    name: &'static str,
    value: String,
}

fn row(name: &'static str, value: String) -> Row {
    Row { name, value }
}

impl Row {
    /// The name in a column of text.
    fn column(&self) -> String {
        format!("{:<10}", format!("{}:", self.name))
    }
}

/// What became of one order.
struct Section<'a> {
    headline: String,
    rows: Vec<Row>,
    /// What can be done about it.
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
    use crate::letter::tests::{links, trade, update};

    #[test]
    fn a_purchase_is_complete_by_itself() {
        let letter = orders(vec![Order::Traded(trade("buy"))], &links());
        assert_eq!(letter.subject, "Bought 0.1 BTC at 6,804.91 USD");
        assert_eq!(
            letter.text,
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
            assert!(letter.html.contains(said), "{said} in {}", letter.html);
        }
        assert!(letter.unsubscribe.is_none() && !letter.html.contains("<img") && !letter.html.contains("<script"));
    }

    #[test]
    fn a_sale_says_what_it_brought() {
        let letter = orders(vec![Order::Traded(trade("sell"))], &links());
        assert_eq!(letter.subject, "Sold 0.1 BTC at 6,804.91 USD");
        assert!(letter.text.contains("Received: 679.81 USD\n"), "{}", letter.text);
    }

    #[test]
    fn several_orders_are_counted_and_told_one_after_the_other() {
        let ended = |status, reason| Order::Ended(update(status, reason));
        let late = TradeSettled { at: "2018-04-05T13:45:01Z".parse().expect("a time"), ..trade("sell") };
        let told = vec![Order::Traded(late), ended("rejected", Some("stale_price")), Order::Traded(trade("buy"))];
        let letter = orders(told, &links());
        assert_eq!(letter.subject, "3 orders: 2 filled, 1 rejected");
        assert_eq!(
            letter.text,
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
            assert!(letter.html.contains(said), "{said} in {}", letter.html);
        }
        let subject = |told| orders(told, &links()).subject;
        assert_eq!(subject(vec![ended("expired", None), ended("expired", None)]), "2 orders: 2 expired");
    }

    #[test]
    fn an_order_that_was_not_wanted_says_why() {
        let letter = orders(vec![Order::Ended(update("rejected", Some("insufficient_funds")))], &links());
        assert_eq!(
            letter.text,
            "Your order was rejected: insufficient funds

Symbol:   BTC-USD
Time:     5 Apr 2018 13:45:00 UTC
Order:    00000000-0000-0000-0000-000000000003

Your account has less available than the order needs with its fee.

--
Tickbell at https://bell.example.com"
        );
        let letter = orders(vec![Order::Ended(update("expired", None))], &links());
        assert_eq!(letter.subject, "Your order has expired");
    }
}
