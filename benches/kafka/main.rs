//! The throughput of the Kafka bridge beside a bare transactional producer, in one run with a real Kafka.
//!
//! Starts `tickbell up` and a Kafka of one node in temporary folders, and fills the stream of ticks with a recorded day, several times
//! over. A first run of the bridge for each shape of ticks is not counted: what it wrote is what the bare producer writes. Then each
//! round measures, one after the other:
//!
//! - the bridge: `tickbell kafka-bridge` with topics of its own, from its first committed position to that of the stream's end;
//! - the bare producer: rdkafka with the configuration of the bridge and nothing else, which writes the same records (key, headers,
//!   body, time) to topics of its own, in transactions of the size that the bridge's had, from the end of its first transaction to
//!   that of its last.
//!
//! Prints each figure of each round, and the medians with the lowest and the highest ratio.

#![allow(clippy::print_stdout, clippy::float_arithmetic, reason = "a measurement prints rates")]

mod cluster;
#[path = "../system/mod.rs"]
mod system;

use std::{
    fs::File,
    io::Read,
    path::PathBuf,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Parser;
use flate2::read::MultiGzDecoder;
use kafka_bridge::{MIRRORED, RecordPosition, Settings, TickShape, kafka};
use platform::{Broker, Health, Shutdown, broker};
use rdkafka::{
    Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::{Header, OwnedHeaders},
    producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer},
    types::RDKafkaErrorCode,
};

use crate::{
    cluster::{Cluster, Content, Record, default_libraries, free_address},
    system::System,
};

/// The longest time of one measurement.
const LIMIT: Duration = Duration::from_secs(600);
/// The longest wait of one call of the client.
const CALL: Duration = Duration::from_secs(60);
/// The wait before the committed position is asked for again.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// Measures the throughput of the Kafka bridge.
#[derive(Parser)]
struct Options {
    /// Recorded day: CSV with time, symbol, price and size, gzipped
    #[arg(long, default_value = "../shared/data/spy-trades-2013-10-07.csv.gz")]
    file: PathBuf,
    /// How often the day is in the stream, each time of another venue
    #[arg(long, default_value_t = 2)]
    days: usize,
    /// Number of rounds
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// What ticks become, `tick` or `page`; both where this is not given
    #[arg(long)]
    only: Option<String>,
    /// Program to measure, built with the feature `kafka`
    #[arg(long, default_value = "target/dist/tickbell")]
    program: PathBuf,
    /// Folder with the libraries of Kafka
    #[arg(long, default_value_os_t = default_libraries())]
    libraries: PathBuf,
}

/// What ticks become, with the name that the settings have for it.
const SHAPES: [(&str, TickShape); 2] = [("tick", TickShape::Tick), ("page", TickShape::Page)];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let is_known = options.only.as_deref().is_none_or(|only| SHAPES.iter().any(|(name, _)| *name == only));
    ensure!(is_known, "--only takes tick or page");
    let _ = rustls::crypto::ring::default_provider().install_default();
    let lines = count_lines(&options.file).with_context(|| format!("read {}", options.file.display()))?;
    let bench = Bench {
        system: System::start(&options.program, &[])?,
        cluster: Cluster::start(&options.libraries).await?,
        ticks: lines * options.days,
        end: 0,
    };
    let bench = bench.fill(&options).await?;

    println!("{} ticks in {} messages", bench.ticks, bench.end);
    let mut ticks_until: Vec<usize> = Vec::new();
    for (name, shape) in SHAPES {
        bench.bridge(name, &format!("{name}-first.")).await?;
        let content = bench.cluster.read(&topic(&format!("{name}-first.")))?;
        if shape == TickShape::Tick {
            ensure!(content.records.len() == bench.ticks, "{} records, not each tick once", content.records.len());
            ticks_until = bench.count_ticks(&content.records)?;
        }
        if options.only.as_deref().is_none_or(|only| only == name) {
            bench.compare(name, shape, &options, &content, &ticks_until).await?;
        }
    }
    Ok(())
}

/// The running servers, with the stream that is mirrored.
struct Bench {
    system: System,
    cluster: Cluster,
    ticks: usize,
    /// The sequence of the stream's last message.
    end: u64,
}

/// How far the bridge was at its first commit that was seen, and how long it took from there to the end.
struct Mirroring {
    begin: u64,
    elapsed: Duration,
}

