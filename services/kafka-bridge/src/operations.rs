//! The position of a stream, as an operator reads and chooses it.

use platform::{
    Broker, ServiceError, StreamPosition,
    broker::stream_position::{self, StreamBounds},
};
use store::{Store, consumer::lease};

use crate::{
    Mirrored, Settings,
    kafka::{self, blocking, lifecycle},
};

/// How far a stream is mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// The position; none where Kafka has none.
    pub position: Option<StreamPosition>,
    /// The messages that the stream has.
    pub stream: StreamBounds,
}

/// Returns how far a stream is mirrored.
pub async fn progress(
    broker: &Broker,
    settings: &Settings,
    mirrored: &'static Mirrored,
) -> Result<Progress, ServiceError> {
    let stream = stream_position::bounds(broker, mirrored.stream).await?;
    let settings = settings.clone();
    let position = blocking(move || lifecycle::read_position(&settings, mirrored, stream.created)).await?;
    Ok(Progress { position, stream })
}

/// Chooses the first message of a stream that is mirrored. Fails where the stream has no such message and where a bridge runs.
pub async fn choose_first_message(
    broker: &Broker,
    store: &Store,
    settings: &Settings,
    mirrored: &'static Mirrored,
    sequence: u64,
) -> Result<(), ServiceError> {
    let refused = |error: String| ServiceError::permanent(format!("choose a message of {}", mirrored.stream), error);
    let StreamBounds { created, first_sequence, last_sequence } =
        stream_position::bounds(broker, mirrored.stream).await?;
    if !(first_sequence..=last_sequence + 1).contains(&sequence) {
        let (next, stream) = (last_sequence + 1, mirrored.stream);
        let error = format!("{sequence} is out of range: the first message to mirror is {first_sequence} to {next}");
        return Err(refused(format!("{error}, because the next message of stream {stream} is {next}")));
    }
    // No bridge begins before this is dropped.
    let Some(_lease) = lease::try_acquire(store, mirrored.consumer).await? else {
        let error = "a bridge mirrors this stream, or was killed within the last 5 s: stop all bridges, and try again";
        return Err(refused(error.to_owned()));
    };
    kafka::prepare_topics(settings).await?;
    let position = stream_position::position_behind(broker, mirrored.stream, created, sequence - 1).await?;
    let settings = settings.clone();
    blocking(move || lifecycle::replace_position(&settings, mirrored, position)).await?;
    Ok(())
}
