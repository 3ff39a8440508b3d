//! The transactions of one stream. Records and the position behind them are committed together or not at all: the position is the
//! offset of a consumer group that has no members, sent with the transaction.
//!
//! The fence is Kafka's own: `init_transactions` ends what an older producer of the same transactional id has begun, and each call of
//! that one fails from then on.

use std::time::{Duration, Instant};

use events::Timestamp;
use platform::StreamPosition;
use rdkafka::{
    TopicPartitionList,
    consumer::{Consumer, ConsumerGroupMetadata},
    error::{KafkaError, KafkaResult, RDKafkaError},
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, Producer, ThreadedProducer},
    types::RDKafkaErrorCode,
};
use tracing::{debug, info, warn};

use crate::{
    Mirrored, Record, Settings,
    kafka::{
        KafkaFailure,
        client::{Reports, config},
        log_reader::{Isolation, LogReader},
        pause,
    },
    position::{POSITION_HEADER, RecordPosition},
    stored_position::StoredPosition,
};

/// The longest wait of one call. One that takes longer is called again.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);
/// The longest wait for the brokers of all partitions.
const LEADERS_TIMEOUT: Duration = Duration::from_secs(60);
/// The wait before something is looked at again.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// The wait for room in the queue of records.
const QUEUE_WAIT: Duration = Duration::from_millis(1);
/// The time after which a position is written again although it has not changed: Kafka forgets the offset of a group without members
/// after `offsets.retention.minutes`, 7 days by default.
const REFRESH_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// The partition that stands for the whole topic in the offset.
const OFFSET_PARTITION: i32 = 0;

/// The producer of one stream, between the opening of a run and its end.
pub(crate) struct MirrorProducer {
    producer: ThreadedProducer<Reports>,
    reports: Reports,
    group: ConsumerGroupMetadata,
    mirrored: &'static Mirrored,
    topic: String,
    transactional_id: String,
    /// The time after which Kafka itself aborts a transaction.
    transaction_timeout: Duration,
    committed: LogReader,
    uncommitted: LogReader,
    stored: Option<StoredPosition>,
    written_at: Instant,
}