impl Bench {
    /// Fills the stream, and waits until the other consumers have applied it.
    async fn fill(mut self, options: &Options) -> anyhow::Result<Self> {
        self.system.until("ready", Duration::from_secs(60), async || self.system.is_ready().await).await?;
        let settings = broker::Settings { url: self.system.nats().to_owned(), ..broker::Settings::default() };
        let check = Health::default().check("broker");
        let broker = Broker::connect_now(&settings, "kafka", check, Shutdown::new()).await?;
        let source = format!("file:{}", options.file.display());
        for day in 0..options.days {
            let venue = format!("day{day}");
            let arguments = ["price-ingestor", "--speed", "max", "--venue", &venue, "--source", &source];
            let ended = self.system.tickbell(&arguments).stderr(Stdio::null()).status()?;
            ensure!(ended.success(), "the ingestor failed");
        }
        self.end = broker::topology::stream_end(&broker, MIRRORED[0].stream).await?;
        let applied = "SELECT min(stream_position) FROM consumer_positions WHERE consumer IN ('alert-engine', 'history-writer', 'trade-settler')";
        let end = self.end.to_string();
        let are_idle = async || self.system.sql(applied).is_ok_and(|position| position == end);
        self.system.until("idle", LIMIT, are_idle).await?;
        Ok(self)
    }

    /// Measures both in turns.
    async fn compare(
        &self,
        name: &str,
        shape: TickShape,
        options: &Options,
        content: &Content,
        ticks_until: &[usize],
    ) -> anyhow::Result<()> {
        let size = content.records.len().div_ceil(content.transactions);
        println!("kafka.ticks = {name:?}: {} records, {size} in a transaction", content.records.len());
        let (mut bridges, mut bares) = (Vec::new(), Vec::new());
        for round in 0..options.rounds {
            let Mirroring { begin, elapsed } = self.bridge(name, &format!("{name}-{round}.")).await?;
            let before = ticks_until.get(usize::try_from(begin)?).context("a position behind the stream")?;
            let bridge = (self.ticks - before) as f64 / elapsed.as_secs_f64();
            let (records, elapsed) = self.bare(shape, &format!("{name}-bare-{round}."), &content.records, size).await?;
            let written = self.ticks as f64 * records as f64 / content.records.len() as f64;
            let bare = written / elapsed.as_secs_f64();
            println!("round {}: bridge {bridge:.0}, bare producer {bare:.0}, ratio {:.2}", round + 1, bridge / bare);
            bridges.push(bridge);
            bares.push(bare);
        }
        let mut ratios: Vec<f64> = bridges.iter().zip(&bares).map(|(bridge, bare)| bridge / bare).collect();
        let (bridge, bare, ratio) = (median(&mut bridges), median(&mut bares), median(&mut ratios));
        let (lowest, highest) = (ratios[0], ratios[ratios.len() - 1]);
        println!(
            "kafka.ticks = {name:?}: bridge {bridge:.0} ticks/s, bare producer {bare:.0} ticks/s, ratio {ratio:.2} ({lowest:.2} to {highest:.2})"
        );
        Ok(())
    }

    /// Runs a bridge with topics of its own until all of the stream is committed.
    async fn bridge(&self, shape: &str, prefix: &str) -> anyhow::Result<Mirroring> {
        let mut command = self.system.tickbell(&["kafka-bridge"]);
        command
            .env("TICKBELL_KAFKA__BROKERS", &self.cluster.address)
            .env("TICKBELL_KAFKA__TOPIC_PREFIX", prefix)
            .env("TICKBELL_KAFKA__TICKS", shape)
            .env("TICKBELL_ADMIN__LISTEN", free_address()?.to_string())
            .stdout(Stdio::null())
            .stderr(File::create(self.system.folder().join(format!("{prefix}log")))?);
        let _bridge = Running(command.spawn()?);
        let group = self.cluster.group(&MIRRORED[0].transactional_id(prefix))?;
        let deadline = Instant::now() + LIMIT;
        // The first position is that of the beginning, before anything is mirrored.
        let begin = loop {
            ensure!(Instant::now() < deadline, "the bridge does not begin");
            match committed(&group, &topic(prefix)) {
                Ok(Some(position)) if position > 0 => break position,
                // The topic and the coordinator may not be there yet.
                Ok(_) | Err(_) => tokio::time::sleep(ASK_EVERY).await,
            }
        };
        let began = Instant::now();
        while committed(&group, &topic(prefix))? != Some(self.end) {
            ensure!(Instant::now() < deadline, "the bridge has not caught up");
            tokio::time::sleep(ASK_EVERY).await;
        }
        Ok(Mirroring { begin, elapsed: began.elapsed() })
    }

