//! `/v1/orders`: place, look, take back.

use std::str::FromStr;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use events::{
    Amount, Asset, OrderStatus, Price, RejectReason, Side, Size, Symbol, Timestamp,
    order_request::{OrderRequestFields, OrderType, TimeInForce},
};
use serde::Serialize;
use store::trading::{
    order_waiters::{Until, Waiting},
    orders::{self, Cancellation, Decision, NewOrder, OrderFilter, OrderKey, OrderRecord, Placed},
};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::{
    App,
    accounts::Trade,
    caller::{self, Reads, Trades},
    extract::{FromQuery, Id, JsonBody, Params},
    openapi::ProblemResponses,
    order_schemas::{OrderStatusDoc, OrderTypeDoc, RejectionDoc, SideDoc, TermsDoc, TimeInForceDoc},
    prefer::{IdempotencyKey, Patience, Wait, mistaken_key},
    problem::{Kind, Mistake, Problem},
    query::{Cursor, Given, Query, page},
    terms,
};

/// An order and how it stands.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Order {
    id: Uuid,
    #[schema(value_type = OrderStatusDoc)]
    status: OrderStatus,
    /// Why it is rejected; null otherwise.
    #[schema(value_type = Option<RejectionDoc>)]
    reason: Option<RejectReason>,
    #[schema(value_type = String, example = "BTC-USD")]
    symbol: Symbol,
    #[schema(value_type = SideDoc)]
    side: Side,
    #[schema(value_type = OrderTypeDoc)]
    r#type: OrderType,
    /// How much of the base; null for a market buy that says its funds.
    #[schema(value_type = Option<String>, example = "0.1")]
    size: Option<Size>,
    /// How much of the quote a market buy spends, fee included.
    #[schema(value_type = Option<String>, example = "100.00")]
    funds: Option<Amount>,
    /// The limit of a limit order.
    #[schema(value_type = Option<String>, example = "6800.00")]
    price: Option<Price>,
    /// The stop of a stop order.
    #[schema(value_type = Option<String>, example = "6500.00")]
    stop_price: Option<Price>,
    #[schema(value_type = TimeInForceDoc)]
    time_in_force: TimeInForce,
    #[schema(example = "my-order-1")]
    client_order_id: Option<String>,
    /// The alert whose first firing places it; null for an order that was placed by itself.
    alert_id: Option<Uuid>,
    /// What it holds while it is open.
    held: Option<Held>,
    /// How it traded, once it is filled.
    trade: Option<Trade>,
    /// The last tick, by its place in stream `TICKS`, that was applied before its status was decided; null before.
    tick_sequence: Option<u64>,
    #[schema(value_type = String, format = DateTime)]
    placed_at: Timestamp,
    /// When its status was decided, by the time of what decided it; null before.
    #[schema(value_type = Option<String>, format = DateTime)]
    updated_at: Option<Timestamp>,
}

/// What an order holds.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Held {
    #[schema(value_type = String, example = "USD")]
    asset: Asset,
    #[schema(value_type = String, example = "680.68")]
    amount: Amount,
}

impl From<OrderRecord> for Order {
    fn from(record: OrderRecord) -> Self {
        let status = record.status();
        let OrderRecord { id, user_id: _, terms, rule_id, placed_at, decision } = record;
        let (state, trade) = decision.map_or((None, None), |Decision { state, trade }| (Some(state), trade));
        let OrderRequestFields {
            symbol,
            side,
            order_type,
            size,
            funds,
            price,
            stop_price,
            time_in_force,
            client_order_id,
        } = terms.into();
        Self {
            id,
            status,
            reason: state.as_ref().and_then(|state| state.reason),
            symbol,
            side,
            r#type: order_type,
            size,
            funds,
            price,
            stop_price,
            time_in_force,
            client_order_id,
            alert_id: rule_id,
            tick_sequence: state.as_ref().map(|state| state.tick_sequence),
            updated_at: state.as_ref().map(|state| state.updated_at),
            held: state.and_then(|state| state.held).map(|(asset, amount)| Held { asset, amount }),
            trade: trade.map(Trade::from),
            placed_at,
        }
    }
}

