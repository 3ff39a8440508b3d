//! What a rule's first firing does besides telling somebody, and who may ask for it.

use axum::http::HeaderMap;
use events::{OrderStatus, Rule, Timestamp, order::AlertTrigger};
use serde::Serialize;
use store::{identity::users::Scope, trading::orders::NewOrder};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    App, OrdersFromAlerts,
    caller::{Credential, Needs},
    order_schemas::OrderStatusDoc,
    problem::{Mistake, Problem},
    terms,
};

/// The order that an alert's first firing places; see `/v1/orders/{id}`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertOrder {
    id: Uuid,
    #[schema(value_type = OrderStatusDoc)]
    status: OrderStatus,
}

impl From<(Uuid, OrderStatus)> for AlertOrder {
    fn from((id, status): (Uuid, OrderStatus)) -> Self {
        Self { id, status }
    }
}

/// The order of a new rule that has one. Whoever asks must be allowed to trade as well as to have alerts.
pub(crate) async fn order(
    app: &App,
    headers: &HeaderMap,
    rule: &Rule,
    now: Timestamp,
) -> Result<Option<NewOrder>, Problem> {
    let Some(then) = &rule.then else { return Ok(None) };
    if app.orders_from_alerts == OrdersFromAlerts::Off {
        return Err(refuse(
            "is not allowed here: the setting gateway.orders_from_alerts is \"off\", and \"on\" allows it",
        ));
    }
    let credential = Credential::of(headers, app).await?;
    let credential = credential.ok_or_else(|| refuse("is for people who sign in: send the token of a session"))?;
    credential.clone().admit(Needs::Scope(Scope::Alerts))?;
    let caller = credential.admit(Needs::Scope(Scope::Trade))?;
    terms::check_places(&app.store, &then.order, "/then/order").await?;
    Ok(Some(NewOrder {
        id: Uuid::now_v7(),
        user_id: caller.user_id,
        terms: then.order.clone(),
        idempotency_key: None,
        after_alert: Some(AlertTrigger { rule_id: rule.id, expires_at: rule.expires_at }),
        placed_at: now,
    }))
}

fn refuse(detail: &str) -> Problem {
    Problem::invalid(vec![Mistake::body("/then", detail)])
}
