//! The order that the first firing of an alert places, and who may have one.

use axum::http::HeaderMap;
use events::{OrderStatus, Rule, Timestamp, order::AlertTrigger};
use serde::Serialize;
use store::{identity::users::Scope, trading::orders::NewOrder};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    auth::{Credential, Required},
    http::problem::{FieldError, Problem},
    request::{order, symbol::check_payable},
    settings::OrdersFromAlerts,
    state::AppState,
};

/// The order that the first firing of an alert places; `GET /v1/orders/{id}` has its details.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertOrder {
    id: Uuid,
    status: OrderStatus,
}

impl From<(Uuid, OrderStatus)> for AlertOrder {
    fn from((id, status): (Uuid, OrderStatus)) -> Self {
        Self { id, status }
    }
}

/// Returns the order of a new rule that has one. The caller must be allowed to trade as well as to have alerts.
pub(crate) async fn read(
    state: &AppState,
    headers: &HeaderMap,
    rule: &Rule,
    now: Timestamp,
) -> Result<Option<NewOrder>, Problem> {
    let Some(then) = &rule.then else { return Ok(None) };
    if state.orders_from_alerts == OrdersFromAlerts::Off {
        return Err(reject(
            "is not allowed here: the setting gateway.orders_from_alerts is \"off\", and \"on\" allows it",
        ));
    }
    let credential = Credential::find(headers, state).await?;
    let credential = credential.ok_or_else(|| reject("needs a signed-in user: send the token of a session"))?;
    credential.clone().authorize(Required::Scope(Scope::Alerts))?;
    let caller = credential.authorize(Required::Scope(Scope::Trade))?;
    check_payable(&state.store, &then.order.symbol, "/then/order/symbol").await?;
    order::check_decimal_places(&state.store, &then.order, "/then/order").await?;
    Ok(Some(NewOrder {
        id: Uuid::now_v7(),
        user_id: caller.user_id,
        terms: then.order.clone(),
        idempotency_key: None,
        after_alert: Some(AlertTrigger { rule_id: rule.id, expires_at: rule.expires_at }),
        placed_at: now,
    }))
}

fn reject(detail: &str) -> Problem {
    Problem::invalid(vec![FieldError::body("/then", detail)])
}
