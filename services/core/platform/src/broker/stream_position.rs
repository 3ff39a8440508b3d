//! Whether a stream still is what a consumer has read, and from where the consumer reads it otherwise.
//!
//! A stream can be deleted and created anew, and an older copy of the broker's files can be put back. A sequence that a
//! consumer has saved then stands for another message: all that the stream stores up to that number would be skipped, and
//! nobody would notice. A position therefore has two more marks of its message: when the stream was created, and when the
//! broker stored the message.

use std::time::Duration;

use events::{Period, Timestamp, streams::Topology};
use tokio::time::sleep;

use crate::{
    Broker, ServiceError,
    broker::{
        stream_scan::{self, Which},
        topology,
    },
};

/// How much older than the last message that was read a stream is read again, where an older copy of it was put back. What
/// was not read is newer than that message; the margin allows for a server whose clock is slow, and for one whose clock was
/// set back.
const REREAD: Period = Period::HOUR;
/// The time after which a stream that looks like another one is looked at once more: a server that has just become the
/// leader of a stream may answer before it has caught up.
const CONFIRM_AFTER: Duration = Duration::from_millis(500);
/// How far below a position that has no message any more another message is looked for.
const LOOK_BACK: u64 = 1_024;

/// The place up to which a consumer has read a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamPosition {
    /// When the stream was created, by the broker's clock.
    pub stream_created: Timestamp,
    /// The sequence of the last message that was read; 0 before the first.
    pub sequence: u64,
    /// When the broker stored that message, by the broker's clock; none before the first, and where nobody knows.
    pub stored_at: Option<Timestamp>,
}

/// What a stream holds where a consumer has read up to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamState {
    /// When the stream was created.
    pub created: Timestamp,
    /// The last sequence that the stream has given to a message.
    pub last_sequence: u64,
    /// When the newest message was stored; none in an empty stream.
    pub newest_at: Option<Timestamp>,
    /// The sequence and the time of a message at the position or, where that was deleted, of one below it.
    pub message: Option<(u64, Timestamp)>,
}

/// The creation of a stream and the sequences of its messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamBounds {
    /// When the stream was created, by the broker's clock.
    pub created: Timestamp,
    /// The sequence of the oldest message; in an empty stream, that of the next.
    pub first_sequence: u64,
    /// The last sequence that was given to a message; 0 before the first.
    pub last_sequence: u64,
}

/// Asks what a stream holds.
pub async fn bounds(broker: &Broker, stream: &str) -> Result<StreamBounds, ServiceError> {
    let info = topology::existing(broker, stream).await?;
    let last_sequence = info.state.last_sequence;
    let first_sequence = if info.state.messages == 0 { last_sequence + 1 } else { info.state.first_sequence };
    Ok(StreamBounds { created: info.created.into(), first_sequence, last_sequence })
}

/// Whether a consumer may go on where it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// The stream is the one that was read.
    Continue,
    /// The stream was created anew: it is read from its beginning.
    Anew,
    /// An older copy of the stream was put back: it is read from the first message that was stored at this time or later,
    /// or from its beginning.
    PutBack {
        /// The time; none means the beginning.
        since: Option<Timestamp>,
    },
}

impl Continuity {
    /// Returns the word for it in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Continue => "continue",
            Self::Anew => "anew",
            Self::PutBack { .. } => "put_back",
        }
    }

    /// Returns the sentence for logs and errors.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Continue => "the stream goes on",
            Self::Anew => "the stream was created anew",
            Self::PutBack { .. } => "an older copy of the stream was put back",
        }
    }
}

impl StreamPosition {
    /// Returns the position before the first message.
    pub fn beginning(stream_created: Timestamp) -> Self {
        Self { stream_created, sequence: 0, stored_at: None }
    }

    /// Decides whether a stream is the one that was read up to here. A message that the stream has deleted proves nothing,
    /// because streams delete what is old or superseded.
    pub fn continuity(&self, stream: &StreamState) -> Continuity {
        if stream.created != self.stream_created {
            return Continuity::Anew;
        }
        let is_other_message = match (self.stored_at, stream.message) {
            (Some(stored_at), Some((sequence, at))) if sequence == self.sequence => at != stored_at,
            // Only a message that was stored after the one at the position can be newer than it.
            (Some(stored_at), Some((_, at))) => at > stored_at,
            _ => false,
        };
        if self.sequence == 0 || (stream.last_sequence >= self.sequence && !is_other_message) {
            return Continuity::Continue;
        }
        let older = self.stored_at.zip(stream.newest_at).map(|(stored_at, newest_at)| stored_at.min(newest_at));
        Continuity::PutBack { since: older.and_then(|at| Timestamp::from_micros(at.micros() - REREAD.micros()).ok()) }
    }
}

