//! Publishes ticks to the broker until each is acknowledged, in order, without a client library: what has been published
//! must not depend on the code that is judged.

use std::{net::SocketAddr, time::Duration};

use events::{
    OutboundMessage, Price, Size, Symbol, Tick, Timestamp, Venue,
    tick::{TickKind, TickSource},
};
use platform::clock;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
    time::{sleep, timeout},
};

/// The venue of every tick of this harness.
pub(crate) const VENUE: &str = "faults";
/// The time after which a publish without an answer is repeated under the same id.
const ANSWER: Duration = Duration::from_secs(1);
const AGAIN_AFTER: Duration = Duration::from_millis(100);

/// A publisher with one connection, which is opened again when it fails.
pub(crate) struct Publisher {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
    /// The beginning of the subjects of acknowledgements, which no other publisher shares.
    inbox: String,
    published: u64,
}

/// Makes a tick of now.
pub(crate) fn tick(symbol: &str, trade_id: &str, price: u32) -> OutboundMessage {
    tick_at(clock::now(), TickSource::Live, symbol, price).to_message(trade_id)
}

/// Makes a tick.
pub(crate) fn tick_at(at: Timestamp, source: TickSource, symbol: &str, price: u32) -> Tick {
    Tick {
        venue: Venue::parse(VENUE).expect("a venue"),
        symbol: Symbol::parse(symbol).expect("a symbol"),
        price: price.to_string().parse::<Price>().expect("a price"),
        size: Some("1".parse::<Size>().expect("a size")),
        at,
        received_at: at,
        kind: TickKind::Trade,
        source,
    }
}

impl Publisher {
    pub(crate) fn new(address: SocketAddr, name: &str) -> Self {
        Self { address, connection: None, inbox: format!("acknowledgements.{name}"), published: 0 }
    }

    /// Publishes a message until the broker has acknowledged it.
    pub(crate) async fn publish(&mut self, message: &OutboundMessage) {
        self.published += 1;
        let inbox = format!("{}.{}", self.inbox, self.published);
        while timeout(ANSWER, self.attempt(message, &inbox)).await.ok().flatten().is_none() {
            self.connection = None;
            sleep(AGAIN_AFTER).await;
        }
    }

    async fn attempt(&mut self, message: &OutboundMessage, inbox: &str) -> Option<()> {
        if self.connection.is_none() {
            let mut stream = TcpStream::connect(self.address).await.ok()?;
            stream.set_nodelay(true).ok()?;
            let options = r#"{"verbose":false,"headers":true,"no_responders":true}"#;
            let hello = format!("CONNECT {options}\r\nSUB {}.* 1\r\n", self.inbox);
            stream.write_all(hello.as_bytes()).await.ok()?;
            self.connection = Some(BufReader::new(stream));
        }
        let connection = self.connection.as_mut()?;
        let lines: String = message.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let headers = format!("NATS/1.0\r\n{lines}\r\n");
        let whole = headers.len() + message.body.len();
        let line = format!("HPUB {} {inbox} {} {whole}\r\n{headers}", message.subject, headers.len());
        connection.write_all(&[line.as_bytes(), &message.body, b"\r\n"].concat()).await.ok()?;
        loop {
            let mut line = String::new();
            if connection.read_line(&mut line).await.ok()? == 0 {
                return None;
            }
            let words: Vec<&str> = line.split_whitespace().collect();
            match words.as_slice() {
                ["PING"] => connection.write_all(b"PONG\r\n").await.ok()?,
                ["MSG", subject, .., bytes] => {
                    let mut body = vec![0; bytes.parse::<usize>().ok()? + 2];
                    connection.read_exact(&mut body).await.ok()?;
                    if *subject == inbox {
                        let answer: Value = serde_json::from_slice(&body[..body.len() - 2]).ok()?;
                        // The broker writes a sequence of 0 beside an error.
                        return answer["seq"].as_u64().filter(|sequence| *sequence > 0).map(drop);
                    }
                }
                // No stream takes the subject.
                ["HMSG", ..] | ["-ERR", ..] => return None,
                _ => {}
            }
        }
    }
}
