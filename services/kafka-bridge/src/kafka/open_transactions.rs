//! Transactions that a broker has forgotten to end in some partitions.
//!
//! While a broker starts, its coordinator skips the end of a transaction in partitions that have no leader yet, and calls the
//! transaction complete. It then stays open there for ever: consumers that read what is committed see nothing behind it. Nobody but a
//! producer of the same transactional id can end it, so the bridge looks for such transactions before it reads on.
//!
//! What is open in a partition was aborted, or it was committed: then the position that was committed with it is behind it. Aborted
//! records are ended by a transaction of ours that is aborted in the same partitions. Committed ones would be lost by that, so they are
//! written once more, in a transaction that also notes that this is done. What is to be written is noted in the offset's metadata
//! first: a crash at any step is continued at that step.

use std::time::{Duration, Instant};

use rdkafka::{
    Message,
    message::{BorrowedMessage, OwnedMessage},
    producer::BaseRecord,
};
use tracing::{info, warn};

use crate::{
    kafka::{
        KafkaFailure,
        log_reader::{Ends, record_position},
        pause,
        producer::{MirrorProducer, send},
    },
    position::RecordPosition,
    stored_position::{Rewrite, StoredPosition},
};

/// The time that the end of a transaction has to reach all partitions, and the offset.
const SETTLED_AFTER: Duration = Duration::from_secs(5);
/// The wait before the ends are looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// The longest wait for the answer about an offset.
const OFFSET_TIMEOUT: Duration = Duration::from_secs(20);
/// The key of the record by which a partition takes part in a transaction that is aborted.
const ABORTED_KEY: &str = "aborted";

/// The offsets of a partition between which a transaction is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OpenRange {
    partition: i32,
    from: i64,
    to: i64,
}

/// Finds partitions with an open transaction. None of ours is running.
pub(super) fn find(producer: &MirrorProducer) -> Result<Vec<OpenRange>, KafkaFailure> {
    let (began, mut suspects) = (Instant::now(), (0..producer.partitions()?).collect::<Vec<_>>());
    loop {
        let mut open = Vec::new();
        for partition in &suspects {
            let Ends { high: to, .. } = producer.uncommitted().ends(*partition)?;
            let Ends { high: from, .. } = producer.committed().ends(*partition)?;
            if from < to {
                open.push(OpenRange { partition: *partition, from, to });
            }
        }
        if open.is_empty() || began.elapsed() > SETTLED_AFTER {
            return Ok(open);
        }
        suspects = open.iter().map(|range| range.partition).collect();
        pause(LOOK_EVERY);
    }
}

/// Ends what is open, and corrects the position of the producer where the open transaction had one.
pub(super) fn mend(producer: &mut MirrorProducer) -> Result<(), KafkaFailure> {
    let open = find(producer)?;
    let is_stable = is_offset_stable(producer)?;
    let noted = producer.stored().map_or_else(Vec::new, |stored| stored.rewrites.clone());
    if open.is_empty() && is_stable && noted.is_empty() {
        return Ok(());
    }
    let (stream, topic) = (producer.mirrored().stream, producer.topic().to_owned());
    let partitions = open.len();
    warn!(stream, topic, partitions, is_offset_stable = is_stable, "a transaction was left open; ending it");
    // What was noted by a run before this one has been found to be committed. All that is open now is a copy of it, or was aborted.
    let rewrites = if noted.is_empty() {
        let (position, rewrites) = decide(producer, &open, is_stable)?;
        if let Some(position) = position
            && (!is_stable || !rewrites.is_empty())
        {
            producer.transaction(StoredPosition { rewrites: rewrites.clone(), ..position }, |_, _| Ok(()))?;
        }
        rewrites
    } else {
        noted
    };
    if !open.is_empty() {
        abort(producer, &open)?;
    }
    if !rewrites.is_empty() {
        write_again(producer, &rewrites)?;
    }
    if !is_stable && producer.stored().is_none() {
        // There is no position to write over the one that is open.
        info!(stream, topic, "an offset is in an open transaction, and none is committed");
    }
    let left = find(producer)?;
    metrics::counter!("tickbell_kafka_open_transactions_total", "stream" => stream).increment(1);
    if left.is_empty() {
        info!(stream, topic, partitions, rewritten = rewrites.len(), "ended the transaction that was left open");
    } else {
        let partitions: Vec<i32> = left.iter().map(|range| range.partition).collect();
        warn!(
            stream,
            topic,
            ?partitions,
            "a transaction of another producer stays open; end it with `kafka-transactions.sh abort`, or consumers see nothing behind it"
        );
    }
    Ok(())
}