/// The place at which a consumer goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resumption {
    /// The place at which the consumer begins.
    pub position: StreamPosition,
    /// Whether that is where it was.
    pub continuity: Continuity,
    /// The name of the stream.
    pub stream: String,
}

/// Finds out where a durable consumer of `streams.yaml` goes on that has read up to `saved`; none means that it has read
/// nothing. A consumer that is missing is created where this process may.
pub async fn resume(
    broker: &Broker,
    consumer: &str,
    saved: Option<StreamPosition>,
) -> Result<Resumption, ServiceError> {
    let resumed = broker.on_connection(Box::pin(resume_on_connection(broker, consumer, saved))).await;
    resumed.unwrap_or_else(|| Err(ServiceError::transient("ask for the streams", "the connection was lost")))
}

async fn resume_on_connection(
    broker: &Broker,
    consumer: &str,
    saved: Option<StreamPosition>,
) -> Result<Resumption, ServiceError> {
    let declared = Topology::declared()?;
    let (stream, _) = topology::declared_consumer(&declared, consumer)?;
    topology::verify_consumer(broker, consumer, &declared).await?;
    let created = Timestamp::from(topology::existing(broker, stream).await?.created);
    let Some(saved) = saved else {
        let position = StreamPosition::beginning(created);
        return Ok(Resumption { position, continuity: Continuity::Continue, stream: stream.to_owned() });
    };
    let continuity = check(broker, stream, &saved).await?;
    let position = match continuity {
        Continuity::Continue => saved,
        Continuity::Anew | Continuity::PutBack { since: None } => StreamPosition::beginning(created),
        Continuity::PutBack { since: Some(since) } => position_before(broker, stream, created, since).await?,
    };
    Ok(Resumption { position, continuity, stream: stream.to_owned() })
}

/// Returns whether a durable consumer can go on where it was.
pub async fn continuity(broker: &Broker, consumer: &str, saved: &StreamPosition) -> Result<Continuity, ServiceError> {
    let declared = Topology::declared()?;
    let (stream, _) = topology::declared_consumer(&declared, consumer)?;
    check(broker, stream, saved).await
}

/// Compares a stream with what was read of it.
pub(super) async fn check(
    broker: &Broker,
    stream: &str,
    position: &StreamPosition,
) -> Result<Continuity, ServiceError> {
    let continuity = position.continuity(&state(broker, stream, position).await?);
    if continuity == Continuity::Continue {
        return Ok(continuity);
    }
    sleep(CONFIRM_AFTER).await;
    Ok(position.continuity(&state(broker, stream, position).await?))
}

async fn state(broker: &Broker, stream: &str, position: &StreamPosition) -> Result<StreamState, ServiceError> {
    let info = topology::existing(broker, stream).await?;
    let holds = info.state.messages > 0;
    let is_held = holds && (info.state.first_sequence..=info.state.last_sequence).contains(&position.sequence);
    Ok(StreamState {
        created: info.created.into(),
        last_sequence: info.state.last_sequence,
        newest_at: holds.then(|| info.state.last_timestamp.into()),
        message: if is_held { message_up_to(broker, stream, position.sequence).await? } else { None },
    })
}

/// Returns the sequence and the time of the message at a sequence or, where it was deleted, of one that is a little older.
async fn message_up_to(broker: &Broker, stream: &str, sequence: u64) -> Result<Option<(u64, Timestamp)>, ServiceError> {
    let mut back = 0;
    loop {
        let found = first_message(broker, stream, sequence.saturating_sub(back).max(1)).await?;
        if found.is_some_and(|(found, _)| found <= sequence) {
            return Ok(found);
        }
        if back >= LOOK_BACK.min(sequence) {
            return Ok(None);
        }
        back = (back * 2).max(1);
    }
}

