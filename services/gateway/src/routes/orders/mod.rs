//! `/v1/orders`: place, list, read and cancel orders.

pub(crate) mod response;

use std::str::FromStr;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, HeaderValue, StatusCode, header},
};
use events::{OrderRequest, OrderStatus, Symbol};
use store::trading::{
    order_waiters::{Until, Waiting},
    orders::{self, Cancellation, Decision, NewOrder, OrderFilter, OrderKey, OrderRecord, Placed},
};
use utoipa::IntoParams;
use uuid::Uuid;

use crate::{
    auth::{self, ReadScope, TradeScope},
    http::{
        overload::admission::Admitted,
        problem::{Problem, ProblemKind, ProblemResponses},
    },
    request::{
        cursor::{ListCursor, OrderCursor},
        extract::{IdPath, JsonBody},
        headers::{IdempotencyKey, PreferWait, WaitDeadline, idempotency_key_error},
        order::{self, client_order_id_taken},
        query::{FromQuery, ListQuery, Query, QueryParams},
        symbol::{SymbolInput, check_payable},
    },
    routes::{orders::response::Order, page::Page},
    state::AppState,
};

/// The filter of a list of orders.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
pub(crate) struct OrderFilterQuery {
    /// Only orders with this status.
    #[param(inline)]
    status: Option<OrderStatus>,
    /// Only orders for this symbol.
    #[param(value_type = Option<SymbolInput>, inline)]
    symbol: Option<Symbol>,
}

impl FromQuery for OrderFilterQuery {
    fn from_query(query: &mut Query) -> Option<Self> {
        let status = query.optional("status").map(|StatusParam(status)| status);
        Some(Self { status, symbol: query.optional("symbol").map(|SymbolInput(symbol)| symbol) })
    }
}

struct StatusParam(OrderStatus);

impl FromStr for StatusParam {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let allowed = "must be received, open, filled, cancelled, expired or rejected";
        OrderStatus::parse(text).map(Self).ok_or(allowed)
    }
}

type OrderAnswer = Result<(StatusCode, HeaderMap, Json<Order>), Problem>;

/// Place an order
///
/// The order is saved when this answers. `Prefer: wait=N` waits up to N seconds, at most 30, until it is decided: the status
/// is 200 when the order is open or final, else 202. A request that is repeated with its `Idempotency-Key` or its
/// `client_order_id` answers the order of the first request.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", operation_id = "place_order",
    params(
        ("Prefer" = Option<String>, Header, description = "`wait=N` waits up to N seconds, at most 30, until the order is open or final"),
        ("Idempotency-Key" = Option<String>, Header, min_length = 1, max_length = 255, pattern = "^[ -~]+$", description = "A name of the request, 1 to 255 printable ASCII \
            characters: a repeated request with the same name answers the same order"),
    ),
    request_body(content = OrderRequest, content_type = "application/json", examples(
        ("market" = (summary = "Buy for 100 USD at the latest price", value = json!({
            "symbol": "BTC-USD", "side": "buy", "type": "market", "funds": "100.00"}))),
        ("limit" = (summary = "Sell at 7000 or better", value = json!({
            "symbol": "BTC-USD", "side": "sell", "type": "limit", "size": "0.01", "price": "7000",
            "time_in_force": "gtc", "client_order_id": "my-order-1"}))),
        ("stop" = (summary = "Sell when the price falls to 6000", value = json!({
            "symbol": "BTC-USD", "side": "sell", "type": "stop", "size": "0.01", "stop_price": "6000"}))),
    )),
    security(("session" = []), ("api_key" = ["trade"])),
    responses(
        (status = 202, body = Order, description = "The order is accepted and not decided yet", headers(
            ("Location", description = "The path of the order"),
            ("Preference-Applied", description = "`wait=N`, when the request asked to wait"))),
        (status = 200, body = Order, description = "The order is open or final", headers(
            ("Location", description = "The path of the order"),
            ("Preference-Applied", description = "`wait=N`"))),
        ProblemResponses,
    ),
)]
pub(crate) async fn place(
    State(state): State<AppState>,
    TradeScope(caller): TradeScope,
    PreferWait(wait): PreferWait,
    admitted: Admitted,
    IdempotencyKey(idempotency_key): IdempotencyKey,
    JsonBody(body): JsonBody,
) -> OrderAnswer {
    let terms = order::read(&body)?;
    check_payable(&state.store, &terms.symbol, "/symbol").await?;
    order::check_decimal_places(&state.store, &terms, "").await?;
    let id = Uuid::now_v7();
    // Subscribed before the order is saved, so that its decision cannot be missed.
    let waiting = wait.map(|wait| (wait, state.order_waiters.order(id, Until::Decided)));
    let placed_at = platform::clock::now();
    let order = NewOrder { id, user_id: caller.user_id, terms, idempotency_key, after_alert: None, placed_at };
    match orders::place(&state.store, order).await? {
        Placed::New(record) => answer(&state, &admitted, *record, waiting, Until::Decided).await,
        Placed::Duplicate(record) => {
            let waiting = wait.map(|wait| (wait, state.order_waiters.order(record.id, Until::Decided)));
            answer(&state, &admitted, *record, waiting, Until::Decided).await
        }
        Placed::Conflict(OrderKey::IdempotencyKey) => {
            Err(Problem::invalid(vec![idempotency_key_error("was used before with another order; choose a new one")]))
        }
        Placed::Conflict(OrderKey::ClientOrderId) => Err(client_order_id_taken("")),
        Placed::NoAccount => Err(auth::invalid_token()),
    }
}

