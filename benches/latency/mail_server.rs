//! A real mail server, aiosmtpd, that says when it has accepted each mail.

use std::{
    collections::{HashMap, HashSet},
    path::Path,
    process::Stdio,
    time::Duration,
};

use anyhow::{Context, ensure};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    process::{Child, Command},
    sync::mpsc,
    time::{Instant, timeout},
};

/// Prints for each mail when it was accepted, in microseconds since 1970, its rule, and the number of its firing. It searches the
/// bytes, because a parser takes longer than the rest of the server.
const MAIL_SERVER: &str = r#"
import re, signal, sys, time
from aiosmtpd.controller import Controller

class Sink:
    async def handle_DATA(self, server, session, envelope):
        accepted = time.time_ns() // 1000
        mail = envelope.original_content.replace(b'=\r\n', b'')
        rule = re.search(rb'(?im)^X-Tickbell-Rule:\s*(\S+)', mail)
        number = re.search(rb'firing\s+number\s+(\d+)', mail)
        print(accepted, rule[1].decode() if rule else '-', int(number[1]) if number else 0, flush=True)
        return '250 OK'

Controller(Sink(), hostname='127.0.0.1', port=int(sys.argv[1])).start()
print('ready', flush=True)
signal.pause()
"#;

/// The mails of a rate, at most.
const MAILS: usize = 1_000_000;

/// A firing: its rule and number.
pub(crate) type FiringKey = (String, i64);

/// A running aiosmtpd.
pub(crate) struct MailServer {
    pub(crate) url: String,
    port: u16,
    lines: mpsc::Receiver<String>,
    _process: Child,
}

impl MailServer {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let python = Path::new(".tools/python/bin/python");
        let mut command = Command::new(if python.is_file() { python } else { Path::new("python3") });
        command.args(["-c", MAIL_SERVER, &port.to_string()]).stdout(Stdio::piped()).kill_on_drop(true);
        let mut process = command.spawn().context("start aiosmtpd; run `make tools-test`")?;
        let mut printed = BufReader::new(process.stdout.take().context("a pipe")?).lines();
        ensure!(printed.next_line().await?.as_deref() == Some("ready"), "aiosmtpd does not run: `make tools-test`");
        // What it prints is read at once: a server whose pipe is full would accept no further mail.
        let (sender, lines) = mpsc::channel(MAILS);
        tokio::spawn(async move {
            while let Ok(Some(line)) = printed.next_line().await {
                if sender.send(line).await.is_err() {
                    break;
                }
            }
        });
        Ok(Self { url: format!("smtp://127.0.0.1:{port}"), port, lines, _process: process })
    }

    /// Returns when the mail of each of these firings was accepted.
    pub(crate) async fn collect(
        &mut self,
        firings: impl Iterator<Item = &FiringKey>,
        limit: Duration,
    ) -> anyhow::Result<HashMap<FiringKey, i64>> {
        let mut missing: HashSet<&FiringKey> = firings.collect();
        let mut accepted = HashMap::new();
        let deadline = Instant::now() + limit;
        while !missing.is_empty() {
            let line = timeout(deadline - Instant::now(), self.lines.recv()).await.context("mails are missing")?;
            let line = line.context("the mail server is gone")?;
            if let [at, rule, number] = line.split(' ').collect::<Vec<_>>()[..] {
                let firing = (rule.to_owned(), number.parse()?);
                if missing.remove(&firing) {
                    accepted.insert(firing, at.parse()?);
                }
            }
        }
        Ok(accepted)
    }

    /// Opens a connection of a bare client.
    pub(crate) async fn connect(&self) -> anyhow::Result<BareClient> {
        let mut client = BareClient(BufReader::new(TcpStream::connect(("127.0.0.1", self.port)).await?));
        client.reply("220").await?;
        client.say("HELO bench.example.com\r\n", "250").await?;
        Ok(client)
    }
}

/// A client that sends one mail after the other on one connection.
pub(crate) struct BareClient(BufReader<TcpStream>);

impl BareClient {
    pub(crate) async fn send(&mut self, mail: &str) -> anyhow::Result<()> {
        self.say("MAIL FROM:<bench@example.com>\r\n", "250").await?;
        self.say("RCPT TO:<u@example.com>\r\n", "250").await?;
        self.say("DATA\r\n", "354").await?;
        self.say(&format!("{mail}\r\n.\r\n"), "250").await
    }

    async fn say(&mut self, text: &str, expected: &str) -> anyhow::Result<()> {
        self.0.get_mut().write_all(text.as_bytes()).await?;
        self.reply(expected).await
    }

    async fn reply(&mut self, expected: &str) -> anyhow::Result<()> {
        let mut line = String::new();
        self.0.read_line(&mut line).await?;
        ensure!(line.starts_with(expected), "the mail server answers {line:?}");
        Ok(())
    }
}
