//! A server that speaks S3: SeaweedFS, as it comes.

use std::{
    net::SocketAddr,
    path::Path,
    process::{Command, Output},
    time::Duration,
};

use e2e::{
    Process, System,
    process::{free_address, tool},
    wait_until,
};

const START: Duration = Duration::from_secs(60);
pub(crate) const KEY: &str = "archive";
pub(crate) const SECRET: &str = "secret-of-the-archive";
pub(crate) const BUCKET: &str = "tickbell";

/// The ports that it listens on, that of S3 first.
const PORTS: [&str; 12] = [
    "s3.port",
    "s3.port.grpc",
    "s3.port.iceberg",
    "s3.port.lance",
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "admin.port",
    "admin.port.grpc",
];

/// A running server with one bucket.
pub(crate) struct ObjectStore {
    process: Option<Process>,
    ports: Vec<u16>,
    arguments: Vec<String>,
}

impl ObjectStore {
    /// Starts a server whose data is in the folder of a system.
    pub(crate) async fn start(system: &System, arguments: &[&str]) -> Self {
        let ports = std::iter::repeat_with(|| free_address().port()).take(PORTS.len()).collect();
        let mut store =
            Self { process: None, ports, arguments: arguments.iter().map(|argument| (*argument).to_owned()).collect() };
        store.start_again(system).await;
        store
    }

    /// Starts it again on the same ports with the same data.
    pub(crate) async fn start_again(&mut self, system: &System) {
        let data = system.home().join("objects");
        std::fs::create_dir_all(&data).expect("a folder");
        let mut command = Command::new(tool("weed"));
        command.current_dir(&data).env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET).arg("mini");
        command.args([
            "-dir=.",
            "-ip=127.0.0.1",
            "-ip.bind=127.0.0.1",
            "-webdav=false",
            "-admin.ui=false",
            "-s3.autoCreateBucket=false",
        ]);
        command.arg(format!("-bucket={BUCKET}")).args(&self.arguments);
        for (flag, port) in PORTS.iter().zip(&self.ports) {
            command.arg(format!("-{flag}={port}"));
        }
        self.process = Some(Process::start(&mut command, &system.home().join("objects.log")));
        wait_until("the object store has its bucket", START, async || self.has_bucket().then_some(())).await;
    }

    /// Starts it again without the bounds of its room.
    pub(crate) async fn make_room(&mut self, system: &System) {
        self.kill();
        self.arguments.clear();
        self.start_again(system).await;
    }

    fn has_bucket(&self) -> bool {
        let script = "import sys\nfrom pyarrow import fs\n\
            s3 = fs.S3FileSystem(endpoint_override=sys.argv[1], scheme='http', region='us-east-1', request_timeout=5)\n\
            sys.exit(s3.get_file_info(sys.argv[2]).type != fs.FileType.Directory)\n";
        self.python(script, &[BUCKET]).status.success()
    }

    /// Runs a client that is not ours, with the address of the server and further arguments.
    fn python(&self, script: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(tool("python"));
        command.args(["-c", script]).arg(self.address().to_string()).args(arguments);
        command.env("AWS_ACCESS_KEY_ID", KEY).env("AWS_SECRET_ACCESS_KEY", SECRET).output().expect("Python runs")
    }

    /// Ends it as a power cut would.
    pub(crate) fn kill(&mut self) {
        self.process.take().expect("it runs").kill();
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    /// The settings and credentials of a program that writes there.
    pub(crate) fn settings(&self, prefix: &str) -> [(&'static str, String); 5] {
        [
            ("TICKBELL_ARCHIVE__URL", format!("s3://{BUCKET}/{prefix}")),
            ("TICKBELL_ARCHIVE__ENDPOINT", format!("http://{}", self.address())),
            ("TICKBELL_ARCHIVE__REGION", "us-east-1".into()),
            ("AWS_ACCESS_KEY_ID", KEY.into()),
            ("AWS_SECRET_ACCESS_KEY", SECRET.into()),
        ]
    }

    /// Writes until there is no room.
    pub(crate) fn fill(&self) {
        let script = "import sys\nfrom pyarrow import fs\n\
            once = fs.AwsStandardS3RetryStrategy(max_attempts=1)\n\
            s3 = fs.S3FileSystem(endpoint_override=sys.argv[1], scheme='http', region='us-east-1', retry_strategy=once)\n\
            for number in range(100):\n    \
                with s3.open_output_stream(f'{sys.argv[2]}/fill/{number}') as file: file.write(bytes(3_000_000))\n";
        let output = self.python(script, &[BUCKET]);
        assert!(!output.status.success(), "there is room for 300 MB");
    }

    /// The headers of an object, as a client that is not ours sees them.
    pub(crate) fn headers(&self, key: &str) -> serde_json::Value {
        let script = "import json, sys\nfrom pyarrow import fs\n\
            s3 = fs.S3FileSystem(endpoint_override=sys.argv[1], scheme='http', region='us-east-1')\n\
            found = s3.open_input_stream(sys.argv[2]).metadata()\n\
            print(json.dumps({name: str(value, 'ascii') if isinstance(value, bytes) else value for name, value in found.items()}))\n";
        let output = self.python(script, &[&format!("{BUCKET}/{key}")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).expect("JSON")
    }

    /// Replaces the parts below a prefix by bytes that are none.
    pub(crate) fn spoil(&self, prefix: &str) {
        let script = "import sys\nfrom pyarrow import fs\n\
            s3 = fs.S3FileSystem(endpoint_override=sys.argv[1], scheme='http', region='us-east-1')\n\
            found = [file.path for file in s3.get_file_info(fs.FileSelector(sys.argv[2])) if file.path.endswith('.parquet')]\n\
            assert found\nfor path in found:\n    \
                with s3.open_output_stream(path) as file: file.write(b'spoilt')\n";
        let output = self.python(script, &[&format!("{BUCKET}/{prefix}")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    /// Copies what is below a prefix, which may be nothing.
    pub(crate) fn copy_what_is_there(&self, prefix: &str, folder: &Path) {
        let script = "import sys\nfrom pyarrow import fs\n\
            s3 = fs.S3FileSystem(endpoint_override=sys.argv[1], scheme='http', region='us-east-1')\n\
            sys.exit(s3.get_file_info(sys.argv[2]).type != fs.FileType.Directory)\n";
        if self.python(script, &[&format!("{BUCKET}/{prefix}")]).status.success() {
            self.copy(prefix, folder);
        }
    }

    /// Copies what is below a prefix into a folder, by a client that is not ours.
    pub(crate) fn copy(&self, prefix: &str, folder: &Path) {
        let script = "import sys\nfrom pyarrow import fs\naddress, source, target = sys.argv[1:]\n\
            s3 = fs.S3FileSystem(endpoint_override=address, scheme='http', region='us-east-1')\n\
            fs.copy_files(source, target, source_filesystem=s3, destination_filesystem=fs.LocalFileSystem())\n";
        std::fs::create_dir_all(folder).expect("a folder");
        let output = self.python(script, &[&format!("{BUCKET}/{prefix}"), folder.to_str().expect("text")]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}
