//! A Kafka of one node in a temporary folder, and a reader of what is committed there.

use std::{
    fs,
    net::{SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use rdkafka::{
    ClientConfig, Message, Offset, TopicPartitionList,
    consumer::{BaseConsumer, Consumer},
    error::KafkaError,
    message::Headers,
};

/// The longest wait for an answer.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A running broker; it is stopped when this is dropped.
pub(crate) struct Cluster {
    pub(crate) address: String,
    process: Child,
    folder: tempfile::TempDir,
}

/// A record as it is written.
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) body: Vec<u8>,
    pub(crate) timestamp_ms: i64,
    pub(crate) headers: Vec<(String, String)>,
}

/// The committed records of a topic, and the transactions that they came in.
pub(crate) struct Content {
    /// The committed records, in the order of their partition.
    pub(crate) records: Vec<Record>,
    /// The number of transactions that wrote them. Each leaves a marker in its partition.
    pub(crate) transactions: usize,
}

impl Cluster {
    /// Starts a broker of the libraries in this folder.
    pub(crate) async fn start(libraries: &Path) -> anyhow::Result<Self> {
        ensure!(libraries.is_dir(), "{} is missing: run `make tools-kafka`", libraries.display());
        let libraries = libraries.canonicalize()?;
        let folder = tempfile::tempdir()?;
        let (address, controller) = (free_address()?, free_address()?);
        let properties = format!(
            "process.roles=broker,controller\nnode.id=1\ncontroller.quorum.voters=1@{controller}\n\
             listeners=PLAINTEXT://{address},CONTROLLER://{controller}\nadvertised.listeners=PLAINTEXT://{address}\n\
             controller.listener.names=CONTROLLER\nlog.dirs={}\noffsets.topic.replication.factor=1\n\
             transaction.state.log.replication.factor=1\ntransaction.state.log.min.isr=1\n\
             share.coordinator.state.topic.replication.factor=1\nshare.coordinator.state.topic.min.isr=1\n\
             group.initial.rebalance.delay.ms=0\nauto.create.topics.enable=false\n\
             # The records of a recorded day are older than any retention.\nlog.initial.task.delay.ms=86400000\n",
            folder.path().join("data").display()
        );
        let settings = folder.path().join("server.properties");
        fs::write(&settings, properties)?;
        let java = |class: &str| {
            let mut command = Command::new("java");
            command.current_dir(folder.path()).args(["-Xmx1g", "-cp"]).arg(format!("{}/*", libraries.display()));
            command.arg(class).stdout(Stdio::null()).stderr(Stdio::null());
            command
        };
        let mut format = java("kafka.tools.StorageTool");
        format.args(["format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"]).arg(&settings);
        ensure!(format.status().context("java is needed")?.success(), "Kafka's folder cannot be formatted");
        let log = fs::File::create(folder.path().join("log"))?;
        let process = java("kafka.Kafka").arg(&settings).stdout(log.try_clone()?).stderr(log).spawn()?;
        let mut cluster = Self { address: address.to_string(), process, folder };
        let deadline = Instant::now() + TIMEOUT * 2;
        while TcpStream::connect(address).is_err() {
            if Instant::now() > deadline || cluster.process.try_wait()?.is_some() {
                bail!("Kafka did not start: {}", fs::read_to_string(cluster.folder.path().join("log"))?);
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(cluster)
    }

    /// Returns the configuration that every client begins with.
    pub(crate) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address);
        config
    }

    /// Returns a client that can be asked for the offset of a group.
    pub(crate) fn group(&self, group: &str) -> anyhow::Result<BaseConsumer> {
        Ok(self.client().set("group.id", group).set("isolation.level", "read_uncommitted").create()?)
    }

    /// Reads all committed records of a topic.
    pub(crate) fn read(&self, topic: &str) -> anyhow::Result<Content> {
        let mut config = self.client();
        config.set("group.id", "bench").set("isolation.level", "read_committed").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = config.set("enable.partition.eof", "true").create()?;
        let metadata = consumer.fetch_metadata(Some(topic), TIMEOUT)?;
        let partitions = metadata.topics().first().context("no such topic")?.partitions().len();
        let mut assigned = TopicPartitionList::new();
        let mut offsets = 0;
        for partition in 0..i32::try_from(partitions)? {
            assigned.add_partition_offset(topic, partition, Offset::Beginning)?;
            offsets += usize::try_from(consumer.fetch_watermarks(topic, partition, TIMEOUT)?.1)?;
        }
        consumer.assign(&assigned)?;
        let (mut records, mut ended) = (Vec::new(), 0);
        while ended < partitions {
            match consumer.poll(TIMEOUT).context("no record arrives")? {
                Ok(message) => records.push(Record::of(&message)?),
                Err(KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => return Err(error.into()),
            }
        }
        let transactions = offsets - records.len();
        Ok(Content { records, transactions })
    }
}

impl Record {
    fn of(message: &impl Message) -> anyhow::Result<Self> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec());
        let headers = message.headers().context("a record without headers")?.iter();
        let headers =
            headers.map(|header| anyhow::Ok((header.key.to_owned(), text(header.value.unwrap_or_default())?)));
        Ok(Self {
            key: text(message.key().context("a record without a key")?)?,
            body: message.payload().context("a record without a body")?.to_vec(),
            timestamp_ms: message.timestamp().to_millis().context("a record without a time")?,
            headers: headers.collect::<anyhow::Result<_>>()?,
        })
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Err(error) = self.process.kill().and_then(|()| self.process.wait()) {
            println!("Kafka was not stopped: {error}");
        }
    }
}

/// Returns an address that nobody listens on.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?)
}

/// Returns where the libraries of Kafka are.
pub(crate) fn default_libraries() -> PathBuf {
    PathBuf::from(".tools/kafka/libs")
}
