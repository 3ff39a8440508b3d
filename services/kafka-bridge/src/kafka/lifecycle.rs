//! The life of a producer: how it is opened, and what is looked at between its transactions.

use events::Timestamp;

use crate::{
    Mirrored, Settings,
    kafka::{KafkaFailure, open_transactions, producer::MirrorProducer},
};

/// Opens the producer of a stream: fences older ones, ends what they have left open, and finds the position. The caller holds the lease.
pub(crate) fn open(
    settings: &Settings,
    mirrored: &'static Mirrored,
    stream_created: Timestamp,
) -> Result<MirrorProducer, KafkaFailure> {
    let mut producer = MirrorProducer::connect(settings, mirrored, stream_created)?;
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
