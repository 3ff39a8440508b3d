//! A real Kafka of one node, in a folder of the test, and a consumer that is not ours.

use std::{
    collections::BTreeMap,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, Output},
    time::Duration,
};

use e2e::{
    Process, System,
    process::{free_address, kafka_libraries, tool},
    wait_until,
};
use serde::Deserialize;

use crate::WORK;

/// How long a broker may take to start.
const START: Duration = Duration::from_secs(60);

/// A broker, which can be killed and started again with its files.
pub(crate) struct Kafka {
    folder: PathBuf,
    /// The address without security.
    pub(crate) address: SocketAddr,
    process: Option<Process>,
    starts: usize,
}

/// A record as the consumer has it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Consumed {
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) key: String,
    pub(crate) timestamp: i64,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
}

/// How a transaction is left open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LeftOpen {
    /// By a producer that is killed before it ends it.
    Killed,
    /// By a coordinator that knows nothing of it.
    Forgotten,
}

/// A consumer of topics, which reads on until it is dropped.
pub(crate) struct KafkaConsumer(Process);

impl Kafka {
    /// Starts a broker with more settings than every test needs.
    pub(crate) async fn start(system: &System, settings: &[(&str, String)]) -> Self {
        let mut kafka = Self::prepare(system, settings);
        kafka.format(&[]);
        kafka.launch(system).await;
        kafka
    }

    /// Does the same, with a user of SCRAM.
    pub(crate) async fn start_with_user(
        system: &System,
        settings: &[(&str, String)],
        user: &str,
        password: &str,
    ) -> Self {
        let mut kafka = Self::prepare(system, settings);
        kafka.format(&["--add-scram", &format!("SCRAM-SHA-512=[name={user},password=\"{password}\"]")]);
        kafka.launch(system).await;
        kafka
    }

    fn prepare(system: &System, settings: &[(&str, String)]) -> Self {
        let folder = system.home().join("kafka");
        fs::create_dir_all(&folder).expect("a folder");
        let (address, controller) = (free_address(), free_address());
        let mut all = BTreeMap::from(
            [
                ("process.roles", "broker,controller"),
                ("node.id", "1"),
                ("controller.listener.names", "CONTROLLER"),
                ("inter.broker.listener.name", "PLAINTEXT"),
                (
                    "listener.security.protocol.map",
                    "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_SSL:SASL_SSL",
                ),
                ("offsets.topic.replication.factor", "1"),
                ("offsets.topic.num.partitions", "4"),
                ("transaction.state.log.replication.factor", "1"),
                ("transaction.state.log.min.isr", "1"),
                ("transaction.state.log.num.partitions", "4"),
                ("share.coordinator.state.topic.replication.factor", "1"),
                ("share.coordinator.state.topic.min.isr", "1"),
                ("share.coordinator.state.topic.num.partitions", "1"),
                ("group.initial.rebalance.delay.ms", "0"),
                ("auto.create.topics.enable", "false"),
                // Samples have times of long ago, by which their records would be deleted.
                ("log.initial.task.delay.ms", "86400000"),
            ]
            .map(|(name, value)| (name.to_owned(), value.to_owned())),
        );
        all.insert("controller.quorum.voters".into(), format!("1@{controller}"));
        all.insert("listeners".into(), format!("PLAINTEXT://{address},CONTROLLER://{controller}"));
        all.insert("advertised.listeners".into(), format!("PLAINTEXT://{address}"));
        all.insert("log.dirs".into(), folder.join("data").display().to_string());
        for (name, value) in settings {
            let before = all.remove(*name).filter(|_| name.ends_with("listeners"));
            let value = before.map_or_else(|| value.clone(), |before| format!("{before},{value}"));
            all.insert((*name).to_owned(), value);
        }
        let lines: String = all.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        fs::write(folder.join("server.properties"), lines).expect("the settings");
        Self { folder, address, process: None, starts: 0 }
    }