impl MirrorProducer {
    /// Connects and fences older producers of the stream. The caller holds the lease.
    pub(super) fn connect(settings: &Settings, mirrored: &'static Mirrored) -> Result<Self, KafkaFailure> {
        let transactional_id = mirrored.transactional_id(&settings.topic_prefix);
        let topic = mirrored.topic(&settings.topic_prefix);
        let committed = LogReader::open(settings, &transactional_id, &topic, Isolation::Committed)?;
        let uncommitted = LogReader::open(settings, &transactional_id, &topic, Isolation::Uncommitted)?;
        wait_for_leaders(&uncommitted, &topic)?;
        let group = uncommitted.consumer().group_metadata();
        let group = group.ok_or_else(|| KafkaFailure::Metadata(format!("group {transactional_id} has no metadata")))?;
        let reports = Reports::new(&transactional_id);
        let producer = config(settings, &transactional_id)?
            .set("transactional.id", &transactional_id)
            .set("transaction.timeout.ms", settings.transaction_timeout.as_millis().to_string())
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("batch.size", "262144")
            .set("message.max.bytes", "2097152")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "131072")
            // The one of Kafka's own clients: other writers to the topic find the same partition for a key.
            .set("partitioner", "murmur2_random")
            .create_with_context(reports.clone())
            .map_err(KafkaFailure::call("connect"))?;
        let transaction_timeout = settings.transaction_timeout;
        let (stored, written_at) = (None, Instant::now());
        let opened = Self {
            producer,
            reports,
            group,
            mirrored,
            topic,
            transactional_id,
            transaction_timeout,
            committed,
            uncommitted,
            stored,
            written_at,
        };
        opened.again("begin to write", LEADERS_TIMEOUT, |producer| producer.init_transactions(CALL_TIMEOUT))?;
        Ok(opened)
    }

    /// Reads the position. An offset without metadata counts for the stream that is there, which was created at `stream_created`.
    pub(super) fn read_position(&mut self, stream_created: Timestamp) -> Result<(), KafkaFailure> {
        self.stored = self.uncommitted.stored_position(CALL_TIMEOUT * 2, stream_created)?;
        Ok(())
    }

    /// Finds the position by the records where Kafka has no offset, and refuses a connection that was lost meanwhile.
    pub(super) fn complete(mut self) -> Result<Self, KafkaFailure> {
        if self.stored.is_none() {
            self.stored = self.recover_position()?.map(StoredPosition::new);
        }
        self.check_connection()?;
        Ok(self)
    }

    /// Returns the position that is committed; none before the first.
    pub(crate) fn position(&self) -> Option<StreamPosition> {
        self.stored.as_ref().map(|stored| stored.position)
    }

    pub(crate) fn stored(&self) -> Option<&StoredPosition> {
        self.stored.as_ref()
    }

    pub(crate) fn mirrored(&self) -> &'static Mirrored {
        self.mirrored
    }

    pub(crate) fn topic(&self) -> &str {
        &self.topic
    }

    pub(crate) fn committed(&self) -> &LogReader {
        &self.committed
    }

    pub(crate) fn uncommitted(&self) -> &LogReader {
        &self.uncommitted
    }

    /// Writes records and the position behind them in one transaction.
    pub(crate) fn write(&mut self, records: &[Record], position: StreamPosition) -> Result<(), KafkaFailure> {
        let began = Instant::now();
        self.check_connection()?;
        let stored = StoredPosition::new(position);
        self.transaction(stored, |producer, topic| {
            records.iter().try_for_each(|record| {
                let headers = record.all_headers();
                let headers = headers.fold(OwnedHeaders::new_with_capacity(12), |headers, (key, value)| {
                    headers.insert(Header { key, value: Some(value) })
                });
                let message = BaseRecord::to(topic)
                    .key(&*record.key)
                    .payload(&record.body)
                    .timestamp(record.timestamp_ms)
                    .headers(headers);
                send(producer, message)
            })
        })?;
        let stream = self.mirrored.stream;
        metrics::histogram!("tickbell_kafka_transaction_seconds", "stream" => stream).record(began.elapsed());
        metrics::counter!("tickbell_kafka_records_total", "stream" => stream).increment(records.len() as u64);
        // A transaction that was being committed then may not have been ended everywhere.
        self.check_connection()
    }

    /// Writes the position again where that was long ago.
    pub(super) fn refresh(&mut self) -> Result<(), KafkaFailure> {
        match self.position() {
            Some(position) if self.written_at.elapsed() >= REFRESH_EVERY => self.write(&[], position),
            _ => self.check_connection(),
        }
    }

    /// Runs one transaction: what `fill` sends, and the position.
    pub(crate) fn transaction(
        &mut self,
        stored: StoredPosition,
        fill: impl FnOnce(&ThreadedProducer<Reports>, &str) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaFailure> {
        let (offset, metadata) = stored.to_offset().map_err(KafkaFailure::Metadata)?;
        let mut offsets = TopicPartitionList::new();
        let set = |offsets: &mut TopicPartitionList| {
            let mut element = offsets.add_partition(&self.topic, OFFSET_PARTITION);
            element.set_metadata(metadata);
            element.set_offset(rdkafka::Offset::Offset(offset))
        };
        set(&mut offsets).map_err(KafkaFailure::call("make an offset"))?;
        self.reports.take_undelivered();
        self.producer.begin_transaction().map_err(KafkaFailure::call("begin a transaction"))?;
        let filled = fill(&self.producer, &self.topic).map_err(KafkaFailure::call("write records"));
        let filled = filled.and_then(|()| {
            self.again("send the position", CALL_TIMEOUT * 3, |producer| {
                producer.send_offsets_to_transaction(&offsets, &self.group, CALL_TIMEOUT)
            })
        });
        // A commit behind a lost connection may meet a broker that is starting, which forgets to end it.
        let committed = filled.and_then(|()| self.check_connection()).and_then(|()| self.commit());
        match committed {
            Ok(()) => {
                debug!(
                    stream = self.mirrored.stream,
                    topic = self.topic,
                    transaction = self.transactional_id,
                    offset,
                    "committed a transaction"
                );
                (self.stored, self.written_at) = (Some(stored), Instant::now());
                Ok(())
            }
            Err(error) => {
                // What the library says of the transaction is that it must be aborted, and of the record why.
                let error = self.undelivered().unwrap_or(error);
                self.abort();
                Err(error)
            }
        }
    }

    fn commit(&self) -> Result<(), KafkaFailure> {
        let limit = self.transaction_timeout * 2;
        self.again("commit a transaction", limit, |producer| producer.commit_transaction(CALL_TIMEOUT))?;
        self.undelivered().map_or(Ok(()), Err)
    }

    /// Returns the error of a record that was not written; none where all were.
    fn undelivered(&self) -> Option<KafkaFailure> {
        let code = self.reports.take_undelivered()?;
        Some(KafkaFailure::Delivery { topic: self.topic.clone(), code })
    }

    /// Aborts the transaction. Where that fails as well, the next run does so.
    pub(crate) fn abort(&self) {
        let stream = self.mirrored.stream;
        metrics::counter!("tickbell_kafka_aborts_total", "stream" => stream).increment(1);
        let (topic, transaction) = (self.topic.as_str(), self.transactional_id.as_str());
        match self.again("abort a transaction", CALL_TIMEOUT, |producer| producer.abort_transaction(CALL_TIMEOUT)) {
            Ok(()) => info!(stream, topic, transaction, "aborted a transaction"),
            Err(error) => {
                let error = platform::runtime::error::error_chain(&error);
                warn!(stream, topic, transaction, error, "could not abort a transaction; the next run does");
            }
        }
    }

    /// Begins a transaction that has no position, for [`abort`](Self::abort) to end.
    pub(crate) fn begin_unpositioned(
        &self,
        fill: impl FnOnce(&ThreadedProducer<Reports>, &str) -> Result<(), KafkaError>,
    ) -> Result<(), KafkaFailure> {
        self.producer.begin_transaction().map_err(KafkaFailure::call("begin a transaction"))?;
        fill(&self.producer, &self.topic).map_err(KafkaFailure::call("write records"))?;
        self.producer.flush(CALL_TIMEOUT * 3).map_err(KafkaFailure::call("write records"))
    }

    /// Calls again and again while the library says that this may help. A call that timed out goes on where it was.
    fn again(
        &self,
        action: &str,
        limit: Duration,
        call: impl Fn(&ThreadedProducer<Reports>) -> KafkaResult<()>,
    ) -> Result<(), KafkaFailure> {
        let began = Instant::now();
        loop {
            match call(&self.producer) {
                Ok(()) => return Ok(()),
                Err(KafkaError::Transaction(error)) if is_retriable(&error) && began.elapsed() < limit => {
                    debug!(stream = self.mirrored.stream, action, error = error.string(), "calling Kafka again");
                    pause(LOOK_EVERY);
                }
                Err(error) => return Err(KafkaFailure::call(action)(error)),
            }
        }
    }

    fn check_connection(&self) -> Result<(), KafkaFailure> {
        if self.reports.is_connection_lost() { Err(KafkaFailure::ConnectionLost) } else { Ok(()) }
    }

    /// Finds the position by the last records, where Kafka has no offset; none where there never were records.
    pub(crate) fn recover_position(&self) -> Result<Option<StreamPosition>, KafkaFailure> {
        let mut newest: Option<RecordPosition> = None;
        // Records of somebody else, or none any more of those that were there, say nothing about the position.
        let mut is_unknown = false;
        for partition in 0..self.partitions()? {
            match self.committed.last_position(partition)? {
                Some(Some(found)) if found.stream == self.mirrored.stream => {
                    let key = |position: &RecordPosition| (position.stream_created, position.sequence);
                    if newest.as_ref().is_none_or(|newest| key(newest) < key(&found)) {
                        newest = Some(found);
                    }
                }
                Some(_) => is_unknown = true,
                None => is_unknown |= self.committed.ends(partition)?.low > 0,
            }
        }
        let (group, topic) = (self.transactional_id.clone(), self.topic.clone());
        match newest {
            Some(found) => {
                let (stream, topic, sequence) = (self.mirrored.stream, topic.as_str(), found.sequence);
                warn!(stream, topic, sequence, "Kafka has no offset; recovered the position from the last records");
                Ok(Some(found.stream_position()))
            }
            None if is_unknown => {
                let stream = self.mirrored.stream;
                Err(KafkaFailure::UnknownPosition { stream, group, topic, header: POSITION_HEADER })
            }
            None => Ok(None),
        }
    }

    /// Returns the number of partitions.
    pub(crate) fn partitions(&self) -> Result<i32, KafkaFailure> {
        let action = format!("ask for the partitions of {}", self.topic);
        let metadata = self.uncommitted.consumer().fetch_metadata(Some(&self.topic), CALL_TIMEOUT * 2);
        let metadata = metadata.map_err(KafkaFailure::call(action))?;
        let partitions = metadata.topics().iter().map(|topic| topic.partitions().len()).max().unwrap_or_default();
        Ok(i32::try_from(partitions).unwrap_or(i32::MAX))
    }
}

