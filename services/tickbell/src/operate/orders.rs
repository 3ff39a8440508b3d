//! `tickbell orders`.

use clap::{Args, Subcommand};
use reqwest::{Method, Url};
use serde_json::{Map, Value};

use super::{client::Client, settings};
use crate::{
    cli::{Common, Output},
    exit::Exit,
    print::{say, table},
};

/// What is said of an order in a list, and what it is called there.
const COLUMNS: [(&str, &str); 10] = [
    ("ID", "/id"),
    ("PLACED", "/placed_at"),
    ("SYMBOL", "/symbol"),
    ("SIDE", "/side"),
    ("TYPE", "/type"),
    ("SIZE", "/size"),
    ("FUNDS", "/funds"),
    ("STATUS", "/status"),
    ("REASON", "/reason"),
    ("TRADED AT", "/trade/price"),
];

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Place an order; status 1 when it is rejected
    Place(Place),
    /// List your orders, newest first
    List {
        #[command(flatten)]
        api: Api,
        /// Only those that are received, open, filled, cancelled, expired or rejected
        #[arg(long)]
        status: Option<String>,
        /// Only those that trade this
        #[arg(long)]
        symbol: Option<String>,
        /// How many at most, 1 to 1000
        #[arg(long, default_value_t = 20)]
        limit: u16,
    },
    /// Say everything about an order
    Show {
        #[command(flatten)]
        api: Api,
        /// The order
        id: String,
    },
    /// Take an order back
    Cancel {
        #[command(flatten)]
        api: Api,
        /// The order
        id: String,
        /// How long to wait until it is final, up to 30
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
}

/// Which API, and how its answers are shown.
#[derive(Debug, Args)]
pub(crate) struct Api {
    /// Where the API is [default: that of a running `tickbell up`, or the setting client.url]
    #[arg(long)]
    pub(crate) url: Option<Url>,
    #[command(flatten)]
    pub(crate) output: Output,
}

/// What an order is to do.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    api: Api,
    /// What is traded, like BTC-USD
    symbol: String,
    /// buy or sell
    side: String,
    /// market, limit or stop
    #[arg(value_name = "TYPE")]
    order_type: String,
    /// How much of the base, like 0.1
    #[arg(long)]
    size: Option<String>,
    /// How much of the quote a market buy spends, fee included
    #[arg(long, conflicts_with = "size")]
    funds: Option<String>,
    /// The worst price of a limit order
    #[arg(long)]
    price: Option<String>,
    /// What a stop order waits for
    #[arg(long)]
    stop_price: Option<String>,
    /// Expire what cannot be filled at once
    #[arg(long)]
    ioc: bool,
    /// Your own name for it; the same name is the same order
    #[arg(long, value_name = "NAME")]
    client_order_id: Option<String>,
    /// How long to wait until it is decided, up to 30
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    wait: u64,
}

impl Place {
    fn body(&self) -> Value {
        let given = [
            ("symbol", Some(self.symbol.as_str())),
            ("side", Some(&self.side)),
            ("type", Some(&self.order_type)),
            ("size", self.size.as_deref()),
            ("funds", self.funds.as_deref()),
            ("price", self.price.as_deref()),
            ("stop_price", self.stop_price.as_deref()),
            ("client_order_id", self.client_order_id.as_deref()),
            ("time_in_force", self.ioc.then_some("ioc")),
        ];
        let given = given.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?.into())));
        Value::Object(given.collect())
    }
}

pub(crate) async fn run(common: &Common, command: Command) -> anyhow::Result<Exit> {
    let settings = settings(common)?.client;
    match command {
        Command::Place(place) => {
            let client = Client::new(&settings, place.api.url.as_ref())?;
            let request = client.request(Method::POST, "/v1/orders")?.json(&place.body());
            let order = client.ask(request.header("prefer", format!("wait={}", place.wait))).await?;
            show(&order, &place.api.output);
            Ok(if order["status"] == "rejected" { Exit::Failed } else { Exit::Done })
        }
        Command::List { api, status, symbol, limit } => {
            let client = Client::new(&settings, api.url.as_ref())?;
            let given = [("status", status), ("symbol", symbol), ("limit", Some(limit.to_string()))];
            let query: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let page = client.ask(client.request(Method::GET, "/v1/orders")?.query(&query)).await?;
            list(&page, &api.output);
            Ok(Exit::Done)
        }
        Command::Show { api, id } => {
            let client = Client::new(&settings, api.url.as_ref())?;
            show(&client.ask(client.request(Method::GET, &format!("/v1/orders/{id}"))?).await?, &api.output);
            Ok(Exit::Done)
        }
        Command::Cancel { api, id, wait } => {
            let client = Client::new(&settings, api.url.as_ref())?;
            let request = client.request(Method::DELETE, &format!("/v1/orders/{id}"))?;
            let order = client.ask(request.header("prefer", format!("wait={wait}"))).await?;
            show(&order, &api.output);
            Ok(Exit::Done)
        }
    }
}

fn list(page: &Value, output: &Output) {
    if output.json {
        return say(&page.to_string());
    }
    let orders = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = orders.iter().map(|order| COLUMNS.map(|(_, at)| text(order.pointer(at))));
    table(&COLUMNS.map(|(name, _)| name), &rows.collect::<Vec<_>>());
}

/// What there is, one line each; what is null is left out.
fn show(order: &Value, output: &Output) {
    if output.json {
        return say(&order.to_string());
    }
    let none = Map::new();
    let lines = |prefix: &str, fields: &Value| -> Vec<[String; 2]> {
        let fields = fields.as_object().unwrap_or(&none).iter();
        fields
            .filter(|(_, value)| !value.is_null() && !value.is_object())
            .map(|(name, value)| [format!("{prefix}{name}"), text(Some(value))])
            .collect()
    };
    let parts = [("", order), ("held ", &order["held"]), ("trade ", &order["trade"])];
    let rows: Vec<[String; 2]> = parts.into_iter().flat_map(|(prefix, part)| lines(prefix, part)).collect();
    table(&["FIELD", "VALUE"], &rows);
}

/// A value as people read it.
pub(crate) fn text(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => String::new(),
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        place: Place,
    }

    #[test]
    fn a_line_becomes_the_body_of_the_request() {
        let body = |line: &str| Line::try_parse_from(line.split(' ')).map(|line| line.place.body());
        assert_eq!(
            body("x BTC-USD buy market --funds 100").expect("an order"),
            json!({ "symbol": "BTC-USD", "side": "buy", "type": "market", "funds": "100" })
        );
        assert_eq!(
            body("x SPY sell limit --size 0.10 --price 170 --ioc --client-order-id a").expect("an order"),
            json!({ "symbol": "SPY", "side": "sell", "type": "limit", "size": "0.10", "price": "170",
                    "time_in_force": "ioc", "client_order_id": "a" })
        );
        assert!(body("x SPY buy market --funds 1 --size 1").is_err());
    }
}