    fn format(&self, arguments: &[&str]) {
        let mut command = java("kafka.tools.StorageTool", &self.folder);
        command.args(["format", "-t", "AAAAAAAAAAAAAAAAAAAAAQ", "-c"]).arg(self.folder.join("server.properties"));
        command.args(arguments);
        let output = command.output().expect("java runs");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "Kafka's folder cannot be formatted: {said}");
    }

    /// Starts it, and waits until it takes connections.
    pub(crate) async fn launch(&mut self, system: &System) {
        self.starts += 1;
        let mut command = java("kafka.Kafka", &self.folder);
        command.arg(self.folder.join("server.properties"));
        self.process = Some(system.spawn(&format!("kafka-{}", self.starts), &mut command));
        let address = self.address;
        wait_until("Kafka takes connections", START, async || {
            tokio::net::TcpStream::connect(address).await.ok().map(drop)
        })
        .await;
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    /// Asks the cluster by a client that is not ours: see `admin.py`.
    pub(crate) fn ask(&self, arguments: &[&str]) -> String {
        let output = self.run("admin.py", arguments);
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn run(&self, script: &str, arguments: &[&str]) -> Output {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka").join(script);
        let mut command = Command::new(tool("python"));
        command.arg(script).arg(self.address.to_string()).args(arguments).output().expect("python runs")
    }

    /// Leaves a transaction with this record open: see `leave_open.py`.
    pub(crate) fn leave_open(&self, way: LeftOpen, transactional_id: &str, record: &Consumed) {
        let (partition, headers) = (record.partition.to_string(), serde_json::json!(record.headers).to_string());
        let name = if way == LeftOpen::Killed { "killed" } else { "forgotten" };
        let arguments = [name, transactional_id, &record.topic, &partition, &record.key, &headers, &record.body];
        let output = self.run("leave_open.py", &arguments);
        let is_done = if way == LeftOpen::Killed {
            std::os::unix::process::ExitStatusExt::signal(&output.status) == Some(9)
        } else {
            output.status.success()
        };
        assert!(is_done, "{way:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Changes the cluster by that client.
    pub(crate) fn change(&self, arguments: &[&str]) {
        self.ask(arguments);
    }

    /// Reads everything that is committed in topics to which nobody writes any more, from their beginning.
    pub(crate) async fn read_to_the_end(&self, system: &System, topics: &[&str]) -> Vec<Consumed> {
        let consumer = self.consume(system, "consumer-to-the-end", topics);
        wait_until("the topics are read to their ends", WORK, async || consumer.is_at_the_end().then_some(())).await;
        consumer.records()
    }

    /// Starts a consumer of these topics.
    pub(crate) fn consume(&self, system: &System, name: &str, topics: &[&str]) -> KafkaConsumer {
        let configuration = serde_json::json!({ "bootstrap.servers": self.address.to_string() });
        KafkaConsumer::start(system, name, &configuration, topics)
    }
}

impl KafkaConsumer {
    /// Starts a consumer with the configuration of its client.
    pub(crate) fn start(system: &System, name: &str, configuration: &serde_json::Value, topics: &[&str]) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/consume.py");
        let mut command = Command::new(tool("python"));
        command.arg(script).arg(configuration.to_string()).args(topics);
        Self(system.spawn(name, &mut command))
    }

    /// Returns all records that were read so far, in order within a partition.
    pub(crate) fn records(&self) -> Vec<Consumed> {
        let log = self.0.log();
        let whole = log.rfind('\n').map_or("", |end| &log[..end]);
        whole.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Returns whether everything was read that is there.
    fn is_at_the_end(&self) -> bool {
        self.0.log().lines().any(|line| line == r#"{"ends": true}"#)
    }
}

fn java(class: &str, folder: &Path) -> Command {
    let mut command = Command::new("java");
    command.current_dir(folder).args(["-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"]);
    command.arg(format!("{}/*", kafka_libraries().display())).arg(class);
    command
}
