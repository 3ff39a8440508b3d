//! A user who trades, and helpers for the tests of orders.

use std::collections::BTreeMap;

use e2e::{Api, ApiResponse, System, tape, wait_until};
use reqwest::Method;
use rust_decimal::Decimal;
use serde_json::{Value, json};

pub(super) const ADA: &str = "ada@example.com";
pub(super) const BOB: &str = "bob@example.com";
const TIMEOUT: std::time::Duration = std::time::Duration::from_secs(30);

/// A user with a session.
pub(super) struct Trader<'a> {
    pub(super) api: &'a Api,
    pub(super) token: String,
}

impl<'a> Trader<'a> {
    /// Signs up and receives a deposit of US dollars.
    pub(super) async fn with(system: &'a System, email: &str, dollars: &str) -> Self {
        system.sign_up(email).await;
        let token = system.api.sign_in(email).await;
        let deposit = system.run(&["accounts", "deposit", email, dollars, "USD"]).await;
        let said = String::from_utf8_lossy(&deposit.stdout);
        assert!(said.contains(&format!("{email} now has {dollars} USD")), "{said}{deposit:?}");
        Self { api: &system.api, token }
    }

    /// Places an order and waits until it is decided.
    pub(super) async fn place(&self, terms: &Value) -> ApiResponse {
        self.place_as(terms, None).await
    }

    pub(super) async fn place_as(&self, terms: &Value, key: Option<&str>) -> ApiResponse {
        let request = self.api.request(Method::POST, "/v1/orders").bearer_auth(&self.token).json(terms);
        let request = request.header("prefer", "wait=9");
        Api::send(match key {
            Some(key) => request.header("idempotency-key", key),
            None => request,
        })
        .await
    }

    pub(super) async fn cancel(&self, order: &Value) -> ApiResponse {
        let request = self.api.request(Method::DELETE, &path(order)).bearer_auth(&self.token);
        Api::send(request.header("prefer", "wait=9")).await
    }

    pub(super) async fn look(&self, path: &str) -> Value {
        self.api.call(&self.token, Method::GET, path).await.expect_status(200).json()
    }

    /// Waits until an order has this status.
    pub(super) async fn wait_for_status(&self, order: &Value, status: &str) -> Value {
        let look = async || Some(self.look(&path(order)).await).filter(|order| order["status"] == status);
        wait_until(&format!("the order is {status}"), TIMEOUT, look).await
    }

    /// Returns the available and the held amount of an asset, after checking that they make the total.
    pub(super) async fn balance(&self, asset: &str) -> [String; 2] {
        let accounts = self.look("/v1/accounts").await;
        let found = accounts["items"].as_array().expect("a list").iter().find(|account| account["asset"] == asset);
        let Some(account) = found else { return ["none".into(), "none".into()] };
        let [available, held, total] = ["available", "held", "total"].map(|name| amount(&account[name]));
        assert_eq!(available + held, total);
        [available.to_string(), held.to_string()]
    }

    /// Sums the entries of the user's ledger by account and asset.
    pub(super) async fn sums(&self) -> BTreeMap<String, Decimal> {
        let postings: Vec<Value> = self.api.pages("/v1/ledger?limit=2", Some(&self.token)).await;
        let mut sums = BTreeMap::new();
        for entry in postings.iter().flat_map(|posting| posting["entries"].as_array().expect("entries")) {
            let name = format!("{} {}", entry["account"], entry["asset"]).replace('"', "");
            *sums.entry(name).or_insert(Decimal::ZERO) += amount(&entry["amount"]);
        }
        sums
    }
}

pub(super) fn amount(value: &Value) -> Decimal {
    value.as_str().and_then(|text| text.parse().ok()).unwrap_or_else(|| panic!("{value} is no amount"))
}

pub(super) fn path(order: &Value) -> String {
    format!("/v1/orders/{}", order["id"].as_str().expect("an id"))
}

pub(super) fn limit(client_order_id: &str) -> Value {
    json!({ "symbol": "BTC-USD", "side": "buy", "type": "limit", "size": "0.1", "price": "6900",
            "client_order_id": client_order_id })
}

/// Returns the value of a metric, by its name and labels.
pub(super) async fn metric(system: &System, name: &str) -> u64 {
    let text = system.api.get("/metrics").await.expect_status(200).text;
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
    value.unwrap_or_else(|| panic!("{name} is not in {text}"))
}

pub(super) async fn move_to(system: &System, time: &str, price: &str) {
    system.publish(&[tape::message(&tape::tick("test", "BTC-USD", time, price))]).await;
    system.wait_until_processed().await;
}
