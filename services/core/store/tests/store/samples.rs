//! Sample values for the tests.

use events::{
    OrderRequest, Price, Rule, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use serde_json::json;
use store::{
    Store,
    identity::{
        login_throttle::Network,
        sessions::{self, IssuedSession, NewSession},
        sign_ups::{self, SignUpMode},
    },
    trading::orders::NewOrder,
};
use uuid::Uuid;

/// Returns the time that is a number of seconds after a fixed moment.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_micros((1_900_000_000 + seconds) * 1_000_000).expect("a time")
}

pub(crate) fn id(number: u128) -> Uuid {
    Uuid::from_u128(number)
}

pub(crate) fn symbol(text: &str) -> Symbol {
    Symbol::parse(text).expect("a symbol")
}

pub(crate) fn venue(text: &str) -> Venue {
    Venue::parse(text).expect("a venue")
}

pub(crate) fn price(text: &str) -> Price {
    Price::new(text.parse().expect("a number")).expect("a price")
}

pub(crate) fn tick(seconds: i64, venue: &str, amount: &str) -> Tick {
    Tick {
        venue: crate::samples::venue(venue),
        symbol: symbol("BTC-USD"),
        price: price(amount),
        size: Some("1".parse().expect("a size")),
        at: at(seconds),
        received_at: at(seconds),
        kind: TickKind::Trade,
        source: TickSource::Live,
    }
}

pub(crate) fn rule(number: u128, email: &str) -> Rule {
    let rule = json!({ "id": id(number), "symbol": "BTC-USD", "condition": { "price": { "above": "5000" } },
        "notify": { "email": email } });
    serde_json::from_value(rule).expect("a rule")
}

/// Returns the terms of a limit order with the owner's own id, if given.
pub(crate) fn terms(client_order_id: Option<&str>, size: &str) -> OrderRequest {
    let terms = json!({ "type": "limit", "side": "buy", "symbol": "BTC-USD", "price": "4000", "size": size,
        "client_order_id": client_order_id });
    serde_json::from_value(terms).expect("terms")
}

pub(crate) fn order(number: u128, user_id: Uuid) -> NewOrder {
    NewOrder {
        id: id(number),
        user_id,
        terms: terms(None, "0.1"),
        idempotency_key: None,
        after_alert: None,
        placed_at: at(0),
    }
}

pub(crate) fn network() -> Network {
    Network::of("192.0.2.7".parse().expect("an address"))
}

/// Signs a user up, with the password hash `hash`.
pub(crate) async fn user(store: &Store, email: &str) -> Uuid {
    sign_ups::start(store, email.into(), "hash".into(), SignUpMode::AtOnce, at(0))
        .await
        .expect("the sign-up is accepted");
    sessions::find_password(store, email).await.expect("an answer").expect("a user").0.id
}

/// Opens a session with the token `token` for an hour.
pub(crate) async fn session(store: &Store, user_id: Uuid, token: u8) {
    let opened = IssuedSession { token: [token; 32], expires_at: at(3_600) };
    let verified = "hash".into();
    let session = NewSession { user_id, verified, renewed: None, opened, network: network(), replaces: None };
    assert!(sessions::open(store, session, at(0)).await.expect("an answer"));
}