async fn answer(
    state: &AppState,
    admitted: &Admitted,
    record: OrderRecord,
    waiting: Option<(WaitDeadline, Waiting<Decision>)>,
    until: Until,
) -> OrderAnswer {
    let mut headers = HeaderMap::new();
    if let Ok(location) = HeaderValue::try_from(format!("/v1/orders/{}", record.id)) {
        headers.insert(header::LOCATION, location);
    }
    let (mut status, mut record) = (StatusCode::ACCEPTED, record);
    if let Some((wait, waiting)) = waiting {
        if until.is_met_by(&record) {
            headers.extend([wait.applied()]);
        } else if let Some(_permit) = admitted.begin_wait() {
            headers.extend([wait.applied()]);
            if let Some(decision) = waiting.until(wait.deadline).await {
                record.decision = Some(decision);
            }
        }
        if until.is_met_by(&record) {
            status = StatusCode::OK;
        }
    }
    Ok((status, headers, Json(described(state, record).await?)))
}

/// Returns one order as it is answered.
async fn described(state: &AppState, record: OrderRecord) -> Result<Order, Problem> {
    Order::of(&state.store, vec![record]).await?.pop().ok_or_else(no_such_order)
}

/// List orders
///
/// The newest comes first.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", operation_id = "list_orders", params(OrderFilterQuery, ListQuery<OrderCursor>),
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = Page<Order>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    ReadScope(caller): ReadScope,
    QueryParams((filter, list)): QueryParams<(OrderFilterQuery, ListQuery<OrderCursor>)>,
) -> Result<Json<Page<Order>>, Problem> {
    let before = list.cursor.map(|ListCursor(id)| id);
    let filter = OrderFilter { status: filter.status, symbol: filter.symbol, before };
    let orders = orders::list(&state.store, caller.user_id, &filter, i64::from(list.limit) + 1).await?;
    let orders = Order::of(&state.store, orders).await?;
    Ok(Json(Page::new(orders, list.limit, |order| -> OrderCursor { ListCursor(order.id()) })))
}

/// Get an order
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "orders", operation_id = "get_order",
    params(("id" = Uuid, Path, description = "The id of the order")),
    security(("session" = []), ("api_key" = ["read"])),
    responses((status = 200, body = Order), ProblemResponses),
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    ReadScope(caller): ReadScope,
    IdPath(id): IdPath,
) -> Result<Json<Order>, Problem> {
    let found = orders::find(&state.store, caller.user_id, id).await?.ok_or_else(no_such_order)?;
    Ok(Json(described(&state, found).await?))
}

/// Cancel an order
///
/// The cancellation is requested when this answers; the order may still fill before. `Prefer: wait=N` waits up to N seconds,
/// at most 30: the status is 200 when the order is final, else 202. Repeating the request changes nothing.
#[utoipa::path(
    delete, path = "/v1/orders/{id}", tag = "orders", operation_id = "cancel_order",
    params(
        ("id" = Uuid, Path, description = "The id of the order"),
        ("Prefer" = Option<String>, Header, description = "`wait=N` waits up to N seconds, at most 30, until the order is final"),
    ),
    security(("session" = []), ("api_key" = ["trade"])),
    responses(
        (status = 202, body = Order, description = "The cancellation is requested"),
        (status = 200, body = Order, description = "The order is final"),
        ProblemResponses,
    ),
)]
pub(crate) async fn cancel(
    State(state): State<AppState>,
    TradeScope(caller): TradeScope,
    PreferWait(wait): PreferWait,
    admitted: Admitted,
    IdPath(id): IdPath,
) -> OrderAnswer {
    let waiting = wait.map(|wait| (wait, state.order_waiters.order(id, Until::Final)));
    match orders::request_cancel(&state.store, caller.user_id, id, platform::clock::now()).await? {
        Cancellation::Requested(record) => answer(&state, &admitted, *record, waiting, Until::Final).await,
        Cancellation::Final(status) => {
            let detail = format!("The order is {} and cannot be cancelled.", status.as_str());
            Err(Problem::new(ProblemKind::Conflict, detail))
        }
        Cancellation::Missing => Err(no_such_order()),
    }
}

fn no_such_order() -> Problem {
    Problem::new(ProblemKind::NotFound, "You have no such order.")
}
