//! What happens to the streams of a system behind its back: they are changed or deleted, or an older copy of their files is
//! put back.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;
use serde_json::Value;

use super::{Server, System, servers::Servers};
use crate::{process::send, wait_until};

/// How long a killed process may take to end.
const DEATH: Duration = Duration::from_secs(5);
/// How long the broker may take for an answer before it is asked again.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(3);
/// How often it is asked. For as long together, a cluster may be without a leader.
const ATTEMPTS: usize = 10;

/// A copy of the files of all streams and consumers.
pub struct StreamFiles(PathBuf);

impl System {
    /// Sends a request of the JetStream API that the program itself never sends, like the deletion of a stream.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub fn request_broker(&self, subject: &str) {
        request(&self.named("NATS_URL").expect("the broker's address"), subject, "");
    }

    /// Returns the settings of a stream, by their names in the JetStream API.
    ///
    /// # Panics
    /// When there is no such stream.
    pub fn stream_settings(&self, name: &str) -> Value {
        stream_settings(&self.named("NATS_URL").expect("the broker's address"), name)
    }

    /// Changes settings of a stream as an operator does, by their names in the JetStream API.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub fn change_stream(&self, name: &str, changes: &Value) {
        change_stream(&self.named("NATS_URL").expect("the broker's address"), name, changes);
    }

    /// Copies the files of the streams, as a snapshot of the broker's disk does.
    pub fn copy_streams(&self) -> StreamFiles {
        let copy = self.home().join("streams");
        // An earlier copy is replaced.
        let _ = std::fs::remove_dir_all(&copy);
        let server = self.server(Server::Nats).expect("it runs");
        send(server, Signal::SIGSTOP);
        copy_folder(&self.stream_folder(), &copy);
        send(server, Signal::SIGCONT);
        StreamFiles(copy)
    }

    /// Ends the broker as a power cut would, and lets it start again with older files while the services run.
    pub async fn put_streams_back(&self, files: &StreamFiles) {
        let up = self.up.as_ref().expect("it runs").id();
        // `up` must not start the server before its files are replaced.
        send(up, Signal::SIGSTOP);
        let server = self.server(Server::Nats).expect("it runs");
        send(server, Signal::SIGKILL);
        let ended = async || {
            let stat = std::fs::read_to_string(format!("/proc/{server}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        };
        wait_until("the broker has ended", DEATH, ended).await;
        self.replace_streams(files);
        send(up, Signal::SIGCONT);
    }

    /// Replaces the files of the streams by an older copy, while the broker does not run.
    pub fn replace_streams(&self, files: &StreamFiles) {
        std::fs::remove_dir_all(self.stream_folder()).expect("our folder");
        copy_folder(&files.0, &self.stream_folder());
    }

    fn stream_folder(&self) -> PathBuf {
        self.data().join("nats/jetstream")
    }
}

impl Servers {
    /// Does the same as [`System::request_broker`].
    pub fn request_broker(&self, subject: &str) {
        request(self.nats_url(), subject, "");
    }

    /// Does the same as [`System::stream_settings`].
    pub fn stream_settings(&self, name: &str) -> Value {
        stream_settings(self.nats_url(), name)
    }

    /// Does the same as [`System::change_stream`].
    pub fn change_stream(&self, name: &str, changes: &Value) {
        change_stream(self.nats_url(), name, changes);
    }

    /// Returns the names of all streams.
    pub(super) fn streams(&self) -> Vec<String> {
        let answer: Value = serde_json::from_str(&request(self.nats_url(), "$JS.API.STREAM.NAMES", "")).expect("JSON");
        let names = answer["streams"].as_array().expect("streams").iter();
        names.map(|name| name.as_str().expect("a name").to_owned()).collect()
    }

    /// Returns which servers have a stream, as the JetStream API describes them.
    pub(super) fn stream_cluster(&self, name: &str) -> Value {
        stream_info(self.nats_url(), name)["cluster"].clone()
    }
}

fn change_stream(url: &str, name: &str, changes: &Value) {
    let mut settings = stream_settings(url, name);
    for (setting, value) in changes.as_object().expect("settings") {
        settings[setting] = value.clone();
    }
    request(url, &format!("$JS.API.STREAM.UPDATE.{name}"), &settings.to_string());
}

fn stream_settings(url: &str, name: &str) -> Value {
    stream_info(url, name)["config"].clone()
}

fn stream_info(url: &str, name: &str) -> Value {
    serde_json::from_str(&request(url, &format!("$JS.API.STREAM.INFO.{name}"), "")).expect("JSON")
}

/// Sends a request of the JetStream API to the broker at `url`, the first of several, and returns its answer. Servers that
/// elect a leader answer nothing, so it is sent again.
fn request(url: &str, subject: &str, body: &str) -> String {
    let answer = (0..ATTEMPTS).find_map(|_| attempt(url, subject, body)).expect("an answer");
    assert!(!answer.contains("\"error\""), "{subject}: {answer}");
    answer
}

fn attempt(url: &str, subject: &str, body: &str) -> Option<String> {
    let address = url.split(',').next().unwrap_or(url).trim_start_matches("nats://");
    let mut server = TcpStream::connect(address).expect("it accepts connections");
    server.set_read_timeout(Some(ANSWER_TIMEOUT)).expect("a time-out above zero");
    let length = body.len();
    let lines =
        format!("CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer {length}\r\n{body}\r\nPING\r\n");
    server.write_all(lines.as_bytes()).expect("it reads");
    BufReader::new(server).lines().map_while(Result::ok).find(|line| line.contains("\"type\""))
}

fn copy_folder(from: &PathBuf, to: &PathBuf) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "{} is not copied", from.display());
}