/// Returns the position before the first message that was stored at `since` or later.
pub async fn position_before(
    broker: &Broker,
    stream: &str,
    stream_created: Timestamp,
    since: Timestamp,
) -> Result<StreamPosition, ServiceError> {
    let state = topology::existing(broker, stream).await?.state;
    let (mut low, mut high) = (state.first_sequence.max(1), state.last_sequence + 1);
    while low < high {
        let middle = low + (high - low) / 2;
        match first_message(broker, stream, middle).await? {
            Some((sequence, at)) if at < since => low = sequence + 1,
            Some(_) | None => high = middle,
        }
    }
    position_behind(broker, stream, stream_created, low - 1).await
}

/// Returns the position behind the message with a sequence, with its time where the stream still has it.
pub async fn position_behind(
    broker: &Broker,
    stream: &str,
    stream_created: Timestamp,
    sequence: u64,
) -> Result<StreamPosition, ServiceError> {
    let message = if sequence == 0 { None } else { first_message(broker, stream, sequence).await? };
    let stored_at = message.filter(|(found, _)| *found == sequence).map(|(_, at)| at);
    Ok(StreamPosition { stream_created, sequence, stored_at })
}

/// Returns the sequence and the time of the first message from a sequence on. The stream's leader answers.
async fn first_message(broker: &Broker, stream: &str, sequence: u64) -> Result<Option<(u64, Timestamp)>, ServiceError> {
    let found = stream_scan::read(broker, stream, Which::From { seq: sequence, next_by_subj: ">" }).await?;
    Ok(found.map(|message| (message.sequence, message.stored_at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_micros(seconds * 1_000_000).expect("a time")
    }

    #[test]
    fn a_consumer_goes_on_in_the_stream_that_it_has_read_and_nowhere_else() {
        const CREATED: i64 = 1;
        let position = StreamPosition { stream_created: at(CREATED), sequence: 100, stored_at: Some(at(9_000)) };
        let same = StreamState {
            created: at(CREATED),
            last_sequence: 120,
            newest_at: Some(at(9_500)),
            message: Some((100, at(9_000))),
        };
        let put_back = |since: i64| Continuity::PutBack { since: Some(at(since)) };
        let unread = StreamPosition::beginning(at(CREATED));
        let unknown = StreamPosition { stored_at: None, ..position };
        let from_the_beginning = Continuity::PutBack { since: None };
        let cases = [
            ("the stream goes on", position, same, Continuity::Continue),
            ("nothing is newer", position, StreamState { last_sequence: 100, ..same }, Continuity::Continue),
            ("the message was deleted", position, StreamState { message: None, ..same }, Continuity::Continue),
            (
                "all messages were deleted",
                position,
                StreamState { message: None, newest_at: None, ..same },
                Continuity::Continue,
            ),
            (
                "one below is older",
                position,
                StreamState { message: Some((99, at(8_000))), ..same },
                Continuity::Continue,
            ),
            ("one below is newer", position, StreamState { message: Some((99, at(9_001))), ..same }, put_back(5_400)),
            ("another creation", position, StreamState { created: at(2), ..same }, Continuity::Anew),
            ("another creation, unread", unread, StreamState { created: at(2), ..same }, Continuity::Anew),
            ("nothing was read", unread, StreamState { message: None, ..same }, Continuity::Continue),
            (
                "the end is below the position",
                position,
                StreamState { last_sequence: 90, newest_at: Some(at(8_000)), message: None, ..same },
                put_back(4_400),
            ),
            ("another message", position, StreamState { message: Some((100, at(9_400))), ..same }, put_back(5_400)),
            (
                "another message, by a clock that was set back",
                position,
                StreamState { message: Some((100, at(7_000))), newest_at: Some(at(7_000)), ..same },
                put_back(3_400),
            ),
            ("a message of unknown time", unknown, same, Continuity::Continue),
            ("an end below it", unknown, StreamState { last_sequence: 90, message: None, ..same }, from_the_beginning),
            (
                "an empty stream",
                position,
                StreamState { last_sequence: 0, newest_at: None, message: None, ..same },
                from_the_beginning,
            ),
        ];
        for (case, position, stream, expected) in cases {
            assert_eq!(position.continuity(&stream), expected, "{case}");
        }
        let early = StreamPosition { stored_at: Some(at(60)), ..position };
        let state = StreamState { last_sequence: 90, message: None, ..same };
        assert_eq!(early.continuity(&state), from_the_beginning, "the margin begins before all time");
    }
}