/// A page of orders.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrderPage {
    items: Vec<Order>,
    /// Takes the next page; null on the last.
    next_cursor: Option<String>,
}

/// Which orders.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrderQuery {
    /// Only those that stand so.
    #[param(value_type = Option<OrderStatusDoc>)]
    status: Option<OrderStatus>,
    /// Only those that trade this.
    #[param(value_type = Option<String>, example = "BTC-USD")]
    symbol: Option<Symbol>,
    /// The `next_cursor` of the page before.
    #[param(value_type = Option<String>)]
    cursor: Option<OrderPlace>,
    /// How many at most.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 1000, default = 100, example = 100)]
    limit: u16,
}

impl FromQuery for OrderQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let status = query.optional("status").map(|Standing(status)| status);
        let symbol = query.optional("symbol");
        let cursor = query.optional("cursor").map(|Given(place)| place);
        Some(Self { status, symbol, cursor, limit: query.limit() })
    }
}

struct Standing(OrderStatus);

impl FromStr for Standing {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let known = "must be received, open, filled, cancelled, expired or rejected";
        OrderStatus::parse(text).map(Self).ok_or(known)
    }
}

/// Behind an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct OrderPlace(Uuid);

impl Cursor for OrderPlace {
    const LIST: &'static str = "o";
    fn key(&self) -> String {
        self.0.to_string()
    }
    fn from_key(key: &str) -> Option<Self> {
        key.parse().ok().map(Self)
    }
}

type Answer = Result<(StatusCode, HeaderMap, Json<Order>), Problem>;

/// Place an order
///
/// It is saved and on its way when this answers. `Prefer: wait=N` waits up to N seconds (at most 30) until it is decided:
/// 200 when it is open or final, else 202. A request that is sent again under its `Idempotency-Key`, or with its
/// `client_order_id`, is answered with the first one's order.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", operation_id = "place_order",
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds for its open or final status"),
        ("Idempotency-Key" = Option<String>, Header, description = "A name of the request, 1 to 255 printable ASCII \
            characters: sent again, it is the same order"),
    ),
    request_body(content = TermsDoc, content_type = "application/json", examples(
        ("market" = (summary = "Buy for 100 dollars at the latest price", value = json!({
            "symbol": "BTC-USD", "side": "buy", "type": "market", "funds": "100.00"}))),
        ("limit" = (summary = "Sell at 7000 or better", value = json!({
            "symbol": "BTC-USD", "side": "sell", "type": "limit", "size": "0.01", "price": "7000",
            "time_in_force": "gtc", "client_order_id": "my-order-1"}))),
        ("stop" = (summary = "Sell when it falls to 6000", value = json!({
            "symbol": "BTC-USD", "side": "sell", "type": "stop", "size": "0.01", "stop_price": "6000"}))),
    )),
    security(("session" = []), ("api_key" = ["trade"])),
    responses(
        (status = 202, body = Order, description = "It is on its way", headers(
            ("Location", description = "Where the order is"),
            ("Preference-Applied", description = "`wait=N`, when it was waited"))),
        (status = 200, body = Order, description = "It was waited, and it is decided", headers(
            ("Location", description = "Where the order is"),
            ("Preference-Applied", description = "`wait=N`"))),
        ProblemResponses,
    ),
)]
pub(crate) async fn place(
    State(app): State<App>,
    Trades(caller): Trades,
    Patience(wait): Patience,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    JsonBody(body): JsonBody,
) -> Answer {
    let terms = terms::read(&body)?;
    terms::check_places(&app.store, &terms, "").await?;
    let id = Uuid::now_v7();
    // From before it is saved, so that its decision cannot be missed.
    let waiting = wait.map(|wait| (wait, app.store.order_waiters().order(id, Until::Decided)));
    let placed_at = platform::clock::now();
    let order = NewOrder { id, user_id: caller.user_id, terms, idempotency_key, after_alert: None, placed_at };
    match orders::place(&app.store, order).await? {
        Placed::New(record) => answer(*record, waiting, Until::Decided).await,
        Placed::Duplicate(record) => {
            let waiting = wait.map(|wait| (wait, app.store.order_waiters().order(record.id, Until::Decided)));
            answer(*record, waiting, Until::Decided).await
        }
        Placed::Conflict(OrderKey::IdempotencyKey) => {
            Err(Problem::invalid(vec![mistaken_key("was used before, with another order")]))
        }
        Placed::Conflict(OrderKey::ClientOrderId) => Err(name_taken("")),
        Placed::NoAccount => Err(caller::unknown()),
    }
}

