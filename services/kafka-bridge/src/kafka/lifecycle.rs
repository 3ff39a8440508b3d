//! The life of a producer: how it is opened, and what is looked at between its transactions; and its position, as an operator reads and
//! chooses it.

use std::time::Duration;

use events::Timestamp;
use platform::StreamPosition;

use crate::{
    Mirrored, Settings,
    kafka::{
        KafkaFailure,
        log_reader::{Isolation, LogReader},
        open_transactions,
        producer::MirrorProducer,
    },
    stored_position::StoredPosition,
};

/// The longest wait for the answer to an operator.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(20);

/// Opens the producer of a stream: fences older ones, ends what they have left open, and finds the position. The caller holds the lease.
pub(crate) fn open(
    settings: &Settings,
    mirrored: &'static Mirrored,
    stream_created: Timestamp,
) -> Result<MirrorProducer, KafkaFailure> {
    let mut producer = MirrorProducer::connect(settings, mirrored)?;
    producer.read_position(stream_created)?;
    open_transactions::mend(&mut producer)?;
    producer.complete()
}

/// Finds transactions that are open although nothing is being written, and writes the position again where that was long ago. It is
/// called now and then, between two transactions.
pub(crate) fn maintain(producer: &mut MirrorProducer) -> Result<(), KafkaFailure> {
    if !open_transactions::find(producer)?.is_empty() {
        return Err(KafkaFailure::OpenTransaction(producer.topic().to_owned()));
    }
    producer.refresh()
}

/// Reads the position of a stream, also while a bridge runs; none where Kafka has none.
pub(crate) fn read_position(
    settings: &Settings,
    mirrored: &'static Mirrored,
    stream_created: Timestamp,
) -> Result<Option<StreamPosition>, KafkaFailure> {
    let (group, topic) = (mirrored.transactional_id(&settings.topic_prefix), mirrored.topic(&settings.topic_prefix));
    let reader = LogReader::open(settings, &group, &topic, Isolation::Uncommitted)?;
    let stored = reader.stored_position(ANSWER_TIMEOUT, stream_created)?;
    Ok(stored.map(|stored| stored.position))
}

/// Puts a position in the place of the one that Kafka has. The caller holds the lease.
pub(crate) fn replace_position(
    settings: &Settings,
    mirrored: &'static Mirrored,
    position: StreamPosition,
) -> Result<(), KafkaFailure> {
    let mut producer = MirrorProducer::connect(settings, mirrored)?;
    match producer.read_position(position.stream_created) {
        // What is noted there is done before.
        Ok(()) => open_transactions::mend(&mut producer)?,
        // Whatever somebody has written there, it is replaced.
        Err(KafkaFailure::Metadata(_)) => {}
        Err(error) => return Err(error),
    }
    producer.transaction(StoredPosition::new(position), |_, _| Ok(()))
}
