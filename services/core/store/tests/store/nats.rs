//! A NATS server for one test, whose streams no other test shares. It ends and its files go when the test drops it, and
//! also when the test process is killed.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

/// Starts the server, prints its URL once it accepts connections, and ends it when the standard input ends. The server
/// chooses a free port and writes it to a file.
const SCRIPT: &str = r#"
    "$1" --jetstream --store_dir "$2/data" --addr 127.0.0.1 --port -1 --ports_file_dir "$2" >"$2/log" 2>&1 &
    until url=$(grep -hso 'nats://[0-9.:]*' "$2"/*.ports); do
        kill -0 $! 2>/dev/null || exit 1
        sleep 0.02
    done
    echo "$url"
    read -r _
    kill -9 $!
    wait $! 2>/dev/null
    rm -rf "$2"
"#;

/// A running server.
pub(crate) struct NatsServer {
    pub(crate) url: String,
    /// The shell process, which runs as long as its standard input is open.
    guardian: Child,
}

/// A subscription without a stream: it receives each message as often as it is published.
pub(crate) struct Subscription(BufReader<TcpStream>);

impl Subscription {
    /// Returns the subjects of the messages that were published since the last call.
    pub(crate) fn subjects(&mut self) -> Vec<String> {
        self.0.get_mut().write_all(b"PING\r\n").expect("it is sent");
        let mut subjects = Vec::new();
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line).expect("text");
            match line.split_whitespace().collect::<Vec<_>>()[..] {
                ["PONG"] => return subjects,
                ["MSG" | "HMSG", subject, ..] => subjects.push(subject.to_owned()),
                _ => assert!(!line.is_empty(), "the connection ended"),
            }
        }
    }
}

impl NatsServer {
    /// Subscribes to a subject.
    pub(crate) fn subscribe(&self, subject: &str) -> Subscription {
        let address = self.url.trim_start_matches("nats://");
        let mut subscription = Subscription(BufReader::new(TcpStream::connect(address).expect("it listens")));
        let commands = format!("CONNECT {{\"verbose\":false,\"headers\":true}}\r\nSUB {subject} 1\r\n");
        subscription.0.get_mut().write_all(commands.as_bytes()).expect("it is sent");
        subscription.subjects();
        subscription
    }

    pub(crate) fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("tickbell-store-nats-").tempdir().expect("a folder").keep();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", SCRIPT, "sh"]).arg(program()).arg(&folder).current_dir("/");
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        // A process group of its own does not receive the terminal's interrupts, so that the script can clean up.
        command.process_group(0);
        let mut guardian = command.spawn().expect("a shell runs");
        let mut url = String::new();
        let output = guardian.stdout.take().expect("its output is piped");
        BufReader::new(output).read_line(&mut url).expect("its output can be read");
        let url = url.trim().to_owned();
        assert!(!url.is_empty(), "nats-server did not start: see {}", folder.join("log").display());
        Self { url, guardian }
    }

    /// Sends a request of the JetStream API that the program itself never sends, like the deletion of a stream.
    pub(crate) fn request(&self, subject: &str) {
        let mut server = TcpStream::connect(self.url.trim_start_matches("nats://")).expect("it accepts connections");
        let lines = format!("CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer 0\r\n\r\nPING\r\n");
        server.write_all(lines.as_bytes()).expect("it reads");
        let answer = BufReader::new(server).lines().map(|line| line.expect("it answers"));
        let answer = answer.into_iter().find(|line| line.contains("\"type\"")).expect("an answer");
        assert!(!answer.contains("\"error\""), "{subject}: {answer}");
    }
}

impl Drop for NatsServer {
    fn drop(&mut self) {
        drop(self.guardian.stdin.take());
        self.guardian.wait().expect("the script ends");
    }
}

/// Returns the nats-server on the path, or the one that `make tools` has put into the clone.
fn program() -> PathBuf {
    let clone = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().map(|folder| folder.join(".tools/bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let mut folders = env::split_paths(&path).chain(clone);
    let program = folders.find_map(|folder| Some(folder.join("nats-server")).filter(|program| program.is_file()));
    program.expect("nats-server is on the path or in .tools/bin: run `make tools`")
}