/// Sends a record, and waits for room in the queue.
pub(super) fn send(
    producer: &ThreadedProducer<Reports>,
    mut record: BaseRecord<'_, str, Vec<u8>>,
) -> Result<(), KafkaError> {
    loop {
        match producer.send(record) {
            Ok(()) => return Ok(()),
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), refused)) => {
                record = refused;
                pause(QUEUE_WAIT);
            }
            Err((error, _)) => return Err(error),
        }
    }
}

fn is_retriable(error: &RDKafkaError) -> bool {
    let is_timeout = matches!(error.code(), RDKafkaErrorCode::OperationTimedOut | RDKafkaErrorCode::RequestTimedOut);
    !error.is_fatal() && !error.txn_requires_abort() && (error.is_retriable() || is_timeout)
}

/// Waits until each partition of the topic, of the offsets and of the transactions has a broker that leads it. A coordinator that ends
/// a transaction before that leaves it open in the partitions that have none.
fn wait_for_leaders(reader: &LogReader, topic: &str) -> Result<(), KafkaFailure> {
    let began = Instant::now();
    loop {
        let metadata = reader.consumer().fetch_metadata(None, CALL_TIMEOUT);
        let missing = metadata.map(|metadata| {
            let needed = [topic, "__consumer_offsets", "__transaction_state"];
            let mut topics = metadata.topics().iter().filter(|found| needed.contains(&found.name()));
            let has_leader = |partition: &rdkafka::metadata::MetadataPartition| {
                partition.leader() >= 0 && partition.error().is_none()
            };
            let is_whole = |partitions: &[_]| !partitions.is_empty() && partitions.iter().all(has_leader);
            let without = topics.find(|found| !is_whole(found.partitions())).map(|found| found.name().to_owned());
            let exists = metadata.topics().iter().any(|found| found.name() == topic);
            without.or_else(|| (!exists).then(|| topic.to_owned()))
        });
        match missing {
            Ok(None) => return Ok(()),
            Ok(Some(topic)) if began.elapsed() > LEADERS_TIMEOUT => return Err(KafkaFailure::NoLeader(topic)),
            Err(error) if began.elapsed() > LEADERS_TIMEOUT => return Err(KafkaFailure::call("connect")(error)),
            Ok(Some(_)) | Err(_) => pause(LOOK_EVERY),
        }
    }
}