/// An order of the same name has other terms; `at` is the pointer to these.
pub(crate) fn name_taken(at: &str) -> Problem {
    let detail = "names another order of yours; choose a new one";
    Problem::invalid(vec![Mistake::body(format!("{at}/client_order_id"), detail)])
}

async fn answer(record: OrderRecord, waiting: Option<(Wait, Waiting<Decision>)>, until: Until) -> Answer {
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/orders/{}", record.id)) {
        headers.insert(header::LOCATION, location);
    }
    let (mut status, mut record) = (StatusCode::ACCEPTED, record);
    if let Some((wait, waiting)) = waiting {
        headers.extend([wait.applied()]);
        if !until.is_met_by(&record)
            && let Some(decision) = waiting.until(wait.deadline).await
        {
            record.decision = Some(decision);
        }
        if until.is_met_by(&record) {
            status = StatusCode::OK;
        }
    }
    Ok((status, headers, Json(record.into())))
}

/// Your orders, newest first
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", operation_id = "list_orders", params(OrderQuery),
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = OrderPage), ProblemResponses),
)]
pub(crate) async fn list(
    State(app): State<App>,
    Reads(caller): Reads,
    Params(query): Params<OrderQuery>,
) -> Result<Json<OrderPage>, Problem> {
    let before = query.cursor.map(|OrderPlace(id)| id);
    let filter = OrderFilter { status: query.status, symbol: query.symbol, before };
    let orders = orders::list(&app.store, caller.user_id, &filter, i64::from(query.limit) + 1).await?;
    let (orders, next_cursor) = page(orders, query.limit, |order| OrderPlace(order.id));
    Ok(Json(OrderPage { items: orders.into_iter().map(Order::from).collect(), next_cursor }))
}

/// Look at an order
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "orders", operation_id = "get_order",
    params(("id" = Uuid, Path, description = "The order")),
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = Order), ProblemResponses),
)]
pub(crate) async fn show(State(app): State<App>, Reads(caller): Reads, Id(id): Id) -> Result<Json<Order>, Problem> {
    let found = orders::find(&app.store, caller.user_id, id).await?.ok_or_else(no_such_order)?;
    Ok(Json(found.into()))
}

/// Take an order back
///
/// It is asked for when this answers; the order may still fill before. `Prefer: wait=N` waits up to N seconds (at most 30)
/// for its end: 200 when it is there, else 202. To ask again is to ask once.
#[utoipa::path(
    delete, path = "/v1/orders/{id}", tag = "orders", operation_id = "cancel_order",
    params(
        ("id" = Uuid, Path, description = "The order"),
        ("Prefer" = Option<String>, Header, description = "`wait=N`: wait up to N seconds for its final status"),
    ),
    security(("session" = []), ("api_key" = ["trade"])),
    responses(
        (status = 202, body = Order, description = "It is asked for"),
        (status = 200, body = Order, description = "It was waited, and the order is final"),
        ProblemResponses,
    ),
)]
pub(crate) async fn cancel(
    State(app): State<App>,
    Trades(caller): Trades,
    Patience(wait): Patience,
    Id(id): Id,
) -> Answer {
    let waiting = wait.map(|wait| (wait, app.store.order_waiters().order(id, Until::Final)));
    match orders::request_cancel(&app.store, caller.user_id, id, platform::clock::now()).await? {
        Cancellation::Requested(record) => answer(*record, waiting, Until::Final).await,
        Cancellation::Final(status) => {
            let detail = format!("The order is {} and stays so.", status.as_str());
            Err(Problem::new(Kind::Conflict, detail))
        }
        Cancellation::Missing => Err(no_such_order()),
    }
}

fn no_such_order() -> Problem {
    Problem::new(Kind::NotFound, "You have no such order.")
}