/// Returns whether the offset is in no open transaction. While it is in one, the library asks again until the time is out, and says
/// no more than that. So may a coordinator that does not answer, or another fault: the offset is in a transaction where the coordinator
/// answers those who also want to see what is open, and then still not the others.
fn is_offset_stable(producer: &MirrorProducer) -> Result<bool, KafkaFailure> {
    let is_stable = || match producer.committed().offset(SETTLED_AFTER) {
        Ok(_) => Ok(true),
        Err(error) if error.is_timeout() => Ok(false),
        Err(error) => Err(error),
    };
    if is_stable()? {
        return Ok(true);
    }
    producer.uncommitted().offset(OFFSET_TIMEOUT)?;
    is_stable()
}

/// Decides which position is true, and which of the open records are committed.
fn decide(
    producer: &MirrorProducer,
    open: &[OpenRange],
    is_stable: bool,
) -> Result<(Option<StoredPosition>, Vec<Rewrite>), KafkaFailure> {
    let key = |position: &RecordPosition| (position.stream_created, position.sequence);
    let stream = producer.mirrored().stream;
    let mut records: Vec<(i32, i64, RecordPosition)> = Vec::new();
    for range in open {
        each_record(producer, range.partition, (range.from, range.to), |message, position| {
            if position.stream == stream {
                records.push((range.partition, message.offset(), position));
            }
        })?;
    }
    let mut stored = producer.stored().cloned();
    if !is_stable {
        // The position of the open transaction is unknown. Where one of its records is seen, it was committed, and its position is
        // behind the last of its records.
        let seen = match producer.recover_position() {
            // Records that are gone, or are somebody else's, say nothing against the position that is stored.
            Err(KafkaFailure::UnknownPosition { .. }) => None,
            seen => seen?,
        };
        let before = stored.as_ref().map(|stored| (stored.position.stream_created, stored.position.sequence));
        if let Some(seen) = seen
            && before.is_none_or(|before| before < (seen.stream_created, seen.sequence))
        {
            let last = records.iter().map(|(_, _, position)| position).max_by_key(|position| key(position));
            let last = last.filter(|last| key(last) > (seen.stream_created, seen.sequence));
            stored = Some(StoredPosition::new(last.map_or(seen, RecordPosition::stream_position)));
        }
    }
    let Some(stored) = stored else { return Ok((None, Vec::new())) };
    let until = (stored.position.stream_created, stored.position.sequence);
    let mut rewrites: Vec<Rewrite> = Vec::new();
    for (partition, offset, _) in records.iter().filter(|(_, _, position)| key(position) <= until) {
        match rewrites.iter_mut().find(|rewrite| rewrite.partition == *partition) {
            Some(rewrite) => rewrite.to = offset + 1,
            None => rewrites.push(Rewrite { partition: *partition, from: *offset, to: offset + 1 }),
        }
    }
    Ok((Some(stored), rewrites))
}

/// Ends what is open in these partitions as aborted.
fn abort(producer: &MirrorProducer, open: &[OpenRange]) -> Result<(), KafkaFailure> {
    let begun = producer.begin_unpositioned(|producer, topic| {
        open.iter().try_for_each(|range| {
            // The transaction is aborted, so nobody sees it.
            let payload = Vec::new();
            let record: BaseRecord<'_, str, Vec<u8>> =
                BaseRecord::to(topic).partition(range.partition).key(ABORTED_KEY).payload(&payload);
            send(producer, record)
        })
    });
    producer.abort();
    begun
}

/// Writes records that were committed and then ended as aborted once more, and notes that this is done.
fn write_again(producer: &mut MirrorProducer, rewrites: &[Rewrite]) -> Result<(), KafkaFailure> {
    let Some(stored) = producer.stored().cloned() else { return Ok(()) };
    let until = (stored.position.stream_created, stored.position.sequence);
    let mut copies: Vec<OwnedMessage> = Vec::new();
    for rewrite in rewrites {
        each_record(producer, rewrite.partition, (rewrite.from, rewrite.to), |message, position| {
            if (position.stream_created, position.sequence) <= until {
                copies.push(message.detach());
            }
        })?;
    }
    producer.transaction(StoredPosition::new(stored.position), |producer, topic| {
        copies.iter().try_for_each(|copy| {
            let body = copy.payload().unwrap_or_default().to_vec();
            let key = String::from_utf8_lossy(copy.key().unwrap_or_default()).into_owned();
            let mut record = BaseRecord::to(topic).partition(copy.partition()).key(key.as_str()).payload(&body);
            if let Some(headers) = rdkafka::Message::headers(copy) {
                record = record.headers(headers.clone());
            }
            if let Some(timestamp) = copy.timestamp().to_millis() {
                record = record.timestamp(timestamp);
            }
            send(producer, record)
        })
    })
}

/// Reads the records of ours between two offsets, committed or not.
fn each_record(
    producer: &MirrorProducer,
    partition: i32,
    range: (i64, i64),
    mut each: impl FnMut(&BorrowedMessage<'_>, RecordPosition),
) -> Result<(), KafkaFailure> {
    producer.uncommitted().read(partition, range, |message| {
        if let Some(position) = record_position(message) {
            each(message, position);
        }
    })
}
