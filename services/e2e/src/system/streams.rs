//! What happens to the streams of a system behind its back: they are deleted, or an older copy of their files is put back.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::PathBuf,
    process::Command,
    time::Duration,
};

use nix::sys::signal::Signal;

use super::{Server, System, servers::Servers};
use crate::{process::send, wait_until};

/// How long a killed process may take to end.
const DEATH: Duration = Duration::from_secs(5);

/// A copy of the files of all streams and consumers.
pub struct StreamFiles(PathBuf);

impl System {
    /// Sends a request of the JetStream API that the program itself never sends, like the deletion of a stream.
    ///
    /// # Panics
    /// When the broker refuses it.
    pub fn request_broker(&self, subject: &str) {
        request(&self.named("NATS_URL").expect("the broker's address"), subject);
    }

    /// Copies the files of the streams, as a snapshot of the broker's disk does.
    pub fn copy_streams(&self) -> StreamFiles {
        let copy = self.home().join("streams");
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
        std::fs::remove_dir_all(self.stream_folder()).expect("our folder");
        copy_folder(&files.0, &self.stream_folder());
        send(up, Signal::SIGCONT);
    }

    fn stream_folder(&self) -> PathBuf {
        self.data().join("nats/jetstream")
    }
}

impl Servers {
    /// Does the same as [`System::request_broker`].
    pub fn request_broker(&self, subject: &str) {
        request(self.nats_url(), subject);
    }
}

/// Sends a request of the JetStream API to the broker at `url`, and waits for its answer.
fn request(url: &str, subject: &str) {
    let mut server = TcpStream::connect(url.trim_start_matches("nats://")).expect("it accepts connections");
    let lines = format!("CONNECT {{\"verbose\":false}}\r\nSUB answer 1\r\nPUB {subject} answer 0\r\n\r\nPING\r\n");
    server.write_all(lines.as_bytes()).expect("it reads");
    let mut answers = BufReader::new(server).lines().map(|line| line.expect("it answers"));
    let answer = answers.find(|line| line.contains("\"type\"")).expect("an answer");
    assert!(!answer.contains("\"error\""), "{subject}: {answer}");
}

fn copy_folder(from: &PathBuf, to: &PathBuf) {
    let status = Command::new("cp").arg("-a").arg(from).arg(to).status().expect("cp runs");
    assert!(status.success(), "{} is not copied", from.display());
}
