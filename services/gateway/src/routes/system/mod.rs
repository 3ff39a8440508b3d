//! `/v1/system`: how far the consumers have come, and whether messages go out.

pub(crate) mod dead_letters;

use axum::{Json, extract::State};
use events::Timestamp;
use serde::Serialize;
use store::{
    consumer::position::{self, ConsumerProgress},
    notifications::{deliveries, outages},
};
use utoipa::ToSchema;

use crate::{
    http::problem::{Problem, ProblemResponses},
    request::query::QueryParams,
    state::AppState,
};

/// The state of the system behind the API.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SystemState {
    /// The consumers, sorted by name.
    consumers: Vec<ConsumerState>,
    deliveries: DeliveryCounts,
}

/// How far a consumer has come.
#[derive(Debug, Serialize, ToSchema)]
struct ConsumerState {
    #[schema(example = "history-writer")]
    name: String,
    /// The sequence of the last message whose effect is committed.
    #[schema(example = 4711)]
    position: u64,
    /// The time of the last event that it has applied; null before the first.
    last_event_at: Option<Timestamp>,
}

/// The messages to people that are not sent.
#[derive(Debug, Serialize, ToSchema)]
struct DeliveryCounts {
    #[schema(example = 0)]
    waiting: i64,
    #[schema(example = 0)]
    failed: i64,
    /// Why no mail goes out; null where it does.
    outage: Option<String>,
}

impl From<ConsumerProgress> for ConsumerState {
    fn from(ConsumerProgress { name, progress }: ConsumerProgress) -> Self {
        Self { name, position: progress.position, last_event_at: progress.last_event_at }
    }
}

/// Get the state of the system
#[utoipa::path(
    get, path = "/v1/system", tag = "system", operation_id = "get_system",
    responses((status = 200, body = SystemState), ProblemResponses),
)]
pub(crate) async fn show(
    State(state): State<AppState>,
    QueryParams(()): QueryParams<()>,
) -> Result<Json<SystemState>, Problem> {
    let consumers = position::list(&state.store).await?;
    let counts = deliveries::counts(&state.store).await?;
    let outage = outages::find(&state.store).await?.map(|outage| outage.to_string());
    Ok(Json(SystemState {
        consumers: consumers.into_iter().map(ConsumerState::from).collect(),
        deliveries: DeliveryCounts { waiting: counts.waiting, failed: counts.failed, outage },
    }))
}
