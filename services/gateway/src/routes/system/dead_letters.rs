//! `/v1/dead-letters`: the messages that services have given up, for operators.
//!
//! The gateway may not publish to the streams of other services. A replay is committed to the outbox of the service that
//! publishes the message, which the database allows for what a service has given up and for nothing else.

use std::{fmt::Display, time::Duration};

use axum::{
    Json,
    extract::{FromRequestParts, Path, State},
    http::{StatusCode, request::Parts},
};
use events::{DeadLetter, Timestamp, dead_letter::Body};
use platform::broker::dead_letter_queue::{self, DeadLetterEntry};
use serde::Serialize;
use store::consumer::dead_letters::{self, ReplayOutcome};
use tokio::time::Instant;
use tracing::info;
use utoipa::ToSchema;

use crate::{
    auth::OperatorRole,
    http::problem::{FieldError, Problem, ProblemKind, ProblemResponses},
    request::{
        cursor::{DeadLetterCursor, ListCursor},
        query::{ListQuery, QueryParams},
    },
    routes::page::Page,
    state::AppState,
};

/// The most characters of a body that are shown.
const EXCERPT: usize = 2_000;
/// A page ends when bodies of so many bytes were read for it, or when reading has taken so long: a body has up to 1 MiB, and each is a
/// question to the broker.
const ENOUGH_BYTES: usize = 8 << 20;
const LONG_ENOUGH: Duration = Duration::from_secs(2);

/// A message, or a tick of a message, that a service has given up.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DeadLetterItem {
    /// The number of the dead letter, by which it is replayed.
    #[schema(example = 7)]
    number: i64,
    /// Why it cannot be published again; null where it can.
    not_replayable: Option<String>,
    /// The dead letter; null where it cannot be read.
    dead_letter: Option<DeadLetterContent>,
}

/// What was given up, by whom and why.
#[derive(Debug, Serialize, ToSchema)]
struct DeadLetterContent {
    /// The service that has given it up.
    #[schema(example = "history-writer")]
    service: String,
    /// The stream that the message was read from; empty for a message of an exchange.
    #[schema(example = "TICKS")]
    stream: String,
    /// The sequence of the message in that stream; 0 for a message of an exchange.
    #[schema(example = 4711)]
    sequence: u64,
    /// The index of the tick in the message; null where the whole message was given up.
    index: Option<u16>,
    /// The subject of the message; empty for a message of an exchange.
    #[schema(example = "ticks.coinbase.BTC-USD")]
    subject: String,
    #[schema(example = "it is not a tick: the price must be greater than 0")]
    reason: String,
    /// The time at which the broker stored the message, or the price-ingestor received it.
    at: Timestamp,
    /// The first 2,000 characters of the body, in base64 where it is not UTF-8.
    excerpt: String,
}

impl From<DeadLetterEntry> for DeadLetterItem {
    fn from(entry: DeadLetterEntry) -> Self {
        let not_replayable = entry.replayable().err().map(|reason| reason.to_string());
        let number = i64::try_from(entry.sequence).unwrap_or(i64::MAX);
        Self { number, not_replayable, dead_letter: entry.dead_letter.ok().map(DeadLetterContent::from) }
    }
}

impl From<DeadLetter> for DeadLetterContent {
    fn from(dead_letter: DeadLetter) -> Self {
        let DeadLetter { service, stream, sequence, index, subject, reason, at, body, .. } = dead_letter;
        let (Body::Text(body) | Body::Base64(body)) = body;
        let excerpt = body.chars().take(EXCERPT).collect();
        Self { service, stream, sequence, index, subject, reason, at, excerpt }
    }
}

/// The part `{number}` of a path.
pub(crate) struct DeadLetterPath(u64);

impl<S: Send + Sync> FromRequestParts<S> for DeadLetterPath {
    type Rejection = Problem;
    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let number = Path::<u64>::from_request_parts(parts, state).await.ok().filter(|Path(number)| *number > 0);
        let invalid = || Problem::invalid(vec![FieldError::parameter("number", "must be the number of a dead letter")]);
        number.map(|Path(number)| Self(number)).ok_or_else(invalid)
    }
}

/// List dead letters
///
/// The answer has the messages, and ticks of messages, that services have given up, the oldest first. A page has fewer than `limit` where
/// they are large; `next_cursor` says whether there are more. Only operators may read it.
#[utoipa::path(
    get, path = "/v1/dead-letters", tag = "system", operation_id = "list_dead_letters",
    params(ListQuery<DeadLetterCursor>),
    security(("session" = [])),
    responses((status = 200, body = Page<DeadLetterItem>), ProblemResponses),
)]
pub(crate) async fn list(
    State(state): State<AppState>,
    OperatorRole(_caller): OperatorRole,
    QueryParams(ListQuery { cursor, limit }): QueryParams<ListQuery<DeadLetterCursor>>,
) -> Result<Json<Page<DeadLetterItem>>, Problem> {
    let mut after = cursor.map_or(0, |ListCursor(number)| number.unsigned_abs());
    let mut items: Vec<DeadLetterItem> = Vec::new();
    let cursor_behind = |item: &DeadLetterItem| -> DeadLetterCursor { ListCursor(item.number) };
    let (mut reading, mut is_cut_short) = (Reading::begin(), false);
    // One by one, so that no more than one body is in memory.
    while items.len() <= usize::from(limit) {
        let next = dead_letter_queue::next(&state.broker, after).await;
        let Some(entry) = next.map_err(|error| unavailable(&error))? else { break };
        if !items.is_empty() && reading.is_enough() {
            is_cut_short = true;
            break;
        }
        after = entry.sequence;
        reading.count(&entry);
        items.push(entry.into());
    }
    say_what_is_never_published(&state, &mut items).await?;
    let page =
        if is_cut_short { Page::cut_short(items, cursor_behind) } else { Page::new(items, limit, cursor_behind) };
    Ok(Json(page))
}

