//! `/v1/alerts/{id}/deliveries`: what became of the mails of an alert.

use axum::{Json, extract::State};
use events::Timestamp;
use serde::Serialize;
use store::notifications::delivery_list::{self, ListedDelivery, RecordedAttempt};
use utoipa::ToSchema;
use uuid::Uuid;

use crate::{
    auth::alert_owner::OwnedAlertOrDeleted,
    http::problem::{Problem, ProblemResponses},
    request::query::QueryParams,
    routes::page::Page,
    state::AppState,
};

/// The most deliveries of one answer.
const MOST: i64 = 100;

/// A message to one recipient, and the attempts to deliver it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertDelivery {
    id: Uuid,
    /// `alert`, `confirmation` or `silence`.
    #[schema(example = "alert")]
    kind: String,
    /// The id of what it is about: a firing, the alert to confirm, or the silence of its market.
    about: String,
    #[schema(example = "email")]
    channel: String,
    /// `waiting`, `sent` or `failed`.
    #[schema(example = "sent")]
    status: String,
    created_at: Timestamp,
    /// The time of the next attempt; null when there is none.
    next_attempt_at: Option<Timestamp>,
    attempts: Vec<Attempt>,
}

/// The outcome of an attempt.
#[derive(Debug, Serialize, ToSchema)]
struct Attempt {
    /// The number of the attempt, counted from 1.
    #[schema(example = 1)]
    number: i32,
    /// `sent`, `retrying`, `unknown` or `failed`.
    #[schema(example = "sent")]
    outcome: String,
    /// The reply of the recipient's server, or the error.
    #[schema(example = "250 2.0.0 OK")]
    detail: String,
    /// The time at which it ended.
    at: Timestamp,
}

impl From<ListedDelivery> for AlertDelivery {
    fn from(delivery: ListedDelivery) -> Self {
        let ListedDelivery { id, kind, about, channel, status, created_at, next_attempt_at, attempts } = delivery;
        let attempts = attempts.into_iter().map(Attempt::from).collect();
        Self { id, kind, about, channel, status, created_at, next_attempt_at, attempts }
    }
}

impl From<RecordedAttempt> for Attempt {
    fn from(RecordedAttempt { number, outcome, detail, at }: RecordedAttempt) -> Self {
        Self { number, outcome, detail, at }
    }
}

/// List the deliveries of an alert
///
/// The newest 100, newest first and on one page, each with its attempts.
#[utoipa::path(
    get, path = "/v1/alerts/{id}/deliveries", tag = "alerts", operation_id = "list_deliveries",
    params(("id" = Uuid, Path, description = "The id of the alert, which may be deleted")),
    security(("manage_token" = []), ("session" = []), ("api_key" = ["alerts"])),
    responses((status = 200, body = Page<AlertDelivery>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    OwnedAlertOrDeleted(record): OwnedAlertOrDeleted,
    QueryParams(()): QueryParams<()>,
) -> Result<Json<Page<AlertDelivery>>, Problem> {
    Ok(Json(Page::whole(delivery_list::of_rule(&state.store, record.rule.id, MOST).await?)))
}
