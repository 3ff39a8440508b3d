//! What the partitions of a topic hold.

use std::time::{Duration, Instant};

use events::Timestamp;
use rdkafka::{
    Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{BorrowedMessage, Headers},
    types::RDKafkaErrorCode,
};

use crate::{
    Settings,
    kafka::{
        KafkaFailure,
        client::{Reports, config},
    },
    position::{POSITION_HEADER, RecordPosition},
    stored_position::StoredPosition,
};

/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(20);
/// The longest wait for the next record of a partition.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// The number of offsets in which the last record of a partition is looked for at first.
const LOOK_BACK: i64 = 256;

/// The records that a reader sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Isolation {
    /// Those of committed transactions.
    Committed,
    /// All records, also those of aborted and open transactions.
    Uncommitted,
}

/// Reads one topic, for the group that has the position.
pub(crate) struct LogReader {
    consumer: BaseConsumer<Reports>,
    topic: String,
}

/// The offsets of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The first offset.
    pub(crate) low: i64,
    /// The offset behind the last record, or behind the last one before an open transaction.
    pub(crate) high: i64,
}

impl LogReader {
    pub(crate) fn open(
        settings: &Settings,
        group: &str,
        topic: &str,
        isolation: Isolation,
    ) -> Result<Self, KafkaFailure> {
        let level = match isolation {
            Isolation::Committed => "read_committed",
            Isolation::Uncommitted => "read_uncommitted",
        };
        let consumer: BaseConsumer<Reports> = config(settings, group)?
            .set("group.id", group)
            .set("isolation.level", level)
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("auto.offset.reset", "error")
            .create_with_context(Reports::new(group))
            .map_err(KafkaFailure::call("connect"))?;
        Ok(Self { consumer, topic: topic.to_owned() })
    }

    pub(crate) fn consumer(&self) -> &BaseConsumer<Reports> {
        &self.consumer
    }

    /// Returns the offsets of a partition.
    pub(crate) fn ends(&self, partition: i32) -> Result<Ends, KafkaFailure> {
        let (low, high) = self
            .consumer
            .fetch_watermarks(&self.topic, partition, TIMEOUT)
            .map_err(KafkaFailure::call(format!("ask for the end of {}/{partition}", self.topic)))?;
        Ok(Ends { low, high })
    }

    /// Returns the offset that is committed for the first partition, with its metadata.
    pub(crate) fn offset(&self, timeout: Duration) -> Result<Option<(i64, String)>, KafkaFailure> {
        let mut asked = TopicPartitionList::new();
        asked.add_partition(&self.topic, 0);
        let action = format!("ask for the offset of {}", self.topic);
        let committed = self.consumer.committed_offsets(asked, timeout);
        let committed = committed.map_err(KafkaFailure::call(action.as_str()))?;
        let Some(element) = committed.elements().into_iter().next() else { return Ok(None) };
        element.error().map_err(KafkaFailure::call(action))?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some((offset, element.metadata().to_owned())),
            _ => None,
        })
    }

    /// Returns the position that the offset has. One without metadata counts for the stream that was created at `stream_created`.
    pub(crate) fn stored_position(
        &self,
        timeout: Duration,
        stream_created: Timestamp,
    ) -> Result<Option<StoredPosition>, KafkaFailure> {
        let offset = self.offset(timeout)?;
        let stored = offset.map(|(offset, metadata)| StoredPosition::of_offset(offset, &metadata, stream_created));
        stored.transpose().map_err(KafkaFailure::Metadata)
    }

    /// Reads the records of a partition from one offset up to another.
    pub(crate) fn read(
        &self,
        partition: i32,
        (from, to): (i64, i64),
        mut each: impl FnMut(&BorrowedMessage<'_>),
    ) -> Result<(), KafkaFailure> {
        if from >= to {
            return Ok(());
        }
        let failed = || KafkaFailure::call(format!("read {}/{partition} from offset {from}", self.topic));
        let mut assigned = TopicPartitionList::new();
        assigned.add_partition_offset(&self.topic, partition, Offset::Offset(from)).map_err(failed())?;
        self.consumer.assign(&assigned).map_err(failed())?;
        let mut last = Instant::now();
        let read = loop {
            match self.consumer.poll(Duration::from_millis(500)) {
                Some(Ok(message)) if message.partition() != partition || message.offset() < from => {}
                Some(Ok(message)) => {
                    if message.offset() < to {
                        last = Instant::now();
                        each(&message);
                    }
                    if message.offset() + 1 >= to {
                        break Ok(());
                    }
                }
                // What is left up to there are marks of transactions.
                Some(Err(KafkaError::PartitionEOF(_))) => break Ok(()),
                Some(Err(error)) if !is_temporary(&error) => break Err(failed()(error)),
                Some(Err(_)) | None => {
                    if last.elapsed() > READ_TIMEOUT {
                        let error = KafkaError::MessageConsumption(RDKafkaErrorCode::OperationTimedOut);
                        break Err(failed()(error));
                    }
                }
            }
        };
        self.consumer.unassign().map_err(failed())?;
        read
    }

    /// Returns the position of the last record of a partition, or that there are records and the last has none.
    pub(crate) fn last_position(&self, partition: i32) -> Result<Option<Option<RecordPosition>>, KafkaFailure> {
        let Ends { low, high } = self.ends(partition)?;
        let mut back = LOOK_BACK;
        loop {
            let (from, mut last) = ((high - back).max(low), None);
            self.read(partition, (from, high), |message| last = Some(record_position(message)))?;
            if last.is_some() || from == low {
                return Ok(last);
            }
            back = back.saturating_mul(8);
        }
    }
}

/// Returns the position that a record has in its header.
pub(crate) fn record_position(message: &BorrowedMessage<'_>) -> Option<RecordPosition> {
    let headers = message.headers()?;
    let header = headers.iter().find(|header| header.key == POSITION_HEADER)?;
    RecordPosition::parse(header.value?)
}

fn is_temporary(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::AllBrokersDown
                | RDKafkaErrorCode::Resolve
                | RDKafkaErrorCode::OperationTimedOut
                | RDKafkaErrorCode::RequestTimedOut
                | RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
        )
    )
}
