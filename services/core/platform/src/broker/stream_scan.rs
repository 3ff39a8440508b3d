//! Reading the stored messages of a stream one by one, without a consumer.

use async_nats::jetstream::stream::{LastRawMessageErrorKind::NoMessageFound, Stream};
use futures::{StreamExt, stream::BoxStream};

use crate::{Broker, ServiceError, broker::message::Message};

/// The number of concurrent reads.
const CONCURRENT_READS: usize = 16;

/// Returns the messages of a stream, oldest first, up to and with sequence `up_to` where one is given. Messages that were
/// deleted from the stream are skipped.
pub async fn messages<'a>(
    broker: &'a Broker,
    stream: &'a str,
    up_to: Option<u64>,
) -> Result<BoxStream<'a, Result<Message, ServiceError>>, ServiceError> {
    let found = broker.jetstream().get_stream(stream).await;
    let found = found.map_err(|error| {
        ServiceError::permanent(format!("find stream {stream}; run `tickbell streams apply`"), error)
    })?;
    let state = &found.cached_info().state;
    let last = state.last_sequence.min(up_to.unwrap_or(u64::MAX));
    // Sequences count from 1; in an empty stream the first sequence is greater than the last, or 0.
    let wanted = state.first_sequence.max(1)..=last;
    let read = move |sequence| {
        let found = found.clone();
        async move { read(&found, stream, sequence).await.transpose() }
    };
    Ok(futures::stream::iter(wanted).map(read).buffered(CONCURRENT_READS).filter_map(std::future::ready).boxed())
}

async fn read(found: &Stream, stream: &str, sequence: u64) -> Result<Option<Message>, ServiceError> {
    match found.get_raw_message(sequence).await {
        Ok(message) => Ok(Some(message.into())),
        Err(error) if error.kind() == NoMessageFound => Ok(None),
        Err(error) => Err(ServiceError::transient(format!("read message {sequence} of stream {stream}"), error)),
    }
}