/// Adds to dead letters why a replay refuses them, where their stream is the reason.
async fn say_what_is_never_published(state: &AppState, items: &mut [DeadLetterItem]) -> Result<(), Problem> {
    let contents =
        items.iter().filter(|item| item.not_replayable.is_none()).filter_map(|item| item.dead_letter.as_ref());
    let streams: Vec<&str> = contents.map(|content| content.stream.as_str()).collect();
    let without_publisher = dead_letters::without_publisher(&state.store, &streams).await?;
    for item in items.iter_mut().filter(|item| item.not_replayable.is_none()) {
        let stream = item.dead_letter.as_ref().map(|content| &content.stream);
        let stream = stream.filter(|stream| without_publisher.contains(*stream));
        item.not_replayable = stream.map(|stream| no_publisher(item.number, stream));
    }
    Ok(())
}

fn no_publisher(number: impl Display, stream: &str) -> String {
    format!(
        "it is a message of stream {stream:?}, which no service publishes again: look at it with `tickbell dlq show {number}`, and \
         publish it with `tickbell dlq replay {number}`"
    )
}

/// What the page that is read has cost.
struct Reading {
    began: Instant,
    bytes: usize,
}

impl Reading {
    fn begin() -> Self {
        Self { began: Instant::now(), bytes: 0 }
    }

    fn count(&mut self, entry: &DeadLetterEntry) {
        if let Ok(DeadLetter { body: Body::Text(body) | Body::Base64(body), .. }) = &entry.dead_letter {
            self.bytes += body.len();
        }
    }

    fn is_enough(&self) -> bool {
        self.bytes >= ENOUGH_BYTES || self.began.elapsed() >= LONG_ENOUGH
    }
}

/// A replay of a dead letter.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replay {
    /// The service that publishes the message.
    #[schema(example = "history-writer")]
    publisher: String,
}

/// Replay a dead letter
///
/// The message is published again to its subject by the service that publishes such messages, and the dead letter leaves the list.
/// A tick is published as a page of its own. Only operators may do this.
#[utoipa::path(
    post, path = "/v1/dead-letters/{number}/replay", tag = "system", operation_id = "replay_dead_letter",
    params(("number" = u64, Path, description = "The number of the dead letter", minimum = 1, example = 7)),
    security(("session" = [])),
    responses(
        (status = 202, body = Replay, description = "The message is committed, and is published by that service"),
        ProblemResponses,
    ),
)]
pub(crate) async fn replay(
    State(state): State<AppState>,
    OperatorRole(caller): OperatorRole,
    DeadLetterPath(number): DeadLetterPath,
) -> Result<(StatusCode, Json<Replay>), Problem> {
    let found = dead_letter_queue::find(&state.broker, number).await.map_err(|error| unavailable(&error))?;
    let entry = found.ok_or_else(|| {
        let detail = format!("There is no dead letter {number}; GET /v1/dead-letters lists those that there are.");
        Problem::new(ProblemKind::NotFound, detail)
    })?;
    let conflict = |detail| Problem::new(ProblemKind::Conflict, detail);
    let refused = |reason: &dyn Display| conflict(format!("Dead letter {number} is not published again: {reason}."));
    let dead_letter = entry.replayable().map_err(|reason| refused(&reason))?;
    let publisher = match dead_letters::replay(&state.store, dead_letter, caller.user_id).await? {
        ReplayOutcome::Committed { publisher } => publisher,
        ReplayOutcome::NoPublisher => {
            return Err(refused(&no_publisher(number, &dead_letter.stream)));
        }
        ReplayOutcome::NotGivenUp => {
            return Err(conflict(format!(
                "No service has given up what dead letter {number} holds, or an earlier version recorded it: look at it with \
                 `tickbell dlq show {number}`, and publish it with `tickbell dlq replay {number}`."
            )));
        }
    };
    info!(operator = %caller.user_id, number, publisher, subject = dead_letter.subject, "an operator replays a dead letter");
    // A dead letter that stays in the list can be replayed again, under the same id.
    dead_letter_queue::delete(&state.broker, number).await.map_err(|error| unavailable(&error))?;
    Ok((StatusCode::ACCEPTED, Json(Replay { publisher })))
}

fn unavailable(error: &platform::ServiceError) -> Problem {
    Problem::unavailable("The broker, which has the dead letters, does not answer.", error)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(bytes: usize) -> DeadLetterEntry {
        let dead_letter = DeadLetter {
            service: "history-writer".into(),
            stream: "TICKS".into(),
            sequence: 1,
            index: None,
            subject: "ticks.test.BTC-USD".into(),
            headers: Vec::new(),
            body: Body::Text("x".repeat(bytes)),
            reason: "it is no JSON".into(),
            attempts: 1,
            at: Timestamp::EPOCH,
            frame: None,
        };
        DeadLetterEntry { sequence: 1, dead_letter: Ok(dead_letter) }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_ends_after_many_bytes_or_a_long_time() {
        let mut large = Reading::begin();
        large.count(&entry(ENOUGH_BYTES - 1));
        assert!(!large.is_enough());
        large.count(&entry(1));
        assert!(large.is_enough());
        let mut slow = Reading::begin();
        slow.count(&entry(1));
        tokio::time::advance(LONG_ENOUGH / 2).await;
        assert!(!slow.is_enough());
        tokio::time::advance(LONG_ENOUGH / 2).await;
        assert!(slow.is_enough());
    }
}