    /// Writes records in transactions of a size. Returns how many came behind the first transaction, and how long they took.
    async fn bare(
        &self,
        ticks: TickShape,
        prefix: &str,
        records: &[Record],
        size: usize,
    ) -> anyhow::Result<(usize, Duration)> {
        let settings = Settings {
            brokers: self.cluster.address.clone(),
            topic_prefix: prefix.to_owned(),
            ticks,
            ..Settings::default()
        };
        kafka::prepare_topics(&settings).await?;
        // As the bridge configures it.
        let producer: ThreadedProducer<DefaultProducerContext> = self
            .cluster
            .client()
            .set("transactional.id", prefix)
            .set("transaction.timeout.ms", settings.transaction_timeout.as_millis().to_string())
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("batch.size", "262144")
            .set("message.max.bytes", "2097152")
            .set("queue.buffering.max.messages", "200000")
            .set("queue.buffering.max.kbytes", "131072")
            .set("partitioner", "murmur2_random")
            .create()?;
        let topic = topic(prefix);
        tokio::task::block_in_place(|| {
            producer.init_transactions(CALL)?;
            let first = size.min(records.len() - 1);
            write(&producer, &topic, &records[..first])?;
            let began = Instant::now();
            records[first..].chunks(size).try_for_each(|records| write(&producer, &topic, records))?;
            Ok((records.len() - first, began.elapsed()))
        })
    }

    /// Returns for each position of the stream how many ticks are up to it.
    fn count_ticks(&self, records: &[Record]) -> anyhow::Result<Vec<usize>> {
        let mut until = vec![0; usize::try_from(self.end)? + 1];
        for record in records {
            let header = record.headers.iter().find(|(name, _)| name == kafka_bridge::POSITION_HEADER);
            let position = header.and_then(|(_, value)| RecordPosition::parse(value.as_bytes()));
            until[usize::try_from(position.context("a record without a position")?.sequence)?] += 1;
        }
        let mut sum = 0;
        for ticks in &mut until {
            sum += *ticks;
            *ticks = sum;
        }
        Ok(until)
    }
}

/// Writes records in one transaction.
fn write(
    producer: &ThreadedProducer<DefaultProducerContext>,
    topic: &str,
    records: &[Record],
) -> Result<(), KafkaError> {
    producer.begin_transaction()?;
    for record in records {
        let headers = OwnedHeaders::new_with_capacity(record.headers.len());
        let headers = record
            .headers
            .iter()
            .fold(headers, |headers, (key, value)| headers.insert(Header { key, value: Some(value) }));
        let mut message = BaseRecord::to(topic)
            .key(&record.key)
            .payload(&record.body)
            .timestamp(record.timestamp_ms)
            .headers(headers);
        while let Err((error, refused)) = producer.send(message) {
            if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                return Err(error);
            }
            std::thread::yield_now();
            message = refused;
        }
    }
    producer.commit_transaction(CALL)
}

/// Returns the sequence that is committed; none before the first.
fn committed(group: &BaseConsumer, topic: &str) -> anyhow::Result<Option<u64>> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, 0);
    let found = group.committed_offsets(asked, CALL)?;
    match found.find_partition(topic, 0).map(|found| found.offset()) {
        Some(Offset::Offset(next)) => Ok(Some(u64::try_from(next)?.saturating_sub(1))),
        _ => Ok(None),
    }
}

fn topic(prefix: &str) -> String {
    format!("{prefix}{}", MIRRORED[0].topic)
}

fn count_lines(file: &PathBuf) -> anyhow::Result<usize> {
    let mut text = String::new();
    MultiGzDecoder::new(File::open(file)?).read_to_string(&mut text)?;
    Ok(text.lines().count().saturating_sub(1))
}

/// Sorts figures, and returns the one in the middle.
fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// A bridge, which is asked to stop when this is dropped, so that the next one gets its leases.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let asked = std::process::Command::new("kill").arg(self.0.id().to_string()).status();
        if let Err(error) = asked.and_then(|_| self.0.wait()) {
            println!("the bridge was not stopped: {error}");
        }
    }
}
