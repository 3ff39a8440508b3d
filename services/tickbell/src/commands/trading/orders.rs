//! `tickbell orders`: places, lists, shows and cancels orders over the API.

use clap::{Args, Subcommand};
use reqwest::Method;
use serde_json::{Map, Value};

use super::api_client::{ApiOptions, Client, to_text};
use crate::{
    commands::connect::settings,
    exit::Exit,
    options::{GlobalOptions, OutputOptions},
    print::{print, print_table},
};

/// The columns of the list, each with the JSON pointer of its field.
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
    /// Place an order; exits with status 1 if it is rejected
    Place(Place),
    /// List your orders, newest first
    List {
        #[command(flatten)]
        api: ApiOptions,
        /// Only orders with this status: received, open, filled, cancelled, expired or rejected
        #[arg(long)]
        status: Option<String>,
        /// Only orders of this symbol, like BTC-USD
        #[arg(long)]
        symbol: Option<String>,
        /// Largest number of orders, 1 to 1000
        #[arg(long, default_value_t = 20)]
        limit: u16,
    },
    /// Show an order
    Show {
        #[command(flatten)]
        api: ApiOptions,
        /// Order id
        id: String,
    },
    /// Cancel an order
    Cancel {
        #[command(flatten)]
        api: ApiOptions,
        /// Order id
        id: String,
        /// Longest wait for the final status, 0 to 30
        #[arg(long, value_name = "SECONDS", default_value_t = 0)]
        wait: u64,
    },
}

/// The arguments of `orders place`.
#[derive(Debug, Args)]
pub(crate) struct Place {
    #[command(flatten)]
    api: ApiOptions,
    /// Symbol, like BTC-USD
    symbol: String,
    /// buy or sell
    side: String,
    /// market, limit or stop
    #[arg(value_name = "TYPE")]
    order_type: String,
    /// Venue whose ticks price the order; by default the first one that quoted the symbol
    #[arg(long)]
    venue: Option<String>,
    /// Amount of the base asset, like 0.1
    #[arg(long)]
    size: Option<String>,
    /// Amount of the quote asset that a market buy spends, including the fee
    #[arg(long, conflicts_with = "size")]
    funds: Option<String>,
    /// Limit price
    #[arg(long)]
    price: Option<String>,
    /// Price that triggers a stop order
    #[arg(long)]
    stop_price: Option<String>,
    /// Immediate or cancel: the order expires if it cannot be filled at once
    #[arg(long)]
    ioc: bool,
    /// Your own id of the order; a repeated request with the same id places no second order
    #[arg(long, value_name = "ID")]
    client_order_id: Option<String>,
    /// Longest wait for the result, 0 to 30
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    wait: u64,
}

impl Place {
    fn body(&self) -> Value {
        let given = [
            ("symbol", Some(self.symbol.as_str())),
            ("venue", self.venue.as_deref()),
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

pub(crate) async fn run(options: &GlobalOptions, command: Command) -> anyhow::Result<Exit> {
    let settings = settings(options)?.client;
    match command {
        Command::Place(place) => {
            let client = Client::new(&settings, place.api.url.as_ref())?;
            let request = client.request(Method::POST, "/v1/orders")?.json(&place.body());
            let order = client.send(request.header("prefer", format!("wait={}", place.wait))).await?;
            show(&order, &place.api.output);
            Ok(if order["status"] == "rejected" { Exit::Failed } else { Exit::Done })
        }
        Command::List { api, status, symbol, limit } => {
            let client = Client::new(&settings, api.url.as_ref())?;
            let given = [("status", status), ("symbol", symbol), ("limit", Some(limit.to_string()))];
            let query: Vec<_> = given.into_iter().filter_map(|(name, value)| Some((name, value?))).collect();
            let page = client.send(client.request(Method::GET, "/v1/orders")?.query(&query)).await?;
            list(&page, &api.output);
            Ok(Exit::Done)
        }
        Command::Show { api, id } => {
            let client = Client::new(&settings, api.url.as_ref())?;
            show(&client.send(client.request(Method::GET, &format!("/v1/orders/{id}"))?).await?, &api.output);
            Ok(Exit::Done)
        }
        Command::Cancel { api, id, wait } => {
            let client = Client::new(&settings, api.url.as_ref())?;
            let request = client.request(Method::DELETE, &format!("/v1/orders/{id}"))?;
            let order = client.send(request.header("prefer", format!("wait={wait}"))).await?;
            show(&order, &api.output);
            Ok(Exit::Done)
        }
    }
}

fn list(page: &Value, output: &OutputOptions) {
    if output.json {
        return print(&page.to_string());
    }
    let orders = page["items"].as_array().map(Vec::as_slice).unwrap_or_default();
    let rows = orders.iter().map(|order| COLUMNS.map(|(_, at)| to_text(order.pointer(at))));
    print_table(&COLUMNS.map(|(name, _)| name), &rows.collect::<Vec<_>>());
}

/// Prints the fields of an order, one per line, without those that are null.
fn show(order: &Value, output: &OutputOptions) {
    if output.json {
        return print(&order.to_string());
    }
    let none = Map::new();
    let lines = |prefix: &str, fields: &Value| -> Vec<[String; 2]> {
        let fields = fields.as_object().unwrap_or(&none).iter();
        fields
            .filter(|(_, value)| !value.is_null() && !value.is_object())
            .map(|(name, value)| [format!("{prefix}{name}"), to_text(Some(value))])
            .collect()
    };
    let parts = [("", order), ("held ", &order["held"]), ("trade ", &order["trade"])];
    let rows: Vec<[String; 2]> = parts.into_iter().flat_map(|(prefix, part)| lines(prefix, part)).collect();
    print_table(&["FIELD", "VALUE"], &rows);
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
